"""The least-squares GAN."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from evogen.models.gan import GAN
from evogen.models.serialization import register


@register
@dataclass(kw_only=True, eq=False, repr=False)
class LSGAN(GAN):
    """Least-squares GAN (Mao et al. 2017, eq. 2 with a = 0 and b = c = 1).

    The discriminator regresses label 1 on data and 0 on generated rows and negatives, the
    generator aims at 1; generated rows far beyond the boundary still have a slope. At its optimum
    D(x) = p(x) / (p(x) + q(x)) for densities p of the data and q of the generator (eq. 5). `loss`
    has no effect, and `score` gives D itself, not a logit. The parameters are those of `GAN`.
    """

    def real_loss(self, logits: Tensor) -> Tensor:
        """1/2 (D(x) - 1)^2."""
        return 0.5 * (logits - 1).square()

    def fake_loss(self, logits: Tensor) -> Tensor:
        """1/2 D(G(z))^2, and likewise for negatives."""
        return 0.5 * logits.square()

    def fooling_loss(self, logits: Tensor) -> Tensor:
        """1/2 (D(G(z)) - 1)^2."""
        return 0.5 * (logits - 1).square()
