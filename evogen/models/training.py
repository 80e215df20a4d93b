"""The one training loop of all models.

A model says what a step is: a list of `Objective`s, each a loss over the weights of one network
with its own optimizer and its own random batches. The loop owns the steps, the blocks of random
numbers drawn ahead, accumulation and clipping of gradients, their mean over several processes, the
learning-rate schedule, the moving average of weights, early stopping, callbacks, and the guard
against divergence. It is light: with weights in one
flat tensor per network an optimizer step, a moving average or a snapshot is one call.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from evogen.models import distributed
from evogen.models.optimizers import Adam

LossDict = dict[str, Tensor]
Callback = Callable[[int, LossDict], Any]
Batches = tuple[tuple[Any, ...], ...]
Schedule = Literal["constant", "linear", "cosine"]

# A block of steps shares its random draws and ends with one check for divergence.
BLOCK_STEPS = 64
BLOCK_NUMBERS = 1 << 20
# Starts of parameters in the flat tensor are multiples of this many numbers (64 bytes).
ALIGNMENT = 16


class TrainingDiverged(RuntimeWarning):
    """Training produced numbers that are not finite; the last good weights were put back."""


class Weights:
    """A module whose parameters, and their gradients, are views of one flat tensor.

    Args:
        module: The network, already on its device.
        ema_decay: Decay of an exponential moving average of the parameters; 0 for none.

    Attributes:
        module: The network that is trained.
        flat: All parameters, `(size,)`, without autograd.
        grad: All gradients, `(size,)`.
        average: A network with the averaged parameters, or None.
    """

    def __init__(self, module: nn.Module, *, ema_decay: float = 0.0) -> None:
        self.ema_decay = ema_decay
        self.average = copy.deepcopy(module).requires_grad_(False) if ema_decay > 0 else None
        self.module = module
        self.parameters = list(module.parameters())
        self.flat = self._pack(self.parameters)
        self.grad = torch.zeros_like(self.flat)
        for parameter, view in self._views(self.parameters, self.grad):
            parameter.grad = view
        if self.average is not None:
            self.average_flat = self._pack(list(self.average.parameters()))

    @staticmethod
    def _views(parameters: Sequence[Tensor], flat: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        start = 0
        for parameter in parameters:
            stop = start + parameter.numel()
            yield parameter, flat[start:stop].view(parameter.shape)
            start = -(-stop // ALIGNMENT) * ALIGNMENT

    def _pack(self, parameters: Sequence[Tensor]) -> Tensor:
        size = sum(-(-p.numel() // ALIGNMENT) * ALIGNMENT for p in parameters)
        data = torch.zeros(size, device=parameters[0].device, dtype=parameters[0].dtype)
        for parameter, view in self._views(parameters, data):
            view.copy_(parameter.detach())
            parameter.data = view
        return data

    @property
    def sampler(self) -> nn.Module:
        """The network to sample from: the average where there is one."""
        return self.module if self.average is None else self.average

    def update_average(self, step: int) -> None:
        """Moves the average towards the parameters; early steps count more.

        Args:
            step: Number of steps before this one, over the model's life.
        """
        if self.average is not None:
            decay = min(self.ema_decay, (1 + step) / (10 + step))
            self.average_flat.lerp_(self.flat, 1 - decay)

    @torch.no_grad()
    def synchronize_buffers(self) -> None:
        """Gives the average network the buffers (batch statistics) of the trained one."""
        if self.average is not None:
            for mine, theirs in zip(self.average.buffers(), self.module.buffers(), strict=True):
                mine.copy_(theirs)

    def clip_gradient(self, max_norm: float) -> None:
        """Scales the gradient down to the given Euclidean norm if it is longer."""
        norm = torch.linalg.vector_norm(self.grad)
        self.grad.mul_((max_norm / (norm + 1e-6)).clamp_(max=1.0))

    def live_tensors(self) -> list[Tensor]:
        """Everything that training changes: parameters, average, buffers."""
        average = [] if self.average is None else [self.average_flat]
        return [self.flat, *average, *self.module.buffers()]


@dataclass
class Objective:
    """A loss over the weights of one network: what a model says a step is.

    Attributes:
        name: Under which the loss is reported.
        weights: What is changed.
        optimizer: How, on `weights.flat` and `weights.grad`.
        loss: The batch's tensors to a scalar.
        draw: (number of batches, generator) to the tensors of that many batches, stacked along
            the first axis; None stands for "not used" and is handed on.
        batch_numbers: About how many numbers a batch holds; decides how many are drawn at once.
        repeats: Optimizer steps of this objective per training step.
        accumulate: Batches per optimizer step, whose gradients are averaged.
        autocast: Makes the context that `loss` is computed in: of lower precision, or none.
        max_grad_norm: Longest gradient allowed, or None.
        gradient: Computes the same loss and leaves its gradient in `weights.grad`, where that is
            known without autograd; None for autograd on `loss`.
    """

    name: str
    weights: Weights
    optimizer: Adam
    loss: Callable[..., Tensor]
    draw: Callable[[int, torch.Generator], Sequence[Tensor | None]]
    batch_numbers: int = 1
    repeats: int = 1
    accumulate: int = 1
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext
    max_grad_norm: float | None = None
    gradient: Callable[..., Tensor] | None = None

    def batches(self, n_steps: int, generator: torch.Generator) -> Iterator[Batches]:
        """What the optimizer steps of a block take, each `accumulate` tuples of tensors."""
        n_batches = n_steps * self.repeats * self.accumulate
        columns = [
            [None] * n_batches if column is None else column.unbind(0)
            for column in self.draw(n_batches, generator)
        ]
        # The same iterator so many times over: consecutive batches go together.
        return zip(*[zip(*columns, strict=True)] * self.accumulate, strict=True)

    def differentiate(self, batch: tuple[Any, ...]) -> Tensor:
        """Computes the loss of a batch and leaves its gradient in `weights.grad`."""
        if self.gradient is not None:
            return self.gradient(*batch)
        with self.autocast():
            loss = self.loss(*batch)
        self.weights.grad.zero_()
        torch.autograd.backward(loss, inputs=self.weights.parameters)
        return loss.detach()

    def step(self, batches: Batches) -> Tensor:
        """One optimizer step; returns the loss, without waiting for its value."""
        loss = self.differentiate(batches[0])
        if len(batches) > 1:
            gradient = self.weights.grad.clone()
            for batch in batches[1:]:
                loss = loss + self.differentiate(batch)
                gradient += self.weights.grad
            loss = loss / len(batches)
            torch.div(gradient, len(batches), out=self.weights.grad)
        distributed.average(self.weights.grad)
        if self.max_grad_norm is not None:
            self.weights.clip_gradient(self.max_grad_norm)
        self.optimizer.step()
        return loss.detach()


@dataclass
class EarlyStopping:
    """Stops when a held-out criterion no longer falls, and goes back to its best weights.

    Attributes:
        criterion: Computes the criterion, a scalar that should be small.
        patience: Checks (one per block of steps) without an improvement before stopping.
        min_delta: What counts as an improvement.
    """

    criterion: Callable[[], Tensor]
    patience: int
    min_delta: float = 0.0
    best: float = field(default=math.inf, init=False)
    waited: int = field(default=0, init=False)

    def update(self) -> tuple[bool, bool]:
        """Evaluates the criterion; returns (improved, out of patience)."""
        value = float(distributed.average(self.criterion()))
        improved = value < self.best - self.min_delta
        self.best, self.waited = (value, 0) if improved else (self.best, self.waited + 1)
        return improved, self.waited >= self.patience


class Snapshot:
    """Copies of all that training changes, to go back to.

    Args:
        objectives: Whose weights and optimizers.

    Attributes:
        tensors: Of each objective, copies of `Weights.live_tensors`.
        states: Of each objective, a copy of the optimizer's state.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self.objectives = objectives
        self.take()

    @torch.no_grad()
    def take(self) -> None:
        """Copies the present state."""
        self.tensors = [[t.clone() for t in o.weights.live_tensors()] for o in self.objectives]
        self.states = [
            {k: v.clone() for k, v in o.optimizer.state().items()} for o in self.objectives
        ]

    @torch.no_grad()
    def restore(self) -> None:
        """Puts the copied state back."""
        for objective, tensors, state in zip(
            self.objectives, self.tensors, self.states, strict=True
        ):
            for live, saved in zip(objective.weights.live_tensors(), tensors, strict=True):
                live.copy_(saved)
            objective.optimizer.load_state(state)


