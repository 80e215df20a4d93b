"""The command line: thin, every command is a few calls into the library.

What a command needs is imported inside it, so that `evogen --help` answers at once.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from evogen._version import __version__
from evogen.cli_ask import ASK_HELP, add_ask, run_ask
from evogen.cli_models import TRAIN_HELP, add_train, run_train
from evogen.cli_sample import SAMPLE_HELP, add_sample, run_sample

if TYPE_CHECKING:
    from evogen.experiment import Campaign, Store

DESCRIPTION = """\
Evolutionary optimization whose offspring come from generative models.

  evogen demo                                   see it work (about five minutes)
  evogen list algorithms                        what there is
  evogen run imf1 --algorithm auto --plot front.png --save run.db
  evogen ask run.db --near 0.2,0.5 -n 5         designs from a finished run
  evogen bench imf zdt --algorithms ace,nsga2,gmoea --seeds 11 --store runs.db
  evogen report runs.db --out report
  evogen train --model ddpm --data digits --out run
  evogen sample run -n 64 --grid grid.png
"""

RUN_HELP = """\
Solve one problem once, print what was reached, and save solutions or a figure.

  evogen run imf1 --algorithm auto --evals 5000 --seed 1 --plot front.png
  evogen run zdt1 --algorithm nsga2 --n-var 100 --out result.csv
  evogen run dtlz2-shifted --algorithm nsga2-ddpm --set share=0.3

Same command, same result: the seed decides everything.
"""

BENCH_HELP = """\
Run problems x algorithms x seeds in parallel and keep every result in a store.

  evogen bench imf zdt --algorithms nsga2,spea2,immoea,gmoea --seeds 11 --store runs.db
  evogen bench imf1 imf1-shifted --algorithms nsga2,gmoea --evals 5000 --report report

