"""The study behind `docs/ace.md`: the default algorithm, its rivals and its nulls.

    python benchmarks/default_study.py run --store default.db --jobs 2    # about eight CPU hours
    python benchmarks/default_study.py run --store default.db --part imf --only ace
    python benchmarks/default_study.py report --store default.db          # tables and figures
    python benchmarks/default_study.py report --store default.db --part twins --part large

The last one writes the tables and runs of these parts only, to `results/default_study_<name>.md`
and `_runs.csv` (`--name`, by default the parts' names joined by `-`). Of other pages it touches
nothing but the passages on these parts in `docs/ace.md` (`PASSAGES`).

With `--only`, algorithms that have not changed need not run again: for rivals that the store lacks,
the report takes the runs recorded in `results/`, without their CPU seconds.

Parts (`--part`, several allowed): `imf` (IMF1-10 and shifted twins, 30 variables, 5,000
evaluations), `nulls` (ACE without one of its parts, there; `nulls-model` without its local inverse
model, `nulls-model-mean` with local means in its place, `nulls-model-suites` without it on ZDT,
DTLZ, WFG, UF and twins, `nulls-model-large` on LSMOP; `nulls-metric` without the critic's second
metric, `nulls-aims` without directions that arrive early, three objectives), `proposers`
(generative models that propose to ACE's critic in the place of that one, and their nulls, on two of
the problems), `proposers-gaussian` (the Gaussian on all of them), `imf100` (originals with 100
variables, 10,000 evaluations), `suites` (ZDT, DTLZ, WFG, UF at 10,000 evaluations), `large` (LSMOP
with 100 variables), `twins`, `twins-more` and `large-twins` (their shifted twins). Population 100,
seeds 1 to 11. Interrupted, the same command goes on.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from common import (
    FIGURES,
    RESULTS,
    ROOT,
    best_rival,
    command_line,
    counted,
    draw,
    fill,
    markdown,
    our_mark,
    restricted,
    select,
    write_runs,
)
from study import break_even

import evogen
from evogen.experiment import (
    Campaign,
    Results,
    Spec,
    Store,
    cost_table,
    indicator_table,
    summarize,
    to_markdown,
)
from evogen.experiment.tables import number
from evogen.problems import get_problem
from evogen.visualization import plot_shares, save_figure

POP_SIZE, SEEDS = 100, 11
PAGE = ROOT / "docs" / "ace.md"

INTRODUCTION = """# The default algorithm: all tables

Written by `python benchmarks/default_study.py {how}`, the runs by `... run`; population 100, seeds
1 to 11, twins with offset seed 1. `{runs}` beside this page has every run. Marks:
exact Wilcoxon rank-sum against ACE, Holm-corrected over the table: + better than ACE, - worse, = no
significant difference. Problems whose runs are not complete are left out. CPU seconds were taken
while other work ran on the same two cores: compare them within a table only. Rivals without CPU
seconds were not run again when ACE changed; their runs are those recorded before. ACE's earlier
versions have pages of their own: the [first](default_study_first.md), the
[second](default_study_second.md).
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
    "ace-far": {"near": 0.0},
    "ace-unbent": {"bend": False},
    "ace-plain": {"stretch": False, "bend": False},
}
PROPOSERS = [
    f"ace-{model}"
    for model in ("gaussian", "denoise", "gan", "ddpm", "ddpm-untrained", "copy", "uniform")
]
SUITES = ["zdt1", "zdt2", "zdt3", "zdt4", "zdt6", "dtlz", "wfg", "uf"]
LARGE = ["lsmop"]
TWINS = [f"{name}-shifted" for name in SUITES[:6]]


@dataclass(frozen=True)
class Part:
    """Problems x algorithms at one budget."""

    problems: list[str]
    algorithms: list[str]
    n_eval: int
    settings: dict[str, Any] = field(default_factory=dict)


