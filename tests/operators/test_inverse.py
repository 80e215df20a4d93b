import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evogen.operators.foundfront import FoundFront
from evogen.operators.inverse import InverseSampler, spread


def waves(u):
    """Two variables, two objectives, two mirrored branches: f depends on |u_1 - 1/2| alone."""
    a = 2 * np.abs(u[:, 0] - 0.5)
    y = u[:, 1] - 0.5 - 0.3 * np.sin(4 * a)
    return np.column_stack([a, 1 - np.sqrt(a) + 4 * y**2])


def fitted(n=1500, seed=0, **settings):
    u = np.random.default_rng(seed).random((n, 2))
    # As after a run: dense near the Pareto set.
    u[n // 2 :, 1] = 0.5 + 0.3 * np.sin(8 * np.abs(u[n // 2 :, 0] - 0.5))
    u[n // 2 :, 1] += 0.02 * np.random.default_rng(seed + 1).standard_normal(n - n // 2)
    u = np.clip(u, 0, 1)
    return InverseSampler(**settings).fit(u, waves(u), np.zeros(n))


TARGETS = np.column_stack([np.linspace(0.1, 0.9, 9), 1 - np.sqrt(np.linspace(0.1, 0.9, 9))])


def rng(seed=0):
    return np.random.default_rng(seed)


def test_designs_have_the_objectives_they_were_asked_for():
    answers = fitted().sample(TARGETS, random_state=rng())
    assert len(answers) == len(TARGETS)
    error = np.linalg.norm(waves(answers.u) - TARGETS, axis=1)
    assert error.max() < 0.02
    assert np.median(error) < 0.003


def test_the_critic_corrects_what_the_gaussians_alone_say():
    plain, corrected = (
        np.linalg.norm(
            waves(fitted(n_steps=k).sample(TARGETS, random_state=rng()).u) - TARGETS, axis=1
        ).mean()
        for k in (0, 6)
    )
    assert corrected < plain


def test_every_branch_of_a_target_is_returned():
    answers = fitted().sample(TARGETS[2:7], 2, random_state=rng(), min_distance=0.1)
    for i in range(5):
        left = answers.u[answers.target == i][:, 0] < 0.5
        assert sorted(left) == [False, True]
    assert np.linalg.norm(waves(answers.u) - TARGETS[2:7][answers.target], axis=1).max() < 0.05


def test_branches_are_taken_in_turn_when_designs_are_spread():
    answers = fitted().sample(TARGETS[2:8], random_state=rng(), rotate=True)
    left = answers.u[:, 0] < 0.5
    assert 0 < left.sum() < len(left)


def test_predictions_are_as_good_as_they_claim():
    answers = fitted().sample(TARGETS, 4, random_state=rng())
    miss = np.abs(waves(answers.u) - answers.f)
    assert np.mean(miss <= 3 * answers.error + 1e-6) > 0.9
    # ... and do not claim nothing.
    assert np.median(answers.error) < 0.05


def test_what_is_known_is_not_doubted():
    sampler = fitted()
    i = int(np.argmin(np.abs(sampler.front[:, 0] - 0.5)))
    answers = sampler.sample(sampler.front[i : i + 1], random_state=rng())
    assert answers.error.max() < 1e-3
    assert answers.miss[0] < 1e-3


def test_the_same_seed_gives_the_same_designs():
    one, two, other = (
        fitted(n_draws=2).sample(TARGETS, 3, random_state=rng(s)).u for s in (1, 1, 2)
    )
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_columns_that_cannot_move_stay_on_their_grid():
    u = rng().integers(0, 6, (400, 4)) / 5
    f = np.column_stack([u.sum(axis=1), ((1 - u) ** 2).sum(axis=1)])

    def on_grid(v):
        return np.rint(v * 5) / 5

    sampler = InverseSampler(n_draws=4)
    sampler.fit(u, f, np.zeros(400), project=on_grid, movable=np.zeros(4, bool))
    made = sampler.sample(np.array([[2.0, 1.5]]), 5, random_state=rng()).u
    assert np.array_equal(made, on_grid(made))


def test_infeasible_points_teach_the_predictor_but_are_not_returned():
    u = rng().random((600, 2))
    f = np.column_stack([u[:, 0], 1 - u[:, 0] + u[:, 1]])
    cv = np.maximum(0, 0.4 - u[:, 1])
    answers = (
        InverseSampler()
        .fit(u, f, cv)
        .sample(np.array([[0.5, 0.7], [0.3, 1.3]]), random_state=rng())
    )
    # The first target lies where everything is infeasible: the nearest feasible one is returned.
    assert (answers.u[:, 1] > 0.4 - 0.02).all()
    assert answers.cv.max() < 0.02
    np.testing.assert_allclose(answers.f[1], [0.3, 1.3], atol=0.01)


def test_candidates_of_another_model_can_take_the_gaussians_place():
    proposals = np.tile([[0.7, 0.6], [0.3, 0.6]], (len(TARGETS), 1, 1))
    answers = fitted(n_steps=0).sample(TARGETS, random_state=rng(), proposals=proposals)
    assert {tuple(row) for row in answers.u} <= {(0.7, 0.6), (0.3, 0.6)}


@pytest.mark.parametrize(
    ("n", "cv", "words"),
    [(3, 0.0, "3 distinct points are too few"), (50, 1.0, "none of the points is feasible")],
)
def test_data_without_an_answer_are_refused(n, cv, words):
    u = rng().random((n, 2))
    with pytest.raises(ValueError, match=words):
        InverseSampler().fit(u, waves(u), np.full(n, cv))


def test_near_copies_of_one_point_do_no_harm():
    u = np.concatenate([rng().random((40, 2)), 0.3 + 1e-13 * rng(1).random((60, 2))])
    f = np.column_stack([u[:, 0], 1 - u[:, 0] + u[:, 1]])
    sampler = InverseSampler().fit(u, f, np.zeros(len(u)))
    targets = np.array([[0.9, 0.2], [0.3, 1.0], [0.1, 1.5], [5.0, -5.0]])
    answers = sampler.sample(targets, 3, random_state=rng())
    assert np.isfinite(answers.u).all()
    assert np.isfinite(answers.f).all()


def test_settings_below_their_least_value_are_refused():
    with pytest.raises(ValueError, match="n_starts=0 must be at least 1"):
        InverseSampler(n_starts=0)


def test_spread_takes_the_cheapest_first_and_keeps_its_distance():
    u = np.array([[0.0], [0.01], [0.5], [1.0]])
    cost = np.array([1.0, 0.5, 1.0, 1.0])
    assert list(spread(u, cost, 2)) == [1, 3]
    assert set(spread(u, cost, 4, min_distance=0.1)) == {1, 2, 3}


# The found front.


def plane(n, n_obj, seed=0):
    z = np.random.default_rng(seed).dirichlet(np.ones(n_obj), n)
    return FoundFront(z)


@given(st.integers(2, 4), st.integers(0, 50))
@settings(max_examples=25, deadline=None)
def test_a_line_meets_a_plane_front_on_the_plane(n_obj, seed):
    direction = np.random.default_rng(seed).uniform(0.3, 1.0, n_obj)
    met = plane(60 * n_obj, n_obj, seed).meet(np.zeros(n_obj), direction)
    assert met.sum() == pytest.approx(1.0, abs=0.03)
    np.testing.assert_allclose(met / met.sum(), direction / direction.sum(), atol=0.03)


def test_targets_within_bounds_are_within_them_and_spread():
    f1 = np.linspace(0, 1, 101)
    front = FoundFront(np.column_stack([f1, (1 - f1) ** 2]))
    targets, there = front.spread(5, np.array([0.2, -np.inf]), np.array([0.4, np.inf]))
    assert there
    assert np.all((targets[:, 0] >= 0.2) & (targets[:, 0] <= 0.4))
    assert np.diff(targets[:, 0]).min() > 0.02
    outside, there = front.spread(3, np.array([2.0, -np.inf]), np.array([3.0, np.inf]))
    assert not there
    assert outside[:, 0].min() > 0.9


def test_no_target_lies_in_a_gap_of_the_front():
    f1 = np.concatenate([np.linspace(0, 0.3, 31), np.linspace(0.7, 1, 31)])
    front = FoundFront(np.column_stack([f1, 1 - f1]))
    targets = np.concatenate(
        [front.between(front.z[25], front.z[40], 9), front.preferred(np.ones(2))[None]]
    )
    targets = np.concatenate([targets, front.pool(500)])
    assert not np.any((targets[:, 0] > 0.33) & (targets[:, 0] < 0.67))


def test_more_weight_on_an_objective_gives_less_of_it():
    f1 = np.linspace(0, 1, 101)
    front = FoundFront(np.column_stack([f1, (1 - f1) ** 2]))
    wanted = [front.preferred(np.array([w, 1 - w])) for w in (0.1, 0.5, 0.9)]
    assert wanted[0][0] > wanted[1][0] > wanted[2][0]
    for z, w in zip(wanted, (0.1, 0.5, 0.9), strict=True):
        assert w * z[0] == pytest.approx((1 - w) * z[1], abs=0.01)
