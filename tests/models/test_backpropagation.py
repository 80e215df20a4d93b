"""Explicit gradients of the models against autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evogen.models import DDPM, GAN, VAE, WGANGP, Weights
from evogen.models.backpropagation import DERIVATIVES, PlainMLP
from evogen.models.layers import initialize
from evogen.models.networks import ACTIVATIONS, MLP


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("output", ["linear", "sigmoid", "tanh"])
def test_explicit_passes_equal_autograd(activation, output):
    net = MLP(3, 2, hidden=(7, 5), activation=activation, output=output, n_condition=1)
    initialize(net, generator())
    weights = Weights(net)
    x, c = torch.randn(9, 3, generator=generator(1)), torch.randn(9, 1, generator=generator(2))
    slope = torch.randn(9, 2, generator=generator(3))
    both = torch.cat((x, c), dim=1).requires_grad_()
    expected = net(both)
    weights.grad.zero_()
    expected.backward(slope)
    reference = weights.grad.clone()
    plain = PlainMLP(net)
    done = plain.forward(both.detach())
    assert torch.allclose(done.output, expected.detach(), atol=1e-6)
    weights.grad.fill_(3.0)
    at_input = plain.backward(done, slope, to_weights=False, to_input=True)
    assert torch.allclose(at_input, both.grad, atol=1e-6)
    assert (weights.grad == 3.0).all()
    weights.grad.zero_()
    plain.backward(done, slope)
    assert torch.allclose(weights.grad, reference, atol=1e-6)


def test_every_activation_has_its_derivative():
    assert DERIVATIVES.keys() == ACTIVATIONS.keys()


SETTINGS = [
    {},
    {"loss": "minimax"},
    {"instance_noise": 0.3, "batch_size": 7},
    {"prior": "data", "residual": True},
    {"output": "sigmoid", "activation": "tanh"},
    {"hidden_generator": (), "hidden_discriminator": ()},
]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("extra", ["nothing", "negative", "condition"])
def test_explicit_losses_and_gradients_of_the_gan_equal_autograd(settings, extra):
    rng = np.random.default_rng(0)
    x, other = rng.normal(size=(12, 3)), rng.normal(size=(20, 3)) + 2
    model = GAN(**settings, negative_weight=0.3)
    rows = model.check_rows(
        x,
        other[:12, :2] if extra == "condition" else None,
        other if extra == "negative" else None,
    )
    model.fit_rows(rows, n_steps=5)
    for part in ("x", "condition", "negative"):
        value = getattr(rows, part)
        setattr(rows, part, None if value is None else value.float())
    for objective in model.objectives(rows):
        assert objective.gradient is not None
        (batch,) = next(objective.batches(1, generator()))
        objective.weights.grad.zero_()
        loss = objective.loss(*batch)
        torch.autograd.backward(loss, inputs=objective.weights.parameters)
        expected = objective.weights.grad.clone()
        explicit = objective.gradient(*batch)
        assert expected.abs().max() > 1e-4
        assert torch.allclose(objective.weights.grad, expected, atol=1e-6)
        assert torch.allclose(explicit, loss.detach(), atol=1e-6)


@pytest.mark.parametrize(
    "model",
    [
        DDPM(hidden=(16, 16)),
        DDPM(hidden=(), n_octaves=1, prediction="noise"),
        VAE(hidden=(16,), beta=0.7),
        VAE(hidden=(), variance="shared", latent_dim=2),
        VAE(hidden=(8, 4), min_variance=0.9),
    ],
    ids=repr,
)
@pytest.mark.parametrize("conditional", [False, True])
def test_explicit_losses_and_gradients_of_single_losses_equal_autograd(model, conditional):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 3)) @ rng.normal(size=(3, 3))
    model.reset()
    rows = model.check_rows(x, x[:, :1] if conditional else None)
    model.fit_rows(rows, n_steps=20)
    rows.x = rows.x.float()
    rows.condition = rows.condition.float() if conditional else None
    (objective,) = model.objectives(rows)
    (batch,) = next(objective.batches(1, generator()))
    objective.weights.grad.zero_()
    loss = objective.loss(*batch)
    loss.backward()
    expected = objective.weights.grad.clone()
    explicit = objective.gradient(*batch)
    assert expected.abs().max() > 1e-3
    assert torch.allclose(objective.weights.grad, expected, atol=2e-6, rtol=1e-4)
    assert float(explicit) == pytest.approx(float(loss.detach()), rel=1e-5)


class OtherLoss(GAN):
    def generator_loss(self, z, condition, noise):
        return super().generator_loss(z, condition, noise) * 2


class OtherHook(GAN):
    def real_loss(self, logits):
        return super().real_loss(logits) * 2


@pytest.mark.parametrize(
    "model",
    [
        GAN(norm="layer"),
        GAN(r1=0.1),
        GAN(gp_weight=0.1),
        GAN(spectral_norm=True),
        GAN(packing=2),
        GAN(n_octaves=1),
        GAN(norm_discriminator="batch"),
        WGANGP(),
        OtherLoss(),
        OtherHook(),
        DDPM(residual=True),
        DDPM(conditioning="film"),
    ],
    ids=repr,
)
def test_losses_without_known_gradients_go_through_autograd(model):
    x = np.random.default_rng(0).normal(size=(12, 3))
    rows = model.check_rows(x, None)
    model.fit_rows(rows, n_steps=1)
    rows.x = rows.x.float()
    assert all(objective.gradient is None for objective in model.objectives(rows))
