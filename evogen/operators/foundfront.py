"""A found front as a surface: where on it a wish leads."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from evogen.operators.inverse import spread

#: Front points that are further apart than so many times the usual distance have a gap between.
GAP = 2.0

#: Smallest weight of a preference; below it an objective would count for nothing at all.
LEAST_WEIGHT = 1e-3


class FoundFront:
    """Targets on and between the non-dominated points that a run has found.

    Args:
        z: Non-dominated objective vectors, scaled so that their range is [0, 1] `(n, n_obj)`.
    """

    def __init__(self, z: np.ndarray) -> None:
        self.z = z
        self._tree = cKDTree(z)

    @cached_property
    def spacing(self) -> np.ndarray:
        """Distance of each point to its n_obj-th neighbour `(n,)`."""
        k = min(self.z.shape[1], len(self.z) - 1) + 1
        distance = np.asarray(self._tree.query(self.z, k=k)[0]).reshape(len(self.z), k)
        return distance[:, -1]

    @property
    def usual_spacing(self) -> float:
        """Median of `spacing`."""
        return float(np.median(self.spacing))

    def meet(self, origin: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """Where the line origin + s direction meets the front's surface `(n_obj,)`.

        By weighted linear regression of s on the coordinates across the line, over the front
        points nearest to the line.
        """
        n_obj = len(origin)
        direction = direction / np.linalg.norm(direction)
        along = (self.z - origin) @ direction
        across = self.z - origin - along[:, None] * direction
        distance = np.linalg.norm(across, axis=1)
        near = np.argsort(distance, kind="stable")[: n_obj + 2]
        width = distance[near].max() + 1e-12
        weight = np.exp(-2.0 * (distance[near] / width) ** 2)
        # A basis of the plane across the line; its coordinates are the regressors.
        basis = np.linalg.svd(direction[None])[2][1:]
        design = np.column_stack([np.ones(len(near)), across[near] @ basis.T])
        gram = (design * weight[:, None]).T @ design
        gram[1:, 1:] += (1e-4 * width**2 + 1e-12) * np.eye(n_obj - 1)
        s = np.linalg.solve(gram, (design * weight[:, None]).T @ along[near])[0]
        # Where all front points lie on one side of the line, a regression would run away.
        s = np.clip(s, along[near].min(), along[near].max())
        return np.asarray(origin + s * direction)

    def preferred(self, weights: np.ndarray) -> np.ndarray:
        """The trade-off for weights: where w_1 z_1 = w_2 z_2 = ... (Tchebycheff) `(n_obj,)`."""
        weights = np.maximum(weights / weights.max(), LEAST_WEIGHT)
        target = self._snapped(self.meet(np.zeros(len(weights)), 1.0 / weights))
        # A regression may overshoot where the surface bends or ends; the surface itself does not.
        pool = self.pool(2 * len(self.z))
        worth = (pool * weights).max(axis=1) + 1e-3 * (pool * weights).sum(axis=1)
        best = pool[worth.argmin()]
        near = np.linalg.norm(target - best) <= self.usual_spacing
        return np.asarray(target if near else best)

    def between(self, a: np.ndarray, b: np.ndarray, n: int) -> np.ndarray:
        """n targets on the surface between two points of it `(n, n_obj)`."""
        share = np.arange(1, n + 1)[:, None] / (n + 1)
        chord = a + share * (b - a)
        return np.array([self._snapped(self.meet(row, np.ones(len(a)))) for row in chord])

    def _snapped(self, z: np.ndarray) -> np.ndarray:
        """z, or where the front has a gap there, the nearest point of it."""
        nearest, distance = self.support(z)
        return z if distance <= GAP * self.usual_spacing else nearest

    def pool(self, n: int) -> np.ndarray:
        """At least about n points on the surface: the found ones, and between neighbours."""
        k = min(2 * (self.z.shape[1] - 1), len(self.z) - 1) + 1
        if k < 2:
            return self.z
        near = self._tree.query(self.z, k=k)[1]
        a, b = np.divmod(np.arange(len(self.z) * (k - 1)), k - 1)
        b = near[a, b + 1]
        pairs = np.unique(np.sort(np.column_stack([a, b]), axis=1), axis=0)
        length = np.linalg.norm(self.z[pairs[:, 0]] - self.z[pairs[:, 1]], axis=1)
        pairs = pairs[length <= GAP * max(self.usual_spacing, 1e-12)]
        if len(pairs) == 0:
            return self.z
        n_parts = 2 + 2 * n // len(pairs)
        share = np.arange(1, n_parts)[None, :, None] / n_parts
        start, end = self.z[pairs[:, :1]], self.z[pairs[:, 1:]]
        made = (start + share * (end - start)).reshape(-1, self.z.shape[1])
        return np.concatenate([self.z, made])

    def spread(self, n: int, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, bool]:
        """n targets evenly over the part of the surface within bounds.

        Args:
            n: How many.
            low: Lower bounds `(n_obj,)`, -inf where there is none.
            high: Upper bounds `(n_obj,)`.

        Returns:
            Targets `(k, n_obj)`, and whether the surface has a part there; if not, the targets
            are its points nearest to the bounds.
        """
        share = 1.0
        for _ in range(4):
            # A narrow part needs a finer pool.
            pool = self.pool(int(3 * n / share))
            outside = np.maximum(np.maximum(low - pool, pool - high), 0.0).max(axis=1)
            inside = outside <= 0.0
            if inside.sum() >= 3 * n:
                break
            share = max(0.01, share * 0.2)
        if not inside.any():
            return _evenly(pool[np.argsort(outside, kind="stable")[:n]], n), False
        return _evenly(pool[inside], n), True

    def around(self, z: np.ndarray, n: int, radius: float) -> np.ndarray:
        """n targets on the surface near a point, within `radius` if it has as many there."""
        pool = self.pool(int(10 * n / max(radius, 0.01)))
        distance = np.linalg.norm(pool - z, axis=1)
        apart = distance > 0.1 * radius
        if apart.any():
            pool, distance = pool[apart], distance[apart]
        near = np.argsort(distance, kind="stable")
        n_near = max(2 * n, int((distance <= radius).sum()))
        return _evenly(pool[near[:n_near]], n)

    def support(self, z: np.ndarray) -> tuple[np.ndarray, float]:
        """The point of the surface nearest to z `(n_obj,)`, and its distance."""
        pool = self.pool(2 * len(self.z))
        distance = np.linalg.norm(pool - z, axis=1)
        best = int(np.argmin(distance))
        return pool[best], float(distance[best])


def _evenly(points: np.ndarray, n: int) -> np.ndarray:
    """n points far apart from each other, in the order of their first coordinates."""
    chosen = points[spread(points, np.ones(len(points)), n)]
    while len(chosen) < n:
        chosen = np.concatenate([chosen, chosen[: n - len(chosen)]])
    return np.asarray(chosen[np.lexsort(chosen.T[::-1])])
