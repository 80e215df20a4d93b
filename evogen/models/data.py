"""Data to learn from, read from files, folders or by name: tensors of items and their labels.

Images come out as float32 `(n, c, h, w)` in [0, 1], labels as int64 `(n,)`. Nothing is downloaded.
"""

from __future__ import annotations

import difflib
import gzip
import math
import zipfile
import zlib
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from evogen.models.checks import as_labels, check_choice, check_number
from evogen.models.rng import seeded_generator
from evogen.models.toys import TOYS

if TYPE_CHECKING:
    from PIL import Image

FilePath = str | PathLike[str]
Data = tuple[Tensor, Tensor | None]

N_TOY = 10_000

IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""Number types of an IDX file by the third byte of its magic number."""

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
"""Files that `read_images` takes for images."""

KINDS = ("digits", "mnist:FOLDER", "images:FOLDER", "npz:FILE", *(f"{name}:N" for name in TOYS))
"""What `load_data` understands."""


def digits() -> tuple[Tensor, Tensor]:
    """The handwritten digits that come with scikit-learn (Alpaydin and Kaynak 1998).

    Returns:
        Images `(1797, 1, 8, 8)`, labels `(1797,)`.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "the digits come with scikit-learn, which is not installed: pip install 'evogen[data]'"
        ) from error
    x, y = load_digits(return_X_y=True)
    images = torch.as_tensor(x / 16, dtype=torch.float32).view(-1, 1, 8, 8)
    return images, torch.as_tensor(y, dtype=torch.int64)


# IDX, the format of MNIST.


def read_idx(path: FilePath) -> Tensor:
    """Reads an array in the IDX format of MNIST (LeCun et al. 1998), plain or gzipped.

    Args:
        path: The file; whether it is gzipped is seen from its content.

    Returns:
        The array, in the numbers of the file (uint8 for MNIST).

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged: another magic number, or more or less data than it says.
    """
    path = Path(path)
    with path.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        try:
            if zipped:
                with gzip.GzipFile(fileobj=raw) as file:
                    return _read_idx(file, path)
            return _read_idx(raw, path)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path} is a damaged gzip file: {error}") from error


def _read_idx(file: IO[bytes] | gzip.GzipFile, path: Path) -> Tensor:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in IDX_TYPES or not magic[3]:
        raise ValueError(f"{path} is not an IDX file: it begins with 0x{magic.hex()}")
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise ValueError(f"{path} is damaged: it ends within its header")
    shape = [int(size) for size in np.frombuffer(sizes, ">u4")]
    kind = np.dtype(IDX_TYPES[magic[2]])
    n_bytes = math.prod(shape) * kind.itemsize
    # Read in parts: a damaged header must not ask for more memory than the file has bytes.
    content = bytearray()
    while len(content) <= n_bytes and (part := file.read(min(1 << 24, n_bytes + 1))):
        content += part
    if len(content) != n_bytes:
        word = "more" if len(content) > n_bytes else f"only {len(content)}"
        raise ValueError(f"{path} is damaged: its header promises {n_bytes} bytes, it has {word}")
    array = np.frombuffer(bytes(content), kind).reshape(shape)
    return torch.as_tensor(array.astype(kind.newbyteorder("=")))


def read_mnist(
    folder: FilePath, split: Literal["train", "test"] = "train"
) -> tuple[Tensor, Tensor]:
    """Reads MNIST, or a data set in its form (Fashion-MNIST, KMNIST), from its four files.

    Args:
        folder: With train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
            t10k-labels-idx1-ubyte; each may end in .gz and be spelt with a dot (images.idx3).
        split: "train" or "test".

    Returns:
        Images `(n, 1, h, w)`, labels `(n,)`.

    Raises:
        FileNotFoundError: The folder or a file is not there.
        ValueError: A file is damaged, or images and labels do not belong together.
    """
    check_choice("split", split, ("train", "test"))
    prefix = "train" if split == "train" else "t10k"
    images = read_idx(_mnist_file(Path(folder), f"{prefix}-images", "idx3-ubyte"))
    labels = read_idx(_mnist_file(Path(folder), f"{prefix}-labels", "idx1-ubyte"))
    if images.ndim != 3 or images.dtype != torch.uint8 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"the files in {folder} hold no images with one label each: they have shapes "
            f"{tuple(images.shape)} and {tuple(labels.shape)}"
        )
    return (images.float() / 255)[:, None], labels.long()


def _mnist_file(folder: Path, stem: str, kind: str) -> Path:
    for name in (f"{stem}-{kind}", f"{stem}.{kind}"):
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    raise FileNotFoundError(f"there is no {stem}-{kind} (or .gz) in {folder}")


# Folders of images.


def read_images(
    folder: FilePath, size: int | tuple[int, int] | None = None, channels: Literal[1, 3] = 3
) -> Data:
    """Reads a folder of image files, in the order of their names.

    Args:
        folder: With images; or with one subfolder of images per class.
        size: Height and width, or one number for both: an image is cropped around its middle to
            this shape and scaled; None if all have one size.
        channels: 1 for grey, 3 for colours.

    Returns:
        Images `(n, channels, h, w)`; with subfolders labels `(n,)`, else None. A label is the
        subfolder's name where all names are whole numbers, else its place (from 0) in their order.

    Raises:
        FileNotFoundError: The folder is not there.
        ImportError: Pillow is not installed.
        ValueError: There are no images, one cannot be read, or their sizes differ.
    """
    folder = Path(folder)
    check_choice("channels", channels, (1, 3))
    for side in size if isinstance(size, Sequence) else (size,):
        if side is not None:
            check_number("size", side, low=1, high=1 << 14, integer=True)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    classes = [path for path in _visible(folder) if path.is_dir() and _image_files(path)]
    files = _image_files(folder)
    if classes and files:
        raise ValueError(
            f"{folder} has images beside folders of images ({classes[0].name}): put all images "
            "into folders, one per class, or none"
        )
    named = all(path.name.isascii() and path.name.isdigit() for path in classes)
    numbers = [int(path.name) if named else place for place, path in enumerate(classes)]
    labels = []
    for number, path in zip(numbers, classes, strict=True):
        found = _image_files(path)
        files += found
        labels += [number] * len(found)
    if not files:
        raise ValueError(f"{folder} holds no images ({', '.join(ENDINGS)})")
    shape = (size, size) if isinstance(size, int) else size
    x = _stack_images(files, shape, channels)
    return x, torch.tensor(labels) if classes else None


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _image_files(folder: Path) -> list[Path]:
    return [p for p in _visible(folder) if p.suffix.lower() in ENDINGS and p.is_file()]


