from __future__ import annotations

import moocore
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evogen.problems.sampling import (
    non_dominated,
    record_lows,
    simplex_lattice,
    spanning_products,
    sphere_lattice,
    spread_over,
    thin,
)


@given(n_obj=st.integers(2, 10), n_points=st.integers(1, 2000))
@settings(max_examples=60, deadline=None)
def test_a_lattice_lies_on_the_simplex_without_repeats(n_obj, n_points):
    points = simplex_lattice(n_obj, n_points)
    assert len(points) <= max(n_points, n_obj)
    assert np.all(points >= 0)
    np.testing.assert_allclose(points.sum(axis=1), 1.0)
    assert len(np.unique(np.round(points, 12), axis=0)) == len(points)
    # All corners belong to it.
    assert np.all(np.isclose(points, 1.0).sum(axis=0) == 1)


# Five objectives: 4 partitions outside (70) and 3 inside (35) come before 5 partitions (126).
@pytest.mark.parametrize(
    ("n_obj", "n_points", "size"),
    [(2, 100, 100), (3, 91, 91), (3, 104, 91), (5, 105, 105), (5, 125, 105), (5, 126, 126)],
)
def test_a_lattice_is_the_largest_that_fits(n_obj, n_points, size):
    assert len(simplex_lattice(n_obj, n_points)) == size


def test_a_sphere_lattice_has_unit_length():
    np.testing.assert_allclose(np.linalg.norm(sphere_lattice(4, 300), axis=1), 1.0)


@given(x=st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_spanning_products_span_simplex_and_sphere(x):
    x = np.array([x])
    assert spanning_products(x, 1 - x).sum() == pytest.approx(1.0)
    angle = 0.5 * np.pi * x
    f = spanning_products(np.cos(angle), np.sin(angle))
    assert np.linalg.norm(f) == pytest.approx(1.0)
    assert f[0, -1] == pytest.approx(np.sin(angle[0, 0]))


def test_values_spread_over_intervals_have_their_ends_and_even_steps():
    x = spread_over([(0, 1), (3, 3), (5, 8)], 40)
    assert set(x) >= {0.0, 1.0, 3.0, 5.0, 8.0}
    assert np.all((x <= 1) | (x == 3) | (x >= 5))
    np.testing.assert_allclose(np.diff(x[x >= 5]), 3 / 29)


def test_record_lows_are_found_to_many_digits():
    # Falls on [0, 1], rises on [1, 2], falls below its last record f(1) = -1 at 3, until 3.5.
    def zigzag(x):
        return np.interp(x, [0, 1, 2, 3.5, 4], [0, -1, 0, -1.5, 0])

    (a, b), (c, d) = record_lows(zigzag, 0.0, 4.0)
    assert (a, b) == pytest.approx((0.0, 1.0), abs=1e-6)
    assert (c, d) == pytest.approx((3.0, 3.5), abs=1e-6)


def test_a_falling_function_is_one_interval_and_a_rising_one_a_point():
    assert record_lows(lambda x: -x, 0.0, 1.0) == [(0.0, 1.0)]
    assert record_lows(lambda x: x, 0.0, 1.0) == [(0.0, pytest.approx(0.0, abs=1e-4))]


@given(seed=st.integers(0, 1000), n_obj=st.integers(2, 4), n_points=st.integers(5, 200))
@settings(max_examples=40, deadline=None)
def test_thinning_keeps_rows_of_the_front_and_its_extremes(seed, n_obj, n_points):
    f = np.random.default_rng(seed).exponential(size=(600, n_obj))
    f = np.concatenate([f / np.linalg.norm(f, axis=1, keepdims=True), f])
    f = non_dominated(f)
    assert np.all(moocore.is_nondominated(f))
    kept = thin(f, n_points)
    assert len(kept) <= n_points + 2 * n_obj
    assert {tuple(row) for row in kept} <= {tuple(row) for row in f}
    np.testing.assert_array_equal(kept.min(axis=0), f.min(axis=0))
    np.testing.assert_array_equal(kept.max(axis=0), f.max(axis=0))


def test_thinning_evens_out_clusters():
    crowded = np.concatenate([np.linspace(0, 0.01, 5000), np.linspace(0.01, 1, 500)])
    kept = thin(np.column_stack([crowded, 1 - crowded]), 100)
    assert np.sum(kept[:, 0] <= 0.02) <= 5
    assert np.diff(kept[:, 0]).max() < 0.02


def test_a_front_of_one_point_is_that_point():
    for n_obj in (2, 3):
        assert thin(np.ones((1, n_obj)), 100).tolist() == [[1.0] * n_obj]
        assert thin(np.ones((3, n_obj)), 100).tolist() == [[1.0] * n_obj]
