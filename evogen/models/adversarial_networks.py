"""Parts of adversarial models: convolutional networks, spectral normalization, packs, a prior.

All networks take and give flat rows, so that the losses need not know whether these are pictures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evogen.models.layers import Conv2d, ConvTranspose2d, Drawn, Linear
from evogen.models.networks import ACTIVATIONS, Norm
from evogen.models.rng import normal

SMALLEST_IMAGE = 4
"""Images with a shorter side than this many pixels are too small for the strided networks."""

WIDEST = 8
"""No layer has more than this many times the channels of the layer next to the picture."""


class NormalStart(Drawn):
    """A layer whose weights start as N(0, std^2) and its constants as 0, where a std is given.

    Attributes:
        std: Standard deviation; None for the rule of `Drawn`.
    """

    std: float | None = None

    def draw_weights(self, generator: torch.Generator) -> None:
        """Fills the weights."""
        if self.std is None:
            super().draw_weights(generator)
            return
        for weight in self.parameters(recurse=False):  # type: ignore[attr-defined]
            if weight.ndim == 1:
                weight.zero_()
            else:
                drawn = normal(tuple(weight.shape), generator, device=weight.device)
                weight.copy_(self.std * drawn)


class _Linear(NormalStart, Linear):
    pass


class _Conv2d(NormalStart, Conv2d):
    pass


class _ConvTranspose2d(NormalStart, ConvTranspose2d):
    pass


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalization that also takes one number per channel (with running statistics)."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalizes `(n, c, h, w)`."""
        training = self.training and x.shape[0] * x.shape[2] * x.shape[3] > 1
        momentum = 0.1 if self.momentum is None else self.momentum
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training,
            momentum,
            self.eps,
        )


def norm_2d(norm: Norm | None, channels: int) -> nn.Module:
    """The normalization of images of a name; "layer" is over all channels and places."""
    if norm is None:
        return nn.Identity()
    return BatchNorm2d(channels) if norm == "batch" else nn.GroupNorm(1, channels)


def is_picture(shape: Sequence[int]) -> bool:
    """Whether items of a shape are images large enough for the networks here."""
    return len(shape) == 3 and min(shape[1:]) >= SMALLEST_IMAGE


