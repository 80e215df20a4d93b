"""Diffusion Evolution: its equations, its two faces in few and many variables, its horizon."""

from __future__ import annotations

import numpy as np
import pytest
from pymoo.core.problem import Problem
from pymoo.optimize import minimize
from pymoo.problems import get_problem

from evogen.algorithms.diffusion_evolution import (
    SCHEDULES,
    DiffusionEvolution,
    estimate_origins,
    rank_fitness,
)


class Function(Problem):
    """A function of rows in the box [-4, 4]^n_var."""

    def __init__(self, function, n_var):
        super().__init__(n_var=n_var, n_obj=1, xl=-4.0, xu=4.0)
        self.function = function

    def _evaluate(self, x, out, *args, **kwargs):
        out["F"] = self.function(x)


def sphere(x):
    return (x**2).sum(axis=1)


def valley(x):
    """Two peaks at (-1, -1) and (1, 1), upside down."""
    return -np.max([np.exp(-8 * ((x - p) ** 2).sum(axis=1)) for p in (-1, 1)], axis=0)


def test_origins_are_the_published_weighted_mean():
    rng = np.random.default_rng(0)
    x, fitness, alpha = rng.normal(size=(6, 3)), rng.random(6), 0.3
    for i, origin in enumerate(estimate_origins(x, fitness, alpha)):
        distance = ((x[i] - np.sqrt(alpha) * x) ** 2).sum(axis=1)
        weight = fitness * np.exp(-distance / (2 * (1 - alpha)))
        np.testing.assert_allclose(origin, weight @ x / weight.sum())


def test_latent_distances_weigh_means_in_the_full_space():
    rng = np.random.default_rng(0)
    x, fitness = rng.normal(size=(6, 3)), rng.random(6)
    flat = np.zeros((6, 1))  # nobody can be told apart: everyone gets the mean
    expected = np.tile(fitness @ x / fitness.sum(), (6, 1))
    np.testing.assert_allclose(estimate_origins(x, fitness, 0.5, flat), expected)


def test_individuals_without_fitness_are_nobodys_origin():
    x = np.array([[0.0], [5.0], [9.0]])
    origin = estimate_origins(x, np.array([1.0, 1.0, 0.0]), 0.5)
    assert (origin <= 5.0).all()


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_lose_signal_step_by_step(name):
    alpha = SCHEDULES[name](25)
    assert (np.diff(alpha) < 0).all()
    np.testing.assert_allclose(alpha[[0, -1]], [1 - 1e-3, 1e-3])


def test_rank_fitness_ignores_the_scale_of_the_objective():
    f = np.array([3.0, -1.0, 2.0])
    np.testing.assert_allclose(rank_fitness(f), np.exp([-20 / 3, 0, -10 / 3]))
    np.testing.assert_array_equal(rank_fitness(f), rank_fitness(1e6 * f + 7))


def test_one_step_is_the_ddim_formula():
    algorithm = DiffusionEvolution(8, n_steps=5, noise=0.0)
    algorithm.setup(Function(sphere, 3), termination=("n_gen", 5), seed=3)
    algorithm.next()
    x = algorithm._x.copy()
    now, after = SCHEDULES["cosine"](5)[[4, 3]]
    origin = estimate_origins(x, rank_fitness(algorithm.pop.get("F")[:, 0]), now)
    noise = (x - np.sqrt(now) * origin) / np.sqrt(1 - now)
    algorithm.next()
    np.testing.assert_allclose(algorithm._x, np.sqrt(after) * origin + np.sqrt(1 - after) * noise)


def test_both_of_two_peaks_are_kept():
    algorithm = DiffusionEvolution(
        256, fitness=lambda f: -f, schedule="linear", noise=0.0, scale=0.25
    )
    for seed in (1, 2):
        res = minimize(Function(valley, 2), algorithm, ("n_gen", 25), seed=seed)
        x = res.pop.get("X")
        near = [(np.linalg.norm(x - p, axis=1) < 0.5).mean() for p in (-1, 1)]
        assert min(near) > 0.1
        assert sum(near) > 0.9


