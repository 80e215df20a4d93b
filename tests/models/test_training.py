"""The training loop and flat weights: what every neural model relies on."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from evogen.models import VAE, EarlyStopping, Objective, TrainingDiverged, Weights
from evogen.models.layers import initialize
from evogen.models.networks import MLP
from evogen.models.optimizers import Adam
from evogen.models.rng import batch_indices
from evogen.models.training import schedule_factor, train


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small_net() -> MLP:
    net = MLP(3, 2, hidden=(5,), norm="layer", n_condition=1)
    initialize(net, generator())
    return net


def regression(net: nn.Module, **settings: object) -> Objective:
    """Fit y = 2 x with a linear network."""
    weights = Weights(net, ema_decay=settings.pop("ema_decay", 0.0))

    def draw(n, generator):
        return torch.randn(n, 16, 1, generator=generator), None

    def loss(x, nothing):
        assert nothing is None
        return (weights.module(x) - 2 * x).square().mean()

    optimizer = Adam(weights.flat, weights.grad, lr=settings.pop("lr", 0.05))
    return Objective("loss", weights, optimizer, loss, draw, **settings)


def line() -> MLP:
    net = MLP(1, 1, hidden=())
    initialize(net, generator())
    return net


def test_flat_weights_are_the_parameters_and_gradients_of_the_module():
    net = small_net()
    plain = copy.deepcopy(net)
    weights = Weights(net)
    x, c = torch.randn(4, 3, generator=generator()), torch.ones(4, 1)
    assert torch.equal(net(x, c), plain(x, c))
    net(x, c).square().sum().backward()
    plain(x, c).square().sum().backward()
    for mine, theirs in zip(net.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(mine.grad, theirs.grad)
    total = sum(p.grad.square().sum() for p in plain.parameters())
    assert torch.allclose(weights.grad.square().sum(), total)
    weights.flat.zero_()
    assert all((p == 0).all() for p in net.parameters())


def test_adam_takes_the_steps_of_torch():
    ours, theirs = torch.linspace(-1, 1, 50), nn.Parameter(torch.linspace(-1, 1, 50))
    grad = torch.zeros(50)
    adam = Adam(ours, grad, lr=0.1, betas=(0.8, 0.95))
    reference = torch.optim.Adam([theirs], lr=0.1, betas=(0.8, 0.95))
    for step in range(20):
        grad.copy_(torch.randn(50, generator=generator(step)))
        theirs.grad = grad.clone()
        adam.step()
        reference.step()
    assert torch.allclose(ours, theirs.detach(), atol=1e-6)


def test_the_loop_learns_and_reports_every_loss():
    objective = regression(line(), repeats=3)
    history = train([objective], n_steps=100, generator=generator())
    assert history["loss"].shape == (300,)
    assert history["loss"][-1] < 1e-4 < history["loss"][0]


def test_the_loop_works_inside_no_grad():
    objective = regression(line())
    before = objective.weights.flat.clone()
    with torch.no_grad():
        train([objective], n_steps=2, generator=generator())
    assert not torch.equal(before, objective.weights.flat)


def test_gradients_are_clipped_to_the_given_norm():
    objective = regression(line(), max_grad_norm=0.1)
    objective.step(((100 * torch.ones(4, 1), None),))
    assert torch.linalg.vector_norm(objective.weights.grad) <= 0.1
    longer = regression(line())
    longer.step(((100 * torch.ones(4, 1), None),))
    assert torch.linalg.vector_norm(longer.weights.grad) > 1


def test_the_moving_average_follows_its_formula_and_is_what_samples_use():
    objective = regression(line(), ema_decay=0.75)
    weights = objective.weights
    expected = weights.flat.clone()
    trace = []
    train(
        [objective],
        n_steps=40,
        generator=generator(),
        callback=lambda step, losses: trace.append(weights.flat.clone()),
    )
    for step, flat in enumerate(trace):
        decay = min(0.75, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * flat
    assert torch.allclose(weights.average_flat, expected, atol=1e-6)
    assert weights.sampler is weights.average
    assert not torch.equal(weights.average_flat, weights.flat)


def test_without_an_average_samples_use_the_trained_network():
    weights = Weights(line())
    assert weights.sampler is weights.module


def test_schedules_end_where_they_should():
    assert schedule_factor("constant", 0.9) == 1
    assert [schedule_factor("linear", p) for p in (0, 0.5, 0.75, 1)] == [1, 1, 0.5, 0]
    assert [round(schedule_factor("cosine", p), 9) for p in (0, 0.5, 1)] == [1, 0.5, 0]


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_the_learning_rate_is_back_after_a_scheduled_fit(schedule):
    objective = regression(line())
    rates = []
    train(
        [objective],
        n_steps=10,
        generator=generator(),
        schedule=schedule,
        callback=lambda step, losses: rates.append(objective.optimizer.lr),
    )
    assert rates[-1] < 0.5 * rates[0] == 0.5 * 0.05
    assert objective.optimizer.lr == 0.05


def test_divergence_in_a_later_block_goes_back_to_the_end_of_the_block_before():
    objective = regression(line())
    good = []

    def callback(step, losses):
        if step == 63:
            good.append(objective.weights.flat.clone())
        if step == 80:
            objective.weights.flat.fill_(float("nan"))

    with pytest.warns(TrainingDiverged):
        history = train([objective], n_steps=200, generator=generator(), callback=callback)
    assert torch.equal(objective.weights.flat, good[0])
    assert objective.optimizer.n_steps == 64
    assert len(history["loss"]) == 64


def test_early_stopping_returns_to_the_best_weights():
    objective = regression(line())
    values = iter([3.0, 1.0, 2.0, 2.0, 0.0])
    seen = []

    def criterion():
        seen.append(objective.weights.flat.clone())
        return torch.tensor(next(values))

    history = train(
        [objective],
        n_steps=1000,
        generator=generator(),
        early_stopping=EarlyStopping(criterion, patience=2),
    )
    assert len(history["loss"]) == 4 * 64
    assert torch.equal(objective.weights.flat, seen[1])


def test_a_model_with_patience_stops_before_its_steps_are_over():
    x = torch.randn(40, 6, generator=generator())
    model = VAE(n_steps=5000, patience=2, validation_fraction=0.3, lr=1e-2).fit(x)
    assert 0 < len(model.losses_["loss"]) < 5000


@pytest.mark.parametrize(("n_rows", "n_batches", "size"), [(10, 7, 4), (3, 5, 8), (6, 2, 3)])
def test_batches_use_every_row_equally_often_up_to_one(n_rows, n_batches, size):
    index = batch_indices(n_rows, n_batches, size, generator())
    assert index.shape == (n_batches, size)
    count = torch.bincount(index.reshape(-1), minlength=n_rows)
    assert count.max() - count.min() <= 1
