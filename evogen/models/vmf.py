"""The von Mises-Fisher distribution on the unit sphere: normalization, divergence, sampler.

Its density relative to the uniform one at z on the sphere in R^d is
exp(kappa direction.z) / 0F1(d/2; kappa^2 / 4). All functions work in float64 inside.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from scipy.special import gammaln, ive
from torch import Tensor

from evogen.models.rng import normal, uniform

# A proposal is accepted with a probability above 0.65 in any dimension, so that none of so many
# is accepted with one below 1e-14.
N_PROPOSALS = 32
N_NODES = 32
# From this order on the uniform expansion of the Bessel function is exact to 1e-9; `ive` would
# underflow at small arguments.
LARGE_ORDER = 25.0


def log_bessel(order: float, x: np.ndarray) -> np.ndarray:
    """log(I_order(x) exp(-x)) for x > 0, without over- or underflow.

    Small orders use scipy's scaled function, large ones the uniform expansion (Abramowitz and
    Stegun, 9.7.7, with four correction terms).
    """
    if order < LARGE_ORDER:
        return np.log(ive(order, x))
    z = x / order
    root = np.sqrt(1 + z * z)
    p = 1 / root
    first = (3 * p - 5 * p**3) / 24
    second = (81 * p**2 - 462 * p**4 + 385 * p**6) / 1152
    third = (30375 * p**3 - 369603 * p**5 + 765765 * p**7 - 425425 * p**9) / 414720
    fourth = (
        4465125 * p**4 - 94121676 * p**6 + 349922430 * p**8 - 446185740 * p**10 + 185910725 * p**12
    ) / 39813120
    series = np.log1p(first / order + second / order**2 + third / order**3 + fourth / order**4)
    # root - z without the cancellation at large z.
    exponent = 1 / (root + z) + np.log(z / (1 + root))
    return order * exponent - 0.5 * np.log(2 * np.pi * order * root) + series


def _on_host(kappa: Tensor) -> np.ndarray:
    return kappa.detach().double().cpu().numpy()


def mean_resultant(dim: int, kappa: Tensor) -> Tensor:
    """A_d(kappa) = I_{d/2}(kappa) / I_{d/2-1}(kappa), the mean of direction.z; no gradient.

    Args:
        dim: d >= 2, of the space around the sphere.
        kappa: Concentrations > 0, of any shape.

    Returns:
        Float64 in (0, 1), of the shape of kappa.
    """
    values = _on_host(kappa)
    ratio = np.exp(log_bessel(dim / 2, values) - log_bessel(dim / 2 - 1, values))
    return torch.as_tensor(ratio, device=kappa.device)


def log_normalizer(dim: int, kappa: Tensor) -> Tensor:
    """-log 0F1(d/2; kappa^2 / 4): log density at direction.z = 0, relative to the uniform one.

    Returns:
        Float64 <= 0, of the shape of kappa, with its gradient -A_d(kappa).
    """
    values, order = _on_host(kappa), dim / 2 - 1
    log_value = log_bessel(order, values) + values + gammaln(order + 1)
    value = torch.as_tensor(order * np.log(values / 2) - log_value, device=kappa.device)
    return _with_slope(value, -mean_resultant(dim, kappa), kappa)


def kl_to_uniform(dim: int, kappa: Tensor) -> Tensor:
    """KL(vMF(direction, kappa) | uniform) in nats, float64, of the shape of kappa."""
    mean = mean_resultant(dim, kappa)
    exact = kappa.detach().double()
    value = exact * mean + log_normalizer(dim, exact)
    slope = exact * (1 - mean.square() - (dim - 1) * mean / exact)
    return _with_slope(value, slope, kappa)


def _with_slope(value: Tensor, slope: Tensor, at: Tensor) -> Tensor:
    """The value, with a known derivative by `at`."""
    return value + slope * (at - at.detach()).double() if at.requires_grad else value


def draw_noise(
    shape: tuple[int, ...], dim: int, generator: torch.Generator, device: torch.device
) -> Tensor:
    """The randomness of `draw`, `(*shape, dim + 3 N_PROPOSALS)`."""
    return torch.cat(
        (
            normal((*shape, dim), generator, device=device),
            uniform((*shape, 3 * N_PROPOSALS), generator, device=device),
        ),
        dim=-1,
    )


def draw(direction: Tensor, kappa: Tensor, noise: Tensor) -> Tensor:
    """Draws z ~ vMF(direction, kappa), differentiable in both.

    z = w direction + sqrt(1 - w^2) v with v uniform on the unit sphere orthogonal to the
    direction (Ulrich 1984), and w from `draw_cosine`.

    Args:
        direction: Unit rows `(n, d)`, d >= 2.
        kappa: `(n, 1)`, > 0.
        noise: `(n, d + 3 N_PROPOSALS)` from `draw_noise`.

    Returns:
        Unit rows `(n, d)`.
    """
    dim = direction.shape[1]
    w = draw_cosine(dim, kappa, noise[:, dim:])
    sine = ((1 - w) * (1 + w)).clamp(min=1e-30).sqrt()
    free = noise[:, :dim]
    tangent = free - (free * direction).sum(dim=1, keepdim=True) * direction
    tangent = torch.nn.functional.normalize(tangent, dim=1)
    z = w.to(direction.dtype) * direction + sine.to(direction.dtype) * tangent
    return torch.nn.functional.normalize(z, dim=1)


def draw_cosine(dim: int, kappa: Tensor, uniforms: Tensor) -> Tensor:
    """Draws w = direction.z, with density proportional to exp(kappa w) (1 - w^2)^((d - 3) / 2).

    Wood's rejection sampler (1994, algorithm VM*) on a fixed number of proposals; should none be
    accepted, which has a probability below 1e-14, the last one stands. The derivative by kappa is
    that of the distribution function (implicit reparameterization, Figurnov et al. 2018), which
    unlike the derivative of the accepted proposal is unbiased.

    Args:
        dim: d >= 2.
        kappa: `(n, 1)`, > 0.
        uniforms: In [0, 1), `(n, 3 N_PROPOSALS)`.

    Returns:
        Float64 `(n, 1)` in [-1, 1].
    """
    k = kappa.detach().double()
    radius, angle, accept = uniforms.double().chunk(3, dim=1)
    # 1 - 2 e is the first coordinate of a uniform point on the sphere: e is a symmetric beta.
    planar = torch.zeros_like(radius) if dim == 2 else radius.pow(2 / (dim - 2))
    e = 0.5 - 0.5 * (1 - planar).clamp(min=0).sqrt() * torch.cos(2 * math.pi * angle)
    b = _shape(dim, k)
    mode = (1 - b) / (1 + b)
    w = 1 - _one_minus(b, e)
    # log(1 - mode^2), and 1 - mode w, without the cancellation at large kappa.
    log_rest = torch.log(4 * b) - 2 * torch.log1p(b)
    gap = (2 * b / (1 + b)) + mode * _one_minus(b, e)
    log_ratio = k * (w - mode) + (dim - 1) * (torch.log(gap) - log_rest)
    accepted = log_ratio >= torch.log(accept)
    accepted[:, -1] = True
    e = e.gather(1, accepted.to(torch.uint8).argmax(dim=1, keepdim=True))
    w = 1 - _one_minus(b, e)
    return _with_slope(w, _cosine_slope(dim, k, e), kappa) if kappa.requires_grad else w


def _shape(dim: int, kappa: Tensor) -> Tensor:
    """Wood's b, which fits the proposals to kappa."""
    return (dim - 1) / (2 * kappa + (4 * kappa.square() + (dim - 1) ** 2).sqrt())


