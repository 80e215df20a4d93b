import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pymoo.algorithms.moo.moead import MOEAD
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.algorithms.moo.nsga3 import NSGA3
from pymoo.algorithms.moo.spea2 import SPEA2
from pymoo.core.evaluator import Evaluator
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.util.ref_dirs import get_reference_directions

from evogen.experiment import GuardedEvaluator, minimize
from evogen.experiment.evaluation import UNKNOWN_WORST

REF_DIRS = get_reference_directions("das-dennis", 2, n_partitions=29)

ALGORITHMS = {
    "NSGA2": lambda: NSGA2(pop_size=30),
    "NSGA3": lambda: NSGA3(REF_DIRS, pop_size=30),
    "SPEA2": lambda: SPEA2(pop_size=30),
    "MOEAD": lambda: MOEAD(REF_DIRS, n_neighbors=8),
}


class Table(Problem):
    """Row i of a table of objectives (and constraints) for x = i."""

    def __init__(self, f, g=None, h=None):
        f = np.asarray(f, dtype=float)
        counts = [0 if c is None else np.shape(c)[1] for c in (g, h)]
        super().__init__(
            n_var=1,
            n_obj=f.shape[1],
            n_ieq_constr=counts[0],
            n_eq_constr=counts[1],
            xl=0,
            xu=len(f),
        )
        self.values = {"F": f, "G": g, "H": h}

    def _evaluate(self, x, out, *args, **kwargs):
        rows = x[:, 0].astype(int)
        out.update({k: np.asarray(v)[rows] for k, v in self.values.items() if v is not None})


def evaluate(problem, rows, evaluator):
    pop = Population.new(X=np.asarray(rows, dtype=float)[:, None])
    return evaluator.eval(problem, pop)


class Partly(Problem):
    """Objectives far from 0; not finite in a part of the box, or in the first call, or always."""

    def __init__(self, where):
        super().__init__(n_var=4, n_obj=2, xl=0.0, xu=1.0)
        self.where = where
        self.n_calls = 0

    def _evaluate(self, x, out, *args, **kwargs):
        self.n_calls += 1
        f = np.column_stack([x[:, 0], 1 - x[:, 0] + x[:, 1:].sum(axis=1)]) * 100 + 1000
        if self.where == "part":
            f[x[:, 1] > 0.6] = [np.nan, 3.0]
            f[x[:, 2] > 0.7, 1] = -np.inf
            f[x[:, 3] > 0.8] = np.inf
        elif self.where == "always" or self.n_calls == 1:
            f[:] = np.nan
        out["F"] = f


@pytest.mark.filterwarnings("ignore:Partly gave no finite values")
@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("where", ["part", "first generation"])
def test_runs_survive_values_that_are_not_finite(name, where):
    res = minimize(Partly(where), ALGORITHMS[name](), ("n_gen", 40), seed=1)
    assert res.success
    assert res.n_nonfinite >= 10
    assert f"{res.n_nonfinite} points had non-finite values" in res.message
    assert len(res.X_nonfinite) == res.n_nonfinite
    assert np.isfinite(res.pop.get("F")).all()
    # It converges as it would without them: f1 + f2 is 2100 on the front, 2250 on average at first.
    assert res.F.sum(axis=1).mean() < 2115
    assert np.ptp(res.F[:, 0]) > 60


@pytest.mark.filterwarnings("ignore:Partly gave no finite values")
@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_run_without_any_finite_value_ends_and_says_so(name):
    res = minimize(Partly("always"), ALGORITHMS[name](), ("n_gen", 5), seed=1)
    assert res.success is False
    assert res.X is None
    assert "no feasible point with finite values" in res.message
    assert res.n_nonfinite == res.n_eval


def test_first_points_without_any_finite_value_are_warned_about_once():
    with pytest.warns(UserWarning, match=r"Partly gave no finite .* first 8 points$") as told:
        minimize(Partly("always"), NSGA2(pop_size=8), ("n_gen", 4), seed=1)
    assert len(told) == 1


def test_objectives_that_are_never_set_are_recognised():
    class Forgetful(Partly):
        def _evaluate(self, x, out, *args, **kwargs):
            out["objectives"] = x[:, :2]

    with pytest.warns(UserWarning, match=r"as when _evaluate does not set out\['F'\]"):
        minimize(Forgetful("part"), NSGA2(pop_size=8), ("n_gen", 2), seed=1)


def test_first_points_with_one_finite_row_are_not_warned_about(recwarn):
    evaluate(Table([[np.nan, 0.0], [1.0, 1.0], [np.inf, 2.0]]), range(3), GuardedEvaluator())
    assert len(recwarn) == 0


