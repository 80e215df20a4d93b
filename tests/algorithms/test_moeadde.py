"""MOEA/D-DE."""

import copy

import numpy as np
import pytest
from pymoo.optimize import minimize
from pymoo.problems import get_problem

from evogen.algorithms import MOEADDE


def test_one_offspring_replaces_at_most_nr_solutions_and_only_worse_ones():
    problem = get_problem("zdt1", n_var=5)
    algorithm = MOEADDE(pop_size=30, nr=2)
    algorithm.setup(problem, termination=("n_gen", 5), seed=1)
    algorithm.next()
    for _ in range(60):
        before = algorithm.pop.get("F").copy()
        ideal = algorithm.ideal.copy()
        algorithm.next()
        after = algorithm.pop.get("F")
        changed = np.flatnonzero((before != after).any(axis=1))
        assert len(changed) <= 2
        ideal = np.minimum(ideal, algorithm.ideal)
        weights = algorithm.weights[changed]
        old = (weights * np.abs(before[changed] - ideal)).max(axis=1)
        new = (weights * np.abs(after[changed] - ideal)).max(axis=1)
        assert (new <= old).all()


def test_a_generation_visits_every_subproblem_once():
    problem = get_problem("zdt1", n_var=5)
    res = minimize(problem, MOEADDE(pop_size=20), ("n_gen", 4), seed=1)
    assert res.algorithm.evaluator.n_eval == 4 * 20


def test_it_converges_on_zdt1():
    problem = get_problem("zdt1", n_var=10)
    res = minimize(problem, MOEADDE(pop_size=40), ("n_eval", 5000), seed=1)
    assert np.median(res.F[:, 1] + np.sqrt(res.F[:, 0]) - 1.0) < 0.2


def test_a_running_copy_continues_alike():
    problem = get_problem("zdt1", n_var=5)
    algorithm = MOEADDE(pop_size=20)
    algorithm.setup(problem, termination=("n_gen", 6), seed=1)
    for _ in range(33):
        algorithm.next()
    twin = copy.deepcopy(algorithm)
    assert np.array_equal(algorithm.run().F, twin.run().F)


def test_constraints_are_refused():
    with pytest.raises(ValueError, match="no constraints"):
        minimize(get_problem("bnh"), MOEADDE(pop_size=20), ("n_gen", 2), seed=1)
