"""Several problems in one run, with a checkpoint."""

from __future__ import annotations

import os
from typing import Any

from evogen.experiment.checkpoint import Checkpoint
from evogen.multitask import MultitaskAlgorithm, MultitaskResult
from evogen.multitask import minimize_multitask as run_together


def minimize_multitask(
    tasks: Any,
    algorithm: MultitaskAlgorithm,
    termination: Any = ("n_eval", 20_000),
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: Any = ("seconds", 30),
    **settings: Any,
) -> MultitaskResult:
    """Solves several problems together; the same call again continues from its checkpoint.

    Args:
        tasks: pymoo problems, two at least, or an object with such `tasks`.
        algorithm: E.g. `evogen.algorithms.MOMFEA()`.
        termination: As for `evogen.multitask.minimize_multitask`.
        checkpoint: File of the run's state, written between generations; see `evogen.minimize`.
        checkpoint_every: `("seconds", 30)`, or a number of generations.
        **settings: `seed`, `budgets`, `callback`, `verbose`, `copy_algorithm`; see
            `evogen.multitask.minimize_multitask`.

    Returns:
        One pymoo `Result` per task, and what they have in common.

    Raises:
        TypeError: A task or the algorithm is of the wrong kind.
        ValueError: Fewer than two tasks, impossible bounds or budgets, or a checkpoint that is
            damaged or of another run.
    """
    file = None if checkpoint is None else Checkpoint(checkpoint, checkpoint_every)
    return run_together(tasks, algorithm, termination, checkpoint=file, **settings)
