"""The campaign of `evogen demo`: generative operators beside honest baselines."""

from __future__ import annotations

from pathlib import Path

from evogen.experiment.campaign import Campaign
from evogen.experiment.targets import prepare_folder

PROBLEMS = ("imf1", "imf3", "zdt1", "dtlz2")

ALGORITHMS = ("nsga2", "immoea", "gmoea", "nsga2-ddpm", "ace")

#: The fewest seeds with which Holm's correction over the table's 32 tests leaves room for a mark:
#: two samples of 7 that do not overlap have p = 2 / 3432.
SEEDS = 7

N_EVAL = 5_000

QUICK_SEEDS = 2

QUICK_N_EVAL = 1_000

POP_SIZE = 100


def demo_campaign(
    out_dir: str | Path, *, seeds: int | None = None, quick: bool = False
) -> Campaign:
    """The demo's campaign, with its store in `out_dir` (made when it is not there).

    Args:
        out_dir: Folder of the results.
        seeds: Number of seeds; 7 by default, 2 when quick.
        quick: A fifth of the evaluations, to see that everything works.
    """
    out_dir = prepare_folder(out_dir)
    return Campaign(
        [name for problem in PROBLEMS for name in (problem, f"{problem}-shifted")],
        ALGORITHMS,
        seeds=seeds if seeds is not None else QUICK_SEEDS if quick else SEEDS,
        n_eval=QUICK_N_EVAL if quick else N_EVAL,
        pop_size=POP_SIZE,
        store=out_dir / ("demo-quick.db" if quick else "demo.db"),
    )
