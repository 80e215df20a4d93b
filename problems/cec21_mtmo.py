"""CEC21-MTMO, ten two-task problems with shifted, rotated and hybrid distance functions.

Source: the CEC 2021 competition on evolutionary multitask optimization (L. Feng et al.); its report
was not readable to us. Definitions and data files are those of the MToP platform and DDMTOLab;
values equal DDMTOLab's. Each task is that of `mtmo.MTMOTask`, with 50 variables, the distance
variables in [-100, 100], and with the functions numbered as in the CEC 2014 competition on
real-parameter optimization.

What to know:

- MToP evaluates the modified Schwefel function (F11, F17, F22), Schaffer's F6 in F19 and the Discus
  and Griewank-Rosenbrock parts of F20 from all points of a batch at once, by oversight; DDMTOLab
  evaluates each point by itself, and so do we.
- The modified Schwefel function is not quite 0 at its least, but 1.3e-5 per variable. The fronts
  given here are those that can be reached; the others take it for 0.
- Both say that the front of the second task of problem 1 is the circle. Its values follow the
  concave front, which is given here.
- In F22 the sum in the Katsuura part is not set back from one variable to the next, as in both.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from .base import check_integer
from .competition import check_shift, common_shift, data_folder, rotation, table, twin_label
from .mtmo import Distance, MTMOTask, Shape, TaskSet, ackley, griewank, rastrigin, rosenbrock

N_VAR, BOUND = 50, 100.0
K = N_VAR - 1

# --- parts, functions of z `(n, k)` to `(n,)`, least at 0 ----------------------------------------

SCHWEFEL = 418.9829
"""The published height of the best point of the modified Schwefel function, cut after 4 digits."""


def schwefel(z: np.ndarray) -> np.ndarray:
    """The modified Schwefel function: waves that grow outwards, the second-best far away."""
    k = z.shape[1]
    z = z + 420.9687462275036
    size = np.abs(z)
    folded = 500.0 - np.mod(size, 500.0)
    outside = np.sign(z) * folded * np.sin(np.sqrt(folded)) - (size - 500.0) ** 2 / (10000.0 * k)
    height = np.where(size <= 500.0, z * np.sin(np.sqrt(size)), outside)
    return SCHWEFEL * k - height.sum(axis=1)


def moved_rosenbrock(z: np.ndarray) -> np.ndarray:
    """The valley with its end at 0."""
    return rosenbrock(z + 1.0)


def griewank_rosenbrock(z: np.ndarray) -> np.ndarray:
    """Griewank's waves over Rosenbrock's terms, the last variable being followed by the first."""
    z = z + 1.0
    t = 100.0 * (z**2 - np.roll(z, -1, axis=1)) ** 2 + (z - 1.0) ** 2
    return np.sum(t**2 / 4000.0 - np.cos(t) + 1.0, axis=1)


def elliptic(z: np.ndarray) -> np.ndarray:
    """Squares with weights from 1 to 10^6."""
    return np.sum(1e6 ** np.linspace(0.0, 1.0, z.shape[1]) * z**2, axis=1)


def cigar(z: np.ndarray) -> np.ndarray:
    """Squares, all but the first times 10^6."""
    return z[:, 0] ** 2 + 1e6 * np.sum(z[:, 1:] ** 2, axis=1)


def discus(z: np.ndarray) -> np.ndarray:
    """Squares, the first times 10^6."""
    return 1e6 * z[:, 0] ** 2 + np.sum(z[:, 1:] ** 2, axis=1)


def _cat_remainder(z: np.ndarray) -> np.ndarray:
    return (0.5 * np.sum(z**2, axis=1) + np.sum(z, axis=1)) / z.shape[1] + 0.5


def hgbat(z: np.ndarray) -> np.ndarray:
    """A narrow curved ridge along which the sum and the sum of squares agree."""
    z = z - 1.0
    gap = np.sum(z**2, axis=1) ** 2 - np.sum(z, axis=1) ** 2
    return np.sqrt(np.abs(gap)) + _cat_remainder(z)


def happycat(z: np.ndarray) -> np.ndarray:
    """A narrow ridge along a sphere."""
    z = z - 1.0
    return np.abs(np.sum(z**2, axis=1) - z.shape[1]) ** 0.25 + _cat_remainder(z)


def weierstrass(z: np.ndarray) -> np.ndarray:
    """Waves on waves, 21 of them."""
    k = np.arange(21)
    a, b = 0.5**k, 3.0**k
    waves = np.sum(a * np.cos(2.0 * np.pi * b * (z[:, :, None] + 0.5)), axis=(1, 2))
    return waves - z.shape[1] * np.sum(a * np.cos(np.pi * b))


def schaffer(z: np.ndarray) -> np.ndarray:
    """Rings around 0 in every pair of neighbours, the last variable being followed by the first."""
    r = z**2 + np.roll(z, -1, axis=1) ** 2
    return np.sum(0.5 + (np.sin(np.sqrt(r)) ** 2 - 0.5) / (1.0 + 0.001 * r) ** 2, axis=1)


def katsuura(z: np.ndarray) -> np.ndarray:
    """A product of sums of sawteeth; each variable's sum contains those of the ones before."""
    k = z.shape[1]
    scale = 2.0 ** np.arange(1, 33)
    teeth = np.abs(scale * z[:, :, None] - np.round(scale * z[:, :, None])) / scale
    sums = np.cumsum(teeth.sum(axis=2), axis=1)
    power = 10.0 / k**1.2
    return power * (np.prod((1.0 + np.arange(k) * sums) ** power, axis=1) - 1.0)


# --- the functions -------------------------------------------------------------------------------

Part = tuple[float, float, Distance]

