"""The toy distributions: seeded, and where they should be."""

from __future__ import annotations

import math

import pytest
import torch

from evogen.models import toys


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", sorted(toys.TOYS))
def test_every_toy_gives_rows_that_its_generator_decides(name):
    draw = toys.TOYS[name]
    x = draw(500, generator())
    assert x.shape == (500, 2)
    assert x.dtype == torch.float32
    assert torch.isfinite(x).all()
    assert x.abs().max() < 6
    assert torch.equal(x, draw(500, generator()))
    assert not torch.equal(x, draw(500, generator(1)))
    assert draw(0, generator()).shape == (0, 2)
    with pytest.raises(ValueError, match="n must be at least 0; got -1"):
        draw(-1, generator())


@pytest.mark.parametrize(
    ("draw", "modes", "std"),
    [
        (toys.ring, toys.ring_modes(), toys.RING_STD),
        (toys.grid, toys.grid_modes(), toys.GRID_STD),
    ],
)
def test_modes_are_equally_likely_and_have_their_spread(draw, modes, std):
    x = draw(20_000, generator())
    distance, nearest = torch.cdist(x, modes).min(dim=1)
    share = torch.bincount(nearest, minlength=len(modes)).double() / len(x)
    assert ((share * len(modes) - 1).abs() < 0.15).all()
    # The squared distance of a Gaussian in two dimensions is 2 s^2 on average.
    assert float(distance.double().square().mean()) == pytest.approx(2 * std**2, rel=0.05)


def test_the_modes_are_those_of_the_papers():
    assert torch.allclose(toys.ring_modes().norm(dim=1), torch.ones(8))
    assert torch.allclose(toys.ring_modes()[0], torch.tensor([1.0, 0.0]))
    assert toys.grid_modes().unique().tolist() == [-4, -2, 0, 2, 4]
    assert torch.unique(toys.grid_modes(), dim=0).shape == (25, 2)


def test_the_checkerboard_fills_its_dark_squares_only():
    x = toys.checkerboard(8000, generator())
    cell = torch.floor((x + 4) / 2).long()
    assert ((cell >= 0) & (cell <= 3)).all()
    assert ((cell.sum(dim=1) % 2) == 0).all()
    count = torch.bincount(4 * cell[:, 0] + cell[:, 1], minlength=16)
    assert int((count > 800).sum()) == 8


def test_moons_and_roll_lie_on_their_curves():
    x = toys.two_moons(2000, generator(), noise=0.0)
    upper = (x.norm(dim=1) - 1).abs() + (x[:, 1] < -1e-5)
    shifted = x - torch.tensor([1.0, 0.5])
    lower = (shifted.norm(dim=1) - 1).abs() + (shifted[:, 1] > 1e-5)
    assert (torch.minimum(upper, lower) < 1e-5).all()
    assert 800 < int((upper < 1e-5).sum()) < 1200
    roll = 4 * toys.swiss_roll(500, generator(), noise=0.0)
    t = roll.norm(dim=1)
    assert t.min() >= 1.5 * math.pi - 1e-4
    assert t.max() <= 4.5 * math.pi + 1e-4
    turned = torch.stack((t * t.cos(), t * t.sin()), dim=1)
    assert torch.allclose(roll, turned, atol=1e-3)


@pytest.mark.parametrize("n_arms", [3, 5])
def test_the_pinwheel_looks_alike_after_a_turn_by_one_arm(n_arms):
    x = toys.pinwheel(20_000, generator(), n_arms=n_arms).double()
    # The mean of the n-th power of x + i y is what such a turn leaves; lower powers vanish.
    z = torch.complex(x[:, 0], x[:, 1])
    moments = [float((z**k).mean().abs()) for k in range(1, n_arms + 1)]
    assert moments[-1] > 0.3
    assert max(moments[:-1]) < 0.1 * moments[-1] + 0.05
