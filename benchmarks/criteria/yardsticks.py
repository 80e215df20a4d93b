"""Data that every model is measured on, and the scores of its samples.

The digits are scikit-learn's, 8 x 8; the toys are PacGAN's ring and grid (Lin et al. 2018). No
single score is honest: a memorizer has the smallest Fréchet distance, so look at `nn` as well; one
Gaussian captures 19 modes of 25; a collapse to one mode has 99 % of high quality.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from evogen.models.metrics import frechet_distance, mmd2, mode_coverage, nearest_distance
from evogen.models.rng import integers, seeded_generator
from evogen.models.toys import GRID_STD, RING_STD, grid, grid_modes, ring, ring_modes

Sampler = Callable[[int], Any]

N_DRAWS, N_DRAWN = 5, 2000
"""Fréchet distances are means over so many draws of so many images."""
N_NEAREST = 500
N_TOY, N_MMD = 2500, 1000
N_CLASSES = 10
N_EPOCHS, BATCH_SIZE, NOISE_STD = 60, 64, 0.05


@lru_cache(maxsize=1)
def _split() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x, y = load_digits(return_X_y=True)
    parts = train_test_split(x / 16, y, test_size=360, random_state=0, stratify=y)
    train, test = (torch.as_tensor(a, dtype=torch.float32).view(-1, 1, 8, 8) for a in parts[:2])
    train_y, test_y = (torch.as_tensor(a, dtype=torch.int64) for a in parts[2:])
    return train, train_y, test, test_y


def digits_split() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The handwritten digits, split once and for all, with equal shares of the classes.

    Returns:
        Training images `(1437, 1, 8, 8)` in [0, 1], training labels `(1437,)`, test images
        `(360, 1, 8, 8)`, test labels `(360,)`.
    """
    train, train_y, test, test_y = (part.clone() for part in _split())
    return train, train_y, test, test_y


def binary(images: Tensor) -> Tensor:
    """Images of 0 and 1: which pixels are brighter than a half."""
    return (images > 0.5).float()


class FeatureNetwork(nn.Module):
    """A small convolutional classifier of the digits; its 64 features are what images are seen by.

    Two 3 x 3 convolutions (32 and 64 channels, ReLU), 2 x 2 max pooling, 64 features (ReLU), 10
    classes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(1024, 64),
            nn.ReLU(),
        )
        self.head = nn.Linear(64, N_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(n, 10)` of images `(n, 1, 8, 8)` in [0, 1]."""
        logits: Tensor = self.head(self.body(images))
        return logits


def train_feature_network(seed: int) -> FeatureNetwork:
    """A new network trained on the training digits for 60 epochs; about 7 CPU-s.

    AdamW (1e-3, weight decay 1e-2), batches of 64 from one permutation per epoch, Gaussian noise
    of standard deviation 0.05 on every batch.
    """
    images, labels, _, _ = digits_split()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        network = FeatureNetwork()
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-2)
        for _ in range(N_EPOCHS):
            for index in torch.randperm(len(images)).split(BATCH_SIZE):
                x = images[index]
                x = x + NOISE_STD * torch.randn_like(x)
                loss = F.cross_entropy(network(x), labels[index])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return network.eval().requires_grad_(False)


@lru_cache(maxsize=8)
def feature_network(seed: int = 0) -> FeatureNetwork:
    """The trained network of a seed, shared by processes through a file in the temporary folder."""
    # Other versions may train to other bits.
    version = torch.__version__.replace("+", "-")
    user = os.getuid() if hasattr(os, "getuid") else 0
    path = Path(tempfile.gettempdir()) / f"evogen-digits-{user}-{version}-{seed}.safetensors"
    if path.exists():
        network = FeatureNetwork()
        network.load_state_dict(load_file(path))
        return network.eval().requires_grad_(False)
    network = train_feature_network(seed)
    # Written under another name first, so that nobody reads half a file.
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, unfinished)
    unfinished.replace(path)
    return network


@torch.no_grad()
def features(images: Any, *, network_seed: int = 0) -> Tensor:
    """The 64 features of images in [0, 1], `(n, 64)`."""
    seen: Tensor = feature_network(network_seed).body(as_digits(images))
    return seen


@torch.no_grad()
def class_probabilities(images: Any, *, network_seed: int = 0) -> Tensor:
    """Probabilities of the ten digits, `(n, 10)`."""
    return torch.softmax(feature_network(network_seed)(as_digits(images)), dim=1)


def class_accuracy(images: Any, labels: Any, *, network_seed: int = 0) -> float:
    """Share of images that the network takes for what they should show, in [0, 1]."""
    predicted = class_probabilities(images, network_seed=network_seed).argmax(dim=1)
    return float((predicted == torch.as_tensor(labels).cpu()).double().mean())


def as_digits(images: Any) -> Tensor:
    """Images as the network wants them: float32 `(n, 1, 8, 8)` on the CPU, clipped to [0, 1]."""
    tensor = torch.as_tensor(images).detach().to("cpu", torch.float32)
    return tensor.reshape(-1, 1, 8, 8).clamp(0, 1)


