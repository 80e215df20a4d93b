"""Generators without a network: baselines and nulls under the same two-method contract.

A learned operator earns its name only where it beats these in the same loop.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np


def _rows(x: Any) -> np.ndarray:
    return np.asarray(x, dtype=float)


class Differential:
    """Differential variation x1 + F (x2 - x3) of the fitted rows (Storn & Price 1997, DE/rand/1).

    Args:
        scale: The factor F (> 0).
    """

    def __init__(self, scale: float = 0.5) -> None:
        if not scale > 0:
            raise ValueError(f"scale={scale!r} must be positive")
        self.scale = scale

    def fit(self, x: Any, condition: Any = None) -> Differential:
        """Keep the rows `(n, d)`."""
        self.rows_ = _rows(x)
        return self

    def sample(
        self, n: int, condition: Any = None, *, random_state: int | None = None
    ) -> np.ndarray:
        """Draw n combinations of three different rows `(n, d)` (repeats when there are fewer)."""
        rng = np.random.default_rng(random_state)
        rows = self.rows_
        picks = np.argsort(rng.random((n, len(rows))), axis=1)[:, :3]
        a, b, c = (rows[picks[:, min(i, picks.shape[1] - 1)]] for i in range(3))
        return np.asarray(a + self.scale * (b - c))


class Copy:
    """Null: returns fitted rows unchanged. All that remains is the mutation behind it."""

    def fit(self, x: Any, condition: Any = None) -> Copy:
        """Keep the rows `(n, d)`."""
        self.rows_ = _rows(x)
        return self

    def sample(
        self, n: int, condition: Any = None, *, random_state: int | None = None
    ) -> np.ndarray:
        """Draw n of the rows with replacement `(n, d)`."""
        rng = np.random.default_rng(random_state)
        return np.asarray(self.rows_[rng.integers(len(self.rows_), size=n)])


class Uniform:
    """Null: uniform in the unit box, whatever was learned."""

    def fit(self, x: Any, condition: Any = None) -> Uniform:
        """Remember the width of the rows `(n, d)`."""
        self.n_features_ = _rows(x).shape[1]
        return self

    def sample(
        self, n: int, condition: Any = None, *, random_state: int | None = None
    ) -> np.ndarray:
        """Draw n uniform rows `(n, d)`."""
        return np.random.default_rng(random_state).random((n, self.n_features_))


class Constant:
    """Null: always the same point of the unit box; 0.5 is what an untrained sigmoid answers.

    Args:
        value: Coordinate in [0, 1].
    """

    def __init__(self, value: float = 0.5) -> None:
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"value={value!r} must lie in [0, 1]")
        self.value = value

    def fit(self, x: Any, condition: Any = None) -> Constant:
        """Remember the width of the rows `(n, d)`."""
        self.n_features_ = _rows(x).shape[1]
        return self

    def sample(self, n: int, condition: Any = None) -> np.ndarray:
        """Return n equal rows `(n, d)`."""
        return np.full((n, self.n_features_), self.value)


class Untrained:
    """Null: a network model that is built and scaled on the data but never trained.

    Args:
        model: A model whose `fit` takes `n_steps`.

    Raises:
        TypeError: The model's `fit` takes no `n_steps`.
    """

    def __init__(self, model: Any) -> None:
        from evogen.operators.slot import accepts

        if not accepts(model.fit, "n_steps"):
            raise TypeError(
                f"{type(model).__name__}.fit() takes no n_steps: it cannot be untrained"
            )
        self.model = copy.deepcopy(model)

    def fit(self, x: Any, condition: Any = None, *, generator: Any = None) -> Untrained:
        """Build and scale the model on `(n, d)` rows with zero training steps."""
        self.model.fit(x, condition, n_steps=0, generator=generator)
        return self

    def sample(self, n: int, condition: Any = None, *, generator: Any = None) -> Any:
        """Sample the untrained model `(n, d)`."""
        return self.model.sample(n, condition, generator=generator)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "model":
            raise AttributeError(name)
        return getattr(self.model, name)
