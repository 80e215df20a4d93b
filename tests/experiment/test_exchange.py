import json

import numpy as np
import pytest

from evogen.experiment import Campaign, Cell, Outcome, Spec, Store, summarize
from evogen.experiment.exchange import export_store, import_folder
from evogen.experiment.results_file import import_results


def outcome(value=0.25, **changes):
    arrays = {
        "result": {"X": np.arange(6.0).reshape(3, 2), "F": np.full((3, 2), value)},
        "curves": {"n_eval": np.array([20.0, 40.0]), "igd": np.array([np.nan, value])},
    }
    given = {"n_eval": 100, "cpu_seconds": 0.1 + 0.2, "peak_memory": 2**33, "host": "Zürich, 3"}
    return Outcome(
        "done",
        indicators={"igd": value, "igd_plus": 1 / 3, "hv": None},
        reference={"hv_point": [1.1, 1.1]},
        machine={"versions": {"evogen": "0"}},
        warnings=['a "quoted", warning'],
        arrays=arrays,
        **(given | changes),
    )


@pytest.fixture
def filled(tmp_path):
    with Store(tmp_path / "filled.db") as store:
        for seed in (1, 2):
            for name in ("nsga2", "gmoea"):
                cell = Cell(Spec("ZDT 1", "zdt1"), Spec(name, name, {"a": 0.1}), seed, 20, 100)
                store.save(cell, outcome(seed / 7))
        bad = Cell(Spec("ZDT 1", "zdt1"), Spec("bad", "bad"), 1, 20, 100)
        lines = "Traceback\n  line 2\n\n  last: \u2028 ünï"
        store.save(bad, Outcome("failed", error="ValueError: no", traceback=lines))
        tasks = Cell(Spec("cihs", "cihs"), Spec("mfea", "mfea"), 1, 20, 100)
        store.save(tasks, Outcome("done", tasks=[outcome(0.5), outcome(np.inf)]))
        store.save_front(bad.problem.describe(), 20, np.eye(2), 0.125)
        store.save_front(bad.problem.describe(), 50, None, None)
        store.remember_order("algorithm", ["gmoea", "nsga2", "bad", "mfea"])
        yield store


def everything(store):
    arrays = {}
    for key, name, _ in store.blobs():
        arrays[key, name] = {k: (v.tobytes(), v.shape) for k, v in store.arrays(key, name).items()}
    fronts = [
        (p, size, None if f is None else f.tobytes(), low) for p, size, f, low in store.fronts()
    ]
    return store.cells(), arrays, fronts, store.order("algorithm")


@pytest.mark.parametrize("table", ["parquet", "csv"])
def test_a_store_comes_back_from_plain_files_as_it_was(filled, tmp_path, table):
    if table == "parquet":
        pytest.importorskip("pyarrow")
    written = export_store(filled, tmp_path / "out", table=table)
    assert (written.n_cells, written.n_arrays) == (7, 12)
    assert (tmp_path / "out" / f"cells.{table}").is_file()
    with Store(tmp_path / "new.db") as new:
        read = import_folder(new, tmp_path / "out")
        assert (read.n_cells, read.n_arrays, read.n_known) == (7, 12, 0)
        assert everything(new) == everything(filled)
        again = import_folder(new, tmp_path / "out")
        assert (again.n_cells, again.n_known) == (1, 6)  # what has failed is taken again
        assert everything(new) == everything(filled)


def test_anybody_can_read_the_files(filled, tmp_path):
    pandas = pytest.importorskip("pandas")
    export_store(filled, tmp_path / "out", table="csv")
    frame = pandas.read_csv(tmp_path / "out" / "cells.csv")
    assert sorted(frame[frame.algorithm == "gmoea"].igd) == [1 / 7, 2 / 7]
    key = frame[(frame.algorithm == "gmoea") & (frame.seed == 2)].key.item()
    with np.load(tmp_path / "out" / "arrays" / f"{key}.result.npz") as result:
        assert np.array_equal(result["F"], np.full((3, 2), 2 / 7))


def test_a_campaign_goes_on_from_imported_cells(tmp_path):
    def campaign(name, seeds):
        grid = {"n_eval": 24, "pop_size": 12, "problem_settings": {"n_var": 3}}
        return Campaign(["zdt1"], ["nsga2"], seeds=seeds, store=tmp_path / name, **grid)

    campaign("one.db", 2).run(jobs=0, progress=False)
    with Store(tmp_path / "one.db") as one, Store(tmp_path / "two.db") as two:
        export_store(one, tmp_path / "out")
        import_folder(two, tmp_path / "out")
    summary = campaign("two.db", 3).run(jobs=0, progress=False)
    assert (summary.n_skipped, summary.n_done) == (2, 1)


def test_a_folder_that_holds_something_is_left_alone(filled, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("...")
    with pytest.raises(FileExistsError, match="is not empty"):
        export_store(filled, tmp_path / "out")


def test_parquet_without_pyarrow_names_the_extra(filled, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"evogen\[parquet\]"):
        export_store(filled, tmp_path / "out", table="parquet")
    assert export_store(filled, tmp_path / "out").n_cells == 7
    assert (tmp_path / "out" / "cells.csv").is_file()


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])


