import os
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial

import numpy as np
import pytest

from evogen.experiment import (
    Campaign,
    Cell,
    Outcome,
    Spec,
    Store,
    indicators,
    summarize,
    to_markdown,
    whole_seeds,
)
from evogen.experiment import campaign as campaign_module
from evogen.experiment.tables import indicator_table


def rows(path):
    with Store(path) as store:
        return {(c.problem, c.algorithm, c.seed): c for c in store.cells()}


def results(path):
    """Everything of a store that must not depend on how it came about."""
    with Store(path) as store:
        return {
            c.key: (c.status, c.igd, c.hv, store.arrays(c.key, "result")["X"].tobytes())
            for c in store.cells()
        }


@pytest.fixture
def small(tmp_path):
    def build(problems=("zdt1", "zdt2"), algorithms=("nsga2", "spea2"), **changes):
        settings = {"seeds": 2, "n_eval": 48, "pop_size": 12, "problem_settings": {"n_var": 4}}
        settings["store"] = tmp_path / "runs.db"
        return Campaign(problems, algorithms, **(settings | changes))

    return build


def test_every_cell_of_the_grid_is_stored(small):
    campaign = small(seeds=[3, 8])
    summary = campaign.run(jobs=0, progress=False)
    assert (summary.n_cells, summary.n_done, summary.n_skipped) == (8, 8, 0)
    assert set(rows(campaign.store)) == {
        (p, a, s) for p in ("zdt1", "zdt2") for a in ("nsga2", "spea2") for s in (3, 8)
    }


def test_a_number_of_seeds_stands_for_the_first_ones(small):
    assert small(seeds=3).seeds == [1, 2, 3]


def test_the_same_command_again_runs_nothing_and_more_seeds_only_the_rest(small):
    small().run(jobs=0, progress=False)
    before = results(small().store)
    assert small().run(jobs=0, progress=False).n_done == 0
    summary = small(seeds=3).run(jobs=0, progress=False)
    assert (summary.n_skipped, summary.n_done) == (8, 4)
    after = results(small().store)
    assert {key: after[key] for key in before} == before


def test_worker_processes_find_what_this_process_finds(small, tmp_path):
    here = small(store=tmp_path / "here.db")
    there = small(store=tmp_path / "there.db", algorithms=["nsga2", "spea2"])
    here.run(jobs=0, progress=False)
    there.run(jobs=2, progress=False)
    assert results(here.store) == results(there.store)


def test_failing_and_killed_cells_are_recorded_and_the_others_go_on(parts, tmp_path):
    campaign = Campaign(
        [
            Spec("raising", parts.Raising),
            Spec("killing", parts.Killing),
            Spec("sick", parts.Sick),
            parts.small_zdt1,
        ],
        {"half": Spec("", parts.nsga2, {"eta": 10}), "plain": parts.nsga2},
        seeds=2,
        n_eval=40,
        pop_size=8,
        store=tmp_path / "runs.db",
    )
    summary = campaign.run(jobs=2, progress=False)
    stored = rows(campaign.store)
    assert (summary.n_done, len(summary.failed)) == (8, 8)
    for (problem, _, _), cell in stored.items():
        assert cell.status == ("failed" if problem in ("raising", "killing") else "done")
        if problem == "raising":
            assert "the simulator said no" in cell.traceback
        if problem == "killing":
            assert "killed by SIGKILL" in cell.error
        if problem == "sick":
            assert cell.n_nonfinite > 0
    assert campaign.run(jobs=2, progress=False).n_done == 0


def test_failed_cells_are_run_again_on_request(parts, tmp_path, monkeypatch):
    campaign = Campaign(
        Spec("p", parts.Raising),
        parts.nsga2,
        seeds=2,
        n_eval=16,
        pop_size=8,
        store=tmp_path / "r.db",
    )
    assert len(campaign.run(jobs=0, progress=False).failed) == 2
    monkeypatch.setattr(parts.Raising, "_evaluate", parts.Sick._evaluate)
    assert campaign.run(jobs=0, progress=False).n_skipped == 2
    assert campaign.run(jobs=0, progress=False, retry_failed=True).n_done == 2
    assert {c.status for c in rows(campaign.store).values()} == {"done"}


