"""The critical-difference diagram."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from evogen.visualization.style import FRONT_COLOR, new_figure, series_style


def plot_ranks(
    mean_ranks: Any,
    labels: Sequence[str],
    critical_difference: float,
    groups: Sequence[Sequence[int]] = (),
    *,
    title: str = "",
) -> Figure:
    """Mean ranks on a line, with bars over those that do not differ significantly.

    The diagram of Demšar (2006), JMLR 7, figure 1.

    Args:
        mean_ranks: `(k,)`, 1 is best.
        labels: Names of the k algorithms.
        critical_difference: Mean ranks further apart differ significantly; its length is drawn.
        groups: Indices of algorithms to be joined by a bar.
        title: Above the figure.

    Raises:
        ValueError: Nothing to draw, or lengths that do not match.
    """
    ranks = np.asarray(mean_ranks, dtype=float)
    k = len(labels)
    if ranks.shape != (k,) or k == 0 or not np.isfinite(ranks).all():
        raise ValueError(f"mean_ranks {ranks.shape} must be {k} finite numbers, one per label")
    order = np.argsort(ranks, kind="stable")
    half = -(-k // 2)
    first = -0.9 - 0.35 * len(groups)
    bottom = first - 0.8 * half
    figure = new_figure(7.0, 0.25 * (2.6 - bottom) + (0.3 if title else 0.0))
    axes = figure.add_subplot()
    axes.axis("off")
    low, high = np.floor(ranks.min()), max(np.ceil(ranks.max()), np.floor(ranks.min()) + 1)
    pad = 0.05 * (high - low)
    axes.plot([low, high], [0, 0], color="black", linewidth=1.2)
    for tick in np.arange(low, high + 1):
        axes.plot([tick, tick], [0, 0.25], color="black", linewidth=1.2)
        axes.text(tick, 0.4, f"{tick:.0f}", ha="center", va="bottom", fontsize=8)
    axes.plot([low, low + critical_difference], [1.5, 1.5], color="black", linewidth=2)
    text = f"critical difference {critical_difference:.2f}"
    axes.text(low, 1.7, text, ha="left", va="bottom", fontsize=8)
    for level, group in enumerate(groups):
        ends = ranks[list(group)]
        y = -0.5 - 0.35 * level
        axes.plot(
            [ends.min() - pad / 6, ends.max() + pad / 6], [y, y], color=FRONT_COLOR, linewidth=4
        )
    for place, i in enumerate(order):
        left = place < half
        y = first - 0.8 * (place if left else k - 1 - place)
        end = low - pad if left else high + pad
        color = series_style(int(i))["color"]
        axes.plot([ranks[i], ranks[i], end], [0, y, y], color=color, linewidth=1.2)
        told = f"{labels[i]} ({ranks[i]:.2f}) " if left else f" {labels[i]} ({ranks[i]:.2f})"
        axes.text(end, y, told, ha="right" if left else "left", va="center", fontsize=9)
    axes.set(xlim=(low - pad, max(high + pad, low + critical_difference)), ylim=(bottom, 2.6))
    if title:
        figure.suptitle(title, fontsize=11)
    return figure
