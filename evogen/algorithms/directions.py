"""Reference directions of a wanted number."""

from __future__ import annotations

import numpy as np
from pymoo.util.ref_dirs import get_reference_directions


def simplex_directions(n_obj: int, n_points: int) -> np.ndarray:
    """The largest simplex lattice of at most `n_points` directions (two layers beyond 7
    objectives, where one layer has no interior point).

    Args:
        n_obj: Number of objectives (>= 2).
        n_points: Wanted number (>= 1); at least the `n_obj` axes are returned.

    Returns:
        Directions `(k, n_obj)` that sum to 1.
    """
    best = np.eye(n_obj)
    for n_partitions in range(1, n_points + 1):
        directions = get_reference_directions("das-dennis", n_obj, n_partitions=n_partitions)
        if n_obj > 7 and n_partitions >= 2:
            inner = get_reference_directions(
                "das-dennis", n_obj, n_partitions=n_partitions - 1, scaling=0.5
            )
            directions = np.concatenate([directions, inner])
        if len(directions) > n_points:
            break
        best = directions
    return np.asarray(best)
