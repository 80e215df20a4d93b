"""Generative models made of networks and trained by the common loop."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn

from evogen.models import distributed
from evogen.models.base import GenerativeModel, Rows
from evogen.models.callbacks import Callbacks
from evogen.models.checks import check_betas, check_choice, check_number, take_tensor
from evogen.models.layers import initialize
from evogen.models.optimizers import Adam
from evogen.models.rng import batch_indices, seeded_generator
from evogen.models.training import (
    Callback,
    EarlyStopping,
    LossDict,
    Objective,
    Schedule,
    Snapshot,
    Weights,
    train,
)
from evogen.models.unfinished import Unfinished, snapshot_from, snapshot_tensors

NeuralT = TypeVar("NeuralT", bound="NeuralModel")

UNFINISHED = "unfinished."


@dataclass(kw_only=True, eq=False, repr=False)
class NeuralModel(GenerativeModel):
    """A model made of networks.

    A subclass creates its networks in `networks` and says in `objectives` what a step is; the
    loop in `train` does the rest.

    Attributes:
        n_steps: Training steps per fit.
        batch_size: Rows per step; None for all. More rows than there are means all.
        schedule: Of the learning rates over a fit: "constant", "linear" (falls in the second
            half) or "cosine".
        max_grad_norm: Longest gradient of a network allowed; None for any.
        ema_decay: Decay of the moving average of the weights that samples come from; 0 for the
            last weights.
        accumulate: Batches per step, whose gradients are averaged: a large batch in little memory.
        precision: "float32", or "bf16": networks are evaluated in bfloat16 where that is safe, with
            weights in float32 (`torch.autocast`); for GPUs.
        compile: Whether `torch.compile` makes the networks faster, after a slow first step; or the
            name of the compiler's backend.
        unfinished_: The fit that was interrupted when this model was saved, or None.
        weights_: The trained networks by name.
        optimizers_: Their optimizers by name.
        losses_: Loss of every step of the last fit, by objective.
    """

    averaged: ClassVar[tuple[str, ...]] = ()
    """Names of the networks that samples come from."""

    n_steps: int = 200
    batch_size: int | None = None
    schedule: Schedule = "constant"
    max_grad_norm: float | None = None
    ema_decay: float = 0.0
    accumulate: int = 1
    precision: Literal["float32", "bf16"] = "float32"
    compile: bool | str = False

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        check_number("n_steps", self.n_steps, low=0, integer=True)
        if self.batch_size is not None:
            check_number("batch_size", self.batch_size, low=1, integer=True)
        if self.max_grad_norm is not None:
            check_number("max_grad_norm", self.max_grad_norm, low=0)
        check_choice("schedule", self.schedule, ("constant", "linear", "cosine"))
        check_number("ema_decay", self.ema_decay, low=0, high=1)
        check_number("accumulate", self.accumulate, low=1, integer=True)
        check_choice("precision", self.precision, ("float32", "bf16"))
        if not isinstance(self.compile, (bool, str)):
            raise TypeError(f"compile must be True, False or a backend; got {self.compile!r}")

    # What a model provides.

    @abstractmethod
    def networks(self) -> dict[str, nn.Module]:
        """New networks by name."""

    @abstractmethod
    def adam_settings(self, name: str) -> dict[str, Any]:
        """Learning rate `lr` and decay rates `betas` for the network of a name."""

    @abstractmethod
    def objectives(self, rows: Rows) -> list[Objective]:
        """What one training step does, on scaled rows."""

    def hold_out(self, rows: Rows, generator: torch.Generator) -> tuple[Rows, EarlyStopping | None]:
        """Splits off rows for early stopping: (rows to train on, criterion); none by default."""
        return rows, None

    # Batches: overridden where they are drawn in another way.

    def rows_per_batch(self, n_rows: int) -> int:
        """Number of rows in a batch when there are `n_rows`."""
        return n_rows if self.batch_size is None else min(self.batch_size, n_rows)

    def draw_rows(self, n_rows: int, n_batches: int, generator: torch.Generator) -> Tensor | None:
        """Row numbers `(n_batches, rows_per_batch)`, or None when every batch is all rows."""
        size = self.rows_per_batch(n_rows)
        if size == n_rows:
            return None
        return batch_indices(n_rows, n_batches, size, generator, device=self.device_)

    # The common part.

    def reset(self) -> None:
        """Forgets everything learned, and starts the random stream again."""
        super().reset()
        self.weights_: dict[str, Weights] = {}
        self.optimizers_: dict[str, Adam] = {}
        self.unfinished_: Unfinished | None = None
        self._resuming = False

    def check_fitted(self) -> None:
        """Raises RuntimeError before the first fit, and when that was interrupted."""
        super().check_fitted()
        missing = [name for name in self.buffer_shapes() if name not in self.buffers_]
        if self.unfinished_ is not None and missing:
            raise self._not_finished()

    def part(self, name: str) -> Any:
        """A model that this one is made of; RuntimeError if an interrupted fit left it out."""
        if name not in self.parts_:
            raise self._not_finished()
        return self.parts_[name]

    def _not_finished(self) -> RuntimeError:
        name = type(self).__name__
        return RuntimeError(f"the fit of this {name} is not finished; call resume(x) first")

    def autocast(self) -> AbstractContextManager[Any]:
        """The arithmetic that networks are evaluated in: of `precision`."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device_.type, dtype=torch.bfloat16)

    def objective(
        self,
        name: str,
        network: str,
        loss: Callable[..., Tensor],
        draw: Callable[[int, torch.Generator], Sequence[Tensor | None]],
        *,
        batch_numbers: int,
        repeats: int = 1,
        gradient: Callable[..., Tensor] | None = None,
    ) -> Objective:
        """An objective for one of the networks, with what all of the model's have in common.

        Args:
            name: Under which the loss is reported.
            network: Name of the network that is changed.
            loss: The batch's tensors to a scalar.
            draw: Batches; see `Objective`.
            batch_numbers: About how many numbers a batch holds.
            repeats: Optimizer steps per training step.
            gradient: See `Objective`; used in plain arithmetic only.
        """
        plain = self.precision == "float32" and not self.compile
        return Objective(
            name=name,
            weights=self.weights_[network],
            optimizer=self.optimizers_[network],
            loss=loss,
            draw=draw,
            batch_numbers=batch_numbers,
            repeats=repeats,
            accumulate=self.accumulate,
            autocast=self.autocast,
            max_grad_norm=self.max_grad_norm,
            gradient=gradient if plain else None,
        )

    def build(self, generator: torch.Generator | None) -> None:
        """Creates networks and optimizers."""
        for name, module in self.networks().items():
            if generator is not None:
                initialize(module, generator)
            self._adopt(name, module.to(self.device_))

    def learn(
        self,
        rows: Rows,
        *,
        n_steps: int | None,
        generator: torch.Generator,
        callback: Callback | None,
    ) -> None:
        """Runs the training loop on scaled rows; whoever extends it draws nothing before."""
        n_steps = self.n_steps if n_steps is None else n_steps
        left = self.unfinished_ if self._resuming else None
        start = generator.get_state()
        rows, early_stopping = self.hold_out(rows, generator)
        if distributed.world_size() > 1:
            # Each process learns from batches of its own.
            generator = seeded_generator(generator.initial_seed(), distributed.rank())
        for name, optimizer in self.optimizers_.items():
            # The parameters may have been changed since the last fit.
            settings = self.adam_settings(name)
            optimizer.lr, optimizer.betas = settings["lr"], settings["betas"]
        objectives = self.objectives(rows)
        snapshot = None
        if left is not None:
            n_steps = left.n_steps
            generator.set_state(left.now.cpu())
            if early_stopping is not None and left.criterion is not None:
                best, waited = left.criterion.tolist()
                early_stopping.best, early_stopping.waited = best, int(waited)
                snapshot = snapshot_from(left.best, objectives)

        def after_block(n_done: int, good: Snapshot, losses: LossDict) -> None:
            self.unfinished_ = Unfinished(n_steps, n_done, start, generator.get_state())
            if early_stopping is not None and math.isfinite(early_stopping.best):
                pair = (early_stopping.best, early_stopping.waited)
                self.unfinished_.criterion = torch.tensor(pair, dtype=torch.float64)
                self.unfinished_.best = snapshot_tensors(good)
            callbacks.after_block(self, n_done, losses)

        callbacks = callback if isinstance(callback, Callbacks) else Callbacks(callback)
        n_before = 0 if left is None else left.n_done
        callbacks.start(self, n_steps, n_before)
        try:
            self.losses_ = train(
                objectives,
                n_steps=n_steps,
                generator=generator,
                first_step=self.n_steps_,
                schedule=self.schedule,
                early_stopping=early_stopping,
                callback=callbacks if callbacks else None,
                n_done=n_before,
                snapshot=snapshot,
                after_block=after_block if callbacks else None,
            )
        finally:
            callbacks.finish(self)
        self.unfinished_ = None
        # An objective may be repeated within a step, but one at least is not.
        self.n_steps_ += n_before + min(len(column) for column in self.losses_.values())

    def resume(
        self: NeuralT,
        x: Any,
        condition: Any = None,
        *,
        callback: Callback | Sequence[Callback] | None = None,
    ) -> NeuralT:
        """Finishes the fit that was interrupted when this model was saved by a `Checkpoint`.

        On the CPU the result is the same, bit for bit, as without the interruption.

        Args:
            x: The data of that fit.
            condition: Its condition.
            callback: As in `fit`.

        Returns:
            self.

        Raises:
            RuntimeError: There is no unfinished fit.
            ValueError: As in `fit`.
        """
        if self.unfinished_ is None:
            raise RuntimeError(f"this {type(self).__name__} has no unfinished fit; call fit(x)")
        rows = self.check_rows(x, condition)
        generator = torch.Generator()
        generator.set_state(self.unfinished_.start.cpu())
        self._resuming = True
        try:
            return self.fit_rows(rows, generator=generator, callback=callback)
        finally:
            self._resuming = False

    def keeps(self, cls: type, *names: str) -> bool:
        """Whether the methods of these names are those of `cls`, not a subclass's own."""
        return all(getattr(type(self), name) is getattr(cls, name) for name in names)

    def sampler(self, name: str) -> nn.Module:
        """The network of a name with the weights to sample from."""
        return self.weights_[name].sampler

    def _adopt(self, name: str, module: nn.Module) -> None:
        weights = Weights(module.eval(), ema_decay=self.ema_decay if name in self.averaged else 0.0)
        self.weights_[name] = weights
        if self.compile:
            backend = "inductor" if self.compile is True else self.compile
            for network in (weights.module, weights.average):
                if network is not None:
                    network.compile(backend=backend)
        self.optimizers_[name] = Adam(weights.flat, weights.grad, **self.adam_settings(name))

    # The learned state.

    def state_tensors(self) -> dict[str, Tensor]:
        """All learned tensors by name; empty before the first fit."""
        state = super().state_tensors()
        for name, weights in self.weights_.items():
            state.update(_module_tensors(f"networks.{name}", weights.module))
            if weights.average is not None:
                state.update(_module_tensors(f"averages.{name}", weights.average))
            adam = self.optimizers_[name].state()
            state.update({f"optimizers.{name}.{key}": value for key, value in adam.items()})
        if self.unfinished_ is not None:
            unfinished = self.unfinished_.tensors()
            state.update({UNFINISHED + key: value for key, value in unfinished.items()})
        return state

    def take_state(self, left: dict[str, Tensor]) -> None:
        """Takes its tensors out of `left`."""
        own = [key for key in left if key.startswith(UNFINISHED)]
        if own:
            tensors = {key.removeprefix(UNFINISHED): left.pop(key) for key in own}
            self.unfinished_ = Unfinished.from_tensors(tensors)
        super().take_state(left)
        for name, module in self.networks().items():
            _load_module(left, f"networks.{name}", module)
            self._adopt(name, module.to(self.device_))
            average, adam = self.weights_[name].average, self.optimizers_[name]
            if average is not None:
                _load_module(left, f"averages.{name}", average)
            shapes = {key: tuple(value.shape) for key, value in adam.state().items()}
            adam.load_state(
                {k: take_tensor(left, f"optimizers.{name}.{k}", v) for k, v in shapes.items()}
            )


