"""What models of token sequences share, and the oracle they are measured with."""

from __future__ import annotations

import itertools

import pytest
import torch
from criteria.sequences import (
    END,
    LSTMOracle,
    expressions,
    share_valid,
)

from evogen.models.layers import initialize
from evogen.models.sequences import (
    TextCNN,
    TokenLSTM,
    counted,
    draw_tokens,
    fill_behind_end,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def network() -> TokenLSTM:
    made = TokenLSTM(4, 5, 6, n_condition=2)
    initialize(made, generator())
    return made


def test_a_sequence_ends_with_its_first_end_token():
    tokens = torch.tensor([[1, 9, 2, 9], [9, 1, 1, 1], [1, 2, 3, 4]])
    assert counted(tokens, 9).tolist() == [[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]]
    assert fill_behind_end(tokens, 9).tolist() == [[1, 9, 9, 9], [9, 9, 9, 9], [1, 2, 3, 4]]
    assert bool(counted(tokens, None).all())
    assert torch.equal(fill_behind_end(tokens, None), tokens)


@pytest.mark.parametrize("temperature", [1.0, 0.5, 3.0])
def test_tokens_are_drawn_with_their_probabilities(temperature):
    """An even grid of numbers in [0, 1) gives every token its share exactly."""
    logits = torch.tensor([0.3, -1.0, 2.0, 0.0])
    n = 10_000
    even = (torch.arange(n) + 0.5) / n
    drawn = draw_tokens(logits.expand(n, -1), even, temperature)
    share = torch.bincount(drawn, minlength=4) / n
    assert torch.allclose(share, torch.softmax(logits / temperature, 0), atol=1e-3)


def test_temperature_0_takes_the_most_probable_token_and_impossible_ones_are_never_drawn():
    logits = torch.tensor([[0.0, 3.0, -torch.inf]])
    assert draw_tokens(logits, torch.tensor([0.0]), 0.0).item() == 1
    assert draw_tokens(logits, torch.tensor([1 - 2**-20])).item() == 1
    first_impossible = torch.tensor([[-torch.inf, 0.0, 0.0]])
    assert draw_tokens(first_impossible, torch.tensor([0.0])).item() == 1


def test_steps_of_the_lstm_equal_its_run_over_the_whole_sequence(network):
    tokens = torch.randint(4, (3, 5), generator=generator())
    condition = torch.randn(3, 2, generator=generator())
    whole = network(tokens, condition)
    logits, state = network.start(3, condition)
    for i in range(5):
        assert torch.allclose(logits, whole[:, i], atol=1e-6)
        logits, state = network.step(tokens[:, i], state, condition)


def test_what_is_drawn_has_the_probability_that_log_probs_tells(network):
    condition = torch.ones(1, 2)
    every = torch.tensor(list(itertools.product(range(4), repeat=2)))
    told = network.log_probs(every, condition.expand(16, -1)).sum(1).exp().detach()
    assert float(told.sum()) == pytest.approx(1, abs=1e-5)
    uniforms = torch.rand(40_000, 2, generator=generator())
    drawn = network.sample(uniforms, condition.expand(40_000, -1))
    share = torch.bincount(drawn[:, 0] * 4 + drawn[:, 1], minlength=16) / 40_000
    # Standard error of a share of 1/16: 0.0012.
    assert torch.allclose(share, told, atol=5e-3)


def test_the_lstm_looks_only_back(network):
    tokens = torch.randint(4, (2, 6), generator=generator())
    changed = tokens.clone()
    changed[:, 3] = (changed[:, 3] + 1) % 4
    a, b = network(tokens), network(changed)
    assert torch.equal(a[:, :4], b[:, :4])
    assert not torch.equal(a[:, 4], b[:, 4])


def test_the_convolutions_see_neighbours_wherever_they_stand():
    """Maxima over the sequence: a pattern counts, not its place."""
    network = TextCNN(5, 6, n_embedding=4, widths=(1, 2, 9), n_filters=8)
    initialize(network, generator())
    assert len(network.convolutions) == 2, "a convolution wider than the sequence is left out"
    a, b, c = torch.tensor([[0, 0, 3, 4, 0, 0], [0, 0, 0, 3, 4, 0], [0, 0, 4, 3, 0, 0]])
    on_a, on_b, on_c = (network(x[None]) for x in (a, b, c))
    assert torch.allclose(on_a, on_b, atol=1e-6)
    assert not torch.allclose(on_a, on_c, atol=1e-4)
    short = TextCNN(5, 1, n_embedding=4, widths=(2, 3), n_filters=8)
    initialize(short, generator())
    assert short(a[:1, None]).shape == (1,)


def test_the_oracle_is_the_same_again_and_prefers_its_own():
    oracle = LSTMOracle(1, n_tokens=50, length=6)
    own = oracle.sample(500, 1)
    assert torch.equal(own, LSTMOracle(1, n_tokens=50, length=6).sample(500, 1))
    assert not torch.equal(own, oracle.sample(500, 2))
    assert oracle.nll(own) == LSTMOracle(1, n_tokens=50, length=6).nll(own)
    random = torch.randint(50, (500, 6), generator=generator())
    assert oracle.nll(own) < oracle.nll(random) - 1
    assert LSTMOracle(2, n_tokens=50, length=6).nll(own) > oracle.nll(own) + 1


def test_expressions_are_valid_and_damaged_ones_are_not():
    tokens = expressions(300, 0)
    assert share_valid(tokens) == 1
    assert bool((tokens[:, -1] == END).all())
    damaged = tokens.clone()
    damaged[:, 1] = tokens[:, 0]
    assert share_valid(damaged) == 0
    assert share_valid(torch.full((2, 8), END)) == 0
