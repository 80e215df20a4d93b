"""Problems x algorithms x seeds, in parallel, into a store; the same again continues."""

from __future__ import annotations

import copy
import functools
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evogen.experiment.budget import INDICATORS as TARGETS
from evogen.experiment.cell_checkpoints import CellCheckpoints
from evogen.experiment.cells import Cell, Outcome, Spec, failure
from evogen.experiment.checks import check_is_algorithm, check_problem, check_sampling
from evogen.experiment.engines import CellRunner, Engine, EngineSettings
from evogen.experiment.indicators import Reference
from evogen.experiment.lookup import check_algorithm, count_tasks, resolve_problems
from evogen.experiment.pool import Finished
from evogen.experiment.progress import Bar
from evogen.experiment.remeasure import keep_front
from evogen.experiment.store import Store
from evogen.experiment.tasks import check_tasks, task_label, tasks_of

Entry = str | Spec | Callable[..., Any]

#: The offsets of a shifted twin belong to the problem, not to the run: all runs get the same.
TWIN_SEED = 1

TWIN_SUFFIX = "-shifted"

#: In which order the cells of a campaign are run; see `Campaign.run`.
ORDERS = ("cost", "seeds")


@dataclass
class Summary:
    """What a call of `Campaign.run` did.

    Attributes:
        n_cells: Cells of the campaign.
        n_skipped: Of these, finished before.
        n_done: Finished now.
        failed: Cells that failed now, with one line about each.
        n_remeasured: Cells of the store (also of other algorithms) whose indicators were computed
            anew, because the true front of their problem has changed.
        seconds: Wall time.
    """

    n_cells: int
    n_skipped: int
    n_done: int = 0
    failed: list[tuple[Cell, str]] = field(default_factory=list)
    n_remeasured: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        text = f"{self.n_cells} cells: {self.n_done} run, {self.n_skipped} in the store before"
        if self.n_remeasured:
            text += f", {self.n_remeasured} measured again against a front that has changed"
        return text + (f", {len(self.failed)} failed" if self.failed else "")


