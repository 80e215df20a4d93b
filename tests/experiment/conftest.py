import os
import textwrap

import pytest

#: What workers can import: problems and algorithms that misbehave, and one that does not.
PARTS = '''
import os
import signal
import time
from pathlib import Path

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem
from pymoo.problems.multi import ZDT1


def small_zdt1():
    return ZDT1(n_var=5)


def nsga2(problem, pop_size, eta=15):
    from pymoo.operators.mutation.pm import PM

    return NSGA2(pop_size=pop_size, mutation=PM(eta=eta))


def work(task):
    """Something for a worker to do, or to fail at."""
    if task == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "exit":
        raise SystemExit(3)
    if task == "raise":
        raise ValueError("no such task")
    if task == "unsendable":
        return lambda: None
    if task == "threads":
        return {name: os.environ[name] for name in os.environ if name.endswith("NUM_THREADS")}
    return os.getpid()


class _Simple(Problem):
    def __init__(self):
        super().__init__(n_var=3, n_obj=2, xl=0.0, xu=1.0)

    def _evaluate(self, x, out, *args, **kwargs):
        out["F"] = np.column_stack([x[:, 0], 1 - x[:, 0] + x[:, 1]])


class Raising(_Simple):
    def _evaluate(self, x, out, *args, **kwargs):
        raise RuntimeError("the simulator said no")


class Killing(_Simple):
    def _evaluate(self, x, out, *args, **kwargs):
        os.kill(os.getpid(), signal.SIGKILL)


class Sick(_Simple):
    def _evaluate(self, x, out, *args, **kwargs):
        _Simple._evaluate(self, x, out)
        out["F"][x[:, 2] > 0.5] = np.nan


class Slow(_Simple):
    """Leaves a note of its process, and takes its time; after 60 batches waits for a note `go`."""

    n_batches = 0

    def _evaluate(self, x, out, *args, **kwargs):
        Path(os.environ["SLOW_NOTES"], str(os.getpid())).touch()
        Slow.n_batches += 1
        time.sleep(0.02)
        while Slow.n_batches > 60 and not Path(os.environ["SLOW_NOTES"], "go").exists():
            time.sleep(0.02)
        super()._evaluate(x, out)
'''


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """A module that worker processes can import too: they inherit `sys.path`."""
    folder = tmp_path / "parts"
    folder.mkdir()
    name = f"campaign_parts_{os.getpid()}_{abs(hash(tmp_path)) % 10**8}"
    (folder / f"{name}.py").write_text(textwrap.dedent(PARTS))
    monkeypatch.syspath_prepend(folder)
    return __import__(name)
