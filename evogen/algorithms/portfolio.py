"""Ways of making offspring in the unified space, alone or with another task's solutions.

Each takes a `View` and a number n and returns n points `(n, D)` of the unit box; `PACT` chooses
among them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from evogen.algorithms.mfea import polynomial_mutation, sbx

ETA_CROSSOVER, ETA_MUTATION = 20.0, 15.0
CR = 0.6
"""Binomial crossover's probability per variable, as in EMT-GS."""


@dataclass
class View:
    """What an operator sees of a task.

    Attributes:
        own: Its population, best first, `(m, D)`.
        before: Its population of the generation before, `(k, D)`.
        other: Another task's population, best first, `(l, D)`; None for operators of one task.
        n_var: How many variables the task has.
        rng: Source of random numbers.
    """

    own: np.ndarray
    before: np.ndarray
    other: np.ndarray | None
    n_var: int
    rng: np.random.Generator

    def winners(self, population: np.ndarray, n: int) -> np.ndarray:
        """n rows, each the better of two random ones."""
        return population[self.rng.integers(len(population), size=(2, n)).min(axis=0)]

    def some(self, n: int) -> np.ndarray:
        """Row numbers of the own population, each as often as any other."""
        rows = self.rng.permutation(len(self.own))
        return np.resize(rows, n)

    def leaders(self, n: int) -> np.ndarray:
        """n rows: the best, or as often a random one."""
        rows = self.rng.integers(len(self.own), size=n)
        return self.own[np.where(self.rng.random(n) < 0.5, rows, 0)]

    def inertia(self, n: int) -> np.ndarray:
        """n random rows of the generation before."""
        return self.before[self.rng.integers(len(self.before), size=n)]

    def mutated(self, u: np.ndarray) -> np.ndarray:
        """Polynomial mutation of one variable on average."""
        return polynomial_mutation(u, ETA_MUTATION, 1 / self.n_var, self.rng)

    def factors(self, n: int) -> np.ndarray:
        """Factors F of differential evolution `(n, 1)`, normal around 0.5 within [0, 1]."""
        return np.clip(self.rng.normal(0.5, 0.2, size=(n, 1)), 0.0, 1.0)

    def binomial(self, v: np.ndarray, base: np.ndarray) -> np.ndarray:
        """Binomial crossover of v with base; one variable of v at least; clipped."""
        taken = self.rng.random(v.shape) < CR
        taken[np.arange(len(v)), self.rng.integers(v.shape[1], size=len(v))] = True
        return np.clip(np.where(taken, v, base), 0.0, 1.0)


Operator = Callable[[View, int], np.ndarray]


def crossover(view: View, n: int) -> np.ndarray:
    """SBX of two tournament winners, then polynomial mutation: NSGA-II's."""
    a, b = view.winners(view.own, n), view.winners(view.own, n)
    return view.mutated(sbx(a, b, ETA_CROSSOVER, view.rng)[0])


def inertial(view: View, n: int) -> np.ndarray:
    """EMT-GS's inertial differential evolution within a task."""
    parents = view.own[view.some(n)]
    return view.binomial(view.leaders(n) + view.factors(n) * (parents - view.inertia(n)), parents)


def _other(view: View) -> np.ndarray:
    assert view.other is not None
    return view.other


def towards(view: View, n: int) -> np.ndarray:
    """EMT-GS's step with the other task's individual, as it is, in the place of a parent's."""
    other, leaders = _other(view), view.leaders(n)
    carried = other[view.some(n) % len(other)]
    return view.binomial(leaders + view.factors(n) * (carried - view.inertia(n)), leaders)


def mixed(view: View, n: int) -> np.ndarray:
    """SBX of an own with another task's tournament winner, then mutation: MO-MFEA's."""
    a, b = view.winners(view.own, n), view.winners(_other(view), n)
    return view.mutated(sbx(a, b, ETA_CROSSOVER, view.rng)[0])


def exchange(view: View, n: int) -> np.ndarray:
    """An own winner with a random share of the variables of another task's."""
    a, b = view.winners(view.own, n), view.winners(_other(view), n)
    return np.where(view.rng.random(a.shape) < view.rng.random((n, 1)), b, a)


def whole(view: View, n: int) -> np.ndarray:
    """Another task's tournament winner, mutated."""
    return view.mutated(view.winners(_other(view), n))


OPERATORS: dict[str, Operator] = {"crossover": crossover, "inertial": inertial}
"""Within one task."""

TRANSFERS: dict[str, Operator] = {
    "towards": towards, "mixed": mixed, "exchange": exchange, "whole": whole,
}  # fmt: skip
"""With another task's solutions."""
