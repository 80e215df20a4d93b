"""ACE's own generative model: local linear Gaussian inverses of its directions' points."""

from __future__ import annotations

import numpy as np

from evogen.algorithms.ace_search import differential_steps, into_box, mutate
from evogen.operators.critic import squared_distances

#: Points a neighbourhood has at least, beside one for each slope.
MIN_NEIGHBORS = 3

#: Price of a slope, in squared radii of a neighbourhood: few directions may lie on a line.
SLOPE_PRICE = 1e-3


class LocalInverse:
    """Candidates from p(point | direction), locally linear and Gaussian, among differential ones.

    Around each direction a weighted least-squares plane through the points of the directions
    nearby, as a function of the weights, says where that direction's point should lie (local
    linear regression; Cleveland, J. Am. Stat. Assoc. 74, 1979, bisquare weights); what the points
    keep off their own planes, weighted alike, is the spread around it. So good points of the whole
    neighbourhood are averaged, where differential variation starts from a single one.

    The directions never change. Hence the planes' values are a fixed matrix times the points, and
    learning from each round of the search costs one product of small matrices.

    Args:
        share: Share of the candidates that are the model's, in [0, 1]; the others are
            `ace_search.differential`'s.
        widths: Neighbourhoods, as shares of all directions, in (0, 1]; one of them at random for
            each candidate.
        spread: The spread is scaled by a random factor between these (>= 0).
        degree: 1 for planes, 0 for the neighbours' weighted mean, its null.

    Raises:
        ValueError: An argument out of range.
    """

    def __init__(
        self,
        *,
        share: float = 0.3,
        widths: tuple[float, ...] = (0.15, 0.5),
        spread: tuple[float, float] = (0.2, 1.2),
        degree: int = 1,
    ) -> None:
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"share={share!r} must lie in [0, 1]")
        if not widths or not all(0.0 < width <= 1.0 for width in widths):
            raise ValueError(f"widths={widths!r} must be one or more shares in (0, 1]")
        if len(spread) != 2 or not 0.0 <= spread[0] <= spread[1]:
            raise ValueError(f"spread={spread!r} must be two factors, 0 <= low <= high")
        if degree not in (0, 1):
            raise ValueError(f"degree={degree!r} must be 1 or 0")
        self.share = share
        self.widths = tuple(widths)
        self.spread = spread
        self.degree = degree
        self._directions: np.ndarray | None = None

    def begin(self, u: np.ndarray, directions: np.ndarray, rng: np.random.Generator) -> None:
        """A turn of the critic begins; only the directions `(k, n_obj)` matter."""
        if self._directions is directions:
            return
        self._directions = directions
        distances = squared_distances(directions, directions)
        k, n_obj = directions.shape
        sizes = [min(k, max(round(width * k), n_obj + MIN_NEIGHBORS)) for width in self.widths]
        weights = [bisquare(distances, size) for size in sizes]
        self._deviations = [np.sqrt(w) for w in weights]
        self._centers = [planes(directions, w) for w in weights] if self.degree else weights

    def __call__(
        self, u: np.ndarray, neighbors: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Candidates `(k, d)` in the place of `ace_search.differential`'s."""
        child = differential_steps(u, neighbors, rng)
        k, (low, high) = len(u), self.spread
        modelled = rng.random(k) < self.share
        of_width = rng.integers(len(self.widths), size=k)
        for i, (deviations, centers) in enumerate(
            zip(self._deviations, self._centers, strict=True)
        ):
            asked = np.flatnonzero(modelled & (of_width == i))
            center = centers @ u
            noise = rng.normal(size=(len(asked), k)) * deviations[asked]
            noise *= rng.uniform(low, high, size=(len(asked), 1))
            child[asked] = center[asked] + noise @ (u - center)
        return mutate(into_box(child, u, rng), rng)


def bisquare(distances: np.ndarray, n: int) -> np.ndarray:
    """Weights of all points around each one `(k, k)`, rows with sum 1.

    Args:
        distances: Squared `(k, k)`.
        n: The n-th nearest point, itself the first, is the first to have no weight.
    """
    radius = np.sort(distances, axis=1)[:, n - 1 : n]
    weights = np.maximum(1.0 - distances / np.maximum(1.0001 * radius, 1e-12), 0.0) ** 2
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def planes(directions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The matrix that takes points' values to those of each one's local plane at itself `(k, k)`.

    Args:
        directions: Where the points are `(k, n_obj)`; the last weight follows from the others.
        weights: Of all points for the plane around each one `(k, k)`.
    """
    free = directions[:, :-1]
    off = free[None] - free[:, None]  # (plane, point, slope)
    columns = np.concatenate([np.ones((*off.shape[:2], 1)), off], axis=2)
    weighted = columns * weights[:, :, None]
    system = np.swapaxes(weighted, 1, 2) @ columns
    # As in a ridge regression; the squared radius is where weights end.
    radius = np.where(weights > 0, (off**2).sum(axis=2), 0.0).max(axis=1)
    slopes = np.arange(1, columns.shape[2])
    system[:, slopes, slopes] += SLOPE_PRICE * np.maximum(radius, 1e-12)[:, None]
    return np.asarray(np.linalg.solve(system, np.swapaxes(weighted, 1, 2))[:, 0])
