"""The command `evogen run`: one problem, one algorithm, once."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from evogen.cli_options import (
    DEFAULT_POP_SIZE,
    add_budget,
    algorithm_settings,
    positive,
    problem_settings,
)

RUN_HELP = """\
Solve one problem once, print what was reached, and save solutions or a figure.

  evogen run imf1 --algorithm auto --evals 5000 --seed 1 --plot front.png
  evogen run zdt1 --algorithm nsga2 --n-var 100 --out result.csv
  evogen run dtlz2-shifted --algorithm nsga2-ddpm --set share=0.3
  evogen run dtlz2 -a nsga3 --target igd=0.06 --evals 50000   ends when this is reached
  evogen run imf4 -a auto --checkpoint run.ckpt       killed, the same command continues
  evogen run zdt3 -a nsga2 --save run.db --save-history light && evogen animate run.db

Same command, same result: the seed decides everything.
"""

DEFAULT_EVALS = 5000


def add_run(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("problem", help="a problem's name (`evogen list problems`)")
    parser.add_argument(
        "-a", "--algorithm", required=True, help="an algorithm's name (`evogen list algorithms`)"
    )
    add_budget(parser, evals=None)
    parser.add_argument(
        "--exact", action="store_true", help="never a single evaluation more than --evals"
    )
    parser.add_argument(
        "--seconds", type=positive, help="end after so many seconds; no --evals, no such limit"
    )
    parser.add_argument(
        "--target",
        action="append",
        default=[],
        type=_target,
        metavar="NAME=VALUE",
        help="end when reached: igd, igd_plus, hv, or f of one objective; may be repeated",
    )
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
    parser.add_argument(
        "--save-history",
        choices=("light",),
        help="with --save: also the population after each generation, for `evogen animate`",
    )
    parser.add_argument(
        "--checkpoint", metavar="FILE", help="keep the run's state, so that it can be continued"
    )
    parser.add_argument(
        "--checkpoint-every",
        type=positive,
        default=30.0,
        metavar="SECONDS",
        help="between two checkpoints (default: 30)",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar")


def _target(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name.strip().replace("-", "_"), float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not like igd=0.01") from None


def run_run(args: argparse.Namespace) -> int:
    """The command; its exit code."""
    from evogen.experiment import Cell, Recorder, Reference, Spec, Store, minimize
    from evogen.experiment.campaign import twin_settings
    from evogen.experiment.export import check_export_path, save_solutions
    from evogen.experiment.lookup import count_tasks, get_algorithm, get_problem
    from evogen.experiment.saved import save_run
    from evogen.experiment.targets import check_writable
    from evogen.visualization import check_figure_path

    if args.plot:
        check_writable(check_figure_path(args.plot))
    if args.out:
        check_export_path(args.out)
    if args.save_history and not args.save:
        raise ValueError("--save-history light goes with --save STORE, where it is kept")
    settings = {**twin_settings(args.problem, args.twin_seed), **problem_settings(args)}
    if (n_tasks := count_tasks(args.problem)) > 1:
        raise ValueError(
            f"{args.problem} has {n_tasks} tasks, and this command solves one; "
            f"`evogen bench {args.problem} --algorithms pact --seeds 1` solves them together"
        )
    problem = get_problem(args.problem, **settings)
    tuning = algorithm_settings(args.set)
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
        _termination(args),
        seed=args.seed,
        progress=not args.quiet,
        callback=recorder,
        keep_evaluations=bool(args.save),
        save_history=args.save_history,
        exact_budget=args.exact,
        checkpoint=args.checkpoint,
        checkpoint_every=("seconds", args.checkpoint_every),
        copy_algorithm=False,
    )
    _print_result(args, problem, res)
    if args.out:
        save_solutions(res, args.out)
        if res.X is None:
            print(f"{args.out} holds the final population and its constraint violation CV instead")
    if recorder is not None:
        what = Spec(args.problem.lower(), args.problem.lower(), settings)
        how = Spec(args.algorithm.lower(), args.algorithm.lower(), tuning)
        n_eval = args.evals or (res.n_eval if args.seconds else DEFAULT_EVALS)
        cell = Cell(what, how, args.seed, args.pop_size or DEFAULT_POP_SIZE, n_eval)
        save_run(res, cell, recorder, args.save)
        print(f"{args.save} holds the run; ask it: evogen ask {args.save} --near F1,F2")
    if args.plot:
        _plot(args, problem, res)
    return 0 if not res.message.startswith("interrupted") else 130


def _termination(args: argparse.Namespace) -> tuple[str, Any]:
    """What ends the run: evaluations, seconds or targets, whichever comes first."""
    n_eval = args.evals or (None if args.seconds else DEFAULT_EVALS)
    limits = {"n_eval": n_eval, "seconds": args.seconds}
    given: dict[str, float] = {name: value for name, value in limits.items() if value is not None}
    if not args.target and len(given) == 1:
        return next(iter(given.items()))
    return ("target", {**dict(args.target), **given}) if args.target else ("limits", given)


def _print_result(args: argparse.Namespace, problem: Any, res: Any) -> None:
    from evogen.experiment import Reference, floor, nondominated
    from evogen.experiment.tables import TITLES

    reference = Reference.of(problem)
    front = nondominated(res.pop.get("F"), res.pop.get("CV"))
    if res.n_eval_resumed:
        print(f"continued {args.checkpoint} at {res.n_eval_resumed} evaluations", file=sys.stderr)
    print(f"{args.problem}, {args.algorithm}, seed {args.seed}: {res.message}")
    if problem.n_obj == 1 and res.X is not None:
        print(f"best         {float(res.F[0]):.6g}")
    else:
        print(f"front        {len(front)} points")
        bound = floor(problem, args.pop_size or DEFAULT_POP_SIZE)
        near = f"   (floor {bound:.4g})" if bound is not None else ""
        measured = {k: v for k, v in reference.measure(front).items() if v is not None}
        for name, value in measured.items():
            print(f"{TITLES[name]:12} {value:.4g}{near if name == 'igd' else ''}")
    print(f"wall seconds {res.exec_time:.2f}")


def _plot(args: argparse.Namespace, problem: Any, res: Any) -> None:
    from evogen.experiment import Reference, nondominated
    from evogen.visualization import plot_front, save_figure

    front = nondominated(res.pop.get("F"), res.pop.get("CV"))
    title = f"{args.problem}, {args.algorithm}, {res.n_eval} evaluations, seed {args.seed}"
    save_figure(plot_front(front, Reference.of(problem).front, title=title), args.plot)
