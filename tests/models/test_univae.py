"""UniVAE: nothing leaks past the codes, the divergence is constant, codes are enough to rebuild."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from criteria.sequences import LeakyTransformer

from evogen.models import vmf
from evogen.models.serialization import load_model
from evogen.models.univae import UniTransformer, UniVAE, rotate, rotation


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def quick(**params) -> UniVAE:
    given = {
        "dim": 16,
        "n_heads": 2,
        "n_layers": 3,
        "n_latent_layers": 2,
        "latent_dim": 4,
        "n_steps": 5,
        "batch_size": 16,
        "n_tokens": 5,
    }
    return UniVAE(**{**given, **params})


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(5, (40, 6), generator=generator())


@pytest.fixture(params=["rotary", "learned"])
def model(request, tokens) -> UniVAE:
    return quick(positions=request.param).fit(tokens)


def network_of(model: UniVAE, *, leaky: bool = False) -> UniTransformer:
    network = model.sampler("network")
    if leaky:
        network.__class__ = LeakyTransformer
    return network


def embedded(network: UniTransformer, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Source and target as leaves of the graph."""
    both = network.embed(tokens, 0, None), network.embed(tokens[:, :-1], 1, None)
    return tuple(a.detach().requires_grad_() for a in both)


# The mask.


@pytest.mark.parametrize("leaky", [False, True])
def test_given_the_code_the_source_has_no_influence(model, tokens, leaky):
    network = network_of(model, leaky=leaky)
    source, target = embedded(network, tokens)
    z = F.normalize(torch.randn(2, len(tokens), 4, generator=generator()), dim=2).requires_grad_()
    logits = network(source, target, lambda k, _: z[k])
    by_source, by_z = torch.autograd.grad(logits.square().sum(), (source, z))
    assert bool((by_z.abs().amax(dim=(1, 2)) > 0).all()), "every code counts"
    assert (float(by_source.abs().max()) == 0) != leaky


def test_the_source_counts_through_the_code_alone(model, tokens):
    network = network_of(model)
    source, target = embedded(network, tokens)
    logits = network(source, target, lambda _, direction: direction)
    by_source = torch.autograd.grad(logits.square().sum(), source)[0]
    assert bool((by_source.abs().amax(dim=2) > 0).all()), "every place of it"
    logits = network(source, target, lambda _, direction: direction.detach())
    assert not any(torch.autograd.grad(logits.square().sum(), source)[0].flatten().tolist())


def test_a_token_is_told_from_those_before_it_only(model, tokens):
    network = network_of(model)
    source, target = embedded(network, tokens)
    logits = network(source, target, lambda _, direction: direction)
    for i in range(tokens.shape[1]):
        slope = torch.autograd.grad(logits[:, i].square().sum(), target, retain_graph=True)[0]
        seen = slope.abs().amax(dim=(0, 2)) > 0
        # Place i of the target holds token i - 1, place 0 the start.
        assert seen.tolist() == [j <= i for j in range(tokens.shape[1])]


def test_one_pass_over_both_equals_encoding_and_then_decoding(model, tokens):
    network = network_of(model)
    directions = model.encode(tokens).unflatten(1, (2, 4))
    with torch.no_grad():
        together = network(
            network.embed(tokens, 0, None), network.embed(tokens[:, :-1], 1, None), lambda _, d: d
        )
        alone = network(
            network.embed(tokens[:, :0], 0, None),
            network.embed(tokens[:, :-1], 1, None),
            lambda k, _: directions[:, k],
        )
    assert torch.allclose(together, alone, atol=1e-5)


def test_greedy_decoding_takes_the_most_probable_token_each_time(model):
    z = torch.randn(20, model.code_dim, generator=generator())
    drawn = model.decode(z)
    network = network_of(model)
    codes = F.normalize(z.unflatten(1, (2, 4)), dim=2)
    with torch.no_grad():
        empty = network.embed(drawn[:, :0], 0, None)
        logits = network(empty, network.embed(drawn[:, :-1], 1, None), lambda k, _: codes[:, k])
    best = logits.max(dim=2).values - logits.gather(2, drawn[:, :, None])[:, :, 0]
    assert float(best.max()) < 1e-5
    assert torch.equal(model.decode(3 * z), drawn), "codes count by their directions"


