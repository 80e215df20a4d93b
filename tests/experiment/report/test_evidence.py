import numpy as np
import pytest

from evogen.experiment import Cell, Outcome, Spec, Store, nondominated, summarize
from evogen.experiment.evidence import (
    MAX_CURVE_POINTS,
    attainment_surfaces,
    band,
    gather,
)


def dominated_share(point, fronts):
    return np.mean([bool((np.asarray(f) <= point).all(axis=1).any()) for f in fronts])


def test_an_attainment_surface_separates_what_so_many_runs_attained():
    random_state = np.random.default_rng(0)
    fronts = [nondominated(random_state.random((15, 2))) for _ in range(8)]
    surfaces = attainment_surfaces(fronts)
    assert list(surfaces) == [25, 50, 75]
    for point in random_state.random((300, 2)):
        for percentage, surface in surfaces.items():
            attained = bool((surface <= point).all(axis=1).any())
            assert attained == (dominated_share(point, fronts) >= percentage / 100)
    for surface in surfaces.values():
        assert (np.diff(surface[:, 0]) >= 0).all()


def test_a_run_without_points_attains_nothing_but_counts():
    fronts = [np.array([[0.5, 0.5]]), np.array([[0.2, 0.2]]), np.empty((0, 2)), np.empty((0, 2))]
    surfaces = attainment_surfaces(fronts)
    assert list(surfaces) == [25, 50]
    assert surfaces[25].tolist() == [[0.2, 0.2]]
    assert surfaces[50].tolist() == [[0.5, 0.5]]
    assert attainment_surfaces([np.empty((0, 2))]) == {}


def test_a_band_leaves_out_what_is_not_finite_where_at_least_half_is():
    values = np.array(
        [[1.0, 1.0, np.nan], [2.0, np.inf, np.nan], [4.0, 3.0, 5.0], [3.0, np.nan, 2]]
    )
    found = band(values)
    assert found[:, 0] == pytest.approx(np.quantile([1, 2, 3, 4], (0.25, 0.5, 0.75)))
    assert found[:, 1] == pytest.approx([1.5, 2.0, 2.5])
    assert found[:, 2] == pytest.approx(np.quantile([5, 2], (0.25, 0.5, 0.75)))
    assert np.isnan(band([[1.0], [np.nan], [np.nan]])).all()


def test_what_is_gathered_are_the_arrays_of_the_store(store):
    results = summarize(store)
    gathered = gather(store, results)
    found = gathered.evidence["two", "best"]
    n_eval, quartiles = found.bands["igd"]
    assert n_eval.tolist() == [50, 100, 150, 200, 250, 300, 350, 400]
    assert quartiles[1, -1] == pytest.approx(results.median("two", "best", "igd"))
    assert found.front.shape[1] == 2
    assert found.spent.tolist() == [400] * 6
    assert set(found.attainment) == {25, 50, 75}
    assert gathered.evidence["five", "best"].attainment == {}
    assert gathered.targets["two"][0][0] == pytest.approx(1.2 * 0.05)
    assert gathered.targets["two"][1] == "floor"
    assert gathered.targets["five"][1] == "best run"
    assert gathered.targets["unknown"][1] == ""


def test_running_times_are_read_from_the_curves(store):
    results = summarize(store)
    gathered = gather(store, results)
    table = gathered.running_times(results, gathered.factors.index(10.0))
    assert np.isnan(table[-1]).all()
    igd = results.values("two", "best", "igd")
    # Curves fall from 5 times the final value in 8 equal steps.
    steps = np.linspace(5, 1, 8)
    hits = [50 * (1 + int(np.argmax(steps * value <= 0.5))) for value in igd]
    assert table[0, results.algorithms.index("best")] == pytest.approx(np.mean(hits))


def test_long_curves_are_thinned_and_keep_their_end(tmp_path):
    n_eval = np.arange(1, 301) * 10.0
    with Store(tmp_path / "long.db") as store:
        arrays = {"curves": {"n_eval": n_eval, "igd": 1 / n_eval}}
        cell = Cell(Spec("p", "p"), Spec("a", "a"), 1, 10, 3000)
        store.save(cell, Outcome("done", indicators={"igd": 1 / 3000}, arrays=arrays))
        found = gather(store, summarize(store)).evidence["p", "a"]
    grid, quartiles = found.bands["igd"]
    assert len(grid) == MAX_CURVE_POINTS
    assert grid[-1] == 3000
    assert quartiles[1] == pytest.approx(1 / grid)


def test_numbers_without_arrays_are_no_error(tmp_path):
    with Store(tmp_path / "bare.db") as store:
        for seed in (1, 2):
            cell = Cell(Spec("p", "p"), Spec("a", "a"), seed, 10, 100)
            store.save(cell, Outcome("done", indicators={"igd": 0.1 * seed}))
        found = gather(store, summarize(store)).evidence["p", "a"]
    assert found.bands == {}
    assert found.front is None
    assert found.times.shape == (0, 8)
