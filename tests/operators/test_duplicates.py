"""Row hashing finds what pymoo's distance matrix finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.duplicate import DefaultDuplicateElimination
from pymoo.core.mixed import MixedVariableDuplicateElimination
from pymoo.core.population import Population
from pymoo.optimize import minimize
from pymoo.problems import get_problem

from evogen.operators import HashDuplicateElimination


def kept(elimination: Any, x: Any, *others: Any) -> list[int]:
    """Numbers of the rows that stay."""
    pop = Population.new(X=x)
    pop.set("row", list(range(len(pop))))
    rest = elimination.do(pop, *(Population.new(X=o) for o in others))
    return [int(i) for i in rest.get("row")]


def same_as_pymoo(x: Any, *others: Any) -> list[int]:
    ours = kept(HashDuplicateElimination(), x, *others)
    assert ours == kept(DefaultDuplicateElimination(), x, *others)
    return ours


@pytest.mark.parametrize("seed", range(5))
def test_equals_pymoos_default_with_planted_duplicates(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.random((60, 7))
    x[rng.integers(60, size=20)] = x[rng.integers(60, size=20)]
    first, second = rng.random((30, 7)), rng.random((1, 7))
    first[:10] = x[rng.integers(60, size=10)]
    second[0] = x[17]
    assert len(same_as_pymoo(x)) < 60
    assert len(same_as_pymoo(x, first)) < len(same_as_pymoo(x))
    assert 17 not in same_as_pymoo(x, first, second)


@given(
    hnp.arrays(float, st.tuples(st.integers(1, 12), st.just(2)), elements=st.sampled_from(
        [0.0, -0.0, 1.0, -1.0, 0.5, 1e300]
    )),
    hnp.arrays(float, st.tuples(st.integers(0, 6), st.just(2)), elements=st.sampled_from(
        [0.0, -0.0, 1.0, 0.5]
    )),
)  # fmt: skip
@settings(max_examples=100, deadline=None)
@pytest.mark.filterwarnings("ignore:overflow")
def test_equals_pymoos_default_on_a_coarse_grid(x: np.ndarray, other: np.ndarray) -> None:
    same_as_pymoo(x, other)


def test_both_zeros_are_equal() -> None:
    assert same_as_pymoo(np.array([[0.0, 1.0], [-0.0, 1.0]])) == [0]
    assert same_as_pymoo(np.array([[-0.0]]), np.array([[0.0]])) == []


@pytest.mark.parametrize(
    ("kind", "other"), [(int, float), (float, int), (bool, float), (int, bool), (np.float32, float)]
)
def test_numbers_are_compared_by_value_whatever_their_type(kind: Any, other: Any) -> None:
    """Integer parents, and offspring that a repair rounded as floats."""
    x, y = np.array([[0, 1], [1, 1]], dtype=kind), np.array([[1, 1]], dtype=other)
    assert same_as_pymoo(x, y) == [0]


def test_rows_that_differ_in_the_last_bit_are_different() -> None:
    x = np.array([[0.5, 1.0], [np.nextafter(0.5, 1.0), 1.0]])
    assert kept(HashDuplicateElimination(), x) == [0, 1]


def test_mixed_variables_are_compared_by_value() -> None:
    rows = [
        {"a": 1, "b": 0.5, "c": True, "d": "red"},
        {"d": "red", "c": np.True_, "b": np.float64(0.5), "a": np.int64(1)},
        {"a": 1, "b": 0.5, "c": True, "d": "blue"},
        {"a": 2, "b": -0.0, "c": False, "d": "red"},
        {"a": 2, "b": 0.0, "c": False, "d": "red"},
    ]
    x = np.array(rows, dtype=object)
    ours = kept(HashDuplicateElimination(), x)
    assert ours == [0, 2, 3]
    theirs = kept(MixedVariableDuplicateElimination(), x)
    assert len(theirs) == len(ours)
    assert kept(HashDuplicateElimination(), x[:3], x[2:3]) == [0]


def test_nothing_to_compare_is_no_trouble() -> None:
    assert len(HashDuplicateElimination().do(Population.empty())) == 0
    assert kept(HashDuplicateElimination(), np.eye(3), np.empty((0, 3))) == [0, 1, 2]


def test_an_own_function_says_what_is_compared() -> None:
    x = np.array([[0.1, 5.0], [0.2, 5.0], [0.3, 6.0]])
    by_second = HashDuplicateElimination(func=lambda pop: pop.get("X")[:, 1:])
    assert kept(by_second, x) == [0, 2]


def test_a_run_is_the_same_as_with_pymoos_default() -> None:
    results = [
        minimize(
            get_problem("zdt1", n_var=5),
            NSGA2(pop_size=24, eliminate_duplicates=elimination),
            ("n_gen", 15),
            seed=3,
        ).F
        for elimination in (True, HashDuplicateElimination())
    ]
    np.testing.assert_array_equal(*results)
