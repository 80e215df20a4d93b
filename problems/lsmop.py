"""LSMOP1-LSMOP9, large-scale multi- and many-objective problems.

Source: R. Cheng, Y. Jin, M. Olhofer, B. Sendhoff, "Test problems for large-scale multiobjective and
many-objective optimization", IEEE Trans. Cybern. 47(12), 2017.

The first M - 1 variables in [0, 1] give the position. The others, in [0, 10], are tied to x_1 by a
linkage, with i counted from 1 and D variables,

    linear (LSMOP1-4):     t_i = (1 + i/D) x_i - 10 x_1
    nonlinear (LSMOP5-9):  t_i = (1 + cos(pi/2 i/D)) x_i - 10 x_1

and divided into M groups of `nk` subcomponents each, whose sizes follow a chaotic sequence. A basic
function of each subcomponent, averaged over the group, is the distance of one objective.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .base import N_PARETO_POINTS, AnalyticProblem, check_integer
from .sampling import (
    box_grid,
    product_grid,
    record_lows,
    simplex_lattice,
    spanning_products,
    sphere_lattice,
    spread_over,
)

BasicFunction = Callable[[np.ndarray], np.ndarray]


def sphere(t: np.ndarray) -> np.ndarray:
    """Sum of squares over the last axis."""
    return np.sum(t**2, axis=-1)


def schwefel(t: np.ndarray) -> np.ndarray:
    """Schwefel's problem 2.21, the greatest absolute value over the last axis."""
    return np.max(np.abs(t), axis=-1)


def rosenbrock(t: np.ndarray) -> np.ndarray:
    """Rosenbrock's function over the last axis; its minimum 0 is at t = 1."""
    ahead, here = t[..., 1:], t[..., :-1]
    return np.sum(100.0 * (here**2 - ahead) ** 2 + (here - 1.0) ** 2, axis=-1)


def rastrigin(t: np.ndarray) -> np.ndarray:
    """Rastrigin's function over the last axis."""
    return np.sum(t**2 - 10.0 * np.cos(2.0 * np.pi * t) + 10.0, axis=-1)


def griewank(t: np.ndarray) -> np.ndarray:
    """Griewank's function over the last axis."""
    waves = np.prod(np.cos(t / np.sqrt(np.arange(1, t.shape[-1] + 1))), axis=-1)
    return np.sum(t**2, axis=-1) / 4000.0 - waves + 1.0


def ackley(t: np.ndarray) -> np.ndarray:
    """Ackley's function over the last axis."""
    root = np.sqrt(np.mean(t**2, axis=-1))
    waves = np.mean(np.cos(2.0 * np.pi * t), axis=-1)
    return 20.0 - 20.0 * np.exp(-0.2 * root) - np.exp(waves) + np.e


def chaotic_shares(n_obj: int) -> np.ndarray:
    """The share of the distance variables that each group gets `(n_obj,)`, summing to 1.

    The logistic map c <- 3.8 c (1 - c) from 0.1 (section III.C of the paper).
    """
    c = [3.8 * 0.1 * (1.0 - 0.1)]
    while len(c) < n_obj:
        c.append(3.8 * c[-1] * (1.0 - c[-1]))
    return np.array(c) / sum(c)


