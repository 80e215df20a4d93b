"""CPU time of fitting and sampling the models on a population-sized table.

    python benchmarks/model_speed.py [--rows 100] [--columns 30] [--out model_speed.json]

Models are called every generation of an optimizer, so what counts is the cold fit (networks are
created), the warm fit (they go on), the single training step, and a sample as large as the data.
Times are process CPU milliseconds of one thread: the median of the repeats, except that a step
is the best of them, since other programs can only make it slower.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from evogen.models import (
    AE,
    BEGAN,
    BNVAE,
    DDPM,
    EGAN,
    GAN,
    LSGAN,
    PCA,
    VAE,
    VMFVAE,
    VQVAE,
    WGAN,
    WGANGP,
    GaussianMixture,
    GenerativeModel,
    HierarchicalVAE,
    KernelDiffusion,
    LocalLinear,
    ScoreModel,
)

MODELS: dict[str, Callable[[], GenerativeModel]] = {
    "GaussianMixture": GaussianMixture,
    "GaussianMixture diag": lambda: GaussianMixture(covariance="diag"),
    "GAN": GAN,
    "GAN 30-30-30-30 / 30-30-1": lambda: GAN(
        hidden_generator=(30, 30), hidden_discriminator=(30,), activation="tanh"
    ),
    "GAN batch norm": lambda: GAN(norm="batch", output_norm=True, output="sigmoid"),
    "WGANGP": WGANGP,
    "LSGAN": LSGAN,
    "WGAN": WGAN,
    "BEGAN": BEGAN,
    "EGAN": EGAN,
    "PCA": PCA,
    "AE": AE,
    "VAE": VAE,
    "BNVAE": BNVAE,
    "VMFVAE": VMFVAE,
    "HierarchicalVAE": HierarchicalVAE,
    "VQVAE": VQVAE,
    "DDPM": DDPM,
    "DDPM batch 200": lambda: DDPM(batch_size=200),
    "DDPM residual": lambda: DDPM(residual=True),
    "ScoreModel": ScoreModel,
    "KernelDiffusion": KernelDiffusion,
    "LocalLinear": LocalLinear,
}


def milliseconds(action: Callable[[], Any]) -> float:
    """CPU time of one call."""
    start = time.process_time()
    action()
    return 1e3 * (time.process_time() - start)


def measure(make: Callable[[], GenerativeModel], x: np.ndarray, repeats: int) -> dict[str, float]:
    """Times of one model on one table, in milliseconds."""
    make().fit(x, n_steps=2).sample(2)
    cold = statistics.median(milliseconds(lambda: make().fit(x)) for _ in range(repeats))
    model = make().fit(x)
    warm, step = [], []
    for _ in range(repeats):
        before = model.n_steps_
        warm.append(milliseconds(lambda: model.fit(x)))
        step.append(warm[-1] / max(1, model.n_steps_ - before))
    return {
        "fit cold": cold,
        "fit warm": statistics.median(warm),
        "steps": getattr(model, "n_steps", 0),
        "step": min(step),
        "fit 0 steps": min(milliseconds(lambda: model.fit(x, n_steps=0)) for _ in range(repeats)),
        "sample": min(milliseconds(lambda: model.sample(len(x))) for _ in range(repeats)),
    }


def main() -> None:
    """Prints the table, and writes it as JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--columns", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", help="JSON file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    x = np.random.default_rng(0).random((options.rows, options.columns))
    columns = ("fit cold", "fit warm", "steps", "step", "fit 0 steps", "sample")
    print(f"{options.rows} x {options.columns}, CPU ms of one thread")
    print(f"{'model':28s}" + "".join(f"{name:>13s}" for name in columns))
    rows = {}
    for name, make in MODELS.items():
        rows[name] = measure(make, x, options.repeats)
        print(f"{name:28s}" + "".join(f"{rows[name][c]:13.4g}" for c in columns), flush=True)
    if options.out:
        record = {
            "rows": options.rows,
            "columns": options.columns,
            "unit": "CPU milliseconds, one thread",
            "machine": platform.processor() or platform.machine(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "models": rows,
        }
        with open(options.out, "w", encoding="utf-8") as file:
            json.dump(record, file, indent=1)


if __name__ == "__main__":
    main()
