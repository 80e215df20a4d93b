"""How fast and how often: performance profiles, evaluations to a target, runtime curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

#: Targets of the runtime curves, in multiples of the floor (the IGD that as many well-spread points
#: of the true front attain).
TARGET_FACTORS = (1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0)


def performance_profile(costs: Any) -> tuple[np.ndarray, np.ndarray]:
    """Dolan and Moré's performance profile (2002, Math. Programming 91, 201-213, eq. 1-2).

    r(p, s) is the cost of solver s on problem p over the least cost of any solver on p; the profile
    rho_s(tau) is the share of problems with r(p, s) <= tau.

    Args:
        costs: Positive, smaller is better `(n_problems, k)`; NaN or infinite where a solver failed
            on a problem (its ratio is infinite). Problems that no solver solved count as failed
            for all: the profile of the best then ends below 1.

    Returns:
        All finite ratios that occur, ascending from 1: `taus` `(m,)`, and the shares `(m, k)`.

    Raises:
        ValueError: Not a table, or costs that are not positive.
    """
    costs = np.asarray(costs, dtype=float)
    if costs.ndim != 2 or not costs.size:
        raise ValueError(f"costs {costs.shape} must be (n_problems, n_algorithms)")
    if (costs <= 0).any():
        raise ValueError("costs must be positive: ratios of them are taken")
    costs = np.where(np.isnan(costs), np.inf, costs)
    best = costs.min(axis=1, keepdims=True)
    ratios = np.divide(costs, best, out=np.full_like(costs, np.inf), where=np.isfinite(best))
    taus = np.unique(np.append(ratios[np.isfinite(ratios)], 1.0))
    return taus, (ratios[None] <= taus[:, None, None]).mean(axis=1)


def hitting_times(n_eval: Any, values: Any, targets: Any) -> np.ndarray:
    """Evaluations after which an indicator was first at or below each target.

    Args:
        n_eval: Evaluations `(k,)` at which the indicator was recorded, ascending.
        values: The indicator `(k,)`, smaller is better; NaN reaches no target.
        targets: `(t,)`.

    Returns:
        `(t,)`, infinite where a target was not reached. True to the distance of the records: a run
        may have reached a target up to one record earlier.
    """
    n_eval, values = np.asarray(n_eval, dtype=float), np.asarray(values, dtype=float)
    least = np.minimum.accumulate(np.where(np.isnan(values), np.inf, values))
    # `least` never rises, so its first entry <= target is found from the reversed side.
    first = np.searchsorted(-least, -np.asarray(targets, dtype=float), side="left")
    return np.append(n_eval, np.inf)[first]


def expected_running_time(times: Any, spent: Any) -> float:
    """ERT: evaluations of all runs, up to the target or to their end, per run that reached it.

    Hansen, Auger, Finck, Ros (2009), Real-parameter black-box optimization benchmarking, section 5
    (where its expectation is explained by restarts).

    Args:
        times: Evaluations to the target per run `(n,)`, infinite where it was not reached.
        spent: Evaluations of each run in all `(n,)`.

    Returns:
        Infinity when no run reached the target, NaN without runs.
    """
    times, spent = np.asarray(times, dtype=float), np.asarray(spent, dtype=float)
    if len(times) == 0:
        return np.nan
    reached = np.isfinite(times)
    if not reached.any():
        return np.inf
    return float(np.where(reached, times, spent).sum() / reached.sum())


def runtime_curve(times: Any, n_eval: Any) -> np.ndarray:
    """Share of (run, target) pairs solved within so many evaluations.

    Args:
        times: Evaluations to a target, of any shape; infinite where it was not reached.
        n_eval: Where to read the curve off `(k,)`.

    Returns:
        Shares `(k,)`, NaN without pairs.
    """
    times = np.sort(np.asarray(times, dtype=float).ravel())
    if len(times) == 0:
        return np.full(len(n_eval), np.nan)
    return np.searchsorted(times, np.asarray(n_eval, dtype=float), side="right") / len(times)


def igd_targets(
    floor: float | None, finals: Sequence[float], factors: Sequence[float] = TARGET_FACTORS
) -> tuple[np.ndarray, str]:
    """Targets of one problem, from hardest to easiest, and what they are multiples of.

    Args:
        floor: The problem's floor, or None when it has none.
        finals: IGD of all runs of all algorithms at their end.
        factors: Multiples, ascending.

    Returns:
        Targets `(t,)`, and `"floor"`, or `"best run"` where there is no floor and the least final
        IGD of all runs takes its place; no targets and `""` where there is neither.
    """
    known = [value for value in finals if np.isfinite(value) and value > 0]
    if floor is not None and floor > 0:
        return floor * np.asarray(factors, dtype=float), "floor"
    if known:
        return min(known) * np.asarray(factors, dtype=float), "best run"
    return np.empty(0), ""
