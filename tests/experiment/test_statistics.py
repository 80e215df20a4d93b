import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evogen.experiment import compare, quartiles, rank_sum


def test_quartiles_are_those_of_linear_interpolation():
    assert quartiles([4.0, 1.0, 3.0, 2.0]) == (1.75, 2.5, 3.25)
    assert quartiles([7.0]) == (7.0, 7.0, 7.0)


def test_quartiles_count_infinite_values_as_the_largest():
    assert quartiles([0.1, np.inf, 0.2])[1] == 0.2
    assert quartiles([0.1, 0.2, np.inf, np.inf])[1] == np.inf
    assert quartiles([0.1, 0.2, 0.3, 0.4, np.inf])[:2] == (0.2, 0.3)


def test_quartiles_of_nothing_are_unknown():
    assert all(math.isnan(q) for q in quartiles([]))
    assert all(math.isnan(q) for q in quartiles([np.nan]))


def test_rank_sum_agrees_with_the_published_example():
    # Hollander and Wolfe (1973), p. 69 f., permeability of membranes: W = 35, two-sided p = 0.2544
    # (R documentation of wilcox.test; one-sided 0.1272).
    x = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]
    y = [1.15, 0.88, 0.90, 0.74, 1.21]
    p, effect = rank_sum(x, y, maximize=True)
    assert p == pytest.approx(0.2544, abs=5e-5)
    assert effect == pytest.approx(35 / 50)


def test_samples_that_do_not_overlap_have_the_exact_smallest_p_value():
    p, effect = rank_sum(np.arange(7), np.arange(7) + 10.0)
    assert p == pytest.approx(2 / math.comb(14, 7))
    assert effect == 1.0


def test_equal_and_empty_samples_do_not_differ():
    assert rank_sum([2.0, 2.0], [2.0, 2.0, 2.0]) == (1.0, 0.5)
    assert rank_sum([], [1.0]) == (1.0, 0.5)
    assert rank_sum([np.inf, np.inf], [np.inf]) == (1.0, 0.5)


@given(
    st.lists(st.floats(-5, 5), min_size=2, max_size=9),
    st.lists(st.floats(-5, 5), min_size=2, max_size=9),
)
def test_swapping_the_samples_mirrors_the_effect(a, b):
    p, effect = rank_sum(a, b)
    q, mirrored = rank_sum(b, a)
    assert p == pytest.approx(q)
    assert effect + mirrored == pytest.approx(1.0)


def spread(center, n=11):
    return center + np.linspace(-0.01, 0.01, n)


def test_marks_point_the_right_way():
    samples = {
        ("p", "base"): spread(1.0),
        ("p", "smaller"): spread(0.5),
        ("p", "larger"): spread(2.0),
        ("p", "same"): spread(1.0005),
    }
    marks = {a: c.mark for (_, a), c in compare(samples, "base").items()}
    assert marks == {"smaller": "+", "larger": "-", "same": "="}
    marks = {a: c.mark for (_, a), c in compare(samples, "base", maximize=True).items()}
    assert marks == {"smaller": "-", "larger": "+", "same": "="}


def test_holm_multiplies_the_sorted_p_values_and_keeps_them_monotone():
    rng = np.random.default_rng(3)
    samples = {("p", "base"): rng.normal(size=9)}
    samples |= {("p", f"a{i}"): rng.normal(i / 2, size=9) for i in range(4)}
    compared = compare(samples, "base")
    by_p = sorted(compared.values(), key=lambda c: c.p)
    expected, running = [], 0.0
    for i, comparison in enumerate(by_p):
        running = max(running, (len(by_p) - i) * comparison.p)
        expected.append(min(1.0, running))
    assert [c.p_adjusted for c in by_p] == pytest.approx(expected)


def test_the_family_is_the_table_or_one_problem():
    samples = {}
    for problem in "abcdefgh":
        samples[problem, "base"] = spread(1.0, 5)
        for i in range(4):
            samples[problem, f"alg{i}"] = spread(2.0 + i, 5)
    # The smallest p of 5 against 5 runs is 2 / 252: significant for 4 tests, not for 32.
    assert {c.mark for c in compare(samples, "base", family="problem").values()} == {"-"}
    assert {c.mark for c in compare(samples, "base", family="table").values()} == {"="}
    with pytest.raises(ValueError, match="family='row'"):
        compare(samples, "base", family="row")


def test_problems_without_the_baseline_are_not_compared():
    samples = {("p", "base"): spread(1.0), ("p", "a"): spread(2.0), ("q", "a"): spread(1.0)}
    assert set(compare(samples, "base")) == {("p", "a")}
    assert compare({("q", "a"): spread(1.0)}, "base") == {}


def test_an_infinite_igd_loses():
    samples = {("p", "base"): spread(1.0), ("p", "a"): np.full(11, np.inf)}
    assert compare(samples, "base")["p", "a"].mark == "-"
