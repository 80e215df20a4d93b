"""E-GAN: mutations, fitness, survival, and that everything of a survivor survives."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from evogen.models import GAN, load_model
from evogen.models.egan import EGAN, MUTATIONS, Population, pareto_survival
from evogen.models.neural import Rows

SMALL = {"n_steps": 6, "hidden_generator": (8,), "hidden_discriminator": (8,), "latent_dim": 2}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blob(n: int, centre: float = 0.0, seed: int = 0, d: int = 3) -> np.ndarray:
    return centre + 0.3 * np.random.default_rng(seed).normal(size=(n, d))


def prepared(model: EGAN, x: np.ndarray) -> Rows:
    rows = model.check_rows(x, None)
    rows.x = model.prepare_x(x)
    return rows


def one_generation(model: EGAN, x: np.ndarray, seed: int = 0):
    """The objective of the generators, and a batch for it."""
    objective = model.objectives(prepared(model, x))[1]
    return objective, next(objective.batches(1, generator(seed)))


# Mutations.


def test_mutation_losses_equal_their_closed_forms():
    logits = torch.randn(50, 1, generator=generator(), dtype=torch.float64)
    d = torch.sigmoid(logits)
    expected = {
        "minimax": 0.5 * (1 - d).log().mean(),
        "heuristic": -0.5 * d.log().mean(),
        "least-squares": (d - 1).square().mean(),
    }
    assert expected.keys() == MUTATIONS.keys()
    for name, value in expected.items():
        torch.testing.assert_close(MUTATIONS[name](logits), value)


def test_mutations_pull_rejected_rows_as_the_paper_says():
    """Far from data (D near 0) minimax and least squares vanish and the heuristic does not."""
    logits = torch.tensor([[-8.0]], requires_grad=True)
    pull = {
        name: abs(float(torch.autograd.grad(loss(logits), logits)[0]))
        for name, loss in MUTATIONS.items()
    }
    assert pull["heuristic"] == pytest.approx(0.5, abs=1e-3)
    assert pull["minimax"] < 1e-3
    assert pull["least-squares"] < 1e-2


def test_a_child_is_one_step_of_adam_from_its_parent_by_its_mutation():
    model = EGAN(**SMALL, n_parents=2).fit(blob(20))
    objective, batches = one_generation(model, blob(20))
    parents = copy.deepcopy(model).weights_["generator"]
    first = objective.optimizer.state()["exp_avg"].view(2, -1).clone()
    second = objective.optimizer.state()["exp_avg_sq"].view(2, -1).clone()
    n_steps = objective.optimizer.n_steps + 1
    objective.breed(batches)
    z = batches[0][0]
    children = objective.children.flat.view(2, 3, -1)
    for i, parent in enumerate(parents.module.members):
        for j, name in enumerate(model.mutations):
            parents.grad.zero_()
            MUTATIONS[name](model.judge(parent(z), None)).backward()
            gradient = parents.grad.view(2, -1)[i]
            mean = 0.5 * first[i] + 0.5 * gradient
            square = 0.99 * second[i] + 0.01 * gradient.square()
            step = mean / (1 - 0.5**n_steps)
            step = step / ((square / (1 - 0.99**n_steps)).sqrt() + 1e-8)
            expected = parents.flat.view(2, -1)[i] - 1e-3 * step
            torch.testing.assert_close(children[i, j], expected, atol=1e-6, rtol=1e-5)


def test_with_one_parent_and_one_mutation_it_is_the_plain_gan():
    """Half the loss is the same step of Adam, up to its small constant."""
    x = blob(30)
    evolved = EGAN(**SMALL, mutations=("heuristic",)).fit(x)
    plain = GAN(**SMALL).fit(x)
    torch.testing.assert_close(
        evolved.weights_["generator"].flat, plain.weights_["generator"].flat, atol=1e-4, rtol=1e-3
    )
    assert evolved.selected_ == {"heuristic": 6}


# Fitness.


def test_quality_and_diversity_equal_their_definitions():
    model = EGAN(**SMALL).fit(blob(20))
    real, fake = model.prepare_x(blob(20)), model.prepare_x(blob(25, 0.5, seed=1))
    network = model.weights_["discriminator"].module
    of_real = model.discriminator_gradient(model.real_loss(model.judge(real, None)).mean())
    quality, diversity = model.quality_and_diversity(fake, None, of_real)
    d_real, d_fake = torch.sigmoid(network(real)), torch.sigmoid(network(fake))
    assert float(quality) == pytest.approx(float(d_fake.mean().detach()), rel=1e-5)
    value = -(d_real.log().mean() + (1 - d_fake).log().mean())
    parts = torch.autograd.grad(value, list(network.parameters()))
    norm = math.sqrt(sum(float(p.square().sum()) for p in parts))
    assert float(diversity) == pytest.approx(-math.log(norm), rel=1e-4)


def test_rows_that_discriminate_easily_have_less_diversity_than_rows_like_data():
    """The sign of Fd: what D would have to learn most from, as a collapse, is worst."""
    x = np.concatenate((blob(50, -1.0), blob(50, 1.0, seed=1)))
    model = EGAN(**SMALL, r1=0.1).fit(x, n_steps=60)
    real = model.prepare_x(x)
    of_real = model.discriminator_gradient(model.real_loss(model.judge(real, None)).mean())
    spread = model.prepare_x(np.concatenate((blob(50, -1.0, 2), blob(50, 1.0, 3))))
    collapsed = model.prepare_x(blob(100, 1.0, seed=4))
    alike, one_mode = (
        float(model.quality_and_diversity(fake, None, of_real)[1]) for fake in (spread, collapsed)
    )
    assert alike > one_mode + 0.3


def test_the_survivor_is_the_fittest_child():
    for gamma in (0.0, 0.3, 50.0):
        model = EGAN(**SMALL, gamma=gamma, random_state=3).fit(blob(20))
        objective, batches = one_generation(model, blob(20))
        judged = []
        survivors = model.survivors
        model.survivors = lambda q, d: judged.append((q, d)) or survivors(q, d)  # noqa: B023
        before = model.selected_
        loss = objective.step(batches)
        ((quality, diversity),) = judged
        best = int(torch.argmax(quality + gamma * diversity))
        child = objective.children.flat.view(3, -1)[best]
        assert torch.equal(model.weights_["generator"].flat, child)
        assert float(loss) == pytest.approx(-float((quality + gamma * diversity)[best]))
        picked = [n - m for n, m in zip(model.selected_.values(), before.values(), strict=True)]
        assert picked == [int(i == best) for i in range(3)]


def test_gamma_weighs_diversity_against_quality():
    quality, diversity = torch.tensor([0.9, 0.5, 0.1]), torch.tensor([-3.0, 0.0, 1.0])
    picked = [int(EGAN(gamma=gamma).survivors(quality, diversity)[0]) for gamma in (0.0, 0.2, 5.0)]
    assert picked == [0, 1, 2]


def test_gamma_raises_the_diversity_of_what_survives():
    """From the same parents, of the same children."""
    chosen = {}
    for gamma in (0.0, 10.0):
        model = EGAN(**SMALL, gamma=gamma, lr_generator=0.05, random_state=1)
        model.fit(blob(30), n_steps=0)
        seen = []
        survivors = model.survivors

        def watched(q, d, survivors=survivors, seen=seen):
            picked = survivors(q, d)
            seen.append((float(q[picked[0]]), float(d[picked[0]]), d.clone()))
            return picked

        model.survivors = watched
        rows = prepared(model, blob(30))
        discriminator, parents = model.objectives(rows)
        for _ in range(20):
            discriminator.step(next(discriminator.batches(1, generator(1))))
        parents.step(next(parents.batches(1, generator(2))))
        chosen[gamma] = seen[0]
    torch.testing.assert_close(chosen[0.0][2], chosen[10.0][2])
    assert chosen[10.0][1] > chosen[0.0][1]
    assert chosen[10.0][0] < chosen[0.0][0]


def test_a_child_that_is_not_finite_does_not_survive():
    quality = torch.tensor([torch.nan, 0.2, 0.1])
    assert EGAN().survivors(quality, torch.zeros(3)).tolist() == [1]
    ranked = EGAN(survival="pareto", n_parents=2).survivors(quality, torch.zeros(3)).tolist()
    assert ranked == [1, 2]


# Survival.


def test_pareto_survival_takes_whole_ranks_first_and_then_the_least_crowded():
    quality = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0, 0.5, 2.0])
    diversity = torch.tensor([4.0, 3.0, 2.9, 2.8, 0.0, 0.5, 2.0])
    # Children 0 to 4 are not dominated; 6 is by 2 and 3; 5 is by 6 too.
    assert sorted(pareto_survival(quality, diversity, 5).tolist()) == [0, 1, 2, 3, 4]
    assert pareto_survival(quality, diversity, 6).tolist()[5] == 6
    assert pareto_survival(quality, diversity, 7).tolist()[6] == 5
    # Ends first; then 3 and 1, whose neighbours are far, and 2 between them last.
    order = pareto_survival(quality, diversity, 5).tolist()
    assert set(order[:2]) == {0, 4}
    assert order[2:] == [3, 1, 2]


def test_pareto_survival_keeps_both_ends_where_fitness_keeps_neighbours():
    quality = torch.tensor([1.0, 0.99, 0.5, 0.0])
    diversity = torch.tensor([0.0, 0.01, 0.4, 1.0])
    by_fitness = EGAN(n_parents=2, gamma=0.1).survivors(quality, diversity).tolist()
    by_rank = EGAN(n_parents=2, gamma=0.1, survival="pareto").survivors(quality, diversity).tolist()
    assert by_fitness == [0, 1]
    assert by_rank == [0, 3]


def test_a_survival_can_be_handed_in_for_a_fit():
    asked = []

    def last(quality, diversity, n):
        asked.append((tuple(quality.shape), tuple(diversity.shape), n))
        return torch.arange(len(quality) - n, len(quality))

    model = EGAN(**SMALL, n_parents=2).fit(blob(20), survival=last)
    assert asked == [((6,), (6,), 2)] * 6
    assert model.selected_ == {"minimax": 0, "heuristic": 6, "least-squares": 6}
    model.fit(blob(20), n_steps=1)
    assert len(asked) == 6, "the next fit has the parameter's survival again"
    for wrong in ([0, 0], [0, 6], [0], [[0, 1]], [0.0, 1.0]):
        with pytest.raises(ValueError, match="survival must return 2 different integers"):
            model.fit(blob(20), survival=lambda q, d, n, wrong=wrong: torch.tensor(wrong))


def test_survivors_bring_their_moments_averages_and_statistics_along():
    model = EGAN(**SMALL, n_parents=2, ema_decay=0.9, norm="batch").fit(blob(20))
    objective, batches = one_generation(model, blob(20))
    model.weights_["generator"].module.train()
    averages = model.weights_["generator"].average_flat.view(2, -1).clone()
    # The second parent's children take both places.
    model.own_survival = lambda quality, diversity, n: torch.tensor([3, 5])
    objective.step(batches)
    fitter = [model.weights_["generator"].flat.view(2, -1)[i] for i in (0, 1)]
    children = objective.children.flat.view(6, -1)
    order = (3, 5) if torch.equal(fitter[0], children[3]) else (5, 3)
    for slot, child in enumerate(order):
        assert torch.equal(fitter[slot], children[child])
        for name in ("exp_avg", "exp_avg_sq"):
            mine = getattr(objective.optimizer, name).view(2, -1)[slot]
            assert torch.equal(mine, getattr(objective.children, name).view(6, -1)[child])
        line = model.weights_["generator"].average_flat.view(2, -1)[slot]
        assert torch.equal(line, averages[1])
    first, second = (dict(m.named_buffers()) for m in model.weights_["generator"].module.members)
    assert first["norms.0.num_batches_tracked"].ndim == 0
    assert not torch.equal(first["norms.0.running_mean"], torch.zeros(8))
    assert first.keys() == second.keys()
    assert objective.optimizer.n_steps == objective.children.n_steps


# The population.


def test_rows_of_a_population_are_made_by_its_members_in_turn():
    members = [torch.nn.Linear(2, 2) for _ in range(3)]
    population = Population([_Plain(m) for m in members])
    z = torch.randn(7, 2, generator=generator())
    made = population(z, None)
    for i in range(7):
        torch.testing.assert_close(made[i], members[i % 3](z[i]))
    torch.testing.assert_close(population(z[:2]), made[:2])


class _Plain(torch.nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, z, condition=None):
        return self.layer(z)


def test_parents_start_apart_and_samples_come_from_the_best_or_from_all():
    model = EGAN(**SMALL, n_parents=3).fit(blob(20), n_steps=0)
    flat = model.weights_["generator"].flat.view(3, -1)
    assert not torch.equal(flat[0], flat[1])
    z = model.draw_latent(6, generator(4))
    members = model.sampler("generator").members
    best = model.generate(6, None, generator(4))
    torch.testing.assert_close(best, members[0](z, None))
    model.sample_from = "all"
    rows = model.generate(6, None, generator(4))
    torch.testing.assert_close(rows[2::3], members[2](z[2::3], None))


def test_saved_loaded_and_copied_models_go_on_bit_for_bit(tmp_path):
    x, label = blob(20), np.arange(20) % 2
    model = EGAN(
        **SMALL,
        n_parents=2,
        survival="pareto",
        norm="batch",
        ema_decay=0.9,
        instance_noise=0.1,
        accumulate=2,
        batch_size=8,
        max_grad_norm=1.0,
    ).fit(x, label)
    model.save(tmp_path / "model.safetensors")
    loaded, twin = load_model(tmp_path / "model.safetensors"), copy.deepcopy(model)
    assert loaded.selected_ == model.selected_ == twin.selected_
    first = model.fit(x, label).sample(4, [0, 1, 0, 1])
    for other in (loaded, twin):
        assert torch.equal(first, other.fit(x, label).sample(4, [0, 1, 0, 1]))
        assert other.selected_ == model.selected_
        state = other.state_tensors()
        assert all(torch.equal(v, state[k]) for k, v in model.state_tensors().items())
    assert sum(model.selected_.values()) == 2 * 12


@pytest.mark.parametrize(
    "settings",
    [
        {"prior": "data", "residual": True, "latent_dim": None},
        {"packing": 2, "spectral_norm": True},
        {"r1": 0.1, "n_critic": 2, "gp_weight": 1.0, "norm_discriminator": "batch"},
    ],
)
def test_it_goes_together_with_what_gans_have(settings):
    model = EGAN(**{**SMALL, **settings}).fit(blob(20)).fit(blob(20))
    assert torch.isfinite(model.sample(5)).all()
    assert sum(model.selected_.values()) == 12


def test_negatives_and_images_work():
    model = EGAN(**SMALL).fit(blob(20, 1.0), negative=blob(30, -1.0))
    assert torch.isfinite(model.sample(3)).all()
    x = np.random.default_rng(0).random((12, 1, 8, 8))
    pictures = EGAN(**{**SMALL, "n_steps": 2, "channels": 2}).fit(x, np.arange(12) % 2)
    assert pictures.sample(3, 1).shape == (3, 1, 8, 8)


def test_a_generation_moves_towards_the_data():
    x = blob(200, 2.0, d=2)
    model = EGAN(normalize=False, n_steps=0, ema_decay=0.9, r1=0.1, random_state=1).fit(x)
    start = float((model.sample(500).mean(dim=0) - 2).norm())
    model.fit(x, n_steps=150)
    assert float((model.sample(500).mean(dim=0) - 2).norm()) < 0.2 * start
    assert sum(n > 0 for n in model.selected_.values()) > 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_parents": 0}, "n_parents must be at least 1"),
        ({"mutations": ()}, "mutations must be names, one at least"),
        ({"mutations": "minimax"}, "mutations must be names"),
        ({"mutations": ("minimax", "heuristics")}, "did you mean 'heuristic'"),
        ({"mutations": ("minimax", "minimax")}, "mutations must differ"),
        ({"gamma": -1}, "gamma must be at least 0"),
        ({"survival": "paretto"}, "did you mean 'pareto'"),
        ({"sample_from": "one"}, "sample_from must be one of"),
    ],
)
def test_bad_parameters_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        EGAN(**arguments)
