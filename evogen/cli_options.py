"""Arguments that several commands take, and how their texts are read."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

DEFAULT_POP_SIZE = 100


def count(text: str) -> int:
    """A whole number from 1 on."""
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return number


def positive(text: str) -> float:
    """A number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return number


def add_budget(parser: argparse.ArgumentParser, evals: int | None = 5000) -> None:
    """How large the run and its problem are.

    Args:
        parser: Of the command.
        evals: Default of `--evals`; None where the command chooses.
    """
    parser.add_argument("--evals", type=count, default=evals, help="evaluations (default: 5000)")
    parser.add_argument("--pop-size", type=count, help="population (default: 100; auto chooses)")
    parser.add_argument("--n-var", type=count, help="number of variables (default: the problem's)")
    parser.add_argument("--n-obj", type=count, help="number of objectives (default: the problem's)")


def problem_settings(args: argparse.Namespace) -> dict[str, int]:
    """Settings of the problem that were given."""
    given = {"n_var": args.n_var, "n_obj": args.n_obj}
    return {name: value for name, value in given.items() if value is not None}


def algorithm_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """Settings given as NAME=VALUE; values are JSON where they can be read as such.

    Raises:
        ValueError: A text that is no pair.
    """
    settings = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise ValueError(f"--set {pair}: give NAME=VALUE, e.g. share=0.3")
        try:
            settings[name.replace("-", "_")] = json.loads(text)
        except ValueError:
            settings[name.replace("-", "_")] = text
    return settings
