"""Diffusion: schedules, samplers against closed forms, guidance, partial denoising."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from evogen.models import DDPM, denoiser, load_model
from evogen.models.schedulers import alpha_bar


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian_oracle(model: DDPM, variance: float):
    """What the best predictor says for data N(0, variance): E[x_0 | x_t] and the noise left."""

    def predict(x, t, condition):
        a, s = float(model._signal[t]), float(model._noise[t])
        x0 = a * variance / (a * a * variance + s * s) * x
        return x0, (x - a * x0) / s

    return predict


@pytest.fixture
def unscaled() -> DDPM:
    """A fitted model in 1-D without scaling, for tests that put their own predictor in."""
    return DDPM(n_timesteps=200, normalize=False, n_steps=0, clip=None).fit([[0.0], [1.0]])


def test_signal_and_noise_keep_the_variance_at_one(unscaled):
    total = unscaled._signal.square() + unscaled._noise.square()
    assert torch.allclose(total, torch.ones(201))


def test_with_eta_one_a_step_is_the_posterior_of_ddpm(unscaled, monkeypatch):
    """Ho et al. 2020, eq. 6-7, for one step from t = 1 + s to s."""
    model, t, x0, x_t = unscaled, 120, 0.7, -0.4
    a, s = float(model._signal[t]), float(model._noise[t])
    monkeypatch.setattr(
        model,
        "predict",
        lambda x, level, c: (
            (torch.full_like(x, x0), (x - a * x0) / s)
            if level == t
            else (x / model._signal[level], torch.zeros_like(x))
        ),
    )
    model.eta, model.n_sample_steps = 1.0, None
    steps = []
    original = model.predict

    def spy(x, level, c):
        steps.append((level, x.clone()))
        return original(x, level, c)

    monkeypatch.setattr(model, "predict", spy)
    model.denoise(torch.full((100_000, 1), x_t), t, None, generator())
    assert [level for level, _ in steps] == list(range(t, 0, -1))
    found = steps[1][1].double()
    left = alpha_bar("cosine", 200)
    alpha = float(left[t] / left[t - 1])
    past = float(left[t - 1])
    mean = (
        math.sqrt(past) * (1 - alpha) / (1 - past * alpha) * x0
        + math.sqrt(alpha) * (1 - past) / (1 - past * alpha) * x_t
    )
    variance = (1 - past) / (1 - past * alpha) * (1 - alpha)
    assert float(found.mean()) == pytest.approx(mean, abs=4 * math.sqrt(variance / 100_000))
    assert float(found.var()) == pytest.approx(variance, rel=0.02)


@pytest.mark.parametrize(("eta", "n_sample_steps"), [(0.0, None), (1.0, None), (0.0, 50)])
@pytest.mark.parametrize("variance", [0.25, 1.0, 4.0])
def test_with_the_best_predictor_samples_have_the_variance_of_the_data(
    unscaled, monkeypatch, eta, n_sample_steps, variance
):
    unscaled.eta, unscaled.n_sample_steps = eta, n_sample_steps
    monkeypatch.setattr(unscaled, "predict", gaussian_oracle(unscaled, variance))
    rows = unscaled.sample(20_000, generator=generator())
    tolerance = 0.05 if n_sample_steps is None else 0.15
    assert float(rows.var()) == pytest.approx(variance, rel=tolerance)


@pytest.mark.parametrize("prediction", ["noise", "x0", "v"])
def test_the_three_predictions_mean_the_same(prediction, monkeypatch):
    model = DDPM(prediction=prediction, n_steps=0, clip=None).fit(np.eye(3))
    t, x0, noise = 300, torch.randn(4, 3, generator=generator()), torch.ones(4, 3)
    a, s = model._signal[t], model._noise[t]
    output = {"noise": noise, "x0": x0, "v": a * noise - s * x0}[prediction]
    monkeypatch.setattr(model, "guided", lambda x, t, c: output)
    found = model.predict(a * x0 + s * noise, t, None)
    assert torch.allclose(found[0], x0, atol=1e-4)
    assert torch.allclose(found[1], noise, atol=1e-4)


def test_targets_and_inputs_of_a_batch_belong_together():
    model = DDPM(n_steps=0, prediction="x0", batch_size=64).fit(
        np.random.default_rng(0).random((9, 2))
    )
    rows = model.check_rows(np.random.default_rng(0).random((9, 2)), None)
    rows.x = model.prepare_x(rows.x)
    x, context, target = model.draw_batches(rows, 5, generator())
    assert x.shape == target.shape == (5, 64, 2)
    assert context.shape == (5, 64, 16)
    model.prediction = "noise"
    noise = model.draw_batches(rows, 5, generator())[2]
    level = torch.cdist(context.view(-1, 16), model._time).argmin(dim=1).view(5, 64)
    a, s = model._signal[level][..., None], model._noise[level][..., None]
    assert torch.allclose(x, a * target + s * noise, atol=1e-6)
    assert level.min() >= 1
    assert level.max() <= 1000
    # Spread evenly: any tenth of the levels has about a tenth of every batch.
    assert all((torch.bincount((row - 1) // 100, minlength=10) >= 6).all() for row in level)


def test_ddim_is_deterministic_given_its_starting_noise():
    model = DDPM(n_steps=30, hidden=(32,)).fit(np.random.default_rng(0).random((50, 2)))
    a, b = (model.sample(10, generator=generator(1)) for _ in range(2))
    assert torch.equal(a, b)
    start = torch.randn(10, 2, generator=generator(1))
    expected = model.scaler_.denormalize(model.denoise(start, 1000, None, generator(5)).detach())
    assert torch.equal(a, expected), "no further noise is drawn with eta=0"


def test_guidance_one_is_the_conditional_network_and_zero_the_unconditional():
    rng = np.random.default_rng(0)
    c = rng.random((60, 1))
    model = DDPM(n_steps=50, hidden=(32,), condition_dropout=0.3).fit(np.c_[c, -c], c)
    network, t, x = model.sampler("network"), 500, torch.randn(4, 2, generator=generator())
    given = torch.randn(4, 1, generator=generator())
    time = model._time[t].expand(4, -1)
    with torch.no_grad():
        conditional = network(x, torch.cat((time, given, torch.ones(4, 1)), 1))
        free = network(x, torch.cat((time, torch.zeros(4, 2)), 1))
        outputs = {}
        for w in (0.0, 1.0, 2.5):
            model.guidance = w
            outputs[w] = model.guided(x, t, given)
    assert torch.equal(outputs[1.0], conditional)
    assert torch.equal(outputs[0.0], free)
    assert torch.allclose(outputs[2.5], free + 2.5 * (conditional - free), atol=1e-5)
    assert not torch.equal(conditional, free)


def test_the_condition_decides_what_is_sampled():
    rng = np.random.default_rng(0)
    c = rng.uniform(-1, 1, size=(400, 1))
    x = np.c_[2 * c, -c] + 0.05 * rng.normal(size=(400, 2))
    model = DDPM(hidden=(64, 64), n_steps=600, lr=3e-3, schedule="cosine").fit(x, c)
    for value in (-0.8, 0.7):
        rows = model.sample(300, [[value]]).double().numpy()
        np.testing.assert_allclose(rows.mean(0), [2 * value, -value], atol=0.25)


def test_denoising_from_nothing_returns_the_points_and_from_all_a_fresh_sample():
    x = np.random.default_rng(0).normal(size=(50, 3))
    model = DDPM(n_steps=20, hidden=(32,)).fit(x)
    points = 3 * x[:6] + 1
    assert torch.equal(model.denoise_from(points, 0), torch.tensor(points).float())
    fresh = model.denoise_from(points, 1.0, generator=generator())
    assert torch.equal(fresh, model.sample(6, generator=generator()))
    assert model.denoise_from(points[:0], 0.5).shape == (0, 3)


def test_denoising_from_further_away_moves_points_further():
    x = np.random.default_rng(0).normal(size=(100, 3))
    model = DDPM(n_steps=200, hidden=(64,), lr=3e-3).fit(x)
    moved = [
        float(
            (model.denoise_from(x, f, generator=generator()) - torch.tensor(x)).norm(dim=1).mean()
        )
        for f in (0.05, 0.3, 0.9)
    ]
    assert 0 < moved[0] < moved[1] < moved[2]


def test_denoising_part_of_the_way_adds_the_noise_of_that_level(unscaled, monkeypatch):
    seen = []

    def predict(x, t, condition):
        seen.append((t, x.clone()))
        return x, torch.zeros_like(x)

    monkeypatch.setattr(unscaled, "predict", predict)
    unscaled.denoise_from(np.full((50_000, 1), 2.0), 0.3, generator=generator())
    t, x = seen[0]
    assert t == 60
    assert float(x.mean()) == pytest.approx(2 * float(unscaled._signal[60]), abs=0.02)
    assert float(x.std()) == pytest.approx(float(unscaled._noise[60]), rel=0.02)
    assert len(seen) == math.ceil(20 * 0.3)


@pytest.mark.parametrize("fraction", [-0.1, 1.1, math.nan])
def test_a_fraction_outside_zero_to_one_is_refused(unscaled, fraction):
    with pytest.raises(ValueError, match="t_fraction must be at least 0 and at most 1"):
        unscaled.denoise_from([[1.0]], fraction)


def test_predictions_stay_within_the_widened_range_of_the_data():
    x = np.random.default_rng(0).uniform(-1, 3, size=(50, 2))
    model = DDPM(n_steps=0, clip=0.25, prediction="noise").fit(x)
    rows = model.sample(500).double().numpy()
    margin = 0.25 * np.ptp(x, axis=0) + 1e-4
    assert (rows >= x.min(0) - margin).all()
    assert (rows <= x.max(0) + margin).all()


def test_a_correlated_gaussian_is_learned():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 2)) @ np.array([[1.0, 0.8], [0.0, 0.6]]) * [1, 10] + [3, -2]
    model = DDPM(hidden=(64, 64), n_steps=1000, lr=3e-3, schedule="cosine", ema_decay=0.99)
    rows = model.fit(x).sample(4000).double().numpy()
    assert (np.abs(rows.mean(0) - x.mean(0)) < 0.15 * x.std(0)).all()
    np.testing.assert_allclose(np.cov(rows.T), np.cov(x.T), rtol=0.2)


def test_the_eight_ring_is_found_whole():
    rng = np.random.default_rng(0)
    angle = np.pi / 4 * rng.integers(8, size=10_000)
    x = np.c_[np.cos(angle), np.sin(angle)] + 0.01 * rng.normal(size=(10_000, 2))
    modes = np.c_[np.cos(np.pi / 4 * np.arange(8)), np.sin(np.pi / 4 * np.arange(8))]
    model = DDPM(
        prediction="noise",
        n_octaves=6,
        hidden=(96, 96, 96),
        batch_size=256,
        lr=2e-3,
        schedule="cosine",
        ema_decay=0.995,
        n_steps=2000,
        n_sample_steps=50,
        eta=1.0,
    )
    rows = model.fit(x).sample(2500).double()
    distance, nearest = torch.cdist(rows, torch.tensor(modes)).min(dim=1)
    good = distance < 0.03
    share = torch.bincount(nearest, minlength=8) / 2500
    assert good.double().mean() > 0.8
    assert torch.bincount(nearest[good], minlength=8).min() >= 0.2 * 2500 / 8
    assert float((share * (8 * share).log()).sum()) < 0.01


def test_noised_rows_have_the_moments_of_q():
    """x_t has mean a_t x_0 and variance s_t^2 at every level."""
    model = DDPM(n_timesteps=4, n_sample_steps=4, n_steps=0, prediction="x0", batch_size=200_000)
    rows = model.fit([[1.0], [3.0]]).check_rows([[1.0]], None)
    rows.x = model.prepare_x(rows.x)
    x, context, target = (part[0] for part in model.draw_batches(rows, 1, generator()))
    level = torch.cdist(context, model._time).argmin(dim=1)
    left = alpha_bar("cosine", 4)
    for t in range(1, 5):
        noised = x[level == t]
        assert len(noised) == 50_000
        mean = math.sqrt(left[t]) * float(target[0])
        assert float(noised.mean()) == pytest.approx(mean, abs=0.02)
        assert float(noised.var()) == pytest.approx(float(1 - left[t]), rel=0.03)


def test_the_best_noise_for_a_gaussian_is_learned():
    """For data N(0, C) it is s_t (a_t^2 C + s_t^2 I)^-1 x_t, in closed form."""
    rng = np.random.default_rng(0)
    root = torch.tensor([[1.0, 0.0], [0.8, 0.6]], dtype=torch.float64)
    x = rng.normal(size=(20_000, 2)) @ root.T.numpy()
    model = DDPM(
        prediction="noise",
        normalize=False,
        clip=None,
        hidden=(64, 64),
        batch_size=256,
        n_steps=1500,
        lr=3e-3,
        schedule="cosine",
        ema_decay=0.995,
    ).fit(x)
    covariance = root @ root.T
    errors = []
    for t in range(50, 1000, 100):
        a, s = float(model._signal[t]), float(model._noise[t])
        x_t = a * torch.as_tensor(x[:2000]) + s * torch.as_tensor(rng.normal(size=(2000, 2)))
        noised = a * a * covariance + s * s * torch.eye(2, dtype=torch.float64)
        best = s * x_t @ torch.linalg.inv(noised)
        with torch.no_grad():
            _, noise = model.predict(x_t.float(), t, None)
        errors.append(float((noise - best).square().mean()))
    assert np.mean(errors) < 1e-3


# Learned variance and inversion.


def test_a_learned_variance_is_used_when_noise_is_added():
    x = np.random.default_rng(0).normal(size=(100, 2))
    model = DDPM(n_steps=100, hidden=(32,), learned_variance=True, n_sample_steps=10).fit(x)
    network = model.sampler("network")
    ends = {}
    for eta in (0.0, 1.0):
        for share in (-20.0, 20.0):
            with torch.no_grad():
                network.output.bias[2:] = share
            model.eta = eta
            ends[eta, share] = model.sample(500, generator=generator())
    assert torch.equal(ends[0.0, -20.0], ends[0.0, 20.0])
    # Beta is more than the variance of the posterior.
    assert ends[1.0, 20.0].std() > 1.05 * ends[1.0, -20.0].std()
    model.learned_variance = False
    model.weights_["network"].module.output = network.output
    plain = DDPM(n_steps=0, n_sample_steps=10, eta=1.0, hidden=(32,)).fit(x)
    plain.guided = lambda x, t, c: model.guided(x, t, c)[:, :2]
    plain.buffers_ = model.buffers_
    plain.scaler_ = model.scaler_
    assert torch.allclose(plain.sample(500, generator=generator()), ends[1.0, -20.0], atol=1e-4)


def test_inversion_finds_the_noise_that_an_item_comes_from():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1000, 2)) @ np.array([[1.0, 0.8], [0.0, 0.6]]) * [1, 10] + [3, -2]
    model = DDPM(hidden=(64, 64), n_steps=300, lr=3e-3, n_sample_steps=100, eta=1.0).fit(x)
    scale = torch.tensor(x.std(axis=0))
    errors = []
    for n_corrections in (0, 3):
        noise = model.invert(x[:200], n_corrections=n_corrections)
        again = model.sample_from(noise)
        errors.append(float(((again - torch.tensor(x[:200])) / scale).abs().max()))
    assert errors[1] < 1e-2
    assert errors[1] < errors[0]
    assert abs(float(noise.std()) - 1) < 0.15
    other = model.sample_from(torch.randn(200, 2, generator=generator()))
    assert (other - torch.tensor(x[:200])).abs().max() > 1, "any noise gives back the items"


def test_sampling_from_given_noise_is_deterministic_ddim():
    x = np.random.default_rng(0).normal(size=(50, 3))
    model = DDPM(n_steps=20, hidden=(32,)).fit(x)
    start = torch.randn(6, 3, generator=generator(4))
    assert torch.equal(model.sample_from(start), model.sample(6, generator=generator(4)))
    with pytest.raises(ValueError, match="noise must have shape"):
        model.sample_from(start[:, :2])


# Images.


@pytest.fixture(scope="module")
def stripes() -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures of 5 x 4 that are bright with dark rows 1 and 3 (label 3), or all dark (label 7)."""
    labels = torch.tensor([3, 7]).repeat(50)
    x = torch.full((100, 1, 5, 4), 0.1)
    x[labels == 3, :, ::2] = 0.9
    return x + 0.02 * torch.randn(x.shape, generator=generator()), labels


