"""The metrics: exact values, recorded reference points, and how each can be fooled."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from evogen.models import toys
from evogen.models.metrics import (
    bits_per_dim,
    class_entropy,
    frechet_distance,
    mmd2,
    mode_coverage,
    nearer_share,
    nearest_distance,
    precision_recall,
    report,
    wasserstein2,
)

TOYS = {
    "ring": (toys.ring, toys.ring_modes(), toys.RING_STD),
    "grid": (toys.grid, toys.grid_modes(), toys.GRID_STD),
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def distances(name: str, x: torch.Tensor) -> tuple[float, float]:
    """MMD^2 and W2 of the first 1000 samples to as many fresh points."""
    fresh = TOYS[name][0](1000, generator(99))
    return mmd2(x[:1000], fresh), wasserstein2(x[:1000], fresh)


def naive(name: str) -> torch.Tensor:
    """One Gaussian with the data's mean and deviations."""
    data = TOYS[name][0](50_000, generator(5))
    return data.mean(0) + data.std(0) * torch.randn(2500, 2, generator=generator(6))


def collapsed(name: str) -> torch.Tensor:
    """All samples around one mode."""
    _, modes, std = TOYS[name]
    return modes[0] + std * torch.randn(2500, 2, generator=generator(7))


@pytest.mark.parametrize(("name", "k", "w2"), [("ring", 8, (0.12, 0.30)), ("grid", 25, (0.6, 1.0))])
def test_a_fresh_sample_has_the_scores_of_theory(name, k, w2):
    draw, modes, std = TOYS[name]
    x = draw(2500, generator())
    found = mode_coverage(x, modes, std)
    assert (found.n_modes, found.captured, found.strict) == (k, k, k)
    assert found.high_quality == pytest.approx(1 - math.exp(-4.5), abs=0.007)
    assert 0 < found.reverse_kl < 0.012
    assert found.distance == pytest.approx(math.sqrt(2 * math.log(2)), abs=0.06)
    discrepancy, distance = distances(name, x)
    assert abs(discrepancy) < 0.0075
    assert w2[0] < distance < w2[1]


@pytest.mark.parametrize(
    ("name", "captured", "quality", "reverse_kl", "discrepancy", "w2"),
    [("ring", (1, 8), 0.01, 0.015, 0.19, 0.50), ("grid", (15, 23), 0.03, 0.08, 0.062, 1.26)],
)
def test_one_gaussian_is_found_out_by_strict_modes_and_quality(
    name, captured, quality, reverse_kl, discrepancy, w2
):
    x = naive(name)
    found = mode_coverage(x, *TOYS[name][1:])
    assert captured[0] <= found.captured <= captured[1], "it fools the count of modes"
    assert found.reverse_kl < reverse_kl, "and the histogram"
    assert found.strict == 0
    assert found.high_quality < quality
    scores = distances(name, x)
    assert scores == pytest.approx((discrepancy, w2), rel=0.2)


@pytest.mark.parametrize(
    ("name", "discrepancy", "w2"), [("ring", 2.21, 1.43), ("grid", 2.54, 4 * math.sqrt(3))]
)
def test_a_collapse_to_one_mode_is_found_out_by_modes_and_the_histogram(name, discrepancy, w2):
    x = collapsed(name)
    found = mode_coverage(x, *TOYS[name][1:])
    assert (found.captured, found.strict) == (1, 1)
    assert found.high_quality > 0.98, "it fools the share of high quality"
    assert found.reverse_kl == pytest.approx(math.log(found.n_modes))
    scores = distances(name, x)
    assert scores[0] == pytest.approx(discrepancy, rel=0.05)
    if name == "ring":
        assert scores[1] == pytest.approx(w2, rel=0.05)
    else:
        assert scores[1] > 6, "from a corner the mean square distance is 64"


def test_a_strict_mode_has_a_fifth_of_its_share():
    modes = np.array([[0.0, 0.0], [10.0, 0.0]])
    rare = np.zeros((100, 2))
    for count, strict in ((10, 2), (9, 1)):
        x = rare.copy()
        x[:count, 0] = 10.0
        assert mode_coverage(x, modes, 0.1).strict == strict
    x = rare + np.array([0.31, 0.0])
    assert mode_coverage(x, modes, 0.1).captured == 0
    assert mode_coverage(x, modes, 0.1).reverse_kl == pytest.approx(math.log(2))