def schedule_factor(schedule: Schedule, progress: float) -> float:
    """Factor on the learning rate when the share `progress` of the steps is done.

    "constant": 1; "linear": 1 for the first half, then straight to 0; "cosine": half a wave from
    1 to 0.
    """
    if schedule == "linear":
        return min(1.0, 2.0 * (1.0 - progress))
    if schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * progress))
    return 1.0


def _is_finite(losses: Sequence[Sequence[Tensor]], objectives: Sequence[Objective]) -> bool:
    """Whether the losses of a block and all weights are finite; the block's only wait."""
    values = [torch.isfinite(torch.stack(list(column))).all() for column in losses]
    values += [torch.isfinite(t).all() for o in objectives for t in o.weights.live_tensors()]
    return distributed.agree(bool(torch.stack(values).all()))


@torch.enable_grad()
def train(
    objectives: Sequence[Objective],
    *,
    n_steps: int,
    generator: torch.Generator,
    first_step: int = 0,
    schedule: Schedule = "constant",
    early_stopping: EarlyStopping | None = None,
    callback: Callback | None = None,
    n_done: int = 0,
    snapshot: Snapshot | None = None,
    after_block: Callable[[int, Snapshot, LossDict], None] | None = None,
) -> dict[str, Tensor]:
    """Runs the training loop.

    Args:
        objectives: What one step does, in this order.
        n_steps: Number of steps.
        generator: Source of all random numbers.
        first_step: Number of steps the model has done before, for the moving average.
        schedule: Of the learning rates, over the steps of this call; see `schedule_factor`.
        early_stopping: Held-out criterion, or None.
        callback: Called after each step with its number (from 0) and the losses (tensors without
            gradient, by objective; reading one waits for the device). A true result stops.
        n_done: Of the n_steps, how many an interrupted run of this call has done already.
        snapshot: The good state of that run; None for the present one.
        after_block: Called after each block of steps with the number of steps done, the good state
            and the latest losses; the generator then stands where the next block begins.

    Returns:
        The loss of every step of this run by objective, `(steps done * repeats,)`.

    Warns:
        TrainingDiverged: A loss or weight was not finite; training stopped at the last good
            weights.
    """
    base_rates = [o.optimizer.lr for o in objectives]
    history: list[list[Tensor]] = [[] for _ in objectives]
    snapshot = Snapshot(objectives) if snapshot is None else snapshot
    block = max(
        1,
        min(BLOCK_STEPS, BLOCK_NUMBERS // max(o.batch_numbers * o.accumulate for o in objectives)),
    )
    for objective in objectives:
        objective.weights.module.train()
    done, stopped = n_done, False
    try:
        while done < n_steps and not stopped:
            n_block = min(block, n_steps - done)
            feeds = [o.batches(n_block, generator) for o in objectives]
            losses: list[list[Tensor]] = [[] for _ in objectives]
            for step in range(done, done + n_block):
                if schedule != "constant":
                    _set_rates(objectives, base_rates, schedule_factor(schedule, step / n_steps))
                for objective, feed, column in zip(objectives, feeds, losses, strict=True):
                    for _ in range(objective.repeats):
                        column.append(objective.step(next(feed)))
                    objective.weights.update_average(first_step + step)
                if callback is not None:
                    stopped = bool(callback(step, _latest(objectives, losses)))
                    if stopped:
                        break
            if not _is_finite(losses, objectives):
                snapshot.restore()
                _warn_of_divergence(done)
                break
            done += n_block
            for kept, column in zip(history, losses, strict=True):
                kept.append(torch.stack(column))
            if early_stopping is not None:
                improved, out_of_patience = early_stopping.update()
                stopped = stopped or out_of_patience
            if early_stopping is None or improved:
                snapshot.take()
            if after_block is not None:
                after_block(done, snapshot, _latest(objectives, losses))
        if early_stopping is not None:
            snapshot.restore()
    finally:
        _set_rates(objectives, base_rates, 1.0)
        for objective in objectives:
            distributed.average_buffers(objective.weights.module)
            objective.weights.synchronize_buffers()
            objective.weights.module.eval()
    return {
        o.name: torch.cat(kept) if kept else torch.zeros(0)
        for o, kept in zip(objectives, history, strict=True)
    }


def _latest(objectives: Sequence[Objective], losses: Sequence[Sequence[Tensor]]) -> LossDict:
    return {o.name: column[-1] for o, column in zip(objectives, losses, strict=True)}


def _warn_of_divergence(step: int) -> None:
    warnings.warn(
        f"training diverged after step {step} of this fit; the weights of that step are back. A "
        "smaller learning rate or max_grad_norm may help",
        TrainingDiverged,
        stacklevel=3,
    )


def _set_rates(objectives: Sequence[Objective], base_rates: Sequence[float], factor: float) -> None:
    for objective, rate in zip(objectives, base_rates, strict=True):
        objective.optimizer.lr = rate * factor
