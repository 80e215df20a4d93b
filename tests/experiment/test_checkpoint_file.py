"""The checkpoint file: whose it is, what damages it, what a killed process leaves."""

import os
import signal
import subprocess
import sys
import textwrap
import time
import zipfile

import numpy as np
import pytest
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.algorithms.soo.nonconvex.cmaes import CMAES
from pymoo.core.callback import Callback
from pymoo.core.mixed import MixedVariableGA
from pymoo.core.problem import ElementwiseProblem
from pymoo.core.variable import Choice, Integer, Real
from pymoo.operators.mutation.pm import PM
from pymoo.problems.multi import BNH, ZDT1
from pymoo.problems.single import Sphere

import evogen.experiment.checkpoint as checkpoint_module
from evogen.experiment import Recorder, Reference, minimize
from evogen.experiment.checkpoint import Checkpoint, CheckpointError


class PowerCut(Exception):
    pass


#: After which generation the power fails. What a callback holds is part of a run's state.
POWER = {"off": None}


class Cut(Callback):
    """Keeps what it saw, until the power fails."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def notify(self, algorithm):
        self.seen.append(algorithm.n_gen)
        if algorithm.n_gen == POWER["off"]:
            raise PowerCut


def solve(path, *, cut=None, problem=None, algorithm=None, n_gen=6, **settings):
    settings = {"seed": 1, "checkpoint_every": 1, "callback": Cut()} | settings
    POWER["off"] = cut
    return minimize(
        problem or ZDT1(n_var=4),
        algorithm or NSGA2(pop_size=8),
        ("n_gen", n_gen),
        checkpoint=path,
        **settings,
    )


@pytest.fixture
def begun(tmp_path):
    """The checkpoint of a run that was stopped after two generations."""
    path = tmp_path / "run.ckpt"
    with pytest.raises(PowerCut):
        solve(path, cut=3)
    return path


def test_a_finished_run_is_not_run_again(tmp_path):
    class Counting(ZDT1):
        n_asked = 0

        def _evaluate(self, x, out, *args, **kwargs):
            Counting.n_asked += len(x)
            super()._evaluate(x, out)

    first = solve(tmp_path / "c", problem=Counting(n_var=4))
    asked = Counting.n_asked
    again = solve(tmp_path / "c", problem=Counting(n_var=4))
    assert asked == Counting.n_asked == 48
    assert np.array_equal(first.F, again.F)
    assert (again.n_eval, again.n_eval_resumed) == (48, 48)
    assert again.message == first.message


def test_the_callers_callback_has_the_state_of_the_whole_run(begun):
    callback = Cut()
    res = solve(begun, callback=callback)
    assert res.algorithm.callback is callback
    assert callback.seen == [1, 2, 3, 4, 5, 6]
    assert res.n_eval_resumed == 16


def test_a_recorder_goes_on(tmp_path):
    problem = ZDT1(n_var=4)

    class CutRecorder(Recorder):
        def notify(self, algorithm):
            super().notify(algorithm)
            if algorithm.n_gen == POWER["off"]:
                raise PowerCut

    whole, resumed = (CutRecorder(Reference.of(problem)) for _ in range(2))
    solve(None, callback=whole)
    with pytest.raises(PowerCut):
        solve(tmp_path / "c", callback=CutRecorder(Reference.of(problem)), cut=4)
    solve(tmp_path / "c", callback=resumed)
    a, b = whole.curves(), resumed.curves()
    for name in ("n_eval", "igd", "hv"):
        assert np.array_equal(a[name], b[name])
    assert (np.diff(b["seconds"]) >= 0).all()
    assert b["seconds"][-1] < 60


def test_time_counts_over_all_parts(tmp_path):
    times = []

    def slow(algorithm):
        time.sleep(0.3)
        times.append(time.time() - algorithm.start_time)
        if algorithm.n_gen == 3:
            raise PowerCut

    for _ in range(2):
        with pytest.raises(PowerCut):
            minimize(
                ZDT1(n_var=4),
                NSGA2(pop_size=8),
                ("seconds", 30),
                seed=1,
                callback=slow,
                checkpoint=tmp_path / "c",
                checkpoint_every=1,
            )
    # Generations 1 to 3, and the third once more: two of the first part count in the second.
    assert len(times) == 4
    assert times[3] > 0.9


def test_constraints_archives_and_non_finite_values_are_kept(tmp_path):
    from pymoo.util.archive import MultiObjectiveArchive

    class Sick(BNH):
        def _evaluate(self, x, out, *args, **kwargs):
            super()._evaluate(x, out)
            out["F"][x[:, 0] > 4] = np.nan

    def run(path, cut):
        return solve(path, cut=cut, problem=Sick(), archive=MultiObjectiveArchive())

    whole = run(None, None)
    with pytest.raises(PowerCut):
        run(tmp_path / "c", 4)
    parts = run(tmp_path / "c", None)
    assert whole.n_nonfinite == parts.n_nonfinite > 0
    for name in ("X", "F", "G", "CV", "X_nonfinite"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))
    assert np.array_equal(whole.archive.get("F"), parts.archive.get("F"))
    assert type(parts.archive) is MultiObjectiveArchive


def test_mixed_variables_are_kept(tmp_path):
    class Mixed(ElementwiseProblem):
        def __init__(self):
            names = {
                "a": Real(bounds=(0, 1)),
                "b": Integer(bounds=(0, 9)),
                "c": Choice(options="uv"),
            }
            names["c"].options = ["u", "v"]
            super().__init__(vars=names, n_obj=1)

        def _evaluate(self, x, out, *args, **kwargs):
            out["F"] = x["a"] + x["b"] + (x["c"] == "u")

    def run(path, cut):
        return solve(path, cut=cut, problem=Mixed(), algorithm=MixedVariableGA(pop_size=8))

    whole = run(None, None)
    with pytest.raises(PowerCut):
        run(tmp_path / "c", 4)
    assert repr(list(whole.pop.get("X"))) == repr(list(run(tmp_path / "c", None).pop.get("X")))


DIFFERENT = {
    "seed": ({"seed": 2}, "algorithm.seed is 1 in the checkpoint, 2 now"),
    "termination": ({"n_gen": 9}, "algorithm.termination.n_max_gen is 6 in the checkpoint, 9 now"),
    "population": ({"algorithm": NSGA2(pop_size=9)}, "algorithm.pop_size is 8 in"),
    "algorithm": ({"algorithm": CMAES()}, "algorithm is NSGA2 in the checkpoint, CMAES now"),
    "operator": (
        {"algorithm": NSGA2(pop_size=8, mutation=PM(eta=3))},
        "algorithm.mating.mutation.eta.value is 20 in the checkpoint, 3 now",
    ),
    "size": ({"problem": ZDT1(n_var=5)}, "algorithm.problem.n_var is 4 in the checkpoint, 5 now"),
    "history": ({"save_history": "light"}, "save_history is None in the checkpoint, 'light' now"),
    "callback": ({"callback": Callback()}, "algorithm.callback is Cut in the checkpoint, Callback"),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_a_checkpoint_of_another_run_is_refused_and_the_difference_named(begun, name):
    change, text = DIFFERENT[name]
    before = begun.read_bytes()
    with pytest.raises(CheckpointError) as caught:
        solve(begun, **change)
    assert text in str(caught.value)
    assert begun.read_bytes() == before


def test_another_problem_of_the_same_size_is_told_apart(tmp_path):
    from evogen.experiment.lookup import get_problem

    for k, seed in enumerate((1, 2)):
        problem = get_problem("zdt1-shifted", n_var=4, seed=seed)
        if k == 0:
            solve(tmp_path / "c", problem=problem, n_gen=2)
        else:
            with pytest.raises(CheckpointError, match="problem"):
                solve(tmp_path / "c", problem=problem, n_gen=2)


def test_without_a_seed_the_drawn_one_is_kept(tmp_path):
    with pytest.raises(PowerCut):
        solve(tmp_path / "c", cut=3, seed=None)
    copy = (tmp_path / "c").read_bytes()
    a = solve(tmp_path / "c", seed=None)
    (tmp_path / "c").write_bytes(copy)
    assert np.array_equal(a.F, solve(tmp_path / "c", seed=None).F)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_checkpoint_is_an_error_that_names_the_one_before(begun, keep):
    raw = begun.read_bytes()
    begun.write_bytes(raw[: int(len(raw) * keep)])
    with pytest.raises(
        CheckpointError, match=r"damaged or none of ours.*the one before it is .*\.1"
    ):
        solve(begun)
    os.replace(f"{begun}.1", begun)
    assert np.array_equal(solve(begun).F, solve(None).F)


def test_any_flipped_byte_is_found_or_harmless(begun):
    raw = begun.read_bytes()
    expected = solve(None).F
    rng = np.random.default_rng(0)
    n_found = 0
    for at in rng.integers(len(raw), size=25):
        damaged = bytearray(raw)
        damaged[at] ^= 1 << int(rng.integers(8))
        begun.write_bytes(damaged)
        try:
            assert np.array_equal(solve(begun).F, expected)
        except CheckpointError:
            n_found += 1
    assert n_found >= 20


def test_other_files_are_no_checkpoints(tmp_path):
    path = tmp_path / "c"
    for content in (b"", b"hello", b"PK\x05\x06" + bytes(18)):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="none of ours"):
            solve(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("state.json", "{}")
        archive.writestr("arrays.bin", bytes(10**6))
    with pytest.raises(CheckpointError, match="no checkpoint of evogen"):
        solve(path)


def test_a_hostile_file_runs_nothing(begun, tmp_path):
    """Every class and function in the graph replaced by one that would leave a trace."""
    with zipfile.ZipFile(begun) as archive:
        text = archive.read("state.json").decode()
        data = archive.read("arrays.bin")
    trace = tmp_path / "trace"
    names = ["os:system", "subprocess:Popen", "builtins:exec", "posix:system", "runpy:run_path"]
    for name in names:
        bad = text.replace('"pymoo.core.individual:Individual"', f'"{name}"')
        bad = bad.replace('"numpy.sum"', f'"{name.replace(":", ".")}"')
        bad = bad.replace('"_X"', f'"touch {trace}"')
        assert bad != text
        with zipfile.ZipFile(begun, "w") as archive:
            archive.writestr("state.json", bad)
            archive.writestr("arrays.bin", data)
        with pytest.raises(CheckpointError):
            solve(begun)
    assert not trace.exists()


def test_what_cannot_be_written_is_said_after_the_first_generation(tmp_path):
    class Counting(Sphere):
        n_calls = 0

        def _evaluate(self, x, out, *args, **kwargs):
            Counting.n_calls += 1
            super()._evaluate(x, out)

    with pytest.raises(CheckpointError, match=r"algorithm\.es is a builtins\.generator"):
        solve(tmp_path / "c", problem=Counting(n_var=3), algorithm=CMAES(), n_gen=50)
    assert Counting.n_calls <= 2
    with pytest.raises(ValueError, match="save_history"):
        solve(tmp_path / "c", save_history=True)


def test_a_disk_that_is_full_later_costs_the_checkpoint_and_not_the_run(tmp_path, monkeypatch):
    replace, n_calls = os.replace, []

    def full(*args):
        n_calls.append(args)
        if len(n_calls) > 1:
            raise OSError(28, "No space left on device")
        replace(*args)

    monkeypatch.setattr(checkpoint_module.os, "replace", full)
    with pytest.warns(UserWarning, match="No space left"):
        res = solve(tmp_path / "c")
    assert np.array_equal(res.F, solve(None).F)
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".tmp"] == []


def test_other_versions_of_packages_are_warned_of(begun, monkeypatch):
    real = checkpoint_module.metadata.version
    monkeypatch.setattr(
        checkpoint_module.metadata, "version", lambda name: "0.1" if name == "numpy" else real(name)
    )
    with pytest.warns(UserWarning, match=r"was written with numpy .*, here is 0\.1"):
        solve(begun)


@pytest.mark.parametrize(
    "every", [0, -1, ("seconds", 0), ("n_gen", 1.5), True, "often", ("days", 1)]
)
def test_a_senseless_interval_is_refused(tmp_path, every):
    with pytest.raises((TypeError, ValueError), match="checkpoint_every"):
        Checkpoint(tmp_path / "c", every)


def test_a_path_that_cannot_be_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is a folder"):
        solve(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        solve(tmp_path / "no" / "c")


def test_it_is_written_as_often_as_asked(tmp_path, monkeypatch):
    written = []
    real = Checkpoint._write
    monkeypatch.setattr(
        Checkpoint, "_write", lambda self, last: (written.append(last), real(self, last))
    )
    solve(tmp_path / "a", checkpoint_every=3, n_gen=7)
    assert written == [False, False, False, True]  # generations 1, 3, 6 and 7
    written.clear()
    solve(tmp_path / "b", checkpoint_every=("seconds", 1000), n_gen=7)
    assert written == [False, True]


def test_an_algorithm_that_has_begun_is_refused(tmp_path):
    algorithm = NSGA2(pop_size=8).setup(ZDT1(n_var=4), seed=1, termination=("n_gen", 3))
    with pytest.raises(ValueError, match="has not been set up"):
        minimize(ZDT1(n_var=4), algorithm, copy_algorithm=False, checkpoint=tmp_path / "c")


# -- other processes -----------------------------------------------------------------------------


def process(code):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_killed_process_is_continued_by_the_same_call(tmp_path):
    path = tmp_path / "run.ckpt"
    child = process(f"""
        import time
        from pymoo.algorithms.moo.nsga2 import NSGA2
        from pymoo.problems.multi import ZDT1
        from evogen.experiment import minimize

        def slow(algorithm):
            time.sleep(0.01)

        minimize(ZDT1(n_var=5), NSGA2(pop_size=8), ("n_gen", 100000), seed=1,
                 callback=slow, checkpoint={str(path)!r}, checkpoint_every=1)
    """)
    deadline = time.monotonic() + 60
    while not path.with_name("run.ckpt.1").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()

    def slow(algorithm):
        seen.append(algorithm.n_gen)
        if len(seen) == 3:
            raise PowerCut

    seen = []

    def again():
        return minimize(
            ZDT1(n_var=5),
            NSGA2(pop_size=8),
            ("n_gen", 100000),
            seed=1,
            callback=slow,
            checkpoint=path,
            checkpoint_every=1,
        )

    name, slow.__qualname__ = slow.__qualname__, "another"
    with pytest.raises(CheckpointError, match="callback is slow in the checkpoint, another now"):
        again()
    assert name.endswith("slow")
    slow.__qualname__ = "slow"
    with pytest.raises(PowerCut):
        again()
    assert seen[0] > 1
    assert seen == list(range(seen[0], seen[0] + 3))
