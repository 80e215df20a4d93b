"""The deep convolutional GAN."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from evogen.models.adversarial_networks import BatchNorm2d
from evogen.models.dcgan import DCGAN


def bars(n: int, seed: int = 0) -> np.ndarray:
    """Pictures 8 x 8 with one bright column of eight."""
    images = np.zeros((n, 1, 8, 8))
    images[np.arange(n), 0, :, np.random.default_rng(seed).integers(8, size=n)] = 1.0
    return images


@pytest.fixture(scope="module")
def new() -> DCGAN:
    return DCGAN(channels=16).fit(bars(20), n_steps=0)


def test_weights_start_with_the_papers_deviation(new):
    for name in ("generator", "discriminator"):
        module = new.weights_[name].module
        kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
        layers = [m for m in module.modules() if isinstance(m, kinds)]
        weights = torch.cat([layer.weight.flatten() for layer in layers]).detach()
        assert float(weights.std()) == pytest.approx(0.02, rel=0.03)
        assert abs(float(weights.mean())) < 1e-3
        assert all((layer.bias == 0).all() for layer in layers)


def test_batch_normalization_is_in_all_layers_but_gs_output_and_ds_input(new):
    """Radford et al. 2016, section 3."""
    g, d = (new.weights_[name].module for name in ("generator", "discriminator"))
    assert all(isinstance(norm, BatchNorm2d) for norm in g.norms)
    assert len(g.norms) == len(g.layers)
    first, *others = d.norms
    assert isinstance(first, nn.Identity)
    assert others
    assert all(isinstance(norm, BatchNorm2d) for norm in others)
    assert all(layer.stride == (2, 2) for net in (g, d) for layer in net.layers)


def test_its_output_is_the_tanh_of_scaled_pictures(new):
    z = new.draw_latent(9, torch.Generator().manual_seed(0))
    rows = new.forward_generator(z, None).detach()
    assert float(rows.abs().max()) <= 1
    assert torch.allclose(new.to_items(rows).flatten(1), (rows + 1) / 2)


def test_its_generator_is_relu_and_its_discriminator_leaky(new):
    value = torch.tensor([-1.0, 2.0])
    assert new.weights_["generator"].module.activation(value).tolist() == [0.0, 2.0]
    assert torch.allclose(
        new.weights_["discriminator"].module.activation(value), torch.tensor([-0.2, 2.0])
    )


def test_adam_is_the_papers(new):
    for name in ("generator", "discriminator"):
        assert new.adam_settings(name) == {"lr": 2e-4, "betas": (0.5, 0.999)}


def test_it_learns_where_the_bars_are():
    images = bars(300)
    settings = {"channels": 8, "lr_generator": 2e-3, "lr_discriminator": 2e-3}
    model = DCGAN(ema_decay=0.98, **settings)

    def off(rows: torch.Tensor) -> float:
        """Mean distance of a picture from the nearest one with a bar."""
        near = torch.cdist(rows.flatten(1), torch.tensor(bars(100)).float().flatten(1))
        return float(near.min(dim=1).values.mean())

    start = off(model.fit(images, n_steps=0).sample(200))
    rows = model.fit(images, n_steps=250).sample(200)
    assert off(rows) < 0.5 * start
    # Not all alike: the bright column varies.
    assert len(rows.mean(dim=(1, 2)).argmax(dim=1).unique()) >= 4


def test_labels_choose_what_is_drawn():
    images = np.zeros((60, 1, 4, 4))
    labels = np.arange(60) % 2
    images[labels == 1] = 1.0
    model = DCGAN(channels=8, lr_generator=2e-3, lr_discriminator=2e-3, n_steps=80)
    model.fit(images, labels)
    dark, bright = (float(model.sample(50, label).mean()) for label in (0, 1))
    assert dark < 0.3
    assert bright > 0.7
