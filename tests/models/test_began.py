"""The boundary equilibrium GAN."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from evogen.models import load_model
from evogen.models.adversarial_networks import ConvDiscriminator, ConvGenerator
from evogen.models.began import BEGAN, AutoencoderJudge


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def circle(n: int, seed: int = 0) -> np.ndarray:
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi, n)
    return np.column_stack((np.cos(angle), np.sin(angle)))


def test_the_logit_is_minus_the_error_of_the_reconstruction():
    x = torch.tensor([[1.0, -2.0], [0.0, 3.0]])
    for power, errors in ((1, [1.5, 1.5]), (2, [2.5, 4.5])):
        judge = AutoencoderJudge(torch.nn.Identity(), lambda code, condition: 0 * code, power)
        assert torch.allclose(judge(x), -torch.tensor(errors)[:, None])


def test_losses_have_the_values_of_the_paper():
    """Berthelot et al. 2017, eq. 5, with the negatives' share in L(G(z))."""
    x = circle(30)
    model = BEGAN(n_steps=5, negative_weight=0.25).fit(x, negative=x + 4)
    model.judge.k.fill_(0.3)
    real, negative = model.prepare_x(x), model.prepare_x(x[:7] + 4)
    z = model.draw_latent(30, generator())
    with torch.no_grad():

        def error(rows: torch.Tensor) -> torch.Tensor:
            return (rows - model.judge.decoder(model.judge.encoder(rows))).abs().mean()

        fake = model.forward_generator(z, None)
        low = 0.75 * error(fake) + 0.25 * error(negative)
        found = model.discriminator_loss(real, z, None, negative, None)
        assert torch.allclose(found, error(real) - 0.3 * low)
        assert torch.allclose(model.generator_loss(z, None, None), error(fake))


def test_the_control_moves_k_by_the_papers_rule_and_reports_m():
    x = circle(40)
    model = BEGAN(n_steps=1, gamma=0.7, lambda_k=0.1).fit(x)
    ks, ms, errors = [], [], []

    def look(step, losses):
        ks.append(model.k_)
        ms.append(float(losses["convergence"]))
        errors.append(model.judge.errors.tolist())

    k = model.k_
    model.fit(x, n_steps=12, callback=look)
    for found, m, (real, fake) in zip(ks, ms, errors, strict=True):
        k = min(1.0, max(0.0, k + 0.1 * (0.7 * real - fake)))
        assert found == pytest.approx(k, abs=1e-6)
        assert m == pytest.approx(real + abs(0.7 * real - fake), abs=1e-6)
    assert len(set(ks)) > 1
    assert model.losses_["convergence"].tolist() == pytest.approx(ms)
    assert model.convergence_ == pytest.approx(ms[-1])


@pytest.mark.parametrize(("errors", "bound"), [((0.0, 1.0), 0.0), ((1.0, 0.0), 1.0)])
def test_k_stays_between_zero_and_one(errors, bound):
    model = BEGAN(n_steps=2, lambda_k=0.9).fit(circle(20))
    rows = model.check_rows(circle(20), None)
    rows.x = rows.x.float()
    control = model.objectives(rows)[2]
    for _ in range(5):
        model.judge.errors.copy_(torch.tensor(errors))
        control.step(())
    assert model.k_ == bound


def test_with_generated_rows_too_easy_to_reconstruct_the_discriminator_is_turned_against_them():
    """The sign of the control: k rises when L(G(z)) is below gamma L(x)."""
    model = BEGAN(n_steps=1).fit(circle(20))
    rows = model.check_rows(circle(20), None)
    rows.x = rows.x.float()
    control = model.objectives(rows)[2]
    model.judge.k.fill_(0.5)
    model.judge.errors.copy_(torch.tensor([1.0, 0.1]))
    control.step(())
    assert model.k_ > 0.5
    real, z = model.prepare_x(circle(20)), model.draw_latent(20, generator())
    losses = []
    for k in (0.0, 1.0):
        model.judge.k.fill_(k)
        losses.append(float(model.discriminator_loss(real, z, None, None, None).detach()))
    assert losses[1] < losses[0]


def test_k_is_saved_and_copied(tmp_path):
    model = BEGAN(n_steps=30, lambda_k=0.05, random_state=1).fit(circle(60))
    assert 0 < model.k_ < 1
    model.save(tmp_path / "m")
    for twin in (load_model(tmp_path / "m"), copy.deepcopy(model)):
        assert twin.k_ == model.k_
        assert twin.convergence_ == model.convergence_
        again = copy.deepcopy(model).fit(circle(60))
        assert twin.fit(circle(60)).k_ == again.k_ != model.k_


@pytest.mark.parametrize(("d", "wanted", "width"), [(2, None, 1), (2, 9, 1), (8, 3, 3), (1, 4, 1)])
def test_the_code_is_narrower_than_the_data(d, wanted, width):
    x = np.random.default_rng(0).normal(size=(10, d))
    judge = BEGAN(n_steps=1, bottleneck=wanted).fit(x).judge
    assert judge.encoder(torch.zeros(1, d)).shape == (1, width)


def test_on_images_the_autoencoder_is_convolutional():
    judge = BEGAN(n_steps=1).fit(np.random.default_rng(0).random((10, 1, 6, 6))).judge
    assert isinstance(judge.encoder, ConvDiscriminator)
    assert isinstance(judge.decoder, ConvGenerator)
    assert judge.encoder(torch.zeros(1, 36)).shape == (1, 9)


def test_it_moves_from_its_start_to_the_data():
    x = np.concatenate((circle(200), np.zeros((200, 3))), axis=1) + 5
    settings = {"lambda_k": 0.02, "bottleneck": 2, "ema_decay": 0.98, "normalize": False}
    off = []
    for n_steps in (0, 400):
        rows = BEGAN(**settings).fit(x, n_steps=n_steps).sample(500).double() - 5
        radius = rows[:, :2].norm(dim=1)
        off.append(float((radius - 1).abs().mean() + rows[:, 2:].abs().mean()))
    assert off[1] < 0.15 * off[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gamma": 1.5}, "gamma must be at least 0 and at most 1"),
        ({"lambda_k": -1}, "lambda_k must be at least 0"),
        ({"bottleneck": 0}, "bottleneck must be at least 1"),
        ({"power": 3}, "power must be one of 1, 2"),
    ],
)
def test_bad_parameters_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        BEGAN(**arguments)
