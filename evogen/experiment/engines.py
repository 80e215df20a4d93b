"""Who runs the cells of a campaign: processes here, a Ray cluster, or a Dask cluster.

Every engine looks the same: cells go in one by one as long as there is a free place, and come back
in any order with a result or an error; whatever happens to one cell happens to that one alone. A
cell runs in one thread of a process that runs nothing else meanwhile, so its result is the same
everywhere.
"""

from __future__ import annotations

import faulthandler
import importlib
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from evogen.experiment.cell_checkpoints import CellCheckpoints
from evogen.experiment.cells import Cell, Outcome, run_cell
from evogen.experiment.memory import check_memory_limit, limited_memory, n_bytes
from evogen.experiment.pool import Finished, WorkerPool

if TYPE_CHECKING:
    from collections.abc import Iterator

ENGINES = ("local", "ray", "dask")

#: Processes or tasks at a time where nothing else is said.
DEFAULT_JOBS = 2

#: What the workers of this machine import once: the registries that cells reach by name.
PRELOAD = ("evogen.experiment.cells", "evogen.algorithms", "evogen.problems")


class Engine(Protocol):
    """What a campaign asks of an engine. A context manager; leaving it ends all its work."""

    @property
    def n_idle(self) -> int:
        """Number of places for a further cell."""

    @property
    def n_busy(self) -> int:
        """Number of cells that have not come back."""

    def submit(self, task: Any) -> None:
        """Give a cell to a free place; there must be one."""

    def wait(self, timeout: float | None = None) -> list[Finished]:
        """Wait for cells to come back; the list may be empty."""


@dataclass(frozen=True)
class CellRunner:
    """Runs cells in a worker.

    Attributes:
        engine: Recorded with the outcome.
        memory_limit: Bytes that the process may have, or None.
        time_limit: Seconds after which the process ends itself, for engines that cannot stop one
            worker and leave the others; None otherwise.
        checkpoints: Where running cells keep their state, or None.
    """

    engine: str = "local"
    memory_limit: int | None = None
    time_limit: float | None = None
    checkpoints: CellCheckpoints | None = None

    def __call__(self, cell: Cell) -> Outcome:
        """The outcome of a cell; what goes wrong in it is part of the outcome."""
        for module in PRELOAD:
            importlib.import_module(module)  # not on the first cell's time
        with _suicide_after(self.time_limit):
            memory = limited_memory(self.memory_limit)
            outcome = run_cell(cell, memory=memory, checkpoints=self.checkpoints)
        for one in (outcome, *outcome.tasks):
            one.engine = self.engine
        return outcome


@contextmanager
def _suicide_after(seconds: float | None) -> Iterator[None]:
    """End this process if the block takes longer; a thread in C sees to it whatever hangs."""
    if seconds is None:
        yield
        return
    faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__ or sys.stderr)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


@dataclass(frozen=True)
class EngineSettings:
    """Which engine, and what it may use.

    Attributes:
        engine: `"local"` (processes on this machine), `"ray"` or `"dask"`.
        jobs: Cells at a time. None: 2 on this machine, all places of a cluster given by `address`.
            0 (local only): in this process.
        address: Of a running cluster (Ray: `"auto"` or `"ray://host:10001"`, Dask:
            `"tcp://host:8786"`); by default Ray and Dask are started on this machine.
        time_limit: Seconds of wall time that a cell may take.
        memory_limit: Memory that a worker process may have: bytes, or `"2 GB"`.
        checkpoints: Where running cells keep their state, or None.

    Raises:
        TypeError, ValueError: Says which is impossible and why.
    """

    engine: str = "local"
    jobs: int | None = None
    address: str | None = None
    time_limit: float | None = None
    memory_limit: int | str | None = None
    checkpoints: CellCheckpoints | None = None

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ValueError(f"engine={self.engine!r} must be one of {', '.join(ENGINES)}")
        if self.jobs is not None and (
            isinstance(self.jobs, bool) or not isinstance(self.jobs, int) or self.jobs < 0
        ):
            raise ValueError(f"jobs={self.jobs!r} must be a whole number, 0 or more")
        if self.jobs == 0 and self.engine != "local":
            raise ValueError(f"jobs=0 runs the cells here; engine={self.engine!r} needs 1 or more")
        if self.address is not None and self.engine == "local":
            raise ValueError(f"address={self.address!r} needs engine='ray' or engine='dask'")
        self._check_limits()

    def _check_limits(self) -> None:
        limit = self.time_limit
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float)):
            raise TypeError(f"time_limit={limit!r} must be a number of seconds")
        if limit is not None and not 0 < limit < float("inf"):
            raise ValueError(f"time_limit={limit} must be a positive number of seconds")
        if self.memory_limit is not None:
            n_bytes(self.memory_limit)
            check_memory_limit()
        if self.jobs == 0 and (limit is not None or self.memory_limit is not None):
            name = "time_limit" if limit is not None else "memory_limit"
            raise ValueError(f"{name} needs worker processes; jobs=0 starts none, give jobs=1")

    def open(self) -> AbstractContextManager[Engine]:
        """The engine, not yet started (entering it does that).

        Raises:
            ImportError: The package of the engine is not installed.
        """
        memory = None if self.memory_limit is None else n_bytes(self.memory_limit)
        if self.engine == "local":
            return WorkerPool(
                CellRunner("local", memory, checkpoints=self.checkpoints),
                self.jobs or DEFAULT_JOBS,
                time_limit=self.time_limit,
                preload=PRELOAD,
            )
        name = {"ray": "ray", "dask": "distributed"}[self.engine]
        try:
            package = importlib.import_module(name)
        except ImportError as error:
            raise ImportError(
                f"engine={self.engine!r} needs the package {name}: "
                f"pip install 'evogen[{self.engine}]'"
            ) from error
        runner = CellRunner(self.engine, memory, self.time_limit, self.checkpoints)
        jobs = DEFAULT_JOBS if self.jobs is None and self.address is None else self.jobs
        return _cluster(self.engine)(package, runner, jobs, self.address, self.time_limit)


def _cluster(engine: str) -> Callable[..., AbstractContextManager[Engine]]:
    if engine == "ray":
        from evogen.experiment.engine_ray import RayEngine

        return RayEngine
    from evogen.experiment.engine_dask import DaskEngine

    return DaskEngine
