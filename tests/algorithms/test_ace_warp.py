"""The warp of ACE's critic: a monotone map of the box, learned from slopes."""

import numpy as np
import pytest

from evogen.algorithms.ace_warp import MIN_POWER, NEAR, Warp


@pytest.fixture
def warp():
    return Warp(np.array([1.0, 0.3, 0.6, 0.2]), np.array([False, False, True, True]))


def test_it_maps_the_box_to_itself_and_back(warp):
    u = np.vstack([np.zeros(4), np.ones(4), np.random.default_rng(1).random((50, 4))])
    z = warp(u)
    assert np.array_equal(z[:2], u[:2])
    assert np.array_equal(z[:, 0], u[:, 0])
    assert (z[2:, 1] > u[2:, 1]).all()
    assert (z[2:, 2:] < u[2:, 2:]).all()
    assert warp.inverse(z) == pytest.approx(u, abs=1e-12)
    ends = warp.inverse(np.vstack([z, np.zeros(4), np.ones(4)]))
    assert ends.min() >= 0.0
    assert ends.max() <= 1.0


def test_it_is_the_power_of_its_definition(warp):
    assert warp(np.full((1, 4), 0.1))[0, 1] == pytest.approx(
        ((0.1 + NEAR) ** 0.3 - NEAR**0.3) / ((1 + NEAR) ** 0.3 - NEAR**0.3)
    )
    assert warp(np.full((1, 4), 0.9))[0, 3] == pytest.approx(
        1 - ((0.1 + NEAR) ** 0.2 - NEAR**0.2) / ((1 + NEAR) ** 0.2 - NEAR**0.2)
    )


def test_slopes_are_those_of_finite_differences(warp):
    u, h = np.random.default_rng(2).uniform(0.01, 0.99, (20, 4)), 1e-6
    assert warp.slope(u) == pytest.approx((warp(u + h) - warp(u - h)) / (2 * h), rel=1e-4)


def test_no_warp_changes_nothing():
    u = np.random.default_rng(3).random((5, 3))
    none = Warp.none(3)
    assert np.array_equal(none(u), u)
    assert np.array_equal(none.inverse(u), u)
    assert np.array_equal(none.slope(u), np.ones((5, 3)))


@pytest.mark.parametrize("size", [1.0, 1e-30, 1e30])
def test_it_learns_the_power_and_the_bound_of_a_warped_linear_function(size):
    # Slopes of a function that is linear after the warp are the warp's own.
    rng = np.random.default_rng(4)
    truth = Warp(np.array([0.3, 0.5, 1.0, 0.4]), np.array([False, True, False, True]))
    u = rng.random((2000, 4)) ** np.array([3, 1, 1, 1])
    u[:, 3] = 1.0 - u[:, 3] ** 3
    slopes = size * truth.slope(u)[:, None] * rng.normal(size=(1, 2, 4))
    learned = Warp.learn(u, slopes)
    assert learned.power == pytest.approx(truth.power, abs=0.05)
    assert np.array_equal(learned.upper[[0, 1, 3]], truth.upper[[0, 1, 3]])


def test_few_points_bend_less():
    rng = np.random.default_rng(4)
    u = rng.random((2000, 1)) ** 3
    slopes = Warp(np.array([0.4]), np.array([False])).slope(u)[:, None]
    powers = [float(Warp.learn(u[:n], slopes[:n]).power[0]) for n in (10, 100, 2000)]
    assert powers == sorted(powers, reverse=True)
    assert powers[0] > 0.6


def test_it_is_bent_no_further_than_a_fifth_and_never_the_other_way():
    u = np.linspace(0.0, 1.0, 500)[:, None]
    steep, flat = (u + NEAR) ** -3.0, u + NEAR
    assert Warp.learn(u, steep[:, None]).power == pytest.approx([MIN_POWER])
    # Slopes that shrink towards one bound grow towards the other, far less steeply.
    assert Warp.learn(u, flat[:, None]).power[0] > 0.5


def test_slopes_that_are_zero_or_overflow_bend_nothing():
    u = np.random.default_rng(5).random((50, 2))
    for slopes in (np.zeros((50, 2, 2)), np.full((50, 2, 2), 1e200), np.full((50, 2, 2), np.nan)):
        assert np.array_equal(Warp.learn(u, slopes).power, np.ones(2))
