from __future__ import annotations

import numpy as np
import pytest
from pymoo.core.problem import Problem
from pymoo.problems import get_problem as pymoo_get_problem

import evogen.problems.registry as registry
from evogen.problems import (
    IMF1,
    ShiftedProblem,
    get_problem,
    list_problems,
    list_suites,
    register,
    resolve,
)


@pytest.fixture
def fresh(monkeypatch):
    """Names registered by a test vanish after it."""
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))


class Plank(Problem):
    def __init__(self, n_var=4, *, stiff=False):
        super().__init__(n_var=n_var, n_obj=2, xl=0, xu=1, vtype=float)
        self.stiff = stiff

    def _evaluate(self, x, out, *args, **kwargs):
        out["F"] = np.column_stack([x[:, 0], 1 - x[:, 0] + x[:, 1:].sum(axis=1)])


# --- what there is -------------------------------------------------------------------------------


def test_the_suites_are_complete():
    sizes = {"imf": 10, "uf": 10, "lsmop": 9, "zdt": 5, "dtlz": 7, "wfg": 9, "zcat": 20, "mw": 14,
             "cdtlz": 5, "dcdtlz": 6, "dascmop": 9, "ctp": 8, "g": 24, "mmf": 8}  # fmt: skip
    assert sizes.keys() | {"modified_dtlz", "classic", "single"} == set(list_suites())
    for suite, size in sizes.items():
        assert len(list_problems(suite)) == size
    assert {"bnh", "kursawe", "osy", "tnk"} <= set(list_problems("classic"))
    assert {"sphere", "rastrigin", "rosenbrock"} <= set(list_problems("single"))
    assert "zdt5" in list_problems()
    assert "zdt5" not in list_problems("zdt")


@pytest.mark.parametrize("name", list_problems())
def test_every_name_gives_a_problem_that_evaluates(name):
    problem = get_problem(name)
    x = np.random.default_rng(0).uniform(problem.xl, problem.xu, (4, problem.n_var))
    f = problem.evaluate(x, return_as_dictionary=True)["F"]
    assert f.shape == (4, problem.n_obj)
    assert np.all(np.isfinite(f))


@pytest.mark.parametrize("name", [n for n in list_problems() if n != "zdt5"])
def test_every_real_valued_problem_has_a_twin(name):
    original = get_problem(name)
    twin = get_problem(f"{name}-shifted", seed=1)
    assert isinstance(twin, ShiftedProblem)
    assert twin.name() == f"{original.name()}-shifted"
    x = np.random.default_rng(0).uniform(twin.xl, twin.xu, (4, twin.n_var))
    expected = original.evaluate(twin.to_original(x), return_as_dictionary=True)["F"]
    f = twin.evaluate(x, return_as_dictionary=True)["F"]
    np.testing.assert_array_equal(f, expected)


@pytest.mark.parametrize(
    "name",
    ["zdt1", "zdt4", "dtlz1", "dtlz7", "mw5", "mw14", "ctp8", "c1dtlz3", "c3dtlz4", "dc3dtlz1",
     "kursawe", "ackley", "g7", "zcat8"],
)  # fmt: skip
def test_problems_are_pymoos_own_with_its_default_sizes(name):
    ours, theirs = get_problem(name), pymoo_get_problem(name)
    assert (ours.n_var, ours.n_obj, ours.n_ieq_constr) == (
        theirs.n_var,
        theirs.n_obj,
        theirs.n_ieq_constr,
    )
    np.testing.assert_array_equal(ours.xl, theirs.xl)
    np.testing.assert_array_equal(ours.xu, theirs.xu)
    x = np.random.default_rng(0).uniform(ours.xl, ours.xu, (5, ours.n_var))
    out = ours.evaluate(x, return_as_dictionary=True)
    for key, value in theirs.evaluate(x, return_as_dictionary=True).items():
        np.testing.assert_array_equal(out[key], value)


def test_names_are_case_insensitive():
    assert isinstance(get_problem("IMF1"), IMF1)
    assert isinstance(get_problem(" Imf1-Shifted ").original, IMF1)
    assert resolve("IMF") == list_problems("imf")


def test_keywords_reach_the_problem_and_its_twin():
    assert get_problem("imf1", n_var=7).n_var == 7
    assert get_problem("lsmop3", n_var=120, n_obj=4).n_obj == 4
    twin = get_problem("imf1-shifted", n_var=7, seed=9, fold="kinked")
    assert (twin.n_var, twin.seed, twin.fold) == (7, 9, "kinked")


def test_the_number_of_variables_follows_the_number_of_objectives():
    assert [get_problem("dtlz1", n_obj=m).n_var for m in (2, 3, 5)] == [6, 7, 9]
    assert get_problem("dtlz2", n_obj=5, k=10).n_var == 14
    assert [get_problem("wfg4", n_obj=m).n_var for m in (2, 3, 5)] == [24, 24, 28]
    assert [get_problem("mw4", n_obj=m).n_var for m in (2, 3, 5)] == [14, 15, 17]


# --- suites and names together -------------------------------------------------------------------


def test_a_suites_name_stands_for_its_problems_in_order_without_repeats():
    assert resolve(["zdt", "imf1", "zdt1"]) == ["zdt1", "zdt2", "zdt3", "zdt4", "zdt6", "imf1"]
    assert resolve("imf-shifted") == [f"imf{i}-shifted" for i in range(1, 11)]
    assert resolve("imf1-shifted") == ["imf1-shifted"]
    assert resolve([]) == []
    assert list_problems("dtlz-shifted") == [f"dtlz{i}-shifted" for i in range(1, 8)]


