import os
import sys
import textwrap
import time

import numpy as np
import pytest

from evogen.experiment import Campaign, Spec, Store
from evogen.experiment.engines import EngineSettings
from evogen.experiment.memory import limited_memory, n_bytes, peak_memory, reset_peak

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits need Linux")

#: Problems that bring their worker into every kind of trouble.
TROUBLE = """
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from pymoo.core.problem import Problem


class Trouble(Problem):
    def __init__(self, kind="none", note=None):
        super().__init__(n_var=3, n_obj=2, xl=0.0, xu=1.0)
        self.kind, self.note = kind, note

    def _evaluate(self, x, out, *args, **kwargs):
        out["F"] = np.column_stack([x[:, 0], 1 - x[:, 0] + x[:, 1]])
        getattr(self, self.kind)(out)

    def none(self, out):
        pass

    def raising(self, out):
        raise RuntimeError("the simulator said no")

    def nan(self, out):
        out["F"] = np.full_like(out["F"], np.nan)

    def hanging(self, out):
        simulator = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
        Path(self.note).write_text(str(simulator.pid))
        self.wait_for_ever()

    def wait_for_ever(self):
        time.sleep(1000)

    def greedy(self, out):
        self.kept = np.ones(10**9)

    def crashing(self, out):
        ctypes.string_at(0)

    def killing(self, out):
        os.kill(os.getpid(), signal.SIGKILL)
"""

SMALL = {"seeds": 2, "n_eval": 48, "pop_size": 12}


@pytest.fixture
def trouble(tmp_path, monkeypatch):
    folder = tmp_path / "parts"
    folder.mkdir()
    name = f"trouble_{os.getpid()}_{abs(hash(tmp_path)) % 10**8}"
    (folder / f"{name}.py").write_text(textwrap.dedent(TROUBLE))
    monkeypatch.syspath_prepend(folder)
    # Ray starts processes that know nothing of `sys.path` here.
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    return __import__(name).Trouble


def campaign(trouble, tmp_path, *kinds, store="runs.db", **changes):
    problems = [
        Spec(kind, trouble, {"kind": kind, "note": str(tmp_path / f"note-{kind}")})
        for kind in kinds
    ]
    return Campaign(problems, ["nsga2"], store=tmp_path / store, **(SMALL | changes))


def cells(campaign):
    with Store(campaign.store) as store:
        return {(c.problem, c.seed): c for c in store.cells()}


def results(path):
    with Store(path) as store:
        return {
            c.key: (c.igd, c.igd_plus, c.hv, store.arrays(c.key, "result")["X"].tobytes())
            for c in store.cells("done")
        }


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@linux
def test_whatever_happens_to_a_cell_is_recorded_with_its_cause_and_the_others_go_on(
    trouble, tmp_path
):
    grid = campaign(
        trouble, tmp_path, "none", "raising", "nan", "hanging", "greedy", "crashing", "killing"
    )
    summary = grid.run(jobs=2, time_limit=3.0, memory_limit="4 GB", progress=False)
    assert (summary.n_done, len(summary.failed)) == (2, 12)
    stored = cells(grid)
    for seed in (1, 2):
        assert stored["none", seed].status == "done"
        causes = {kind: stored[kind, seed].error for kind, s in stored if s == seed}
        assert causes["raising"] == "RuntimeError: the simulator said no"
        assert "none of the 48 evaluations gave finite" in causes["nan"]
        assert causes["hanging"] == "TimedOut: stopped after its time limit of 3 s"
        assert causes["greedy"].startswith("MemoryError: Unable to allocate 7.45 GiB")
        assert "killed by SIGSEGV" in causes["crashing"]
        assert "killed by SIGKILL" in causes["killing"]
        # Where it happened.
        places = {"raising": "in raising", "hanging": "in wait_for_ever", "greedy": "in greedy"}
        for kind, place in (places | {"crashing": "in crashing"}).items():
            assert place in stored[kind, seed].traceback, kind
    # What a stopped cell had started has ended with it.
    pid = int((tmp_path / "note-hanging").read_text())
    end = time.monotonic() + 5
    while is_alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert not is_alive(pid)


def test_failed_cells_run_again_with_other_limits(trouble, tmp_path, monkeypatch):
    grid = campaign(trouble, tmp_path, "greedy", "none")
    if sys.platform.startswith("linux"):
        assert len(grid.run(jobs=1, memory_limit="4 GB", progress=False).failed) == 2
    monkeypatch.setattr(trouble, "greedy", trouble.none)
    again = grid.run(jobs=0, retry_failed=True, progress=False)
    assert again.failed == []
    assert {c.status for c in cells(grid).values()} == {"done"}


