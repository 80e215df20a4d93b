"""How PACT's settings were chosen: by other seeds than those of the study.

    python benchmarks/pact_settings.py run --store settings.db --jobs 2    # half a CPU hour
    python benchmarks/pact_settings.py report --store settings.db

Pairs of tasks with nothing in common (those of `multitask_study.py`'s part `unrelated`), where
transfer can only cost, twins of CEC17-MTMO, where it helps, and families of ten tasks with few
evaluations. Seeds 101 to 107; the study has 1 to 11. A setting's figure on a problem is the
geometric mean over tasks and seeds of its IGD over that of the first setting: below 1 is better.
Interrupted, the same command goes on.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, command_line, markdown
from unrelated_tasks import PAIRS, pair

from evogen.experiment import Campaign, Spec, Store, summarize, whole_seeds
from evogen.problems import list_problems

SEEDS = list(range(101, 108))
FIRST = {"power": 4.0, "prior": 0.5}
SETTINGS: dict[str, dict[str, Any]] = {
    "power 4, prior 0.5": FIRST,
    "power 1": FIRST | {"power": 1.0},
    "power 8": FIRST | {"power": 8.0},
    "prior 0.25": FIRST | {"prior": 0.25},
    "prior 0.1": FIRST | {"prior": 0.1},
    "prior 0.05": FIRST | {"prior": 0.05},
    "no exchange": FIRST | {"transfers": ["towards", "mixed", "whole"]},
    "no transfer": FIRST | {"transfers": []},
}
PARTS = {
    "unrelated": (100, 50_000),
    "related": (100, 50_000),
    "families": (50, 10_000),
}
RELATED = ["cihs-shifted", "pihs-shifted", "pils-shifted", "nihs-shifted"]


def campaign(part: str, store: Path) -> Campaign:
    """The cells of a part."""
    pop_size, n_eval = PARTS[part]
    problems = {
        "unrelated": [Spec(f"{a}+{b}", pair, {"first": a, "second": b}) for a, b in PAIRS],
        "related": [Spec(name, name) for name in RELATED],
        "families": [Spec(name, name) for name in list_problems("df-family")[::3]],
    }[part]
    algorithms = [Spec(label, "pact", settings) for label, settings in SETTINGS.items()]
    return Campaign(
        problems, algorithms, seeds=SEEDS, n_eval=n_eval, pop_size=pop_size, store=store
    )


def ratios(path: Path, store: Store, part: str) -> tuple[dict[str, dict[str, float]], int]:
    """Of every problem and setting the mean ratio to the first, and with how many seeds."""
    keys, n_seeds = whole_seeds(store, campaign(part, path).cells)
    if not keys:
        return {}, 0
    done = summarize(store, keys=keys).done
    igd = {
        (row, a, c.seed): np.inf if c.igd is None else c.igd
        for (row, a), cells in done.items()
        for c in cells
    }
    logs: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (row, setting, seed), value in igd.items():
        logs[row.split()[0]][setting].append(np.log(value / igd[row, next(iter(SETTINGS)), seed]))
    return {
        problem: {setting: float(np.exp(np.mean(of[setting]))) for setting in SETTINGS}
        for problem, of in logs.items()
    }, n_seeds


def report(path: Path) -> None:
    """The page."""
    text = [
        "# How PACT's settings were chosen\n\nWritten by "
        "`python benchmarks/pact_settings.py report`; what is measured is in the script's first "
        "lines. IGD over that of the first setting, geometric mean over tasks and seeds; below 1 "
        "is better.\n"
    ]
    with Store(path, must_exist=True) as store:
        for part, (pop_size, n_eval) in PARTS.items():
            found, n_seeds = ratios(path, store, part)
            print(f"{part}: {n_seeds} seeds")
            if not found:
                continue
            rows = [[p, *(f"{of[s]:.3f}" for s in SETTINGS)] for p, of in found.items()]
            means = [np.exp(np.mean([np.log(of[s]) for of in found.values()])) for s in SETTINGS]
            rows.append(["all", *(f"**{mean:.3f}**" for mean in means)])
            text += [
                f"## {part.capitalize()}: population {pop_size}, {n_eval:,} evaluations, "
                f"{n_seeds} seeds\n",
                markdown(["problem", *SETTINGS], rows),
            ]
    (RESULTS / "pact_settings.md").write_text("\n".join(text), encoding="utf-8")


def main() -> None:
    """Command line."""
    args = command_line(__doc__, PARTS, store="settings.db").parse_args()
    if args.command == "report":
        report(args.store)
        return
    for part in args.part or PARTS:
        print(part, campaign(part, args.store).run(jobs=args.jobs, order="seeds"), flush=True)


if __name__ == "__main__":
    main()
