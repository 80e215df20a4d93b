"""Convolutional encoders and decoders of images, with the interface of a perceptron: rows to rows.

An encoder halves the picture once per stage and ends in a dense layer; a decoder is its mirror
image. Pictures may have any size and any number of channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from evogen.models.checks import check_choice, check_number, check_widths
from evogen.models.layers import Conv2d, ConvTranspose2d, Linear
from evogen.models.networks import ACTIVATIONS, MLP

Architecture = Literal["auto", "mlp", "conv"]
Shape = tuple[int, ...]

SMALLEST = 4
"""Least height and width of a picture that is worth a convolution."""


def check_architecture(architecture: object, channels: object) -> None:
    """Raises TypeError or ValueError for parameters of these names that cannot be right."""
    check_choice("architecture", architecture, ("auto", "mlp", "conv"))
    check_widths("channels", channels)
    assert isinstance(channels, Sequence)
    check_number("number of stages in channels", len(channels), low=1, high=16)


def use_convolutions(architecture: Architecture, shape: Shape, channels: Sequence[int]) -> bool:
    """Whether items of a shape are looked at by convolutions.

    Args:
        architecture: "conv"; "mlp"; or "auto", which convolves images that are large enough.
        shape: Of an item: `(d,)` or `(c, h, w)`.
        channels: Width of every stage.

    Raises:
        ValueError: "conv" was asked for, and the items are no images, or are smaller than 4 x 4 or
            than the stages need.
    """
    least = max(SMALLEST, 2 ** len(channels))
    large = len(shape) == 3 and min(shape[1:]) >= least
    if architecture == "conv" and not large:
        raise ValueError(
            f"architecture='conv' with {len(channels)} stages needs images (n, c, h, w) of at "
            f"least {least} x {least} pixels; got items of shape {tuple(shape)}"
        )
    return large and architecture != "mlp"


def stage_sizes(shape: Shape, n_stages: int) -> list[tuple[int, int]]:
    """Height and width before the first stage and after each: halves, rounded down."""
    return [(shape[1] >> i, shape[2] >> i) for i in range(n_stages + 1)]


def group_norm(width: int) -> nn.GroupNorm:
    """Group normalization (Wu and He 2018) of up to eight groups of four channels or more.

    In smaller groups nothing would be left of a picture of one pixel.
    """
    n_groups = next(k for k in (8, 4, 2, 1) if width % k == 0 and (width >= 4 * k or k == 1))
    return nn.GroupNorm(n_groups, width)


def planes(condition: Tensor, size: tuple[int, int]) -> Tensor:
    """A condition `(n, c)` as constant pictures `(n, c, h, w)`."""
    return condition[:, :, None, None].expand(-1, -1, *size)


def encoder_decoder(
    shape: Shape,
    n_encoded: int,
    n_code: int,
    *,
    architecture: Architecture = "auto",
    channels: Sequence[int] = (32, 64),
    hidden: Sequence[int] = (64, 64),
    activation: str = "silu",
    n_condition: int = 0,
) -> tuple[nn.Module, nn.Module]:
    """An encoder of rows `(n, d)` and a decoder to them, both also called with the condition.

    Args:
        shape: Of an item: `(d,)` or `(c, h, w)`.
        n_encoded: Number of outputs of the encoder.
        n_code: Number of inputs of the decoder.
        architecture: See `use_convolutions`.
        channels: Width of every stage of convolutions.
        hidden: Widths of the hidden layers of perceptrons, in the decoder reversed.
        activation: Name in `ACTIVATIONS`.
        n_condition: Number of condition inputs, 0 for none.

    Raises:
        ValueError: As `use_convolutions`.
    """
    if use_convolutions(architecture, shape, channels):
        return (
            ConvEncoder(
                shape, n_encoded, channels=channels, activation=activation, n_condition=n_condition
            ),
            ConvDecoder(
                n_code, shape, channels=channels, activation=activation, n_condition=n_condition
            ),
        )
    d, backwards = math.prod(shape), tuple(reversed(hidden))
    return (
        MLP(d, n_encoded, hidden=hidden, activation=activation, n_condition=n_condition),
        MLP(n_code, d, hidden=backwards, activation=activation, n_condition=n_condition),
    )


class ResidualBlock(nn.Module):
    """x + W2 act(W1 act(x)) with 3 x 3 and 1 x 1 convolutions, W2 starting at 0.

    Args:
        width: Number of channels.
        activation: Name in `ACTIVATIONS`.
    """

    def __init__(self, width: int, activation: str) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.first = Conv2d(width, width, 3, padding=1)
        self.second = Conv2d(width, width, 1, gain=0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Maps `(n, width, h, w)` to the same shape."""
        return x + self.second(self.activation(self.first(self.activation(x))))


