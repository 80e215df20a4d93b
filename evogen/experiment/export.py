"""One run's solutions as a file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

ENDINGS = (".npz", ".csv")


def check_export_path(path: str | Path) -> Path:
    """The path, if solutions can be written there; to be asked before the run.

    Raises:
        ValueError: The ending is neither `.npz` nor `.csv`.
        FileNotFoundError: The folder is not there.
    """
    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"{path.name!r} must end in {' or '.join(ENDINGS)}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} for {path.name}")
    return path


def save_solutions(res: Any, path: str | Path) -> None:
    """Write the solutions of a run.

    `.npz`: arrays X `(n, n_var)`, F `(n, n_obj)`, and G, H, CV where the problem has constraints.
    `.csv`: one line per solution with the columns x1, ..., f1, ..., g1, ..., h1, ..., all digits.

    Args:
        res: What `minimize` returned.
        path: File to write.

    Raises:
        ValueError: The run found no feasible solution, or see `check_export_path`.
    """
    path = check_export_path(path)
    if res.X is None:
        raise ValueError(f"nothing to write to {path.name}: no feasible solution was found")
    names = ["X", "F", *(["G", "H", "CV"] if res.problem.has_constraints() else [])]
    n = len(np.atleast_2d(res.F))
    arrays = {name: np.asarray(getattr(res, name)).reshape(n, -1) for name in names}
    arrays = {name: values for name, values in arrays.items() if values.size}
    if path.suffix.lower() == ".npz":
        if arrays["X"].dtype.hasobject:
            raise ValueError(f"mixed variables cannot be written to {path.name}; use .csv")
        np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
        return
    columns = [name for name in arrays if name != "CV"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            f"{name.lower()}{i + 1}" for name in columns for i in range(arrays[name].shape[1])
        )
        for i in range(n):
            writer.writerow(value for name in columns for value in arrays[name][i].tolist())
