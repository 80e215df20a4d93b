"""MOEA/D-DE: decomposition with differential evolution, the classic strong baseline."""

from __future__ import annotations

from typing import Any

import numpy as np
from pymoo.algorithms.base.genetic import GeneticAlgorithm
from pymoo.core.population import Population
from pymoo.operators.mutation.pm import mut_pm
from pymoo.operators.sampling.rnd import FloatRandomSampling
from pymoo.util.display.multi import MultiObjectiveOutput
from scipy.spatial.distance import cdist

from evogen.algorithms.checks import refuse_unknown, require_real_box
from evogen.algorithms.directions import simplex_directions
from evogen.operators import BOUNDS, repair_to_box


class MOEADDE(GeneticAlgorithm):
    """MOEA/D-DE (Li & Zhang, IEEE TEVC 13(2), 2009, Algorithm 1 "MOEA/D-DE").

    Subproblems are visited in random order; each makes one offspring by DE/rand/1 with
    crossover rate `CR` from its neighbourhood (probability `delta`) or the whole population, and
    polynomial mutation, evaluated at once; it replaces at most `nr` solutions that are worse under
    the Tchebycheff function. The initial solutions are assigned at random, as in the paper.

    Args:
        pop_size: Wanted number of subproblems; the nearest smaller simplex lattice is used.
        n_neighbors: Neighbourhood size T (>= 2).
        delta: Probability of mating within the neighbourhood, in [0, 1].
        nr: Greatest number of replacements per offspring (>= 1).
        F: Differential weight.
        CR: Crossover rate, in [0, 1].
        bounds: What becomes of values outside the box, `"reflect"` or `"clip"`; see
            `evogen.operators.repair_to_box`. Clipping favours problems whose optimum lies on the
            bounds; codes differ in it.

    Raises:
        ValueError: An argument out of range, a constrained problem, or one objective.
        TypeError: Variables that are not real.
    """

    pop_size: int
    n_offsprings: int

    def __init__(
        self,
        pop_size: int = 100,
        *,
        n_neighbors: int = 20,
        delta: float = 0.9,
        nr: int = 2,
        F: float = 0.5,
        CR: float = 1.0,
        bounds: str = "reflect",
        sampling: Any = None,
        output: Any = None,
        **kwargs: Any,
    ) -> None:
        refuse_unknown(
            MOEADDE, kwargs, fixed=("mating", "crossover", "mutation", "selection", "survival")
        )
        for name, value, low in (("n_neighbors", n_neighbors, 2), ("nr", nr, 1)):
            if value < low:
                raise ValueError(f"{name}={value!r} must be at least {low}")
        for name, rate in (("delta", delta), ("CR", CR)):
            if not 0.0 <= rate <= 1.0:
                raise ValueError(f"{name}={rate!r} must lie in [0, 1]")
        if bounds not in BOUNDS:
            raise ValueError(f"bounds={bounds!r} is unknown; use one of {', '.join(BOUNDS)}")
        super().__init__(
            pop_size=pop_size,
            sampling=FloatRandomSampling() if sampling is None else sampling,
            output=MultiObjectiveOutput() if output is None else output,
            eliminate_duplicates=False,
            **kwargs,
        )
        self.n_neighbors = n_neighbors
        self.delta = delta
        self.nr = nr
        self.F = F
        self.CR = CR
        self.bounds = bounds

    def _setup(self, problem: Any, **kwargs: Any) -> None:
        require_real_box(problem, "MOEADDE")
        if problem.has_constraints():
            raise ValueError("MOEADDE takes no constraints; use NSGA2, NSGA3 or CTAEA")
        self.directions = simplex_directions(problem.n_obj, self.pop_size)
        self.pop_size = self.n_offsprings = len(self.directions)
        order = np.argsort(cdist(self.directions, self.directions), axis=1, kind="stable")
        self.neighbors = order[:, : self.n_neighbors]
        # A zero weight would make an objective vanish (the paper's 10^-6).
        self.weights = np.maximum(self.directions, 1e-6)

    def _initialize_advance(self, infills: Any = None, **kwargs: Any) -> None:
        if len(infills) != self.pop_size:
            raise ValueError(
                f"the initial sampling gave {len(infills)} different points; MOEADDE needs one for "
                f"each of its {self.pop_size} directions"
            )
        self._x, self._f = infills.get("X").astype(float), infills.get("F").astype(float)
        self.ideal = self._f.min(axis=0)
        self._queue = np.empty(0, dtype=int)

    def _infill(self) -> Population:
        if len(self._queue) == 0:
            self._queue = self.random_state.permutation(self.pop_size)
        i, rng = self._queue[0], self.random_state
        everybody = rng.random() >= self.delta
        self._pool = np.arange(self.pop_size) if everybody else self.neighbors[i]
        a, b = self._pool[rng.permutation(len(self._pool))[:2]]
        low, high = self.problem.bounds()
        trial = self._x[i] + self.F * (self._x[a] - self._x[b])
        crossed = rng.random(len(trial)) < self.CR
        crossed[rng.integers(len(trial))] = True
        trial = np.where(crossed, trial, self._x[i])
        span = np.where(high > low, high - low, 1.0)
        trial = low + repair_to_box((trial - low) / span, self.bounds, rng) * (high - low)
        trial = mut_pm(
            trial[None],
            low,
            high,
            np.array([20.0]),
            np.array([1 / len(trial)]),
            False,
            random_state=rng,
        )
        return Population.new(X=trial)

    def _advance(self, infills: Any = None, **kwargs: Any) -> bool:
        offspring = infills[0]
        self.ideal = np.minimum(self.ideal, offspring.F)
        pool = self.random_state.permutation(self._pool)
        weights = self.weights[pool]
        old = (weights * np.abs(self._f[pool] - self.ideal)).max(axis=1)
        new = (weights * np.abs(offspring.F - self.ideal)).max(axis=1)
        for j in pool[new <= old][: self.nr]:
            self.pop[j] = offspring
            self._x[j], self._f[j] = offspring.X, offspring.F
        self._queue = self._queue[1:]
        # pymoo closes a generation when this is true.
        return len(self._queue) == 0
