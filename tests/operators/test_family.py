"""Families of tasks: what one model of all of them learns and is asked for."""

from types import SimpleNamespace

import numpy as np
import pytest
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem

from evogen import minimize, minimize_multitask
from evogen.algorithms import PACT, SideBySide
from evogen.models import GaussianMixture, LocalLinear
from evogen.operators import Family, FamilySampling, GenerativeMating, Solutions
from evogen.problems import get_problem


class Placed(Problem):
    """Two objectives of the first variable; the others are best at a place that the task has."""

    def __init__(self, at, n_var=4, n_obj=2, scale=1.0):
        super().__init__(n_var=n_var, n_obj=n_obj, xl=0.0, xu=scale)
        self.at, self.scale = at, scale

    def _evaluate(self, x, out, *args, **kwargs):
        u = x / self.scale
        g = 1.0 + ((u[:, 1:] - self.at) ** 2).sum(axis=1)
        out["F"] = np.column_stack([u[:, 0], g * (1.0 - np.sqrt(u[:, 0] / g))])


def solutions(at, n=11, seed=0):
    """The exact Pareto set, in random order, and a dominated point."""
    along = np.random.default_rng(seed).permutation(np.linspace(0.0, 1.0, n))
    u = np.column_stack([along, np.full((n, 3), at)])
    u = np.vstack([u, [0.5, 1.0, 1.0, 1.0]])
    return Solutions(u, Placed(at).evaluate(u), np.zeros(n + 1))


def family(places=(0.2, 0.4, 0.8), number=0, **settings):
    made = Family(places, **settings)
    made.begin([Placed(at) for at in places])
    made.receive([solutions(at, seed=i) for i, at in enumerate(places)], number)
    return made


def test_first_fronts_of_all_tasks_are_learned_with_their_descriptor_and_objectives():
    data = family().training(solutions(0.2))
    assert data.x.shape == (33, 4)
    assert data.condition.shape == (33, 3)
    # Descriptors in units of the family's range.
    np.testing.assert_allclose(np.unique(data.condition[:, 0]), [0.0, 1 / 3, 1.0])
    np.testing.assert_allclose(data.x[:, 1], 0.2 + 0.6 * data.condition[:, 0])
    # The front's range is the unit box, and f1 is the first variable.
    np.testing.assert_allclose(data.condition[:, 1], data.x[:, 0])


def test_every_task_is_asked_for_by_its_own_descriptor_between_and_a_little_beyond_fronts():
    rng = np.random.default_rng(0)
    for number, place in enumerate((0.0, 1 / 3, 1.0)):
        asked = family(number=number, widen=0.1).ask(300, solutions(0.2), rng)
        np.testing.assert_allclose(asked[:, 0], place)
        assert asked[:, 1:].min() > -0.1 - 1e-12
        assert asked[:, 1:].max() < 1.1 + 1e-12
    within = family(widen=0.0).ask(300, solutions(0.2), rng)[:, 1:]
    assert within.min() >= 0.0
    assert within.max() <= 1.0


def test_the_null_is_not_told_which_task_is_meant():
    untold = family(told=False)
    np.testing.assert_array_equal(untold.training(solutions(0.2)).condition[:, 0], 0.0)
    np.testing.assert_array_equal(untold.ask(5, solutions(0.2), np.random.default_rng(0))[:, 0], 0)


def test_tasks_without_solutions_are_left_out():
    made = family()
    made.receive([solutions(0.2), None, solutions(0.8)], 0)
    assert set(made.training(solutions(0.2)).condition[:, 0]) == {0.0, 1.0}


def test_one_more_task_is_asked_for_by_the_trade_offs_of_the_nearest_evenly_spread():
    asked = family().ask_for(0.7, 5, np.random.default_rng(0))
    np.testing.assert_allclose(asked[:, 0], 5 / 6)
    along = np.sort(asked[:, 1])
    assert (along[0], along[-1]) == (0.0, 1.0)
    assert np.diff(along).max() < 0.5
    more = family().ask_for([0.7], 30, np.random.default_rng(0))
    assert more.shape == (30, 3)


