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


class WassersteinLoss:
    """The critic's losses: it maximizes E D(x) - E D(G(z)); the generator maximizes E D(G(z))."""

    def real_loss(self, logits: Tensor) -> Tensor:
        """-D(x)."""
        return -logits

    def fake_loss(self, logits: Tensor) -> Tensor:
        """D(G(z)), and D of negatives."""
        return logits

    def fooling_loss(self, logits: Tensor) -> Tensor:
        """-D(G(z))."""
        return -logits


@register
@dataclass(kw_only=True, eq=False, repr=False)
class WGAN(WassersteinLoss, GAN):
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
