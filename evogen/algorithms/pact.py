"""PACT: a portfolio of operators and transfers, shared out by the credit of their survivors."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from evogen.algorithms.mfea import RankedMultitask
from evogen.algorithms.portfolio import OPERATORS, TRANSFERS, View
from evogen.multitask import MultitaskAlgorithm
from evogen.multitask.state import Points
from evogen.operators import (
    AcrossTasks,
    ModelSlot,
    Solutions,
    SurvivalCredit,
    Transfer,
    best_first,
    constrained_rank,
    crowding_by_front,
    pairwise_distances,
    repair_to_box,
    truncate,
)
from evogen.operators.slot import check_model

MAKERS = OPERATORS | TRANSFERS

MODEL = "model"
"""Name of the transfer that a generative model makes."""


class PACT(RankedMultitask):
    """Portfolio with adaptive credit for transfer.

    Which transfer helps, and from whom, differs from pair to pair of tasks and over the run; that
    nothing helps is frequent. So every task shares its offspring among operators of its own
    (`crossover`, `inertial`) and transfers (`towards`, `mixed`, `exchange`, `whole`, see
    `evogen.algorithms.portfolio`) in proportion to how many of each one's children survive, an
    exponential average (`SurvivalCredit`). The task that a transfer takes from is drawn by the
    same rule. Transfers together keep `exploration` of the offspring whatever happens. They may
    keep more where they are of no use: a child that takes little over survives as its own parent
    would (`docs/multitask.md` has what unrelated tasks lose by it).

    Survival is NSGA-II's, but a first front that is too large is thinned out by SPEA2's truncation.

    A generative model is one more transfer, fitted every `refit_every` generations (if any child is
    to be its own then). With `Transfer()` as examples there is one model per task, of the task's
    solutions given the others', and it is asked for what their best ones are here. With `Family()`
    there is one model of all tasks' solutions, and it is asked for those that belong to the task's
    descriptor.

    Args:
        pop_size: Size of every task's population.
        operators: Names in `OPERATORS`; one at least.
        transfers: Names in `TRANSFERS`; none for tasks that do not know of each other.
        model: A conditional model, or None.
        examples: What the model learns from: `Transfer()` (also None) or `Family()`.
        exploration: Least share of all transfers together, in [0, 0.5].
        floor: Least share of each operator within a task, in [0, 0.5 / number of them].
        decay: Weight of the newest generation in the survival rates, in (0, 1].
        power: Shares are proportional to survival rates raised to this (> 0). With 1, what survives
            half as well is still made half as often, which costs much where the tasks have nothing
            in common.
        prior: Survival rate that transfers are credited with before they are tried, in (0, 1]; a
            task's own operators start at 0.5. With less, transfers have to prove themselves.
        refit_every: Generations between two fits of the model (>= 1).

    Attributes:
        names: The operators and transfers, in the order of all shares.
        log: One dictionary per generation: `n_gen`, `shares` `(n_tasks, n_names)` of the
            offspring, `sources` `(n_tasks, n_tasks)`, the share of a task (row) in which its
            transfers take from another (column), and `success` `(n_tasks, n_tasks)`, the average
            share of what came from there that survived; NaN for tasks without a population.
        slots: The models: one per task, or a single one that serves all.

    Raises:
        ValueError: An unknown name or a number out of range; in `setup`, tasks that the examples
            cannot serve.
        TypeError: The model cannot be conditioned, or the examples are none.
    """

    def __init__(
        self,
        pop_size: int = 100,
        *,
        operators: Sequence[str] = tuple(OPERATORS),
        transfers: Sequence[str] = tuple(TRANSFERS),
        model: Any = None,
        examples: AcrossTasks | None = None,
        exploration: float = 0.04,
        floor: float = 0.02,
        decay: float = 0.1,
        power: float = 4.0,
        prior: float = 0.5,
        refit_every: int = 5,
    ) -> None:
        super().__init__(pop_size)
        for name, given, known in (
            ("operators", operators, OPERATORS),
            ("transfers", transfers, TRANSFERS),
        ):
            unknown = [key for key in given if key not in known]
            if isinstance(given, str) or unknown:
                raise ValueError(f"{name}={given!r} must be names out of {', '.join(known)}")
        if not operators:
            raise ValueError("operators is empty; a task must be able to go on by itself")
        for name, value, high in (
            ("exploration", exploration, 0.5),
            ("floor", floor, 0.5 / len(operators)),
        ):
            if not 0 <= value <= high:
                raise ValueError(f"{name}={value!r} must lie in [0, {high:g}]")
        if not power > 0:
            raise ValueError(f"power={power!r} must be positive")
        if not 0 < prior <= 1:
            raise ValueError(f"prior={prior!r} must lie in (0, 1]")
        if refit_every < 1:
            raise ValueError(f"refit_every={refit_every!r} must be at least 1")
        if examples is not None and not isinstance(examples, AcrossTasks):
            raise TypeError(f"examples={examples!r} must be Transfer(...) or Family(...)")
        if model is not None:
            check_model(model, conditional=True)
        elif examples is not None:
            raise ValueError(f"examples={examples!r} are for a model; give one, as model=...")
        self.operators, self.transfers = tuple(operators), tuple(transfers)
        self.model, self.examples = model, Transfer() if examples is None else examples
        self.exploration, self.floor, self.decay, self.power = exploration, floor, decay, power
        self.prior, self.refit_every = prior, refit_every
        last = () if model is None else (MODEL,)
        self.names = [*self.operators, *self.transfers, *last]

    def setup(self, tasks: Any, *args: Any, **kwargs: Any) -> MultitaskAlgorithm:
        """As `MultitaskAlgorithm.setup`; the examples look at the tasks, to find errors."""
        super().setup(tasks, *args, **kwargs)
        assert self.problem is not None
        self._examples = [copy.deepcopy(self.examples) for _ in self.states]
        if self.model is not None:
            for examples in self._examples:
                examples.begin(self.problem.tasks, self.problem.descriptors)
        return self

    def prepare(self) -> None:
        """Nothing is known yet of what helps."""
        n, n_own = len(self.states), len(self.operators)
        n_across = len(self.names) - n_own
        how = {"decay": self.decay, "power": self.power}
        floors = [self.floor] * n_own + [self.exploration / max(1, n_across)] * n_across
        self.credit = [SurvivalCredit(self.names, floor=floors, **how) for _ in range(n)]
        for credit in self.credit:
            credit.rate[n_own:] = self.prior
        tasks = [str(i) for i in range(n)]
        self.source_credit = [SurvivalCredit(tasks, floor=0.1 / n, **how) for _ in range(n)]
        n_models = 1 if self.examples.one_for_all else n
        self.slots = [ModelSlot(copy.deepcopy(self.model)) for _ in range(n_models)]
        self._fitted_at = [0] * n_models
        self._before = self.populations
        self._made = [(np.empty(0, dtype=int),) * 2 for _ in range(n)]
        self.log: list[dict[str, Any]] = []

    # Offspring.

    def vary(self) -> list[np.ndarray]:
        """As many offspring as points of every task that goes on, by operator and source."""
        now, n_tasks = self.populations, len(self.states)
        shares = np.full((n_tasks, len(self.names)), np.nan)
        sources = np.full((n_tasks, n_tasks), np.nan)
        success = np.full((n_tasks, n_tasks), np.nan)
        made = [np.empty((0, self.n_var)) for _ in self.states]
        self._made = [(np.empty(0, dtype=int),) * 2 for _ in self.states]
        # Once a generation: what ranks a task's solutions serves all tasks that ask for them.
        known = [] if self.model is None else [self._solutions(k) for k in range(n_tasks)]
        for t in self.alive:
            shares[t], sources[t] = self._shares(t, now)
            success[t] = np.where(sources[t] > 0, self.source_credit[t].rate, np.nan)
            made[t], self._made[t] = self._offspring(t, now, shares[t], sources[t], known)
        entry = {"n_gen": self.n_gen + 1, "shares": shares, "sources": sources}
        self.log.append({**entry, "success": success})
        self._before = now
        return made

    def _shares(self, t: int, now: dict[int, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """How a task's offspring are shared among operators, and its transfers among sources."""
        source = self.source_credit[t].shares()
        source[[k for k in range(len(self.states)) if k not in now or k == t]] = 0.0
        share = self.credit[t].shares()
        if source.sum() == 0.0:
            share[len(self.operators) :] = 0.0
            return share / share.sum(), source
        return share, source / source.sum()

    def _offspring(
        self,
        t: int,
        now: dict[int, np.ndarray],
        share: np.ndarray,
        source: np.ndarray,
        known: list[Solutions | None],
    ) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
        """Children of a task, which operator made each, and whose solutions it took, or -1."""
        n = len(now[t])
        kind, origin = self._drawn(share, n), np.full(n, -1)
        across = np.flatnonzero(kind >= len(self.operators))
        self.random_state.shuffle(across)
        origin[across] = self._drawn(source, len(across)) if len(across) else -1
        made = np.empty_like(now[t])
        for j in np.unique(kind):
            if self.names[j] == MODEL:
                rows = np.flatnonzero(kind == j)
                made[rows], origin[rows] = self._by_model(t, len(rows), known), -1
                continue
            for k in np.unique(origin[kind == j]):
                rows = np.flatnonzero((kind == j) & (origin == k))
                view = View(
                    now[t],
                    self._before[t],
                    now.get(int(k)),
                    self.states[t].problem.n_var,
                    self.random_state,
                )
                made[rows] = MAKERS[self.names[j]](view, len(rows))
        return made, (kind, origin)

    def _drawn(self, share: np.ndarray, n: int) -> np.ndarray:
        """n numbers in proportion to shares, each within one of its due (systematic sampling)."""
        at = (np.arange(n) + self.random_state.random()) / n
        return np.minimum(np.searchsorted(np.cumsum(share), at), np.flatnonzero(share > 0)[-1])

    def _by_model(self, t: int, n: int, known: list[Solutions | None]) -> np.ndarray:
        """What the model makes of the other tasks' best; of the task's own where it fails."""
        which = 0 if self.examples.one_for_all else t
        slot, examples, rng = self.slots[which], self._examples[t], self.random_state
        own = known[t]
        points = self.states[t].points
        assert points is not None
        made = points.u[rng.integers(len(points), size=n)]
        if own is None:
            return made
        examples.receive(known, t)
        is_due = not slot.fitted or self.n_gen % self.refit_every == 0
        if is_due and self._fitted_at[which] < self.n_gen:
            slot.fit(examples.training(own), rng)
            self._fitted_at[which] = self.n_gen
        rows = slot.sample(n, examples.ask(n, own, rng), rng) if slot.fitted else None
        if rows is None or rows.shape[1:] != made.shape[1:]:
            return made
        usable = slot.usable(rows, n)
        made[: len(usable)] = repair_to_box(usable, "reflect", rng)
        return made

    def _solutions(self, number: int) -> Solutions | None:
        points = self.states[number].points
        known = None if points is None else points.finite()
        return None if known is None or len(known) < 2 else Solutions(known.u, known.f, known.cv)

    # Survival.

    def survive(self, number: int, merged: Points, n: int) -> Points:
        """The n points of a task that stay, best first, and credit for those who made them."""
        kept = spread_first(merged, n)
        if self.n_gen > 0:
            n_new = len(self._asked[number])
            kind, origin = (made[:n_new] for made in self._made[number])
            alive = np.zeros(n_new, dtype=bool)
            n_old = len(merged) - n_new
            alive[kept[kept >= n_old] - n_old] = True
            _credit(self.credit[number], kind, alive)
            _credit(self.source_credit[number], origin[origin >= 0], alive[origin >= 0])
        return merged[kept]


def _credit(credit: SurvivalCredit, maker: np.ndarray, alive: np.ndarray) -> None:
    size = len(credit.names)
    credit.update(np.bincount(maker, minlength=size), np.bincount(maker[alive], minlength=size))


def spread_first(points: Points, n: int) -> np.ndarray:
    """Row numbers of the n best points, best first.

    By feasibility, front and crowding as in NSGA-II (Deb et al. 2002); if the first front alone is
    too large and feasible, SPEA2's truncation (Zitzler et al. 2001) takes its most crowded points
    away one after the other, in objectives scaled to its range.
    """
    rank = constrained_rank(points.f, points.cv)
    first = np.flatnonzero(rank == 0)
    if len(first) <= n or (points.cv[first] > 0).any():
        return best_first(points.f, points.cv, rank=rank)[:n]
    f = points.f[first]
    extent = f.max(axis=0) - f.min(axis=0)
    f = (f - f.min(axis=0)) / np.where(extent > 0, extent, 1.0)
    kept = first[truncate(pairwise_distances(f), n)]
    crowding = crowding_by_front(points.f[kept], np.zeros(n, dtype=int))
    return kept[np.argsort(-crowding, kind="stable")]
