from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pymoo.core.mixed import Binary, Integer, Real
from pymoo.core.problem import ElementwiseProblem, Problem
from pymoo.optimize import minimize
from pymoo.problems.many import DTLZ2, DTLZ7
from pymoo.problems.multi import ZDT5
from pymoo.problems.single.knapsack import create_random_knapsack_problem

from evogen.problems import IMF1, IMF9, ShiftedProblem, get_problem, list_problems, shifted
from evogen.problems.shifted import PLAIN_OPTIMA

FOLDS = ["smooth", "kinked"]
N_VAR = 6
units = arrays(float, (5, N_VAR), elements=st.floats(0.0, 1.0))
seeds = st.integers(0, 2**32 - 1)


class Box(Problem):
    """Reports its own normalised variables as objectives."""

    def __init__(self, xl=None, xu=None):
        xl = np.linspace(-3, 5, N_VAR) if xl is None else xl
        xu = np.linspace(1, 50, N_VAR) if xu is None else xu
        super().__init__(n_var=N_VAR, n_obj=N_VAR, xl=xl, xu=xu, vtype=float)

    def _evaluate(self, x, out, *args, **kwargs):
        out["F"] = (x - self.xl) / (self.xu - self.xl)


class Sides(ElementwiseProblem):
    """Elementwise, with both kinds of constraints and an output of its own."""

    def __init__(self):
        super().__init__(n_var=3, n_obj=2, n_ieq_constr=1, n_eq_constr=1, xl=-1.0, xu=2.0)

    def _evaluate(self, x, out, *args, **kwargs):
        out["F"] = [x.sum(), x.prod()]
        out["G"] = [x[0] - x[1]]
        out["H"] = [x[2] - 0.5]
        out["where"] = x.copy()


def to_box(problem, u):
    return problem.xl + u * (problem.xu - problem.xl)


# --- the folds -----------------------------------------------------------------------------------


@pytest.mark.parametrize("fold", FOLDS)
@given(u=units, seed=seeds)
@settings(max_examples=60, deadline=None)
def test_a_fold_maps_the_box_into_the_box(fold, u, seed):
    twin = shifted(Box(), seed=seed, fold=fold)
    v = twin.evaluate(to_box(twin, u))
    assert np.all((v >= -1e-12) & (v <= 1 + 1e-12))


@pytest.mark.parametrize("fold", FOLDS)
@given(v=units, seed=seeds)
@settings(max_examples=60, deadline=None)
def test_a_fold_reaches_every_point_of_the_box_from_within_the_box(fold, v, seed):
    original = Box()
    twin = shifted(original, seed=seed, fold=fold)
    x = twin.from_original(to_box(original, v))
    assert np.all((x >= twin.xl - 1e-9) & (x <= twin.xu + 1e-9))
    # The smooth fold is flat at its lowest point: there v comes back with half of the digits.
    np.testing.assert_allclose(twin.evaluate(x), v, atol=1e-9)


@pytest.mark.parametrize("fold", FOLDS)
@given(u=units, seed=seeds)
@settings(max_examples=60, deadline=None)
def test_a_fold_is_continuous(fold, u, seed):
    twin = shifted(Box(), seed=seed, fold=fold)
    near = np.clip(u + 1e-7, 0, 1)
    change = np.abs(twin.evaluate(to_box(twin, near)) - twin.evaluate(to_box(twin, u)))
    assert np.all(change <= 2e-7)


def test_the_kinked_fold_is_the_formula():
    twin = shifted(Box(), seed=4, fold="kinked")
    u = np.random.default_rng(0).random((50, N_VAR))
    expected = np.abs(u - twin.offsets) / (1 - twin.offsets)
    np.testing.assert_allclose(twin.evaluate(to_box(twin, u)), expected, atol=1e-12)


def test_the_smooth_fold_is_the_formula_and_leaves_the_first_variable():
    twin = shifted(Box(), seed=4)
    u = np.random.default_rng(0).random((50, N_VAR))
    e, c = 0.05, twin.offsets
    top = np.sqrt((1 - c) ** 2 + e**2) - e
    expected = np.minimum(1, (np.sqrt((u - c) ** 2 + e**2) - e) / top)
    expected[:, 0] = u[:, 0]
    np.testing.assert_allclose(twin.evaluate(to_box(twin, u)), expected, atol=1e-12)
    assert twin.offsets[0] == 0.0


