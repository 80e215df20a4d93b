"""Fronts and Pareto sets of pymoo's problems without constraints: ZDT, DTLZ, WFG, ZCAT, Kursawe."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import moocore
import numpy as np
import pymoo.problems.many as many
import pymoo.problems.multi as multi
from scipy.optimize import brentq, minimize_scalar

from .lsmop import disconnected_front, disconnected_positions
from .sampling import (
    box_grid,
    non_dominated,
    product_grid,
    record_lows,
    spanning_products,
    spread_over,
    thin,
)


def sphere_of(directions: np.ndarray) -> np.ndarray:
    """Directions `(n, n_obj)` stretched to length 1."""
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


# --- ZDT (Zitzler, Deb & Thiele 2000) -----------------------------------------------------------


def _zdt_front(shape: Callable[[np.ndarray], np.ndarray], problem: Any, n: int) -> np.ndarray:
    f1 = np.linspace(0.0, 1.0, n)
    return np.column_stack([f1, shape(f1)])


def _zdt3_shape(f1: np.ndarray) -> np.ndarray:
    return 1.0 - np.sqrt(f1) - f1 * np.sin(10.0 * np.pi * f1)


def _zdt3_front(problem: Any, n: int) -> np.ndarray:
    f1 = spread_over(record_lows(_zdt3_shape, 0.0, 1.0), n)
    return np.column_stack([f1, _zdt3_shape(f1)])


def _zdt5_front(problem: Any, n: int) -> np.ndarray:
    """All 31 points: f1 = 1 + number of ones in the first string, f2 = (m - 1) / f1."""
    f1 = np.arange(1.0, 32.0)
    f = np.column_stack([f1, (problem.m - 1) / f1])
    if problem.normalize:
        f = (f - f.min(axis=0)) / np.ptp(f, axis=0)
    return f


def _zdt6_f1(x1: Any) -> Any:
    return 1.0 - np.exp(-4.0 * x1) * np.sin(6.0 * np.pi * x1) ** 6


def _zdt6_front(problem: Any, n: int) -> np.ndarray:
    # d/dx log(exp(-4 x) sin^6(6 pi x)) = 0 gives tan(6 pi x) = 9 pi.
    lowest = _zdt6_f1(np.arctan(9.0 * np.pi) / (6.0 * np.pi))
    f1 = np.linspace(lowest, 1.0, n)
    return np.column_stack([f1, 1.0 - f1**2])


def _distance_at(value: float, problem: Any, n: int) -> np.ndarray:
    """Pareto set with all distance variables at one value and any position."""
    position = box_grid(problem.n_obj - 1, n)
    rest = np.full((len(position), problem.n_var - position.shape[1]), value)
    return np.column_stack([position, rest])


def _zdt3_set(problem: Any, n: int) -> np.ndarray:
    x1 = spread_over(record_lows(_zdt3_shape, 0.0, 1.0), n)
    return np.column_stack([x1, np.zeros((len(x1), problem.n_var - 1))])


# --- DTLZ (Deb, Thiele, Laumanns & Zitzler 2005) and relatives -----------------------------------


def _scaled_dtlz1(problem: Any, directions: np.ndarray) -> np.ndarray:
    return 0.5 * directions * problem.scale_factor ** np.arange(problem.n_obj)


def _convex_dtlz(problem: Any, directions: np.ndarray) -> np.ndarray:
    return sphere_of(directions) ** problem.get_power(problem.n_obj)


def _degenerate_curve(problem: Any, n: int) -> np.ndarray:
    """DTLZ5 and DTLZ6: all angles but the first are pi/4.

    With four and more objectives these problems have further non-dominated points beside the curve
    (Huband et al. 2006); as everywhere, the curve is given.
    """
    angles = np.full((n, problem.n_obj - 1), 0.25 * np.pi)
    angles[:, 0] = np.linspace(0.0, 0.5 * np.pi, n)
    return spanning_products(np.cos(angles), np.sin(angles))


def _curve_set(value: float, problem: Any, n: int) -> np.ndarray:
    x = np.full((n, problem.n_var), value)
    x[:, 0] = np.linspace(0.0, 1.0, n)
    # At g = 0 the other position variables have no effect.
    x[:, 1 : problem.n_obj - 1] = 0.5
    return x


def _dtlz7_set(problem: Any, n: int) -> np.ndarray:
    position = disconnected_positions(problem.n_obj, n)
    return np.column_stack([position, np.zeros((len(position), problem.k))])


# --- WFG (Huband, Hingston, Barone & While 2006) -------------------------------------------------


def _wfg_scale(n_obj: int) -> np.ndarray:
    return 2.0 * np.arange(1, n_obj + 1)


def _wfg_convex(x: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Convex shapes of all objectives but the last, which is given `(n,)`."""
    angle = 0.5 * np.pi * x
    f = spanning_products(1.0 - np.cos(angle), 1.0 - np.sin(angle))
    f[:, -1] = last
    return f * _wfg_scale(f.shape[1])


