"""EMT-ET: what helped the other task before tells what to send it next."""

from __future__ import annotations

import numpy as np

from evogen.algorithms.mfea import RankedMultitask, polynomial_mutation, sbx, winners
from evogen.multitask.state import Points
from evogen.operators import best_first, constrained_rank

HOME = -1
"""Origin of a point that was not sent by another task in the latest generation."""


class EMTET(RankedMultitask):
    """Transfer to a task from the surroundings of what it could use (Lin et al. 2021).

    J. Lin, H.-L. Liu, K. C. Tan, F. Gu, "An effective knowledge transfer approach for
    multiobjective multitasking optimization", IEEE Trans. Cybern. 51(6):3238-3248.

    In every generation a task receives `n_transfer` solutions of others. Where some of the last
    ones are on its first front now, these are the nearest neighbours that each of those has in the
    task it came from; otherwise random ones of random tasks. With probability `p_disturb` a
    solution is multiplied by a random number from [0, 2], and clipped. They join the population as
    first-rate parents of the offspring, as many as are left of a generation.

    The scaling pulls towards the lower corner of the box, so a Pareto set there is found at once:
    the second task of PIMS is.

    Two public codes differ. As in MToP all solutions have the D variables of the unified space,
    and mutation has probability 1 / D; DDMTOLab cuts and fills up with random numbers and mutates
    with probability 1 / n_var. As in DDMTOLab only what was sent counts as transferred, not its
    children, which in MToP inherit the mark of their first parent: the paper's abstract speaks of
    the sent solutions. Both go from task to task, so that the second one may already receive the
    first one's newest; here all tasks take this step at once.

    Args:
        pop_size: Size of every task's population.
        n_transfer: How many solutions a task receives in each generation, from 1 to `pop_size`-1.
        p_disturb: Probability that one of them is scaled, in [0, 1].
        eta_crossover: Distribution index of SBX.
        eta_mutation: Distribution index of polynomial mutation, which has probability 1 / D.

    Attributes:
        origins: For every task, of each point of its population the task that sent it in the
            latest generation, or -1; `(n,)`.
        leading: For every task whether its points are on its first front, `(n,)`.
    """

    def __init__(
        self,
        pop_size: int = 100,
        *,
        n_transfer: int = 8,
        p_disturb: float = 0.5,
        eta_crossover: float = 20.0,
        eta_mutation: float = 15.0,
    ) -> None:
        super().__init__(pop_size)
        if not 1 <= n_transfer < pop_size:
            raise ValueError(
                f"n_transfer={n_transfer!r} must be at least 1 and less than pop_size={pop_size}"
            )
        if not 0 <= p_disturb <= 1:
            raise ValueError(f"p_disturb={p_disturb!r} must lie in [0, 1]")
        self.n_transfer, self.p_disturb = n_transfer, p_disturb
        self.eta_crossover, self.eta_mutation = eta_crossover, eta_mutation
        self.origins: dict[int, np.ndarray] = {}
        self.leading: dict[int, np.ndarray] = {}
        self._sent: dict[int, np.ndarray] = {}

    def survive(self, number: int, merged: Points, n: int) -> Points:
        """The n points of a task that stay, best first, and where they came from."""
        rank = constrained_rank(merged.f, merged.cv)
        order = best_first(merged.f, merged.cv, rank=rank)[:n]
        origins = np.full(len(merged), HOME)
        old = self.states[number].points
        if old is not None:
            # Where the budget ended, fewer were evaluated than sent.
            n_old = len(old)
            sent = self._sent[number][: len(merged) - n_old]
            origins[n_old : n_old + len(sent)] = sent
        self.origins[number] = origins[order]
        self.leading[number] = rank[order] == 0
        return merged[order]

    def vary(self) -> list[np.ndarray]:
        """For every task that goes on what it receives, then its offspring."""
        rng, u, d = self.random_state, self.populations, self.n_var
        made = [np.empty((0, d)) for _ in self.states]
        self._sent = {}
        for t in self.alive:
            received, self._sent[t] = self._received(t, u)
            n = len(u[t])
            candidates = np.concatenate([u[t], received])
            place = np.concatenate([np.arange(n), np.zeros(len(received), dtype=int)])
            size = n - len(received)
            pool = winners(place, size + size % 2, rng)
            pairs = len(pool) // 2
            children = sbx(
                candidates[pool[:pairs]], candidates[pool[pairs:]], self.eta_crossover, rng
            ).reshape(-1, d)[:size]
            children = polynomial_mutation(children, self.eta_mutation, 1 / d, rng)
            made[t] = np.concatenate([received, children])
        return made

    def _received(self, t: int, u: dict[int, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """What a task receives now, `(n_transfer, D)`, and from whom; nothing if it is alone."""
        rng, sources = self.random_state, np.array([k for k in u if k != t], dtype=int)
        if len(sources) == 0:
            return np.empty((0, u[t].shape[1])), np.empty(0, dtype=int)
        useful = np.flatnonzero((self.origins[t] != HOME) & self.leading[t])
        if len(useful):
            each = -(-self.n_transfer // len(useful))
            near, origins = [], []
            for row in useful:
                k = int(self.origins[t][row])
                distance = np.sum((u[k] - u[t][row]) ** 2, axis=1)
                near.append(u[k][np.argsort(distance, kind="stable")[:each]])
                origins += [k] * len(near[-1])
            received = np.concatenate(near)[: self.n_transfer]
            origin = np.array(origins)[: self.n_transfer]
        else:
            origin = rng.choice(sources, size=self.n_transfer)
            sizes = np.array([len(u[k]) for k in origin])
            rows = (rng.random(self.n_transfer) * sizes).astype(int)
            received = np.stack([u[k][row] for k, row in zip(origin, rows, strict=True)])
        scale = np.where(
            rng.random(len(received)) < self.p_disturb, 2.0 * rng.random(len(received)), 1.0
        )
        return np.clip(scale[:, None] * received, 0.0, 1.0), origin