@lru_cache(maxsize=8)
def _train_features(network_seed: int) -> Tensor:
    return features(digits_split()[0], network_seed=network_seed)


def image_scores(
    samples: Any | Sampler, seed: int = 0, *, network_seed: int = 0
) -> dict[str, float]:
    """Scores of images of digits.

    Args:
        samples: A function of a number that draws so many images, asked 5 times for 2000; or
            images `(n, 1, 8, 8)` or `(n, 64)`, which count as one draw, or as several of 2000.
            They are clipped to [0, 1]. The Fréchet distance of fewer than 2000 is larger.
        seed: Of the shuffling.
        network_seed: Of the feature network.

    Returns:
        "fd", the Fréchet distance of the features to those of the training images; "nn", the mean
        distance of 500 samples to the nearest training image in pixels, 1.07 for held-out digits
        and less for a memorizer; "entropy" of the predicted classes in nats, at most 2.303;
        "confidence", the mean largest probability of a class. Means over the draws.
    """
    if callable(samples):
        draws = [as_digits(samples(N_DRAWN)) for _ in range(N_DRAWS)]
    else:
        images = as_digits(samples)
        # A mixture's samples may come ordered by component.
        images = images[_permutation(len(images), seed)]
        n_draws = max(1, len(images) // N_DRAWN)
        draws = list(images.split(N_DRAWN)[:n_draws])
    train = digits_split()[0].flatten(1)
    parts = []
    for number, draw in enumerate(draws):
        drawn = draw[_permutation(len(draw), seed, number)]
        chances = class_probabilities(drawn, network_seed=network_seed)
        share = torch.bincount(chances.argmax(dim=1), minlength=N_CLASSES).double() / len(drawn)
        parts.append(
            {
                "fd": frechet_distance(
                    features(drawn, network_seed=network_seed), _train_features(network_seed)
                ),
                "nn": float(nearest_distance(drawn[:N_NEAREST].flatten(1), train).mean()),
                "entropy": float(-torch.special.xlogy(share, share).sum()),
                "confidence": float(chances.max(dim=1).values.double().mean()),
            }
        )
    return {key: float(np.mean([part[key] for part in parts])) for key in parts[0]}


def _permutation(n: int, seed: int, *stream: int) -> Tensor:
    return torch.randperm(n, generator=seeded_generator(seed, *stream))


def toy_data(name: str, n: int, seed: int = 0) -> Tensor:
    """n rows of "ring" or "grid", float32 `(n, 2)`."""
    return {"ring": ring, "grid": grid}[name](n, seeded_generator(seed))


def toy_scores(samples: Any | Sampler, name: str, seed: int = 0) -> dict[str, float]:
    """Scores of samples of "ring" or "grid"; of 2500 samples, if a function draws them.

    Args:
        samples: A function of a number that draws so many rows, or rows `(n, 2)`, shuffled.
        name: "ring" or "grid".
        seed: Of the fresh data that the discrepancy is measured from.

    Returns:
        "strict", "captured", "high_quality", "reverse_kl" and "distance" of
        `evogen.models.metrics.mode_coverage`; "mmd2" of the first 1000 against 1000 fresh data,
        which for fresh samples is below 0.006 (ring) and 0.0024 (grid) 95 times of 100.
    """
    modes, std = {"ring": (ring_modes(), RING_STD), "grid": (grid_modes(), GRID_STD)}[name]
    rows = samples(N_TOY) if callable(samples) else samples
    rows = torch.as_tensor(rows).detach().cpu()
    coverage = mode_coverage(rows, modes, std)
    # Another stream than `toy_data`: a memorizer must not meet its own rows.
    fresh = {"ring": ring, "grid": grid}[name](N_MMD, seeded_generator(seed, 1))
    return {
        "strict": float(coverage.strict),
        "captured": float(coverage.captured),
        "high_quality": coverage.high_quality,
        "reverse_kl": coverage.reverse_kl,
        "distance": coverage.distance,
        "mmd2": mmd2(rows[:N_MMD], fresh),
    }


def reference_samplers(seed: int = 0) -> dict[str, Sampler]:
    """Simple samplers of digits that a model is compared with, fitted anew.

    "bootstrap" repeats training images; "mixture-30" is scikit-learn's mixture of 30 full
    Gaussians; "gaussian" is one; "pixels" draws every pixel by itself.
    """
    train = digits_split()[0]
    rows = train.flatten(1).double().numpy()
    generator = seeded_generator(seed)
    numbers = np.random.default_rng(seed)
    random = np.random.RandomState(seed)

    def mixture(n_components: int) -> Sampler:
        model = GaussianMixture(n_components, reg_covar=1e-3, random_state=seed).fit(rows)
        model.random_state = random
        return lambda n: model.sample(n)[0]

    return {
        "bootstrap": lambda n: train[integers(len(train), (n,), generator)],
        "mixture-30": mixture(30),
        "gaussian": mixture(1),
        "pixels": lambda n: numbers.normal(rows.mean(axis=0), rows.std(axis=0), (n, 64)),
    }
