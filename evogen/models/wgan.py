"""The original Wasserstein GAN, with clipped weights."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from evogen.models.base import Rows
from evogen.models.checks import check_number
from evogen.models.gan import GAN
from evogen.models.serialization import register
from evogen.models.training import Batches, Objective


@dataclass
class ClippedObjective(Objective):
    """An objective whose weights stay in [-limit, limit].

    Attributes:
        limit: The largest absolute weight.
    """

    limit: float = 0.01

    def step(self, batches: Batches) -> Tensor:
        """One optimizer step, then the clipping."""
        loss = super().step(batches)
        self.weights.flat.clamp_(-self.limit, self.limit)
        return loss


@register
@dataclass(kw_only=True, eq=False, repr=False)
class WGAN(GAN):
    """Wasserstein GAN with weight clipping (Arjovsky, Chintala and Bottou 2017, algorithm 1).

    The critic maximizes E D(x) - E D(G(z)), an estimate of the Wasserstein distance up to the
    critic's steepness, which clipping its weights to [-clip, clip] bounds. Adam without momentum
    (betas[0] = 0) is RMSprop with a bias correction: the authors found momentum to destabilize
    the critic (section 4). Rates are higher than theirs (5e-5), since fits here are short. `loss`
    has no effect. The parameters are those of `GAN`; these differ:

    Attributes:
        n_steps: Generator updates per fit.
        n_critic: Critic steps per generator step.
        betas: Adam's decay rates.
        clip: Largest absolute weight of the critic.
    """

    n_steps: int = 50
    n_critic: int = 5
    betas: tuple[float, float] = (0.0, 0.99)
    clip: float = 0.05

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        check_number("clip", self.clip, low=1e-12)

    def build(self, generator: torch.Generator | None) -> None:
        """Creates networks and optimizers; the critic starts clipped."""
        super().build(generator)
        self.weights_["discriminator"].flat.clamp_(-self.clip, self.clip)

    def objectives(self, rows: Rows) -> list[Objective]:
        """The critic's step, with its clipping, and the generator's step, on scaled rows."""
        critic, generator = super().objectives(rows)
        given = {f.name: getattr(critic, f.name) for f in fields(critic)}
        return [ClippedObjective(**given, limit=self.clip), generator]

    def discriminator_loss(
        self,
        real: Tensor,
        z: Tensor,
        condition: Tensor | None,
        negative: Tensor | None,
        noise: Tensor | None,
    ) -> Tensor:
        """E D(G(z)) - E D(x); negatives have their share of the first mean."""
        _, on_real, on_fake, on_negative = self.discriminate(real, z, condition, negative, noise)
        low = on_fake.mean()
        if on_negative is not None:
            low = torch.lerp(low, on_negative.mean(), self.negative_weight)
        loss = low - on_real.mean()
        if self.r1 > 0:
            loss = loss + 0.5 * self.r1 * self.squared_slope(real, condition).mean()
        return loss

    def generator_loss(self, z: Tensor, condition: Tensor | None, noise: Tensor | None) -> Tensor:
        """-E D(G(z))."""
        fake = self.forward_generator(z, condition)
        if noise is not None:
            fake = fake + noise
        return -self.weights_["discriminator"].module(fake, condition).mean()
