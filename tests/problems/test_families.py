"""Families of tasks: the DF problems at several moments."""

import numpy as np
import pytest
from moocore import is_nondominated
from scipy.spatial import cKDTree

from evogen.problems import get_problem, list_problems
from evogen.problems.families import NUMBERS, DFTask


@pytest.mark.parametrize("name", [*list_problems("df-family"), "df3-family-shifted"])
def test_tasks_differ_by_their_descriptor_and_have_fronts(name):
    family = get_problem(name)
    np.testing.assert_allclose(family.descriptors, np.arange(10)[:, None] / 10)
    assert len({task.name() for task in family.tasks}) == len(family) == 10
    for task in family.tasks:
        front = task.pareto_front(200)
        assert front.shape[1] == 2
        assert is_nondominated(front).all()
        rng = np.random.default_rng(0)
        f = task.evaluate(rng.uniform(task.xl, task.xu, size=(100, task.n_var)))
        # Nothing is better than the front.
        assert not (f[:, None] < front[None] - 1e-9).all(axis=2).any()


N_VAR = 6


def pareto_set(number, t):
    """The report's sets, densely; the front must be what they reach, and reach what they are."""
    task = DFTask(number, t, N_VAR, "task")
    first = np.linspace(task.xl[0], task.xu[0], 4001)
    wave = np.sin(0.5 * np.pi * t)
    rest = [np.zeros_like(first)] * (N_VAR - 1)
    if number == 1:
        rest = [np.full_like(first, abs(wave))] * (N_VAR - 1)
    elif number == 2:
        x = np.full((len(first), N_VAR), abs(wave))
        x[:, int((N_VAR - 1) * abs(wave))] = first
        return task, x
    elif number == 3:
        rest = [wave + first ** (wave + 1.5)] * (N_VAR - 1)
    elif number == 4:
        b = 1 + abs(np.cos(0.5 * np.pi * t))
        c = max(abs(wave), wave + b)
        first = first[(first >= wave) & (first <= wave + b)]
        rest = [wave * (first / c) ** 2 / (i + 1) for i in range(1, N_VAR)]
    elif number in (5, 6):
        rest = [np.full_like(first, wave)] * (N_VAR - 1)
    elif number == 7:
        rest = [1 / (1 + np.exp(5 * np.cos(0.5 * np.pi * t) * (first - 2.5)))] * (N_VAR - 1)
    elif number == 8:
        rest = [wave * np.sin(4 * np.pi * first) / (1 + abs(wave))] * (N_VAR - 1)
    elif number == 9:
        rest, last = [], first
        for _ in range(N_VAR - 1):
            last = np.cos(4 * t + first + last)
            rest.append(last)
    return task, np.column_stack([first, *rest])


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("time", [0.1, 0.3, 0.9])
def test_fronts_are_what_the_pareto_sets_reach_and_no_more(number, time):
    task, x = pareto_set(number, time)
    assert ((x >= task.xl) & (x <= task.xu)).all()
    reached, front = task.evaluate(x), task.pareto_front(2000)
    reached = reached[is_nondominated(reached)]
    assert cKDTree(front).query(reached)[0].max() < 0.02
    assert cKDTree(reached).query(front)[0].max() < 0.02


def test_twins_move_all_tasks_alike_and_keep_their_fronts():
    plain, twin = get_problem("df1-family"), get_problem("df1-family-shifted")
    offsets = [task.offsets for task in twin.tasks]
    np.testing.assert_array_equal(offsets[0], offsets[9])
    np.testing.assert_array_equal(twin.tasks[4].pareto_front(50), plain.tasks[4].pareto_front(50))
    other = get_problem("df1-family-shifted", twin_seed=1)
    assert np.any(other.tasks[0].offsets != offsets[0])


def test_sizes():
    family = get_problem("df4-family", n_tasks=3, n_var=5)
    assert len(family) == 3
    assert {task.n_var for task in family.tasks} == {5}
    assert len(list(NUMBERS)) == 9
    with pytest.raises(ValueError, match="n_tasks=1"):
        get_problem("df4-family", n_tasks=1)
    with pytest.raises(ValueError, match="fold='bent' is for the twin, df4-family-shifted"):
        get_problem("df4-family", fold="bent")
    with pytest.raises(ValueError, match="n_var=1"):
        get_problem("df4-family", n_var=1)
