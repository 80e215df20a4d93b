from __future__ import annotations

import copy
import pickle

import moocore
import numpy as np
import pymoo.problems.many as many
import pymoo.problems.multi as multi
import pytest
from pymoo.core.problem import Problem
from scipy.spatial import cKDTree

from evogen.problems import (
    IMF1,
    N_PARETO_POINTS,
    get_problem,
    list_problems,
    offline,
    shifted,
    true_front,
    true_set,
)

UNKNOWN = {"carside"}
SOME_SCALABLE = ["dtlz1", "dtlz2", "dtlz5", "dtlz7", "wfg1", "wfg2", "wfg3", "wfg4", "mw4", "mw8",
                 "mw14", "c2dtlz2", "c3dtlz1", "c3dtlz4", "dc1dtlz1", "dc3dtlz3", "zcat3", "zcat14",
                 "zcat19", "lsmop2", "lsmop9", "inverted_dtlz1", "convex_dtlz2"]  # fmt: skip


def feasible_image(problem, x):
    # CTP divides 0 by 0 in the tips of its tunnels.
    with np.errstate(divide="ignore", invalid="ignore"):
        out = problem.evaluate(x, return_as_dictionary=True)
        good = np.ones(len(x), dtype=bool)
        if problem.n_ieq_constr:
            good = np.all(out["G"] <= 0, axis=1)
    return out["F"][good]


# --- every problem of the registry ---------------------------------------------------------------


@pytest.mark.parametrize("name", list_problems())
def test_every_problem_has_an_offline_front_that_is_non_dominated_and_reproducible(name):
    problem = get_problem(name)
    front = problem.pareto_front(200)
    if name in UNKNOWN:
        assert front is None
        return
    assert front.shape[1] == problem.n_obj
    assert front.dtype == float
    assert np.all(np.isfinite(front))
    assert np.all(moocore.is_nondominated(front))
    assert len(front) <= 210
    np.testing.assert_array_equal(get_problem(name).pareto_front(200), front)
    front[:] = np.nan
    assert np.all(np.isfinite(problem.pareto_front(200)))


@pytest.mark.parametrize("name", list_problems())
def test_every_pareto_set_is_feasible_and_maps_onto_the_front(name, excess, uncovered):
    problem = get_problem(name)
    x = problem.pareto_set(300)
    if x is None or problem.n_obj == 1:
        return
    assert np.all((x >= problem.xl - 1e-12) & (x <= problem.xu + 1e-12))
    out = problem.evaluate(x, return_as_dictionary=True)
    if problem.n_ieq_constr:
        assert np.all(out["G"] <= 1e-6 * np.maximum(1, np.abs(out["G"]).max()))
    front = problem.pareto_front()
    tolerance = 0.002 if problem.n_obj == 2 else 0.03
    assert excess(front, out["F"]) < tolerance
    assert uncovered(front, out["F"], tolerance) == 0
    scaled = (out["F"] - front.min(axis=0)) / np.ptp(front, axis=0)
    distance, _ = cKDTree((front - front.min(axis=0)) / np.ptp(front, axis=0)).query(scaled)
    assert distance.max() < tolerance * 2


@pytest.mark.parametrize("name", list_problems())
def test_every_problem_copies_and_pickles(name):
    problem = get_problem(name)
    x = np.random.default_rng(0).uniform(problem.xl, problem.xu, (3, problem.n_var))
    expected = problem.evaluate(x, return_as_dictionary=True)
    for other in (copy.deepcopy(problem), pickle.loads(pickle.dumps(problem))):
        assert type(other) is type(problem)
        out = other.evaluate(x, return_as_dictionary=True)
        for key, value in expected.items():
            np.testing.assert_array_equal(out[key], value)


@pytest.mark.parametrize("n_obj", [2, 4])
@pytest.mark.parametrize("name", SOME_SCALABLE)
def test_fronts_exist_for_other_numbers_of_objectives(name, n_obj):
    front = get_problem(name, n_obj=n_obj).pareto_front(300)
    assert front.shape[1] == n_obj
    assert len(front) >= (16 if name.startswith("dc") else 30)
    assert np.all(moocore.is_nondominated(front))


