"""Multitask algorithms by name."""

import numpy as np
import pytest

from evogen import minimize_multitask
from evogen.algorithms import get_multitask_algorithm, list_multitask_algorithms
from evogen.problems import get_problem


@pytest.mark.parametrize("name", list_multitask_algorithms())
def test_every_name_runs_spends_its_budget_and_repeats(name):
    results = []
    # Family methods need tasks that come with descriptors.
    settings = {"n_tasks": 2} if "family" in name else {}
    tasks = get_problem("df1-family" if settings else "cihs", **settings)
    for _ in range(2):
        algorithm = get_multitask_algorithm(name.upper(), pop_size=10)
        assert algorithm.pop_size == 10
        results.append(minimize_multitask(tasks, algorithm, ("n_eval", 130), seed=3))
    assert results[0].n_eval == 130
    for first, second in zip(results[0].tasks, results[1].tasks, strict=True):
        np.testing.assert_array_equal(first.X, second.X)


def test_settings_reach_the_algorithm_and_its_parents():
    assert get_multitask_algorithm("momfea", rmp=0.7).rmp == 0.7
    assert get_multitask_algorithm("emtpd", rmp=0.7).rmp == 0.7
    assert get_multitask_algorithm("pact-alone").transfers == ()
    assert get_multitask_algorithm("ide-copy", CR=0.9).CR == 0.9


def test_unknown_names_and_settings_are_refused_with_what_there_is():
    with pytest.raises(ValueError, match=r"'momfae'; did you mean momfea.* There are nsga2, pact"):
        get_multitask_algorithm("momfae")
    with pytest.raises(TypeError, match="momfea has no setting 'rpm'; did you mean rmp"):
        get_multitask_algorithm("momfea", rpm=0.5)
    with pytest.raises(TypeError, match="no setting 'transfer'"):
        get_multitask_algorithm("ide", transfer=None)
