"""The autoencoder: its error against PCA's, and the density of its codes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evogen.models import AE, PCA, Weights


def low_rank(n: int, d: int = 6, q: int = 2, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    loadings = np.random.default_rng(9).normal(size=(q, d))
    return rng.normal(size=(n, q)) @ loadings + 0.4 * rng.normal(size=(n, d)) + np.arange(d)


def two_clouds(n: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    side = np.where(np.arange(n) % 2, 1.0, -1.0)[:, None]
    return side * [2.0, 2.0, -2.0] + 0.1 * rng.normal(size=(n, 3))


def test_a_linear_autoencoder_ends_where_pca_is():
    """Its best error is that of the principal subspace (Baldi and Hornik 1989)."""
    x = low_rank(200)
    x -= x.mean(axis=0)
    model = AE(latent_dim=2, hidden=(), normalize=False, lr=5e-2, schedule="cosine", n_steps=500)
    model.fit(x)
    best = PCA(n_components=2, normalize=False).fit(x)

    def error(m):
        return float(((m.decode(m.encode(x)).numpy() - x) ** 2).sum(axis=1).mean())

    assert (1 - 1e-5) * error(best) <= error(model) <= 1.001 * error(best)
    assert float(model.losses_["loss"][-1]) == pytest.approx(error(model), rel=1e-3)


def test_a_mixture_of_codes_keeps_clusters_apart_and_one_gaussian_does_not():
    x = two_clouds(100)
    settings = {"latent_dim": 1, "hidden": (16,), "lr": 1e-2, "n_steps": 300}
    between = []
    for n_components in (1, 2):
        rows = AE(**settings, n_components=n_components).fit(x).sample(1000)
        between.append(float((rows.abs() < 1).any(dim=1).double().mean()))
    assert between[1] < 0.02
    assert between[0] > 0.2


def test_the_condition_decides_what_is_sampled():
    rng = np.random.default_rng(0)
    c = rng.uniform(-1, 1, size=(300, 1))
    x = np.c_[2 * c, -c, c**2] + 0.05 * rng.normal(size=(300, 3))
    model = AE(latent_dim=2, hidden=(32,), lr=1e-2, n_steps=300).fit(x, c)
    for value in (-0.8, 0.7):
        rows = model.sample(300, [[value]]).double().numpy()
        np.testing.assert_allclose(rows.mean(0)[:2], [2 * value, -value], atol=0.2)


@pytest.mark.parametrize("conditional", [False, True])
def test_the_explicit_gradient_equals_autograd(conditional):
    x = low_rank(20)
    model = AE(hidden=(7, 5), latent_dim=3)
    rows = model.check_rows(x, x[:, :2] if conditional else None)
    model.fit_rows(rows, n_steps=3)
    rows.x = model.prepare_x(x)
    if conditional:
        rows.condition = model.prepare_condition(x[:, :2], 20)
    batch = [
        None if part is None else part[0]
        for part in model.draw_batches(rows, 1, torch.Generator().manual_seed(0))
    ]
    weights: Weights = model.weights_["network"]
    explicit = model.known_gradient()
    assert explicit is not None
    value = explicit(*batch)
    found = weights.grad.clone()
    weights.grad.zero_()
    loss = model.loss(*batch)
    loss.backward()
    assert torch.allclose(value, loss, rtol=1e-5)
    assert torch.allclose(found, weights.grad, atol=1e-5)
    assert found.abs().max() > 1e-3


def test_a_changed_loss_is_differentiated_by_autograd():
    class Absolute(AE):
        def loss(self, x, condition):
            network = self.weights_["network"].module
            return (network.decoder(network.encoder(x)) - x).abs().mean()

    model = Absolute(n_steps=3).fit(low_rank(20))
    assert model.known_gradient() is None
    assert float(model.losses_["loss"][0]) < 2


def test_codes_come_back_as_rows_of_the_data():
    x = low_rank(50)
    model = AE(latent_dim=4, hidden=(32,), lr=1e-2, n_steps=400).fit(x)
    z = model.encode(x)
    assert z.shape == (50, 4)
    error = model.decode(z).double().numpy() - x
    assert error.std() < 0.3 < (x - x.mean(0)).std()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"latent_dim": 0}, "latent_dim must be at least 1"),
        ({"n_components": 0}, "n_components must be at least 1"),
        ({"activation": "rely"}, "did you mean 'relu'"),
        ({"hidden": (0,)}, "every width in hidden"),
    ],
)
def test_bad_parameters_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        AE(**arguments)
