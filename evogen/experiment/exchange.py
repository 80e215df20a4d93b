"""Stores as plain files, and plain files as stores.

A folder that `export_store` writes:

- `cells.parquet` or `cells.csv`: one line per row of the store, all of `StoredCell`; what is
  structured there (`spec`, `warnings`, `reference`, `machine`) is JSON text;
- `arrays/KEY.NAME.npz`: the arrays of each cell, as `Store.arrays` gives them;
- `fronts/NUMBER.npz`: true fronts;
- `campaign.json`: the order of labels, and which front belongs to which problem.

Somebody else's results come in as a CSV file, see `evogen.experiment.results_file`.
"""

from __future__ import annotations

import csv
import hashlib
import importlib
import importlib.util
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from evogen.experiment.store import Store, StoredCell, StoreError
from evogen.experiment.targets import prepare_folder

#: Marks `campaign.json`; counted up when the folder's layout changes.
FORMAT, FORMAT_VERSION = "evogen campaign", 1

TABLES = ("parquet", "csv")

_COLUMNS = tuple(f.name for f in fields(StoredCell))
_JSON = ("spec", "warnings", "reference", "machine")
_WHOLE = ("seed", "pop_size", "budget", "n_var", "n_obj", "n_eval", "n_nonfinite", "peak_memory")
_REAL = ("cpu_seconds", "wall_seconds", "igd", "igd_plus", "hv")
_NEEDED = ("key", "problem", "algorithm", "seed", "pop_size", "budget", "status", "finished_at")


@dataclass
class Exchanged:
    """What was written or read.

    Attributes:
        n_cells: Rows of the store (a cell with several tasks has several).
        n_arrays: Groups of arrays.
        n_known: Cells that the store held already; they were left as they are.
    """

    n_cells: int = 0
    n_arrays: int = 0
    n_known: int = 0

    def __str__(self) -> str:
        text = f"{self.n_cells} cells and {self.n_arrays} arrays read"
        return text + (f", {self.n_known} were in the store before" if self.n_known else "")


def export_store(store: Store, folder: str | Path, *, table: str | None = None) -> Exchanged:
    """Write a store as plain files.

    Args:
        store: What to write.
        folder: A new or empty one.
        table: `"parquet"` (needs pyarrow, the extra `parquet`) or `"csv"`; by default Parquet where
            pyarrow is installed.

    Raises:
        FileExistsError: The folder holds something.
        ImportError: pyarrow is not there.
        ValueError: Another kind of table.
        StoreError: The store is damaged.
    """
    has_arrow = importlib.util.find_spec("pyarrow") is not None
    table = table or ("parquet" if has_arrow else "csv")
    if table not in TABLES:
        raise ValueError(f"table={table!r} must be one of {', '.join(TABLES)}")
    if table == "parquet" and not has_arrow:
        raise ImportError("Parquet needs pyarrow: pip install 'evogen[parquet]'; or choose csv")
    folder = prepare_folder(folder)
    if any(folder.iterdir()):
        raise FileExistsError(f"the folder {folder} is not empty; give a new one")
    cells = [_flat(cell) for cell in store.cells()]
    (_write_parquet if table == "parquet" else _write_csv)(cells, folder / f"cells.{table}")
    for name in ("arrays", "fronts"):
        (folder / name).mkdir()
    n_arrays = 0
    for key, name, blob in store.blobs():
        (folder / "arrays" / f"{key}.{name}.npz").write_bytes(blob)
        n_arrays += 1
    fronts = []
    for number, (problem, pop_size, front, floor) in enumerate(store.fronts(), start=1):
        entry = {"problem": problem, "pop_size": pop_size, "floor": floor, "file": None}
        if front is not None:
            entry["file"] = f"{number}.npz"
            np.savez_compressed(folder / "fronts" / f"{number}.npz", front=front)
        fronts.append(entry)
    about = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "problems": store.order("problem"),
        "algorithms": store.order("algorithm"),
        "fronts": fronts,
        "n_cells": len(cells),
        "n_arrays": n_arrays,
    }
    # Written last: a folder without it is not whole.
    (folder / "campaign.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return Exchanged(len(cells), n_arrays)


def import_folder(store: Store, folder: str | Path) -> Exchanged:
    """Read a folder that `export_store` has written into a store, all of it or nothing.

    A cell that the store holds as finished stays as it is; a failed one is replaced.

    Args:
        store: Where to.
        folder: Where from.

    Raises:
        FileNotFoundError: A file of it is missing.
        ValueError: A file of it cannot be read, or a line of the table is not a cell.
    """
    folder = Path(folder)
    about = _read_about(folder)
    cells = _read_cells(folder)
    files = sorted((folder / "arrays").glob("*.npz"))
    for name, number in (("n_cells", len(cells)), ("n_arrays", len(files))):
        if about.get(name) != number:
            raise ValueError(f"{folder} is not whole: {name} is {number}, not {about.get(name)}")
    known = {key for key, status in store.statuses().items() if status == "done"}
    new = [cell for cell in cells if _owner(cell.key) not in known]
    keys = {cell.key for cell in new}
    blobs = []
    for path in files:
        key, _, name = path.stem.partition(".")
        if key in keys:
            blobs.append((key, name, path.read_bytes()))
    fronts = [_read_front(folder, entry) for entry in about["fronts"]]
    try:
        store.adopt(new, blobs)
    except StoreError as error:
        raise ValueError(f"{folder} is damaged: {error}") from error
    for problem, pop_size, front, floor in fronts:
        if not store.has_front(problem, pop_size):
            store.save_front(problem, pop_size, front, floor)
    store.remember_order("problem", about["problems"])
    store.remember_order("algorithm", about["algorithms"])
    return Exchanged(len(new), len(blobs), len(cells) - len(new))


def _owner(key: str) -> str:
    """Key of the cell that a row belongs to."""
    return key.partition("-")[0]


def _flat(cell: StoredCell) -> dict[str, Any]:
    values = {name: getattr(cell, name) for name in _COLUMNS}
    return values | {name: json.dumps(values[name], sort_keys=True) for name in _JSON}


def _write_csv(cells: Sequence[Mapping[str, Any]], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        writer.writerows(cells)


def _write_parquet(cells: Sequence[Mapping[str, Any]], path: Path) -> None:
    arrow = importlib.import_module("pyarrow")
    parquet = importlib.import_module("pyarrow.parquet")
    types = {name: arrow.string() for name in _COLUMNS}
    types |= {name: arrow.int64() for name in _WHOLE} | {name: arrow.float64() for name in _REAL}
    columns = {name: arrow.array([c[name] for c in cells], types[name]) for name in _COLUMNS}
    parquet.write_table(arrow.table(columns), path)


def _read_about(folder: Path) -> dict[str, Any]:
    path = folder / "campaign.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is no exported campaign: there is no campaign.json")
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        right = about["format"] == FORMAT and isinstance(about["fronts"], list)
        right = right and all(isinstance(about[n], list) for n in ("problems", "algorithms"))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} cannot be read: {error!r}") from None
    if not right:
        raise ValueError(f"{path} is not of an exported campaign")
    if about["version"] > FORMAT_VERSION:
        raise ValueError(f"{path} was written by a newer evogen; update evogen")
    return about


