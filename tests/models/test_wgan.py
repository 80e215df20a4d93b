"""The Wasserstein GAN with clipping."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr, wasserstein_distance

from evogen.models import GAN, WGAN


def line(n: int, centre: float) -> np.ndarray:
    return centre + 0.5 * np.random.default_rng(0).normal(size=(n, 1))


def test_the_critics_weights_stay_within_the_clip_at_all_times():
    model = WGAN(n_steps=15, clip=0.03, lr_discriminator=0.1)
    seen = []

    def look(step, losses):
        seen.append(float(model.weights_["discriminator"].flat.abs().max()))

    model.fit(line(30, 0.0), n_steps=0)
    assert float(model.weights_["discriminator"].flat.abs().max()) <= 0.03
    model.fit(line(30, 0.0), callback=look)
    assert len(seen) == 15
    assert max(seen) <= 0.03 + 1e-9
    assert float(model.weights_["generator"].flat.abs().max()) > 0.03


CRITIC = {"normalize": False, "lr_discriminator": 1e-2, "clip": 0.1}


def test_the_critics_loss_follows_the_wasserstein_distance_over_training():
    x = line(256, 4.0)
    model = WGAN(n_steps=120, lr_generator=3e-4, **CRITIC)
    estimates, exact = [], []

    def look(step, losses):
        if step % 5 == 4:
            made = model.sample(256, generator=torch.Generator().manual_seed(1))[:, 0].numpy()
            exact.append(wasserstein_distance(made, x[:, 0]))
            estimates.append(-float(losses["discriminator"]))

    model.fit(x, callback=look)
    assert exact[-1] < 0.3 * exact[0]
    assert spearmanr(estimates, exact).statistic > 0.9


def test_the_critic_does_not_saturate_when_the_distance_grows():
    ratios = []
    for centre in (1.0, 2.0, 4.0, 8.0):
        model = WGAN(n_steps=60, lr_generator=0.0, **CRITIC).fit(line(128, centre))
        made = model.sample(5000, generator=torch.Generator().manual_seed(1))[:, 0].numpy()
        exact = wasserstein_distance(made, line(5000, centre)[:, 0])
        ratios.append(-float(model.losses_["discriminator"][-1]) / exact)
    # A Jensen-Shannon estimate is bounded, so that its ratio would fall by a factor of about 8.
    assert max(ratios) / min(ratios) < 1.8


def test_losses_are_differences_of_means():
    x = line(40, 1.0)
    model = WGAN(n_steps=2, negative_weight=0.25).fit(x, negative=x - 3)
    critic = model.weights_["discriminator"].module
    real = model.prepare_x(x)
    negative = model.prepare_x(x[:9] - 3)
    z = model.draw_latent(40, torch.Generator().manual_seed(0))
    with torch.no_grad():
        fake = model.forward_generator(z, None)
        low = 0.75 * critic(fake).mean() + 0.25 * critic(negative).mean()
        expected = low - critic(real).mean()
        assert torch.allclose(model.discriminator_loss(real, z, None, negative, None), expected)
        assert torch.allclose(model.generator_loss(z, None, None), -critic(fake).mean())


def test_its_losses_are_not_those_of_a_gan_and_need_autograd():
    assert GAN(n_steps=0).fit(line(9, 0.0)).gradients_are_known
    assert not WGAN(n_steps=0).fit(line(9, 0.0)).gradients_are_known


def test_bad_parameters_are_refused():
    with pytest.raises(ValueError, match="clip must be at least"):
        WGAN(clip=0)
