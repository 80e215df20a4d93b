"""Diffusion steered by a classifier that tells which of two rows is the better one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from evogen.models.base import Rows
from evogen.models.checks import check_number, check_widths
from evogen.models.kernel_diffusion import KernelDiffusion
from evogen.models.networks import MLP
from evogen.models.neural import SingleLossModel
from evogen.models.rng import integers, normal, uniform
from evogen.models.serialization import register
from evogen.models.training import Callback


def preference_order(condition: Tensor) -> Tensor:
    """Places of rows in the order of preference, from their objectives alone.

    Args:
        condition: Objectives, smaller is better `(n, m)`.

    Returns:
        Integers `(n,)`, 0 is the best: fewer rows that dominate it come first, among equals the
        one whose nearest row in objective space is farther away.
    """
    below = (condition[:, None, :] <= condition[None, :, :]).all(dim=2)
    dominates = below & ~below.T
    distance = torch.cdist(condition, condition)
    distance.fill_diagonal_(torch.inf)
    crowded = torch.argsort(distance.min(dim=1).values, descending=True, stable=True)
    order = crowded[torch.argsort(dominates.sum(dim=0)[crowded], stable=True)]
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    return place


@register
@dataclass(kw_only=True, eq=False, repr=False)
class PreferenceDiffusion(KernelDiffusion, SingleLossModel):
    """`KernelDiffusion` whose samples climb a learned dominance preference.

    After PGD-MOO (Annadani et al., NeurIPS 2025, arXiv 2503.17299): a network is trained on pairs
    of noised rows to tell the better one, p(a before b | a_t, b_t, t), and the gradient of its log
    probability steers the denoiser. Better is what `preference_order` says of the conditions, so
    neither gradients nor a model of the objectives are needed. There the denoiser is a trained
    network; here it is the local Gaussian N(m, S) of `KernelDiffusion`, under which a sample x is
    moved `n_guidance` times, from much noise to none, by

        x <- x + guidance / n_guidance S grad_x log p(x before r | x, r, t),

    S keeping the step within the neighbours' own directions (classifier guidance of Dhariwal and
    Nichol 2021, algorithm 1, with S as the covariance). The reference r is the stored row whose
    condition is nearest to the one asked for; the paper's is the previous iterate. As an operator
    it was no better than unguided (`docs/diffusion.md`).

    Attributes:
        guidance: Length of the whole way, in local variances (>= 0); 0 is `KernelDiffusion`.
        n_guidance: Number of moves (>= 1).
        hidden: Widths of the classifier's layers; () is a linear one.
    """

    dtype: ClassVar[torch.dtype] = torch.float64

    n_steps: int = 10
    batch_size: int | None = 128
    lr: float = 3e-3
    guidance: float = 1.0
    n_guidance: int = 4
    hidden: tuple[int, ...] = (64,)

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        check_number("guidance", self.guidance, low=0)
        check_number("n_guidance", self.n_guidance, low=1, integer=True)
        check_widths("hidden", self.hidden)

    def check_rows(self, x: Any, condition: Any, negative: Any = None) -> Rows:
        """Checks the data of a fit; preferences are read off the condition.

        Raises:
            ValueError: There is no condition, besides what `fit` says.
        """
        if condition is None:
            raise ValueError(
                "condition must be given: PreferenceDiffusion reads off it, smaller is better, "
                "which rows are preferred; got None"
            )
        return super().check_rows(x, condition, negative)

    def network(self) -> nn.Module:
        """The new classifier of (a, b, t)."""
        return MLP(2 * (self.n_features_ or 0) + 1, 1, hidden=self.hidden, activation="silu")

    def build(self, generator: torch.Generator | None) -> None:
        """Creates the classifier."""
        SingleLossModel.build(self, generator)

    def learn(
        self,
        rows: Rows,
        *,
        n_steps: int | None,
        generator: torch.Generator,
        callback: Callback | None,
    ) -> None:
        """Keeps the scaled rows and trains the classifier on pairs of them."""
        KernelDiffusion.learn(self, rows, n_steps=n_steps, generator=generator, callback=None)
        SingleLossModel.learn(self, rows, n_steps=n_steps, generator=generator, callback=callback)

    def rows_per_batch(self, n_rows: int) -> int:
        """The number of pairs in a batch."""
        return n_rows if self.batch_size is None else self.batch_size

    def draw_batches(
        self, rows: Rows, n_batches: int, generator: torch.Generator
    ) -> tuple[Tensor | None, ...]:
        """Noised pairs with their noise level, and whether the first is preferred."""
        assert rows.condition is not None
        n = rows.x.shape[0]
        place = preference_order(rows.condition)
        shape = (2, n_batches, self.rows_per_batch(n))
        pair = integers(n, shape, generator, device=self.device_)
        t = uniform((*shape[1:], 1), generator, device=self.device_)
        signal = torch.cos(0.5 * torch.pi * t)
        noise = normal((*shape, rows.x.shape[1]), generator, device=self.device_)
        noised = signal * rows.x[pair].float() + (1 - signal.square()).sqrt() * noise
        better = (place[pair[0]] < place[pair[1]]).float()[..., None]
        return torch.cat((noised[0], noised[1], t), dim=2), better

    def loss(self, pairs: Tensor, better: Tensor) -> Tensor:
        """Cross entropy of the preference."""
        logit = self.weights_["network"].module(pairs)
        return nn.functional.binary_cross_entropy_with_logits(logit, better)

    def generate(self, n: int, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        """Samples `(n, d)` in scaled units, given a scaled condition `(n, c)`."""
        x = super().generate(n, condition, generator)
        assert condition is not None
        if self.guidance == 0:
            return x
        _, root = self.local_gaussian(x, condition)
        nearest = torch.cdist(condition, self.buffers_["conditions"]).argmin(dim=1)
        reference = self.buffers_["rows"][nearest]
        for k in range(self.n_guidance, 0, -1):
            t = (k - 1) / self.n_guidance
            slope = self._slope(x, reference, t)[:, :, None]
            x = x + self.guidance / self.n_guidance * (root.mT @ (root @ slope))[:, :, 0]
        return x

    def _slope(self, x: Tensor, reference: Tensor, t: float) -> Tensor:
        """Gradient of log p(x before reference) in x `(n, d)`."""
        with torch.enable_grad():
            place = x.float().requires_grad_()
            time = torch.full((len(x), 1), t, device=x.device)
            pairs = torch.cat((place, reference.float(), time), dim=1)
            log_p = nn.functional.logsigmoid(self.sampler("network")(pairs)).sum()
            return torch.autograd.grad(log_p, place)[0].to(x.dtype)
