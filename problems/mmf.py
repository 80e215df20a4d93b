"""MMF1-MMF8: two variables, two objectives, and several equivalent Pareto sets.

Source: C. Yue, B. Qu, J. Liang, "A multiobjective particle swarm optimizer using ring topology for
solving multimodal multiobjective problems", IEEE Trans. Evol. Comput. 22(5), 2018, table II; the
suite of the CEC 2019 and 2020 competitions on multimodal multiobjective optimization.

Each objective vector of the front belongs to two to eight decision vectors, its pre-images: left
and right of a mirror line, and on two copies of a curve x_2 = c(x_1). With u = |x_1 - 2|,
S = sin(6 pi u + pi) and w(y) = 2 (4 y^2 - 2 cos(20 pi y / sqrt 2) + 2):

    ====  ==================  =========  ===============================  ===================
          box                 f_1        f_2                              curve c(x_1)
    ====  ==================  =========  ===============================  ===================
    MMF1  [1, 3] x [-1, 1]    u          1 - sqrt u + 2 y^2               S
    MMF2  [0, 1] x [0, 2]     x_1        1 - sqrt x_1 + w(y)              sqrt x_1
    MMF3  [0, 1] x [0, 1.5]   x_1        1 - sqrt x_1 + w(y)              sqrt x_1
    MMF4  [-1, 1] x [0, 2]    |x_1|      1 - x_1^2 + 2 y^2                sin(pi |x_1|)
    MMF5  [1, 3] x [-1, 3]    u          1 - sqrt u + 2 y^2               S
    MMF6  [1, 3] x [-1, 2]    u          1 - sqrt u + 2 y^2               S
    MMF7  [1, 3] x [-1, 1]    u          1 - sqrt u + y^2                 a growing wave
    MMF8  [-pi, pi] x [0, 9]  sin |x_1|  |cos x_1| + 2 y^2                |x_1| + sin |x_1|
    ====  ==================  =========  ===============================  ===================

y is the distance of x_2 from the curve, or from its copy `shift` above where x belongs to that one
(`_upper`); the Pareto set is y = 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import N_PARETO_POINTS, AnalyticProblem


class MMF(AnalyticProblem):
    """Base of MMF1-MMF8; two variables, two objectives."""

    box: tuple[tuple[float, float], tuple[float, float]] = ((1.0, 3.0), (-1.0, 1.0))
    shift = 0.0

    def __init__(self) -> None:
        xl, xu = np.array(self.box).T
        super().__init__(n_var=2, n_obj=2, xl=xl, xu=xu, vtype=float)

    def _evaluate(self, x: np.ndarray, out: dict, *args: Any, **kwargs: Any) -> None:
        f1 = self._first_objective(x[:, 0])
        out["F"] = np.column_stack([f1, self._shape(f1) + self._penalty(self._deviation(x))])

    def _first_objective(self, x1: np.ndarray) -> np.ndarray:
        return np.abs(x1 - 2.0)

    def _positions(self, f1: np.ndarray) -> np.ndarray:
        """All x_1 of given f_1 `(n,)` -> `(k, n)`."""
        return np.array([2.0 - f1, 2.0 + f1])

    def _shape(self, f1: np.ndarray) -> np.ndarray:
        """The front: f_2 where y = 0."""
        return 1.0 - np.sqrt(f1)

    def _penalty(self, y: np.ndarray) -> np.ndarray:
        return 2.0 * y**2

    def _curve(self, x1: np.ndarray) -> np.ndarray:
        return np.sin(6.0 * np.pi * np.abs(x1 - 2.0) + np.pi)

    def _upper(self, x: np.ndarray) -> np.ndarray:
        """Which points `(n, 2)` are measured from the upper copy of the curve."""
        return np.zeros(len(x), dtype=bool)

    def _deviation(self, x: np.ndarray) -> np.ndarray:
        return x[:, 1] - self._curve(x[:, 0]) - self.shift * self._upper(x)

    def preimages(self, f1: float) -> np.ndarray:
        """Every Pareto-optimal decision vector of one point of the front.

        Args:
            f1: First objective, in [0, 1].

        Returns:
            Points `(k, 2)`, 1 <= k <= 8; fewer where two of them meet.

        Raises:
            ValueError: `f1` outside [0, 1].
        """
        if not 0.0 <= f1 <= 1.0:
            raise ValueError(f"f1={f1!r} is not on the front, where it lies in [0, 1]")
        x1 = np.unique(self._positions(np.array([f1], dtype=float)))
        return self._optimal(x1)

    def _optimal(self, x1: np.ndarray) -> np.ndarray:
        """The Pareto-optimal points over given x_1 `(n,)`, on the lower curve first."""
        copies = [0.0, self.shift] if self.shift else [0.0]
        x = np.concatenate([np.column_stack([x1, self._curve(x1) + c]) for c in copies])
        # Where a copy ends, its last point may belong to the other one, and is not optimal.
        inside = (x[:, 1] >= self.xl[1] - 1e-12) & (x[:, 1] <= self.xu[1] + 1e-12)
        x = np.clip(x[inside], self.xl, self.xu)
        return np.asarray(x[np.abs(self._deviation(x)) < 1e-9])

    def _calc_pareto_set(self, n_pareto_points: int = N_PARETO_POINTS) -> np.ndarray:
        """All branches, evenly spaced in x_1; about as many points as asked for."""
        n_copies = 2 if self.shift else 1
        low, high = self.box[0]
        return self._optimal(np.linspace(low, high, max(2, n_pareto_points // n_copies)))

    def _calc_pareto_front(self, n_pareto_points: int = N_PARETO_POINTS) -> np.ndarray:
        """Evenly spaced along the front, which is steep at one of its ends."""
        dense = 0.5 - 0.5 * np.cos(np.linspace(0.0, np.pi, 20 * n_pareto_points + 1))
        steps = np.hypot(np.diff(dense), np.diff(self._shape(dense)))
        length = np.concatenate([[0.0], np.cumsum(steps)])
        f1 = np.interp(np.linspace(0.0, length[-1], n_pareto_points), length, dense)
        return np.column_stack([f1, self._shape(f1)])


class MMF1(MMF):
    """Two mirrored waves."""


class _Ripples(MMF):
    """MMF2 and MMF3: f_1 = x_1, and local fronts beside the optimal curves."""

    def _first_objective(self, x1: np.ndarray) -> np.ndarray:
        return x1

    def _positions(self, f1: np.ndarray) -> np.ndarray:
        return f1[None]

    def _penalty(self, y: np.ndarray) -> np.ndarray:
        return 2.0 * (4.0 * y**2 - 2.0 * np.cos(20.0 * np.pi * y / np.sqrt(2.0)) + 2.0)

    def _curve(self, x1: np.ndarray) -> np.ndarray:
        return np.sqrt(x1)


class MMF2(_Ripples):
    """A curve and its copy above, with local fronts."""

    box = ((0.0, 1.0), (0.0, 2.0))
    shift = 1.0

    def _upper(self, x: np.ndarray) -> np.ndarray:
        return x[:, 1] > 1.0


class MMF3(_Ripples):
    """As MMF2, with copies whose ranges of x_2 overlap."""

    box = ((0.0, 1.0), (0.0, 1.5))
    shift = 0.5

    def _upper(self, x: np.ndarray) -> np.ndarray:
        return ~((x[:, 1] <= 0.5) | ((x[:, 1] < 1.0) & (x[:, 0] > 0.25)))


class MMF4(MMF):
    """Concave front; four branches."""

    box = ((-1.0, 1.0), (0.0, 2.0))
    shift = 1.0

    def _first_objective(self, x1: np.ndarray) -> np.ndarray:
        return np.abs(x1)

    def _positions(self, f1: np.ndarray) -> np.ndarray:
        return np.array([-f1, f1])

    def _shape(self, f1: np.ndarray) -> np.ndarray:
        return 1.0 - f1**2

    def _curve(self, x1: np.ndarray) -> np.ndarray:
        return np.sin(np.pi * np.abs(x1))

    def _upper(self, x: np.ndarray) -> np.ndarray:
        return x[:, 1] >= 1.0


class MMF5(MMF):
    """MMF1 and its copy above; four branches."""

    box = ((1.0, 3.0), (-1.0, 3.0))
    shift = 2.0

    def _upper(self, x: np.ndarray) -> np.ndarray:
        return x[:, 1] > 1.0


class MMF6(MMF):
    """As MMF5, with copies whose ranges of x_2 overlap; four branches."""

    box = ((1.0, 3.0), (-1.0, 2.0))
    shift = 1.0

    def _upper(self, x: np.ndarray) -> np.ndarray:
        sixth = 6.0 * x[:, 0]
        stretches = ((-np.inf, 7.0), (8.0, 9.0), (10.0, 11.0), (13.0, 14.0), (15.0, 16.0))
        lower = sixth > 17.0
        for low, high in stretches:
            lower |= (sixth > low) & (sixth <= high)
        return ~((x[:, 1] <= 0.0) | ((x[:, 1] <= 1.0) & lower))


class MMF7(MMF):
    """Two mirrored waves of growing height."""

    def _penalty(self, y: np.ndarray) -> np.ndarray:
        return y**2

    def _curve(self, x1: np.ndarray) -> np.ndarray:
        u = np.abs(x1 - 2.0)
        height = 0.3 * u**2 * np.cos(24.0 * np.pi * u + 4.0 * np.pi) + 0.6 * u
        return height * super()._curve(x1)


class MMF8(MMF):
    """A quarter circle for a front; eight pre-images."""

    box = ((-np.pi, np.pi), (0.0, 9.0))
    shift = 4.0

    def _first_objective(self, x1: np.ndarray) -> np.ndarray:
        return np.sin(np.abs(x1))

    def _positions(self, f1: np.ndarray) -> np.ndarray:
        t = np.arcsin(f1)
        return np.array([-t, t, t - np.pi, np.pi - t])

    def _shape(self, f1: np.ndarray) -> np.ndarray:
        return np.sqrt(np.maximum(0.0, 1.0 - f1**2))

    def _curve(self, x1: np.ndarray) -> np.ndarray:
        return np.abs(x1) + np.sin(np.abs(x1))

    def _upper(self, x: np.ndarray) -> np.ndarray:
        return x[:, 1] > 4.0
