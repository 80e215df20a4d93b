import os
import signal

from evogen.experiment.pool import SINGLE_THREAD, WorkerDied, WorkerPool


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
