"""MO-MFEA-II, EMT-ET and EMT-PD: what all keep, and what each of them is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from pymoo.core.problem import Problem
from pymoo.problems import get_problem as pymoo_problem
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from evogen.algorithms import EMTET, EMTPD, MOMFEA, MOMFEA2
from evogen.algorithms import emt_pd as emt_pd_module
from evogen.algorithms import mfea2 as mfea2_module
from evogen.algorithms.emt_et import HOME
from evogen.algorithms.emt_pd import product_mean, search_weights
from evogen.algorithms.mfea2 import likeliest_share, mates_within, mating_probabilities
from evogen.multitask import minimize_multitask
from evogen.multitask.state import Points
from evogen.problems import get_problem

METHODS = [MOMFEA2, EMTET, EMTPD]
each_method = pytest.mark.parametrize("method", METHODS)


class Valley(Problem):
    """The front f1 + f2 = 1 over x_1; the other variables should be `at`."""

    def __init__(self, at: float, n_var: int = 8, fails_from: float = np.inf) -> None:
        super().__init__(n_var=n_var, n_obj=2, xl=0.0, xu=1.0)
        self.at, self.fails_from, self.n_calls = at, fails_from, 0

    def _evaluate(self, x, out, *args, **kwargs):
        self.n_calls += 1
        if self.n_calls >= self.fails_from:
            raise RuntimeError("the simulator is gone")
        gap = np.abs(x[:, 1:] - self.at).sum(axis=1)
        out["F"] = np.column_stack([x[:, 0] + gap, 1 - x[:, 0] + gap])


def three_tasks() -> list[Problem]:
    """Of different size and number of objectives, one with constraints."""
    return [
        pymoo_problem("zdt1", n_var=6),
        pymoo_problem("dtlz2", n_var=5, n_obj=3),
        pymoo_problem("bnh"),
    ]


def advanced(algorithm, tasks, n_gen: int):
    """The algorithm after so many generations."""
    algorithm.setup(tasks, ("n_gen", 1000), seed=1)
    for _ in range(n_gen):
        step(algorithm)
    return algorithm


def step(algorithm) -> list[np.ndarray]:
    asked = algorithm.ask()
    algorithm.tell([
        {"F": s.problem.evaluate(x, return_values_of=["F"])} if len(x) else None
        for s, x in zip(algorithm.states, asked, strict=True)
    ])  # fmt: skip
    return asked


# --- what all keep -------------------------------------------------------------------------------


@each_method
def test_three_unlike_tasks_are_solved_in_their_own_units_within_the_budget(method):
    few, many = (
        minimize_multitask(three_tasks(), method(20), ("n_eval", n), seed=1) for n in (60, 3333)
    )
    assert many.n_eval == 3333
    for start, end, task in zip(few.tasks, many.tasks, three_tasks(), strict=True):
        assert end.success
        assert len(end.pop) == 20
        assert ((task.xl <= end.X) & (task.xu >= end.X)).all()
        assert np.allclose(task.evaluate(end.X, return_values_of=["F"]), end.F)
        if not task.has_constraints():  # there sums are larger at the ends of the front
            assert end.F.sum(axis=1).mean() < start.F.sum(axis=1).mean()
    assert (many[2].CV <= 0).all()


@each_method
def test_the_seed_alone_decides_the_run_and_a_second_one_starts_anew(method):
    algorithm = method(20)
    runs = [
        minimize_multitask(three_tasks(), algorithm, ("n_gen", 12), seed=s, copy_algorithm=False)
        for s in (1, 2, 1)
    ]
    for number in range(3):
        first, other, again = (run[number].pop.get("X") for run in runs)
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)


@each_method
@pytest.mark.parametrize("first_failure", [1, 3])
def test_a_task_that_raises_leaves_the_others_all_evaluations(method, first_failure, capsys):
    tasks = [Valley(0.5, fails_from=first_failure), Valley(0.4, n_var=5), Valley(0.6)]
    res = minimize_multitask(tasks, method(20), ("n_eval", 2000), seed=1)
    assert not res[0].success
    assert res.n_eval == 2000
    assert (res[0].pop is None) == (first_failure == 1)
    assert all(res[k].success and res[k].F.sum(axis=1).min() < 1.5 for k in (1, 2))
    capsys.readouterr()


@each_method
def test_the_last_task_goes_on_alone(method, capsys):
    tasks = [Valley(0.5, fails_from=1), Valley(0.4)]
    res = minimize_multitask(tasks, method(20), ("n_eval", 2000), seed=1)
    assert res[1].n_eval == 2000
    assert res[1].F.sum(axis=1).min() < 1.5
    capsys.readouterr()


@each_method
def test_a_task_without_evaluations_left_keeps_its_population(method):
    res = minimize_multitask(
        [Valley(0.5), Valley(0.4)], method(20), ("n_eval", 500), seed=1, budgets=[73, None]
    )
    assert [r.n_eval for r in res.tasks] == [73, 427]
    assert len(res[0].pop) == 20


@each_method
def test_values_that_are_not_finite_are_the_worst(method):
    class Holes(Valley):
        def _evaluate(self, x, out, *args, **kwargs):
            super()._evaluate(x, out)
            out["F"][x[:, 0] > 0.5] = np.nan

    res = minimize_multitask([Holes(0.5), Valley(0.5)], method(20), ("n_eval", 800), seed=1)
    assert res[0].n_nonfinite > 0
    assert np.isfinite(res[0].F).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EMTET(20, n_transfer=20), "n_transfer=20 must be at least 1 and less"),
        (lambda: EMTET(20, n_transfer=0), "n_transfer=0 must be"),
        (lambda: EMTET(p_disturb=2), "p_disturb=2 must lie in"),
        (lambda: EMTPD(gap=0), "gap=0 must be at least 1"),
        (lambda: EMTPD(n_model=1), "n_model=1 must be at least 2"),
        (lambda: EMTPD(rmp=-1), "rmp=-1 must lie in"),
        (lambda: MOMFEA2(3), "pop_size=3 must be at least 4"),
    ],
)
def test_wrong_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# --- MO-MFEA-II ----------------------------------------------------------------------------------


def test_the_share_is_that_of_a_general_search():
    rng = np.random.default_rng(0)
    for spread in (0.3, 1.0, 3.0):
        log_ratio = rng.normal(-0.2 * spread, spread, size=(6, 40))
        for row, share in zip(log_ratio, likeliest_share(log_ratio, 0.25), strict=True):
            loss = lambda a, r=row: -np.log((1 - a) + a * np.exp(r)).sum()  # noqa: E731
            best = minimize_scalar(
                loss, bounds=(0, 0.25), method="bounded", options={"xatol": 1e-9}
            )
            assert loss(share) <= best.fun + 1e-6
            assert share == pytest.approx(best.x, abs=1e-4)


def test_shares_at_the_ends_and_of_impossible_points_are_exact():
    with np.errstate(all="raise", under="ignore"):
        shares = likeliest_share(np.array([[-1e4, -2.0], [2.0, 1.0], [1e4, -1e4], [0, 0]]), 0.4)
    assert shares[0] == 0
    assert shares[1] == 0.4
    # One point that only q explains, one that only p does: log a + log(1 - a) is largest at 1/2.
    assert shares[2] == 0.4
    three_to_one = likeliest_share(np.array([[1e4, -1e4, -1e4, -1e4]]), 0.4)
    assert three_to_one[0] == pytest.approx(0.25, abs=1e-5)


def test_mating_probabilities_are_those_of_the_product_of_densities():
    rng = np.random.default_rng(0)
    low, high = rng.normal(0.3, 0.05, (40, 6)), rng.normal(0.7, 0.05, (40, 6))
    # A few of each live where the other task's are.
    populations = [np.vstack([low[4:], high[:4]]), np.vstack([high[5:], low[:5]])]
    n_vars, seed = [6, 4], 7
    found = mating_probabilities(populations, n_vars, np.random.default_rng(seed))

    rng = np.random.default_rng(seed)
    models = []
    for u in populations:
        noisy = np.vstack([u, rng.random((4, 6))])
        models.append((noisy.mean(axis=0)[:4], noisy.std(axis=0, ddof=1)[:4]))
    p = [[norm.pdf(u[:, :4], *model).prod(axis=1) for model in models] for u in populations]

    def loss(rmp: float) -> float:
        a = 0.5 * (2 - 1) * rmp / 2
        own, other = (1 - a) * p[0][0] + a * p[0][1], a * p[1][0] + (1 - a) * p[1][1]
        return -(np.log(own).sum() + np.log(other).sum())

    best = minimize_scalar(loss, bounds=(0, 1), method="bounded", options={"xatol": 1e-9}).x
    assert 0.05 < best < 0.95, "else the comparison says little"
    assert found[0, 1] == pytest.approx(best + rng.normal(0, 0.01), abs=1e-4)
    assert found[0, 1] == found[1, 0]
    assert np.array_equal(np.diag(found), [1, 1])


def test_tasks_apart_are_not_mixed_and_tasks_alike_are():
    rng = np.random.default_rng(0)
    low, high = rng.normal(0.2, 0.02, (100, 10)), rng.normal(0.8, 0.02, (100, 10))
    half = np.concatenate([low[:50], high[:50]])
    rmp = mating_probabilities([low, high, half, half], [10] * 4, np.random.default_rng(1))
    assert rmp[0, 1] < 0.05
    assert rmp[0, 2] > 0.2
    assert np.array_equal(rmp, rmp.T)
    same = np.full((20, 3), 0.5)
    assert np.isfinite(mating_probabilities([same, same], [3, 3], rng)).all()


def test_children_do_not_lie_between_the_optima_of_unrelated_tasks():
    def between(algorithm):
        asked = step(advanced(algorithm, [Valley(0.0), Valley(1.0)], 80))
        middle = np.concatenate(asked)[:, 1:].mean(axis=1)
        return np.mean((middle > 0.15) & (middle < 0.85))

    learned = MOMFEA2(20)
    assert between(learned) < 0.03
    assert learned.rmp[0, 1] < 0.05
    assert between(MOMFEA(20, rmp=1.0)) > 0.15


def test_children_swap_half_of_their_variables():
    """Without it three quarters come from one parent: the other quarter by the spread's sign."""
    still = MOMFEA2(20, eta_crossover=1e9, eta_mutation=1e9)
    algorithm = advanced(still, [Valley(0.2, n_var=400), Valley(0.3, n_var=400)], 1)
    for state in algorithm.states:
        state.points.u[:10], state.points.u[10:] = 0.2, 0.8
    children = np.concatenate(algorithm.vary())
    low = np.isclose(children, 0.2, atol=1e-3)
    assert (low | np.isclose(children, 0.8, atol=1e-3)).all()
    share = low.mean(axis=1)
    of_two = (share > 0.1) & (share < 0.9)
    assert of_two.sum() > 5
    assert np.abs(share[of_two] - 0.5).max() < 0.12


