"""Few evaluations: 300 and 1,000 on problems of 10 variables, surrogate-assisted rivals included.

    python benchmarks/expensive.py run                    # skips what is recorded; about 15 minutes
    python benchmarks/expensive.py run --only auto --seeds 11
    pip install botorch && python benchmarks/expensive.py run --only qlognparego --seeds 3
    python benchmarks/expensive.py report                 # writes results/expensive.md

What counts here is the non-dominated set of all points evaluated, for every method alike: a
population would punish methods that have none. Population size 50. The values at 300 evaluations
are those of the same runs (BoTorch's end there). One thread; CPU seconds are those of the process.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import importlib.util
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pymoo.optimize import minimize

from evogen.algorithms import get_algorithm, list_algorithms
from evogen.experiment import Reference, compare, nondominated
from evogen.problems import get_problem

N_VAR, POP_SIZE, BUDGETS, SEEDS = 10, 50, (300, 1000), 11
PROBLEMS = (
    "zdt1", "zdt2", "zdt3", "dtlz2", "dtlz7", "imf1", "imf4", "imf1-shifted", "imf4-shifted"
)  # fmt: skip
BY_NAME = ("auto", "rbf-nsga2", "krvea", "nsga2", "smsemoa", "agemoea2", "immoea", "rmmeda")
TWIN_SEED = 1

RESULTS = Path(__file__).resolve().parent / "results"
RUNS, PAGE = RESULTS / "expensive_runs.csv", RESULTS / "expensive.md"
FIELDS = ("problem", "algorithm", "seed", "n_eval", "igd", "igd_plus", "hv", "cpu_seconds")


class Log:
    """Objectives of every evaluation of a problem, and the CPU time at which they came."""

    def __init__(self, problem: Any) -> None:
        self.f: list[np.ndarray] = []
        self.seconds: list[float] = []
        self._start = time.process_time()
        self._evaluate = problem._evaluate
        problem._evaluate = self

    def __call__(self, x: np.ndarray, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        """Stands in for the problem's `_evaluate`."""
        self._evaluate(x, out, *args, **kwargs)
        f = np.atleast_2d(out["F"])
        self.f.extend(f)
        self.seconds.extend([time.process_time() - self._start] * len(f))


def build_problem(name: str) -> Any:
    """A problem of `N_VAR` variables; twins with the offsets of the study."""
    settings = {"seed": TWIN_SEED} if name.endswith("-shifted") else {}
    return get_problem(name, n_var=N_VAR, **settings)


def run_registered(name: str, problem: Any, seed: int) -> None:
    """A run of a registered algorithm."""
    algorithm = get_algorithm(name, problem, pop_size=POP_SIZE)
    minimize(problem, algorithm, ("n_eval", max(BUDGETS)), seed=seed)


