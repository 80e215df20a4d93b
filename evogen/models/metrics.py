"""How near samples are to a distribution, and how many of its parts they reach.

No single number is honest. One broad Gaussian captures 19 of 25 grid modes; a collapse to one
mode has 99 % of high quality; a memorizer has the smallest distances. Read them together: `report`.
All take rows `(n, d)` or images `(n, c, h, w)`, tensors or arrays, and compute in float64 on the
CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from evogen.models.checks import as_rows, check_number

Features = Callable[[Any], Any]

CHUNK_ROWS = 1024
# The assignment takes time cubic in the number of rows.
MAX_ASSIGNED = 5000


def _flat(items: Any) -> Any:
    """Images as rows; anything else as it is."""
    if isinstance(items, (Tensor, np.ndarray)) and items.ndim == 4:
        return items.reshape(len(items), -1)
    return items


def _pair(x: Any, y: Any, names: tuple[str, str], *, least: int = 1) -> tuple[Tensor, Tensor]:
    """Two checked tables of the same width with at least so many rows each."""
    first = as_rows(names[0], _flat(x)).cpu()
    hint = f", as {names[0]} has"
    second = as_rows(names[1], _flat(y), n_columns=first.shape[1], hint=hint).cpu()
    for name, table in zip(names, (first, second), strict=True):
        if len(table) < least:
            raise ValueError(f"{name} must have at least {least} row(s); got {len(table)}")
    return first, second


@dataclass(frozen=True)
class ModeCoverage:
    """How samples are spread over the modes of a mixture of equal Gaussians.

    Attributes:
        n_modes: Number of modes there are.
        captured: Modes that are nearest to at least one sample of high quality.
        strict: Modes with at least a fifth of their fair share of all samples, counting those of
            high quality only.
        high_quality: Share of samples within 3 standard deviations of a mode, in [0, 1]; of
            draws from the mixture itself 0.9889.
        reverse_kl: Divergence from the uniform of the histogram of nearest modes over all
            samples, in nats: 0 for equal shares, log(n_modes) for one mode only.
        distance: Median distance to the nearest mode in standard deviations; of draws from the
            mixture itself 1.18.
    """

    n_modes: int
    captured: int
    strict: int
    high_quality: float
    reverse_kl: float
    distance: float


def mode_coverage(x: Any, modes: Any, std: float) -> ModeCoverage:
    """Counts modes as VEEGAN (Srivastava et al. 2017) and PacGAN (Lin et al. 2018) do.

    The numbers 3 and 0.9889 hold for two dimensions, where they are customary.

    Args:
        x: Samples `(n, d)`, n >= 1; by custom 2500.
        modes: Centres `(k, d)`.
        std: Standard deviation of each mode, > 0.

    Raises:
        ValueError: A wrong shape, no rows, or std not positive.
    """
    rows, centres = _pair(x, modes, ("x", "modes"))
    check_number("std", std, low=1e-300)
    k = len(centres)
    exact = "donot_use_mm_for_euclid_dist"
    distance, nearest = torch.cdist(rows, centres, compute_mode=exact).min(dim=1)
    good = distance <= 3 * std
    hits = torch.bincount(nearest[good], minlength=k)
    share = torch.bincount(nearest, minlength=k).double() / len(rows)
    return ModeCoverage(
        n_modes=k,
        captured=int((hits > 0).sum()),
        strict=int((hits >= 0.2 * len(rows) / k).sum()),
        high_quality=float(good.double().mean()),
        reverse_kl=float(torch.special.xlogy(share, k * share).sum()),
        distance=float(distance.median()) / std,
    )


def mmd2(x: Any, y: Any, *, bandwidths: Sequence[float] = (0.1, 0.5, 1.0)) -> float:
    """Squared maximum mean discrepancy, unbiased, so that it may be negative.

    Gretton et al. 2012, eq. 3, with the kernel sum over s of exp(-|x - y|^2 / (2 s^2)).

    Args:
        x: `(n, d)`, n >= 2.
        y: `(m, d)`, m >= 2.
        bandwidths: The s, > 0, in the units of the data.

    Raises:
        ValueError: A wrong shape, too few rows, or a bandwidth not positive.
    """
    rows, others = _pair(x, y, ("x", "y"), least=2)
    for bandwidth in bandwidths:
        check_number("every number in bandwidths", bandwidth, low=1e-150)

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        # Differences, not scalar products: near pairs decide at small bandwidths.
        square = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square()
        return sum((torch.exp(-square / (2 * s * s)) for s in bandwidths), torch.zeros_like(square))

    def mean_of_pairs(a: Tensor) -> Tensor:
        values = kernel(a, a)
        return (values.sum() - values.diagonal().sum()) / (len(a) * (len(a) - 1))

    cross = kernel(rows, others).mean()
    return float(mean_of_pairs(rows) + mean_of_pairs(others) - 2 * cross)


def wasserstein2(x: Any, y: Any) -> float:
    """Exact 2-Wasserstein distance between as many rows of each, in the units of the data.

    The root of the mean squared distance under the best assignment. Two samples of one
    distribution are not 0 apart: compare with a fresh sample of the same size.

    Args:
        x: `(n, d)`, 1 <= n <= 5000.
        y: `(n, d)`.

    Raises:
        ValueError: A wrong shape, or other numbers of rows.
    """
    rows, others = _pair(x, y, ("x", "y"))
    if len(rows) != len(others) or len(rows) > MAX_ASSIGNED:
        raise ValueError(
            f"x and y must have as many rows, at most {MAX_ASSIGNED}; "
            f"got {len(rows)} and {len(others)}"
        )
    cost = torch.cdist(rows, others, compute_mode="donot_use_mm_for_euclid_dist").square().numpy()
    return math.sqrt(cost[linear_sum_assignment(cost)].mean())


def nearest_distance(x: Any, data: Any) -> Tensor:
    """Euclidean distance of each sample to the nearest row of the data, float64 `(n,)`.

    Means far below that of held-out data show a memorizer.

    Args:
        x: Samples `(n, d)`, n >= 1.
        data: Training data `(m, d)`, m >= 1.
    """
    rows, items = _pair(x, data, ("x", "data"))
    parts = [
        torch.cdist(part, items, compute_mode="donot_use_mm_for_euclid_dist").min(dim=1).values
        for part in rows.split(CHUNK_ROWS)
    ]
    return torch.cat(parts)


@dataclass(frozen=True)
class PrecisionRecall:
    """Both in [0, 1].

    Attributes:
        precision: Share of the samples that lie within the data's manifold.
        recall: Share of the data that lies within the samples' manifold.
    """

    precision: float
    recall: float


def precision_recall(x: Any, data: Any, *, k: int = 3) -> PrecisionRecall:
    """Improved precision and recall (Kynkäänniemi et al. 2019, eq. 1 and 2).

    A set's manifold is the union of balls around its rows that reach to their k-th neighbour in
    the set.

    Args:
        x: Samples (or their features) `(n, d)`, n > k.
        data: Data (or their features) `(m, d)`, m > k.
        k: Number of the neighbour, >= 1.

    Raises:
        ValueError: A wrong shape or too few rows.
    """
    check_number("k", k, low=1, integer=True)
    rows, items = _pair(x, data, ("x", "data"), least=k + 1)

    def radius(a: Tensor) -> Tensor:
        distances = [
            torch.cdist(part, a, compute_mode="donot_use_mm_for_euclid_dist")
            for part in a.split(CHUNK_ROWS)
        ]
        # The nearest of all is the row itself.
        return torch.cat([d.kthvalue(k + 1, dim=1).values for d in distances])

    def covered(a: Tensor, b: Tensor) -> float:
        reach = radius(b)
        inside = [
            (torch.cdist(part, b, compute_mode="donot_use_mm_for_euclid_dist") <= reach).any(dim=1)
            for part in a.split(CHUNK_ROWS)
        ]
        return float(torch.cat(inside).double().mean())

    return PrecisionRecall(precision=covered(rows, items), recall=covered(items, rows))


def frechet_distance(x: Any, y: Any, *, features: Any = None) -> float:
    """Squared Fréchet distance between Gaussians fitted to two sets (Heusel et al. 2017, eq. 6).

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) with unbiased covariances, which may be singular.
    It falls with the number of rows: compare sets of equal size only.

    Args:
        x: Items, or their features by any network, `(n, d)` or images, n >= 2.
        y: Of the same kind, by the same network, m >= 2.
        features: What items are seen by: a function of them that gives `(n, f)`, or a model with
            such a method of this name (`ImageFeatures`); None if x and y are features already.

    Raises:
        ValueError: A wrong shape or too few rows.
    """
    see = _sight(features)
    rows, others = _pair(see(x), see(y), ("x", "y"), least=2)
    first, second = (torch.atleast_2d(torch.cov(a.T)) for a in (rows, others))
    values, vectors = torch.linalg.eigh(second)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    # tr (S1 S2)^(1/2) from a symmetric matrix with the same eigenvalues.
    cross = torch.linalg.eigvalsh(root @ first @ root).clamp(min=0).sqrt().sum()
    gap = (rows.mean(dim=0) - others.mean(dim=0)).square().sum()
    return float(gap + first.trace() + second.trace() - 2 * cross)


def _sight(features: Any) -> Features:
    """The function of an argument `features`."""
    see = (lambda items: items) if features is None else getattr(features, "features", features)
    if not callable(see):
        raise TypeError(f"features must be a function of items or a model with one; got {see!r}")
    chosen: Features = see
    return chosen


def bits_per_dim(log_prob: Any, shape: Sequence[int], levels: int = 256) -> float:
    """Mean cost of an item in bits per number of it, as images are compared by.

    -log2 p of the item as integers in {0, ..., levels - 1}, divided by how many there are. A
    density p(x) of images in [0, 1] is that of integers + uniform noise in [0, 1), divided by
    levels (Theis et al. 2016, section 3.1), so that log2(levels) is added.

    Args:
        log_prob: Of each item, in nats, `(n,)`, or one number: of the density of items in [0, 1].
        shape: Of one item, `(c, h, w)` or `(d,)`.
        levels: Number of values that a number had; 1 where log_prob is already that of discrete
            items (a PixelCNN, binary images).

    Raises:
        ValueError: log_prob is not finite or empty, or levels or a size is less than 1.
    """
    check_number("levels", levels, low=1, integer=True)
    for size in shape:
        check_number("every size in shape", size, low=1, integer=True)
    values = torch.as_tensor(log_prob).detach().double().cpu()
    if values.numel() == 0 or not bool(torch.isfinite(values).all()):
        raise ValueError("log_prob must be finite and have at least one number")
    nats = -float(values.mean()) / math.prod(shape)
    return nats / math.log(2) + math.log2(levels)


def class_entropy(probabilities: Any) -> float:
    """Entropy in nats of how often each class is the most probable one.

    log(number of classes) when samples show all classes equally often, 0 when only one.

    Args:
        probabilities: Of the classes, by a classifier, `(n, k)`, n >= 1.

    Raises:
        ValueError: A wrong shape or no rows.
    """
    chances = as_rows("probabilities", probabilities)
    if len(chances) == 0:
        raise ValueError("probabilities must have at least 1 row(s); got 0")
    counts = torch.bincount(chances.argmax(dim=1), minlength=chances.shape[1])
    share = counts.double() / len(chances)
    return float(-torch.special.xlogy(share, share).sum())


def nearer_share(x: Any, test: Any, data: Any) -> float:
    """Probability that a sample is nearer to the training data than a held-out item is.

    0.5 for fresh draws of the distribution, 1 for a memorizer, 0 for samples far from all data:
    the Mann-Whitney statistic behind the data-copying test of Meehan et al. (2020, section 3).

    Args:
        x: Samples `(n, d)` or images, n >= 1.
        test: Held-out items `(k, d)`, k >= 1.
        data: Training data `(m, d)`, m >= 1.
    """
    own = nearest_distance(x, data)
    held = nearest_distance(test, data).sort().values
    # Equal distances count half.
    above = len(held) - torch.searchsorted(held, own, right=True)
    not_below = len(held) - torch.searchsorted(held, own)
    return float((above + not_below).double().mean()) / (2 * len(held))


def report(
    samples: Any,
    data: Any,
    *,
    test: Any = None,
    features: Any = None,
    n_compared: int = 2000,
) -> dict[str, float]:
    """The scores of samples side by side, for no single one is honest.

    With held-out items, every score is given for as many of them too (`..._test`): what real data
    reach that the model has not seen. A good model comes near; one that is better than this in
    "frechet" or "nearest" repeats its data.

    Args:
        samples: `(n, d)` or images, in random order, n > 3.
        data: Training data, in random order, m > 3.
        test: Held-out items, more than 3, or None.
        features: See `frechet_distance`; a model with the method `predict_proba`
            (`ImageFeatures`) also counts classes. None for the items' own numbers.
        n_compared: Of each set, no more than so many of the first are used, >= 4; the time grows
            with its square.

    Returns:
        "n" compared; "frechet" distance, "mmd2" (in units of the data's median distance),
        "precision" and "recall", all by the features; "nearest", the mean distance to the nearest
        training item in the items' own numbers; "class_entropy" and "confidence" (mean largest
        probability) where there are classes; each also as "..._test"; with test,
        "nearer_than_test" (`nearer_share`), 0.5 for unseen data and 1 for copies.

    Raises:
        ValueError: A wrong shape or too few rows.
    """
    check_number("n_compared", n_compared, low=4, integer=True)
    sets = {"samples": samples, "data": data} | ({} if test is None else {"test": test})
    sets = {k: v if isinstance(v, Tensor) else np.asarray(v) for k, v in sets.items()}
    n = min(n_compared, len(samples), len(data if test is None else test))
    train, drawn = sets["data"][:n_compared], sets["samples"][:n]
    see = _sight(features)
    seen = as_rows("features of data", _flat(see(train)))
    _, _ = _pair(drawn, train, ("samples", "data"), least=4)
    distance = float(torch.pdist(seen[:1000]).median())
    widths = [distance * factor for factor in (0.5, 1.0, 2.0)] if distance > 0 else [1.0]

    def scores(items: Any) -> dict[str, float]:
        looks = see(items)
        near = precision_recall(looks, seen)
        found = {
            "frechet": frechet_distance(looks, seen),
            "mmd2": mmd2(looks, seen, bandwidths=widths),
            "precision": near.precision,
            "recall": near.recall,
            "nearest": float(nearest_distance(items, sets["data"]).mean()),
        }
        if hasattr(features, "predict_proba"):
            chances = features.predict_proba(items)
            found["class_entropy"] = class_entropy(chances)
            found["confidence"] = float(chances.max(dim=1).values.double().mean())
        return found

    result = {"n": float(n), **scores(drawn)}
    if test is not None:
        held = sets["test"][:n]
        result |= {f"{key}_test": value for key, value in scores(held).items()}
        result["nearer_than_test"] = nearer_share(drawn, held, sets["data"])
    return result
