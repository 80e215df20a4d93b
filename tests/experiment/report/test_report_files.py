import csv
import re
import shutil
import subprocess

import numpy as np
import pytest

from evogen.experiment import Cell, Outcome, Spec, Store, Table, summarize, write_report
from evogen.experiment import report as report_module
from evogen.experiment.evidence import gather
from evogen.experiment.latex import escape, to_latex, write_latex
from evogen.experiment.posthoc import Ranking, rank_results, win_tie_loss
from evogen.experiment.report_tables import (
    findings,
    indicators_of,
    memory_table,
    ranks_table,
    report_tables,
    running_time_table,
    wins_table,
    write_cells_csv,
    write_table_csv,
)
from evogen.experiment.tables import Entry


def ranking(**given):
    values = {
        "algorithms": ["a", "b", "c"],
        "n_problems": 5,
        "left_out": [],
        "mean_ranks": np.array([2.0, 1.2, 2.8]),
        "statistic": 6.4,
        "p": 0.04,
        "f_statistic": 7.1,
        "f_p": 0.01,
        "critical_difference": 1.0,
        "p_nemenyi": np.array([[1, 0.4, 0.4], [0.4, 1, 0.03], [0.4, 0.03, 1]]),
        "groups": [[1, 0], [0, 2]],
    }
    return Ranking(**{**values, **given})


@pytest.fixture(scope="module")
def tables(filled):
    with Store(filled) as store:
        results = summarize(store)
        gathered = gather(store, results)
        wins = {i: win_tie_loss(results, i) for i in indicators_of(results)}
        return report_tables(results, gathered, {"igd": ranking()}, wins)


def test_a_report_has_a_table_for_everything(tables):
    assert list(tables) == [
        "igd", "ranks-igd", "wins-igd", "igd_plus", "wins-igd_plus", "hv", "wins-hv",
        "ert-1.5", "ert-2", "ert-5", "ert-10", "cost", "cpu", "failed",
    ]  # fmt: skip
    for table in tables.values():
        assert {len(row) for row in table.rows} == {len(table.header)}


def test_medians_come_with_their_interquartile_range(tables, store):
    values = summarize(store).values("two", "best", "igd")
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    entry = tables["igd"].rows[0][3]
    assert entry.value == pytest.approx(median)
    shown = re.fullmatch(r"(\S+) \((\S+)\)", entry.text)
    assert float(shown[1]) == pytest.approx(median, rel=0.01)
    assert float(shown[2]) == pytest.approx(high - low, rel=0.01)


def test_ranks_are_shown_best_first_with_p_values_against_it():
    table = ranks_table(ranking(left_out=["q"]), "igd")
    assert [[e.text for e in row] for row in table.rows] == [
        ["b", "1.20", "-"],
        ["a", "2.00", "0.400"],
        ["c", "2.80", "0.0300"],
    ]
    assert "critical difference 1.00" in table.caption
    assert "no value: q" in table.caption


def test_wins_are_counted_in_rows_against_columns(store):
    results = summarize(store)
    table = wins_table(win_tie_loss(results, "igd"), "igd")
    best = next(row for row in table.rows if row[0].text == "best")
    assert best[-1].text == "4 / 0 / 0"
    assert best[-1].value == 4
    assert best[3].text == ""  # against itself
    assert sum(int(row[1].text) for row in table.rows) == 0


def test_running_times_count_the_runs_that_made_it(store):
    results = summarize(store)
    table = running_time_table(results, gather(store, results), 10.0)
    by_name = {row[0].text: row for row in table.rows}
    assert by_name["two"][1].value == pytest.approx(0.5)
    assert by_name["two"][3].text.endswith("(6/6)")
    assert by_name["two"][3].best
    assert by_name["two"][5].text == "inf (0/6)"
    assert "five *" in by_name  # no floor
    assert by_name["unknown"][2].text == "-"


def test_findings_name_the_best_and_do_not_overstate(store):
    results = summarize(store)
    said = findings(results, {"igd": ranking(), "hv": ranking(f_p=0.5)})
    assert said[0].startswith("IGD: best has the best median on 4 of 5 problems")
    assert "mean rank is that of b (1.20), not significantly ahead of a." in said[0]
    assert "do not differ by more than chance" in said[2]
    assert said[3] == "1 runs failed; they are listed at the end."
    alone = findings(results, {"igd": ranking(critical_difference=0.5)})
    assert "significantly ahead of all others" in alone[0]


