"""Saving and loading: one safetensors file per model, whose header says in JSON what it is.

Opening a file runs nothing from it: the class is looked up among the registered ones, its
parameters pass the constructor's checks, and every tensor is compared with the shape that the
parameters ask for before memory is used.
"""

from __future__ import annotations

import difflib
import json
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

if TYPE_CHECKING:
    from evogen.models.base import GenerativeModel

FORMAT = "evogen-model"
VERSION = 2
# A header longer than this (characters) is not one of ours.
MAX_HEADER = 1 << 16

ClassT = TypeVar("ClassT", bound="type[GenerativeModel]")
REGISTRY: dict[str, type[GenerativeModel]] = {}


def register(cls: ClassT) -> ClassT:
    """Class decorator: lets `load_model` build this class, under its name.

    Raises:
        ValueError: Another class has the name.
    """
    known = REGISTRY.setdefault(cls.__name__, cls)
    if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ValueError(f"a model class named {cls.__name__!r} is registered already: {known}")
    REGISTRY[cls.__name__] = cls
    return cls


def save_model(model: GenerativeModel, path: str | PathLike[str]) -> None:
    """Writes a model to one file; see `load_model`.

    Args:
        model: Of a registered class.
        path: The file, overwritten if it exists.

    Raises:
        ValueError: The class is not registered, or a parameter cannot be written as JSON.
    """
    name = type(model).__name__
    if REGISTRY.get(name) is not type(model):
        raise ValueError(f"{name} cannot be saved: decorate the class with evogen.models.register")
    try:
        content = {"params": model.get_params(), "numbers": model.state_numbers()}
        header = json.dumps(content, default=_plain_number)
    except TypeError as error:
        raise ValueError(f"the parameters of {model!r} cannot be written: {error}") from error
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in model.state_tensors().items()}
    metadata = {"format": FORMAT, "version": str(VERSION), "class": name, "header": header}
    save_file(tensors, fspath(path), metadata=metadata)


def _plain_number(value: Any) -> Any:
    """A numpy number as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} is not a number, text, or sequence of these")


def load_model(path: str | PathLike[str], *, device: str | None = None) -> GenerativeModel:
    """Reads a model that `GenerativeModel.save` wrote; safe on files from strangers.

    Args:
        path: The file.
        device: Where to put it, instead of the device it was saved with.

    Returns:
        The model; its samples and further fits equal those of the one that was saved.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged or not one of ours, its class is unknown, or its parameters
            and tensors do not belong together.
    """
    try:
        with safe_open(fspath(path), framework="pt") as file:
            metadata = file.metadata() or {}
            name, params, numbers = _read_header(metadata)
            if device is not None:
                params["device"] = device
            cls = find_class(name)
            model = cls(**params)
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        model.restore(numbers, tensors)
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError, ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{fspath(path)!r} is not a usable model file: {error}") from error
    return model


def _read_header(metadata: dict[str, str]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    if metadata.get("format") != FORMAT:
        raise ValueError(f"its header does not say format {FORMAT!r}")
    if metadata.get("version") != str(VERSION):
        raise ValueError(f"its version is {metadata.get('version')!r}; known is {VERSION}")
    text = metadata.get("header", "")
    if len(text) > MAX_HEADER:
        raise ValueError(f"its header has {len(text)} characters; at most {MAX_HEADER} are read")
    try:
        header = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError("its header is not JSON") from error
    params = header.get("params") if isinstance(header, dict) else None
    numbers = header.get("numbers") if isinstance(header, dict) else None
    if not isinstance(params, dict) or not isinstance(numbers, dict):
        raise ValueError("its header lacks params or numbers")
    _check_numbers(numbers)
    return metadata.get("class", ""), {k: _tuples(v) for k, v in params.items()}, numbers


def _check_numbers(numbers: dict[str, Any]) -> None:
    """Checks the counters, shapes and parts of a model's header; turns lists into tuples."""
    for key in ("n_features", "n_condition", "n_calls", "n_steps", "n_tokens"):
        _check_count(key, numbers.get(key))
    shape, parts = numbers.get("item_shape"), numbers.get("parts")
    if not isinstance(shape, list) or not isinstance(parts, dict):
        raise ValueError("its header lacks item_shape or parts")
    for size in shape:
        _check_count("item_shape", size)
    for name, part in parts.items():
        known = isinstance(part, dict) and isinstance(part.get("class"), str)
        if not known or not all(isinstance(part.get(k), dict) for k in ("params", "numbers")):
            raise ValueError(f"its part {name!r} lacks class, params or numbers")
        part["params"] = {k: _tuples(v) for k, v in part["params"].items()}
        _check_numbers(part["numbers"])


def _check_count(key: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise ValueError(f"its number {key!r} must be an integer >= 0; got {value!r}")


def _tuples(value: Any) -> Any:
    """JSON has lists only; parameters are tuples."""
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def find_class(name: str) -> type[GenerativeModel]:
    """The registered model class of a name.

    Raises:
        ValueError: There is none.
    """
    if name not in REGISTRY:
        near = difflib.get_close_matches(name, REGISTRY, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"unknown model class {name!r}; known: {', '.join(sorted(REGISTRY))}{hint}"
        )
    return REGISTRY[name]
