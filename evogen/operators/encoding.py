"""Decision variables to a model's unit space and back.

A generative model sees rows of real numbers; a problem has real, integer, binary or choice
variables, in one array or (pymoo's mixed variables) in one dictionary per individual. The
encoding is the only place that knows about both. Its space is the unit box: every bounded
variable is divided by its range; binary is 0/1; a choice takes one column per option.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pymoo.core.problem import Problem
from pymoo.core.variable import Binary, Choice, Integer, Real

BOUNDS = ("reflect", "clip")


def repair_to_box(
    u: np.ndarray, bounds: str = "reflect", random_state: np.random.Generator | None = None
) -> np.ndarray:
    """Bring rows back into the unit box.

    Args:
        u: Rows `(n, d)`.
        bounds: `"clip"` puts an outlier on the bound; `"reflect"` puts it inside, at a random
            depth of at most its distance from the bound. Clipping piles points up in corners,
            which flatters an operator wherever a benchmark hides its optimum there.
        random_state: Needed by `"reflect"`.

    Returns:
        Rows `(n, d)` in [0, 1].

    Raises:
        ValueError: Unknown `bounds`, or `"reflect"` without a random_state.
    """
    if bounds == "clip":
        return np.clip(u, 0.0, 1.0)
    if bounds != "reflect":
        raise ValueError(f"bounds={bounds!r} is unknown; use one of {', '.join(BOUNDS)}")
    out = u.copy()
    below, above = u < 0.0, u > 1.0
    if below.any() or above.any():
        if random_state is None:
            raise ValueError('bounds="reflect" needs a random_state')
        depth = random_state.random(u.shape)
        out = np.where(below, -u * depth, out)
        out = np.where(above, 1.0 - (u - 1.0) * depth, out)
    return np.clip(out, 0.0, 1.0)


@dataclass(frozen=True)
class Column:
    """One decision variable: its kind, its place in the unit space, and its range or options."""

    key: Any
    kind: str
    start: int
    width: int
    low: float = 0.0
    high: float = 1.0
    options: tuple[Any, ...] = ()


class Encoding:
    """Maps a problem's decision variables to the unit box and back.

    Args:
        problem: Any pymoo problem of real, integer, binary or choice variables with finite bounds.

    Attributes:
        n_dim: Width of the unit space.
        mixed: Whether the problem's individuals are dictionaries.

    Raises:
        ValueError: Missing, reversed, infinite or wrongly shaped bounds.
        TypeError: A kind of variable that has no vector form here (permutations).
    """

    def __init__(self, problem: Problem) -> None:
        self.mixed = bool(getattr(problem, "vars", None)) and not _plain(problem)
        self.columns = _mixed_columns(problem) if self.mixed else _array_columns(problem)
        self.n_dim = sum(c.width for c in self.columns)
        self._all_real = not self.mixed and all(c.kind == "real" for c in self.columns)
        self._dtype = None if self.mixed else getattr(problem, "vtype", float)
        self._low = np.array([c.low for c in self.columns])
        span = np.array([c.high - c.low for c in self.columns], dtype=float)
        self._span = np.where(span > 0, span, 1.0)
        self._width = np.where(span > 0, span, 0.0)

    def encode(self, x: Any) -> np.ndarray:
        """Decision variables to unit rows.

        Args:
            x: Array `(n, n_var)`, or a sequence of n dictionaries for mixed variables.

        Returns:
            Rows `(n, n_dim)` in [0, 1].
        """
        if not self.mixed:
            return (np.asarray(x, dtype=float) - self._low) / self._span
        u = np.zeros((len(x), self.n_dim))
        for c in self.columns:
            values = [row[c.key] for row in x]
            if c.kind == "choice":
                index = [c.options.index(v) for v in values]
                u[np.arange(len(x)), c.start + np.array(index, dtype=int)] = 1.0
            else:
                scaled = (np.array(values, dtype=float) - c.low) / ((c.high - c.low) or 1.0)
                u[:, c.start] = scaled
        return u

    def decode(self, u: np.ndarray) -> Any:
        """Unit rows to decision variables.

        Args:
            u: Rows `(n, n_dim)` in [0, 1].

        Returns:
            Array `(n, n_var)` of the problem's own type, or an object array of n dictionaries.
        """
        if self._all_real:
            return self._low + u * self._width
        if not self.mixed:
            x = self._low + u * self._width
            return np.rint(x).astype(self._dtype)
        rows = np.empty(len(u), dtype=object)
        for i, row in enumerate(u):
            rows[i] = {c.key: _decode_value(c, row) for c in self.columns}
        return rows

    def refuse_permutations(self, x: Any) -> None:
        """Tell permutations from integers, which pymoo problems declare alike.

        Args:
            x: Decision variables of a population `(n, n_var)`.

        Raises:
            TypeError: All rows order the same distinct numbers.
        """
        if self.mixed or self._dtype is not int or len(x) < 2 or self.n_dim < 3:
            return
        sorted_rows = np.sort(np.asarray(x, dtype=float), axis=1)
        if (sorted_rows == sorted_rows[0]).all() and (np.diff(sorted_rows[0]) > 0).all():
            raise TypeError(
                "the population consists of permutations, which have no unit-box form; real, "
                "integer, binary and choice variables have"
            )


def _decode_value(c: Column, row: np.ndarray) -> Any:
    if c.kind == "choice":
        return c.options[int(np.argmax(row[c.start : c.start + c.width]))]
    value = c.low + float(row[c.start]) * (c.high - c.low)
    if c.kind == "integer":
        return round(value)
    return bool(round(value)) if c.kind == "binary" else value


def _plain(problem: Problem) -> bool:
    """Whether a problem with `vars` still hands out arrays (all of one plain type)."""
    return not isinstance(problem.vars, dict)


def _check_bounds(name: str, low: Any, high: Any) -> None:
    if low is None or high is None or not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(
            f"a generative operator needs a finite box, but variable {name} has the bounds "
            f"({low}, {high}); give the problem finite xl and xu"
        )
    if low > high:
        raise ValueError(
            f"variable {name} has reversed bounds ({low}, {high}): xl must not exceed xu"
        )


def _array_columns(problem: Problem) -> list[Column]:
    vtype = getattr(problem, "vtype", float)
    kinds: dict[Any, str] = {float: "real", int: "integer", bool: "binary"}
    if vtype is not None and vtype not in kinds:
        raise TypeError(
            f"problem.vtype={vtype!r} has no unit-box form; real, integer and binary have "
            "(permutations are not supported yet)"
        )
    kind = kinds.get(vtype, "real")
    n_var = problem.n_var
    low, high = problem.xl, problem.xu
    if kind == "binary":
        low = np.zeros(n_var) if low is None else low
        high = np.ones(n_var) if high is None else high
    if low is None or high is None:
        raise ValueError("a generative operator needs a finite box, but problem.xl or xu is None")
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    for name, bound in (("xl", low), ("xu", high)):
        if bound.shape != (n_var,):
            raise ValueError(f"problem.{name} has shape {bound.shape}, expected ({n_var},)")
    for i in range(n_var):
        _check_bounds(f"x{i}", low[i], high[i])
    return [Column(i, kind, i, 1, float(low[i]), float(high[i])) for i in range(n_var)]


def _mixed_columns(problem: Problem) -> list[Column]:
    columns: list[Column] = []
    start = 0
    for key, var in problem.vars.items():
        if isinstance(var, Choice):
            options = tuple(_as_sequence(var.options))
            columns.append(Column(key, "choice", start, len(options), options=options))
        elif isinstance(var, Binary):
            columns.append(Column(key, "binary", start, 1))
        elif isinstance(var, Real | Integer):
            _check_bounds(str(key), var.lb, var.ub)
            kind = "real" if isinstance(var, Real) else "integer"
            columns.append(Column(key, kind, start, 1, float(var.lb), float(var.ub)))
        else:
            raise TypeError(
                f"variable {key} is of type {type(var).__name__}, which has no unit-box form; "
                "Real, Integer, Binary and Choice have"
            )
        start += columns[-1].width
    return columns


def _as_sequence(options: Any) -> Sequence[Any]:
    return list(options)
