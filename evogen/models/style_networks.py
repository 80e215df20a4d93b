"""Networks of StyleGAN (Karras, Laine and Aila 2019); the model is in `stylegan`.

All take and give flat rows, so that the losses need not know that these are pictures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evogen.models.adversarial_networks import WIDEST
from evogen.models.layers import Conv2d, Drawn, Linear
from evogen.models.networks import ACTIVATIONS, LEAKY_SLOPE
from evogen.models.rng import normal

# Keeps quotients finite; as in the authors' code.
EPSILON = 1e-8
# Gain of a layer before a leaky ReLU (He et al. 2015).
HE_GAIN = math.sqrt(2.0)
# Decay of the running mean of w.
MEAN_DECAY = 0.995


def adain(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Adaptive instance normalization (eq. 1): every channel gets the style's mean and deviation.

    Args:
        x: Feature maps `(n, c, h, w)`.
        scale: Deviation of each channel over its map, `(n, c)`.
        shift: Mean of each channel over its map, `(n, c)`.

    Returns:
        `(n, c, h, w)`.
    """
    var, mean = torch.var_mean(x, dim=(2, 3), correction=0, keepdim=True)
    factor = torch.rsqrt(var + EPSILON) * scale[:, :, None, None]
    return torch.addcmul(shift[:, :, None, None], x - mean, factor)


class EqualizedLinear(Linear):
    """A linear layer whose weights are drawn from N(0, 1) and scaled when used.

    Adam moves all weights at one rate; so every layer learns at a rate of its own scale (Karras et
    al. 2018, "Progressive growing of GANs", section 4.1).

    Args:
        n_in: Number of inputs.
        n_out: Number of outputs.
        gain: Deviation of an output at the start, for independent inputs of deviation 1.
        start: What the constants start from.
        lr_multiplier: Factor on the rate of learning.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        gain: float = HE_GAIN,
        start: float = 0.0,
        lr_multiplier: float = 1.0,
    ) -> None:
        self.start, self.lr_multiplier = start, lr_multiplier
        super().__init__(n_in, n_out, gain=gain)

    def draw_weights(self, generator: torch.Generator) -> None:
        """Fills the weights."""
        _draw_equalized(self, generator, self.start, self.lr_multiplier)

    def forward(self, x: Tensor) -> Tensor:
        """Maps `(n, n_in)` to `(n, n_out)`."""
        scale = self.gain * self.lr_multiplier / math.sqrt(self.fan_in)
        return F.linear(x, self.weight * scale, self.bias * self.lr_multiplier)


class EqualizedConv2d(Conv2d):
    """A convolution that keeps the size, with weights as in `EqualizedLinear`.

    Args:
        n_in: Number of input channels.
        n_out: Number of output channels.
        kernel: Height and width of the kernel, odd.
        gain: As for `EqualizedLinear`.
    """

    def __init__(self, n_in: int, n_out: int, kernel: int, *, gain: float = HE_GAIN) -> None:
        super().__init__(n_in, n_out, kernel, gain=gain, padding=kernel // 2)

    def draw_weights(self, generator: torch.Generator) -> None:
        """Fills the weights."""
        _draw_equalized(self, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Maps `(n, n_in, h, w)` to `(n, n_out, h, w)`."""
        scale = self.gain / math.sqrt(self.fan_in)
        return F.conv2d(x, self.weight * scale, self.bias, padding=self.padding)


def _draw_equalized(
    layer: nn.Linear | nn.Conv2d,
    generator: torch.Generator,
    start: float = 0.0,
    lr_multiplier: float = 1.0,
) -> None:
    shape = tuple(layer.weight.shape)
    layer.weight.copy_(normal(shape, generator, device=layer.weight.device) / lr_multiplier)
    if layer.bias is not None:
        layer.bias.fill_(start / lr_multiplier)


