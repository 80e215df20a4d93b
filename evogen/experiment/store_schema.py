"""The tables of a store, how older ones become newer ones, and the digests that guard their rows.

SQLite notices when a file's structure is broken, but not when a byte of a number in it has changed;
every row has a digest of its other columns for that.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any

#: Marks an SQLite file as ours: "evog".
APPLICATION_ID = int.from_bytes(b"evog", "big")

SCHEMA_VERSION = 2

#: One statement each.
SCHEMA = (
    """
    CREATE TABLE cells (
        key            TEXT PRIMARY KEY,  -- hash of spec
        problem        TEXT NOT NULL,     -- label
        algorithm      TEXT NOT NULL,     -- label
        seed           INTEGER NOT NULL,
        pop_size       INTEGER NOT NULL,
        budget         INTEGER NOT NULL,  -- evaluations
        spec           TEXT NOT NULL,     -- JSON: everything that determines the result
        status         TEXT NOT NULL CHECK (status IN ('done', 'failed')),
        error          TEXT,
        traceback      TEXT,
        warnings       TEXT NOT NULL,     -- JSON list
        n_var          INTEGER,
        n_obj          INTEGER,
        n_eval         INTEGER,
        n_nonfinite    INTEGER,
        cpu_seconds    REAL,
        wall_seconds   REAL,
        igd            REAL,
        igd_plus       REAL,
        hv             REAL,
        reference      TEXT NOT NULL,     -- JSON: what the indicators were measured against
        machine        TEXT NOT NULL,     -- JSON: versions, system
        finished_at    TEXT NOT NULL,     -- UTC, ISO 8601
        peak_memory    INTEGER,           -- bytes
        engine         TEXT,
        host           TEXT,
        digest         TEXT               -- of all other columns
    )
    """,
    """
    CREATE INDEX cells_by_label ON cells (problem, algorithm, seed)
    """,
    """
    CREATE TABLE labels (                 -- order of rows and columns in tables
        kind      TEXT NOT NULL CHECK (kind IN ('problem', 'algorithm')),
        label     TEXT NOT NULL,
        position  INTEGER NOT NULL,
        PRIMARY KEY (kind, label)
    )
    """,
    """
    CREATE TABLE fronts (                 -- so that a report needs no problem classes
        problem   TEXT NOT NULL,          -- JSON as in cells.spec
        pop_size  INTEGER NOT NULL,
        floor     REAL,                   -- IGD of pop_size well-spread points of the front
        npz       BLOB,                   -- the true front, NULL when it is unknown
        digest    TEXT,
        PRIMARY KEY (problem, pop_size)
    )
    """,
    """
    CREATE TABLE arrays (
        key    TEXT NOT NULL REFERENCES cells (key) ON DELETE CASCADE,
        name   TEXT NOT NULL,             -- 'result', 'curves', ...
        npz    BLOB NOT NULL,
        digest TEXT,
        PRIMARY KEY (key, name)
    )
    """,
)

#: What a row's digest is made of, in this order.
SEALED = {
    "cells": (
        "key, problem, algorithm, seed, pop_size, budget, spec, status, error, traceback, "
        "warnings, n_var, n_obj, n_eval, n_nonfinite, cpu_seconds, wall_seconds, igd, igd_plus, "
        "hv, reference, machine, finished_at, peak_memory, engine, host"
    ),
    "fronts": "problem, pop_size, floor, npz",
    "arrays": "key, name, npz",
}


def digest(values: Iterable[Any]) -> str:
    """Digest of a row as SQLite gives it back: numbers, texts, bytes and None."""
    plain = [hashlib.sha256(v).hexdigest() if isinstance(v, bytes) else v for v in values]
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()[:32]


def seal(connection: sqlite3.Connection, table: str, where: str = "1", *values: Any) -> None:
    """Give rows the digest that belongs to them; to be called whenever they have been written.

    Args:
        connection: Of the store, inside a transaction.
        table: One of `SEALED`.
        where: Condition on the rows, with a `?` for each of `values`.
        *values: For the condition.
    """
    query = f"SELECT rowid, {SEALED[table]} FROM {table} WHERE {where}"
    seals = [(digest(row[1:]), row[0]) for row in connection.execute(query, values)]
    connection.executemany(f"UPDATE {table} SET digest = ? WHERE rowid = ?", seals)


def is_sealed(row: Sequence[Any]) -> bool:
    """Whether the last column is the digest of those before it."""
    return row[-1] == digest(row[:-1])


def _add_memory_and_digests(connection: sqlite3.Connection) -> None:
    for column in ("peak_memory INTEGER", "engine TEXT", "host TEXT", "digest TEXT"):
        connection.execute(f"ALTER TABLE cells ADD COLUMN {column}")
    for table in ("fronts", "arrays"):
        connection.execute(f"ALTER TABLE {table} ADD COLUMN digest TEXT")
    for table in SEALED:
        seal(connection, table)


#: For version k, the function that turns a store of version k into one of version k + 1. It runs
#: inside the transaction that also raises the version: a store is migrated wholly or not at all.
MIGRATIONS: dict[int, Callable[[sqlite3.Connection], None]] = {1: _add_memory_and_digests}
