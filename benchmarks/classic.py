"""The report of a real campaign: what `classic.toml` has run.

    evogen bench benchmarks/classic.toml --jobs 2
    python benchmarks/classic.py --store benchmarks/classic.db

Writes the whole report to a folder (`--out`), the tables to `results/classic.md`, every run to
`results/classic_runs.csv`, and two of its figures to `docs/figures`. Only seeds that all cells have
finished are taken.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from common import FIGURES, RESULTS, write_runs

from evogen.experiment import (
    Store,
    all_tables,
    read_plan,
    summarize,
    to_markdown,
    whole_seeds,
    write_report,
)

PLAN = Path(__file__).parent / "classic.toml"
SHOWN = {"ranks-igd": "campaign-ranks", "runtime": "campaign-runtime"}

INTRODUCTION = """# ZDT, DTLZ and IMF1-10, eight algorithms

Written by `python benchmarks/classic.py`, run by `evogen bench benchmarks/classic.toml`:
population 100, 5,000 evaluations, {n_seeds} seeds. On many of these problems the Pareto set lies at
a corner or the centre of the box; see `default_study.md` and `results.md` for shifted twins. CPU
seconds were taken while other work ran on the same two cores.
"""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--out", type=Path, help="folder of the report (default: thrown away)")
    args = parser.parse_args()
    with Store(args.store, must_exist=True) as store, tempfile.TemporaryDirectory() as scratch:
        keys, n_seeds = whole_seeds(store, read_plan(PLAN).campaign().cells)
        out = args.out or Path(scratch)
        written = {path.stem: path for path in write_report(store, out, keys=keys)}
        for name, shown in SHOWN.items():
            shutil.copy(written[name], FIGURES / f"{shown}.png")
        results = summarize(store, keys=keys)
    text = [INTRODUCTION.format(n_seeds=n_seeds), *(to_markdown(t) for t in all_tables(results))]
    (RESULTS / "classic.md").write_text("\n".join(text), encoding="utf-8")
    write_runs(results, RESULTS / "classic_runs.csv")
    print(f"{n_seeds} seeds, {len(written)} files in the report")


if __name__ == "__main__":
    main()