class LSMOP(AnalyticProblem):
    """Base of LSMOP1-LSMOP9.

    Args:
        n_var: Number of variables D; default 100 n_obj (with `group_sizes="author"`: what the sizes
            add up to).
        n_obj: Number of objectives M (>= 2).
        nk: Subcomponents per group (>= 1).
        group_sizes: `"floor"` as in PlatEMO: any `n_var`, subcomponent sizes are rounded down, and
            the few variables left over have no effect. `"author"`: the sizes of the authors' own
            code, rounded up from 100 n_obj variables; they fix n_var (206 for two objectives, 307
            for three).

    Raises:
        ValueError: An argument out of range, or `n_var` too small to give every subcomponent a
            variable.
    """

    linkage = "linear"
    odd_function: BasicFunction = staticmethod(sphere)
    """Basic function of groups 1, 3, 5, ..."""
    even_function: BasicFunction = staticmethod(sphere)
    """Basic function of groups 2, 4, 6, ..."""

    def __init__(
        self,
        n_var: int | None = None,
        n_obj: int = 3,
        *,
        nk: int = 5,
        group_sizes: str = "floor",
    ) -> None:
        n_obj = check_integer("n_obj", n_obj, 2)
        self.nk = check_integer("nk", nk, 1)
        self.group_sizes = group_sizes
        shares = chaotic_shares(n_obj)
        if group_sizes == "author":
            sizes = np.ceil(np.round(shares * 100 * n_obj) / nk).astype(int)
            fixed = n_obj - 1 + nk * int(sizes.sum())
            if n_var not in (None, fixed):
                raise ValueError(f"n_var={n_var!r} must be {fixed} with group_sizes='author'")
            n_var = fixed
        elif group_sizes == "floor":
            least = int(np.ceil(nk / shares.min())) + n_obj - 1
            n_var = check_integer("n_var", 100 * n_obj if n_var is None else n_var, least,
                                  f"{n_obj} objectives with nk={nk}")  # fmt: skip
            sizes = np.floor(shares * (n_var - n_obj + 1) / nk).astype(int)
        else:
            raise ValueError(f"group_sizes={group_sizes!r} must be 'floor' or 'author'")
        xu = np.full(n_var, 10.0)
        xu[: n_obj - 1] = 1.0
        super().__init__(n_var=n_var, n_obj=n_obj, xl=0.0, xu=xu, vtype=float)
        self.sublen = sizes
        self._ends = np.concatenate([[0], np.cumsum(sizes * nk)])
        index = np.arange(n_obj, n_var + 1) / n_var
        self._rate = 1.0 + (index if self.linkage == "linear" else np.cos(0.5 * np.pi * index))

    def _group_functions(self) -> list[BasicFunction]:
        return [(self.odd_function, self.even_function)[m % 2] for m in range(self.n_obj)]

    def _distances(self, x: np.ndarray) -> np.ndarray:
        """Distance of each group `(n, n_obj)`, averaged over its variables; 0 on the Pareto set."""
        t = x[:, self.n_obj - 1 :] * self._rate - 10.0 * x[:, :1]
        g = np.empty((len(x), self.n_obj))
        for m, function in enumerate(self._group_functions()):
            group = t[:, self._ends[m] : self._ends[m + 1]].reshape(len(x), self.nk, -1)
            g[:, m] = function(group).sum(axis=1) / (self.sublen[m] * self.nk)
        return g

    def _evaluate(self, x: np.ndarray, out: dict, *args: Any, **kwargs: Any) -> None:
        position = x[:, : self.n_obj - 1]
        out["F"] = (1.0 + self._distances(x)) * spanning_products(position, 1.0 - position)

    def _calc_pareto_front(self, n_pareto_points: int = N_PARETO_POINTS) -> np.ndarray:
        """The published front; see `_calc_pareto_set` on LSMOP6 and LSMOP7."""
        return simplex_lattice(self.n_obj, n_pareto_points)

    def _optimal_positions(self, n_points: int) -> np.ndarray:
        return box_grid(self.n_obj - 1, n_points)

    def _calc_pareto_set(self, n_pareto_points: int = N_PARETO_POINTS) -> np.ndarray:
        """The linkage inverted over a grid of the position variables.

        Rosenbrock's function has its optimum at t = 1, that is at x_i = (1 + 10 x_1) / rate_i,
        which leaves the box [0, 10] for x_1 near 1 where the rate is near 1. There (LSMOP6 with
        three objectives and more, LSMOP7 with two and with four and more, LSMOP3 with many
        objectives) the published front cannot be reached; those positions are left out.
        """
        position = self._optimal_positions(n_pareto_points)
        target = np.zeros(self.n_var - self.n_obj + 1)
        for m, function in enumerate(self._group_functions()):
            if function is rosenbrock:
                target[self._ends[m] : self._ends[m + 1]] = 1.0
        distance = (target + 10.0 * position[:, :1]) / self._rate
        inside = np.all(distance <= 10.0 * (1.0 + 1e-12), axis=1)
        return np.column_stack([position, np.minimum(distance, 10.0)])[inside]


