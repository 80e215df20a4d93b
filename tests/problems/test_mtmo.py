"""CEC17-MTMO: values, fronts, matrices, twins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from evogen.problems import TaskSet, get_problem, list_problems, list_suites, resolve
from evogen.problems.mtmo import NAMES, SIZES, seeded_matrices

DATA = Path(__file__).parents[3] / "shared" / "data"
GOLDEN, MATRICES = DATA / "cec17_golden.npz", DATA / "cec17_matrices.npz"
needs_data = pytest.mark.skipif(
    not GOLDEN.exists(), reason=f"reference values {GOLDEN.name} are not there"
)


def made(name: str, **kwargs) -> TaskSet:
    if name in ("cims", "pims", "nims"):
        return get_problem(f"{name}-seeded", **kwargs)
    return get_problem(name, **kwargs)


@needs_data
@pytest.mark.parametrize("name", NAMES)
def test_values_and_bounds_equal_the_reference(name):
    golden = np.load(GOLDEN)
    given = {"data": MATRICES} if name in ("cims", "pims", "nims") else {}
    for number, task in enumerate(get_problem(name, **given).tasks, start=1):
        key = f"{name.upper()}_T{number}"
        expected = golden[f"{key}_F"]
        scale = np.maximum(1.0, np.abs(expected))
        assert np.max(np.abs(task.evaluate(golden[f"{key}_X"]) - expected) / scale) < 1e-9
        assert np.array_equal(task.xl, golden[f"{key}_lb"])
        assert np.array_equal(task.xu, golden[f"{key}_ub"])


@needs_data
def test_the_other_reading_of_cims_equals_its_reference():
    golden = np.load(GOLDEN)
    task = get_problem("cims", data=MATRICES, reading="java").tasks[0]
    found, expected = task.evaluate(golden["CIMS_T1_X"]), golden["CIMS_T1_F_javabracket"]
    assert np.max(np.abs(found - expected) / np.maximum(1.0, np.abs(expected))) < 1e-9
    assert not np.allclose(found, golden["CIMS_T1_F"])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shift", [0.0, 0.2])
def test_the_pareto_set_lies_in_the_box_and_on_the_front(name, shift):
    for task in made(name, shift=shift).tasks:
        points = task.pareto_set(50)
        assert (points >= task.xl - 1e-12).all()
        assert (points <= task.xu + 1e-12).all()
        f = task.evaluate(points)
        if task.shape in ("circle", "sphere"):
            assert np.allclose(np.linalg.norm(f, axis=1), 1.0)
        else:
            bend = np.sqrt(f[:, 0]) if task.shape == "convex" else f[:, 0] ** 2
            assert np.allclose(f[:, 1], 1.0 - bend)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_random_is_below_the_front(name):
    rng = np.random.default_rng(0)
    for task in made(name).tasks:
        f = task.evaluate(rng.uniform(task.xl, task.xu, size=(500, task.n_var)))
        if task.shape in ("circle", "sphere"):
            assert (np.linalg.norm(f, axis=1) >= 1.0 - 1e-12).all()
        else:
            bend = np.sqrt(f[:, 0]) if task.shape == "convex" else f[:, 0] ** 2
            assert (f[:, 1] >= 1.0 - bend - 1e-12).all()


def test_the_twin_moves_all_tasks_alike():
    a, b = get_problem("cihs"), get_problem("cihs-shifted")
    assert b.name() == "cihs-shifted"
    for original, twin in zip(a.tasks, b.tasks, strict=True):
        width = (original.xu - original.xl)[1:]
        moved = twin.pareto_set(5)[:, 1:] - original.pareto_set(5)[:, 1:]
        assert np.allclose(moved, 0.2 * width)
        x = np.random.default_rng(0).uniform(original.xl, original.xu, (9, 50))
        back = x.copy()
        back[:, 1:] -= 0.2 * width
        assert np.allclose(twin.evaluate(x), original.evaluate(back))


def test_fronts_have_the_wanted_shape():
    circle, concave = get_problem("cihs").tasks
    front = circle.pareto_front(100)
    assert np.allclose(np.linalg.norm(front, axis=1), 1)
    assert np.ptp(np.diff(np.sort(np.arctan2(front[:, 1], front[:, 0])))) < 1e-9
    assert np.allclose(concave.pareto_front(11)[:, 0], np.linspace(0, 1, 11))
    assert get_problem("nils").tasks[0].pareto_front(1000).shape[1] == 3


def test_the_suite_is_listed_apart_from_single_problems():
    assert list_problems("cec17-mtmo") == list(NAMES)
    assert "cihs" not in list_problems()
    assert {"cec17-mtmo", "cec17-mtmo-seeded"} <= set(list_suites(multitask=True))
    assert "cec17-mtmo" not in list_suites()
    assert resolve(["cec17-mtmo-seeded-shifted"])[1] == "cims-seeded-shifted"
    assert all(len(get_problem(n)) == 2 for n in list_problems("cec17-mtmo-seeded-shifted"))


def test_missing_matrices_are_said_so_with_what_helps(tmp_path, monkeypatch):
    monkeypatch.setattr("evogen.problems.competition.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"not part of evogen.*data=.*ddmtolab.*seeded"):
        get_problem("pims")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        get_problem("pims", data=tmp_path / "no")
    with pytest.raises(FileNotFoundError, match=r"Mpm1\.mat is missing"):
        get_problem("pims", data=tmp_path)


def test_a_folder_of_matrix_files_serves(tmp_path):
    draw = seeded_matrices(3)
    for name in SIZES:
        savemat(tmp_path / f"{name}.mat", {name: draw(name)})
    for name in ("cims", "pims", "nims"):
        ours = get_problem(f"{name}-seeded", seed=3)
        for a, b in zip(get_problem(name, data=tmp_path).tasks, ours.tasks, strict=True):
            x = np.random.default_rng(0).uniform(a.xl, a.xu, (4, a.n_var))
            assert np.array_equal(a.evaluate(x), b.evaluate(x))
    savemat(tmp_path / "Mcm2.mat", {"Mcm2": np.eye(3)})
    with pytest.raises(ValueError, match=r"shape \(3, 3\)"):
        get_problem("cims", data=tmp_path)


def test_seeded_matrices_are_of_the_published_kind():
    a, b = seeded_matrices(0)("Mpm1"), seeded_matrices(1)("Mpm1")
    assert not np.array_equal(a, b)
    assert np.array_equal(a, seeded_matrices(0)("Mpm1"))
    assert np.array_equal(a, a.round(2))
    assert a.min() < -0.9
    assert seeded_matrices(0)("Mpm2").min() >= 0


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [({"shift": 0.5}, "shift=0.5 must lie in"), ({"n_var": 3}, "does not take n_var")],
)
def test_wrong_settings_are_refused(kwargs, message):
    with pytest.raises((ValueError, TypeError), match=message):
        get_problem("cihs", **kwargs)
    with pytest.raises(ValueError, match="reading='x' must be"):
        get_problem("cims-seeded", reading="x")
