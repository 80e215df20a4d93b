"""ACE's critic: what it learns, in which metric, and how far it trusts itself."""

import numpy as np
import pytest
from pymoo.problems import get_problem

from evogen.algorithms import ACE
from evogen.algorithms.ace import OPERATORS
from evogen.algorithms.ace_critic import Critic, metric, rank_correlation
from evogen.algorithms.ace_rows import Rows


@pytest.fixture
def rows():
    """150 points whose objectives are wavy along the first of eight variables."""
    u = np.random.default_rng(6).random((150, 8))
    f = np.stack([np.sin(6 * u[:, 0]), np.cos(6 * u[:, 0]) + 0.1 * u.sum(axis=1)], axis=1)
    return Rows(u, f, np.zeros(150), f, np.arange(150))


def test_correlation_of_ranks_ignores_scale_and_survives_constants():
    a = np.array([1.0, 2.0, 3.0, 4.0])
    one, two = np.stack([a, a, a], axis=1), np.stack([np.exp(a), -a, np.ones(4)], axis=1)
    assert rank_correlation(one, two) == pytest.approx([1.0, -1.0, 0.0])


def test_variables_count_by_the_root_of_how_much_the_objectives_change_along_them():
    slopes = np.array([[[1.0, 4.0, 0.25], [-1.0, -4.0, 0.25]]])
    assert metric(slopes) == pytest.approx([1.0, 2.0, 0.5])
    assert metric(1e6 * slopes) == pytest.approx(metric(slopes))
    assert metric(np.array([[[0.0, 1e9]]])).tolist() == [0.2, 5.0]


def test_the_metric_predicts_better_and_improves_itself(rows):
    fresh = np.random.default_rng(7).random((200, 8))
    truth = np.sin(6 * fresh[:, 0])

    def error(critic):
        return np.abs(critic.predict(fresh)[:, 0] - truth).mean()

    plain, wavy = Critic(2), Critic(2)
    assert plain.learn(rows)
    errors = [error(plain)]
    for turn in range(2):  # all points are new each time: it is fitted again, by its own slopes
        again = Rows(rows.u, rows.f, rows.cv, rows.values, rows.number + 150 * turn)
        assert wavy.learn(again, stretch=True)
        errors.append(error(wavy))
    assert errors[1] < 0.7 * errors[0]
    assert errors[2] < 0.8 * errors[1]


@pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value")
@pytest.mark.parametrize("bend", [False, True])
def test_slopes_that_overflow_set_no_metric(rows, bend):
    huge = Rows(rows.u, 1e200 * rows.f, rows.cv, 1e200 * rows.values, rows.number)
    for scaled, plain in ((rows, False), (huge, True)):
        critic = Critic(2)
        assert critic.learn(scaled, stretch=True, bend=bend)
        assert np.array_equal(critic.warp.power, np.ones(8)) == (plain or not bend)
        assert np.array_equal(critic.model._metric, np.ones(8)) == plain


def test_objectives_that_are_the_same_but_for_rounding_set_no_metric(rows):
    # Only the first objective differs among the newest points; the second one's slopes are noise.
    f = rows.f.copy()
    f[-100:, 1] = 1e-40 * np.random.default_rng(1).random(100)
    critic, other = Critic(2), Critic(2)
    for c, values in ((critic, f), (other, np.where(np.arange(150)[:, None] < 50, f, [1, 0] * f))):
        assert c.learn(Rows(rows.u, values, rows.cv, values, rows.number), stretch=True)
    assert critic.model._metric == pytest.approx(other.model._metric, rel=1e-6)


@pytest.mark.parametrize(("stretch", "bend"), [(True, True), (True, False), (False, False)])
def test_metric_and_warp_wait_for_the_first_part_of_the_run(stretch, bend):
    algorithm = ACE(20, stretch=stretch, bend=bend)
    algorithm.setup(get_problem("zdt3", n_var=8), termination=("n_eval", 240), seed=1)
    asked, learn = [], algorithm.critic.learn

    def note(rows, **used):
        asked.append((algorithm._progress(), used["stretch"], used["bend"]))
        return learn(rows, **used)

    algorithm.critic.learn = note
    while algorithm.has_next():
        algorithm.next()
    progress, stretched, bent = np.array(asked).T
    assert (progress < 0.15).any()
    assert np.array_equal(stretched, stretch & (progress >= 0.15))
    assert np.array_equal(bent, bend & (progress >= 0.15))


