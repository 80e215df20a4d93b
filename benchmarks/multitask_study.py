"""The study behind `docs/multitask.md`: transfer between tasks, its rivals and its nulls.

    python benchmarks/multitask_study.py run --store multitask.db --jobs 2    # about 3 CPU hours
    python benchmarks/multitask_study.py report --store multitask.db

CEC17-MTMO and its shifted twins, population 100 for each task, 200,000 evaluations of both tasks
together, seeds 1 to 11. The matrices of CIMS, PIMS and NIMS are the competition's if `ddmtolab` is
installed (`pip install --no-deps ddmtolab`) or `--data FOLDER` is given, otherwise our own
(`--seeded`), and the tables say so. The first task of CIMS is in MToP's reading.

Parts (`--part`, several allowed): `main` (PACT, the published methods, single-task NSGA-II, and
what is left of EMT-GS when its GAN is replaced); with 50,000 evaluations `gan` (EMT-GS itself),
`model` (PACT with a generative model as one more transfer, and its null) and `unrelated` (pairs of
tasks that have nothing in common). PACT was built on the suite with seed 1, and its `power` chosen
on these pairs and on the suite with seeds 101 to 110; nothing was ever tried on the problems of two
more parts: `held-out` (CEC19-CPLX and its twins) and `unrelated-new` (other pairs). Interrupted,
the same command goes on. The report takes the seeds that all algorithms of a part have finished.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
    draw_convergence,
    fill,
    markdown,
    our_mark,
    select,
    write_runs,
)
from unrelated_tasks import NEW_PAIRS, PAIRS, pair

import evogen
from evogen.algorithms import PACT
from evogen.experiment import (
    Campaign,
    Results,
    Spec,
    Store,
    compare,
    cost_table,
    indicator_table,
    summarize,
    to_markdown,
    whole_seeds,
)
from evogen.experiment.tables import number
from evogen.problems import get_problem, list_problems
from evogen.visualization import plot_transfer, save_figure

POP_SIZE, SEEDS = 100, 11
N_EVAL, SHORT = 200_000, 50_000
SUITE, HELD_OUT = "cec17-mtmo", "cec19-cplx"

PUBLISHED = ["nsga2", "momfea", "momfea2", "emtet", "emtpd"]
NULLS = ["ide", "ide-copy", "ide-half"]
DRAWN = ["nsga2", "momfea", "emtet", "ide-copy", "pact"]


@dataclass(frozen=True)
class Part:
    """Algorithms on some problems; what is told about them.

    The problems are a suite and its twins, or pairs of tasks.
    """

    algorithms: list[str]
    title: str
    n_eval: int = N_EVAL
    suite: str = SUITE
    pairs: Sequence[tuple[str, str]] = ()

    def problems(self, data: str | None, seeded: bool) -> list[Spec]:
        """What is solved."""
        if self.pairs:
            return [Spec(f"{a}+{b}", pair, {"first": a, "second": b}) for a, b in self.pairs]
        suite = f"{self.suite}-seeded" if seeded and self.suite == SUITE else self.suite
        specs = []
        for twin in ("", "-shifted"):
            for problem in list_problems(suite + twin):
                rotated = problem.removesuffix("-shifted") in ("cims", "pims", "nims")
                specs.append(Spec(problem, problem, {"data": data} if data and rotated else {}))
        return specs


PARTS = {
    "main": Part(["pact", "pact-alone", *PUBLISHED, *NULLS], "PACT, published methods, nulls"),
    "gan": Part(["pact", "emtgs", "ide", "ide-copy", "ide-half"], "EMT-GS and its nulls", SHORT),
    "model": Part(["pact", "pact-model", "pact-model-copy"], "A generative model in PACT", SHORT),
    "unrelated": Part(
        ["pact", "pact-alone", "momfea", "nsga2"],
        "Tasks with nothing in common",
        SHORT,
        pairs=PAIRS,
    ),
    "unrelated-new": Part(
        ["pact", "pact-alone", "momfea", "nsga2"],
        "Other tasks with nothing in common",
        SHORT,
        pairs=NEW_PAIRS,
    ),
    "held-out": Part(
        ["pact", "pact-alone", *PUBLISHED, "ide-copy"],
        "A suite that PACT was not built on",
        SHORT,
        suite=HELD_OUT,
    ),
}

LEARNED = {"gan": "emtgs", "model": "pact-model"}
"""In parts about a learned transfer, the algorithm that has it; the others are its nulls."""

INTRODUCTION = """# Several tasks at once: all tables

