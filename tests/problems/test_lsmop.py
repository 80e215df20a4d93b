from __future__ import annotations

import moocore
import numpy as np
import pytest

import evogen.problems as problems
from evogen.problems.lsmop import ackley, griewank, rastrigin, rosenbrock, schwefel, sphere

ALL = [f"LSMOP{i}" for i in range(1, 10)]


def make(name, *args, **kwargs):
    return getattr(problems, name)(*args, **kwargs)


@pytest.mark.parametrize(("n_var", "n_obj"), [(100, 2), (300, 3)])
@pytest.mark.parametrize("name", ALL)
def test_objectives_and_bounds_agree_with_independent_values(name, n_var, n_obj, golden):
    problem = make(name, n_var, n_obj)
    key = f"{name}_{n_var}"
    np.testing.assert_array_equal(problem.xl, golden[f"{key}_lb"])
    np.testing.assert_array_equal(problem.xu, golden[f"{key}_ub"])
    f = problem.evaluate(golden[f"{key}_X"])
    np.testing.assert_allclose(f, golden[f"{key}_F"], rtol=1e-13, atol=1e-12)


PAIRS = {1: (sphere, sphere), 2: (griewank, schwefel), 3: (rastrigin, rosenbrock),
         4: (ackley, griewank), 5: (sphere, sphere), 6: (rosenbrock, schwefel),
         7: (ackley, rosenbrock), 8: (griewank, sphere), 9: (sphere, ackley)}  # fmt: skip


def by_the_paper(i, x, n_obj, sizes, nk):
    """Objectives of one point, one subcomponent and one factor at a time."""
    n = len(x)
    t = []
    for j in range(n_obj, n + 1):
        rate = 1 + j / n if i <= 4 else 1 + np.cos(0.5 * np.pi * j / n)
        t.append(rate * x[j - 1] - 10 * x[0])
    g, start = [], 0
    for m in range(n_obj):
        total = 0.0
        for _ in range(nk):
            total += PAIRS[i][m % 2](np.array(t[start : start + sizes[m]]))
            start += sizes[m]
        g.append(total / (sizes[m] * nk))
    if i == 9:
        whole = 2 + sum(g)
        h = n_obj - sum(f / whole * (1 + np.sin(3 * np.pi * f)) for f in x[: n_obj - 1])
        return [*x[: n_obj - 1], whole * h]
    f = []
    for m in range(n_obj):
        value = 1 + g[m]
        if i >= 5 and m < n_obj - 1:
            value += g[m + 1]
        for k in range(n_obj - 1 - m):
            value *= x[k] if i <= 4 else np.cos(0.5 * np.pi * x[k])
        if m > 0:
            k = n_obj - 1 - m
            value *= 1 - x[k] if i <= 4 else np.sin(0.5 * np.pi * x[k])
        f.append(value)
    return f


@pytest.mark.parametrize(("n_obj", "nk"), [(2, 5), (3, 5), (4, 2)])
@pytest.mark.parametrize("name", ALL)
def test_objectives_are_those_of_the_paper(name, n_obj, nk):
    problem = make(name, 90, n_obj, nk=nk)
    x = np.random.default_rng(1).uniform(problem.xl, problem.xu, (5, 90))
    expected = [by_the_paper(int(name[-1]), row, n_obj, problem.sublen, nk) for row in x]
    np.testing.assert_allclose(problem.evaluate(x), expected, rtol=1e-11, atol=1e-11)


def test_the_group_sizes_are_the_published_ones():
    np.testing.assert_array_equal(make("LSMOP1", 100, 2).sublen, [5, 14])
    np.testing.assert_array_equal(make("LSMOP1", 300, 3).sublen, [12, 30, 16])
    # The authors' own code rounds up and so fixes the number of variables.
    assert make("LSMOP1", n_obj=2, group_sizes="author").n_var == 206
    assert make("LSMOP1", n_obj=3, group_sizes="author").n_var == 307
    np.testing.assert_array_equal(
        make("LSMOP1", n_obj=3, group_sizes="author").sublen, [13, 31, 17]
    )


def test_with_the_authors_sizes_every_variable_matters():
    problem = make("LSMOP1", n_obj=2, group_sizes="author")
    x = np.random.default_rng(0).uniform(problem.xl, problem.xu)
    moved = np.where(np.eye(problem.n_var, dtype=bool), 0.5 * problem.xu, x)
    assert np.all(np.any(problem.evaluate(moved) != problem.evaluate(x), axis=1))


