"""A model in service of an operator: fitted once a generation, seeded, and never fatal.

The contract with a model is two methods, `fit(x, condition=None, ...)` and
`sample(n, condition=None, ...)`. What else a model offers is found by its signature:
a `generator` (torch) or `random_state` argument for the seed, `negative` for negative examples.
A scikit-learn mixture and a model of this library are equally good.
"""

from __future__ import annotations

import copy
import inspect
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from pymoo.core.algorithm import Algorithm

from evogen.operators.examples import TrainingData


class GenerativeFallback(UserWarning):
    """A model failed to fit or to sample; the base operator made the missing offspring.

    Warned of once per operator; `slot.failures` lists every occasion.
    """


#: What a diverging, singular or collapsed model raises. Programming errors are not among them.
MODEL_FAILURES = (ArithmeticError, RuntimeError, ValueError, np.linalg.LinAlgError)


def accepts(function: Callable[..., Any], name: str) -> bool:
    """Whether a function takes an argument of this name (or any keyword)."""
    parameters = inspect.signature(function).parameters
    return name in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def check_model(model: Any, *, conditional: bool = False, needs: tuple[str, ...] = ()) -> None:
    """Refuse a model that cannot do what an operator needs.

    Args:
        model: The candidate.
        conditional: Whether `fit` and `sample` must take a condition.
        needs: Further methods that must exist, e.g. `("encode", "decode")`.

    Raises:
        TypeError: Names the model and what it lacks.
    """
    kind = type(model).__name__
    if inspect.isclass(model):
        name = model.__name__
        raise TypeError(f"model is the class {name}; give an instance: {name}()")
    for method in ("fit", "sample", *needs):
        if not callable(getattr(model, method, None)):
            raise TypeError(f"{kind} cannot serve here: it has no method {method}()")
    if conditional:
        for method in ("fit", "sample"):
            if not accepts(getattr(model, method), "condition"):
                raise TypeError(
                    f"{kind}.{method}() takes no `condition`, but these examples ask a conditional "
                    "model; use Elites() or a conditional model"
                )


def check_ready(model: Any) -> None:
    """Let a model refuse its settings before any evaluation is paid for.

    A model may offer `check()`; ours look for their device there.

    Raises:
        ValueError: What the model finds wrong.
    """
    check = getattr(model, "check", None)
    if callable(check):
        check()


def seed_arguments(function: Callable[..., Any], random_state: np.random.Generator) -> dict:
    """The keyword by which a function takes its seed, drawn from `random_state`."""
    seed = int(random_state.integers(2**63 - 1))
    if accepts(function, "generator"):
        return {"generator": torch.Generator().manual_seed(seed)}
    if "random_state" in inspect.signature(function).parameters:
        return {"random_state": seed % 2**32}
    owner: Any = getattr(function, "__self__", None)
    if hasattr(owner, "random_state"):
        # scikit-learn keeps the seed on the estimator; a fresh one each call, or every
        # generation would draw the same points.
        owner.random_state = seed % 2**32
    return {}


def history_snapshot(memo: dict[int, Any]) -> bool:
    """Whether a deep copy that is under way makes an entry of pymoo's `save_history`.

    pymoo detaches history, callback and display from an algorithm while it copies it; a copy that
    somebody means to continue has them. MOEA/D never hands itself to its mating, so the copy is
    the only one to ask: `memo` holds an algorithm's copy, empty until it is finished, and next to
    it the attributes copied so far.
    """
    detached = ("history", "callback", "display")
    before: Any = None
    for copied in memo.values():
        under_way = isinstance(before, Algorithm) and not vars(before) and isinstance(copied, dict)
        if under_way and all(copied.get(key, copied) is None for key in detached):
            return True
        before = copied
    return False


