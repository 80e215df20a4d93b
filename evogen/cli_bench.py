"""`evogen bench`, `evogen export` and `evogen import`: campaigns, and their results as files."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evogen.cli_options import add_budget, count, positive, problem_settings

if TYPE_CHECKING:
    from evogen.experiment import Campaign, Store
    from evogen.experiment.campaign_file import Plan

BENCH_HELP = """\
Run problems x algorithms x seeds in parallel and keep every result in a store.

  evogen bench imf zdt --algorithms nsga2,spea2,immoea,gmoea --seeds 11 --store runs.db
  evogen bench imf1 imf1-shifted --algorithms nsga2,gmoea --evals 5000 --report report
  evogen bench --write-example campaign.toml    a file to fill in, with every setting explained
  evogen bench campaign.toml                    what it says; flags go before the file

A suite's name stands for its problems, `imf-shifted` for their twins. The same command again
continues where the last one ended, however it ended. Tables compare with a baseline by the
Wilcoxon rank-sum test with Holm's correction: + better, - worse, = no significant difference.

A cell that raises, gives no finite values, takes longer than --time-limit, wants more than
--memory-limit or loses its process is recorded with the reason, and the others go on;
--retry-failed runs such cells again. --engine ray or dask runs the cells on a cluster
(pip install 'evogen[ray]', 'evogen[dask]'), with the same results.
"""

EXPORT_HELP = """\
Write a store as plain files: cells.parquet (or cells.csv), one npz per array group, a JSON file.

  evogen export runs.db --out folder
  evogen import folder --store new.db           the way back
"""

IMPORT_HELP = """\
Read a folder that `evogen export` has written, or somebody's results, into a store.

  evogen import folder --store new.db
  evogen import theirs.csv --store theirs.db --evals 5000 --pop-size 100
  evogen compare runs.db theirs.db