def test_suites_and_twins_stand_for_problems(small):
    campaign = small(["imf", "imf1", "zdt1-shifted"], problem_settings={})
    labels = [spec.label for spec in campaign.problems]
    assert labels == [f"imf{i}" for i in range(1, 11)] + ["zdt1-shifted"]


def test_a_twin_is_the_same_problem_in_all_runs(small):
    campaign = small(["zdt1-shifted"], seeds=2)
    built = [cell.problem.build_problem() for cell in campaign.cells]
    assert {tuple(p.offsets) for p in built} == {tuple(built[0].offsets)}
    assert {p.seed for p in built} == {campaign_module.TWIN_SEED}


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"problems": ["zdt11"]}, ValueError, "zdt1"),
        ({"problems": []}, ValueError, "problems is empty"),
        ({"problems": [3]}, TypeError, "problems: 3"),
        ({"algorithms": ["nsga"]}, ValueError, "nsga2"),
        ({"algorithms": []}, ValueError, "algorithms is empty"),
        ({"algorithms": ["nsga2", "nsga2"]}, ValueError, "'nsga2' stands for two"),
        ({"algorithms": {"a": "nsga2", "b": "nsga2"}}, ValueError, "'a' and 'b' are the same"),
        ({"seeds": 0}, ValueError, "seeds=0"),
        ({"seeds": [1, 1]}, ValueError, "a seed twice"),
        ({"seeds": []}, ValueError, "seeds is empty"),
        ({"seeds": [1.5]}, TypeError, "seeds=1.5"),
        ({"n_eval": 0}, ValueError, "n_eval=0"),
        ({"pop_size": 1}, ValueError, "pop_size=1"),
        ({"problem_settings": {"n_vars": 3}}, TypeError, "n_var"),
    ],
)
def test_bad_input_is_refused_before_any_work(small, changes, error, words, tmp_path):
    with pytest.raises(error, match=words):
        small(**changes)
    assert not (tmp_path / "runs.db").exists()


def test_impossible_jobs_are_refused(small):
    with pytest.raises(ValueError, match="jobs=-1"):
        small().run(jobs=-1)


def test_new_labels_reach_the_stored_cells(small):
    small(["zdt1"], ["nsga2"]).run(jobs=0, progress=False)
    campaign = small([Spec("ZDT 1", "zdt1", {"n_var": 4})], {"NSGA-II": "nsga2"})
    assert campaign.run(jobs=0, progress=False).n_done == 0
    assert {key[:2] for key in rows(campaign.store)} == {("ZDT 1", "NSGA-II")}


def test_one_cell_of_each_kind_comes_first_and_then_the_longest():
    cells = [
        Cell(Spec(p, p), Spec("a", "a"), seed, 10, 100) for seed in (1, 2, 3) for p in ("x", "y")
    ]
    queue = campaign_module._Queue(cells)
    first, second = queue.pop(), queue.pop()
    assert [(c.problem.label, c.seed) for c in (first, second)] == [("x", 1), ("y", 1)]
    assert queue.seconds_left() is None
    queue.measured(first, 1.0)
    queue.measured(second, 9.0)
    order = []
    while (cell := queue.pop()) is not None:
        order.append((cell.problem.label, cell.seed))
        if len(order) == 1:
            # One y runs (half of the typical 5 s), one y and two x wait.
            assert queue.seconds_left() == pytest.approx((9 + 2 * 1 + 2.5) / 2)
    assert order == [("y", 2), ("y", 3), ("x", 2), ("x", 3)]


def test_seed_by_seed_the_longest_cells_of_a_seed_come_first():
    cells = [
        Cell(Spec(p, p), Spec("a", "a"), seed, 10, 100) for seed in (5, 1, 2) for p in ("x", "y")
    ]
    queue = campaign_module._Queue(cells, "seeds")
    order = []
    while (cell := queue.pop()) is not None:
        order.append((cell.problem.label, cell.seed))
        queue.measured(cell, {"x": 1.0, "y": 9.0}[cell.problem.label])
        if len(order) == 2:
            assert queue.seconds_left() == pytest.approx(2 * (9 + 1))
    assert order == [("x", 5), ("y", 5), ("y", 1), ("x", 1), ("y", 2), ("x", 2)]


