import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from evogen import __version__
from evogen.cli import main

ROOT = Path(__file__).parents[1]
SMALL = ["--evals", "48", "--pop-size", "12", "--n-var", "4"]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def complains(capsys, *arguments):
    """Run a command that must fail; its one line on stderr."""
    assert main([*arguments]) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    (line,) = err.strip().splitlines()
    assert line.startswith("evogen: ")
    return line


def test_help_and_version_come_without_heavy_imports():
    code = (
        "import sys; from evogen.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'pymoo', 'matplotlib', 'scipy', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "evogen run imf1 --algorithm auto" in done.stdout


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"evogen {__version__}\n"


def test_a_checkout_is_whole_where_it_hides_the_installed_package():
    """As Python sees it in a clone, with the package installed elsewhere or not at all."""
    code = (
        "import sys\n"
        "sys.meta_path = [f for f in sys.meta_path if 'ditable' not in str(f)]\n"
        f"sys.path[:] = [{str(ROOT)!r}, *(p for p in sys.path if 'ditable' not in p)]\n"
        "from evogen.problems import get_problem\n"
        "import evogen.problems\n"
        "print(get_problem('imf1').n_var, evogen.problems.__file__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == f"30 {ROOT / 'problems' / '__init__.py'}\n", done.stderr


def test_the_package_runs_as_a_module():
    command = [sys.executable, "-m", "evogen", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"evogen {__version__}\n")


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (["problems"], ["imf1", "zdt1", "dtlz7"]),
        (["suites"], ["imf ", "10 problems"]),
        (["algorithms"], ["nsga2", "gmoea", "nsga2-ddpm"]),
        ([], ["imf ", "gmoea", "twin"]),
    ],
)
def test_list_shows_names(capsys, what, expected):
    assert main(["list", *what]) == 0
    out = capsys.readouterr().out
    for text in expected:
        assert text in out


def test_run_saves_the_same_solutions_for_the_same_seed(capsys, tmp_path):
    command = ["run", "zdt1", "-a", "nsga2", *SMALL, "-q", "--seed"]
    for seed, name in (("1", "a"), ("1", "b"), ("2", "c")):
        assert main([*command, seed, "--out", f"{name}.npz", "--plot", f"{name}.png"]) == 0
    out, err = capsys.readouterr()
    assert "terminated after 48 evaluations" in out
    assert "IGD" in out
    assert err == ""
    x = [np.load(f"{name}.npz")["X"] for name in "abc"]
    assert np.array_equal(x[0], x[1])
    assert not np.array_equal(x[0], x[2])
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"


def test_run_passes_settings_to_the_algorithm(capsys):
    command = ["run", "zdt1", "-a", "nsga2", *SMALL, "-q"]
    assert main([*command, "--set", "n_offsprings=4"]) == 0
    assert "after 48 evaluations" in capsys.readouterr().out
    assert "give NAME=VALUE" in complains(capsys, *command, "--set", "share")


def test_run_without_a_feasible_solution_keeps_what_it_has(capsys, tmp_path, monkeypatch):
    from pymoo.problems.multi import BNH

    def fail(self, x, out, *args, **kwargs):
        out["F"], out["G"] = x, 1 + x

    monkeypatch.setattr(BNH, "_evaluate", fail)
    command = ["run", "bnh", "-a", "nsga2", "--evals", "24", "--pop-size", "12", "-q"]
    assert main([*command, "--out", "r.npz", "--plot", "r.png"]) == 0
    assert "r.npz holds the final population and its constraint violation CV" in (
        capsys.readouterr().out
    )
    saved = np.load("r.npz")
    assert len(saved["X"]) == 12
    assert (saved["CV"] > 0).all()
    assert (tmp_path / "r.png").read_bytes()[:4] == b"\x89PNG"


def test_run_shows_progress_on_stderr_only(capsys):
    assert main(["run", "zdt1", "-a", "nsga2", *SMALL]) == 0
    out, err = capsys.readouterr()
    assert "100%" in err
    assert "100%" not in out


def test_run_solves_a_twin_with_the_offsets_asked_for(capsys):
    for seed in ("1", "2"):
        main(
            [
                "run",
                "imf1-shifted",
                "-a",
                "nsga2",
                *SMALL,
                "-q",
                "--twin-seed",
                seed,
                "--out",
                f"{seed}.csv",
            ]
        )
    capsys.readouterr()
    one, two = ((f"{seed}.csv") for seed in "12")
    with open(one) as a, open(two) as b:
        assert a.read() != b.read()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["imf99", "-a", "nsga2"], "imf9"),
        (["imf1", "-a", "nsga22"], "nsga2"),
        (["imf1", "-a", "nsga2", "--out", "r.txt"], "must end in .npz or .csv"),
        (["imf1", "-a", "nsga2", "--plot", "r.bmp"], "must end in one of .png"),
        (["imf1", "-a", "nsga2", "--plot", "nowhere/r.png"], "no folder"),
        (["imf1", "-a", "nsga2", "--plot", "full.png"], "full.png cannot be written: Is a"),
        (["imf1", "-a", "nsga2", "--out", "full.csv"], "full.csv cannot be written: Is a"),
        (["imf1", "-a", "nsga2", "--pop-size", "2"], "pop_size=2"),
        (["bnh", "-a", "nsga2", "--n-var", "9"], "n_var"),
        (["sphere", "-a", "nsga2"], "objective"),
    ],
)
def test_run_refuses_bad_input_in_one_line(capsys, monkeypatch, tmp_path, arguments, words):
    from evogen.experiment import GuardedEvaluator

    monkeypatch.delattr(GuardedEvaluator, "eval")  # nothing may be evaluated
    for name in ("full.png", "full.csv"):
        (tmp_path / name).mkdir()
    assert words in complains(capsys, "run", *arguments)