def test_mmd_is_the_sum_over_pairs():
    x, y = np.array([[0.0], [1.0], [3.0]]), np.array([[0.5], [2.0]])

    def kernel(a, b):
        return sum(math.exp(-((a - b) ** 2) / (2 * s * s)) for s in (0.1, 0.5, 1.0))

    own = 2 * (kernel(0, 1) + kernel(0, 3) + kernel(1, 3)) / 6
    cross = sum(kernel(a, b) for a in x[:, 0] for b in y[:, 0]) / 6
    assert mmd2(x, y) == pytest.approx(own + kernel(0.5, 2) - 2 * cross, abs=1e-12)


def test_mmd_of_one_distribution_is_zero_on_average():
    rng = np.random.default_rng(0)
    values = [mmd2(*rng.normal(size=(2, 50, 2))) for _ in range(60)]
    assert abs(np.mean(values)) < 4 * np.std(values) / 60**0.5
    assert min(values) < 0


def test_w2_of_a_shift_is_its_length_whatever_the_order():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    assert wasserstein2(x, rng.permutation(x) + np.array([1.0, 2.0, 2.0])) == pytest.approx(3.0)
    assert wasserstein2(x, rng.permutation(x)) == pytest.approx(0.0, abs=1e-12)
    one = rng.normal(size=(300, 1)), 2 * rng.normal(size=(300, 1))
    expected = np.sqrt(np.mean((np.sort(one[0][:, 0]) - np.sort(one[1][:, 0])) ** 2))
    assert wasserstein2(*one) == pytest.approx(expected)


def test_a_memorizer_has_no_distance_to_the_data():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(1500, 4))
    assert nearest_distance(data[::-1].copy(), data).max() == 0
    far = nearest_distance(data[:2] + 100.0, data[:1])
    expected = np.linalg.norm(data[:2] + 100 - data[0], axis=1)
    np.testing.assert_allclose(far, expected)
    assert far.shape == (2,)


def test_precision_falls_for_wide_samples_and_recall_for_narrow_ones():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(600, 2))
    same = precision_recall(rng.normal(size=(600, 2)), data)
    wide = precision_recall(5 * rng.normal(size=(600, 2)), data)
    narrow = precision_recall(0.1 * rng.normal(size=(600, 2)), data)
    assert min(same.precision, same.recall) > 0.9
    assert wide.precision < 0.35
    assert wide.recall > 0.9
    assert narrow.precision > 0.95
    assert narrow.recall < 0.1


def test_precision_counts_balls_that_reach_to_the_kth_neighbour():
    data = np.array([[0.0], [1.0], [2.0], [10.0]])
    x = np.array([[-1.0], [-2.5], [3.5], [19.0], [17.5]])
    # Radii at k = 2: 2, 1, 2, 9.
    assert precision_recall(x, data, k=2).precision == pytest.approx(4 / 5)
    assert precision_recall(x, data, k=1).precision == pytest.approx(3 / 5)


def test_the_frechet_distance_is_that_of_the_gaussians():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 4)) @ rng.normal(size=(4, 4)), rng.normal(size=(200, 4)) + 1
    a, b = np.cov(x.T), np.cov(y.T)
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)
    dead = np.column_stack((x, np.zeros(300))), np.column_stack((y, np.zeros(200)))
    assert frechet_distance(*dead) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(x, x) == pytest.approx(0.0, abs=1e-9)
    assert frechet_distance(x[:, :1], x[:, :1] + 2) == pytest.approx(4.0)


def test_images_are_taken_as_their_pixels():
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 20, 3, 2, 2))
    flat = x.reshape(20, 12), torch.as_tensor(y.reshape(20, 12))
    for metric in (mmd2, wasserstein2, precision_recall, frechet_distance):
        assert metric(x, torch.as_tensor(y)) == metric(*flat)
    assert torch.equal(nearest_distance(x, y), nearest_distance(*flat))


def test_the_frechet_distance_looks_through_given_features():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 3)), rng.normal(size=(50, 3))
    y[:, 0] = x[:, 0]
    blind = frechet_distance(x, y, features=lambda items: items[:, :1])
    assert blind == pytest.approx(0.0, abs=1e-9)
    assert frechet_distance(x, y) > 0.01
    with pytest.raises(TypeError, match="features must be a function"):
        frechet_distance(x, y, features=3)