def test_without_mixing_children_stay_with_their_parents_task(monkeypatch):
    monkeypatch.setattr(mfea2_module, "mating_probabilities", lambda *args: np.eye(2))
    algorithm = advanced(MOMFEA2(20, eta_mutation=1e9), [Valley(0.2), Valley(0.3)], 1)
    for state, mark in zip(algorithm.states, (0.2, 0.8), strict=True):
        state.points.u[:] = mark
    made = algorithm.vary()
    assert sum(map(len, made)) == 40
    for children, mark in zip(made, (0.2, 0.8), strict=True):
        assert np.allclose(children, mark, atol=1e-3)


def test_mates_are_others_of_the_same_task():
    owner = np.array([2, 0, 2, 1, 0, 2, 2, 0])
    members = np.repeat([0, 1, 2, 4, 5, 6, 7], 200)
    mates = mates_within(members, owner, np.random.default_rng(0))
    assert np.array_equal(owner[mates], owner[members])
    assert (mates != members).all()
    assert set(mates[members == 0]) == {2, 5, 6}
    assert mates_within(np.array([3]), owner, np.random.default_rng(0)) == [3]


# --- EMT-ET --------------------------------------------------------------------------------------


def test_the_neighbours_of_what_was_useful_are_sent_next():
    algorithm = advanced(EMTET(20, n_transfer=4, p_disturb=0.0), [Valley(0.2), Valley(0.3)], 1)
    target, source = (state.points.u for state in algorithm.states)
    algorithm.origins[0][:] = HOME
    algorithm.origins[0][[2, 9, 11]] = 1
    algorithm.leading[0][:] = False
    algorithm.leading[0][[2, 9]] = True
    sent = algorithm.vary()[0][:4]
    near = [np.argsort(np.linalg.norm(source - target[i], axis=1))[:2] for i in (2, 9)]
    assert np.array_equal(sent, source[np.concatenate(near)])


