"""What image models that write one pixel after the other share: levels, masks, exact log p.

p(x) = prod_i p(x_i | x_1 .. x_(i-1)), pixels in reading order (row by row, from the left) and the
channels of a pixel in theirs (red, green, blue). Levels of a channel are classes of a softmax, so
that log p is exact. The networks are in `pixelcnn` and `pixelrnn`.

Paper: van den Oord, Kalchbrenner, Kavukcuoglu 2016, "Pixel recurrent neural networks" [1].
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evogen.models.base import Rows
from evogen.models.checks import ItemKind, check_number, resolve_device
from evogen.models.layers import Conv2d, Embedding
from evogen.models.neural import SingleLossModel, take_batches
from evogen.models.rng import integers, uniform
from evogen.models.scaling import ScalerKind
from evogen.models.training import Schedule

PixelT = TypeVar("PixelT", bound="PixelModel")

MAX_LEARNED_LEVELS = 256
SEEDS = 1 << 62


def find_levels(x: Tensor) -> int:
    """The smallest number k >= 2 of levels 0, 1/(k-1), .., 1 that hold all numbers of x.

    Args:
        x: Numbers in [0, 1], of any shape; met to within a thousandth of a step.

    Returns:
        k in 2 .. 256; 256 if none will do.
    """
    values = torch.unique(x)
    for k in range(2, MAX_LEARNED_LEVELS):
        steps = values * (k - 1)
        if bool(((steps - steps.round()).abs() < 1e-3).all()):
            return k
    return MAX_LEARNED_LEVELS


def channel_mask(n_in: int, n_out: int, n_channels: int, kind: Literal["A", "B"]) -> Tensor:
    """Which features may see which at the same pixel ([1], section 3.4).

    Features are split evenly, in order, into one group per channel of the image. Group c of the
    outputs sees groups < c of the inputs ("A": where the inputs are the image itself) or <= c
    ("B": where they are features).

    Returns:
        Zeros and ones, `(n_out, n_in)`.
    """
    groups_in, groups_out = (torch.arange(n) * n_channels // n for n in (n_in, n_out))
    seen = groups_in < groups_out[:, None] if kind == "A" else groups_in <= groups_out[:, None]
    return seen.float()


class MaskedConv(Conv2d):
    """A convolution over `size` pixels of a row, the last of them the present one, masked there.

    Args:
        n_in: Number of input features.
        n_out: Number of output features.
        size: Number of pixels.
        n_channels: Channels of the image.
        kind: Mask of the present pixel; see `channel_mask`.
        parts: Number of equal parts of the outputs (of a gate), each with all groups of features.
        **kwargs: As for `layers.Conv2d`.
    """

    mask: Tensor

    def __init__(
        self,
        n_in: int,
        n_out: int,
        size: int,
        n_channels: int,
        kind: Literal["A", "B"],
        *,
        parts: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(n_in, n_out, (1, size), **kwargs)
        mask = torch.ones(n_out, n_in, 1, size)
        mask[:, :, 0, -1] = channel_mask(n_in, n_out // parts, n_channels, kind).repeat(parts, 1)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps `(n, n_in, h, w + size - 1)` to `(n, n_out, h, w)`."""
        return F.conv2d(x, self.mask * self.weight, self.bias)


class PixelInput(nn.Module):
    """Levels as what a network sees of them.

    Args:
        n_channels: Channels c of the image.
        n_levels: Number of levels k.
        embedding_dim: Size of a learned vector per level, shared by the channels; 0 for one
            number, from -1 (level 0) to 1 (level k - 1).

    Attributes:
        n_out: Number of features, those of a channel side by side.
    """

    def __init__(self, n_channels: int, n_levels: int, embedding_dim: int) -> None:
        super().__init__()
        self.n_levels = n_levels
        self.n_out = n_channels * max(1, embedding_dim)
        self.table = Embedding(n_levels, embedding_dim) if embedding_dim else None

    def forward(self, levels: Tensor) -> Tensor:
        """Maps levels `(n, c, h, w)` to features `(n, n_out, h, w)`."""
        if self.table is None:
            return levels.float() * (2.0 / (self.n_levels - 1)) - 1.0
        return self.table(levels).permute(0, 1, 4, 2, 3).flatten(1, 2)


