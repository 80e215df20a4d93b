"""The critic: an interpolant with a linear tail, its slope and its honest errors."""

import numpy as np
import pytest
from scipy.interpolate import RBFInterpolator

from evogen.operators import RBFCritic
from evogen.operators.critic import CholeskySystem, LUSystem, squared_distances


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    u = rng.random((60, 4))
    f = np.stack([(u**2).sum(1), 100 * np.sin(3 * u[:, 0]) + u[:, 1] * u[:, 2]], axis=1)
    return u, f, rng.random((20, 4))


def test_without_ridge_it_passes_through_its_data(data):
    u, f, _ = data
    assert np.allclose(RBFCritic(ridge=0.0).fit(u, f).predict(u), f, atol=1e-9)


def test_it_is_the_cubic_interpolant_of_scipy(data):
    u, f, q = data
    reference = RBFInterpolator(u, f, kernel="cubic", degree=1)(q)
    assert np.allclose(RBFCritic(ridge=0.0).fit(u, f).predict(q), reference, atol=1e-8)


def test_a_linear_function_is_continued_exactly_outside_of_the_data():
    rng = np.random.default_rng(1)
    u = rng.random((30, 3))
    slope = np.array([[1.0, -2.0], [0.5, 0.0], [3.0, 7.0]])
    critic = RBFCritic().fit(u, u @ slope + 4.0)
    far = rng.uniform(-5, 5, (10, 3))
    assert np.allclose(critic.predict(far), far @ slope + 4.0, atol=1e-6)


def test_the_gradient_is_the_slope_of_the_prediction(data):
    u, f, q = data
    critic = RBFCritic().fit(u, f)
    h = 1e-5
    steps = h * np.eye(4)
    slopes = [(critic.predict(q + e) - critic.predict(q - e)) / (2 * h) for e in steps]
    assert np.allclose(critic.gradient(q), np.stack(slopes, axis=2), atol=1e-5)


def test_leave_one_out_errors_are_those_of_refits(data):
    u, f, _ = data
    errors = RBFCritic(ridge=0.0).fit(u, f).loo_error
    for i in (0, 17, 59):
        rest = np.arange(60) != i
        missed = f[i] - RBFCritic(ridge=0.0).fit(u[rest], f[rest]).predict(u[i : i + 1])[0]
        assert np.allclose(errors[i], missed, atol=1e-7)


def test_a_refit_forgets_the_old_errors(data):
    u, f, _ = data
    critic = RBFCritic().fit(u, f)
    before = critic.loo_error
    assert not np.allclose(critic.fit(u, 2.0 * f).loo_error, before)


def test_both_factorizations_solve_the_same_system(data):
    u, f, _ = data
    kernel = squared_distances(u, u) ** 1.5
    tail = np.hstack([np.ones((60, 1)), u])
    one, two = CholeskySystem(kernel, tail), LUSystem(kernel, tail)
    for a, b in zip(one.solve(f), two.solve(f), strict=True):
        assert np.allclose(a, b, rtol=1e-7, atol=1e-7 * np.abs(b).max())
    assert np.allclose(one.inverse_diagonal(), two.inverse_diagonal(), rtol=1e-7)
    weights, slope = one.solve(f)
    assert np.allclose(kernel @ weights + tail @ slope, f)
    assert np.abs(tail.T @ weights).max() < 1e-9 * np.abs(weights).max()


def test_points_added_later_count_as_if_they_had_been_there(data):
    u, f, q = data
    once = RBFCritic(ridge=0.0).fit(u, f)
    grown = RBFCritic(ridge=0.0).fit(u[:30], f[:30])
    grown.extend(u[30:31], f[30:31]).extend(u[31:], f[31:])
    assert isinstance(grown._system, CholeskySystem)
    assert len(grown) == 60
    assert np.allclose(grown.predict(q), once.predict(q), atol=1e-8)
    assert np.allclose(grown.gradient(q), once.gradient(q), atol=1e-6)
    assert np.allclose(grown.loo_error, once.loo_error, atol=1e-8)


