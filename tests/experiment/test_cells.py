import functools
import hashlib
import json

import numpy as np
import pytest

from evogen.experiment import Cell, Spec, run_cell


def cell(problem="zdt1", algorithm="nsga2", seed=1, pop_size=12, n_eval=60, **settings):
    spec = problem if isinstance(problem, Spec) else Spec("p", problem, {"n_var": 5})
    return Cell(spec, Spec("a", algorithm, settings), seed, pop_size, n_eval)


def test_the_key_depends_on_everything_that_determines_the_result():
    cells = [
        cell(),
        cell(seed=2),
        cell(pop_size=16),
        cell(n_eval=72),
        cell("zdt2"),
        cell(Spec("p", "zdt1", {"n_var": 6})),
        cell(algorithm="spea2"),
        cell(n_offsprings=4),
    ]
    assert len({c.key for c in cells}) == len(cells)


def test_the_key_does_not_depend_on_labels_or_the_order_of_settings():
    one = Cell(Spec("A", "zdt1"), Spec("B", "x", {"a": 1, "b": 2}), 1, 10, 100)
    two = Cell(Spec("C", "zdt1"), Spec("D", "x", {"b": 2, "a": 1}), 1, 10, 100)
    assert one.key == two.key


def test_the_key_is_the_same_in_every_version():
    # Stored cells are found again by it: a change would make all stores run anew.
    text = (
        '{"algorithm":{"name":"nsga2","settings":{}},"n_eval":5000,"pop_size":100,'
        '"problem":{"name":"zdt1","settings":{"n_var":5}},"seed":1}'
    )
    known = Cell(Spec("p", "zdt1", {"n_var": 5}), Spec("a", "nsga2"), 1, 100, 5000)
    assert known.key == hashlib.sha256(text.encode()).hexdigest()[:32]


def test_a_partial_counts_as_function_and_settings(parts):
    one = Spec("a", functools.partial(parts.nsga2, eta=30)).describe()
    two = Spec("a", parts.nsga2, {"eta": 30}).describe()
    assert one == two
    assert one["name"].endswith(":nsga2")


def test_what_cannot_be_stored_or_imported_is_refused():
    with pytest.raises(TypeError, match="must be able to import"):
        Spec("a", lambda problem, pop_size: None).describe()
    with pytest.raises(TypeError, match="plain numbers"):
        Spec("a", "nsga2", {"sampling": object()}).describe()
    with pytest.raises(TypeError, match="plain numbers"):
        Spec("a", "nsga2", {"share": float("nan")}).describe()
    with pytest.raises(TypeError, match="by keyword"):
        Spec("a", functools.partial(print, 1)).describe()


def test_a_cell_runs_and_says_what_it_measured():
    outcome = run_cell(cell())
    assert outcome.status == "done"
    assert (outcome.n_var, outcome.n_obj, outcome.n_eval, outcome.n_nonfinite) == (5, 2, 60, 0)
    assert outcome.indicators["igd"] > 0
    assert outcome.cpu_seconds > 0
    assert outcome.wall_seconds > 0
    assert outcome.reference["hv_point"] == [1.1, 1.1]
    result, curves = outcome.arrays["result"], outcome.arrays["curves"]
    assert result["X"].shape == (12, 5)
    assert result["F"].shape == (12, 2)
    assert curves["n_eval"].tolist() == [12, 24, 36, 48, 60]
    assert curves["igd"][-1] == outcome.indicators["igd"]
    assert outcome.machine["versions"]["pymoo"].startswith("0.6")
    json.dumps(outcome.machine)


@pytest.mark.parametrize("algorithm", ["nsga2", "moead-de", "gmoea"])
def test_a_cell_gives_the_same_result_again(algorithm):
    one, two = (run_cell(cell(algorithm=algorithm)) for _ in range(2))
    assert np.array_equal(one.arrays["result"]["X"], two.arrays["result"]["X"])
    assert one.indicators == two.indicators


def test_a_cell_that_raises_is_a_failed_outcome_with_traceback(parts):
    outcome = run_cell(cell(Spec("p", parts.Raising)))
    assert outcome.status == "failed"
    assert outcome.error == "RuntimeError: the simulator said no"
    assert "_evaluate" in outcome.traceback
    assert outcome.arrays == {}


def test_values_that_are_not_finite_are_counted_and_kept(parts):
    outcome = run_cell(cell(Spec("p", parts.Sick)))
    assert outcome.status == "done"
    kept = outcome.arrays["result"]["X_nonfinite"]
    assert outcome.n_nonfinite == len(kept) > 0
    assert (kept[:, 2] > 0.5).all()


def test_warnings_are_kept_once_each_and_not_printed(capsys, parts):
    import warnings

    class Warning_(UserWarning):
        pass

    def noisy(problem, pop_size):
        warnings.warn("the first", Warning_, stacklevel=1)
        warnings.warn("the first", Warning_, stacklevel=1)
        return parts.nsga2(problem, pop_size)

    spec = Spec("a", noisy)
    outcome = run_cell(Cell(Spec("p", parts.small_zdt1), spec, 1, 8, 16))
    assert outcome.warnings == ["Warning_: the first"]
    assert capsys.readouterr().err == ""


def test_mixed_variables_are_kept_as_text():
    from pymoo.core.mixed import MixedVariableGA
    from pymoo.core.problem import ElementwiseProblem
    from pymoo.core.variable import Choice, Integer, Real

    class Mixed(ElementwiseProblem):
        def __init__(self):
            kinds = {
                "a": Real(bounds=(0, 1)),
                "b": Integer(bounds=(0, 5)),
                "c": Choice(options=["x", "y"]),
            }
            super().__init__(vars=kinds, n_obj=1)

        def _evaluate(self, x, out, *args, **kwargs):
            out["F"] = x["a"] + x["b"] + (x["c"] == "x")

    def build(problem, pop_size):
        return MixedVariableGA(pop_size=pop_size)

    outcome = run_cell(Cell(Spec("p", Mixed), Spec("a", build), 1, 10, 20))
    assert outcome.status == "done", outcome.traceback
    assert set(json.loads(outcome.arrays["result"]["X"][0])) == {"a", "b", "c"}


def test_ctrl_c_in_a_cell_is_not_a_result(parts):
    class Stop(parts.Raising):
        def _evaluate(self, x, out, *args, **kwargs):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_cell(cell(Spec("p", Stop)))
