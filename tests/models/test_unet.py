"""The U-Net: sizes, what it looks at, and where it starts."""

from __future__ import annotations

import pytest
import torch

from evogen.models.layers import Drawn, initialize
from evogen.models.rng import normal
from evogen.models.unet import AttentionBlock, ResidualBlock, RowUNet, UNet


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def awake(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """The module with random weights everywhere, also where a new one has zeros."""
    initialize(module, generator(seed))
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, Drawn) and layer.gain == 0:
                layer.weight.copy_(0.1 * normal(tuple(layer.weight.shape), generator(seed + 1)))
    return module.eval()


@pytest.fixture(scope="module")
def reader() -> UNet:
    """A network that reads a context of items of 5 numbers."""
    return awake(UNet(1, 1, 3, channels=(8, 16), n_context=5))


@pytest.mark.parametrize("size", [(4, 4), (5, 7), (8, 8), (9, 6), (1, 1)])
@pytest.mark.parametrize("channels", [(8,), (4, 8), (4, 6, 8)])
def test_pictures_of_any_size_keep_it(size, channels):
    network = awake(UNet(2, 3, 4, channels=channels, n_blocks=2, n_attention=2))
    for n in (1, 3):
        out = network(torch.ones(n, 2, *size), torch.ones(n, 4))
        assert out.shape == (n, 3, *size)
        assert torch.isfinite(out).all()


def test_a_new_network_is_zero_and_its_blocks_do_nothing():
    network, block, attention = UNet(1, 2, 3), ResidualBlock(8, 8, 4), AttentionBlock(8)
    for module in (network, block, attention):
        initialize(module, generator())
    x = torch.randn(2, 8, 5, 5, generator=generator())
    assert torch.equal(attention(x), x)
    # The last convolution's weights are 0, and so is its bias.
    assert torch.equal(block(x, torch.ones(2, 4)), x)
    out = network(torch.randn(2, 1, 8, 8, generator=generator()), torch.ones(2, 3))
    assert torch.equal(out, torch.zeros(2, 2, 8, 8))


def test_every_parameter_matters(reader):
    x, e = torch.randn(2, 1, 8, 8, generator=generator()), torch.ones(2, 3)
    context = torch.randn(2, 4, 5, generator=generator())
    reader(x, e, context).square().sum().backward()
    for name, parameter in reader.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_the_lowest_resolutions_attend():
    def n_attentions(n: int) -> int:
        network = UNet(1, 1, 3, channels=(8, 8, 8), n_attention=n)
        return sum(isinstance(m, AttentionBlock) for m in network.modules())

    # One on the way down and one on the way up at each of them, and one in the middle.
    assert [n_attentions(n) for n in (0, 1, 2, 3)] == [1, 3, 5, 7]


def test_embedding_and_context_change_the_output_of_their_own_row_only(reader):
    x, e = torch.randn(2, 1, 6, 6, generator=generator()), torch.zeros(2, 3)
    context = torch.randn(2, 4, 5, generator=generator())
    out = reader(x, e, context)
    other_e, other_context = e.clone(), context.clone()
    other_e[1, 0] = 1.0
    other_context[1, 2] += 1.0
    for changed in (reader(x, other_e, context), reader(x, e, other_context)):
        assert torch.allclose(changed[0], out[0], atol=1e-6)
        assert (changed[1] - out[1]).abs().max() > 1e-4


def test_what_is_masked_is_not_seen(reader):
    x, e = torch.randn(2, 1, 6, 6, generator=generator()), torch.zeros(2, 3)
    context = torch.randn(2, 4, 5, generator=generator())
    mask = torch.tensor([[True, True, False, False], [True, False, False, False]])
    out = reader(x, e, context, mask)
    garbage = torch.where(mask[:, :, None], context, 100.0)
    assert torch.allclose(reader(x, e, garbage, mask), out, atol=1e-6)
    assert torch.allclose(reader(x[:1], e[:1], context[:1, :2]), out[:1], atol=1e-5)
    assert not torch.allclose(reader(x, e, context), out, atol=1e-3)


def test_a_wholly_masked_context_is_as_good_as_none(reader):
    x, e = torch.randn(2, 1, 6, 6, generator=generator()), torch.zeros(2, 3)
    context = torch.randn(2, 4, 5, generator=generator())
    out = reader(x, e, context, torch.zeros(2, 4, dtype=torch.bool))
    assert torch.isfinite(out).all()
    assert torch.allclose(out, reader(x, e), atol=1e-5)


def test_rows_are_pictures_that_lie_flat():
    network = awake(RowUNet((2, 4, 5), 3, 4, channels=(8,)))
    x, e = torch.randn(3, 40, generator=generator()), torch.ones(3, 4)
    assert torch.equal(network(x, e), network.unet(x.view(3, 2, 4, 5), e).flatten(1))


def test_channels_last_gives_the_same(reader):
    x, e = torch.randn(2, 1, 6, 6, generator=generator()), torch.zeros(2, 3)
    last = x.contiguous(memory_format=torch.channels_last)
    assert torch.allclose(reader(last, e), reader(x, e), atol=1e-5)


def test_weights_come_from_the_generator_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, second = (awake(UNet(1, 1, 3, n_context=2)) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
