"""Offspring from a generative model, in the place where pymoo algorithms make theirs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
from pymoo.core.duplicate import DefaultDuplicateElimination, NoDuplicateElimination
from pymoo.core.infill import InfillCriterion
from pymoo.core.population import Population

from evogen.operators.base import default_base, pairs_with_parents, run_base
from evogen.operators.credit import SurvivalCredit
from evogen.operators.encoding import BOUNDS, Encoding, repair_to_box
from evogen.operators.examples import Elites, Examples
from evogen.operators.slot import (
    ModelSlot,
    check_model,
    check_ready,
    history_snapshot,
    require_width,
)
from evogen.operators.solutions import Solutions

Share = float | str | Callable[[int, np.random.Generator], float]


class GenerativeMating(InfillCriterion):
    """A share of the offspring from a generative model, the rest from a base mating.

    Once a generation the model is fitted (warm) to examples taken from the population, then asked
    for offspring; both happen in the unit box of `Encoding`. Works as `NSGA2(mating=...)` and,
    for algorithms that are already built, through `inject`; both give the same run.

    Args:
        model: Anything with `fit(x, condition=None)` and `sample(n, condition=None)`.
        examples: What it learns from and is asked for; default `Elites()`.
        share: Share of the offspring from the model: a number in [0, 1]; `"adaptive"` (by
            measured survival, starting at one half, never below 0.1); or a function of
            (generation, random_state) returning a number in [0, 1].
        base: Makes the other offspring; default is the algorithm's own mating (the class's
            default operators when the algorithm was built with `mating=`).
        mutation: pymoo mutation applied to the model's offspring, e.g. `PM()`; None for none.
        refit_every: Fit every k-th generation (>= 1).
        archive_size: Learn from this many of the last evaluated points besides the population
            (>= 0).
        bounds: What to do with samples outside the box, `"reflect"` or `"clip"`
            (see `repair_to_box`).
        repair: pymoo repair; default is the algorithm's.
        eliminate_duplicates: pymoo duplicate elimination, or True / False for pymoo's default one
            or none; default is the algorithm's.
        n_max_iterations: How often the base mating may be asked to fill up after duplicates.

    Attributes:
        log: One dictionary per generation: `n_gen`, `share` (of the model), `n_model` and
            `n_base` offspring made, and `survived_model`, `survived_base`: shares of the previous
            generation's offspring that are in the population now (None where there were none).
        slot: Holds the model (`slot.model`), its failures and its CPU seconds.

    Raises:
        TypeError: The model lacks what the examples need, or an argument is of a wrong kind.
        ValueError: An argument out of range.
    """

    def __init__(
        self,
        model: Any,
        examples: Examples | None = None,
        *,
        share: Share = 0.5,
        base: InfillCriterion | None = None,
        mutation: Any = None,
        refit_every: int = 1,
        archive_size: int = 0,
        bounds: str = "reflect",
        repair: Any = None,
        eliminate_duplicates: Any = None,
        n_max_iterations: int = 100,
    ) -> None:
        #: What the algorithm's own mating or the algorithm still has to supply.
        self._missing = {
            name
            for name, value in (
                ("base", base),
                ("repair", repair),
                ("eliminate_duplicates", eliminate_duplicates),
            )
            if value is None
        }
        if isinstance(eliminate_duplicates, bool):
            eliminate_duplicates = (
                DefaultDuplicateElimination() if eliminate_duplicates else NoDuplicateElimination()
            )
        super().__init__(repair, eliminate_duplicates, n_max_iterations)
        self.examples = Elites() if examples is None else examples
        if not isinstance(self.examples, Examples):
            raise TypeError(f"examples={examples!r} must be an instance such as Elites()")
        check_model(model, conditional=self.examples.conditional)
        if not callable(share) and not (isinstance(share, str) and share == "adaptive"):
            _check_share(f"share={share!r}", share, ', "adaptive" or a function')
        if refit_every < 1 or int(refit_every) != refit_every:
            raise ValueError(f"refit_every={refit_every!r} must be a whole number, at least 1")
        if archive_size < 0:
            raise ValueError(f"archive_size={archive_size!r} must not be negative")
        if bounds not in BOUNDS:
            raise ValueError(f"bounds={bounds!r} is unknown; use one of {', '.join(BOUNDS)}")
        if base is not None and not isinstance(base, InfillCriterion):
            raise TypeError(f"base={base!r} must be a pymoo mating, such as NSGA2().mating")
        if mutation is not None and not callable(mutation):
            raise TypeError(f"mutation={mutation!r} must be a pymoo mutation, such as PM()")
        self.slot = ModelSlot(model)
        self.share = share
        self.base = base
        self.model_mutation = mutation
        self.refit_every = refit_every
        self.archive_size = archive_size
        self.bounds = bounds
        self.credit = SurvivalCredit(["model", "base"])
        self.log: list[dict[str, Any]] = []
        self._encoding: Encoding | None = None
        self._known: Solutions | None = None
        self._archive: Solutions | None = None
        self._asked = 0
        self._filling = False
        self._wrapped = False

    #: Asked for n offspring it makes n, not one per parent.
    pairs_with_parents = False

    @property
    def model(self) -> Any:
        """The generative model; None in a history snapshot."""
        return self.slot.model

    # pymoo reads the next three from whatever stands in `algorithm.mating`: MOEA/D the crossover
    # (before its first offspring), D-NSGA-II the mutation.

    @property
    def selection(self) -> Any:
        """The base mating's selection."""
        return getattr(self.base or default_base(None, None), "selection", None)

    @property
    def crossover(self) -> Any:
        """The base mating's crossover."""
        return getattr(self.base or default_base(None, None), "crossover", None)

    @property
    def mutation(self) -> Any:
        """The base mating's mutation."""
        return getattr(self.base or default_base(None, None), "mutation", None)

    def wrap(self, mating: InfillCriterion) -> GenerativeMating:
        """Stand in front of a built mating, which becomes the base.

        Its repair and duplicate check are taken over. What was given to the constructor stays.

        Returns:
            self.

        Raises:
            ValueError: It stands in front of a mating, or has made offspring, already.
        """
        if self._wrapped or self.log:
            raise ValueError(
                "this GenerativeMating serves an algorithm already; build one per algorithm"
            )
        self._wrapped = True
        self._take_over(mating, mating)
        return self

    def check(self, problem: Any) -> None:
        """Refuse a problem without a unit box, or a model that cannot start, before any evaluation.

        Raises:
            ValueError: Missing, reversed or infinite bounds; a device that is not there.
            TypeError: A kind of variable without a vector form.
        """
        Encoding(problem)
        check_ready(self.model)

    def do(
        self,
        problem: Any,
        pop: Population,
        n_offsprings: int,
        random_state: Any = None,
        n_max_iterations: int | None = None,
        **kwargs: Any,
    ) -> Population:
        """Make offspring; see `pymoo.core.infill.InfillCriterion.do`."""
        algorithm = kwargs.get("algorithm")
        if random_state is None:
            random_state = getattr(algorithm, "random_state", None) or np.random.default_rng()
        if self._missing:
            # A mating given to an algorithm's constructor gets nothing from it.
            self._take_over(algorithm, default_base(algorithm, problem))
        n_gen = self._clock(algorithm, pop, kwargs.get("parents"))
        if not self.log or n_gen != self.log[-1]["n_gen"]:
            self._begin_generation(n_gen, problem, pop, algorithm, random_state)
        self._filling = False
        return super().do(problem, pop, n_offsprings, random_state, n_max_iterations, **kwargs)

    def _do(
        self,
        problem: Any,
        pop: Population,
        n_offsprings: int,
        parents: Any = None,
        random_state: Any = None,
        **kwargs: Any,
    ) -> Population:
        assert self.base is not None
        if parents is not None:
            # MOEA/D asks for 1, its parallel form for 1e12: the parents tell the true number.
            n_offsprings = len(parents) * self.base.crossover.n_offsprings
            kwargs["parents"] = parents
        n = int(n_offsprings)
        # A collapsed model repeats itself: what duplicate elimination took away is filled up by
        # the base mating alone.
        share = 0.0 if self._filling else self.log[-1]["share"]
        self._filling = True
        from_model = random_state.random(n) < share
        drawn = self._draw(problem, int(from_model.sum()), random_state)
        from_model[np.flatnonzero(from_model)[len(drawn) :]] = False

        n_base = int((~from_model).sum())
        off = Population.empty()
        if n_base > 0:
            # Where offspring k belongs to parent k, the base makes all rows and some are replaced.
            aligned = parents is not None or pairs_with_parents(self.base)
            off = run_base(
                self.base,
                problem,
                pop,
                n if aligned else n_base,
                random_state=random_state,
                **kwargs,
            )[: n if aligned else n_base]
            off = off[~from_model[: len(off)]] if aligned else off
        rows = np.empty(len(off) + len(drawn), dtype=object)
        # A base may make fewer than it was asked for.
        place = np.delete(from_model, np.flatnonzero(~from_model)[len(off) :])
        rows[place], rows[~place] = drawn, off
        self._tag(off, "base")
        self._tag(drawn, "model")
        return Population.create(*rows)

    def _draw(self, problem: Any, n: int, random_state: np.random.Generator) -> Population:
        """Up to n offspring from the model; fewer when it failed or returned non-finite rows."""
        if n == 0 or self._known is None or self._encoding is None:
            return Population.empty()
        rows = self.slot.sample(n, self.examples.ask(n, self._known, random_state), random_state)
        if rows is None:
            return Population.empty()
        require_width(self.model, "sample", rows, n, self._encoding.n_dim)
        rows = repair_to_box(self.slot.usable(rows, n), self.bounds, random_state)
        off = Population.new(X=self._encoding.decode(rows))
        if self.model_mutation is not None and len(off):
            off = self.model_mutation(problem, off, random_state=random_state)
        return off

    def _take_over(self, source: Any, base: Any) -> None:
        """Fill in what the constructor was not given from an algorithm or its mating."""
        for name in ("repair", "eliminate_duplicates"):
            value = getattr(source, name, None)
            if name in self._missing and value is not None:
                setattr(self, name, value)
        if "base" in self._missing:
            self.base = base
        self._missing = set()

    def _clock(self, algorithm: Any, pop: Population, parents: Any) -> int:
        """The generation. MOEA/D hands over no algorithm and asks for one offspring at a time: a
        generation has passed when as many were asked for as the population has members. Called
        without algorithm and parents, every call is a generation."""
        if algorithm is not None:
            return int(algorithm.n_iter)
        asked = len(pop) if parents is None else len(parents)
        n_gen = self.log[-1]["n_gen"] if self.log else 2
        if self._asked + asked > len(pop):
            self._asked, n_gen = 0, n_gen + 1
        self._asked += asked
        return int(n_gen)

    def _begin_generation(
        self, n_gen: int, problem: Any, pop: Population, algorithm: Any, random_state: Any
    ) -> None:
        """Credit the last offspring, learn from the population, set the model's share."""
        if self._encoding is None:
            check_ready(self.model)
            self._encoding = Encoding(problem)
            self._encoding.refuse_permutations(pop.get("X"))
        if not self.log:
            for individual in pop:  # an earlier run's, when it starts from that run's population
                individual.data.pop(self._tags[1], None)
        survived = self._credit_survivors(pop)
        self._known = self._learnable(pop, getattr(algorithm, "off", None))
        learnable = len(self._known) >= 2
        due = not self.slot.fitted or len(self.log) % self.refit_every == 0
        if learnable and due and self.share != 0:
            self.slot.fit(self.examples.training(self._known), random_state)
        share: Any = self.share
        if callable(self.share):
            share = self.share(n_gen, random_state)
            _check_share(f"share({n_gen}, random_state) returned {share!r}; it", share)
        elif self.share == "adaptive":
            share = self.credit.shares()[0]
        usable = learnable and self.slot.fitted
        entry = {"n_gen": n_gen, "share": float(share) if usable else 0.0}
        self.log.append(entry | {"n_model": 0, "n_base": 0} | survived)

    @property
    def _tags(self) -> tuple[str, str]:
        """Keys under which an individual remembers its operator and generation of birth.

        A mating that stands in front of another generative one keeps a book of its own.
        """
        depth, inner = 0, self.base
        while isinstance(inner, GenerativeMating):
            depth, inner = depth + 1, inner.base
        return ("operator", "born") if depth == 0 else (f"operator_{depth}", f"born_{depth}")

    def _credit_survivors(self, pop: Population) -> dict[str, float | None]:
        names = self.credit.names
        if not self.log:
            return {f"survived_{name}": None for name in names}
        last = self.log[-1]
        operator, born_at = self._tags
        # MOEA/D may keep one offspring in several places, C-TAEA in two archives: it counts once.
        members = {id(ind): ind for ind in pop if ind.data.get(born_at) == last["n_gen"]}
        alive = [ind.data[operator] for ind in members.values()]
        born = np.array([last[f"n_{name}"] for name in names], dtype=float)
        survived = np.array([alive.count(name) for name in names], dtype=float)
        self.credit.update(born, survived)
        return {
            f"survived_{name}": float(survived[i] / born[i]) if born[i] else None
            for i, name in enumerate(names)
        }

    def _learnable(self, pop: Population, off: Population | None) -> Solutions:
        """Population (and archive) as arrays, without rows whose values are not finite."""
        known = self._solutions(pop)
        if self.archive_size == 0:
            return known
        new = known if off is None or len(off) == 0 else self._solutions(off)
        archive = new if self._archive is None else Solutions.merge(self._archive, new)
        self._archive = archive[np.arange(max(0, len(archive) - self.archive_size), len(archive))]
        return Solutions.merge(self._archive, known)

    def _solutions(self, pop: Population) -> Solutions:
        assert self._encoding is not None
        f = np.asarray(pop.get("F"), dtype=float)
        cv = np.asarray(pop.get("CV"), dtype=float)[:, 0]
        finite = np.isfinite(f).all(axis=1) & np.isfinite(cv)
        x = pop.get("X")
        u = self._encoding.encode(x[finite] if isinstance(x, np.ndarray) else x)
        return Solutions(u, f[finite], cv[finite])

    def _tag(self, off: Population, name: str) -> None:
        entry = self.log[-1]
        entry[f"n_{name}"] += len(off)
        if len(off):
            operator, born_at = self._tags
            off.set(operator, name, born_at, entry["n_gen"])

    def __deepcopy__(self, memo: dict[int, Any]) -> GenerativeMating:
        """A full copy, except in `save_history`, whose entries keep no model and no data."""
        snapshot = history_snapshot(memo)
        clone = self.__class__.__new__(self.__class__)
        memo[id(self)] = clone
        for key, value in self.__dict__.items():
            dropped = snapshot and key in ("_archive", "_known")
            setattr(clone, key, None if dropped else copy.deepcopy(value, memo))
        return clone


def _check_share(what: str, share: Any, or_else: str = "") -> None:
    if not isinstance(share, Real) or not 0.0 <= float(share) <= 1.0:
        raise ValueError(f"{what} must be a number in [0, 1]{or_else}")
