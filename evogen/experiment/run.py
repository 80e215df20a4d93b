"""One run: pymoo's `minimize` with names, early checks, a guard and a progress bar."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from evogen.experiment.ask import RunResult
from evogen.experiment.checks import (
    check_is_algorithm,
    check_problem,
    check_sampling,
    check_setup_keywords,
    check_termination,
)
from evogen.experiment.evaluation import GuardedEvaluator
from evogen.experiment.evaluations import RecordingEvaluator
from evogen.experiment.lookup import check_algorithm, get_algorithm, get_problem
from evogen.experiment.progress import RunProgress

OWN_KEYWORDS = (
    "termination",
    "seed",
    "pop_size",
    "progress",
    "keep_evaluations",
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

    Args:
        problem: A pymoo `Problem`, or the name of a registered one.
        algorithm: A pymoo `Algorithm`, or the name of a registered one.
        termination: `("n_eval", 5000)`, `("n_gen", 50)`, `("time", "00:01:00")`, a pymoo
            `Termination`, or None for pymoo's default.
        seed: Decides the run; None draws a fresh one (or leaves the algorithm's own).
        pop_size: Population size of an algorithm given by name; None is 100, but "auto" chooses.
        progress: Show a bar with evaluations, the best value or IGD so far, and the time left.
        keep_evaluations: Keep every evaluated point as arrays, 8 bytes a number, for
            `res.evaluations` and `res.ask`.
        callback: pymoo `Callback` or function of the algorithm, called after each generation.
        copy_algorithm: Work on a copy; what ran is `res.algorithm`.
        copy_termination: Work on a copy of a `Termination` object.
        **setup_kwargs: Passed to `algorithm.setup`, e.g. `verbose`, `save_history`, `archive`, or
            any other attribute of the algorithm.

    Returns:
        pymoo `Result`: `X`, `F`, `G`, `H`, `CV`, `opt`, `pop`, `algorithm`, ...; besides pymoo's:
        `success` (ended by its termination with a feasible point), `message`, `n_eval`,
        `n_nonfinite` and `X_nonfinite` (the decision vectors of such rows, in order),
        `evaluations`, and the method `ask` (`evogen.experiment.RunResult`).

    Raises:
        TypeError: `problem`, `algorithm` or `termination` is of the wrong kind, a keyword that
            nothing knows, a generative operator in an algorithm that would ignore it, or named
            variables with an algorithm for arrays.
        ValueError: Unknown names, impossible bounds, `pop_size` beside an algorithm object.
    """
    if isinstance(problem, str):
        problem = get_problem(problem)
    check_problem(problem)
    check_termination(termination)
    _check_seed(seed)
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
    if algorithm.problem is None:
        given = {"seed": seed, "callback": callback, "termination": termination}
        if copy_termination:
            given["termination"] = copy.deepcopy(termination)
        setup_kwargs.update({name: value for name, value in given.items() if value is not None})
        algorithm.setup(problem, **setup_kwargs)
    return _run(algorithm, problem, evaluator, progress)


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


def _run(algorithm: Any, problem: Any, evaluator: GuardedEvaluator, progress: bool) -> Any:
    interrupted = False
    with RunProgress(problem, visible=progress) as bar:
        try:
            # What `algorithm.run()` does, with a look at the bar in between.
            while algorithm.has_next():
                algorithm.next()
                bar.update(algorithm)
        except KeyboardInterrupt:
            if algorithm.start_time is None:
                raise  # nothing has begun, there is no result to return
            interrupted = True
    res = RunResult()
    res.__dict__.update(algorithm.result().__dict__)
    res.algorithm = algorithm
    if isinstance(evaluator.inner, RecordingEvaluator):
        res.evaluations = evaluator.inner.evaluations()
    res.n_eval = evaluator.n_eval
    res.n_nonfinite = evaluator.n_nonfinite
    res.X_nonfinite = np.array([individual.X for individual in evaluator.nonfinite])
    res.success = not interrupted and res.X is not None
    res.message = _message(algorithm, res, interrupted)
    return res


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
