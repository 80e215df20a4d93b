"""Generative adversarial networks for vectors: the original GAN and the Wasserstein GAN-GP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evogen.models.adversarial import AdversarialGradients
from evogen.models.backpropagation import PlainMLP
from evogen.models.base import Rows
from evogen.models.checks import check_betas, check_choice, check_number, check_widths
from evogen.models.networks import ACTIVATIONS, MLP, Norm
from evogen.models.neural import NeuralModel, take_batches
from evogen.models.rng import normal, uniform
from evogen.models.scaling import ScalerKind
from evogen.models.serialization import register
from evogen.models.training import Callback, Objective


@register
@dataclass(kw_only=True, eq=False, repr=False)
class GAN(NeuralModel):
    """Generative adversarial network (Goodfellow et al. 2014), optionally conditional.

    The discriminator D learns to tell data (label 1) from generated rows (label 0) and from
    negative examples, if there are any (label 0); the generator G learns to be taken for data.
    A step is `n_critic` steps of D, then one of G.

    Attributes:
        latent_dim: Size of the generator's input z; None for the number of features.
        prior: "normal": z ~ N(0, I). "data": z ~ N(mean, covariance) of the rows of the last fit,
            so that the generator starts from their best Gaussian; `latent_dim` must be None.
        residual: G(z) = z + net(z), for prior="data".
        loss: Generator's loss: "non-saturating", -log D(G(z)), or "minimax", log(1 - D(G(z)))
            (Goodfellow et al. 2014, section 3).
        hidden_generator: Widths of the generator's hidden layers.
        hidden_discriminator: Widths of the discriminator's hidden layers.
        activation: Of the hidden layers, a name in `networks.ACTIVATIONS`.
        output: "linear", "sigmoid" or "tanh". With `normalize` the data are scaled to suit:
            mean 0 and deviation 1, range [0, 1], or range [-1, 1].
        norm: "batch", "layer" or None, in the generator.
        output_norm: Whether the generator's output is normalized too, before its activation.
        n_critic: Discriminator steps per generator step.
        lr_generator: Learning rate of Adam for G.
        lr_discriminator: Learning rate of Adam for D.
        betas: Adam's decay rates.
        r1: Weight g of the penalty g/2 E|grad D(x)|^2 at data (Mescheder et al. 2018, eq. 9).
        instance_noise: Standard deviation of noise on all inputs of D (Soenderby et al. 2017).
        negative_weight: Share of the negatives in the loss of label 0; generated rows have the
            rest.
    """

    averaged: ClassVar[tuple[str, ...]] = ("generator",)

    latent_dim: int | None = None
    prior: Literal["normal", "data"] = "normal"
    residual: bool = False
    loss: Literal["non-saturating", "minimax"] = "non-saturating"
    hidden_generator: Sequence[int] = (64, 64)
    hidden_discriminator: Sequence[int] = (64, 64)
    activation: str = "leaky_relu"
    output: Literal["linear", "sigmoid", "tanh"] = "linear"
    norm: Norm | None = None
    output_norm: bool = False
    n_critic: int = 1
    lr_generator: float = 1e-3
    lr_discriminator: float = 1e-3
    betas: tuple[float, float] = (0.5, 0.99)
    r1: float = 0.0
    instance_noise: float = 0.0
    negative_weight: float = 0.5

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        if self.latent_dim is not None:
            check_number("latent_dim", self.latent_dim, low=1, integer=True)
        check_choice("prior", self.prior, ("normal", "data"))
        if self.prior == "data" and self.latent_dim is not None:
            raise ValueError("latent_dim must be None with prior='data': z has the data's size")
        if self.residual and self.prior != "data":
            raise ValueError(f"residual=True needs prior='data'; got prior={self.prior!r}")
        check_choice("loss", self.loss, ("non-saturating", "minimax"))
        check_widths("hidden_generator", self.hidden_generator)
        check_widths("hidden_discriminator", self.hidden_discriminator)
        check_choice("activation", self.activation, tuple(ACTIVATIONS))
        check_choice("output", self.output, ("linear", "sigmoid", "tanh"))
        check_choice("norm", self.norm, (None, "batch", "layer"))
        if self.output_norm and self.norm is None:
            raise ValueError("output_norm=True needs norm='batch' or 'layer'; got norm=None")
        check_number("n_critic", self.n_critic, low=1, integer=True)
        check_number("lr_generator", self.lr_generator, low=0)
        check_number("lr_discriminator", self.lr_discriminator, low=0)
        check_betas(self.betas)
        check_number("r1", self.r1, low=0)
        check_number("instance_noise", self.instance_noise, low=0)
        check_number("negative_weight", self.negative_weight, low=0, high=1)

    # State.

    @property
    def scaler_kind(self) -> ScalerKind:
        """How the data are scaled: to the range of the generator's output."""
        if not self.normalize:
            return "none"
        kinds: dict[str, ScalerKind] = {"sigmoid": "unit", "tanh": "symmetric"}
        return kinds.get(self.output, "standard")

    @property
    def n_latent(self) -> int:
        """Size of z, after the first fit."""
        return (self.n_features_ or 0) if self.latent_dim is None else self.latent_dim

    def buffer_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Names and shapes of `buffers_`; None for a size that the data decide."""
        if self.prior == "normal":
            return {}
        return {"prior_mean": (self.n_features_,), "prior_root": (None, self.n_features_)}

    def networks(self) -> dict[str, nn.Module]:
        """The generator and the discriminator."""
        d = self.n_features_ or 0
        generator = MLP(
            self.n_latent,
            d,
            hidden=self.hidden_generator,
            activation=self.activation,
            output=self.output,
            norm=self.norm,
            output_norm=self.output_norm,
            n_condition=self.n_condition_,
        )
        discriminator = MLP(
            d,
            1,
            hidden=self.hidden_discriminator,
            activation=self.activation,
            n_condition=self.n_condition_,
        )
        return {"generator": generator, "discriminator": discriminator}

    def adam_settings(self, name: str) -> dict[str, Any]:
        """Learning rate and decay rates of Adam for one of the two networks."""
        lr = self.lr_generator if name == "generator" else self.lr_discriminator
        return {"lr": lr, "betas": self.betas}

    # Learning.

    def fit(
        self,
        x: Any,
        condition: Any = None,
        *,
        negative: Any = None,
        n_steps: int | None = None,
        generator: torch.Generator | None = None,
        callback: Callback | Sequence[Callback] | None = None,
    ) -> GAN:
        """Learns from data; called again, it goes on from where it was (`reset` starts anew).

        Args:
            x: Data `(n, d)`, tensor or array, n >= 1.
            condition: `(n, c)` or None.
            negative: Examples `(m, d)` of what generated rows should not be like, or None; not
                together with a condition. They take part in the scaling of features.
            n_steps: Number of generator updates; None for the parameter of the same name.
            generator: Source of all random numbers; None for the model's own.
            callback: Called after each step with its number and the losses; true stops.

        Returns:
            self.

        Raises:
            TypeError: The data are not real numbers.
            ValueError: A wrong shape, no rows, NaN or inf, another number of columns than in
                earlier fits, or an unknown device.

        Warns:
            TrainingDiverged: The last good weights were restored.
        """
        rows = self.check_rows(x, condition, negative)
        return self.fit_rows(rows, n_steps=n_steps, generator=generator, callback=callback)

    def objectives(self, rows: Rows) -> list[Objective]:
        """The discriminator's step and the generator's step, on scaled rows."""
        if self.prior == "data":
            self.buffers_ = gaussian_of(rows.x)
        explicit = AdversarialGradients(self) if self.gradients_are_known else None
        size = self.rows_per_batch(rows.x.shape[0])
        width = rows.x.shape[1] + self.n_latent + self.n_condition_
        return [
            self.objective(
                "discriminator",
                "discriminator",
                self.discriminator_loss,
                lambda n, generator: self.draw_discriminator_batches(rows, n, generator),
                batch_numbers=2 * self.n_critic * size * width,
                repeats=self.n_critic,
                gradient=None if explicit is None else explicit.discriminator,
            ),
            self.objective(
                "generator",
                "generator",
                self.generator_loss,
                lambda n, generator: self.draw_generator_batches(rows, n, generator),
                batch_numbers=size * width,
                gradient=None if explicit is None else explicit.generator,
            ),
        ]

    @property
    def gradients_are_known(self) -> bool:
        """Whether `AdversarialGradients` computes the gradients of this model's losses.

        It does for plain networks without a slope penalty, unless a subclass changed a loss.
        """
        same = self.keeps(
            GAN, "discriminator_loss", "generator_loss", "discriminate", "forward_generator"
        )
        plain = all(PlainMLP.supports(weights.module) for weights in self.weights_.values())
        return same and plain and self.r1 == 0

    def draw_latent(self, n: int, generator: torch.Generator) -> Tensor:
        """Draws z `(n, n_latent)` from the prior, in scaled units."""
        if self.prior == "normal":
            return normal((n, self.n_latent), generator, device=self.device_)
        root = self.buffers_["prior_root"]
        noise = normal((n, root.shape[0]), generator, device=self.device_)
        return torch.addmm(self.buffers_["prior_mean"], noise, root)

    def draw_discriminator_batches(
        self, rows: Rows, n_batches: int, generator: torch.Generator
    ) -> tuple[Tensor | None, ...]:
        """What `discriminator_loss` takes, for `n_batches` batches along the first axis."""
        index = self.draw_rows(rows.x.shape[0], n_batches, generator)
        real = take_batches(rows.x, index, n_batches)
        condition = negative = noise = None
        if rows.condition is not None:
            condition = take_batches(rows.condition, index, n_batches)
        if rows.negative is not None:
            index = self.draw_rows(rows.negative.shape[0], n_batches, generator)
            negative = take_batches(rows.negative, index, n_batches)
        size = real.shape[1]
        z = self.draw_latent(n_batches * size, generator).view(n_batches, size, -1)
        if self.instance_noise > 0:
            n_rows = 2 * size + (0 if negative is None else negative.shape[1])
            shape = (n_batches, n_rows, real.shape[2])
            noise = normal(shape, generator, device=self.device_) * self.instance_noise
        return real, z, condition, negative, noise

    def draw_generator_batches(
        self, rows: Rows, n_batches: int, generator: torch.Generator
    ) -> tuple[Tensor | None, ...]:
        """What `generator_loss` takes, for `n_batches` batches along the first axis."""
        n = rows.x.shape[0]
        size = self.rows_per_batch(n)
        condition = noise = None
        if rows.condition is not None:
            index = self.draw_rows(n, n_batches, generator)
            condition = take_batches(rows.condition, index, n_batches)
        z = self.draw_latent(n_batches * size, generator).view(n_batches, size, -1)
        if self.instance_noise > 0:
            shape = (n_batches, size, rows.x.shape[1])
            noise = normal(shape, generator, device=self.device_) * self.instance_noise
        return z, condition, noise

    def forward_generator(
        self, z: Tensor, condition: Tensor | None, network: nn.Module | None = None
    ) -> Tensor:
        """G(z) `(n, d)` in scaled units, by the trained network or another one."""
        module = self.weights_["generator"].module if network is None else network
        x = module(z, condition)
        return z + x if self.residual else x

    def discriminate(
        self,
        real: Tensor,
        z: Tensor,
        condition: Tensor | None,
        negative: Tensor | None,
        noise: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """The discriminator on a batch, in one pass, without a graph through the generator.

        Returns:
            G(z) `(n, d)`, and the logits of real, generated and negative rows, `(n, 1)` each.
        """
        with torch.no_grad():
            fake = self.forward_generator(z, condition)
        x = torch.cat((real, fake) if negative is None else (real, fake, negative))
        if noise is not None:
            x = x + noise
        both = None if condition is None else torch.cat((condition, condition))
        logits = self.weights_["discriminator"].module(x, both)
        n = real.shape[0]
        return fake, logits[:n], logits[n : 2 * n], None if negative is None else logits[2 * n :]

    def discriminator_loss(
        self,
        real: Tensor,
        z: Tensor,
        condition: Tensor | None,
        negative: Tensor | None,
        noise: Tensor | None,
    ) -> Tensor:
        """-log D(x) - log(1 - D(G(z))), and the negatives as further rows of label 0."""
        _, on_real, on_fake, on_negative = self.discriminate(real, z, condition, negative, noise)
        loss = F.softplus(on_fake).mean()
        if on_negative is not None:
            loss = torch.lerp(loss, F.softplus(on_negative).mean(), self.negative_weight)
        loss = loss + F.softplus(-on_real).mean()
        if self.r1 > 0:
            loss = loss + 0.5 * self.r1 * self.squared_slope(real, condition).mean()
        return loss

    def generator_loss(self, z: Tensor, condition: Tensor | None, noise: Tensor | None) -> Tensor:
        """-log D(G(z)) or, with loss="minimax", log(1 - D(G(z)))."""
        fake = self.forward_generator(z, condition)
        if noise is not None:
            fake = fake + noise
        logits = self.weights_["discriminator"].module(fake, condition)
        if self.loss == "minimax":
            return -F.softplus(logits).mean()
        return F.softplus(-logits).mean()

    def squared_slope(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """Squared length of the discriminator's gradient at each row of x, `(n,)`, with graph."""
        x = x.detach().requires_grad_(True)
        logits = self.weights_["discriminator"].module(x, condition)
        (slope,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
        return slope.square().sum(dim=1)

    # Use.

    def generate(self, n: int, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        """Samples `(n, d)` in scaled units, given a scaled condition `(n, c)`."""
        z = self.draw_latent(n, generator)
        return self.forward_generator(z, condition, self.sampler("generator"))

    @torch.no_grad()
    def score(self, x: Any, condition: Any = None) -> Tensor:
        """The discriminator's logits: the higher, the more a row is like data.

        Args:
            x: `(n, d)` in the units of the data.
            condition: `(n, c)` or `(1, c)`, if the model was fitted with one.

        Returns:
            Logits `(n,)`.
        """
        self.check_fitted()
        rows = self.prepare_x(x)
        given = self.prepare_condition(condition, rows.shape[0])
        return self.weights_["discriminator"].module(rows, given)[:, 0]


@register
@dataclass(kw_only=True, eq=False, repr=False)
class WGANGP(GAN):
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

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        check_number("gp_weight", self.gp_weight, low=0)

    def draw_discriminator_batches(
        self, rows: Rows, n_batches: int, generator: torch.Generator
    ) -> tuple[Tensor | None, ...]:
        """What `discriminator_loss` takes, for `n_batches` batches along the first axis."""
        drawn = super().draw_discriminator_batches(rows, n_batches, generator)
        size = self.rows_per_batch(rows.x.shape[0])
        return *drawn, uniform((n_batches, size, 1), generator, device=self.device_)

    def discriminator_loss(  # type: ignore[override]
        self,
        real: Tensor,
        z: Tensor,
        condition: Tensor | None,
        negative: Tensor | None,
        noise: Tensor | None,
        place: Tensor,
    ) -> Tensor:
        """E D(G(z)) - E D(x) and the gradient penalty at x + place (G(z) - x)."""
        fake, on_real, on_fake, on_negative = self.discriminate(real, z, condition, negative, noise)
        low = on_fake.mean()
        if on_negative is not None:
            low = torch.lerp(low, on_negative.mean(), self.negative_weight)
        between = torch.lerp(real, fake, place)
        # The root's slope at 0 is infinite; a dead critic must not end in NaN.
        slope = (self.squared_slope(between, condition) + 1e-12).sqrt()
        loss = low - on_real.mean() + self.gp_weight * (slope - 1).square().mean()
        if self.r1 > 0:
            loss = loss + 0.5 * self.r1 * self.squared_slope(real, condition).mean()
        return loss

    def generator_loss(self, z: Tensor, condition: Tensor | None, noise: Tensor | None) -> Tensor:
        """-E D(G(z))."""
        fake = self.forward_generator(z, condition)
        if noise is not None:
            fake = fake + noise
        return -self.weights_["discriminator"].module(fake, condition).mean()


def gaussian_of(x: Tensor) -> dict[str, Tensor]:
    """Mean `(d,)` of rows `(n, d)`, and a root R `(r, d)` of their covariance R^T R.

    The root has rank at most r = min(n, d): few rows make it cheap, whatever d.
    """
    mean = x.mean(dim=0)
    root = (x - mean) / max(1, x.shape[0] - 1) ** 0.5
    if x.shape[0] > x.shape[1]:
        root = torch.linalg.qr(root, mode="r").R
    return {"prior_mean": mean, "prior_root": root}
