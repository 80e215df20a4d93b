"""The graph of objects that a checkpoint holds: what comes back, and what is refused."""

import collections
import enum
import functools
import json
import os
import random
import types
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from pymoo.core.individual import Individual
from pymoo.core.population import Population
from pymoo.problems.multi import ZDT1

from evogen.experiment.state import Givens, Graph, StateError, encode
from evogen.experiment.state_reading import decode
from evogen.models.training import Weights
from evogen.operators import Elites


class Holder:
    """Stands for an algorithm: the caller has one, and so has the file."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)

    def method(self):
        return "called"


class Slotted:
    __slots__ = ("a", "b")


@dataclass(frozen=True)
class Frozen:
    a: int
    b: list = field(default_factory=list)


class Color(enum.Enum):
    RED = 1


def a_function():
    return 1


def back(make, change=lambda holder: None):
    """What a fresh holder becomes: another one is changed, written, and read into it."""
    first = make()
    givens, _ = Givens.of({"root": first})
    change(first)
    graph = encode({"root": first}, givens)
    written = json.loads(json.dumps([graph.root, graph.nodes, graph.shapes]))
    second = make()
    fresh, _ = Givens.of({"root": second})
    restored = decode(Graph(*written, graph.data, str), fresh)["root"]
    assert restored is second
    return first, second


VALUES = {
    "plain": [None, True, 3, -(2**80), 0.1, -0.0, float("inf"), "text \N{SNOWMAN}", 1 + 2j, b"\0x"],
    "containers": {
        1: [2, (3,)],
        (4, "5"): {6},
        None: frozenset({7}),
        0.5: collections.deque([8], 9),
    },
    "ordered": collections.OrderedDict(b=1, a=2),
    "default": collections.defaultdict(list, {"a": [1]}),
    "others": [
        range(2, 9, 3),
        slice(1, None, 2),
        ...,
        np.float32(0.1),
        np.int64(7),
        np.dtype("f4"),
    ],
    "texts": np.array(["a", "bcd"]),
    "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "empty": np.empty((0, 3)),
    "zero-dimensional": np.array(2.5),
    "big-endian": np.array([1, 2], dtype=">i4"),
    "torch": [torch.Size([2]), torch.device("cpu"), torch.float64],
    "enum": Color.RED,
    "reduction": np.sum,
}


def same(a, b):
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        assert a.strides == b.strides
        assert a.tobytes() == b.tobytes()
    else:
        assert repr(a) == repr(b)


@pytest.mark.parametrize("name", VALUES)
def test_a_value_comes_back(name):
    make = lambda: Holder(value=Color.RED if name == "enum" else None)  # noqa: E731
    first, second = back(make, lambda h: setattr(h, "value", VALUES[name]))
    same(first.value, second.value)


def test_what_is_one_object_stays_one_and_circles_close():
    def change(holder):
        holder.a = holder.b = [np.arange(3)]
        holder.a.append(holder)
        holder.c = holder.a[0]

    _, second = back(Holder, change)
    assert second.a is second.b
    assert second.a[0] is second.c
    assert second.a[1] is second


def test_arrays_that_share_memory_share_it_again():
    def change(holder):
        holder.whole = np.arange(24.0).reshape(4, 6)
        holder.part = holder.whole[1:, ::-2].T
        holder.objects = np.array([Individual() for _ in range(4)], dtype=object).view(Population)
        holder.some = holder.objects[1:3]

    first, second = back(Holder, change)
    assert np.array_equal(first.part, second.part)
    assert first.part.strides == second.part.strides
    second.part[...] = -1
    assert (second.whole == -1).sum() == 9
    assert isinstance(second.some, Population)
    second.some[0] = second.objects[3]
    assert second.objects[1] is second.objects[3]


def test_parameters_of_a_network_stay_views_of_one_tensor():
    def change(holder):
        holder.weights = Weights(torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh()))

    first, second = back(Holder, change)
    x = torch.ones(1, 2)
    assert torch.equal(first.weights.module(x), second.weights.module(x))
    second.weights.flat.zero_()
    assert not second.weights.module[0].weight.any()
    assert second.weights.module[0].weight.requires_grad
    assert second.weights.module[0].weight.grad.data_ptr() == second.weights.grad.data_ptr()


def test_generators_go_on_where_they_were():
    def change(holder):
        holder.numpy = np.random.default_rng(3)
        holder.numpy.random(5)
        holder.numpy.spawn(2)
        holder.same = holder.numpy
        holder.mt = np.random.Generator(np.random.MT19937(1))
        holder.mt.random(3)
        holder.torch = torch.Generator().manual_seed(4)
        torch.rand(3, generator=holder.torch)

    first, second = back(Holder, change)
    assert second.same is second.numpy
    assert np.array_equal(first.numpy.random(4), second.numpy.random(4))
    assert first.numpy.spawn(1)[0].random() == second.numpy.spawn(1)[0].random()
    assert np.array_equal(first.mt.random(4), second.mt.random(4))
    assert torch.equal(torch.rand(4, generator=first.torch), torch.rand(4, generator=second.torch))


def test_instances_keep_attributes_slots_and_methods():
    def make():
        slotted = Slotted()
        slotted.a = 1
        return Holder(slotted=slotted, frozen=Frozen(1), bound=None)

    def change(holder):
        holder.slotted.b = 2
        holder.frozen = Frozen(5, [holder.frozen])
        holder.bound = holder.method
        holder.partial = functools.partial(holder.method)

    _, second = back(make, change)
    assert (second.slotted.a, second.slotted.b) == (1, 2)
    assert second.frozen.b == [Frozen(1)]
    assert second.bound.__self__ is second
    assert second.partial() == "called"


def test_functions_and_problems_are_the_callers_own():
    made = []

    def make():
        holder = Holder(function=lambda: 1, problem=ZDT1(n_var=3), other=[a_function])
        made.append(holder.__dict__.copy())
        return holder

    def change(holder):
        holder.again = [holder.function, holder.problem]
        holder.problem.n_var = 99
        del holder.other

    _, second = back(make, change)
    assert second.again == [made[1]["function"], made[1]["problem"]]
    assert second.problem.n_var == 3
    assert not hasattr(second, "other")


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (lambda: 1, "the function <lambda>"),
        (os.system, "the function system"),
        ((i for i in ()), "generator"),
        (random.Random(1), "random.Random"),
        (Frozen(1), "Frozen"),
        (types.SimpleNamespace(), "SimpleNamespace"),
        (np.zeros(2, dtype=[("a", "f8")]), "numpy.ndarray"),
        (torch.ones(2, requires_grad=True) * 2, "torch.Tensor"),
        (ZDT1(n_var=3), "ZDT1"),
        (os, "module"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_cannot_be_written_is_named(bad, named):
    holder = Holder(parts=[{}])
    givens, _ = Givens.of({"algorithm": holder})
    holder.parts[0]["key"] = bad
    with pytest.raises(StateError) as caught:
        encode({"algorithm": holder}, givens)
    text = str(caught.value)
    assert text.startswith("algorithm.parts[0]['key'] is ")
    assert named in text


@pytest.mark.parametrize("name", ["rng", "callback_rng", "evaluators"])
def test_a_given_object_that_a_run_changes_unseen_is_refused(name):
    holder = Holder(**{name: random.Random(1)})
    givens, _ = Givens.of({"algorithm": holder})
    with pytest.raises(StateError, match=rf"algorithm\.{name} is a random\.Random"):
        encode({"algorithm": holder}, givens)


def test_what_watches_a_run_may_hold_what_cannot_be_stored():
    holder = Holder(callback=Holder(rng=random.Random(1)), evaluator=random.Random(2))
    givens, _ = Givens.of({"algorithm": holder})
    graph = encode({"algorithm": holder}, givens)
    given = [node[1] for node in graph.nodes if node[0] == "given"]
    assert given == ["algorithm.evaluator", "algorithm.callback.rng"]


# -- hostile data ------------------------------------------------------------------------------


def hostile(*nodes, shapes=(), data=b"", root=None):
    """Decode handmade nodes; the first is the root's dictionary."""
    holder = Holder(callback=a_function, plain=Elites())
    givens, _ = Givens.of({"root": holder})
    graph = Graph(root or [0], [list(n) for n in nodes], list(shapes), data, str)
    return decode(graph, givens)


