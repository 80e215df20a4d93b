"""`evogen report`, `evogen compare` and the multitask names on the command line."""

import pytest

from evogen.cli import main


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    path = folder / "runs.db"
    arguments = ["--seeds", "2", "--evals", "400", "--pop-size", "20", "--jobs", "0", "-q"]
    assert main(["bench", "cihs", "-a", "nsga2,momfea,pact", *arguments, "--store", str(path)]) == 0
    return path


def test_a_problem_of_several_tasks_is_benched_and_reported(store, tmp_path, capsys):
    out = tmp_path / "report"
    assert main(["report", str(store), "--out", str(out), "--no-html"]) == 0
    shown = capsys.readouterr().out
    assert "cihs T1" in shown
    assert "cihs T2" in shown
    assert (out / "tables.tex").exists()
    assert not (out / "index.html").exists()
    assert len((out / "cells.csv").read_text().splitlines()) == 1 + 2 * 2 * 3


def test_a_store_compared_with_its_own_export_is_identical(store, tmp_path, capsys):
    copied = tmp_path / "copy.db"
    assert main(["export", str(store), "--out", str(tmp_path / "files"), "--format", "csv"]) == 0
    assert main(["import", str(tmp_path / "files"), "--store", str(copied)]) == 0
    out = tmp_path / "comparison"
    assert main(["compare", str(store), str(copied), "--out", str(out)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| cihs T")]
    assert any("| 2 | 2 | 2 | 2 |" in line for line in lines)
    assert (out / "comparison.md").exists()


def test_a_store_that_is_not_there_is_named(tmp_path, capsys):
    assert main(["compare", str(tmp_path / "a.db"), str(tmp_path / "b.db")]) == 2
    assert "a.db" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["report", "runs.db", "--formats", "gif"])


def test_algorithms_and_suites_for_several_tasks_are_listed(capsys):
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    assert "pact " in shown
    assert "cec17-mtmo " in shown
