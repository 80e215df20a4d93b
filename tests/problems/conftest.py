"""Shared by the tests of the problems: no network, and reference values where they are at hand."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import moocore
import numpy as np
import pytest
from pymoo.util.remote import Remote

GOLDEN = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "platemo_golden.npz"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any attempt to download makes the test fail."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError(f"tried to download {args}")

    monkeypatch.setattr(Remote, "load", refuse)
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(urllib.request, "urlretrieve", refuse)


@pytest.fixture(scope="session")
def golden() -> Any:
    """Objective values computed with PlatEMO's definitions, independent of this code."""
    if not GOLDEN.exists():
        pytest.skip("reference values (platemo_golden.npz) are not at hand")
    return np.load(GOLDEN)


@pytest.fixture
def excess() -> Callable[[np.ndarray, np.ndarray], float]:
    """How far some of `points` lies below all of a front (> 0: it is not the true one).

    The least amount, in units of the front's extent, by which one point must be worsened in every
    objective so that it no longer beats a point of the front.
    """

    def measure(front: np.ndarray, points: np.ndarray) -> float:
        span = np.ptp(front, axis=0)
        return max(float(np.max(np.min((front - p) / span, axis=1))) for p in _best(points))

    return measure


@pytest.fixture
def uncovered() -> Callable[[np.ndarray, np.ndarray, float], int]:
    """Number of `points` that no point of the front dominates up to a share of its extent."""

    def count(front: np.ndarray, points: np.ndarray, tolerance: float) -> int:
        slack = tolerance * np.ptp(front, axis=0)
        return sum(not np.any(np.all(front <= p + slack, axis=1)) for p in _best(points))

    return count


def _best(points: np.ndarray) -> np.ndarray:
    """The non-dominated points, at most some 300 of them."""
    best = points[moocore.is_nondominated(points)]
    return best[:: 1 + len(best) // 300]