def _stack_images(files: Sequence[Path], size: tuple[int, int] | None, channels: int) -> Tensor:
    x = torch.empty(0)
    for i, path in enumerate(files):
        pixels = _read_image(path, size, channels)
        if i == 0:
            x = torch.empty((len(files), *pixels.shape), dtype=torch.uint8)
        elif pixels.shape != x.shape[1:]:
            (h, w), (first_h, first_w) = pixels.shape[1:], x.shape[2:]
            raise ValueError(
                f"{path} is {w} x {h} pixels, but {files[0].name} is {first_w} x {first_h}: "
                "give a size that all are brought to"
            )
        x[i] = pixels
    return x.float().div_(255)


def _read_image(path: Path, size: tuple[int, int] | None, channels: int) -> Tensor:
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise ImportError("reading images needs Pillow: pip install pillow") from error
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
            if image.mode.startswith("I"):
                # Pillow cuts 16-bit numbers off at 255 where they should be divided.
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            image = _opaque(image).convert("L" if channels == 1 else "RGB")
            if size is not None:
                image = ImageOps.fit(image, (size[1], size[0]))
            pixels = np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from error
    return torch.as_tensor(pixels.copy()).view(*pixels.shape[:2], channels).permute(2, 0, 1)


def _opaque(image: Image.Image) -> Image.Image:
    """The image without transparency: before white."""
    from PIL import Image

    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(ground, image).convert("RGB")
    return image


# Arrays.


def read_npz(path: FilePath) -> Data:
    """Reads items, and perhaps what they are conditioned on, from a file of numpy arrays.

    Args:
        path: `.npz` with the array x, and condition (numbers `(n, c)` or labels `(n,)`) or y
            (labels) where there are any; or `.npy` with x alone.

    Returns:
        Items as they are in the file, but images `(n, c, h, w)` of uint8 divided by 255; and the
        condition, or None.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged, lacks x, or has other numbers of rows.
    """
    path = Path(path)
    try:
        # Without pickles: a file from a stranger must not run anything.
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            arrays = {"x": content}
        else:
            with content:
                arrays = dict(content)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is not a readable file of numbers: {error}") from error
    if "x" not in arrays:
        raise ValueError(f"{path} must hold an array x; it has {', '.join(arrays) or 'none'}")
    if "condition" in arrays and "y" in arrays:
        raise ValueError(f"{path} holds both condition and y; one of them must go")
    x = _numbers(path, "x", arrays["x"])
    if x.ndim == 4 and x.dtype == torch.uint8:
        x = x.float() / 255
    condition = None
    if "condition" in arrays:
        condition = _numbers(path, "condition", arrays["condition"])
        if condition.ndim == 1 and condition.is_floating_point():
            condition = condition[:, None]
    elif "y" in arrays:
        condition = as_labels(f"y in {path}", arrays["y"])
    if condition is not None and condition.shape[:1] != x.shape[:1]:
        raise ValueError(
            f"x and the condition in {path} must have as many rows; "
            f"got shapes {tuple(x.shape)} and {tuple(condition.shape)}"
        )
    return x, condition


def _numbers(path: Path, name: str, array: np.ndarray) -> Tensor:
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} in {path} must hold real numbers; got {array.dtype}")
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)
    return torch.as_tensor(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")))


# By name.


def load_data(
    spec: str,
    *,
    size: int | tuple[int, int] | None = None,
    channels: Literal[1, 3] = 3,
    seed: int = 0,
) -> Data:
    """Data by a short text, as the command line takes it.

    Args:
        spec: "digits"; "mnist:FOLDER"; "images:FOLDER"; "npz:FILE" (or .npy); or a toy
            distribution of `toys` with a number of rows, "ring:10000" (the default).
        size: For "images", see `read_images`.
        channels: For "images".
        seed: For toys.

    Returns:
        Items, and labels or another condition `(n,)` or `(n, c)`, or None.

    Raises:
        FileNotFoundError: The file or folder is not there.
        ValueError: The text is not understood, or what is read is damaged.
    """
    kind, colon, rest = spec.partition(":")
    if kind == "digits" and not colon:
        return digits()
    if kind in TOYS:
        if colon and not (rest.isascii() and rest.isdigit() and int(rest)):
            raise ValueError(f"{spec!r}: give a number of rows, such as {kind}:{N_TOY}")
        return TOYS[kind](int(rest) if colon else N_TOY, seeded_generator(seed)), None
    if kind in ("mnist", "images", "npz"):
        if not rest:
            raise ValueError(f"{spec!r}: say where, such as {kind}:data")
        if kind == "images":
            return read_images(rest, size=size, channels=channels)
        return read_mnist(rest) if kind == "mnist" else read_npz(rest)
    near = difflib.get_close_matches(kind, [known.partition(":")[0] for known in KINDS], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"data must be one of {', '.join(KINDS)}; got {spec!r}{hint}")