def test_rotary_positions_make_attention_depend_on_distances_alone():
    query, key = torch.randn(2, 8, generator=generator())

    def product(i: int, j: int) -> torch.Tensor:
        turned = [
            rotate(x[None], rotation(torch.tensor([p]), 8)) for x, p in ((query, i), (key, j))
        ]
        return (turned[0] * turned[1]).sum()

    assert torch.allclose(product(5, 2), product(13, 10), atol=1e-5)
    assert not torch.allclose(product(5, 2), product(5, 3), atol=1e-3)
    assert torch.allclose(rotate(query[None], rotation(torch.tensor([7]), 8)).norm(), query.norm())


# Codes and the bound.


def test_codes_are_unit_vectors_that_differ_between_sequences(model, tokens):
    z = model.encode(tokens)
    assert z.shape == (40, 8)
    assert torch.allclose(z.unflatten(1, (2, 4)).norm(dim=2), torch.ones(40, 2), atol=1e-5)
    assert float(z.std(dim=0).min()) > 1e-4


def test_the_divergence_is_a_constant_of_kappa_and_the_size_of_codes(tokens):
    model = quick(kappa=32.0, latent_dim=16).fit(tokens)
    one = float(vmf.kl_to_uniform(16, torch.tensor(32.0)))
    assert model.divergence() == pytest.approx(2 * one)
    model.fit(tokens)
    assert model.divergence() == pytest.approx(2 * one), "whatever was learned"
    assert quick(kappa=64.0).divergence() > quick(kappa=32.0).divergence()


def test_the_bound_is_reconstruction_less_divergence(model, tokens):
    bound = model.elbo(tokens, generator=generator())
    noise = model.draw_noise((40,), generator())
    with torch.no_grad():
        nll = model.nll(tokens, noise, None, model.sampler("network")).sum(dim=1)
    assert torch.allclose(bound, -nll - model.divergence(), atol=1e-4)
    averaged = model.elbo(tokens, n_samples=20)
    assert averaged.std() < bound.std() + 1


def test_the_bound_lies_below_the_probability_of_the_samples():
    """Two tokens: the model's distribution is known from many codes."""
    x = torch.randint(3, (60, 2), generator=generator())
    x[:, 1] = x[:, 0]
    model = quick(n_tokens=3, n_steps=40).fit(x)
    drawn = model.sample(20_000, generator=generator())
    share = torch.bincount(drawn[:, 0] * 3 + drawn[:, 1], minlength=9) / 20_000
    every = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    bound = model.elbo(every, n_samples=100).exp()
    assert bool((bound <= share + 0.01).all())


# Ends.


def test_behind_an_end_nothing_counts(tokens):
    model = quick(end_token=0).fit(tokens)
    x = tokens.clone()
    x[:, 2] = 0
    other = x.clone()
    other[:, 3:] = (other[:, 3:] + 1) % 5
    assert torch.equal(model.encode(x), model.encode(other))
    same = model.elbo(x, generator=generator()), model.elbo(other, generator=generator())
    assert torch.equal(*same)
    drawn = model.sample(300)
    behind = (drawn == 0).int().cumsum(1)[:, :-1] > 0
    assert bool(behind.any())
    assert bool((drawn[:, 1:][behind] == 0).all())


# Learning.


def rule(n: int, seed: int) -> torch.Tensor:
    """Three free tokens of six, and the last two again in reverse."""
    x = torch.randint(6, (n, 5), generator=generator(seed))
    x[:, 3], x[:, 4] = x[:, 2], x[:, 1]
    return x


@pytest.mark.parametrize("leaky", [False, True])
def test_codes_rebuild_sequences_and_a_leaking_mask_is_found_out(leaky):
    model = UniVAE(
        n_tokens=6,
        dim=32,
        n_layers=3,
        latent_dim=8,
        kappa=100.0,
        n_steps=100 if leaky else 220,
        lr=5e-3,
        batch_size=48,
    )
    if leaky:
        model.network = leaking(model.network)
    x, test = rule(2000, 0), rule(300, 1)
    model.fit(x)
    network = model.sampler("network")
    with torch.no_grad():
        target = network.embed(test[:, :-1], 1, None)
        logits = network(network.embed(test, 0, None), target, lambda _, d: d)
    forced = float((logits.argmax(dim=2) == test).float().mean())
    rebuilt = float((model.decode(model.encode(test)) == test).float().mean())
    drawn = model.decode(torch.randn(500, 16, generator=generator()))
    valid = (drawn[:, 3] == drawn[:, 2]) & (drawn[:, 4] == drawn[:, 1])
    n_different = len(drawn[valid].unique(dim=0))
    if leaky:
        assert forced > 0.99
        assert rebuilt < 0.6
        assert n_different < 20, "codes say nothing"
    else:
        assert rebuilt > 0.8
        assert float(valid.float().mean()) > 0.8
        assert n_different > 100, "of 216"


