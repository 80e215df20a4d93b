"""Even samples of simplices, spheres, intervals and computed fronts; all deterministic."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import lru_cache
from math import comb

import moocore
import numpy as np
from scipy.optimize import brentq, minimize_scalar

Intervals = Sequence[tuple[float, float]]


@lru_cache(maxsize=64)
def _simplex_layer(n_obj: int, n_partitions: int) -> np.ndarray:
    """All points of the simplex whose coordinates are multiples of 1/n_partitions (read-only)."""
    # Stars and bars: the positions of n_obj - 1 bars among the stars fix one composition.
    n_slots = n_partitions + n_obj - 1
    bars = np.array(list(itertools.combinations(range(n_slots), n_obj - 1)))
    edges = np.column_stack([np.full(len(bars), -1), bars, np.full(len(bars), n_slots)])
    layer = (np.diff(edges, axis=1) - 1) / n_partitions
    layer.setflags(write=False)
    return layer


def simplex_lattice(n_obj: int, n_points: int) -> np.ndarray:
    """The largest simplex lattice of at most `n_points` points (Das & Dennis 1998).

    Where one layer would have no point inside the simplex (fewer partitions than objectives), a
    second layer, shrunk to half its size about the centre, is added (Deb & Jain 2014, section
    VI.C).

    Args:
        n_obj: Number of objectives (>= 2).
        n_points: Greatest number of points; the `n_obj` corners are always returned.

    Returns:
        Points `(n, n_obj)` with coordinates in [0, 1] that sum to 1.
    """
    if n_obj == 2:
        first = np.linspace(0.0, 1.0, max(n_points, 2))
        return np.column_stack([first, 1.0 - first])

    def size(h: int) -> int:
        inner = comb(h + n_obj - 2, n_obj - 1) if 1 < h < n_obj else 0
        return comb(h + n_obj - 1, n_obj - 1) + inner

    h = 1
    while size(h + 1) <= n_points:
        h += 1
    outer = _simplex_layer(n_obj, h)
    if not 1 < h < n_obj:
        return outer.copy()
    return np.concatenate([outer, 0.5 * _simplex_layer(n_obj, h - 1) + 0.5 / n_obj])


def sphere_lattice(n_obj: int, n_points: int) -> np.ndarray:
    """The simplex lattice projected onto the unit sphere's positive orthant `(n, n_obj)`."""
    points = simplex_lattice(n_obj, n_points)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def spanning_products(rising: np.ndarray, falling: np.ndarray) -> np.ndarray:
    """The products by which M - 1 position variables span a simplex or sphere (DTLZ, LSMOP).

    f_m = rising_1 ... rising_(M-m) falling_(M-m+1), with no falling factor for m = 1: with
    (x, 1 - x) a simplex, with (cos, sin) of angles a sphere.

    Args:
        rising: `(n, n_obj - 1)`.
        falling: `(n, n_obj - 1)`.

    Returns:
        `(n, n_obj)`.
    """
    ones = np.ones((len(rising), 1))
    growing = np.concatenate([ones, np.cumprod(rising, axis=1)], axis=1)
    return growing[:, ::-1] * np.concatenate([ones, falling[:, ::-1]], axis=1)


def spread_over(intervals: Intervals, n_points: int) -> np.ndarray:
    """About `n_points` increasing values spread evenly over a union of closed intervals.

    Every interval gets both of its ends; an interval of length zero gets its one point.
    """
    total = sum(high - low for low, high in intervals)
    parts = []
    for low, high in intervals:
        if high <= low:
            parts.append(np.array([low]))
        else:
            parts.append(np.linspace(low, high, max(2, round(n_points * (high - low) / total))))
    return np.concatenate(parts)


def product_grid(axes: Sequence[np.ndarray]) -> np.ndarray:
    """All combinations of the values on each axis `(n, len(axes))`."""
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))


def box_grid(n_dim: int, n_points: int) -> np.ndarray:
    """An even grid over [0, 1]^n_dim of at most `n_points` points, at least the corners."""
    per_axis = max(2, int(n_points ** (1.0 / n_dim) + 1e-9))
    return product_grid([np.linspace(0.0, 1.0, per_axis)] * n_dim)


