"""Generative sampling, crossover and mutation: the other slots of a pymoo algorithm."""

from __future__ import annotations

from typing import Any

import numpy as np
from pymoo.core.crossover import Crossover
from pymoo.core.mutation import Mutation
from pymoo.core.sampling import Sampling

from evogen.operators.encoding import BOUNDS, Encoding, repair_to_box
from evogen.operators.examples import TrainingData
from evogen.operators.slot import ModelSlot, check_model, check_ready, require_width


class GenerativeSampling(Sampling):
    """Warm start: the initial population from a model trained on earlier results.

    Args:
        model: A model; trained already on decision vectors in the problem's own units, or
            untrained with `data` given.
        data: Decision vectors `(n, n_var)` of earlier runs, in the problem's units; the model is
            fitted to them (in the unit box) at the start.
        share: Share of the population from the model, in [0, 1]; the rest is uniform. What the
            model repeats is uniform too: a collapsed one must not shrink the population.
        condition: Condition for every sample `(c,)`, or None; not together with `data`.
        bounds: See `repair_to_box`.

    Raises:
        TypeError: The model cannot sample (or not under a condition).
        ValueError: A share outside [0, 1], or data and a condition.
    """

    def __init__(
        self,
        model: Any,
        data: np.ndarray | None = None,
        *,
        share: float = 1.0,
        condition: np.ndarray | None = None,
        bounds: str = "reflect",
    ) -> None:
        super().__init__()
        check_model(model, conditional=condition is not None)
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"share={share!r} must lie in [0, 1]")
        if bounds not in BOUNDS:
            raise ValueError(f"bounds={bounds!r} is unknown; use one of {', '.join(BOUNDS)}")
        if data is not None and condition is not None:
            raise ValueError("condition asks for a model that is trained already: give no data")
        self.slot = ModelSlot(model)
        self.data = data
        self.share = share
        self.condition = condition
        self.bounds = bounds

    def _do(
        self, problem: Any, n_samples: int, random_state: Any = None, **kwargs: Any
    ) -> np.ndarray:
        encoding = Encoding(problem)
        if encoding.mixed and self.data is None:
            raise TypeError(
                "a model trained on mixed variables has no units of its own; give the earlier "
                "solutions as data, a list of dictionaries"
            )
        u = random_state.random((n_samples, encoding.n_dim))
        n_model = round(self.share * n_samples)
        if n_model > 0:
            rows = self._rows(problem, encoding, n_model, random_state)
            u[: len(rows)] = rows
        return np.asarray(encoding.decode(u))

    def _rows(
        self, problem: Any, encoding: Encoding, n: int, random_state: np.random.Generator
    ) -> np.ndarray:
        """Different rows of the unit box from the model, at most n."""
        condition = None
        if self.condition is not None:
            condition = np.repeat(np.atleast_2d(self.condition), n, axis=0)
        check_ready(self.model)
        if self.data is not None:
            self.slot.fit(TrainingData(self._encoded_data(problem, encoding)), random_state)
        elif hasattr(self.model, "n_features_") and self.model.n_features_ is None:
            raise ValueError(
                f"{type(self.model).__name__} is not trained yet; fit it, or give earlier "
                "solutions as data"
            )
        rows = self.slot.sample(n, condition, random_state)
        if rows is None:
            return np.empty((0, encoding.n_dim))
        require_width(self.model, "sample", rows, n, encoding.n_dim)
        rows = self.slot.usable(rows if self.data is not None else encoding.encode(rows), n)
        rows = repair_to_box(rows, self.bounds, random_state)
        _, first = np.unique(rows, axis=0, return_index=True)
        return rows[np.sort(first)]

    def _encoded_data(self, problem: Any, encoding: Encoding) -> np.ndarray:
        if encoding.mixed:
            return encoding.encode(self.data)
        data = np.asarray(self.data, dtype=float)
        if data.ndim != 2 or data.shape[1] != problem.n_var:
            raise ValueError(
                f"data has shape {data.shape}, expected (n, {problem.n_var}) for this problem"
            )
        if not np.isfinite(data).all():
            raise ValueError(f"data has {(~np.isfinite(data)).sum()} values that are not finite")
        return encoding.encode(data)

    @property
    def model(self) -> Any:
        """The generative model; None in a history snapshot."""
        return self.slot.model


class _FittedOnPopulation:
    """Shared by crossover and mutation: a model fitted to the population once a generation."""

    slot: ModelSlot
    _fitted_at: Any = None

    def _prepare(self, problem: Any, x: np.ndarray, random_state: Any, algorithm: Any) -> Encoding:
        """Fit to the algorithm's population, or to the parents where there is no algorithm."""
        encoding = Encoding(problem)
        when = None if algorithm is None else algorithm.n_iter
        if when is None or when != self._fitted_at:
            rows = np.unique(x if algorithm is None else algorithm.pop.get("X"), axis=0)
            if len(rows) >= 2:
                encoding.refuse_permutations(rows)
                check_ready(self.model)
                self.slot.fit(TrainingData(encoding.encode(rows)), random_state)
                self._fitted_at = when
        return encoding

    @property
    def model(self) -> Any:
        """The generative model; None in a history snapshot."""
        return self.slot.model


