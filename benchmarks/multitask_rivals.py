"""DDMTOLab's multitask algorithms beside ours: same problems, budget and seeds, in one run.

    pip install ddmtolab==1.0.10
    python benchmarks/multitask_rivals.py    # half an hour; results/multitask_rivals.md

CEC17-MTMO with the competition's matrices, population 100, 50,000 evaluations of both tasks
together, three seeds. DDMTOLab takes no seed: the global generators are seeded before each of its
runs, but its tournaments draw from one of their own, so its runs do not repeat. IGD against the
same points of the true fronts, of the non-dominated part of the final population; CPU seconds of
the run alone.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, ROOT, fill, markdown

from evogen import minimize_multitask
from evogen.algorithms import get_multitask_algorithm
from evogen.experiment import Reference, nondominated
from evogen.experiment.tables import number
from evogen.problems import get_problem, list_problems

SUITE = "cec17-mtmo"
POP_SIZE, N_EVAL, SEEDS = 100, 50_000, 3
OURS = ["pact", "momfea", "emtet", "emtpd", "emtgs", "nsga2"]
THEIRS = {
    "MO_MFEA": "MTMO.MO_MFEA", "EMT_ET": "MTMO.EMT_ET", "EMT_PD": "MTMO.EMT_PD",
    "EMT_GS": "MTMO.EMT_GS", "NSGA_II": "STMO.NSGA_II",
}  # fmt: skip


def one(problem: str, algorithm: str, seed: int) -> dict[str, Any]:
    """One run, by name: theirs are in capitals."""
    import torch

    torch.set_num_threads(1)
    run = (theirs if algorithm in THEIRS else ours)(problem, algorithm, seed)
    begin = time.process_time()
    fronts = run()
    seconds = time.process_time() - begin
    igd = [
        Reference.of(task).measure(nondominated(f))["igd"]
        for task, f in zip(get_problem(problem).tasks, fronts, strict=True)
    ]
    return {
        "problem": problem, "algorithm": algorithm, "seed": seed, "igd": igd, "seconds": seconds,
    }  # fmt: skip


Run = Callable[[], list[np.ndarray]]
"""Gives the final objectives of every task."""


def ours(problem: str, algorithm: str, seed: int) -> Run:
    """What runs one of evogen's algorithms."""
    tasks = get_problem(problem)
    made = get_multitask_algorithm(algorithm, pop_size=POP_SIZE)

    def run() -> list[np.ndarray]:
        res = minimize_multitask(tasks, made, ("n_eval", N_EVAL), seed=seed)
        return [task.F for task in res.tasks]

    return run


def theirs(problem: str, algorithm: str, seed: int) -> Run:
    """What runs one of DDMTOLab's; importing them takes seconds that are not the run's."""
    import torch

    suite = import_module("ddmtolab.Problems.MTMO.cec17_mtmo").CEC17MTMO()
    tasks = getattr(suite, f"P{1 + list_problems(SUITE).index(problem)}")()
    cls = getattr(import_module(f"ddmtolab.Algorithms.{THEIRS[algorithm]}"), algorithm)

    def run() -> list[np.ndarray]:
        # It draws from the global generators; nothing of ours does.
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        torch.manual_seed(seed)
        found = cls(tasks, n=POP_SIZE, max_nfes=N_EVAL // 2, save_data=False).optimize()
        return [np.asarray(objectives[-1]) for objectives in found.all_objs]

    return run


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Median IGD of every task, and CPU seconds; every algorithm has runs on every problem."""
    igd, seconds = defaultdict(list), defaultdict(list)
    for line in lines:
        igd[line["problem"], line["algorithm"]].append(line["igd"])
        seconds[line["algorithm"]].append(line["seconds"])
    rows = []
    for problem in dict.fromkeys(line["problem"] for line in lines):
        medians = np.array([np.median(igd[problem, a], axis=0) for a in seconds])
        for task, values in enumerate(medians.T, start=1):
            shown = [f"**{number(v)}**" if v == values.min() else number(v) for v in values]
            rows.append([f"{problem} T{task}", *shown])
    rows.append(["CPU s a run", *(f"{np.median(s):.2f}" for s in seconds.values())])
    return markdown(["task", *seconds], rows)


def main() -> None:
    """Runs what is not in the results yet, then writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    args = parser.parse_args()
    kept = RESULTS / "multitask_rivals.jsonl"
    text = kept.read_text(encoding="utf-8") if kept.exists() else ""
    lines = [json.loads(line) for line in text.splitlines()]
    done = {(line["problem"], line["algorithm"], line["seed"]) for line in lines}
    plan = [
        (problem, algorithm, seed)
        for seed in range(1, args.seeds + 1)
        for problem in list_problems(SUITE)
        for algorithm in (*OURS, *THEIRS)
        if (problem, algorithm, seed) not in done
    ]
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        for line in pool.map(one, *zip(*plan, strict=True)) if plan else ():
            lines.append(line)
            with kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            print(line, flush=True)
    write(lines, RESULTS / "multitask_rivals.md")


def write(lines: Sequence[dict[str, Any]], path: Path) -> None:
    """The page, of the seeds that all have finished, and its table in `docs/multitask.md`."""
    runs = len(list_problems(SUITE)) * (len(OURS) + len(THEIRS))
    whole = {seed for seed, n in Counter(line["seed"] for line in lines).items() if n == runs}
    kept = [line for line in lines if line["seed"] in whole]
    path.write_text(
        "# DDMTOLab 1.0.10 beside evogen\n\nWritten by `python benchmarks/multitask_rivals.py`: "
        f"CEC17-MTMO, population {POP_SIZE}, {N_EVAL:,} evaluations of both tasks together, median "
        f"IGD of {len(whole)} seeds (no test: too few). Names in capitals are DDMTOLab's. Both ran "
        "in the same processes, one thread, on a machine with other work.\n\n" + table(kept),
        encoding="utf-8",
    )
    shown = f"Median IGD of {len(whole)} seeds:\n\n{table(kept).rstrip()}"
    fill(ROOT / "docs" / "multitask.md", "rivals", shown, __file__)


if __name__ == "__main__":
    main()
