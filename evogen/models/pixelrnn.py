"""PixelRNN: a pixel given all those before it, by two-dimensional LSTMs.

Paper: van den Oord, Kalchbrenner, Kavukcuoglu 2016, "Pixel recurrent neural networks".
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evogen.models.checks import check_choice, check_number
from evogen.models.layers import Conv2d, Linear
from evogen.models.pixels import MaskedConv, PixelInput, PixelModel, PixelNetwork, PixelOutput
from evogen.models.serialization import register

State = tuple[Tensor, Tensor]

SHUT = -1e4
"""A gate that is 0 whatever else is added to it."""


def cell(gates: Tensor, c: Tensor, dim: int) -> State:
    """The step of an LSTM (equation 3): new (h, c) of 4 p gates and p numbers c along `dim`."""
    opened, g = gates.split((3 * c.shape[dim], c.shape[dim]), dim=dim)
    o, f, i = torch.sigmoid(opened).chunk(3, dim=dim)
    c = f * c + i * torch.tanh(g)
    return o * torch.tanh(c), c


def skew(x: Tensor, fill: float = 0.0) -> Tensor:
    """Moves row i to the right by i (figure 3): `(n, f, h, w)` to `(n, f, h, w + h - 1)`."""
    h, w = x.shape[2:]
    padded = F.pad(x, (0, h), value=fill).flatten(2)
    return padded[..., : h * (w + h - 1)].unflatten(2, (h, w + h - 1))


def unskew(x: Tensor) -> Tensor:
    """The inverse of `skew`."""
    h, w = x.shape[2], x.shape[3] - x.shape[2] + 1
    return F.pad(x.flatten(2), (0, h)).unflatten(2, (h, w + h))[..., :w]


class Memory:
    """What a layer keeps while an image is written pixel by pixel."""

    @abstractmethod
    def start_row(self) -> None:
        """Goes on to the next row; the present one, if any, is complete."""

    @abstractmethod
    def pixel(self, j: int, x: Tensor, shift: Tensor) -> Tensor:
        """What the layer gives at column j of the present row.

        Args:
            j: The column; may be asked for again with another x before the next one.
            x: Features of the layer below there, `(n, 2 p, 1, 1)`.
            shift: What the condition adds to the gates, `(n or 1, n_gates p, 1, 1)`.
        """


class LSTMLayer(nn.Module):
    """An LSTM of p features inside a residual connection of 2 p (figure 5, right).

    Args:
        width: The number p.
        kernel: Odd width of the convolutions of a `RowLSTM`.
        n_channels: Channels of the image.
        n_condition: Size of the condition, 0 for none; it is added to the gates.
    """

    n_gates: ClassVar[int] = 4

    def __init__(self, width: int, kernel: int, n_channels: int, n_condition: int) -> None:
        super().__init__()
        self.width = width
        n_out = self.n_gates * width
        self.output = MaskedConv(width, 2 * width, 1, n_channels, "B")
        self.condition = Linear(n_condition, n_out, bias=False) if n_condition else None

    def shift(self, condition: Tensor | None) -> Tensor:
        """What the condition `(n, c)` adds to the gates, `(n or 1, n_gates p, 1, 1)`."""
        if self.condition is None:
            return self.output.weight.new_zeros(1, self.n_gates * self.width, 1, 1)
        return self.condition(condition)[:, :, None, None]

    @abstractmethod
    def hidden(self, x: Tensor, shift: Tensor) -> Tensor:
        """The LSTM's h `(n, p, h, w)` of features `(n, 2 p, h, w)`."""

    @abstractmethod
    def memory(self, n: int, w: int) -> Memory:
        """To write n images of w columns pixel by pixel."""

    def forward(self, x: Tensor, shift: Tensor, kept: Tensor | float) -> Tensor:
        """Maps features `(n, 2 p, h, w)`, given `shift` and factors of dropout."""
        return x + self.output(self.hidden(x, shift) * kept)


