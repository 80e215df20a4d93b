"""The inner search of ACE: many points are proposed and judged by a critic, few are evaluated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from evogen.operators.critic import squared_distances

#: A weight of 0 would let an objective grow without bound.
MIN_WEIGHT = 1e-3

#: Slope of the augmented Tchebycheff function where it would be flat.
AUGMENTATION = 0.01

#: Feasible points come before infeasible ones in every direction.
INFEASIBLE = 1e12

Predict = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass
class Aim:
    """What "better" means along each of k directions, at one moment of a run.

    The value of a point for direction w is the augmented Tchebycheff function (Steuer & Choo 1983)
    max_j(g_j / w_j) + 0.01 sum_j(g_j / w_j) with g = (f - utopian) / extent.

    Attributes:
        directions: Positive weights `(k, n_obj)`.
        utopian: Where each direction starts `(k, n_obj)`. Those that start far below the best
            values seen agree with one objective each; near them they spread over the front.
        extent: Length of one unit per objective `(n_obj,)`.
    """

    directions: np.ndarray
    utopian: np.ndarray
    extent: np.ndarray

    def value(self, f: np.ndarray, cv: np.ndarray) -> np.ndarray:
        """Values `(..., k)` of objectives `(..., k or 1, n_obj)`, violations `(..., k or 1)`."""
        largest, total = np.array(-np.inf), np.array(0.0)
        for j in range(len(self.extent)):  # a few objectives: faster than reducing a short axis
            unit = self.directions[:, j] * self.extent[j]
            g = (f[..., j] - self.utopian[:, j]) / unit
            largest, total = np.maximum(largest, g), total + g
        value = largest + AUGMENTATION * total
        if (cv > 0).any():
            value = np.where(cv > 0, np.maximum(value, 0.0) + INFEASIBLE * (1.0 + cv), value)
        return np.asarray(value)

    def best(self, f: np.ndarray, cv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Number and value of the best of n points for each direction, two arrays `(k,)`."""
        values = self.value(f[:, None], cv[:, None])
        number = values.argmin(axis=0)
        return number, values[number, np.arange(len(self.directions))]


def neighborhoods(directions: np.ndarray, n: int) -> np.ndarray:
    """The n nearest directions of each one, itself first `(k, min(n, k))`."""
    order = np.argsort(squared_distances(directions, directions), axis=1, kind="stable")
    return order[:, :n]


def into_box(trial: np.ndarray, parent: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Values outside of the unit box are redrawn between the parent and the bound they crossed."""
    r = rng.random(trial.shape)
    low, high = parent * r, parent + (1.0 - parent) * r
    return np.where(trial < 0.0, low, np.where(trial > 1.0, high, trial))


def mutate(u: np.ndarray, rng: np.random.Generator, eta: float = 20.0) -> np.ndarray:
    """Polynomial mutation of one variable per row on average (Deb & Goyal 1996), in the unit box.

    Args:
        u: Rows `(n, d)`.
        rng: Source of randomness.
        eta: Distribution index; larger stays closer.
    """
    rows, columns = np.nonzero(rng.random(u.shape) < 1.0 / u.shape[1])
    value, r = u[rows, columns], rng.random(len(rows))
    down = (2.0 * r + np.maximum(1.0 - 2.0 * r, 0.0) * (1.0 - value) ** (eta + 1)) ** (
        1.0 / (eta + 1)
    ) - 1.0
    up = 1.0 - (2.0 * (1.0 - r) + np.maximum(2.0 * r - 1.0, 0.0) * value ** (eta + 1)) ** (
        1.0 / (eta + 1)
    )
    mutant = u.copy()
    mutant[rows, columns] = np.clip(value + np.where(r < 0.5, down, up), 0.0, 1.0)
    return mutant


def differential(u: np.ndarray, neighbors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One child per direction: `differential_steps`, into the box, mutated.

    Args:
        u: The directions' points `(k, d)`.
        neighbors: From `neighborhoods`.
        rng: Source of randomness.
    """
    return mutate(into_box(differential_steps(u, neighbors, rng), u, rng), rng)


def differential_steps(
    u: np.ndarray, neighbors: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """One child per direction, perhaps out of the box: u_k + F (u_a - u_b), crossed with u_k.

    a and b are neighbouring directions' points with probability 0.9, any otherwise; F is uniform
    in [0.2, 0.8], the crossover rate one of 0.3, 0.9 and 1 per child (the mixture of settings does
    what tuning would have to; Li & Zhang 2009 for the neighbourhoods).

    Args:
        u: The directions' points `(k, d)`.
        neighbors: From `neighborhoods`.
        rng: Source of randomness.
    """
    k, d = u.shape
    local = rng.random(k) < 0.9
    rows = np.arange(k)
    a, b = (
        np.where(
            local,
            neighbors[rows, rng.integers(neighbors.shape[1], size=k)],
            rng.integers(k, size=k),
        )
        for _ in range(2)
    )
    trial = u + rng.uniform(0.2, 0.8, size=(k, 1)) * (u[a] - u[b])
    crossed = rng.random((k, d)) < rng.choice([0.3, 0.9, 1.0], size=(k, 1))
    return np.where(crossed, trial, u)


Proposer = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]


def search(
    predict: Predict,
    u: np.ndarray,
    value: np.ndarray,
    aim: Aim,
    neighbors: np.ndarray,
    n_rounds: int,
    rng: np.random.Generator,
    propose: Proposer = differential,
) -> np.ndarray:
    """Improve the point of each direction by the critic's word.

    Each round proposes one child per direction; each direction then takes the best of its
    neighbours' children if that is better than what it has. Predictions below a direction's utopian
    point are not believed.

    Args:
        predict: Objectives `(n, n_obj)` and violations `(n,)` of points `(n, d)`.
        u: Start of each direction `(k, d)`.
        value: Its value `(k,)`.
        aim: What better means.
        neighbors: From `neighborhoods`.
        n_rounds: Rounds (>= 1).
        rng: Source of randomness.
        propose: Makes the children `(k, d)` of the directions' points; see `differential`. If it
            has a method `begin(u, directions, rng)`, that is called first.

    Returns:
        The different points that improved some direction `(<= k, d)`, none where nothing did.
    """
    u, value = u.copy(), value.copy()
    moved = np.zeros(len(u), dtype=bool)
    rows = np.arange(len(u))
    begin = getattr(propose, "begin", None)
    if begin is not None:
        begin(u, aim.directions, rng)
    for _ in range(n_rounds):
        child = propose(u, neighbors, rng)
        f, cv = predict(child)
        values = aim.value(np.maximum(f[neighbors.T], aim.utopian), cv[neighbors.T])
        best = values.argmin(axis=0)
        found = values[best, rows]
        better = found < value
        u[better] = child[neighbors[rows, best][better]]
        value[better] = found[better]
        moved |= better
    return np.unique(u[moved], axis=0)
