"""What a model learns from and what it is asked for.

A generative operator is a conditional model p(x | c) and one of these choices:

=============  ==========================  =============================  ==================
examples       x (learned)                 c (condition)                  asked for
=============  ==========================  =============================  ==================
`Elites`       the better solutions        none                           more like them
`Inverse`      solutions                   their objective vectors        points on, between
                                                                          and beyond the front
`Improvement`  a better solution           a worse one near it            the next step from
                                                                          today's best
`Outcomes`     steps that survived         none                           more such steps
=============  ==========================  =============================  ==================
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evogen.operators.solutions import Solutions
from evogen.operators.survival import (
    domination,
    pairwise_distances,
    spea2_fitness,
    spea2_survivors,
)


@dataclass
class TrainingData:
    """Rows for `model.fit`.

    Attributes:
        x: What to learn `(n, n_dim)`.
        condition: What it depends on `(n, c)`, or None.
        negative: Rows that are known to be worse `(k, n_dim)`, or None; only models whose `fit`
            takes `negative` receive them.
    """

    x: np.ndarray
    condition: np.ndarray | None = None
    negative: np.ndarray | None = None


class Examples:
    """Base class: which solutions a model learns from, and which conditions it is asked for."""

    #: Whether the model is given conditions.
    conditional = False

    def training(self, solutions: Solutions) -> TrainingData:
        """Choose the rows to learn from.

        Args:
            solutions: Evaluated solutions, at least two.
        """
        raise TypeError(f"{type(self).__name__} must define training(solutions)")

    def ask(
        self, n: int, solutions: Solutions, random_state: np.random.Generator
    ) -> np.ndarray | None:
        """Conditions for n new points `(n, c)`, or None for an unconditional model."""
        return None

    def __repr__(self) -> str:
        public = {k: v for k, v in vars(self).items() if not k.startswith("_")}
        args = ", ".join(f"{k}={v!r}" for k, v in public.items())
        return f"{type(self).__name__}({args})"


def _fraction(name: str, value: float) -> float:
    if not 0.0 < value <= 1.0:
        raise ValueError(f"{name}={value!r} must lie in (0, 1]")
    return value


class Elites(Examples):
    """The better solutions, best first by rank and crowding.

    Args:
        fraction: Share of the solutions that counts as elite, in (0, 1]; at least two rows and
            at least all non-dominated ones are taken when `n` is None.
        n: Number of elites; overrides `fraction`.
        selection: `"crowding"` (rank, then crowding distance) or `"spea2"` (SPEA2's environmental
            selection, as GMOEA classifies; constrained problems use crowding).
        negatives: Hand the remaining solutions to the model as negative examples (GMOEA labels
            them "fake").

    Raises:
        ValueError: A fraction outside (0, 1], fewer than two elites, an unknown selection.
    """

    def __init__(
        self,
        fraction: float = 0.5,
        *,
        n: int | None = None,
        selection: str = "crowding",
        negatives: bool = False,
    ) -> None:
        self.fraction = _fraction("fraction", fraction)
        if n is not None and n < 2:
            raise ValueError(f"n={n!r} must be at least 2")
        if selection not in ("crowding", "spea2"):
            raise ValueError(f'selection={selection!r} must be "crowding" or "spea2"')
        self.n = n
        self.selection = selection
        self.negatives = negatives

    def training(self, solutions: Solutions) -> TrainingData:
        """Elites as x, the rest as negatives if asked for."""
        if self.n is None:
            n = max(2, len(solutions.best), round(self.fraction * len(solutions)))
        else:
            n = self.n
        order = self.select(solutions, min(n, len(solutions)))
        rest = np.setdiff1d(np.arange(len(solutions)), order)
        negative = solutions.u[rest] if self.negatives and len(rest) else None
        return TrainingData(solutions.u[order], negative=negative)

    def select(self, solutions: Solutions, n: int) -> np.ndarray:
        """Row numbers of the n elites; a subclass may bring its own selection."""
        if self.selection == "crowding" or (solutions.cv > 0).any():
            return solutions.order[:n]
        dominates, distances = domination(solutions.f), pairwise_distances(solutions.f)
        fitness = spea2_fitness(dominates, distances)[0]
        return spea2_survivors(dominates, distances, fitness, n)


class Inverse(Examples):
    """The inverse map: solutions given their objective vectors.

    Conditions are objectives scaled to the first front's range. The model is asked for vectors
    between random pairs of first-front points and beyond them (`widen`), pushed a little towards
    the ideal point (`advance`): the places where the front is thin, ends, or can still move.

    Args:
        fraction: Share of the solutions learned from, best first, in (0, 1].
        widen: How far beyond a pair's ends a target may lie, as a share of their distance (>= 0).
        advance: Greatest step towards the ideal point, as a share of the front's range (>= 0).
    """

    conditional = True

    def __init__(self, fraction: float = 1.0, *, widen: float = 0.25, advance: float = 0.1) -> None:
        self.fraction = _fraction("fraction", fraction)
        for name, value in (("widen", widen), ("advance", advance)):
            if value < 0:
                raise ValueError(f"{name}={value!r} must not be negative")
        self.widen = widen
        self.advance = advance

    def training(self, solutions: Solutions) -> TrainingData:
        """The best `fraction` of rows, conditioned on their scaled objectives."""
        n = max(2, len(solutions.best), round(self.fraction * len(solutions)))
        keep = solutions.order[:n]
        return TrainingData(solutions.u[keep], condition=solutions.normalized_objectives()[keep])

    def ask(self, n: int, solutions: Solutions, random_state: np.random.Generator) -> np.ndarray:
        """Objective targets between and beyond pairs of first-front points `(n, n_obj)`."""
        front = solutions.normalized_objectives()[solutions.best]
        a = front[random_state.integers(len(front), size=n)]
        b = front[random_state.integers(len(front), size=n)]
        t = random_state.uniform(-self.widen, 1.0 + self.widen, size=(n, 1))
        step = random_state.uniform(0.0, self.advance, size=(n, 1))
        return np.asarray(a + t * (b - a) - step)


class Improvement(Examples):
    """Steps from worse to better: a better solution given a worse one near it.

    Each dominated solution is paired with the solution of a better rank that is closest to it in
    objective *direction* (measured from the ideal point). Asked for the next step from today's
    first front.

    Args:
        n_better: How many better partners each worse solution gets (>= 1).
    """

    conditional = True

    def __init__(self, n_better: int = 1) -> None:
        if n_better < 1:
            raise ValueError(f"n_better={n_better!r} must be at least 1")
        self.n_better = n_better

    def training(self, solutions: Solutions) -> TrainingData:
        """Pairs (better, given worse); a population of one front pairs with itself."""
        g = np.maximum(solutions.normalized_objectives(), 0.0) + 1e-9
        direction = g / np.linalg.norm(g, axis=1, keepdims=True)
        cosine = direction @ direction.T
        better = solutions.rank[None, :] < solutions.rank[:, None]
        worse = np.flatnonzero(better.any(axis=1))
        if len(worse) == 0:
            # Nothing is dominated: the only honest lesson is "stay where you are".
            best = solutions.best
            return TrainingData(solutions.u[best], condition=solutions.u[best])
        score = np.where(better, cosine, -np.inf)[worse]
        k = min(self.n_better, score.shape[1])
        partners = np.argsort(-score, axis=1, kind="stable")[:, :k]
        valid = np.isfinite(np.take_along_axis(score, partners, axis=1))
        rows = np.repeat(worse, k).reshape(-1, k)[valid]
        return TrainingData(solutions.u[partners[valid]], condition=solutions.u[rows])

    def ask(self, n: int, solutions: Solutions, random_state: np.random.Generator) -> np.ndarray:
        """Today's first front, drawn with replacement `(n, n_dim)`."""
        best = solutions.best
        return solutions.u[best[random_state.integers(len(best), size=n)]]