class PixelOutput(nn.Module):
    """Two 1x1 convolutions after ReLUs, from features to logits ([1], table 1).

    Args:
        width: Number of features.
        n_channels: Channels c of the image.
        n_levels: Number of levels k.
    """

    def __init__(self, width: int, n_channels: int, n_levels: int) -> None:
        super().__init__()
        self.n_channels = n_channels
        self.first = MaskedConv(width, width, 1, n_channels, "B")
        self.second = MaskedConv(width, n_channels * n_levels, 1, n_channels, "B")

    def forward(self, x: Tensor) -> Tensor:
        """Maps `(n, width, h, w)` to logits `(n, c, h, w, k)`."""
        logits = self.second(torch.relu(self.first(torch.relu(x))))
        return logits.unflatten(1, (self.n_channels, -1)).movedim(2, -1)


class PixelNetwork(nn.Module):
    """What a `PixelModel` needs of its network: all logits at once, and one after the other.

    Attributes:
        dropout_shape: Shape of what dropout may hide of one image.
        input: From levels to features.
    """

    dropout_shape: tuple[int, ...]
    input: PixelInput

    @abstractmethod
    def logits(
        self, features: Tensor, condition: Tensor | None, kept: Tensor | None = None
    ) -> Tensor:
        """Logits of every level of every pixel.

        Args:
            features: The image as `PixelInput` gives it, `(n, n_out, h, w)`.
            condition: `(n, n_condition)`, or None.
            kept: Factors of dropout, `(n, *dropout_shape)`, or None.

        Returns:
            `(n, c, h, w, k)`; those of a pixel depend on nothing that comes after it.
        """

    @abstractmethod
    def scan(self, levels: Tensor, condition: Tensor | None) -> Iterator[tuple[Any, Tensor]]:
        """Every place (channel, row, column) in order with its logits, `(n, k)`.

        Args:
            levels: Integers `(n, c, h, w)`; whoever iterates writes the level of a place there
                before asking for the next.
            condition: `(n, n_condition)`, or None.
        """


