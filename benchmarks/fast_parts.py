"""SPEA2 truncation and duplicate elimination beside pymoo's, and fits of the critic, as ratios.

    OMP_NUM_THREADS=1 python benchmarks/fast_parts.py --out benchmarks/results/fast_parts.md

CPU seconds of one thread, median of the repetitions; pymoo's slow cases run once. The critic: 600
points of the unit box and 25 more, as ACE learns them; LU is what it falls back to, and all that it
had before points could be added. Candidates: one round of ACE's search, before the critic's word.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pymoo.algorithms.moo.spea2 import SPEA2Survival
from pymoo.core.duplicate import DefaultDuplicateElimination
from pymoo.core.population import Population
from pymoo.core.problem import Problem

from evogen.algorithms import LocalInverse, simplex_directions
from evogen.algorithms.ace_search import differential, neighborhoods
from evogen.operators import (
    FastSPEA2Survival,
    HashDuplicateElimination,
    RBFCritic,
    pairwise_distances,
    truncate,
)
from evogen.operators.critic import CholeskySystem, LUSystem, cubed, squared_distances


def cpu_seconds(function: Callable[[], Any], repeats: int) -> float:
    """Median CPU seconds of a call."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return float(np.median(times))


def sphere_front(n: int, n_obj: int) -> np.ndarray:
    """n mutually non-dominated points on the positive unit sphere."""
    f = np.abs(np.random.default_rng(n + n_obj).normal(size=(n, n_obj)))
    return np.asarray(f / np.linalg.norm(f, axis=1, keepdims=True))


def one_survival(problem: Problem, f: np.ndarray, n: int, kind: Any) -> Population:
    """n survivors of the points f by a new survival of the given class."""
    return kind().do(problem, Population.new(F=f), n_survive=n)


def spea2_rows() -> list[list[str]]:
    """Survival of N out of 2 N non-dominated points."""
    rows = []
    for n_obj in (2, 3):
        for n in (100, 200, 400, 1000):
            problem = Problem(n_var=1, n_obj=n_obj, xl=0, xu=1)
            f = sphere_front(2 * n, n_obj)

            survive = partial(one_survival, problem, f, n)
            distances = pairwise_distances(f)
            alone = cpu_seconds(partial(truncate, distances, n), 5)
            ours = cpu_seconds(partial(survive, FastSPEA2Survival), 5)
            theirs, ratio, same = "not run", "-", "-"
            if n <= 400:
                seconds = cpu_seconds(partial(survive, SPEA2Survival), 1)
                theirs, ratio = f"{1000 * seconds:.0f}", f"{seconds / ours:.0f}x"
                kept = [survive(s).get("F") for s in (FastSPEA2Survival, SPEA2Survival)]
                same = "yes" if np.array_equal(*kept) else "NO"
            numbers = [str(n), f"{1000 * alone:.1f}", f"{1000 * ours:.1f}"]
            rows.append([str(n_obj), *numbers, theirs, ratio, same])
    return rows


def duplicate_rows() -> list[list[str]]:
    """N offspring against themselves and N parents, 30 variables, 5 % planted duplicates."""
    rows = []
    for n in (100, 1000, 5000):
        rng = np.random.default_rng(n)
        parents = rng.random((n, 30))
        offspring = rng.random((n, 30))
        offspring[: n // 20] = parents[: n // 20]
        pop, off = Population.new(X=parents), Population.new(X=offspring)
        ours, theirs = HashDuplicateElimination(), DefaultDuplicateElimination()
        repeats = 20 if n < 5000 else 3
        a = cpu_seconds(partial(ours.do, off, pop), repeats)
        b = cpu_seconds(partial(theirs.do, off, pop), min(repeats, 5))
        same = np.array_equal(ours.do(off, pop).get("X"), theirs.do(off, pop).get("X"))
        rows.append(
            [str(n), f"{1000 * a:.2f}", f"{1000 * b:.2f}", f"{b / a:.1f}x", "yes" if same else "NO"]
        )
    return rows


def critic_rows() -> list[list[str]]:
    """A fit by LU and by Cholesky, and 25 points added, with 10 to 100 variables."""
    rows = []
    for n_dim in (10, 30, 100):
        u = np.random.default_rng(n_dim).random((625, n_dim))
        f = np.stack([u[:, 0], (u**2).sum(axis=1)], axis=1)

        def solve(kind: type[CholeskySystem] | type[LUSystem], u: Any = u, f: Any = f) -> None:
            kernel = cubed(squared_distances(u, u))
            kernel[np.diag_indices(len(u))] = 1e-6 * kernel.mean()
            kind(kernel, np.hstack([np.ones((len(u), 1)), u])).solve(f)

        def grow(critic: RBFCritic, u: Any = u, f: Any = f) -> None:
            critic.extend(u[600:], f[600:])

        lu, cholesky = (cpu_seconds(partial(solve, k), 15) for k in (LUSystem, CholeskySystem))
        critics = [RBFCritic().fit(u[:600], f[:600]) for _ in range(15)]
        added = float(np.median([cpu_seconds(partial(grow, critic), 1) for critic in critics]))
        times = [f"{1000 * t:.1f}" for t in (lu, cholesky, added)]
        rows.append([str(n_dim), *times, f"{lu / cholesky:.1f}x", f"{lu / added:.1f}x"])
    return rows


def candidate_rows() -> list[list[str]]:
    """100 candidates by differential variation alone and with the local inverse model."""
    rows = []
    for n_obj in (2, 3):
        directions = simplex_directions(n_obj, 100)
        neighbors = neighborhoods(directions, 15)
        for n_dim in (10, 30, 100):
            rng = np.random.default_rng(n_dim)
            u = rng.random((len(directions), n_dim))
            model = LocalInverse()
            model.begin(u, directions, rng)
            alone, both = (
                cpu_seconds(partial(make, u, neighbors, rng), 500) for make in (differential, model)
            )
            times = [f"{1000 * alone:.2f}", f"{1000 * both:.2f}"]
            rows.append([str(n_obj), str(n_dim), *times, f"{both / alone:.1f}x"])
    return rows


def markdown(title: str, header: list[str], rows: list[list[str]]) -> str:
    """A table."""
    lines = [f"## {title}\n", "| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    text = markdown(
        "SPEA2: N of 2N non-dominated points, CPU ms",
        ["objectives", "N", "truncation alone", "whole survival", "pymoo", "pymoo / ours",
         "same survivors"],
        spea2_rows(),
    )  # fmt: skip
    text += "\n" + markdown(
        "Duplicates: N offspring, N parents, 30 variables, CPU ms",
        ["N", "row hash", "pymoo's matrix", "pymoo / ours", "same result"],
        duplicate_rows(),
    )
    text += "\n" + markdown(
        "Critic: 625 points, two outputs, CPU ms",
        ["variables", "LU", "Cholesky", "25 points added to 600", "LU / Cholesky", "LU / added"],
        critic_rows(),
    )
    text += "\n" + markdown(
        "Candidates: 100 directions, CPU ms a round",
        ["objectives", "variables", "differential variation", "with the local inverse model",
         "ratio"],
        candidate_rows(),
    )  # fmt: skip
    print(text)
    if args.out:
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