def test_a_campaign_seed_by_seed(small, monkeypatch):
    run, save = [], Store.save

    def noting(store, cell, outcome):
        run.append(cell.seed)
        save(store, cell, outcome)

    monkeypatch.setattr(Store, "save", noting)
    campaign = small(["zdt1"], seeds=[4, 1, 2])
    campaign.run(jobs=0, progress=False, order="seeds")
    assert run == [4, 4, 1, 1, 2, 2]


def test_whole_seeds_are_those_before_the_first_with_a_gap(small):
    campaign = small(["zdt1"], ["nsga2", "gde3"], seeds=[4, 1, 2])
    with Store(campaign.store) as store:
        assert whole_seeds(store, campaign.cells) == (set(), 0)
        for cell in campaign.cells[:3] + campaign.cells[4:]:
            store.save(cell, Outcome("done", indicators={}, n_obj=2))
        keys, n_seeds = whole_seeds(store, campaign.cells)
        assert (keys, n_seeds) == ({cell.key for cell in campaign.cells[:2]}, 1)
        assert {
            cell.seed for cells in summarize(store, keys=keys).done.values() for cell in cells
        } == {4}
        store.save(campaign.cells[3], Outcome("failed", error="no"))
        assert whole_seeds(store, campaign.cells)[1] == 1
        store.save(campaign.cells[3], Outcome("done", indicators={}, n_obj=2))
        assert whole_seeds(store, campaign.cells) == ({cell.key for cell in campaign.cells}, 3)


def test_an_unknown_order_is_refused_before_anything_runs(small):
    campaign = small()
    with pytest.raises(ValueError, match="order='seed' must be one of cost, seeds"):
        campaign.run(jobs=0, progress=False, order="seed")
    assert not campaign.store.exists()


def test_the_bar_counts_cells_and_names_failures(small, parts, capsys):
    small([Spec("bad", parts.Raising), "zdt1"], ["nsga2"], seeds=1).run(jobs=0, progress=True)
    text = capsys.readouterr().err
    assert "2/2" in text
    assert "failed: bad, nsga2, seed 1: RuntimeError: the simulator said no" in text


SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
import {name} as parts
from evogen.experiment import Campaign, Spec

if __name__ == "__main__":
    Campaign([Spec("slow", parts.Slow)], [parts.nsga2], seeds=12, n_eval=96, pop_size=8,
             store={store!r}).run(jobs=2, progress=False)
"""


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie has ended; only its parent has not looked yet.
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at processes in /proc")
@pytest.mark.parametrize("name", ["SIGKILL", "SIGINT"])
def test_a_campaign_that_is_killed_loses_only_unfinished_cells(parts, tmp_path, name):
    notes, store = tmp_path / "notes", tmp_path / "runs.db"
    notes.mkdir()
    script = tmp_path / "script.py"
    script.write_text(
        SCRIPT.format(folder=str(tmp_path / "parts"), name=parts.__name__, store=str(store))
    )
    environment = {**os.environ, "SLOW_NOTES": str(notes)}
    process = subprocess.Popen(
        [sys.executable, str(script)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs in the background of a shell ignores Ctrl-C, and so do those it starts.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )

    def n_stored():
        if not store.exists():
            return 0
        try:
            return len(rows(store))
        except Exception:
            return 0  # it is being made

    wait_for(lambda: n_stored() >= 3 or process.poll() is not None)
    assert process.poll() is None, process.stderr.read()
    process.send_signal(getattr(signal, name))
    process.wait(60)
    process.stderr.close()
    workers = [int(note.name) for note in notes.iterdir()]
    assert len(workers) == 2
    wait_for(lambda: not any(map(alive, workers)), 30)
    before = results(store)
    assert 3 <= len(before) < 12

    (notes / "go").touch()
    os.environ["SLOW_NOTES"] = str(notes)
    try:
        arguments = {"seeds": 12, "n_eval": 96, "pop_size": 8}
        grid = [Spec("slow", parts.Slow)], [parts.nsga2]
        summary = Campaign(*grid, **arguments, store=store).run(jobs=0, progress=False)
        whole = Campaign(*grid, **arguments, store=tmp_path / "whole.db")
        whole.run(jobs=0, progress=False)
    finally:
        del os.environ["SLOW_NOTES"]
    assert summary.n_skipped == len(before)
    after = results(store)
    assert {key: after[key] for key in before} == before
    assert after == results(whole.store)
    tables = []
    for path in (store, whole.store):
        with Store(path) as opened:
            tables.append(to_markdown(indicator_table(summarize(opened), "hv")))
    assert tables[0] == tables[1]


def test_a_script_without_a_main_guard_is_told_what_to_do(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            from evogen.experiment import Campaign

            Campaign(["zdt1"], ["nsga2"], seeds=1, n_eval=24, pop_size=12,
                     store={str(tmp_path / "runs.db")!r}).run(jobs=1, progress=False)
            """
        )
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode != 0
    assert "if __name__ == '__main__':" in done.stderr


