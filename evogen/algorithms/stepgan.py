"""A generative adversarial network that learns steps from poor solutions to good ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from evogen.models import GAN
from evogen.models.base import Rows
from evogen.models.serialization import register
from evogen.models.training import Objective


@register
@dataclass(kw_only=True, eq=False, repr=False)
class StepGAN(GAN):
    """Turns poor solutions into good ones, and takes that step from where the good ones are.

    GMOEA's generator imitates the elites, so it can neither leave their hull nor extend their
    front. Here the generator's input is a poor solution p, its output G(p) = p + net(p) must pass
    for an elite, and what is used is the *step* s = G(p) - p that it learned. An offspring is

        (x_i + t (x_j - x_i)) + u s

    with two random elites x_i, x_j, t uniform in [-widen, 1 + widen] (a line through elites,
    beyond its ends) and a length u uniform in [0, 1]. The other offspring take the raw difference
    s = x_i - p, the null that the network has to beat, with a heavy-tailed length
    u = `step` |Cauchy|, at most `longest`; learned steps agree with one another, and with long
    ones the whole population lands in one corner.

    Attributes:
        widen: How far beyond a pair of elites, as a share of their distance (>= 0).
        step: Median length of a raw difference, in differences (> 0).
        longest: Greatest length of a raw difference (>= step).
        network_share: Share of the offspring whose step the network makes, in [0, 1].
    """

    prior: Any = "data"
    residual: bool = True
    hidden_generator: Any = (64,)
    hidden_discriminator: Any = (64,)
    n_steps: int = 30
    batch_size: int | None = 64
    negative_weight: float = 0.3

    widen: float = 0.25
    step: float = 0.5
    longest: float = 8.0
    network_share: float = 0.1

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        if self.widen < 0 or not 0 < self.step <= self.longest:
            raise ValueError(
                f"widen={self.widen!r} must not be negative, and step={self.step!r} must be "
                f"positive and at most longest={self.longest!r}"
            )
        if not 0.0 <= self.network_share <= 1.0:
            raise ValueError(f"network_share={self.network_share!r} must lie in [0, 1]")

    def buffer_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Names and shapes of `buffers_`."""
        return {"elites": (None, self.n_features_), "poor": (None, self.n_features_)}

    def objectives(self, rows: Rows) -> list[Objective]:
        """Those of the GAN, with the poor solutions as the generator's input."""
        objectives = super().objectives(rows)
        poor = rows.x if rows.negative is None else rows.negative
        self.buffers_ = {"elites": rows.x, "poor": poor}
        return objectives

    def draw_latent(self, n: int, generator: torch.Generator) -> Tensor:
        """Draws n poor solutions `(n, d)`, in scaled units."""
        poor = self.buffers_["poor"]
        return poor[self._pick(len(poor), n, generator)]

    def generate(self, n: int, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        """Offspring `(n, d)` in scaled units."""
        elites = self.buffers_["elites"]
        first = elites[self._pick(len(elites), n, generator)]
        second = elites[self._pick(len(elites), n, generator)]
        poor = self.draw_latent(n, generator)
        t, u, coin = self._uniform(3 * n, generator).view(3, n, 1)
        line = first + (t * (1.0 + 2.0 * self.widen) - self.widen) * (second - first)
        learned = self.forward_generator(poor, None, self.sampler("generator")) - poor
        long = (self.step * torch.tan(0.5 * math.pi * u)).clamp(max=self.longest)
        steps = torch.where(coin < self.network_share, u * learned, long * (first - poor))
        return line + steps

    def _pick(self, n_rows: int, n: int, generator: torch.Generator) -> Tensor:
        drawn = torch.randint(n_rows, (n,), generator=generator, device=generator.device)
        return drawn.to(self.device_)

    def _uniform(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.rand(n, generator=generator, device=generator.device).to(self.device_)
