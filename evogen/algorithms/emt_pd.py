"""EMT-PD: transfer by the product of two tasks' population distributions."""

from __future__ import annotations

import numpy as np

from evogen.algorithms.mfea import MOMFEA, polynomial_mutation


def product_mean(a: np.ndarray, b: np.ndarray, *, ridge: float = 1e-6) -> np.ndarray:
    """Mean `(d,)` of the product of the normal densities fitted to two sets of points.

    The mean A (A1^-1 m1 + A2^-1 m2), A = (A1^-1 + A2^-1)^-1, equals m2 + A2 (A1 + A2)^-1 (m1 - m2),
    which takes one system of equations and none of the inverses.

    Args:
        a: Points `(n, d)`, n >= 2.
        b: Points `(m, d)`, m >= 2.
        ridge: Added to the diagonal of both covariances, which have not full rank where points are
            fewer than variables; > 0.
    """
    ridges = ridge * np.eye(a.shape[1])
    cov_a, cov_b = (np.atleast_2d(np.cov(x, rowvar=False)) + ridges for x in (a, b))
    gap = a.mean(axis=0) - b.mean(axis=0)
    return b.mean(axis=0) + cov_b @ np.linalg.solve(cov_a + cov_b, gap)


def search_weights(target: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Weights `(d,)` in [-1, 1] of the target task's points `(n, d)` against the source's `(m, d)`.

    The mean of the target less `product_mean`, whose entries are stretched to [0, 1] before (0.5
    if all are equal).
    """
    mean = product_mean(target, source)
    extent = mean.max() - mean.min()
    mean = (mean - mean.min()) / extent if extent > 1e-10 else np.full_like(mean, 0.5)
    return target.mean(axis=0) - mean


class EMTPD(MOMFEA):
    """Multifactorial evolution with transfer by population distributions (Liang et al. 2022).

    Z. Liang, W. Liang, Z. Wang, X. Ma, L. Liu, Z. Zhu, "Multiobjective evolutionary multitasking
    with two-stage adaptive knowledge transfer based on population distribution", IEEE Trans. Syst.
    Man Cybern. Syst. 52(7):4457-4469; arXiv 2001.00810.

    As `MOMFEA`, but in every `gap`-th generation all offspring come from transfer: a task draws
    another one, and its children are w p + (1 - w) q of random p and q from the best `n_model` of
    both, w being `search_weights` (first stage: the step), then mutated (second stage).

    Two public codes agree on this, and differ in three points. The initial populations count as
    the first generation, as in MToP. 1e-6 is added to the covariances' diagonals, as in DDMTOLab:
    40 points of 50 variables have a singular one, whose inverse in MToP is noise. A pair's children
    take after either parent independently, as in MToP. The paper's body was not readable to us.

    Args:
        pop_size: Size of every task's population.
        rmp: Random mating probability of the other generations, in [0, 1].
        gap: Generations from one transfer to the next, at least 1.
        n_model: How many of a population's best model it, at least 2.
        eta_crossover: Distribution index of SBX.
        eta_mutation: Distribution index of polynomial mutation, which has probability 1 / D.
    """

    def __init__(
        self,
        pop_size: int = 100,
        *,
        rmp: float = 0.3,
        gap: int = 5,
        n_model: int = 40,
        eta_crossover: float = 20.0,
        eta_mutation: float = 15.0,
    ) -> None:
        super().__init__(pop_size, rmp=rmp, eta_crossover=eta_crossover, eta_mutation=eta_mutation)
        for name, value, least in (("gap", gap, 1), ("n_model", n_model, 2)):
            if value < least:
                raise ValueError(f"{name}={value!r} must be at least {least}")
        self.gap, self.n_model = gap, n_model

    def vary(self) -> list[np.ndarray]:
        """Offspring of the common pool, or in every `gap`-th generation of transfer."""
        u = self.populations
        if (self.n_gen + 1) % self.gap or len(u) < 2:
            return super().vary()
        rng, d = self.random_state, self.n_var
        made = [np.empty((0, d)) for _ in self.states]
        for t in self.alive:
            k = int(rng.choice([k for k in u if k != t]))
            p, q = u[t][: self.n_model], u[k][: self.n_model]
            w, n = search_weights(p, q), len(u[t])
            children = (
                w * p[rng.integers(len(p), size=n)] + (1 - w) * q[rng.integers(len(q), size=n)]
            )
            made[t] = polynomial_mutation(
                np.clip(children, 0.0, 1.0), self.eta_mutation, 1 / d, rng
            )
        return made