def test_the_true_front_is_kept_for_reports(small):
    campaign = small(["zdt1"], ["nsga2"], seeds=1)
    campaign.run(jobs=0, progress=False)
    with Store(campaign.store) as store:
        front, floor = store.front(campaign.problems[0].describe(), 12)
    assert np.allclose(front[:, 1], 1 - np.sqrt(front[:, 0]))
    assert floor == pytest.approx(0.03, rel=0.2)


def directions_for_three(problem, pop_size):
    from pymoo.algorithms.moo.nsga3 import NSGA3

    return NSGA3(np.eye(3), pop_size=pop_size)


def pymoo_moead(problem, pop_size):
    from pymoo.algorithms.moo.moead import MOEAD

    return MOEAD(np.eye(2), n_neighbors=2)


@pytest.mark.parametrize(
    ("problem", "algorithm", "words"),
    [
        ("zdt1", directions_for_three, r"directions_for_three cannot solve zdt1: .*3 != 2"),
        ("bnh", pymoo_moead, r"pymoo_moead cannot solve bnh: .* any constraints"),
        ("bnh", "moead-de", r"moead-de cannot solve bnh: .*constraint"),
    ],
)
def test_a_pair_that_cannot_be_set_up_is_refused_before_any_work(
    tmp_path, problem, algorithm, words
):
    with pytest.raises(ValueError, match=words):
        Campaign(problem, algorithm, seeds=1, store=tmp_path / "runs.db")
    assert not (tmp_path / "runs.db").exists()


def test_algorithms_that_need_the_budget_when_set_up_pass(small):
    # RVEA turns it into a number of generations.
    campaign = small(["zdt1"], ["rvea"], seeds=1)
    assert campaign.run(jobs=0, progress=False).n_done == 1


def test_cells_are_measured_again_when_the_true_front_has_changed(small, monkeypatch):
    campaign = small(["zdt1", "zdt2"], ["nsga2"], seeds=2)
    campaign.run(jobs=0, progress=False)
    before = rows(campaign.store)
    description = campaign.problems[0].describe()
    with Store(campaign.store) as store:
        old_front, old_floor = store.front(description, 12)
    true_front = indicators.true_front
    up = np.array([0.0, 1.0])

    def changed(problem, n_points=None):
        front = true_front(problem, n_points)
        return front + up if "ZDT1" in problem.name() else front

    monkeypatch.setattr(indicators, "true_front", changed)
    summary = small(["zdt1", "zdt2"], ["nsga2"], seeds=3).run(jobs=0, progress=False)
    assert (summary.n_skipped, summary.n_done, summary.n_remeasured) == (4, 2, 2)
    assert "2 measured again" in str(summary)
    after = rows(campaign.store)
    with Store(campaign.store) as store:
        front, floor = store.front(description, 12)
        curves = {seed: store.arrays(after["zdt1", "nsga2", seed].key, "curves") for seed in (1, 3)}
    assert np.array_equal(front, old_front + up)
    assert floor == pytest.approx(old_floor)
    for seed in (1, 2):
        assert after["zdt2", "nsga2", seed] == before["zdt2", "nsga2", seed]
        old, new = before["zdt1", "nsga2", seed], after["zdt1", "nsga2", seed]
        assert new.igd != old.igd
        assert new.reference == after["zdt1", "nsga2", 3].reference != old.reference
    cell = after["zdt1", "nsga2", 1]
    assert (curves[1]["igd"][-1], curves[1]["hv"][-1]) == (cell.igd, cell.hv)
    assert np.isnan(curves[1]["igd"][:-1]).all()
    assert np.isfinite(curves[3]["igd"]).all()
    # What is measured again is what a run would have measured.
    small(["zdt1"], ["nsga2"], store=campaign.store.with_name("new.db")).run(jobs=0, progress=False)
    assert rows(campaign.store.with_name("new.db"))["zdt1", "nsga2", 1].igd == cell.igd
    assert small(["zdt1"], ["nsga2"]).run(jobs=0, progress=False).n_remeasured == 0