@pytest.mark.parametrize("upper", [False, True])
def test_a_steep_bound_is_bent_and_predicted_better(upper):
    """Objectives that change as the fourth root of the distance to a bound of each variable."""

    def objectives(u):
        root = ((1.0 - u if upper else u) ** 0.25)[:, :4]
        return np.stack([(root**2).sum(axis=1), ((root - 0.8) ** 2).sum(axis=1)], axis=1)

    rng = np.random.default_rng(5)
    u, fresh = rng.random((2, 300, 6)) ** 3
    if upper:
        u, fresh = 1.0 - u, 1.0 - fresh
    f = objectives(u)
    plain, warped = Critic(2), Critic(2)
    for turn in range(3):
        rows = Rows(u, f, np.zeros(300), f, np.arange(300) + 300 * turn)
        assert plain.learn(rows, stretch=True)
        assert warped.learn(rows, stretch=True, bend=True)
    assert (warped.warp.power[:4] < 0.6).all()
    assert (warped.warp.upper[:4] == upper).all()
    off = [np.abs(c.predict(fresh) - objectives(fresh)).mean() for c in (plain, warped)]
    assert off[1] < 0.5 * off[0]
    assert warped.predict_warped(warped.warp(fresh)) == pytest.approx(warped.predict(fresh))
    more = Rows(
        fresh[:20],
        objectives(fresh[:20]),
        np.zeros(20),
        objectives(fresh[:20]),
        900 + np.arange(20),
    )
    first = warped.model
    assert warped.learn(more, bend=True)
    assert warped.model is first
    assert warped.predict(fresh[:20]) == pytest.approx(objectives(fresh[:20]), abs=1e-3)


def test_it_learns_what_is_new_only_and_begins_anew_after_a_third_more(rows):
    critic = Critic(2)
    assert critic.learn(rows[:90])
    first = critic.model
    assert critic.learn(rows[:110])
    assert critic.model is first
    assert len(first) == 110
    critic.learn(rows[:125])
    assert critic.learn(rows[60:150])
    assert critic.model is not first
    assert len(critic.model) == 90
    assert critic.predict(rows.u[60:]) == pytest.approx(rows.f[60:], abs=1e-3)


def test_it_begins_anew_where_much_is_new_at_once(rows):
    critic = Critic(2)
    critic.learn(rows[:90])
    critic.learn(rows[30:125])
    assert len(critic.model) == 95


def test_copies_and_missing_values_are_not_learned(rows):
    values = rows.values.copy()
    values[:5] = np.nan
    with_gaps = Rows(rows.u, rows.f, rows.cv, values, rows.number)
    critic = Critic(2)
    assert critic.learn(Rows.join(with_gaps, rows[5:20]))
    assert len(critic.model) == 145


def test_there_is_no_critic_of_too_few_points(rows):
    critic = Critic(2)
    assert not critic.learn(rows[:9], stretch=True)
    assert critic.model is None
    assert critic.learn(rows[:10])


def test_an_objective_that_is_the_same_for_all_points_says_nothing_on_trust(rows):
    rng = np.random.default_rng(7)
    critic = Critic(2)
    assert critic.learn(rows)
    f = np.column_stack([rng.random(10), 1e-20 * rng.random(10)])
    critic.check(f + [0.0, 1e-9] * rng.random((10, 2)), f)
    assert critic.trust == pytest.approx(0.75)  # 1 for the first objective, from 1/2
    critic.check(rng.random((10, 2)), np.zeros((10, 2)))
    assert critic.trust == pytest.approx(0.75)


def test_trust_follows_the_worst_objective_and_few_points_are_saved_up():
    critic, f = Critic(2), np.random.default_rng(0).random((8, 2))
    critic.check(f[:3], f[:3])
    assert critic.trust == 0.5  # three are too few
    critic.check(f[3:], f[3:])
    assert critic.trust == pytest.approx(0.75)
    critic.check(f, np.column_stack([f[:, 0], -f[:, 1]]))
    assert critic.trust == pytest.approx(0.375)
    critic.check(f, np.full((8, 2), np.nan))
    assert critic.trust == pytest.approx(0.375)


@pytest.mark.parametrize(("trust", "confidence"), [(0.0, 0.0), (0.25, 0.0), (0.5, 0.5), (0.9, 1.0)])
def test_confidence_ends_below_a_quarter(trust, confidence):
    critic = Critic(2)
    critic.trust = trust
    assert critic.confidence == pytest.approx(confidence)


def test_a_critic_that_is_not_trusted_is_hardly_asked():
    algorithm = ACE(20)
    algorithm.setup(get_problem("zdt1", n_var=5), termination=("n_eval", 400), seed=1)
    shares = {}
    for trust in (0.0, 1.0):
        algorithm.critic.trust = trust
        shares[trust] = dict(zip(OPERATORS, algorithm._shares(), strict=True))
        assert sum(shares[trust].values()) == pytest.approx(1.0)
    # A fifth of the floor, beside the equal shares of the two others.
    assert shares[0.0]["critic"] == pytest.approx(0.02 / (0.02 + 2 / 3))
    assert shares[1.0]["critic"] > 0.95
    algorithm.critic.trust = 1.0
    algorithm.credit.rate[:] = 0.0, 0.5, 0.5  # none of its offspring survives
    assert algorithm._shares()[0] < 0.2
