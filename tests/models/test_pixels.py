"""Promises of every model that writes images pixel by pixel."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest
import torch

from evogen.models import load_model
from evogen.models.pixelcnn import PixelCNN
from evogen.models.pixelrnn import PixelRNN
from evogen.models.pixels import channel_mask, find_levels

SMALL = {
    "width": 8,
    "n_layers": 2,
    "kernel": 3,
    "first_kernel": 3,
    "lr": 0.03,
    "dropout": 0.0,
    "schedule": "constant",
    "ema_decay": 0.0,
    "max_grad_norm": None,
}
MODELS = {
    "cnn": lambda **k: PixelCNN(**{**SMALL, **k}),
    "row": lambda **k: PixelRNN(**{**SMALL, "kind": "row", **k}),
    "diagonal": lambda **k: PixelRNN(**{**SMALL, "kind": "diagonal", **k}),
}


@pytest.fixture(params=MODELS)
def make(request):
    return MODELS[request.param]


def random_images(n, shape, n_levels=2, seed=0):
    rng = np.random.default_rng(seed)
    return torch.as_tensor(rng.integers(n_levels, size=(n, *shape)) / (n_levels - 1)).float()


def all_images(shape, n_levels):
    rows = itertools.product(range(n_levels), repeat=math.prod(shape))
    return torch.tensor(list(rows)).view(-1, *shape) / (n_levels - 1)


def gradients(network, shape, *, train, kept=None):
    """|d pixel / d feature|, `(places, places)`, places in the order they are written.

    A pixel here is the sum of its logits with random weights: 0 only if all gradients are.
    """
    c, h, w = shape
    network = copy.deepcopy(network).train(train)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, network.input.n_out, h, w, generator=generator, requires_grad=True)
    logits = network.logits(features, None, kept)[0]
    mixed = (logits * torch.randn(logits.shape[-1], generator=generator)).sum(dim=-1)
    pixels = mixed.permute(1, 2, 0).flatten()
    found = torch.autograd.grad(pixels, features, torch.eye(len(pixels)), is_grads_batched=True)[0]
    most = found.abs().view(len(pixels), c, -1, h, w).amax(dim=2)
    return most.permute(0, 2, 3, 1).flatten(1)


# What a pixel sees.


@pytest.mark.parametrize("shape", [(1, 4, 3), (3, 3, 2)])
@pytest.mark.parametrize("embedding_dim", [0, 2])
def test_no_logit_depends_on_its_own_or_a_later_pixel(make, shape, embedding_dim):
    x = random_images(10, shape, 3)
    model = make(n_steps=3, embedding_dim=embedding_dim, dropout=0.3).fit(x)
    network = model.weights_["network"].module
    kept = (torch.rand(1, *network.dropout_shape) > 0.3).float()
    for train, mask in ((False, None), (True, kept)):
        seen = gradients(network, shape, train=train, kept=mask)
        assert float(seen.triu().max()) == 0.0
        assert float(seen.max()) > 0.0


@pytest.mark.parametrize("name", ["cnn", "diagonal"])
def test_a_pixel_sees_all_rows_above_and_all_to_its_left(name):
    """There is no blind spot, as the rows above to the right are of a plain masked convolution."""
    settings = {"n_steps": 2, "n_layers": 5, "width": 16, "first_kernel": 7}
    model = MODELS[name](**settings).fit(random_images(10, (1, 8, 8)))
    seen = gradients(model.weights_["network"].module, (1, 8, 8), train=False)[7 * 8 + 4]
    assert bool((seen[: 7 * 8 + 4] > 0).all())
    assert float(seen[7 * 8 + 4 :].max()) == 0.0


def test_pixels_in_turn_have_the_logits_of_all_at_once(make):
    for shape in ((1, 4, 3), (2, 3, 4), (1, 1, 5), (1, 5, 1)):
        x = random_images(6, shape, 3)
        labels = np.arange(6) % 2
        model = make(n_steps=3).fit(x, labels)
        network, condition = model.sampler("network"), model.prepare_condition(labels, 6)
        levels = model.to_levels(model.prepare_x(x))
        with torch.no_grad():
            together = network.logits(network.input(levels), condition)
            written = torch.zeros_like(levels)
            places = []
            for (c, i, j), logits in network.scan(written, condition):
                assert torch.allclose(logits, together[:, c, i, j], atol=1e-5)
                written[:, c, i, j] = levels[:, c, i, j]
                places.append((i, j, c))
        assert places == sorted(places)
        assert len(places) == math.prod(shape)


def test_channels_see_earlier_channels_only():
    before = channel_mask(3, 6, 3, "A")
    assert before.tolist() == [[0, 0, 0]] * 2 + [[1, 0, 0]] * 2 + [[1, 1, 0]] * 2
    until = channel_mask(3, 3, 3, "B")
    assert until.tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]


# Probabilities.


@pytest.mark.parametrize(("shape", "k"), [((1, 3, 3), 2), ((1, 2, 2), 3), ((3, 1, 2), 2)])
def test_probabilities_of_all_images_sum_to_1(make, shape, k):
    x, labels = random_images(30, shape, k), np.arange(30) % 3
    everything = all_images(shape, k)
    total = make(n_steps=5).fit(x).log_prob(everything).double().exp().sum()
    assert abs(float(total) - 1) < 1e-5
    conditional = make(n_steps=5).fit(x, labels)
    for label in range(3):
        p = conditional.log_prob(everything, [label]).double().exp()
        assert abs(float(p.sum()) - 1) < 1e-5
    assert float((conditional.log_prob(everything, [1]).exp() - p).abs().max()) > 1e-5


PATTERNS = torch.tensor([[0, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 0], [0, 1, 1, 0]]).float()
SHARES = torch.tensor([0.5, 0.25, 0.15, 0.1])


def test_samples_have_the_frequencies_of_the_data(make):
    images = PATTERNS.view(4, 1, 2, 2).repeat_interleave((SHARES * 100).long(), dim=0)
    model = make(n_steps=60, n_layers=1).fit(images)
    learned = model.log_prob(PATTERNS.view(4, 1, 2, 2)).exp()
    assert float((learned - SHARES).abs().max()) < 0.05
    drawn = model.sample(4000).flatten(1)
    shares = (drawn[:, None] == PATTERNS).all(dim=2).float().mean(dim=0)
    assert float((shares - learned).abs().max()) < 0.035, "four standard errors"


def test_a_class_has_its_own_images(make):
    images = PATTERNS.view(4, 1, 2, 2).repeat(20, 1, 1, 1)
    labels = np.tile([3, 5, 8, 9], 20)
    model = make(n_steps=60, n_layers=1).fit(images, labels)
    assert float(model.log_prob(images[:4], labels[:4]).exp().min()) > 0.9
    assert float(model.log_prob(images[:4], labels[1:5]).exp().max()) < 0.05
    for label, pattern in zip(labels[:4], PATTERNS, strict=True):
        drawn = model.sample(50, int(label)).flatten(1)
        assert float((drawn == pattern).all(dim=1).float().mean()) > 0.85


def test_a_mask_that_shows_the_pixel_itself_is_caught(make):
    """With B in place of A the loss falls to 0, and the gradient test sees why."""

    def leak(model):
        network = model.weights_["network"].module
        average = model.weights_["network"].average
        for net in (network, average) if average is not None else (network,):
            first = net.layers[0].horizontal if isinstance(model, PixelCNN) else net.beside
            first.mask.fill_(1.0)
        return network

    x, fresh = random_images(200, (1, 3, 3)), random_images(200, (1, 3, 3), seed=1)
    honest = make(n_steps=60, n_layers=1).fit(x)
    assert float(-honest.log_prob(fresh).mean()) > 9 * math.log(2) - 0.2
    broken = make(n_steps=60, n_layers=1).fit(x, n_steps=0)
    network = leak(broken)
    broken.fit(x)
    assert float(-broken.log_prob(fresh).mean()) < 0.2
    assert float(gradients(network, (1, 3, 3), train=False).diagonal().max()) > 0


# Levels.


def test_the_fewest_levels_that_hold_the_data_are_found():
    assert find_levels(torch.tensor([0.0, 1.0])) == 2
    assert find_levels(torch.zeros(3)) == 2
    assert find_levels(torch.tensor([0.0, 0.5])) == 3
    assert find_levels(torch.arange(17) / 16) == 17
    assert find_levels((torch.tensor([0, 3, 7, 250]) / 255).float()) == 256
    assert find_levels(torch.rand(100, generator=torch.Generator().manual_seed(0))) == 256


def test_samples_lie_on_the_levels_of_the_data_bit_for_bit(make):
    x = random_images(20, (1, 2, 3), 17)
    model = make(n_steps=2).fit(x)
    assert model.n_levels_ == 17
    assert set(model.sample(50).unique().tolist()) <= set((torch.arange(17) / 16).tolist())
    assert make(n_steps=2, n_levels=5).fit(x).sample(50).unique().tolist() == [
        0,
        0.25,
        0.5,
        0.75,
        1,
    ]


def test_many_levels_survive_the_way_in(make):
    codes = torch.arange(4096).view(-1, 1, 8, 8)
    model = make(n_steps=0, n_levels=4096, embedding_dim=2).fit(codes[:2] / 4095)
    assert torch.equal(model.to_levels(model.prepare_x(codes / 4095)), codes)


def test_images_between_levels_count_as_the_nearest(make):
    x = random_images(10, (1, 2, 2))
    model = make(n_steps=2).fit(x)
    assert torch.equal(model.log_prob(x), model.log_prob(0.2 + 0.6 * x))


# Use.


def test_dropout_acts_in_training_alone_and_has_no_hidden_randomness(make):
    x = random_images(30, (1, 3, 3))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    model = make(n_steps=5, dropout=0.5).fit(x)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(model.log_prob(x), model.log_prob(x))
    torch.manual_seed(1)
    twin = make(n_steps=5, dropout=0.5).fit(x)
    assert torch.equal(model.log_prob(x), twin.log_prob(x))
    assert not torch.equal(model.log_prob(x), make(n_steps=5).fit(x).log_prob(x))
    rows = model.prepare_x(x)
    seeds = torch.tensor([1, 2])
    noisy = [float(model.loss(rows, None, seed).detach()) for seed in seeds]
    with torch.no_grad():
        checked = [float(model.loss(rows, None, seed)) for seed in seeds]
    assert noisy[0] != noisy[1]
    assert checked[0] == checked[1] == pytest.approx(float(-model.log_prob(x).mean()), abs=1e-4)


def test_patience_ends_a_fit_that_only_memorizes():
    make = MODELS["cnn"]
    x, fresh = random_images(40, (1, 3, 3)), random_images(300, (1, 3, 3), seed=1)
    settings = {"n_steps": 192, "width": 16, "n_layers": 1, "ema_decay": 0.0}
    endless = make(**settings).fit(x)
    patient = make(**settings, patience=1, validation_fraction=0.3).fit(x)
    assert len(patient.losses_["loss"]) < 192
    nats = [float(-m.log_prob(fresh).mean()) for m in (endless, patient)]
    assert nats[1] < nats[0] - 0.3


def test_a_loaded_model_samples_and_learns_on_bit_for_bit(make, tmp_path):
    x, labels = random_images(20, (2, 3, 2), 3), np.arange(20) % 2
    model = make(n_steps=4, dropout=0.2, ema_decay=0.9, batch_size=8).fit(x, labels)
    model.save(tmp_path / "m")
    for twin in (load_model(tmp_path / "m"), copy.deepcopy(model)):
        original = copy.deepcopy(model)
        assert twin.n_levels_ == 3
        assert torch.equal(twin.sample(5, [1]), original.sample(5, [1]))
        assert torch.equal(
            twin.fit(x, labels).log_prob(x, labels), original.fit(x, labels).log_prob(x, labels)
        )


def test_levels_stay_until_a_reset(make):
    model = make(n_steps=1).fit(random_images(5, (1, 2, 2)))
    assert model.fit(random_images(5, (1, 2, 2), 4)).n_levels_ == 2
    model.reset()
    assert model.fit(random_images(50, (1, 2, 2), 4)).n_levels_ == 4


def test_odd_data_work(make):
    x = random_images(7, (1, 3, 3))
    assert make(n_steps=2).fit(x[:1]).sample(2).shape == (2, 1, 3, 3)
    assert make(n_steps=2).fit(x).sample(0).shape == (0, 1, 3, 3)
    assert len(make(n_steps=2).fit(x).log_prob(x[:0])) == 0
    assert make(n_steps=2, batch_size=1000).fit(x).sample(1).shape == (1, 1, 3, 3)
    assert torch.isfinite(make(n_steps=5).fit(torch.ones(4, 1, 3, 3)).log_prob(x)).all()
    assert make(n_steps=20).fit(torch.ones(4, 1, 2, 2)).sample(20).mean() > 0.9
    assert torch.isfinite(make(n_steps=2).fit(x, np.ones((7, 2))).sample(2, [[1, 1]])).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"n_levels": 1}, ValueError, "n_levels must be at least 2"),
        ({"n_levels": 2.0}, TypeError, "n_levels must be an integer"),
        ({"dropout": 1.0}, ValueError, "dropout must be at least 0 and at most 0.99"),
        ({"embedding_dim": -1}, ValueError, "embedding_dim must be at least 0"),
        ({"kernel": 2}, ValueError, "kernel must be odd; got 2"),
        ({"first_kernel": 4}, ValueError, "first_kernel must be odd; got 4"),
        ({"n_layers": 0}, ValueError, "n_layers must be at least 1"),
        ({"width": 0}, ValueError, "width must be at least 1"),
    ],
)
def test_wrong_parameters_are_refused_in_one_sentence(make, change, error, message):
    with pytest.raises(error, match=message):
        make(**change)


def test_other_than_images_are_refused(make):
    with pytest.raises(ValueError, match=r"x must have shape \(n, c, h, w\) for images"):
        make().fit(np.zeros((5, 4)))
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\].*divide by 255"):
        make().fit(np.full((5, 1, 2, 2), 255))
    model = make(n_steps=1).fit(random_images(5, (1, 2, 2)))
    with pytest.raises(ValueError, match=r"shape \(1, 2, 2\)"):
        model.log_prob(random_images(5, (1, 2, 3)))
    with pytest.raises(RuntimeError, match="not fitted yet"):
        make().log_prob(random_images(5, (1, 2, 2)))
