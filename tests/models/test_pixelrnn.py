"""Tests of PixelRNN; `test_pixels` has what all such models promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from evogen.models.layers import initialize
from evogen.models.pixelrnn import DiagonalBiLSTM, PixelRNN, RowLSTM, cell, skew, unskew


def layer_of(kind):
    layer = kind(3, 3, 1, 0)
    initialize(layer, torch.Generator().manual_seed(0))
    return layer, torch.randn(2, 6, 4, 5, generator=torch.Generator().manual_seed(1))


def gradient(layer, x, i, j, function):
    x = x.clone().requires_grad_(True)
    picked = function(x)[0, :, i, j]
    weights = torch.randn(len(picked), generator=torch.Generator().manual_seed(2))
    return torch.autograd.grad((picked * weights).sum(), x)[0][0].abs().sum(dim=0)


def test_a_skewed_map_has_row_i_moved_by_i_and_comes_back():
    x = torch.arange(6.0).view(1, 1, 2, 3) + 1
    assert skew(x).tolist() == [[[[1, 2, 3, 0], [0, 4, 5, 6]]]]
    y = torch.randn(2, 3, 4, 5)
    assert torch.equal(unskew(skew(y, fill=-1.0)), y)
    assert torch.equal(unskew(skew(y.mT.contiguous())), y.mT)


def test_the_cell_is_that_of_an_lstm():
    gates, c = torch.randn(2, 12), torch.randn(2, 3)
    o, f, i, g = gates.chunk(4, dim=1)
    h, new = cell(gates, c, dim=1)
    assert torch.allclose(new, f.sigmoid() * c + i.sigmoid() * g.tanh())
    assert torch.allclose(h, o.sigmoid() * new.tanh())


@torch.no_grad()
def test_a_row_lstm_is_the_paper_s_recurrence_pixel_by_pixel():
    layer, x = layer_of(RowLSTM)
    gates = layer.from_input(F.pad(x, (1, 0)))
    h, c = torch.zeros(2, 3, 5, 7), torch.zeros(2, 3, 5, 7)  # a row and columns of zeros around
    for i in range(4):
        for j in range(5):
            of_above = torch.einsum(
                "npk,gpk->ng", h[:, :, i, j : j + 3], layer.from_state.weight[:, :, 0]
            )
            pair = cell(gates[:, :, i, j] + of_above, c[:, :, i, j + 1], dim=1)
            h[:, :, i + 1, j + 1], c[:, :, i + 1, j + 1] = pair
    assert torch.allclose(layer.hidden(x, torch.zeros(1)), h[:, :, 1:, 1:-1], atol=1e-6)


@torch.no_grad()
def test_a_diagonal_lstm_is_the_paper_s_recurrence_pixel_by_pixel():
    layer, x = layer_of(DiagonalBiLSTM)
    both = layer.directions(x, torch.zeros(1))
    parts = layer.from_input(x).chunk(2, dim=1)
    for k, (gates, weights) in enumerate(
        zip(parts, (layer.from_left, layer.from_right), strict=True)
    ):
        gates = gates.flip(3) if k else gates
        h, c = torch.zeros(2, 3, 5, 6), torch.zeros(2, 3, 5, 6)
        for i in range(4):
            for j in range(5):
                states = torch.cat((h[:, :, i, j + 1], h[:, :, i + 1, j]), dim=1)
                pair = cell(gates[:, :, i, j] + weights(states), c[:, :, i + 1, j], dim=1)
                h[:, :, i + 1, j + 1], c[:, :, i + 1, j + 1] = pair
        expected = h[:, :, 1:, 1:].flip(3) if k else h[:, :, 1:, 1:]
        assert torch.allclose(both[k], expected, atol=1e-6)


def test_one_diagonal_layer_sees_everything_before_and_a_row_layer_a_triangle():
    layer, x = layer_of(DiagonalBiLSTM)
    seen = gradient(layer, x, 2, 1, lambda x: layer.hidden(x, torch.zeros(1))) > 0
    assert seen.int().tolist() == [[1] * 5, [1] * 5, [1, 1, 0, 0, 0], [0] * 5]
    layer, x = layer_of(RowLSTM)
    seen = gradient(layer, x, 2, 1, lambda x: layer.hidden(x, torch.zeros(1))) > 0
    assert seen.int().tolist() == [[1, 1, 1, 1, 0], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0], [0] * 5]


def test_a_second_direction_that_is_not_moved_down_sees_the_future():
    layer, x = layer_of(DiagonalBiLSTM)

    def unmoved(x):
        left, right = layer.directions(x, torch.zeros(1))
        return left + right

    assert float(gradient(layer, x, 2, 1, unmoved)[2, 2:].min()) > 0
    moved = gradient(layer, x, 2, 1, lambda x: layer.hidden(x, torch.zeros(1)))
    assert float(moved[2, 2:].max()) == 0.0


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="kind must be one of 'row', 'diagonal'; got 'rows'"):
        PixelRNN(kind="rows")


@pytest.mark.parametrize("kind", ["row", "diagonal"])
def test_a_condition_of_numbers_moves_every_layer(kind):
    x = torch.as_tensor(np.random.default_rng(0).integers(2, size=(10, 1, 3, 3))).float()
    model = PixelRNN(kind=kind, n_steps=2, width=6).fit(x, np.linspace(0, 1, 10)[:, None])
    shifts = [s for _, s in model.sampler("network").lstm_layers(torch.ones(1, 1))]
    assert len(shifts) == model.n_layers
    assert all(bool((s != 0).all()) for s in shifts)