@given(v=units, seed=seeds)
@settings(max_examples=60, deadline=None)
def test_a_bent_box_is_one_to_one_and_keeps_its_corners_but_not_its_centre(v, seed):
    original = Box()
    twin = shifted(original, seed=seed, fold="bent")
    x = twin.from_original(to_box(original, v))
    assert np.all((x >= twin.xl - 1e-9) & (x <= twin.xu + 1e-9))
    np.testing.assert_allclose(twin.evaluate(x), v, atol=1e-9)
    u = np.linspace(0.0, 1.0, 101)[:, None].repeat(N_VAR, axis=1)
    values = twin.evaluate(to_box(twin, u))
    assert np.all(np.diff(values, axis=0) > 0)
    np.testing.assert_allclose(values[[0, -1]], u[[0, -1]], atol=1e-12)
    centre = twin.evaluate(to_box(twin, 0.5 - twin.offsets[None]))
    np.testing.assert_allclose(centre, 0.5, atol=1e-12)
    assert twin.offsets[0] == 0.0


def test_a_bent_twin_keeps_its_front():
    original = get_problem("dtlz2")
    twin = shifted(original, seed=5, fold="bent")
    x = twin.pareto_set(300)
    expected = original.evaluate(original.pareto_set(300))
    np.testing.assert_allclose(twin.evaluate(x), expected, atol=1e-9)
    distance = ((x - twin.xl) / (twin.xu - twin.xl))[:, 2:]
    np.testing.assert_allclose(distance, 0.5 - twin.offsets[None, 2:].repeat(len(x), axis=0))


@given(seed=seeds)
@settings(max_examples=50, deadline=None)
def test_offsets_follow_from_the_seed_and_stay_in_their_range(seed):
    smooth, kinked = shifted(Box(), seed=seed), shifted(Box(), seed=seed, fold="kinked")
    np.testing.assert_array_equal(smooth.offsets[1:], kinked.offsets[1:])
    assert np.all((kinked.offsets >= 0.15) & (kinked.offsets <= 0.4))
    np.testing.assert_array_equal(kinked.offsets, shifted(Box(), seed=seed, fold="kinked").offsets)
    assert not np.array_equal(kinked.offsets, shifted(Box(), seed=seed + 1, fold="kinked").offsets)


# --- box, front and Pareto set -------------------------------------------------------------------


@pytest.mark.parametrize("fold", FOLDS)
@pytest.mark.parametrize("name", ["imf1", "imf4", "imf9", "uf2", "zdt1", "zdt4", "dtlz2", "dtlz7"])
def test_the_twin_keeps_box_and_front_and_its_pareto_set_reaches_the_front(name, fold):
    original = get_problem(name)
    twin = shifted(original, seed=5, fold=fold)
    np.testing.assert_array_equal(twin.xl, original.xl)
    np.testing.assert_array_equal(twin.xu, original.xu)
    np.testing.assert_array_equal(twin.pareto_front(300), original.pareto_front(300))
    x = twin.pareto_set(300)
    assert np.all((x >= twin.xl) & (x <= twin.xu))
    expected = original.evaluate(original.pareto_set(300))
    np.testing.assert_allclose(twin.evaluate(x), expected, atol=1e-5)
    assert not np.allclose(x, original.pareto_set(300), atol=0.1)


@pytest.mark.parametrize("fold", FOLDS)
@pytest.mark.parametrize(
    ("name", "at"), [("zdt1", 0.0), ("zdt4", 0.5), ("dtlz2", 0.5), ("imf1", 0)]
)
def test_the_pareto_set_leaves_the_corner_and_the_centre(name, at, fold):
    original = get_problem(name)
    n_position = original.n_obj - 1

    def distance_variables(problem):
        u = (problem.pareto_set(101) - problem.xl) / (problem.xu - problem.xl)
        return u[:, n_position:]

    # In IMF1 it is the corner x = 0 that the set touches, with its first row.
    rows = slice(0, 1) if name == "imf1" else slice(None)
    if name == "zdt4":
        # pymoo has its distance variables in [-5, 5].
        assert original.xl[1] == -5
    np.testing.assert_allclose(distance_variables(original)[rows], at, atol=1e-12)
    moved = distance_variables(shifted(original, seed=1, fold=fold))[rows]
    for landmark in (0.0, 0.5, 1.0):
        assert np.abs(moved - landmark).min() > 0.02


def test_a_problem_without_a_known_front_has_a_twin_without_one():
    twin = shifted(get_problem("carside"))
    assert twin.pareto_front() is None
    assert twin.pareto_set() is None