class Campaign:
    """A grid of runs whose results are kept in a store.

    Args:
        problems: Names of problems or suites (a suite stands for its problems), `Spec`s, or
            functions `() -> Problem`.
        algorithms: Registered names, `Spec`s, or functions `(problem, pop_size) -> Algorithm` for
            any pymoo algorithm; or a dictionary of such, by label.
        seeds: A number k for the seeds 1..k, or the seeds themselves.
        n_eval: Budget of every run in evaluations, never exceeded.
        pop_size: Population size of every run.
        store: File to keep the results in.
        problem_settings: Keyword arguments for every problem given by name, e.g. `{"n_var": 30}`.
        seconds: Wall time after which a run ends, if that is earlier. Such results depend on the
            machine.
        target: Indicator values at which a run ends, if that is earlier: `igd`, `igd_plus`, `hv`,
            or `f` for one objective, e.g. `{"igd": 0.01}`.

    A twin (`"imf1-shifted"`) is the same problem in all runs (offset seed `TWIN_SEED`), unless a
    `Spec` says otherwise. Cells are told apart by what determines their result (see
    `Cell.describe`), not by labels or versions.

    Attributes:
        cells: All cells, seed by seed.

    Raises:
        TypeError: An entry of the wrong kind, or an algorithm that would ignore its generative
            operator.
        ValueError: Unknown names or settings, doubled entries, impossible numbers, an algorithm
            that cannot solve one of the problems. All problems and algorithms are built and set up
            once to find out.
    """

    def __init__(
        self,
        problems: Sequence[Entry] | Entry,
        algorithms: Mapping[str, Entry] | Sequence[Entry],
        *,
        seeds: int | Sequence[int] = 11,
        n_eval: int = 10_000,
        pop_size: int = 100,
        store: str | Path,
        problem_settings: Mapping[str, Any] | None = None,
        seconds: float | None = None,
        target: Mapping[str, float] | None = None,
    ) -> None:
        self.store = Path(store)
        self.seconds = _check_seconds(seconds)
        self.target = _check_target(target)
        self.n_eval = _positive("n_eval", n_eval)
        self.pop_size = _positive("pop_size", pop_size, least=2)
        self.seeds = _seeds(seeds)
        self.problems = _problem_specs(problems, dict(problem_settings or {}))
        self.algorithms = _algorithm_specs(algorithms)
        _check_distinct("problems", self.problems)
        _check_distinct("algorithms", self.algorithms)
        self._check_pairs()
        self.cells = [
            self._cell(problem, algorithm, seed)
            for seed in self.seeds
            for problem in self.problems
            for algorithm in self.algorithms
        ]

    def _cell(self, problem: Spec, algorithm: Spec, seed: int) -> Cell:
        how = (self.pop_size, self.n_eval, self.seconds, self.target)
        return Cell(problem, algorithm, seed, *how)

    def run(
        self,
        *,
        jobs: int | None = None,
        engine: str = "local",
        address: str | None = None,
        time_limit: float | None = None,
        memory_limit: int | str | None = None,
        checkpoint_every: float | None = None,
        order: str = "cost",
        progress: bool = True,
        retry_failed: bool = False,
    ) -> Summary:
        """Run the cells that the store does not hold.

        A cell that raises is recorded as failed, with its traceback, and so is one that gives no
        finite values at all, takes too long, wants too much memory, or whose process is killed;
        the others go on. Ctrl-C ends the workers at once and propagates. Whatever ends a campaign,
        calling this again continues with the unfinished cells.

        Args:
            jobs: Cells at a time, each in a process with one thread; 0 runs the cells in this
                process. None: 2 on this machine, all places of a cluster given by `address`.
            engine: `"local"` (processes on this machine), `"ray"` or `"dask"`; results are the
                same.
            address: Of a running Ray or Dask cluster; by default it is started on this machine.
            time_limit: Seconds that a cell may take.
            memory_limit: Memory that a worker process may have (`limited_memory`): bytes, or a text
                like `"2 GB"`. Linux only.
            checkpoint_every: Seconds after which a running cell writes its state, time and again,
                to a folder beside the store (`runs.db.running`), from which it goes on if it is
                stopped; its result is the same. None: it begins again. Algorithms that cannot be
                continued run without. Cluster workers must see the folder.
            order: `"cost"` begins with the cells known to take longest, which is over soonest;
                `"seeds"` goes seed by seed (within one by cost), so that what a stop leaves is
                whole seeds but for the last ones begun (`whole_seeds`). Results are the same.
            progress: Show a bar over the cells with the time left.
            retry_failed: Run cells again that the store holds as failed.

        Raises:
            TypeError, ValueError: An impossible setting; it says which.
            ImportError: The package of the engine is not installed.
            ConnectionError: There is no cluster at the address.
            StoreError: The store cannot be used.
        """
        every = _check_seconds(checkpoint_every, "checkpoint_every")
        kept = None if every is None else CellCheckpoints.beside(self.store, every)
        settings = EngineSettings(engine, jobs, address, time_limit, memory_limit, kept)
        check_order(order)
        opened = settings.open() if jobs != 0 else None
        start = time.monotonic()
        with Store(self.store) as store:
            store.remember_order("problem", self._rows)
            store.remember_order("algorithm", [spec.label for spec in self.algorithms])
            n_remeasured = sum(keep_front(store, spec, self.pop_size) for spec in self.problems)
            skipped = self._skipped(store, retry_failed)
            if kept is not None:  # a campaign may have been killed between storing and this
                kept.remove(skipped)
            queue = _Queue([cell for cell in self.cells if cell.key not in skipped], order)
            summary = Summary(len(self.cells), len(skipped), n_remeasured=n_remeasured)
            with Bar("cells", len(self.cells), visible=progress) as bar:
                bar.show(len(skipped), "", None)
                for cell, outcome in _outcomes(queue, opened, kept):
                    store.save(cell, outcome)
                    if kept is not None and outcome.status == "done":
                        kept.remove({cell.key})
                    queue.measured(cell, outcome.wall_seconds or 0.0)
                    _count(summary, cell, outcome, bar)
                    n_finished = summary.n_skipped + summary.n_done + len(summary.failed)
                    left = queue.seconds_left()
                    bar.show(n_finished, f"{n_finished}/{len(self.cells)} {cell}", left)
            if kept is not None:
                kept.close()
        summary.seconds = time.monotonic() - start
        return summary

    def _skipped(self, store: Store, retry_failed: bool) -> set[str]:
        """Keys of the cells that need not be run; their labels are brought up to date."""
        finished = {
            key for key, status in store.statuses().items() if status == "done" or not retry_failed
        }
        known = [cell for cell in self.cells if cell.key in finished]
        store.relabel(known)
        return {cell.key for cell in known}

    def _check_pairs(self) -> None:
        self._rows: list[str] = []
        for problem_spec in self.problems:
            problem = problem_spec.build_problem()
            tasks = tasks_of(problem)
            if tasks is not None:
                self._rows += [task_label(problem_spec.label, i + 1) for i in range(len(tasks))]
                self._check_tasks(problem_spec, problem)
                continue
            self._rows.append(problem_spec.label)
            check_problem(problem)
            reference = Reference.of(problem) if self.target or self.seconds else None
            for spec in self.algorithms:
                algorithm = spec.build_algorithm(problem, self.pop_size)
                check_is_algorithm(algorithm)
                check_sampling(algorithm, problem)
                check_algorithm(algorithm, problem)
                try:
                    # A copy: a function may hand out the same object again.
                    termination = self._cell(problem_spec, spec, 0).termination(reference)
                    copy.deepcopy(algorithm).setup(problem, seed=0, termination=termination)
                except Exception as error:
                    kind = TypeError if isinstance(error, TypeError) else ValueError
                    why = str(error) or type(error).__name__
                    raise kind(f"{spec.label} cannot solve {problem_spec.label}: {why}") from error

    def _check_tasks(self, problem_spec: Spec, problem: Any) -> None:
        if self.seconds is not None or self.target:
            name = "target" if self.target else "seconds"
            raise ValueError(f"{name} is not for several tasks, as {problem_spec.label} has")
        for spec in self.algorithms:
            algorithm = spec.build_algorithm(problem, self.pop_size)
            try:
                check_tasks(problem, algorithm, self.n_eval)
            except Exception as error:
                kind = TypeError if isinstance(error, TypeError) else ValueError
                raise kind(f"{spec.label} cannot solve {problem_spec.label}: {error}") from error


