"""From objective vectors to designs: p(x | f) out of the points that a run has evaluated.

The inverse of an objective function has branches: a Pareto set in pieces, or several designs with
the same objectives. A mean over neighbours in objective space falls between them. So every branch
is asked apart: neighbours of the target are told apart by where they lie in decision space, each
neighbourhood gives a local Gaussian of designs given objectives, and its mean is then corrected
against a critic (predicted objectives).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import moocore
import numpy as np
from scipy.spatial import cKDTree

from evogen.operators.localcritic import LocalCritic

#: Which of the nearest evaluated points around a candidate the critic learns from: runs evaluate
#: many near-copies, and without some from further off it would know nothing of what lies between.
RANKS = np.r_[0:24, 31, 39, 47, 63, 79, 95, 127]

#: The critic learns from no more points than this, the nearest to each candidate first.
MOST_POINTS = 600

#: A design may miss its target by this share of the front's range and still count as a hit.
TOLERANCE = 0.01


@dataclass
class Answers:
    """Designs for targets.

    Attributes:
        u: Designs in the unit box `(n, n_dim)`.
        f: Predicted objectives `(n, n_obj)`, in the objectives' own units.
        error: Expected absolute error of the prediction `(n, n_obj)`.
        cv: Predicted constraint violation `(n,)`, 0 without constraints.
        target: Row number of each design's target `(n,)`.
        miss: Distance of prediction and target `(n,)`, in ranges of the front.
    """

    u: np.ndarray
    f: np.ndarray
    error: np.ndarray
    cv: np.ndarray
    target: np.ndarray
    miss: np.ndarray

    def __len__(self) -> int:
        return len(self.u)

    def __getitem__(self, rows: np.ndarray) -> Answers:
        return Answers(*(values[rows] for values in vars(self).values()))

    @staticmethod
    def merge(*parts: Answers) -> Answers:
        """One after the other."""
        return Answers(
            *(np.concatenate(v) for v in zip(*(vars(p).values() for p in parts), strict=True))
        )


class InverseSampler:
    """Samples designs for objective vectors; learns from evaluated points alone.

    For a target t (objectives scaled to the found front): of the `n_neighbors` feasible points
    nearest to t, `n_starts` that are near t and far from each other in decision space start a
    branch each. Around a start a, weighted linear regression of u on f over those neighbours that
    are near a gives a mean m of p(u | f = t) and variances S (the conditional Gaussian of a local
    mixture component). The critic s then corrects it by iterated Gauss-Newton steps on

        |s(u) - t|^2 / e^2 + (u - m)' S^-1 (u - m),

    the update of an iterated extended Kalman filter (Bell & Cathey, IEEE Trans. Autom. Control
    38(2), 1993) with e the critic's own leave-one-out error nearby: a critic that is not to be
    trusted moves little. Of the refined candidates those are returned that hit the target and are
    spread over decision space.

    Attributes:
        front: Feasible non-dominated objective vectors `(k, n_obj)`, after `fit`.
        ideal: The least of each objective on it `(n_obj,)`.
        extent: Its range in each objective `(n_obj,)`.
        cv_scale: Median violation of the infeasible points, 1 without any.

    Args:
        n_neighbors: Evaluated points looked at for a target (>= 4).
        n_starts: Branches looked for (>= 1).
        n_steps: Gauss-Newton steps; 0 leaves the Gaussians' means as they are.
        n_draws: Further draws from each local Gaussian.

    Raises:
        ValueError: A number below its least value.
    """

    def __init__(
        self,
        *,
        n_neighbors: int = 60,
        n_starts: int = 8,
        n_steps: int = 6,
        n_draws: int = 0,
    ) -> None:
        least = {"n_neighbors": 4, "n_starts": 1, "n_steps": 0, "n_draws": 0}
        for name, low in least.items():
            if locals()[name] < low:
                raise ValueError(f"{name}={locals()[name]!r} must be at least {low}")
        self.n_neighbors = n_neighbors
        self.n_starts = n_starts
        self.n_steps = n_steps
        self.n_draws = n_draws

    def fit(
        self,
        u: np.ndarray,
        f: np.ndarray,
        cv: np.ndarray,
        *,
        project: Callable[[np.ndarray], np.ndarray] | None = None,
        movable: np.ndarray | None = None,
    ) -> InverseSampler:
        """Take in evaluated points.

        Args:
            u: Decision variables in the unit box `(n, n_dim)`.
            f: Objectives `(n, n_obj)`, finite.
            cv: Constraint violations `(n,)`, feasible where <= 0; infeasible points only teach
                the critic.
            project: Puts rows of the unit box on the nearest real design (rounding of integers).
            movable: Which columns are continuous `(n_dim,)`; all by default.

        Raises:
            ValueError: No feasible point, or fewer than n_dim + 2 distinct points.
        """
        _, first = np.unique(u, axis=0, return_index=True)
        keep = np.sort(first)
        self._u, self._f, self._cv = u[keep], f[keep], cv[keep]
        if len(keep) < u.shape[1] + 2:
            raise ValueError(
                f"{len(keep)} distinct points are too few to predict objectives of {u.shape[1]} "
                f"variables; at least {u.shape[1] + 2} are needed"
            )
        self._project = project
        self._movable = np.ones(u.shape[1], bool) if movable is None else movable
        self._feasible = np.flatnonzero(self._cv <= 0)
        if len(self._feasible) == 0:
            raise ValueError("none of the points is feasible; there is nothing to be asked for")
        f_feasible = np.ascontiguousarray(self._f[self._feasible])
        self.front = np.unique(f_feasible[moocore.is_nondominated(f_feasible)], axis=0)
        self.ideal = self.front.min(axis=0)
        extent = self.front.max(axis=0) - self.ideal
        widest = f_feasible.max(axis=0) - self.ideal
        self.extent = np.where(extent > 1e-12, extent, np.where(widest > 1e-12, widest, 1.0))
        self._z = self.scale(self._f)
        self._tree = cKDTree(self._z[self._feasible])
        self._known = cKDTree(self._u)
        self._by_front = np.argsort(self._z.sum(axis=1), kind="stable")
        self._constrained = bool((self._cv > 0).any())
        violated = self._cv[self._cv > 0]
        self.cv_scale = float(np.median(violated)) if self._constrained else 1.0
        return self

    def scale(self, f: np.ndarray) -> np.ndarray:
        """Objectives `(n, n_obj)` in units of the found front: ideal point 0, nadir point 1."""
        return np.asarray((f - self.ideal) / self.extent)

    def unscale(self, z: np.ndarray) -> np.ndarray:
        """The reverse of `scale`."""
        return np.asarray(self.ideal + z * self.extent)

    def sample(
        self,
        targets: np.ndarray,
        n: int = 1,
        *,
        random_state: np.random.Generator,
        rotate: bool = False,
        min_distance: float = 0.01,
        proposals: np.ndarray | None = None,
    ) -> Answers:
        """Designs for objective vectors.

        Args:
            targets: Objective vectors `(m, n_obj)` in the objectives' own units.
            n: Designs wanted for each; there may be fewer where fewer distinct ones are found.
            random_state: Source of random numbers.
            rotate: With n = 1, take branches in turn from target to target, not always the best.
            min_distance: Designs of a target differ by at least this share of a variable's range.
            proposals: Candidates `(m, c, n_dim)` from another model, in place of the Gaussians'.

        Returns:
            Answers ordered by target, for each the best first.
        """
        z = self.scale(np.asarray(targets, dtype=float))
        parts = []
        for i, target in enumerate(z):
            rows, places = self._starts(target)
            if proposals is not None:
                places = proposals[i]
            mean, variance = self._gaussians(target, places, rows, random_state)
            if proposals is not None:
                # Of each group, the place itself.
                mean, variance = mean[:: 2 + self.n_draws], variance[:: 2 + self.n_draws]
            local = self._local_critic(mean, rows)
            found = self._refined(mean, variance, target, local)
            found.target[:] = i
            parts.append(found[self._chosen(found, n, i if rotate else None, min_distance)])
        return Answers.merge(*parts)

    # Candidates.

    def _starts(self, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers of the neighbours, and a place on each branch `(k, n_dim)`."""
        k = min(self.n_neighbors, len(self._feasible))
        distance, near = (np.ravel(v) for v in self._tree.query(target, k=k))
        rows = self._feasible[near]
        spacing = distance[min(len(target), k - 1)] + 1e-9
        chosen = spread(self._u[rows], distance + spacing, self.n_starts)
        return rows, self._u[rows[chosen]]

    def _gaussians(
        self, target: np.ndarray, places: np.ndarray, rows: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Means of p(u | f = target) around the places, the places themselves, and draws.

        Returns:
            Designs `(k, n_dim)` and the variances of the Gaussian that each belongs to.
        """
        u, z = self._u[rows], self._z[rows]
        # As many neighbours as the regression on all objectives needs, and some to spare.
        k = min(len(rows), 2 * z.shape[1] + 4)
        reach = np.linalg.norm(z - target, axis=1)
        height = np.partition(reach, k - 1)[k - 1] + 1e-12
        design = np.column_stack([np.ones(len(u)), z - target])
        made, variances = [], []
        for place in places:
            apart = np.abs(u - place).max(axis=1)
            width = np.partition(apart, k - 1)[k - 1] + 1e-12
            exponent = (apart / width) ** 2 + (reach / height) ** 2
            # Less the least: near-copies make widths so small that all weights could vanish.
            weight = np.exp(-0.5 * (exponent - exponent.min()))
            weight /= weight.sum()
            coefficients = _regression(design, u, weight)
            middle = np.where(self._movable, np.clip(coefficients[0], 0.0, 1.0), place)
            scatter = weight @ (u - coefficients[0]) ** 2
            made += [place, middle]
            residual = u - design @ coefficients
            for _ in range(self.n_draws):
                draw = middle + (np.sqrt(weight) * rng.standard_normal(len(u))) @ residual
                mixed = np.where(
                    rng.random(len(place)) < 0.5, u[rng.choice(len(u), p=weight)], place
                )
                made.append(np.where(self._movable, np.clip(draw, 0.0, 1.0), mixed))
            variances += [np.where(self._movable, scatter + 1e-10, 0.0)] * (2 + self.n_draws)
        return np.array(made), np.array(variances)

    # The critic.

    def _local_critic(self, u: np.ndarray, rows: np.ndarray) -> LocalCritic:
        """Fit it to what was evaluated near the candidates, in decision and objective space."""
        k = min(int(RANKS[-1]) + 1, len(self._u))
        near = self._known.query(u, k=k)[1].reshape(len(u), k)[:, RANKS[k > RANKS]]
        # The linear tail alone needs n_dim + 1 points.
        more = self._by_front[: 2 * u.shape[1]]
        ordered = np.concatenate([rows, more, near.T.ravel()])
        first = np.sort(np.unique(ordered, return_index=True)[1])
        chosen = np.sort(ordered[first[: max(MOST_POINTS, 3 * u.shape[1])]])
        values = self._z[chosen]
        if self._constrained:
            values = np.column_stack([values, self._cv[chosen] / self.cv_scale])
        return LocalCritic(self._u[chosen], values, self._z.shape[1])

    def _refined(
        self, mean: np.ndarray, variance: np.ndarray, target: np.ndarray, local: LocalCritic
    ) -> Answers:
        """Gauss-Newton steps from the means; the best place of each path."""
        u = mean.copy()
        noise = local.expected_error(u) ** 2 + (0.1 * TOLERANCE) ** 2
        best_u, best_cost = u.copy(), np.full(len(u), np.inf)
        way = np.zeros(len(u))
        for step in range(self.n_steps + 1):
            gap = local.gap(u, target)
            with np.errstate(divide="ignore", invalid="ignore"):
                prior = np.where(variance > 0, (u - mean) ** 2 / variance, 0.0).sum(axis=1)
            cost = (gap**2 / noise).sum(axis=1) + prior
            better = cost < best_cost
            best_u[better], best_cost[better] = u[better], cost[better]
            way[better] = prior[better]
            if step == self.n_steps:
                break
            jacobian = local.slope(u, gap)
            gain = jacobian * variance[:, None, :]
            matrix = gain @ jacobian.transpose(0, 2, 1) + noise[:, :, None] * np.eye(gap.shape[1])
            right = gap + np.einsum("koi,ki->ko", jacobian, u - mean)
            weights = np.linalg.solve(matrix, right[:, :, None])[:, :, 0]
            aim = mean + np.einsum("koi,ko->ki", gain, weights)
            # A step that made things worse is halved, seen from the best place.
            u = np.where(better[:, None], np.clip(aim, 0.0, 1.0), 0.5 * (u + best_u))
        return self._judged(best_u, way, target, local)

    def _judged(
        self, u: np.ndarray, way: np.ndarray, target: np.ndarray, local: LocalCritic
    ) -> Answers:
        """Designs as they will be built, with what the critic says of them.

        The further a design was moved from its Gaussian's mean (`way`, squared and in standard
        deviations `(n,)`), the more is its error expected to exceed the usual one.
        """
        if self._project is not None:
            u = self._project(u)
        n_obj = len(target)
        predicted = local.predict(u)
        error = local.expected_error(u) * np.sqrt(1.0 + way)[:, None]
        miss = np.linalg.norm(predicted[:, :n_obj] - target, axis=1)
        cv = np.maximum(predicted[:, n_obj:], 0.0).sum(axis=1) * self.cv_scale
        f = self.unscale(predicted[:, :n_obj])
        owner = np.zeros(len(u), dtype=int)
        return Answers(u, f, error[:, :n_obj] * self.extent, cv, owner, miss)

    # Choice.

    def _chosen(self, given: Answers, n: int, turn: int | None, min_distance: float) -> np.ndarray:
        """Rows of up to n candidates that hit their target and lie apart."""
        cost = given.miss + np.linalg.norm(given.error / self.extent, axis=1)
        cost = cost + 10.0 * given.cv / self.cv_scale + TOLERANCE
        rows = np.flatnonzero(cost <= 2.0 * cost.min())
        if turn is None:
            return rows[spread(given.u[rows], cost[rows], n, min_distance)]
        picked = spread(given.u[rows], cost[rows], self.n_starts, max(min_distance, 0.05))
        return rows[picked[[turn % len(picked)]]]


def _regression(design: np.ndarray, u: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted least squares of u on the objectives `(1 + n_obj, n_dim)`."""
    weighted = design * weight[:, None]
    gram = weighted.T @ design
    slopes = gram[1:, 1:]
    # Along a front the objectives are tied to each other; a little ridge picks a solution.
    slopes += (1e-3 * np.trace(slopes) / len(slopes) + 1e-12) * np.eye(len(slopes))
    return np.asarray(np.linalg.solve(gram, weighted.T @ u))


def spread(u: np.ndarray, cost: np.ndarray, n: int, min_distance: float = 0.0) -> np.ndarray:
    """Row numbers of up to n rows that are cheap and far apart.

    The cheapest first; then, greedily, the largest ratio of the distance to those chosen
    (the largest difference in one variable) to the cost.

    Args:
        u: Rows `(k, d)`.
        cost: Positive costs `(k,)`.
        n: How many.
        min_distance: Rows nearer than this to a chosen one are left out.
    """
    chosen = [int(np.argmin(cost))]
    distance = np.abs(u - u[chosen[0]]).max(axis=1)
    while len(chosen) < min(n, len(u)):
        score = np.where(distance > min_distance, distance / cost, 0.0)
        best = int(np.argmax(score))
        if score[best] <= 0.0:
            break
        chosen.append(best)
        distance = np.minimum(distance, np.abs(u - u[best]).max(axis=1))
    return np.array(chosen)