def _dense_positions(problem: Any, n: int) -> np.ndarray:
    return box_grid(problem.n_obj - 1, 10 * n if problem.n_obj == 2 else 30 * n)


def _wfg1_front(problem: Any, n: int) -> np.ndarray:
    x = _dense_positions(problem, n)
    mixed = 1.0 - x[:, 0] - np.cos(10.0 * np.pi * x[:, 0] + 0.5 * np.pi) / (10.0 * np.pi)
    return thin(non_dominated(_wfg_convex(x, mixed)), n)


def _wfg2_last(x1: np.ndarray) -> np.ndarray:
    return 1.0 - x1 * np.cos(5.0 * np.pi * x1) ** 2


def _wfg2_positions(problem: Any, per_axis: int) -> np.ndarray:
    x1 = spread_over(record_lows(_wfg2_last, 0.0, 1.0), per_axis)
    return product_grid([x1, *[np.linspace(0.0, 1.0, per_axis)] * (problem.n_obj - 2)])


def _wfg2_front(problem: Any, n: int) -> np.ndarray:
    per_axis = round(len(_dense_positions(problem, n)) ** (1.0 / (problem.n_obj - 1)))
    x = _wfg2_positions(problem, per_axis)
    return thin(non_dominated(_wfg_convex(x, _wfg2_last(x[:, 0]))), n)


def _wfg3_front(problem: Any, n: int) -> np.ndarray:
    """The degenerate line.

    With three and more objectives the problem as defined has further non-dominated points beside it
    (Ishibuchi, Masuda & Nojima 2016); as everywhere, the line is given.
    """
    x = np.full((n, problem.n_obj - 1), 0.5)
    x[:, 0] = np.linspace(0.0, 1.0, n)
    return spanning_products(x, 1.0 - x) * _wfg_scale(problem.n_obj)


def _wfg_sphere(problem: Any, directions: np.ndarray) -> np.ndarray:
    return sphere_of(directions) * _wfg_scale(problem.n_obj)


def _wfg_set(problem: Any, n: int) -> np.ndarray:
    """All position variables of an objective alike; distance variables by pymoo's own formulas."""
    name = type(problem).__name__
    if name == "WFG2":
        position = _wfg2_positions(problem, round(n ** (1.0 / (problem.n_obj - 1))))
    elif name == "WFG3":
        position = np.full((n, problem.n_obj - 1), 0.5)
        position[:, 0] = np.linspace(0.0, 1.0, n)
    else:
        position = box_grid(problem.n_obj - 1, n)
    if name == "WFG1":
        # Its polynomial bias raises positions to the power 0.02.
        position = position**50
    gap = problem.k // (problem.n_obj - 1)
    return problem._positional_to_optimal(np.repeat(position, gap, axis=1))


# --- Kursawe (1991) ------------------------------------------------------------------------------


def _kursawe_set(problem: Any, n: int) -> np.ndarray:
    """Non-dominated points of a grid over the few values a variable can have there, then refined.

    f1 grows with every |x_i| and f2 is a sum of h(x_i), h(x) = |x|^0.8 + 5 sin(x^3). So each x_i is
    one with a lower h than all values nearer to zero: 0, or within [argmin h, the first root of h].
    """

    def h(x: float) -> float:
        return abs(x) ** 0.8 + 5.0 * np.sin(x**3)

    lowest = float(minimize_scalar(h, bounds=(-1.5, -1.0), method="bounded").x)
    values = np.concatenate([[0.0], np.linspace(lowest, brentq(h, lowest, -0.1), 40)])
    step = values[2] - values[1]
    x = product_grid([values] * 3)
    # x_1 and x_3 play the same part.
    x = x[x[:, 0] <= x[:, 2]]
    moves = product_grid([np.array([-1.0, 0.0, 1.0])] * 3)
    for k in range(8):
        if k > 0:
            x = np.concatenate([x, (x[:, None, :] + step * moves).reshape(-1, 3)])
        f = problem.evaluate(x, return_values_of=["F"])
        kept = np.flatnonzero(moocore.is_nondominated(f))
        kept = kept[np.argsort(f[kept, 0])]
        x = x[kept[np.isin(f[kept, 0], thin(f[kept], max(n, 1000))[:, 0])]]
        step /= 2.5
    return x


