"""True fronts and Pareto sets of pymoo's problems, computed instead of downloaded.

pymoo 0.6.2 fetches the fronts of many problems from a server at first use (DTLZ5-7, several MW,
CTP, DAS-CMOP, Kursawe, ...), samples those of WFG unseeded, and keeps whatever the first call asked
for.
`offline(cls)` is a problem class with the same definition whose front comes from this package: by
formula, or computed within a second and kept for the process; deterministic, at any resolution.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from pymoo.core.problem import Problem

from .base import N_PARETO_POINTS, AnyResolution, check_resolution
from .constrained_fronts import CONSTRAINED_DIRECTIONS, CONSTRAINED_FRONTS, CONSTRAINED_SETS
from .sampling import simplex_lattice
from .unconstrained_fronts import UNCONSTRAINED_DIRECTIONS, UNCONSTRAINED_FRONTS, UNCONSTRAINED_SETS

Maker = Callable[[Any, int], np.ndarray | None]

FRONTS: dict[type, Maker] = {**UNCONSTRAINED_FRONTS, **CONSTRAINED_FRONTS}
"""`front(problem, n_points) -> (n, n_obj)` for each of pymoo's problem classes."""

DIRECTION_FRONTS: dict[type, Callable[[Any, np.ndarray], np.ndarray]] = {
    **UNCONSTRAINED_DIRECTIONS,
    **CONSTRAINED_DIRECTIONS,
}
"""`front(problem, directions) -> (n, n_obj)` where a direction of the simplex gives one point."""

SETS: dict[type, Maker] = {**UNCONSTRAINED_SETS, **CONSTRAINED_SETS}
"""`pareto_set(problem, n_points) -> (n, n_var)`."""

_computed: dict[tuple, np.ndarray] = {}


def _definition(problem: Problem) -> tuple:
    """What fixes a problem's front besides its class: its scalars, bounds and chosen functions."""
    parts: list[tuple] = []
    for key, value in sorted(vars(problem).items()):
        if isinstance(value, (bool, int, float, str)):
            parts.append((key, value))
        elif isinstance(value, np.ndarray) and value.dtype != object:
            parts.append((key, value.tobytes()))
        elif callable(value) and hasattr(value, "__qualname__"):
            parts.append((key, value.__qualname__))
    return tuple(parts)


def _own_result(method: Callable[..., Any], problem: Problem, width: int) -> np.ndarray | None:
    """pymoo's own front or set as a float array `(n, width)`, whatever shape it came in."""
    result = method(problem)
    return None if result is None else np.array(result, dtype=float).reshape(-1, width)


def _pymoo_front(cls: Any, problem: Problem, n_points: int) -> np.ndarray | None:
    """Front of a problem of pymoo's class `cls`, None where it is not known."""
    if cls in DIRECTION_FRONTS:
        return DIRECTION_FRONTS[cls](problem, simplex_lattice(problem.n_obj, n_points))
    if cls not in FRONTS:
        return None if _downloads(cls) else _own_result(cls.pareto_front, problem, problem.n_obj)
    key = (cls, n_points, _definition(problem))
    if key not in _computed:
        front = FRONTS[cls](problem, n_points)
        if front is None:
            return None
        _computed[key] = front
    return _computed[key].copy()


def _downloads(cls: Any) -> bool:
    """Whether the class's own front would be fetched from pymoo's server."""
    code = getattr(cls._calc_pareto_front, "__code__", None)
    return code is not None and "Remote" in code.co_names


def _by_first_objective(front: np.ndarray | None) -> np.ndarray | None:
    if front is None or front.shape[1] != 2:
        return front
    return front[np.argsort(front[:, 0], kind="stable")]


