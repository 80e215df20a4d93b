"""The study behind `docs/ace.md`: the default algorithm, its rivals and its nulls.

    python benchmarks/default_study.py run --store default.db --jobs 2    # about five CPU hours
    python benchmarks/default_study.py report --store default.db          # tables and figures

Parts (`--part`, several allowed): `imf` (IMF1-10 and shifted twins, 30 variables, 5,000
evaluations), `nulls` (ACE without one of its parts, there), `imf100` (originals with 100 variables,
10,000 evaluations), `suites` (ZDT, DTLZ, WFG, UF at 10,000 evaluations), `large` (LSMOP with 100
variables), `twins`, `twins-more` and `large-twins` (their shifted twins). Population 100, seeds 1
to 11. Interrupted, the same command goes on.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from study import RESULTS, ROOT, break_even, select

import evogen
from evogen.experiment import (
    Campaign,
    Results,
    Spec,
    Store,
    cost_table,
    indicator_table,
    nondominated,
    summarize,
    to_markdown,
)
from evogen.experiment.report import common_grid
from evogen.experiment.tables import number
from evogen.problems import get_problem
from evogen.visualization import plot_convergence, plot_fronts, plot_shares, save_figure

POP_SIZE, SEEDS = 100, 11

FIGURES = ROOT / "docs" / "figures"

INTRODUCTION = """# The default algorithm: all tables

Written by `python benchmarks/default_study.py report`, the runs by `... run`; population 100, seeds
1 to 11, twins with offset seed 1. `default_study_runs.csv` beside this page has every run. Marks:
Wilcoxon rank-sum against ACE, Holm-corrected over the table: + better than ACE, - worse, = no
significant difference. Problems whose runs are not complete are left out. CPU seconds were taken
while other work ran on the same two cores: compare them within a table only.
"""

IMF = ["imf", "imf-shifted"]
RIVALS = [
    "nsga2", "nsga2-de", "spea2", "moead-de", "smsemoa", "agemoea2", "immoea", "rmmeda", "gmoea",
    "rbf-nsga2",
]  # fmt: skip
NULLS: dict[str, dict[str, Any]] = {
    "ace": {},
    "ace-base": {"operators": ("sbx", "differential")},
    "ace-near": {"distance": 0.0},
    "ace-generations": {"batch_size": POP_SIZE},
}
SUITES = ["zdt1", "zdt2", "zdt3", "zdt4", "zdt6", "dtlz", "wfg", "uf"]
LARGE = ["lsmop"]


@dataclass(frozen=True)
class Part:
    """Problems x algorithms at one budget."""

    problems: list[str]
    algorithms: list[str]
    n_eval: int
    settings: dict[str, Any] = field(default_factory=dict)


PARTS = {
    "imf": Part(IMF, ["ace", *RIVALS], 5000, {"n_var": 30}),
    "nulls": Part(IMF, list(NULLS), 5000, {"n_var": 30}),
    "imf100": Part(["imf"], ["ace", "nsga2", "nsga2-de", "immoea"], 10_000, {"n_var": 100}),
    "suites": Part(SUITES, ["ace", "nsga2"], 10_000),
    "twins": Part([f"{name}-shifted" for name in SUITES[:6]], ["ace", "nsga2"], 10_000),
    "large": Part(LARGE, ["ace", "nsga2"], 10_000, {"n_var": 100}),
    "twins-more": Part([f"{name}-shifted" for name in SUITES[6:]], ["ace", "nsga2"], 10_000),
    "large-twins": Part([f"{name}-shifted" for name in LARGE], ["ace", "nsga2"], 10_000,
                        {"n_var": 100}),
}  # fmt: skip

SUITE_PARTS = ("suites", "large", "twins", "twins-more", "large-twins")


def campaign(part: Part, store: Path) -> Campaign:
    """The cells of a part; nulls that are settings of ACE get names of their own."""
    names = part.algorithms
    return Campaign(
        part.problems,
        [Spec(n, "ace", NULLS[n]) if n in NULLS else Spec(n, n) for n in names],
        seeds=SEEDS,
        n_eval=part.n_eval,
        pop_size=POP_SIZE,
        store=store,
        problem_settings=part.settings,
    )


def run(store: Path, parts: Sequence[str], jobs: int) -> None:
    """Run the cells of the parts that the store does not hold."""
    for name in parts:
        print(name, campaign(PARTS[name], store).run(jobs=jobs), flush=True)


def finished(store: Store, path: Path, name: str) -> Results:
    """The rows of a part that have all their seeds; compared with ACE."""
    part = PARTS[name]
    keys = {cell.key for cell in campaign(part, path).cells}
    try:
        results = summarize(store, baseline="ace", keys=keys)
    except ValueError:  # no cell of this part is finished
        return Results({}, part.algorithms, "ace")
    full = [
        row
        for row in results.rows
        if all(len(results.done.get((row, a), [])) == SEEDS for a in part.algorithms)
    ]
    return Results(
        {row: results.rows[row] for row in full},
        part.algorithms,
        "ace",
        {k: v for k, v in results.done.items() if k[0] in full},
        {k: v for k, v in results.failed.items() if k[0] in full},
    )


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text."""
    rule = "|---|" + "---:|" * (len(header) - 1)
    rows = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join(["| " + " | ".join(header) + " |", rule, *rows]) + "\n"


