"""Local linear regression on the nearest conditions, with the residuals of the data as noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from evogen.models.base import GenerativeModel, Rows
from evogen.models.checks import check_number
from evogen.models.rng import uniform
from evogen.models.serialization import register
from evogen.models.training import Callback


@register
@dataclass(kw_only=True, eq=False, repr=False)
class LocalLinear(GenerativeModel):
    """p(x | c) around the data: the nearest row is moved along a local linear map of c to x.

    For a condition c the row (x_a, c_a) with the nearest condition is the anchor. Ridge regression
    (Cleveland and Devlin 1988, locally weighted regression with weights 0 and 1) on the
    `n_neighbors` rows nearest to c_a gives the slope B of x over c, and a sample is

        x = x_a + B (c - c_a) + noise r

    with the regression's residual r of a random neighbour. What the condition does not explain is
    kept as it is in the anchor instead of being replaced by a mean, so the samples stay on
    whatever the data lie on, and the slope carries them beyond its ends. Without conditions the
    anchor is any row, its neighbours are the nearest rows and there is no slope, which leaves a
    smoothed bootstrap (Silverman 1986, section 6.4.1) of local width. Every fit starts anew;
    `fit(x, n_steps=0)` on a fitted model keeps its rows.

    Attributes:
        n_neighbors: Rows that decide a slope; fewer if the data have fewer.
        noise: Share of a neighbour's residual that is added (>= 0).
        ridge: Weight of the penalty on slopes, in units of the neighbours' variance (> 0).
        buffers_: "x" `(n, d)` and, with a condition, "condition" `(n, c)`: the scaled data.
    """

    dtype: ClassVar[torch.dtype] = torch.float64

    n_neighbors: int = 60
    noise: float = 0.5
    ridge: float = 0.01

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        check_number("n_neighbors", self.n_neighbors, low=2, integer=True)
        check_number("noise", self.noise, low=0)
        check_number("ridge", self.ridge, low=1e-12)

    def buffer_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Names and shapes of `buffers_`; None for a size that the data decide."""
        shapes: dict[str, tuple[int | None, ...]] = {"x": (None, self.n_features_)}
        return shapes | ({"condition": (None, self.n_condition_)} if self.n_condition_ else {})

    def take_state(self, left: dict[str, Tensor]) -> None:
        """Takes its tensors out of `left`."""
        super().take_state(left)
        self.buffers_ = {name: tensor.double() for name, tensor in self.buffers_.items()}
        if len({len(tensor) for tensor in self.buffers_.values()}) != 1:
            raise ValueError("there must be as many conditions as rows")

    def build(self, generator: torch.Generator | None) -> None:
        """Creates nothing: the data are the model."""

    def learn(
        self,
        rows: Rows,
        *,
        n_steps: int | None,
        generator: torch.Generator,
        callback: Callback | None,
    ) -> None:
        """Keeps the scaled rows."""
        if n_steps == 0 and self.buffers_:
            return
        self.buffers_ = {"x": rows.x}
        if rows.condition is not None:
            self.buffers_["condition"] = rows.condition
        self.n_steps_ += 1
        if callback is not None:
            callback(0, {})

    def generate(self, n: int, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        """Samples `(n, d)` in scaled units, given a scaled condition `(n, c)`."""
        x = self.buffers_["x"]
        k = min(self.n_neighbors, len(x))
        pick = uniform((2, n), generator, dtype=x.dtype, device=x.device)
        if condition is None:
            anchor = (pick[1] * len(x)).long()
            near = _nearest(x[anchor], x, k)
            residual = x[near] - x[near].mean(dim=1, keepdim=True)
            moved = x[anchor]
        else:
            given = self.buffers_["condition"]
            anchor = torch.cdist(condition, given).argmin(dim=1)
            near = _nearest(given[anchor], given, k)
            slope, residual = self._regression(x[near], given[near])
            moved = x[anchor] + ((condition - given[anchor])[:, None] @ slope)[:, 0]
        chosen = residual[torch.arange(n, device=x.device), (pick[0] * k).long()]
        return moved + self.noise * chosen

    def _regression(self, x: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Slopes `(n, c, d)` of x over c and residuals `(n, k, d)`, from rows `(n, k, ...)`."""
        c = c - c.mean(dim=1, keepdim=True)
        # The penalty is to mean the same for conditions of any spread.
        scale = c.std(dim=1, keepdim=True, correction=0) + 1e-9
        c = c / scale
        y = x - x.mean(dim=1, keepdim=True)
        penalty = self.ridge * c.shape[1] * torch.eye(c.shape[2], dtype=c.dtype, device=c.device)
        slope = torch.linalg.solve(c.mT @ c + penalty, c.mT @ y)
        return slope / scale.mT, y - c @ slope


def _nearest(rows: Tensor, among: Tensor, k: int) -> Tensor:
    """Row numbers `(n, k)` of the k nearest of `among` to each row."""
    return torch.cdist(rows, among).topk(k, dim=1, largest=False).indices
