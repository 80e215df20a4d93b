import csv

import numpy as np
import pytest
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.problems.multi import BNH, ZDT1

from evogen.experiment import minimize
from evogen.experiment.export import check_export_path, save_solutions


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