class _Spherical(LSMOP):
    linkage = "nonlinear"

    def _evaluate(self, x: np.ndarray, out: dict, *args: Any, **kwargs: Any) -> None:
        g = self._distances(x)
        radius = 1.0 + g
        radius[:, :-1] += g[:, 1:]
        angle = 0.5 * np.pi * x[:, : self.n_obj - 1]
        out["F"] = radius * spanning_products(np.cos(angle), np.sin(angle))

    def _calc_pareto_front(self, n_pareto_points: int = N_PARETO_POINTS) -> np.ndarray:
        return sphere_lattice(self.n_obj, n_pareto_points)


class LSMOP1(LSMOP):
    """Linear front; sphere in all groups."""


class LSMOP2(LSMOP):
    """Linear front; Griewank and Schwefel 2.21."""

    odd_function = staticmethod(griewank)
    even_function = staticmethod(schwefel)


class LSMOP3(LSMOP):
    """Linear front; Rastrigin and Rosenbrock."""

    odd_function = staticmethod(rastrigin)
    even_function = staticmethod(rosenbrock)


class LSMOP4(LSMOP):
    """Linear front; Ackley and Griewank."""

    odd_function = staticmethod(ackley)
    even_function = staticmethod(griewank)


class LSMOP5(_Spherical):
    """Spherical front; sphere in all groups."""


class LSMOP6(_Spherical):
    """Spherical front; Rosenbrock and Schwefel 2.21."""

    odd_function = staticmethod(rosenbrock)
    even_function = staticmethod(schwefel)


class LSMOP7(_Spherical):
    """Spherical front; Ackley and Rosenbrock."""

    odd_function = staticmethod(ackley)
    even_function = staticmethod(rosenbrock)


class LSMOP8(_Spherical):
    """Spherical front; Griewank and sphere."""

    odd_function = staticmethod(griewank)
    even_function = staticmethod(sphere)


class LSMOP9(LSMOP):
    """Disconnected front (that of DTLZ7); sphere and Ackley."""

    linkage = "nonlinear"
    odd_function = staticmethod(sphere)
    even_function = staticmethod(ackley)

    def _evaluate(self, x: np.ndarray, out: dict, *args: Any, **kwargs: Any) -> None:
        first = x[:, : self.n_obj - 1]
        g = 2.0 + self._distances(x).sum(axis=1)
        waves = np.sum(first / g[:, None] * (1.0 + np.sin(3.0 * np.pi * first)), axis=1)
        out["F"] = np.column_stack([first, g * (self.n_obj - waves)])

    def _optimal_positions(self, n_points: int) -> np.ndarray:
        return disconnected_positions(self.n_obj, n_points)

    def _calc_pareto_front(self, n_pareto_points: int = N_PARETO_POINTS) -> np.ndarray:
        return disconnected_front(self.n_obj, n_pareto_points)


def disconnected_positions(n_obj: int, n_points: int) -> np.ndarray:
    """Grid over f_1, ..., f_(M-1) `(n, n_obj - 1)` on the front of DTLZ7 and LSMOP9.

    There f_M = 2 M - sum f_i (1 + sin(3 pi f_i)) is a sum, so a point is non-dominated if and only
    if every single f_i is one whose term is greater than that of all smaller values.
    """
    pieces = record_lows(lambda f: -f * (1.0 + np.sin(3.0 * np.pi * f)), 0.0, 1.0)
    per_axis = max(2 * len(pieces), int(n_points ** (1.0 / (n_obj - 1)) + 1e-9))
    return product_grid([spread_over(pieces, per_axis)] * (n_obj - 1))


def disconnected_front(n_obj: int, n_points: int) -> np.ndarray:
    """Front of DTLZ7 and LSMOP9 `(n, n_obj)`, a grid over its 2^(n_obj - 1) pieces."""
    f = disconnected_positions(n_obj, n_points)
    last = 2.0 * n_obj - np.sum(f * (1.0 + np.sin(3.0 * np.pi * f)), axis=1)
    return np.column_stack([f, last])