class DownStages(nn.Module):
    """Strided convolutions: `(n, c, h, w)` to `(n, channels[-1], h / 2^k, w / 2^k)` in k stages.

    Args:
        n_in: Number of channels of the picture.
        channels: Width of every stage.
        activation: Name in `ACTIVATIONS`, after every stage.
        norm: Whether every stage is group-normalized.
        n_blocks: Residual blocks after every stage.
    """

    def __init__(
        self,
        n_in: int,
        channels: Sequence[int],
        *,
        activation: str = "silu",
        norm: bool = True,
        n_blocks: int = 0,
    ) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.convolutions = nn.ModuleList(
            Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise((n_in, *channels))
        )
        self.norms = nn.ModuleList(group_norm(width) for width in channels if norm)
        self.blocks = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(width, activation) for _ in range(n_blocks)))
            for width in channels
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps a picture to the features of the last stage."""
        for i, (convolution, blocks) in enumerate(zip(self.convolutions, self.blocks, strict=True)):
            x = convolution(x)
            x = self.norms[i](x) if self.norms else x
            x = blocks(self.activation(x))
        return x


class UpStages(nn.Module):
    """The mirror image of `DownStages`, by transposed convolutions; the last one is linear.

    Args:
        shape: `(c, h, w)` of the picture.
        channels: Widths as in `DownStages`: the last one is that of the input here.
        activation: Name in `ACTIVATIONS`, after every stage but the last.
        norm: Whether these are group-normalized.
        n_blocks: Residual blocks before every stage.
    """

    def __init__(
        self,
        shape: Shape,
        channels: Sequence[int],
        *,
        activation: str = "silu",
        norm: bool = True,
        n_blocks: int = 0,
    ) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        sizes = stage_sizes(shape, len(channels))
        widths = (shape[0], *channels)
        backwards = range(len(channels) - 1, -1, -1)
        self.convolutions = nn.ModuleList(
            ConvTranspose2d(
                widths[i + 1],
                widths[i],
                4,
                stride=2,
                padding=1,
                # What halving lost: the last row or column of an odd size.
                output_padding=(sizes[i][0] % 2, sizes[i][1] % 2),
            )
            for i in backwards
        )
        self.norms = nn.ModuleList(group_norm(widths[i]) for i in backwards if norm and i > 0)
        self.blocks = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(widths[i + 1], activation) for _ in range(n_blocks)))
            for i in backwards
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps features `(n, channels[-1], ...)` to a picture `(n, c, h, w)`."""
        last = len(self.convolutions) - 1
        for i, (convolution, blocks) in enumerate(zip(self.convolutions, self.blocks, strict=True)):
            x = convolution(blocks(x))
            if i < last:
                x = self.activation(self.norms[i](x) if self.norms else x)
        return x


class ConvEncoder(nn.Module):
    """Rows of pictures `(n, c h w)` to `(n, n_out)`; the condition joins as constant pictures.

    Args:
        shape: `(c, h, w)` of a picture.
        n_out: Number of outputs.
        channels: Width of every stage; see `DownStages`.
        activation: Name in `ACTIVATIONS`.
        norm: Whether every stage is group-normalized.
        n_blocks: Residual blocks after every stage.
        n_condition: Number of condition inputs, 0 for none.
    """

    def __init__(
        self,
        shape: Shape,
        n_out: int,
        *,
        channels: Sequence[int] = (32, 64),
        activation: str = "silu",
        norm: bool = True,
        n_blocks: int = 0,
        n_condition: int = 0,
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.stages = DownStages(
            shape[0] + n_condition, channels, activation=activation, norm=norm, n_blocks=n_blocks
        )
        size = stage_sizes(shape, len(channels))[-1]
        n_features = channels[-1] * math.prod(size)
        self.head = Linear(n_features, n_out)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Maps `(n, c h w)`, with a condition `(n, n_condition)` if there is one."""
        picture = x.view(-1, *self.shape)
        if condition is not None:
            picture = torch.cat(
                (picture, planes(condition, (picture.shape[2], picture.shape[3]))), dim=1
            )
        return self.head(self.stages(picture).flatten(1))


class ConvDecoder(nn.Module):
    """Codes `(n, n_in)` to rows of pictures `(n, c h w)`; arguments as for `ConvEncoder`.

    Args:
        n_in: Size of a code.
        shape: `(c, h, w)` of a picture.
        channels: As in the encoder: the last one is the width of the first stage here.
        activation: Name in `ACTIVATIONS`.
        norm: Whether stages are group-normalized.
        n_blocks: Residual blocks before every stage.
        n_condition: Number of condition inputs, appended to the code; 0 for none.
    """

    def __init__(
        self,
        n_in: int,
        shape: Shape,
        *,
        channels: Sequence[int] = (32, 64),
        activation: str = "silu",
        norm: bool = True,
        n_blocks: int = 0,
        n_condition: int = 0,
    ) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.inner = (channels[-1], *stage_sizes(shape, len(channels))[-1])
        self.head = Linear(n_in + n_condition, math.prod(self.inner))
        self.stages = UpStages(shape, channels, activation=activation, norm=norm, n_blocks=n_blocks)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Maps `(n, n_in)`, with a condition `(n, n_condition)` if there is one."""
        z = z if condition is None else torch.cat((z, condition), dim=1)
        features = self.activation(self.head(z)).view(-1, *self.inner)
        return self.stages(features).flatten(1)
