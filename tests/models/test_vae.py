"""The VAE against probabilistic PCA, and its abilities."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from evogen.models import VAE, load_model
from evogen.models.vae import mixture_log_density


def low_rank(n: int, d: int = 6, q: int = 2, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    loadings = np.random.default_rng(9).normal(size=(q, d))
    return rng.normal(size=(n, q)) @ loadings + 0.4 * rng.normal(size=(n, d)) + np.arange(d)


def probabilistic_pca(x: np.ndarray, q: int) -> tuple[multivariate_normal, float]:
    """Maximum-likelihood PPCA (Tipping and Bishop 1999, eq. 7-8): density and noise variance."""
    values, vectors = np.linalg.eigh(np.cov(x.T, ddof=0))
    noise = values[:-q].mean()
    top = vectors[:, -q:] * np.sqrt(values[-q:] - noise)
    return multivariate_normal(x.mean(0), top @ top.T + noise * np.eye(x.shape[1])), noise


@pytest.fixture(scope="module")
def linear() -> VAE:
    model = VAE(
        latent_dim=2,
        hidden=(),
        variance="shared",
        normalize=False,
        lr=5e-2,
        schedule="cosine",
        n_steps=2000,
    )
    return model.fit(low_rank(300))


def test_a_linear_vae_is_probabilistic_pca(linear):
    x = low_rank(300)
    density, noise = probabilistic_pca(x, 2)
    bound = linear.elbo(x, n_samples=300).double().numpy()
    assert bound.mean() == pytest.approx(density.logpdf(x).mean(), abs=0.02)
    assert (bound.mean() - density.logpdf(x).mean()) < 0.003, "a bound cannot exceed the optimum"
    np.testing.assert_allclose(linear.buffers_["variance"], noise, rtol=0.1)
    rows = linear.sample(20_000).double().numpy()
    np.testing.assert_allclose(np.cov(rows.T), density.cov, atol=0.08 * density.cov.max())


def test_the_bound_counts_the_units_of_the_data():
    x = low_rank(100)
    a = VAE(n_steps=50).fit(x)
    b = VAE(n_steps=50).fit(x * 10)
    assert torch.allclose(
        a.elbo(x, generator=torch.Generator().manual_seed(0)) - 6 * np.log(10),
        b.elbo(x * 10, generator=torch.Generator().manual_seed(0)),
        atol=1e-2,
    )


def test_decoding_the_code_gives_the_row_back_up_to_the_noise(linear):
    x = low_rank(50, seed=5)
    z = linear.encode(x)
    assert z.shape == (50, 2)
    error = linear.decode(z).double().numpy() - x
    assert error.std() < 0.5 < (x - x.mean(0)).std()


def test_interpolation_in_the_latent_space_is_a_line_for_a_linear_decoder(linear):
    z = linear.encode(low_rank(2))
    middle = linear.decode((z[:1] + z[1:]) / 2)
    assert torch.allclose(middle[0], linear.decode(z).mean(0), atol=1e-4)


def test_output_noise_is_what_separates_samples_from_means():
    x = low_rank(200)
    model = VAE(latent_dim=2, hidden=(16,), n_steps=300, lr=1e-2).fit(x)
    generator = torch.Generator
    with_noise = model.sample(5000, generator=generator().manual_seed(0)).double()
    model.output_noise = False
    means = model.sample(5000, generator=generator().manual_seed(0)).double()
    variance = (with_noise - means).var(dim=0) / model.scaler_.scale.square()
    assert torch.allclose(variance, model.buffers_["variance"].double(), rtol=0.1)


def test_a_larger_beta_uses_less_of_the_code():
    x = low_rank(200)
    rates = []
    for beta in (0.1, 1.0, 20.0):
        model = VAE(latent_dim=2, hidden=(16,), beta=beta, n_steps=300, lr=1e-2).fit(x)
        rates.append(float(model.encode(x).var(dim=0).sum()))
    assert rates[0] > rates[2]
    assert rates[2] < 0.1, "with a large beta the posterior is the prior"


def test_the_variance_is_kept_per_feature_or_shared():
    x = low_rank(100) * [1, 1, 1, 1, 1, 1] + 0
    x[:, 0] = np.random.default_rng(1).normal(size=100)
    own = VAE(latent_dim=2, n_steps=200).fit(x).buffers_["variance"]
    shared = VAE(latent_dim=2, n_steps=200, variance="shared").fit(x).buffers_["variance"]
    assert own.unique().numel() == 6
    assert shared.unique().numel() == 1


def test_the_condition_decides_what_is_sampled():
    rng = np.random.default_rng(0)
    c = rng.uniform(-1, 1, size=(300, 1))
    x = np.c_[2 * c, -c] + 0.05 * rng.normal(size=(300, 2))
    model = VAE(latent_dim=1, hidden=(32,), n_steps=500, lr=5e-3).fit(x, c)
    for value in (-0.8, 0.7):
        rows = model.sample(300, [[value]]).double().numpy()
        np.testing.assert_allclose(rows.mean(0), [2 * value, -value], atol=0.25)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"latent_dim": 0}, "latent_dim must be at least 1"),
        ({"variance": "per_feature"}, "did you mean 'per-feature'"),
        ({"beta": -1}, "beta must be at least 0"),
        ({"activation": "Tanh"}, "activation must be one of"),
        ({"patience": 0}, "patience must be at least 1"),
    ],
)
def test_bad_parameters_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        VAE(**arguments)


def test_latent_rows_of_a_wrong_size_are_refused(linear):
    with pytest.raises(ValueError, match="z must have 2 columns; got 3"):
        linear.decode(np.zeros((2, 3)))


@torch.no_grad()
def own_marginal(model: VAE) -> multivariate_normal:
    """The exact density of a linear VAE on data that are not scaled."""
    layer = model.weights_["network"].module.decoder.output
    loadings, centre = layer.weight.double().numpy(), layer.bias.double().numpy()
    variance = model.buffers_["variance"].double().numpy()
    return multivariate_normal(centre, loadings @ loadings.T + np.diag(variance))


def test_the_importance_weighted_bound_rises_to_the_exact_density(linear):
    x = low_rank(100, seed=4)
    exact = own_marginal(linear).logpdf(x).mean()
    bounds = []
    for n_samples in (1, 10, 500):
        draws = torch.Generator().manual_seed(0)
        bounds.append(float(linear.log_prob(x, n_samples=n_samples, generator=draws).mean()))
    assert bounds[0] < bounds[1] < bounds[2] + 1e-3
    assert bounds[2] == pytest.approx(exact, abs=1e-3)


def test_the_estimate_of_the_density_does_not_need_a_good_encoder(linear):
    x = low_rank(50, seed=4)
    bad = copy.deepcopy(linear)
    with torch.no_grad():
        # Means too small, and a posterior as wide as the prior.
        bad.weights_["network"].module.encoder.output.weight[:2].mul_(0.7)
        bad.weights_["network"].module.encoder.output.weight[2:].zero_()
        bad.weights_["network"].module.encoder.output.bias[2:].zero_()
    exact = own_marginal(bad).logpdf(x).mean()
    draws = torch.Generator().manual_seed(0)
    assert float(bad.elbo(x, n_samples=200, generator=draws).mean()) < exact - 0.5
    found = float(bad.log_prob(x, n_samples=5000, generator=draws).mean())
    assert found == pytest.approx(exact, abs=0.01)


def test_the_density_counts_the_units_and_the_condition():
    x = low_rank(60)
    model = VAE(n_steps=20).fit(x * 10, x[:, :1])
    value = model.log_prob(x * 10, x[:, :1], n_samples=5)
    other = model.log_prob(x * 10, x[::-1, :1].copy(), n_samples=5)
    assert value.shape == (60,)
    assert value.dtype == torch.float64
    assert value.mean() > other.mean()
    with pytest.raises(ValueError, match="n_samples must be at least 1"):
        model.log_prob(x, x[:, :1], n_samples=0)


def binary(n: int, seed: int = 0) -> np.ndarray:
    """Rows of two bits that always agree and one of its own."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(2, size=(n, 2))
    return np.column_stack((bits[:, 0], bits[:, 0], bits[:, 1])).astype(float)


