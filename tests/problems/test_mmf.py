from __future__ import annotations

import math

import moocore
import numpy as np
import pytest

from evogen.problems import get_problem, list_problems

ALL = [f"mmf{i}" for i in range(1, 9)]
N_PREIMAGES = {1: 2, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 2, 8: 8}


def by_the_paper(name, x1, x2):
    """Objectives of one point, one case after the other."""
    i, pi = int(name[3:]), math.pi
    u = abs(x1 - 2)
    wave = math.sin(6 * pi * u + pi)
    if i in (2, 3):
        y = x2 - math.sqrt(x1)
        if i == 2 and x2 > 1:
            y -= 1
        if i == 3 and not (x2 <= 0.5 or (x2 < 1 and x1 > 0.25)):
            y -= 0.5
        return x1, 1 - math.sqrt(x1) + 2 * (4 * y**2 - 2 * math.cos(20 * pi * y / 2**0.5) + 2)
    if i == 4:
        y = x2 - math.sin(pi * abs(x1)) - (x2 >= 1)
        return abs(x1), 1 - x1**2 + 2 * y**2
    if i == 8:
        a = abs(x1)
        y = x2 - math.sin(a) - a - (4 if x2 > 4 else 0)
        return math.sin(a), math.sqrt(1 - math.sin(a) ** 2) + 2 * y**2
    if i == 7:
        y = x2 - (0.3 * u**2 * math.cos(24 * pi * u + 4 * pi) + 0.6 * u) * wave
        return u, 1 - math.sqrt(u) + y**2
    y = x2 - wave
    if i == 5 and x2 > 1:
        y -= 2
    if i == 6:
        between = [x1 <= 7 / 6, 8 < 6 * x1 <= 9, 10 < 6 * x1 <= 11, 13 < 6 * x1 <= 14]
        between += [15 < 6 * x1 <= 16, 6 * x1 > 17]
        if not (x2 <= 0 or (x2 <= 1 and any(between))):
            y -= 1
    return u, 1 - math.sqrt(u) + 2 * y**2


@pytest.mark.parametrize("name", ALL)
def test_objectives_are_those_of_the_paper(name):
    problem = get_problem(name)
    x = np.random.default_rng(1).uniform(problem.xl, problem.xu, (500, 2))
    expected = [by_the_paper(name, *row) for row in x]
    np.testing.assert_allclose(problem.evaluate(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_the_whole_pareto_set_lies_on_the_front(name):
    problem = get_problem(name)
    x = problem.pareto_set(2000)
    assert np.all((x >= problem.xl) & (x <= problem.xu))
    assert 1900 <= len(x) <= 2000
    f = problem.evaluate(x)
    shape = {"mmf4": 1 - f[:, 0] ** 2, "mmf8": np.sqrt(np.maximum(0, 1 - f[:, 0] ** 2))}
    np.testing.assert_allclose(f[:, 1], shape.get(name, 1 - np.sqrt(f[:, 0])), atol=1e-7)


@pytest.mark.parametrize("name", ALL)
def test_nothing_in_the_box_beats_the_front(name, excess):
    problem = get_problem(name)
    front = problem.pareto_front(2000)
    assert np.all(moocore.is_nondominated(front))
    x = np.random.default_rng(0).uniform(problem.xl, problem.xu, (50_000, 2))
    assert excess(front, problem.evaluate(x)) < 1e-3


@pytest.mark.parametrize("name", ALL)
def test_every_preimage_of_a_point_is_found_and_no_other(name):
    problem = get_problem(name)
    for f1 in (0.13, 0.37, 0.71):
        x = problem.preimages(f1)
        assert len(x) == N_PREIMAGES[int(name[3:])]
        f = problem.evaluate(x)
        np.testing.assert_allclose(f, np.broadcast_to(f[0], f.shape), atol=1e-9)
        np.testing.assert_allclose(f[:, 0], f1)
        # A dense grid of optimal points holds nothing near this objective vector elsewhere.
        grid = problem.pareto_set(40_000)
        near = grid[np.abs(problem.evaluate(grid)[:, 0] - f1) < 1e-4]
        distance = np.linalg.norm(near[:, None] - x, axis=2).min(axis=1)
        assert distance.max() < 0.05


def test_the_suite_has_eight_problems_and_a_point_off_the_front_is_refused():
    assert list_problems("mmf") == ALL
    with pytest.raises(ValueError, match=r"f1=1.2 is not on the front"):
        get_problem("mmf1").preimages(1.2)
