"""The boundary equilibrium GAN."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor, nn

from evogen.models import distributed
from evogen.models.adversarial import AdversarialModel
from evogen.models.adversarial_networks import ConvDiscriminator, ConvGenerator
from evogen.models.base import Rows
from evogen.models.checks import check_choice, check_number
from evogen.models.networks import MLP, Norm
from evogen.models.serialization import register
from evogen.models.training import Batches, Objective


class AutoencoderJudge(nn.Module):
    """A discriminator that reconstructs: its logit is minus the error of its reconstruction.

    Args:
        encoder: Rows `(n, d)` to codes `(n, h)`.
        decoder: Codes `(n, h)` to rows `(n, d)`.
        power: 1 or 2: the error of a row is its mean |x - D(x)|^power.

    Attributes:
        k: The share of the generated rows in the discriminator's loss, in [0, 1].
        errors: Mean errors of the last batches of data and of generated rows, `(2,)`.
    """

    k: Tensor
    errors: Tensor

    def __init__(self, encoder: nn.Module, decoder: nn.Module, power: int) -> None:
        super().__init__()
        self.encoder, self.decoder, self.power = encoder, decoder, power
        self.register_buffer("k", torch.zeros(()))
        self.register_buffer("errors", torch.zeros(2))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Minus the errors `(n, 1)` of rows `(n, d)`; the decoder sees the condition."""
        error = (x - self.decoder(self.encoder(x), condition)).abs()
        return -error.pow(self.power).mean(dim=1, keepdim=True)


@dataclass
class Equilibrium(Objective):
    """After a step of both networks: moves k; what it reports is the measure of convergence.

    Attributes:
        gamma: Wanted ratio of the errors.
        rate: How fast k moves.
    """

    gamma: float = 0.5
    rate: float = 1e-3

    @torch.no_grad()
    def step(self, batches: Batches) -> Tensor:
        """Moves k and returns M (section 3.4, after eq. 5)."""
        judge = self.weights.module
        assert isinstance(judge, AutoencoderJudge)
        distributed.average(judge.errors)
        real, fake = judge.errors
        gap = self.gamma * real - fake
        judge.k.add_(self.rate * gap).clamp_(0.0, 1.0)
        return real + gap.abs()


@register
@dataclass(kw_only=True, eq=False, repr=False)
class BEGAN(AdversarialModel):
    """Boundary equilibrium GAN (Berthelot, Schumm and Metz 2017).

    The discriminator is an autoencoder with a narrow code; L(x) is the error of its
    reconstruction. It minimizes L(x) - k L(G(z)), the generator L(G(z)), and a proportional
    control (section 3.3)

        k <- clip(k + lambda_k (gamma L(x) - L(G(z))), 0, 1)

    holds the errors at the ratio gamma = E L(G(z)) / E L(x). M = L(x) + |gamma L(x) - L(G(z))|
    measures the convergence; it is small, too, for a discriminator that reconstructs anything, so
    its code is always narrower than the data. `losses_["convergence"]` has M of every step of the
    last fit. `packing` helps against rows that are all alike. The other parameters are those of
    `AdversarialModel`; these differ:

    Attributes:
        norm: In the generator.
        gamma: Wanted ratio of the errors, in [0, 1]; lower: fewer kinds of rows. The paper has
            0.3 to 0.7; in short fits on small data that ends with a single kind.
        lambda_k: Rate of k. The paper's 1e-3 is for fits of 1e5 steps.
        bottleneck: Width of the discriminator's code, at most d - 1 for d features (but at least
            1); None for d // 4.
        power: 1 or 2: the error of a row is its mean |x - D(x)|^power.
        n_steps: Generator updates per fit.
        batch_size: Rows per step; None for all.
        betas: Adam's decay rates.
        schedule: Of the learning rates over a fit; the authors halve them whenever M stalls.
    """

    n_steps: int = 300
    batch_size: int | None = 64
    betas: tuple[float, float] = (0.5, 0.999)
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    norm: Norm | None = "batch"
    gamma: float = 0.9
    lambda_k: float = 0.1
    bottleneck: int | None = None
    power: int = 1

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        check_number("gamma", self.gamma, low=0, high=1)
        check_number("lambda_k", self.lambda_k, low=0)
        if self.bottleneck is not None:
            check_number("bottleneck", self.bottleneck, low=1, integer=True)
        check_choice("power", self.power, (1, 2))

    def make_discriminator(self) -> nn.Module:
        """A new `AutoencoderJudge` of packs of rows."""
        d = self.packing * (self.n_features_ or 0)
        wanted = d // 4 if self.bottleneck is None else self.bottleneck
        n_code = max(1, min(wanted, d - 1))
        n_condition = self.packing * self.n_condition_
        encoder: nn.Module
        decoder: nn.Module
        if self.is_convolutional:
            channels, height, width = self.item_shape_
            shape = (self.packing * channels, height, width)
            norm = self.norm_discriminator
            encoder = ConvDiscriminator(
                shape, n_code, channels=self.channels, activation=self.activation, norm=norm
            )
            decoder = ConvGenerator(
                n_code,
                shape,
                channels=self.channels,
                activation=self.activation,
                norm=norm,
                n_condition=n_condition,
            )
        else:
            hidden: Sequence[int] = self.hidden_discriminator
            norm = self.norm_discriminator
            encoder = MLP(
                d,
                n_code,
                hidden=hidden,
                activation=self.activation,
                norm=norm,
                n_octaves=self.n_octaves,
            )
            decoder = MLP(
                n_code,
                d,
                hidden=hidden[::-1],
                activation=self.activation,
                norm=norm,
                n_condition=n_condition,
            )
        return AutoencoderJudge(encoder, decoder, self.power)

    @property
    def judge(self) -> AutoencoderJudge:
        """The discriminator, after the first fit."""
        module = self.weights_["discriminator"].module
        assert isinstance(module, AutoencoderJudge)
        return module

    @property
    def k_(self) -> float:
        """The share of the generated rows in the discriminator's loss."""
        return float(self.judge.k)

    @property
    def convergence_(self) -> float:
        """M after the last step: L(x) + |gamma L(x) - L(G(z))|, of its batches."""
        real, fake = self.judge.errors.tolist()
        return float(real + abs(self.gamma * real - fake))

    def objectives(self, rows: Rows) -> list[Objective]:
        """The discriminator's step, the generator's step, and the control of k."""
        discriminator, generator = super().objectives(rows)
        given = {f.name: getattr(discriminator, f.name) for f in fields(discriminator)}
        given.update(name="convergence", draw=lambda n, generator: [None] * 1, repeats=1)
        given.update(accumulate=1, batch_numbers=1, gradient=None)
        control = Equilibrium(**given, gamma=self.gamma, rate=self.lambda_k)
        return [discriminator, generator, control]

    def real_loss(self, logits: Tensor) -> Tensor:
        """L(x), of logits `(n, 1)`; its mean is kept for the control."""
        self.judge.errors[0] = -logits.detach().mean()
        return -logits

    def fake_loss(self, logits: Tensor) -> Tensor:
        """-k L(G(z)), and likewise for negatives."""
        return self.judge.k * logits

    def fooling_loss(self, logits: Tensor) -> Tensor:
        """L(G(z)); its mean is kept for the control."""
        self.judge.errors[1] = -logits.detach().mean()
        return -logits
