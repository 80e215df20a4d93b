"""When a run ends: evaluations counted exactly, seconds, or a target reached."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from pymoo.algorithms.base.genetic import GeneticAlgorithm
from pymoo.algorithms.moo.ctaea import CTAEA
from pymoo.algorithms.moo.moead import ParallelMOEAD
from pymoo.algorithms.moo.rvea import RVEA
from pymoo.algorithms.moo.sms import SMSEMOA
from pymoo.algorithms.soo.nonconvex.de import DE
from pymoo.core.algorithm import Algorithm
from pymoo.core.population import Population
from pymoo.core.termination import Termination
from pymoo.termination import get_termination
from pymoo.termination.max_eval import MaximumFunctionCallTermination
from pymoo.termination.max_time import TimeBasedTermination

from evogen.experiment.evaluation import BudgetSpent, GuardedEvaluator
from evogen.experiment.indicators import Reference, nondominated

#: Targets, and whether more is better. `f` is the objective of a single-objective problem.
INDICATORS = {"igd": False, "igd_plus": False, "hv": True, "f": False}

#: What a target may be limited by.
LIMITS = ("n_eval", "n_gen", "seconds")


class TargetTermination(Termination):
    """Ends a run whose feasible non-dominated points have reached all targets, or at a limit.

    Args:
        reference: What indicators are measured against.
        targets: Values to be reached: `igd`, `igd_plus` (at most), `hv` (at least; normalised as in
            `Reference`), or `f` for one objective (at most).
        limits: `n_eval`, `n_gen`, `seconds`: whichever comes first ends the run too.

    Attributes:
        reached: Whether the targets ended the run.
        n_max_evals: The limit of evaluations, infinite without one.

    Raises:
        ValueError: A target that the problem has no reference for.
    """

    def __init__(
        self, reference: Reference, targets: Mapping[str, float], limits: Mapping[str, float]
    ) -> None:
        super().__init__()
        for name in targets:
            lacks_front = name.startswith("igd") and reference.front is None
            lacks_point = name == "hv" and (reference.hv_point is None or reference.n_obj == 1)
            if lacks_front or lacks_point or (name == "f" and reference.n_obj != 1):
                raise ValueError(
                    f"the target {name!r} cannot be measured: the problem has {reference.n_obj} "
                    f"objectives and {'no' if reference.front is None else 'a'} known front"
                )
        self.reference = reference
        self.targets = dict(targets)
        self.limits = dict(limits)
        self.reached = False
        self.n_max_evals = float(limits.get("n_eval", np.inf))

    def _update(self, algorithm: Any) -> float:
        pop = algorithm.opt if algorithm.opt is not None else algorithm.pop
        if pop is not None and len(pop):
            self.reached = self._is_reached(nondominated(pop.get("F"), pop.get("CV")))
        used = {
            "n_eval": algorithm.evaluator.n_eval,
            "n_gen": algorithm.n_iter,
            "seconds": _seconds(algorithm) if "seconds" in self.limits else 0.0,
        }
        shares = [used[name] / limit for name, limit in self.limits.items()]
        return 1.0 if self.reached else max(shares, default=0.0)

    def _is_reached(self, front: np.ndarray) -> bool:
        if len(front) == 0 or not self.targets:
            return False
        found = self.reference.measure(front) | {"f": float(front.min())}
        return all(
            value >= target if INDICATORS[name] else value <= target
            for name, target in self.targets.items()
            if (value := found[name]) is not None
        )


def _seconds(algorithm: Any) -> float:
    # A run that goes on has its start moved, so that earlier parts count.
    return time.time() - algorithm.start_time


def resolve_termination(termination: Any, problem: Any) -> Any:
    """Terminations that pymoo does not know, made; anything else unchanged.

    `("seconds", 60)`; `("igd", 0.01)`, `("igd_plus", 0.01)`, `("hv", 0.7)`, `("f", 1e-6)`;
    `("target", {"igd": 0.01, "hv": 0.7, "n_eval": 20000})` with targets and limits together;
    `("limits", {"n_eval": 20000, "seconds": 60})` with limits only, the first of which ends.

    Args:
        termination: What `minimize` was given.
        problem: What indicators are measured for.

    Raises:
        TypeError: A value that is no number, or no dictionary of numbers.
        ValueError: An unknown name, a limit that is not positive, or no target among limits.
    """
    if not isinstance(termination, tuple | list) or len(termination) != 2:
        return termination
    name, value = termination
    if name == "seconds":
        return TimeBasedTermination(_positive(termination, name, value))
    if name not in ("target", "limits", *INDICATORS):
        return termination
    wanted = value if name in ("target", "limits") else {name: value}
    if not isinstance(wanted, Mapping):
        raise TypeError(
            f"termination={termination!r}: give a dictionary such as "
            '("target", {"igd": 0.01, "n_eval": 20000})'
        )
    unknown = [key for key in wanted if key not in (*INDICATORS, *LIMITS)]
    if unknown:
        raise ValueError(
            f"termination={termination!r}: {unknown[0]!r} is unknown; targets are "
            f"{', '.join(INDICATORS)}, limits {', '.join(LIMITS)}"
        )
    limits = {k: _positive(termination, k, wanted[k]) for k in LIMITS if k in wanted}
    targets = {k: _number(termination, k, wanted[k]) for k in INDICATORS if k in wanted}
    if name == "limits" and (targets or not limits):
        raise ValueError(f"termination={termination!r} needs some of {', '.join(LIMITS)}, no more")
    if name != "limits" and not targets:
        raise ValueError(
            f"termination={termination!r} has no target, one of {', '.join(INDICATORS)}"
        )
    return TargetTermination(Reference.of(problem), targets, limits)


def _number(termination: Any, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise TypeError(f"termination={termination!r}: {name} must be a number")
    if not np.isfinite(value):
        raise ValueError(f"termination={termination!r}: {name} must be finite")
    return float(value)


def _positive(termination: Any, name: str, value: Any) -> float:
    number = _number(termination, name, value)
    if number <= 0:
        raise ValueError(f"termination={termination!r}: {name} must be above 0")
    return number


def evaluation_limit(termination: Any) -> int | None:
    """The most evaluations that a termination allows; None if it does not count them.

    Args:
        termination: As given to `minimize`.
    """
    if isinstance(termination, tuple | list) and len(termination) == 2:
        if termination[0] not in ("n_eval", "n_evals"):
            return None
        termination = get_termination(*termination)
    if isinstance(termination, MaximumFunctionCallTermination | TargetTermination):
        limit = termination.n_max_evals
        return int(limit) if np.isfinite(limit) else None
    return None


class ExactBudget:
    """Steps of an algorithm that never make more than so many evaluations.

    The last batch is cut to what is left when the algorithm takes any number of points
    (`takes_any_number`); otherwise the run ends before it.

    Args:
        n_max_evals: The most evaluations.

    Attributes:
        n_cut: Points of the last batch that were not evaluated.
        note: What happened at the end, in words; empty while nothing did.
    """

    def __init__(self, n_max_evals: int) -> None:
        self.n_max_evals = int(n_max_evals)
        self.n_cut = 0
        self.note = ""

    def next(self, algorithm: Any) -> None:
        """One step, as `algorithm.next()`.

        Raises:
            ValueError: The initial points are more than the budget.
        """
        evaluator: GuardedEvaluator = algorithm.evaluator
        evaluator.n_max_evals = self.n_max_evals
        try:
            if type(algorithm).next is Algorithm.next:
                self._next(algorithm, evaluator)
            else:
                algorithm.next()
        except BudgetSpent as spent:
            self._stop(algorithm, f"stopped before a batch of {spent.n_new}")
        if evaluator.n_eval >= self.n_max_evals and algorithm.has_next():
            # In the middle of a generation, or of a termination that counts otherwise.
            self._stop(algorithm, "")

    def _next(self, algorithm: Any, evaluator: GuardedEvaluator) -> None:
        before = algorithm.pop
        infills = algorithm.infill()
        if infills is None:
            algorithm.advance()
            return
        left = self.n_max_evals - evaluator.n_eval
        rows = infills if isinstance(infills, Population) else Population.create(infills)
        n_new = evaluator.count_new(rows)
        if n_new > left:
            if not algorithm.is_initialized:
                raise ValueError(
                    f"the budget of {self.n_max_evals} evaluations is smaller than the "
                    f"{n_new} initial points of {type(algorithm).__name__}"
                )
            if left == 0 or n_new < len(rows) or not takes_any_number(algorithm):
                algorithm.pop = before  # CMA-ES has put the new points there
                self._stop(algorithm, f"stopped before a batch of {n_new}")
                return
            self.n_cut, self.note = n_new - left, f"cut its last batch from {n_new} to {left}"
            infills = rows[:left]
            if isinstance(algorithm, ParallelMOEAD):
                algorithm.indices = algorithm.indices[:left]
        evaluator.eval(algorithm.problem, infills, algorithm=algorithm)
        algorithm.advance(infills=infills)

    def _stop(self, algorithm: Any, note: str) -> None:
        self.note = self.note or note
        if getattr(algorithm, "generator", None) is not None:
            algorithm.generator = algorithm.state = None  # its generation is over, half done
        algorithm._set_optimum()
        algorithm.termination.perc = 1.0
        algorithm.finalize()


def takes_any_number(algorithm: Any) -> bool:
    """Whether an algorithm can be told the values of the first few of its new points only.

    Those that merge what is new with what they have, and let survival choose, can. Not known to
    can is taken for cannot: GDE3 pairs every offspring with its parent, for one.
    """
    from evogen.algorithms import ACE, KRVEA, RBFNSGA2, DiffusionEvolution

    merging = (GeneticAlgorithm, SMSEMOA, RVEA, CTAEA, DE, ParallelMOEAD)
    ours = (ACE, KRVEA, RBFNSGA2, DiffusionEvolution)
    known = {cls._advance for cls in (*merging, *ours)}
    return type(algorithm)._advance in known
