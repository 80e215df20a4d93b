"""The VAE on the sphere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from evogen.models import vmf
from evogen.models.checks import as_rows, check_number
from evogen.models.rng import normal
from evogen.models.serialization import register
from evogen.models.vae import VAE, Autoencoder, Gaussians

MAX_KAPPA = 1e5


@register
@dataclass(kw_only=True, eq=False, repr=False)
class VMFVAE(VAE):
    """VAE with codes on the unit sphere (Davidson et al. 2018; Xu and Durrett 2018).

    The prior is uniform on the sphere in R^latent_dim and the posterior a von Mises-Fisher
    distribution with its direction, and by default its concentration kappa = 1 + softplus(.),
    from the encoder; the sampler, the divergence and their gradients are exact (see `vmf`). A
    given kappa makes the divergence a constant, which cannot vanish. `encode` gives directions
    and `decode` takes any vectors, by their directions. The other parameters are those of `VAE`;
    `prior` keeps its default, which has no meaning here.

    Attributes:
        latent_dim: Size of z, at least 2; the sphere has one dimension less.
        kappa: A fixed concentration > 0 of all posteriors; None for one that is learned.
    """

    priors: ClassVar[tuple[str, ...]] = ("normal",)

    kappa: float | None = None

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        check_number("latent_dim", self.latent_dim, low=2, integer=True)
        if self.kappa is not None:
            check_number("kappa", self.kappa, low=1e-6, high=MAX_KAPPA)

    @property
    def n_encoded(self) -> int:
        """Number of outputs of the encoder."""
        return self.latent_dim + 1

    def posterior(
        self, x: Tensor, condition: Tensor | None, network: Autoencoder
    ) -> tuple[Tensor, Tensor]:
        """Parameters of q(z | x): direction `(n, latent_dim)` and kappa `(n, 1)`."""
        encoded = network.encoder(x, condition)
        direction, raw = encoded[:, :-1], encoded[:, -1:]
        if self.kappa is not None:
            kappa = torch.full_like(raw, self.kappa)
        else:
            kappa = (1 + F.softplus(raw)).clamp(max=MAX_KAPPA)
        return F.normalize(direction, dim=1), kappa

    def draw_noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """The randomness that `draw_code` needs, `(*shape, size)`."""
        return vmf.draw_noise(shape, self.latent_dim, generator, self.device_)

    def draw_code(self, posterior: tuple[Tensor, Tensor], noise: Tensor) -> Tensor:
        """z ~ q(z | x), unit rows `(n, latent_dim)`, differentiable in the posterior."""
        return vmf.draw(*posterior, noise)

    def divergence(self, posterior: tuple[Tensor, Tensor]) -> Tensor:
        """KL(q(z | x) | uniform) in nats, `(n,)`."""
        return vmf.kl_to_uniform(self.latent_dim, posterior[1])[:, 0].float()

    def log_weight(
        self,
        posterior: tuple[Tensor, Tensor],
        noise: Tensor,
        z: Tensor,
        components: Gaussians | None = None,
    ) -> Tensor:
        """log p(z) - log q(z | x), `(n,)`."""
        direction, kappa = posterior
        cosine = (z * direction).sum(dim=1)
        return -(vmf.log_normalizer(self.latent_dim, kappa)[:, 0] + kappa[:, 0] * cosine)

    def draw_prior(self, n: int, generator: torch.Generator) -> Tensor:
        """z uniform on the sphere, `(n, latent_dim)`."""
        return F.normalize(normal((n, self.latent_dim), generator, device=self.device_), dim=1)

    def decode(self, z: Any, condition: Any = None) -> Tensor:
        """Means of p(x | z), items in the units of the data, of z / |z|, z `(n, latent_dim)`."""
        self.check_fitted()
        return super().decode(F.normalize(as_rows("z", z, n_columns=self.latent_dim)), condition)
