"""K-RVEA: Kriging models, searched by RVEA, a few points evaluated at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from pymoo.algorithms.base.genetic import GeneticAlgorithm
from pymoo.core.infill import InfillCriterion
from pymoo.core.population import Population
from pymoo.operators.sampling.lhs import LHS
from pymoo.util.display.multi import MultiObjectiveOutput
from scipy.linalg import LinAlgError, cho_factor, cho_solve, cholesky
from scipy.linalg.lapack import dpotri
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

from evogen.algorithms.checks import refuse_unknown, require_real_box
from evogen.algorithms.directions import simplex_directions
from evogen.algorithms.rbf_nsga2 import cross
from evogen.operators import Encoding, HashDuplicateElimination

ALPHA = 2.0
"""Rate at which the angle penalty grows (paper: 2)."""

ADAPT = 0.1
"""Reference vectors are adapted after every such share of the inner generations (RVEA)."""

LOG_RATES = (np.log(1e-3), np.log(1e2))
"""Range of the logarithms of the rates theta in exp(-sum theta_j d_j^2), unit box."""

LOG_NOISE = (np.log(1e-10), np.log(1e-2))
"""Range of the logarithm of the noise variance, in units of the process variance."""


class GaussianProcess:
    """Ordinary Kriging with a squared exponential of one rate per variable (DACE's model).

    Mean and process variance have closed forms; the rates and a small noise maximise the
    concentrated likelihood (Rasmussen & Williams 2006, eq. 5.9; Jones et al. 1998, eq. 4-5).

    Args:
        max_iter: Steps of L-BFGS-B per fit; each fit starts from the last one's result.
    """

    def __init__(self, max_iter: int = 10) -> None:
        self.max_iter = max_iter
        self._start: np.ndarray | None = None

    def fit(self, u: np.ndarray, y: np.ndarray) -> GaussianProcess:
        """Fit to values `(n,)` at points `(n, d)` of the unit box."""
        self._u = u
        self._shift, self._scale = y.mean(), y.std() or 1.0
        z = (y - self._shift) / self._scale
        squares = (u.T[:, :, None] - u.T[:, None, :]) ** 2
        d = u.shape[1]
        if self._start is None:
            self._start = np.append(np.zeros(d), np.log(1e-6))
        found = minimize(
            _negative_likelihood,
            self._start,
            args=(squares, z),
            jac=True,
            method="L-BFGS-B",
            bounds=[LOG_RATES] * d + [LOG_NOISE],
            options={"maxiter": self.max_iter},
        )
        self._start = found.x
        self.rates_ = np.exp(found.x[:-1])
        kernel = np.exp(-np.tensordot(self.rates_, squares, axes=1))
        kernel[np.diag_indices(len(u))] += np.exp(found.x[-1])
        self._factor = cho_factor(kernel, lower=True)
        ones = cho_solve(self._factor, np.ones(len(u)))
        self._mean = (ones @ z) / ones.sum()
        self._weights = cho_solve(self._factor, z - self._mean)
        self._variance = ((z - self._mean) @ self._weights) / len(u)
        return self

    def predict(self, u: np.ndarray) -> np.ndarray:
        """Mean `(k,)` at points `(k, d)`, in the units of the values fitted."""
        return np.asarray(
            self._shift + self._scale * (self._mean + self._correlation(u) @ self._weights)
        )

    def variance(self, u: np.ndarray) -> np.ndarray:
        """Variance `(k,)` at points `(k, d)`, of the function without noise."""
        cross = self._correlation(u)
        explained = np.einsum("kn,nk->k", cross, cho_solve(self._factor, cross.T))
        return np.asarray(self._scale**2 * self._variance * np.maximum(1.0 - explained, 0.0))

    def _correlation(self, u: np.ndarray) -> np.ndarray:
        root = np.sqrt(self.rates_)
        return np.asarray(np.exp(-cdist(u * root, self._u * root, "sqeuclidean")))


def _negative_likelihood(
    parameters: np.ndarray, squares: np.ndarray, z: np.ndarray
) -> tuple[float, np.ndarray]:
    """Concentrated negative log-likelihood and its gradient in the logarithms of rates, noise."""
    n = len(z)
    rates, noise = np.exp(parameters[:-1]), np.exp(parameters[-1])
    kernel = np.exp(-np.tensordot(rates, squares, axes=1))
    try:
        factor = cholesky(kernel + noise * np.eye(n), lower=True, check_finite=False)
    except LinAlgError:
        return 1e10, np.zeros(len(parameters))
    half = dpotri(factor, lower=1)[0]
    inverse = np.tril(half) + np.tril(half, -1).T
    mean = (inverse.sum(axis=0) @ z) / inverse.sum()
    weights = inverse @ (z - mean)
    variance = max((z - mean) @ weights / n, 1e-300)
    value = 0.5 * n * np.log(variance) + np.log(np.diag(factor)).sum()
    # d value / d kernel, then the chain rule; the mean is at its optimum and adds nothing.
    slope = 0.5 * (inverse - np.outer(weights, weights) / variance)
    by_rate = -rates * np.tensordot(squares, slope * kernel, axes=2)
    return float(value), np.append(by_rate, noise * np.trace(slope))


def associate(f: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nearest vector by angle `(n,)`, and that angle `(n,)`, of translated objectives `(n, m)`."""
    norm = np.maximum(np.linalg.norm(f, axis=1, keepdims=True), 1e-300)
    cosine = np.clip(
        (f / norm) @ (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).T, 0, 1
    )
    nearest = cosine.argmax(axis=1)
    return nearest, np.arccos(cosine[np.arange(len(f)), nearest])


def penalized_distance(
    f: np.ndarray, vectors: np.ndarray, progress: float
) -> tuple[np.ndarray, np.ndarray]:
    """Angle-penalised distance `(n,)` of RVEA (Cheng et al. 2016, eq. 9-10), and the vector `(n,)`.

    Args:
        f: Objectives `(n, n_obj)`.
        vectors: Reference vectors `(k, n_obj)`, k >= 2.
        progress: Share of the generations that are over, in [0, 1].
    """
    f = f - f.min(axis=0)
    nearest, angle = associate(f, vectors)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = np.clip(unit @ unit.T, 0, 1)
    np.fill_diagonal(cosine, 0.0)
    gap = np.maximum(np.arccos(cosine.max(axis=1)), 1e-6)
    penalty = 1.0 + f.shape[1] * progress**ALPHA * angle / gap[nearest]
    return penalty * np.linalg.norm(f, axis=1), nearest


def best_of_each(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Row number of the smallest value in every group that has a row, in order of the groups."""
    order = np.lexsort((values, group))
    return order[np.unique(group[order], return_index=True)[1]]


def clusters(points: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """Cluster number of each row `(n,)`: Lloyd's k-means from k random rows."""
    centres = points[rng.permutation(len(points))[:k]]
    for _ in range(20):
        label = np.asarray(cdist(points, centres).argmin(axis=1))
        member = label == np.arange(len(centres))[:, None]
        count = member.sum(axis=1, keepdims=True)
        moved = np.where(count > 0, member @ points / np.maximum(count, 1), centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return label


class KRVEA(GeneticAlgorithm):
    """K-RVEA (Chugh, Jin, Miettinen, Hakanen & Sindhya, IEEE TEVC 22(1), 2018).

    One Gaussian process per objective. RVEA runs on their means for `n_inner` generations; of what
    it finds, `n_update` points are evaluated, one per cluster of the active reference vectors:
    those of smallest angle-penalised distance or, when the number of empty vectors has grown by
    more than 5 % of them (diversity is being lost), those of greatest mean variance. The models
    train on at most as many points as the initial design has.

    Settings are the paper's as PlatEMO 4.15 has them. Differences: the models have a constant mean
    (PlatEMO: linear) and a likelihood found by a few gradient steps from the last rates, not by
    DACE's pattern search; of the old training points one is kept per cluster in objective space
    (in the paper, per cluster of vectors when these are more than the points).

    Args:
        pop_size: Wanted number of reference vectors; the nearest smaller simplex lattice is used.
        n_initial: Size of the initial Latin hypercube, and greatest number of training points
            (>= 4); None stands for 11 n_var - 1.
        n_inner: Generations on the models (>= 1).
        n_update: Points evaluated per iteration (>= 1).

    Attributes:
        pop: All points evaluated.

    Raises:
        ValueError: An argument out of range, constraints, one objective, or no finite box.
        TypeError: Variables that are not real.
    """

    #: It has no mating; `inject` must not give it one.
    own_mating = True

    pop: Population
    pop_size: int
    n_offsprings: int

    def __init__(
        self,
        pop_size: int = 100,
        *,
        n_initial: int | None = None,
        n_inner: int = 20,
        n_update: int = 5,
        sampling: Any = None,
        output: Any = None,
        **kwargs: Any,
    ) -> None:
        refuse_unknown(
            KRVEA, kwargs, fixed=("mating", "crossover", "mutation", "selection", "survival")
        )
        for name, value, low in (
            ("n_initial", 4 if n_initial is None else n_initial, 4),
            ("n_inner", n_inner, 1),
            ("n_update", n_update, 1),
        ):
            if value < low:
                raise ValueError(f"{name}={value!r} must be at least {low}")
        super().__init__(
            pop_size=pop_size,
            sampling=LHS() if sampling is None else sampling,
            output=MultiObjectiveOutput() if output is None else output,
            mating=InfillCriterion(),
            **({"eliminate_duplicates": HashDuplicateElimination()} | kwargs),
        )
        self.n_initial = n_initial
        self.n_inner = n_inner
        self.n_update = n_update

    def _setup(self, problem: Any, **kwargs: Any) -> None:
        require_real_box(problem, "KRVEA")
        if problem.has_constraints():
            raise ValueError("KRVEA takes no constraints; use RBFNSGA2")
        self.encoding = Encoding(problem)
        self.directions = simplex_directions(problem.n_obj, self.pop_size)
        self.models = [GaussianProcess() for _ in range(problem.n_obj)]
        self._n_train = 11 * problem.n_var - 1 if self.n_initial is None else self.n_initial

    def _initialize_infill(self) -> Population:
        return self.initialization.do(
            self.problem, self._n_train, algorithm=self, random_state=self.random_state
        )

    def _initialize_advance(self, infills: Any = None, **kwargs: Any) -> None:
        self._train = np.arange(len(infills))

    def _advance(self, infills: Any = None, **kwargs: Any) -> None:
        new = len(self.pop) + np.arange(len(infills))
        self.pop = Population.merge(self.pop, infills)
        f, old = self.pop.get("F"), self._train
        if len(old) + len(new) > self._n_train:
            old = old[np.isfinite(f[old]).all(axis=1)]
            label = clusters(f[old], max(self._n_train - len(new), 1), self.random_state)
            old = old[best_of_each(self.random_state.random(len(old)), label)]
        self._train = np.concatenate([old, new])

    def _infill(self) -> Population:
        rng = self.random_state
        u, f = self.encoding.encode(self.pop[self._train].get("X")), self.pop[self._train].get("F")
        finite = np.isfinite(f).all(axis=1)
        u, f = u[finite], f[finite]
        rows = self._search(u, f) if len(u) >= 4 else np.empty((0, self.encoding.n_dim))
        for candidates in (rows, rng.random((self.n_update, self.encoding.n_dim))):
            off = Population.new(X=self.encoding.decode(candidates))
            off = self.eliminate_duplicates.do(self.repair.do(self.problem, off), self.pop)
            if len(off):
                break
        return off

    def _search(self, u: np.ndarray, f: np.ndarray) -> np.ndarray:
        """RVEA on the models, from the training points; the rows to evaluate `(k, n_dim)`."""
        rng, vectors = self.random_state, self.directions
        for model, values in zip(self.models, f.T, strict=True):
            model.fit(u, values)
        n_empty = self._n_empty(f)
        every = int(np.ceil(ADAPT * self.n_inner))
        for w in range(1, self.n_inner + 1):
            pairs = rng.permutation(np.resize(rng.permutation(len(u)), 2 * -(-len(u) // 2)))
            u = np.concatenate([u, cross(u[pairs.reshape(2, -1)], rng)])
            mean = np.column_stack([model.predict(u) for model in self.models])
            distance, nearest = penalized_distance(mean, vectors, w / self.n_inner)
            kept = best_of_each(distance, nearest)
            u, mean = u[kept], mean[kept]
            if w % every == 0:
                extent = np.maximum(np.ptp(mean, axis=0), 1e-12)
                vectors = self.directions * extent
        distance, nearest = penalized_distance(mean, vectors, 1.0)
        active, position = np.unique(nearest, return_inverse=True)
        group = clusters(vectors[active], min(self.n_update, len(active)), rng)[position]
        if self._n_empty(mean) - n_empty > 0.05 * len(vectors):
            variance = np.mean([model.variance(u) for model in self.models], axis=0)
            return u[best_of_each(-variance, group)]
        return u[best_of_each(distance, group)]

    def _n_empty(self, f: np.ndarray) -> int:
        """How many of the fixed reference vectors have no point."""
        nearest, _ = associate(f - f.min(axis=0), self.directions)
        return len(self.directions) - len(np.unique(nearest))
