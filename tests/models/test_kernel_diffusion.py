"""The training-free diffusion model against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evogen.models import load_model
from evogen.models.kernel_diffusion import KernelDiffusion


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_linear_inverse_is_exact_between_and_beyond_the_rows():
    rng = np.random.default_rng(0)
    condition = rng.random((60, 2))
    slope = rng.normal(size=(2, 5))
    model = KernelDiffusion(ridge=0.0).fit(condition @ slope + 3.0, condition)
    asked = np.array([[0.5, 0.5], [1.5, -0.5], [-1.0, 2.0]])
    np.testing.assert_allclose(model.sample(3, asked), asked @ slope + 3.0, atol=1e-4)


def test_with_a_great_ridge_the_answer_is_a_mean_and_stays_inside():
    condition = np.linspace(0, 1, 40)[:, None]
    x = np.hstack((condition, 2 * condition))
    asked = np.array([[3.0]])
    line = KernelDiffusion(spread=0.0).fit(x, condition).sample(1, asked)
    mean = KernelDiffusion(spread=0.0, ridge=1e9).fit(x, condition).sample(1, asked)
    assert float(mean[0, 0]) < 1.0
    assert float(line[0, 0]) > 2.0


def test_samples_spread_like_the_rows():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(4, 4))
    x = rng.normal(size=(100, 4)) @ root
    model = KernelDiffusion(n_neighbors=100).fit(x)
    found = np.cov(model.sample(4000, generator=generator()).numpy().T)
    # The mean alone, without the restored spread, keeps a small part of it.
    assert 0.8 < np.trace(found) / np.trace(np.cov(x.T)) < 1.1
    model = KernelDiffusion(n_neighbors=100, spread=0.0).fit(x)
    found = np.cov(model.sample(4000, generator=generator()).numpy().T)
    assert np.trace(found) / np.trace(np.cov(x.T)) < 0.5


def test_local_samples_neither_contract_nor_leave_a_curved_set():
    angle = np.random.default_rng(0).uniform(0, np.pi, 300)
    x = np.column_stack((np.cos(angle), np.sin(angle)))
    samples = KernelDiffusion(n_neighbors=15).fit(x).sample(3000, generator=generator()).numpy()
    radius = np.linalg.norm(samples, axis=1)
    assert np.abs(radius - 1).max() < 0.05
    assert samples.var(axis=0).sum() > 0.95 * x.var(axis=0).sum()


def test_the_restored_spread_is_unbiased():
    rng = np.random.default_rng(0)
    condition = rng.random((4000, 1))
    x = np.hstack((condition, np.zeros((4000, 2)))) + rng.normal(scale=0.1, size=(4000, 3))
    model = KernelDiffusion(n_neighbors=12, ridge=0.0).fit(x, condition)
    asked = rng.uniform(0.2, 0.8, size=(4000, 1))
    _, root = model.local_gaussian(torch.empty(0), model.prepare_condition(asked, 4000))
    variance = root.square().sum(dim=1).mean(dim=0) * model.scaler_.scale**2
    np.testing.assert_allclose(variance, 0.01, rtol=0.1)


def test_nothing_is_noised_at_time_zero_and_everything_at_one():
    x = np.random.default_rng(0).normal(size=(50, 3))
    model = KernelDiffusion(n_neighbors=50).fit(x)
    torch.testing.assert_close(model.denoise_from(x[:5], 0.0), torch.tensor(x[:5]).float())
    far = np.full((4000, 3), 4.0)
    fresh = model.denoise_from(far, 1.0, generator=generator())
    _, root = model.local_gaussian(model.prepare_x(far[:1]), None)
    variance = root.square().sum(dim=1)[0] * model.scaler_.scale**2
    np.testing.assert_allclose(fresh.var(dim=0), variance, rtol=0.1)


def test_partial_noising_leaves_the_local_gaussian_as_it_is():
    x = np.random.default_rng(0).normal(size=(100, 2)) * [1.0, 5.0]
    model = KernelDiffusion(n_neighbors=100).fit(x, np.zeros((100, 1)))
    start = model.sample(2000, [[0.0]], generator=generator(1))
    after = model.denoise_from(start, 0.4, [[0.0]], generator=generator(2))
    np.testing.assert_allclose(after.var(dim=0), start.var(dim=0), rtol=0.1)
    kept = np.corrcoef(start[:, 0], after[:, 0])[0, 1]
    assert kept == pytest.approx(np.cos(0.2 * np.pi) ** 2, abs=0.06)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_few_rows_or_equal_ones_give_finite_samples(n):
    for x in (np.random.default_rng(0).normal(size=(n, 4)), np.ones((n, 4))):
        for condition in (None, np.ones((n, 2))):
            model = KernelDiffusion().fit(x, condition)
            asked = None if condition is None else [[9.0, -9.0]]
            assert torch.isfinite(model.sample(5, asked)).all()
    torch.testing.assert_close(model.sample(2, asked), torch.ones(2, 4))


def test_a_new_fit_replaces_the_rows():
    model = KernelDiffusion().fit(np.zeros((9, 2)))
    assert bool((model.fit(np.ones((4, 2))).sample(3) == 1).all())


def test_saved_and_loaded_it_samples_the_same(tmp_path):
    rng = np.random.default_rng(0)
    model = KernelDiffusion(n_neighbors=4).fit(rng.normal(size=(9, 3)), rng.normal(size=(9, 2)))
    model.save(tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert torch.equal(model.sample(5, [[0.0, 0.0]]), loaded.sample(5, [[0.0, 0.0]]))


@pytest.mark.parametrize("name", ["spread", "ridge"])
def test_negative_settings_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 0"):
        KernelDiffusion(**{name: -1.0})
    with pytest.raises(ValueError, match="n_neighbors must be at least 1"):
        KernelDiffusion(n_neighbors=0)