def _read_cells(folder: Path) -> list[StoredCell]:
    if (folder / "cells.parquet").is_file():
        path = folder / "cells.parquet"
        try:
            parquet = importlib.import_module("pyarrow.parquet")
        except ImportError as error:
            raise ImportError(f"{path} needs pyarrow: pip install 'evogen[parquet]'") from error
        try:
            lines = parquet.read_table(path).to_pylist()
        except Exception as error:  # pyarrow has exceptions of its own
            raise ValueError(f"{path} cannot be read: {error}") from None
    elif (folder / "cells.csv").is_file():
        path = folder / "cells.csv"
        csv.field_size_limit(2**31 - 1)  # tracebacks may be long
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
    else:
        raise FileNotFoundError(f"{folder} holds neither cells.parquet nor cells.csv")
    cells = [_cell(line, f"{path}, cell {i}") for i, line in enumerate(lines, start=1)]
    doubled = len(cells) - len({cell.key for cell in cells})
    if doubled:
        raise ValueError(f"{path} holds {doubled} cells twice")
    return cells


def _cell(line: Mapping[str, Any], where: str) -> StoredCell:
    """A line of the table as a cell; in CSV all values are texts, and empty ones stand for None."""
    values: dict[str, Any] = {}
    for name in _COLUMNS:
        value = line.get(name)
        value = None if value == "" else value
        if value is None and name in (*_NEEDED, *_JSON):
            raise ValueError(f"{where}: {name} is missing")
        try:
            if value is not None and name in _WHOLE:
                value = int(value)
            elif value is not None and name in _REAL:
                value = float(value)
            elif name in _JSON:
                value = json.loads(str(value))
        except ValueError:
            raise ValueError(f"{where}: {name} = {value!r} cannot be read") from None
        values[name] = value
    if values["status"] not in ("done", "failed"):
        raise ValueError(f"{where}: status = {values['status']!r} must be done or failed")
    if _owner(values["key"]) != _key(values["spec"]):
        raise ValueError(f"{where}: the key {values['key']} does not belong to its spec")
    return StoredCell(**values)


def _key(spec: Mapping[str, Any]) -> str:
    """What `Cell.key` is for a stored spec."""
    problem = {name: value for name, value in spec["problem"].items() if name != "task"}
    text = json.dumps({**spec, "problem": problem}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _read_front(
    folder: Path, entry: Mapping[str, Any]
) -> tuple[Any, int, np.ndarray | None, float | None]:
    front = None
    if entry["file"] is not None:
        path = folder / "fronts" / Path(entry["file"]).name
        try:
            with np.load(path, allow_pickle=False) as archive:
                front = archive["front"]
        except (ValueError, OSError, KeyError, EOFError, BadZipFile, zlib.error) as error:
            raise ValueError(f"{path} cannot be read: {error}") from None
    return entry["problem"], entry["pop_size"], front, entry["floor"]
