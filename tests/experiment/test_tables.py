import csv
import io
import math

import numpy as np
import pytest
from rich.console import Console

from evogen.experiment import (
    Cell,
    Outcome,
    Spec,
    Store,
    all_tables,
    cost_table,
    indicator_table,
    summarize,
    to_markdown,
    to_rich,
    write_csv,
)
from evogen.experiment.tables import number


def save(store, problem, algorithm, values, *, problem_settings=None, settings=None, **cell):
    for seed, value in enumerate(values, start=1):
        spec = (
            Spec(problem, problem, problem_settings or {}),
            Spec(algorithm, algorithm, settings or {}),
        )
        outcome = Outcome(
            "done",
            n_var=2,
            n_obj=2,
            n_eval=104,
            n_nonfinite=1,
            cpu_seconds=0.5,
            wall_seconds=2.0,
            indicators={
                "igd": value,
                "igd_plus": value,
                "hv": None if value is None else 1 - value,
            },
            arrays={"result": {"F": np.eye(2)}, "curves": {"n_eval": np.array([104.0])}},
        )
        store.save(Cell(*spec, seed, cell.get("pop_size", 10), cell.get("n_eval", 100)), outcome)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "runs.db") as store:
        yield store


@pytest.fixture
def filled(store):
    steps = np.linspace(-0.01, 0.01, 11)
    store.remember_order("problem", ["zdt2", "zdt1"])
    store.remember_order("algorithm", ["nsga2", "better", "worse"])
    for problem, base in (("zdt1", 0.3), ("zdt2", 0.4)):
        save(store, problem, "nsga2", base + steps)
        save(store, problem, "better", base / 2 + steps)
        save(store, problem, "worse", base * 2 + steps)
    store.save_front({"name": "zdt1", "settings": {}}, 10, np.eye(2), 0.0123)
    return store


def texts(table):
    return [[entry.text for entry in row] for row in table.rows]


def test_medians_marks_and_the_best_are_where_they_belong(filled):
    table = indicator_table(summarize(filled), "igd")
    assert table.header == ["problem", "floor", "nsga2", "better", "worse"]
    assert texts(table) == [
        ["zdt2", "-", "0.400", "0.200", "0.800"],
        ["zdt1", "0.0123", "0.300", "0.150", "0.600"],
        ["+ / = / -", "", "", "2 / 0 / 0", "0 / 0 / 2"],
    ]
    assert [[e.mark for e in row] for row in table.rows[:2]] == [["", "", "", "+", "-"]] * 2
    assert [e.best for e in table.rows[0]] == [False, False, False, True, False]


def test_larger_is_better_for_the_hypervolume(filled):
    table = indicator_table(summarize(filled), "hv")
    assert texts(table)[0] == ["zdt2", "0.600", "0.800", "0.200"]
    assert [e.mark for e in table.rows[0]] == ["", "", "+", "-"]
    assert table.rows[0][2].best


def test_another_baseline_turns_the_marks(filled):
    table = indicator_table(summarize(filled, baseline="better"), "igd")
    assert [e.mark for e in table.rows[0]] == ["", "", "-", "", "-"]
    with pytest.raises(ValueError, match=r"baseline='bettr' is not among.*better"):
        summarize(filled, baseline="bettr")


def test_too_few_runs_for_a_mark_are_said_so(store):
    save(store, "p", "nsga2", [0.1, 0.2])
    save(store, "p", "other", [0.8, 0.9])
    table = indicator_table(summarize(store), "igd")
    assert table.rows[0][-1].mark == "="
    assert "too few runs" in table.caption


def test_enough_runs_do_not_bring_that_remark(filled):
    assert "too few" not in indicator_table(summarize(filled), "igd").caption


def test_cost_is_the_median_of_a_run_and_counts_failures(filled):
    bad = Cell(Spec("zdt1", "zdt1"), Spec("worse", "worse"), 99, 10, 100)
    filled.save(bad, Outcome("failed", error="ValueError: no", traceback="..."))
    results = summarize(filled)
    assert texts(cost_table(results))[2] == ["worse", "22", "1", "104", "0.500", "2.00", "22"]
    failures = all_tables(results)[-1]
    assert texts(failures) == [["zdt1", "worse", "99", "ValueError: no"]]


def test_an_algorithm_that_always_failed_has_a_column_of_dashes(filled):
    bad = Cell(Spec("zdt1", "zdt1"), Spec("broken", "broken"), 1, 10, 100)
    filled.save(bad, Outcome("failed", error="no"))
    table = indicator_table(summarize(filled), "igd")
    assert table.header[-1] == "broken"
    assert {row[-1].text for row in table.rows[:2]} == {"-"}


