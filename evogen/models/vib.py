"""The deep variational information bottleneck."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evogen.models.base import Rows
from evogen.models.checks import as_labels, check_choice, check_number, check_widths
from evogen.models.convolutional import (
    Architecture,
    check_architecture,
    encoder_decoder,
    use_convolutions,
)
from evogen.models.networks import ACTIVATIONS, MLP
from evogen.models.neural import SingleLossModel, take_batches
from evogen.models.rng import normal
from evogen.models.serialization import register
from evogen.models.training import Callback
from evogen.models.vae import Autoencoder


@register
@dataclass(kw_only=True, eq=False, repr=False)
class VIB(SingleLossModel):
    """Deep variational information bottleneck (Alemi et al. 2017): a classifier with a rate.

    A code z ~ q(z | x) = N(mean(x), diag(var(x))) should tell the class y and little else of x:
    trained on E -log p(y | z) + beta KL(q(z | x) | N(0, I)) (their eq. 17) with one draw of z per
    row. The mean KL, the `rate`, is an upper bound on the information of z about x. It does not
    learn a distribution of x, so `sample` is refused; it is here for its codes and shares the
    other models' training, devices and files. `fit` takes labels in place of a condition.

    Attributes:
        latent_dim: Size of z.
        architecture: Of the encoder: "conv": convolutions, for images; "mlp": a perceptron; "auto":
            convolutions for images of at least 4 x 4 pixels, and of 2^k for k stages.
        hidden: Widths of the hidden layers of a perceptron as encoder.
        channels: Width of every stage of convolutions, each of which halves the image.
        hidden_classifier: Widths of the hidden layers from z to the class; () for none.
        activation: Of the hidden layers, a name in `networks.ACTIVATIONS`.
        beta: Weight of the rate, >= 0.
        buffers_: "classes" `(k,)`, the labels in rising order.
    """

    latent_dim: int = 8
    architecture: Architecture = "auto"
    hidden: Sequence[int] = (64, 64)
    channels: Sequence[int] = (32, 64)
    hidden_classifier: Sequence[int] = ()
    activation: str = "silu"
    beta: float = 1e-2

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        check_number("latent_dim", self.latent_dim, low=1, high=1 << 16, integer=True)
        check_architecture(self.architecture, self.channels)
        check_widths("hidden", self.hidden)
        check_widths("hidden_classifier", self.hidden_classifier)
        check_choice("activation", self.activation, tuple(ACTIVATIONS))
        check_number("beta", self.beta, low=0)

    def buffer_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Names and shapes of `buffers_`; None for a size that the data decide."""
        return {"classes": (None,)}

    def network(self) -> nn.Module:
        """The new network."""
        encoder, _ = encoder_decoder(
            self.item_shape_,
            2 * self.latent_dim,
            self.latent_dim,
            architecture=self.architecture,
            channels=self.channels,
            hidden=self.hidden,
            activation=self.activation,
        )
        classifier = MLP(
            self.latent_dim,
            len(self.buffers_["classes"]),
            hidden=self.hidden_classifier,
            activation=self.activation,
        )
        return Autoencoder(encoder, classifier)

    # Learning.

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        n_steps: int | None = None,
        generator: torch.Generator | None = None,
        callback: Callback | Sequence[Callback] | None = None,
    ) -> VIB:
        """Learns to classify; called again, it goes on from where it was (`reset` starts anew).

        Args:
            x: Items (see `GenerativeModel.fit`), n >= 1.
            y: Labels `(n,)`, integers; the first fit decides which there are.
            n_steps: Number of training steps; None for the parameter of the same name.
            generator: Source of all random numbers; None for the model's own.
            callback: Called after each step with its number and the losses; true stops.

        Returns:
            self.

        Raises:
            TypeError: x does not hold real numbers, or y no integers.
            ValueError: A wrong shape, no rows, NaN or inf, another number of columns or other
                labels than in earlier fits, or an unknown device.

        Warns:
            TrainingDiverged: The last good weights were restored.
        """
        labels = as_labels("y", y)
        known = self.n_features_ is not None
        classes = self.buffers_["classes"].cpu() if known else torch.unique(labels)
        index = torch.searchsorted(classes, labels).clamp(max=max(0, len(classes) - 1))
        rows = self.check_rows(x, index[:, None])
        use_convolutions(self.architecture, self.item_shape_, self.channels)
        if not bool((classes[index] == labels).all()):
            new = sorted(set(labels.tolist()) - set(classes.tolist()))
            raise ValueError(f"y has labels that earlier fits had not: {new[:5]}")
        if not known:
            self.buffers_ = {"classes": classes}
        return self.fit_rows(rows, n_steps=n_steps, generator=generator, callback=callback)

    def sample(
        self, n: int, condition: Any = None, *, generator: torch.Generator | None = None
    ) -> NoReturn:
        """Raises TypeError: there is no distribution of x here."""
        raise TypeError("VIB is a classifier and has no samples; use predict, encode or rate")

    def generate(self, n: int, condition: Tensor | None, generator: torch.Generator) -> NoReturn:
        """Raises TypeError: there is no distribution of x here."""
        self.sample(n)

    def draw_batches(
        self, rows: Rows, n_batches: int, generator: torch.Generator
    ) -> tuple[Tensor | None, ...]:
        """Rows, class numbers and latent noise, for `n_batches` batches along the first axis."""
        assert rows.condition is not None
        index = self.draw_rows(rows.x.shape[0], n_batches, generator)
        x = take_batches(rows.x, index, n_batches)
        # The base has scaled the class numbers as it does any condition.
        numbers = self.condition_scaler_.denormalize(rows.condition).round().long()
        label = take_batches(numbers, index, n_batches)[:, :, 0]
        shape = (n_batches, x.shape[1], self.latent_dim)
        return x, label, normal(shape, generator, device=self.device_)

    def loss(self, x: Tensor, label: Tensor, noise: Tensor) -> Tensor:
        """Cross-entropy and beta times the rate, mean per row in nats."""
        network = self.weights_["network"].module
        assert isinstance(network, Autoencoder)
        mean, log_variance = network.encode(x, None)
        logits = network.decoder(torch.addcmul(mean, (0.5 * log_variance).exp(), noise))
        return F.cross_entropy(logits, label) + self.beta * _rate(mean, log_variance).mean()

    # Use.

    def _encoded(self, x: Any) -> tuple[Autoencoder, Tensor, Tensor]:
        self.check_fitted()
        network = self.sampler("network")
        assert isinstance(network, Autoencoder)
        return network, *network.encode(self.prepare_x(x), None)

    @torch.no_grad()
    def encode(self, x: Any) -> Tensor:
        """Means of q(z | x) `(n, latent_dim)` of items `(n, *item_shape_)`."""
        return self._encoded(x)[1]

    @torch.no_grad()
    def rate(self, x: Any) -> Tensor:
        """KL(q(z | x) | N(0, I)) in nats, `(n,)`, of items `(n, *item_shape_)`."""
        return _rate(*self._encoded(x)[1:])

    @torch.no_grad()
    def predict_proba(
        self, x: Any, *, n_samples: int = 12, generator: torch.Generator | None = None
    ) -> Tensor:
        """Probabilities of the classes `(n, k)`, in the order of `buffers_["classes"]`.

        Args:
            x: Items `(n, *item_shape_)`.
            n_samples: Draws of z per row whose probabilities are averaged; 0 for its mean alone.
            generator: Source of random numbers; None for the model's own.
        """
        check_number("n_samples", n_samples, low=0, integer=True)
        network, mean, log_variance = self._encoded(x)
        if n_samples == 0:
            return torch.softmax(network.decoder(mean), dim=1)
        noise = normal((n_samples, *mean.shape), self.own_generator(generator), device=self.device_)
        codes = torch.addcmul(mean, (0.5 * log_variance).exp(), noise)
        logits = network.decoder(codes.flatten(0, 1)).unflatten(0, codes.shape[:2])
        return torch.softmax(logits, dim=-1).mean(dim=0)

    def predict(self, x: Any) -> Tensor:
        """The most probable label of each row, int64 `(n,)`, from the mean of its code."""
        best = self.predict_proba(x, n_samples=0).argmax(dim=1)
        return self.buffers_["classes"][best]


def _rate(mean: Tensor, log_variance: Tensor) -> Tensor:
    square = mean.square() + log_variance.exp() - log_variance
    return 0.5 * square.sum(dim=1) - 0.5 * mean.shape[1]
