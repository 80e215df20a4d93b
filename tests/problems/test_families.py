"""Families of tasks: the DF problems at several moments."""

import numpy as np
import pytest
from moocore import is_nondominated

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


SETS = {
    1: lambda x, t: np.full_like(x, abs(np.sin(0.5 * np.pi * t))),
    3: lambda x, t: np.sin(0.5 * np.pi * t) + x ** (np.sin(0.5 * np.pi * t) + 1.5),
    5: lambda x, t: np.full_like(x, np.sin(0.5 * np.pi * t)),
}


@pytest.mark.parametrize("number", SETS)
def test_the_pareto_set_moves_with_time_as_the_report_says(number):
    for time in (0.0, 0.3, 0.9):
        task = DFTask(number, time, 6, "task")
        first = np.linspace(0.0, 1.0, 50)
        x = np.column_stack([first, *[SETS[number](first, time)] * 5])
        front = task.pareto_front(2000)
        gap = np.linalg.norm(task.evaluate(x)[:, None] - front, axis=2).min(axis=1)
        assert gap.max() < 2e-3


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
    with pytest.raises(ValueError, match="n_var=1"):
        get_problem("df4-family", n_var=1)
