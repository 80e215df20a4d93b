"""Several tasks, stopped anywhere and continued: bit for bit one run."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from pymoo.problems.multi import BNH, ZDT1, ZDT2

from evogen.algorithms import MOMFEA, SideBySide
from evogen.algorithms.multitask_catalog import get_multitask_algorithm, list_multitask_algorithms
from evogen.experiment.checkpoint import CheckpointError
from evogen.experiment.multitask_run import minimize_multitask


class PowerCut(BaseException):
    """Not an Exception: the loop gives up a task that raises one, and goes on."""


class Fragile(ZDT1):
    def __init__(self, limit=math.inf):
        super().__init__(n_var=4)
        self.limit, self.n_asked = limit, 0

    def _evaluate(self, x, out, *args, **kwargs):
        self.n_asked += len(x)
        if self.n_asked > self.limit:
            raise PowerCut
        super()._evaluate(x, out)


def solve(make, path, limit=math.inf, **settings):
    settings = {"seed": 2} | settings
    # Of the same size and with descriptors, for methods that need a family.
    family = SimpleNamespace(tasks=[Fragile(limit), ZDT2(n_var=4)], descriptors=[0.0, 1.0])
    return minimize_multitask(
        family, make(), ("n_eval", 160), checkpoint=path, checkpoint_every=1, **settings
    )


def check(make, path):
    whole = solve(make, None)
    for limit in (25, 30):
        with pytest.raises(PowerCut):
            solve(make, path, limit)
    parts = solve(make, path)
    assert (whole.n_eval, whole.n_gen) == (parts.n_eval, parts.n_gen)
    for a, b in zip(whole.tasks, parts.tasks, strict=True):
        assert np.array_equal(a.X, b.X)
        assert np.array_equal(a.F, b.F)
        assert np.array_equal(a.pop.get("X"), b.pop.get("X"))


@pytest.mark.parametrize("name", list_multitask_algorithms())
def test_a_run_in_parts_is_bit_for_bit_one_run(name, tmp_path):
    tasks = [ZDT1(n_var=4), ZDT2(n_var=5)]
    check(lambda: get_multitask_algorithm(name, tasks, pop_size=10), tmp_path / "c")


@pytest.mark.parametrize("name", ["nsga2", "nsga3", "moead", "spea2", "nsga2-gaussian"])
def test_algorithms_that_are_built_in_the_run_are_kept(name, tmp_path):
    check(lambda: SideBySide(name, pop_size=10), tmp_path / "c")


def test_a_finished_run_and_a_task_given_up_are_kept(tmp_path):
    class Failing(BNH):
        def _evaluate(self, x, out, *args, **kwargs):
            raise RuntimeError("no such simulator")

    def run():
        tasks = [ZDT1(n_var=4), Failing()]
        path = tmp_path / "c"
        return minimize_multitask(tasks, MOMFEA(10), ("n_eval", 60), seed=1, checkpoint=path)

    first, again = run(), run()
    assert first.tasks[1].message == again.tasks[1].message == "RuntimeError: no such simulator"
    assert np.array_equal(first.tasks[0].F, again.tasks[0].F)


def test_another_run_is_refused(tmp_path):
    make = lambda: MOMFEA(10)  # noqa: E731
    solve(make, tmp_path / "c")
    with pytest.raises(CheckpointError, match="pop_size is 10 in the checkpoint, 12 now"):
        solve(lambda: MOMFEA(12), tmp_path / "c")
    with pytest.raises(CheckpointError, match="random_state"):
        solve(make, tmp_path / "c", seed=3)
    with pytest.raises(CheckpointError, match="budget is None in the checkpoint, 30 now"):
        solve(make, tmp_path / "c", budgets=[30, None])
