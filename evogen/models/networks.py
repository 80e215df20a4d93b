"""Networks for vectors: multilayer perceptrons, conditional by concatenation or by FiLM."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evogen.models.layers import Linear

Norm = Literal["batch", "layer"]
Conditioning = Literal["concat", "film"]

LEAKY_SLOPE = 0.2

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": F.relu,
    "leaky_relu": partial(F.leaky_relu, negative_slope=LEAKY_SLOPE),
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
    "sigmoid": torch.sigmoid,
    "linear": lambda x: x,
}


class BatchNorm(nn.BatchNorm1d):
    """Batch normalization that also takes a batch of one row (with its running statistics)."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalizes `(n, d)`."""
        training = self.training and x.shape[0] > 1
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training,
            self.momentum if self.momentum is not None else 0.1,
            self.eps,
        )


def make_norm(norm: Norm | None, width: int) -> nn.Module | None:
    """The normalization layer of a name, for `width` features."""
    if norm is None:
        return None
    return BatchNorm(width) if norm == "batch" else nn.LayerNorm(width)


class MLP(nn.Module):
    """A multilayer perceptron `(n, n_in) -> (n, n_out)`, optionally given a condition.

    Args:
        n_in: Number of inputs.
        n_out: Number of outputs.
        hidden: Widths of the hidden layers; empty for a linear map.
        activation: Name in `ACTIVATIONS` for the hidden layers.
        output: Name in `ACTIVATIONS` for the output.
        norm: Normalization between a hidden layer and its activation.
        output_norm: Whether the output is normalized as well (before its activation).
        n_condition: Number of condition inputs, 0 for none.
        conditioning: "concat": appended to the inputs; "film": scales and shifts every hidden
            layer (Perez et al. 2018, "FiLM"), starting from the identity.
        n_octaves: Sines and cosines of the inputs at so many frequencies are inputs too; see
            `fourier_features`.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        hidden: Sequence[int] = (64, 64),
        activation: str = "silu",
        output: str = "linear",
        norm: Norm | None = None,
        output_norm: bool = False,
        n_condition: int = 0,
        conditioning: Conditioning = "concat",
        n_octaves: int = 0,
    ) -> None:
        super().__init__()
        film = conditioning == "film" and n_condition > 0
        self.n_octaves = n_octaves
        widths = [n_in * (1 + 2 * n_octaves) + (0 if film else n_condition), *hidden]
        self.activation_name, self.output_name = activation, output
        self.activation = ACTIVATIONS[activation]
        self.output_activation = None if output == "linear" else ACTIVATIONS[output]
        self.layers = nn.ModuleList(Linear(a, b) for a, b in pairwise(widths))
        self.output = Linear(widths[-1], n_out)
        self.norms = nn.ModuleList(m for w in hidden if (m := make_norm(norm, w)) is not None)
        self.output_norm = make_norm(norm, n_out) if output_norm else None
        self.films = nn.ModuleList(
            Linear(n_condition, 2 * w, gain=0.0) for w in (hidden if film else ())
        )

    @property
    def linear_layers(self) -> list[Linear]:
        """All linear layers in order, the output's last."""
        return [layer for layer in (*self.layers, self.output) if isinstance(layer, Linear)]

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Maps `(n, n_in)`, with a condition `(n, n_condition)` if there is one."""
        x = fourier_features(x, self.n_octaves)
        if condition is not None and not self.films:
            x = torch.cat((x, condition), dim=1)
        for i, layer in enumerate(self.layers):
            x = layer.forward(x)
            if self.norms:
                x = self.norms[i](x)
            if self.films:
                scale, shift = self.films[i](condition).chunk(2, dim=1)
                x = torch.addcmul(x + shift, x, scale)
            x = self.activation(x)
        x = self.output(x)
        if self.output_norm is not None:
            x = self.output_norm(x)
        return x if self.output_activation is None else self.output_activation(x)


class ResidualMLP(nn.Module):
    """Residual blocks of equal width with pre-normalization; the condition enters by FiLM.

    A block is x + W2 act(film(W1 act(norm(x)))), with W2 starting at 0, so that a new network is
    a linear map whatever its depth.

    Args:
        n_in: Number of inputs.
        n_out: Number of outputs.
        width: Width of every block.
        n_blocks: Number of blocks.
        activation: Name in `ACTIVATIONS`.
        norm: Normalization at the start of a block.
        n_condition: Number of condition inputs, 0 for none.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        width: int = 128,
        n_blocks: int = 2,
        activation: str = "silu",
        norm: Norm | None = "layer",
        n_condition: int = 0,
    ) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.input = Linear(n_in, width)
        self.norms = nn.ModuleList(
            m for _ in range(n_blocks) if (m := make_norm(norm, width)) is not None
        )
        self.first = nn.ModuleList(Linear(width, width) for _ in range(n_blocks))
        self.second = nn.ModuleList(Linear(width, width, gain=0.0) for _ in range(n_blocks))
        self.films = nn.ModuleList(
            Linear(n_condition, 2 * width, gain=0.0) for _ in range(n_blocks if n_condition else 0)
        )
        self.output = Linear(width, n_out)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Maps `(n, n_in)`, with a condition `(n, n_condition)` if there is one."""
        x = self.input(x)
        for i, (first, second) in enumerate(zip(self.first, self.second, strict=True)):
            inner = self.norms[i](x) if self.norms else x
            inner = first(self.activation(inner))
            if self.films:
                scale, shift = self.films[i](condition).chunk(2, dim=1)
                inner = torch.addcmul(inner + shift, inner, scale)
            x = x + second(self.activation(inner))
        return self.output(self.activation(x))


def sinusoidal_embedding(t: Tensor, dim: int, *, max_period: float = 10_000.0) -> Tensor:
    """Sines and cosines of t at `dim / 2` frequencies from 1 down to 1 / max_period, log-spaced.

    Args:
        t: Positions `(n,)`.
        dim: Even number of features.
        max_period: The longest wave is 2 pi times this.

    Returns:
        Features `(n, dim)` (Vaswani et al. 2017, section 3.5).
    """
    half = dim // 2
    exponent = torch.arange(half, dtype=t.dtype, device=t.device) / max(1, half - 1)
    angle = t[:, None] * torch.exp(-math.log(max_period) * exponent)
    return torch.cat((angle.sin(), angle.cos()), dim=1)


def fourier_features(x: Tensor, n_octaves: int) -> Tensor:
    """x itself followed by sin and cos of x 2^k, k = 0 .. n_octaves - 1.

    They let a perceptron resolve fine structure in few dimensions (Tancik et al. 2020).

    Args:
        x: Inputs `(..., d)`.
        n_octaves: Number of frequencies; 0 returns x.

    Returns:
        Features `(..., d (1 + 2 n_octaves))`.
    """
    if n_octaves == 0:
        return x
    waves = [x * 2.0**k for k in range(n_octaves)]
    return torch.cat([x, *(w.sin() for w in waves), *(w.cos() for w in waves)], dim=-1)
