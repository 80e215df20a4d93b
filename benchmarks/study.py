"""The study behind `docs/results.md`: IMF1-10 and their shifted twins, equal evaluations.

    python benchmarks/study.py run --store study.db --jobs 2            # about 40 CPU minutes
    python benchmarks/study.py run --store study.db --part published    # hours: 26,000 small steps
    python benchmarks/study.py report --store study.db                  # tables, figures

30 variables, population 100, 5,000 evaluations, 11 seeds. Interrupted, the same command goes on.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from evogen.experiment import (
    Campaign,
    Results,
    Store,
    cost_table,
    indicator_table,
    nondominated,
    summarize,
    to_markdown,
    write_csv,
)
from evogen.experiment.report import common_grid
from evogen.visualization import plot_convergence, plot_fronts, save_figure

SETTING = {"n_var": 30}
N_EVAL, POP_SIZE, SEEDS = 5000, 100, 11

BASELINES = ["nsga2", "nsga2-de", "spea2", "moead-de", "immoea"]
NULLS = ["copy", "random", "constant", "corner", "untrained"]
PARTS: dict[str, tuple[list[str], list[str]]] = {
    "main": (["imf", "imf-shifted"], [*BASELINES, "gmoea", "nsga2-ddpm"]),
    "gmoea": (
        ["imf", "imf-shifted"],
        ["gmoea-difference", "gmoea-network", *(f"gmoea-{n}" for n in NULLS)],
    ),
    "ddpm": (["imf", "imf-shifted"], [*(f"nsga2-ddpm-{n}" for n in NULLS), "nsga2-gaussian"]),
    "bounds": (
        ["imf", "imf-shifted"],
        ["nsga2-de-reflect", "moead-de-clip", "gmoea-reflect"],
    ),
    "others": (["imf", "imf-shifted"], ["nsga2-vae", "nsga2-improvement"]),
    "published": (["imf"], ["gmoea-published"]),
}

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"

INTRODUCTION = """# Results

Written by `python benchmarks/study.py report`, the runs by `python benchmarks/study.py run`:
IMF1-10 and their shifted twins (offset seed 1), 30 variables, population 100, 5,000 evaluations,
seeds 1 to 11. [`study.csv`](../benchmarks/results/study.csv) has quartiles and p-values,
[`study_runs.csv`](../benchmarks/results/study_runs.csv) every run. Marks: Wilcoxon rank-sum against
the first column, Holm-corrected over the table. The IMF problems keep one end of
their Pareto set in the lower corner of the box: read the column `...-corner` (all model offspring
*are* that corner) before the others, and the twins beside the originals.

