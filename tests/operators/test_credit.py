"""Shares by measured survival."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evogen.operators import SurvivalCredit


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"floor": 0.6}, r"floor=0.6 must lie in \[0, 0.5\]"),
        ({"floor": -0.1}, "floor=-0.1"),
        ({"decay": 0.0}, "decay=0.0"),
        ({"decay": 1.5}, "decay=1.5"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SurvivalCredit(["a", "b"], **arguments)


def test_starts_with_equal_shares() -> None:
    np.testing.assert_allclose(SurvivalCredit(["a", "b", "c"]).shares(), 1 / 3)


def test_one_generation_by_hand() -> None:
    credit = SurvivalCredit(["a", "b"], floor=0.1, decay=0.5, power=2.0)
    credit.update(np.array([10, 10]), np.array([10, 0]))
    rates = np.array([0.75, 0.25])
    np.testing.assert_allclose(credit.rate, rates)
    worth = rates**2 / (rates**2).sum()
    np.testing.assert_allclose(credit.shares(), 0.1 + 0.8 * worth)


def test_an_operator_without_offspring_keeps_its_rate() -> None:
    credit = SurvivalCredit(["a", "b"], decay=1.0)
    credit.update(np.array([10, 0]), np.array([2, 0]))
    np.testing.assert_allclose(credit.rate, [0.2, 0.5])


@given(
    floor=st.floats(0, 0.25),
    power=st.floats(0, 5),
    generations=st.lists(
        st.lists(st.tuples(st.integers(0, 50), st.floats(0, 1)), min_size=4, max_size=4),
        max_size=12,
    ),
)
@settings(max_examples=100, deadline=None)
def test_shares_sum_to_one_above_the_floor(
    floor: float, power: float, generations: list[list[tuple[int, float]]]
) -> None:
    credit = SurvivalCredit(list("abcd"), floor=floor, power=power)
    for generation in generations:
        born = np.array([n for n, _ in generation], dtype=float)
        credit.update(born, born * [rate for _, rate in generation])
    shares = credit.shares()
    assert shares.sum() == pytest.approx(1.0)
    assert (shares >= floor - 1e-12).all()
    assert ((credit.rate >= 0) & (credit.rate <= 1)).all()


def test_shares_stay_defined_when_nothing_survives() -> None:
    credit = SurvivalCredit(["a", "b"], decay=1.0)
    for _ in range(50):
        credit.update(np.array([5, 5]), np.array([0, 0]))
    np.testing.assert_allclose(credit.shares(), 0.5)


def test_a_better_operator_gets_more_and_a_greedier_rule_still_more() -> None:
    shares = []
    for power in (1.0, 2.0, 4.0):
        credit = SurvivalCredit(["good", "bad"], power=power)
        for _ in range(20):
            credit.update(np.array([10, 10]), np.array([6, 3]))
        shares.append(credit.shares()[0])
    assert 0.5 < shares[0] < shares[1] < shares[2] <= 0.9
