"""The variational autoencoder for vectors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from evogen.models.backpropagation import PlainMLP, join
from evogen.models.base import Rows
from evogen.models.checks import as_rows, check_choice, check_number, check_widths
from evogen.models.networks import ACTIVATIONS, MLP
from evogen.models.neural import SingleLossModel, take_batches
from evogen.models.rng import normal
from evogen.models.serialization import register
from evogen.models.training import Callback

LOG_2PI = math.log(2 * math.pi)


class Autoencoder(nn.Module):
    """An encoder to mean and log variance of z, and a decoder to the mean of x."""

    def __init__(self, encoder: MLP, decoder: MLP) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def encode(self, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z | x, c), `(n, latent_dim)` each."""
        mean, log_variance = self.encoder(x, condition).chunk(2, dim=1)
        return mean, log_variance


@register
@dataclass(kw_only=True, eq=False, repr=False)
class VAE(SingleLossModel):
    """Variational autoencoder (Kingma and Welling 2014) with a Gaussian likelihood.

    p(z) = N(0, I), p(x | z) = N(decoder(z), diag(s)), q(z | x) = N(mean(x), diag(var(x))); trained
    on E_q log p(x | z) - beta KL(q(z | x) | p(z)) with one draw of z per row. The output variance
    s is learned as its maximum-likelihood value given the decoder, the batch's mean squared error
    (Rybkin, Daniilidis and Levine 2021, "Simple and effective VAE training with calibrated
    decoders", section 4). With a condition both halves see it.

    Attributes:
        latent_dim: Size of z.
        hidden: Widths of the hidden layers, in the decoder reversed; () makes the model linear.
        activation: Of the hidden layers, a name in `networks.ACTIVATIONS`.
        beta: Weight of the KL term (Higgins et al. 2017).
        variance: Output variance "per-feature" or "shared" by all features (in scaled units).
        min_variance: Smallest output variance, in scaled units.
        output_noise: Whether samples include the output noise N(0, s) or are means.
        buffers_: "variance" `(d,)`, the output variance in scaled units.
    """

    latent_dim: int = 8
    hidden: Sequence[int] = (64, 64)
    activation: str = "silu"
    beta: float = 1.0
    variance: Literal["per-feature", "shared"] = "per-feature"
    min_variance: float = 1e-4
    output_noise: bool = True

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        check_number("latent_dim", self.latent_dim, low=1, high=1 << 16, integer=True)
        check_widths("hidden", self.hidden)
        check_choice("activation", self.activation, tuple(ACTIVATIONS))
        check_number("beta", self.beta, low=0)
        check_choice("variance", self.variance, ("per-feature", "shared"))
        check_number("min_variance", self.min_variance, low=1e-12)

    def buffer_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Names and shapes of `buffers_`; None for a size that the data decide."""
        return {"variance": (self.n_features_,)}

    def network(self) -> nn.Module:
        """The new network."""
        d = self.n_features_ or 0
        encoder = MLP(
            d,
            2 * self.latent_dim,
            hidden=self.hidden,
            activation=self.activation,
            n_condition=self.n_condition_,
        )
        decoder = MLP(
            self.latent_dim,
            d,
            hidden=tuple(reversed(self.hidden)),
            activation=self.activation,
            n_condition=self.n_condition_,
        )
        return Autoencoder(encoder, decoder)

    # Learning.

    def learn(
        self,
        rows: Rows,
        *,
        n_steps: int | None,
        generator: torch.Generator,
        callback: Callback | None,
    ) -> None:
        """Runs the training loop on scaled rows, then takes the output variance from all rows."""
        super().learn(rows, n_steps=n_steps, generator=generator, callback=callback)
        with torch.no_grad():
            noise = normal((rows.x.shape[0], self.latent_dim), generator, device=self.device_)
            error, _ = self.terms(rows.x, noise, rows.condition, self.sampler("network"))
            self.buffers_["variance"] = self.output_variance(error).expand(rows.x.shape[1])

    def draw_batches(
        self, rows: Rows, n_batches: int, generator: torch.Generator
    ) -> tuple[Tensor | None, ...]:
        """Rows, latent noise, and conditions, for `n_batches` batches along the first axis."""
        index = self.draw_rows(rows.x.shape[0], n_batches, generator)
        x = take_batches(rows.x, index, n_batches)
        condition = None
        if rows.condition is not None:
            condition = take_batches(rows.condition, index, n_batches)
        shape = (n_batches, x.shape[1], self.latent_dim)
        return x, normal(shape, generator, device=self.device_), condition

    def loss(self, x: Tensor, noise: Tensor, condition: Tensor | None) -> Tensor:
        """The negative evidence lower bound per row, with beta, without its constant."""
        error, divergence = self.terms(x, noise, condition, self.weights_["network"].module)
        # At the best variance the likelihood's other term is the constant d / 2.
        log_variance = self.output_variance(error).log()
        width = x.shape[1] if self.variance == "shared" else 1
        return 0.5 * width * log_variance.sum() + self.beta * divergence.mean()

    def terms(
        self, x: Tensor, noise: Tensor, condition: Tensor | None, network: nn.Module
    ) -> tuple[Tensor, Tensor]:
        """Squared errors `(n, d)` of decoding one z per row, and KL(q | p) `(n,)`."""
        assert isinstance(network, Autoencoder)
        mean, log_variance = network.encode(x, condition)
        deviation = (0.5 * log_variance).exp()
        decoded = network.decoder(torch.addcmul(mean, deviation, noise), condition)
        square = mean.square() + deviation.square()
        divergence = 0.5 * (square - log_variance).sum(dim=1) - 0.5 * mean.shape[1]
        return (x - decoded).square(), divergence

    def output_variance(self, error: Tensor) -> Tensor:
        """Variance `(d,)` or `(1,)` from squared errors `(n, d)`."""
        mean = error.mean(dim=0) if self.variance == "per-feature" else error.mean()[None]
        return mean.clamp(min=self.min_variance)

    def known_gradient(self) -> Callable[..., Tensor] | None:
        """A function that computes `loss` and leaves its gradient in place, if there is one."""
        network = self.weights_["network"].module
        assert isinstance(network, Autoencoder)
        if not self.keeps(VAE, "loss", "terms", "output_variance"):
            return None
        encoder, decoder = PlainMLP(network.encoder), PlainMLP(network.decoder)

        def gradient(x: Tensor, noise: Tensor, condition: Tensor | None) -> Tensor:
            n, width = noise.shape
            encoded = encoder.forward(join(x, condition))
            mean, log_variance = encoded.output[:, :width], encoded.output[:, width:]
            deviation = (0.5 * log_variance).exp()
            decoded = decoder.forward(join(torch.addcmul(mean, deviation, noise), condition))
            error = decoded.output - x
            mean_square = error.square().mean(dim=0)
            if self.variance == "shared":
                mean_square = mean_square.mean()
            variance = mean_square.clamp(min=self.min_variance)
            # The slope of log(variance) / 2; it is flat below the least variance.
            slope = error * ((mean_square >= self.min_variance) / (variance * n))
            at_code = decoder.backward(decoded, slope, to_input=True)
            assert at_code is not None
            at_z = at_code[:, :width]
            square = deviation.square()
            at_mean = torch.add(at_z, mean, alpha=self.beta / n)
            at_log = (at_z * noise * deviation).add_(square - 1, alpha=self.beta / n).mul_(0.5)
            encoder.backward(encoded, torch.cat((at_mean, at_log), dim=1))
            divergence = (mean.square() + square - log_variance).sum() / n - width
            features = x.shape[1] if self.variance == "shared" else 1
            return 0.5 * (features * variance.log().sum() + self.beta * divergence)

        return gradient

    # Use.

    def generate(self, n: int, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        """Samples `(n, d)` in scaled units, given a scaled condition `(n, c)`."""
        z = normal((n, self.latent_dim), generator, device=self.device_)
        x = self._autoencoder().decoder(z, condition)
        if self.output_noise:
            noise = normal(tuple(x.shape), generator, device=self.device_)
            x = torch.addcmul(x, noise, self.buffers_["variance"].sqrt())
        return x

    def _autoencoder(self) -> Autoencoder:
        network = self.sampler("network")
        assert isinstance(network, Autoencoder)
        return network

    @torch.no_grad()
    def encode(self, x: Any, condition: Any = None) -> Tensor:
        """Means of q(z | x) `(n, latent_dim)` of rows `(n, d)`."""
        self.check_fitted()
        rows = self.prepare_x(x)
        return self._autoencoder().encode(rows, self.prepare_condition(condition, len(rows)))[0]

    @torch.no_grad()
    def decode(self, z: Any, condition: Any = None) -> Tensor:
        """Means of p(x | z) `(n, d)`, in the units of the data, of rows z `(n, latent_dim)`."""
        self.check_fitted()
        latent = as_rows("z", z, n_columns=self.latent_dim).float().to(self.device_)
        given = self.prepare_condition(condition, len(latent))
        return self.scaler_.denormalize(self._autoencoder().decoder(latent, given))

    @torch.no_grad()
    def elbo(
        self,
        x: Any,
        condition: Any = None,
        *,
        n_samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Evidence lower bound (beta = 1) of log p(x), in the units of the data.

        Args:
            x: `(n, d)`.
            condition: `(n, c)` or `(1, c)`, if the model was fitted with one.
            n_samples: Draws of z per row that are averaged.
            generator: Source of random numbers; None for the model's own.

        Returns:
            `(n,)` in nats. A feature that was constant in the data counts as scaled by 1.
        """
        self.check_fitted()
        check_number("n_samples", n_samples, low=1, integer=True)
        rows = self.prepare_x(x)
        given = self.prepare_condition(condition, len(rows))
        generator = self.own_generator(generator)
        variance = self.buffers_["variance"]
        total = torch.zeros(len(rows), device=self.device_)
        for _ in range(n_samples):
            noise = normal((len(rows), self.latent_dim), generator, device=self.device_)
            error, divergence = self.terms(rows, noise, given, self._autoencoder())
            total += -0.5 * (error / variance + variance.log() + LOG_2PI).sum(dim=1) - divergence
        return total / n_samples - self.scaler_.log_scale().float()
