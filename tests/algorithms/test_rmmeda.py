"""RM-MEDA: local PCA, sampling of its pieces, one-by-one removal."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.indicators.igd import IGD
from pymoo.optimize import minimize
from pymoo.problems import get_problem

from evogen.algorithms.rmmeda import (
    RMMEDA,
    CrowdingRemoval,
    LocalPCA,
    ManifoldMating,
    principal_directions,
    remove_crowded,
)
from evogen.operators import crowding_distance


class Linked(Problem):
    """ZDT1 with the Pareto set x_i = x_1 (the linear variable linkage of RM-MEDA's paper)."""

    def __init__(self, n_var=10):
        super().__init__(n_var=n_var, n_obj=2, xl=0.0, xu=1.0)

    def _evaluate(self, x, out, *args, **kwargs):
        g = 1 + 9 * ((x[:, 1:] - x[:, :1]) ** 2).mean(axis=1)
        out["F"] = np.column_stack([x[:, 0], g * (1 - np.sqrt(x[:, 0] / g))])


def test_principal_directions_are_the_eigenvectors_of_the_covariance():
    x = np.random.default_rng(0).normal(size=(50, 4)) * [4.0, 3.0, 2.0, 1.0]
    variances, directions = principal_directions(x - x.mean(axis=0))
    assert np.allclose(np.cov(x.T) @ directions.T, directions.T * variances)
    assert (np.diff(variances) <= 0).all()


def test_local_pca_separates_two_lines_and_finds_their_directions():
    rng = np.random.default_rng(1)
    t = rng.random((60, 1))
    lines = np.concatenate([t * [1.0, 0, 0] + [0, 0, 1.0], t * [0, 1.0, 0] + [0.5, 0, 0]])
    fits = [LocalPCA(1, 2).fit(lines, np.random.default_rng(s)) for s in range(5)]
    best = min(fits, key=lambda model: model.noise_.sum())
    assert best.noise_.max() < 1e-20
    assert len(set(best.labels_[:60])) == len(set(best.labels_[60:])) == 1
    found = np.abs(best.directions_[:, 0])[best.labels_[[0, 60]]]
    assert np.allclose(found, [[1, 0, 0], [0, 1, 0]])


def test_samples_reach_a_quarter_beyond_both_ends_and_no_further():
    x = np.linspace(0, 1, 41)[:, None] * [0.6, 0.8]
    rng = np.random.default_rng(2)
    points, member = LocalPCA(1, 1).fit(x, rng).sample(4000, rng)
    along = points @ [0.6, 0.8]
    assert np.allclose(points, along[:, None] * [0.6, 0.8])
    assert -0.25 <= along.min() < -0.24
    assert 1.24 < along.max() <= 1.25
    assert member.min() >= 0
    assert member.max() < 41


def test_noise_is_the_mean_of_the_variances_left_out():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(4000, 3)) * [5.0, 0.3, 0.1]
    model = LocalPCA(1, 1).fit(x, rng)
    assert model.noise_[0] == pytest.approx((0.3**2 + 0.1**2) / 2, rel=0.1)


@given(st.integers(1, 12), st.integers(1, 4), st.integers(1, 4), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_local_pca_takes_few_equal_and_low_dimensional_points(n, d, n_components, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 2, size=(n, d)).astype(float)
    points, member = LocalPCA(n_components, 5).fit(x, rng).sample(7, rng)
    assert points.shape == (7, d)
    assert np.isfinite(points).all()
    assert (member < n).all()


def test_removal_takes_the_most_crowded_point_each_time():
    f = np.random.default_rng(4).random((30, 3))
    left = list(range(30))
    while len(left) > 11:
        del left[int(np.argmin(crowding_distance(f[left])))]
    assert remove_crowded(f, 11).tolist() == left


def test_one_by_one_removal_leaves_the_ends_and_no_holes():
    t = np.concatenate([np.linspace(0, 1, 9), 0.5 + np.linspace(-1e-3, 1e-3, 8)])
    pop = Population.new(X=t[:, None], F=np.column_stack([t, 1 - t]))
    kept = CrowdingRemoval().do(get_problem("zdt1"), pop, n_survive=9)
    f1 = np.sort(kept.get("F")[:, 0])
    assert f1[0] == 0
    assert f1[-1] == 1
    assert np.diff(f1).max() < 0.2


def test_offspring_outside_the_box_come_halfway_back_to_a_solution():
    problem = get_problem("zdt4", n_var=4)
    rng = np.random.default_rng(5)
    x = rng.uniform(*problem.bounds(), size=(30, 4))
    pop = Population.new(X=x, F=problem.evaluate(x))
    mating = ManifoldMating(n_clusters=1, extension=3.0)
    off = mating.do(problem, pop, 300, random_state=rng, n_max_iterations=1).get("X")
    low, high = problem.bounds()
    assert (off >= low).all()
    assert (off <= high).all()
    halfway = np.concatenate([(x + low) / 2, (x + high) / 2])
    on_the_way = np.isclose(off[:, None], halfway[None]).any(axis=1)
    assert on_the_way.mean() > 0.2


def test_a_linear_pareto_set_is_found_far_sooner_than_by_nsga2():
    t = np.linspace(0, 1, 500)
    igd = IGD(np.column_stack([t, 1 - np.sqrt(t)]))
    ours = minimize(Linked(), RMMEDA(100), ("n_eval", 2000), seed=1)
    theirs = minimize(Linked(), NSGA2(100), ("n_eval", 2000), seed=1)
    assert ours.algorithm.evaluator.n_eval == 2000
    assert igd(ours.F) < 0.4 * igd(theirs.F)


def test_the_seed_decides_and_three_objectives_and_constraints_work():
    for problem in (get_problem("dtlz2", n_var=5), get_problem("bnh")):
        first, second = (
            minimize(problem, RMMEDA(20), ("n_gen", 6), seed=3).pop.get("X") for _ in range(2)
        )
        assert np.array_equal(first, second)
    res = minimize(get_problem("bnh"), RMMEDA(40), ("n_gen", 15), seed=1)
    assert (res.pop.get("CV") <= 0).all()


def test_bad_arguments_are_refused():
    for bad in ({"pop_size": 3}, {"n_clusters": 0}, {"extension": -0.1}):
        key, value = next(iter(bad.items()))
        with pytest.raises(ValueError, match=f"{key}={value}"):
            RMMEDA(**bad)
    with pytest.raises(TypeError, match="survival itself"):
        RMMEDA(survival=None)
    with pytest.raises(TypeError, match="n_clusters"):
        RMMEDA(n_cluster=3)
    with pytest.raises(ValueError, match="at least 2 objectives"):
        minimize(get_problem("sphere"), RMMEDA(20), ("n_gen", 2), seed=1)
