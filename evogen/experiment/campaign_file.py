"""A campaign in one TOML file: what is run, how, and where the results go."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from evogen.experiment.campaign import ORDERS, Campaign, check_order, twin_settings
from evogen.experiment.cells import Spec
from evogen.experiment.engines import ENGINES, EngineSettings
from evogen.experiment.lookup import resolve_problems

EXAMPLE = """\
# A campaign of evogen:  evogen bench campaign.toml
# The same command again continues. Flags go before what stands here: --seeds 3 --jobs 4.

store = "runs.db"              # the results; beside this file unless the path is absolute
# report = "report"            # folder for tables and figures
# baseline = "nsga2"           # what tables compare with; default: nsga2, else the first

# Names of problems or suites (evogen list problems), or tables with settings and a label.
problems = [
    "zdt1",
    "zdt1-shifted",
    { name = "dtlz2", label = "dtlz2, 5 objectives", settings = { n_obj = 5 } },
]

# Names of algorithms (evogen list algorithms), or tables likewise.
algorithms = [
    "nsga2",
    "gmoea",
    { name = "nsga2-ddpm", label = "nsga2-ddpm, 3 of 10", settings = { share = 0.3 } },
]

seeds = 11                     # the seeds 1 to 11; or a list: [3, 5, 8]
pop_size = 100

[budget]                       # a run ends at whichever comes first
n_eval = 5000                  # evaluations, never exceeded
# seconds = 60.0               # wall time; results depend on the machine then
# target = { igd = 0.01 }      # igd, igd_plus (at most), hv (at least)

