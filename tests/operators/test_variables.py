"""Integer, binary and mixed problems run end to end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pymoo.algorithms.moo.nsga2 import NSGA2, RankAndCrowdingSurvival
from pymoo.algorithms.soo.nonconvex.ga import GA
from pymoo.core.mixed import (
    MixedVariableDuplicateElimination,
    MixedVariableGA,
    MixedVariableMating,
    MixedVariableSampling,
)
from pymoo.core.problem import ElementwiseProblem, Problem
from pymoo.core.variable import Binary, Choice, Integer, Real
from pymoo.operators.crossover.ox import OrderCrossover
from pymoo.operators.crossover.pntx import TwoPointCrossover
from pymoo.operators.crossover.sbx import SBX
from pymoo.operators.mutation.bitflip import BitflipMutation
from pymoo.operators.mutation.inversion import InversionMutation
from pymoo.operators.mutation.pm import PM
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.operators.sampling.rnd import (
    BinaryRandomSampling,
    IntegerRandomSampling,
    PermutationRandomSampling,
)
from pymoo.optimize import minimize

from evogen.operators import (
    Differential,
    GenerativeCrossover,
    GenerativeMating,
    GenerativeMutation,
    GenerativeSampling,
    HashDuplicateElimination,
    Improvement,
    Inverse,
    Uniform,
    check_algorithm,
    inject,
)

OPTIONS = ["red", "green", "blue"]


class Mixed(ElementwiseProblem):
    def __init__(self, n_obj: int = 1) -> None:
        variables = {
            "b": Binary(),
            "c": Choice(options=OPTIONS),
            "i": Integer(bounds=(-3, 12)),
            "r": Real(bounds=(-1.0, 4.0)),
        }
        super().__init__(vars=variables, n_obj=n_obj)

    def _evaluate(self, x: Any, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        f = x["b"] + OPTIONS.index(x["c"]) + abs(x["i"]) + x["r"] ** 2
        out["F"] = f if self.n_obj == 1 else [f, (x["r"] - 2) ** 2 + abs(x["i"] - 4)]


def assert_valid(solutions: Any) -> None:
    for x in solutions:
        assert sorted(x) == ["b", "c", "i", "r"]
        assert isinstance(x["b"], bool | np.bool_)
        assert x["c"] in OPTIONS
        assert isinstance(x["i"], int | np.integer)
        assert -3 <= x["i"] <= 12
        assert -1 <= x["r"] <= 4


@pytest.mark.parametrize("route", ["inject", "constructor"])
@pytest.mark.parametrize("model", [Differential(), Uniform()])
def test_the_mixed_variable_ga_runs(route: str, model: Any) -> None:
    runs = []
    for _ in "ab":
        mating = GenerativeMating(model)
        if route == "inject":
            algorithm = inject(MixedVariableGA(pop_size=20), mating)
        else:
            algorithm = MixedVariableGA(pop_size=20, mating=mating)
        res = minimize(Mixed(), algorithm, ("n_gen", 10), seed=1)
        assert_valid(res.pop.get("X"))
        assert sum(e["n_model"] for e in res.algorithm.mating.log) > 50
        assert res.algorithm.mating.slot.n_fits == 9
        runs.append(res)
    assert runs[0].F[0] < 2.0
    assert list(runs[0].pop.get("X")) == list(runs[1].pop.get("X"))


@pytest.mark.parametrize("examples", [None, Inverse(), Improvement()])
@pytest.mark.parametrize(
    "elimination", [MixedVariableDuplicateElimination(), HashDuplicateElimination()]
)
def test_nsga2_runs_with_mixed_variables(examples: Any, elimination: Any) -> None:
    runs = []
    for route in ("inject", "constructor"):
        mating = GenerativeMating(Differential(), examples)
        settings: dict[str, Any] = {
            "pop_size": 20,
            "sampling": MixedVariableSampling(),
            "survival": RankAndCrowdingSurvival(),
            "eliminate_duplicates": elimination,
        }
        if route == "inject":
            base = MixedVariableMating(eliminate_duplicates=elimination)
            algorithm = inject(NSGA2(mating=base, **settings), mating)
        else:
            algorithm = NSGA2(mating=mating, **settings)
        res = minimize(Mixed(n_obj=2), algorithm, ("n_gen", 8), seed=1)
        assert_valid(res.pop.get("X"))
        assert len(res.pop) == 20
        runs.append(list(res.pop.get("X")))
    assert runs[0] == runs[1]


def test_a_warm_start_for_mixed_variables_learns_from_dictionaries() -> None:
    rng = np.random.default_rng(0)
    data = [{"b": False, "c": "blue", "i": 5, "r": r} for r in rng.random(10)]
    algorithm = MixedVariableGA(
        pop_size=10, sampling=GenerativeSampling(Differential(), data, share=0.8)
    )
    algorithm.setup(Mixed(), termination=("n_gen", 2), seed=1)
    start = algorithm.ask().get("X")
    assert_valid(start)
    assert sum(x["c"] == "blue" and x["i"] == 5 for x in start) >= 8


def test_a_model_alone_cannot_start_a_mixed_run() -> None:
    algorithm = MixedVariableGA(pop_size=10, sampling=GenerativeSampling(Uniform()))
    with pytest.raises(TypeError, match=r"mixed variables.*give the earlier solutions as data"):
        minimize(Mixed(), algorithm, ("n_gen", 2), seed=1)


class Knapsack(Problem):
    def __init__(self) -> None:
        super().__init__(n_var=12, n_obj=1, xl=0, xu=1, vtype=bool)

    def _evaluate(self, x: np.ndarray, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        out["F"] = np.abs(x @ np.arange(1, 13) - 40).astype(float)


class Lattice(Problem):
    def __init__(self) -> None:
        super().__init__(n_var=6, n_obj=2, xl=-4, xu=9, vtype=int)

    def _evaluate(self, x: np.ndarray, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        out["F"] = np.column_stack([(x**2).sum(axis=1), ((x - 3) ** 2).sum(axis=1)]).astype(float)


class Tour(Problem):
    def __init__(self) -> None:
        super().__init__(n_var=6, n_obj=1, xl=0, xu=6, vtype=int)

    def _evaluate(self, x: np.ndarray, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        out["F"] = np.abs(np.diff(x, axis=1)).sum(axis=1).astype(float)


def binary_ga() -> GA:
    return GA(
        pop_size=20,
        sampling=BinaryRandomSampling(),
        crossover=TwoPointCrossover(),
        mutation=BitflipMutation(),
    )


def integer_nsga2(**kw: Any) -> NSGA2:
    return NSGA2(
        pop_size=20,
        sampling=IntegerRandomSampling(),
        crossover=SBX(vtype=float, repair=RoundingRepair()),
        mutation=PM(vtype=float, repair=RoundingRepair()),
        **kw,
    )


def tour_ga(**kw: Any) -> GA:
    settings = {"mutation": InversionMutation(), "crossover": OrderCrossover()} | kw
    return GA(pop_size=20, sampling=PermutationRandomSampling(), **settings)


def test_binary_variables_run() -> None:
    res = minimize(
        Knapsack(), inject(binary_ga(), GenerativeMating(Uniform())), ("n_gen", 8), seed=1
    )
    assert res.pop.get("X").dtype == bool
    assert res.F[0] == 0
    assert sum(e["n_model"] for e in res.algorithm.mating.log) > 40


@pytest.mark.parametrize("elimination", [True, HashDuplicateElimination()])
def test_integer_variables_run_without_repeating_a_point(elimination: Any) -> None:
    mating = GenerativeMating(Differential(), share=0.5)
    algorithm = inject(integer_nsga2(eliminate_duplicates=elimination), mating)
    res = minimize(Lattice(), algorithm, ("n_gen", 12), seed=1)
    x = res.pop.get("X").astype(float)
    np.testing.assert_array_equal(x, np.rint(x))
    assert x.min() >= -4
    assert x.max() <= 9
    assert len(np.unique(x, axis=0)) == len(x) == 20


@pytest.mark.parametrize(
    "build",
    [
        lambda model: inject(tour_ga(), GenerativeMating(model)),
        lambda model: tour_ga(mating=GenerativeMating(model)),
        lambda model: tour_ga(crossover=GenerativeCrossover(model)),
        lambda model: tour_ga(mutation=GenerativeMutation(model)),
    ],
    ids=["inject", "constructor", "crossover", "mutation"],
)
class TestPermutations:
    class Model(Uniform):
        def encode(self, x: Any) -> Any:
            return x

        def decode(self, z: Any) -> Any:
            return z

        def denoise_from(self, x: Any, t_fraction: float) -> Any:
            return x

    def test_the_check_refuses_them_before_any_work(self, build: Any) -> None:
        with pytest.raises(TypeError, match="PermutationRandomSampling makes permutations"):
            check_algorithm(build(self.Model()), Tour())

    def test_pymoos_own_minimize_refuses_them_at_the_first_offspring(self, build: Any) -> None:
        with pytest.raises(TypeError, match="population consists of permutations"):
            minimize(Tour(), build(self.Model()), ("n_gen", 3), seed=1)