class RowLSTM(LSTMLayer):
    """All pixels of a row at once, given the states of the row above (section 3.1).

    The state of a pixel sees the states of `kernel` pixels above, and so a triangle of the image.
    """

    def __init__(self, width: int, kernel: int, n_channels: int, n_condition: int) -> None:
        super().__init__(width, kernel, n_channels, n_condition)
        self.reach = kernel // 2
        self.from_input = MaskedConv(2 * width, 4 * width, self.reach + 1, n_channels, "B", parts=4)
        self.from_state = Conv2d(width, 4 * width, (1, kernel), padding=(0, self.reach), bias=False)

    def hidden(self, x: Tensor, shift: Tensor) -> Tensor:
        """The LSTM's h `(n, p, h, w)` of features `(n, 2 p, h, w)`."""
        gates = self.from_input(F.pad(x, (self.reach, 0))) + shift
        h = c = x.new_zeros(len(x), self.width, 1, x.shape[3])
        rows = []
        for row in gates.split(1, dim=2):
            h, c = cell(row + self.from_state(h), c, dim=1)
            rows.append(h)
        return torch.cat(rows, dim=2)

    def memory(self, n: int, w: int) -> Memory:
        """To write n images of w columns pixel by pixel."""
        return RowMemory(self, n, w)


class RowMemory(Memory):
    """Of a `RowLSTM`: the states of this row and of the one above."""

    def __init__(self, layer: RowLSTM, n: int, w: int) -> None:
        self.layer = layer
        self.h, self.c = (layer.output.weight.new_zeros(n, layer.width, 1, w) for _ in range(2))
        self.x = layer.output.weight.new_zeros(n, 2 * layer.width, 1, layer.reach + w)

    def start_row(self) -> None:
        """See `Memory.start_row`."""
        self.gates, self.c_above = self.layer.from_state(self.h), self.c
        self.h, self.c = torch.zeros_like(self.h), torch.zeros_like(self.c)

    def pixel(self, j: int, x: Tensor, shift: Tensor) -> Tensor:
        """See `Memory.pixel`."""
        r, here = self.layer.reach, slice(j, j + 1)
        self.x[..., r + j : r + j + 1] = x
        gates = self.layer.from_input(self.x[..., j : j + r + 1]) + self.gates[..., here]
        h, c = cell(gates + shift, self.c_above[..., here], dim=1)
        self.h[..., here], self.c[..., here] = h, c
        return x + self.layer.output(h)


class DiagonalBiLSTM(LSTMLayer):
    """Two LSTMs that see the whole image before a pixel (section 3.2).

    One goes from the top left, the state of a pixel given those to its left and above. The other
    goes from the top right, and what it gives moves down by one row: there it would have seen
    pixels to the right of the present one. As in the paper, the features they read leave out the
    pixel itself (mask A), so the last pixel of the row above is seen through the first convolution
    alone, within its reach.
    """

    n_gates: ClassVar[int] = 8

    def __init__(self, width: int, kernel: int, n_channels: int, n_condition: int) -> None:
        super().__init__(width, kernel, n_channels, n_condition)
        # Four gates of the one direction, then of the other.
        self.from_input = MaskedConv(2 * width, 8 * width, 1, n_channels, "B", parts=8)
        # Of the states above and beside.
        self.from_left = Linear(2 * width, 4 * width, bias=False)
        self.from_right = Linear(2 * width, 4 * width, bias=False)

    def directions(self, x: Tensor, shift: Tensor) -> Tensor:
        """The h of the two LSTMs, `(2, n, p, h, w)`, in both the pixel itself included."""
        n, height = x.shape[0], x.shape[2]
        left, right = (self.from_input(x) + shift).chunk(2, dim=1)
        # Beside the image all gates are shut, and states 0.
        gates = skew(torch.cat((left, right.flip(3))), fill=SHUT)
        diagonals = gates.permute(3, 0, 2, 1).unflatten(1, (2, n)).flatten(2, 3)
        weight = torch.stack((self.from_left.weight.t(), self.from_right.weight.t()))
        h = c = x.new_zeros(2, n * height, self.width)
        states = []
        for diagonal in diagonals.unbind(0):
            above = F.pad(h.unflatten(1, (n, height)), (0, 0, 1, 0))[:, :, :-1].flatten(1, 2)
            h, c = cell(torch.baddbmm(diagonal, torch.cat((above, h), dim=2), weight), c, dim=2)
            states.append(h)
        skewed = torch.stack(states, dim=3).unflatten(1, (n, height)).movedim(3, 2)
        left, right = unskew(skewed.flatten(0, 1)).unflatten(0, (2, n)).unbind(0)
        return torch.stack((left, right.flip(3)))

    def hidden(self, x: Tensor, shift: Tensor) -> Tensor:
        """The LSTM's h `(n, p, h, w)` of features `(n, 2 p, h, w)`."""
        left, right = self.directions(x, shift).unbind(0)
        return left + F.pad(right, (0, 0, 1, 0))[:, :, :-1]

    def memory(self, n: int, w: int) -> Memory:
        """To write n images of w columns pixel by pixel."""
        return DiagonalMemory(self, n, w)


