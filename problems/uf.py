"""UF1-UF10, the unconstrained problems of the CEC 2009 competition.

Source: Q. Zhang, A. Zhou, S. Zhao, P. N. Suganthan, W. Liu, S. Tiwari, "Multiobjective optimization
test instances for the CEC 2009 special session and competition", report CES-487, 2008.

With n variables and j counted from 1, the distance variables j > n_position are divided into one
group for each objective (two objectives: odd and even j; three: by the remainder of j modulo 3),
and

    f_m = position term(x_1, x_2) + 2/|J_m| (distance of y_j, j in J_m)

where y_j = x_j - (a curve or surface over the position variables) vanishes on the Pareto set.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import N_PARETO_POINTS, AnalyticProblem, check_integer
from .sampling import (
    Intervals,
    box_grid,
    product_grid,
    simplex_lattice,
    sphere_lattice,
    spread_over,
)


def _mean_square(y: np.ndarray) -> np.ndarray:
    """2/|J| sum y^2, for y `(n, |J|)`."""
    return 2.0 * np.mean(y**2, axis=1)


class UF(AnalyticProblem):
    """Base of UF1-UF10.

    Args:
        n_var: Number of variables n.

    Raises:
        ValueError: `n_var` below 3 (two objectives) or 5 (three): a group would be empty.
    """

    n_position = 1
    distance_bounds = (-1.0, 1.0)

    def __init__(self, n_var: int = 30) -> None:
        n_obj = self.n_position + 1
        n_var = check_integer("n_var", n_var, 2 * n_obj - 1, "each objective needs a variable")
        low, high = self.distance_bounds
        xl, xu = np.full(n_var, low), np.full(n_var, high)
        xl[: self.n_position], xu[: self.n_position] = 0.0, 1.0
        super().__init__(n_var=n_var, n_obj=n_obj, xl=xl, xu=xu, vtype=float)
        self._index = np.arange(self.n_position + 1, n_var + 1)
        self._phase = np.pi * self._index / n_var
        # f_m takes the j with j - m divisible by n_obj for three objectives; f_1 the odd j for two.
        self._groups = [
            np.flatnonzero(self._index % n_obj == m % n_obj) for m in range(1, n_obj + 1)
        ]

    def _optimal_distance(self, position: np.ndarray) -> np.ndarray:
        """Distance variables `(n, n_var - n_position)` of the Pareto set over the position."""
        return np.sin(6.0 * np.pi * position[:, :1] + self._phase)

    def _position_terms(self, position: np.ndarray) -> np.ndarray:
        """Objectives `(n, n_obj)` where all y_j are zero."""
        return np.column_stack([position, 1.0 - np.sqrt(position)])

    def _group_distance(self, y: np.ndarray, group: np.ndarray) -> np.ndarray:
        """Distance `(n,)` that one objective gets from its variables (columns `group` of y)."""
        return _mean_square(y[:, group])

    def _evaluate(self, x: np.ndarray, out: dict, *args: Any, **kwargs: Any) -> None:
        position = x[:, : self.n_position]
        y = x[:, self.n_position :] - self._optimal_distance(position)
        distance = [self._group_distance(y, group) for group in self._groups]
        out["F"] = self._position_terms(position) + np.column_stack(distance)

    def _optimal_positions(self, n_points: int) -> np.ndarray:
        return box_grid(self.n_position, n_points)

    def _calc_pareto_set(self, n_pareto_points: int = N_PARETO_POINTS) -> np.ndarray:
        """Evenly spaced in the position variables."""
        position = self._optimal_positions(n_pareto_points)
        return np.column_stack([position, self._optimal_distance(position)])

    def _calc_pareto_front(self, n_pareto_points: int = N_PARETO_POINTS) -> np.ndarray:
        """Two objectives: evenly spaced in f1."""
        return self._position_terms(self._optimal_positions(n_pareto_points))


class UF1(UF):
    """Convex front f2 = 1 - sqrt(f1) over a sine-shaped Pareto set."""


class UF2(UF):
    """As UF1, over a spiral with growing radius."""

    def _optimal_distance(self, position: np.ndarray) -> np.ndarray:
        x1 = position[:, :1]
        radius = 0.3 * x1**2 * np.cos(24.0 * np.pi * x1 + 4.0 * self._phase) + 0.6 * x1
        angle = 6.0 * np.pi * x1 + self._phase
        return radius * np.where(self._index % 2 == 1, np.cos(angle), np.sin(angle))


class _Ripples(UF):
    """Distance of UF3 and UF6: a Griewank-like product over the group."""

    def _group_distance(self, y: np.ndarray, group: np.ndarray) -> np.ndarray:
        y = y[:, group]
        waves = np.prod(np.cos(20.0 * np.pi * y / np.sqrt(self._index[group])), axis=1)
        return 2.0 / len(group) * (4.0 * np.sum(y**2, axis=1) - 2.0 * waves + 2.0)


class UF3(_Ripples):
    """Convex front over a power curve, with many local fronts; all variables in [0, 1]."""

    distance_bounds = (0.0, 1.0)

    def _optimal_distance(self, position: np.ndarray) -> np.ndarray:
        return position ** (0.5 * (1.0 + 3.0 * (self._index - 2) / (self.n_var - 2)))


class UF4(UF):
    """Concave front f2 = 1 - f1^2; distance variables in [-2, 2]."""

    distance_bounds = (-2.0, 2.0)

    def _position_terms(self, position: np.ndarray) -> np.ndarray:
        return np.column_stack([position, 1.0 - position**2])

    def _group_distance(self, y: np.ndarray, group: np.ndarray) -> np.ndarray:
        size = np.abs(y[:, group])
        return 2.0 * np.mean(size / (1.0 + np.exp(2.0 * size)), axis=1)


class UF5(UF):
    """A front of 2 N + 1 = 21 points on the line f1 + f2 = 1."""

    n_teeth = 10
    epsilon = 0.1

    def _position_terms(self, position: np.ndarray) -> np.ndarray:
        teeth = np.abs(np.sin(2.0 * self.n_teeth * np.pi * position))
        lift = (0.5 / self.n_teeth + self.epsilon) * teeth
        return np.column_stack([position + lift, 1.0 - position + lift])

    def _group_distance(self, y: np.ndarray, group: np.ndarray) -> np.ndarray:
        y = y[:, group]
        return 2.0 * np.mean(2.0 * y**2 - np.cos(4.0 * np.pi * y) + 1.0, axis=1)

    def _optimal_positions(self, n_points: int) -> np.ndarray:
        return np.linspace(0.0, 1.0, 2 * self.n_teeth + 1)[:, None]

    def _calc_pareto_front(self, n_pareto_points: int = N_PARETO_POINTS) -> np.ndarray:
        """All 21 points, whatever number is asked for."""
        # On the teeth the lift is zero; the sine of a rounded multiple of pi is not quite.
        f1 = self._optimal_positions(n_pareto_points)
        return np.column_stack([f1, 1.0 - f1])


class UF6(_Ripples):
    """The point (0, 1) and two segments of the line f1 + f2 = 1."""

    n_teeth = 2
    epsilon = 0.1
    pieces: Intervals = ((0.0, 0.0), (0.25, 0.5), (0.75, 1.0))

    def _position_terms(self, position: np.ndarray) -> np.ndarray:
        wave = np.sin(2.0 * self.n_teeth * np.pi * position)
        lift = np.maximum(0.0, 2.0 * (0.5 / self.n_teeth + self.epsilon) * wave)
        return np.column_stack([position + lift, 1.0 - position + lift])

    def _optimal_positions(self, n_points: int) -> np.ndarray:
        return spread_over(self.pieces, n_points)[:, None]

    def _calc_pareto_front(self, n_pareto_points: int = N_PARETO_POINTS) -> np.ndarray:
        """Evenly spaced in f1 over the pieces."""
        f1 = self._optimal_positions(n_pareto_points)
        return np.column_stack([f1, 1.0 - f1])


class UF7(UF):
    """Linear front f2 = 1 - f1 with the biased position x_1^0.2."""

    def _position_terms(self, position: np.ndarray) -> np.ndarray:
        root = position**0.2
        return np.column_stack([root, 1.0 - root])

    def _calc_pareto_front(self, n_pareto_points: int = N_PARETO_POINTS) -> np.ndarray:
        """Evenly spaced in f1."""
        return simplex_lattice(2, n_pareto_points)


class UF8(UF):
    """Three objectives on the unit sphere."""

    n_position = 2
    distance_bounds = (-2.0, 2.0)

    def _optimal_distance(self, position: np.ndarray) -> np.ndarray:
        return 2.0 * position[:, 1:2] * np.sin(2.0 * np.pi * position[:, :1] + self._phase)

    def _position_terms(self, position: np.ndarray) -> np.ndarray:
        a, b = 0.5 * np.pi * position.T
        return np.column_stack([np.cos(a) * np.cos(b), np.cos(a) * np.sin(b), np.sin(a)])

    def _calc_pareto_front(self, n_pareto_points: int = N_PARETO_POINTS) -> np.ndarray:
        """A simplex lattice projected onto the sphere."""
        return sphere_lattice(3, n_pareto_points)


class UF9(UF8):
    """Two triangles of the plane f1 + f2 + f3 = 1."""

    epsilon = 0.1

    def _position_terms(self, position: np.ndarray) -> np.ndarray:
        x1, x2 = position.T
        lift = np.maximum(0.0, (1.0 + self.epsilon) * (1.0 - 4.0 * (2.0 * x1 - 1.0) ** 2))
        f1 = 0.5 * (lift + 2.0 * x1) * x2
        f2 = 0.5 * (lift - 2.0 * x1 + 2.0) * x2
        return np.column_stack([f1, f2, 1.0 - x2])

    def _optimal_positions(self, n_points: int) -> np.ndarray:
        per_axis = max(4, int(np.sqrt(n_points)))
        x1 = spread_over(((0.0, 0.25), (0.75, 1.0)), per_axis)
        return product_grid([x1, np.linspace(0.0, 1.0, per_axis)])

    def _calc_pareto_front(self, n_pareto_points: int = N_PARETO_POINTS) -> np.ndarray:
        """The points of a simplex lattice that lie in the triangles, half of the plane."""
        f = simplex_lattice(3, 2 * n_pareto_points)
        width = 1.0 - f[:, 2]
        eps = 1e-12
        return f[(f[:, 0] <= 0.25 * width + eps) | (f[:, 0] >= 0.75 * width - eps)]


class UF10(UF8):
    """As UF8, with Rastrigin-like local fronts."""

    def _group_distance(self, y: np.ndarray, group: np.ndarray) -> np.ndarray:
        y = y[:, group]
        return 2.0 * np.mean(4.0 * y**2 - np.cos(8.0 * np.pi * y) + 1.0, axis=1)
