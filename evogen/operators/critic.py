"""A critic: objectives predicted from the points a run has evaluated."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from scipy.linalg.lapack import dgecon, dgetrf, dgetrs, dpotrf, dtrtri, dtrtrs

#: Weight of the tail's directions in the Cholesky factorization, in row sums of the kernel.
TAIL_WEIGHT = 1000.0


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

    def fit(self, u: np.ndarray, f: np.ndarray, metric: np.ndarray | None = None) -> RBFCritic:
        """Interpolate `f` `(n, n_out)` at the points `u` `(n, n_dim)`, scaled to the unit box.

        Args:
            u: Points.
            f: Values.
            metric: What one unit of each variable counts in the distances `(n_dim,)`, positive;
                all the same by default. Along variables that count more, values may change faster.

        Raises:
            ValueError: Fewer than `n_dim + 2` points, other shapes, or non-finite numbers.
            numpy.linalg.LinAlgError: The points cannot be interpolated.
        """
        u, f = _checked(u, f)
        n, n_dim = u.shape
        if n < n_dim + 2:
            raise ValueError(f"{n} points are too few for {n_dim} variables; give {n_dim + 2}")
        units = np.ones(n_dim) if metric is None else np.asarray(metric, dtype=float)
        if units.shape != (n_dim,) or not (units > 0).all():
            raise ValueError(f"metric={metric!r} must be {n_dim} positive numbers")
        self._metric = units
        self._center = u.mean(axis=0)
        self._u = self._place(u)
        self._f = f
        self._shift = f.mean(axis=0)
        spread = f.std(axis=0)
        self._scale = np.where(spread > 0, spread, 1.0)
        kernel = cubed(squared_distances(self._u, self._u))
        self._nugget = self.ridge * kernel.mean()
        kernel[np.diag_indices(n)] = self._nugget
        tail = _tail(self._u)
        self._system: CholeskySystem | LUSystem
        try:
            self._system = CholeskySystem(kernel, tail)
        except np.linalg.LinAlgError:
            self._system = LUSystem(kernel, tail)
        return self._solve()

    def extend(self, u: np.ndarray, f: np.ndarray) -> RBFCritic:
        """Add `f` `(m, n_out)` at `u` `(m, n_dim)` to what it interpolates.

        A fit to n points costs O(n^3), this O(n^2 m). The weight of the ridge stays that of the
        fit. Where the points do not allow it, all of them are fitted anew.

        Raises:
            ValueError: Other shapes, or non-finite numbers.
            numpy.linalg.LinAlgError: The points cannot be interpolated.
        """
        u, f = _checked(u, f)
        if u.shape[1] != self._u.shape[1] or f.shape[1] != self._f.shape[1]:
            widths = self._u.shape[1], self._f.shape[1]
            raise ValueError(f"u {u.shape} and f {f.shape} must have the same widths as {widths}")
        if len(u) == 0:
            return self
        v = self._place(u)
        everything = np.vstack([self._u, v]), np.vstack([self._f, f])
        if isinstance(self._system, CholeskySystem):
            own = cubed(squared_distances(v, v))
            own[np.diag_indices(len(v))] = self._nugget
            across = cubed(squared_distances(v, self._u))
            if self._system.extend(across, own, _tail(v)):
                self._u, self._f = everything
                return self._solve()
        points = everything[0] / self._metric + self._center
        return self.fit(points, everything[1], self._metric)

    def __len__(self) -> int:
        """How many points it interpolates; 0 before a fit."""
        return len(self._u) if hasattr(self, "_u") else 0

    def _place(self, u: np.ndarray) -> np.ndarray:
        """Where points lie in the metric."""
        return np.asarray((u - self._center) * self._metric)

    def _solve(self) -> RBFCritic:
        self.__dict__.pop("loo_error", None)
        values = (self._f - self._shift) / self._scale
        self._weights, self._tail = self._system.solve(values)
        # (-2 v, |v|^2, 1) times this is |v - u_i|^2: the distances in one product.
        self._known = np.vstack([self._u.T, np.ones(len(self._u)), (self._u**2).sum(axis=1)])
        return self

    def predict(self, u: np.ndarray) -> np.ndarray:
        """Outputs at points `(k, n_dim)` -> `(k, n_out)`."""
        v = self._place(np.asarray(u, dtype=float))
        lengths = (v * v).sum(axis=1, keepdims=True)
        d2 = np.hstack([-2.0 * v, lengths, np.ones_like(lengths)]) @ self._known
        np.maximum(d2, 0.0, out=d2)
        d2 *= np.sqrt(d2)
        values = d2 @ self._weights
        values += v @ self._tail[1:] + self._tail[0]
        return np.asarray(values * self._scale + self._shift)

    def gradient(self, u: np.ndarray) -> np.ndarray:
        """Derivatives of the outputs at points `(k, n_dim)` -> `(k, n_out, n_dim)`."""
        v = self._place(np.asarray(u, dtype=float))
        distances = np.sqrt(squared_distances(v, self._u))
        slopes = []
        for j in range(self._weights.shape[1]):
            pull = 3.0 * distances * self._weights[:, j]
            slopes.append(pull.sum(axis=1)[:, None] * v - pull @ self._u + self._tail[1:, j])
        return np.stack(slopes, axis=1) * self._scale[:, None] * self._metric

    @cached_property
    def loo_error(self) -> np.ndarray:
        """Leave-one-out residuals `(n, n_out)`: value minus what the others predict, closed form.

        The residual of point i is c_i / (A^-1)_ii for the system matrix A (Rippa 1999).
        """
        return np.asarray(self._weights / self._system.inverse_diagonal()[:, None] * self._scale)


class CholeskySystem:
    """The saddle-point system K c + T b = f, T'c = 0, for a kernel K that may be extended.

    K is positive definite where T'c = 0 only. There, K + w Q Q' with Q a basis of T's columns
    (orthonormal at first) is the same as K, and positive definite elsewhere too where w is large:
    so one Cholesky factorization L L' does, half the work of an LU, and rows can be added to it.
    With Z = L^-1 Q: (Z'Z) b = Z' L^-1 f and c = L^-T (L^-1 f - Z b).

    Args:
        kernel: K `(n, n)`.
        tail: T `(n, k)`.

    Raises:
        numpy.linalg.LinAlgError: T is singular, or the matrix is not positive definite.
    """

    def __init__(self, kernel: np.ndarray, tail: np.ndarray) -> None:
        q, r = np.linalg.qr(tail)
        size = np.abs(np.diag(r))
        if size.min() < 1e-9 * size.max():
            raise np.linalg.LinAlgError("the tail is singular")
        self._basis = np.linalg.inv(r)
        self._weight = TAIL_WEIGHT * float(kernel.sum()) / len(kernel)
        self._q = q
        self._lower = cholesky(kernel + self._weight * (q @ q.T))
        self._half = forward(self._lower, q)

    def extend(self, across: np.ndarray, own: np.ndarray, tail: np.ndarray) -> bool:
        """Add m points: kernel to the old ones `(m, n)`, among them `(m, m)`, tail `(m, k)`.

        Returns:
            Whether it was possible; if not, nothing has changed.
        """
        q = tail @ self._basis
        left = forward(self._lower, (across + self._weight * (q @ self._q.T)).T).T
        try:
            corner = cholesky(own + self._weight * (q @ q.T) - left @ left.T)
        except np.linalg.LinAlgError:
            return False
        n, m = len(self._q), len(q)
        lower = np.zeros((n + m, n + m), order="F")
        lower[:n, :n], lower[n:, :n], lower[n:, n:] = self._lower, left, corner
        self._half = np.vstack([self._half, forward(corner, q - left @ self._half)])
        self._lower, self._q = lower, np.vstack([self._q, q])
        return True

    def solve(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """c `(n, n_out)` and b `(k, n_out)` for values `(n, n_out)`."""
        half = forward(self._lower, values)
        b = np.linalg.solve(self._half.T @ self._half, self._half.T @ half)
        c = dtrtrs(self._lower, half - self._half @ b, lower=1, trans=1)[0]
        return c, self._basis @ b

    def inverse_diagonal(self) -> np.ndarray:
        """The first n diagonal entries of the system's inverse `(n,)`."""
        inverse, _ = dtrtri(self._lower, lower=1)
        tails = inverse.T @ self._half
        middle = np.linalg.solve(self._half.T @ self._half, tails.T)
        return np.asarray((inverse**2).sum(axis=0) - (tails * middle.T).sum(axis=1))


class LUSystem:
    """The same system for kernels and tails that are close to singular.

    Args:
        kernel: K `(n, n)`.
        tail: T `(n, k)`.

    Raises:
        numpy.linalg.LinAlgError: No solution that could be trusted.
    """

    def __init__(self, kernel: np.ndarray, tail: np.ndarray) -> None:
        n, k = tail.shape
        system = np.zeros((n + k, n + k))
        system[:n, :n], system[:n, n:], system[n:, :n] = kernel, tail, tail.T
        for jitter in (0.0, 1e-8, 1e-4):
            # A variable that never varies makes the tail singular: give its slope a small price.
            system[n + np.arange(k), n + np.arange(k)] = -jitter
            lu, pivots, info = dgetrf(system)
            if info == 0 and dgecon(lu, np.abs(system).sum(axis=0).max())[0] > 1e-15:
                self._factor, self._n = (lu, pivots), n
                return
        raise np.linalg.LinAlgError(f"{n} points cannot be interpolated; are they all the same?")

    def solve(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """c `(n, n_out)` and b `(k, n_out)` for values `(n, n_out)`."""
        right = np.zeros((len(self._factor[0]), values.shape[1]))
        right[: self._n] = values
        solution = dgetrs(*self._factor, right)[0]
        return solution[: self._n], solution[self._n :]

    def inverse_diagonal(self) -> np.ndarray:
        """The first n diagonal entries of the system's inverse `(n,)`."""
        inverse = dgetrs(*self._factor, np.eye(len(self._factor[0])))[0]
        return np.asarray(np.diag(inverse)[: self._n])


def cholesky(a: np.ndarray) -> np.ndarray:
    """Lower factor; LinAlgError where a matrix is not positive definite."""
    lower, info = dpotrf(a, lower=1, clean=1)
    if info != 0:
        raise np.linalg.LinAlgError("not positive definite")
    return np.asarray(lower)


def forward(lower: np.ndarray, right: np.ndarray) -> np.ndarray:
    """lower^-1 right."""
    return np.asarray(dtrtrs(lower, right, lower=1)[0])


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances between rows `(n, d)` and `(m, d)` -> `(n, m)`."""
    d2 = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2.0 * (a @ b.T)
    return np.asarray(np.maximum(d2, 0.0, out=d2))


def cubed(d2: np.ndarray) -> np.ndarray:
    """r^3 from r^2."""
    return np.asarray(d2 * np.sqrt(d2))


def _tail(v: np.ndarray) -> np.ndarray:
    """The columns of the linear tail `(n, 1 + n_dim)`."""
    return np.hstack([np.ones((len(v), 1)), v])


def _checked(u: np.ndarray, f: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    u, f = np.asarray(u, dtype=float), np.asarray(f, dtype=float)
    if u.ndim != 2 or f.ndim != 2 or len(u) != len(f):
        raise ValueError(f"u {u.shape} and f {f.shape} must be (n, n_dim) and (n, n_out)")
    if not (np.isfinite(u).all() and np.isfinite(f).all()):
        raise ValueError("u and f must be finite")
    return u, f