def change(path, old, new):
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda out: (out / "campaign.json").unlink(), "there is no campaign.json"),
        (lambda out: (out / "cells.csv").unlink(), "neither cells.parquet nor cells.csv"),
        (lambda out: cut(out / "campaign.json"), "campaign.json cannot be read"),
        (lambda out: cut(next((out / "arrays").iterdir())), "is damaged"),
        (lambda out: next((out / "arrays").iterdir()).unlink(), "n_arrays is 11, not 12"),
        (lambda out: cut(out / "fronts" / "1.npz"), "1.npz cannot be read"),
        (lambda out: change(out / "cells.csv", '""seed"": 2', '""seed"": 3'), "its spec"),
        (lambda out: change(out / "cells.csv", ",done,", ",ok,"), "must be done or failed"),
        (lambda out: change(out / "cells.csv", "ZDT 1,gmoea,1,", "ZDT 1,gmoea,one,"), "seed = "),
        (lambda out: change(out / "campaign.json", '"version": 1', '"version": 2'), "newer evogen"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused_and_nothing_read(filled, tmp_path, harm, words):
    export_store(filled, tmp_path / "out", table="csv")
    harm(tmp_path / "out")
    with (
        Store(tmp_path / "new.db") as new,
        pytest.raises((ValueError, FileNotFoundError), match=words),
    ):
        import_folder(new, tmp_path / "out")
    with Store(tmp_path / "new.db") as new:
        assert new.cells() == []


def test_pickled_arrays_of_a_hostile_folder_are_not_opened(filled, tmp_path):
    export_store(filled, tmp_path / "out", table="csv")
    np.savez(next((tmp_path / "out" / "arrays").iterdir()), X=np.array([{"a": 1}], dtype=object))
    with Store(tmp_path / "new.db") as new, pytest.raises(ValueError, match="is damaged"):
        import_folder(new, tmp_path / "out")


THEIRS = """\
Problem,Algorithm,Run,IGD,IGD+,HV,seconds
zdt1,NSGA-II (theirs),1,0.5,,0.7,
zdt1,NSGA-II (theirs),2,0.25,0.125,nan,

zdt2,NSGA-II (theirs),1,inf,,,
""".replace(",seconds", ",cpu_seconds")


def test_somebodys_results_stand_in_our_tables(filled, tmp_path):
    (tmp_path / "theirs.csv").write_text(THEIRS)
    with Store(tmp_path / "theirs.db") as store:
        read = import_results(store, tmp_path / "theirs.csv", n_eval=100, pop_size=20)
        assert read.n_cells == 3
        results = summarize(store)
        assert list(results.rows) == ["zdt1", "zdt2"]
        assert results.values("zdt1", "NSGA-II (theirs)", "igd").tolist() == [0.5, 0.25]
        assert results.values("zdt1", "NSGA-II (theirs)", "hv").tolist() == [0.7]
        assert results.values("zdt2", "NSGA-II (theirs)", "igd").tolist() == [np.inf]
        # The same file again changes nothing.
        import_results(store, tmp_path / "theirs.csv", n_eval=100, pop_size=20)
        assert len(store.cells()) == 3


def test_results_of_a_problem_that_the_store_knows_stand_in_its_row(filled, tmp_path):
    path = tmp_path / "theirs.csv"
    path.write_text("problem,algorithm,seed,igd\nZDT 1,nsga2,1,0.5\nZDT 1,nsga2,2,0.75\n")
    # Neither the budget nor the population is said: the store knows.
    import_results(filled, path)
    results = summarize(filled)
    assert "ZDT 1" in results.rows
    theirs = [a for a in results.algorithms if "imported=theirs.csv" in a]
    assert len(theirs) == 1
    assert results.values("ZDT 1", theirs[0], "igd").tolist() == [0.5, 0.75]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("problem,algorithm,igd\nz,a,1\n", "the column 'seed' is missing"),
        ("problem,algorithm,seed\nz,a,1\n", "none of the columns igd, igd_plus, hv"),
        ("problem,algorithm,seed,igds\nz,a,1,1\n", "'igds' is unknown; did you mean igd"),
        ("problem,algorithm,seed,igd,IGD\nz,a,1,1,1\n", "'igd' is there twice"),
        ("problem,algorithm,seed,igd\nz,a,1,low\n", "line 2: igd = 'low' must be a number"),
        ("problem,algorithm,seed,igd\nz,a,1.5,1\n", "line 2: seed = '1.5' must be a whole"),
        ("problem,algorithm,seed,igd\nz,a,1,1\nz,a,1,1\n", "line 3: z, a, seed 1 is there twice"),
        ("problem,algorithm,seed,igd\nz,a,1\n", "line 2: 3 values for 4 columns"),
        ("problem,algorithm,seed,igd\n,a,1,1\n", "line 2: problem is empty"),
        ("problem,algorithm,seed,igd\n", "holds no runs"),
    ],
)
def test_results_that_cannot_be_read_are_refused_with_line_and_column(tmp_path, text, words):
    path = tmp_path / "theirs.csv"
    path.write_text(text)
    with Store(tmp_path / "new.db") as store:
        with pytest.raises(ValueError, match=words):
            import_results(store, path, n_eval=100, pop_size=20)
        assert store.cells() == []


def test_results_without_a_budget_ask_for_one(tmp_path):
    path = tmp_path / "theirs.csv"
    path.write_text("problem,algorithm,seed,igd\nz,a,1,1\n")
    with Store(tmp_path / "new.db") as store, pytest.raises(ValueError, match="--evals"):
        import_results(store, path)


def test_the_about_file_is_plain_json(filled, tmp_path):
    export_store(filled, tmp_path / "out")
    about = json.loads((tmp_path / "out" / "campaign.json").read_text())
    assert about["algorithms"] == ["gmoea", "nsga2", "bad", "mfea"]
    assert [front["floor"] for front in about["fronts"]] == [0.125, None]
