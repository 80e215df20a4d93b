"""Probabilistic principal component analysis, exact and in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from evogen.models.base import GenerativeModel, Rows
from evogen.models.checks import as_rows, check_number
from evogen.models.rng import normal
from evogen.models.serialization import register
from evogen.models.training import Callback

LOG_2PI = math.log(2 * math.pi)


@register
@dataclass(kw_only=True, eq=False, repr=False)
class PCA(GenerativeModel):
    """Probabilistic principal component analysis (Tipping and Bishop 1999), in float64.

    x = mean + U (L - s I)^(1/2) z + sqrt(s) e with z, e ~ N(0, I): U and L are the leading
    eigenvectors and eigenvalues of the covariance, s is the mean of the remaining eigenvalues
    (eq. 7 and 8). Like scikit-learn, and unlike the paper, the covariance is divided by n - 1.
    With a condition the mean is a linear function of it (least squares) and the analysis is one
    of the residuals. Every fit solves the problem anew, in one step; `fit(x, n_steps=0)` on a
    fitted model keeps what it has learned. Scaling each feature (`normalize`) makes this an
    analysis of the correlations; set it to False for one of the covariance.

    Attributes:
        n_components: Number of components q; fewer if the data have fewer rows or columns.
        min_variance: Smallest variance in any direction, in scaled units.
        buffers_: "mean" `(d,)`, "components" `(q, d)`, the rows of U^T, each with its largest
            entry positive, "variances" `(q,)`, their eigenvalues in falling order, and
            "noise_variance" `()`, s, of scaled data; with a condition also "condition_mean" `(c,)`
            and "coefficients" `(c, d)`.
        losses_: "negative_log_likelihood": mean per row after the last fit, in scaled units.
    """

    dtype: ClassVar[torch.dtype] = torch.float64

    n_components: int = 8
    min_variance: float = 1e-9

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        check_number("n_components", self.n_components, low=1, integer=True)
        check_number("min_variance", self.min_variance, low=1e-30)

    def buffer_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Names and shapes of `buffers_`; None for a size that the data decide."""
        d, c = self.n_features_, self.n_condition_
        shapes: dict[str, tuple[int | None, ...]] = {
            "mean": (d,),
            "components": (None, d),
            "variances": (None,),
            "noise_variance": (),
        }
        return {**shapes, "condition_mean": (c,), "coefficients": (c, d)} if c else shapes

    def take_state(self, left: dict[str, Tensor]) -> None:
        """Takes its tensors out of `left`."""
        super().take_state(left)
        self.buffers_ = {name: tensor.double() for name, tensor in self.buffers_.items()}
        noise = self.buffers_["noise_variance"]
        if len(self.buffers_["components"]) != len(self.buffers_["variances"]):
            raise ValueError("there must be as many components as variances")
        if not (noise > 0 and bool((self.buffers_["variances"] >= noise).all())):
            raise ValueError("variances must be at least the noise variance, and that positive")

    def build(self, generator: torch.Generator | None) -> None:
        """Creates nothing: all is computed from the data in `learn`."""

    def learn(
        self,
        rows: Rows,
        *,
        n_steps: int | None,
        generator: torch.Generator,
        callback: Callback | None,
    ) -> None:
        """Solves the problem for scaled rows."""
        if n_steps == 0 and self.buffers_:
            return
        n, d = rows.x.shape
        self.buffers_ = {"mean": rows.x.mean(dim=0)}
        if rows.condition is not None:
            centre = rows.condition.mean(dim=0)
            # The pseudo-inverse also takes conditions that depend on one another.
            inverse = torch.linalg.pinv(rows.condition - centre)
            self.buffers_["condition_mean"] = centre
            self.buffers_["coefficients"] = inverse @ (rows.x - self.buffers_["mean"])
        centred = rows.x - self._mean(rows.condition)
        _, singular, axes = torch.linalg.svd(centred, full_matrices=False)
        values = singular.square() / max(1, n - 1)
        q = min(self.n_components, n, d)
        noise = values[q:].sum() / max(1, d - q)
        noise = noise.clamp(min=self.min_variance)
        largest = axes[:q].gather(1, axes[:q].abs().argmax(dim=1, keepdim=True))
        self.buffers_ |= {
            "components": axes[:q] * torch.where(largest < 0, -1.0, 1.0),
            "variances": torch.maximum(values[:q], noise),
            "noise_variance": noise,
        }
        self.n_steps_ += 1
        loss = -self._log_density(centred).mean()
        self.losses_ = {"negative_log_likelihood": loss[None]}
        if callback is not None:
            callback(0, {"negative_log_likelihood": loss})

    def _mean(self, condition: Tensor | None) -> Tensor:
        """Mean of scaled x, `(d,)` or `(n, d)`."""
        mean = self.buffers_["mean"]
        if condition is None:
            return mean
        return mean + (condition - self.buffers_["condition_mean"]) @ self.buffers_["coefficients"]

    def _log_density(self, centred: Tensor) -> Tensor:
        """log p of centred scaled rows, `(n,)`."""
        axes, variances = self.buffers_["components"], self.buffers_["variances"]
        noise = self.buffers_["noise_variance"]
        q, d = axes.shape
        scores = centred @ axes.T
        square = (scores.square() / variances).sum(dim=1)
        log_det = variances.log().sum()
        if d > q:
            # From the rest itself, not as a difference of squares, which would lose its digits.
            square = square + (centred - scores @ axes).square().sum(dim=1) / noise
            log_det = log_det + (d - q) * noise.log()
        return -0.5 * (square + log_det + d * LOG_2PI)

    # Use.

    def generate(self, n: int, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        """Samples `(n, d)` in scaled units, given a scaled condition `(n, c)`."""
        axes, noise = self.buffers_["components"], self.buffers_["noise_variance"]
        z = normal((n, axes.shape[0]), generator, device=self.device_, dtype=self.dtype)
        e = normal((n, axes.shape[1]), generator, device=self.device_, dtype=self.dtype)
        signal = (self.buffers_["variances"] - noise).clamp(min=0).sqrt()
        return self._mean(condition) + (z * signal) @ axes + noise.sqrt() * e

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
        given = self.prepare_condition(condition, len(rows))
        return self._log_density(rows - self._mean(given)) - self.scaler_.log_scale()

    @torch.no_grad()
    def encode(self, x: Any, condition: Any = None) -> Tensor:
        """Whitened scores `(n, q)` of rows `(n, d)`: coordinates of mean 0 and deviation 1.

        They are coordinates on the principal axes over the root of the eigenvalues, not the
        posterior means of z (Tipping and Bishop 1999, section 3.3), so that `decode` of them is
        the orthogonal projection.
        """
        self.check_fitted()
        rows = self.prepare_x(x)
        given = self.prepare_condition(condition, len(rows))
        scores = (rows - self._mean(given)) @ self.buffers_["components"].T
        return scores / self.buffers_["variances"].sqrt()

    @torch.no_grad()
    def decode(self, z: Any, condition: Any = None) -> Tensor:
        """Float32 rows `(n, d)`, in the units of the data, of whitened scores `(n, q)`."""
        self.check_fitted()
        axes = self.buffers_["components"]
        scores = as_rows("z", z, n_columns=axes.shape[0]).to(self.device_)
        given = self.prepare_condition(condition, len(scores))
        x = self._mean(given) + (scores * self.buffers_["variances"].sqrt()) @ axes
        return self.to_items(x)
