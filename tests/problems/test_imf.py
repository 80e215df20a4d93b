from __future__ import annotations

import moocore
import numpy as np
import pytest

import evogen.problems as problems

ALL = [f"IMF{i}" for i in range(1, 11)]
CONVEX = ["IMF1", "IMF5", "IMF9", "IMF10"]
CONCAVE = ["IMF2", "IMF3", "IMF6", "IMF7"]
SPHERES = ["IMF4", "IMF8"]


def make(name, n_var=30):
    return getattr(problems, name)(n_var=n_var)


@pytest.mark.parametrize("n_var", [30, 100])
@pytest.mark.parametrize("name", ALL)
def test_objectives_and_bounds_agree_with_independent_values(name, n_var, golden):
    key = f"IMMOEA_F{name[3:]}_{n_var}"
    problem = make(name, n_var)
    np.testing.assert_array_equal(problem.xl, golden[f"{key}_lb"])
    np.testing.assert_array_equal(problem.xu, golden[f"{key}_ub"])
    f = problem.evaluate(golden[f"{key}_X"])
    np.testing.assert_allclose(f, golden[f"{key}_F"], rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name", ALL)
def test_a_point_worked_out_by_hand(name):
    """Two position-free variables at 1 and the others at 0 leave simple sums."""
    n_var, n_position = 10, 2 if name in SPHERES else 1
    problem = make(name, n_var)
    x = np.zeros((1, n_var))
    x[0, -1] = 1.0
    f = problem.evaluate(x)[0]
    t = 6.0 if name in ("IMF1", "IMF2", "IMF3", "IMF4") else 1.0
    k = n_var - n_position
    if name in SPHERES:
        expected = [1 + t**2, 0.0, 0.0]
    elif name == "IMF9":
        expected = [0.0, 1 / 4000 - np.cos(1 / 3) + 2]
    elif name == "IMF10":
        expected = [0.0, 1 + 10 * k + 1 - 10 * k]
    else:
        g, f1 = 1 + 9 * t**2 / k, 1.0 if name in ("IMF3", "IMF7") else 0.0
        expected = [f1, g * (1 - (f1 / g) ** 2)]
    np.testing.assert_allclose(f, expected, atol=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_the_pareto_set_lies_in_the_box_and_its_image_on_the_front(name):
    problem = make(name)
    x = problem.pareto_set(400)
    assert np.all((x >= problem.xl) & (x <= problem.xu))
    f = problem.evaluate(x)
    if name in CONVEX:
        np.testing.assert_allclose(f[:, 1], 1 - np.sqrt(f[:, 0]), atol=1e-12)
    elif name in CONCAVE:
        np.testing.assert_allclose(f[:, 1], 1 - f[:, 0] ** 2, atol=1e-12)
    else:
        np.testing.assert_allclose(np.linalg.norm(f, axis=1), 1.0, atol=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_the_front_is_mutually_non_dominated_and_no_random_point_beats_it(name):
    problem = make(name, 5)
    front = problem.pareto_front(1000)
    assert np.all(moocore.is_nondominated(front))
    x = np.random.default_rng(0).uniform(problem.xl, problem.xu, (20_000, 5))
    f = problem.evaluate(x)
    if name in CONVEX:
        assert np.all(f[:, 1] >= 1 - np.sqrt(f[:, 0]) - 1e-12)
    elif name in CONCAVE:
        assert np.all(f[:, 1] >= 1 - f[:, 0] ** 2 - 1e-12)
    else:
        assert np.all(np.linalg.norm(f, axis=1) >= 1 - 1e-12)


@pytest.mark.parametrize("name", ["IMF3", "IMF7"])
def test_the_many_to_one_front_begins_at_the_lowest_first_objective(name):
    front = make(name).pareto_front(10)
    x1 = np.linspace(0, 1, 1_000_001)
    lowest = np.min(1 - np.exp(-4 * x1) * np.sin(6 * np.pi * x1) ** 6)
    assert front[0, 0] == pytest.approx(lowest, abs=1e-9)
    assert front[-1, 0] == 1.0


def test_the_front_has_the_resolution_asked_for_whatever_was_asked_before():
    problem = make("IMF1")
    assert len(problem.pareto_front(7)) == 7
    assert len(problem.pareto_front()) == problems.N_PARETO_POINTS
    # Largest lattices of at most 100 and 5000 points: 12 and 98 partitions.
    assert len(make("IMF4").pareto_front(100)) == 91
    assert len(make("IMF4").pareto_front()) == 4950


def test_a_returned_front_is_the_callers_own():
    problem = make("IMF4")
    problem.pareto_front(100)[:] = 7.0
    assert problem.pareto_front(100).max() <= 1.0


@pytest.mark.parametrize(("name", "least"), [("IMF1", 2), ("IMF4", 3)])
def test_too_few_variables_are_refused(name, least):
    with pytest.raises(ValueError, match=f"n_var={least - 1} must be at least {least}"):
        make(name, least - 1)
    assert make(name, least).evaluate(np.full(least, 0.5)).shape == (make(name, least).n_obj,)


@pytest.mark.parametrize("n_var", [30.0, "30", True, None])
def test_a_number_of_variables_that_is_not_an_integer_is_refused(n_var):
    with pytest.raises(TypeError, match="n_var="):
        make("IMF1", n_var)


@pytest.mark.parametrize("n_pareto_points", [0, 1, -3])
def test_a_resolution_below_two_is_refused(n_pareto_points):
    with pytest.raises(ValueError, match="n_pareto_points="):
        make("IMF1").pareto_front(n_pareto_points)
