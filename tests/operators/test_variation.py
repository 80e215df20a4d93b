"""Generative sampling, crossover and mutation in pymoo's slots."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pymoo.algorithms.moo.moead import MOEAD, ParallelMOEAD
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.algorithms.soo.nonconvex.de import DE
from pymoo.algorithms.soo.nonconvex.es import ES
from pymoo.algorithms.soo.nonconvex.pso import PSO
from pymoo.core.mixed import MixedVariableGA
from pymoo.core.problem import Problem
from pymoo.operators.mutation.nom import NoMutation
from pymoo.optimize import minimize
from pymoo.problems import get_problem
from pymoo.util.ref_dirs import get_reference_directions

from evogen.operators import (
    Constant,
    Copy,
    GenerativeCrossover,
    GenerativeFallback,
    GenerativeMating,
    GenerativeMutation,
    GenerativeSampling,
    Uniform,
    check_algorithm,
    inject,
)

REF = get_reference_directions("das-dennis", 2, n_partitions=11)
BOX = Problem(n_var=3, n_obj=2, xl=[-5.0, 0.0, 2.0], xu=[5.0, 1e-3, 3.0])


@pytest.fixture
def problem() -> Problem:
    return get_problem("zdt1", n_var=6)


class Latent:
    """Principal axes: an exact encoder and decoder; denoising shrinks towards the mean."""

    def __init__(self) -> None:
        self.fitted_to: list[np.ndarray] = []

    def fit(self, x: Any) -> Latent:
        x = np.asarray(x, dtype=float)
        self.fitted_to.append(x)
        self.mean = x.mean(axis=0)
        self.axes = np.linalg.svd(x - self.mean, full_matrices=True)[2]
        return self

    def sample(self, n: int, *, random_state: int) -> np.ndarray:
        z = np.random.default_rng(random_state).normal(size=(n, len(self.mean)))
        return self.decode(z)

    def encode(self, x: Any) -> np.ndarray:
        return (np.asarray(x, dtype=float) - self.mean) @ self.axes.T

    def decode(self, z: Any) -> np.ndarray:
        return np.asarray(z, dtype=float) @ self.axes + self.mean

    def denoise_from(self, x: Any, t_fraction: float, *, random_state: int) -> np.ndarray:
        noise = np.random.default_rng(random_state).normal(size=np.shape(x))
        return np.asarray(x) + t_fraction * (0.1 * noise + self.mean - np.asarray(x))


class RealUnits:
    """Trained by somebody on decision vectors in the problem's own units."""

    def __init__(self, low: Any, high: Any) -> None:
        self.low, self.high = np.asarray(low), np.asarray(high)

    def fit(self, x: Any) -> RealUnits:
        raise AssertionError("must not be fitted again")

    def sample(self, n: int, *, random_state: int) -> np.ndarray:
        return np.random.default_rng(random_state).uniform(self.low, self.high, (n, len(self.low)))


# Sampling


