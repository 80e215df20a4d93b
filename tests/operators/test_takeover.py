"""What a generative mating takes over from its algorithm, and what it keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.algorithms.moo.rvea import RVEA
from pymoo.algorithms.moo.spea2 import SPEA2
from pymoo.core.duplicate import (
    DefaultDuplicateElimination,
    DuplicateElimination,
    NoDuplicateElimination,
)
from pymoo.core.mating import Mating
from pymoo.core.problem import Problem
from pymoo.core.repair import NoRepair, Repair
from pymoo.operators.crossover.pntx import SinglePointCrossover
from pymoo.operators.mutation.nom import NoMutation
from pymoo.operators.selection.rnd import RandomSelection
from pymoo.optimize import minimize
from pymoo.problems import get_problem
from pymoo.util.ref_dirs import get_reference_directions

from evogen.operators import (
    Constant,
    GenerativeMating,
    Uniform,
    inject,
)

POP = 20


# Repair and duplicates


class ToGrid(Repair):
    def _do(self, problem: Any, X: np.ndarray, **kwargs: Any) -> np.ndarray:
        return np.round(X * 8) / 8


class Counting(DuplicateElimination):
    calls = 0

    def do(self, pop: Any, *args: Any, **kwargs: Any) -> Any:
        type(self).calls += 1
        return pop


def built(route: str, mating: GenerativeMating, **kw: Any) -> NSGA2:
    if route == "inject":
        return inject(NSGA2(pop_size=POP, **kw), mating)
    return NSGA2(pop_size=POP, mating=mating, **kw)


@pytest.mark.parametrize("route", ["inject", "constructor"])
class TestBothRoutes:
    def test_the_algorithms_repair_is_applied(self, problem: Problem, route: str) -> None:
        algorithm = built(route, GenerativeMating(Uniform()), repair=ToGrid())
        res = minimize(problem, algorithm, ("n_gen", 4), seed=1)
        x = res.pop.get("X")
        np.testing.assert_array_equal(x * 8, np.round(x * 8))

    def test_the_algorithms_duplicate_check_is_used(self, problem: Problem, route: str) -> None:
        Counting.calls = 0
        algorithm = built(route, GenerativeMating(Uniform()), eliminate_duplicates=Counting())
        res = minimize(problem, algorithm, ("n_gen", 4), seed=1)
        assert isinstance(res.algorithm.mating.eliminate_duplicates, Counting)
        assert Counting.calls == 4  # the initial population and three generations

    def test_no_duplicate_check_is_respected(self, problem: Problem, route: str) -> None:
        algorithm = built(
            route, GenerativeMating(Constant(), share=1.0), eliminate_duplicates=False
        )
        res = minimize(problem, algorithm, ("n_gen", 3), seed=1)
        assert sum(e["n_base"] for e in res.algorithm.mating.log) == 0

    def test_a_repair_given_to_the_mating_is_kept(self, problem: Problem, route: str) -> None:
        mating = GenerativeMating(Uniform(), repair=ToGrid())
        res = minimize(problem, built(route, mating, repair=NoRepair()), ("n_gen", 4), seed=1)
        x = np.array([ind.X for ind in res.pop if "born" in ind.data])
        assert len(x) > 0
        np.testing.assert_array_equal(x * 8, np.round(x * 8))

    @pytest.mark.parametrize("given", [NoDuplicateElimination(), False])
    def test_a_duplicate_check_given_to_the_mating_is_kept(
        self, problem: Problem, route: str, given: Any
    ) -> None:
        mating = GenerativeMating(Constant(), share=1.0, eliminate_duplicates=given)
        res = minimize(problem, built(route, mating), ("n_gen", 3), seed=1)
        assert isinstance(res.algorithm.mating.eliminate_duplicates, NoDuplicateElimination)
        assert [e["n_base"] for e in res.algorithm.mating.log] == [0, 0]

    def test_true_means_pymoos_duplicate_check(self, problem: Problem, route: str) -> None:
        mating = GenerativeMating(Constant(), share=1.0, eliminate_duplicates=True)
        algorithm = built(route, mating, eliminate_duplicates=False)
        res = minimize(problem, algorithm, ("n_gen", 3), seed=1)
        kind = type(res.algorithm.mating.eliminate_duplicates)
        assert kind is DefaultDuplicateElimination
        assert len(np.unique(res.pop.get("X"), axis=0)) == POP

    def test_a_base_given_to_the_mating_is_kept(self, problem: Problem, route: str) -> None:
        base = Mating(RandomSelection(), SinglePointCrossover(), NoMutation())
        mating = GenerativeMating(Uniform(), base=base, share=0.0)
        algorithm = built(route, mating)
        res = minimize(problem, algorithm, ("n_gen", 2), seed=1, copy_algorithm=False)
        assert res.algorithm.mating.base is base

    def test_the_retries_given_to_the_mating_are_kept(self, problem: Problem, route: str) -> None:
        mating = GenerativeMating(Uniform(), n_max_iterations=7)
        res = minimize(problem, built(route, mating), ("n_gen", 2), seed=1)
        assert res.algorithm.mating.n_max_iterations == 7


def test_one_operator_serves_one_algorithm() -> None:
    mating = GenerativeMating(Uniform())
    inject(SPEA2(), mating)
    with pytest.raises(ValueError, match="serves an algorithm already"):
        inject(NSGA2(), mating)


def test_the_default_base_is_the_algorithms_own_and_shared_with_nobody() -> None:
    problem = get_problem("zdt1", n_var=6)
    ref_dirs = get_reference_directions("das-dennis", 2, n_partitions=9)
    bases = []
    for _ in "ab":
        algorithm = RVEA(ref_dirs, mating=GenerativeMating(Uniform()))
        res = minimize(problem, algorithm, ("n_gen", 2), seed=1)
        bases.append(res.algorithm.mating.base)
    plain = RVEA(ref_dirs).mating
    assert type(bases[0].selection) is type(plain.selection)
    assert bases[0].crossover.eta.get() == plain.crossover.eta.get() == 30
    for part in ("selection", "crossover", "mutation"):
        assert getattr(bases[0], part) is not getattr(bases[1], part)
        assert getattr(bases[0], part) is not getattr(plain, part)