def test_rows_that_differ_in_size_or_budget_are_kept_apart(store):
    save(store, "imf10", "nsga2", [0.2], problem_settings={"n_var": 30})
    save(store, "imf10", "nsga2", [0.3], problem_settings={"n_var": 100})
    save(store, "imf2", "nsga2", [0.4])
    save(store, "imf2", "nsga2", [0.5], n_eval=900)
    labels = list(summarize(store).rows)
    assert labels == [
        "imf2 (n_eval=100)",
        "imf2 (n_eval=900)",
        "imf10 (n_var=30)",
        "imf10 (n_var=100)",
    ]


def test_rows_that_differ_in_what_ends_a_run_are_kept_apart(store):
    for target in (None, {"igd": 0.1}):
        cell = Cell(Spec("p", "p"), Spec("a", "a"), 1, 10, 100, target=target)
        store.save(cell, Outcome("done", indicators={"igd": 0.1}))
    assert list(summarize(store).rows) == ["p (default)", "p (target={'igd': 0.1})"]


def test_no_hypervolume_at_all_is_never_the_best(store):
    save(store, "p", "a", [1.0, 1.0])  # a hypervolume of 1 - 1
    save(store, "p", "b", [1.0, 1.0])
    table = indicator_table(summarize(store), "hv")
    assert texts(table)[0] == ["p", "0.00", "0.00"]
    assert not any(entry.best for entry in table.rows[0])


def test_columns_that_differ_in_settings_are_kept_apart(store):
    save(store, "p", "gmoea", [0.2])
    save(store, "p", "gmoea", [0.3], settings={"share": 0.5})
    assert summarize(store).algorithms == ["gmoea (default)", "gmoea (share=0.5)"]


def test_an_infinite_median_is_never_the_best(store):
    save(store, "p", "a", [np.inf, np.inf])
    save(store, "p", "b", [np.inf, np.inf])
    table = indicator_table(summarize(store), "igd")
    assert texts(table)[0][2:] == ["inf", "inf"]
    assert not any(entry.best for entry in table.rows[0])


def test_a_problem_without_front_has_no_indicator_table(store):
    save(store, "p", "a", [None, None])
    assert [table.title for table in all_tables(summarize(store))] == ["Cost of a run"]


def test_an_empty_store_is_said_so(store):
    with pytest.raises(ValueError, match="no finished cells"):
        summarize(store)


def test_markdown_has_one_line_per_row_and_bold_best(filled):
    lines = to_markdown(indicator_table(summarize(filled), "igd")).splitlines()
    assert lines[0] == "### IGD, median of 11 runs (smaller is better)"
    assert lines[2] == "| problem | floor | nsga2 | better | worse |"
    assert lines[3] == "| --- | ---: | ---: | ---: | ---: |"
    assert lines[4] == "| zdt2 | - | 0.400 | **0.200** + | 0.800 - |"


def test_the_terminal_shows_what_the_markdown_shows(filled):
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(to_rich(indicator_table(summarize(filled), "igd")))
    shown = console.export_text()
    for text in ("zdt2", "0.200 +", "0.800 -", "Holm-corrected", "0.0123"):
        assert text in shown


def test_csv_gives_every_number_with_all_its_digits(filled, tmp_path):
    write_csv(summarize(filled), tmp_path / "t.csv")
    with (tmp_path / "t.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 6
    line = next(r for r in lines if (r["problem"], r["algorithm"]) == ("zdt1", "better"))
    assert float(line["igd_median"]) == pytest.approx(0.15, abs=1e-15)
    assert float(line["igd_q1"]) == pytest.approx(0.145)
    assert line["igd_mark"] == "+"
    # Four tests in the family, all at the smallest p possible: Holm multiplies them by four.
    assert float(line["igd_p_holm"]) == pytest.approx(4 * float(line["igd_p"]))
    assert float(line["igd_better_probability"]) == 1.0
    assert line["floor"] == "0.0123"
    assert (line["runs"], line["failed"], line["n_nonfinite"]) == ("11", "0", "11")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.00"),
        (0.012345, "0.0123"),
        (12.3, "12.3"),
        (1234.0, "1.23e+03"),
        (123.4, "123"),
        (1e-5, "1.00e-05"),
        (math.inf, "inf"),
        (math.nan, "-"),
        (None, "-"),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text
