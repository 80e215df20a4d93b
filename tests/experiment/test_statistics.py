import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evogen.experiment import compare, quartiles, rank_sum
from evogen.experiment.statistics import holm, rank_sums, signed_rank


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


def test_ranks_with_ties_agree_with_the_hand_computed_example():
    # 1 2 2 3 against 2 3 3 4: ranks 1, 3, 3, 6 and 3, 6, 6, 8, so U = 23 - 10 = 13 of 16 for the
    # larger; sigma^2 = 4 * 4 / 12 * (9 - (24 + 24) / 56); z = (13 - 8 - 0.5) / sigma.
    p, effect = rank_sum([1, 2, 2, 3], [2, 3, 3, 4])
    assert effect == 13 / 16
    z = 4.5 / math.sqrt(16 / 12 * (9 - 48 / 56))
    assert p == pytest.approx(math.erfc(z / math.sqrt(2)))


def test_eleven_runs_without_ties_are_tested_exactly():
    p, _ = rank_sum(np.arange(11), np.arange(11) + 100.0)
    assert p == pytest.approx(2 / math.comb(22, 11))
    # From 50 runs on by the normal approximation, as R does: all that matters is far from alpha.
    assert rank_sum(np.arange(50), np.arange(50) + 100.0)[0] < 1e-15


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 4), min_size=1, max_size=6),
            st.lists(st.integers(0, 4), min_size=1, max_size=6),
        ),
        max_size=6,
    )
)
def test_many_pairs_at_once_are_tested_as_one_by_one(pairs):
    assert rank_sums(pairs) == [rank_sum(*pair) for pair in pairs]
    assert rank_sums(pairs, maximize=True) == [rank_sum(*pair, maximize=True) for pair in pairs]


def test_holm_agrees_with_the_published_example_and_with_statsmodels():
    # R documentation of p.adjust, by hand: 4 * 0.005, 3 * 0.01, 2 * 0.03, and no less than before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p = np.random.default_rng(0).random(40) ** 3
    assert holm(p) == pytest.approx(multitest.multipletests(p, method="holm")[1])


def test_signed_rank_agrees_with_the_published_example():
    # Hollander and Wolfe (1973), p. 29 f., depression scores of 9 patients: V = 40, one-sided
    # p = 0.01953 (R documentation of wilcox.test), two-sided twice that.
    x = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
    y = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
    assert signed_rank(x, y) == pytest.approx(2 * 0.01953, abs=1e-5)
    assert signed_rank(y, x) == signed_rank(x, y)


def test_pairs_that_are_equal_or_not_finite_say_nothing():
    assert signed_rank([1.0, 2.0], [1.0, 2.0]) == 1.0
    assert signed_rank([1, 2, 3, 4, 9], [2, 3, 5, 6, 9]) == signed_rank([1, 2, 3, 4], [2, 3, 5, 6])
    assert signed_rank([np.inf, 1, 2], [1, 2, 4]) == signed_rank([1, 2], [2, 4])
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        signed_rank([1, 2], [1, 2, 3])


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
