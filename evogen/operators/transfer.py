"""One task's solutions given another's: examples for operators that carry knowledge over."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from evogen.operators.examples import Examples, TrainingData
from evogen.operators.solutions import Solutions

PAIRINGS = ("objectives", "place")


class AcrossTasks(Examples):
    """Base class of examples that look at several tasks at once.

    Somebody, such as `evogen.algorithms.PACT` or `SideBySide`, must call `begin` before a run and
    hand over all tasks' solutions every generation (`receive`).
    """

    conditional = True

    #: Whether all tasks learn from the same rows, so that one model serves all of them.
    one_for_all = False

    def begin(self, tasks: Sequence[Any], descriptors: Any = None) -> None:
        """Look at the tasks before a run, and refuse those that cannot be served.

        Args:
            tasks: pymoo problems.
            descriptors: What each is known by, `(n_tasks, k)`, or None.
        """

    def receive(self, known: Sequence[Solutions | None], number: int) -> None:
        """Take all tasks' solutions of this generation.

        Args:
            known: In an order that stays the same for the run; None for a task that has none.
            number: Which of them is the task itself.
        """
        raise TypeError(f"{type(self).__name__} must define receive(known, number)")


class Transfer(AcrossTasks):
    """The map between tasks: this task's solutions given another task's.

    Every solution of this task is paired with one of each other task, which is the condition; the
    model is asked for what the other tasks' best solutions are here. With several other tasks the
    condition also says which one it is, so that one model serves all of them. Before others'
    solutions are handed over (`receive`) the task learns from itself.

    Args:
        pairing: `"objectives"`: with the solution whose objectives, each task's scaled to the range
            of its first front, are nearest; tasks with different numbers of objectives are paired
            by place. `"place"`: with the one of the same place from best to worst.
        lag: How many generations old the other tasks' solutions are that are learned from (>= 0).
            They are always asked for by today's, so with a lag the model is asked how their
            movement since then continues here; without, where they are.

    Raises:
        ValueError: An unknown pairing or a negative lag.
    """

    def __init__(self, pairing: str = "objectives", *, lag: int = 0) -> None:
        if pairing not in PAIRINGS:
            raise ValueError(f"pairing={pairing!r} must be one of {', '.join(PAIRINGS)}")
        if isinstance(lag, bool) or not isinstance(lag, (int, np.integer)) or lag < 0:
            raise ValueError(f"lag={lag!r} must be a whole number, at least 0")
        self.pairing = pairing
        self.lag = int(lag)
        self._received: deque[list[Solutions | None]] = deque(maxlen=self.lag + 1)

    def receive(self, known: Sequence[Solutions | None], number: int) -> None:
        """Take the other tasks' solutions of this generation; see `AcrossTasks.receive`."""
        self._received.append([*known[:number], *known[number + 1 :]])

    def training(self, solutions: Solutions) -> TrainingData:
        """This task's solutions, conditioned on the others', one block for each other task."""
        then = self._received[0] if self._received else [solutions]
        x, condition = [], []
        for number, other in enumerate(then):
            if other is None:
                continue
            partner = self._partners(solutions, other)
            x.append(solutions.u)
            condition.append(self._condition(other.u[partner], number, then))
        if not x:
            return TrainingData(solutions.u, self._condition(solutions.u, 0, [solutions]))
        return TrainingData(np.concatenate(x), condition=np.concatenate(condition))

    def ask(self, n: int, solutions: Solutions, random_state: np.random.Generator) -> np.ndarray:
        """First fronts of the others today, drawn with replacement `(n, c)`."""
        now = self._received[-1] if self._received else [solutions]
        present = [i for i, other in enumerate(now) if other is not None]
        if not present:
            now, present = [solutions], [0]
        chosen = random_state.integers(len(present), size=n)
        blocks = np.empty((n, self._width(now)))
        for number, index in enumerate(present):
            other = now[index]
            rows = np.flatnonzero(chosen == number)
            if other is None or len(rows) == 0:
                continue
            best = other.best[random_state.integers(len(other.best), size=len(rows))]
            blocks[rows] = self._condition(other.u[best], index, now)
        return blocks

    def _partners(self, solutions: Solutions, other: Solutions) -> np.ndarray:
        """For each row of `solutions` the row of `other` that it is paired with."""
        if self.pairing == "objectives" and solutions.f.shape[1] == other.f.shape[1]:
            here, there = solutions.normalized_objectives(), other.normalized_objectives()
            return np.asarray(cdist(here, there).argmin(axis=1))
        place = np.empty(len(solutions), dtype=int)
        place[solutions.order] = np.arange(len(solutions))
        return np.asarray(other.order[place % len(other)])

    @staticmethod
    def _width(others: Sequence[Solutions | None]) -> int:
        width = max(other.u.shape[1] for other in others if other is not None)
        return width + (len(others) if len(others) > 1 else 0)

    def _condition(
        self, u: np.ndarray, number: int, others: Sequence[Solutions | None]
    ) -> np.ndarray:
        """Rows `(n, d)` of a task as conditions: filled up to the widest, and which task it is."""
        width = self._width(others)
        condition = np.zeros((len(u), width))
        condition[:, : u.shape[1]] = u
        if len(others) > 1:
            condition[:, width - len(others) + number] = 1.0
        return condition
