"""How good a front is: IGD, IGD+ and hypervolume (moocore), and how good it could be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import moocore
import numpy as np
from pymoo.util.ref_dirs import get_reference_directions
from scipy.spatial import cKDTree

#: Points of the true front that indicators are measured against, by number of objectives.
FRONT_POINTS = {2: 2_000, 3: 5_000}
MANY_OBJECTIVES_FRONT_POINTS = 5_000

#: Reference point of the hypervolume after normalisation by the true front's ideal and nadir.
HV_POINT = 1.1

#: Below that, the front's points that are chosen themselves (distance 0) would flatter the floor.
MIN_POINTS_PER_CELL = 5

#: Up to here the exact hypervolume of 100 points takes milliseconds.
MAX_EXACT_HV_OBJECTIVES = 6


def true_front(problem: Any, n_points: int | None = None) -> np.ndarray | None:
    """The problem's true front, dense enough to measure against.

    Args:
        problem: A pymoo problem.
        n_points: About how many points to ask for, where the problem lets itself be asked;
            by default `FRONT_POINTS` by number of objectives.

    Returns:
        Finite points `(n, n_obj)`, or None when the problem knows no front (or would have to
        download it and cannot).
    """
    if n_points is None:
        n_points = FRONT_POINTS.get(problem.n_obj, MANY_OBJECTIVES_FRONT_POINTS)
    # pymoo's cache returns the first answer to every later question, whatever was asked.
    fresh = {"use_cache": False, "set_cache": False}
    attempts: list[dict[str, Any]] = [{"n_pareto_points": n_points}, {"n_points": n_points}]
    if 2 <= problem.n_obj <= 3:
        attempts.append({"ref_dirs": _lattice(problem.n_obj, n_points)})
    attempts.append({})
    for arguments in attempts:
        try:
            front = problem.pareto_front(**arguments, **fresh)
        except TypeError:
            continue  # this problem takes no such argument
        except Exception:
            return None  # pymoo raises all kinds of errors when a download or a file fails
        if front is None:
            return None
        front = np.atleast_2d(np.asarray(front, dtype=float))
        return front if front.size and np.isfinite(front).all() else None
    return None


def _lattice(n_obj: int, n_points: int) -> np.ndarray:
    """About `n_points` simplex-lattice directions `(n, n_obj)`, for 2 or 3 objectives."""
    n_partitions = n_points - 1 if n_obj == 2 else int(np.sqrt(2 * n_points)) - 1
    return get_reference_directions("das-dennis", n_obj, n_partitions=max(1, n_partitions))


def nondominated(f: np.ndarray, cv: np.ndarray | None = None) -> np.ndarray:
    """The feasible non-dominated rows of `f`, each once.

    Args:
        f: Objective vectors `(n, n_obj)`; rows that are not finite are left out.
        cv: Constraint violations `(n,)` or `(n, 1)`, feasible where <= 0; None if unconstrained.

    Returns:
        Objective vectors `(k, n_obj)`, k may be 0.
    """
    f = np.atleast_2d(np.asarray(f, dtype=float))
    keep = np.isfinite(f).all(axis=1)
    if cv is not None and np.size(cv):
        keep &= np.asarray(cv, dtype=float).reshape(len(f), -1).max(axis=1) <= 0
    f = f[keep]
    return f[moocore.is_nondominated(f)] if len(f) else f


@dataclass(frozen=True)
class Reference:
    """What the indicators of one problem are measured against.

    Attributes:
        front: True front `(n, n_obj)`, or None when unknown.
        ideal: `(n_obj,)`, objectives are normalised to 0 here before the hypervolume.
        nadir: `(n_obj,)`, and to 1 here.
        hv_point: Reference point `(n_obj,)` of the hypervolume, in normalised objectives.
        n_obj: Number of objectives.
    """

    n_obj: int
    front: np.ndarray | None = None
    ideal: np.ndarray | None = None
    nadir: np.ndarray | None = None
    hv_point: np.ndarray | None = None

    @classmethod
    def of(cls, problem: Any, *, n_points: int | None = None, ref_point: Any = None) -> Reference:
        """Reference of a problem.

        With a known front, the hypervolume is taken after the front's ideal and nadir have been
        mapped to 0 and 1, with `HV_POINT` in every objective. Without one there is a hypervolume
        only if a reference point is given, and it is taken in plain objectives.

        Args:
            problem: A pymoo problem.
            n_points: Points of the true front to ask for; see `true_front`.
            ref_point: Reference point `(n_obj,)` in the problem's own objectives.

        Raises:
            ValueError: `ref_point` has the wrong number of entries.
        """
        n_obj = problem.n_obj
        front = true_front(problem, n_points)
        if ref_point is not None:
            point = np.asarray(ref_point, dtype=float)
            if point.shape != (n_obj,) or not np.isfinite(point).all():
                raise ValueError(f"ref_point={ref_point!r} must be {n_obj} finite numbers")
            return cls(n_obj, front, np.zeros(n_obj), np.ones(n_obj), point)
        if front is None:
            return cls(n_obj)
        ideal, nadir = front.min(axis=0), front.max(axis=0)
        # A front that is flat in an objective is not stretched there.
        nadir = np.where(nadir - ideal > 1e-12 * np.maximum(1.0, np.abs(nadir)), nadir, ideal + 1)
        return cls(n_obj, front, ideal, nadir, np.full(n_obj, HV_POINT))

    def measure(self, f: np.ndarray) -> dict[str, float | None]:
        """Indicators of a set of feasible objective vectors.

        Args:
            f: `(n, n_obj)`; dominated rows do not change the hypervolume, but IGD.

        Returns:
            `igd` and `igd_plus` (0 is best; in plain objectives) and `hv` (in normalised ones,
            at most `HV_POINT ** n_obj`); None where there is nothing to measure against. An empty
            set has IGD infinity and hypervolume 0.
        """
        f = np.asarray(f, dtype=float).reshape(-1, self.n_obj)
        igd = igd_plus = hv = None
        if self.front is not None:
            igd = float(moocore.igd(f, ref=self.front)) if len(f) else np.inf
            igd_plus = float(moocore.igd_plus(f, ref=self.front)) if len(f) else np.inf
        if self.hv_point is not None and self.n_obj > 1:
            hv = self._hypervolume(f) if len(f) else 0.0
        return {"igd": igd, "igd_plus": igd_plus, "hv": hv}

    def describe(self) -> dict[str, Any]:
        """What must be known beside the numbers, as plain JSON values."""

        def plain(values: np.ndarray | None) -> list[float] | None:
            return None if values is None else [float(v) for v in values]

        return {
            "n_front": None if self.front is None else len(self.front),
            "ideal": plain(self.ideal),
            "nadir": plain(self.nadir),
            "hv_point": plain(self.hv_point),
        }

    def _hypervolume(self, f: np.ndarray) -> float:
        assert self.ideal is not None
        assert self.nadir is not None
        scaled = (f - self.ideal) / (self.nadir - self.ideal)
        if self.n_obj <= MAX_EXACT_HV_OBJECTIVES:
            return float(moocore.hypervolume(scaled, ref=self.hv_point))
        # Deterministic approximation (Rphi-FWE+), relative error below 0.1 % at 8 objectives.
        scaled = scaled[(scaled < self.hv_point).all(axis=1)]
        return float(moocore.hv_approx(scaled, ref=self.hv_point)) if len(scaled) else 0.0


def floor(problem: Any, n_points: int, *, n_steps: int = 20, seed: int = 0) -> float | None:
    """The IGD that `n_points` well-spread points of the true front attain.

    No population of that size can do much better, so a table shows it beside the algorithms.
    Points are chosen in two ways, by farthest-point selection from a seeded start and evenly in
    the order of the front's rows, then moved by Lloyd steps (each to the member of its cell nearest
    to the cell's mean); the best IGD on the way counts.

    Args:
        problem: A pymoo problem.
        n_points: Number of points (>= 1).
        n_steps: Lloyd steps (>= 0).
        seed: Decides the first point.

    Returns:
        The IGD against the same front that `Reference` uses; None when the front is unknown or
        has too few points to say (fewer than `MIN_POINTS_PER_CELL` for each chosen one).

    Raises:
        ValueError: `n_points` below 1.
    """
    if n_points < 1:
        raise ValueError(f"n_points={n_points} must be at least 1")
    front = true_front(problem)
    if front is None or len(front) < MIN_POINTS_PER_CELL * n_points:
        return None
    even = front[np.linspace(0, len(front) - 1, n_points).round().astype(int)]
    best = np.inf
    for chosen in (_farthest_points(front, n_points, np.random.default_rng(seed)), even):
        for _ in range(n_steps + 1):
            distance, cell = cKDTree(chosen).query(front)
            best = min(best, float(distance.mean()))
            chosen = _cell_centres(front, chosen, cell)
    return best


def _farthest_points(front: np.ndarray, n: int, random_state: np.random.Generator) -> np.ndarray:
    """n rows of `front`, each the farthest from those before it (Gonzalez, 1985)."""
    rows = [int(random_state.integers(len(front)))]
    nearest = np.linalg.norm(front - front[rows[0]], axis=1)
    while len(rows) < n:
        rows.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(front - front[rows[-1]], axis=1))
    return front[rows]


def _cell_centres(front: np.ndarray, chosen: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Per cell, the row of `front` nearest to the cell's mean (the mean may lie off the front)."""
    counts = np.bincount(cell, minlength=len(chosen))
    sums = np.zeros_like(chosen)
    np.add.at(sums, cell, front)
    # A cell may be empty where the front repeats a point: its point stays.
    means = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], chosen)
    return front[cKDTree(front).query(means)[1]]
