"""Whether every generative model does what its paper promises, measured by training it.

    python benchmarks/model_criteria.py run --jobs 2     # about 2.3 CPU hours; resumes
    python benchmarks/model_criteria.py report           # docs/model_criteria.md

`run --model VQVAE` or `run --criterion NAME` does a part, `--seeds N` fewer seeds, `--again`
forgets what was measured before. Every criterion trains its model on each seed, and a broken
variant, which must fail, on the first seed; the median of the seeds counts. Figures are kept in
`results/model_criteria.jsonl`, one line per training.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from pkgutil import iter_modules
from statistics import median
from typing import Any

from criteria.common import CRITERIA, Criterion

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "model_criteria.jsonl"
PAGE = HERE.parent / "docs" / "model_criteria.md"
NOT_FAMILIES = ("common", "yardsticks")

INTRODUCTION = """# What every model must show

Written by `python benchmarks/model_criteria.py report`; the trainings by `... run`. One line is one
promise: a figure that a working implementation reaches and a broken one misses. **Ours** is the
median over the seeds given, with the least and the largest in brackets; all figures of every
training are in `benchmarks/results/model_criteria.jsonl`. **Broken** is a variant with the fault
that is named, trained the same way; it must miss the target. Criteria that are exact (gradients
that must be zero, probabilities that must sum to 1, closed forms) are tests and not listed here.
CPU seconds are per training, on one core of a machine that did other work as well.
"""


def load_families() -> None:
    """Imports the files that register criteria."""
    for module in iter_modules([str(HERE / "criteria")]):
        if module.name not in NOT_FAMILIES:
            import_module(f"criteria.{module.name}")


def train(name: str, seed: int, broken: bool) -> dict[str, Any]:
    """One training of a criterion's model."""
    import torch

    torch.set_num_threads(1)
    load_families()
    chosen = CRITERIA[name]
    run = chosen.broken if broken else chosen.run
    assert run is not None
    started = time.process_time()
    figures = {key: float(value) for key, value in run(seed).items()}
    seconds = round(time.process_time() - started, 2)
    return {
        "criterion": name,
        "seed": seed,
        "broken": broken,
        "seconds": seconds,
        "figures": figures,
    }


def read() -> list[dict[str, Any]]:
    """All trainings measured so far; the latest of each kind."""
    if not RESULTS.exists():
        return []
    lines = [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]
    return list({(r["criterion"], r["seed"], r["broken"]): r for r in lines}.values())


def run(chosen: Sequence[Criterion], n_seeds: int | None, jobs: int, again: bool) -> None:
    """Trains what is not measured yet, seed by seed, and appends each line when it is done."""
    done = set() if again else {(r["criterion"], r["seed"], r["broken"]) for r in read()}
    most = max((c.n_seeds for c in chosen), default=0)
    plan = [
        (c.name, seed, broken)
        for seed in range(1, most + 1)
        for c in chosen
        for broken in (False, True)
        if seed <= min(c.n_seeds, n_seeds or c.n_seeds)
        and (not broken or (seed == 1 and c.broken is not None))
        and (c.name, seed, broken) not in done
    ]
    RESULTS.parent.mkdir(exist_ok=True)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(train, *task): task for task in plan}
        for i, future in enumerate(as_completed(futures), start=1):
            name, seed, broken = futures[future]
            label = f"{i}/{len(plan)} {name} seed {seed}{' broken' if broken else ''}"
            try:
                line = future.result()
            except Exception as error:  # one failing model must not stop the others
                print(f"{label}: FAILED {type(error).__name__}: {error}", flush=True)
                continue
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            shown = ", ".join(f"{k} {v:.4g}" for k, v in line["figures"].items())
            print(f"{label}: {shown} ({line['seconds']} s)", flush=True)


def medians(lines: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Median of every figure over trainings."""
    return {k: median(line["figures"][k] for line in lines) for k in lines[0]["figures"]}


def spread(values: Sequence[float]) -> str:
    """Median, with least and largest."""
    if len(values) == 1:
        return f"{values[0]:.4g}"
    return f"{median(values):.4g} ({min(values):.4g} to {max(values):.4g})"


def row(chosen: Criterion, lines: Sequence[dict[str, Any]]) -> list[str]:
    """One line of the table."""
    good = [line for line in lines if not line["broken"]]
    bad = [line for line in lines if line["broken"]]
    if not good:
        return []
    middle = medians(good)
    ours = [f"{spread([line['figures'][chosen.figure] for line in good])}"]
    ours += [f"{key} {middle[key]:.3g}" for key in chosen.also]
    broken = "-"
    if bad:
        figures = bad[0]["figures"]
        word = "fails" if not chosen.passes(figures) else "**passes**"
        shown = [f"{figures[chosen.figure]:.4g}", *(f"{k} {figures[k]:.3g}" for k in chosen.also)]
        broken = f"{word}: {', '.join(shown)} ({chosen.broken_what})"
    return [
        chosen.model,
        chosen.what,
        chosen.target,
        ", ".join(ours),
        "reached" if chosen.passes(middle) else "**missed**",
        str(len(good)),
        broken,
        chosen.reference or "-",
        f"{median(line['seconds'] for line in good):.0f}",
        f"`{chosen.name}`",
    ]


def report() -> None:
    """Writes the page."""
    lines: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in read():
        lines[line["criterion"]].append(line)
    header = (
        "model", "figure", "target", "ours", "", "seeds", "broken variant", "reference", "CPU s",
        "`--criterion`",
    )  # fmt: skip
    rows = [row(c, lines[c.name]) for c in CRITERIA.values() if lines[c.name]]
    rows = [r for r in rows if r]
    reached = sum(r[4] == "reached" for r in rows)
    table = ["| " + " | ".join(r) + " |" for r in [list(header), ["---"] * len(header), *rows]]
    missing = sorted(c.name for c in CRITERIA.values() if not lines[c.name])
    text = f"{INTRODUCTION}\n{reached} of {len(rows)} criteria reached.\n\n"
    text += "\n".join(table) + "\n"
    if missing:
        text += f"\nNot measured yet: {', '.join(missing)}.\n"
    PAGE.write_text(text, encoding="utf-8")
    print(f"{PAGE}: {reached} of {len(rows)} reached; not measured: {len(missing)}")


def main() -> None:
    """The command line."""
    load_families()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("command", choices=("run", "report", "list"))
    parser.add_argument("--model", action="append", help="only this model's criteria")
    parser.add_argument("--criterion", action="append", choices=sorted(CRITERIA))
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--again", action="store_true")
    args = parser.parse_args()
    chosen = [
        c
        for c in CRITERIA.values()
        if (not args.model or c.model in args.model)
        and (not args.criterion or c.name in args.criterion)
    ]
    if args.command == "list":
        for c in chosen:
            print(f"{c.name:32} {c.model:18} {c.what}: {c.target}")
    elif args.command == "run":
        os.environ["OMP_NUM_THREADS"] = "1"
        run(chosen, args.seeds, args.jobs, args.again)
    else:
        report()


if __name__ == "__main__":
    main()
