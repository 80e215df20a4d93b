"""The Gaussian mixture against closed forms and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from evogen.models import GaussianMixture

MEANS = np.array([[0.0, 0.0, 0.0], [6.0, 0.0, 3.0], [0.0, 8.0, -3.0]])
WEIGHTS = np.array([0.5, 0.3, 0.2])


def known_mixture(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a mixture of three correlated Gaussians in 3-D, and its covariances."""
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(3, 3, 3)) / 2 + np.eye(3)
    k = rng.choice(3, size=n, p=WEIGHTS)
    rows = MEANS[k] + np.einsum("nij,nj->ni", roots[k], rng.normal(size=(n, 3)))
    return rows, roots @ roots.transpose(0, 2, 1)


def in_data_units(model: GaussianMixture) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, means and covariances of a full mixture, sorted by weight, heaviest first."""
    order = model.buffers_["weights"].argsort(descending=True)
    scale, shift = model.scaler_.scale, model.scaler_.shift
    means = model.buffers_["means"][order] * scale + shift
    covariances = model.buffers_["covariances"][order] * scale[:, None] * scale
    return model.buffers_["weights"][order].numpy(), means.numpy(), covariances.numpy()


@pytest.mark.parametrize("normalize", [True, False])
def test_a_known_mixture_is_recovered(normalize):
    x, covariances = known_mixture(4000)
    model = GaussianMixture(n_components=3, normalize=normalize, random_state=1).fit(x)
    weights, means, found = in_data_units(model)
    np.testing.assert_allclose(weights, WEIGHTS, atol=0.03)
    np.testing.assert_allclose(means, MEANS, atol=0.2)
    np.testing.assert_allclose(found, covariances, atol=0.35)


@pytest.mark.parametrize("covariance", ["full", "diag"])
@pytest.mark.parametrize("seed", range(3))
def test_the_likelihood_never_falls(covariance, seed):
    x = np.random.default_rng(seed).standard_t(df=3, size=(200, 3))
    model = GaussianMixture(
        n_components=4, covariance=covariance, reg_covar=0, tol=0, random_state=seed
    )
    history = model.fit(x, n_steps=60).losses_["negative_log_likelihood"]
    assert len(history) > 10
    assert (history[1:] <= history[:-1] + 1e-10).all()


@pytest.mark.parametrize("covariance", ["full", "diag"])
def test_steps_equal_those_of_scikit_learn(covariance):
    sklearn = pytest.importorskip("sklearn.mixture")
    x, _ = known_mixture(300)
    settings = {"n_components": 4, "covariance": covariance, "reg_covar": 1e-6}
    model = GaussianMixture(**settings, normalize=False, tol=0).fit(x, n_steps=0)
    start = {k: v.numpy() for k, v in model.buffers_.items()}
    inverse = np.linalg.inv if covariance == "full" else np.reciprocal
    reference = sklearn.GaussianMixture(
        4,
        covariance_type=covariance,
        reg_covar=1e-6,
        weights_init=start["weights"],
        means_init=start["means"],
        precisions_init=inverse(start["covariances"]),
        max_iter=15,
        tol=0,
    )
    with pytest.warns(Warning, match="converge"):
        reference.fit(x)
    model.fit(x, n_steps=15)
    np.testing.assert_allclose(model.buffers_["means"].numpy(), reference.means_, atol=1e-6)
    np.testing.assert_allclose(model.log_prob(x), reference.score_samples(x), atol=1e-6)


def test_log_prob_is_the_density_in_the_units_of_the_data():
    x = known_mixture(500)[0] * [1, 1e-2, 1e2]
    model = GaussianMixture(n_components=3).fit(x)
    weights, means, covariances = in_data_units(model)
    points = x[:20]
    parts = [
        multivariate_normal(m, s).logpdf(points) for m, s in zip(means, covariances, strict=True)
    ]
    expected = logsumexp(np.log(weights)[:, None] + parts, axis=0)
    np.testing.assert_allclose(model.log_prob(points), expected, rtol=1e-6)


def test_one_gaussian_conditions_as_the_textbook_says():
    rng = np.random.default_rng(0)
    joint = rng.normal(size=(2000, 4)) @ rng.normal(size=(4, 4)) + [1, 2, 3, 4]
    x, c = joint[:, :2], joint[:, 2:]
    model = GaussianMixture(n_components=1, reg_covar=0).fit(x, c)
    mean, cov = joint.mean(0), np.cov(joint.T, ddof=0)
    gain = cov[:2, 2:] @ np.linalg.inv(cov[2:, 2:])
    at = np.array([[3.0, -5.0]])
    centre = mean[:2] + gain @ (at[0] - mean[2:])
    rest = cov[:2, :2] - gain @ cov[2:, :2]
    points = centre + rng.normal(size=(5, 2))
    expected = multivariate_normal(centre, rest).logpdf(points)
    np.testing.assert_allclose(model.log_prob(points, at), expected, rtol=1e-6)
    rows = model.sample(20_000, at).double().numpy()
    np.testing.assert_allclose(rows.mean(0), centre, atol=5 * np.sqrt(rest.max() / 20_000))
    np.testing.assert_allclose(np.cov(rows.T), rest, rtol=0.05, atol=0.02)


def test_conditional_samples_come_from_the_component_that_the_condition_names():
    rng = np.random.default_rng(0)
    side = rng.integers(2, size=400)
    x = (10.0 * side + rng.normal(size=400))[:, None]
    c = (side + 0.05 * rng.normal(size=400))[:, None]
    model = GaussianMixture(n_components=2).fit(x, c)
    ask = np.repeat([[0.0], [1.0]], 100, axis=0)
    rows = model.sample(200, ask)
    assert (rows[:100] < 5).all()
    assert (rows[100:] > 5).all()


def test_diagonal_conditioning_only_reweights():
    rng = np.random.default_rng(0)
    x, c = rng.normal(size=(300, 2)), rng.normal(size=(300, 1))
    model = GaussianMixture(n_components=1, covariance="diag").fit(x, c)
    np.testing.assert_allclose(model.log_prob(x, c), model.log_prob(x, c[::-1].copy()))


@pytest.mark.parametrize("covariance", ["full", "diag"])
def test_samples_have_the_moments_of_the_mixture(covariance):
    x, _ = known_mixture(2000)
    model = GaussianMixture(n_components=3, covariance=covariance).fit(x)
    rows = model.sample(20_000).double().numpy()
    np.testing.assert_allclose(rows.mean(0), x.mean(0), atol=0.15)
    if covariance == "full":
        np.testing.assert_allclose(np.cov(rows.T), np.cov(x.T), rtol=0.1, atol=0.25)
    else:
        np.testing.assert_allclose(rows.var(0), x.var(0), rtol=0.1)


def test_fewer_rows_than_components_use_one_component_per_row():
    x = np.array([[0.0, 0.0], [5.0, 1.0]])
    model = GaussianMixture(n_components=5).fit(x)
    assert len(model.buffers_["weights"]) == 2
    assert torch.cdist(model.sample(50), torch.tensor(x).float()).min(1).values.max() < 0.1


def test_fewer_rows_than_features_stay_near_the_span_of_the_rows():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 30))
    rows = GaussianMixture(n_components=1).fit(x).sample(100).double().numpy() - x.mean(0)
    basis = np.linalg.svd(x - x.mean(0), full_matrices=False)[2][:7]
    outside = rows - rows @ basis.T @ basis
    assert np.linalg.norm(outside, axis=1).max() < 0.05 * np.linalg.norm(rows, axis=1).mean()


def test_repeated_rows_do_not_break_the_start():
    x = np.repeat([[0.0, 1.0], [2.0, 3.0]], 10, axis=0)
    model = GaussianMixture(n_components=4, reg_covar=0).fit(x)
    assert torch.isfinite(model.sample(20)).all()


def test_the_eight_ring_is_found_whole():
    rng = np.random.default_rng(0)
    angle = np.pi / 4 * rng.integers(8, size=2000)
    modes = np.c_[np.cos(np.pi / 4 * np.arange(8)), np.sin(np.pi / 4 * np.arange(8))]
    x = np.c_[np.cos(angle), np.sin(angle)] + 0.01 * rng.normal(size=(2000, 2))
    rows = GaussianMixture(n_components=8).fit(x).sample(2500).double()
    distance, nearest = torch.cdist(rows, torch.tensor(modes)).min(dim=1)
    assert (distance < 0.03).double().mean() >= 0.98
    assert torch.bincount(nearest[distance < 0.03], minlength=8).min() >= 0.2 * 2500 / 8
