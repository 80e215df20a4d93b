"""K-RVEA: its Gaussian process against the textbook, its selection, its bookkeeping."""

import numpy as np
import pytest
from pymoo.core.problem import Problem
from pymoo.indicators.igd import IGD
from pymoo.optimize import minimize
from pymoo.problems import get_problem
from scipy.optimize import approx_fprime
from scipy.stats import multivariate_normal

from evogen.algorithms.krvea import (
    KRVEA,
    GaussianProcess,
    _negative_likelihood,
    best_of_each,
    clusters,
    penalized_distance,
)


def squares(u):
    return (u.T[:, :, None] - u.T[:, None, :]) ** 2


def test_the_likelihood_is_the_normal_density_at_its_best_mean_and_variance():
    rng = np.random.default_rng(0)
    u, z = rng.random((12, 2)), rng.normal(size=12)
    rates, noise = np.array([3.0, 0.7]), 1e-3
    kernel = np.exp(-np.tensordot(rates, squares(u), axes=1)) + noise * np.eye(12)
    inverse = np.linalg.inv(kernel)
    mean = inverse.sum(axis=0) @ z / inverse.sum()
    variance = (z - mean) @ inverse @ (z - mean) / 12
    density = multivariate_normal(np.full(12, mean), variance * kernel).logpdf(z)
    value, _ = _negative_likelihood(np.log([*rates, noise]), squares(u), z)
    assert -value - 6 * (np.log(2 * np.pi) + 1) == pytest.approx(density)


def test_the_likelihood_has_the_right_gradient():
    rng = np.random.default_rng(1)
    u, z = rng.random((20, 3)), rng.normal(size=20)
    at = np.array([0.3, -1.0, 1.2, -4.0])
    _, gradient = _negative_likelihood(at, squares(u), z)
    numeric = approx_fprime(at, lambda p: _negative_likelihood(p, squares(u), z)[0], 1e-6)
    assert np.allclose(gradient, numeric, rtol=1e-3, atol=1e-3)


def test_the_process_interpolates_doubts_itself_elsewhere_and_finds_idle_variables():
    rng = np.random.default_rng(2)
    u = rng.random((60, 3))
    y = 100 + 5 * np.sin(4 * u[:, 0])
    model = GaussianProcess(max_iter=50).fit(u, y)
    assert np.allclose(model.predict(u), y, atol=1e-2)
    assert model.rates_[0] > 20 * model.rates_[1:].max()
    beyond = model.variance(np.array([[3.0, 0.5, 0.5]]))
    assert beyond[0] > 100 * model.variance(u).max()
    new = rng.random((200, 3))
    assert np.abs(model.predict(new) - 100 - 5 * np.sin(4 * new[:, 0])).max() < 0.1


def test_a_constant_objective_is_no_obstacle():
    u = np.random.default_rng(3).random((10, 2))
    model = GaussianProcess().fit(u, np.full(10, 7.0))
    assert np.allclose(model.predict(u + 0.1), 7.0)


def test_angle_penalised_distance_by_hand():
    vectors = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    f = np.array([[0.0, 2.0], [3.0, 3.0], [1.0, 0.0], [1.0, 2.0]])
    distance, nearest = penalized_distance(f, vectors, 0.5)
    assert nearest.tolist() == [2, 1, 0, 1]
    angle = np.pi / 4 - np.arctan(0.5)
    expected = (1 + 2 * 0.25 * angle / (np.pi / 4)) * np.sqrt(5)
    assert np.allclose(distance, [2, 3 * np.sqrt(2), 1, expected])


def test_one_of_each_group_and_clusters_cover_all_rows():
    rows = best_of_each(np.array([3.0, 1.0, 2.0, 0.5]), np.array([4, 4, 1, 1]))
    assert rows.tolist() == [3, 1]
    points = np.concatenate([np.zeros((5, 2)), np.ones((6, 2))])
    found = [clusters(points, 2, np.random.default_rng(s)) for s in range(8)]
    assert any(
        len(set(label[:5])) == len(set(label[5:])) == 1 and label[0] != label[5] for label in found
    )


def test_a_smooth_front_is_found_in_a_hundred_evaluations_and_training_stays_small():
    problem = get_problem("zdt1", n_var=5)
    res = minimize(problem, KRVEA(20, n_initial=30), ("n_eval", 100), seed=1)
    assert IGD(problem.pareto_front())(res.F) < 0.05
    assert len(res.pop) == res.algorithm.evaluator.n_eval >= 100
    assert len(res.algorithm._train) <= 30
    newest = len(res.pop) - len(res.algorithm.off) + np.arange(len(res.algorithm.off))
    assert np.isin(newest, res.algorithm._train).all()
    assert len(np.unique(res.pop.get("X"), axis=0)) == len(res.pop)


def test_points_that_are_not_finite_are_not_learned_from():
    class Broken(Problem):
        def __init__(self):
            super().__init__(n_var=3, n_obj=2, xl=0.0, xu=1.0)

        def _evaluate(self, x, out, *args, **kwargs):
            f = np.column_stack([x[:, 0], 1 - x[:, 0] + x[:, 1:].sum(axis=1)])
            out["F"] = np.where(x[:, [1]] > 0.8, np.nan, f)

    res = minimize(Broken(), KRVEA(10, n_initial=15), ("n_eval", 45), seed=1)
    assert len(res.pop) >= 45
    best = res.pop.get("F")
    assert np.nanmin(best.sum(axis=1)) < 1.1


def test_the_initial_design_has_the_papers_size_and_the_seed_decides():
    problem = get_problem("dtlz2", n_var=4)
    first, second = (minimize(problem, KRVEA(15), ("n_gen", 3), seed=2).pop for _ in range(2))
    assert 43 < len(first) <= 43 + 2 * 5
    assert np.array_equal(first.get("X"), second.get("X"))


def test_bad_arguments_are_refused():
    for bad in ({"n_initial": 3}, {"n_inner": 0}, {"n_update": 0}):
        key, value = next(iter(bad.items()))
        with pytest.raises(ValueError, match=f"{key}={value}"):
            KRVEA(**bad)
    with pytest.raises(ValueError, match="no constraints"):
        minimize(get_problem("bnh"), KRVEA(20), ("n_gen", 2), seed=1)
    with pytest.raises(TypeError, match="n_update"):
        KRVEA(n_updates=3)
