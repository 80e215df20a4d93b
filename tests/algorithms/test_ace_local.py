"""ACE's local inverse model."""

import numpy as np
import pytest
from pymoo.problems import get_problem

import evogen
from evogen.algorithms import ACE, LocalInverse, simplex_directions
from evogen.algorithms.ace_local import bisquare, planes
from evogen.algorithms.ace_search import (
    differential,
    differential_steps,
    into_box,
    mutate,
    neighborhoods,
)
from evogen.operators.critic import squared_distances

DIRECTIONS = simplex_directions(2, 41)
NEIGHBORS = neighborhoods(DIRECTIONS, 5)


def candidates(u, *, seed=1, directions=DIRECTIONS, **settings):
    model = LocalInverse(**settings)
    rng = np.random.default_rng(seed)
    model.begin(u, directions, rng)
    return model(u, neighborhoods(directions, 5), rng)


def line(n_var=20, noise=0.0):
    """Points of a line in the box, in the order of the directions."""
    ends = np.random.default_rng(3).uniform(0.2, 0.8, size=(2, n_var))
    rng = np.random.default_rng(4)
    return DIRECTIONS @ ends + noise * rng.normal(size=(len(DIRECTIONS), n_var))


@pytest.mark.parametrize("n_obj", [2, 3, 5])
def test_planes_keep_what_is_linear(n_obj):
    directions = simplex_directions(n_obj, 60)
    weights = bisquare(squared_distances(directions, directions), 20)
    smoother = planes(directions, weights)
    assert np.allclose(smoother.sum(axis=1), 1.0)
    slopes = np.random.default_rng(0).normal(size=(n_obj, 4))
    values = directions @ slopes
    assert np.abs(smoother @ values - values).max() < 0.02 * np.ptp(values)


def test_a_neighborhood_ends_at_its_last_point():
    distances = squared_distances(DIRECTIONS, DIRECTIONS)
    weights = bisquare(distances, 9)
    assert np.allclose(weights.sum(axis=1), 1.0)
    assert (weights.argmax(axis=1) == np.arange(len(DIRECTIONS))).all()
    inner = weights[20]  # five to each side of itself, the last ones all but without weight
    assert (inner[:16] == 0).all()
    assert (inner[25:] == 0).all()
    assert (inner[17:24] > 0.01).all()


def test_without_a_share_it_is_differential_variation():
    u = np.random.default_rng(2).random((41, 4))
    rng = np.random.default_rng(1)
    steps = differential_steps(u, NEIGHBORS, rng)
    rng.random(41), rng.integers(2, size=41)  # whose candidate it is, and of which width
    expected = mutate(into_box(steps, u, rng), rng)
    assert np.array_equal(candidates(u, share=0.0), expected)


def test_candidates_average_the_neighborhood():
    """On a noisy line they lie nearer to it than the points they come from."""
    u, true = line(noise=0.05), line()
    child = candidates(u, share=1.0, spread=(0.0, 0.0))

    def distance(points):  # the median forgives the variable that mutation changed
        return np.median(np.abs(points - true))

    assert distance(child) < 0.55 * distance(u)
    means = candidates(u, share=1.0, spread=(0.0, 0.0), degree=0)
    assert distance(means) < 0.55 * distance(u)


def test_means_pull_the_ends_of_a_line_inwards_and_planes_do_not():
    u = line()

    def shrunk(degree):
        child = candidates(u, share=1.0, spread=(0.0, 0.0), degree=degree)
        return np.median(np.abs(child - u)[[0, -1]])

    assert shrunk(1) < 0.1 * shrunk(0)


def test_the_spread_is_that_of_the_points_around_their_planes():
    u = 0.5 + 0.02 * np.random.default_rng(5).normal(size=(41, 400))
    child = candidates(u, share=1.0, spread=(1.0, 1.0), widths=(1.0,))
    center = candidates(u, share=1.0, spread=(0.0, 0.0), widths=(1.0,))
    off = np.median(np.abs(child - center)) / 0.6745  # of a normal variable: its deviation
    assert off == pytest.approx(0.02, rel=0.15)


def test_candidates_lie_in_the_box():
    u = np.random.default_rng(6).integers(2, size=(41, 5)).astype(float)
    child = candidates(u, share=1.0, spread=(0.0, 5.0))
    assert ((child >= 0) & (child <= 1)).all()


def test_other_directions_are_learned():
    model, rng = LocalInverse(share=1.0), np.random.default_rng(7)
    for n_obj, n in ((2, 12), (3, 28)):
        directions = simplex_directions(n_obj, n)
        u = rng.random((len(directions), 4))
        model.begin(u, directions, rng)
        assert model(u, neighborhoods(directions, 5), rng).shape == u.shape


def test_it_is_the_default_of_ace():
    problem = get_problem("zdt1", n_var=6)

    def front(**settings):
        return evogen.minimize(problem, ACE(20, **settings), ("n_eval", 200), seed=1).F

    assert np.array_equal(front(), front(propose=LocalInverse()))
    assert not np.array_equal(front(), front(propose=differential))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"share": 1.5}, "share=1.5 must lie in"),
        ({"widths": ()}, r"widths=\(\) must be"),
        ({"widths": (0.0,)}, "widths="),
        ({"spread": (1.0, 0.5)}, "spread="),
        ({"degree": 2}, "degree=2 must be"),
    ],
)
def test_bad_settings_are_refused(settings, told):
    with pytest.raises(ValueError, match=told):
        LocalInverse(**settings)
