"""The state of a running algorithm as data: a JSON graph of objects and one block of bytes.

`encode` walks everything that an object reaches: numbers, texts, containers, arrays, tensors,
random generators, and instances as (class, attributes). Whatever is met twice stays one object.
`evogen.experiment.state_reading.decode` turns it back and runs nothing that the data could choose:
instances are made without their constructors, their classes come from an allow-list or from the
objects that the caller holds, and functions, problems and whatever else cannot be written are never
in the data. They are taken from the caller's objects, at the place where they were found
(`Givens`).

Arrays and tensors that share memory share it again. What is not kept: memory shared between an
array and a tensor, and attributes of functions.
"""

from __future__ import annotations

import collections
import enum
import functools
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from pymoo.core.problem import Problem

from evogen.experiment.state_classes import BIT_GENERATORS, TENSOR_DTYPES, Classes, function_name

#: Written as they are.
PLAIN = (bool, int, float, str)

#: Kinds of numpy arrays whose elements are plain bytes.
PLAIN_KINDS = "biufcUSmM"

#: What watches a run but does not decide it: the caller's own objects are kept as they are there
#: when they cannot be stored.
WATCHERS = (
    "algorithm.callback",
    "algorithm.display",
    "algorithm.output",
    "algorithm.evaluator",
    "recorders",
)

Node = list[Any]


class StateError(ValueError):
    """An object that cannot be stored, or data that cannot be read back."""


@dataclass
class Graph:
    """What `encode` returns.

    Attributes:
        root: Value of the object given; a list of one number stands for that node.
        nodes: One list per object: its kind and its contents.
        shapes: Class and attribute names that instances share.
        data: Bytes of the arrays.
        paths: Where each node was found, e.g. `algorithm.mating.model`; not written to files.
    """

    root: Any
    nodes: list[Node]
    shapes: list[list[Any]]
    data: bytes
    paths: Callable[[int], str]


@dataclass
class Givens:
    """What a caller's objects reach before a run, each under the path where it was found first.

    Attributes:
        objects: All of it, by path.
        paths: The path of each, by `id`.
        opaque: Paths of what cannot be stored (functions, problems, open files, ...).
        classes: Which classes may be made from data.
    """

    objects: dict[str, Any] = field(default_factory=dict)
    paths: dict[int, str] = field(default_factory=dict)
    opaque: set[str] = field(default_factory=set)
    classes: Classes = field(default_factory=Classes)

    @classmethod
    def of(cls, roots: Mapping[str, Any]) -> tuple[Givens, Graph]:
        """The givens of named objects, and their graph with everything unstorable left out."""
        givens = cls()
        encoder = _Encoder(Givens(), is_survey=True)
        graph = encoder.run(dict(roots))
        for n, obj in enumerate(encoder.objects):
            kind = graph.nodes[n][0]
            if n == 0 or kind not in ("opaque", "object"):
                continue
            path = graph.paths(n)
            givens.objects[path] = obj
            givens.paths[id(obj)] = path
            if kind == "opaque":
                givens.opaque.add(path)
            else:
                givens.classes.add(type(obj))
        return givens, graph


def encode(roots: Mapping[str, Any], givens: Givens) -> Graph:
    """The state of named objects.

    Args:
        roots: Objects by name; names begin the paths in error messages.
        givens: What the caller held before the run.

    Raises:
        StateError: Something reached cannot be stored; its path is named.
    """
    return _Encoder(givens).run(dict(roots))


