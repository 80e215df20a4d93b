"""Problems of several tasks in campaigns: a row per task, whole cells only."""

import numpy as np
import pytest

from evogen.experiment import Campaign, Spec, Store, run_cell, summarize, whole_seeds
from evogen.problems import get_problem

FAST = {"seeds": 2, "n_eval": 600, "pop_size": 20}


def campaign(tmp_path, algorithms=("nsga2", "momfea"), problems=("cihs",), **changes):
    return Campaign(
        list(problems), list(algorithms), store=tmp_path / "runs.db", **(FAST | changes)
    )


def run(made):
    return made.run(jobs=0, progress=False)


def test_every_task_is_a_row_with_its_own_front_and_the_tasks_share_the_budget(tmp_path):
    made = campaign(tmp_path)
    assert run(made).n_done == 4
    with Store(made.store) as store:
        results = summarize(store)
        assert list(results.rows) == ["cihs T1", "cihs T2"]
        for row in results.rows.values():
            assert row.front is not None
            assert row.floor is not None
        cells = store.cells()
        assert len(cells) == 8
        for name, seed in {(cell.algorithm, cell.seed) for cell in cells}:
            spent = [c.n_eval for c in cells if (c.algorithm, c.seed) == (name, seed)]
            assert sum(spent) == 600
            assert name != "nsga2" or spent == [300, 300]
        curves = store.arrays(cells[0].key, "curves")
        assert curves["n_eval"][-1] == cells[0].n_eval
        assert curves["igd"][-1] == cells[0].igd


def test_indicators_are_those_of_the_final_populations(tmp_path):
    made = campaign(tmp_path, ["momfea"], seeds=1)
    run(made)
    problem = get_problem("cihs")
    with Store(made.store) as store:
        for cell, task in zip(store.cells(), problem.tasks, strict=True):
            arrays = store.arrays(cell.key, "result")
            np.testing.assert_allclose(task.evaluate(arrays["X"]), arrays["F"], rtol=1e-12)


def test_a_finished_campaign_is_not_run_again_and_labels_follow(tmp_path):
    run(campaign(tmp_path))
    again = run(campaign(tmp_path))
    assert (again.n_done, again.n_skipped) == (0, 4)
    renamed = campaign(tmp_path, [Spec("mine", "momfea"), "nsga2"])
    assert run(renamed).n_done == 0
    with Store(renamed.store) as store:
        assert {c.algorithm for c in store.cells()} == {"mine", "nsga2"}
        assert {c.problem for c in store.cells()} == {"cihs T1", "cihs T2"}


def test_keys_of_a_campaign_select_all_tasks(tmp_path):
    made = campaign(tmp_path)
    run(made)
    with Store(made.store) as store:
        chosen = summarize(store, keys={c.key for c in made.cells if c.algorithm.label == "nsga2"})
    assert chosen.algorithms == ["nsga2"]
    assert len(chosen.rows) == 2


class Refusing:
    """A set of two tasks of which the second cannot be evaluated."""

    def __init__(self):
        good, bad = get_problem("zdt1", n_var=5), get_problem("zdt2", n_var=5)
        bad._evaluate = self.fail
        self.tasks = (good, bad)

    @staticmethod
    def fail(*args, **kwargs):
        raise RuntimeError("no licence")


def test_a_task_that_raises_is_a_failed_row_and_the_others_are_kept(tmp_path):
    made = campaign(tmp_path, ["momfea"], [Spec("half", Refusing)], seeds=1)
    summary = run(made)
    assert len(summary.failed) == 1
    assert "no licence" in summary.failed[0][1]
    with Store(made.store) as store:
        status = {cell.problem: (cell.status, cell.error) for cell in store.cells()}
        assert store.statuses() == {made.cells[0].key: "failed"}
        # The task that was solved does not make the cell a finished one.
        assert whole_seeds(store, made.cells) == (set(), 0)
    assert status["half T1"][0] == "done"
    assert status["half T2"] == ("failed", "RuntimeError: no licence")
    # Asked to, it is run again, in the place of the old rows.
    assert len(made.run(jobs=0, progress=False, retry_failed=True).failed) == 1
    with Store(made.store) as store:
        assert len(store.cells()) == 2


def test_the_same_cell_gives_the_same_rows(tmp_path):
    cell = campaign(tmp_path, ["emtgs"], seeds=1).cells[0]
    first, second = run_cell(cell), run_cell(cell)
    for a, b in zip(first.tasks, second.tasks, strict=True):
        np.testing.assert_array_equal(a.arrays["result"]["X"], b.arrays["result"]["X"])


def test_unknown_names_settings_and_small_budgets_are_refused_before_anything_runs(tmp_path):
    with pytest.raises(ValueError, match="unknown algorithm for several tasks 'spea9'"):
        campaign(tmp_path, ["spea9"])
    with pytest.raises(TypeError, match="no setting 'rpm'; did you mean rmp"):
        campaign(tmp_path, [Spec("m", "momfea", {"rpm": 0.1})])
    with pytest.raises(ValueError, match="smaller than the initial populations"):
        campaign(tmp_path, n_eval=30)
    with pytest.raises(ValueError, match="unknown algorithm 'momfea'"):
        campaign(tmp_path, ["momfea"], ["zdt1"])
