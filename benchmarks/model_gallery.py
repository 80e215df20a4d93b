"""Pictures of what every generative model makes, trained on the spot.

    python benchmarks/model_gallery.py              # all panels, about 25 CPU minutes
    python benchmarks/model_gallery.py --panel toys --panel codes

Writes `docs/figures/gallery-*.png` and `docs/gallery.md`. Everything is trained with seed 1 and
shown as it came: nothing is picked.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import torch
from criteria.adversarial import BEGAN_SETTINGS, CRITIC_FIRST, STEADY
from criteria.autoregressive import GREY
from criteria.diffusion import DIGITS as DIFFUSION_ON_DIGITS
from criteria.diffusion import TOY as DIFFUSION_ON_TOYS
from criteria.evolved_and_styled import STYLE
from criteria.sequences import END, SYMBOLS, expressions, share_valid
from criteria.yardsticks import binary, digits_split
from torch import Tensor

from evogen.models import (
    AE,
    BEGAN,
    BNVAE,
    DCGAN,
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
    PixelCNN,
    PixelRNN,
    ScoreModel,
    SeqGAN,
    StyleGAN,
    UniVAE,
)
from evogen.models.rng import normal, seeded_generator
from evogen.models.toys import TOYS

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "docs" / "figures"
PAGE = ROOT / "docs" / "gallery.md"
SEED = 1
TOY_POINTS, SHOWN_POINTS = 10_000, 1000
N_TOY_STEPS = 1000
N_IMAGES, N_TEXTS = 20, 12

Make = Callable[[], GenerativeModel]

SMALL_GAN: dict[str, Any] = {**STEADY, "n_steps": N_TOY_STEPS}
VAE_ON_TOYS: dict[str, Any] = {
    "n_steps": N_TOY_STEPS,
    "latent_dim": 2,
    "hidden": (128, 128),
    "batch_size": 256,
}
ON_TOYS: dict[str, Make] = {
    "PCA": lambda: PCA(n_components=1),
    "GaussianMixture": lambda: GaussianMixture(n_components=30, n_steps=200),
    "AE": lambda: AE(n_steps=N_TOY_STEPS, latent_dim=2, n_components=30, batch_size=256),
    "VAE": lambda: VAE(**VAE_ON_TOYS),
    "BNVAE": lambda: BNVAE(**VAE_ON_TOYS),
    "VMFVAE": lambda: VMFVAE(**{**VAE_ON_TOYS, "latent_dim": 3}),
    "HierarchicalVAE": lambda: HierarchicalVAE(n_steps=N_TOY_STEPS, batch_size=256),
    "VQVAE": lambda: VQVAE(n_steps=N_TOY_STEPS, batch_size=256, prior_steps=200),
    "GAN": lambda: GAN(**SMALL_GAN, r1=0.1),
    "LSGAN": lambda: LSGAN(**SMALL_GAN, r1=0.1),
    "WGAN": lambda: WGAN(**{**SMALL_GAN, "n_steps": 500}),
    "WGANGP": lambda: WGANGP(**{**STEADY, **CRITIC_FIRST, "n_steps": N_TOY_STEPS}),
    "BEGAN": lambda: BEGAN(n_steps=2 * N_TOY_STEPS, batch_size=256, packing=4, power=2),
    "EGAN": lambda: EGAN(n_steps=N_TOY_STEPS // 3, batch_size=128),
    "KernelDiffusion": lambda: KernelDiffusion(),
    "ScoreModel": lambda: ScoreModel(n_steps=N_TOY_STEPS, batch_size=512, n_octaves=6),
    "DDPM": lambda: DDPM(
        **{**DIFFUSION_ON_TOYS, "n_steps": 2 * N_TOY_STEPS, "n_sample_steps": 100}
    ),
}
VAE_ON_DIGITS: dict[str, Any] = {
    "n_steps": 1200,
    "latent_dim": 10,
    "likelihood": "bernoulli",
    "batch_size": 128,
    "architecture": "mlp",
    "hidden": (256, 256),
}
CONVOLUTIONS: dict[str, Any] = {
    "batch_size": 64,
    "schedule": "linear",
    "ema_decay": 0.99,
    "latent_dim": 32,
    "output": "sigmoid",
    "norm": "batch",
}
ON_DIGITS: dict[str, Make] = {
    "PCA": lambda: PCA(n_components=10),
    "GaussianMixture": lambda: GaussianMixture(n_components=30, n_steps=100),
    "AE": lambda: AE(
        n_steps=1000,
        latent_dim=10,
        n_components=10,
        batch_size=128,
        architecture="mlp",
        hidden=(256, 256),
    ),
    "VAE": lambda: VAE(**VAE_ON_DIGITS),
    "BNVAE": lambda: BNVAE(**VAE_ON_DIGITS),
    "VMFVAE": lambda: VMFVAE(**VAE_ON_DIGITS),
    "HierarchicalVAE": lambda: HierarchicalVAE(n_steps=800, likelihood="bernoulli", batch_size=128),
    "VQVAE": lambda: VQVAE(n_steps=1000, n_embeddings=32, batch_size=64),
    "PixelCNN": lambda: PixelCNN(**{**GREY, "n_steps": 600}),
    "PixelRNN": lambda: PixelRNN(n_steps=200, kind="row"),
    "GAN": lambda: GAN(**CONVOLUTIONS, n_steps=1000, r1=1.0),
    "LSGAN": lambda: LSGAN(**CONVOLUTIONS, n_steps=1000),
    "WGAN": lambda: WGAN(**CONVOLUTIONS, n_steps=300),
    "DCGAN": lambda: DCGAN(
        n_steps=1000, lr_generator=1e-3, lr_discriminator=1e-3, schedule="linear", ema_decay=0.99
    ),
    "WGANGP": lambda: WGANGP(n_steps=300, n_critic=3, ema_decay=0.99),
    "BEGAN": lambda: BEGAN(**{**BEGAN_SETTINGS, "n_steps": 2500}),
    "EGAN": lambda: EGAN(**CONVOLUTIONS, n_steps=400),
    "StyleGAN": lambda: StyleGAN(**{**STYLE, "n_steps": 800}),
    "ScoreModel": lambda: ScoreModel(
        n_steps=500, batch_size=64, lr=2e-3, schedule="cosine", ema_decay=0.99
    ),
    "KernelDiffusion": lambda: KernelDiffusion(),
    "DDPM": lambda: DDPM(**{**DIFFUSION_ON_DIGITS, "n_steps": 600}),
}
MEANS_ONLY = {"VAE", "BNVAE", "VMFVAE", "HierarchicalVAE"}
"""Whose samples are shown as the decoder's means, not as draws of single pixels."""


