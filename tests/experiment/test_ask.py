import csv

import numpy as np
import pytest
from pymoo.algorithms.moo.moead import MOEAD
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.algorithms.soo.nonconvex.nelder import NelderMead
from pymoo.core.mixed import MixedVariableDuplicateElimination, MixedVariableMating
from pymoo.core.mixed import MixedVariableSampling as MixedSampling
from pymoo.core.problem import ElementwiseProblem, Problem
from pymoo.core.variable import Binary, Choice, Integer, Real
from pymoo.optimize import minimize as pymoo_minimize
from pymoo.problems.multi import BNH, ZDT1
from pymoo.util.ref_dirs import get_reference_directions

from evogen.experiment import ask, minimize
from evogen.experiment.evaluation import GuardedEvaluator
from evogen.experiment.export import save_designs


class Bowl(Problem):
    """Linear and quadratic objectives of two variables; counts what it evaluates."""

    def __init__(self, **kwargs):
        super().__init__(n_var=2, n_obj=2, xl=-1.0, xu=1.0, **kwargs)
        self.n_rows = 0

    def _evaluate(self, x, out, *args, **kwargs):
        self.n_rows += len(x)
        out["F"] = np.column_stack([np.abs(x[:, 0]), (1 - np.abs(x[:, 0])) ** 2 + x[:, 1] ** 2])


@pytest.fixture(scope="module")
def res():
    return minimize(Bowl(), NSGA2(pop_size=40), ("n_gen", 25), seed=1)


@pytest.fixture(scope="module")
def constrained():
    return minimize(BNH(), NSGA2(pop_size=40), ("n_gen", 20), seed=1)


# What a run keeps.


def test_a_run_keeps_every_point_it_has_evaluated(res):
    kept = res.evaluations
    assert len(kept) == res.n_eval == 1000
    assert np.array_equal(Bowl().evaluate(kept.X), kept.F)
    assert kept.CV.shape == (1000,)
    rows = {row.tobytes() for row in kept.X}
    assert all(row.tobytes() in rows for row in res.pop.get("X"))


@pytest.mark.parametrize("steady", [False, True])
def test_keeping_them_changes_nothing_and_can_be_switched_off(steady):
    directions = get_reference_directions("das-dennis", 2, n_partitions=9)
    problem = ZDT1(n_var=4)

    def algorithm():
        return MOEAD(directions, n_neighbors=3) if steady else NSGA2(pop_size=10)

    theirs = pymoo_minimize(problem, algorithm(), ("n_gen", 5), seed=2)
    kept, dropped = (
        minimize(problem, algorithm(), ("n_gen", 5), seed=2, keep_evaluations=k)
        for k in (True, False)
    )
    assert np.array_equal(theirs.F, kept.F)
    assert np.array_equal(theirs.F, dropped.F)
    assert len(kept.evaluations) == kept.n_eval
    assert dropped.evaluations is None
    with pytest.raises(ValueError, match="keep_evaluations=True"):
        dropped.ask(near=[0.5, 0.5])


def test_violations_of_constraints_are_those_of_pymoo(constrained):
    kept = constrained.evaluations
    assert len(kept) == constrained.n_eval
    by_row = {x.tobytes(): cv for x, cv in zip(kept.X, kept.CV, strict=True)}
    pop = constrained.pop
    expected = [by_row[x.tobytes()] for x in pop.get("X")]
    np.testing.assert_allclose(pop.get("CV")[:, 0], expected)
    assert (kept.CV > 0).any()


def test_points_with_values_that_are_not_finite_are_left_out():
    class Broken(Bowl):
        def _evaluate(self, x, out, *args, **kwargs):
            super()._evaluate(x, out)
            out["F"][x[:, 1] > 0.5] = np.nan

    res = minimize(Broken(), NSGA2(pop_size=20), ("n_gen", 4), seed=1)
    assert res.n_nonfinite > 0
    assert len(res.evaluations) == res.n_eval - res.n_nonfinite
    assert res.evaluations.X[:, 1].max() <= 0.5