class _Queue:
    """Cells to run: first one of each kind, then those known to take longest.

    Long cells late would leave the other workers idle at the end; how long a kind (a problem with
    an algorithm) takes is known from its cells that have finished. With the order `"seeds"` that
    holds among the cells of a seed, and no cell comes before those of an earlier seed.
    """

    def __init__(self, cells: Sequence[Cell], order: str = "cost") -> None:
        groups: dict[int | None, dict[str, deque[Cell]]] = {}
        for cell in cells:
            group = groups.setdefault(cell.seed if order == "seeds" else None, {})
            group.setdefault(_kind(cell), deque()).append(cell)
        self._waiting = deque(groups.values())
        self._n_running = 0
        self._most_running = 0
        self._begun: set[str] = set()
        self._measured: dict[str, tuple[float, int]] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def pop(self) -> Cell | None:
        """The next cell, None when there is none left."""
        if not self._waiting:
            return None
        group = self._waiting[0]
        # `max` takes the first of equals.
        kind = max(group, key=self._urgency)
        cell = group[kind].popleft()
        if not group[kind]:
            del group[kind]
        if not group:
            self._waiting.popleft()
        self._begun.add(kind)
        self._n_running += 1
        self._most_running = max(self._most_running, self._n_running)
        return cell

    def measured(self, cell: Cell, seconds: float) -> None:
        """Learn from a cell that has finished."""
        self._n_running -= 1
        total, count = self._measured.get(_kind(cell), (0.0, 0))
        self._measured[_kind(cell)] = total + seconds, count + 1

    def seconds_left(self) -> float | None:
        """Wall seconds until all is done; None before anything has finished."""
        count = sum(count for _, count in self._measured.values())
        if count == 0:
            return None
        typical = sum(total for total, _ in self._measured.values()) / count
        waiting = sum(
            len(cells) * (self._expected(kind) or typical)
            for group in self._waiting
            for kind, cells in group.items()
        )
        # Cells in the workers are half done on average.
        return (waiting + self._n_running * typical / 2) / self._most_running

    def _urgency(self, kind: str) -> float:
        return (self._expected(kind) or 0.0) if kind in self._begun else float("inf")

    def _expected(self, kind: str) -> float | None:
        total, count = self._measured.get(kind, (0.0, 0))
        return total / count if count else None


def _kind(cell: Cell) -> str:
    return f"{cell.problem.label}\n{cell.algorithm.label}"


def _outcomes(
    queue: _Queue,
    opened: AbstractContextManager[Engine] | None,
    kept: CellCheckpoints | None,
) -> Iterator[tuple[Cell, Outcome]]:
    """Run the queue, without an engine in this process; yields each cell as it finishes."""
    if opened is None:
        runner = CellRunner(checkpoints=kept)
        while (cell := queue.pop()) is not None:
            yield cell, runner(cell)
        return
    if not queue:
        return
    with opened as engine:
        while queue or engine.n_busy:
            while engine.n_idle and (cell := queue.pop()) is not None:
                engine.submit(cell)
            for finished in engine.wait():
                yield finished.task, _outcome(finished)


def _outcome(finished: Finished) -> Outcome:
    return finished.result if finished.error is None else failure(finished.error)


