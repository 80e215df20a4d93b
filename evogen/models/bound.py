"""A diffusion model as a hierarchical VAE: its variational bound, term by term and as a whole.

The latent variables are x_1 .. x_T, as large as x_0. The encoder q(x_t | x_{t-1}) has nothing to
learn, the decoder p(x_{t-1} | x_t) is one network for all levels (Kingma et al. 2021,
"Variational diffusion models", section 3). Everything is in nats and float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from evogen.models.rng import normal, uniform
from evogen.models.schedulers import posterior_variance

Decoder = Callable[[Tensor, int], tuple[Tensor, Tensor]]
"""x_t and t to mean and variance of p(x_{t-1} | x_t), each `(n, d)`."""


@dataclass(frozen=True)
class Bound:
    """Terms of the bound -log p(x_0) <= L_T + sum of L_{t-1} + L_0 (Ho et al. 2020, eq. 5).

    Attributes:
        prior: L_T = KL(q(x_T | x_0) || p(x_T)), in nats per item `(n,)`.
        steps: L_{t-1} = KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)), t = 2 .. T, at one draw of
            x_t each: `(n, T - 1)`; of levels that were left out, `(n, k)` and weighted by
            (T - 1) / k.
        reconstruction: L_0 = -log p(x_0 | x_1) at one draw of x_1, `(n,)`.
        n_numbers: Numbers in an item.
    """

    prior: Tensor
    steps: Tensor
    reconstruction: Tensor
    n_numbers: int

    @property
    def total(self) -> Tensor:
        """The bound on -log p(x_0), nats per item `(n,)`."""
        return self.prior + self.steps.sum(dim=1) + self.reconstruction

    @property
    def bits_per_dim(self) -> Tensor:
        """The bound in bits per number of an item, `(n,)`."""
        return self.total / (self.n_numbers * math.log(2))


def posterior(x0: Tensor, x_t: Tensor, left_t: float, left_s: float) -> tuple[Tensor, Tensor]:
    """Mean and variance of q(x_s | x_t, x_0), s < t (Ho et al. 2020, eq. 6 and 7)."""
    alpha = left_t / left_s
    mean = (
        math.sqrt(left_s) * (1 - alpha) / (1 - left_t) * x0
        + math.sqrt(alpha) * (1 - left_s) / (1 - left_t) * x_t
    )
    return mean, torch.full_like(mean, posterior_variance(left_t, left_s))


def gaussian_log_prob(x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """log N(x; mean, variance), summed over the numbers of an item: `(n, d)` to `(n,)`."""
    log_p = (x - mean).square() / variance + torch.log(2 * math.pi * variance)
    return -0.5 * log_p.sum(dim=1)


def gaussian_kl(mean: Tensor, variance: Tensor, mean2: Tensor, variance2: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(mean2, variance2)) of each number, `(n, d)`."""
    ratio = variance / variance2
    return 0.5 * (ratio - 1 - ratio.log() + (mean - mean2).square() / variance2)


def discretized_log_prob(
    x: Tensor, mean: Tensor, variance: Tensor, half_bin: Tensor, low: Tensor, high: Tensor
) -> Tensor:
    """Log probability of the bins around x under N(mean, variance), `(n, d)` to `(n,)`.

    The first and the last bin reach to infinity (Ho et al. 2020, eq. 13).

    Args:
        x: Centres of bins `(n, d)`.
        mean: `(n, d)`.
        variance: `(n, d)`.
        half_bin: Half the width of a bin `(d,)`.
        low: Centre of the first bin `(d,)`.
        high: Centre of the last bin `(d,)`.
    """
    std = variance.sqrt()
    above = torch.where(x > high - half_bin, math.inf, (x + half_bin - mean) / std)
    below = torch.where(x < low + half_bin, -math.inf, (x - half_bin - mean) / std)
    # Far out on the right the difference of two ones would be 0: mirrored to the left.
    flip = below > 0
    above, below = torch.where(flip, -below, above), torch.where(flip, -above, below)
    upper, lower = torch.special.log_ndtr(above), torch.special.log_ndtr(below)
    return (upper + torch.log1p(-torch.exp(lower - upper))).sum(dim=1)