@pytest.mark.parametrize("n_obj", [2, 3])
@pytest.mark.parametrize("name", ["zcat1", "zcat5", "zcat12", "zcat16", "zcat19", "zcat20"])
def test_nothing_lies_below_a_zcat_front(name, n_obj, excess):
    problem = get_problem(name, n_var=n_obj + 1, n_obj=n_obj)
    y = np.random.default_rng(0).random((4000, n_obj + 1))
    y[::2, n_obj - 1 :] = 0.221
    y[::4, 1:] = 0.221
    f = problem.evaluate(problem.xl + y * (problem.xu - problem.xl))
    assert excess(problem.pareto_front(), f) < (0.001 if n_obj == 2 else 0.03)


# --- against pymoo's own formulas and against closed forms ----------------------------------------


@pytest.mark.parametrize(
    "cls",
    [multi.ZDT1, multi.ZDT2, multi.ZDT3, multi.ZDT4, multi.ZDT6, many.DTLZ1, many.DTLZ2, many.DTLZ3,
     many.DTLZ4, multi.MW1, multi.MW2, multi.MW3, multi.MW6, multi.MW8, multi.MW12, many.C1DTLZ1,
     many.C2DTLZ2, many.C3DTLZ4, multi.BNH],
)  # fmt: skip
def test_fronts_agree_with_those_that_pymoo_has_by_formula(cls):
    with np.errstate(divide="ignore"):
        pymoos = cls().pareto_front()
    ours = offline(cls)().pareto_front()
    span = np.ptp(ours, axis=0)
    there, _ = cKDTree(ours / span).query(pymoos / span)
    # pymoo follows a bound by steps of 0.1 % of the distance to the origin (MW3, MW12).
    assert there.max() < (0.02 if ours.shape[1] == 3 else 0.003)
    # pymoo has 100 points, or a lattice of 136.
    back, _ = cKDTree(pymoos / span).query(ours / span)
    assert back.max() < (0.15 if ours.shape[1] == 3 else 0.06)


@pytest.mark.parametrize("name", [f"wfg{i}" for i in range(1, 10)])
@pytest.mark.parametrize("n_obj", [2, 3])
def test_wfg_fronts_are_the_image_of_pymoos_random_optimal_solutions(
    name, n_obj, uncovered, excess
):
    problem = get_problem(name, n_obj=n_obj)
    rng = np.random.default_rng(0)
    position = rng.random((500, problem.k))
    if name == "wfg1":
        position = position**50
    f = problem.evaluate(problem._positional_to_optimal(position))
    front = problem.pareto_front()
    tolerance = 0.002 if n_obj == 2 else 0.03
    assert uncovered(front, f, tolerance) == 0
    assert excess(front, f) < tolerance


def test_the_curve_of_dtlz5_and_dtlz6_is_its_formula():
    for name in ("dtlz5", "dtlz6"):
        front = get_problem(name).pareto_front(101)
        np.testing.assert_allclose(np.linalg.norm(front, axis=1), 1.0)
        np.testing.assert_allclose(front[:, 0], front[:, 1])
        assert front[:, 2].min() == 0.0
        assert front[:, 2].max() == pytest.approx(1.0)


def test_the_pieces_of_dtlz7_end_where_they_should():
    first = np.unique(get_problem("dtlz7").pareto_front()[:, 0])
    gap = np.argmax(np.diff(first))
    # Published to six digits (PlatEMO).
    assert first[gap] == pytest.approx(0.251412, abs=1e-6)
    assert first[gap + 1] == pytest.approx(0.631627, abs=1e-6)
    assert first[-1] == pytest.approx(0.859401, abs=1e-6)


def test_the_pieces_of_zdt3_end_where_they_should():
    published = [0.0830015349, 0.182228780, 0.2577623634, 0.4093136748, 0.4538821041,
                 0.6183967944, 0.6525117038, 0.8233317983, 0.8518328654]  # fmt: skip
    f1 = get_problem("zdt3").pareto_front()[:, 0]
    breaks = np.flatnonzero(np.diff(f1) > 0.01)
    ends = np.sort(np.concatenate([f1[breaks], f1[breaks + 1], f1[-1:]]))
    np.testing.assert_allclose(ends, published, atol=1e-7)


def test_zdt5_has_31_points():
    front = get_problem("zdt5", normalize=False).pareto_front()
    np.testing.assert_allclose(front[:, 0] * front[:, 1], 10.0)
    assert len(front) == 31


