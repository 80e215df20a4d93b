"""Diffusion without training: the denoiser is read off the rows themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from evogen.models.base import GenerativeModel, Rows
from evogen.models.checks import check_number
from evogen.models.rng import integers, normal
from evogen.models.serialization import register
from evogen.models.training import Callback

TINY = 1e-12
"""Least variance of a condition, where all neighbours have the same."""


@register
@dataclass(kw_only=True, eq=False, repr=False)
class KernelDiffusion(GenerativeModel):
    """A diffusion model whose denoiser is a kernel-weighted local Gaussian of the stored rows.

    Diffusion Evolution (Zhang, Hartl, Hazan and Levin 2025, arXiv 2410.02543) denoises with the
    kernel-weighted mean of the population. A mean lies inside the hull of what it averages, so that
    process contracts, and above some twenty dimensions its isotropic kernel sees one row only. Here

    - the kernel works on the condition where there is one (for an inverse model: objective
      space), else on x; its width is the distance to the `n_neighbors`-th nearest row;
    - the weighted mean is that of a local linear regression of x on the condition, so it goes on
      beyond the rows (weighted least squares, as in Cleveland 1979);
    - around it the weighted covariance S of the residuals is restored, with as many degrees of
      freedom as the fit left.

    For such a Gaussian N(m, S) the reverse process needs no steps. With noise of covariance S and
    signal share a = cos(pi t / 2)^2 at time t in [0, 1], a row y that is noised to t and denoised
    becomes

        m + a (y - m) + sqrt(1 - a^2) S^(1/2) z,    z ~ N(0, I),

    y itself for t = 0 and a new draw for t = 1; N(m, S) stays as it is for any t. S^(1/2) z is a
    random combination of residuals: no matrix of size d x d is made.

    A fit replaces the rows of the one before.

    Attributes:
        n_neighbors: Rows that a denoiser looks at (>= 1); fewer if there are fewer.
        spread: Factor on the restored residuals (>= 0); below 1 samples contract.
        ridge: Added to the variance of the condition, as a share of it (>= 0): towards infinity
            the local line becomes a mean, which does not extrapolate.
        buffers_: "rows" `(n, d)` and, with a condition, "conditions" `(n, c)`, in scaled units.
    """

    dtype: ClassVar[torch.dtype] = torch.float64

    n_neighbors: int = 30
    spread: float = 1.0
    ridge: float = 1e-2

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        check_number("n_neighbors", self.n_neighbors, low=1, integer=True)
        check_number("spread", self.spread, low=0)
        check_number("ridge", self.ridge, low=0)

    def buffer_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Names and shapes of `buffers_`; None for a size that the data decide."""
        shapes: dict[str, tuple[int | None, ...]] = {"rows": (None, self.n_features_)}
        if self.n_condition_:
            shapes["conditions"] = (None, self.n_condition_)
        return shapes

    def take_state(self, left: dict[str, Tensor]) -> None:
        """Takes its tensors out of `left`."""
        super().take_state(left)
        if len({tensor.shape[0] for tensor in self.buffers_.values()}) != 1:
            raise ValueError("rows and conditions must be equally many")
        self.buffers_ = {name: tensor.double() for name, tensor in self.buffers_.items()}

    def build(self, generator: torch.Generator | None) -> None:
        """Creates nothing: the rows are the model."""

    def learn(
        self,
        rows: Rows,
        *,
        n_steps: int | None,
        generator: torch.Generator,
        callback: Callback | None,
    ) -> None:
        """Keeps the scaled rows, which counts as one step without a loss."""
        self.buffers_ = {"rows": rows.x}
        if rows.condition is not None:
            self.buffers_["conditions"] = rows.condition
        if callback is not None:
            callback(0, {})

    def local_gaussian(self, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """What the denoiser knows around each of n places, in scaled units.

        Args:
            x: Places `(n, d)`; only looked at without a condition.
            condition: Conditions `(n, c)`, or None.

        Returns:
            Means m `(n, d)` and roots R `(n, k, d)` of the covariances, S = R^T R.
        """
        rows = self.buffers_["rows"]
        known, asked = (rows, x) if condition is None else (self.buffers_["conditions"], condition)
        k = min(self.n_neighbors, rows.shape[0])
        distance, index = torch.cdist(asked, known).topk(k, dim=1, largest=False)
        weights = torch.exp(-2 * (distance / distance[:, -1:].clamp(min=TINY)).square())
        weights /= weights.sum(dim=1, keepdim=True)
        near = rows[index]
        mean = (weights[:, :, None] * near).sum(dim=1)
        residual = near - mean[:, None, :]
        n_fitted = 1
        if condition is not None:
            near_c = known[index]
            mean_c = (weights[:, :, None] * near_c).sum(dim=1)
            offset = near_c - mean_c[:, None, :]
            weighted = (weights[:, :, None] * offset).mT
            moment = weighted @ offset
            n_fitted += moment.shape[-1]
            trace = moment.diagonal(dim1=1, dim2=2).mean(dim=1)
            least = (self.ridge * trace + TINY)[:, None, None]
            identity = torch.eye(moment.shape[-1], dtype=moment.dtype, device=moment.device)
            slope = torch.linalg.solve(moment + least * identity, weighted @ residual)
            residual = residual - offset @ slope
            mean = mean + ((condition - mean_c)[:, None, :] @ slope)[:, 0]
        # A weighted fit of p numbers leaves the share 1 - p sum w^2 of the variance.
        left = (1 - n_fitted * weights.square().sum(dim=1)).clamp(min=0.25)
        root = residual * (weights / left[:, None]).sqrt()[:, :, None]
        return mean, self.spread * root

    def generate(self, n: int, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        """Samples `(n, d)` in scaled units, given a scaled condition `(n, c)`."""
        rows = self.buffers_["rows"]
        start = rows[integers(len(rows), (n,), generator, device=rows.device)]
        return self._denoised(start, 0.0, condition, generator)

    @torch.no_grad()
    def denoise_from(
        self,
        x: Any,
        t_fraction: float,
        condition: Any = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Noises given rows part of the way and denoises them back.

        Args:
            x: `(n, d)` in the units of the data.
            t_fraction: How far, in [0, 1]: 0 returns the rows, 1 a fresh sample around them (or
                for their condition).
            condition: `(n, c)` or `(1, c)`, if the model was fitted with one.
            generator: Source of random numbers; None for the model's own.

        Returns:
            Float32 `(n, d)`.

        Raises:
            RuntimeError: The model is not fitted.
            ValueError: A wrong shape, or t_fraction outside [0, 1].
        """
        self.check_fitted()
        check_number("t_fraction", t_fraction, low=0, high=1)
        rows = self.prepare_x(x)
        given = self.prepare_condition(condition, len(rows))
        if t_fraction == 0 or len(rows) == 0:
            # Untouched, not scaled there and back.
            return torch.as_tensor(x).float().to(self.device_)
        signal = math.cos(0.5 * math.pi * t_fraction) ** 2
        generator = self.own_generator(generator)
        moved = self._denoised(rows, signal, given, generator)
        return self.to_items(moved)

    def _denoised(
        self, x: Tensor, signal: float, condition: Tensor | None, generator: torch.Generator
    ) -> Tensor:
        """The process in the class's docstring, on scaled rows."""
        mean, root = self.local_gaussian(x, condition)
        z = normal(tuple(root.shape[:2]), generator, dtype=root.dtype, device=root.device)
        noise = (z[:, None, :] @ root)[:, 0]
        return mean + signal * (x - mean) + math.sqrt(1 - signal**2) * noise
