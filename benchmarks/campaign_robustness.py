"""Kills campaigns at random moments and measures what keeping track of cells costs.

    python benchmarks/campaign_robustness.py                       # everything, 200 kills each
    python benchmarks/campaign_robustness.py --modes jobs2 --kills 20

A campaign's process is ended by SIGKILL at a random moment, the same campaign is started again, and
so on until it is done; then the next campaign, until there were enough kills. After every kill the
store must open and hold every cell that it held before, unchanged and once; in the end it must be
equal to that of a campaign that nobody disturbed. In the mode `workers` it is worker processes that
are killed, and the same command with `retry_failed` runs what has failed again.

Importing takes longer than a small campaign, so the campaigns are forks of a process that has
imported everything and that keeps the clean process which workers are forks of (Linux only).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import numpy as np
from pymoo.core.problem import Problem

from evogen.experiment import (
    Campaign,
    Spec,
    Store,
    engines,
    indicator_table,
    summarize,
    to_markdown,
)
from evogen.experiment.cells import Cell, Outcome
from evogen.experiment.pool import WorkerPool

RESULTS = Path(__file__).parent / "results"

MODES = ("jobs0", "jobs1", "jobs2", "workers", "ray", "overhead")

#: Seconds within which a campaign is killed after its start.
HORIZON = {"jobs0": 1.0, "jobs1": 1.5, "jobs2": 1.5, "workers": 0.5, "ray": 15.0}

#: Exit code of a campaign that finds no process to make its workers.
KEEPER_GONE = 7

#: Columns of the table.
COUNTED = ("kills", "before_the_first_cell", "campaigns", "cells", "starts", "minutes")

#: What holds a local Ray cluster until its stdin is closed.
RAY_HEAD = """
import sys, ray
ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""


def small_campaign(store: Path, n_seeds: int) -> Campaign:
    """Four cells per seed, of about 20 ms each."""
    return Campaign(
        ["zdt1", "zdt2"],
        ["nsga2", "nsga2-de"],
        seeds=n_seeds,
        n_eval=120,
        pop_size=12,
        store=store,
        problem_settings={"n_var": 5},
    )


def contents(path: Path) -> dict[str, tuple[Any, ...]]:
    """Every cell of a store with what must not depend on how it came about."""
    with Store(path) as store:
        return {
            c.key: (
                c.status,
                c.igd,
                c.igd_plus,
                c.hv,
                store.arrays(c.key, "result")["X"].tobytes() if c.status == "done" else b"",
            )
            for c in store.cells()
        }


def written_at(path: Path) -> dict[str, str]:
    """When each finished cell was written."""
    if not path.exists():
        return {}
    with Store(path) as store:
        return {cell.key: cell.finished_at for cell in store.cells("done")}


def tables(path: Path) -> str:
    """The tables that a reader would see."""
    with Store(path) as store:
        found = summarize(store)
        return "\n".join(to_markdown(indicator_table(found, i)) for i in ("igd", "igd_plus", "hv"))


class KeeperGone(Exception):
    """A campaign was killed while it asked the shared process for a worker, and that one ended too.

    Python's fork server does not outlive a client that dies in the middle of a request. A campaign
    on its own has a fork server of its own.
    """


def start_keeper() -> None:
    """See to it that the process that makes workers is there."""
    time.sleep(3.0)  # one that is ending looks alive
    forkserver.ensure_running()


