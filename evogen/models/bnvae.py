"""BN-VAE: a batch normalization that keeps the KL term from vanishing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evogen.models.base import Rows
from evogen.models.checks import check_number
from evogen.models.serialization import register
from evogen.models.vae import VAE, Autoencoder

EPS = 1e-5


class FixedScaleNorm(nn.Module):
    """Batch normalization whose scale is a constant and whose shift is learned.

    Args:
        width: Number of features.
        scale: Their standard deviation afterwards.
    """

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.shift = nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalizes `(n, width)`; a batch of one row by the statistics kept so far."""
        training = self.training and x.shape[0] > 1
        scale = torch.full_like(self.shift, self.scale)
        mean, variance = self.get_buffer("mean"), self.get_buffer("variance")
        return F.batch_norm(x, mean, variance, scale, self.shift, training, 0.1, EPS)

    @torch.no_grad()
    def take_statistics(self, x: Tensor) -> None:
        """Keeps mean and variance of rows `(n, width)` for use outside training."""
        variance, mean = torch.var_mean(x, dim=0, correction=0)
        self.get_buffer("mean").copy_(mean)
        self.get_buffer("variance").copy_(variance)


class NormalizedAutoencoder(Autoencoder):
    """An `Autoencoder` whose posterior mean passes through a `FixedScaleNorm`."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, norm: FixedScaleNorm) -> None:
        super().__init__(encoder, decoder)
        self.norm = norm

    def encode(self, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """Normalized mean, and log variance, `(n, latent_dim)` each."""
        mean, log_variance = super().encode(x, condition)
        return self.norm(mean), log_variance


@register
@dataclass(kw_only=True, eq=False, repr=False)
class BNVAE(VAE):
    """VAE whose KL term cannot vanish (Zhu et al. 2020, "A batch normalized inference network").

    The posterior mean is batch-normalized to a fixed standard deviation gamma around a learned
    shift. The mean KL of a batch is then at least latent_dim gamma^2 / 2 for any weights (their
    eq. 7), up to the small number that batch normalization adds to a variance: the decoder cannot
    learn to ignore z. A fit ends by taking the statistics of all its rows, so that the bound holds
    for `encode` of them too. The other parameters are those of `VAE`.

    Attributes:
        gamma: Standard deviation of the posterior mean over the data.
    """

    priors: ClassVar[tuple[str, ...]] = ("normal",)

    gamma: float = 0.7

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        check_number("gamma", self.gamma, low=0)

    def network(self) -> nn.Module:
        """The new network."""
        plain = super().network()
        assert isinstance(plain, Autoencoder)
        norm = FixedScaleNorm(self.latent_dim, self.gamma)
        return NormalizedAutoencoder(plain.encoder, plain.decoder, norm)

    def finish(self, rows: Rows, generator: torch.Generator) -> None:
        """Takes statistics of the codes, and the output variance, from all scaled rows."""
        weights = self.weights_["network"]
        for network in (weights.module, weights.average):
            if isinstance(network, NormalizedAutoencoder):
                mean, _ = Autoencoder.encode(network, rows.x, rows.condition)
                network.norm.take_statistics(mean)
        super().finish(rows, generator)
