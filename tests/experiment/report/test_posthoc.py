import math

import numpy as np
import pytest
from scipy.stats import studentized_range

from evogen.experiment import Store, summarize
from evogen.experiment.posthoc import (
    iman_davenport,
    median_costs,
    rank_algorithms,
    rank_results,
    win_tie_loss,
)

pytest.importorskip("scikit_posthocs", reason="needs the extra report")

# Hollander and Wolfe (1973), p. 140 ff.: seconds of 22 players to round first base by three
# methods (R documentation of friedman.test: chi-squared 11.143, df 2, p 0.003805).
ROUNDING = """
5.40 5.50 5.55 5.85 5.70 5.75 5.20 5.60 5.50 5.55 5.50 5.40 5.90 5.85 5.70 5.45 5.55 5.60
5.40 5.40 5.35 5.45 5.50 5.35 5.25 5.15 5.00 5.85 5.80 5.70 5.25 5.20 5.10 5.65 5.55 5.45
5.60 5.35 5.45 5.05 5.00 4.95 5.50 5.50 5.40 5.45 5.55 5.50 5.55 5.55 5.35 5.45 5.50 5.55
5.50 5.45 5.25 5.65 5.60 5.40 5.70 5.65 5.55 6.30 6.30 6.25
"""
NAMES = ["round out", "narrow angle", "wide angle"]


@pytest.fixture(scope="module")
def rounding():
    table = np.array(ROUNDING.split(), dtype=float).reshape(22, 3)
    return rank_algorithms(table, NAMES)


def test_friedman_agrees_with_the_published_example(rounding):
    assert rounding.statistic == pytest.approx(11.143, abs=5e-4)
    assert rounding.p == pytest.approx(0.003805, abs=5e-7)
    assert rounding.mean_ranks * 22 == pytest.approx([53, 47, 32])


def test_iman_davenport_agrees_with_the_published_example():
    # Demšar (2006), section 3.2.2: 14 data sets, 4 classifiers, chi-squared 9.28 gives F 3.69.
    f, p = iman_davenport(9.28, 14, 4)
    assert f == pytest.approx(3.69, abs=0.005)
    # F(3, 39) has its 5 % point at 2.85 (the same section).
    assert iman_davenport(iman_from(2.85, 14, 4), 14, 4)[1] == pytest.approx(0.05, abs=5e-4)
    assert p < 0.05


def iman_from(f, n, k):
    """The chi-squared that gives this F."""
    return f * n * (k - 1) / (n - 1 + f)


def test_the_critical_difference_agrees_with_the_published_example():
    # Demšar (2006), section 3.2.2: q 2.569, CD 1.25 for 4 classifiers on 14 data sets.
    costs = np.random.default_rng(0).random((14, 4))
    assert rank_algorithms(costs, list("abcd")).critical_difference == pytest.approx(
        1.25, abs=0.005
    )
    # Table 5(a) of the same: q at 0.05 and 0.10 for 10 classifiers.
    for alpha, q in ((0.05, 3.164), (0.10, 2.920)):
        ranking = rank_algorithms(np.random.default_rng(0).random((6, 10)), list("abcdefghij"),
                                  alpha=alpha)  # fmt: skip
        assert ranking.critical_difference == pytest.approx(q * math.sqrt(110 / 36), abs=2e-3)


def test_nemenyi_agrees_with_its_formula_and_with_the_critical_difference(rounding):
    gap = abs(rounding.mean_ranks[0] - rounding.mean_ranks[2])
    q = gap / math.sqrt(3 * 4 / (6 * 22)) * math.sqrt(2)
    assert rounding.p_nemenyi[0, 2] == pytest.approx(studentized_range.sf(q, 3, np.inf))
    apart = (
        np.abs(rounding.mean_ranks[:, None] - rounding.mean_ranks) > rounding.critical_difference
    )
    assert ((rounding.p_nemenyi < 0.05) == apart).all()
    assert rounding.groups == [[2, 1], [1, 0]]


