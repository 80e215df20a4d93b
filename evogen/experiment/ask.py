"""Ask finished runs for designs: near objectives, for a preference, within bounds, in between."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pymoo.core.evaluator import Evaluator
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.core.result import Result

from evogen.experiment.evaluations import Evaluations
from evogen.operators import Encoding
from evogen.operators.foundfront import FoundFront
from evogen.operators.inverse import Answers, InverseSampler

#: Further designs for one wish are aimed at places so far from it, in ranges of the front.
RADIUS = 0.05

#: A target further than this from the found front, or than three times its usual spacing, and not
#: dominated by it, is beyond reach.
REACH = 0.02

#: A design counts as a hit when prediction and expected error together miss the target by less.
HIT = 0.1

#: A predicted constraint violation below this share of the usual one counts as none.
CV_SLACK = 0.01

WISHES = ("near", "preference", "bounds", "between")


@dataclass(frozen=True)
class Designs:
    """Answers to a wish, best first.

    Attributes:
        X: Decision variables `(n, n_var)`, or `(n,)` dictionaries for mixed variables.
        F_predicted: What a predictor fitted to the evaluated points nearby says `(n, n_obj)`.
        expected_error: How far each predicted objective is likely to be off, in the objective's
            own units `(n, n_obj)`: the predictor's leave-one-out error at the evaluated points
            nearest to the design, scaled by distance, plus half of what two predictors with half
            of these points each disagree by; more for designs far from where the points lie.
        target: The objective vectors that the rows were aimed at `(n, n_obj)`.
        attainable: Whether the wish is within reach of what the run has found, and the row's
            prediction and expected error together miss it by less than a tenth of the found
            front's range `(n,)`.
        message: What there is to be said, in sentences.
        F: True objectives `(n, n_obj)`; None unless evaluated.
        CV: True constraint violations `(n,)`; None unless evaluated.
    """

    X: np.ndarray
    F_predicted: np.ndarray
    expected_error: np.ndarray
    target: np.ndarray
    attainable: np.ndarray
    message: str
    F: np.ndarray | None = None
    CV: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.F_predicted)


class RunResult(Result):
    """What `evogen.minimize` returns: pymoo's `Result`, which can be asked.

    Attributes:
        evaluations: Every point evaluated (`Evaluations`), or None if they were not kept.
    """

    def __init__(self) -> None:
        super().__init__()
        self.evaluations: Evaluations | None = None

    def ask(
        self,
        *,
        near: Sequence[float] | None = None,
        preference: Mapping[str, float] | Sequence[float] | None = None,
        bounds: Mapping[str, tuple[float | None, float | None]] | None = None,
        between: tuple[int, int] | None = None,
        n: int = 1,
        evaluate: bool = False,
        seed: int = 0,
    ) -> Designs:
        """Designs for a wish, from all that this run has evaluated; see `evogen.experiment.ask`.

        Args:
            near: Objective values wanted `(n_obj,)`.
            preference: Weights of the objectives.
            bounds: Lower and upper bounds of objectives, each may be None.
            between: Two row numbers of `F`, from 0.
            n: Number of designs.
            evaluate: Compute their true objectives too (n evaluations of the problem).
            seed: Decides the answer.

        Raises:
            ValueError, TypeError: See `evogen.experiment.ask`; or the run kept no evaluations.
        """
        if self.evaluations is None:
            raise ValueError(
                "this run kept no evaluations to learn from; run it with keep_evaluations=True "
                "(and at least one finite evaluation)"
            )
        wish: dict[str, Any] = {"near": near, "preference": preference, "bounds": bounds}
        if between is not None:
            rows = np.atleast_2d(self.F) if self.F is not None else np.empty((0, 0))
            wish["between"] = _pair(between, rows)
        data = self.evaluations
        return _answer(data.X, data.F, data.CV, self.problem, wish, n, evaluate, seed)


def ask(
    X: Any,
    F: Any,
    *,
    CV: Any = None,
    problem: Any = None,
    near: Sequence[float] | None = None,
    preference: Mapping[str, float] | Sequence[float] | None = None,
    bounds: Mapping[str, tuple[float | None, float | None]] | None = None,
    between: tuple[int, int] | None = None,
    n: int = 1,
    evaluate: bool = False,
    seed: int = 0,
) -> Designs:
    """Designs for a wish, learned from evaluated points of any origin.

    At most one of `near`, `preference`, `bounds` and `between`; without any, designs all along
    the found front. The first designs for `near`, `preference` are distinct ones for the very
    target (its branches, where several designs have the same objectives); when no more of these
    are found, further ones are aimed at the front nearby. Designs for `bounds` and `between` are
    spread over that part of the front, one from each branch in turn.

    Args:
        X: Decision variables `(n_points, n_var)`, or dictionaries for mixed variables.
        F: Objectives `(n_points, n_obj)`, minimised, n_obj >= 2; rows that are not finite are left
            out.
        CV: Constraint violations `(n_points,)`; positive rows teach the predictor only.
        problem: Where X comes from: its box and kinds of variables. Without it the variables are
            real and the box is the range of X.
        near: Objective values wanted `(n_obj,)`.
        preference: Weights of the objectives, as `{"f1": 0.7, "f2": 0.3}` (0 for those not
            named) or a sequence `(n_obj,)`: the trade-off with the least max_j w_j z_j, z the
            objectives scaled to the found front.
        bounds: `{"f1": (0.1, 0.3), "f2": (None, 2.0)}`.
        between: Two row numbers of F, from 0.
        n: Number of designs, at least 1.
        evaluate: Compute their true objectives too: n evaluations of `problem`.
        seed: Decides the answer.

    Raises:
        TypeError: Variables without a vector form (permutations), or arguments of the wrong kind.
        ValueError: Shapes that do not match, unknown objectives, several wishes, too few points,
            no feasible point, or `evaluate` without a problem.
    """
    points = Evaluations(X, F)
    if points.F.ndim != 2 or len(points.X) != len(points.F):
        raise ValueError(f"X {points.X.shape} and F {points.F.shape} must have one row per point")
    if points.X.dtype == object:
        if problem is None:
            raise TypeError(
                "X holds objects, not numbers: give problem=, which names the variables"
            )
    elif points.X.ndim != 2 or not np.isfinite(points.X.astype(float)).all():
        raise ValueError(f"X {points.X.shape} must be (n_points, n_var), all values finite")
    cv = np.zeros(len(points)) if CV is None else np.asarray(CV, dtype=float).reshape(-1)
    if len(cv) != len(points):
        raise ValueError(f"CV has {len(cv)} values, but there are {len(points)} points")
    wish: dict[str, Any] = {"near": near, "preference": preference, "bounds": bounds}
    if between is not None:
        wish["between"] = _pair(between, points.F)
    finite = np.isfinite(points.F).all(axis=1) & np.isfinite(cv)
    return _answer(points.X[finite], points.F[finite], cv[finite], problem, wish, n, evaluate, seed)


def _answer(
    x: np.ndarray,
    f: np.ndarray,
    cv: np.ndarray,
    problem: Any,
    wish: dict[str, Any],
    n: int,
    evaluate: bool,
    seed: int,
) -> Designs:
    """Check the wish, turn it into targets, and have these answered."""
    kind, value = _check(wish, f, n, problem, evaluate, seed)
    if problem is None:
        x = np.asarray(x, dtype=float)
        low, high = x.min(axis=0), x.max(axis=0)
        encoding = Encoding(Problem(n_var=x.shape[1], n_obj=f.shape[1], xl=low, xu=high))
    else:
        encoding = Encoding(problem)
    encoding.refuse_permutations(x)
    movable = np.concatenate([np.full(c.width, c.kind == "real") for c in encoding.columns])
    sampler = InverseSampler(
        n_neighbors=max(60, 3 * min(n, 40)),
        n_starts=max(8, min(n, 40)) if kind in ("near", "preference") else 8,
        n_draws=0 if movable.all() else 4,
    )
    sampler.fit(
        encoding.encode(x),
        f,
        cv,
        project=None if movable.all() else lambda u: encoding.encode(encoding.decode(u)),
        movable=movable,
    )
    answers, targets, attainable, message = _served(sampler, kind, value, n, seed)
    designs = encoding.decode(answers.u)
    true: dict[str, np.ndarray] = {}
    if evaluate:
        pop = Evaluator().eval(problem, Population.new(X=designs))
        true = {"F": pop.get("F"), "CV": pop.get("CV")[:, 0]}
    return Designs(
        X=designs,
        F_predicted=answers.f,
        expected_error=answers.error,
        target=targets,
        attainable=attainable,
        message=message,
        **true,
    )


def _served(
    sampler: InverseSampler, kind: str, value: Any, n: int, seed: int
) -> tuple[Answers, np.ndarray, np.ndarray, str]:
    """Answers, what they were aimed at `(n, n_obj)`, whether they reach it `(n,)`, and a text."""
    rng = np.random.default_rng(seed)
    front = FoundFront(sampler.scale(sampler.front))
    reach = max(REACH, 3.0 * front.usual_spacing)
    said: list[str] = []
    reached = True
    if kind in ("near", "preference"):
        wanted = sampler.scale(value) if kind == "near" else front.preferred(value)
        aim = wanted
        if kind == "near":
            aim, reached = _within_reach(front, wanted, reach, said)
        exact = sampler.sample(sampler.unscale(aim[None]), n, random_state=rng)
        targets = aim[None]
        if len(exact) < n:
            targets = np.concatenate([targets, front.around(aim, n - len(exact), RADIUS)])
            said.append(
                f"{len(exact)} distinct designs were found for the very target; the others are "
                "for trade-offs near it."
            )
            more = sampler.sample(sampler.unscale(targets[1:]), random_state=rng)
            more.target += 1
            exact = Answers.merge(exact, more)
        answers = exact
    else:
        if kind == "between":
            start, end = sampler.scale(value)
            targets = front.between(start, end, n)
        else:
            targets, reached = front.spread(n, *sampler.scale(value))
            if not reached:
                said.append(
                    "No trade-off that the run has found lies within these bounds; the nearest "
                    "ones were aimed at instead."
                )
        answers = sampler.sample(sampler.unscale(targets), random_state=rng, rotate=True)
    slack = np.linalg.norm(answers.error / sampler.extent, axis=1)
    violated = answers.cv > CV_SLACK * sampler.cv_scale
    attainable = reached & (answers.miss + slack <= HIT) & ~violated
    missed = int((~attainable & ~violated).sum())
    if reached and missed:
        said.append(
            f"{missed} of {len(answers)} designs may miss their target by more than a tenth of the "
            "front's range (prediction and expected error together)."
        )
    if violated.any():
        said.append(f"{int(violated.sum())} designs are predicted to violate constraints.")
    aimed = sampler.unscale(targets)[answers.target]
    return answers, aimed, attainable, " ".join(said) or "All targets are within reach."


def _within_reach(
    front: FoundFront, wanted: np.ndarray, reach: float, said: list[str]
) -> tuple[np.ndarray, bool]:
    """A target that is not too far beyond the found front, and whether it is the wanted one."""
    nearest, distance = front.support(wanted)
    better = np.flatnonzero((front.z < wanted - reach).all(axis=1))
    if len(better):
        said.append(
            "The run has found designs that are better than this target in every objective; ask "
            "for less to get these."
        )
        return wanted, True
    if distance <= reach or (front.z <= wanted).all(axis=1).any():
        return wanted, True
    said.append(
        f"The target lies {distance:.2g} of the front's range beyond what the run has found; the "
        "closest trade-off was aimed at instead."
    )
    return nearest, False


# Checks.


def _check(
    wish: dict[str, Any], f: np.ndarray, n: int, problem: Any, evaluate: bool, seed: int
) -> tuple[str, Any]:
    """The kind of the wish and its value as arrays in the objectives' own units."""
    given = {kind: value for kind, value in wish.items() if value is not None}
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} are different wishes; give one of {WISHES}")
    for name, number, least in (("n", n, 1), ("seed", seed, 0)):
        if isinstance(number, bool) or not isinstance(number, int | np.integer):
            raise TypeError(f"{name}={number!r} must be a whole number")
        if number < least:
            raise ValueError(f"{name}={number} must be at least {least}")
    n_obj = f.shape[1]
    if n_obj < 2:
        raise ValueError("there is one objective; asking for trade-offs needs two or more")
    if evaluate and problem is None:
        raise ValueError("evaluate=True needs problem=, the pymoo problem to be evaluated")
    kind, value = next(iter(given.items())) if given else ("bounds", {})
    if kind == "near":
        return kind, _vector("near", value, n_obj)
    if kind == "preference":
        return kind, _weights(value, n_obj)
    if kind == "bounds":
        return kind, _bounds(value, n_obj)
    return kind, value


