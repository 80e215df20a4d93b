"""PACT: shares follow survival, nothing is lost to tasks that do not help, and runs repeat."""

import numpy as np
import pytest

from evogen import minimize_multitask
from evogen.algorithms import PACT, IndependentNSGA2, SideBySide, get_multitask_algorithm
from evogen.algorithms.pact import spread_first
from evogen.algorithms.portfolio import OPERATORS, TRANSFERS, View
from evogen.models import GaussianMixture
from evogen.multitask.state import Points
from evogen.operators import GenerativeMating, Transfer
from evogen.problems import get_problem


def points(f, cv=None):
    n = len(f)
    return Points(
        np.random.default_rng(0).random((n, 2)), np.asarray(f, float), np.empty((n, 0)),
        np.empty((n, 0)), np.zeros(n) if cv is None else np.asarray(cv, float),
    )  # fmt: skip


def view(other=True, n=12, d=5):
    rng = np.random.default_rng(4)
    sources = rng.random((7, d)) if other else None
    return View(rng.random((n, d)), rng.random((n, d)), sources, d, np.random.default_rng(1))


@pytest.mark.parametrize("name", [*OPERATORS, *TRANSFERS])
@pytest.mark.parametrize("n", [1, 5, 30])
def test_every_operator_makes_what_it_is_asked_for_within_the_box(name, n):
    made = (OPERATORS | TRANSFERS)[name](view(), n)
    assert made.shape == (n, 5)
    assert made.min() >= 0.0
    assert made.max() <= 1.0


def test_exchange_takes_every_variable_from_one_of_two_individuals():
    seen = view()
    made = TRANSFERS["exchange"](seen, 200)
    for column in range(5):
        known = np.concatenate([seen.own[:, column], seen.other[:, column]])
        assert np.isin(made[:, column], known).all()
    assert np.isin(made, seen.other).mean() == pytest.approx(0.5, abs=0.06)


def test_a_front_that_is_too_large_is_thinned_out_where_it_is_crowded():
    # Nine points in a heap and four that are alone: the lonely ones stay.
    t = np.concatenate([np.linspace(0.0, 0.01, 9), [0.3, 0.55, 0.8, 1.0]])
    kept = spread_first(points(np.column_stack([t, 1 - t])), 6)
    assert {9, 10, 11, 12} < set(kept.tolist())
    assert len(kept) == 6


def test_feasible_and_less_dominated_points_come_first():
    f = [[3.0, 3.0], [1.0, 1.0], [0.0, 0.0], [2.0, 2.0]]
    kept = spread_first(points(f, cv=[0.0, 0.0, 1.0, 0.0]), 3)
    assert kept.tolist() == [1, 3, 0]


def run(algorithm, problem="cihs", n_eval=3000, seed=1):
    return minimize_multitask(get_problem(problem), algorithm, ("n_eval", n_eval), seed=seed)


def test_shares_are_logged_and_respect_their_floors():
    res = run(PACT(20))
    log = res.algorithm.log
    assert len(log) == res.n_gen - 1
    shares = np.array([entry["shares"] for entry in log])
    np.testing.assert_allclose(shares.sum(axis=2), 1.0)
    assert shares.min() >= 0.01 - 1e-12
    assert (shares[:, :, :2] >= 0.02 - 1e-12).all()
    for entry in log:
        np.testing.assert_array_equal(entry["sources"], [[0.0, 1.0], [1.0, 0.0]])


class Deceiving:
    """Two tasks whose good solutions are as far apart as can be: nothing may be taken over."""

    def __init__(self):
        near, far = get_problem("zdt1", n_var=20), get_problem("zdt1", n_var=20)
        inner = far._evaluate

        def mirrored(x, out, *args, **kwargs):
            inner(1.0 - x, out, *args, **kwargs)

        far._evaluate = mirrored
        self.tasks = (near, far)


def test_useless_transfers_shrink_to_what_exploration_costs():
    algorithm = PACT(40)
    res = minimize_multitask(Deceiving(), algorithm, ("n_eval", 12_000), seed=1)
    late = np.array([entry["shares"] for entry in res.algorithm.log])[-50:]
    own = late[:, :, : len(algorithm.operators)].sum(axis=2)
    assert own.mean() > 0.8


def test_a_greedier_credit_gives_useless_transfers_less():
    def across(power):
        algorithm = PACT(40, power=power)
        minimize_multitask(Deceiving(), algorithm, ("n_eval", 8000), seed=1, copy_algorithm=False)
        late = np.array([entry["shares"] for entry in algorithm.log])[-50:]
        return late[:, :, len(algorithm.operators) :].sum(axis=2).mean()

    assert across(4.0) < across(1.0)


def test_transfers_that_are_not_trusted_start_small():
    first = {}
    for prior in (0.5, 0.1):
        log = run(PACT(20, prior=prior), n_eval=200).algorithm.log
        first[prior] = log[0]["shares"][:, len(OPERATORS) :].sum(axis=1)
    assert (first[0.5] > 0.5).all()
    assert (first[0.1] < 0.1).all()


def test_useful_transfers_are_used_and_help():
    found = {}
    for name, algorithm in {"with": PACT(40), "without": PACT(40, transfers=())}.items():
        res = run(algorithm, "nihs", n_eval=12_000)
        found[name] = res[0].F.max(axis=1).min()
    assert found["with"] < 0.2 * found["without"]


