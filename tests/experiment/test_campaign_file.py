import pytest

from evogen.cli import main
from evogen.experiment import Campaign, Store
from evogen.experiment.campaign_file import EXAMPLE, Plan, read_plan, write_example

MINIMAL = """
problems = ["zdt1"]
algorithms = ["nsga2"]
"""

SMALL = """
problems = ["zdt1", { name = "zdt2", label = "ZDT 2", settings = { n_var = 3 } }]
algorithms = ["nsga2", { name = "nsga2", label = "few", settings = { n_offsprings = 4 } }]
problem_settings = { n_var = 4 }
seeds = [3, 8]
pop_size = 12
store = "kept/runs.db"

[budget]
n_eval = 48
target = { igd = 0.001 }

[run]
jobs = 0
"""


@pytest.fixture
def write(tmp_path):
    def text(content):
        path = tmp_path / "campaign.toml"
        path.write_text(content)
        return path

    return text


def test_a_file_says_what_is_run_and_how(write, tmp_path):
    plan = read_plan(write(SMALL))
    (tmp_path / "kept").mkdir()
    campaign = plan.campaign()
    assert campaign.store == tmp_path / "kept" / "runs.db"
    assert [(s.label, s.name, dict(s.settings)) for s in campaign.problems] == [
        ("zdt1", "zdt1", {"n_var": 4}),
        ("ZDT 2", "zdt2", {"n_var": 4}),
    ]
    assert [(s.label, dict(s.settings)) for s in campaign.algorithms] == [
        ("nsga2", {}),
        ("few", {"n_offsprings": 4}),
    ]
    assert campaign.seeds == [3, 8]
    assert {(c.pop_size, c.n_eval, c.target["igd"]) for c in campaign.cells} == {(12, 48, 0.001)}
    assert plan.run_settings()["jobs"] == 0


def test_the_example_is_a_campaign(tmp_path):
    plan = read_plan(write_example(tmp_path / "example.toml"))
    campaign = plan.campaign()
    assert len(campaign.cells) == 3 * 3 * 11
    assert campaign.problems[2].build_problem().n_obj == 5
    with pytest.raises(FileExistsError, match="is there already"):
        write_example(tmp_path / "example.toml")


def test_everything_that_the_example_mentions_is_known(write):
    lines = [line.removeprefix("# ") if " = " in line else line for line in EXAMPLE.splitlines()]
    plan = read_plan(write("\n".join(lines)))
    assert (plan.engine, plan.time_limit, plan.memory_limit) == ("local", 600.0, "2 GB")
    assert plan.retry_failed
    assert plan.order == "cost"
    assert plan.target == {"igd": 0.01}


def test_a_file_and_flags_name_the_same_cells(write):
    from_file = read_plan(write(MINIMAL)).campaign()
    from_flags = Plan(problems=["zdt1"], algorithms=["nsga2"]).campaign()
    assert [c.key for c in from_file.cells] == [c.key for c in from_flags.cells]


def test_suites_and_twins_stand_in_files_too(write):
    plan = read_plan(write('problems = ["imf-shifted"]\nalgorithms = ["nsga2"]'))
    campaign = plan.campaign()
    assert [s.label for s in campaign.problems] == [f"imf{i}-shifted" for i in range(1, 11)]
    assert {s.settings["seed"] for s in campaign.problems} == {1}


def test_twins_of_several_tasks_are_the_same_cells_in_a_file_as_in_code(write, tmp_path):
    plan = read_plan(write('problems = ["cihs-shifted"]\nalgorithms = ["momfea"]\nseeds = 1'))
    in_code = Campaign(
        ["cihs-shifted"], ["momfea"], seeds=1, n_eval=plan.n_eval, store=tmp_path / "runs.db"
    )
    assert [c.key for c in plan.campaign().cells] == [c.key for c in in_code.cells]


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("problems = [}", ValueError, r"campaign\.toml is no TOML file: .*line 1"),
        ("", ValueError, r"campaign\.toml: problems is missing"),
        ('problems = ["zdt1"]', ValueError, "algorithms is missing"),
        (MINIMAL + "seed = 3", ValueError, r"campaign\.toml: seed is unknown; did you mean seeds"),
        (MINIMAL + "n_eval = 3", ValueError, r"n_eval is unknown; it belongs in \[budget\]"),
        (MINIMAL + "[run]\nstore = 'a'", ValueError, "run.store is unknown; it belongs above"),
        (MINIMAL + "[run]\nworkers = 3", ValueError, "run.workers is unknown; known are jobs"),
        (MINIMAL + 'pop_size = "100"', TypeError, "pop_size = '100' must be a whole number"),
        (MINIMAL + "seeds = true", TypeError, "seeds = True must be a number of seeds"),
        (MINIMAL + "seeds = [1, 2.5]", TypeError, r"seeds\[1\] = 2.5 must be a whole number"),
        (MINIMAL + "[budget]\nn_eval = 1e4", TypeError, "budget.n_eval = 10000.0 must be a whole"),
        (MINIMAL + "[budget]\ntarget = 0.1", TypeError, "budget.target = 0.1 must be a table"),
        (MINIMAL + "[run]\nretry_failed = 1", TypeError, "retry_failed = 1 must be true or false"),
        (MINIMAL + "budget = 5000", TypeError, "budget = 5000 must be a table"),
        ("problems = [3]\nalgorithms = ['a']", TypeError, r"problems\[0\] = 3 must be a name"),
        (
            "problems = [{label = 'a'}]\nalgorithms = ['a']",
            ValueError,
            r"problems\[0\] has no name",
        ),
        (
            "problems = [{name = 'a', setting = {}}]\nalgorithms = ['a']",
            ValueError,
            r"problems\[0\]\.setting is unknown; did you mean settings",
        ),
    ],
)
def test_a_wrong_file_is_refused_by_file_and_key(write, text, error, words):
    with pytest.raises(error, match=words):
        read_plan(write(text))


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        (MINIMAL + "pop_size = 1", ValueError, r"campaign\.toml: pop_size=1 must be at least 2"),
        (MINIMAL.replace("zdt1", "zdt11"), ValueError, r"campaign\.toml: .*zdt1"),
        (MINIMAL + "baseline = 'spea2'", ValueError, "baseline='spea2' is not among nsga2"),
        (MINIMAL + "[run]\nengine = 'spark'", ValueError, "engine='spark' must be one of local"),
        (MINIMAL + "[run]\norder = 'seed'", ValueError, "order='seed' must be one of cost, seeds"),
        (MINIMAL + "[run]\nmemory_limit = '2 apples'", ValueError, "memory_limit='2 apples'"),
        (MINIMAL + "[budget]\ntarget = { gd = 1 }", ValueError, "'gd' is unknown"),
        (
            "problems = [{ name = 'imf', label = 'x' }]\nalgorithms = ['nsga2']",
            ValueError,
            "the label 'x' cannot stand for the 10 problems of the suite imf",
        ),
    ],
)
def test_a_file_that_asks_for_the_impossible_is_named(write, text, error, words):
    with pytest.raises(error, match=words):
        read_plan(write(text)).campaign()