def _count(summary: Summary, cell: Cell, outcome: Outcome, bar: Bar) -> None:
    if outcome.status == "done":
        summary.n_done += 1
    else:
        summary.failed.append((cell, outcome.error or ""))
        bar.print(f"failed: {cell}: {outcome.error}")


def _positive(name: str, value: Any, *, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}={value!r} must be a whole number")
    if value < least:
        raise ValueError(f"{name}={value} must be at least {least}")
    return value


def check_order(order: Any) -> None:
    """Refuse what is no order of cells.

    Raises:
        ValueError: It is none of `ORDERS`.
    """
    if order not in ORDERS:
        raise ValueError(f"order={order!r} must be one of {', '.join(ORDERS)}")


def _check_seconds(seconds: Any, name: str = "seconds") -> float | None:
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"{name}={seconds!r} must be a number")
    if not 0 < seconds < float("inf"):
        raise ValueError(f"{name}={seconds} must be a positive number")
    return float(seconds)


def _check_target(target: Any) -> dict[str, float] | None:
    if target is None:
        return None
    if not isinstance(target, Mapping):
        raise TypeError(f'target={target!r} must be a dictionary such as {{"igd": 0.01}}')
    unknown = [name for name in target if name not in TARGETS]
    if unknown or not target:
        what = f"{unknown[0]!r} is unknown" if unknown else "it is empty"
        raise ValueError(f"target={dict(target)!r}: {what}; give some of {', '.join(TARGETS)}")
    for name, value in target.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"target: {name}={value!r} must be a number")
    return {name: float(target[name]) for name in sorted(target)}


def _seeds(seeds: Any) -> list[int]:
    if isinstance(seeds, int):
        return list(range(1, _positive("seeds", seeds) + 1))
    values = [_positive("seeds", seed, least=0) for seed in seeds]
    if not values:
        raise ValueError("seeds is empty; give a number of seeds or a list of them")
    if len(set(values)) < len(values):
        raise ValueError(f"seeds={values} holds a seed twice")
    return values


def twin_settings(name: str, seed: int = TWIN_SEED) -> dict[str, int]:
    """Settings that a problem's name stands for: the offset seed of a shifted twin.

    None for others, nor for twins of several tasks, which all move by the same, known amount.

    Args:
        name: Of a registered problem.
        seed: Decides the offsets.

    Raises:
        ValueError: There is no such problem.
    """
    is_drawn = name.lower().endswith(TWIN_SUFFIX) and count_tasks(name) == 1
    return {"seed": seed} if is_drawn else {}


def _problem_specs(entries: Any, settings: dict[str, Any]) -> list[Spec]:
    entries = [entries] if isinstance(entries, str | Spec) or callable(entries) else list(entries)
    if not entries:
        raise ValueError("problems is empty; give names of problems or suites")
    specs: list[Spec] = []
    for entry in entries:
        if not isinstance(entry, str):
            specs.append(_spec("problems", entry))
            continue
        for name in resolve_problems([entry]):
            specs.append(Spec(name, name, {**twin_settings(name), **settings}))
    # `imf imf1` names a problem twice, once by its suite.
    return [spec for i, spec in enumerate(specs) if spec not in specs[:i]]


def _algorithm_specs(entries: Any) -> list[Spec]:
    if isinstance(entries, Mapping):
        specs = [_spec("algorithms", entry, label) for label, entry in entries.items()]
    else:
        entries = [entries] if isinstance(entries, str) or callable(entries) else list(entries)
        specs = [_spec("algorithms", entry) for entry in entries]
    if not specs:
        raise ValueError("algorithms is empty; give names of algorithms")
    return specs


def _spec(argument: str, entry: Any, label: str | None = None) -> Spec:
    if isinstance(entry, Spec):
        return entry if label is None else Spec(label, entry.name, entry.settings)
    if isinstance(entry, str):
        return Spec(label or entry, entry)
    if callable(entry):
        function = entry.func if isinstance(entry, functools.partial) else entry
        return Spec(label or str(getattr(function, "__name__", function)), entry)
    raise TypeError(
        f"{argument}: {entry!r} is neither a registered name, a Spec nor a function that builds one"
    )


def _check_distinct(argument: str, specs: Sequence[Spec]) -> None:
    labels = [spec.label for spec in specs]
    doubled = next((label for label in labels if labels.count(label) > 1), None)
    if doubled is not None:
        raise ValueError(f"{argument}: the label {doubled!r} stands for two entries")
    built = [(spec.describe(), spec.label) for spec in specs]
    for i, (description, label) in enumerate(built):
        for other, twin in built[:i]:
            if description == other:
                raise ValueError(f"{argument}: {twin!r} and {label!r} are the same")
