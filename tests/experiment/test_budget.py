"""When a run ends: exact evaluations, seconds, targets."""

import numpy as np
import pytest
from pymoo.algorithms.moo.gde3 import GDE3
from pymoo.algorithms.moo.moead import MOEAD, ParallelMOEAD
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.algorithms.soo.nonconvex.cmaes import CMAES
from pymoo.core.algorithm import Algorithm
from pymoo.core.population import Population
from pymoo.problems.multi import ZDT1
from pymoo.problems.single import Sphere
from pymoo.util.ref_dirs import get_reference_directions

from evogen.algorithms import list_algorithms
from evogen.experiment import minimize
from evogen.experiment.budget import evaluation_limit, resolve_termination, takes_any_number
from evogen.experiment.lookup import get_algorithm

COMPILED = ("agemoea", "agemoea2")
SINGLE = ("ga", "de", "diffusion-evolution")
DIRECTIONS = get_reference_directions("das-dennis", 2, n_partitions=9)


class Counting(ZDT1):
    def __init__(self):
        super().__init__(n_var=4)
        self.n_asked = 0

    def _evaluate(self, x, out, *args, **kwargs):
        self.n_asked += len(x)
        super()._evaluate(x, out)


def quick(name):
    """One of each kind: the networks of the others train for longer and change nothing here."""
    slow = ("ddpm", "vae", "gan", "improvement", "published", "as-coded", "network", "critic-")
    return name not in COMPILED and not any(part in name for part in slow)


@pytest.mark.parametrize("name", [n for n in list_algorithms() if quick(n)])
def test_no_algorithm_makes_more_evaluations_than_allowed(name):
    problem = Sphere(n_var=3) if name in SINGLE else Counting()
    settings = {"n_initial": 12} if name == "krvea" else {}
    algorithm = get_algorithm(name, problem, pop_size=10, **settings)
    res = minimize(problem, algorithm, ("n_eval", 37), seed=1, exact_budget=True)
    assert res.n_eval <= 37
    assert getattr(problem, "n_asked", res.n_eval) == res.n_eval == len(res.evaluations)
    assert res.X is not None
    assert res.success
    exactly = name not in ("gde3", "rvea", "diffusion-evolution")
    assert (res.n_eval == 37) == exactly, res.message


def test_the_last_batch_is_cut_and_survival_goes_on_with_it():
    res = minimize(Counting(), NSGA2(pop_size=10), ("n_eval", 37), seed=1, exact_budget=True)
    whole = minimize(Counting(), NSGA2(pop_size=10), ("n_eval", 40), seed=1)
    assert np.array_equal(res.evaluations.X, whole.evaluations.X[:37])
    assert len(res.pop) == 10
    assert res.message == "terminated after 37 evaluations; cut its last batch from 10 to 7"


def test_an_algorithm_that_needs_whole_batches_stops_before_one():
    assert not takes_any_number(GDE3(pop_size=10))
    res = minimize(Counting(), GDE3(pop_size=10), ("n_eval", 37), seed=1, exact_budget=True)
    assert res.n_eval == 30
    assert res.message.endswith("stopped before a batch of 10")
    whole = minimize(Counting(), GDE3(pop_size=10), ("n_eval", 30), seed=1)
    assert np.array_equal(res.F, whole.F)


def test_a_batch_that_is_left_out_leaves_the_population_that_was_evaluated():
    # CMA-ES calls its new points the population before they are evaluated.
    res = minimize(Sphere(n_var=3), CMAES(popsize=8), ("n_eval", 40), seed=1, exact_budget=True)
    assert res.message.endswith("stopped before a batch of 8")
    assert 30 < res.n_eval <= 40
    assert res.pop.get("F").shape == (8, 1)
    assert res.F[0] == res.algorithm.opt.get("F").min()


def test_one_point_a_step_ends_within_a_generation():
    res = minimize(
        Counting(), MOEAD(DIRECTIONS, n_neighbors=4), ("n_eval", 37), seed=1, exact_budget=True
    )
    assert res.n_eval == 37
    plain = minimize(Counting(), MOEAD(DIRECTIONS, n_neighbors=4), ("n_eval", 37), seed=1)
    assert plain.n_eval == 40
    assert np.array_equal(res.evaluations.X, plain.evaluations.X[:37])


@pytest.mark.parametrize(
    "make", [lambda: NSGA2(pop_size=10), lambda: ParallelMOEAD(DIRECTIONS, n_neighbors=4)]
)
def test_nothing_changes_where_batches_fit(make):
    exact = minimize(Counting(), make(), ("n_eval", 40), seed=1, exact_budget=True)
    plain = minimize(Counting(), make(), ("n_eval", 40), seed=1)
    assert np.array_equal(exact.pop.get("X"), plain.pop.get("X"))
    assert exact.message == plain.message


def test_evaluations_made_inside_of_an_algorithm_count_too():
    class Greedy(Algorithm):
        """Evaluates on its own when it advances, as memetic algorithms do."""

        def _initialize_infill(self):
            return Population.new(X=self.random_state.random((4, 4)))

        def _infill(self):
            return Population.new(X=self.random_state.random((4, 4)))

        def _advance(self, infills=None, **kwargs):
            extra = Population.new(X=self.random_state.random((5, 4)))
            self.evaluator.eval(self.problem, extra)
            self.pop = Population.merge(self.pop, infills)

    problem = Counting()
    res = minimize(problem, Greedy(), ("n_eval", 20), seed=1, exact_budget=True)
    assert problem.n_asked == res.n_eval == 17
    assert res.message.endswith("stopped before a batch of 5")


