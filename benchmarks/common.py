"""What the studies share: their command line, wins and losses, tables and figures, pages."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from evogen.experiment import Results, Store, nondominated
from evogen.experiment.report import common_grid
from evogen.visualization import plot_convergence, plot_fronts, save_figure

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
FIGURES = ROOT / "docs" / "figures"

#: What a rival's mark against the baseline says of the baseline.
_OURS = {"+": "-", "-": "+", "=": "="}


def command_line(
    about: str, parts: Iterable[str], *, store: str, jobs: int = 2
) -> argparse.ArgumentParser:
    """`run` or `report`, with `--store`, `--part` (several allowed) and `--jobs`.

    Args:
        about: The script's docstring; its first line is the description.
        parts: What may be named by `--part`.
        store: Default of `--store`.
        jobs: Default of `--jobs`.
    """
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("command", choices=("run", "report"))
    parser.add_argument("--store", type=Path, default=Path(store))
    parser.add_argument("--part", choices=tuple(parts), action="append")
    parser.add_argument("--jobs", type=int, default=jobs)
    return parser


def select(results: Results, rows: str, algorithms: Sequence[str], baseline: str) -> Results:
    """The part of the results with these algorithms; rows "original" or "shifted"."""
    twin = rows == "shifted"
    kept = [a for a in algorithms if a in results.algorithms]
    labels = [label for label in results.rows if label.split()[0].endswith("-shifted") == twin]
    kept = [a for a in kept if any(results.done.get((r, a)) for r in labels)]
    labels = [r for r in labels if any(results.done.get((r, a)) for a in kept)]
    return restricted(results, labels, kept, baseline if baseline in kept else None)


def restricted(
    results: Results, rows: Collection[str], algorithms: Collection[str], baseline: str | None
) -> Results:
    """These rows and algorithms of the results only, in this order."""
    return Results(
        {row: results.rows[row] for row in rows},
        list(algorithms),
        baseline,
        {k: v for k, v in results.done.items() if k[0] in rows and k[1] in algorithms},
        {k: v for k, v in results.failed.items() if k[0] in rows and k[1] in algorithms},
    )


def best_rival(results: Results, row: str) -> str:
    """The algorithm with the best median IGD on a row, the baseline left out."""
    rivals = [a for a in results.algorithms if a != results.baseline]
    return min(rivals, key=lambda a: results.median(row, a, "igd"))


def our_mark(results: Results, row: str, rival: str) -> str:
    """IGD of the baseline against a rival's: + better, - worse, = no significant difference."""
    return _OURS[results.comparisons("igd")[row, rival].mark]


def counted(marks: Sequence[str], than: str = "") -> str:
    """How often the marks say better (`than` may name the rival), no difference, worse."""
    return (
        f"better{than} on {marks.count('+')}, no significant difference on {marks.count('=')}, "
        f"worse on {marks.count('-')}"
    )


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text."""
    rule = "|---|" + "---:|" * (len(header) - 1)
    rows = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join(["| " + " | ".join(header) + " |", rule, *rows]) + "\n"


def fill(page: Path, name: str, text: str, script: str) -> None:
    """Put a text between the marks of that name on a page.

    Args:
        page: Has the marks; they stay.
        name: Theirs.
        text: Replaces what stands between them.
        script: Path of the script that writes it, as the first mark says.

    Raises:
        ValueError: The page does not have the marks.
    """
    start = f"<!-- {name}: written by benchmarks/{Path(script).name} -->"
    end = f"<!-- end of {name} -->"
    before, found, rest = page.read_text(encoding="utf-8").partition(start)
    _, also_found, after = rest.partition(end)
    if not (found and also_found):
        raise ValueError(f"{page} does not have {start!r} and {end!r}")
    page.write_text(f"{before}{start}\n\n{text}\n\n{end}{after}", encoding="utf-8")


def write_runs(results: Results | Mapping[str, Results], path: Path) -> None:
    """Every finished run, one line each; of several parts, led by the part's name."""
    alone = isinstance(results, Results)
    parts = {"": results} if isinstance(results, Results) else results
    names = ("igd", "igd_plus", "hv", "n_eval", "cpu_seconds")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*([] if alone else ["part"]), "problem", "algorithm", "seed", *names])
        for part, of_part in parts.items():
            lead = [] if alone else [part]
            for (row, algorithm), cells in of_part.done.items():
                for cell in cells:
                    values = [getattr(cell, name) for name in names]
                    text = ["" if v is None else f"{v:.6g}" for v in values]
                    writer.writerow([*lead, row, algorithm, cell.seed, *text])


def draw(
    store: Store,
    results: Results,
    problem: str,
    algorithms: Sequence[str],
    seeds: int,
    prefix: str = "",
) -> None:
    """Fronts of the median runs, and IGD over evaluations, of one problem.

    Args:
        store: Holds the runs.
        results: Summary of the store.
        problem: Name of the problem; the first row of that name.
        algorithms: What to draw; those without a run are left out.
        seeds: Runs per algorithm, for the title.
        prefix: What the names of the two figures begin with.
    """
    label = next(r for r in results.rows if r.split()[0] == problem)
    row = results.rows[label]
    fronts = {}
    for algorithm in algorithms:
        cells = results.done.get((label, algorithm), [])
        if not cells:
            continue
        median = sorted(cells, key=lambda c: np.inf if c.igd is None else c.igd)[len(cells) // 2]
        fronts[algorithm] = nondominated(store.arrays(median.key, "result")["F"], None)
    title = f"{problem}: run of median IGD, {row.budget} evaluations"
    figure = plot_fronts(fronts, row.front, title=title)
    save_figure(figure, FIGURES / f"{prefix}fronts-{problem}.png")
    title = f"{problem}: median and quartiles of {seeds} runs"
    path = FIGURES / f"{prefix}convergence-{problem}.png"
    draw_convergence(store, results, label, algorithms, title=title, path=path)


def draw_convergence(
    store: Store, results: Results, row: str, algorithms: Sequence[str], *, title: str, path: Path
) -> None:
    """IGD over evaluations on one row, of those algorithms that have runs there."""
    curves = {
        algorithm: common_grid([store.arrays(c.key, "curves") for c in cells], "igd")
        for algorithm in algorithms
        if (cells := results.done.get((row, algorithm)))
    }
    save_figure(plot_convergence(curves, title=title, floor=results.rows[row].floor), path)
