"""The variational autoencoder."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evogen.models.backpropagation import PlainMLP, join
from evogen.models.base import Rows
from evogen.models.checks import as_rows, check_choice, check_number, check_widths
from evogen.models.convolutional import (
    Architecture,
    check_architecture,
    encoder_decoder,
    use_convolutions,
)
from evogen.models.networks import ACTIVATIONS, MLP
from evogen.models.neural import SingleLossModel, take_batches
from evogen.models.rng import integers, normal, uniform
from evogen.models.scaling import ScalerKind
from evogen.models.serialization import register
from evogen.models.training import Callback, Objective

LOG_2PI = math.log(2 * math.pi)

Gaussians = tuple[Tensor, Tensor]
"""Means and log variances of diagonal Gaussians."""


class Autoencoder(nn.Module):
    """An encoder to the parameters of q(z | x), and a decoder to those of p(x | z).

    Pseudo-inputs are rows with their conditions, `(k, d + c)`, that a VampPrior learns.
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, pseudo_inputs: Tensor | None = None
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.pseudo_inputs = None if pseudo_inputs is None else nn.Parameter(pseudo_inputs)

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

    With the "vamp" prior (Tomczak and Welling 2018, "VAE with a VampPrior", eq. 9) p(z) is the
    mean of q(z | u_k) over pseudo-inputs u_k, which are learned and start as rows of the first
    fit. A condition is part of a pseudo-input; p(z) is the same for all conditions.

    Attributes:
        latent_dim: Size of z.
        architecture: "conv": convolutions, for images; "mlp": perceptrons; "auto": convolutions
            for images of at least 4 x 4 pixels, and of 2^k for k stages.
        hidden: Widths of the hidden layers of perceptrons, in the decoder reversed; () makes the
            model linear.
        channels: Width of every stage of convolutions, each of which halves the image; in the
            decoder reversed.
        activation: Of the hidden layers, a name in `networks.ACTIVATIONS`.
        prior: "normal", or "vamp"; variants of the VAE may have "normal" only.
        n_pseudo_inputs: Number K of pseudo-inputs of the "vamp" prior.
        beta: Weight of the KL term (Higgins et al. 2017).
        variance: Output variance "per-feature" or "shared" by all features (in scaled units).
        min_variance: Smallest output variance, in scaled units.
        output_noise: Whether samples are drawn from p(x | z) or are its means.
        likelihood: "gaussian", or "bernoulli" for data in [0, 1], which are then not scaled
            whatever `normalize` says; `variance` and `min_variance` have no effect there.
        buffers_: "variance" `(d,)`, the output variance in scaled units, of a Gaussian.
    """

    priors: ClassVar[tuple[str, ...]] = ("normal", "vamp")
    """Which priors the class has."""

    latent_dim: int = 8
    architecture: Architecture = "auto"
    hidden: Sequence[int] = (64, 64)
    channels: Sequence[int] = (32, 64)
    activation: str = "silu"
    prior: Literal["normal", "vamp"] = "normal"
    n_pseudo_inputs: int = 100
    beta: float = 1.0
    variance: Literal["per-feature", "shared"] = "per-feature"
    min_variance: float = 1e-4
    output_noise: bool = True
    likelihood: Literal["gaussian", "bernoulli"] = "gaussian"

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        check_number("latent_dim", self.latent_dim, low=1, high=1 << 16, integer=True)
        check_architecture(self.architecture, self.channels)
        check_widths("hidden", self.hidden)
        check_choice("prior", self.prior, self.priors)
        check_number("n_pseudo_inputs", self.n_pseudo_inputs, low=1, integer=True)
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
    def code_dim(self) -> int:
        """Size of a code."""
        return self.latent_dim

    @property
    def n_encoded(self) -> int:
        """Number of outputs of the encoder."""
        return 2 * self.latent_dim

    def network(self) -> nn.Module:
        """The new network."""
        encoder, decoder = encoder_decoder(
            self.item_shape_,
            self.n_encoded,
            self.latent_dim,
            architecture=self.architecture,
            channels=self.channels,
            hidden=self.hidden,
            activation=self.activation,
            n_condition=self.n_condition_,
        )
        width = (self.n_features_ or 0) + self.n_condition_
        pseudo = torch.zeros(self.n_pseudo_inputs, width) if self.prior == "vamp" else None
        return Autoencoder(encoder, decoder, pseudo)

    # The code: what a variant changes.

    def posterior(
        self, x: Tensor, condition: Tensor | None, network: Autoencoder
    ) -> tuple[Tensor, Tensor]:
        """Parameters of q(z | x): mean and log variance, `(n, latent_dim)` each."""
        return network.encode(x, condition)

    def draw_noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """The randomness that `draw_code` needs, `(*shape, size)`."""
        return normal((*shape, self.code_dim), generator, device=self.device_)

    def draw_code(self, posterior: tuple[Tensor, Tensor], noise: Tensor) -> Tensor:
        """z ~ q(z | x), `(n, latent_dim)`, as a differentiable function of the noise."""
        mean, log_variance = posterior
        return torch.addcmul(mean, (0.5 * log_variance).exp(), noise)

    def divergence(self, posterior: tuple[Tensor, Tensor]) -> Tensor:
        """KL(q(z | x) | p(z)) in nats, `(n,)`."""
        mean, log_variance = posterior
        square = mean.square() + (0.5 * log_variance).exp().square()
        return 0.5 * (square - log_variance).sum(dim=1) - 0.5 * mean.shape[1]

    def log_weight(
        self,
        posterior: tuple[Tensor, Tensor],
        noise: Tensor,
        z: Tensor,
        components: Gaussians | None = None,
    ) -> Tensor:
        """log p(z) - log q(z | x) of a z drawn with this noise, `(n,)`."""
        _, log_variance = posterior
        if components is None:
            return 0.5 * (noise.square() - z.square() + log_variance).sum(dim=1)
        # The constants of the two densities cancel.
        log_q = -0.5 * (noise.square() + log_variance).sum(dim=1)
        return mixture_log_density(z, components) - log_q

    def draw_prior(self, n: int, generator: torch.Generator) -> Tensor:
        """z ~ p(z), `(n, latent_dim)`."""
        noise = normal((n, self.code_dim), generator, device=self.device_)
        components = self.prior_components(self._autoencoder())
        if components is None:
            return noise
        which = integers(self.n_pseudo_inputs, (n,), generator, device=self.device_)
        return self.draw_code((components[0][which], components[1][which]), noise)

    def prior_components(self, network: Autoencoder) -> Gaussians | None:
        """Means and log variances `(k, latent_dim)` of the "vamp" prior; None for N(0, I)."""
        if network.pseudo_inputs is None:
            return None
        x, condition = network.pseudo_inputs.tensor_split((self.n_features_ or 0,), dim=1)
        return self.posterior(x, condition if self.n_condition_ else None, network)

    # Data.

    def check_rows(self, x: Any, condition: Any, negative: Any = None) -> Rows:
        """Checks the data of a fit; see `fit` for what is raised."""
        rows = super().check_rows(x, condition, negative)
        use_convolutions(self.architecture, self.item_shape_, self.channels)
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

    def objectives(self, rows: Rows) -> list[Objective]:
        """The one loss; before the first step of all, pseudo-inputs become rows of the data."""
        if self.prior == "vamp" and self.n_steps_ == 0 and not self._resuming:
            n, k = rows.x.shape[0], self.n_pseudo_inputs
            index = torch.arange(k, device=self.device_) * max(n, k) // k % n
            for network in (self.weights_["network"].module, self.weights_["network"].average):
                if isinstance(network, Autoencoder) and network.pseudo_inputs is not None:
                    network.pseudo_inputs.data.copy_(join(rows.x, rows.condition)[index])
        return super().objectives(rows)

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
        return self.misfit(error) + self.beta * divergence.mean()

    def misfit(self, error: Tensor) -> Tensor:
        """The likelihood's part of `loss`, from errors `(n, d)`."""
        if self.likelihood == "bernoulli":
            return error.sum(dim=1).mean()
        # At the best variance the likelihood's other term is the constant d / 2.
        log_variance = self.output_variance(error).log()
        width = error.shape[1] if self.variance == "shared" else 1
        return 0.5 * width * log_variance.sum()

    def terms(
        self, x: Tensor, noise: Tensor, condition: Tensor | None, network: nn.Module
    ) -> tuple[Tensor, Tensor]:
        """Errors `(n, d)` of decoding one z per row, and KL(q | p) `(n,)`.

        The errors are squared differences, or cross-entropies for a Bernoulli likelihood. With the
        "vamp" prior the KL is its estimate from the one z.
        """
        assert isinstance(network, Autoencoder)
        posterior = self.posterior(x, condition, network)
        z = self.draw_code(posterior, noise)
        error = self.error(x, network.decoder(z, condition))
        if network.pseudo_inputs is None:
            return error, self.divergence(posterior)
        return error, -self.log_weight(posterior, noise, z, self.prior_components(network))

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
        names = "loss misfit terms error output_variance posterior draw_code divergence"
        changed = not self.keeps(VAE, *names.split())
        if changed or type(network) is not Autoencoder or network.pseudo_inputs is not None:
            return None
        encoder, decoder = network.encoder, network.decoder
        if not (isinstance(encoder, MLP) and isinstance(decoder, MLP)):
            return None
        plain_encoder, plain_decoder = PlainMLP(encoder), PlainMLP(decoder)

        def gradient(x: Tensor, noise: Tensor, condition: Tensor | None) -> Tensor:
            n, width = noise.shape
            encoded = plain_encoder.forward(join(x, condition))
            mean, log_variance = encoded.output[:, :width], encoded.output[:, width:]
            deviation = (0.5 * log_variance).exp()
            decoded = plain_decoder.forward(join(torch.addcmul(mean, deviation, noise), condition))
            fitted, slope = self._fit_and_slope(x, decoded.output)
            at_code = plain_decoder.backward(decoded, slope, to_input=True)
            assert at_code is not None
            at_z = at_code[:, :width]
            square = deviation.square()
            at_mean = torch.add(at_z, mean, alpha=self.beta / n)
            at_log = (at_z * noise * deviation).add_(square - 1, alpha=self.beta / n).mul_(0.5)
            plain_encoder.backward(encoded, torch.cat((at_mean, at_log), dim=1))
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
        """Means of q(z | x) `(n, latent_dim)` of items `(n, *item_shape_)`."""
        self.check_fitted()
        rows = self.prepare_x(x)
        given = self.prepare_condition(condition, len(rows))
        return self.posterior(rows, given, self._autoencoder())[0]

    @torch.no_grad()
    def decode(self, z: Any, condition: Any = None) -> Tensor:
        """Means of p(x | z), items in the units of the data, of rows z `(n, latent_dim)`."""
        self.check_fitted()
        latent = as_rows("z", z, n_columns=self.code_dim).float().to(self.device_)
        given = self.prepare_condition(condition, len(latent))
        return self.to_items(self._output_mean(self._autoencoder().decoder(latent, given)))

    def weigher(
        self, x: Tensor, condition: Tensor | None, network: nn.Module
    ) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """A function of noise to errors `(n, d)` of one z per row, and log p(z) - log q(z | x)."""
        assert isinstance(network, Autoencoder)
        posterior = self.posterior(x, condition, network)
        components = self.prior_components(network)

        def weigh(noise: Tensor) -> tuple[Tensor, Tensor]:
            z = self.draw_code(posterior, noise)
            error = self.error(x, network.decoder(z, condition))
            return error, self.log_weight(posterior, noise, z, components)

        return weigh

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
            x: Items `(n, *item_shape_)`.
            condition: `(n, c)` or `(1, c)`, or labels, if the model was fitted with one.
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
            error, divergence = self.terms(rows, noise, given, self.sampler("network"))
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
            x: Items `(n, *item_shape_)`.
            condition: `(n, c)` or `(1, c)`, or labels, if the model was fitted with one.
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
        weigh = self.weigher(rows, given, self.sampler("network"))
        total = torch.full((len(rows),), -math.inf, dtype=torch.float64, device=self.device_)
        for _ in range(n_samples):
            noise = self.draw_noise((len(rows),), generator)
            error, log_weight = weigh(noise)
            total = torch.logaddexp(total, (self.log_likelihood(error) + log_weight).double())
        return total - math.log(n_samples) - self.scaler_.log_scale()


def mixture_log_density(z: Tensor, components: Gaussians) -> Tensor:
    """Log density of a mixture of Gaussians `(k, m)` at z `(n, m)`, but for its constant."""
    mean, log_variance = components
    precision = (-log_variance).exp()
    # Squares written out, so that products of matrices do the work.
    constant = (mean.square() * precision + log_variance).sum(dim=1)
    square = z.square() @ precision.t() - 2 * z @ (mean * precision).t() + constant
    return torch.logsumexp(-0.5 * square, dim=1) - math.log(len(mean))
