"""What may be learned: vectors, images, tokens; labels as conditions; datasets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from evogen.models import AE, DDPM, GAN, PCA, VAE, GaussianMixture, GenerativeModel, load_model

MODELS = [
    lambda **k: PCA(n_components=2, **k),
    lambda **k: GaussianMixture(n_components=2, covariance="diag", **k),
    lambda **k: AE(n_steps=10, **k),
    lambda **k: VAE(n_steps=10, **k),
    lambda **k: VAE(n_steps=10, likelihood="bernoulli", **k),
    lambda **k: GAN(n_steps=5, **k),
    lambda **k: GAN(n_steps=5, output="sigmoid", **k),
    lambda **k: DDPM(n_steps=10, n_sample_steps=3, **k),
]


class Tokens(GenerativeModel):
    """Draws every token from the frequencies of its place."""

    items = ("tokens",)
    dtype = torch.int64

    def build(self, generator):
        pass

    def learn(self, rows, *, n_steps, generator, callback):
        assert rows.x.dtype == torch.int64
        self.buffers_["x"] = rows.x

    def generate(self, n, condition, generator):
        return self.buffers_["x"][torch.randint(len(self.buffers_["x"]), (n,), generator=generator)]


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).random((20, 2, 3, 4))


@pytest.mark.parametrize("make", MODELS)
def test_images_come_back_as_images_in_the_unit_range(make, images, tmp_path):
    model = make().fit(images)
    rows = model.sample(7)
    assert rows.shape == (7, 2, 3, 4)
    assert rows.dtype == torch.float32
    assert float(rows.min()) >= 0
    assert float(rows.max()) <= 1
    model.save(tmp_path / "m")
    assert torch.equal(load_model(tmp_path / "m").sample(3), model.sample(3))
    assert model.sample(0).shape == (0, 2, 3, 4)


@pytest.mark.parametrize("make", [MODELS[0], MODELS[2], MODELS[3]])
def test_codes_of_images_decode_to_images(make, images):
    model = make().fit(images)
    assert model.decode(model.encode(images)).shape == images.shape


def test_a_picture_is_the_row_of_its_pixels(images):
    """An image model without scaling equals the vector model on flattened pixels."""
    a = GaussianMixture(normalize=False).fit(images)
    b = GaussianMixture(normalize=False).fit(images.reshape(20, -1).astype(np.float32))
    assert torch.allclose(a.log_prob(images), b.log_prob(images.reshape(20, -1)))


def test_log_densities_of_images_are_per_unit_of_the_user(images):
    scaled, raw = PCA(n_components=2), PCA(n_components=2, normalize=False)
    a, b = (m.fit(images).log_prob(images) for m in (scaled, raw))
    assert torch.allclose(a, b, atol=1e-4), "scaling to [-1, 1] must not shift the density"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x * 255, r"must lie in \[0, 1\].*divide by 255"),
        (lambda x: x - 0.5, r"must lie in \[0, 1\]"),
        (lambda x: np.where(x > 0.9, np.nan, x), "must be finite"),
        (lambda x: x[:, 0], r"must have shape \(n, d\) for vectors or \(n, c, h, w\) for images"),
        (lambda x: x[:, :, :0], "must not be empty"),
        (lambda x: x[:, :, :2], r"every item of x must have shape \(2, 3, 4\), as in earlier fits"),
        (lambda x: x.reshape(20, -1), r"every item of x must have shape \(2, 3, 4\)"),
    ],
)
def test_wrong_images_are_refused_in_one_sentence(images, change, message):
    model = PCA().fit(images)
    with pytest.raises(ValueError, match=message):
        model.fit(change(images))


def test_labels_become_classes_and_unknown_ones_are_refused(images, tmp_path):
    labels = np.arange(20) % 3 * 10
    model = DDPM(n_steps=5, n_sample_steps=2).fit(images, labels)
    assert model.n_condition_ == 3
    assert model.classes_.tolist() == [0, 10, 20]
    given = torch.tensor([20, 0, 10])
    model.save(tmp_path / "m")
    twin = load_model(tmp_path / "m")
    assert torch.equal(model.sample(3, given), twin.sample(3, [20, 0, 10]))
    assert torch.equal(model.sample(2, 10), twin.sample(2, [10, 10]))
    with pytest.raises(ValueError, match="one of the labels 0, 10, 20; got 5"):
        model.sample(1, 5)
    with pytest.raises(TypeError, match="integer labels"):
        model.sample(1, [0.5])
    with pytest.raises(ValueError, match="one of the labels"):
        model.fit(images, labels + 1)


def test_labels_separate_what_is_learned():
    x = np.concatenate((np.zeros((50, 2)), np.ones((50, 2)) * 5))
    x = x + 0.1 * np.random.default_rng(0).normal(size=x.shape)
    model = PCA(n_components=1).fit(x, np.repeat([3, 8], 50))
    assert torch.allclose(model.sample(50, 8).mean(0), torch.full((2,), 5.0), atol=0.2)
    assert torch.allclose(model.sample(50, 3).mean(0), torch.zeros(2), atol=0.2)


def test_tokens_are_integers_of_a_known_vocabulary(tmp_path):
    x = np.random.default_rng(0).integers(0, 7, size=(30, 5))
    x[0, 0] = 6
    model = Tokens().fit(x)
    assert model.n_tokens_ == 7
    drawn = model.sample(4)
    assert drawn.shape == (4, 5)
    assert drawn.dtype == torch.int64
    assert model.sample(0).dtype == torch.int64
    with pytest.raises(TypeError, match="must hold integers"):
        model.fit(x * 1.0)
    with pytest.raises(ValueError, match="tokens in x must be less than 7; got 9"):
        model.fit(np.full((2, 5), 9))
    with pytest.raises(ValueError, match="must be >= 0; got -1"):
        model.fit(x - 1)
    with pytest.raises(ValueError, match=r"must have shape \(5,\)"):
        model.fit(x[:, :3])


class Pairs(Dataset):
    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[np.ndarray, int]:
        return self.images[i], i % 2


def test_a_dataset_gives_the_model_of_its_stacked_items(images):
    a, b = AE(n_steps=3).fit(Pairs(images)), AE(n_steps=3).fit(images)
    assert torch.equal(a.sample(2), b.sample(2))
    with pytest.raises(ValueError, match="dataset is empty"):
        AE().fit(Pairs(images[:0]))
