"""Worker processes that run one task at a time and may die without taking others along.

`concurrent.futures` cannot say which task a killed worker was busy with and fails them all;
here every worker has a pipe of its own.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
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

#: Seconds that a task may take beyond its limit; meanwhile the worker notes where it hangs.
GRACE = 0.25

#: Workers that may die one after another before they are ready, until the pool gives up.
MAX_STILLBORN = 3


#: Elsewhere a pipe is no file that a traceback can be written to.
IS_POSIX = os.name == "posix"

#: Times that starting a worker is tried.
START_ATTEMPTS = 5


class WorkerDied(Exception):
    """A worker process ended in the middle of its task."""


class TimedOut(WorkerDied):
    """A worker process was ended because its task took too long."""

    @classmethod
    def after(cls, seconds: float, more: str = "") -> TimedOut:
        """With a message that names the limit, and what else is known."""
        return cls(f"stopped after its time limit of {seconds:g} s{more}")


@dataclass
class Finished:
    """A task that has come back.

    Attributes:
        task: As given to `submit`.
        result: What the function returned; None if it did not return.
        error: A `RuntimeError` with the traceback of what it raised, `WorkerDied` or `TimedOut`;
            None if it returned. Below the first line, the text says where the worker was when it
            crashed or was stopped, as far as that is known.
    """

    task: Any
    result: Any = None
    error: BaseException | None = None


class WorkerPool:
    """Processes that call one function on tasks sent to them. A context manager.

    No worker is a fork of this process (a fork of a process with threads, as torch makes them, can
    hang). On Linux they are forks of a clean process that has imported the function's module once,
    so that many workers start as fast as one, and a dead one is replaced in no time; elsewhere they
    are spawned. Each is a process group of its own: what a task has started ends with it. Leaving
    the block ends all workers at once; when the process that holds the pool is killed, the workers
    notice and end by themselves.

    Args:
        function: Called on each task in a worker; picklable, as are tasks and results.
        n_workers: Number of processes (>= 1).
        time_limit: Seconds that a task may take; then its worker is killed and replaced. None for
            no limit.
        preload: Modules that tasks will import; where workers are forks, they are imported once.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        n_workers: int,
        *,
        time_limit: float | None = None,
        preload: Sequence[str] = (),
    ) -> None:
        self.function = function
        self.n_workers = n_workers
        self.time_limit = time_limit
        self.preload = preload
        self._workers: list[_Worker] = []
        self._n_stillborn = 0

    def __enter__(self) -> WorkerPool:
        try:
            while len(self._workers) < self.n_workers:
                self._workers.append(self._new_worker())
            while not all(worker.ready for worker in self._workers):
                for worker in [worker for worker in self._workers if not worker.ready]:
                    self._welcome(worker)
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
        """Number of workers that are ready for a task."""
        return sum(worker.ready and worker.task is None for worker in self._workers)

    @property
    def n_busy(self) -> int:
        """Number of tasks that have not come back."""
        return sum(worker.task is not None for worker in self._workers)

    def submit(self, task: Any) -> None:
        """Give a task (not None) to a worker without one (there must be such a worker).

        Waits for a worker that is starting when no other is free.
        """
        free = [worker for worker in self._workers if worker.task is None]
        worker = next((worker for worker in free if worker.ready), free[0])
        try:
            worker.start(task)
        except OSError:  # it was killed while it had nothing to do
            self._replace(worker).start(task)

    def wait(self, timeout: float | None = None) -> list[Finished]:
        """Wait until a task comes back or a worker becomes ready.

        Args:
            timeout: Seconds to wait at most; None for ever.

        Returns:
            The tasks that have come back, in no particular order; may be empty.

        Raises:
            RuntimeError: One worker after another dies before it can take a task.
        """
        watched = {w.pipe: w for w in self._workers if w.task is not None or not w.ready}
        # The pipe of a dead worker is at its end, which counts as something to read.
        ready = connection.wait(list(watched), self._patience(timeout))
        finished = []
        for pipe in ready:
            worker = watched[pipe]
            if worker.ready:
                finished.append(self._collect(worker))
            else:
                self._welcome(worker)
        return finished + self._stop_the_late()

    def _new_worker(self) -> _Worker:
        return _Worker(self.function, self.time_limit, self.preload)

    def _patience(self, timeout: float | None) -> float | None:
        """Seconds until the first task is late, at most `timeout`."""
        limits = [w.deadline for w in self._workers if w.task is not None and w.deadline]
        if not limits:
            return timeout
        left = max(0.0, min(limits) - time.monotonic())
        return left if timeout is None else min(timeout, left)

    def _welcome(self, worker: _Worker) -> None:
        try:
            worker.wait_until_ready()
            self._n_stillborn = 0
        except RuntimeError:
            self._n_stillborn += 1
            if self._n_stillborn > MAX_STILLBORN:
                raise
            self._replace(worker)

    def _collect(self, worker: _Worker) -> Finished:
        task, worker.task = worker.task, None
        try:
            result, error = worker.pipe.recv()
        except (EOFError, OSError):
            self._replace(worker)
            return Finished(task, error=WorkerDied(worker.cause_of_death()))
        except Exception as raised:  # unpickling runs code of the task's
            return Finished(task, error=RuntimeError(f"the result cannot be read: {raised!r}"))
        return Finished(task, result, error)

    def _stop_the_late(self) -> list[Finished]:
        now, stopped = time.monotonic(), []
        for worker in list(self._workers):
            if worker.task is None or worker.deadline is None or now < worker.deadline:
                continue
            if worker.pipe.poll():  # it has finished at the last moment
                stopped.append(self._collect(worker))
                continue
            worker.end(signal.SIGKILL)
            assert self.time_limit is not None
            error = TimedOut.after(self.time_limit, worker.last_words())
            worker.pipe.close()
            stopped.append(Finished(worker.task, error=error))
            self._replace(worker)
        return stopped

    def _replace(self, worker: _Worker) -> _Worker:
        new = self._new_worker()
        self._workers[self._workers.index(worker)] = new
        return new

    def _end(self) -> None:
        for worker in self._workers:
            worker.signal_group(signal.SIGTERM)
        for worker in self._workers:
            worker.process.join(5.0)
            if worker.process.is_alive():
                worker.end(signal.SIGKILL)
            worker.pipe.close()
            worker.log.close()
        self._workers = []


