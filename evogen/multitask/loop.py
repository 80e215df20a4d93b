"""The loop that all multitask algorithms share: ask, evaluate, tell, budgets, failures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from pymoo.core.individual import Individual
from pymoo.termination import get_termination

from evogen.multitask.problem import MultitaskProblem
from evogen.multitask.state import Points, TaskState

FAR = 1e30
"""Objective value of a point whose values were not finite."""

Values = dict[str, np.ndarray]


class MultitaskAlgorithm(ABC):
    """Solves several tasks together, one population each, in the unified space.

    A subclass says in `vary` what is tried next and in `survive` which points stay. It never meets
    units, budgets, failing tasks or terminations.

    Args:
        pop_size: Size of every task's population, >= 4.

    Attributes:
        problem: The tasks; None before `setup`.
        states: What is known of each task.
        n_gen: Generations so far, the initial populations being the first.
        n_eval: Evaluations so far, of all tasks.
        termination: pymoo's object that ends the run.
        random_state: Source of all random numbers.
    """

    def __init__(self, pop_size: int = 100) -> None:
        if isinstance(pop_size, bool) or not isinstance(pop_size, (int, np.integer)):
            raise TypeError(f"pop_size={pop_size!r} must be a whole number")
        if pop_size < 4:
            raise ValueError(f"pop_size={pop_size} must be at least 4")
        self.pop_size = int(pop_size)
        self.problem: MultitaskProblem | None = None

    # What an algorithm provides.

    @abstractmethod
    def vary(self) -> list[np.ndarray]:
        """What is tried next: for every task points `(n, D)` of the unified space, any number."""

    @abstractmethod
    def survive(self, number: int, merged: Points, n: int) -> Points:
        """The n points of a task that stay, best first, of those before and the new ones."""

    def prepare(self) -> None:  # noqa: B027 (not every algorithm has something to prepare)
        """Called once, when the initial populations are evaluated and ordered."""

    # What a user calls.

    def setup(
        self,
        tasks: Any,
        termination: Any = ("n_eval", 20_000),
        *,
        seed: int | None = None,
        budgets: Sequence[int | None] | None = None,
    ) -> MultitaskAlgorithm:
        """Gets ready for a run.

        Args:
            tasks: Problems, or a `MultitaskProblem`.
            termination: As for `evogen.minimize`; evaluations are those of all tasks together and
                are never exceeded.
            seed: Decides the run.
            budgets: For every task the most evaluations of its own, or None; a task that has used
                them up keeps its population, from which others may still learn.

        Returns:
            self.

        Raises:
            TypeError: As `MultitaskProblem`.
            ValueError: As `MultitaskProblem`; a budget smaller than the populations; as many
                budgets as tasks are needed.
        """
        self.problem = tasks if isinstance(tasks, MultitaskProblem) else MultitaskProblem(tasks)
        given = [None] * len(self.problem) if budgets is None else list(budgets)
        if len(given) != len(self.problem):
            raise ValueError(f"budgets must be {len(self.problem)} numbers; got {len(given)}")
        for number, budget in enumerate(given):
            if budget is not None and budget < self.pop_size:
                raise ValueError(
                    f"the budget of task {number}, {budget} evaluations, is smaller than its "
                    f"population, {self.pop_size}"
                )
        self.states = [
            TaskState(task, budget=budget)
            for task, budget in zip(self.problem.tasks, given, strict=True)
        ]
        self.termination = (
            get_termination(*termination)
            if isinstance(termination, (tuple, list))
            else get_termination(termination)
            if isinstance(termination, str)
            else termination
        )
        self._most = getattr(self.termination, "n_max_evals", np.inf)
        if self._most < self.pop_size * len(self.problem):
            raise ValueError(
                f"the budget of {self._most} evaluations is smaller than the initial populations, "
                f"{len(self.problem)} times {self.pop_size}"
            )
        self.random_state = np.random.default_rng(seed)
        self.n_gen = self.n_eval = 0
        self._asked: list[np.ndarray] = []
        return self

    def has_next(self) -> bool:
        """Whether the run goes on: not terminated, and a task is left that has evaluations."""
        if self.problem is None:
            raise RuntimeError("call setup(tasks) first")
        alive = any(state.left > 0 for state in self.states)
        return alive and not self.termination.has_terminated()

    def ask(self) -> list[np.ndarray]:
        """Points to be evaluated next: for every task `(n, n_var)` in its own units, n >= 0."""
        assert self.problem is not None
        if self.n_gen == 0:
            shape = (self.pop_size, self.n_var)
            wanted = [self.random_state.random(shape) for _ in self.states]
        else:
            wanted = self.vary()
        self._asked = self._affordable(wanted)
        return [self.problem.decode(i, u) for i, u in enumerate(self._asked)]

    def tell(self, values: Sequence[Values | BaseException | None]) -> None:
        """Takes the values of the points asked for.

        Args:
            values: For every task "F", and "G" and "H" if it has constraints, as arrays; or what
                its evaluation raised, and the task is given up; None where nothing was asked.
        """
        first = self.n_gen == 0
        for number, (state, u, found) in enumerate(
            zip(self.states, self._asked, values, strict=True)
        ):
            if isinstance(found, BaseException):
                state.failure = f"{type(found).__name__}: {found}"
            elif len(u) > 0 and found is not None:
                new = self._points(state, u, found)
                state.n_eval += len(u)
                self.n_eval += len(u)
                old = state.points
                merged = new if old is None else Points.merge(old, new)
                state.points = self.survive(number, merged, min(self.pop_size, len(merged)))
        self.n_gen += 1
        self._asked = []
        if first and any(state.points is not None for state in self.states):
            self.prepare()
        self._update_termination()

    @property
    def alive(self) -> list[int]:
        """Numbers of the tasks that have a population and evaluations left."""
        return [i for i, s in enumerate(self.states) if s.points is not None and s.left > 0]

    @property
    def populations(self) -> dict[int, np.ndarray]:
        """For the number of every task that has a population its points `(n, D)`, unified."""
        return {i: s.points.u for i, s in enumerate(self.states) if s.points is not None}

    @property
    def n_var(self) -> int:
        """Dimension D of the unified space."""
        assert self.problem is not None
        return self.problem.n_var

    # Details.

    def _affordable(self, wanted: list[np.ndarray]) -> list[np.ndarray]:
        """As many of the points as budgets allow; the last generation is shared evenly."""
        sizes = [int(min(len(u), s.left)) for u, s in zip(wanted, self.states, strict=True)]
        left = self._most - self.n_eval
        while sum(sizes) > left:
            sizes[int(np.argmax(sizes))] -= 1
        return [u[:size] for u, size in zip(wanted, sizes, strict=True)]

    def _points(self, state: TaskState, u: np.ndarray, found: Values) -> Points:
        n, problem = len(u), state.problem
        f = np.asarray(found["F"], dtype=float).reshape(n, problem.n_obj)
        g, h = (
            np.asarray(found.get(key, np.zeros((n, 0))), dtype=float).reshape(n, size)
            for key, size in (("G", problem.n_ieq_constr), ("H", problem.n_eq_constr))
        )
        finite = np.isfinite(f).all(axis=1) & np.isfinite(g).all(axis=1) & np.isfinite(h).all(1)
        state.n_nonfinite += int((~finite).sum())
        config = Individual.default_config()
        cv = np.maximum(g - config["cv_ieq"]["eps"], 0.0).sum(axis=1)
        cv = cv + np.maximum(np.abs(h) - config["cv_eq"]["eps"], 0.0).sum(axis=1)
        f = np.where(finite[:, None], f, FAR)
        return Points(u, f, g, h, np.where(finite, cv, np.inf))

    def _update_termination(self) -> None:
        # What pymoo's terminations read of an algorithm.
        view = SimpleNamespace(
            evaluator=SimpleNamespace(n_eval=self.n_eval), n_gen=self.n_gen, n_iter=self.n_gen
        )
        self.termination.update(view)
