"""What the figures of a report's web page are drawn from, as small JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evogen.experiment.evidence import Evidence, Gathered
from evogen.experiment.posthoc import Ranking, median_costs
from evogen.experiment.profiles import performance_profile, runtime_curve
from evogen.experiment.report_tables import ERT_FACTORS, indicators_of
from evogen.experiment.summary import INDICATORS, Results, Row
from evogen.experiment.tables import TITLES, number
from evogen.experiment.web_page import number_json
from evogen.visualization.style import PALETTE

#: Points of a front, and of an attainment surface; more do not show.
MAX_POINTS = 100
MAX_SURFACE_POINTS = 60

#: Points of the true front behind them: two objectives, three, more (these are lines).
MAX_TRUE_POINTS = {2: 300, 3: 600}
MAX_TRUE_LINES = 60

#: Fronts shown at first where there are more algorithms; the others are a click away.
MAX_SHOWN = 5

#: Where the runtime curves are read off.
N_RUNTIME_POINTS = 80

#: Ratios of costs below this are ratios of rounding errors.
LEAST_COST = 1e-12


def page_data(
    results: Results, gathered: Gathered, rankings: Mapping[str, Ranking]
) -> dict[str, Any]:
    """All numbers that `page/figures.js` draws, as plain JSON values.

    Args:
        results, gathered: The store.
        rankings: By indicator.
    """
    indicators = indicators_of(results)
    return {
        "algorithms": results.algorithms,
        "baseline": results.algorithms.index(results.baseline) if results.baseline else -1,
        "palette": PALETTE,
        "indicators": {i: {"title": TITLES[i]} for i in indicators},
        "problems": [_problem(results, gathered, row) for row in results.rows.values()],
        "profiles": _profiles(results, gathered, indicators),
        "runtime": _runtime(results, gathered),
        "marks": {i: m for i in indicators if (m := _marks(results, i)) is not None},
        "ranks": {i: _ranks(ranking) for i, ranking in rankings.items()},
    }


def _problem(results: Results, gathered: Gathered, row: Row) -> dict[str, Any]:
    found = [gathered.evidence.get((row.label, a)) for a in results.algorithms]
    indicators = [i for i in indicators_of(results) if len(_pooled(results, row.label, i))]
    best_first = _best_first(results, row.label)
    fronts = [None if e is None or e.front is None else _thin_front(e.front) for e in found]
    drawn = [f for f in fronts if f is not None and len(f)]
    true = None if row.front is None else _thin(row.front, _true_limit(row.front.shape[1]))
    extents = drawn if true is None else [*drawn, true]
    many = row.n_obj is not None and row.n_obj > 1 and bool(drawn)
    return {
        "label": row.label,
        "n_obj": row.n_obj,
        "floor": None if row.floor is None else number_json(row.floor),
        "front": number_json(true.T) if many and true is not None else None,
        "fronts": [
            None
            if f is None or e is None or not many
            else {"seed": e.median_seed, "f": number_json(f.T)}
            for f, e in zip(fronts, found, strict=True)
        ],
        "fronts_range": (
            number_json(np.column_stack([np.min(all_f, axis=0), np.max(all_f, axis=0)]))
            if many and (all_f := np.concatenate(extents)).size
            else None
        ),
        "few": sorted(best_first[:MAX_SHOWN]),
        "best": best_first[0],
        "curves": {i: [_curve(e, i) for e in found] for i in indicators},
        "finals": {
            i: [number_json(results.values(row.label, a, i)) for a in results.algorithms]
            for i in indicators
        },
        "attainment": [
            {
                str(percent): number_json(_thin(surface, MAX_SURFACE_POINTS).T)
                for percent, surface in e.attainment.items()
            }
            if e is not None and e.attainment
            else None
            for e in found
        ],
    }


def _pooled(results: Results, label: str, indicator: str) -> list[float]:
    return [v for a in results.algorithms for v in results.values(label, a, indicator)]


def _best_first(results: Results, label: str) -> list[int]:
    """The algorithms by median IGD (HV where there is none); those without a value last."""
    indicator = "igd" if _pooled(results, label, "igd") else "hv"
    sign = -1.0 if INDICATORS[indicator] else 1.0
    medians = sign * np.array([results.median(label, a, indicator) for a in results.algorithms])
    return [int(i) for i in np.argsort(medians, kind="stable")]


def _curve(evidence: Evidence | None, indicator: str) -> list[Any] | None:
    if evidence is None or indicator not in evidence.bands:
        return None
    n_eval, quartiles = evidence.bands[indicator]
    return [number_json(n_eval, 9), *number_json(quartiles)]


def _thin(rows: np.ndarray, n: int) -> np.ndarray:
    if len(rows) <= n:
        return rows
    return rows[np.linspace(0, len(rows) - 1, n).round().astype(int)]


def _thin_front(f: np.ndarray) -> np.ndarray:
    # In the order of the first objective, evenly taken rows cover the whole front.
    return _thin(f[np.argsort(f[:, 0], kind="stable")], MAX_POINTS)


def _true_limit(n_obj: int) -> int:
    return MAX_TRUE_POINTS.get(n_obj, MAX_TRUE_LINES)


def _profiles(
    results: Results, gathered: Gathered, indicators: Sequence[str]
) -> dict[str, dict[str, Any]]:
    profiles: dict[str, dict[str, Any]] = {}
    costs = {f"median {TITLES[i]}": median_costs(results, i) for i in indicators if i != "hv"}
    for factor in ERT_FACTORS:
        table = gathered.running_times(results, gathered.factors.index(factor))
        costs[f"evaluations to {factor:g} x floor"] = table
    for name, table in costs.items():
        # Without any value a problem says nothing about the solvers.
        table = table[~np.isnan(table).all(axis=1)]
        if len(table) < 2 or not np.isfinite(table).any():
            continue
        taus, shares = performance_profile(np.maximum(table, LEAST_COST))
        profiles[name] = {"taus": number_json(taus), "shares": number_json(shares.T)}
    return profiles


def _runtime(results: Results, gathered: Gathered) -> dict[str, Any] | None:
    pooled: dict[str, list[np.ndarray]] = {a: [] for a in results.algorithms}
    for (_, algorithm), found in gathered.evidence.items():
        if found.times.size:
            pooled[algorithm].append(found.times)
    known = [times[np.isfinite(times)] for many in pooled.values() for times in many]
    flat = np.concatenate(known) if known else np.empty(0)
    if not len(flat):
        return None
    last = max(e.spent.max() for e in gathered.evidence.values() if len(e.spent))
    n_eval = np.unique(np.geomspace(flat.min(), max(last, flat.min()), N_RUNTIME_POINTS).round())
    shares = {}
    choices = [("all targets", slice(None))]
    choices += [(f"{f:g} x floor", slice(i, i + 1)) for i, f in enumerate(gathered.factors)]
    for name, chosen in choices:
        shares[name] = [
            number_json(runtime_curve([t for m in pooled[a] for t in m[:, chosen].flat], n_eval))
            for a in results.algorithms
        ]
    return {"n_eval": number_json(n_eval, 9), "shares": shares}


def _marks(results: Results, indicator: str) -> dict[str, Any] | None:
    compared = results.comparisons(indicator)
    if not compared:
        return None
    marks, tips = [], []
    for row in results.rows:
        found = [compared.get((row, a)) for a in results.algorithms]
        marks.append(["" if c is None else c.mark for c in found])
        tips.append(
            [
                ""
                if c is None
                else f"median {number(results.median(row, a, indicator))}, p = "
                f"{number(c.p_adjusted)} (Holm), better in {100 * c.effect:.0f} % of pairs of runs"
                for a, c in zip(results.algorithms, found, strict=True)
            ]
        )
    return {"marks": marks, "tips": tips}


def _ranks(ranking: Ranking) -> dict[str, Any]:
    return {
        "mean": number_json(ranking.mean_ranks),
        "cd": ranking.critical_difference,
        "groups": ranking.groups,
        "alpha": ranking.alpha,
    }
