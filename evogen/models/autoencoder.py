"""The plain autoencoder, made generative by a density fitted to its codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
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
from evogen.models.mixture import GaussianMixture
from evogen.models.networks import ACTIVATIONS, MLP
from evogen.models.neural import SingleLossModel, take_batches
from evogen.models.serialization import register
from evogen.models.training import Callback


class Codec(nn.Module):
    """An encoder of x to a code z, and a decoder back."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder


@register
@dataclass(kw_only=True, eq=False, repr=False)
class AE(SingleLossModel):
    """Autoencoder (Hinton and Salakhutdinov 2006): a code small enough to be a summary.

    Trained on the squared error of decoder(encoder(x)). It has no distribution of its own:
    `sample` decodes draws from a Gaussian mixture that every fit ends by fitting to the codes of
    its rows (Ghosh et al. 2020, "From variational to deterministic autoencoders", section 4),
    jointly with the condition if there is one; and it has no `log_prob`.

    Attributes:
        latent_dim: Size of the code.
        architecture: "conv": convolutions, for images; "mlp": perceptrons; "auto": convolutions
            for images of at least 4 x 4 pixels, and of 2^k for k stages.
        hidden: Widths of the hidden layers of perceptrons, in the decoder reversed; () makes the
            model linear.
        channels: Width of every stage of convolutions, each of which halves the image; in the
            decoder reversed.
        activation: Of the hidden layers, a name in `networks.ACTIVATIONS`.
        n_components: Gaussians in the density of the codes; 1 is a single one. More follow the
            codes more closely and need more rows.
        parts_: "prior", that density, a `GaussianMixture`.
    """

    latent_dim: int = 8
    architecture: Architecture = "auto"
    hidden: Sequence[int] = (64, 64)
    channels: Sequence[int] = (32, 64)
    activation: str = "silu"
    n_components: int = 1

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        check_number("latent_dim", self.latent_dim, low=1, high=1 << 16, integer=True)
        check_architecture(self.architecture, self.channels)
        check_widths("hidden", self.hidden)
        check_choice("activation", self.activation, tuple(ACTIVATIONS))
        check_number("n_components", self.n_components, low=1, integer=True)

    def network(self) -> nn.Module:
        """The new network."""
        pair = encoder_decoder(
            self.item_shape_,
            self.latent_dim,
            self.latent_dim,
            architecture=self.architecture,
            channels=self.channels,
            hidden=self.hidden,
            activation=self.activation,
            n_condition=self.n_condition_,
        )
        return Codec(*pair)

    def check_rows(self, x: Any, condition: Any, negative: Any = None) -> Rows:
        """Checks the data of a fit; see `fit` for what is raised."""
        rows = super().check_rows(x, condition, negative)
        use_convolutions(self.architecture, self.item_shape_, self.channels)
        return rows

    # Learning.

    def draw_batches(
        self, rows: Rows, n_batches: int, generator: torch.Generator
    ) -> tuple[Tensor | None, ...]:
        """Rows and conditions, for `n_batches` batches along the first axis."""
        index = self.draw_rows(rows.x.shape[0], n_batches, generator)
        condition = None
        if rows.condition is not None:
            condition = take_batches(rows.condition, index, n_batches)
        return take_batches(rows.x, index, n_batches), condition

    def loss(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """Squared error per row, summed over features, of the scaled data."""
        network = self.weights_["network"].module
        assert isinstance(network, Codec)
        error = network.decoder(network.encoder(x, condition), condition) - x
        return error.square().sum(dim=1).mean()

    def known_gradient(self) -> Callable[..., Tensor] | None:
        """A function that computes `loss` and leaves its gradient in place, if there is one."""
        network = self.weights_["network"].module
        if not self.keeps(AE, "loss") or type(network) is not Codec:
            return None
        if not isinstance(network.encoder, MLP) or not isinstance(network.decoder, MLP):
            return None
        encoder, decoder = PlainMLP(network.encoder), PlainMLP(network.decoder)

        def gradient(x: Tensor, condition: Tensor | None) -> Tensor:
            encoded = encoder.forward(join(x, condition))
            decoded = decoder.forward(join(encoded.output, condition))
            error = decoded.output - x
            at_code = decoder.backward(decoded, error * (2 / x.shape[0]), to_input=True)
            assert at_code is not None
            encoder.backward(encoded, at_code[:, : encoded.output.shape[1]])
            return error.square().sum() / x.shape[0]

        return gradient

    def learn(
        self,
        rows: Rows,
        *,
        n_steps: int | None,
        generator: torch.Generator,
        callback: Callback | None,
    ) -> None:
        """Runs the training loop on scaled rows, then fits the density of their codes."""
        super().learn(rows, n_steps=n_steps, generator=generator, callback=callback)
        with torch.no_grad():
            codes = self._codec().encoder(rows.x, rows.condition)
        prior = GaussianMixture(n_components=self.n_components, device=str(self.device_))
        self.parts_["prior"] = prior.fit(codes, rows.condition, generator=generator)

    # Use.

    def _codec(self) -> Codec:
        network = self.sampler("network")
        assert isinstance(network, Codec)
        return network

    def generate(self, n: int, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        """Samples `(n, d)` in scaled units, given a scaled condition `(n, c)`."""
        z = self.part("prior").sample(n, condition, generator=generator)
        return self._codec().decoder(z, condition)

    @torch.no_grad()
    def encode(self, x: Any, condition: Any = None) -> Tensor:
        """Codes `(n, latent_dim)` of items `(n, *item_shape_)`."""
        self.check_fitted()
        rows = self.prepare_x(x)
        return self._codec().encoder(rows, self.prepare_condition(condition, len(rows)))

    @torch.no_grad()
    def decode(self, z: Any, condition: Any = None) -> Tensor:
        """Items `(n, *item_shape_)`, in the units of the data, of codes `(n, latent_dim)`."""
        self.check_fitted()
        codes = as_rows("z", z, n_columns=self.latent_dim).float().to(self.device_)
        given = self.prepare_condition(condition, len(codes))
        return self.to_items(self._codec().decoder(codes, given))
