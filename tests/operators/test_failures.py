"""No model and no objective value can end or starve a run."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from pymoo.algorithms.moo.gde3 import GDE3
from pymoo.algorithms.moo.moead import MOEAD, ParallelMOEAD
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.infill import InfillCriterion
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.optimize import minimize
from pymoo.util.ref_dirs import get_reference_directions

from evogen.operators import (
    Elites,
    GenerativeFallback,
    GenerativeMating,
    Improvement,
    Inverse,
    Uniform,
    inject,
)

POP = 20


def run(problem: Problem, mating: GenerativeMating, n_gen: int = 5, **kw: Any) -> Any:
    return minimize(problem, inject(NSGA2(pop_size=POP, **kw), mating), ("n_gen", n_gen), seed=1)


def raising(error: Exception) -> Any:
    def rows(*_: Any) -> Any:
        raise error

    return rows


# Failing models: the run goes on, whole


HOOKS: dict[str, Any] = {
    "constant": lambda n, d, rng: np.full((n, d), 0.5),
    "nan": lambda n, d, rng: np.full((n, d), np.nan),
    "inf": lambda n, d, rng: np.full((n, d), np.inf),
    "half nan": lambda n, d, rng: np.where(np.arange(n)[:, None] % 2, np.nan, rng.random((n, d))),
    "third": lambda n, d, rng: rng.random((n // 3, d)),
    "none": lambda n, d, rng: rng.random((0, d)),
    "more": lambda n, d, rng: rng.random((n + 7, d)),
    "huge": lambda n, d, rng: rng.normal(size=(n, d)) * 1e30,
    "tensor": lambda n, d, rng: torch.rand(n, d, generator=torch.Generator().manual_seed(0)),
    "runtime": raising(RuntimeError("boom")),
    "division": raising(ZeroDivisionError("boom")),
    "singular": raising(np.linalg.LinAlgError("singular")),
    "value": raising(ValueError("not positive definite")),
}
REF = get_reference_directions("das-dennis", 2, n_partitions=POP - 1)
ALGORITHMS: dict[str, Any] = {
    "NSGA2": lambda: NSGA2(pop_size=POP),
    "GDE3": lambda: GDE3(pop_size=POP),
    "ParallelMOEAD": lambda: ParallelMOEAD(REF, n_neighbors=5),
    "MOEAD": lambda: MOEAD(REF, n_neighbors=5),
}


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("share", [0.5, 1.0])
@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.filterwarnings("ignore::evogen.operators.GenerativeFallback")
def test_no_model_can_end_or_starve_a_run(
    Standin: Any, problem: Problem, name: str, hook: str, share: float
) -> None:
    offspring: list[int] = []

    def count(algorithm: Any) -> None:
        if name != "MOEAD":  # which makes its offspring one by one
            offspring.append(len(algorithm.off))

    mating = GenerativeMating(Standin(HOOKS[hook]), share=share)
    res = minimize(
        problem, inject(ALGORITHMS[name](), mating), ("n_gen", 4), seed=1, callback=count
    )
    assert res.algorithm.n_gen - 1 == 4
    assert set(offspring) <= {POP}
    assert len(res.pop) == POP
    x = res.pop.get("X")
    assert np.isfinite(x).all()
    assert ((x >= problem.xl) & (x <= problem.xu)).all()
    if name == "NSGA2":
        assert len(np.unique(x, axis=0)) == POP


def test_a_base_that_makes_fewer_than_asked_is_asked_again(Standin: Any, problem: Problem) -> None:
    class Reluctant(InfillCriterion):
        pairs_with_parents = False

        def _do(self, problem: Any, pop: Any, n_offsprings: int, **kwargs: Any) -> Population:
            x = kwargs["random_state"].random((min(n_offsprings, 3), problem.n_var))
            return Population.new(X=x)

    res = run(problem, GenerativeMating(Standin(), base=Reluctant()))
    for entry in res.algorithm.mating.log:
        assert entry["n_model"] + entry["n_base"] == POP
        assert entry["n_base"] > 0


def test_a_collapsed_model_is_fitted_and_asked_once_a_generation(
    Standin: Any, problem: Problem
) -> None:
    mating = run(
        problem, GenerativeMating(Standin(lambda n, d, _: np.full((n, d), 0.5)), share=1.0)
    )
    model = mating.algorithm.mating.model
    assert len(model.seen) == len(model.asked) == 4
    for entry in mating.algorithm.mating.log:
        assert entry["n_model"] == POP  # what it made, before duplicates were removed
        assert entry["n_base"] >= POP - 1  # what filled the gap


@pytest.mark.parametrize("where", ["fit", "sample"])
def test_a_failing_model_is_warned_of_once_and_listed_every_time(
    Standin: Any, problem: Problem, where: str
) -> None:
    boom = raising(RuntimeError("boom"))
    model = Standin(fit=boom) if where == "fit" else Standin(boom)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        res = run(problem, GenerativeMating(model))
    ours = [w for w in caught if issubclass(w.category, GenerativeFallback)]
    assert len(ours) == 1
    assert f"Standin.{where} failed: boom" in str(ours[0].message)
    slot = res.algorithm.mating.slot
    assert slot.failures == [f"Standin.{where} failed: boom"] * 4
    assert all(e["n_model"] == 0 and e["n_base"] >= POP for e in res.algorithm.mating.log)


def test_missing_and_non_finite_rows_are_reported(Standin: Any, problem: Problem) -> None:
    rows = [
        lambda n, d, rng: np.full((n, d), np.nan),
        lambda n, d, rng: rng.random((0, d)),
    ]
    for hook in rows:
        with pytest.warns(GenerativeFallback, match=r"sample failed: 0 finite rows of \d+"):
            res = run(problem, GenerativeMating(Standin(hook)))
        assert len(res.algorithm.mating.slot.failures) == 4


def test_a_model_that_recovers_is_used_again(Standin: Any, problem: Problem) -> None:
    def first_fit_fails(count: int) -> None:
        if count == 1:
            raise RuntimeError("not yet")

    with pytest.warns(GenerativeFallback, match="not yet"):
        res = run(problem, GenerativeMating(Standin(fit=first_fit_fails), refit_every=3), n_gen=6)
    log = res.algorithm.mating.log
    assert [entry["n_model"] > 0 for entry in log] == [False, True, True, True, True]
    assert len(res.algorithm.mating.model.seen) == 3  # failed, retried at once, then on schedule


@pytest.mark.parametrize(
    "rows",
    [
        lambda n, d, rng: rng.random((n, d + 1)),
        lambda n, d, rng: rng.random((n, d, 1)),
        lambda n, d, rng: rng.random(n * d),
        lambda n, d, rng: None,
    ],
    ids=["wide", "cube", "flat", "none"],
)
def test_a_sample_of_the_wrong_shape_is_a_type_error_that_names_both(
    Standin: Any, problem: Problem, rows: Any
) -> None:
    with pytest.raises(
        TypeError, match=r"Standin.sample\(\) returned the shape .*expected \(\d+, 6\)"
    ):
        run(problem, GenerativeMating(Standin(rows)))


@pytest.mark.parametrize("error", [TypeError("bug"), KeyError("bug"), AttributeError("bug")])
def test_programming_errors_are_not_swallowed(
    Standin: Any, problem: Problem, error: Exception
) -> None:
    with pytest.raises(type(error), match="bug"):
        run(problem, GenerativeMating(Standin(raising(error))))


# Objectives that are not finite


class Holes(Problem):
    """ZDT1 with NaN and infinity in places."""

    def __init__(self) -> None:
        super().__init__(n_var=4, n_obj=2, xl=0.0, xu=1.0)

    def _evaluate(self, x: np.ndarray, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        g = 1 + 3 * x[:, 1:].sum(axis=1)
        f = np.column_stack([x[:, 0], g * (1 - np.sqrt(x[:, 0] / g))])
        f[x[:, 1] > 0.8] = np.nan
        f[x[:, 2] > 0.8, 1] = np.inf
        out["F"] = f


@pytest.mark.parametrize("examples", [Elites(), Inverse(), Improvement()])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_solutions_without_finite_objectives_are_not_learned_from(
    Standin: Any, examples: Any
) -> None:
    model = Standin()
    algorithm = inject(NSGA2(pop_size=POP), GenerativeMating(model, examples, archive_size=40))
    res = minimize(Holes(), algorithm, ("n_gen", 6), seed=1, copy_algorithm=False)
    assert res.algorithm.n_gen - 1 == 6
    assert len(model.seen) == 5
    first = model.seen[0]
    for seen in model.seen:
        x = seen["x"].numpy()
        assert len(x) >= 2
        assert (x[:, 1] <= 0.8 + 1e-6).all()
        assert (x[:, 2] <= 0.8 + 1e-6).all()
        assert seen["condition"] is None or torch.isfinite(seen["condition"]).all()
    assert len(first["x"]) < POP


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_population_without_any_finite_objective_leaves_the_base_to_work() -> None:
    class Nothing(Problem):
        def _evaluate(self, x: np.ndarray, out: dict[str, Any], *args: Any, **kw: Any) -> None:
            out["F"] = np.full((len(x), 2), np.nan)

    problem = Nothing(n_var=4, n_obj=2, xl=0.0, xu=1.0)
    res = run(problem, GenerativeMating(Uniform()))
    assert all(e["n_model"] == 0 and e["n_base"] >= POP for e in res.algorithm.mating.log)
    assert res.algorithm.mating.slot.n_fits == 0


@pytest.mark.parametrize("examples", [Elites(), Inverse(), Improvement()])
def test_a_population_that_lost_its_values_is_not_asked_about(
    Standin: Any, problem: Problem, examples: Any
) -> None:
    """A fitted model, and nothing left to say where to look next (a changed dynamic problem)."""
    rng = np.random.default_rng(0)
    x = rng.random((POP, 6))
    mating = GenerativeMating(Standin(), examples, share=1.0)
    for f in (problem.evaluate(x), np.full((POP, 2), np.nan), problem.evaluate(x)):
        off = mating.do(problem, Population.new(X=x, F=f), POP, random_state=rng)
        assert len(off) == POP
    assert [entry["share"] for entry in mating.log] == [1.0, 0.0, 1.0]