def test_the_twin_of_pymoos_own_object_does_not_download_either():
    assert shifted(DTLZ7()).pareto_front(100).shape[1] == 3
    np.testing.assert_array_equal(
        shifted(DTLZ2(), fold="kinked").pareto_set(50),
        get_problem("dtlz2-shifted", fold="kinked").pareto_set(50),
    )


# --- plain shifts --------------------------------------------------------------------------------

PLAIN = ["imf1", "imf4", "uf4", "lsmop1", "lsmop3", "lsmop6", "lsmop7", "lsmop9", "dtlz1", "dtlz2",
         "dtlz3", "dtlz4", "dtlz5", "c2dtlz2", "zdt4", "inverted_dtlz1"]  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_shift_moves_the_pareto_set_within_the_box_and_keeps_the_front(name, excess):
    original = get_problem(name)
    twin = shifted(original, seed=2, fold="plain")
    n_position = original.n_obj - 1
    assert np.all(twin.offsets[:n_position] == 0)
    assert np.all(twin.offsets[n_position:] >= 0)
    assert twin.offsets.max() > 0.02
    width = twin.xu - twin.xl
    rng = np.random.default_rng(0)
    # Anywhere in the box, and near the best distance values.
    x = rng.uniform(twin.xl, twin.xu, (4000, twin.n_var))
    if (best := twin.pareto_set(500)) is not None:
        assert np.all((best >= twin.xl) & (best <= twin.xu))
        np.testing.assert_allclose(
            twin.evaluate(best, return_values_of=["F"]),
            original.evaluate(original.pareto_set(500), return_values_of=["F"]),
            atol=1e-9,
        )
        noise = 1e-3 * rng.normal(size=(2000, twin.n_var)) * width
        x[:2000] = np.clip(best[rng.integers(0, len(best), 2000)] + noise, twin.xl, twin.xu)
    f = twin.evaluate(x, return_values_of=["F"])
    assert np.all(np.isfinite(f))
    # The front's own spacing is the tolerance.
    assert excess(twin.pareto_front(5000), f) < 0.02


@pytest.mark.parametrize("name", ["sphere", "rastrigin", "ackley", "griewank", "zakharov",
                                  "rosenbrock"])  # fmt: skip
def test_a_plain_shift_of_a_single_objective_problem_keeps_its_least_value(name):
    twin = get_problem(f"{name}-shifted", n_var=4, seed=3, fold="plain")
    best = twin.pareto_set()
    assert np.all((best > twin.xl) & (best < twin.xu))
    least = float(twin.pareto_front()[0, 0])
    assert twin.evaluate(best)[0, 0] == pytest.approx(least, abs=1e-9)
    x = np.random.default_rng(0).uniform(twin.xl, twin.xu, (20_000, 4))
    assert twin.evaluate(x).min() > least


def test_every_problem_said_to_allow_a_plain_shift_does():
    reachable = {
        getattr(type(p), "pymoo_class", type(p)) for p in map(get_problem, list_problems())
    }
    assert set(PLAIN_OPTIMA) <= reachable
    for name in list_problems():
        problem = get_problem(name)
        if getattr(type(problem), "pymoo_class", type(problem)) in PLAIN_OPTIMA:
            x = np.random.default_rng(0).uniform(problem.xl, problem.xu, (50, problem.n_var))
            f = shifted(problem, fold="plain").evaluate(x, return_values_of=["F"])
            assert np.all(np.isfinite(f))


@pytest.mark.parametrize("name", ["imf5", "uf1", "zdt1", "zdt6", "dtlz6", "dtlz7", "wfg4", "mw1"])
def test_a_plain_shift_that_would_change_the_front_is_refused(name):
    with pytest.raises(ValueError, match="fold='plain' would change the front"):
        shifted(get_problem(name), fold="plain")


# --- what passes through -------------------------------------------------------------------------


@pytest.mark.parametrize("fold", FOLDS)
def test_constraints_and_own_outputs_of_an_elementwise_problem_pass_through(fold):
    original = Sides()
    twin = shifted(original, seed=8, fold=fold)
    x = np.random.default_rng(0).uniform(twin.xl, twin.xu, (20, 3))
    out = twin.evaluate(x, return_as_dictionary=True)
    expected = original.evaluate(twin.to_original(x), return_as_dictionary=True)
    assert set(out) == {"F", "G", "H", "where"}
    for key, value in expected.items():
        np.testing.assert_array_equal(out[key], value)
    assert (twin.n_ieq_constr, twin.n_eq_constr) == (1, 1)
    single = twin.evaluate(x[0], return_as_dictionary=True)
    np.testing.assert_array_equal(single["F"], out["F"][0])


