"""Files of models: safe to open, whatever is in them."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from evogen.models import VAE, GaussianMixture, GenerativeModel, load_model, register


@pytest.fixture
def path(tmp_path):
    x = np.random.default_rng(0).normal(size=(20, 3))
    path = tmp_path / "model.safetensors"
    VAE(hidden=(8,), n_steps=3).fit(x).save(path)
    return path


def rewrite(path, *, metadata=None, header=None, tensors=None):
    """Writes the file again with some parts changed."""
    raw = path.read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    old = json.loads(raw[8 : 8 + size])["__metadata__"]
    new = {**old, **(metadata or {})}
    if header is not None:
        content = json.loads(old["header"])
        for part, changes in header.items():
            content[part].update(changes)
        new["header"] = json.dumps(content)
    save_file({**load_file(path), **(tensors or {})}, path, metadata=new)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metadata": {"format": "other"}}, "does not say format"),
        ({"metadata": {"version": "99"}}, "version is '99'"),
        ({"metadata": {"class": "VEA"}}, "unknown model class 'VEA'.*did you mean 'VAE'"),
        ({"metadata": {"class": "os.system"}}, "unknown model class"),
        ({"metadata": {"header": "{"}}, "not JSON"),
        ({"metadata": {"header": "[" * 60000}}, "not JSON"),
        ({"metadata": {"header": "[1]"}}, "lacks params"),
        ({"metadata": {"header": " " * 100_000}}, "100000 characters"),
        ({"header": {"params": {"no_such": 1}}}, "no_such"),
        ({"header": {"params": {"hidden": [9]}}}, "must have shape"),
        ({"header": {"params": {"hidden": [10**12]}}}, "at most 65536"),
        ({"header": {"params": {"hidden": [65536] * 500}}}, "not a usable model file"),
        ({"header": {"params": {"hidden": "abc"}}}, "tuple of layer widths"),
        ({"header": {"params": {"latent_dim": 10**9}}}, "at most 65536"),
        ({"header": {"numbers": {"n_features": 4, "item_shape": [4]}}}, "must have shape"),
        ({"header": {"numbers": {"n_features": 4}}}, r"4 features cannot have shape \(3,\)"),
        (
            {"header": {"numbers": {"n_features": 10**12, "item_shape": [10**12]}}},
            "must have shape",
        ),
        ({"header": {"numbers": {"item_shape": ["3"]}}}, "integer >= 0"),
        ({"header": {"numbers": {"parts": {"a": 1}}}}, "part 'a' lacks class"),
        ({"header": {"numbers": {"n_features": -1}}}, "integer >= 0"),
        ({"header": {"numbers": {"n_condition": 1}}}, "is missing"),
        ({"header": {"numbers": {"n_steps": "1"}}}, "integer >= 0"),
        ({"tensors": {"scaler.scale": torch.zeros(3).double()}}, "positive scale"),
        ({"tensors": {"scaler.shift": torch.full((3,), torch.nan)}}, "finite"),
        ({"tensors": {"buffers.variance": torch.ones(2)}}, "must have shape"),
        ({"tensors": {"extra": torch.ones(2)}}, "unexpected tensor 'extra'"),
        (
            {"tensors": {"networks.network.encoder.output.bias": torch.full((16,), torch.inf)}},
            "finite",
        ),
    ],
)
def test_a_changed_file_is_refused_in_one_sentence(path, change, message):
    rewrite(path, **change)
    with pytest.raises(ValueError, match=f"not a usable model file.*{message}|{message}"):
        load_model(path)


def test_the_untouched_file_passes_the_same_rewriting(path):
    expected = load_model(path).sample(3)
    rewrite(path)
    assert torch.equal(load_model(path).sample(3), expected)


@pytest.mark.parametrize("cut", [0, 4, 100, -10])
def test_a_truncated_file_is_refused(path, cut):
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match="not a usable model file"):
        load_model(path)


def test_a_pickle_is_refused(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="not a usable model file"):
        load_model(tmp_path / "x.pt")


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "no.safetensors")


def test_a_mixture_with_bad_parameters_is_refused(tmp_path):
    path = tmp_path / "mixture.safetensors"
    GaussianMixture(n_components=2).fit(np.random.default_rng(0).normal(size=(20, 2))).save(path)
    rewrite(path, tensors={"buffers.weights": torch.tensor([1.0, -1.0])})
    with pytest.raises(ValueError, match="must not be negative"):
        load_model(path)
    rewrite(path, tensors={"buffers.weights": torch.ones(3)})
    with pytest.raises(ValueError, match="as many components"):
        load_model(path)
    rewrite(
        path,
        tensors={
            "buffers.weights": torch.ones(2) / 2,
            "buffers.covariances": -torch.eye(2).expand(2, 2, 2).contiguous(),
        },
    )
    with pytest.raises(ValueError, match="positive definite"):
        load_model(path)


def test_the_device_can_be_chosen_on_loading(path):
    assert load_model(path, device="cpu").device == "cpu"
    with pytest.raises(ValueError, match="device"):
        load_model(path, device="abacus")


def test_a_class_must_be_registered_and_names_are_unique(tmp_path):
    class Mine(VAE):
        pass

    model = Mine(n_steps=1).fit(np.ones((3, 2)))
    with pytest.raises(ValueError, match="Mine cannot be saved"):
        model.save(tmp_path / "x")
    fake = type("VAE", (GenerativeModel,), {})
    with pytest.raises(ValueError, match="registered already"):
        register(fake)


def test_an_unfitted_model_cannot_be_saved(tmp_path):
    with pytest.raises(RuntimeError, match="not fitted"):
        VAE().save(tmp_path / "x")


def test_lists_in_parameters_come_back_as_tuples(tmp_path):
    x = np.random.default_rng(0).normal(size=(20, 3))
    VAE(hidden=[8, 4], n_steps=1).fit(x).save(tmp_path / "x")
    assert load_model(tmp_path / "x").hidden == (8, 4)


def test_numpy_numbers_in_parameters_are_written_as_numbers(tmp_path):
    x = np.random.default_rng(0).normal(size=(20, 3))
    VAE(latent_dim=np.int64(2), lr=np.float32(0.5), n_steps=1).fit(x).save(tmp_path / "x")
    loaded = load_model(tmp_path / "x")
    assert (loaded.latent_dim, loaded.lr) == (2, 0.5)