@pytest.mark.parametrize(
    ("descriptors", "match"),
    [
        (["a", "b"], "finite numbers"),
        ([[1.0], [1.0, 2.0]], "finite numbers"),
        ([0.0, np.nan], "finite numbers"),
        ([], "finite numbers"),
        (np.zeros((2, 2, 2)), "finite numbers"),
    ],
)
def test_descriptors_must_be_rows_of_numbers(descriptors, match):
    with pytest.raises(ValueError, match=match):
        Family(descriptors)


def test_families_that_do_not_fit_are_refused_before_anything_is_evaluated():
    tasks = [Placed(0.2), Placed(0.4)]
    model = GaussianMixture()
    run = lambda tasks, examples: minimize_multitask(  # noqa: E731
        tasks, PACT(10, model=model, examples=examples), ("n_eval", 100), seed=1
    )
    with pytest.raises(ValueError, match="descriptors are missing"):
        run(tasks, Family())
    with pytest.raises(ValueError, match="3 rows, but there are 2 tasks"):
        run(tasks, Family([1, 2, 3]))
    with pytest.raises(ValueError, match=r"same n_var; these have \[4, 5\]"):
        run([tasks[0], Placed(0.2, n_var=5)], Family([1, 2]))
    with pytest.raises(ValueError, match="widen=-1"):
        Family(widen=-1)
    with pytest.raises(ValueError, match=r"descriptor=\[1, 2\] must be 1 numbers"):
        family().ask_for([1, 2], 3, np.random.default_rng(0))
    with pytest.raises(RuntimeError, match="not known yet"):
        Family([1, 2]).ask_for(1, 3, np.random.default_rng(0))


def test_one_model_serves_all_tasks_and_finds_what_differs():
    """With few evaluations a family is solved better than by plain transfers, or by itself."""
    places = np.linspace(0.1, 0.9, 6)
    model = {"model": GaussianMixture(), "refit_every": 1}
    settings = {
        "family": model | {"examples": Family(places)},
        "untold": model | {"examples": Family(places, told=False)},
        "transfers": {},
        "alone": {"transfers": ()},
    }
    gaps = dict.fromkeys(settings, 0.0)
    for name, of_pact in settings.items():
        for seed in (2, 3):
            tasks = [Placed(at, n_var=10) for at in places]
            res = minimize_multitask(tasks, PACT(20, **of_pact), ("n_eval", 2400), seed=seed)
            gaps[name] += sum(np.abs(t.X[:, 1:] - t.problem.at).mean() for t in res.tasks)
        if name == "family":
            (slot,) = res.algorithm.slots
            assert slot.failures == []
            assert slot.n_fits <= res.algorithm.n_gen
    assert gaps["family"] < 0.92 * min(gaps["untold"], gaps["transfers"], gaps["alone"])


def test_any_algorithm_may_have_it_side_by_side():
    def build(problem, pop_size):
        return NSGA2(pop_size, mating=GenerativeMating(LocalLinear(), Family(), share=0.5))

    tasks = get_problem("df1-family", n_tasks=3)
    res = minimize_multitask(tasks, SideBySide(build, 20), ("n_eval", 900), seed=1)
    for number, algorithm in enumerate(res.algorithm.algorithms):
        examples = algorithm.mating.examples
        assert algorithm.mating.slot.failures == []
        assert len(examples.known) == 3
        asked = examples.ask(2, examples.known[number], np.random.default_rng(0))
        np.testing.assert_allclose(asked[:, 0], number / 2)


