"""Evaluated solutions as plain arrays, ranked from F and CV alone.

Operators cannot rely on the ``rank`` that pymoo stores on individuals: RVEA and MOEA/D never
set it. Whatever an operator needs to know about "better" is computed here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import moocore
import numpy as np


def constrained_rank(f: np.ndarray, cv: np.ndarray) -> np.ndarray:
    """Non-dominated rank with feasibility first.

    Feasible rows are ranked by Pareto dominance (0 is the first front); infeasible rows come
    after all feasible ones, ordered by constraint violation (Deb's rules).

    Args:
        f: Objectives `(n, n_obj)`, minimised, finite.
        cv: Constraint violations `(n,)`; 0 or less is feasible.

    Returns:
        Integer ranks `(n,)`, smaller is better.
    """
    rank = np.zeros(len(f), dtype=int)
    feasible = cv <= 0.0
    if feasible.any():
        rank[feasible] = moocore.pareto_rank(np.ascontiguousarray(f[feasible]))
    if not feasible.all():
        start = rank[feasible].max() + 1 if feasible.any() else 0
        _, order = np.unique(cv[~feasible], return_inverse=True)
        rank[~feasible] = start + order
    return rank


def crowding_distance(f: np.ndarray) -> np.ndarray:
    """Crowding distance of one front (Deb et al. 2002, section III.B).

    Args:
        f: Objectives `(n, n_obj)`.

    Returns:
        Distances `(n,)`; the ends of each objective are infinite.
    """
    n, n_obj = f.shape
    if n <= 2:
        return np.full(n, np.inf)
    distance = np.zeros(n)
    for j in range(n_obj):
        order = np.argsort(f[:, j], kind="stable")
        values = f[order, j]
        extent = values[-1] - values[0]
        distance[order[[0, -1]]] = np.inf
        if extent > 0:
            distance[order[1:-1]] += (values[2:] - values[:-2]) / extent
    return distance


@dataclass
class Solutions:
    """What an operator may know about evaluated solutions.

    Attributes:
        u: Decision variables in the encoding's unit space `(n, n_dim)`.
        f: Objectives `(n, n_obj)`, minimised and finite.
        cv: Constraint violations `(n,)`.
    """

    u: np.ndarray
    f: np.ndarray
    cv: np.ndarray

    def __len__(self) -> int:
        return len(self.u)

    def __getitem__(self, index: np.ndarray) -> Solutions:
        return Solutions(self.u[index], self.f[index], self.cv[index])

    @cached_property
    def rank(self) -> np.ndarray:
        """Ranks `(n,)` by `constrained_rank`."""
        return constrained_rank(self.f, self.cv)

    @cached_property
    def order(self) -> np.ndarray:
        """Row numbers from best to worst: by rank, then by crowding within the rank."""
        crowding = np.zeros(len(self))
        for r in np.unique(self.rank):
            front = np.flatnonzero(self.rank == r)
            crowding[front] = crowding_distance(self.f[front])
        return np.lexsort((-crowding, self.rank))

    @property
    def best(self) -> np.ndarray:
        """Row numbers of the first front."""
        return np.flatnonzero(self.rank == 0)

    def normalized_objectives(self) -> np.ndarray:
        """Objectives scaled so that the first front spans [0, 1] per objective `(n, n_obj)`."""
        first = self.f[self.best]
        low = first.min(axis=0)
        extent = first.max(axis=0) - low
        # A first front of one point has no extent: the spread of all rows is the next best scale.
        spread = self.f.max(axis=0) - low
        extent = np.where(extent > 1e-12, extent, np.where(spread > 1e-12, spread, 1.0))
        return (self.f - low) / extent

    @staticmethod
    def merge(*parts: Solutions) -> Solutions:
        """Concatenate, dropping rows whose decision vector occurred before."""
        u = np.concatenate([p.u for p in parts])
        f = np.concatenate([p.f for p in parts])
        cv = np.concatenate([p.cv for p in parts])
        _, first = np.unique(u, axis=0, return_index=True)
        keep = np.sort(first)
        return Solutions(u[keep], f[keep], cv[keep])