class Outcomes(Examples):
    """Steps from parents to offspring, labelled by what became of them.

    Every generation labels its steps for free: offspring that survived are what to learn, those
    that did not are negative examples. An operator that knows its parents, such as `StepMating`,
    reports them to `observe`; until enough survived, the differences between the better and the
    worse half of the solutions stand in.

    Args:
        n_kept: How many of the latest steps of each kind are remembered (>= 2).
        n_least: With fewer survivors than this the differences stand in (>= 2).

    Raises:
        ValueError: A number out of range.
    """

    def __init__(self, n_kept: int = 300, *, n_least: int = 40) -> None:
        if not 2 <= n_least <= n_kept:
            raise ValueError(f"n_least={n_least!r} must lie in [2, n_kept={n_kept!r}]")
        self.n_kept = n_kept
        self.n_least = n_least
        self._steps: dict[bool, np.ndarray] = {}

    def observe(self, steps: np.ndarray, survived: np.ndarray) -> None:
        """Remember steps `(n, n_dim)` and whether each survived `(n,)`."""
        for label in (True, False):
            new = steps[survived == label]
            before = self._steps.get(label, new[:0])
            self._steps[label] = np.concatenate([before, new])[-self.n_kept :]

    def training(self, solutions: Solutions) -> TrainingData:
        """Steps that survived as x, those that failed as negatives."""
        good = self._steps.get(True)
        if good is None or len(good) < self.n_least:
            half = len(solutions) // 2
            order = solutions.order
            return TrainingData(solutions.u[order[:half]] - solutions.u[order[-half:]])
        bad = self._steps[False]
        return TrainingData(good, negative=bad if len(bad) else None)
