"""Shared by the tests of the models: one small, quick instance of every model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
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

Factory = Callable[..., GenerativeModel]

FACTORIES: dict[str, Factory] = {
    "gan": lambda **k: GAN(**{"n_steps": 20, "hidden_generator": (16,), **k}),
    "gan-data-prior": lambda **k: GAN(
        **{"n_steps": 20, "prior": "data", "residual": True, "ema_decay": 0.9, **k}
    ),
    "gan-batch-norm": lambda **k: GAN(
        **{
            "n_steps": 20,
            "norm": "batch",
            "output_norm": True,
            "output": "sigmoid",
            "r1": 0.1,
            "instance_noise": 0.1,
            "batch_size": 16,
            "loss": "minimax",
            **k,
        }
    ),
    "wgan-gp": lambda **k: WGANGP(**{"n_steps": 6, **k}),
    "wgan": lambda **k: WGAN(**{"n_steps": 4, "r1": 0.1, **k}),
    "lsgan": lambda **k: LSGAN(**{"n_steps": 10, "instance_noise": 0.1, "r1": 0.1, **k}),
    "pca": lambda **k: PCA(**{"n_components": 2, **k}),
    "ae": lambda **k: AE(**{"n_steps": 20, "hidden": (16,), "lr": 1e-2, **k}),
    "ae-mixture": lambda **k: AE(
        **{
            "n_steps": 20,
            "latent_dim": 2,
            "n_components": 3,
            "ema_decay": 0.9,
            "batch_size": 16,
            "patience": 1,
            **k,
        }
    ),
    "bn-vae": lambda **k: BNVAE(
        **{"n_steps": 10, "latent_dim": 3, "batch_size": 16, "ema_decay": 0.9, **k}
    ),
    "vmf-vae": lambda **k: VMFVAE(**{"n_steps": 8, "latent_dim": 3, "hidden": (16,), **k}),
    "vmf-vae-fixed": lambda **k: VMFVAE(**{"n_steps": 5, "kappa": 10.0, "patience": 1, **k}),
    "vae": lambda **k: VAE(**{"n_steps": 20, "latent_dim": 3, "hidden": (16,), **k}),
    "vae-shared": lambda **k: VAE(
        **{"n_steps": 20, "variance": "shared", "batch_size": 16, "patience": 1, **k}
    ),
    "mixture": lambda **k: GaussianMixture(**{"n_components": 3, "n_steps": 10, **k}),
    "mixture-diag": lambda **k: GaussianMixture(**{"covariance": "diag", "n_steps": 10, **k}),
    "hierarchical": lambda **k: HierarchicalVAE(**{"n_steps": 8, "width": 16, **k}),
    "vq-vae": lambda **k: VQVAE(
        **{"n_steps": 10, "hidden": (16,), "prior_steps": 2, "prior_width": 8, **k}
    ),
    "began": lambda **k: BEGAN(**{"n_steps": 10, **k}),
    "egan": lambda **k: EGAN(**{"n_steps": 4, "hidden_generator": (16,), **k}),
    "score": lambda **k: ScoreModel(**{"n_steps": 10, "hidden": (32,), "n_sample_steps": 5, **k}),
    "kernel-diffusion": lambda **k: KernelDiffusion(**{"n_neighbors": 10, **k}),
    "local-linear": lambda **k: LocalLinear(**k),
    "ddpm": lambda **k: DDPM(**{"n_steps": 20, "hidden": (32,), "n_sample_steps": 5, **k}),
    "ddpm-residual": lambda **k: DDPM(
        **{
            "n_steps": 20,
            "hidden": (32, 32),
            "residual": True,
            "prediction": "noise",
            "noise_schedule": "linear",
            "eta": 1.0,
            "n_sample_steps": 5,
            "n_octaves": 2,
            "guidance": 2.0,
            "ema_decay": 0.9,
            "schedule": "cosine",
            "max_grad_norm": 1.0,
            **k,
        }
    ),
    "ddpm-film": lambda **k: DDPM(
        **{
            "n_steps": 20,
            "hidden": (32,),
            "conditioning": "film",
            "prediction": "x0",
            "condition_dropout": 0.0,
            "n_sample_steps": 5,
            "batch_size": None,
            "schedule": "linear",
            **k,
        }
    ),
}


@pytest.fixture(params=FACTORIES)
def make(request: pytest.FixtureRequest) -> Factory:
    return FACTORIES[request.param]


@pytest.fixture
def data() -> np.ndarray:
    """40 rows of 5 correlated features with different offsets and scales."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(40, 2))
    x = z @ rng.normal(size=(2, 5)) + 0.1 * rng.normal(size=(40, 5))
    return x * [1, 1e-4, 1e4, 1, 1] + [0, 1, -1e5, 100, 0]


@pytest.fixture
def condition(data: np.ndarray) -> np.ndarray:
    return np.column_stack((data[:, 0] * 2, data[:, 3] + 5))


def state_of(model: GenerativeModel) -> dict[str, Any]:
    return {k: v.clone() for k, v in model.state_tensors().items()}


def same_state(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