def against_the_best(results: Results) -> tuple[str, str]:
    """ACE beside the rival with the best median, per problem, and a sentence that counts."""
    compared = results.comparisons("igd")
    lines, marks, factors = [], [], []
    for label, row in results.rows.items():
        rivals = {a: results.median(label, a, "igd") for a in results.algorithms if a != "ace"}
        best = min(rivals, key=lambda a: rivals[a])
        ours = results.median(label, "ace", "igd")
        # The mark is the rival's: its minus is a win of ACE.
        mark = {"+": "-", "-": "+", "=": "="}[compared[label, best].mark]
        marks.append(mark)
        factors.append(rivals[best] / ours)
        floor = number(row.floor)
        lines.append(
            [label, floor, f"{number(ours)} {mark}", number(rivals[best]), best,
             f"{factors[-1]:.2f}"]
        )  # fmt: skip
    header = ["problem", "floor", "ACE", "best rival", "which", "rival / ACE"]
    sentence = (
        f"Against the best of {len(results.algorithms) - 1} rivals, chosen anew on each of "
        f"{len(lines)} problems (rank-sum, Holm over the table): better on {marks.count('+')}, "
        f"no significant difference on {marks.count('=')}, worse on {marks.count('-')}; "
        f"the median at least twice lower on {sum(f >= 2 for f in factors)}."
    )
    return markdown(header, lines), sentence


def beside_nsga2(parts: Sequence[Results]) -> tuple[str, str]:
    """ACE and NSGA-II on the suites, originals and twins, and a sentence that counts."""
    lines, marks = [], []
    for results in parts:
        for indicator in ("igd",):
            compared = results.comparisons(indicator)
            for label in results.rows:
                mark = {"+": "-", "-": "+", "=": "="}[compared[label, "nsga2"].mark]
                ours, theirs = (results.median(label, a, indicator) for a in ("ace", "nsga2"))
                marks.append(mark)
                lines.append(
                    [label, f"{number(ours)} {mark}", number(theirs), f"{theirs / ours:.2f}"]
                )
    sentence = (
        f"Of {len(lines)} problems: better than NSGA-II on {marks.count('+')}, no significant "
        f"difference on {marks.count('=')}, worse on {marks.count('-')}."
    )
    return markdown(["problem", "ACE", "NSGA-II", "NSGA-II / ACE"], lines), sentence


def tables(results: Results, title: str) -> list[str]:
    """All indicators of a part, originals and twins apart."""
    sections = [f"## {title}\n"]
    for rows in ("original", "shifted"):
        part = select(results, rows, results.algorithms, "ace")
        if part.rows:
            names = ("igd", "igd_plus", "hv")
            sections += [f"### {rows}\n", *(to_markdown(indicator_table(part, n)) for n in names)]
    return sections


