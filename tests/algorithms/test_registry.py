"""Algorithms by name."""

import numpy as np
import pytest
from pymoo.core.problem import Problem
from pymoo.optimize import minimize
from pymoo.problems import get_problem

from evogen.algorithms import (
    GMOEA,
    IMMOEA,
    MOEADDE,
    get_algorithm,
    list_algorithms,
    register,
)
from evogen.operators import Copy, GenerativeMating, inject

SLOW = {"gmoea-published", "gmoea-as-coded"}
SINGLE = {"ga", "de", "diffusion-evolution"}


@pytest.mark.parametrize("name", sorted(set(list_algorithms()) - SINGLE - SLOW))
def test_every_name_runs_and_repeats_itself_bit_for_bit(name):
    problem = get_problem("zdt1", n_var=6)
    # ACE's networks learn every five evaluations.
    n_eval = 40 if name.startswith("ace-") and name != "ace-base" else 120
    runs = []
    for _ in range(2):
        algorithm = get_algorithm(name, problem, pop_size=20)
        runs.append(minimize(problem, algorithm, ("n_eval", n_eval), seed=3))
    assert np.array_equal(runs[0].F, runs[1].F)
    assert np.isfinite(runs[0].F).all()


@pytest.mark.parametrize("name", ["nsga2", "spea2", "immoea", "gmoea", "moead-de", "nsga2-ddpm"])
def test_three_objectives_are_fine(name):
    problem = get_problem("dtlz2", n_var=7, n_obj=3)
    algorithm = get_algorithm(name, problem, pop_size=21)
    res = minimize(problem, algorithm, ("n_eval", 126), seed=1)
    assert res.F.shape[1] == 3


def test_settings_reach_the_constructor():
    problem = get_problem("zdt1")
    assert get_algorithm("immoea", problem, pop_size=40, n_models=5).n_models == 5
    operator = get_algorithm("nsga2-ddpm", problem, share=0.25).mating
    assert isinstance(operator, GenerativeMating)
    assert operator.share == 0.25


@pytest.mark.parametrize("name", ["nsga2", "gmoea", "nsga2-ddpm", "nsga3", "moead-de"])
def test_an_unknown_setting_is_refused_where_pymoo_would_swallow_it(name):
    with pytest.raises(TypeError, match="no setting 'foo'"):
        get_algorithm(name, get_problem("zdt1"), foo=1)


def test_an_unknown_name_lists_near_ones():
    with pytest.raises(ValueError, match=r"gmoea"):
        get_algorithm("gmoae", get_problem("zdt1"))


def test_a_multiobjective_method_refuses_one_objective_and_the_other_way_round():
    with pytest.raises(ValueError, match="at least 2 objectives"):
        get_algorithm("nsga2", get_problem("sphere"))
    with pytest.raises(ValueError, match="takes 1 objective"):
        get_algorithm("ga", get_problem("zdt1"))


def test_too_small_a_population_is_refused():
    with pytest.raises(ValueError, match="pop_size=2"):
        get_algorithm("gmoea", get_problem("zdt1"), pop_size=2)


def test_a_name_can_be_registered_once():
    with pytest.raises(ValueError, match="registered already"):
        register("nsga2", lambda problem, pop_size=100: None, "again")


@pytest.mark.parametrize("cls", [GMOEA, IMMOEA, MOEADDE])
def test_misspelt_arguments_of_our_own_methods_are_refused(cls):
    with pytest.raises(TypeError, match="no setting 'outputt'; did you mean output"):
        cls(20, outputt=None)
    with pytest.raises(TypeError, match="sets mating itself"):
        cls(20, mating=None)


@pytest.mark.parametrize("cls", [GMOEA, IMMOEA, MOEADDE])
def test_variables_that_are_not_real_are_refused_before_any_evaluation(cls):
    class Whole(Problem):
        def __init__(self):
            super().__init__(n_var=3, n_obj=2, xl=0, xu=9, vtype=int)

        def _evaluate(self, x, out, *args, **kwargs):
            raise AssertionError("evaluated")

    with pytest.raises(TypeError, match="real variables only"):
        minimize(Whole(), cls(20), ("n_gen", 2), seed=1)


@pytest.mark.parametrize("cls", [GMOEA, IMMOEA, MOEADDE])
def test_infinite_bounds_are_refused_before_any_evaluation(cls):
    problem = Problem(n_var=3, n_obj=2, xl=-np.inf, xu=1)
    with pytest.raises(ValueError, match="finite box"):
        minimize(problem, cls(20), ("n_gen", 2), seed=1)


def test_a_mating_of_its_own_cannot_be_replaced():
    with pytest.raises(TypeError, match="IMMOEA"):
        inject(IMMOEA(20), GenerativeMating(Copy()))


def test_a_model_injected_before_the_published_gan_stays():
    problem = get_problem("zdt1", n_var=4)
    algorithm = inject(GMOEA(20, variant="published"), GenerativeMating(Copy()))
    algorithm.mating.base.share = 0.0
    res = minimize(problem, algorithm, ("n_gen", 3), seed=1)
    assert isinstance(res.algorithm.mating.model, Copy)


def test_the_smallest_population_works_for_the_named_methods():
    problem = get_problem("zdt1", n_var=4)
    for name in ("immoea", "moead-de", "gmoea"):
        assert minimize(problem, get_algorithm(name, problem, pop_size=4), ("n_gen", 4), seed=1)
