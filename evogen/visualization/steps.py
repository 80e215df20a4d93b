"""Shares that rise in steps: performance profiles and runtime curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from evogen.visualization.style import new_figure, series_style, tidy


def plot_steps(
    x: Any,
    shares: Mapping[str, Any],
    *,
    xlabel: str,
    ylabel: str = "share of problems",
    title: str = "",
    log: bool = True,
) -> Figure:
    """Step curves of shares, one per algorithm.

    Args:
        x: `(k,)`, ascending; positive where `log`.
        shares: By algorithm, values `(k,)` in [0, 1] that hold from there on.
        xlabel, ylabel: Of the axes.
        title: Above the figure.
        log: Logarithmic x.

    Raises:
        ValueError: Nothing to draw, or lengths that do not match.
    """
    x = np.asarray(x, dtype=float)
    if not shares or not len(x):
        raise ValueError("there is nothing to draw: give at least one curve and one point")
    figure = new_figure(6.0, 4.0)
    axes = figure.add_subplot()
    for i, (label, values) in enumerate(shares.items()):
        values = np.asarray(values, dtype=float)
        if values.shape != x.shape:
            raise ValueError(f"shares[{label!r}] {values.shape} must be as long as x {x.shape}")
        axes.step(x, values, where="post", label=label, linewidth=1.6, **series_style(i))
    if log:
        axes.set_xscale("log")
    axes.set(xlabel=xlabel, ylabel=ylabel, ylim=(-0.02, 1.03), title=title)
    tidy(axes)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure
