"""Copies, histories, pickles, ask and tell: what pymoo and its users do to a running algorithm."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pymoo.algorithms.moo.moead import MOEAD, ParallelMOEAD
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.algorithms.moo.spea2 import SPEA2
from pymoo.core.callback import Callback
from pymoo.optimize import minimize
from pymoo.problems import get_problem
from pymoo.util.ref_dirs import get_reference_directions

from evogen.operators import (
    Differential,
    GenerativeCrossover,
    GenerativeFallback,
    GenerativeMating,
    GenerativeMutation,
    GenerativeSampling,
    Inverse,
    inject,
)

PROBLEM = get_problem("zdt1", n_var=6)
REF = get_reference_directions("das-dennis", 2, n_partitions=11)


class Heavy(Differential):
    """A model whose weights would be noticed in a history; encodes, decodes and denoises too."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = np.zeros(100_000)

    def encode(self, x: Any) -> Any:
        return x

    def decode(self, z: Any) -> Any:
        return z

    def denoise_from(self, x: Any, t_fraction: float) -> Any:
        return np.asarray(x) * (1 - 0.1 * t_fraction)


ROUTES: dict[str, Callable[[], Any]] = {
    "NSGA2-inject": lambda: inject(NSGA2(pop_size=12), GenerativeMating(Heavy(), archive_size=50)),
    "NSGA2-constructor": lambda: NSGA2(pop_size=12, mating=GenerativeMating(Heavy(), Inverse())),
    "SPEA2-inject": lambda: inject(SPEA2(pop_size=12), GenerativeMating(Heavy())),
    "MOEAD-inject": lambda: inject(MOEAD(REF, n_neighbors=4), GenerativeMating(Heavy())),
    "MOEAD-constructor": lambda: MOEAD(REF, n_neighbors=4, mating=GenerativeMating(Heavy())),
    "ParallelMOEAD": lambda: inject(ParallelMOEAD(REF, n_neighbors=4), GenerativeMating(Heavy())),
    "crossover": lambda: NSGA2(pop_size=12, crossover=GenerativeCrossover(Heavy())),
    "mutation": lambda: NSGA2(pop_size=12, mutation=GenerativeMutation(Heavy())),
    "sampling": lambda: NSGA2(
        pop_size=12, sampling=GenerativeSampling(Heavy(), np.random.default_rng(0).random((9, 6)))
    ),
}
MATINGS = [name for name in ROUTES if "-" in name]


def operator(name: str, algorithm: Any) -> Any:
    if name == "sampling":
        return algorithm.initialization.sampling
    return (
        getattr(algorithm.mating, name) if name in ("crossover", "mutation") else algorithm.mating
    )


@pytest.mark.parametrize("name", ROUTES)
def test_history_keeps_no_model(name: str) -> None:
    res = minimize(PROBLEM, ROUTES[name](), ("n_gen", 5), seed=1, save_history=True)
    assert len(res.history) == 5
    for past in res.history:
        assert operator(name, past).model is None
        assert past.pop.get("F").shape == (12, 2)
    assert operator(name, res.algorithm).model.weights.shape == (100_000,)
    # A pickled entry is a population and some settings, far from the 800 kB of the weights.
    if not name.startswith("MOEAD"):
        assert len(pickle.dumps(operator(name, res.history[-1]))) < 50_000


@pytest.mark.parametrize("name", ROUTES)
def test_history_changes_nothing(name: str) -> None:
    with_history = minimize(PROBLEM, ROUTES[name](), ("n_gen", 5), seed=1, save_history=True)
    without = minimize(PROBLEM, ROUTES[name](), ("n_gen", 5), seed=1)
    np.testing.assert_array_equal(with_history.pop.get("F"), without.pop.get("F"))


@pytest.mark.parametrize("name", MATINGS)
def test_history_entries_hold_the_log_of_their_time(name: str) -> None:
    res = minimize(PROBLEM, ROUTES[name](), ("n_gen", 5), seed=1, save_history=True)
    assert [len(past.mating.log) for past in res.history] == [0, 1, 2, 3, 4]
    assert res.history[2].mating.log == res.algorithm.mating.log[:2]
    assert [past.mating.slot.n_fits for past in res.history] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", [name for name in ROUTES if not name.startswith("MOEAD")])