def fork(function: Callable[[], Any]) -> int:
    """Run a function in a fork of this process, and leave."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        # The clean process belongs to this process's parent; it is asked, not looked after.
        vars(forkserver._forkserver)["ensure_running"] = lambda: None
        function()
        code = 0
    except (ConnectionError, EOFError):
        code = KEEPER_GONE
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def has_ended(pid: int, seconds: float) -> bool:
    """Whether a fork ends within some seconds.

    Raises:
        RuntimeError: It ends with an error.
        KeeperGone: The process that makes workers has gone.
    """
    end = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            if os.waitstatus_to_exitcode(status) == KEEPER_GONE:
                raise KeeperGone
            if status:
                raise RuntimeError(f"a campaign has ended with the status {status}")
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(0.001)


def workers() -> list[int]:
    """Worker processes that are alive."""
    keeper = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    children = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
    alive = []
    for child in children:
        try:
            state = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            alive.append(int(child))
    return alive


def wait_for_workers_to_end() -> None:
    """Wait until the workers of a killed campaign have noticed.

    Raises:
        RuntimeError: They have not within 10 seconds.
    """
    end = time.monotonic() + 10.0
    while workers():
        if time.monotonic() > end:
            raise RuntimeError("workers live on after their campaign was killed")
        time.sleep(0.01)


def kill_study(
    mode: str, n_kills: int, folder: Path, *, n_seeds: int, seed: int, address: str | None = None
) -> dict[str, Any]:
    """Disturb campaigns until there were `n_kills` kills.

    Args:
        mode: One of `MODES` but `overhead`.
        n_kills: SIGKILLs in total.
        folder: For the stores.
        n_seeds: Size of a campaign, in fours of cells.
        seed: Decides the moments.
        address: Of the Ray cluster, in the mode `ray`.

    Returns:
        What was counted.

    Raises:
        AssertionError: A cell was lost, doubled or changed, or the end differs.
    """
    rng = np.random.default_rng(seed)
    how: dict[str, Any] = {"jobs": {"jobs0": 0, "jobs1": 1}.get(mode, 2), "progress": False}
    if mode == "ray":
        how |= {"engine": "ray", "address": address}
    if mode == "workers":
        how["retry_failed"] = True
    begin = time.monotonic()
    whole = small_campaign(folder / "whole.db", n_seeds)
    whole.run(jobs=0, progress=False)
    expected, shown = contents(whole.store), tables(whole.store)
    counted = {"kills": 0, "campaigns": 0, "starts": 0, "before_the_first_cell": 0, "cells": 0}
    while counted["kills"] < n_kills:
        campaign = small_campaign(folder / f"{mode}-{counted['campaigns']}.db", n_seeds)
        done = False
        while not done:
            before = written_at(campaign.store)
            pid = fork(lambda campaign=campaign: campaign.run(**how))  # type: ignore[misc]
            counted["starts"] += 1
            try:
                done = _disturb(mode, pid, rng, counted, n_kills)
            except KeeperGone:
                start_keeper()
            if mode != "ray":
                wait_for_workers_to_end()
            after = written_at(campaign.store)
            lost = [key for key in before if after.get(key) != before[key]]
            assert not lost, f"{len(lost)} finished cells were lost or run again"
            assert len(after) <= len(expected)
            counted["before_the_first_cell"] += not after
            if done and mode == "workers":
                done = len(after) == len(expected)
        assert contents(campaign.store) == expected, "the results differ"
        assert tables(campaign.store) == shown, "the tables differ"
        counted["campaigns"] += 1
        counted["cells"] += len(expected)
        campaign.store.unlink()
    return counted | {"cells_per_campaign": len(expected), "minutes": _minutes(begin)}


def _disturb(
    mode: str, pid: int, rng: np.random.Generator, counted: dict[str, int], n_kills: int
) -> bool:
    """Kill a campaign, or its workers, at random moments; whether the campaign came to its end."""
    while True:
        enough = counted["kills"] >= n_kills
        if has_ended(pid, 3600.0 if enough else rng.uniform(0.0, HORIZON[mode])):
            return True
        victims = workers() if mode == "workers" else [pid]
        if not victims:
            continue
        with suppress(ProcessLookupError):
            os.kill(int(rng.choice(victims)), signal.SIGKILL)
        counted["kills"] += 1
        if mode != "workers":
            os.waitpid(pid, 0)
            return False


class Burn(Problem):
    """Two objectives whose evaluation takes a millisecond of CPU for each point."""

    def __init__(self) -> None:
        super().__init__(n_var=5, n_obj=2, xl=0.0, xu=1.0)

    def _evaluate(self, x: np.ndarray, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        end = time.process_time() + len(x) * 1e-3
        while time.process_time() < end:
            pass
        out["F"] = np.column_stack([x[:, 0], 1 - x[:, 0] + x[:, 1:].sum(axis=1)])


_between: list[float] = []


def measured(cell: Cell) -> Outcome:
    """Run a cell and record the CPU seconds that the worker took since the last one."""
    begin = time.process_time()
    outcome = engines.CellRunner()(cell)
    since = begin - _between[-1] if _between else 0.0
    outcome.machine = {**outcome.machine, "cell": time.process_time() - begin, "between": since}
    _between.append(time.process_time())
    return outcome


class MeasuredSettings(engines.EngineSettings):
    """Local workers that measure themselves."""

    def open(self) -> Any:
        """A pool that runs `measured`."""
        return WorkerPool(measured, self.jobs or 1, preload=engines.PRELOAD)


def overhead_study(folder: Path, n_cells: int) -> dict[str, Any]:
    """CPU seconds of scheduling and storing beside those of cells of one second.

    Args:
        folder: For the store.
        n_cells: Number of cells.
    """
    import evogen.experiment.campaign as module

    begin = time.monotonic()
    store = folder / "overhead.db"
    campaign = Campaign([Spec("burn", Burn)], ["nsga2"], seeds=n_cells, n_eval=1000, store=store)
    vars(module)["EngineSettings"] = MeasuredSettings
    cpu = time.process_time()
    try:
        campaign.run(jobs=1, progress=False)
    finally:
        vars(module)["EngineSettings"] = engines.EngineSettings
    cpu = time.process_time() - cpu
    with Store(store) as opened:
        cells = opened.cells("done")
    assert len(cells) == n_cells
    work = sum(cell.machine["cell"] for cell in cells)
    between = sum(cell.machine["between"] for cell in cells)
    return {
        "cells": n_cells,
        "cell_seconds": work / n_cells,
        "campaign_process_seconds": cpu / n_cells,
        "worker_between_cells_seconds": between / n_cells,
        "overhead_percent": 100 * (cpu + between) / work,
        "minutes": _minutes(begin),
    }


def _minutes(begin: float) -> float:
    return round((time.monotonic() - begin) / 60, 1)


def start_ray() -> tuple[subprocess.Popen[str], str]:
    """A local Ray cluster in a process of its own, and its address."""
    # What Ray does for a cluster that it starts; who connects to it must say so.
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    head = subprocess.Popen(
        [sys.executable, "-c", RAY_HEAD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert head.stdout is not None
    return head, head.stdout.readline().strip()


def run_mode(mode: str, n_kills: int, n_seeds: int, seed: int) -> dict[str, Any]:
    """One mode's numbers, in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if mode == "overhead":
            return overhead_study(folder, n_kills)
        if mode != "ray":
            return kill_study(mode, n_kills, folder, n_seeds=n_seeds, seed=seed)
        head, address = start_ray()
        try:
            return kill_study(mode, n_kills, folder, n_seeds=n_seeds, seed=seed, address=address)
        finally:
            head.communicate()


