"""Indicators over evaluations, recorded while an algorithm runs."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from pymoo.core.callback import Callback

from evogen.experiment.indicators import Reference, nondominated

CURVES = ("n_eval", "igd", "igd_plus", "hv", "seconds", "share")


class Recorder(Callback):
    """A callback that keeps the indicators of the population over a run.

    Measured is the feasible non-dominated set of the population. Long runs are thinned: when
    `max_records` are reached, every second one is dropped and from then on half as many are
    taken: a run of any length ends with at most `max_records` (and its last generation).

    Args:
        reference: What to measure against.
        max_records: Upper limit of records (>= 2).

    Attributes:
        overhead: CPU seconds spent measuring, to be taken off the algorithm's own.

    Raises:
        ValueError: `max_records` below 2.
    """

    def __init__(self, reference: Reference, *, max_records: int = 100) -> None:
        super().__init__()
        if max_records < 2:
            raise ValueError(f"max_records={max_records} must be at least 2")
        self.reference = reference
        self.max_records = max_records
        self.overhead = 0.0
        self._records: list[tuple[float, ...]] = []
        self._generations: list[int] = []
        self._stride = 1
        self._start = time.process_time()

    def notify(self, algorithm: Any) -> None:
        """Record this generation if it is its turn."""
        if len(self._records) == self.max_records:
            self._thin()
        if (algorithm.n_iter - 1) % self._stride == 0:
            self.record(algorithm)

    def record(self, algorithm: Any) -> None:
        """Record the present state now, unless it is the one recorded last.

        To be called after the run, so that a thinned curve ends where the run ended.
        """
        n_eval = algorithm.evaluator.n_eval
        if self._records and self._records[-1][0] == n_eval:
            return
        begin = time.process_time()
        pop = algorithm.pop
        values = self.reference.measure(nondominated(pop.get("F"), pop.get("CV")))
        measured = [np.nan if v is None else float(v) for v in values.values()]
        seconds = begin - self._start - self.overhead
        self._records.append((n_eval, *measured, seconds, _model_share(algorithm)))
        self._generations.append(algorithm.n_iter - 1)
        self.overhead += time.process_time() - begin

    @property
    def seconds(self) -> float:
        """CPU seconds since the beginning, without the recorder's own."""
        return time.process_time() - self._start - self.overhead

    def go_on(self) -> None:
        """To be called on one that was restored in another process: its clock goes on from now."""
        spent = self._records[-1][CURVES.index("seconds")] if self._records else 0.0
        self._start = time.process_time() - spent - self.overhead

    def curves(self) -> dict[str, np.ndarray]:
        """What was recorded, one array `(n_records,)` per name.

        `n_eval`; `igd`, `igd_plus`, `hv` (NaN where undefined); `seconds` of CPU without the
        recorder's own; `share` of the offspring that a generative model made (NaN without one).
        """
        table = np.array(self._records, dtype=float).reshape(-1, len(CURVES))
        return {name: table[:, i].copy() for i, name in enumerate(CURVES)}

    def _thin(self) -> None:
        self._stride *= 2
        kept = [i for i, g in enumerate(self._generations) if g % self._stride == 0]
        self._records = [self._records[i] for i in kept]
        self._generations = [self._generations[i] for i in kept]


def _model_share(algorithm: Any) -> float:
    """Share of this generation's offspring that the generative mating drew from its model."""
    log = getattr(getattr(algorithm, "mating", None), "log", None)
    if not log:
        return np.nan
    made = log[-1].get("n_model", 0) + log[-1].get("n_base", 0)
    return log[-1]["n_model"] / made if made else np.nan
