"""What a report draws, read once from a store: curves, fronts, attainment, times to targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import moocore
import numpy as np

from evogen.experiment.indicators import nondominated
from evogen.experiment.profiles import (
    TARGET_FACTORS,
    expected_running_time,
    hitting_times,
    igd_targets,
)
from evogen.experiment.store import Store, StoredCell
from evogen.experiment.summary import INDICATORS, Results

#: Points of a curve over evaluations; more do not show.
MAX_CURVE_POINTS = 40

#: Shares of the runs (in percent) whose attainment surfaces are computed.
ATTAINED = (25, 50, 75)


@dataclass
class Evidence:
    """The runs of one algorithm on one problem.

    Attributes:
        bands: By indicator: evaluations `(k,)`, and lower quartile, median, upper quartile
            `(3, k)`; NaN where fewer than half of the runs have a value.
        times: Evaluations to each target `(n_runs, n_targets)`, infinite where not reached.
        spent: Evaluations of each run `(n_runs,)`.
        median_seed: Seed of the run with the median IGD (by hypervolume without a front).
        front: Non-dominated feasible objective vectors of that run `(n, n_obj)`, or None.
        attainment: By percentage of runs: the points `(m, 2)`, ascending in the first objective,
            of the surface that so many runs have attained. Two objectives only.
    """

    bands: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    times: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    spent: np.ndarray = field(default_factory=lambda: np.empty(0))
    median_seed: int | None = None
    front: np.ndarray | None = None
    attainment: dict[int, np.ndarray] = field(default_factory=dict)


@dataclass
class Gathered:
    """All of a store that is drawn.

    Attributes:
        evidence: By (row label, algorithm); pairs without finished cells are not there.
        targets: By row label: IGD targets `(t,)`, hardest first, and what they are multiples of
            (see `igd_targets`).
        factors: The multiples `(t,)`.
    """

    evidence: dict[tuple[str, str], Evidence]
    targets: dict[str, tuple[np.ndarray, str]]
    factors: tuple[float, ...] = TARGET_FACTORS

    def running_times(self, results: Results, target: int) -> np.ndarray:
        """ERT `(n_problems, n_algorithms)` of the k-th target; NaN where there are no targets."""
        table = np.full((len(results.rows), len(results.algorithms)), np.nan)
        for i, row in enumerate(results.rows):
            for j, algorithm in enumerate(results.algorithms):
                found = self.evidence.get((row, algorithm))
                if found is not None and found.times.shape[1]:
                    table[i, j] = expected_running_time(found.times[:, target], found.spent)
        return table


def gather(store: Store, results: Results) -> Gathered:
    """Read the arrays of all finished cells, once.

    Args:
        store: The store that `results` came from.
        results: What `summarize` returned.

    Cells without arrays (imported numbers) have no curves, fronts or times.

    Raises:
        StoreError: The store is damaged.
    """
    targets = {}
    for label, row in results.rows.items():
        finals = [v for a in results.algorithms for v in results.values(label, a, "igd")]
        targets[label] = igd_targets(row.floor, finals)
    evidence = {
        (label, algorithm): _evidence(store, cells, targets[label][0], results.rows[label].n_obj)
        for (label, algorithm), cells in results.done.items()
    }
    return Gathered(evidence, targets)


def arrays_of(
    store: Store, cell: StoredCell, name: str, only: Sequence[str] | None = None
) -> dict[str, np.ndarray] | None:
    """A cell's arrays (see `Store.arrays`); None where it has none of that name."""
    try:
        return store.arrays(cell.key, name, only)
    except KeyError:
        return None


def curves_of(
    store: Store, cells: Sequence[StoredCell], names: Sequence[str]
) -> list[tuple[StoredCell, dict[str, np.ndarray]]]:
    """The cells that have recorded curves, each with `n_eval` and those of the names it has."""
    found = [(cell, arrays_of(store, cell, "curves", ("n_eval", *names))) for cell in cells]
    return [(cell, curves) for cell, curves in found if curves and len(curves.get("n_eval", ()))]


def front_of(store: Store, cell: StoredCell) -> np.ndarray | None:
    """Non-dominated feasible objective vectors `(n, n_obj)` of a cell; None where it keeps none."""
    arrays = arrays_of(store, cell, "result", ("F", "CV"))
    if arrays is None or "F" not in arrays:
        return None
    return nondominated(arrays["F"], arrays.get("CV"))


