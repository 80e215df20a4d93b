"""Checks of arguments, data and tensors, each with one clear sentence when they fail."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

ItemKind = Literal["vectors", "images", "tokens"]

ITEM_SHAPES: dict[ItemKind, str] = {
    "vectors": "(n, d)",
    "images": "(n, c, h, w)",
    "tokens": "(n, t)",
}
"""Shape of a batch of items, by kind."""


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Raises a ValueError that names the argument, the value and the choices, the near one first.

    Args:
        name: The argument's name.
        value: What was given.
        choices: What would be right.
    """
    if value in choices:
        return
    words = [choice for choice in choices if isinstance(choice, str)]
    near = difflib.get_close_matches(str(value), words, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    listed = ", ".join(repr(choice) for choice in choices)
    raise ValueError(f"{name} must be one of {listed}; got {value!r}{hint}")


def as_rows(name: str, value: Any, *, n_columns: int | None = None, hint: str = "") -> Tensor:
    """Checks a table of numbers and returns it as a float64 tensor `(n, d)`.

    Args:
        name: The argument's name, for messages.
        value: A tensor, an array, or nested sequences of numbers.
        n_columns: Number of columns required, if any.
        hint: Why so many, for the message.

    Raises:
        TypeError: It does not hold real numbers.
        ValueError: Wrong number of dimensions or columns, or a number that is not finite in
            float32.
    """
    rows = _as_real(name, value)
    if rows.ndim != 2:
        raise ValueError(f"{name} must have shape (n, d); got shape {tuple(rows.shape)}")
    if n_columns is not None and rows.shape[1] != n_columns:
        raise ValueError(f"{name} must have {n_columns} columns{hint}; got {rows.shape[1]}")
    if rows.shape[1] == 0:
        raise ValueError(f"{name} must have at least one column; got shape {tuple(rows.shape)}")
    rows = rows.double()
    if not bool((rows.abs() <= torch.finfo(torch.float32).max).all()):
        raise ValueError(f"{name} must be finite (in float32); it holds NaN, inf or larger numbers")
    return rows


def _as_real(name: str, value: Any) -> Tensor:
    """A tensor of real numbers of any type, from a tensor, an array or nested sequences."""
    try:
        rows = value.detach() if isinstance(value, Tensor) else torch.as_tensor(np.asarray(value))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name} must be a table of real numbers; got {type(value).__name__}"
        ) from error
    if rows.is_complex():
        raise TypeError(f"{name} must hold real numbers; got {rows.dtype}")
    return rows


def as_items(
    name: str,
    value: Any,
    kinds: Sequence[ItemKind],
    *,
    shape: Sequence[int] | None = None,
    hint: str = "",
) -> tuple[Tensor, tuple[int, ...]]:
    """Checks items of one kind, and returns them as rows with the shape of one item.

    Args:
        name: The argument's name, for messages.
        value: Tensor, array, nested sequences, or a `torch.utils.data.Dataset` of such items (of
            pairs, the first are taken).
        kinds: Which kinds of items are right: vectors `(n, d)`; images `(n, c, h, w)` with numbers
            in [0, 1]; token sequences `(n, t)` of integers >= 0.
        shape: Shape that an item must have, if any.
        hint: Why this shape, for the message.

    Returns:
        Rows `(n, d)`, d the product of the item's shape (vectors: float64, images: float32,
        tokens: int64), and the shape of one item.

    Raises:
        TypeError: It does not hold real numbers, or tokens no integers.
        ValueError: Wrong shape, numbers not finite, images outside [0, 1], or negative tokens.
    """
    if isinstance(value, Dataset):
        value = stack_dataset(value)[0]
    if "tokens" in kinds:
        items = _as_tokens(name, value)
    elif "images" in kinds and _as_real(name, value).ndim == 4:
        items = _as_images(name, value)
    elif "vectors" in kinds and ("images" not in kinds or _as_real(name, value).ndim == 2):
        n_columns = shape[0] if shape is not None and len(shape) == 1 else None
        items = as_rows(name, value, n_columns=n_columns, hint=hint)
    else:
        wanted = " or ".join(f"{ITEM_SHAPES[kind]} for {kind}" for kind in kinds)
        got = tuple(_as_real(name, value).shape)
        raise ValueError(f"{name} must have shape {wanted}; got shape {got}")
    own = tuple(items.shape[1:])
    if shape is not None and own != tuple(shape):
        raise ValueError(f"every item of {name} must have shape {tuple(shape)}{hint}; got {own}")
    return items.flatten(1), own