def test_a_history_of_copies_shares_the_points():
    res = minimize(Bowl(), NSGA2(pop_size=8), ("n_gen", 6), seed=1, save_history=True)
    first, last = (res.history[i].evaluator.inner.chunks for i in (0, -1))
    assert len(first) == 1
    assert len(last) == 6
    assert first[0]["X"] is last[0]["X"]


def test_an_evaluator_of_the_users_own_still_counts():
    own = GuardedEvaluator()
    res = minimize(Bowl(), NSGA2(pop_size=8), ("n_gen", 2), seed=1, evaluator=own)
    assert own.n_eval == 16
    assert len(res.evaluations) == 16


# What it answers.


def test_designs_near_a_target_reach_it_from_both_sides(res):
    problem = Bowl()
    designs = res.ask(near=[0.37, 0.42], n=4)
    assert designs.X.shape == (4, 2)
    assert designs.F_predicted.shape == designs.expected_error.shape == (4, 2)
    assert designs.F is None
    assert designs.attainable.all()
    f = problem.evaluate(designs.X)
    assert np.abs(f - designs.target).max() < 0.02
    assert {-1.0, 1.0} == set(np.sign(designs.X[:, 0]))


def test_asking_evaluates_nothing_unless_told_to(res):
    before = res.problem.n_rows
    res.ask(near=[0.3, 0.5], n=3)
    assert res.problem.n_rows == before
    designs = res.ask(near=[0.3, 0.5], n=3, evaluate=True)
    assert res.problem.n_rows == before + 3
    assert np.array_equal(designs.F, Bowl().evaluate(designs.X))
    assert designs.CV.shape == (3,)


def test_the_same_seed_gives_the_same_designs(res):
    one, two = (res.ask(preference={"f1": 1, "f2": 2}, n=5, seed=3) for _ in range(2))
    assert np.array_equal(one.X, two.X)


def test_more_weight_on_an_objective_gives_less_of_it(res):
    f1 = [
        Bowl().evaluate(res.ask(preference={"f1": w, "f2": 1 - w}).X)[0, 0] for w in (0.2, 0.5, 0.8)
    ]
    assert f1[0] > f1[1] > f1[2]
    by_name = res.ask(preference={"f2": 0.7, "f1": 0.3})
    assert np.array_equal(by_name.X, res.ask(preference=[0.3, 0.7]).X)


def test_designs_within_bounds_are_within_them(res):
    designs = res.ask(bounds={"f1": (0.2, 0.4)}, n=6)
    f = Bowl().evaluate(designs.X)
    assert np.all((f[:, 0] > 0.19) & (f[:, 0] < 0.41))
    assert np.ptp(f[:, 0]) > 0.12
    one_sided = Bowl().evaluate(res.ask(bounds={"f2": (None, 0.1)}, n=3).X)
    assert one_sided[:, 1].max() < 0.12


def test_designs_between_two_solutions_lie_between_them(res):
    order = np.argsort(res.F[:, 0])
    i, j = int(order[5]), int(order[-5])
    f = Bowl().evaluate(res.ask(between=(i, j), n=5).X)
    assert np.all((f[:, 0] > res.F[i, 0]) & (f[:, 0] < res.F[j, 0]))
    assert np.all(np.diff(f[:, 0]) > 0)
    # On the front f2 = (1 - f1)^2, not on the chord above it.
    assert np.abs(f[:, 1] - (1 - f[:, 0]) ** 2).max() < 0.02


def test_without_a_wish_designs_span_the_front(res):
    f = Bowl().evaluate(res.ask(n=9).X)
    assert np.ptp(f[:, 0]) > 0.8


