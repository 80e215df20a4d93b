"""`GenerativeMating`: its arguments, its shares, and the walk of the data through it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pymoo.algorithms.moo.moead import MOEAD
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.duplicate import (
    NoDuplicateElimination,
)
from pymoo.core.mating import Mating
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.operators.crossover.pntx import SinglePointCrossover
from pymoo.operators.mutation.nom import NoMutation
from pymoo.operators.mutation.pm import PM
from pymoo.operators.selection.rnd import RandomSelection
from pymoo.optimize import minimize
from pymoo.problems import get_problem
from pymoo.util.ref_dirs import get_reference_directions

from evogen.operators import (
    Constant,
    Copy,
    Differential,
    Elites,
    GenerativeMating,
    Improvement,
    Inverse,
    Uniform,
    inject,
)

POP = 20


def run(problem: Problem, mating: GenerativeMating, n_gen: int = 5, **kw: Any) -> Any:
    return minimize(problem, inject(NSGA2(pop_size=POP, **kw), mating), ("n_gen", n_gen), seed=1)


# Arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"share": 1.5}, "share=1.5"),
        ({"share": -0.1}, "share=-0.1"),
        ({"share": float("nan")}, "share=nan"),
        ({"share": "half"}, "share='half'.*adaptive"),
        ({"share": None}, "share=None"),
        ({"share": [0.5]}, r"share=\[0.5\]"),
        ({"share": np.float32(1.5)}, "share="),
        ({"refit_every": 0}, "refit_every=0"),
        ({"archive_size": -1}, "archive_size=-1"),
        ({"bounds": "wrap"}, "bounds='wrap'.*reflect, clip"),
    ],
)
def test_bad_arguments_are_named_with_their_value(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GenerativeMating(Uniform(), **arguments)


def test_a_model_class_instead_of_an_instance_is_refused() -> None:
    with pytest.raises(TypeError, match=r"model is the class Uniform; give an instance"):
        GenerativeMating(Uniform)


@pytest.mark.parametrize("model", [None, object(), 3])
def test_what_cannot_fit_and_sample_is_refused(model: Any) -> None:
    with pytest.raises(TypeError, match=r"no method fit\(\)"):
        GenerativeMating(model)


def test_an_examples_class_instead_of_an_instance_is_refused() -> None:
    with pytest.raises(TypeError, match=r"examples=.*Elites\(\)"):
        GenerativeMating(Uniform(), Elites)  # type: ignore[arg-type]


@pytest.mark.parametrize("examples", [Inverse(), Improvement()])
def test_a_model_without_conditions_is_refused_by_conditional_examples(examples: Any) -> None:
    mixture = pytest.importorskip("sklearn.mixture")
    with pytest.raises(TypeError, match=r"GaussianMixture.*no `condition`.*Elites"):
        GenerativeMating(mixture.GaussianMixture(), examples)


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (0.0, np.inf, "finite box"),
        (-np.inf, 1.0, "finite box"),
        (1.0, 0.0, "reversed bounds"),
        (None, None, "finite box"),
        (np.nan, 1.0, "finite box"),
    ],
)
def test_a_problem_without_a_finite_box_is_refused(low: Any, high: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GenerativeMating(Uniform()).check(Problem(n_var=3, n_obj=1, xl=low, xu=high))


# Shares


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_log_counts_offspring_by_their_maker(problem: Problem, share: float) -> None:
    res = run(problem, GenerativeMating(Uniform(), share=share), n_gen=21)
    log = res.algorithm.mating.log
    assert len(log) == 20
    assert set(log[0]) == {
        "n_gen", "share", "n_model", "n_base", "survived_model", "survived_base",
    }  # fmt: skip
    n_model = sum(entry["n_model"] for entry in log)
    n_base = sum(entry["n_base"] for entry in log)
    assert {entry["share"] for entry in log} == {share}
    if share == 0.0:
        assert n_model == 0
    elif share == 1.0:
        assert n_model == 20 * POP
        assert n_base == 0
    else:
        assert n_model / (n_model + n_base) == pytest.approx(share, abs=0.09)


def test_offspring_carry_their_maker(problem: Problem) -> None:
    algorithm = inject(NSGA2(pop_size=POP), GenerativeMating(Uniform()))
    algorithm.setup(problem, termination=("n_gen", 9), seed=1)
    algorithm.next()
    off = algorithm.ask()
    names, counts = np.unique(off.get("operator").astype(str), return_counts=True)
    entry = algorithm.mating.log[-1]
    assert dict(zip(names, counts, strict=True)) == {
        "model": entry["n_model"],
        "base": entry["n_base"],
    }
    assert set(off.get("born")) == {entry["n_gen"]}


def test_survival_in_the_log_is_what_happened(problem: Problem) -> None:
    seen: list[dict[str, float]] = []

    def count(algorithm: Any) -> None:
        off, alive = algorithm.off, {id(ind) for ind in algorithm.pop}
        if algorithm.n_gen == 1:
            return
        rates = {}
        for name in ("model", "base"):
            born = [ind for ind in off if ind.data["operator"] == name]
            rates[f"survived_{name}"] = sum(id(ind) in alive for ind in born) / len(born)
        seen.append(rates)

    mating = GenerativeMating(Differential(), eliminate_duplicates=NoDuplicateElimination())
    algorithm = inject(NSGA2(pop_size=POP), mating)
    res = minimize(problem, algorithm, ("n_gen", 8), seed=1, callback=count)
    log = res.algorithm.mating.log
    assert log[0]["survived_model"] is None
    assert log[0]["survived_base"] is None
    for reported, counted in zip(log[1:], seen[:-1], strict=True):
        assert {k: reported[k] for k in counted} == pytest.approx(counted)


def test_a_callable_share_is_a_schedule(problem: Problem) -> None:
    generations: list[int] = []

    def schedule(n_gen: int, random_state: np.random.Generator) -> float:
        generations.append(n_gen)
        assert isinstance(random_state, np.random.Generator)
        return 1.0 if n_gen % 2 else 0.0

    res = run(problem, GenerativeMating(Uniform(), share=schedule), n_gen=6)
    assert generations == [2, 3, 4, 5, 6]
    assert [e["n_model"] for e in res.algorithm.mating.log] == [0, POP, 0, POP, 0]
    # The base may be asked again for what repeats its parents.
    assert [e["n_base"] >= POP for e in res.algorithm.mating.log] == [True, False] * 2 + [True]


@pytest.mark.parametrize("answer", [1.5, -0.5, float("nan"), None, "adaptive"])
def test_a_schedule_out_of_range_is_named(problem: Problem, answer: Any) -> None:
    with pytest.raises(ValueError, match=r"share\(2, random_state\) returned .* \[0, 1\]"):
        run(problem, GenerativeMating(Uniform(), share=lambda n_gen, rng: answer))


def optimum(n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """Points of ZDT1's Pareto set."""
    return np.column_stack([rng.random(n), np.zeros((n, d - 1))])


