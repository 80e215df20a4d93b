"""Several tasks, each with a pymoo algorithm of its own, whose operators may look across."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from pymoo.core.algorithm import Algorithm
from pymoo.core.population import Population
from pymoo.termination import get_termination

from evogen.algorithms.registry import get_algorithm
from evogen.multitask import MultitaskAlgorithm
from evogen.multitask.state import Points
from evogen.operators import AcrossTasks, GenerativeMating, Solutions, best_first

Build = Callable[[Any, int], Algorithm]


class SideBySide(MultitaskAlgorithm):
    """Every task with a pymoo algorithm of its own.

    Without more, the tasks do not know of each other: the base line of any multitask method, with
    any algorithm. A generative mating with `Transfer` or `Family` examples in it is handed all
    tasks' populations every generation:

        def nsga2(problem, pop_size):
            mating = GenerativeMating(GaussianMixture(), Transfer(), share="adaptive")
            return NSGA2(pop_size, mating=mating)

        minimize_multitask(tasks, SideBySide(nsga2), ("n_eval", 20_000), seed=1)

    Args:
        build: Makes the algorithm of a task: a registered name, or `(problem, pop_size) ->
            Algorithm`.
        pop_size: Size of every task's initial population.

    Attributes:
        algorithms: The tasks' algorithms; None for a task that was given up at once.

    Raises:
        TypeError: `build` is neither.
    """

    def __init__(self, build: str | Build = "nsga2", pop_size: int = 100) -> None:
        super().__init__(pop_size)
        if not isinstance(build, str) and not callable(build):
            raise TypeError(
                f"build={build!r} must be a name or a function (problem, pop_size) -> Algorithm"
            )
        self.build = build
        self.algorithms: list[Algorithm | None] = []

    def setup(self, tasks: Any, *args: Any, **kwargs: Any) -> MultitaskAlgorithm:
        """As `MultitaskAlgorithm.setup`; builds every task's algorithm once, to find errors."""
        super().setup(tasks, *args, **kwargs)
        for state in self.states:
            self._build(state.problem)
        self._made: list[Population] = []
        return self

    def _build(self, problem: Any) -> Algorithm:
        if isinstance(self.build, str):
            return get_algorithm(self.build, problem, pop_size=self.pop_size)
        made = self.build(problem, self.pop_size)
        if not isinstance(made, Algorithm):
            raise TypeError(f"build={self.build!r} returned {made!r}, which is no pymoo algorithm")
        assert self.problem is not None
        for examples in across(getattr(made, "mating", None)):
            examples.begin(self.problem.tasks, self.problem.descriptors)
        return made

    def prepare(self) -> None:
        """Start every task's algorithm from its initial population."""
        assert self.problem is not None
        self.algorithms = []
        for number, state in enumerate(self.states):
            if state.points is None:
                self.algorithms.append(None)
                continue
            algorithm = self._build(state.problem)
            share = self._most / len(self.states)
            limit = ("n_eval", share) if np.isfinite(share) else ("n_gen", np.inf)
            algorithm.setup(
                state.problem,
                termination=get_termination(*limit),
                seed=int(self.random_state.integers(2**31)),
            )
            pop = state.population(self.problem.decode(number, state.points.u))
            algorithm.initialization.sampling = pop
            infills = algorithm.ask()
            algorithm.evaluator.n_eval += len(infills)
            algorithm.tell(infills=infills)
            self.algorithms.append(algorithm)

    def vary(self) -> list[np.ndarray]:
        """What every task's algorithm asks for."""
        assert self.problem is not None
        known = [self._known(number) for number in range(len(self.states))]
        wanted, self._made = [], []
        for number in range(len(self.states)):
            algorithm = self.algorithms[number]
            made = Population.empty()
            if algorithm is not None and number in self.alive:
                for examples in across(getattr(algorithm, "mating", None)):
                    examples.receive(known, number)
                made = algorithm.ask()
            self._made.append(made)
            empty = np.empty((0, self.n_var))
            wanted.append(self.problem.encode(number, made.get("X")) if len(made) else empty)
        return wanted

    def survive(self, number: int, merged: Points, n: int) -> Points:
        """The population of the task's algorithm, best first."""
        assert self.problem is not None
        algorithm = self.algorithms[number] if self.algorithms else None
        made = self._made[number] if self._made else Population.empty()
        n_new = len(self._asked[number])
        if algorithm is None or n_new < len(made):
            # The initial population, or a last generation that the budget has cut.
            return merged[best_first(merged.f, merged.cv)[:n]]
        new = merged[slice(len(merged) - n_new, None)]
        new.give_to(made)
        algorithm.evaluator.n_eval += n_new
        algorithm.tell(infills=made)
        pop = algorithm.pop
        f, g, h = (np.asarray(pop.get(key), dtype=float) for key in ("F", "G", "H"))
        cv = np.asarray(pop.get("CV"), dtype=float).reshape(-1)
        points = Points(self.problem.encode(number, pop.get("X")), f, g, h, cv)
        return points[best_first(points.f, points.cv)]

    def _known(self, number: int) -> Solutions | None:
        """A task's population without points whose values are not finite."""
        state = self.states[number]
        if state.points is None:
            return None
        points = state.points.finite()
        u = points.u[:, : state.problem.n_var]
        return Solutions(u, points.f, points.cv) if len(points) >= 2 else None


def across(mating: Any) -> list[AcrossTasks]:
    """The examples of a mating, and of the matings behind it, that look at other tasks."""
    found = []
    while isinstance(mating, GenerativeMating):
        if isinstance(mating.examples, AcrossTasks):
            found.append(mating.examples)
        mating = mating.base
    return found
