"""The autoencoder of latent diffusion: a VAE whose code is a small picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from evogen.models.convolutional import DownStages, UpStages, stage_sizes, use_convolutions
from evogen.models.layers import Conv2d
from evogen.models.networks import ACTIVATIONS
from evogen.models.serialization import register
from evogen.models.vae import VAE, Autoencoder


class PictureEncoder(nn.Module):
    """Rows of pictures to the mean and log variance of codes that are pictures too.

    Args:
        shape: `(c, h, w)` of a picture.
        n_channels: Channels of a code.
        channels: Width of every stage, each of which halves the picture.
        activation: Name in `ACTIVATIONS`.
    """

    def __init__(
        self, shape: Sequence[int], n_channels: int, channels: Sequence[int], activation: str
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.stages = DownStages(shape[0], channels, activation=activation, norm=True)
        self.output = Conv2d(channels[-1], 2 * n_channels, 1)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Maps `(n, c h w)` to `(n, 2 c' h' w')`: all means first, then all log variances."""
        return self.output(self.stages(x.view(-1, *self.shape))).flatten(1)


class PictureDecoder(nn.Module):
    """Codes back to rows of pictures; arguments as for `PictureEncoder`."""

    def __init__(
        self, shape: Sequence[int], n_channels: int, channels: Sequence[int], activation: str
    ) -> None:
        super().__init__()
        self.code_shape = (n_channels, *stage_sizes(tuple(shape), len(channels))[-1])
        self.input = Conv2d(n_channels, channels[-1], 3, padding=1)
        self.activation = ACTIVATIONS[activation]
        self.stages = UpStages(tuple(shape), channels, activation=activation, norm=True)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Maps `(n, c' h' w')` to `(n, c h w)`."""
        return self.stages(self.activation(self.input(z.view(-1, *self.code_shape)))).flatten(1)


@register
@dataclass(kw_only=True, eq=False, repr=False)
class AutoencoderKL(VAE):
    """A `VAE` whose code is a small picture (Rombach et al. 2022, section 3.1, "KL-reg.").

    Encoder and decoder are convolutions only, so that a number of the code tells of its
    surroundings, which is what lets a U-Net work on codes. The KL term is weak: it only keeps the
    codes from spreading; what they look like is left to the model that will learn them.

    Attributes:
        latent_dim: Size of the code. It is a picture `(c', h', w')` if this is a multiple of the
            h' w' that `channels` leave of an image, each stage halving it; else, and for vectors
            and data with a condition, it is a vector, as a `VAE`'s.
        channels: Width of every stage.
    """

    priors: ClassVar[tuple[str, ...]] = ("normal",)

    latent_dim: int = 16
    beta: float = 0.1
    variance: Literal["per-feature", "shared"] = "shared"
    n_steps: int = 500
    batch_size: int | None = 64
    lr: float = 2e-3

    @property
    def code_shape_(self) -> tuple[int, ...]:
        """Shape of a code: `(c', h', w')`, or `(latent_dim,)`."""
        if not use_convolutions(self.architecture, self.item_shape_, self.channels):
            return (self.latent_dim,)
        height, width = stage_sizes(self.item_shape_, len(self.channels))[-1]
        if self.n_condition_ or self.latent_dim % (height * width):
            return (self.latent_dim,)
        return self.latent_dim // (height * width), height, width

    def network(self) -> nn.Module:
        """The new network."""
        shape = self.code_shape_
        if len(shape) == 1:
            return super().network()
        settings = (self.item_shape_, shape[0], self.channels, self.activation)
        return Autoencoder(PictureEncoder(*settings), PictureDecoder(*settings))
