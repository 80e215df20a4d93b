"""Cells whose problem has several tasks: how they run, are measured, and name their rows."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from pymoo.core.problem import Problem

from evogen.experiment.checkpoint import Checkpoint
from evogen.experiment.checks import check_is_algorithm, check_problem
from evogen.experiment.indicators import Reference
from evogen.experiment.recorder import Recorder
from evogen.multitask import MultitaskAlgorithm, minimize_multitask


def tasks_of(problem: Any) -> Sequence[Problem] | None:
    """The tasks of a problem that has several, None for an ordinary one."""
    return None if isinstance(problem, Problem) else getattr(problem, "tasks", None)


def task_label(label: str, number: int) -> str:
    """What a row is called: the problem's label and the task's number, from 1."""
    return f"{label} T{number}"


def task_spec(problem: Mapping[str, Any], number: int) -> dict[str, Any]:
    """A problem's `Spec.describe()` with the number of the task, from 1."""
    return {**problem, "task": number}


@dataclass
class TaskRun:
    """A finished run.

    Attributes:
        results: One pymoo `Result` per task.
        references: What each was measured against.
        recorders: Indicators over the evaluations of each.
        cpu_seconds: Of the whole run, without measuring.
        exec_time_resumed: Seconds that the run had taken by its checkpoint.
    """

    results: list[Any]
    references: list[Reference]
    recorders: list[Recorder]
    cpu_seconds: float
    exec_time_resumed: float


class TaskRecorders:
    """Records every task of a run; the run's callback.

    Args:
        references: What each task is measured against.

    Attributes:
        recorders: One for each task.
    """

    def __init__(self, references: Sequence[Reference]) -> None:
        self.recorders = [Recorder(reference) for reference in references]
        self._start = time.process_time()
        self._spent = 0.0

    def __call__(self, running: MultitaskAlgorithm) -> None:
        """Record a generation."""
        self._record(running, is_last=False)

    def end(self, running: MultitaskAlgorithm) -> None:
        """Record how the run ended."""
        self._record(running, is_last=True)

    def _record(self, running: MultitaskAlgorithm, *, is_last: bool) -> None:
        for state, recorder in zip(running.states, self.recorders, strict=True):
            view = _view(running, state)
            if view is None:
                continue
            # A generation in which a task rested adds nothing to its curve.
            recorder.record(view) if is_last else recorder.notify(view)
        self._spent = self.seconds

    @property
    def seconds(self) -> float:
        """CPU seconds since the beginning, without measuring."""
        return time.process_time() - self._start - sum(r.overhead for r in self.recorders)

    def go_on(self) -> None:
        """To be called when restored in another process: all clocks go on from now."""
        overhead = sum(recorder.overhead for recorder in self.recorders)
        self._start = time.process_time() - self._spent - overhead
        for recorder in self.recorders:
            recorder.go_on()


class _RecordedCheckpoint(Checkpoint):
    """The state of a run and of what recorded it."""

    def __init__(self, recorders: TaskRecorders, path: Any, every: Any) -> None:
        super().__init__(path, every)
        self._recorders = recorders

    def begin(self, roots: Mapping[str, Any], **given: Any) -> bool:
        found = super().begin({**roots, "recorders": self._recorders}, **given)
        if found:
            self._recorders.go_on()
        return found


def check_tasks(problem: Any, algorithm: Any, n_eval: int) -> None:
    """Refuse what would fail later.

    Raises:
        TypeError: A task is no problem, or the algorithm is for one task and was not given by name.
        ValueError: A budget smaller than the populations, or impossible bounds.
    """
    if not isinstance(algorithm, MultitaskAlgorithm):
        check_is_algorithm(algorithm)
        raise TypeError(f"{type(algorithm).__name__} solves one task; give its name instead")
    for task in problem.tasks:
        check_problem(task)
    copy.deepcopy(algorithm).setup(problem, ("n_eval", n_eval), seed=0)


def run_tasks(
    problem: Any,
    algorithm: MultitaskAlgorithm,
    n_eval: int,
    seed: int,
    *,
    checkpoint: Any = None,
    checkpoint_every: Any = ("seconds", 30),
) -> TaskRun:
    """Run an algorithm for several tasks and measure every task.

    Args:
        problem: Has `tasks`.
        algorithm: New.
        n_eval: Evaluations of all tasks together.
        seed: Of the run.
        checkpoint: File of the run's state, see `evogen.minimize`.
        checkpoint_every: As there.

    Raises:
        KeyboardInterrupt: A part of a run is no result of a cell.
        CheckpointError: The checkpoint is damaged, of another run, or cannot be written.
    """
    references = [Reference.of(task) for task in problem.tasks]
    watching = TaskRecorders(references)
    file = None
    if checkpoint is not None:
        file = _RecordedCheckpoint(watching, checkpoint, checkpoint_every)
    res = minimize_multitask(
        problem,
        algorithm,
        ("n_eval", n_eval),
        seed=seed,
        callback=watching,
        copy_algorithm=False,
        checkpoint=file,
    )
    if any(result.message == "interrupted" for result in res.tasks):
        raise KeyboardInterrupt
    cpu_seconds = watching.seconds
    watching.end(res.algorithm)
    resumed = 0.0 if file is None else file.elapsed
    return TaskRun(res.tasks, references, watching.recorders, cpu_seconds, resumed)


def _view(running: MultitaskAlgorithm, state: Any) -> Any:
    """A task as a recorder sees an algorithm."""
    if state.points is None:
        return None
    known = state.points.finite()
    values = {"F": known.f, "CV": known.cv}
    return SimpleNamespace(
        evaluator=SimpleNamespace(n_eval=state.n_eval),
        n_iter=running.n_gen + 1,
        pop=SimpleNamespace(get=values.__getitem__),
    )
