"""Files and folders of data: what is written comes back, and damage is said in one sentence."""

from __future__ import annotations

import builtins
import gzip
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from evogen.models import toys
from evogen.models.data import (
    IDX_TYPES,
    KINDS,
    digits,
    load_data,
    read_idx,
    read_images,
    read_mnist,
    read_npz,
)
from evogen.models.rng import seeded_generator


def idx(array: np.ndarray, code: int = 0x08) -> bytes:
    """An array in the IDX format, written from its description."""
    header = struct.pack(">BBBB", 0, 0, code, array.ndim) + struct.pack(
        f">{array.ndim}I", *array.shape
    )
    return header + array.astype(IDX_TYPES[code]).tobytes()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def write_mnist(folder, rng, n=6):
    images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
    labels = rng.integers(0, 10, n, dtype=np.uint8)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(labels))
    (folder / "t10k-images.idx3-ubyte").write_bytes(idx(images[:2]))
    (folder / "t10k-labels.idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels[:2])))
    return images, labels


def png(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_the_digits_are_scikit_learns_in_zero_to_one():
    images, labels = digits()
    assert images.shape == (1797, 1, 8, 8)
    assert images.dtype == torch.float32
    assert (float(images.min()), float(images.max())) == (0.0, 1.0)
    assert torch.equal(images * 16, (images * 16).round())
    assert torch.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_digits_without_scikit_learn_name_the_extra(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"pip install 'evogen\[data\]'"):
        digits()


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(("code", "kind"), IDX_TYPES.items())
def test_idx_arrays_come_back_in_the_numbers_of_the_file(tmp_path, rng, code, kind, zipped):
    array = (rng.normal(size=(3, 2, 4)) * 50).astype(kind)
    content = idx(array, code)
    path = tmp_path / "data"  # The ending does not matter.
    path.write_bytes(gzip.compress(content) if zipped else content)
    found = read_idx(path)
    assert found.shape == (3, 2, 4)
    assert found.numpy().dtype == np.dtype(kind).newbyteorder("=")
    np.testing.assert_array_equal(found.numpy(), array)


def test_damaged_idx_files_are_refused_with_their_name(tmp_path):
    good = idx(np.arange(12, dtype=np.uint8).reshape(3, 4))
    path = tmp_path / "digits.idx"
    for content, message in (
        (b"", "not an IDX file: it begins with 0x$"),
        (b"\x89PNG\r\n", "not an IDX file: it begins with 0x89504e47"),
        (b"\0\0\x07\x01" + good[4:], "not an IDX file: it begins with 0x00000701"),
        (good[:9], "it ends within its header"),
        (good[:-1], "promises 12 bytes, it has only 11"),
        (good + b"\0", "promises 12 bytes, it has more"),
        (b"\0\0\x08\x02" + struct.pack(">II", 1 << 31, 1 << 31) + b"\0", "it has only 1"),
        (gzip.compress(good)[:-12], "damaged gzip file"),
        (gzip.compress(good[:-1]), "it has only 11"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message) as caught:
            read_idx(path)
        assert str(path) in str(caught.value)
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "none")


def test_mnist_is_read_in_all_its_spellings(tmp_path, rng):
    images, labels = write_mnist(tmp_path, rng)
    x, y = read_mnist(tmp_path)
    assert x.shape == (6, 1, 28, 28)
    np.testing.assert_array_equal((x[:, 0] * 255).round().numpy(), images)
    np.testing.assert_array_equal(y.numpy(), labels)
    assert y.dtype == torch.int64
    x, y = read_mnist(tmp_path, "test")
    assert (len(x), len(y)) == (2, 2)
    with pytest.raises(ValueError, match="split must be one of 'train', 'test'; got 'tset'"):
        read_mnist(tmp_path, "tset")


def test_mnist_files_that_do_not_belong_together_are_refused(tmp_path, rng):
    _, labels = write_mnist(tmp_path, rng)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(labels[:3]))
    with pytest.raises(ValueError, match=r"no images with one label each.*\(6, 28, 28\) and \(3,"):
        read_mnist(tmp_path)
    (tmp_path / "t10k-images.idx3-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="there is no t10k-images-idx3-ubyte"):
        read_mnist(tmp_path, "test")


def test_a_folder_of_images_is_read_in_the_order_of_names(tmp_path, rng):
    pixels = rng.integers(0, 256, (3, 5, 4, 3), dtype=np.uint8)
    for name, picture in zip("cab", pixels, strict=True):
        png(tmp_path / f"{name}.PNG", picture)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".hidden.png").write_text("no image")
    x, labels = read_images(tmp_path)
    assert labels is None
    assert x.shape == (3, 3, 5, 4)
    np.testing.assert_array_equal(
        (x * 255).round().numpy(), pixels[[1, 2, 0]].transpose(0, 3, 1, 2)
    )
    grey, _ = read_images(tmp_path, channels=1)
    weights = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    expected = pixels[[1, 2, 0]] @ weights
    np.testing.assert_allclose(grey[:, 0].numpy() * 255, expected, atol=1.0)


def test_subfolders_are_classes(tmp_path):
    for i, name in enumerate(("dog", "ant", "cat")):
        for j in range(i + 1):
            png(tmp_path / name / f"{j}.png", np.full((2, 2), 10 * i, dtype=np.uint8))
    (tmp_path / "empty").mkdir()
    x, labels = read_images(tmp_path, channels=1)
    assert labels.tolist() == [0, 0, 1, 1, 1, 2]
    assert (x[:, 0, 0, 0] * 255).round().tolist() == [10, 10, 20, 20, 20, 0]
    numbered = tmp_path / "numbered"
    for name in ("10", "2"):
        png(numbered / name / "a.png", np.zeros((2, 2), dtype=np.uint8))
    assert read_images(numbered)[1].tolist() == [10, 2]


def test_images_of_other_sizes_are_cropped_around_the_middle(tmp_path):
    wide = np.zeros((4, 8), dtype=np.uint8)
    wide[:, 2:6] = 255
    png(tmp_path / "a.png", wide)
    png(tmp_path / "b.png", np.full((6, 2), 51, dtype=np.uint8))
    with pytest.raises(ValueError, match=r"b\.png is 2 x 6 pixels, but a\.png is 8 x 4: give a"):
        read_images(tmp_path)
    x, _ = read_images(tmp_path, size=4, channels=1)
    assert x.shape == (2, 1, 4, 4)
    assert torch.equal(x[0], torch.ones(1, 4, 4)), "only the middle is left"
    assert torch.allclose(x[1], torch.tensor(0.2))
    assert read_images(tmp_path, size=(3, 5))[0].shape == (2, 3, 3, 5)


def test_transparent_pixels_are_white_and_16_bits_are_divided(tmp_path):
    clear = np.zeros((2, 2, 4), dtype=np.uint8)
    clear[0, 0, 3] = 255
    png(tmp_path / "a.png", clear)
    png(tmp_path / "b.png", np.full((2, 2), 0x8000, dtype=np.uint16))
    x, _ = read_images(tmp_path, channels=1)
    assert x[0, 0].tolist() == [[0.0, 1.0], [1.0, 1.0]]
    assert torch.allclose(x[1], torch.tensor(128 / 255))


def test_wrong_folders_of_images_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        read_images(tmp_path / "none")
    with pytest.raises(ValueError, match="holds no images"):
        read_images(tmp_path)
    png(tmp_path / "a.png", np.zeros((9, 9), dtype=np.uint8))
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "b.png").write_bytes(whole[:40])
    with pytest.raises(ValueError, match=r"b\.png cannot be read as an image"):
        read_images(tmp_path)
    (tmp_path / "b.png").write_text("hello")
    with pytest.raises(ValueError, match=r"b\.png cannot be read as an image"):
        read_images(tmp_path)
    (tmp_path / "b.png").unlink()
    png(tmp_path / "sub" / "a.png", np.zeros((9, 9), dtype=np.uint8))
    with pytest.raises(ValueError, match=r"images beside folders of images \(sub\)"):
        read_images(tmp_path)
    with pytest.raises(ValueError, match="channels must be one of 1, 3; got 2"):
        read_images(tmp_path, channels=2)
    with pytest.raises(ValueError, match="size must be at least 1"):
        read_images(tmp_path, size=(0, 4))