def trained(make: Make, x: Tensor, condition: Any = None) -> GenerativeModel:
    """A fitted model with the gallery's seed."""
    model = make()
    model.random_state = SEED
    if type(model).__name__ in MEANS_ONLY:
        model.output_noise = False  # type: ignore[attr-defined]
    return model.fit(x, condition)


def save(figure: Any, name: str) -> None:
    """Writes a figure."""
    path = FIGURES / f"gallery-{name}.png"
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)
    print(path, flush=True)


def picture(axis: Any, image: Tensor) -> None:
    """One grey picture `(1, h, w)`."""
    axis.imshow(image.squeeze().cpu(), cmap="gray_r", vmin=0, vmax=1)


def bare(axes: Any) -> None:
    """No ticks and frames."""
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        for side in axis.spines.values():
            side.set_linewidth(0.3)


def rows_of_pictures(rows: dict[str, Tensor], name: str, *, scale: float = 0.55) -> None:
    """A row of pictures per label."""
    n = max(len(images) for images in rows.values())
    figure, axes = plt.subplots(
        len(rows), n, figsize=(scale * n + 1.4, scale * len(rows)), squeeze=False
    )
    bare(axes)
    for line, (label, images) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
        for i, axis in enumerate(line):
            if i < len(images):
                picture(axis, images[i])
            else:
                axis.axis("off")
    figure.subplots_adjust(wspace=0.08, hspace=0.08)
    save(figure, name)