def variational_bound(
    x0: Tensor,
    decoder: Decoder,
    alpha_bar: Sequence[float],
    log_likelihood: Callable[[Tensor, Tensor, Tensor], Tensor],
    generator: torch.Generator,
    *,
    n_levels: int | None = None,
) -> Bound:
    """The bound with every KL in closed form, at one draw of x_t ~ q(x_t | x_0) for each level.

    Args:
        x0: Items `(n, d)`, float64.
        decoder: p(x_{t-1} | x_t).
        alpha_bar: Of levels 0 .. T.
        log_likelihood: log p(x_0 | x_1) from x_0, mean and variance: three `(n, d)` to `(n,)`.
        generator: Source of the draws.
        n_levels: Levels to look at, the rest being guessed from them without bias; None for all.
    """
    n_terms = len(alpha_bar) - 2
    if n_levels is None or n_levels >= n_terms:
        levels, weight = list(range(2, n_terms + 2)), 1.0
    else:
        # One in each of so many equal parts, so that the guess is not too noisy.
        place = torch.arange(n_levels) + uniform((n_levels,), generator, dtype=torch.float64).cpu()
        levels = (2 + place * n_terms / n_levels).long().tolist()
        weight = n_terms / n_levels

    def noised(t: int) -> Tensor:
        z = normal(tuple(x0.shape), generator, device=x0.device, dtype=x0.dtype)
        return math.sqrt(alpha_bar[t]) * x0 + math.sqrt(1 - alpha_bar[t]) * z

    left = torch.tensor(alpha_bar[-1], dtype=x0.dtype, device=x0.device)
    zero, one = torch.zeros_like(x0), torch.ones_like(x0)
    prior = gaussian_kl(left.sqrt() * x0, (1 - left) * one, zero, one).sum(dim=1)
    reconstruction = -log_likelihood(x0, *decoder(noised(1), 1))
    steps = [x0.new_zeros(len(x0), 0)]
    for t in levels:
        x_t = noised(t)
        q = posterior(x0, x_t, alpha_bar[t], alpha_bar[t - 1])
        steps.append(weight * gaussian_kl(*q, *decoder(x_t, t)).sum(dim=1, keepdim=True))
    return Bound(prior, torch.cat(steps, dim=1), reconstruction, x0.shape[1])


def draw_path(x0: Tensor, alpha_bar: Sequence[float], generator: torch.Generator) -> list[Tensor]:
    """x_0, x_1, .. x_T as the encoder draws them, one after the other: T + 1 times `(n, d)`."""
    path = [x0]
    for left_s, left_t in pairwise(alpha_bar):
        z = normal(tuple(x0.shape), generator, device=x0.device, dtype=x0.dtype)
        alpha = left_t / left_s
        path.append(math.sqrt(alpha) * path[-1] + math.sqrt(1 - alpha) * z)
    return path


def path_log_ratio(path: Sequence[Tensor], decoder: Decoder, alpha_bar: Sequence[float]) -> Tensor:
    """log p(x_0 .. x_T) - log q(x_1 .. x_T | x_0), nats per item `(n,)`, along a given path.

    Read as a VAE: the prior and the decoders downwards, less the encoders upwards. Over paths of
    `draw_path` its mean is the negative of `variational_bound`'s total.

    Args:
        path: x_0 .. x_T, float64, `(n, d)` each.
        decoder: p(x_{t-1} | x_t).
        alpha_bar: Of levels 0 .. T.
    """
    last = path[-1]
    log_p = gaussian_log_prob(last, torch.zeros_like(last), torch.ones_like(last))
    log_q = torch.zeros_like(log_p)
    for t in range(len(path) - 1, 0, -1):
        log_p = log_p + gaussian_log_prob(path[t - 1], *decoder(path[t], t))
        alpha = alpha_bar[t] / alpha_bar[t - 1]
        variance = torch.full_like(last, 1 - alpha)
        log_q = log_q + gaussian_log_prob(path[t], math.sqrt(alpha) * path[t - 1], variance)
    return log_p - log_q