class TestSampling:
    def test_a_trained_model_speaks_the_problems_units(self) -> None:
        low, high = np.array([1.0, 2e-4, 2.5]), np.array([2.0, 4e-4, 2.6])
        x = GenerativeSampling(RealUnits(low, high)).do(
            BOX, 50, random_state=np.random.default_rng(0)
        )
        x = x.get("X")
        assert x.shape == (50, 3)
        assert (x >= low * (1 - 1e-6)).all()
        assert (x <= high * (1 + 1e-6)).all()

    def test_with_data_the_model_learns_in_the_unit_box(self) -> None:
        data = np.random.default_rng(0).uniform([1.0, 0.0, 2.5], [2.0, 5e-4, 2.6], (20, 3))
        model = Latent()
        sampling = GenerativeSampling(model, data)
        x = sampling.do(BOX, 30, random_state=np.random.default_rng(1)).get("X")
        (seen,) = model.fitted_to
        np.testing.assert_allclose(seen, (data - BOX.xl) / (BOX.xu - BOX.xl), atol=1e-6)
        assert ((x >= BOX.xl) & (x <= BOX.xu)).all()

    @pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
    def test_share_of_the_population_comes_from_the_model(self, share: float) -> None:
        sampling = GenerativeSampling(RealUnits([4.9, 0, 2], [5.0, 1e-3, 3]), share=share)
        x = sampling.do(BOX, 100, random_state=np.random.default_rng(0)).get("X")
        from_model = x[:, 0] > 4.899
        assert from_model[: round(100 * share)].all()
        assert from_model[round(100 * share) :].sum() < 10

    def test_without_a_share_the_model_is_left_alone(self) -> None:
        class Untouchable(Uniform):
            def fit(self, *args: Any, **kwargs: Any) -> Any:
                raise AssertionError("fitted for nothing")

            sample = fit

        sampling = GenerativeSampling(Untouchable(), np.ones((4, 3)), share=0.0)
        x = sampling.do(BOX, 10, random_state=np.random.default_rng(0)).get("X")
        assert len(np.unique(x, axis=0)) == 10

    @pytest.mark.parametrize("constant", [0.5, np.nan, np.inf])
    @pytest.mark.filterwarnings("ignore::evogen.operators.GenerativeFallback")
    def test_a_collapsed_or_broken_model_does_not_shrink_the_population(
        self, problem: Problem, constant: float
    ) -> None:
        class Collapsed(Uniform):
            def sample(self, n: int, condition: Any = None, **kwargs: Any) -> np.ndarray:
                return np.full((n, 6), constant)

        algorithm = NSGA2(pop_size=20, sampling=GenerativeSampling(Collapsed()))
        algorithm.setup(problem, termination=("n_gen", 2), seed=1)
        assert len(algorithm.ask()) == 20

    def test_a_failing_model_leaves_a_uniform_start_and_a_warning(self, problem: Problem) -> None:
        class Failing(Uniform):
            def sample(self, n: int, condition: Any = None, **kwargs: Any) -> Any:
                raise RuntimeError("boom")

        algorithm = NSGA2(pop_size=20, sampling=GenerativeSampling(Failing()))
        with pytest.warns(GenerativeFallback, match=r"Failing.sample failed: boom"):
            res = minimize(problem, algorithm, ("n_gen", 3), seed=1)
        assert len(res.pop) == 20

    def test_every_sample_is_asked_under_the_condition(self) -> None:
        asked: list[Any] = []

        class Conditional:
            def fit(self, x: Any, condition: Any) -> Any:
                raise AssertionError("trained already")

            def sample(self, n: int, condition: Any) -> np.ndarray:
                asked.append(condition)
                return np.tile(BOX.xl, (n, 1))

        sampling = GenerativeSampling(Conditional(), condition=np.array([0.25, 0.75]), share=0.5)
        sampling.do(BOX, 10, random_state=np.random.default_rng(0))
        np.testing.assert_allclose(asked[0].numpy(), np.tile([0.25, 0.75], (5, 1)))

    @pytest.mark.parametrize(
        ("make", "error", "message"),
        [
            (lambda: GenerativeSampling(Uniform(), share=1.5), ValueError, "share=1.5"),
            (lambda: GenerativeSampling(Uniform(), bounds="x"), ValueError, "bounds='x'"),
            (lambda: GenerativeSampling(Uniform), TypeError, "class Uniform"),
            (lambda: GenerativeSampling(object()), TypeError, r"no method fit\(\)"),
            (
                lambda: GenerativeSampling(Latent(), condition=np.zeros(2)),
                TypeError,
                "takes no `condition`",
            ),
            (
                lambda: GenerativeSampling(Uniform(), np.ones((3, 3)), condition=np.zeros(2)),
                ValueError,
                "condition asks for a model that is trained already",
            ),
        ],
    )
    def test_bad_arguments_are_named(self, make: Any, error: Any, message: str) -> None:
        with pytest.raises(error, match=message):
            make()

    @pytest.mark.parametrize("shape", [(5, 2), (5, 4), (3,), (2, 3, 1)])
    def test_data_of_another_width_are_named(self, shape: tuple[int, ...]) -> None:
        sampling = GenerativeSampling(Uniform(), np.ones(shape))
        with pytest.raises(ValueError, match=r"data has shape .*expected \(n, 3\)"):
            sampling.do(BOX, 5, random_state=np.random.default_rng(0))

    def test_a_model_of_another_width_is_named(self) -> None:
        sampling = GenerativeSampling(RealUnits([0.0], [1.0]))
        with pytest.raises(TypeError, match=r"RealUnits.sample\(\) .*\(5, 1\), expected \(5, 3\)"):
            sampling.do(BOX, 5, random_state=np.random.default_rng(0))

    def test_a_problem_without_a_box_is_named(self) -> None:
        endless = Problem(n_var=2, n_obj=1, xl=0.0, xu=np.inf)
        algorithm = NSGA2(sampling=GenerativeSampling(Uniform()))
        with pytest.raises(ValueError, match="finite box"):
            check_algorithm(algorithm, endless)
        with pytest.raises(ValueError, match="finite box"):
            minimize(endless, algorithm, ("n_gen", 2), seed=1)