def test_a_new_task_starts_near_its_pareto_set():
    places, new = (0.2, 0.4, 0.6, 0.9), Placed(0.5, scale=7.0)
    rng = np.random.default_rng(0)
    solved = []
    for at in places:
        u = np.column_stack([np.linspace(0, 1, 30), at + 0.02 * rng.standard_normal((30, 3))])
        task = Placed(at, scale=7.0)
        solved.append(SimpleNamespace(problem=task, X=7.0 * u, F=task.evaluate(7.0 * u), CV=None))
    solved.append(SimpleNamespace(problem=new, X=None, F=None, CV=None))  # found nothing
    sampling = FamilySampling(GaussianMixture(), solved, [*places, 5.0], 0.5)
    x = sampling.do(new, 25, random_state=np.random.default_rng(1)).get("X")
    assert x.shape == (25, 4)
    assert np.abs(x[:, 1:] / 7.0 - 0.5).max() < 0.12
    assert np.ptp(x[:, 0] / 7.0) > 0.8
    again = sampling.do(new, 25, random_state=np.random.default_rng(1)).get("X")
    np.testing.assert_array_equal(x, again)
    sampling.descriptor = 0.8
    other = sampling.do(new, 25, random_state=np.random.default_rng(1)).get("X")
    assert np.abs(other[:, 1:] / 7.0 - 0.8).max() < 0.12
    assert sampling.slot.n_fits == 1
    start = FamilySampling(GaussianMixture(), solved, [*places, 5.0], 0.5, share=0.5)
    res = minimize(new, NSGA2(20, sampling=start), ("n_eval", 60), seed=1)
    assert res.F[:, 1].min() < 0.1


def test_a_warm_start_learns_from_what_is_feasible_only():
    solved = [
        SimpleNamespace(problem=Placed(at), X=(s := solutions(at)).u, F=s.f, CV=np.zeros(len(s)))
        for at in (0.2, 0.4, 0.6)
    ]
    solved[1].CV = np.ones(len(solved[1].F))  # the least infeasible is what results have then
    sampling = FamilySampling(GaussianMixture(n_components=1), solved, (0.2, 0.4, 0.6), 0.4)
    assert len(sampling._family.known) == 2
    x = sampling.do(Placed(0.4), 20, random_state=np.random.default_rng(0)).get("X")
    assert np.abs(x[:, 1:] - 0.4).max() < 0.05
    assert np.ptp(x[:, 0]) > 0.8


def test_one_training_serves_several_runs():
    solved = [
        SimpleNamespace(problem=Placed(at), X=(s := solutions(at)).u, F=s.f, CV=None)
        for at in (0.2, 0.4)
    ]
    trained = FamilySampling(GaussianMixture(), solved, (0.2, 0.4), 0.3).fit()
    fresh = FamilySampling(GaussianMixture(), solved, (0.2, 0.4), 0.3)
    fresh.do(Placed(0.3), 5, random_state=np.random.default_rng(9))
    draws = [
        sampling.do(Placed(0.3), 5, random_state=np.random.default_rng(1)).get("X")
        for sampling in (trained, fresh)
    ]
    np.testing.assert_array_equal(*draws)
    assert trained.slot.n_fits == 1


def test_a_warm_start_that_cannot_be_is_refused():
    solved = [
        SimpleNamespace(problem=Placed(at), X=(s := solutions(at)).u, F=s.f, CV=None)
        for at in (0.2, 0.4)
    ]
    with pytest.raises(ValueError, match="descriptors have 3 rows, but solved has 2"):
        FamilySampling(GaussianMixture(), solved, [1, 2, 3], 1.5)
    with pytest.raises(ValueError, match="two tasks with feasible solutions at least; got 1"):
        FamilySampling(GaussianMixture(), solved[:1], [1], 1.5)
    with pytest.raises(ValueError, match="must be 1 numbers"):
        FamilySampling(GaussianMixture(), solved, [1, 2], [1.5, 2])
    with pytest.raises(TypeError, match="no method fit"):
        FamilySampling(3, solved, [1, 2], 1.5)
    sampling = FamilySampling(GaussianMixture(), solved, [1, 2], 1.5)
    with pytest.raises(ValueError, match="the problem has 6 variables, the solved ones 4"):
        sampling.do(Placed(0.3, n_var=6), 5, random_state=np.random.default_rng(0))
