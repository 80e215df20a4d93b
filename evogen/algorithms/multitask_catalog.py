"""The multitask algorithms known by name, their transfers' nulls among them."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable
from typing import Any

from pymoo.core.algorithm import Algorithm

from evogen.algorithms.checks import parameters_of, unknown_name
from evogen.algorithms.emt_et import EMTET
from evogen.algorithms.emt_gs import EMTGS
from evogen.algorithms.emt_pd import EMTPD
from evogen.algorithms.inertial_de import (
    ConstantTransfer,
    CopyTransfer,
    InertialDE,
    NoTransfer,
    UniformTransfer,
)
from evogen.algorithms.mfea import MOMFEA, IndependentNSGA2
from evogen.algorithms.mfea2 import MOMFEA2
from evogen.algorithms.pact import PACT
from evogen.algorithms.registry import get_algorithm, list_algorithms
from evogen.algorithms.side_by_side import SideBySide
from evogen.models import GaussianMixture
from evogen.multitask import MultitaskAlgorithm
from evogen.operators import Copy, Family


def _inertial(transfer: Callable[[], Any]) -> Callable[..., MultitaskAlgorithm]:
    def build(pop_size: int = 100, **settings: Any) -> MultitaskAlgorithm:
        return InertialDE(transfer(), pop_size, **settings)

    return build


def _pact(**defaults: Any) -> Callable[..., MultitaskAlgorithm]:
    def build(pop_size: int = 100, **settings: Any) -> MultitaskAlgorithm:
        return PACT(pop_size, **(defaults | settings))

    return build


def _emtgs(layout: Any) -> Callable[..., MultitaskAlgorithm]:
    def build(pop_size: int = 100, **settings: Any) -> MultitaskAlgorithm:
        return EMTGS(pop_size, **({"layout": layout} | settings))

    return build


#: Name: factory, one line on it, the classes whose settings it takes.
_ENTRIES: dict[str, tuple[Callable[..., MultitaskAlgorithm], str, tuple[type, ...]]] = {
    "nsga2": (IndependentNSGA2, "NSGA-II on every task by itself", (IndependentNSGA2,)),
    "pact": (PACT, "PACT: operators and transfers by credit", (PACT,)),
    "pact-alone": (_pact(transfers=()), "null of pact: no transfer", (PACT,)),
    "pact-model": (
        _pact(model=GaussianMixture()),
        "PACT with a conditional mixture of Gaussians as one more transfer",
        (PACT,),
    ),
    "pact-model-copy": (
        _pact(model=Copy()),
        "null of pact-model: solutions of the task itself",
        (PACT,),
    ),
    "pact-family": (
        _pact(model=GaussianMixture(n_components=8), examples=Family(), refit_every=1),
        "PACT with one Gaussian mixture of all tasks of a family, told which is meant",
        (PACT,),
    ),
    "pact-family-untold": (
        _pact(model=GaussianMixture(n_components=8), examples=Family(told=False), refit_every=1),
        "null of pact-family: the mixture is not told which task is meant",
        (PACT,),
    ),
    "momfea": (MOMFEA, "MO-MFEA (Gupta et al. 2017)", (MOMFEA,)),
    "momfea2": (MOMFEA2, "MO-MFEA-II (Bali et al. 2021)", (MOMFEA2,)),
    "emtet": (EMTET, "EMT-ET (Lin et al. 2021)", (EMTET,)),
    "emtpd": (EMTPD, "EMT-PD (Liang et al. 2022)", (EMTPD, MOMFEA)),
    "emtgs": (_emtgs("individuals"), "EMT-GS, GANs between tasks (Liang et al. 2023)", (EMTGS,)),
    "emtgs-variables": (_emtgs("variables"), "EMT-GS in the layout of MToP", (EMTGS,)),
    "ide": (_inertial(NoTransfer), "null of emtgs: its loop without transfer", (InertialDE,)),
    "ide-copy": (_inertial(CopyTransfer), "null of emtgs: plain copies", (InertialDE,)),
    "ide-half": (_inertial(ConstantTransfer), "null of emtgs: the constant 0.5", (InertialDE,)),
    "ide-random": (_inertial(UniformTransfer), "null of emtgs: random points", (InertialDE,)),
}  # fmt: skip


def _by_name(name: str, settings: dict[str, Any], problem: Any, pop_size: int) -> Algorithm:
    return get_algorithm(name, problem, pop_size=pop_size, **settings)


_NOT_SETTINGS = {"pop_size", "transfer", "settings"}


def list_multitask_algorithms() -> dict[str, str]:
    """Names and one line on each.

    Names of algorithms for one task (`list_algorithms`) are as good: each task by itself.
    """
    return {name: about for name, (_, about, _) in _ENTRIES.items()}


def get_multitask_algorithm(
    name: str, problem: Any = None, *, pop_size: int = 100, **settings: Any
) -> MultitaskAlgorithm:
    """Build an algorithm for several tasks.

    Args:
        name: One of `list_multitask_algorithms()`, or of `list_algorithms()` for one that solves
            every task by itself; upper or lower case.
        problem: Not needed; taken so that both kinds of algorithms are built alike.
        pop_size: Of every task.
        **settings: Arguments of the method's own constructor.

    Raises:
        ValueError: Unknown name; near ones are listed.
        TypeError: A setting that the method does not have.
    """
    entry = _ENTRIES.get(str(name).lower())
    if entry is None and str(name).lower() in list_algorithms():
        return SideBySide(functools.partial(_by_name, str(name), settings), pop_size)
    if entry is None:
        near = difflib.get_close_matches(str(name).lower(), _ENTRIES, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? There are" if near else "there are"
        raise ValueError(
            f"unknown algorithm for several tasks {name!r}; {hint} {', '.join(_ENTRIES)}"
        )
    build, _, owners = entry
    known = {key for owner in owners for key in parameters_of(owner)} - _NOT_SETTINGS
    for key in settings:
        if key not in known:
            raise unknown_name(name, key, known)
    return build(pop_size, **settings)
