"""What the multitask competitions' problems share: twins, data files, and seeded ones like them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from scipy.stats import ortho_group

from .shifted import TWIN

TWIN_SHIFT = 0.2
"""How far the twins' Pareto sets are moved, as a share of the box."""

HELP = "give their folder as data=..., or `pip install --no-deps ddmtolab`, which carries them"


def twin_label(name: str, shift: float) -> str:
    """What a problem is called whose Pareto sets are moved by `shift`."""
    return name if shift == 0 else f"{name}{TWIN}"


def check_shift(shift: float) -> None:
    """Raises ValueError if `shift` is not in [0, 0.2]."""
    if not 0.0 <= shift <= TWIN_SHIFT:
        # Beyond, an optimum at 0.7 of the box and more would leave it.
        raise ValueError(f"shift={shift!r} must lie in [0, {TWIN_SHIFT}]")


def packaged_folder(published: str, what: str, help_: str) -> Path:
    """Where the package `ddmtolab` has a competition's files.

    Args:
        published: The folder's name there.
        what: These files, for the message.
        help_: What to do without the package, for the message.

    Raises:
        FileNotFoundError: The package is not installed.
    """
    found = find_spec("ddmtolab")
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError(f"{what} are not part of evogen: {help_}")
    return Path(found.submodule_search_locations[0]) / "Problems" / "MTMO" / published


def data_folder(data: str | Path | None, published: str, suite: str, seeded: str) -> Path:
    """Where a competition's files lie.

    Args:
        data: The user's folder; None for the one in the package `ddmtolab`, if it is installed.
        published: That folder's name there.
        suite: For messages.
        seeded: Example of a problem that needs no files, for messages.

    Raises:
        FileNotFoundError: The folder does not exist, or none was given and the package is missing.
    """
    help_ = f"{HELP}; {seeded} and so on have data of the same kind and need nothing"
    if data is None:
        return packaged_folder(published, f"the files of {suite}", help_)
    if not Path(data).is_dir():
        raise FileNotFoundError(f"data={str(data)!r} is no folder; {help_}")
    return Path(data)


def table(file: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers from a text file.

    Raises:
        FileNotFoundError: It is missing.
        ValueError: It does not hold numbers of this shape.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing")
    try:
        found = np.loadtxt(file, ndmin=1)
    except ValueError as error:
        raise ValueError(f"{file} does not hold a table of numbers: {error}") from None
    if found.size != np.prod(shape):
        raise ValueError(f"{file} has the shape {found.shape}, not {shape}")
    return found.reshape(shape)


def rotation(n: int, rng: np.random.Generator) -> np.ndarray:
    """A random rotation matrix `(n, n)`, uniformly distributed."""
    matrix = np.asarray(ortho_group.rvs(n, random_state=rng))
    if np.linalg.det(matrix) < 0:
        matrix[0] *= -1.0
    return matrix


def common_shift(shift: float, optima: np.ndarray) -> np.ndarray:
    """How far the distance variables of all tasks may move together.

    Args:
        shift: Wanted, as a share of the box, in [0, 0.2].
        optima: Of each task in the box's coordinates, `(n_tasks, k)`, in [0, 1].

    Returns:
        `(k,)`: the wanted shift, or what the task nearest to the upper bound leaves of it.
    """
    return np.clip(1.0 - optima.max(axis=0), 0.0, shift)