def test_arrays_come_back_with_their_condition(tmp_path, rng):
    x, c, y = rng.normal(size=(5, 3)), rng.normal(size=(5, 2)), np.arange(5, dtype=np.int8)
    file = tmp_path / "a.npz"
    for extra, expected in (
        ({}, None),
        ({"condition": c}, torch.as_tensor(c)),
        ({"condition": c[:, 0]}, torch.as_tensor(c[:, :1])),
        ({"condition": y.astype(np.int64)}, torch.arange(5)),
        ({"y": y}, torch.arange(5)),
    ):
        np.savez(file, x=x, **extra)
        found, condition = read_npz(file)
        assert torch.equal(found, torch.as_tensor(x))
        if expected is None:
            assert condition is None
        else:
            assert torch.equal(condition, expected)
            assert condition.dtype == expected.dtype
    np.save(tmp_path / "b.npy", x.astype(">f8"))
    assert torch.equal(read_npz(tmp_path / "b.npy")[0], torch.as_tensor(x))
    tokens = rng.integers(0, 9, (4, 6), dtype=np.uint16)
    np.save(tmp_path / "t.npy", tokens)
    assert read_npz(tmp_path / "t.npy")[0].tolist() == tokens.tolist()


def test_images_of_bytes_are_divided_by_255(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.full((2, 1, 3, 3), 51, dtype=np.uint8))
    x, _ = read_npz(tmp_path / "a.npz")
    assert x.dtype == torch.float32
    assert torch.allclose(x, torch.tensor(0.2))


