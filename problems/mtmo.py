"""CEC17-MTMO, the nine two-task problems of the CEC 2017 competition on multitask optimization.

Source: Y. Yuan, Y.-S. Ong, L. Feng, A. K. Qin, A. Gupta, B. Da, Q. Zhang, K. C. Tan, Y. Jin,
H. Ishibuchi, "Evolutionary multitasking for multiobjective continuous optimization: benchmark
problems, performance metrics and baseline results", arXiv 1706.02766, 2017. Values equal those of
the MATLAB code in the MToP platform.

Every task has position variables in [0, 1], which say where on the front, and distance variables,
transformed to z = M (x - s), which say how far from it: with q = 1 + g(z),

    circle, sphere   f = q times a point of the unit circle or sphere
    convex           f1 = mean of the positions, f2 = q (1 - sqrt(f1 / q))
    concave          f1 = mean of the positions, f2 = q (1 - (f1 / q)^2)

Names: C, P, N for complete, partial, no intersection of the two Pareto sets; HS, MS, LS for high,
medium, low similarity of the two landscapes.

In half of the tasks the Pareto set lies in the centre of the box: an operator that leans to the
centre is rewarded. `shift` moves it; `cihs-shifted` and so on are the twins moved by 0.2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pymoo.core.problem import Problem
from scipy.io import loadmat

from .base import N_PARETO_POINTS, AnalyticProblem, check_integer
from .competition import HELP, check_shift, packaged_folder, twin_label
from .sampling import box_grid, sphere_lattice

Shape = Literal["circle", "sphere", "convex", "concave"]
Reading = Literal["mtop", "java"]


@dataclass(frozen=True)
class TaskSet:
    """Several problems to be solved together.

    Attributes:
        label: The set's name.
        tasks: Ordinary pymoo problems, each in its own units.
        descriptors: What each task is known by, `(n_tasks, k)` numbers that belong to the task
            itself, such as a load or a time; None where there is no such thing.
    """

    label: str
    tasks: tuple[Problem, ...]
    descriptors: np.ndarray | None = field(default=None, compare=False)

    def name(self) -> str:
        """The set's name."""
        return self.label

    def __len__(self) -> int:
        return len(self.tasks)


# The distance functions g of z, `(n, k)` to `(n,)`; all are 0 at their least.


def sphere(z: np.ndarray) -> np.ndarray:
    """Sum of squares."""
    return np.sum(z**2, axis=1)


def mean(z: np.ndarray) -> np.ndarray:
    """Nine times the mean of the absolute values."""
    return 9.0 * np.mean(np.abs(z), axis=1)


def rosenbrock(z: np.ndarray) -> np.ndarray:
    """The valley with its end at 1."""
    return np.sum(100.0 * (z[:, :-1] ** 2 - z[:, 1:]) ** 2 + (1.0 - z[:, :-1]) ** 2, axis=1)


def steep_rosenbrock(z: np.ndarray) -> np.ndarray:
    """Both terms times 100, as MToP has it in the first task of CIMS."""
    return 100.0 * np.sum((z[:, :-1] ** 2 - z[:, 1:]) ** 2 + (1.0 - z[:, :-1]) ** 2, axis=1)


def rastrigin(z: np.ndarray) -> np.ndarray:
    """Sphere with waves."""
    return np.sum(z**2 - 10.0 * np.cos(2.0 * np.pi * z) + 10.0, axis=1)


def ackley(z: np.ndarray) -> np.ndarray:
    """Nearly flat but for a hole at 0."""
    root = np.sqrt(np.mean(z**2, axis=1))
    waves = np.mean(np.cos(2.0 * np.pi * z), axis=1)
    return 20.0 + np.e - 20.0 * np.exp(-0.2 * root) - np.exp(waves)


def griewank(z: np.ndarray) -> np.ndarray:
    """Sphere with waves that are coupled by a product."""
    scale = np.sqrt(np.arange(1, z.shape[1] + 1))
    return 1.0 + np.sum(z**2, axis=1) / 4000.0 - np.prod(np.cos(z / scale), axis=1)


Distance = Callable[[np.ndarray], np.ndarray]

G: dict[str, Distance] = {
    g.__name__: g for g in (sphere, mean, rosenbrock, steep_rosenbrock, rastrigin, ackley, griewank)
}
OPTIMUM = {"rosenbrock": 1.0, "steep_rosenbrock": 1.0}
"""Where g is least in every coordinate of z, if not at 0."""