def test_a_variable_with_one_possible_value_stays_there():
    xl, xu = np.zeros(N_VAR), np.ones(N_VAR)
    xl[2] = xu[2] = 0.7
    twin = ShiftedProblem(Box(xl, xu), fold="kinked")
    x = np.random.default_rng(0).uniform(xl, xu, (10, N_VAR))
    np.testing.assert_array_equal(twin.to_original(x)[:, 2], 0.7)
    np.testing.assert_array_equal(twin.from_original(x)[:, 2], 0.7)


def test_copies_and_pickles_give_the_same_values():
    twin = shifted(get_problem("dtlz7"), seed=2)
    x = np.random.default_rng(0).uniform(twin.xl, twin.xu, (10, twin.n_var))
    for other in (copy.deepcopy(twin), pickle.loads(pickle.dumps(twin))):
        np.testing.assert_array_equal(other.evaluate(x), twin.evaluate(x))
        np.testing.assert_array_equal(other.pareto_front(50), twin.pareto_front(50))


def test_a_twin_says_what_it_is():
    twin = shifted(IMF1(), seed=7, fold="kinked")
    assert twin.name() == "IMF1-shifted"
    assert (twin.seed, twin.fold) == (7, "kinked")
    assert isinstance(twin.original, IMF1)


def test_pymoo_minimizes_a_twin():
    from pymoo.algorithms.moo.nsga2 import NSGA2

    twin = get_problem("imf1-shifted", n_var=5, seed=1)
    first, second = (minimize(twin, NSGA2(pop_size=20), ("n_gen", 5), seed=1).F for _ in range(2))
    np.testing.assert_array_equal(first, second)


# --- bad input -----------------------------------------------------------------------------------


class Mixed(Problem):
    def __init__(self):
        super().__init__(
            vars={"a": Real(bounds=(0, 1)), "b": Integer(bounds=(0, 9)), "c": Binary()}, n_obj=1
        )


class Whole(Problem):
    def __init__(self, vtype=int):
        super().__init__(n_var=4, n_obj=1, xl=0, xu=9, vtype=vtype)


@pytest.mark.parametrize(
    "problem",
    [Mixed(), Whole(int), Whole(bool), ZDT5(), create_random_knapsack_problem(5)],
    ids=["mixed", "integer", "binary", "bit strings", "knapsack"],
)
def test_a_problem_whose_variables_are_not_real_is_refused(problem):
    with pytest.raises(
        TypeError, match=f"{problem.name()} cannot be shifted because its variables"
    ):
        shifted(problem)


@pytest.mark.parametrize("what", ["a string", None, IMF1])
def test_what_is_no_problem_is_refused(what):
    with pytest.raises(TypeError, match="must be a pymoo Problem"):
        shifted(what)


def test_bounds_that_make_no_box_are_refused():
    with pytest.raises(ValueError, match="bounds xl, xu are not all finite"):
        shifted(Box(xu=np.array([1.0, 2.0, np.inf, 9.0, 50.0, 50.0])))
    with pytest.raises(ValueError, match=r"reversed bounds: xl\[2\]=.* is above xu\[2\]"):
        shifted(Box(xl=np.array([0, 0, 5.0, 0, 0, 0]), xu=np.full(N_VAR, 2.0)))
    for shape in [(2,), (1,), (N_VAR, 1), ()]:
        misshapen = Box()
        misshapen.xu = np.ones(shape)
        with pytest.raises(ValueError, match=rf"xu of the shape {re.escape(str(shape))}, expected"):
            shifted(misshapen)
    unbounded = Box()
    unbounded.xl = unbounded.xu = None
    with pytest.raises(ValueError, match="not all finite"):
        shifted(unbounded)


def test_a_fold_or_seed_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="fold='rough' must be one of 'smooth', 'kinked', 'bent'"):
        shifted(IMF9(), fold="rough")
    with pytest.raises(ValueError, match="seed=-1 must be at least 0"):
        shifted(IMF9(), seed=-1)
    with pytest.raises(TypeError, match=r"seed=1\.5 must be an integer"):
        shifted(IMF9(), seed=1.5)


def test_a_smooth_fold_of_a_single_variable_is_refused():
    with pytest.raises(ValueError, match="leaves the first variable alone"):
        get_problem("sphere-shifted", n_var=1)
    assert get_problem("sphere-shifted", n_var=1, fold="kinked").offsets[0] > 0
