"""The VAE on the sphere."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evogen.models import VMFVAE, vmf


def rows(n: int = 80) -> np.ndarray:
    """A noisy closed curve in three dimensions."""
    rng = np.random.default_rng(0)
    t = rng.uniform(0, 2 * np.pi, n)
    curve = np.column_stack((np.cos(t), np.sin(t), np.sin(2 * t)))
    return curve + 0.1 * rng.normal(size=(n, 3))


@pytest.fixture(scope="module")
def circle() -> VMFVAE:
    return VMFVAE(latent_dim=2, hidden=(24,), n_steps=400, lr=1e-2).fit(rows())


def test_codes_are_unit_vectors_and_decode_looks_at_their_direction_only(circle):
    z = circle.encode(rows())
    assert torch.allclose(z.norm(dim=1), torch.ones(80), atol=1e-6)
    assert torch.allclose(circle.decode(z), circle.decode(3 * z), atol=1e-5)
    error = circle.decode(z).double().numpy() - rows()
    assert error.std() < 0.6 * rows().std()


def test_the_density_is_the_average_over_the_circle(circle):
    x = rows()[:20]
    angle = torch.arange(2000) * (2 * np.pi / 2000)
    z = torch.stack((angle.cos(), angle.sin()), dim=1)
    with torch.no_grad():
        decoded = circle.weights_["network"].module.decoder(z)
        scaled = circle.prepare_x(x)
        fit = torch.stack([circle.log_likelihood(circle.error(row, decoded)) for row in scaled])
    exact = torch.logsumexp(fit.double(), dim=1) - np.log(2000) - circle.scaler_.log_scale()
    draws = torch.Generator().manual_seed(0)
    found = circle.log_prob(x, n_samples=800, generator=draws)
    assert float((found - exact).abs().max()) < 0.15
    assert float((found - exact).mean()) == pytest.approx(0.0, abs=0.02)
    bound = circle.elbo(x, n_samples=300, generator=draws)
    assert float((bound - exact).mean()) < 0.01


def test_the_concentration_is_learned_or_given():
    fixed = VMFVAE(latent_dim=4, kappa=32.0, n_steps=20).fit(rows())
    network = fixed.weights_["network"].module
    with torch.no_grad():
        posterior = fixed.posterior(fixed.prepare_x(rows()), None, network)
    expected = float(vmf.kl_to_uniform(4, torch.tensor(32.0)))
    assert torch.allclose(fixed.divergence(posterior), torch.tensor(expected))
    free = VMFVAE(latent_dim=3, hidden=(24,), n_steps=500, lr=5e-3).fit(rows())
    with torch.no_grad():
        scaled = free.prepare_x(rows())
        _, kappa = free.posterior(scaled, None, free.weights_["network"].module)
    assert kappa.min() >= 1
    assert kappa.std() > 0.1, "each row has its own"
    assert kappa.mean() > 5, "informative rows are encoded sharply"


def test_samples_follow_the_curve(circle):
    sample = circle.sample(2000).double()
    distance = (sample[:, :2].norm(dim=1) - 1).abs()
    assert float(distance.median()) < 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"latent_dim": 1}, "latent_dim must be at least 2; got 1"),
        ({"kappa": 0}, "kappa must be at least 1e-06"),
        ({"kappa": 1e9}, "at most 100000"),
    ],
)
def test_bad_parameters_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        VMFVAE(**arguments)
