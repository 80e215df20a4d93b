"""Offspring as steps: learned from those that survived, and down the slope of a critic."""

from __future__ import annotations

from typing import Any

import numpy as np
from pymoo.core.individual import Individual
from pymoo.core.population import Population

from evogen.operators.critic import RBFCritic
from evogen.operators.encoding import repair_to_box
from evogen.operators.examples import Elites, Outcomes
from evogen.operators.mating import GenerativeMating
from evogen.operators.slot import require_width
from evogen.operators.solutions import Solutions

#: A weight of 0 would let an objective grow without bound.
MIN_WEIGHT = 0.01

#: Slope of the augmented Tchebycheff function where it would be flat.
AUGMENTATION = 0.05

#: Predicted violation counts this much more than an objective, both in units of their spread.
VIOLATION_WEIGHT = 10.0


class StepMating(GenerativeMating):
    """Steps that worked, learned by a model, and steps that a critic recommends.

    Of the share of the offspring that `GenerativeMating` gives to the model,

    - `critic_share` start from the population's best solution for a random weight vector and
      follow the critic's slope (`descend`);
    - the others start from a line through two elites, which goes on beyond them, and take a step
      of heavy-tailed length there: one that the model has learned from the run's surviving steps
      (`Outcomes`), or, as likely, the raw difference between an elite and a poor solution.

    Steps between solutions find what the critic cannot know and keep the front spread; the critic
    converges. Either alone is much worse than both.

    Args:
        model: Learns steps `(n, n_dim)`, and takes those that failed as `negative` if it can.
        critic_share: Share of the critic's steps, in [0, 1].
        learned_share: Share of learned steps among the others, in [0, 1].
        n_elites: Solutions between which lines are drawn (>= 2).
        widen: How far beyond a pair of elites, as a share of their distance (>= 0).
        rate: Longest move of a variable per critic step, in the unit box (> 0).
        n_descent: Number of critic steps (>= 1).
        recede: How far beyond the ideal point the point lies, in extents of the front, that the
            critic's weights refer to; falls to 0 at 70 % of the run (>= 0). It keeps the corner of
            a front from being best for every weight while the front is young.
        archive_size: The critic learns from this many of the last evaluated points besides the
            population.
        **kwargs: As for `GenerativeMating`.

    Raises:
        ValueError: An argument out of range.
    """

    def __init__(
        self,
        model: Any,
        *,
        critic_share: float = 0.5,
        learned_share: float = 0.5,
        n_elites: int = 20,
        widen: float = 0.25,
        rate: float = 0.01,
        n_descent: int = 10,
        recede: float = 1.0,
        archive_size: int = 300,
        share: Any = "adaptive",
        **kwargs: Any,
    ) -> None:
        for name, value in (("critic_share", critic_share), ("learned_share", learned_share)):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name}={value!r} must lie in [0, 1]")
        for name, value, low in (("widen", widen, 0), ("recede", recede, 0)):
            if value < low:
                raise ValueError(f"{name}={value!r} must not be negative")
        if not rate > 0 or n_descent < 1 or n_elites < 2:
            raise ValueError(
                f"rate={rate!r} must be positive, n_descent={n_descent!r} at least 1 and "
                f"n_elites={n_elites!r} at least 2"
            )
        super().__init__(model, Outcomes(), archive_size=archive_size, share=share, **kwargs)
        self.critic_share = critic_share
        self.learned_share = learned_share
        self.n_elites = n_elites
        self.widen = widen
        self.rate = rate
        self.n_descent = n_descent
        self.recede = recede
        self._drawn: list[Individual] = []
        self._parents: Solutions | None = None
        self._eps = 0.0

    def _begin_generation(
        self, n_gen: int, problem: Any, pop: Population, algorithm: Any, random_state: Any
    ) -> None:
        """Note what became of the last steps before the model learns from them."""
        assert isinstance(self.examples, Outcomes)
        drawn = [ind for ind in self._drawn if len(ind.F) > 0]
        if drawn and self._encoding is not None:
            alive = {id(ind) for ind in pop}
            u = self._encoding.encode(np.array([ind.X for ind in drawn]))
            origin = np.array([ind.data["origin"] for ind in drawn])
            self.examples.observe(u - origin, np.array([id(ind) in alive for ind in drawn]))
        self._drawn = []
        super()._begin_generation(n_gen, problem, pop, algorithm, random_state)
        self._parents = self._solutions(pop)
        progress = getattr(getattr(algorithm, "termination", None), "perc", None)
        progress = 1.0 if progress is None or not np.isfinite(progress) else float(progress)
        self._eps = self.recede * max(0.0, 1.0 - progress / 0.7)

    def _draw(self, problem: Any, n: int, random_state: np.random.Generator) -> Population:
        if n == 0 or self._parents is None or len(self._parents) < 2 or self._encoding is None:
            return Population.empty()
        n_critic = int((random_state.random(n) < self.critic_share).sum())
        rows, origin = self._follow_critic(n_critic, random_state)
        bold, start = self._step_from_line(n - len(rows), random_state)
        rows = repair_to_box(np.concatenate([bold, rows]), self.bounds, random_state)
        off = Population.new(X=self._encoding.decode(rows))
        if self.model_mutation is not None:
            off = self.model_mutation(problem, off, random_state=random_state)
        off.set("origin", np.concatenate([start, origin]))
        self._drawn = list(off)
        return off

    def _follow_critic(self, n: int, random_state: np.random.Generator) -> tuple[Any, Any]:
        """Rows down the critic's slope `(n, n_dim)` and where they started; none without critic."""
        parents, known = self._parents, self._known
        assert parents is not None
        assert known is not None
        nothing = parents.u[:0]
        if n == 0:
            return nothing, nothing
        constrained = bool((known.cv > 0).any())
        outputs = np.column_stack([known.f, known.cv]) if constrained else known.f
        try:
            critic = RBFCritic().fit(known.u, outputs)
        except (ValueError, np.linalg.LinAlgError):
            return nothing, nothing
        best = parents.f[parents.best]
        extent = np.ptp(best, axis=0)
        extent = np.where(extent > 1e-12, extent, np.ptp(parents.f, axis=0) + 1e-12)
        utopian = best.min(axis=0) - (0.02 + self._eps) * extent
        weights = random_state.dirichlet(np.ones(parents.f.shape[1]), size=n)
        value = tchebycheff(parents.f[None], utopian, extent, weights[:, None])
        # Whoever violates more comes later; the first front of constrained problems is feasible.
        value = np.where((parents.rank == 0)[None] | (parents.cv <= 0)[None], value, np.inf)
        start = parents.u[value.argmin(axis=1)]
        rows = descend(
            critic, start, utopian, extent, weights, n_steps=self.n_descent, rate=self.rate
        )
        return rows, start

    def _step_from_line(self, n: int, random_state: np.random.Generator) -> tuple[Any, Any]:
        """Rows a heavy-tailed step away from lines through elites, and the first elites."""
        parents = self._parents
        assert parents is not None
        k = min(self.n_elites, max(2, len(parents) // 2))
        chosen = Elites(n=k, selection="spea2").select(parents, k)
        elite = parents.u[chosen]
        rest = np.delete(parents.u, chosen, axis=0)
        poor = rest if len(rest) else elite
        first, second = elite[random_state.integers(k, size=(2, n))]
        t = random_state.uniform(-self.widen, 1.0 + self.widen, size=(n, 1))
        step = first - poor[random_state.integers(len(poor), size=n)]
        length = np.minimum(0.5 * np.tan(0.5 * np.pi * random_state.random((n, 1))), 8.0)
        learned = np.flatnonzero(random_state.random(n) < self.learned_share)
        if len(learned) and self.slot.fitted and self._known is not None:
            condition = self.examples.ask(len(learned), self._known, random_state)
            drawn = self.slot.sample(len(learned), condition, random_state)
            if drawn is not None:
                require_width(self.model, "sample", drawn, len(learned), poor.shape[1])
                drawn = self.slot.usable(drawn, len(learned))
                learned = learned[: len(drawn)]
                step[learned] = drawn
                length[learned] = np.minimum(2.0 * length[learned], 4.0)
        return first + t * (second - first) + length * step, first


def tchebycheff(
    f: np.ndarray, utopian: np.ndarray, extent: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Augmented Tchebycheff value of objectives `(..., n_obj)` for weights that broadcast to it.

    max_j g_j + `AUGMENTATION` sum_j g_j, with g = (f - utopian) / extent / (weight + `MIN_WEIGHT`)
    (Steuer & Choo 1983; weights divide, as for the directions of decomposition methods).
    """
    g = (f - utopian) / extent / (weights + MIN_WEIGHT)
    return np.asarray(g.max(axis=-1) + AUGMENTATION * g.sum(axis=-1))


def descend(
    critic: RBFCritic,
    u: np.ndarray,
    utopian: np.ndarray,
    extent: np.ndarray,
    weights: np.ndarray,
    *,
    n_steps: int = 10,
    rate: float = 0.01,
) -> np.ndarray:
    """Follow the slope of the critic's augmented Tchebycheff value inside the unit box.

    Adam (Kingma & Ba 2015) per row. Outputs of the critic beyond the objectives are constraint
    violations: where they are predicted to be positive, they are added.

    Args:
        critic: Predicts `n_obj` objectives, and possibly one violation.
        u: Starts `(n, n_dim)` in the unit box.
        utopian: Where the weights refer to `(n_obj,)`.
        extent: Length of one unit per objective `(n_obj,)`.
        weights: `(n, n_obj)`, not negative.
        n_steps: Number of steps.
        rate: Step of a variable, in the unit box.

    Returns:
        `(n, n_dim)`.
    """
    n_obj = len(utopian)
    scale = extent * (weights + MIN_WEIGHT)
    first, second = np.zeros_like(u), np.zeros_like(u)
    for step in range(1, n_steps + 1):
        predicted, slopes = critic.predict(u), critic.gradient(u)
        worst = ((predicted[:, :n_obj] - utopian) / scale).argmax(axis=1)
        factor = np.full(weights.shape, AUGMENTATION)
        factor[np.arange(len(u)), worst] += 1.0
        slope = np.einsum("nj,njd->nd", factor / scale, slopes[:, :n_obj])
        if predicted.shape[1] > n_obj:
            away = slopes[:, n_obj]
            length = np.linalg.norm(away, axis=1, keepdims=True) + 1e-12
            violated = predicted[:, n_obj, None] > 0
            weight = VIOLATION_WEIGHT * np.linalg.norm(slope, axis=1, keepdims=True)
            slope = slope + np.where(violated, weight * away / length, 0.0)
        first = 0.9 * first + 0.1 * slope
        second = 0.999 * second + 0.001 * slope**2
        unbiased = np.sqrt(second / (1.0 - 0.999**step))
        u = u - rate * (first / (1.0 - 0.9**step)) / (unbiased + 1e-12)
        u = np.clip(u, 0.0, 1.0)
    return u
