"""Operator shares by measured survival."""

from __future__ import annotations

import numpy as np


class SurvivalCredit:
    """Shares between operators from the survival of their offspring.

    Each operator's survival rate is an exponential average; its share is proportional to the
    rate raised to `power`, above an exploratory floor (probability matching with a floor,
    Thierens 2005, "An adaptive pursuit strategy for allocating operator probabilities").

    Args:
        names: The operators.
        floor: Smallest share of any operator, in [0, 1 / number of operators].
        decay: Weight of the newest generation, in (0, 1].
        power: Greed; 1 is proportional, larger favours the best.

    Raises:
        ValueError: A floor or decay out of range.
    """

    def __init__(
        self, names: list[str], *, floor: float = 0.1, decay: float = 0.3, power: float = 2.0
    ) -> None:
        if not 0.0 <= floor <= 1.0 / len(names):
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
        return np.asarray(self.floor + (1.0 - len(worth) * self.floor) * worth / worth.sum())
