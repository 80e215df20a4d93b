"""Generative models that propose to ACE's critic."""

import numpy as np
import pytest
from pymoo.indicators.igd import IGD
from pymoo.optimize import minimize
from pymoo.problems import get_problem

from evogen.algorithms import ACE, ModelProposer, get_algorithm, simplex_directions
from evogen.algorithms.ace_search import differential, neighborhoods
from evogen.models import GaussianMixture
from evogen.operators import GenerativeFallback, Uniform

DIRECTIONS = simplex_directions(2, 21)
NEIGHBORS = neighborhoods(DIRECTIONS, 5)


class Line:
    """x = its condition's first weight, everywhere; remembers what it was taught."""

    def __init__(self, answer=None):
        self.answer = answer
        self.taught = []

    def fit(self, x, condition=None):
        self.taught.append((np.asarray(x), np.asarray(condition)))
        return self

    def sample(self, n, condition=None):
        if self.answer is not None:
            return self.answer(n)
        return np.repeat(np.asarray(condition)[:, :1], 4, axis=1)


def begun(model, u, **settings):
    proposer = ModelProposer(model, **settings)
    proposer.begin(u, DIRECTIONS, np.random.default_rng(0))
    return proposer


def test_each_direction_is_asked_for_its_own_point():
    u = np.full((21, 4), 0.5)
    child = begun(Line(), u, share=1.0)(u, NEIGHBORS, np.random.default_rng(1))
    # One variable a row is mutated on average.
    off = np.abs(child - DIRECTIONS[:, :1])
    assert (off < 1e-6).mean() > 0.6
    assert np.median(off) < 1e-6


def test_without_a_share_it_is_differential_variation():
    u = np.random.default_rng(2).random((21, 4))
    expected = differential(u, NEIGHBORS, np.random.default_rng(3))
    child = begun(Line(), u, share=0.0)(u, NEIGHBORS, np.random.default_rng(3))
    assert np.array_equal(child, expected)


def test_it_learns_from_the_latest_rounds_of_the_search():
    model = Line()
    rounds = [np.full((21, 4), value) for value in (0.1, 0.2, 0.3, 0.4)]
    proposer = begun(model, rounds[0], memory=3)
    for u in rounds[1:]:
        proposer(u, NEIGHBORS, np.random.default_rng(4))
    proposer.begin(np.full((21, 4), 0.5), DIRECTIONS, np.random.default_rng(5))
    x, condition = proposer.slot.model.taught[-1]
    assert np.allclose(np.unique(x), [0.3, 0.4, 0.5])
    assert np.allclose(condition, np.tile(DIRECTIONS, (3, 1)))
    assert len(model.taught) == 2


def test_it_is_fitted_at_every_so_manieth_turn():
    proposer = ModelProposer(Line(), every=3)
    for _ in range(7):
        proposer.begin(np.zeros((21, 4)), DIRECTIONS, np.random.default_rng(6))
    assert len(proposer.slot.model.taught) == 3


def test_candidates_lie_in_the_box_whatever_the_model_says():
    u = np.random.default_rng(7).random((21, 4))
    proposer = begun(Line(lambda n: np.linspace(-9, 9, 4 * n).reshape(n, 4)), u, share=1.0)
    child = proposer(u, NEIGHBORS, np.random.default_rng(8))
    assert ((child >= 0) & (child <= 1)).all()


@pytest.mark.parametrize(
    "answer", [lambda n: np.full((n, 4), np.nan), lambda n: np.empty((0, 4)), lambda n: 1 / 0]
)
def test_a_model_that_fails_leaves_the_candidates_to_differential_variation(answer):
    u = np.random.default_rng(9).random((21, 4))
    proposer = begun(Line(answer), u, share=1.0)
    with pytest.warns(GenerativeFallback):
        child = proposer(u, NEIGHBORS, np.random.default_rng(10))
    assert np.isfinite(child).all()
    assert proposer.slot.failures
    assert np.array_equal(child, differential(u, NEIGHBORS, np.random.default_rng(10)))


def test_bad_settings_and_models_are_refused():
    for settings, name in (
        ({"share": 1.5}, "share"),
        ({"memory": 0}, "memory"),
        ({"every": 0}, "every"),
    ):
        with pytest.raises(ValueError, match=name):
            ModelProposer(Uniform(), **settings)
    with pytest.raises(TypeError, match="no method"):
        ModelProposer(object())
    u = np.zeros((21, 3))
    with pytest.raises(TypeError, match="expected"):
        begun(Line(), u, share=1.0)(u, NEIGHBORS, np.random.default_rng(11))


def test_a_run_with_a_model_is_reproducible_and_leaves_the_model_given_alone():
    problem = get_problem("zdt1", n_var=6)
    proposer = ModelProposer(GaussianMixture(n_components=1))
    runs = [minimize(problem, ACE(20, propose=proposer), ("n_eval", 150), seed=1) for _ in "ab"]
    assert np.array_equal(runs[0].X, runs[1].X)
    assert proposer.slot.n_fits == 0
    used = runs[0].algorithm.propose.slot
    assert used.n_fits > 3
    assert used.fit_seconds > 0
    assert not used.failures
    assert IGD(problem.pareto_front())(runs[0].F) < 0.2


@pytest.mark.parametrize("name", ["ace-copy", "ace-ddpm", "ace-denoise"])
def test_the_named_ones_run(name):
    problem = get_problem("dtlz2", n_var=6)
    res = minimize(problem, get_algorithm(name, problem, pop_size=20), ("n_eval", 40), seed=1)
    assert res.algorithm.propose.slot.n_fits >= 1
    assert not res.algorithm.propose.slot.failures
