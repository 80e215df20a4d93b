"""The VAE against probabilistic PCA, and its abilities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from evogen.models import VAE


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