class _Encoder:
    """One walk over a graph of objects, breadth first: the path of an object is a shortest one."""

    def __init__(self, givens: Givens, *, is_survey: bool = False) -> None:
        self.givens = givens
        self.is_survey = is_survey
        self.objects: list[Any] = []
        self.numbers: dict[int, int] = {}
        self.origins: list[tuple[int, str]] = []
        self.shapes: dict[tuple[str, tuple[str, ...]], int] = {}
        self.storages: dict[int, list[int]] = {}
        self.chunks: list[bytes] = []
        self.size = 0

    def run(self, roots: dict[str, Any]) -> Graph:
        root = self.value(roots, -1, "")
        nodes: list[Node] = []
        while len(nodes) < len(self.objects):
            n = len(nodes)
            nodes.append(self.node(n, self.objects[n]))
        shapes = [[name, list(attributes)] for name, attributes in self.shapes]
        return Graph(root, nodes, shapes, b"".join(self.chunks), self.path)

    def path(self, n: int) -> str:
        """Where node n was found."""
        parts = []
        while n >= 0:
            n, suffix = self.origins[n]
            parts.append(suffix)
        return "".join(reversed(parts)).removeprefix(".")

    def value(self, obj: Any, parent: int, suffix: str) -> Any:
        """A plain value, or a list with the number of its node."""
        if obj is None or type(obj) in PLAIN:
            return obj
        number = self.numbers.get(id(obj))
        if number is None:
            number = self.numbers[id(obj)] = len(self.objects)
            self.objects.append(obj)  # also keeps it alive: no other object gets its id
            self.origins.append((parent, suffix))
        return [number]

    def node(self, n: int, obj: Any) -> Node:
        given = self.givens.paths.get(id(obj))
        if given is not None and given in self.givens.opaque:
            if not _is_restorable_by_path(obj, given):
                raise self.refusal(n, obj)
            return ["given", given]
        if is_function(obj):
            name = function_name(obj)
            return self.opaque(n, obj) if name is None else ["function", name]
        if isinstance(obj, (Problem, types.ModuleType)):
            return self.opaque(n, obj)
        writer = _WRITERS.get(type(obj))
        if writer is not None:
            return writer(self, n, obj)
        for base, general in _GENERAL:
            if isinstance(obj, base):
                return general(self, n, obj)
        return self.instance(n, obj, given)

    def opaque(self, n: int, obj: Any) -> Node:
        if self.is_survey:
            return ["opaque"]
        raise self.refusal(n, obj)

    def refusal(self, n: int, obj: Any) -> StateError:
        kind = type(obj)
        name = obj.__qualname__ if is_function(obj) else None
        what = f"the function {name}" if name else f"a {kind.__module__}.{kind.__qualname__}"
        return StateError(f"{self.path(n)} is {what}, which a checkpoint cannot hold")

    def bytes(self, raw: bytes) -> int:
        """Keep bytes; where they begin."""
        offset = self.size
        self.chunks.append(raw)
        self.size += len(raw)
        return offset

    def items(self, n: int, items: Any) -> list[Any]:
        return [self.value(item, n, f"[{i}]") for i, item in enumerate(items)]

    def pairs(self, n: int, mapping: Mapping[Any, Any]) -> list[Any]:
        flat = []
        for i, (key, item) in enumerate(mapping.items()):
            is_text = isinstance(key, str) and n != 0
            flat.append(self.value(key, n, f".keys()[{i}]"))
            suffix = f".{key}" if n == 0 else f"[{key!r}]" if is_text else f".values()[{i}]"
            flat.append(self.value(item, n, suffix))
        return flat

    def attributes(self, n: int, found: dict[str, Any]) -> list[Any]:
        return [self.value(item, n, f".{name}") for name, item in found.items()]

    def shape(self, cls: type, names: Iterator[str] | Any) -> int:
        key = (class_name(cls), tuple(names))
        return self.shapes.setdefault(key, len(self.shapes))

    def instance(self, n: int, obj: Any, given: str | None) -> Node:
        cls = type(obj)
        if not is_plain_class(cls) or not (
            self.is_survey or given is not None or self.givens.classes.knows(cls)
        ):
            return self.opaque(n, obj)
        found = attributes_of(obj)
        values = self.attributes(n, found)
        return ["object", self.shape(cls, found), given, *values]

    def list_like(self, n: int, items: list[Any]) -> Node:
        cls = type(items)
        if not self.givens.classes.knows(cls):
            return self.opaque(n, items)
        found = attributes_of(items)
        shape = self.shape(cls, found)
        return ["list_like", shape, self.attributes(n, found), self.items(n, items)]

    def array(self, n: int, a: np.ndarray) -> Node:
        cls = type(a)
        if cls is not np.ndarray and not self.givens.classes.knows(cls):
            return self.opaque(n, a)
        found = attributes_of(a) if cls is not np.ndarray else {}
        shape = self.shape(cls, found)
        extra = self.attributes(n, found)
        head = [shape, list(a.shape), extra]
        flags = [list(a.strides), a.flags.writeable]
        root = memory_root(a)
        if root is not None:
            # A view: what is written to one is seen in the other.
            offset = address(a) - address(root)
            return ["view", *head, a.dtype.str, *flags, self.value(root, n, ".base"), offset]
        if a.dtype == object:
            return ["objects", *head, *flags, self.items(n, np.asarray(a).ravel("K").tolist())]
        if a.dtype.kind not in PLAIN_KINDS or a.dtype.names is not None:
            return self.opaque(n, a)
        order = memory_order(a.strides)
        raw = np.asarray(a).transpose(order).tobytes()
        return ["array", *head, a.dtype.str, order, self.bytes(raw), a.flags.writeable]

    def scalar(self, n: int, number: np.generic) -> Node:
        if number.dtype.kind not in PLAIN_KINDS:
            return self.opaque(n, number)
        return ["scalar", number.dtype.str, self.bytes(number.tobytes())]

    def tensor(self, n: int, t: torch.Tensor) -> Node:
        is_plain = type(t) in (torch.Tensor, torch.nn.Parameter) and t.layout is torch.strided
        if not is_plain or not t.is_leaf or str(t.dtype) not in TENSOR_DTYPES:
            return self.opaque(n, t)
        storage = t.untyped_storage()
        key = storage.data_ptr()
        if key not in self.storages:
            # Tensors often share their memory: all parameters of a network in one flat tensor.
            raw = torch.empty(0, dtype=torch.uint8, device=t.device).set_(storage).cpu().numpy()
            self.storages[key] = [self.bytes(raw.tobytes()), storage.nbytes()]
        grad = self.value(t.grad, n, ".grad")
        is_parameter = type(t) is torch.nn.Parameter
        where = [t.storage_offset(), *self.storages[key], str(t.device)]
        what = [list(t.shape), list(t.stride()), str(t.dtype), t.requires_grad, is_parameter]
        return ["tensor", *what, *where, grad]

    def generator(self, n: int, rng: np.random.Generator) -> Node:
        bits = rng.bit_generator
        name = type(bits).__name__
        sequence = bits.seed_seq
        if BIT_GENERATORS.get(name) is not type(bits):
            return self.opaque(n, rng)
        seed = None
        if isinstance(sequence, np.random.SeedSequence):
            # Children spawned later depend on it.
            key = [int(k) for k in sequence.spawn_key]
            entropy = sequence.entropy
            if isinstance(entropy, np.ndarray):
                entropy = [int(e) for e in entropy]
            entropy = self.value(entropy, n, ".entropy")
            seed = [entropy, key, sequence.pool_size, sequence.n_children_spawned]
        return ["rng", name, self.value(bits.state, n, ".state"), seed]

    def torch_generator(self, n: int, rng: torch.Generator) -> Node:
        raw = rng.get_state().numpy().tobytes()
        return ["torch_rng", str(rng.device), self.bytes(raw), len(raw)]

    def bound(self, n: int, method: types.MethodType) -> Node:
        owner, name = method.__self__, method.__func__.__name__
        if isinstance(owner, type) or method_of(type(owner), name) is not method.__func__:
            return self.opaque(n, method)
        return ["method", self.value(owner, n, ".__self__"), name]

    def class_(self, n: int, cls: type) -> Node:
        if self.is_survey or not self.givens.classes.knows(cls):
            return self.opaque(n, cls)
        return ["class", class_name(cls)]


