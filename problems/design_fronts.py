"""Pareto set of the welded beam, an engineering design problem without a closed form."""

from __future__ import annotations

from typing import Any

import numpy as np

_LOAD, _LENGTH, _GREATEST_SHEAR = 6000.0, 14.0, 13600.0
_DEFLECTION, _BENDING = 2.1952, 504000.0 / 30000.0
_BUCKLING = 64746.022


def _shear_stress(h: np.ndarray, length: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Shear stress of the weld of thickness h and given length under a beam of height t."""
    radius = np.sqrt(0.25 * (length**2 + (h + t) ** 2))
    moment = _LOAD * (_LENGTH + length / 2)
    inertia = 2 * np.sqrt(0.5) * h * length * (length**2 / 12 + 0.25 * (h + t) ** 2)
    primary = _LOAD / (np.sqrt(2) * h * length)
    secondary = moment * radius / inertia
    return np.sqrt(primary**2 + secondary**2 + primary * secondary * length / radius)


def _shortest_weld(h: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Least weld length in [0.1, 10] that bears the load (nan if none does), by bisection."""
    low, high = np.full(h.shape, 0.1), np.full(h.shape, 10.0)
    impossible = _shear_stress(h, high, t) > _GREATEST_SHEAR
    for _ in range(32):
        middle = 0.5 * (low + high)
        bears = _shear_stress(h, middle, t) <= _GREATEST_SHEAR
        high = np.where(bears, middle, high)
        low = np.where(bears, low, middle)
    return np.where(impossible, np.nan, high)


def _beam_heights(deflection: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Range of the beam's height t that its thickness, bending and buckling allow `(n,)` each.

    With the deflection given, b = 2.1952 / (deflection t^3) falls with t.
    """
    least = (_DEFLECTION / (5.0 * deflection)) ** (1.0 / 3.0)
    low, high = least, np.minimum(10.0, _DEFLECTION / (_BENDING * deflection))
    high = np.minimum(high, (_DEFLECTION / (0.125 * deflection)) ** (1.0 / 3.0))
    buckles_at = high.copy()
    for _ in range(60):
        middle = 0.5 * (low + buckles_at)
        b = _DEFLECTION / (deflection * middle**3)
        holds = _BUCKLING * (1 - 0.0282346 * middle) * middle * b**3 >= _LOAD
        low = np.where(holds, middle, low)
        buckles_at = np.where(holds, buckles_at, middle)
    # `low` has moved up to the greatest height that does not buckle.
    return least, np.minimum(high, low)


def welded_beam_set(problem: Any, n_points: int) -> np.ndarray:
    """Designs `(n, 4)` of least cost for each of at most 400 deflections.

    The deflection fixes the beam's thickness for a given height t; the weld is as short as the
    shear stress allows; what remains, t and the weld's thickness h, is searched on grids that
    shrink about the best point.
    """
    deflection = np.geomspace(_DEFLECTION / 5000.0, 0.0165, min(n_points, 400))
    least_t, greatest_t = _beam_heights(deflection)
    possible = least_t <= greatest_t * (1 + 1e-12)
    deflection, least_t, greatest_t = deflection[possible], least_t[possible], greatest_t[possible]
    grid = np.linspace(0.0, 1.0, 7)
    rows = np.arange(len(deflection))
    centre = np.full((len(rows), 2), 0.5)
    width = 1.0
    cost = np.full(len(rows), np.inf)
    design = np.full((len(rows), 4), np.nan)
    for _ in range(14):
        # Both variables as shares of their ranges; the range of h ends at the beam's thickness.
        share = np.clip(centre[:, :, None] + width * (grid - 0.5), 0.0, 1.0)
        t = (least_t[:, None] + (greatest_t - least_t)[:, None] * share[:, 0])[:, :, None]
        b = _DEFLECTION / (deflection[:, None, None] * t**3)
        h = 0.125 + (b - 0.125) * share[:, 1][:, None, :]
        t, b = np.broadcast_to(t, h.shape), np.broadcast_to(b, h.shape)
        weld = _shortest_weld(h, t)
        costs = 1.10471 * h**2 * weld + 0.04811 * t * b * (_LENGTH + weld)
        costs = np.where(np.isnan(costs), np.inf, costs).reshape(len(rows), -1)
        best = costs.argmin(axis=1)
        better = costs[rows, best] < cost
        cost = np.where(better, costs[rows, best], cost)
        at = np.stack([share[rows, 0, best // 7], share[rows, 1, best % 7]], axis=1)
        centre = np.where(better[:, None], at, centre)
        designs = np.stack([h, weld, t, b], axis=-1).reshape(len(rows), -1, 4)[rows, best]
        design = np.where(better[:, None], designs, design)
        width *= 0.5
    # Beyond the deflection of the cheapest design of all, costs rise again.
    on_front = np.isfinite(cost) & (cost <= np.minimum.accumulate(cost))
    return np.clip(design[on_front], problem.xl, problem.xu)
