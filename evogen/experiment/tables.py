"""Tables of a campaign: on the terminal (rich), as Markdown, as CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from pathlib import Path

import numpy as np
from rich.table import Table as RichTable
from rich.text import Text

from evogen.experiment.statistics import ALPHA, quartiles
from evogen.experiment.summary import INDICATORS, Results

TITLES = {"igd": "IGD", "igd_plus": "IGD+", "hv": "Hypervolume"}

_STYLES = {"+": "green", "-": "red", "=": "dim"}


@dataclass(frozen=True)
class Entry:
    """A field of a table.

    Attributes:
        text: What is shown.
        mark: Significance, shown behind the text.
        best: Whether it stands out.
        value: The number that the text stands for, to sort by; None where it stands for none.
    """

    text: str
    mark: str = ""
    best: bool = False
    value: float | None = None


@dataclass(frozen=True)
class Table:
    """A table, ready to be drawn.

    Attributes:
        title: Above it.
        header: One text per column.
        rows: One entry per column.
        caption: Below it: how to read it.
    """

    title: str
    header: list[str]
    rows: list[list[Entry]]
    caption: str = ""


def number(value: float | None) -> str:
    """Three significant digits, or a dash when there is no value.

    >>> number(0.012345), number(123456.0), number(None)
    ('0.0123', '1.23e+05', '-')
    """
    if value is None or np.isnan(value):
        return "-"
    if value != 0 and np.isfinite(value) and not 1e-3 <= abs(value) < 1e4:
        return f"{value:.2e}"
    return f"{value:#.3g}".rstrip(".")


def indicator_table(results: Results, indicator: str, *, spread: bool = False) -> Table:
    """Median of an indicator: one row per problem, one column per algorithm.

    The first column after the problem is the floor (IGD only). Best medians stand out; marks tell
    whether an algorithm is significantly better or worse than the baseline.

    Args:
        results: What `summarize` returned.
        indicator: `"igd"`, `"igd_plus"` or `"hv"`.
        spread: Show the interquartile range in brackets behind each median.
    """
    compared = results.comparisons(indicator)
    with_floor = indicator == "igd"
    rows = []
    for label, row in results.rows.items():
        best = results.best(label, indicator)
        floor = Entry(number(row.floor), value=row.floor)
        entries = [Entry(label)] + ([floor] if with_floor else [])
        for algorithm in results.algorithms:
            mark = compared[label, algorithm].mark if (label, algorithm) in compared else ""
            low, median, high = quartiles(results.values(label, algorithm, indicator))
            text = number(median)
            if spread and np.isfinite(high - low):
                text += f" ({number(high - low)})"
            value = None if np.isnan(median) else median
            entries.append(Entry(text, mark, algorithm in best, value))
        rows.append(entries)
    if compared:
        total = [Entry("+ / = / -")] + ([Entry("")] if with_floor else [])
        for algorithm in results.algorithms:
            marks = [c.mark for (_, a), c in compared.items() if a == algorithm]
            counts = " / ".join(str(marks.count(mark)) for mark in "+=-")
            total.append(Entry(counts if algorithm != results.baseline else ""))
        rows.append(total)
    header = ["problem"] + (["floor"] if with_floor else []) + results.algorithms
    caption = _caption(results, indicator)
    if spread:
        caption = "In brackets: the interquartile range. " + caption
    return Table(_title(results, indicator), header, rows, caption)


def cost_table(results: Results) -> Table:
    """What the runs cost: one row per algorithm, medians over all its finished cells."""
    rows = []
    for algorithm in results.algorithms:
        columns = {
            name: np.concatenate([results.values(row, algorithm, name) for row in results.rows])
            for name in ("n_eval", "cpu_seconds", "wall_seconds", "n_nonfinite")
        }
        n_done = len(columns["n_eval"])
        n_failed = sum(len(results.failed.get((row, algorithm), [])) for row in results.rows)
        medians = {name: quartiles(values)[1] for name, values in columns.items()}
        bad = int(columns["n_nonfinite"].sum())
        rows.append(
            [
                Entry(algorithm),
                Entry(f"{n_done}", value=n_done),
                Entry(f"{n_failed}", value=n_failed),
                Entry(f"{medians['n_eval']:.0f}" if n_done else "-", value=medians["n_eval"]),
                Entry(number(medians["cpu_seconds"]), value=medians["cpu_seconds"]),
                Entry(number(medians["wall_seconds"]), value=medians["wall_seconds"]),
                Entry(f"{bad}", value=bad),
            ]
        )
    header = ["algorithm", "runs", "failed", "evaluations", "CPU s", "wall s", "non-finite"]
    caption = (
        "Medians per run; CPU seconds without measuring indicators; non-finite: evaluations that "
        "returned nan or inf, in all."
    )
    return Table("Cost of a run", header, rows, caption)


def failure_table(results: Results) -> Table | None:
    """The failed cells and why; None when there are none."""
    rows = [
        [Entry(row), Entry(algorithm), Entry(str(cell.seed)), Entry(cell.error or "")]
        for (row, algorithm), cells in results.failed.items()
        for cell in cells
    ]
    if not rows:
        return None
    return Table("Failed cells", ["problem", "algorithm", "seed", "error"], rows)


def all_tables(results: Results) -> list[Table]:
    """The tables of a report: indicators that have values, cost, failures if any."""
    tables = [
        indicator_table(results, indicator)
        for indicator in ("igd", "hv")
        if any(len(results.values(r, a, indicator)) for r, a in results.done)
    ]
    failures = failure_table(results)
    return [*tables, cost_table(results), *([failures] if failures else [])]


def to_rich(table: Table) -> RichTable:
    """The table for the terminal: best values bold, marks coloured."""
    drawn = RichTable(title=table.title, caption=table.caption or None, caption_justify="left")
    for i, name in enumerate(table.header):
        drawn.add_column(name, justify="left" if i == 0 else "right", overflow="fold")
    for row in table.rows:
        texts = []
        for entry in row:
            text = Text(entry.text, style="bold" if entry.best else "")
            if entry.mark:
                text.append(f" {entry.mark}", style=_STYLES[entry.mark])
            texts.append(text)
        drawn.add_row(*texts)
    return drawn


def to_markdown(table: Table) -> str:
    """The table as Markdown: best values bold, marks behind the values."""

    def line(fields: Sequence[str]) -> str:
        return "| " + " | ".join(field.replace("|", "\\|") for field in fields) + " |"

    def text(entry: Entry) -> str:
        value = f"**{entry.text}**" if entry.best else entry.text
        return f"{value} {entry.mark}".rstrip()

    rule = ["---"] + ["---:"] * (len(table.header) - 1)
    lines = [f"### {table.title}", "", line(table.header), line(rule)]
    lines += [line([text(entry) for entry in row]) for row in table.rows]
    return "\n".join([*lines, "", table.caption, ""]) if table.caption else "\n".join([*lines, ""])


def write_csv(results: Results, path: str | Path) -> None:
    """Write one line per problem and algorithm, with all digits: medians, quartiles, tests."""
    compared = {indicator: results.comparisons(indicator) for indicator in INDICATORS}
    header = ["problem", "algorithm", "pop_size", "budget", "runs", "failed", "floor"]
    for name in INDICATORS:
        header += [f"{name}_q1", f"{name}_median", f"{name}_q3"]
        header += [f"{name}_p", f"{name}_p_holm", f"{name}_better_probability", f"{name}_mark"]
    header += ["n_eval_median", "cpu_seconds_median", "wall_seconds_median", "n_nonfinite"]
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for label, row in results.rows.items():
            for algorithm in results.algorithms:
                key = (label, algorithm)
                n_done, n_failed = len(results.done.get(key, [])), len(results.failed.get(key, []))
                fields: list[object] = [label, algorithm, row.pop_size, row.budget]
                fields += [n_done, n_failed, _exact(row.floor)]
                for name in INDICATORS:
                    fields += [_exact(q) for q in quartiles(results.values(*key, name))]
                    c = compared[name].get(key)
                    fields += [c.p, c.p_adjusted, c.effect, c.mark] if c else [""] * 4
                for name in ("n_eval", "cpu_seconds", "wall_seconds"):
                    fields.append(_exact(results.median(*key, name)))
                fields.append(int(results.values(*key, "n_nonfinite").sum()))
                writer.writerow(fields)


def _exact(value: float | None) -> str:
    return "" if value is None or np.isnan(value) else repr(float(value))


def _title(results: Results, indicator: str) -> str:
    better = "larger" if INDICATORS[indicator] else "smaller"
    return f"{TITLES[indicator]}, median of {_n_seeds(results)} runs ({better} is better)"


def _n_seeds(results: Results) -> str:
    counts = sorted({len(cells) for cells in results.done.values()})
    if not counts:
        return "0"
    return f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _caption(results: Results, indicator: str) -> str:
    parts = ["Best median in bold."]
    if indicator == "igd":
        parts.append("floor: IGD of as many well-spread points of the true front.")
    if indicator == "hv":
        parts.append(
            "Objectives normalised by the true front's ideal and nadir, reference point 1.1."
        )
    if results.baseline is not None and len(results.algorithms) > 1:
        parts.append(
            f"+ better, - worse, = no significant difference against {results.baseline} "
            f"(Wilcoxon rank-sum, two-sided, alpha {ALPHA}, Holm-corrected over all algorithms "
            "and problems of this table)."
        )
        if not _marks_possible(results, indicator):
            parts.append("There are too few runs for any difference to be significant.")
    return " ".join(parts)


def _marks_possible(results: Results, indicator: str) -> bool:
    """Whether the smallest p-value that these numbers of runs allow survives the correction."""
    compared = results.comparisons(indicator)
    smallest = 1.0
    for row, algorithm in compared:
        n = len(results.values(row, algorithm, indicator))
        m = len(results.values(row, results.baseline or "", indicator))
        smallest = min(smallest, 2.0 / comb(n + m, n))
    return smallest * len(compared) < ALPHA