class _Worker:
    def __init__(
        self, function: Callable[[Any], Any], time_limit: float | None, preload: Sequence[str]
    ) -> None:
        context = _context(preload)
        self.pipe, theirs = context.Pipe()
        self.log, their_log = context.Pipe(duplex=False)
        self.task: Any = None
        self.ready = False
        self.deadline: float | None = None
        self._time_limit = time_limit
        arguments = (theirs, their_log, function, time_limit, dict(os.environ) | SINGLE_THREAD)
        for attempt in range(START_ATTEMPTS):
            self.process = context.Process(target=_serve, args=arguments, daemon=True)
            try:
                # Without the safe path a folder called evogen in the working directory would be
                # imported instead of the package: the source of it, without what is mapped into it.
                with _environment(SINGLE_THREAD | {"PYTHONSAFEPATH": "1"}):
                    self.process.start()
                break
            except (ConnectionError, EOFError):
                # The clean process has been killed; once it is gone another one is started.
                if attempt == START_ATTEMPTS - 1:
                    raise
                time.sleep(0.5)
        theirs.close()
        their_log.close()

    def wait_until_ready(self) -> None:
        """Wait for the first sign of life.

        Raises:
            RuntimeError: The process ended before it could start.
        """
        if self.ready:
            return
        try:
            self.pipe.recv()
        except (EOFError, OSError):
            raise RuntimeError(
                "worker processes cannot start; in a script, put what runs a campaign under "
                "`if __name__ == '__main__':` (or use jobs=0, which starts none)"
            ) from None
        self.ready = True

    def start(self, task: Any) -> None:
        self.wait_until_ready()
        self.pipe.send(task)
        self.task = task
        if self._time_limit is not None:
            self.deadline = time.monotonic() + self._time_limit + GRACE

    def signal_group(self, number: int) -> None:
        """Send a signal to the process and to all that it has started."""
        pid = self.process.pid
        if pid is None or not self.process.is_alive():
            return
        with suppress(ProcessLookupError, PermissionError):
            # A worker that has not begun yet is still in another group.
            if self.ready and hasattr(os, "killpg"):
                os.killpg(pid, number)
            else:
                os.kill(pid, number)

    def end(self, number: int) -> None:
        """End the process and wait until it is gone."""
        self.signal_group(number)
        self.process.join()

    def cause_of_death(self) -> str:
        self.process.join(5.0)
        code = self.process.exitcode
        words = self.last_words()
        self.pipe.close()
        if code is not None and code < 0:
            try:
                name = signal.Signals(-code).name
            except ValueError:
                name = f"signal {-code}"
            hint = " (out of memory?)" if name in ("SIGKILL", "SIGABRT") else ""
            return f"its worker process was killed by {name}{hint}{words}"
        return f"its worker process ended with exit code {code}{words}"

    def last_words(self) -> str:
        """Where the dead process was, on lines of their own; empty if it could not say."""
        parts = []
        if IS_POSIX and not self.log.closed:
            with suppress(OSError):
                # What the task has started may hold the other end open: never wait for that.
                os.set_blocking(self.log.fileno(), False)
                while part := os.read(self.log.fileno(), 65536):
                    parts.append(part)
        self.log.close()
        text = b"".join(parts).decode(errors="replace").strip()
        return f"\n{text}" if text else ""


def _context(preload: Sequence[str]) -> Any:
    # Before 3.11 there is no safe path, see where workers are started.
    if sys.platform.startswith("linux") and sys.version_info >= (3, 11):
        context = multiprocessing.get_context("forkserver")
        # Without `__main__`, which it could fail to import; has no effect once it is running.
        context.set_forkserver_preload([__name__, *preload])
        return context
    return multiprocessing.get_context("spawn")


def _serve(
    pipe: Any,
    log: Any,
    function: Callable[[Any], Any],
    time_limit: float | None,
    environment: dict[str, str],
) -> None:
    """Body of a worker: run tasks until the other end of the pipe is closed."""
    # Ctrl-C reaches the whole process group; the holder of the pool decides what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    # The clean process may have been started long ago.
    os.environ.clear()
    os.environ.update(environment)
    if IS_POSIX:
        faulthandler.enable(log.fileno())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # The holder may be gone at any moment.
    with suppress(EOFError, OSError):
        pipe.send("ready")
        _serve_tasks(pipe, log, function, time_limit)


def _serve_tasks(
    pipe: Any, log: Any, function: Callable[[Any], Any], time_limit: float | None
) -> None:
    while True:
        task = pipe.recv()
        result, error = None, None
        if time_limit is not None and IS_POSIX:
            faulthandler.dump_traceback_later(time_limit, file=log.fileno())
        try:
            result = function(task)
        except Exception as raised:
            # As text: many exceptions cannot be pickled, or not be unpickled.
            error = RuntimeError("".join(traceback.format_exception(raised)))
        faulthandler.cancel_dump_traceback_later()
        try:
            pipe.send((result, error))
        except OSError:
            raise
        except Exception as raised:
            pipe.send((None, RuntimeError(f"the result cannot be sent back: {raised}")))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    parent.join()
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
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
