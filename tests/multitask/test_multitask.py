"""Several tasks in one run: space, budgets, failures, determinism, results."""

from __future__ import annotations

import numpy as np
import pytest
from pymoo.core.problem import Problem
from pymoo.indicators.igd import IGD
from pymoo.problems import get_problem as pymoo_problem

from evogen.algorithms.emt_gs import EMTGS, GANTransfer, SourceGAN
from evogen.algorithms.inertial_de import (
    ConstantTransfer,
    CopyTransfer,
    InertialDE,
    NoTransfer,
    UniformTransfer,
)
from evogen.algorithms.mfea import MOMFEA, IndependentNSGA2, polynomial_mutation, sbx
from evogen.multitask import MultitaskProblem, minimize_multitask
from evogen.problems import get_problem

ALGORITHMS = {
    "nsga2": lambda **k: IndependentNSGA2(**k),
    "mfea": lambda **k: MOMFEA(**k),
    "none": lambda **k: InertialDE(NoTransfer(), **k),
    "copy": lambda **k: InertialDE(CopyTransfer(), **k),
    "half": lambda **k: InertialDE(ConstantTransfer(), **k),
    "rand": lambda **k: InertialDE(UniformTransfer(), **k),
    "emt-gs": lambda **k: EMTGS(**k),
    "emt-gs-variables": lambda **k: EMTGS(layout="variables", **k),
}


@pytest.fixture(params=ALGORITHMS)
def make(request):
    return ALGORITHMS[request.param]


def tasks():
    """Of different size and number of objectives."""
    return [pymoo_problem("zdt1", n_var=6), pymoo_problem("dtlz2", n_var=5, n_obj=3)]


class Failing(Problem):
    """Raises, or returns NaN, from the third call on."""

    def __init__(self, how: str) -> None:
        super().__init__(n_var=3, n_obj=2, xl=0.0, xu=1.0)
        self.how, self.n_calls = how, 0

    def _evaluate(self, x, out, *args, **kwargs):
        self.n_calls += 1
        if self.n_calls > 2 and self.how == "raise":
            raise RuntimeError("the simulator is gone")
        f = np.column_stack([x[:, 0], 1 - x[:, 0] + x[:, 1:].sum(axis=1)])
        if self.how == "nan":
            f[x[:, 0] > 0.5] = np.nan
        out["F"] = f


def test_each_task_gets_an_ordinary_result_in_its_own_units(make):
    res = minimize_multitask(tasks(), make(pop_size=20), ("n_eval", 1000), seed=1)
    assert res.n_eval == 1000
    for result, task in zip(res.tasks, tasks(), strict=True):
        assert result.X.shape[1] == task.n_var
        assert (task.xl <= result.X).all()
        assert (task.xu >= result.X).all()
        assert np.allclose(task.evaluate(result.X), result.F)
        assert len(result.pop) == 20
        assert result.success


def test_the_seed_decides_the_run(make):
    a, b, c = (
        minimize_multitask(tasks(), make(pop_size=20), ("n_gen", 8), seed=s) for s in (1, 1, 2)
    )
    assert np.array_equal(a[0].F, b[0].F)
    assert np.array_equal(a[1].X, b[1].X)
    assert not np.array_equal(a[0].F, c[0].F)


def test_the_population_gets_better(make):
    few = minimize_multitask(tasks(), make(pop_size=20), ("n_gen", 1), seed=1)
    many = minimize_multitask(tasks(), make(pop_size=20), ("n_gen", 60), seed=1)
    for number, task in enumerate(tasks()):
        front = task.pareto_front() if number == 0 else None
        if front is not None:
            assert IGD(front)(many[0].F) < 0.5 * IGD(front)(few[0].F)
        else:
            # Distance from the unit sphere.
            gap = [np.linalg.norm(r[1].F, axis=1).mean() - 1 for r in (few, many)]
            assert gap[1] < 0.5 * gap[0]


def test_evaluations_are_never_exceeded_and_budgets_are_kept(make):
    res = minimize_multitask(tasks(), make(pop_size=20), ("n_eval", 333), seed=1)
    assert res.n_eval == 333
    res = minimize_multitask(
        tasks(), make(pop_size=20), ("n_eval", 400), seed=1, budgets=[70, None]
    )
    assert [r.n_eval for r in res.tasks] == [70, 330]


