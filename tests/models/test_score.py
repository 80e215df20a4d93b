"""Langevin dynamics against closed forms, and the score model against known scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evogen.models import load_model
from evogen.models.score import ScoreModel, annealed_langevin, langevin


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def stationary_variance(step, sigma: float, step_size: float) -> float:
    """Variance that a chain on N(0, sigma^2) settles at, from 20,000 chains, 40 times each."""
    x = sigma * torch.randn(20_000, generator=generator(0))
    total = 0.0
    for _ in range(40):
        for _ in range(10):
            x = step(x, sigma, step_size)
        total += float(x.var())
    return total / 40


@pytest.mark.parametrize(("sigma", "step_size"), [(0.5, 0.2), (2.0, 4.0)])
def test_langevin_has_its_known_stationary_variance(sigma, step_size):
    draws = generator()

    def right(x, sigma, step_size):
        return langevin(lambda x: -x / sigma**2, x, n_steps=1, step_size=step_size, generator=draws)

    def without_noise(x, sigma, step_size):
        return x - step_size / 2 * x / sigma**2

    def whole_step(x, sigma, step_size):
        noise = torch.randn(x.shape, generator=draws)
        return x - step_size * x / sigma**2 + step_size**0.5 * noise

    known = sigma**2 / (1 - step_size / (4 * sigma**2))
    assert stationary_variance(right, sigma, step_size) == pytest.approx(known, rel=0.02)
    assert stationary_variance(without_noise, sigma, step_size) < 0.01 * known
    # The gradient counted twice: about half the variance.
    twice = sigma**2 / 2 / (1 - step_size / (2 * sigma**2))
    assert stationary_variance(whole_step, sigma, step_size) == pytest.approx(twice, rel=0.02)
    assert abs(twice / known - 1) > 0.2


def two_gaussians_score(x: torch.Tensor, sigma: float = 0.0) -> torch.Tensor:
    """Of 0.2 N(-5, 1) + 0.8 N(5, 1) in each of two dimensions at once, noised by sigma."""
    variance = 1 + sigma**2
    means = torch.tensor([[-5.0, -5.0], [5.0, 5.0]])
    away = means - x[:, None]
    log = torch.tensor([0.2, 0.8]).log() - away.square().sum(2) / (2 * variance)
    return (log.softmax(1)[:, :, None] * away).sum(1) / variance


def test_only_annealing_gets_the_weights_of_distant_modes_right():
    """Song and Ermon 2019, figure 3."""
    start = 16 * torch.rand(2000, 2, generator=generator(0)) - 8
    plain = langevin(two_gaussians_score, start, n_steps=1000, step_size=0.1, generator=generator())
    sigmas = (10 * 0.1 ** torch.linspace(0, 1.5, 12)).tolist()
    annealed = annealed_langevin(
        two_gaussians_score, start, sigmas, n_steps=80, step_size=0.02, generator=generator()
    )
    # Uniform starts fall to either mode half of the times, and stay there.
    assert float((plain.sum(1) > 0).float().mean()) < 0.6
    assert float((annealed.sum(1) > 0).float().mean()) == pytest.approx(0.8, abs=0.04)
    for x in (plain, annealed):
        assert float((x.abs() - 5).std()) == pytest.approx(1, abs=0.1)


def test_steps_of_annealed_langevin_shrink_with_the_square_of_sigma():
    seen = []

    def score(x, sigma):
        seen.append((sigma, x.clone()))
        return torch.zeros_like(x)

    x = annealed_langevin(
        score,
        torch.zeros(20_000, 1),
        [4.0, 1.0],
        n_steps=1,
        step_size=0.3,
        generator=generator(),
        denoise=False,
    )
    assert [sigma for sigma, _ in seen] == [4.0, 1.0]
    assert float(seen[1][1].var()) == pytest.approx(0.3 * 16, rel=0.05)
    assert float((x - seen[1][1]).var()) == pytest.approx(0.3, rel=0.05)


def test_the_last_noise_is_taken_off():
    """Data that are one point, the score -x / sigma^2: what is left is the point."""
    settings = {"n_steps": 5, "step_size": 0.01, "generator": generator()}
    start = torch.randn(50, 2, generator=generator(0))
    x = annealed_langevin(lambda x, s: -x / s**2, start, [1.0, 0.2], **settings)
    assert torch.allclose(x, torch.zeros(50, 2), atol=1e-6)
    x = annealed_langevin(lambda x, s: -x / s**2, start, [1.0, 0.2], denoise=False, **settings)
    assert float(x.std()) > 0.1


@pytest.mark.parametrize("sigmas", [[], [1.0, 2.0], [1.0, -1.0], [1.0, 0.0]])
def test_sigmas_must_be_positive_and_fall(sigmas):
    with pytest.raises(ValueError, match="sigmas must be positive and falling"):
        annealed_langevin(
            lambda x, s: x,
            torch.zeros(1, 1),
            sigmas,
            n_steps=1,
            step_size=0.1,
            generator=generator(),
        )


@pytest.fixture(scope="module")
def gaussian() -> tuple[ScoreModel, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 2)) @ np.array([[1.0, 0.8], [0.0, 0.6]]) * [1, 100] + [3, -50]
    model = ScoreModel(n_steps=1200, lr=3e-3, schedule="cosine", hidden=(64, 64), clip=None)
    return model.fit(x), x


def test_the_learned_score_of_a_gaussian_is_its_closed_form(gaussian):
    model, x = gaussian
    scale = torch.as_tensor(x.std(0))
    covariance = torch.as_tensor(np.cov(x.T, bias=True))
    mean = torch.as_tensor(x.mean(0))
    for sigma in (0.3, 0.7, 1.5):
        noised = covariance + sigma**2 * torch.diag(scale**2)
        at = torch.as_tensor(x[:500]) + sigma * scale * torch.randn(500, 2, generator=generator())
        true = -torch.linalg.solve(noised, (at - mean).T).T * scale
        error = model.score(at, sigma).double() * scale - true
        assert float(error.square().mean().sqrt()) < 0.15 * float(true.square().mean().sqrt())


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"method": "predictor", "n_sample_steps": 100},
        {"method": "predictor", "n_sample_steps": 100, "eta": 1.0},
        {"method": "langevin", "n_sample_steps": 60, "n_langevin_steps": 8},
    ],
)
def test_all_samplers_draw_what_was_learned(gaussian, settings):
    model, x = gaussian
    twin = ScoreModel(**{**model.get_params(), **settings})
    twin.restore(model.state_numbers(), model.state_tensors())
    drawn = twin.sample(3000, generator=generator()).double().numpy()
    assert (np.abs(drawn.mean(0) - x.mean(0)) < 0.12 * x.std(0)).all()
    assert np.allclose(drawn.std(0), x.std(0), rtol=0.1)
    assert np.corrcoef(drawn.T)[0, 1] == pytest.approx(np.corrcoef(x.T)[0, 1], abs=0.1)


def test_sigmas_come_from_the_first_data_and_stay(gaussian):
    model = ScoreModel(n_steps=2, sigma_min=0.02, n_timesteps=50, normalize=False)
    x = np.array([[0.0, 0.0], [3.0, 4.0], [1.0, 1.0]])
    model.fit(x)
    assert model.buffers_["sigmas"].tolist() == pytest.approx([0.02, 5.0])
    model.fit(10 * x)
    assert model.buffers_["sigmas"].tolist() == pytest.approx([0.02, 5.0])
    ratios = np.divide(model._sigmas[2:], model._sigmas[1:-1])
    assert np.allclose(ratios, ratios[0]), "a geometric progression"
    given = ScoreModel(n_steps=2, sigma_max=7.0).fit(x)
    assert given.buffers_["sigmas"].tolist() == pytest.approx([0.01, 7.0])


def test_sigma_outside_what_was_learned_is_refused(gaussian):
    model, x = gaussian
    high = float(model.buffers_["sigmas"][1])
    assert torch.isfinite(model.score(x[:3], high)).all()
    for sigma in (0.001, 2 * high):
        with pytest.raises(ValueError, match="sigma must be at least"):
            model.score(x[:3], sigma)
    with pytest.raises(RuntimeError, match="not fitted"):
        ScoreModel().score(x[:3], 0.1)


def test_labels_choose_what_is_drawn():
    x = np.concatenate((np.full((50, 2), -3.0), np.full((50, 2), 3.0)))
    x = x + 0.3 * np.random.default_rng(0).normal(size=x.shape)
    model = ScoreModel(n_steps=300, lr=5e-3, hidden=(32, 32)).fit(x, np.repeat([4, 9], 50))
    assert float((model.sample(100, 4) < 0).float().mean()) > 0.95
    assert float((model.sample(100, 9) > 0).float().mean()) > 0.95
    at = np.zeros((1, 2))
    assert (model.score(at, 1.0, 9) > model.score(at, 1.0, 4)).all()


def test_images_have_scores_of_their_shape_and_samples_in_the_unit_range(tmp_path):
    x = np.random.default_rng(0).random((12, 1, 6, 6))
    model = ScoreModel(n_steps=3, n_sample_steps=2, n_langevin_steps=1, channels=(8,)).fit(x)
    assert model.score(x[:3], 0.5).shape == (3, 1, 6, 6)
    drawn = model.sample(4)
    assert drawn.shape == (4, 1, 6, 6)
    assert float(drawn.min()) >= 0
    assert float(drawn.max()) <= 1
    model.save(tmp_path / "m")
    twin = load_model(tmp_path / "m")
    assert torch.equal(twin.sample(3), model.sample(3))
    assert torch.equal(twin.fit(x).sample(3), model.fit(x).sample(3))


def test_odd_data_work():
    model = ScoreModel(n_steps=10, n_sample_steps=3)
    assert torch.allclose(model.fit(np.array([[1.0, -7.0]])).sample(3), torch.tensor([1.0, -7.0]))
    x = np.random.default_rng(0).normal(size=(9, 3))
    x[:, 1] = 5
    model = ScoreModel(n_steps=10, n_sample_steps=3).fit(x)
    assert (model.sample(4)[:, 1] == 5).all()
    assert model.sample(0).shape == (0, 3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sigma_min": 0}, "sigma_min must be at least"),
        ({"sigma_max": 0.001}, r"sigma_max must be at least 0\.01"),
        ({"method": "Langevin"}, "method must be one of.*did you mean 'langevin'"),
        ({"step_size": 4.0}, "step_size must be at least 0 and at most 3.9"),
        ({"learned_variance": True}, "learned_variance must be False"),
        ({"n_sample_steps": 2000}, "n_sample_steps must be at least 1 and at most 1000"),
        ({"n_langevin_steps": 0}, "n_langevin_steps must be at least 1"),
    ],
)
def test_wrong_parameters_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        ScoreModel(**wrong)