# Of each function: which share of the variables (rounded up; the last part takes the rest), by what
# they are multiplied, and the part itself.
PARTS: dict[str, tuple[Part, ...]] = {
    "f4": ((1.0, 0.02048, moved_rosenbrock),),
    "f8": ((1.0, 0.0512, rastrigin),),
    "f9": ((1.0, 0.0512, rastrigin),),
    "f11": ((1.0, 10.0, schwefel),),
    "f15": ((1.0, 0.05, griewank_rosenbrock),),
    "f17": ((0.3, 10.0, schwefel), (0.3, 0.0512, rastrigin), (0.4, 1.0, elliptic)),
    "f18": ((0.3, 1.0, cigar), (0.3, 0.05, hgbat), (0.4, 0.0512, rastrigin)),
    "f19": (
        (0.2, 6.0, griewank),
        (0.2, 0.005, weierstrass),
        (0.3, 0.02048, moved_rosenbrock),
        (0.3, 1.0, schaffer),
    ),
    "f20": (
        (0.2, 0.05, hgbat),
        (0.2, 1.0, discus),
        (0.3, 0.05, griewank_rosenbrock),
        (0.3, 0.0512, rastrigin),
    ),
    "f22": (
        (0.1, 0.05, katsuura),
        (0.2, 0.05, happycat),
        (0.2, 0.05, griewank_rosenbrock),
        (0.2, 10.0, schwefel),
        (0.3, 1.0, ackley),
    ),
}


class Hybrid:
    """A distance function put together from parts.

    Args:
        name: One of `PARTS`.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, z: np.ndarray) -> np.ndarray:
        """`(n, k)` to `(n,)`."""
        parts, start, value = PARTS[self.name], 0, np.zeros(len(z))
        for number, (share, scale, part) in enumerate(parts):
            last = number == len(parts) - 1
            end = z.shape[1] if last else start + int(np.ceil(share * z.shape[1]))
            value = value + part(scale * z[:, start:end])
            start = end
        return value


# Of each task: shape and function; and, of the problem, how far from 0 the optima are.
PROBLEMS: tuple[tuple[tuple[Shape, str], tuple[Shape, str], float], ...] = (
    (("circle", "f17"), ("concave", "f17"), 10.0),
    (("circle", "f19"), ("circle", "f19"), 10.0),
    (("circle", "f22"), ("convex", "f22"), 10.0),
    (("convex", "f15"), ("convex", "f15"), 50.0),
    (("circle", "f4"), ("concave", "f4"), 50.0),
    (("circle", "f9"), ("circle", "f9"), 50.0),
    (("circle", "f8"), ("convex", "f8"), 50.0),
    (("circle", "f18"), ("concave", "f20"), 70.0),
    (("circle", "f11"), ("concave", "f18"), 70.0),
    (("circle", "f15"), ("concave", "f17"), 70.0),
)
NAMES = tuple(f"cec21-mtmo{i}" for i in range(1, len(PROBLEMS) + 1))

Data = Callable[[int, int], tuple[np.ndarray, np.ndarray]]
"""From the numbers of problem and task to the matrix `(49, 49)` and the optimum `(49,)`."""


def published_data(folder: str | Path | None = None) -> Data:
    """Reads the competition's files, `benchmark_1/matrix_1`, `benchmark_1/bias_1` and so on.

    Args:
        folder: Where the folders `benchmark_1` to `benchmark_10` lie; None for the package
            `ddmtolab`.

    Raises:
        FileNotFoundError: They are in neither place.
    """
    place = data_folder(folder, "data_cec21mtmo", "CEC21-MTMO", "cec21-mtmo1-seeded")

    def read(problem: int, task: int) -> tuple[np.ndarray, np.ndarray]:
        files = place / f"benchmark_{problem}"
        return table(files / f"matrix_{task}", (K, K)), table(files / f"bias_{task}", (K,))

    return read


def seeded_data(seed: int) -> Data:
    """Random rotations and optima of the same kind as the competition's."""
    check_integer("seed", seed, 0)

    def draw(problem: int, task: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([seed, problem, task])
        reach = PROBLEMS[problem - 1][2]
        return rotation(K, rng), rng.uniform(-reach, reach, K)

    return draw


def _make(number: int, label: str, data: Data, shift: float) -> TaskSet:
    check_shift(shift)
    *kinds, _ = PROBLEMS[number - 1]
    found = [data(number, task) for task in (1, 2)]
    optima = np.array([(centre + BOUND) / (2 * BOUND) for _, centre in found])
    moved = common_shift(shift, optima)
    tasks = []
    for task, ((shape, name), (matrix, centre)) in enumerate(zip(kinds, found, strict=True), 1):
        g = Hybrid(name)
        # F8 is the one that is not rotated.
        turned = None if name == "f8" else matrix
        least = float(g(np.zeros((1, K)))[0])
        tasks.append(
            MTMOTask(
                f"{label}-t{task}", shape, g, N_VAR, BOUND, matrix=turned, centre=centre,
                shift=moved, optimum=0.0, least=least,
            )
        )  # fmt: skip
    return TaskSet(label, tuple(tasks))


def factory(number: int) -> Callable[..., TaskSet]:
    """A function that makes a problem, 1 to 10, for the registry."""
    name = NAMES[number - 1]

    def published(shift: float = 0.0, data: str | Path | None = None) -> TaskSet:
        return _make(number, twin_label(name, shift), published_data(data), shift)

    return published


def seeded_factory(number: int) -> Callable[..., TaskSet]:
    """The same with rotations and optima of our own."""
    name = f"{NAMES[number - 1]}-seeded"

    def seeded(shift: float = 0.0, seed: int = 0) -> TaskSet:
        return _make(number, twin_label(name, shift), seeded_data(seed), shift)

    return seeded
