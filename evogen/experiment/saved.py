"""Single runs in a store, with every point they have evaluated, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evogen.experiment.ask import Designs, ask
from evogen.experiment.cells import Cell, Outcome, describe_machine
from evogen.experiment.evaluations import NAMES, Evaluations
from evogen.experiment.history import LightHistory
from evogen.experiment.indicators import Reference, nondominated
from evogen.experiment.lookup import get_problem
from evogen.experiment.recorder import Recorder
from evogen.experiment.store import Store, StoredCell

#: Name of the arrays with all evaluated points, and of those with the solutions found.
EVALUATIONS, SOLUTIONS = "evaluations", "solutions"

#: Name of the arrays that say which of the points formed the population after each generation.
HISTORY = "history"


@dataclass(frozen=True)
class SavedRun:
    """A run read back from a store.

    Attributes:
        problem: The problem that it solved.
        label: What it was, in words.
        evaluations: Every point evaluated, or the final population (`complete` says which).
        solutions: Objectives of the solutions found `(n, n_obj)`; `between` counts these rows.
        complete: Whether `evaluations` holds all points; campaigns keep final populations only.
        history: The population and the front after each generation, or None if not kept.
    """

    problem: Any
    label: str
    evaluations: Evaluations
    solutions: np.ndarray
    complete: bool
    history: LightHistory | None = None

    def ask(self, *, between: tuple[int, int] | None = None, **wish: Any) -> Designs:
        """Designs for a wish; see `evogen.experiment.ask`. `between` counts rows of `solutions`."""
        data = self.evaluations
        x, f, cv = data.X, data.F, data.CV
        if between is not None:
            # The solutions come first, so that their numbers are row numbers.
            rows = [int(i) for i in between]
            for i in rows:
                if not 0 <= i < len(self.solutions):
                    raise ValueError(
                        f"between={tuple(rows)}: the run has the solutions 0 to "
                        f"{len(self.solutions) - 1}, no {i}"
                    )
            places = [int(np.argmin(np.abs(f - self.solutions[i]).sum(axis=1))) for i in rows]
            between = (places[0], places[1])
        return ask(x, f, CV=cv, problem=self.problem, between=between, **wish)


def save_run(res: Any, cell: Cell, recorder: Recorder, path: str | Path) -> None:
    """Write a run into a store, in the place of an earlier one of the same cell if any.

    Args:
        res: What `minimize` returned.
        cell: What was run.
        recorder: The callback that watched it.
        path: The store; made when it is not there.

    Raises:
        StoreError: The file is no store.
    """
    reference = Reference.of(res.problem)
    recorder.record(res.algorithm)
    arrays = {"result": _final_population(res), "curves": recorder.curves()}
    if res.evaluations is not None:
        arrays[EVALUATIONS] = {name: getattr(res.evaluations, name) for name in NAMES}
        if getattr(res, "light_history", None) is not None:
            arrays[HISTORY] = res.light_history.arrays()
    if res.X is not None:
        arrays[SOLUTIONS] = {"X": np.atleast_2d(res.X), "F": np.atleast_2d(res.F)}
    outcome = Outcome(
        "done",
        n_var=res.problem.n_var,
        n_obj=res.problem.n_obj,
        n_eval=res.n_eval,
        n_nonfinite=res.n_nonfinite,
        wall_seconds=res.exec_time,
        indicators=reference.measure(nondominated(res.pop.get("F"), res.pop.get("CV"))),
        reference=reference.describe(),
        machine=describe_machine(),
        arrays=arrays,
    )
    with Store(path) as store:
        store.save(cell, outcome)


def _final_population(res: Any) -> dict[str, np.ndarray]:
    arrays = {name: np.asarray(res.pop.get(name)) for name in ("X", "F", "CV", "G", "H")}
    arrays["X_nonfinite"] = np.asarray(res.X_nonfinite)
    return {name: values for name, values in arrays.items() if values.size}


def load_run(
    path: str | Path,
    *,
    problem: str | None = None,
    algorithm: str | None = None,
    seed: int | None = None,
) -> SavedRun:
    """Read one run from a store that `evogen run --save` or a campaign has written.

    Args:
        path: The store.
        problem: Label of the problem, where the store holds several runs.
        algorithm: Label of the algorithm.
        seed: Seed of the run.

    Raises:
        FileNotFoundError: There is no such file.
        StoreError: It is no store.
        ValueError: No run or several runs fit, or its problem cannot be built from its name.
    """
    wanted = {"problem": problem, "algorithm": algorithm, "seed": seed}
    given = {name: value for name, value in wanted.items() if value is not None}
    with Store(path, must_exist=True) as store:
        cells = store.cells("done")
        fitting = [c for c in cells if all(getattr(c, k) == v for k, v in given.items())]
        cell = _only(fitting or cells, bool(fitting), given, store.path)
        names = {}
        for name in (EVALUATIONS, SOLUTIONS, HISTORY, "result"):
            try:
                names[name] = store.arrays(cell.key, name)
            except KeyError:
                continue
    built = _problem(cell)
    complete = EVALUATIONS in names
    data = names[EVALUATIONS] if complete else names["result"]
    rows = np.isfinite(data["F"]).all(axis=1)
    kept = Evaluations(**{n: data[n][rows] for n in NAMES if n in data})
    found = names.get(SOLUTIONS, {}).get("F")
    if found is None:
        found = nondominated(kept.F, kept.CV)
    label = f"{cell.problem}, {cell.algorithm}, seed {cell.seed}"
    history = LightHistory(kept, names[HISTORY]) if complete and HISTORY in names else None
    return SavedRun(built, label, kept, found, complete, history)


def _only(
    cells: list[StoredCell], is_fitting: bool, given: dict[str, Any], path: Path
) -> StoredCell:
    """The one cell, or an error that says what there is."""
    if is_fitting and len(cells) == 1:
        return cells[0]
    if not cells:
        raise ValueError(f"{path} holds no finished run")
    there = {
        name: list(dict.fromkeys(str(getattr(c, name)) for c in cells))
        for name in ("problem", "algorithm", "seed")
    }
    text = "; ".join(
        f"{name}s {', '.join(values[:8])}{', ...' if len(values) > 8 else ''}"
        for name, values in there.items()
    )
    if not is_fitting:
        asked = ", ".join(f"{k} {v}" for k, v in given.items())
        raise ValueError(f"{path} holds no run with {asked}; there are {text}")
    raise ValueError(
        f"{path} holds {len(cells)} runs that fit; choose one by problem, algorithm and seed: "
        f"{text}"
    )


def _problem(cell: StoredCell) -> Any:
    spec = cell.spec["problem"]
    if ":" in spec["name"]:
        raise ValueError(
            f"the problem {cell.problem!r} is a Python function ({spec['name']}), which is not "
            "called from a file; use evogen.experiment.ask(X, F, problem=...) in Python"
        )
    return get_problem(spec["name"], **spec["settings"])
