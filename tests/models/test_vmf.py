"""The von Mises-Fisher distribution against closed forms and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import gammaln, ive
from scipy.stats import kstest, vonmises_fisher

from evogen.models import vmf

CPU = torch.device("cpu")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def directions(n: int, dim: int) -> torch.Tensor:
    one = torch.nn.functional.normalize(torch.randn(1, dim, generator=generator(7)))
    return one.expand(n, -1)


def draws(n: int, dim: int, kappa: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines with their slopes by kappa, `(n,)` each."""
    given = torch.full((n, 1), kappa, requires_grad=True)
    noise = vmf.draw_noise((n,), dim, generator(seed), CPU)
    w = vmf.draw_cosine(dim, given, noise[:, dim:])
    (slope,) = torch.autograd.grad(w.sum(), given)
    return w.detach()[:, 0], slope[:, 0]


@pytest.mark.parametrize(
    ("dim", "kappa", "resultant", "divergence"),
    [
        (3, 1, 0.31304, 0.15160),
        (3, 10, 0.90000, 1.99573),
        (3, 100, 0.99000, 4.29832),
        (10, 1, 0.09918, 0.04938),
        (10, 10, 0.63367, 2.48447),
        (10, 100, 0.95580, 11.35022),
    ],
)
def test_resultant_and_divergence_have_the_known_values(dim, kappa, resultant, divergence):
    given = torch.tensor(float(kappa))
    assert float(vmf.mean_resultant(dim, given)) == pytest.approx(resultant, abs=6e-6)
    assert float(vmf.kl_to_uniform(dim, given)) == pytest.approx(divergence, abs=6e-6)


@pytest.mark.parametrize("dim", [2, 3, 10, 64])
@pytest.mark.parametrize("kappa", [0.01, 1.0, 50.0, 1e3, 1e5])
def test_the_divergence_is_the_entropy_missing_to_the_uniform(dim, kappa):
    entropy = vonmises_fisher(mu=np.eye(dim)[0], kappa=kappa).entropy()
    area = math.log(2) + dim / 2 * math.log(math.pi) - gammaln(dim / 2)
    found = float(vmf.kl_to_uniform(dim, torch.tensor(kappa, dtype=torch.float64)))
    assert found == pytest.approx(area - entropy, rel=1e-8, abs=1e-9)


@pytest.mark.parametrize("order", [25.0, 50.0, 99.5, 400.0])
def test_large_orders_agree_with_the_bessel_function_where_that_does_not_underflow(order):
    x = order * np.array([0.5, 1.0, 3.0, 50.0])
    np.testing.assert_allclose(vmf.log_bessel(order, x), np.log(ive(order, x)), atol=1e-8)


def test_nothing_overflows_or_underflows():
    for dim in (2, 5, 51, 52, 101, 102, 103, 5000):
        kappa = torch.tensor([1e-6, 1.0, 600.0, 1e5], requires_grad=True)
        divergence = vmf.kl_to_uniform(dim, kappa)
        (slope,) = torch.autograd.grad(divergence.sum(), kappa)
        assert torch.isfinite(divergence).all()
        assert (divergence.diff() > 0).all()
        assert (slope > 0).all()


@pytest.mark.parametrize("dim", [2, 3, 10, 200])
def test_the_slopes_of_divergence_and_normalizer_are_their_difference_quotients(dim):
    for function in (vmf.kl_to_uniform, vmf.log_normalizer):
        kappa = torch.tensor([0.5, 5.0, 80.0], dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(function(dim, kappa).sum(), kappa)
        step = 1e-4 * kappa.detach()
        up, down = (function(dim, kappa.detach() + s) for s in (step, -step))
        assert torch.allclose(slope, (up - down) / (2 * step), rtol=1e-5)


@pytest.mark.parametrize("dim", [3, 10])
@pytest.mark.parametrize("kappa", [1.0, 10.0, 100.0, 1000.0])
def test_draws_are_unit_rows_with_the_right_mean(dim, kappa):
    n = 20_000
    direction = directions(n, dim)
    noise = vmf.draw_noise((n,), dim, generator(), CPU)
    z = vmf.draw(direction, torch.full((n, 1), kappa), noise).double()
    assert torch.allclose(z.norm(dim=1), torch.ones(n, dtype=torch.float64), atol=1e-6)
    mean, error = z.mean(dim=0), z.std(dim=0) / n**0.5
    expected = direction[0].double() * vmf.mean_resultant(dim, torch.tensor(kappa))
    assert ((mean - expected).abs() < 4 * error).all()
    # Around the direction all tangents are alike.
    tangent = z - (z @ direction[0].double())[:, None] * direction[0]
    values = torch.linalg.eigvalsh(tangent.T @ tangent / n)[1:]
    assert values.max() / values.min() < 1.15


@pytest.mark.parametrize("kappa", [0.1, 2.0, 30.0, 500.0])
def test_in_three_dimensions_cosines_have_the_known_distribution(kappa):
    w, _ = draws(20_000, 3, kappa)

    def cdf(t):
        return (
            np.expm1(kappa * (t + 1)) / np.expm1(2 * kappa)
            if kappa < 100
            else np.exp(kappa * (t - 1))
        )

    assert kstest(w.numpy(), cdf).pvalue > 1e-3


@pytest.mark.parametrize("dim", [2, 3, 4, 10, 100])
@pytest.mark.parametrize("kappa", [1.0, 20.0, 1000.0])
def test_the_slope_by_kappa_is_unbiased(dim, kappa):
    """Its mean is the derivative of the mean cosine, A' = 1 - A^2 - (d - 1) A / kappa."""
    _, slope = draws(20_000, dim, kappa)
    a = float(vmf.mean_resultant(dim, torch.tensor(kappa)))
    expected = 1 - a * a - (dim - 1) * a / kappa
    assert (slope >= 0).all()
    error = float(slope.std()) / len(slope) ** 0.5
    assert abs(float(slope.mean()) - expected) < 4 * error


def test_the_slope_by_kappa_follows_the_quantile():
    """In three dimensions w = 1 + log(p + (1 - p) exp(-2 kappa)) / kappa at the level p."""
    w, slope = draws(200, 3, 4.0)
    level = torch.expm1(4.0 * (w + 1)) / math.expm1(8.0)

    def quantile(k):
        return 1 + torch.log(level + (1 - level) * math.exp(-2 * k)) / k

    expected = (quantile(4.0 + 1e-4) - quantile(4.0 - 1e-4)) / 2e-4
    assert torch.allclose(slope.double(), expected, atol=1e-6)


@pytest.mark.parametrize("dim", [2, 3, 10, 300])
def test_proposals_are_accepted_often_enough_for_their_number(dim):
    """The share of rows whose first proposal stands is the probability of acceptance."""
    n = 5_000
    for kappa in (0.01, 1.0, 10.0, 1e4):
        noise = vmf.draw_noise((n,), dim, generator(), CPU)[:, dim:]
        given = torch.full((n, 1), kappa)
        chosen = vmf.draw_cosine(dim, given, noise)
        always = noise.clone()
        always[:, 2 * vmf.N_PROPOSALS] = 0.0
        first = vmf.draw_cosine(dim, given, always)
        assert float((chosen == first).double().mean()) > 0.65
