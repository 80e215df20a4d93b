"""What a criterion is: a figure that a working model reaches and a broken one misses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

Figures = dict[str, float]
CRITERIA: dict[str, Criterion] = {}


@dataclass(frozen=True)
class Criterion:
    """One promise of a model, measured by training it.

    Attributes:
        name: Unique key, e.g. "vae-binary-nll".
        model: Name of the model's class.
        what: The figure in words, with its unit: "binary digits, NLL by importance sampling, nats".
        figure: Key in what `run` returns that the target is about.
        run: Seed to figures, trained anew; the main one and others that belong beside it.
        at_most: Largest figure that passes, or None.
        at_least: Smallest figure that passes, or None.
        reference: What others reach, with source: "pythae's VAE 17.38-17.44".
        broken: Seed to figures of a broken variant, which must miss the target; or None.
        broken_what: What is broken there: "KL term forgotten".
        also: Bounds on the other figures that must hold together with the main one, key to
            (least, most), None for no bound; no single number is honest alone.
        n_seeds: Seeds 1 .. n_seeds, whose median counts.
    """

    name: str
    model: str
    what: str
    figure: str
    run: Callable[[int], Figures]
    at_most: float | None = None
    at_least: float | None = None
    reference: str = ""
    broken: Callable[[int], Figures] | None = None
    broken_what: str = ""
    also: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)
    n_seeds: int = 5

    def __post_init__(self) -> None:
        if self.at_most is None and self.at_least is None:
            raise ValueError(f"criterion {self.name!r} has no target")

    @property
    def target(self) -> str:
        """The target in words."""
        bounds = [("<=", self.at_most), (">=", self.at_least)]
        words = [f"{sign} {bound:g}" for sign, bound in bounds if bound is not None]
        for key, (low, high) in self.also.items():
            words += [f"{key} >= {low:g}"] if low is not None else []
            words += [f"{key} <= {high:g}"] if high is not None else []
        return ", ".join(words)

    def passes(self, figures: Figures) -> bool:
        """Whether figures (of one seed, or medians) reach the target."""
        bounds = {self.figure: (self.at_least, self.at_most), **self.also}
        return all(
            (low is None or figures[key] >= low) and (high is None or figures[key] <= high)
            for key, (low, high) in bounds.items()
        )


def criterion(made: Criterion) -> Criterion:
    """Registers a criterion.

    Raises:
        ValueError: The name is taken.
    """
    if made.name in CRITERIA:
        raise ValueError(f"a criterion named {made.name!r} exists already")
    CRITERIA[made.name] = made
    return made
