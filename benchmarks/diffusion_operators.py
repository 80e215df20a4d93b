"""Diffusion without training: the operator, its nulls and ablations, guidance, Diffusion Evolution.

    OMP_NUM_THREADS=1 python benchmarks/diffusion_operators.py     # about 12 CPU minutes

IMF1-10 and their shifted twins, 30 variables, population 100, 5,000 evaluations, seeds 1 to 11.
Interrupted, the same command goes on; run again, it only writes `benchmarks/results/` anew.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, restricted
from pymoo.algorithms.soo.nonconvex.de import DE
from pymoo.core.problem import Problem

from evogen import minimize
from evogen.algorithms import get_algorithm
from evogen.algorithms.diffusion_evolution import DiffusionEvolution
from evogen.experiment import (
    Campaign,
    Results,
    Spec,
    Store,
    indicator_table,
    summarize,
    to_markdown,
)
from evogen.models import GaussianMixture
from evogen.models.kernel_diffusion import KernelDiffusion
from evogen.models.preference import PreferenceDiffusion
from evogen.operators import (
    Copy,
    GenerativeMating,
    Inverse,
    Untrained,
    inject,
)

SETTING = {"n_var": 30}
N_EVAL, POP_SIZE, SEEDS = 5000, 100, 11
SUITES = ["imf", "imf-shifted"]
#: For ablations: two problems on which the operator wins, and their twins, on which it does not.
SOME = ["imf1", "imf5", "imf1-shifted", "imf5-shifted"]

MODELS: dict[str, Callable[..., Any]] = {
    "kernel": KernelDiffusion,
    "guided": PreferenceDiffusion,
    "copy": Copy,
    "gaussian": GaussianMixture,
}


def operator(
    problem: Any,
    pop_size: int,
    *,
    model: str = "kernel",
    settings: dict[str, Any] | None = None,
    untrained: bool = False,
    fraction: float = 0.5,
    share: float | str = "adaptive",
) -> Any:
    """NSGA-II with a model that answers for objectives between and beyond those of the front."""
    made = MODELS[model](**(settings or {}))
    mating = GenerativeMating(
        Untrained(made) if untrained else made,
        Inverse(fraction=fraction, widen=0.5),
        share=share,
    )
    return inject(get_algorithm("nsga2", problem, pop_size=pop_size), mating)


def _spec(label: str, **settings: Any) -> Spec:
    return Spec(label, operator, settings)


GUIDED = {"model": "guided", "fraction": 1.0}
DENOISE = _spec("nsga2-denoise")
#: Uniform points and a constant ignore what they learn from: those nulls are the columns
#: nsga2-ddpm-random and nsga2-ddpm-constant of the study, the same runs bit for bit.
PARTS: dict[str, tuple[str, list[str], list[Spec | str]]] = {
    "methods": (
        "Against NSGA-II and differential variation",
        SUITES,
        ["nsga2", "nsga2-de", "nsga2-de-reflect", DENOISE],
    ),
    "nulls": (
        "Against its nulls (same examples, same share)",
        SUITES,
        [
            DENOISE,
            _spec("gaussian", model="gaussian", settings={"n_components": 1}),
            _spec("copy", model="copy"),
        ],
    ),
    "ablation": (
        "One part taken away",
        SOME,
        [
            DENOISE,
            _spec("mean-not-line", settings={"ridge": 1e6}),
            _spec("spread-not-restored", settings={"spread": 0.0}),
            _spec("not-local", settings={"n_neighbors": 1000}),
            _spec("half-share", share=0.5),
        ],
    ),
    "guidance": (
        "Dominance-preference guidance and its nulls",
        SOME,
        [
            _spec("guided", **GUIDED, settings={"guidance": 5.0}),
            _spec("guidance-off", model="kernel", fraction=1.0),
            _spec("guided-untrained", **GUIDED, settings={"guidance": 5.0}, untrained=True),
            _spec("guided-linear", **GUIDED, settings={"guidance": 5.0, "hidden": []}),
        ],
    ),
}


def label_of(entry: Spec | str) -> str:
    """The column's name."""
    return entry if isinstance(entry, str) else entry.label