@pytest.mark.parametrize("save_history", [False, True])
@pytest.mark.parametrize("how", [copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))])
def test_a_copy_of_a_running_algorithm_goes_on_bit_for_bit(
    name: str, save_history: bool, how: Callable[[Any], Any]
) -> None:
    algorithm = ROUTES[name]()
    algorithm.setup(PROBLEM, termination=("n_gen", 7), seed=1, save_history=save_history)
    for _ in range(3):
        algorithm.next()
    twin = how(algorithm)
    assert operator(name, twin).model is not None
    assert operator(name, twin).model is not operator(name, algorithm).model
    for running in (algorithm, twin):
        while running.has_next():
            running.next()
    np.testing.assert_array_equal(twin.pop.get("X"), algorithm.pop.get("X"))
    if name in MATINGS:
        assert twin.mating.log == algorithm.mating.log


def test_a_copy_in_a_callback_is_full() -> None:
    models = []

    class Keep(Callback):
        def notify(self, algorithm: Any) -> None:
            models.append(copy.deepcopy(algorithm).mating.model)

    minimize(
        PROBLEM,
        ROUTES["NSGA2-inject"](),
        ("n_gen", 3),
        seed=1,
        callback=Keep(),
        save_history=True,
    )
    assert all(isinstance(model, Heavy) for model in models)
    assert len(models) == 3


@pytest.mark.parametrize("name", ROUTES)
def test_minimize_leaves_the_given_algorithm_untouched(name: str) -> None:
    algorithm = ROUTES[name]()
    first = minimize(PROBLEM, algorithm, ("n_gen", 4), seed=1)
    assert operator(name, algorithm).slot.n_fits == 0
    assert not hasattr(operator(name, algorithm).model, "rows_")
    second = minimize(PROBLEM, algorithm, ("n_gen", 4), seed=1)
    np.testing.assert_array_equal(first.pop.get("F"), second.pop.get("F"))
    assert operator(name, first.algorithm).slot.n_fits > 0


def test_without_a_copy_the_given_objects_run() -> None:
    mating = GenerativeMating(Heavy())
    algorithm = inject(NSGA2(pop_size=12), mating)
    res = minimize(PROBLEM, algorithm, ("n_gen", 4), seed=1, copy_algorithm=False)
    assert res.algorithm is algorithm
    assert len(mating.log) == 3
    assert hasattr(mating.model, "rows_")


@pytest.mark.parametrize("name", ROUTES)
def test_ask_and_tell_equals_minimize_bit_for_bit(name: str) -> None:
    whole = minimize(PROBLEM, ROUTES[name](), ("n_gen", 5), seed=1)
    algorithm = ROUTES[name]()
    algorithm.setup(PROBLEM, termination=("n_gen", 5), seed=1)
    while algorithm.has_next():
        infills = algorithm.ask()
        algorithm.evaluator.eval(PROBLEM, infills)
        algorithm.tell(infills=infills)
    np.testing.assert_array_equal(algorithm.result().pop.get("X"), whole.pop.get("X"))


def test_asking_twice_does_not_fit_twice() -> None:
    algorithm = ROUTES["NSGA2-inject"]()
    algorithm.setup(PROBLEM, termination=("n_gen", 5), seed=1)
    algorithm.next()
    algorithm.ask()
    algorithm.ask()
    assert algorithm.mating.slot.n_fits == 1


def test_a_history_of_failures_is_not_shared_between_copies() -> None:
    class Broken(Heavy):
        def sample(self, n: int, condition: Any = None, **kwargs: Any) -> Any:
            raise RuntimeError("boom")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GenerativeFallback)
        algorithm = inject(NSGA2(pop_size=12), GenerativeMating(Broken()))
        res = minimize(PROBLEM, algorithm, ("n_gen", 5), seed=1, save_history=True)
    counts = [len(past.mating.slot.failures) for past in res.history]
    assert counts == [0, 1, 2, 3, 4]
    assert algorithm.mating.slot.failures == []
