"""StyleGAN: images made from a constant, under the control of a style at every layer.

Karras, Laine and Aila, "A style-based generator architecture for generative adversarial networks",
CVPR 2019.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from evogen.models.checks import ItemKind, as_rows, check_choice, check_number
from evogen.models.gan import GAN
from evogen.models.rng import integers, normal, uniform
from evogen.models.serialization import register
from evogen.models.style_networks import (
    Mapping,
    StyleDiscriminator,
    StyleGenerator,
    doublings,
)

Space = Literal["z", "w"]


@register
@dataclass(kw_only=True, eq=False, repr=False)
class StyleGAN(GAN):
    """Style-based generative adversarial network (Karras, Laine and Aila 2019), for images.

    A mapping network turns z into a style w; the synthesis network starts from a learned constant
    and gives every layer's feature maps the means and deviations that w asks for, after adding
    noise. Followed are mapping, constant, noise, mixing regularization (section 3.1), truncation
    in W (appendix B), equalized learning rates, and the non-saturating loss with R1 (appendix C).
    Left out are progressive growing (all sizes are trained at once) and the discriminator's
    minibatch deviation (it judges every picture by itself; `packing` has a like effect). The
    parameters are those of `GAN`, except that z is always normal, the networks always these, and
    their activation a leaky ReLU; these differ:

    Attributes:
        batch_size: Rows per step; None for all.
        ema_decay: Decay of the moving average of the weights that samples come from.
        lr_generator: Learning rate of Adam for G.
        lr_discriminator: Learning rate of Adam for D.
        betas: Adam's decay rates.
        r1: Weight g of the penalty g/2 E|grad D(x)|^2 at data.
        latent_dim: Size of z; None for the number of pixels.
        style_dim: Size of w.
        n_mapping: Layers of the mapping network; the paper has 8.
        mapping_lr: Factor on the mapping network's learning rate (appendix C).
        start_size: Largest height or width of the learned constant; it is doubled until the image
            fits in, and the middle is cut out.
        channels: Channels of the feature maps at the image's size; coarser ones have two, four and
            at most eight times as many.
        mixing: Share of the training images made of two styles, one up to a random layer and the
            other from there on.
        truncation: psi in w' = mean + psi (w - mean) for samples: 1 for all the variety, less for
            more typical images, 0 for the image of the mean style. May be changed after a fit.
    """

    items: ClassVar[tuple[ItemKind, ...]] = ("images",)

    batch_size: int | None = 32
    ema_decay: float = 0.99
    lr_generator: float = 2e-3
    lr_discriminator: float = 2e-3
    betas: tuple[float, float] = (0.0, 0.99)
    r1: float = 1.0
    latent_dim: int | None = 32
    style_dim: int = 32
    n_mapping: int = 4
    mapping_lr: float = 0.01
    start_size: int = 4
    channels: int = 16
    mixing: float = 0.9
    truncation: float = 1.0

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        for name in ("style_dim", "n_mapping", "start_size"):
            check_number(name, getattr(self, name), low=1, integer=True)
        check_number("mapping_lr", self.mapping_lr, low=1e-6)
        check_number("mixing", self.mixing, low=0, high=1)
        check_number("truncation", self.truncation, low=0)
        if self.prior != "normal":
            raise ValueError(f"StyleGAN has prior='normal' only; got prior={self.prior!r}")

    # Networks.

    def make_generator(self) -> nn.Module:
        """The new mapping and synthesis networks."""
        mapping = Mapping(
            self.n_z, self.style_dim, self.n_mapping, self.n_condition_, self.mapping_lr
        )
        return StyleGenerator(
            mapping,
            self.n_z,
            self.style_dim,
            self.item_shape_,
            self.start_size,
            self.channels,
            self.output,
        )

    def make_discriminator(self) -> nn.Module:
        """The new discriminator."""
        channels, height, width = self.item_shape_
        shape = (self.packing * channels, height, width)
        return StyleDiscriminator(
            shape, self.start_size, self.channels, self.packing * self.n_condition_
        )

    @property
    def n_z(self) -> int:
        """Size of z, after the first fit."""
        return (self.n_features_ or 0) if self.latent_dim is None else self.latent_dim

    @property
    def n_noise(self) -> int:
        """Numbers of noise in an image, after the first fit."""
        sizes = doublings(self.item_shape_[1], self.item_shape_[2], self.start_size)
        return 2 * sum(h * w for h, w in sizes)

    @property
    def n_layers(self) -> int:
        """Number of layers that take a style, after the first fit."""
        return 2 * len(doublings(self.item_shape_[1], self.item_shape_[2], self.start_size))

    @property
    def n_latent(self) -> int:
        """Size of a row of the generator's random inputs in training."""
        return self.n_z + (self.n_z + 1 if self.mixing > 0 else 0) + self.n_noise

    # Learning.

    def draw_latent(self, n: int, generator: torch.Generator) -> Tensor:
        """Draws the generator's random inputs for training, `(n, n_latent)`: see `StyleGenerator`.

        Mixed images change from the first to the second style at a layer uniform in
        1 .. n_layers - 1.
        """
        z = normal((n, self.n_z), generator, device=self.device_)
        parts = [z]
        if self.mixing > 0:
            other = normal((n, self.n_z), generator, device=self.device_)
            cut = 1 + integers(self.n_layers - 1, (n, 1), generator, device=self.device_)
            mixed = uniform((n, 1), generator, device=self.device_) < self.mixing
            parts += [other, torch.where(mixed, cut, self.n_layers).to(z.dtype)]
        return torch.cat([*parts, self.draw_noise(n, generator)], dim=1)

    def draw_noise(self, n: int, generator: torch.Generator) -> Tensor:
        """Draws the noise of all layers, `(n, n_noise)`."""
        return normal((n, self.n_noise), generator, device=self.device_)

    # Use.

    @property
    def generator_network(self) -> StyleGenerator:
        """The network that samples come from."""
        network = self.sampler("generator")
        assert isinstance(network, StyleGenerator)
        return network

    @property
    def mean_style(self) -> Tensor:
        """The running mean of w over training, `(style_dim,)`; zeros before the first step."""
        # An average network gets its buffers at the end of a fit only.
        network = self.weights_["generator"].module
        assert isinstance(network, StyleGenerator)
        return network.centre

    def truncate(self, w: Tensor) -> Tensor:
        """w pulled towards the mean style by `truncation` (appendix B), `(..., style_dim)`."""
        return w if self.truncation == 1 else torch.lerp(self.mean_style, w, self.truncation)

    def generate(self, n: int, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        """Samples `(n, d)` in scaled units, given a scaled condition `(n, c)`."""
        z = normal((n, self.n_z), generator, device=self.device_)
        network = self.generator_network
        w = self.truncate(network.mapping(z, condition))
        return network.synthesize(self.every_layer(w), self.draw_noise(n, generator))

    def every_layer(self, w: Tensor) -> Tensor:
        """One style `(n, style_dim)` for all layers, `(n, n_layers, style_dim)`."""
        return w[:, None].expand(-1, self.n_layers, -1)

    @torch.no_grad()
    def mapping(self, z: Any, condition: Any = None) -> Tensor:
        """The styles of latent vectors, without truncation.

        Args:
            z: `(n, latent_dim)`.
            condition: As in `sample`.

        Returns:
            w `(n, style_dim)`.

        Raises:
            RuntimeError: The model is not fitted.
            ValueError: A wrong shape, or numbers that are not finite.
        """
        self.check_fitted()
        rows = as_rows("z", z, n_columns=self.n_z).float().to(self.device_)
        return self.generator_network.mapping(
            rows, self.prepare_condition(condition, rows.shape[0])
        )

    @torch.no_grad()
    def synthesize(
        self, w: Any, *, noise: Any = True, generator: torch.Generator | None = None
    ) -> Tensor:
        """The images of styles.

        Args:
            w: One style per image, `(n, style_dim)`, or one per layer,
                `(n, n_layers, style_dim)`.
            noise: True for random noise, False for none, or the noise itself `(n, n_noise)`.
            generator: Source of random noise; None for the model's own.

        Returns:
            Images `(n, c, h, w)` in [0, 1].

        Raises:
            RuntimeError: The model is not fitted.
            ValueError: A wrong shape, or numbers that are not finite.
        """
        self.check_fitted()
        given = torch.as_tensor(w)
        per_layer = given.ndim == 3
        if per_layer and given.shape[1] != self.n_layers:
            raise ValueError(f"w must have {self.n_layers} layers; got {given.shape[1]}")
        rows = as_rows("w", given.flatten(0, 1) if per_layer else given, n_columns=self.style_dim)
        styles = rows.float().to(self.device_)
        styles = styles.view(given.shape) if per_layer else self.every_layer(styles)
        n = styles.shape[0]
        if noise is True:
            drawn = self.draw_noise(n, self.own_generator(generator))
        elif noise is False:
            drawn = torch.zeros(n, self.n_noise, device=self.device_)
        else:
            drawn = as_rows("noise", noise, n_columns=self.n_noise).float().to(self.device_)
            if drawn.shape[0] != n:
                raise ValueError(f"noise must have {n} rows; got {drawn.shape[0]}")
        return self.to_items(self.generator_network.synthesize(styles, drawn))


@torch.no_grad()
def path_length(
    model: StyleGAN,
    space: Space = "w",
    *,
    n: int = 1000,
    ends: bool = False,
    condition: Any = None,
    epsilon: float = 1e-4,
    features: Callable[[Tensor], Tensor] | None = None,
    generator: torch.Generator | None = None,
) -> float:
    """Perceptual path length (section 4.1): how abruptly images change along random paths.

    It is the mean of d(g(t), g(t + epsilon)) / epsilon^2, with d the squared Euclidean distance of
    features and the same noise in both images. The paper's features are VGG's; the authors' code
    leaves out the outermost 1 % on both sides, which is not done here.

    Args:
        model: A fitted model.
        space: "z": paths on the sphere between random z; "w": straight lines between their styles.
        n: Number of paths.
        ends: Whether t = 0 (the paper's "end"), instead of t uniform in [0, 1) ("full").
        condition: As in `sample`; the same at both ends of a path.
        epsilon: Length of a step, > 0.
        features: Images `(n, c, h, w)` in [0, 1] to numbers of n rows; None for the pixels.
        generator: Source of random numbers; None for the model's own.

    Returns:
        The mean, >= 0.

    Raises:
        RuntimeError: The model is not fitted.
        ValueError: An argument out of its range.
    """
    check_choice("space", space, ("z", "w"))
    check_number("n", n, low=1, integer=True)
    check_number("epsilon", epsilon, low=1e-12)
    model.check_fitted()
    if space == "z" and model.n_z < 2:
        raise ValueError(f"space='z' needs a latent_dim of at least 2; got {model.n_z}")
    generator = model.own_generator(generator)
    a, b = (normal((n, model.n_z), generator, device=model.device_) for _ in range(2))
    t = torch.zeros(n, 1) if ends else uniform((n, 1), generator)
    t = t.to(model.device_)
    noise = model.draw_noise(n, generator)
    given = model.prepare_condition(condition, n)
    network = model.generator_network

    def seen(place: Tensor) -> Tensor:
        if space == "z":
            w = network.mapping(slerp(a, b, place), given)
        else:
            w = torch.lerp(network.mapping(a, given), network.mapping(b, given), place)
        images = model.to_items(network.synthesize(model.every_layer(w), noise))
        return (images if features is None else features(images)).flatten(1)

    step = (seen(t + epsilon) - seen(t)).double() / epsilon
    return float(step.square().sum(dim=1).mean())


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Points on the unit sphere, at the share t of the arc from a's direction to b's (Shoemake).

    Args:
        a: `(n, d)`, not 0.
        b: `(n, d)`, not 0, nor a multiple of a.
        t: `(n, 1)`.

    Returns:
        `(n, d)`.
    """
    a, b = a / a.norm(dim=1, keepdim=True), b / b.norm(dim=1, keepdim=True)
    angle = (a * b).sum(dim=1, keepdim=True).clamp(-1, 1).acos()
    return (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)
