"""The command `evogen ask`: designs from a finished run."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evogen.experiment import Designs

ASK_HELP = """\
Ask a finished run for designs: what it has evaluated is what there is to learn from.

  evogen run zdt3 --algorithm nsga2 --save run.db
  evogen ask run.db --near 0.2,0.5 -n 5         with these objectives, from every branch
  evogen ask run.db --prefer 0.7,0.3            for a preference
  evogen ask run.db --bound f1=0.1:0.3 -n 10    within bounds; either side may be left out
  evogen ask run.db --list                      the solutions found, with their numbers
  evogen ask run.db --between 3,7 -n 5 --evaluate --out asked.csv

A store of `evogen bench` works as well; it holds final populations only. Objectives are predicted;
true ones cost evaluations and come with --evaluate. Negative numbers: --near=-1,0.5
"""


def add_ask(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("store", help="file of `evogen run --save` or `evogen bench`")
    wish = parser.add_mutually_exclusive_group()
    wish.add_argument("--near", type=_numbers, metavar="F1,F2", help="objectives wanted")
    wish.add_argument("--prefer", type=_numbers, metavar="W1,W2", help="weights of the objectives")
    wish.add_argument(
        "--bound", action="append", type=_bound, metavar="f1=LOW:HIGH", help="may be repeated"
    )
    wish.add_argument("--between", type=_rows, metavar="I,J", help="two solutions (see --list)")
    wish.add_argument("--list", action="store_true", help="print the solutions found and end")
    parser.add_argument("-n", type=int, default=1, help="number of designs (default: 1)")
    parser.add_argument("--evaluate", action="store_true", help="compute their true objectives")
    parser.add_argument("--out", metavar="FILE", help="save the designs (.csv or .npz)")
    parser.add_argument("--seed", type=int, default=0, help="decides the answer (default: 0)")
    for name in ("problem", "algorithm"):
        parser.add_argument(f"--{name}", help="of the run, where the store holds several")
    parser.add_argument("--run-seed", type=int, help="seed of the run")


def run_ask(args: argparse.Namespace) -> int:
    """The command; its exit code."""
    from evogen.experiment.export import check_export_path, save_designs
    from evogen.experiment.saved import load_run

    if args.out:
        check_export_path(args.out)
    twice = {name for name, _ in args.bound or () if [n for n, _ in args.bound].count(name) > 1}
    if twice:
        raise ValueError(f"--bound {min(twice)} is given twice; write both limits as LOW:HIGH")
    run = load_run(args.store, problem=args.problem, algorithm=args.algorithm, seed=args.run_seed)
    if args.list:
        for i, f in enumerate(run.solutions):
            print(f"{i:5}  " + "  ".join(f"{value:12.6g}" for value in f))
        return 0
    designs = run.ask(
        near=args.near,
        preference=args.prefer,
        bounds=dict(args.bound) if args.bound else None,
        between=args.between,
        n=args.n,
        evaluate=args.evaluate,
        seed=args.seed,
    )
    what = "all its points" if run.complete else "its final population, all that the store holds"
    print(f"{run.label}: learned from {len(run.evaluations)} points ({what})")
    _print_designs(designs)
    print(designs.message)
    if args.out:
        save_designs(designs, args.out)
        print(f"{args.out} holds the designs")
    return 0


def _print_designs(designs: Designs) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    kinds = ["wanted", "predicted", *(["true"] if designs.F is not None else [])]
    n_obj = designs.target.shape[1]
    for title in ["", *(f"f{j + 1} {kind}" for j in range(n_obj) for kind in kinds)]:
        table.add_column(title, justify="right")
    table.add_column("in reach")
    for i in range(len(designs)):
        cells = [str(i)]
        for j in range(n_obj):
            cells.append(f"{designs.target[i, j]:.5g}")
            cells.append(f"{designs.F_predicted[i, j]:.5g} ± {designs.expected_error[i, j]:.2g}")
            if designs.F is not None:
                cells.append(f"{designs.F[i, j]:.5g}")
        table.add_row(*cells, "yes" if designs.attainable[i] else "no")
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not numbers such as 0.2,0.5") from None


def _bound(text: str) -> tuple[str, tuple[float | None, float | None]]:
    name, equals, limits = text.partition("=")
    low, colon, high = limits.partition(":")
    try:
        if not (name and equals and colon):
            raise ValueError
        return name, (float(low) if low else None, float(high) if high else None)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no bound such as f1=0.1:0.3 or f1=:0.3"
        ) from None


def _rows(text: str) -> tuple[int, int]:
    parts = text.split(",")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not two row numbers such as 3,7")
    return int(parts[0]), int(parts[1])
