"""Worker processes that run one task at a time and may die without taking others along.

`concurrent.futures` cannot say which task a killed worker was busy with and fails them all;
here every worker has a pipe of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection
from types import TracebackType
from typing import Any

#: One thread per worker: workers share the cores, and sums come out the same on any machine.
SINGLE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
}


class WorkerDied(Exception):
    """A worker process ended in the middle of its task."""


@dataclass
class Finished:
    """A task that has come back.

    Attributes:
        task: As given to `submit`.
        result: What the function returned; None if it did not return.
        error: A `RuntimeError` with the traceback of what it raised, or `WorkerDied`; None if it
            returned.
    """

    task: Any
    result: Any = None
    error: BaseException | None = None


class WorkerPool:
    """Processes that call one function on tasks sent to them. A context manager.

    Processes are spawned (a fork of a process with threads, as torch makes them, can hang). A
    worker that dies is replaced. Leaving the block ends all workers at once; when the process that
    holds the pool is killed, the workers notice and end by themselves.

    Args:
        function: Called on each task in a worker; picklable, as are tasks and results.
        n_workers: Number of processes (>= 1).
    """

    def __init__(self, function: Callable[[Any], Any], n_workers: int) -> None:
        self.function = function
        self.n_workers = n_workers
        self._workers: list[_Worker] = []

    def __enter__(self) -> WorkerPool:
        try:
            while len(self._workers) < self.n_workers:
                self._workers.append(_Worker(self.function))
            for worker in self._workers:
                worker.wait_until_ready()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    @property
    def n_idle(self) -> int:
        """Number of workers without a task."""
        return sum(worker.task is None for worker in self._workers)

    @property
    def n_busy(self) -> int:
        """Number of tasks that have not come back."""
        return len(self._workers) - self.n_idle

    def submit(self, task: Any) -> None:
        """Give a task (not None) to an idle worker; there must be one."""
        worker = next(worker for worker in self._workers if worker.task is None)
        try:
            worker.start(task)
        except OSError:  # it was killed while it had nothing to do
            self._replace(worker).start(task)

    def wait(self, timeout: float | None = None) -> list[Finished]:
        """Wait until a task comes back.

        Args:
            timeout: Seconds to wait at most; None for ever.

        Returns:
            The tasks that have come back, in no particular order; empty after the timeout.
        """
        busy = {worker.pipe: worker for worker in self._workers if worker.task is not None}
        # The pipe of a dead worker is at its end, which counts as something to read.
        ready = connection.wait(list(busy), timeout)
        return [self._collect(busy[pipe]) for pipe in ready]  # type: ignore[index]

    def _collect(self, worker: _Worker) -> Finished:
        task, worker.task = worker.task, None
        try:
            result, error = worker.pipe.recv()
        except (EOFError, OSError):
            self._replace(worker)
            return Finished(task, error=WorkerDied(worker.cause_of_death()))
        return Finished(task, result, error)

    def _replace(self, worker: _Worker) -> _Worker:
        new = _Worker(self.function)
        self._workers[self._workers.index(worker)] = new
        return new

    def _end(self) -> None:
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(5.0)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.pipe.close()
        self._workers = []


class _Worker:
    def __init__(self, function: Callable[[Any], Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.task: Any = None
        self._ready = False
        self.process = context.Process(target=_serve, args=(theirs, function), daemon=True)
        with _environment(SINGLE_THREAD):
            self.process.start()
        theirs.close()

    def wait_until_ready(self) -> None:
        """Wait for the first sign of life.

        Raises:
            RuntimeError: The process ended before it could start.
        """
        if self._ready:
            return
        try:
            self.pipe.recv()
        except (EOFError, OSError):
            raise RuntimeError(
                "worker processes cannot start; in a script, put what runs a campaign under "
                "`if __name__ == '__main__':` (or use jobs=0, which starts none)"
            ) from None
        self._ready = True

    def start(self, task: Any) -> None:
        self.wait_until_ready()
        self.pipe.send(task)
        self.task = task

    def cause_of_death(self) -> str:
        self.process.join(5.0)
        code = self.process.exitcode
        self.pipe.close()
        if code is not None and code < 0:
            try:
                name = signal.Signals(-code).name
            except ValueError:
                name = f"signal {-code}"
            hint = " (out of memory?)" if name == "SIGKILL" else ""
            return f"its worker process was killed by {name}{hint}"
        return f"its worker process ended with exit code {code}"


def _serve(pipe: Any, function: Callable[[Any], Any]) -> None:
    """Body of a worker: run tasks until the other end of the pipe is closed."""
    # Ctrl-C reaches the whole process group; the holder of the pool decides what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    pipe.send("ready")
    while True:
        try:
            task = pipe.recv()
        except (EOFError, OSError):
            return
        result, error = None, None
        try:
            result = function(task)
        except Exception as raised:
            # As text: many exceptions cannot be pickled, or not be unpickled.
            error = RuntimeError("".join(traceback.format_exception(raised)))
        try:
            pipe.send((result, error))
        except Exception as raised:
            pipe.send((None, RuntimeError(f"the result cannot be sent back: {raised}")))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Environment variables that a process started inside the block inherits."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
