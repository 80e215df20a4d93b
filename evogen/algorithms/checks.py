"""What the named methods ask of their arguments and problems, in one place."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable
from typing import Any

from evogen.operators import Encoding


def parameters_of(cls: type) -> set[str]:
    """Names that the constructors of a class and its parents take."""
    constructors = [vars(c)["__init__"] for c in cls.__mro__[:-1] if "__init__" in vars(c)]
    return {
        p.name
        for constructor in constructors
        for p in inspect.signature(constructor).parameters.values()
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    } - {"self"}


def unknown_name(name: str, key: str, known: Iterable[str]) -> TypeError:
    """The error for an argument that nobody takes, with the nearest name that somebody does."""
    known = sorted(known)
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(known) or 'none'}"
    return TypeError(f"{name} has no setting {key!r}; {hint}")


def refuse_unknown(cls: type, given: Iterable[str], fixed: Iterable[str] = ()) -> None:
    """Refuse keyword arguments that pymoo's constructors would swallow.

    Args:
        cls: The class being built.
        given: Names in its `**kwargs`.
        fixed: Names that the class sets itself.

    Raises:
        TypeError: Names the argument, and a near one.
    """
    known, fixed = parameters_of(cls), set(fixed)
    for key in given:
        if key in fixed:
            raise TypeError(f"{cls.__name__} sets {key} itself; it cannot be given")
        if key not in known:
            raise unknown_name(cls.__name__, key, known - fixed)


def require_real_box(problem: Any, name: str) -> None:
    """Refuse a problem without real variables in a finite box, or with one objective.

    Raises:
        ValueError: Fewer than two objectives; missing, infinite or reversed bounds.
        TypeError: Integer, binary or mixed variables.
    """
    if problem.n_obj < 2:
        raise ValueError(f"{name} needs at least 2 objectives, the problem has {problem.n_obj}")
    kind = getattr(problem, "vtype", float)
    if isinstance(getattr(problem, "vars", None), dict) or kind not in (None, float):
        raise TypeError(
            f"{name} takes real variables only; for integer, binary or mixed ones give NSGA2 the "
            "fitting sampling and operators and inject a GenerativeMating"
        )
    Encoding(problem)