class MTMOTask(AnalyticProblem):
    """One task.

    Args:
        label: Its name.
        shape: Of the front.
        g: Name of the distance function, or a function from `(n, k)` to `(n,)`.
        n_var: Number of variables.
        bound: Distance variables lie in [-bound, bound]; 0 means [0, 1].
        n_position: Number of position variables.
        matrix: M `(k, k)`, k = n_var - n_position; None for the identity.
        centre: s `(k,)`; None for 0.
        shift: How far the Pareto set is moved, as a share of the box; one number for all distance
            variables or `(k,)`.
        optimum: Where g is least, in every coordinate of z; None for what `OPTIMUM` says of its
            name, or 0 if g is a function.
        least: The value of g there.
    """

    def __init__(
        self,
        label: str,
        shape: Shape,
        g: str | Distance,
        n_var: int,
        bound: float,
        *,
        n_position: int = 1,
        matrix: np.ndarray | None = None,
        centre: np.ndarray | None = None,
        shift: float | np.ndarray = 0.0,
        optimum: float | None = None,
        least: float = 0.0,
    ) -> None:
        k = n_var - n_position
        xl = np.concatenate([np.zeros(n_position), np.full(k, -bound)])
        xu = np.concatenate([np.ones(n_position), np.full(k, bound if bound else 1.0)])
        n_obj = 3 if shape == "sphere" else 2
        super().__init__(n_var=n_var, n_obj=n_obj, xl=xl, xu=xu, vtype=float)
        self.label, self.shape = label, shape
        if isinstance(g, str):
            self.g, usual = G[g], OPTIMUM.get(g, 0.0)
        else:
            self.g, usual = g, 0.0
        self.optimum = usual if optimum is None else optimum
        self.least = least
        self.n_position = n_position
        self.matrix = matrix
        self.centre = np.zeros(k) if centre is None else centre
        self.moved = shift * (xu - xl)[n_position:]

    def name(self) -> str:
        """The task's name."""
        return self.label

    def _evaluate(self, x: np.ndarray, out: dict, *args: Any, **kwargs: Any) -> None:
        position = x[:, : self.n_position]
        z = x[:, self.n_position :] - self.moved - self.centre
        if self.matrix is not None:
            z = z @ self.matrix.T
        out["F"] = self._front(position, 1.0 + self.g(z))

    def _front(self, position: np.ndarray, q: np.ndarray) -> np.ndarray:
        if self.shape in ("circle", "sphere"):
            angle = 0.5 * np.pi * position
            columns = [q * np.sin(angle[:, 0])]
            left = q * np.cos(angle[:, 0])
            if self.shape == "sphere":
                return np.column_stack(
                    [left * np.cos(angle[:, 1]), left * np.sin(angle[:, 1]), *columns]
                )
            return np.column_stack([left, *columns])
        f1 = np.mean(position, axis=1)
        ratio = f1 / q
        bend = np.sqrt(ratio) if self.shape == "convex" else ratio**2
        return np.column_stack([f1, q * (1.0 - bend)])

    def _calc_pareto_front(self, n_pareto_points: int = N_PARETO_POINTS) -> np.ndarray:
        """Evenly spaced in the angle (circle), on a lattice (sphere), or in f1."""
        if self.shape == "sphere":
            return (1.0 + self.least) * sphere_lattice(3, n_pareto_points)
        along = np.linspace(0.0, 1.0, n_pareto_points)[:, None]
        return self._front(along, np.full(n_pareto_points, 1.0 + self.least))

    def _calc_pareto_set(self, n_pareto_points: int = N_PARETO_POINTS) -> np.ndarray:
        """One point for each of `_calc_pareto_front`, if there is one position variable."""
        z = np.full(self.n_var - self.n_position, self.optimum)
        distance = z if self.matrix is None else np.linalg.solve(self.matrix, z)
        distance = distance + self.centre + self.moved
        position = box_grid(self.n_position, n_pareto_points)
        return np.column_stack([position, np.tile(distance, (len(position), 1))])


# --- matrices ------------------------------------------------------------------------------------

Matrices = Callable[[str], np.ndarray]

SIZES = {"Mcm2": 9, "Mpm1": 49, "Mpm2": 49, "Mnm2": 18}
"""The competition's matrices, by name; CIMS, PIMS and NIMS need them."""


def published_matrices(folder: str | Path | None = None) -> Matrices:
    """Reads the competition's matrices.

    Args:
        folder: Where `Mcm2.mat` and so on lie, as in MToP, or a `.npz` file with arrays of these
            names; None for those in the package `ddmtolab`, if it is installed.

    Returns:
        A function from a matrix's name to it.

    Raises:
        FileNotFoundError: They are in neither place.
        ValueError: A file does not hold the matrix, or it has another size.
    """
    place = _place(folder)

    def read(name: str) -> np.ndarray:
        if place.suffix == ".npz":
            with np.load(place) as arrays:
                found = {key: arrays[key] for key in arrays.files}
        else:
            file = place / f"{name}.mat"
            if not file.exists():
                raise FileNotFoundError(f"{file} is missing; {_HELP}")
            found = loadmat(file)
        if name not in found:
            raise ValueError(f"{place} does not hold the matrix {name!r}")
        # Files hold columns first; products with that layout are rounded in another way.
        matrix = np.ascontiguousarray(found[name], dtype=float)
        if matrix.shape != (SIZES[name],) * 2:
            raise ValueError(f"{name} in {place} has shape {matrix.shape}, not {SIZES[name]} rows")
        return matrix

    return read


_HELP = (
    f"{HELP}; cims-seeded, pims-seeded and nims-seeded have matrices of the same kind and need "
    "nothing"
)