# --- one's own -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("fresh")
def test_a_registered_problem_is_like_the_others():
    register("Plank", Plank, suite="Mine")
    assert get_problem("plank", n_var=6, stiff=True).stiff
    assert get_problem("plank-shifted", n_var=6, seed=2).n_var == 6
    assert resolve("mine") == ["plank"]
    assert "mine" in list_suites()
    with pytest.raises(TypeError, match="it takes n_var, stiff; did you mean 'stiff'"):
        get_problem("plank", stif=True)


@pytest.mark.usefixtures("fresh")
def test_a_factory_that_takes_any_keyword_gets_it():
    register("open", lambda **kwargs: Plank(**kwargs))
    assert get_problem("open", n_var=9).n_var == 9
    assert get_problem("open-shifted", n_var=9, seed=3).seed == 3


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    ("name", "suite", "message"),
    [
        ("imf1", None, "name='imf1' is taken"),
        ("imf", None, "name='imf' is taken"),
        ("x-shifted", None, "must be a word"),
        ("", None, "must be a word"),
        ("two words", None, "must be a word"),
        ("a,b", None, "must be a word"),
        (3, None, "name=3 must be a word"),
        ("new", "imf1", "suite='imf1' is the name of a problem"),
        ("new", "my suite", "suite='my suite' must be a word"),
        ("new", "new", "name='new' is taken"),
    ],
)
def test_names_that_would_be_ambiguous_cannot_be_registered(name, suite, message):
    with pytest.raises(ValueError, match=message):
        register(name, Plank, suite)


def test_only_something_callable_can_be_registered():
    with pytest.raises(TypeError, match="factory=5 must be callable"):
        register("five", 5)
    assert "five" not in list_problems()


# --- bad input -----------------------------------------------------------------------------------


def test_unknown_names_list_near_ones():
    with pytest.raises(ValueError, match=r"unknown problem 'ztd1'; near names: .*zdt1"):
        get_problem("ztd1")
    with pytest.raises(ValueError, match=r"unknown problem 'imff1-shifted'; near names: .*imf1"):
        get_problem("imff1-shifted")
    with pytest.raises(ValueError, match=r"unknown problem 'dltz'; near names: .*dtlz"):
        resolve(["imf", "dltz"])
    with pytest.raises(ValueError, match=r"unknown suite 'dltz'; near names: .*dtlz"):
        list_problems("dltz")
    with pytest.raises(ValueError, match="unknown problem 'qqqqqq'; suites are imf, uf"):
        get_problem("qqqqqq")
    with pytest.raises(ValueError, match="unknown problem None"):
        get_problem(None)


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("imf1", {"n_obj": 3}, r"'imf1' does not take n_obj=: it takes n_var"),
        ("imf1", {"nvar": 3}, "did you mean 'n_var'"),
        ("imf1", {"seed": 3}, r"'imf1' does not take seed=: it takes n_var"),
        ("imf1-shifted", {"sed": 3}, "it takes n_var, seed, fold; did you mean 'seed'"),
        # pymoo swallows these without a word.
        ("mw1", {"n_obj": 5}, r"'mw1' does not take n_obj="),
        ("dascmop1", {"n_var": 10}, r"'dascmop1' does not take n_var=: it takes difficulty"),
        ("bnh", {"n_var": 10}, r"'bnh' does not take n_var=: it takes no keywords"),
        ("dtlz1", {"n_var": 7.5}, "n_var=7.5 must be an integer"),
    ],
)
def test_keywords_that_a_problem_does_not_take_are_refused(name, kwargs, message):
    with pytest.raises(TypeError, match=message):
        get_problem(name, **kwargs)


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("zdt1", {"n_var": 1}, "n_var=1 must be at least 2"),
        ("zdt5", {"m": 1}, "m=1 must be at least 2"),
        ("dtlz2", {"n_var": 2, "n_obj": 3}, r"n_var=2 must be at least 3 \(n_obj=3\)"),
        ("c3dtlz4", {"n_var": 5}, r"n_var=5 must be at least 6 \(n_obj=3\)"),
        ("dtlz2", {"n_obj": 1}, "n_obj=1 must be at least 2"),
        ("dtlz2", {"n_var": 12, "k": 10}, "n_var=12 and k=10: give one of them"),
        ("wfg4", {"n_var": 5}, r"n_var=5 must be at least 6 \(k=4\)"),
        ("wfg4", {"k": 5}, "k=5 must be a multiple of n_obj - 1 = 2"),
        ("wfg2", {"n_var": 25}, "n_var=25 must leave an even number"),
        ("mw1", {"n_var": 2}, "n_var=2 must be at least 3"),
        ("mw4", {"n_var": 3, "n_obj": 3}, "n_var=3 must be at least 4"),
        ("ctp1", {"n_ieq_constr": 0}, "n_ieq_constr=0 must be at least 1"),
        ("dascmop1", {"difficulty": 17}, "difficulty=17 must be 1 to 16"),
        ("dascmop1", {"difficulty": (0.5, 2.0, 0.5)}, r"must be three numbers in \[0, 1\]"),
        ("zcat1", {"level": 7}, "level=7 must be 1 to 6"),
        ("zcat1", {"n_var": 1}, "n_var=1 must be at least 2"),
        ("rosenbrock", {"n_var": 1}, "n_var=1 must be at least 2"),
        ("uf8", {"n_var": 4}, "n_var=4 must be at least 5"),
    ],
)
def test_values_out_of_range_are_refused(name, kwargs, message):
    with pytest.raises(ValueError, match=message):
        get_problem(name, **kwargs)
