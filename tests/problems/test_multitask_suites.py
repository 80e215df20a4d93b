"""CEC19-MTMO-CPLX, CEC21-MTMO and CEC19-MaTMO: values, fronts, data, twins.

The reference values in `multitask_golden.npz` were computed with the package ddmtolab 1.0.10, for
the points of `points_for`: with the competitions' data, and with ours in the place of its files.
"""

from __future__ import annotations

import pickle
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from evogen.problems import (
    AnalyticProblem,
    TaskSet,
    cec19_mtmo,
    cec21_mtmo,
    competition,
    count_tasks,
    get_problem,
    list_problems,
    list_suites,
    matmo,
    resolve,
)

GOLDEN = np.load(Path(__file__).parent / "multitask_golden.npz")
PUBLISHED = [*cec21_mtmo.NAMES, *matmo.NAMES]
SEEDED = [f"{name}-seeded" for name in PUBLISHED]
READY = [*cec19_mtmo.NAMES, *SEEDED]
needs_data = pytest.mark.skipif(
    find_spec("ddmtolab") is None, reason="the package ddmtolab, which has the data, is missing"
)


def made(name: str, **kwargs) -> TaskSet:
    """With few tasks."""
    few = {"n_tasks": 3} if name.startswith("matmo") else {}
    return get_problem(name, **few, **kwargs)


def points_for(task: AnalyticProblem, number: int) -> np.ndarray:
    """Ten points of a task's box, uniform and nearer and nearer to its Pareto set."""
    rng = np.random.default_rng([20261121, number, task.n_var])
    width = task.xu - task.xl
    uniform = task.xl + width * rng.random((4, task.n_var))
    # Where a part of a hybrid has weights of 10^6, the others are seen near the set only.
    size = 10.0 ** -np.arange(1, 7)[:, None] * width
    near = task.pareto_set(9)[:6] + size * rng.standard_normal((6, task.n_var))
    return np.vstack([uniform, np.clip(near, task.xl, task.xu)])


def check_values(name: str, problem: TaskSet) -> None:
    for number, task in enumerate(problem.tasks, start=1):
        expected = GOLDEN[f"{name}-t{number}"]
        found = task.evaluate(points_for(task, number))
        assert np.max(np.abs(found - expected) / np.maximum(1.0, np.abs(expected))) < 1e-9


@pytest.mark.parametrize("name", cec19_mtmo.NAMES[:9])
def test_values_of_cplx_equal_the_reference(name):
    check_values(name, get_problem(name))


@pytest.mark.parametrize("name", SEEDED)
def test_values_with_our_data_equal_the_reference(name):
    check_values(name, made(name))


@needs_data
@pytest.mark.parametrize("name", PUBLISHED)
def test_values_with_the_published_data_equal_the_reference(name):
    check_values(name, made(name))


def test_f8_multiplies_over_the_variables_of_each_point():
    first, second = get_problem("cplx10").tasks
    x = points_for(second, 2)
    assert np.allclose(
        first.evaluate(points_for(first, 1)), GOLDEN["cplx10-t1"], rtol=1e-9, atol=1e-9
    )
    for one, row in zip(x, second.evaluate(x), strict=True):
        for m, j in ((0, np.arange(2, 11, 2)), (1, np.arange(3, 11, 2))):
            y = 2 * (one[j - 1] - 0.5) - one[0] ** (0.5 * (1 + 3 * (j - 2) / 8))
            place = np.sqrt(np.arange(1, len(j) + 1))
            product = np.prod(np.cos(20 * np.pi * y / place))
            distance = 2 / len(j) * (4 * np.sum(y**2) - 2 * product + 2)
            position = one[0] if m == 0 else 1 - np.sqrt(one[0])
            assert row[m] == pytest.approx(position + distance, rel=1e-9)


