"""A folder with a web page, tables and figures, made from a store alone."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evogen.experiment.evidence import Gathered, curves_of, gather
from evogen.experiment.html_report import html_report
from evogen.experiment.latex import write_latex
from evogen.experiment.posthoc import Ranking, median_costs, rank_results, win_tie_loss
from evogen.experiment.profiles import performance_profile, runtime_curve
from evogen.experiment.report_tables import (
    indicators_of,
    report_tables,
    write_cells_csv,
    write_table_csv,
)
from evogen.experiment.store import Store
from evogen.experiment.summary import Results, Row, summarize
from evogen.experiment.tables import TITLES, all_tables, to_markdown, write_csv
from evogen.experiment.targets import prepare_folder
from evogen.visualization import (
    check_figure_path,
    plot_convergence,
    plot_fronts,
    plot_ranks,
    plot_shares,
    plot_steps,
    save_figure,
)

#: Drawing takes most of a report's time, and every further format as much again.
FORMATS = ("png",)

#: Problems times algorithms up to which figures are drawn into files unless they are asked for: a
#: panel takes a tenth of a second, and the web page has them all.
MAX_DRAWN = 300

#: What the web page and Nemenyi's test need: the extra `report`.
PACKAGES = ("plotly", "scikit_posthocs")


def write_report(
    store: Store,
    out_dir: str | Path,
    *,
    baseline: str | None = None,
    keys: Container[str] | None = None,
    formats: Sequence[str] | None = None,
    html: bool | None = None,
) -> list[Path]:
    """Write the web page, tables and figures of a campaign.

    `table.md` and `table.csv` (one line per problem and algorithm); `cells.csv` (one line per run);
    `tables.tex` (booktabs) and `tables/*.csv`, the tables of the web page; `index.html`, the web
    page itself, which needs no network and no other file.

    Figures, per problem: `front-<problem>` (of each algorithm the run with the median IGD, against
    the true front) and `convergence-<problem>` (IGD, or hypervolume where no front is known, over
    evaluations: median with quartile band); `shares-<problem>-<algorithm>` where a generative
    mating made a varying share of the offspring. Over all problems: `ranks-<indicator>`
    (critical-difference diagram), `profile` and `runtime`.

    Args:
        store: A store with finished cells.
        out_dir: Folder, made when it is not there.
        baseline, keys: See `summarize`.
        formats: Endings of the figures' files (`"png"`, `"svg"`, `"pdf"`); `table.md` shows the
            first. By default png, and no files of figures where there are more than `MAX_DRAWN`
            pairs of problem and algorithm.
        html: Whether to write the web page, ranks and critical differences, which need the extra
            `report`; by default where it is installed.

    Returns:
        What was written: `table.md`, `table.csv`, then the others.

    Raises:
        ImportError: `html` without the extra.
        ValueError: There are no such cells, the baseline is not among them, or an unknown format.
        OSError: The folder cannot be written.
        StoreError: The store is damaged.
    """
    results = summarize(store, baseline=baseline, keys=keys)
    html = _html_wanted(html)
    out_dir = prepare_folder(out_dir)
    if isinstance(formats, str) or (formats is not None and not formats):
        raise ValueError(f"formats={formats!r} must be a list of endings, e.g. ['png']")
    for ending in formats or ():
        check_figure_path(out_dir / f"figure.{ending}")
    if formats is None:
        formats = FORMATS if len(results.rows) * len(results.algorithms) <= MAX_DRAWN else ()
    gathered = gather(store, results)
    rankings = _rankings(results) if html else {}
    wins = {i: win_tie_loss(results, i) for i in indicators_of(results)}
    tables = report_tables(results, gathered, rankings, wins)
    markdown, table = out_dir / "table.md", out_dir / "table.csv"
    written = [markdown, table]
    if html:
        text = html_report(store.path.stem, results, gathered, tables, rankings)
        (out_dir / "index.html").write_text(text, encoding="utf-8")
        written.append(out_dir / "index.html")
    prepare_folder(out_dir / "tables")
    written.append(write_cells_csv(store, results, out_dir / "cells.csv"))
    written.append(write_latex(list(tables.items()), out_dir / "tables.tex"))
    for name, shown in tables.items():
        written.append(write_table_csv(shown, out_dir / "tables" / f"{name}.csv"))
    links = []
    for name, figure in _all_figures(store, results, gathered, rankings) if formats else ():
        written += [save_figure(figure, out_dir / f"{name}.{ending}") for ending in formats]
        links.append(f"![{name}]({name}.{formats[0]})")
    text = "\n".join(to_markdown(t) for t in all_tables(results))
    markdown.write_text("\n".join([text, *links, ""]), encoding="utf-8")
    write_csv(results, table)
    return written


def _html_wanted(html: bool | None) -> bool:
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if html and missing:
        raise ImportError(
            f"the web page of a report needs {' and '.join(missing)}: pip install 'evogen[report]'"
        )
    return not missing if html is None else html


def _rankings(results: Results) -> dict[str, Ranking]:
    found = {i: rank_results(results, i) for i in indicators_of(results)}
    return {i: ranking for i, ranking in found.items() if ranking is not None}


def _all_figures(
    store: Store, results: Results, gathered: Gathered, rankings: Mapping[str, Ranking]
) -> list[tuple[str, Any]]:
    figures = []
    for row in results.rows.values():
        figures += _figures(store, results, gathered, row)
    for indicator, ranking in rankings.items():
        figure = plot_ranks(
            ranking.mean_ranks,
            ranking.algorithms,
            ranking.critical_difference,
            ranking.groups,
            title=f"Mean ranks, {TITLES[indicator]}, {ranking.n_problems} problems",
        )
        figures.append((f"ranks-{indicator}", figure))
    return figures + _overall(results, gathered)


def _overall(results: Results, gathered: Gathered) -> list[tuple[str, Any]]:
    """Performance profile of the median IGD, and runtime curves; where there are several problems
    and somebody to compare with."""
    figures: list[tuple[str, Any]] = []
    costs = median_costs(results, "igd")
    costs = costs[~np.isnan(costs).all(axis=1)]
    if len(costs) < 2 or len(results.algorithms) < 2:
        return figures
    if (np.nan_to_num(costs, nan=1.0) > 0).all() and np.isfinite(costs).any():
        taus, shares = performance_profile(costs)
        by_name = dict(zip(results.algorithms, shares.T, strict=True))
        label = "median IGD, in multiples of the least"
        figures.append(("profile", plot_steps(taus, by_name, xlabel=label)))
    times = {
        a: np.concatenate(
            [e.times.ravel() for (_, b), e in gathered.evidence.items() if b == a] or [np.empty(0)]
        )
        for a in results.algorithms
    }
    reached = np.concatenate([t[np.isfinite(t)] for t in times.values()])
    if len(reached):
        n_eval = np.unique(
            np.append(reached, max(e.spent.max(initial=0.0) for e in gathered.evidence.values()))
        )
        curves = {a: runtime_curve(t, n_eval) for a, t in times.items() if len(t)}
        figure = plot_steps(
            n_eval, curves, xlabel="evaluations", ylabel="share of (run, target) pairs"
        )
        figures.append(("runtime", figure))
    return figures


def _figures(store: Store, results: Results, gathered: Gathered, row: Row) -> list[tuple[str, Any]]:
    slug = _slug(row.label)
    figures: list[tuple[str, Any]] = []
    fronts = {}
    for algorithm in results.algorithms:
        found = gathered.evidence.get((row.label, algorithm))
        if found is not None and found.front is not None:
            fronts[algorithm] = found.front
    if fronts and row.n_obj is not None and row.n_obj > 1:
        figures.append((f"front-{slug}", plot_fronts(fronts, row.front, title=row.label)))
    indicator = "igd" if row.front is not None else "hv"
    curves = {}
    for algorithm in results.algorithms:
        cells = results.done.get((row.label, algorithm), [])
        if recorded := curves_of(store, cells, (indicator, "share")):
            curves[algorithm] = [run for _, run in recorded]
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
        runs: Per run, arrays `n_eval` and, if it was recorded, `name` `(n_records,)`.
        name: The curve.

    Returns:
        Evaluations `(k,)`, all that occur, and values `(n_runs, k)`: of the last record up to
        there, NaN before the first.
    """
    grid = np.unique(np.concatenate([run["n_eval"] for run in runs]))
    values = np.full((len(runs), len(grid)), np.nan)
    for i, run in enumerate(runs):
        at = np.searchsorted(run["n_eval"], grid, side="right") - 1
        if name in run:
            values[i, at >= 0] = run[name][at[at >= 0]]
    return grid, values


def _varies(shares: np.ndarray) -> bool:
    known = shares[np.isfinite(shares)]
    # A fixed share differs from generation to generation only by the draw of a few offspring.
    return len(known) > 0 and float(np.ptp(known)) > 0.3


def _slug(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", label).strip("-")