class DiagonalMemory(Memory):
    """Of a `DiagonalBiLSTM`: the states of the row above, and of this row up to now."""

    def __init__(self, layer: DiagonalBiLSTM, n: int, w: int) -> None:
        self.layer = layer
        self.zero = layer.output.weight.new_zeros(n, layer.width)
        self.h, self.h_right = [self.zero] * w, [self.zero] * w
        self.gates_right: list[Tensor] = []

    def start_row(self) -> None:
        """See `Memory.start_row`; the row that is complete is read from the right."""
        self.above, self.h = self.h, [self.zero] * len(self.h)
        self.c = [self.zero] * len(self.h)
        if self.gates_right:
            h = c = self.zero
            row = []
            for gates, above in zip(self.gates_right[::-1], self.h_right[::-1], strict=True):
                beside = self.layer.from_right(torch.cat((above, h), dim=1))
                h, c = cell(gates + beside, c, dim=1)
                row.append(h)
            self.h_right = row[::-1]
        self.gates_right = [self.zero] * len(self.h)

    def pixel(self, j: int, x: Tensor, shift: Tensor) -> Tensor:
        """See `Memory.pixel`."""
        gates = (self.layer.from_input(x) + shift)[..., 0, 0]
        gates, self.gates_right[j] = gates.chunk(2, dim=1)
        h, c = (self.h[j - 1], self.c[j - 1]) if j else (self.zero, self.zero)
        gates = gates + self.layer.from_left(torch.cat((self.above[j], h), dim=1))
        self.h[j], self.c[j] = cell(gates, c, dim=1)
        return x + self.layer.output((self.h[j] + self.h_right[j])[:, :, None, None])


LAYERS: dict[str, type[LSTMLayer]] = {"row": RowLSTM, "diagonal": DiagonalBiLSTM}