def test_every_cell_has_a_line_with_all_digits(store, tmp_path):
    results = summarize(store)
    with write_cells_csv(store, results, tmp_path / "cells.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 5 * 4 * 6 + 1
    values = [float(r["igd"]) for r in lines if (r["problem"], r["algorithm"]) == ("five", "best")]
    assert values == results.values("five", "best", "igd").tolist()
    failed = [line for line in lines if line["status"] == "failed"]
    assert len(failed) == 1
    assert failed[0]["igd"] == ""
    assert "</script>" in failed[0]["error"]


def test_a_table_as_csv_has_marks_in_columns_of_their_own(tmp_path):
    rows = [[Entry("p"), Entry("1.0"), Entry("2.0", "-")]]
    table = Table("t", ["problem", "a", "b"], rows)
    with write_table_csv(table, tmp_path / "t.csv").open() as file:
        assert list(csv.reader(file)) == [["problem", "a", "b", "b mark"], ["p", "1.0", "2.0", "-"]]


def test_latex_is_escaped_and_marks_the_best():
    rows = [
        [Entry("a_1 & {2}"), Entry("0.1", "+", True), Entry("0.2", "=")],
        [Entry("+ / = / -"), Entry("1 / 0 / 0"), Entry("")],
    ]
    text = to_latex(Table("50 % #1", ["problem", "x", "y"], rows, "p < 5"), "igd")
    assert r"a\_1 \& \{2\} & \textbf{0.1} $+$ & 0.2 $\approx$ \\" in text
    assert r"\caption{50 \% \#1. p \textless{} 5}" in text
    assert r"\label{tab:igd}" in text
    assert text.count(r"\midrule") == 2  # header, totals
    assert text.index(r"\toprule") < text.index(r"\midrule") < text.index(r"\bottomrule")
    assert escape("~^\\") == r"\textasciitilde{}\textasciicircum{}\textbackslash{}"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex here")
def test_the_latex_of_a_report_compiles(tables, tmp_path):
    write_latex(list(tables.items()), tmp_path / "tables.tex")
    (tmp_path / "paper.tex").write_text(
        r"\documentclass{article}\usepackage{booktabs,graphicx}"
        r"\begin{document}\input{tables}\end{document}"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]


def test_latex_has_balanced_braces_and_as_many_fields_as_columns(tables):
    for table in tables.values():
        text = to_latex(table)
        bare = re.sub(r"\\[{}]", "", text)
        assert bare.count("{") == bare.count("}")
        lines = [line for line in text.splitlines() if line.endswith(r" \\")]
        assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in lines} == {len(table.header)}


def test_big_campaigns_have_figures_in_files_only_if_asked_for(filled, tmp_path, monkeypatch):
    monkeypatch.setattr(report_module, "MAX_DRAWN", 0)
    with Store(filled) as store:
        written = write_report(store, tmp_path / "none", html=False)
    assert {path.suffix for path in written} == {".md", ".csv", ".tex"}
    assert not (tmp_path / "none" / "index.html").exists()


def test_without_the_extra_there_is_no_page_and_asking_for_it_is_an_error(
    filled, tmp_path, monkeypatch
):
    monkeypatch.setattr(report_module, "MAX_DRAWN", 0)
    monkeypatch.setattr(report_module, "PACKAGES", ("plotly", "no_such_package"))
    with Store(filled) as store:
        written = write_report(store, tmp_path / "default")
        assert "index.html" not in {path.name for path in written}
        with pytest.raises(ImportError, match=r"no_such_package: pip install 'evogen\[report\]'"):
            write_report(store, tmp_path / "asked", html=True)
    assert not (tmp_path / "asked").exists()


def test_rankings_of_a_store_reach_the_tables(store):
    pytest.importorskip("scikit_posthocs", reason="needs the extra report")
    results = summarize(store)
    found = rank_results(results, "igd")
    assert [row[0].text for row in ranks_table(found, "igd").rows] == [
        "best", "middle <i>", "nsga2", "worst_of_all",
    ]  # fmt: skip


def test_memory_has_a_table_where_the_store_keeps_it(tmp_path, store):
    assert memory_table(summarize(store)) is None
    with Store(tmp_path / "runs.db") as other:
        for seed, mib in enumerate((100, 300, 200), start=1):
            cell = Cell(Spec("p", "p"), Spec("a", "a"), seed, 10, 100)
            other.save(cell, Outcome("done", peak_memory=mib * 2**20))
        table = memory_table(summarize(other))
    assert [[entry.text for entry in row] for row in table.rows] == [["p", "200"]]


def test_a_store_of_failures_alone_still_has_a_report(tmp_path):
    with Store(tmp_path / "runs.db") as store:
        cell = Cell(Spec("p", "p"), Spec("a", "a"), 1, 10, 100)
        store.save(cell, Outcome("failed", error="ValueError: no", traceback="..."))
        written = write_report(store, tmp_path / "report")
    assert "ValueError: no" in written[0].read_text()
