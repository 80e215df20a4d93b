"""The report of a campaign as one web page: tables, interactive figures, and how they were made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from evogen._version import __version__
from evogen.experiment.evidence import Gathered
from evogen.experiment.indicators import HV_POINT, MAX_EXACT_HV_OBJECTIVES
from evogen.experiment.page_data import page_data
from evogen.experiment.posthoc import Ranking
from evogen.experiment.report_tables import ERT_FACTORS, findings, indicators_of
from evogen.experiment.statistics import ALPHA
from evogen.experiment.summary import Results
from evogen.experiment.tables import TITLES, Table, number
from evogen.experiment.web_page import asset, page, to_html

#: Longer tables are folded, all but the first.
MAX_OPEN_ROWS = 40


def html_report(
    name: str,
    results: Results,
    gathered: Gathered,
    tables: Mapping[str, Table],
    rankings: Mapping[str, Ranking],
) -> str:
    """The page.

    Args:
        name: Of the store.
        results, gathered: The store.
        tables: See `report_tables`.
        rankings: By indicator.

    Raises:
        ImportError: plotly is not installed.
    """
    indicators = indicators_of(results)
    data = page_data(results, gathered, rankings)
    sections = [
        ("tables", "Indicators", _indicator_section(tables, indicators)),
        ("marks", "Better or worse at a glance", _marks_section(results, data["marks"])),
        ("ranks", "Ranks over all problems", _ranks_section(tables, rankings)),
        ("wins", "All pairs", _wins_section(results, tables, indicators)),
        ("profiles", "Performance profiles", _profile_section(data["profiles"])),
        ("runtime", "Evaluations to a target", _runtime_section(tables, data["runtime"])),
        ("problems", "Problem by problem", _problem_section(results, data["problems"])),
        ("cost", "Time and memory", _cost_section(tables)),
        ("failed", "Failed runs", _failed_section(results, tables)),
        ("made", "How the numbers were made", _made_section(results)),
        ("versions", "Versions and machines", _versions_section(results)),
    ]
    sections = [section for section in sections if section[2]]
    body = _head(name, results, rankings) + "".join(
        f'<section id="{anchor}"><h2>{escape(title)}</h2>\n{html}</section>\n'
        for anchor, title, html in sections
    )
    contents = [(anchor, title) for anchor, title, _ in sections]
    scripts = [plotly_source(), asset("figures.js")]
    return page(f"{name}: report", body, contents, scripts=scripts, data=data)


def plotly_source() -> str:
    """plotly's JavaScript.

    Raises:
        ImportError: plotly is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise ImportError(
            "the web page of a report needs plotly: pip install 'evogen[report]'"
        ) from error
    return str(get_plotlyjs())


def _head(name: str, results: Results, rankings: Mapping[str, Ranking]) -> str:
    n_done = sum(len(cells) for cells in results.done.values())
    n_failed = sum(len(cells) for cells in results.failed.values())
    dates = sorted(c.finished_at[:10] for cells in results.done.values() for c in cells)
    when = ""
    if dates:
        when = f", run {dates[0]}" + (f" to {dates[-1]}" if dates[0] != dates[-1] else "")
    said = "".join(f"<li>{escape(sentence)}</li>" for sentence in findings(results, rankings))
    chips = "".join(
        f'<button type="button" data-algorithm="{i}" aria-pressed="true">'
        f'<span class="swatch"></span>{escape(algorithm)}</button>'
        for i, algorithm in enumerate(results.algorithms)
    )
    return (
        f"<h1>{escape(name)}</h1>\n"
        f'<p class="lead">{len(results.rows)} problems, {len(results.algorithms)} algorithms, '
        f"{n_done} finished runs, {n_failed} failed{when}.</p>\n"
        f'<ul class="findings">{said}</ul>\n'
        f'<div class="bar"><span>In the figures:</span>{chips}<span class="spring"></span>'
        '<button type="button" id="theme" title="light or dark">theme: auto</button></div>\n'
    )


def _figure(kind: str, choice: str = "", problem: int | None = None, caption: str = "") -> str:
    more = "" if problem is None else f' data-problem="{problem}"'
    text = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    chosen = escape(choice)
    return (
        f'<figure data-figure="{kind}" data-choice="{chosen}"{more}>'
        f'<div class="plot"></div>{text}</figure>'
    )


def _choices(names: Sequence[tuple[str, str]], figures: str) -> str:
    """Figures with buttons above them that say what they show."""
    buttons = "".join(
        f'<button type="button" data-choice="{escape(key)}" aria-pressed="{str(not i).lower()}">'
        f"{escape(text)}</button>"
        for i, (key, text) in enumerate(names)
    )
    return f'<div data-choices><div class="choices">{buttons}</div>{figures}</div>'


def _titled(indicators: Sequence[str]) -> list[tuple[str, str]]:
    return [(i, TITLES[i]) for i in indicators]


