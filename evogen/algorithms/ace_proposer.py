"""A generative model inside ACE's search, where a critic judges what it proposes."""

from __future__ import annotations

from typing import Any

import numpy as np

from evogen.algorithms.ace_search import differential, into_box, mutate
from evogen.operators import ModelSlot, TrainingData
from evogen.operators.slot import check_model, check_ready, require_width


class ModelProposer:
    """Candidates from a conditional model p(point | direction), among differential ones.

    For `ACE(propose=...)`. The model learns the points of ACE's directions given the directions'
    weights, an inverse model of the search as it is: what the critic believes in counts beside what
    was evaluated, so there are many examples for no evaluation. In every round of the search it is
    then asked for candidates of a random `share` of the directions; these are mutated as the
    others are. Where the model fails, differential variation makes all of them and the run goes on.

    Args:
        model: Anything with `fit(x, condition)` and `sample(n, condition)`; x and samples are
            points of the unit box `(n, d)`, the condition weights `(n, n_obj)` with sum 1.
        share: Share of the candidates that are the model's, in [0, 1].
        memory: It learns from the directions' points in so many of the latest rounds (>= 1).
        every: It is fitted, warm if it can be, at every so-manieth turn of the critic (>= 1).

    Attributes:
        slot: Holds the model; `slot.failures`, `slot.fit_seconds`, `slot.sample_seconds`.

    Raises:
        ValueError: An argument out of range.
        TypeError: A model that cannot fit or sample given a condition; a sample of another width.
    """

    def __init__(self, model: Any, *, share: float = 0.5, memory: int = 8, every: int = 1) -> None:
        check_model(model, conditional=True)
        check_ready(model)
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"share={share!r} must lie in [0, 1]")
        for name, value in (("memory", memory), ("every", every)):
            if value < 1:
                raise ValueError(f"{name}={value!r} must be at least 1")
        self.slot = ModelSlot(model)
        self.share = share
        self.memory = memory
        self.every = every
        self._turns = 0
        self._rounds: list[np.ndarray] = []

    def begin(self, u: np.ndarray, directions: np.ndarray, rng: np.random.Generator) -> None:
        """A turn of the critic begins: learn.

        Args:
            u: The directions' points `(k, d)`.
            directions: Their weights `(k, n_obj)`.
            rng: Source of randomness.
        """
        self._directions = directions
        if self._turns % self.every == 0:
            rounds = [*self._rounds, u][-self.memory :]
            condition = np.tile(directions, (len(rounds), 1))
            self.slot.fit(TrainingData(np.concatenate(rounds), condition), rng)
        self._turns += 1

    def __call__(
        self, u: np.ndarray, neighbors: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Candidates `(k, d)` in the place of `ace_search.differential`'s."""
        self._rounds = [*self._rounds, u.copy()][-self.memory :]
        child = differential(u, neighbors, rng)
        asked = np.flatnonzero(rng.random(len(u)) < self.share)
        if len(asked) == 0 or not self.slot.fitted:
            return child
        rows = self.slot.sample(len(asked), self._directions[asked], rng)
        if rows is None:
            return child
        require_width(self.slot.model, "sample", rows, len(asked), u.shape[1])
        self.slot.usable(rows, len(asked))  # keeps note of a sample that is short or not finite
        good = np.flatnonzero(np.isfinite(rows[: len(asked)]).all(axis=1))
        asked, rows = asked[good], rows[good]
        child[asked] = mutate(into_box(rows, u[asked], rng), rng)
        return child
