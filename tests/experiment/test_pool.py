import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evogen.experiment.pool import SINGLE_THREAD, TimedOut, WorkerDied, WorkerPool


def one(pool, task):
    pool.submit(task)
    (finished,) = pool.wait(60)
    assert finished.task == task
    return finished


def test_a_worker_may_fail_in_any_way_without_harm_to_the_next_task(parts):
    with WorkerPool(parts.work, 1) as pool:
        pid = one(pool, "pid").result
        assert pid != os.getpid()
        error = one(pool, "raise").error
        assert "ValueError: no such task" in str(error)
        assert "cannot be sent back" in str(one(pool, "unsendable").error)
        assert one(pool, "pid").result == pid
        killed = one(pool, "die").error
        assert isinstance(killed, WorkerDied)
        assert "killed by SIGKILL" in str(killed)
        assert "exit code 3" in str(one(pool, "exit").error)
        third = one(pool, "pid").result
        assert third != pid
        # Killed while it has nothing to do: the next task finds a new worker.
        os.kill(third, signal.SIGKILL)
        pool._workers[0].process.join(60)
        assert one(pool, "threads").result == SINGLE_THREAD


def test_the_environment_of_this_process_is_left_as_it_was(parts):
    before = dict(os.environ)
    with WorkerPool(parts.work, 1) as pool:
        assert (pool.n_idle, pool.n_busy) == (1, 0)
        assert dict(os.environ) == before


def test_a_task_over_its_time_limit_is_stopped_and_the_next_one_is_served():
    with WorkerPool(time.sleep, 2, time_limit=2.0) as pool:
        pool.submit(1000)
        pool.submit(0.01)
        finished = []
        while pool.n_busy:
            finished += pool.wait(60)
        errors = {f.task: f.error for f in finished}
        assert errors[0.01] is None
        assert isinstance(errors[1000], TimedOut)
        assert str(errors[1000]).startswith("stopped after its time limit of 2 s")
        assert one_after_another(pool, 0.02).error is None


def one_after_another(pool, task):
    pool.submit(task)
    while not (finished := pool.wait(60)):
        pass
    return finished[0]


def test_waiting_ends_after_the_timeout_when_nothing_comes():
    with WorkerPool(time.sleep, 1) as pool:
        pool.submit(60)
        # Without the timeout, it would come back with the task.
        assert pool.wait(0.1) == []
        assert pool.n_busy == 1


@pytest.mark.skipif(os.name != "posix", reason="tells where on POSIX only")
def test_a_crash_says_where_it_was():
    with WorkerPool(crash, 1) as pool:
        pool.submit("now")
        (finished,) = pool.wait(60)
    assert isinstance(finished.error, WorkerDied)
    first, *rest = str(finished.error).splitlines()
    assert "SIGSEGV" in first
    assert any("in crash" in line for line in rest)


def crash(task):
    ctypes.string_at(0)


class Unloadable:
    """A function whose arrival ends the worker."""

    def __call__(self, task):
        return task

    def __reduce__(self):
        return os._exit, (5,)


def test_workers_that_die_before_they_begin_are_given_up():
    with pytest.raises(RuntimeError, match="worker processes cannot start"):
        WorkerPool(Unloadable(), 1).__enter__()


def test_workers_import_the_installed_package_and_no_folder_of_its_name(tmp_path):
    # A clone's own folder lacks `evogen.problems`, which an installation maps into it.
    (tmp_path / "evogen" / "experiment").mkdir(parents=True)
    for name in ("__init__", "experiment/__init__", "experiment/pool"):
        (tmp_path / "evogen" / f"{name}.py").touch()
    command = Path(sys.executable).with_name("evogen")
    arguments = ["bench", "zdt1", "-a", "nsga2", "--seeds", "1", "--evals", "200", "--jobs", "1"]
    done = subprocess.run(
        [command, *arguments, "-q"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 cells: 1 run" in done.stdout