def _indicator_section(tables: Mapping[str, Table], indicators: Sequence[str]) -> str:
    if not indicators:
        return '<p class="note">No problem has a known front: there is nothing to measure.</p>'
    first = tables[indicators[0]]
    html = f"<h3>{escape(first.title)}</h3>\n{to_html(first)}"
    few = len(first.rows) <= MAX_OPEN_ROWS
    return html + "".join(_more(tables[i], open_now=few) for i in indicators[1:])


def _marks_section(results: Results, marks: Mapping[str, Any]) -> str:
    if not marks:
        return ""
    note = (
        f"Against {results.baseline}: + significantly better, \N{MINUS SIGN} worse, = no "
        "significant difference; the same tests as in the tables above."
    )
    return _choices(_titled(list(marks)), _figure("marks", next(iter(marks)), caption=note))


def _ranks_section(tables: Mapping[str, Table], rankings: Mapping[str, Ranking]) -> str:
    if not rankings:
        return (
            '<p class="note">A ranking needs three algorithms and two problems on which all of '
            "them have values.</p>"
        )
    note = (
        "Critical-difference diagram: mean ranks, 1 is best. Algorithms joined by a bar do not "
        "differ significantly."
    )
    html = _choices(_titled(list(rankings)), _figure("ranks", next(iter(rankings)), caption=note))
    for i, indicator in enumerate(rankings):
        html += _more(tables[f"ranks-{indicator}"], open_now=i == 0)
    return html


def _wins_section(results: Results, tables: Mapping[str, Table], indicators: Sequence[str]) -> str:
    if len(results.algorithms) < 2:
        return ""
    return "".join(
        _more(tables[f"wins-{indicator}"], open_now=i == 0, shade=len(results.rows))
        for i, indicator in enumerate(indicators)
    )


def _more(table: Table, *, open_now: bool = False, shade: int = 0) -> str:
    opened = " open" if open_now else ""
    return (
        f'<details class="more"{opened}><summary>{escape(table.title)}</summary>\n'
        f"{to_html(table, shade=shade)}</details>\n"
    )


def _profile_section(profiles: Mapping[str, Any]) -> str:
    if not profiles:
        return ""
    note = (
        "Dolan and Moré's performance profile: the share of problems on which an algorithm's cost "
        "is at most so many times the least cost of any. The cost is chosen above: the median "
        "indicator at the end, or the expected number of evaluations to a target (infinite where "
        "no run reached it). At 1: how often it is the best; to the right: how robust it is."
    )
    first = next(iter(profiles))
    return _choices([(p, p) for p in profiles], _figure("profile", first, caption=note))


def _runtime_section(tables: Mapping[str, Table], runtime: Mapping[str, Any] | None) -> str:
    if runtime is None:
        return ""
    note = (
        "Share of (run, target) pairs, over all problems, that were solved within so many "
        "evaluations. Targets are multiples of each problem's floor, the IGD that as many "
        "well-spread points of the true front have; where there is no floor, of the best run's IGD."
    )
    names = [(name, name) for name in runtime["shares"]]
    html = _choices(names, _figure("runtime", names[0][0], caption=note))
    found = [tables[f"ert-{f:g}"] for f in ERT_FACTORS if f"ert-{f:g}" in tables]
    return html + "".join(_more(table) for table in found)