def _place(folder: str | Path | None) -> Path:
    if folder is None:
        return packaged_folder("data_cec17mtmo", "the matrices of CEC17-MTMO", _HELP)
    place = Path(folder)
    if not place.exists():
        raise FileNotFoundError(f"data={str(folder)!r} does not exist; {_HELP}")
    return place


def seeded_matrices(seed: int) -> Matrices:
    """Random matrices of the same kind as the competition's.

    Those are no rotations: their entries have two decimals and are spread over [-1, 1], those of
    Mpm2 over [0, 1].
    """
    check_integer("seed", seed, 0)

    def draw(name: str) -> np.ndarray:
        rng = np.random.default_rng([seed, sorted(SIZES).index(name)])
        low = 0.0 if name == "Mpm2" else -1.0
        return rng.uniform(low, 1.0, size=(SIZES[name],) * 2).round(2)

    return draw


# --- the nine ------------------------------------------------------------------------------------


def _steps(*parts: tuple[int, float]) -> np.ndarray:
    """A vector of so many equal numbers after one another."""
    return np.concatenate([np.full(n, value) for n, value in parts])


# Of each task: shape, g, n_var, bound, and what differs from the default.
_TASKS: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
    "cihs": (("circle", "sphere", 50, 100.0, {}), ("concave", "mean", 50, 100.0, {})),
    "cims": (
        ("concave", "steep_rosenbrock", 10, 5.0, {}),
        ("circle", "mean", 10, 5.0, {"matrix": "Mcm2", "centre": _steps((9, 1.0))}),
    ),
    "cils": (("circle", "rastrigin", 50, 2.0, {}), ("convex", "ackley", 50, 1.0, {})),
    "pihs": (
        ("convex", "sphere", 50, 100.0, {}),
        ("convex", "rastrigin", 50, 100.0, {"centre": _steps((39, 0.0), (10, 0.1))}),
    ),
    "pims": (
        (
            "circle",
            "sphere",
            50,
            0.0,
            {"matrix": "Mpm1", "centre": _steps((24, 0.0), (25, 0.2))},
        ),
        ("concave", "rastrigin", 50, 0.0, {"matrix": "Mpm2"}),
    ),
    "pils": (
        ("circle", "griewank", 50, 50.0, {}),
        ("circle", "ackley", 50, 100.0, {"centre": _steps((24, 0.0), (25, 20.0))}),
    ),
    "nihs": (("circle", "rosenbrock", 50, 80.0, {}), ("convex", "sphere", 50, 80.0, {})),
    "nims": (
        ("sphere", "rosenbrock", 20, 20.0, {"n_position": 2}),
        ("concave", "sphere", 20, 20.0, {"n_position": 2, "matrix": "Mnm2"}),
    ),
    "nils": (
        ("sphere", "griewank", 25, 50.0, {"n_position": 2, "centre": _steps((23, 20.0))}),
        ("concave", "ackley", 50, 100.0, {"n_position": 2}),
    ),
}
NAMES = tuple(_TASKS)
WITH_MATRICES = ("cims", "pims", "nims")
SEEDED_NAMES = tuple(f"{name}-seeded" if name in WITH_MATRICES else name for name in NAMES)
"""The nine, with matrices of our own."""


def _make(name: str, label: str, matrices: Matrices, shift: float, reading: Reading) -> TaskSet:
    check_shift(shift)
    if reading not in ("mtop", "java"):
        raise ValueError(f"reading={reading!r} must be 'mtop' or 'java'")
    tasks: list[Problem] = []
    for number, (shape, g, n_var, bound, more) in enumerate(_TASKS[name], start=1):
        settings = dict(more)
        if "matrix" in settings:
            settings["matrix"] = matrices(settings["matrix"])
        own_g = "rosenbrock" if g == "steep_rosenbrock" and reading == "java" else g
        tasks.append(
            MTMOTask(f"{label}-t{number}", shape, own_g, n_var, bound, shift=shift, **settings)
        )
    return TaskSet(label, tuple(tasks))


def factory(name: str) -> Callable[..., TaskSet]:
    """A function that makes the problem of a name, for the registry."""

    def plain(shift: float = 0.0) -> TaskSet:
        return _make(name, twin_label(name, shift), seeded_matrices(0), shift, "mtop")

    def with_matrices(shift: float = 0.0, data: str | Path | None = None) -> TaskSet:
        return _make(name, twin_label(name, shift), published_matrices(data), shift, "mtop")

    def cims(
        shift: float = 0.0, data: str | Path | None = None, reading: Reading = "mtop"
    ) -> TaskSet:
        return _make(name, twin_label(name, shift), published_matrices(data), shift, reading)

    if name == "cims":
        return cims
    return with_matrices if name in WITH_MATRICES else plain


def seeded_factory(name: str) -> Callable[..., TaskSet]:
    """The same with matrices of our own."""

    def seeded(shift: float = 0.0, seed: int = 0, reading: Reading = "mtop") -> TaskSet:
        label = twin_label(f"{name}-seeded", shift)
        return _make(name, label, seeded_matrices(seed), shift, reading)

    return seeded
