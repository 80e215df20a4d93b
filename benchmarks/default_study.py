"""The study behind `docs/ace.md`: the default algorithm, its rivals and its nulls.

    python benchmarks/default_study.py run --store default.db --jobs 2    # about five CPU hours
    python benchmarks/default_study.py report --store default.db          # tables and figures

Parts (`--part`, several allowed): `imf` (IMF1-10 and shifted twins, 30 variables, 5,000
evaluations), `nulls` (ACE without one of its parts, there), `imf100` (100 variables, 10,000
evaluations), `suites` (ZDT, DTLZ, WFG, UF, LSMOP at 10,000 evaluations, LSMOP with 100 variables)
and `twins` (their shifted twins). Population 100, seeds 1 to 11. Interrupted, the same command goes
on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from study import RESULTS, ROOT, break_even, select, write_runs

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
from evogen.visualization import plot_convergence, plot_fronts, save_figure

POP_SIZE, SEEDS = 100, 11

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
    "imf100": Part(IMF, ["ace", "nsga2", "nsga2-de", "immoea", "gmoea", "rbf-nsga2"], 10_000,
                   {"n_var": 100}),
    "suites": Part(SUITES, ["ace", "nsga2"], 10_000),
    "large": Part(LARGE, ["ace", "nsga2"], 10_000, {"n_var": 100}),
    "twins": Part([f"{name}-shifted" for name in SUITES], ["ace", "nsga2"], 10_000),
    "large-twins": Part([f"{name}-shifted" for name in LARGE], ["ace", "nsga2"], 10_000,
                        {"n_var": 100}),
}  # fmt: skip


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


if __name__ == "__main__":
    main()
