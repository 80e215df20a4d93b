"""Cells on a Ray cluster: one task of one CPU each, never repeated by Ray itself."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

from evogen.experiment.pool import Finished, TimedOut, WorkerDied


class RayEngine:
    """Runs a function on tasks in the workers of Ray; see `evogen.experiment.engines.Engine`.

    A Ray that this process is connected to already is used and left running. A cluster that asks
    for a token wants RAY_AUTH_MODE=token in the environment (see Ray's page on token
    authentication).

    Args:
        ray: The package.
        function: Called on each task; picklable, as are tasks and results.
        jobs: Tasks at a time; None for as many as the cluster has CPUs.
        address: Of a cluster; None starts Ray here with `jobs` CPUs.
        time_limit: Seconds after which the function ends its process by itself, or None.
    """

    def __init__(
        self,
        ray: Any,
        function: Callable[[Any], Any],
        jobs: int | None,
        address: str | None,
        time_limit: float | None,
    ) -> None:
        self.ray = ray
        self.jobs = jobs
        self.address = address
        self.time_limit = time_limit
        self._function = function
        self._is_ours = False
        self._running: dict[Any, tuple[Any, float]] = {}

    def __enter__(self) -> RayEngine:
        if not self.ray.is_initialized():
            self._connect()
            self._is_ours = True
        if self.jobs is None:
            self.jobs = max(1, int(self.ray.cluster_resources().get("CPU", 1)))
        # A module's function and not the instance: Ray wants to see one.
        remote = self.ray.remote(num_cpus=1, max_retries=0)(_call)
        self._call = remote.options(name="evogen cell")
        self._stored = self.ray.put(self._function)
        return self

    def _connect(self) -> None:
        quiet = {"log_to_driver": False, "logging_level": "error"}
        try:
            if self.address is None:
                here = {"num_cpus": self.jobs, "include_dashboard": False}
                self.ray.init("local", **here, **quiet)
            else:
                _knock(self.address)
                self.ray.init(self.address, **quiet)
        except (OSError, ValueError) as error:
            raise ConnectionError(f"there is no Ray cluster at {self.address}: {error}") from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for reference in self._running:
            with suppress(Exception):
                self.ray.cancel(reference, force=True)
        self._running = {}
        if self._is_ours:
            self.ray.shutdown()

    @property
    def n_idle(self) -> int:
        """Number of places for a further task."""
        return max(0, (self.jobs or 1) - len(self._running))

    @property
    def n_busy(self) -> int:
        """Number of tasks that have not come back."""
        return len(self._running)

    def submit(self, task: Any) -> None:
        """Give a task to Ray."""
        self._running[self._call.remote(self._stored, task)] = (task, time.monotonic())

    def wait(self, timeout: float | None = None) -> list[Finished]:
        """Wait until a task comes back; empty after `timeout` seconds."""
        done, _ = self.ray.wait(list(self._running), timeout=timeout)
        return [self._collect(reference) for reference in done]

    def _collect(self, reference: Any) -> Finished:
        task, begin = self._running.pop(reference)
        try:
            return Finished(task, self.ray.get(reference))
        except self.ray.exceptions.RayTaskError as error:
            return Finished(task, error=RuntimeError(str(error)))
        except self.ray.exceptions.RayError as error:
            if self.time_limit is not None and time.monotonic() - begin >= self.time_limit:
                return Finished(task, error=TimedOut.after(self.time_limit))
            return Finished(task, error=WorkerDied(f"{type(error).__name__}: {error}"))


def _call(function: Callable[[Any], Any], task: Any) -> Any:
    return function(task)


def _knock(address: str) -> None:
    """Find out in seconds whether anybody answers; Ray itself tries for minutes.

    Raises:
        OSError: Nobody does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10.0).close()
