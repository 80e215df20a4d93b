"""Diffusion Evolution: a population that is denoised towards its own better members."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from pymoo.core.algorithm import Algorithm
from pymoo.core.population import Population
from pymoo.util.display.single import SingleObjectiveOutput

from evogen.algorithms.checks import refuse_unknown
from evogen.operators import Encoding

Fitness = str | Callable[[np.ndarray], np.ndarray]

SIGNAL_RANGE = (1e-3, 1 - 1e-3)
"""Least and greatest share of signal in the schedule (the authors' code)."""


def cosine_schedule(n_steps: int) -> np.ndarray:
    """Signal shares alpha_1 > ... > alpha_T of the cosine schedule `(n_steps,)`.

    (cos(pi s) + 1) / 2 at T equally spaced s in [0, 1], rescaled to `SIGNAL_RANGE`.
    """
    low, high = SIGNAL_RANGE
    wave = (np.cos(np.linspace(0, np.pi, n_steps)) + 1) / 2
    return low + (high - low) * wave


def linear_schedule(n_steps: int) -> np.ndarray:
    """Signal shares that fall linearly over `SIGNAL_RANGE` `(n_steps,)`."""
    return np.linspace(*SIGNAL_RANGE[::-1], n_steps)


SCHEDULES = {"cosine": cosine_schedule, "linear": linear_schedule}


def rank_fitness(f: np.ndarray) -> np.ndarray:
    """Q = exp(-10 rank / n), best first, of objective values `(n,)`."""
    rank = np.empty(len(f))
    rank[np.argsort(f, kind="stable")] = np.arange(len(f))
    return np.exp(-10 * rank / len(f))


def estimate_origins(
    x: np.ndarray, fitness: np.ndarray, alpha: float, z: np.ndarray | None = None
) -> np.ndarray:
    """Where each individual comes from: x0(x_i) = sum_j Q_j N(z_i; sqrt(a) z_j, 1 - a) x_j / Z_i.

    Args:
        x: Population `(n, d)`.
        fitness: Q, non-negative, at least one positive `(n,)`.
        alpha: Share of signal a, in (0, 1).
        z: What distances are measured on, `(n, k)`; x itself by default.

    Returns:
        Weighted means of the population `(n, d)`.
    """
    z = x if z is None else z
    centre = math.sqrt(alpha) * z
    square = (z**2).sum(1)[:, None] + (centre**2).sum(1) - 2 * z @ centre.T
    with np.errstate(divide="ignore"):
        log_weight = np.log(fitness) - square / (2 * (1 - alpha))
    weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    return np.asarray(weight @ x / weight.sum(axis=1, keepdims=True))


class DiffusionEvolution(Algorithm):
    """Diffusion Evolution (Zhang, Hartl, Hazan and Levin, ICLR 2025, arXiv 2410.02543).

    As published. Evolution is read as the reverse of a diffusion: T populations x_T, ..., x_1 are
    evaluated, and each step moves every individual (DDIM of Song et al. 2021),

        x <- sqrt(a') x0 + sqrt(1 - a' - s^2) (x - sqrt(a) x0) / sqrt(1 - a) + s w,  w ~ N(0, I),

    with a, a' the shares of signal now and next, x0 from `estimate_origins` and
    s = `noise` sqrt((1 - a') / (1 - a) (1 - a / a')). The start is N(0, I) around the centre of the
    box, its unit `scale` times half of a variable's range; outside of the box the nearest point in
    it is evaluated. There is no selection. In the latent form ("Latent Space Diffusion Evolution"
    there) distances are measured on z = E x, E random normal of variance 1/d, `latent_dim` numbers
    each, while means are taken in x.

    It keeps several optima where it works, in a few variables; in many, an individual sees only
    itself and nothing moves, and the latent form stalls early. `docs/diffusion.md` has numbers.
    The budget must be known beforehand: the schedule ends with it, and the run with the schedule.

    Args:
        pop_size: Individuals (>= 2).
        n_steps: Number T of populations evaluated (>= 2); by default as many as the termination
            pays for, in evaluations or generations.
        fitness: "rank" (`rank_fitness`) or a function of the objective `(n,)`, minimised, that
            returns non-negative numbers `(n,)`.
        latent_dim: Width of the random projection (>= 1); None for none.
        schedule: "cosine" or "linear".
        noise: Share of DDPM's noise added in a step, in [0, 1].
        scale: Standard deviation of the start, in half ranges of the variables (> 0).

    Attributes:
        opt: The best ever seen, which is the result; `pop` is the present population, which the
            authors report.

    Raises:
        TypeError: Unknown arguments, wrong kinds.
        ValueError: Arguments out of range; several objectives or constraints; no finite box; a
            termination without a number of evaluations or generations and no `n_steps`.
    """

    pop: Any
    opt: Any
    n_iter: Any
    random_state: Any

    def __init__(
        self,
        pop_size: int = 512,
        *,
        n_steps: int | None = None,
        fitness: Fitness = "rank",
        latent_dim: int | None = None,
        schedule: str = "cosine",
        noise: float = 0.1,
        scale: float = 1.0,
        output: Any = None,
        **kwargs: Any,
    ) -> None:
        refuse_unknown(DiffusionEvolution, kwargs)
        for name, value, low in (
            ("pop_size", pop_size, 2),
            ("n_steps", n_steps, 2),
            ("latent_dim", latent_dim, 1),
        ):
            if value is not None and (value < low or int(value) != value):
                raise ValueError(f"{name}={value!r} must be a whole number, at least {low}")
        if not callable(fitness) and fitness != "rank":
            raise ValueError(f'fitness={fitness!r} must be "rank" or a function of the objective')
        if schedule not in SCHEDULES:
            raise ValueError(f"schedule={schedule!r} must be one of {', '.join(SCHEDULES)}")
        if not 0.0 <= noise <= 1.0:
            raise ValueError(f"noise={noise!r} must lie in [0, 1]")
        if not scale > 0:
            raise ValueError(f"scale={scale!r} must be positive")
        super().__init__(output=SingleObjectiveOutput() if output is None else output, **kwargs)
        self.pop_size = pop_size
        self.n_steps = n_steps
        self.fitness = fitness
        self.latent_dim = latent_dim
        self.schedule = schedule
        self.noise = noise
        self.scale = scale

    def _setup(self, problem: Any, **kwargs: Any) -> None:
        if problem.n_obj != 1 or problem.has_constraints():
            raise ValueError(
                "DiffusionEvolution takes one objective without constraints, the problem has "
                f"{problem.n_obj} and {problem.n_constr} constraints; for several objectives use "
                "nsga2-denoise"
            )
        self._encoding = Encoding(problem)
        self._alpha = SCHEDULES[self.schedule](self._horizon())

    def _limits(self) -> tuple[float, float]:
        """Evaluations and generations that the termination allows; infinite where it is silent."""
        end = self.termination
        return getattr(end, "n_max_evals", math.inf), getattr(end, "n_max_gen", math.inf)

    def _horizon(self) -> int:
        """Number of populations that the schedule is made for."""
        n_evals, n_gen = self._limits()
        affordable = min(n_evals / self.pop_size, n_gen)
        n_steps = affordable if self.n_steps is None else self.n_steps
        if not 2 <= n_steps < math.inf:
            raise ValueError(
                "DiffusionEvolution plans its steps: give n_steps, or a termination of at least "
                f"2 populations of pop_size={self.pop_size}, in evaluations or generations"
            )
        if n_steps > affordable:
            raise ValueError(
                f"n_steps={n_steps} populations of pop_size={self.pop_size} do not fit into the "
                f"termination, which pays for {int(affordable)}: half denoised, they are noise"
            )
        return int(n_steps)

    def _initialize_infill(self) -> Population:
        n_dim = self._encoding.n_dim
        if self.latent_dim is None:
            self._projection = None
        else:
            size = (n_dim, self.latent_dim)
            self._projection = self.random_state.standard_normal(size) / math.sqrt(n_dim)
        self._x = self.random_state.standard_normal((self.pop_size, n_dim))
        return self._decoded()

    def _infill(self) -> Population:
        # The schedule is walked from its end: n_iter - 1 populations have been evaluated.
        now = len(self._alpha) - self.n_iter + 1
        a, after = self._alpha[now], self._alpha[now - 1]
        z = None if self._projection is None else self._x @ self._projection
        origin = estimate_origins(self._x, self._weights(), a, z)
        s = self.noise * math.sqrt((1 - after) / (1 - a) * (1 - a / after))
        noise = (self._x - math.sqrt(a) * origin) / math.sqrt(1 - a)
        drawn = self.random_state.standard_normal(self._x.shape)
        self._x = math.sqrt(after) * origin + math.sqrt(1 - after - s**2) * noise + s * drawn
        return self._decoded()

    def _decoded(self) -> Population:
        u = np.clip(0.5 + 0.5 * self.scale * self._x, 0.0, 1.0)
        return Population.new(X=self._encoding.decode(u))

    def _weights(self) -> np.ndarray:
        """Fitness of the present population; non-finite objectives get none."""
        f = self.pop.get("F")[:, 0].astype(float)
        known = np.isfinite(f)
        if not known.any():
            return np.ones(len(f))
        weights = np.zeros(len(f))
        rule = self.fitness if callable(self.fitness) else rank_fitness
        given = np.asarray(rule(f[known]), dtype=float)
        if given.shape != (known.sum(),) or not (np.isfinite(given) & (given >= 0)).all():
            raise ValueError(
                f"fitness(f) must return {known.sum()} finite non-negative numbers, one for each "
                f"objective value; got an array of shape {given.shape}"
            )
        weights[known] = given
        return weights if weights.any() else known.astype(float)

    def _advance(self, infills: Population | None = None, **kwargs: Any) -> None:
        self.pop = infills
        if self.n_iter == len(self._alpha) and not self._spent():
            self.termination.terminate()

    def _spent(self) -> bool:
        """Whether the termination ends the run anyway; pymoo calls a forced end an early one."""
        n_evals, n_gen = self._limits()
        return bool(self.evaluator.n_eval >= n_evals or self.n_iter >= n_gen)

    def _set_optimum(self) -> None:
        """The best ever seen, not the best of the population, which moves on."""
        seen = self.pop if self.opt is None else Population.merge(self.opt, self.pop)
        f = seen.get("F")[:, 0].astype(float)
        best = int(np.argmin(np.where(np.isfinite(f), f, np.inf)))
        self.opt = seen[[best]]
