"""Pairs of tasks that have nothing in common, for `multitask_study.py`.

Their Pareto sets lie at independent random places of boxes of different size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from evogen.problems import get_problem

PAIRS = [("zdt1", "dtlz2"), ("zdt2", "dtlz7"), ("imf1", "imf4"), ("uf1", "uf4"), ("wfg4", "zdt6")]
NEW_PAIRS = [("zdt3", "dtlz5"), ("zdt4", "uf2"), ("imf2", "wfg2"), ("uf3", "uf7"), ("wfg9", "imf7")]


@dataclass(frozen=True)
class Pair:
    """Two tasks, as `get_problem("cihs")` has them."""

    tasks: tuple[Any, Any]


def pair(first: str, second: str) -> Pair:
    """The shifted twins of two problems, moved independently."""
    return Pair((get_problem(f"{first}-shifted", seed=1), get_problem(f"{second}-shifted", seed=2)))