def draw(store: Store, results: Results, problem: str) -> None:
    """IGD over evaluations, and the fronts of the median runs, of one problem."""
    row = results.rows[problem]
    fronts, curves = {}, {}
    for algorithm in ("nsga2", "immoea", "gmoea", "rbf-nsga2", "ace"):
        cells = results.done[problem, algorithm]
        median = sorted(cells, key=lambda c: np.inf if c.igd is None else c.igd)[len(cells) // 2]
        fronts[algorithm] = nondominated(store.arrays(median.key, "result")["F"], None)
        curves[algorithm] = common_grid([store.arrays(c.key, "curves") for c in cells], "igd")
    title = f"{problem}: median and quartiles of {SEEDS} runs"
    figure = plot_convergence(curves, title=title, floor=row.floor)
    save_figure(figure, FIGURES / f"ace-convergence-{problem}.png")
    title = f"{problem}: run of median IGD, {row.budget} evaluations"
    save_figure(plot_fronts(fronts, row.front, title=title), FIGURES / f"ace-fronts-{problem}.png")


def draw_shares(problem: str) -> None:
    """Who made the offspring in one run."""
    settings = {"n_var": 30} if problem.startswith("imf") else {}
    res = evogen.minimize(get_problem(problem, **settings), "ace", ("n_eval", 5000), seed=1)
    log = res.algorithm.log
    names = [k.removeprefix("share_") for k in log[0] if k.startswith("share_")]
    shares = np.array([[e[f"n_{name}"] for name in names] for e in log], dtype=float)
    # Batches are small: means over ten of them.
    blocks = len(shares) // 10
    smooth = shares[: blocks * 10].reshape(blocks, 10, -1).sum(axis=1)
    time = np.array([e["n_eval"] for e in log[: blocks * 10 : 10]])
    figure = plot_shares(time, smooth, names, title=f"{problem}: who made the offspring")
    save_figure(figure, FIGURES / f"ace-shares-{problem}.png")


def write_runs(parts: Mapping[str, Results], path: Path) -> None:
    """Every run of the complete rows, one line each."""
    names = ("igd", "igd_plus", "hv", "n_eval", "cpu_seconds")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["part", "problem", "algorithm", "seed", *names])
        for part, results in parts.items():
            for (row, algorithm), cells in results.done.items():
                for cell in cells:
                    values = [getattr(cell, name) for name in names]
                    text = ["" if v is None else f"{v:.6g}" for v in values]
                    writer.writerow([part, row, algorithm, cell.seed, *text])


def fill(page: Path, name: str, text: str) -> None:
    """Put a text between the marks of that name on a page."""
    start, end = (
        f"<!-- {name}: written by benchmarks/default_study.py -->",
        f"<!-- end of {name} -->",
    )
    content = page.read_text(encoding="utf-8")
    before, rest = content.split(start)
    after = rest.split(end)[1]
    page.write_text(f"{before}{start}\n\n{text}\n\n{end}{after}", encoding="utf-8")


def report(path: Path) -> None:
    """Write all tables, the summary in `docs/ace.md` and the README, figures, every run as CSV."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    with Store(path, must_exist=True) as store:
        parts = {name: finished(store, path, name) for name in PARTS}
        sections = [INTRODUCTION]
        for name, results in parts.items():
            if results.rows:
                sections += tables(results, f"{name}: {PARTS[name].n_eval} evaluations")
                sections += [to_markdown(cost_table(results))]
        imf = parts["imf"]
        for rival in ("nsga2", "rbf-nsga2"):
            sections.append(f"## Break-even of ACE against {rival}, IMF at 30 variables\n")
            header = ["problem", "added CPU ms per 100 evaluations", "evaluations saved",
                      "break-even cost of an evaluation, ms"]  # fmt: skip
            sections.append(markdown(header, break_even(store, imf, "ace", rival)))
        target = RESULTS / "default_study.md"
        target.write_text("\n".join(sections), encoding="utf-8")
        page = ROOT / "docs" / "ace.md"
        table, sentence = against_the_best(imf)
        plain = [a for a in imf.algorithms if a != "rbf-nsga2"]
        without = Results(imf.rows, plain, "ace", imf.done, imf.failed)
        counted = against_the_best(without)[1].replace("Against", "against", 1)
        sentence += f" Without the surrogate-assisted `rbf-nsga2`, {counted}"
        for place in (page, ROOT / "README.md"):
            fill(place, "imf", f"{sentence}\n\n{table}".rstrip())
        suites = [parts[name] for name in SUITE_PARTS if parts[name].rows]
        table, sentence = beside_nsga2(suites)
        fill(page, "suites", f"{sentence}\n\n{table}".rstrip())
        nulls = select(parts["nulls"], "original", list(NULLS), "ace")
        twins = select(parts["nulls"], "shifted", list(NULLS), "ace")
        both = [to_markdown(indicator_table(part, "igd")) for part in (nulls, twins) if part.rows]
        fill(page, "nulls", "\n".join(both).rstrip())
        for problem in ("imf1", "imf2", "imf4-shifted"):
            draw(store, imf, problem)
        write_runs(parts, RESULTS / "default_study_runs.csv")
    for problem in ("imf1-shifted", "zdt4"):
        draw_shares(problem)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("run", "report"))
    parser.add_argument("--store", type=Path, default=Path("default.db"))
    parser.add_argument("--part", choices=tuple(PARTS), action="append")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    if args.command == "run":
        run(args.store, args.part or list(PARTS), args.jobs)
    else:
        report(args.store)


if __name__ == "__main__":
    main()
