"""The study of families of tasks in `docs/multitask.md`: a model told which task is meant.

    python benchmarks/family_study.py run --store families.db --jobs 2    # about 2 CPU hours
    python benchmarks/family_study.py report --store families.db

`df1-family` to `df9-family` and their shifted twins, ten tasks each, seeds 1 to 11. Parts
(`--part`): `together`, all tasks solved at once, population 50 and 1,000 evaluations for each: PACT
with one mixture of all tasks' solutions that is told which task is meant, against PACT with plain
transfers, without any, and with nulls of the model (not told; copies); `bent`, the same on twins
that are not folded; `longer`, with 2,000 evaluations for each; `new`, one more task after ten were
solved with 5,000 evaluations each: the IGD of 100 points before anything is evaluated, proposed by
models of the ten, taken over from the nearest task, or random; and of NSGA-II that starts from
them, after 1,000 evaluations more. Interrupted, the same command goes on.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from common import FIGURES, RESULTS, ROOT, command_line, counted, fill, markdown
from pymoo.algorithms.moo.nsga2 import NSGA2

from evogen import minimize
from evogen.algorithms import PACT
from evogen.experiment import (
    Campaign,
    Reference,
    Results,
    Spec,
    Store,
    compare,
    cost_table,
    minimize_multitask,
    nondominated,
    summarize,
    to_markdown,
    whole_seeds,
)
from evogen.experiment.tables import number
from evogen.models import DDPM, VAE, GaussianMixture, LocalLinear
from evogen.operators import FamilySampling
from evogen.problems import get_problem, list_problems
from evogen.problems.families import DFTask
from evogen.problems.shifted import shifted
from evogen.visualization import plot_fronts, save_figure

SEEDS, POP_SIZE, SUITE, N_TASKS = 11, 50, "df-family", 10
LEAST_RUNS = 8
"""With fewer, no difference survives Holm's correction over a table; then there are no marks."""

NULLS = ["pact", "pact-alone", "pact-model-copy", "pact-family-untold"]
PARTS = {
    "together": (10_000, ["pact-family", *NULLS, "momfea", "nsga2"]),
    "bent": (10_000, ["pact-family", *NULLS]),
    "longer": (20_000, ["pact-family", "pact", "pact-alone"]),
}

# One more task: in the middle between two solved ones, and beyond the last (0.9).
TIMES = (0.55, 1.0)
SOLVED_WITH, N_NEW, N_MORE = 50_000, 100, 1_000
MODELS: dict[str, Callable[[], Any]] = {
    "5 gaussians": lambda: GaussianMixture(),
    "20 gaussians": lambda: GaussianMixture(n_components=20),
    "local-linear": lambda: LocalLinear(n_neighbors=20, noise=0.0),
    "vae": lambda: VAE(n_steps=1000),
    "ddpm": lambda: DDPM(n_steps=2000),
}
STARTS = [*MODELS, "nearest", "random"]


Samples = dict[tuple[str, str], list[float]]
"""By row and column of a table: one value per seed."""


def table(samples: Samples, columns: list[str], baseline: str) -> str:
    """Medians, the best in bold, marked against the baseline (Holm over the table)."""
    marks = compare(samples, baseline)
    can_differ = min(len(values) for values in samples.values()) >= LEAST_RUNS
    rows = []
    for row in dict.fromkeys(row for row, _ in samples):
        medians = {column: float(np.median(samples[row, column])) for column in columns}
        least = min(medians.values())
        cells = [
            (f"**{number(value)}**" if value == least else number(value))
            + (f" {marks[row, column].mark}" if can_differ and column != baseline else "")
            for column, value in medians.items()
        ]
        rows.append([row, *cells])
    counts = []
    for column in columns:
        found = [marks[row[0], column].mark for row in rows if column != baseline]
        counts.append(" / ".join(str(found.count(mark)) for mark in "+=-"))
    counts = ["" if column == baseline else c for column, c in zip(columns, counts, strict=True)]
    last = [["+ / = / -", *counts]] if can_differ else []
    return markdown(["", *columns], [*rows, *last]).rstrip()


def by_family(results: Results, twins: bool) -> Samples:
    """Of every family, the mean IGD of its tasks, one value per seed."""
    found: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (label, algorithm), cells in results.done.items():
        family = label.split()[0]
        if family.endswith("-shifted") == twins:
            for cell in cells:
                found[family, algorithm][cell.seed].append(np.inf if cell.igd is None else cell.igd)
    return {
        key: [float(np.mean(of_seed[seed])) for seed in sorted(of_seed)]
        for key, of_seed in found.items()
    }


