"""Which points formed the population and the front after each generation, as indices.

pymoo's `save_history=True` keeps a deep copy of the whole algorithm per generation, gigabytes for a
long run. A `LightHistory` holds every evaluated point once, and per generation some integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from evogen.experiment.evaluations import NAMES, Evaluations, RecordingEvaluator

#: Names of a history's arrays, as they are saved.
ARRAYS = ("population", "population_sizes", "front", "front_sizes", "n_eval")


class LightHistory:
    """The populations and fronts of a run.

    A point with non-finite values is in no evaluation and hence in no population here; an
    algorithm that keeps points which nobody evaluated as they are, has these left out.

    Args:
        evaluations: Every point that the run has evaluated.
        arrays: `population` and `front`: row numbers, one generation after the other;
            `population_sizes` and `front_sizes`: how many for each; `n_eval`: evaluations made.

    Attributes:
        evaluations: As given.
        n_eval: Evaluations after each generation `(n_generations,)`.

    Raises:
        ValueError: The arrays do not belong together.
    """

    def __init__(self, evaluations: Evaluations, arrays: Mapping[str, np.ndarray]) -> None:
        self.evaluations = evaluations
        self._arrays = {name: np.asarray(arrays[name]) for name in ARRAYS}
        self.n_eval = self._arrays["n_eval"]
        self._ends = {}
        for name in ("population", "front"):
            rows, sizes = self._arrays[name], self._arrays[f"{name}_sizes"]
            fit = len(sizes) == len(self.n_eval) and sizes.sum() == len(rows)
            if not fit or (len(rows) and not 0 <= rows.min() <= rows.max() < len(evaluations)):
                raise ValueError(f"the history's arrays for the {name} do not belong together")
            self._ends[name] = np.concatenate([[0], np.cumsum(sizes)])

    def __len__(self) -> int:
        return len(self.n_eval)

    def __repr__(self) -> str:
        return f"LightHistory({len(self)} generations of {len(self.evaluations)} points)"

    def population(self, generation: int) -> Evaluations:
        """The population after a generation, 0 being the initial one; -1 is the last.

        Raises:
            IndexError: There is no such generation.
        """
        return self._points(self.rows(generation))

    def front(self, generation: int) -> Evaluations:
        """The best points after a generation, as pymoo's `opt`: feasible and non-dominated, or the
        least infeasible one.

        Raises:
            IndexError: There is no such generation.
        """
        return self._points(self.rows(generation, "front"))

    def rows(self, generation: int, what: str = "population") -> np.ndarray:
        """Row numbers in `evaluations` of a generation's `"population"` or `"front"`.

        Raises:
            IndexError: There is no such generation.
        """
        if not -len(self) <= generation < len(self):
            raise IndexError(f"generation={generation}: there are {len(self)}, from 0 on")
        ends, k = self._ends[what], generation % len(self)
        return self._arrays[what][ends[k] : ends[k + 1]]

    def arrays(self) -> dict[str, np.ndarray]:
        """What is saved besides the evaluations; see `ARRAYS`."""
        return dict(self._arrays)

    def nbytes(self) -> int:
        """Memory of all arrays, those of the evaluations included."""
        own = sum(a.nbytes for a in self._arrays.values())
        return own + sum(getattr(self.evaluations, name).nbytes for name in NAMES)

    def _points(self, rows: np.ndarray) -> Evaluations:
        return Evaluations(**{name: getattr(self.evaluations, name)[rows] for name in NAMES})


class Generations:
    """Row numbers collected during a run; plain data, part of its checkpoint."""

    def __init__(self) -> None:
        self.population: list[np.ndarray] = []
        self.front: list[np.ndarray] = []
        self.n_eval: list[int] = []

    def history(self, evaluations: Evaluations) -> LightHistory:
        """The history of a run that has evaluated these points."""
        arrays: dict[str, np.ndarray] = {"n_eval": np.array(self.n_eval, dtype=np.int64)}
        for name in ("population", "front"):
            parts: list[np.ndarray] = getattr(self, name)
            arrays[name] = np.concatenate([np.empty(0, dtype=np.int32), *parts])
            arrays[f"{name}_sizes"] = np.array([len(p) for p in parts], dtype=np.int32)
        return LightHistory(evaluations, arrays)


class GenerationTracker:
    """Finds the individuals of a population among the evaluated points, by X and F.

    Args:
        generations: Where the row numbers go.
        recording: Keeps the evaluated points.
    """

    def __init__(self, generations: Generations, recording: RecordingEvaluator) -> None:
        self.generations = generations
        self._recording = recording
        self._places: dict[tuple[Any, bytes], int] = {}
        self._n_points = 0

    def record(self, algorithm: Any) -> None:
        """Note the present population and front."""
        new = _keys(*self._recording.since(self._n_points))
        self._places.update((key, self._n_points + k) for k, key in enumerate(new))
        self._n_points += len(new)
        self.generations.population.append(self._rows(algorithm.pop))
        self.generations.front.append(self._rows(algorithm.opt))
        self.generations.n_eval.append(int(algorithm.evaluator.n_eval))

    def _rows(self, pop: Any) -> np.ndarray:
        if pop is None or len(pop) == 0:
            return np.empty(0, dtype=np.int32)
        places = (self._places.get(key) for key in _keys(pop.get("X"), pop.get("F")))
        return np.array([p for p in places if p is not None], dtype=np.int32)


def _keys(x: np.ndarray, f: np.ndarray) -> list[tuple[Any, bytes]]:
    """One hashable value per row: equal for equal points."""
    values = np.ascontiguousarray(f, dtype=float).reshape(len(f), -1)
    if x.dtype.kind in "biuf":
        numbers = np.ascontiguousarray(x, dtype=float)
        return [(row.tobytes(), v.tobytes()) for row, v in zip(numbers, values, strict=True)]
    return [(repr(row), v.tobytes()) for row, v in zip(x, values, strict=True)]