PARTS = {
    "imf": Part(IMF, ["ace", *RIVALS], 5000, {"n_var": 30}),
    "nulls": Part(IMF, ["ace", "ace-base", "ace-near", "ace-generations"], 5000, {"n_var": 30}),
    "nulls-model": Part(IMF, ["ace", "ace-differential"], 5000, {"n_var": 30}),
    "nulls-model-mean": Part(IMF, ["ace", "ace-local-mean"], 5000, {"n_var": 30}),
    "nulls-model-suites": Part([*SUITES, *TWINS], ["ace", "ace-differential"], 10_000),
    "nulls-model-large": Part(LARGE, ["ace", "ace-differential"], 10_000, {"n_var": 100}),
    "nulls-metric": Part(IMF, ["ace", "ace-unbent", "ace-plain"], 5000, {"n_var": 30}),
    "nulls-warp-suites": Part([*SUITES, *TWINS], ["ace", "ace-unbent"], 10_000),
    "nulls-aims": Part(["imf4", "imf8", "imf4-shifted", "imf8-shifted"], ["ace", "ace-far"], 5000,
                       {"n_var": 30}),
    "proposers": Part(["imf8", "imf1-shifted"], ["ace", "ace-differential", *PROPOSERS], 5000,
                      {"n_var": 30}),
    "proposers-gaussian": Part(IMF, ["ace", "ace-differential", "ace-gaussian"], 5000,
                               {"n_var": 30}),
    "imf100": Part(["imf"], ["ace", "nsga2", "nsga2-de", "immoea"], 10_000, {"n_var": 100}),
    "suites": Part(SUITES, ["ace", "nsga2"], 10_000),
    "twins": Part(TWINS, ["ace", "nsga2"], 10_000),
    "large": Part(LARGE, ["ace", "nsga2"], 10_000, {"n_var": 100}),
    "twins-more": Part([f"{name}-shifted" for name in SUITES[6:]], ["ace", "nsga2"], 10_000),
    "large-twins": Part([f"{name}-shifted" for name in LARGE], ["ace", "nsga2"], 10_000,
                        {"n_var": 100}),
}  # fmt: skip

DRAWN = ["nsga2", "immoea", "gmoea", "rbf-nsga2", "ace"]

#: Parts beside NSGA-II with a passage between marks in `docs/ace.md`, and whether it has the table.
PASSAGES = {"suites": True, "twins": False, "large": True}


def campaign(part: Part, store: Path, only: Sequence[str] = ()) -> Campaign:
    """The cells of a part; nulls that are settings of ACE get names of their own.

    Args:
        part: Problems, algorithms, budget.
        store: Where the cells are kept.
        only: Of these algorithms only; all of them if empty.
    """
    names = [name for name in part.algorithms if not only or name in only]
    return Campaign(
        part.problems,
        [Spec(n, "ace", NULLS[n]) if n in NULLS else Spec(n, n) for n in names],
        seeds=SEEDS,
        n_eval=part.n_eval,
        pop_size=POP_SIZE,
        store=store,
        problem_settings=part.settings,
    )


def run(store: Path, parts: Sequence[str], only: Sequence[str], jobs: int) -> None:
    """Run the cells of the parts that the store does not hold."""
    for name in parts:
        if not only or set(only) & set(PARTS[name].algorithms):
            print(name, campaign(PARTS[name], store, only).run(jobs=jobs), flush=True)