class GenerativeCrossover(_FittedOnPopulation, Crossover):
    """Interpolates two parents in a model's latent space.

    The model (an autoencoder of any kind) is fitted to the population once a generation; children
    are the decoded points z = z1 + t (z2 - z1), with t uniform in [-extend, 1 + extend].

    Args:
        model: Needs `fit`, `sample`, `encode(x)` and `decode(z)`.
        extend: How far beyond the parents, as a share of their latent distance (>= 0).
        prob: Probability that a pair is crossed at all, in [0, 1].
        bounds: See `repair_to_box`.

    Raises:
        TypeError: The model has no latent space.
    """

    def __init__(
        self, model: Any, *, extend: float = 0.25, prob: float = 0.9, bounds: str = "reflect"
    ) -> None:
        Crossover.__init__(self, 2, 2, prob=prob)
        check_model(model, needs=("encode", "decode"))
        if extend < 0:
            raise ValueError(f"extend={extend!r} must not be negative")
        if bounds not in BOUNDS:
            raise ValueError(f"bounds={bounds!r} is unknown; use one of {', '.join(BOUNDS)}")
        self.slot = ModelSlot(model)
        self.extend = extend
        self.bounds = bounds

    def _do(
        self,
        problem: Any,
        X: np.ndarray,
        *args: Any,
        random_state: Any = None,
        algorithm: Any = None,
        **kwargs: Any,
    ) -> np.ndarray:
        n_parents, n_matings, n_var = X.shape
        flat = X.reshape(-1, n_var)
        encoding = self._prepare(problem, flat, random_state, algorithm)
        if not self.slot.fitted:
            return np.array(X, copy=True)
        latent = self.slot.call("encode", encoding.encode(flat), random_state=random_state)
        if latent is None or not np.isfinite(latent).all():
            return np.array(X, copy=True)
        z = latent.reshape(n_parents, n_matings, -1)
        t = random_state.uniform(-self.extend, 1 + self.extend, size=(2, n_matings, 1))
        children = (z[0] + t * (z[1] - z[0])).reshape(2 * n_matings, -1)
        u = self.slot.call("decode", children, random_state=random_state)
        if u is None:
            return np.array(X, copy=True)
        require_width(self.model, "decode", u, len(children), encoding.n_dim)
        if not np.isfinite(u).all():
            return np.array(X, copy=True)
        x = encoding.decode(repair_to_box(u, self.bounds, random_state))
        return np.asarray(x).reshape(2, n_matings, n_var)


class GenerativeMutation(_FittedOnPopulation, Mutation):
    """Noises a solution part of the way and denoises it (Hartl et al. 2024, "mutation" and
    "readaptation" in HADES; Meng et al. 2022, SDEdit).

    Args:
        model: Needs `fit`, `sample` and `denoise_from(x, t_fraction)`, as a diffusion model has.
        strength: How far towards pure noise, in (0, 1].
        prob: Probability that a solution is mutated, in [0, 1].
        bounds: See `repair_to_box`.

    Raises:
        TypeError: The model cannot denoise part of the way.
        ValueError: A strength outside (0, 1].
    """

    def __init__(
        self, model: Any, *, strength: float = 0.3, prob: float = 0.9, bounds: str = "reflect"
    ) -> None:
        Mutation.__init__(self, prob=prob)
        check_model(model, needs=("denoise_from",))
        if not 0.0 < strength <= 1.0:
            raise ValueError(f"strength={strength!r} must lie in (0, 1]")
        if bounds not in BOUNDS:
            raise ValueError(f"bounds={bounds!r} is unknown; use one of {', '.join(BOUNDS)}")
        self.slot = ModelSlot(model)
        self.strength = strength
        self.bounds = bounds

    def _do(
        self,
        problem: Any,
        X: np.ndarray,
        *args: Any,
        random_state: Any = None,
        algorithm: Any = None,
        **kwargs: Any,
    ) -> np.ndarray:
        encoding = self._prepare(problem, X, random_state, algorithm)
        if not self.slot.fitted:
            return X
        u = self.slot.call(
            "denoise_from", encoding.encode(X), self.strength, random_state=random_state
        )
        if u is None:
            return X
        require_width(self.model, "denoise_from", u, len(X), encoding.n_dim)
        if not np.isfinite(u).all():
            return X
        return np.asarray(encoding.decode(repair_to_box(u, self.bounds, random_state)))
