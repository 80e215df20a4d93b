"""Operator shares by measured survival."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class SurvivalCredit:
    """Shares between operators from the survival of their offspring.

    Each operator's survival rate is an exponential average; its share is proportional to the
    rate raised to `power`, above an exploratory floor (probability matching with a floor,
    Thierens 2005, "An adaptive pursuit strategy for allocating operator probabilities").

    Args:
        names: The operators.
        floor: Smallest share of any operator, in [0, 1 / number of operators]; or of each, a
            sequence whose sum is at most 1.
        decay: Weight of the newest generation, in (0, 1].
        power: Greed; 1 is proportional, larger favours the best.

    Raises:
        ValueError: A floor or decay out of range.
    """

    def __init__(
        self,
        names: list[str],
        *,
        floor: float | Sequence[float] = 0.1,
        decay: float = 0.3,
        power: float = 2.0,
    ) -> None:
        floors = np.broadcast_to(np.asarray(floor, dtype=float), len(names))
        # Rounding: ten times a tenth may be a little more than 1.
        if not (np.all(floors >= 0.0) and floors.sum() <= 1.0 + 1e-12):
            raise ValueError(f"floor={floor!r} must lie in [0, {1 / len(names):g}]")
        if not 0.0 < decay <= 1.0:
            raise ValueError(f"decay={decay!r} must lie in (0, 1]")
        self.names = names
        self.floor = floor
        self.decay = decay
        self.power = power
        self.rate = np.full(len(names), 0.5)

    def update(self, born: np.ndarray, survived: np.ndarray) -> None:
        """Report one generation.

        Args:
            born: Offspring per operator `(k,)`.
            survived: How many of them are in the population now `(k,)`.
        """
        tried = born > 0
        observed = survived[tried] / born[tried]
        self.rate[tried] += self.decay * (observed - self.rate[tried])

    def shares(self) -> np.ndarray:
        """Shares `(k,)`, summing to 1, none below the floor."""
        worth = np.maximum(self.rate, 1e-6) ** self.power
        floor = np.asarray(self.floor, dtype=float)
        left = 1.0 - (len(worth) * float(floor) if floor.ndim == 0 else float(floor.sum()))
        return np.asarray(floor + left * worth / worth.sum())
