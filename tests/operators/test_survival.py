"""The fast SPEA2 survival keeps whom pymoo's keeps."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from pymoo.algorithms.moo.spea2 import SPEA2, SPEA2Survival
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.optimize import minimize
from pymoo.problems import get_problem
from pymoo.problems.many.cdtlz import C1DTLZ1

from evogen.operators import FastSPEA2Survival, truncate


def objectives(kind: str, n: int, n_obj: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    f = rng.random((n, n_obj)) + 1e-3
    sphere = f / np.linalg.norm(f, axis=1, keepdims=True)
    if kind == "front":
        return sphere
    if kind == "layers":
        return sphere * (1 + 0.2 * rng.random((n, 1)))
    if kind == "duplicates":
        sphere[rng.integers(n, size=n // 2)] = sphere[rng.integers(n, size=n // 2)]
        return sphere
    if kind == "ties":
        # Halves of small integers: distances that tie exactly, and many equal rows.
        return rng.integers(0, 5, size=(n, n_obj)) / 2.0
    if kind == "simplex":
        # A regular grid on one front: every nearest distance ties.
        f = rng.integers(0, 5, size=(n, n_obj)).astype(float)
        f[:, -1] = 16 - f[:, :-1].sum(axis=1)
        return f
    if kind == "one best":
        return np.vstack([np.zeros((1, n_obj)), sphere[1:] + 1])
    raise AssertionError(kind)


def survive(survival: Any, f: np.ndarray, cv: np.ndarray | None, n_survive: int) -> Any:
    n, n_obj = f.shape
    problem = Problem(n_var=1, n_obj=n_obj, n_ieq_constr=0 if cv is None else 1, xl=0.0, xu=1.0)
    pop = Population.new(X=np.arange(n)[:, None] / n, F=f)
    pop.set("row", list(range(n)))
    if cv is not None:
        pop.set("G", cv[:, None])
    kept = survival.do(problem, pop, n_survive=n_survive)
    return pop, [int(i) for i in kept.get("row")]


def assert_same(
    f: np.ndarray, n_survive: int, normalize: bool, cv: np.ndarray | None = None
) -> None:
    theirs, their_rows = survive(SPEA2Survival(normalize=normalize), f, cv, n_survive)
    ours, our_rows = survive(FastSPEA2Survival(normalize=normalize), f, cv, n_survive)
    assert our_rows == their_rows
    feasible = np.ones(len(f), dtype=bool) if cv is None else cv <= 0
    for name in ("SPEA_F", "SPEA_R", "SPEA_D"):
        expected = theirs[feasible].get(name).astype(float)
        np.testing.assert_allclose(ours[feasible].get(name).astype(float), expected, rtol=1e-12)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("n_obj", [2, 3, 4])
@pytest.mark.parametrize("kind", ["front", "layers", "duplicates", "ties", "simplex", "one best"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_same_survivors_order_and_fitness_as_pymoo(kind: str, n_obj: int, normalize: bool) -> None:
    for seed, (n, n_survive) in enumerate([(100, 50), (60, 59), (60, 10), (31, 30), (9, 1)]):
        assert_same(objectives(kind, n, n_obj, seed), n_survive, normalize)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_small_populations_are_as_pymoos(n: int, normalize: bool) -> None:
    for n_survive in range(1, n + 1):
        assert_same(objectives("front", n, 2, seed=n), n_survive, normalize)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("share", [0.3, 0.7, 1.0])
def test_constraints_are_treated_as_pymoo_treats_them(share: float, normalize: bool) -> None:
    rng = np.random.default_rng(5)
    cv = np.where(rng.random(60) < share, rng.random(60), -1.0)
    assert_same(objectives("layers", 60, 3, seed=5), 30, normalize, cv)


@pytest.mark.parametrize("normalize", [False, True])
def test_state_over_generations_is_as_pymoos(normalize: bool) -> None:
    theirs, ours = SPEA2Survival(normalize=normalize), FastSPEA2Survival(normalize=normalize)
    for seed in range(4):
        f = objectives("layers", 50, 3, seed) * (4 - seed)
        assert survive(ours, f, None, 25)[1] == survive(theirs, f, None, 25)[1]


@pytest.mark.parametrize("problem", [get_problem("zdt1", n_var=6), C1DTLZ1(n_var=6, n_obj=3)])
def test_a_whole_run_is_pymoos_bit_for_bit(problem: Problem) -> None:
    runs = [
        minimize(problem, SPEA2(pop_size=24, survival=survival), ("n_gen", 12), seed=2).pop
        for survival in (SPEA2Survival(normalize=True), FastSPEA2Survival(normalize=True))
    ]
    np.testing.assert_array_equal(runs[0].get("X"), runs[1].get("X"))


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_objective_without_extent_or_a_value_that_is_not_finite_loses_nobody(
    normalize: bool,
) -> None:
    flat = objectives("front", 20, 2, seed=0)
    flat[:, 1] = 1.0
    same = np.ones((20, 2))
    broken = objectives("front", 20, 2, seed=0)
    broken[3] = np.nan
    broken[5, 0] = np.inf
    for f in (flat, same, broken[np.isfinite(broken).all(axis=1)]) + (
        () if normalize else (broken,)
    ):
        _, rows = survive(FastSPEA2Survival(normalize=normalize), f, None, 8)
        assert len(set(rows)) == 8


def test_distances_that_are_not_finite_are_removed_one_by_one() -> None:
    distances = np.full((5, 5), np.inf)
    for n_survive in range(1, 6):
        assert len(truncate(distances, n_survive)) == n_survive


def test_truncation_by_hand() -> None:
    x = np.array([0.0, 1.0, 1.5, 4.0, 8.0])
    distances = np.abs(x[:, None] - x[None, :])
    np.fill_diagonal(distances, np.inf)
    given = distances.copy()
    # 1.0 and 1.5 are nearest to each other; 1.0 has the nearer second neighbour (0.0). Then 0.0
    # and 1.5 are the closest pair, of which 1.5 has the nearer second neighbour.
    np.testing.assert_array_equal(truncate(distances, 4), [0, 2, 3, 4])
    np.testing.assert_array_equal(truncate(distances, 3), [0, 3, 4])
    np.testing.assert_array_equal(truncate(distances, 5), np.arange(5))
    np.testing.assert_array_equal(distances, given)


def test_every_survival_has_its_own_state() -> None:
    first, second = (SPEA2(survival=FastSPEA2Survival(normalize=True)) for _ in "ab")
    problem = get_problem("zdt1", n_var=5)
    minimize(problem, first, ("n_gen", 2), seed=1, copy_algorithm=False)
    assert first.survival.norm is not None
    assert second.survival.norm is None
    twin = copy.deepcopy(first)
    assert twin.survival.norm is not first.survival.norm
