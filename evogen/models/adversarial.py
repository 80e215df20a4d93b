"""What all adversarial models share: networks, batches, penalties, conditions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn

from evogen.models.adversarial_networks import (
    SMALLEST_IMAGE,
    ConvDiscriminator,
    ConvGenerator,
    gaussian_of,
    is_picture,
    packs_of,
    spectrally_normalized,
)
from evogen.models.base import Rows
from evogen.models.checks import check_betas, check_choice, check_number, check_widths
from evogen.models.networks import ACTIVATIONS, MLP, Norm
from evogen.models.neural import NeuralModel, take_batches
from evogen.models.rng import batch_indices, normal, uniform
from evogen.models.scaling import ScalerKind
from evogen.models.training import Callback, Objective

CONV_BATCH_SIZE = 64

Gradient = Callable[..., Tensor]
AdversarialT = TypeVar("AdversarialT", bound="AdversarialModel")


@dataclass(kw_only=True, eq=False, repr=False)
class AdversarialModel(NeuralModel):
    """A generator G that learns from what a discriminator D thinks of its rows.

    D learns to tell data from generated rows and from negative examples, if there are any; G
    learns to be taken for data. A step is `n_critic` steps of D, then one of G.

    A loss is a subclass with `real_loss`, `fake_loss` and `fooling_loss`; other networks are its
    own `make_generator` and `make_discriminator`. The penalties, spectral normalization, packing,
    negatives and conditions go with all of them.

    Attributes:
        latent_dim: Size of the generator's input z; None for the number of features.
        prior: "normal": z ~ N(0, I). "data": z ~ N(mean, covariance) of the rows of the last fit,
            so that the generator starts from their best Gaussian; `latent_dim` must be None.
        residual: G(z) = z + net(z), for prior="data".
        architecture: "mlp": perceptrons. "conv": strided convolutions (Radford et al. 2016), for
            images of at least 4 x 4 pixels. "auto": "conv" for those, "mlp" for anything else.
        batch_size: Rows per step; None for all of them, with convolutions for 64.
        channels: Channels of the convolutions next to the picture; deeper ones have up to eight
            times as many.
        hidden_generator: Widths of the generator's hidden layers, if it is a perceptron.
        hidden_discriminator: Widths of the discriminator's hidden layers, likewise.
        activation: Of the hidden layers, a name in `networks.ACTIVATIONS`.
        activation_generator: Of those of the generator; None for `activation`.
        output: "linear", "sigmoid" or "tanh". With `normalize` the data are scaled to suit:
            mean 0 and deviation 1, range [0, 1], or range [-1, 1].
        norm: "batch", "layer" or None, in the generator.
        output_norm: Whether the generator's output is normalized too, before its activation
            (perceptrons only).
        norm_discriminator: "batch", "layer" or None, in the discriminator. With "batch", data and
            generated rows are batches of their own.
        n_octaves: A perceptron D also sees sines and cosines of its inputs at so many frequencies.
        spectral_norm: Whether every layer of the discriminator is divided by its largest singular
            value (Miyato et al. 2018).
        packing: Number of rows that the discriminator judges together (Lin et al. 2018, "PacGAN").
        n_critic: Discriminator steps per generator step.
        lr_generator: Learning rate of Adam for G.
        lr_discriminator: Learning rate of Adam for D.
        betas: Adam's decay rates.
        r1: Weight g of the penalty g/2 E|grad D(x)|^2 at data (Mescheder et al. 2018, eq. 9).
        gp_weight: Weight of the penalty (|grad D| - 1)^2 at a random place between a data row and
            a generated one, one place per pair (Gulrajani et al. 2017, algorithm 1).
        instance_noise: Standard deviation of noise on all inputs of D (Soenderby et al. 2017).
        negative_weight: Share of the negatives in the loss of label 0; generated rows have the
            rest.
    """

    averaged: ClassVar[tuple[str, ...]] = ("generator",)

    latent_dim: int | None = None
    prior: Literal["normal", "data"] = "normal"
    residual: bool = False
    architecture: Literal["auto", "mlp", "conv"] = "auto"
    channels: int = 32
    hidden_generator: Sequence[int] = (64, 64)
    hidden_discriminator: Sequence[int] = (64, 64)
    activation: str = "leaky_relu"
    activation_generator: str | None = None
    output: Literal["linear", "sigmoid", "tanh"] = "linear"
    norm: Norm | None = None
    output_norm: bool = False
    norm_discriminator: Norm | None = None
    n_octaves: int = 0
    spectral_norm: bool = False
    packing: int = 1
    n_critic: int = 1
    lr_generator: float = 1e-3
    lr_discriminator: float = 1e-3
    betas: tuple[float, float] = (0.5, 0.99)
    r1: float = 0.0
    gp_weight: float = 0.0
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
        check_widths("hidden_generator", self.hidden_generator)
        check_widths("hidden_discriminator", self.hidden_discriminator)
        check_choice("activation", self.activation, tuple(ACTIVATIONS))
        check_choice("activation_generator", self.activation_generator, (None, *ACTIVATIONS))
        check_choice("output", self.output, ("linear", "sigmoid", "tanh"))
        for name in ("norm", "norm_discriminator"):
            check_choice(name, getattr(self, name), (None, "batch", "layer"))
        check_choice("architecture", self.architecture, ("auto", "mlp", "conv"))
        if not isinstance(self.spectral_norm, bool):
            raise TypeError(f"spectral_norm must be True or False; got {self.spectral_norm!r}")
        for name in ("channels", "packing", "n_critic"):
            check_number(name, getattr(self, name), low=1, integer=True)
        if self.output_norm and self.norm is None:
            raise ValueError("output_norm=True needs norm='batch' or 'layer'; got norm=None")
        check_betas(self.betas)
        check_number("n_octaves", self.n_octaves, low=0, high=64, integer=True)
        for name in ("lr_generator", "lr_discriminator", "r1", "gp_weight", "instance_noise"):
            check_number(name, getattr(self, name), low=0)
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

    @property
    def is_convolutional(self) -> bool:
        """Whether the networks are convolutions, after the first fit."""
        return self.architecture != "mlp" and is_picture(self.item_shape_)

    def networks(self) -> dict[str, nn.Module]:
        """The generator and the discriminator."""
        discriminator = self.make_discriminator()
        if self.spectral_norm:
            discriminator = spectrally_normalized(discriminator)
        return {"generator": self.make_generator(), "discriminator": discriminator}

    def make_generator(self) -> nn.Module:
        """A new network `(z, condition) -> x` from `(n, n_latent)` to scaled rows `(n, d)`."""
        activation = self.activation_generator or self.activation
        if self.is_convolutional:
            return ConvGenerator(
                self.n_latent,
                self.item_shape_,
                channels=self.channels,
                activation=activation,
                output=self.output,
                norm=self.norm,
                n_condition=self.n_condition_,
            )
        return MLP(
            self.n_latent,
            self.n_features_ or 0,
            hidden=self.hidden_generator,
            activation=activation,
            output=self.output,
            norm=self.norm,
            output_norm=self.output_norm,
            n_condition=self.n_condition_,
        )

    def make_discriminator(self) -> nn.Module:
        """A new network `(x, condition) -> logits`: packs `(n, packing * d)` to `(n, 1)`."""
        n_condition = self.packing * self.n_condition_
        if self.is_convolutional:
            channels, height, width = self.item_shape_
            return ConvDiscriminator(
                (self.packing * channels, height, width),
                channels=self.channels,
                activation=self.activation,
                norm=self.norm_discriminator,
                n_condition=n_condition,
            )
        return MLP(
            self.packing * (self.n_features_ or 0),
            1,
            hidden=self.hidden_discriminator,
            activation=self.activation,
            norm=self.norm_discriminator,
            n_condition=n_condition,
            n_octaves=self.n_octaves,
        )

    def adam_settings(self, name: str) -> dict[str, Any]:
        """Learning rate and decay rates of Adam for one of the two networks."""
        lr = self.lr_generator if name == "generator" else self.lr_discriminator
        return {"lr": lr, "betas": self.betas}

    # Learning.

    def check_rows(self, x: Any, condition: Any, negative: Any = None) -> Rows:
        """Checks the data of a fit; see `fit` for what is raised."""
        rows = super().check_rows(x, condition, negative)
        if self.architecture == "conv" and not is_picture(self.item_shape_):
            raise ValueError(
                f"architecture='conv' needs images of at least {SMALLEST_IMAGE} x {SMALLEST_IMAGE} "
                f"pixels; got items of shape {self.item_shape_}"
            )
        return rows

    def fit(
        self: AdversarialT,
        x: Any,
        condition: Any = None,
        *,
        negative: Any = None,
        n_steps: int | None = None,
        generator: torch.Generator | None = None,
        callback: Callback | Sequence[Callback] | None = None,
    ) -> AdversarialT:
        """Learns from data; called again, it goes on from where it was (`reset` starts anew).

        Args:
            x: Items, n >= 1; this, the rest, and what is raised are as for every model, see
                `GenerativeModel.fit`.
            condition: `(n, c)`, labels `(n,)`, or None.
            negative: Examples `(m, *shape)` of what generated items should not be like, or None;
                not together with a condition. They take part in the scaling of features.
            n_steps: Number of generator updates; None for the parameter of the same name.
            generator: Source of all random numbers; None for the model's own.
            callback: One or several.

        Returns:
            self.
        """
        rows = self.check_rows(x, condition, negative)
        return self.fit_rows(rows, n_steps=n_steps, generator=generator, callback=callback)

    def objectives(self, rows: Rows) -> list[Objective]:
        """The discriminator's step and the generator's step, on scaled rows."""
        if self.prior == "data":
            self.buffers_ = gaussian_of(rows.x)
        of_discriminator, of_generator = self.known_gradients()
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
                gradient=of_discriminator,
            ),
            self.objective(
                "generator",
                "generator",
                self.generator_loss,
                lambda n, generator: self.draw_generator_batches(rows, n, generator),
                batch_numbers=size * width,
                gradient=of_generator,
            ),
        ]

    def known_gradients(self) -> tuple[Gradient | None, Gradient | None]:
        """Functions that compute D's and G's loss and leave the gradient in place, or None."""
        return None, None

    def rows_per_batch(self, n_rows: int) -> int:
        """Number of rows in a batch when there are `n_rows`."""
        if self.batch_size is None and self.is_convolutional:
            return min(CONV_BATCH_SIZE, n_rows)
        return super().rows_per_batch(n_rows)

    def draw_rows(self, n_rows: int, n_batches: int, generator: torch.Generator) -> Tensor | None:
        """Row numbers `(n_batches, rows_per_batch)`, or None when every batch is all rows."""
        index = super().draw_rows(n_rows, n_batches, generator)
        if index is None and self.packing > 1:
            # The same rows must not come in the same packs each time.
            return batch_indices(n_rows, n_batches, n_rows, generator, device=self.device_)
        return index

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
        condition = negative = noise = place = None
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
        if self.gp_weight > 0:
            n_packs = max(1, size // self.packing)
            place = uniform((n_batches, n_packs, 1), generator, device=self.device_)
        return real, z, condition, negative, noise, place

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
            G(z) `(n, d)`, and the logits of packs of real, generated and negative rows.
        """
        with torch.no_grad():
            fake = self.forward_generator(z, condition)
        groups = [real, fake] if negative is None else [real, fake, negative]
        if noise is not None:
            parts = noise.split([len(group) for group in groups])
            groups = [group + part for group, part in zip(groups, parts, strict=True)]
        packs = [self.pack(group) for group in groups]
        given = None if condition is None else self.pack(condition)
        judge = self.weights_["discriminator"].module
        if self.norm_discriminator == "batch":
            logits = [judge(pack, given) for pack in packs]
        else:
            both = None if given is None else torch.cat((given, given))
            joined = judge(torch.cat(packs), both)
            logits = list(joined.split([len(pack) for pack in packs]))
        return fake, logits[0], logits[1], None if negative is None else logits[2]

    def pack(self, x: Tensor) -> Tensor:
        """Rows `(n, d)` as packs `(n // packing, packing * d)`; see `packs_of`."""
        return x if self.packing == 1 else packs_of(x, self.packing)

    @abstractmethod
    def real_loss(self, logits: Tensor) -> Tensor:
        """The discriminator's loss of data with logits `(n, 1)`, as many."""

    @abstractmethod
    def fake_loss(self, logits: Tensor) -> Tensor:
        """The discriminator's loss of generated and of negative rows, likewise."""

    @abstractmethod
    def fooling_loss(self, logits: Tensor) -> Tensor:
        """The generator's loss of its rows, likewise."""

    def discriminator_loss(
        self,
        real: Tensor,
        z: Tensor,
        condition: Tensor | None,
        negative: Tensor | None,
        noise: Tensor | None,
        place: Tensor | None = None,
    ) -> Tensor:
        """What D minimizes: mean losses of data and of the rest, and the penalties on its slope.

        Args:
            real: Data `(n, d)`.
            z: Latent vectors `(n, n_latent)`.
            condition: Of both, `(n, c)`, or None.
            negative: Negative examples `(m, d)`, or None.
            noise: Added to data, generated rows and negatives, in this order, or None.
            place: Where the gradient penalty is taken, from 0 (data) to 1 (generated),
                `(n // packing, 1)`; None for no such penalty.
        """
        fake, on_real, on_fake, on_negative = self.discriminate(real, z, condition, negative, noise)
        loss = self.fake_loss(on_fake).mean()
        if on_negative is not None:
            loss = torch.lerp(loss, self.fake_loss(on_negative).mean(), self.negative_weight)
        loss = loss + self.real_loss(on_real).mean()
        given = None if condition is None else self.pack(condition)
        if place is not None:
            between = torch.lerp(self.pack(real), self.pack(fake), place)
            # The root's slope at 0 is infinite; a dead critic must not end in NaN.
            slope = (self.squared_slope(between, given) + 1e-12).sqrt()
            loss = loss + self.gp_weight * (slope - 1).square().mean()
        if self.r1 > 0:
            loss = loss + 0.5 * self.r1 * self.squared_slope(self.pack(real), given).mean()
        return loss

    def generator_loss(self, z: Tensor, condition: Tensor | None, noise: Tensor | None) -> Tensor:
        """What G minimizes: the mean `fooling_loss` of G(z)."""
        fake = self.forward_generator(z, condition)
        if noise is not None:
            fake = fake + noise
        given = None if condition is None else self.pack(condition)
        logits = self.weights_["discriminator"].module(self.pack(fake), given)
        return self.fooling_loss(logits).mean()

    def squared_slope(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """Squared length of the discriminator's gradient at each pack of rows, with graph.

        Args:
            x: Packs `(n, packing * d)`.
            condition: Their conditions `(n, packing * c)`, or None.

        Returns:
            `(n,)`.
        """
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
        """The discriminator's logits: the higher, the more an item is like data.

        Args:
            x: n items in the units of the data; n a multiple of `packing`.
            condition: As for `sample`.

        Returns:
            Logits `(n // packing,)`, one for every `packing` items that follow one another.

        Raises:
            RuntimeError: The model is not fitted.
            ValueError: Items or condition of a wrong shape, or not a multiple of `packing`.
        """
        self.check_fitted()
        rows = self.prepare_x(x)
        if len(rows) % self.packing:
            raise ValueError(f"x must have a multiple of {self.packing} rows; got {len(rows)}")
        given = self.prepare_condition(condition, rows.shape[0])
        if not len(rows):
            return rows.new_zeros(0)
        given = None if given is None else self.pack(given)
        return self.weights_["discriminator"].module(self.pack(rows), given)[:, 0]