def test_cells_say_where_they_ran_and_what_memory_they_took(trouble, tmp_path):
    grid = campaign(trouble, tmp_path, "none")
    grid.run(jobs=0, progress=False)
    for cell in cells(grid).values():
        assert cell.engine == "local"
        assert cell.host
        assert 20e6 < cell.peak_memory < 20e9


@linux
def test_a_worker_that_has_more_than_the_limit_before_it_begins_says_so(trouble, tmp_path):
    grid = campaign(trouble, tmp_path, "none", seeds=1)
    grid.run(jobs=1, memory_limit="5 MB", progress=False)
    (cell,) = cells(grid).values()
    assert "memory_limit of 5 MB: the process has" in cell.error


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"engine": "spark"}, ValueError, "engine='spark' must be one of local, ray, dask"),
        ({"engine": "ray", "jobs": 0}, ValueError, "jobs=0"),
        ({"jobs": True}, ValueError, "jobs=True"),
        ({"address": "tcp://a:1"}, ValueError, "address='tcp://a:1' needs engine="),
        ({"time_limit": 0}, ValueError, "time_limit=0 must be a positive"),
        ({"time_limit": "1 h"}, TypeError, "time_limit='1 h' must be a number of seconds"),
        ({"time_limit": 5, "jobs": 0}, ValueError, "time_limit needs worker processes"),
        ({"memory_limit": "2 apples"}, ValueError, "memory_limit='2 apples'"),
        ({"memory_limit": "0 GB"}, ValueError, "must be positive"),
        ({"memory_limit": 1.5}, TypeError, "memory_limit=1.5"),
    ],
)
def test_impossible_settings_are_refused(settings, error, words):
    with pytest.raises(error, match=words):
        EngineSettings(**settings)


def test_an_engine_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install 'evogen\[ray\]'"):
        EngineSettings("ray").open()


def test_amounts_of_memory():
    assert [n_bytes(a) for a in (5, "5", "2kb", "1.5 GB", "1 GiB")] == [
        5,
        5,
        2000,
        1_500_000_000,
        2**30,
    ]


@linux
def test_peak_memory_counts_from_the_reset():
    array = np.ones(20_000_000)
    high = peak_memory()
    assert high > array.nbytes
    del array
    assert peak_memory() > high - 20e6  # the kernel counts roughly
    reset_peak()
    assert peak_memory() < high - 100e6


@linux
def test_the_memory_limit_holds_inside_the_block_only():
    with limited_memory(4 * 10**9), pytest.raises(MemoryError):
        np.ones(10**9)
    with limited_memory(None):
        assert np.empty(10**9).nbytes == 8 * 10**9


@pytest.mark.parametrize(("engine", "package"), [("ray", "ray"), ("dask", "distributed")])
def test_a_cluster_finds_what_this_machine_finds(engine, package, trouble, tmp_path):
    pytest.importorskip(package)
    here = campaign(trouble, tmp_path, "none", store="here.db", seeds=1)
    here.run(jobs=0, progress=False)
    there = campaign(trouble, tmp_path, "none", "raising", "killing", store="there.db", seeds=1)
    summary = there.run(engine=engine, jobs=2, progress=False)
    assert (summary.n_done, len(summary.failed)) == (1, 2)
    assert results(there.store) == results(here.store)
    stored = cells(there)
    assert stored["none", 1].engine == engine
    assert stored["raising", 1].error == "RuntimeError: the simulator said no"
    assert stored["killing", 1].error.startswith("WorkerDied: ")
    # By itself: a cluster says late, on a busy machine, that a worker died, and so near the limit
    # any death counts as one by it.
    slow = campaign(trouble, tmp_path, "hanging", store="slow.db", seeds=1)
    assert len(slow.run(engine=engine, jobs=1, time_limit=1.5, progress=False).failed) == 1
    assert cells(slow)["hanging", 1].error == "TimedOut: stopped after its time limit of 1.5 s"


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9"])
def test_a_cluster_that_is_not_there_is_said_so_at_once(address, trouble, tmp_path):
    pytest.importorskip("ray")
    grid = campaign(trouble, tmp_path, "none")
    with pytest.raises(ConnectionError, match=f"there is no Ray cluster at {address}"):
        grid.run(engine="ray", address=address, progress=False)
