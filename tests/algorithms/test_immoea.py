"""IM-MOEA: its inverse models and its sectors."""

import numpy as np
import pytest
from pymoo.core.population import Population
from pymoo.optimize import minimize
from pymoo.problems import get_problem

from evogen.algorithms import IMMOEA, simplex_directions
from evogen.algorithms.immoea import NOISE, InverseModelMating, predict_linear, sectors


def test_the_line_is_the_exact_gaussian_process_with_a_linear_kernel():
    rng = np.random.default_rng(0)
    f, x, targets = rng.random(12), rng.random((12, 3)), np.linspace(-1, 2, 7)
    mean, variance = predict_linear(f, x, targets)
    # Textbook regression (Rasmussen & Williams 2006, eq. 2.25-2.26) with k(a, b) = a b.
    kernel = np.outer(f, f) + NOISE**2 * np.eye(12)
    cross = np.outer(targets, f)
    expected = cross @ np.linalg.solve(kernel, x)
    spread = targets**2 - np.einsum("ij,ji->i", cross, np.linalg.solve(kernel, cross.T))
    assert np.allclose(mean, expected, atol=1e-6)
    assert np.allclose(variance, spread + NOISE**2, atol=1e-8)


def test_each_point_joins_the_direction_of_smallest_angle():
    directions = simplex_directions(2, 5)
    points = 3.0 * directions[[4, 0, 2]] + 1e-3
    assert sectors(points, directions).tolist() == [4, 0, 2]


def test_small_sectors_copy_their_members_up_to_mutation():
    mating = InverseModelMating(simplex_directions(2, 10))
    rows = mating._sector_offspring(
        np.full((3, 4), 0.3), np.eye(3)[:, :2], np.random.default_rng(0)
    )
    assert np.array_equal(rows, np.full((3, 4), 0.3))


def test_offspring_stay_in_the_box():
    problem = get_problem("zdt4", n_var=5)
    rng = np.random.default_rng(1)
    x = rng.uniform(*problem.bounds(), size=(40, 5))
    pop = Population.new(X=x, F=problem.evaluate(x))
    off = InverseModelMating(simplex_directions(2, 3)).do(
        problem, pop, 40, random_state=rng, n_max_iterations=1
    )
    assert (off.get("X") >= problem.xl).all()
    assert (off.get("X") <= problem.xu).all()


def test_the_population_is_a_multiple_of_the_sectors_and_no_sector_overflows():
    problem = get_problem("zdt1", n_var=5)
    res = minimize(problem, IMMOEA(pop_size=33, n_sectors=10), ("n_gen", 8), seed=1)
    assert res.algorithm.pop_size == 40
    counts = np.bincount(sectors(res.pop.get("F"), simplex_directions(2, 10)))
    assert counts.max() <= 4


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="n_models=0"):
        IMMOEA(n_models=0)
    with pytest.raises(ValueError, match="pop_size=5"):
        IMMOEA(pop_size=5, n_sectors=10)
    with pytest.raises(ValueError, match="at least 2 objectives"):
        minimize(get_problem("sphere"), IMMOEA(20), ("n_gen", 2), seed=1)


@pytest.mark.parametrize("n_obj", [2, 3, 5, 8, 10])
def test_direction_lattices_are_as_large_as_allowed_and_on_the_simplex(n_obj):
    directions = simplex_directions(n_obj, 100)
    assert n_obj <= len(directions) <= 100
    assert np.allclose(directions.sum(axis=1), 1.0)
    assert len(np.unique(directions, axis=0)) == len(directions)