class PixelLSTM(PixelNetwork):
    """The network of `PixelRNN`, whose arguments it takes; the image is `(c, h, w)`."""

    def __init__(
        self,
        shape: Sequence[int],
        n_levels: int,
        *,
        kind: Literal["row", "diagonal"],
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
        self.reach = first_kernel // 2
        self.dropout_shape = (n_layers, width, h, w)
        self.input = PixelInput(c, n_levels, embedding_dim)
        n_in = self.input.n_out
        # The first convolution, masked: rows above (its last row is the present one's above), and
        # pixels to the left.
        self.above = Conv2d(n_in, 2 * width, (max(1, self.reach), first_kernel))
        self.beside = MaskedConv(n_in, 2 * width, self.reach + 1, c, "A")
        # Where a pixel stands; convolutions alone know it from the padding only.
        self.place = nn.Parameter(torch.zeros(2 * width, h, w))
        self.layers = nn.ModuleList(
            LAYERS[kind](width, kernel, c, n_condition) for _ in range(n_layers)
        )
        self.output = PixelOutput(2 * width, c, n_levels)

    def lstm_layers(self, condition: Tensor | None) -> list[tuple[LSTMLayer, Tensor]]:
        """The layers with what the condition `(n, c)` adds to their gates."""
        found = []
        for layer in self.layers:
            assert isinstance(layer, LSTMLayer)
            found.append((layer, layer.shift(condition)))
        return found

    def logits(
        self, features: Tensor, condition: Tensor | None, kept: Tensor | None = None
    ) -> Tensor:
        """See `PixelNetwork.logits`."""
        r, rows = self.reach, self.above.kernel_size[0]
        x = self.above(F.pad(features, (r, r, rows, 0))[:, :, :-1])
        x = x + self.beside(F.pad(features, (r, 0))) + self.place
        for i, (layer, shift) in enumerate(self.lstm_layers(condition)):
            x = layer(x, shift, 1.0 if kept is None else kept[:, i])
        return self.output(x)

    def scan(self, levels: Tensor, condition: Tensor | None) -> Iterator[tuple[Any, Tensor]]:
        """See `PixelNetwork.scan`; every feature is computed once and kept."""
        n, (c, height, width) = len(levels), self.shape
        r, rows = self.reach, self.above.kernel_size[0]
        layers = [(layer.memory(n, width), shift) for layer, shift in self.lstm_layers(condition)]
        above = self.place.new_zeros(n, self.input.n_out, rows, width)
        for i in range(height):
            if i:
                above = torch.cat((above[:, :, 1:], self.input(levels[:, :, i - 1 : i])), dim=2)
            from_above = self.above(F.pad(above, (r, r))) + self.place[:, i : i + 1]
            row = self.place.new_zeros(n, self.input.n_out, 1, r + width)
            for memory, _ in layers:
                memory.start_row()
            for j in range(width):
                for channel in range(c):
                    x = self.beside(row[..., j : j + r + 1]) + from_above[..., j : j + 1]
                    for memory, shift in layers:
                        x = memory.pixel(j, x, shift)
                    yield (channel, i, j), self.output(x)[:, channel, 0, 0]
                    here = levels[:, :, i : i + 1, j : j + 1]
                    row[..., r + j : r + j + 1] = self.input(here)


@register
@dataclass(kw_only=True, eq=False, repr=False)
class PixelRNN(PixelModel):
    """PixelRNN: LSTMs that run over the image instead of through time.

    A condition is added to the gates of every LSTM, and a learned number per place and feature
    tells the first layer where a pixel stands; the paper has neither.

    Attributes:
        kind: "row", a `RowLSTM`; or "diagonal", a `DiagonalBiLSTM`, slower, which sees the whole
            image before a pixel in one layer.
        width: Features p of an LSTM; 2 p between them.
        n_layers: Number of LSTM layers.
        kernel: Width of the convolutions of a "row" LSTM before they are masked, odd.
        first_kernel: Size of the first convolution before it is masked, odd.
    """

    kind: Literal["row", "diagonal"] = "diagonal"
    width: int = 32
    n_layers: int = 2
    kernel: int = 3
    first_kernel: int = 7

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        check_choice("kind", self.kind, tuple(LAYERS))
        check_number("width", self.width, low=1, high=1 << 16, integer=True)
        check_number("n_layers", self.n_layers, low=1, high=1 << 10, integer=True)
        for name in ("kernel", "first_kernel"):
            value = getattr(self, name)
            check_number(name, value, low=1, high=1 << 10, integer=True)
            if value % 2 == 0:
                raise ValueError(f"{name} must be odd; got {value}")

    def network(self) -> nn.Module:
        """The new network."""
        return PixelLSTM(
            self.item_shape_,
            self.n_levels_,
            kind=self.kind,
            width=self.width,
            n_layers=self.n_layers,
            kernel=self.kernel,
            first_kernel=self.first_kernel,
            embedding_dim=self.embedding_dim,
            n_condition=self.n_condition_,
        )
