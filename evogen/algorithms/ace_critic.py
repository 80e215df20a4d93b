"""ACE's critic: learns from every few evaluations, and knows how far to trust itself."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from evogen.algorithms.ace_rows import Rows
from evogen.algorithms.ace_warp import Warp
from evogen.operators.critic import RBFCritic

#: The critic begins anew when it has so many times the points that it was fitted to.
GROWTH = 4 / 3

#: How many of the newest points tell how fast objectives change, and the most by which a variable
#: is stretched or shrunk.
N_NEWEST, MAX_STRETCH = 100, 5.0

#: Predictions are compared with the truth when there are so many; values that differ by less than
#: this share of their standard deviation in the archive are the same.
MIN_CHECKED, SAME = 5, 1e-3


class Critic:
    """Radial basis functions that learn objectives and constraints from a growing archive.

    Args:
        n_obj: Number of objectives.

    Attributes:
        model: The interpolant, of warped points; None while there is too little to learn from.
        warp: Where it sees a point.
        trust: Running mean of the worst objective's rank correlation, predicted with true, over the
            points that were evaluated on the critic's word; an objective that is the same for all
            of them has none.
    """

    def __init__(self, n_obj: int) -> None:
        self.n_obj = n_obj
        self.model: RBFCritic | None = None
        self.warp = Warp.none(0)
        self.trust = 0.5
        self._n_fitted = self._taught = 0
        self._unchecked = np.empty((2, 0, n_obj))
        self._unit = np.ones(n_obj)

    @property
    def confidence(self) -> float:
        """How much of the offspring it is worth, in [0, 1]: none up to a trust of 1/4, all from
        3/4."""
        return float(np.clip(2.0 * self.trust - 0.5, 0.0, 1.0))

    def learn(self, rows: Rows, *, stretch: bool = False, bend: bool = False) -> bool:
        """Learn what is new among evaluated points `(n,)`.

        New points are added to the interpolant, which is much cheaper than a fit, until it has a
        third more than it began with, or as many are new at once; then it starts anew from the
        points given.

        Args:
            rows: All that it should know.
            stretch: Whether a fit takes the metric that the model before it suggests, see `metric`.
            bend: Whether it takes the warp that the model before it suggests, see `Warp`.

        Returns:
            Whether there is a model.
        """
        newest = int(rows.number.max()) + 1
        model = self.model
        if model is not None:
            n_new = len(np.unique(rows.number[rows.number >= self._taught]))
            most = (GROWTH - 1.0) * self._n_fitted
            if len(model) >= self._n_fitted + most or n_new > most:
                model = None
        if model is not None:
            rows = rows[rows.number >= self._taught]
        _, different = np.unique(rows.u.round(9), axis=0, return_index=True)
        rows = rows[different[np.isfinite(rows.values[different]).all(axis=1)]]
        n, n_dim = rows.u.shape
        if model is None and n < n_dim + 2:
            return False
        try:
            if model is not None:
                model.extend(self.warp(rows.u), rows.values)
            else:
                model, self._n_fitted = self._fit(rows, stretch, bend), n
        except np.linalg.LinAlgError:
            self.model = None
            return False
        self.model, self._taught = model, newest
        return True

    def _fit(self, rows: Rows, stretch: bool, bend: bool) -> RBFCritic:
        """A fit; its warp and metric are those of the slopes of the model before it, so they
        improve each other over a run."""
        with np.errstate(over="ignore"):
            spread = rows.f.std(axis=0)
        self._unit = SAME * np.where((spread > 0) & (spread < np.inf), spread, 1.0)
        known, old = self.model, self.warp
        self.warp = Warp.none(rows.u.shape[1])
        if not stretch and not bend:
            return RBFCritic().fit(rows.u, rows.values)
        if known is None:
            known, old = RBFCritic().fit(rows.u, rows.values), self.warp
        try:
            model, self.warp = refit(known, old, rows, self._unit, stretch=stretch, bend=bend)
        except np.linalg.LinAlgError:
            return RBFCritic().fit(rows.u, rows.values)
        return model

    def predict(self, u: np.ndarray) -> np.ndarray:
        """Objectives, then constraints, of points in the unit box `(n, d)` -> `(n, k)`."""
        return self.predict_warped(self.warp(u))

    def predict_warped(self, z: np.ndarray) -> np.ndarray:
        """The same for points that are `warp`ed already."""
        assert self.model is not None
        return self.model.predict(z)

    def check(self, predicted: np.ndarray, f: np.ndarray) -> None:
        """Compare predicted objectives `(n, n_obj)` with true ones, where these are finite."""
        pairs = np.stack([predicted, f])
        known = np.isfinite(pairs).all(axis=(0, 2))
        self._unchecked = np.concatenate([self._unchecked, pairs[:, known]], axis=1)
        if self._unchecked.shape[1] < MIN_CHECKED:
            return
        pairs, self._unchecked = (self._unchecked / self._unit).round(), self._unchecked[:, :0]
        pairs = pairs[:, :, np.ptp(pairs[1], axis=0) > 0]
        if pairs.size:
            worst = float(rank_correlation(*pairs).min())
            self.trust = 0.5 * self.trust + 0.5 * max(worst, 0.0)


def refit(
    known: RBFCritic, warp: Warp, rows: Rows, least: np.ndarray, *, stretch: bool, bend: bool
) -> tuple[RBFCritic, Warp]:
    """A fit to evaluated points `(n,)`, with the warp and metric that a model before it suggests.

    Args:
        known: The model before.
        warp: Its warp.
        rows: What to learn; the newest tell how fast the objectives change.
        least: Differences of the objectives that count as none `(n_obj,)`.
        stretch: Whether it has a metric.
        bend: Whether it has a warp.

    Raises:
        numpy.linalg.LinAlgError: The points cannot be interpolated so, or slopes overflow.
    """
    newest = rows[np.argsort(rows.number)[-N_NEWEST:]]
    scale = None
    with np.errstate(over="ignore", invalid="ignore"):
        spread = np.maximum(newest.f.std(axis=0), least)
        slopes = known.gradient(warp(newest.u))[:, : len(least)] / spread[:, None]
        slopes = slopes * warp.slope(newest.u)[:, None]
        warp = Warp.learn(newest.u, slopes) if bend else Warp.none(rows.u.shape[1])
        if stretch:
            scale = metric(slopes / warp.slope(newest.u)[:, None])
    if scale is not None and not np.isfinite(scale).all():
        raise np.linalg.LinAlgError("the slopes of huge values overflow")
    return RBFCritic().fit(warp(rows.u), rows.values, scale), warp


def metric(slopes: np.ndarray) -> np.ndarray:
    """What one unit of each variable should count for a critic `(d,)`.

    The root of how much the objectives change along it (root mean square), in units of the
    variables' geometric mean, at most 5 and at least 1/5; not finite where the slopes overflow.

    Args:
        slopes: Of the objectives in their own spreads `(n, n_obj, d)`.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        size = np.sqrt((slopes**2).mean(axis=(0, 1))) + 1e-12
        root = np.sqrt(size / np.exp(np.log(size).mean()))
    return np.asarray(np.clip(root, 1.0 / MAX_STRETCH, MAX_STRETCH))


def rank_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's coefficient of each column `(k,)` of two arrays `(n, k)`.

    0 where one of them is constant.
    """
    x, y = (r - r.mean(axis=0) for r in (rankdata(a, axis=0), rankdata(b, axis=0)))
    size = np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0))
    return np.asarray((x * y).sum(axis=0) / np.where(size > 0, size, 1.0))
