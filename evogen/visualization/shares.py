"""Who made the offspring, over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from evogen.visualization.style import PALETTE, new_figure, tidy


def plot_shares(
    time: Any,
    shares: Any,
    labels: Sequence[str],
    *,
    xlabel: str = "evaluations",
    title: str = "",
) -> Figure:
    """Shares of several operators, stacked, over evaluations or generations.

    Args:
        time: Evaluations or generations `(k,)`, ascending.
        shares: Non-negative weights `(k, n_operators)`; each row is scaled to sum to 1. A row with
            NaN or without any weight is left blank.
        labels: Names of the operators.
        xlabel: What `time` is.
        title: Above the figure.

    Raises:
        ValueError: Shapes that do not match, or negative shares.
    """
    time, shares = np.asarray(time, dtype=float), np.asarray(shares, dtype=float)
    if time.ndim != 1 or shares.shape != (len(time), len(labels)) or not len(labels):
        raise ValueError(
            f"time {time.shape}, shares {shares.shape} and {len(labels)} labels do not match; "
            "expected (k,), (k, n_operators) and n_operators"
        )
    if np.any(shares < 0):
        raise ValueError("shares must not be negative")
    total = shares.sum(axis=1, keepdims=True)
    shares = np.divide(shares, total, out=np.full_like(shares, np.nan), where=total > 0)
    figure = new_figure(6.0, 3.4)
    axes = figure.add_subplot()
    edges = np.concatenate([np.zeros((len(time), 1)), np.cumsum(shares, axis=1)], axis=1)
    for i, label in enumerate(labels):
        axes.fill_between(
            time,
            edges[:, i],
            edges[:, i + 1],
            color=PALETTE[i % len(PALETTE)],
            alpha=0.85,
            linewidth=0,
            label=label,
        )
    axes.set(xlabel=xlabel, ylabel="share of the offspring", ylim=(0, 1), title=title)
    if len(time) > 1:
        axes.set_xlim(time[0], time[-1])
    tidy(axes)
    axes.legend(
        frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5), reverse=True
    )
    return figure
