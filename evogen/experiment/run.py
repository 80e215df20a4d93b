"""One run: pymoo's `minimize` with names, early checks, a guard, checkpoints and exact budgets."""

from __future__ import annotations

import copy
import os
import time
import types
from dataclasses import dataclass
from typing import Any

import numpy as np

from evogen.experiment.ask import RunResult
from evogen.experiment.budget import ExactBudget, evaluation_limit, resolve_termination
from evogen.experiment.checkpoint import Checkpoint
from evogen.experiment.checks import (
    check_is_algorithm,
    check_problem,
    check_sampling,
    check_setup_keywords,
    check_termination,
)
from evogen.experiment.evaluation import GuardedEvaluator
from evogen.experiment.evaluations import RecordingEvaluator
from evogen.experiment.history import Generations, GenerationTracker
from evogen.experiment.lookup import check_algorithm, get_algorithm, get_problem
from evogen.experiment.progress import RunProgress
from evogen.experiment.recorder import Recorder

OWN_KEYWORDS = (
    "termination",
    "seed",
    "pop_size",
    "progress",
    "keep_evaluations",
    "save_history",
    "exact_budget",
    "checkpoint",
    "checkpoint_every",
    "callback",
    "copy_algorithm",
    "copy_termination",
)


def minimize(
    problem: Any,
    algorithm: Any,
    termination: Any = None,
    *,
    seed: int | None = None,
    pop_size: int | None = None,
    progress: bool = False,
    keep_evaluations: bool = True,
    save_history: bool | str | None = None,
    exact_budget: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: Any = ("seconds", 30),
    callback: Any = None,
    copy_algorithm: bool = True,
    copy_termination: bool = True,
    **setup_kwargs: Any,
) -> Any:
    """Solve a problem; signature and result are those of `pymoo.optimize.minimize`.

    The run is bit for bit that of pymoo's function as long as all values are finite. Rows with
    non-finite objectives or constraints are counted and treated as the worst points known
    (`evogen.experiment.GuardedEvaluator`), so that the run goes on.

    An exception of the problem ends the run and propagates (with `copy_algorithm=False` the
    algorithm given keeps what it had found). Ctrl-C returns what was found so far, with
    `res.success` False.

    With `checkpoint`, the run's state is written between generations, and the same call again
    continues: it ends with the very result of a run that nothing has stopped, bit for bit on one
    machine with the same packages. The state is data, opening a file runs nothing from it; the
    problem, functions and open files are not in it but taken from the call. A problem that changes
    as it evaluates (a random number generator of its own) keeps its changes to itself.

    Args:
        problem: A pymoo `Problem`, or the name of a registered one.
        algorithm: A pymoo `Algorithm`, or the name of a registered one.
        termination: `("n_eval", 5000)`, `("n_gen", 50)`, `("seconds", 60)`, `("time",
            "00:01:00")`, `("igd", 0.01)`, `("target", {"igd": 0.01, "n_eval": 20000})` (see
            `evogen.experiment.budget`), a pymoo `Termination`, or None for pymoo's default.
        seed: Decides the run; None draws a fresh one (or leaves the algorithm's own).
        pop_size: Population size of an algorithm given by name; None is 100, but "auto" chooses.
        progress: Show a bar with evaluations, the best value or IGD so far, and the time left.
        keep_evaluations: Keep every evaluated point as arrays, 8 bytes a number, for
            `res.evaluations` and `res.ask`.
        save_history: "light" keeps which points formed the population and the front after each
            generation, for `res.light_history`; True is pymoo's, a deep copy of everything per
            generation.
        exact_budget: Never make more evaluations than the termination says: the last batch is cut
            to what is left, or, where an algorithm cannot do with a part of its points, left out.
            pymoo ends with the generation that reaches the budget.
        checkpoint: File of the run's state, e.g. `"run.ckpt"`; the one before it is kept as
            `run.ckpt.1`. The last one holds the finished run.
        checkpoint_every: `("seconds", 30)` (never more than a twentieth of the time), or a number
            of generations. Between two, work is lost.
        callback: pymoo `Callback` or function of the algorithm, called after each generation.
        copy_algorithm: Work on a copy; what ran is `res.algorithm`.
        copy_termination: Work on a copy of a `Termination` object.
        **setup_kwargs: Passed to `algorithm.setup`, e.g. `verbose`, `save_history`, `archive`, or
            any other attribute of the algorithm.

    Returns:
        pymoo `Result`: `X`, `F`, `G`, `H`, `CV`, `opt`, `pop`, `algorithm`, ...; besides pymoo's:
        `success` (ended by its termination with a feasible point), `message`, `n_eval`,
        `n_eval_resumed` (those of them that were taken over from a checkpoint),
        `exec_time_resumed` (the same of the seconds in `exec_time`), `n_nonfinite` and
        `X_nonfinite` (the decision vectors of such rows, in order), `evaluations`,
        `light_history`, and the method `ask` (`evogen.experiment.RunResult`).

    Raises:
        TypeError: `problem`, `algorithm` or `termination` is of the wrong kind, a keyword that
            nothing knows, a generative operator in an algorithm that would ignore it, or named
            variables with an algorithm for arrays.
        ValueError: Unknown names, impossible bounds, `pop_size` beside an algorithm object; a
            checkpoint that is damaged, of another run, or of a run that cannot be written (its
            message names the object); an exact budget without a number of evaluations.
    """
    if isinstance(problem, str):
        problem = get_problem(problem)
    check_problem(problem)
    termination = resolve_termination(termination, problem)
    check_termination(termination)
    _check_seed(seed)
    file = None if checkpoint is None else Checkpoint(checkpoint, checkpoint_every)
    is_light = _check_history(save_history, keep_evaluations, file)
    if save_history is not None and not is_light:
        setup_kwargs["save_history"] = save_history
    algorithm, is_own = _algorithm(algorithm, problem, pop_size)
    check_setup_keywords(algorithm, setup_kwargs, OWN_KEYWORDS)
    check_sampling(algorithm, problem)
    check_algorithm(algorithm, problem)

    if copy_algorithm and not is_own:
        algorithm = copy.deepcopy(algorithm)
    evaluator = setup_kwargs.pop("evaluator", None) or algorithm.evaluator
    if not isinstance(evaluator, GuardedEvaluator):
        evaluator = GuardedEvaluator(evaluator)
    recorded = isinstance(evaluator.inner, RecordingEvaluator)  # a run that goes on
    if keep_evaluations and not recorded:
        evaluator.inner = RecordingEvaluator(evaluator.inner)
    algorithm.evaluator = evaluator
    is_fresh = algorithm.problem is None
    budget = _exact_budget(exact_budget, termination if is_fresh else algorithm.termination)
    if is_fresh:
        given = {"seed": seed, "callback": callback, "termination": termination}
        if copy_termination:
            given["termination"] = copy.deepcopy(termination)
        setup_kwargs.update({name: value for name, value in given.items() if value is not None})
        algorithm.setup(problem, **setup_kwargs)
    elif file is not None:
        raise ValueError(
            f"checkpoint={str(checkpoint)!r} needs an algorithm that has not been set up: a run "
            "that was begun elsewhere cannot be begun again in the same way"
        )
    running = _Running(algorithm, problem, evaluator)
    running.budget, running.checkpoint = budget, file
    running.generations = Generations() if is_light else None
    if file is not None:
        running.resume(keep_evaluations, is_seeded=algorithm.seed is not None)
    return running.run(progress)


