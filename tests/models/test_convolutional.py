"""Convolutional encoders and decoders, and when models use them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evogen.models import AE, BNVAE, VAE, VIB, VMFVAE, load_model
from evogen.models.convolutional import (
    ConvDecoder,
    ConvEncoder,
    DownStages,
    UpStages,
    group_norm,
    stage_sizes,
    use_convolutions,
)
from evogen.models.layers import initialize


def filled(module):
    initialize(module, torch.Generator().manual_seed(0))
    return module


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).random((12, 1, 8, 8))


@pytest.mark.parametrize(
    ("shape", "channels"),
    [((1, 8, 8), (8, 16)), ((3, 5, 7), (8,)), ((2, 4, 4), (4, 4)), ((1, 11, 9), (4, 4, 8))],
)
def test_pictures_of_any_size_come_back_in_their_size(shape, channels):
    encoder = filled(ConvEncoder(shape, 6, channels=channels, n_blocks=1))
    decoder = filled(ConvDecoder(6, shape, channels=channels, n_blocks=1))
    x = torch.rand(5, int(np.prod(shape)))
    code = encoder(x)
    assert code.shape == (5, 6)
    assert decoder(code).shape == x.shape
    down = filled(DownStages(shape[0], channels))
    features = down(x.view(-1, *shape))
    assert tuple(features.shape[2:]) == stage_sizes(shape, len(channels))[-1]
    assert filled(UpStages(shape, channels))(features).shape == (5, *shape)


def test_every_pixel_is_seen_and_every_pixel_can_be_changed():
    shape = (2, 7, 6)
    encoder, decoder = filled(ConvEncoder(shape, 3)), filled(ConvDecoder(3, shape))
    x = torch.rand(1, 84, requires_grad=True)
    encoder(x).square().sum().backward()
    assert (x.grad != 0).all()
    a, b = decoder(torch.randn(2, 3, generator=torch.Generator().manual_seed(1)))
    assert (a != b).all()


def test_the_condition_reaches_both_halves():
    shape = (1, 8, 8)
    encoder = filled(ConvEncoder(shape, 3, n_condition=2))
    decoder = filled(ConvDecoder(3, shape, n_condition=2))
    x, c = torch.rand(1, 64), torch.tensor([[1.0, 0.0]])
    assert not torch.allclose(encoder(x, c), encoder(x, c.flip(1)))
    z = encoder(x, c)
    assert not torch.allclose(decoder(z, c), decoder(z, c.flip(1)))


def test_group_normalization_leaves_something_of_a_single_pixel():
    for width in (4, 6, 8, 32, 64):
        x = torch.randn(3, width, 1, 1, generator=torch.Generator().manual_seed(0))
        assert group_norm(width)(x).std() > 0.5
    broken = torch.nn.GroupNorm(4, 4)(torch.randn(3, 4, 1, 1, generator=torch.Generator()))
    assert broken.abs().max() < 1e-3, "one number per group is always its own mean"


@pytest.mark.parametrize(
    ("architecture", "shape", "expected"),
    [
        ("auto", (1, 8, 8), True),
        ("auto", (3, 4, 5), True),
        ("auto", (1, 3, 8), False),
        ("auto", (64,), False),
        ("mlp", (1, 8, 8), False),
        ("conv", (1, 4, 4), True),
    ],
)
def test_convolutions_are_for_images_that_are_large_enough(architecture, shape, expected):
    assert use_convolutions(architecture, shape, (32, 64)) is expected


@pytest.mark.parametrize("cls", [AE, VAE, BNVAE, VMFVAE])
def test_convolutions_on_vectors_are_refused_before_work(cls, images):
    model = cls(architecture="conv", n_steps=1)
    with pytest.raises(ValueError, match=r"architecture='conv' with 2 stages needs images"):
        model.fit(images.reshape(12, -1))
    with pytest.raises(ValueError, match="at least 16 x 16 pixels; got items of shape"):
        cls(architecture="conv", channels=(4, 4, 4, 4)).fit(images)
    assert model.n_features_ is None
    model.fit(images)
    assert model.sample(2).shape == (2, 1, 8, 8)


@pytest.mark.parametrize("cls", [AE, VAE, BNVAE, VMFVAE])
@pytest.mark.parametrize("architecture", ["conv", "mlp"])
def test_images_and_labels_are_learned_saved_and_learned_on(cls, architecture, images, tmp_path):
    labels = np.arange(12) % 3
    model = cls(architecture=architecture, channels=(8, 8), n_steps=3, ema_decay=0.9)
    model.fit(images, labels)
    model.save(tmp_path / "m")
    twin = load_model(tmp_path / "m")
    for m in (model, twin):
        m.fit(images, labels)
    assert torch.equal(model.sample(4, [0, 1, 2, 0]), twin.sample(4, [0, 1, 2, 0]))
    decoded = model.decode(model.encode(images, labels), labels)
    assert decoded.shape == (12, 1, 8, 8)
    assert float(decoded.min()) >= 0
    assert model.known_gradient() is None or architecture == "mlp"


def test_a_classifier_of_images_reads_them_by_convolutions(images, tmp_path):
    """Bright above or bright below: the labels of noisy images."""
    labels = np.arange(12) % 2 + 4
    images = images * 0.3
    images[labels == 4, :, :4] += 0.5
    images[labels == 5, :, 4:] += 0.5
    model = VIB(channels=(8, 8), n_steps=60, lr=1e-2).fit(images, labels)
    assert model.predict(images).tolist() == labels.tolist()
    model.save(tmp_path / "m")
    assert torch.equal(load_model(tmp_path / "m").encode(images), model.encode(images))
    with pytest.raises(ValueError, match="needs images"):
        VIB(architecture="conv").fit(images.reshape(12, -1), labels)


def test_convolutions_find_a_shape_wherever_it_is_better_than_its_mean_does():
    """A bright square of 2 x 2 pixels at one of 9 places, learned and rebuilt."""
    places = [(i, j) for i in (0, 3, 6) for j in (0, 3, 6)]
    images = np.zeros((9, 1, 8, 8))
    for k, (i, j) in enumerate(places):
        images[k, 0, i : i + 2, j : j + 2] = 1
    model = AE(latent_dim=4, channels=(16, 16), n_steps=100, lr=1e-2).fit(images)
    rebuilt = model.decode(model.encode(images)).double().numpy()
    error = ((rebuilt - images) ** 2).sum() / 9
    assert error < 0.1 * ((images - images.mean(0)) ** 2).sum() / 9


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"architecture": "cnn"}, ValueError, "architecture must be one of"),
        ({"channels": ()}, ValueError, "number of stages in channels must be at least 1"),
        ({"channels": 32}, TypeError, "channels must be a tuple"),
    ],
)
def test_bad_parameters_are_refused(arguments, kind, message):
    with pytest.raises(kind, match=message):
        AE(**arguments)
