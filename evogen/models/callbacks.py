"""What watches a fit: plain functions, a progress bar, checkpoints.

A callback is any function of the step's number and its losses, true to stop. An object may have
further methods, all optional: `start(model, n_steps, n_done)` before the first step,
`after_block(model, n_done, losses)` after some dozen steps, when the model can be saved, and
`finish(model)` at the end, also of a failed fit.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from evogen.models.checks import check_number
from evogen.models.training import Callback, LossDict

if TYPE_CHECKING:
    from evogen.models.neural import NeuralModel


class Callbacks:
    """Several callbacks as one.

    Args:
        callbacks: One, several, or None.
    """

    def __init__(self, callbacks: Callback | Sequence[Callback] | None) -> None:
        if callbacks is None:
            callbacks = ()
        self.callbacks = list(callbacks) if isinstance(callbacks, Sequence) else [callbacks]
        for callback in self.callbacks:
            if not callable(callback):
                raise TypeError(f"a callback must be callable; got {callback!r}")

    def __bool__(self) -> bool:
        return bool(self.callbacks)

    def __call__(self, step: int, losses: LossDict) -> bool:
        """Asks all of them, also after one wants to stop."""
        wishes = [bool(callback(step, losses)) for callback in self.callbacks]
        return any(wishes)

    def _tell(self, name: str, *args: Any) -> None:
        for callback in self.callbacks:
            method = getattr(callback, name, None)
            if method is not None:
                method(*args)

    def start(self, model: NeuralModel, n_steps: int, n_done: int) -> None:
        """Before the first step."""
        self._tell("start", model, n_steps, n_done)

    def after_block(self, model: NeuralModel, n_done: int, losses: LossDict) -> None:
        """After a block of steps."""
        self._tell("after_block", model, n_done, losses)

    def finish(self, model: NeuralModel) -> None:
        """At the end."""
        self._tell("finish", model)


class ProgressBar:
    """Shows the steps done, the time left and the losses on standard error.

    Args:
        description: What to call the fit; None for the model's class.
    """

    def __init__(self, description: str | None = None) -> None:
        self.description = description

    def __call__(self, step: int, losses: LossDict) -> bool:
        """Does nothing: reading losses at every step would wait for the device."""
        return False

    def start(self, model: NeuralModel, n_steps: int, n_done: int) -> None:
        """Opens the bar."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.progress = Progress(*columns, "{task.fields[losses]}", console=Console(stderr=True))
        name = self.description or type(model).__name__
        self.task = self.progress.add_task(name, total=n_steps, completed=n_done, losses="")
        self.progress.start()

    def after_block(self, model: NeuralModel, n_done: int, losses: LossDict) -> None:
        """Moves the bar."""
        shown = "  ".join(f"{name} {float(value):.4g}" for name, value in losses.items())
        self.progress.update(self.task, completed=n_done, losses=shown)

    def finish(self, model: NeuralModel) -> None:
        """Closes the bar."""
        self.progress.stop()


class Checkpoint:
    """Saves the model during a fit, so that `resume` can finish it after an interruption.

    The file is replaced at once, never half written.

    Args:
        path: The file; `load_model` reads it.
        every: Least number of steps between two savings, >= 1.
    """

    def __init__(self, path: str | PathLike[str], *, every: int = 500) -> None:
        check_number("every", every, low=1, integer=True)
        self.path = path
        self.every = every
        self._saved = 0

    def __call__(self, step: int, losses: LossDict) -> bool:
        """Does nothing: between blocks a model cannot be resumed."""
        return False

    def start(self, model: NeuralModel, n_steps: int, n_done: int) -> None:
        """Counts from here."""
        self._saved = n_done

    def after_block(self, model: NeuralModel, n_done: int, losses: LossDict) -> None:
        """Saves if it is time."""
        if n_done - self._saved >= self.every:
            self._save(model)
            self._saved = n_done

    def finish(self, model: NeuralModel) -> None:
        """Leaves the last file as it is."""

    def _save(self, model: NeuralModel) -> None:
        part = f"{fspath(self.path)}.part"
        model.save(part)
        os.replace(part, self.path)
