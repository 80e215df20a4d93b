"""Layers whose weights come from a generator that the caller passes, never torch's global one.

They are torch's own, built with empty weights; `initialize` fills all those inside a module.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evogen.models.rng import normal, uniform


class Drawn:
    """A layer that leaves its weights to `initialize`.

    Attributes:
        gain: Factor on the initial weights; 0 makes the layer start as the constant 0.
    """

    gain: float = 1.0

    def reset_parameters(self) -> None:
        """Does nothing: torch would draw from its global generator here."""

    def draw_weights(self, generator: torch.Generator) -> None:
        """Fills the weights: uniform in +-gain / sqrt(number of inputs), torch's own rule."""
        fan_in = self.fan_in
        for weight in self.parameters(recurse=False):  # type: ignore[attr-defined]
            bound = self.gain / math.sqrt(max(1, fan_in))
            drawn = uniform(tuple(weight.shape), generator, device=weight.device)
            weight.copy_(drawn.mul_(2 * bound).sub_(bound))

    fan_in: int
    """Number of inputs of one output."""


class Linear(Drawn, nn.Linear):
    """A linear layer.

    Args:
        n_in: Number of inputs.
        n_out: Number of outputs.
        gain: Factor on the initial weights; 0 makes the layer start as the constant 0.
        bias: Whether a constant is added.
    """

    def __init__(self, n_in: int, n_out: int, *, gain: float = 1.0, bias: bool = True) -> None:
        self.gain = gain
        nn.Linear.__init__(self, n_in, n_out, bias=bias)

    @property
    def fan_in(self) -> int:  # type: ignore[override]
        """Number of inputs of one output."""
        return self.in_features


class Conv2d(Drawn, nn.Conv2d):
    """A convolution over images.

    Args:
        n_in: Number of input channels.
        n_out: Number of output channels.
        kernel: Height and width of the kernel.
        gain: Factor on the initial weights; 0 makes the layer start as the constant 0.
        **kwargs: As for `torch.nn.Conv2d`: stride, padding, groups, bias, ...
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel: int | tuple[int, int],
        *,
        gain: float = 1.0,
        **kwargs: Any,
    ) -> None:
        self.gain = gain
        nn.Conv2d.__init__(self, n_in, n_out, kernel, **kwargs)

    @property
    def fan_in(self) -> int:  # type: ignore[override]
        """Number of inputs of one output."""
        return self.weight[0].numel()


class ConvTranspose2d(Drawn, nn.ConvTranspose2d):
    """A transposed convolution over images; arguments as for `Conv2d`."""

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel: int | tuple[int, int],
        *,
        gain: float = 1.0,
        **kwargs: Any,
    ) -> None:
        self.gain = gain
        nn.ConvTranspose2d.__init__(self, n_in, n_out, kernel, **kwargs)

    @property
    def fan_in(self) -> int:  # type: ignore[override]
        """Number of inputs of one output, about: the kernel's entries that meet one place."""
        overlap = math.prod(k / s for k, s in zip(self.kernel_size, self.stride, strict=True))
        return max(1, round(self.in_channels * overlap))


class Embedding(Drawn, nn.Embedding):
    """A table of vectors, one per token.

    Args:
        n_tokens: Size of the vocabulary.
        dim: Size of a vector.
        gain: Standard deviation of the initial numbers, which are normal.
    """

    def __init__(self, n_tokens: int, dim: int, *, gain: float = 1.0) -> None:
        self.gain = gain
        nn.Embedding.__init__(self, n_tokens, dim)

    def draw_weights(self, generator: torch.Generator) -> None:
        """Fills the table with normal numbers."""
        shape = tuple(self.weight.shape)
        self.weight.copy_(self.gain * normal(shape, generator, device=self.weight.device))


class LSTM(Drawn, nn.LSTM):
    """A recurrent network (Hochreiter and Schmidhuber 1997) over `(n, t, d)`.

    Args:
        n_in: Size of an input.
        n_hidden: Size of the state.
        gain: Factor on the initial weights.
        **kwargs: As for `torch.nn.LSTM`: num_layers, bidirectional, ...
    """

    def __init__(self, n_in: int, n_hidden: int, *, gain: float = 1.0, **kwargs: Any) -> None:
        self.gain = gain
        nn.LSTM.__init__(self, n_in, n_hidden, batch_first=True, **kwargs)

    @property
    def fan_in(self) -> int:  # type: ignore[override]
        """Size of the state, by which torch too scales all of this layer's weights."""
        return self.hidden_size


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017, section 3.2) of a sequence to one.

    Args:
        dim: Size of an item of the sequence; a multiple of n_heads.
        n_heads: Number of heads.
        n_context: Size of an item of the sequence attended to; None for self-attention.
        gain: Of the output layer; 0 makes the layer start as the constant 0.
    """

    def __init__(
        self, dim: int, n_heads: int, *, n_context: int | None = None, gain: float = 1.0
    ) -> None:
        super().__init__()
        if dim % n_heads:
            raise ValueError(f"dim must be a multiple of n_heads; got {dim} and {n_heads}")
        self.n_heads = n_heads
        self.query = Linear(dim, dim)
        self.keys_values = Linear(dim if n_context is None else n_context, 2 * dim)
        self.output = Linear(dim, dim, gain=gain)

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        causal: bool = False,
    ) -> Tensor:
        """Attends from `(n, t, dim)`.

        Args:
            x: Where from.
            context: Where to, `(n, s, n_context)`; None for x itself.
            mask: Boolean, true where attention is allowed; broadcast to `(n, n_heads, t, s)`.
            causal: Whether place i attends to places <= i only; without a mask.
        """

        def heads(a: Tensor) -> Tensor:
            return a.unflatten(2, (self.n_heads, -1)).transpose(1, 2)

        keys, values = self.keys_values(x if context is None else context).chunk(2, dim=2)
        attended = F.scaled_dot_product_attention(
            heads(self.query(x)), heads(keys), heads(values), attn_mask=mask, is_causal=causal
        )
        return self.output(attended.transpose(1, 2).flatten(2))


def initialize(module: nn.Module, generator: torch.Generator) -> None:
    """Fills every `Drawn` layer inside a module, in the order of their registration."""
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, Drawn):
                layer.draw_weights(generator)