def median_cell(cells: Sequence[StoredCell]) -> StoredCell:
    """The run whose IGD is the median (the lower one of an even number); by hypervolume if no
    front is known, the first if neither is."""
    if all(cell.igd is not None for cell in cells):
        ranked = sorted(cells, key=lambda c: (c.igd, c.seed))
    elif all(cell.hv is not None for cell in cells):
        ranked = sorted(cells, key=lambda c: (-(c.hv or 0.0), c.seed))
    else:
        return cells[0]
    return ranked[(len(ranked) - 1) // 2]


def band(values: Any) -> np.ndarray:
    """Quartiles of several runs `(3, k)`.

    Args:
        values: `(n_runs, k)`; those that are not finite are left out.

    Returns:
        Lower quartile, median and upper quartile; NaN where fewer than half have a value.
    """
    values = np.asarray(values, dtype=float)
    known = np.isfinite(values)
    quartiles = np.full((3, values.shape[1]), np.nan)
    whole = known.all(axis=0)
    if whole.any():
        quartiles[:, whole] = np.quantile(values[:, whole], (0.25, 0.5, 0.75), axis=0)
    for i in np.flatnonzero(~whole & (2 * known.sum(axis=0) >= len(values))):
        quartiles[:, i] = np.quantile(values[known[:, i], i], (0.25, 0.5, 0.75))
    return quartiles


def attainment_surfaces(
    fronts: Sequence[np.ndarray], percentages: Sequence[int] = ATTAINED
) -> dict[int, np.ndarray]:
    """Empirical attainment surfaces of several runs (moocore's `eaf`).

    Grunert da Fonseca, Fonseca, Hall (2001), EMO, LNCS 1993, 213-225.

    Args:
        fronts: Objective vectors `(n_i, 2)` of each run; runs without points attain nothing.
        percentages: Of the runs, in (0, 100].

    Returns:
        By percentage, points `(m, 2)` ascending in the first objective; no entry where nothing was
        attained by so many runs.
    """
    sets = [i for i, f in enumerate(fronts) for _ in range(len(f))]
    if not sets:
        return {}
    # moocore counts the sets that have points; empty runs are to count as well.
    n_filled, n_runs = len(set(sets)), len(fronts)
    points = np.concatenate([f for f in fronts if len(f)])
    surfaces = {}
    for percentage in percentages:
        n_needed = int(np.ceil(percentage / 100 * n_runs - 1e-9))
        if n_needed > n_filled:
            continue
        surface = moocore.eaf(points, sets, percentiles=[100 * n_needed / n_filled])[:, :2]
        surfaces[percentage] = surface[np.argsort(surface[:, 0], kind="stable")]
    return surfaces


def _evidence(
    store: Store, cells: Sequence[StoredCell], targets: np.ndarray, n_obj: int | None
) -> Evidence:
    found = Evidence()
    runs = curves_of(store, cells, tuple(INDICATORS))
    if runs:
        found.bands = _bands([curves for _, curves in runs])
        found.spent = np.array([c.n_eval or curves["n_eval"][-1] for c, curves in runs], float)
    timed = [
        hitting_times(curves["n_eval"], curves["igd"], targets)
        for _, curves in runs
        if "igd" in curves
    ]
    found.times = np.array(timed) if len(timed) == len(runs) else np.empty((0, 0))
    found.times = found.times.reshape(len(found.times), len(targets))
    chosen = median_cell(cells)
    found.median_seed = chosen.seed
    fronts = []
    for cell in cells if n_obj == 2 else [chosen]:
        f = front_of(store, cell)
        if f is None:
            continue
        fronts.append(f)
        if cell is chosen:
            found.front = f
    if n_obj == 2:
        found.attainment = attainment_surfaces(fronts)
    return found


def _bands(runs: Sequence[Mapping[str, np.ndarray]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Quartiles of the indicators at common evaluations, thinned to `MAX_CURVE_POINTS`."""
    grid = np.unique(np.concatenate([run["n_eval"] for run in runs]))
    if len(grid) > MAX_CURVE_POINTS:
        grid = grid[np.linspace(0, len(grid) - 1, MAX_CURVE_POINTS).round().astype(int)]
    at = [np.searchsorted(run["n_eval"], grid, side="right") - 1 for run in runs]
    bands = {}
    for name in INDICATORS:
        values = np.full((len(runs), len(grid)), np.nan)
        for i, (run, records) in enumerate(zip(runs, at, strict=True)):
            if name in run:
                values[i, records >= 0] = run[name][records[records >= 0]]
        quartiles = band(values)
        shown = ~np.isnan(quartiles[1])
        if shown.any():
            bands[name] = grid[shown], quartiles[:, shown]
    return bands