[run]
# jobs = 2                     # cells at a time; default: all cores, or all of the cluster
# engine = "local"             # or "ray", "dask"
# address = "tcp://host:8786"  # of a running cluster; started on this machine by default
# time_limit = 600.0           # seconds; a cell that takes longer is stopped and marked as failed
# memory_limit = "2 GB"        # of a worker process
# checkpoint_every = 60.0      # seconds; a cell that is stopped goes on from there
# order = "cost"               # long cells first, or "seeds": seed by seed, for a stop on the way
# retry_failed = true          # run cells again that have failed before
"""

_NUMBER = (int, float)

#: Where each setting stands in the file, and what it must be.
_KINDS: dict[str, dict[str, tuple[Any, str]]] = {
    "": {
        "store": (str, "a text"),
        "report": (str, "a text"),
        "baseline": (str, "a text"),
        "problems": (list, "a list of names or tables"),
        "algorithms": (list, "a list of names or tables"),
        "seeds": ((int, list), "a number of seeds or a list of them"),
        "pop_size": (int, "a whole number"),
        "problem_settings": (dict, "a table"),
        "budget": (dict, "a table"),
        "run": (dict, "a table"),
    },
    "budget": {
        "n_eval": (int, "a whole number"),
        "seconds": (_NUMBER, "a number"),
        "target": (dict, "a table such as { igd = 0.01 }"),
    },
    "run": {
        "jobs": (int, "a whole number"),
        "engine": (str, f"one of {', '.join(ENGINES)}"),
        "address": (str, "a text"),
        "time_limit": (_NUMBER, "a number of seconds"),
        "memory_limit": ((int, str), "a number of bytes or a text like '2 GB'"),
        "checkpoint_every": (_NUMBER, "a number of seconds"),
        "order": (str, f"one of {', '.join(ORDERS)}"),
        "retry_failed": (bool, "true or false"),
    },
    "entry": {
        "name": (str, "a text"),
        "label": (str, "a text"),
        "settings": (dict, "a table"),
    },
}


@dataclass(frozen=True)
class Plan:
    """A campaign, how it is run, and what comes of it; see `Campaign` and `Campaign.run`.

    Attributes:
        source: What error messages call it.
        problems: Names of problems or suites, or tables with `name` and perhaps `label` and
            `settings`.
        algorithms: Likewise.
        problem_settings: For every problem, over its own settings.
        report: Folder for tables and figures, or None.
        baseline: Label of the algorithm that tables compare with, or None.
    """

    source: str = ""
    problems: Sequence[str | Mapping[str, Any]] = ()
    algorithms: Sequence[str | Mapping[str, Any]] = ("nsga2", "spea2", "immoea", "gmoea")
    seeds: int | Sequence[int] = 11
    n_eval: int = 5000
    seconds: float | None = None
    target: Mapping[str, float] | None = None
    pop_size: int = 100
    problem_settings: Mapping[str, Any] = field(default_factory=dict)
    store: str | Path = "runs.db"
    report: str | Path | None = None
    baseline: str | None = None
    jobs: int | None = None
    engine: str = "local"
    address: str | None = None
    time_limit: float | None = None
    memory_limit: int | str | None = None
    checkpoint_every: float | None = None
    order: str = "cost"
    retry_failed: bool = False

    def changed(self, **given: Any) -> Plan:
        """The plan with other values; None leaves what there is."""
        return replace(self, **{k: v for k, v in given.items() if v is not None})

    def campaign(self) -> Campaign:
        """The campaign, with everything in it checked.

        Raises:
            TypeError, ValueError: What is wrong, led by the name of the file.
        """
        try:
            self.engine_settings()
            check_order(self.order)
            campaign = Campaign(
                [spec for entry in self.problems for spec in self._problems(entry)],
                [self._spec("algorithms", entry) for entry in self.algorithms],
                seeds=self.seeds,
                n_eval=self.n_eval,
                seconds=self.seconds,
                target=self.target,
                pop_size=self.pop_size,
                store=self.store,
            )
            labels = [spec.label for spec in campaign.algorithms]
            if self.baseline is not None and self.baseline not in labels:
                raise ValueError(f"baseline={self.baseline!r} is not among {', '.join(labels)}")
        except (TypeError, ValueError) as error:
            if not self.source:
                raise
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{self.source}: {error}") from error
        return campaign

    def engine_settings(self) -> EngineSettings:
        """How it is run."""
        return EngineSettings(
            self.engine, self.jobs, self.address, self.time_limit, self.memory_limit
        )

    def run_settings(self) -> dict[str, Any]:
        """Arguments for `Campaign.run`."""
        names = ("jobs", "engine", "address", "time_limit", "memory_limit", "checkpoint_every")
        return {name: getattr(self, name) for name in (*names, "order", "retry_failed")}

    def _problems(self, entry: str | Mapping[str, Any]) -> list[Spec]:
        """What an entry stands for: one problem, or those of a suite."""
        given = self._spec("problems", entry)
        names = resolve_problems([str(given.name)])
        if len(names) > 1 and given.label != given.name:
            raise ValueError(
                f"problems: the label {given.label!r} cannot stand for the {len(names)} problems "
                f"of the suite {given.name}; leave it out, or name one problem"
            )
        specs = []
        for name in names:
            label = name if given.label == given.name else given.label
            settings = {**twin_settings(name), **given.settings, **self.problem_settings}
            specs.append(Spec(label, name, settings))
        return specs

    @staticmethod
    def _spec(where: str, entry: str | Mapping[str, Any]) -> Spec:
        if isinstance(entry, str):
            return Spec(entry, entry)
        _check_table(entry, "entry", f"{where}: ")
        if "name" not in entry:
            raise ValueError(f"{where}: {dict(entry)!r} has no name")
        return Spec(entry.get("label", entry["name"]), entry["name"], entry.get("settings", {}))


def read_plan(path: str | Path) -> Plan:
    """Read a campaign from a TOML file; `EXAMPLE` shows all that can stand in it.

    Paths in it are relative to its folder. Only names are read, no code is run.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: It is not there.
        ValueError: It is no TOML, or holds an unknown or no necessary key.
        TypeError: A value of the wrong kind. Messages name file, key and what would be right.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no campaign file {path}; `evogen bench --write-example {path}` makes one"
        )
    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        found = toml.loads(path.read_text(encoding="utf-8"))
    except (toml.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML file: {error}") from None
    _check_table(found, "", f"{path}: ")
    for part in ("budget", "run"):
        _check_table(found.get(part, {}), part, f"{path}: {part}.")
    for part in ("problems", "algorithms"):
        if not found.get(part):
            raise ValueError(f'{path}: {part} is missing; give a list, e.g. {part} = ["..."]')
        for i, entry in enumerate(found[part]):
            _check_entry(entry, f"{path}: {part}[{i}]")
    values = {k: v for k, v in found.items() if k not in ("budget", "run")}
    values |= found.get("budget", {}) | found.get("run", {})
    for name in ("store", "report"):
        if name in values:
            values[name] = path.parent / values[name]
    known = {f.name for f in fields(Plan)}
    assert set(values) <= known
    return Plan(source=str(path), **{"store": path.parent / "runs.db", **values})


def write_example(path: str | Path) -> Path:
    """Write `EXAMPLE`.

    Args:
        path: A file that is not there yet.

    Raises:
        FileExistsError: It is there.
    """
    path = Path(path)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(EXAMPLE)
    except FileExistsError:
        raise FileExistsError(f"{path} is there already; give another name") from None
    return path


def _check_entry(entry: Any, where: str) -> None:
    if isinstance(entry, str):
        return
    if not isinstance(entry, dict):
        raise TypeError(f"{where} = {entry!r} must be a name or a table with a name")
    _check_table(entry, "entry", f"{where}.")
    if "name" not in entry:
        raise ValueError(f"{where} has no name")


def _check_table(table: Mapping[str, Any], kind: str, where: str) -> None:
    """Refuse keys that nothing knows, and values of the wrong kind."""
    kinds = _KINDS[kind]
    for name, value in table.items():
        if name not in kinds:
            raise ValueError(f"{where}{name} is unknown; {_hint(name, kind)}")
        expected, words = kinds[name]
        is_bool = isinstance(value, bool)
        if not isinstance(value, expected) or (is_bool and expected is not bool):
            raise TypeError(f"{where}{name} = {value!r} must be {words}")
        if name == "seeds" and isinstance(value, list):
            _check_items(value, f"{where}{name}", lambda v: type(v) is int, "a whole number")


def _check_items(values: list[Any], where: str, is_right: Callable[[Any], bool], what: str) -> None:
    for i, value in enumerate(values):
        if not is_right(value):
            raise TypeError(f"{where}[{i}] = {value!r} must be {what}")


def _hint(name: str, kind: str) -> str:
    """What was probably meant."""
    if kind in ("", "budget", "run"):
        for part in ("budget", "run", ""):
            if part != kind and name in _KINDS[part]:
                place = f"in [{part}]" if part else "above the tables"
                return f"it belongs {place}"
    near = difflib.get_close_matches(name, _KINDS[kind], n=1, cutoff=0.7)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(_KINDS[kind])}"
