"""What is refused before work starts, and what whole numbers and nested matings keep."""

import numpy as np
import pytest
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem
from pymoo.operators.mutation.pm import PM
from pymoo.operators.sampling.rnd import IntegerRandomSampling
from pymoo.optimize import minimize
from pymoo.problems import get_problem

from evogen.models import DDPM
from evogen.operators import (
    Copy,
    Differential,
    GenerativeMating,
    GenerativeSampling,
    check_algorithm,
    inject,
)


class WholeNumbers(Problem):
    def __init__(self):
        super().__init__(n_var=6, n_obj=2, xl=0, xu=20, vtype=int)

    def _evaluate(self, x, out, *args, **kwargs):
        out["F"] = np.column_stack([x.sum(axis=1), ((x - 20) ** 2).sum(axis=1)])


def test_a_device_that_is_not_there_is_refused_before_work():
    algorithm = inject(NSGA2(pop_size=20), GenerativeMating(DDPM(device="cuda:77")))
    with pytest.raises(ValueError, match="cuda:77"):
        check_algorithm(algorithm, get_problem("zdt1"))
    with pytest.raises(ValueError, match="cuda:77"):
        minimize(get_problem("zdt1"), algorithm, ("n_gen", 3), seed=1)


def test_whole_numbers_stay_whole_when_the_mating_is_given_to_the_constructor():
    algorithm = NSGA2(
        pop_size=20,
        sampling=IntegerRandomSampling(),
        mating=GenerativeMating(Differential(), mutation=None),
    )
    res = minimize(WholeNumbers(), algorithm, ("n_gen", 12), seed=1)
    assert np.array_equal(res.pop.get("X"), np.round(res.pop.get("X").astype(float)))


def test_a_mating_in_front_of_another_keeps_its_own_book():
    inner = GenerativeMating(Differential(), share=0.5)
    algorithm = inject(NSGA2(pop_size=30), inner)
    outer = GenerativeMating(Copy(), mutation=PM(), share=0.3)
    res = minimize(get_problem("zdt1"), inject(algorithm, outer), ("n_gen", 15), seed=1)
    front = res.algorithm.mating
    for book in (front.log, front.base.log):
        rates = [row[k] for row in book for k in ("survived_model", "survived_base")]
        rates = [r for r in rates if r is not None]
        assert rates
        assert all(0.0 <= r <= 1.0 for r in rates)
    # What the outer one calls "base" is all that the inner one made, less what was replaced.
    assert all(row["n_base"] <= 30 for row in front.log)


def test_parts_of_the_wrong_kind_are_refused_at_once():
    with pytest.raises(TypeError, match="base='sbx'"):
        GenerativeMating(Copy(), base="sbx")
    with pytest.raises(TypeError, match="mutation='pm'"):
        GenerativeMating(Copy(), mutation="pm")
    with pytest.raises(ValueError, match=r"refit_every=1\.5"):
        GenerativeMating(Copy(), refit_every=1.5)


def test_a_warm_start_needs_a_trained_model_or_data():
    problem = get_problem("zdt1", n_var=4)
    with pytest.raises(ValueError, match="not trained yet"):
        minimize(problem, NSGA2(pop_size=8, sampling=GenerativeSampling(DDPM())), ("n_gen", 2))
    data = np.full((10, 4), np.nan)
    sampling = GenerativeSampling(DDPM(n_steps=2), data=data)
    with pytest.raises(ValueError, match="not finite"):
        minimize(problem, NSGA2(pop_size=8, sampling=sampling), ("n_gen", 2))
