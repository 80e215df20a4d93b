"""Algorithms by name, for the command line and for campaigns."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pymoo.core.algorithm import Algorithm
from pymoo.core.problem import Problem

Factory = Callable[..., Algorithm]


@dataclass(frozen=True)
class Entry:
    """A registered algorithm: how to build it, and one line on what it is."""

    build: Factory
    about: str


_ENTRIES: dict[str, Entry] = {}


def register(name: str, build: Factory, about: str) -> None:
    """Add an algorithm under a name.

    Args:
        name: Lower-case name; must be new.
        build: Called as `build(problem, pop_size=..., **settings)`, returns a pymoo algorithm.
        about: One line for `evogen list algorithms`.

    Raises:
        ValueError: The name is taken.
    """
    key = name.lower()
    if key in _ENTRIES:
        raise ValueError(f"an algorithm named {key!r} is registered already")
    _ENTRIES[key] = Entry(build, about)


def list_algorithms() -> dict[str, str]:
    """Names and one line on each, in alphabetical order."""
    return {name: _ENTRIES[name].about for name in sorted(_ENTRIES)}


def get_algorithm(
    name: str, problem: Problem, *, pop_size: int = 100, **settings: Any
) -> Algorithm:
    """Build an algorithm for a problem.

    Args:
        name: One of `list_algorithms()`, upper or lower case.
        problem: Supplies the number of objectives for reference directions.
        pop_size: Population size (>= 4); methods with reference directions use the largest
            simplex lattice of at most this size.
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
    if pop_size < 4:
        raise ValueError(f"pop_size={pop_size!r} must be at least 4")
    takes = inspect.signature(entry.build).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in takes.values()):
        for key in settings:
            if key not in takes:
                known = sorted(set(takes) - {"problem", "pop_size"})
                raise TypeError(
                    f"{name} has no setting {key!r}; it takes {', '.join(known) or 'none'}"
                )
    return entry.build(problem, pop_size=pop_size, **settings)