def toys() -> str:
    """Samples of the vector models on the six toy sets."""
    figure, axes = plt.subplots(
        len(ON_TOYS) + 1, len(TOYS), figsize=(1.35 * len(TOYS), 1.35 * (len(ON_TOYS) + 1))
    )
    bare(axes)
    for column, (name, draw) in enumerate(TOYS.items()):
        x = draw(TOY_POINTS, seeded_generator(SEED))
        low, high = x.min(dim=0).values, x.max(dim=0).values
        margin = 0.15 * (high - low)
        for line, label in enumerate(("data", *ON_TOYS)):
            axis = axes[line, column]
            shown = x if label == "data" else trained(ON_TOYS[label], x).sample(SHOWN_POINTS)
            shown = shown[:SHOWN_POINTS].cpu()
            axis.scatter(shown[:, 0], shown[:, 1], s=1, lw=0, color="black", alpha=0.6)
            axis.set_xlim(float(low[0] - margin[0]), float(high[0] + margin[0]))
            axis.set_ylim(float(low[1] - margin[1]), float(high[1] + margin[1]))
            if line == 0:
                axis.set_title(name, fontsize=8)
            if column == 0:
                axis.set_ylabel(label, fontsize=7)
    figure.subplots_adjust(wspace=0.05, hspace=0.05)
    save(figure, "toys")
    return "1,000 samples of each model after a short training; the first row is data."


def digits() -> str:
    """Samples of the image models on the digits."""
    train = digits_split()[0]
    rows = {"data": train[:N_IMAGES]}
    for name, make in ON_DIGITS.items():
        # Models of pixel levels learn the digits' 17 grey levels.
        rows[name] = trained(make, train).sample(N_IMAGES)
    rows_of_pictures(rows, "digits")
    return "The first 20 samples of each model; scikit-learn's digits, 8 x 8, in the first row."


def interpolations() -> str:
    """Ways between two digits in the codes of three models."""
    train, _, test, _ = digits_split()
    t = torch.linspace(0, 1, 12)[:, None]
    rows = {}
    for name in ("AE", "VAE"):
        model: Any = trained(ON_DIGITS[name], train)
        for i in (0, 2):
            a, b = model.encode(test[i : i + 2])
            rows[f"{name} {i // 2 + 1}"] = model.decode(a + t * (b - a))
    style: Any = trained(ON_DIGITS["StyleGAN"], train)
    z = normal((4, style.n_z), seeded_generator(SEED))
    w = style.mapping(z)
    noise = torch.zeros(len(t), style.n_noise)
    for i in (0, 2):
        between = w[i] + t * (w[i + 1] - w[i])
        rows[f"StyleGAN w {i // 2 + 1}"] = style.synthesize(between, noise=noise)
    rows_of_pictures(rows, "interpolations")
    return (
        "From one test digit to another through the codes; for StyleGAN from one style to another."
    )


def codes() -> str:
    """What a VQ-VAE stores of a digit."""
    train, _, test, _ = digits_split()
    model: Any = trained(ON_DIGITS["VQVAE"], train)
    shown = test[:12]
    codes = model.encode(shown)
    rebuilt = model.decode(codes)
    figure, axes = plt.subplots(3, len(shown), figsize=(0.6 * len(shown) + 1, 2))
    bare(axes)
    for i in range(len(shown)):
        picture(axes[0, i], shown[i])
        axes[1, i].imshow(codes[i].cpu(), cmap="tab20", vmin=0, vmax=model.n_embeddings - 1)
        picture(axes[2, i], rebuilt[i])
    for line, label in zip(axes, ("digit", "codes", "rebuilt"), strict=True):
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
    save(figure, "codes")
    places = codes[0].numel()
    return (
        f"Test digits, their {places} codes out of {model.n_embeddings} (each number a colour), "
        f"and what is rebuilt from them. Codes in use: perplexity {model.perplexity(train):.1f}."
    )


def chain() -> str:
    """A diffusion model at work, from noise to digits, and what guidance does."""
    train, labels, _, _ = digits_split()
    model: Any = trained(ON_DIGITS["DDPM"], train, labels)
    rows = {}
    asked = torch.arange(10)
    for steps in (2, 5, 10, 25, 100):
        model.n_sample_steps = steps
        drawn = model.sample(10, asked, generator=seeded_generator(SEED))
        rows[f"{steps} steps"] = drawn
    model.n_sample_steps = 25
    for weight in (0.0, 1.0, 2.0, 4.0):
        model.guidance = weight
        rows[f"guidance {weight:g}"] = model.sample(10, asked, generator=seeded_generator(SEED))
    model.guidance = 1.0
    test = digits_split()[2][:10]
    rows["test digits"] = test
    for share in (0.3, 0.6, 0.9):
        drawn = model.denoise_from(test, share, asked, generator=seeded_generator(SEED))
        rows[f"noised to {share:g}"] = drawn
    rows_of_pictures(rows, "diffusion")
    return (
        "One model, conditional on the digit. The same starting noise denoised in ever more steps; "
        "with ever more guidance; and test digits noised part of the way and denoised as the "
        "digits 0 to 9."
    )