def test_a_file_that_is_not_there_is_said_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="--write-example"):
        read_plan(tmp_path / "none.toml")


def run(capsys, *arguments):
    code = main([*map(str, arguments)])
    return code, *capsys.readouterr()


def test_bench_takes_a_file_and_flags_go_before_it(write, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kept").mkdir()
    path = write(SMALL)
    code, out, _ = run(capsys, "bench", path, "-q", "--seeds", "1")
    assert code == 0
    assert "4 cells: 4 run, 0 in the store before" in out
    code, out, _ = run(capsys, "bench", path, "-q", "--seeds", "1,3", "--store", "other.db")
    assert "8 cells: 8 run" in out
    code, out, _ = run(capsys, "bench", path, "-q", "--order", "seeds")
    assert "8 cells: 8 run, 0 in the store before" in out
    assert (tmp_path / "other.db").exists()
    with Store(tmp_path / "kept" / "runs.db") as store:
        assert {cell.seed for cell in store.cells()} == {1, 3, 8}


def test_bench_by_flags_knows_targets_seconds_and_limits(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["bench", "zdt1", "-a", "nsga2", "--pop-size", "12", "--n-var", "4", "-q"]
    command += ["--seeds", "1", "--jobs", "0", "--evals", "4000"]
    code, _, err = run(capsys, *command, "--target", "igd=0.3", "--seconds", "50")
    assert (code, err) == (0, "")
    with Store("runs.db") as store:
        (cell,) = store.cells()
    assert cell.spec["target"] == {"igd": 0.3}
    assert cell.spec["seconds"] == 50
    assert cell.n_eval < 4000
    for wrong, words in (
        (["--target", "igd"], "give NAME=VALUE"),
        (["--time-limit", "5"], "time_limit needs worker processes"),
        (["--engine", "spark"], "engine='spark'"),
        (["--order", "seed"], "order='seed' must be one of cost, seeds"),
    ):
        code, _, err = run(capsys, *command, *wrong)
        assert code == 2
        assert words in err


def test_bench_writes_an_example_and_refuses_what_is_no_campaign(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "bench", "--write-example", "c.toml")[0] == 0
    assert (tmp_path / "c.toml").read_text() == EXAMPLE
    assert "is there already" in run(capsys, "bench", "--write-example", "c.toml")[2]
    assert "c.toml stands alone; put zdt1" in run(capsys, "bench", "c.toml", "zdt1")[2]
    assert "give problems" in run(capsys, "bench")[2]


def test_export_and_import_by_command(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["bench", "zdt1", "-a", "nsga2", "--evals", "24", "--pop-size", "12", "--n-var", "4"]
    assert run(capsys, *command, "-q", "--seeds", "2", "--jobs", "0")[0] == 0
    code, out, _ = run(capsys, "export", "runs.db", "--out", "folder", "--format", "csv")
    assert (code, out) == (0, "wrote 2 cells and 4 arrays to folder\n")
    code, out, _ = run(capsys, "import", "folder", "--store", "new.db")
    assert (code, out) == (0, "2 cells and 4 arrays read; kept in new.db\n")
    (tmp_path / "theirs.csv").write_text("problem,algorithm,seed,igd\nzdt1,theirs,1,0.5\n")
    code, out, _ = run(capsys, "import", "theirs.csv", "--store", "new.db")
    assert code == 0
    with Store("new.db") as store:
        assert {cell.algorithm for cell in store.cells()} == {"nsga2", "theirs"}
    assert "is not empty" in run(capsys, "export", "runs.db", "--out", "folder")[2]
    assert "no file or folder none" in run(capsys, "import", "none", "--store", "new.db")[2]
    assert (
        "are for CSV files"
        in run(capsys, "import", "folder", "--store", "new.db", "--evals", "5")[2]
    )
