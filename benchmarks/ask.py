"""Asked against obtained: designs asked from finished runs, beside cheaper ways to get them.

    python benchmarks/ask.py                    # everything, 11 seeds: about 15 CPU minutes
    python benchmarks/ask.py report             # tables and figure from the recorded runs

After a run of NSGA-II, 50 objective vectors are asked for that were not evaluated, and what the
designs returned truly have is measured: distance of asked and obtained objectives, in ranges of
the true front. Two kinds of targets: points of the true front ("true front"; where the run has not
converged, that asks for more than was found), and found solutions that were taken out of the data
together with everything within 1 % of each variable's range of them ("held out").

    ask         what `res.ask` does: local Gaussians per branch, corrected by a critic
    gaussians   the same without the critic's correction
    ddpm        a conditional diffusion model of the 1,000 points nearest to the front, one sample
    ddpm+critic eight samples of it per target, corrected and chosen by the critic as in `ask`
    linear      interpolation between the found solutions around the target
    nearest     the found solution nearest to the target

On the MMF problems, whose front points have two to eight pre-images: the share of pre-images that
16 designs for one target come within 5 % of (in every variable), and IGDX, the mean distance of
the Pareto set to 1,000 designs.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import moocore
import numpy as np
import torch
from scipy.optimize import nnls
from scipy.spatial import cKDTree

from evogen.experiment import compare, minimize
from evogen.experiment.lookup import get_problem
from evogen.models import DDPM
from evogen.operators.foundfront import FoundFront
from evogen.operators.inverse import InverseSampler
from evogen.visualization import save_figure
from evogen.visualization.asked import plot_asked

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "benchmarks" / "results" / "ask_runs.csv"
TABLES = ROOT / "benchmarks" / "results" / "ask.md"
FIGURE = ROOT / "docs" / "figures" / "ask.png"

PROBLEMS = ("zdt1", "zdt3", "dtlz2", "dtlz7", "imf1", "imf4", "mmf1", "mmf2", "mmf4", "mmf8")
SHOWN = ("zdt3", "mmf4", "mmf8")
METHODS = ("ask", "gaussians", "ddpm", "ddpm+critic", "linear", "nearest")
ONLY_ON = {"ddpm": "true front", "ddpm+critic": "true front", "gaussians": "held out"}
COLUMNS = ("problem", "seed", "kind", "method", "median", "mean", "dominated", "covered", "seconds")
N_TARGETS = 50
N_DESIGNS = 16
N_EVAL = 10_000


class Run:
    """A finished run, in the unit box and in ranges of the true front."""

    def __init__(self, name: str, seed: int) -> None:
        self.problem = get_problem(name)
        self.pop_size = 200 if name.startswith("mmf") else 100
        res = minimize(self.problem, "nsga2", ("n_eval", N_EVAL), seed=seed, pop_size=self.pop_size)
        self.low, self.width = self.problem.xl, self.problem.xu - self.problem.xl
        self.front = self.problem.pareto_front(2001)
        self.ideal, self.extent = self.front.min(axis=0), np.ptp(self.front, axis=0)
        self.u, self.f = (res.evaluations.X - self.low) / self.width, res.evaluations.F
        self.population = np.atleast_2d(res.X)

    def obtained(self, u: np.ndarray) -> np.ndarray:
        """True objectives of designs `(n, n_dim)`."""
        return np.asarray(self.problem.evaluate(self.low + u * self.width))


def nondominated_rows(f: np.ndarray) -> np.ndarray:
    """Row numbers of the non-dominated points."""
    return np.flatnonzero(moocore.is_nondominated(np.ascontiguousarray(f)))


def targets(run: Run, kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Objective vectors to ask for `(50, n_obj)`, and rows of the data that may be used."""
    everything = np.arange(len(run.u))
    best = nondominated_rows(run.f)
    if kind == "true front":
        found = run.f[best]
        inside = (run.front >= found.min(axis=0)) & (run.front <= found.max(axis=0))
        front = run.front[inside.all(axis=1)] if inside.all(axis=1).any() else run.front
        if front.shape[1] == 2:
            return front[
                np.linspace(0, len(front) - 1, N_TARGETS + 2).astype(int)[1:-1]
            ], everything
        rng = np.random.default_rng(seed)
        return front[rng.permutation(len(front))[:N_TARGETS]], everything
    order = best[np.lexsort(run.f[best].T[::-1])]
    _, first = np.unique(run.f[order], axis=0, return_index=True)
    order = order[np.sort(first)][1:-1]
    out = order[:: max(2, len(order) // N_TARGETS)][:N_TARGETS]
    apart = cKDTree(run.u[out]).query(run.u, p=np.inf)[0]
    return run.f[out], everything[apart > 0.01]


def linear(u: np.ndarray, z: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Interpolation between the found solutions around a target, nearest in objectives."""
    if z.shape[1] == 2:
        order = np.argsort(z[:, 0])
        j = np.clip(np.searchsorted(z[order, 0], target[0]), 1, len(order) - 1)
        near = order[[j - 1, j]]
    else:
        near = np.argsort(np.linalg.norm(z - target, axis=1))[: z.shape[1]]
    # Weights that sum to one and come closest to the target.
    weights = nnls(np.vstack([z[near].T, np.full(len(near), 1e3)]), np.append(target, 1e3))[0]
    return np.asarray(weights @ u[near] / weights.sum())


def ddpm(u: np.ndarray, z: np.ndarray, aims: np.ndarray, seed: int) -> np.ndarray:
    """Eight samples per target `(m, 8, n_dim)` of a model of the points nearest to the front."""
    apart = cKDTree(z[nondominated_rows(z)]).query(z)[0]
    near = np.argsort(apart, kind="stable")[:1_000]
    model = DDPM(n_steps=1_500, hidden=(64, 64, 64), guidance=2.0)
    generator = torch.Generator().manual_seed(seed)
    model.fit(torch.tensor(u[near]), torch.tensor(z[near]), generator=generator)
    rows = torch.tensor(np.repeat(aims, 8, axis=0))
    made = model.sample(len(rows), rows, generator=generator)
    return np.clip(made.numpy().astype(float), 0.0, 1.0).reshape(len(aims), 8, -1)


def measured(run: Run, name: str, seed: int, kind: str) -> Iterator[dict[str, Any]]:
    """Error of every method on one run."""
    aims, rows = targets(run, kind, seed)
    u, f = run.u[rows], run.f[rows]
    best = nondominated_rows(f)
    z, wanted = (f - run.ideal) / run.extent, (aims - run.ideal) / run.extent
    samples: np.ndarray | None = None
    for method in METHODS:
        if method in ONLY_ON and kind != ONLY_ON[method]:
            continue
        start, expected = time.process_time(), None
        if method in ("ask", "gaussians", "ddpm+critic"):
            sampler = InverseSampler(n_steps=0 if method == "gaussians" else 6)
            sampler.fit(u, f, np.zeros(len(u)))
            rng = np.random.default_rng(seed)
            given = samples if method == "ddpm+critic" else None
            answers = sampler.sample(aims, random_state=rng, proposals=given)
            made, expected = answers.u, answers.error
        elif method == "ddpm":
            samples = ddpm(u, z, wanted, seed)
            made = samples[:, 0]
        elif method == "linear":
            made = np.array([linear(u[best], z[best], aim) for aim in wanted])
        else:
            made = u[best][cKDTree(z[best]).query(wanted)[1]]
        seconds = time.process_time() - start
        true = run.obtained(made)
        error = np.linalg.norm((true - aims) / run.extent, axis=1)
        worse = [(f[best] < row - 1e-12).all(axis=1).any() for row in true]
        covered = np.nan
        if expected is not None:
            covered = float(np.mean(np.abs(true - answers.f) <= 2.0 * expected + 1e-6))
        yield {
            "problem": name, "seed": seed, "kind": kind, "method": method,
            "median": float(np.median(error)), "mean": float(error.mean()),
            "dominated": float(np.mean(worse)), "covered": covered, "seconds": seconds,
        }  # fmt: skip


def branches(run: Run, name: str, seed: int) -> Iterator[dict[str, Any]]:
    """Share of pre-images returned, and IGDX, on a problem with several pre-images."""
    feasible = np.zeros(len(run.u))
    many = InverseSampler(n_starts=N_DESIGNS).fit(run.u, run.f, feasible)
    sampler = InverseSampler().fit(run.u, run.f, feasible)
    rng = np.random.default_rng(seed)
    z = (run.f - run.ideal) / run.extent
    tree, share = cKDTree(z), {"ask": [], "nearest": []}  # type: ignore[var-annotated]
    for f1 in np.linspace(0.05, 0.95, 10):
        true = (run.problem.preimages(f1) - run.low) / run.width
        aim = run.problem.evaluate(run.problem.preimages(f1)[:1])
        made = {
            "ask": many.sample(aim, N_DESIGNS, random_state=rng).u,
            "nearest": run.u[tree.query((aim[0] - run.ideal) / run.extent, k=N_DESIGNS)[1]],
        }
        for method, u in made.items():
            share[method].append(np.mean(cKDTree(u).query(true, p=np.inf)[0] <= 0.05))
    front = FoundFront(sampler.scale(sampler.front))
    free = np.full(2, np.inf)
    aims = sampler.unscale(front.spread(125, -free, free)[0])
    asked = sampler.sample(aims, 8, random_state=rng)
    near = np.argsort(cKDTree(sampler.scale(sampler.front)).query(sampler.scale(run.f))[0])[:1_000]
    sets = {
        "ask": run.low + asked.u * run.width,
        "nearest": run.low + run.u[near] * run.width,
        "population": run.population,
    }
    reference = run.problem.pareto_set(400 * len(run.problem.preimages(0.37)))
    for method, x in sets.items():
        igdx = float(cKDTree(x).query(reference)[0].mean())
        yield {
            "problem": name, "seed": seed, "kind": "branches", "method": method, "median": igdx,
            "mean": float(np.mean(share[method])) if method in share else np.nan,
        }  # fmt: skip


def measure(problems: list[str], seeds: list[int]) -> None:
    """Run what is not recorded yet; one seed of all problems after the other."""
    RUNS.parent.mkdir(exist_ok=True)
    done = {(r["problem"], int(r["seed"])) for r in recorded()}
    for seed in seeds:
        for name in problems:
            if (name, seed) in done:
                continue
            run = Run(name, seed)
            rows = [
                *measured(run, name, seed, "true front"),
                *measured(run, name, seed, "held out"),
            ]
            rows += branches(run, name, seed) if name.startswith("mmf") else ()
            is_new = not RUNS.exists()
            with RUNS.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, COLUMNS)
                if is_new:
                    writer.writeheader()
                writer.writerows(rows)
            print(name, seed, *(f"{r['method']} {r['median']:.3g}" for r in rows[:6]), flush=True)


def recorded() -> list[dict[str, Any]]:
    """The rows of the file of runs."""
    if not RUNS.exists():
        return []
    with RUNS.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def table(rows: list[dict[str, Any]], kind: str, column: str, methods: tuple[str, ...]) -> str:
    """Medians over the runs of one measure, with marks against the nearest neighbour."""
    maximize = kind == "branches" and column == "mean"
    samples: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row["kind"] == kind and row["method"] in methods and row[column] not in ("", "nan"):
            samples.setdefault((row["problem"], row["method"]), []).append(float(row[column]))
    marks = compare(samples, "nearest", maximize=maximize)
    names = list(dict.fromkeys(problem for problem, _ in samples))
    lines = ["| problem | " + " | ".join(methods) + " |", "|---" + "|---:" * len(methods) + "|"]
    for problem in names:
        medians = {m: np.median(samples[problem, m]) for m in methods if (problem, m) in samples}
        best = (max if maximize else min)(medians.values())
        cells = []
        for method in methods:
            if method not in medians:
                cells.append("")
                continue
            text = f"{medians[method]:.3g}"
            text = f"**{text}**" if medians[method] == best else text
            mark = marks.get((problem, method))
            cells.append(f"{text} {mark.mark}" if mark is not None else text)
        lines.append(f"| {problem} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def report() -> None:
    """Tables and figure."""
    rows = recorded()
    n_seeds = len({row["seed"] for row in rows})
    shown = {
        kind: tuple(m for m in METHODS if ONLY_ON.get(m, kind) == kind)
        for kind in ("true front", "held out")
    }
    on_branches = ("ask", "nearest", "population")
    parts = [
        f"# Asked against obtained\n\nMedians over {n_seeds} runs of NSGA-II, {N_EVAL} "
        "evaluations; `benchmarks/ask.py` says what is measured. + better, - worse, = no "
        "significant difference against `nearest` (Wilcoxon rank-sum, Holm over the table)."
    ]
    measures = {
        "median": "median error",
        "mean": "mean error",
        "dominated": "share of designs dominated by a found one",
    }
    for kind, methods in shown.items():
        for column, what in measures.items():
            parts.append(f"## Targets: {kind}, {what}\n\n" + table(rows, kind, column, methods))
    parts.append("## Share of pre-images returned by 16 designs\n\n"
                 + table(rows, "branches", "mean", on_branches[:2]))  # fmt: skip
    parts.append("## IGDX of 1,000 designs (population: 200)\n\n"
                 + table(rows, "branches", "median", on_branches))  # fmt: skip
    for kind in ("true front", "held out"):
        parts.append(f"## Share of true errors below twice the expected error: {kind}\n\n"
                     + plain(rows, kind, "covered", ("ask",)))  # fmt: skip
    parts.append("## CPU seconds for 50 targets, training included\n\n"
                 + plain(rows, "true front", "seconds", shown["true front"]))  # fmt: skip
    TABLES.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    print(TABLES.read_text(encoding="utf-8"))


def plain(rows: list[dict[str, Any]], kind: str, column: str, methods: tuple[str, ...]) -> str:
    """Medians over the runs without a comparison."""
    lines = ["| problem | " + " | ".join(methods) + " |", "|---" + "|---:" * len(methods) + "|"]
    for name in dict.fromkeys(row["problem"] for row in rows):
        values = [
            [float(r[column]) for r in rows
             if (r["problem"], r["kind"], r["method"]) == (name, kind, m)]
            for m in methods
        ]  # fmt: skip
        lines.append(f"| {name} | " + " | ".join(f"{np.median(v):.2f}" for v in values) + " |")
    return "\n".join(lines)


def figure() -> None:
    """Asked against obtained on three problems, seed 1."""
    panels = {}
    for name in SHOWN:
        run = Run(name, 1)
        aims, _ = targets(run, "true front", 1)
        best = nondominated_rows(run.f)
        z, wanted = (run.f[best] - run.ideal) / run.extent, (aims - run.ideal) / run.extent
        sampler = InverseSampler().fit(run.u, run.f, np.zeros(len(run.u)))
        made = {
            "ask": sampler.sample(aims, random_state=np.random.default_rng(1)).u,
            "linear interpolation": np.array([linear(run.u[best], z, aim) for aim in wanted]),
            "nearest neighbour": run.u[best][cKDTree(z).query(wanted)[1]],
        }
        panels[name] = (aims, {k: run.obtained(u) for k, u in made.items()}, run.front)
    save_figure(plot_asked(panels, title="Asked against obtained, after NSGA-II"), FIGURE)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=("all", "report"), default="all")
    parser.add_argument("--seeds", type=int, default=11)
    parser.add_argument("--problems", default=",".join(PROBLEMS))
    args = parser.parse_args()
    if args.what == "all":
        measure(args.problems.split(","), list(range(1, args.seeds + 1)))
    report()
    figure()


if __name__ == "__main__":
    main()