# All three, inside algorithms

ALGORITHMS: dict[str, Callable[..., Any]] = {
    "NSGA2": lambda **kw: NSGA2(pop_size=12, **kw),
    "MOEAD": lambda **kw: MOEAD(REF, n_neighbors=5, **kw),
    "ParallelMOEAD": lambda **kw: ParallelMOEAD(REF, n_neighbors=5, **kw),
}
OPERATORS: dict[str, Callable[[], Any]] = {
    "sampling": lambda: GenerativeSampling(Latent(), np.random.default_rng(0).random((9, 6))),
    "crossover": lambda: GenerativeCrossover(Latent()),
    "mutation": lambda: GenerativeMutation(Latent()),
}


@pytest.mark.parametrize("slot", OPERATORS)
@pytest.mark.parametrize("name", ALGORITHMS)
def test_same_seed_same_run_by_constructor_or_inject(
    problem: Problem, name: str, slot: str
) -> None:
    make, operator = ALGORITHMS[name], OPERATORS[slot]
    runs = [
        minimize(problem, algorithm, ("n_gen", 5), seed=1)
        for algorithm in (
            make(**{slot: operator()}),
            make(**{slot: operator()}),
            inject(make(), operator()),
        )
    ]
    for res in runs[1:]:
        np.testing.assert_array_equal(res.pop.get("X"), runs[0].pop.get("X"))
    plain = minimize(problem, make(), ("n_gen", 5), seed=1)
    assert not np.array_equal(runs[0].pop.get("X"), plain.pop.get("X"))
    x = runs[0].pop.get("X")
    assert ((x >= problem.xl) & (x <= problem.xu)).all()


@pytest.mark.parametrize("kind", [GenerativeCrossover, GenerativeMutation])
def test_the_model_is_fitted_to_the_population_once_a_generation(
    problem: Problem, kind: Any
) -> None:
    operator = kind(Latent())
    algorithm = inject(NSGA2(pop_size=12), operator)
    populations: list[np.ndarray] = []
    minimize(
        problem,
        algorithm,
        ("n_gen", 6),
        seed=1,
        copy_algorithm=False,
        callback=lambda a: populations.append(a.pop.get("X")),
    )
    assert operator.slot.n_fits == 5
    for seen, population in zip(operator.model.fitted_to, populations, strict=False):
        np.testing.assert_allclose(seen, np.unique(population, axis=0), atol=1e-6)


def test_children_lie_on_the_line_through_their_parents_in_latent_space(problem: Problem) -> None:
    extend = 0.3
    operator = GenerativeCrossover(Latent(), extend=extend, prob=1.0)
    rng = np.random.default_rng(0)
    x = rng.uniform(0.4, 0.6, size=(2, 25, 6))
    children = operator._do(problem, x, random_state=rng)
    for a, b, one, two in zip(*x, *children, strict=True):
        for child in (one, two):
            t = (child - a) @ (b - a) / ((b - a) @ (b - a))
            assert -extend - 1e-4 <= t <= 1 + extend + 1e-4
            np.testing.assert_allclose(child, a + t * (b - a), atol=1e-5)


@pytest.mark.parametrize("strength", [0.1, 1.0])
def test_strength_reaches_the_model(problem: Problem, strength: float) -> None:
    asked: list[float] = []

    class Spy(Latent):
        def denoise_from(self, x: Any, t_fraction: float, **kwargs: Any) -> Any:
            asked.append(t_fraction)
            return x

    minimize(
        problem,
        NSGA2(pop_size=12, mutation=GenerativeMutation(Spy(), strength=strength)),
        ("n_gen", 3),
        seed=1,
    )
    assert set(asked) == {strength}


