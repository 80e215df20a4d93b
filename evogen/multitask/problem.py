"""Several problems as one: each in its own units, all in one common space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pymoo.core.problem import Problem


class MultitaskProblem:
    """Tasks with real variables in boxes, and the unified space [0, 1]^D that they share.

    D is the largest number of variables; a task with fewer uses the first of them (Gupta et al.
    2016, "Multifactorial evolution"). A variable whose bounds coincide is 0 there.

    Args:
        tasks: pymoo problems, two at least, of any number of variables, objectives and
            constraints; or an object with such `tasks`, as `get_problem("cihs")` gives.

    Attributes:
        tasks: The problems.
        n_var: D.
        descriptors: `descriptors` of the object given, if it has any: what each task of a family is
            known by, `(n_tasks, k)`.

    Raises:
        TypeError: A task is no pymoo problem, or its variables are not all real.
        ValueError: No task or one, or bounds that are missing, infinite or reversed.
    """

    def __init__(self, tasks: Any) -> None:
        found = list(getattr(tasks, "tasks", tasks))
        if len(found) < 2:
            raise ValueError(f"tasks must be two problems at least; got {len(found)}")
        for number, task in enumerate(found):
            _check_task(number, task)
        self.tasks: list[Problem] = found
        self.n_var = max(task.n_var for task in found)
        self.descriptors: Any = getattr(tasks, "descriptors", None)

    def __len__(self) -> int:
        return len(self.tasks)

    def decode(self, number: int, u: np.ndarray) -> np.ndarray:
        """Points `(n, D)` of the unified space in the units of a task, `(n, n_var)`."""
        task = self.tasks[number]
        x = task.xl + u[:, : task.n_var] * (task.xu - task.xl)
        # Rounding must not leave the box.
        return np.clip(x, task.xl, task.xu)

    def encode(self, number: int, x: np.ndarray, *, rest: np.ndarray | None = None) -> np.ndarray:
        """Points `(n, n_var)` of a task in the unified space, `(n, D)`.

        Args:
            number: Of the task.
            x: The points.
            rest: What the variables that the task has not shall be, `(n, D)`; None for 0.5.
        """
        task = self.tasks[number]
        u = np.full((len(x), self.n_var), 0.5) if rest is None else rest.copy()
        width = task.xu - task.xl
        u[:, : task.n_var] = (x - task.xl) / np.where(width > 0, width, 1.0)
        return u

    def evaluate(self, number: int, x: np.ndarray) -> dict[str, np.ndarray]:
        """F, G and H of points `(n, n_var)` of a task."""
        task = self.tasks[number]
        values = task.evaluate(x, return_values_of=["F", "G", "H"], return_as_dictionary=True)
        return {key: np.asarray(values[key], dtype=float) for key in ("F", "G", "H")}


def _check_task(number: int, task: Any) -> None:
    if not isinstance(task, Problem):
        raise TypeError(f"task {number} must be a pymoo Problem; got {task!r}")
    name = f"task {number} ({task.name()})"
    real = task.vtype is None or (isinstance(task.vtype, type) and issubclass(task.vtype, float))
    if not real or getattr(task, "vars", None) is not None:
        raise TypeError(f"{name} must have real variables only")
    for bound in ("xl", "xu"):
        value = getattr(task, bound)
        if value is None or np.shape(value) != (task.n_var,) or not np.isfinite(value).all():
            raise ValueError(f"{name} must have {bound} with {task.n_var} finite bounds")
    if np.any(task.xl > task.xu):
        i = int(np.argmax(task.xl > task.xu))
        raise ValueError(f"{name} has reversed bounds: xl[{i}]={task.xl[i]} > xu[{i}]={task.xu[i]}")


def names_of(tasks: Sequence[Problem]) -> list[str]:
    """A different name for each task."""
    names = [task.name() for task in tasks]
    return [n if names.count(n) == 1 else f"{n} ({i})" for i, n in enumerate(names)]