def test_a_target_beyond_the_front_gets_the_closest_and_says_so(res):
    designs = res.ask(near=[0.0, 0.0], n=2)
    assert not designs.attainable.any()
    assert "beyond what the run has found" in designs.message
    nearest = np.linalg.norm(res.F, axis=1).min()
    assert np.linalg.norm(Bowl().evaluate(designs.X[:1])) < nearest + 0.02


def test_a_target_that_is_beaten_says_so(res):
    designs = res.ask(near=[0.6, 0.8])
    assert "better than this target in every objective" in designs.message
    np.testing.assert_allclose(Bowl().evaluate(designs.X)[0], [0.6, 0.8], atol=0.03)


def test_bounds_where_nothing_lies_say_so(res):
    designs = res.ask(bounds={"f1": (3, 4)}, n=2)
    assert not designs.attainable.any()
    assert "No trade-off" in designs.message


def test_constraints_are_kept(constrained):
    designs = constrained.ask(n=12, evaluate=True)
    scale = np.median(constrained.evaluations.CV[constrained.evaluations.CV > 0])
    assert (0.01 * scale >= designs.CV).mean() > 0.8
    width = np.ptp(constrained.F, axis=0)
    assert np.median(np.abs(designs.F - designs.target) / width) < 0.01


def test_data_of_any_origin_can_be_asked():
    x = np.random.default_rng(0).uniform(-1, 1, (400, 2))
    f = Bowl().evaluate(x)
    f[7] = np.nan
    designs = ask(x, f, problem=Bowl(), near=[0.5, 0.5], evaluate=True)
    np.testing.assert_allclose(designs.F, [[0.5, 0.5]], atol=0.03)
    boxed = ask(x, f, near=[0.5, 0.5])
    assert np.all((x.min(axis=0) <= boxed.X) & (x.max(axis=0) >= boxed.X))
    no_left = ask(x, f, CV=np.where(x[:, 0] < 0, 1.0, 0.0), problem=Bowl(), near=[0.5, 0.3], n=2)
    assert (no_left.X[:, 0] > 0).all()


@pytest.mark.parametrize("kind", [int, bool])
def test_whole_numbers_stay_whole(kind):
    class Whole(Problem):
        def __init__(self):
            super().__init__(n_var=8, n_obj=2, xl=0, xu=1 if kind is bool else 9, vtype=kind)

        def _evaluate(self, x, out, *args, **kwargs):
            x = x.astype(float) / np.maximum(1, self.xu)
            out["F"] = np.column_stack([x.sum(axis=1), ((1 - x) ** 2).sum(axis=1)])

    x = np.random.default_rng(0).integers(0, 2 if kind is bool else 10, (300, 8)).astype(kind)
    designs = ask(x, Whole().evaluate(x), problem=Whole(), near=[4.0, 3.0], n=3, evaluate=True)
    assert designs.X.dtype == kind
    assert np.abs(designs.F[0] - designs.target[0]).max() <= 1.0


def test_mixed_variables_come_back_as_they_were(tmp_path):
    class Mixed(ElementwiseProblem):
        def __init__(self):
            named = {
                "a": Real(bounds=(0, 1)),
                "b": Integer(bounds=(0, 5)),
                "c": Choice(options=["thin", "thick"]),
                "d": Binary(),
            }
            super().__init__(vars=named, n_obj=2)

        def _evaluate(self, x, out, *args, **kwargs):
            extra = 0.1 * (x["c"] == "thick") + 0.1 * x["d"] + 0.05 * x["b"]
            out["F"] = [x["a"] + extra, (1 - x["a"]) ** 2 + extra]

    distinct = MixedVariableDuplicateElimination()
    algorithm = NSGA2(
        pop_size=20,
        sampling=MixedSampling(),
        mating=MixedVariableMating(eliminate_duplicates=distinct),
        eliminate_duplicates=distinct,
    )
    res = minimize(Mixed(), algorithm, ("n_gen", 10), seed=1)
    designs = res.ask(preference=[1, 1], n=3, evaluate=True)
    assert set(designs.X[0]) == {"a", "b", "c", "d"}
    assert designs.X[0]["c"] in ("thin", "thick")
    assert isinstance(designs.X[0]["b"], int)
    assert np.abs(designs.F - designs.F_predicted).max() < 0.3
    save_designs(designs, tmp_path / "d.csv")
    with (tmp_path / "d.csv").open() as file:
        header, *lines = list(csv.reader(file))
    assert header[:5] == ["a", "b", "c", "d", "f1_predicted"]
    assert len(lines) == 3
    with pytest.raises(ValueError, match=r"use \.csv"):
        save_designs(designs, tmp_path / "d.npz")


