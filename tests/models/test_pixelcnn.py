"""Tests of the gated PixelCNN; `test_pixels` has what all such models promise."""

from __future__ import annotations

import numpy as np
import torch

from evogen.models.pixelcnn import PixelCNN, gate


def images(n=10, shape=(1, 4, 4), seed=0):
    return torch.as_tensor(np.random.default_rng(seed).integers(2, size=(n, *shape))).float()


def test_the_gate_is_a_product_of_tanh_and_sigmoid():
    x = torch.randn(2, 6, 2, 2)
    # Parts of x, as in the gate: how numbers lie in memory decides the last bits of their tanh.
    assert torch.equal(gate(x), x[:, :3].tanh() * x[:, 3:].sigmoid())


def test_without_the_link_between_the_stacks_rows_above_are_lost():
    """What the horizontal stack knows of them comes from the vertical one alone."""
    model = PixelCNN(n_steps=2, n_layers=3, kernel=3, width=16).fit(images())
    network = model.weights_["network"].module
    features = torch.randn(1, 1, 4, 4, requires_grad=True)

    def seen():
        logits = network.logits(features, None)[0, 0, 3, 2]
        return torch.autograd.grad(logits[0], features)[0][0, 0]

    assert bool((seen()[:3] != 0).all())
    with torch.no_grad():
        for layer in network.layers:
            layer.link.weight.zero_()
    assert bool((seen()[:3] == 0).all())
    assert bool((seen()[3, :2] != 0).all())


def test_the_residual_connection_never_passes_the_image_itself():
    """Not even when the image has as many features as a layer."""
    model = PixelCNN(n_steps=1, n_layers=2, width=6, embedding_dim=6).fit(images())
    assert [layer.residual for layer in model.weights_["network"].module.layers] == [False, True]


def test_a_condition_moves_the_gates_of_every_layer():
    x, labels = images(), np.arange(10) % 2
    model = PixelCNN(n_steps=1, n_layers=3, width=8).fit(x, labels)
    network = model.weights_["network"].module
    base = model.log_prob(x, [0])
    for layer in network.layers:
        kept = layer.condition.weight.detach().clone()
        with torch.no_grad():
            layer.condition.weight.add_(1.0)
            changed = model.weights_["network"].sampler is network
            assert changed or model.ema_decay > 0
            features = network.input(model.to_levels(model.prepare_x(x)))
            moved = network.logits(features, model.prepare_condition([0], 10))
            layer.condition.weight.copy_(kept)
            back = network.logits(features, model.prepare_condition([0], 10))
        assert float((moved - back).abs().max()) > 1e-3
    assert torch.equal(base, model.log_prob(x, [0]))


def test_a_thousand_small_images_take_little_more_than_one_pass():
    """No feature is computed twice: convolutions see as many places as there are in an image."""
    model = PixelCNN(n_steps=0, n_layers=2, width=4).fit(images(shape=(1, 6, 6)))
    seen = []
    layer = model.sampler("network").layers[1].horizontal
    layer.register_forward_hook(lambda *args: seen.append(args[2].shape[2:].numel()))
    model.sample(3)
    assert sum(seen) == 36