def test_a_front_that_is_not_known_at_present_does_not_replace_one_that_was(small, monkeypatch):
    campaign = small(["zdt1"], ["nsga2"], seeds=1)
    campaign.run(jobs=0, progress=False)
    before = rows(campaign.store)
    monkeypatch.setattr(indicators, "true_front", lambda problem, n_points=None: None)
    assert campaign.run(jobs=0, progress=False).n_remeasured == 0
    assert rows(campaign.store) == before
    with Store(campaign.store) as store:
        assert store.front(campaign.problems[0].describe(), 12)[0] is not None


def test_a_summary_may_be_about_a_part_of_the_store(small):
    small(["zdt1"], ["nsga2", "spea2"]).run(jobs=0, progress=False)
    later = small(["zdt2"], ["spea2"])
    later.run(jobs=0, progress=False)
    with Store(later.store) as store:
        whole = summarize(store)
        part = summarize(store, keys={cell.key for cell in later.cells})
        with pytest.raises(ValueError, match="holds no"):
            summarize(store, keys=set())
    assert (list(whole.rows), whole.algorithms) == (["zdt1", "zdt2"], ["nsga2", "spea2"])
    assert (list(part.rows), part.algorithms) == (["zdt2"], ["spea2"])


def test_a_budget_is_never_exceeded(small):
    campaign = small(["zdt1"], ["nsga2", "spea2", "gde3"], n_eval=50, seeds=1)
    campaign.run(jobs=0, progress=False)
    evaluations = {key[1]: cell.n_eval for key, cell in rows(campaign.store).items()}
    assert evaluations["nsga2"] == 50
    assert max(evaluations.values()) <= 50


def test_a_run_may_end_earlier_at_its_target_or_after_seconds(small):
    campaign = small(["zdt1"], ["nsga2"], n_eval=3000, target={"igd": 0.5}, seeds=1)
    campaign.run(jobs=0, progress=False)
    (cell,) = rows(campaign.store).values()
    assert cell.n_eval < 3000
    assert cell.igd <= 0.5
    assert cell.spec["target"] == {"igd": 0.5}
    hurried = small(["zdt1"], ["nsga2"], n_eval=10**7, seconds=0.2, seeds=1)
    hurried.run(jobs=0, progress=False)
    (cell,) = (c for c in rows(hurried.store).values() if "seconds" in c.spec)
    # Nothing else would have ended it before its budget.
    assert 0 < cell.n_eval < 10**7


def test_cells_with_another_way_to_end_are_other_cells(small):
    plain, timed, aimed = (
        small(["zdt1"], ["nsga2"], seeds=1, **how).cells[0]
        for how in ({}, {"seconds": 5}, {"target": {"igd": 0.1}})
    )
    assert len({plain.key, timed.key, aimed.key}) == 3


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"seconds": 0}, ValueError, "seconds=0 must be a positive number"),
        ({"seconds": "5"}, TypeError, "seconds='5'"),
        ({"target": 0.1}, TypeError, "target=0.1 must be a dictionary"),
        ({"target": {}}, ValueError, "it is empty"),
        ({"target": {"gd": 0.1}}, ValueError, "'gd' is unknown; give some of igd"),
        ({"target": {"f": 0.1}}, ValueError, "the target 'f' cannot be measured"),
    ],
)
def test_impossible_ends_are_refused(small, changes, error, words):
    with pytest.raises(error, match=words):
        small(**changes)