def test_a_task_that_raises_is_given_up_and_the_others_go_on(make, capsys):
    res = minimize_multitask(
        [Failing("raise"), pymoo_problem("zdt1", n_var=6)], make(pop_size=20), ("n_eval", 600),
        seed=1,
    )  # fmt: skip
    bad, good = res.tasks
    assert not bad.success
    assert not res.success
    assert "the simulator is gone" in bad.message
    assert len(bad.F) > 0, "what it had found is kept"
    assert good.success
    assert good.n_eval > 500
    assert "task 0 is given up" in capsys.readouterr().err


def test_values_that_are_not_finite_are_the_worst(make):
    res = minimize_multitask(
        [Failing("nan"), pymoo_problem("zdt1", n_var=6)], make(pop_size=20), ("n_eval", 600), seed=1
    )
    assert res[0].n_nonfinite > 0
    assert np.isfinite(res[0].F).all()
    assert (res[0].X[:, 0] <= 0.5).all()


def test_constraints_are_respected(make):
    pair = [pymoo_problem("bnh"), pymoo_problem("zdt1", n_var=4)]
    res = minimize_multitask(pair, make(pop_size=20), ("n_eval", 1200), seed=1)
    assert (res[0].CV <= 0).all()


def test_ask_and_tell_give_the_run_of_minimize(make):
    expected = minimize_multitask(tasks(), make(pop_size=20), ("n_gen", 6), seed=1)
    algorithm, problem = make(pop_size=20), MultitaskProblem(tasks())
    algorithm.setup(tasks(), ("n_gen", 6), seed=1)
    while algorithm.has_next():
        asked = algorithm.ask()
        algorithm.tell([{"F": problem.tasks[i].evaluate(x)} for i, x in enumerate(asked)])
    for number, result in enumerate(expected.tasks):
        assert np.array_equal(algorithm.states[number].points.f, result.pop.get("F"))


def test_a_callback_sees_every_generation_and_can_stop(make):
    seen = []
    res = minimize_multitask(
        tasks(), make(pop_size=20), ("n_gen", 50), seed=1,
        callback=lambda a: seen.append(a.n_gen) or a.n_gen == 4,
    )  # fmt: skip
    assert seen == [1, 2, 3, 4]
    assert res.n_gen == 4


def test_a_benchmark_of_two_tasks_is_solved_by_name():
    res = minimize_multitask(get_problem("cihs-shifted"), MOMFEA(20), ("n_gen", 5), seed=1)
    assert res[1].X.shape[1] == 50


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"tasks": []}, ValueError, "two problems at least; got 0"),
        ({"tasks": [pymoo_problem("zdt1")]}, ValueError, "two problems at least; got 1"),
        ({"tasks": [pymoo_problem("zdt1"), 3]}, TypeError, "task 1 must be a pymoo Problem"),
        ({"tasks": [Problem(n_var=2, n_obj=2, xl=0, xu=9, vtype=int)] * 2}, TypeError, "real"),
        ({"tasks": [Problem(n_var=2, n_obj=2)] * 2}, ValueError, "must have xl with 2 finite"),
        ({"termination": ("n_eval", 30)}, ValueError, "smaller than the initial populations"),
        ({"budgets": [10, None]}, ValueError, "smaller than its population"),
        ({"budgets": [100]}, ValueError, "budgets must be 2 numbers; got 1"),
        ({"algorithm": 3}, TypeError, "must be a MultitaskAlgorithm"),
    ],
)
def test_wrong_input_is_refused_before_work(change, error, message):
    given = {"tasks": tasks(), "algorithm": MOMFEA(20), "termination": ("n_eval", 100), **change}
    with pytest.raises(error, match=message):
        minimize_multitask(seed=1, **given)


def test_wrong_settings_are_refused():
    for wrong in (lambda: MOMFEA(rmp=2), lambda: InertialDE(CR=-1), lambda: ConstantTransfer(3)):
        with pytest.raises(ValueError, match="must lie in"):
            wrong()
    with pytest.raises(TypeError, match="must be a TransferTable"):
        InertialDE(transfer="copy")
    with pytest.raises(ValueError, match="pop_size=3 must be at least 4"):
        MOMFEA(3)


def test_the_unified_space_and_back():
    problem = MultitaskProblem(tasks())
    x = np.random.default_rng(0).uniform(0, 1, (5, 5))
    u = problem.encode(1, x)
    assert u.shape == (5, 6)
    assert np.allclose(problem.decode(1, u), x)
    rest = np.zeros((5, 6))
    assert (problem.encode(1, x, rest=rest)[:, 5] == 0).all()