def test_with_floored_sizes_only_the_variables_left_over_have_no_effect():
    problem = make("LSMOP1", 100, 2)
    x = np.random.default_rng(0).uniform(problem.xl, problem.xu)
    moved = np.where(np.eye(problem.n_var, dtype=bool), 0.5 * problem.xu, x)
    has_effect = np.any(problem.evaluate(moved) != problem.evaluate(x), axis=1)
    np.testing.assert_array_equal(np.flatnonzero(~has_effect), [96, 97, 98, 99])


@pytest.mark.parametrize("group_sizes", ["floor", "author"])
@pytest.mark.parametrize("n_obj", [2, 3, 5])
@pytest.mark.parametrize("name", ALL)
def test_the_pareto_set_lies_in_the_box_and_its_image_on_the_front(name, n_obj, group_sizes):
    problem = make(name, n_obj=n_obj, group_sizes=group_sizes)
    x = problem.pareto_set(300)
    assert len(x) > 10
    assert np.all((x >= problem.xl) & (x <= problem.xu))
    f = problem.evaluate(x)
    if name in ALL[:4]:
        np.testing.assert_allclose(f.sum(axis=1), 1.0, atol=1e-11)
    elif name == "LSMOP9":
        first = f[:, :-1]
        last = 2 * n_obj - np.sum(first * (1 + np.sin(3 * np.pi * first)), axis=1)
        np.testing.assert_allclose(f[:, -1], last, atol=1e-11)
        assert np.all(moocore.is_nondominated(np.unique(f, axis=0)))
    else:
        np.testing.assert_allclose(np.linalg.norm(f, axis=1), 1.0, atol=1e-11)


@pytest.mark.parametrize("n_obj", [2, 3, 5])
@pytest.mark.parametrize("name", ["LSMOP1", "LSMOP5", "LSMOP9"])
def test_the_front_is_mutually_non_dominated(name, n_obj):
    front = make(name, n_obj=n_obj).pareto_front(1500)
    assert len(front) > 500
    assert np.all(moocore.is_nondominated(front))


@pytest.mark.parametrize("name", ALL)
def test_no_random_point_lies_below_the_front(name):
    problem = make(name, 60, 2)
    x = np.random.default_rng(0).uniform(problem.xl, problem.xu, (5000, 60))
    x[:2500] = problem.pareto_set(2500)[np.arange(2500) % len(problem.pareto_set(2500))]
    x[:2500] = np.clip(x[:2500] + 1e-3 * x[2500:], problem.xl, problem.xu)
    f = problem.evaluate(x)
    if name in ALL[:4]:
        assert np.all(f.sum(axis=1) >= 1 - 1e-9)
    elif name == "LSMOP9":
        assert np.all(f[:, 1] >= 4 - f[:, 0] * (1 + np.sin(3 * np.pi * f[:, 0])) - 1e-9)
    else:
        assert np.all(np.linalg.norm(f, axis=1) >= 1 - 1e-9)


@pytest.mark.parametrize("function", [sphere, schwefel, rastrigin, griewank, ackley, rosenbrock])
def test_basic_functions_have_minimum_zero_at_their_optimum(function):
    optimum = np.full((1, 7), 1.0 if function is rosenbrock else 0.0)
    assert function(optimum)[0] == pytest.approx(0.0, abs=1e-12)
    others = np.random.default_rng(0).normal(0, 2, (1000, 7))
    assert np.all(function(others) > 1e-3)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"n_var": 10, "n_obj": 3}, "n_var=10 must be at least"),
        ({"n_obj": 1}, "n_obj=1 must be at least 2"),
        ({"nk": 0}, "nk=0 must be at least 1"),
        ({"group_sizes": "ceil"}, "group_sizes='ceil' must be 'floor' or 'author'"),
        ({"n_var": 300, "group_sizes": "author"}, "n_var=300 must be 307"),
    ],
)
def test_arguments_out_of_range_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make("LSMOP1", **kwargs)


def test_the_least_number_of_variables_gives_every_subcomponent_one():
    with pytest.raises(ValueError, match="at least") as caught:
        make("LSMOP1", 5, 3)
    least = int(str(caught.value).split("at least ")[1].split()[0])
    assert make("LSMOP1", least, 3).sublen.min() >= 1
