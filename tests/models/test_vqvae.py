"""VQ-VAE: whose gradient reaches what, the table of codes, and the prior over them."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from evogen.models import load_model
from evogen.models.vqvae import VQVAE, AverageCodebook, nearest


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clouds(n: int = 120) -> np.ndarray:
    """Four separate clouds in three dimensions."""
    rng = np.random.default_rng(0)
    centre = np.array([[3, 0, 0], [0, 3, 0], [0, 0, 3], [-3, -3, -3]])[np.arange(n) % 4]
    return centre + 0.1 * rng.normal(size=(n, 3))


SMALL = {
    "n_embeddings": 8,
    "embedding_dim": 4,
    "hidden": (16,),
    "n_codes": 2,
    "prior_steps": 5,
    "prior_width": 8,
}


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).random((20, 1, 8, 8))


def backward(model: VQVAE, x: torch.Tensor) -> None:
    """Leaves the gradient of the loss on rows x in place, with the table as it is."""
    network = model.weights_["network"]
    network.grad.zero_()
    network.module.codebook.learn = lambda z, chance: None
    model.loss(x, torch.zeros(model.n_embeddings)).backward()
    del network.module.codebook.learn


def test_the_gradient_passes_the_table_as_if_it_were_not_there():
    """Without commitment the encoder's gradient is the one at the decoder's input."""
    model = VQVAE(**SMALL, commitment=0.0, n_steps=3).fit(clouds())
    network = model.weights_["network"].module
    x = model.prepare_x(clouds())
    backward(model, x)
    found = [p.grad.clone() for p in network.coder.encoder.parameters()]
    z = network.coder.encode(x)
    entries = network.decode(network.codes(x)).detach()
    chosen = network.codebook.vectors[network.codes(x)].detach().requires_grad_()
    error = (network.coder.decode(chosen) - x).square().sum() / len(x)
    (at_input,) = torch.autograd.grad(error, chosen)
    expected = torch.autograd.grad(z, list(network.coder.encoder.parameters()), at_input)
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    assert max(float(a.abs().max()) for a in found) > 1e-3
    assert torch.allclose(network.coder.decode(chosen), entries)


def test_each_term_of_the_loss_reaches_its_owner_only():
    """With a decoder that is cut off, the terms of the table are all that is left."""
    model = VQVAE(**SMALL, codebook="gradient", n_steps=3).fit(clouds())
    network, x = model.weights_["network"].module, model.prepare_x(clouds())
    for p in network.coder.decoder.parameters():
        p.data.zero_()
    backward(model, x)
    z = network.coder.encode(x)
    flat = z.detach().flatten(0, 1)
    code = nearest(flat, network.codebook.vectors)
    pull = 2 * (network.codebook.vectors[code] - flat).detach() / len(x)
    at_table = torch.zeros(8, 4).index_add(0, code, pull)
    assert torch.allclose(network.codebook.table.weight.grad, at_table, atol=1e-6)
    at_encoder = torch.autograd.grad(
        z, list(network.coder.encoder.parameters()), -0.25 * pull.view_as(z)
    )
    for p, expected in zip(network.coder.encoder.parameters(), at_encoder, strict=True):
        assert torch.allclose(p.grad, expected, atol=1e-6)


def test_the_loss_does_not_depend_on_the_size_of_the_batch():
    model = VQVAE(**SMALL, n_steps=3).fit(clouds())
    x, chance = model.prepare_x(clouds()), torch.zeros(8)
    with torch.no_grad():
        one, many = model.loss(x, chance), model.loss(x.repeat(7, 1), chance)
    assert torch.allclose(one, many, rtol=1e-5)


def test_a_check_without_gradient_leaves_the_table_alone():
    model = VQVAE(**SMALL, n_steps=3).fit(clouds())
    table = model.weights_["network"].module.codebook
    before = table.vectors.clone()
    with torch.no_grad():
        model.loss(model.prepare_x(clouds()), torch.rand(8, generator=generator()))
    assert torch.equal(before, table.vectors)


def test_the_table_of_averages_goes_to_the_means_of_what_is_assigned():
    z = torch.as_tensor(clouds()).float()
    table = AverageCodebook(4, 3, decay=0.9, restart=0.0)
    chance = torch.tensor([0.0, 1, 2, 3]) / 120 + 1e-4
    for _ in range(100):
        table.learn(z, chance)
    code = nearest(z, table.vectors)
    means = torch.stack([z[code == k].mean(dim=0) for k in range(4)])
    assert torch.allclose(table.vectors, means, atol=1e-3)


def test_a_dead_vector_is_restarted_and_without_that_it_stays_dead():
    z = torch.as_tensor(clouds()).float()
    used = []
    for restart in (0.05, 0.0):
        table = AverageCodebook(4, 3, decay=0.5, restart=restart)
        table.learn(z, torch.rand(4, generator=generator()))
        table.get_buffer("table")[0] = 1e3
        table.get_buffer("sums")[0] = 1e3 * table.get_buffer("counts")[0]
        for i in range(30):
            table.learn(z, torch.rand(4, generator=generator(i)))
        used.append(bool(table.vectors[0].norm() < 10))
    assert used == [True, False]


def test_codes_of_rows_are_sequences_and_of_images_grids(images):
    rows = VQVAE(**SMALL, n_steps=2).fit(clouds())
    assert rows.encode(clouds()).shape == (120, 2)
    assert rows.decode(rows.encode(clouds())).shape == (120, 3)
    model = VQVAE(n_embeddings=8, channels=(8,), n_steps=2, prior_steps=2).fit(images)
    codes = model.encode(images)
    assert codes.shape == (20, 4, 4)
    assert codes.dtype == torch.int64
    assert model.decode(codes).shape == images.shape
    assert model.code_shape_ == (4, 4)
    with pytest.raises(ValueError, match="needs images"):
        VQVAE(architecture="conv").fit(clouds())


def test_wrong_codes_are_refused():
    model = VQVAE(**SMALL, n_steps=1).fit(clouds())
    with pytest.raises(TypeError, match="codes must be integers"):
        model.decode(np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"codes must have shape \(n, 2\); got \(3, 3\)"):
        model.decode(np.zeros((3, 3), dtype=int))
    with pytest.raises(ValueError, match="codes must be integers from 0 to 7"):
        model.decode(np.full((3, 2), 8))
    assert model.decode(np.zeros((0, 2), dtype=int)).shape == (0, 3)


def test_clusters_are_kept_apart_and_perplexity_counts_the_codes_in_use():
    x = clouds()
    settings = {**SMALL, "n_codes": 1, "prior_steps": 100, "prior_width": 16}
    model = VQVAE(**settings, n_steps=200, lr=1e-2).fit(x)
    rebuilt = model.decode(model.encode(x)).double().numpy()
    assert ((rebuilt - x) ** 2).sum(axis=1).mean() < 0.3
    assert 3.9 < model.perplexity(x) <= 8
    rows = model.sample(400, generator=generator()).double()
    distance = torch.cdist(rows, torch.as_tensor(x)).min(dim=1).values
    assert float((distance < 0.7).double().mean()) > 0.85
    share = (rows.argmax(dim=1).bincount(minlength=3) / 400)[:3]
    assert (share > 0.1).all()
    collapsed = copy.deepcopy(model)
    collapsed.weights_["network"].module.codebook.get_buffer("table")[:] = 0
    assert collapsed.perplexity(x) == pytest.approx(1.0)


def test_the_prior_knows_which_codes_go_together_and_independent_codes_do_not():
    """Two bits that always agree: independent codes break half of the pairs."""
    rng = np.random.default_rng(0)
    bits = rng.integers(2, size=(200, 1))
    x = np.hstack((bits, bits)) * 4.0 + 0.05 * rng.normal(size=(200, 2))
    settings = {"n_embeddings": 2, "n_codes": 2, "hidden": (), "embedding_dim": 2}
    model = VQVAE(**settings, n_steps=0, prior_steps=120, prior_width=16).fit(x, n_steps=0)
    network = model.weights_["network"].module
    # One code for each column, by hand: -1 or 1 in the table's first place.
    with torch.no_grad():
        for layer in (network.coder.encoder.output, network.coder.decoder.output):
            layer.weight.zero_()
            layer.bias.zero_()
        network.coder.encoder.output.weight[0, 0] = network.coder.encoder.output.weight[2, 1] = 1
        network.coder.decoder.output.weight[0, 0] = network.coder.decoder.output.weight[1, 2] = 1
        network.codebook.get_buffer("table").copy_(torch.tensor([[-1.0, 0], [1, 0]]))
    model.fit(x)
    agree = []
    for prior in ("autoregressive", "independent"):
        model.prior = prior
        rows = model.sample(500, generator=generator()) > 2
        agree.append(float((rows[:, 0] == rows[:, 1]).double().mean()))
    assert agree[0] > 0.97
    assert 0.35 < agree[1] < 0.65


def test_labels_condition_the_prior():
    x, labels = clouds(), np.arange(120) % 4 // 2
    settings = {**SMALL, "n_codes": 1, "prior_width": 16, "prior_steps": 80}
    model = VQVAE(**settings, n_steps=150, lr=1e-2).fit(x, labels)
    for label, wanted in ((0, True), (1, False)):
        rows = model.sample(200, label, generator=generator())
        first = (rows[:, :2] > 1.5).any(dim=1)
        assert float((first == wanted).double().mean()) > 0.8


def test_images_with_labels_are_saved_and_learned_on(images, tmp_path):
    labels = np.arange(20) % 2
    settings = {"n_embeddings": 8, "channels": (8, 8), "prior_width": 8, "ema_decay": 0.9}
    model = VQVAE(**settings, n_steps=4, prior_steps=4).fit(images, labels)
    assert model.sample(2, [0, 1]).shape == (2, 1, 8, 8)
    model.save(tmp_path / "m")
    twin = load_model(tmp_path / "m")
    assert torch.equal(model.sample(3, 1), twin.sample(3, 1))
    for m in (model, twin):
        m.fit(images, labels)
    assert torch.equal(model.sample(3, 1), twin.sample(3, 1))
    assert torch.equal(model.encode(images), twin.encode(images))


@pytest.mark.parametrize("settings", [{}, {"codebook": "gradient"}, {"prior": "independent"}])
def test_few_rows_one_row_and_constant_columns_work(settings):
    x = clouds()
    x[:, 1] = 0.1
    model = VQVAE(**SMALL, **settings, n_steps=5, ema_decay=0.9, patience=1)
    assert torch.equal(model.fit(x).sample(9)[:, 1], torch.full((9,), 0.1))
    one = VQVAE(**SMALL, **settings, n_steps=5).fit(x[:1])
    assert torch.allclose(one.sample(3), torch.as_tensor(x[:1]).float().expand(3, -1))
    assert one.sample(0).shape == (0, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_embeddings": 1}, "n_embeddings must be at least 2"),
        ({"codebook": "emma"}, "did you mean 'ema'"),
        ({"prior": "none"}, "prior must be one of"),
        ({"decay": 1.5}, "decay must be at least 0 and at most 1"),
    ],
)
def test_bad_parameters_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        VQVAE(**arguments)
