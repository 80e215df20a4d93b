"""Noise schedules and the steps of samplers against their formulas; foreign schedulers."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from evogen.models.bound import posterior
from evogen.models.diffusion import DDPM
from evogen.models.schedulers import (
    DDIM,
    PREDICTION_TYPES,
    alpha_bar,
    grid_of_levels,
    output_of,
    x0_of,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
@pytest.mark.parametrize("n_timesteps", [50, 100, 1000])
def test_schedules_fall_from_one_to_almost_nothing(schedule, n_timesteps):
    left = alpha_bar(schedule, n_timesteps)
    assert left.shape == (n_timesteps + 1,)
    assert left[0] == 1
    assert (left[1:] < left[:-1]).all()
    assert 0 < left[-1] < 1e-4


def test_schedules_have_the_values_of_their_papers():
    beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    assert torch.allclose(alpha_bar("linear", 1000)[1:], torch.cumprod(1 - beta, 0))
    f = [math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(1000)]
    expected = torch.tensor(f, dtype=torch.float64) / f[0]
    assert torch.allclose(alpha_bar("cosine", 1000)[:-1], expected, rtol=1e-9)


def test_levels_go_down_to_zero_one_by_one_or_in_even_steps():
    assert grid_of_levels(4, 4) == [4, 3, 2, 1, 0]
    assert grid_of_levels(1000, 4) == [1000, 750, 500, 250, 0]
    ddim = DDIM(1000)
    ddim.set_timesteps(4)
    assert ddim.timesteps.tolist() == [999, 749, 499, 249]


@pytest.mark.parametrize("prediction", list(PREDICTION_TYPES))
def test_outputs_and_what_they_say_are_inverse(prediction):
    x0, noise, signal = randn(4, 3), randn(4, 3, seed=1), 0.6
    sigma = math.sqrt(1 - signal**2)
    output = output_of(prediction, x0, noise, signal, sigma)
    found = x0_of(prediction, output, signal * x0 + sigma * noise, signal, sigma)
    assert torch.allclose(found, x0, atol=1e-12)


def test_noised_items_have_the_moments_of_q():
    ddim, x0, t = DDIM(100), torch.tensor([[1.5], [-2.0]], dtype=torch.float64), 60
    left = float(alpha_bar("cosine", 100)[t + 1])
    noise = randn(2, 100_000)
    x_t = ddim.add_noise(x0.expand(2, 100_000), noise, torch.tensor(t))
    assert torch.allclose(x_t.mean(dim=1), math.sqrt(left) * x0[:, 0], atol=0.01)
    assert torch.allclose(x_t.var(dim=1), torch.full((2,), 1 - left).double(), rtol=0.02)
    each = ddim.add_noise(x0, torch.zeros(2, 1, dtype=torch.float64), torch.tensor([0, t]))
    expected = alpha_bar("cosine", 100)[[1, t + 1]].sqrt()[:, None] * x0
    assert torch.allclose(each, expected, atol=1e-12)


@pytest.mark.parametrize("n_steps", [100, 7])
def test_with_eta_one_a_step_is_a_draw_from_the_posterior(n_steps):
    """Ho et al. 2020, eq. 6 and 7, also between levels that are not neighbours."""
    ddim = DDIM(100, eta=1.0)
    ddim.set_timesteps(n_steps)
    left = alpha_bar("cosine", 100)
    levels = grid_of_levels(100, n_steps)
    x0, noise = randn(5, 3), randn(5, 3, seed=1)
    for t, s in ((levels[0], levels[1]), (levels[3], levels[4])):
        x_t = left[t].sqrt() * x0 + (1 - left[t]).sqrt() * noise
        z = torch.randn(5, 3, generator=generator(2), dtype=torch.float64)
        mean, variance = posterior(x0, x_t, float(left[t]), float(left[s]))
        moved = ddim.step(noise, t - 1, x_t, generator=generator(2))
        assert torch.allclose(moved.prev_sample, mean + variance.sqrt() * z, atol=1e-8)
        assert torch.allclose(moved.pred_original_sample, x0, atol=1e-8)


def test_the_last_step_of_any_eta_is_the_guess_of_x0():
    for eta in (0.0, 1.0):
        ddim = DDIM(100, prediction="x0", eta=eta)
        ddim.set_timesteps(10)
        last = ddim.step(randn(4, 2), 9, randn(4, 2, seed=1), generator=generator())
        assert torch.allclose(last.prev_sample, randn(4, 2), atol=1e-12)


def test_with_eta_zero_nothing_is_drawn_and_a_step_can_be_taken_back():
    ddim, x = DDIM(100), randn(4, 2)
    source = generator()
    before = source.get_state()
    down = ddim.step(0.3 * x, 50, x, generator=source).prev_sample
    assert torch.equal(source.get_state(), before)
    left = alpha_bar("cosine", 100)
    x0 = x0_of("noise", 0.3 * x, x, float(left[51].sqrt()), float((1 - left[51]).sqrt()))
    assert torch.allclose(down, left[50].sqrt() * x0 + (1 - left[50]).sqrt() * 0.3 * x)


def test_wrong_use_is_refused():
    ddim = DDIM(100, eta=0.5)
    ddim.set_timesteps(10)
    with pytest.raises(ValueError, match="t must be one of timesteps; got 5"):
        ddim.step(randn(1, 1), 5, randn(1, 1), generator=generator())
    with pytest.raises(ValueError, match="generator must be given for eta > 0"):
        ddim.step(randn(1, 1), 99, randn(1, 1))
    with pytest.raises(ValueError, match="n_steps must be at least 1 and at most 100"):
        ddim.set_timesteps(101)
    with pytest.raises(ValueError, match="prediction must be one of"):
        DDIM(prediction="epsilon")
    with pytest.raises(ValueError, match="least 50"):
        DDIM(10, "linear")


# Models under schedulers.


@pytest.fixture(scope="module")
def model() -> DDPM:
    x = np.random.default_rng(0).normal(size=(60, 2)) * [1.0, 0.3]
    return DDPM(n_steps=60, hidden=(32,), n_sample_steps=10, clip=None).fit(x)


@pytest.mark.parametrize("prediction", list(PREDICTION_TYPES))
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_our_scheduler_takes_the_steps_of_the_model(model, prediction, eta):
    model.eta = eta
    expected = model.sample(20, generator=generator())
    found = model.sample(20, generator=generator(), scheduler=DDIM(prediction=prediction, eta=eta))
    assert torch.allclose(found, expected, atol=2e-3)
    other = model.sample(20, generator=generator(), scheduler=DDIM(eta=1 - eta))
    assert (other - expected).abs().max() > 0.1


class Euler:
    """A foreign scheduler of another kind, after Karras et al. 2022: noise is added to x, not mixed
    in, and levels lie between whole ones."""

    config = SimpleNamespace(prediction_type="epsilon")

    def __init__(self) -> None:
        left = alpha_bar("cosine", 1000)[1:]
        self.ratio = ((1 - left) / left).sqrt().numpy()

    def set_timesteps(self, n_steps):
        self.timesteps = torch.linspace(985, 0, n_steps, dtype=torch.float64)
        places = np.arange(1000)
        sigmas = np.interp(self.timesteps.numpy(), places, self.ratio)
        self.sigmas = [*sigmas.tolist(), 0.0]
        self.place = {float(t): i for i, t in enumerate(self.timesteps)}
        self.init_noise_sigma = self.sigmas[0]

    def scale_model_input(self, x, t):
        return x / math.sqrt(1 + self.sigmas[self.place[float(t)]] ** 2)

    def step(self, output, t, x):
        i = self.place[float(t)]
        moved = x + (self.sigmas[i + 1] - self.sigmas[i]) * output
        return SimpleNamespace(prev_sample=moved)


@pytest.mark.parametrize("variance", [0.25, 4.0])
def test_any_scheduler_can_take_the_steps(monkeypatch, variance):
    """With the best predictor for N(0, variance) the samples are of that variance."""
    model = DDPM(normalize=False, n_steps=0, clip=None, n_sample_steps=200, prediction="v")
    model.fit([[0.0], [1.0]])

    def best(x, t, condition):
        left = np.interp(t, np.arange(1001), np.array(model._alpha_bar))
        a, s = math.sqrt(left), math.sqrt(1 - left)
        x0 = a * variance / (left * variance + 1 - left) * x
        return a * (x - a * x0) / s - s * x0

    monkeypatch.setattr(model, "guided", best)
    rows = model.sample(20_000, generator=generator(), scheduler=Euler())
    assert float(rows.var()) == pytest.approx(variance, rel=0.05)


def test_what_the_scheduler_asks_for_is_what_it_gets(model, monkeypatch):
    """eta and generator go to a step that takes them; the number of steps is the model's."""

    class Spy:
        prediction_type = "sample"

        def set_timesteps(self, n_steps):
            self.timesteps = torch.arange(999, -1, -1)[:n_steps]

        def step(self, output, t, x, eta=None, generator=None):
            seen.append((int(t), eta, generator))
            return SimpleNamespace(prev_sample=output)

    seen: list[tuple[int, float, torch.Generator]] = []
    model.eta, source = 0.25, generator()
    model.sample(3, scheduler=Spy(), generator=source)
    assert [t for t, _, _ in seen] == list(range(999, 989, -1))
    assert all(eta == 0.25 and given is source for _, eta, given in seen)


def test_a_scheduler_of_another_noise_schedule_is_refused(model):
    for other in (DDIM(1000, "linear"), DDIM(500)):
        with pytest.raises(ValueError, match="scheduler must have the noise schedule"):
            model.sample(3, scheduler=other)
    assert model.sample(0, scheduler=DDIM()).shape == (0, 2)
