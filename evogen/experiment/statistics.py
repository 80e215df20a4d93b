"""Medians, quartiles, and which differences are more than chance."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import mannwhitneyu, wilcoxon

#: Two-sided level of significance after correction.
ALPHA = 0.05

#: Samples of this size and more are tested by the normal approximation.
MAX_EXACT = 50

#: What a comparison is corrected over.
FAMILIES = ("table", "problem")


def quartiles(values: Any) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile `(3,)`; infinite values count as the largest.

    Args:
        values: Numbers `(n,)`; NaN is left out.

    Returns:
        NaN three times when nothing is left.
    """
    values = np.asarray(values, dtype=float)
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return np.nan, np.nan, np.nan
    # Interpolating towards an infinite neighbour would give NaN, even with weight 0.
    huge = np.finfo(float).max / 4
    found = np.quantile(np.clip(values, -huge, huge), (0.25, 0.5, 0.75))
    low, median, high = (
        float(v) if abs(v) < huge / 1e3 else float(np.sign(v)) * np.inf for v in found
    )
    return low, median, high


@dataclass(frozen=True)
class Comparison:
    """One algorithm against the baseline on one problem.

    Attributes:
        p: Two-sided p-value of the Wilcoxon rank-sum (Mann-Whitney U) test.
        p_adjusted: After Holm's correction over the family.
        effect: Probability that a run of the algorithm is better than one of the baseline, ties
            counted half (Vargha and Delaney's A); 0.5 means no difference.
        mark: `"+"` significantly better than the baseline, `"-"` worse, `"="` neither.
    """

    p: float
    p_adjusted: float
    effect: float
    mark: str


def rank_sum(ours: Any, baseline: Any, *, maximize: bool = False) -> tuple[float, float]:
    """Wilcoxon rank-sum test (Mann-Whitney U, two-sided) of two independent samples.

    Exact for samples of fewer than 50 without ties, else by the normal approximation with
    corrections for ties and continuity (R's rule; scipy's own turns to the approximation at 9,
    whose smallest p-values are ten times too large for samples of that size).

    Args:
        ours: Values `(n,)`; infinite ones are the largest, NaN is left out.
        baseline: Values `(m,)`.
        maximize: Whether larger is better.

    Returns:
        The p-value, and the probability that ours is better (ties half). (1, 0.5) where a sample
        is empty.
    """
    return rank_sums([(ours, baseline)], maximize=maximize)[0]


def rank_sums(
    pairs: Sequence[tuple[Any, Any]], *, maximize: bool = False
) -> list[tuple[float, float]]:
    """`rank_sum` of many pairs of samples; a hundred times faster than one by one.

    Args:
        pairs: Two samples each, `(n,)` and `(m,)`; their sizes may differ from pair to pair.
        maximize: Whether larger is better.

    Returns:
        Per pair, what `rank_sum` returns.
    """
    results = [(1.0, 0.5)] * len(pairs)
    # scipy takes many tests at once if all have the same sizes; and one pair with ties would
    # deprive the others of the exact distribution.
    alike: dict[tuple[int, int, bool], list[tuple[int, np.ndarray, np.ndarray]]] = {}
    for i, pair in enumerate(pairs):
        a, b = (np.asarray(v, dtype=float) for v in pair)
        a, b = a[~np.isnan(a)], b[~np.isnan(b)]
        n_distinct = np.unique(np.concatenate([a, b])).size
        if len(a) and len(b) and n_distinct > 1:
            ties = n_distinct < len(a) + len(b)
            alike.setdefault((len(a), len(b), ties), []).append((i, a, b))
    for (n, m, ties), group in alike.items():
        ours, theirs = np.array([a for _, a, _ in group]), np.array([b for _, _, b in group])
        exact = not ties and max(n, m) < MAX_EXACT
        method = "exact" if exact else "asymptotic"
        test = mannwhitneyu(ours, theirs, alternative="two-sided", axis=1, method=method)
        larger = np.asarray(test.statistic) / (n * m)
        better = larger if maximize else 1.0 - larger
        for (i, _, _), p, effect in zip(group, np.asarray(test.pvalue), better, strict=True):
            results[i] = float(p), float(effect)
    return results


def signed_rank(ours: Any, theirs: Any) -> float:
    """Wilcoxon signed-rank test (two-sided) of paired samples, e.g. runs with the same seeds.

    Args:
        ours, theirs: Values `(n,)`, pair by pair. Pairs with a value that is not finite are left
            out; equal pairs too (Wilcoxon's own rule).

    Returns:
        The p-value; 1 when no pair differs.

    Raises:
        ValueError: The samples differ in length.
    """
    a, b = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"paired samples must have one length; got {a.shape} and {b.shape}")
    finite = np.isfinite(a) & np.isfinite(b)
    differences = (a - b)[finite]
    differences = differences[differences != 0]
    if len(differences) == 0:
        return 1.0
    return float(wilcoxon(differences).pvalue)


def compare(
    samples: Mapping[tuple[str, str], Any],
    baseline: str,
    *,
    maximize: bool = False,
    alpha: float = ALPHA,
    family: str = "table",
) -> dict[tuple[str, str], Comparison]:
    """Test every algorithm against the baseline on every problem, with Holm's correction.

    Args:
        samples: Values `(n_runs,)` by (problem, algorithm).
        baseline: The algorithm that the others are compared with.
        maximize: Whether larger is better.
        alpha: Two-sided level that holds for the family as a whole.
        family: The tests that are corrected together: `"table"` for all algorithms on all problems
            (the chance of any false mark in the table is at most alpha), `"problem"` for all
            algorithms on one problem (of any false mark in a row).

    Returns:
        By (problem, algorithm), without the baseline's own column and without problems on which
        the baseline has no values.

    Raises:
        ValueError: Unknown family.
    """
    if family not in FAMILIES:
        raise ValueError(f"family={family!r} is unknown; use one of {', '.join(FAMILIES)}")
    tested = {
        (problem, algorithm): (values, samples[problem, baseline])
        for (problem, algorithm), values in samples.items()
        if algorithm != baseline and len(values) and len(samples.get((problem, baseline), ()))
    }
    raw = dict(zip(tested, rank_sums(list(tested.values()), maximize=maximize), strict=True))
    groups: dict[Hashable, list[tuple[str, str]]] = {}
    for pair in raw:
        groups.setdefault(None if family == "table" else pair[0], []).append(pair)
    compared = {}
    for pairs in groups.values():
        adjusted = holm([raw[pair][0] for pair in pairs])
        for pair, p_adjusted in zip(pairs, adjusted, strict=True):
            p, effect = raw[pair]
            mark = "=" if p_adjusted >= alpha or effect == 0.5 else "+" if effect > 0.5 else "-"
            compared[pair] = Comparison(p, p_adjusted, effect, mark)
    return compared


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down correction: p-values that may be held against alpha each.

    Args:
        p_values: Of all tests of a family `(n,)`.

    Returns:
        Adjusted p-values `(n,)` in the same order, at most 1.
    """
    # statsmodels has this too, but collects garbage at every call: 0.1 s and more in a big process.
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    stepped = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    adjusted = np.empty_like(p)
    adjusted[order] = stepped
    return adjusted.tolist()
