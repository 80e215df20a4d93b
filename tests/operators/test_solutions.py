"""Ranks, crowding and the array view of a population."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pymoo.core.individual import Individual, calc_cv
from pymoo.core.population import Population
from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from evogen.operators import (
    Solutions,
    best_first,
    constrained_rank,
    constraint_violation,
    crowding_by_front,
    crowding_distance,
    matrix,
)

RNG = np.random.default_rng(0)


def brute_force_rank(f: np.ndarray, cv: np.ndarray) -> np.ndarray:
    """Deb's constrained domination, peeled front by front."""

    def dominates(i: int, j: int) -> bool:
        violated_i, violated_j = max(cv[i], 0.0), max(cv[j], 0.0)
        if violated_i != violated_j:
            return violated_i < violated_j
        if violated_i > 0:
            return False
        return bool((f[i] <= f[j]).all() and (f[i] < f[j]).any())

    rank = np.full(len(f), -1)
    left, front = set(range(len(f))), 0
    while left:
        best = {i for i in left if not any(dominates(j, i) for j in left)}
        rank[list(best)] = front
        left, front = left - best, front + 1
    return rank


def crowding_by_loops(f: np.ndarray) -> np.ndarray:
    """Crowding of one front, point by point; the earlier of equal values comes first."""
    distance = np.zeros(len(f))
    for column in f.T:
        order = sorted(range(len(f)), key=lambda i: column[i])
        extent = column[order[-1]] - column[order[0]]
        for place, i in enumerate(order):
            if place in (0, len(f) - 1):
                distance[i] = np.inf
            elif extent > 0:
                distance[i] += (column[order[place + 1]] - column[order[place - 1]]) / extent
    return distance