def _vector(name: str, value: Any, n_obj: int) -> np.ndarray:
    try:
        vector = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise TypeError(f"{name}={value!r} must be {n_obj} numbers") from None
    if vector.shape != (n_obj,) or not np.isfinite(vector).all():
        raise ValueError(f"{name}={value!r} must be {n_obj} finite numbers, one per objective")
    return vector


def _objective(name: Any, n_obj: int, argument: str) -> int:
    names = [f"f{i + 1}" for i in range(n_obj)]
    if name not in names:
        near = difflib.get_close_matches(str(name), names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"they are called {', '.join(names)}"
        raise ValueError(f"{argument} names the objective {name!r}, which is not there; {hint}")
    return names.index(name)


def _weights(value: Any, n_obj: int) -> np.ndarray:
    if isinstance(value, Mapping):
        named = [(_objective(name, n_obj, "preference"), w) for name, w in value.items()]
        value = [dict(named).get(i, 0.0) for i in range(n_obj)]
    weights = _vector("preference", value, n_obj)
    if (weights < 0).any() or not weights.any():
        raise ValueError(f"preference={value!r} must be weights of at least 0, one above 0")
    return weights


def _bounds(value: Any, n_obj: int) -> np.ndarray:
    if not isinstance(value, Mapping):
        raise TypeError(f"bounds={value!r} must be a dictionary such as {{'f1': (0.1, 0.3)}}")
    limits = np.tile([[-np.inf], [np.inf]], n_obj)
    for name, pair in value.items():
        j = _objective(name, n_obj, "bounds")
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
            raise ValueError(f"bounds[{name!r}]={pair!r} must be (low, high); None for no limit")
        for side, limit in enumerate(pair):
            limits[side, j] = limits[side, j] if limit is None else float(limit)
        if not limits[0, j] <= limits[1, j]:
            raise ValueError(f"bounds[{name!r}]={pair!r}: low must not exceed high")
    return limits


def _pair(between: Any, rows: np.ndarray) -> np.ndarray:
    """The objective vectors of two row numbers `(2, n_obj)`."""
    if not isinstance(between, Sequence) or isinstance(between, str) or len(between) != 2:
        raise TypeError(f"between={between!r} must be two row numbers, e.g. (3, 7)")
    for i in between:
        if isinstance(i, bool) or not isinstance(i, int | np.integer):
            raise TypeError(f"between={between!r} must be two whole numbers")
        if not 0 <= i < len(rows):
            raise ValueError(f"between={between!r}: F has the rows 0 to {len(rows) - 1}, no {i}")
    if between[0] == between[1]:
        raise ValueError(f"between={between!r}: give two different rows")
    pair = np.asarray(rows[list(between)], dtype=float)
    if not np.isfinite(pair).all():
        raise ValueError(f"between={between!r}: these rows of F are not finite")
    return pair
