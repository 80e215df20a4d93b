"""Diffusion: toys with a perceptron, digits with a U-Net, few steps, and guidance."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from criteria.common import Criterion, Figures, criterion
from criteria.yardsticks import class_accuracy, digits_split, image_scores, toy_scores
from evogen.models import DDPM
from evogen.models.rng import normal, seeded_generator
from evogen.models.toys import TOYS

TOY_POINTS = 100_000
# So many images, 20 or so steps each, are seconds.
N_SCORED = 4000
N_PAIRED, N_PER_CLASS = 300, 50
WEIGHTS = (0.0, 1.0, 1.5, 2.0, 4.0)

# The best of what the literature says for two dimensions, see Tancik et al. 2020 on the features.
TOY: dict[str, Any] = {
    "prediction": "noise",
    "n_octaves": 6,
    "hidden": (192, 192, 192),
    "time_dim": 32,
    "batch_size": 512,
    "lr": 2e-3,
    "schedule": "cosine",
    "ema_decay": 0.999,
    "n_steps": 6000,
    "n_sample_steps": None,
    "eta": 1.0,
    "clip": None,
}
DIGITS: dict[str, Any] = {
    "lr": 2e-3,
    "schedule": "cosine",
    "ema_decay": 0.995,
    "max_grad_norm": 1.0,
    "batch_size": 64,
    "n_steps": 1000,
    "n_sample_steps": 25,
    "clip": 0.0,
}


def on_toy(name: str, seed: int, **arguments: Any) -> Figures:
    """Scores of 2500 samples by all 1000 steps, and the seconds of the training."""
    x = TOYS[name](TOY_POINTS, seeded_generator(seed, 0))
    start = time.process_time()
    model = DDPM(**{**TOY, **arguments}, random_state=seed).fit(x)
    seconds = time.process_time() - start
    return {**toy_scores(model.sample, name), "fit_cpu_s": seconds}


def on_digits(seed: int, **arguments: Any) -> Figures:
    """Image scores of the U-Net without labels, and the seconds of the training."""
    start = time.process_time()
    model = DDPM(**{**DIGITS, **arguments}, random_state=seed).fit(digits_split()[0])
    seconds = time.process_time() - start
    return {**image_scores(model.sample(N_SCORED)), "fit_cpu_s": seconds}


def few_steps(seed: int, eta: float = 0.0, n_few: int = 50) -> Figures:
    """Fréchet distance by few steps, by all 1000 of DDIM, and their ratio, from the same noise."""
    model = DDPM(**DIGITS, random_state=seed).fit(digits_split()[0], n_steps=600)
    distances = {}
    for n_steps, noisy in ((n_few, eta), (1000, 0.0)):
        model.n_sample_steps, model.eta = n_steps, noisy
        x = model.sample(N_PAIRED, generator=seeded_generator(seed, 1))
        distances[n_steps] = image_scores(x)["fd"]
    few, many = distances[n_few], distances[1000]
    return {"ratio": few / many, "fd_few": few, "fd_1000": many}


class SwappedGuidance(DDPM):
    """Guidance with the two sides exchanged, which is easily done."""

    def guided(self, x: Tensor, t: float, condition: Tensor | None) -> Tensor:
        """The network's output, wrongly mixed."""
        weight, self.guidance = self.guidance, 1.0
        with_, without = super().guided(x, t, condition), super().guided(x, t, None)
        self.guidance = weight
        return torch.lerp(with_, without, weight)


def guidance_sweep(seed: int, cls: type[DDPM] = DDPM) -> Figures:
    """Share of images that show the digit asked for, by the weight of the guidance."""
    train, labels, _, _ = digits_split()
    model = cls(**DIGITS, random_state=seed).fit(train, labels)
    asked = torch.arange(10).repeat(N_PER_CLASS)
    figures: Figures = {}
    model.n_sample_steps = 20
    for weight in WEIGHTS:
        model.guidance = weight
        x = model.sample(len(asked), asked)
        figures[f"accuracy_{weight:g}"] = class_accuracy(x, asked)
        figures[f"fd_{weight:g}"] = image_scores(x)["fd"]
    return figures


