"""BN-VAE: the floor under its KL term."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evogen.models import BNVAE, VAE
from evogen.models.bnvae import EPS, FixedScaleNorm
from evogen.models.layers import initialize


def rows(n: int = 100, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 2)) @ rng.normal(size=(2, 5)) + 0.3 * rng.normal(size=(n, 5))


def kl(model: VAE, x: np.ndarray) -> float:
    network = model.weights_["network"].module
    with torch.no_grad():
        return float(model.divergence(model.posterior(model.prepare_x(x), None, network)).mean())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("gamma", [0.3, 0.7])
def test_the_batch_kl_has_its_floor_for_any_weights(seed, gamma):
    model = BNVAE(latent_dim=10, gamma=gamma, n_steps=0).fit(rows())
    network = model.weights_["network"].module.train()
    draws = torch.Generator().manual_seed(seed)
    initialize(network, draws)
    with torch.no_grad():
        network.encoder.output.weight.mul_(torch.rand(20, 1, generator=draws) * 10)
        batch = model.prepare_x(rows(37, seed=seed + 1))
        raw = network.encoder(batch)[:, :10]
        divergence = model.divergence(model.posterior(batch, None, network)).mean()
    variance = raw.var(dim=0, correction=0)
    floor = 0.5 * gamma**2 * float((variance / (variance + EPS)).sum())
    assert float(divergence) >= floor - 1e-5
    assert floor > 0.95 * 10 * gamma**2 / 2


def test_the_floor_holds_where_the_plain_vae_collapses():
    x = rows()
    settings = {"latent_dim": 4, "hidden": (16,), "beta": 20.0, "n_steps": 200, "lr": 1e-2}
    plain, normed = VAE(**settings).fit(x), BNVAE(**settings, gamma=0.7).fit(x)
    assert kl(plain, x) < 0.05
    assert kl(normed, x) >= 4 * 0.7**2 / 2 - 1e-3

    def error(model):
        return float(((model.decode(model.encode(x)).numpy() - x) ** 2).sum(axis=1).mean())

    assert error(plain) > 0.95 * x.var(axis=0).sum()
    assert error(normed) < 0.8 * error(plain)


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_codes_of_the_data_have_the_fixed_deviation(ema_decay):
    x = rows()
    model = BNVAE(latent_dim=3, gamma=0.4, batch_size=16, ema_decay=ema_decay, n_steps=50).fit(x)
    z = model.encode(x)
    assert torch.allclose(z.std(dim=0, correction=0), torch.tensor(0.4), rtol=1e-2)
    shift = model.sampler("network").norm.shift
    assert torch.allclose(z.mean(dim=0), shift, atol=1e-4)
    assert shift.abs().max() > 1e-4, "the shift is learned"


def test_the_scale_is_no_parameter():
    norm = FixedScaleNorm(3, 0.5)
    assert [name for name, _ in norm.named_parameters()] == ["shift"]
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * 7 + 2
    assert torch.allclose(norm.train()(x).std(dim=0, correction=0), torch.tensor(0.5), rtol=1e-3)
    assert torch.isfinite(norm(x[:1])).all()


def test_bad_parameters_are_refused():
    with pytest.raises(ValueError, match="gamma must be at least 0; got -1"):
        BNVAE(gamma=-1)
