"""Per-feature affine scaling between the user's units and the model's."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from evogen.models.checks import take_tensor

ScalerKind = Literal["standard", "unit", "symmetric", "image", "none"]

# A float64 column of equal numbers may have a standard deviation of a few rounding errors.
RELATIVE_CONSTANT = 1e-12


class Scaler:
    """An affine map per feature, taken from the data of a fit.

    A feature that is constant in the data is divided by 1 on the way in and comes back as exactly
    that constant on the way out: there is nothing to learn about it.

    Attributes:
        shift: Float64 `(d,)`, the user's value that becomes 0.
        scale: Float64 `(d,)`, > 0, the length in the user's units of one unit of the model.
        varies: Boolean `(d,)`, false where the feature is constant.
    """

    def __init__(self, shift: Tensor, scale: Tensor, varies: Tensor) -> None:
        self.shift = shift
        self.scale = scale
        self.varies = varies
        self._out = scale * varies

    @classmethod
    def from_data(cls, x: Tensor, kind: ScalerKind) -> Scaler:
        """Takes the map from data.

        Args:
            x: Float64 data `(n, d)`, n >= 1.
            kind: "standard": mean 0 and standard deviation 1; "unit": range [0, 1]; "symmetric":
                range [-1, 1]; "image": [0, 1] to [-1, 1] whatever the data; "none": unchanged.
        """
        if kind in ("none", "image"):
            shift = torch.zeros(x.shape[1], dtype=torch.float64, device=x.device)
            shift += 0.5 if kind == "image" else 0.0
            scale = torch.full_like(shift, 0.5 if kind == "image" else 1.0)
            return cls(shift, scale, torch.ones_like(shift, dtype=torch.bool))
        if kind == "standard":
            scale, shift = torch.std_mean(x, dim=0, correction=0)
        else:
            low, high = torch.aminmax(x, dim=0)
            if kind == "unit":
                shift, scale = low, high - low
            else:
                shift, scale = (low + high) / 2, (high - low) / 2
        varies = scale > RELATIVE_CONSTANT * shift.abs()
        # For a constant feature the first row is the value itself, without the mean's rounding.
        shift = torch.where(varies, shift, x[0])
        return cls(shift, torch.where(varies, scale, torch.ones_like(scale)), varies)

    def tensors(self, name: str) -> dict[str, Tensor]:
        """What `take` reads."""
        return {f"{name}.{part}": getattr(self, part) for part in ("shift", "scale", "varies")}

    @classmethod
    def take(cls, left: dict[str, Tensor], name: str, size: int) -> Scaler:
        """Takes a scaler of d = size features out of named tensors.

        Raises:
            ValueError: A tensor is missing, of a wrong shape, or cannot belong to a scaler.
        """
        shift, scale = (take_tensor(left, f"{name}.{part}", (size,)) for part in ("shift", "scale"))
        varies = take_tensor(left, f"{name}.varies", (size,))
        if not bool((scale > 0).all()) or varies.dtype != torch.bool:
            raise ValueError(f"tensors of {name!r} must be a positive scale and a boolean mask")
        return cls(shift.double(), scale.double(), varies)

    def normalize(self, x: Tensor) -> Tensor:
        """Rows `(n, d)` of float64 or float32 from the user's units to the model's."""
        return (x - self.shift.to(x.dtype)) / self.scale.to(x.dtype)

    def denormalize(self, x: Tensor) -> Tensor:
        """Model units `(n, d)` back to the user's, as finite float32.

        Numbers that are not finite become the centre (NaN) or ten units away from it (infinite).
        """
        x = torch.nan_to_num(x.double(), nan=0.0, posinf=10.0, neginf=-10.0)
        limit = torch.finfo(torch.float32).max
        return x.mul_(self._out).add_(self.shift).clamp_(-limit, limit).float()

    def log_scale(self) -> Tensor:
        """Sum of log(scale): log density in user's units = log density in model units - this."""
        return self.scale.log().sum()
