"""GAN-driven search and improvement models, each beside its nulls: `docs/gmoea.md` in numbers.

    OMP_NUM_THREADS=1 python benchmarks/gan_operators.py run --store gan.db    # 20 CPU minutes
    python benchmarks/gan_operators.py report --store gan.db                   # tables and CSV

IMF1-10 and their shifted twins, 30 variables, population 100, 5,000 evaluations, seeds 1 to 11, as
in `study.py`: a store that it has filled already saves the runs that are the same. Interrupted,
the same command goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from common import RESULTS, command_line, select, write_runs

from evogen.experiment import (
    Campaign,
    Results,
    Store,
    cost_table,
    indicator_table,
    summarize,
    to_markdown,
)

SETTING = {"n_var": 30}
N_EVAL, POP_SIZE, SEEDS = 5000, 100, 11
SUITES = ["imf", "imf-shifted"]
TWELVE = [f"imf{k}{kind}" for kind in ("", "-shifted") for k in range(1, 7)]

CRITIC = "gmoea-critic"
#: The first column of a part is the one that the others are compared with.
PARTS: dict[str, tuple[str, list[str], list[str]]] = {
    "critic": (
        "GAN and critic against the methods they come from",
        SUITES,
        [CRITIC, "gmoea", "gmoea-difference", "nsga2-de", "nsga2"],
    ),
    "nulls": (
        "The network against its nulls",
        TWELVE,
        [CRITIC, *(f"{CRITIC}-{null}" for null in ("copy", "difference", "untrained"))],
    ),
    "improvement": (
        "Improvement models against the linear map",
        TWELVE,
        ["nsga2-improvement-linear", "nsga2-improvement", "nsga2"],
    ),
}


def campaign(store: Path, part: str) -> Campaign:
    """The cells of a part."""
    _, problems, algorithms = PARTS[part]
    return Campaign(
        problems,
        algorithms,
        seeds=SEEDS,
        n_eval=N_EVAL,
        pop_size=POP_SIZE,
        store=store,
        problem_settings=SETTING,
    )


def run(store: Path, parts: Sequence[str], jobs: int) -> None:
    """Run the cells of the parts that the store does not hold."""
    for part in parts:
        print(part, campaign(store, part).run(jobs=jobs), flush=True)


def tables(results: Results, part: str) -> list[str]:
    """IGD and hypervolume of a part, originals and twins apart."""
    title, _, columns = PARTS[part]
    text = []
    for rows in ("original", "shifted"):
        chosen = select(results, rows, columns, columns[0])
        text.append(f"## {title}: {rows} problems\n")
        text += [to_markdown(indicator_table(chosen, name)) for name in ("igd", "hv")]
    return text


def report(store_path: Path) -> None:
    """Write the tables above the notes of `gan_operators.md`, and every run as CSV."""
    target = RESULTS / "gan_operators.md"
    notes = target.read_text(encoding="utf-8") if target.exists() else ""
    notes = notes[notes.index(NOTES) :] if NOTES in notes else NOTES + "\n"
    page = [INTRODUCTION]
    keys = {part: {cell.key for cell in campaign(store_path, part).cells} for part in PARTS}
    with Store(store_path, must_exist=True) as store:
        for part in PARTS:
            page += tables(summarize(store, keys=keys[part]), part)
        results = summarize(store, keys=set().union(*keys.values()))
        page += ["## Cost\n", to_markdown(cost_table(results))]
        write_runs(results, RESULTS / "gan_operators_runs.csv")
    target.write_text("\n".join([*page, notes]), encoding="utf-8")


NOTES = "## Looked at and dropped"

INTRODUCTION = f"""# GAN-driven search and improvement models

Written by `python benchmarks/gan_operators.py report`, the runs by the same script's `run`:
IMF1-10 and their shifted twins (offset seed 1), 30 variables, population {POP_SIZE}, {N_EVAL:,}
evaluations, seeds 1 to {SEEDS}; nulls and improvement models on IMF1-6 and their twins. Wall
seconds are those of a busy machine. What it says is in `docs/gmoea.md`.
"""


def main() -> None:
    """Command line."""
    args = command_line(__doc__, PARTS, store="gan.db", jobs=1).parse_args()
    if args.command == "run":
        run(args.store, args.part or list(PARTS), args.jobs)
    else:
        report(args.store)


if __name__ == "__main__":
    main()
