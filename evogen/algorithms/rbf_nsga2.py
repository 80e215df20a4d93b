"""RBF-assisted NSGA-II: the archive as a critic, and nothing generative."""

from __future__ import annotations

from typing import Any

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.population import Population
from pymoo.operators.crossover.sbx import SBX, cross_sbx
from pymoo.operators.mutation.pm import PM, mut_pm

from evogen.algorithms.checks import refuse_unknown, require_real_box
from evogen.operators import (
    BOUNDS,
    Encoding,
    HashDuplicateElimination,
    best_first,
    constraint_violation,
    matrix,
    repair_to_box,
)
from evogen.operators.critic import RBFCritic

ETA = 20.0
"""Distribution index of SBX and polynomial mutation."""

MIN_PARENTS = 4
"""Differential variation needs three different rows, a tournament needs a rival."""


def vary(
    u: np.ndarray, de_share: float, F: float, bounds: str, rng: np.random.Generator
) -> np.ndarray:
    """As many children as there are parents, which are sorted from best to worst.

    A share by differential variation u1 + F (u2 - u3) of random parents; the others by binary
    tournament, SBX with probability 1 and polynomial mutation.

    Args:
        u: Parents in the unit box `(n, d)`, n >= 4.
        de_share: Share of children by differential variation, in [0, 1].
        F: Differential weight.
        bounds: See `evogen.operators.repair_to_box`; for differential variation only.
        rng: Source of randomness.

    Returns:
        Children in the unit box `(n, d)`.
    """
    n = len(u)
    n_de = round(de_share * n)
    # Three different rows: two different steps away from the first one, round the circle.
    one, step = rng.integers(n, size=n_de), rng.integers(1, n, size=n_de)
    other = rng.integers(1, n - 1, size=n_de)
    other += other >= step
    by_difference = u[one] + F * (u[(one + step) % n] - u[(one + other) % n])
    by_difference = repair_to_box(by_difference, bounds, rng)
    # Sorted parents: the smaller number wins the tournament.
    parents = rng.integers(n, size=(2, -(-(n - n_de) // 2), 2)).min(axis=2)
    return np.concatenate([by_difference, cross(u[parents], rng)[: n - n_de]])


def cross(parents: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """SBX with probability 1 and polynomial mutation, both with index 20, in the unit box.

    Args:
        parents: Two rows per mating `(2, n, d)`.
        rng: Source of randomness.

    Returns:
        Children `(2 n, d)`.
    """
    _, n, d = parents.shape
    low, high = np.zeros(d), np.ones(d)
    eta, half = np.full((n, 1), ETA), np.full((n, 1), 0.5)
    child = cross_sbx(parents, low, high, eta, half, half, random_state=rng).reshape(-1, d)
    etas, rate = np.full(2 * n, ETA), np.full(2 * n, 1.0 / d)
    return np.asarray(mut_pm(child, low, high, etas, rate, False, random_state=rng))


class RBFNSGA2(NSGA2):
    """NSGA-II that looks for its offspring on a surrogate first.

    Every generation a cubic radial basis function with a linear tail is fitted to the points
    evaluated last, one interpolant for each objective and constraint; NSGA-II runs on it for
    `n_inner` generations from the current population, and the best of the points found, in
    NSGA-II's order, are evaluated. Selection by true values is NSGA-II's. While there are fewer
    different finite points than the linear tail needs (2 more than variables), and whenever the
    search finds no new point, offspring are NSGA-II's own. It is the rival for generative operators
    that use the archive: what they gain beyond it is theirs.

    The building blocks are those of surrogate-assisted search at large (Regis & Shoemaker, INFORMS
    J. Comput. 19(4), 2007, for the cubic RBF; Deb et al., IEEE TEVC 6(2), 2002, for NSGA-II); the
    combination follows no single paper.

    Args:
        pop_size: Population size (>= 4).
        n_train: Number of last evaluated points that train the surrogate (>= 4); a fit costs
            O(n_train^3).
        n_inner: Generations on the surrogate (>= 1).
        de_share: Share of the surrogate's offspring by differential variation, in [0, 1]; the
            rest by SBX and polynomial mutation.
        F: Differential weight (> 0).
        bounds: What becomes of differential offspring outside the box, `"reflect"` or `"clip"`;
            see `evogen.operators.repair_to_box`.
        ridge: See `evogen.operators.RBFCritic`.

    Attributes:
        evaluated: The points evaluated last, a population of at most `n_train`.
        n_assisted: Generations so far whose offspring came from the surrogate.

    Raises:
        ValueError: An argument out of range, one objective, or no finite box.
        TypeError: Variables that are not real.
    """

    #: Its mating is the fallback of its own; `inject` must not replace it.
    own_mating = True

    pop_size: int
    n_offsprings: int

    def __init__(
        self,
        pop_size: int = 100,
        *,
        n_train: int = 600,
        n_inner: int = 15,
        de_share: float = 0.5,
        F: float = 0.5,
        bounds: str = "reflect",
        ridge: float = 1e-6,
        **kwargs: Any,
    ) -> None:
        refuse_unknown(RBFNSGA2, kwargs, fixed=("mating", "crossover", "mutation", "selection"))
        for name, value, low in (
            ("pop_size", pop_size, MIN_PARENTS),
            ("n_train", n_train, MIN_PARENTS),
            ("n_inner", n_inner, 1),
        ):
            if value < low:
                raise ValueError(f"{name}={value!r} must be at least {low}")
        if not 0.0 <= de_share <= 1.0:
            raise ValueError(f"de_share={de_share!r} must lie in [0, 1]")
        if not F > 0:
            raise ValueError(f"F={F!r} must be positive")
        if bounds not in BOUNDS:
            raise ValueError(f"bounds={bounds!r} is unknown; use one of {', '.join(BOUNDS)}")
        super().__init__(
            pop_size=pop_size,
            crossover=SBX(prob=1.0, eta=ETA),
            mutation=PM(eta=ETA),
            **({"eliminate_duplicates": HashDuplicateElimination()} | kwargs),
        )
        self.n_train = n_train
        self.n_inner = n_inner
        self.de_share = de_share
        self.F = F
        self.bounds = bounds
        self.ridge = ridge
        RBFCritic(ridge=ridge)  # refuses a bad one now

    def _setup(self, problem: Any, **kwargs: Any) -> None:
        require_real_box(problem, "RBFNSGA2")
        self.encoding = Encoding(problem)
        # A variable without range tells a surrogate nothing and would make its tail singular.
        self._free = np.flatnonzero(problem.xu > problem.xl)
        self.n_assisted = 0

    def _initialize_advance(self, infills: Any = None, **kwargs: Any) -> None:
        self.evaluated = infills[-self.n_train :]
        super()._initialize_advance(infills=infills, **kwargs)

    def _advance(self, infills: Any = None, **kwargs: Any) -> None:
        if infills is not None:
            self.evaluated = Population.merge(self.evaluated, infills)[-self.n_train :]
        super()._advance(infills=infills, **kwargs)

    def _infill(self) -> Population | None:
        critic = self._fit()
        if critic is not None:
            offspring = self._search(critic)
            if len(offspring):
                self.n_assisted += 1
                return offspring
        return super()._infill()

    def _fit(self) -> RBFCritic | None:
        """The surrogate of objectives, then constraints G and H; None where there is none yet."""
        u = self._encode(self.evaluated)
        values = np.hstack([matrix(self.evaluated, key) for key in ("F", *self._constraints)])
        _, different = np.unique(u, axis=0, return_index=True)
        usable = np.zeros(len(u), dtype=bool)
        usable[different] = True
        usable &= np.isfinite(values).all(axis=1)
        if len(self._free) == 0 or usable.sum() < len(self._free) + 2:
            return None
        try:
            return RBFCritic(ridge=self.ridge).fit(u[usable], values[usable])
        except np.linalg.LinAlgError:
            return None

    def _encode(self, pop: Population) -> np.ndarray:
        """The variables that have a range, in the unit box `(n, d)`."""
        return self.encoding.encode(pop.get("X"))[:, self._free]

    @property
    def _constraints(self) -> tuple[str, ...]:
        return ("G", "H") if self.problem.has_constraints() else ()

    def _search(self, critic: RBFCritic) -> Population:
        """New points by NSGA-II on the surrogate, at most `n_offsprings`, best first."""
        u = self._encode(self.pop)
        f, cv = matrix(self.pop, "F"), matrix(self.pop, "CV")[:, 0]
        finite = np.isfinite(f).all(axis=1) & np.isfinite(cv)
        u, f, cv = u[finite], f[finite], cv[finite]
        if len(u) < MIN_PARENTS:
            return Population()
        order = best_first(f, cv)
        u, f, cv, known = u[order], f[order], cv[order], np.ones(len(u), dtype=bool)
        for _ in range(self.n_inner):
            size = min(len(u), self.pop_size)
            parents = u[:size]
            child = vary(parents, self.de_share, self.F, self.bounds, self.random_state)
            child_f, child_cv = self._predict(critic, child)
            u = np.concatenate([parents, child])
            # Of equal rows the first stays, so that an evaluated point keeps its true values.
            _, different = np.unique(u, axis=0, return_index=True)
            f = np.concatenate([f[:size], child_f])[different]
            cv = np.concatenate([cv[:size], child_cv])[different]
            known = np.concatenate([known[:size], np.zeros(size, dtype=bool)])[different]
            if not np.isfinite(f).all():
                return Population()
            order = best_first(f, cv)
            u, f, cv, known = u[different][order], f[order], cv[order], known[order]
        return self._new(u[~known])

    def _predict(self, critic: RBFCritic, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Objectives `(n, n_obj)` and constraint violations `(n,)`, the latter by pymoo's rules."""
        values = critic.predict(u)
        n_obj, n_ieq = self.problem.n_obj, self.problem.n_ieq_constr
        g, h = values[:, n_obj : n_obj + n_ieq], values[:, n_obj + n_ieq :]
        return values[:, :n_obj], constraint_violation(g, h)

    def _new(self, u: np.ndarray) -> Population:
        """The first `n_offsprings` rows that are no copies of evaluated points."""
        full = np.zeros((len(u), self.encoding.n_dim))
        full[:, self._free] = u
        off = self.repair.do(self.problem, Population.new(X=self.encoding.decode(full)))
        off = self.eliminate_duplicates.do(off, self.pop, self.evaluated)
        return off[: self.n_offsprings]
