"""Somebody's results, one line per run in a CSV file, as cells of a store."""

from __future__ import annotations

import csv
import difflib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evogen.experiment.cells import Cell, Outcome, Spec
from evogen.experiment.exchange import Exchanged
from evogen.experiment.store import Store, StoredCell

#: Columns of somebody's results, with other ways to write them.
_RESULT_COLUMNS = ("problem", "algorithm", "seed", "n_eval", "pop_size", "n_var", "n_obj", "error")
_INDICATORS = ("igd", "igd_plus", "hv")
_SECONDS = ("cpu_seconds", "wall_seconds")
_OTHER_NAMES = {
    "igd+": "igd_plus",
    "igdplus": "igd_plus",
    "hypervolume": "hv",
    "run": "seed",
    "evaluations": "n_eval",
    "population": "pop_size",
}


def import_results(
    store: Store, path: str | Path, *, n_eval: int | None = None, pop_size: int | None = None
) -> Exchanged:
    """Read somebody's results into a store, all of them or none.

    A CSV file with a line per run and a header with the columns, in any order and case:

    - `problem`, `algorithm`: names, as tables show them; `seed`: a whole number;
    - one or more of `igd`, `igd_plus` (or `igd+`), `hv`: numbers, empty where unknown. They must be
      measured as here to be compared (`Reference`): against the same front, hypervolume after
      scaling by its ideal and nadir points with the reference point 1.1;
    - if there are any: `n_eval`, `pop_size`, `n_var`, `n_obj`, `cpu_seconds`, `wall_seconds`, and
      `error` (a text marks a failed run).

    A problem that the store knows under its name, from one definition only, is taken for that one
    and stands in the same row of tables; `n_eval` and `pop_size` are those of its cells when
    nothing else is said. Algorithms stay apart from others of the same name.

    Args:
        store: Where to; an earlier import of a file of the same name is replaced run by run.
        path: The file.
        n_eval: Evaluations of every run, where the file has no such column.
        pop_size: Population size of every run, likewise.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Says which line and column is wrong and what would be right.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file or folder {path}")
    settings = {"n_eval": n_eval, "pop_size": pop_size}
    there = _Known(store)
    read: dict[str, tuple[Cell, Outcome]] = {}
    for number, line in _result_lines(path):
        where = f"{path}, line {number}"
        cell, outcome = _result(line, where, settings, there, path.name)
        if cell.key in read:
            raise ValueError(f"{where}: {cell} is there twice")
        read[cell.key] = (cell, outcome)
    if not read:
        raise ValueError(f"{path} holds no runs")
    store.save_all(list(read.values()))
    store.remember_order("problem", list(dict.fromkeys(c.problem.label for c, _ in read.values())))
    names = dict.fromkeys(c.algorithm.label for c, _ in read.values())
    store.remember_order("algorithm", list(names))
    return Exchanged(len(read))


class _Known:
    """Problems that a store knows by one definition, and the budgets of their cells."""

    def __init__(self, store: Store) -> None:
        found: dict[str, dict[str, StoredCell]] = {}
        for cell in store.cells():
            if "imported" not in cell.spec["algorithm"]["settings"]:
                what = [cell.spec["problem"], cell.budget, cell.pop_size]
                found.setdefault(cell.problem, {})[json.dumps(what, sort_keys=True)] = cell
        self._cells = {label: list(kinds.values()) for label, kinds in found.items()}

    def spec(self, label: str) -> Spec:
        """The problem that a label stands for."""
        described = {json.dumps(c.spec["problem"]): c for c in self._cells.get(label, ())}
        if len(described) != 1:
            return Spec(label, label)
        problem = next(iter(described.values())).spec["problem"]
        if "task" in problem:  # one of several tasks is no problem of its own here
            return Spec(label, label)
        return Spec(label, problem["name"], problem["settings"])

    def only(self, label: str, name: str) -> int | None:
        """The budget or population size of all cells of a problem, None if they differ."""
        values = {getattr(cell, name) for cell in self._cells.get(label, ())}
        return values.pop() if len(values) == 1 else None


def _result_lines(path: Path) -> Iterable[tuple[int, dict[str, str]]]:
    allowed = (*_RESULT_COLUMNS, *_INDICATORS, *_SECONDS)
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        try:
            header = [name.strip().lower().replace(" ", "_") for name in next(reader, [])]
            names = [_OTHER_NAMES.get(name, name) for name in header]
            _check_header(path, names, allowed)
            for line in reader:
                if not any(line):
                    continue
                if len(line) != len(names):
                    raise ValueError(
                        f"{path}, line {reader.line_num}: {len(line)} values for {len(names)} "
                        "columns"
                    )
                texts = (text.strip() for text in line)
                yield reader.line_num, dict(zip(names, texts, strict=True))
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is no CSV file: {error}") from None


def _check_header(path: Path, names: Sequence[str], allowed: Sequence[str]) -> None:
    for name in names:
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(allowed)}"
            raise ValueError(f"{path}: the column {name!r} is unknown; {hint}")
        if names.count(name) > 1:
            raise ValueError(f"{path}: the column {name!r} is there twice")
    missing = [name for name in ("problem", "algorithm", "seed") if name not in names]
    if missing:
        raise ValueError(f"{path}: the column {missing[0]!r} is missing")
    if not set(_INDICATORS) & set(names):
        raise ValueError(f"{path}: there is none of the columns {', '.join(_INDICATORS)}")


def _result(
    line: Mapping[str, str],
    where: str,
    settings: Mapping[str, int | None],
    known: _Known,
    file: str,
) -> tuple[Cell, Outcome]:
    for name in ("problem", "algorithm"):
        if not line[name]:
            raise ValueError(f"{where}: {name} is empty")
    whole = {
        name: _value(where, name, line.get(name, ""), _whole, "a whole number from 0 on")
        for name in ("seed", "n_eval", "pop_size", "n_var", "n_obj")
    }
    real = {
        name: _value(where, name, line.get(name, ""), _real, "a number")
        for name in (*_INDICATORS, *_SECONDS)
    }
    if whole["seed"] is None:
        raise ValueError(f"{where}: seed is empty")
    n_eval, pop_size = (
        _size(where, name, (whole[name], settings[name], known.only(line["problem"], stored)))
        for name, stored in (("n_eval", "budget"), ("pop_size", "pop_size"))
    )
    algorithm = Spec(line["algorithm"], line["algorithm"], {"imported": file})
    cell = Cell(known.spec(line["problem"]), algorithm, whole["seed"], pop_size, n_eval)
    error = line.get("error") or None
    outcome = Outcome(
        "failed" if error else "done",
        error=error,
        n_var=whole["n_var"],
        n_obj=whole["n_obj"],
        n_eval=n_eval,
        cpu_seconds=real["cpu_seconds"],
        wall_seconds=real["wall_seconds"],
        indicators={name: real[name] for name in _INDICATORS},
        machine={"imported": file},
        engine="imported",
    )
    return cell, outcome


def _size(where: str, name: str, choices: Sequence[int | None]) -> int:
    """The first of the choices that is known."""
    for value in choices:
        if value is not None:
            return value
    flag = "--evals" if name == "n_eval" else "--pop-size"
    raise ValueError(f"{where}: {name} is not known; give a column {name}, or {flag}")


def _value(where: str, name: str, text: str, read: Callable[[str], Any], what: str) -> Any:
    if text == "" or text.lower() in ("nan", "na", "none", "null"):
        return None
    try:
        return read(text)
    except ValueError:
        raise ValueError(f"{where}: {name} = {text!r} must be {what}") from None


def _whole(text: str) -> int:
    value = float(text)
    if value != math.floor(value) or value < 0:
        raise ValueError
    return int(value)


def _real(text: str) -> float:
    value = float(text)
    if math.isnan(value):
        raise ValueError
    return value