@pytest.fixture(scope="module")
def painter(stripes) -> DDPM:
    arguments = {"channels": (8, 8), "n_steps": 150, "batch_size": 32, "lr": 4e-3}
    return DDPM(**arguments, schedule="cosine", condition_dropout=0.2).fit(*stripes)


def test_images_are_learned_with_their_labels(painter):
    assert painter.is_convolutional
    for label, target in ((3, [0.9, 0.1]), (7, [0.1, 0.1])):
        x = painter.sample(40, label)
        assert x.shape == (40, 1, 5, 4)
        means = torch.stack((x[..., ::2, :].mean(), x[..., 1::2, :].mean()))
        assert torch.allclose(means, torch.tensor(target), atol=0.08)
    free = painter.sample(100)
    bright = free[..., ::2, :].mean(dim=(1, 2, 3)) > 0.5
    assert 0.2 < float(bright.double().mean()) < 0.8
    assert free.min() >= 0
    assert free.max() <= 1


def test_guidance_mixes_the_two_sides_of_a_u_net(painter):
    x = torch.randn(4, 20, generator=generator())
    given = torch.tensor([[1.0, 0.0]]).expand(4, 2)
    outputs = {}
    with torch.no_grad():
        for w in (0.0, 1.0, 2.5):
            painter.guidance = w
            outputs[w] = painter.guided(x, 500, given)
        free = painter.guided(x, 500, None)
    painter.guidance = 1.0
    assert torch.equal(outputs[0.0], free)
    mixed = free + 2.5 * (outputs[1.0] - free)
    assert torch.allclose(outputs[2.5], mixed, atol=1e-5)
    assert (outputs[1.0] - free).abs().max() > 1e-3


