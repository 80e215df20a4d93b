"""What this package's own problems share: a front and a Pareto set at any resolution."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from pymoo.core.problem import Problem

N_PARETO_POINTS = 5000
"""Default number of points of a front: IGD then differs from the limit in the third digit only."""


def check_integer(name: str, value: Any, minimum: int, why: str = "") -> int:
    """`value` as an int that is at least `minimum`.

    Raises:
        TypeError: Not an integer.
        ValueError: Below the minimum.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name}={value!r} must be an integer")
    if value < minimum:
        raise ValueError(f"{name}={value!r} must be at least {minimum}{why and f' ({why})'}")
    return int(value)


class AnyResolution:
    """Marks problems whose `pareto_front` and `pareto_set` take a number of points, offline.

    Their results depend on the argument alone, whereas pymoo keeps what the first call asked for.
    """


class AnalyticProblem(AnyResolution, Problem):
    """A real-valued benchmark problem whose front and Pareto set follow from formulas.

    A subclass writes `_evaluate`, `_calc_pareto_front(n_pareto_points)` and
    `_calc_pareto_set(n_pareto_points)`.
    """

    def pareto_front(
        self,
        n_pareto_points: int = N_PARETO_POINTS,
        *,
        use_cache: bool = True,
        set_cache: bool = True,
    ) -> np.ndarray | None:
        """Evenly spread points of the true front.

        Args:
            n_pareto_points: Wanted number of points (>= 2); the result may have somewhat fewer
                where points lie on a lattice, or where the front is a finite set.
            use_cache: Accepted for pymoo's sake, without effect.
            set_cache: Accepted for pymoo's sake, without effect.

        Returns:
            Points `(n, n_obj)`, ordered by the first objective if there are two; None where the
            front is not known.
        """
        front = self._calc_pareto_front(n_pareto_points=check_resolution(n_pareto_points))
        if front is not None and front.shape[1] == 2:
            front = front[np.argsort(front[:, 0], kind="stable")]
        return front

    def pareto_set(
        self,
        n_pareto_points: int = N_PARETO_POINTS,
        *,
        use_cache: bool = True,
        set_cache: bool = True,
    ) -> np.ndarray | None:
        """Points of the Pareto set `(n, n_var)`; arguments as for `pareto_front`."""
        return self._calc_pareto_set(n_pareto_points=check_resolution(n_pareto_points))


def check_resolution(n_pareto_points: Any) -> int:
    """`n_pareto_points` as an int >= 2 (ValueError or TypeError otherwise)."""
    return check_integer("n_pareto_points", n_pareto_points, 2)
