"""The deep convolutional GAN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from evogen.models.adversarial_networks import start_normal
from evogen.models.gan import GAN
from evogen.models.networks import Norm
from evogen.models.serialization import register

INITIAL_STD = 0.02


@register
@dataclass(kw_only=True, eq=False, repr=False)
class DCGAN(GAN):
    """Deep convolutional GAN (Radford, Metz and Chintala 2016), for images of any size from 4 x 4.

    The guidelines of its section 3: strided convolutions instead of pooling; batch normalization
    in both networks, but not in G's output and D's first layer; ReLU in G with tanh at the end;
    leaky ReLU of slope 0.2 in D. Its section 4: weights start as N(0, 0.02^2), Adam with 2e-4 and
    betas[0] = 0.5, batches. Networks are scaled to small pictures: 32 channels next to the picture
    instead of 128, and G starts from 2 or 3 pixels a side instead of 4. Vectors and smaller images
    get perceptrons under the same conventions. The parameters are those of `GAN`; these differ:

    Attributes:
        n_steps: Generator updates per fit.
        batch_size: Rows per step; None for all.
        latent_dim: Size of z; None for the number of features.
        activation_generator: Of G's hidden layers.
        output: Of G.
        norm: In G.
        norm_discriminator: In D.
        lr_generator: Learning rate of Adam for G.
        lr_discriminator: Learning rate of Adam for D.
        betas: Adam's decay rates.
    """

    n_steps: int = 300
    batch_size: int | None = 64
    latent_dim: int | None = 32
    activation_generator: str | None = "relu"
    output: Literal["linear", "sigmoid", "tanh"] = "tanh"
    norm: Norm | None = "batch"
    norm_discriminator: Norm | None = "batch"
    lr_generator: float = 2e-4
    lr_discriminator: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)

    def networks(self) -> dict[str, nn.Module]:
        """The generator and the discriminator."""
        networks = super().networks()
        for network in networks.values():
            start_normal(network, INITIAL_STD)
        return networks
