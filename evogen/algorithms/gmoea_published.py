"""The parts of GMOEA as published: its networks, and what the authors' code does differently.

Written from the description of the method and the behaviour of the released code; see
`docs/gmoea.md` for the list, item by item.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pymoo.core.crossover import Crossover
from pymoo.core.population import Population
from torch import Tensor

from evogen.models import GAN
from evogen.models.base import Rows
from evogen.models.rng import batch_indices
from evogen.models.serialization import register
from evogen.models.training import Callback, Objective
from evogen.operators import Elites, FastSPEA2Survival, Solutions, domination, pairwise_distances

GENERATIONS_PER_TRAINING = 5
"""One network serves so many generations (the code's w_max)."""

EPOCHS, BATCH = 200, 8


def published_schedule(n_gen: int, random_state: np.random.Generator) -> float:
    """All offspring by the GAN with probability 1 - (i/5)^2 in generation i after a training."""
    # pymoo counts the initial population as generation 1.
    i = (n_gen - 2) % GENERATIONS_PER_TRAINING
    return float(random_state.random() < 1.0 - (i / GENERATIONS_PER_TRAINING) ** 2)


@register
@dataclass(kw_only=True, eq=False, repr=False)
class PublishedGAN(GAN):
    """GMOEA's networks and training: vanilla GAN, batches of 8 from the classified population.

    Generator d-d-d-d and discriminator d-d-1 (tanh), batch normalization after every generator
    layer, sigmoid output; Adam with 4e-4 and 1e-4. The generator's input is drawn from the
    Gaussian of the elites, clipped to the box. A batch mixes elites (label 1) and the rest of the
    population (label 0) as they come; generated rows have label 0.

    Attributes:
        as_coded: Repeat two errors of the released code: labels are not shuffled along with the
            rows after the first epoch, and the covariance for training noise is taken from a
            reshaped (not transposed) matrix.
    """

    prior: Any = "data"
    activation: str = "tanh"
    output: Any = "sigmoid"
    norm: Any = "batch"
    output_norm: bool = True
    normalize: bool = False
    lr_generator: float = 4e-4
    lr_discriminator: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    batch_size: int | None = BATCH
    as_coded: bool = False

    @classmethod
    def for_problem(cls, n_var: int, pop_size: int, *, as_coded: bool) -> PublishedGAN:
        """The model for a problem: widths and number of steps follow its size."""
        return cls(
            hidden_generator=(n_var, n_var),
            hidden_discriminator=(n_var,),
            n_steps=EPOCHS * -(-pop_size // BATCH),
            as_coded=as_coded,
        )

    def learn(
        self,
        rows: Rows,
        *,
        n_steps: int | None,
        generator: torch.Generator,
        callback: Callback | None,
    ) -> None:
        """Trains, then leaves the true Gaussian of the elites for sampling."""
        super().learn(rows, n_steps=n_steps, generator=generator, callback=callback)
        self.buffers_ = _gaussian(rows.x, rows.x)

    def objectives(self, rows: Rows) -> list[Objective]:
        """Those of the GAN, on batches of the labelled population."""
        objectives = super().objectives(rows)
        if self.as_coded:
            # The released code reads the (k, d) matrix of elites as if it were (d, k).
            mixed = rows.x.reshape(rows.x.shape[1], rows.x.shape[0]).T
            self.buffers_ = _gaussian(rows.x, mixed)
        return objectives

    def draw_latent(self, n: int, generator: torch.Generator) -> Tensor:
        """Noise from the Gaussian of the elites, clipped to the box `(n, d)`."""
        return super().draw_latent(n, generator).clamp(0.0, 1.0)

    def draw_discriminator_batches(
        self, rows: Rows, n_batches: int, generator: torch.Generator
    ) -> tuple[Tensor | None, ...]:
        """Rows `(b, 8, d)`, their labels `(b, 8, 1)` and noise `(b, 8, d)`."""
        negative = rows.x[:0] if rows.negative is None else rows.negative
        x = torch.cat((rows.x, negative))
        labels = (torch.arange(len(x), device=x.device) < len(rows.x)).to(x.dtype)[:, None]
        size = min(BATCH, len(x))
        index = batch_indices(len(x), n_batches, size, generator, device=self.device_)
        of_labels = index
        if self.as_coded:
            of_labels = batch_indices(len(x), n_batches, size, generator, device=self.device_)
        z = self.draw_latent(n_batches * size, generator).view(n_batches, size, -1)
        return x[index], labels[of_labels], z

    def discriminator_loss(self, *batch: Tensor | None) -> Tensor:
        """Binary cross-entropy of the labelled rows plus that of the generated ones."""
        x, labels, z = batch
        assert x is not None
        assert labels is not None
        assert z is not None
        with torch.no_grad():
            fake = self.forward_generator(z, None)
        logits = self.weights_["discriminator"].module(torch.cat((x, fake)), None)
        on_population, on_fake = logits[: len(x)], logits[len(x) :]
        loss = F.binary_cross_entropy_with_logits(on_population, labels)
        return loss + F.softplus(on_fake).mean()


def _gaussian(rows: Tensor, spread: Tensor) -> dict[str, Tensor]:
    """Mean of `rows` and a root of the covariance of `spread`."""
    root = (spread - spread.mean(dim=0)) / max(1, len(spread) - 1) ** 0.5
    return {"prior_mean": rows.mean(dim=0), "prior_root": root}


def coded_selection(f: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """SPEA2's selection as the released code has it.

    The density sorts the dominance matrix instead of the distances, so it is 1/2 or 1/3; the
    truncation looks at the nearest distance alone.

    Returns:
        Indices of the n selected rows, and the fitness of all rows.
    """
    dominates, distances = domination(f), pairwise_distances(f)
    raw = dominates.sum(axis=1) @ dominates
    neighbour = np.sort(dominates, axis=1)[:, min(int(np.sqrt(len(f))), len(f) - 1)]
    fitness = raw + 1.0 / (neighbour + 2.0)
    chosen = np.flatnonzero(fitness < 1.0)
    if len(chosen) <= n:
        return np.argsort(fitness, kind="stable")[:n], fitness
    while len(chosen) > n:
        nearest = distances[np.ix_(chosen, chosen)].min(axis=1)
        chosen = np.delete(chosen, nearest.argmin())
    return chosen, fitness


class CodedElites(Elites):
    """Elites by `coded_selection`."""

    def select(self, solutions: Solutions, n: int) -> np.ndarray:
        """Row numbers of the n elites."""
        return coded_selection(solutions.f, n)[0]


class CodedSurvival(FastSPEA2Survival):
    """Survival by `coded_selection`."""

    def _do(
        self, problem: Any, pop: Population, *args: Any, n_survive: int = 0, **kwargs: Any
    ) -> Population:
        chosen, fitness = coded_selection(pop.get("F"), n_survive)
        pop.set("SPEA_F", fitness)
        return pop[chosen]


def best_of_three(pop: Population, P: np.ndarray, **kwargs: Any) -> np.ndarray:
    """Tournament winner by fitness: the released "binary" tournament draws three `(n, 1)`."""
    fitness = np.array(pop.get("SPEA_F"), dtype=float)
    return np.asarray(P[np.arange(len(P)), fitness[P].argmin(axis=1)][:, None])


class ContractingSBX(Crossover):
    """SBX whose spread factor never exceeds 1, as the released code's second branch has it.

    Args:
        eta: Distribution index.
    """

    def __init__(self, eta: float = 20.0) -> None:
        super().__init__(2, 2, prob=1.0)
        self.eta = eta

    def _do(
        self, problem: Any, X: np.ndarray, *args: Any, random_state: Any = None, **kwargs: Any
    ) -> np.ndarray:
        _, n, d = X.shape
        mu = random_state.random((n, d))
        beta = np.where(mu <= 0.5, 2 * mu, 1 / np.maximum(2 * mu, 1e-300)) ** (1 / (self.eta + 1))
        beta *= np.where(random_state.random((n, d)) < 0.5, -1.0, 1.0)
        beta[random_state.random((n, d)) < 0.5] = 1.0
        mean, half = (X[0] + X[1]) / 2, (X[0] - X[1]) / 2
        children = np.stack([mean + beta * half, mean - beta * half])
        return np.clip(children, *problem.bounds())