def test_the_worst_finite_value_plus_the_range_takes_the_place():
    f = [[1.0, 10.0], [3.0, 40.0], [np.nan, 0.0], [np.inf, -np.inf]]
    evaluator = GuardedEvaluator()
    pop = evaluate(Table(f), range(4), evaluator)
    assert pop.get("F").tolist() == [[1, 10], [3, 40], [5, 70], [5, 70]]
    assert pop.get("FEAS")[:, 0].tolist() == [True, True, False, False]
    assert evaluator.n_nonfinite == 2
    assert [ind.X[0] for ind in evaluator.nonfinite] == [2, 3]
    assert evaluator.n_eval == 4


@pytest.mark.filterwarnings("ignore:Table gave no finite values")
def test_points_replaced_before_worse_values_were_seen_are_made_worse_too():
    f = [[np.nan, 0.0], [1.0, 1.0], [2.0, 5.0], [9.0, 9.0]]
    evaluator, problem = GuardedEvaluator(), Table(f)
    early = evaluate(problem, [0], evaluator)
    assert early.get("F").tolist() == [[UNKNOWN_WORST, UNKNOWN_WORST]]
    evaluate(problem, [1], evaluator)
    assert early.get("F").tolist() == [[2, 2]]
    evaluate(problem, [2, 3], evaluator)
    assert early.get("F").tolist() == [[17, 17]]


def test_constraints_that_are_not_finite_make_the_worst_violation():
    f = [[1.0, 2.0]] * 4
    g = [[-1.0], [3.0], [np.nan], [-1.0]]
    h = [[0.0], [0.0], [0.0], [-np.inf]]
    pop = evaluate(Table(f, g, h), range(4), GuardedEvaluator())
    assert pop.get("CV")[:, 0].tolist() == [0, 3, 6, 6]
    assert np.isfinite(pop.get("G")).all()
    assert np.isfinite(pop.get("H")).all()
    assert pop.get("G")[2, 0] == 3 + (3 - -1)
    assert np.all(pop.get("F")[2:] > 1)


def test_finite_values_are_not_touched():
    f = np.random.default_rng(0).normal(size=(9, 3))
    pop = evaluate(Table(f), range(9), GuardedEvaluator())
    assert np.array_equal(pop.get("F"), f)
    assert pop.get("FEAS").all()


def test_a_point_evaluated_anew_counts_as_what_it_is_now():
    problem, evaluator = Table([[np.nan, 0.0], [1.0, 1.0]]), GuardedEvaluator()
    pop = evaluate(problem, [0, 1], evaluator)
    problem.values["F"] = np.array([[0.5, 0.5], [9.0, 9.0]])
    evaluator.eval(problem, pop, skip_already_evaluated=False)
    assert pop.get("F").tolist() == [[0.5, 0.5], [9.0, 9.0]]


def test_copies_of_a_running_algorithm_keep_guarding_their_own_points():
    problem, evaluator = Table([[np.nan, 0.0], [1.0, 1.0], [5.0, 5.0]]), GuardedEvaluator()
    pop = evaluate(problem, [0, 1], evaluator)
    twin_pop, twin = copy.deepcopy((pop, evaluator))
    evaluate(problem, [2], twin)
    assert twin_pop.get("F")[0].tolist() == [9, 9]
    assert pop.get("F")[0].tolist() == [2, 2]


def test_a_given_evaluator_is_wrapped_and_keeps_counting():
    seen = []
    inner = Evaluator(callback=lambda pop: seen.append(len(pop)))
    res = minimize(Partly("part"), NSGA2(pop_size=10, evaluator=inner), ("n_gen", 3), seed=1)
    assert seen == [10, 10, 10]
    assert res.algorithm.evaluator.inner.n_eval == res.n_eval == 30
    assert res.n_nonfinite > 0


def test_switches_reach_the_wrapped_evaluator():
    evaluator = GuardedEvaluator()
    evaluator.skip_already_evaluated = False
    assert evaluator.inner.skip_already_evaluated is False


@settings(max_examples=60, deadline=None)
@given(
    arrays(
        float,
        st.tuples(st.integers(1, 12), st.integers(1, 3)),
        elements=st.floats(allow_nan=True, allow_infinity=True, width=64),
    )
)
def test_replaced_points_are_finite_and_never_better_than_a_real_one(f):
    pop = evaluate(Table(f), range(len(f)), GuardedEvaluator())
    good = np.isfinite(f).all(axis=1)
    values = pop.get("F")
    assert np.array_equal(values[good], f[good])
    assert np.isfinite(values[~good]).all()
    assert np.array_equal(pop.get("FEAS")[:, 0], good)
    if good.any() and np.abs(f[good]).max() < 1e100:
        assert (values[~good] >= f[good].max(axis=0)).all()
