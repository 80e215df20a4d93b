"""Fronts of constrained problems whose objectives grow with one distance value.

In MW, CTP and DAS-CMOP the objectives grow with a distance g, and constraints depend on the
position u and on g alone. So the front is what is non-dominated among the points with the smallest
feasible g for each u. The problem's own `_evaluate` is used for that, on a copy ("probe") whose
distance function has been replaced by one that reads g from the last column.
"""

from __future__ import annotations

from typing import Any

import moocore
import numpy as np

from .base import N_PARETO_POINTS
from .sampling import non_dominated, thin

TOLERANCE = 1e-9
"""Constraint violation that counts as rounding."""


def refined_front(
    probe: Any,
    ends: tuple[float, float],
    n_points: int,
    levels: np.ndarray,
    n_position_constraints: int = 0,
) -> np.ndarray | None:
    """The front over one position variable.

    The ends of the front's pieces, and pieces that are single points, are searched on ever finer
    grids between the non-dominated positions and their neighbours that are not. Where neighbours on
    the front lie far apart, positions between them are added.

    Args:
        probe: Problem with two objectives whose `_evaluate` takes rows `(u, g)`.
        ends: Range of u.
        n_points: Wanted number of points.
        levels: Increasing distances `(n_levels,)`; see `LowerEnvelope`.
        n_position_constraints: So many leading constraints depend on u alone.

    Returns:
        Objectives `(n, 2)`, n <= about n_points; None if no feasible position was found.
    """
    # Denser towards both ends, where f2 often has a root's infinite slope.
    share = 0.5 - 0.5 * np.cos(np.linspace(0.0, np.pi, 2 * max(n_points, N_PARETO_POINTS)))
    grid = ends[0] + (ends[1] - ends[0]) * share
    envelope = LowerEnvelope(probe, levels, n_position_constraints)
    u, f = np.empty(0), np.empty((0, 2))
    for _ in range(8):
        new_u, new_f = envelope(grid[:, None])
        if not len(u) and not len(new_u):
            return None
        u, first = np.unique(np.concatenate([u, new_u[:, 0]]), return_index=True)
        f = np.concatenate([f, new_f])[first]
        kept = moocore.is_nondominated(f)
        u, f = u[kept], f[kept]
        tried = np.union1d(grid, u)
        on_front = np.isin(tried, u)
        has_other_beside = ~(np.append(on_front[1:], True) & np.append(True, on_front[:-1]))
        borders = np.flatnonzero(on_front & has_other_beside)
        if len(borders) > 1000:
            break
        before = tried[np.maximum(borders - 1, 0)]
        after = tried[np.minimum(borders + 1, len(tried) - 1)]
        wide = _wide_steps(f, n_points) & (np.diff(np.flatnonzero(on_front)) == 1)
        grid = np.unique(
            np.concatenate(
                [
                    np.linspace(before, after, 13).ravel(),
                    np.linspace(u[:-1][wide], u[1:][wide], 5).ravel(),
                ]
            )
        )
        if not len(grid):
            break
    return thin(non_dominated(f), n_points)


def _wide_steps(f: np.ndarray, n_points: int) -> np.ndarray:
    """Which steps from row to row are too long for `n_points` on the whole way `(len(f) - 1,)`."""
    span = np.ptp(f, axis=0)
    steps = np.linalg.norm(np.diff(f / np.where(span > 0, span, 1.0), axis=0), axis=1)
    return steps > 2.0 * steps.sum() / n_points