A CSV file has one line per run with the columns problem, algorithm, seed and one or more of igd,
igd_plus, hv; it may have n_eval, pop_size, n_var, n_obj, cpu_seconds, wall_seconds and error.
"""


def add_bench(parser: argparse.ArgumentParser) -> None:
    """Arguments of `evogen bench`; None stands for what is not given."""
    parser.add_argument(
        "problems",
        nargs="*",
        metavar="PROBLEM | campaign.toml",
        help="problems or suites (`evogen list suites`), or one campaign file",
    )
    parser.add_argument(
        "--write-example", metavar="FILE", help="write a campaign file to start from, and end"
    )
    parser.add_argument(
        "-a",
        "--algorithms",
        help="names, separated by commas (default: nsga2,spea2,immoea,gmoea)",
    )
    add_budget(parser, evals=None)
    parser.add_argument(
        "--seconds", type=positive, help="wall time after which a run ends, if that is earlier"
    )
    parser.add_argument(
        "--target",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="value at which a run ends, if that is earlier, e.g. igd=0.01; may be repeated",
    )
    parser.add_argument("--seeds", type=_seeds, help="11 for seeds 1 to 11, or 3,5,8 (default: 11)")
    parser.add_argument("--store", help="file with the results (default: runs.db)")
    add_jobs(parser)
    parser.add_argument("--engine", help="what runs the cells: local, ray or dask (default: local)")
    parser.add_argument(
        "--address", help="of a running Ray or Dask cluster (default: started on this machine)"
    )
    parser.add_argument(
        "--time-limit", type=positive, metavar="SECONDS", help="for a cell (default: none)"
    )
    parser.add_argument(
        "--memory-limit", metavar="SIZE", help="for a worker process, e.g. 2GB (default: none)"
    )
    parser.add_argument(
        "--checkpoint-every",
        type=positive,
        metavar="SECONDS",
        help="write the state of running cells to STORE.running; one that is stopped goes on",
    )
    parser.add_argument(
        "--order",
        help="cost: cells that take longest first; seeds: seed by seed, so that a stop leaves "
        "whole seeds (default: cost)",
    )
    parser.add_argument(
        "--retry-failed",
        action="store_true",
        default=None,
        help="run cells again that have failed before",
    )
    add_baseline(parser)
    parser.add_argument("--report", metavar="DIR", help="write tables and figures there as well")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar")


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """How many cells run at a time."""
    parser.add_argument("--jobs", type=int, help="parallel processes (default: all cores)")


def add_baseline(parser: argparse.ArgumentParser) -> None:
    """What tables compare with."""
    parser.add_argument(
        "--baseline", help="algorithm to compare with (default: nsga2, else the first)"
    )


def run_bench(args: argparse.Namespace) -> int:
    """`evogen bench`; the exit code is 1 when cells have failed."""
    if args.write_example:
        from evogen.experiment.campaign_file import write_example

        print(f"wrote {write_example(args.write_example)}; evogen bench {args.write_example}")
        return 0
    plan = _plan(args)
    return run_campaign(
        plan.campaign(),
        plan.run_settings(),
        report=plan.report,
        baseline=plan.baseline,
        progress=not args.quiet,
    )


def _plan(args: argparse.Namespace) -> Plan:
    """What the file says, if there is one, and the flags over it."""
    from evogen.experiment.campaign_file import Plan, read_plan

    if not args.problems:
        raise ValueError("give problems, suites or a campaign file, e.g. evogen bench imf zdt")
    is_file = args.problems[0].lower().endswith(".toml")
    if is_file and len(args.problems) > 1:
        raise ValueError(f"{args.problems[0]} stands alone; put {args.problems[1]} into the file")
    plan = read_plan(args.problems[0]) if is_file else Plan(problems=args.problems)
    names = args.algorithms
    algorithms = None if names is None else [n.strip() for n in names.split(",") if n.strip()]
    plan = plan.changed(
        algorithms=algorithms,
        n_eval=args.evals,
        seconds=args.seconds,
        target=_targets(args.target),
        pop_size=args.pop_size,
        problem_settings={**plan.problem_settings, **problem_settings(args)},
        seeds=args.seeds,
        store=args.store,
        jobs=args.jobs,
        engine=args.engine,
        address=args.address,
        time_limit=args.time_limit,
        memory_limit=args.memory_limit,
        checkpoint_every=args.checkpoint_every,
        order=args.order,
        retry_failed=args.retry_failed,
        baseline=args.baseline,
        report=args.report,
    )
    # A cluster says itself how much it can do.
    return plan.changed(jobs=n_cores() if plan.jobs is None and plan.address is None else None)


def _targets(pairs: Sequence[str]) -> dict[str, float] | None:
    found = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        try:
            found[name.replace("-", "_")] = float(text)
        except ValueError:
            raise ValueError(f"--target {pair}: give NAME=VALUE, e.g. igd=0.01") from None
    return found or None


def run_campaign(
    campaign: Campaign,
    settings: dict[str, Any],
    *,
    report: str | Path | None,
    baseline: str | None,
    progress: bool,
) -> int:
    """Run a campaign, print its tables, and write its report where one is wanted.

    Args:
        campaign: What to run.
        settings: Arguments for `Campaign.run`.
        report: Folder, or None.
        baseline: Label of the algorithm to compare with, or None.
        progress: Show a bar.

    Returns:
        Exit code: 1 when cells have failed.
    """
    from evogen.experiment import Store
    from evogen.experiment.targets import prepare_folder

    if report is not None:
        prepare_folder(report)
    summary = campaign.run(progress=progress, **settings)
    # A store may hold more: what earlier campaigns have left there is shown by `evogen report`.
    shown = {"baseline": baseline, "keys": {cell.key for cell in campaign.cells}}
    with Store(campaign.store) as store:
        print_tables(store, **shown)
        if report is not None:
            print_report(store, report, **shown)
    print(f"{summary}; {summary.seconds:.0f} s; kept in {campaign.store}")
    return 1 if summary.failed else 0


def print_tables(store: Store, **shown: Any) -> None:
    """The tables of a store, or of a part of it (`evogen.experiment.summarize`)."""
    from rich.console import Console

    from evogen.experiment import all_tables, summarize, to_rich

    # Piped into a file there is no width to fit, and folded numbers are hard to read.
    console = Console(width=None if sys.stdout.isatty() else 160)
    for table in all_tables(summarize(store, **shown)):
        console.print(to_rich(table))
        console.print()


def print_report(store: Store, out_dir: str | Path, **shown: Any) -> None:
    """Write a report (`evogen.experiment.write_report`) and say what it has become."""
    from evogen.experiment import write_report

    written = write_report(store, out_dir, **shown)
    pages = [path for path in written if path.name == "index.html"]
    print(f"wrote {len(written)} files to {out_dir}; open {(pages or written)[0]}")


def add_export(parser: argparse.ArgumentParser) -> None:
    """Arguments of `evogen export`."""
    parser.add_argument("store", help="file that `evogen bench` has written")
    parser.add_argument("--out", required=True, metavar="DIR", help="a new or empty folder")
    parser.add_argument(
        "--format",
        choices=("parquet", "csv"),
        help="of the table (default: parquet if pyarrow is there, else csv)",
    )


def run_export(args: argparse.Namespace) -> int:
    """`evogen export`."""
    from evogen.experiment import Store
    from evogen.experiment.exchange import export_store

    with Store(args.store, must_exist=True) as store:
        written = export_store(store, args.out, table=args.format)
    print(f"wrote {written.n_cells} cells and {written.n_arrays} arrays to {args.out}")
    return 0


def add_import(parser: argparse.ArgumentParser) -> None:
    """Arguments of `evogen import`."""
    parser.add_argument("source", help="a folder of `evogen export`, or a CSV file of results")
    parser.add_argument(
        "--store", required=True, help="file for the results; made when it is not there"
    )
    parser.add_argument("--evals", type=count, help="evaluations of every run of a CSV file")
    parser.add_argument("--pop-size", type=count, help="population size of every run of a CSV file")


def run_import(args: argparse.Namespace) -> int:
    """`evogen import`."""
    from evogen.experiment import Store
    from evogen.experiment.exchange import import_folder
    from evogen.experiment.results_file import import_results

    source = Path(args.source)
    if not source.exists():
        raise FileNotFoundError(f"there is no file or folder {source}")
    if source.is_dir():
        if args.evals is not None or args.pop_size is not None:
            raise ValueError("--evals and --pop-size are for CSV files; a folder knows its own")
        with Store(args.store) as store:
            read = import_folder(store, source)
    else:
        with Store(args.store) as store:
            read = import_results(store, source, n_eval=args.evals, pop_size=args.pop_size)
    print(f"{read}; kept in {args.store}")
    return 0


def _seeds(text: str) -> int | list[int]:
    try:
        return [int(part) for part in text.split(",")] if "," in text else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither 11 nor 3,5,8") from None


def n_cores() -> int:
    """The cores this process may use; a container often has fewer than the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