def _one_minus(b: Tensor, e: Tensor) -> Tensor:
    """1 - w of the proposal w = (1 - (1 + b) e) / (1 - (1 - b) e)."""
    return 2 * b * e / (1 - (1 - b) * e)


@lru_cache(maxsize=1)
def _nodes() -> tuple[Tensor, Tensor]:
    """Nodes and weights `(1, N_NODES)` of Gauss and Legendre on [0, 1]."""
    x, weight = np.polynomial.legendre.leggauss(N_NODES)
    return torch.as_tensor((x + 1) / 2)[None], torch.as_tensor(weight / 2)[None]


@torch.no_grad()
def _cosine_slope(dim: int, kappa: Tensor, e: Tensor) -> Tensor:
    """dw / dkappa at a fixed value of the distribution function, `(n, 1)`, >= 0.

    It is the integral of (t - A) g(t) / g(w) over t in [w, 1], equally of (A - t) g(t) / g(w)
    over [-1, w], with g the density up to a constant. The side without a change of sign is taken,
    in the coordinate e of the proposals, where g is about as wide whatever kappa is.
    """
    u, weight = (part.to(e.device) for part in _nodes())
    e = e.clamp(1e-12, 1 - 1e-12)
    b, mean = _shape(dim, kappa), mean_resultant(dim, kappa)
    w = 1 - _one_minus(b, e)
    above = w >= mean
    # Towards the end of the interval e or 1 - e runs as u^2, which leaves no half powers of u.
    near = torch.where(above, e, 1 - e) * u.square()
    at = torch.where(above, near, 1 - near)
    rest = torch.where(above, 1 - near, near)
    below_one, below_one_w = _one_minus(b, at), _one_minus(b, e)
    scale, scale_w = 1 - (1 - b) * at, 1 - (1 - b) * e
    log_ratio = kappa * (below_one_w - below_one) + 0.5 * (dim - 3) * (
        torch.log(below_one / below_one_w) + torch.log(rest * scale_w / (scale * (1 - e)))
    )
    distance = (1 - below_one - mean).abs()
    step = 2 * u * torch.where(above, e, 1 - e) * 2 * b / scale.square()
    return (weight * distance * log_ratio.exp() * step).sum(dim=1, keepdim=True)
