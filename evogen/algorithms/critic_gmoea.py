"""GMOEA with a generator that learns from survival, and a critic that predicts objectives."""

from __future__ import annotations

from typing import Any

from pymoo.algorithms.moo.spea2 import SPEA2, spea_binary_tournament
from pymoo.core.mating import Mating
from pymoo.operators.crossover.sbx import SBX
from pymoo.operators.mutation.pm import PM
from pymoo.operators.selection.tournament import TournamentSelection

from evogen.algorithms.checks import refuse_unknown, require_real_box
from evogen.models import GAN
from evogen.operators import FastSPEA2Survival, HashDuplicateElimination
from evogen.operators.steps import StepMating


class CriticGMOEA(SPEA2):
    """GMOEA, changed where measurements say that it fails (`docs/gmoea.md` has them).

    GMOEA (He et al., IEEE Trans. Cybern. 51(6), 2021) trains a GAN on elites against the rest and
    takes most offspring from it. Here

    - the generator learns *steps*, and its labels are outcomes: steps from parent to offspring
      that survived are real, steps that failed are negative examples;
    - such steps start from lines through elites that go on beyond them, every second one replaced
      by the raw difference between an elite and a poor solution;
    - the place of the discriminator as judge of solutions goes to a critic that predicts the
      objectives (`RBFCritic` on the last evaluated points): half of the model's offspring follow
      its slope for random weights;
    - the share of all these follows their survival, the rest is SBX and polynomial mutation;
    - values outside the box are reflected, which gives no reward for optima on the bounds.

    What carries the method is the critic together with the lines; the network is no better than
    its nulls, and drawing the survived steps again (`model=Copy()`) takes half the time. SPEA2
    survives.

    Args:
        pop_size: Population size (>= 4).
        model: Learns steps; default is a GAN that starts from their Gaussian.
        critic_share: Share of the critic's steps among the model's offspring, in [0, 1].
        learned_share: Share of learned steps among the other steps, in [0, 1].
        share: Share of all of these among the offspring, as in `GenerativeMating`.
        bounds: `"reflect"` or `"clip"`.
        **kwargs: As for pymoo's `SPEA2`.

    Raises:
        ValueError: An argument out of range.
        TypeError: An unknown argument, or variables that are not real.
    """

    def __init__(
        self,
        pop_size: int = 100,
        *,
        model: Any = None,
        critic_share: float = 0.5,
        learned_share: float = 0.5,
        share: Any = "adaptive",
        bounds: str = "reflect",
        **kwargs: Any,
    ) -> None:
        refuse_unknown(CriticGMOEA, kwargs, fixed=("mating", "survival", "crossover", "mutation"))
        if pop_size < 4:
            raise ValueError(f"pop_size={pop_size!r} must be at least 4")
        tournament = TournamentSelection(spea_binary_tournament)
        mating = StepMating(
            step_gan() if model is None else model,
            critic_share=critic_share,
            learned_share=learned_share,
            share=share,
            bounds=bounds,
            mutation=PM(prob=1.0, eta=20),
            base=Mating(tournament, SBX(prob=1.0, eta=20), PM(prob=1.0, eta=20)),
        )
        super().__init__(
            pop_size=pop_size,
            survival=FastSPEA2Survival(),
            eliminate_duplicates=kwargs.pop("eliminate_duplicates", HashDuplicateElimination()),
            mating=mating,
            **kwargs,
        )

    def _setup(self, problem: Any, **kwargs: Any) -> None:
        require_real_box(problem, "CriticGMOEA")


def step_gan() -> GAN:
    """A GAN of steps: from a draw from their Gaussian to a step, in 20 warm training steps."""
    return GAN(prior="data", residual=True, n_steps=20, batch_size=64)