class LearnedConstant(Drawn, nn.Module):
    """The learned input of the synthesis network, `(1, c, h, w)`.

    It starts from N(0, 1), not from ones as in the paper: normalizing a flat map is no sound start.
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.empty(1, channels, height, width))

    def draw_weights(self, generator: torch.Generator) -> None:
        """Fills the constant."""
        self.value.copy_(normal(tuple(self.value.shape), generator, device=self.value.device))


class Mapping(nn.Module):
    """The mapping network f: z to w (section 2), with z normalized to a mean square of 1.

    Args:
        n_latent: Size of z.
        n_style: Size of w.
        n_layers: Number of layers.
        n_condition: Size of a condition, which enters beside z as n_latent linear functions of it.
        lr_multiplier: Factor on the layers' rate of learning.
    """

    def __init__(
        self, n_latent: int, n_style: int, n_layers: int, n_condition: int, lr_multiplier: float
    ) -> None:
        super().__init__()
        self.embed = EqualizedLinear(n_condition, n_latent, gain=1.0) if n_condition else None
        widths = [n_latent * (2 if n_condition else 1), *[n_style] * n_layers]
        self.layers = nn.ModuleList(
            EqualizedLinear(a, b, lr_multiplier=lr_multiplier) for a, b in pairwise(widths)
        )

    def forward(self, z: Tensor, condition: Tensor | None) -> Tensor:
        """Maps `(n, n_latent)` to `(n, n_style)`."""
        if self.embed is not None:
            z = torch.cat((z, self.embed(condition)), dim=1)
        w = z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + EPSILON)
        for layer in self.layers:
            w = F.leaky_relu(layer(w), LEAKY_SLOPE)
        return w


class StyleLayer(nn.Module):
    """One layer of the synthesis network: convolution, noise, leaky ReLU, AdaIN (figure 1b).

    Args:
        n_in: Number of input channels; 0 for the first layer, which has no convolution.
        n_out: Number of output channels.
        n_style: Size of w.
        upsample: Whether the size is doubled first.
    """

    def __init__(self, n_in: int, n_out: int, n_style: int, *, upsample: bool) -> None:
        super().__init__()
        self.upsample = upsample
        self.conv = EqualizedConv2d(n_in, n_out, 3) if n_in else None
        self.noise_weight = nn.Parameter(torch.zeros(n_out))
        # A style starts near the deviation 1 and the mean 0.
        self.scale = EqualizedLinear(n_style, n_out, gain=1.0, start=1.0)
        self.shift = EqualizedLinear(n_style, n_out, gain=1.0)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        """Maps `(n, n_in, h, w)`, given w `(n, n_style)` and noise `(n, 1, h, w)`."""
        if self.upsample:
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        if self.conv is not None:
            x = self.conv(x)
        x = torch.addcmul(x, noise, self.noise_weight[:, None, None])
        return adain(F.leaky_relu(x, LEAKY_SLOPE), self.scale(w), self.shift(w))


class StyleGenerator(nn.Module):
    """Mapping and synthesis in one network, all whose random inputs stand in one row.

    A row is z (n_latent), then, where styles are mixed, a second z and the number of layers that
    the first one decides (1), then noise (n_noise).

    Args:
        mapping: The mapping network.
        n_latent: Size of z.
        n_style: Size of w.
        shape: Of an image, `(c, h, w)`.
        start_size: Largest height or width of the constant; it is doubled up to the image's size
            or beyond, and then cropped.
        channels: At the image's size; coarser sizes have two, four and at most eight times as many.
        output: Name in `ACTIVATIONS` for the output.

    Attributes:
        n_layers: Number of layers that take a style, two per size.
        n_noise: Numbers of noise in an image.
        mean_w: Running mean of w, `(n_style,)`; divide it by `mean_weight`, which tends to 1.
    """

    mean_w: Tensor
    mean_weight: Tensor

    def __init__(
        self,
        mapping: Mapping,
        n_latent: int,
        n_style: int,
        shape: Sequence[int],
        start_size: int,
        channels: int,
        output: str = "linear",
    ) -> None:
        super().__init__()
        n_images, self.height, self.width = shape
        self.output_activation = ACTIVATIONS[output]
        self.n_latent, self.n_style = n_latent, n_style
        sizes = doublings(self.height, self.width, start_size)
        wide = widths(channels, len(sizes))
        self.mapping = mapping
        self.constant = LearnedConstant(wide[0], *sizes[0])
        self.layers = nn.ModuleList()
        for i, n_out in enumerate(wide):
            n_in = wide[i - 1] if i else 0
            self.layers.append(StyleLayer(n_in, n_out, n_style, upsample=i > 0))
            self.layers.append(StyleLayer(n_out, n_out, n_style, upsample=False))
        self.to_image = EqualizedConv2d(wide[-1], n_images, 1, gain=1.0)
        self.noise_sizes = [size for size in sizes for _ in range(2)]
        self.n_layers = len(self.layers)
        self.n_noise = sum(h * w for h, w in self.noise_sizes)
        self.register_buffer("mean_w", torch.zeros(n_style))
        self.register_buffer("mean_weight", torch.zeros(()))

    def forward(self, row: Tensor, condition: Tensor | None = None) -> Tensor:
        """Maps rows of random inputs (see the class) to flat images `(n, c h w)`."""
        w = self.styles(row, condition)
        return self.synthesize(w, row[:, row.shape[1] - self.n_noise :])

    def styles(self, row: Tensor, condition: Tensor | None) -> Tensor:
        """The style of every layer, `(n, n_layers, n_style)`; in training its mean is recorded."""
        n = self.n_latent
        w = self.mapping(row[:, :n], condition)
        if self.training:
            self.record(w.detach())
        styles = w[:, None].expand(-1, self.n_layers, -1)
        if row.shape[1] == n + self.n_noise:
            return styles
        other = self.mapping(row[:, n : 2 * n], condition)
        layer = torch.arange(self.n_layers, device=row.device)
        return torch.where((layer < row[:, 2 * n, None])[:, :, None], styles, other[:, None])

    def record(self, w: Tensor) -> None:
        """Moves the running mean towards the mean of `(n, n_style)`."""
        self.mean_w.lerp_(w.mean(dim=0).to(self.mean_w.dtype), 1 - MEAN_DECAY)
        self.mean_weight.lerp_(torch.ones_like(self.mean_weight), 1 - MEAN_DECAY)

    @property
    def centre(self) -> Tensor:
        """The mean of w so far, `(n_style,)`."""
        mean: Tensor = self.mean_w / self.mean_weight.clamp_min(EPSILON)
        return mean

    def synthesize(self, w: Tensor, noise: Tensor) -> Tensor:
        """The synthesis network g.

        Args:
            w: Styles, `(n, n_layers, n_style)`.
            noise: `(n, n_noise)`.

        Returns:
            Flat images `(n, c h w)`.
        """
        # The same numbers in memory the same way: a layer's product then has the same last bits
        # whatever the styles of the other layers.
        w = w.contiguous()
        x = self.constant.value.expand(w.shape[0], -1, -1, -1)
        parts = noise.split([h * w for h, w in self.noise_sizes], dim=1)
        for i, (layer, size) in enumerate(zip(self.layers, self.noise_sizes, strict=True)):
            x = layer(x, w[:, i], parts[i].unflatten(1, (1, *size)))
        image = crop(self.to_image(x), self.height, self.width)
        return self.output_activation(image).flatten(1)


class StyleDiscriminator(nn.Module):
    """The discriminator: convolutions, with the size halved until it is small (appendix C).

    A condition enters by projection (Miyato and Koyama 2018, eq. 3).

    Args:
        shape: Of an image, `(c, h, w)`.
        start_size: Largest height or width at the end.
        channels: As for the generator.
        n_condition: Size of a condition, 0 for none.
    """

    def __init__(
        self, shape: Sequence[int], start_size: int, channels: int, n_condition: int
    ) -> None:
        super().__init__()
        n_images, self.height, self.width = shape
        sizes = doublings(self.height, self.width, start_size)
        wide = widths(channels, len(sizes))[::-1]
        self.shape, self.sizes = tuple(shape), sizes
        self.from_image = EqualizedConv2d(n_images, wide[0], 1)
        self.convs = nn.ModuleList()
        for n_in, n_out in zip(wide, [*wide[1:], wide[-1]], strict=True):
            self.convs.append(EqualizedConv2d(n_in, n_in, 3))
            self.convs.append(EqualizedConv2d(n_in, n_out, 3))
        self.hidden = EqualizedLinear(wide[-1] * math.prod(sizes[0]), wide[-1])
        self.output = EqualizedLinear(wide[-1], 1, gain=1.0)
        self.project = EqualizedLinear(n_condition, wide[-1], gain=1.0) if n_condition else None

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Logits `(n, 1)` of flat images `(n, c h w)`."""
        x = x.reshape(-1, *self.shape)
        height, width = self.sizes[-1]
        above, left = (height - self.height) // 2, (width - self.width) // 2
        x = F.pad(x, (left, width - self.width - left, above, height - self.height - above))
        x = F.leaky_relu(self.from_image(x), LEAKY_SLOPE)
        for i, conv in enumerate(self.convs):
            x = F.leaky_relu(conv(x), LEAKY_SLOPE)
            if i % 2 and i + 1 < len(self.convs):
                x = F.avg_pool2d(x, 2)
        h = F.leaky_relu(self.hidden(x.flatten(1)), LEAKY_SLOPE)
        logits: Tensor = self.output(h)
        if self.project is not None:
            inner = (self.project(condition) * h).sum(dim=1, keepdim=True)
            logits = logits + inner / math.sqrt(h.shape[1])
        return logits


def doublings(height: int, width: int, start_size: int) -> list[tuple[int, int]]:
    """Sizes that double from at most start_size until an image of a size fits, coarsest first.

    28 x 28 from 4: 4, 8, 16, 32; from 7: 7, 14, 28.
    """
    n = max(0, math.ceil(math.log2(max(height, width) / start_size)))
    first = (-(-height // 2**n), -(-width // 2**n))
    return [(first[0] * 2**i, first[1] * 2**i) for i in range(n + 1)]


def widths(channels: int, n_sizes: int) -> list[int]:
    """Channels at every size, the coarsest first: doubled towards it, up to `WIDEST` times."""
    return [channels * min(WIDEST, 2**i) for i in range(n_sizes)][::-1]


def crop(x: Tensor, height: int, width: int) -> Tensor:
    """The middle of images `(n, c, h, w)`."""
    above, left = (x.shape[2] - height) // 2, (x.shape[3] - width) // 2
    return x[:, :, above : above + height, left : left + width]
