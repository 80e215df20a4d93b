"""The GAN's two losses with their gradients, computed without autograd."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from evogen.models.backpropagation import PlainMLP, join
from evogen.models.networks import MLP

if TYPE_CHECKING:
    from evogen.models.gan import GAN


class AdversarialGradients:
    """Losses of a `GAN` with their gradients; equal to autograd's up to rounding.

    The discriminator's loss is a sum of w (softplus(l) - y l) over the logits l of all rows, with
    labels y and weights w, so its slope at a logit is w (sigmoid(l) - y).

    Args:
        model: A GAN in training whose `gradients_are_known`.
    """

    def __init__(self, model: GAN) -> None:
        self.residual = model.residual
        self.minimax = model.loss == "minimax"
        self.negative_weight = model.negative_weight
        networks = {}
        for name, weights in model.weights_.items():
            assert isinstance(weights.module, MLP)
            networks[name] = PlainMLP(weights.module)
        self.g, self.d = networks["generator"], networks["discriminator"]
        self._targets: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def targets(self, n: int, n_negative: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Labels y and weights w of real, generated and negative rows, in this order."""
        if (n, n_negative) not in self._targets:
            share = self.negative_weight if n_negative else 0.0
            label = [1.0] * n + [0.0] * (n + n_negative)
            weight = [1 / n] * n + [(1 - share) / n] * n + [share / max(1, n_negative)] * n_negative
            self._targets[n, n_negative] = (
                torch.tensor(label, device=device),
                torch.tensor(weight, device=device),
            )
        return self._targets[n, n_negative]

    def discriminator(
        self,
        real: Tensor,
        z: Tensor,
        condition: Tensor | None,
        negative: Tensor | None,
        noise: Tensor | None,
    ) -> Tensor:
        """`GAN.discriminator_loss`, its gradient left with the discriminator's weights."""
        fake = self.g.forward(join(z, condition)).output
        if self.residual:
            fake = z + fake
        x = torch.cat((real, fake) if negative is None else (real, fake, negative))
        if noise is not None:
            x = x + noise
        if condition is not None:
            x = join(x, torch.cat((condition, condition)))
        judged = self.d.forward(x)
        n_negative = 0 if negative is None else negative.shape[0]
        label, weight = self.targets(real.shape[0], n_negative, real.device)
        logits = judged.output[:, 0]
        slopes = torch.sigmoid(logits).sub_(label).mul_(weight)
        self.d.backward(judged, slopes[:, None])
        return torch.dot(weight, F.softplus(logits).addcmul_(label, logits, value=-1))

    def generator(self, z: Tensor, condition: Tensor | None, noise: Tensor | None) -> Tensor:
        """`GAN.generator_loss`, its gradient left with the generator's weights."""
        made = self.g.forward(join(z, condition))
        fake = z + made.output if self.residual else made.output
        if noise is not None:
            fake = fake + noise
        judged = self.d.forward(join(fake, condition))
        # -log D = softplus(-l) and log(1 - D) = -softplus(l).
        signed = judged.output if self.minimax else -judged.output
        slopes = torch.sigmoid(signed).div_(-z.shape[0])
        at_input = self.d.backward(judged, slopes, to_weights=False, to_input=True)
        assert at_input is not None
        self.g.backward(made, at_input if condition is None else at_input[:, : fake.shape[1]])
        loss = F.softplus(signed).mean()
        return -loss if self.minimax else loss