EVERY = np.array([[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)], dtype=float)


def test_a_bernoulli_vae_gives_probabilities_that_sum_to_one_and_finds_the_bits_that_agree():
    model = VAE(likelihood="bernoulli", latent_dim=2, hidden=(16,), n_steps=600, lr=1e-2)
    model.fit(binary(200))
    mass = model.log_prob(EVERY, n_samples=3000).exp()
    assert float(mass.sum()) == pytest.approx(1.0, abs=0.02)
    agree = EVERY[:, 0] == EVERY[:, 1]
    assert float(mass[agree].sum()) > 0.9
    rows = model.sample(2000)
    assert set(rows.unique().tolist()) == {0.0, 1.0}
    assert float((rows[:, 0] == rows[:, 1]).double().mean()) > 0.9
    model.output_noise = False
    means = model.sample(100)
    assert means.unique().numel() > 50
    assert ((means >= 0) & (means <= 1)).all()


def test_a_bernoulli_vae_without_information_is_independent_bits():
    x = binary(400)
    model = VAE(likelihood="bernoulli", beta=1e3, hidden=(), n_steps=400, lr=2e-2).fit(x)
    p = x.mean(0)
    expected = (x * np.log(p) + (1 - x) * np.log(1 - p)).sum(axis=1).mean()
    assert float(model.elbo(x, n_samples=20).mean()) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("conditional", [False, True])
