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


def by_the_report(name, x):
    """Objectives of one point as the competition's report writes them, one variable at a time."""
    n, x1, x2, pi = len(x), x[0], x[1], np.pi
    i = int(name[2:])
    n_obj = 3 if i >= 8 else 2
    y = [[] for _ in range(n_obj)]
    for j in range(n_obj, n + 1):
        if i == 2:
            wave = np.cos if j % 2 == 1 else np.sin
            radius = 0.3 * x1**2 * np.cos(24 * pi * x1 + 4 * j * pi / n) + 0.6 * x1
            best = radius * wave(6 * pi * x1 + j * pi / n)
        elif i == 3:
            best = x1 ** (0.5 * (1 + 3 * (j - 2) / (n - 2)))
        elif i >= 8:
            best = 2 * x2 * np.sin(2 * pi * x1 + j * pi / n)
        else:
            best = np.sin(6 * pi * x1 + j * pi / n)
        # Odd j to f1, even to f2; three objectives: j - 1, j - 2, j divisible by 3.
        group = (j - 1) % 3 if i >= 8 else (j - 1) % 2
        y[group].append((j, x[j - 1] - best))
    total = []
    for group in y:
        values = np.array([value for _, value in group])
        if i in (3, 6):
            product = np.prod([np.cos(20 * value * pi / np.sqrt(j)) for j, value in group])
            total.append(4 * np.sum(values**2) - 2 * product + 2)
        elif i == 4:
            total.append(sum(abs(t) / (1 + np.exp(2 * abs(t))) for t in values))
        elif i == 5:
            total.append(sum(2 * t**2 - np.cos(4 * pi * t) + 1 for t in values))
        elif i == 10:
            total.append(sum(4 * t**2 - np.cos(8 * pi * t) + 1 for t in values))
        else:
            total.append(np.sum(values**2))
    distance = [2 * t / len(group) for t, group in zip(total, y, strict=True)]
    if i in (8, 10):
        a, b = 0.5 * pi * x1, 0.5 * pi * x2
        front = [np.cos(a) * np.cos(b), np.cos(a) * np.sin(b), np.sin(a)]
    elif i == 9:
        lift = max(0, 1.1 * (1 - 4 * (2 * x1 - 1) ** 2))
        front = [0.5 * (lift + 2 * x1) * x2, 0.5 * (lift - 2 * x1 + 2) * x2, 1 - x2]
    elif i == 4:
        front = [x1, 1 - x1**2]
    elif i == 5:
        lift = (1 / 20 + 0.1) * abs(np.sin(20 * pi * x1))
        front = [x1 + lift, 1 - x1 + lift]
    elif i == 6:
        lift = max(0, 2 * (1 / 4 + 0.1) * np.sin(4 * pi * x1))
        front = [x1 + lift, 1 - x1 + lift]
    elif i == 7:
        front = [x1**0.2, 1 - x1**0.2]
    else:
        front = [x1, 1 - np.sqrt(x1)]
    return np.array(front) + distance


@pytest.mark.parametrize("n_var", [5, 11, 30])
@pytest.mark.parametrize("name", ALL)
def test_objectives_are_those_of_the_report(name, n_var):
    problem = make(name, n_var)
    x = np.random.default_rng(1).uniform(problem.xl, problem.xu, (10, n_var))
    expected = [by_the_report(name, row) for row in x]
    np.testing.assert_allclose(problem.evaluate(x), expected, rtol=1e-12, atol=1e-12)


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