def write(found: dict[str, Any], out: Path) -> None:
    """The numbers as JSON, and as a page."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "campaign_robustness.json").write_text(json.dumps(found, indent=2) + "\n")
    lines = [
        "# Campaigns that are killed",
        "",
        "```sh",
        *(numbers["command"] for numbers in found.values()),
        "```",
        "",
        "SIGKILL at random moments, the same campaign again until it is done. After every kill the",
        "store was opened and held every finished cell that it held before, unchanged and once; in",
        "the end cells, populations and tables were equal to those of an undisturbed campaign, bit",
        "for bit. (The script stops at the first difference.)",
        "",
        "| killed | runs in | kills | with no cell finished yet | campaigns finished | cells "
        "finished | starts | minutes |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    names = {
        "jobs0": ("the campaign", "its own process"),
        "jobs1": ("the campaign", "1 worker process"),
        "jobs2": ("the campaign", "2 worker processes"),
        "workers": ("a worker", "2 worker processes"),
        "ray": ("the campaign", "a local Ray cluster, 2 CPUs"),
    }
    for mode, (victim, where) in names.items():
        if mode in found:
            numbers = (found[mode][k] for k in COUNTED)
            lines.append(" | ".join([f"| {victim}", where, *map(str, numbers)]) + " |")
    if "overhead" in found:
        told = found["overhead"]
        lines += [
            "",
            f"Overhead: {told['cells']} cells of {told['cell_seconds']:.2f} CPU seconds cost "
            f"{1000 * told['campaign_process_seconds']:.1f} ms each in the campaign's process "
            f"(scheduling, storing) and {1000 * told['worker_between_cells_seconds']:.1f} ms in "
            f"the worker between cells: {told['overhead_percent']:.2f} % of the cells' CPU.",
        ]
    (out / "campaign_robustness.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    """Run the modes asked for and record them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--modes", default=",".join(MODES), help="separated by commas")
    parser.add_argument("--kills", type=int, default=200, help="per mode; cells for the overhead")
    parser.add_argument("--seeds", type=int, default=200, help="a quarter of a campaign's cells")
    parser.add_argument("--seed", type=int, default=1, help="decides the moments")
    parser.add_argument("--horizon", type=float, help="kill within so many seconds of a start")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    args = parser.parse_args()
    modes = args.modes.split(",")
    if unknown := sorted(set(modes) - set(MODES)):
        parser.error(f"unknown modes {', '.join(unknown)}; there are {', '.join(MODES)}")
    if args.horizon is not None:
        HORIZON.update(dict.fromkeys(HORIZON, args.horizon))
    # Started here, the forks share it.
    with WorkerPool(measured, 1, preload=engines.PRELOAD):
        pass
    record = args.out / "campaign_robustness.json"
    found = json.loads(record.read_text()) if record.exists() else {}
    for mode in modes:
        how = f"--modes {mode} --kills {args.kills} --seeds {args.seeds} --seed {args.seed}"
        how += f" --horizon {args.horizon:g}" if args.horizon is not None else ""
        command = f"python benchmarks/campaign_robustness.py {how}"
        found[mode] = {"command": command}
        found[mode] |= run_mode(mode, args.kills, args.seeds, args.seed)
        print(mode, found[mode], flush=True)
        write(found, args.out)


if __name__ == "__main__":
    main()
