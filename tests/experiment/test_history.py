"""The light history: populations and fronts as indices into the evaluated points."""

import numpy as np
import pytest
from pymoo.algorithms.moo.moead import MOEAD
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.algorithms.moo.spea2 import SPEA2
from pymoo.core.mixed import MixedVariableGA
from pymoo.core.problem import ElementwiseProblem
from pymoo.core.variable import Integer, Real
from pymoo.problems.multi import BNH, ZDT1
from pymoo.util.ref_dirs import get_reference_directions

from evogen.experiment import Cell, Recorder, Reference, Spec, minimize
from evogen.experiment.evaluations import Evaluations
from evogen.experiment.history import LightHistory
from evogen.experiment.saved import load_run, save_run

DIRECTIONS = get_reference_directions("das-dennis", 2, n_partitions=9)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: NSGA2(pop_size=10), ZDT1(n_var=4)),
        (lambda: SPEA2(pop_size=10), BNH()),
        (lambda: MOEAD(DIRECTIONS, n_neighbors=4), ZDT1(n_var=4)),
    ],
    ids=["NSGA2", "SPEA2", "MOEAD"],
)
def test_it_is_what_the_full_history_says(make, problem):
    res = minimize(problem, make(), ("n_gen", 6), seed=1, save_history="light")
    full = minimize(problem, make(), ("n_gen", 6), seed=1, save_history=True)
    light = res.light_history
    assert len(light) == len(full.history) == 6
    assert light.n_eval.tolist() == [a.evaluator.n_eval for a in full.history]
    for g, past in enumerate(full.history):
        for name in ("X", "F"):
            assert np.array_equal(getattr(light.population(g), name), past.pop.get(name))
            assert np.array_equal(getattr(light.front(g), name), past.opt.get(name))
    assert np.array_equal(light.population(-1).F, res.pop.get("F"))
    assert res.history == []


def test_it_takes_megabytes_where_copies_take_gigabytes():
    res = minimize(ZDT1(), NSGA2(pop_size=20), ("n_gen", 10), seed=1, save_history="light")
    points = 200 * (30 + 2) * 8
    assert res.light_history.nbytes() < points + 10 * 2 * 20 * 4 + 500


def test_points_with_non_finite_values_are_left_out():
    class Sick(ZDT1):
        def _evaluate(self, x, out, *args, **kwargs):
            super()._evaluate(x, out)
            out["F"][x[:, 0] > 0.5] = np.nan

    res = minimize(Sick(n_var=4), NSGA2(pop_size=20), ("n_gen", 4), seed=1, save_history="light")
    first = res.light_history.population(0)
    assert 0 < len(first) < 20
    assert (first.X[:, 0] <= 0.5).all()


def test_mixed_variables_have_a_history():
    class Mixed(ElementwiseProblem):
        def __init__(self):
            super().__init__(vars={"a": Real(bounds=(0, 1)), "b": Integer(bounds=(0, 9))}, n_obj=1)

        def _evaluate(self, x, out, *args, **kwargs):
            out["F"] = x["a"] + x["b"]

    res = minimize(Mixed(), MixedVariableGA(pop_size=8), ("n_gen", 4), seed=1, save_history="light")
    assert list(res.light_history.population(-1).X) == list(res.pop.get("X"))


def test_it_is_saved_with_the_run_and_read_back(tmp_path):
    problem = ZDT1(n_var=4)
    recorder = Recorder(Reference.of(problem))
    res = minimize(
        problem, NSGA2(pop_size=8), ("n_gen", 5), seed=1, save_history="light", callback=recorder
    )
    cell = Cell(Spec("zdt1", "zdt1", {"n_var": 4}), Spec("nsga2", "nsga2"), 1, 8, 40)
    save_run(res, cell, recorder, tmp_path / "run.db")
    history = load_run(tmp_path / "run.db").history
    assert len(history) == 5
    for g in range(5):
        assert np.array_equal(history.population(g).X, res.light_history.population(g).X)
        assert np.array_equal(history.front(g).F, res.light_history.front(g).F)


def test_a_run_saved_without_one_has_none(tmp_path):
    problem = ZDT1(n_var=4)
    recorder = Recorder(Reference.of(problem))
    res = minimize(problem, NSGA2(pop_size=8), ("n_gen", 2), seed=1, callback=recorder)
    assert res.light_history is None
    cell = Cell(Spec("zdt1", "zdt1", {"n_var": 4}), Spec("nsga2", "nsga2"), 1, 8, 16)
    save_run(res, cell, recorder, tmp_path / "run.db")
    assert load_run(tmp_path / "run.db").history is None


def test_bad_wishes_are_refused():
    problem = ZDT1(n_var=4)
    for wish in ("heavy", 3):
        with pytest.raises(ValueError, match="save_history"):
            minimize(problem, NSGA2(pop_size=8), ("n_gen", 2), save_history=wish)
    with pytest.raises(ValueError, match="needs keep_evaluations=True"):
        minimize(
            problem, NSGA2(pop_size=8), ("n_gen", 2), save_history="light", keep_evaluations=False
        )


def test_arrays_that_do_not_belong_together_are_refused():
    points = Evaluations(np.zeros((3, 2)), np.zeros((3, 2)))
    good = {
        "population": np.array([0, 2]),
        "population_sizes": np.array([1, 1]),
        "front": np.array([1]),
        "front_sizes": np.array([0, 1]),
        "n_eval": np.array([2, 3]),
    }
    history = LightHistory(points, good)
    assert history.rows(1).tolist() == [2]
    assert len(history.front(0)) == 0
    for generation in (2, -3):
        with pytest.raises(IndexError, match="there are 2"):
            history.population(generation)
    for name, bad in (("population", [0, 3]), ("front_sizes", [1, 1]), ("n_eval", [1])):
        with pytest.raises(ValueError, match="do not belong together"):
            LightHistory(points, good | {name: np.array(bad)})


def test_points_that_come_one_by_one_are_kept_in_few_arrays():
    from pymoo.core.evaluator import Evaluator
    from pymoo.core.individual import Individual

    from evogen.experiment.evaluations import RecordingEvaluator

    recording, problem = RecordingEvaluator(Evaluator()), ZDT1(n_var=3)
    x = np.random.default_rng(0).random((300, 3))
    for k, row in enumerate(x):
        recording.eval(problem, Individual(X=row))
        if k == 150:
            before = [chunk["X"].copy() for chunk in recording.chunks]
            kept = list(recording.chunks)
    assert len(recording.chunks) <= 64 + 9
    assert np.array_equal(recording.evaluations().X, x)
    for n in (0, 1, 150, 299, 300):
        assert np.array_equal(recording.since(n)[0], x[n:])
    assert all(np.array_equal(a, b["X"]) for a, b in zip(before, kept, strict=True))
