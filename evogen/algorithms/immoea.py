"""IM-MOEA: inverse models from objectives to decision variables, one group per sector."""

from __future__ import annotations

from typing import Any

import numpy as np
from pymoo.algorithms.base.genetic import GeneticAlgorithm
from pymoo.core.infill import InfillCriterion
from pymoo.core.population import Population
from pymoo.core.survival import Survival
from pymoo.operators.mutation.pm import PM
from pymoo.operators.sampling.rnd import FloatRandomSampling
from pymoo.operators.survival.rank_and_crowding import RankAndCrowding
from pymoo.util.display.multi import MultiObjectiveOutput

from evogen.algorithms.checks import refuse_unknown, require_real_box
from evogen.algorithms.directions import simplex_directions

NOISE = 0.01
"""Standard deviation of the Gaussian likelihood (PlatEMO's `log(0.01)`)."""


def sectors(f: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Number of the direction with the smallest angle to each row of `f` `(n,)`."""
    norms = np.linalg.norm(f, axis=1, keepdims=True) * np.linalg.norm(directions, axis=1)
    return np.asarray(np.argmax((f @ directions.T) / np.maximum(norms, 1e-300), axis=1))


def predict_linear(
    f: np.ndarray, x: np.ndarray, targets: np.ndarray, noise: float = NOISE
) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian process regression with a linear kernel, i.e. a Bayesian line through the origin.

    Args:
        f: One objective of the training points `(n,)`.
        x: Decision variables of the training points `(n, k)`, one process each.
        targets: Values of the objective to predict at `(t,)`.
        noise: Standard deviation of the likelihood.

    Returns:
        Predictive mean `(t, k)` and variance of a new observation `(t,)`.
    """
    s = f @ f + noise**2
    mean = np.outer(targets, f @ x / s)
    variance = noise**2 * (1.0 + targets**2 / s)
    return mean, variance


class InverseModelMating(InfillCriterion):
    """Offspring of IM-MOEA (Cheng et al. 2015, section III.B), as PlatEMO 4.15 has them.

    Args:
        directions: Reference vectors `(k, n_obj)`.
        n_models: Random decision variables that get an inverse model (PlatEMO's L = 3).
    """

    def __init__(self, directions: np.ndarray, n_models: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.directions = directions
        self.n_models = n_models
        self.mutation = PM(prob=1.0, eta=20)

    def _do(
        self, problem: Any, pop: Population, n_offsprings: int, random_state: Any = None, **_: Any
    ) -> Population:
        x, f = pop.get("X").astype(float), pop.get("F")
        sector = sectors(f, self.directions)
        rows = [
            self._sector_offspring(x[sector == k], f[sector == k], random_state)
            for k in np.unique(sector)
        ]
        off = np.concatenate(rows)
        low, high = problem.bounds()
        redrawn = random_state.uniform(low, high, size=off.shape)
        off = np.where((off < low) | (off > high), redrawn, off)
        self.mutation.prob_var = 1.0 / problem.n_var
        return self.mutation(problem, Population.new(X=off), random_state=random_state)

    def _sector_offspring(self, x: np.ndarray, f: np.ndarray, random_state: Any) -> np.ndarray:
        n, n_var = x.shape
        n_obj = f.shape[1]
        if n < 2 * n_obj:
            return x.copy()
        low, high = f.min(axis=0), f.max(axis=0)
        parts = []
        for m in range(n_obj):
            parents = random_state.permutation(n)[: n // n_obj]
            off = x[parents].copy()
            variables = random_state.permutation(n_var)[: self.n_models]
            targets = np.linspace(
                1.5 * low[m] - 0.5 * high[m], 1.5 * high[m] - 0.5 * low[m], len(parents)
            )
            mean, variance = predict_linear(f[parents, m], x[np.ix_(parents, variables)], targets)
            scale = random_state.random(len(variables))
            noise = random_state.standard_normal(mean.shape)
            off[:, variables] = mean + scale * np.sqrt(variance)[:, None] * noise
            parts.append(off)
        return np.concatenate(parts)


class SectorSurvival(Survival):
    """Keeps the best of each sector by non-dominated sorting and crowding.

    Args:
        directions: Reference vectors `(k, n_obj)`.
        n_per_sector: Greatest number kept in each.
    """

    def __init__(self, directions: np.ndarray, n_per_sector: int) -> None:
        super().__init__(filter_infeasible=False)
        self.directions = directions
        self.n_per_sector = n_per_sector
        self.within = RankAndCrowding()

    def _do(
        self,
        problem: Any,
        pop: Population,
        *args: Any,
        random_state: Any = None,
        **kwargs: Any,
    ) -> Population:
        sector = sectors(pop.get("F"), self.directions)
        kept = [
            self.within.do(
                problem, pop[sector == k], n_survive=self.n_per_sector, random_state=random_state
            )
            for k in np.unique(sector)
        ]
        return Population.merge(*kept) if len(kept) > 1 else kept[0]


class IMMOEA(GeneticAlgorithm):
    """IM-MOEA (Cheng, Jin, Narukawa & Sendhoff, IEEE TEVC 19(6), 2015), as in PlatEMO 4.15.

    The objective space is cut into sectors by reference vectors. In each sector, Gaussian
    processes with a linear kernel map an objective value to single decision variables; targets
    reach half of the sector's range beyond its ends, which is what extends the front. As in
    PlatEMO, the population is smaller than `pop_size` while sectors are empty, `pop_size` is
    rounded up to a multiple of the number of sectors, and objectives are not normalised.

    Args:
        pop_size: Population size (>= number of sectors).
        n_sectors: Wanted number of reference vectors; the nearest smaller simplex lattice is used.
        n_models: Decision variables that get a model per sector and objective (L).
        sampling: Initial sampling.

    Raises:
        ValueError: Fewer individuals than sectors, or `n_models` < 1.
    """

    #: Its mating is its own; `inject` must not replace it.
    own_mating = True

    pop_size: int
    n_offsprings: int

    def __init__(
        self,
        pop_size: int = 100,
        *,
        n_sectors: int = 10,
        n_models: int = 3,
        sampling: Any = None,
        output: Any = None,
        **kwargs: Any,
    ) -> None:
        refuse_unknown(IMMOEA, kwargs, fixed=("mating", "survival"))
        if n_models < 1:
            raise ValueError(f"n_models={n_models!r} must be at least 1")
        if n_sectors < 1 or pop_size < n_sectors:
            raise ValueError(
                f"pop_size={pop_size!r} must be at least n_sectors={n_sectors!r} (>= 1)"
            )
        super().__init__(
            pop_size=pop_size,
            sampling=FloatRandomSampling() if sampling is None else sampling,
            output=MultiObjectiveOutput() if output is None else output,
            advance_after_initial_infill=False,
            eliminate_duplicates=False,
            mating=InfillCriterion(),
            **kwargs,
        )
        self.n_sectors = n_sectors
        self.n_models = n_models

    def _setup(self, problem: Any, **kwargs: Any) -> None:
        require_real_box(problem, "IMMOEA")
        directions = simplex_directions(problem.n_obj, self.n_sectors)
        per_sector = -(-self.pop_size // len(directions))
        self.pop_size = self.n_offsprings = per_sector * len(directions)
        self.mating = InverseModelMating(directions, self.n_models, repair=self.repair)
        self.survival = SectorSurvival(directions, per_sector)

    def _infill(self) -> Population:
        # Every sector makes as many offspring as it has members (rounded down per objective).
        return self.mating.do(
            self.problem,
            self.pop,
            len(self.pop),
            n_max_iterations=1,
            algorithm=self,
            random_state=self.random_state,
        )