def run(store: Path, parts: Sequence[str], jobs: int) -> None:
    """Run the cells of the parts that the store does not hold."""
    for part in parts:
        _, problems, algorithms = PARTS[part]
        campaign = Campaign(
            problems,
            {label_of(entry): entry for entry in algorithms},
            seeds=SEEDS,
            n_eval=N_EVAL,
            pop_size=POP_SIZE,
            store=store,
            problem_settings=SETTING,
        )
        print(part, campaign.run(jobs=jobs))


def select(results: Results, part: str, twin: bool) -> Results:
    """The columns of a part on the original problems or on their twins."""
    _, problems, entries = PARTS[part]
    columns = [label_of(entry) for entry in entries]
    columns = [c for c in columns if c in results.algorithms]
    rows = [
        label
        for label in results.rows
        if label.endswith("-shifted") == twin
        and (problems is SUITES or label in problems)
        and any(results.done.get((label, c)) for c in columns)
    ]
    return restricted(results, rows, columns, columns[0] if columns else None)


def columns_of(results: Results) -> list[str]:
    """The columns of all parts that the store holds, each once."""
    labels = [label_of(entry) for _, _, entries in PARTS.values() for entry in entries]
    return [label for label in dict.fromkeys(labels) if label in results.algorithms]


def summary_line(part: Results) -> str:
    """Geometric mean over problems of the ratio of median IGD to the first column's."""
    first, lines = part.algorithms[0], []
    for column in part.algorithms[1:]:
        ratios = [
            part.median(row, column, "igd") / part.median(row, first, "igd") for row in part.rows
        ]
        lines.append(f"{column} {np.exp(np.mean(np.log(ratios))):.2f}")
    return f"Median IGD relative to {first}, geometric mean: {', '.join(lines)}.\n"


def cost_lines(results: Results) -> list[str]:
    """CPU milliseconds a generation of every column, and what it adds to NSGA-II's."""
    n_gen = N_EVAL // POP_SIZE
    lines = ["| column | CPU ms per generation | added |", "| --- | ---: | ---: |"]
    typical = {}
    for column in columns_of(results):
        # On the problems that every column has run.
        seconds = [
            results.median(row, column, "cpu_seconds")
            for row in results.rows
            if row in SOME and results.done.get((row, column))
        ]
        typical[column] = 1000 * float(np.median(seconds)) / n_gen
    for column, value in typical.items():
        lines.append(f"| {column} | {value:.1f} | {value - typical['nsga2']:+.1f} |")
    return lines


# Diffusion Evolution, single-objective.