def test_both_readings_of_f7_are_there():
    for reading, cosine in (("mtop", -1.0), ("paper", 1.0)):
        task = get_problem("cplx2", reading=reading).tasks[1]
        x = task.pareto_set(2)[1]
        x[1] += 0.125  # y_2 = 1/4, one of the five variables of f_1
        excess = task.evaluate(x) - task.pareto_front(2)[1]
        assert excess == pytest.approx([2 / 5 * (4 / 16 - cosine + 1), 0.0])


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.2])
@pytest.mark.parametrize("name", READY)
def test_the_pareto_set_lies_in_the_box_and_on_the_front(name, shift):
    for task in made(name, shift=shift).tasks:
        points = task.pareto_set(50)
        assert (points >= task.xl - 1e-12).all()
        assert (points <= task.xu + 1e-12).all()
        f, front = task.evaluate(points), task.pareto_front(50)
        if task.n_obj == 3:
            assert np.allclose(np.linalg.norm(f, axis=1), 1.0)
            assert np.allclose(np.linalg.norm(front, axis=1), 1.0)
        else:
            # The ridge of HappyCat in F22 turns rounding errors of 1e-14 into 3e-4.
            error = 1e-3 if name.startswith("cec21-mtmo3-") else 1e-6
            assert np.allclose(f[np.argsort(f[:, 0], kind="stable")], front, rtol=0, atol=error)


@pytest.mark.parametrize("name", READY)
def test_nothing_random_is_below_the_front(name):
    rng = np.random.default_rng(0)
    for task in made(name, shift=0.2).tasks:
        near = task.pareto_set(300)
        noise = 0.01 * (task.xu - task.xl) * rng.standard_normal(near.shape)
        x = np.vstack([
            rng.uniform(task.xl, task.xu, size=(300, task.n_var)),
            np.clip(near + noise * (rng.random(near.shape) < 0.1), task.xl, task.xu),
        ])  # fmt: skip
        f, front = task.evaluate(x), task.pareto_front(2)
        if task.shape in ("circle", "sphere"):
            assert (np.linalg.norm(f, axis=1) >= np.linalg.norm(front[0]) - 1e-9).all()
        else:
            q = front[:, 1].max()
            ratio = f[:, 0] / q
            level = q * (1.0 - (ratio**2 if task.shape == "concave" else np.sqrt(ratio)))
            assert (f[:, 1] >= level - 1e-9).all()


def test_the_fronts_are_those_of_the_public_code_but_for_one_that_is_wrong_there():
    for name in (*cec19_mtmo.NAMES, *PUBLISHED):
        for number, task in enumerate(made(name if name in READY else f"{name}-seeded").tasks, 1):
            stated = GOLDEN[f"{name}-front{1 if name.startswith('matmo') else number}"]
            front = task.pareto_front(20_000)
            nearest = [np.linalg.norm(front - point, axis=1).min() for point in stated]
            if (name, number) == ("cec21-mtmo1", 2):
                assert np.allclose(np.linalg.norm(stated, axis=1), 1), "the circle"
                assert np.max(nearest) > 0.1
                assert np.allclose(front[:, 1], 1 - front[:, 0] ** 2, atol=1e-3)
            else:
                assert np.max(nearest) < (0.01 if task.n_obj == 3 else 1e-3)


def test_twins_move_what_the_tasks_share():
    for name in ("cplx1", "cec21-mtmo4-seeded", "matmo4-seeded"):
        original, twin = made(name), made(f"{name}-shifted")
        assert twin.name() == f"{name}-shifted"
        moves = []
        for a, b in zip(original.tasks, twin.tasks, strict=True):
            k = a.n_position
            width = (a.xu - a.xl)[k:]
            moves.append((b.pareto_set(2)[:, k:] - a.pareto_set(2)[:, k:]) / width)
            x = np.random.default_rng(0).uniform(a.xl, a.xu, (9, a.n_var))
            back = x.copy()
            back[:, k:] -= moves[-1][0] * width
            assert np.allclose(b.evaluate(x), a.evaluate(back), rtol=1e-9)
        assert np.allclose(moves, moves[0][0])
        assert np.allclose(moves[0], 0.2)


