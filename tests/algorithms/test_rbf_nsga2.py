"""RBF-assisted NSGA-II: its inner search, its fallback, its rules."""

import numpy as np
import pytest
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.indicators.igd import IGD
from pymoo.optimize import minimize
from pymoo.problems import get_problem

from evogen.algorithms.rbf_nsga2 import RBFNSGA2, vary


class Bowls(Problem):
    """Two distances to points of the box; x_3 is fixed, and a third of the box gives NaN."""

    def __init__(self, broken=True):
        super().__init__(n_var=4, n_obj=2, xl=[0, -1, 0, 2], xu=[1, 1, 5, 2])
        self.broken = broken

    def _evaluate(self, x, out, *args, **kwargs):
        u = (x - self.xl) / [1, 2, 5, 1]
        f = np.column_stack([((u - 0.2) ** 2).sum(axis=1), ((u - 0.8) ** 2).sum(axis=1)])
        out["F"] = np.where(u[:, [0]] > 2 / 3, np.nan, f) if self.broken else f


class Disc(Problem):
    """Two distances; only points within a disc, and there only on a line, are feasible."""

    def __init__(self):
        super().__init__(n_var=3, n_obj=2, n_ieq_constr=1, n_eq_constr=1, xl=0.0, xu=1.0)

    def _evaluate(self, x, out, *args, **kwargs):
        out["F"] = np.column_stack([x[:, 0], (x[:, 0] - 1) ** 2 + x[:, 1] ** 2])
        out["G"] = ((x - 0.5) ** 2).sum(axis=1, keepdims=True) - 0.16
        out["H"] = x[:, [1]] - x[:, [2]]


@pytest.mark.parametrize("de_share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("bounds", ["reflect", "clip"])
def test_children_are_as_many_as_parents_and_in_the_box(de_share, bounds):
    u = np.random.default_rng(1).random((7, 5))
    child = vary(u, de_share, 2.0, bounds, np.random.default_rng(2))
    assert child.shape == (7, 5)
    assert ((child >= 0) & (child <= 1)).all()


def test_the_surrogate_finds_a_smooth_front_far_sooner_than_nsga2():
    problem = get_problem("zdt1", n_var=10)
    igd = IGD(problem.pareto_front())
    ours = minimize(problem, RBFNSGA2(40), ("n_eval", 400), seed=1)
    theirs = minimize(problem, NSGA2(40), ("n_eval", 400), seed=1)
    assert ours.algorithm.evaluator.n_eval == 400
    assert ours.algorithm.n_assisted == 9
    assert igd(ours.F) < 0.1 * igd(theirs.F)


def test_with_too_few_points_for_the_linear_tail_it_is_nsga2():
    problem = get_problem("zdt1", n_var=30)
    res = minimize(problem, RBFNSGA2(10), ("n_gen", 5), seed=1)
    # 10, 20, 30 points are fewer than 32; 40 are enough.
    assert res.algorithm.n_assisted == 1
    res = minimize(problem, RBFNSGA2(10, n_train=31), ("n_gen", 5), seed=1)
    assert res.algorithm.n_assisted == 0


def test_no_evaluated_point_is_evaluated_again():
    res = minimize(
        get_problem("zdt1", n_var=3), RBFNSGA2(20), ("n_gen", 15), seed=1, save_history=True
    )
    x = np.concatenate([h.off.get("X") for h in res.history if h.off is not None])
    assert len(np.unique(x, axis=0)) == len(x)


def test_points_that_are_not_finite_and_fixed_variables_do_no_harm():
    res = minimize(Bowls(), RBFNSGA2(20), ("n_gen", 12), seed=1)
    assert res.algorithm.n_assisted >= 10
    assert (res.pop.get("X")[:, 3] == 2).all()
    assert np.isfinite(res.F).all()
    # The Pareto set is the segment between the two optima: equal coordinates of the unit box.
    off_segment = {}
    for method in (RBFNSGA2, NSGA2):
        found = minimize(Bowls(broken=False), method(pop_size=20), ("n_gen", 12), seed=1)
        assert (found.X[:, 3] == 2).all()
        u = (found.X[:, :3] - [0, -1, 0]) / [1, 2, 5]
        off_segment[method] = np.median(np.ptp(u, axis=1))
    assert off_segment[RBFNSGA2] < 0.6 * off_segment[NSGA2]


def test_predicted_violations_follow_pymoo_and_lead_into_the_feasible_part():
    problem = Disc()
    algorithm = RBFNSGA2(30)
    res = minimize(problem, algorithm, ("n_gen", 12), seed=1)
    assert (res.pop.get("CV") <= 0).mean() > 0.9
    final = res.algorithm
    x = np.random.default_rng(0).random((20, 3))
    out = problem.evaluate(x, return_as_dictionary=True)

    class Exact:
        def predict(self, u):
            return np.hstack([out["F"], out["G"], out["H"]])

    f, cv = final._predict(Exact(), x)
    expected = Population.new(X=x, F=out["F"], G=out["G"], H=out["H"]).get("CV")[:, 0]
    assert np.array_equal(f, out["F"])
    assert np.allclose(cv, expected)


def test_the_seed_decides():
    runs = [
        minimize(get_problem("dtlz2", n_var=6), RBFNSGA2(20), ("n_gen", 5), seed=7).pop.get("X")
        for _ in range(2)
    ]
    assert np.array_equal(*runs)


def test_bad_arguments_are_refused():
    for bad in (
        {"pop_size": 3},
        {"n_train": 2},
        {"n_inner": 0},
        {"de_share": 1.5},
        {"F": 0},
        {"bounds": "wrap"},
        {"ridge": -1.0},
    ):
        key, value = next(iter(bad.items()))
        with pytest.raises(ValueError, match=f"{key}={value!r}"):
            RBFNSGA2(**bad)
    with pytest.raises(TypeError, match="n_inner"):
        RBFNSGA2(inner=3)
    with pytest.raises(ValueError, match="at least 2 objectives"):
        minimize(get_problem("sphere"), RBFNSGA2(20), ("n_gen", 2), seed=1)
