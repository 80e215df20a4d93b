"""Every point that a run has evaluated, kept as arrays."""

from __future__ import annotations

import copy
from functools import cached_property
from typing import Any

import numpy as np
from pymoo.core.evaluator import Evaluator
from pymoo.core.population import Population

from evogen.operators import constraint_violation

#: What is kept of each point.
NAMES = ("X", "F", "G", "H")

#: Batches that are kept as they came before some are joined.
MAX_SINGLE = 64


class Evaluations:
    """Evaluated points of a run, in order of evaluation; rows with non-finite values are left out.

    Attributes:
        X: Decision variables `(n, n_var)`, or `(n,)` dictionaries for mixed variables.
        F: Objectives `(n, n_obj)`.
        G: Inequality constraints `(n, n_ieq_constr)`.
        H: Equality constraints `(n, n_eq_constr)`.
    """

    def __init__(self, X: Any, F: Any, G: Any = None, H: Any = None) -> None:
        self.X = np.asarray(X)
        self.F = np.asarray(F, dtype=float)
        n = len(self.F)
        self.G = np.empty((n, 0)) if G is None else np.asarray(G, dtype=float)
        self.H = np.empty((n, 0)) if H is None else np.asarray(H, dtype=float)

    def __len__(self) -> int:
        return len(self.F)

    def __repr__(self) -> str:
        return f"Evaluations({len(self)} points, X {self.X.shape}, F {self.F.shape})"

    @cached_property
    def CV(self) -> np.ndarray:
        """Constraint violations `(n,)` by pymoo's rules; 0 is feasible."""
        return constraint_violation(self.G, self.H)


class RecordingEvaluator(Evaluator):
    """Wraps an evaluator and keeps what it evaluates; the run itself does not change.

    Args:
        inner: The evaluator to wrap.
    """

    def __init__(self, inner: Evaluator) -> None:
        # pymoo's constructor is not called: counters and settings live in the wrapped evaluator.
        self.inner = inner
        self.chunks: list[dict[str, np.ndarray]] = []

    def __getattr__(self, name: str) -> Any:
        if name == "inner" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        target = self if name in ("inner", "chunks") else self.inner
        object.__setattr__(target, name, value)

    def __deepcopy__(self, memo: dict[int, Any]) -> RecordingEvaluator:
        # The arrays never change: `save_history` copies the algorithm every generation, and a
        # copy of all points each time would grow with the square of the run.
        clone = RecordingEvaluator(copy.deepcopy(self.inner, memo))
        clone.chunks = list(self.chunks)
        memo[id(self)] = clone
        return clone

    def eval(self, problem: Any, pop: Any, *args: Any, **kwargs: Any) -> Any:
        """Evaluate and keep; see `pymoo.core.evaluator.Evaluator.eval`."""
        given = pop if isinstance(pop, Population) else Population.create(pop)
        before = ["F" in individual.evaluated for individual in given]
        skip = kwargs.get("skip_already_evaluated", args[0] if args else None)
        skip = self.inner.skip_already_evaluated if skip is None else skip
        evaluated = self.inner.eval(problem, pop, *args, **kwargs)
        fresh = [
            i
            for i, individual in enumerate(given)
            if "F" in individual.evaluated and not (skip and before[i])
        ]
        if fresh:
            self._keep(given[fresh], problem)
        return evaluated

    def _keep(self, rows: Population, problem: Any) -> None:
        n = len(rows)
        chunk = {"X": np.array(rows.get("X"))}
        for name in NAMES[1:] if problem.has_constraints() else NAMES[1:2]:
            chunk[name] = np.array(rows.get(name), dtype=float).reshape(n, -1)
        finite = np.all([np.isfinite(v).all(axis=1) for k, v in chunk.items() if k != "X"], axis=0)
        if not finite.any():
            return
        self.chunks.append({name: values[finite] for name, values in chunk.items()})
        # Where points come one by one they are joined as in a binary counter: few arrays, each
        # point copied a few times only. Joined ones are new, so that copies stay as they were.
        chunks = self.chunks
        while len(chunks) > MAX_SINGLE and len(chunks[-1]["F"]) >= len(chunks[-2]["F"]):
            last, before = chunks.pop(), chunks.pop()
            chunks.append({n: np.concatenate([before[n], last[n]]) for n in before})

    def since(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """X and F of all points but the first n."""
        parts: dict[str, list[np.ndarray]] = {"X": [], "F": []}
        start = 0
        for chunk in self.chunks:
            for name, found in parts.items():
                found.append(chunk[name][max(0, n - start) :])
            start += len(chunk["F"])
        x, f = (np.concatenate(found) if found else np.empty((0, 0)) for found in parts.values())
        return x, f

    def evaluations(self) -> Evaluations | None:
        """All points so far; None before the first."""
        if not self.chunks:
            return None
        arrays = {
            name: np.concatenate([c[name] for c in self.chunks])
            for name in NAMES
            if name in self.chunks[0]
        }
        return Evaluations(**arrays)
