"""The generative adversarial network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from evogen.models.adversarial import AdversarialModel, Gradient
from evogen.models.backpropagation import PlainMLP, join
from evogen.models.checks import check_choice
from evogen.models.networks import MLP
from evogen.models.serialization import register

LOSS_METHODS = (
    "discriminator_loss",
    "generator_loss",
    "real_loss",
    "fake_loss",
    "fooling_loss",
    "discriminate",
    "forward_generator",
    "pack",
)
"""What `AdversarialGradients` takes for granted."""


@register
@dataclass(kw_only=True, eq=False, repr=False)
class GAN(AdversarialModel):
    """Generative adversarial network (Goodfellow et al. 2014), optionally conditional.

    The discriminator D learns to tell data (label 1) from generated rows (label 0) and from
    negative examples, if there are any (label 0); the generator G learns to be taken for data.
    The other parameters are those of `AdversarialModel`:

    Attributes:
        loss: Generator's loss: "non-saturating", -log D(G(z)), or "minimax", log(1 - D(G(z)))
            (Goodfellow et al. 2014, section 3).
    """

    loss: Literal["non-saturating", "minimax"] = "non-saturating"

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        check_choice("loss", self.loss, ("non-saturating", "minimax"))

    def real_loss(self, logits: Tensor) -> Tensor:
        """-log D(x), of logits `(n, 1)`."""
        return F.softplus(-logits)

    def fake_loss(self, logits: Tensor) -> Tensor:
        """-log(1 - D(G(z))), and likewise for negatives."""
        return F.softplus(logits)

    def fooling_loss(self, logits: Tensor) -> Tensor:
        """-log D(G(z)) or, with loss="minimax", log(1 - D(G(z)))."""
        return -F.softplus(logits) if self.loss == "minimax" else F.softplus(-logits)

    def known_gradients(self) -> tuple[Gradient | None, Gradient | None]:
        """Functions that compute D's and G's loss and leave the gradient in place, or None."""
        if not self.gradients_are_known:
            return None, None
        explicit = AdversarialGradients(self)
        return explicit.discriminator, explicit.generator

    @property
    def gradients_are_known(self) -> bool:
        """Whether `AdversarialGradients` computes the gradients of this model's losses.

        It does for plain networks without a slope penalty, unless a subclass changed a loss.
        """
        same = self.keeps(GAN, *LOSS_METHODS)
        plain = all(PlainMLP.supports(weights.module) for weights in self.weights_.values())
        # PlainMLP does not see that a layer inside is divided by its singular value.
        simple = self.packing == 1 and not self.spectral_norm
        return same and plain and simple and self.r1 == 0 and self.gp_weight == 0


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
        place: Tensor | None = None,
    ) -> Tensor:
        """`discriminator_loss` without penalties; its gradient is left with D's weights."""
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
