"""Evaluation that survives objectives and constraints which are not finite."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from pymoo.core.evaluator import Evaluator
from pymoo.core.population import Population

#: Stands for a value as long as no finite one was seen. Large, so that the ideal points which
#: algorithms keep for good (MOEA/D, NSGA-III) are set by real values later.
UNKNOWN_WORST = 1e10

#: Penalties stay below this, so that sums and differences of them do not overflow.
LARGEST_PENALTY = 1e150

#: Key of an individual's data under which the values put in its place are kept.
REPLACED = "nonfinite_replaced_by"


class BudgetSpent(Exception):
    """Evaluations were asked for that the budget does not hold; none of them was made.

    Attributes:
        n_new: How many.
    """

    def __init__(self, n_new: int) -> None:
        super().__init__(f"{n_new} evaluations are more than are left")
        self.n_new = n_new


class RunningRange:
    """Smallest and largest finite value seen so far, per column.

    Args:
        n_columns: Number of columns.
        low: Smallest value known beforehand (0 for violations), or None.
    """

    def __init__(self, n_columns: int, *, low: float | None = None) -> None:
        self.low = np.full(n_columns, np.inf if low is None else low)
        self.high = np.full(n_columns, -np.inf if low is None else low)

    def update(self, values: np.ndarray) -> bool:
        """Take finite `values` `(n, n_columns)`, n >= 1, into account; whether a range grew."""
        low, high = values.min(axis=0), values.max(axis=0)
        if (low >= self.low).all() and (high <= self.high).all():
            return False
        self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
        return True

    def penalty(self) -> np.ndarray:
        """Worse than everything seen: `high + (high - low)`, or `high + 1` for an empty range.

        `UNKNOWN_WORST` where nothing finite was seen; never above `LARGEST_PENALTY`.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            width = self.high - self.low
            worst = self.high + np.where(width > 0, width, 1.0)
        worst = np.where(np.isfinite(self.high), worst, UNKNOWN_WORST)
        return np.minimum(worst, LARGEST_PENALTY)


