"""CriticGMOEA: reproducible, continues from copies, refuses what it cannot solve, and converges."""

import copy

import moocore
import numpy as np
import pytest
from pymoo.algorithms.moo.spea2 import SPEA2
from pymoo.optimize import minimize
from pymoo.problems import get_problem

from evogen.algorithms.critic_gmoea import CriticGMOEA, step_gan
from evogen.operators import Copy, Untrained


@pytest.mark.parametrize("model", [None, Copy(), Untrained(step_gan())])
def test_the_seed_decides_everything(model):
    problem = get_problem("zdt1", n_var=6)
    runs = [
        minimize(problem, CriticGMOEA(20, model=model), ("n_eval", 160), seed=s).F
        for s in (1, 1, 2)
    ]
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_a_copy_of_a_running_algorithm_goes_on_bit_for_bit():
    algorithm = CriticGMOEA(20)
    algorithm.setup(get_problem("zdt1", n_var=6), termination=("n_gen", 9), seed=1)
    for _ in range(4):
        algorithm.next()
    twin = copy.deepcopy(algorithm)
    for one in (algorithm, twin):
        while one.has_next():
            one.next()
    assert np.array_equal(algorithm.pop.get("X"), twin.pop.get("X"))


def test_it_is_far_closer_to_the_front_than_the_algorithm_it_is_built_on():
    problem = get_problem("zdt1", n_var=12)
    front = problem.pareto_front()
    makes = (lambda: CriticGMOEA(40), lambda: SPEA2(pop_size=40))
    ours, theirs = (
        np.median(
            [
                moocore.igd(minimize(problem, make(), ("n_eval", 1200), seed=s).F, ref=front)
                for s in (1, 2, 3)
            ]
        )
        for make in makes
    )
    assert ours < 0.3 * theirs


def test_the_corner_of_the_box_earns_nothing_by_itself():
    # Steps beyond the box are reflected: none of the offspring lies on a bound but by the critic.
    problem = get_problem("zdt1", n_var=6)
    algorithm = CriticGMOEA(20, critic_share=0.0, share=1.0)
    algorithm.setup(problem, termination=("n_gen", 4), seed=1)
    algorithm.next()
    offspring = algorithm.ask().get("X")
    assert ((offspring > 0) & (offspring < 1)).mean() > 0.95


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"pop_size": 3}, ValueError, "pop_size=3 must be at least 4"),
        ({"critic_share": 2.0}, ValueError, "critic_share=2.0"),
        ({"mating": None}, TypeError, "sets mating itself"),
        ({"learned_shar": 0.1}, TypeError, "did you mean learned_share"),
        ({"bounds": "wrap"}, ValueError, "bounds='wrap'"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        CriticGMOEA(**arguments)


def test_one_objective_is_refused_before_any_evaluation():
    with pytest.raises(ValueError, match="at least 2 objectives"):
        minimize(get_problem("sphere", n_var=4), CriticGMOEA(20), ("n_gen", 2), seed=1)
