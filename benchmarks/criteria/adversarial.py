"""What adversarial models must reach on the toys and on digits."""

from __future__ import annotations

from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import spearmanr
from torch import Tensor

from criteria.common import Criterion, Figures, criterion
from criteria.yardsticks import digits_split, image_scores, toy_data, toy_scores
from evogen.models.adversarial import AdversarialModel
from evogen.models.began import BEGAN
from evogen.models.dcgan import DCGAN
from evogen.models.gan import GAN
from evogen.models.lsgan import LSGAN
from evogen.models.rng import seeded_generator, uniform
from evogen.models.wgan import WGAN
from evogen.models.wgangp import WGANGP

N_TOY = 100_000
WIDE = {"hidden_generator": (128,) * 3, "hidden_discriminator": (128,) * 3, "latent_dim": 8}
STEADY: dict[str, Any] = {
    **WIDE,
    "batch_size": 256,
    "betas": (0.0, 0.99),
    "schedule": "linear",
    "ema_decay": 0.999,
}
"""Adam without momentum, a rate that falls in the second half, averaged weights."""
SHORT: dict[str, Any] = {**WIDE, "batch_size": 256, "betas": (0.5, 0.9)}
"""The same networks as they are often trained: momentum, one rate, the last weights."""
CRITIC_FIRST: dict[str, Any] = {
    "n_steps": 4000,
    "n_critic": 5,
    "n_octaves": 5,
    "lr_discriminator": 2e-3,
}
"""A critic that is near its optimum before every step of G, and sees modes of a hundredth."""
ON_GRID: dict[str, Any] = {"n_steps": 6000, "latent_dim": 2, "hidden_generator": (256,) * 3}
"""For 25 modes, a generator that cuts the plane into them."""
N_UPDATES = 5000

BEGAN_SETTINGS: dict[str, Any] = {
    "n_steps": 4500,
    "gamma": 0.9,
    "lambda_k": 0.1,
    "power": 2,
    "ema_decay": 0.99,
    "lr_generator": 2e-3,
    "latent_dim": 16,
    "architecture": "mlp",
    "norm": "batch",
    "norm_discriminator": "layer",
    "packing": 4,
    "batch_size": 256,
    "hidden_generator": (256, 256),
    "hidden_discriminator": (256, 128),
}


def on_toy(model: AdversarialModel, name: str, seed: int) -> Figures:
    """Scores of a model fitted to a toy set."""
    return toy_scores(model.fit(toy_data(name, N_TOY, seed)).sample, name, seed)


def gan_on_ring(cls: type[AdversarialModel], seed: int, **settings: Any) -> Figures:
    """Scores of an adversarial model after 5,000 updates on the ring."""
    return on_toy(cls(n_steps=N_UPDATES, random_state=seed, **settings), "ring", seed)


def slope_between(model: AdversarialModel, x: Tensor, seed: int) -> float:
    """Mean length of the critic's gradient halfway, at random, between data and samples."""
    generator = seeded_generator(seed, 2)
    real = model.prepare_x(x[:2000])
    fake = model.prepare_x(model.sample(2000, generator=generator))
    between = torch.lerp(real, fake, uniform((2000, 1), generator))
    return float(model.squared_slope(between, None).detach().sqrt().mean())


def wgan_gp(name: str, seed: int, **settings: Any) -> Figures:
    """Scores of a WGAN-GP on a toy set, and the slope of its critic."""
    given = {**STEADY, **CRITIC_FIRST, **settings}
    model = WGANGP(random_state=seed, **given)
    x = toy_data(name, N_TOY, seed)
    scores = toy_scores(model.fit(x).sample, name, seed)
    return {**scores, "slope": slope_between(model, x, seed)}


def wasserstein_1(a: Tensor, b: Tensor) -> float:
    """Exact distance between equally many rows: the mean cost of the best assignment."""
    cost = torch.cdist(a.double(), b.double()).numpy()
    return float(cost[linear_sum_assignment(cost)].mean())


def wgan_follows_distance(cls: type[AdversarialModel], seed: int, **settings: Any) -> Figures:
    """Rank correlation of the critic's loss with the exact distance while G travels to the ring."""
    x = toy_data("ring", 512, seed) + torch.tensor([3.0, -2.0])
    model = cls(
        n_steps=200,
        n_critic=5,
        normalize=False,
        lr_generator=3e-4,
        lr_discriminator=1e-2,
        random_state=seed,
        **settings,
    )
    estimates, exact, largest = [], [], []

    def look(step: int, losses: dict[str, Tensor]) -> None:
        largest.append(float(model.weights_["discriminator"].flat.abs().max()))
        if step % 5 == 4:
            made = model.sample(512, generator=seeded_generator(seed, 3))
            exact.append(wasserstein_1(made, x))
            estimates.append(-float(losses["discriminator"]))

    model.fit(x, callback=look)
    return {
        "spearman": float(spearmanr(estimates, exact).statistic),
        "largest_weight": max(largest),
        "distance_left": exact[-1] / exact[0],
    }