def test_crossover_keeps_the_mean_of_the_parents_and_the_stated_spread():
    rng = np.random.default_rng(0)
    a, b = np.full((200_000, 1), 0.6), np.full((200_000, 1), 0.4)
    children = sbx(a, b, 20.0, rng)
    assert np.allclose(children.sum(axis=0), 1.0), "no clipping here, so the mean stays"
    beta = np.abs(children[0] - children[1])[:, 0] / 0.2
    assert np.mean(np.isclose(beta, 1.0)) == pytest.approx(0.5, abs=0.01)
    spread = beta[~np.isclose(beta, 1.0)]
    # E beta = (1/2) (eta + 1) (1 / (eta + 2) + 1 / eta) of the two halves of its density.
    assert spread.mean() == pytest.approx(0.5 * 21 * (1 / 22 + 1 / 20), abs=0.002)


def test_mutation_changes_the_stated_share_and_stays_in_the_box():
    rng = np.random.default_rng(0)
    u = rng.random((5000, 20))
    mutated = polynomial_mutation(u, 15.0, 0.1, rng)
    assert np.mean(mutated != u) == pytest.approx(0.1, abs=0.005)
    assert (mutated >= 0).all()
    assert (mutated <= 1).all()
    centre = np.full((20_000, 1), 0.5)
    moved = polynomial_mutation(centre, 15.0, 1.0, rng) - centre
    assert abs(moved.mean()) < 2e-3


def test_mixing_is_what_moves_solutions_between_tasks():
    """Two tasks with the optimum at opposite corners: children of both lie between them."""

    class Corner(Problem):
        def __init__(self, where):
            super().__init__(n_var=8, n_obj=2, xl=0.0, xu=1.0)
            self.where = where

        def _evaluate(self, x, out, *args, **kwargs):
            gap = np.abs(x[:, 1:] - self.where).sum(axis=1)
            out["F"] = np.column_stack([x[:, 0] + gap, 1 - x[:, 0] + gap])

    def between(rmp):
        algorithm = MOMFEA(20, rmp=rmp)
        algorithm.setup([Corner(0.0), Corner(1.0)], ("n_gen", 80), seed=1)
        while algorithm.has_next():
            asked = algorithm.ask()
            found = [{"F": s.problem.evaluate(x)} for s, x in zip(algorithm.states, asked)]  # noqa: B905
            algorithm.tell(found)
        middle = np.concatenate(asked)[:, 1:].mean(axis=1)
        return np.mean((middle > 0.1) & (middle < 0.9))

    assert between(0.0) == 0
    assert between(1.0) > 0.15


def test_the_published_networks_do_not_see_where_a_population_lies():
    """Normalizing D's only hidden layer batch by batch hides the mean, however long one trains."""
    rng = np.random.default_rng(0)
    source, target = rng.uniform(0.1, 0.2, (100, 6)), rng.uniform(0.7, 0.8, (100, 6))
    short, long = (
        GANTransfer(n_epochs_first=n).table(source, target, (0, 1), 1, np.random.default_rng(1))
        for n in (20, 200)
    )
    assert short.shape == long.shape == (100, 6)
    assert abs(short.mean() - 0.5) < 0.15, "near the box centre, whatever the target"
    assert abs(long.mean() - 0.75) > 0.15


def test_transfer_tables_of_both_layouts_are_seeded_and_in_the_box():
    rng = np.random.default_rng(0)
    source, target = rng.random((20, 6)), rng.random((20, 6))
    for layout in ("individuals", "variables"):
        tables = [
            GANTransfer(layout).table(source, target, (0, 1), 1, np.random.default_rng(seed))
            for seed in (1, 1, 2)
        ]
        assert np.array_equal(tables[0], tables[1])
        assert not np.array_equal(tables[0], tables[2])
        assert (tables[0] >= 0).all()
        assert (tables[0] <= 1).all()
    with pytest.raises(ValueError, match="populations of equal size"):
        GANTransfer("variables").table(source, target[:9], (0, 1), 1, rng)
    with pytest.raises(ValueError, match="layout='x' must be"):
        GANTransfer("x")
    with pytest.raises(TypeError, match="no_such"):
        EMTGS(no_such=1)


def test_the_models_are_trained_at_the_start_and_every_gap():
    steps = []

    class Counting(GANTransfer):
        def table(self, *args):
            made = super().table(*args)
            if args[2] == (0, 1):
                steps.append(self.models[0, 1].n_steps_)
            return made

    pair = [pymoo_problem("zdt1", n_var=6), pymoo_problem("zdt2", n_var=6)]
    minimize_multitask(pair, InertialDE(Counting(gap=5), 20), ("n_gen", 12), seed=1)
    assert steps == [40, 40, 40, 40, 44, 44, 44, 44, 44, 48, 48]
    assert isinstance(SourceGAN(), SourceGAN)
