"""Empirical attainment surfaces of two objectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from evogen.visualization.style import FRONT_COLOR, new_figure, series_style, tidy


def plot_attainment(
    surfaces: Mapping[str, Mapping[int, Any]],
    front: Any = None,
    *,
    main: int = 50,
    title: str = "",
    objectives: Sequence[str] = ("$f_1$", "$f_2$"),
) -> Figure:
    """What a share of the runs has attained, as a staircase per algorithm.

    Args:
        surfaces: By algorithm, by percentage of runs: points `(m, 2)`, ascending in the first
            objective (`evogen.experiment.attainment_surfaces`).
        front: True front `(k, 2)`, or None.
        main: The percentage drawn thick; others are thin.
        title: Above the figure.
        objectives: Names of the two objectives.

    Raises:
        ValueError: Nothing to draw, or arrays of the wrong shape.
    """
    arrays = {
        (label, percent): np.asarray(points, dtype=float)
        for label, by_percent in surfaces.items()
        for percent, points in by_percent.items()
    }
    if not arrays:
        raise ValueError("surfaces is empty; give at least one")
    if any(p.ndim != 2 or p.shape[1] != 2 or not len(p) for p in arrays.values()):
        shapes = [p.shape for p in arrays.values()]
        raise ValueError(f"attainment surfaces must be (m, 2) with m >= 1; got {shapes}")
    figure = new_figure(5.6, 4.2)
    axes = figure.add_subplot()
    if front is not None:
        front = np.asarray(front, dtype=float)
        axes.scatter(front[:, 0], front[:, 1], s=2, color=FRONT_COLOR, linewidths=0, zorder=1)
    right, top = np.concatenate(list(arrays.values())).max(axis=0)
    places = {label: i for i, label in enumerate(surfaces)}
    for (label, percent), points in arrays.items():
        # Left of the first point nothing is attained, and the last value holds to the right.
        x = np.concatenate([points[:1, 0], points[:, 0], [right]])
        y = np.concatenate([[top], points[:, 1], points[-1:, 1]])
        style = series_style(places[label])
        if percent == main:
            axes.step(x, y, where="post", label=label, linewidth=1.6, **style)
        else:
            axes.step(x, y, where="post", linewidth=0.7, color=style["color"], linestyle=":")
    axes.set(xlabel=objectives[0], ylabel=objectives[1], title=title)
    tidy(axes)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure
