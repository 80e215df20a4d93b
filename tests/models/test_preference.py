"""Dominance-preference guidance: labels, classifier, and what the gradient does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evogen.models import load_model
from evogen.models.kernel_diffusion import KernelDiffusion
from evogen.models.preference import PreferenceDiffusion, preference_order


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def slope_data() -> tuple[np.ndarray, np.ndarray]:
    """Rows whose only objectives fall along (1, 1, 0, 0): one direction is better for both."""
    x = np.random.default_rng(0).normal(size=(80, 4))
    gain = -(x[:, 0] + x[:, 1])
    return x, np.column_stack((gain, gain))


def test_the_less_dominated_come_first_then_the_less_crowded():
    f = torch.tensor([[2.0, 2.0], [0.0, 1.0], [1.0, 0.0], [0.05, 0.9], [3.0, 3.0]])
    # Three are non-dominated; (1, 0) has the most room. (3, 3) is dominated by all.
    place = preference_order(f).tolist()
    assert place[2] == 0
    assert sorted([place[1], place[3]]) == [1, 2]
    assert place[0] == 3
    assert place[4] == 4


def test_the_classifier_learns_which_row_is_better():
    x, condition = slope_data()
    model = PreferenceDiffusion(n_steps=200).fit(x, condition)
    rows = model.buffers_["rows"]
    place = preference_order(model.buffers_["conditions"])
    i, j = torch.randint(80, (2, 500), generator=generator())
    pairs = torch.cat((rows[i], rows[j], torch.zeros(500, 1)), dim=1).float()
    with torch.no_grad():
        said = model.sampler("network")(pairs)[:, 0] > 0
    different = i != j
    right = (said == (place[i] < place[j]))[different].float().mean()
    assert right > 0.85


def test_guidance_moves_samples_to_the_better_side():
    x, condition = slope_data()
    asked = np.zeros((300, 2))
    gain = {}
    for guidance in (0.0, 5.0):
        # With all rows as neighbours and no regression, S holds the better direction too.
        model = PreferenceDiffusion(n_steps=200, guidance=guidance, ridge=1e9, n_neighbors=80)
        model.fit(x, condition)
        samples = model.sample(300, asked, generator=generator())
        gain[guidance] = float((samples[:, 0] + samples[:, 1]).mean())
    assert gain[5.0] > gain[0.0] + 0.3


def test_without_guidance_it_is_the_plain_model():
    x, condition = slope_data()
    asked = np.zeros((7, 2))
    plain = KernelDiffusion().fit(x, condition).sample(7, asked, generator=generator())
    model = PreferenceDiffusion(guidance=0.0).fit(x, condition)
    assert torch.equal(model.sample(7, asked, generator=generator()), plain)


def test_samples_are_finite_whatever_the_guidance_and_the_classifier():
    x, condition = slope_data()
    for settings in ({"hidden": ()}, {"n_steps": 0}, {"guidance": 1e6}, {"batch_size": None}):
        model = PreferenceDiffusion(**settings).fit(x, condition)
        assert torch.isfinite(model.sample(5, np.zeros((5, 2)))).all()


def test_saved_and_loaded_it_samples_and_learns_on_bit_for_bit(tmp_path):
    x, condition = slope_data()
    model = PreferenceDiffusion(n_steps=3).fit(x, condition)
    model.save(tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    for _ in range(2):
        assert torch.equal(model.sample(4, condition[:4]), loaded.sample(4, condition[:4]))
        model.fit(x, condition)
        loaded.fit(x, condition)


def test_rows_without_objectives_are_refused():
    with pytest.raises(ValueError, match="condition must be given"):
        PreferenceDiffusion().fit(np.zeros((4, 2)))


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="guidance must be at least 0"):
        PreferenceDiffusion(guidance=-1.0)
    with pytest.raises(ValueError, match="n_guidance must be at least 1"):
        PreferenceDiffusion(n_guidance=0)