def test_without_success_random_solutions_are_sent_and_half_of_them_scaled():
    algorithm = advanced(EMTET(100, n_transfer=40), [Valley(0.2), Valley(0.3), Valley(0.4)], 1)
    others = np.concatenate([algorithm.states[k].points.u for k in (1, 2)])
    sent = np.concatenate([algorithm.vary()[0][:40] for _ in range(10)])
    as_they_are = (sent[:, None] == others[None]).all(axis=2).any(axis=1)
    assert 0.4 < as_they_are.mean() < 0.6
    # The others are multiples: clipped entries are 1, the rest has one ratio to some solution.
    for row in sent[~as_they_are][:50]:
        free = row < 1.0
        ratio = row[free] / others[:, free]
        assert np.ptp(ratio, axis=1).min() < 1e-9


def test_what_was_sent_wins_its_tournaments():
    still = EMTET(20, n_transfer=4, p_disturb=0.0, eta_crossover=1e9, eta_mutation=1e9)
    algorithm = advanced(still, [Valley(0.2), Valley(0.3)], 1)
    for state, mark in zip(algorithm.states, (0.2, 0.8), strict=True):
        state.points.u[:] = mark
    children = np.concatenate([algorithm.vary()[0][4:] for _ in range(50)])
    # One of two random candidates of 24 is sent with probability 0.31; last-rate ones win 0.03.
    assert np.isclose(children, 0.8, atol=1e-3).mean() == pytest.approx(0.31, abs=0.05)


