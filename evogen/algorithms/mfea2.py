"""MO-MFEA-II: multifactorial evolution that learns how much each pair of tasks is mixed."""

from __future__ import annotations

import numpy as np

from evogen.algorithms.mfea import RankedMultitask, polynomial_mutation, sbx, winners

NOISE = 0.01
"""Standard deviation of what is added to a learned mating probability."""


def log_densities(u: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Logarithms `(n,)` of independent normal densities at points `(n, d)`."""
    z = (u - mean) / std
    return -0.5 * np.sum(z * z, axis=1) - np.sum(np.log(std)) - 0.5 * len(std) * np.log(2 * np.pi)


def likeliest_share(log_ratio: np.ndarray, most: float, *, n_steps: int = 16) -> np.ndarray:
    """Shares a in [0, most] under which (1 - a) p + a q explains points best.

    The log-likelihood sum log(1 + a (r - 1)), r = q / p, is concave in a, so that its maximum is
    where the derivative changes its sign; the half-interval search is exact to `most / 2^n_steps`.
    Ratios beyond the range of floating-point numbers do no harm.

    Args:
        log_ratio: log q - log p of the points, `(n_mixtures, n)`; one share is found per row.
        most: Upper limit of a, below 1.
        n_steps: Number of halvings.

    Returns:
        Shares `(n_mixtures,)`.
    """
    # Each term (r - 1) / (1 + a (r - 1)), divided by r where r > 1, so that nothing overflows.
    small = np.exp(-np.abs(log_ratio))
    above = log_ratio > 0
    gain = np.where(above, 1.0 - small, small - 1.0)
    start, slope = np.where(above, small, 1.0), gain

    def rises(share: np.ndarray) -> np.ndarray:
        below = start + share[:, None] * slope
        # A point that p does not explain at all asks for any share, however small.
        terms = np.divide(gain, below, out=np.full_like(gain, np.inf), where=below > 0)
        return np.asarray(terms.sum(axis=1) > 0)

    low, high = np.zeros(len(log_ratio)), np.full(len(log_ratio), most)
    for _ in range(n_steps):
        middle = 0.5 * (low + high)
        up = rises(middle)
        low, high = np.where(up, middle, low), np.where(up, high, middle)
    return np.where(rises(np.zeros_like(high)), high, 0.0)


def mating_probabilities(
    populations: list[np.ndarray], n_vars: list[int], rng: np.random.Generator
) -> np.ndarray:
    """How well one task's solutions explain the other's, for every pair (Bali et al. 2021).

    A population is modelled by independent normal densities, after a tenth as many random points
    were added to it. For the tasks i and j of K, rmp maximizes the likelihood of both populations
    under mixtures of both densities, the other task's having the share (K - 1) / (2 K) rmp; then
    N(0, 0.01^2) is added. Variables are those which both tasks have.

    Args:
        populations: Of each task, in the unified space, `(n, D)`.
        n_vars: Each task's number of variables.
        rng: Source of random numbers.

    Returns:
        Symmetric `(K, K)`, entries in [0, 1], 1 on the diagonal.
    """
    k, rmp = len(populations), np.eye(len(populations))
    if k < 2:
        return rmp
    noisy = [np.concatenate([u, rng.random((len(u) // 10, u.shape[1]))]) for u in populations]
    means = [u.mean(axis=0) for u in noisy]
    # A variable may be the same in all points: then any other value is as good as impossible.
    stds = [np.maximum(u.std(axis=0, ddof=1), 1e-12) for u in noisy]
    most = 0.5 * (k - 1) / k
    pairs = [(i, j) for i in range(k) for j in range(i + 1, k)]
    # A ratio of 1 says nothing, so it may fill up the rows of smaller populations.
    log_ratio = np.zeros((len(pairs), 2 * max(len(u) for u in populations)))
    for row, (i, j) in zip(log_ratio, pairs, strict=True):
        d = min(n_vars[i], n_vars[j])
        ratios = [
            log_densities(populations[a][:, :d], means[b][:d], stds[b][:d])
            - log_densities(populations[a][:, :d], means[a][:d], stds[a][:d])
            for a, b in ((i, j), (j, i))
        ]
        row[: len(ratios[0]) + len(ratios[1])] = np.concatenate(ratios)
    upper = tuple(np.transpose(pairs))
    learned = likeliest_share(log_ratio, most) / most
    rmp[upper] = np.clip(learned + rng.normal(0.0, NOISE, len(pairs)), 0.0, 1.0)
    return np.maximum(rmp, rmp.T)


class MOMFEA2(RankedMultitask):
    """Multifactorial evolution with mating probabilities learned online (Bali et al. 2021).

    K. K. Bali, A. Gupta, Y.-S. Ong, P. S. Tan, "Cognizant multitasking in multiobjective
    multifactorial evolution: MO-MFEA-II", IEEE Trans. Cybern. 51(4):1784-1796.

    As `MOMFEA`, with three differences: in every generation `mating_probabilities` of the
    populations take the place of `rmp`; parents of two tasks that do not cross each take another
    mate from their own task; children swap half of their variables.

    Two public codes differ. We follow MToP, whose scheme is that of MO-MFEA: one tournament over
    all tasks, probabilities learned from the populations, mutation after every crossover, eta 20
    and 15. In DDMTOLab each task has its tournament, and its survivors are chosen from the winners
    and the children, so that parents are lost; mixed children do not mutate; eta is 2 and 5.
    Both maximize the likelihood by a general search; here it is solved.

    Args:
        pop_size: Size of every task's population.
        eta_crossover: Distribution index of SBX.
        eta_mutation: Distribution index of polynomial mutation, which has probability 1 / D.

    Attributes:
        rmp: The latest probabilities `(K, K)`; 0 for a task that takes no part, 1 on the diagonal.
    """

    def __init__(
        self, pop_size: int = 100, *, eta_crossover: float = 20.0, eta_mutation: float = 15.0
    ) -> None:
        super().__init__(pop_size)
        self.eta_crossover, self.eta_mutation = eta_crossover, eta_mutation

    def prepare(self) -> None:
        """Nothing is mixed before something is learned."""
        self.rmp = np.eye(len(self.states))

    def vary(self) -> list[np.ndarray]:
        """Offspring of the common pool, by task."""
        rng, alive = self.random_state, self.alive
        points = [p for p in (self.states[i].points for i in alive) if p is not None]
        n_vars = [self.states[i].problem.n_var for i in alive]
        self.rmp = np.eye(len(self.states))
        self.rmp[np.ix_(alive, alive)] = mating_probabilities([p.u for p in points], n_vars, rng)

        u = np.concatenate([p.u for p in points])
        task = np.repeat(alive, [len(p) for p in points])
        place = np.concatenate([np.arange(len(p)) for p in points])
        half = (len(u) + 1) // 2
        pool = winners(place, 2 * half, rng)
        owner = task[pool]
        first, second = np.arange(half), np.arange(half, 2 * half)
        # Of parents of one task the probability is 1.
        mixed = rng.random(half) < self.rmp[owner[first], owner[second]]

        apart = np.concatenate([first[~mixed], second[~mixed]])
        a = np.concatenate([first[mixed], apart])
        b = np.concatenate([second[mixed], mates_within(apart, owner, rng)])
        children = sbx(u[pool[a]], u[pool[b]], self.eta_crossover, rng)
        flat = children.reshape(-1, u.shape[1])
        children = polynomial_mutation(flat, self.eta_mutation, 1 / u.shape[1], rng).reshape(
            children.shape
        )
        children = np.where(rng.random(children.shape[1:]) < 0.5, children, children[::-1])

        # Both children of a mixed pair take after either parent; of the others only one is kept.
        n_mixed = int(mixed.sum())
        own = np.stack((owner[a[:n_mixed]], owner[b[:n_mixed]]))
        factor = own[rng.integers(2, size=own.shape), np.arange(n_mixed)]
        made = np.concatenate([children[0], children[1, :n_mixed]])
        factors = np.concatenate([factor[0], owner[apart], factor[1]])
        return [made[factors == i] for i in range(len(self.states))]


def mates_within(members: np.ndarray, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each of the pool's `members` another one of the same task, or itself if there is none."""
    order = np.argsort(owner, kind="stable")
    position = np.empty_like(order)
    position[order] = np.arange(len(order))
    start, end = (np.searchsorted(owner[order], owner[members], side=s) for s in ("left", "right"))
    size = end - start
    step = 1 + (rng.random(len(members)) * (size - 1)).astype(int)
    return np.asarray(order[start + (position[members] - start + step) % size])
