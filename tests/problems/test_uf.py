from __future__ import annotations

import moocore
import numpy as np
import pytest

import evogen.problems as problems

ALL = [f"UF{i}" for i in range(1, 11)]


def make(name, n_var=30):
    return getattr(problems, name)(n_var=n_var)


@pytest.mark.parametrize("name", ALL)
def test_objectives_and_bounds_agree_with_independent_values(name, golden):
    problem = make(name)
    np.testing.assert_array_equal(problem.xl, golden[f"{name}_30_lb"])
    np.testing.assert_array_equal(problem.xu, golden[f"{name}_30_ub"])
    f = problem.evaluate(golden[f"{name}_30_X"])
    np.testing.assert_allclose(f, golden[f"{name}_30_F"], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("n_var", [10, 30, 31])
@pytest.mark.parametrize("name", ALL)
def test_the_pareto_set_lies_in_the_box_and_its_image_on_the_front(name, n_var):
    problem = make(name, n_var)
    x = problem.pareto_set(400)
    assert np.all((x >= problem.xl) & (x <= problem.xu))
    f = problem.evaluate(x)
    if name in ("UF1", "UF2", "UF3"):
        np.testing.assert_allclose(f[:, 1], 1 - np.sqrt(f[:, 0]), atol=1e-12)
    elif name == "UF4":
        np.testing.assert_allclose(f[:, 1], 1 - f[:, 0] ** 2, atol=1e-12)
    elif name in ("UF8", "UF10"):
        np.testing.assert_allclose(np.linalg.norm(f, axis=1), 1.0, atol=1e-12)
    else:
        np.testing.assert_allclose(f.sum(axis=1), 1.0, atol=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_the_front_is_non_dominated_and_nothing_over_its_positions_beats_it(name, excess):
    """All positions, distance variables at and near their best values."""
    problem = make(name, 10)
    front = problem.pareto_front(2000)
    assert np.all(moocore.is_nondominated(front))
    rng = np.random.default_rng(0)
    k = problem.n_obj - 1
    x = rng.uniform(problem.xl, problem.xu, (20_000, 10))
    x[:, k:] = problem._optimal_distance(x[:, :k]) + rng.normal(0, 0.01, (20_000, 10 - k))
    x[::2, k:] = problem._optimal_distance(x[::2, :k])
    assert excess(front, problem.evaluate(x)) < (1e-9 if name == "UF5" else 0.02)


def test_the_points_of_uf5_are_21_and_those_of_uf6_are_in_pieces():
    assert len(make("UF5").pareto_front(1000)) == 21
    f1 = make("UF6").pareto_front(1000)[:, 0]
    assert f1[0] == 0.0
    assert np.all((f1[1:] >= 0.25) & ((f1[1:] <= 0.5) | (f1[1:] >= 0.75)))


def test_the_front_of_uf9_has_both_triangles_and_nothing_between():
    f = make("UF9").pareto_front(1000)
    share = f[:, 0] / np.maximum(1 - f[:, 2], 1e-12)
    assert not np.any((share > 0.2501) & (share < 0.7499))
    assert np.sum(share <= 0.2501) > 300
    assert np.sum(share >= 0.7499) > 300


@pytest.mark.parametrize(("name", "least"), [("UF1", 3), ("UF8", 5)])
def test_too_few_variables_are_refused(name, least):
    with pytest.raises(ValueError, match=f"n_var={least - 1} must be at least {least}"):
        make(name, least - 1)
    assert np.all(np.isfinite(make(name, least).evaluate(make(name, least).pareto_set(10))))
