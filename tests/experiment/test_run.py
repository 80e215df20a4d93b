import numpy as np
import pytest
from pymoo.algorithms.moo.moead import MOEAD
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.algorithms.moo.nsga3 import NSGA3
from pymoo.algorithms.moo.spea2 import SPEA2
from pymoo.core.callback import Callback
from pymoo.core.problem import Problem
from pymoo.optimize import minimize as pymoo_minimize
from pymoo.problems.multi import BNH, ZDT1
from pymoo.util.ref_dirs import get_reference_directions

import evogen.problems
from evogen.experiment import minimize

REF_DIRS = get_reference_directions("das-dennis", 2, n_partitions=19)

ALGORITHMS = {
    "NSGA2": lambda: NSGA2(pop_size=20),
    "NSGA3": lambda: NSGA3(REF_DIRS, pop_size=20),
    "SPEA2": lambda: SPEA2(pop_size=20),
    "MOEAD": lambda: MOEAD(REF_DIRS, n_neighbors=5),
}


class Box(Problem):
    def __init__(self, xl=0.0, xu=1.0, **kwargs):
        super().__init__(n_var=3, n_obj=2, xl=xl, xu=xu, **kwargs)
        self.n_calls = 0

    def _evaluate(self, x, out, *args, **kwargs):
        self.n_calls += 1
        out["F"] = np.column_stack([x[:, 0], 1 - x[:, 0] + x[:, 1:].sum(axis=1)])


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_run_is_bit_for_bit_that_of_pymoo(name):
    problem = ZDT1(n_var=6)
    theirs = pymoo_minimize(problem, ALGORITHMS[name](), ("n_gen", 8), seed=3)
    ours = minimize(problem, ALGORITHMS[name](), ("n_gen", 8), seed=3)
    for what in ("X", "F"):
        assert np.array_equal(theirs.pop.get(what), ours.pop.get(what))
        assert np.array_equal(getattr(theirs, what), getattr(ours, what))


def test_a_constrained_run_is_bit_for_bit_that_of_pymoo():
    theirs = pymoo_minimize(BNH(), NSGA2(pop_size=20), ("n_gen", 8), seed=1)
    ours = minimize(BNH(), NSGA2(pop_size=20), ("n_gen", 8), seed=1)
    assert np.array_equal(theirs.pop.get("G"), ours.pop.get("G"))
    assert np.array_equal(theirs.CV, ours.CV)


def test_names_stand_for_objects():
    by_name = minimize("zdt1", "nsga2", ("n_gen", 3), seed=1, pop_size=12)
    assert len(by_name.pop) == 12
    assert by_name.n_eval == 36
    by_object = minimize(
        evogen.problems.get_problem("zdt1"), by_name.algorithm.__class__(12), ("n_gen", 1), seed=1
    )
    assert np.array_equal(
        by_object.pop.get("X"),
        minimize("zdt1", "nsga2", ("n_gen", 1), seed=1, pop_size=12).pop.get("X"),
    )


def test_the_result_says_how_it_went():
    res = minimize(Box(), NSGA2(pop_size=20), ("n_eval", 100), seed=1)
    assert res.success is True
    assert res.message == "terminated after 100 evaluations"
    assert (res.n_eval, res.n_nonfinite, len(res.X_nonfinite)) == (100, 0, 0)


def test_the_algorithm_given_stays_untouched_unless_asked():
    algorithm = NSGA2(pop_size=8)
    minimize(Box(), algorithm, ("n_gen", 2), seed=1)
    assert algorithm.problem is None
    res = minimize(Box(), algorithm, ("n_gen", 2), seed=1, copy_algorithm=False)
    assert res.algorithm is algorithm


def test_callbacks_of_both_kinds_are_called_every_generation():
    class Collect(Callback):
        def notify(self, algorithm):
            self.data.setdefault("n_gen", []).append(algorithm.n_gen)

    seen = []
    minimize(
        Box(), NSGA2(pop_size=8), ("n_gen", 3), seed=1, callback=lambda a: seen.append(a.n_gen)
    )
    res = minimize(Box(), NSGA2(pop_size=8), ("n_gen", 3), seed=1, callback=Collect())
    assert seen == res.algorithm.callback.data["n_gen"] == [1, 2, 3]


def test_setup_arguments_reach_pymoo():
    res = minimize(Box(), NSGA2(pop_size=8), ("n_gen", 3), seed=1, save_history=True)
    assert len(res.history) == 3


