"""The autoencoder family on digits; that their formulas are exact is tested elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from criteria.common import Criterion, Figures, criterion
from criteria.yardsticks import binary, digits_split, image_scores
from evogen.models import AE, BNVAE, VAE, VIB, VMFVAE
from evogen.models.hierarchical import HierarchicalVAE
from evogen.models.vqvae import VQVAE

# Batches of 128 for about 100 epochs.
EPOCHS: dict[str, Any] = {"n_steps": 1200, "batch_size": 128}
BITS: dict[str, Any] = {
    **EPOCHS,
    "likelihood": "bernoulli",
    "architecture": "mlp",
    "latent_dim": 10,
}
N_DRAWS = 500


def sse(model: AE | VAE | VQVAE) -> float:
    """Mean squared error of the rebuilt test images, summed over pixels."""
    test = digits_split()[2]
    rebuilt = model.decode(model.encode(test))
    return float((rebuilt - test).square().flatten(1).sum(dim=1).mean())


def autoencoder(seed: int, **changed: Any) -> Figures:
    """Error of an AE with 10 numbers as a code, and its samples."""
    settings: dict[str, Any] = {
        **EPOCHS,
        "latent_dim": 10,
        "architecture": "mlp",
        "hidden": (256, 256),
    }
    model = AE(**{**settings, **changed}, n_components=10, random_state=seed)
    model.fit(digits_split()[0])
    return {"sse": sse(model), **image_scores(model.sample)}


def n_parameters(model: VAE) -> int:
    """Number of weights of a fitted model."""
    return sum(p.numel() for p in model.weights_["network"].parameters)


def nats(model: VAE, n_draws: int = N_DRAWS) -> float:
    """Importance-sampled NLL of the binary test digits."""
    return -float(model.log_prob(binary(digits_split()[2]), n_samples=n_draws).mean())


def bits(cls: type[VAE], seed: int, n_draws: int = N_DRAWS, **changed: Any) -> Figures:
    """NLL of the binary test digits and the bound (negative ELBO) that it lies below."""
    model = cls(**{**BITS, **changed}, random_state=seed).fit(binary(digits_split()[0]))
    rate = -model.elbo(binary(digits_split()[2]), n_samples=10).mean()
    return {
        "nll": nats(model, n_draws),
        "bound": float(rate),
        "parameters": float(n_parameters(model)),
    }


def iwae_bounds(seed: int) -> Figures:
    """How far the bound on log p falls short of that of 500 draws, with 1 and 10 draws."""
    model = VAE(**BITS, hidden=(256, 256), random_state=seed).fit(binary(digits_split()[0]))
    one, ten, many = (nats(model, k) for k in (1, 10, 500))
    return {"least_gain": min(one - ten, ten - many), "one": one, "ten": ten, "many": many}


def mean_of_logs(seed: int) -> Figures:
    """The broken estimate: logs are averaged, so that more draws give nothing."""
    model = VAE(**BITS, hidden=(256, 256), random_state=seed).fit(binary(digits_split()[0]))
    test = binary(digits_split()[2])
    one, ten, many = (-float(model.elbo(test, n_samples=k).mean()) for k in (1, 10, 500))
    return {"least_gain": min(one - ten, ten - many), "one": one, "ten": ten, "many": many}


def hierarchy(seed: int, **changed: Any) -> Figures:
    """Two levels against one with as many weights, both trained alike; and the levels' rates."""
    alike: dict[str, Any] = {"lr": 3e-3, "schedule": "cosine"}
    train, test = (binary(digits_split()[i]) for i in (0, 2))
    settings: dict[str, Any] = {"n_levels": 3, "latent_dim": 8, "width": 64, "hidden": (192,)}
    model = HierarchicalVAE(**{**BITS, **alike, **settings, **changed}, random_state=seed)
    model.fit(train)
    plain = VAE(**{**BITS, **alike}, hidden=(256, 200), random_state=seed).fit(train)
    two, one = nats(model), nats(plain)
    return {
        "gain": one - two,
        "nll": two,
        "nll_one_level": one,
        "least_rate": float(model.rates(test, n_samples=10).mean(dim=0).min()),
        "parameters": float(n_parameters(model)),
        "parameters_one_level": float(n_parameters(plain)),
    }


