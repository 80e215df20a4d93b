import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evogen.experiment.profiles import (
    expected_running_time,
    hitting_times,
    igd_targets,
    performance_profile,
    runtime_curve,
)


def test_a_performance_profile_is_the_share_of_problems_within_a_ratio():
    # Ratios: a 1, 2, 1, failed; b 2, 1, 1.5, 1.
    costs = [[1.0, 2.0], [6.0, 3.0], [2.0, 3.0], [np.inf, 5.0]]
    taus, shares = performance_profile(costs)
    assert taus.tolist() == [1.0, 1.5, 2.0]
    assert shares[:, 0].tolist() == [0.5, 0.5, 0.75]
    assert shares[:, 1].tolist() == [0.5, 0.75, 1.0]


def test_a_problem_that_nobody_solved_lowers_all_profiles():
    _, shares = performance_profile([[1.0, 1.0], [np.inf, np.nan]])
    assert shares.tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize("costs", [[[0.0, 1.0]], [[-1.0, 1.0]], [], [1.0, 2.0]])
def test_costs_without_a_ratio_are_refused(costs):
    with pytest.raises(ValueError, match="costs"):
        performance_profile(costs)


def test_a_target_is_hit_at_the_first_record_at_or_below_it():
    n_eval = [10, 20, 30, 40]
    values = [4.0, 2.0, 3.0, 1.0]  # the second rise does not undo the hit
    assert hitting_times(n_eval, values, [4.0, 3.0, 2.0, 1.5, 0.5]).tolist() == [
        10, 20, 20, 40, np.inf,
    ]  # fmt: skip
    assert hitting_times(n_eval, [np.nan, np.inf, 2.0, np.nan], [2.0, 1.0]).tolist() == [30, np.inf]


@settings(deadline=None)
@given(
    st.lists(st.floats(0, 10), min_size=1, max_size=12),
    st.lists(st.floats(0, 10), min_size=1, max_size=5),
)
def test_hitting_times_agree_with_a_plain_search(values, targets):
    n_eval = np.arange(1, len(values) + 1) * 5
    for target, found in zip(targets, hitting_times(n_eval, values, targets), strict=True):
        hits = [n for n, value in zip(n_eval, values, strict=True) if value <= target]
        assert found == (hits[0] if hits else np.inf)


def test_ert_spreads_the_evaluations_of_failures_over_the_successes():
    # Two runs hit after 100 and 300, one spent 1000 in vain.
    assert expected_running_time([100, 300, np.inf], [1000, 1000, 1000]) == 700
    assert expected_running_time([np.inf], [1000]) == np.inf
    assert np.isnan(expected_running_time([], []))


def test_a_runtime_curve_counts_the_pairs_solved_so_far():
    times = np.array([[10, 30], [20, np.inf]])
    assert runtime_curve(times, [5, 10, 29, 30, 1000]).tolist() == [0, 0.25, 0.5, 0.75, 0.75]
    assert np.isnan(runtime_curve([], [1, 2])).all()


def test_targets_are_multiples_of_the_floor_or_of_the_best_run():
    targets, base = igd_targets(0.1, [0.5, 0.2], (1.0, 2.0))
    assert (targets.tolist(), base) == ([0.1, 0.2], "floor")
    targets, base = igd_targets(None, [0.5, np.inf, 0.2], (1.0, 2.0))
    assert (targets.tolist(), base) == ([0.2, 0.4], "best run")
    targets, base = igd_targets(None, [np.inf])
    assert (len(targets), base) == (0, "")