def test_groups_are_the_largest_sets_without_a_significant_difference():
    # Always the same order: mean ranks 1 to 6; the difference of 8 problems is 2.67.
    ranking = rank_algorithms(np.tile(np.arange(6.0), (8, 1)), list("abcdef"))
    assert 2 < ranking.critical_difference < 3
    assert ranking.groups == [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]]
    assert ranking.f_statistic == math.inf
    assert ranking.f_p == pytest.approx(math.factorial(6) ** -7)
    assert rank_algorithms([[1, 2, 3]] * 2, list("abc")).f_p == pytest.approx(1 / 6)


def test_infinite_costs_rank_last_and_ties_share_their_ranks():
    costs = [[np.inf, 1.0, 2.0, 2.0], [np.inf, 1.0, 3.0, 3.0]]
    assert rank_algorithms(costs, list("abcd")).mean_ranks.tolist() == [4.0, 1.0, 2.5, 2.5]


def test_problems_without_a_value_are_left_out_and_named():
    costs = [[1.0, 2.0, 3.0], [1.0, np.nan, 3.0], [2.0, 1.0, 3.0]]
    ranking = rank_algorithms(costs, list("abc"), ["p", "q", "r"])
    assert ranking.left_out == ["q"]
    assert ranking.n_problems == 2
    assert ranking.mean_ranks.tolist() == [1.5, 1.5, 3.0]


def test_equal_costs_everywhere_differ_by_nothing():
    ranking = rank_algorithms(np.ones((4, 3)), list("abc"))
    assert (ranking.statistic, ranking.p) == (0.0, 1.0)
    assert ranking.groups == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("costs", "names", "alpha", "message"),
    [
        (np.ones((4, 2)), "ab", 0.05, "3 algorithms"),
        (np.ones((1, 3)), "abc", 0.05, "2 problems"),
        (np.full((4, 3), np.nan), "abc", 0.05, "got 3 and 0"),
        (np.ones((4, 3)), "abcd", 0.05, r"\(4, 3\).*\(4, 4\)"),
        (np.ones((4, 3)), "abc", 1.0, "alpha=1.0"),
    ],
)
def test_tables_that_cannot_be_ranked_are_refused(costs, names, alpha, message):
    with pytest.raises(ValueError, match=message):
        rank_algorithms(costs, list(names), alpha=alpha)


def test_a_store_is_ranked_by_its_medians(store):
    results = summarize(store)
    for indicator in ("igd", "hv"):
        ranking = rank_results(results, indicator)
        # Gaps 0.3, 0.05, 0.15 and 0.9 on four problems; the fifth has no front.
        assert ranking.mean_ranks.tolist() == [3.0, 1.0, 2.0, 4.0]
        assert ranking.left_out == ["unknown"]
    assert np.isnan(median_costs(results, "igd")[-1]).all()


def test_too_few_algorithms_have_no_ranking(fill, tmp_path):
    with Store(fill(tmp_path / "two.db", n_seeds=2, nsga2=0.3, other=0.1)) as store:
        assert rank_results(summarize(store), "igd") is None


def test_all_pairs_are_counted_and_losses_mirror_wins(store):
    results = summarize(store)
    found = win_tie_loss(results, "igd")
    k = len(results.algorithms)
    assert (found.losses == found.wins.T).all()
    assert (found.ties == found.ties.T).all()
    total = found.wins + found.ties + found.losses
    # Four problems have values; nothing is compared with itself.
    assert (total == 4 * (1 - np.eye(k, dtype=int))).all()
    worst, best = results.algorithms.index("worst_of_all"), results.algorithms.index("best")
    # 6 against 6 runs that do not overlap: p = 2/924, and 6 pairs on a problem.
    assert found.wins[best, worst] == 4
    assert found.wins[worst].sum() == 0
