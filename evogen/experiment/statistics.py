"""Medians, quartiles, and which differences are more than chance."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import mannwhitneyu

#: Two-sided level of significance after correction.
ALPHA = 0.05

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

    Exact for small samples without ties, else by the normal approximation (scipy's rule).

    Args:
        ours: Values `(n,)`; infinite ones are the largest, NaN is left out.
        baseline: Values `(m,)`.
        maximize: Whether larger is better.

    Returns:
        The p-value, and the probability that ours is better (ties half). (1, 0.5) where a sample
        is empty.
    """
    a, b = (np.asarray(v, dtype=float) for v in (ours, baseline))
    a, b = a[~np.isnan(a)], b[~np.isnan(b)]
    if len(a) == 0 or len(b) == 0:
        return 1.0, 0.5
    if np.unique(np.concatenate([a, b])).size == 1:
        return 1.0, 0.5
    test = mannwhitneyu(a, b, alternative="two-sided")
    larger = float(test.statistic) / (len(a) * len(b))
    return float(test.pvalue), larger if maximize else 1.0 - larger


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
    raw: dict[tuple[str, str], tuple[float, float]] = {}
    for (problem, algorithm), values in samples.items():
        ours, theirs = np.asarray(values, dtype=float), samples.get((problem, baseline), ())
        if algorithm != baseline and len(theirs) and len(ours):
            raw[problem, algorithm] = rank_sum(ours, theirs, maximize=maximize)
    groups: dict[Hashable, list[tuple[str, str]]] = {}
    for pair in raw:
        groups.setdefault(None if family == "table" else pair[0], []).append(pair)
    compared = {}
    for pairs in groups.values():
        adjusted = _holm([raw[pair][0] for pair in pairs])
        for pair, p_adjusted in zip(pairs, adjusted, strict=True):
            p, effect = raw[pair]
            mark = "=" if p_adjusted >= alpha or effect == 0.5 else "+" if effect > 0.5 else "-"
            compared[pair] = Comparison(p, p_adjusted, effect, mark)
    return compared


def _holm(p_values: list[float]) -> list[float]:
    # Imported late: statsmodels brings pandas along, about a second.
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(p_values, method="holm")[1]]
