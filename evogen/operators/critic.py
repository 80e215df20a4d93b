"""A critic: objectives predicted from the points a run has evaluated."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from scipy.linalg.lapack import dgecon, dgetrf, dgetrs


class RBFCritic:
    """Cubic radial basis functions with a linear tail, one interpolant per output.

    s(u) = sum_i c_i |u - u_i|^3 + b_0 + b'u with sum_i c_i (1, u_i) = 0, the interpolant of least
    bending in its class (Powell 1992; Regis & Shoemaker, INFORMS J. Comput. 19(4), 2007). It has
    no length scale to be tuned, a fit is one linear solve, and outside of the data it goes on
    about linearly in place of falling back to a mean.

    Args:
        ridge: Added to the diagonal, in units of the mean of |u_i - u_j|^3; smooths noise and
            keeps near-copies from spoiling the solve (>= 0).

    Raises:
        ValueError: A negative ridge.
    """

    def __init__(self, *, ridge: float = 1e-6) -> None:
        if ridge < 0:
            raise ValueError(f"ridge={ridge!r} must not be negative")
        self.ridge = ridge

    def fit(self, u: np.ndarray, f: np.ndarray) -> RBFCritic:
        """Interpolate `f` `(n, n_out)` at the points `u` `(n, n_dim)`, scaled to the unit box.

        Raises:
            ValueError: Fewer than `n_dim + 2` points, other shapes, or non-finite numbers.
        """
        u, f = np.asarray(u, dtype=float), np.asarray(f, dtype=float)
        if u.ndim != 2 or f.ndim != 2 or len(u) != len(f):
            raise ValueError(f"u {u.shape} and f {f.shape} must be (n, n_dim) and (n, n_out)")
        n, n_dim = u.shape
        if n < n_dim + 2:
            raise ValueError(f"{n} points are too few for {n_dim} variables; give {n_dim + 2}")
        if not (np.isfinite(u).all() and np.isfinite(f).all()):
            raise ValueError("u and f must be finite")
        self.__dict__.pop("loo_error", None)
        self._center = u.mean(axis=0)
        self._u = u - self._center
        self._shift = f.mean(axis=0)
        spread = f.std(axis=0)
        self._scale = np.where(spread > 0, spread, 1.0)
        kernel = cubed(squared_distances(self._u, self._u))
        kernel[np.diag_indices(n)] = self.ridge * kernel.mean()
        tail = np.hstack([np.ones((n, 1)), self._u])
        self._values = np.vstack(
            [(f - self._shift) / self._scale, np.zeros((n_dim + 1, f.shape[1]))]
        )
        self._factor = self._factorize(kernel, tail)
        weights = dgetrs(*self._factor, self._values)[0]
        self._weights, self._tail = weights[:n], weights[n:]
        return self

    def _factorize(self, kernel: np.ndarray, tail: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """LU of the saddle-point system; the tail's block is regularized where points are flat."""
        n, k = tail.shape
        system = np.zeros((n + k, n + k))
        system[:n, :n], system[:n, n:], system[n:, :n] = kernel, tail, tail.T
        for jitter in (0.0, 1e-8, 1e-4):
            # A variable that never varies makes the tail singular: give its slope a small price.
            system[n + np.arange(k), n + np.arange(k)] = -jitter
            lu, pivots, info = dgetrf(system)
            if info == 0 and dgecon(lu, np.abs(system).sum(axis=0).max())[0] > 1e-15:
                return lu, pivots
        raise np.linalg.LinAlgError(f"{n} points cannot be interpolated; are they all the same?")

    def predict(self, u: np.ndarray) -> np.ndarray:
        """Outputs at points `(k, n_dim)` -> `(k, n_out)`."""
        v = np.asarray(u, dtype=float) - self._center
        values = cubed(squared_distances(v, self._u)) @ self._weights
        values += v @ self._tail[1:] + self._tail[0]
        return np.asarray(values * self._scale + self._shift)

    def gradient(self, u: np.ndarray) -> np.ndarray:
        """Derivatives of the outputs at points `(k, n_dim)` -> `(k, n_out, n_dim)`."""
        v = np.asarray(u, dtype=float) - self._center
        distances = np.sqrt(squared_distances(v, self._u))
        slopes = []
        for j in range(self._weights.shape[1]):
            pull = 3.0 * distances * self._weights[:, j]
            slopes.append(pull.sum(axis=1)[:, None] * v - pull @ self._u + self._tail[1:, j])
        return np.stack(slopes, axis=1) * self._scale[:, None]

    @cached_property
    def loo_error(self) -> np.ndarray:
        """Leave-one-out residuals `(n, n_out)`: value minus what the others predict, closed form.

        The residual of point i is c_i / (A^-1)_ii for the system matrix A (Rippa 1999).
        """
        n = len(self._u)
        inverse = dgetrs(*self._factor, np.eye(len(self._values)))[0]
        return np.asarray(self._weights / np.diag(inverse)[:n, None] * self._scale)


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances between rows `(n, d)` and `(m, d)` -> `(n, m)`."""
    d2 = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2.0 * (a @ b.T)
    return np.asarray(np.maximum(d2, 0.0, out=d2))


def cubed(d2: np.ndarray) -> np.ndarray:
    """r^3 from r^2."""
    return np.asarray(d2 * np.sqrt(d2))
