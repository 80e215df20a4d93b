"""One run over several tasks, and its result."""

from __future__ import annotations

import copy
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from pymoo.core.result import Result
from pymoo.util.optimum import filter_optimum

from evogen.multitask.loop import MultitaskAlgorithm, Values
from evogen.multitask.problem import MultitaskProblem, names_of


@dataclass
class MultitaskResult:
    """What a run found.

    Attributes:
        tasks: One pymoo `Result` per task: `X`, `F`, `G`, `H`, `CV`, `pop`, `opt`, `problem`,
            `n_eval`, `success`, `message`; X and F are None for a task that was given up at once.
        algorithm: What ran.
        n_eval: Evaluations of all tasks.
        n_gen: Generations.
        exec_time: Seconds.
        success: Whether every task went on to the end.
    """

    tasks: list[Result]
    algorithm: MultitaskAlgorithm
    n_eval: int
    n_gen: int
    exec_time: float
    success: bool

    def __len__(self) -> int:
        return len(self.tasks)

    def __getitem__(self, number: int) -> Result:
        return self.tasks[number]


class Checkpointer(Protocol):
    """What keeps the state of a run; `evogen.experiment.checkpoint.Checkpoint` is one."""

    def begin(
        self, roots: Mapping[str, Any], *, settings: Mapping[str, Any], is_seeded: bool
    ) -> bool:
        """Give the objects the state of an earlier run, if there is one; whether there was."""

    def step(self, *, is_last: bool) -> None:
        """Called after every generation."""

    def seconds(self) -> float:
        """Seconds that the run has taken, with its earlier parts."""


def minimize_multitask(
    tasks: Any,
    algorithm: MultitaskAlgorithm,
    termination: Any = ("n_eval", 20_000),
    *,
    seed: int | None = None,
    budgets: Sequence[int | None] | None = None,
    callback: Callable[[MultitaskAlgorithm], Any] | None = None,
    verbose: bool = False,
    copy_algorithm: bool = True,
    checkpoint: Checkpointer | None = None,
) -> MultitaskResult:
    """Solves several problems together.

    A task whose evaluation raises is given up, keeps what it had, and the others go on; points
    whose values are not finite count as the worst. Ctrl-C returns what was found so far.

    Args:
        tasks: pymoo problems, two at least, or an object with such `tasks`.
        algorithm: E.g. `evogen.algorithms.MOMFEA()`.
        termination: `("n_eval", 200_000)` (of all tasks together), `("n_gen", 50)`, ...
        seed: Decides the run, bit for bit.
        budgets: For every task the most evaluations of its own, or None.
        callback: Called with the algorithm after every generation; true ends the run.
        verbose: Print a line per task every tenth generation.
        copy_algorithm: Work on a copy; what ran is `res.algorithm`.
        checkpoint: Keeps the state of the run: the same call again continues, with the result of
            one run, bit for bit. E.g. `evogen.experiment.checkpoint.Checkpoint("run.ckpt")`;
            `evogen.minimize_multitask` takes the name of the file.

    Returns:
        One pymoo `Result` per task, and what they have in common.

    Raises:
        TypeError: A task or the algorithm is of the wrong kind.
        ValueError: Fewer than two tasks, impossible bounds or budgets.
    """
    if not isinstance(algorithm, MultitaskAlgorithm):
        raise TypeError(
            f"algorithm must be a MultitaskAlgorithm such as MOMFEA(); got {algorithm!r}"
        )
    started = time.perf_counter()
    running = copy.deepcopy(algorithm) if copy_algorithm else algorithm
    running.setup(tasks, termination, seed=seed, budgets=budgets)
    assert running.problem is not None
    if checkpoint is not None:
        checkpoint.begin({"algorithm": running}, settings={}, is_seeded=seed is not None)
    interrupted = False
    try:
        while running.has_next():
            asked = running.ask()
            running.tell([_evaluated(running.problem, i, x) for i, x in enumerate(asked)])
            if verbose and (running.n_gen == 1 or running.n_gen % 10 == 0):
                _print_lines(running)
            is_over = callback is not None and bool(callback(running))
            if checkpoint is not None:
                checkpoint.step(is_last=is_over or not running.has_next())
            if is_over:
                break
    except KeyboardInterrupt:
        interrupted = True
    results = [_result(running, i, interrupted) for i in range(len(running.states))]
    return MultitaskResult(
        tasks=results,
        algorithm=running,
        n_eval=running.n_eval,
        n_gen=running.n_gen,
        exec_time=time.perf_counter() - started if checkpoint is None else checkpoint.seconds(),
        success=all(result.success for result in results),
    )


def _evaluated(
    problem: MultitaskProblem, number: int, x: np.ndarray
) -> Values | BaseException | None:
    if len(x) == 0:
        return None
    try:
        return problem.evaluate(number, x)
    except Exception as error:  # the other tasks go on
        print(f"task {number} is given up:", file=sys.stderr)
        traceback.print_exc()
        return error


def _result(running: MultitaskAlgorithm, number: int, interrupted: bool) -> Result:
    assert running.problem is not None
    state = running.states[number]
    result = Result()
    result.problem, result.algorithm = state.problem, running
    result.n_eval, result.n_nonfinite = state.n_eval, state.n_nonfinite
    result.message = "interrupted" if interrupted else state.failure
    result.success = not result.message
    for key in ("X", "F", "G", "H", "CV", "pop", "opt"):
        setattr(result, key, None)
    if state.points is None:
        return result
    result.pop = state.population(running.problem.decode(number, state.points.u))
    real = np.isfinite(state.points.cv)
    if not real.any():
        return result
    result.opt = filter_optimum(result.pop[real], least_infeasible=True)
    for key in ("X", "F", "G", "H", "CV"):
        setattr(result, key, np.atleast_2d(result.opt.get(key)))
    feasible = bool((result.CV <= 0).any())
    result.success = result.success and feasible
    if not feasible and not result.message:
        result.message = "no feasible point was found"
    return result


def _print_lines(running: MultitaskAlgorithm) -> None:
    assert running.problem is not None
    for name, state in zip(names_of(running.problem.tasks), running.states, strict=True):
        if state.points is None:
            print(f"{running.n_gen:6d}  {name}: {state.failure}")
            continue
        best = ", ".join(f"{v:.4g}" for v in state.points.f.min(axis=0))
        n_feasible = int((state.points.cv <= 0).sum())
        print(
            f"{running.n_gen:6d}  {name}: {state.n_eval} evaluations, "
            f"{n_feasible} feasible, least objectives {best}"
        )
