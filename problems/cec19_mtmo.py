"""CEC19-MTMO-CPLX, ten two-task problems with complicated Pareto sets.

Source: the CEC 2019 competition on evolutionary multitask optimization (L. Feng et al.); its report
was not readable to us. The tasks are the functions F1 to F9 of H. Li, Q. Zhang, "Multiobjective
optimization problems with complicated Pareto sets, MOEA/D and NSGA-II", IEEE Trans. Evol. Comput.
13(2):284-302, 2009, in wider boxes, as in the MToP platform and DDMTOLab, whose values they equal
but for what follows. With n variables and j counted from 1, the distance variables j >= 2 (F6:
j >= 3) are divided into groups J_m, even and odd j (F6: by the remainder of j modulo 3), and

    f_m = position term(x_1, x_2) + 2/|J_m| (distance of y_j, j in J_m)
    y_j = 2 (x_j - 1/2) - t_j(x_1), F6: y_j = 4 (x_j - 1/2) - 2 x_2 sin(2 pi x_1 + j pi / n)

What to know:

- In F7 both codes have cos(4 pi y) where the paper has cos(8 pi y): `reading="mtop"` (default) or
  `"paper"`.
- In F8 both multiply cosines over the points of a batch by oversight, so that a point's value
  depends on the others evaluated with it. Here they are multiplied over a point's variables, as in
  the paper.
- On the Pareto set all x_j lie in [0, 1], so in boxes up to [-100, 100] they are nearly in the
  centre. `shift` moves them. Where a box leaves no room for that, its coordinate u in [0, 1] passes
  through u^p, p = log 0.5 / log(0.5 + shift), instead: the centre is moved as far, and the box is
  kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np

from .base import N_PARETO_POINTS, AnalyticProblem
from .competition import check_shift, twin_label
from .mtmo import Shape, TaskSet
from .sampling import box_grid, sphere_lattice

Reading = Literal["mtop", "paper"]
Link = Callable[[np.ndarray, np.ndarray, int], np.ndarray]

# --- where the Pareto set lies: t_j of x_1 `(n, 1)` and j `(k,)`, with n variables in all ---------


def power(x1: np.ndarray, j: np.ndarray, n: int) -> np.ndarray:
    """F1, F7, F8: powers from 1/2 to 2."""
    return np.asarray(x1 ** (0.5 * (1.0 + 3.0 * (j - 2) / (n - 2))))


def sine(x1: np.ndarray, j: np.ndarray, n: int) -> np.ndarray:
    """F2, F9: a wave."""
    return np.asarray(np.sin(_angle(x1, j, n)))


def spiral(x1: np.ndarray, j: np.ndarray, n: int) -> np.ndarray:
    """F3: a spiral."""
    angle = _angle(x1, j, n)
    return 0.8 * x1 * np.where(j % 2 == 1, np.cos(angle), np.sin(angle))


def uneven_spiral(x1: np.ndarray, j: np.ndarray, n: int) -> np.ndarray:
    """F4: a spiral that turns more slowly in the odd variables."""
    angle = _angle(x1, j, n)
    return 0.8 * x1 * np.where(j % 2 == 1, np.cos(angle / 3.0), np.sin(angle))


def rippled_spiral(x1: np.ndarray, j: np.ndarray, n: int) -> np.ndarray:
    """F5: a spiral with ripples."""
    angle = _angle(x1, j, n)
    radius = 0.3 * x1 * (x1 * np.cos(4.0 * angle) + 2.0)
    return radius * np.where(j % 2 == 1, np.cos(angle), np.sin(angle))


def _angle(x1: np.ndarray, j: np.ndarray, n: int) -> np.ndarray:
    return 6.0 * np.pi * x1 + np.pi * j / n


# --- distances of y `(n, k)` to `(n,)`, least at 0 -----------------------------------------------


def squares(y: np.ndarray, reading: Reading) -> np.ndarray:
    """Sum of squares."""
    return np.sum(y**2, axis=1)


def waves(y: np.ndarray, reading: Reading) -> np.ndarray:
    """F7: squares with waves."""
    turns = 4.0 if reading == "mtop" else 8.0
    return np.sum(4.0 * y**2 - np.cos(turns * np.pi * y) + 1.0, axis=1)


def coupled_waves(y: np.ndarray, reading: Reading) -> np.ndarray:
    """F8: squares with waves that are coupled by a product."""
    place = np.sqrt(np.arange(1, y.shape[1] + 1))
    product = np.prod(np.cos(20.0 * np.pi * y / place), axis=1)
    return 4.0 * np.sum(y**2, axis=1) - 2.0 * product + 2.0


# Of each function: its link (F6 has its own), its distance, and the front's shape.
FUNCTIONS: dict[str, tuple[Link | None, Callable[[np.ndarray, Reading], np.ndarray], Shape]] = {
    "f1": (power, squares, "convex"),
    "f2": (sine, squares, "convex"),
    "f3": (spiral, squares, "convex"),
    "f4": (uneven_spiral, squares, "convex"),
    "f5": (rippled_spiral, squares, "convex"),
    "f6": (None, squares, "sphere"),
    "f7": (power, waves, "convex"),
    "f8": (power, coupled_waves, "convex"),
    "f9": (sine, squares, "concave"),
}


class LZ09Task(AnalyticProblem):
    """One of F1 to F9 in a box.

    Args:
        label: Its name.
        function: "f1" to "f9"; F6 has three objectives and two position variables, the others two
            and one.
        n_var: Number of variables.
        low: Lower bound of the variables but the first.
        high: Upper bound of them.
        n_unit: How many of the first variables lie in [0, 1] instead.
        shift: How far the Pareto set is moved, as a share of the box.
        reading: Of F7.
    """

    def __init__(
        self,
        label: str,
        function: str,
        n_var: int,
        low: float,
        high: float,
        *,
        n_unit: int = 1,
        shift: float = 0.0,
        reading: Reading = "mtop",
    ) -> None:
        n_obj = 3 if function == "f6" else 2
        xl, xu = np.full(n_var, float(low)), np.full(n_var, float(high))
        xl[:n_unit], xu[:n_unit] = 0.0, 1.0
        super().__init__(n_var=n_var, n_obj=n_obj, xl=xl, xu=xu, vtype=float)
        self.label, self.function, self.reading = label, function, reading
        self.n_position = n_obj - 1
        self.link, self.distance, self.shape = FUNCTIONS[function]
        j = np.arange(self.n_position + 1, n_var + 1)
        self._j = j
        # f_1 has the even j and f_2 the odd ones; in F6 f_1 has 4, 7, ..., f_2 5, 8, ...
        rests = (0, 1) if n_obj == 2 else (1, 2, 0)
        self._groups = [np.flatnonzero(j % n_obj == rest) for rest in rests]
        width = (xu - xl)[self.n_position :]
        moves = 1.0 + shift * width <= xu[self.n_position :]
        self._moves, self._moved = moves, shift * width
        self._power = np.log(0.5) / np.log(0.5 + shift)

    def name(self) -> str:
        """The task's name."""
        return self.label

    def _evaluate(self, x: np.ndarray, out: dict, *args: Any, **kwargs: Any) -> None:
        position = x[:, : self.n_position]
        y = self._own(x[:, self.n_position :]) - self._best(position)
        y *= 4.0 if self.n_obj == 3 else 2.0
        distance = [
            2.0 / len(group) * self.distance(y[:, group], self.reading) for group in self._groups
        ]
        out["F"] = self._position_terms(position) + np.column_stack(distance)

    def _own(self, x: np.ndarray) -> np.ndarray:
        """Distance variables as the function has them."""
        if self._moves.all():
            return x - self._moved
        return np.where(self._moves, x - self._moved, self._bent(x, self._power))

    def _twin(self, x: np.ndarray) -> np.ndarray:
        """The inverse of `_own`, for variables in [0, 1]."""
        return np.where(self._moves, x + self._moved, self._bent(x, 1.0 / self._power))

    def _bent(self, x: np.ndarray, power: float) -> np.ndarray:
        """Distance variables whose coordinate in the box passes through a power."""
        low, width = self.xl[self.n_position :], (self.xu - self.xl)[self.n_position :]
        return low + width * np.clip((x - low) / width, 0.0, 1.0) ** power

    def _best(self, position: np.ndarray) -> np.ndarray:
        """Distance variables `(n, k)` of the Pareto set over the positions, in [0, 1]."""
        x1 = position[:, :1]
        if self.link is not None:
            return 0.5 + 0.5 * self.link(x1, self._j, self.n_var)
        wave = np.sin(2.0 * np.pi * x1 + np.pi * self._j / self.n_var)
        return 0.5 + 0.5 * position[:, 1:] * wave

    def _position_terms(self, position: np.ndarray) -> np.ndarray:
        if self.n_obj == 3:
            a, b = 0.5 * np.pi * position.T
            return np.column_stack([np.cos(a) * np.cos(b), np.cos(a) * np.sin(b), np.sin(a)])
        x1 = position[:, 0]
        return np.column_stack([x1, 1.0 - (x1**2 if self.shape == "concave" else np.sqrt(x1))])

    def _calc_pareto_front(self, n_pareto_points: int = N_PARETO_POINTS) -> np.ndarray:
        """Evenly spaced in f1, or on a lattice of the sphere."""
        if self.n_obj == 3:
            return sphere_lattice(3, n_pareto_points)
        return self._position_terms(np.linspace(0.0, 1.0, n_pareto_points)[:, None])

    def _calc_pareto_set(self, n_pareto_points: int = N_PARETO_POINTS) -> np.ndarray:
        """Evenly spaced in the positions."""
        position = box_grid(self.n_position, n_pareto_points)
        return np.column_stack([position, self._twin(self._best(position))])


