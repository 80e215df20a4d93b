"""What the critic's own metric and warp do to its predictions.

    python benchmarks/critic_metric.py        # some minutes; writes results/critic_metric.md

Runs of ACE without either (5,000 evaluations; other seeds and twins than those of the tables in
`docs/ace.md`) are stopped every 500 evaluations. A critic learns what is known there and predicts
the next 60 points that the run evaluates: in the plain metric; in the metric of the plain critic's
slopes; in that of the slopes of the critic which has that metric; and so on; then the same with the
warp of those slopes, and both.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from common import RESULTS, markdown
from pymoo.core.callback import Callback

import evogen
from evogen.algorithms import ACE
from evogen.algorithms.ace_critic import SAME, refit
from evogen.algorithms.ace_rows import Rows
from evogen.algorithms.ace_warp import Warp
from evogen.operators.critic import RBFCritic
from evogen.problems import get_problem

PROBLEMS = (
    "imf1", "imf3", "imf4", "imf6", "imf9", "imf6-shifted", "imf7-shifted", "imf9-shifted",
    "dtlz4", "dtlz7", "wfg1", "wfg9", "uf2", "uf4", "uf7",
)  # fmt: skip


class Space(NamedTuple):
    """How often a critic takes what the one before suggests."""

    steps: int
    stretch: bool = True
    bend: bool = False


SPACES = {
    "plain": Space(0), "metric": Space(1), "2 steps": Space(2), "3 steps": Space(3),
    "5 steps": Space(5), "warp, 3 steps": Space(3, stretch=False, bend=True),
    "both": Space(1, bend=True), "both, 3 steps": Space(3, bend=True),
    "both, 5 steps": Space(5, bend=True),
}  # fmt: skip
SEEDS, EVERY, NEXT = (101, 102), 500, 60


class Archives(Callback):
    """What a run knew at some moments, and what it evaluated next."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs: list[tuple[Rows, Rows]] = []
        self._known: Rows | None = None

    def notify(self, algorithm: Any) -> None:
        """Keep what is known, and once there are enough newer points, those."""
        seen = algorithm.seen
        newest = int(seen.number.max())
        if self._known is not None:
            last = int(self._known.number.max())
            if newest >= last + NEXT:
                later = (seen.number > last) & (seen.number <= last + NEXT)
                self.pairs.append((self._known, seen[later]))
                self._known = None
        elif newest >= EVERY * (len(self.pairs) + 1):
            known = Rows.join(seen, algorithm.elite)
            _, different = np.unique(known.u.round(9), axis=0, return_index=True)
            self._known = known[different]


def errors(known: Rows, later: Rows) -> list[float]:
    """Logarithm of the mean error, in spreads of the later points, in each of `SPACES`."""
    unit = np.maximum(later.f.std(axis=0), 1e-12)
    made = []
    for space in SPACES.values():
        critic, warp = RBFCritic().fit(known.u, known.f), Warp.none(known.u.shape[1])
        for _ in range(space.steps):
            critic, warp = refit(
                critic,
                warp,
                known,
                SAME * known.f.std(axis=0),
                stretch=space.stretch,
                bend=space.bend,
            )
        missed = np.abs(critic.predict(warp(later.u)) - later.f).mean(axis=0) / unit
        # An objective that is a variable is predicted but for rounding.
        made.append(float(np.log(np.maximum(missed, 1e-3)).mean()))
    return made


def main() -> None:
    """Write the table."""
    lines, whole = [], []
    for name in PROBLEMS:
        settings: dict[str, Any] = {"n_var": 30} if name.startswith("imf") else {}
        settings |= {"seed": 2} if name.endswith("-shifted") else {}
        made = []
        for seed in SEEDS:
            problem, algorithm = get_problem(name, **settings), ACE(100, stretch=False, bend=False)
            algorithm.callback = Archives()
            res = evogen.minimize(problem, algorithm, ("n_eval", 5000), seed=seed)
            made += [errors(*pair) for pair in res.algorithm.callback.pairs]
        whole.append(np.exp(np.mean(made, axis=0) - np.mean(made, axis=0)[0]))
        lines.append([name, *(f"{ratio:.2f}" for ratio in whole[-1])])
    overall = np.exp(np.log(whole).mean(axis=0))
    lines.append(["all (geometric mean)", *(f"{ratio:.2f}" for ratio in overall)])
    header = ["problem", *SPACES]
    text = (
        "# The critic's own metric and warp\n\nWritten by `python benchmarks/critic_metric.py`; "
        "settings are described there. Error of the predicted objectives of the next 60 evaluated "
        "points (mean absolute, objectives' and moments' geometric mean), as a share of that in "
        f"the plain metric; seeds {' and '.join(map(str, SEEDS))}.\n\n{markdown(header, lines)}"
    )
    print(text)
    (RESULTS / "critic_metric.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
