"""What ACE keeps of evaluated points, and which of them survive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evogen.operators import best_first, constrained_rank
from evogen.operators.survival import pairwise_distances, truncate


@dataclass
class Rows:
    """Evaluated points as arrays of n rows.

    Attributes:
        u: Variables that have a range, in the unit box `(n, d)`.
        f: Objectives, finite `(n, n_obj)`.
        cv: Constraint violations `(n,)`.
        values: What the critic learns: objectives and constraints as they came `(n, k)`.
        number: Order of evaluation `(n,)`.
    """

    u: np.ndarray
    f: np.ndarray
    cv: np.ndarray
    values: np.ndarray
    number: np.ndarray

    @staticmethod
    def empty() -> Rows:
        """No points; joins with any."""
        none = np.empty((0, 0))
        return Rows(none, none, np.empty(0), none, np.empty(0, dtype=int))

    @staticmethod
    def join(one: Rows, two: Rows) -> Rows:
        """All rows of both."""
        if len(one.cv) == 0 or len(two.cv) == 0:
            return two if len(one.cv) == 0 else one
        pairs = zip(vars(one).values(), vars(two).values(), strict=True)
        return Rows(*(np.concatenate(pair) for pair in pairs))

    def last(self, n: int) -> Rows:
        """The last n rows."""
        return Rows(*(column[-n:] for column in vars(self).values()))

    def feasible(self) -> Rows:
        """The feasible rows; all where there are none."""
        good = self.cv <= 0
        return self[good] if good.any() and not good.all() else self

    def __getitem__(self, index: np.ndarray | slice) -> Rows:
        return Rows(*(column[index] for column in vars(self).values()))


def select(f: np.ndarray, cv: np.ndarray, n: int) -> np.ndarray:
    """Survivors: NSGA-II's order, but a first front that is too large thinned as in SPEA2.

    Args:
        f: Objectives `(k, n_obj)`, finite.
        cv: Violations `(k,)`.
        n: How many to keep.

    Returns:
        Row numbers `(min(n, k),)`.
    """
    if len(f) <= n:
        return np.arange(len(f))
    first = np.flatnonzero(constrained_rank(f, cv) == 0)
    if len(first) <= n:
        return best_first(f, cv)[:n]
    front = f[first]
    low, extent = front.min(axis=0), np.ptp(front, axis=0)
    scaled = (front - low) / np.where(extent > 0, extent, 1.0)
    return np.asarray(first[truncate(pairwise_distances(scaled), n)])


def finite(f: np.ndarray) -> np.ndarray:
    """Objectives `(n, n_obj)`; rows that are not finite become one worse than all others."""
    bad = ~np.isfinite(f).all(axis=1)
    if not bad.any():
        return f
    good = f[~bad]
    worst = (
        good.max(axis=0) + np.ptp(good, axis=0) + 1.0 if len(good) else np.full(f.shape[1], 1e30)
    )
    return np.where(bad[:, None], worst, f)