# Of each task: function, number of variables, bounds, and how many variables lie in [0, 1].
_TASKS: tuple[tuple[tuple[str, int, float, float, int], ...], ...] = (
    (("f1", 10, -100, 100, 1), ("f2", 10, -100, 100, 1)),
    (("f1", 10, -5, 5, 1), ("f7", 10, -5, 5, 1)),
    (("f2", 30, -2, 2, 1), ("f4", 30, -1, 1, 1)),
    (("f2", 30, -100, 100, 1), ("f9", 30, -100, 100, 1)),
    (("f3", 30, 0, 1, 1), ("f6", 10, 0, 1, 2)),
    (("f3", 30, -50, 50, 1), ("f9", 30, -100, 100, 1)),
    (("f4", 30, -80, 80, 1), ("f5", 30, -80, 80, 1)),
    (("f5", 30, -20, 20, 2), ("f7", 10, -20, 20, 2)),
    (("f6", 10, -50, 50, 2), ("f9", 30, -100, 100, 2)),
    (("f7", 10, 0, 1, 1), ("f8", 10, -10, 10, 1)),
)
NAMES = tuple(f"cplx{i}" for i in range(1, len(_TASKS) + 1))


def factory(number: int) -> Callable[..., TaskSet]:
    """A function that makes a problem, 1 to 10, for the registry."""
    name = NAMES[number - 1]

    def make(shift: float = 0.0, reading: Reading = "mtop") -> TaskSet:
        check_shift(shift)
        if reading not in get_args(Reading):
            raise ValueError(f"reading={reading!r} must be 'mtop' or 'paper'")
        label = twin_label(name, shift)
        tasks = tuple(
            LZ09Task(
                f"{label}-t{task}", function, n_var, low, high, n_unit=n_unit, shift=shift,
                reading=reading,
            )
            for task, (function, n_var, low, high, n_unit) in enumerate(_TASKS[number - 1], 1)
        )  # fmt: skip
        return TaskSet(label, tasks)

    return make
