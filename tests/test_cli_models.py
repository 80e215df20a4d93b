"""`evogen train` and `evogen sample`: folders, resuming, pictures, and errors before any work."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from evogen import cli_models
from evogen.cli import main
from evogen.cli_models import find_model
from evogen.cli_sample import image_grid
from evogen.models import AE, DDPM, load_model
from evogen.models.rng import seeded_generator
from evogen.models.toys import ring

DDPM_RUN = ["--model", "ddpm", "--data", "ring:60", "--set", "hidden=[8]", "--set", "batch_size=16"]
DDPM_RUN += ["--set", "n_sample_steps=3", "--device", "cpu", "--seed", "3"]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def pictures(tmp_path):
    """A file of 4 x 4 images of one brightness per class."""
    y = np.arange(30) % 3
    x = np.broadcast_to((y * 100)[:, None, None, None], (30, 1, 4, 4)).astype(np.uint8)
    np.savez(tmp_path / "pictures.npz", x=x, y=y)
    return "npz:pictures.npz"


def complains(capsys, *arguments):
    """Run a command that must fail; its one line on stderr."""
    assert main([*arguments]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("evogen: ")
    return line


def same_run(a, b):
    """Whether two folders hold the same losses and the same model, bit for bit."""
    models = [load_model(folder / "model.safetensors") for folder in (a, b)]
    first, second = (model.state_tensors() for model in models)
    return (
        (a / "losses.csv").read_bytes() == (b / "losses.csv").read_bytes()
        and repr(models[0]) == repr(models[1])
        and models[0].state_numbers() == models[1].state_numbers()
        and first.keys() == second.keys()
        and all(torch.equal(first[key], second[key]) for key in first)
    )


def train(*arguments):
    return main(["train", *arguments, "-q"])


def test_a_training_leaves_model_losses_and_what_was_done(tmp_path, capsys):
    assert train(*DDPM_RUN, "--steps", "5", "--out", "a/run") == 0
    out = capsys.readouterr().out
    assert "DDPM learned (60, 2) from ring:60: loss " in out
    folder = tmp_path / "a" / "run"
    assert {p.name for p in folder.iterdir()} == {"model.safetensors", "losses.csv", "run.json"}
    plan = json.loads((folder / "run.json").read_text())
    assert plan["model"] == "DDPM"
    assert plan["done"] is True
    assert plan["params"]["hidden"] == [8]
    assert plan["versions"]["torch"] == torch.__version__
    with (folder / "losses.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(5))
    # The same as in Python.
    own = DDPM(hidden=(8,), batch_size=16, n_sample_steps=3, random_state=3, n_steps=5)
    own.fit(ring(60, seeded_generator(0)))
    loaded = load_model(folder / "model.safetensors")
    assert [float(row["loss"]) for row in rows] == pytest.approx(own.losses_["loss"].tolist())
    assert torch.equal(loaded.sample(3), own.sample(3))


class Killed(BaseException):
    pass


@pytest.mark.parametrize("end", [KeyboardInterrupt, Killed])
def test_an_interrupted_training_resumes_to_the_same_bits(tmp_path, monkeypatch, capsys, end):
    run = [*DDPM_RUN, "--steps", "200", "--checkpoint-every", "1"]
    assert train(*run, "--out", "whole") == 0

    def stop(step, losses):
        if step == 140:
            raise end

    monkeypatch.setattr(cli_models, "_progress_bar", lambda name: stop)
    if end is Killed:
        with pytest.raises(Killed):
            main(["train", *run, "--out", "part"])
    else:
        assert main(["train", *run, "--out", "part"]) == 130
        assert "this goes on: evogen train --out part --resume" in capsys.readouterr().err
    assert "not finished; this goes on" in complains(capsys, "sample", "part")
    assert "holds a training already" in complains(capsys, "train", *run, "--out", "part")
    assert load_model("part/checkpoint.safetensors").unfinished_.n_done == 128
    assert train("--out", "part", "--resume") == 0
    assert same_run(tmp_path / "part", tmp_path / "whole")
    assert not (tmp_path / "part" / "checkpoint.safetensors").exists()
    capsys.readouterr()
    assert train("--out", "part", "--resume") == 0
    assert "is finished already" in capsys.readouterr().out


def test_a_training_without_a_checkpoint_starts_again_when_resumed(tmp_path, monkeypatch):
    def stop(step, losses):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_models, "_progress_bar", lambda name: stop)
    assert main(["train", *DDPM_RUN, "--steps", "4", "--out", "part"]) == 130
    assert train(*DDPM_RUN, "--steps", "4", "--out", "part", "--resume") == 0
    assert train(*DDPM_RUN, "--steps", "4", "--out", "whole") == 0
    assert same_run(tmp_path / "part", tmp_path / "whole")


def test_resuming_refuses_another_model_or_data(tmp_path, monkeypatch, capsys, pictures):
    def stop(step, losses):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_models, "_progress_bar", lambda name: stop)
    ae = ["--model", "ae", "--set", "hidden=[8]", "--data", pictures]
    assert main(["train", *ae, "--out", "run"]) == 130
    capsys.readouterr()
    for more, message in (
        (["--model", "vae"], "--model VAE: the training in run has AE"),
        (["--data", "digits"], "--data digits: the training in run has npz:pictures.npz"),
        (["--set", "hidden=[9]"], "hidden=(9,): the training in run has (8,)"),
        (["--set", "lr=1"], "lr=1: the training in run has the default"),
        (["--steps", "7"], "n_steps=7: the training in run has the default"),
        (["--seed", "7"], "random_state=7: the training in run has 0"),
        (["--conditional"], "--conditional: the training in run is not"),
    ):
        assert message in complains(capsys, "train", *more, "--out", "run", "--resume")
    np.savez(tmp_path / "pictures.npz", x=np.zeros((30, 1, 4, 4), dtype=np.uint8))
    assert "has changed since" in complains(capsys, "train", "--out", "run", "--resume")
    (tmp_path / "run" / "run.json").write_text("{")
    assert "run.json is damaged" in complains(capsys, "train", "--out", "run", "--resume")
    assert "holds no training" in complains(capsys, "train", "--out", "none", "--resume")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "digits"], "--model is missing"),
        (["--model", "vae"], "--data is missing"),
        (["--model", "dpm", "--data", "digits"], "did you mean 'ddpm'?"),
        (["--model", "vae", "--data", "digitz"], "did you mean 'digits'?"),
        (["--model", "vae", "--data", "images:none"], "there is no folder none"),
        (["--model", "vae", "--data", "ring:9", "--set", "latent_dims=3"], "'latent_dim'?"),
        (["--model", "vae", "--data", "ring:9", "--set", "latent_dim"], "give NAME=VALUE"),
        (["--model", "vae", "--data", "ring:9", "--set", "device=cpu"], "use --device"),
        (["--model", "vae", "--data", "ring:9", "--set", "latent_dim=0"], "latent_dim must be"),
        (["--model", "vae", "--data", "ring:9", "--device", "tpu"], "device must be one of"),
        (["--model", "vae", "--data", "ring:9", "--steps", "-1"], "n_steps must be at least 0"),
        (["--model", "vae", "--data", "ring:9", "--seed", "-1"], "random_state must be at least 0"),
        (["--model", "vae", "--data", "ring:9", "--checkpoint-every", "0"], "every must be"),
        (["--model", "vae", "--data", "ring:9", "--conditional"], "has no labels"),
        (["--model", "pca", "--data", "ring:9", "--steps", "3"], "fitted at once, without steps"),
        (["--model", "vib", "--data", "ring:9"], "labels"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_sentence(tmp_path, capsys, arguments, message):
    assert message in complains(capsys, "train", *arguments, "--out", "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["wgangp", "WGAN-GP", "wgan_gp"])
def test_models_are_found_by_any_spelling(name):
    assert find_model(name).__name__ == "WGANGP"


def test_a_model_in_closed_form_is_trained_too(capsys):
    assert train("--model", "pca", "--data", "ring:50", "--out", "run") == 0
    capsys.readouterr()
    assert main(["sample", "run", "-n", "4"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert np.asarray(rows, dtype=float).shape == (4, 2)


def test_samples_are_decided_by_the_seed_and_written_in_three_forms(tmp_path, capsys):
    assert train(*DDPM_RUN, "--steps", "5", "--out", "run") == 0
    for seed, name in (("1", "a.npz"), ("1", "b.npy"), ("1", "c.csv"), ("2", "d.npy")):
        assert main(["sample", "run", "-n", "6", "--seed", seed, "--out", name]) == 0
    a, b, d = np.load("a.npz")["x"], np.load("b.npy"), np.load("d.npy")
    assert a.shape == (6, 2)
    np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(np.loadtxt("c.csv", delimiter=","), a, rtol=1e-7)
    assert not np.array_equal(a, d)
    assert main(["sample", "run/model.safetensors", "-n", "9", "--grid", "points.png"]) == 0
    assert Image.open("points.png").size == (600, 600)


def test_a_class_is_sampled_and_drawn(tmp_path, capsys, pictures):
    run = ["--model", "ae", "--data", pictures, "--conditional", "--set", "hidden=[8]"]
    assert train(*run, "--set", "lr=0.03", "--steps", "100", "--out", "run") == 0
    condition = ["--condition", "0,1,2", "-n", "6"]
    assert main(["sample", "run", *condition, "--out", "s.npz", "--grid", "g.png"]) == 0
    with np.load("s.npz") as file:
        assert file["condition"].tolist() == [0, 1, 2, 0, 1, 2]
        means = file["x"].mean(axis=(1, 2, 3))
    np.testing.assert_allclose(means, np.array([0, 1, 2, 0, 1, 2]) * 100 / 255, atol=0.1)
    # 3 columns and 2 rows of 4 pixels with a line around each, enlarged 8 times.
    assert Image.open("g.png").size == (8 * (3 * 5 + 1), 8 * (2 * 5 + 1))
    capsys.readouterr()
    assert main(["sample", "run", "--condition", "2", "-n", "1"]) == 0
    assert "samples.png shows 1 samples" in capsys.readouterr().out
    assert (tmp_path / "run" / "samples.png").exists()
    assert "condition must be given" in complains(capsys, "sample", "run")
    assert "one of the labels 0, 1, 2; got 7" in complains(
        capsys, "sample", "run", "--condition", "7"
    )
    assert "give labels such as" in complains(capsys, "sample", "run", "--condition", "x")


def test_what_cannot_be_sampled_is_refused_in_one_sentence(tmp_path, capsys):
    AE(n_steps=1, hidden=(4,)).fit(np.random.default_rng(0).normal(size=(9, 3))).save("m")
    for arguments, message in (
        (["none"], "there is no trained model in none"),
        (["m", "--grid", "a.png"], "items of this model have shape (3,): use --out"),
        (["m", "--grid", "a.doc"], "'a.doc' must end in one of .png"),
        (["m", "--out", "a.doc"], "'a.doc' must end in one of .npz"),
        (["m", "--out", "none/a.npz"], "cannot be written"),
        (["m", "-n", "0"], "-n at least 1"),
        (["m", "--condition", "1"], "fitted without one"),
        (["m", "--device", "tpu"], "device must be one of"),
    ):
        assert message in complains(capsys, "sample", *arguments)
    (tmp_path / "m").write_bytes(b"no model")
    assert "is not a usable model file" in complains(capsys, "sample", "m")


def test_a_grid_shows_every_image_in_its_place():
    x = torch.zeros(3, 1, 2, 2)
    x[1, 0, 0, 1] = 1.0
    sheet = image_grid(x)
    assert sheet.shape == (7 * 16, 7 * 16)
    small = sheet[::16, ::16]
    expected = np.full((7, 7), 128)
    expected[1:3, 1:3] = expected[1:3, 4:6] = expected[4:6, 1:3] = 0
    expected[1, 5] = 255
    np.testing.assert_array_equal(small, expected)
    assert image_grid(torch.ones(1, 3, 40, 50)).shape == (42, 52, 3)