Written by `python benchmarks/multitask_study.py report`, the runs by `... run`; CEC17-MTMO (twins:
all tasks moved by 0.2 of the box), population 100 for each task, {n_eval} evaluations of both tasks
together, matrices of CIMS, PIMS and NIMS: {matrices}; CIMS T1 in MToP's reading.
`multitask_runs.csv` beside this page has every run. Marks: Wilcoxon rank-sum against PACT,
Holm-corrected over the table: + better than PACT, - worse, = no significant difference. CPU seconds
were taken while other work ran on the same two cores, and are per task: half of the run's.
"""


def campaign(
    name: str, store: Path, data: str | None, seeded: bool, seeds: int = SEEDS
) -> Campaign:
    """The cells of a part."""
    part = PARTS[name]
    return Campaign(
        part.problems(data, seeded),
        part.algorithms,
        seeds=seeds,
        n_eval=part.n_eval,
        pop_size=POP_SIZE,
        store=store,
    )


def finished(store: Store, name: str, made: Campaign) -> tuple[Results, int]:
    """The rows of a part with the seeds that all its cells have, and how many these are."""
    keys, n_seeds = whole_seeds(store, made.cells)
    if not keys:
        return Results({}, PARTS[name].algorithms, "pact"), 0
    return summarize(store, baseline="pact", keys=keys), n_seeds


def against_the_best(half: Results) -> str:
    """How PACT compares with the best of all others, task by task."""
    marks = [our_mark(half, label, best_rival(half, label)) for label in half.rows]
    return (
        f"Against the best of {len(half.algorithms) - 1} others, chosen anew on each of "
        f"{len(marks)} tasks: {counted(marks)}."
    )


def against_each(half: Results) -> str:
    """How PACT compares with every algorithm, as a list."""
    lines = []
    for rival in half.algorithms:
        if rival != "pact":
            marks = [our_mark(half, label, rival) for label in half.rows]
            lines.append(
                f"- `{rival}`: PACT better on {marks.count('+')}, no difference on "
                f"{marks.count('=')}, worse on {marks.count('-')}."
            )
    return "\n".join(lines)


def halves(results: Results) -> dict[str, Results]:
    """Originals and twins, by title."""
    made = {}
    for rows, title in (("original", "Originals"), ("shifted", "Shifted twins")):
        part = select(results, rows, results.algorithms, "pact")
        if part.rows:
            made["Pairs" if any("+" in label for label in part.rows) else title] = part
    return made


def sections(parts: dict[str, Results]) -> list[str]:
    """Counts and all indicators of the halves of a part."""
    text = []
    for title, half in parts.items():
        text += [f"### {title}\n", f"{against_the_best(half)}\n\n{against_each(half)}\n"]
        text += [to_markdown(indicator_table(half, name)) for name in ("igd", "igd_plus", "hv")]
    return text


def draw(
    store: Store, results: Results, problem: str, algorithms: Sequence[str], n_seeds: int
) -> None:
    """IGD of every task over evaluations."""
    for label in results.rows:
        if label.split()[0] == problem:
            title = f"{label}: median and quartiles of {n_seeds} runs"
            path = FIGURES / f"multitask-{label.replace(' ', '-').lower()}.png"
            draw_convergence(store, results, label, algorithms, title=title, path=path)


def draw_transfer(problem: str, settings: dict[str, Any]) -> None:
    """What PACT transferred in one run."""
    tasks = get_problem(problem, **settings)
    algorithm = PACT(POP_SIZE)
    evogen.minimize_multitask(
        tasks, algorithm, ("n_eval", N_EVAL // 4), seed=1, copy_algorithm=False
    )
    log = algorithm.log
    shares = np.array([entry["shares"] for entry in log])
    figure = plot_transfer(
        np.array([entry["n_gen"] for entry in log]) * POP_SIZE,
        shares,
        algorithm.names,
        [task.name() for task in tasks.tasks],
        title=f"{problem}: who made the offspring of each task",
    )
    save_figure(figure, FIGURES / f"multitask-shares-{problem}.png")


def summary(parts: dict[str, Results], n_seeds: int) -> str:
    """For the page: medians of the halves of a part, and the counts."""
    text = []
    for title, half in parts.items():
        shown = ["pact", *(a for a in half.algorithms if a != "pact")]
        compared = half.comparisons("igd")
        lines = []
        for label, row in half.rows.items():
            best = half.best(label, "igd")
            cells = []
            for a in shown:
                value = number(half.median(label, a, "igd"))
                value = f"**{value}**" if a in best else value
                cells.append(value if a == "pact" else f"{value} {compared[label, a].mark}")
            lines.append([label, number(row.floor), *cells])
        text += [
            f"**{title}**, median IGD of {n_seeds} runs:",
            markdown(["task", "floor", *shown], lines).rstrip(),
            against_the_best(half),
            against_each(half) + "\n",
        ]
    return "\n\n".join(text).rstrip()


def price(store: Store, results: Results, spared: float = 0.05) -> str:
    """What transfer of no use costs: PACT against itself without any, given fewer evaluations."""
    samples: dict[tuple[str, str], list[float]] = {}
    for (row, algorithm), cells in results.done.items():
        if algorithm not in ("pact", "pact-alone"):
            continue
        found = []
        for cell in cells:
            curves = store.arrays(cell.key, "curves")
            most = curves["n_eval"][-1] * (1 - spared if algorithm == "pact-alone" else 1)
            found.append(float(curves["igd"][np.searchsorted(curves["n_eval"], most, "right") - 1]))
        samples[row, algorithm] = found
    marks = [c.mark for c in compare(samples, "pact-alone").values()]
    return (
        f"With {100 * spared:.0f} % fewer evaluations for `pact-alone`, PACT is {counted(marks)} "
        f"of {len(marks)} tasks."
    )


def learned_and_nulls(results: Results, learned: str) -> str:
    """An algorithm against its own loop with the model replaced, originals and twins."""
    lines = []
    for rows, title in (("original", "originals"), ("shifted", "shifted twins")):
        half = select(results, rows, [a for a in results.algorithms if a != "pact"], learned)
        marks = {
            null: [our_mark(half, label, null) for label in half.rows]
            for null in half.algorithms
            if null != learned
        }
        found = "; ".join(f"{counted(m, f' than `{null}`')}" for null, m in marks.items())
        lines.append(f"- {title}: `{learned}` is {found}.")
    return "\n".join(lines)


def headline(parts: dict[str, Results], n_seeds: int) -> str:
    """For the README: how PACT compares with the best rival, originals and twins."""
    lines = [f"{N_EVAL:,} evaluations, {n_seeds} seeds, median IGD, rank-sum with Holm:", ""]
    for title, half in parts.items():
        best = sum("pact" in half.best(label, "igd") for label in half.rows)
        lines.append(
            f"- {title}: the best median on {best} of {len(half.rows)} tasks. "
            f"{against_the_best(half)}"
        )
    return "\n".join(lines)


def report(path: Path, data: str | None, seeded: bool) -> None:
    """Tables, every run as CSV, figures, and the summary in `docs/multitask.md`."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    matrices = "our own, seeded" if seeded else "the competition's"
    text = [INTRODUCTION.format(n_eval=f"{N_EVAL:,}", matrices=matrices)]
    kept: dict[str, Results] = {}
    with Store(path, must_exist=True) as store:
        for name, part in PARTS.items():
            results, n_seeds = finished(store, name, campaign(name, path, data, seeded))
            print(f"{name}: {n_seeds} seeds")
            if not results.rows:
                continue
            kept[name], split = results, halves(results)
            text += [f"## {part.title}: {n_seeds} seeds\n", *sections(split)]
            text += [to_markdown(cost_table(results))]
            told = summary(split, n_seeds)
            if part.pairs:
                more = price(store, results)
            elif name in LEARNED:
                more = learned_and_nulls(results, LEARNED[name])
            else:
                more = ""
            if more:
                told += f"\n\n{more}"
                text += [f"{more}\n"]
            fill(ROOT / "docs" / "multitask.md", name, told, __file__)
            if name == "main":
                fill(ROOT / "README.md", "multitask", headline(split, n_seeds), __file__)
                for problem in ("cihs-shifted", "nihs-shifted"):
                    draw(store, results, problem, DRAWN, n_seeds)
    for problem in ("cihs", "nils"):
        draw_transfer(problem, {})
    (RESULTS / "multitask.md").write_text("\n".join(text), encoding="utf-8")
    write_runs(kept, RESULTS / "multitask_runs.csv")


def main() -> None:
    """Command line."""
    parser = command_line(__doc__, PARTS, store="multitask.db")
    parser.add_argument("--data", help="folder (or .npz) with the competition's matrices")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="run: 1 to this one")
    parser.add_argument("--seeded", action="store_true", help="matrices of our own")
    args = parser.parse_args()
    if args.command == "run":
        for name in args.part or list(PARTS):
            made = campaign(name, args.store, args.data, args.seeded, args.seeds)
            print(name, made.run(jobs=args.jobs, order="seeds"), flush=True)
    else:
        report(args.store, args.data, args.seeded)


if __name__ == "__main__":
    main()
