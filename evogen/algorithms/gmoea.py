"""GMOEA: evolutionary multiobjective optimization driven by a generative adversarial network."""

from __future__ import annotations

from typing import Any

from pymoo.algorithms.moo.spea2 import SPEA2, spea_binary_tournament
from pymoo.core.crossover import Crossover
from pymoo.core.mating import Mating
from pymoo.operators.crossover.sbx import SBX
from pymoo.operators.mutation.pm import PM
from pymoo.operators.selection.tournament import TournamentSelection

from evogen.algorithms.checks import refuse_unknown, require_real_box
from evogen.algorithms.gmoea_published import (
    GENERATIONS_PER_TRAINING,
    CodedElites,
    CodedSurvival,
    ContractingSBX,
    PublishedGAN,
    best_of_three,
    published_schedule,
)
from evogen.algorithms.stepgan import StepGAN
from evogen.operators import (
    Elites,
    FastSPEA2Survival,
    GenerativeMating,
    HashDuplicateElimination,
)

VARIANTS = ("step", "published", "as-coded")


class GMOEA(SPEA2):
    """GMOEA (He, Huang, Cheng, Tan & Jin, IEEE Trans. Cybern. 51(6), 2021) in three variants.

    All of them classify the population by SPEA2's selection into elites ("real") and the rest
    ("fake"), train a GAN on both, mix its offspring with SBX and polynomial mutation, and survive
    by SPEA2. As published the generator imitates the elites; it cannot extend their front and
    collapses on IMF1 and IMF2, and much of its lead elsewhere is its sigmoid output falling into
    the corner where these problems hide their optimum (`docs/gmoea.md` has the measurements).

    - `"step"` (default) differs: the GAN learns the step from poor to good solutions (`StepGAN`),
      its share of the offspring follows their survival, and it is trained on the current
      population's scale with a few dozen steps every generation.
    - `"published"`: the authors' method with the errors of their code repaired.
    - `"as-coded"`: what the authors' code does, errors included.

    Args:
        pop_size: Population size (>= 4).
        variant: One of the above.
        model: Another model for the same place, e.g. a null; default is the variant's GAN.
        n_elites: Solutions labelled "real"; default 20 for `"step"`, else 10.
        share: Share of the model, as in `GenerativeMating`; default `"adaptive"` for `"step"`,
            else the published schedule.
        bounds: What becomes of the model's samples outside the box, `"clip"` or `"reflect"` (see
            `evogen.operators.repair_to_box`). Clipping, the default and what the sigmoid of the
            published network amounts to, is worth much where the optimum lies on the bounds, as it
            does in the IMF problems; the recorded study shows both.
        **kwargs: As for pymoo's `SPEA2`.

    Raises:
        ValueError: Unknown variant, or fewer individuals than elites.
        TypeError: An unknown argument, or variables that are not real.
    """

    def __init__(
        self,
        pop_size: int = 100,
        *,
        variant: str = "step",
        model: Any = None,
        n_elites: int | None = None,
        share: Any = None,
        bounds: str = "clip",
        **kwargs: Any,
    ) -> None:
        refuse_unknown(GMOEA, kwargs, fixed=("mating", "survival", "crossover", "mutation"))
        if variant not in VARIANTS:
            raise ValueError(f"variant={variant!r} is unknown; use one of {', '.join(VARIANTS)}")
        elites = n_elites
        if elites is None:
            elites = min(20 if variant == "step" else 10, max(2, pop_size // 2))
        if not 2 <= elites < pop_size:
            raise ValueError(f"n_elites={elites} must lie in [2, pop_size={pop_size})")
        self.variant = variant
        self.model = model
        coded = variant == "as-coded"
        super().__init__(
            pop_size=pop_size,
            survival=CodedSurvival() if coded else FastSPEA2Survival(),
            eliminate_duplicates=kwargs.pop("eliminate_duplicates", HashDuplicateElimination()),
            mating=_mating(variant, model, elites, share, bounds),
            **kwargs,
        )

    def _setup(self, problem: Any, **kwargs: Any) -> None:
        require_real_box(problem, "GMOEA")
        if isinstance(self.mating.model, PublishedGAN) and self.model is None:
            # The published networks are as wide as the problem.
            self.mating.slot.model = PublishedGAN.for_problem(
                problem.n_var, self.pop_size, as_coded=self.variant == "as-coded"
            )


def _mating(variant: str, model: Any, n_elites: int, share: Any, bounds: str) -> GenerativeMating:
    coded, published = variant == "as-coded", variant != "step"
    crossover: Crossover = ContractingSBX() if coded else SBX(prob=1.0, eta=20)
    tournament = (
        TournamentSelection(best_of_three, pressure=3)
        if coded
        else TournamentSelection(spea_binary_tournament)
    )
    if model is None:
        model = PublishedGAN() if published else StepGAN()
    if share is None:
        share = published_schedule if published else "adaptive"
    elites = CodedElites if coded else Elites
    return GenerativeMating(
        model,
        elites(n=n_elites, selection="spea2", negatives=True),
        share=share,
        refit_every=GENERATIONS_PER_TRAINING if published else 1,
        mutation=PM(prob=1.0, eta=20),
        base=Mating(tournament, crossover, PM(prob=1.0, eta=20)),
        bounds=bounds,
    )
