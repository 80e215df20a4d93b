"""SPEA2's environmental selection, fast."""

from __future__ import annotations

from typing import Any

import numpy as np
from pymoo.algorithms.moo.spea2 import SPEA2Survival
from pymoo.core.population import Population
from scipy.spatial.distance import cdist


def domination(f: np.ndarray) -> np.ndarray:
    """Boolean matrix `(n, n)`: entry (i, j) tells whether row i of `f` `(n, n_obj)` dominates j."""
    n = len(f)
    no_worse, better = np.ones((n, n), dtype=bool), np.zeros((n, n), dtype=bool)
    for column in f.T:
        no_worse &= column[:, None] <= column[None, :]
        better |= column[:, None] < column[None, :]
    return no_worse & better


def pairwise_distances(f: np.ndarray) -> np.ndarray:
    """Euclidean distances `(n, n)` between rows; infinity on the diagonal and where undefined."""
    distances = np.asarray(cdist(f, f))
    # An objective without extent or a value that is not finite: sorted last, as NaN would be.
    distances[np.isnan(distances)] = np.inf
    np.fill_diagonal(distances, np.inf)
    return distances


def truncate(distances: np.ndarray, n_survive: int) -> np.ndarray:
    """SPEA2's archive truncation (Zitzler, Laumanns & Thiele 2001, section 3.2).

    Repeatedly removes the point whose sorted vector of distances to the others is
    lexicographically smallest. Only each point's nearest alive neighbour is kept up to date, and
    vectors are compared only between the points that tie for the smallest nearest distance (a
    mutual pair at least), so a removal costs O(n) instead of O(n^2 log n).

    Args:
        distances: Symmetric matrix `(n, n)` with infinity on the diagonal. Not changed.
        n_survive: How many points to keep.

    Returns:
        Indices `(n_survive,)` of the kept points, ascending.
    """
    d = distances.copy()
    n = len(d)
    alive = np.ones(n, dtype=bool)
    nearest = d.argmin(axis=1)
    nearest_distance = d[np.arange(n), nearest]
    for _ in range(n - n_survive):
        tied = np.flatnonzero((nearest_distance == nearest_distance.min()) & alive)
        removed = tied[_lexicographic_smallest(d[tied])] if len(tied) > 1 else tied[0]
        alive[removed] = False
        d[:, removed] = np.inf  # rows of removed points are never read again
        nearest_distance[removed] = np.inf
        orphans = np.flatnonzero((nearest == removed) & alive)
        if len(orphans):
            rows = d[orphans]
            nearest[orphans] = rows.argmin(axis=1)
            nearest_distance[orphans] = rows[np.arange(len(orphans)), nearest[orphans]]
    return np.flatnonzero(alive)


def _lexicographic_smallest(vectors: np.ndarray) -> int:
    """Row number of the smallest sorted row; the few smallest entries nearly always decide."""
    n_first = 4
    if vectors.shape[1] > 2 * n_first:
        head = np.sort(np.partition(vectors, n_first, axis=1)[:, :n_first], axis=1)
        order = np.lexsort(head.T[::-1])
        if (head[order[0]] != head[order[1]]).any():
            return int(order[0])
    return int(np.lexsort(np.sort(vectors, axis=1).T[::-1])[0])


def spea2_fitness(
    dominates: np.ndarray, distances: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fitness, raw fitness and density of SPEA2 (Zitzler et al. 2001, section 3.1).

    The density looks at neighbour number int(sqrt(n)) counted from zero, as pymoo does; PlatEMO
    counts it from one.

    Args:
        dominates: From `domination`, `(n, n)`.
        distances: From `pairwise_distances`, `(n, n)`.

    Returns:
        Three arrays `(n,)`; fitness is the sum of the other two, smaller is better.
    """
    n = len(dominates)
    raw = dominates.sum(axis=1) @ dominates
    k = min(int(np.sqrt(n)), n - 1)
    density = 1.0 / (np.partition(distances, k, axis=1)[:, k] + 2.0)
    return raw + density, raw, density


def spea2_survivors(
    dominates: np.ndarray, distances: np.ndarray, fitness: np.ndarray, n_survive: int
) -> np.ndarray:
    """Environmental selection: the first front, truncated or filled up by fitness.

    Returns:
        Indices `(min(n, n_survive),)`: the first front ascending, then the fill.
    """
    survivors = np.flatnonzero(~dominates.any(axis=0))
    if len(survivors) < n_survive:
        rest = np.setdiff1d(np.arange(len(fitness)), survivors)
        fill = rest[fitness[rest].argsort()][: n_survive - len(survivors)]
        return np.concatenate([survivors, fill])
    kept = truncate(distances[np.ix_(survivors, survivors)], n_survive)
    return np.asarray(survivors[kept])


class FastSPEA2Survival(SPEA2Survival):
    """pymoo's `SPEA2Survival` with the same survivors, an order of magnitude faster.

    Use as `SPEA2(survival=FastSPEA2Survival(normalize=True))`.

    Args:
        normalize: Scale objectives by the estimated ideal and nadir points first, as pymoo's
            `SPEA2()` does by default.
        filter_infeasible: Keep feasible solutions before infeasible ones.
    """

    norm: Any

    def __init__(self, normalize: bool = False, filter_infeasible: bool = True) -> None:
        super().__init__(normalize=normalize, filter_infeasible=filter_infeasible)

    def _do(
        self, problem: Any, pop: Population, *args: Any, n_survive: int = 0, **kwargs: Any
    ) -> Population:
        f = pop.get("F").astype(float, copy=False)
        dominates = domination(f)
        distances = self._distances(f)
        fitness, raw, density = spea2_fitness(dominates, distances)
        pop.set(SPEA_F=fitness, SPEA_R=raw, SPEA_D=density)
        if self.normalize:
            first = np.flatnonzero(~dominates.any(axis=0))
            extreme = cdist(self.norm.extreme_points, f[first]).argmin(axis=1)
            pop[first][extreme].set("SPEA_F", -1.0)
        return pop[spea2_survivors(dominates, distances, fitness, n_survive)]

    def _distances(self, f: np.ndarray) -> np.ndarray:
        if not self.normalize:
            return pairwise_distances(f)
        if self.norm is None:
            from pymoo.algorithms.moo.nsga3 import HyperplaneNormalization

            self.norm = HyperplaneNormalization(f.shape[1])
        self.norm.update(f)
        scaled = (f - self.norm.ideal_point) / (self.norm.nadir_point - self.norm.ideal_point)
        return pairwise_distances(scaled)
