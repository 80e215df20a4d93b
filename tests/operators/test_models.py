"""This library's models as operators: every model, every kind of examples, every slot."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pymoo.algorithms.moo.moead import ParallelMOEAD
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.mixed import MixedVariableGA
from pymoo.core.problem import ElementwiseProblem
from pymoo.core.variable import Choice, Integer, Real
from pymoo.optimize import minimize
from pymoo.problems import get_problem
from pymoo.util.ref_dirs import get_reference_directions

from evogen.models import DDPM, GAN, VAE, WGANGP, GaussianMixture
from evogen.operators import (
    Elites,
    Examples,
    GenerativeCrossover,
    GenerativeMating,
    GenerativeMutation,
    GenerativeSampling,
    Improvement,
    Inverse,
    Untrained,
    check_algorithm,
    inject,
)

N_GEN = 4
PROBLEM = get_problem("zdt1", n_var=5)
REF = get_reference_directions("das-dennis", 2, n_partitions=11)

MODELS: dict[str, Callable[[], Any]] = {
    "DDPM": lambda: DDPM(n_timesteps=20, n_sample_steps=4, hidden=(12, 12), n_steps=4),
    "GAN": lambda: GAN(n_steps=4),
    "WGANGP": lambda: WGANGP(n_steps=2),
    "VAE": lambda: VAE(n_steps=4),
    "GaussianMixture": lambda: GaussianMixture(n_components=2, n_steps=5),
}
EXAMPLES: dict[str, Examples] = {
    "elites": Elites(),
    "negatives": Elites(negatives=True),
    "inverse": Inverse(),
    "improvement": Improvement(),
}
ALGORITHMS: dict[str, Callable[[], Any]] = {
    "NSGA2": lambda: NSGA2(pop_size=12),
    "ParallelMOEAD": lambda: ParallelMOEAD(REF, n_neighbors=5),
}


def build(model: str, examples: str, algorithm: str = "NSGA2", **kw: Any) -> Any:
    mating = GenerativeMating(MODELS[model](), EXAMPLES[examples], **kw)
    return inject(ALGORITHMS[algorithm](), mating)


def offspring_by_model(res: Any) -> int:
    return sum(entry["n_model"] for entry in res.algorithm.mating.log)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("model", MODELS)
def test_same_seed_same_run_and_no_failure(model: str, examples: str, algorithm: str) -> None:
    first, second = (
        minimize(PROBLEM, build(model, examples, algorithm), ("n_gen", N_GEN), seed=1) for _ in "ab"
    )
    np.testing.assert_array_equal(first.pop.get("X"), second.pop.get("X"))
    assert first.algorithm.mating.slot.failures == []
    assert first.algorithm.mating.slot.n_fits == N_GEN - 1
    assert offspring_by_model(first) > 8


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("how", [copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))])
def test_a_copy_of_a_running_algorithm_goes_on_bit_for_bit(
    model: str, how: Callable[[Any], Any]
) -> None:
    algorithm = build(model, "elites", share="adaptive")
    algorithm.setup(PROBLEM, termination=("n_gen", 6), seed=1)
    for _ in range(3):
        algorithm.next()
    twin = how(algorithm)
    for running in (algorithm, twin):
        while running.has_next():
            running.next()
    np.testing.assert_array_equal(twin.pop.get("X"), algorithm.pop.get("X"))


@pytest.mark.parametrize("model", MODELS)
def test_history_keeps_no_model(model: str) -> None:
    res = minimize(PROBLEM, build(model, "elites"), ("n_gen", N_GEN), seed=1, save_history=True)
    assert [past.mating.model for past in res.history] == [None] * N_GEN
    assert res.algorithm.mating.model.n_features_ == 5


@pytest.mark.parametrize("model", MODELS)
def test_a_warm_start_from_data_or_from_a_trained_model(model: str) -> None:
    data = 0.4 + 0.1 * np.random.default_rng(0).random((40, 5))
    trained = MODELS[model]().fit(torch.from_numpy(data))
    for sampling in (GenerativeSampling(MODELS[model](), data), GenerativeSampling(trained)):
        starts = []
        for _ in "ab":
            algorithm = NSGA2(pop_size=20, sampling=copy.deepcopy(sampling))
            algorithm.setup(PROBLEM, termination=("n_gen", 2), seed=1)
            starts.append(algorithm.ask().get("X"))
        assert starts[0].shape == (20, 5)
        assert ((starts[0] >= 0) & (starts[0] <= 1)).all()
        np.testing.assert_array_equal(*starts)


@pytest.mark.parametrize(
    ("model", "kind"), [("VAE", GenerativeCrossover), ("DDPM", GenerativeMutation)]
)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_latent_crossover_and_denoising_mutation_run(model: str, kind: Any, algorithm: str) -> None:
    runs = [
        minimize(
            PROBLEM,
            inject(ALGORITHMS[algorithm](), kind(MODELS[model]())),
            ("n_gen", N_GEN),
            seed=1,
        )
        for _ in "ab"
    ]
    np.testing.assert_array_equal(runs[0].pop.get("X"), runs[1].pop.get("X"))
    slot = getattr(runs[0].algorithm.mating, kind.__name__[len("Generative") :].lower()).slot
    assert slot.failures == []
    assert slot.fitted


@pytest.mark.parametrize("model", ["GAN", "WGANGP", "GaussianMixture"])
@pytest.mark.parametrize(
    ("kind", "lacking"), [(GenerativeCrossover, "encode"), (GenerativeMutation, "denoise_from")]
)
def test_a_model_without_the_ability_is_refused(model: str, kind: Any, lacking: str) -> None:
    if hasattr(MODELS[model](), lacking):
        pytest.skip(f"{model} has learned to {lacking}")
    with pytest.raises(TypeError, match=rf"{model} cannot serve here: it has no method {lacking}"):
        kind(MODELS[model]())


@pytest.mark.parametrize("model", MODELS)
def test_the_untrained_null_takes_no_step(model: str) -> None:
    mating = GenerativeMating(Untrained(MODELS[model]()))
    res = minimize(PROBLEM, inject(NSGA2(pop_size=12), mating), ("n_gen", N_GEN), seed=1)
    assert res.algorithm.mating.slot.failures == []
    assert res.algorithm.mating.model.n_steps_ == 0
    assert offspring_by_model(res) > 8


@pytest.mark.parametrize("model", MODELS)
def test_mixed_variables_with_real_models(model: str) -> None:
    class Small(ElementwiseProblem):
        def __init__(self) -> None:
            variables = {
                "c": Choice(options=["a", "b"]),
                "i": Integer(bounds=(0, 5)),
                "r": Real(bounds=(-1.0, 1.0)),
            }
            super().__init__(vars=variables, n_obj=1)

        def _evaluate(self, x: Any, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
            out["F"] = x["i"] + x["r"] ** 2 + (x["c"] == "a")

    mating = GenerativeMating(MODELS[model]())
    algorithm = inject(MixedVariableGA(pop_size=12), mating)
    check_algorithm(algorithm, Small())
    res = minimize(Small(), algorithm, ("n_gen", N_GEN), seed=1)
    assert res.algorithm.mating.slot.failures == []
    assert all(x["i"] in range(6) and -1 <= x["r"] <= 1 for x in res.pop.get("X"))


@pytest.mark.parametrize("model", MODELS)
def test_a_variable_without_width_is_no_trouble(model: str) -> None:
    problem = get_problem("zdt1", n_var=5)
    problem.xl[2] = problem.xu[2] = 0.25
    mating = GenerativeMating(MODELS[model]())
    res = minimize(problem, inject(NSGA2(pop_size=12), mating), ("n_gen", N_GEN), seed=1)
    assert res.algorithm.mating.slot.failures == []
    np.testing.assert_array_equal(res.pop.get("X")[:, 2], 0.25)