def test_permutations_are_refused():
    x = np.array([np.random.default_rng(i).permutation(6) for i in range(40)])
    problem = Problem(n_var=6, n_obj=2, xl=0, xu=5, vtype=int)
    f = np.column_stack([x[:, 0], -x[:, 0]]).astype(float)
    with pytest.raises(TypeError, match="permutations"):
        ask(x, f, problem=problem, near=[1, -1])


@pytest.mark.parametrize(
    ("wish", "error", "words"),
    [
        ({"near": [0.1]}, ValueError, r"near=\[0.1\] must be 2 finite numbers"),
        ({"near": [0.1, np.nan]}, ValueError, "must be 2 finite numbers"),
        ({"near": "here"}, TypeError, "near='here' must be 2 numbers"),
        ({"preference": {"f11": 1}}, ValueError, "'f11', which is not there; did you mean 'f1'"),
        ({"preference": [0, 0]}, ValueError, "at least 0, one above 0"),
        ({"preference": {"f1": -1}}, ValueError, "at least 0"),
        ({"bounds": {"f3": (0, 1)}}, ValueError, "'f3'"),
        ({"bounds": {"f1": (1, 0)}}, ValueError, "low must not exceed high"),
        ({"bounds": {"f1": 3}}, ValueError, r"must be \(low, high\)"),
        ({"bounds": [0, 1]}, TypeError, "must be a dictionary"),
        ({"between": (1, 999)}, ValueError, "F has the rows 0 to"),
        ({"between": (1, 1)}, ValueError, "two different rows"),
        ({"between": 4}, TypeError, "two row numbers"),
        ({"between": (0, 1.5)}, TypeError, "two whole numbers"),
        ({"near": [0, 1], "preference": [1, 1]}, ValueError, "near and preference are different"),
        ({"n": 0}, ValueError, "n=0 must be at least 1"),
        ({"n": 1.5}, TypeError, "n=1.5 must be a whole number"),
        ({"seed": -1}, ValueError, "seed=-1"),
    ],
)
def test_bad_wishes_are_refused_in_one_sentence(res, wish, error, words):
    with pytest.raises(error, match=words):
        res.ask(**wish)


def test_bad_data_are_refused():
    x = np.random.default_rng(0).random((30, 2))
    f = np.column_stack([x[:, 0], 1 - x[:, 0]])
    with pytest.raises(ValueError, match="one row per point"):
        ask(x[:20], f)
    with pytest.raises(ValueError, match="CV has 3 values"):
        ask(x, f, CV=[0, 0, 0])
    with pytest.raises(ValueError, match="none of the points is feasible"):
        ask(x, f, CV=np.ones(30))
    with pytest.raises(ValueError, match="needs two or more"):
        ask(x, f[:, :1])
    with pytest.raises(ValueError, match="needs problem="):
        ask(x, f, evaluate=True)
    with pytest.raises(ValueError, match="too few"):
        ask(x[:3], f[:3])


def test_a_run_of_one_objective_says_that_there_is_nothing_to_trade():
    res = minimize("sphere", NelderMead(), ("n_eval", 30), seed=1)
    with pytest.raises(ValueError, match="one objective"):
        res.ask(near=[0.1])