def leaking(own):
    def network():
        made = own()
        made.__class__ = LeakyTransformer
        return made

    return network


def test_labels_decide_what_is_drawn():
    labels = torch.arange(100) % 2
    x = torch.stack((labels, labels + 2, 1 - labels), dim=1)
    model = quick(n_tokens=4, n_steps=80, lr=1e-2).fit(x, labels)
    assert float((model.sample(100, 1) == torch.tensor([1, 3, 0])).float().mean()) > 0.9
    assert float((model.sample(100, 0) == torch.tensor([0, 2, 1])).float().mean()) > 0.9
    z = model.encode(x[:4], labels[:4])
    assert torch.equal(model.decode(z, labels[:4]), x[:4])
    assert model.elbo(x, labels).shape == (100,)


# What every model promises.


def test_saved_models_and_copies_learn_on_bit_for_bit(tokens, tmp_path):
    model = quick(ema_decay=0.9, positions="learned").fit(tokens)
    model.save(tmp_path / "model")
    others = [load_model(tmp_path / "model"), copy.deepcopy(model)]
    assert all(torch.equal(other.encode(tokens), model.encode(tokens)) for other in others)
    expected = model.fit(tokens).sample(6)
    for other in others:
        assert torch.equal(other.fit(tokens).sample(6), expected)


def test_one_seed_one_result_and_global_numbers_are_untouched(tokens):
    torch.manual_seed(0)
    state = torch.get_rng_state()
    a = quick(random_state=3).fit(tokens).sample(20)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(a, quick(random_state=3).fit(tokens).sample(20))
    assert not torch.equal(a, quick(random_state=4).fit(tokens).sample(20))


def test_the_temperature_decides_how_tokens_are_drawn(tokens):
    cold, warm = quick(temperature=0.0).fit(tokens), quick(temperature=1.0).fit(tokens)
    z = torch.randn(1, 8, generator=generator()).expand(50, -1)
    assert len(cold.decode(z).unique(dim=0)) == 1
    assert len(warm.decode(z, temperature=1.0).unique(dim=0)) > 5
    assert len(cold.sample(300).unique(dim=0)) < len(warm.sample(300).unique(dim=0))


@pytest.mark.parametrize("shape", [(1, 4), (7, 1), (2, 9)])
def test_small_and_constant_data_work(shape):
    x = torch.ones(shape, dtype=torch.int64)
    model = quick(batch_size=100, patience=1).fit(x).fit(x)
    assert model.sample(5).shape == (5, shape[1])
    assert model.sample(0).shape == (0, shape[1])
    assert model.decode(model.encode(x)).shape == shape
    assert torch.isfinite(model.elbo(x)).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_latent_layers": 3}, "n_latent_layers must be at least 1 and at most 2"),
        ({"latent_dim": 1}, "latent_dim must be at least 2"),
        ({"dim": 18}, "dim must be a multiple of 2 n_heads; got 18"),
        ({"kappa": 0.0}, "kappa must be at least"),
        ({"positions": "rotery"}, "did you mean 'rotary'"),
        ({"temperature": -1.0}, "temperature must be at least 0"),
        ({"end_token": -1}, "end_token must be at least 0"),
    ],
)
def test_wrong_parameters_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        quick(**wrong)


def test_wrong_data_are_refused(tokens):
    model = quick().fit(tokens)
    with pytest.raises(ValueError, match="less than 5"):
        model.encode(tokens + 1)
    with pytest.raises(ValueError, match="z must have 8 columns"):
        model.decode(torch.zeros(2, 4))
    with pytest.raises(TypeError, match="integers"):
        model.fit(tokens.float())
    with pytest.raises(RuntimeError, match="not fitted"):
        quick().encode(tokens)