What the tables say is summed up, losses included, in [findings](findings.md).
"""


def run(store: Path, parts: Sequence[str], jobs: int) -> None:
    """Run the cells of the parts that the store does not hold."""
    for part in parts:
        problems, algorithms = PARTS[part]
        campaign = Campaign(
            problems,
            algorithms,
            seeds=SEEDS,
            n_eval=N_EVAL,
            pop_size=POP_SIZE,
            store=store,
            problem_settings=SETTING,
        )
        print(part, campaign.run(jobs=jobs))


def select(results: Results, rows: str, algorithms: Sequence[str], baseline: str) -> Results:
    """The part of the results with these algorithms; rows "original" or "shifted"."""
    twin = rows == "shifted"
    kept = [a for a in algorithms if a in results.algorithms]
    labels = [label for label in results.rows if label.split()[0].endswith("-shifted") == twin]
    kept = [a for a in kept if any(results.done.get((r, a)) for r in labels)]
    labels = [r for r in labels if any(results.done.get((r, a)) for a in kept)]
    return Results(
        {label: results.rows[label] for label in labels},
        kept,
        baseline if baseline in kept else None,
        {k: v for k, v in results.done.items() if k[0] in labels and k[1] in kept},
        {k: v for k, v in results.failed.items() if k[0] in labels and k[1] in kept},
    )


def break_even(store: Store, results: Results, algorithm: str, rival: str) -> list[list[str]]:
    """Per problem: added CPU ms a generation, evaluations saved, break-even evaluation cost.

    Saved evaluations: how much earlier the algorithm's median IGD reaches the rival's final
    median. Break-even cost: added CPU seconds of a whole run divided by the evaluations saved;
    an evaluation that costs more than this makes the operator pay.
    """
    lines = []
    for label in results.rows:
        ours, theirs = results.done.get((label, algorithm)), results.done.get((label, rival))
        if not ours or not theirs:
            continue
        added = results.median(label, algorithm, "cpu_seconds") - results.median(
            label, rival, "cpu_seconds"
        )
        per_generation = 1000 * added / (N_EVAL / POP_SIZE)
        target = results.median(label, rival, "igd")
        grid = np.arange(POP_SIZE, N_EVAL + 1, POP_SIZE)
        curves = []
        for cell in ours:
            curve = store.arrays(cell.key, "curves")
            at = np.searchsorted(curve["n_eval"], grid, side="right") - 1
            curves.append(curve["igd"][np.maximum(at, 0)])
        reached = np.flatnonzero(np.median(curves, axis=0) <= target)
        if len(reached) == 0:
            lines.append([label, f"{per_generation:.1f}", "never", "-"])
            continue
        saved = N_EVAL - int(grid[reached[0]])
        cost = "0" if added <= 0 else f"{1000 * added / saved:.3f}" if saved else "-"
        lines.append([label, f"{per_generation:.1f}", str(saved), cost])
    return lines


def pages(store: Store, results: Results) -> list[str]:
    """The sections of `docs/results.md`."""
    sections = [INTRODUCTION]
    tables = [
        ("Methods", PARTS["main"][1], "nsga2"),
        (
            "Clipped to the box or reflected into it",
            ["nsga2-de", "nsga2-de-reflect", "moead-de-clip", "moead-de", "gmoea", "gmoea-reflect"],
            "",
        ),
        ("GMOEA: variants", ["gmoea", *PARTS["published"][1], "gmoea-as-coded"], "gmoea"),
        ("GMOEA: the network against its nulls", ["gmoea", *PARTS["gmoea"][1]], "gmoea"),
        (
            "Diffusion operator against its nulls",
            ["nsga2-ddpm", *PARTS["ddpm"][1]],
            "nsga2-ddpm",
        ),
        ("Other operators in NSGA-II", ["nsga2", *PARTS["others"][1]], "nsga2"),
    ]
    for title, algorithms, baseline in tables:
        for rows in ("original", "shifted"):
            part = select(results, rows, algorithms, baseline)
            if len(part.algorithms) < 2 or not part.rows:
                continue
            sections.append(f"## {title}: {rows} problems\n")
            indicators = ("igd", "igd_plus", "hv") if title == "Methods" else ("igd",)
            sections += [to_markdown(indicator_table(part, name)) for name in indicators]
    sections += ["## Cost\n", to_markdown(cost_table(results))]
    operators = ["gmoea", "nsga2-ddpm", "nsga2-gaussian", "nsga2-de", *PARTS["others"][1]]
    for algorithm in [a for a in operators if a in results.algorithms]:
        lines = break_even(store, results, algorithm, "nsga2")
        sections.append(
            f"## Break-even of {algorithm} against nsga2\n\n"
            "| problem | added CPU ms per generation | evaluations saved | "
            "break-even cost of an evaluation, ms |\n|---|---|---|---|"
            + "".join("\n| " + " | ".join(line) + " |" for line in lines)
            + "\n"
        )
    return sections


def draw(store: Store, results: Results, problem: str, out: Path) -> None:
    """Fronts of the median runs, and IGD over evaluations, of one problem."""
    label = next(r for r in results.rows if r.split()[0] == problem)
    row = results.rows[label]
    wanted = ["nsga2", "immoea", "gmoea-published", "gmoea", "nsga2-ddpm"]
    fronts, curves = {}, {}
    for algorithm in wanted:
        cells = results.done.get((label, algorithm), [])
        if not cells:
            continue
        median = sorted(cells, key=lambda c: np.inf if c.igd is None else c.igd)[len(cells) // 2]
        fronts[algorithm] = nondominated(store.arrays(median.key, "result")["F"], None)
        curves[algorithm] = common_grid([store.arrays(c.key, "curves") for c in cells], "igd")
    title = f"{problem}: run of median IGD, {N_EVAL} evaluations"
    save_figure(plot_fronts(fronts, row.front, title=title), out / f"fronts-{problem}.png")
    title = f"{problem}: median and quartiles of {SEEDS} runs"
    figure = plot_convergence(curves, title=title, floor=row.floor)
    save_figure(figure, out / f"convergence-{problem}.png")


def write_runs(results: Results, path: Path) -> None:
    """Every finished run, one line each."""
    names = ("igd", "igd_plus", "hv", "n_eval", "cpu_seconds")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["problem", "algorithm", "seed", *names])
        for (row, algorithm), cells in results.done.items():
            for cell in cells:
                values = [f"{getattr(cell, name):.6g}" for name in names]
                writer.writerow([row, algorithm, cell.seed, *values])


def report(store_path: Path) -> None:
    """Write `docs/results.md`, its figures, and every run as CSV."""
    figures = ROOT / "docs" / "figures"
    for folder in (RESULTS, figures):
        folder.mkdir(parents=True, exist_ok=True)
    with Store(store_path, must_exist=True) as store:
        results = summarize(store, baseline="nsga2")
        write_csv(results, RESULTS / "study.csv")
        write_runs(results, RESULTS / "study_runs.csv")
        (ROOT / "docs" / "results.md").write_text(
            "\n".join(pages(store, results)), encoding="utf-8"
        )
        for problem in ("imf1", "imf1-shifted", "imf4", "imf4-shifted"):
            draw(store, results, problem, figures)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("run", "report"))
    parser.add_argument("--store", type=Path, default=Path("study.db"))
    parser.add_argument("--part", choices=tuple(PARTS), action="append")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    if args.command == "run":
        run(args.store, args.part or ["main", "gmoea", "ddpm", "bounds", "others"], args.jobs)
    else:
        report(args.store)


if __name__ == "__main__":
    main()