def worst(n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    return np.column_stack([np.ones((n, 1)), rng.uniform(0.9, 1.0, size=(n, d - 1))])


def test_an_adaptive_share_follows_survival(Standin: Any, problem: Problem) -> None:
    shares = {}
    for name, rows in (("good", optimum), ("bad", worst)):
        res = run(problem, GenerativeMating(Standin(rows), share="adaptive"), n_gen=12)
        shares[name] = [entry["share"] for entry in res.algorithm.mating.log]
    assert shares["good"][0] == shares["bad"][0] == 0.5
    assert max(shares["good"]) > 0.7
    assert shares["bad"][-1] < 0.15
    assert min(shares["good"] + shares["bad"]) >= 0.1
    assert max(shares["good"] + shares["bad"]) <= 0.9


def test_an_offspring_kept_in_several_places_counts_once(Standin: Any) -> None:
    """MOEA/D may put one good offspring into every place of a neighbourhood."""
    counted: list[tuple[int, int]] = []

    def count(algorithm: Any) -> None:
        alive = [i for i in algorithm.pop if i.data.get("operator") == "model"]
        alive = [i for i in alive if i.data["born"] == algorithm.n_gen]
        counted.append((len(alive), len({id(i) for i in alive})))

    ref_dirs = get_reference_directions("das-dennis", 2, n_partitions=15)
    algorithm = inject(MOEAD(ref_dirs), GenerativeMating(Standin(optimum)))
    problem = get_problem("zdt1", n_var=6)
    res = minimize(problem, algorithm, ("n_gen", 4), seed=1, callback=count)
    assert any(places > different for places, different in counted)
    log = res.algorithm.mating.log
    for before, after, (_, different) in zip(log, log[1:], counted[1:], strict=False):
        assert after["survived_model"] * before["n_model"] == pytest.approx(different)


def test_survivors_of_an_earlier_run_are_not_credited(problem: Problem) -> None:
    earlier = run(problem, GenerativeMating(Uniform(), share=1.0), n_gen=6).pop
    assert any(ind.data.get("born") == 3 for ind in earlier)
    algorithm = inject(
        NSGA2(pop_size=POP, sampling=earlier), GenerativeMating(Constant(), share="adaptive")
    )
    res = minimize(problem, algorithm, ("n_gen", 6), seed=2)
    assert [e["survived_model"] for e in res.algorithm.mating.log[1:]] == [0.0] * 4
    assert res.algorithm.mating.credit.rate[0] == pytest.approx(0.5 * 0.7**4)


# Walk of the data


def test_one_seed_reaches_the_model_and_differs_by_generation(
    Standin: Any, problem: Problem
) -> None:
    seeds: list[list[int]] = []
    for _ in "ab":
        drawn: list[int] = []

        def rows(n: int, d: int, rng: Any, drawn: list[int] = drawn) -> np.ndarray:
            drawn.append(int(rng.integers(2**40)))
            return rng.random((n, d))

        model = Standin(rows)
        algorithm = inject(NSGA2(pop_size=POP), GenerativeMating(model))
        minimize(problem, algorithm, ("n_gen", 5), seed=1, copy_algorithm=False)
        seeds.append(drawn)
    assert seeds[0] == seeds[1]
    assert len(set(seeds[0])) == 4


def test_model_gets_float32_tensors_in_the_unit_box(Standin: Any) -> None:
    problem = Problem(n_var=3, n_obj=2, xl=[-5, 0, 2], xu=[5, 1e-3, 3])
    x = np.random.default_rng(0).uniform(problem.xl, problem.xu, size=(12, 3))
    pop = Population.new(X=x, F=np.random.default_rng(1).random((12, 2)))
    model = Standin()
    mating = GenerativeMating(model, Elites(fraction=1.0, negatives=False), share=1.0)
    off = mating.do(problem, pop, 5, random_state=np.random.default_rng(2))
    seen = model.seen[0]["x"]
    assert isinstance(seen, torch.Tensor)
    assert seen.dtype == torch.float32
    expected = (x - problem.xl) / (problem.xu - problem.xl)
    order = np.argsort(expected[:, 0])
    rows = seen.numpy()
    np.testing.assert_allclose(rows[np.argsort(rows[:, 0])], expected[order], rtol=1e-6)
    assert len(off) == 5
    assert (off.get("X") >= problem.xl).all()
    assert (off.get("X") <= problem.xu).all()


@pytest.mark.parametrize(("bounds", "inside"), [("clip", False), ("reflect", True)])
def test_samples_outside_are_clipped_or_put_inside(
    Standin: Any, problem: Problem, bounds: str, inside: bool
) -> None:
    model = Standin(lambda n, d, rng: rng.choice([-0.1, 1.1], size=(n, d)))
    algorithm = inject(NSGA2(pop_size=POP), GenerativeMating(model, share=1.0, bounds=bounds))
    algorithm.setup(problem, termination=("n_gen", 3), seed=1)
    algorithm.next()
    off = algorithm.ask()
    x = off.get("X")[off.get("operator") == "model"]
    assert ((x > 0) & (x < 1)).all() == inside
    assert np.isin(x, [0.0, 1.0]).all() == (not inside)


def test_negatives_reach_only_a_model_that_takes_them(Standin: Any, problem: Problem) -> None:
    model = Standin()
    algorithm = inject(NSGA2(pop_size=POP), GenerativeMating(model, Elites(n=5, negatives=True)))
    minimize(problem, algorithm, ("n_gen", 2), seed=1, copy_algorithm=False)
    assert model.seen[0]["x"].shape == (5, 6)
    assert model.seen[0]["negative"].shape == (POP - 5, 6)
    run(problem, GenerativeMating(Uniform(), Elites(negatives=True)))


def test_conditional_examples_ask_one_condition_per_offspring(
    Standin: Any, problem: Problem
) -> None:
    for examples, width in ((Inverse(), 2), (Improvement(), 6)):
        model = Standin()
        algorithm = inject(NSGA2(pop_size=POP), GenerativeMating(model, examples))
        minimize(problem, algorithm, ("n_gen", 4), seed=1, copy_algorithm=False)
        assert len(model.asked) == 3
        for n, condition in model.asked:
            assert isinstance(condition, torch.Tensor)
            assert tuple(condition.shape) == (n, width)
        assert all(len(seen["x"]) == len(seen["condition"]) for seen in model.seen)


def test_refit_every_k_fits_every_kth_generation(problem: Problem) -> None:
    res = run(problem, GenerativeMating(Uniform(), refit_every=3), n_gen=9)
    assert res.algorithm.mating.slot.n_fits == 3
    assert all(entry["n_model"] > 0 for entry in res.algorithm.mating.log)


def test_an_archive_keeps_the_last_evaluated_points_besides_the_population(
    Standin: Any,
    problem: Problem,
) -> None:
    sizes = {}
    for archive_size in (0, 30):
        model = Standin()
        mating = GenerativeMating(model, Elites(fraction=1.0), archive_size=archive_size)
        algorithm = inject(NSGA2(pop_size=POP), mating)
        minimize(problem, algorithm, ("n_gen", 8), seed=1, copy_algorithm=False)
        rows = [seen["x"].numpy() for seen in model.seen]
        sizes[archive_size] = [len(x) for x in rows]
    assert sizes[0] == [POP] * 7
    assert all(POP <= n <= POP + 30 for n in sizes[30])
    assert sizes[30][-1] > POP


def test_mutation_is_applied_to_the_models_offspring_only(problem: Problem) -> None:
    x = np.random.default_rng(0).random((POP, 6))
    pop = Population.new(X=x, F=problem.evaluate(x))
    base = Mating(RandomSelection(), SinglePointCrossover(prob=0.0), NoMutation())
    mating = GenerativeMating(Constant(0.25), base=base, mutation=PM(prob=1.0, prob_var=1.0))
    off = mating.do(problem, pop, POP, random_state=np.random.default_rng(1))
    from_model = off.get("operator") == "model"
    assert (off.get("X")[from_model] != 0.25).all()
    parents = {row.tobytes() for row in x}
    assert all(row.tobytes() in parents for row in off.get("X")[~from_model])


def test_every_call_without_an_algorithm_is_a_generation(Standin: Any, problem: Problem) -> None:
    x = np.random.default_rng(0).random((POP, 6))
    pop = Population.new(X=x, F=problem.evaluate(x))
    model = Standin()
    mating = GenerativeMating(model)
    for k in range(1, 4):
        off = mating.do(problem, pop, 7, random_state=np.random.default_rng(k))
        assert len(off) == 7
        assert len(model.seen) == k


@pytest.mark.parametrize("model", [Uniform(), Copy(), Differential(), Constant()])
@pytest.mark.parametrize("examples", [Elites(), Inverse(), Improvement()])
def test_every_reference_model_serves_every_kind_of_examples(
    problem: Problem, model: Any, examples: Any
) -> None:
    res = run(problem, GenerativeMating(model, examples, share="adaptive"), n_gen=4)
    assert res.algorithm.mating.slot.failures == []
    assert all(entry["n_model"] > 0 for entry in res.algorithm.mating.log)


@pytest.mark.parametrize("n_offsprings", [1, 7, 20, 45])
def test_any_number_of_offspring_is_met(problem: Problem, n_offsprings: int) -> None:
    offspring: list[int] = []
    algorithm = inject(
        NSGA2(pop_size=POP, n_offsprings=n_offsprings), GenerativeMating(Differential())
    )
    minimize(
        problem,
        algorithm,
        ("n_gen", 6),
        seed=1,
        callback=lambda algorithm: offspring.append(len(algorithm.off)),
    )
    assert offspring == [POP] + [n_offsprings] * 5
