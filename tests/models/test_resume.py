"""Interrupted fits, accumulation, precision, compilation, several processes, progress."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp

from evogen.models import AE, BEGAN, DDPM, EGAN, GAN, VAE, VQVAE, WGANGP, load_model
from evogen.models.callbacks import Checkpoint, ProgressBar

MODELS = {
    "ae": lambda: AE(n_steps=200, hidden=(8,), batch_size=7),
    "vq-vae": lambda: VQVAE(n_steps=200, hidden=(8,), batch_size=7, prior_steps=2, prior_width=8),
    "began": lambda: BEGAN(n_steps=150, hidden_generator=(8,)),
    "egan": lambda: EGAN(n_steps=140, hidden_generator=(8,), n_parents=2),
    "vae": lambda: VAE(n_steps=200, hidden=(8,), batch_size=7, ema_decay=0.9, schedule="cosine"),
    "patience": lambda: VAE(n_steps=200, hidden=(8,), batch_size=7, patience=20),
    "impatient": lambda: AE(n_steps=300, hidden=(8,), lr=0.05, batch_size=7, patience=2),
    "gan": lambda: GAN(n_steps=200, batch_size=9, norm="batch", ema_decay=0.9),
    "wgan-gp": lambda: WGANGP(n_steps=150, n_critic=2, hidden_generator=(8,)),
    "ddpm": lambda: DDPM(n_steps=200, hidden=(8,), schedule="linear", max_grad_norm=1.0),
}


class Interruption(Exception):
    pass


def interrupt_at(step: int):
    def callback(now, losses):
        if now == step:
            raise Interruption

    return callback


@pytest.fixture
def data() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(40, 2)) @ rng.normal(size=(2, 4))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("step", [66, 130])
def test_an_interrupted_fit_resumes_to_the_same_bits(name, step, data, tmp_path):
    whole = MODELS[name]().fit(data)
    file = tmp_path / "checkpoint"
    stopped = MODELS[name]()
    try:
        stopped.fit(data, callback=[Checkpoint(file, every=1), interrupt_at(step)])
    except Interruption:
        pass
    else:
        assert name == "impatient"
        return
    resumed = load_model(file)
    assert resumed.unfinished_.n_done == step // 64 * 64
    resumed.resume(data)
    assert resumed.unfinished_ is None
    assert resumed.n_steps_ == whole.n_steps_
    a, b = whole.state_tensors(), resumed.state_tensors()
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert torch.equal(whole.sample(5), resumed.sample(5))


def test_a_resumed_fit_can_be_interrupted_again(data, tmp_path):
    whole, file = MODELS["vae"]().fit(data), tmp_path / "c"
    with pytest.raises(Interruption):
        MODELS["vae"]().fit(data, callback=[Checkpoint(file, every=1), interrupt_at(70)])
    with pytest.raises(Interruption):
        load_model(file).resume(data, callback=[Checkpoint(file, every=1), interrupt_at(140)])
    assert load_model(file).unfinished_.n_done == 128
    with pytest.raises(RuntimeError, match="not finished; call resume"):
        load_model(file).sample(1)
    assert torch.equal(load_model(file).resume(data).sample(5), whole.sample(5))


@pytest.mark.parametrize("name", ["ae", "vq-vae"])
def test_what_an_interrupted_fit_has_not_made_yet_is_said_so(name, data, tmp_path):
    with pytest.raises(Interruption):
        MODELS[name]().fit(data, callback=[Checkpoint(tmp_path / "c", every=1), interrupt_at(70)])
    with pytest.raises(RuntimeError, match="not finished; call resume"):
        load_model(tmp_path / "c").sample(1)


def test_only_an_unfinished_fit_can_be_resumed(data):
    with pytest.raises(RuntimeError, match="no unfinished fit"):
        MODELS["vae"]().fit(data, n_steps=1).resume(data)


def test_a_new_fit_of_an_unfinished_model_starts_a_new_one(data, tmp_path):
    with pytest.raises(Interruption):
        MODELS["vae"]().fit(data, callback=[Checkpoint(tmp_path / "c", every=1), interrupt_at(70)])
    model = load_model(tmp_path / "c").fit(data, n_steps=3)
    assert model.unfinished_ is None
    assert model.n_steps_ == 3


def test_accumulated_batches_are_one_large_batch(data):
    """Without drawn noise the mean of equal batches' gradients is that of all rows."""
    one = AE(n_steps=5, hidden=(8,)).fit(data)
    four = AE(n_steps=5, hidden=(8,), batch_size=10, accumulate=4).fit(data)
    for key, value in one.state_tensors().items():
        if key.startswith("networks"):
            assert torch.allclose(value, four.state_tensors()[key], atol=1e-4)
    assert torch.allclose(one.losses_["loss"], four.losses_["loss"], rtol=1e-4)
    half = AE(n_steps=5, hidden=(8,), batch_size=10, accumulate=2).fit(data)
    assert not torch.allclose(one.losses_["loss"], half.losses_["loss"], rtol=1e-4)


