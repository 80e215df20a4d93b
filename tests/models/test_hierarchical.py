"""The hierarchical VAE: a linear chain whose density is known, its levels, and its abilities."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from evogen.models import VAE, load_model
from evogen.models.hierarchical import HierarchicalVAE

D = 4


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def chain() -> tuple[HierarchicalVAE, multivariate_normal]:
    """A linear chain z_1 -> z_2 -> x, one number per level, with its exact posterior; and p(x).

    z_1 ~ N(0, 1), z_2 = 0.8 z_1 + 0.5 u_2, x ~ N(v z_1 + w z_2 + c, s).
    """
    model = HierarchicalVAE(
        latent_dim=1, n_levels=2, width=3, hidden=(), normalize=False, free_bits=0.0
    )
    model.fit(np.random.default_rng(0).normal(size=(20, D)), n_steps=0)
    network = model.weights_["network"].module
    rng = np.random.default_rng(1)
    v, w, c = rng.normal(size=(3, D))
    noise = np.array([0.5, 0.3, 0.4, 0.6])
    # x = A u + c with u = (z_1, u_2), so that p(x) and q(u | x) are Gaussians in closed form.
    a = np.stack((v + 0.8 * w, 0.5 * w), axis=1)
    marginal = multivariate_normal(c, a @ a.T + np.diag(noise))
    covariance = np.linalg.inv(np.eye(2) + a.T @ np.diag(1 / noise) @ a)
    gain = covariance @ a.T @ np.diag(1 / noise)
    slope = covariance[1, 0] / covariance[0, 0]
    variances = covariance[0, 0], covariance[1, 1] - slope * covariance[1, 0]

    def fill(layer, weight=None, bias=None):
        layer.weight.zero_()
        layer.bias.zero_()
        if weight is not None:
            layer.weight.copy_(torch.as_tensor(np.array(weight)))
        if bias is not None:
            layer.bias.copy_(torch.as_tensor(bias))

    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.Linear):
                fill(module)
        top, low = network.decoder.levels
        # The state is (z_1, z_2, 0); features are the posterior means of (z_1, u_2), and 0.
        fill(network.encoder.encoder.output, [*gain, np.zeros(D)], [*(-gain @ c), 0.0])
        fill(top.enter, [[1.0], [0], [0]])
        fill(low.enter, [[0.0], [1], [0]])
        fill(low.prior.output, [[0.8, 0, 0], [0, 0, 0]], [0.0, 2 * math.log(0.5)])
        fill(network.decoder.decoder.output, np.stack((v, w, np.zeros(D)), axis=1), c)
        # Columns: state, then features. Rows: mean, then log variance.
        zero = np.zeros(6)
        fill(top.change.output, [[0, 0, 0, 1, 0, 0], zero], [0, math.log(variances[0])])
        mean = [slope, 0, 0, -slope, 1, 0]
        fill(low.change.output, [mean, zero], [0, math.log(variances[1])])
    model.buffers_["variance"] = torch.as_tensor(noise).float()
    return model, marginal


def test_the_bound_of_a_linear_chain_with_its_exact_posterior_is_its_exact_density():
    model, marginal = chain()
    x = marginal.rvs(200, random_state=0)
    exact = marginal.logpdf(x).mean()
    assert float(model.log_prob(x, n_samples=1).mean()) == pytest.approx(exact, abs=1e-4)
    assert float(model.elbo(x, n_samples=500).mean()) == pytest.approx(exact, abs=0.01)


def test_samples_of_a_linear_chain_have_its_moments():
    model, marginal = chain()
    rows = model.sample(40_000, generator=generator()).double().numpy()
    np.testing.assert_allclose(rows.mean(0), marginal.mean, atol=0.05)
    np.testing.assert_allclose(np.cov(rows.T), marginal.cov, atol=0.15)


def test_with_a_wrong_posterior_the_bound_is_lower_and_more_draws_close_the_gap():
    model, marginal = chain()
    with torch.no_grad():
        model.weights_["network"].module.decoder.levels[0].change.output.bias[1] += 1.5
    x = marginal.rvs(100, random_state=0)
    exact = marginal.logpdf(x).mean()
    bounds = [
        float(model.log_prob(x, n_samples=k, generator=generator()).mean()) for k in (1, 10, 500)
    ]
    assert bounds[0] < bounds[1] - 0.1 < exact
    assert bounds[2] == pytest.approx(exact, abs=0.01)


def test_rates_are_the_divergences_of_the_levels_and_sum_to_that_of_the_bound():
    model, _ = chain()
    x = np.random.default_rng(3).normal(size=(6, D))
    rows = model.prepare_x(x)
    noise = torch.randn(6, 2, generator=generator())
    with torch.no_grad():
        network = model.sampler("network")
        _, posterior, u = model.inferred(rows, noise, None, network)
        mean, log_variance = posterior
        q = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
        p = torch.distributions.Normal(torch.zeros(()), torch.ones(()))
        expected = torch.distributions.kl_divergence(q, p)
        assert torch.allclose(model.level_rates(posterior), expected, atol=1e-5)
        assert torch.allclose(model.terms(rows, noise, None, network)[1], expected.sum(dim=1))
        log_weight = (p.log_prob(u) - q.log_prob(u)).sum(dim=1)
        assert torch.allclose(model.weigher(rows, None, network)(noise)[1], log_weight, atol=1e-5)
    assert model.rates(x, n_samples=3).shape == (6, 2)


def test_codes_decode_along_the_path_that_inference_took():
    x = np.random.default_rng(0).normal(size=(30, 5))
    model = HierarchicalVAE(n_levels=3, latent_dim=2, n_steps=5).fit(x)
    u = model.encode(x)
    assert u.shape == (30, 6)
    noise = torch.zeros(30, 6)
    with torch.no_grad():
        features = model.sampler("network").encoder(model.prepare_x(x), None)
        decoded = model.sampler("network").decoder.infer(features, noise, None)[2]
    assert torch.allclose(model.decode(u), model.to_items(decoded), atol=1e-5)
    with pytest.raises(ValueError, match="z must have 6 columns; got 2"):
        model.decode(u[:, :2])


def test_free_bits_are_charged_whatever_a_level_says_and_do_not_move_it():
    model, _ = chain()
    x = model.prepare_x(np.random.default_rng(3).normal(size=(6, D)))
    noise = torch.randn(6, 2, generator=generator())
    weights = model.weights_["network"]
    error, rate = model.terms(x, noise, None, weights.module)
    rates = model.level_rates(model.inferred(x, noise, None, weights.module)[1]).mean(dim=0)
    model.beta = 0.5
    expected = {0.0: 0.5 * rate.mean(), 100.0: 0.5 * 2 * 100.0}
    low, high = rates.sort().values.tolist()
    between = (low + high) / 2
    expected[between] = 0.5 * (between + high)
    for free_bits, charged in expected.items():
        model.free_bits = free_bits
        found = model.loss(x, noise, None) - model.misfit(error)
        assert found.item() == pytest.approx(torch.as_tensor(charged).item(), rel=1e-4)
    model.free_bits = 100.0
    weights.grad.zero_()
    (
        model.loss(x, noise, None) - model.misfit(model.terms(x, noise, None, weights.module)[0])
    ).backward()
    assert weights.grad.abs().max() < 1e-5


def curve(n: int = 200) -> np.ndarray:
    rng = np.random.default_rng(0)
    t = rng.uniform(0, 2 * np.pi, n)
    return np.column_stack((np.cos(t), np.sin(t), np.sin(2 * t))) + 0.05 * rng.normal(size=(n, 3))


def test_it_learns_a_curve():
    model = HierarchicalVAE(latent_dim=2, hidden=(32,), width=32, n_steps=400, lr=5e-3)
    model.fit(curve())
    rows = model.sample(500, generator=generator()).double()
    distance = torch.cdist(rows, torch.as_tensor(curve(2000))).min(dim=1).values
    assert float(distance.median()) < 0.15
    gaussian = VAE(latent_dim=1, hidden=(), n_steps=200, lr=2e-2).fit(curve())
    bounds = [float(m.log_prob(curve(), n_samples=50).mean()) for m in (model, gaussian)]
    assert bounds[0] > bounds[1] + 0.5


def test_probabilities_of_all_bits_sum_to_one():
    bits = np.array([[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)], dtype=float)
    model = HierarchicalVAE(likelihood="bernoulli", latent_dim=2, hidden=(16,), n_steps=60)
    model.fit(bits[[0, 0, 3, 7]])
    mass = model.log_prob(bits, n_samples=1000).exp()
    assert float(mass.sum()) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("shape", [(1, 8, 8), (6,)])
def test_items_and_labels_are_learned_saved_and_learned_on(shape, tmp_path):
    x = np.random.default_rng(0).random((15, *shape))
    labels = np.arange(15) % 3
    model = HierarchicalVAE(n_steps=4, channels=(8, 8), ema_decay=0.9, batch_size=8, patience=1)
    model.fit(x, labels)
    model.save(tmp_path / "m")
    twin = load_model(tmp_path / "m")
    for m in (model, twin):
        m.fit(x, labels)
    assert torch.equal(model.sample(4, [0, 1, 2, 0]), twin.sample(4, [0, 1, 2, 0]))
    assert model.decode(model.encode(x, labels), labels).shape == x.shape
    assert model.rates(x, labels).shape == (15, 2)
    assert torch.isfinite(model.log_prob(x, labels, n_samples=3)).all()


def test_the_label_decides_what_is_sampled():
    x = np.concatenate((np.zeros((50, 2)), np.ones((50, 2)) * 5))
    x = x + 0.1 * np.random.default_rng(0).normal(size=x.shape)
    model = HierarchicalVAE(latent_dim=1, n_steps=100, lr=1e-2).fit(x, np.repeat([3, 8], 50))
    assert torch.allclose(model.sample(50, 8).mean(0), torch.full((2,), 5.0), atol=0.4)
    assert torch.allclose(model.sample(50, 3).mean(0), torch.zeros(2), atol=0.4)


def test_one_row_comes_back_and_bad_parameters_are_refused():
    x = np.random.default_rng(0).normal(size=(1, 3))
    model = HierarchicalVAE(n_steps=3).fit(x)
    assert torch.allclose(model.sample(4), torch.as_tensor(x).float().expand(4, -1))
    with pytest.raises(ValueError, match="n_levels must be at least 1"):
        HierarchicalVAE(n_levels=0)
    with pytest.raises(ValueError, match="prior must be one of 'normal'; got 'vamp'"):
        HierarchicalVAE(prior="vamp")
    with pytest.raises(ValueError, match="free_bits must be at least 0"):
        HierarchicalVAE(free_bits=-1)