def _check_history(save_history: Any, keep_evaluations: bool, file: Checkpoint | None) -> bool:
    """Whether the history is a light one."""
    if save_history is None or isinstance(save_history, bool):
        if save_history and file is not None:
            raise ValueError(
                "save_history=True keeps copies of the whole algorithm, which a checkpoint does "
                'not hold; use save_history="light"'
            )
        return False
    if save_history != "light":
        raise ValueError(f'save_history={save_history!r} must be True, False or "light"')
    if not keep_evaluations:
        raise ValueError('save_history="light" needs keep_evaluations=True: it points into them')
    return True


def _exact_budget(is_exact: bool, termination: Any) -> ExactBudget | None:
    if not is_exact:
        return None
    limit = evaluation_limit(termination)
    if limit is None:
        raise ValueError(
            "exact_budget=True needs a termination that counts evaluations, such as ('n_eval', "
            f"5000); got {termination!r}"
        )
    return ExactBudget(limit)


def _algorithm(algorithm: Any, problem: Any, pop_size: int | None) -> tuple[Any, bool]:
    """The algorithm, and whether it was made here (nobody else holds it)."""
    if pop_size is not None and (isinstance(pop_size, bool) or int(pop_size) != pop_size):
        raise TypeError(f"pop_size={pop_size!r} must be a whole number")
    if pop_size is not None and pop_size < 2:
        raise ValueError(f"pop_size={pop_size} must be at least 2")
    if isinstance(algorithm, str):
        size = None if pop_size is None else int(pop_size)
        return get_algorithm(algorithm, problem, pop_size=size), True
    check_is_algorithm(algorithm)
    if pop_size is not None:
        raise ValueError(
            f"pop_size={pop_size} goes with an algorithm's name; give it to the constructor: "
            f"{type(algorithm).__name__}(pop_size={pop_size})"
        )
    return algorithm, False


