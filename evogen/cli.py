"""The command line: thin, every command is a few calls into the library.

What a command needs is imported inside it, so that `evogen --help` answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from evogen._version import __version__
from evogen.cli_animate import ANIMATE_HELP, add_animate, run_animate
from evogen.cli_ask import ASK_HELP, add_ask, run_ask
from evogen.cli_bench import (
    BENCH_HELP,
    EXPORT_HELP,
    IMPORT_HELP,
    add_bench,
    add_export,
    add_import,
    add_jobs,
    n_cores,
    run_bench,
    run_campaign,
    run_export,
    run_import,
)
from evogen.cli_models import TRAIN_HELP, add_train, run_train
from evogen.cli_options import count
from evogen.cli_report import (
    COMPARE_HELP,
    REPORT_HELP,
    add_compare,
    add_report,
    run_compare,
    run_report,
)
from evogen.cli_run import RUN_HELP, add_run, run_run
from evogen.cli_sample import SAMPLE_HELP, add_sample, run_sample

DESCRIPTION = """\
Evolutionary optimization whose offspring come from generative models.

  evogen demo                                   see it work (about five minutes)
  evogen list algorithms                        what there is
  evogen run imf1 --algorithm auto --plot front.png --save run.db
  evogen ask run.db --near 0.2,0.5 -n 5         designs from a finished run
  evogen animate run.db --out run.gif           its population over the generations
  evogen bench imf zdt --algorithms ace,nsga2,gmoea --seeds 11 --store runs.db
  evogen report runs.db --out report            tables and a page; evogen compare a.db b.db
  evogen train --model ddpm --data digits --out run
  evogen sample run -n 64 --grid grid.png
"""

DEMO_HELP = """\
NSGA-II, IM-MOEA, GMOEA, NSGA-II with a diffusion operator, and ACE on four problems and their
shifted twins (the same problems with the solutions moved away from corners and centre): prints
tables with significance marks against NSGA-II, and writes figures.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the command `evogen`.

    Args:
        arguments: Command line without the program's name; that of the process by default.

    Returns:
        Exit code: 0 done (also when a run found no feasible solution), 1 some cells failed, 2 bad
        input, 130 interrupted.
    """
    parser = _parser()
    args = parser.parse_args(arguments)
    try:
        return args.command(args)
    except KeyboardInterrupt:
        print("evogen: interrupted; the same command continues a bench", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # `evogen list | head`: nobody reads on. Python would complain when it flushes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if args.debug:
            raise
        known = isinstance(error, ValueError | TypeError | OSError) or type(
            error
        ).__module__.startswith("evogen")
        text = " ".join(str(error).split())
        print(f"evogen: {text if known else f'{type(error).__name__}: {text}'}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "evogen", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"evogen {__version__}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, function: Any, summary: str, details: str = "") -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=summary,
            description=details or summary,
            parents=[common],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(command=function)
        return command

    _add_list(add("list", _list, "names of problems, algorithms and suites"))
    add_run(add("run", run_run, "solve one problem once", RUN_HELP))
    add_ask(add("ask", run_ask, "designs from a finished run", ASK_HELP))
    add_animate(add("animate", run_animate, "a run's population as a film", ANIMATE_HELP))
    add_bench(add("bench", run_bench, "problems x algorithms x seeds into a store", BENCH_HELP))
    add_report(add("report", run_report, "tables, figures and a page from a store", REPORT_HELP))
    add_compare(add("compare", run_compare, "two stores, run by run", COMPARE_HELP))
    add_export(add("export", run_export, "a store as plain files", EXPORT_HELP))
    add_import(add("import", run_import, "plain files into a store", IMPORT_HELP))
    add_train(add("train", run_train, "train a generative model", TRAIN_HELP))
    add_sample(add("sample", run_sample, "samples from a trained model", SAMPLE_HELP))
    _add_demo(add("demo", _demo, "a campaign of a few minutes that shows it all", DEMO_HELP))
    return parser


def _add_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        nargs="?",
        choices=("problems", "algorithms", "suites"),
        help="what to list; all three by default",
    )


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", default="results", metavar="DIR", help="folder (default: %(default)s)"
    )
    parser.add_argument("--seeds", type=count, help="number of seeds (default: 7; 2 with --quick)")
    add_jobs(parser)
    parser.add_argument("--quick", action="store_true", help="fewer seeds and evaluations")


def _list(args: argparse.Namespace) -> int:
    import importlib

    problems = importlib.import_module("evogen.problems")
    if args.what in (None, "suites", "problems"):
        for suite in problems.list_suites():
            names = problems.list_problems(suite)
            if args.what == "problems":
                print(*names, sep="\n")
            else:
                print(f"{suite:14} {len(names):3} problems  {_span(names)}")
        for suite in problems.list_suites(multitask=True):
            names = problems.list_problems(suite)
            if args.what == "problems":
                print(*names, sep="\n")
            else:
                print(f"{suite:18} {len(names):3} problems of several tasks  {_span(names)}")
    if args.what is None:
        print("\nAny box-bounded problem has a twin: imf1-shifted; a suite's twins: imf-shifted.\n")
    if args.what in (None, "algorithms"):
        algorithms = importlib.import_module("evogen.algorithms")
        for_one, for_several = algorithms.list_algorithms(), algorithms.list_multitask_algorithms()
        width = max(map(len, [*for_one, *for_several]))
        for name, about in for_one.items():
            print(f"{name:{width}}  {about}")
        print("\nFor problems of several tasks (any other name: every task by itself):\n")
        for name, about in for_several.items():
            print(f"{name:{width}}  {about}")
    return 0


def _span(names: Sequence[str]) -> str:
    return " ".join(names) if len(names) <= 4 else f"{names[0]} {names[1]} ... {names[-1]}"


def _demo(args: argparse.Namespace) -> int:
    from evogen.experiment.demo import demo_campaign

    campaign = demo_campaign(args.out, seeds=args.seeds, quick=args.quick)
    settings = {"jobs": n_cores() if args.jobs is None else args.jobs, "retry_failed": True}
    return run_campaign(campaign, settings, report=args.out, baseline="nsga2", progress=True)


if __name__ == "__main__":
    sys.exit(main())