def branches(store: Store, results: Results) -> str:
    """How often the solutions of a folded twin lie on both sides of a variable's fold."""
    both = []
    for (label, algorithm), cells in results.done.items():
        family = label.split()[0]
        if algorithm != "pact-family" or not family.endswith("-shifted"):
            continue
        task = get_problem(family).tasks[0]
        fold = task.xl + task.offsets * (task.xu - task.xl)
        for cell in cells:
            below = (store.arrays(cell.key, "result")["X"] < fold).mean(axis=0)[1:]
            both.append(float(np.mean((below > 0.1) & (below < 0.9))))
    return (
        f"In the folded twins a task's solutions lie on both sides of the fold, a tenth of them at "
        f"least, in {100 * np.mean(both):.0f} % of the variables (runs of `pact-family`)."
    )


def families() -> dict[str, Spec]:
    """Originals and bent twins by label."""
    twins = list_problems(f"{SUITE}-shifted")
    bent = [Spec(t.replace("shifted", "bent"), t, {"fold": "bent"}) for t in twins]
    return {spec.label: spec for spec in [*(Spec(n, n) for n in list_problems(SUITE)), *bent]}


# --- one more task -------------------------------------------------------------------------------


def new_task(family: str, time: float) -> Any:
    """The family's problem at another moment, or its bent twin."""
    bare = family.removesuffix("-bent")
    task = DFTask(int(bare.removeprefix("df").split("-")[0]), time, 10, f"{bare}-t={time:g}")
    return task if bare == family else shifted(task, seed=0, fold="bent")


def new_tasks(family: str, seed: int) -> list[dict[str, Any]]:
    """What every start is worth on the new tasks, after one run on the ten."""
    import torch

    torch.set_num_threads(1)
    tasks = families()[family].build_problem()
    solved = minimize_multitask(tasks, PACT(100), ("n_eval", SOLVED_WITH), seed=seed).tasks
    samplings = {
        name: FamilySampling(model(), solved, tasks.descriptors, TIMES[0], seed=seed)
        for name, model in MODELS.items()
    }
    lines = []
    for time in TIMES:
        task = new_task(family, time)
        reference = Reference.of(task)
        nearest = int(np.argmin(np.abs(tasks.descriptors[:, 0] - time)))
        for start in STARTS:
            rng = np.random.default_rng([seed, STARTS.index(start)])
            x = rng.uniform(task.xl, task.xu, size=(N_NEW, task.n_var))
            if start == "nearest":
                x[: len(solved[nearest].X)] = solved[nearest].X[:N_NEW]
            elif start in MODELS:
                samplings[start].descriptor = time
                x = samplings[start].do(task, N_NEW, random_state=rng).get("X")
            algorithm = NSGA2(N_NEW, sampling=x)
            end = minimize(task, algorithm, ("n_eval", N_NEW + N_MORE), seed=seed)
            lines.append(
                {
                    "family": family, "time": time, "start": start, "seed": seed,
                    "igd": reference.measure(nondominated(task.evaluate(x)))["igd"],
                    "later": reference.measure(nondominated(end.F))["igd"],
                }
            )  # fmt: skip
    return lines


def kept_lines() -> tuple[Path, list[dict[str, Any]]]:
    """Where the lines of the new tasks are, and what is there."""
    path = RESULTS / "family_new_tasks.jsonl"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return path, [json.loads(line) for line in text.splitlines()]


def run_new_tasks(jobs: int) -> None:
    """Whatever is not done yet, seed by seed."""
    path, lines = kept_lines()
    done = {(line["family"], line["seed"]) for line in lines}
    halves = [[f for f in families() if f.endswith("-bent") == bent] for bent in (False, True)]
    seeds = range(1, SEEDS + 1)
    plan = [(f, s) for half in halves for s in seeds for f in half if (f, s) not in done]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for made in pool.map(new_tasks, *zip(*plan, strict=True)) if plan else ():
            with path.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(line) + "\n" for line in made)


def by_start(lines: list[dict[str, Any]], key: str, bent: bool) -> tuple[Samples, int]:
    """What every start is worth on every new task, and with how many seeds.

    Args:
        lines: All that is there.
        key: Of the value.
        bent: Whether the bent twins are meant.
    """
    half = [line for line in lines if line["family"].endswith("-bent") == bent]
    of_family = defaultdict(set)
    for line in half:
        of_family[line["family"]].add(line["seed"])
    whole = set.intersection(*of_family.values()) if of_family else set()
    samples: Samples = defaultdict(list)
    for line in half:
        if line["seed"] in whole:
            samples[f"{line['family']} t={line['time']:g}", line["start"]].append(line[key])
    return samples, len(whole)


# --- report --------------------------------------------------------------------------------------


