"""Two-dimensional toy distributions: each draws n rows from a generator that the caller passes."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from evogen.models.checks import check_number
from evogen.models.rng import integers, normal, uniform

RING_STD = 0.01
GRID_STD = 0.05


def ring_modes() -> Tensor:
    """The 8 modes of `ring` on the unit circle, `(8, 2)`."""
    angle = torch.arange(8) * (2 * math.pi / 8)
    return torch.stack((angle.cos(), angle.sin()), dim=1)


def grid_modes() -> Tensor:
    """The 25 modes of `grid`, {-4, -2, 0, 2, 4}^2, `(25, 2)`."""
    side = torch.arange(-4.0, 5.0, 2.0)
    return torch.cartesian_prod(side, side)


def ring(n: int, generator: torch.Generator) -> Tensor:
    """Eight Gaussians of standard deviation 0.01 on the unit circle (Srivastava et al. 2017).

    Args:
        n: Number of rows, >= 0.
        generator: Source of all random numbers.

    Returns:
        Float32 `(n, 2)`; the same form as of every function here.
    """
    return _around(ring_modes(), RING_STD, n, generator)


def grid(n: int, generator: torch.Generator) -> Tensor:
    """25 Gaussians of standard deviation 0.05 on a 5 x 5 grid of spacing 2."""
    return _around(grid_modes(), GRID_STD, n, generator)


def _around(modes: Tensor, std: float, n: int, generator: torch.Generator) -> Tensor:
    check_number("n", n, low=0, integer=True)
    chosen = integers(len(modes), (n,), generator).cpu()
    return modes[chosen] + std * normal((n, 2), generator).cpu()


def pinwheel(n: int, generator: torch.Generator, *, n_arms: int = 5) -> Tensor:
    """Curved arms around the centre (Johnson et al. 2016), within about 2 of it.

    Args:
        n: Number of rows, >= 0.
        generator: Source of all random numbers.
        n_arms: Number of arms, equally likely.
    """
    check_number("n", n, low=0, integer=True)
    check_number("n_arms", n_arms, low=1, integer=True)
    arm = integers(n_arms, (n,), generator).cpu()
    along, across = (normal((n, 2), generator).cpu() * torch.tensor([0.3, 0.1])).unbind(1)
    along = 1 + along
    # The farther out, the more it is turned.
    angle = 2 * math.pi / n_arms * arm + 0.25 * along.exp()
    x = along * angle.cos() - across * angle.sin()
    return torch.stack((x, along * angle.sin() + across * angle.cos()), dim=1)


def two_moons(n: int, generator: torch.Generator, *, noise: float = 0.05) -> Tensor:
    """Two half circles that reach into one another.

    The upper one is (cos t, sin t), the lower one (1 - cos t, 1/2 - sin t), t in [0, pi].

    Args:
        n: Number of rows, >= 0.
        generator: Source of all random numbers.
        noise: Standard deviation around the curves.
    """
    check_number("n", n, low=0, integer=True)
    check_number("noise", noise, low=0)
    lower = integers(2, (n,), generator).cpu()
    t = math.pi * uniform((n,), generator).cpu()
    sign = 1 - 2 * lower
    curve = torch.stack((lower + sign * t.cos(), 0.5 * lower + sign * t.sin()), dim=1)
    return curve + noise * normal((n, 2), generator).cpu()


def swiss_roll(n: int, generator: torch.Generator, *, noise: float = 0.05) -> Tensor:
    """A spiral of one and a half turns, (t cos t, t sin t) / 4 with t in [3 pi / 2, 9 pi / 2].

    Args:
        n: Number of rows, >= 0.
        generator: Source of all random numbers.
        noise: Standard deviation around the curve.
    """
    check_number("n", n, low=0, integer=True)
    check_number("noise", noise, low=0)
    t = 1.5 * math.pi * (1 + 2 * uniform((n,), generator).cpu())
    curve = torch.stack((t * t.cos(), t * t.sin()), dim=1) / 4
    return curve + noise * normal((n, 2), generator).cpu()


def checkerboard(n: int, generator: torch.Generator) -> Tensor:
    """Uniform on the 8 dark squares, of side 2, of a 4 x 4 board on [-4, 4]^2.

    The square at the lower left, [-4, -2]^2, is dark.
    """
    check_number("n", n, low=0, integer=True)
    square = integers(8, (n,), generator).cpu()
    column = square % 4
    row = 2 * (square // 4) + column % 2
    corner = torch.stack((column, row), dim=1) * 2.0 - 4.0
    return corner + 2 * uniform((n, 2), generator).cpu()


TOYS: dict[str, Callable[[int, torch.Generator], Tensor]] = {
    "ring": ring,
    "grid": grid,
    "pinwheel": pinwheel,
    "two-moons": two_moons,
    "swiss-roll": swiss_roll,
    "checkerboard": checkerboard,
}
"""All of them by name."""