ROOT = ["dict", ["x", [1]]]


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "builtins:eval",
        "subprocess:Popen",
        "pymoo.util.misc:np",
        "pymoo.util.remote:Remote",
        "pymoo.core.algorithm:copy.deepcopy",
        "evogen.experiment.store:Store",
        "evogen.models.callbacks:Checkpoint",
        "evogen.experiment.pool:Pool",
        "torch.nn.modules.module:functools.partial",
        "torch.utils.data:DataLoader",
        "random:Random",
        "__main__:Anything",
        "numpy:memmap",
        "",
    ],
)
def test_a_class_that_is_not_allowed_is_not_made_and_not_imported(name):
    import sys

    before = set(sys.modules)
    with pytest.raises(StateError, match="not allowed"):
        hostile(ROOT, ["object", 0, None], shapes=[[name, []]])
    with pytest.raises(StateError, match="not allowed"):
        hostile(ROOT, ["class", name])
    assert set(sys.modules) - before <= {"pymoo.util.remote"}


def test_no_method_of_an_instance_is_called_when_it_is_made(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("was called")

    givens, _ = Givens.of({"root": Holder()})
    for name in ("__init__", "__setattr__", "__setstate__", "__getattr__", "__hash__", "__eq__"):
        monkeypatch.setattr(Elites, name, fail, raising=False)
    shapes = [[f"{Elites.__module__}:Elites", ["fraction"]]]
    graph = Graph([0], [["dict", ["x", [1]]], ["object", 0, None, 0.5]], shapes, b"", str)
    assert decode(graph, givens)["x"].__dict__ == {"fraction": 0.5}


FUNCTION_NODES = [
    ["function", "os.system"],
    ["function", "builtins.eval"],
    ["function", "pymoo.core.plot:os"],
    ["function", "pymoo.core.algorithm:copy"],
    ["function", "pymoo.core.algorithm:Algorithm"],
    ["function", "evogen.models.serialization:save_model"],
    ["function", "evogen.experiment.checkpoint:Checkpoint"],
    ["given", "root.callback.__globals__"],
    ["given", "root.plain"],
    ["given", "nothing"],
    ["method", [2], "__init__"],
    ["method", [2], "__reduce__"],
    ["method", [2], "fraction"],
    ["reduce", "os.system"],
    ["partial", "os.system", [], []],
]


@pytest.mark.parametrize("node", FUNCTION_NODES, ids=str)
def test_a_function_that_nobody_gave_cannot_be_reached(node):
    shape = [f"{Elites.__module__}:Elites", []]
    with pytest.raises(StateError):
        hostile(ROOT, node, ["object", 0, None], shapes=[shape])


@pytest.mark.parametrize(
    "nodes",
    [
        [["array", 0, [10**12], [], "<f8", [0], 0, True]],
        [["array", 0, [1], [], "|O", [0], 0, True]],
        [["array", 0, [1], [], "(2,)O", [0], 0, True]],
        [["array", 0, [1], [], "<f8", [0], -8, True]],
        [["array", 0, [-1], [], "<f8", [0], 0, True]],
        [["view", 0, [1], [], "|O", [8], True, [2], 0], ["array", 0, [2], [], "<f8", [0], 0, True]],
        [
            ["view", 0, [9], [], "<f8", [8], True, [2], 0],
            ["array", 0, [2], [], "<f8", [0], 0, True],
        ],
        [
            ["view", 0, [2], [], "<f8", [8], True, [2], -8],
            ["array", 0, [2], [], "<f8", [0], 0, True],
        ],
        [
            ["view", 0, [2], [], "|O", [800], True, [2], 0],
            ["objects", 0, [2], [], [8], True, [1, 2]],
        ],
        [["view", 0, [2], [], "|O", [8], True, [1], 0]],
        [["objects", 0, [10**9], [], [8], True, []]],
        [["scalar", "|O", 0]],
        [["tensor", [10**9], [1], "torch.float32", False, False, 0, 0, 16, "cpu", None]],
        [["tensor", [2], [1], "torch.float32", False, False, -1, 0, 16, "cpu", None]],
        [["tensor", [2], [-1], "torch.float32", False, False, 2, 0, 16, "cpu", None]],
        [["tensor", [2], [1], "torch.float32", False, False, 0, 0, 10**12, "cpu", None]],
        [["bytes", 0, 10**9]],
        [["tuple", [[1]]]],
        [["dict", [[2], 1]], ["list", []]],
        [["rng", "PCG64", {}, None]],
        [["rng", "Popen", None, None]],
        [["rng", "PCG64", None, [1, [], 10**9, 0]]],
        [["torch_rng", "cpu", 0, 16]],
        [["list", [[99]]]],
        [["list", [[-1]]]],
        ["no node"],
        [[]],
        [[[]]],
    ],
    ids=str,
)
def test_damaged_data_is_an_error_and_touches_no_memory_but_its_own(nodes):
    with pytest.raises(StateError):
        decode(
            Graph([0], [ROOT, *nodes], [["numpy:ndarray", []]], bytes(16), str),
            Givens.of({"root": Holder()})[0],
        )


def test_random_damage_never_does_more_than_raise():
    first = Holder(a=[np.arange(4.0), {"x": (1, 2)}], rng=np.random.default_rng(1), m=Elites())
    givens, _ = Givens.of({"root": first})
    graph = encode({"root": first}, givens)
    text = json.dumps([graph.root, graph.nodes, graph.shapes])
    rng = np.random.default_rng(0)
    n_errors = 0
    for _ in range(400):
        at = int(rng.integers(len(text)))
        damaged = text[:at] + chr(int(rng.integers(32, 127))) + text[at + 1 :]
        try:
            parts = json.loads(damaged)
            fresh, _ = Givens.of({"root": Holder(a=[], rng=np.random.default_rng(1), m=Elites())})
            decode(Graph(*parts, graph.data, str), fresh)
        except (StateError, json.JSONDecodeError):
            n_errors += 1
    assert n_errors > 100
