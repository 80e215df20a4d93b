"""A U-Net for diffusion on images: what a denoiser of pictures looks like."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evogen.models.layers import Attention, Conv2d, Linear


def group_norm(n_channels: int, n_groups: int = 8) -> nn.GroupNorm:
    """Group normalization (Wu and He 2018) of up to `n_groups` groups of two channels or more.

    A group of one channel would be nothing but its own mean where the picture is one pixel.
    """
    return nn.GroupNorm(math.gcd(n_groups, max(1, n_channels // 2)), n_channels)


def coordinates(x: Tensor) -> Tensor:
    """Row and column of every pixel of pictures `(n, c, h, w)`, from -1 to 1: `(n, 2, h, w)`."""
    n, _, height, width = x.shape
    rows = torch.linspace(-1, 1, height, device=x.device, dtype=x.dtype)
    columns = torch.linspace(-1, 1, width, device=x.device, dtype=x.dtype)
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
    return grid.expand(n, -1, -1, -1)


class ResidualBlock(nn.Module):
    """x + conv(act(film(norm(conv(act(norm(x))))))), in which the second convolution starts at 0.

    The embedding enters by scale and shift after the second normalization (Dhariwal and Nichol
    2021, section 3, "adaptive group normalization").

    Args:
        n_in: Number of input channels.
        n_out: Number of output channels.
        n_embedding: Size of the embedding.
    """

    def __init__(self, n_in: int, n_out: int, n_embedding: int) -> None:
        super().__init__()
        self.norm1 = group_norm(n_in)
        self.conv1 = Conv2d(n_in, n_out, 3, padding=1)
        self.film = Linear(n_embedding, 2 * n_out)
        self.norm2 = group_norm(n_out)
        self.conv2 = Conv2d(n_out, n_out, 3, padding=1, gain=0.0)
        self.skip = nn.Identity() if n_in == n_out else Conv2d(n_in, n_out, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Maps `(n, n_in, h, w)`, given embeddings `(n, n_embedding)`, to `(n, n_out, h, w)`."""
        inner = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.film(embedding)[:, :, None, None].chunk(2, dim=1)
        inner = torch.addcmul(shift, self.norm2(inner), 1 + scale)
        return self.skip(x) + self.conv2(F.silu(inner))


