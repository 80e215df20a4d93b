import numpy as np
import pytest

from evogen.experiment import Campaign, Cell, Outcome, Spec, Store, write_report
from evogen.experiment.report import common_grid


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "runs.db"
    campaign = Campaign(
        ["zdt1", "dtlz2", "bnh"], ["nsga2", "spea2"], seeds=3, n_eval=48, pop_size=12, store=path
    )
    campaign.run(jobs=0, progress=False)
    return campaign


def test_a_report_has_tables_and_figures_for_every_problem(campaign, tmp_path):
    with Store(campaign.store) as store:
        written = write_report(store, tmp_path / "report", formats=["png", "svg"])
    names = {path.name for path in written}
    on_disk = {path for path in (tmp_path / "report").rglob("*") if path.is_file()}
    assert set(written) == on_disk
    for problem in ("zdt1", "dtlz2", "bnh"):
        for kind in ("front", "convergence"):
            assert {f"{kind}-{problem}.png", f"{kind}-{problem}.svg"} <= names
    assert written[0].name == "table.md"
    text = written[0].read_text()
    assert "![front-zdt1](front-zdt1.png)" in text
    assert "### IGD" in text
    assert "### Hypervolume" in text
    for path in written:
        if path.suffix == ".png":
            assert path.read_bytes()[:4] == b"\x89PNG"


def test_a_report_needs_no_problem_classes(campaign, tmp_path, monkeypatch):
    from evogen.experiment import lookup

    def refuse():
        raise AssertionError("a report must not build problems")

    monkeypatch.setattr(lookup, "_problems", refuse)
    with Store(campaign.store) as store:
        written = write_report(store, tmp_path)
    figures = {path.stem for path in written if path.suffix == ".png"}
    assert figures == {"profile", "runtime"} | {
        f"{kind}-{problem}"
        for kind in ("front", "convergence")
        for problem in ("zdt1", "dtlz2", "bnh")
    }


def test_a_report_may_be_about_a_part_of_the_store(campaign, tmp_path):
    keys = {c.key for c in campaign.cells if str(c).startswith(("zdt1, spea2", "bnh, spea2"))}
    with Store(campaign.store) as store:
        written = write_report(store, tmp_path, keys=keys)
    assert {path.stem for path in written if path.suffix == ".png"} == {
        "front-zdt1",
        "convergence-zdt1",
        "front-bnh",
        "convergence-bnh",
    }
    assert "nsga2" not in written[0].read_text()


@pytest.mark.parametrize("formats", ["png", [], ["bmp"]])
def test_formats_that_cannot_be_are_refused_before_anything_is_drawn(campaign, tmp_path, formats):
    with Store(campaign.store) as store, pytest.raises(ValueError, match=r"formats=|\.png"):
        write_report(store, tmp_path / "report", formats=formats)
    assert list((tmp_path / "report").iterdir()) == []


def test_the_same_store_gives_the_same_bytes(campaign, tmp_path):
    with Store(campaign.store) as store:
        one = write_report(store, tmp_path / "one", formats=["svg"])
        two = write_report(store, tmp_path / "two", formats=["svg"])
    for a, b in zip(one, two, strict=True):
        assert a.read_bytes() == b.read_bytes(), a.name


def test_a_report_over_problems_compares_ranks_profiles_and_running_times(tmp_path):
    pytest.importorskip("scikit_posthocs", reason="needs the extra report")
    pytest.importorskip("plotly", reason="needs the extra report")
    with Store(tmp_path / "runs.db") as store:
        for problem in ("p", "q"):
            for rank, algorithm in enumerate("abc"):
                cell = Cell(Spec(problem, problem), Spec(algorithm, algorithm), 1, 10, 100)
                curves = {"n_eval": np.array([50.0, 100.0]), "igd": np.array([2.0, 1.0 + rank])}
                outcome = Outcome("done", indicators={"igd": 1.0 + rank}, arrays={"curves": curves})
                store.save(cell, outcome)
        written = write_report(store, tmp_path / "report")
    names = [path.name for path in written]
    assert {"ranks-igd.png", "profile.png", "runtime.png", "index.html", "tables.tex"} <= set(names)
    assert names[:3] == ["table.md", "table.csv", "index.html"]
    assert "![ranks-igd](ranks-igd.png)" in written[0].read_text()


def test_curves_are_brought_to_common_evaluations_by_the_last_record():
    runs = [
        {"n_eval": np.array([10.0, 20.0]), "igd": np.array([5.0, 4.0])},
        {"n_eval": np.array([15.0, 30.0]), "igd": np.array([3.0, 1.0])},
    ]
    grid, values = common_grid(runs, "igd")
    assert grid.tolist() == [10, 15, 20, 30]
    assert values[0].tolist() == [5, 5, 4, 4]
    assert np.isnan(values[1, 0])
    assert values[1, 1:].tolist() == [3, 3, 1]