def test_nothing_added_changes_nothing(data):
    u, f, q = data
    critic = RBFCritic().fit(u, f)
    before = critic.predict(q)
    assert np.array_equal(critic.extend(u[:0], f[:0]).predict(q), before)


def test_copies_can_be_added(data):
    u, f, q = data
    critic = RBFCritic().fit(u, f).extend(np.vstack([u[:5], u[:5]]), np.vstack([f[:5], f[:5]]))
    assert np.allclose(critic.predict(q), RBFCritic().fit(u, f).predict(q), atol=1e-3)


def test_a_critic_of_flat_data_can_be_extended(data):
    u, f, q = data
    u = u.copy()
    u[:40, 3] = 0.25
    critic = RBFCritic().fit(u[:40], f[:40])
    assert isinstance(critic._system, LUSystem)
    critic.extend(u[40:], f[40:])
    assert np.allclose(critic.predict(q), RBFCritic().fit(u, f).predict(q))


def test_a_metric_is_a_change_of_variables(data):
    u, f, q = data
    metric = np.array([3.0, 1.0, 0.2, 1.0])
    one = RBFCritic().fit(u[:40], f[:40], metric).extend(u[40:], f[40:])
    two = RBFCritic().fit(u[:40] * metric, f[:40]).extend(u[40:] * metric, f[40:])
    assert np.allclose(one.predict(q), two.predict(q * metric))
    assert np.allclose(one.gradient(q), two.gradient(q * metric) * metric)
    assert np.allclose(one.loo_error, two.loo_error)


@pytest.mark.parametrize("metric", [np.ones(3), np.array([1.0, 1.0, 0.0, 1.0])])
def test_a_bad_metric_is_refused(data, metric):
    with pytest.raises(ValueError, match="4 positive numbers"):
        RBFCritic().fit(data[0], data[1], metric)


def test_bad_additions_are_refused(data):
    u, f, _ = data
    critic = RBFCritic().fit(u, f)
    with pytest.raises(ValueError, match="must be finite"):
        critic.extend(u[:2], np.full((2, 2), np.nan))
    with pytest.raises(ValueError, match="same widths"):
        critic.extend(u[:2, :3], f[:2])
    with pytest.raises(ValueError, match="same widths"):
        critic.extend(u[:2], f[:2, :1])
    assert len(critic) == 60
    assert len(RBFCritic()) == 0


def test_copies_and_constant_columns_do_not_break_the_fit(data):
    u, f, q = data
    doubled = np.vstack([u, u[:5]])
    values = np.column_stack([np.vstack([f, f[:5]]), np.ones(65)])
    predicted = RBFCritic().fit(doubled, values).predict(q)
    assert np.isfinite(predicted).all()
    assert np.allclose(predicted[:, 2], 1.0)


def test_a_variable_that_never_varies_does_not_break_the_fit(data):
    u, f, _ = data
    u = u.copy()
    u[:, 3] = 0.25
    assert np.allclose(RBFCritic().fit(u, f).predict(u), f, atol=1e-3 * np.ptp(f, axis=0))


@pytest.mark.parametrize(
    ("u", "f", "message"),
    [
        (np.ones((5, 4)), np.ones((5, 1)), "5 points are too few for 4 variables"),
        (np.ones((9, 4)), np.ones(9), r"f \(9,\)"),
        (np.full((9, 4), np.nan), np.ones((9, 1)), "must be finite"),
    ],
)
def test_bad_data_are_refused(u, f, message):
    with pytest.raises(ValueError, match=message):
        RBFCritic().fit(u, f)


def test_a_negative_ridge_is_refused():
    with pytest.raises(ValueError, match="ridge=-1"):
        RBFCritic(ridge=-1)


def test_squared_distances_are_never_negative():
    u = np.full((5, 3), 0.1)
    assert (squared_distances(u, u) >= 0).all()