class Function(Problem):
    """A function of rows in the box [-4, 4]^n_var."""

    def __init__(self, function: Callable[[np.ndarray], np.ndarray], n_var: int) -> None:
        super().__init__(n_var=n_var, n_obj=1, xl=-4.0, xu=4.0)
        self.function = function

    def _evaluate(self, x: np.ndarray, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        out["F"] = self.function(x)


def sphere(x: np.ndarray) -> np.ndarray:
    """Sum of squares."""
    return np.asarray((x**2).sum(axis=1))


PEAKS = (-1.0, 1.0)


def two_peaks(x: np.ndarray) -> np.ndarray:
    """Two Gaussian peaks of height 1 and standard deviation 0.25, as a function to minimise."""
    heights = [np.exp(-((x - p) ** 2).sum(axis=1) / (2 * 0.25**2)) for p in PEAKS]
    return -np.max(heights, axis=0)


def std_fitness(f: np.ndarray) -> np.ndarray:
    """exp(-(f - min) / standard deviation)."""
    return np.asarray(np.exp(-(f - f.min()) / (f.std() + 1e-300)))


def height(f: np.ndarray) -> np.ndarray:
    """The function itself, of a function that is at most 0."""
    return -f


def evolution_rows() -> list[list[Any]]:
    """Best value seen after 12,800 evaluations in 30 variables, and how two peaks are shared."""
    searchers = {
        "rank": DiffusionEvolution(),
        "std": DiffusionEvolution(fitness=std_fitness),
        "latent, rank": DiffusionEvolution(latent_dim=2),
        "latent, std": DiffusionEvolution(latent_dim=2, fitness=std_fitness),
        "pymoo DE": DE(pop_size=100),
    }
    rows: list[list[Any]] = []
    for seed in range(1, SEEDS + 1):
        for name, algorithm in searchers.items():
            res = minimize(Function(sphere, 30), algorithm, ("n_eval", 12_800), seed=seed)
            rows.append(["sphere, best", name, seed, float(res.F[0])])
        contenders = {
            "fitness = height": DiffusionEvolution(
                fitness=height, schedule="linear", noise=0.0, scale=0.25
            ),
            "pymoo DE": DE(pop_size=512),
        }
        for name, algorithm in contenders.items():
            res = minimize(Function(two_peaks, 2), algorithm, ("n_eval", 12_800), seed=seed)
            x = res.pop.get("X")
            held = [(np.linalg.norm(x - p, axis=1) < 0.5).mean() for p in PEAKS]
            rows.append(["two peaks, share at the lesser one", name, seed, float(min(held))])
            mean = float(-res.pop.get("F").mean())
            rows.append(["two peaks, mean height", name, seed, mean])
    return rows


def evolution_lines(path: Path) -> list[str]:
    """The table of Diffusion Evolution from its CSV, which is made when it is not there."""
    if not path.exists():
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["measure", "algorithm", "seed", "value"])
            writer.writerows([[m, a, s, f"{v:.6g}"] for m, a, s, v in evolution_rows()])
    values: dict[tuple[str, str], list[float]] = {}
    with path.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            values.setdefault((row["measure"], row["algorithm"]), []).append(float(row["value"]))
    lines = [
        "| measure | algorithm | median | least | greatest |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for (measure, algorithm), found in sorted(values.items()):
        spread = f"{np.median(found):.3g} | {min(found):.3g} | {max(found):.3g}"
        lines.append(f"| {measure} | {algorithm} | {spread} |")
    return lines


def report(store_path: Path) -> None:
    """Write the tables, and every run as CSV."""
    text = [
        "# Diffusion without training\n",
        "Written by `python benchmarks/diffusion_operators.py`: IMF1-10 and their shifted twins, "
        f"{SETTING['n_var']} variables, population {POP_SIZE}, {N_EVAL:,} evaluations, seeds 1 to "
        f"{SEEDS}. What it says is in `docs/diffusion.md`.\n",
    ]
    with Store(store_path, must_exist=True) as store:
        results = summarize(store, baseline="nsga2")
        for part, (title, _, _) in PARTS.items():
            for twin in (False, True):
                chosen = select(results, part, twin)
                if not chosen.rows:
                    continue
                text.append(f"## {title}: {'shifted' if twin else 'original'} problems\n")
                text.append(summary_line(chosen))
                for indicator in ("igd", "hv") if part == "methods" else ("igd",):
                    text.append(to_markdown(indicator_table(chosen, indicator)))
        text += ["## Cost\n", *cost_lines(results), ""]
        names = ("igd", "igd_plus", "hv", "cpu_seconds")
        with (RESULTS / "diffusion_operators.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["problem", "algorithm", "seed", *names])
            known = columns_of(results)
            for (row, column), cells in results.done.items():
                for cell in cells if column in known else ():
                    values = [f"{getattr(cell, name):.6g}" for name in names]
                    writer.writerow([row, column, cell.seed, *values])
    text.append("## Diffusion Evolution, as published\n")
    text.append(
        "512 individuals, 12,800 evaluations, box [-4, 4]; 30 variables, two for the two peaks. "
        "Single-objective functions, smaller is better for `best`.\n"
    )
    text += [*evolution_lines(RESULTS / "diffusion_evolution.csv"), ""]
    (RESULTS / "diffusion_operators.md").write_text("\n".join(text), encoding="utf-8")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, default=Path("diffusion_operators.db"))
    parser.add_argument("--part", choices=tuple(PARTS), action="append")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--report-only", action="store_true", help="write what the store holds")
    args = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    if not args.report_only:
        run(args.store, args.part or list(PARTS), args.jobs)
    report(args.store)


if __name__ == "__main__":
    main()
