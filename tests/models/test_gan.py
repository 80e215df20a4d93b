"""Adversarial models: priors, negatives, penalties, losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evogen.models import GAN, WGANGP
from evogen.models.adversarial_networks import gaussian_of


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blob(n: int, centre: float, seed: int = 0, d: int = 4) -> np.ndarray:
    return centre + 0.3 * np.random.default_rng(seed).normal(size=(n, d))


@pytest.mark.parametrize("shape", [(5, 12), (50, 4), (1, 3), (4, 4)])
def test_the_data_prior_has_the_mean_and_covariance_of_the_rows(shape):
    x = torch.randn(shape, generator=generator(), dtype=torch.float64)
    parts = gaussian_of(x)
    root = parts["prior_root"]
    assert root.shape == (min(shape), shape[1])
    expected = torch.cov(x.T).reshape(shape[1], shape[1]) if shape[0] > 1 else 0 * root.T @ root
    assert torch.allclose(parts["prior_mean"], x.mean(0))
    assert torch.allclose(root.T @ root, expected, atol=1e-12)


def test_the_data_prior_is_drawn_with_these_moments():
    x = blob(200, 0.0) @ np.random.default_rng(1).normal(size=(4, 4))
    model = GAN(prior="data", normalize=False, n_steps=1).fit(x)
    z = model.draw_latent(50_000, generator()).double()
    np.testing.assert_allclose(torch.cov(z.T), np.cov(x.T), atol=0.02 * np.cov(x.T).max())


def test_a_residual_generator_adds_to_its_input():
    model = GAN(prior="data", residual=True, n_steps=2).fit(blob(30, 0.0))
    z = model.draw_latent(5, generator())
    plain = model.weights_["generator"].module(z)
    assert torch.equal(model.forward_generator(z, None), z + plain)


@pytest.mark.parametrize("cls", [GAN, WGANGP])
def test_negatives_score_below_positives(cls):
    good, bad = blob(20, 1.0), blob(60, -1.0, seed=1)
    model = cls(n_steps=150 if cls is GAN else 40).fit(good, negative=bad)
    fresh, worse = model.score(blob(100, 1.0, seed=2)), model.score(blob(100, -1.0, seed=3))
    assert fresh.shape == (100,)
    assert fresh.min() > worse.max()
    rows = model.sample(200).double().numpy()
    to_good = np.abs(rows.mean(0) - 1.0).mean()
    assert to_good < np.abs(rows.mean(0) + 1.0).mean()


def test_without_negatives_the_discriminator_does_not_know_them():
    good, bad = blob(20, 1.0), blob(60, -1.0, seed=1)
    taught = GAN(n_steps=100, random_state=0).fit(good, negative=bad)
    ignored = GAN(n_steps=100, negative_weight=0.0, random_state=0).fit(good, negative=bad)
    gap = taught.score(good).mean() - taught.score(bad).mean()
    assert gap > ignored.score(good).mean() - ignored.score(bad).mean()


def test_bad_negatives_are_refused():
    model = GAN()
    with pytest.raises(ValueError, match="negative must have 4 columns"):
        model.fit(blob(9, 0), negative=blob(9, 0, d=3))
    with pytest.raises(ValueError, match="negative must be finite"):
        model.fit(blob(9, 0), negative=np.full((2, 4), np.nan))
    with pytest.raises(ValueError, match="negative cannot be combined with a condition"):
        model.fit(blob(9, 0), blob(9, 0), negative=blob(9, 0))
    assert model.n_features_ is None


def test_no_negative_rows_are_no_negatives():
    x = blob(10, 0.0)
    a, b = GAN(n_steps=3).fit(x, negative=x[:0]), GAN(n_steps=3).fit(x)
    assert torch.equal(a.sample(3), b.sample(3))


@torch.no_grad()
def test_losses_have_the_values_of_the_paper():
    x = blob(30, 0.0)
    model = GAN(n_steps=5).fit(x)
    real = model.prepare_x(x)
    z = model.draw_latent(30, generator())
    fake = model.forward_generator(z, None).detach()
    on_real = torch.sigmoid(model.weights_["discriminator"].module(real))
    on_fake = torch.sigmoid(model.weights_["discriminator"].module(fake))
    expected = -(on_real.log().mean() + (1 - on_fake).log().mean())
    loss = model.discriminator_loss(real, z, None, None, None)
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    assert float(model.generator_loss(z, None, None)) == pytest.approx(
        float(-on_fake.log().mean()), rel=1e-5
    )
    model.loss = "minimax"
    assert float(model.generator_loss(z, None, None)) == pytest.approx(
        float((1 - on_fake).log().mean()), rel=1e-5
    )


def test_the_discriminators_step_leaves_the_generator_alone_and_the_other_way_round():
    x = blob(30, 0.0)
    model = GAN(n_steps=5).fit(x)
    rows = model.check_rows(x, None)
    rows.x = model.prepare_x(x)
    for objective in model.objectives(rows):
        before = {name: w.flat.clone() for name, w in model.weights_.items()}
        other = "generator" if objective.name == "discriminator" else "discriminator"
        model.weights_[other].grad.fill_(7.0)
        objective.step(next(objective.batches(1, generator())))
        assert not torch.equal(model.weights_[objective.name].flat, before[objective.name])
        assert torch.equal(model.weights_[other].flat, before[other])
        assert (model.weights_[other].grad == 7.0).all()


@pytest.mark.parametrize("gp_weight", [10.0, 100.0])
def test_the_gradient_penalty_holds_the_critics_slope_near_one(gp_weight):
    """For two clouds W apart, s W - w (s - 1)^2 is largest at the slope s = 1 + W / (2 w)."""
    x = blob(64, 2.0, d=2)
    model = WGANGP(
        n_steps=150,
        lr_generator=0.0,
        lr_discriminator=2e-3,
        schedule="linear",
        activation="tanh",
        normalize=False,
        gp_weight=gp_weight,
    ).fit(x)
    fake = model.sample(64, generator=generator())
    real = torch.tensor(x).float()
    between = torch.lerp(real, fake, torch.rand(64, 1, generator=generator()))
    slope = model.squared_slope(between, None).detach().sqrt()
    distance = float((real.mean(0) - fake.mean(0)).norm())
    assert distance > 2
    assert float(slope.mean()) == pytest.approx(1 + distance / (2 * gp_weight), rel=0.01)
    assert float(slope.std()) < 0.03


def test_without_the_penalty_the_slope_grows_beyond_one():
    x = blob(64, 2.0, d=2)
    model = WGANGP(
        n_steps=60, lr_generator=0.0, lr_discriminator=2e-3, normalize=False, gp_weight=0.0
    ).fit(x)
    assert float(model.squared_slope(torch.tensor(x).float(), None).detach().sqrt().mean()) > 1.5


def test_the_penalty_is_taken_at_one_random_place_per_row():
    model = WGANGP(n_steps=1, n_critic=3).fit(blob(16, 0.0))
    rows = model.check_rows(blob(16, 0.0), None)
    rows.x = rows.x.float()
    place = model.draw_discriminator_batches(rows, 3, generator())[-1]
    assert place.shape == (3, 16, 1)
    assert place.unique().numel() == 48


def test_r1_penalizes_the_slope_at_data():
    x = blob(64, 0.0)
    slopes = []
    for r1 in (0.0, 10.0):
        model = GAN(n_steps=100, r1=r1, random_state=2).fit(x)
        slopes.append(float(model.squared_slope(model.prepare_x(x), None).detach().mean()))
    assert slopes[1] < 0.5 * slopes[0]


def test_a_gan_moves_from_its_start_to_the_data():
    x = blob(200, 0.0, d=2) @ np.array([[1.0, 0.9], [0.0, 0.3]])
    settings = {"ema_decay": 0.98, "betas": (0.0, 0.99), "r1": 0.1, "random_state": 1}
    start = GAN(**settings).fit(x, n_steps=0).sample(1000).double().numpy()
    rows = GAN(**settings).fit(x, n_steps=600).sample(1000).double().numpy()
    wanted = np.cov(x.T)

    def error(sample):
        return np.abs(np.cov(sample.T) - wanted).max() / wanted.max()

    assert error(rows) < 0.35 < error(start)
    assert np.corrcoef(rows.T)[0, 1] > 0.7


@pytest.mark.parametrize(("output", "low", "high"), [("sigmoid", 0, 1), ("tanh", -1, 1)])
def test_a_bounded_output_keeps_samples_in_the_range_of_the_data(output, low, high):
    x = np.random.default_rng(0).uniform([2, -1], [5, 9], size=(50, 2))
    model = GAN(output=output, n_steps=10).fit(x)
    scaled = model.prepare_x(x)
    assert float(scaled.min()) == pytest.approx(low)
    assert float(scaled.max()) == pytest.approx(high)
    rows = model.sample(500).double().numpy()
    assert (rows >= x.min(0) - 1e-5).all()
    assert (rows <= x.max(0) + 1e-5).all()


def test_a_subclass_can_change_how_batches_and_latent_vectors_are_drawn():
    seen = []

    class Mine(GAN):
        def draw_latent(self, n, generator):
            z = super().draw_latent(n, generator)
            seen.append(z.shape)
            return z.clamp(-1, 1)

        def draw_rows(self, n_rows, n_batches, generator):
            return torch.zeros(n_batches, 3, dtype=torch.long)

        def rows_per_batch(self, n_rows):
            return 3

    model = Mine(n_steps=4, latent_dim=2).fit(blob(10, 0.0))
    assert seen == [(12, 2), (12, 2)]
    assert torch.isfinite(model.sample(5)).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prior": "dada"}, "did you mean 'data'"),
        ({"loss": "wasserstein"}, "loss must be one of"),
        ({"residual": True}, "residual=True needs prior='data'"),
        ({"prior": "data", "latent_dim": 3}, "latent_dim must be None"),
        ({"output_norm": True}, "output_norm=True needs norm"),
        ({"hidden_generator": (0,)}, "every width in hidden_generator must be at least 1"),
        ({"n_critic": 0}, "n_critic must be at least 1"),
        ({"betas": (0.5, 1.0)}, "every number in betas"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"ema_decay": 2}, "ema_decay must be at least 0 and at most 1"),
        ({"schedule": "cos"}, "did you mean 'cosine'"),
    ],
)
def test_bad_parameters_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        GAN(**arguments)