@st.composite
def evaluated(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Objectives and violations with many ties, zeros of both signs, and duplicates."""
    n, n_obj = draw(st.integers(1, 14)), draw(st.integers(1, 4))
    value = st.sampled_from([-0.0, 0.0, 1.0, 2.0, 3.0, 1e-9, -5.0])
    f = draw(hnp.arrays(float, (n, n_obj), elements=value))
    cv = draw(hnp.arrays(float, n, elements=st.sampled_from([-1.0, 0.0, 0.0, 0.0, 0.5, 2.0])))
    return f, cv


@given(evaluated())
@settings(max_examples=200, deadline=None)
def test_rank_is_constrained_domination_peeled_by_hand(data: tuple[np.ndarray, np.ndarray]) -> None:
    f, cv = data
    np.testing.assert_array_equal(constrained_rank(f, cv), brute_force_rank(f, cv))


def test_all_infeasible_is_ranked_by_violation() -> None:
    f = RNG.random((4, 2))
    np.testing.assert_array_equal(constrained_rank(f, np.array([3.0, 1.0, 2.0, 1.0])), [2, 0, 1, 0])


def test_rank_of_nothing_is_empty() -> None:
    assert constrained_rank(np.empty((0, 2)), np.empty(0)).shape == (0,)


@pytest.mark.parametrize("n_obj", [1, 2, 3, 5])
@pytest.mark.parametrize("n", [3, 10, 57])
def test_crowding_is_pymoos_times_the_number_of_objectives(n: int, n_obj: int) -> None:
    f = np.random.default_rng(n).random((n, n_obj))
    np.testing.assert_allclose(crowding_distance(f), calc_crowding_distance(f) * n_obj)


def test_crowding_by_hand() -> None:
    f = np.array([[0.0, 4.0], [1.0, 2.0], [3.0, 1.0], [4.0, 0.0]])
    np.testing.assert_allclose(crowding_distance(f), [np.inf, 3 / 4 + 3 / 4, 3 / 4 + 2 / 4, np.inf])


@pytest.mark.parametrize("n", [0, 1, 2])
def test_one_or_two_points_are_never_crowded(n: int) -> None:
    assert (crowding_distance(RNG.random((n, 2))) == np.inf).all()


def test_an_objective_without_extent_adds_nothing() -> None:
    f = np.column_stack([np.arange(5.0), np.ones(5)])
    inner = crowding_distance(f)[1:-1]
    np.testing.assert_allclose(inner, 0.5)


@given(st.integers(1, 40), st.integers(1, 4), st.integers(1, 5), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_crowding_of_all_fronts_is_that_of_each(
    n: int, n_obj: int, n_fronts: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    f = rng.integers(0, 6, size=(n, n_obj)).astype(float)
    rank = rng.integers(0, n_fronts, size=n)
    found = crowding_by_front(f, rank)
    for r in np.unique(rank):
        front = np.flatnonzero(rank == r)
        if len(front) <= 2:
            assert np.isinf(found[front]).all()
        else:
            np.testing.assert_allclose(found[front], crowding_by_loops(f[front]))


def test_best_first_is_nsga2s_order_with_feasible_points_first() -> None:
    rng = np.random.default_rng(0)
    f, cv = rng.random((50, 3)), np.maximum(0, rng.normal(size=50))
    feasible = np.flatnonzero(cv == 0)
    expected: list[int] = []
    for front in NonDominatedSorting().do(f[feasible]):
        rows = feasible[np.sort(front)]
        expected += rows[np.argsort(-calc_crowding_distance(f[rows]), kind="stable")].tolist()
    infeasible = np.flatnonzero(cv > 0)
    expected += infeasible[np.argsort(cv[infeasible])].tolist()
    assert min(len(feasible), len(infeasible)) > 10
    assert best_first(f, cv).tolist() == expected
    assert Solutions(f, f, cv).order.tolist() == expected


@given(evaluated())
@settings(max_examples=100, deadline=None)
def test_equals_keep_their_order(data: tuple[np.ndarray, np.ndarray]) -> None:
    f, cv = data
    rank, crowding = brute_force_rank(f, cv), np.zeros(len(f))
    for r in np.unique(rank):
        crowding[rank == r] = crowding_by_loops(f[rank == r])
    expected = sorted(range(len(f)), key=lambda i: (rank[i], -crowding[i]))
    assert best_first(f, cv).tolist() == expected


@given(evaluated())
@settings(max_examples=100, deadline=None)
def test_order_is_by_rank_then_by_crowding(data: tuple[np.ndarray, np.ndarray]) -> None:
    f, cv = data
    solutions = Solutions(np.zeros((len(f), 1)), f, cv)
    order = solutions.order
    assert sorted(order) == list(range(len(f)))
    ranks = solutions.rank[order]
    assert (np.diff(ranks) >= 0).all()
    for r in np.unique(ranks):
        front = order[ranks == r]
        crowding = crowding_by_loops(f[np.sort(front)])
        by_row = dict(zip(np.sort(front), crowding, strict=True))
        values = [by_row[i] for i in front]
        assert values == sorted(values, reverse=True)


def test_nothing_has_an_empty_order() -> None:
    assert best_first(np.empty((0, 2)), np.empty(0)).shape == (0,)
    assert Solutions(np.empty((0, 1)), np.empty((0, 2)), np.empty(0)).order.shape == (0,)


@pytest.mark.parametrize("layout", ["C", "F"])
@pytest.mark.parametrize("n", [0, 1, 23])
@pytest.mark.parametrize(("n_ieq", "n_eq"), [(0, 0), (1, 0), (0, 3), (7, 2), (9, 150), (300, 8)])
def test_violations_are_pymoos_bit_for_bit(n: int, n_ieq: int, n_eq: int, layout: str) -> None:
    values = np.random.default_rng(n_ieq).normal(size=(n, n_ieq + n_eq))
    values[:, n_ieq + 1 :: 2] *= 1e-4  # about the tolerance of an equality
    values = np.asarray(values, order=layout)  # type: ignore[call-overload]
    g, h = values[:, :n_ieq], values[:, n_ieq:]
    expected = np.array([calc_cv(G=a, H=b) for a, b in zip(g, h, strict=True)]).reshape(n)
    np.testing.assert_array_equal(constraint_violation(g, h), expected)


def test_violations_follow_pymoos_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {
        "cv_ieq": {"scale": 2.0, "eps": 0.1, "pow": 2, "func": np.mean},
        "cv_eq": {"scale": None, "eps": 0.3, "pow": None, "func": np.max},
    }
    monkeypatch.setattr(Individual, "default_config", lambda: config)
    g, h = RNG.normal(size=(20, 4)), RNG.normal(size=(20, 3))
    expected = [calc_cv(G=a, H=b) for a, b in zip(g, h, strict=True)]
    np.testing.assert_allclose(constraint_violation(g, h), expected)
    assert constraint_violation(g, h[:, :0]).max() > 0


def test_a_matrix_has_a_row_for_each_individual() -> None:
    pop = Population.new(X=RNG.random((4, 3)), F=np.arange(4))
    np.testing.assert_array_equal(matrix(pop, "X"), pop.get("X"))
    found = matrix(pop, "F")
    assert found.dtype == float
    np.testing.assert_array_equal(found, [[0], [1], [2], [3]])


def test_best_is_the_first_front() -> None:
    f = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    solutions = Solutions(np.zeros((3, 1)), f, np.zeros(3))
    np.testing.assert_array_equal(solutions.best, [0, 1])
    solutions = Solutions(np.zeros((3, 1)), f, np.array([1.0, 1.0, 0.0]))
    np.testing.assert_array_equal(solutions.best, [2])


def test_first_front_spans_the_unit_box_after_normalization() -> None:
    f = RNG.random((40, 3)) * [1e-3, 1.0, 1e6] + [5, -7, 1e5]
    solutions = Solutions(np.zeros((40, 1)), f, np.zeros(40))
    g = solutions.normalized_objectives()
    np.testing.assert_allclose(g[solutions.best].min(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(g[solutions.best].max(axis=0), 1)


@pytest.mark.parametrize(
    "f",
    [
        [[0.0, 0.0], [1.0, 2.0], [4.0, 1.0]],  # one non-dominated point
        [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]],  # no extent at all
        [[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]],  # an objective without extent
    ],
)
def test_normalization_stays_finite_without_extent(f: list[list[float]]) -> None:
    solutions = Solutions(np.zeros((3, 1)), np.array(f), np.zeros(3))
    g = solutions.normalized_objectives()
    assert np.isfinite(g).all()
    np.testing.assert_array_equal(g[solutions.best].min(axis=0), 0)


def test_normalization_of_a_single_best_point_uses_the_spread_of_all() -> None:
    f = np.array([[0.0, 0.0], [1.0, 2.0], [4.0, 1.0]])
    solutions = Solutions(np.zeros((3, 1)), f, np.zeros(3))
    np.testing.assert_allclose(solutions.normalized_objectives(), f / [4, 2])


def test_merge_keeps_the_first_of_equal_decision_vectors_in_order() -> None:
    a = Solutions(np.array([[3.0], [1.0], [3.0]]), np.array([[0.0], [1.0], [2.0]]), np.zeros(3))
    b = Solutions(np.array([[1.0], [2.0]]), np.array([[3.0], [4.0]]), np.ones(2))
    merged = Solutions.merge(a, b)
    np.testing.assert_array_equal(merged.u, [[3.0], [1.0], [2.0]])
    np.testing.assert_array_equal(merged.f, [[0.0], [1.0], [4.0]])
    np.testing.assert_array_equal(merged.cv, [0.0, 0.0, 1.0])


def test_an_index_gives_the_rows_with_everything_that_belongs_to_them() -> None:
    solutions = Solutions(RNG.random((5, 2)), RNG.random((5, 3)), RNG.random(5))
    part = solutions[np.array([4, 0])]
    assert len(part) == 2
    np.testing.assert_array_equal(part.u, solutions.u[[4, 0]])
    np.testing.assert_array_equal(part.f, solutions.f[[4, 0]])
    np.testing.assert_array_equal(part.cv, solutions.cv[[4, 0]])
