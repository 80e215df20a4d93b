"""Shared by the tests of the operators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from pymoo.core.problem import Problem
from pymoo.problems import get_problem


class Standin:
    """Samples what `rows(n, rng)` says; counts its calls and keeps what it was given."""

    def __init__(self, rows: Any = None, fit: Any = None) -> None:
        self.rows = rows
        self.fit_hook = fit
        self.seen: list[dict[str, Any]] = []
        self.asked: list[tuple[int, Any]] = []

    def fit(self, x: Any, condition: Any = None, negative: Any = None) -> Standin:
        self.seen.append({"x": x, "condition": condition, "negative": negative})
        if self.fit_hook is not None:
            self.fit_hook(len(self.seen))
        return self

    def sample(self, n: int, condition: Any = None, *, random_state: int) -> Any:
        self.asked.append((n, condition))
        width = self.seen[-1]["x"].shape[1]
        rng = np.random.default_rng(random_state)
        return rng.random((n, width)) if self.rows is None else self.rows(n, width, rng)


@pytest.fixture(name="Standin")
def standin_class() -> type[Standin]:
    """A model that does what a test tells it to."""
    return Standin


@pytest.fixture
def problem() -> Problem:
    return get_problem("zdt1", n_var=6)


@pytest.fixture(autouse=True)
def _global_random_states_are_left_alone() -> Iterator[None]:
    """Every test of an operator is also a test that it draws from what it is given."""

    def state() -> tuple[Any, ...]:
        name, keys, *rest = np.random.get_state()  # noqa: NPY002
        return name, keys.tobytes(), tuple(rest), torch.get_rng_state().numpy().tobytes()

    before = state()
    yield
    assert state() == before