def record_lows(
    function: Callable[[np.ndarray], np.ndarray], low: float, high: float, n_grid: int = 20_001
) -> list[tuple[float, float]]:
    """Where a continuous function of one variable is lower than anywhere to the left.

    With f1 = x and f2 = function(x) these are the non-dominated x. Found on a grid; each interval's
    start (the function comes below its last record) and end (a local minimum) is then refined.

    Args:
        function: Vectorised; `(n,)` to `(n,)`.
        low: Left end; it always belongs to the result.
        high: Right end.
        n_grid: Grid points; features narrower than a grid step are missed.

    Returns:
        Intervals from left to right.
    """
    x = np.linspace(low, high, n_grid)
    step = x[1] - x[0]
    y = function(x)
    is_record = np.concatenate([[True], y[1:] < np.minimum.accumulate(y)[:-1]])
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_record, [False]]).astype(int)))

    def value(at: float) -> float:
        return float(function(np.array([at]))[0])

    intervals: list[tuple[float, float]] = []
    record = np.inf
    for first, last in zip(edges[::2], edges[1::2] - 1, strict=True):
        start, end = x[first], x[last]
        if first > 0 and value(x[first - 1]) >= record > value(start):
            start = brentq(lambda at, r=record: value(at) - r, x[first - 1], start, xtol=1e-14)
            # There the function equals the record; it is lower only beyond.
            start += 1e-9 * step
        if last < n_grid - 1:
            bounds = (max(low, end - step), min(high, end + step))
            found = minimize_scalar(
                value, bounds=bounds, method="bounded", options={"xatol": 1e-12}
            ).x
            end = max(start, float(found)) if value(found) < value(end) else end
        record = value(end)
        intervals.append((float(start), float(end)))
    return intervals


def non_dominated(f: np.ndarray) -> np.ndarray:
    """The distinct non-dominated rows of `f` `(n, n_obj)`, in lexicographic order."""
    f = np.unique(f, axis=0)
    return f[moocore.is_nondominated(f)]


def thin(f: np.ndarray, n_points: int) -> np.ndarray:
    """Rows of a front, at most about `n_points`, that lie evenly along it.

    Two objectives: consecutive rows are at least 1 / n_points of the front's length apart, measured
    on normalised objectives and across its gaps. More: one row per cell of a grid on the normalised
    objectives, the cell size found by bisection, and the rows with the least and greatest value of
    each objective; a front that is small enough is returned as it is.

    Args:
        f: Mutually non-dominated rows `(n, n_obj)`.
        n_points: Wanted number of rows.

    Returns:
        Rows of `f` `(<= n_points + 2 n_obj, n_obj)`.
    """
    span = np.ptp(f, axis=0)
    if len(f) < 2 or not span.any():
        return f[:1]
    scaled = (f - f.min(axis=0)) / np.where(span > 0, span, 1.0)
    if f.shape[1] == 2:
        order = np.argsort(f[:, 0])
        steps = np.linalg.norm(np.diff(scaled[order], axis=0), axis=1)
        length = np.concatenate([[0.0], np.cumsum(steps)])
        spacing = length[-1] / n_points * (1.0 - 1e-9)
        picks = [0]
        while (following := np.searchsorted(length, length[picks[-1]] + spacing)) < len(f):
            picks.append(int(following))
        if picks[-1] != len(f) - 1:
            picks[-1 if len(picks) > 1 else 1 :] = [len(f) - 1]
        return f[order[picks]]
    if len(f) <= n_points:
        return f

    def one_per_cell(width: float) -> np.ndarray:
        cells = np.floor(scaled / width).astype(np.int64)
        base = int(1.0 / width) + 2
        keys = cells @ (base ** np.arange(f.shape[1]))
        return np.unique(keys, return_index=True)[1]

    fine, coarse = 1e-4, 1.0
    for _ in range(14):
        middle = np.sqrt(fine * coarse)
        if len(one_per_cell(middle)) > n_points:
            fine = middle
        else:
            coarse = middle
    extremes = np.concatenate([f.argmin(axis=0), f.argmax(axis=0)])
    return f[np.union1d(one_per_cell(coarse), extremes)]
