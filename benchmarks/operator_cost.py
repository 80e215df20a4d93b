"""What a generative operator costs per generation, and where a GMOEA run spends its time.

    OMP_NUM_THREADS=1 python benchmarks/operator_cost.py --out benchmarks/results/operator_cost.md

IMF5, 30 variables, population 100; CPU milliseconds of one thread. The break-even evaluation cost,
which needs quality too, is in the study's report.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pymoo.optimize import minimize

from evogen.algorithms import get_algorithm
from evogen.operators import GenerativeMating

OPERATORS = [
    "nsga2-de", "nsga2-gaussian", "nsga2-ddpm", "nsga2-improvement", "nsga2-vae", "nsga2-wgangp",
    "gmoea", "gmoea-difference", "gmoea-published",
]  # fmt: skip

# Cumulative time of these functions makes the table of a GMOEA run; they do not contain each other.
PARTS = {
    ("slot.py", "fit"): "training the GAN",
    ("slot.py", "sample"): "sampling the GAN",
    ("examples.py", "training"): "classifying (SPEA2 selection of elites)",
    ("survival.py", "_do"): "survival (SPEA2)",
    ("mating.py", "_do", "pymoo"): "tournament, SBX, PM",
    ("duplicates.py", "_do"): "duplicates",
    ("problem.py", "evaluate"): "evaluating the problem",
}


def imf5() -> Any:
    """The problem of the measurements."""
    import importlib

    return importlib.import_module("evogen.problems").get_problem("imf5", n_var=30)


def run(name: str, n_gen: int) -> tuple[float, Any]:
    """CPU seconds of a run and its result."""
    problem = imf5()
    algorithm = get_algorithm(name, problem, pop_size=100)
    start = time.process_time()
    res = minimize(problem, algorithm, ("n_gen", n_gen), seed=1)
    return time.process_time() - start, res


def cost_rows(n_gen: int, repeats: int) -> list[list[str]]:
    """Per operator: added, fit and sample milliseconds per generation."""
    run("gmoea", 5)  # warm up imports and thread pools
    plain = float(np.median([run("nsga2", n_gen)[0] for _ in range(repeats)])) / n_gen
    base = float(np.median([run("spea2", n_gen)[0] for _ in range(repeats)])) / n_gen
    rows = [["nsga2", f"{1000 * plain:.1f}", "-", "-", "-"]]
    rows += [["spea2", f"{1000 * base:.1f}", "-", "-", "-"]]
    for name in OPERATORS:
        runs = [run(name, n_gen) for _ in range(1 if "published" in name else repeats)]
        seconds = float(np.median([r[0] for r in runs])) / n_gen
        mating = runs[0][1].algorithm.mating
        assert isinstance(mating, GenerativeMating)
        slot = mating.slot
        rival = base if name.startswith("gmoea") else plain
        rows.append(
            [
                name,
                f"{1000 * seconds:.1f}",
                f"{1000 * (seconds - rival):.1f}",
                f"{1000 * slot.fit_seconds / n_gen:.1f}",
                f"{1000 * slot.sample_seconds / n_gen:.1f}",
            ]
        )
    return rows


def profile_rows() -> tuple[float, list[list[str]]]:
    """CPU seconds of GMOEA for 5,000 evaluations, and the shares of its parts."""
    seconds = float(np.median([run("gmoea", 50)[0] for _ in range(5)]))
    profiler = cProfile.Profile(time.process_time)
    profiler.enable()
    run("gmoea", 50)
    profiler.disable()
    stats = pstats.Stats(profiler)
    total = stats.total_tt  # type: ignore[attr-defined]
    found = dict.fromkeys(PARTS.values(), 0.0)
    for (file, _, function), (_, _, _, cumulative, _) in stats.stats.items():  # type: ignore[attr-defined]
        for key, label in PARTS.items():
            inside = key[2] in file if len(key) == 3 else "pymoo" not in file or "problem" in key[0]
            if file.endswith("/" + key[0]) and function == key[1] and inside:
                found[label] += cumulative
    rest = total - sum(found.values())
    rows = [[k, f"{100 * v / total:.0f} %"] for k, v in found.items()]
    rows.append(["pymoo's bookkeeping and the rest", f"{100 * rest / total:.0f} %"])
    return seconds, rows


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        "## Cost per generation, CPU ms\n",
        "Added: beside plain NSGA-II (for gmoea: beside SPEA2) in the same run of this script.\n",
        "| algorithm | whole | added | fit | sample |",
        "|---|---|---|---|---|",
        *("| " + " | ".join(row) + " |" for row in cost_rows(n_gen=20, repeats=3)),
    ]
    seconds, rows = profile_rows()
    lines += [
        "\n## Where a GMOEA run goes\n",
        f"5,000 evaluations take {seconds:.2f} CPU s. Shares under the profiler:\n",
        "| part | share |",
        "|---|---|",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if args.out:
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
