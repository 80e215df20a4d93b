import os
import warnings

import numpy as np
import pytest
from pymoo.problems.multi.zdt import ZDT1

from evogen.cli import main
from evogen.experiment import Campaign, Spec, Store, read_plan
from evogen.experiment.cell_checkpoints import CellCheckpoints
from evogen.problems import get_problem

SMALL = {"pop_size": 20, "n_eval": 600, "seeds": 1}


class Power:
    """Cuts the power, as a Ctrl-C in the n-th evaluation that one of the problems makes."""

    def __init__(self, monkeypatch, cls, n):
        self.left, self.made = n, 0
        evaluate = cls._evaluate

        def counted(problem, x, out, *args, **kwargs):
            self.left -= 1
            self.made += len(x)
            if self.left == 0:
                raise KeyboardInterrupt
            evaluate(problem, x, out, *args, **kwargs)

        monkeypatch.setattr(cls, "_evaluate", counted)


def contents(path):
    """All that a store holds of its cells but seconds."""
    with Store(path) as store:
        found = {}
        for cell in store.cells():
            arrays = {
                f"{name} {k}": v
                for name in ("result", "curves")
                for k, v in store.arrays(cell.key, name).items()
                if k != "seconds"
            }
            found[cell.key] = (cell.status, cell.n_eval, cell.igd, cell.hv, arrays)
        return found


def assert_same(a, b):
    assert a.keys() == b.keys()
    for key in a:
        assert a[key][:-1] == b[key][:-1]
        assert a[key][-1].keys() == b[key][-1].keys()
        for name, values in a[key][-1].items():
            np.testing.assert_array_equal(values, b[key][-1][name], err_msg=name)


@pytest.mark.parametrize(
    ("problem", "algorithm", "cls"),
    [
        ("zdt1", "nsga2", ZDT1),
        ("zdt1", "nsga2-denoise", ZDT1),
        ("cihs", "pact", type(get_problem("cihs").tasks[0])),
    ],
)
def test_a_cell_that_was_stopped_goes_on_to_the_same_result(
    tmp_path, monkeypatch, problem, algorithm, cls
):
    undisturbed, stopped = tmp_path / "a.db", tmp_path / "b.db"
    Campaign([problem], [algorithm], store=undisturbed, **SMALL).run(jobs=0, progress=False)

    campaign = Campaign([problem], [algorithm], store=stopped, **SMALL)
    how = {"jobs": 0, "progress": False, "checkpoint_every": 1e-9}
    with monkeypatch.context() as patch:
        Power(patch, cls, 18)
        with pytest.raises(KeyboardInterrupt):
            campaign.run(**how)
    assert contents(stopped) == {}
    (folder,) = tmp_path.glob("b.db.*running")
    assert any(path.name == f"{campaign.cells[0].key}.ckpt" for path in folder.iterdir())
    with monkeypatch.context() as patch:
        power = Power(patch, cls, -1)
        assert campaign.run(**how).n_done == 1
    # Part of the work was done before.
    assert 0 < power.made < 600
    assert_same(contents(undisturbed), contents(stopped))
    assert not folder.exists()


def test_seconds_before_the_stop_count(tmp_path, monkeypatch):
    campaign = Campaign(["zdt1"], ["nsga2"], store=tmp_path / "a.db", **SMALL)
    how = {"jobs": 0, "progress": False, "checkpoint_every": 1e-9}
    with monkeypatch.context() as patch:
        Power(patch, ZDT1, 25)
        with pytest.raises(KeyboardInterrupt):
            campaign.run(**how)
    campaign.run(**how)
    with Store(campaign.store) as store:
        (cell,) = store.cells()
        seconds = store.arrays(cell.key, "curves")["seconds"]
    assert (np.diff(seconds) >= 0).all()
    assert cell.cpu_seconds >= seconds[-1] > 0