def test_the_single_points_of_mw5_are_found():
    """Both bounds touch the unit circle where sin(6 t^3) = 0, t = pi/2 - 2 |angle - pi/4|."""
    t = np.cbrt(np.arange(8) * np.pi / 6)
    angle = np.concatenate([np.pi / 4 + (np.pi / 2 - t) / 2, np.pi / 4 - (np.pi / 2 - t) / 2])
    tips = np.column_stack([np.cos(angle), np.sin(angle)])
    distance, _ = cKDTree(get_problem("mw5").pareto_front()).query(tips)
    assert distance.max() < 1e-5


@pytest.mark.parametrize(("name", "n_tips"), [("ctp3", 13), ("ctp4", 13), ("ctp5", 16)])
def test_the_tips_of_ctp_tunnels_are_on_the_front(name, n_tips):
    front = get_problem(name).pareto_front()
    on_line = np.isclose(front[:, 1], 1 - np.tan(0.2 * np.pi) * front[:, 0], atol=1e-12)
    assert on_line.sum() == n_tips
    if name != "ctp5":
        assert len(front) == n_tips


def test_the_corner_of_mw11_is_found():
    """Where the curves f2 = 3 - 7 f1^2 and f2 = 2.07 - 0.23 f1^2 meet."""
    front = get_problem("mw11").pareto_front()
    square = 0.93 / 6.77
    np.testing.assert_allclose(front[0], [np.sqrt(square), 3 - 7 * square], atol=1e-4)


def test_extremes_of_the_classic_problems():
    beam = get_problem("welded_beam").pareto_front()
    # Published least cost 2.3810 and, with full sizes, least deflection 2.1952 / 5000.
    assert beam[0, 0] == pytest.approx(2.381, abs=2e-3)
    # Costs fall smoothly with the deflection, but for the kink where the height reaches its bound:
    # the inner search has converged.
    assert np.sum(np.abs(np.diff(np.log(beam[:-10, 0]), n=2)) > 2e-4) <= 3
    assert beam[-1, 1] == pytest.approx(2.1952 / 5000)
    osy = get_problem("osy").pareto_front()
    np.testing.assert_allclose([osy[0, 0], osy[-1, 0]], [-274, -42], atol=0.01)
    np.testing.assert_allclose(get_problem("kursawe").pareto_front()[0], [-20, 0], atol=1e-9)
    srn = get_problem("srn").pareto_front()
    np.testing.assert_allclose(srn[0], [10.1, 2.61], atol=1e-9)


# --- computed fronts against dense sampling of the real problem -----------------------------------