class LowerEnvelope:
    """The smallest feasible distance g for each position u.

    Args:
        probe: Problem whose `_evaluate` takes rows `(u_1, ..., u_k, g)`.
        levels: Increasing distances `(n_levels,)` at which feasibility is tried. A feasible range
            of g between two levels is found by where the violation dips; it may be a single value.
        n_position_constraints: So many leading constraints depend on u alone.
    """

    def __init__(self, probe: Any, levels: np.ndarray, n_position_constraints: int = 0) -> None:
        self.probe = probe
        self.levels = levels
        self.n_position_constraints = n_position_constraints

    def __call__(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Solve for positions `(n, k)`.

        Returns:
            Those positions `(m, k)` that have a feasible distance, and the objectives `(m, n_obj)`
            at the smallest one.
        """
        if self.n_position_constraints:
            _, constraints = self._evaluate(u, np.full(len(u), self.levels[0]))
            violated = constraints[:, : self.n_position_constraints] > TOLERANCE
            u = u[~violated.any(axis=1)]
        if not len(u):
            return u, np.empty((0, self.probe.n_obj))
        low, high, (row, below, above) = self._scan(u)
        at = self._least_violation(u[row], below, above)
        narrow = self._violation(u[row], at) <= TOLERANCE
        # Of several ranges of one position the lowest counts.
        for r, b, g in zip(row[narrow], below[narrow], at[narrow], strict=True):
            if not high[r] <= g:
                low[r], high[r] = b, g
        solved = ~np.isnan(high)
        u, low, high = u[solved], low[solved], high[solved]
        for _ in range(50):
            middle = 0.5 * (low + high)
            feasible = self._violation(u, middle) <= TOLERANCE
            high = np.where(feasible, middle, high)
            low = np.where(feasible, low, middle)
        f, _ = self._evaluate(u, high)
        finite = np.all(np.isfinite(f), axis=1)
        return u[finite], f[finite]

    def _evaluate(self, u: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Objectives `(n, n_obj)` and constraints `(n, n_constr)`; nan counts as violated."""
        out: dict = {}
        # 0/0 and roots of rounded zeros: no feasible points.
        with np.errstate(all="ignore"):
            self.probe._evaluate(np.column_stack([u, g]), out)
        constraints = np.asarray(out["G"])
        if constraints.ndim == 1:
            constraints = constraints[:, None]
        return np.asarray(out["F"]), np.where(np.isnan(constraints), np.inf, constraints)

    def _violation(self, u: np.ndarray, g: np.ndarray) -> np.ndarray:
        """The greatest constraint `(n,)`."""
        return self._evaluate(u, g)[1].max(axis=1)

    def _scan(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple]:
        """The first feasible level, and dips of the violation below it.

        Returns:
            The level before the first feasible one `(n,)`, that level `(n,)` (both nan where there
            is none), and for each dip its row, the level below and the level above. A dip counts if
            the violation, continued with the slope it has beside the dip, would reach zero.
        """
        low, high = np.full(len(u), np.nan), np.full(len(u), np.nan)
        rows = np.arange(len(u))
        before = last = np.full(len(u), np.inf)
        dips = [np.empty((3, 0))]
        n_levels = len(self.levels)
        for k in range(n_levels + 1):
            inside = k < n_levels
            if inside:
                now = self._violation(u[rows], np.full(len(rows), self.levels[k]))
            else:
                now = np.full(len(rows), np.inf)
            slope_side = np.where(np.isinf(before), now, np.where(np.isinf(now), before, now))
            slope_side = np.maximum(slope_side, np.where(np.isinf(before), now, before))
            dip = (last <= before) & (last <= now) & (last < np.inf) & (slope_side > 1.5 * last)
            if dip.any():
                below, above = self.levels[max(k - 2, 0)], self.levels[min(k, n_levels - 1)]
                n = int(dip.sum())
                dips.append(np.stack([rows[dip], np.full(n, below), np.full(n, above)]))
            feasible = now <= TOLERANCE
            if inside:
                low[rows[feasible]] = self.levels[max(k - 1, 0)]
                high[rows[feasible]] = self.levels[k]
            rows, before, last = rows[~feasible], last[~feasible], now[~feasible]
            if not len(rows):
                break
        row, below, above = np.concatenate(dips, axis=1)
        return low, high, (row.astype(int), below, above)

    def _least_violation(self, u: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Where between `low` and `high` the violation is least `(n,)`, by golden section."""
        ratio = 0.5 * (np.sqrt(5.0) - 1.0)
        for _ in range(48):
            width = ratio * (high - low)
            left, right = high - width, low + width
            leftwards = self._violation(u, left) <= self._violation(u, right)
            high = np.where(leftwards, right, high)
            low = np.where(leftwards, low, left)
        return 0.5 * (low + high)