def packs_of(x: Tensor, size: int) -> Tensor:
    """Joins every `size` rows that follow one another: `(n, d)` to `(n // size, size * d)`.

    Rows that are left over are not used; too few for one pack are repeated.
    """
    if len(x) < size:
        x = x.repeat(-(-size // len(x)), 1)
    n = len(x) // size
    return x[: n * size].reshape(n, -1)


def halvings(height: int, width: int) -> list[tuple[int, int]]:
    """Sizes of a picture halved (rounded up) as long as no side is below `SMALLEST_IMAGE`."""
    sizes = [(height, width)]
    while min(sizes[-1]) >= SMALLEST_IMAGE:
        h, w = sizes[-1]
        sizes.append(((h + 1) // 2, (w + 1) // 2))
    return sizes


def start_normal(module: nn.Module, std: float) -> None:
    """Lets the convolutional networks' layers inside a module start with N(0, std^2) weights."""
    for layer in module.modules():
        if isinstance(layer, NormalStart):
            layer.std = std


class ConvGenerator(nn.Module):
    """Strided transposed convolutions from a vector to a picture (Radford et al. 2016, fig. 1).

    A linear layer makes a picture of 2 or 3 pixels a side; every further layer doubles the sides,
    with a kernel of 4 and half the channels, and the last gives the picture.

    Args:
        n_in: Size of the vector z.
        shape: Shape `(c, h, w)` of the picture, h and w at least `SMALLEST_IMAGE`.
        channels: Channels of the layer next to the picture; the layers before it have twice, four
            and at most eight times as many.
        activation: Name in `ACTIVATIONS` for the hidden layers.
        output: Name in `ACTIVATIONS` for the output.
        norm: Normalization between a hidden layer and its activation.
        n_condition: Number of condition inputs, which are appended to z; 0 for none.
    """

    def __init__(
        self,
        n_in: int,
        shape: Sequence[int],
        *,
        channels: int = 32,
        activation: str = "relu",
        output: str = "linear",
        norm: Norm | None = "batch",
        n_condition: int = 0,
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.activation, self.output_activation = ACTIVATIONS[activation], ACTIVATIONS[output]
        self.sizes = halvings(self.shape[1], self.shape[2])[::-1]
        depth = len(self.sizes) - 1
        widths = [channels * min(WIDEST, 2**i) for i in range(depth)][::-1]
        h, w = self.sizes[0]
        self.input = _Linear(n_in + n_condition, widths[0] * h * w)
        self.norms = nn.ModuleList(norm_2d(norm, width) for width in widths)
        outs = [*widths[1:], self.shape[0]]
        self.layers = nn.ModuleList(
            _ConvTranspose2d(a, b, 4, stride=2, padding=1)
            for a, b in zip(widths, outs, strict=True)
        )

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Rows `(n, c * h * w)` of vectors `(n, n_in)` and conditions `(n, n_condition)`."""
        if condition is not None:
            z = torch.cat((z, condition), dim=1)
        x = self.input(z).unflatten(1, (-1, *self.sizes[0]))
        for norm, layer, (h, w) in zip(self.norms, self.layers, self.sizes[1:], strict=True):
            # A side that was rounded up on the way down is one too long on the way up.
            x = layer(self.activation(norm(x)))[:, :, :h, :w]
        return self.output_activation(x).flatten(1)


class ConvDiscriminator(nn.Module):
    """Strided convolutions from a picture to numbers (Radford et al. 2016, section 3).

    Every layer halves the sides, with a kernel of 4 and twice the channels; a linear layer reads
    the last picture. A condition enters by projection (Miyato and Koyama 2018, eq. 3): a linear
    map of it, multiplied by the features that the last layer reads.

    Args:
        shape: Shape `(c, h, w)` of the picture, h and w at least `SMALLEST_IMAGE`.
        n_out: Number of outputs.
        channels: Channels of the first layer; the next ones have twice, four and at most eight
            times as many.
        activation: Name in `ACTIVATIONS`.
        norm: Normalization between a layer and its activation; not after the first one.
        n_condition: Number of condition inputs, 0 for none; with one output only.
    """

    def __init__(
        self,
        shape: Sequence[int],
        n_out: int = 1,
        *,
        channels: int = 32,
        activation: str = "leaky_relu",
        norm: Norm | None = None,
        n_condition: int = 0,
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.activation = ACTIVATIONS[activation]
        sizes = halvings(self.shape[1], self.shape[2])
        widths = [channels * min(WIDEST, 2**i) for i in range(len(sizes) - 1)]
        self.layers = nn.ModuleList(
            _Conv2d(a, b, 4, stride=2, padding=1)
            for a, b in zip([self.shape[0], *widths[:-1]], widths, strict=True)
        )
        self.norms = nn.ModuleList(
            norm_2d(norm if i else None, width) for i, width in enumerate(widths)
        )
        h, w = self.shape[1:]
        for _ in widths:
            h, w = h // 2, w // 2
        n_features = widths[-1] * h * w
        self.output = _Linear(n_features, n_out)
        self.projection: nn.Module | None = None
        if n_condition:
            gain = math.sqrt(n_condition / n_features)
            self.projection = _Linear(n_condition, n_features, gain=gain, bias=False)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Numbers `(n, n_out)` of rows `(n, c * h * w)` and conditions `(n, n_condition)`."""
        x = x.view(-1, *self.shape)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = self.activation(norm(layer(x)))
        x = x.flatten(1)
        y = self.output(x)
        if condition is not None and self.projection is not None:
            y = y + (self.projection(condition) * x).sum(dim=1, keepdim=True)
        return y


class SpectralNorm(Drawn, nn.Module):
    """A linear or convolutional layer whose matrix is divided by its largest singular value.

    That value s = u^T W v is followed by one step of power iteration per training pass
    (Miyato et al. 2018, algorithm 1); a convolution's matrix has one row per output channel.
    torch's own parametrization draws its first vector from the global generator.

    Args:
        layer: The layer.

    Attributes:
        u: The present left singular vector, `(n_out,)`.
    """

    u: Tensor

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("u", torch.ones(layer.weight.shape[0]))

    def draw_weights(self, generator: torch.Generator) -> None:
        """Fills the first singular vector; the layer's own weights are filled with the layer."""
        drawn = normal(tuple(self.u.shape), generator, device=self.u.device)
        self.u.copy_(F.normalize(drawn, dim=0))

    def weight(self) -> Tensor:
        """The layer's weight with largest singular value 1, about; moves u on in training."""
        matrix = self.layer.weight.flatten(1)
        with torch.no_grad():
            v = F.normalize(matrix.t().mv(self.u), dim=0)
            # A new tensor: autograd of an earlier pass may still need the old one.
            u = F.normalize(matrix.mv(v), dim=0)
            if self.training:
                self.u.copy_(u)
        # Only a matrix of zeros has norm 0, and stays one.
        return self.layer.weight / torch.dot(u, matrix.mv(v)).clamp(min=1e-12)

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output."""
        if isinstance(self.layer, nn.Linear):
            return F.linear(x, self.weight(), self.layer.bias)
        layer = self.layer
        return F.conv2d(
            x, self.weight(), layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups
        )


def spectrally_normalized(module: nn.Module) -> nn.Module:
    """Puts `SpectralNorm` around every linear layer and convolution inside a module, in place."""
    for name, child in module.named_children():
        if isinstance(child, (nn.Linear, nn.Conv2d)):
            setattr(module, name, SpectralNorm(child))
        else:
            spectrally_normalized(child)
    return module


def gaussian_of(x: Tensor) -> dict[str, Tensor]:
    """Mean `(d,)` of rows `(n, d)`, and a root R `(r, d)` of their covariance R^T R.

    The root has rank at most r = min(n, d): few rows make it cheap, whatever d.
    """
    mean = x.mean(dim=0)
    root = (x - mean) / max(1, x.shape[0] - 1) ** 0.5
    if x.shape[0] > x.shape[1]:
        root = torch.linalg.qr(root, mode="r").R
    return {"prior_mean": mean, "prior_root": root}
