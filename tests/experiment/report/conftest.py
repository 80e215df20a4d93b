"""A small store with something of everything, made without running an algorithm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evogen.experiment import Cell, Outcome, Reference, Spec, Store, nondominated

#: By problem: number of objectives.
PROBLEMS = {"two": 2, "three": 3, "five": 5, "a<b> & c": 2, "unknown": 2}
#: By algorithm: how far its fronts are from the true one.
GAPS = {"nsga2": 0.3, "best": 0.05, "middle <i>": 0.15, "worst_of_all": 0.9}
N_SEEDS = 6
POP_SIZE = 12
RECORDS = np.arange(1, 9) * 50.0
NASTY = "ValueError: </script><script>throw 1</script>"


def points(n_obj: int, n: int, random_state: np.random.Generator) -> np.ndarray:
    """Points `(n, n_obj)` of the part of the unit sphere where all coordinates are positive."""
    x = np.abs(random_state.normal(size=(n, n_obj))) + 1e-9
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def outcome(n_obj: int, gap: float, front: np.ndarray | None, seed: int) -> Outcome:
    random_state = np.random.default_rng([seed, n_obj, int(1000 * gap)])
    reference = Reference(n_obj)
    if front is not None:
        low, high = front.min(axis=0), front.max(axis=0)
        reference = Reference(n_obj, front, low, high, np.full(n_obj, 1.1))
    f = points(n_obj, POP_SIZE, random_state) * (1 + gap * (1 + 0.1 * random_state.random()))
    measured = reference.measure(nondominated(f))
    ratio = np.linspace(5, 1, len(RECORDS))
    curves = {"n_eval": RECORDS, "seconds": RECORDS / 1e3, "share": np.full(len(RECORDS), np.nan)}
    for name, value in measured.items():
        scale = 1 / ratio if name == "hv" else ratio
        curves[name] = np.full(len(RECORDS), np.nan) if value is None else value * scale
    return Outcome(
        "done",
        n_var=3,
        n_obj=n_obj,
        n_eval=int(RECORDS[-1]),
        n_nonfinite=0,
        cpu_seconds=0.5 + gap,
        wall_seconds=1.0,
        indicators=measured,
        machine={"versions": {"evogen": "0.1", "numpy": "2"}, "n_cpus": 2},
        arrays={"result": {"F": f, "X": random_state.random((POP_SIZE, 3))}, "curves": curves},
    )


def fill_store(
    path: str | Path, *, shift: float = 0.0, n_seeds: int = N_SEEDS, **gaps: float
) -> Path:
    """A store with `PROBLEMS` by `GAPS` (or `gaps`), all gaps larger by `shift`; one run failed."""
    with Store(path) as store:
        store.remember_order("problem", list(PROBLEMS))
        store.remember_order("algorithm", list(gaps or GAPS))
        for problem, n_obj in PROBLEMS.items():
            front = None
            if problem != "unknown":
                front = points(n_obj, 300, np.random.default_rng(n_obj))
            spec = Spec(problem, f"problem-{problem}")
            floor = None if front is None or n_obj > 3 else 0.05
            store.save_front(spec.describe(), POP_SIZE, front, floor)
            for algorithm, gap in (gaps or GAPS).items():
                for seed in range(1, n_seeds + 1):
                    cell = Cell(spec, Spec(algorithm, algorithm), seed, POP_SIZE, 400)
                    store.save(cell, outcome(n_obj, gap + shift, front, seed))
        bad = Cell(Spec("two", "problem-two"), Spec("best", "best"), 99, POP_SIZE, 400)
        store.save(bad, Outcome("failed", error=NASTY, traceback=f"Traceback\n{NASTY}"))
    return Path(path)


@pytest.fixture(scope="session")
def fill():
    """The function that makes such a store."""
    return fill_store


@pytest.fixture(scope="session")
def filled(tmp_path_factory):
    """Path of such a store; not to be changed."""
    return fill_store(tmp_path_factory.mktemp("filled") / "runs.db")


@pytest.fixture
def store(filled):
    with Store(filled) as store:
        yield store
