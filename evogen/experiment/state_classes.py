"""Which classes and functions a checkpoint may name."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np
import torch

#: Classes of these packages may be made from data: what algorithms, operators and models are made
#: of. Left out is what reads or writes files, draws figures or starts processes.
PACKAGES = (
    "evogen.algorithms",
    "evogen.experiment.budget",
    "evogen.experiment.evaluation",
    "evogen.experiment.evaluations",
    "evogen.experiment.history",
    "evogen.models",
    "evogen.multitask",
    "evogen.operators",
    "pymoo.algorithms",
    "pymoo.core",
    "pymoo.decomposition",
    "pymoo.indicators",
    "pymoo.operators",
    "pymoo.termination",
    "pymoo.util",
    "torch.nn",
    "torch.optim",
)
EXCLUDED = (
    "evogen.models.callbacks",
    "evogen.models.data",
    "evogen.models.serialization",
    "pymoo.core.parallelization",
    "pymoo.core.plot",
    "pymoo.util.display.progress",
    "pymoo.util.plotting",
    "pymoo.util.remote",
)

_ACTIVATIONS = (
    *("elu", "gelu", "leaky_relu", "mish", "relu", "relu6", "selu", "sigmoid", "silu"),
    *("softmax", "softplus", "tanh"),
)

#: Functions that individuals, operators and networks hold although nobody gave them: reductions of
#: constraint violations, and activations. Each of them only computes.
SAFE_FUNCTIONS: dict[str, Any] = {
    **{f"numpy.{n}": getattr(np, n) for n in ("sum", "mean", "max", "min", "median", "prod")},
    **{f"torch.{n}": getattr(torch, n) for n in ("tanh", "sigmoid", "relu", "sin", "cos", "exp")},
    **{f"torch.nn.functional.{n}": getattr(torch.nn.functional, n) for n in _ACTIVATIONS},
}

#: Functions at the top of these packages' modules may be named too: an algorithm that is built
#: while another runs holds comparisons and the like that nobody gave.
FUNCTION_PACKAGES = (
    "evogen.algorithms",
    "evogen.operators",
    "pymoo.algorithms",
    "pymoo.core",
    "pymoo.operators",
)

#: Builtin classes as values: factories of `defaultdict`, types of variables.
_BUILTIN = {f"builtins:{c.__name__}": c for c in (bool, dict, float, int, list, object, set, str)}

BIT_GENERATORS = {
    name: vars(np.random)[name] for name in ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")
}

TENSOR_DTYPES = {
    str(dtype): dtype
    for dtype in (
        torch.bool,
        torch.uint8,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.float64,
        torch.complex64,
        torch.complex128,
    )
}


def _is_within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def function_name(function: Any) -> str | None:
    """The name of a function that data may hold; None if it is not one of these."""
    for name, known in SAFE_FUNCTIONS.items():
        if known is function:
            return name
    for module in [m for m in sys.modules if _is_within(m, FUNCTION_PACKAGES)]:
        for name, value in list(vars(sys.modules[module]).items()):
            if value is function and _may_hold_functions(module) and _is_own(function):
                return f"{module}:{name}"
    return None


def find_function(name: str) -> Any:
    """The function of a name.

    Raises:
        KeyError: It is not allowed, or not there.
    """
    if name in SAFE_FUNCTIONS:
        return SAFE_FUNCTIONS[name]
    module, _, attribute = name.partition(":")
    if not _may_hold_functions(module):
        raise KeyError(name)
    found = _look_up(module, attribute)
    if not _is_own(found):
        raise KeyError(name)
    return found


def _look_up(module: str, path: str) -> Any:
    """What a module holds under a dotted path; KeyError if it is not there."""
    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = vars(found)[part]
    except Exception as error:
        # The name stands in a file that anybody may have written: importing may raise anything.
        raise KeyError(f"{module}:{path}") from error
    return found


def _may_hold_functions(module: str) -> bool:
    return _is_within(module, FUNCTION_PACKAGES) and not _is_within(module, EXCLUDED)


def _is_own(found: Any) -> bool:
    """Whether it is a function of pymoo's or ours, and not one that a module has imported."""
    origin = str(getattr(found, "__module__", "")).split(".")[0]
    return callable(found) and not isinstance(found, type) and origin in ("pymoo", "evogen")


class Classes:
    """The classes that data may name: those of `PACKAGES`, and those that were added."""

    def __init__(self) -> None:
        self._added: dict[str, type] = {}

    def add(self, cls: type) -> None:
        """Allow a class that the caller's own objects are made of."""
        self._added[f"{cls.__module__}:{cls.__qualname__}"] = cls

    def knows(self, cls: type) -> bool:
        """Whether data may name the class, and naming it finds this very class."""
        try:
            return self.find(f"{cls.__module__}:{cls.__qualname__}") is cls
        except KeyError:
            return False

    def find(self, name: str) -> type:
        """The class of a name `module:qualified name`.

        Raises:
            KeyError: It is not allowed, or not there.
        """
        if name in self._added:
            return self._added[name]
        if name in _BUILTIN:
            return _BUILTIN[name]
        if name == "numpy:ndarray":
            return np.ndarray
        module, _, path = name.partition(":")
        if not _is_within(module, PACKAGES) or _is_within(module, EXCLUDED):
            raise KeyError(name)
        found = _look_up(module, path)
        # The module's own class, not one that it has imported from elsewhere.
        if not isinstance(found, type) or (found.__module__, found.__qualname__) != (module, path):
            raise KeyError(name)
        return found
