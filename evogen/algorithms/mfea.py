"""Multifactorial evolution, and its base line: every task for itself."""

from __future__ import annotations

import numpy as np

from evogen.multitask import MultitaskAlgorithm
from evogen.multitask.state import Points
from evogen.operators import best_first


def sbx(a: np.ndarray, b: np.ndarray, eta: float, rng: np.random.Generator) -> np.ndarray:
    """Simulated binary crossover in the unit box (Deb and Agrawal 1995), a child of each parent.

    Every variable is crossed with probability 1/2; the spread factor has a random sign, so that
    children take either parent's side variable by variable.

    Args:
        a: Parents `(n, d)`.
        b: Their partners `(n, d)`.
        eta: Distribution index; larger stays nearer.
        rng: Source of random numbers.

    Returns:
        Children `(2, n, d)`, clipped to [0, 1].
    """
    u = rng.random(a.shape)
    beta = np.where(u <= 0.5, 2 * u, 1 / (2 * (1 - u))) ** (1 / (eta + 1))
    beta *= np.where(rng.random(a.shape) < 0.5, -1.0, 1.0)
    beta[rng.random(a.shape) < 0.5] = 1.0
    middle, half = 0.5 * (a + b), 0.5 * beta * (a - b)
    return np.clip(np.stack((middle + half, middle - half)), 0.0, 1.0)


def polynomial_mutation(
    u: np.ndarray, eta: float, probability: float, rng: np.random.Generator
) -> np.ndarray:
    """Polynomial mutation in the unit box (Deb and Agrawal 1999) of points `(n, d)`."""
    chosen = rng.random(u.shape) < probability
    x, r = u[chosen], rng.random(int(chosen.sum()))
    power = 1 / (eta + 1)
    down = (2 * r + (1 - 2 * r) * (1 - x) ** (eta + 1)) ** power - 1
    up = 1 - (2 * (1 - r) + 2 * (r - 0.5) * x ** (eta + 1)) ** power
    mutated = u.copy()
    mutated[chosen] = np.clip(x + np.where(r < 0.5, down, up), 0.0, 1.0)
    return mutated


def winners(place: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Row numbers `(n,)`, each the better placed of two random ones; `place` `(m,)`, 0 is best."""
    rivals = rng.integers(len(place), size=(2, n))
    return np.where(place[rivals[0]] <= place[rivals[1]], rivals[0], rivals[1])


class RankedMultitask(MultitaskAlgorithm):
    """Keeps each task's best in NSGA-II's order: feasibility, front, crowding."""

    def survive(self, number: int, merged: Points, n: int) -> Points:
        """The n points of a task that stay, best first."""
        return merged[best_first(merged.f, merged.cv)[:n]]


class IndependentNSGA2(RankedMultitask):
    """NSGA-II (Deb et al. 2002) on every task by itself: what transfer has to beat.

    Args:
        pop_size: Size of every task's population.
        eta_crossover: Distribution index of SBX.
        eta_mutation: Distribution index of polynomial mutation, which has probability 1 / n_var.
    """

    def __init__(
        self, pop_size: int = 100, *, eta_crossover: float = 20.0, eta_mutation: float = 15.0
    ) -> None:
        super().__init__(pop_size)
        self.eta_crossover, self.eta_mutation = eta_crossover, eta_mutation

    def vary(self) -> list[np.ndarray]:
        """As many offspring as points of every task that goes on."""
        made = [np.empty((0, self.n_var)) for _ in self.states]
        for number in self.alive:
            state = self.states[number]
            assert state.points is not None
            d, n, rng = state.problem.n_var, len(state.points), self.random_state
            # The populations are in order, so the smaller number wins a tournament.
            parents = rng.integers(n, size=(2, n + n % 2)).min(axis=0)
            own = state.points.u[parents][:, :d]
            pairs = len(own) // 2
            children = sbx(own[:pairs], own[pairs:], self.eta_crossover, rng).reshape(-1, d)[:n]
            u = np.full((n, self.n_var), 0.5)
            u[:, :d] = polynomial_mutation(children, self.eta_mutation, 1 / d, rng)
            made[number] = u
        return made


class MOMFEA(RankedMultitask):
    """Multiobjective multifactorial evolution (Gupta, Ong, Feng and Tan 2017).

    All populations mate in one pool. Parents of one task, or with probability `rmp` of two, cross
    and their children mutate; each child goes to the task of one of its parents (vertical cultural
    transmission). Other parents mutate alone. Operators and their order follow the authors' code
    in MToP; tournaments compare places in each one's own task.

    Args:
        pop_size: Size of every task's population.
        rmp: Random mating probability, in [0, 1]: how much tasks are mixed.
        eta_crossover: Distribution index of SBX.
        eta_mutation: Distribution index of polynomial mutation, which has probability 1 / D.
    """

    def __init__(
        self,
        pop_size: int = 100,
        *,
        rmp: float = 0.3,
        eta_crossover: float = 20.0,
        eta_mutation: float = 15.0,
    ) -> None:
        super().__init__(pop_size)
        if not 0 <= rmp <= 1:
            raise ValueError(f"rmp={rmp!r} must lie in [0, 1]")
        self.rmp, self.eta_crossover, self.eta_mutation = rmp, eta_crossover, eta_mutation

    def vary(self) -> list[np.ndarray]:
        """Offspring of the common pool, by task."""
        rng, alive = self.random_state, self.alive
        points = {i: self.states[i].points for i in alive}
        u = np.concatenate([p.u for p in points.values() if p is not None])
        task = np.repeat(alive, [len(p) for p in points.values() if p is not None])
        place = np.concatenate([np.arange(len(p)) for p in points.values() if p is not None])
        n = len(u) + len(u) % 2
        pool = winners(place, n, rng)
        first, second = pool[: n // 2], pool[n // 2 :]
        mixed = (task[first] == task[second]) | (rng.random(n // 2) < self.rmp)
        children = np.stack((u[first], u[second]))
        children[:, mixed] = sbx(u[first[mixed]], u[second[mixed]], self.eta_crossover, rng)
        probability = 1 / u.shape[1]
        flat = children.reshape(n, -1)
        flat = polynomial_mutation(flat, self.eta_mutation, probability, rng)
        # A child of two takes after either, one of its own parent alone after that one.
        own = np.stack((task[first], task[second]))
        swapped = mixed & (rng.random((2, n // 2)) < 0.5)
        factor = np.where(swapped, own[::-1], own).reshape(-1)
        return [flat[factor == i] for i in range(len(self.states))]
