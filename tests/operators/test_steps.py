"""Steps that survived, steps down a critic's slope, and the mating that takes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem
from pymoo.optimize import minimize
from pymoo.problems import get_problem

from evogen.operators import Copy, Solutions, inject
from evogen.operators.examples import Outcomes
from evogen.operators.steps import AUGMENTATION, MIN_WEIGHT, StepMating, descend, tchebycheff


def run(problem: Problem, mating: StepMating, n_gen: int = 6, pop_size: int = 20) -> Any:
    return minimize(problem, inject(NSGA2(pop_size=pop_size), mating), ("n_gen", n_gen), seed=1)


class Bowls:
    """A critic that knows f_j = |u - c_j|^2, and a violation 0.5 - u_1 if asked for."""

    def __init__(self, centres: Any, *, violation: bool = False) -> None:
        self.centres = np.asarray(centres)
        self.violation = violation

    def predict(self, u: np.ndarray) -> np.ndarray:
        f = ((u[:, None] - self.centres) ** 2).sum(axis=2)
        return np.column_stack([f, 0.5 - u[:, 0]]) if self.violation else f

    def gradient(self, u: np.ndarray) -> np.ndarray:
        slopes = 2 * (u[:, None] - self.centres)
        if not self.violation:
            return slopes
        away = np.zeros((len(u), 1, u.shape[1]))
        away[:, 0, 0] = -1.0
        return np.concatenate([slopes, away], axis=1)


class TestOutcomes:
    def solutions(self) -> Solutions:
        rng = np.random.default_rng(0)
        return Solutions(rng.random((20, 3)), rng.random((20, 2)), np.zeros(20))

    def test_survivors_are_learned_and_failures_are_negatives(self) -> None:
        examples = Outcomes(n_least=2)
        steps = np.arange(12.0).reshape(4, 3)
        examples.observe(steps, np.array([True, False, True, False]))
        data = examples.training(self.solutions())
        np.testing.assert_array_equal(data.x, steps[[0, 2]])
        assert data.negative is not None
        np.testing.assert_array_equal(data.negative, steps[[1, 3]])
        assert data.condition is None

    def test_only_the_latest_are_remembered(self) -> None:
        examples = Outcomes(5, n_least=2)
        for i in range(4):
            examples.observe(np.full((3, 2), float(i)), np.ones(3, dtype=bool))
        data = examples.training(self.solutions())
        np.testing.assert_array_equal(data.x[:, 0], [2, 2, 3, 3, 3])
        assert data.negative is None

    def test_until_enough_survived_the_better_half_minus_the_worse_stands_in(self) -> None:
        u = np.linspace(0, 1, 10)[:, None]
        solutions = Solutions(u, np.column_stack([u, u]), np.zeros(10))  # low u is better
        examples = Outcomes(n_least=4)
        examples.observe(np.ones((3, 1)), np.ones(3, dtype=bool))
        data = examples.training(solutions)
        np.testing.assert_allclose(data.x, -5 / 9)

    def test_the_numbers_are_checked(self) -> None:
        with pytest.raises(ValueError, match=r"n_least=9 must lie in \[2, n_kept=5\]"):
            Outcomes(5, n_least=9)

    def test_repr_is_the_call_that_makes_it(self) -> None:
        examples = Outcomes(50, n_least=7)
        examples.observe(np.ones((3, 1)), np.ones(3, dtype=bool))
        assert repr(examples) == "Outcomes(n_kept=50, n_least=7)"


def test_the_augmented_tchebycheff_value_is_as_defined() -> None:
    f, utopian, extent = np.array([3.0, 1.0]), np.array([1.0, -1.0]), np.array([2.0, 4.0])
    weights = np.array([0.25, 0.75])
    g = np.array([1.0 / (0.25 + MIN_WEIGHT), 0.5 / (0.75 + MIN_WEIGHT)])
    expected = g.max() + AUGMENTATION * g.sum()
    assert tchebycheff(f, utopian, extent, weights) == pytest.approx(expected)


def test_the_descent_ends_where_the_weighted_objectives_balance() -> None:
    critic = Bowls([[0.2, 0.5], [0.8, 0.5]])
    weights = np.array([[0.5, 0.5], [0.9, 0.1], [0.1, 0.9]])
    start = np.random.default_rng(0).random((3, 2))
    end = descend(critic, start, np.zeros(2), np.ones(2), weights, n_steps=400, rate=0.01)
    # On the segment between the two minima, in the middle for equal weights, and a small weight
    # asks for more of its objective.
    np.testing.assert_allclose(end[:, 1], 0.5, atol=0.02)
    assert end[0, 0] == pytest.approx(0.5, abs=0.02)
    assert end[1, 0] > 0.6
    assert end[2, 0] < 0.4


def test_the_descent_stays_in_the_box_and_within_its_step() -> None:
    critic = Bowls([[-5.0, 9.0], [-5.0, 9.0]])
    start = np.array([[0.5, 0.5], [0.02, 0.99]])
    end = descend(critic, start, np.zeros(2), np.ones(2), np.full((2, 2), 0.5), n_steps=7)
    np.testing.assert_allclose(end[0], [0.43, 0.57], atol=1e-3)
    np.testing.assert_allclose(end[1], [0.0, 1.0])


def test_a_predicted_violation_outweighs_the_objectives() -> None:
    critic = Bowls([[0.1, 0.5], [0.1, 0.5]], violation=True)
    start = np.array([[0.3, 0.2]])
    end = descend(critic, start, np.zeros(2), np.ones(2), np.full((1, 2), 0.5), n_steps=200)
    assert end[0, 0] > 0.45  # feasible is u_1 >= 0.5, the optimum is at 0.1


def test_what_is_observed_is_the_step_and_whether_its_end_is_in_the_population() -> None:
    problem = get_problem("zdt1", n_var=5)
    mating = StepMating(Copy(), share=0.5)
    seen: list[tuple[np.ndarray, np.ndarray]] = []
    examples, observe = mating.examples, mating.examples.observe  # type: ignore[attr-defined]

    def spy(steps: np.ndarray, survived: np.ndarray) -> None:
        seen.append((steps, survived))
        observe(steps, survived)

    examples.observe = spy  # type: ignore[attr-defined]
    algorithm = inject(NSGA2(pop_size=20), mating)
    algorithm.setup(problem, termination=("n_gen", 6), seed=1)
    before: list[Any] = []
    while algorithm.has_next():
        off = algorithm.ask()
        if before:  # the ask above reported on the generation before
            steps, survived = seen[-1]
            alive = {id(ind) for ind in algorithm.pop}
            assert survived.tolist() == [id(ind) in alive for ind in before]
            ends = np.array([ind.X for ind in before])
            starts = np.array([ind.data["origin"] for ind in before])
            np.testing.assert_allclose(steps, ends - starts)
        before = [ind for ind in off if "origin" in ind.data and ind.get("operator") == "model"]
        algorithm.evaluator.eval(problem, off)
        algorithm.tell(infills=off)
    assert len(seen) >= 3
    assert any(survived.any() for _, survived in seen)
    assert any((~survived).any() for _, survived in seen)


def test_every_step_of_the_critic_starts_from_a_solution_of_the_population() -> None:
    problem = get_problem("zdt1", n_var=5)
    mating = StepMating(Copy(), share=1.0, critic_share=1.0)
    res = run(problem, mating, pop_size=30)
    assert {entry["n_base"] for entry in mating.log} <= {0}
    assert len(res.F) > 1


@pytest.mark.parametrize("critic_share", [0.0, 1.0])
def test_a_population_too_small_for_a_critic_still_has_offspring(critic_share: float) -> None:
    problem = get_problem("zdt1", n_var=30)
    mating = StepMating(Copy(), share=1.0, critic_share=critic_share, archive_size=0)
    res = run(problem, mating, n_gen=4, pop_size=8)
    assert res.algorithm.evaluator.n_eval == 32
    assert not mating.slot.failures


def test_constraints_are_met() -> None:
    res = run(get_problem("bnh"), StepMating(Copy()), n_gen=15, pop_size=20)
    assert (res.CV <= 0).all()
    assert len(res.F) >= 15


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"critic_share": 1.5}, "critic_share=1.5"),
        ({"learned_share": -0.1}, "learned_share=-0.1"),
        ({"widen": -1}, "widen=-1"),
        ({"recede": -1}, "recede=-1"),
        ({"rate": 0.0}, "rate=0.0"),
        ({"n_descent": 0}, "n_descent=0"),
        ({"n_elites": 1}, "n_elites=1"),
    ],
)
def test_bad_arguments_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StepMating(Copy(), **wrong)
