"""From names to problems and algorithms: the one place that reaches for the registries."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any


def get_problem(name: str, **settings: Any) -> Any:
    """A registered problem; see `evogen.problems.get_problem`."""
    return _problems().get_problem(name, **settings)


def count_tasks(name: str) -> int:
    """How many tasks a registered problem has; see `evogen.problems.count_tasks`."""
    return int(_problems().count_tasks(name))


def resolve_problems(names: Sequence[str]) -> list[str]:
    """Problem names, a suite's name standing for its problems; see `evogen.problems.resolve`."""
    return list(_problems().resolve(list(names)))


def get_algorithm(name: str, problem: Any, *, pop_size: int | None = None, **settings: Any) -> Any:
    """A registered algorithm, built for a problem; see `evogen.algorithms.get_algorithm`."""
    return _algorithms().get_algorithm(name, problem, pop_size=pop_size, **settings)


def get_multitask_algorithm(name: str, problem: Any, *, pop_size: int, **settings: Any) -> Any:
    """An algorithm for several tasks; see `evogen.algorithms.get_multitask_algorithm`."""
    return _algorithms().get_multitask_algorithm(name, problem, pop_size=pop_size, **settings)


def check_algorithm(algorithm: Any, problem: Any) -> None:
    """Refuse pairs that would fail late; see `evogen.operators.check_algorithm`."""
    importlib.import_module("evogen.operators").check_algorithm(algorithm, problem)


# By name and late: a type checker cannot follow the mapping of `problems/` to `evogen.problems`,
# and importing the algorithms takes seconds (torch) that a report or a `--help` need not spend.


def _problems() -> Any:
    return importlib.import_module("evogen.problems")


def _algorithms() -> Any:
    return importlib.import_module("evogen.algorithms")
