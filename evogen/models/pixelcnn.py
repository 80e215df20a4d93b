"""Gated PixelCNN: a pixel given all those before it, by masked convolutions.

Papers: van den Oord, Kalchbrenner, Kavukcuoglu 2016, "Pixel recurrent neural networks" [1];
van den Oord et al. 2016, "Conditional image generation with PixelCNN decoders" [2].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evogen.models.checks import check_number
from evogen.models.layers import Conv2d, Linear
from evogen.models.pixels import MaskedConv, PixelInput, PixelModel, PixelNetwork, PixelOutput
from evogen.models.serialization import register


def gate(x: Tensor) -> Tensor:
    """tanh(a) sigmoid(b) of the halves a, b of the features `(n, 2 p, h, w)` ([2], equation 2)."""
    a, b = x.chunk(2, dim=1)
    return torch.tanh(a) * torch.sigmoid(b)


class GatedLayer(nn.Module):
    """A layer of two stacks ([2], figure 2): v sees the rows above, h also the pixels to the left.

    h is followed by a residual connection where the sizes allow one; v has none, as in the paper.

    Args:
        n_v: Number of input features of the stack v.
        n_h: Number of input features of the stack h.
        width: Number p of output features of both.
        kernel: Odd size of the convolutions before they are masked.
        n_channels: Channels of the image.
        kind: Mask of h; "A" in the first layer, whose input is the image.
        n_condition: Size of the condition, 0 for none.
    """

    def __init__(
        self,
        n_v: int,
        n_h: int,
        width: int,
        *,
        kernel: int,
        n_channels: int,
        kind: Literal["A", "B"],
        n_condition: int,
    ) -> None:
        super().__init__()
        self.reach = kernel // 2
        # Rows: the present one of v, which is about the row above, and those before it.
        self.vertical = Conv2d(n_v, 2 * width, (self.reach + 1, kernel))
        self.horizontal = MaskedConv(n_h, 2 * width, self.reach + 1, n_channels, kind, parts=2)
        self.link = Conv2d(2 * width, 2 * width, 1)
        self.output = MaskedConv(width, width, 1, n_channels, "B")
        self.condition = Linear(n_condition, 4 * width, bias=False) if n_condition else None
        # The image itself must not pass.
        self.residual = kind == "B" and n_h == width

    def down(self, v: Tensor) -> Tensor:
        """Before the gate of v: `(n, n_v, r + rows, w)`, r rows above included, to `(.., w)`."""
        v = F.pad(v, (self.reach, self.reach))
        return self.vertical(v.contiguous(memory_format=torch.channels_last))

    def right(self, h: Tensor, v: Tensor, shift: Tensor, kept: Tensor | float) -> Tensor:
        """The new h: of `(n, n_h, rows, r + cols)`, r pixels to the left included.

        Args:
            h: Features of the layer below.
            v: What `down` gave, `(n, 2 p, rows, cols)`.
            shift: What is added before the gate.
            kept: Factors of dropout.
        """
        last = h.contiguous(memory_format=torch.channels_last)
        new = self.output(gate(self.horizontal(last) + self.link(v) + shift) * kept)
        return new + h[..., self.reach :] if self.residual else new


class GatedPixelCNN(PixelNetwork):
    """The network of `PixelCNN`, whose arguments it takes; the image is `(c, h, w)`."""

    def __init__(
        self,
        shape: Sequence[int],
        n_levels: int,
        *,
        width: int,
        n_layers: int,
        kernel: int,
        first_kernel: int,
        embedding_dim: int,
        n_condition: int,
    ) -> None:
        super().__init__()
        c, h, w = shape
        self.shape = (c, h, w)
        self.dropout_shape = (n_layers, width, h, w)
        self.input = PixelInput(c, n_levels, embedding_dim)
        sizes = [self.input.n_out] + [width] * n_layers
        # Where a pixel stands; convolutions alone know it from the padding only.
        self.place = nn.Parameter(torch.zeros(4 * width, h, w))
        self.layers = nn.ModuleList(
            GatedLayer(
                sizes[i],
                sizes[i],
                width,
                kernel=kernel if i else first_kernel,
                n_channels=c,
                kind="B" if i else "A",
                n_condition=n_condition,
            )
            for i in range(n_layers)
        )
        self.output = PixelOutput(width, c, n_levels)

    def gated_layers(self, condition: Tensor | None) -> list[tuple[GatedLayer, Tensor, Tensor]]:
        """The layers with what is added before the gates of v and h, `(n or 1, 2 p, h, w)`."""
        found = []
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, GatedLayer)
            shift = self.place[None] if i == 0 else torch.zeros_like(self.place[None])
            if layer.condition is not None:
                shift = shift + layer.condition(condition)[:, :, None, None]
            of_v, of_h = shift.chunk(2, dim=1)
            found.append((layer, of_v, of_h))
        return found

    def logits(
        self, features: Tensor, condition: Tensor | None, kept: Tensor | None = None
    ) -> Tensor:
        """See `PixelNetwork.logits`."""
        h = features
        # v at a row is about the rows above, so the image enters one row further down.
        v = F.pad(features, (0, 0, 1, 0))[:, :, :-1]
        for i, (layer, shift_v, shift_h) in enumerate(self.gated_layers(condition)):
            r = layer.reach
            v = layer.down(F.pad(v, (0, 0, r, 0))) + shift_v
            h = layer.right(F.pad(h, (r, 0)), v, shift_h, 1.0 if kept is None else kept[:, i])
            v = gate(v)
        return self.output(h)

    def scan(self, levels: Tensor, condition: Tensor | None) -> Iterator[tuple[Any, Tensor]]:
        """See `PixelNetwork.scan`.

        Every feature is computed once and kept, rows of v at a time and pixels of h (as in
        Ramachandran et al. 2017, "Fast generation for convolutional autoregressive models"): all
        pixels together cost about what one call of `logits` costs.
        """
        n, (c, height, width) = len(levels), self.shape
        layers = self.gated_layers(condition)

        def slots(size: int, row: int, column: int) -> Tensor:
            return levels.new_zeros(n, size, row, column, dtype=self.place.dtype)

        # The rows of v that the next row of each layer needs, and the row of h with its padding.
        above = [slots(layer.vertical.in_channels, layer.reach + 1, width) for layer, *_ in layers]
        for i in range(height):
            links = []
            v = self.input(levels[:, :, i - 1 : i]) if i else slots(self.input.n_out, 1, width)
            for k, (layer, shift_v, _) in enumerate(layers):
                above[k] = torch.cat((above[k][:, :, 1:], v), dim=2)
                v = layer.down(above[k]) + shift_v[:, :, i : i + 1]
                links.append(v)
                v = gate(v)
            rows = [
                slots(layer.horizontal.in_channels, 1, layer.reach + width) for layer, *_ in layers
            ]
            for j in range(width):
                for channel in range(c):
                    h = self.input(levels[:, :, i : i + 1, j : j + 1])
                    for k, (layer, _, shift_h) in enumerate(layers):
                        r = layer.reach
                        rows[k][..., r + j : r + j + 1] = h
                        part = rows[k][..., j : j + r + 1]
                        link = links[k][..., j : j + 1]
                        shift = shift_h[:, :, i : i + 1, j : j + 1]
                        h = layer.right(part, link, shift, 1.0)
                    yield (channel, i, j), self.output(h)[:, channel, 0, 0]
                # The features of the pixel itself, now that all its channels are known.
                h = self.input(levels[:, :, i : i + 1, j : j + 1])
                rows[0][..., layers[0][0].reach + j : layers[0][0].reach + j + 1] = h


@register
@dataclass(kw_only=True, eq=False, repr=False)
class PixelCNN(PixelModel):
    """Gated PixelCNN [2]: masked convolutions in two stacks, so that no pixel above is missed.

    A pixel sees all of the rows above and everything to its left that the layers reach: the first
    layer `first_kernel // 2` pixels, each further one `kernel // 2`. A condition enters every
    gate ([2], equation 4). Beyond the paper, a learned number per place and feature tells the
    first layer where a pixel stands, which aligned images profit from; and there are no skip
    connections to the output.

    Attributes:
        width: Features p of each stack.
        n_layers: Number of layers.
        kernel: Size of the convolutions before they are masked, odd.
        first_kernel: That of the first layer.
    """

    width: int = 24
    n_layers: int = 3
    kernel: int = 5
    first_kernel: int = 7

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        check_number("width", self.width, low=1, high=1 << 16, integer=True)
        check_number("n_layers", self.n_layers, low=1, high=1 << 10, integer=True)
        for name in ("kernel", "first_kernel"):
            value = getattr(self, name)
            check_number(name, value, low=1, high=1 << 10, integer=True)
            if value % 2 == 0:
                raise ValueError(f"{name} must be odd; got {value}")

    def network(self) -> nn.Module:
        """The new network."""
        return GatedPixelCNN(
            self.item_shape_,
            self.n_levels_,
            width=self.width,
            n_layers=self.n_layers,
            kernel=self.kernel,
            first_kernel=self.first_kernel,
            embedding_dim=self.embedding_dim,
            n_condition=self.n_condition_,
        )