class GuardedEvaluator(Evaluator):
    """Wraps an evaluator; a row with a non-finite F, G or H becomes the worst point known.

    Such a row is counted, its X is remembered, and its values are replaced:

    - F: per objective, the worst finite value seen so far plus the range seen so far;
    - CV: likewise (the range starts at 0, so at least 1): the point counts as infeasible even
      where the problem has no constraints, hence it is never reported as an optimum;
    - G and H: non-finite entries likewise (H by its magnitude; their ranges include 0).

    When worse values are seen later, the points replaced before are made worse too, so that they
    never overtake a real one. Finite rows are not touched: on a problem without non-finite values
    a run is bit for bit the one with the wrapped evaluator. When already the first points have no
    finite row among them, there is a warning: most often the problem is at fault.

    Args:
        inner: The evaluator to wrap; pymoo's own by default.

    Attributes:
        nonfinite: The individuals replaced, in order of evaluation.
        n_max_evals: Never evaluate more than so many; None for any number.
    """

    #: Kept here; everything else is an attribute of the wrapped evaluator.
    OWN = ("inner", "nonfinite", "n_max_evals", "_ranges")

    def __init__(self, inner: Evaluator | None = None) -> None:
        # pymoo's constructor is not called: counters and settings live in the wrapped evaluator.
        self.inner = Evaluator() if inner is None else inner
        self.nonfinite: list[Any] = []
        self.n_max_evals: int | None = None
        self._ranges: dict[str, RunningRange] = {}

    def __getattr__(self, name: str) -> Any:
        if name == "inner" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        # Line searches switch `skip_already_evaluated` on whatever evaluator they are given.
        target = self if name in self.OWN else self.inner
        object.__setattr__(target, name, value)

    @property
    def n_nonfinite(self) -> int:
        """Number of rows replaced so far."""
        return len(self.nonfinite)

    def eval(self, problem: Any, pop: Any, *args: Any, **kwargs: Any) -> Any:
        """Evaluate and guard; see `pymoo.core.evaluator.Evaluator.eval`.

        Raises:
            BudgetSpent: It would be more than `n_max_evals`.
        """
        if self.n_max_evals is not None:
            asked = pop if isinstance(pop, Population) else Population.create(pop)
            skip = kwargs.get("skip_already_evaluated", args[0] if args else None)
            n_new = self.count_new(asked, skip)
            if self.inner.n_eval + n_new > self.n_max_evals:
                raise BudgetSpent(n_new)
        evaluated = self.inner.eval(problem, pop, *args, **kwargs)
        rows = evaluated if isinstance(evaluated, Population) else Population.create(evaluated)
        if len(rows):
            self._guard(problem, rows)
        return evaluated

    def count_new(self, pop: Any, skip: bool | None = None) -> int:
        """How many of the individuals would be evaluated, by pymoo's rules."""
        if not (self.inner.skip_already_evaluated if skip is None else skip):
            return len(pop)
        wanted = set(self.inner.evaluate_values_of)
        return sum(not wanted <= individual.evaluated for individual in pop)

    def _guard(self, problem: Any, rows: Population) -> None:
        names = ("F", "G", "H") if problem.has_constraints() else ("F",)
        values = {name: _matrix(rows.get(name), len(rows)) for name in names}
        bad = ~np.all([np.isfinite(v).all(axis=1) for v in values.values()], axis=0)
        untouched = ~bad
        if self.nonfinite:
            untouched &= ~np.array([is_replaced(row) for row in rows])
        if untouched.any():
            grown = self._observe(values, rows, untouched)
            for individual in filter(is_replaced, self.nonfinite if grown else ()):
                self._replace(individual)
        if bad.all() and not self._ranges:
            warnings.warn(_first_points_text(problem, values["F"]), stacklevel=2)
        if bad.any():
            self.nonfinite.extend(rows[bad])
            for individual in rows[bad]:
                self._replace(individual)

    def _observe(self, values: dict[str, np.ndarray], rows: Population, mask: np.ndarray) -> bool:
        """Widen the ranges by the rows that hold real values; whether a penalty has changed."""
        seen = {name: matrix[mask] for name, matrix in values.items()}
        if len(seen) > 1:
            seen["H"] = np.abs(seen["H"])
            # Finite rows only: pymoo computes the violation on first access and keeps it.
            seen["CV"] = _matrix(rows[mask].get("CV"), int(mask.sum()))
        grown = False
        for name, matrix in seen.items():
            if matrix.shape[1]:
                tracked = self._range(name, matrix.shape[1])
                grown = tracked.update(matrix) or grown
        return grown

    def _range(self, name: str, n_columns: int) -> RunningRange:
        if name not in self._ranges:
            self._ranges[name] = RunningRange(n_columns, low=None if name == "F" else 0.0)
        return self._ranges[name]

    def _replace(self, individual: Any) -> None:
        penalty = self._range("F", np.size(individual.F)).penalty()
        individual.F = individual.data[REPLACED] = penalty
        for name in ("G", "H"):
            value = np.asarray(getattr(individual, name), dtype=float)
            if value.size:
                worst = self._range(name, value.size).penalty()
                setattr(individual, name, np.where(np.isfinite(value), value, worst))
        individual.CV = self._range("CV", 1).penalty()


def is_replaced(individual: Any) -> bool:
    """Whether an individual's objectives stand in for values that were not finite."""
    # The very array that was put in: a later evaluation of the individual would put in another.
    return individual.data.get(REPLACED) is individual.F


def _first_points_text(problem: Any, f: np.ndarray) -> str:
    text = f"{problem.name()} gave no finite values for any of the first {len(f)} points"
    if np.isposinf(f).all():
        # What pymoo puts in when a problem sets nothing.
        text += "; all objectives are inf, as when _evaluate does not set out['F']"
    return text


def _matrix(values: Any, n_rows: int) -> np.ndarray:
    """Attribute of a population as `(n_rows, k)` floats; k = 0 where it is not set."""
    try:
        return np.asarray(values, dtype=float).reshape(n_rows, -1)
    except (TypeError, ValueError):
        # Rows of unequal length: some individuals lack the attribute.
        return np.empty((n_rows, 0))
