"""Where the cells of a campaign are kept: one SQLite file, one row per finished cell.

A row is written in one transaction when its cell has finished, so whatever kills the process, a
store holds whole cells only. The journal is a write-ahead log (WAL): several processes may read
and write. Arrays are compressed npz without pickled objects: opening a stranger's store runs
nothing. Every row carries a digest of itself: a changed byte is found when the row is read.
"""

from __future__ import annotations

import io
import json
import sqlite3
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from evogen.experiment.cells import Cell, Outcome, Row
from evogen.experiment.store_schema import (
    APPLICATION_ID,
    MIGRATIONS,
    SCHEMA,
    SCHEMA_VERSION,
    SEALED,
    is_sealed,
    seal,
)
from evogen.experiment.tasks import task_label


class StoreError(Exception):
    """A file that is no store, is damaged, or comes from a newer version."""


@dataclass(frozen=True)
class StoredCell:
    """A row of the store, without its arrays; see `Cell` and `Outcome` for the fields."""

    key: str
    problem: str
    algorithm: str
    seed: int
    pop_size: int
    budget: int
    spec: Mapping[str, Any]
    status: str
    error: str | None
    traceback: str | None
    warnings: list[str]
    n_var: int | None
    n_obj: int | None
    n_eval: int | None
    n_nonfinite: int | None
    cpu_seconds: float | None
    wall_seconds: float | None
    igd: float | None
    igd_plus: float | None
    hv: float | None
    reference: Mapping[str, Any]
    machine: Mapping[str, Any]
    finished_at: str
    peak_memory: int | None = None
    engine: str | None = None
    host: str | None = None


@dataclass(frozen=True)
class Remeasured:
    """A cell's indicators against another front; see `Outcome` for the fields."""

    key: str
    indicators: Mapping[str, float | None]
    reference: Mapping[str, Any]
    curves: Mapping[str, np.ndarray]


_COLUMNS = tuple(StoredCell.__dataclass_fields__)
_JSON_COLUMNS = ("spec", "warnings", "reference", "machine")

#: A cell's own row and those of its other tasks, whose keys go on with a dash; "." follows "-".
_ROWS_OF_CELL = "key = ?1 OR (key >= ?1 || '-' AND key < ?1 || '.')"


