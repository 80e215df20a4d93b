"""A fit that was interrupted, as it is kept with a model until it is resumed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from evogen.models.checks import take_tensor
from evogen.models.training import Objective, Snapshot


@dataclass
class Unfinished:
    """A fit that was interrupted: where it stood when its last block of steps ended.

    Attributes:
        n_steps: Steps that it was to do.
        n_done: Steps that it had done.
        start: State of its random numbers before the first step.
        now: That state after the last step done.
        criterion: Best held-out criterion and number of checks since, `(2,)`; None without early
            stopping.
        best: The weights with that criterion, and their optimizers' states.
    """

    n_steps: int
    n_done: int
    start: Tensor
    now: Tensor
    criterion: Tensor | None = None
    best: dict[str, Tensor] = field(default_factory=dict)

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name, for a file."""
        counts = torch.tensor((self.n_steps, self.n_done))
        criterion = {} if self.criterion is None else {"criterion": self.criterion}
        best = {f"best.{key}": value for key, value in self.best.items()}
        return {"counts": counts, "start": self.start, "now": self.now, **criterion, **best}

    @classmethod
    def from_tensors(cls, left: dict[str, Tensor]) -> Unfinished:
        """The inverse of `tensors`.

        Raises:
            ValueError: A tensor is missing, superfluous or of a wrong shape.
        """
        n_steps, n_done = take_tensor(left, "counts", (2,)).tolist()
        start, now = (take_tensor(left, name, (None,)) for name in ("start", "now"))
        criterion = take_tensor(left, "criterion", (2,)) if "criterion" in left else None
        names = [key for key in left if key.startswith("best.")]
        best = {key.removeprefix("best."): left.pop(key) for key in names}
        if left:
            raise ValueError(f"unexpected tensor {min(left)!r} of an unfinished fit")
        return cls(int(n_steps), int(n_done), start, now, criterion, best)


def snapshot_tensors(snapshot: Snapshot) -> dict[str, Tensor]:
    """The tensors of a snapshot by name."""
    named = {}
    for i, (tensors, state) in enumerate(zip(snapshot.tensors, snapshot.states, strict=True)):
        named.update({f"{i}.{j}": tensor for j, tensor in enumerate(tensors)})
        named.update({f"{i}.{key}": tensor for key, tensor in state.items()})
    return named


def snapshot_from(named: dict[str, Tensor], objectives: Sequence[Objective]) -> Snapshot:
    """The inverse of `snapshot_tensors`."""
    snapshot = Snapshot(objectives)
    for i, (tensors, state) in enumerate(zip(snapshot.tensors, snapshot.states, strict=True)):
        for j, tensor in enumerate(tensors):
            tensor.copy_(take_tensor(named, f"{i}.{j}", tuple(tensor.shape)))
        for key, tensor in state.items():
            tensor.copy_(take_tensor(named, f"{i}.{key}", tuple(tensor.shape)))
    return snapshot
