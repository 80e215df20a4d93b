"""Runs, campaigns of runs, and what comes out of them: store, statistics, tables, report."""

from evogen.experiment.ask import Designs, RunResult, ask
from evogen.experiment.campaign import Campaign, Summary
from evogen.experiment.cells import Cell, Outcome, Spec, run_cell
from evogen.experiment.evaluation import GuardedEvaluator
from evogen.experiment.evaluations import Evaluations
from evogen.experiment.indicators import Reference, floor, nondominated, true_front
from evogen.experiment.recorder import Recorder
from evogen.experiment.report import write_report
from evogen.experiment.run import minimize
from evogen.experiment.statistics import Comparison, compare, quartiles, rank_sum
from evogen.experiment.store import Store, StoredCell, StoreError
from evogen.experiment.summary import Results, summarize
from evogen.experiment.tables import (
    Table,
    all_tables,
    cost_table,
    indicator_table,
    to_markdown,
    to_rich,
    write_csv,
)

__all__ = [
    "Campaign",
    "Cell",
    "Comparison",
    "Designs",
    "Evaluations",
    "GuardedEvaluator",
    "Outcome",
    "Recorder",
    "Reference",
    "Results",
    "RunResult",
    "Spec",
    "Store",
    "StoreError",
    "StoredCell",
    "Summary",
    "Table",
    "all_tables",
    "ask",
    "compare",
    "cost_table",
    "floor",
    "indicator_table",
    "minimize",
    "nondominated",
    "quartiles",
    "rank_sum",
    "run_cell",
    "summarize",
    "to_markdown",
    "to_rich",
    "true_front",
    "write_csv",
    "write_report",
]
