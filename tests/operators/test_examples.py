"""What a model learns from, and what it is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymoo.algorithms.moo.spea2 import SPEA2Survival
from pymoo.core.population import Population
from pymoo.core.problem import Problem

from evogen.operators import Elites, Examples, Improvement, Inverse, Solutions, TrainingData


def population(n: int = 40, n_obj: int = 2, seed: int = 0, infeasible: int = 0) -> Solutions:
    rng = np.random.default_rng(seed)
    cv = np.zeros(n)
    cv[:infeasible] = rng.random(infeasible) + 0.1
    return Solutions(rng.random((n, 5)), rng.random((n, n_obj)), cv)


def rows_of(solutions: Solutions, u: np.ndarray) -> np.ndarray:
    """Row numbers of decision vectors, which are all different."""
    index = {row.tobytes(): i for i, row in enumerate(solutions.u)}
    return np.array([index[row.tobytes()] for row in u])


@pytest.mark.parametrize("kind", [Elites, Inverse])
@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.01, float("nan")])
def test_a_fraction_out_of_range_is_named(kind: Any, fraction: float) -> None:
    with pytest.raises(ValueError, match=rf"fraction={fraction!r} must lie in \(0, 1\]"):
        kind(fraction)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Elites(n=1), "n=1 must be at least 2"),
        (lambda: Elites(selection="rank"), "selection='rank' must be .*crowding.* or .*spea2"),
        (lambda: Inverse(widen=-0.1), "widen=-0.1"),
        (lambda: Inverse(advance=-1), "advance=-1"),
        (lambda: Improvement(0), "n_better=0"),
    ],
)
def test_other_bad_arguments_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_own_examples_must_say_what_to_learn() -> None:
    class Mine(Examples):
        pass

    with pytest.raises(TypeError, match=r"Mine must define training\(solutions\)"):
        Mine().training(population())


def test_repr_is_the_call_that_makes_it() -> None:
    for examples in (Elites(0.3, negatives=True), Inverse(0.5, widen=0.1), Improvement(3)):
        again = eval(repr(examples), {"Elites": Elites, "Inverse": Inverse, **globals()})
        assert vars(again) == vars(examples)


class TestElites:
    @pytest.mark.parametrize("infeasible", [0, 10, 40])
    @pytest.mark.parametrize("fraction", [0.1, 0.5, 1.0])
    def test_no_elite_is_worse_than_any_other(self, fraction: float, infeasible: int) -> None:
        solutions = population(infeasible=infeasible)
        data = Elites(fraction, negatives=True).training(solutions)
        elite = rows_of(solutions, data.x)
        assert data.condition is None
        assert len(elite) >= max(2, round(fraction * 40))
        if data.negative is None:
            assert len(elite) == 40
        else:
            rest = rows_of(solutions, data.negative)
            assert solutions.rank[elite].max() <= solutions.rank[rest].min()
            assert sorted([*elite, *rest]) == list(range(40))

    def test_a_fraction_never_cuts_the_first_front(self) -> None:
        t = np.linspace(0, 1, 30)
        solutions = Solutions(t[:, None], np.column_stack([t, 1 - t]), np.zeros(30))
        assert len(Elites(0.1).training(solutions).x) == 30

    def test_a_number_cuts_the_first_front_by_crowding(self) -> None:
        t = np.array([0.0, 0.01, 0.02, 0.5, 1.0])
        solutions = Solutions(t[:, None], np.column_stack([t, 1 - t]), np.zeros(5))
        np.testing.assert_array_equal(np.sort(Elites(n=3).training(solutions).x[:, 0]), [0, 0.5, 1])

    @pytest.mark.parametrize("n", [2, 3, 40, 100])
    def test_a_number_is_met_as_far_as_there_are_solutions(self, n: int) -> None:
        solutions = population()
        data = Elites(n=n, negatives=True).training(solutions)
        assert len(data.x) == min(n, 40)
        assert (data.negative is None) == (n >= 40)

    def test_negatives_are_withheld_unless_asked_for(self) -> None:
        assert Elites(0.2).training(population()).negative is None

    @pytest.mark.parametrize("n", [5, 12, 30])
    def test_spea2_elites_are_the_survivors_of_pymoos_spea2(self, n: int) -> None:
        solutions = population(n_obj=3)
        pop = Population.new(X=solutions.u, F=solutions.f)
        problem = Problem(n_var=5, n_obj=3, xl=0.0, xu=1.0)
        expected = SPEA2Survival().do(problem, pop, n_survive=n).get("X")
        np.testing.assert_array_equal(
            Elites(n=n, selection="spea2").training(solutions).x, expected
        )

    def test_spea2_elites_of_a_constrained_problem_are_the_ordinary_ones(self) -> None:
        solutions = population(infeasible=10)
        by_spea2, by_crowding = (
            Elites(n=8, selection=selection).training(solutions).x
            for selection in ("spea2", "crowding")
        )
        np.testing.assert_array_equal(by_spea2, by_crowding)

    def test_a_subclass_may_select_otherwise(self) -> None:
        class Worst(Elites):
            def select(self, solutions: Solutions, n: int) -> np.ndarray:
                return solutions.order[::-1][:n]

        solutions = population()
        x = Worst(n=5).training(solutions).x
        np.testing.assert_array_equal(x, solutions.u[solutions.order[::-1][:5]])

    def test_two_solutions_are_enough(self) -> None:
        assert len(Elites(0.1).training(population(2)).x) == 2

    def test_asks_without_conditions(self) -> None:
        assert Elites().ask(5, population(), np.random.default_rng(0)) is None
        assert not Elites.conditional


class TestInverse:
    def test_learns_solutions_given_their_scaled_objectives(self) -> None:
        solutions = population(n_obj=3)
        data = Inverse().training(solutions)
        rows = rows_of(solutions, data.x)
        assert sorted(rows) == list(range(40))
        np.testing.assert_array_equal(data.condition, solutions.normalized_objectives()[rows])

    @pytest.mark.parametrize("fraction", [0.05, 0.5])
    def test_a_fraction_takes_the_best_and_never_cuts_the_first_front(
        self, fraction: float
    ) -> None:
        solutions = population()
        rows = rows_of(solutions, Inverse(fraction).training(solutions).x)
        assert len(rows) == max(2, len(solutions.best), round(fraction * 40))
        assert set(solutions.best) <= set(rows)

    def test_without_widening_targets_lie_between_points_of_the_front(self) -> None:
        t = np.linspace(0, 1, 9)
        solutions = Solutions(t[:, None], np.column_stack([t, 1 - t]), np.zeros(9))
        asked = Inverse(widen=0.0, advance=0.0).ask(500, solutions, np.random.default_rng(0))
        assert asked.shape == (500, 2)
        np.testing.assert_allclose(asked.sum(axis=1), 1.0)
        assert asked.min() >= 0.0
        assert asked.max() <= 1.0
        # Not only the nine points themselves:
        assert len(np.unique(asked.round(6), axis=0)) > 100

    @given(widen=st.floats(0, 2), advance=st.floats(0, 1), seed=st.integers(0, 1000))
    @settings(max_examples=50, deadline=None)
    def test_targets_go_beyond_a_pair_by_widen_at_most_and_forward_by_advance_at_most(
        self, widen: float, advance: float, seed: int
    ) -> None:
        t = np.linspace(0, 1, 7)
        solutions = Solutions(t[:, None], np.column_stack([t, 1 - t]), np.zeros(7))
        asked = Inverse(widen=widen, advance=advance).ask(
            60, solutions, np.random.default_rng(seed)
        )
        step = (1.0 - asked.sum(axis=1)) / 2  # the line f1 + f2 = 1, moved by step in each
        assert step.min() >= -1e-9
        assert step.max() <= advance + 1e-9
        on_line = asked + step[:, None]
        assert on_line.min() >= -widen - 1e-9
        assert on_line.max() <= 1 + widen + 1e-9

    def test_widening_really_reaches_beyond_the_front(self) -> None:
        t = np.linspace(0, 1, 7)
        solutions = Solutions(t[:, None], np.column_stack([t, 1 - t]), np.zeros(7))
        asked = Inverse(widen=0.5, advance=0.0).ask(500, solutions, np.random.default_rng(0))
        assert asked.min() < -0.2
        assert asked.max() > 1.2

    def test_a_front_of_one_point_can_be_asked(self) -> None:
        f = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])
        solutions = Solutions(np.eye(3), f, np.zeros(3))
        asked = Inverse(advance=0.1).ask(20, solutions, np.random.default_rng(0))
        assert ((asked <= 0) & (asked >= -0.1)).all()


class TestImprovement:
    @pytest.mark.parametrize("n_better", [1, 2, 5, 100])
    @pytest.mark.parametrize("infeasible", [0, 15])
    def test_what_is_learned_has_a_better_rank_than_its_condition(
        self, n_better: int, infeasible: int
    ) -> None:
        solutions = population(infeasible=infeasible)
        data = Improvement(n_better).training(solutions)
        assert data.condition is not None
        better, worse = rows_of(solutions, data.x), rows_of(solutions, data.condition)
        assert (solutions.rank[better] < solutions.rank[worse]).all()
        counts = {i: int((solutions.rank < solutions.rank[i]).sum()) for i in set(worse)}
        for i, available in counts.items():
            partners = better[worse == i]
            assert len(partners) == len(set(partners)) == min(n_better, available)
        assert set(worse) == set(np.flatnonzero(solutions.rank > 0))

    def test_partner_lies_in_the_same_direction_from_the_ideal_point(self) -> None:
        f = np.array([[0.0, 1.0], [1.0, 0.0], [0.1, 2.0], [2.0, 0.1]])
        solutions = Solutions(np.eye(4), f, np.zeros(4))
        data = Improvement().training(solutions)
        assert data.condition is not None
        pairs = zip(rows_of(solutions, data.condition), rows_of(solutions, data.x), strict=True)
        assert set(pairs) == {(2, 0), (3, 1)}

    def test_a_population_of_one_front_learns_to_stay(self) -> None:
        t = np.linspace(0, 1, 6)
        solutions = Solutions(t[:, None], np.column_stack([t, 1 - t]), np.zeros(6))
        data = Improvement(3).training(solutions)
        np.testing.assert_array_equal(data.x, data.condition)
        assert len(data.x) == 6

    def test_asked_for_the_next_step_from_the_first_front(self) -> None:
        solutions = population()
        asked = Improvement().ask(200, solutions, np.random.default_rng(0))
        assert asked.shape == (200, 5)
        assert set(rows_of(solutions, asked)) == set(solutions.best)

    def test_equal_objectives_everywhere_are_no_trouble(self) -> None:
        solutions = Solutions(np.eye(4), np.zeros((4, 2)), np.zeros(4))
        data = Improvement().training(solutions)
        assert np.isfinite(data.x).all()


@pytest.mark.parametrize("examples", [Elites(), Inverse(), Improvement()])
@pytest.mark.parametrize("n_obj", [1, 2, 4])
@pytest.mark.parametrize("n", [2, 3, 25])
def test_every_kind_works_on_any_size_and_number_of_objectives(
    examples: Examples, n: int, n_obj: int
) -> None:
    solutions = population(n, n_obj, infeasible=n // 3)
    data = examples.training(solutions)
    assert isinstance(data, TrainingData)
    assert len(data.x) >= 1
    assert np.isfinite(data.x).all()
    asked = examples.ask(7, solutions, np.random.default_rng(0))
    assert examples.conditional == (data.condition is not None) == (asked is not None)
    if data.condition is not None and asked is not None:
        assert data.condition.shape == (len(data.x), asked.shape[1])
        assert len(asked) == 7


@pytest.mark.parametrize("examples", [Inverse(), Improvement()])
def test_asking_is_decided_by_the_seed(examples: Examples) -> None:
    solutions = population()
    first, second, other = (
        examples.ask(9, solutions, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)  # type: ignore[arg-type]
