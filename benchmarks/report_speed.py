"""How long a report of many cells takes: `python benchmarks/report_speed.py`.

Fills a store with made-up cells (50 problems x 20 algorithms x 10 seeds; 100 solutions each, curves
of 50 records), writes the report twice and prints CPU seconds and the size of the web page.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from evogen.experiment import Cell, Outcome, Spec, Store, write_report

N_SOLUTIONS = 100
RECORDS = 200.0 * np.arange(1, 51)
FLOOR = 0.004


def made_up(rate: float, random_state: np.random.Generator) -> Outcome:
    """A run whose IGD falls towards the floor at this rate."""
    gap = np.exp(-rate * RECORDS / 2500 + 0.2 * random_state.standard_normal()) / 2
    gap += 2e-4 * random_state.random(len(RECORDS)) + 1e-3
    x = np.sort(random_state.random(N_SOLUTIONS))
    curves = {"n_eval": RECORDS, "igd": FLOOR + gap, "igd_plus": gap, "hv": 0.87 - gap}
    return Outcome(
        "done",
        n_var=30,
        n_obj=2,
        n_eval=int(RECORDS[-1]),
        n_nonfinite=0,
        cpu_seconds=1.0 + random_state.random(),
        wall_seconds=2.0,
        indicators={name: float(curves[name][-1]) for name in ("igd", "igd_plus", "hv")},
        arrays={
            "result": {"F": np.column_stack([x, 1 - np.sqrt(x) + gap[-1]])},
            "curves": {**curves, "seconds": RECORDS / 1e4, "share": np.full(len(RECORDS), np.nan)},
        },
    )


def fill(path: Path, n_problems: int, n_algorithms: int, n_seeds: int) -> None:
    """Write the store."""
    random_state = np.random.default_rng(0)
    x = np.linspace(0, 1, 2000)
    with Store(path) as store:
        for p in range(n_problems):
            problem = Spec(f"problem {p}", f"p{p}")
            front = np.column_stack([x, 1 - np.sqrt(x)])
            store.save_front(problem.describe(), N_SOLUTIONS, front, FLOOR)
            for a in range(n_algorithms):
                rate = random_state.uniform(0.5, 1.5) * (1 + a / n_algorithms)
                for seed in range(1, n_seeds + 1):
                    cell = Cell(problem, Spec(f"algorithm {a}", f"a{a}"), seed, N_SOLUTIONS, 10_000)
                    store.save(cell, made_up(rate, random_state))


def main() -> None:
    """Fill, write, measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=50)
    parser.add_argument("--algorithms", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=10)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "runs.db")
        fill(path, args.problems, args.algorithms, args.seeds)
        for attempt in ("first (with imports)", "second"):
            begin, cpu = time.perf_counter(), time.process_time()
            with Store(path) as store:
                write_report(store, Path(folder, "report"))
            print(
                f"{attempt}: {args.problems * args.algorithms * args.seeds} cells, "
                f"{time.process_time() - cpu:.1f} s of CPU, {time.perf_counter() - begin:.1f} s"
            )
        page = Path(folder, "report", "index.html")
        if page.exists():
            print(f"{page.name}: {page.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