class Broken(Latent):
    def __init__(self, where: str, how: str) -> None:
        super().__init__()
        self.where, self.how = where, how

    def answer(self, method: str, rows: np.ndarray) -> np.ndarray:
        if method != self.where:
            return rows
        if self.how == "raise":
            raise RuntimeError("boom")
        return np.full_like(rows, np.nan) if self.how == "nan" else rows[:, :-1]

    def fit(self, x: Any) -> Any:
        self.answer("fit", np.asarray(x))
        return super().fit(x)

    def encode(self, x: Any) -> np.ndarray:
        return self.answer("encode", super().encode(x))

    def decode(self, z: Any) -> np.ndarray:
        return self.answer("decode", super().decode(z))

    def denoise_from(self, x: Any, t_fraction: float, *, random_state: int) -> np.ndarray:
        rows = super().denoise_from(x, t_fraction, random_state=random_state)
        return self.answer("denoise_from", rows)


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        (GenerativeCrossover, "fit"),
        (GenerativeCrossover, "encode"),
        (GenerativeCrossover, "decode"),
        (GenerativeMutation, "fit"),
        (GenerativeMutation, "denoise_from"),
    ],
)
@pytest.mark.parametrize("how", ["raise", "nan"])
@pytest.mark.filterwarnings("ignore::evogen.operators.GenerativeFallback")
def test_a_failing_model_leaves_the_parents_and_the_run_goes_on(
    problem: Problem, kind: Any, where: str, how: str
) -> None:
    res = minimize(
        problem, inject(NSGA2(pop_size=12), kind(Broken(where, how))), ("n_gen", 4), seed=1
    )
    assert res.algorithm.n_gen - 1 == 4
    assert np.isfinite(res.pop.get("X")).all()
    assert len(res.pop) == 12


@pytest.mark.parametrize(
    ("kind", "where"), [(GenerativeCrossover, "decode"), (GenerativeMutation, "denoise_from")]
)
def test_an_answer_of_the_wrong_width_is_named(problem: Problem, kind: Any, where: str) -> None:
    algorithm = inject(NSGA2(pop_size=12), kind(Broken(where, "narrow")))
    with pytest.raises(TypeError, match=rf"Broken.{where}\(\) returned .*, 5\), expected .*, 6\)"):
        minimize(problem, algorithm, ("n_gen", 3), seed=1)


