"""A critic for one place, which knows how far to trust itself."""

from __future__ import annotations

import numpy as np

from evogen.operators.critic import RBFCritic, squared_distances

#: Neighbours whose leave-one-out errors tell how well the critic does at a place.
N_ERROR_NEIGHBORS = 8


class LocalCritic:
    """Predictions around one target, their slopes, and how wrong they are likely to be.

    Args:
        u: Evaluated points in the unit box `(n, n_dim)`.
        values: Scaled objectives, then the scaled constraint violation if there is one
            `(n, n_out)`.
        n_obj: Number of objectives.
    """

    def __init__(self, u: np.ndarray, values: np.ndarray, n_obj: int) -> None:
        self._u = u
        self._critic = RBFCritic().fit(u, values)
        self._n_obj = n_obj
        self._loo = np.abs(self._critic.loo_error)
        self._halves = []
        if len(u) >= 2 * (u.shape[1] + 2):
            self._halves = [RBFCritic().fit(u[i::2], values[i::2]) for i in (0, 1)]
        apart = squared_distances(u, u)
        np.fill_diagonal(apart, np.inf)
        self._spacing = np.sqrt(apart.min(axis=1)) + 1e-9

    def predict(self, u: np.ndarray) -> np.ndarray:
        """Scaled objectives, and the scaled constraint violation if there is one `(k, n_out)`."""
        return self._critic.predict(u)

    def gap(self, u: np.ndarray, target: np.ndarray) -> np.ndarray:
        """What is missing to the target; of a constraint violation, what is too much."""
        s = self.predict(u)
        violation = np.maximum(s[:, self._n_obj :], 0.0)
        return np.column_stack([target - s[:, : self._n_obj], -violation])

    def slope(self, u: np.ndarray, gap: np.ndarray) -> np.ndarray:
        """Jacobian of what `gap` is made of `(k, n_out, n_dim)`."""
        jacobian = self._critic.gradient(u)
        jacobian[:, self._n_obj :] *= (gap[:, self._n_obj :] < 0)[:, :, None]
        return jacobian

    def expected_error(self, u: np.ndarray) -> np.ndarray:
        """How far the prediction is likely to be off `(k, n_out)`, scaled, positive.

        Around each design, the median over the nearest known points of their leave-one-out error,
        scaled by how much further than their own neighbours they are from the design. To that is
        added half of what two critics with half of the points each disagree by: a design was
        chosen because its prediction is good, and such predictions are too good on average.
        """
        apart = np.sqrt(squared_distances(u, self._u))
        k = min(N_ERROR_NEIGHBORS, len(self._u))
        near = np.argpartition(apart, k - 1, axis=1)[:, :k]
        ratio = np.take_along_axis(apart, near, axis=1) / self._spacing[near]
        error = np.median(self._loo[near] * np.maximum(ratio, 1.0)[:, :, None], axis=1)
        if self._halves:
            one, other = (half.predict(u) for half in self._halves)
            error = error + 0.5 * np.abs(one - other)
        # At an evaluated point nothing is predicted, it is known.
        known = 10.0 * apart.min(axis=1) / np.median(self._spacing[near], axis=1)
        return np.asarray(error * np.minimum(known, 1.0)[:, None] + 1e-9)