def run_qlognparego(problem: Any, seed: int, *, batch: int = 10) -> None:
    """BoTorch's qLogNParEGO (Daulton et al. 2020; Ament et al. 2023) up to the smaller budget.

    2 (D + 1) Sobol points, then batches of `batch` chosen one after another, each under random
    weights; models with BoTorch's default priors, fitted anew for every batch.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _parego(problem, seed, batch)


def _parego(problem: Any, seed: int, batch: int) -> None:
    parts = {
        name: getattr(importlib.import_module(f"botorch.{module}"), name)
        for module, name in (
            ("acquisition.multi_objective.parego", "qLogNParEGO"),
            ("fit", "fit_gpytorch_mll"),
            ("models", "SingleTaskGP"),
            ("models", "ModelListGP"),
            ("optim", "optimize_acqf"),
            ("sampling", "SobolQMCNormalSampler"),
        )
    }
    likelihood = importlib.import_module("gpytorch.mlls").SumMarginalLogLikelihood
    low, high = problem.bounds()

    def evaluate(u: torch.Tensor) -> torch.Tensor:
        return -torch.as_tensor(problem.evaluate(low + u.numpy() * (high - low)))

    u = torch.quasirandom.SobolEngine(N_VAR, scramble=True, seed=seed).draw(2 * (N_VAR + 1))
    u = u.double()
    y = evaluate(u)
    box = torch.stack([torch.zeros(N_VAR), torch.ones(N_VAR)]).double()
    while len(u) < min(BUDGETS):
        scaled = (y - y.mean(dim=0)) / y.std(dim=0)
        models = [parts["SingleTaskGP"](u, scaled[:, [j]]) for j in range(problem.n_obj)]
        model = parts["ModelListGP"](*models)
        parts["fit_gpytorch_mll"](likelihood(model.likelihood, model))
        chosen = torch.empty(0, N_VAR).double()
        for _ in range(min(batch, min(BUDGETS) - len(u))):
            acquisition = parts["qLogNParEGO"](
                model=model,
                X_baseline=u,
                sampler=parts["SobolQMCNormalSampler"](torch.Size([64])),
                X_pending=chosen if len(chosen) else None,
                prune_baseline=True,
            )
            point, _ = parts["optimize_acqf"](
                acquisition,
                bounds=box,
                q=1,
                num_restarts=2,
                raw_samples=64,
                options={"maxiter": 30},
            )
            chosen = torch.cat([chosen, point.detach()])
        u, y = torch.cat([u, chosen]), torch.cat([y, evaluate(chosen)])


def available() -> dict[str, Callable[[Any, int], None]]:
    """The columns that can be run here."""

    def registered(name: str) -> Callable[[Any, int], None]:
        return lambda problem, seed: run_registered(name, problem, seed)

    known = list_algorithms()
    columns = {name: registered(name) for name in BY_NAME if name in known}
    if importlib.util.find_spec("botorch") is not None:
        columns["qlognparego"] = run_qlognparego
    return columns


def measured(name: str, algorithm: Callable[[Any, int], None], seed: int) -> list[dict[str, Any]]:
    """One run; its indicators at every budget that it reached."""
    problem = build_problem(name)
    reference = Reference.of(problem)
    log = Log(problem)
    algorithm(problem, seed)
    rows = []
    for n_eval in BUDGETS:
        if len(log.f) >= n_eval:
            values = reference.measure(nondominated(np.array(log.f[:n_eval]), None))
            at = {"n_eval": n_eval, "cpu_seconds": log.seconds[n_eval - 1]}
            rows.append({"problem": name, "seed": seed} | at | values)
    return rows


def read() -> list[dict[str, str]]:
    """The recorded runs."""
    if not RUNS.exists():
        return []
    with RUNS.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def run(algorithms: Iterable[str], problems: Iterable[str], n_seeds: int, *, again: bool) -> None:
    """Run and record what is not recorded yet, seed by seed.

    Args:
        algorithms: Columns; others are kept.
        problems: Rows.
        n_seeds: Seeds 1 to n_seeds.
        again: Forget these algorithms' recorded runs on these problems first.
    """
    columns, algorithms, problems = available(), list(algorithms), list(problems)
    recorded = read()
    if again:
        forget = {(p, a) for p in problems for a in algorithms}
        recorded = [r for r in recorded if (r["problem"], r["algorithm"]) not in forget]
        _write(recorded)
    done = {(r["problem"], r["algorithm"], int(r["seed"])) for r in recorded}
    for seed in range(1, n_seeds + 1):
        for problem in problems:
            for algorithm in algorithms:
                if (problem, algorithm, seed) in done:
                    continue
                rows = measured(problem, columns[algorithm], seed)
                recorded += [
                    {k: _text(v) for k, v in (row | {"algorithm": algorithm}).items()}
                    for row in rows
                ]
                _write(recorded)
                print(problem, algorithm, seed, *(f"{row['igd']:.4g}" for row in rows), flush=True)


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _write(rows: list[dict[str, str]]) -> None:
    RESULTS.mkdir(exist_ok=True)
    with RUNS.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def table(rows: list[dict[str, str]], n_eval: int, indicator: str, baseline: str) -> str:
    """Medians in Markdown, with marks against the baseline and the number of runs where fewer."""
    samples: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if int(row["n_eval"]) == n_eval:
            key = (row["problem"], row["algorithm"])
            samples.setdefault(key, []).append(float(row[indicator]))
    columns = [a for a in (*BY_NAME, "qlognparego") if any(k[1] == a for k in samples)]
    marks = compare(samples, baseline, maximize=indicator == "hv")
    best = max if indicator == "hv" else min
    lines = [f"| problem | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for problem in PROBLEMS:
        medians = {a: np.median(samples[problem, a]) for a in columns if (problem, a) in samples}
        cells = []
        for a in columns:
            if a not in medians:
                cells.append("-")
                continue
            text = f"{medians[a]:.3g}"
            text = f"**{text}**" if medians[a] == best(medians.values()) else text
            mark = f" {marks[problem, a].mark}" if (problem, a) in marks else ""
            n = len(samples[problem, a])
            cells.append(text + mark + (f" ({n})" if n != SEEDS else ""))
        lines.append(f"| {problem} | {' | '.join(cells)} |")
    return "\n".join(lines)


def report(baselines: Iterable[str]) -> None:
    """Write the page from the recorded runs."""
    rows = read()
    parts = [
        "# Few evaluations\n",
        "Written by `python benchmarks/expensive.py report`; settings are described there. Medians "
        f"of {SEEDS} runs (their number in brackets where it differs) of the non-dominated set of "
        "all evaluated points; `+` better, `-` worse, `=` no significant difference at 0.05 "
        "(Wilcoxon rank-sum, Holm-corrected over the table) from the baseline named.\n",
    ]
    for n_eval in BUDGETS:
        for indicator in ("igd", "hv"):
            for baseline in baselines:
                if any(r["algorithm"] == baseline for r in rows):
                    parts.append(f"## {indicator} at {n_eval} evaluations, against {baseline}\n")
                    parts.append(table(rows, n_eval, indicator, baseline) + "\n")
        parts.append(f"## CPU seconds up to {n_eval} evaluations\n")
        parts.append(seconds(rows, n_eval) + "\n")
    PAGE.write_text("\n".join(parts), encoding="utf-8")
    print(f"written: {PAGE}")


def seconds(rows: list[dict[str, str]], n_eval: int) -> str:
    """Median CPU seconds of a run, over all problems, in Markdown."""
    lines = ["| algorithm | CPU seconds |", "|---|---|"]
    for algorithm in (*BY_NAME, "qlognparego"):
        kept = [r for r in rows if r["algorithm"] == algorithm and int(r["n_eval"]) == n_eval]
        if kept:
            median = np.median([float(r["cpu_seconds"]) for r in kept])
            lines.append(f"| {algorithm} | {median:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("run", "report"))
    parser.add_argument("--only", action="append", choices=(*BY_NAME, "qlognparego"))
    parser.add_argument("--problem", action="append", choices=PROBLEMS)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--again", action="store_true", help="replace what is recorded")
    parser.add_argument("--baseline", action="append", help="for report; default: nsga2, rbf-nsga2")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.command == "report":
        report(args.baseline or ("nsga2", "rbf-nsga2"))
        return
    columns = available()
    for name in args.only or ():
        if name not in columns:
            parser.error(f"--only {name}: not available here (not registered or not installed)")
    # BoTorch only when asked for: minutes a run.
    algorithms = args.only or [name for name in columns if name != "qlognparego"]
    run(algorithms, args.problem or PROBLEMS, args.seeds, again=args.again)


if __name__ == "__main__":
    main()
