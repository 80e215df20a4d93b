"""Tasks that differ by a parameter: one model of all their solutions, told which task is meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from evogen.operators.encoding import Encoding, repair_to_box
from evogen.operators.examples import TrainingData
from evogen.operators.slot import check_model, check_ready, require_width
from evogen.operators.solutions import Solutions
from evogen.operators.survival import pairwise_distances, truncate
from evogen.operators.transfer import AcrossTasks
from evogen.operators.variation import GenerativeSampling


class Family(AcrossTasks):
    """The solutions of a whole family of tasks, given the task and the trade-off.

    Tasks of a family are the same problem for different values of something that is known: a load,
    a target, a time. A model learns p(x | d, z): the first fronts of all tasks, conditioned on the
    task's descriptor d and on the objectives z, scaled to the range of the task's first front. What
    every task has found then serves the others in proportion to how near they are, and what is a
    smooth function of the descriptor is averaged over all of them. The model is asked for what
    belongs to a task's own descriptor, with z between and a little beyond those of the first
    fronts found. All tasks need as many variables and objectives as each other.

    Several objectives' inverse models (Cheng et al. 2015, IM-MOEA) condition on z alone; models of
    the solution over a task's parameter are known as parametric programming, and for evolved
    repertoires as multi-task MAP-Elites (Mouret and Maguire 2020).

    Args:
        descriptors: Of each task, `(n_tasks, k)` or `(n_tasks,)`, in any units; None for those that
            the tasks come with (`get_problem("df1-family").descriptors`).
        widen: How far beyond a pair of solutions z may lie, as a share of their distance (>= 0).
        told: False hides the descriptors from the model, which then knows z alone: the null that
            shows what they are worth.

    Raises:
        ValueError: Descriptors that are not finite numbers of that shape, or a negative `widen`.
    """

    one_for_all = True

    def __init__(self, descriptors: Any = None, *, widen: float = 0.1, told: bool = True) -> None:
        if not (np.isfinite(widen) and widen >= 0):
            raise ValueError(f"widen={widen!r} must be at least 0")
        self.descriptors = None if descriptors is None else _checked(descriptors)
        self.widen = widen
        self.told = told
        self._known: list[Solutions | None] = []
        self._number = 0
        self._scaled: np.ndarray | None = None

    def begin(self, tasks: Sequence[Any], descriptors: Any = None) -> None:
        """Check that there is a descriptor for every task, and that the tasks are alike.

        Args:
            tasks: The problems.
            descriptors: What they come with; those of the constructor are preferred.

        Raises:
            ValueError: There are none, or not as many as tasks, or the tasks have different
                numbers of variables or objectives.
        """
        given = descriptors if self.descriptors is None else self.descriptors
        if given is None:
            raise ValueError(
                "descriptors are missing: give Family(descriptors), a row of numbers for each task"
            )
        rows = _checked(given)
        if len(rows) != len(tasks):
            raise ValueError(f"descriptors have {len(rows)} rows, but there are {len(tasks)} tasks")
        for what in ("n_var", "n_obj"):
            sizes = sorted({getattr(task, what) for task in tasks})
            if len(sizes) > 1:
                raise ValueError(
                    f"the tasks of a Family must have the same {what}; these have {sizes}"
                )
        self._low = rows.min(axis=0)
        extent = rows.max(axis=0) - self._low
        self._extent = np.where(extent > 0, extent, 1.0)
        self._scaled = self._placed(rows)

    def receive(self, known: Sequence[Solutions | None], number: int) -> None:
        """Take all tasks' solutions of this generation, and which task asks."""
        self._known, self._number = list(known), number

    def training(self, solutions: Solutions) -> TrainingData:
        """First fronts of all tasks, conditioned on descriptor and objectives."""
        parts = self._fronts(solutions)
        return TrainingData(
            np.concatenate([found.u[rows] for _, found, rows in parts]),
            condition=np.concatenate(
                [
                    self._condition(self._place(number), found.normalized_objectives()[rows])
                    for number, found, rows in parts
                ]
            ),
        )

    def ask(self, n: int, solutions: Solutions, random_state: np.random.Generator) -> np.ndarray:
        """Trade-offs `(n, k + n_obj)` for the task that asks."""
        fronts = [f.normalized_objectives()[rows] for _, f, rows in self._fronts(solutions)]
        chosen = random_state.integers(len(fronts), size=n)
        z = np.empty((n, fronts[0].shape[1]))
        for number in np.unique(chosen):
            rows = np.flatnonzero(chosen == number)
            z[rows] = self._between(fronts[number], len(rows), random_state)
        return self._condition(self._place(self._number), z)

    def ask_for(self, descriptor: Any, n: int, random_state: np.random.Generator) -> np.ndarray:
        """The same for one more task: trade-offs spread like those of the task nearest to it.

        Args:
            descriptor: Its own, `(k,)`; a number if k = 1.
            n: How many.
            random_state: Draws trade-offs where more are wanted than the front has solutions.

        Raises:
            RuntimeError: Nothing has been received yet.
            ValueError: A descriptor of another length.
        """
        fronts = self._fronts(None)
        if self._scaled is None or not fronts:
            raise RuntimeError("the family is not known yet: receive its solutions first")
        row = _checked(np.reshape(descriptor, (1, -1)))
        if row.shape[1] != self._scaled.shape[1]:
            raise ValueError(
                f"descriptor={descriptor!r} must be {self._scaled.shape[1]} numbers, as theirs"
            )
        place = self._placed(row)
        distance = [np.linalg.norm(self._scaled[number] - place) for number, _, _ in fronts]
        _, found, rows = fronts[int(np.argmin(distance))]
        z = found.normalized_objectives()[rows]
        if len(z) > n:
            z = z[truncate(pairwise_distances(z), n)]
        more = self._between(z, n - len(z), random_state)
        return self._condition(place, np.concatenate([z, more]))

    def _fronts(self, own: Solutions | None) -> list[tuple[int, Solutions, np.ndarray]]:
        """Of every task that has any: its number, its solutions, and the rows of the best."""
        known = list(self._known) or [None]
        if own is not None:
            known[self._number] = own
        return [
            (number, found, found.best if len(found.best) > 1 else found.order[:2])
            for number, found in enumerate(known)
            if found is not None
        ]

    def _between(self, z: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
        """n points on lines through random pairs of rows, a little beyond them included."""
        along = rng.uniform(-self.widen, 1.0 + self.widen, size=(n, 1))
        a, b = z[rng.integers(len(z), size=(2, n))]
        return a + along * (b - a)

    @property
    def known(self) -> list[Solutions]:
        """The solutions received, of the tasks that have any."""
        return [found for _, found, _ in self._fronts(None)]

    def _place(self, number: int) -> np.ndarray:
        # Before `begin`, as where an operator is tried by itself, all tasks are the same.
        return np.zeros((1, 1)) if self._scaled is None else self._scaled[[number]]

    def _placed(self, rows: np.ndarray) -> np.ndarray:
        """Descriptors in units of the family's range."""
        scaled = (rows - self._low) / self._extent
        return scaled if self.told else np.zeros_like(scaled)

    @staticmethod
    def _condition(place: np.ndarray, z: np.ndarray) -> np.ndarray:
        return np.column_stack([np.repeat(place, len(z), axis=0), z])


class FamilySampling(GenerativeSampling):
    """Warm start of one more task of a family, from tasks that are solved already.

    A model learns p(x | d, z) from the solved tasks' solutions (see `Family`) and is asked for
    those that belong to the new task's descriptor, spread along the front as those of the task
    nearest to it. Also an answer by itself where nothing may be evaluated: `.do(problem, n)`. The
    model is trained at the first draw, or before by `fit`; `minimize` works on a copy, so to start
    several runs from one training, call `fit` and set `descriptor` for each.

        solved = minimize_multitask(family, PACT(), ("n_eval", 100_000), seed=1)
        start = FamilySampling(GaussianMixture(), solved.tasks, family.descriptors, 0.35)
        res = minimize(new_problem, NSGA2(sampling=start), ("n_eval", 2_000), seed=1)

    Args:
        model: A conditional model.
        solved: pymoo results (`problem`, `X`, `F`, and `CV` if constrained), two at least; what is
            infeasible, and tasks without a feasible solution, are left out.
        descriptors: Of each of them, `(n_tasks, k)` or `(n_tasks,)`.
        descriptor: The new task's, `(k,)`; a number if k = 1.
        share: Share of the population from the model, in [0, 1]; the rest is uniform.
        bounds: See `repair_to_box`.
        seed: Decides the model's training.

    Attributes:
        descriptor: The new task's.

    Raises:
        TypeError: The model cannot be conditioned, or the variables are mixed.
        ValueError: Descriptors that do not fit, tasks of different size, or fewer than two solved.
    """

    def __init__(
        self,
        model: Any,
        solved: Sequence[Any],
        descriptors: Any,
        descriptor: Any,
        *,
        share: float = 1.0,
        bounds: str = "reflect",
        seed: int = 0,
    ) -> None:
        check_model(model, conditional=True)
        super().__init__(model, share=share, bounds=bounds)
        rows = _checked(descriptors)
        if len(rows) != len(solved):
            raise ValueError(f"descriptors have {len(rows)} rows, but solved has {len(solved)}")
        found = [_solutions(result) for result in solved]
        kept = [i for i, solutions in enumerate(found) if solutions is not None]
        if len(kept) < 2:
            raise ValueError(
                f"solved must be two tasks with feasible solutions at least; got {len(kept)}"
            )
        self.descriptor = descriptor
        self.seed = seed
        self._family = Family(rows[kept])
        self._family.begin([solved[i].problem for i in kept])
        self._family.receive([found[i] for i in kept], 0)
        self._family.ask_for(descriptor, 1, np.random.default_rng(0))  # an error is due now

    def fit(self) -> FamilySampling:
        """Train the model, unless it has been trained here before; a failure warns.

        Returns:
            self.
        """
        if not self.slot.fitted:
            check_ready(self.model)
            rng = np.random.default_rng(self.seed)
            self.slot.fit(self._family.training(self._family.known[0]), rng)
        return self

    def _rows(
        self, problem: Any, encoding: Encoding, n: int, random_state: np.random.Generator
    ) -> np.ndarray:
        """Rows of the unit box for the new task, at most n, all different."""
        n_dim = self._family.known[0].u.shape[1]
        if encoding.n_dim != n_dim:
            raise ValueError(f"the problem has {encoding.n_dim} variables, the solved ones {n_dim}")
        if not self.fit().slot.fitted:
            return np.empty((0, encoding.n_dim))
        asked = self._family.ask_for(self.descriptor, n, random_state)
        rows = self.slot.sample(n, asked, random_state)
        if rows is None:
            return np.empty((0, encoding.n_dim))
        require_width(self.model, "sample", rows, n, encoding.n_dim)
        rows = repair_to_box(self.slot.usable(rows, n), self.bounds, random_state)
        _, first = np.unique(rows, axis=0, return_index=True)
        return rows[np.sort(first)]


def _solutions(result: Any) -> Solutions | None:
    """What a result has found and is feasible, in the unit box; None if there is nothing.

    Raises:
        TypeError: Mixed variables.
    """
    if result.X is None:
        return None
    encoding = Encoding(result.problem)
    if encoding.mixed:
        raise TypeError("FamilySampling takes problems with variables of one kind; these are mixed")
    u, f = encoding.encode(np.atleast_2d(result.X)), np.atleast_2d(result.F)
    cv = getattr(result, "CV", None)
    violation = np.zeros(len(f)) if cv is None else np.asarray(cv, dtype=float).reshape(-1)
    feasible = violation <= 0
    return Solutions(u, f, violation)[feasible] if feasible.any() else None


def _checked(descriptors: Any) -> np.ndarray:
    """Descriptors as `(n_tasks, k)` floats.

    Raises:
        ValueError: They are not finite numbers of that shape.
    """
    try:
        rows = np.asarray(descriptors, dtype=float)
    except (TypeError, ValueError):
        rows = np.empty(0)
    rows = rows[:, None] if rows.ndim == 1 else rows
    if rows.ndim != 2 or rows.size == 0 or not np.isfinite(rows).all():
        raise ValueError(
            f"descriptors={descriptors!r} must be finite numbers, a row of the same length for "
            "each task"
        )
    return rows
