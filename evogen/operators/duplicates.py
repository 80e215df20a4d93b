"""Duplicate elimination by row hash instead of a distance matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from pymoo.core.duplicate import DuplicateElimination
from pymoo.core.population import Population


class HashDuplicateElimination(DuplicateElimination):
    """Drops exact duplicates of decision vectors in O(n d) time and memory.

    pymoo's default builds an n x n distance matrix and calls rows within 1e-16 equal, which for
    numbers of order one means equal. Here equality is that of the values (0.0 and -0.0 are equal).
    Use as `eliminate_duplicates=HashDuplicateElimination()` in any pymoo algorithm.

    Works on arrays of numbers and on mixed-variable dictionaries of hashable values.
    """

    def _do(self, pop: Population, other: Any, is_duplicate: np.ndarray) -> np.ndarray:
        keys = _keys(self.func(pop))
        if other is None:
            seen: set[Any] = set()
            for i, key in enumerate(keys):
                if key in seen:
                    is_duplicate[i] = True
                seen.add(key)
        else:
            known = set(_keys(self.func(other)))
            is_duplicate[[i for i, key in enumerate(keys) if key in known]] = True
        return is_duplicate


def _keys(x: Any) -> list[Any]:
    """One hashable key per row."""
    x = np.asarray(x)
    if x.dtype == object:
        rows = (
            row.items() if isinstance(row, dict) else enumerate(np.atleast_1d(row)) for row in x
        )
        return [tuple(sorted((str(k), v) for k, v in row)) for row in rows]
    if x.dtype.kind in "biuf":
        # Integer parents and offspring that were rounded as floats must get the same bytes, and so
        # must both zeros (-0.0 + 0.0 is 0.0).
        x = x.astype(float) + 0.0
    return [row.tobytes() for row in np.ascontiguousarray(x)]