class UnitVAE(VAE):
    """A VAE with output variance 1, which on pixels in [0, 1] makes the code worthless."""

    def misfit(self, error: Tensor) -> Tensor:
        """The likelihood's part of the loss."""
        return 0.5 * error.sum(dim=1).mean()


class UnitBNVAE(UnitVAE, BNVAE):
    """A BN-VAE with output variance 1."""


def collapse(seed: int, cls: type[VAE] = UnitBNVAE) -> Figures:
    """Mean divergence, in nats, where the plain VAE collapses; and the test error."""
    train = digits_split()[0]
    settings: dict[str, Any] = {**EPOCHS, "latent_dim": 10, "architecture": "mlp", "hidden": (512,)}
    model = cls(**settings, normalize=False, random_state=seed).fit(train)
    with torch.no_grad():
        rows, noise = model.prepare_x(train), torch.zeros(len(train), model.code_dim)
        divergence = model.terms(rows, noise, None, model.sampler("network"))[1].mean()
    return {"kl": float(divergence), "sse": sse(model)}


def bottleneck(seed: int, betas: tuple[float, ...] = (1e-3, 1e-2, 1e-1, 10.0)) -> Figures:
    """Rates of the information bottleneck by beta; accuracy in the middle and at the largest."""
    train, labels, test, test_labels = digits_split()
    rates, right = [], []
    for beta in betas:
        model = VIB(
            **EPOCHS, architecture="mlp", hidden=(256,), latent_dim=16, beta=beta, random_state=seed
        )
        model.fit(train, labels)
        rates.append(float(model.rate(test).mean()))
        right.append(float((model.predict(test).cpu() == test_labels).double().mean()))
    return {
        "least_fall": float(-np.diff(rates).max()),
        "accuracy": right[1],
        "accuracy_last": right[-1],
        "rate_first": rates[0],
        "rate_last": rates[-1],
    }


def quantized(seed: int, **changed: Any) -> Figures:
    """A VQ-VAE of 2 x 2 codes out of 32: use of the table, error, and samples of both priors."""
    train = digits_split()[0]
    settings: dict[str, Any] = {
        "n_embeddings": 32,
        "n_steps": 1350,
        "prior_width": 64,
        "prior_steps": 600,
    }
    model = VQVAE(**{**settings, **changed}, random_state=seed).fit(train)
    scores = image_scores(model.sample)
    return {"perplexity": model.perplexity(train), "sse": sse(model), **scores}


