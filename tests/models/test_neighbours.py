"""`LocalLinear`: local slopes, anchors that keep what the condition does not explain."""

import numpy as np
import pytest
import torch

from evogen.models import load_model
from evogen.models.neighbours import LocalLinear


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def line():
    """x = A c + b on conditions in [0, 1]."""
    rng = np.random.default_rng(0)
    c = rng.random((80, 2))
    a, b = rng.normal(size=(2, 5)), rng.normal(size=5)
    return c @ a + b, c, a, b


@pytest.mark.parametrize("normalize", [True, False])
def test_a_linear_map_is_followed_beyond_the_data(line, normalize):
    x, c, a, b = line
    model = LocalLinear(ridge=1e-9, normalize=normalize).fit(x, c)
    beyond = np.array([[1.5, -0.4], [-1.0, 2.0]])
    np.testing.assert_allclose(model.sample(2, beyond).numpy(), beyond @ a + b, atol=1e-4)


def test_asked_for_a_known_condition_it_answers_with_that_row():
    rng = np.random.default_rng(1)
    x, c = rng.random((50, 4)), rng.random((50, 2))  # nothing to explain
    model = LocalLinear(noise=0.0).fit(x, c)
    np.testing.assert_allclose(model.sample(50, c).numpy(), x, atol=1e-6)


def test_what_the_condition_does_not_explain_stays_as_in_the_anchor():
    t = np.linspace(0, 1, 60)
    side = np.where(np.arange(60) % 2 == 0, -1.0, 1.0)
    # The slope over t is 1 on both branches, the mean lies between them.
    x, c = np.column_stack([t, side]), t[:, None]
    asked = np.linspace(0.1, 0.9, 200)[:, None]
    sample = LocalLinear(noise=0.0, ridge=1e-6, n_neighbors=20).fit(x, c).sample(200, asked).numpy()
    assert np.abs(np.abs(sample[:, 1]) - 1.0).max() < 0.1
    assert np.abs(sample[:, 0] - asked[:, 0]).max() < 0.01


def test_the_noise_is_the_residual_of_the_neighbours():
    rng = np.random.default_rng(2)
    c = rng.random((400, 1))
    x = np.column_stack([2 * c[:, 0], rng.normal(0.0, 0.3, 400)])
    model = LocalLinear(noise=1.0, n_neighbors=200).fit(x, c)
    one = model.sample(4000, np.array([[0.5]]), generator=seeded()).numpy()
    assert one[:, 0].std() < 0.02
    assert one[:, 1].std() == pytest.approx(0.3, rel=0.2)


def test_without_conditions_it_is_a_smoothed_bootstrap():
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(0, 0.05, (50, 3)), rng.normal(5, 0.05, (50, 3))])
    sample = LocalLinear(n_neighbors=10, noise=1.0).fit(x).sample(500, generator=seeded()).numpy()
    # It stays with the two groups and repeats no row.
    assert np.minimum(np.abs(sample), np.abs(sample - 5)).max() < 0.5
    assert 0.3 < (sample[:, 0] > 2.5).mean() < 0.7
    assert len(np.unique(sample.round(5), axis=0)) > 300


def test_one_row_and_conditions_without_spread_are_no_trouble():
    one = LocalLinear().fit(np.ones((1, 3)), np.zeros((1, 2)))
    np.testing.assert_allclose(one.sample(4, np.ones((4, 2))).numpy(), 1.0)
    rows = np.random.default_rng(0).random((30, 3))
    flat = LocalLinear().fit(rows, np.zeros((30, 2)))
    assert torch.isfinite(flat.sample(5, np.ones((5, 2)))).all()


def test_it_can_be_saved_with_and_without_conditions(line, tmp_path):
    x, c, _, _ = line
    for condition, asked in ((c, c[:6]), (None, None)):
        model = LocalLinear().fit(x, condition)
        model.save(tmp_path / "local.safetensors")
        loaded = load_model(tmp_path / "local.safetensors")
        again = [m.sample(6, asked, generator=seeded(3)) for m in (model, loaded)]
        assert torch.equal(*again)


@pytest.mark.parametrize("wrong", [{"n_neighbors": 1}, {"noise": -0.1}, {"ridge": 0}])
def test_bad_parameters_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LocalLinear(**wrong)