def test_few_pictures_at_a_time_give_the_same_samples(painter, monkeypatch):
    whole = painter.sample(10, 3, generator=generator())
    monkeypatch.setattr(denoiser, "SAMPLER_NUMBERS", 3 * 20 * 8)
    network, sizes = painter.sampler("network"), []
    handle = network.register_forward_pre_hook(lambda m, inputs: sizes.append(len(inputs[0])))
    parts = painter.sample(10, 3, generator=generator())
    handle.remove()
    assert set(sizes) == {3, 1}
    assert torch.allclose(parts, whole, atol=1e-5)


def test_pictures_can_be_changed_a_little_and_inverted(painter, stripes):
    x, labels = stripes
    painter.n_sample_steps = 50
    changed = painter.denoise_from(x[:8], 0.2, labels[:8])
    assert changed.shape == (8, 1, 5, 4)
    assert 0 < (changed - x[:8]).abs().mean() < 0.1
    noise = painter.invert(x[:8], labels[:8])
    again = painter.sample_from(noise, labels[:8])
    painter.n_sample_steps = 20
    assert noise.shape == again.shape == (8, 1, 5, 4)
    assert (again - x[:8]).abs().mean() < 1e-2


def test_a_model_of_images_is_saved_whole_and_learns_on(stripes, tmp_path):
    model = DDPM(channels=(4, 4), n_steps=3, ema_decay=0.9, learned_variance=True, eta=1.0)
    model.n_octaves = 1
    model.fit(*stripes)
    model.save(tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    for _ in range(2):
        assert torch.equal(model.sample(3, 7), loaded.sample(3, 7))
        model.fit(*stripes)
        loaded.fit(*stripes)


def test_the_architecture_follows_the_items_or_is_chosen(stripes):
    flat = DDPM(architecture="mlp", n_steps=2, hidden=(8,)).fit(*stripes)
    assert not flat.is_convolutional
    assert flat.sample(2, 3).shape == (2, 1, 5, 4)
    model = DDPM(architecture="unet", n_steps=2, channels=(4,))
    with pytest.raises(ValueError, match=r'x must be images .* for architecture="unet"'):
        model.fit(np.eye(4))
    assert model.n_features_ is None
    assert model.fit(stripes[0][:1]).sample(2).shape == (2, 1, 5, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prediction": "eps"}, "prediction must be one of"),
        ({"noise_schedule": "cosin"}, "did you mean 'cosine'"),
        ({"n_sample_steps": 1001}, "n_sample_steps must be at least 1 and at most 1000"),
        ({"n_timesteps": 20_000}, "n_timesteps must be at least 1 and at most 10000"),
        ({"eta": 2}, "eta must be at least 0 and at most 1"),
        ({"time_dim": 5}, "time_dim must be even"),
        ({"residual": True, "hidden": (8, 9)}, "needs equal widths"),
        ({"architecture": "cnn"}, "architecture must be one of"),
        ({"channels": ()}, "channels must have at least one number"),
        ({"n_blocks": 0}, "n_blocks must be at least 1"),
        ({"variance_weight": -1}, "variance_weight must be at least 0"),
    ],
)
def test_bad_parameters_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        DDPM(**arguments)
