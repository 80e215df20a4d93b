"""Reading back what `evogen.experiment.state.encode` wrote."""

from __future__ import annotations

import collections
import enum
import functools
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from evogen.experiment.state import (
    PLAIN_KINDS,
    Givens,
    Graph,
    StateError,
    class_name,
    is_plain_class,
    memory_order,
    method_of,
)
from evogen.experiment.state_classes import BIT_GENERATORS, TENSOR_DTYPES, find_function


def decode(graph: Graph, givens: Givens) -> dict[str, Any]:
    """The named objects that a graph holds.

    Objects that the caller held at the same place are given the stored attributes; all others are
    made anew.

    Args:
        graph: From `encode`, its `paths` are not needed.
        givens: What the caller holds now.

    Raises:
        StateError: The graph is damaged, or names a class or an object that is not allowed or
            not there.
    """
    try:
        return _Decoder(graph, givens).run()
    except StateError:
        raise
    except (
        AttributeError,
        ArithmeticError,
        LookupError,
        MemoryError,
        RecursionError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise StateError(f"damaged: {type(error).__name__}: {error}") from error


#: Made empty, filled when everything is there.
_EMPTY: dict[str, Callable[[], Any]] = {
    "list": list,
    "set": set,
    "dict": dict,
    "ordered": collections.OrderedDict,
}


_PLAIN_SHELLS = ("object", "objects", "array", "view", "list", "list_like", "deque")
_HASHING_SHELLS = ("dict", "ordered", "default", "set")


class _Decoder:
    """Makes all objects first, then fills them: objects may reach each other in circles."""

    def __init__(self, graph: Graph, givens: Givens) -> None:
        self.graph = graph
        self.givens = givens
        self.made: dict[int, Any] = {}
        self.pending: set[int] = set()
        self.storages: dict[tuple[int, int, str], torch.UntypedStorage] = {}

    def run(self) -> dict[str, Any]:
        nodes = self.graph.nodes
        for n, node in enumerate(nodes):
            shell = self._shell(node)
            if shell is not None:
                self.made[n] = shell
        for n in range(len(nodes)):
            self.made_object(n)
        # Containers that hash their items come last: a hash may depend on attributes.
        for kinds in (_PLAIN_SHELLS, _HASHING_SHELLS):
            for n, node in enumerate(nodes):
                if node[0] in kinds:
                    getattr(self, f"_fill_{node[0]}")(self.made[n], node)
        root = self.value(self.graph.root)
        if type(root) is not dict:
            raise StateError("damaged: its root is no dictionary")
        return root

    def value(self, written: Any) -> Any:
        if not isinstance(written, list):
            return written
        (n,) = written
        return self.made_object(n)

    def made_object(self, n: int) -> Any:
        if n in self.made:
            return self.made[n]
        if not 0 <= n < len(self.graph.nodes) or n in self.pending:
            raise StateError(f"damaged: object {n}")
        self.pending.add(n)
        node = self.graph.nodes[n]
        maker = _MAKERS.get(node[0])
        if maker is None:
            raise StateError(f"damaged: an object of kind {node[0]!r}")
        self.made[n] = maker(self, *node[1:])
        self.pending.discard(n)
        return self.made[n]

    def items(self, written: list[Any]) -> list[Any]:
        return [self.value(w) for w in written]

    def raw(self, offset: int, n_bytes: int) -> bytes:
        end = offset + n_bytes
        if offset < 0 or n_bytes < 0 or end > len(self.graph.data):
            raise StateError("damaged: bytes are missing")
        return self.graph.data[offset:end]

    # What can be made before its contents are.

    def _shell(self, node: list[Any]) -> Any:
        kind = node[0]
        if kind in _EMPTY:
            return _EMPTY[kind]()
        if kind == "deque":
            return collections.deque(maxlen=node[2])
        if kind == "default":
            return collections.defaultdict()
        if kind == "list_like":
            cls = self._class(node[1])
            if not issubclass(cls, list):
                raise StateError(f"damaged: {class_name(cls)} is no list")
            return list.__new__(cls)
        if kind == "object":
            return self._instance(self._class(node[1]), node[2])
        if kind == "objects":
            return self._view(self._empty(node[2], node[4], len(node[6])), node[1])
        if kind == "array":
            return self._view(self._numbers(*node[2:]), node[1])
        return None

    def _class(self, shape: int) -> type:
        name = self.graph.shapes[shape][0]
        try:
            return self.givens.classes.find(name)
        except KeyError:
            raise StateError(f"it names the class {name!r}, which is not allowed here") from None

    def _instance(self, cls: type, given: str | None) -> Any:
        if given is None:
            if not is_plain_class(cls):
                raise StateError(f"it asks for a bare {class_name(cls)}")
            return object.__new__(cls)
        obj = self.givens.objects.get(given)
        if type(obj) is not cls or given in self.givens.opaque:
            there = "nothing" if obj is None else class_name(type(obj))
            raise StateError(f"{given} is {there}, in the checkpoint {class_name(cls)}")
        return obj

    def _empty(self, size: list[int], strides: list[int], n_written: int) -> np.ndarray:
        """An array of objects, laid out in memory as it was."""
        order = memory_order(tuple(strides))
        inner = [size[axis] for axis in order]
        if int(np.prod(size, dtype=object)) != n_written:
            raise StateError(f"damaged: an array of {size} objects")
        a = np.empty(inner, dtype=object)
        return a.transpose(np.argsort(order)) if order else a

    def _view(self, a: np.ndarray, shape: int) -> np.ndarray:
        cls = self._class(shape)
        if not issubclass(cls, np.ndarray):
            raise StateError(f"damaged: {class_name(cls)} is no array")
        return a if cls is np.ndarray else a.view(cls)

    def _numbers(
        self, size: list[int], extra: Any, dtype: str, order: list[int], offset: int, free: bool
    ) -> np.ndarray:
        kind = np.dtype(dtype)
        if kind.kind not in PLAIN_KINDS or kind.names is not None:
            raise StateError(f"damaged: an array of {dtype}")
        inner = [size[axis] for axis in order]
        count = int(np.prod(size, dtype=object)) if size else 1
        raw = self.raw(offset, count * kind.itemsize)
        # An array made by numpy: its memory is aligned and its own.
        a = np.empty(inner, dtype=kind)
        if count:
            a[...] = np.frombuffer(raw, dtype=kind).reshape(inner)
        a = a.transpose(np.argsort(order)) if order else a
        a.flags.writeable = bool(free)
        return a

    # Filling.

    def _attributes(self, obj: Any, names: list[str], written: list[Any]) -> None:
        values = dict(zip(names, self.items(written), strict=True))
        if any(not isinstance(n, str) or n.startswith("__") for n in values):
            raise StateError("damaged: an attribute's name")
        own = vars(obj) if hasattr(obj, "__dict__") else {}
        slots = {name for name in values if name not in own and is_slot(type(obj), name)}
        own.clear()
        for name, value in values.items():
            if name in slots:
                object.__setattr__(obj, name, value)
            else:
                own[name] = value

    def _fill_object(self, obj: Any, node: list[Any]) -> None:
        self._attributes(obj, self.graph.shapes[node[1]][1], node[3:])

    def _fill_objects(self, obj: np.ndarray, node: list[Any]) -> None:
        flat = np.asarray(obj).ravel("K")
        for i, value in enumerate(self.items(node[6])):
            flat[i] = value
        if not np.shares_memory(flat, obj) and obj.size:
            raise StateError("damaged: the layout of an array")
        obj.flags.writeable = bool(node[5])
        self._fill_array(obj, node)

    def _fill_array(self, obj: np.ndarray, node: list[Any]) -> None:
        if type(obj) is not np.ndarray:
            self._attributes(obj, self.graph.shapes[node[1]][1], node[3])

    _fill_view = _fill_array

    def _fill_list(self, obj: list[Any], node: list[Any]) -> None:
        obj.extend(self.items(node[1]))

    def _fill_list_like(self, obj: list[Any], node: list[Any]) -> None:
        list.extend(obj, self.items(node[3]))
        self._attributes(obj, self.graph.shapes[node[1]][1], node[2])

    def _fill_deque(self, obj: collections.deque[Any], node: list[Any]) -> None:
        obj.extend(self.items(node[1]))

    def _fill_set(self, obj: set[Any], node: list[Any]) -> None:
        obj.update(self.items(node[1]))

    def _fill_dict(self, obj: dict[Any, Any], node: list[Any]) -> None:
        values = self.items(node[1])
        obj.update(zip(values[::2], values[1::2], strict=True))

    _fill_ordered = _fill_dict

    def _fill_default(self, obj: Any, node: list[Any]) -> None:
        factory = self.value(node[1])
        if factory is not None and not isinstance(factory, type):
            raise StateError("damaged: the factory of a defaultdict")
        obj.default_factory = factory
        self._fill_dict(obj, [None, node[2]])

    # What needs its contents first.

    def _given(self, path: str) -> Any:
        if path not in self.givens.opaque:
            raise StateError(f"there is nothing at {path} to be taken over")
        return self.givens.objects[path]

    def _array_view(
        self,
        shape: int,
        size: list[int],
        extra: Any,
        dtype: str,
        strides: list[int],
        free: bool,
        root: Any,
        offset: int,
    ) -> np.ndarray:
        base = self.value(root)
        if not isinstance(base, np.ndarray):
            raise StateError("damaged: a view of no array")
        flat = np.asarray(base).ravel("K")
        kind = np.dtype(dtype)
        is_object = kind.kind == "O"
        if is_object != (base.dtype.kind == "O") or not (is_object or kind.kind in PLAIN_KINDS):
            raise StateError("damaged: a view of another type")
        if not is_object:
            # numpy checks that it is within the memory.
            a = np.ndarray(size, kind, flat, offset, strides)
        else:
            ends = [(n - 1) * step for n, step in zip(size, strides, strict=True)]
            low = offset + sum(e for e in ends if e < 0)
            high = offset + sum(e for e in ends if e > 0)
            aligned = all(step % kind.itemsize == 0 for step in (offset, *strides))
            if low < 0 or high >= flat.nbytes or not aligned or min(size) < 1:
                raise StateError("damaged: a view outside of its array")
            start = flat[offset // kind.itemsize :]
            a = np.lib.stride_tricks.as_strided(start, size, strides)
        a = self._view(a, shape)
        a.flags.writeable = bool(free) and base.flags.writeable
        return a

    def _tensor(
        self,
        size: list[int],
        strides: list[int],
        dtype: str,
        needs_grad: bool,
        is_parameter: bool,
        start: int,
        offset: int,
        n_bytes: int,
        device: str,
        grad: Any,
    ) -> torch.Tensor:
        kind = TENSOR_DTYPES[dtype]
        place = (offset, n_bytes, device)
        if place not in self.storages:
            written = bytearray(self.raw(offset, n_bytes))
            raw = torch.empty(n_bytes, dtype=torch.uint8)
            if n_bytes:
                raw.copy_(torch.frombuffer(written, dtype=torch.uint8))
            self.storages[place] = raw.to(device).untyped_storage()
        storage = self.storages[place]
        last = start + sum((n - 1) * step for n, step in zip(size, strides, strict=True))
        item = torch.empty(0, dtype=kind).element_size()
        if min([start, *size, *strides]) < 0 or (
            min(size, default=1) > 0 and (last + 1) * item > storage.nbytes()
        ):
            raise StateError("damaged: a tensor outside of its memory")
        t = torch.empty(0, dtype=kind, device=device).set_(storage, start, size, strides)
        if is_parameter:
            t = torch.nn.Parameter(t, requires_grad=bool(needs_grad))
        else:
            t.requires_grad_(bool(needs_grad))
        t.grad = self.value(grad)
        return t

    def _rng(self, name: str, state: Any, seed: list[Any] | None) -> np.random.Generator:
        cls = BIT_GENERATORS[name]
        sequence = np.random.SeedSequence(0)
        if seed is not None:
            entropy, key, pool_size, n_children = seed
            if not 4 <= pool_size <= 1024:
                raise StateError("damaged: a seed")
            if isinstance(entropy, list):
                (n,) = entropy
                entropy = list(self.written_list(n))
            sequence = np.random.SeedSequence(
                entropy, spawn_key=tuple(key), pool_size=pool_size, n_children_spawned=n_children
            )
        bits = cls(sequence)
        bits.state = self._plain_dict(state)
        return np.random.Generator(bits)

    def written_list(self, n: int) -> list[Any]:
        """The items of a list that is not filled yet."""
        node = self.graph.nodes[n]
        if node[0] not in ("list", "tuple"):
            raise StateError("damaged: a seed")
        return self.items(node[1])

    def _plain_dict(self, written: Any) -> Any:
        """A dictionary of numbers, arrays and such dictionaries, before it is filled."""
        if not isinstance(written, list):
            return written
        (n,) = written
        node = self.graph.nodes[n]
        if node[0] != "dict":
            return self.made_object(n)
        flat = node[1]
        return {k: self._plain_dict(v) for k, v in zip(flat[::2], flat[1::2], strict=True)}

    def _torch_rng(self, device: str, offset: int, size: int) -> torch.Generator:
        rng = torch.Generator(device)
        rng.set_state(torch.frombuffer(bytearray(self.raw(offset, size)), dtype=torch.uint8))
        return rng

    def _method(self, owner: Any, name: str) -> Any:
        obj = self.value(owner)
        function = None if name.startswith("__") else method_of(type(obj), name)
        if function is None:
            raise StateError(f"damaged: a method {name!r}")
        return types.MethodType(function, obj)

    def _enum(self, written: Any, name: str) -> Any:
        cls = self.value(written)
        if not (isinstance(cls, type) and issubclass(cls, enum.Enum)):
            raise StateError("damaged: an enumeration")
        return cls[name]

    def _partial(self, function: Any, args: list[Any], pairs: list[Any]) -> Any:
        values = self.items(pairs)
        keywords = dict(zip(values[::2], values[1::2], strict=True))
        return functools.partial(self.value(function), *self.items(args), **keywords)

    def _named_class(self, name: str) -> type:
        try:
            return self.givens.classes.find(name)
        except KeyError:
            raise StateError(f"it names the class {name!r}, which is not allowed here") from None

    def _scalar(self, dtype: str, offset: int) -> Any:
        kind = np.dtype(dtype)
        if kind.kind not in PLAIN_KINDS or kind.names is not None:
            raise StateError(f"damaged: a number of type {dtype}")
        return np.frombuffer(self.raw(offset, kind.itemsize), dtype=kind)[0]

    def _dtype(self, name: str) -> np.dtype:
        return np.dtype(str(name))


def is_slot(cls: type, name: str) -> bool:
    """Whether an attribute is kept in a slot of the class."""
    return any(isinstance(vars(c).get(name), types.MemberDescriptorType) for c in cls.__mro__)


_MAKERS: dict[str, Callable[..., Any]] = {
    "tuple": lambda d, written: tuple(d.items(written)),
    "frozenset": lambda d, written: frozenset(d.items(written)),
    "given": _Decoder._given,
    "function": lambda d, name: find_function(name),
    "bytes": lambda d, offset, size: d.raw(offset, size),
    "complex": lambda d, real, imag: complex(real, imag),
    "range": lambda d, start, stop, step: range(start, stop, step),
    "slice": lambda d, written: slice(*d.items(written)),
    "ellipsis": lambda d: Ellipsis,
    "scalar": _Decoder._scalar,
    "dtype": _Decoder._dtype,
    "view": _Decoder._array_view,
    "tensor": _Decoder._tensor,
    "rng": _Decoder._rng,
    "torch_rng": _Decoder._torch_rng,
    "torch_size": lambda d, size: torch.Size(size),
    "torch_device": lambda d, name: torch.device(name),
    "torch_dtype": lambda d, name: TENSOR_DTYPES[name],
    "method": _Decoder._method,
    "partial": _Decoder._partial,
    "enum": _Decoder._enum,
    "class": _Decoder._named_class,
}
