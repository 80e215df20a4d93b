"""The study behind `docs/results.md`: IMF1-10 and their shifted twins, equal evaluations.

    python benchmarks/study.py run --store study.db --jobs 2            # about 40 CPU minutes
    python benchmarks/study.py run --store study.db --part published    # hours: 26,000 small steps
    python benchmarks/study.py report --store study.db                  # writes benchmarks/results/

30 variables, population 100, 5,000 evaluations, 11 seeds. Interrupted, the same command goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from evogen.experiment import Campaign, Store
from evogen.experiment.summary import Results, summarize
from evogen.experiment.tables import cost_table, indicator_table, to_markdown, write_csv

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
    "published": (["imf", "imf-shifted"], ["gmoea-published"]),
}

RESULTS = Path(__file__).parent / "results"


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


def report(store_path: Path, out: Path) -> None:
    """Write tables (Markdown) and all cells (CSV) of the study."""
    out.mkdir(parents=True, exist_ok=True)
    sections: list[str] = []
    with Store(store_path, must_exist=True) as store:
        results = summarize(store, baseline="nsga2")
        write_csv(results, out / "study.csv")
        tables = [
            ("Methods", ["nsga2", *BASELINES[1:], "gmoea", "nsga2-ddpm"], "nsga2"),
            ("GMOEA: variants", ["gmoea", "gmoea-published", "gmoea-as-coded"], "gmoea"),
            ("GMOEA: the network against its nulls", ["gmoea", *PARTS["gmoea"][1]], "gmoea"),
            ("Diffusion operator against its nulls", ["nsga2-ddpm", *PARTS["ddpm"][1]],
             "nsga2-ddpm"),
        ]  # fmt: skip
        for title, algorithms, baseline in tables:
            for rows in ("original", "shifted"):
                part = select(results, rows, algorithms, baseline)
                if len(part.algorithms) < 2 or not part.rows:
                    continue
                sections.append(f"## {title}: {rows} problems\n")
                for indicator in ("igd", "igd_plus", "hv"):
                    sections.append(to_markdown(indicator_table(part, indicator)))
        sections.append("## Cost\n")
        sections.append(to_markdown(cost_table(results)))
        for algorithm in ("gmoea", "nsga2-ddpm"):
            sections.append(f"## Break-even of {algorithm} against nsga2\n")
            sections.append(
                "| problem | added CPU ms per generation | evaluations saved | "
                "break-even cost of an evaluation, ms |\n|---|---|---|---|"
            )
            rows_ = break_even(store, results, algorithm, "nsga2")
            sections[-1] += "".join("\n| " + " | ".join(line) + " |" for line in rows_) + "\n"
    (out / "study.md").write_text("\n".join(sections), encoding="utf-8")
    print(f"wrote {out / 'study.md'} and {out / 'study.csv'}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("run", "report"))
    parser.add_argument("--store", type=Path, default=Path("study.db"))
    parser.add_argument("--part", choices=tuple(PARTS), action="append")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    if args.command == "run":
        run(args.store, args.part or ["main", "gmoea", "ddpm"], args.jobs)
    else:
        report(args.store, args.out)


if __name__ == "__main__":
    main()