def _as_images(name: str, value: Any) -> Tensor:
    images = _as_real(name, value)
    if 0 in images.shape[1:]:
        raise ValueError(f"images in {name} must not be empty; got shape {tuple(images.shape)}")
    images = images.float()
    if not bool(torch.isfinite(images).all()):
        raise ValueError(f"{name} must be finite; it holds NaN or inf")
    if images.numel() and not bool(((images >= 0) & (images <= 1)).all()):
        low, high = float(images.min()), float(images.max())
        hint = "; divide by 255?" if low >= 0 and 1 < high <= 255 else ""
        raise ValueError(
            f"images in {name} must lie in [0, 1]; got numbers from {low:.6g} to {high:.6g}{hint}"
        )
    return images


def _as_tokens(name: str, value: Any) -> Tensor:
    tokens = _as_real(name, value)
    if tokens.is_floating_point() or tokens.dtype == torch.bool:
        raise TypeError(f"{name} must hold integers, one per token; got {tokens.dtype}")
    if tokens.ndim != 2 or tokens.shape[1] == 0:
        raise ValueError(f"{name} must have shape (n, t), t >= 1; got shape {tuple(tokens.shape)}")
    tokens = tokens.long()
    if tokens.numel() and int(tokens.min()) < 0:
        raise ValueError(f"tokens in {name} must be >= 0; got {int(tokens.min())}")
    return tokens


def stack_dataset(dataset: Dataset[Any]) -> tuple[Tensor, Tensor | None]:
    """All items of a map-style dataset in memory: `(items, labels)`.

    Args:
        dataset: With `__len__` and `__getitem__`; items are tensors, arrays or numbers, or pairs of
            these and a label.

    Returns:
        Items stacked along a new first axis, and the second parts of pairs likewise, or None.

    Raises:
        TypeError: It has no length.
        ValueError: It is empty.
    """
    if not hasattr(dataset, "__len__"):
        raise TypeError("a dataset must have a length; an iterable one cannot be read whole")
    items = [dataset[i] for i in range(len(dataset))]
    if not items:
        raise ValueError("the dataset is empty")
    if not isinstance(items[0], (tuple, list)):
        return torch.stack([torch.as_tensor(item) for item in items]), None
    first = torch.stack([torch.as_tensor(item[0]) for item in items])
    if len(items[0]) < 2:
        return first, None
    return first, torch.stack([torch.as_tensor(item[1]) for item in items])


def as_labels(name: str, value: Any) -> Tensor:
    """Checked class labels, int64 `(n,)` on the CPU.

    Raises:
        TypeError: They are not integers.
        ValueError: A wrong shape.
    """
    values = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
    if values.dtype.kind not in "iub":
        raise TypeError(f"{name} must hold integer labels, one per row of x; got {values.dtype}")
    labels = torch.as_tensor(values.astype(np.int64))
    if labels.ndim != 1:
        raise ValueError(f"{name} must have shape (n,); got shape {tuple(labels.shape)}")
    return labels


def vocabulary_size(tokens: Tensor, wanted: int | None) -> int:
    """Size of the vocabulary of tokens `(n, t)`: the one wanted, or the least possible.

    Raises:
        ValueError: A token is not in the wanted one.
    """
    largest = int(tokens.max()) + 1
    if wanted is not None and largest > wanted:
        raise ValueError(f"tokens in x must be less than {wanted}; got {largest - 1}")
    return largest if wanted is None else wanted


