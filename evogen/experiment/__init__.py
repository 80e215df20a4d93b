"""Runs, campaigns of runs, and what comes out of them: store, statistics, tables, report."""

from evogen.experiment.ask import Designs, RunResult, ask
from evogen.experiment.campaign import Campaign, Summary
from evogen.experiment.campaign_file import read_plan, write_example
from evogen.experiment.cells import Cell, Outcome, Spec, run_cell
from evogen.experiment.checkpoint import Checkpoint, CheckpointError
from evogen.experiment.comparison import (
    compare_stores,
    comparison_text,
    write_comparison,
)
from evogen.experiment.evaluation import GuardedEvaluator
from evogen.experiment.evaluations import Evaluations
from evogen.experiment.exchange import export_store, import_folder
from evogen.experiment.history import LightHistory
from evogen.experiment.indicators import Reference, floor, nondominated, true_front
from evogen.experiment.multitask_run import minimize_multitask
from evogen.experiment.posthoc import rank_algorithms, rank_results, win_tie_loss
from evogen.experiment.recorder import Recorder
from evogen.experiment.report import write_report
from evogen.experiment.results_file import import_results
from evogen.experiment.run import minimize
from evogen.experiment.statistics import Comparison, compare, quartiles, rank_sum
from evogen.experiment.store import Store, StoredCell, StoreError
from evogen.experiment.summary import Results, summarize, whole_seeds
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
    "whole_seeds",
    "write_csv",
    "write_report",
    "minimize_multitask",
    "LightHistory",
    "CheckpointError",
    "Checkpoint",
    "write_example",
    "read_plan",
    "import_results",
    "import_folder",
    "export_store",
    "win_tie_loss",
    "rank_results",
    "rank_algorithms",
    "write_comparison",
    "comparison_text",
    "compare_stores",
]
