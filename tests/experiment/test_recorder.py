import time

import numpy as np
import pytest
from pymoo.algorithms.moo.moead import MOEAD
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.problems.multi import BNH, ZDT1
from pymoo.util.ref_dirs import get_reference_directions

from evogen.experiment import Recorder, Reference, minimize, nondominated


def recorded(n_gen, *, problem=None, algorithm=None, **settings):
    problem = problem or ZDT1(n_var=4)
    recorder = Recorder(Reference.of(problem), **settings)
    algorithm = algorithm or NSGA2(pop_size=8)
    res = minimize(problem, algorithm, ("n_gen", n_gen), seed=1, callback=recorder)
    recorder.record(res.algorithm)
    return recorder, res


def test_every_generation_is_recorded_with_its_evaluations():
    recorder, res = recorded(12)
    curves = recorder.curves()
    assert curves["n_eval"].tolist() == list(range(8, 97, 8))
    front = nondominated(res.pop.get("F"))
    last = Reference.of(res.problem).measure(front)
    assert {name: curves[name][-1] for name in last} == last
    assert np.isnan(curves["share"]).all()


@pytest.mark.parametrize("n_gen", [9, 10, 11, 12, 13, 40, 41, 163])
def test_long_runs_are_thinned_evenly_and_keep_both_ends(n_gen):
    recorder, _ = recorded(n_gen, max_records=10)
    n_eval = recorder.curves()["n_eval"]
    assert len(n_eval) <= 11
    assert n_eval[0] == 8
    assert n_eval[-1] == 8 * n_gen
    assert np.unique(np.diff(n_eval)[:-1]).size == 1
    if n_gen > 10:
        assert len(n_eval) >= 5


def test_recording_does_not_change_the_run():
    _, res = recorded(10)
    assert np.array_equal(
        res.F, minimize(ZDT1(n_var=4), NSGA2(pop_size=8), ("n_gen", 10), seed=1).F
    )


def test_moead_is_recorded_once_a_generation():
    ref_dirs = get_reference_directions("das-dennis", 2, n_partitions=7)
    recorder, _ = recorded(5, algorithm=MOEAD(ref_dirs, n_neighbors=3))
    assert recorder.curves()["n_eval"].tolist() == [8, 16, 24, 32, 40]


def test_constrained_runs_without_a_feasible_point_have_infinite_igd():
    class Impossible(BNH):
        def _evaluate(self, x, out, *args, **kwargs):
            super()._evaluate(x, out)
            out["G"] = out["G"] * 0 + 1.0

    recorder, _ = recorded(3, problem=Impossible())
    assert np.isinf(recorder.curves()["igd"]).all()
    assert (recorder.curves()["hv"] == 0).all()


def test_the_share_of_a_generative_mating_is_recorded():
    from evogen.models import GaussianMixture
    from evogen.operators import GenerativeMating

    mating = GenerativeMating(GaussianMixture(n_components=1), share=1.0)
    recorder, _ = recorded(4, algorithm=NSGA2(pop_size=8, mating=mating))
    share = recorder.curves()["share"]
    assert np.isnan(share[0])
    assert (share[1:] > 0.5).all()


def test_the_recorders_own_seconds_are_not_the_algorithms():
    class Sluggish(Reference):
        def measure(self, f):
            end = time.process_time() + 0.02
            while time.process_time() < end:
                pass
            return super().measure(f)

    recorder = Recorder(Sluggish.of(ZDT1(n_var=4)))
    minimize(ZDT1(n_var=4), NSGA2(pop_size=8), ("n_gen", 10), seed=1, callback=recorder)
    assert recorder.overhead >= 0.2
    assert recorder.curves()["seconds"][-1] < recorder.overhead
    assert (np.diff(recorder.curves()["seconds"]) >= 0).all()


def test_too_few_records_are_refused():
    with pytest.raises(ValueError, match="max_records=1"):
        Recorder(Reference(2), max_records=1)