def test_the_same_seed_gives_the_same_run_bit_for_bit_with_a_model_too():
    for make in (PACT, lambda n: PACT(n, model=GaussianMixture())):
        first, second = run(make(20), n_eval=1500), run(make(20), n_eval=1500)
        for a, b in zip(first.tasks, second.tasks, strict=True):
            np.testing.assert_array_equal(a.X, b.X)
            assert a.n_eval == b.n_eval


def test_a_model_takes_part_and_its_failure_does_not_end_the_run():
    class Failing:
        def fit(self, x, condition=None):
            raise RuntimeError("collapsed")

        def sample(self, n, condition=None):
            return np.zeros((n, 50))

    res = run(PACT(20, model=GaussianMixture()), n_eval=2000)
    assert res.algorithm.names[-1] == "model"
    assert res.algorithm.slots[0].n_fits > 1
    assert res.algorithm.slots[0].failures == []
    with pytest.warns(UserWarning, match="collapsed"):
        broken = run(PACT(20, model=Failing()), n_eval=2000)
    assert broken.n_eval == 2000


def test_three_tasks_choose_whom_to_take_from():
    class Three:
        tasks = (*get_problem("cihs").tasks, get_problem("zdt3", n_var=10))

    res = minimize_multitask(Three(), PACT(20, model=GaussianMixture()), ("n_eval", 4000), seed=1)
    sources = np.array([entry["sources"] for entry in res.algorithm.log])
    np.testing.assert_allclose(sources.sum(axis=2), 1.0)
    np.testing.assert_array_equal(np.diagonal(sources, axis1=1, axis2=2), 0.0)
    assert [task.n_eval for task in res.tasks] == [1333, 1333, 1334]


def test_a_task_that_cannot_be_evaluated_is_left_out():
    class Half:
        def __init__(self):
            good, bad = get_problem("zdt1", n_var=5), get_problem("zdt2", n_var=5)
            bad._evaluate = self.fail
            self.tasks = (good, bad)

        @staticmethod
        def fail(*args, **kwargs):
            raise RuntimeError("no licence")

    res = minimize_multitask(Half(), PACT(20), ("n_eval", 1000), seed=1)
    assert res[0].n_eval == 1000
    assert res[1].F is None
    assert res.algorithm.log[-1]["shares"][0, 2:].sum() == 0.0


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"operators": ()}, ValueError, "operators is empty"),
        ({"transfers": "whole"}, ValueError, "transfers="),
        ({"transfers": ("copy",)}, ValueError, "names out of towards"),
        ({"exploration": 0.9}, ValueError, "exploration=0.9"),
        ({"floor": 0.3}, ValueError, "floor=0.3"),
        ({"refit_every": 0}, ValueError, "refit_every=0"),
        ({"power": 0.0}, ValueError, "power=0.0"),
        ({"prior": 0.0}, ValueError, "prior=0.0"),
        ({"examples": 3}, TypeError, "examples=3"),
        ({"model": 3}, TypeError, "no method fit"),
        ({"examples": Transfer()}, ValueError, "are for a model"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, match):
    with pytest.raises(error, match=match):
        PACT(20, **arguments)


# --- every task with an algorithm of its own ------------------------------------------------------


def test_side_by_side_runs_any_algorithm_by_name_and_spends_the_budget():
    for name in ("nsga2", "moead", "ace"):
        res = run(SideBySide(name, 20), n_eval=500)
        assert res.n_eval == 500
        assert all(task.F is not None for task in res.tasks)


def test_side_by_side_is_as_good_as_our_own_nsga2():
    theirs = run(SideBySide("nsga2", 20), n_eval=4000)
    ours = run(IndependentNSGA2(20), n_eval=4000)
    for a, b in zip(theirs.tasks, ours.tasks, strict=True):
        assert 0.2 < a.F[:, 1].max() / b.F[:, 1].max() < 5.0


def test_transfer_examples_receive_the_other_tasks_every_generation():
    from pymoo.algorithms.moo.nsga2 import NSGA2

    def build(problem, pop_size):
        mating = GenerativeMating(GaussianMixture(), Transfer(), share="adaptive")
        return NSGA2(pop_size, mating=mating)

    first, second = run(SideBySide(build, 20), n_eval=1200), run(SideBySide(build, 20), n_eval=1200)
    for number, algorithm in enumerate(first.algorithm.algorithms):
        mating = algorithm.mating
        assert mating.slot.failures == []
        (received,) = mating.examples._received[-1]
        other = first.algorithm.states[1 - number].problem
        assert received.u.shape[1] == other.n_var
        assert sum(entry["n_model"] for entry in mating.log) > 0
    np.testing.assert_array_equal(first[0].X, second[0].X)


def test_names_of_algorithms_for_one_task_solve_every_task_by_itself():
    made = get_multitask_algorithm("spea2", pop_size=20)
    assert isinstance(made, SideBySide)
    assert run(made, n_eval=400).n_eval == 400


def test_what_builds_no_algorithm_is_refused_before_anything_is_evaluated():
    with pytest.raises(TypeError, match="build=3"):
        SideBySide(3)
    with pytest.raises(ValueError, match="unknown algorithm"):
        run(SideBySide("nsga9", 20))
    with pytest.raises(TypeError, match="no pymoo algorithm"):
        run(SideBySide(lambda problem, n: None, 20))
