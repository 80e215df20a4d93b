"""IMF1-IMF10, the test problems of IM-MOEA (PlatEMO calls them IMMOEA_F1-F10).

Source: R. Cheng, Y. Jin, K. Narukawa, B. Sendhoff, "A multiobjective evolutionary algorithm using
Gaussian process-based inverse modeling", IEEE Trans. Evol. Comput. 19(6), 2015.

With D variables and i counted from 1, each distance variable is tied to x_1 by a linkage

    linear (IMF1-4):   t_i = (1 + 5 i/D) x_i - x_1
    power  (IMF5-10):  t_i = x_i^(1 / (1 + 3 i/D)) - x_1

and the Pareto set is t = 0: a line or curve through the corner x = 0 of the box. Algorithms whose
operators fall into corners are rewarded here; `shifted` gives the twins without that gift.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import N_PARETO_POINTS, AnalyticProblem, check_integer
from .sampling import box_grid, sphere_lattice

# IMF3 and IMF7: 1 - exp(-4 x) sin^6(6 pi x) is least where its derivative's factor
# 36 pi cot(6 pi x) - 4 is zero.
_X_OF_LOWEST_F1 = np.arctan(9 * np.pi) / (6 * np.pi)


def _many_to_one(x1: Any) -> Any:
    return 1.0 - np.exp(-4.0 * x1) * np.sin(6.0 * np.pi * x1) ** 6


class IMF(AnalyticProblem):
    """Base of IMF1-IMF10.

    Args:
        n_var: Number of variables D.

    Raises:
        ValueError: `n_var` below 2 (two objectives) or 3 (three objectives).
    """

    linkage = "linear"
    n_position = 1
    upper_distance = 1.0

    def __init__(self, n_var: int = 30) -> None:
        n_obj = self.n_position + 1
        n_var = check_integer(
            "n_var", n_var, n_obj, f"{type(self).__name__} has {n_obj} objectives"
        )
        xu = np.full(n_var, self.upper_distance)
        xu[: self.n_position] = 1.0
        super().__init__(n_var=n_var, n_obj=n_obj, xl=0.0, xu=xu, vtype=float)
        index = np.arange(self.n_position + 1, n_var + 1) / n_var
        self._rate = 1.0 + 5.0 * index if self.linkage == "linear" else 1.0 + 3.0 * index

    def _deviation(self, x: np.ndarray) -> np.ndarray:
        """Linkage variables t `(n, n_var - n_position)`; zero on the Pareto set."""
        distance = x[:, self.n_position :]
        linked = distance * self._rate if self.linkage == "linear" else distance ** (1 / self._rate)
        return linked - x[:, :1]

    def _distance(self, t: np.ndarray) -> np.ndarray:
        """g `(n,)` of the linkage variables: 1 on the Pareto set (IMF4, IMF8: 0)."""
        return 1.0 + 9.0 * np.mean(t**2, axis=1)

    def _evaluate(self, x: np.ndarray, out: dict, *args: Any, **kwargs: Any) -> None:
        f1 = self._first_objective(x[:, 0])
        g = self._distance(self._deviation(x))
        out["F"] = np.column_stack([f1, g * self._shape(f1 / g)])

    def _first_objective(self, x1: np.ndarray) -> np.ndarray:
        return x1

    def _shape(self, ratio: np.ndarray) -> np.ndarray:
        return 1.0 - np.sqrt(ratio)

    def _calc_pareto_front(self, n_pareto_points: int = N_PARETO_POINTS) -> np.ndarray:
        """Evenly spaced in f1, as the method's authors and PlatEMO have it."""
        f1 = np.linspace(0.0, 1.0, n_pareto_points)
        return np.column_stack([f1, self._shape(f1)])

    def _calc_pareto_set(self, n_pareto_points: int = N_PARETO_POINTS) -> np.ndarray:
        """Evenly spaced in x_1 (IMF4, IMF8: on a grid of x_1, x_2); the whole set."""
        position = box_grid(self.n_position, n_pareto_points)
        x1 = position[:, :1]
        linked = x1 / self._rate if self.linkage == "linear" else x1**self._rate
        return np.column_stack([position, linked])


class _Concave(IMF):
    def _shape(self, ratio: np.ndarray) -> np.ndarray:
        return 1.0 - ratio**2


class _ManyToOne(_Concave):
    def _first_objective(self, x1: np.ndarray) -> np.ndarray:
        return _many_to_one(x1)

    def _calc_pareto_front(self, n_pareto_points: int = N_PARETO_POINTS) -> np.ndarray:
        f1 = np.linspace(_many_to_one(_X_OF_LOWEST_F1), 1.0, n_pareto_points)
        return np.column_stack([f1, self._shape(f1)])


class _Sphere(IMF):
    n_position = 2

    def _distance(self, t: np.ndarray) -> np.ndarray:
        return np.sum(t**2, axis=1)

    def _evaluate(self, x: np.ndarray, out: dict, *args: Any, **kwargs: Any) -> None:
        radius = 1.0 + self._distance(self._deviation(x))
        a, b = 0.5 * np.pi * x[:, 0], 0.5 * np.pi * x[:, 1]
        shape = [np.cos(a) * np.cos(b), np.cos(a) * np.sin(b), np.sin(a)]
        out["F"] = radius[:, None] * np.column_stack(shape)

    def _calc_pareto_front(self, n_pareto_points: int = N_PARETO_POINTS) -> np.ndarray:
        """A simplex lattice projected onto the sphere."""
        return sphere_lattice(3, n_pareto_points)


class IMF1(IMF):
    """Linear linkage, convex: f2 = g (1 - sqrt(f1 / g)), g = 1 + 9 mean(t^2)."""


class IMF2(_Concave):
    """Linear linkage, concave: f2 = g (1 - (f1 / g)^2)."""


class IMF3(_ManyToOne):
    """Linear linkage, concave, many to one: f1 = 1 - exp(-4 x_1) sin^6(6 pi x_1) >= 0.2808."""


class IMF4(_Sphere):
    """Linear linkage, three objectives on a sphere of radius 1 + sum(t^2); x_2 is free."""


class IMF5(IMF):
    """Power linkage, convex."""

    linkage = "power"


class IMF6(_Concave):
    """Power linkage, concave."""

    linkage = "power"


class IMF7(_ManyToOne):
    """Power linkage, concave, many to one."""

    linkage = "power"


class IMF8(_Sphere):
    """Power linkage, three objectives on a sphere."""

    linkage = "power"


class IMF9(IMF):
    """Power linkage, convex; Griewank's function of t as distance, x_i in [0, 10]."""

    linkage = "power"
    upper_distance = 10.0

    def _distance(self, t: np.ndarray) -> np.ndarray:
        waves = np.prod(np.cos(t / np.sqrt(np.arange(1, t.shape[1] + 1))), axis=1)
        return np.sum(t**2, axis=1) / 4000.0 - waves + 2.0


class IMF10(IMF):
    """Power linkage, convex; Rastrigin's function of t as distance, x_i in [0, 10]."""

    linkage = "power"
    upper_distance = 10.0

    def _distance(self, t: np.ndarray) -> np.ndarray:
        return 1.0 + 10.0 * t.shape[1] + np.sum(t**2 - 10.0 * np.cos(2.0 * np.pi * t), axis=1)
