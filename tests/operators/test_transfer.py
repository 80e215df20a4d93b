"""Transfer examples: what a model learns from other tasks and what it is asked for."""

import numpy as np
import pytest

from evogen.operators import Solutions, Transfer


def line(n, shift=0.0, n_dim=3, seed=0):
    """Solutions whose first variable runs along a linear front, in random order."""
    rng = np.random.default_rng(seed)
    t = rng.permutation(np.linspace(0.0, 1.0, n))
    u = np.column_stack([t, np.full((n, n_dim - 1), 0.2 + shift)])
    return Solutions(u, np.column_stack([t, 1.0 - t]), np.zeros(n))


def test_solutions_are_paired_by_where_they_lie_on_their_fronts():
    mine, other = line(21, seed=1), line(21, shift=0.3, n_dim=5, seed=2)
    transfer = Transfer()
    transfer.receive([None, other], 0)
    data = transfer.training(mine)
    np.testing.assert_array_equal(data.x, mine.u)
    assert data.condition.shape == (21, 5)
    np.testing.assert_allclose(data.condition[:, 0], mine.u[:, 0])
    np.testing.assert_allclose(data.condition[:, 1:], 0.5)


def test_scales_of_objectives_do_not_matter_for_pairs():
    mine, other = line(21, seed=1), line(21, seed=2)
    scaled = Solutions(other.u, 1000.0 * other.f - 50.0, other.cv)
    transfer = Transfer()
    transfer.receive([None, scaled], 0)
    np.testing.assert_allclose(transfer.training(mine).condition, mine.u)


@pytest.mark.parametrize("pairing", ["objectives", "place"])
def test_tasks_with_other_numbers_of_objectives_are_paired_by_place(pairing):
    mine = line(9)
    rng = np.random.default_rng(3)
    other = Solutions(rng.random((9, 2)), rng.random((9, 3)), np.zeros(9))
    transfer = Transfer(pairing)
    transfer.receive([None, other], 0)
    data = transfer.training(mine)
    np.testing.assert_array_equal(data.condition[mine.order], other.u[other.order])


def test_several_tasks_share_one_model_and_say_which_they_are():
    mine, second, third = line(7), line(9, n_dim=2, seed=1), line(5, n_dim=4, seed=2)
    transfer = Transfer()
    transfer.receive([None, second, third], 0)
    data = transfer.training(mine)
    assert data.x.shape == (14, 3)
    assert data.condition.shape == (14, 4 + 2)
    np.testing.assert_array_equal(data.condition[:, 4:], np.repeat(np.eye(2), 7, axis=0))
    np.testing.assert_array_equal(data.condition[:7, 2:4], 0.0)
    asked = transfer.ask(400, mine, np.random.default_rng(0))
    assert asked.shape == (400, 6)
    np.testing.assert_array_equal(asked[:, 4:].sum(axis=1), 1.0)
    assert 150 < asked[:, 4].sum() < 250


def test_asked_for_are_the_others_best_only():
    n = 20
    u = np.linspace(0.0, 1.0, n)[:, None]
    f = np.column_stack([u[:, 0], u[:, 0]])  # the first row dominates all
    transfer = Transfer()
    transfer.receive([None, Solutions(u, f, np.zeros(n))], 0)
    asked = transfer.ask(50, line(5), np.random.default_rng(0))
    np.testing.assert_array_equal(asked, 0.0)


def test_a_lag_pairs_with_the_past_and_asks_with_the_present():
    transfer = Transfer(lag=2)
    for shift in (0.0, 0.1, 0.2, 0.3):
        transfer.receive([None, line(11, shift=shift)], 0)
    data = transfer.training(line(11))
    np.testing.assert_allclose(data.condition[:, 1], 0.3)  # two generations ago: 0.2 + 0.1
    asked = transfer.ask(5, line(11), np.random.default_rng(0))
    np.testing.assert_allclose(asked[:, 1], 0.5)


def test_without_others_a_task_learns_from_itself():
    mine = line(6)
    for transfer in (Transfer(), Transfer()):
        data = transfer.training(mine)
        np.testing.assert_array_equal(data.x, data.condition)
        assert transfer.ask(4, mine, np.random.default_rng(0)).shape == (4, 3)
        transfer.receive([None, None], 0)
        assert transfer.training(mine).condition.shape == (6, 3)
        assert transfer.ask(4, mine, np.random.default_rng(0)).shape == (4, 3)


@pytest.mark.parametrize("arguments", [{"pairing": "rank"}, {"lag": -1}, {"lag": 1.5}])
def test_impossible_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        Transfer(**arguments)