def are_labels(value: Any) -> bool:
    """Whether a condition is one integer per item, not a table of numbers."""
    if isinstance(value, Tensor):
        return value.ndim == 1 and not value.is_floating_point()
    values = np.asarray(value)
    return values.ndim == 1 and values.dtype.kind in "iub"


def one_hot(name: str, value: Any, classes: Tensor) -> Tensor:
    """Labels `(n,)`, or one of them, as rows `(n, k)` with a 1 in the place of the class.

    Args:
        name: The argument's name, for messages.
        value: Integers.
        classes: The labels that there are, in rising order, `(k,)`.

    Raises:
        TypeError: They are not integers.
        ValueError: A wrong shape or an unknown label.
    """
    labels = as_labels(name, [value] if isinstance(value, (int, np.integer)) else value)
    known = classes.cpu()
    place = torch.searchsorted(known, labels).clamp(max=len(known) - 1)
    unknown = labels[known[place] != labels]
    if len(unknown):
        listed = ", ".join(str(v) for v in known[:12].tolist()) + ", ..." * (len(known) > 12)
        raise ValueError(f"{name} must be one of the labels {listed}; got {int(unknown[0])}")
    return torch.nn.functional.one_hot(place, len(known)).double()


def check_number(
    name: str, value: Any, *, low: float = -math.inf, high: float = math.inf, integer: bool = False
) -> None:
    """Checks that a number lies in [low, high].

    Raises:
        TypeError: It is not a number, or not an integer where one is needed.
        ValueError: It is outside.
    """
    kind = (int, np.integer) if integer else (int, float, np.integer, np.floating)
    if isinstance(value, bool) or not isinstance(value, kind):
        word = "an integer" if integer else "a number"
        raise TypeError(f"{name} must be {word}; got {value!r}")
    if not low <= value <= high:
        upper = "" if high == math.inf else f" and at most {high}"
        raise ValueError(f"{name} must be at least {low}{upper}; got {value!r}")


def check_widths(name: str, value: Any) -> None:
    """Checks a sequence of layer widths: integers in [1, 65536]."""
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"{name} must be a tuple of layer widths; got {value!r}")
    for width in value:
        check_number(f"every width in {name}", width, low=1, high=1 << 16, integer=True)


def check_betas(value: Any) -> None:
    """Checks Adam's two decay rates: numbers in [0, 1)."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"betas must be a pair of numbers; got {value!r}")
    for beta in value:
        check_number("every number in betas", beta, low=0, high=math.nextafter(1, 0))


def resolve_device(device: str) -> torch.device:
    """The device of a name: "cpu", "cuda", "cuda:N", or "auto" (a GPU where there is one).

    Raises:
        ValueError: Unknown name, or a GPU that torch does not see.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = str(device).partition(":")
    if kind not in ("cpu", "cuda") or (index and (kind == "cpu" or not index.isdigit())):
        check_choice("device", device, ("cpu", "auto", "cuda", "cuda:0"))
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device {device!r} asked for, but torch sees {torch.cuda.device_count()} CUDA GPUs; "
            "use 'auto' or 'cpu'"
        )
    return torch.device(device)


def take_tensor(left: dict[str, Tensor], name: str, shape: tuple[int | None, ...]) -> Tensor:
    """Takes a tensor of a name out of a dictionary after checking it.

    Args:
        left: Tensors by name.
        name: The wanted one.
        shape: The shape it must have; None for any size >= 1.

    Raises:
        ValueError: It is missing, of another shape, or not finite.
    """
    tensor = left.pop(name, None)
    if tensor is None:
        raise ValueError(f"tensor {name!r} is missing")
    fits = tensor.ndim == len(shape) and all(
        size >= 1 if want is None else size == want
        for size, want in zip(tensor.shape, shape, strict=True)
    )
    if not fits:
        raise ValueError(f"tensor {name!r} must have shape {shape}; got {tuple(tensor.shape)}")
    if not bool(torch.isfinite(tensor).all()):
        raise ValueError(f"tensor {name!r} must be finite; it holds NaN or inf")
    return tensor