def test_a_damaged_checkpoint_costs_the_work_and_nothing_else(tmp_path):
    campaign = Campaign(["zdt1"], ["nsga2"], store=tmp_path / "a.db", **SMALL)
    kept = CellCheckpoints.beside(campaign.store, 60.0)
    kept.settings("other")
    (kept.folder / f"{campaign.cells[0].key}.ckpt").write_bytes(b"nonsense")
    (kept.folder / "other.ckpt").write_bytes(b"of another campaign")
    assert campaign.run(jobs=0, progress=False, checkpoint_every=60).n_done == 1
    with Store(campaign.store) as store:
        (cell,) = store.cells()
    assert any("keeps no checkpoint" in text for text in cell.warnings)
    Campaign(["zdt1"], ["nsga2"], store=tmp_path / "b.db", **SMALL).run(jobs=0, progress=False)
    assert_same(contents(tmp_path / "a.db"), contents(tmp_path / "b.db"))
    assert [path.name for path in kept.folder.iterdir()] == ["other.ckpt"]


def test_an_algorithm_that_cannot_be_continued_runs_without(tmp_path):
    campaign = Campaign([Spec("sphere", sphere)], [Spec("cmaes", cmaes)], store=tmp_path / "a.db",
                        pop_size=8, n_eval=40, seeds=1)  # fmt: skip
    assert campaign.run(jobs=0, progress=False, checkpoint_every=60).n_done == 1
    with Store(campaign.store) as store:
        (cell,) = store.cells()
    assert any("keeps no checkpoint" in text for text in cell.warnings)
    assert not list(tmp_path.glob("*running"))


def sphere():
    from pymoo.problems.single import Sphere

    return Sphere(n_var=3)


def cmaes(problem, pop_size):
    from pymoo.algorithms.soo.nonconvex.cmaes import CMAES

    return CMAES(popsize=pop_size)


def test_a_cell_that_raises_leaves_nothing_behind(tmp_path, monkeypatch):
    campaign = Campaign(["zdt1"], ["nsga2"], store=tmp_path / "a.db", **SMALL)
    evaluate, calls = ZDT1._evaluate, []

    def fails(problem, x, out, *args, **kwargs):
        calls.append(1)
        if len(calls) > 10:
            raise ArithmeticError("broken")
        evaluate(problem, x, out, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(ZDT1, "_evaluate", fails)
        campaign.run(jobs=0, progress=False, checkpoint_every=1e-9)
    assert not list(tmp_path.glob("*running"))
    assert campaign.run(jobs=0, progress=False, retry_failed=True).n_done == 1


def test_where_no_folder_can_be_made_the_cell_runs_without(tmp_path):
    campaign = Campaign(["zdt1"], ["nsga2"], store=tmp_path / "a.db", **SMALL)
    (tmp_path / "a.db.running").write_text("a file in its place")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert campaign.run(jobs=0, progress=False, checkpoint_every=60).n_done == 1
    assert os.listdir(tmp_path).count("a.db.running") == 1


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0, ValueError, "checkpoint_every=0 must be a positive number"),
        (float("nan"), ValueError, "checkpoint_every=nan must be"),
        ("60", TypeError, "checkpoint_every='60' must be a number"),
        (True, TypeError, "checkpoint_every=True must be a number"),
    ],
)
def test_impossible_intervals_are_refused(tmp_path, value, error, text):
    campaign = Campaign(["zdt1"], ["nsga2"], store=tmp_path / "a.db", **SMALL)
    with pytest.raises(error, match=text):
        campaign.run(checkpoint_every=value)
    assert not (tmp_path / "a.db").exists()


def test_file_and_command_line_pass_it_on(tmp_path, monkeypatch):
    plan = tmp_path / "c.toml"
    plan.write_text(
        'problems = ["zdt1"]\nalgorithms = ["nsga2"]\n[run]\ncheckpoint_every = 5\n',
        encoding="utf-8",
    )
    assert read_plan(plan).run_settings()["checkpoint_every"] == 5
    given = []
    monkeypatch.setattr(Campaign, "run", lambda self, **how: given.append(how))
    store = str(tmp_path / "a.db")
    main(["bench", "zdt1", "-a", "nsga2", "--store", store, "--checkpoint-every", "7"])
    assert given[0]["checkpoint_every"] == 7.0
