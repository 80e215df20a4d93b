"""Fronts in objective space: scatter for two and three objectives, parallel lines beyond."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from evogen.visualization.style import FRONT_COLOR, PALETTE, new_figure, tidy

#: More points of the true front than this do not show in three dimensions.
MAX_FRONT_POINTS_3D = 700

#: Lines of the true front in parallel coordinates.
MAX_FRONT_LINES = 100

#: Panels beside each other.
MAX_COLUMNS = 3


def plot_front(
    f: Any,
    front: Any = None,
    *,
    label: str = "found",
    title: str = "",
    objectives: Sequence[str] | None = None,
) -> Figure:
    """One set of objective vectors, with the true front behind it.

    Args:
        f: Objective vectors `(n, n_obj)`, n_obj >= 1; rows that are not finite are left out.
        front: True front `(k, n_obj)`, or None.
        label: Name of the set in the legend.
        title: Above the figure.
        objectives: Names of the objectives; `f1`, `f2`, ... by default.

    Returns:
        A figure that belongs to no window; save it with `save_figure`.

    Raises:
        ValueError: Arrays of the wrong shape or the wrong number of names.
    """
    return plot_fronts({label: f}, front, title=title, objectives=objectives)


def plot_fronts(
    fronts: Mapping[str, Any],
    front: Any = None,
    *,
    title: str = "",
    objectives: Sequence[str] | None = None,
) -> Figure:
    """Several sets of objective vectors, a panel for each, all to the same scale.

    Args:
        fronts: Objective vectors `(n, n_obj)` by name; a set may be empty.
        front: True front `(k, n_obj)`, drawn in every panel, or None.
        title: Above the figure.
        objectives: Names of the objectives; `f1`, `f2`, ... by default.

    Raises:
        ValueError: Nothing to draw, arrays of the wrong shape, or the wrong number of names.
    """
    sets, reference = _checked(fronts, front)
    n_obj = next(iter(sets.values())).shape[1]
    names = list(objectives or [f"$f_{{{i + 1}}}$" for i in range(n_obj)])
    if len(names) != n_obj:
        raise ValueError(f"objectives={names} must be {n_obj} names")
    n_columns = 2 if len(sets) == 4 else min(len(sets), MAX_COLUMNS)
    n_rows = -(-len(sets) // n_columns)
    single = len(sets) == 1
    figure = new_figure(5.0 if single else 3.3 * n_columns, 4.2 if single else 3.1 * n_rows)
    limits = _limits([*sets.values(), *([] if reference is None else [reference])])
    for i, (label, f) in enumerate(sets.items()):
        axes: Any
        place = (n_rows, n_columns, i + 1)
        color = PALETTE[i % len(PALETTE)]
        if n_obj == 3:
            axes = figure.add_subplot(*place, projection="3d")
            _draw_3d(axes, f, reference, color, names, limits)
        else:
            axes = figure.add_subplot(*place)
            draw = _draw_2d if n_obj <= 2 else _draw_parallel
            draw(axes, f, reference, color, names, limits)
            axes.label_outer()
            # The panel below may be missing in the last row.
            axes.tick_params(labelbottom=i + n_columns >= len(sets))
        if not single:
            axes.set_title(f"{label} ({len(f)} points)", fontsize=10)
    if single:
        label, f = next(iter(sets.items()))
        _legend(figure, f"{label} ({len(f)} points)", PALETTE[0], reference is not None)
    else:
        _legend(figure, "found", "#333333", reference is not None)
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def _checked(
    fronts: Mapping[str, Any], front: Any
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    if not fronts:
        raise ValueError("fronts is empty; give at least one set of objective vectors")
    sets = {name: np.asarray(f, dtype=float) for name, f in fronts.items()}
    reference = None if front is None else np.asarray(front, dtype=float)
    given = [*sets.values(), *([] if reference is None else [reference])]
    widths = {f.shape[1] for f in given if f.ndim == 2}
    if any(f.ndim != 2 for f in given) or len(widths) != 1 or 0 in widths:
        shapes = [f.shape for f in given]
        raise ValueError(f"objective vectors must be (n, n_obj) with one n_obj; got {shapes}")
    sets = {name: f[np.isfinite(f).all(axis=1)] for name, f in sets.items()}
    return sets, reference


def _limits(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Common limits of all axes `(n_obj, 2)`, with a margin of 4 %."""
    rows = np.concatenate(arrays)
    if len(rows) == 0:
        return np.tile([0.0, 1.0], (rows.shape[1], 1))
    low, high = rows.min(axis=0), rows.max(axis=0)
    width = np.where(high > low, high - low, 1.0)
    return np.column_stack([low - 0.04 * width, high + 0.04 * width])


