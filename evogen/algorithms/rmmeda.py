"""RM-MEDA: the Pareto set as a piecewise linear manifold, learned by local PCA."""

from __future__ import annotations

from typing import Any

import moocore
import numpy as np
from pymoo.algorithms.base.genetic import GeneticAlgorithm
from pymoo.core.infill import InfillCriterion
from pymoo.core.population import Population
from pymoo.core.survival import Survival
from pymoo.operators.sampling.rnd import FloatRandomSampling
from pymoo.util.display.multi import MultiObjectiveOutput

from evogen.algorithms.checks import refuse_unknown, require_real_box
from evogen.operators import Encoding, crowding_distance

LARGEST_STEP = 1e-5
"""Local PCA has converged when no mean moves further (authors' code)."""

LONELY_NOISE = 0.1
"""Standard deviation around a cluster of one point, in units of the box (authors' code)."""


class LocalPCA:
    """Clusters of points around affine subspaces (Kambhatla & Leen 1997), as RM-MEDA uses them.

    A point belongs to the cluster whose subspace, spanned by the first principal directions at its
    mean, is nearest.

    Args:
        n_components: Dimension of the subspaces (n_obj - 1).
        n_clusters: Number of clusters K.
        max_iter: Greatest number of partitions.

    Attributes:
        labels_: Cluster of each row `(n,)`.
        mean_: Cluster means `(K, d)`.
        directions_: Principal directions in rows, largest variance first `(K, n_components, d)`;
            zero for clusters of less than two points.
        low_, high_: Range of the members' projections `(K, n_components)`.
        noise_: Mean of the variances that are left out, per cluster `(K,)`.
    """

    def __init__(self, n_components: int, n_clusters: int = 5, max_iter: int = 50) -> None:
        self.n_components = n_components
        self.n_clusters = n_clusters
        self.max_iter = max_iter

    def fit(self, x: np.ndarray, random_state: np.random.Generator) -> LocalPCA:
        """Partition the rows `(n, d)`; the first means are random rows, empty clusters get one."""
        n, d = x.shape
        k, m = min(self.n_clusters, n), min(self.n_components, d)
        self.mean_ = x[random_state.permutation(n)[:k]].copy()
        self.directions_ = np.zeros((k, m, d))
        self.low_, self.high_ = np.zeros((k, m)), np.zeros((k, m))
        self.noise_ = np.full(k, LONELY_NOISE**2)
        for _ in range(self.max_iter):
            self.labels_ = self._nearest(x)
            before = self.mean_.copy()
            for i in range(k):
                self._update(i, x[self.labels_ == i], x, random_state)
            if np.abs(before - self.mean_).max() <= LARGEST_STEP:
                break
        return self

    def _nearest(self, x: np.ndarray) -> np.ndarray:
        """Cluster whose subspace is nearest to each row, `(n,)`."""
        centred = x - self.mean_[:, None]
        along = np.einsum("knd,kmd->knm", centred, self.directions_)
        return np.asarray(np.argmin((centred**2).sum(axis=2) - (along**2).sum(axis=2), axis=0))

    def _update(self, k: int, members: np.ndarray, x: np.ndarray, rng: np.random.Generator) -> None:
        """Mean, directions, range along them and variance across them of one cluster."""
        self.directions_[k] = self.low_[k] = self.high_[k] = 0.0
        self.noise_[k] = LONELY_NOISE**2
        if len(members) < 2:
            self.mean_[k] = members[0] if len(members) else x[rng.integers(len(x))]
            return
        self.mean_[k] = members.mean(axis=0)
        centred = members - self.mean_[k]
        variances, directions = principal_directions(centred)
        m, d = self.directions_[k].shape
        self.directions_[k, : len(directions)] = directions[:m]
        along = centred @ self.directions_[k].T
        self.low_[k], self.high_[k] = along.min(axis=0), along.max(axis=0)
        self.noise_[k] = variances[m:].sum() / max(d - m, 1)

    def sample(
        self, n: int, random_state: np.random.Generator, *, extension: float = 0.25
    ) -> tuple[np.ndarray, np.ndarray]:
        """Points on the pieces, extended by a share of their range at both ends, plus noise.

        A piece is chosen in proportion to its volume, all alike where none has one.

        Returns:
            Points `(n, d)`, and for each the number of a random row of its cluster `(n,)`.
        """
        extent = self.high_ - self.low_
        count = np.bincount(self.labels_, minlength=len(extent))
        volume = extent.prod(axis=1) * (count > 1)
        share = volume if volume.sum() > 0 else count
        k = random_state.choice(len(share), size=n, p=share / share.sum())
        t = random_state.random((n, extent.shape[1]))
        along = self.low_[k] + extent[k] * ((1.0 + 2.0 * extension) * t - extension)
        points = self.mean_[k] + np.einsum("nm,nmd->nd", along, self.directions_[k])
        points += np.sqrt(self.noise_[k])[:, None] * random_state.standard_normal(points.shape)
        by_cluster = np.argsort(self.labels_, kind="stable")
        start = np.cumsum(count) - count
        member = by_cluster[start[k] + random_state.integers(count[k])]
        return points, member