def near_optimal(problem, best, rng, n=40_000):
    """Random positions; distance variables at `best(x)` plus noise of all sizes."""
    k = problem.n_obj - 1
    x = rng.uniform(problem.xl, problem.xu, (n, problem.n_var))
    noise = 10 ** rng.uniform(-4, -0.4, (n, 1)) * rng.choice([-1.0, 1.0], (n, 1))
    noise[: n // 4] = 0.0
    for j in range(k, problem.n_var):
        x[:, j] = np.clip(best(x, j) + noise[:, 0], problem.xl[j], problem.xu[j])
    return x


@pytest.mark.parametrize("name", [f"ctp{i}" for i in range(1, 9)])
def test_ctp_fronts_hold_against_a_grid(name, excess, uncovered):
    problem = get_problem(name)
    axes = [np.linspace(low, high, 700) for low, high in zip(problem.xl, problem.xu, strict=True)]
    x = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    f = feasible_image(problem, x)
    front = problem.pareto_front()
    assert excess(front, f) < 1e-6
    assert uncovered(front, f, 1e-3) == 0
    if name not in ("ctp3", "ctp4", "ctp5"):
        distance, _ = cKDTree(f / np.ptp(front, axis=0)).query(front / np.ptp(front, axis=0))
        assert distance.max() < 0.02


@pytest.mark.parametrize("name", [f"mw{i}" for i in range(1, 15)])
def test_mw_fronts_hold_against_sampling_near_the_optimum(name, excess, uncovered):
    i = int(name[2:])
    n_obj = 3 if i in (4, 8, 14) else 2
    d = n_obj + 1
    problem = get_problem(name, n_var=d)

    def best(x, j):
        if i in (1, 4, 5, 9, 12):
            return np.full(len(x), 0.5 + j / (2 * d))
        if i in (2, 6, 8, 10, 13):
            return np.full(len(x), j / d)
        return 1 - (x[:, j - 1] - 0.5) ** 2

    f = feasible_image(problem, near_optimal(problem, best, np.random.default_rng(0)))
    front = problem.pareto_front()
    assert excess(front, f) < (1e-6 if n_obj == 2 else 0.02)
    assert uncovered(front, f, 1e-3 if n_obj == 2 else 0.02) == 0
    # Samples hardly hit where the feasible region narrows to a point, but most of the front.
    distance, _ = cKDTree(f / np.ptp(front, axis=0)).query(front / np.ptp(front, axis=0))
    assert np.quantile(distance, 0.75) < 0.02


@pytest.mark.parametrize("difficulty", [2, 8, 11, 13])
@pytest.mark.parametrize("name", [f"dascmop{i}" for i in (1, 2, 3, 5, 7, 8, 9)])
def test_dascmop_fronts_hold_against_sampling_near_the_optimum(name, difficulty, excess, uncovered):
    problem = get_problem(name, difficulty=difficulty)
    i = int(name[-1])

    def best(x, j):
        if i <= 3:
            return np.sin(0.5 * np.pi * x[:, 0])
        if i <= 8:
            return np.full(len(x), 0.5)
        return np.cos(0.25 * (j + 1) / 30 * np.pi * (x[:, 0] + x[:, 1]))

    x = near_optimal(problem, best, np.random.default_rng(0), 20_000)
    f = feasible_image(problem, x)
    front = problem.pareto_front()
    assert np.all(moocore.is_nondominated(front))
    # The equality-like band of difficulty 13 is hit by few samples, if any.
    assert len(f) > 0 or difficulty == 13
    if len(f):
        tolerance = 1e-3 if problem.n_obj == 2 else 0.03
        assert excess(front, f) < tolerance
        assert uncovered(front, f, tolerance) == 0


@pytest.mark.parametrize("name", ["bnh", "srn", "tnk", "truss2d", "kursawe", "osy", "welded_beam"])
def test_classic_fronts_hold_against_random_sampling(name, excess, uncovered):
    problem = get_problem(name)
    rng = np.random.default_rng(0)
    x = rng.uniform(problem.xl, problem.xu, (200_000, problem.n_var))
    best = true_set(problem, 500)
    if best is not None:
        near = best[rng.integers(0, len(best), 50_000)]
        size = 10 ** rng.uniform(-4, -1.5, (50_000, 1)) * (problem.xu - problem.xl)
        x[:50_000] = near + size * rng.normal(size=near.shape)
        x = np.clip(x, problem.xl, problem.xu)
    f = feasible_image(problem, x)
    front = problem.pareto_front()
    assert excess(front, f) < 2e-5
    assert uncovered(front, f, 1e-3) == 0


def test_the_bounds_of_c3dtlz_are_met_with_equality():
    f = get_problem("c3dtlz1").pareto_front()
    np.testing.assert_allclose(np.min(f + f.sum(axis=1, keepdims=True), axis=1), 1.0)
    f = get_problem("c3dtlz4").pareto_front()
    np.testing.assert_allclose(np.sum(f**2, axis=1) - 0.75 * np.max(f, axis=1) ** 2, 1.0)


def test_the_band_of_dascmop_with_zeta_1_is_a_tenth_of_a_thousandth_below_one_half():
    front = get_problem("dascmop2", difficulty=13).pareto_front()
    distance = 0.5 - 1e-4
    x1 = front[:, 0] - distance
    np.testing.assert_allclose(front[:, 1], 1 - np.sqrt(np.maximum(x1, 0)) + distance, atol=1e-6)


@pytest.mark.parametrize("name", ["dascmop1", "dascmop9"])
def test_a_front_where_nothing_feasible_is_found_is_none(name):
    assert get_problem(name, difficulty=(1.0, 0.5, 0.5)).pareto_front(100) is None


@pytest.mark.parametrize("name", ["c3dtlz1", "c3dtlz4", "dc1dtlz1", "dc3dtlz3", "c1dtlz3"])
def test_constrained_dtlz_fronts_hold_against_sampling_near_the_optimum(name, excess, uncovered):
    problem = get_problem(name, n_var=7)
    rng = np.random.default_rng(0)
    x = near_optimal(problem, lambda x, j: np.full(len(x), 0.5), rng)
    if name == "c3dtlz4":
        # It raises positions to the power 100.
        x[:, :2] **= 0.01
    f = feasible_image(problem, x)
    front = problem.pareto_front()
    assert len(f) > 100
    assert excess(front, f) < 0.03
    assert uncovered(front, f, 0.03) == 0


# --- the interface -------------------------------------------------------------------------------


def test_offline_classes_are_what_they_replace():
    problem = offline(many.DTLZ7)(n_obj=4)
    assert isinstance(problem, many.DTLZ7)
    assert problem.name() == "DTLZ7"
    assert offline(many.DTLZ7) is offline(many.DTLZ7)
    assert offline(offline(many.DTLZ7)) is offline(many.DTLZ7)
    assert offline(IMF1) is IMF1
    x = np.random.default_rng(0).random((5, problem.n_var))
    np.testing.assert_array_equal(problem.evaluate(x), many.DTLZ7(n_obj=4).evaluate(x))
    with pytest.raises(TypeError, match="must be a subclass of pymoo's Problem"):
        offline(dict)


def test_reference_directions_give_one_point_each_where_the_front_follows_them():
    directions = np.array([[1.0, 0, 0], [0.2, 0.3, 0.5]])
    front = get_problem("dtlz2").pareto_front(directions)
    np.testing.assert_allclose(np.linalg.norm(front, axis=1), 1.0)
    np.testing.assert_array_equal(get_problem("dtlz2").pareto_front(ref_dirs=directions), front)
    with pytest.raises(TypeError, match="front of DTLZ7 does not follow directions"):
        get_problem("dtlz7").pareto_front(directions)
    with pytest.raises(ValueError, match=r"ref_dirs of shape \(2, 3\) must be \(n, 2\)"):
        get_problem("dtlz2", n_obj=2).pareto_front(directions)


def test_a_front_does_not_depend_on_earlier_calls():
    problem = get_problem("zdt1")
    assert [len(problem.pareto_front(n)) for n in (10, 20, 10)] == [10, 20, 10]
    assert len(problem.pareto_front()) == N_PARETO_POINTS
    assert len(problem.pareto_front(use_cache=False)) == N_PARETO_POINTS


def test_problems_of_one_class_but_other_settings_have_their_own_computed_fronts():
    easy, hard = get_problem("dascmop1", difficulty=1), get_problem("dascmop1", difficulty=8)
    assert hard.pareto_front(100).min() > easy.pareto_front(100).min() + 0.1
    np.testing.assert_array_equal(
        get_problem("dascmop1", difficulty=(0.5, 0.5, 0.5)).pareto_front(100),
        hard.pareto_front(100),
    )


def test_true_front_serves_any_problem():
    np.testing.assert_array_equal(
        true_front(many.DTLZ6(), 50), get_problem("dtlz6").pareto_front(50)
    )
    np.testing.assert_array_equal(true_front(IMF1(), 50), IMF1().pareto_front(50))
    twin = shifted(multi.Kursawe(), fold="kinked")
    np.testing.assert_array_equal(true_front(twin, 50), true_front(multi.Kursawe(), 50))
    assert true_front(multi.Carside()) is None
    np.testing.assert_array_equal(true_set(multi.ZDT1(), 50), get_problem("zdt1").pareto_set(50))


class Strange(Problem):
    def __init__(self, known=True):
        super().__init__(n_var=2, n_obj=2, xl=0, xu=1)
        self.known = known

    def _evaluate(self, x, out, *args, **kwargs):
        out["F"] = x

    def _calc_pareto_front(self):
        return np.array([[1.0, 0.0], [0.0, 1.0]]) if self.known else None


def test_a_strangers_front_is_its_own_or_none():
    np.testing.assert_array_equal(true_front(Strange()), [[0, 1], [1, 0]])
    assert true_front(Strange(known=False)) is None
    assert true_set(Strange()) is None


def test_ideal_and_nadir_points_follow_from_the_offline_front():
    problem = get_problem("dtlz7")
    np.testing.assert_allclose(problem.ideal_point(), [0, 0, 2.614], atol=1e-3)
    np.testing.assert_allclose(problem.nadir_point(), [0.8594, 0.8594, 6], atol=1e-3)