def draw_new_task(family: str, time: float) -> None:
    """What a model proposes for a task that was never evaluated."""
    tasks, task = get_problem(family), new_task(family, time)
    solved = minimize_multitask(tasks, PACT(100), ("n_eval", SOLVED_WITH), seed=1).tasks
    nearest = int(np.argmin(np.abs(tasks.descriptors[:, 0] - time)))
    fronts = {"nearest": nondominated(task.evaluate(solved[nearest].X))}
    for name in ("20 gaussians", "ddpm"):
        sampling = FamilySampling(MODELS[name](), solved, tasks.descriptors, time)
        x = sampling.do(task, N_NEW, random_state=np.random.default_rng(1)).get("X")
        fronts[name] = nondominated(task.evaluate(x))
    title = f"{task.name()}: proposed before any evaluation"
    save_figure(plot_fronts(fronts, task.pareto_front(), title=title), FIGURES / "family-new.png")


def write_means(parts: dict[str, Results]) -> None:
    """Every run as a line: its tasks' mean IGD."""
    with (RESULTS / "family_runs.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["part", "family", "algorithm", "run", "mean_igd"])
        for part, results in parts.items():
            for twins in (False, True):
                for (family, algorithm), values in by_family(results, twins).items():
                    for run, value in enumerate(values, start=1):
                        writer.writerow([part, family, algorithm, run, f"{value:.6g}"])


def campaign(name: str, store: Path) -> Campaign:
    """The cells of a part."""
    n_eval, algorithms = PARTS[name]
    problems: list[Any] = [*list_problems(SUITE), *list_problems(f"{SUITE}-shifted")]
    if name == "bent":
        problems = [spec for label, spec in families().items() if label.endswith("-bent")]
    return Campaign(
        problems, algorithms, seeds=SEEDS, n_eval=n_eval, pop_size=POP_SIZE, store=store
    )


def report(path: Path) -> None:
    """Tables, every run as CSV, a figure, and the summaries in `docs/multitask.md`."""
    page = ROOT / "docs" / "multitask.md"
    text = ["# Families of tasks: all tables\n\nWritten by `python benchmarks/family_study.py`.\n"]
    titles = (("Originals", False), ("Shifted twins", True))
    kept: dict[str, Results] = {}
    with Store(path, must_exist=True) as store:
        for name, (n_eval, algorithms) in PARTS.items():
            keys, n_seeds = whole_seeds(store, campaign(name, path).cells)
            print(f"{name}: {n_seeds} seeds")
            if not keys:
                continue
            kept[name] = summarize(store, baseline="pact-family", keys=keys)
            halves = (("Bent twins", False),) if name == "bent" else titles
            shown = "\n\n".join(
                f"**{title}**, {n_eval // N_TASKS:,} evaluations for each task, median over "
                f"{n_seeds} seeds of the tasks' mean IGD:\n\n"
                + table(by_family(kept[name], twins), algorithms, "pact-family")
                for title, twins in halves
            )
            if name == "together":
                shown += f"\n\n{branches(store, kept[name])}"
            text += [f"## All tasks at once: {name}\n\n{shown}\n"]
            text += [to_markdown(cost_table(kept[name]))]
            fill(page, f"family-{name}", shown, __file__)
    _, lines = kept_lines()
    if lines:
        for key, when in (
            ("igd", "before any evaluation"),
            ("later", f"after {N_MORE:,} evaluations"),
        ):
            shown = ""
            for title, bent in (("Originals", False), ("Bent twins", True)):
                samples, n_seeds = by_start(lines, key, bent)
                print(f"new, {title}: {n_seeds} seeds")
                if n_seeds:
                    shown += f"**{title}**, median IGD over {n_seeds} seeds, {when}:\n\n"
                    shown += table(samples, STARTS, "nearest") + "\n\n"
                    both = {k: v for k, v in samples.items() if k[1] in ("ddpm", "local-linear")}
                    marks = [c.mark for c in compare(both, "local-linear").values()]
                    shown += (
                        f"`ddpm` is {counted(marks, ' than `local-linear`')} of {len(marks)}.\n\n"
                    )
            text += [f"## One more task, {when}\n\n{shown}\n"]
            fill(page, f"family-new-{key}", shown.rstrip(), __file__)
        draw_new_task("df9-family", 0.55)
    (RESULTS / "families.md").write_text("\n".join(text), encoding="utf-8")
    write_means(kept)


def main() -> None:
    """Command line."""
    args = command_line(__doc__, [*PARTS, "new"], store="families.db").parse_args()
    if args.command == "report":
        report(args.store)
        return
    for name in args.part or ["together", "bent", "longer", "new"]:
        if name == "new":
            run_new_tasks(args.jobs)
        else:
            print(name, campaign(name, args.store).run(jobs=args.jobs, order="seeds"), flush=True)


if __name__ == "__main__":
    main()