def test_every_setting_of_a_run_that_pymoo_knows_is_taken(capsys):
    from pymoo.core.evaluator import Evaluator
    from pymoo.util.archive import MultiObjectiveArchive
    from pymoo.util.display.multi import MultiObjectiveOutput

    plain = minimize(Box(), NSGA2(pop_size=8), ("n_gen", 3), seed=1)
    res = minimize(
        Box(),
        NSGA2(pop_size=8),
        ("n_gen", 3),
        seed=1,
        verbose=True,
        save_history=True,
        return_least_infeasible=True,
        archive=MultiObjectiveArchive(),
        output=MultiObjectiveOutput(),
        display=None,
        evaluator=Evaluator(),
        n_offsprings=8,
    )
    assert "n_eval" in capsys.readouterr().out
    assert len(res.archive) > 0
    assert np.array_equal(plain.F, res.F)


def test_the_progress_bar_shows_evaluations_and_igd_without_changing_the_run(capsys):
    problem = ZDT1(n_var=4)
    silent = minimize(problem, NSGA2(pop_size=8), ("n_gen", 3), seed=1)
    assert capsys.readouterr().err == ""
    shown = minimize(problem, NSGA2(pop_size=8), ("n_gen", 3), seed=1, progress=True)
    text = capsys.readouterr().err
    assert "24 evaluations" in text
    assert "IGD" in text
    assert np.array_equal(silent.F, shown.F)


def test_ctrl_c_returns_what_was_found_so_far():
    class Impatient(Box):
        def _evaluate(self, x, out, *args, **kwargs):
            super()._evaluate(x, out)
            if self.n_calls == 4:
                raise KeyboardInterrupt

    res = minimize(Impatient(), NSGA2(pop_size=10), ("n_gen", 50), seed=1)
    whole = minimize(Box(), NSGA2(pop_size=10), ("n_gen", 3), seed=1)
    assert res.success is False
    assert res.message.startswith("interrupted after 30 evaluations")
    assert np.array_equal(res.F, whole.F)


def test_an_error_of_the_problem_propagates_and_the_algorithm_keeps_its_population():
    class Failing(Box):
        def _evaluate(self, x, out, *args, **kwargs):
            super()._evaluate(x, out)
            if self.n_calls == 3:
                raise ZeroDivisionError("in the simulator")

    algorithm = NSGA2(pop_size=10)
    with pytest.raises(ZeroDivisionError, match="in the simulator"):
        minimize(Failing(), algorithm, ("n_gen", 9), seed=1, copy_algorithm=False)
    assert len(algorithm.pop) == 10
    assert algorithm.evaluator.n_eval == 20


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("no such", "nsga2"), ValueError, "no such"),
        (("imf11", "nsga2"), ValueError, "imf1"),
        (("zdt1", "nsga22"), ValueError, "nsga2"),
        ((object(), "nsga2"), TypeError, "is no problem"),
        (("cihs", "nsga2"), TypeError, "several tasks; minimize_multitask"),
        (("zdt1", NSGA2), TypeError, r"give an instance: NSGA2\("),
        (("zdt1", 7), TypeError, "algorithm=7"),
        (("zdt1", "nsga2", 5000), TypeError, r"give \('n_eval', number\)"),
        (("zdt1", "nsga2", ("n_evl", 50)), ValueError, "did you mean 'n_eval'"),
        (("zdt1", "nsga2", ("n_eval", 0)), ValueError, "whole number >= 1"),
        (("zdt1", "nsga2", ("n_gen",)), ValueError, "whole number >= 1"),
        (("zdt1", "nsga2", ("time", "tomorrow")), ValueError, "not understood"),
    ],
)
def test_bad_input_is_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        minimize(*arguments)


@pytest.mark.parametrize(
    ("keywords", "error", "words"),
    [
        ({"seed": -1}, ValueError, "seed=-1"),
        ({"seed": 1.5}, TypeError, "seed=1.5"),
        ({"seed": True}, TypeError, "seed=True"),
        ({"pop_size": 50}, ValueError, r"NSGA2\(pop_size=50\)"),
        ({"sed": 1}, TypeError, "'sed' is neither .* did you mean 'seed'"),
        ({"vrebose": True}, TypeError, "did you mean 'verbose'"),
        ({"progres": True}, TypeError, "did you mean 'progress'"),
        ({"least_infeasible": True}, TypeError, "did you mean 'return_least_infeasible'"),
        ({"run": 3}, TypeError, "'run' is neither"),
        ({"_setup": 3}, TypeError, "'_setup' is neither"),
    ],
)
def test_bad_keywords_are_refused(keywords, error, words):
    with pytest.raises(error, match=words):
        minimize(Box(), NSGA2(), ("n_gen", 1), **keywords)