def test_far_optima_move_as_far_as_the_box_lets_all_tasks_go():
    original, twin = made("cec21-mtmo9-seeded"), made("cec21-mtmo9-seeded-shifted")
    places = [t.pareto_set(2)[0, 1:] for t in original.tasks]
    moved = [t.pareto_set(2)[0, 1:] for t in twin.tasks]
    assert np.allclose(moved[0] - places[0], moved[1] - places[1])
    room = 100.0 - np.maximum(*places)
    assert np.allclose(moved[0] - places[0], np.minimum(40.0, room))
    assert (room < 40).any()


def test_a_set_that_fills_its_box_is_bent_so_that_the_centre_moves_as_far():
    task = get_problem("cplx5-shifted").tasks[0]
    original = get_problem("cplx5").tasks[0]
    x = np.random.default_rng(0).random((20, 30))
    x[0, 1:], x[1, 1:], x[2, 1:] = 0.7, 0.0, 1.0
    back = x.copy()
    back[:, 1:] = x[:, 1:] ** (np.log(0.5) / np.log(0.7))
    assert np.allclose(back[:3, 1], [0.5, 0, 1])
    assert np.allclose(task.evaluate(x), original.evaluate(back))


def test_suites_are_listed():
    suites = list_suites(multitask=True)
    assert suites[:4] == ["cec17-mtmo", "cec19-cplx", "cec21-mtmo", "cec19-matmo"]
    assert {"cec21-mtmo-seeded", "cec19-matmo-seeded"} <= set(suites)
    assert not set(suites) & set(list_suites())
    assert list_problems("cec19-cplx") == [f"cplx{i}" for i in range(1, 11)]
    assert list_problems("cec21-mtmo-shifted")[9] == "cec21-mtmo10-shifted"
    assert list_problems("cec19-matmo-seeded") == [f"matmo{i}-seeded" for i in range(1, 7)]
    assert resolve(["cec19-cplx", "cplx1"]) == list_problems("cec19-cplx")
    assert not {"cplx1", "matmo1-seeded"} & set(list_problems())


def test_the_number_of_tasks_is_known_without_making_the_problem():
    for name in READY:
        assert count_tasks(name) == count_tasks(f"{name}-shifted") == len(get_problem(name))
    assert count_tasks("zdt1") == count_tasks("zdt1-shifted") == 1
    with pytest.raises(ValueError, match="cplx1"):
        count_tasks("cplx11")


def test_the_number_of_tasks_is_chosen():
    assert len(get_problem("matmo3-seeded")) == 10
    many = get_problem("matmo3-seeded", n_tasks=60)
    assert len(many) == 60
    assert [t.name() for t in many.tasks][::59] == ["matmo3-seeded-t1", "matmo3-seeded-t60"]
    assert np.array_equal(
        get_problem("matmo3-seeded", n_tasks=2).tasks[1].pareto_set(2), many.tasks[1].pareto_set(2)
    )
    for wrong in ({"n_tasks": 1}, {"n_tasks": 51}):
        with pytest.raises(ValueError, match=r"n_tasks=\d+ must be at"):
            get_problem("matmo3", **wrong)


def write_data(folder: Path, suite: str) -> None:
    """Our seeded data as the competitions' files."""
    if suite == "cec21":
        for problem in range(1, 11):
            place = folder / f"benchmark_{problem}"
            place.mkdir()
            for task in (1, 2):
                matrix, centre = cec21_mtmo.seeded_data(5)(problem, task)
                np.savetxt(place / f"matrix_{task}", matrix, fmt="%.17g")
                np.savetxt(place / f"bias_{task}", centre[None], fmt="%.17g")
        return
    for problem in range(1, 7):
        for letter in ("M", "SVector"):
            (folder / letter / f"{letter[0]}{problem}").mkdir(parents=True)
        for task in (1, 2):
            matrix, centre = matmo.seeded_data(5)(problem, task)
            np.savetxt(folder / f"M/M{problem}/M{problem}_{task}.txt", matrix, fmt="%.17g")
            name = f"SVector/S{problem}/S{problem}_{task}.txt"
            np.savetxt(folder / name, centre[None], fmt="%.17g")


