"""Families of tasks: one problem at several values of a parameter, solved together.

`df1-family` to `df9-family` are the problems of two objectives of the dynamic suite DF (S. Jiang,
S. Yang, X. Yao, K. C. Tan, M. Kaiser, N. Krasnogor, "Benchmark problems for CEC2018 competition on
dynamic multiobjective optimisation", 2018), as pymoo defines them, held at ten moments: a task is
the problem at a time t, and t is its descriptor. The Pareto set moves with t: all variables alike
(DF1, 3, 5, 6), along a curve whose shape changes (DF4, 7, 8, 9), or by another variable taking over
(DF2), which no smooth model of t can follow.

Twins move all tasks alike. A folded one has Pareto sets of many branches; that of `fold="bent"`
keeps a set that is a smooth function of t one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import moocore
import numpy as np
from pymoo.problems.dynamic import df

from .base import N_PARETO_POINTS, AnalyticProblem, check_integer
from .mtmo import TaskSet
from .shifted import TWIN, Fold, shifted

NUMBERS = range(1, 10)
NAMES = tuple(f"df{i}-family" for i in NUMBERS)


class DFTask(AnalyticProblem):
    """A problem of the DF suite at one moment.

    Args:
        number: Of the problem, 1 to 9.
        time: The moment t.
        n_var: Number of variables.
        label: The task's name.

    Attributes:
        number: Of the problem.
        time: The moment.
    """

    def __init__(self, number: int, time: float, n_var: int, label: str) -> None:
        self._moment = getattr(df, f"DF{number}")(n_var=n_var, time=time)
        xl, xu = (np.array(bound, dtype=float) for bound in self._moment.bounds())
        super().__init__(n_var=n_var, n_obj=2, xl=xl, xu=xu, vtype=float)
        self.number = number
        self.time = time
        self.label = label

    def name(self) -> str:
        """The task's name."""
        return self.label

    def _evaluate(self, x: np.ndarray, out: dict, *args: Any, **kwargs: Any) -> None:
        self._moment._evaluate(x, out)

    def _calc_pareto_front(self, n_pareto_points: int = N_PARETO_POINTS) -> np.ndarray:
        """Evenly spaced in the first variable; fewer points where parts are dominated (DF9)."""
        if self.number == 4:
            f = self._df4_front(n_pareto_points)
        else:
            f = np.asarray(self._moment._calc_pareto_front(n_pareto_points=n_pareto_points))
        return f[moocore.is_nondominated(np.ascontiguousarray(f))]

    def _df4_front(self, n_pareto_points: int) -> np.ndarray:
        """DF4's set is x1 in [a, a + b], of which the box holds what is not beyond 2.

        pymoo's front, like the report's, goes on to a + b.
        """
        a = np.sin(0.5 * np.pi * self.time)
        b = 1.0 + abs(np.cos(0.5 * np.pi * self.time))
        x = np.linspace(a, min(a + b, 2.0), n_pareto_points)
        return np.column_stack([np.abs(x - a), np.abs(x - a - b)]) ** (1.5 + a)

    def _calc_pareto_set(self, n_pareto_points: int = N_PARETO_POINTS) -> None:
        """Not known here."""


def factory(number: int) -> Callable[..., TaskSet]:
    """A function that makes the family of a problem, 1 to 9, for the registry."""
    name = NAMES[number - 1]

    def family(
        n_tasks: int = 10,
        n_var: int = 10,
        twin_seed: int | None = None,
        fold: Fold | None = None,
    ) -> TaskSet:
        if fold is not None and twin_seed is None:
            raise ValueError(f"fold={fold!r} is for the twin, {name}{TWIN}")
        n_tasks, n_var = check_integer("n_tasks", n_tasks, 2), check_integer("n_var", n_var, 2)
        times = np.arange(n_tasks) / n_tasks
        tasks: list[Any] = [
            DFTask(number, float(t), n_var, f"{name}-t{i}") for i, t in enumerate(times, start=1)
        ]
        label = name
        if twin_seed is not None:
            # One map for all tasks: what they have in common must stay.
            tasks, label = (
                [shifted(task, seed=twin_seed, fold=fold or "smooth") for task in tasks],
                f"{name}{TWIN}",
            )
        return TaskSet(label, tuple(tasks), descriptors=times[:, None])

    return family
