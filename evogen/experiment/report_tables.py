"""The tables of a full report: indicators, ranks, all pairs, running times, costs, failures."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from evogen.experiment.evidence import Gathered
from evogen.experiment.posthoc import Ranking, WinTieLoss
from evogen.experiment.statistics import ALPHA, quartiles
from evogen.experiment.store import Store
from evogen.experiment.summary import INDICATORS, Results
from evogen.experiment.tables import (
    TITLES,
    Entry,
    Table,
    cost_table,
    failure_table,
    indicator_table,
    number,
)

#: Which targets (indices into the multiples of the floor) have a table of running times.
ERT_FACTORS = (1.5, 2.0, 5.0, 10.0)


def ranks_table(ranking: Ranking, indicator: str) -> Table:
    """Mean Friedman ranks, best first, with p-values of Nemenyi's test against the best."""
    order = np.argsort(ranking.mean_ranks, kind="stable")
    best = int(order[0])
    rows = []
    for i in order:
        p = float(ranking.p_nemenyi[best, i])
        rank = float(ranking.mean_ranks[i])
        rows.append(
            [
                Entry(ranking.algorithms[i]),
                Entry(f"{rank:.2f}", best=bool(rank == ranking.mean_ranks[best]), value=rank),
                Entry("-" if i == best else number(p), value=None if i == best else p),
            ]
        )
    caption = (
        f"Ranks of the medians on {ranking.n_problems} problems, 1 is best. "
        f"Friedman chi-squared {ranking.statistic:.2f}, p = {number(ranking.p)}; "
        f"Iman-Davenport F {ranking.f_statistic:.2f}, p = {number(ranking.f_p)}. Mean ranks "
        f"further apart than the critical difference {ranking.critical_difference:.2f} differ "
        f"significantly (Nemenyi, alpha {ranking.alpha})."
    )
    if ranking.left_out:
        caption += f" Left out, some algorithm has no value: {', '.join(ranking.left_out)}."
    header = ["algorithm", "mean rank", "p against the best"]
    return Table(f"Friedman ranks, {TITLES[indicator]}", header, rows, caption)


def wins_table(wins: WinTieLoss, indicator: str) -> Table:
    """Win / tie / loss of the row's algorithm against the column's; the net sum in front."""
    rows = []
    for i, algorithm in enumerate(wins.algorithms):
        net = int(wins.wins[i].sum() - wins.losses[i].sum())
        row = [Entry(algorithm), Entry(f"{net:+d}", value=net)]
        for j in range(len(wins.algorithms)):
            counts = (wins.wins[i, j], wins.ties[i, j], wins.losses[i, j])
            known = i != j and sum(counts) > 0
            text = " / ".join(str(n) for n in counts) if known else ""
            row.append(Entry(text, value=float(counts[0] - counts[2]) if known else None))
        rows.append(row)
    caption = (
        "Problems on which the row's algorithm is significantly better / not different / worse "
        f"than the column's (Wilcoxon rank-sum, two-sided, alpha {ALPHA}, Holm-corrected over all "
        "pairs on a problem). net: wins minus losses."
    )
    header = ["algorithm", "net", *wins.algorithms]
    return Table(f"Wins / ties / losses, {TITLES[indicator]}", header, rows, caption)


def running_time_table(results: Results, gathered: Gathered, factor: float) -> Table | None:
    """ERT to an IGD of `factor` times the floor; None where nothing was recorded.

    Args:
        results, gathered: The store.
        factor: One of `gathered.factors`.
    """
    target = gathered.factors.index(factor)
    table = gathered.running_times(results, target)
    if np.isnan(table).all():
        return None
    rows = []
    for i, label in enumerate(results.rows):
        finite = table[i][np.isfinite(table[i])]
        values, base = gathered.targets[label]
        row = [Entry(label)]
        row.append(
            Entry(number(values[target]), value=float(values[target])) if len(values) else Entry("")
        )
        for j, algorithm in enumerate(results.algorithms):
            ert = float(table[i, j])
            found = gathered.evidence.get((label, algorithm))
            text = "-"
            if found is not None and not np.isnan(ert):
                hit = int(np.isfinite(found.times[:, target]).sum())
                text = f"{_whole(ert)} ({hit}/{len(found.spent)})"
            best = bool(len(finite)) and ert == finite.min()
            row.append(Entry(text, best=best, value=None if np.isnan(ert) else ert))
        if base == "best run":
            row[0] = Entry(f"{label} *")
        rows.append(row)
    starred = any(base == "best run" for _, base in gathered.targets.values())
    caption = (
        "Expected running time: evaluations of all runs until the target or their end, per run "
        "that reached it; in brackets the runs that did. Least in bold. Evaluations are counted to "
        "the record at which the target was first met."
    )
    if starred:
        caption += " *: no floor is known; multiples of the best run's final IGD."
    header = ["problem", "target", *results.algorithms]
    title = f"Evaluations to {factor:g} x floor (IGD)"
    return Table(title, header, rows, caption)


def seconds_table(results: Results) -> Table:
    """Median CPU seconds of a run: one row per problem, one column per algorithm."""
    rows = []
    for label in results.rows:
        medians = [results.median(label, a, "cpu_seconds") for a in results.algorithms]
        known = [m for m in medians if not np.isnan(m)]
        rows.append(
            [Entry(label)]
            + [
                Entry(number(m), best=bool(known) and m == min(known), value=_known(m))
                for m in medians
            ]
        )
    caption = "Median of the runs, without measuring indicators. Least in bold."
    return Table("CPU seconds of a run", ["problem", *results.algorithms], rows, caption)


def memory_table(results: Results) -> Table | None:
    """Median peak memory of a run in MiB; None where the store keeps none."""
    cells = [cell for found in results.done.values() for cell in found]
    if not any(getattr(cell, "peak_memory", None) for cell in cells):
        return None
    rows = []
    for label in results.rows:
        row = [Entry(label)]
        for algorithm in results.algorithms:
            mib = results.median(label, algorithm, "peak_memory") / 2**20
            row.append(Entry("-" if np.isnan(mib) else f"{mib:.0f}", value=_known(mib)))
        rows.append(row)
    caption = "Median of the runs' peak resident memory in MiB, the interpreter included."
    return Table("Peak memory", ["problem", *results.algorithms], rows, caption)


def report_tables(
    results: Results,
    gathered: Gathered,
    rankings: Mapping[str, Ranking],
    wins: Mapping[str, WinTieLoss],
) -> dict[str, Table]:
    """All tables by name: `igd`, `ranks-igd`, `wins-igd`, ..., `ert-2`, `cost`, `cpu`, `failed`.

    Args:
        results, gathered: The store.
        rankings, wins: By indicator.
    """
    tables: dict[str, Table | None] = {}
    for indicator in indicators_of(results):
        tables[indicator] = indicator_table(results, indicator, spread=True)
        if indicator in rankings:
            tables[f"ranks-{indicator}"] = ranks_table(rankings[indicator], indicator)
        if indicator in wins:
            tables[f"wins-{indicator}"] = wins_table(wins[indicator], indicator)
    for factor in ERT_FACTORS:
        tables[f"ert-{factor:g}"] = running_time_table(results, gathered, factor)
    tables["cost"] = cost_table(results)
    tables["cpu"] = seconds_table(results)
    tables["memory"] = memory_table(results)
    tables["failed"] = failure_table(results)
    return {name: table for name, table in tables.items() if table is not None}


def indicators_of(results: Results) -> list[str]:
    """The indicators that any cell has a value of."""
    return [
        indicator
        for indicator in INDICATORS
        if any(len(results.values(r, a, indicator)) for r, a in results.done)
    ]


def write_table_csv(table: Table, path: str | Path) -> Path:
    """Write one table as it is shown; marks have columns of their own where there are any."""
    marked = [any(row[i].mark for row in table.rows) for i in range(len(table.header))]
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        header = []
        for name, with_mark in zip(table.header, marked, strict=True):
            header += [name, f"{name} mark"] if with_mark else [name]
        writer.writerow(header)
        for row in table.rows:
            fields = []
            for entry, with_mark in zip(row, marked, strict=True):
                fields += [entry.text, entry.mark] if with_mark else [entry.text]
            writer.writerow(fields)
    return Path(path)


def write_cells_csv(store: Store, results: Results, path: str | Path) -> Path:
    """Write one line per cell, with all digits: the long format that pandas and R like."""
    names = ["status", "igd", "igd_plus", "hv", "n_eval", "n_nonfinite", "cpu_seconds"]
    names += ["wall_seconds", "error", "key", "finished_at"]
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["problem", "algorithm", "seed", "pop_size", "budget", *names])
        for label in results.rows:
            for algorithm in results.algorithms:
                cells = [
                    *results.done.get((label, algorithm), []),
                    *results.failed.get((label, algorithm), []),
                ]
                for cell in sorted(cells, key=lambda c: (c.seed, c.key)):
                    values = [getattr(cell, name) for name in names]
                    texts = [repr(v) if isinstance(v, float) else v for v in values]
                    first = [label, algorithm, cell.seed, cell.pop_size, cell.budget]
                    writer.writerow([*first, *("" if v is None else v for v in texts)])
    return Path(path)


def findings(results: Results, rankings: Mapping[str, Ranking]) -> list[str]:
    """What the tables say, in a few sentences."""
    sentences = []
    for indicator in indicators_of(results):
        firsts = dict.fromkeys(results.algorithms, 0)
        for row in results.rows:
            for algorithm in results.best(row, indicator):
                firsts[algorithm] += 1
        top = max(firsts, key=lambda a: firsts[a])
        text = (
            f"{TITLES[indicator]}: {top} has the best median on {firsts[top]} of "
            f"{len(results.rows)} problems"
        )
        ranking = rankings.get(indicator)
        if ranking is not None:
            order = np.argsort(ranking.mean_ranks, kind="stable")
            best = int(order[0])
            text += f"; the best mean rank is that of {ranking.algorithms[best]} "
            text += f"({ranking.mean_ranks[best]:.2f})"
            same = [
                ranking.algorithms[i]
                for i in order[1:]
                if ranking.mean_ranks[i] - ranking.mean_ranks[best] <= ranking.critical_difference
            ]
            if ranking.f_p >= ranking.alpha:
                text += ", but ranks do not differ by more than chance (Friedman)"
            elif same:
                text += f", not significantly ahead of {', '.join(same)}"
            else:
                text += ", significantly ahead of all others"
        sentences.append(text + ".")
    n_failed = sum(len(cells) for cells in results.failed.values())
    if n_failed:
        sentences.append(f"{n_failed} runs failed; they are listed at the end.")
    spent = [v for r, a in results.done for v in results.values(r, a, "cpu_seconds")]
    if spent:
        sentences.append(
            f"{len(spent)} finished runs took {_duration(sum(spent))} of CPU time, "
            f"{number(quartiles(spent)[1])} seconds in the median."
        )
    return sentences


def _duration(seconds: float) -> str:
    for size, unit in ((3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} seconds"


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def _whole(value: float) -> str:
    return "inf" if np.isinf(value) else f"{value:.0f}"