@pytest.mark.parametrize(
    ("suite", "name"), [("cec21", "cec21-mtmo3"), ("cec21", "cec21-mtmo7"), ("matmo", "matmo6")]
)
def test_a_folder_of_the_competitions_files_serves(suite, name, tmp_path):
    write_data(tmp_path, suite)
    few = {"n_tasks": 2} if suite == "matmo" else {}
    read = get_problem(name, data=tmp_path, **few)
    ours = get_problem(f"{name}-seeded", seed=5, **few)
    for a, b in zip(read.tasks, ours.tasks, strict=True):
        x = np.random.default_rng(0).uniform(a.xl, a.xu, (4, a.n_var))
        assert np.array_equal(a.evaluate(x), b.evaluate(x))


def test_missing_and_broken_files_are_said_so(tmp_path, monkeypatch):
    monkeypatch.setattr(competition, "find_spec", lambda name: None)
    for name in ("cec21-mtmo1", "matmo1"):
        with pytest.raises(FileNotFoundError, match=rf"not part of evogen.*data=.*{name}-seeded"):
            get_problem(name)
        with pytest.raises(FileNotFoundError, match="is no folder"):
            get_problem(name, data=tmp_path / "no")
    with pytest.raises(FileNotFoundError, match=r"matrix_1 is missing"):
        get_problem("cec21-mtmo1", data=tmp_path)
    write_data(tmp_path, "cec21")
    np.savetxt(tmp_path / "benchmark_1" / "bias_2", np.zeros(3))
    with pytest.raises(ValueError, match=r"bias_2 has the shape \(3,\), not \(49,\)"):
        get_problem("cec21-mtmo1", data=tmp_path)
    (tmp_path / "benchmark_1" / "bias_2").write_text("no numbers")
    with pytest.raises(ValueError, match="does not hold a table of numbers"):
        get_problem("cec21-mtmo1", data=tmp_path)


def test_seeded_data_are_of_the_published_kind_and_seeded():
    for problem in range(1, 11):
        matrix, centre = cec21_mtmo.seeded_data(0)(problem, 1)
        assert np.allclose(matrix @ matrix.T, np.eye(49))
        assert np.linalg.det(matrix) == pytest.approx(1.0)
        reach = cec21_mtmo.PROBLEMS[problem - 1][2]
        assert 0.9 * reach < np.abs(centre).max() <= reach
        assert np.array_equal(matrix, cec21_mtmo.seeded_data(0)(problem, 1)[0])
        assert not np.array_equal(centre, cec21_mtmo.seeded_data(1)(problem, 1)[1])
        assert not np.array_equal(centre, cec21_mtmo.seeded_data(0)(problem, 2)[1])


def test_problems_can_be_sent_to_other_processes():
    for name in ("cplx5", "cec21-mtmo3-seeded", "matmo5-seeded"):
        task = made(name).tasks[1]
        again = pickle.loads(pickle.dumps(task))
        x = points_for(task, 2)
        assert np.array_equal(task.evaluate(x), again.evaluate(x))


@pytest.mark.parametrize("name", ["cplx1", "cec21-mtmo1-seeded", "matmo1-seeded"])
def test_wrong_settings_are_refused(name):
    with pytest.raises(ValueError, match=r"shift=0\.5 must lie in"):
        get_problem(name, shift=0.5)
    with pytest.raises(TypeError, match="does not take n_var"):
        get_problem(name, n_var=3)
    with pytest.raises(ValueError, match="reading='x' must be"):
        get_problem("cplx1", reading="x")
    with pytest.raises(ValueError, match="seed=-1 must be at least 0"):
        get_problem("matmo1-seeded", seed=-1)
