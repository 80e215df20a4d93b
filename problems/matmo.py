"""CEC19-MaTMO, six problems of many tasks: one landscape, placed differently in every task.

Source: the CEC 2019 competition on evolutionary many-task optimization (L. Feng et al.); its report
was not readable to us. Definitions and data files are those of the MToP platform and DDMTOLab,
whose values they equal. Each task is that of `mtmo.MTMOTask` with z = M (x - s) kept within the
box; M is a rotation in problems 1 and 6 and the identity in the others.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from .base import check_integer
from .competition import check_shift, common_shift, data_folder, rotation, table, twin_label
from .mtmo import OPTIMUM, G, MTMOTask, Shape, TaskSet

# Of each problem: shape, distance function, number of variables, bound of the distance variables,
# how far s is from 0, and whether the tasks are rotated.
PROBLEMS: tuple[tuple[Shape, str, int, float, float, bool], ...] = (
    ("circle", "sphere", 50, 100.0, 20.0, True),
    ("concave", "mean", 50, 100.0, 25.0, False),
    ("concave", "rosenbrock", 10, 5.0, 1.0, False),
    ("circle", "rastrigin", 50, 2.0, 0.12, False),
    ("convex", "ackley", 50, 1.0, 0.18, False),
    ("circle", "griewank", 50, 50.0, 11.0, True),
)
NAMES = tuple(f"matmo{i}" for i in range(1, len(PROBLEMS) + 1))
MOST_TASKS = 50

Data = Callable[[int, int], tuple[np.ndarray, np.ndarray]]
"""From the numbers of problem and task to M `(k, k)` and s `(k,)`."""


def kept_within(z: np.ndarray, g: str, bound: float) -> np.ndarray:
    """A distance function `(n, k)` to `(n,)` of z clipped to [-bound, bound]."""
    return G[g](np.clip(z, -bound, bound))


def published_data(folder: str | Path | None = None) -> Data:
    """Reads the competition's files, `M/M1/M1_1.txt`, `SVector/S1/S1_1.txt` and so on.

    Args:
        folder: Where the folders `M` and `SVector` lie; None for the package `ddmtolab`.

    Raises:
        FileNotFoundError: They are in neither place.
    """
    place = data_folder(folder, "data_cec19matmo", "CEC19-MaTMO", "matmo1-seeded")

    def read(problem: int, task: int) -> tuple[np.ndarray, np.ndarray]:
        k = PROBLEMS[problem - 1][2] - 1
        matrix = table(place / f"M/M{problem}/M{problem}_{task}.txt", (k, k))
        return matrix, table(place / f"SVector/S{problem}/S{problem}_{task}.txt", (k,))

    return read


def seeded_data(seed: int) -> Data:
    """Random rotations and places of the same kind as the competition's."""
    check_integer("seed", seed, 0)

    def draw(problem: int, task: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([seed, problem, task])
        _, _, n_var, _, reach, rotated = PROBLEMS[problem - 1]
        k = n_var - 1
        return rotation(k, rng) if rotated else np.eye(k), rng.uniform(-reach, reach, k)

    return draw


def _make(number: int, label: str, data: Data, n_tasks: int, shift: float) -> TaskSet:
    check_shift(shift)
    shape, g, n_var, bound, _, _ = PROBLEMS[number - 1]
    found = [data(number, task) for task in range(1, n_tasks + 1)]
    best = OPTIMUM.get(g, 0.0)
    optima = np.array([np.linalg.solve(m, np.full(len(m), best)) + s for m, s in found])
    moved = common_shift(shift, (optima + bound) / (2 * bound))
    distance = partial(kept_within, g=g, bound=bound)
    return TaskSet(
        label,
        tuple(
            MTMOTask(
                f"{label}-t{task}", shape, distance, n_var, bound, matrix=matrix, centre=centre,
                shift=moved, optimum=best,
            )
            for task, (matrix, centre) in enumerate(found, start=1)
        ),
    )  # fmt: skip


def factory(number: int) -> Callable[..., TaskSet]:
    """A function that makes a problem, 1 to 6, for the registry."""
    name = NAMES[number - 1]

    def published(n_tasks: int = 10, shift: float = 0.0, data: str | Path | None = None) -> TaskSet:
        if check_integer("n_tasks", n_tasks, 2) > MOST_TASKS:
            raise ValueError(
                f"n_tasks={n_tasks} must be at most {MOST_TASKS}, for so many have data; "
                f"{name}-seeded has any number"
            )
        return _make(number, twin_label(name, shift), published_data(data), n_tasks, shift)

    return published


def seeded_factory(number: int) -> Callable[..., TaskSet]:
    """The same with rotations and places of our own, for any number of tasks."""
    name = f"{NAMES[number - 1]}-seeded"

    def seeded(n_tasks: int = 10, shift: float = 0.0, seed: int = 0) -> TaskSet:
        n_tasks = check_integer("n_tasks", n_tasks, 2)
        return _make(number, twin_label(name, shift), seeded_data(seed), n_tasks, shift)

    return seeded
