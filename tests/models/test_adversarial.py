"""What goes with every adversarial model: networks, spectral norm, packing, penalties."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from evogen.models import GAN, LSGAN, WGAN, WGANGP, load_model
from evogen.models.adversarial_networks import (
    ConvDiscriminator,
    ConvGenerator,
    SpectralNorm,
    halvings,
    packs_of,
    spectrally_normalized,
)
from evogen.models.base import Rows
from evogen.models.began import BEGAN
from evogen.models.dcgan import DCGAN
from evogen.models.layers import Linear, initialize
from evogen.models.networks import MLP

CLASSES = [GAN, LSGAN, WGAN, WGANGP, DCGAN, BEGAN]
COMBINED = {
    "gp_weight": 1.0,
    "r1": 0.1,
    "spectral_norm": True,
    "n_octaves": 2,
    "packing": 2,
    "instance_noise": 0.1,
    "n_steps": 2,
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).random((12, 2, 5, 7))


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(12, 3))


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("kind", ["vectors", "images"])
@pytest.mark.parametrize("condition", ["none", "labels", "numbers", "negative"])
def test_everything_goes_with_everything(cls, kind, condition, request, tmp_path):
    x = request.getfixturevalue(kind)
    given = {
        "none": None,
        "labels": np.arange(12) % 3,
        "numbers": np.random.default_rng(1).normal(size=(12, 2)),
        "negative": None,
    }[condition]
    more = {"negative": x[:5]} if condition == "negative" else {}
    model = cls(**COMBINED).fit(x, given, **more)
    asked = None if given is None else given[:4]
    model.save(tmp_path / "m")
    twin = load_model(tmp_path / "m")
    for one in (model, twin):
        one.fit(x, given, **more)
    rows = model.sample(4, asked)
    assert rows.shape == (4, *x.shape[1:])
    assert torch.isfinite(rows).all()
    assert torch.equal(rows, twin.sample(4, asked))
    scores = model.score(x[:4], asked)
    assert scores.shape == (2,)
    assert torch.equal(scores, twin.score(x[:4], asked))


@pytest.mark.parametrize("cls", CLASSES)
def test_one_row_and_one_image_are_enough(cls, images, vectors):
    for x in (images[:1], vectors[:1]):
        for settings in (COMBINED, {"n_steps": 2, "norm": "batch", "norm_discriminator": "batch"}):
            assert torch.isfinite(cls(**settings).fit(x).sample(2)).all()


def test_global_random_numbers_are_neither_used_nor_changed(images):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = GAN(**COMBINED).fit(images).sample(3)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(9)
    assert torch.equal(first, GAN(**COMBINED).fit(images).sample(3))


# Networks.


@pytest.mark.parametrize("size", [(4, 4), (5, 9), (8, 8), (28, 28), (7, 64), (32, 32)])
def test_convolutions_fit_every_size(size):
    shape = (3, *size)
    g, d = ConvGenerator(6, shape, channels=2), ConvDiscriminator(shape, 2, channels=2)
    for net in (g, d):
        initialize(net, generator())
    rows = g(torch.randn(3, 6, generator=generator()))
    assert rows.shape == (3, 3 * size[0] * size[1])
    assert d(rows).shape == (3, 2)
    assert min(halvings(*size)[-1]) in (2, 3)


def test_every_pixel_of_a_generated_picture_varies_and_every_pixel_is_judged():
    shape = (1, 9, 6)
    g, d = ConvGenerator(6, shape, channels=4), ConvDiscriminator(shape, channels=4)
    for net in (g, d):
        initialize(net, generator())
    rows = g(torch.randn(50, 6, generator=generator()))
    assert (rows.std(0) > 1e-3).all()
    x = rows.detach().requires_grad_()
    d(x).sum().backward()
    assert (x.grad.abs().sum(0) > 0).all()


def test_the_architecture_follows_the_items(images, vectors):
    assert isinstance(networks_of(GAN(), images)[0], ConvGenerator)
    assert isinstance(networks_of(GAN(), images)[1], ConvDiscriminator)
    assert isinstance(networks_of(GAN(), images[:, :, :3])[0], MLP)
    assert isinstance(networks_of(GAN(), vectors)[0], MLP)
    assert isinstance(networks_of(GAN(architecture="mlp"), images)[1], MLP)
    for x in (vectors, images[:, :, :3]):
        with pytest.raises(ValueError, match="architecture='conv' needs images of at least 4 x 4"):
            GAN(architecture="conv").fit(x)


def networks_of(model: GAN, x: np.ndarray) -> list[nn.Module]:
    return [w.module for w in model.fit(x, n_steps=0).weights_.values()]


@pytest.mark.parametrize("kind", ["vectors", "images"])
def test_the_discriminator_looks_at_the_condition(kind, request):
    """All it can tell real pairs from generated ones by is whether the label fits."""
    x = np.zeros_like(request.getfixturevalue(kind))
    x[::2] += 1.0
    labels = np.arange(12) % 2
    model = GAN(n_steps=60, lr_generator=0.0, lr_discriminator=3e-3, latent_dim=2).fit(x, labels)
    right, wrong = model.score(x, labels).mean(), model.score(x, 1 - labels).mean()
    assert right > wrong + 0.5


def test_with_batch_normalization_data_and_generated_rows_are_batches_of_their_own(vectors):
    model = GAN(n_steps=1, norm_discriminator="batch").fit(vectors)
    judge = model.weights_["discriminator"].module.train()
    real, z = model.prepare_x(vectors), model.draw_latent(12, generator())
    alone = judge(real)
    _, on_real, on_fake, _ = model.discriminate(real, z, None, None, None)
    assert torch.allclose(on_real, alone, atol=1e-6)
    assert torch.allclose(on_fake, judge(model.forward_generator(z, None)), atol=1e-6)


# Spectral normalization.


@pytest.mark.parametrize("kind", ["linear", "convolution"])
def test_the_largest_singular_value_becomes_one(kind):
    inner = Linear(7, 5) if kind == "linear" else ConvDiscriminator((2, 8, 8)).layers[0]
    layer = SpectralNorm(inner)
    initialize(layer, generator())
    assert abs(float(torch.linalg.matrix_norm(inner.weight.detach().flatten(1), 2)) - 1) > 0.05
    for _ in range(200):
        weight = layer.train().weight()
    assert float(torch.linalg.matrix_norm(weight.detach().flatten(1), 2)) == pytest.approx(1, 1e-4)
    u = layer.u.clone()
    layer.eval().weight()
    assert torch.equal(u, layer.u), "evaluation changes nothing"


def test_a_spectrally_normalized_perceptron_is_never_steep():
    """With leaky ReLU its slope is at most 1; without the normalization it learns to be steeper."""
    x = np.random.default_rng(0).normal(size=(60, 2)) + 3
    settings = {"n_steps": 150, "lr_generator": 0.0, "lr_discriminator": 1e-2, "normalize": False}
    slopes = []
    for spectral_norm in (True, False):
        model = GAN(spectral_norm=spectral_norm, **settings).fit(x)
        places = torch.randn(500, 2, generator=generator()) * 3
        slopes.append(float(model.squared_slope(places, None).detach().sqrt().max()))
    assert slopes[0] < 1.02
    assert slopes[1] > 1.5


def test_every_layer_of_the_discriminator_is_normalized_and_none_of_the_generator(images):
    model = GAN(n_steps=0, spectral_norm=True).fit(images)
    judge = model.weights_["discriminator"].module
    made = model.weights_["generator"].module
    inside = [m for m in judge.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    assert len(inside) == sum(isinstance(m, SpectralNorm) for m in judge.modules()) > 1
    assert not any(isinstance(m, SpectralNorm) for m in made.modules())
    assert spectrally_normalized(nn.Sequential(nn.ReLU())) is not None


# Packing.


def test_a_pack_is_rows_that_follow_one_another():
    x = torch.arange(14.0).view(7, 2)
    assert packs_of(x, 3).tolist() == [list(range(6)), list(range(6, 12))]
    assert packs_of(x[:2], 3).tolist() == [[0, 1, 2, 3, 0, 1]]


def test_a_packed_discriminator_sees_how_alike_rows_are():
    """Single rows of both classes are alike; only pairs tell that the generated ones collapsed."""
    rng = np.random.default_rng(0)
    x = rng.choice([-1.0, 1.0], size=(400, 1))
    alike = np.repeat(rng.choice([-1.0, 1.0], size=(200, 1)), 2, axis=0)
    gaps = []
    for packing in (1, 2):
        model = GAN(
            packing=packing,
            n_steps=150,
            batch_size=100,
            lr_generator=0.0,
            lr_discriminator=3e-3,
            normalize=False,
            prior="data",
        )
        # The generator's rows come in pairs.
        model.draw_latent = lambda n, generator, rng=rng: torch.tensor(  # type: ignore[method-assign]
            np.repeat(rng.choice([-1.0, 1.0], size=(n // 2, 1)), 2, axis=0)
        ).float()
        model.forward_generator = lambda z, condition, network=None: z  # type: ignore[method-assign]
        model.fit(x)
        gaps.append(float(model.score(x).mean() - model.score(alike).mean()))
    assert gaps[1] > 0.5
    assert abs(gaps[0]) < 0.2


def test_packs_differ_from_step_to_step_even_when_every_batch_is_all_rows():
    x = np.arange(12.0)[:, None]
    model = GAN(packing=2, n_steps=0).fit(x)
    rows = Rows(torch.tensor(x).float())
    real = model.draw_discriminator_batches(rows, 3, generator())[0]
    assert real.shape == (3, 12, 1)
    assert not torch.equal(real[0], real[1])
    assert torch.equal(real[0].sort(0).values, real[1].sort(0).values)


def test_scores_come_one_per_pack(vectors):
    model = GAN(packing=3, n_steps=1).fit(vectors)
    assert model.score(vectors).shape == (4,)
    assert model.score(vectors[:0]).shape == (0,)
    with pytest.raises(ValueError, match="multiple of 3 rows; got 4"):
        model.score(vectors[:4])


# Penalties.


@pytest.mark.parametrize("cls", [GAN, LSGAN])
def test_the_gradient_penalty_goes_with_any_loss(cls):
    x = np.random.default_rng(0).normal(size=(64, 2)) + 2
    settings = {"n_steps": 100, "lr_generator": 0.0, "lr_discriminator": 5e-3, "normalize": False}
    far = []
    for gp_weight in (0.0, 10.0):
        model = cls(gp_weight=gp_weight, **settings).fit(x)
        fake = model.sample(64, generator=generator())
        between = torch.lerp(
            torch.tensor(x).float(), fake, torch.rand(64, 1, generator=generator())
        )
        slope = model.squared_slope(between, None).detach().sqrt()
        far.append(float((slope - 1).abs().mean()))
    assert far[1] < 0.3
    assert far[1] < 0.5 * far[0]


def test_the_penalty_of_one_place_per_batch_would_differ(vectors):
    """Each pair has a place of its own: what is drawn, and what the loss makes of it."""
    model = WGANGP(n_steps=1, gp_weight=10.0).fit(vectors)
    real, z = model.prepare_x(vectors), model.draw_latent(12, generator())
    places = torch.rand(12, 1, generator=generator())
    single = places[:1].expand(12, 1)
    with torch.no_grad():
        fake = model.forward_generator(z, None)
        plain = model.discriminator_loss(real, z, None, None, None)
    for place in (places, single):
        between = real + place * (fake - real)
        slope = model.squared_slope(between, None).detach().sqrt()
        expected = plain + 10.0 * (slope - 1).square().mean()
        found = model.discriminator_loss(real, z, None, None, None, place).detach()
        assert torch.allclose(found, expected, atol=1e-5)
    ones, many = (
        model.discriminator_loss(real, z, None, None, None, p).detach() for p in (single, places)
    )
    assert not torch.allclose(ones, many, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"packing": 0}, ValueError, "packing must be at least 1"),
        ({"gp_weight": -1}, ValueError, "gp_weight must be at least 0"),
        ({"spectral_norm": 1}, TypeError, "spectral_norm must be True or False"),
        ({"architecture": "con"}, ValueError, "did you mean 'conv'"),
        ({"n_octaves": 2.5}, TypeError, "n_octaves must be"),
        ({"channels": 0}, ValueError, "channels must be at least 1"),
        ({"norm_discriminator": "bach"}, ValueError, "did you mean 'batch'"),
        ({"activation_generator": "rely"}, ValueError, "did you mean 'relu'"),
    ],
)
def test_bad_parameters_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        GAN(**arguments)
