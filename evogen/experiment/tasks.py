"""Cells whose problem has several tasks: how they run, are measured, and name their rows."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from pymoo.core.problem import Problem

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
    """

    results: list[Any]
    references: list[Reference]
    recorders: list[Recorder]
    cpu_seconds: float


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


def run_tasks(problem: Any, algorithm: MultitaskAlgorithm, n_eval: int, seed: int) -> TaskRun:
    """Run an algorithm for several tasks and measure every task.

    Args:
        problem: Has `tasks`.
        algorithm: New.
        n_eval: Evaluations of all tasks together.
        seed: Of the run.

    Raises:
        KeyboardInterrupt: A part of a run is no result of a cell.
    """
    references = [Reference.of(task) for task in problem.tasks]
    recorders = [Recorder(reference) for reference in references]
    begin = time.process_time()

    def record(running: MultitaskAlgorithm, *, last: bool = False) -> None:
        for state, recorder in zip(running.states, recorders, strict=True):
            view = _view(running, state)
            if view is None:
                continue
            # A generation in which a task rested adds nothing to its curve.
            recorder.record(view) if last else recorder.notify(view)

    res = minimize_multitask(
        problem, algorithm, ("n_eval", n_eval), seed=seed, callback=record, copy_algorithm=False
    )
    if any(result.message == "interrupted" for result in res.tasks):
        raise KeyboardInterrupt
    cpu_seconds = time.process_time() - begin - sum(r.overhead for r in recorders)
    record(res.algorithm, last=True)
    return TaskRun(res.tasks, references, recorders, cpu_seconds)


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
