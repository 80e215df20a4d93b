import numpy as np
import pytest
from scipy.stats import mannwhitneyu, wilcoxon

from evogen.experiment import Cell, Outcome, Spec, Store, summarize
from evogen.experiment.comparison import (
    compare_stores,
    comparison_tables,
    comparison_text,
    write_comparison,
)


@pytest.fixture
def worse(fill, tmp_path):
    """The same campaign with all fronts farther away, and without one algorithm."""
    gaps = {"nsga2": 0.3, "best": 0.05, "other": 0.2}
    with Store(fill(tmp_path / "worse.db", shift=0.6, **gaps)) as store:
        yield store


def test_a_campaign_is_identical_to_itself(filled):
    with Store(filled) as one, Store(filled) as two:
        comparison = compare_stores(one, two)
        assert comparison.identical
        assert len(comparison.runs) == 5 * 4
        for run in comparison.runs:
            assert run.n_identical == run.n_paired == 6
            assert set(run.ratio.values()) <= {1.0}
            assert set(run.mark.values()) <= {"="}
            assert set(run.p_paired.values()) <= {1.0}
        assert "identical results, bit for bit" in comparison_text(comparison)


def test_one_changed_bit_is_found(fill, filled, tmp_path):
    path = fill(tmp_path / "changed.db")
    with Store(path) as store:
        cell = next(c for c in store.cells("done") if (c.problem, c.seed) == ("three", 2))
        arrays = {name: store.arrays(cell.key, name) for name in ("result", "curves")}
        arrays["result"]["X"][0, 0] = np.nextafter(arrays["result"]["X"][0, 0], 2)
        arrays["curves"]["seconds"] += 1  # that may differ
        spec = Spec("three", "problem-three"), Spec(cell.algorithm, cell.algorithm)
        same = {"igd": cell.igd, "igd_plus": cell.igd_plus, "hv": cell.hv}
        store.save(Cell(*spec, 2, 12, 400), Outcome("done", n_obj=3, n_eval=cell.n_eval,
                                                   indicators=same, arrays=arrays))  # fmt: skip
        with Store(filled) as before:
            comparison = compare_stores(before, store)
    changed = [run for run in comparison.runs if run.n_identical != 6]
    assert [(run.problem, run.algorithm) for run in changed] == [("three", cell.algorithm)]
    assert changed[0].n_identical == 5
    assert not comparison.identical


def test_numbers_agree_with_scipy_run_by_run(store, worse):
    comparison = compare_stores(store, worse)
    before, after = summarize(store), summarize(worse)
    run = next(r for r in comparison.runs if (r.problem, r.algorithm) == ("two", "best"))
    a, b = before.values("two", "best", "igd"), after.values("two", "best", "igd")
    assert run.medians["igd"] == (np.median(a), np.median(b))
    assert run.ratio["igd"] == pytest.approx(np.median(b) / np.median(a))
    assert run.p["igd"] == pytest.approx(mannwhitneyu(a, b).pvalue)
    assert run.p_paired["igd"] == pytest.approx(wilcoxon(a, b).pvalue)
    assert run.effect["igd"] == 0.0
    assert run.n_identical == 0
    # 2 algorithms on 4 problems, all at the smallest p of 6 against 6 runs: Holm multiplies by 8.
    assert run.p_adjusted["igd"] == pytest.approx(8 * 2 / 924)
    marks = {r.mark["igd"] for r in comparison.runs if "igd" in r.mark}
    assert marks == {"-"}
    assert {r.mark["hv"] for r in compare_stores(worse, store).runs if "hv" in r.mark} == {"+"}


def test_what_is_in_one_store_only_is_listed(store, worse):
    comparison = compare_stores(store, worse)
    assert {algorithm for _, algorithm in comparison.only_first} == {"middle <i>", "worst_of_all"}
    assert {algorithm for _, algorithm in comparison.only_second} == {"other"}
    text = comparison_text(comparison)
    assert "Only in the first: two, middle <i>" in text
    assert "IGD: the second is significantly better on 0, worse on 8, not different on 0" in text


def bare(path, values, **cell):
    with Store(path) as store:
        for seed, value in enumerate(values, start=1):
            spec = Spec("p", "p"), Spec("a", "a")
            outcome = Outcome("done", indicators={"igd": value})
            store.save(
                Cell(*spec, seed, cell.get("pop_size", 10), cell.get("n_eval", 100)), outcome
            )
    return path


def test_results_without_arrays_are_compared_by_their_numbers(tmp_path):
    with (
        Store(bare(tmp_path / "a.db", [0.1, 0.2, 0.3])) as one,
        Store(bare(tmp_path / "b.db", [0.1, 0.2], n_eval=200, pop_size=20)) as two,
    ):
        run = compare_stores(one, two).runs[0]
        assert run.n_identical is None
        assert (run.n_first, run.n_second, run.n_paired) == (3, 2, 2)
        assert run.note == "population 10 and 20, budget 100 and 200"
        table = comparison_tables(compare_stores(one, two))[-1]
        assert [e.text for e in table.rows[0]] == [
            "p", "a", "3", "2", "2", "unknown", "population 10 and 20, budget 100 and 200",
        ]  # fmt: skip


def test_nothing_in_common_is_an_error_that_says_what_there_is(store, tmp_path):
    with (
        Store(bare(tmp_path / "a.db", [0.1])) as other,
        pytest.raises(ValueError, match=r"no finished runs of the same.*p by a.*two, three"),
    ):
        compare_stores(other, store)


def test_a_comparison_is_written_as_text_page_latex_and_csv(store, worse, tmp_path):
    written = write_comparison(store, worse, tmp_path / "out")
    assert [path.name for path in written] == [
        "comparison.md", "comparison.html", "comparison.tex", "comparison-igd.csv",
        "comparison-igd_plus.csv", "comparison-hv.csv", "comparison-runs.csv",
    ]  # fmt: skip
    assert set(written) == set((tmp_path / "out").iterdir())
    html = written[1].read_text()
    assert '<table class="sortable">' in html
    assert "default-src 'none'" in html
    assert 'id="comparison-hv"' in html
    assert "middle &lt;i&gt;" in html
    assert "<i>" not in html
    assert written[2].read_text().count(r"\toprule") == 4