def test_the_explicit_bernoulli_gradient_equals_autograd(conditional):
    x = binary(20)
    model = VAE(likelihood="bernoulli", hidden=(7,), latent_dim=2, beta=0.7)
    rows = model.check_rows(x, x[:, 1:] if conditional else None)
    model.fit_rows(rows, n_steps=3)
    rows.x = model.prepare_x(x)
    if conditional:
        rows.condition = model.prepare_condition(x[:, 1:], 20)
    draws = torch.Generator().manual_seed(0)
    batch = [None if p is None else p[0] for p in model.draw_batches(rows, 1, draws)]
    explicit = model.known_gradient()
    assert explicit is not None
    value = explicit(*batch)
    weights = model.weights_["network"]
    found = weights.grad.clone()
    weights.grad.zero_()
    loss = model.loss(*batch)
    loss.backward()
    assert torch.allclose(value, loss, rtol=1e-5)
    assert torch.allclose(found, weights.grad, atol=1e-5)


def test_a_bernoulli_vae_takes_probabilities_only_and_is_saved(tmp_path):
    model = VAE(likelihood="bernoulli", n_steps=5)
    with pytest.raises(ValueError, match=r"x must lie in \[0, 1\].*got numbers from 0 to 2"):
        model.fit(2 * binary(10))
    assert model.n_features_ is None
    model.fit(0.3 * binary(10))
    with pytest.raises(ValueError, match=r"x must lie in \[0, 1\]"):
        model.log_prob(binary(3) - 1)
    model.save(tmp_path / "x")
    assert torch.equal(load_model(tmp_path / "x").sample(5), model.sample(5))
    with pytest.raises(ValueError, match="did you mean 'bernoulli'"):
        VAE(likelihood="bernouli")


def test_the_mixture_of_pseudo_inputs_is_a_density():
    draws = torch.Generator().manual_seed(0)
    mean, log_variance = (torch.randn(5, 3, generator=draws) for _ in range(2))
    z = torch.randn(20, 3, generator=draws)
    parts = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    expected = parts.log_prob(z[:, None]).sum(dim=2).exp().mean(dim=1).log()
    constant = 1.5 * np.log(2 * np.pi)
    found = mixture_log_density(z, (mean, log_variance)) - constant
    assert torch.allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("labels", [None, np.arange(80) % 2])
def test_a_learned_prior_follows_the_codes_and_is_saved(labels, tmp_path):
    x = binary(80)
    settings = {"likelihood": "bernoulli", "latent_dim": 2, "hidden": (16,), "lr": 1e-2}
    model = VAE(**settings, prior="vamp", n_pseudo_inputs=4, n_steps=150, ema_decay=0.5)
    model.fit(x, labels)
    given = None if labels is None else 1
    mass = model.log_prob(EVERY, given, n_samples=2000).exp()
    assert float(mass.sum()) == pytest.approx(1.0, abs=0.03)
    rows = model.sample(500, given)
    assert float((rows[:, 0] == rows[:, 1]).double().mean()) > 0.8
    assert model.known_gradient() is None
    model.save(tmp_path / "m")
    twin = load_model(tmp_path / "m")
    assert torch.equal(model.fit(x, labels).sample(5, given), twin.fit(x, labels).sample(5, given))


def test_pseudo_inputs_start_as_rows_of_the_first_data_and_then_go_on():
    model = VAE(prior="vamp", n_pseudo_inputs=3, normalize=False).fit(np.eye(6), n_steps=0)
    start = model.weights_["network"].module.pseudo_inputs.detach().clone()
    assert torch.equal(start, torch.eye(6)[[0, 2, 4]])
    model.fit(np.eye(6), n_steps=5)
    learned = model.weights_["network"].module.pseudo_inputs.detach().clone()
    assert not torch.equal(start, learned)
    model.fit(np.zeros((4, 6)) + np.arange(6), n_steps=0)
    assert torch.equal(learned, model.weights_["network"].module.pseudo_inputs.detach())
