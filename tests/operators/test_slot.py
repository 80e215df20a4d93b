"""The contract with a model, and what a slot does for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.optimize import minimize
from pymoo.problems import get_problem

from evogen.operators import (
    Constant,
    Copy,
    Differential,
    Elites,
    GenerativeFallback,
    GenerativeMating,
    ModelSlot,
    TrainingData,
    Uniform,
    Untrained,
    inject,
)

X = np.random.default_rng(0).random((30, 4))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def draw(model: Any, n: int = 5, seed: int = 0) -> np.ndarray:
    slot, random_state = ModelSlot(model), rng(seed)
    assert slot.fit(TrainingData(X), random_state)
    rows = slot.sample(n, None, random_state)
    assert rows is not None
    return rows


class Torch:
    """Takes its seed as a torch generator, as the models of this library do."""

    def fit(self, x: Any, condition: Any = None, *, generator: torch.Generator) -> Torch:
        self.noise = torch.rand(1, generator=generator)
        self.mean = x.mean(dim=0)
        return self

    def sample(self, n: int, condition: Any = None, *, generator: torch.Generator) -> Any:
        noise = torch.rand(n, len(self.mean), generator=generator)
        return (self.mean + noise + self.noise).requires_grad_()


class AnyKeyword:
    def fit(self, x: Any, **settings: Any) -> AnyKeyword:
        assert isinstance(settings["generator"], torch.Generator)
        self.width = x.shape[1]
        return self

    def sample(self, n: int, **settings: Any) -> list[list[float]]:
        return torch.rand(n, self.width, generator=settings["generator"]).tolist()


def mixture() -> Any:
    sklearn = pytest.importorskip("sklearn.mixture")
    return sklearn.GaussianMixture(n_components=2, reg_covar=1e-4)


def kernel_density() -> Any:
    neighbors = pytest.importorskip("sklearn.neighbors")
    return neighbors.KernelDensity(bandwidth=0.1)


@pytest.mark.parametrize(
    "make", [Torch, AnyKeyword, mixture, kernel_density, Uniform, Differential]
)
class TestEveryKindOfModel:
    def test_seed_decides(self, make: Any) -> None:
        first, second, other = draw(make(), seed=1), draw(make(), seed=1), draw(make(), seed=2)
        assert first.shape == (5, 4)
        assert first.dtype == float
        np.testing.assert_array_equal(first, second)
        assert not np.array_equal(first, other)

    def test_calls_of_one_slot_draw_different_rows(self, make: Any) -> None:
        slot, random_state = ModelSlot(make()), rng()
        slot.fit(TrainingData(X), random_state)
        first, second = (slot.sample(5, None, random_state) for _ in "ab")
        assert not np.array_equal(first, second)  # type: ignore[arg-type]

    def test_it_runs_inside_an_algorithm(self, make: Any) -> None:
        problem = get_problem("zdt1", n_var=4)
        runs = [
            minimize(
                problem,
                inject(NSGA2(pop_size=16), GenerativeMating(make())),
                ("n_gen", 5),
                seed=1,
            )
            for _ in "ab"
        ]
        np.testing.assert_array_equal(runs[0].pop.get("F"), runs[1].pop.get("F"))
        assert not runs[0].algorithm.mating.slot.failures
        assert sum(e["n_model"] for e in runs[0].algorithm.mating.log) > 10


def test_a_failure_is_reported_and_leaves_no_rows() -> None:
    class Bad(Uniform):
        def fit(self, x: Any, condition: Any = None) -> Any:
            raise RuntimeError("no")

    slot = ModelSlot(Bad())
    with pytest.warns(GenerativeFallback, match=r"Bad\.fit failed: no"):
        assert not slot.fit(TrainingData(X), rng())
    assert not slot.fitted
    assert slot.n_fits == 1
    assert slot.failures == ["Bad.fit failed: no"]


def test_time_is_counted_even_when_it_was_wasted() -> None:
    class Slow(Uniform):
        def sample(self, n: int, condition: Any = None, **kwargs: Any) -> Any:
            sum(i * i for i in range(200_000))
            raise ValueError("after all")

    slot = ModelSlot(Slow())
    slot.fit(TrainingData(X), rng())
    with pytest.warns(GenerativeFallback):
        assert slot.sample(3, None, rng()) is None
    assert slot.sample_seconds > 0
    assert slot.fit_seconds >= 0


# Generators without a network


def test_copy_returns_rows_of_the_data() -> None:
    rows = draw(Copy(), 50)
    known = {row.tobytes() for row in X.astype(np.float32).astype(float)}
    assert all(row.tobytes() in known for row in rows)
    assert len(np.unique(rows, axis=0)) > 10


def test_uniform_fills_the_unit_box_whatever_it_learned() -> None:
    model = Uniform().fit(np.full((5, 3), 0.5))
    rows = model.sample(2000, random_state=0)
    assert rows.shape == (2000, 3)
    np.testing.assert_allclose(rows.mean(axis=0), 0.5, atol=0.05)
    np.testing.assert_allclose(rows.std(axis=0), 12**-0.5, atol=0.02)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_constant_returns_one_point(value: float) -> None:
    np.testing.assert_array_equal(Constant(value).fit(X).sample(3), np.full((3, 4), value))


def test_differential_is_one_row_plus_a_scaled_difference_of_two_others() -> None:
    x = np.eye(4) * 8
    rows = Differential(0.5).fit(x).sample(300, random_state=0)
    np.testing.assert_array_equal(np.sort(rows, axis=1), np.tile([-4.0, 0.0, 4.0, 8.0], (300, 1)))


@pytest.mark.parametrize("n", [1, 2])
def test_differential_makes_do_with_fewer_rows_than_three(n: int) -> None:
    rows = Differential().fit(X[:n]).sample(9, random_state=0)
    assert rows.shape == (9, 4)
    assert np.isfinite(rows).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(1.5), r"value=1.5 must lie in \[0, 1\]"),
        (lambda: Constant(float("nan")), "value=nan"),
        (lambda: Differential(0.0), "scale=0.0 must be positive"),
    ],
)
def test_bad_arguments_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


class Steps:
    """A network's manners: training steps can be counted, and forbidden."""

    label = "steps"

    def __init__(self) -> None:
        self.trained = 0

    def fit(
        self, x: Any, condition: Any = None, *, n_steps: int = 10, generator: Any = None
    ) -> Steps:
        self.width = np.asarray(x).shape[1]
        self.trained += n_steps
        return self

    def sample(self, n: int, condition: Any = None, *, generator: torch.Generator) -> Any:
        return torch.rand(n, self.width, generator=generator)


def test_untrained_is_built_on_the_data_and_never_trained() -> None:
    model = Steps()
    untrained = Untrained(model)
    assert draw(untrained).shape == (5, 4)
    assert untrained.model.trained == 0
    assert untrained.label == "steps"
    assert not hasattr(model, "width"), "the given model is not touched"


def test_untrained_refuses_a_model_without_steps() -> None:
    with pytest.raises(TypeError, match=r"Uniform.fit\(\) takes no n_steps"):
        Untrained(Uniform())


def test_untrained_survives_the_copies_of_a_run() -> None:
    algorithm = inject(NSGA2(pop_size=12), GenerativeMating(Untrained(Steps()), Elites()))
    res = minimize(get_problem("zdt1", n_var=4), algorithm, ("n_gen", 4), seed=1, save_history=True)
    assert res.algorithm.mating.model.model.trained == 0
    assert res.history[-1].mating.model is None
