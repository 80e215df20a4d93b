"""E-GAN: a population of generators that is mutated by training and selected by the discriminator.

Wang, Xu, Yao and Tao, "Evolutionary generative adversarial networks", IEEE Transactions on
Evolutionary Computation 23(6), 2019, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from evogen.models import distributed
from evogen.models.base import Rows
from evogen.models.checks import check_choice, check_number
from evogen.models.gan import GAN
from evogen.models.optimizers import Adam
from evogen.models.serialization import register
from evogen.models.training import Batches, Callback, Objective

Survival = Callable[[Tensor, Tensor, int], Tensor]
"""(qualities `(k,)`, diversities `(k,)`, n) to the numbers of the n that survive, `(n,)`."""

# The logarithm of a gradient that vanished stays finite.
SMALLEST_NORM = 1e-12

MUTATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "minimax": lambda logits: -0.5 * F.softplus(logits).mean(),
    "heuristic": lambda logits: 0.5 * F.softplus(-logits).mean(),
    "least-squares": lambda logits: (torch.sigmoid(logits) - 1).square().mean(),
}
"""The generator's losses by name, of the logits of D(G(z)): 1/2 E log(1 - D), -1/2 E log D
and E (D - 1)^2."""


def pareto_survival(quality: Tensor, diversity: Tensor, n: int) -> Tensor:
    """Survival by non-dominated ranks, then by crowding (Deb et al. 2002, "NSGA-II").

    Args:
        quality: To be large, `(k,)`.
        diversity: To be large, `(k,)`.
        n: How many survive, at most k.

    Returns:
        Numbers of the survivors, `(n,)`, the best first.
    """
    points = torch.stack((quality, diversity), dim=1)
    better = (points[:, None] >= points).all(dim=2) & (points[:, None] > points).any(dim=2)
    left = torch.ones_like(quality, dtype=torch.bool)
    order: list[int] = []
    while len(order) < n:
        front = torch.nonzero(left & ~(better & left[:, None]).any(dim=0))[:, 0]
        crowded = torch.argsort(_crowding(points[front]), descending=True, stable=True)
        order += front[crowded].tolist()
        left[front] = False
    return torch.tensor(order[:n], device=quality.device)


def _crowding(points: Tensor) -> Tensor:
    """Crowding distances of a front `(k, 2)`: infinite at its ends."""
    distance = torch.zeros(len(points), device=points.device)
    for values in points.unbind(dim=1):
        order = torch.argsort(values, stable=True)
        gap = values[order[2:]] - values[order[:-2]]
        distance[order[1:-1]] += gap / (values[order[-1]] - values[order[0]]).clamp_min(1e-30)
        distance[order[[0, -1]]] = torch.inf
    return distance


class Population(nn.Module):
    """Generators side by side; row i of a batch is made by member i modulo their number.

    Args:
        members: Alike in all but their weights.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Maps `(n, n_latent)` to `(n, d)`."""
        k = min(len(self.members), z.shape[0])
        if k < 2:
            made: Tensor = self.members[0](z, condition)
            return made
        parts = [
            member(z[i::k], None if condition is None else condition[i::k])
            for i, member in enumerate(self.members[:k])
        ]
        order = torch.cat([torch.arange(i, z.shape[0], k, device=z.device) for i in range(k)])
        return torch.cat(parts)[torch.argsort(order)]


@register
@dataclass(kw_only=True, eq=False, repr=False)
class EGAN(GAN):
    """Evolutionary GAN (Wang, Xu, Yao and Tao 2019, algorithm 1).

    After the discriminator's steps, every parent has one child per mutation, made by one training
    step under that mutation's loss. The children are judged by quality Fq, the mean of D(G(z)),
    and diversity Fd = -log |gradient of D's loss by its weights|: rows that tell D
    nothing new are spread like data. Those that survive are the next parents, and D learns from
    rows of all of them in equal parts.

    Fitness is Fq + gamma Fd. The authors' Theano code has log |gradient|^2 with weight 1,
    which is gamma = 2 here; their PyTorch code has gamma = 0.1 in size but *adds* the logarithm,
    and takes the mean logit for Fq where D ends without a sigmoid. The paper's signs and D's
    probability are followed here. All children of a step are made with the same latent vectors and
    judged on the same other ones, so that they differ in nothing but their mutation and parent.
    The parameters are those of `GAN`, whose `loss` has no effect; these are new:

    Attributes:
        n_parents: Number of generators that survive a step.
        mutations: Names in `MUTATIONS`, one child of every parent each.
        gamma: Weight of the diversity in the fitness.
        survival: "fitness": the fittest survive; "pareto": those of the best non-dominated rank in
            quality and diversity, and of the least crowded in the last one; for several parents.
            See `fit` for one's own.
        sample_from: "best": samples come from the fittest parent; "all": from all in equal parts.
    """

    n_parents: int = 1
    mutations: Sequence[str] = ("minimax", "heuristic", "least-squares")
    gamma: float = 0.1
    survival: Literal["fitness", "pareto"] = "fitness"
    sample_from: Literal["best", "all"] = "best"

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        check_number("n_parents", self.n_parents, low=1, integer=True)
        if isinstance(self.mutations, str) or not self.mutations:
            raise ValueError(f"mutations must be names, one at least; got {self.mutations!r}")
        for name in self.mutations:
            check_choice("every name in mutations", name, tuple(MUTATIONS))
        if len(set(self.mutations)) < len(self.mutations):
            raise ValueError(f"mutations must differ; got {self.mutations!r}")
        check_number("gamma", self.gamma, low=0)
        check_choice("survival", self.survival, ("fitness", "pareto"))
        check_choice("sample_from", self.sample_from, ("best", "all"))

    # State.

    def reset(self) -> None:
        """Forgets everything learned, and starts the random stream again."""
        super().reset()
        self.own_survival: Survival | None = None

    def networks(self) -> dict[str, nn.Module]:
        """The generators and the discriminator."""
        one = super().networks()
        others = [self.make_generator() for _ in range(self.n_parents - 1)]
        return {**one, "generator": Population([one["generator"], *others])}

    def buffer_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Names and shapes of `buffers_`; None for a size that the data decide."""
        return {**super().buffer_shapes(), "selected": (len(self.mutations),)}

    def build(self, generator: torch.Generator | None) -> None:
        """Creates networks and optimizers."""
        super().build(generator)
        counts = torch.zeros(len(self.mutations), dtype=torch.int64, device=self.device_)
        self.buffers_["selected"] = counts

    @property
    def selected_(self) -> dict[str, int]:
        """How many survivors each mutation has made so far, over all fits."""
        return dict(zip(self.mutations, self.buffers_["selected"].tolist(), strict=True))

    # Learning.

    def fit(
        self,
        x: Any,
        condition: Any = None,
        *,
        negative: Any = None,
        n_steps: int | None = None,
        generator: torch.Generator | None = None,
        callback: Callback | Sequence[Callback] | None = None,
        survival: Survival | None = None,
    ) -> EGAN:
        """Learns from data; called again, it goes on from where it was (`reset` starts anew).

        Args:
            x: As for `GAN`, and so are the other arguments but the last.
            condition: `(n, c)`, labels `(n,)`, or None.
            negative: Examples of what generated rows should not be like, or None.
            n_steps: Number of generations; None for the parameter of the same name.
            generator: Source of all random numbers; None for the model's own.
            callback: Called after each step with its number and the losses; true stops.
            survival: Who survives in this fit, instead of the parameter's choice: a function of
                the children's qualities `(k,)`, their diversities `(k,)` and n to the numbers of
                n different children. `resume` takes it too.

        Returns:
            self.

        Raises:
            TypeError: The data are not real numbers.
            ValueError: As for `GAN`, or survival returned something else.

        Warns:
            TrainingDiverged: The last good weights were restored.
        """
        self.own_survival = survival
        try:
            return super().fit(
                x,
                condition,
                negative=negative,
                n_steps=n_steps,
                generator=generator,
                callback=callback,
            )
        finally:
            self.own_survival = None

    def resume(
        self,
        x: Any,
        condition: Any = None,
        *,
        callback: Callback | Sequence[Callback] | None = None,
        survival: Survival | None = None,
    ) -> EGAN:
        """Finishes an interrupted fit; see `NeuralModel.resume`, and `fit` for survival."""
        self.own_survival = survival
        try:
            return super().resume(x, condition, callback=callback)
        finally:
            self.own_survival = None

    def objectives(self, rows: Rows) -> list[Objective]:
        """The discriminator's step and the generation of children, on scaled rows."""
        selected = self.buffers_["selected"]
        discriminator, parents = super().objectives(rows)
        self.buffers_["selected"] = selected
        given = {f.name: getattr(parents, f.name) for f in fields(parents)}
        given["draw"] = lambda n, generator: (
            *self.draw_generator_batches(rows, n, generator),
            *self.draw_discriminator_batches(rows, n, generator),
        )
        given["batch_numbers"] *= 3
        return [discriminator, Evolution(**given, model=self)]

    def fitness(self, quality: Tensor, diversity: Tensor) -> Tensor:
        """Fq + gamma Fd; what is not a number is the worst."""
        return torch.nan_to_num(quality + self.gamma * diversity, nan=-torch.inf)

    def survivors(self, quality: Tensor, diversity: Tensor) -> Tensor:
        """Numbers of the n_parents children that survive, the fittest first."""
        fitness = self.fitness(quality, diversity)
        n = self.n_parents
        if self.own_survival is not None:
            chosen = torch.as_tensor(self.own_survival(quality, diversity, n)).to(fitness.device)
            _check_survivors(chosen, n, len(fitness))
        elif self.survival == "pareto":
            # What is not a number must not count as dominated by nobody.
            q, d = (torch.nan_to_num(values, nan=-1e30) for values in (quality, diversity))
            chosen = pareto_survival(q, d, n)
        else:
            return torch.argsort(fitness, descending=True, stable=True)[:n]
        return chosen[torch.argsort(fitness[chosen], descending=True, stable=True)]

    def judge(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """The discriminator's logits of rows."""
        given = None if condition is None else self.pack(condition)
        logits: Tensor = self.weights_["discriminator"].module(self.pack(x), given)
        return logits

    def discriminator_gradient(self, loss: Tensor) -> Tensor:
        """The gradient of a loss by all of D's weights, one vector."""
        parts = torch.autograd.grad(loss, self.weights_["discriminator"].parameters)
        return torch.cat([part.flatten() for part in parts])

    def quality_and_diversity(
        self, fake: Tensor, condition: Tensor | None, of_others: Tensor, share: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Fq and Fd of generated rows.

        Args:
            fake: `(n, d)`.
            condition: Theirs, or None.
            of_others: The gradient of the rest of D's loss by its weights.
            share: Weight of generated rows in that loss.

        Returns:
            Two scalars.
        """
        logits = self.judge(fake, condition)
        gradient = of_others + self.discriminator_gradient(share * self.fake_loss(logits).mean())
        norm = torch.linalg.vector_norm(gradient).clamp_min(SMALLEST_NORM)
        return torch.sigmoid(logits.detach()).mean(), -norm.log()

    # Use.

    def generate(self, n: int, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        """Samples `(n, d)` in scaled units, given a scaled condition `(n, c)`."""
        network = self.sampler("generator")
        assert isinstance(network, Population)
        z = self.draw_latent(n, generator)
        best = self.sample_from == "best"
        return self.forward_generator(z, condition, network.members[0] if best else network)


@dataclass(kw_only=True)
class Evolution(Objective):
    """A generation: children of all parents, their fitness, and the survivors in their place.

    The parents are slices of one flat tensor, and so are their gradients, moments and averages.

    Attributes:
        model: The model in training.
    """

    model: EGAN

    def __post_init__(self) -> None:
        population = self.weights.module
        assert isinstance(population, Population)
        self.members = list(population.members)
        self.n_mutations = len(self.model.mutations)
        n = len(self.members) * self.n_mutations
        numbers = torch.zeros(n * self.weights.flat.numel() // len(self.members))
        flat = numbers.to(self.weights.flat)
        self.children = Adam(
            flat, torch.zeros_like(flat), lr=self.optimizer.lr, betas=self.optimizer.betas
        )
        # Parameters are slices of the flat tensor, at the same places in every member.
        self.views = [
            {
                name: row[p.storage_offset() : p.storage_offset() + p.numel()].view(p.shape)
                for name, p in self.members[0].named_parameters()
            }
            for row in flat.view(n, -1)
        ]
        self.statistics = [dict(member.named_buffers()) for member in self.members]

    def step(self, batches: Batches) -> Tensor:
        """One generation; returns minus the best fitness."""
        self.breed(batches)
        copies = [
            {name: b.clone() for name, b in self.statistics[i // self.n_mutations].items()}
            for i in range(len(self.views))
        ]
        if len(self.views) == 1:
            # An only child has no competitors.
            chosen = torch.zeros(1, dtype=torch.int64, device=self.weights.flat.device)
            loss = self.only_loss
        else:
            quality, diversity = self.evaluate(batches, copies)
            chosen = self.model.survivors(quality, diversity)
            loss = -self.model.fitness(quality, diversity)[chosen[0]]
        self.replace(chosen, copies)
        return loss

    def breed(self, batches: Batches) -> None:
        """Makes the children: one step of Adam from each parent by each mutation."""
        k, m = len(self.members), self.n_mutations
        gradients = self.children.grad.view(k, m, -1)
        gradients.zero_()
        for z, condition, noise, *_ in batches:
            for i, member in enumerate(self.members):
                with self.autocast():
                    fake = self.model.forward_generator(z, condition, member)
                    logits = self.model.judge(fake if noise is None else fake + noise, condition)
                parameters = list(member.parameters())
                for j, name in enumerate(self.model.mutations):
                    self.weights.grad.zero_()
                    self.only_loss = MUTATIONS[name](logits.float())
                    torch.autograd.backward(
                        self.only_loss, inputs=parameters, retain_graph=j + 1 < m
                    )
                    gradients[i, j] += self.weights.grad.view(k, -1)[i] / len(batches)
        self.only_loss = self.only_loss.detach()
        distributed.average(self.children.grad)
        if self.max_grad_norm is not None:
            norms = torch.linalg.vector_norm(gradients, dim=2, keepdim=True)
            gradients *= (self.max_grad_norm / (norms + 1e-6)).clamp_(max=1.0)

        def inherited(numbers: Tensor) -> Tensor:
            return numbers.view(k, 1, -1).expand(-1, m, -1).reshape(-1)

        adam = self.optimizer
        self.children.lr = adam.lr
        self.children.flat.copy_(inherited(self.weights.flat))
        state = {key: inherited(adam.state()[key]) for key in ("exp_avg", "exp_avg_sq")}
        self.children.load_state({**state, "n_steps": adam.state()["n_steps"]})
        self.children.step()

    def evaluate(
        self, batches: Batches, statistics: list[dict[str, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        """Qualities and diversities of all children, `(k,)` each, means over the batches."""
        model = self.model
        scores = torch.zeros(2, len(self.views), device=self.weights.flat.device)
        for batch in batches:
            real, z, condition, negative, noise, _ = batch[3:]
            sizes = [len(real), len(real), 0 if negative is None else len(negative)]
            on_real, on_fake, on_negative = (0.0, 0.0, 0.0) if noise is None else noise.split(sizes)
            share = 1.0 if negative is None else 1 - model.negative_weight
            with self.autocast():
                loss = model.real_loss(model.judge(real + on_real, condition)).mean()
                if negative is not None:
                    worse = model.fake_loss(model.judge(negative + on_negative, None)).mean()
                    loss = loss + model.negative_weight * worse
                of_others = model.discriminator_gradient(loss)
                for i, (weights, buffers) in enumerate(zip(self.views, statistics, strict=True)):
                    child = _Child(self.members[i // self.n_mutations], {**weights, **buffers})
                    with torch.no_grad():
                        fake = model.forward_generator(z, condition, child) + on_fake
                    both = model.quality_and_diversity(fake, condition, of_others, share)
                    scores[:, i] += torch.stack(both) / len(batches)
        quality, diversity = distributed.average(scores)
        return quality, diversity

    @torch.no_grad()
    def replace(self, chosen: Tensor, statistics: list[dict[str, Tensor]]) -> None:
        """Puts the chosen children in their parents' places, with all that belongs to them."""
        k, m = len(self.members), self.n_mutations
        adam, children = self.optimizer, self.children
        for mine, theirs in (
            (self.weights.flat, children.flat),
            (adam.exp_avg, children.exp_avg),
            (adam.exp_avg_sq, children.exp_avg_sq),
        ):
            mine.copy_(theirs.view(k * m, -1)[chosen].view(-1))
        adam.n_steps += 1
        if self.weights.average is not None and k > 1:
            # A child goes on with the average of its line.
            average = self.weights.average_flat
            average.copy_(average.view(k, -1)[chosen // m].view(-1))
        if self.statistics[0]:
            for buffers, i in zip(self.statistics, chosen.tolist(), strict=True):
                for name, buffer in buffers.items():
                    buffer.copy_(statistics[i][name])
        counts = self.model.buffers_["selected"]
        counts.index_add_(0, chosen % m, torch.ones_like(chosen))


class _Child(nn.Module):
    """A member with other weights and statistics."""

    def __init__(self, member: nn.Module, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        self.member, self.tensors = member, tensors

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Maps `(n, n_latent)` to `(n, d)`."""
        made: Tensor = functional_call(self.member, self.tensors, (z, condition))
        return made


def _check_survivors(chosen: Tensor, n: int, n_children: int) -> None:
    """Raises ValueError if a survival's answer is not n different numbers of children."""
    numbers = chosen.tolist() if chosen.ndim == 1 else []
    if len(set(numbers)) != n or not all(
        isinstance(i, int) and 0 <= i < n_children for i in numbers
    ):
        raise ValueError(
            f"survival must return {n} different integers from 0 to {n_children - 1}; "
            f"got {chosen.tolist()}"
        )
