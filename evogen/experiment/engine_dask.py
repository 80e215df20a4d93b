"""Cells on a Dask cluster: one at a time on each of its worker processes."""

from __future__ import annotations

import itertools
import queue
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

from evogen.experiment.pool import Finished, TimedOut, WorkerDied

#: Seconds between two looks at which workers there are.
LOOK = 1.0

#: Seconds to wait for the cluster.
PATIENCE = 30.0


class DaskEngine:
    """Runs a function on tasks in Dask's workers; see `evogen.experiment.engines.Engine`.

    Each task is sent to one worker by name and to no other: left to itself, Dask repeats a task
    that has killed its worker on further workers until they are dead too.

    Args:
        distributed: The package.
        function: Called on each task; picklable, as are tasks and results.
        jobs: Tasks at a time; None for as many as there are workers.
        address: Of a scheduler; None starts `jobs` workers here.
        time_limit: Seconds after which the function ends its process by itself, or None.
    """

    def __init__(
        self,
        distributed: Any,
        function: Callable[[Any], Any],
        jobs: int | None,
        address: str | None,
        time_limit: float | None,
    ) -> None:
        self.distributed = distributed
        self.function = function
        self.jobs = jobs
        self.address = address
        self.time_limit = time_limit
        self._cluster: Any = None
        self._client: Any = None
        self._workers: list[str] = []
        self._look_again = 0.0
        self._running: dict[Any, tuple[Any, str, float]] = {}
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._numbers = itertools.count()

    def __enter__(self) -> DaskEngine:
        try:
            self._connect()
            self._client.wait_for_workers(1, timeout=PATIENCE)
        except (OSError, TimeoutError) as error:
            self._close()
            raise ConnectionError(
                f"there is no Dask cluster with workers at {self.address}: {error}"
            ) from error
        except BaseException:
            self._close()
            raise
        self._look(now=True)
        return self

    def _connect(self) -> None:
        settings = {"timeout": PATIENCE, "set_as_default": False}
        if self.address is None:
            self._cluster = self.distributed.LocalCluster(
                n_workers=self.jobs,
                threads_per_worker=1,
                processes=True,
                dashboard_address=None,
                memory_limit=0,
                silence_logs=50,
            )
        self._client = self.distributed.Client(self._cluster or self.address, **settings)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def _close(self) -> None:
        for future in self._running:
            with suppress(Exception):
                future.cancel(force=True)
        self._running = {}
        for part in (self._client, self._cluster):
            if part is not None:
                part.close()

    @property
    def n_idle(self) -> int:
        """Number of places for a further task."""
        free = len(self._free())
        return free if self.jobs is None else max(0, min(free, self.jobs - len(self._running)))

    @property
    def n_busy(self) -> int:
        """Number of tasks that have not come back."""
        return len(self._running)

    def submit(self, task: Any) -> None:
        """Give a task to a free worker; there must be one."""
        worker = self._free()[0]
        future = self._client.submit(
            self.function,
            task,
            key=f"evogen-cell-{id(self)}-{next(self._numbers)}",
            workers=[worker],
            allow_other_workers=False,
            pure=False,
            retries=0,
        )
        self._running[future] = (task, worker, time.monotonic())
        future.add_done_callback(self._done.put)

    def wait(self, timeout: float | None = None) -> list[Finished]:
        """Wait until a task comes back; may be empty before `timeout` seconds are over."""
        patience = LOOK if timeout is None else min(LOOK, timeout)
        done: list[Any] = []
        with suppress(queue.Empty):
            done.append(self._done.get(timeout=patience))
            while True:
                done.append(self._done.get_nowait())
        finished = [self._collect(future) for future in done if future in self._running]
        return finished + self._look()

    def _free(self) -> list[str]:
        busy = {worker for _, worker, _ in self._running.values()}
        return [worker for worker in self._workers if worker not in busy]

    def _look(self, *, now: bool = False) -> list[Finished]:
        """See which workers there are; what ran on those that have gone has failed."""
        if not now and time.monotonic() < self._look_again:
            return []
        self._look_again = time.monotonic() + LOOK
        self._workers = sorted(self._client.nthreads())
        lost = [f for f, (_, worker, _) in self._running.items() if worker not in self._workers]
        return [self._give_up(future) for future in lost]

    def _collect(self, future: Any) -> Finished:
        if future.status == "finished":
            task, _, _ = self._running.pop(future)
            return Finished(task, future.result())
        if future.status == "error":
            error = future.exception()
            if not isinstance(error, self.distributed.scheduler.KilledWorker):
                task, _, _ = self._running.pop(future)
                return Finished(task, error=RuntimeError(f"{type(error).__name__}: {error}"))
        return self._give_up(future)

    def _give_up(self, future: Any) -> Finished:
        task, worker, begin = self._running.pop(future)
        with suppress(Exception):
            future.cancel(force=True)
        if self.time_limit is not None and time.monotonic() - begin >= self.time_limit:
            return Finished(task, error=TimedOut.after(self.time_limit))
        return Finished(task, error=WorkerDied(f"the Dask worker {worker} has gone"))
