"""Indicators over evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from evogen.visualization.style import FRONT_COLOR, new_figure, series_style, tidy

#: From this ratio of largest to smallest value on, a logarithmic scale shows more.
LOG_RATIO = 5.0

#: A floor further below the curves than this would squeeze them.
FLOOR_RATIO = 10.0


def plot_convergence(
    curves: Mapping[str, tuple[Any, Any]],
    *,
    ylabel: str = "IGD",
    title: str = "",
    floor: float | None = None,
    log: bool | None = None,
) -> Figure:
    """Median of an indicator over evaluations, with the band between the quartiles.

    Args:
        curves: By name: evaluations `(k,)`, and the indicator of several runs at these evaluations
            `(n_runs, k)`. Values that are not finite are left out; a point is drawn where at
            least half of the runs have a value.
        ylabel: Name of the indicator.
        title: Above the figure.
        floor: Drawn as a horizontal line: the best value that can be expected. Left out where all
            curves stay more than a factor of 10 above it.
        log: Logarithmic values; by default where all are positive and span a factor of 5.

    Raises:
        ValueError: Nothing to draw, or arrays whose shapes do not match.
    """
    if not curves:
        raise ValueError("curves is empty; give at least one")
    figure = new_figure(6.0, 4.0)
    axes = figure.add_subplot()
    shown: list[np.ndarray] = []
    for i, (label, (n_eval, runs)) in enumerate(curves.items()):
        n_eval, band = np.asarray(n_eval, dtype=float), _band(label, n_eval, runs)
        style = series_style(i)
        axes.fill_between(n_eval, band[0], band[2], color=style["color"], alpha=0.18, linewidth=0)
        axes.plot(n_eval, band[1], label=label, linewidth=1.6, **style)
        shown.append(band[np.isfinite(band)])
    values = np.concatenate(shown)
    if floor is not None and len(values) and floor > values.min() / FLOOR_RATIO:
        axes.axhline(floor, color=FRONT_COLOR, linewidth=1.0, linestyle=":", label="floor")
        values = np.append(values, floor)
    if log is None:
        log = bool(len(values) and values.min() > 0 and values.max() > LOG_RATIO * values.min())
    if log:
        axes.set_yscale("log")
    axes.set(xlabel="evaluations", ylabel=f"{ylabel} (median and quartiles)", title=title)
    axes.set_xlim(left=0)
    tidy(axes)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def _band(label: str, n_eval: np.ndarray, runs: Any) -> np.ndarray:
    """Quartiles `(3, k)` of the runs, NaN where fewer than half have a value."""
    runs = np.atleast_2d(np.asarray(runs, dtype=float))
    if n_eval.ndim != 1 or runs.ndim != 2 or runs.shape[1] != len(n_eval) or not len(runs):
        raise ValueError(
            f"curves[{label!r}]: evaluations {n_eval.shape} and values {runs.shape} do not match; "
            "expected (k,) and (n_runs, k)"
        )
    values = np.where(np.isfinite(runs), runs, np.nan)
    enough = 2 * np.isfinite(values).sum(axis=0) >= len(values)
    band = np.full((3, len(n_eval)), np.nan)
    if enough.any():
        band[:, enough] = np.nanquantile(values[:, enough], (0.25, 0.5, 0.75), axis=0)
    return band
