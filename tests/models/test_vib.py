"""The information bottleneck: a classifier whose rate obeys beta."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evogen.models import VIB, load_model


def clusters(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three clouds with labels 3, 7 and 20, in 4 dimensions of which two say nothing."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(3, size=n)
    centre = np.array([[0, 0], [3, 0], [0, 3]])[kind]
    x = np.column_stack((centre, np.zeros((n, 2)))) + 0.4 * rng.normal(size=(n, 4))
    return x, np.array([3, 7, 20])[kind]


SETTINGS = {"hidden": (24,), "latent_dim": 3, "n_steps": 300, "lr": 1e-2}


def test_it_classifies_and_gives_probabilities():
    model = VIB(**SETTINGS).fit(*clusters(150))
    x, y = clusters(200, seed=1)
    assert model.predict(x).dtype == torch.int64
    assert float((model.predict(x).numpy() == y).mean()) > 0.97
    for n_samples in (0, 5):
        share = model.predict_proba(x, n_samples=n_samples)
        assert share.shape == (200, 3)
        assert torch.allclose(share.sum(dim=1), torch.ones(200), atol=1e-5)
    assert model.encode(x).shape == (200, 3)


def test_the_rate_falls_with_beta_and_with_it_at_last_the_accuracy():
    x, y = clusters(150)
    rates, right = [], []
    for beta in (1e-3, 3e-2, 0.3, 10.0):
        model = VIB(**SETTINGS, beta=beta).fit(x, y)
        rates.append(float(model.rate(x).mean()))
        right.append(float((model.predict(x).numpy() == y).mean()))
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > np.log(3), "three classes need this much information"
    assert rates[3] < 0.05
    assert min(right[:2]) > 0.97
    assert right[3] < 0.75


def test_the_loss_is_cross_entropy_plus_beta_times_the_rate():
    x, y = clusters(60)
    model = VIB(**{**SETTINGS, "n_steps": 5}, beta=0.3).fit(x, y)
    scaled = model.prepare_x(x)
    label = torch.searchsorted(model.buffers_["classes"], torch.as_tensor(y))
    with torch.no_grad():
        network = model.weights_["network"].module
        mean, log_variance = network.encode(scaled, None)
        log_share = torch.log_softmax(network.decoder(mean), dim=1)
        q = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
        p = torch.distributions.Normal(torch.zeros(()), torch.ones(()))
        rate = torch.distributions.kl_divergence(q, p).sum(dim=1)
        expected = -log_share[torch.arange(60), label].mean() + 0.3 * rate.mean()
        found = model.loss(scaled, label, torch.zeros(60, 3))
    assert float(found) == pytest.approx(float(expected), rel=1e-5)
    assert torch.allclose(model.rate(x), rate, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"batch_size": 16, "patience": 2, "normalize": False}])
def test_it_is_saved_goes_on_and_obeys_the_seed(tmp_path, settings):
    x, y = clusters(60)
    model = VIB(n_steps=10, **settings).fit(x, y)
    twin = VIB(n_steps=10, **settings).fit(torch.as_tensor(x), torch.as_tensor(y))
    assert torch.equal(model.predict_proba(x), twin.predict_proba(x))
    model.save(tmp_path / "x")
    loaded = load_model(tmp_path / "x")
    for m in (model, loaded):
        m.fit(x[:30], y[:30])
    assert torch.equal(model.predict_proba(x), loaded.predict_proba(x))
    assert torch.equal(loaded.predict(x), model.predict(x))


def test_one_class_only_is_learned_too():
    x, y = clusters(20)
    model = VIB(n_steps=3).fit(x, np.full(20, -5))
    assert model.predict(x).tolist() == [-5] * 20
    with pytest.raises(ValueError, match=r"y has labels that earlier fits had not: \[3, 7, 20\]"):
        model.fit(x, y)


def test_wrong_labels_are_refused_before_work_and_there_are_no_samples():
    x, y = clusters(20)
    model = VIB(n_steps=3)
    for wrong, kind, message in (
        (None, TypeError, "y must hold integer labels"),
        (y + 0.5, TypeError, "y must hold integer labels, one per row of x; got float64"),
        (y[:, None], ValueError, r"y must have shape \(n,\); got shape \(20, 1\)"),
        (y[:5], ValueError, r"as many rows as x \(20\); got 5"),
        (np.zeros(0, dtype=int), ValueError, "got 0"),
    ):
        with pytest.raises(kind, match=message):
            model.fit(x, wrong)
    assert model.n_features_ is None
    with pytest.raises(RuntimeError, match="not fitted yet"):
        model.predict(x)
    with pytest.raises(TypeError, match="VIB is a classifier"):
        model.fit(x, y).sample(3)