def test_bf16_learns_about_the_same(data):
    a = AE(n_steps=300, hidden=(16,), latent_dim=2).fit(data)
    b = AE(n_steps=300, hidden=(16,), latent_dim=2, precision="bf16").fit(data)
    assert b.sample(2).dtype == torch.float32
    assert all(
        t.dtype == torch.float32 for k, t in b.state_tensors().items() if k.startswith("networks")
    )
    assert not torch.equal(a.losses_["loss"], b.losses_["loss"]), "bfloat16 was not used"
    assert float(b.losses_["loss"][-1]) < 0.3 * float(b.losses_["loss"][0])


def test_compiled_networks_learn_the_same(data):
    torch.compiler.reset()
    plain = VAE(n_steps=5, hidden=(8,)).fit(data)
    compiled = VAE(n_steps=5, hidden=(8,), compile="aot_eager", ema_decay=0.5).fit(data)
    assert torch.allclose(plain.losses_["loss"], compiled.losses_["loss"], rtol=1e-4)
    assert compiled.sample(3).shape == (3, 4)
    with pytest.raises(TypeError, match="compile must be True, False or a backend"):
        VAE(compile=3)


def _train(rank: int, file: str, out: str) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{file}", rank=rank, world_size=2
    )
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 4))
    model = GAN(n_steps=20, batch_size=5, norm="batch").fit(x)
    model.save(f"{out}.{rank}")
    torch.distributed.destroy_process_group()


@pytest.mark.skipif(sys.platform == "win32", reason="gloo over a file")
def test_two_processes_learn_one_model_from_their_own_batches(tmp_path):
    mp.spawn(_train, args=(str(tmp_path / "meet"), str(tmp_path / "m")), nprocs=2)
    a, b = (load_model(tmp_path / f"m.{rank}") for rank in (0, 1))
    first, second = a.state_tensors(), b.state_tensors()
    assert all(torch.equal(first[k], second[k]) for k in first)
    x = np.random.default_rng(0).normal(size=(40, 4))
    alone = GAN(n_steps=20, batch_size=5, norm="batch").fit(x)
    assert not torch.equal(alone.sample(3), a.sample(3))


def test_the_progress_bar_shows_steps_and_losses(data, monkeypatch):
    err = io.StringIO()
    monkeypatch.setattr(sys, "stderr", err)
    VAE(n_steps=70, hidden=(8,)).fit(data, callback=ProgressBar("my fit"))
    shown = err.getvalue()
    assert "my fit" in shown
    assert "70/70" in shown
    assert "loss" in shown


def test_callbacks_must_be_callable(data):
    with pytest.raises(TypeError, match="a callback must be callable; got 3"):
        VAE().fit(data, callback=[3])
