"""The Wasserstein GAN with a gradient penalty."""

from __future__ import annotations

from dataclasses import dataclass

from evogen.models.gan import GAN
from evogen.models.serialization import register
from evogen.models.wgan import WassersteinLoss


@register
@dataclass(kw_only=True, eq=False, repr=False)
class WGANGP(WassersteinLoss, GAN):
    """Wasserstein GAN with gradient penalty (Gulrajani et al. 2017, algorithm 1).

    The critic maximizes E D(x) - E D(G(z)) under a penalty on its slope along lines between data
    and generated rows, one random place per pair of rows. `loss` has no effect. The parameters
    are those of `GAN`; these differ:

    Attributes:
        n_steps: Generator updates per fit.
        n_critic: Critic steps per generator step.
        betas: Adam's decay rates.
        gp_weight: Weight of the penalty (|grad D| - 1)^2.
    """

    n_steps: int = 50
    n_critic: int = 5
    betas: tuple[float, float] = (0.0, 0.9)
    gp_weight: float = 10.0
