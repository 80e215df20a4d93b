"""Algorithms by name, for the command line and for campaigns."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pymoo.core.algorithm import Algorithm
from pymoo.core.problem import Problem

from evogen.algorithms.checks import parameters_of, unknown_name

DEFAULT_POP_SIZE = 100

Factory = Callable[..., Algorithm]


@dataclass(frozen=True)
class Entry:
    """A registered algorithm: how to build it, one line on what it is, and whose settings."""

    build: Factory
    about: str
    settings_of: type | None = None


#: Decided by the caller of `get_algorithm` or by the run, not by a setting.
_NOT_SETTINGS = {
    "archive", "base", "callback", "display", "evaluator", "mating", "output", "pop_size",
    "problem", "ref_dirs", "save_history", "seed", "settings", "termination", "verbose",
}  # fmt: skip

_ENTRIES: dict[str, Entry] = {}


def register(name: str, build: Factory, about: str, *, settings_of: type | None = None) -> None:
    """Add an algorithm under a name.

    Args:
        name: Lower-case name; must be new.
        build: Called as `build(problem, pop_size=..., **settings)`, returns a pymoo algorithm.
        about: One line for `evogen list algorithms`.
        settings_of: Class whose constructor the settings go to; pymoo's constructors swallow
            unknown ones, so they are checked against it and its parents.

    Raises:
        ValueError: The name is taken.
    """
    key = name.lower()
    if key in _ENTRIES:
        raise ValueError(f"an algorithm named {key!r} is registered already")
    _ENTRIES[key] = Entry(build, about, settings_of)


def list_algorithms() -> dict[str, str]:
    """Names and one line on each, in alphabetical order."""
    return {name: _ENTRIES[name].about for name in sorted(_ENTRIES)}


def get_algorithm(
    name: str, problem: Problem, *, pop_size: int | None = None, **settings: Any
) -> Algorithm:
    """Build an algorithm for a problem.

    Args:
        name: One of `list_algorithms()`, upper or lower case.
        problem: Supplies the number of objectives for reference directions.
        pop_size: Population size (>= 4); methods with reference directions use the largest
            simplex lattice of at most this size. None is 100, but "auto" chooses.
        **settings: Arguments of the method's own constructor.

    Raises:
        ValueError: Unknown name (near ones are listed) or too small a population.
        TypeError: A setting that the method does not have.
    """
    entry = _ENTRIES.get(name.lower())
    if entry is None:
        near = difflib.get_close_matches(name.lower(), _ENTRIES, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "see `evogen list algorithms`"
        raise ValueError(f"unknown algorithm {name!r}; {hint}")
    if pop_size is None:
        pop_size = None if name.lower() == "auto" else DEFAULT_POP_SIZE
    elif pop_size < 4:
        raise ValueError(f"pop_size={pop_size!r} must be at least 4")
    known = _settings(entry)
    for key in settings:
        if key not in known:
            raise unknown_name(name, key, known)
    return entry.build(problem, pop_size=pop_size, **settings)


def _settings(entry: Entry) -> list[str]:
    """Names that may be set, in alphabetical order."""
    if entry.settings_of is None:
        names = set(inspect.signature(entry.build).parameters)
    else:
        names = parameters_of(entry.settings_of)
    return sorted(names - _NOT_SETTINGS)
