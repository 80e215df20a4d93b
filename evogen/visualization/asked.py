"""Objectives asked for against objectives obtained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from evogen.visualization.style import FRONT_COLOR, PALETTE, new_figure, series_style, tidy

#: Obtained points further out than this, in ranges of the front, are drawn at the edge.
MARGIN = 0.6

#: Smaller errors are drawn as this one.
LEAST = 1e-7


def plot_asked(
    panels: Mapping[str, tuple[Any, Mapping[str, Any], Any]], *, title: str = ""
) -> Figure:
    """A row of panels for each problem: what was asked for, and what each method obtained.

    A line leads from each objective vector asked for to the one obtained; a good method has none
    to be seen. Points far off are drawn as triangles at the edge. The last panel of a row shows
    the sorted errors of all methods, in ranges of what was asked for.

    Args:
        panels: By problem: asked `(n, 2)`; obtained `(n, 2)` by method, the same methods for all
            problems; and the true front `(k, 2)` or None.
        title: Above the figure.

    Raises:
        ValueError: Nothing to draw, arrays of the wrong shape, or methods that differ.
    """
    if not panels:
        raise ValueError("panels is empty; give at least one problem")
    methods = list(next(iter(panels.values()))[1])
    for name, (asked, obtained, _) in panels.items():
        shapes = {np.shape(f) for f in (asked, *obtained.values())}
        if len(shapes) != 1 or len(next(iter(shapes))) != 2 or next(iter(shapes))[1] != 2:
            raise ValueError(f"panels[{name!r}]: asked and obtained must be (n, 2); got {shapes}")
        if list(obtained) != methods:
            raise ValueError(f"panels[{name!r}] has the methods {list(obtained)}, not {methods}")
    figure = new_figure(2.9 * (len(methods) + 1), 0.5 + 2.6 * len(panels))
    grid = figure.subplots(len(panels), len(methods) + 1, squeeze=False)
    for row, (name, (asked, obtained, front)) in enumerate(panels.items()):
        asked = np.asarray(asked, dtype=float)
        extent = np.ptp(asked, axis=0) + 1e-12
        for column, method in enumerate(methods):
            axes, f = grid[row, column], np.asarray(obtained[method], dtype=float)
            _draw(axes, asked, f, front, PALETTE[column % len(PALETTE)])
            axes.set_title(f"{name}: {method}", fontsize=8)
            axes.set_xlabel("$f_1$", fontsize=8)
            axes.set_ylabel("$f_2$", fontsize=8)
            error = np.sort(np.linalg.norm((f - asked) / extent, axis=1))
            share = (np.arange(len(error)) + 1) / len(error)
            style = series_style(column)
            grid[row, -1].plot(np.maximum(error, LEAST), share, label=method, **style)
        grid[row, -1].set(xscale="log", ylim=(0, 1))
        grid[row, -1].xaxis.set_minor_formatter(NullFormatter())
        grid[row, -1].set_title(f"{name}: share of designs", fontsize=8)
        grid[row, -1].set_xlabel("error at most", fontsize=8)
        grid[row, -1].legend(frameon=False, fontsize=6)
        for axes in grid[row]:
            axes.tick_params(which="both", labelsize=7)
            tidy(axes)
    handles = [
        Line2D([], [], color="black", marker="o", markerfacecolor="none", linestyle="",
               markersize=4, label="asked"),
        Line2D([], [], color="#333333", marker="o", linestyle="-", markersize=3, label="obtained"),
        Line2D([], [], color="#333333", marker="^", linestyle="", markersize=4,
               label="obtained, off the scale"),
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def _draw(axes: Axes, asked: np.ndarray, f: np.ndarray, front: Any, color: str) -> None:
    """One method on one problem."""
    extent = np.ptp(asked, axis=0) + 1e-12
    low, high = asked.min(axis=0) - 0.1 * extent, asked.max(axis=0) + MARGIN * extent
    shown = np.clip(f, low, high)
    out = (shown != f).any(axis=1)
    if front is not None:
        front = np.asarray(front, dtype=float)
        axes.scatter(front[:, 0], front[:, 1], s=1, color=FRONT_COLOR, linewidths=0, zorder=1)
    for start, end in zip(asked, shown, strict=True):
        axes.plot(*np.array([start, end]).T, color=color, linewidth=0.6, zorder=2)
    axes.scatter(
        asked[:, 0], asked[:, 1], s=14, facecolors="none", edgecolors="black", linewidths=0.6
    )
    axes.scatter(shown[~out, 0], shown[~out, 1], s=9, color=color, linewidths=0, zorder=3)
    axes.scatter(shown[out, 0], shown[out, 1], s=16, color=color, marker="^", linewidths=0)
