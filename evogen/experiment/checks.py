"""What can be refused before any work is done."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable
from typing import Any

import numpy as np
from pymoo.core.algorithm import Algorithm
from pymoo.core.problem import Problem
from pymoo.core.termination import Termination
from pymoo.operators.crossover.sbx import SBX
from pymoo.operators.sampling.lhs import LatinHypercubeSampling
from pymoo.operators.sampling.rnd import FloatRandomSampling, IntegerRandomSampling
from pymoo.termination import get_termination

TERMINATION_NAMES = (
    "n_eval", "n_gen", "seconds", "time", "igd", "igd_plus", "hv", "f", "target", "limits", "fmin",
    "soo", "moo",
)  # fmt: skip


def check_problem(problem: Any) -> None:
    """Refuse what is no problem, or one whose bounds make no box.

    Raises:
        TypeError: `problem` is no pymoo problem.
        ValueError: Bounds of the wrong shape, with NaN, or reversed.
    """
    if not isinstance(problem, Problem) and hasattr(problem, "tasks"):
        raise TypeError(
            f"problem={type(problem).__name__}({getattr(problem, 'label', '...')!r}) is several "
            "tasks; minimize_multitask(problem, PACT(), ...) solves them together"
        )
    if not isinstance(problem, Problem):
        raise TypeError(
            f"problem={problem!r} is no problem; give a pymoo Problem or a name (`evogen list "
            "problems`)"
        )
    if isinstance(getattr(problem, "vars", None), dict) or not problem.has_bounds():
        return
    for name in ("xl", "xu"):
        bound = np.asarray(getattr(problem, name))
        if bound.shape != (problem.n_var,):
            raise ValueError(
                f"problem.{name} has the shape {bound.shape}, expected ({problem.n_var},): one "
                "bound for each variable"
            )
        if np.isnan(bound.astype(float)).any():
            first = int(np.flatnonzero(np.isnan(bound.astype(float)))[0])
            raise ValueError(f"problem.{name}[{first}] is nan; bounds must be numbers")
    reversed_at = np.flatnonzero(np.asarray(problem.xl) > np.asarray(problem.xu))
    if len(reversed_at):
        i = int(reversed_at[0])
        raise ValueError(
            f"bounds are reversed: xl[{i}]={problem.xl[i]} is above xu[{i}]={problem.xu[i]}"
        )


def check_sampling(algorithm: Any, problem: Any) -> None:
    """Refuse random initial points in a problem without a finite box, or with named variables.

    Raises:
        TypeError: The algorithm makes arrays, but the problem's variables are a dictionary.
        ValueError: The algorithm draws its first points between bounds that are not there.
    """
    sampling = getattr(getattr(algorithm, "initialization", None), "sampling", None)
    boxed = (FloatRandomSampling, IntegerRandomSampling, LatinHypercubeSampling)
    if isinstance(getattr(problem, "vars", None), dict):
        crossover = getattr(getattr(algorithm, "mating", None), "crossover", None)
        if isinstance(sampling, boxed) or isinstance(crossover, SBX):
            raise TypeError(
                f"{type(algorithm).__name__} makes arrays of numbers, but the variables of "
                f"{problem.name()} are a dictionary (mixed); use MixedVariableGA, or give a "
                "sampling and a mating for mixed variables (pymoo.core.mixed)"
            )
        return
    if not isinstance(sampling, boxed):
        return
    what = f"{type(algorithm).__name__} draws its first points at random between the bounds"
    if not problem.has_bounds():
        raise ValueError(f"{what}, but problem has none; give xl and xu, or sampling= with points")
    bounds = np.asarray([problem.xl, problem.xu], dtype=float)
    infinite = np.flatnonzero(~np.isfinite(bounds).all(axis=0))
    if len(infinite):
        i = int(infinite[0])
        raise ValueError(
            f"{what}, but variable {i} has the bounds [{problem.xl[i]}, {problem.xu[i]}]; give "
            "finite ones, or sampling= with points"
        )


def check_is_algorithm(algorithm: Any) -> None:
    """Refuse what is no pymoo algorithm.

    Raises:
        TypeError: Says what was given.
    """
    if isinstance(algorithm, type) and issubclass(algorithm, Algorithm):
        name = algorithm.__name__
        raise TypeError(f"algorithm is the class {name}; give an instance: {name}(...)")
    if not isinstance(algorithm, Algorithm):
        raise TypeError(
            f"algorithm={algorithm!r} is no algorithm; give a pymoo Algorithm or a name (`evogen "
            "list algorithms`)"
        )


def check_setup_keywords(algorithm: Any, keywords: Iterable[str], others: Iterable[str]) -> None:
    """Refuse keywords that `Algorithm.setup` would store and nobody would look at.

    Args:
        algorithm: Its attributes may be set, and so may what its setup methods take.
        keywords: Those given.
        others: Further keywords of the caller, to be named where they are near.

    Raises:
        TypeError: An unknown keyword; near ones are named.
    """
    taken = {
        name
        for method in (algorithm.setup, algorithm._setup)
        for name, parameter in inspect.signature(method).parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
    known = {name for name in taken | set(vars(algorithm)) if not name.startswith("_")}
    known.discard("problem")
    for name in keywords:
        if name in known:
            continue
        near = difflib.get_close_matches(name, sorted(known.union(others)), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "see pymoo's `Algorithm.setup`"
        raise TypeError(
            f"{name!r} is neither an argument of minimize nor an attribute of "
            f"{type(algorithm).__name__}; {hint}"
        )


def check_termination(termination: Any) -> None:
    """Refuse what pymoo cannot turn into a termination, before it fails inside a run.

    Raises:
        TypeError: Neither None, a Termination, a name nor a tuple `(name, value)`.
        ValueError: An unknown name or a value out of range.
    """
    if termination is None or isinstance(termination, Termination):
        return
    if isinstance(termination, int | float):
        raise TypeError(f"termination={termination!r} is a bare number; give ('n_eval', number)")
    parts = (termination,) if isinstance(termination, str) else termination
    if not isinstance(parts, tuple | list) or not parts or not isinstance(parts[0], str):
        raise TypeError(f"termination={termination!r}: give a tuple such as ('n_eval', 5000)")
    name = parts[0]
    if name not in {*TERMINATION_NAMES, "n_evals", "n_iter"}:
        near = difflib.get_close_matches(name, TERMINATION_NAMES, n=1, cutoff=0.4)
        hint = (
            f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(TERMINATION_NAMES)}"
        )
        raise ValueError(f"termination={termination!r}: {name!r} is unknown; {hint}")
    if name in ("n_eval", "n_evals", "n_gen", "n_iter"):
        value = parts[1] if len(parts) == 2 else None
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f"termination={termination!r}: give ({name!r}, a whole number >= 1)")
        return
    try:
        get_termination(*parts)
    except Exception as error:
        raise ValueError(f"termination={termination!r} is not understood: {error}") from error
