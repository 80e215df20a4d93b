import csv

import numpy as np
import pytest

from evogen.cli import main

SMALL = ["--evals", "120", "--pop-size", "20", "--n-var", "3", "-q"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run.db"
    assert main(["run", "zdt1", "-a", "nsga2", *SMALL, "--save", str(path)]) == 0
    return str(path)


def complains(capsys, *arguments):
    """Run a command that must fail; its one line on stderr."""
    assert main([*arguments]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_a_saved_run_answers_and_saves_the_answers(saved, capsys, tmp_path):
    out = tmp_path / "asked.csv"
    assert (
        main(["ask", saved, "--near", "0.3,0.9", "-n", "3", "--evaluate", "--out", str(out)]) == 0
    )
    text = capsys.readouterr().out
    assert "learned from 120 points (all its points)" in text
    assert "f2 predicted" in text
    with out.open() as file:
        header, *rows = list(csv.reader(file))
    assert header[:5] == ["x1", "x2", "x3", "f1_predicted", "f2_predicted"]
    assert header[-4:] == ["f1", "f2", "attainable", "cv"]
    assert len(rows) == 3
    # What is printed as true is what the problem gives.
    f1 = [float(row[header.index("f1")]) for row in rows]
    assert f1 == pytest.approx([float(row[0]) for row in rows])


@pytest.mark.parametrize(
    "wish",
    [
        ["--prefer", "0.7,0.3"],
        ["--bound", "f1=0.1:0.5", "--bound", "f2=:1.5"],
        ["--between", "0,1"],
        ["--near=-0.5,0.5"],
        [],
    ],
)
def test_every_kind_of_wish_is_understood(saved, capsys, tmp_path, wish):
    out = tmp_path / "asked.npz"
    assert main(["ask", saved, *wish, "-n", "2", "--out", str(out)]) == 0
    with np.load(out, allow_pickle=False) as file:
        assert set(file.files) == {"X", "F_predicted", "expected_error", "target", "attainable"}
        assert file["X"].shape == (2, 3)


def test_the_solutions_are_listed_with_their_numbers(saved, capsys):
    assert main(["ask", saved, "--list"]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert [int(line.split()[0]) for line in lines] == list(range(len(lines)))
    assert len(lines) > 1


def test_the_same_command_gives_the_same_designs(saved, capsys):
    texts = []
    for _ in range(2):
        assert main(["ask", saved, "--near", "0.3,0.9", "-n", "3"]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]


def test_a_saved_run_is_a_store_that_can_be_reported(saved, capsys, tmp_path):
    assert main(["report", saved, "--out", str(tmp_path / "rep")]) == 0
    assert "zdt1" in (tmp_path / "rep" / "table.md").read_text()


def test_a_campaigns_store_answers_from_its_final_populations(capsys, tmp_path):
    store = str(tmp_path / "runs.db")
    command = ["bench", "zdt1", "zdt2", "-a", "nsga2", *SMALL, "--jobs", "0", "--seeds", "2"]
    assert main([*command, "--store", store]) == 0
    capsys.readouterr()
    line = complains(capsys, "ask", store, "--near", "0.3,0.9")
    assert "holds 4 runs that fit; choose one by problem, algorithm and seed" in line
    assert "problems zdt1, zdt2" in line
    chosen = ["--problem", "zdt2", "--run-seed", "2"]
    assert main(["ask", store, *chosen, "--near", "0.3,0.9"]) == 0
    out = capsys.readouterr().out
    assert "zdt2, nsga2, seed 2" in out
    assert "its final population, all that the store holds" in out
    assert "no run with problem zdt9" in complains(capsys, "ask", store, "--problem", "zdt9")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.db", "--near", "1,2"], "there is no store none.db"),
        (["{saved}", "--near", "1,2,3"], "must be 2 finite numbers"),
        (["{saved}", "--between", "0,900"], "no 900"),
        (["{saved}", "--bound", "f7=0:1"], "'f7'"),
        (["{saved}", "-n", "0"], "n=0 must be at least 1"),
        (["{saved}", "--near", "1,2", "--out", "a.txt"], "must end in .npz or .csv"),
    ],
)
def test_bad_questions_are_answered_in_one_line(saved, capsys, arguments, words):
    line = complains(capsys, "ask", *(a.format(saved=saved) for a in arguments))
    assert line.startswith("evogen: ")
    assert words in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--near", "a,b"], "is not numbers"),
        (["--bound", "f1"], "is no bound such as"),
        (["--between", "1"], "is not two row numbers"),
        (["--near", "1,2", "--prefer", "1,2"], "not allowed with"),
    ],
)
def test_what_cannot_be_read_is_refused_by_the_parser(saved, capsys, arguments, words):
    with pytest.raises(SystemExit) as end:
        main(["ask", saved, *arguments])
    assert end.value.code == 2
    assert words in capsys.readouterr().err


def test_what_is_no_store_is_refused_before_the_run(capsys, tmp_path):
    notes = tmp_path / "notes.txt"
    notes.write_text("these are notes, and no store at all")
    assert "is no store" in complains(
        capsys, "run", "zdt1", "-a", "nsga2", *SMALL, "--save", str(notes)
    )
