"""A folder with tables and figures, made from a store alone."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evogen.experiment.indicators import nondominated
from evogen.experiment.store import Store, StoredCell
from evogen.experiment.summary import Results, Row, summarize
from evogen.experiment.tables import TITLES, all_tables, to_markdown, write_csv
from evogen.experiment.targets import prepare_folder
from evogen.visualization import (
    check_figure_path,
    plot_convergence,
    plot_fronts,
    plot_shares,
    save_figure,
)

#: Drawing takes most of a report's time, and every further format as much again.
FORMATS = ("png",)


def write_report(
    store: Store,
    out_dir: str | Path,
    *,
    baseline: str | None = None,
    keys: Container[str] | None = None,
    formats: Sequence[str] = FORMATS,
) -> list[Path]:
    """Write `table.md`, `table.csv` and figures.

    Per problem: `front-<problem>` (of each algorithm the run with the median IGD, against the true
    front) and `convergence-<problem>` (IGD, or hypervolume where no front is known, over
    evaluations: median with quartile band); `shares-<problem>-<algorithm>` where a generative
    mating made a varying share of the offspring.

    Args:
        store: A store with finished cells.
        out_dir: Folder, made when it is not there.
        baseline, keys: See `summarize`.
        formats: Endings of the figures' files (`"png"`, `"svg"`, `"pdf"`); `table.md` shows the
            first.

    Returns:
        What was written, `table.md` first.

    Raises:
        ValueError: There are no such cells, the baseline is not among them, or an unknown format.
        OSError: The folder cannot be written.
        StoreError: The store is damaged.
    """
    results = summarize(store, baseline=baseline, keys=keys)
    out_dir = prepare_folder(out_dir)
    if isinstance(formats, str) or not formats:
        raise ValueError(f"formats={formats!r} must be a list of endings, e.g. ['png']")
    for ending in formats:
        check_figure_path(out_dir / f"figure.{ending}")
    markdown, table = out_dir / "table.md", out_dir / "table.csv"
    figures: list[tuple[str, Any]] = []
    for row in results.rows.values():
        figures += _figures(store, results, row)
    written = [markdown, table]
    links = []
    for name, figure in figures:
        written += [save_figure(figure, out_dir / f"{name}.{ending}") for ending in formats]
        links.append(f"![{name}]({name}.{formats[0]})")
    tables = "\n".join(to_markdown(t) for t in all_tables(results))
    markdown.write_text("\n".join([tables, *links, ""]), encoding="utf-8")
    write_csv(results, table)
    return written


def _figures(store: Store, results: Results, row: Row) -> list[tuple[str, Any]]:
    slug = _slug(row.label)
    figures: list[tuple[str, Any]] = []
    fronts = {}
    for algorithm in results.algorithms:
        cells = results.done.get((row.label, algorithm), [])
        if cells:
            arrays = store.arrays(_median_cell(cells).key, "result")
            fronts[algorithm] = nondominated(arrays["F"], arrays.get("CV"))
    if fronts and row.n_obj is not None and row.n_obj > 1:
        figures.append((f"front-{slug}", plot_fronts(fronts, row.front, title=row.label)))
    curves = {
        algorithm: [store.arrays(cell.key, "curves") for cell in cells]
        for algorithm in results.algorithms
        if (cells := results.done.get((row.label, algorithm), []))
    }
    indicator = "igd" if row.front is not None else "hv"
    lines = {a: common_grid(runs, indicator) for a, runs in curves.items()}
    if any(np.isfinite(values).any() for _, values in lines.values()):
        figure = plot_convergence(
            lines,
            ylabel=TITLES[indicator],
            title=row.label,
            floor=row.floor if indicator == "igd" else None,
        )
        figures.append((f"convergence-{slug}", figure))
    for algorithm, runs in curves.items():
        n_eval, shares = common_grid(runs, "share")
        if _varies(shares):
            known = np.isfinite(shares).any(axis=0)
            mean = np.nanmean(shares[:, known], axis=0)
            figure = plot_shares(
                n_eval[known],
                np.column_stack([mean, 1 - mean]),
                ["model", "base operator"],
                title=f"{row.label}, {algorithm}: mean of {len(runs)} runs",
            )
            figures.append((f"shares-{slug}-{_slug(algorithm)}", figure))
    return figures


def common_grid(runs: Sequence[dict[str, np.ndarray]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Curves of several runs at the same evaluations.

    Args:
        runs: Per run, arrays `n_eval` and `name` `(n_records,)`.
        name: The curve.

    Returns:
        Evaluations `(k,)`, all that occur, and values `(n_runs, k)`: of the last record up to
        there, NaN before the first.
    """
    grid = np.unique(np.concatenate([run["n_eval"] for run in runs]))
    values = np.full((len(runs), len(grid)), np.nan)
    for i, run in enumerate(runs):
        at = np.searchsorted(run["n_eval"], grid, side="right") - 1
        values[i, at >= 0] = run[name][at[at >= 0]]
    return grid, values


def _median_cell(cells: Sequence[StoredCell]) -> StoredCell:
    """The run whose IGD is the median (the lower one of an even number); by hypervolume if no
    front is known, the first if neither is."""
    if all(cell.igd is not None for cell in cells):
        ranked = sorted(cells, key=lambda c: (c.igd, c.seed))
    elif all(cell.hv is not None for cell in cells):
        ranked = sorted(cells, key=lambda c: (-(c.hv or 0.0), c.seed))
    else:
        return cells[0]
    return ranked[(len(ranked) - 1) // 2]


def _varies(shares: np.ndarray) -> bool:
    known = shares[np.isfinite(shares)]
    # A fixed share differs from generation to generation only by the draw of a few offspring.
    return len(known) > 0 and float(np.ptp(known)) > 0.3


def _slug(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", label).strip("-")
