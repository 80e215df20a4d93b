"""Diffusion as a hierarchical VAE: the bound computed in two ways, and against exact densities."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from evogen.models.bound import (
    discretized_log_prob,
    draw_path,
    gaussian_kl,
    gaussian_log_prob,
    path_log_ratio,
    posterior,
    variational_bound,
)
from evogen.models.diffusion import DDPM
from evogen.models.schedulers import alpha_bar

T = 20
LEFT = alpha_bar("cosine", T).tolist()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def data() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(300, 2)) @ np.array([[1.0, 0.8], [0.0, 0.3]]) + [1.0, 5.0]


@pytest.fixture(scope="module", params=[False, True], ids=["fixed", "learned"])
def model(request, data) -> DDPM:
    model = DDPM(
        n_timesteps=T,
        n_sample_steps=None,
        learned_variance=request.param,
        hidden=(32, 32),
        n_steps=200,
        lr=3e-3,
    )
    return model.fit(data)


def decoder_of(model):
    def decoder(x, t):
        with torch.no_grad():
            return model.decoder(x, t)

    return decoder


def log_normal(x, mean, variance):
    return torch.distributions.Normal(mean, variance.sqrt()).log_prob(x).sum(dim=1)


def test_the_posterior_obeys_bayes():
    """q(x_s | x_t, x_0) q(x_t | x_0) = q(x_t | x_s) q(x_s | x_0), for neighbours and others."""
    x0, x_s, x_t = (randn(6, 3, seed=i) for i in range(3))
    for t, s in ((2, 1), (9, 8), (15, 4)):
        a_t, a_s = LEFT[t], LEFT[s]
        one = torch.ones_like(x0)
        left = log_normal(x_s, *posterior(x0, x_t, a_t, a_s)) + log_normal(
            x_t, math.sqrt(a_t) * x0, (1 - a_t) * one
        )
        right = log_normal(x_t, math.sqrt(a_t / a_s) * x_s, (1 - a_t / a_s) * one) + log_normal(
            x_s, math.sqrt(a_s) * x0, (1 - a_s) * one
        )
        assert torch.allclose(left, right, atol=1e-9)


def test_densities_and_divergences_are_those_of_torch():
    mean, mean2, var, var2 = randn(4, 3), randn(4, 3, seed=1), randn(4, 3).exp(), randn(4, 3).exp()
    p, q = (torch.distributions.Normal(m, v.sqrt()) for m, v in ((mean, var), (mean2, var2)))
    expected = torch.distributions.kl_divergence(p, q)
    assert torch.allclose(gaussian_kl(mean, var, mean2, var2), expected)
    assert torch.allclose(gaussian_log_prob(mean2, mean, var), p.log_prob(mean2).sum(dim=1))


def test_the_path_is_that_of_the_encoder():
    x0 = torch.full((50_000, 1), 1.5, dtype=torch.float64)
    path = draw_path(x0, LEFT, generator())
    assert len(path) == T + 1
    for t in (1, 8, T):
        assert float(path[t].mean()) == pytest.approx(1.5 * math.sqrt(LEFT[t]), abs=0.02)
        assert float(path[t].var()) == pytest.approx(1 - LEFT[t], rel=0.03)
    alpha = LEFT[8] / LEFT[7]
    error = path[8] - math.sqrt(alpha) * path[7]
    assert float(error.var()) == pytest.approx(1 - alpha, rel=0.03)
    assert abs(float((error * path[7]).mean())) < 0.01


def test_both_ways_of_writing_the_bound_agree_on_every_path(model, data):
    """Ho et al. 2020, appendix A, eq. 17-21: the encoder read upwards is, by Bayes, the same
    as its posteriors read downwards, so that the two log ratios are equal, not only on average."""
    decoder = decoder_of(model)
    path = draw_path(model.prepare_x(data[:5]).double(), LEFT, generator())
    hierarchical = path_log_ratio(path, decoder, LEFT)
    x0, x_last = path[0], path[-1]
    one = torch.ones_like(x0)
    prior = log_normal(x_last, 0 * one, one) - log_normal(
        x_last, math.sqrt(LEFT[-1]) * x0, (1 - LEFT[-1]) * one
    )
    ratios = [
        log_normal(path[t - 1], *decoder(path[t], t))
        - log_normal(path[t - 1], *posterior(x0, path[t], LEFT[t], LEFT[t - 1]))
        for t in range(2, T + 1)
    ]
    term_by_term = prior + sum(ratios) + log_normal(x0, *decoder(path[1], 1))
    assert torch.allclose(hierarchical, term_by_term, rtol=1e-5, atol=1e-5)


def test_every_kl_is_the_mean_log_ratio_of_its_two_gaussians(model, data):
    """The log ratio is quadratic: its mean over mean +- one deviation is that over the Gaussian."""
    decoder = decoder_of(model)
    x0 = model.prepare_x(data[:4]).double()
    for t in (2, 3, 11, T):
        x_t = math.sqrt(LEFT[t]) * x0 + math.sqrt(1 - LEFT[t]) * randn(4, 2)
        q, p = posterior(x0, x_t, LEFT[t], LEFT[t - 1]), decoder(x_t, t)
        ratios = []
        for sign in (1.0, -1.0):
            x_s = q[0] + sign * q[1].sqrt()
            ratios.append(log_normal(x_s, *q) - log_normal(x_s, *p))
        expected = 0.5 * (ratios[0] + ratios[1])
        assert torch.allclose(gaussian_kl(*q, *p).sum(dim=1), expected, rtol=1e-5, atol=1e-8)


def test_the_terms_sum_to_the_mean_over_paths(model, data):
    """The sum of KLs and the Monte Carlo bound, over the same 4000 draws for one item."""
    decoder = decoder_of(model)
    x0 = model.prepare_x(data[:1]).double().expand(4000, -1)
    bound = variational_bound(x0, decoder, LEFT, gaussian_log_prob, generator(1))
    ratio = -path_log_ratio(draw_path(x0, LEFT, generator(2)), decoder, LEFT)
    error = math.sqrt(float(bound.total.var() + ratio.var()) / 4000)
    assert float(bound.total.mean() - ratio.mean()) == pytest.approx(0, abs=4 * error)
    assert error < 0.2
    assert (bound.steps >= 0).all()
    assert (bound.prior >= 0).all()


@pytest.mark.parametrize("variance", [0.3, 1.0, 2.0])
def test_with_the_exact_decoder_the_log_ratio_is_the_log_density(variance):
    """For data N(0, variance) the reverse process is Gaussian, and the bound is no bound but
    equal, up to what the prior does not know: x_T is not quite N(0, 1)."""
    left = alpha_bar("cosine", 50).tolist()

    def decoder(x, t):
        spread = [a * variance + 1 - a for a in (left[t], left[t - 1])]
        alpha = left[t] / left[t - 1]
        mean = math.sqrt(alpha) * spread[1] / spread[0] * x
        return mean, torch.full_like(x, (1 - alpha) * spread[1] / spread[0])

    x0 = math.sqrt(variance) * randn(400, 3)
    exact = log_normal(x0, torch.zeros_like(x0), torch.full_like(x0, variance))
    found = path_log_ratio(draw_path(x0, left, generator()), decoder, left)
    assert torch.allclose(found, exact, atol=1e-3 if variance != 1 else 1e-9)
    bounds = [
        variational_bound(x0, decoder, left, gaussian_log_prob, generator(i)).total
        for i in range(5)
    ]
    # Each draw of a KL differs; on average they are the exact value.
    gap = torch.cat(bounds) + exact.repeat(5)
    error = float(gap.std()) / math.sqrt(len(gap))
    assert abs(float(gap.mean())) < 4 * error
    assert error < 0.05


def test_the_grey_values_of_a_pixel_have_probabilities_that_sum_to_one():
    values = torch.linspace(-1, 1, 17, dtype=torch.float64)[:, None]
    low, high, half = (torch.tensor([v], dtype=torch.float64) for v in (-1.0, 1.0, 1 / 16))
    for mean, std in ((0.1, 0.3), (-1.5, 0.05), (5.0, 2.0), (0.0, 1e-4)):
        log_p = discretized_log_prob(
            values,
            torch.full_like(values, mean),
            torch.full_like(values, std**2),
            half,
            low,
            high,
        )
        assert torch.isfinite(log_p).all()
        assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-9)


def test_the_bound_of_a_model_is_in_the_units_of_the_data(data):
    """Data ten times as wide have densities 100 times as small in the plane."""
    bounds = []
    for factor in (1.0, 10.0):
        model = DDPM(n_timesteps=T, n_steps=50, hidden=(16,)).fit(factor * data)
        bounds.append(model.log_prob_bound(factor * data[:20], generator=generator()))
    assert torch.allclose(bounds[0] - bounds[1], torch.tensor(2 * math.log(10)).double(), atol=0.01)


def test_bits_and_nats_and_levels(model, data):
    bound = model.bound(data[:6], generator=generator())
    assert bound.steps.shape == (6, T - 1)
    assert torch.allclose(bound.bits_per_dim * 2 * math.log(2), bound.total)
    assert torch.equal(-bound.total, model.log_prob_bound(data[:6], generator=generator()))
    some = [
        model.bound(data[:6], n_levels=5, generator=generator(i)).steps.sum(dim=1)
        for i in range(100)
    ]
    full = [model.bound(data[:6], generator=generator(i)).steps.sum(dim=1) for i in range(20)]
    means = [torch.stack(s).mean(dim=0) for s in (some, full)]
    error = torch.stack(some).std(dim=0) / math.sqrt(100) + torch.stack(full).std(dim=0) / 4
    assert ((means[0] - means[1]).abs() < 4 * error).all()


def test_rows_unlike_the_data_have_a_lower_bound(model, data):
    near = model.log_prob_bound(data[:50], generator=generator()).mean()
    far = model.log_prob_bound(data[:50] + np.array([0.0, 3.0]), generator=generator()).mean()
    assert near > far + 5


def test_a_learned_variance_lies_between_its_limits_and_improves_the_bound(data):
    """Nichol and Dhariwal 2021, section 3: most for few levels, where the best is neither limit."""
    arguments = {
        "n_timesteps": 10,
        "n_sample_steps": None,
        "n_steps": 600,
        "hidden": (32, 32),
        "lr": 3e-3,
    }
    fixed = DDPM(**arguments).fit(data)
    learned = DDPM(**arguments, learned_variance=True, variance_weight=0.1).fit(data)
    x = learned.prepare_x(data)
    for t in range(1, 11):
        _, variance = learned.decoder(x, t)
        low, high = float(learned._least_variance[t]), float(learned._beta[t])
        assert (variance >= low * (1 - 1e-5)).all()
        assert (variance <= high * (1 + 1e-5)).all()
    scores = [float(m.log_prob_bound(data, generator=generator()).mean()) for m in (fixed, learned)]
    assert scores[1] > scores[0] + 0.1


def test_the_bound_trains_the_variance_only(data):
    """In L_hybrid the mean is frozen in the bound's share."""
    model = DDPM(n_timesteps=T, n_steps=20, hidden=(16,), learned_variance=True).fit(data)
    rows = model.check_rows(data, None)
    rows.x = model.prepare_x(rows.x)
    batch = [part[0] for part in model.draw_batches(rows, 1, generator())]
    layer = model.weights_["network"].module.output
    gradients = []
    for weight in (0.0, 1.0):
        model.variance_weight = weight
        loss = model.loss(*batch)
        gradients.append(torch.autograd.grad(loss, layer.weight)[0])
    assert torch.equal(gradients[0][:2], gradients[1][:2])
    assert torch.equal(gradients[0][2:], torch.zeros_like(gradients[0][2:]))
    assert gradients[1][2:].abs().max() > 0


def test_images_of_grey_values_have_bits(data):
    x = torch.randint(0, 17, (40, 1, 4, 4), generator=generator()) / 16
    model = DDPM(n_timesteps=T, n_steps=10, channels=(4, 8)).fit(x)
    bound = model.bound(x[:5], n_values=17, generator=generator())
    # Independent pixels of 17 equally likely values cannot be coded in less than log2(17) bits.
    assert float(bound.bits_per_dim.mean()) > math.log2(17) - 0.3
    assert torch.isfinite(bound.total).all()
    with pytest.raises(ValueError, match="n_values must be None: the items are no images"):
        DDPM(n_timesteps=T, n_steps=0).fit(data).bound(data, n_values=17)