def test_only_what_was_sent_last_counts_as_sent():
    algorithm = advanced(EMTET(20, n_transfer=4), [Valley(0.2), Valley(0.3)], 30)
    for _ in range(20):
        # The box is the unified space, so these are the points as they were made.
        sent = [x[:4] for x in step(algorithm)]
        for number, state in enumerate(algorithm.states):
            marked = algorithm.origins[number] != HOME
            was_sent = (state.points.u[:, None] == sent[number][None]).all(axis=2).any(axis=1)
            assert not (marked & ~was_sent).any()
            assert set(algorithm.origins[number][marked]) <= {1 - number}


def test_survivors_are_the_best_in_order_and_know_whether_they_lead():
    algorithm = advanced(EMTET(20, n_transfer=4), [Valley(0.2), Valley(0.3)], 3)
    rng = np.random.default_rng(0)
    points = algorithm.states[0].points
    merged = Points.merge(points, points)
    merged.u, f = rng.random((40, 8)), np.round(rng.random((40, 2)), 1)
    cv = np.where(rng.random(40) < 0.3, rng.random(40), 0.0)
    merged.f, merged.cv = f, cv
    kept = algorithm.survive(0, merged, 20)
    assert np.array_equal(kept.u, MOMFEA(20).survive(0, merged, 20).u)
    beaten = [any((g <= row).all() and (g < row).any() for g in f[cv <= 0]) for row in kept.f]
    assert np.array_equal(algorithm.leading[0], ~np.array(beaten) & (kept.cv <= 0))
    assert 0 < algorithm.leading[0].sum() < 20