def is_at_or_below(path: str, tops: Iterable[str]) -> bool:
    """Whether a path leads to one of some objects, or to something that these hold."""
    return any(path == top or path.startswith((f"{top}.", f"{top}[")) for top in tops)


def _is_restorable_by_path(obj: Any, path: str) -> bool:
    """Whether the caller's own object may stand in: it holds nothing that a run changes, or it is
    one of those that watch a run."""
    stateless = (types.ModuleType, types.MethodType, type, Problem)
    is_stateless = isinstance(obj, stateless) or is_function(obj)
    return is_stateless or is_at_or_below(path, WATCHERS)


def is_function(obj: Any) -> bool:
    """Whether an object is a function of any kind: of Python, builtin, or compiled."""
    if not callable(obj) or isinstance(obj, type | types.MethodType):
        return False
    return all(isinstance(getattr(obj, n, None), str) for n in ("__name__", "__qualname__"))


def class_name(cls: type) -> str:
    """`module:qualified name`."""
    return f"{cls.__module__}:{cls.__qualname__}"


def is_plain_class(cls: type) -> bool:
    """Whether attributes are all there is to an instance: no state of its own in C."""
    try:
        object.__new__(cls)
    except TypeError:
        return False
    return hasattr(cls, "__dict__") and cls.__flags__ & (1 << 9) != 0  # a class made in Python