def take_batches(values: Tensor, index: Tensor | None, n_batches: int) -> Tensor:
    """Rows of batches `(n_batches, size, d)`; all rows each time if there is no index."""
    return values.expand(n_batches, -1, -1) if index is None else values[index]


def _module_tensors(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    return {f"{prefix}.{key}": value for key, value in module.state_dict().items()}


@torch.no_grad()
def _load_module(left: dict[str, Tensor], prefix: str, module: nn.Module) -> None:
    for key, value in module.state_dict().items():
        value.copy_(take_tensor(left, f"{prefix}.{key}", tuple(value.shape)))


@dataclass(kw_only=True, eq=False, repr=False)
class SingleLossModel(NeuralModel):
    """A model that is one network under one loss.

    A subclass gives `network`, `draw_batches` and `loss`.

    Attributes:
        lr: Learning rate of Adam.
        betas: Adam's decay rates.
        patience: Stops a fit after so many checks (one every 64 steps, or fewer when batches are
            large) without a smaller loss on held-out rows, and goes back to the best weights;
            None for never.
        validation_fraction: Share of the rows held out when there is a patience.
    """

    averaged: ClassVar[tuple[str, ...]] = ("network",)

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    patience: int | None = None
    validation_fraction: float = 0.1

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        check_number("lr", self.lr, low=0)
        check_betas(self.betas)
        if self.patience is not None:
            check_number("patience", self.patience, low=1, integer=True)
        check_number("validation_fraction", self.validation_fraction, low=0, high=1)

    @abstractmethod
    def network(self) -> nn.Module:
        """The new network."""

    @abstractmethod
    def draw_batches(
        self, rows: Rows, n_batches: int, generator: torch.Generator
    ) -> tuple[Tensor | None, ...]:
        """What `loss` takes, for `n_batches` batches along the first axis."""

    @abstractmethod
    def loss(self, *batch: Any) -> Tensor:
        """The loss of a batch, a scalar."""

    def known_gradient(self) -> Callable[..., Tensor] | None:
        """A function that computes `loss` and leaves its gradient in place, if there is one."""
        return None

    def batch_numbers(self, rows: Rows) -> int:
        """About how many numbers a batch holds."""
        width = rows.x.shape[1] + self.n_condition_
        return 2 * self.rows_per_batch(rows.x.shape[0]) * width

    def networks(self) -> dict[str, nn.Module]:
        """The one network."""
        return {"network": self.network()}

    def adam_settings(self, name: str) -> dict[str, Any]:
        """Learning rate and decay rates of Adam."""
        return {"lr": self.lr, "betas": self.betas}

    def objectives(self, rows: Rows) -> list[Objective]:
        """The one loss."""
        return [
            self.objective(
                "loss",
                "network",
                self.loss,
                lambda n, generator: self.draw_batches(rows, n, generator),
                batch_numbers=self.batch_numbers(rows),
                gradient=self.known_gradient(),
            )
        ]

    def hold_out(self, rows: Rows, generator: torch.Generator) -> tuple[Rows, EarlyStopping | None]:
        """Splits off rows at random; the criterion is the loss on them under fixed noise."""
        n = rows.x.shape[0]
        n_held = round(self.validation_fraction * n)
        if self.patience is None or not 0 < n_held < n:
            return rows, None
        order = batch_indices(n, 1, n, generator, device=self.device_)[0]
        held, kept = (
            Rows(rows.x[part], None if rows.condition is None else rows.condition[part])
            for part in (order[:n_held], order[n_held:])
        )
        batch = [None if b is None else b[0] for b in self.draw_batches(held, 1, generator)]

        def criterion() -> Tensor:
            with torch.no_grad():
                return self.loss(*batch)

        return kept, EarlyStopping(criterion, self.patience)