def test_bits_per_dim_of_uniform_images_are_the_bits_of_a_pixel():
    shape = (3, 4, 4)
    # The uniform density on [0, 1] is 1: every one of 256 values costs 8 bits.
    assert bits_per_dim(np.zeros(5), shape) == pytest.approx(8.0)
    assert bits_per_dim(0.0, shape, levels=2) == pytest.approx(1.0)
    # Discrete: fair coins.
    nats = torch.full((7,), -48 * math.log(2))
    assert bits_per_dim(nats, shape, levels=1) == pytest.approx(1.0)
    assert bits_per_dim([-1.0, -3.0], (2,), levels=1) == pytest.approx(1 / math.log(2))
    for log_prob, levels, message in (
        ([], 256, "at least one number"),
        ([math.nan], 256, "must be finite"),
        ([1.0], 0, "levels must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            bits_per_dim(log_prob, shape, levels)


def test_class_entropy_is_that_of_the_most_probable_classes():
    all_alike = np.tile([0.4, 0.3, 0.3], (6, 1))
    assert class_entropy(all_alike) == 0.0, "the chances themselves would give 1.09"
    assert class_entropy(np.eye(3)) == pytest.approx(math.log(3))
    halves = torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]])
    assert class_entropy(halves) == pytest.approx(math.log(2))


def test_the_nearer_share_is_half_for_fresh_data_and_one_for_copies():
    rng = np.random.default_rng(0)
    data, test, fresh = rng.normal(size=(3, 400, 3))
    assert nearer_share(fresh, test, data) == pytest.approx(0.5, abs=0.06)
    assert nearer_share(data, test, data) == 1.0
    assert nearer_share(fresh + 100, test, data) == 0.0
    assert nearer_share(test[::-1].copy(), test, data) == 0.5
    # By hand: samples at 0, 2; held-out at 1, 2; (1 + 1 + 0 + 1/2) / 4.
    assert nearer_share([[0.0], [2.0]], [[1.0], [2.0]], [[0.0]]) == pytest.approx(2.5 / 4)


def test_a_report_tells_a_good_model_from_a_memorizer_and_a_collapse():
    rng = np.random.default_rng(0)
    data, test, good = rng.normal(size=(3, 300, 2))
    copied, collapsed = data[rng.permutation(300)], 0.05 * rng.normal(size=(300, 2))
    found = {
        name: report(x, data, test=test)
        for name, x in (("good", good), ("copied", copied), ("collapsed", collapsed))
    }
    assert {k.removesuffix("_test") for k in found["good"] if k.endswith("_test")} == {
        *("frechet", "mmd2", "precision", "recall", "nearest", "nearer_than")
    }
    held = found["good"]
    for key in ("frechet", "precision", "recall", "nearest"):
        assert found["good"][key] == pytest.approx(held[f"{key}_test"], rel=0.3, abs=0.06)
    assert found["collapsed"]["frechet"] > 1.5
    assert found["good"]["nearer_than_test"] == pytest.approx(0.5, abs=0.1)
    assert found["copied"]["frechet"] < held["frechet_test"], "the best of all by this number"
    assert found["copied"]["nearest"] == 0
    assert found["copied"]["nearer_than_test"] == 1
    assert found["collapsed"]["precision"] > 0.9
    assert found["collapsed"]["recall"] < 0.1
    assert found["collapsed"]["mmd2"] > 0.3 > 0.03 > abs(found["good"]["mmd2"])
    small = report(good, data, test=test[:50], n_compared=100)
    assert small["n"] == 50
    assert small["nearest"] == pytest.approx(float(nearest_distance(good[:50], data).mean()))
    assert "nearest_test" not in report(good, data)


def test_wrong_tables_are_refused_in_one_sentence():
    x = np.zeros((5, 2))
    for call, message in (
        (lambda: mmd2(x, x[:, :1]), "y must have 2 columns, as x has; got 1"),
        (lambda: mmd2(x, x[:1]), r"y must have at least 2 row\(s\); got 1"),
        (lambda: mmd2(x, x, bandwidths=(0.0,)), "every number in bandwidths"),
        (lambda: wasserstein2(x, x[:4]), "as many rows, at most 5000; got 5 and 4"),
        (lambda: mode_coverage(x[:0], x, 0.1), r"x must have at least 1 row\(s\); got 0"),
        (lambda: mode_coverage(x, x, 0.0), "std must be at least"),
        (lambda: mode_coverage(x * np.nan, x, 0.1), "x must be finite"),
        (lambda: nearest_distance(x, x[:0]), r"data must have at least 1 row\(s\)"),
        (lambda: precision_recall(x, x[:3]), r"data must have at least 4 row\(s\); got 3"),
        (lambda: precision_recall(x, x, k=0), "k must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
