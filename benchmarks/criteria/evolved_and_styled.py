"""Criteria of StyleGAN and of E-GAN: digits, and the grid of 25 modes."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from criteria.common import Criterion, Figures, criterion
from criteria.yardsticks import (
    class_probabilities,
    digits_split,
    image_scores,
    toy_data,
    toy_scores,
)
from evogen.models.egan import EGAN, MUTATIONS
from evogen.models.rng import normal, seeded_generator
from evogen.models.style_networks import StyleGenerator
from evogen.models.stylegan import StyleGAN, path_length

N_STYLE_STEPS = 1500
STYLE: dict[str, Any] = {"mixing": 0.5}
N_PROBED, N_TAUGHT = 4000, 3000
N_PATHS = 2000

# Digits: StyleGAN.


@lru_cache(maxsize=1)
def trained_stylegan(seed: int) -> StyleGAN:
    """An unconditional StyleGAN of the training digits; about 90 CPU-s."""
    return StyleGAN(**STYLE, random_state=seed).fit(digits_split()[0], n_steps=N_STYLE_STEPS)


def digits(seed: int) -> Figures:
    """Scores of the samples."""
    return image_scores(trained_stylegan(seed).sample, seed=seed)


class StylelessGAN(StyleGAN):
    """A StyleGAN whose styles do not depend on z: noise alone varies its images."""

    def make_generator(self) -> nn.Module:
        """A generator whose mapping network gives a constant."""
        network = super().make_generator()
        assert isinstance(network, StyleGenerator)
        network.mapping.register_forward_hook(lambda module, given, w: 0 * w)
        return network


def styleless_digits(seed: int) -> Figures:
    """Scores of the broken variant."""
    model = StylelessGAN(**STYLE, random_state=seed).fit(digits_split()[0], n_steps=N_STYLE_STEPS)
    return image_scores(model.sample, seed=seed)


def probe_accuracy(code: Tensor, label: Tensor) -> float:
    """Share of held-out labels that logistic regression tells from standardized codes."""
    x = ((code - code.mean(dim=0)) / code.std(dim=0).clamp_min(1e-6)).numpy()
    probe = LogisticRegression(max_iter=2000).fit(x[:N_TAUGHT], label[:N_TAUGHT])
    return float(probe.score(x[N_TAUGHT:], label[N_TAUGHT:]))


def spaces(seed: int) -> Figures:
    """How well Z and W tell the class of the digit made of them, and how smooth they are."""
    model = trained_stylegan(seed)
    generator = seeded_generator(seed, 1)
    z = normal((N_PROBED, model.n_z), generator)
    w = model.mapping(z)
    label = class_probabilities(model.synthesize(w, generator=generator)).argmax(dim=1)
    in_z, in_w = probe_accuracy(z, label), probe_accuracy(w, label)
    path_z, path_w = (
        path_length(model, space, n=N_PATHS, generator=seeded_generator(seed, 2))
        for space in ("z", "w")
    )
    return {
        "gain": in_w - in_z,
        "probe_z": in_z,
        "probe_w": in_w,
        "path_ratio": path_w / path_z,
        "path_z": path_z,
        "path_w": path_w,
    }


criterion(
    Criterion(
        name="stylegan-digits",
        model="StyleGAN",
        what="8 x 8 digits, Fréchet distance of a classifier's features, 1500 steps",
        figure="fd",
        run=digits,
        at_most=150.0,
        also={"nn": (0.8, None), "entropy": (2.2, None)},
        reference="one Gaussian 148, mixture of 30 Gaussians 16; no other library has StyleGAN v1",
        broken=styleless_digits,
        broken_what="the styles do not depend on z",
    )
)
criterion(
    Criterion(
        name="stylegan-spaces",
        model="StyleGAN",
        what="digits, accuracy of a linear probe of the class in W minus that in Z",
        figure="gain",
        run=spaces,
        at_least=0.0,
        also={"path_ratio": (None, 1.0)},
        reference="Karras et al. 2019, tables 3 and 4: W is better separated and smoother than Z",
    )
)

# The grid: E-GAN.

N_GRID = 20_000
N_UPDATES = 2000
GRID: dict[str, Any] = {
    "latent_dim": 8,
    "hidden_generator": (64, 64, 64),
    "hidden_discriminator": (64, 64, 64),
    "batch_size": 128,
    "lr_generator": 3e-3,
    "lr_discriminator": 3e-3,
    "betas": (0.0, 0.99),
    "r1": 0.1,
    "ema_decay": 0.999,
    "schedule": "linear",
}


def _grid_gan(seed: int, **settings: Any) -> EGAN:
    model = EGAN(**GRID, **settings, random_state=seed)
    return model.fit(toy_data("grid", N_GRID, seed), n_steps=N_UPDATES)


@lru_cache(maxsize=1)
def single_mutations(seed: int) -> dict[str, Figures]:
    """Scores of the GANs of one mutation each, after as many updates of D."""
    return {
        name: toy_scores(_grid_gan(seed, mutations=(name,)).sample, "grid", seed)
        for name in MUTATIONS
    }


def _grid_scores(seed: int, **settings: Any) -> Figures:
    model = _grid_gan(seed, **settings)
    single = single_mutations(seed)
    scores = toy_scores(model.sample, "grid", seed)
    n = sum(model.selected_.values())
    best = {key: max(s[key] for s in single.values()) for key in ("strict", "captured")}
    return {
        "lead": scores["strict"] - best["strict"],
        "lead_captured": scores["captured"] - best["captured"],
        **{key: scores[key] for key in ("strict", "captured", "high_quality", "reverse_kl")},
        **{f"single_{key}": value for key, value in best.items()},
        **{f"selected_{name}": count / n for name, count in model.selected_.items()},
        "second": sorted(model.selected_.values())[-2] / n,
    }


def grid(seed: int) -> Figures:
    """E-GAN against the best GAN of one mutation; "second" is the share of the second mutation."""
    return _grid_scores(seed)


class Overconfident(EGAN):
    """The sign of the diversity turned round: a D that learns most from a child likes it."""

    def fitness(self, quality: Tensor, diversity: Tensor) -> Tensor:
        """Fq - gamma Fd."""
        return super().fitness(quality, -diversity)


def overconfident_grid(seed: int) -> Figures:
    """The same with the sign turned round."""
    model = Overconfident(**GRID, random_state=seed)
    model.fit(toy_data("grid", N_GRID, seed), n_steps=N_UPDATES)
    scores = toy_scores(model.sample, "grid", seed)
    best = max(s["strict"] for s in single_mutations(seed).values())
    n = sum(model.selected_.values())
    second = sorted(model.selected_.values())[-2] / n
    return {"lead": scores["strict"] - best, "second": second, **scores}


criterion(
    Criterion(
        name="egan-grid",
        model="EGAN",
        what="grid, strict modes of 25 more than the best GAN of one of its mutations, same "
        "networks and 2000 updates of D each",
        figure="lead",
        run=grid,
        at_least=0.0,
        also={"second": (0.05, None)},
        reference="the authors publish no numbers on toys; their PyTorch code on the ring, 3000 "
        "updates: 1 mode, none strict",
        broken=overconfident_grid,
        broken_what="the diversity's sign turned round, as in the authors' PyTorch code",
    )
)
