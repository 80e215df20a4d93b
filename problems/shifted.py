"""Shifted twins: any box-bounded problem with its Pareto set moved off corners and centre.

Many benchmark problems have their Pareto set at a corner or in the centre of the box, where some
operators arrive by construction (clipping, saturated outputs, averaging). The twin of a problem has
the same box, objectives and front, but every variable passes through a map of the box first.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import pymoo.problems.many as many
import pymoo.problems.multi as multi
import pymoo.problems.single as single
from pymoo.core.problem import Problem

from . import imf, lsmop, uf
from .base import N_PARETO_POINTS, AnyResolution, check_integer
from .fronts import true_front, true_set

Fold = Literal["smooth", "kinked", "bent", "plain"]

TWIN = "-shifted"
"""What is appended to a name to mean the shifted twin."""

OFFSET_RANGE = (0.15, 0.4)
SMOOTHING = 0.05
"""Rounding e of the smooth fold at its lowest point, in units of the box."""

_GRADIENTS = ("dF", "dG", "dH")

# Problems whose formulas hold outside of the box too, with no value below the front there. The
# first n_obj - 1 variables are positions and stay. The value is where the distance variables of the
# Pareto set lie in the normalised box; None: it is read off `pareto_set`.
#   IMF1-4, LSMOP: distances >= 0 of a linkage that is linear in x_i.
#   UF4: likewise, and its Pareto set keeps clear of the bounds (UF1, 2, 8-10: reaches them).
#   DTLZ1-5 and their C, DC and inverted forms, ZDT4: the distance function is least at one point of
#   the whole space (DTLZ6: a root of x, DTLZ7, ZDT1-3: lower outside, ZDT6: both).
PLAIN_OPTIMA: dict[type, float | None] = {
    **{getattr(imf, f"IMF{i}"): None for i in range(1, 5)},
    **{getattr(lsmop, f"LSMOP{i}"): None for i in range(1, 10)},
    uf.UF4: None,
    **{getattr(many, f"DTLZ{i}"): 0.5 for i in range(1, 6)},
    **{getattr(many, f"C1DTLZ{i}"): 0.5 for i in (1, 3)},
    **{getattr(many, f"C3DTLZ{i}"): 0.5 for i in (1, 4)},
    **{getattr(many, f"DC{c}DTLZ{i}"): 0.5 for c in (1, 2, 3) for i in (1, 3)},
    many.C2DTLZ2: 0.5,
    many.InvertedDTLZ1: 0.5,
    multi.ZDT4: 0.5,
    single.Ackley: 0.5,
    single.Griewank: 0.5,
    single.Rastrigin: 0.5,
    single.Rosenbrock: 0.5 + 0.5 / 2.048,
    single.Sphere: 0.5,
    single.Zakharov: 0.5,
}


def shifted(problem: Problem, *, seed: int = 0, fold: Fold = "smooth") -> ShiftedProblem:
    """The shifted twin of any box-bounded real-valued problem; see `ShiftedProblem`."""
    return ShiftedProblem(problem, seed=seed, fold=fold)


class ShiftedProblem(AnyResolution, Problem):
    """A problem whose variables pass through a map of the box before they are evaluated.

    With u the variables normalised to [0, 1] and offsets c_i drawn uniformly from [0.15, 0.4], the
    original problem gets, for each variable,

        smooth:  v = min(1, (sqrt((u - c)^2 + e^2) - e) / top), e = 0.05, top the value at u = 1;
                 the first variable is left alone
        kinked:  v = |u - c| / (1 - c); all variables
        bent:    v = u / (u + k (1 - u)), k = (0.5 - c) / (0.5 + c); the first variable is left
                 alone
        plain:   v = u - s; distance variables of problems in `PLAIN_OPTIMA`, evaluated outside of
                 their box where need be. s is 2 c times the room that the Pareto set leaves below
                 the upper bound (so s = c where it lies in the centre)

    All but plain are continuous and map the box onto itself, so box and front are those of the
    original, and constraints pass through. The folds, smooth and kinked, take most values from two
    sides of c, so that a Pareto set has many branches. Bent is one-to-one: the centre moves by c,
    corners stay.

    Args:
        problem: The original, with finite bounds; elementwise problems and pymoo's parallel runners
            work.
        seed: Decides the offsets (>= 0). The same seed gives all folds the same offsets.
        fold: `"smooth"` (default), `"kinked"`, `"bent"` or `"plain"`.

    Attributes:
        original: The problem given.
        offsets: c, or s if plain, `(n_var,)` in units of the box; 0 for variables left alone.

    Raises:
        TypeError: Not a pymoo problem, or its variables are not all real.
        ValueError: Infinite, missing or reversed bounds, bounds of the wrong shape, an unknown
            fold, a smooth or bent one of a problem with one variable, or a plain shift of a problem
            that is not made for it.
    """

    def __init__(self, problem: Problem, *, seed: int = 0, fold: Fold = "smooth") -> None:
        _check_real_box(problem)
        if fold not in get_args(Fold):
            known = ", ".join(repr(kind) for kind in get_args(Fold))
            raise ValueError(f"fold={fold!r} must be one of {known}")
        if fold in ("smooth", "bent") and problem.n_var == 1:
            raise ValueError(
                f"fold={fold!r} leaves the first variable alone, so it cannot shift "
                f"{problem.name()} with n_var=1; use fold='kinked'"
            )
        super().__init__(
            n_var=problem.n_var,
            n_obj=problem.n_obj,
            n_ieq_constr=problem.n_ieq_constr,
            n_eq_constr=problem.n_eq_constr,
            xl=np.array(problem.xl, dtype=float),
            xu=np.array(problem.xu, dtype=float),
            vtype=float,
            requires_kwargs=problem.requires_kwargs,
        )
        self.original = problem
        self.seed = check_integer("seed", seed, 0)
        self.fold = fold
        rng = np.random.default_rng(self.seed)
        self.offsets = np.asarray(rng.uniform(*OFFSET_RANGE, size=self.n_var))
        if fold in ("smooth", "bent"):
            self.offsets[0] = 0.0
        elif fold == "plain":
            self.offsets *= 2.0 * _plain_room(problem)
        self._width = self.xu - self.xl
        self._top = np.hypot(1.0 - self.offsets, SMOOTHING) - SMOOTHING
        self._bend = (0.5 - self.offsets) / (0.5 + self.offsets)

    def to_original(self, x: np.ndarray) -> np.ndarray:
        """Where the original is evaluated: points `(n, n_var)` of the twin's box, mapped."""
        # A variable whose bounds coincide has no place within its box; it stays as it is.
        u = (x - self.xl) / np.where(self._width > 0, self._width, 1.0)
        if self.fold == "plain":
            return x - self.offsets * self._width
        if self.fold == "kinked":
            v = np.abs(u - self.offsets) / (1.0 - self.offsets)
        elif self.fold == "bent":
            v = u / (u + self._bend * (1.0 - u))
        else:
            v = (np.hypot(u - self.offsets, SMOOTHING) - SMOOTHING) / self._top
            v[:, 0] = u[:, 0]
        return self.xl + np.minimum(v, 1.0) * self._width

    def from_original(self, x: np.ndarray) -> np.ndarray:
        """The points of the twin `(n, n_var)` that map to `x`, on the branch u >= c of a fold."""
        if self.fold == "plain":
            return x + self.offsets * self._width
        v = (x - self.xl) / np.where(self._width > 0, self._width, 1.0)
        if self.fold == "kinked":
            u = self.offsets + v * (1.0 - self.offsets)
        elif self.fold == "bent":
            u = self._bend * v / (1.0 - v + self._bend * v)
        else:
            height = v * self._top + SMOOTHING
            u = self.offsets + np.sqrt(np.maximum(height**2 - SMOOTHING**2, 0.0))
            u[:, 0] = v[:, 0]
        return self.xl + np.minimum(u, 1.0) * self._width

    def _evaluate(self, x: np.ndarray, out: dict, *args: Any, **kwargs: Any) -> None:
        wanted = [key for key in out if key not in _GRADIENTS]
        values = self.original.evaluate(
            self.to_original(x),
            *args,
            return_values_of=wanted,
            return_as_dictionary=True,
            **kwargs,
        )
        # Derivatives that the original gives are with respect to its own variables.
        out.update({key: value for key, value in values.items() if key not in _GRADIENTS})

    def name(self) -> str:
        """`<original>-shifted`."""
        return f"{self.original.name()}{TWIN}"

    def pareto_front(
        self,
        n_pareto_points: int = N_PARETO_POINTS,
        *,
        use_cache: bool = True,
        set_cache: bool = True,
    ) -> np.ndarray | None:
        """The original's front `(n, n_obj)`; None where it is not known."""
        return true_front(self.original, n_pareto_points)

    def pareto_set(
        self,
        n_pareto_points: int = N_PARETO_POINTS,
        *,
        use_cache: bool = True,
        set_cache: bool = True,
    ) -> np.ndarray | None:
        """The original's Pareto set moved along `(n, n_var)`, on the branch u >= c of a fold.

        A fold takes small values from u < c as well; those points are not listed. None where the
        original's set is not known.
        """
        points = true_set(self.original, n_pareto_points)
        return None if points is None else self.from_original(np.asarray(points, dtype=float))


