"""The hierarchical VAE: several levels of latents, inferred from the top down.

Papers: Sønderby et al. 2016, "Ladder variational autoencoders" [1]; Vahdat and Kautz 2020, "NVAE: a
deep hierarchical variational autoencoder" [2]; Kingma et al. 2016, "Improved variational inference
with inverse autoregressive flow" [3].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from evogen.models.checks import check_number
from evogen.models.convolutional import encoder_decoder
from evogen.models.layers import Linear
from evogen.models.networks import MLP
from evogen.models.serialization import register
from evogen.models.vae import VAE, Autoencoder, Gaussians


class BottomUp(nn.Module):
    """Features of a row for every level, each computed from those of the level below.

    Args:
        encoder: Rows, with their condition, to the features `(n, width)` of the lowest level.
        n_levels: Number of levels.
        width: Number of features.
        hidden: Widths of the hidden layers between two levels.
        activation: Name in `ACTIVATIONS`.
    """

    def __init__(
        self, encoder: nn.Module, n_levels: int, width: int, hidden: Sequence[int], activation: str
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.steps = nn.ModuleList(
            MLP(width, width, hidden=hidden, activation=activation) for _ in range(n_levels - 1)
        )

    def forward(self, x: Tensor, condition: Tensor | None = None) -> list[Tensor]:
        """Features `(n, width)` of every level, from the top down."""
        features = [self.encoder(x, condition)]
        for step in self.steps:
            features.append(features[-1] + step(features[-1]))
        return features[::-1]


class Level(nn.Module):
    """One level: p(z | state) = N(m, s^2), q(z | state, features) = N(m + s a, (s b)^2).

    m, log s come from the state alone; a, log b from the state and the features of x. The latent is
    handled as u = (z - m) / s, which is N(0, 1) under p and N(a, b^2) under q.

    Args:
        latent_dim: Size of z.
        width: Size of the state and of the features.
        hidden: Widths of the hidden layers.
        activation: Name in `ACTIVATIONS`.
    """

    def __init__(self, latent_dim: int, width: int, hidden: Sequence[int], activation: str) -> None:
        super().__init__()
        self.prior = MLP(width, 2 * latent_dim, hidden=hidden, activation=activation)
        self.change = MLP(2 * width, 2 * latent_dim, hidden=hidden, activation=activation)
        self.merge = MLP(width + latent_dim, width, hidden=hidden, activation=activation)
        # A straight way for z, strong from the start: what is not heard below dies out.
        self.enter = Linear(latent_dim, width, gain=math.sqrt(3))

    def posterior(self, state: Tensor, features: Tensor) -> Gaussians:
        """a and log b^2, `(n, latent_dim)` each."""
        a, log_square = self.change(torch.cat((state, features), dim=1)).chunk(2, dim=1)
        return a, log_square

    def forward(self, state: Tensor, u: Tensor) -> Tensor:
        """The state `(n, width)` of the next level."""
        mean, log_variance = self.prior(state).chunk(2, dim=1)
        z = torch.addcmul(mean, (0.5 * log_variance).exp(), u)
        return state + self.enter(z) + self.merge(torch.cat((state, z), dim=1))


class TopDown(nn.Module):
    """The path that inference and generation share: a state that every level adds to.

    Args:
        levels: From the top down.
        decoder: The last state, with the condition, to rows.
        width: Size of the state.
        n_condition: Size of the condition, with which the path starts; 0 for none.
    """

    def __init__(
        self, levels: Sequence[Level], decoder: nn.Module, width: int, n_condition: int
    ) -> None:
        super().__init__()
        self.levels = nn.ModuleList(levels)
        self.decoder = decoder
        self.start = MLP(n_condition, width, hidden=()) if n_condition else None
        self.register_buffer("zero", torch.zeros(1, width), persistent=False)

    def first_state(self, n: int, condition: Tensor | None) -> Tensor:
        """Where the path starts, `(n, width)`: at 0, or at what the condition gives."""
        if self.start is not None:
            return self.start(condition)
        return self.get_buffer("zero").expand(n, -1)

    def forward(self, u: Tensor, condition: Tensor | None = None) -> Tensor:
        """Rows `(n, d)` of the u of all levels, `(n, n_levels latent_dim)`."""
        state = self.first_state(len(u), condition)
        for level, part in zip(self.levels, u.chunk(len(self.levels), dim=1), strict=True):
            state = level(state, part)
        return self.decoder(state, condition)

    def infer(
        self, features: Sequence[Tensor], noise: Tensor, condition: Tensor | None
    ) -> tuple[Gaussians, Tensor, Tensor]:
        """Draws from the posterior, level after level.

        Args:
            features: Of every level, from the top down.
            noise: `(n, n_levels latent_dim)`.
            condition: `(n, n_condition)`, or None.

        Returns:
            Means and log variances of u at all levels, each given the draws above; the u drawn;
            and the rows that they decode to.
        """
        state = self.first_state(len(noise), condition)
        means, log_variances, drawn = [], [], []
        parts = noise.chunk(len(self.levels), dim=1)
        for level, part, seen in zip(self.levels, parts, features, strict=True):
            assert isinstance(level, Level)
            mean, log_variance = level.posterior(state, seen)
            u = torch.addcmul(mean, (0.5 * log_variance).exp(), part)
            state = level(state, u)
            means.append(mean)
            log_variances.append(log_variance)
            drawn.append(u)
        posterior = torch.cat(means, dim=1), torch.cat(log_variances, dim=1)
        return posterior, torch.cat(drawn, dim=1), self.decoder(state, condition)


@register
@dataclass(kw_only=True, eq=False, repr=False)
class HierarchicalVAE(VAE):
    """VAE with several levels of latents, each given those above it ([1], [2]).

    p(z_1, .., z_L) = p(z_1) prod_l p(z_l | z_1 .. z_(l-1)) from the top down, all Gaussian, and
    q(z | x) has the same order: a level's posterior is its prior, moved and rescaled by what a
    bottom-up network sees in x ([2], section 3.2; here the move is measured in the prior's
    standard deviations). So its divergence does not depend on the prior's scale, and a level that
    has nothing to say costs nothing. The other parameters are those of `VAE`; `prior` keeps its
    default, since every level but the top one has a learned prior anyway.

    `encode` and `decode` work on u, the latents of all levels from the top down in units of their
    priors' standard deviations from the means; under the model u is N(0, I).

    Attributes:
        n_levels: Number L of levels.
        latent_dim: Size of the latent of each level.
        width: Size of the state that is handed down, and of the features of x handed up.
        free_bits: Mean rate of a level, in nats, below which it is not pushed any further
            ([3], appendix C.8, per level): keeps levels from being switched off early.
    """

    priors: ClassVar[tuple[str, ...]] = ("normal",)

    n_levels: int = 2
    width: int = 64
    free_bits: float = 0.25

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        check_number("n_levels", self.n_levels, low=1, high=1 << 10, integer=True)
        check_number("width", self.width, low=1, high=1 << 16, integer=True)
        check_number("free_bits", self.free_bits, low=0)

    @property
    def code_dim(self) -> int:
        """Size of u of all levels."""
        return self.n_levels * self.latent_dim

    def network(self) -> nn.Module:
        """The new network."""
        encoder, decoder = encoder_decoder(
            self.item_shape_,
            self.width,
            self.width,
            architecture=self.architecture,
            channels=self.channels,
            hidden=self.hidden,
            activation=self.activation,
            n_condition=self.n_condition_,
        )
        # One hidden layer inside a level, or none where the model is to be linear.
        inner = (self.width,) if self.hidden else ()
        levels = [
            Level(self.latent_dim, self.width, inner, self.activation) for _ in range(self.n_levels)
        ]
        return Autoencoder(
            BottomUp(encoder, self.n_levels, self.width, inner, self.activation),
            TopDown(levels, decoder, self.width, self.n_condition_),
        )

    def inferred(
        self, x: Tensor, noise: Tensor, condition: Tensor | None, network: nn.Module
    ) -> tuple[Tensor, Gaussians, Tensor]:
        """Errors `(n, d)` of one draw per row, the posterior it is from, and its u."""
        assert isinstance(network, Autoencoder)
        assert isinstance(network.decoder, TopDown)
        features = network.encoder(x, condition)
        posterior, u, decoded = network.decoder.infer(features, noise, condition)
        return self.error(x, decoded), posterior, u

    def level_rates(self, posterior: Gaussians) -> Tensor:
        """KL(q | p) of every level in nats, `(n, n_levels)`, from the top down."""
        mean, log_variance = (part.unflatten(1, (self.n_levels, -1)) for part in posterior)
        square = mean.square() + log_variance.exp() - log_variance
        return 0.5 * (square - 1).sum(dim=2)

    def terms(
        self, x: Tensor, noise: Tensor, condition: Tensor | None, network: nn.Module
    ) -> tuple[Tensor, Tensor]:
        """Errors `(n, d)` of decoding one draw per row, and the KL of all levels `(n,)`."""
        error, posterior, _ = self.inferred(x, noise, condition, network)
        return error, self.level_rates(posterior).sum(dim=1)

    def loss(self, x: Tensor, noise: Tensor, condition: Tensor | None) -> Tensor:
        """The negative evidence lower bound per row, with beta and free bits."""
        network = self.weights_["network"].module
        error, posterior, _ = self.inferred(x, noise, condition, network)
        rates = self.level_rates(posterior).mean(dim=0)
        return self.misfit(error) + self.beta * rates.clamp(min=self.free_bits).sum()

    def weigher(
        self, x: Tensor, condition: Tensor | None, network: nn.Module
    ) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """A function of noise to errors `(n, d)` and log p(z) - log q(z | x) `(n,)`."""
        assert isinstance(network, Autoencoder)
        assert isinstance(network.decoder, TopDown)
        decoder, features = network.decoder, network.encoder(x, condition)

        def weigh(noise: Tensor) -> tuple[Tensor, Tensor]:
            posterior, u, decoded = decoder.infer(features, noise, condition)
            return self.error(x, decoded), self.log_weight(posterior, noise, u)

        return weigh

    # Use.

    @torch.no_grad()
    def encode(self, x: Any, condition: Any = None) -> Tensor:
        """u of items, `(n, n_levels latent_dim)`: every level's mean, given the means above it."""
        self.check_fitted()
        rows = self.prepare_x(x)
        given = self.prepare_condition(condition, len(rows))
        noise = torch.zeros(len(rows), self.code_dim, device=self.device_)
        return self.inferred(rows, noise, given, self.sampler("network"))[2]

    @torch.no_grad()
    def rates(
        self,
        x: Any,
        condition: Any = None,
        *,
        n_samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """KL(q | p) of every level: how much it says about an item.

        Args:
            x: Items `(n, *item_shape_)`.
            condition: As in `fit`, if the model was fitted with one.
            n_samples: Draws of the levels above that are averaged.
            generator: Source of random numbers; None for the model's own.

        Returns:
            `(n, n_levels)` in nats, from the top down.
        """
        self.check_fitted()
        check_number("n_samples", n_samples, low=1, integer=True)
        rows = self.prepare_x(x)
        given = self.prepare_condition(condition, len(rows))
        generator = self.own_generator(generator)
        total = torch.zeros(len(rows), self.n_levels, device=self.device_)
        for _ in range(n_samples):
            noise = self.draw_noise((len(rows),), generator)
            total += self.level_rates(self.inferred(rows, noise, given, self.sampler("network"))[1])
        return total / n_samples