def test_in_thirty_variables_only_the_latent_form_moves():
    best = {}
    for latent_dim in (None, 2):
        algorithm = DiffusionEvolution(512, latent_dim=latent_dim)
        res = minimize(Function(sphere, 30), algorithm, ("n_eval", 12_800), seed=1)
        assert res.algorithm.evaluator.n_eval == 12_800
        best[latent_dim] = res.F[0]
    # The best of 512 draws of a clipped N(0, 16 I) is about 143.
    assert best[None] > 110
    assert best[2] < 8


def test_the_best_ever_is_the_result_and_the_population_is_the_last_one():
    seen = []
    res = minimize(
        Function(sphere, 5),
        DiffusionEvolution(20, n_steps=6),
        ("n_gen", 6),
        seed=4,
        callback=lambda a: seen.append(a.pop.get("F").min()),
    )
    assert len(seen) == 6
    assert res.F[0] == min(seen)
    assert res.pop.get("F").min() == seen[-1]
    assert res.F[0] < seen[-1], "this seed should leave its best behind"


@pytest.mark.parametrize(("termination", "n_eval"), [(("n_eval", 95), 80), (("n_gen", 9), 180)])
def test_the_schedule_fills_the_budget_and_the_run_ends_with_it(termination, n_eval):
    res = minimize(Function(sphere, 4), DiffusionEvolution(20), termination, seed=1)
    assert res.algorithm.evaluator.n_eval == n_eval


def test_same_seed_same_run_bit_for_bit():
    runs = [
        minimize(Function(sphere, 4), DiffusionEvolution(20, latent_dim=2), ("n_gen", 5), seed=s)
        for s in (1, 1, 2)
    ]
    x = [run.pop.get("X") for run in runs]
    np.testing.assert_array_equal(x[0], x[1])
    assert not np.array_equal(x[0], x[2])


def test_values_that_are_not_finite_have_no_pull():
    def holed(x):
        return np.where(x[:, 0] > 0, np.nan, sphere(x))

    res = minimize(Function(holed, 2), DiffusionEvolution(100), ("n_gen", 20), seed=1)
    assert np.isfinite(res.F[0])
    assert (res.pop.get("X")[:, 0] <= 0).mean() > 0.9


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pop_size": 1}, "pop_size=1 must be a whole number, at least 2"),
        ({"n_steps": 1}, "n_steps=1 must"),
        ({"latent_dim": 0}, "latent_dim=0 must"),
        ({"fitness": "energy"}, "fitness='energy' must be"),
        ({"schedule": "cosin"}, "schedule='cosin' must be one of cosine, linear"),
        ({"noise": 1.5}, r"noise=1.5 must lie in \[0, 1\]"),
        ({"scale": 0.0}, "scale=0.0 must be positive"),
    ],
)
def test_bad_arguments_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        DiffusionEvolution(**settings)


def test_unknown_arguments_are_refused():
    with pytest.raises(TypeError, match="did you mean latent_dim"):
        DiffusionEvolution(latent_dims=2)


@pytest.mark.parametrize(
    ("problem", "settings", "termination", "message"),
    [
        (get_problem("zdt1"), {}, ("n_gen", 5), "takes one objective"),
        (get_problem("g1"), {}, ("n_gen", 5), "without constraints"),
        (Function(sphere, 3), {}, ("time", 1), "plans its steps"),
        (Function(sphere, 3), {}, ("n_eval", 600), "at least 2 populations of pop_size=512"),
        (Function(sphere, 3), {"n_steps": 9}, ("n_gen", 8), "which pays for 8"),
        (
            Function(sphere, 3),
            {"fitness": lambda f: -f},
            ("n_gen", 5),
            "finite non-negative numbers",
        ),
    ],
)
def test_what_cannot_be_run_is_refused(problem, settings, termination, message):
    with pytest.raises(ValueError, match=message):
        minimize(problem, DiffusionEvolution(**settings), termination, seed=1)
