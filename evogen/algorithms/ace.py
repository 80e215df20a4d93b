"""ACE, the library's default: archive, critic, evolution."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from pymoo.core.algorithm import Algorithm
from pymoo.core.initialization import Initialization
from pymoo.core.population import Population
from pymoo.operators.sampling.lhs import LHS
from pymoo.termination.max_eval import MaximumFunctionCallTermination
from pymoo.termination.max_gen import MaximumGenerationTermination
from pymoo.util.display.multi import MultiObjectiveOutput

from evogen.algorithms.ace_critic import Critic
from evogen.algorithms.ace_local import LocalInverse
from evogen.algorithms.ace_rows import Rows, finite, select
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

OPERATORS = ("critic", "sbx", "differential")

#: How far away directions start, in extents of the front, with two objectives and with more.
DISTANCE, MANY_DISTANCE = 4.0, 2.0

#: Share of the budget after which all directions have arrived, with two objectives and with more,
#: and after which the near ones have.
ARRIVAL, MANY_ARRIVAL, NEAR_ARRIVAL = 0.5, 0.7, 0.15

#: ... and from which on the critic has a warp and a metric. From the beginning, a search that is so
#: much faster loses the far end of IMF2's front.
SPACE_FROM = 0.15

#: An objective's unit is at least this share of its range among points that are good in something.
MIN_EXTENT = 0.01

#: What is left of its floor to a critic that is not trusted.
DISTRUST = 0.2

#: ... which counts as at least this for it.
MIN_ASKED = 0.05


class ACE(Algorithm):
    """Archive, critic, evolution: the algorithm for who does not want to choose one.

    Three operators share the offspring by the survival of their children, none below a floor.
    A critic that ranks its own offspring rightly has the most while the directions' start is far
    away, see below; one that does not is hardly asked:

    - `critic`: radial basis functions learn the objectives (and constraints) from the archive of
      evaluated points. For each of `pop_size` directions of objective space, candidates are judged
      by the critic for up to `n_rounds` rounds: samples of a local inverse model of the directions'
      points, see `LocalInverse`, among differential variation of them. Only what it finds is
      evaluated. The directions start from a utopian point that is far away at first and comes
      nearer, so that the ends of the front are reached before it is filled; with three or more
      objectives every second one arrives early, since so many ends take long.
    - `sbx`: NSGA-II's own variation (tournament, SBX, polynomial mutation).
    - `differential`: differential variation without the critic. It also fills up the critic's
      batches where few different points improve, which shows it the surroundings of the best.

    The population is NSGA-II's, with a first front that is too large thinned by nearest neighbours
    as in SPEA2; constraints count by feasibility first. Batches are small (a quarter of the
    population at first), so that the critic learns from every few evaluations; they grow with the
    run and the critic's turns become rarer, so that its cost grows with the logarithm of long
    budgets. `docs/ace.md` explains the choices and has the measurements.

    Args:
        pop_size: Population size and number of directions (>= 8). None chooses: 100 for two or
            three objectives, 150 for more, at most a tenth of the budget (but 20).
        operators: Which of the operators above take part; the ablations leave some out.
        n_train: Newest evaluated points that the critic begins with (>= 16), beside the best of
            each direction; up to a third more are added. A fit costs O(n_train^3).
        n_rounds: Rounds of search per turn of the critic (>= 1); fewer when its predictions of the
            last offspring ranked them badly.
        batch_size: Offspring per generation; None for the growing default.
        distance: How far below the best values the utopian point starts, in extents (>= 0); None:
            4 with two objectives, 2 with more.
        near: Share of the directions that arrive early, after 15 % of the budget (or `arrival`, if
            that is less), in [0, 1]; None: none with two objectives, half with more.
        arrival: Share of the budget (at most 200 populations) after which all directions have
            arrived, in (0, 1]; None: 0.5 with two objectives, 0.7 with more.
        stretch: Whether the critic, after 15 % of the budget, measures distances in a metric in
            which variables count by how much the objectives change along them.
        bend: Whether, from then on, variables along which the objectives change ever faster towards
            a bound are bent for the critic and its candidates, see `Warp`.
        floor: Smallest share of any operator after the arrival, in [0, 1 / number of operators];
            a fifth of it for a critic that is not trusted.
        propose: Makes the candidates that the critic judges: None for `LocalInverse()`, a
            conditional model that is fitted in no time, among differential variation;
            `ace_search.differential` for that alone; `ModelProposer(model)` for any other model.
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
        distance: float | None = None,
        near: float | None = None,
        arrival: float | None = None,
        stretch: bool = True,
        bend: bool = True,
        floor: float = 0.1,
        propose: Proposer | None = None,
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
            ("distance", 0.0 if distance is None else distance, 0.0),
        ):
            if value < low:
                raise ValueError(f"{name}={value!r} must be at least {low}")
        unknown = [o for o in operators if o not in OPERATORS]
        if unknown or not operators:
            raise ValueError(f"operators={operators!r} must be some of {', '.join(OPERATORS)}")
        if near is not None and not 0.0 <= near <= 1.0:
            raise ValueError(f"near={near!r} must lie in [0, 1], or be None for the default")
        if arrival is not None and not 0.0 < arrival <= 1.0:
            raise ValueError(f"arrival={arrival!r} must lie in (0, 1], or be None for the default")
        super().__init__(output=MultiObjectiveOutput() if output is None else output, **kwargs)
        self.pop_size = pop_size
        self.n_train = n_train
        self.n_rounds = n_rounds
        self.batch_size = batch_size
        self.distance = distance
        self.near = near
        self.arrival = arrival
        self.stretch = stretch
        self.bend = bend
        self.floor = floor
        self.propose = LocalInverse() if propose is None else propose
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
        default = ARRIVAL if problem.n_obj == 2 else MANY_ARRIVAL
        self._arrival = default if self.arrival is None else self.arrival
        default = DISTANCE if problem.n_obj == 2 else MANY_DISTANCE
        self._distance = default if self.distance is None else self.distance
        early = min(NEAR_ARRIVAL, self._arrival)
        self._arrivals = np.where(self._come_early(), early, self._arrival)
        self.duplicates = HashDuplicateElimination()
        self._constrained = problem.has_constraints()
        self._turns = 0.0
        self._newest = 0
        self._asked = Population.empty()
        self.critic = Critic(problem.n_obj)

    def _choose_pop_size(self, n_obj: int) -> int:
        size, budget = (100 if n_obj <= 3 else 150), self._budget()
        return size if budget is None else min(size, max(20, int(budget) // 10))

    def _come_early(self) -> np.ndarray:
        """Which directions arrive before the others `(k,)`: evenly by their first weight."""
        k, share = len(self.directions), self.near
        if share is None:
            share = 0.0 if self.problem.n_obj == 2 else 0.5
        near = np.zeros(k, dtype=bool)
        order = np.argsort(self.directions[:, 0], kind="stable")
        near[order[np.linspace(0, k - 1, round(share * k)).round().astype(int)]] = True
        return near

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
        predicted = np.empty((0, self.problem.n_obj))
        began = time.perf_counter()
        if counts.get("critic") and self._critic_turn():
            rows.append(self._by_critic(counts["critic"]))
            names += ["critic"] * len(rows[0])
            if len(rows[0]):
                predicted = self.critic.predict(rows[0])[:, : self.problem.n_obj]
        seconds = time.perf_counter() - began
        # What the critic did not fill is made the same way, unseen by it.
        missing = counts.pop("critic", 0) - len(names)
        counts["differential"] = counts.get("differential", 0) + missing
        for name, k in counts.items():
            if k > 0:
                rows.append(self._vary(name, k))
                names += [name if name in self.operators else "critic"] * k
        off = self._new(np.concatenate(rows), names, predicted)
        if len(off) == 0:  # copies only, as a last batch of one may be
            off = self._new(rng.random((1, len(self._free))), self.operators[-1:], predicted[:0])
        self._asked = off
        entry: dict[str, Any] = {"n_gen": self.n_iter, "n_eval": self._n_eval}
        entry |= {f"share_{o}": float(s) for o, s in zip(self.operators, shares, strict=True)}
        made = [i.data["operator"] for i in off]
        entry |= {f"n_{o}": made.count(o) for o in self.operators}
        self.log.append(entry | {"trust": self.critic.trust, "train_seconds": seconds})
        return off

    def _advance(self, infills: Any = None, **kwargs: Any) -> None:
        if infills is None:
            return
        notes = self._notes(infills)
        told = [i for i, note in enumerate(notes) if "predicted" in note]
        if told:
            predicted = np.stack([notes[i]["predicted"] for i in told])
            self.critic.check(predicted, matrix(infills[told], "F"))
        first = self._newest
        self._survive(infills)
        known = list(self.operators)
        made = [note.get("operator") for note in notes]
        # Points that somebody else made are welcome, and nobody's credit.
        names = np.array([known.index(o) if o in known else len(known) for o in made], dtype=int)
        alive = np.union1d(self.members.number, self.elite.number)
        lived = names[alive[alive >= first] - first]
        names, lived = names[names < len(known)], lived[lived < len(known)]
        n_born, n_lived = (np.bincount(v, minlength=len(known)) for v in (names, lived))
        self.credit.update(n_born.astype(float), n_lived.astype(float))
        rates = zip(known, n_lived, n_born, strict=True)
        if not self.log:  # somebody tells before anything was asked
            return
        self.log[-1] |= {f"survived_{o}": float(a / b) if b else None for o, a, b in rates}

    def _notes(self, infills: Population) -> list[dict[str, Any]]:
        """What is known of each offspring's origin, also if it comes back as a new individual."""
        notes = [dict(individual.data) for individual in infills]
        if len(self._asked) == 0 or all("operator" in note for note in notes):
            return notes
        rows = [row.tobytes() for row in self.encode(self._asked)]
        asked = {row: i.data for row, i in zip(rows, self._asked, strict=True)}
        told = [row.tobytes() for row in self.encode(infills)]
        return [asked.get(row, note) for row, note in zip(told, notes, strict=True)]

    def _set_optimum(self) -> None:
        self.opt = self.pop[np.flatnonzero(constrained_rank(self.members.f, self.members.cv) == 0)]

    # -- survival --------------------------------------------------------------------------------

    def _survive(self, infills: Population) -> None:
        """Update the archive, the population and the directions' elite."""
        new = self._rows(infills)
        self.seen = Rows.join(self.seen, new).last(max(self.n_train, len(infills)))
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
        # Nor does either where nearly all have the same value of an objective (DTLZ4's start); what
        # is good in nothing, a failure's penalty say, tells nothing of the range.
        some = (known.f <= np.median(known.f, axis=0)).any(axis=1)
        reach = known.f[some].max(axis=0) - ideal
        self._least = least = np.maximum(MIN_EXTENT * reach, 1e-9)
        extent = np.maximum(np.maximum(extent, spread), least)
        below = self._distance * np.maximum(0.0, 1.0 - self._progress() / self._arrivals)
        return Aim(self.directions, ideal - below[:, None] * extent, extent)

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
        """Shares of the operators `(k,)`: by credit, the critic's in proportion to the trust in it.

        At first nearly all are the critic's, as far as it is trusted and its offspring survive at
        least half as often as the others': where one end of the front dominates all that is not
        yet as good (IMF2), whoever gets there early loses the rest; steps that nobody aimed get
        there early.
        """
        shares = self.credit.shares()
        shares = shares / shares.sum()
        if "critic" not in self.operators or len(self.operators) == 1:
            return np.asarray(shares)
        first = np.array([o == "critic" for o in self.operators])
        if len(self._free) + 2 > self.n_train + self.pop_size:
            # It can never learn from so few points in so many variables.
            shares = np.where(first, 0.0, shares)
            return np.asarray(shares / shares.sum()) if shares.any() else np.ones(1)
        confidence = self.critic.confidence
        # One that is not trusted is hardly asked: what it finds extreme does harm (ZDT4's twin). It
        # is asked now and then all the same, or it could never regain trust.
        least = max(confidence, DISTRUST) * max(self.floor, MIN_ASKED)
        shares = np.where(first, np.maximum(confidence * shares, least), shares)
        rate = self.credit.rate
        success = min(1.0, 2.0 * float(rate[first][0] / max(rate.max(), 1e-6)))
        lead = confidence * success * (1.0 - min(1.0, self._progress() / self._arrival))
        return np.asarray((1.0 - lead) * shares / shares.sum() + lead * first)

    # -- variation -------------------------------------------------------------------------------

    def _critic_turn(self) -> bool:
        """Whether the critic has its turn: always at first, more and more rarely in long runs."""
        self._turns += min(1.0, 200.0 * self.pop_size / max(1, self._n_eval))
        turn = self._turns >= 1.0
        self._turns -= float(turn)
        return turn

    def _by_critic(self, n: int) -> np.ndarray:
        """At most n points found on the critic `(<= n, d)`; none while there is no critic yet."""
        late = self._progress() >= SPACE_FROM
        rows = Rows.join(self.seen.last(self.n_train), self.elite)
        if not self.critic.learn(rows, stretch=late and self.stretch, bend=late and self.bend):
            return self.seen.u[:0]
        rounds = max(1, int(np.ceil(self.n_rounds * self.critic.trust)))
        # Candidates are made in the warped box: where the objectives change evenly, the sets of
        # good points are less curved too.
        warp = self.critic.warp
        found = search(
            self._predict, warp(self._parents()), self._value, self.aim, self.neighbors, rounds,
            self.random_state, self.propose,
        )  # fmt: skip
        keep = self.random_state.permutation(len(found))[:n]
        return warp.inverse(found[keep])

    def _predict(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The critic's objectives `(n, n_obj)` and violations `(n,)` of warped points."""
        values = self.critic.predict_warped(z)
        n_obj, n_ieq = self.problem.n_obj, self.problem.n_ieq_constr
        g, h = values[:, n_obj : n_obj + n_ieq], values[:, n_obj + n_ieq :]
        return values[:, :n_obj], constraint_violation(g, h)

    def _vary(self, name: str, n: int) -> np.ndarray:
        """Offspring of the population without the critic `(n, d)`."""
        rng, u = self.random_state, self.members.u
        if name == "sbx":
            order = best_first(self.members.f, self.members.cv)
            parents = rng.integers(len(u), size=(2, -(-n // 2), 2)).min(axis=2)
            return cross(u[order][parents], rng)[:n]
        turns, parents = -(-n // len(self.directions)), self._parents()
        child = [differential(parents, self.neighbors, rng) for _ in range(turns)]
        return np.concatenate(child)[rng.permutation(turns * len(self.directions))[:n]]

    def _parents(self) -> np.ndarray:
        """Each direction's point to start from `(k, d)`: its best one, as a rule.

        Where they all are the same in some objective, differences among them do not lead out of
        there; all copies of a point but one become points of the population.
        """
        u = self.elite.u
        if (np.ptp(self.elite.f, axis=0) > self._least).all():
            return u
        _, first = np.unique(self.elite.number, return_index=True)
        others = self.random_state.integers(len(self.members.u), size=len(u))
        parents = self.members.u[others]
        parents[first] = u[first]
        return parents

    def encode(self, pop: Population) -> np.ndarray:
        """The variables that have a range, in the unit box `(n, d)`."""
        return self.encoding.encode(pop.get("X"))[:, self._free]

    def _new(self, u: np.ndarray, names: Sequence[str], predicted: np.ndarray) -> Population:
        """Offspring that are no copies of what is known, with their operator noted.

        Args:
            u: In the unit box `(n, d)`.
            names: Operators `(n,)`.
            predicted: What the critic predicts of the first k `(k, n_obj)`.
        """
        full = np.zeros((len(u), self.encoding.n_dim))
        full[:, self._free] = u
        off = Population.new(X=self.encoding.decode(full))
        for individual, name in zip(off, names, strict=True):
            individual.data["operator"] = name
        for individual, f in zip(off, predicted):  # noqa: B905 (the first ones only)
            individual.data["predicted"] = f
        off = self.duplicates.do(off)
        known = np.concatenate([self.seen.u, self.members.u, self.elite.u])
        # Who went through a warp and back is the same but for rounding.
        seen = {row.tobytes() for row in known.round(12)}
        fresh = [i for i, row in enumerate(self.encode(off).round(12)) if row.tobytes() not in seen]
        return off[fresh]
