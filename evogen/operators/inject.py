"""Put a generative operator into an algorithm that is already built."""

from __future__ import annotations

import inspect
from typing import Any

from pymoo.core.crossover import Crossover
from pymoo.core.infill import InfillCriterion
from pymoo.core.mutation import Mutation
from pymoo.core.sampling import Sampling
from pymoo.operators.sampling.rnd import PermutationRandomSampling

from evogen.operators.encoding import Encoding
from evogen.operators.mating import GenerativeMating
from evogen.operators.slot import check_ready
from evogen.operators.variation import (
    GenerativeCrossover,
    GenerativeMutation,
    GenerativeSampling,
)

#: What needs a unit box.
GENERATIVE = (GenerativeMating, GenerativeSampling, GenerativeCrossover, GenerativeMutation)

#: pymoo's algorithms whose `mating` is bookkeeping of their own; ours say `own_mating = True`.
_OWN_MATING = frozenset({"EPPSO"})


def consults_mating(algorithm: Any) -> bool:
    """Whether an algorithm's offspring really come from `algorithm.mating`.

    ES, SRES and ISRES accept a mating and never call it. The answer is read off the classes: going
    up the hierarchy, `mating` must be referred to before a class makes offspring on its own.
    """
    if not isinstance(getattr(algorithm, "mating", None), InfillCriterion):
        return False
    if type(algorithm).__name__ in _OWN_MATING or getattr(algorithm, "own_mating", False):
        return False
    for cls in type(algorithm).__mro__:
        methods = {k: v.__code__ for k, v in vars(cls).items() if inspect.isfunction(v)}
        if any("mating" in code.co_names for k, code in methods.items() if k != "__init__"):
            return True
        infill = methods.get("_infill")
        # pymoo's loop-wise algorithms make offspring in `_next`, reached through `_advance`.
        if infill is not None and not {"super", "_advance"} & set(infill.co_names):
            return False
    return False


def _refusal(algorithm: Any) -> str:
    return (
        f"{type(algorithm).__name__} does not take its offspring from a mating, so a generative "
        "mating would be ignored; use a genetic algorithm (NSGA2, NSGA3, MOEAD, SPEA2, GA, DE, "
        "...) or drive it by ask and tell"
    )


def inject(algorithm: Any, operator: Any) -> Any:
    """Put a generative operator into a built pymoo algorithm, in place.

    Args:
        algorithm: Any pymoo algorithm whose offspring come from a mating.
        operator: A `GenerativeMating` (wraps the present mating, which becomes its base unless
            one was given), a sampling (replaces the initial sampling), a crossover or a mutation
            (replace the mating's).

    Returns:
        The same algorithm.

    Raises:
        TypeError: The algorithm would ignore the operator, or it is no operator.
    """
    if isinstance(operator, Sampling):
        if not hasattr(algorithm, "initialization"):
            raise TypeError(f"{type(algorithm).__name__} has no initial sampling to replace")
        algorithm.initialization.sampling = operator
        return algorithm
    if not isinstance(operator, GenerativeMating | Crossover | Mutation):
        raise TypeError(
            f"operator={operator!r} is no generative mating, sampling, crossover or mutation"
        )
    if not consults_mating(algorithm):
        raise TypeError(_refusal(algorithm))
    if isinstance(operator, GenerativeMating):
        algorithm.mating = operator.wrap(algorithm.mating)
        return algorithm
    mating = algorithm.mating
    while isinstance(mating, GenerativeMating):
        mating = mating.base  # None when it was given to the constructor and has not run yet
    kind = Crossover if isinstance(operator, Crossover) else Mutation
    slot = kind.__name__.lower()
    # Differential evolution keeps the name of its crossover where others keep the operator.
    if not isinstance(getattr(mating, slot, None), kind):
        raise TypeError(f"{type(mating).__name__} has no single {slot} to replace")
    setattr(mating, slot, operator)
    return algorithm


def check_algorithm(algorithm: Any, problem: Any) -> None:
    """Refuse combinations that would fail late or be ignored silently; cheap, before any work.

    pymoo's own `minimize` does not ask; there, bad bounds are found when the operator is first
    used, and a mating in the wrong place is not found at all.

    Raises:
        TypeError: A generative mating in an algorithm that never calls it, or variables that
            have no vector form.
        ValueError: Bounds that are missing, infinite or reversed; a device that is not there.
    """
    mating = getattr(algorithm, "mating", None)
    if isinstance(mating, GenerativeMating) and not consults_mating(algorithm):
        raise TypeError(_refusal(algorithm))
    sampling = getattr(getattr(algorithm, "initialization", None), "sampling", None)
    own = [mating, sampling, getattr(mating, "crossover", None), getattr(mating, "mutation", None)]
    generative = [part for part in own if isinstance(part, GENERATIVE)]
    if generative:
        Encoding(problem)
        for part in generative:
            check_ready(part.model)
        if isinstance(sampling, PermutationRandomSampling):
            raise TypeError(
                f"{type(sampling).__name__} makes permutations, which have no unit-box form; "
                "real, integer, binary and choice variables have"
            )
