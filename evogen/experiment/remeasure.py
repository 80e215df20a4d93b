"""Keeping true fronts up to date, and stored cells measured against the front that is kept.

A front changes when a problem's formula is corrected or sampled otherwise in a newer version.
Numbers measured against different fronts do not belong in one table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from evogen.experiment.cells import Spec
from evogen.experiment.indicators import Reference, floor, nondominated
from evogen.experiment.store import Remeasured, Store, StoredCell
from evogen.experiment.tasks import task_spec, tasks_of

#: Fronts that differ by less, relative to their extent, are the same one computed elsewhere.
TOLERANCE = 1e-9


def keep_front(store: Store, spec: Spec, pop_size: int) -> int:
    """Store a problem's true front and floor, and measure cells again if the front has changed.

    Final indicators are computed anew from the stored populations. Those over evaluations cannot
    be: of these curves only the end is left. A front that is not known at present (it would have to
    be downloaded, say) does not replace one that was.

    Args:
        store: The store.
        spec: The problem.
        pop_size: The population size that the floor is for.

    Returns:
        Number of cells measured again.
    """
    description, problem = spec.describe(), spec.build_problem()
    tasks = tasks_of(problem)
    if tasks is None:
        return _keep(store, description, problem, pop_size)
    return sum(
        _keep(store, task_spec(description, number), task, pop_size)
        for number, task in enumerate(tasks, start=1)
    )


def _keep(store: Store, description: Mapping[str, Any], problem: Any, pop_size: int) -> int:
    reference = Reference.of(problem)
    known = store.has_front(description, pop_size)
    old, _ = store.front(description, pop_size)
    if known and (reference.front is None or _same(old, reference.front)):
        return 0
    remeasured = [
        _remeasure(store, cell, reference)
        for cell in (store.cells("done") if known else ())
        if cell.pop_size == pop_size
        and cell.spec["problem"] == description
        # Of somebody's results there are numbers only.
        and "imported" not in cell.spec["algorithm"]["settings"]
    ]
    bound = floor(problem, pop_size)
    store.save_front(description, pop_size, reference.front, bound, remeasured=remeasured)
    return len(remeasured)


def _same(old: np.ndarray | None, new: np.ndarray) -> bool:
    if old is None or old.shape != new.shape:
        return False
    return np.allclose(old, new, rtol=0.0, atol=TOLERANCE * max(1e-300, float(np.ptp(new))))


def _remeasure(store: Store, cell: StoredCell, reference: Reference) -> Remeasured:
    result = store.arrays(cell.key, "result")
    measured = reference.measure(nondominated(result["F"], result.get("CV")))
    curves: dict[str, Any] = store.arrays(cell.key, "curves")
    for name, value in measured.items():
        curves[name] = np.full(len(curves["n_eval"]), np.nan)
        if value is not None:
            # Cells record their last generation.
            curves[name][-1:] = value
    return Remeasured(cell.key, measured, reference.describe(), curves)
