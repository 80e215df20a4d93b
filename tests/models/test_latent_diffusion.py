"""Latent diffusion: an autoencoder whose codes are pictures, and text to image on these."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from evogen.models import DDPM, PCA, VAE, load_model
from evogen.models.autoencoder_kl import AutoencoderKL
from evogen.models.callbacks import Checkpoint
from evogen.models.latent_diffusion import LatentDiffusion
from evogen.models.text_diffusion import TextDDPM

SMALL = {
    "n_steps": 3,
    "batch_size": 8,
    "n_sample_steps": 2,
    "channels": (8,),
    "text_dim": 8,
    "autoencoder_steps": 3,
    "autoencoder_channels": (8, 8),
    "latent_channels": 2,
}
CAPTIONS = ["ink at the left", "ink at the right"] * 20


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def halves() -> torch.Tensor:
    """Pictures with ink in the left or in the right half."""
    x = torch.full((40, 1, 8, 8), 0.1)
    x[0::2, :, :, :4] = 0.9
    x[1::2, :, :, 4:] = 0.9
    return (x + 0.03 * torch.randn(x.shape, generator=generator())).clamp(0, 1)


@pytest.fixture(scope="module")
def trained(halves) -> LatentDiffusion:
    model = LatentDiffusion(
        n_steps=150,
        autoencoder_steps=80,
        autoencoder_channels=(8, 16),
        n_sample_steps=5,
        channels=(16,),
        batch_size=16,
        lr=1e-2,
    )
    return model.fit(halves, CAPTIONS)


# The autoencoder.


def test_codes_of_images_are_pictures_where_they_can_be(halves):
    model = AutoencoderKL(n_steps=2, latent_dim=12, channels=(8, 8)).fit(halves)
    assert model.code_shape_ == (3, 2, 2)
    assert model.encode(halves).shape == (40, 12)
    assert model.decode(model.encode(halves)).shape == halves.shape
    assert AutoencoderKL(n_steps=2, latent_dim=5).fit(halves).code_shape_ == (5,)
    odd = torch.rand(5, 3, 13, 10, generator=generator())
    model = AutoencoderKL(n_steps=2, latent_dim=18, channels=(8, 8)).fit(odd)
    assert model.code_shape_ == (3, 3, 2)
    assert model.sample(2).shape == (2, 3, 13, 10)
    assert AutoencoderKL(n_steps=2).fit(halves.flatten(1)).code_shape_ == (16,)
    labels = torch.arange(40) % 2
    assert AutoencoderKL(n_steps=2).fit(halves, labels).code_shape_ == (16,)


def test_a_number_of_a_code_is_about_its_own_part_of_the_picture():
    """What lets convolutions work on codes: far pixels do not reach it, near ones do."""
    x = torch.rand(6, 1, 32, 32, generator=generator())
    model = AutoencoderKL(n_steps=1, latent_dim=64, channels=(4, 4)).fit(x)
    encoder = model.sampler("network").encoder
    for norm in (*encoder.stages.norms,):
        norm.forward = lambda a: a  # its mean is over the whole picture
    rows = x[:1].flatten(1).mul(2).sub(1).requires_grad_()
    code = encoder(rows)[:, :64].view(1, 8, 8)
    slope = torch.autograd.grad(code[0, 1, 1], rows)[0].view(32, 32)
    assert float(slope[4:8, 4:8].abs().max()) > 0
    assert float(slope[16:].abs().max()) == 0
    assert float(slope[:, 16:].abs().max()) == 0


# The whole.


def test_prompts_choose_what_is_drawn(trained):
    for text, sign in (("ink at the left", 1), ("ink at the right", -1)):
        x = trained.sample(40, text, guidance=2.0)
        balance = x[..., :4].mean((1, 2, 3)) - x[..., 4:].mean((1, 2, 3))
        assert float((sign * balance > 0.5).float().mean()) > 0.9
    free = trained.sample(60, "ink at the left", guidance=0.0)
    share = float((free[..., :4].mean((1, 2, 3)) > 0.5).float().mean())
    assert 0.2 < share < 0.8, "guidance 0 does not listen"


def test_codes_have_deviation_one(trained, halves):
    assert float(trained.encode(halves).std(correction=0)) == pytest.approx(1, abs=1e-3)
    raw = trained.parts_["autoencoder"].encode(halves)
    assert torch.allclose(trained.encode(halves) * trained.buffers_["deviation"], raw, atol=1e-5)
    assert float((trained.decode(trained.encode(halves)) - halves).square().mean()) < 0.02


def output(model: LatentDiffusion, tokens, guidance: float) -> torch.Tensor:
    """What the denoiser predicts of the same noise."""
    part = copy.deepcopy(model.diffusion)
    part.guidance = guidance
    x = torch.randn(6, part.n_features_, generator=generator())
    return part.guided(x, 400, tokens)


def test_guidance_mixes_the_two_networks_as_the_formula_says(trained):
    tokens = trained.prepare_condition("ink at the left", 6)
    diffusion = trained.diffusion
    x = torch.randn(6, diffusion.n_features_, generator=generator())
    time = diffusion._time[400].expand(6, -1)
    network = diffusion.sampler("network")
    given = network(x, torch.cat((time, tokens, torch.ones(6, 1)), dim=1))
    without = network(x, torch.cat((time, torch.zeros(6, tokens.shape[1] + 1)), dim=1))
    assert torch.equal(output(trained, tokens, 1.0), given)
    assert torch.equal(output(trained, tokens, 0.0), without)
    assert torch.equal(output(trained, None, 3.0), without)
    expected = without + 3 * (given - without)
    assert torch.allclose(output(trained, tokens, 3.0), expected, atol=1e-4)
    assert float((given - without).abs().max()) > 0.01


def test_only_the_prompt_makes_the_difference(trained):
    def draw(text, **kwargs):
        return trained.sample(4, text, generator=generator(), **kwargs)

    a, b = draw("ink at the left"), draw("ink at the right")
    assert not torch.allclose(a, b, atol=0.1)
    assert torch.equal(a, draw("ink at the left"))
    assert torch.equal(a, draw(["ink at the left"] * 4))
    assert torch.equal(a, draw("ink at the left", guidance=2.0)), "the parameter's own value"
    assert torch.equal(draw("ink at the left", guidance=0.0), draw(None))
    assert trained.guidance == 2.0


def test_saved_models_and_copies_sample_and_learn_on_bit_for_bit(halves, tmp_path):
    model = LatentDiffusion(**SMALL).fit(halves, CAPTIONS)
    model.save(tmp_path / "m")
    text = "ink at the right"
    for twin in (load_model(tmp_path / "m"), copy.deepcopy(model)):
        original = copy.deepcopy(model)
        assert twin.get_params() == original.get_params()
        assert torch.equal(original.sample(3, text), twin.sample(3, text))
        original.fit(halves, CAPTIONS)
        twin.fit(halves, CAPTIONS)
        assert torch.equal(original.sample(3, text), twin.sample(3, text))


def test_the_seed_decides_everything_and_nothing_global_does(halves):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = LatentDiffusion(**SMALL).fit(halves, CAPTIONS).sample(3)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(5)
    assert torch.equal(first, LatentDiffusion(**SMALL).fit(halves, CAPTIONS).sample(3))
    other = LatentDiffusion(**SMALL, random_state=1).fit(halves, CAPTIONS).sample(3)
    assert not torch.equal(first, other)


def test_the_autoencoder_is_trained_once(halves):
    model = LatentDiffusion(**SMALL).fit(halves)
    before = model.encode(halves)
    model.fit(halves)
    assert torch.equal(model.encode(halves), before)
    assert model.n_steps_ == 6
    assert model.parts_["autoencoder"].n_steps_ == 3


@pytest.mark.parametrize(
    "autoencoder",
    [AutoencoderKL(n_steps=2, latent_dim=8), VAE(n_steps=2, latent_dim=3), PCA(n_components=3)],
)
def test_an_autoencoder_can_be_handed_over(halves, autoencoder, tmp_path):
    model = LatentDiffusion(**SMALL).use_autoencoder(autoencoder.fit(halves))
    model.fit(halves, CAPTIONS)
    assert model.parts_["autoencoder"] is autoencoder
    picture = getattr(autoencoder, "code_shape_", ()) == (2, 2, 2)
    assert (model.diffusion.picture_shape is not None) == picture
    assert model.sample(2, "ink").shape == (2, 1, 8, 8)
    model.save(tmp_path / "m")
    assert torch.equal(load_model(tmp_path / "m").sample(2), model.sample(2))
    with pytest.raises(RuntimeError, match="has an autoencoder already"):
        model.use_autoencoder(autoencoder)


def test_what_is_no_fitted_autoencoder_is_refused():
    with pytest.raises(RuntimeError, match="not fitted yet"):
        LatentDiffusion().use_autoencoder(AutoencoderKL())
    with pytest.raises(TypeError, match="must have encode and decode"):
        LatentDiffusion().use_autoencoder(DDPM())


class Interrupted(Exception):
    """The power fails."""


def test_an_interrupted_fit_is_resumed_to_the_same_model(halves, tmp_path):
    def fail(step, losses):
        if step == 66:
            raise Interrupted

    params = {**SMALL, "n_steps": 70, "batch_size": 4, "condition_dropout": 0.2}
    whole = LatentDiffusion(**params).fit(halves, CAPTIONS)
    with pytest.raises(Interrupted):
        LatentDiffusion(**params).fit(
            halves, CAPTIONS, callback=[Checkpoint(tmp_path / "m", every=1), fail]
        )
    rest = load_model(tmp_path / "m").resume(halves, CAPTIONS)
    assert type(rest) is LatentDiffusion
    assert torch.equal(
        rest.sample(3, generator=generator()), whole.sample(3, generator=generator())
    )
    with pytest.raises(RuntimeError, match="has no unfinished fit"):
        rest.resume(halves, CAPTIONS)


def test_callbacks_watch_the_diffusion_and_may_stop_it(halves):
    seen = []
    LatentDiffusion(**SMALL).fit(halves, n_steps=5, callback=lambda s, losses: seen.append(s))
    assert seen == [0, 1, 2, 3, 4]
    model = LatentDiffusion(**SMALL).fit(halves, n_steps=5, callback=lambda s, losses: s == 1)
    assert model.n_steps_ == 2


def test_items_of_other_kinds_and_odd_numbers_work(halves):
    rows = np.random.default_rng(0).normal(size=(20, 4)) * [1, 1e-3, 1e3, 0] + [0, 0, 0, 7]
    model = LatentDiffusion(**SMALL).fit(rows, CAPTIONS[:20])
    drawn = model.sample(5, "ink")
    assert drawn.shape == (5, 4)
    assert (drawn[:, 3] == 7).all()
    one = LatentDiffusion(**SMALL).fit(halves[:1], CAPTIONS[:1])
    assert torch.isfinite(one.sample(3, "ink")).all()
    assert one.sample(0, "ink").shape == (0, 1, 8, 8)
    tiny = LatentDiffusion(**SMALL).fit(torch.rand(9, 3, 2, 3, generator=generator()))
    assert tiny.sample(2).shape == (2, 3, 2, 3)
    assert isinstance(tiny.parts_["diffusion"], TextDDPM)


def test_wrong_data_are_refused_in_one_sentence(halves):
    model = LatentDiffusion(**SMALL)
    for x, condition, message in (
        (halves * 255, None, "divide by 255"),
        (halves[:0], None, "at least one row"),
        (halves, CAPTIONS[:3], r"as many rows as x \(40\); got 3"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit(x, condition)
    with pytest.raises(TypeError, match="must be captions, one text per item"):
        model.fit(halves, np.zeros((40, 2)))
    with pytest.raises(RuntimeError, match="not fitted yet"):
        model.sample(1)
    model.fit(halves)
    with pytest.raises(ValueError, match="fitted without one"):
        model.sample(1, "ink")
    with pytest.raises(ValueError, match="earlier fits had no condition"):
        model.fit(halves, CAPTIONS)
    with pytest.raises(ValueError, match="guidance must be at least 0"):
        model.sample(1, guidance=-1.0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"latent_channels": 0}, "latent_channels must be at least 1"),
        ({"kl_weight": -1}, "kl_weight must be at least 0"),
        ({"n_sample_steps": 0}, "n_sample_steps must be at least 1"),
        ({"text_encoder": "bert"}, "text_encoder must be one of"),
    ],
)
def test_wrong_parameters_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        LatentDiffusion(**wrong)
