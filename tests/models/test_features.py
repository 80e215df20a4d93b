"""The classifier that images are seen by: it learns, it is saved, and it tells sets apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evogen.models import load_model
from evogen.models.features import Classifier, ImageFeatures
from evogen.models.metrics import frechet_distance, report


def bars(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy 8 x 8 images with a bright column, label 4, or row, label 7, at a random place."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    x = 0.2 * rng.random((n, 1, 8, 8))
    for image, label, place in zip(x, y, rng.integers(0, 8, n), strict=True):
        image[0, place] += 0.8 * label
        image[0, :, place] += 0.8 * (1 - label)
    return torch.as_tensor(np.minimum(x, 1.0), dtype=torch.float32), torch.as_tensor(4 + 3 * y)


SMALL = {"channels": (4, 8), "n_hidden": 16, "batch_size": 32, "n_steps": 80, "lr": 1e-2}


@pytest.fixture(scope="module")
def net() -> ImageFeatures:
    return ImageFeatures(**SMALL).fit(*bars(120))


def test_it_tells_held_out_images_apart(net):
    x, y = bars(80, seed=1)
    assert net.classes_.tolist() == [4, 7]
    assert (net.predict(x) == y).double().mean() > 0.95
    chances = net.predict_proba(x)
    assert torch.allclose(chances.sum(dim=1), torch.ones(80))
    assert chances.shape == (80, 2)
    untrained = ImageFeatures(**SMALL).fit(*bars(120), n_steps=0)
    assert (untrained.predict(x) == y).double().mean() < 0.9, "not learned, so nothing to see"


def test_features_are_the_last_hidden_layer(net):
    x, _ = bars(10)
    seen = net.features(x)
    assert seen.shape == (10, 16)
    assert (seen >= 0).all()
    head = net.sampler("network").classes
    assert torch.allclose(torch.softmax(head(seen), dim=1), net.predict_proba(x))
    many = net.features(x.repeat(250, 1, 1, 1))
    assert torch.allclose(many[-10:], seen, atol=1e-6), "rows are seen one by one, in parts"
    assert net.features(x[:0]).shape == (0, 16)


def test_frechet_distances_by_features_see_what_pixels_do_not(net):
    train, y = bars(120)
    fresh = bars(120, seed=3)[0]
    columns = train[y == 4]
    good = frechet_distance(fresh, train, features=net)
    assert good == pytest.approx(frechet_distance(net.features(fresh), net.features(train)))
    assert good == pytest.approx(frechet_distance(fresh, train, features=net.features))
    assert frechet_distance(columns, train, features=net) > 10 * good


def test_it_is_saved_and_learns_on_bit_for_bit(net, tmp_path):
    x, y = bars(20)
    net.save(tmp_path / "net")
    a, b = (load_model(tmp_path / "net") for _ in range(2))
    assert torch.equal(a.predict(x), net.predict(x))
    assert torch.equal(a.fit(x, y, n_steps=3).features(x), b.fit(x, y, n_steps=3).features(x))
    assert not torch.equal(a.features(x), net.features(x))


@pytest.mark.parametrize("shape", [(1, 3, 3), (3, 1, 5), (2, 8, 30), (3, 28, 28)])
def test_images_of_any_shape_are_taken(shape):
    x = torch.rand((5, *shape), generator=torch.Generator().manual_seed(0))
    net = ImageFeatures(channels=(2, 3, 4), n_hidden=6, n_steps=2).fit(x, [0, 1, 2, 0, 1])
    assert net.features(x).shape == (5, 6)
    assert torch.isfinite(net.predict_proba(x)).all()
    one = ImageFeatures(channels=(), n_steps=1).fit(x[:1], [3])
    assert one.predict(x).tolist() == [3] * 5


def test_pooling_leaves_four_by_four_of_eight_by_eight():
    """So that 8 x 8 digits are seen as by two convolutions and one 2 x 2 pooling."""
    network = Classifier((1, 8, 8), 10, channels=(32, 64), n_features=64)
    assert network.features.in_features == 1024
    assert Classifier((1, 28, 28), 10, channels=(32, 64), n_features=64).side == (4, 4)


def test_the_noise_is_in_units_of_the_images(net):
    x = torch.full((40, 1, 8, 8), 0.5)
    for normalize in (True, False):
        model = ImageFeatures(noise=0.05, normalize=normalize, batch_size=None)
        model.fit(x, torch.zeros(40, dtype=torch.int64), n_steps=0)
        rows = model.check_rows(x, np.zeros(40, dtype=np.int64))
        rows.x = model.prepare_x(x)
        drawn = model.draw_batches(rows, 1, torch.Generator().manual_seed(0))[0][0]
        noise = model.scaler_.denormalize(drawn) - 0.5
        assert float(noise.std()) == pytest.approx(0.05, rel=0.06)
        assert abs(float(noise.mean())) < 0.005


def test_what_is_no_labelled_image_is_refused(net):
    x, y = bars(6)
    model = ImageFeatures(**SMALL)
    for call, kind, message in (
        (lambda: model.fit(x), TypeError, "y must hold integer labels"),
        (lambda: model.fit(x, y[:5]), ValueError, "as many rows"),
        (lambda: model.fit(x.flatten(1), y), ValueError, r"\(n, c, h, w\) for images"),
        (lambda: model.fit(255 * x, y), ValueError, r"must lie in \[0, 1\].*divide by 255"),
        (lambda: model.features(x), RuntimeError, "not fitted yet"),
        (lambda: net.fit(x, y + 1), ValueError, "one of the labels"),
        (lambda: net.features(x[:, :, :4]), ValueError, r"must have shape \(1, 8, 8\)"),
        (lambda: net.sample(3), TypeError, "is a classifier and has no samples"),
        (lambda: ImageFeatures(noise=-1), ValueError, "noise must be at least 0"),
        (lambda: ImageFeatures(channels=(0,)), ValueError, "every width in channels"),
    ):
        with pytest.raises(kind, match=message):
            call()


def test_a_report_counts_classes_by_the_classifier(net):
    train, y = bars(60)
    test = bars(40, seed=5)[0]
    scores = report(train[y == 4], train, test=test, features=net)
    assert scores["class_entropy"] < 0.2
    assert scores["class_entropy_test"] == pytest.approx(np.log(2), abs=0.03)
    assert 0.5 < scores["confidence"] <= 1
    assert scores["nearer_than_test"] == 1.0, "these are the training images themselves"
    assert scores["frechet"] > 3 * scores["frechet_test"]
