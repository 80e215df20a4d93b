"""The least-squares GAN."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm

from evogen.models import LSGAN


def test_the_best_discriminator_is_the_share_of_the_data_in_the_density():
    """With G held still, D(x) = p(x) / (p(x) + q(x)) (Mao et al. 2017, eq. 5)."""
    x = 1.5 + 0.8 * np.random.default_rng(0).normal(size=(1000, 1))
    model = LSGAN(
        n_steps=300,
        normalize=False,
        latent_dim=1,
        hidden_generator=(),
        hidden_discriminator=(32, 32),
        lr_generator=0.0,
        lr_discriminator=1e-2,
        betas=(0.9, 0.99),
        schedule="linear",
    ).fit(x)
    layer = model.weights_["generator"].module.output
    centre, spread = float(layer.bias.detach()), abs(float(layer.weight.detach()))
    places = np.concatenate((x, centre + spread * np.random.default_rng(1).normal(size=(1000, 1))))
    p, q = norm(1.5, 0.8).pdf(places), norm(centre, spread).pdf(places)
    error = model.score(places).double().numpy() - (p / (p + q))[:, 0]
    assert np.mean(error**2) < 1e-2
    assert np.mean((p / (p + q) - 0.5) ** 2) > 4e-2, "a constant would not do"


def test_losses_have_the_values_of_the_paper():
    x = np.random.default_rng(0).normal(size=(30, 3))
    model = LSGAN(n_steps=5, negative_weight=0.25).fit(x, negative=x + 4)
    assert not model.gradients_are_known
    judge = model.weights_["discriminator"].module
    real, negative = model.prepare_x(x), model.prepare_x(x[:7] + 4)
    z = model.draw_latent(30, torch.Generator().manual_seed(0))
    with torch.no_grad():
        fake = judge(model.forward_generator(z, None))
        low = 0.75 * fake.square().mean() + 0.25 * judge(negative).square().mean()
        expected = 0.5 * low + 0.5 * (judge(real) - 1).square().mean()
        found = model.discriminator_loss(real, z, None, negative, None)
        assert float(found) == pytest.approx(float(expected), rel=1e-5)
        expected = 0.5 * (fake - 1).square().mean()
        assert float(model.generator_loss(z, None, None)) == pytest.approx(float(expected))


def test_it_moves_from_its_start_to_the_data():
    x = np.random.default_rng(0).normal(size=(200, 2)) @ np.array([[1.0, 0.9], [0.0, 0.3]])
    settings = {"ema_decay": 0.98, "betas": (0.0, 0.99), "r1": 0.1, "random_state": 1}
    start = LSGAN(**settings).fit(x, n_steps=0).sample(1000).double().numpy()
    rows = LSGAN(**settings).fit(x, n_steps=400).sample(1000).double().numpy()
    wanted = np.cov(x.T)

    def error(sample):
        return np.abs(np.cov(sample.T) - wanted).max() / wanted.max()

    assert error(rows) < 0.5 < error(start)
    assert np.corrcoef(rows.T)[0, 1] > 0.7