def test_a_budget_below_the_first_batch_or_without_evaluations_is_refused():
    with pytest.raises(ValueError, match="9 evaluations is smaller than the 10 initial points"):
        minimize(Counting(), NSGA2(pop_size=10), ("n_eval", 9), seed=1, exact_budget=True)
    with pytest.raises(ValueError, match="needs a termination that counts evaluations"):
        minimize(Counting(), NSGA2(pop_size=10), ("n_gen", 9), seed=1, exact_budget=True)


def test_an_exact_run_in_parts_is_the_same_run(tmp_path):
    class PowerCut(Exception):
        pass

    class Fragile(Counting):
        limit = np.inf

        def _evaluate(self, x, out, *args, **kwargs):
            super()._evaluate(x, out)
            if self.n_asked > self.limit:
                raise PowerCut

    def solve(problem, path):
        return minimize(
            problem,
            MOEAD(DIRECTIONS, n_neighbors=4),
            ("n_eval", 77),
            seed=1,
            exact_budget=True,
            checkpoint=path,
            checkpoint_every=1,
        )

    whole = solve(Fragile(), None)
    broken = Fragile()
    broken.limit = 30
    with pytest.raises(PowerCut):
        solve(broken, tmp_path / "c")
    parts = solve(Fragile(), tmp_path / "c")
    assert np.array_equal(whole.F, parts.F)
    again = Fragile()
    assert solve(again, tmp_path / "c").message == whole.message
    assert again.n_asked == 0


# -- seconds and targets -------------------------------------------------------------------------


def test_a_target_ends_the_run_when_it_is_reached():
    res = minimize("zdt1", "nsga2", ("igd", 0.5), seed=1, pop_size=20)
    reference = res.algorithm.termination.reference
    assert res.algorithm.termination.reached
    assert reference.measure(res.F)["igd"] <= 0.5
    before = minimize("zdt1", "nsga2", ("n_gen", res.algorithm.n_iter - 2), seed=1, pop_size=20)
    assert reference.measure(before.F)["igd"] > 0.5


def test_all_targets_together_or_the_first_limit():
    easy = {"igd": 0.5, "hv": 0.3}
    both = minimize("zdt1", "nsga2", ("target", easy), seed=1, pop_size=20)
    one = minimize("zdt1", "nsga2", ("target", {"igd": 0.5}), seed=1, pop_size=20)
    assert both.n_eval >= one.n_eval
    ended = minimize(
        "zdt1", "nsga2", ("target", {**easy, "n_eval": 60, "seconds": 1e6}), seed=1, pop_size=20
    )
    assert ended.n_eval == 60
    assert not ended.algorithm.termination.reached


def test_one_objective_has_a_target_too():
    res = minimize(Sphere(n_var=3), "ga", ("f", 0.01), seed=1, pop_size=20)
    assert res.F[0] <= 0.01


def test_seconds_and_limits_end_a_run():
    assert minimize("zdt1", "nsga2", ("seconds", 0.05), seed=1, pop_size=20).n_eval >= 20
    limits = ("limits", {"n_eval": 45, "n_gen": 9, "seconds": 1e6})
    assert minimize("zdt1", "nsga2", limits, seed=1, pop_size=20).n_eval == 60
    exact = minimize("zdt1", "nsga2", limits, seed=1, pop_size=20, exact_budget=True)
    assert exact.n_eval == 45


@pytest.mark.parametrize(
    ("termination", "text"),
    [
        (("seconds", 0), "seconds must be above 0"),
        (("seconds", "long"), "seconds must be a number"),
        (("igd", float("nan")), "igd must be finite"),
        (("target", {"igd": 0.1, "gd": 1}), "'gd' is unknown"),
        (("target", {"n_eval": 100}), "has no target"),
        (("target", 0.1), "give a dictionary"),
        (("limits", {}), "needs some of"),
        (("limits", {"igd": 0.1}), "needs some of"),
        (("f", 0.1), "cannot be measured"),
    ],
)
def test_a_senseless_termination_is_refused(termination, text):
    with pytest.raises((TypeError, ValueError), match=text):
        minimize("zdt1", "nsga2", termination, seed=1, pop_size=20)


def test_a_target_needs_a_front():
    from evogen.experiment import Reference
    from evogen.experiment.budget import TargetTermination

    with pytest.raises(ValueError, match="2 objectives and no known front"):
        TargetTermination(Reference(2), {"igd": 0.1}, {})


def test_the_limit_of_a_termination_is_read_from_all_forms():
    from pymoo.termination.max_eval import MaximumFunctionCallTermination

    problem = ZDT1(n_var=4)
    assert evaluation_limit(("n_eval", 50)) == 50
    assert evaluation_limit(MaximumFunctionCallTermination(60)) == 60
    assert evaluation_limit(resolve_termination(("limits", {"n_eval": 70}), problem)) == 70
    for other in (None, "soo", ("n_gen", 5), MaximumFunctionCallTermination(), ("time", 3)):
        assert evaluation_limit(resolve_termination(other, problem)) is None
