"""What every generative model is: something that can fit and sample.

`GenerativeModel` checks data, scales it, seeds random numbers and keeps the learned state in a
form that can be copied and saved. Inside, items are rows `(n, d)` whatever their shape: a network
that wants to see a picture views its rows as one.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from os import PathLike
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from evogen.models import serialization
from evogen.models.callbacks import Callbacks
from evogen.models.checks import (
    ItemKind,
    are_labels,
    as_items,
    as_labels,
    as_rows,
    check_number,
    one_hot,
    resolve_device,
    take_tensor,
    vocabulary_size,
)
from evogen.models.rng import seeded_generator
from evogen.models.scaling import Scaler, ScalerKind
from evogen.models.training import Callback

ModelT = TypeVar("ModelT", bound="GenerativeModel")


@dataclass
class Rows:
    """The data of one fit.

    Attributes:
        x: What is learned, one item a row, `(n, d)`.
        condition: What it is conditioned on, `(n, c)`, or None.
        negative: Examples of what x is not, `(m, d)`, or None.
    """

    x: Tensor
    condition: Tensor | None = None
    negative: Tensor | None = None


@dataclass(kw_only=True, eq=False, repr=False)
class GenerativeModel(ABC):
    """Learns a distribution from items and samples from it.

    Items are vectors `(n, d)`, images `(n, c, h, w)` with numbers in [0, 1], or token sequences
    `(n, t)` of integers; `items` says which a model takes. A condition is numbers `(n, c)`, or one
    class label per item, integers `(n,)`.

    A subclass is a dataclass whose fields are its parameters, stored unchanged. It says in
    `build` what its learned state is, learns it in `learn`, and samples in `generate`; data come
    to these scaled, on the model's device, in its `dtype`.

    Attributes:
        normalize: Whether vectors and conditions are scaled per feature by the data of each fit,
            and images from [0, 1] to [-1, 1].
        device: "cpu", "cuda", "cuda:N", or "auto"; looked at in the first fit.
        random_state: Seed (>= 0) used when a call is given no generator. Calls follow one another
            in one stream: a second `sample` gives other rows than the first.
        n_features_: Number of numbers d in an item; None before the first fit.
        item_shape_: Shape of an item: `(d,)`, `(c, h, w)` or `(t,)`.
        n_condition_: Number of columns of the condition (of classes, for labels), 0 without one.
        classes_: Labels of the condition in rising order, int64 `(n_condition_,)`; None if there
            are none.
        n_tokens_: Size of the vocabulary of token sequences, 0 for other items.
        buffers_: Learned tensors other than network weights, by name.
        parts_: Models that this one is made of, by name, besides its own networks.
    """

    items: ClassVar[tuple[ItemKind, ...]] = ("vectors", "images")
    """Which items the model takes."""

    dtype: ClassVar[torch.dtype] = torch.float32
    """In which precision `learn` and `generate` work."""

    normalize: bool = True
    device: str = "cpu"
    random_state: int = 0

    def __post_init__(self) -> None:
        self.check_params()
        self.reset()

    # What a model provides.

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        check_number("random_state", self.random_state, low=0, integer=True)

    @abstractmethod
    def build(self, generator: torch.Generator | None) -> None:
        """Creates the learned state for `n_features_` and `n_condition_`.

        Args:
            generator: Source of initial weights, or None if they will be loaded.
        """

    @abstractmethod
    def learn(
        self,
        rows: Rows,
        *,
        n_steps: int | None,
        generator: torch.Generator,
        callback: Callback | None,
    ) -> None:
        """Learns from scaled rows, starting from the present state."""

    @abstractmethod
    def generate(self, n: int, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        """Samples `(n, d)` in scaled units, given a scaled condition `(n, c)`."""

    def autocast(self) -> AbstractContextManager[Any]:
        """The arithmetic that networks are evaluated in; float32 by default."""
        return nullcontext()

    def buffer_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Names and shapes of `buffers_`; None for a size that the data decide."""
        return {}

    @property
    def scaler_kind(self) -> ScalerKind:
        """How the data are scaled; see `Scaler.from_data`."""
        return "standard" if self.normalize else "none"

    @property
    def condition_optional(self) -> bool:
        """Whether a model fitted with a condition can also sample without one."""
        return False

    # What a user calls.

    def fit(
        self: ModelT,
        x: Any,
        condition: Any = None,
        *,
        n_steps: int | None = None,
        generator: torch.Generator | None = None,
        callback: Callback | Sequence[Callback] | None = None,
    ) -> ModelT:
        """Learns from data; called again, it goes on from where it was (`reset` starts anew).

        Args:
            x: Items (see the class), n >= 1: a tensor, an array, or a `torch.utils.data.Dataset`
                that fits into memory.
            condition: `(n, c)`, labels `(n,)`, or None.
            n_steps: Number of training steps; None for the parameter of the same name.
            generator: Source of all random numbers; None for the model's own.
            callback: Called after each step with its number and the losses; true stops. Or
                several; see `callbacks` for a progress bar and checkpoints.

        Returns:
            self.

        Raises:
            TypeError: x or condition does not hold real numbers.
            ValueError: A wrong shape, no rows, NaN or inf, images outside [0, 1], another shape
                or other labels than in earlier fits, or an unknown device.

        Warns:
            TrainingDiverged: The last good weights were restored.
        """
        rows = self.check_rows(x, condition)
        return self.fit_rows(rows, n_steps=n_steps, generator=generator, callback=callback)

    @torch.no_grad()
    def sample(
        self, n: int, condition: Any = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draws samples, always finite.

        Args:
            n: How many, >= 0.
            condition: `(n, c)`, or one row `(1, c)` for all, if the model was fitted with one;
                labels `(n,)`, or one label, if it was fitted with labels.
            generator: Source of random numbers; None for the model's own.

        Returns:
            `(n, *item_shape_)` on the model's device, in the units of the data: float32, or int64
            for tokens.

        Raises:
            RuntimeError: The model is not fitted.
            ValueError: A condition is missing, superfluous or of a wrong shape; n < 0.
        """
        check_number("n", n, low=0, integer=True)
        self.check_fitted()
        given = self.prepare_condition(condition, int(n))
        if n == 0:
            kind = torch.int64 if self.n_tokens_ else torch.float32
            return torch.zeros(0, *self.item_shape_, dtype=kind, device=self.device_)
        with self.autocast():
            x = self.generate(int(n), given, self.own_generator(generator))
        return self.to_items(x)

    def reset(self) -> None:
        """Forgets everything learned, and starts the random stream again."""
        self.n_features_: int | None = None
        self.item_shape_: tuple[int, ...] = ()
        self.device_ = torch.device("cpu")
        self.n_condition_ = 0
        self.classes_: Tensor | None = None
        self.n_tokens_ = 0
        self.n_calls_ = 0
        self.n_steps_ = 0
        self.buffers_: dict[str, Tensor] = {}
        self.losses_: dict[str, Tensor] = {}
        self.parts_: dict[str, GenerativeModel] = {}

    def get_params(self) -> dict[str, Any]:
        """The constructor's arguments as they were given."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.init}

    def __repr__(self) -> str:
        changed = [
            f"{f.name}={getattr(self, f.name)!r}"
            for f in fields(self)
            if f.init and getattr(self, f.name) != f.default
        ]
        return f"{type(self).__name__}({', '.join(changed)})"

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the model, with its optimizer state, to one safetensors file."""
        GenerativeModel.check_fitted(self)
        serialization.save_model(self, path)

    def check(self) -> None:
        """Raises ValueError when the model could not start to learn: its device is not there."""
        resolve_device(self.device)

    # Data on their way in.

    def check_fitted(self) -> None:
        """Raises RuntimeError before the first fit."""
        if self.n_features_ is None:
            raise RuntimeError(f"this {type(self).__name__} is not fitted yet; call fit(x) first")

    def own_generator(self, generator: torch.Generator | None) -> torch.Generator:
        """The given generator, or a new one for the next call in the model's own stream."""
        if generator is not None:
            return generator
        self.n_calls_ += 1
        return seeded_generator(self.random_state, self.n_calls_)

    def check_rows(self, x: Any, condition: Any, negative: Any = None) -> Rows:
        """Checks the data of a fit; see `fit` for what is raised."""
        known = self.n_features_ is not None
        shape = self.item_shape_ if known else None
        hint = ", as in earlier fits (reset() starts anew)"
        x, shape = as_items("x", x, self.items, shape=shape, hint=hint)
        if x.shape[0] == 0:
            raise ValueError("x must have at least one row; got 0")
        if known and (condition is not None) != (self.n_condition_ > 0):
            word = "a" if self.n_condition_ else "no"
            raise ValueError(f"earlier fits had {word} condition; reset() starts anew")
        n_tokens = 0
        if "tokens" in self.items:
            wanted = self.n_tokens_ if known else getattr(self, "n_tokens", None)
            n_tokens = vocabulary_size(x, wanted)
        classes = self.classes_
        if condition is not None:
            if not known and are_labels(condition):
                classes = torch.unique(as_labels("condition", condition))
            condition = self.read_condition(condition, classes, hint=hint)
            if condition.shape[0] != x.shape[0]:
                raise ValueError(
                    f"condition must have as many rows as x ({x.shape[0]}); "
                    f"got {condition.shape[0]}"
                )
        if negative is not None:
            if condition is not None:
                raise ValueError("negative cannot be combined with a condition")
            negative, _ = as_items("negative", negative, self.items, shape=shape)
            negative = negative if negative.shape[0] else None
        if not known:
            # Nothing can go wrong with these data any more.
            self.item_shape_, self.classes_, self.n_tokens_ = shape, classes, n_tokens
        return Rows(x, condition, negative)

    def read_condition(self, condition: Any, classes: Tensor | None, *, hint: str = "") -> Tensor:
        """Checks a condition in the user's units and returns it as rows `(n, c)`.

        Args:
            condition: Numbers `(n, c)`; or labels `(n,)`, of which each becomes a row with a 1 in
                the place of its class.
            classes: The labels that there are, in rising order; None for numbers.
            hint: Why so many columns, for the message.
        """
        if classes is None:
            return as_rows("condition", condition, n_columns=self.n_condition_ or None, hint=hint)
        return one_hot("condition", condition, classes)

    def fit_rows(
        self: ModelT,
        rows: Rows,
        *,
        n_steps: int | None = None,
        generator: torch.Generator | None = None,
        callback: Callback | Sequence[Callback] | None = None,
    ) -> ModelT:
        """`fit` on data that are already checked."""
        known = self.n_features_ is not None
        device = self.device_ if known else resolve_device(self.device)
        if n_steps is not None:
            check_number("n_steps", n_steps, low=0, integer=True)
        generator = self.own_generator(generator)
        rows = Rows(
            rows.x.to(device),
            None if rows.condition is None else rows.condition.to(device),
            None if rows.negative is None else rows.negative.to(device),
        )
        everything = rows.x if rows.negative is None else torch.cat((rows.x, rows.negative))
        self.scaler_ = Scaler.from_data(everything, self._kind_of_scaler())
        normal = replace(rows, x=self._scaled(rows.x))
        if rows.condition is not None:
            scaled = self.normalize and self.classes_ is None
            self.condition_scaler_ = Scaler.from_data(
                rows.condition, "standard" if scaled else "none"
            )
            normal.condition = self.condition_scaler_.normalize(rows.condition).to(
                self.condition_dtype
            )
        if rows.negative is not None:
            normal.negative = self._scaled(rows.negative)
        if not known:
            if not self.item_shape_:
                self.item_shape_ = tuple(rows.x.shape[1:])
            self.n_features_ = rows.x.shape[1]
            self.n_condition_ = 0 if rows.condition is None else rows.condition.shape[1]
            self.device_ = device
            self.build(generator)
        watched = Callbacks(callback)
        self.learn(
            normal, n_steps=n_steps, generator=generator, callback=watched if watched else None
        )
        # A file keeps no strides, and they decide the last bits of a product.
        self.buffers_ = {name: value.contiguous() for name, value in self.buffers_.items()}
        return self

    def _kind_of_scaler(self) -> ScalerKind:
        """`scaler_kind` for these items: the range of images is known."""
        if self.n_tokens_:
            return "none"
        kind = self.scaler_kind
        if len(self.item_shape_) == 3:
            return "none" if kind in ("none", "unit") else "image"
        return kind

    def _scaled(self, x: Tensor) -> Tensor:
        return x if self.n_tokens_ else self.scaler_.normalize(x).to(self.dtype)

    @property
    def condition_dtype(self) -> torch.dtype:
        """In which precision `learn` and `generate` get conditions."""
        return self.dtype if self.dtype.is_floating_point else torch.float32

    def prepare_x(self, x: Any, *, name: str = "x") -> Tensor:
        """Checks items in the user's units and scales them: rows `(n, d)`."""
        rows, _ = as_items(name, x, self.items, shape=self.item_shape_)
        if self.n_tokens_ and len(rows):
            vocabulary_size(rows, self.n_tokens_)
        return self._scaled(rows.to(self.device_))

    def to_items(self, x: Tensor) -> Tensor:
        """Scaled rows `(n, d)` as items `(n, *item_shape_)` in the user's units, always finite."""
        if self.n_tokens_:
            return x.long().view(-1, *self.item_shape_)
        items = self.scaler_.denormalize(x.float() if x.dtype == torch.bfloat16 else x)
        if len(self.item_shape_) == 3:
            items = items.clamp_(0.0, 1.0)
        return items.view(-1, *self.item_shape_)

    def prepare_condition(self, condition: Any, n: int) -> Tensor | None:
        """Checks a condition for n rows, scales it and repeats a single row n times."""
        if condition is None:
            if self.n_condition_ and not self.condition_optional:
                raise ValueError(
                    f"this model was fitted with a condition of {self.n_condition_} columns; "
                    "condition must be given"
                )
            return None
        if not self.n_condition_:
            raise ValueError("condition must be None: this model was fitted without one")
        given = self.read_condition(condition, self.classes_)
        if given.shape[0] not in (1, n):
            raise ValueError(f"condition must have {n} rows, or one for all; got {given.shape[0]}")
        scaled = self.condition_scaler_.normalize(given.to(self.device_))
        return scaled.to(self.condition_dtype).expand(n, -1)

    # The learned state as tensors and numbers: for files, deep copies and pickles.

    def state_numbers(self) -> dict[str, Any]:
        """The part of the learned state that is no tensors: numbers, texts, sequences of these."""
        return {
            "n_features": self.n_features_ or 0,
            "n_condition": self.n_condition_,
            "n_calls": self.n_calls_,
            "n_steps": self.n_steps_,
            "n_tokens": self.n_tokens_,
            "item_shape": list(self.item_shape_),
            "parts": {
                name: {
                    "class": type(part).__name__,
                    "params": part.get_params(),
                    "numbers": part.state_numbers(),
                }
                for name, part in self.parts_.items()
            },
        }

    def state_tensors(self) -> dict[str, Tensor]:
        """All learned tensors by name; empty before the first fit."""
        if self.n_features_ is None:
            return {}
        state = {f"buffers.{name}": value for name, value in self.buffers_.items()}
        state |= self.scaler_.tensors("scaler")
        if self.n_condition_:
            state |= self.condition_scaler_.tensors("condition_scaler")
        if self.classes_ is not None:
            state["classes"] = self.classes_
        for name, model in self.parts_.items():
            own = model.state_tensors()
            state.update({f"parts.{name}.{key}": value for key, value in own.items()})
        return state

    def restore(self, numbers: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Takes over a state given by `state_numbers` and `state_tensors`.

        Raises:
            ValueError: A tensor is missing, superfluous, of a wrong shape, or not finite.
        """
        self.reset()
        self.n_calls_, self.n_steps_ = numbers["n_calls"], numbers["n_steps"]
        if not numbers["n_features"]:
            return
        self.n_features_, self.n_condition_ = numbers["n_features"], numbers["n_condition"]
        self.n_tokens_, self.item_shape_ = numbers["n_tokens"], tuple(numbers["item_shape"])
        if math.prod(self.item_shape_) != self.n_features_:
            raise ValueError(f"{self.n_features_} features cannot have shape {self.item_shape_}")
        self.device_ = resolve_device(self.device)
        # Copied, so that neither a file's memory map nor another model stays behind the tensors.
        left = {name: tensor.to(self.device_, copy=True) for name, tensor in tensors.items()}
        if "classes" in left:
            self.classes_ = take_tensor(left, "classes", (self.n_condition_,)).cpu()
        self._restore_parts(numbers["parts"], left)
        self.scaler_ = Scaler.take(left, "scaler", self.n_features_)
        if self.n_condition_:
            self.condition_scaler_ = Scaler.take(left, "condition_scaler", self.n_condition_)
        self.take_state(left)
        if left:
            raise ValueError(f"unexpected tensor {min(left)!r} in the state of {self!r}")

    def _restore_parts(self, parts: Mapping[str, Any], left: dict[str, Tensor]) -> None:
        for name, content in parts.items():
            prefix = f"parts.{name}."
            own = [key for key in left if key.startswith(prefix)]
            tensors = {key.removeprefix(prefix): left.pop(key) for key in own}
            params = {**content["params"], "device": str(self.device_)}
            model = serialization.find_class(content["class"])(**params)
            model.restore(content["numbers"], tensors)
            self.parts_[name] = model

    def take_state(self, left: dict[str, Tensor]) -> None:
        """Takes its tensors out of `left`; the scalers are already taken."""
        unfinished = getattr(self, "unfinished_", None) is not None
        for name, shape in self.buffer_shapes().items():
            if unfinished and f"buffers.{name}" not in left:
                continue  # taken at the end of a fit
            self.buffers_[name] = take_tensor(left, f"buffers.{name}", shape)

    def __getstate__(self) -> dict[str, Any]:
        tensors = {k: v.detach().clone() for k, v in self.state_tensors().items()}
        return {
            "params": self.get_params(),
            "numbers": self.state_numbers(),
            "tensors": tensors,
            "losses": dict(self.losses_),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state["params"].items():
            setattr(self, name, value)
        self.restore(state["numbers"], state["tensors"])
        self.losses_ = state["losses"]
