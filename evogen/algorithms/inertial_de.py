"""Inertial differential evolution over several tasks, and what may be transferred between them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from evogen.algorithms.mfea import RankedMultitask


class TransferTable(ABC):
    """Where the vectors come from that one task receives from another.

    A null differs from a learned transfer in this one class.
    """

    def start(self) -> None:  # noqa: B027 (most have nothing to forget)
        """Called at the beginning of a run."""

    @abstractmethod
    def table(
        self,
        source: np.ndarray,
        target: np.ndarray,
        pair: tuple[int, int],
        n_gen: int,
        rng: np.random.Generator,
    ) -> np.ndarray | None:
        """What each individual of the target may receive, in the unified space.

        Args:
            source: The source task's population, best first, `(n, D)`.
            target: The target task's, `(m, D)`.
            pair: Numbers of the target and of the source task.
            n_gen: Number of this generation, from 1.
            rng: Source of random numbers.

        Returns:
            `(m, D)`, or None for no transfer at all.
        """


class NoTransfer(TransferTable):
    """Nothing: every pair of parents counts as one of the same task."""

    def table(self, source: Any, target: Any, pair: Any, n_gen: int, rng: Any) -> None:
        """None."""
        return None


class CopyTransfer(TransferTable):
    """The other task's individual of the same place, as it is."""

    def table(
        self, source: np.ndarray, target: np.ndarray, pair: Any, n_gen: int, rng: Any
    ) -> np.ndarray:
        """The source's individuals, repeated if they are fewer."""
        return source[np.arange(len(target)) % len(source)]


class ConstantTransfer(TransferTable):
    """The same number in every variable: what an untrained sigmoid network gives.

    Args:
        value: In [0, 1].
    """

    def __init__(self, value: float = 0.5) -> None:
        if not 0 <= value <= 1:
            raise ValueError(f"value={value!r} must lie in [0, 1]")
        self.value = value

    def table(
        self, source: np.ndarray, target: np.ndarray, pair: Any, n_gen: int, rng: Any
    ) -> np.ndarray:
        """The constant."""
        return np.full_like(target, self.value)


class UniformTransfer(TransferTable):
    """Uniform random numbers, drawn anew every time."""

    def table(
        self,
        source: np.ndarray,
        target: np.ndarray,
        pair: Any,
        n_gen: int,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Random points of the unified space."""
        return rng.random(target.shape)


class InertialDE(RankedMultitask):
    """The loop of EMT-GS (Liang et al. 2023) with any `TransferTable`.

    All parents are shuffled and paired. With F from N(0.5, 0.2^2) truncated to [0, 1], r a random
    individual of the parent's task in the *previous* generation (the inertia), x1 the task's best
    or a random one of it, a parent p gives

        partner of the same task     v = x1 + F (p - r), crossed with p
        partner of another task      v = x1 + F (c - r), crossed with x1

    where c is what p receives from the partner's task. Binomial crossover takes a variable of v
    with probability CR, one at least. There is no mutation. The paper's body was not readable to
    us; this follows the two public codes where they agree, and where they differ (whose row c is,
    in which direction) the one in DDMTOLab.

    Args:
        transfer: What c is; None for `NoTransfer`.
        pop_size: Size of every task's population.
        CR: Crossover probability per variable, in [0, 1].
        p_best: How often x1 is a random individual instead of the best, in [0, 1].
    """

    def __init__(
        self,
        transfer: TransferTable | None = None,
        pop_size: int = 100,
        *,
        CR: float = 0.6,
        p_best: float = 0.5,
    ) -> None:
        super().__init__(pop_size)
        for name, value in (("CR", CR), ("p_best", p_best)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name}={value!r} must lie in [0, 1]")
        if transfer is not None and not isinstance(transfer, TransferTable):
            raise TypeError(
                f"transfer must be a TransferTable such as CopyTransfer(); got {transfer!r}"
            )
        self.transfer = NoTransfer() if transfer is None else transfer
        self.CR, self.p_best = CR, p_best

    def prepare(self) -> None:
        """The first generation has no previous one but itself."""
        self.previous = self.populations
        self.transfer.start()

    def vary(self) -> list[np.ndarray]:
        """One child of every individual of every task that goes on."""
        rng, now = self.random_state, self.populations
        owner = np.repeat(list(now), [len(u) for u in now.values()])
        row = np.concatenate([np.arange(len(u)) for u in now.values()])
        order = rng.permutation(len(owner))
        half = len(order) // 2
        partner = np.empty(len(order), dtype=int)
        partner[order[:half]] = order[half : 2 * half]
        partner[order[half : 2 * half]] = order[:half]
        if len(order) % 2:
            partner[order[-1]] = order[-1]
        factor = np.empty(len(order))
        factor[order[:half]] = factor[order[half : 2 * half]] = self._factors(half)
        factor[order[2 * half :]] = self._factors(len(order) - 2 * half)
        tables = {
            (t, k): self.transfer.table(now[k], now[t], (t, k), self.n_gen + 1, rng)
            for t in now
            for k in now
            if t != k
        }
        children = []
        for t in range(len(self.states)):
            mine = np.flatnonzero(owner == t)
            if t not in now or self.states[t].left <= 0:
                children.append(np.empty((0, self.n_var)))
                continue
            children.append(
                self._children(
                    now[t], self.previous[t], factor[mine], owner[partner[mine]], row[mine],
                    {k: table for (a, k), table in tables.items() if a == t},
                )
            )  # fmt: skip
        self.previous = now
        return children

    def _factors(self, n: int) -> np.ndarray:
        """F of n pairs: normal, drawn again until within [0, 1]."""
        factor = self.random_state.normal(0.5, 0.2, size=n)
        while (bad := (factor < 0) | (factor > 1)).any():
            factor[bad] = self.random_state.normal(0.5, 0.2, size=int(bad.sum()))
        return factor

    def _children(
        self,
        u: np.ndarray,
        before: np.ndarray,
        factor: np.ndarray,
        partner_task: np.ndarray,
        row: np.ndarray,
        tables: dict[int, np.ndarray | None],
    ) -> np.ndarray:
        rng, n = self.random_state, len(row)
        parent = u[row]
        first = np.where(rng.random(n) < self.p_best, rng.integers(len(u), size=n), 0)
        lead, inert = u[first], before[rng.integers(len(before), size=n)]
        moved, base = parent.copy(), parent.copy()
        for k, table in tables.items():
            received = np.flatnonzero(partner_task == k)
            if table is not None and len(received):
                moved[received] = table[row[received]]
                base[received] = lead[received]
        v = lead + factor[:, None] * (moved - inert)
        taken = rng.random(v.shape) < self.CR
        taken[np.arange(n), rng.integers(v.shape[1], size=n)] = True
        return np.clip(np.where(taken, v, base), 0.0, 1.0)