def _check_real_box(problem: Any) -> None:
    if not isinstance(problem, Problem):
        raise TypeError(f"problem={problem!r} must be a pymoo Problem")
    name = problem.name()
    binary = isinstance(problem, multi.ZDT5)
    real = problem.vtype is None or (
        isinstance(problem.vtype, type) and issubclass(problem.vtype, float)
    )
    if binary or not real or getattr(problem, "vars", None) is not None:
        kind = "binary" if binary else "not all real"
        raise TypeError(
            f"{name} cannot be shifted because its variables are {kind}; "
            "only problems with real variables in a box can"
        )
    xl, xu = problem.bounds()
    for bound_name, bound in (("xl", xl), ("xu", xu)):
        if bound is not None and np.shape(bound) != (problem.n_var,):
            raise ValueError(
                f"{name} has {bound_name} of the shape {np.shape(bound)}, expected "
                f"({problem.n_var},): one bound for each variable"
            )
    if xl is None or xu is None or not (np.all(np.isfinite(xl)) and np.all(np.isfinite(xu))):
        raise ValueError(f"{name} cannot be shifted because its bounds xl, xu are not all finite")
    if np.any(xl > xu):
        i = int(np.argmax(xl > xu))
        raise ValueError(
            f"{name} has reversed bounds: xl[{i}]={xl[i]!r} is above xu[{i}]={xu[i]!r}"
        )


def _plain_room(problem: Problem) -> np.ndarray:
    """Room `(n_var,)` between the Pareto set and the upper bound; 0 for position variables."""
    cls = getattr(problem, "pymoo_class", type(problem))
    if cls not in PLAIN_OPTIMA:
        known = ", ".join(c.__name__ for c in PLAIN_OPTIMA)
        raise ValueError(
            f"fold='plain' would change the front of {problem.name()} or is not known to keep it; "
            f"it is for {known}; use fold='smooth' or 'kinked'"
        )
    optimum = PLAIN_OPTIMA[cls]
    if optimum is None:
        points = true_set(problem)
        room = 1.0 - ((points - problem.xl) / (problem.xu - problem.xl)).max(axis=0)
    else:
        room = np.full(problem.n_var, 1.0 - optimum)
    room[: problem.n_obj - 1] = 0.0
    return np.maximum(room, 0.0)
