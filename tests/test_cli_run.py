"""`evogen run` with budgets, checkpoints and a history; `evogen animate`."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from evogen.cli import main

SMALL = ["--pop-size", "10", "--n-var", "4", "-q"]
RUN = ["run", "zdt1", "-a", "nsga2", *SMALL]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def complains(capsys, *arguments):
    assert main([*arguments]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_an_exact_budget(capsys):
    assert main([*RUN, "--evals", "37"]) == 0
    assert "after 40 evaluations" in capsys.readouterr().out
    assert main([*RUN, "--evals", "37", "--exact"]) == 0
    assert "after 37 evaluations; cut its last batch from 10 to 7" in capsys.readouterr().out


def test_targets_and_seconds_end_a_run(capsys):
    assert main([*RUN, "--target", "igd=0.5", "--target", "hv=0.1"]) == 0
    reached = int(capsys.readouterr().out.split("after ")[1].split()[0])
    assert 10 < reached < 5000
    assert main([*RUN, "--target", "igd=0.001", "--evals", "30"]) == 0
    assert "after 30 evaluations" in capsys.readouterr().out
    assert main([*RUN, "--seconds", "0.05"]) == 0
    assert main([*RUN, "--seconds", "1000", "--evals", "30"]) == 0
    assert "after 30 evaluations" in capsys.readouterr().out.splitlines()[-6]


def test_a_finished_checkpoint_is_shown_again_without_work(capsys):
    command = [*RUN, "--evals", "60", "--checkpoint", "run.ckpt", "--out"]
    assert main([*command, "a.npz"]) == 0
    first = capsys.readouterr()
    assert main([*command, "b.npz"]) == 0
    again = capsys.readouterr()
    assert first.err == ""
    assert again.err == "continued run.ckpt at 60 evaluations\n"
    assert first.out.splitlines()[:4] == again.out.splitlines()[:4]
    assert np.array_equal(np.load("a.npz")["X"], np.load("b.npz")["X"])


def test_another_run_is_refused_in_one_line(capsys):
    assert main([*RUN, "--evals", "60", "--checkpoint", "run.ckpt"]) == 0
    capsys.readouterr()
    line = complains(capsys, *RUN, "--evals", "60", "--checkpoint", "run.ckpt", "--seed", "2")
    assert "algorithm.seed is 1 in the checkpoint, 2 now" in line


def test_a_killed_command_is_continued_by_the_same_command(capsys, tmp_path):
    more = ["--evals", "1000", "--checkpoint", "run.ckpt", "--checkpoint-every", "0.01"]
    command = [*RUN, *more, "--save", "run.db", "--save-history", "light"]
    child = subprocess.Popen([sys.executable, "-m", "evogen.cli", *command], env=os.environ)
    path, deadline = tmp_path / "run.ckpt.1", time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert main([*command, "--out", "parts.npz"]) == 0
    assert capsys.readouterr().err.startswith("continued run.ckpt at ")
    whole = [*RUN, "--evals", "1000", "--save", "whole.db", "--save-history", "light"]
    assert main([*whole, "--out", "whole.npz"]) == 0
    assert np.array_equal(np.load("parts.npz")["X"], np.load("whole.npz")["X"])
    from evogen.experiment.saved import load_run

    a, b = load_run("run.db"), load_run("whole.db")
    assert np.array_equal(a.evaluations.X, b.evaluations.X)
    assert np.array_equal(a.history.population(5).F, b.history.population(5).F)
    assert len(a.history) == 100


def test_a_run_becomes_a_film(capsys):
    assert main([*RUN, "--evals", "50", "--save", "run.db", "--save-history", "light"]) == 0
    assert main(["animate", "run.db", "--frames", "3"]) == 0
    assert "run.gif shows 3 of 5 generations" in capsys.readouterr().out
    with Image.open("run.gif") as film:
        assert film.n_frames == 3


def test_a_run_without_populations_is_no_film(capsys):
    assert main([*RUN, "--evals", "20", "--save", "run.db"]) == 0
    capsys.readouterr()
    assert "holds no populations of zdt1, nsga2, seed 1" in complains(capsys, "animate", "run.db")
    assert "must end in .gif" in complains(capsys, "animate", "run.db", "--out", "a.png")
    assert "there is no store" in complains(capsys, "animate", "no.db")


def test_bad_arguments(capsys):
    assert "goes with --save" in complains(capsys, *RUN, "--save-history", "light")
    assert "'gd' is unknown" in complains(capsys, *RUN, "--target", "gd=1")
    said = complains(capsys, "run", "cihs", "--algorithm", "nsga2")
    assert "cihs has 2 tasks" in said
    assert "evogen bench cihs" in said
    for bad in (["--target", "igd"], ["--seconds", "-1"], ["--checkpoint-every", "0"]):
        with pytest.raises(SystemExit) as end:
            main([*RUN, *bad])
        assert end.value.code == 2