def test_the_set_in_the_lower_corner_is_found_at_once():
    tasks = [Valley(0.0, n_var=30), Valley(0.3, n_var=30)]
    gaps = [
        minimize_multitask(tasks, a, ("n_eval", 4000), seed=1)[0].F.sum(axis=1).min() - 1
        for a in (EMTET(50, p_disturb=1.0), EMTET(50, p_disturb=0.0))
    ]
    assert gaps[0] < 0.2 * gaps[1]


# --- EMT-PD --------------------------------------------------------------------------------------


def test_the_product_mean_is_that_of_the_inverses():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.3, 0.1, (40, 5)), rng.normal(0.6, 0.2, (60, 5))
    p, q = (np.linalg.inv(np.cov(x.T) + 1e-6 * np.eye(5)) for x in (a, b))
    expected = np.linalg.inv(p + q) @ (p @ a.mean(axis=0) + q @ b.mean(axis=0))
    assert np.allclose(product_mean(a, b), expected, rtol=1e-9)
    assert np.allclose(product_mean(a, b), product_mean(b, a))
    # With fewer points than variables, and with none of them different, it stays finite.
    assert np.isfinite(product_mean(rng.random((10, 30)), rng.random((10, 30)))).all()
    assert np.allclose(product_mean(np.full((5, 3), 0.2), np.full((5, 3), 0.4)), 0.3)


def test_the_search_weights_are_the_mean_less_the_stretched_product_mean():
    rng = np.random.default_rng(0)
    a, b = rng.random((40, 5)), rng.random((40, 5))
    stretched = a.mean(axis=0) - search_weights(a, b)
    assert stretched.min() == pytest.approx(0)
    assert stretched.max() == pytest.approx(1)
    product = product_mean(a, b)
    assert np.corrcoef(stretched, product)[0, 1] == pytest.approx(1)
    assert np.allclose(search_weights(np.full((5, 3), 0.2), np.full((5, 3), 0.4)), -0.3)


def test_transfer_takes_place_in_every_fifth_generation(monkeypatch):
    seen, original = [], emt_pd_module.search_weights

    def counted(target, source):
        seen.append(algorithm.n_gen + 1)
        return original(target, source)

    monkeypatch.setattr(emt_pd_module, "search_weights", counted)
    algorithm = EMTPD(20, gap=5)
    advanced(algorithm, [Valley(0.2), Valley(0.3)], 17)
    assert seen == [5, 5, 10, 10, 15, 15]


def test_transferred_children_are_weighted_pairs_of_the_best_of_both():
    algorithm = advanced(
        EMTPD(20, gap=5, n_model=7, eta_mutation=1e7), [Valley(0.2), Valley(0.3)], 4
    )
    p, q = (state.points.u[:7] for state in algorithm.states)
    w = search_weights(p, q)
    pairs = np.stack([w * a + (1 - w) * b for a, b in itertools.product(p, q)]).clip(0, 1)
    made = algorithm.vary()[0]
    assert made.shape == (20, 8)
    for child in made:
        assert np.abs(pairs - child).max(axis=1).min() < 1e-4


# --- cost and standing ---------------------------------------------------------------------------


@each_method
def test_the_benchmark_runs_by_name_and_gets_better(method):
    few, many = (
        minimize_multitask(get_problem("cihs-shifted"), method(20), ("n_gen", n), seed=1)
        for n in (1, 25)
    )
    assert all(b.F.min() < a.F.min() for a, b in zip(few.tasks, many.tasks, strict=True))