A suite's name stands for its problems, `imf-shifted` for their twins. The same command again
continues where the last one ended, however it ended. Tables compare with a baseline by the
Wilcoxon rank-sum test with Holm's correction: + better, - worse, = no significant difference.
"""

DEFAULT_POP_SIZE = 100

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
    _add_run(add("run", _run, "solve one problem once", RUN_HELP))
    add_ask(add("ask", run_ask, "designs from a finished run", ASK_HELP))
    _add_bench(add("bench", _bench, "problems x algorithms x seeds into a store", BENCH_HELP))
    _add_report(add("report", _report, "tables and figures from a store"))
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


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("problem", help="a problem's name (`evogen list problems`)")
    parser.add_argument(
        "-a", "--algorithm", required=True, help="an algorithm's name (`evogen list algorithms`)"
    )
    _add_budget(parser)
    parser.add_argument("--seed", type=int, default=1, help="decides the run (default: 1)")
    parser.add_argument(
        "--twin-seed", type=int, default=1, help="offsets of a shifted twin (default: 1)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the algorithm, e.g. share=0.3; may be repeated",
    )
    parser.add_argument("--plot", metavar="FILE", help="draw the front (.png, .svg or .pdf)")
    parser.add_argument("--out", metavar="FILE", help="save X and F (.csv or .npz)")
    parser.add_argument(
        "--save", metavar="STORE", help="keep the run with all evaluated points, for `evogen ask`"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar")


def _add_bench(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("problems", nargs="+", help="problems or suites (`evogen list suites`)")
    parser.add_argument(
        "-a",
        "--algorithms",
        default="nsga2,spea2,immoea,gmoea",
        help="names, separated by commas (default: %(default)s)",
    )
    _add_budget(parser)
    parser.add_argument(
        "--seeds", type=_seeds, default=11, help="11 for seeds 1 to 11, or 3,5,8 (default: 11)"
    )
    parser.add_argument(
        "--store", default="runs.db", help="file with the results (default: %(default)s)"
    )
    _add_jobs(parser)
    parser.add_argument(
        "--retry-failed", action="store_true", help="run cells again that have failed before"
    )
    _add_baseline(parser)
    parser.add_argument("--report", metavar="DIR", help="write tables and figures there as well")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar")


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("store", help="file that `evogen bench` has written")
    parser.add_argument(
        "--out", default="report", metavar="DIR", help="folder (default: %(default)s)"
    )
    parser.add_argument(
        "--formats",
        type=_formats,
        default=["png"],
        metavar="ENDINGS",
        help="of the figures: png, svg and pdf, separated by commas (default: png)",
    )
    _add_baseline(parser)


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", default="results", metavar="DIR", help="folder (default: %(default)s)"
    )
    parser.add_argument("--seeds", type=_count, help="number of seeds (default: 7; 2 with --quick)")
    _add_jobs(parser)
    parser.add_argument("--quick", action="store_true", help="fewer seeds and evaluations")


def _add_budget(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--evals", type=_count, default=5000, help="evaluations (default: 5000)")
    parser.add_argument("--pop-size", type=_count, help="population (default: 100; auto chooses)")
    parser.add_argument("--n-var", type=_count, help="number of variables (default: the problem's)")
    parser.add_argument(
        "--n-obj", type=_count, help="number of objectives (default: the problem's)"
    )


def _add_jobs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, help="parallel processes (default: all cores)")


def _add_baseline(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--baseline", help="algorithm to compare with (default: nsga2, else the first)"
    )


def _count(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return number


def _formats(text: str) -> list[str]:
    endings = [part.strip() for part in text.split(",")]
    if not set(endings) <= {"png", "svg", "pdf"}:
        raise argparse.ArgumentTypeError(f"{text!r} is not some of png,svg,pdf")
    return endings


def _seeds(text: str) -> int | list[int]:
    try:
        return [int(part) for part in text.split(",")] if "," in text else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither 11 nor 3,5,8") from None


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
    if args.what is None:
        print("\nAny box-bounded problem has a twin: imf1-shifted; a suite's twins: imf-shifted.\n")
    if args.what in (None, "algorithms"):
        algorithms = importlib.import_module("evogen.algorithms").list_algorithms()
        width = max(map(len, algorithms))
        for name, about in algorithms.items():
            print(f"{name:{width}}  {about}")
    return 0


def _span(names: Sequence[str]) -> str:
    return " ".join(names) if len(names) <= 4 else f"{names[0]} {names[1]} ... {names[-1]}"


def _run(args: argparse.Namespace) -> int:
    from evogen.experiment import (
        Cell,
        Recorder,
        Reference,
        Spec,
        Store,
        floor,
        minimize,
        nondominated,
    )
    from evogen.experiment.campaign import TWIN_SUFFIX
    from evogen.experiment.export import check_export_path, save_solutions
    from evogen.experiment.lookup import get_algorithm, get_problem
    from evogen.experiment.saved import save_run
    from evogen.experiment.targets import check_writable
    from evogen.visualization import check_figure_path, plot_front, save_figure

    if args.plot:
        check_writable(check_figure_path(args.plot))
    if args.out:
        check_export_path(args.out)
    twin = {"seed": args.twin_seed} if args.problem.lower().endswith(TWIN_SUFFIX) else {}
    settings = {**twin, **_problem_settings(args)}
    problem = get_problem(args.problem, **settings)
    tuning = _algorithm_settings(args.set)
    algorithm = get_algorithm(args.algorithm, problem, pop_size=args.pop_size, **tuning)
    if args.out:
        check_export_path(args.out, problem)
    recorder = None
    if args.save:
        Store(args.save).close()  # what is no store is refused before the run
        recorder = Recorder(Reference.of(problem))
    res = minimize(
        problem,
        algorithm,
        ("n_eval", args.evals),
        seed=args.seed,
        progress=not args.quiet,
        callback=recorder,
        keep_evaluations=bool(args.save),
        copy_algorithm=False,
    )
    reference = Reference.of(problem)
    front = nondominated(res.pop.get("F"), res.pop.get("CV"))
    print(f"{args.problem}, {args.algorithm}, seed {args.seed}: {res.message}")
    if problem.n_obj == 1 and res.X is not None:
        print(f"best         {float(res.F[0]):.6g}")
    else:
        print(f"front        {len(front)} points")
        bound = floor(problem, args.pop_size or DEFAULT_POP_SIZE)
        near = f"   (floor {bound:.4g})" if bound is not None else ""
        measured = {k: v for k, v in reference.measure(front).items() if v is not None}
        for (name, value), title in zip(measured.items(), _titles(measured), strict=True):
            print(f"{title:12} {value:.4g}{near if name == 'igd' else ''}")
    print(f"wall seconds {res.exec_time:.2f}")
    if args.out:
        save_solutions(res, args.out)
        if res.X is None:
            print(f"{args.out} holds the final population and its constraint violation CV instead")
    if recorder is not None:
        what = Spec(args.problem.lower(), args.problem.lower(), settings)
        how = Spec(args.algorithm.lower(), args.algorithm.lower(), tuning)
        cell = Cell(what, how, args.seed, args.pop_size or DEFAULT_POP_SIZE, args.evals)
        save_run(res, cell, recorder, args.save)
        print(f"{args.save} holds the run; ask it: evogen ask {args.save} --near F1,F2")
    if args.plot:
        title = f"{args.problem}, {args.algorithm}, {res.n_eval} evaluations, seed {args.seed}"
        save_figure(plot_front(front, reference.front, title=title), args.plot)
    return 0 if not res.message.startswith("interrupted") else 130


def _titles(names: Any) -> list[str]:
    from evogen.experiment.tables import TITLES

    return [TITLES[name] for name in names]


def _bench(args: argparse.Namespace) -> int:
    from evogen.experiment import Campaign

    campaign = Campaign(
        args.problems,
        [name.strip() for name in args.algorithms.split(",") if name.strip()],
        seeds=args.seeds,
        n_eval=args.evals,
        pop_size=args.pop_size or DEFAULT_POP_SIZE,
        store=args.store,
        problem_settings=_problem_settings(args),
    )
    labels = [spec.label for spec in campaign.algorithms]
    if args.baseline is not None and args.baseline not in labels:
        raise ValueError(f"--baseline {args.baseline} is not among {', '.join(labels)}")
    return _campaign(campaign, args, args.report, args.baseline)


def _demo(args: argparse.Namespace) -> int:
    from evogen.experiment.demo import demo_campaign

    args.quiet, args.retry_failed = False, True
    campaign = demo_campaign(args.out, seeds=args.seeds, quick=args.quick)
    return _campaign(campaign, args, args.out, "nsga2")


def _campaign(
    campaign: Campaign, args: argparse.Namespace, report: str | None, baseline: str | None
) -> int:
    from evogen.experiment import Store
    from evogen.experiment.targets import prepare_folder

    if report is not None:
        prepare_folder(report)
    jobs = _n_cores() if args.jobs is None else args.jobs
    summary = campaign.run(jobs=jobs, progress=not args.quiet, retry_failed=args.retry_failed)
    # A store may hold more: what earlier campaigns have left there is shown by `evogen report`.
    shown = {"baseline": baseline, "keys": {cell.key for cell in campaign.cells}}
    with Store(campaign.store) as store:
        _print_tables(store, **shown)
        if report is not None:
            _write_report(store, report, **shown)
    print(f"{summary}; {summary.seconds:.0f} s; kept in {campaign.store}")
    return 1 if summary.failed else 0


def _report(args: argparse.Namespace) -> int:
    from evogen.experiment import Store
    from evogen.experiment.targets import prepare_folder

    with Store(args.store, must_exist=True) as store:
        prepare_folder(args.out)
        _print_tables(store, baseline=args.baseline)
        _write_report(store, args.out, baseline=args.baseline, formats=args.formats)
    return 0


def _print_tables(store: Store, **shown: Any) -> None:
    from rich.console import Console

    from evogen.experiment import all_tables, summarize, to_rich

    # Piped into a file there is no width to fit, and folded numbers are hard to read.
    console = Console(width=None if sys.stdout.isatty() else 160)
    for table in all_tables(summarize(store, **shown)):
        console.print(to_rich(table))
        console.print()


def _write_report(store: Store, out_dir: str, **shown: Any) -> None:
    from evogen.experiment import write_report

    written = write_report(store, out_dir, **shown)
    print(f"wrote {written[0]}, {written[1]} and {len(written) - 2} figures to {out_dir}")


def _problem_settings(args: argparse.Namespace) -> dict[str, int]:
    given = {"n_var": args.n_var, "n_obj": args.n_obj}
    return {name: value for name, value in given.items() if value is not None}


def _algorithm_settings(pairs: Sequence[str]) -> dict[str, Any]:
    settings = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise ValueError(f"--set {pair}: give NAME=VALUE, e.g. share=0.3")
        try:
            settings[name.replace("-", "_")] = json.loads(text)
        except ValueError:
            settings[name.replace("-", "_")] = text
    return settings


def _n_cores() -> int:
    # The cores this process may use; a container often has fewer than the machine.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


if __name__ == "__main__":
    sys.exit(main())