def _kursawe_front(problem: Any, n: int) -> np.ndarray:
    f = problem.evaluate(_kursawe_set(problem, n), return_values_of=["F"])
    return thin(non_dominated(f), n)


# --- ZCAT (Zapotecas-Martinez, Coello Coello, Aguirre & Tanaka 2023) ------------------------------


def _zcat_front(problem: Any, n: int) -> np.ndarray:
    """A problem with position variables alone has no distance term: its image holds the front."""
    n_position = 1 if problem.problem_id in (14, 15, 16) else problem.n_obj - 1
    bare = type(problem)(n_var=n_position, n_obj=problem.n_obj)
    per_axis = max(2, round((2 * n) ** (1.0 / n_position)))
    # ZCAT19 and 20 are degenerate for some y_1; there the other variables count as distance, whose
    # best value is 0.221.
    values = np.union1d(np.linspace(0.0, 1.0, per_axis), [0.221])
    x = bare.xl + product_grid([values] * n_position) * (bare.xu - bare.xl)
    return thin(non_dominated(bare.evaluate(x, return_values_of=["F"])), n)


UNCONSTRAINED_DIRECTIONS: dict[type, Callable[[Any, np.ndarray], np.ndarray]] = {
    many.DTLZ1: lambda problem, directions: 0.5 * directions,
    **{
        cls: lambda problem, directions: sphere_of(directions)
        for cls in (many.DTLZ2, many.DTLZ3, many.DTLZ4)
    },
    many.InvertedDTLZ1: lambda problem, directions: 0.5 * (1.0 - directions),
    many.ScaledDTLZ1: _scaled_dtlz1,
    many.ConvexDTLZ2: _convex_dtlz,
    many.ConvexDTLZ4: _convex_dtlz,
    **{getattr(many, f"WFG{i}"): _wfg_sphere for i in range(4, 10)},
}

UNCONSTRAINED_FRONTS: dict[type, Callable[[Any, int], np.ndarray | None]] = {
    multi.ZDT1: partial(_zdt_front, lambda f1: 1.0 - np.sqrt(f1)),
    multi.ZDT2: partial(_zdt_front, lambda f1: 1.0 - f1**2),
    multi.ZDT3: _zdt3_front,
    multi.ZDT4: partial(_zdt_front, lambda f1: 1.0 - np.sqrt(f1)),
    multi.ZDT5: _zdt5_front,
    multi.ZDT6: _zdt6_front,
    many.DTLZ5: _degenerate_curve,
    many.DTLZ6: _degenerate_curve,
    many.DTLZ7: lambda problem, n: disconnected_front(problem.n_obj, n),
    many.WFG1: _wfg1_front,
    many.WFG2: _wfg2_front,
    many.WFG3: _wfg3_front,
    multi.Kursawe: _kursawe_front,
    **{getattr(many, f"ZCAT{i}"): _zcat_front for i in range(1, 21)},
}

UNCONSTRAINED_SETS: dict[type, Callable[[Any, int], np.ndarray | None]] = {
    **{getattr(multi, f"ZDT{i}"): partial(_distance_at, 0.0) for i in (1, 2, 4, 6)},
    multi.ZDT3: _zdt3_set,
    **{getattr(many, f"DTLZ{i}"): partial(_distance_at, 0.5) for i in range(1, 5)},
    many.InvertedDTLZ1: partial(_distance_at, 0.5),
    many.ScaledDTLZ1: partial(_distance_at, 0.5),
    many.ConvexDTLZ2: partial(_distance_at, 0.5),
    many.ConvexDTLZ4: partial(_distance_at, 0.5),
    many.DTLZ5: partial(_curve_set, 0.5),
    many.DTLZ6: partial(_curve_set, 0.0),
    many.DTLZ7: _dtlz7_set,
    multi.Kursawe: _kursawe_set,
    **{getattr(many, f"WFG{i}"): _wfg_set for i in range(1, 10)},
}
