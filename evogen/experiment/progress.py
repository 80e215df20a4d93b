"""Progress bars: of one run, and of the cells of a campaign."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from evogen.experiment.indicators import Reference, nondominated

#: Seconds between two looks at a run; measuring and drawing more often would cost more than tell.
INTERVAL = 0.2


def clock(seconds: float | None) -> str:
    """Seconds as `m:ss` or `h:mm:ss`; `-:--` when unknown.

    >>> clock(75), clock(3661), clock(None)
    ('1:15', '1:01:01', '-:--')
    """
    if seconds is None or not np.isfinite(seconds):
        return "-:--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Bar:
    """A bar with a status text and the time left, on stderr; a context manager.

    Args:
        description: Shown before the bar.
        total: Amount of work.
        visible: Nothing is drawn when False.
        console: Where to draw; stderr by default, so that results on stdout stay clean.
    """

    def __init__(
        self,
        description: str,
        total: float,
        *,
        visible: bool = True,
        console: Console | None = None,
    ) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("{task.fields[status]}"),
            TextColumn("{task.fields[left]} left", style="progress.remaining"),
            console=console or Console(stderr=True),
            disable=not visible,
        )
        self._task = self._progress.add_task(description, total=total, status="", left="-:--")

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def show(self, completed: float, status: str, left: float | None) -> None:
        """Draw the work done (of the total), a status text and the seconds left."""
        self._progress.update(self._task, completed=completed, status=status, left=clock(left))

    def print(self, text: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(text, markup=False, highlight=False)


class RunProgress:
    """Watches a running algorithm: evaluations, the best value so far, time left.

    Args:
        problem: The problem being solved.
        visible: Nothing is measured or drawn when False.
    """

    def __init__(self, problem: Any, *, visible: bool) -> None:
        self.visible = visible
        self._bar = Bar(problem.name(), 1.0, visible=visible)
        self._reference = Reference.of(problem) if visible else None
        self._start = time.monotonic()
        self._due = 0.0

    def __enter__(self) -> RunProgress:
        self._bar.__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        self._bar.__exit__(*details)

    def update(self, algorithm: Any) -> None:
        """Look at the algorithm after a step; draws a few times a second at most."""
        done = algorithm.termination.perc
        now = time.monotonic()
        if not self.visible or (now < self._due and done < 1.0):
            return
        self._due = now + INTERVAL
        elapsed = now - self._start
        left = elapsed * (1 - done) / done if done > 0 else None
        self._bar.show(min(done, 1.0), self._status(algorithm), left)

    def _status(self, algorithm: Any) -> str:
        status = f"{algorithm.evaluator.n_eval} evaluations"
        pop = algorithm.pop
        if pop is None or len(pop) == 0 or self._reference is None:
            return status
        front = nondominated(pop.get("F"), pop.get("CV"))
        if len(front) == 0:
            return f"{status}, nothing feasible yet"
        if self._reference.n_obj == 1:
            return f"{status}, best {front.min():.6g}"
        igd = self._reference.measure(front)["igd"]
        return f"{status}, " + (f"IGD {igd:.4g}" if igd is not None else f"{len(front)} on front")
