"""Evaluated solutions as plain arrays, ranked from F and CV alone.

Operators cannot rely on the ``rank`` that pymoo stores on individuals: RVEA and MOEA/D never
set it. Whatever an operator needs to know about "better" is computed here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import moocore
import numpy as np
from pymoo.core.individual import Individual
from pymoo.core.population import Population


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


def crowding_by_front(f: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """Crowding distance of all fronts at once (Deb et al. 2002, section III.B).

    Args:
        f: Objectives `(n, n_obj)`.
        rank: Front numbers `(n,)`, integers.

    Returns:
        Distances `(n,)`; the ends of each objective within each front are infinite.
    """
    distance = np.zeros(len(f))
    if len(f) == 0:
        return distance
    front = np.sort(rank)  # sorted by front, then by an objective, all have the same borders
    first = np.append(True, front[1:] != front[:-1])
    last = np.append(first[1:], True)
    number, ends = np.cumsum(first) - 1, np.flatnonzero(first | last)
    inner = np.flatnonzero(~(first | last))
    start, end = (np.flatnonzero(border)[number[inner]] for border in (first, last))
    for column in f.T:
        order = np.lexsort((column, rank))
        values = column[order]
        extent = values[end] - values[start]
        gap = values[inner + 1] - values[inner - 1]
        gap = np.divide(gap, extent, out=np.zeros_like(gap), where=extent > 0)
        distance[order[inner]] += gap
        distance[order[ends]] = np.inf
    return distance


def crowding_distance(f: np.ndarray) -> np.ndarray:
    """Crowding distance of one front `(n, n_obj)` -> `(n,)`; see `crowding_by_front`."""
    return crowding_by_front(f, np.zeros(len(f), dtype=int))


def best_first(f: np.ndarray, cv: np.ndarray, *, rank: np.ndarray | None = None) -> np.ndarray:
    """Row numbers `(n,)` from best to worst: feasibility, front, crowding (NSGA-II's order).

    Args:
        f: Objectives `(n, n_obj)`, finite.
        cv: Constraint violations `(n,)`; 0 or less is feasible.
        rank: `constrained_rank(f, cv)` if it is known.
    """
    rank = constrained_rank(f, cv) if rank is None else rank
    return np.lexsort((-crowding_by_front(f, rank), rank))


def constraint_violation(g: np.ndarray, h: np.ndarray) -> np.ndarray:
    """Constraint violations `(n,)` by the rules of pymoo's `calc_cv`, for all rows at once.

    Args:
        g: Inequality constraints `(n, n_ieq_constr)`, satisfied where <= 0.
        h: Equality constraints `(n, n_eq_constr)`, satisfied where 0 within pymoo's tolerance.

    Returns:
        Sum of what is too much; 0 is feasible. Bit for bit what pymoo has, row by row.
    """
    config = Individual.default_config()
    return _excess(g, **config["cv_ieq"]) + _excess(np.abs(h), **config["cv_eq"])


def _excess(c: np.ndarray, eps: float, scale: Any, pow: Any, func: Any) -> np.ndarray:
    """What `(n, k)` exceeds eps by, in one number per row; the names are pymoo's."""
    if c.shape[1] == 0:
        return np.zeros(len(c))
    # The memory layout decides in which order numpy adds: contiguous rows add like a single one.
    over = np.ascontiguousarray(np.maximum(0.0, c - eps))
    if scale is not None:
        over = over / scale
    if pow is not None:
        over = over**pow
    return np.asarray(func(over, axis=1))


def matrix(pop: Population, key: str) -> np.ndarray:
    """An attribute of a population, of one individual at least, as `(n, k)` floats."""
    return np.asarray(pop.get(key), dtype=float).reshape(len(pop), -1)


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
        return best_first(self.f, self.cv)

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
