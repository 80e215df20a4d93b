"""What the studies in `benchmarks` share, and the places of pages that they write."""

import re
from pathlib import Path
from types import SimpleNamespace

import default_study
import pytest
from common import best_rival, counted, fill, markdown, our_mark, restricted

from evogen.experiment import Results, Store
from evogen.experiment.summary import Row

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
START = re.compile(r"<!-- (.+): written by benchmarks/(.+) -->")


@pytest.fixture
def results():
    """`ours` is better than `near` and `far` on a, and worse than `near` on b."""
    igd = {
        "a": {"ours": 1.0, "near": 2.0, "far": 9.0},
        "b": {"ours": 3.0, "near": 2.0, "far": 9.0},
        "c": {"ours": 1.0, "near": 1.0, "far": 9.0},
    }
    done = {
        (row, name): [SimpleNamespace(igd=value + 0.01 * seed) for seed in range(11)]
        for row, of_row in igd.items()
        for name, value in of_row.items()
    }
    rows = {row: Row(row, None, 100, 1000) for row in igd}
    return Results(rows, ["ours", "near", "far"], "ours", done)


def test_marks_are_told_from_the_side_of_the_baseline(results):
    assert [best_rival(results, row) for row in results.rows] == ["near"] * 3
    marks = [our_mark(results, row, "near") for row in results.rows]
    assert marks == ["+", "-", "="]
    told = "better than X on 1, no significant difference on 1, worse on 1"
    assert counted(marks, than=" than X") == told
    assert counted(["+", "+"]) == "better on 2, no significant difference on 0, worse on 0"


def test_results_are_restricted_to_rows_and_algorithms(results):
    part = restricted(results, ["b", "a"], ["far", "ours"], "ours")
    assert list(part.rows) == ["b", "a"]
    assert (part.algorithms, part.baseline) == (["far", "ours"], "ours")
    assert set(part.done) == {(row, name) for row in "ab" for name in ("far", "ours")}
    assert best_rival(part, "b") == "far"


def test_a_text_replaces_what_stands_between_its_marks(tmp_path):
    page = tmp_path / "page.md"
    start, end = "<!-- it: written by benchmarks/a.py -->", "<!-- end of it -->"
    page.write_text(f"before\n{start}\nold\n{end}\nafter\n", encoding="utf-8")
    for text in ("first", markdown(["x", "y"], [["1", "2"]])):
        fill(page, "it", text, "/somewhere/a.py")
        expected = f"before\n{start}\n\n{text}\n\n{end}\nafter\n"
        assert page.read_text(encoding="utf-8") == expected
    for name, script in (("it", "b.py"), ("that", "a.py")):
        with pytest.raises(ValueError, match=rf"does not have '<!-- {name}: .*{script}"):
            fill(page, name, "", script)
    assert page.read_text(encoding="utf-8") == expected


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_marks_on_pages_are_closed_and_name_a_script_that_fills_them(page):
    text = page.read_text(encoding="utf-8")
    starts = START.findall(text)
    assert text.count(": written by benchmarks/") == len(starts) == text.count("<!-- end of ")
    for name, script in starts:
        assert len(re.findall(f"<!-- {name}: ", text)) == 1
        assert text.index(f"<!-- {name}: ") < text.index(f"<!-- end of {name} -->")
        assert "fill(" in (ROOT / "benchmarks" / script).read_text(encoding="utf-8")


HEADER = "part,problem,algorithm,seed,igd,igd_plus,hv,n_eval,cpu_seconds\n"


def test_recorded_runs_are_those_of_rivals_once_per_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(default_study, "RESULTS", tmp_path)
    first = "imf,imf1,nsga2,2,.5,.4,,5000,.1\nimf,imf1,nsga2,1,.7,.6,.2,5000,.1\n"
    other = "imf,imf1,ace,1,.1,.1,.9,5000,4\nsuites,zdt1,nsga2,1,.3,.3,.3,10000,1\n"
    (tmp_path / "default_study_first_runs.csv").write_text(HEADER + first + other)
    (tmp_path / "default_study_runs.csv").write_text(HEADER + first)
    runs = default_study.recorded("imf")
    assert list(runs) == [("imf1", "nsga2")]
    assert [(run["seed"], run["igd"], run["hv"]) for run in runs["imf1", "nsga2"]] == [
        (1, 0.7, 0.2),
        (2, 0.5, None),
    ]


def test_recorded_rivals_complete_a_part_and_a_report_keeps_the_others(tmp_path, monkeypatch):
    part = default_study.Part(["zdt1", "zdt2"], ["ace", "nsga2"], 40)
    monkeypatch.setattr(default_study, "RESULTS", tmp_path)
    monkeypatch.setattr(default_study, "PARTS", {"suites": part})
    monkeypatch.setattr(default_study, "SEEDS", 2)
    monkeypatch.setattr(default_study, "POP_SIZE", 10)
    store = tmp_path / "runs.db"
    lines = [
        f"suites,{problem},nsga2,{seed},{seed / 10},.2,.3,40,.1\n"
        for problem in ("zdt1", "zdt2")
        for seed in (1, 2)
    ]
    runs = tmp_path / "default_study_x_runs.csv"
    runs.write_text(HEADER + "".join(lines) + "suites,zdt9,nsga2,1,.1,.1,.1,40,.1\n")
    default_study.run(store, ["suites"], ["ace"], jobs=1)
    with Store(store, must_exist=True) as opened:
        results = default_study.finished(opened, store, "suites")
        assert (list(results.rows), results.algorithms) == (["zdt1", "zdt2"], ["ace", "nsga2"])
        assert results.median("zdt1", "nsga2", "igd") == pytest.approx(0.15)
        assert "CPU seconds a run (median): ACE" in default_study.beside_nsga2(results)[1]
        default_study.write_tables(opened, {"suites": results}, "default_study_x", "report")
    written = runs.read_text().splitlines()
    assert "suites,zdt9,nsga2,1,.1,.1,.1,40,.1" in written
    assert sum(",ace," in line for line in written) == 4
    assert len(written) == len(set(written)) == 1 + 4 + 4 + 1
    # Without a rival there is nothing to compare with.
    runs.unlink()
    with Store(store, must_exist=True) as opened:
        assert default_study.finished(opened, store, "suites").rows == {}
