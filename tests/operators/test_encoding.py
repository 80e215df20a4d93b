"""Decision variables to the unit box and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pymoo.core.problem import Problem
from pymoo.core.variable import Binary, Choice, Integer, Real, Variable

from evogen.operators import Encoding, repair_to_box


def box(low: Any, high: Any, **kw: Any) -> Problem:
    n_var = kw.pop("n_var", len(np.atleast_1d(low)))
    return Problem(n_var=n_var, n_obj=1, xl=low, xu=high, **kw)


def mixed() -> Problem:
    return Problem(
        vars={
            "b": Binary(),
            "c": Choice(options=["red", "green", "blue"]),
            "i": Integer(bounds=(-3, 12)),
            "r": Real(bounds=(-1.0, 4.0)),
        },
        n_obj=1,
    )


# Round trips


@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6)), min_size=1, max_size=6),
    st.integers(0, 1000),
)
@settings(max_examples=100, deadline=None)
def test_real_variables_come_back(ranges: list[tuple[float, float]], seed: int) -> None:
    low = np.array([a for a, _ in ranges])
    high = low + [w for _, w in ranges]
    encoding = Encoding(box(low, high))
    x = np.random.default_rng(seed).uniform(low, high, size=(9, len(low)))
    u = encoding.encode(x)
    assert u.min() >= -1e-9
    assert u.max() <= 1 + 1e-9
    np.testing.assert_allclose(encoding.decode(u), x, rtol=0, atol=1e-9 * np.abs(x).max())
    np.testing.assert_allclose(
        encoding.encode(np.array([low, high])), [[0] * len(low), [1] * len(low)]
    )


def test_integers_come_back_as_integers_of_the_box() -> None:
    low, high = np.array([-3, 0, 7]), np.array([4, 1, 7])
    encoding = Encoding(box(low, high, vtype=int))
    x = np.random.default_rng(0).integers(low, high + 1, size=(50, 3))
    back = encoding.decode(encoding.encode(x))
    assert back.dtype == int
    np.testing.assert_array_equal(back, x)
    anything = encoding.decode(np.random.default_rng(1).random((500, 3)))
    assert (anything >= low).all()
    assert (anything <= high).all()
    assert set(anything[:, 0]) == set(range(-3, 5))


@pytest.mark.parametrize("bounds", [(None, None), (0, 1), (False, True)])
def test_booleans_come_back_as_booleans(bounds: tuple[Any, Any]) -> None:
    encoding = Encoding(box(*bounds, n_var=4, vtype=bool))
    x = np.random.default_rng(0).random((20, 4)) < 0.5
    back = encoding.decode(encoding.encode(x))
    assert back.dtype == bool
    np.testing.assert_array_equal(back, x)


def test_mixed_variables_come_back_with_their_types() -> None:
    problem = mixed()
    encoding = Encoding(problem)
    assert encoding.mixed
    assert encoding.n_dim == 6
    rng = np.random.default_rng(0)
    columns = {k: v.sample(30, random_state=rng) for k, v in problem.vars.items()}
    x = np.array([{k: columns[k][i] for k in columns} for i in range(30)], dtype=object)
    u = encoding.encode(x)
    assert u.shape == (30, 6)
    assert ((u >= 0) & (u <= 1)).all()
    np.testing.assert_array_equal(u[:, 1:4].sum(axis=1), 1)
    back = encoding.decode(u)
    for before, after in zip(x, back, strict=True):
        assert after["b"] == before["b"]
        assert isinstance(after["b"], bool)
        assert after["c"] == before["c"]
        assert after["i"] == before["i"]
        assert isinstance(after["i"], int)
        assert after["r"] == pytest.approx(before["r"])


@given(hnp.arrays(float, st.tuples(st.integers(1, 8), st.just(6)), elements=st.floats(0, 1)))
@settings(max_examples=100, deadline=None)
def test_any_point_of_the_unit_box_is_a_valid_mixed_solution(u: np.ndarray) -> None:
    problem = mixed()
    for row in Encoding(problem).decode(u):
        assert list(row) == list(problem.vars)
        assert row["c"] in ("red", "green", "blue")
        assert -3 <= row["i"] <= 12
        assert -1.0 <= row["r"] <= 4.0
        assert row["b"] in (True, False)


def test_a_choice_is_the_option_of_the_largest_column() -> None:
    encoding = Encoding(mixed())
    row = np.array([[0.0, 0.2, 0.9, 0.3, 0.0, 0.0]])
    assert encoding.decode(row)[0]["c"] == "green"


def test_a_variable_without_width_stays_where_it_is() -> None:
    encoding = Encoding(box([2.0, 0.0], [2.0, 1.0]))
    x = np.array([[2.0, 0.25], [2.0, 0.75]])
    np.testing.assert_array_equal(encoding.encode(x), [[0.0, 0.25], [0.0, 0.75]])
    out = encoding.decode(np.array([[0.7, 0.5], [1.0, 1.0]]))
    np.testing.assert_array_equal(out, [[2.0, 0.5], [2.0, 1.0]])
    fixed = Problem(vars={"a": Real(bounds=(3.0, 3.0)), "b": Integer(bounds=(1, 1))}, n_obj=1)
    assert Encoding(fixed).decode(np.array([[0.9, 0.9]]))[0] == {"a": 3.0, "b": 1}


def test_no_rows_are_no_trouble() -> None:
    assert Encoding(box([0.0], [1.0])).decode(np.empty((0, 1))).shape == (0, 1)
    assert Encoding(mixed()).encode([]).shape == (0, 6)
    assert len(Encoding(mixed()).decode(np.empty((0, 6)))) == 0


# Refusals


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        ([0.0, 0.0], [1.0, np.inf], r"variable x1 has the bounds \(0.0, inf\).*finite xl and xu"),
        ([0.0, -np.inf], [1.0, 1.0], r"variable x1 has the bounds \(-inf, 1.0\)"),
        ([0.0, np.nan], [1.0, 1.0], "variable x1 has the bounds"),
        ([0.0, 2.0], [1.0, 1.0], r"variable x1 has reversed bounds \(2.0, 1.0\)"),
        ([0.0, 0.0], None, "problem.xl or xu is None"),
        (None, [0.0, 0.0], "problem.xl or xu is None"),
        (None, None, "problem.xl or xu is None"),
    ],
)
def test_a_box_that_is_none_is_named(low: Any, high: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Encoding(box(low, high, n_var=2))


def test_bounds_of_another_length_are_named() -> None:
    problem = box([0.0, 0.0], [1.0, 1.0])
    problem.xl = np.zeros(3)
    with pytest.raises(ValueError, match=r"problem.xl has shape \(3,\), expected \(2,\)"):
        Encoding(problem)


@pytest.mark.parametrize(
    ("variable", "error", "message"),
    [
        (Real(), ValueError, "variable v has the bounds"),
        (Real(bounds=(0, np.inf)), ValueError, "variable v has the bounds"),
        (Integer(bounds=(5, 2)), ValueError, "variable v has reversed bounds"),
        (Variable(), TypeError, "variable v is of type Variable.*Real, Integer, Binary and Choice"),
    ],
)
def test_a_mixed_variable_without_a_box_is_named(variable: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        Encoding(Problem(vars={"v": variable}, n_obj=1))


@pytest.mark.parametrize("vtype", [str, object, complex])
def test_another_type_of_variable_is_named(vtype: type) -> None:
    with pytest.raises(
        TypeError, match=rf"vtype=<class '{vtype.__name__}'>.*real, integer and binary"
    ):
        Encoding(box([0.0], [1.0], vtype=vtype))


def test_permutations_are_told_from_integers() -> None:
    rng = np.random.default_rng(0)
    encoding = Encoding(box(0, 5, n_var=5, vtype=int))
    orders = np.array([rng.permutation(5) for _ in range(10)])
    with pytest.raises(TypeError, match="permutations"):
        encoding.refuse_permutations(orders)
    encoding.refuse_permutations(orders[:1])  # one row alone proves nothing
    encoding.refuse_permutations(rng.integers(0, 5, size=(10, 5)))
    encoding.refuse_permutations(np.ones((10, 5), dtype=int))
    Encoding(box(0, 5, n_var=5)).refuse_permutations(orders)


# The box


@given(
    hnp.arrays(
        float,
        st.tuples(st.integers(1, 6), st.integers(1, 4)),
        elements=st.floats(-1e9, 1e9) | st.floats(-0.5, 1.5) | st.sampled_from([0.0, 1.0, -0.0]),
    ),
    st.sampled_from(["reflect", "clip"]),
    st.integers(0, 1000),
)
@settings(max_examples=200, deadline=None)
def test_every_point_ends_inside_and_points_inside_stay(
    u: np.ndarray, bounds: str, seed: int
) -> None:
    given_rows = u.copy()
    out = repair_to_box(u, bounds, np.random.default_rng(seed))
    np.testing.assert_array_equal(u, given_rows)
    assert ((out >= 0) & (out <= 1)).all()
    inside = (u >= 0) & (u <= 1)
    np.testing.assert_array_equal(out[inside], u[inside])
    if bounds == "clip":
        np.testing.assert_array_equal(out, np.clip(u, 0, 1))
    else:
        depth = np.where(u < 0, out, 1 - out)[~inside]
        distance = np.where(u < 0, -u, u - 1)[~inside]
        assert (depth <= distance + 1e-12).all()


def test_reflection_spreads_what_clipping_piles_up() -> None:
    u = np.full((200, 1), -0.2)
    out = repair_to_box(u, "reflect", np.random.default_rng(0))
    assert len(np.unique(out)) == 200
    assert out.max() > 0.15


def test_reflection_is_decided_by_the_seed() -> None:
    u = np.random.default_rng(0).normal(size=(20, 3))
    first, second = (repair_to_box(u, "reflect", np.random.default_rng(7)) for _ in "ab")
    np.testing.assert_array_equal(first, second)


def test_an_unknown_rule_is_named() -> None:
    with pytest.raises(ValueError, match="bounds='wrap' is unknown; use one of reflect, clip"):
        repair_to_box(np.zeros((1, 1)), "wrap")


def test_reflection_without_a_random_state_is_named() -> None:
    with pytest.raises(ValueError, match="needs a random_state"):
        repair_to_box(np.array([[2.0]]), "reflect")
