"""The study behind `docs/results.md`: IMF1-10 and their shifted twins, equal evaluations.

    python benchmarks/study.py run --store study.db --jobs 2            # about 40 CPU minutes
    python benchmarks/study.py run --store study.db --part published    # hours: 26,000 small steps
    python benchmarks/study.py report --store study.db                  # tables, figures

30 variables, population 100, 5,000 evaluations, 11 seeds. Interrupted, the same command goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from common import FIGURES, RESULTS, ROOT, command_line, draw, select, write_runs

from evogen.experiment import (
    Campaign,
    Results,
    Store,
    cost_table,
    indicator_table,
    summarize,
    to_markdown,
    write_csv,
)

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

DRAWN = ["nsga2", "immoea", "gmoea-published", "gmoea", "nsga2-ddpm"]

INTRODUCTION = """# Results

Written by `python benchmarks/study.py report`, the runs by `python benchmarks/study.py run`:
IMF1-10 and their shifted twins (offset seed 1), 30 variables, population 100, 5,000 evaluations,
seeds 1 to 11. [`study.csv`](../benchmarks/results/study.csv) has quartiles and p-values,
[`study_runs.csv`](../benchmarks/results/study_runs.csv) every run. Marks: exact Wilcoxon rank-sum
against the first column, Holm-corrected over the table. The IMF problems keep one end of
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


def report(store_path: Path) -> None:
    """Write `docs/results.md`, its figures, and every run as CSV."""
    for folder in (RESULTS, FIGURES):
        folder.mkdir(parents=True, exist_ok=True)
    with Store(store_path, must_exist=True) as store:
        results = summarize(store, baseline="nsga2")
        write_csv(results, RESULTS / "study.csv")
        write_runs(results, RESULTS / "study_runs.csv")
        (ROOT / "docs" / "results.md").write_text(
            "\n".join(pages(store, results)), encoding="utf-8"
        )
        for problem in ("imf1", "imf1-shifted", "imf4", "imf4-shifted"):
            draw(store, results, problem, DRAWN, SEEDS)


def main() -> None:
    """Command line."""
    args = command_line(__doc__, PARTS, store="study.db").parse_args()
    if args.command == "run":
        run(args.store, args.part or ["main", "gmoea", "ddpm", "bounds", "others"], args.jobs)
    else:
        report(args.store)


if __name__ == "__main__":
    main()
