"""Gaussian mixture by expectation-maximization, exact and conditional."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from evogen.models.base import GenerativeModel, Rows
from evogen.models.checks import check_choice, check_number
from evogen.models.rng import normal, uniform
from evogen.models.serialization import register
from evogen.models.training import Callback

LOG_2PI = math.log(2 * math.pi)
# Least variance, for data without any spread when reg_covar is 0.
TINY = 1e-12


@register
@dataclass(kw_only=True, eq=False, repr=False)
class GaussianMixture(GenerativeModel):
    """A mixture of Gaussians, p(x) = sum_k w_k N(x; m_k, S_k), in float64.

    Fitted by expectation-maximization (Dempster, Laird and Rubin 1977; Bishop, "Pattern
    Recognition and Machine Learning", section 9.2) from a k-means++ start. With a condition the
    joint density of (x, c) is fitted and p(x | c) follows by conditioning each Gaussian (Bishop,
    section 2.3.1), so it extrapolates linearly to conditions outside the data.

    Attributes:
        n_components: Number of Gaussians; fewer if the first fit has fewer rows.
        covariance: "full" or "diag".
        reg_covar: Added to every variance, in units of the scaled data; it makes full covariances
            regular when there are fewer rows than features.
        n_steps: Most steps of expectation-maximization per fit.
        tol: A fit ends when a step raises the mean log likelihood by less than this.
        buffers_: "weights" `(k,)`, "means" `(k, d + c)` and "covariances" `(k, d + c, d + c)` or
            `(k, d + c)`, of the scaled data with the condition's columns last.
        losses_: "negative_log_likelihood": mean per row before every step of the last fit, in
            scaled units.
    """

    dtype: ClassVar[torch.dtype] = torch.float64

    n_components: int = 5
    covariance: Literal["full", "diag"] = "full"
    reg_covar: float = 1e-6
    n_steps: int = 100
    tol: float = 1e-4

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        check_number("n_components", self.n_components, low=1, integer=True)
        check_choice("covariance", self.covariance, ("full", "diag"))
        check_number("reg_covar", self.reg_covar, low=0)
        check_number("n_steps", self.n_steps, low=0, integer=True)
        check_number("tol", self.tol, low=0)

    def buffer_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Names and shapes of `buffers_`; None for a size that the data decide."""
        size = (self.n_features_ or 0) + self.n_condition_
        square = (size, size) if self.covariance == "full" else (size,)
        return {"weights": (None,), "means": (None, size), "covariances": (None, *square)}

    def take_state(self, left: dict[str, Tensor]) -> None:
        """Takes its tensors out of `left`."""
        super().take_state(left)
        if len({tensor.shape[0] for tensor in self.buffers_.values()}) != 1:
            raise ValueError("weights, means and covariances must have as many components")
        self.buffers_ = {name: tensor.double() for name, tensor in self.buffers_.items()}
        if not bool((self.buffers_["weights"] >= 0).all()):
            raise ValueError("weights of a mixture must not be negative")
        self._prepare()

    def build(self, generator: torch.Generator | None) -> None:
        """Creates nothing: the start is taken from the data in `learn`."""

    # Learning.

    def learn(
        self,
        rows: Rows,
        *,
        n_steps: int | None,
        generator: torch.Generator,
        callback: Callback | None,
    ) -> None:
        """Expectation-maximization on scaled rows, from the present mixture if there is one."""
        x = rows.x if rows.condition is None else torch.cat((rows.x, rows.condition), dim=1)
        if not self.buffers_:
            self._maximize(x, _nearest(x, self._start(x, generator)))
        history: list[Tensor] = []
        previous = -math.inf
        for step in range(self.n_steps if n_steps is None else n_steps):
            joint = self._log_joint(x)
            total = torch.logsumexp(joint, dim=1)
            history.append(-total.mean())
            value = -float(history[-1])
            if callback is not None and callback(step, {"negative_log_likelihood": history[-1]}):
                break
            if value - previous < self.tol:
                break
            previous = value
            self._maximize(x, (joint - total[:, None]).exp_())
            self.n_steps_ += 1
        self.losses_ = {"negative_log_likelihood": torch.stack(history) if history else x[:0, 0]}

    def _start(self, x: Tensor, generator: torch.Generator, *, n_lloyd: int = 10) -> Tensor:
        """Centres `(k, d)`: k-means++ (Arthur and Vassilvitskii 2007), then Lloyd's steps."""
        n = x.shape[0]
        draws = uniform((min(self.n_components, n),), generator, dtype=x.dtype, device=x.device)
        centres = [x[int(draws[0] * n)]]
        distance = (x - centres[0]).square().sum(dim=1)
        for draw in draws[1:]:
            heights = torch.cumsum(distance, dim=0)
            # All rows already are centres when the total is 0: then any row will do.
            index = int(
                torch.searchsorted(heights, draw * heights[-1], right=True).clamp_(max=n - 1)
            )
            centres.append(x[index])
            distance = torch.minimum(distance, (x - centres[-1]).square().sum(dim=1))
        found = torch.stack(centres)
        for _ in range(n_lloyd):
            member = _nearest(x, found)
            count = member.sum(dim=0)
            moved = (member.T @ x) / count.clamp(min=1.0)[:, None]
            found = torch.where(count[:, None] > 0, moved, found)
        return found

    def _maximize(self, x: Tensor, responsibility: Tensor) -> None:
        """The M-step: weights, means and covariances from responsibilities `(n, k)`."""
        # An empty component gets weight 0, mean 0 and the regular part of the covariance.
        count = responsibility.sum(dim=0) + 10 * torch.finfo(x.dtype).eps
        means = (responsibility.T @ x) / count[:, None]
        if self.covariance == "full":
            centred = x - means[:, None, :]
            covariances = (centred * responsibility.T[:, :, None]).mT @ centred
            covariances /= count[:, None, None]
            covariances.diagonal(dim1=1, dim2=2).add_(self.reg_covar)
        else:
            second = torch.stack(
                [r @ (x - m).square() for r, m in zip(responsibility.T, means, strict=True)]
            )
            covariances = second / count[:, None] + self.reg_covar
        self.buffers_ = {
            "weights": count / count.sum(),
            "means": means,
            "covariances": covariances,
        }
        self._prepare()

    def _prepare(self) -> None:
        """Factors of the covariances, for densities and draws."""
        self._root = _root(self.buffers_["covariances"], self.covariance)
        self._regressions: dict[int, tuple[Tensor, Tensor]] = {}

    # Density.

    def _log_joint(self, x: Tensor) -> Tensor:
        """log(w_k N(x; m_k, S_k)) of scaled joint rows, `(n, k)`."""
        density = _log_normal(x, self.buffers_["means"], self._root)
        return density + self.buffers_["weights"].log()

    @torch.no_grad()
    def log_prob(self, x: Any, condition: Any = None) -> Tensor:
        """Exact log density in the units of the data.

        Args:
            x: `(n, d)`.
            condition: `(n, c)` or `(1, c)`, if the model was fitted with one.

        Returns:
            log p(x) or log p(x | condition), float64 `(n,)`. A feature that was constant in the
            data counts as scaled by 1.
        """
        self.check_fitted()
        rows = self.prepare_x(x)
        given = self.prepare_condition(condition, rows.shape[0])
        if given is None:
            value = torch.logsumexp(self._log_joint(rows), dim=1)
        else:
            joint = torch.logsumexp(self._log_joint(torch.cat((rows, given), dim=1)), dim=1)
            value = joint - torch.logsumexp(self._log_condition(given), dim=1)
        return value - self.scaler_.log_scale()

    def _log_condition(self, condition: Tensor) -> Tensor:
        """log(w_k N(c; m_k, S_k)) of the condition's marginal, `(n, k)`."""
        d = self.n_features_
        covariances = self.buffers_["covariances"]
        part = covariances[:, d:, d:] if self.covariance == "full" else covariances[:, d:]
        density = _log_normal(
            condition, self.buffers_["means"][:, d:], _root(part, self.covariance)
        )
        return density + self.buffers_["weights"].log()

    # Sampling.

    def generate(self, n: int, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        """Samples `(n, d)` in scaled units, given a scaled condition `(n, c)`."""
        means = self.buffers_["means"]
        d = self.n_features_ or 0
        if condition is None:
            shares = self.buffers_["weights"].expand(n, -1)
        else:
            shares = torch.softmax(self._log_condition(condition), dim=1)
        draws = uniform((n, 1), generator, dtype=torch.float64, device=means.device)
        chosen = (shares.cumsum(dim=1) < draws).sum(dim=1).clamp_(max=means.shape[0] - 1)
        noise = normal((n, d), generator, dtype=torch.float64, device=means.device)
        x = torch.empty_like(noise)
        for k in range(means.shape[0]):
            mine = torch.nonzero(chosen == k)[:, 0]
            if len(mine):
                centre, root = self._component(k, None if condition is None else condition[mine])
                x[mine] = centre + (noise[mine] * root if root.ndim == 1 else noise[mine] @ root.T)
        return x

    def _component(self, k: int, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean(s) and root of the covariance of component k, given conditions `(m, c)`."""
        mean = self.buffers_["means"][k]
        if condition is None:
            return mean, self._root[k]
        d = self.n_features_
        if self.covariance == "diag":
            return mean[:d], self._root[k][:d]
        if k not in self._regressions:
            # Kept until the next fit: operators draw a few rows many times.
            joint = self.buffers_["covariances"][k]
            # Gain S_xc S_cc^-1 of the regression of x on the condition.
            gain = torch.linalg.solve(joint[d:, d:], joint[d:, :d]).T
            rest = joint[:d, :d] - gain @ joint[d:, :d]
            self._regressions[k] = gain, _root(rest[None], "full")[0]
        gain, root = self._regressions[k]
        return mean[:d] + (condition - mean[d:]) @ gain.T, root


def _nearest(x: Tensor, centres: Tensor) -> Tensor:
    """Membership of rows `(n, d)` in the nearest of k centres, 0 or 1, `(n, k)`."""
    index = torch.cdist(x, centres).argmin(dim=1)
    return torch.nn.functional.one_hot(index, centres.shape[0]).to(x.dtype)


def _root(covariances: Tensor, kind: str) -> Tensor:
    """Lower Cholesky factors `(k, d, d)`, or standard deviations `(k, d)`.

    Raises:
        ValueError: A covariance is not positive definite even with a larger diagonal.
    """
    if kind == "diag":
        return covariances.clamp(min=TINY).sqrt()
    covariances = (covariances + covariances.mT) / 2
    scale = covariances.diagonal(dim1=1, dim2=2).mean(dim=1).clamp(min=TINY)
    for jitter in (0.0, 1e-12, 1e-9, 1e-6):
        diagonal = (jitter * scale)[:, None].expand(-1, covariances.shape[-1])
        root, failed = torch.linalg.cholesky_ex(covariances + torch.diag_embed(diagonal))
        if not bool(failed.any()):
            return root
    raise ValueError("a covariance of the mixture is not positive definite; raise reg_covar")


def _log_normal(x: Tensor, means: Tensor, root: Tensor) -> Tensor:
    """log N(x; m_k, S_k) `(n, k)` of rows `(n, d)`, from `_root` of the covariances."""
    if root.ndim == 2:
        scaled = (x[:, None, :] - means) / root
        log_det = root.log().sum(dim=1)
        square = scaled.square().sum(dim=2)
    else:
        centred = (x - means[:, None, :]).mT
        scaled = torch.linalg.solve_triangular(root, centred, upper=False)
        log_det = root.diagonal(dim1=1, dim2=2).log().sum(dim=1)
        square = scaled.square().sum(dim=1).T
    return -0.5 * (square + x.shape[1] * LOG_2PI) - log_det
