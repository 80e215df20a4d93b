"""Probabilistic PCA against scikit-learn, scipy and its own definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from evogen.models import PCA, load_model


def low_rank(n: int, d: int = 6, q: int = 2, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    loadings = np.random.default_rng(9).normal(size=(q, d))
    return rng.normal(size=(n, q)) @ loadings + 0.4 * rng.normal(size=(n, d)) + np.arange(d)


@pytest.mark.parametrize(("n", "d", "q"), [(100, 6, 2), (30, 6, 5), (500, 3, 1)])
def test_density_and_components_equal_those_of_scikit_learn(n, d, q):
    reference = pytest.importorskip("sklearn.decomposition").PCA(q, svd_solver="full")
    x, fresh = low_rank(n, d), low_rank(50, d, seed=1)
    reference.fit(x)
    model = PCA(n_components=q, normalize=False).fit(x)
    expected = reference.score_samples(fresh)
    np.testing.assert_allclose(model.log_prob(fresh), expected, atol=1e-6)
    assert float(model.log_prob(x).mean()) == pytest.approx(reference.score(x), abs=1e-6)
    np.testing.assert_allclose(model.buffers_["variances"], reference.explained_variance_)
    alike = np.abs(np.sum(model.buffers_["components"].numpy() * reference.components_, axis=1))
    np.testing.assert_allclose(alike, 1.0, atol=1e-9)


def test_the_digits_have_the_recorded_likelihood_and_reconstruction_error():
    sklearn = pytest.importorskip("sklearn")
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    assert sklearn.__version__
    x, y = load_digits(return_X_y=True)
    train, test = train_test_split(x / 16, test_size=360, random_state=0, stratify=y)
    model = PCA(n_components=10, normalize=False).fit(train)
    assert float(model.log_prob(train).mean()) == pytest.approx(17.5873, abs=1e-4)
    assert float(model.log_prob(test).mean()) == pytest.approx(16.6275, abs=1e-4)
    error = (model.decode(model.encode(test)).numpy() - test) ** 2
    assert error.sum(axis=1).mean() == pytest.approx(1.265, abs=1e-3)


def test_with_all_components_it_is_the_gaussian_of_the_data():
    x = low_rank(40, d=4)
    model = PCA(n_components=4).fit(x)
    density = multivariate_normal(x.mean(0), np.cov(x.T))
    # Scaling divides by n where the covariance divides by n - 1; the density does not notice.
    np.testing.assert_allclose(model.log_prob(x), density.logpdf(x), atol=1e-9)


def test_samples_have_the_mean_and_covariance_of_the_model():
    x = low_rank(200)
    model = PCA(n_components=2, normalize=False).fit(x)
    rows = model.sample(100_000, generator=torch.Generator().manual_seed(0)).double().numpy()
    values, vectors = np.linalg.eigh(np.cov(x.T))
    noise = values[:-2].mean()
    top = vectors[:, -2:] * np.sqrt(values[-2:] - noise)
    np.testing.assert_allclose(rows.mean(0), x.mean(0), atol=0.03)
    np.testing.assert_allclose(np.cov(rows.T), top @ top.T + noise * np.eye(6), atol=0.06)


def test_codes_are_white_and_decoding_them_is_the_orthogonal_projection():
    x = low_rank(80)
    model = PCA(n_components=3, normalize=False).fit(x)
    z = model.encode(x)
    np.testing.assert_allclose(np.cov(z.numpy().T), np.eye(3), atol=1e-9)
    axes = model.buffers_["components"].numpy()
    expected = (x - x.mean(0)) @ axes.T @ axes + x.mean(0)
    np.testing.assert_allclose(model.decode(z), expected, atol=1e-5)


def test_a_condition_shifts_the_mean_and_the_rest_is_analysed():
    rng = np.random.default_rng(3)
    c = rng.normal(size=(60, 2)) * [1, 5] + 3
    x = low_rank(60, d=4) + c @ rng.normal(size=(2, 4))
    model = PCA(n_components=4).fit(x, c)
    design = np.c_[np.ones(60), c]
    weights = np.linalg.lstsq(design, x, rcond=None)[0]
    rest = x - design @ weights
    density = multivariate_normal(np.zeros(4), rest.T @ rest / 59)
    np.testing.assert_allclose(model.log_prob(x, c), density.logpdf(rest), atol=1e-8)
    np.testing.assert_allclose(model.decode(model.encode(x, c), c), x, atol=1e-4)
    many = model.sample(20_000, c[:1], generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(many.double().mean(0), (design @ weights)[0], atol=0.06)


def test_fewer_rows_than_components_and_columns_still_give_a_density():
    model = PCA(n_components=10).fit(low_rank(4, d=20))
    assert model.buffers_["components"].shape == (4, 20)
    assert torch.isfinite(model.log_prob(low_rank(3, d=20))).all()


def test_every_fit_is_anew_and_does_not_depend_on_the_seed():
    a = PCA(random_state=1).fit(low_rank(9, seed=4)).fit(low_rank(30))
    b = PCA(random_state=2).fit(low_rank(30))
    assert torch.equal(a.log_prob(low_rank(5)), b.log_prob(low_rank(5)))


@pytest.mark.parametrize(
    ("buffers", "message"),
    [
        ({"variances": torch.ones(3)}, "as many components as variances"),
        ({"variances": torch.tensor([-1.0, 1.0])}, "at least the noise variance"),
        ({"noise_variance": torch.tensor(0.0)}, "at least the noise variance"),
    ],
)
def test_a_file_with_impossible_variances_is_refused(tmp_path, buffers, message):
    model = PCA(n_components=2).fit(low_rank(20))
    model.buffers_ |= {name: value.double() for name, value in buffers.items()}
    model.save(tmp_path / "x")
    with pytest.raises(ValueError, match=message):
        load_model(tmp_path / "x")


def test_bad_parameters_and_codes_are_refused():
    with pytest.raises(ValueError, match="n_components must be at least 1; got 0"):
        PCA(n_components=0)
    with pytest.raises(ValueError, match="z must have 2 columns; got 3"):
        PCA(n_components=2).fit(low_rank(20)).decode(np.zeros((1, 3)))
