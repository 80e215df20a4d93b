"""ACE, the library's default: archive, critic, evolution."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pymoo.core.algorithm import Algorithm
from pymoo.core.initialization import Initialization
from pymoo.core.population import Population
from pymoo.operators.sampling.lhs import LHS
from pymoo.termination.max_eval import MaximumFunctionCallTermination
from pymoo.termination.max_gen import MaximumGenerationTermination
from pymoo.util.display.multi import MultiObjectiveOutput
from scipy.stats import rankdata

from evogen.algorithms.ace_search import (
    MIN_WEIGHT,
    Aim,
    Proposer,
    differential,
    neighborhoods,
    search,
)
from evogen.algorithms.checks import refuse_unknown, require_real_box
from evogen.algorithms.directions import simplex_directions
from evogen.algorithms.rbf_nsga2 import cross
from evogen.operators import (
    Encoding,
    HashDuplicateElimination,
    SurvivalCredit,
    best_first,
    constrained_rank,
    constraint_violation,
    matrix,
)
from evogen.operators.critic import RBFCritic
from evogen.operators.survival import pairwise_distances, truncate

OPERATORS = ("critic", "sbx", "differential")


class ACE(Algorithm):
    """Archive, critic, evolution: the algorithm for who does not want to choose one.

    Three operators share the offspring by the survival of their children, none below a floor
    (while the directions' start is far away, see below, the critic has the most):

    - `critic`: radial basis functions learn the objectives (and constraints) from the archive of
      evaluated points. For each of `pop_size` directions of objective space, differential variation
      among the neighbouring directions' points is judged by the critic for up to `n_rounds`
      rounds; only what it finds is evaluated. The directions start from a utopian point that is far
      away at first and comes nearer, so that the ends of the front are reached before it is filled.
    - `sbx`: NSGA-II's own variation (tournament, SBX, polynomial mutation).
    - `differential`: the critic's candidates without the critic. They also fill up its batches
      where few different points improve, which shows it the surroundings of the best.

    The population is NSGA-II's, with a first front that is too large thinned by nearest neighbours
    as in SPEA2; constraints count by feasibility first. Batches are small (a quarter of the
    population at first), so that the critic learns from every few evaluations; they grow with the
    run and the critic's turns become rarer, so that its cost grows with the logarithm of long
    budgets. `docs/ace.md` explains the choices and has the measurements.

    Args:
        pop_size: Population size and number of directions (>= 8). None chooses: 100 for two or
            three objectives, 150 for more, at most a tenth of the budget (but 20).
        operators: Which of the operators above take part; the ablations leave some out.
        n_train: Newest evaluated points the critic learns from (>= 16); a fit costs O(n_train^3).
        n_rounds: Rounds of search per turn of the critic (>= 1); fewer when its predictions of the
            last offspring ranked them badly.
        batch_size: Offspring per generation; None for the growing default.
        distance: How far below the best values the utopian point starts, in extents (>= 0).
        arrival: Share of the budget after which it has arrived, in (0, 1].
        floor: Smallest share of any operator after the arrival, in [0, 1 / number of operators].
        propose: Makes the candidates that the critic judges (see `ace_search.differential`).
        sampling: Initial sampling; Latin hypercube by default.
        **kwargs: As for pymoo's `Algorithm`.

    Attributes:
        log: One entry per generation: `n_gen`, `n_eval`, `share_<operator>`, `n_<operator>`,
            `survived_<operator>` (share of its offspring that survived, None if it had none),
            `trust` (rank correlation of predicted with true objectives), `train_seconds`.

    Raises:
        ValueError: An argument out of range, one objective, or no finite box.
        TypeError: An unknown argument, or variables that are not real.
    """

    pop_size: Any

    def __init__(
        self,
        pop_size: int | None = None,
        *,
        operators: Sequence[str] = OPERATORS,
        n_train: int = 600,
        n_rounds: int = 8,
        batch_size: int | None = None,
        distance: float = 2.0,
        arrival: float = 0.7,
        floor: float = 0.1,
        propose: Proposer = differential,
        sampling: Any = None,
        output: Any = None,
        **kwargs: Any,
    ) -> None:
        refuse_unknown(ACE, kwargs)
        for name, value, low in (
            ("pop_size", 8 if pop_size is None else pop_size, 8),
            ("n_train", n_train, 16),
            ("n_rounds", n_rounds, 1),
            ("batch_size", 1 if batch_size is None else batch_size, 1),
            ("distance", distance, 0.0),
        ):
            if value < low:
                raise ValueError(f"{name}={value!r} must be at least {low}")
        unknown = [o for o in operators if o not in OPERATORS]
        if unknown or not operators:
            raise ValueError(f"operators={operators!r} must be some of {', '.join(OPERATORS)}")
        if not 0.0 < arrival <= 1.0:
            raise ValueError(f"arrival={arrival!r} must lie in (0, 1]")
        super().__init__(output=MultiObjectiveOutput() if output is None else output, **kwargs)
        self.pop_size = pop_size
        self.n_train = n_train
        self.n_rounds = n_rounds
        self.batch_size = batch_size
        self.distance = distance
        self.arrival = arrival
        self.floor = floor
        self.propose = propose
        self.sampling = LHS() if sampling is None else sampling
        self.initialization = Initialization(self.sampling)
        self.operators = tuple(operators)
        self.credit = SurvivalCredit(list(operators), floor=floor)
        self.log: list[dict[str, Any]] = []

    def _setup(self, problem: Any, **kwargs: Any) -> None:
        require_real_box(problem, "ACE")
        self.encoding = Encoding(problem)
        self._free = np.flatnonzero(problem.xu > problem.xl)
        if self.pop_size is None:
            self.pop_size = self._choose_pop_size(problem.n_obj)
        directions = simplex_directions(problem.n_obj, self.pop_size)
        directions = np.maximum(directions, MIN_WEIGHT)
        self.directions = directions / directions.sum(axis=1, keepdims=True)
        self.neighbors = neighborhoods(self.directions, 15)
        self.duplicates = HashDuplicateElimination()
        self._constrained = problem.has_constraints()
        self.trust = 1.0
        self._turns = 0.0
        self._newest = 0

    def _choose_pop_size(self, n_obj: int) -> int:
        size, budget = (100 if n_obj <= 3 else 150), self._budget()
        return size if budget is None else min(size, max(20, int(budget) // 10))

    # -- the loop that pymoo runs ----------------------------------------------------------------

    def _initialize_infill(self) -> Population:
        return self.initialization.do(
            self.problem, self.pop_size, random_state=self.random_state, algorithm=self
        )

    def _initialize_advance(self, infills: Any = None, **kwargs: Any) -> None:
        self.seen = self.elite = self.members = Rows.empty()
        self.pop = Population.empty()
        self._survive(infills)

    def _infill(self) -> Population | None:
        if len(self._free) == 0:  # no variable has a range: there is nothing to search
            self.termination.force_termination = True
            return None
        rng = self.random_state
        n, shares = self._batch(), self._shares()
        counts = dict(zip(self.operators, rng.multinomial(n, shares).tolist(), strict=True))
        rows: list[np.ndarray] = []
        names: list[str] = []
        self._predicted: np.ndarray | None = None
        began = time.perf_counter()
        if counts.get("critic") and self._critic_turn():
            rows.append(self._by_critic(counts["critic"]))
            names += ["critic"] * len(rows[0])
        seconds = time.perf_counter() - began
        # What the critic did not fill is made the same way, unseen by it.
        missing = counts.pop("critic", 0) - len(names)
        counts["differential"] = counts.get("differential", 0) + missing
        for name, k in counts.items():
            if k > 0:
                rows.append(self._vary(name, k))
                names += [name if name in self.operators else "critic"] * k
        off = self._new(np.concatenate(rows), names)
        if len(off) == 0:  # copies only, as a last batch of one may be
            off = self._new(rng.random((1, len(self._free))), self.operators[-1:])
        entry: dict[str, Any] = {"n_gen": self.n_iter, "n_eval": self._n_eval}
        entry |= {f"share_{o}": float(s) for o, s in zip(self.operators, shares, strict=True)}
        made = [i.data["operator"] for i in off]
        entry |= {f"n_{o}": made.count(o) for o in self.operators}
        self.log.append(entry | {"trust": self.trust, "train_seconds": seconds})
        return off

    def _advance(self, infills: Any = None, **kwargs: Any) -> None:
        if infills is None:
            return
        self._check_predictions(infills)
        first = self._newest
        self._survive(infills)
        known = list(self.operators)
        made = [i.data.get("operator") for i in infills]
        # Points that somebody else made are welcome, and nobody's credit.
        names = np.array([known.index(o) if o in known else len(known) for o in made], dtype=int)
        alive = np.union1d(self.members.number, self.elite.number)
        lived = names[alive[alive >= first] - first]
        names, lived = names[names < len(known)], lived[lived < len(known)]
        n_born, n_lived = (np.bincount(v, minlength=len(known)) for v in (names, lived))
        self.credit.update(n_born.astype(float), n_lived.astype(float))
        rates = zip(known, n_lived, n_born, strict=True)
        self.log[-1] |= {f"survived_{o}": float(a / b) if b else None for o, a, b in rates}

    def _set_optimum(self) -> None:
        self.opt = self.pop[np.flatnonzero(constrained_rank(self.members.f, self.members.cv) == 0)]

    # -- survival --------------------------------------------------------------------------------

    def _survive(self, infills: Population) -> None:
        """Update the archive, the population and the directions' elite."""
        new = self._rows(infills)
        self.seen = Rows.join(self.seen, new).last(self.n_train)
        merged = Rows.join(self.members, new)
        kept = select(merged.f, merged.cv, self.pop_size)
        self.pop = Population.merge(self.pop, infills)[kept]
        self.members = merged[kept]
        pool = Rows.join(self.seen, self.elite)
        self.aim = self._aim(pool)
        number, self._value = self.aim.best(pool.f, pool.cv)
        self.elite = pool[number]

    def _rows(self, infills: Population) -> Rows:
        """New individuals as arrays."""
        number = self._newest + np.arange(len(infills))
        self._newest += len(infills)
        keys = ("F", *(("G", "H") if self._constrained else ()))
        values = np.hstack([matrix(infills, key) for key in keys])
        f = finite(matrix(infills, "F"))
        return Rows(self.encode(infills), f, matrix(infills, "CV")[:, 0], values, number)

    def _aim(self, pool: Rows) -> Aim:
        """Where the directions start and what their unit is, today."""
        # What is infeasible may have any values; once there is something else, it says nothing.
        known = pool.feasible()
        ideal = known.f.min(axis=0)
        first = constrained_rank(self.members.f, self.members.cv) == 0
        extent = self.members.f[first].max(axis=0) - ideal
        # A front that has shrunk to a point says nothing on scale; the elite still does.
        elite = self.elite.feasible() if len(self.elite.cv) else known
        spread = np.quantile(elite.f, 0.9, axis=0) - ideal
        extent = np.maximum(np.maximum(extent, spread), 1e-9)
        far = self.distance * max(0.0, 1.0 - self._progress() / self.arrival)
        return Aim(self.directions, ideal - far * extent, extent)

    def _progress(self) -> float:
        """Share of the way to the utopian point's arrival that is behind, in [0, 1]."""
        budget = self._budget()
        if budget is None:  # a time limit, say: pymoo knows how much of it is over
            over = float(getattr(self.termination, "perc", 0.0) or 0.0)
            return min(1.0, max(over, self._n_eval / (100 * self.pop_size)))
        return min(1.0, self._n_eval / min(budget, 200 * self.pop_size))

    @property
    def _n_eval(self) -> int:
        """Evaluations so far; who asks and tells may evaluate past our evaluator."""
        return max(int(self.evaluator.n_eval), self._newest)

    def _budget(self) -> float | None:
        """Evaluations the termination allows; None where it counts something else."""
        end = self.termination
        if isinstance(end, MaximumFunctionCallTermination):
            return float(end.n_max_evals)
        if isinstance(end, MaximumGenerationTermination):
            size = self.pop_size or 100
            return float(size + (end.n_max_gen - 1) * (self.batch_size or -(-size // 4)))
        return None

    def _batch(self) -> int:
        if self.batch_size is not None:
            n = self.batch_size
        else:
            n = int(np.clip(self._n_eval // 200, -(-self.pop_size // 4), self.pop_size))
        budget = self._budget()
        if isinstance(self.termination, MaximumFunctionCallTermination) and budget is not None:
            n = min(n, max(1, int(budget) - self._n_eval))
        return n

    def _shares(self) -> np.ndarray:
        """Shares of the operators `(k,)`: the critic's at first, by credit as the aim comes near.

        Where one end of the front dominates all that is not yet as good (IMF2), whoever gets there
        early loses the rest; steps that nobody aimed get there early.
        """
        shares = self.credit.shares()
        if "critic" in self.operators and len(self._free) + 2 > self.n_train + self.pop_size:
            # It can never learn from so few points in so many variables.
            shares = np.where([o == "critic" for o in self.operators], 0.0, shares)
            shares = shares if shares.any() else np.ones(1)
        elif "critic" in self.operators:
            near = min(1.0, self._progress() / self.arrival)
            first = np.array([o == "critic" for o in self.operators])
            shares = near * shares + (1.0 - near) * first
        return np.asarray(shares / shares.sum())

    # -- variation -------------------------------------------------------------------------------

    def _critic_turn(self) -> bool:
        """Whether the critic has its turn: always at first, more and more rarely in long runs."""
        self._turns += min(1.0, 200.0 * self.pop_size / max(1, self._n_eval))
        turn = self._turns >= 1.0
        self._turns -= float(turn)
        return turn

    def _by_critic(self, n: int) -> np.ndarray:
        """At most n points found on the critic `(<= n, d)`; none while there is no critic yet."""
        pool = Rows.join(self.seen, self.elite)
        u, values = pool.u, pool.values
        _, different = np.unique(u.round(9), axis=0, return_index=True)
        usable = different[np.isfinite(values[different]).all(axis=1)]
        if len(usable) < len(self._free) + 2:
            return u[:0]
        try:
            self.critic = RBFCritic().fit(u[usable], values[usable])
        except np.linalg.LinAlgError:
            return u[:0]
        rounds = max(1, int(np.ceil(self.n_rounds * self.trust)))
        found = search(
            self.predict, self.elite.u, self._value, self.aim, self.neighbors, rounds,
            self.random_state, self.propose,
        )  # fmt: skip
        keep = self.random_state.permutation(len(found))[:n]
        self._predicted = self.critic.predict(found[keep])[:, : self.problem.n_obj]
        return found[keep]

    def predict(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The critic's objectives `(n, n_obj)` and violations `(n,)` of points in the unit box."""
        values = self.critic.predict(u)
        n_obj, n_ieq = self.problem.n_obj, self.problem.n_ieq_constr
        g, h = values[:, n_obj : n_obj + n_ieq], values[:, n_obj + n_ieq :]
        return values[:, :n_obj], constraint_violation(g, h)

    def _check_predictions(self, infills: Population) -> None:
        """Trust: running mean of the worst objective's rank correlation, predicted with true."""
        if self._predicted is None:
            return
        end = len(self._predicted)
        made = infills[[i for i, x in enumerate(infills) if x.data.get("row", end) < end]]
        numbers = [i.data["row"] for i in made]
        f = matrix(made, "F") if len(made) else np.empty((0, self.problem.n_obj))
        if len(f) < 5 or not np.isfinite(f).all():
            return
        predicted = self._predicted[numbers]
        worst = min(rank_correlation(a, b) for a, b in zip(predicted.T, f.T, strict=True))
        self.trust = 0.5 * self.trust + 0.5 * max(worst, 0.0)

    def _vary(self, name: str, n: int) -> np.ndarray:
        """Offspring of the population without the critic `(n, d)`."""
        rng, u = self.random_state, self.members.u
        if name == "sbx":
            order = best_first(self.members.f, self.members.cv)
            parents = rng.integers(len(u), size=(2, -(-n // 2), 2)).min(axis=2)
            return cross(u[order][parents], rng)[:n]
        turns = -(-n // len(self.directions))
        child = [differential(self.elite.u, self.neighbors, rng) for _ in range(turns)]
        return np.concatenate(child)[rng.permutation(turns * len(self.directions))[:n]]

    def encode(self, pop: Population) -> np.ndarray:
        """The variables that have a range, in the unit box `(n, d)`."""
        return self.encoding.encode(pop.get("X"))[:, self._free]

    def _new(self, u: np.ndarray, names: Sequence[str]) -> Population:
        """Offspring that are no copies of what is known, tagged with their operator."""
        full = np.zeros((len(u), self.encoding.n_dim))
        full[:, self._free] = u
        off = Population.new(X=self.encoding.decode(full))
        for number, (individual, name) in enumerate(zip(off, names, strict=True)):
            individual.data |= {"operator": name, "row": number}
        off = self.duplicates.do(off)
        known = np.concatenate([self.seen.u, self.members.u, self.elite.u])
        seen = {row.tobytes() for row in known}
        fresh = [i for i, row in enumerate(self.encode(off)) if row.tobytes() not in seen]
        return off[fresh]


@dataclass
class Rows:
    """Evaluated points as arrays of n rows.

    Attributes:
        u: Variables that have a range, in the unit box `(n, d)`.
        f: Objectives, finite `(n, n_obj)`.
        cv: Constraint violations `(n,)`.
        values: What the critic learns: objectives and constraints as they came `(n, k)`.
        number: Order of evaluation `(n,)`.
    """

    u: np.ndarray
    f: np.ndarray
    cv: np.ndarray
    values: np.ndarray
    number: np.ndarray

    @staticmethod
    def empty() -> Rows:
        """No points; joins with any."""
        none = np.empty((0, 0))
        return Rows(none, none, np.empty(0), none, np.empty(0, dtype=int))

    @staticmethod
    def join(one: Rows, two: Rows) -> Rows:
        """All rows of both."""
        if len(one.cv) == 0 or len(two.cv) == 0:
            return two if len(one.cv) == 0 else one
        pairs = zip(vars(one).values(), vars(two).values(), strict=True)
        return Rows(*(np.concatenate(pair) for pair in pairs))

    def last(self, n: int) -> Rows:
        """The last n rows."""
        return Rows(*(column[-n:] for column in vars(self).values()))

    def feasible(self) -> Rows:
        """The feasible rows; all where there are none."""
        good = self.cv <= 0
        return self[good] if good.any() and not good.all() else self

    def __getitem__(self, index: np.ndarray) -> Rows:
        return Rows(*(column[index] for column in vars(self).values()))


def select(f: np.ndarray, cv: np.ndarray, n: int) -> np.ndarray:
    """Survivors: NSGA-II's order, but a first front that is too large thinned as in SPEA2.

    Args:
        f: Objectives `(k, n_obj)`, finite.
        cv: Violations `(k,)`.
        n: How many to keep.

    Returns:
        Row numbers `(min(n, k),)`.
    """
    if len(f) <= n:
        return np.arange(len(f))
    first = np.flatnonzero(constrained_rank(f, cv) == 0)
    if len(first) <= n:
        return best_first(f, cv)[:n]
    front = f[first]
    low, extent = front.min(axis=0), np.ptp(front, axis=0)
    scaled = (front - low) / np.where(extent > 0, extent, 1.0)
    return np.asarray(first[truncate(pairwise_distances(scaled), n)])


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's coefficient; 0 where one of them is constant."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def finite(f: np.ndarray) -> np.ndarray:
    """Objectives `(n, n_obj)`; rows that are not finite become one worse than all others."""
    bad = ~np.isfinite(f).all(axis=1)
    if not bad.any():
        return f
    good = f[~bad]
    worst = (
        good.max(axis=0) + np.ptp(good, axis=0) + 1.0 if len(good) else np.full(f.shape[1], 1e30)
    )
    return np.where(bad[:, None], worst, f)
