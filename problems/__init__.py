"""Benchmark problems: our own suites, pymoo's with offline fronts, shifted twins, and a registry.

`get_problem(name)` and `list_problems()` lead to everything; `shifted(problem)` makes a twin of any
box-bounded problem; `true_front(problem)` is the front of any problem without the network.
"""

from .base import N_PARETO_POINTS, AnalyticProblem, AnyResolution
from .fronts import OfflineFront, offline, true_front, true_set
from .imf import IMF1, IMF2, IMF3, IMF4, IMF5, IMF6, IMF7, IMF8, IMF9, IMF10
from .lsmop import LSMOP1, LSMOP2, LSMOP3, LSMOP4, LSMOP5, LSMOP6, LSMOP7, LSMOP8, LSMOP9
from .mmf import MMF1, MMF2, MMF3, MMF4, MMF5, MMF6, MMF7, MMF8
from .mtmo import MTMOTask, TaskSet
from .registry import (
    count_tasks,
    get_problem,
    list_problems,
    list_suites,
    register,
    resolve,
)
from .sampling import simplex_lattice, sphere_lattice
from .shifted import ShiftedProblem, shifted
from .uf import UF1, UF2, UF3, UF4, UF5, UF6, UF7, UF8, UF9, UF10

__all__ = [
    "AnalyticProblem",
    "AnyResolution",
    "IMF1",
    "IMF2",
    "IMF3",
    "IMF4",
    "IMF5",
    "IMF6",
    "IMF7",
    "IMF8",
    "IMF9",
    "IMF10",
    "LSMOP1",
    "LSMOP2",
    "LSMOP3",
    "LSMOP4",
    "LSMOP5",
    "LSMOP6",
    "LSMOP7",
    "LSMOP8",
    "LSMOP9",
    "MMF1",
    "MMF2",
    "MMF3",
    "MMF4",
    "MMF5",
    "MMF6",
    "MMF7",
    "MMF8",
    "MTMOTask",
    "N_PARETO_POINTS",
    "OfflineFront",
    "ShiftedProblem",
    "TaskSet",
    "UF1",
    "UF2",
    "UF3",
    "UF4",
    "UF5",
    "UF6",
    "UF7",
    "UF8",
    "UF9",
    "UF10",
    "count_tasks",
    "get_problem",
    "list_problems",
    "list_suites",
    "offline",
    "register",
    "resolve",
    "shifted",
    "simplex_lattice",
    "sphere_lattice",
    "true_front",
    "true_set",
]