class OfflineFront(AnyResolution):
    """Mixin in front of one of pymoo's problem classes; made by `offline`."""

    pymoo_class: type

    def pareto_front(
        self,
        n_pareto_points: int | np.ndarray = N_PARETO_POINTS,
        *,
        ref_dirs: np.ndarray | None = None,
        use_cache: bool = True,
        set_cache: bool = True,
    ) -> np.ndarray | None:
        """Points of the true front, never from the network.

        Args:
            n_pareto_points: Wanted number of points (>= 2); the result may have fewer. As in pymoo,
                an array here is taken as `ref_dirs`.
            ref_dirs: Directions `(n, n_obj)` that sum to 1, one point each, where the front is a
                scaled simplex or sphere (DTLZ1-4 and relatives, WFG4-9, MW4).
            use_cache: Accepted for pymoo's sake, without effect.
            set_cache: Accepted for pymoo's sake, without effect.

        Returns:
            Points `(n, n_obj)`, ordered by the first objective if there are two; None where the
            front is not known.

        Raises:
            TypeError: `ref_dirs` for a front of another kind.
            ValueError: `n_pareto_points` below 2, or `ref_dirs` of another width.
        """
        problem: Any = self
        if ref_dirs is None and isinstance(n_pareto_points, np.ndarray):
            ref_dirs = n_pareto_points
        if ref_dirs is None:
            n_points = check_resolution(n_pareto_points)
            return _by_first_objective(_pymoo_front(self.pymoo_class, problem, n_points))
        if self.pymoo_class not in DIRECTION_FRONTS:
            raise TypeError(
                f"the front of {problem.name()} does not follow directions: give n_pareto_points "
                "instead of ref_dirs"
            )
        ref_dirs = np.asarray(ref_dirs, dtype=float)
        if ref_dirs.ndim != 2 or ref_dirs.shape[1] != problem.n_obj:
            raise ValueError(f"ref_dirs of shape {ref_dirs.shape} must be (n, {problem.n_obj})")
        front = DIRECTION_FRONTS[self.pymoo_class](problem, ref_dirs)
        return _by_first_objective(front)

    def pareto_set(
        self,
        n_pareto_points: int = N_PARETO_POINTS,
        *,
        use_cache: bool = True,
        set_cache: bool = True,
    ) -> np.ndarray | None:
        """Points of the Pareto set `(n, n_var)`, or None where it is not known."""
        problem: Any = self
        return _pymoo_set(self.pymoo_class, problem, check_resolution(n_pareto_points))

    def __reduce_ex__(self, protocol: Any) -> tuple:
        # The class is made at run time, so it is rebuilt by its recipe when unpickled or copied.
        problem: Any = self
        return _blank, (self.pymoo_class,), problem.__getstate__()


def _pymoo_set(cls: Any, problem: Problem, n_points: int) -> np.ndarray | None:
    if cls in SETS:
        return SETS[cls](problem, n_points)
    return _own_result(cls.pareto_set, problem, problem.n_var)


@cache
def offline(cls: type) -> type:
    """The class with the same problem as pymoo's `cls` whose front never needs the network.

    Its instances pickle, copy and are instances of `cls`; `pareto_front(n_pareto_points)` and
    `pareto_set(n_pareto_points)` depend on their own arguments alone.

    Raises:
        TypeError: `cls` is not a subclass of pymoo's Problem.
    """
    if not (isinstance(cls, type) and issubclass(cls, Problem)):
        raise TypeError(f"cls={cls!r} must be a subclass of pymoo's Problem")
    if issubclass(cls, AnyResolution):
        return cls
    body = {"pymoo_class": cls, "__module__": __name__, "__doc__": cls.__doc__}
    return type(cls.__name__, (OfflineFront, cls), body)


def _blank(cls: type) -> Problem:
    new: Any = offline(cls)
    return new.__new__(new)


def true_front(problem: Problem, n_pareto_points: int = N_PARETO_POINTS) -> np.ndarray | None:
    """The true front of any problem without touching the network, None where it is not known.

    Args:
        problem: One of ours, a twin, one of pymoo's (however it was made), or a stranger's that has
            a `pareto_front()` of its own.
        n_pareto_points: Wanted number of points (>= 2); a stranger's front comes as it is.

    Returns:
        Points `(n, n_obj)`.
    """
    n_points = check_resolution(n_pareto_points)
    own: Any = problem
    if isinstance(problem, AnyResolution):
        return own.pareto_front(n_points)
    return _by_first_objective(_pymoo_front(type(problem), problem, n_points))


def true_set(problem: Problem, n_pareto_points: int = N_PARETO_POINTS) -> np.ndarray | None:
    """The Pareto set `(n, n_var)` of any problem, None where it is not known; as `true_front`."""
    n_points = check_resolution(n_pareto_points)
    own: Any = problem
    if isinstance(problem, AnyResolution):
        return own.pareto_set(n_points)
    return _pymoo_set(type(problem), problem, n_points)