@pytest.mark.parametrize(
    ("xl", "xu", "words"),
    [
        (np.zeros(2), np.ones(3), r"problem.xl has the shape \(2,\), expected \(3,\)"),
        (np.array([0.0, 2.0, 0.0]), np.ones(3), r"reversed: xl\[1\]=2.0 is above xu\[1\]=1.0"),
        (np.array([0.0, np.nan, 0.0]), np.ones(3), r"problem.xl\[1\] is nan"),
        (np.zeros(3), np.array([1.0, 1.0, np.inf]), r"variable 2 has the bounds \[0.0, inf\]"),
        (None, None, "problem has none"),
    ],
)
def test_impossible_bounds_are_refused_before_any_evaluation(xl, xu, words):
    problem = Box(xl=xl, xu=xu)
    with pytest.raises(ValueError, match=words):
        minimize(problem, NSGA2(pop_size=8), ("n_gen", 1))
    assert problem.n_calls == 0


def test_infinite_bounds_are_fine_when_the_first_points_are_given():
    points = np.random.default_rng(0).random((8, 3))
    problem = Box(xl=np.full(3, -np.inf), xu=np.full(3, np.inf))
    from pymoo.algorithms.soo.nonconvex.nelder import NelderMead

    problem.n_obj = 1
    problem._evaluate = lambda x, out, *a, **k: out.update(F=(x**2).sum(axis=1))
    res = minimize(problem, NelderMead(x0=points[0]), ("n_eval", 20), seed=1)
    assert np.isfinite(res.F).all()


def test_a_generative_mating_that_would_be_ignored_is_refused():
    from pymoo.algorithms.soo.nonconvex.es import ES

    from evogen.models import GaussianMixture
    from evogen.operators import GenerativeMating

    algorithm = ES()
    algorithm.mating = GenerativeMating(GaussianMixture())
    with pytest.raises(TypeError, match="ES"):
        minimize("sphere", algorithm, ("n_gen", 2))


def test_a_generative_mating_needs_a_finite_box():
    from evogen.models import GaussianMixture
    from evogen.operators import GenerativeMating

    problem = Box(xl=np.full(3, -np.inf), xu=np.full(3, np.inf))
    points = np.random.default_rng(0).random((8, 3))
    algorithm = NSGA2(
        pop_size=8, sampling=points, mating=GenerativeMating(GaussianMixture(n_components=1))
    )
    with pytest.raises(ValueError, match="bound"):
        minimize(problem, algorithm, ("n_gen", 2))
    assert problem.n_calls == 0


def test_named_variables_need_an_algorithm_for_them():
    from pymoo.core.mixed import (
        MixedVariableDuplicateElimination,
        MixedVariableGA,
        MixedVariableMating,
        MixedVariableSampling,
    )
    from pymoo.core.problem import ElementwiseProblem
    from pymoo.core.variable import Integer, Real

    class Mixed(ElementwiseProblem):
        n_calls = 0

        def __init__(self):
            named = {"a": Real(bounds=(0, 1)), "b": Integer(bounds=(0, 9))}
            super().__init__(vars=named, n_obj=2)

        def _evaluate(self, x, out, *args, **kwargs):
            Mixed.n_calls += 1
            out["F"] = [x["a"] + x["b"], 1 - x["a"]]

    for algorithm in (NSGA2(pop_size=8), NSGA2(pop_size=8, sampling=MixedVariableSampling())):
        with pytest.raises(TypeError, match=r"of Mixed are a dictionary .* use MixedVariableGA"):
            minimize(Mixed(), algorithm, ("n_gen", 2), seed=1)
    assert Mixed.n_calls == 0
    distinct = MixedVariableDuplicateElimination()
    fitting = (
        NSGA2(
            pop_size=8,
            sampling=MixedVariableSampling(),
            mating=MixedVariableMating(eliminate_duplicates=distinct),
            eliminate_duplicates=distinct,
        ),
        MixedVariableGA(pop_size=8, survival=NSGA2().survival),
    )
    for algorithm in fitting:
        assert minimize(Mixed(), algorithm, ("n_gen", 2), seed=1).success
