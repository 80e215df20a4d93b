"""The command `evogen animate`: a run's population as a film."""

from __future__ import annotations

import argparse

from evogen.cli_options import count, positive

ANIMATE_HELP = """\
Show how the population of a run has moved: a film in objective space.

  evogen run zdt3 --algorithm nsga2 --save run.db --save-history light
  evogen animate run.db --out run.gif

Two and three objectives are drawn as points, more as parallel coordinates; the true front is behind
them where it is known. An .mp4 needs the program ffmpeg, or the extra film.
"""


def add_animate(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("store", help="file of `evogen run --save --save-history light`")
    parser.add_argument(
        "--out", default="run.gif", metavar="FILE", help=".gif or .mp4 (default: %(default)s)"
    )
    parser.add_argument(
        "--fps", type=positive, default=12.0, help="frames per second (default: 12)"
    )
    parser.add_argument(
        "--frames", type=count, default=120, help="at most so many (default: %(default)s)"
    )
    for name in ("problem", "algorithm"):
        parser.add_argument(f"--{name}", help="of the run, where the store holds several")
    parser.add_argument("--run-seed", type=int, help="seed of the run")


def run_animate(args: argparse.Namespace) -> int:
    """The command; its exit code."""
    from evogen.experiment import Reference
    from evogen.experiment.saved import load_run
    from evogen.visualization.animation import check_animation_path, save_animation

    check_animation_path(args.out)
    run = load_run(args.store, problem=args.problem, algorithm=args.algorithm, seed=args.run_seed)
    history = run.history
    if history is None or len(history) == 0:
        raise ValueError(
            f"{args.store} holds no populations of {run.label}; keep them with `evogen run ... "
            "--save STORE --save-history light`"
        )
    n_generations = len(history)
    captions = [
        f"generation {g + 1}, {n} evaluations" for g, n in enumerate(history.n_eval.tolist())
    ]
    save_animation(
        [history.population(g).F for g in range(n_generations)],
        args.out,
        fronts=[history.front(g).F for g in range(n_generations)],
        true_front=Reference.of(run.problem).front,
        captions=captions,
        title=run.label,
        fps=args.fps,
        max_frames=args.frames,
    )
    print(f"{args.out} shows {min(args.frames, n_generations)} of {n_generations} generations")
    return 0
