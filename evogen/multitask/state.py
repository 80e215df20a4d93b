"""What is known of one task while it is being solved."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from pymoo.core.population import Population
from pymoo.core.problem import Problem


@dataclass
class Points:
    """Evaluated points of one task, as arrays.

    Attributes:
        u: In the unified space, `(n, D)`.
        f: Objectives `(n, n_obj)`, finite: those of a point whose values are not are 1e30.
        g: Inequality constraints `(n, n_ieq)`.
        h: Equality constraints `(n, n_eq)`.
        cv: Constraint violations `(n,)`, 0 if feasible, infinite where values were not finite.
    """

    u: np.ndarray
    f: np.ndarray
    g: np.ndarray
    h: np.ndarray
    cv: np.ndarray

    def __len__(self) -> int:
        return len(self.u)

    def __getitem__(self, index: np.ndarray | slice) -> Points:
        return Points(self.u[index], self.f[index], self.g[index], self.h[index], self.cv[index])

    def finite(self) -> Points:
        """Those whose values were finite."""
        return self[np.isfinite(self.cv)]

    def give_to(self, pop: Population) -> None:
        """Hands as many pymoo individuals their values, which then count as evaluated."""
        for i, individual in enumerate(pop):
            individual.F, individual.G, individual.H = self.f[i], self.g[i], self.h[i]
            individual.evaluated = {"F", "G", "H"}
            if not np.isfinite(self.cv[i]):
                individual.data["nonfinite"] = True
                individual._CV = np.array([np.inf])

    @classmethod
    def merge(cls, first: Points, second: Points) -> Points:
        """The points of both, in this order."""
        pairs = zip(vars(first).values(), vars(second).values(), strict=True)
        return cls(*(np.concatenate(pair) for pair in pairs))


@dataclass
class TaskState:
    """One task of a run.

    Attributes:
        problem: The task.
        points: Its population, best first once the algorithm has ordered it.
        n_eval: Points evaluated so far.
        budget: Most evaluations of this task, or None.
        failure: Why the task was given up: what its evaluation raised; empty while it goes on.
        n_nonfinite: Points whose values were not finite.
    """

    problem: Problem
    points: Points | None = None
    n_eval: int = 0
    budget: int | None = None
    failure: str = ""
    n_nonfinite: int = field(default=0)

    @property
    def left(self) -> float:
        """Evaluations that this task may still have, from 0 to infinity."""
        if self.failure:
            return 0
        return np.inf if self.budget is None else max(0, self.budget - self.n_eval)

    def population(self, x: np.ndarray) -> Population:
        """The points as an ordinary pymoo population.

        Args:
            x: The same points in the units of the task, `(n, n_var)`.
        """
        assert self.points is not None
        pop = Population.new(X=x)
        self.points.give_to(pop)
        return pop