def test_a_population_of_one_point_is_no_trouble(problem: Problem) -> None:
    x = np.full((2, 3, 6), 0.5)
    operator = GenerativeCrossover(Latent())
    children = operator._do(problem, x, random_state=np.random.default_rng(0))
    np.testing.assert_array_equal(children, x)
    mutation = GenerativeMutation(Latent())
    np.testing.assert_array_equal(
        mutation._do(problem, x[0], random_state=np.random.default_rng(0)), x[0]
    )


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: GenerativeCrossover(Uniform()), TypeError, r"Uniform .* no method encode\(\)"),
        (lambda: GenerativeMutation(Uniform()), TypeError, r"Uniform .* no method denoise_from"),
        (lambda: GenerativeCrossover(Latent), TypeError, "class Latent"),
        (lambda: GenerativeCrossover(Latent(), extend=-1), ValueError, "extend=-1"),
        (lambda: GenerativeCrossover(Latent(), bounds="x"), ValueError, "bounds='x'"),
        (lambda: GenerativeMutation(Latent(), strength=0), ValueError, "strength=0"),
        (lambda: GenerativeMutation(Latent(), strength=1.1), ValueError, "strength=1.1"),
        (lambda: GenerativeMutation(Latent(), bounds="x"), ValueError, "bounds='x'"),
    ],
)
def test_bad_arguments_of_crossover_and_mutation_are_named(
    make: Any, error: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        make()


# inject


@pytest.mark.parametrize("operator", [None, 3, Uniform(), NSGA2(), GenerativeMating])
def test_inject_refuses_what_is_no_operator(operator: Any) -> None:
    with pytest.raises(TypeError, match="is no generative mating, sampling, crossover or mutation"):
        inject(NSGA2(), operator)


def test_inject_returns_the_same_algorithm_with_the_operator_in_its_slot() -> None:
    algorithm = NSGA2()
    before = algorithm.mating
    sampling, crossover = GenerativeSampling(Uniform()), GenerativeCrossover(Latent())
    mutation, mating = GenerativeMutation(Latent()), GenerativeMating(Uniform())
    for operator in (sampling, crossover, mutation, mating):
        assert inject(algorithm, operator) is algorithm
    assert algorithm.initialization.sampling is sampling
    assert before.crossover is crossover
    assert before.mutation is mutation
    assert algorithm.mating is mating
    assert mating.base is before
    assert mating.crossover is crossover
    assert mating.mutation is mutation


def test_inject_reaches_the_base_behind_a_generative_mating(problem: Problem) -> None:
    algorithm = inject(NSGA2(pop_size=12), GenerativeMating(Uniform()))
    inject(algorithm, GenerativeCrossover(Latent()))
    res = minimize(problem, algorithm, ("n_gen", 4), seed=1)
    assert isinstance(res.algorithm.mating.base.crossover, GenerativeCrossover)
    assert res.algorithm.mating.base.crossover.slot.n_fits == 3


def test_two_generative_matings_can_stand_in_a_row(problem: Problem) -> None:
    algorithm = inject(NSGA2(pop_size=20), GenerativeMating(Copy(), mutation=None))
    inject(algorithm, GenerativeMating(Uniform()))
    res = minimize(problem, algorithm, ("n_gen", 6), seed=1)
    outer, inner = res.algorithm.mating, res.algorithm.mating.base
    assert outer.slot.n_fits == inner.slot.n_fits == 5
    assert sum(e["n_model"] for e in inner.log) > 10
    assert sum(e["n_base"] for e in outer.log) >= sum(e["n_model"] for e in inner.log)


@pytest.mark.parametrize(
    ("algorithm", "operator", "message"),
    [
        (DE(), GenerativeCrossover(Latent()), "Variant has no single crossover"),
        (MixedVariableGA(), GenerativeCrossover(Latent()), "no single crossover"),
        (MixedVariableGA(), GenerativeMutation(Latent()), "no single mutation"),
        (
            NSGA2(mating=GenerativeMating(Uniform())),
            GenerativeMutation(Latent()),
            "no single mutation",
        ),
        (ES(), GenerativeCrossover(Latent()), "ES does not take its offspring from a mating"),
        (PSO(), GenerativeMutation(Latent()), "PSO does not take its offspring from a mating"),
    ],
)
def test_inject_refuses_a_slot_that_is_not_there(
    algorithm: Any, operator: Any, message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        inject(algorithm, operator)


def test_a_sampling_fits_algorithms_without_a_mating() -> None:
    problem = get_problem("sphere", n_var=3)
    algorithm = inject(PSO(pop_size=10), GenerativeSampling(RealUnits([0.4] * 3, [0.6] * 3)))
    algorithm.setup(problem, termination=("n_gen", 2), seed=1)
    x = algorithm.ask().get("X")
    assert ((x >= 0.4 - 1e-6) & (x <= 0.6 + 1e-6)).all()


def test_a_mutation_reaches_differential_evolution() -> None:
    algorithm = inject(DE(pop_size=12), GenerativeMutation(Latent()))
    res = minimize(get_problem("sphere", n_var=3), algorithm, ("n_gen", 4), seed=1)
    assert res.algorithm.mating.mutation.slot.n_fits > 0


def test_nothing_is_checked_about_an_algorithm_without_generative_parts() -> None:
    endless = Problem(n_var=2, n_obj=1, xl=0.0, xu=np.inf)
    check_algorithm(NSGA2(mutation=NoMutation()), endless)
    check_algorithm(PSO(), endless)


@pytest.mark.parametrize(
    "algorithm",
    [
        NSGA2(mating=GenerativeMating(Constant())),
        inject(NSGA2(), GenerativeMating(Constant())),
        NSGA2(crossover=GenerativeCrossover(Latent())),
        NSGA2(mutation=GenerativeMutation(Latent())),
    ],
)
def test_the_check_finds_a_missing_box_before_any_work(algorithm: Any) -> None:
    with pytest.raises(ValueError, match="finite box"):
        check_algorithm(algorithm, Problem(n_var=2, n_obj=1, xl=0.0, xu=np.inf))
