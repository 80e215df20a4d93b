import csv
import sys

import numpy as np
import pytest
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem
from pymoo.problems.multi import BNH, ZDT1

from evogen.experiment import minimize
from evogen.experiment.export import check_export_path, save_solutions
from evogen.experiment.targets import check_writable, prepare_folder


@pytest.fixture(scope="module")
def constrained():
    return minimize(BNH(), NSGA2(pop_size=12), ("n_gen", 4), seed=1)


def test_npz_holds_solutions_and_constraints(constrained, tmp_path):
    save_solutions(constrained, tmp_path / "r.npz")
    with np.load(tmp_path / "r.npz", allow_pickle=False) as saved:
        assert set(saved.files) == {"X", "F", "G", "CV"}
        assert np.array_equal(saved["X"], constrained.X)
        assert np.array_equal(saved["F"], constrained.F)


def test_csv_reads_back_without_loss(constrained, tmp_path):
    save_solutions(constrained, tmp_path / "r.csv")
    with (tmp_path / "r.csv").open() as file:
        header, *lines = list(csv.reader(file))
    assert header == ["x1", "x2", "f1", "f2", "g1", "g2"]
    values = np.array(lines, dtype=float)
    assert np.array_equal(values, np.hstack([constrained.X, constrained.F, constrained.G]))


def test_a_problem_without_constraints_has_no_columns_for_them(tmp_path):
    res = minimize(ZDT1(n_var=2), NSGA2(pop_size=8), ("n_gen", 2), seed=1)
    save_solutions(res, tmp_path / "r.csv")
    assert (tmp_path / "r.csv").read_text().splitlines()[0] == "x1,x2,f1,f2"


def test_one_solution_of_one_objective_is_one_line(tmp_path):
    res = minimize("sphere", "ga", ("n_gen", 2), seed=1, pop_size=8)
    save_solutions(res, tmp_path / "r.csv")
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 2


def test_impossible_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="must end in"):
        check_export_path(tmp_path / "r.xlsx")
    with pytest.raises(FileNotFoundError, match="no folder"):
        check_export_path(tmp_path / "nowhere" / "r.csv")


class Impossible(Problem):
    """No point is feasible; some have objectives that are not finite."""

    def __init__(self):
        super().__init__(n_var=2, n_obj=2, n_ieq_constr=1, xl=0.0, xu=1.0)

    def _evaluate(self, x, out, *args, **kwargs):
        out["F"] = np.where(x[:, [1]] > 0.5, np.nan, x)
        out["G"] = 1 + x[:, :1]


def test_a_run_without_a_feasible_solution_saves_its_population_least_violation_first(tmp_path):
    res = minimize(Impossible(), NSGA2(pop_size=12), ("n_gen", 1), seed=1)
    assert res.X is None
    for name in ("r.csv", "r.npz"):
        save_solutions(res, tmp_path / name)
    with np.load(tmp_path / "r.npz", allow_pickle=False) as file:
        saved = dict(file)
    assert saved["X"].shape == (12, 2)
    assert np.all(np.diff(saved["CV"][:, 0]) >= 0)
    lost = saved["X"][:, 1] > 0.5
    assert 0 < lost.sum() < 12
    assert np.isnan(saved["F"][lost]).all()
    assert np.isnan(saved["G"][lost]).all()
    assert np.array_equal(saved["F"][~lost], saved["X"][~lost])
    assert np.array_equal(saved["CV"][~lost], saved["G"][~lost])
    with (tmp_path / "r.csv").open() as file:
        header, *lines = list(csv.reader(file))
    assert header == ["x1", "x2", "f1", "f2", "g1", "cv1"]
    together = np.hstack([saved[name] for name in ("X", "F", "G", "CV")])
    assert np.array_equal(np.array(lines, dtype=float), together, equal_nan=True)


def test_asking_whether_a_file_can_be_written_changes_nothing(tmp_path):
    old = tmp_path / "old.csv"
    old.write_text("kept")
    check_writable(old)
    check_writable(tmp_path / "new.csv")
    assert prepare_folder(tmp_path / "a" / "b").is_dir()
    assert old.read_text() == "kept"
    assert {path.name for path in tmp_path.rglob("*")} == {"old.csv", "a", "b"}


def test_what_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot be written: Is a directory"):
        check_writable(tmp_path)
    with pytest.raises(OSError, match=r"the folder .*file cannot be written: File exists"):
        prepare_folder(tmp_path / "file")
    with pytest.raises(OSError, match=r"the folder .* cannot be written: Not a directory"):
        prepare_folder(tmp_path / "file" / "below")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="uses /proc")
def test_a_file_system_that_takes_no_files_is_noticed():
    # Not even root can write there, whatever the permissions say.
    with pytest.raises(OSError, match=r"/proc/x.csv cannot be written"):
        check_export_path("/proc/x.csv")
    with pytest.raises(OSError, match="/proc cannot be written"):
        prepare_folder("/proc")


def test_mixed_variables_go_to_csv_only(tmp_path):
    from pymoo.core.variable import Real

    problem = Problem(vars={"a": Real(bounds=(0, 1))}, n_obj=1)
    with pytest.raises(ValueError, match=r"mixed variables cannot be written to r.npz; use .csv"):
        check_export_path(tmp_path / "r.npz", problem)
    assert check_export_path(tmp_path / "r.csv", problem) == tmp_path / "r.csv"
