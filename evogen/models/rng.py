"""Random numbers for the models: every draw names its generator, none is global.

A draw happens on the generator's own device and is moved to where it is needed, so that one CPU
generator gives the same numbers to a model on any device.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def seeded_generator(seed: int, *stream: int) -> torch.Generator:
    """A new CPU generator for one stream of a seed.

    Args:
        seed: The seed, an integer >= 0.
        *stream: Integers >= 0 that name the stream; different streams are independent.
    """
    words = np.random.SeedSequence([seed, *stream]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(words[0]))


def normal(
    shape: tuple[int, ...],
    generator: torch.Generator,
    *,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Standard normal numbers of the given shape."""
    drawn = torch.randn(shape, generator=generator, device=generator.device, dtype=dtype)
    return drawn if device is None else drawn.to(device)


def uniform(
    shape: tuple[int, ...],
    generator: torch.Generator,
    *,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Numbers uniform in [0, 1) of the given shape."""
    drawn = torch.rand(shape, generator=generator, device=generator.device, dtype=dtype)
    return drawn if device is None else drawn.to(device)


def integers(
    high: int,
    shape: tuple[int, ...],
    generator: torch.Generator,
    *,
    device: torch.device | None = None,
) -> Tensor:
    """Integers uniform in {0, ..., high - 1} of the given shape."""
    drawn = torch.randint(high, shape, generator=generator, device=generator.device)
    return drawn if device is None else drawn.to(device)


def batch_indices(
    n_rows: int,
    n_batches: int,
    batch_size: int,
    generator: torch.Generator,
    *,
    device: torch.device | None = None,
) -> Tensor:
    """Row numbers of consecutive batches, one random permutation of all rows after the other.

    Every row is used equally often up to one; a batch may reach over the end of an epoch.

    Returns:
        Integers `(n_batches, batch_size)`.
    """
    n_epochs = -(-n_batches * batch_size // n_rows)
    order = torch.argsort(uniform((n_epochs, n_rows), generator), dim=1).reshape(-1)
    chosen = order[: n_batches * batch_size].view(n_batches, batch_size)
    return chosen if device is None else chosen.to(device)
