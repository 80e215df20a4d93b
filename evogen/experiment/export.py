"""One run's solutions, or the designs it was asked for, as a file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from evogen.experiment.ask import Designs
from evogen.experiment.evaluation import is_replaced
from evogen.experiment.targets import check_writable

ENDINGS = (".npz", ".csv")


def check_export_path(path: str | Path, problem: Any = None) -> Path:
    """The path, if solutions can be written there; to be asked before the run.

    Args:
        path: File to write.
        problem: The problem whose solutions they are.

    Raises:
        ValueError: The ending is neither `.npz` nor `.csv`, or `.npz` for mixed variables.
        OSError: The folder is not there (FileNotFoundError) or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"{path.name!r} must end in {' or '.join(ENDINGS)}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} for {path.name}")
    if path.suffix.lower() == ".npz" and isinstance(getattr(problem, "vars", None), dict):
        raise ValueError(f"mixed variables cannot be written to {path.name}; use .csv")
    return check_writable(path)


def save_solutions(res: Any, path: str | Path) -> None:
    """Write the solutions of a run; where it found no feasible one, its final population.

    `.npz`: arrays X `(n, n_var)`, F `(n, n_obj)`, and G, H, CV where the problem has constraints.
    `.csv`: one line per solution with the columns x1, ..., f1, ..., g1, ..., h1, ..., all digits.
    A final population without a feasible point is in the order of its violation, least first, and
    has CV (`.csv`: cv1) in any case; F, G and H are nan where the problem gave non-finite values.

    Args:
        res: What `minimize` returned.
        path: File to write.

    Raises:
        ValueError, OSError: See `check_export_path`.
    """
    path = check_export_path(path, res.problem)
    arrays = _final_population(res) if res.X is None else _solutions(res)
    arrays = {name: values for name, values in arrays.items() if values.size}
    if path.suffix.lower() == ".npz":
        np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
        return
    columns = [name for name in arrays if name != "CV" or res.X is None]
    n = len(arrays["X"])
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            f"{name.lower()}{i + 1}" for name in columns for i in range(arrays[name].shape[1])
        )
        for i in range(n):
            writer.writerow(value for name in columns for value in arrays[name][i].tolist())


def _solutions(res: Any) -> dict[str, np.ndarray]:
    names = ["X", "F", *(["G", "H", "CV"] if res.problem.has_constraints() else [])]
    n = len(np.atleast_2d(res.F))
    return {name: np.asarray(getattr(res, name)).reshape(n, -1) for name in names}


def _final_population(res: Any) -> dict[str, np.ndarray]:
    pop = res.pop[np.argsort(res.pop.get("CV")[:, 0], kind="stable")]
    arrays = {
        name: np.asarray(pop.get(name)).reshape(len(pop), -1) for name in ("X", "F", "G", "H", "CV")
    }
    # What the guard has put there is no result.
    stand_in = [is_replaced(individual) for individual in pop]
    for name in ("F", "G", "H"):
        arrays[name] = np.where(np.array(stand_in)[:, None], np.nan, arrays[name])
    return arrays


def save_designs(designs: Designs, path: str | Path) -> None:
    """Write designs.

    `.npz`: the arrays of `Designs`. `.csv`: one line per design with the columns x1, ...,
    f1_predicted, ..., f1_error, ..., f1_target, ..., attainable, and f1, ..., cv where they were
    evaluated.

    Args:
        designs: What `ask` returned.
        path: File to write.

    Raises:
        ValueError, OSError: See `check_export_path`; or `.npz` for mixed variables.
    """
    path = check_export_path(path)
    mixed = designs.X.dtype == object
    if path.suffix.lower() == ".npz":
        if mixed:
            raise ValueError(f"mixed variables cannot be written to {path.name}; use .csv")
        arrays = {k: v for k, v in vars(designs).items() if isinstance(v, np.ndarray)}
        np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
        return
    keys = list(designs.X[0]) if mixed else []
    x = [[row[key] for key in keys] for row in designs.X] if mixed else designs.X.tolist()
    columns = [str(key) for key in keys] or [f"x{i + 1}" for i in range(len(x[0]))]
    parts: list[tuple[str, np.ndarray | None]] = [
        ("_predicted", designs.F_predicted),
        ("_error", designs.expected_error),
        ("_target", designs.target),
        ("", designs.F),
    ]
    rows = [list(row) for row in x]
    for ending, values in parts:
        if values is None:
            continue
        columns += [f"f{i + 1}{ending}" for i in range(values.shape[1])]
        rows = [row + value for row, value in zip(rows, values.tolist(), strict=True)]
    columns.append("attainable")
    rows = [[*row, bool(a)] for row, a in zip(rows, designs.attainable, strict=True)]
    if designs.CV is not None:
        columns.append("cv")
        rows = [[*row, float(cv)] for row, cv in zip(rows, designs.CV, strict=True)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