@pytest.mark.parametrize("text", ["0", "-5", "many", "1e3"])
def test_counts_must_be_counts(capsys, text):
    with pytest.raises(SystemExit) as end:
        main(["run", "imf1", "-a", "nsga2", "--evals", text])
    assert end.value.code == 2
    assert "is no whole number" in capsys.readouterr().err


def test_debug_shows_the_traceback():
    with pytest.raises(ValueError, match="imf99"):
        main(["run", "imf99", "-a", "nsga2", "--debug"])


def test_bench_runs_once_continues_and_reports(capsys, tmp_path):
    command = [
        "bench",
        "zdt1",
        "zdt2",
        "-a",
        "nsga2,spea2",
        *SMALL,
        "--jobs",
        "0",
        "--store",
        "r.db",
        "-q",
    ]
    assert main([*command, "--seeds", "2"]) == 0
    out = capsys.readouterr().out
    assert "8 cells: 8 run, 0 in the store before" in out
    assert "IGD, median of 2 runs" in out
    assert "Hypervolume" in out
    assert main([*command, "--seeds", "1,2,5", "--report", "rep", "--baseline", "spea2"]) == 0
    out = capsys.readouterr().out
    assert "12 cells: 4 run, 8 in the store before" in out
    assert "against spea2" in " ".join(out.split())
    assert (tmp_path / "rep" / "table.csv").exists()
    assert {path.suffix for path in (tmp_path / "rep").glob("front-*")} == {".png"}
    assert main(["report", "r.db", "--out", "again", "--formats", "svg,png"]) == 0
    assert {path.suffix for path in (tmp_path / "again").glob("front-*")} == {".png", ".svg"}
    assert "![front-zdt2](front-zdt2.svg)" in (tmp_path / "again" / "table.md").read_text()


def test_bench_shows_its_own_cells_and_report_all(capsys, tmp_path):
    command = ["bench", *SMALL, "--jobs", "0", "--store", "r.db", "-q", "--seeds", "1"]
    assert main([*command, "zdt1", "-a", "nsga2"]) == 0
    capsys.readouterr()
    assert main([*command, "zdt2", "-a", "spea2", "--report", "part"]) == 0
    out = capsys.readouterr().out
    assert "zdt2" in out
    assert "zdt1" not in out
    assert "nsga2" not in out
    assert "nsga2" not in (tmp_path / "part" / "table.md").read_text()
    assert main(["report", "r.db", "--out", "whole"]) == 0
    out = capsys.readouterr().out
    assert "zdt1" in out
    assert "nsga2" in out


def test_report_refuses_unknown_formats(capsys):
    with pytest.raises(SystemExit) as end:
        main(["report", "r.db", "--formats", "png,bmp"])
    assert end.value.code == 2
    assert "'png,bmp' is not some of png,svg,pdf" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["imf99"], "imf9"),
        (["zdt1", "-a", "nsga2,gmoae"], "gmoea"),
        (["zdt1", "-a", ","], "algorithms is empty"),
        (["zdt1", "-a", "nsga2", "--baseline", "spea2"], "baseline='spea2'"),
        (["zdt1", "-a", "nsga2", "--seeds", "1,1"], "a seed twice"),
        (["zdt1", "-a", "nsga2", "--jobs", "-2"], "jobs=-2"),
        (["zdt1", "-a", "nsga2", "--store", "nowhere/r.db"], "no folder"),
        (["zdt1", "-a", "nsga2", "--store", "notes.txt"], "no store"),
        (["zdt1", "-a", "nsga2", "--report", "notes.txt"], "notes.txt cannot be written: File"),
        (["bnh", "-a", "moead-de"], "moead-de cannot solve bnh"),
    ],
)
def test_bench_refuses_bad_input_in_one_line(capsys, tmp_path, arguments, words):
    (tmp_path / "notes.txt").write_text("these are notes, and no store at all")
    assert words in complains(capsys, "bench", *arguments, "-q")


def test_report_refuses_what_is_no_store(capsys):
    assert "there is no store none.db" in complains(capsys, "report", "none.db")


def test_failed_cells_are_listed_and_change_the_exit_code(capsys, monkeypatch):
    from pymoo.problems.multi import ZDT1

    def fail(self, x, out, *args, **kwargs):
        raise RuntimeError("the simulator said no")

    monkeypatch.setattr(ZDT1, "_evaluate", fail)
    command = ["bench", "zdt1", "zdt2", "-a", "nsga2", *SMALL, "--seeds", "1", "--jobs", "0", "-q"]
    assert main(command) == 1
    out = capsys.readouterr().out
    assert "the simulator said no" in out
    assert "1 failed" in out
    monkeypatch.undo()


def test_the_demo_is_a_campaign_on_problems_and_their_twins(tmp_path):
    from evogen.experiment.demo import demo_campaign

    whole, quick = (demo_campaign(tmp_path / "results", quick=quick) for quick in (False, True))
    labels = [spec.label for spec in whole.problems]
    assert {f"{name}-shifted" for name in labels[::2]} == set(labels[1::2])
    assert {"nsga2", "ace", "immoea", "gmoea", "nsga2-ddpm"} == {s.label for s in whole.algorithms}
    assert len(quick.cells) < len(whole.cells)
    assert quick.store != whole.store


def test_ctrl_c_ends_with_a_line(capsys, monkeypatch):
    from evogen.experiment import Campaign

    def stop(self, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(Campaign, "run", stop)
    assert main(["bench", "zdt1", "-a", "nsga2", "-q"]) == 130
    assert "interrupted" in capsys.readouterr().err