@dataclass(kw_only=True, eq=False, repr=False)
class PixelModel(SingleLossModel):
    """An image model p(x) = prod_i p(x_i | x_1 .. x_(i-1)) with levels as classes.

    Numbers in [0, 1] are rounded to the nearest of the levels 0, 1/(k-1), .., 1; samples lie on
    them. A subclass gives the network.

    Attributes:
        n_levels: Number k of levels of a channel; None for the smallest number that holds all
            numbers of the first fit's images exactly, 256 at most (2 for black and white).
        embedding_dim: Levels enter the network as learned vectors of this size, for levels that
            are names rather than brightnesses (codes of a VQ-VAE); 0 for the number itself.
        dropout: Share of the features hidden in training (not in the check of `patience`).
        buffers_: "levels" `(k,)`, the numbers that levels stand for.
    """

    items: ClassVar[tuple[ItemKind, ...]] = ("images",)

    n_levels: int | None = None
    embedding_dim: int = 0
    dropout: float = 0.3
    n_steps: int = 300
    batch_size: int | None = 64
    lr: float = 5e-3
    schedule: Schedule = "cosine"
    ema_decay: float = 0.99
    max_grad_norm: float | None = 10.0

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        if self.n_levels is not None:
            check_number("n_levels", self.n_levels, low=2, high=1 << 16, integer=True)
        check_number("embedding_dim", self.embedding_dim, low=0, high=1 << 16, integer=True)
        check_number("dropout", self.dropout, low=0, high=0.99)

    @property
    def scaler_kind(self) -> ScalerKind:
        """Images stay in [0, 1], where the levels are."""
        return "unit"

    def buffer_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Names and shapes of `buffers_`; None for a size that the data decide."""
        return {"levels": (self.n_levels,)}

    @property
    def n_levels_(self) -> int:
        """Number of levels in use."""
        return len(self.buffers_["levels"])

    def fit_rows(self: PixelT, rows: Rows, **kwargs: Any) -> PixelT:
        """`fit` on data that are already checked; the first one finds the levels."""
        if self.n_features_ is None:
            k = find_levels(rows.x) if self.n_levels is None else self.n_levels
            levels = torch.arange(k, dtype=torch.float64) / (k - 1)
            self.buffers_["levels"] = levels.float().to(resolve_device(self.device))
        return super().fit_rows(rows, **kwargs)

    # Learning.

    def draw_batches(
        self, rows: Rows, n_batches: int, generator: torch.Generator
    ) -> tuple[Tensor | None, ...]:
        """Rows, conditions and seeds of dropout, for `n_batches` batches along the first axis."""
        index = self.draw_rows(rows.x.shape[0], n_batches, generator)
        condition = None
        if rows.condition is not None:
            condition = take_batches(rows.condition, index, n_batches)
        # What dropout hides is many numbers: a seed is drawn ahead, they in their own step.
        seed = integers(SEEDS, (n_batches,), generator).cpu() if self.dropout else None
        return take_batches(rows.x, index, n_batches), condition, seed

    def to_levels(self, x: Tensor) -> Tensor:
        """Rows `(n, d)` of numbers in [0, 1] as levels, int64 `(n, c, h, w)`."""
        return (x * (self.n_levels_ - 1)).round().long().view(-1, *self.item_shape_)

    def nats(
        self,
        network: PixelNetwork,
        levels: Tensor,
        condition: Tensor | None,
        kept: Tensor | None = None,
    ) -> Tensor:
        """-log p of every pixel, `(n, c, h, w)`; arguments as in `PixelNetwork.logits`."""
        logits = network.logits(network.input(levels), condition, kept).float()
        return F.cross_entropy(logits.movedim(-1, 1), levels, reduction="none")

    def loss(self, x: Tensor, condition: Tensor | None, seed: Tensor | None) -> Tensor:
        """-log p(x | condition) in nats, mean over the batch."""
        weights = self.weights_["network"]
        # Without gradients it is the check of `patience`: of the network that samples come from.
        training = torch.is_grad_enabled()
        network = weights.module if training else weights.sampler
        assert isinstance(network, PixelNetwork)
        kept = None
        if seed is not None and training:
            generator = torch.Generator().manual_seed(int(seed))
            shape = (len(x), *network.dropout_shape)
            kept = uniform(shape, generator, device=x.device) >= self.dropout
            kept = kept / (1.0 - self.dropout)
        return self.nats(network, self.to_levels(x), condition, kept).sum() / len(x)

    # Use.

    @torch.no_grad()
    def log_prob(self, x: Any, condition: Any = None) -> Tensor:
        """Exact log probability, in nats, of images rounded to the nearest levels.

        Divided by -c h w log 2 it is in bits per dimension, with the sign of a loss.

        Args:
            x: Images `(n, c, h, w)` in [0, 1].
            condition: As in `sample`.

        Returns:
            log p(x) or log p(x | condition), `(n,)`.

        Raises:
            RuntimeError: The model is not fitted.
            ValueError: Images or a condition of a wrong shape.
        """
        self.check_fitted()
        levels = self.to_levels(self.prepare_x(x))
        given = self.prepare_condition(condition, len(levels))
        network = self.sampler("network")
        assert isinstance(network, PixelNetwork)
        with self.autocast():
            return -self.nats(network, levels, given).flatten(1).sum(dim=1)

    def generate(self, n: int, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        """Samples `(n, d)` in [0, 1], pixel by pixel, given a condition `(n, c)`."""
        network = self.sampler("network")
        assert isinstance(network, PixelNetwork)
        levels = torch.zeros(n, *self.item_shape_, dtype=torch.long, device=self.device_)
        for (channel, i, j), logits in network.scan(levels, condition):
            edges = torch.softmax(logits.float(), dim=1).cumsum(dim=1)
            drawn = uniform((n, 1), generator, device=self.device_)
            # Rounding may leave the last edge below 1.
            level = (edges <= drawn).sum(dim=1).clamp_(max=self.n_levels_ - 1)
            levels[:, channel, i, j] = level
        return self.buffers_["levels"][levels.flatten(1)]