criterion(
    Criterion(
        name="ae-digits",
        model="AE",
        what="digits, 10 numbers as a code: squared error per test image",
        figure="sse",
        at_most=0.62,
        run=autoencoder,
        also={"fd": (None, 40.0), "nn": (0.8, 1.4)},
        broken=lambda seed: autoencoder(seed, hidden=()),
        broken_what="linear: no better than PCA, 1.265",
        reference="pythae's AE 0.60-0.62; with a mixture of 10 in its codes, distance 11-22",
    )
)
criterion(
    Criterion(
        name="vae-binary-nll",
        model="VAE",
        what="binary digits, NLL by importance sampling, nats",
        figure="nll",
        at_most=17.4,
        run=lambda seed: bits(VAE, seed, hidden=(256, 256)),
        broken=lambda seed: bits(VAE, seed, hidden=(256, 256), beta=100.0),
        broken_what="KL term a hundred times too heavy: the code is empty",
        reference="pythae's VAE 17.38-17.44; Bernoulli mixture of 50 17.81",
    )
)
criterion(
    Criterion(
        name="vae-best-binary-nll",
        model="VAE",
        what="binary digits, VampPrior, NLL by importance sampling, nats",
        figure="nll",
        at_most=16.5,
        run=lambda seed: bits(VAE, seed, hidden=(512,), prior="vamp", n_pseudo_inputs=200),
        broken=lambda seed: bits(VAE, seed, hidden=(512,)),
        broken_what="prior N(0, I)",
        reference="pythae's VAMP 16.51-16.57",
    )
)
criterion(
    Criterion(
        name="vae-iwae-bound",
        model="VAE",
        what="binary digits, fall of the NLL from 1 to 10 and from 10 to 500 draws, the less, nats",
        figure="least_gain",
        at_least=0.1,
        run=iwae_bounds,
        broken=mean_of_logs,
        broken_what="mean of logs instead of log of the mean",
    )
)
criterion(
    Criterion(
        name="bnvae-no-collapse",
        model="BNVAE",
        what="digits, variance 1 on pixels in [0, 1]: mean KL, nats",
        figure="kl",
        at_least=2.44,
        run=collapse,
        also={"sse": (None, 4.74)},
        broken=lambda seed: collapse(seed, UnitVAE),
        broken_what="plain VAE",
        reference="floor 10 x 0.7^2 / 2 = 2.45; pythae's VAE 0.0027; mean image 4.74",
    )
)
criterion(
    Criterion(
        name="vmfvae-binary-nll",
        model="VMFVAE",
        what="binary digits, NLL by importance sampling, nats",
        figure="nll",
        at_most=18.1,
        run=lambda seed: bits(VMFVAE, seed, hidden=(512,), lr=3e-3, n_draws=200),
        broken=lambda seed: bits(VMFVAE, seed, hidden=(512,), lr=3e-3, n_draws=200, kappa=0.1),
        broken_what="posteriors as wide as the prior",
        reference="pythae's SVAE 18.16",
    )
)
criterion(
    Criterion(
        name="vib-rate",
        model="VIB",
        what="digits, least fall of the rate between betas 0.001, 0.01, 0.1, 10, nats",
        figure="least_fall",
        at_least=0.05,
        run=bottleneck,
        also={"accuracy": (0.95, None), "accuracy_last": (None, 0.2)},
        broken=lambda seed: bottleneck(seed, (1e-2, 1e-2, 1e-2, 1e-2)),
        broken_what="beta without effect",
    )
)
criterion(
    Criterion(
        name="hierarchical-binary-nll",
        model="HierarchicalVAE",
        what="binary digits, NLL of a VAE with as many weights less that of three levels, nats",
        figure="gain",
        at_least=0.0,
        run=hierarchy,
        also={"least_rate": (0.1, None)},
        broken=lambda seed: hierarchy(seed, n_levels=1, latent_dim=1),
        broken_what="one level of one number",
    )
)
criterion(
    Criterion(
        name="vqvae-codes",
        model="VQVAE",
        what="digits, 2 x 2 codes of 32: perplexity",
        figure="perplexity",
        at_least=20.0,
        run=lambda seed: quantized(seed, prior="independent"),
        also={"sse": (None, 1.5)},
        broken=lambda seed: quantized(seed, decay=1.0, restart=0.0, prior="independent"),
        broken_what="table that never moves",
        reference="pythae's EMA 20-30, 1.27-1.51; its gradient table 5.5-7.3, 2.1-2.2",
    )
)
criterion(
    Criterion(
        name="vqvae-samples",
        model="VQVAE",
        what="digits, 2 x 2 codes of 32 from a PixelCNN: Fréchet distance of samples",
        figure="fd",
        at_most=50.0,
        run=quantized,
        also={"nn": (0.8, 1.4)},
        broken=lambda seed: quantized(seed, prior="independent"),
        broken_what="codes drawn independently",
    )
)