def inversion(seed: int, n_corrections: int = 3) -> Figures:
    """Largest difference of a pixel, for 100 test digits that are inverted and sampled again."""
    train, _, test, _ = digits_split()
    model = DDPM(**DIGITS, random_state=seed).fit(train, n_steps=400)
    model.n_sample_steps = 100
    noise = model.invert(test[:100], n_corrections=n_corrections)
    error = (model.sample_from(noise) - test[:100]).abs()
    other = normal(tuple(noise.shape), seeded_generator(seed, 2))
    unlike = (model.sample_from(other) - test[:100]).abs()
    return {
        "mean_error": float(error.mean()),
        "largest_error": float(error.max()),
        "unlike": float(unlike.mean()),
        "noise_std": float(noise.std()),
    }


for toy, modes, most in (("ring", 8, 0.01), ("grid", 25, 0.015)):
    criterion(
        Criterion(
            name=f"ddpm-{toy}",
            model="DDPM",
            what=f"{toy}: modes captured with at least a fifth of their share",
            figure="strict",
            at_least=modes,
            also={
                "high_quality": (0.95, None),
                "reverse_kl": (None, most),
                "mmd2": (None, 0.006),
                "fit_cpu_s": (None, 60.0),
            },
            run=lambda seed, toy=toy: on_toy(toy, seed),  # type: ignore[misc]
            broken=lambda seed, toy=toy: on_toy(toy, seed, n_octaves=0),  # type: ignore[misc]
            broken_what="perceptron on x itself, without sines and cosines of it",
            reference=f"diffusers' scheduler, same net: {modes}, high quality 0.99, 22-33 CPU-s",
        )
    )

criterion(
    Criterion(
        name="ddpm-digits",
        model="DDPM",
        what="digits, U-Net of 140,000 weights, 25 steps: Fréchet distance of samples",
        figure="fd",
        at_most=22.0,
        also={"nn": (0.9, None), "fit_cpu_s": (None, 90.0)},
        run=on_digits,
        broken=lambda seed: on_digits(seed, architecture="mlp"),
        broken_what="perceptron on the pixels",
        reference="denoising-diffusion-pytorch 22.2 in 84 CPU-s; mixture of 30 Gaussians 15.7",
    )
)

criterion(
    Criterion(
        name="ddim-steps",
        model="DDPM",
        what="digits: Fréchet distance by 50 steps over that by 1000, 300 images of equal noise",
        figure="ratio",
        at_most=1.2,
        run=few_steps,
        broken=lambda seed: few_steps(seed, eta=1.0, n_few=10),
        broken_what="10 steps with all the noise of DDPM",
        reference="CIFAR-10, Song et al. 2021: 4.67 / 4.04; DDPM's noise in 10 steps 367",
        n_seeds=3,
    )
)

criterion(
    Criterion(
        name="ddpm-guidance",
        model="DDPM",
        what="digits: share of images that show the digit asked for, guidance 2",
        figure="accuracy_2",
        at_least=0.98,
        also={"accuracy_0": (0.05, 0.15), "accuracy_1": (0.85, None)},
        run=guidance_sweep,
        broken=lambda seed: guidance_sweep(seed, SwappedGuidance),
        broken_what="the two sides of the guidance exchanged",
        reference="diffusers: 0.113, 0.871, 0.986, 0.996, 0.955 for w = 0, 1, 1.5, 2, 4",
        n_seeds=3,
    )
)

criterion(
    Criterion(
        name="ddim-inversion",
        model="DDPM",
        what="test digits inverted to noise and back: mean difference of a pixel in [0, 1]",
        figure="mean_error",
        at_most=1e-2,
        also={"unlike": (0.1, None), "noise_std": (0.7, 1.3)},
        run=inversion,
        reference="0 if solved exactly",
        n_seeds=3,
    )
)
