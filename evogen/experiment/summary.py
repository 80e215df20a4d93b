"""What a store holds, arranged by problem (rows) and algorithm (columns)."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evogen.experiment.cells import Cell
from evogen.experiment.statistics import Comparison, compare, quartiles
from evogen.experiment.store import Store, StoredCell

#: Indicators and whether larger is better.
INDICATORS = {"igd": False, "igd_plus": False, "hv": True}

DEFAULT_BASELINE = "nsga2"


@dataclass
class Row:
    """One problem under one setting (size, population, budget).

    Attributes:
        label: Unique in the summary.
        spec: The problem as in `StoredCell.spec["problem"]`.
        pop_size: Population size.
        budget: Evaluations allowed.
        n_obj: Number of objectives; None when no cell got that far.
        front: True front `(n, n_obj)` or None.
        floor: IGD of `pop_size` well-spread points of the front, or None.
    """

    label: str
    spec: Any
    pop_size: int
    budget: int
    n_obj: int | None = None
    front: np.ndarray | None = None
    floor: float | None = None


@dataclass
class Results:
    """The cells of a store by row (problem) and column (algorithm).

    Attributes:
        rows: By label, in the order of the campaign.
        algorithms: Labels, in the order of the campaign.
        baseline: The algorithm that others are compared with; None when there is none.
        done: Finished cells by (row label, algorithm label), sorted by seed. Not to be changed
            once a number has been asked for: medians and tests are kept.
        failed: Failed cells likewise.
    """

    rows: dict[str, Row]
    algorithms: list[str]
    baseline: str | None
    done: dict[tuple[str, str], list[StoredCell]] = field(default_factory=dict)
    failed: dict[tuple[str, str], list[StoredCell]] = field(default_factory=dict)
    _compared: dict[str, dict[tuple[str, str], Comparison]] = field(
        default_factory=dict, repr=False, compare=False
    )
    _medians: dict[tuple[str, str, str], float] = field(
        default_factory=dict, repr=False, compare=False
    )

    def values(self, row: str, algorithm: str, name: str) -> np.ndarray:
        """A number of every finished cell `(n_seeds,)`, e.g. `"igd"` or `"cpu_seconds"`.

        Without those where it is undefined.
        """
        cells = self.done.get((row, algorithm), [])
        found = [getattr(cell, name) for cell in cells]
        return np.array([value for value in found if value is not None], dtype=float)

    def median(self, row: str, algorithm: str, name: str) -> float:
        """Median of `values`; NaN when there are none."""
        key = row, algorithm, name
        if key not in self._medians:  # a report asks for each a dozen times
            self._medians[key] = quartiles(self.values(*key))[1]
        return self._medians[key]

    def comparisons(self, indicator: str) -> dict[tuple[str, str], Comparison]:
        """Every algorithm against the baseline, Holm-corrected over the whole table."""
        if self.baseline is None:
            return {}
        if indicator in self._compared:  # several tables ask for the same tests
            return self._compared[indicator]
        samples = {
            (row, algorithm): self.values(row, algorithm, indicator)
            for row in self.rows
            for algorithm in self.algorithms
        }
        compared = compare(samples, self.baseline, maximize=INDICATORS[indicator])
        self._compared[indicator] = compared
        return compared

    def best(self, row: str, indicator: str) -> list[str]:
        """The algorithms with the best median; several when they tie.

        None without values, and none where the best is as bad as can be: an infinite IGD, no
        hypervolume at all.
        """
        medians = {a: self.median(row, a, indicator) for a in self.algorithms}
        known = [m for m in medians.values() if not np.isnan(m)]
        if not known:
            return []
        top = max(known) if INDICATORS[indicator] else min(known)
        if top == 0 and INDICATORS[indicator]:
            return []
        return [a for a, m in medians.items() if m == top and np.isfinite(m)]


def summarize(
    store: Store, *, baseline: str | None = None, keys: Container[str] | None = None
) -> Results:
    """Arrange the cells of a store.

    Cells under the same label that differ in size, population, budget or settings are kept apart:
    what they differ in becomes part of the label.

    Args:
        store: The store.
        baseline: Label of the algorithm to compare with; by default `nsga2` if it is there, else
            the first.
        keys: Only the cells with these keys (`Cell.key`); by default all.

    Raises:
        ValueError: There are no such cells, or the baseline is not among them.
    """
    cells = [cell for cell in store.cells() if keys is None or cell.key.partition("-")[0] in keys]
    if not cells:
        raise ValueError(f"{store.path} holds no finished cells yet")
    row_of = _labels(cells, lambda c: c.problem, _row_setting, store.order("problem"))
    column_of = _labels(cells, lambda c: c.algorithm, _column_setting, store.order("algorithm"))
    results = Results({}, list(dict.fromkeys(column_of.values())), None)
    for label in row_of.values():
        results.rows[label] = Row(label, None, 0, 0)
    for cell in cells:
        row = results.rows[row_of[_identity(cell.problem, _row_setting(cell))]]
        row.spec, row.pop_size, row.budget = cell.spec["problem"], cell.pop_size, cell.budget
        row.n_obj = cell.n_obj if row.n_obj is None else row.n_obj
        column = column_of[_identity(cell.algorithm, _column_setting(cell))]
        kept = results.done if cell.status == "done" else results.failed
        kept.setdefault((row.label, column), []).append(cell)
    for row in results.rows.values():
        row.front, row.floor = store.front(row.spec, row.pop_size)
    results.baseline = _baseline(results.algorithms, baseline)
    return results


def whole_seeds(store: Store, cells: Sequence[Cell]) -> tuple[set[str], int]:
    """What a campaign that is still under way can be judged by: the seeds that it has finished.

    Args:
        store: The store.
        cells: Of the campaign, in its order (`Campaign.cells`).

    Returns:
        Keys of the cells of the first seeds, up to the one before the first seed of which a cell is
        missing or has failed (also in one of several tasks), for `keys` of `summarize` and
        `write_report`; and the number of these seeds. `set()` and 0 where the first seed is not
        whole.

    Raises:
        StoreError: The store is damaged.
    """
    statuses = store.statuses()
    by_seed: dict[int, list[str]] = {}
    for cell in cells:
        by_seed.setdefault(cell.seed, []).append(cell.key)
    keys: set[str] = set()
    for n, of_seed in enumerate(by_seed.values()):
        if any(statuses.get(key) != "done" for key in of_seed):
            return keys, n
        keys.update(of_seed)
    return keys, len(by_seed)


def _baseline(algorithms: Sequence[str], asked: str | None) -> str | None:
    if asked is not None:
        if asked not in algorithms:
            near = difflib.get_close_matches(asked, algorithms, n=3, cutoff=0.5) or algorithms
            raise ValueError(
                f"baseline={asked!r} is not among the algorithms; near: {', '.join(near)}"
            )
        return asked
    if len(algorithms) < 2:
        return None
    return DEFAULT_BASELINE if DEFAULT_BASELINE in algorithms else algorithms[0]


def _row_setting(cell: StoredCell) -> dict[str, Any]:
    problem = cell.spec["problem"]
    setting = {**problem["settings"], "pop_size": cell.pop_size, "n_eval": cell.budget}
    # What else may end a run; only cells that were given it have it.
    setting |= {name: cell.spec[name] for name in ("seconds", "target") if name in cell.spec}
    return {"problem": problem["name"], **setting}


def _column_setting(cell: StoredCell) -> dict[str, Any]:
    algorithm = cell.spec["algorithm"]
    return {"algorithm": algorithm["name"], **algorithm["settings"]}


def _identity(label: str, setting: dict[str, Any]) -> tuple[str, str]:
    return label, json.dumps(setting, sort_keys=True)


def _labels(
    cells: Sequence[StoredCell],
    label_of: Callable[[StoredCell], str],
    setting_of: Callable[[StoredCell], dict[str, Any]],
    order: Sequence[str],
) -> dict[tuple[str, str], str]:
    """A unique label for every (label, setting) that occurs, in the order of the campaign."""
    settings: dict[str, dict[str, dict[str, Any]]] = {}
    for cell in cells:
        setting = setting_of(cell)
        settings.setdefault(label_of(cell), {})[_identity("", setting)[1]] = setting
    place = {label: i for i, label in enumerate(order)}
    unique = {}
    for label in sorted(settings, key=lambda n: (place.get(n, len(place)), _natural(n))):
        variants = settings[label]
        names = sorted({name for setting in variants.values() for name in setting})
        differing = [
            name
            for name in names
            if len({json.dumps(setting.get(name)) for setting in variants.values()}) > 1
        ]
        for text, setting in sorted(variants.items(), key=lambda v: (len(v[1]), _natural(v[0]))):
            told = ", ".join(f"{name}={setting[name]}" for name in differing if name in setting)
            suffix = (f" ({told})" if told else " (default)") if differing else ""
            unique[label, text] = label + suffix
    return unique


def _natural(text: str) -> list[tuple[int, int | str]]:
    """Sort key that puts `imf2` before `imf10`."""
    parts = re.split(r"(\d+)", text)
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts]