def _draw_2d(
    axes: Axes,
    f: np.ndarray,
    front: np.ndarray | None,
    color: str,
    names: Sequence[str],
    limits: np.ndarray,
) -> None:
    if f.shape[1] == 1:
        # One objective: its sorted values.
        axes.scatter(np.arange(1, len(f) + 1), np.sort(f[:, 0]), s=14, color=color)
        if front is not None:
            axes.axhline(float(front.min()), color=FRONT_COLOR, zorder=1)
        axes.set_xlabel("solution")
        axes.set_ylabel(names[0])
    else:
        if front is not None:
            # Thousands of dots as vectors would make an SVG of megabytes.
            axes.scatter(
                front[:, 0], front[:, 1], s=2, color=FRONT_COLOR, linewidths=0, rasterized=True
            )
        axes.scatter(f[:, 0], f[:, 1], s=16, color=color, alpha=0.85, linewidths=0)
        axes.set(xlabel=names[0], ylabel=names[1], xlim=limits[0], ylim=limits[1])
    tidy(axes)


def _draw_3d(
    axes: Any,
    f: np.ndarray,
    front: np.ndarray | None,
    color: str,
    names: Sequence[str],
    limits: np.ndarray,
) -> None:
    if front is not None:
        thin = front[:: max(1, len(front) // MAX_FRONT_POINTS_3D)]
        axes.scatter(*thin.T, s=3, color=FRONT_COLOR, alpha=0.7, linewidths=0, depthshade=False)
    axes.scatter(*f.T, s=16, color=color, linewidths=0, depthshade=False)
    axes.set(xlabel=names[0], ylabel=names[1], zlabel=names[2])
    axes.set(xlim=limits[0], ylim=limits[1], zlim=limits[2])
    axes.tick_params(labelsize=7, pad=-1)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.labelpad = -4
        axis.set_major_locator(MaxNLocator(4))
    axes.grid(False)
    # Seen from the ideal point's side, where a minimised front shows its face.
    axes.view_init(elev=25, azim=45)


def _draw_parallel(
    axes: Axes,
    f: np.ndarray,
    front: np.ndarray | None,
    color: str,
    names: Sequence[str],
    limits: np.ndarray,
) -> None:
    low, high = limits.T
    places = np.arange(len(names))
    if front is not None:
        thin = front[:: max(1, len(front) // MAX_FRONT_LINES)]
        axes.plot(
            places, ((thin - low) / (high - low)).T, color=FRONT_COLOR, linewidth=0.5, alpha=0.4
        )
    axes.plot(places, ((f - low) / (high - low)).T, color=color, linewidth=0.8, alpha=0.6)
    axes.set_xticks(places, names)
    axes.set(ylim=(0, 1), ylabel="scaled value")
    tidy(axes)


def _legend(figure: Figure, found: str, color: str, with_front: bool) -> None:
    def dot(dot_color: str, size: float, label: str) -> Line2D:
        return Line2D(
            [], [], color=dot_color, marker="o", markersize=size, linestyle="", label=label
        )

    handles = [dot(color, 4.5, found)]
    if with_front:
        handles.append(dot(FRONT_COLOR, 2.5, "true front"))
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
