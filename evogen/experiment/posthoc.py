"""Which algorithms differ over all problems: Friedman ranks, Nemenyi's test, all pairs.

Demšar (2006), Statistical comparisons of classifiers over multiple data sets, JMLR 7, 1-30.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
from scipy.stats import f as f_distribution
from scipy.stats import friedmanchisquare, rankdata, studentized_range

from evogen.experiment.statistics import ALPHA, holm, rank_sums
from evogen.experiment.summary import INDICATORS, Results

#: Fewer algorithms have no Friedman test, and fewer problems tell nothing.
MIN_ALGORITHMS, MIN_PROBLEMS = 3, 2


@dataclass(frozen=True)
class Ranking:
    """Algorithms ranked on every problem, and whether the mean ranks differ by more than chance.

    Attributes:
        algorithms: In the order of the other fields.
        n_problems: Problems that were ranked.
        left_out: Problems on which an algorithm has no value; they are not ranked.
        mean_ranks: `(k,)`, 1 is best; equal medians share the mean of their ranks.
        statistic: Friedman's chi-squared, corrected for ties.
        p: Its p-value (k - 1 degrees of freedom).
        f_statistic: Iman and Davenport's F (1980), less conservative than chi-squared.
        f_p: Its p-value (k - 1 and (k - 1)(n_problems - 1) degrees of freedom).
        critical_difference: Mean ranks further apart differ significantly (Nemenyi).
        p_nemenyi: `(k, k)`, p-values of Nemenyi's test, 1 on the diagonal.
        groups: Largest sets of algorithms of which no two differ significantly, as indices by
            rank; sets of one are left out.
        alpha: Level of the critical difference and the groups.
    """

    algorithms: list[str]
    n_problems: int
    left_out: list[str]
    mean_ranks: np.ndarray
    statistic: float
    p: float
    f_statistic: float
    f_p: float
    critical_difference: float
    p_nemenyi: np.ndarray
    groups: list[list[int]]
    alpha: float = ALPHA


def rank_algorithms(
    costs: Any,
    algorithms: Sequence[str],
    problems: Sequence[str] | None = None,
    *,
    alpha: float = ALPHA,
) -> Ranking:
    """Friedman's test and Nemenyi's post-hoc test on a table of problems by algorithms.

    Args:
        costs: Smaller is better `(n_problems, k)`, e.g. medians; infinite values rank last, rows
            with NaN are left out.
        algorithms: Names of the k columns, 3 or more.
        problems: Names of the rows.
        alpha: Two-sided level, in (0, 1).

    Raises:
        ImportError: scikit-posthocs is not installed.
        ValueError: Shapes that do not match, or fewer than 3 algorithms or 2 complete rows.
    """
    costs = np.asarray(costs, dtype=float)
    k = len(algorithms)
    names = [str(i) for i in range(len(costs))] if problems is None else list(problems)
    if costs.ndim != 2 or costs.shape != (len(names), k):
        raise ValueError(
            f"costs {costs.shape} must be (n_problems, n_algorithms) = ({len(names)}, {k})"
        )
    if not 0 < alpha < 1:
        raise ValueError(f"alpha={alpha} must lie between 0 and 1")
    complete = ~np.isnan(costs).any(axis=1)
    n = int(complete.sum())
    if k < MIN_ALGORITHMS or n < MIN_PROBLEMS:
        raise ValueError(
            f"a ranking needs {MIN_ALGORITHMS} algorithms and {MIN_PROBLEMS} problems with values "
            f"of all; got {k} and {n}"
        )
    ranks = rankdata(costs[complete], axis=1)
    mean_ranks = ranks.mean(axis=0)
    statistic, p = _friedman(ranks)
    f_statistic, f_p = iman_davenport(statistic, n, k)
    p_nemenyi = _nemenyi(ranks)
    q = float(studentized_range.ppf(1 - alpha, k, np.inf)) / np.sqrt(2)
    difference = float(q * np.sqrt(k * (k + 1) / (6 * n)))
    return Ranking(
        algorithms=list(algorithms),
        n_problems=n,
        left_out=[name for name, kept in zip(names, complete, strict=True) if not kept],
        mean_ranks=mean_ranks,
        statistic=statistic,
        p=p,
        f_statistic=f_statistic,
        f_p=f_p,
        critical_difference=difference,
        p_nemenyi=p_nemenyi,
        groups=_groups(mean_ranks, difference),
        alpha=alpha,
    )


def rank_results(results: Results, indicator: str, *, alpha: float = ALPHA) -> Ranking | None:
    """`rank_algorithms` on the medians of an indicator.

    Returns:
        None where there are too few algorithms or problems to rank.

    Raises:
        ImportError: scikit-posthocs is not installed.
    """
    medians = median_costs(results, indicator)
    complete = int((~np.isnan(medians).any(axis=1)).sum()) if medians.size else 0
    if len(results.algorithms) < MIN_ALGORITHMS or complete < MIN_PROBLEMS:
        return None
    return rank_algorithms(medians, results.algorithms, list(results.rows), alpha=alpha)


def median_costs(results: Results, indicator: str) -> np.ndarray:
    """Medians `(n_problems, n_algorithms)` of an indicator, smaller is better (HV is negated)."""
    sign = -1.0 if INDICATORS[indicator] else 1.0
    table = [[results.median(r, a, indicator) for a in results.algorithms] for r in results.rows]
    return sign * np.array(table, dtype=float).reshape(len(results.rows), len(results.algorithms))


@dataclass(frozen=True)
class WinTieLoss:
    """Every algorithm against every other, over all problems.

    Attributes:
        algorithms: In the order of the matrices.
        wins: `(k, k)`: problems on which the row's algorithm is significantly better than the
            column's.
        ties: Problems on which they do not differ significantly.
        losses: Problems on which the row's is worse; the transpose of `wins`.
    """

    algorithms: list[str]
    wins: np.ndarray
    ties: np.ndarray
    losses: np.ndarray


def win_tie_loss(results: Results, indicator: str, *, alpha: float = ALPHA) -> WinTieLoss:
    """Rank-sum tests of all pairs of algorithms on every problem.

    Holm's correction is over the pairs on one problem: over the whole table, with k(k - 1)/2 tests
    per problem, no ordinary number of runs could ever be significant.

    Args:
        results: What `summarize` returned.
        indicator: `"igd"`, `"igd_plus"` or `"hv"`.
        alpha: Two-sided level for the pairs on one problem together.
    """
    k = len(results.algorithms)
    wins, ties = np.zeros((k, k), dtype=int), np.zeros((k, k), dtype=int)
    tests: list[tuple[str, int, int]] = []
    samples = []
    for row in results.rows:
        values = [results.values(row, a, indicator) for a in results.algorithms]
        for i, j in combinations(range(k), 2):
            if len(values[i]) and len(values[j]):
                tests.append((row, i, j))
                samples.append((values[i], values[j]))
    outcomes = rank_sums(samples, maximize=INDICATORS[indicator])
    for row in results.rows:
        chosen = [n for n, (name, _, _) in enumerate(tests) if name == row]
        for n, p in zip(chosen, holm([outcomes[n][0] for n in chosen]), strict=True):
            _, i, j = tests[n]
            effect = outcomes[n][1]
            if p >= alpha or effect == 0.5:
                ties[i, j] += 1
                ties[j, i] += 1
            elif effect > 0.5:
                wins[i, j] += 1
            else:
                wins[j, i] += 1
    return WinTieLoss(list(results.algorithms), wins, ties, wins.T.copy())


def _friedman(ranks: np.ndarray) -> tuple[float, float]:
    if np.ptp(ranks) == 0:
        return 0.0, 1.0  # all medians equal everywhere: the correction for ties would be 0 / 0
    test = friedmanchisquare(*ranks.T)
    return float(test.statistic), float(test.pvalue)


def iman_davenport(statistic: float, n: int, k: int) -> tuple[float, float]:
    """Iman and Davenport's F (1980; Demšar's section 3.2.2) from Friedman's chi-squared.

    Args:
        statistic: Friedman's chi-squared.
        n: Number of problems.
        k: Number of algorithms.

    Returns:
        F and its p-value. Where all problems agree on all ranks F is infinite, and the p-value is
        the chance that n random orders are the same one.
    """
    rest = n * (k - 1) - statistic
    if rest <= 1e-9:
        return np.inf, float(factorial(k)) ** (1 - n)
    value = (n - 1) * statistic / rest
    return float(value), float(f_distribution.sf(value, k - 1, (k - 1) * (n - 1)))


def _nemenyi(ranks: np.ndarray) -> np.ndarray:
    try:
        # Imported late: it brings pandas and seaborn along, seconds.
        from scikit_posthocs import posthoc_nemenyi_friedman
    except ImportError as error:
        raise ImportError(
            "Nemenyi's test needs scikit-posthocs: pip install 'evogen[report]'"
        ) from error
    return np.asarray(posthoc_nemenyi_friedman(ranks), dtype=float)


def _groups(mean_ranks: np.ndarray, difference: float) -> list[list[int]]:
    """Runs of neighbours, by rank, whose ends are no further apart than the difference."""
    order = np.argsort(mean_ranks, kind="stable")
    groups: list[list[int]] = []
    last_end = 0
    for start in range(len(order)):
        within = mean_ranks[order[start:]] - mean_ranks[order[start]] <= difference
        end = start + int(within.sum())
        if end - start > 1 and end > last_end:
            groups.append([int(i) for i in order[start:end]])
            last_end = end
    return groups
