"""What several tasks gave to each other in one run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from evogen.visualization.style import PALETTE, new_figure, tidy


def plot_transfer(
    time: Any,
    shares: Any,
    operators: Sequence[str],
    tasks: Sequence[str],
    *,
    xlabel: str = "evaluations",
    title: str = "",
) -> Figure:
    """Shares of operators and transfers in the offspring of every task, stacked, over time.

    Args:
        time: Evaluations or generations `(k,)`, ascending.
        shares: `(k, n_tasks, n_operators)`, each row summing to 1; NaN where a task rested.
        operators: Names.
        tasks: Names.
        xlabel: What `time` is.
        title: Above the figure.

    Raises:
        ValueError: Shapes that do not match.
    """
    time, shares = np.asarray(time, dtype=float), np.asarray(shares, dtype=float)
    if shares.shape != (len(time), len(tasks), len(operators)) or not len(time):
        raise ValueError(
            f"time {time.shape}, shares {shares.shape}, {len(tasks)} tasks and {len(operators)} "
            "operators do not match; expected (k,) and (k, n_tasks, n_operators)"
        )
    figure = new_figure(7.0, 1.0 + 1.9 * len(tasks))
    panels = figure.subplots(len(tasks), 1, sharex=True, squeeze=False)[:, 0]
    for t, axes in enumerate(panels):
        edges = np.concatenate([np.zeros((len(time), 1)), np.cumsum(shares[:, t], axis=1)], axis=1)
        for i, name in enumerate(operators):
            color = PALETTE[i % len(PALETTE)]
            axes.fill_between(
                time, edges[:, i], edges[:, i + 1], color=color, alpha=0.85, lw=0, label=name
            )
        axes.set(ylim=(0, 1), ylabel=tasks[t])
        axes.set_xlim(time[0], time[-1] if len(time) > 1 else time[0] + 1)
        tidy(axes)
    panels[-1].set_xlabel(xlabel)
    panels[0].set_title(title)
    panels[0].legend(
        frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.0), reverse=True
    )
    return figure


def plot_transfer_matrix(
    matrices: Sequence[Any],
    tasks: Sequence[str],
    *,
    labels: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """How much of what a task (row) took from another (column) survived, at several moments.

    Args:
        matrices: For every moment `(n_tasks, n_tasks)` in [0, 1]; NaN where nothing was taken.
        tasks: Names.
        labels: Names of the moments.
        title: Above the figure.

    Raises:
        ValueError: No matrix, one of another shape, or as many labels as matrices are needed.
    """
    shown = [np.asarray(matrix, dtype=float) for matrix in matrices]
    n = len(tasks)
    if not shown or any(matrix.shape != (n, n) for matrix in shown):
        raise ValueError(
            f"matrices must be at least one of shape ({n}, {n}); got {[m.shape for m in shown]}"
        )
    if len(labels) not in (0, len(shown)):
        raise ValueError(f"labels must be {len(shown)} names; got {len(labels)}")
    figure = new_figure(1.6 + 2.4 * len(shown), 3.2)
    panels = figure.subplots(1, len(shown), squeeze=False)[0]
    known = np.concatenate([matrix[np.isfinite(matrix)] for matrix in shown])
    top = float(known.max()) if len(known) and known.max() > 0 else 1.0
    image = None
    for number, (axes, matrix) in enumerate(zip(panels, shown, strict=True)):
        image = axes.imshow(np.ma.masked_invalid(matrix), vmin=0.0, vmax=top, cmap="viridis")
        axes.set_xticks(range(n), tasks, rotation=60, ha="right", fontsize=7)
        axes.set_yticks(range(n), tasks if number == 0 else [""] * n, fontsize=7)
        axes.set_title(labels[number] if labels else "", fontsize=9)
    panels[0].set_ylabel("receives")
    panels[0].set_xlabel("gives")
    assert image is not None
    figure.colorbar(image, ax=list(panels), label="share that survived", shrink=0.8)
    figure.suptitle(title)
    return figure