def _slots(cls: type) -> list[str]:
    names: list[str] = []
    for base in cls.__mro__:
        slots = base.__dict__.get("__slots__", ())
        names += [slots] if isinstance(slots, str) else list(slots)
    return [name for name in names if name not in ("__dict__", "__weakref__")]


def attributes_of(obj: Any) -> dict[str, Any]:
    """Attributes by name, of `__dict__` and `__slots__`."""
    found = dict(getattr(obj, "__dict__", {}))
    for name in _slots(type(obj)):
        try:
            found[name] = object.__getattribute__(obj, name)
        except AttributeError:
            continue
    return found


def memory_order(strides: tuple[int, ...]) -> list[int]:
    """The axes from the slowest to the fastest in memory."""
    return sorted(range(len(strides)), key=lambda axis: -abs(strides[axis]))


def memory_root(a: np.ndarray) -> np.ndarray | None:
    """The array that owns the memory of a view; None for one that owns its own, or whose memory is
    not numpy's."""
    root = a
    while isinstance(root.base, np.ndarray):
        root = root.base
    is_dense = root.flags.owndata and root.size and memory_is_dense(root)
    return root if root is not a and a.size and is_dense else None


def memory_is_dense(a: np.ndarray) -> bool:
    """Whether an array's elements fill its memory."""
    order = memory_order(a.strides)
    return bool(np.asarray(a).transpose(order).flags.c_contiguous)


def address(a: np.ndarray) -> int:
    """Where the first element of an array is."""
    return int(a.__array_interface__["data"][0])


def method_of(cls: type, name: str) -> Any:
    """The function that a class calls by this name; None if it is no function of Python."""
    found = next((c.__dict__[name] for c in cls.__mro__ if name in c.__dict__), None)
    return found if isinstance(found, types.FunctionType) else None


_WRITERS: dict[type, Callable[[_Encoder, int, Any], Node]] = {
    list: lambda e, n, x: ["list", e.items(n, x)],
    tuple: lambda e, n, x: ["tuple", e.items(n, x)],
    set: lambda e, n, x: ["set", e.items(n, x)],
    frozenset: lambda e, n, x: ["frozenset", e.items(n, x)],
    dict: lambda e, n, x: ["dict", e.pairs(n, x)],
    collections.OrderedDict: lambda e, n, x: ["ordered", e.pairs(n, x)],
    collections.defaultdict: lambda e, n, x: [
        "default",
        e.value(x.default_factory, n, ".default_factory"),
        e.pairs(n, x),
    ],
    collections.deque: lambda e, n, x: ["deque", e.items(n, x), x.maxlen],
    bytes: lambda e, n, x: ["bytes", e.bytes(x), len(x)],
    complex: lambda e, n, x: ["complex", x.real, x.imag],
    range: lambda e, n, x: ["range", x.start, x.stop, x.step],
    slice: lambda e, n, x: ["slice", e.items(n, (x.start, x.stop, x.step))],
    functools.partial: lambda e, n, x: [
        "partial",
        e.value(x.func, n, ".func"),
        e.items(n, x.args),
        e.pairs(n, x.keywords),
    ],
    types.MethodType: lambda e, n, x: e.bound(n, x),
    np.random.Generator: lambda e, n, x: e.generator(n, x),
    torch.Generator: lambda e, n, x: e.torch_generator(n, x),
    torch.Size: lambda e, n, x: ["torch_size", list(x)],
    torch.device: lambda e, n, x: ["torch_device", str(x)],
    torch.dtype: lambda e, n, x: ["torch_dtype", str(x)],
    type(Ellipsis): lambda e, n, x: ["ellipsis"],
}

#: For subclasses, tried in this order.
_GENERAL: tuple[tuple[Any, Callable[[_Encoder, int, Any], Node]], ...] = (
    (np.ndarray, lambda e, n, x: e.array(n, x)),
    (np.generic, lambda e, n, x: e.scalar(n, x)),
    (np.dtype, lambda e, n, x: ["dtype", x.str] if x.names is None else e.opaque(n, x)),
    (torch.Tensor, lambda e, n, x: e.tensor(n, x)),
    (enum.Enum, lambda e, n, x: ["enum", e.value(type(x), n, ".__class__"), x.name]),
    (type, lambda e, n, x: e.class_(n, x)),
    (list, lambda e, n, x: e.list_like(n, x)),
    # Subclasses of other containers keep their items outside their attributes.
    ((tuple, dict, set, frozenset, str, int, float), lambda e, n, x: e.opaque(n, x)),
)