def recorded(name: str) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Runs of rivals in the files of earlier reports on a part, by row and algorithm.

    Settings of ACE are left out: it changes, its rivals do not.
    """
    numbers = ("igd", "igd_plus", "hv", "n_eval")
    runs: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}
    for path in sorted(RESULTS.glob("default_study*_runs.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            for line in csv.DictReader(file):
                if line["part"] == name and not line["algorithm"].startswith("ace"):
                    seed = int(line["seed"])
                    values = {n: float(line[n]) if line[n] else None for n in numbers}
                    of_row = runs.setdefault((line["problem"], line["algorithm"]), {})
                    of_row[seed] = {"seed": seed, **values}
    return {key: [of_row[seed] for seed in sorted(of_row)] for key, of_row in runs.items()}


def finished(store: Store, path: Path, name: str) -> Results:
    """The rows of a part that have all their seeds, and algorithms with such rows, beside ACE."""
    part = PARTS[name]
    keys = {cell.key for cell in campaign(part, path).cells}
    try:
        results = summarize(store, baseline="ace", keys=keys)
    except ValueError:  # no cell of this part is finished
        return Results({}, part.algorithms, "ace")
    done = results.done
    for (row, algorithm), runs in recorded(name).items():
        if (row, "ace") in done and len(done.get((row, algorithm), [])) < SEEDS:
            like = replace(done[row, "ace"][0], key="", algorithm=algorithm, n_nonfinite=None)
            like = replace(like, cpu_seconds=None, wall_seconds=None)
            done[row, algorithm] = [replace(like, **run) for run in runs]

    def whole(row: str, algorithm: str) -> bool:
        return len(done.get((row, algorithm), [])) == SEEDS

    rivals = [a for a in part.algorithms[1:] if any(whole(row, a) for row in results.rows)]
    if not rivals:  # nothing to compare with yet
        return Results({}, part.algorithms, "ace")
    known = ["ace", *rivals]
    rows = [row for row in results.rows if all(whole(row, a) for a in known)]
    return restricted(results, rows, known, "ace")


def against_the_best(results: Results) -> tuple[str, str]:
    """ACE beside the rival with the best median, per problem, and a sentence that counts."""
    lines, marks, factors = [], [], []
    for label, row in results.rows.items():
        best = best_rival(results, label)
        ours, theirs = (results.median(label, a, "igd") for a in ("ace", best))
        marks.append(our_mark(results, label, best))
        factors.append(theirs / ours)
        lines.append(
            [label, number(row.floor), f"{number(ours)} {marks[-1]}", number(theirs), best,
             f"{factors[-1]:.2f}"]
        )  # fmt: skip
    header = ["problem", "floor", "ACE", "best rival", "which", "rival / ACE"]
    sentence = (
        f"Against the best of {len(results.algorithms) - 1} rivals, chosen anew on each of "
        f"{len(lines)} problems (rank-sum, Holm over the table): {counted(marks)}; "
        f"the median at least twice lower on {sum(f >= 2 for f in factors)}."
    )
    return markdown(header, lines), sentence


def beside_nsga2(results: Results) -> tuple[str, str]:
    """ACE and NSGA-II: a table, and sentences that count, name what is lost and tell the cost."""
    lines, marks = [], []
    for label, row in results.rows.items():
        ours, theirs = (results.median(label, a, "igd") for a in ("ace", "nsga2"))
        marks.append(our_mark(results, label, "nsga2"))
        lines.append(
            [label, number(row.floor), f"{number(ours)} {marks[-1]}", number(theirs),
             f"{theirs / ours:.2f}"]
        )  # fmt: skip
    told = f"Of {len(lines)} problems: {counted(marks, than=' than NSGA-II')}."
    lost = [label for label, mark in zip(results.rows, marks, strict=True) if mark == "-"]
    if lost:
        told += f" Worse: {', '.join(lost)}."
    seconds = {
        a: np.concatenate([results.values(r, a, "cpu_seconds") for r in results.rows])
        for a in ("ace", "nsga2")
    }
    cost = {a: float(np.median(of)) if len(of) else 0.0 for a, of in seconds.items()}
    told += f" CPU seconds a run (median): ACE {number(cost['ace'])}"
    told += f", NSGA-II {number(cost['nsga2'])}." if cost["nsga2"] else "."
    return markdown(["problem", "floor", "ACE", "NSGA-II", "NSGA-II / ACE"], lines), told


def without_the_model(results: Results) -> str:
    """A sentence that counts ACE against itself without its local inverse model."""
    null = "ace-differential"
    marks = {label: our_mark(results, label, null) for label in results.rows}
    told = f"Of {len(marks)} problems: {counted(list(marks.values()), than=f' than `{null}`')}"
    for mark, word in (("+", "better"), ("-", "worse")):
        if names := [label for label, of in marks.items() if of == mark]:
            told += f"; {word}: {', '.join(names)}"
    lower = sum(
        results.median(label, "ace", "igd") < results.median(label, null, "igd") for label in marks
    )
    return f"{told}. The median is lower on {lower}."


def tables(results: Results, title: str) -> list[str]:
    """All indicators of a part, originals and twins apart."""
    sections = [f"## {title}\n"]
    for rows in ("original", "shifted"):
        part = select(results, rows, results.algorithms, "ace")
        if part.rows:
            names = ("igd", "igd_plus", "hv")
            sections += [f"### {rows}\n", *(to_markdown(indicator_table(part, n)) for n in names)]
    return sections


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


def write_tables(store: Store, parts: Mapping[str, Results], name: str, how: str) -> None:
    """All tables of the parts as one page of that name, and their runs as CSV beside it."""
    runs = f"{name}_runs.csv"
    sections = [INTRODUCTION.format(how=how, runs=runs)]
    for part, results in parts.items():
        if results.rows:
            sections += tables(results, f"{part}: {PARTS[part].n_eval} evaluations")
            sections += [to_markdown(cost_table(results))]
    for rival in ("nsga2", "rbf-nsga2") if "imf" in parts else ():
        if not all(len(parts["imf"].values(r, rival, "cpu_seconds")) for r in parts["imf"].rows):
            continue  # recorded runs have no seconds that could be compared
        sections.append(f"## Break-even of ACE against {rival}, IMF at 30 variables\n")
        header = ["problem", "added CPU ms per 100 evaluations", "evaluations saved",
                  "break-even cost of an evaluation, ms"]  # fmt: skip
        sections.append(markdown(header, break_even(store, parts["imf"], "ace", rival)))
    (RESULTS / f"{name}.md").write_text("\n".join(sections), encoding="utf-8")
    path = RESULTS / runs
    before = path.read_text(encoding="utf-8").splitlines()[1:] if path.exists() else []
    write_runs(parts, path)
    # Recorded runs of rivals are never lost to a report that does not show them.
    shown = {tuple(line.split(",")[:4]) for line in path.read_text(encoding="utf-8").splitlines()}
    kept = [
        line
        for line in before
        if tuple(line.split(",")[:4]) not in shown and not line.split(",")[2].startswith("ace")
    ]
    with path.open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in kept)


def fill_passages(parts: Mapping[str, Results]) -> None:
    """Write the passages in `docs/ace.md` on those of these parts that have one, and runs."""
    for name, with_table in PASSAGES.items():
        if name in parts and parts[name].rows:
            table, sentences = beside_nsga2(parts[name])
            text = f"{sentences}\n\n{table}".rstrip() if with_table else sentences
            fill(PAGE, name, text, __file__)


def fill_pages(parts: Mapping[str, Results]) -> None:
    """Write the summaries in `docs/ace.md` and the README; needs all parts."""
    imf = parts["imf"]
    table, sentence = against_the_best(imf)
    plain = [a for a in imf.algorithms if a != "rbf-nsga2"]
    without = restricted(imf, imf.rows, plain, "ace")
    told = against_the_best(without)[1].replace("Against", "against", 1)
    sentence += f" Without the surrogate-assisted `rbf-nsga2`, {told}"
    for place in (PAGE, ROOT / "README.md"):
        fill(place, "imf", f"{sentence}\n\n{table}".rstrip(), __file__)
    for name in ("nulls-model-suites", "nulls-model-large"):
        if parts[name].rows:
            fill(PAGE, name, without_the_model(parts[name]), __file__)
    nulls = ("nulls", "nulls-model", "nulls-model-mean", "nulls-aims", "nulls-metric")
    for name in (*nulls, "proposers", "proposers-gaussian"):
        known = parts[name].algorithms
        halves = [select(parts[name], rows, known, "ace") for rows in ("original", "shifted")]
        both = [to_markdown(indicator_table(half, "igd")) for half in halves if half.rows]
        if both:
            fill(PAGE, name, "\n".join(both).rstrip(), __file__)


def report(path: Path) -> None:
    """Write all tables, the summary in `docs/ace.md` and the README, figures, every run as CSV."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    with Store(path, must_exist=True) as store:
        parts = {name: finished(store, path, name) for name in PARTS}
        write_tables(store, parts, "default_study", "report")
        fill_pages(parts)
        fill_passages(parts)
        for problem in ("imf1", "imf2", "imf4-shifted"):
            done = parts["imf"].done
            kept = [a for a in DRAWN if all(cell.key for cell in done.get((problem, a), []))]
            draw(store, parts["imf"], problem, kept, SEEDS, prefix="ace-")
    for problem in ("imf1-shifted", "zdt4"):
        draw_shares(problem)


def report_parts(path: Path, names: Sequence[str], suffix: str) -> None:
    """Write the tables and runs of these parts only, `default_study_<suffix>.md` and `.csv`."""
    with Store(path, must_exist=True) as store:
        parts = {name: finished(store, path, name) for name in names}
        how = " ".join(["report", *(f"--part {name}" for name in names)])
        write_tables(store, parts, f"default_study_{suffix}", how)
        fill_passages(parts)


def main() -> None:
    """Command line."""
    parser = command_line(__doc__, PARTS, store="default.db")
    algorithms = sorted({name for part in PARTS.values() for name in part.algorithms})
    parser.add_argument(
        "--only", action="append", choices=algorithms, help="run: this algorithm only (repeat)"
    )
    parser.add_argument("--name", help="report: what follows default_study_ in the files' names")
    args = parser.parse_args()
    if args.command == "run":
        run(args.store, args.part or list(PARTS), args.only or (), args.jobs)
    elif args.part or args.name:
        names = args.part or list(PARTS)
        report_parts(args.store, names, args.name or "-".join(names))
    else:
        report(args.store)


if __name__ == "__main__":
    main()
