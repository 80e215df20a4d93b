"""Promises that models of images and of token sequences keep, as `test_common` for vectors."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch

from evogen.models import (
    AE,
    BEGAN,
    BNVAE,
    DCGAN,
    DDPM,
    EGAN,
    GAN,
    LSGAN,
    PCA,
    VAE,
    VMFVAE,
    VQVAE,
    WGAN,
    WGANGP,
    GaussianMixture,
    GenerativeModel,
    HierarchicalVAE,
    KernelDiffusion,
    PixelCNN,
    PixelRNN,
    ScoreModel,
    SeqGAN,
    StyleGAN,
    UniVAE,
    load_model,
)
from evogen.models.serialization import REGISTRY

Make = Callable[..., GenerativeModel]


def short(cls: type, **settings: object) -> Make:
    return lambda **given: cls(**{**settings, **given})


IMAGE_MODELS: dict[str, Make] = {
    "pca": short(PCA, n_components=3),
    "mixture": short(GaussianMixture, n_components=2, covariance="diag"),
    "kernel-diffusion": short(KernelDiffusion),
    "ae-mlp": short(AE, n_steps=6, architecture="mlp"),
    "ae-conv": short(AE, n_steps=6, architecture="conv"),
    "vae-mlp": short(VAE, n_steps=6, architecture="mlp"),
    "vae-conv": short(VAE, n_steps=6, architecture="conv"),
    "bn-vae": short(BNVAE, n_steps=6),
    "vmf-vae": short(VMFVAE, n_steps=6),
    "vq-vae": short(VQVAE, n_steps=6, prior_steps=2, prior_width=8),
    "hierarchical": short(HierarchicalVAE, n_steps=6, width=16),
    "pixelcnn": short(PixelCNN, n_steps=4, width=8),
    "pixelrnn-row": short(PixelRNN, n_steps=4, kind="row", width=8),
    "pixelrnn-diagonal": short(PixelRNN, n_steps=4, kind="diagonal", width=8),
    "gan": short(GAN, n_steps=4),
    "dcgan": short(DCGAN, n_steps=4),
    "wgan": short(WGAN, n_steps=3),
    "wgan-gp": short(WGANGP, n_steps=3),
    "lsgan": short(LSGAN, n_steps=4),
    "began": short(BEGAN, n_steps=4),
    "stylegan": short(StyleGAN, n_steps=3),
    "egan": short(EGAN, n_steps=3),
    "ddpm": short(DDPM, n_steps=4, n_sample_steps=3),
    "score": short(ScoreModel, n_steps=4, n_sample_steps=3),
}
TOKEN_MODELS: dict[str, Make] = {
    "univae": short(UniVAE, n_steps=4),
    "seqgan": short(SeqGAN, n_steps=3),
}


@pytest.fixture(params=[*IMAGE_MODELS, *TOKEN_MODELS])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def make(name: str) -> Make:
    return IMAGE_MODELS.get(name) or TOKEN_MODELS[name]


@pytest.fixture
def data(name: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    if name in TOKEN_MODELS:
        tokens = rng.integers(0, 5, size=(24, 6))
        tokens[0, 0] = 4
        return tokens
    # Two grey levels, so that models of levels have few of them.
    return (rng.random((24, 1, 6, 5)) > 0.5).astype(np.float32)


@pytest.fixture
def labels() -> np.ndarray:
    return np.arange(24) % 3


def test_samples_have_the_kind_and_range_of_the_data(make, data, name):
    drawn = make().fit(data).sample(5)
    assert drawn.shape == (5, *data.shape[1:])
    assert drawn.dtype == (torch.int64 if name in TOKEN_MODELS else torch.float32)
    assert float(drawn.min()) >= 0
    assert float(drawn.max()) <= (4 if name in TOKEN_MODELS else 1)


def test_the_seed_decides_everything_and_nothing_global(make, data):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = make(random_state=3).fit(data).sample(4)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(99)
    assert torch.equal(first, make(random_state=3).fit(data).sample(4))
    # Codes of few levels may agree by chance; many of them do not.
    a, b = (make(random_state=seed).fit(data).sample(40) for seed in (3, 4))
    assert not torch.equal(a, b)


def test_saved_models_sample_and_learn_on_bit_for_bit(make, data, tmp_path):
    model = make().fit(data)
    model.save(tmp_path / "m")
    twin = load_model(tmp_path / "m")
    assert torch.equal(model.sample(4), twin.sample(4))
    model.fit(data)
    twin.fit(data)
    assert torch.equal(model.sample(4), twin.sample(4))
    a, b = model.state_tensors(), twin.state_tensors()
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_independent(make, data, copier):
    model = make().fit(data)
    twin = copier(model)
    expected = copier(model).sample(4)
    twin.fit(data[::-1].copy())
    assert torch.equal(expected, model.sample(4))


def test_labels_condition_the_samples(make, data, labels, tmp_path):
    model = make().fit(data, labels)
    drawn = model.sample(3, [2, 0, 1])
    assert drawn.shape == (3, *data.shape[1:])
    model.save(tmp_path / "m")
    assert torch.equal(model.sample(2, 1), load_model(tmp_path / "m").sample(2, 1))
    with pytest.raises(ValueError, match="must be one of the labels 0, 1, 2; got 7"):
        model.sample(1, 7)


def test_one_item_and_equal_items_are_enough(make, data):
    for few in (data[:1], np.repeat(data[:1], 4, axis=0)):
        drawn = make().fit(few).sample(3)
        assert torch.isfinite(drawn.double()).all()


def test_a_batch_larger_than_the_data_works(make, data):
    if "batch_size" not in make().get_params():
        return
    assert make(batch_size=1000).fit(data[:5]).sample(2).shape == (2, *data.shape[1:])


def test_nothing_asked_for_gives_nothing(make, data):
    assert make().fit(data).sample(0).shape == (0, *data.shape[1:])


def test_wrong_items_are_refused_before_work(make, data, name):
    model = make().fit(data)
    state = {k: v.clone() for k, v in model.state_tensors().items()}
    wrong = [data[:, :2] if name in TOKEN_MODELS else data[:, :, :3], data[:0]]
    if name not in TOKEN_MODELS:
        wrong += [np.where(data > 0.5, np.nan, data), data + 0.5]
    for x in wrong:
        with pytest.raises(ValueError, match=r"x must|images in x|item of x"):
            model.fit(x)
    assert all(torch.equal(state[k], v) for k, v in model.state_tensors().items())


def test_vectors_are_refused_by_models_of_other_items(make, data, name):
    if "vectors" in make().items:
        return
    with pytest.raises((ValueError, TypeError), match="x must"):
        make().fit(np.random.default_rng(0).random((10, 4)))


def test_a_log_density_is_finite_and_one_per_item(make, data):
    model = make().fit(data)
    if not hasattr(model, "log_prob"):
        return
    value = model.log_prob(data[:7])
    assert value.shape == (7,)
    assert torch.isfinite(value).all()


def test_codes_decode_to_items(make, data):
    model = make().fit(data)
    if not (hasattr(model, "encode") and hasattr(model, "decode")):
        return
    assert model.decode(model.encode(data[:7])).shape == (7, *data.shape[1:])


def test_defaults_fit_and_sample_without_warnings(name, data):
    cls = type((IMAGE_MODELS.get(name) or TOKEN_MODELS[name])())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cls().fit(data, n_steps=2).sample(2).shape == (2, *data.shape[1:])


def test_every_model_of_the_standard_set_is_there():
    wanted = (
        "PCA GaussianMixture AE VAE BNVAE VMFVAE HierarchicalVAE UniVAE VIB VQVAE PixelCNN "
        "PixelRNN GAN DCGAN WGAN WGANGP LSGAN BEGAN StyleGAN SeqGAN EGAN DDPM ScoreModel "
        "LatentDiffusion"
    )
    assert set(wanted.split()) <= set(REGISTRY)