def principal_directions(centred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variances `(r,)` and directions `(r, d)` of centred rows `(n, d)`, largest first."""
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    return singular**2 / (len(centred) - 1), directions


class CrowdingRemoval(Survival):
    """The last front that fits loses its most crowded point, again and again.

    NSGA-II computes crowding distances once; here they are computed anew after every removal.
    Feasible points come first, then infeasible ones by their violation.
    """

    def __init__(self) -> None:
        super().__init__(filter_infeasible=True)

    def _do(
        self, problem: Any, pop: Population, *args: Any, n_survive: int = 0, **kwargs: Any
    ) -> Population:
        f = np.ascontiguousarray(pop.get("F"), dtype=float)
        f = np.where(np.isnan(f), np.inf, f)
        rank = moocore.pareto_rank(f)
        pop.set("rank", rank)
        order = np.argsort(rank, kind="stable")
        if n_survive >= len(order):
            return pop[order]
        last = rank[order[n_survive]]
        kept = np.flatnonzero(rank < last)
        front = np.flatnonzero(rank == last)
        front = front[remove_crowded(f[front], n_survive - len(kept))]
        return pop[np.concatenate([kept, front])]


def remove_crowded(f: np.ndarray, n_survive: int) -> np.ndarray:
    """Remove the row of least crowding distance until `n_survive` are left.

    Args:
        f: One front `(n, n_obj)`.
        n_survive: How many rows to keep, in [0, n].

    Returns:
        Row numbers `(n_survive,)`, ascending.
    """
    kept = np.arange(len(f))
    while len(kept) > n_survive:
        kept = np.delete(kept, np.argmin(crowding_distance(f[kept])))
    return kept


class ManifoldMating(InfillCriterion):
    """Offspring of RM-MEDA: samples of the local PCA of the population.

    Args:
        n_clusters: See `RMMEDA`.
        extension: See `RMMEDA`.
    """

    def __init__(self, *, n_clusters: int, extension: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n_clusters = n_clusters
        self.extension = extension

    def _do(
        self, problem: Any, pop: Population, n_offsprings: int, random_state: Any = None, **_: Any
    ) -> Population:
        encoding = Encoding(problem)
        u = encoding.encode(pop.get("X"))
        model = LocalPCA(problem.n_obj - 1, self.n_clusters).fit(u, random_state)
        off, member = model.sample(n_offsprings, random_state, extension=self.extension)
        # Halfway between the violated bound and a solution of the same cluster.
        off = np.where(off < 0.0, 0.5 * u[member], off)
        off = np.where(off > 1.0, 0.5 * (u[member] + 1.0), off)
        return Population.new(X=encoding.decode(off))


class RMMEDA(GeneticAlgorithm):
    """RM-MEDA (Zhang, Zhou & Jin, IEEE TEVC 12(1), 2008, pp. 41-63).

    The Pareto set of a smooth problem is piecewise an (n_obj - 1)-dimensional manifold. Every
    generation, local PCA cuts the population into K affine pieces; each is extended by 25 % of its
    range at either end and sampled uniformly, in proportion to its volume, with isotropic normal
    noise of the mean variance that the piece leaves out. Parents and offspring compete by
    non-dominated sorting; the last front loses its most crowded member one at a time.

    Settings are the paper's (K = 5, 50 iterations of local PCA, 25 %). From the authors' code comes
    what becomes of values outside the box (halfway between the bound and a solution of the same
    cluster; PlatEMO 4.15 clips them instead, which favours problems whose Pareto set lies on the
    bounds) and the noise of clusters of one point (a tenth of the box; PlatEMO: its whole width).
    From PlatEMO come the choice of the cluster by roulette and uniform draws within it (the
    authors' code gives each at least 2 offspring, in Latin hypercubes) and the step at which local
    PCA ends; its first means are the first K solutions, here random ones. Local PCA sees
    variables divided by their range, where both codes take them as they are; this differs only
    where ranges differ. Constraints, which the paper does not treat: feasible solutions first, then
    the least violation.

    Args:
        pop_size: Population size (>= 4).
        n_clusters: Number of pieces K (>= 1).
        extension: Share of its range by which a piece grows at either end (>= 0).
        sampling: Initial sampling.

    Raises:
        ValueError: An argument out of range, one objective, or no finite box.
        TypeError: Variables that are not real.
    """

    #: Its mating is its own; `inject` must not replace it.
    own_mating = True

    pop_size: int
    n_offsprings: int

    def __init__(
        self,
        pop_size: int = 100,
        *,
        n_clusters: int = 5,
        extension: float = 0.25,
        sampling: Any = None,
        output: Any = None,
        **kwargs: Any,
    ) -> None:
        refuse_unknown(
            RMMEDA, kwargs, fixed=("mating", "crossover", "mutation", "selection", "survival")
        )
        for name, value, low in (("pop_size", pop_size, 4), ("n_clusters", n_clusters, 1)):
            if value < low:
                raise ValueError(f"{name}={value!r} must be at least {low}")
        if not extension >= 0:
            raise ValueError(f"extension={extension!r} must not be negative")
        super().__init__(
            pop_size=pop_size,
            sampling=FloatRandomSampling() if sampling is None else sampling,
            output=MultiObjectiveOutput() if output is None else output,
            survival=CrowdingRemoval(),
            mating=InfillCriterion(),
            **({"eliminate_duplicates": False} | kwargs),
        )
        self.n_clusters = n_clusters
        self.extension = extension

    def _setup(self, problem: Any, **kwargs: Any) -> None:
        require_real_box(problem, "RMMEDA")
        self.mating = ManifoldMating(
            n_clusters=self.n_clusters,
            extension=self.extension,
            repair=self.repair,
            eliminate_duplicates=self.eliminate_duplicates,
        )
