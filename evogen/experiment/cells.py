"""One cell of a campaign: a problem, an algorithm, a seed; what identifies it and how it runs."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import numpy as np

from evogen._version import __version__
from evogen.experiment.budget import TargetTermination
from evogen.experiment.cell_checkpoints import CellCheckpoints
from evogen.experiment.checkpoint import CheckpointError
from evogen.experiment.indicators import Reference, nondominated
from evogen.experiment.lookup import get_algorithm, get_multitask_algorithm, get_problem
from evogen.experiment.memory import peak_memory, reset_peak
from evogen.experiment.recorder import Recorder
from evogen.experiment.run import minimize
from evogen.experiment.tasks import run_tasks, task_label, task_spec, tasks_of

#: Packages whose version can change a result.
PACKAGES = ("pymoo", "moocore", "numpy", "scipy", "torch")


@dataclass(frozen=True)
class Spec:
    """How to build a problem or an algorithm, in a form that can be stored and sent to a process.

    Attributes:
        label: How tables and figures call it.
        name: A registered name, or a picklable function (defined in a module, no lambda):
            `(problem, pop_size, **settings) -> Algorithm`, or `(**settings) -> Problem`.
        settings: Keyword arguments; plain JSON values.
    """

    label: str
    name: str | Callable[..., Any]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """Name and settings as plain JSON values; equal for specs that build the same.

        Raises:
            TypeError: A function without an importable name, or settings that are no JSON values.
        """
        name, settings = self.name, dict(self.settings)
        if isinstance(name, functools.partial):
            if name.args:
                raise TypeError(f"{self.label}: give the arguments of partial(...) by keyword")
            settings, name = {**name.keywords, **settings}, name.func
        if not isinstance(name, str):
            name = _importable_name(self.label, name)
        try:
            plain = json.loads(json.dumps(settings, sort_keys=True, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"{self.label}: settings={settings!r} must be plain numbers, strings, lists and "
                f"dictionaries ({error})"
            ) from None
        return {"name": name, "settings": plain}

    def build_problem(self) -> Any:
        """The problem that this stands for."""
        if isinstance(self.name, str):
            return get_problem(self.name, **self.settings)
        return self.name(**self.settings)

    def build_algorithm(self, problem: Any, pop_size: int) -> Any:
        """The algorithm that this stands for, new and not yet set up.

        Args:
            problem: What it is for; an object with `tasks` makes it an algorithm for several tasks.
            pop_size: Its population size, of every task.
        """
        if isinstance(self.name, str) and tasks_of(problem) is not None:
            return get_multitask_algorithm(self.name, problem, pop_size=pop_size, **self.settings)
        if isinstance(self.name, str):
            return get_algorithm(self.name, problem, pop_size=pop_size, **self.settings)
        return self.name(problem, pop_size, **self.settings)


def _importable_name(label: str, function: Any) -> str:
    qualname = getattr(function, "__qualname__", None)
    if qualname is None or "<" in qualname or not callable(function):
        raise TypeError(
            f"{label}: {function!r} is no registered name and no function defined in a module; a "
            "worker process must be able to import it"
        )
    return f"{function.__module__}:{qualname}"


@dataclass(frozen=True)
class Cell:
    """One run of a campaign.

    Attributes:
        problem: Builds the problem.
        algorithm: Builds the algorithm.
        seed: Seed of the run.
        pop_size: Population size.
        n_eval: Budget in evaluations, never exceeded: the last batch is cut to it, or left out
            where the algorithm needs whole ones.
        seconds: Wall time after which the run ends with its generation, if that is earlier. The
            result depends on the machine then.
        target: Indicator values at which the run ends, if that is earlier, e.g. `{"igd": 0.01}`
            (`evogen.experiment.budget.TargetTermination`).
    """

    problem: Spec
    algorithm: Spec
    seed: int
    pop_size: int
    n_eval: int
    seconds: float | None = None
    target: Mapping[str, float] | None = None

    def describe(self) -> dict[str, Any]:
        """What determines the result, as plain JSON values."""
        more = {"seconds": self.seconds, "target": None if not self.target else dict(self.target)}
        return {
            "problem": self.problem.describe(),
            "algorithm": self.algorithm.describe(),
            "seed": self.seed,
            "pop_size": self.pop_size,
            "n_eval": self.n_eval,
            # Cells without them keep the keys that they have always had.
            **{name: value for name, value in more.items() if value is not None},
        }

    def termination(self, reference: Reference | None) -> Any:
        """What ends a run.

        Args:
            reference: What indicators are measured against; may be None where nothing but
                evaluations ends a run.

        Raises:
            ValueError: A target that cannot be measured on the problem.
        """
        if self.seconds is None and not self.target:
            return ("n_eval", self.n_eval)
        assert reference is not None
        limits: dict[str, float] = {"n_eval": self.n_eval}
        if self.seconds is not None:
            limits["seconds"] = self.seconds
        return _Budget(reference, dict(self.target or {}), limits)

    @functools.cached_property
    def key(self) -> str:
        """Identity of the cell: a hash of `describe()`. Labels are not part of it."""
        text = json.dumps(self.describe(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def rows(self, outcome: Outcome) -> list[Row]:
        """The rows that a store keeps of an outcome: one, or one per task."""
        spec = self.describe()
        if not outcome.tasks:
            return [Row(self.key, self.problem.label, spec, outcome)]
        return [
            Row(
                self.key if number == 1 else f"{self.key}-{number}",
                task_label(self.problem.label, number),
                {**spec, "problem": task_spec(spec["problem"], number)},
                task,
            )
            for number, task in enumerate(outcome.tasks, start=1)
        ]

    def __str__(self) -> str:
        return f"{self.problem.label}, {self.algorithm.label}, seed {self.seed}"


class _Budget(TargetTermination):
    """Limits, with targets or without any."""

    def _is_reached(self, front: np.ndarray) -> bool:
        return bool(self.targets) and super()._is_reached(front)


@dataclass
class Outcome:
    """What became of a cell.

    Attributes:
        status: `"done"` or `"failed"`.
        error: One line, for a failed cell.
        traceback: The whole of it.
        warnings: Distinct warnings given during the run.
        n_var, n_obj: Size of the problem.
        n_eval: Evaluations made.
        n_nonfinite: Evaluations with non-finite values.
        cpu_seconds: Of the run, without measuring indicators.
        wall_seconds: Of the run, with everything.
        seconds_before: Those of them that the run had taken before it was stopped and continued.
        indicators: Final `igd`, `igd_plus`, `hv` (None where undefined).
        reference: What they were measured against (`Reference.describe`).
        machine: Where it ran and with which versions.
        peak_memory: Bytes that the process had at most during the run, with interpreter and
            libraries (`evogen.experiment.memory.peak_memory`).
        engine: What ran it: `"local"`, `"ray"` or `"dask"`.
        host: Name of the machine.
        arrays: `result` (final population: X, F, CV, G, H, X_nonfinite) and `curves`.
        tasks: What became of each task, if the problem has several; the fields above are empty
            then, but those of the whole run.
    """

    status: str
    error: str | None = None
    traceback: str | None = None
    warnings: list[str] = field(default_factory=list)
    n_var: int | None = None
    n_obj: int | None = None
    n_eval: int | None = None
    n_nonfinite: int | None = None
    cpu_seconds: float | None = None
    wall_seconds: float | None = None
    indicators: dict[str, float | None] = field(default_factory=dict)
    reference: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    peak_memory: int | None = None
    engine: str | None = None
    host: str | None = None
    arrays: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    tasks: list[Outcome] = field(default_factory=list)
    seconds_before: float = 0.0


@dataclass(frozen=True)
class Row:
    """What a store keeps in one row: a cell's outcome, or that of one of its tasks.

    Attributes:
        key: Of the row; the first task's is the cell's own, others have their number after a dash.
        problem: Label.
        spec: What determines the result, see `Cell.describe`; a task has its number in it.
        outcome: What became of it.
    """

    key: str
    problem: str
    spec: Mapping[str, Any]
    outcome: Outcome


@functools.cache
def describe_machine() -> dict[str, Any]:
    """Versions, processor and system, as plain JSON values."""
    versions = {"evogen": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "versions": versions,
        "system": platform.platform(terse=True),
        "processor": platform.machine(),
        "n_cpus": os.cpu_count(),
    }


def run_cell(
    cell: Cell,
    *,
    memory: AbstractContextManager[None] | None = None,
    checkpoints: CellCheckpoints | None = None,
) -> Outcome:
    """Run a cell. Whatever goes wrong in it is returned as a failed outcome, not raised.

    Args:
        cell: What to run.
        memory: Is entered for the run, e.g. `evogen.experiment.memory.limited_memory(10**9)`.
        checkpoints: Where the run keeps its state and takes up that of one that was stopped; it
            runs without, and says so in a warning, where that is impossible. None for nowhere.
    """
    begin = time.perf_counter()
    reset_peak()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        try:
            with memory or nullcontext():
                outcome = _run_kept(cell, checkpoints)
        except Exception as error:
            outcome = failure(error)
            if checkpoints is not None:  # it would raise again
                checkpoints.remove({cell.key})
    outcome.wall_seconds = time.perf_counter() - begin + outcome.seconds_before
    outcome.warnings = list(dict.fromkeys(f"{w.category.__name__}: {w.message}" for w in caught))
    outcome.machine, outcome.host = describe_machine(), platform.node()
    outcome.peak_memory = peak_memory()
    for task in outcome.tasks:
        # The run's time belongs to its tasks in equal parts.
        task.wall_seconds = outcome.wall_seconds / len(outcome.tasks)
        for name in ("warnings", "machine", "host", "peak_memory"):
            setattr(task, name, getattr(outcome, name))
    return outcome


def failure(error: BaseException) -> Outcome:
    """The outcome of a cell that raised."""
    text = "".join(traceback.format_exception(error))
    summary = f"{type(error).__name__}: {error}".splitlines()[0]
    return Outcome("failed", error=summary, traceback=text)


def _run_kept(cell: Cell, checkpoints: CellCheckpoints | None) -> Outcome:
    """Run a cell with checkpoints where it can have them."""
    if checkpoints is not None:
        try:
            kept = checkpoints.settings(cell.key)
        except OSError as error:
            warnings.warn(f"the cell keeps no checkpoint: {error}", stacklevel=2)
            return _run(cell, {})
        try:
            return _run(cell, kept)
        except CheckpointError as error:
            # Its algorithm cannot have any, or the one that is there is damaged or too old.
            checkpoints.remove({cell.key})
            warnings.warn(f"the cell keeps no checkpoint: {error}", stacklevel=2)
    return _run(cell, {})


def _run(cell: Cell, kept: Mapping[str, Any]) -> Outcome:
    problem = cell.problem.build_problem()
    algorithm = cell.algorithm.build_algorithm(problem, cell.pop_size)
    if tasks_of(problem) is not None:
        return _run_tasks(cell, problem, algorithm, kept)
    reference = Reference.of(problem)
    recorder = Recorder(reference)
    res = minimize(
        problem,
        algorithm,
        cell.termination(reference),
        seed=cell.seed,
        exact_budget=True,
        callback=recorder,
        copy_algorithm=False,
        keep_evaluations=False,
        **kept,
    )
    if not res.algorithm.termination.has_terminated():
        # Ctrl-C: a part of a run is no result of the cell.
        raise KeyboardInterrupt
    cpu_seconds = recorder.seconds
    if res.n_nonfinite >= res.n_eval:
        raise FloatingPointError(
            f"none of the {res.n_eval} evaluations gave finite objectives and constraints"
        )
    recorder.record(res.algorithm)
    final = nondominated(res.pop.get("F"), res.pop.get("CV"))
    return Outcome(
        "done",
        n_var=problem.n_var,
        n_obj=problem.n_obj,
        n_eval=res.n_eval,
        n_nonfinite=res.n_nonfinite,
        cpu_seconds=cpu_seconds,
        indicators=reference.measure(final),
        reference=reference.describe(),
        arrays={"result": _population_arrays(res), "curves": recorder.curves()},
        seconds_before=res.exec_time_resumed,
    )


def _run_tasks(cell: Cell, problem: Any, algorithm: Any, kept: Mapping[str, Any]) -> Outcome:
    run = run_tasks(problem, algorithm, cell.n_eval, cell.seed, **kept)
    tasks = []
    for reference, recorder, res in zip(run.references, run.recorders, run.results, strict=True):
        outcome = Outcome(
            "failed" if res.pop is None else "done",
            error=res.message or None,
            n_var=res.problem.n_var,
            n_obj=res.problem.n_obj,
            n_eval=res.n_eval,
            n_nonfinite=res.n_nonfinite,
            cpu_seconds=run.cpu_seconds / len(run.results),
            reference=reference.describe(),
        )
        if res.pop is not None:
            finite = res.pop[np.isfinite(np.ravel(res.pop.get("CV")))]
            final = nondominated(finite.get("F"), finite.get("CV"))
            outcome.indicators = reference.measure(final)
            res.X_nonfinite = np.empty((0, res.problem.n_var))
            outcome.arrays = {"result": _population_arrays(res), "curves": recorder.curves()}
        tasks.append(outcome)
    gaveup = [task.error for task in tasks if task.status == "failed"]
    return Outcome(
        "failed" if gaveup else "done",
        error=gaveup[0] if gaveup else None,
        tasks=tasks,
        seconds_before=run.exec_time_resumed,
    )


def _population_arrays(res: Any) -> dict[str, np.ndarray]:
    arrays = {name: np.asarray(res.pop.get(name)) for name in ("X", "F", "CV", "G", "H")}
    arrays["X_nonfinite"] = np.asarray(res.X_nonfinite)
    return {name: _plain(values) for name, values in arrays.items() if values.size}


def _plain(values: np.ndarray) -> np.ndarray:
    """An array without objects: mixed variables (a dictionary per row) become JSON texts."""
    if values.dtype != object:
        return values
    return np.array([json.dumps(row, default=lambda v: v.item()) for row in values])
