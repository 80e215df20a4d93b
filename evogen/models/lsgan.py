"""The least-squares GAN."""

from __future__ import annotations

from dataclasses import dataclass

import torch
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

    def discriminator_loss(
        self,
        real: Tensor,
        z: Tensor,
        condition: Tensor | None,
        negative: Tensor | None,
        noise: Tensor | None,
    ) -> Tensor:
        """1/2 E (D(x) - 1)^2 + 1/2 E D(G(z))^2; negatives have their share of the second mean."""
        _, on_real, on_fake, on_negative = self.discriminate(real, z, condition, negative, noise)
        low = on_fake.square().mean()
        if on_negative is not None:
            low = torch.lerp(low, on_negative.square().mean(), self.negative_weight)
        loss = 0.5 * low + 0.5 * (on_real - 1).square().mean()
        if self.r1 > 0:
            loss = loss + 0.5 * self.r1 * self.squared_slope(real, condition).mean()
        return loss

    def generator_loss(self, z: Tensor, condition: Tensor | None, noise: Tensor | None) -> Tensor:
        """1/2 E (D(G(z)) - 1)^2."""
        fake = self.forward_generator(z, condition)
        if noise is not None:
            fake = fake + noise
        judged = self.weights_["discriminator"].module(fake, condition)
        return 0.5 * (judged - 1).square().mean()