def dcgan_on_digits(seed: int, **settings: Any) -> Figures:
    """Image scores of a DCGAN with faster rates than the paper's, which are for longer fits."""
    given = {
        "n_steps": 1500,
        "lr_generator": 1e-3,
        "lr_discriminator": 1e-3,
        "schedule": "linear",
        "ema_decay": 0.99,
        **settings,
    }
    model = DCGAN(random_state=seed, **given)
    return image_scores(model.fit(digits_split()[0]).sample, seed)


def mistaken_penalty(seed: int) -> Figures:
    """A WGAN-GP on the ring without its penalty."""
    return wgan_gp("ring", seed, gp_weight=0.0)


def began_on_digits(seed: int, *, wrong_sign: bool = False) -> Figures:
    """Image scores of a BEGAN, and its equilibrium over the last tenth of the fit."""
    model = BEGAN(random_state=seed, **BEGAN_SETTINGS)
    if wrong_sign:
        model.lambda_k = -model.lambda_k
    errors, ks = [], []

    def look(step: int, losses: dict[str, Tensor]) -> None:
        errors.append(model.judge.errors.clone())
        ks.append(model.k_)

    model.fit(digits_split()[0], callback=look)
    m, tenth = model.losses_["convergence"], len(errors) // 10
    real, fake = torch.stack(errors[-tenth:]).mean(dim=0).tolist()
    # M of one batch is noisy: means over 1 % of the fit, from 5 % on, and at the end.
    part = max(1, len(m) // 100)
    early, late = m[len(m) // 20 :][:part].mean(), m[-part:].mean()
    return {
        **image_scores(model.sample, seed),
        "fall": float(1 - late / early),
        "k": ks[-1],
        "ratio_error": abs(fake / real - model.gamma),
    }


for cls, least, reference in (
    (GAN, 6, "a reference loop, 4,000 updates: strict 5-6, rKL 0.0005-0.003, MMD2 0.020-0.025"),
    (LSGAN, 7, "PacGAN's GAN after 400,000 updates: 6.3"),
):
    criterion(
        Criterion(
            name=f"{cls.__name__.lower()}-ring",
            model=cls.__name__,
            what="ring, 5,000 updates: modes with at least a fifth of their share",
            figure="strict",
            at_least=least,
            also={"reverse_kl": (None, 0.1), "mmd2": (None, 0.03)},
            run=lambda seed, cls=cls: gan_on_ring(cls, seed, r1=0.1, **STEADY),  # type: ignore[misc]
            broken=lambda seed, cls=cls: gan_on_ring(cls, seed, **SHORT),  # type: ignore[misc]
            broken_what="no R1, momentum, one rate, no average",
            reference=reference,
        )
    )

criterion(
    Criterion(
        name="wgan-distance",
        model="WGAN",
        what="2-d: rank correlation of the critic's loss with the exact distance over training",
        figure="spearman",
        at_least=0.8,
        also={"largest_weight": (None, 0.1 + 1e-6), "distance_left": (None, 0.5)},
        run=lambda seed: wgan_follows_distance(WGAN, seed, clip=0.1),
        broken=lambda seed: wgan_follows_distance(GAN, seed),
        broken_what="a GAN's loss taken for a distance, weights not clipped",
    )
)

for toy, least, settings in (("ring", 8, {}), ("grid", 24, ON_GRID)):
    criterion(
        Criterion(
            name=f"wgan-gp-{toy}",
            model="WGANGP",
            what=f"{toy}: modes with at least a fifth of their share; slope between, at weight 10",
            figure="strict",
            at_least=least,
            also={"slope": (0.9, 1.1)},
            run=lambda seed, toy=toy, more=settings: wgan_gp(toy, seed, **more),  # type: ignore[misc]
            broken=mistaken_penalty if toy == "ring" else None,
            broken_what="no penalty" if toy == "ring" else "",
            reference="torchgan, 2,000 critic steps: strict 0",
        )
    )

criterion(
    Criterion(
        name="dcgan-digits",
        model="DCGAN",
        what="digits, 1,500 updates: Fréchet distance of samples",
        figure="fd",
        at_most=40.0,
        also={"nn": (0.8, 2.0), "entropy": (2.2, 2.31)},
        run=dcgan_on_digits,
        broken=lambda seed: dcgan_on_digits(seed, lr_generator=1e-6),
        broken_what="a generator that hardly learns",
        reference="one Gaussian 148, mixture of 30: 15.7",
    )
)

criterion(
    Criterion(
        name="began-digits",
        model="BEGAN",
        what="digits: Fréchet distance of samples, with M, k and the ratio of errors in order",
        figure="fd",
        at_most=100.0,
        also={
            "fall": (0.6, None),
            "k": (1e-6, 1 - 1e-6),
            "ratio_error": (None, 0.1),
            "entropy": (2.0, 2.31),
        },
        run=began_on_digits,
        broken=lambda seed: began_on_digits(seed, wrong_sign=True),
        broken_what="wrong sign of the control: k stays 0",
        reference="torchgan on the ring: M 0.067, k 0, no mode",
    )
)
