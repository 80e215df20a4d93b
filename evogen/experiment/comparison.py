"""Two campaigns side by side: before and after a change, or ours and somebody's results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import numpy as np

from evogen.experiment.evidence import arrays_of
from evogen.experiment.latex import write_latex
from evogen.experiment.report_tables import write_table_csv
from evogen.experiment.statistics import ALPHA, holm, quartiles, rank_sums, signed_rank
from evogen.experiment.store import Store, StoredCell
from evogen.experiment.summary import INDICATORS, Results, summarize
from evogen.experiment.tables import TITLES, Entry, Table, number, to_markdown
from evogen.experiment.targets import prepare_folder
from evogen.experiment.web_page import page, to_html


@dataclass(frozen=True)
class PairedRuns:
    """One problem and algorithm in both stores.

    Attributes:
        problem, algorithm: Labels.
        n_first, n_second: Finished runs.
        n_paired: Seeds in both.
        n_identical: Of these, runs whose stored numbers and arrays are the same bit for bit; None
            where a store holds no arrays to tell.
        medians: Of the first and of the second, by indicator.
        ratio: Second median over the first; NaN where that is undefined.
        p: Rank-sum, two-sided.
        p_adjusted: After Holm's correction over all pairs of one indicator.
        p_paired: Signed-rank over the seeds in both; NaN with fewer than two.
        effect: Probability that a run of the second is better than one of the first, ties half.
        mark: `"+"` the second is significantly better, `"-"` worse, `"="` neither.
        note: What else differs (population, budget), or empty.
    """

    problem: str
    algorithm: str
    n_first: int
    n_second: int
    n_paired: int
    n_identical: int | None
    medians: Mapping[str, tuple[float, float]]
    ratio: Mapping[str, float]
    p: Mapping[str, float]
    p_adjusted: Mapping[str, float]
    p_paired: Mapping[str, float]
    effect: Mapping[str, float]
    mark: Mapping[str, str]
    note: str = ""


@dataclass
class StoreComparison:
    """What `compare_stores` found.

    Attributes:
        names: Of the first and the second store.
        runs: One entry per problem and algorithm in both, in the order of the first.
        only_first, only_second: (problem, algorithm) with finished runs in one store alone.
    """

    names: tuple[str, str]
    runs: list[PairedRuns]
    only_first: list[tuple[str, str]] = field(default_factory=list)
    only_second: list[tuple[str, str]] = field(default_factory=list)

    @property
    def identical(self) -> bool:
        """Whether both hold the same runs with the same results, bit for bit."""
        return not (self.only_first or self.only_second) and all(
            run.n_identical == run.n_paired == run.n_first == run.n_second for run in self.runs
        )


def compare_stores(first: Store, second: Store, *, alpha: float = ALPHA) -> StoreComparison:
    """Compare two campaigns wherever both have finished runs of the same labels.

    Args:
        first: E.g. before a change, or somebody's results.
        second: E.g. after it, or ours.
        alpha: Two-sided level for all pairs of one indicator together.

    Raises:
        ValueError: A store is empty, or they have no problem and algorithm in common.
        StoreError: A store is damaged.
    """
    before, after = summarize(first), summarize(second)
    common = [
        (problem, algorithm)
        for problem in before.rows
        for algorithm in before.algorithms
        if before.done.get((problem, algorithm)) and after.done.get((problem, algorithm))
    ]
    if not common:
        raise ValueError(
            f"{first.path} and {second.path} have no finished runs of the same problem and "
            f"algorithm; the first has {_told(before)}, the second {_told(after)}"
        )
    tests = {i: _tests(before, after, common, i, alpha) for i in INDICATORS}
    runs = []
    for pair in common:
        cells = before.done[pair], after.done[pair]
        found = {i: tests[i][pair] for i in INDICATORS if pair in tests[i]}
        n_paired, n_identical = _count_identical(first, second, *cells)
        runs.append(
            PairedRuns(
                problem=pair[0],
                algorithm=pair[1],
                n_first=len(cells[0]),
                n_second=len(cells[1]),
                n_paired=n_paired,
                n_identical=n_identical,
                medians={i: test.medians for i, test in found.items()},
                ratio={i: test.ratio for i, test in found.items()},
                p={i: test.p for i, test in found.items()},
                p_adjusted={i: test.p_adjusted for i, test in found.items()},
                p_paired={i: test.p_paired for i, test in found.items()},
                effect={i: test.effect for i, test in found.items()},
                mark={i: test.mark for i, test in found.items()},
                note=_note(before, after, pair[0]),
            )
        )
    return StoreComparison(
        names=(str(first.path), str(second.path)),
        runs=runs,
        only_first=_only(before, after),
        only_second=_only(after, before),
    )


def comparison_tables(comparison: StoreComparison) -> list[Table]:
    """One table per indicator that both have values of, and one about identity."""
    tables = []
    for indicator in INDICATORS:
        runs = [run for run in comparison.runs if indicator in run.medians]
        if runs:
            tables.append(_indicator_table(runs, indicator))
    rows = [
        [
            Entry(run.problem),
            Entry(run.algorithm),
            Entry(str(run.n_first), value=run.n_first),
            Entry(str(run.n_second), value=run.n_second),
            Entry(str(run.n_paired), value=run.n_paired),
            Entry("unknown" if run.n_identical is None else str(run.n_identical)),
            Entry(run.note),
        ]
        for run in comparison.runs
    ]
    header = ["problem", "algorithm", "runs 1", "runs 2", "same seed", "identical", "note"]
    caption = (
        "identical: runs with the same seed whose final population, curves over evaluations and "
        "indicators are the same bit for bit."
    )
    return [*tables, Table("Runs in both", header, rows, caption)]


def comparison_text(comparison: StoreComparison) -> str:
    """The comparison as Markdown, to be read on a terminal as well."""
    tables = "\n".join(to_markdown(table) for table in comparison_tables(comparison))
    return f"{_verdict(comparison)}\n\n{tables}{_alone(comparison)}"


def write_comparison(
    first: Store, second: Store, out_dir: str | Path, *, alpha: float = ALPHA
) -> list[Path]:
    """Write `comparison.md`, `comparison.html`, `comparison.tex` and a CSV file per table.

    Args:
        first, second, alpha: See `compare_stores`.
        out_dir: Folder, made when it is not there.

    Returns:
        What was written, `comparison.md` first.

    Raises:
        ValueError, StoreError: See `compare_stores`.
        OSError: The folder cannot be written.
    """
    comparison = compare_stores(first, second, alpha=alpha)
    out_dir = prepare_folder(out_dir)
    tables = comparison_tables(comparison)
    names = [f"comparison-{key}" for key in _keys(tables)]
    files = [out_dir / f"comparison.{ending}" for ending in ("md", "html", "tex")]
    files[0].write_text(comparison_text(comparison), encoding="utf-8")
    files[1].write_text(_html(comparison, tables, names), encoding="utf-8")
    write_latex(list(zip(names, tables, strict=True)), files[2])
    for name, table in zip(names, tables, strict=True):
        files.append(write_table_csv(table, out_dir / f"{name}.csv"))
    return files


def _only(results: Results, other: Results) -> list[tuple[str, str]]:
    """Pairs with finished runs here and none there, in the order of the campaign."""
    pairs = [(row, algorithm) for row in results.rows for algorithm in results.algorithms]
    return [pair for pair in pairs if results.done.get(pair) and not other.done.get(pair)]


@dataclass(frozen=True)
class _Test:
    medians: tuple[float, float]
    ratio: float
    p: float
    p_adjusted: float
    p_paired: float
    effect: float
    mark: str


def _tests(
    before: Results,
    after: Results,
    common: Sequence[tuple[str, str]],
    indicator: str,
    alpha: float,
) -> dict[tuple[str, str], _Test]:
    samples = {
        pair: (before.values(*pair, indicator), after.values(*pair, indicator)) for pair in common
    }
    samples = {pair: both for pair, both in samples.items() if len(both[0]) and len(both[1])}
    outcomes = rank_sums(
        [(theirs, ours) for ours, theirs in samples.values()], maximize=INDICATORS[indicator]
    )
    adjusted = holm([p for p, _ in outcomes])
    found = {}
    for (pair, both), (p, effect), p_adjusted in zip(
        samples.items(), outcomes, adjusted, strict=True
    ):
        medians = quartiles(both[0])[1], quartiles(both[1])[1]
        with np.errstate(all="ignore"):
            # Equal ones have the ratio 1, also where both are 0 or infinite.
            ratio = 1.0 if medians[0] == medians[1] else float(np.divide(medians[1], medians[0]))
        mark = "=" if p_adjusted >= alpha or effect == 0.5 else "+" if effect > 0.5 else "-"
        paired = _paired(before.done[pair], after.done[pair], indicator)
        p_paired = signed_rank(*paired) if len(paired[0]) > 1 else np.nan
        found[pair] = _Test(medians, ratio, p, p_adjusted, p_paired, effect, mark)
    return found


def _by_seed(cells: Sequence[StoredCell]) -> dict[int, StoredCell]:
    return {cell.seed: cell for cell in cells}


def _paired(
    first: Sequence[StoredCell], second: Sequence[StoredCell], indicator: str
) -> tuple[list[float], list[float]]:
    one, two = _by_seed(first), _by_seed(second)
    pairs = [(getattr(one[s], indicator), getattr(two[s], indicator)) for s in one if s in two]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    return [a for a, _ in known], [b for _, b in known]


def _count_identical(
    first: Store, second: Store, cells: Sequence[StoredCell], others: Sequence[StoredCell]
) -> tuple[int, int | None]:
    one, two = _by_seed(cells), _by_seed(others)
    seeds = [seed for seed in one if seed in two]
    same = [_same(first, one[seed], second, two[seed]) for seed in seeds]
    return len(seeds), None if None in same else sum(map(bool, same))


def _same(first: Store, one: StoredCell, second: Store, two: StoredCell) -> bool | None:
    """Whether two runs gave the same; None where their arrays are not kept."""
    for name in ("n_eval", "igd", "igd_plus", "hv"):
        a, b = getattr(one, name), getattr(two, name)
        if a is not None and b is not None and a != b:
            return False
    for name in ("result", "curves"):
        a, b = arrays_of(first, one, name), arrays_of(second, two, name)
        if a is None or b is None:
            return None
        # Seconds differ from run to run by nature.
        keys = set(a) - {"seconds"}
        if keys != set(b) - {"seconds"} or not all(_equal(a[k], b[k]) for k in keys):
            return False
    return True


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def _note(before: Results, after: Results, problem: str) -> str:
    one, two = before.rows[problem], after.rows[problem]
    notes = []
    if one.pop_size != two.pop_size:
        notes.append(f"population {one.pop_size} and {two.pop_size}")
    if one.budget != two.budget:
        notes.append(f"budget {one.budget} and {two.budget}")
    if one.front is not None and two.front is not None and not _equal(one.front, two.front):
        notes.append("measured against different fronts")
    return ", ".join(notes)


def _indicator_table(runs: Sequence[PairedRuns], indicator: str) -> Table:
    rows = []
    for run in runs:
        one, two = run.medians[indicator]
        better = 0 if one == two else 1 if (one < two) != INDICATORS[indicator] else 2
        ratio, p, paired = run.ratio[indicator], run.p_adjusted[indicator], run.p_paired[indicator]
        effect = run.effect[indicator]
        rows.append(
            [
                Entry(run.problem),
                Entry(run.algorithm),
                Entry(number(one), best=better == 1, value=one),
                Entry(number(two), run.mark[indicator], better == 2, two),
                Entry(number(ratio), value=None if np.isnan(ratio) else ratio),
                Entry(number(p), value=p),
                Entry(number(paired), value=None if np.isnan(paired) else paired),
                Entry(f"{100 * effect:.0f} %", value=effect),
            ]
        )
    counts = [[run.mark[indicator] for run in runs].count(mark) for mark in "+=-"]
    rows.append([Entry("+ / = / -"), Entry(""), Entry(""), Entry(" / ".join(map(str, counts)))])
    rows[-1] += [Entry("")] * 4
    header = ["problem", "algorithm", "median 1", "median 2", "ratio", "p (Holm)", "p paired"]
    caption = (
        "+ the second is significantly better, - worse, = no significant difference (Wilcoxon "
        f"rank-sum, two-sided, alpha {ALPHA}, Holm-corrected over this table). ratio: second over "
        "first. p paired: Wilcoxon signed-rank over the seeds in both, not corrected. better: "
        "probability that a run of the second is better than one of the first."
    )
    better_text = "larger" if INDICATORS[indicator] else "smaller"
    title = f"{TITLES[indicator]} ({better_text} is better)"
    return Table(title, [*header, "better"], rows, caption)


def _verdict(comparison: StoreComparison) -> str:
    lines = [f"1: {comparison.names[0]}", f"2: {comparison.names[1]}", ""]
    if comparison.identical:
        return "\n".join([*lines, "All runs are in both, with identical results, bit for bit."])
    known = [run for run in comparison.runs if run.n_identical is not None]
    n_same = sum(run.n_identical or 0 for run in known)
    n_seeds = sum(run.n_paired for run in known)
    if n_seeds:
        lines.append(f"{n_same} of {n_seeds} runs with the same seed are identical, bit for bit.")
    for indicator in INDICATORS:
        marks = [run.mark[indicator] for run in comparison.runs if indicator in run.mark]
        if marks:
            lines.append(
                f"{TITLES[indicator]}: the second is significantly better on {marks.count('+')}, "
                f"worse on {marks.count('-')}, not different on {marks.count('=')} of "
                f"{len(marks)} pairs of problem and algorithm."
            )
    return "\n".join(lines)


def _alone(comparison: StoreComparison) -> str:
    text = ""
    for which, pairs in (("first", comparison.only_first), ("second", comparison.only_second)):
        if pairs:
            told = "; ".join(f"{problem}, {algorithm}" for problem, algorithm in pairs)
            text += f"\nOnly in the {which}: {told}.\n"
    return text


def _html(comparison: StoreComparison, tables: Sequence[Table], names: Sequence[str]) -> str:
    said = "".join(f"<p>{escape(line)}</p>" for line in _verdict(comparison).split("\n") if line)
    body = (
        '<h1>Two campaigns</h1><div class="bar"><span class="spring"></span>'
        '<button type="button" id="theme">theme: auto</button></div>'
        f"{said}\n"
    )
    for name, table in zip(names, tables, strict=True):
        body += f'<section id="{name}"><h2>{escape(table.title)}</h2>{to_html(table)}</section>\n'
    alone = _alone(comparison)
    body += f"<p>{escape(alone)}</p>" if alone else ""
    contents = [(name, table.title) for name, table in zip(names, tables, strict=True)]
    return page("Two campaigns", body, contents)


def _keys(tables: Sequence[Table]) -> list[str]:
    titles = {title: key for key, title in TITLES.items()}
    return [titles.get(table.title.split(" (")[0], "runs") for table in tables]


def _told(results: Results) -> str:
    return f"{', '.join(list(results.rows)[:4])} by {', '.join(results.algorithms[:4])}"