def _problem_section(results: Results, problems: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    for i, (row, problem) in enumerate(zip(results.rows.values(), problems, strict=True)):
        indicators = list(problem["curves"])
        figures = ""
        if indicators:
            over = _figure("convergence", indicators[0], i, "Median and quartiles of the runs.")
            finals = _figure("finals", indicators[0], i, "Final values; a point is a run.")
            figures += _choices(_titled(indicators), f'<div class="pair">{over}{finals}</div>')
        shapes = ""
        if any(problem["fronts"]):
            text = "Fronts of the runs with the median IGD."
            if row.n_obj is not None and row.n_obj > 3:
                text += " A line is a solution; each objective is scaled to its range here."
            shapes += _figure("fronts", "", i, text)
        if any(problem["attainment"]):
            text = (
                "Empirical attainment surfaces: attained by half of the runs (thick), by a "
                "quarter and by three quarters (dotted)."
            )
            shapes += _figure("attainment", "", i, text)
        figures += f'<div class="pair">{shapes}</div>' if shapes else ""
        size = f"{row.n_obj} objectives, " if row.n_obj else ""
        told = f"{size}population {row.pop_size}, {row.budget} evaluations"
        if row.floor is not None:
            told += f", floor {number(row.floor)}"
        opened = " open" if i == 0 else ""
        parts.append(
            f'<details class="problem" id="problem-{i}"{opened}><summary>{escape(row.label)}'
            f'<span class="note">{escape(told)}</span></summary>\n'
            f"{figures or '<p>Nothing was recorded.</p>'}</details>\n"
        )
    return "".join(parts)


def _cost_section(tables: Mapping[str, Table]) -> str:
    return to_html(tables["cost"]) + "".join(
        _more(tables[name]) for name in ("cpu", "memory") if name in tables
    )


def _failed_section(results: Results, tables: Mapping[str, Table]) -> str:
    if "failed" not in tables:
        return ""
    traces: dict[str, tuple[str, int]] = {}
    for cells in results.failed.values():
        for cell in cells:
            error = cell.error or ""
            first, count = traces.get(error, (cell.traceback or error, 0))
            traces[error] = first, count + 1
    told = "".join(
        f'<details class="more"><summary>{escape(error)}<span class="note">{count} runs</span>'
        f"</summary><pre>{escape(trace)}</pre></details>"
        for error, (trace, count) in traces.items()
    )
    return to_html(tables["failed"]) + told


def _made_section(results: Results) -> str:
    seeds = sorted({c.seed for cells in results.done.values() for c in cells})
    shown = ", ".join(map(str, seeds[:12])) + (", ..." if len(seeds) > 12 else "")
    sizes = [len(row.front) for row in results.rows.values() if row.front is not None]
    fronts = f"{min(sizes)} to {max(sizes)} points each" if sizes else "none is known here"
    notes = [
        ("Runs", f"One run per problem, algorithm and seed (seeds {shown}). The seed decides all "
         "random numbers of a run. A run ends at its budget of evaluations, or earlier where the "
         "campaign set a time limit or a target. Failed runs are left out of all statistics, and "
         "counted under Time and memory."),
        ("What is measured", "The feasible non-dominated solutions of the population at that "
         "moment, not of all that was ever evaluated."),
        ("Reference sets", f"The true front of each problem, as the problem gives it ({fronts}); "
         "it is kept in the store, so that all runs are measured against the same points."),
        ("IGD", "Mean Euclidean distance from the points of the true front to the nearest "
         "solution, in plain objectives; infinite for a run without feasible solutions."),
        ("IGD+", "The same with the distance by which a solution is worse only (Ishibuchi and "
         "others, 2015): a better set never has a larger value."),
        ("Hypervolume", "Objectives are mapped so that the true front's ideal is 0 and its nadir "
         f"is 1; the reference point is {HV_POINT} in every objective, so at most {HV_POINT} to "
         f"the number of objectives. Exact up to {MAX_EXACT_HV_OBJECTIVES} objectives, "
         "approximated beyond. Without a front, in plain objectives from a reference point that "
         "was given, or not at all. All three by moocore."),
        ("Floor", "The IGD of as many well-spread points of the true front as the population has: "
         "no population of that size can do much better."),
        ("Median and quartiles", "Over the seeds, by linear interpolation; an infinite value "
         "counts as the largest."),
        ("Marks", f"Two-sided Wilcoxon rank-sum test (Mann-Whitney U, scipy) at {ALPHA} against "
         f"{results.baseline or 'no baseline'}; exact for fewer than 50 runs without ties, "
         "else the normal approximation with correction for ties. Holm's correction over the whole "
         f"table: the chance of any false mark in it is at most {100 * ALPHA:g} %."),
        ("All pairs", "The same test for all pairs of algorithms, Holm-corrected over the pairs "
         "on one problem."),
        ("Ranks", "Medians are ranked on each problem (ties share ranks); Friedman's test (scipy) "
         "says whether mean ranks differ at all, Iman and Davenport's F is its sharper form, "
         "Nemenyi's test (scikit-posthocs) which of them do. Follows Demšar (2006). Problems on "
         "which some algorithm has no value are left out."),
        ("Curves over evaluations", "Indicators are recorded at most 100 times in a run; between "
         "records the last one holds."),
        ("Expected running time", "Evaluations of all runs until they first met the target, or "
         "until their end, divided by the number of runs that met it (Hansen and others, 2009)."),
        ("Time", "CPU seconds of the run's own process without measuring indicators; wall seconds "
         "with everything."),
    ]  # fmt: skip
    items = "".join(f"<dt><b>{escape(t)}</b></dt><dd>{escape(text)}</dd>" for t, text in notes)
    return f"<dl>{items}</dl>"


def _versions_section(results: Results) -> str:
    cells = [c for kept in (results.done, results.failed) for found in kept.values() for c in found]
    counts: Counter[str] = Counter()
    for cell in cells:
        machine = dict(cell.machine)
        versions = machine.pop("versions", {})
        told = [f"{name} {version}" for name, version in versions.items()]
        told += [f"{name.replace('_', ' ')}: {value}" for name, value in machine.items()]
        counts[", ".join(told) or "not recorded"] += 1
    items = "".join(f"<li>{n} runs: {escape(text)}</li>" for text, n in counts.most_common())
    return f"<ul>{items}</ul><p>This page was written by evogen {escape(__version__)}.</p>"
