"""The variational autoencoder for vectors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evogen.models.backpropagation import PlainMLP, join
from evogen.models.base import Rows
from evogen.models.checks import as_rows, check_choice, check_number, check_widths
from evogen.models.networks import ACTIVATIONS, MLP
from evogen.models.neural import SingleLossModel, take_batches
from evogen.models.rng import normal, uniform
from evogen.models.scaling import ScalerKind
from evogen.models.serialization import register
from evogen.models.training import Callback

LOG_2PI = math.log(2 * math.pi)


class Autoencoder(nn.Module):
    """An encoder to the parameters of q(z | x), and a decoder to those of p(x | z)."""

    def __init__(self, encoder: MLP, decoder: MLP) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def encode(self, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """The two halves of the encoder's output: mean and log variance, `(n, latent_dim)` each."""
        mean, log_variance = self.encoder(x, condition).chunk(2, dim=1)
        return mean, log_variance


@register
@dataclass(kw_only=True, eq=False, repr=False)
class VAE(SingleLossModel):
    """Variational autoencoder (Kingma and Welling 2014) with a Gaussian or Bernoulli likelihood.

    p(z) = N(0, I), p(x | z) = N(decoder(z), diag(s)), q(z | x) = N(mean(x), diag(var(x))); trained
    on E_q log p(x | z) - beta KL(q(z | x) | p(z)) with one draw of z per row. The output variance
    s is learned as its maximum-likelihood value given the decoder, the batch's mean squared error
    (Rybkin, Daniilidis and Levine 2021, "Simple and effective VAE training with calibrated
    decoders", section 4). With a condition both halves see it. A variant overrides the methods
    under "The code": what q(z | x) is, how z is drawn, and its divergence from p(z).

    Attributes:
        latent_dim: Size of z.
        hidden: Widths of the hidden layers, in the decoder reversed; () makes the model linear.
        activation: Of the hidden layers, a name in `networks.ACTIVATIONS`.
        beta: Weight of the KL term (Higgins et al. 2017).
        variance: Output variance "per-feature" or "shared" by all features (in scaled units).
        min_variance: Smallest output variance, in scaled units.
        output_noise: Whether samples are drawn from p(x | z) or are its means.
        likelihood: "gaussian", or "bernoulli" for data in [0, 1], which are then not scaled
            whatever `normalize` says; `variance` and `min_variance` have no effect there.
        buffers_: "variance" `(d,)`, the output variance in scaled units, of a Gaussian.
    """

    latent_dim: int = 8
    hidden: Sequence[int] = (64, 64)
    activation: str = "silu"
    beta: float = 1.0
    variance: Literal["per-feature", "shared"] = "per-feature"
    min_variance: float = 1e-4
    output_noise: bool = True
    likelihood: Literal["gaussian", "bernoulli"] = "gaussian"

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        check_number("latent_dim", self.latent_dim, low=1, high=1 << 16, integer=True)
        check_widths("hidden", self.hidden)
        check_choice("activation", self.activation, tuple(ACTIVATIONS))
        check_number("beta", self.beta, low=0)
        check_choice("variance", self.variance, ("per-feature", "shared"))
        check_number("min_variance", self.min_variance, low=1e-12)
        check_choice("likelihood", self.likelihood, ("gaussian", "bernoulli"))

    @property
    def scaler_kind(self) -> ScalerKind:
        """How the data are scaled: probabilities are not."""
        return "none" if self.likelihood == "bernoulli" else super().scaler_kind

    def buffer_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Names and shapes of `buffers_`; None for a size that the data decide."""
        return {"variance": (self.n_features_,)} if self.likelihood == "gaussian" else {}

    @property
    def n_encoded(self) -> int:
        """Number of outputs of the encoder."""
        return 2 * self.latent_dim

    def network(self) -> nn.Module:
        """The new network."""
        d = self.n_features_ or 0
        encoder = MLP(
            d,
            self.n_encoded,
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

    # The code: what a variant changes.

    def posterior(
        self, x: Tensor, condition: Tensor | None, network: Autoencoder
    ) -> tuple[Tensor, Tensor]:
        """Parameters of q(z | x): mean and log variance, `(n, latent_dim)` each."""
        return network.encode(x, condition)

    def draw_noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """The randomness that `draw_code` needs, `(*shape, size)`."""
        return normal((*shape, self.latent_dim), generator, device=self.device_)

    def draw_code(self, posterior: tuple[Tensor, Tensor], noise: Tensor) -> Tensor:
        """z ~ q(z | x), `(n, latent_dim)`, as a differentiable function of the noise."""
        mean, log_variance = posterior
        return torch.addcmul(mean, (0.5 * log_variance).exp(), noise)

    def divergence(self, posterior: tuple[Tensor, Tensor]) -> Tensor:
        """KL(q(z | x) | p(z)) in nats, `(n,)`."""
        mean, log_variance = posterior
        square = mean.square() + (0.5 * log_variance).exp().square()
        return 0.5 * (square - log_variance).sum(dim=1) - 0.5 * mean.shape[1]

    def log_weight(self, posterior: tuple[Tensor, Tensor], noise: Tensor, z: Tensor) -> Tensor:
        """log p(z) - log q(z | x) of a z drawn with this noise, `(n,)`."""
        _, log_variance = posterior
        return 0.5 * (noise.square() - z.square() + log_variance).sum(dim=1)

    def draw_prior(self, n: int, generator: torch.Generator) -> Tensor:
        """z ~ p(z), `(n, latent_dim)`."""
        return normal((n, self.latent_dim), generator, device=self.device_)

    # Data.

    def check_rows(self, x: Any, condition: Any, negative: Any = None) -> Rows:
        """Checks the data of a fit; see `fit` for what is raised."""
        rows = super().check_rows(x, condition, negative)
        self._check_probabilities(rows.x)
        return rows

    def prepare_x(self, x: Any, *, name: str = "x") -> Tensor:
        """Checks rows `(n, d)` in the user's units and scales them."""
        rows = super().prepare_x(x, name=name)
        self._check_probabilities(rows)
        return rows

    def _check_probabilities(self, x: Tensor) -> None:
        if self.likelihood == "bernoulli" and not bool(((x >= 0) & (x <= 1)).all()):
            low, high = float(x.min()), float(x.max())
            raise ValueError(
                "x must lie in [0, 1] for likelihood='bernoulli'; "
                f"got numbers from {low:.6g} to {high:.6g}"
            )

    # Learning.

    def learn(
        self,
        rows: Rows,
        *,
        n_steps: int | None,
        generator: torch.Generator,
        callback: Callback | None,
    ) -> None:
        """Runs the training loop on scaled rows, then takes statistics from all of them."""
        super().learn(rows, n_steps=n_steps, generator=generator, callback=callback)
        with torch.no_grad():
            self.finish(rows, generator)

    def finish(self, rows: Rows, generator: torch.Generator) -> None:
        """Takes the output variance from all scaled rows, after training."""
        if self.likelihood == "bernoulli":
            return
        noise = self.draw_noise((rows.x.shape[0],), generator)
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
        return x, self.draw_noise((n_batches, x.shape[1]), generator), condition

    def loss(self, x: Tensor, noise: Tensor, condition: Tensor | None) -> Tensor:
        """The negative evidence lower bound per row, with beta, without its constant."""
        error, divergence = self.terms(x, noise, condition, self.weights_["network"].module)
        if self.likelihood == "bernoulli":
            return error.sum(dim=1).mean() + self.beta * divergence.mean()
        # At the best variance the likelihood's other term is the constant d / 2.
        log_variance = self.output_variance(error).log()
        width = x.shape[1] if self.variance == "shared" else 1
        return 0.5 * width * log_variance.sum() + self.beta * divergence.mean()

    def terms(
        self, x: Tensor, noise: Tensor, condition: Tensor | None, network: nn.Module
    ) -> tuple[Tensor, Tensor]:
        """Errors `(n, d)` of decoding one z per row, and KL(q | p) `(n,)`.

        The errors are squared differences, or cross-entropies for a Bernoulli likelihood.
        """
        assert isinstance(network, Autoencoder)
        posterior = self.posterior(x, condition, network)
        decoded = network.decoder(self.draw_code(posterior, noise), condition)
        return self.error(x, decoded), self.divergence(posterior)

    def error(self, x: Tensor, decoded: Tensor) -> Tensor:
        """Errors `(n, d)` of the decoder's output."""
        if self.likelihood == "bernoulli":
            return F.binary_cross_entropy_with_logits(decoded, x, reduction="none")
        return (x - decoded).square()

    def output_variance(self, error: Tensor) -> Tensor:
        """Variance `(d,)` or `(1,)` from squared errors `(n, d)`."""
        mean = error.mean(dim=0) if self.variance == "per-feature" else error.mean()[None]
        return mean.clamp(min=self.min_variance)

    def known_gradient(self) -> Callable[..., Tensor] | None:
        """A function that computes `loss` and leaves its gradient in place, if there is one."""
        network = self.weights_["network"].module
        assert isinstance(network, Autoencoder)
        changed = not self.keeps(
            VAE, "loss", "terms", "error", "output_variance", "posterior", "draw_code", "divergence"
        )
        if changed or type(network) is not Autoencoder:
            return None
        encoder, decoder = PlainMLP(network.encoder), PlainMLP(network.decoder)

        def gradient(x: Tensor, noise: Tensor, condition: Tensor | None) -> Tensor:
            n, width = noise.shape
            encoded = encoder.forward(join(x, condition))
            mean, log_variance = encoded.output[:, :width], encoded.output[:, width:]
            deviation = (0.5 * log_variance).exp()
            decoded = decoder.forward(join(torch.addcmul(mean, deviation, noise), condition))
            fitted, slope = self._fit_and_slope(x, decoded.output)
            at_code = decoder.backward(decoded, slope, to_input=True)
            assert at_code is not None
            at_z = at_code[:, :width]
            square = deviation.square()
            at_mean = torch.add(at_z, mean, alpha=self.beta / n)
            at_log = (at_z * noise * deviation).add_(square - 1, alpha=self.beta / n).mul_(0.5)
            encoder.backward(encoded, torch.cat((at_mean, at_log), dim=1))
            divergence = (mean.square() + square - log_variance).sum() / n - width
            return 0.5 * (fitted + self.beta * divergence)

        return gradient

    def _fit_and_slope(self, x: Tensor, decoded: Tensor) -> tuple[Tensor, Tensor]:
        """Twice the likelihood's part of `loss`, and that part's slope at the decoder's output."""
        n = x.shape[0]
        if self.likelihood == "bernoulli":
            return 2 * self.error(x, decoded).sum() / n, (torch.sigmoid(decoded) - x) / n
        error = decoded - x
        mean_square = error.square().mean(dim=0)
        if self.variance == "shared":
            mean_square = mean_square.mean()
        variance = mean_square.clamp(min=self.min_variance)
        # The slope of log(variance) / 2; it is flat below the least variance.
        slope = error * ((mean_square >= self.min_variance) / (variance * n))
        features = x.shape[1] if self.variance == "shared" else 1
        return features * variance.log().sum(), slope

    # Use.

    def generate(self, n: int, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        """Samples `(n, d)` in scaled units, given a scaled condition `(n, c)`."""
        x = self._output_mean(self._autoencoder().decoder(self.draw_prior(n, generator), condition))
        if not self.output_noise:
            return x
        if self.likelihood == "bernoulli":
            return (uniform(tuple(x.shape), generator, device=self.device_) < x).float()
        noise = normal(tuple(x.shape), generator, device=self.device_)
        return torch.addcmul(x, noise, self.buffers_["variance"].sqrt())

    def _output_mean(self, decoded: Tensor) -> Tensor:
        return torch.sigmoid(decoded) if self.likelihood == "bernoulli" else decoded

    def _autoencoder(self) -> Autoencoder:
        network = self.sampler("network")
        assert isinstance(network, Autoencoder)
        return network

    @torch.no_grad()
    def encode(self, x: Any, condition: Any = None) -> Tensor:
        """Means of q(z | x) `(n, latent_dim)` of rows `(n, d)`."""
        self.check_fitted()
        rows = self.prepare_x(x)
        given = self.prepare_condition(condition, len(rows))
        return self.posterior(rows, given, self._autoencoder())[0]

    @torch.no_grad()
    def decode(self, z: Any, condition: Any = None) -> Tensor:
        """Means of p(x | z) `(n, d)`, in the units of the data, of rows z `(n, latent_dim)`."""
        self.check_fitted()
        latent = as_rows("z", z, n_columns=self.latent_dim).float().to(self.device_)
        given = self.prepare_condition(condition, len(latent))
        return self.to_items(self._output_mean(self._autoencoder().decoder(latent, given)))

    def log_likelihood(self, error: Tensor) -> Tensor:
        """log p(x | z) `(n,)` in scaled units, from errors as in `terms`."""
        if self.likelihood == "bernoulli":
            return -error.sum(dim=1)
        variance = self.buffers_["variance"]
        return -0.5 * (error / variance + variance.log() + LOG_2PI).sum(dim=1)

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
        total = torch.zeros(len(rows), device=self.device_)
        for _ in range(n_samples):
            noise = self.draw_noise((len(rows),), generator)
            error, divergence = self.terms(rows, noise, given, self._autoencoder())
            total += self.log_likelihood(error) - divergence
        return total / n_samples - self.scaler_.log_scale().float()

    @torch.no_grad()
    def log_prob(
        self,
        x: Any,
        condition: Any = None,
        *,
        n_samples: int = 100,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Importance-weighted estimate of log p(x), in the units of the data.

        log 1/K sum_k p(x | z_k) p(z_k) / q(z_k | x) with z_k ~ q(z | x) (Burda, Grosse and
        Salakhutdinov 2016, eq. 8): in expectation a lower bound, which rises with K to log p(x).

        Args:
            x: `(n, d)`.
            condition: `(n, c)` or `(1, c)`, if the model was fitted with one.
            n_samples: Draws K of z per row.
            generator: Source of random numbers; None for the model's own.

        Returns:
            Float64 `(n,)` in nats. A feature that was constant in the data counts as scaled by 1.
        """
        self.check_fitted()
        check_number("n_samples", n_samples, low=1, integer=True)
        rows = self.prepare_x(x)
        given = self.prepare_condition(condition, len(rows))
        generator = self.own_generator(generator)
        network = self._autoencoder()
        posterior = self.posterior(rows, given, network)
        total = torch.full((len(rows),), -math.inf, dtype=torch.float64, device=self.device_)
        for _ in range(n_samples):
            noise = self.draw_noise((len(rows),), generator)
            z = self.draw_code(posterior, noise)
            fit = self.log_likelihood(self.error(rows, network.decoder(z, given)))
            total = torch.logaddexp(total, (fit + self.log_weight(posterior, noise, z)).double())
        return total - math.log(n_samples) - self.scaler_.log_scale()