def prompts() -> str:
    """Text in, picture out."""
    from criteria.text_and_score import draw, trained_on_captions

    train, labels, _, _ = digits_split()
    model: Any = trained_on_captions(SEED)
    asked = ["a small seven", "a large three", "a middling zero", "a large two", "a small nine"]
    rows = {}
    for text in asked:
        for weight in (0.0, 1.0, 2.0, 4.0):
            generator = seeded_generator(SEED)
            drawn = model.sample(8, text, guidance=weight, generator=generator)
            rows[f"{text}, w = {weight:g}"] = drawn
    rows["data"] = draw(train[:3], labels[:3]).images
    rows_of_pictures(rows, "prompts")
    return "LatentDiffusion: eight pictures for each prompt, from the same noise, by guidance w."


def sequences() -> str:
    """Arithmetic expressions written by the models of token sequences, as lines of text."""
    x = expressions(10_000, SEED)
    grammar: dict[str, Any] = {"n_tokens": len(SYMBOLS), "end_token": END}
    lines = {"data": x[:N_TEXTS]}
    for name, make in {
        "UniVAE": lambda: UniVAE(**grammar, n_steps=1000, schedule="linear"),
        "SeqGAN": lambda: SeqGAN(**grammar, n_steps=800, n_pretrain_steps=700),
    }.items():
        drawn = trained(make, x).sample(1000)
        lines[f"{name}, {share_valid(drawn):.1%} of 1,000 valid"] = drawn[:N_TEXTS]
    shown = (
        f"{label}: " + "  ".join("".join(SYMBOLS[i] for i in row).rstrip("$") for row in rows)
        for label, rows in lines.items()
    )
    return "Arithmetic expressions, learned from 10,000.\n\n```text\n" + "\n".join(shown) + "\n```"


def binary_pixels() -> str:
    """Samples of the models with an exact likelihood on black and white digits."""
    train = binary(digits_split()[0])
    rows = {"data": train[:N_IMAGES]}
    for name, make in {
        "PixelCNN": lambda: PixelCNN(n_steps=300),
        "PixelRNN row": lambda: PixelRNN(n_steps=200, kind="row"),
        "PixelRNN diagonal": lambda: PixelRNN(n_steps=200, kind="diagonal"),
    }.items():
        rows[name] = trained(make, train).sample(N_IMAGES)
    rows_of_pictures(rows, "pixels")
    return "Autoregressive models on black and white digits."


PANELS: dict[str, tuple[str, Callable[[], str]]] = {
    "toys": ("Toy sets", toys),
    "digits": ("Digits", digits),
    "interpolations": ("Interpolations", interpolations),
    "codes": ("Vector-quantized codes", codes),
    "diffusion": ("Diffusion", chain),
    "prompts": ("Prompts", prompts),
    "pixels": ("Pixel by pixel", binary_pixels),
    "sequences": ("Token sequences", sequences),
}
WITHOUT_PICTURE = {"sequences"}
HEADER = """# Gallery

Made by `python benchmarks/model_gallery.py`, trained on a CPU in seconds to a minute each, with one
seed and nothing picked. What the models must reach in figures is in
[model_criteria](model_criteria.md).
"""


def main() -> None:
    """Makes the panels asked for, and the page of all that are there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--panel", choices=tuple(PANELS), action="append")
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    FIGURES.mkdir(parents=True, exist_ok=True)
    known = {}
    if PAGE.exists():
        for part in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
            title, _, rest = part.partition("\n")
            known[title] = rest.partition("\n![")[0].strip()
    for name, (title, panel) in PANELS.items():
        if args.panel is None or name in args.panel:
            known[title] = panel()
    text = HEADER
    for name, (title, _) in PANELS.items():
        if title in known:
            text += f"\n## {title}\n\n{known[title]}\n"
            if name not in WITHOUT_PICTURE:
                text += f"\n![{title}](figures/gallery-{name}.png)\n"
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
