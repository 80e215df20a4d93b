"""PCA and Gaussian mixtures; that PCA equals scikit-learn's is a test."""

from __future__ import annotations

from criteria.common import Criterion, Figures, criterion
from criteria.yardsticks import digits_split, image_scores, toy_scores
from evogen.models import PCA, GaussianMixture
from evogen.models.rng import seeded_generator
from evogen.models.toys import TOYS

RING_POINTS = 10_000


def mixture_on_toy(name: str, n_components: int, seed: int) -> Figures:
    """Scores of a mixture fitted to 10,000 points of a toy set."""
    x = TOYS[name](RING_POINTS, seeded_generator(seed, 0))
    model = GaussianMixture(n_components=n_components, n_steps=300, random_state=seed).fit(x)
    return toy_scores(model.sample, name)


def mixture_on_digits(n_components: int, seed: int) -> Figures:
    """Image scores of a mixture fitted to the digits' pixels."""
    train = digits_split()[0]
    model = GaussianMixture(n_components=n_components, n_steps=100, random_state=seed)
    return image_scores(model.fit(train).sample)


def pca_on_digits(n_components: int, seed: int) -> Figures:
    """Mean squared error per test image after 10 components, and samples' scores."""
    train, _, test, _ = digits_split()
    model = PCA(n_components=n_components, random_state=seed).fit(train)
    rebuilt = model.decode(model.encode(test))
    error = (rebuilt - test).square().flatten(1).sum(dim=1).mean()
    return {"sse": float(error), **image_scores(model.sample)}


for toy, modes in (("ring", 8), ("grid", 25)):
    criterion(
        Criterion(
            name=f"mixture-{toy}",
            model="GaussianMixture",
            what=f"{toy}: modes captured with at least a fifth of their share",
            figure="strict",
            at_least=modes,
            also={"high_quality": (0.98, None), "reverse_kl": (None, 0.015)},
            run=lambda seed, toy=toy, modes=modes: mixture_on_toy(toy, modes, seed),  # type: ignore[misc]
            broken=lambda seed, toy=toy: mixture_on_toy(toy, 1, seed),  # type: ignore[misc]
            broken_what="one Gaussian",
            reference=f"scikit-learn's mixture {modes}, high quality 0.99",
        )
    )

criterion(
    Criterion(
        name="mixture-digits",
        model="GaussianMixture",
        what="digits, 30 components: Fréchet distance of samples",
        figure="fd",
        at_most=18.0,
        also={"nn": (0.9, 2.0), "entropy": (2.2, 2.31)},
        run=lambda seed: mixture_on_digits(30, seed),
        broken=lambda seed: mixture_on_digits(1, seed),
        broken_what="one Gaussian",
        reference="scikit-learn's mixture with 30 components 15.7, with 60 10",
    )
)

criterion(
    Criterion(
        name="pca-digits",
        model="PCA",
        what="digits, 10 components: squared error of a rebuilt test image",
        figure="sse",
        at_most=1.27,
        run=lambda seed: pca_on_digits(10, seed),
        broken=lambda seed: pca_on_digits(1, seed),
        broken_what="one component",
        reference="scikit-learn's PCA 1.265",
        n_seeds=1,
    )
)
