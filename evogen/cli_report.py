"""`evogen report` and `evogen compare`: what stores hold, as tables and pages."""

from __future__ import annotations

import argparse

from evogen.cli_bench import add_baseline, print_report, print_tables

REPORT_HELP = """\
Tables (Markdown, CSV, LaTeX), figures and one interactive page that works offline.

  evogen report runs.db --out report        then open report/index.html

The page needs the extra: pip install 'evogen[report]'.
"""

COMPARE_HELP = """\
Compare two stores run by run: before and after a change, or ours and somebody's results.

  evogen compare before.db after.db --out comparison

What both hold (problem, algorithm, settings) is compared by median, rank-sum test with Holm's
correction and, where seeds agree, seed by seed; identical results are counted.
"""


def add_report(parser: argparse.ArgumentParser) -> None:
    """Arguments of `evogen report`."""
    parser.add_argument("store", help="file that `evogen bench` has written")
    parser.add_argument(
        "--out", default="report", metavar="DIR", help="folder (default: %(default)s)"
    )
    parser.add_argument(
        "--formats",
        type=_formats,
        metavar="ENDINGS",
        help="of the figures: png, svg and pdf, separated by commas (default: png; no figure files "
        "where there would be hundreds)",
    )
    parser.add_argument(
        "--html",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="write the interactive page (default: where the extra is installed)",
    )
    add_baseline(parser)


def run_report(args: argparse.Namespace) -> int:
    """`evogen report`."""
    from evogen.experiment import Store
    from evogen.experiment.targets import prepare_folder

    with Store(args.store, must_exist=True) as store:
        prepare_folder(args.out)
        print_tables(store, baseline=args.baseline)
        print_report(store, args.out, baseline=args.baseline, formats=args.formats, html=args.html)
    return 0


def add_compare(parser: argparse.ArgumentParser) -> None:
    """Arguments of `evogen compare`."""
    parser.add_argument("first", help="a store")
    parser.add_argument("second", help="another one")
    parser.add_argument("--out", metavar="DIR", help="write tables and a page there as well")


def run_compare(args: argparse.Namespace) -> int:
    """`evogen compare`."""
    from evogen.experiment import Store, compare_stores, comparison_text, write_comparison

    with Store(args.first, must_exist=True) as a, Store(args.second, must_exist=True) as b:
        print(comparison_text(compare_stores(a, b)))
        if args.out is not None:
            written = write_comparison(a, b, args.out)
            print(f"wrote {len(written)} files to {args.out}, {written[0].name} first")
    return 0


def _formats(text: str) -> list[str]:
    endings = [part.strip() for part in text.split(",")]
    if not set(endings) <= {"png", "svg", "pdf"}:
        raise argparse.ArgumentTypeError(f"{text!r} is not some of png,svg,pdf")
    return endings