class AttentionBlock(nn.Module):
    """Every pixel attends to all pixels and, where there is a context, to that; starts as x.

    Args:
        n_channels: Number of channels.
        head_dim: Channels of a head; `n_channels` should be a multiple of it, or there is one head.
        n_context: Size of an item of the context, 0 for none.
    """

    def __init__(self, n_channels: int, *, head_dim: int = 8, n_context: int = 0) -> None:
        super().__init__()
        n_heads = 1 if n_channels % head_dim else n_channels // head_dim
        self.norm = group_norm(n_channels)
        self.attention = Attention(n_channels, n_heads, gain=0.0)
        if n_context:
            self.cross_norm = nn.LayerNorm(n_channels)
            self.cross = Attention(n_channels, n_heads, n_context=n_context, gain=0.0)

    def forward(
        self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Maps `(n, c, h, w)` to the same shape; `context` and `mask` as `UNet` prepares them."""
        rows = x.flatten(2).mT
        rows = rows + self.attention(self.norm(x).flatten(2).mT)
        if context is not None:
            rows = rows + self.cross(self.cross_norm(rows), context, mask)
        return rows.mT.reshape(x.shape)


class UNet(nn.Module):
    """Pictures in, pictures of the same size out, given an embedding and perhaps a text.

    The form of Ho et al. 2020 (appendix B): residual blocks at falling resolution, each of whose
    outputs is handed over to a block on the way up. The last layer, and the last of every block,
    start at 0, so that a new network is 0 and its blocks are the identity or a 1x1 convolution.
    Any height and width work; resolutions are halved and rounded up. The coordinates of a pixel are
    two further inputs (Liu et al. 2018, "CoordConv"), without which a class can say what to draw
    but hardly where.

    Args:
        n_in: Number of input channels.
        n_out: Number of output channels.
        n_embedding: Size of the embedding (time, class, ...), raw: a perceptron is applied to it.
        channels: Channels at each resolution, the highest first.
        n_blocks: Residual blocks at each resolution, down and up.
        n_attention: At how many of the lowest resolutions pixels attend to one another, besides
            in the middle.
        head_dim: Channels of an attention head.
        n_context: Size of an item of a context sequence (of a text, say) that the attending
            resolutions look at; 0 for none.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        n_embedding: int,
        *,
        channels: Sequence[int] = (16, 32),
        n_blocks: int = 1,
        n_attention: int = 1,
        head_dim: int = 8,
        n_context: int = 0,
    ) -> None:
        super().__init__()
        width = 4 * channels[0]
        attends = [i >= len(channels) - n_attention for i in range(len(channels))]

        def attention(n_channels: int, wanted: bool = True) -> nn.Module | None:
            if not wanted:
                return None
            return AttentionBlock(n_channels, head_dim=head_dim, n_context=n_context)

        self.n_context = n_context
        self.embed = nn.Sequential(
            Linear(n_embedding, width), nn.SiLU(), Linear(width, width), nn.SiLU()
        )
        self.input = Conv2d(n_in + 2, channels[0], 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        before = channels[0]
        for level, n_channels in enumerate(channels):
            for i in range(n_blocks):
                shrink = level > 0 and i == 0
                self.down.append(
                    Stage(
                        ResidualBlock(before, n_channels, width),
                        attention(n_channels, attends[level]),
                        Conv2d(before, before, 3, stride=2, padding=1) if shrink else None,
                    )
                )
                before = n_channels
        self.middle1 = Stage(ResidualBlock(before, before, width), attention(before), None)
        self.middle2 = Stage(ResidualBlock(before, before, width), None, None)
        for level in reversed(range(len(channels))):
            n_channels = channels[level]
            for i in range(n_blocks):
                grow = level < len(channels) - 1 and i == 0
                resize = Conv2d(before, n_channels, 3, padding=1) if grow else None
                self.up.append(
                    Stage(
                        ResidualBlock(2 * n_channels, n_channels, width),
                        attention(n_channels, attends[level]),
                        resize,
                    )
                )
                before = n_channels
        self.norm = group_norm(before)
        self.output = Conv2d(before, n_out, 3, padding=1, gain=0.0)

    def forward(
        self,
        x: Tensor,
        embedding: Tensor,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
    ) -> Tensor:
        """Maps pictures.

        Args:
            x: Pictures `(n, n_in, h, w)`.
            embedding: `(n, n_embedding)`.
            context: Sequences `(n, s, n_context)`; None for none, as good as an empty one.
            context_mask: Boolean `(n, s)`, true for the items that are there; None for all. A
                sequence may be masked wholly.

        Returns:
            Pictures `(n, n_out, h, w)`.
        """
        embedding = self.embed(embedding)
        mask: Tensor | None = None
        if self.n_context:
            if context is None:
                context = x.new_zeros(x.shape[0], 0, self.n_context)
                context_mask = None
            # An item of zeros is always there to attend to: so it is no division by zero when
            # nothing else is, and "no text" is something that the network can learn.
            context = F.pad(context, (0, 0, 1, 0))
            if context_mask is not None:
                mask = F.pad(context_mask, (1, 0), value=True)[:, None, None, :]
        x = self.input(torch.cat((x, coordinates(x)), dim=1))
        kept = []
        for stage in self.down:
            x = stage(x, embedding, context, mask)
            kept.append(x)
        x = self.middle1(x, embedding, context, mask)
        x = self.middle2(x, embedding)
        for stage in self.up:
            x = stage(x, embedding, context, mask, kept.pop())
        return self.output(F.silu(self.norm(x)))


class Stage(nn.Module):
    """A change of resolution, a residual block and an attention block, of which two may be absent.

    Args:
        block: The residual block.
        attention: The attention block, or None.
        resize: A convolution that halves the size, or that follows on its doubling; or None.
    """

    def __init__(
        self, block: ResidualBlock, attention: nn.Module | None, resize: Conv2d | None
    ) -> None:
        super().__init__()
        self.resize, self.block, self.attention = resize, block, attention

    def forward(
        self,
        x: Tensor,
        embedding: Tensor,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        handed: Tensor | None = None,
    ) -> Tensor:
        """Maps pictures; `handed` over are those of the way down, to whose size x is brought."""
        if handed is not None and x.shape[2:] != handed.shape[2:]:
            x = F.interpolate(x, size=handed.shape[2:], mode="nearest")
        if self.resize is not None:
            x = self.resize(x)
        if handed is not None:
            x = torch.cat((x, handed), dim=1)
        x = self.block(x, embedding)
        return x if self.attention is None else self.attention(x, context, mask)


class RowUNet(nn.Module):
    """A `UNet` on pictures that lie flat, one a row, which is how models keep their items.

    Args:
        shape: Channels, height and width of a picture that comes in.
        n_out: Number of channels that come out.
        n_embedding: Size of the embedding.
        **kwargs: As for `UNet`: channels, n_blocks, ...
    """

    def __init__(
        self, shape: tuple[int, int, int], n_out: int, n_embedding: int, **kwargs: object
    ) -> None:
        super().__init__()
        self.shape = shape
        self.unet = UNet(shape[0], n_out, n_embedding, **kwargs)  # type: ignore[arg-type]

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Maps rows `(n, c h w)`, given embeddings `(n, n_embedding)`, to `(n, n_out h w)`."""
        return self.unet(x.view(-1, *self.shape), embedding).flatten(1)
