"""Networks: shapes, conditioning, initial weights."""

from __future__ import annotations

import pytest
import torch

from evogen.models.checks import check_choice
from evogen.models.layers import initialize
from evogen.models.networks import (
    MLP,
    ResidualMLP,
    fourier_features,
    sinusoidal_embedding,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_initial_weights_come_from_the_generator_within_torchs_bound():
    a, b, c = MLP(9, 2), MLP(9, 2), MLP(9, 2)
    for net, seed in ((a, 0), (b, 0), (c, 1)):
        initialize(net, generator(seed))
    assert torch.equal(a.output.weight, b.output.weight)
    assert not torch.equal(a.output.weight, c.output.weight)
    first = a.layers[0].weight.detach()
    assert first.abs().max() <= 1 / 3
    assert float(first.std()) == pytest.approx(1 / 3 / 3**0.5, rel=0.1)


@pytest.mark.parametrize("norm", [None, "batch", "layer"])
@pytest.mark.parametrize("conditioning", ["concat", "film"])
def test_the_condition_reaches_the_output(norm, conditioning):
    net = MLP(3, 2, hidden=(8, 8), norm=norm, n_condition=2, conditioning=conditioning)
    initialize(net, generator())
    if conditioning == "film":
        for film in net.films:
            film.weight.data.normal_(generator=generator())
    net.eval()
    x, c = torch.randn(4, 3, generator=generator()), torch.randn(4, 2, generator=generator())
    assert net(x, c).shape == (4, 2)
    assert not torch.equal(net(x, c), net(x, c + 1))


def test_film_starts_as_if_there_were_no_condition():
    net = MLP(3, 2, hidden=(8,), n_condition=2, conditioning="film")
    initialize(net, generator())
    x = torch.randn(4, 3, generator=generator())
    assert torch.equal(net(x, torch.zeros(4, 2)), net(x, torch.ones(4, 2)))


def test_a_new_residual_network_is_linear_in_its_first_layer():
    net = ResidualMLP(3, 2, width=16, n_blocks=3, n_condition=1)
    initialize(net, generator())
    x, c = torch.randn(5, 3, generator=generator()), torch.ones(5, 1)
    assert torch.allclose(net(x, c), net.output(net.activation(net.input(x))))


def test_batch_norm_takes_one_row():
    net = MLP(3, 2, norm="batch", output_norm=True).train()
    initialize(net, generator())
    assert torch.isfinite(net(torch.ones(1, 3))).all()


def test_output_activation_bounds_the_output():
    net = MLP(3, 2, output="sigmoid", output_norm=True, norm="layer")
    initialize(net, generator())
    y = net(100 * torch.randn(50, 3, generator=generator()))
    assert ((y >= 0) & (y <= 1)).all()


def test_sinusoidal_embedding_has_unit_norm_per_frequency():
    e = sinusoidal_embedding(torch.tensor([0.0, 3.5, 999.0]), 8)
    assert torch.allclose(e[:, :4].square() + e[:, 4:].square(), torch.ones(3, 4))
    assert torch.allclose(e[0], torch.tensor([0.0] * 4 + [1.0] * 4))
    assert torch.allclose(e[1, 0], torch.tensor(3.5).sin())


def test_fourier_features_start_with_x_and_double_the_frequency():
    x = torch.tensor([[0.3, -1.0]])
    f = fourier_features(x, 2)
    assert torch.allclose(f, torch.cat((x, x.sin(), (2 * x).sin(), x.cos(), (2 * x).cos()), 1))
    assert fourier_features(x, 0) is x


def test_a_perceptron_with_octaves_is_one_of_the_features_beside_the_condition():
    x, condition = torch.randn(7, 2, generator=generator()), torch.ones(7, 1)
    net = MLP(2, 3, n_octaves=2, n_condition=1)
    plain = MLP(10, 3, n_condition=1)
    initialize(net, generator())
    plain.load_state_dict(net.state_dict())
    assert torch.equal(net(x, condition), plain(fourier_features(x, 2), condition))


def test_a_misspelt_choice_gets_the_near_one():
    with pytest.raises(ValueError, match=r"activation must be one of .*did you mean 'tanh'"):
        check_choice("activation", "tanhh", ("relu", "tanh"))