def _check_seed(seed: Any) -> None:
    if seed is None:
        return
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise TypeError(f"seed={seed!r} must be a whole number or None")
    if seed < 0:
        raise ValueError(f"seed={seed} must not be negative")


@dataclass
class _Running:
    """A run between its setup and its result."""

    algorithm: Any
    problem: Any
    evaluator: GuardedEvaluator
    budget: ExactBudget | None = None
    checkpoint: Checkpoint | None = None
    generations: Generations | None = None
    n_eval_resumed: int = 0

    def resume(self, keep_evaluations: bool, *, is_seeded: bool) -> None:
        """Take up the checkpoint if there is one."""
        assert self.checkpoint is not None
        settings = {
            "keep_evaluations": bool(keep_evaluations),
            "save_history": None if self.generations is None else "light",
            "exact_budget": self.budget is not None,
        }
        roots = {
            "algorithm": self.algorithm,
            "budget": self.budget,
            "generations": self.generations,
        }
        if self.checkpoint.begin(roots, settings=settings, is_seeded=is_seeded):
            self.n_eval_resumed = int(self.evaluator.n_eval)
            restart_clocks(self.algorithm, self.checkpoint.elapsed)

    def run(self, progress: bool) -> RunResult:
        """All generations that are left, and the result."""
        algorithm, tracker = self.algorithm, None
        if self.generations is not None:
            tracker = GenerationTracker(self.generations, self.evaluator.inner)
        interrupted = False
        with RunProgress(self.problem, visible=progress) as bar:
            try:
                # What `algorithm.run()` does, with a look at the bar in between.
                while algorithm.has_next():
                    before = algorithm.n_iter if algorithm.is_initialized else 0
                    if self.budget is not None:
                        self.budget.next(algorithm)
                    else:
                        algorithm.next()
                    bar.update(algorithm)
                    # Some algorithms evaluate one point a step: a generation is many steps.
                    if algorithm.n_iter == before and algorithm.has_next():
                        continue
                    if tracker is not None:
                        tracker.record(algorithm)
                    if self.checkpoint is not None and is_between_generations(algorithm):
                        self.checkpoint.step(is_last=not algorithm.has_next())
            except KeyboardInterrupt:
                if algorithm.start_time is None:
                    raise  # nothing has begun, there is no result to return
                interrupted = True
        return self._result(interrupted)

    def _result(self, interrupted: bool) -> RunResult:
        algorithm, evaluator = self.algorithm, self.evaluator
        res = RunResult()
        res.__dict__.update(algorithm.result().__dict__)
        res.algorithm = algorithm
        res.light_history = None
        if isinstance(evaluator.inner, RecordingEvaluator):
            res.evaluations = evaluator.inner.evaluations()
            if self.generations is not None and res.evaluations is not None:
                res.light_history = self.generations.history(res.evaluations)
        res.exec_time_resumed = 0.0
        if self.checkpoint is not None:
            res.exec_time = self.checkpoint.seconds()
            res.exec_time_resumed = self.checkpoint.elapsed
        res.n_eval, res.n_eval_resumed = evaluator.n_eval, self.n_eval_resumed
        res.n_nonfinite = evaluator.n_nonfinite
        res.X_nonfinite = np.array([individual.X for individual in evaluator.nonfinite])
        res.success = not interrupted and res.X is not None
        res.message = _message(algorithm, res, interrupted)
        if self.budget is not None and self.budget.note:
            res.message += f"; {self.budget.note}"
        return res


def is_between_generations(algorithm: Any) -> bool:
    """Whether an algorithm's state is data now, and no suspended function."""
    generator = getattr(algorithm, "generator", None)
    return not isinstance(generator, types.GeneratorType)


def restart_clocks(algorithm: Any, elapsed: float) -> None:
    """Let times that were measured in another process go on from now.

    Args:
        algorithm: Restored from a checkpoint.
        elapsed: Seconds that the run had taken.
    """
    if algorithm.start_time is not None:
        algorithm.start_time = time.time() - elapsed
    if isinstance(algorithm.callback, Recorder):
        algorithm.callback.go_on()


def _message(algorithm: Any, res: Any, interrupted: bool) -> str:
    if interrupted:
        how = "interrupted"
    elif algorithm.termination.force_termination:
        how = "stopped early, the algorithm made no new points,"
    else:
        how = "terminated"
    text = f"{how} after {res.n_eval} evaluations"
    if res.X is None:
        text += "; no feasible point with finite values was found"
    if res.n_nonfinite:
        text += f"; {res.n_nonfinite} points had non-finite values"
    return text
