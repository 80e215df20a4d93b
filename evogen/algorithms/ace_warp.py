"""Input warping for ACE: variables bent so that the objectives change evenly along them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Slopes grow towards a bound down to this distance from it, as far as a warp goes.
NEAR = 1e-3

#: The strongest bend.
MIN_POWER = 0.2

#: Weight of "not bent", as that of so many points whose logarithmic distances to the bound have
#: a standard deviation of 1.
PRIOR = 50.0

#: Slopes far below this share of their median are the same: there, objectives have their optima.
FLAT = 0.2


@dataclass(frozen=True)
class Warp:
    """A monotone map of the unit box to itself, one power per variable.

    A model of one length scale wants objectives that change evenly. Where they change ever faster
    towards a bound, the box is bent: z(x) = ((x + a)^p - a^p) / ((1 + a)^p - a^p), a = 0.001, for
    the lower bound, and 1 - z(1 - x) for the upper one. (Snoek, Swersky, Zemel & Adams, "Input
    warping for Bayesian optimization of non-stationary functions", ICML 2014, whose Beta
    distribution functions are fitted by slice sampling; here slopes tell, see `learn`.)

    Attributes:
        power: p of each variable `(d,)`, in [0.2, 1]; 1 leaves it as it is.
        upper: Which are bent at their upper bound `(d,)`.
    """

    power: np.ndarray
    upper: np.ndarray

    @staticmethod
    def none(n_dim: int) -> Warp:
        """The identity."""
        return Warp(np.ones(n_dim), np.zeros(n_dim, dtype=bool))

    @staticmethod
    def learn(u: np.ndarray, slopes: np.ndarray) -> Warp:
        """The warp after which objectives would change about evenly along each variable.

        If they do so after a bend of power p, their slopes before it are proportional to
        (x + a)^(p - 1): p - 1 is the coefficient of a regression of the slopes' logarithm on that
        of the distance to the bound, shrunk towards 0. The bound that explains more is taken.

        Args:
            u: Points of the unit box `(n, d)`.
            slopes: There, of the objectives in their own spreads `(n, n_obj, d)`.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            square = (slopes**2).mean(axis=1)  # of all objectives
            y = 0.5 * np.log(square + FLAT**2 * np.median(square, axis=0) + np.finfo(float).tiny)
            y = y - y.mean(axis=0)
        x = np.log(np.stack([u, 1.0 - u]).clip(0.0, 1.0) + NEAR)
        x = x - x.mean(axis=1, keepdims=True)
        product = np.where(np.isfinite(y).all(axis=0), (x * y).sum(axis=1), 0.0)
        rate = np.minimum(product / ((x**2).sum(axis=1) + PRIOR), 0.0)
        upper = rate[1] * product[1] > rate[0] * product[0]
        power = 1.0 + np.where(upper, rate[1], rate[0])
        return Warp(np.maximum(power, MIN_POWER), upper)

    def __call__(self, u: np.ndarray) -> np.ndarray:
        """z of points of the unit box `(n, d)`."""
        bent, part, power, base, span = self._parts(u)
        z = u.copy()
        z[:, bent] = self._mirror(((part + NEAR) ** power - base) / span, bent)
        return z

    def inverse(self, z: np.ndarray) -> np.ndarray:
        """The points `(n, d)` whose z these are, but for rounding."""
        bent, part, power, base, span = self._parts(z)
        u = z.copy()
        x = (part * span + base) ** (1.0 / power) - NEAR
        u[:, bent] = self._mirror(x.clip(0.0, 1.0), bent)
        return u

    def slope(self, u: np.ndarray) -> np.ndarray:
        """dz/du at points of the unit box `(n, d)`."""
        bent, part, power, _, span = self._parts(u)
        slope = np.ones(u.shape)
        slope[:, bent] = power * (part + NEAR) ** (power - 1.0) / span
        return slope

    def _parts(self, u: np.ndarray) -> tuple[np.ndarray, ...]:
        """Which variables are bent, and of those: distances to the bound, p, a^p, the scale."""
        bent = np.flatnonzero(self.power < 1.0)
        power = self.power[bent]
        base = NEAR**power
        return bent, self._mirror(u[:, bent], bent), power, base, (1.0 + NEAR) ** power - base

    def _mirror(self, part: np.ndarray, bent: np.ndarray) -> np.ndarray:
        return np.where(self.upper[bent], 1.0 - part, part)
