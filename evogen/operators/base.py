"""The mating that an algorithm would have had without a generative one."""

from __future__ import annotations

import copy
import inspect
from typing import Any

from pymoo.algorithms.soo.nonconvex.de import DE
from pymoo.core.infill import InfillCriterion
from pymoo.core.mating import Mating
from pymoo.core.mixed import MixedVariableMating
from pymoo.operators.crossover.sbx import SBX
from pymoo.operators.mutation.pm import PM
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.operators.selection.rnd import RandomSelection


def class_default(algorithm: Any, name: str) -> Any:
    """Default of a constructor argument, looked up along the class hierarchy; None if absent."""
    for cls in type(algorithm).__mro__:
        constructor = vars(cls).get("__init__")
        parameters = inspect.signature(constructor).parameters if constructor else {}
        default = getattr(parameters.get(name), "default", None)
        if default is not None and default is not inspect.Parameter.empty:
            return copy.deepcopy(default)
    return None


def default_base(algorithm: Any, problem: Any) -> InfillCriterion:
    """What `algorithm` uses when it is built without `mating=`.

    pymoo drops `selection`, `crossover` and `mutation` when a mating is given, so they are taken
    from the class's own defaults; pass `base=` for others. MOEA/D does not hand itself over:
    without an algorithm its own defaults are used (it supplies the parents itself). BRKGA makes
    its operators inside its constructor, where they cannot be seen: use `inject` there.

    Args:
        algorithm: The running algorithm, or None.
        problem: Its problem; mixed variables get pymoo's mixed-variable mating. May be None.
    """
    if isinstance(getattr(problem, "vars", None), dict):
        return MixedVariableMating(eliminate_duplicates=None)
    if isinstance(algorithm, DE):
        return DE().mating
    selection, crossover, mutation = (
        class_default(algorithm, name) for name in ("selection", "crossover", "mutation")
    )
    crossover = crossover or SBX(prob=1.0, eta=20)
    mutation = mutation or PM(prob_var=None, eta=20)
    if getattr(problem, "vtype", float) in (int, bool):
        # pymoo's defaults are for real variables; whole numbers must stay whole.
        crossover, mutation = _rounded(crossover), _rounded(mutation)
    return Mating(selection or RandomSelection(), crossover, mutation)


def _rounded(operator: Any) -> Any:
    """A real-coded operator whose results are rounded, as pymoo does for integers."""
    if isinstance(operator, SBX | PM):
        operator.vtype, operator.repair = float, RoundingRepair()
    return operator


def pairs_with_parents(mating: InfillCriterion) -> bool:
    """Whether offspring k of a mating belongs to parent k, as in differential evolution.

    Such a mating always makes one offspring per member of the population, whatever it is asked.
    """
    return not isinstance(mating, Mating | MixedVariableMating) and getattr(
        mating, "pairs_with_parents", True
    )


def run_base(mating: InfillCriterion, *args: Any, **kwargs: Any) -> Any:
    """Make offspring, past the base's own repair and duplicate check unless it has its own `do`."""
    own = type(mating).do is not InfillCriterion.do
    return mating.do(*args, **kwargs) if own else mating._do(*args, **kwargs)