def require_width(model: Any, method: str, rows: np.ndarray, n: int, width: int) -> None:
    """Refuse an answer of the wrong width: the model was made for another problem.

    Raises:
        TypeError: `rows` is not `(any, width)`.
    """
    if rows.ndim != 2 or rows.shape[1] != width:
        raise TypeError(
            f"{type(model).__name__}.{method}() returned the shape {rows.shape}, "
            f"expected ({n}, {width})"
        )


def as_rows(values: Any) -> np.ndarray:
    """A model's answer as a float array; scikit-learn's `(rows, labels)` pair is accepted."""
    if isinstance(values, tuple):
        values = values[0]
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype=float)


class ModelSlot:
    """Holds a model between generations and shields the run from its failures.

    Args:
        model: Anything with `fit` and `sample`.

    Attributes:
        model: The model; None in a history snapshot, which keeps no weights.
        fitted: Whether the last fit succeeded.
        failures: Messages of failed fits and samples, in order.
        fit_seconds: CPU seconds spent in `fit` so far.
        sample_seconds: CPU seconds spent sampling so far.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.fitted = False
        self.failures: list[str] = []
        self.fit_seconds = 0.0
        self.sample_seconds = 0.0
        self.n_fits = 0

    def fit(self, data: TrainingData, random_state: np.random.Generator) -> bool:
        """Fit (warm if fitted before); False and a warning when the model failed."""
        model = self.model
        extra: dict[str, Any] = seed_arguments(model.fit, random_state)
        if data.condition is not None:
            extra["condition"] = _tensor(data.condition)
        if data.negative is not None and accepts(model.fit, "negative"):
            extra["negative"] = _tensor(data.negative)
        start = time.process_time()
        try:
            model.fit(_tensor(data.x), **extra)
            self.fitted = True
        except MODEL_FAILURES as error:
            self._failed("fit", error)
            self.fitted = False
        self.fit_seconds += time.process_time() - start
        self.n_fits += 1
        return self.fitted

    def call(
        self, method: str, *args: Any, random_state: np.random.Generator, **kwargs: Any
    ) -> np.ndarray | None:
        """Call a sampling method; rows `(n, d)`, or None and a warning when it failed."""
        function = getattr(self.model, method)
        kwargs = {k: _tensor(v) if isinstance(v, np.ndarray) else v for k, v in kwargs.items()}
        kwargs.update(seed_arguments(function, random_state))
        args = tuple(_tensor(a) if isinstance(a, np.ndarray) else a for a in args)
        start = time.process_time()
        try:
            return as_rows(function(*args, **kwargs))
        except MODEL_FAILURES as error:
            self._failed(method, error)
            return None
        finally:
            self.sample_seconds += time.process_time() - start

    def sample(
        self, n: int, condition: np.ndarray | None, random_state: np.random.Generator
    ) -> np.ndarray | None:
        """Draw n rows; None when the model failed."""
        if condition is None:
            return self.call("sample", n, random_state=random_state)
        return self.call("sample", n, condition=condition, random_state=random_state)

    def usable(self, rows: np.ndarray, n: int) -> np.ndarray:
        """The finite ones of a sample's rows, at most n; missing rows count as a failure."""
        finite = rows[np.isfinite(rows).all(axis=1)][:n]
        if len(finite) < n:
            self._failed("sample", f"{len(finite)} finite rows of {n}")
        return finite

    def __deepcopy__(self, memo: dict[int, Any]) -> ModelSlot:
        """A full copy; without the model in `save_history`, which would keep one a generation."""
        clone = copy.copy(self)
        clone.failures = list(self.failures)
        clone.model = None if history_snapshot(memo) else copy.deepcopy(self.model, memo)
        memo[id(self)] = clone
        return clone

    def _failed(self, what: str, error: Exception | str) -> None:
        message = f"{type(self.model).__name__}.{what} failed: {error}"
        if not self.failures:
            warnings.warn(
                f"{message}; the base operator takes over where rows are missing",
                GenerativeFallback,
                stacklevel=4,
            )
        self.failures.append(message)


def _tensor(rows: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(rows, dtype=np.float32))
