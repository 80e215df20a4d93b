import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymoo.core.problem import Problem
from pymoo.problems.multi import ZDT1
from pymoo.problems.single import Sphere

import evogen.problems
from evogen.experiment import Reference, floor, nondominated, true_front


class Line(Problem):
    """True front from (0, 2) to (4, 0) as the problem itself gives it."""

    front = np.column_stack([np.linspace(0, 4, 1001), np.linspace(2, 0, 1001)])

    def __init__(self):
        super().__init__(n_var=2, n_obj=2, xl=0.0, xu=1.0)

    def _calc_pareto_front(self):
        return self.front


def test_igd_and_igd_plus_are_mean_distances_of_the_front_to_the_set():
    reference = Reference(2, front=np.array([[0.0, 1.0], [1.0, 0.0]]))
    measured = reference.measure(np.array([[0.0, 0.0]]))
    assert measured["igd"] == pytest.approx(1.0)
    # IGD+ counts only what is worse: the point dominates both.
    assert measured["igd_plus"] == 0.0
    assert reference.measure([[3.0, 5.0]])["igd"] == pytest.approx((5.0 + np.hypot(2, 5)) / 2)


def test_hypervolume_is_taken_between_ideal_and_nadir_with_a_margin_of_a_tenth():
    reference = Reference.of(Line())
    assert reference.describe()["ideal"] == [0.0, 0.0]
    assert reference.describe()["nadir"] == [4.0, 2.0]
    assert reference.describe()["hv_point"] == [1.1, 1.1]
    # (2, 1) is (.5, .5) after normalisation.
    assert reference.measure([[2.0, 1.0]])["hv"] == pytest.approx(0.6**2)
    assert reference.measure([[0.0, 0.0], [9.0, 9.0]])["hv"] == pytest.approx(1.1**2)


def test_the_whole_front_has_igd_zero_and_the_largest_hypervolume():
    reference = Reference.of(Line())
    measured = reference.measure(Line.front)
    assert measured["igd"] == measured["igd_plus"] == 0.0
    assert measured["hv"] == pytest.approx(1.1**2 - 0.5, abs=1e-3)


def test_an_empty_set_is_the_worst():
    measured = Reference.of(Line()).measure(np.empty((0, 2)))
    assert measured == {"igd": np.inf, "igd_plus": np.inf, "hv": 0.0}


def test_without_a_true_front_there_is_a_hypervolume_only_for_a_given_point():
    class Unknown(Line):
        def _calc_pareto_front(self):
            return None

    assert Reference.of(Unknown()).measure([[0.0, 0.0]]) == {
        "igd": None,
        "igd_plus": None,
        "hv": None,
    }
    reference = Reference.of(Unknown(), ref_point=[2.0, 3.0])
    assert reference.measure([[0.0, 0.0]])["hv"] == pytest.approx(6.0)
    with pytest.raises(ValueError, match="must be 2 finite numbers"):
        Reference.of(Unknown(), ref_point=[1.0])


def test_a_front_that_cannot_be_had_is_no_error():
    class Offline(Line):
        def _calc_pareto_front(self):
            raise OSError("no network")

    assert true_front(Offline()) is None


def test_a_single_objective_is_measured_by_the_distance_to_the_optimum():
    measured = Reference.of(Sphere(n_var=2)).measure([[0.25]])
    assert measured["igd"] == pytest.approx(0.25)
    assert measured["hv"] is None


def test_a_front_flat_in_one_objective_is_not_stretched_there():
    class Flat(Line):
        front = np.column_stack([np.linspace(0, 1, 50), np.full(50, 7.0)])

    assert Reference.of(Flat()).describe()["nadir"] == [1.0, 8.0]


def test_many_objectives_are_approximated_closely():
    f = np.random.default_rng(0).random((40, 7)) * 0.5
    front = np.vstack([np.zeros(7), np.ones(7)])
    reference = Reference(7, front, np.zeros(7), np.ones(7), np.full(7, 1.1))
    import moocore

    exact = moocore.hypervolume(f, ref=np.full(7, 1.1))
    assert reference.measure(f)["hv"] == pytest.approx(exact, rel=2e-3)
    assert reference.measure(f) == reference.measure(f)


def test_the_true_front_is_dense_whatever_was_asked_before():
    problem = ZDT1()
    assert len(problem.pareto_front()) == 100
    assert len(true_front(problem)) == 2000
    assert len(problem.pareto_front()) == 100


@pytest.mark.parametrize("name", ["imf1", "imf4", "zdt1-shifted", "dtlz2", "uf8", "lsmop1"])
def test_our_own_problems_give_fronts_dense_enough_for_a_floor(name):
    problem = evogen.problems.get_problem(name)
    assert len(true_front(problem)) >= 1900
    assert floor(problem, 100) > 0


def test_the_floor_of_a_line_is_its_length_over_four_n():
    # n points at the middles of n equal pieces: the mean distance within a piece of length l / n
    # is l / (4 n).
    length = np.hypot(4, 2)
    for n in (1, 10, 50):
        assert floor(Line(), n) == pytest.approx(length / (4 * n), rel=0.06)


def test_the_floor_is_below_what_even_the_best_spread_population_reaches():
    problem = ZDT1()
    spread = true_front(problem, 100)
    assert floor(problem, 100) < Reference.of(problem).measure(spread)["igd"]


def test_the_floor_is_decided_by_its_seed_and_unknown_for_sparse_fronts():
    assert floor(Line(), 30, seed=4) == floor(Line(), 30, seed=4)
    assert floor(Line(), 500) is None
    with pytest.raises(ValueError, match="n_points=0"):
        floor(Line(), 0)


def test_nondominated_keeps_feasible_finite_rows_once():
    f = np.array([[1.0, 3.0], [3.0, 1.0], [2.0, 4.0], [1.0, 3.0], [0.0, 0.0], [np.nan, 0.0]])
    cv = np.array([[0.0], [0.0], [0.0], [0.0], [0.1], [0.0]])
    assert nondominated(f, cv).tolist() == [[1.0, 3.0], [3.0, 1.0]]
    assert nondominated(f, np.ones(6)).shape == (0, 2)
    assert nondominated([[4.0], [2.0]]).tolist() == [[2.0]]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(2, 3), st.integers(0, 1000))
def test_more_points_never_make_it_worse(n, n_obj, seed):
    f = np.random.default_rng(seed).random((n + 1, n_obj))
    front = np.eye(n_obj)
    reference = Reference(n_obj, front, np.zeros(n_obj), np.ones(n_obj), np.full(n_obj, 1.1))
    less, more = reference.measure(f[:n]), reference.measure(f)
    assert more["igd"] <= less["igd"] + 1e-12
    assert more["igd_plus"] <= less["igd_plus"] + 1e-12
    assert more["hv"] >= less["hv"] - 1e-12
    assert less["igd_plus"] <= less["igd"] + 1e-12