class Store:
    """A campaign's cells on disk. A context manager.

    Args:
        path: The file; made when it is not there.
        must_exist: Refuse to make a new one.

    Raises:
        FileNotFoundError: It (with `must_exist`) or its folder is not there.
        StoreError: It is no store, is damaged, or was written by a newer version.
    """

    def __init__(self, path: str | Path, *, must_exist: bool = False) -> None:
        self.path = Path(path)
        if self.path.is_dir():
            raise StoreError(f"{self.path} is a folder; give the name of a file, e.g. runs.db")
        if must_exist and not self.path.exists():
            raise FileNotFoundError(f"there is no store {self.path}")
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {self.path.parent} for {self.path.name}")
        with self._clear_errors():
            self._check_header()
            self._connection = sqlite3.connect(self.path, timeout=60.0, isolation_level=None)
        try:
            with self._clear_errors():
                self._open()
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def save(self, cell: Cell, outcome: Outcome) -> None:
        """Write a finished cell, in the place of an earlier outcome of the same cell if any."""
        self.save_all([(cell, outcome)])

    def save_all(self, finished: Sequence[tuple[Cell, Outcome]]) -> None:
        """Write cells with their outcomes, all or none; see `save`."""
        rows = [(cell, row) for cell, outcome in finished for row in cell.rows(outcome)]
        blobs = [
            (row.key, name, _pack(arrays))
            for _, row in rows
            for name, arrays in row.outcome.arrays.items()
        ]
        keys = [cell.key for cell, _ in finished]
        self._write(keys, [self._line(cell, row) for cell, row in rows], blobs)

    def adopt(self, cells: Sequence[StoredCell], blobs: Sequence[tuple[str, str, bytes]]) -> None:
        """Write cells of another store, all or none, in the place of those with the same keys.

        Args:
            cells: All rows of the cells; a cell with several tasks has several.
            blobs: Key, name and npz bytes of their arrays, as from `blobs`.

        Raises:
            StoreError: Bytes that are no npz, or of a cell that is not among `cells`.
        """
        for key, name, blob in blobs:
            self._unpack(blob, f"{name!r} of the cell {key}")
        lines = []
        for cell in cells:
            values = {name: getattr(cell, name) for name in _COLUMNS}
            values.update({name: _canonical(values[name]) for name in _JSON_COLUMNS})
            lines.append([values[name] for name in _COLUMNS])
        self._write(sorted({cell.key.partition("-")[0] for cell in cells}), lines, blobs)

    def _write(
        self,
        keys: Sequence[str],
        lines: Sequence[Sequence[Any]],
        blobs: Sequence[tuple[str, str, bytes]],
    ) -> None:
        places = ", ".join("?" for _ in _COLUMNS)
        with self._transaction() as connection:
            for key in keys:
                connection.execute(f"DELETE FROM cells WHERE {_ROWS_OF_CELL}", (key,))
            connection.executemany(
                f"INSERT INTO cells ({', '.join(_COLUMNS)}) VALUES ({places})", lines
            )
            connection.executemany("INSERT INTO arrays (key, name, npz) VALUES (?, ?, ?)", blobs)
            for key in keys:
                for table in ("cells", "arrays"):
                    seal(connection, table, _ROWS_OF_CELL, key)

    @staticmethod
    def _line(cell: Cell, row: Row) -> list[Any]:
        outcome = row.outcome
        values = {
            "key": row.key,
            "problem": row.problem,
            "algorithm": cell.algorithm.label,
            "seed": cell.seed,
            "pop_size": cell.pop_size,
            "budget": cell.n_eval,
            "spec": row.spec,
            "finished_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            **{name: getattr(outcome, name) for name in _COLUMNS if hasattr(outcome, name)},
            **{name: outcome.indicators.get(name) for name in ("igd", "igd_plus", "hv")},
        }
        for name in _JSON_COLUMNS:
            values[name] = _canonical(values[name])
        return [values[name] for name in _COLUMNS]

    def relabel(self, cells: Sequence[Cell]) -> None:
        """Give stored cells the labels that they have now."""
        now = {cell.key: cell for cell in cells}
        with self._transaction() as connection:
            changed = []
            for row in self._connection.execute("SELECT key, problem, algorithm, spec FROM cells"):
                cell = now.get(row[0].partition("-")[0])
                if cell is None:
                    continue
                task = json.loads(row[3])["problem"].get("task")
                label = cell.problem.label
                labels = (label if task is None else task_label(label, task), cell.algorithm.label)
                if labels != row[1:3]:
                    changed.append((*labels, row[0]))
            connection.executemany(
                "UPDATE cells SET problem = ?, algorithm = ? WHERE key = ?", changed
            )
            for _, _, key in changed:
                seal(connection, "cells", "key = ?", key)

    def remember_order(self, kind: str, labels: Sequence[str]) -> None:
        """Remember the order in which labels are to be shown; known ones keep their place.

        Args:
            kind: `"problem"` or `"algorithm"`.
            labels: In order.
        """
        with self._transaction() as connection:
            for label in labels:
                connection.execute(
                    "INSERT OR IGNORE INTO labels SELECT ?, ?, 1 + coalesce(max(position), 0) "
                    "FROM labels WHERE kind = ?",
                    (kind, label, kind),
                )

    def order(self, kind: str) -> list[str]:
        """The labels of a kind in the order remembered."""
        with self._clear_errors():
            rows = self._connection.execute(
                "SELECT label FROM labels WHERE kind = ? ORDER BY position", (kind,)
            )
            return [label for (label,) in rows]

    def statuses(self) -> dict[str, str]:
        """Key and status of every stored cell; one with a failed task has failed."""
        found: dict[str, str] = {}
        for row in self._rows("cells", "1"):
            cell, status = row[0].partition("-")[0], row[_COLUMNS.index("status")]
            found[cell] = "failed" if "failed" in (status, found.get(cell)) else status
        return found

    def cells(self, status: str | None = None) -> list[StoredCell]:
        """Every stored cell, without arrays, in an order that does not depend on when it was run.

        Args:
            status: Only `"done"` or only `"failed"` ones.

        Raises:
            StoreError: One of them is not what was written.
        """
        wanted = ("1",) if status is None else ("status = ?", status)
        order = "ORDER BY problem, algorithm, seed, key"
        return [self._stored_cell(row) for row in self._rows("cells", *wanted, order=order)]

    def _rows(
        self, table: str, where: str, *values: Any, order: str = ""
    ) -> Iterator[tuple[Any, ...]]:
        """Rows of a table without their digests, which have been checked."""
        query = f"SELECT {SEALED[table]}, digest FROM {table} WHERE {where} {order}"
        with self._clear_errors():
            for row in self._connection.execute(query, values):
                if not is_sealed(row):
                    raise StoreError(
                        f"{self.path} is damaged: {_name(table, row)} cannot be read (it is not "
                        "what was written)"
                    )
                yield row[:-1]

    def arrays(
        self, key: str, name: str, only: Collection[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Arrays of one cell.

        Args:
            key: The cell's key.
            name: `"result"` (X, F, CV, ... of the final population) or `"curves"`.
            only: Those of them that are wanted, e.g. `("F", "CV")`; reading fewer is faster. What
                the cell does not have is not in the answer. By default all.

        Raises:
            KeyError: The cell has none of that name.
            TypeError: `only` is one text.
            StoreError: They are damaged.
        """
        if isinstance(only, str):
            raise TypeError(f"only={only!r} must be several names, e.g. [{only!r}]")
        row = next(self._rows("arrays", "key = ? AND name = ?", key, name), None)
        if row is None:
            raise KeyError(f"{self.path} holds no {name!r} of the cell {key}")
        return self._unpack(row[2], f"{name!r} of the cell {key}", only)

    def blobs(self) -> Iterator[tuple[str, str, bytes]]:
        """Key, name and npz bytes of every stored cell's arrays, sorted."""
        yield from self._rows("arrays", "1", order="ORDER BY key, name")

    def save_front(
        self,
        problem: Mapping[str, Any],
        pop_size: int,
        front: np.ndarray | None,
        floor: float | None,
        *,
        remeasured: Sequence[Remeasured] = (),
    ) -> None:
        """Keep a problem's true front and floor.

        Args:
            problem: The problem as in `StoredCell.spec["problem"]`.
            pop_size: The population size that the floor is for.
            front: Points `(n, n_obj)`, or None when unknown.
            floor: See `evogen.experiment.floor`.
            remeasured: Cells whose indicators change with the front.
        """
        blob = None if front is None else _pack({"front": front})
        # One transaction with the front: no moment at which numbers and front disagree.
        measures = [
            [*(c.indicators[name] for name in ("igd", "igd_plus", "hv")), _canonical(c.reference)]
            for c in remeasured
        ]
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO fronts (problem, pop_size, floor, npz) VALUES (?, ?, ?, ?)",
                (_canonical(problem), pop_size, floor, blob),
            )
            seal(connection, "fronts", "problem = ?", _canonical(problem))
            connection.executemany(
                "UPDATE cells SET igd = ?, igd_plus = ?, hv = ?, reference = ? WHERE key = ?",
                [(*values, c.key) for values, c in zip(measures, remeasured, strict=True)],
            )
            connection.executemany(
                "UPDATE arrays SET npz = ? WHERE key = ? AND name = 'curves'",
                [(_pack(c.curves), c.key) for c in remeasured],
            )
            for cell in remeasured:
                seal(connection, "cells", "key = ?", cell.key)
                seal(connection, "arrays", "key = ?", cell.key)

    def front(
        self, problem: Mapping[str, Any], pop_size: int
    ) -> tuple[np.ndarray | None, float | None]:
        """A problem's true front `(n, n_obj)` and floor; each None where it is unknown.

        Args:
            problem: The problem as in `StoredCell.spec["problem"]`.
            pop_size: The population size that the floor is for.
        """
        where = "problem = ? AND pop_size = ?"
        row = next(self._rows("fronts", where, _canonical(problem), pop_size), None)
        return (None, None) if row is None else self._front(row)

    def fronts(self) -> list[tuple[dict[str, Any], int, np.ndarray | None, float | None]]:
        """Problem, population size, true front and floor of every `save_front`; see `front`."""
        rows = self._rows("fronts", "1", order="ORDER BY problem, pop_size")
        return [(json.loads(row[0]), row[1], *self._front(row)) for row in rows]

    def _front(self, row: tuple[Any, ...]) -> tuple[np.ndarray | None, float | None]:
        return None if row[3] is None else self._unpack(row[3], "the true front")["front"], row[2]

    def has_front(self, problem: Mapping[str, Any], pop_size: int) -> bool:
        """Whether `save_front` was called for a problem."""
        with self._clear_errors():
            row = self._connection.execute(
                "SELECT 1 FROM fronts WHERE problem = ? AND pop_size = ?",
                (_canonical(problem), pop_size),
            ).fetchone()
        return row is not None

    def _unpack(
        self, blob: bytes, what: str, only: Collection[str] | None = None
    ) -> dict[str, np.ndarray]:
        try:
            return _unpack(blob, only)
        except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise StoreError(f"{self.path} is damaged: {what} cannot be read ({error})") from error

    def _check_header(self) -> None:
        if not self.path.exists() or self.path.stat().st_size == 0:
            return
        with self.path.open("rb") as file:
            head = file.read(18)
        if head[:16] != b"SQLite format 3\0":
            raise StoreError(f"{self.path} is no store: it is not an SQLite file")
        log = self.path.with_name(self.path.name + "-wal")
        page = {1: 65536}.get(size := int.from_bytes(head[16:], "big"), size)
        is_settled = not log.exists() or log.stat().st_size == 0
        if page and is_settled and self.path.stat().st_size % page:
            raise StoreError(f"{self.path} is damaged: it has been cut in the middle of a page")

    def _open(self) -> None:
        connection = self._connection
        connection.execute("PRAGMA foreign_keys = ON")
        marks = self._marks()
        if marks[0] not in (0, APPLICATION_ID) or (marks[0] == 0 and self._has_tables()):
            raise StoreError(f"{self.path} is no store: it is an SQLite file of something else")
        problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise StoreError(f"{self.path} is damaged: {problem}")
        connection.execute("PRAGMA journal_mode = WAL")
        # With WAL, a power cut can lose the last transactions but not the file; cells that were
        # reported as stored should stay stored, and one sync per cell is cheap.
        connection.execute("PRAGMA synchronous = FULL")
        with self._transaction():
            self._prepare(*self._marks())

    def _prepare(self, application_id: int, version: int) -> None:
        """Make the tables in a new file, or bring an older one up to date."""
        connection = self._connection
        if application_id == 0:
            for statement in SCHEMA:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            version = SCHEMA_VERSION
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{self.path} was written by a newer evogen (schema {version}, this one reads up "
                f"to {SCHEMA_VERSION}); update evogen"
            )
        while version < SCHEMA_VERSION:
            MIGRATIONS[version](connection)
            version += 1
        connection.execute(f"PRAGMA user_version = {version}")

    def _marks(self) -> tuple[int, int]:
        names = ("application_id", "user_version")
        marks = [self._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]
        return marks[0], marks[1]

    def _has_tables(self) -> bool:
        return self._connection.execute("SELECT 1 FROM sqlite_master").fetchone() is not None

    def _stored_cell(self, row: tuple[Any, ...]) -> StoredCell:
        values = dict(zip(_COLUMNS, row, strict=True))
        try:
            for name in _JSON_COLUMNS:
                values[name] = json.loads(values[name])
        except ValueError as error:
            raise StoreError(f"{self.path} is damaged: {error}") from error
        return StoredCell(**values)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._clear_errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise StoreError(f"{self.path} cannot be used: {error.strerror}") from error
        except sqlite3.OperationalError as error:
            raise StoreError(f"{self.path} cannot be used: {error}") from error
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self.path} is damaged: {error}") from error


def _name(table: str, row: Sequence[Any]) -> str:
    if table == "fronts":
        return f"the true front of {row[0]}"
    return f"the cell {row[0]}" if table == "cells" else f"{row[1]!r} of the cell {row[0]}"


def _canonical(values: Any) -> str:
    return json.dumps(values, sort_keys=True)


def _pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    if any(values.dtype.hasobject for values in arrays.values()):
        raise TypeError("arrays of objects cannot be stored")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _unpack(blob: bytes, only: Collection[str] | None) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(blob), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files if only is None or name in only}