def test_wrong_arrays_are_refused(tmp_path, rng):
    x = rng.normal(size=(5, 3))
    file = tmp_path / "a.npz"
    for arrays, message in (
        ({"z": x}, "must hold an array x; it has z"),
        ({"x": x, "y": np.arange(4)}, "as many rows"),
        ({"x": x, "y": np.arange(5), "condition": x}, "both condition and y"),
        ({"x": x, "condition": np.array(["a"] * 5)}, "must hold real numbers"),
        ({"x": np.array([{}], dtype=object)}, "not a readable file of numbers"),
    ):
        np.savez(file, **arrays)
        with pytest.raises(ValueError, match=message):
            read_npz(file)
    np.savez(file, x=x, y=x[:, 0])
    with pytest.raises(TypeError, match="integer labels"):
        read_npz(file)
    for content in (b"", b"nonsense", file.read_bytes()[:100]):
        file.write_bytes(content)
        with pytest.raises(ValueError, match="not a readable file of numbers"):
            read_npz(file)
    with pytest.raises(FileNotFoundError):
        read_npz(tmp_path / "none.npz")


def test_data_are_found_by_a_short_text(tmp_path, rng):
    images, labels = write_mnist(tmp_path, rng)
    assert load_data(f"mnist:{tmp_path}")[0].shape == (6, 1, 28, 28)
    np.savez(tmp_path / "a.npz", x=images[:, 0], y=labels)
    assert load_data(f"npz:{tmp_path / 'a.npz'}")[1].tolist() == labels.tolist()
    png(tmp_path / "pictures" / "a.png", images[0])
    found, none = load_data(f"images:{tmp_path / 'pictures'}", size=7, channels=1)
    assert found.shape == (1, 1, 7, 7)
    assert none is None
    assert len(load_data("digits")[0]) == 1797


@pytest.mark.parametrize("name", toys.TOYS)
def test_toys_are_found_by_name_and_number(name):
    x, none = load_data(f"{name}:70")
    assert none is None
    assert torch.equal(x, toys.TOYS[name](70, seeded_generator(0)))
    assert torch.equal(load_data(f"{name}:70", seed=3)[0], toys.TOYS[name](70, seeded_generator(3)))
    assert len(load_data(name)[0]) == 10_000


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("digit", "did you mean 'digits'"),
        ("rink:100", "did you mean 'ring'"),
        ("", "data must be one of digits, mnist:FOLDER"),
        ("ring:-3", "'ring:-3': give a number of rows, such as ring:10000"),
        ("ring:0", "give a number of rows"),
        ("ring:", "give a number of rows"),
        ("mnist", "say where, such as mnist:data"),
        ("images:", "say where"),
        ("digits:3", "got 'digits:3'"),
    ],
)
def test_texts_that_are_not_understood_say_what_would_be(spec, message):
    with pytest.raises(ValueError, match=message):
        load_data(spec)
    assert len(KINDS) == len(set(KINDS))
