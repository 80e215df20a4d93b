import json
import sqlite3

import numpy as np
import pytest

from evogen.experiment import Cell, Outcome, Spec, Store, StoreError
from evogen.experiment import store as store_module


def cell(seed=1, problem="zdt1", algorithm="nsga2", **settings):
    return Cell(Spec(problem, problem), Spec(algorithm, algorithm, settings), seed, 20, 100)


def outcome(value=0.5, **changes):
    arrays = {
        "result": {"X": np.arange(6.0).reshape(3, 2), "F": np.ones((3, 2))},
        "curves": {"n_eval": np.array([20.0, 40.0]), "igd": np.array([1.0, value])},
    }
    return Outcome(
        "done",
        n_var=2,
        n_obj=2,
        n_eval=100,
        n_nonfinite=0,
        cpu_seconds=0.1,
        wall_seconds=0.2,
        indicators={"igd": value, "igd_plus": value / 2, "hv": None},
        reference={"hv_point": [1.1, 1.1]},
        machine={"versions": {"evogen": "0"}},
        arrays=arrays,
        **changes,
    )


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "runs.db") as store:
        yield store


def test_a_cell_comes_back_as_it_went_in(store):
    store.save(cell(algorithm="gmoea", share=0.3), outcome(0.25, warnings=["careful"]))
    with Store(store.path) as again:
        (row,) = again.cells()
        arrays = again.arrays(row.key, "result")
        curves = again.arrays(row.key, "curves")
    assert (row.problem, row.algorithm, row.seed) == ("zdt1", "gmoea", 1)
    assert (row.pop_size, row.budget, row.n_eval) == (20, 100, 100)
    assert (row.igd, row.igd_plus, row.hv) == (0.25, 0.125, None)
    assert row.spec["algorithm"] == {"name": "gmoea", "settings": {"share": 0.3}}
    assert row.reference == {"hv_point": [1.1, 1.1]}
    assert row.warnings == ["careful"]
    assert np.array_equal(arrays["X"], np.arange(6.0).reshape(3, 2))
    assert curves["igd"].tolist() == [1.0, 0.25]


def test_only_the_arrays_that_are_wanted_are_read(store):
    store.save(cell(), outcome(0.25))
    key = cell().key
    assert store.arrays(key, "curves", ["igd", "hv"]).keys() == {"igd"}
    assert store.arrays(key, "curves", only=("igd",))["igd"].tolist() == [1.0, 0.25]
    assert store.arrays(key, "result", only=()) == {}
    with pytest.raises(KeyError, match="holds no 'history'"):
        store.arrays(key, "history", only=["igd"])
    with pytest.raises(TypeError, match=r"only='igd' must be several names, e.g. \['igd'\]"):
        store.arrays(key, "curves", only="igd")


def test_infinite_indicators_are_kept(store):
    store.save(cell(), outcome(np.inf))
    assert store.cells()[0].igd == np.inf


def test_a_failed_cell_keeps_its_traceback(store):
    store.save(cell(), Outcome("failed", error="ValueError: no", traceback="Traceback ..."))
    (row,) = store.cells("failed")
    assert (row.error, row.traceback) == ("ValueError: no", "Traceback ...")
    assert store.cells("done") == []
    with pytest.raises(KeyError, match="holds no 'result'"):
        store.arrays(row.key, "result")


def test_saving_again_replaces_row_and_arrays(store):
    store.save(cell(), outcome(0.5))
    store.save(cell(), outcome(0.1))
    (row,) = store.cells()
    assert row.igd == 0.1
    assert store.arrays(row.key, "curves")["igd"][-1] == 0.1
    store.save(cell(), Outcome("failed", error="later"))
    with pytest.raises(KeyError):
        store.arrays(row.key, "curves")


def test_a_save_that_fails_half_way_leaves_nothing(store):
    bad = outcome()
    bad.arrays["odd"] = {"X": np.array([{}], dtype=object)}
    with pytest.raises(TypeError, match="arrays of objects"):
        store.save(cell(), bad)
    store._connection.execute(
        "CREATE TRIGGER no BEFORE INSERT ON arrays BEGIN SELECT raise(ABORT, 'full'); END"
    )
    with pytest.raises(StoreError, match="full"):
        store.save(cell(), outcome())
    assert store.cells() == []


def test_cells_come_in_an_order_that_does_not_depend_on_when_they_ran(tmp_path):
    cells = [cell(seed, algorithm=a) for seed in (3, 1, 2) for a in ("b", "a")]
    orders = []
    for name, sequence in (("one.db", cells), ("two.db", cells[::-1])):
        with Store(tmp_path / name) as store:
            for c in sequence:
                store.save(c, outcome())
            orders.append([row.key for row in store.cells()])
    assert orders[0] == orders[1]


def test_two_processes_may_write_at_once(tmp_path):
    with Store(tmp_path / "runs.db") as one, Store(tmp_path / "runs.db") as two:
        one.save(cell(1), outcome())
        two.save(cell(2), outcome())
        one.save(cell(3), outcome())
        assert len(one.statuses()) == len(two.statuses()) == 3


def test_labels_keep_the_order_of_their_first_mention(store):
    store.remember_order("algorithm", ["nsga2", "gmoea"])
    store.remember_order("algorithm", ["spea2", "gmoea"])
    store.remember_order("problem", ["zdt1"])
    assert store.order("algorithm") == ["nsga2", "gmoea", "spea2"]
    assert store.order("problem") == ["zdt1"]


def test_relabelling_changes_labels_only(store):
    store.save(cell(share=0.5), outcome())
    renamed = Cell(Spec("ZDT1", "zdt1"), Spec("half", "nsga2", {"share": 0.5}), 1, 20, 100)
    assert renamed.key == cell(share=0.5).key
    store.relabel([renamed])
    (row,) = store.cells()
    assert (row.problem, row.algorithm, row.igd) == ("ZDT1", "half", 0.5)


def test_fronts_are_kept_by_problem_and_population(store):
    spec = cell().problem.describe()
    assert not store.has_front(spec, 20)
    assert store.front(spec, 20) == (None, None)
    store.save_front(spec, 20, np.eye(2), 0.01)
    store.save_front(spec, 50, None, None)
    front, floor = store.front(spec, 20)
    assert np.array_equal(front, np.eye(2))
    assert floor == 0.01
    assert store.has_front(spec, 50)
    assert store.front(spec, 50) == (None, None)


def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("these are not results, they are notes")
    with pytest.raises(StoreError, match="not an SQLite file"):
        Store(text)
    assert text.read_text().startswith("these are not")
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE songs (name TEXT)")
    before = other.read_bytes()
    with pytest.raises(StoreError, match="SQLite file of something else"):
        Store(other)
    assert other.read_bytes() == before
    with pytest.raises(StoreError, match="is a folder"):
        Store(tmp_path)


def test_a_missing_file_or_folder_is_said_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="no store"):
        Store(tmp_path / "runs.db", must_exist=True)
    assert not (tmp_path / "runs.db").exists()
    with pytest.raises(FileNotFoundError, match="no folder"):
        Store(tmp_path / "nowhere" / "runs.db")


def test_a_file_that_cannot_be_opened_is_said_so(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(store_module.sqlite3, "connect", refuse)
    with pytest.raises(StoreError, match=r"runs.db cannot be used: unable to open"):
        Store(tmp_path / "runs.db")


def test_a_damaged_file_is_detected(tmp_path):
    path = tmp_path / "runs.db"
    with Store(path) as store:
        for seed in range(30):
            store.save(cell(seed), outcome())
    raw = bytearray(path.read_bytes())
    for start in range(4096, len(raw), 4096):
        raw[start : start + 64] = b"\xff" * 64
    path.write_bytes(raw)
    with pytest.raises(StoreError, match="damaged"):
        Store(path)


def test_a_truncated_file_is_detected(tmp_path):
    path = tmp_path / "runs.db"
    with Store(path) as store:
        for seed in range(30):
            store.save(cell(seed), outcome())
    path.write_bytes(path.read_bytes()[: 4096 * 2 + 100])
    with pytest.raises(StoreError, match="damaged"), Store(path) as store:
        store.cells()


def test_damaged_arrays_are_detected(store):
    store.save(cell(), outcome())
    key = cell().key
    (blob,) = store._connection.execute("SELECT npz FROM arrays WHERE name = 'result'").fetchone()
    for bad in (blob[: len(blob) // 2], b"", b"\x00" * 100, bytes([blob[0]]) + blob[:40]):
        store._connection.execute("UPDATE arrays SET npz = ?", (bad,))
        with pytest.raises(StoreError, match="'result' of the cell"):
            store.arrays(key, "result")


def test_pickled_arrays_of_a_hostile_store_are_not_opened(store):
    import io

    store.save(cell(), outcome())
    buffer = io.BytesIO()
    np.savez(buffer, X=np.array([{"a": 1}], dtype=object))
    store._connection.execute("UPDATE arrays SET npz = ?", (buffer.getvalue(),))
    store_module.seal(store._connection, "arrays")
    with pytest.raises(StoreError, match=r"cannot be read .*allow_pickle"):
        store.arrays(cell().key, "result")


def test_a_store_of_a_newer_version_is_refused(tmp_path):
    path = tmp_path / "runs.db"
    Store(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {store_module.SCHEMA_VERSION + 1}")
    with pytest.raises(StoreError, match="newer evogen"):
        Store(path)


def test_an_older_store_is_migrated_wholly_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "runs.db"
    with Store(path) as store:
        store.save(cell(), outcome())
    now = store_module.SCHEMA_VERSION

    def add_column(connection):
        connection.execute("ALTER TABLE cells ADD COLUMN memory REAL")

    def fail(connection):
        connection.execute("ALTER TABLE cells ADD COLUMN other REAL")
        raise sqlite3.OperationalError("disk full")

    monkeypatch.setattr(store_module, "SCHEMA_VERSION", now + 2)
    monkeypatch.setattr(store_module, "MIGRATIONS", {now: add_column, now + 1: fail})
    with pytest.raises(StoreError, match="disk full"):
        Store(path)
    monkeypatch.setattr(store_module, "SCHEMA_VERSION", now)
    with Store(path) as store:
        assert store._marks()[1] == now
    monkeypatch.setattr(store_module, "SCHEMA_VERSION", now + 1)
    with Store(path) as store:
        assert store._marks()[1] == now + 1
        assert len(store.cells()) == 1
        assert store._connection.execute("SELECT memory FROM cells").fetchone() == (None,)


def test_specs_and_machine_are_plain_json(store):
    store.save(cell(), outcome())
    row = store._connection.execute("SELECT spec, machine, reference FROM cells").fetchone()
    assert json.loads(row[0])["seed"] == 1
    assert json.loads(row[1])["versions"]["evogen"] == "0"


#: The statements with which version 1 made its tables.
VERSION_1 = (
    """
    CREATE TABLE cells (
        key            TEXT PRIMARY KEY,
        problem        TEXT NOT NULL,
        algorithm      TEXT NOT NULL,
        seed           INTEGER NOT NULL,
        pop_size       INTEGER NOT NULL,
        budget         INTEGER NOT NULL,
        spec           TEXT NOT NULL,
        status         TEXT NOT NULL CHECK (status IN ('done', 'failed')),
        error          TEXT,
        traceback      TEXT,
        warnings       TEXT NOT NULL,
        n_var          INTEGER,
        n_obj          INTEGER,
        n_eval         INTEGER,
        n_nonfinite    INTEGER,
        cpu_seconds    REAL,
        wall_seconds   REAL,
        igd            REAL,
        igd_plus       REAL,
        hv             REAL,
        reference      TEXT NOT NULL,
        machine        TEXT NOT NULL,
        finished_at    TEXT NOT NULL
    )
    """,
    """
    CREATE INDEX cells_by_label ON cells (problem, algorithm, seed)
    """,
    """
    CREATE TABLE labels (
        kind      TEXT NOT NULL CHECK (kind IN ('problem', 'algorithm')),
        label     TEXT NOT NULL,
        position  INTEGER NOT NULL,
        PRIMARY KEY (kind, label)
    )
    """,
    """
    CREATE TABLE fronts (
        problem   TEXT NOT NULL,
        pop_size  INTEGER NOT NULL,
        floor     REAL,
        npz       BLOB,
        PRIMARY KEY (problem, pop_size)
    )
    """,
    """
    CREATE TABLE arrays (
        key   TEXT NOT NULL REFERENCES cells (key) ON DELETE CASCADE,
        name  TEXT NOT NULL,
        npz   BLOB NOT NULL,
        PRIMARY KEY (key, name)
    )
    """,
)


def version_1(path):
    """A store as the first version wrote it, with a finished and a failed cell and a front."""
    import io

    def pack(**arrays):
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        return buffer.getvalue()

    connection = sqlite3.connect(path)
    for statement in VERSION_1:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {store_module.APPLICATION_ID}")
    connection.execute("PRAGMA user_version = 1")
    for seed, status, igd in ((1, "done", 0.1 + 0.2), (2, "failed", None)):
        spec = json.dumps(cell(seed).describe(), sort_keys=True)
        row = [cell(seed).key, "zdt1", "nsga2", seed, 20, 100, spec, status]
        row += ["no" if igd is None else None, None, "[]", 2, 2, 100, 0, 0.1, 1, igd, None, None]
        row += ['{"hv_point": [1.1]}', '{"versions": {}}', "2025-01-01T00:00:00+00:00"]
        connection.execute(f"INSERT INTO cells VALUES ({', '.join('?' * 23)})", row)
    blobs = (cell(1).key, "result", pack(X=np.arange(4.0)))
    connection.execute("INSERT INTO arrays VALUES (?, ?, ?)", blobs)
    problem = json.dumps(cell().problem.describe(), sort_keys=True)
    connection.execute(
        "INSERT INTO fronts VALUES (?, 20, 0.5, ?)", (problem, pack(front=np.eye(2)))
    )
    connection.execute("INSERT INTO labels VALUES ('problem', 'zdt1', 1)")
    connection.commit()
    connection.close()


def test_a_store_of_version_1_becomes_one_of_today(tmp_path):
    version_1(tmp_path / "old.db")
    with Store(tmp_path / "old.db") as store:
        done, failed = store.cells()
        assert (done.status, done.igd, done.wall_seconds) == ("done", 0.1 + 0.2, 1.0)
        assert (failed.status, failed.error) == ("failed", "no")
        assert (done.peak_memory, done.engine, done.host) == (None, None, None)
        assert store.arrays(done.key, "result")["X"].tolist() == [0, 1, 2, 3]
        front, floor = store.front(cell().problem.describe(), 20)
        assert (front.tolist(), floor) == ([[1, 0], [0, 1]], 0.5)
        assert store.order("problem") == ["zdt1"]
        assert store.statuses() == {cell(1).key: "done", cell(2).key: "failed"}
        # It is written to like any other.
        store.save(cell(2), outcome(0.75, peak_memory=10**9, engine="ray", host="there"))
    with Store(tmp_path / "old.db") as store:
        new = store.cells("done")[1]
        assert (new.igd, new.peak_memory, new.engine, new.host) == (0.75, 10**9, "ray", "there")


def test_a_migrated_store_has_the_tables_of_a_new_one(tmp_path):
    def tables(path):
        with Store(path) as store:
            names = store._connection.execute("SELECT name FROM sqlite_master ORDER BY name")
            return {
                name: [row[1:3] for row in store._connection.execute(f"PRAGMA table_info({name})")]
                for (name,) in names.fetchall()
            }

    version_1(tmp_path / "old.db")
    assert tables(tmp_path / "old.db") == tables(tmp_path / "new.db")


def test_the_digest_covers_every_column_but_itself(store):
    for table, sealed in store_module.SEALED.items():
        columns = [r[1] for r in store._connection.execute(f"PRAGMA table_info({table})")]
        assert {*sealed.split(", "), "digest"} == set(columns)
    assert store_module.SEALED["cells"].split(", ") == list(
        store_module.StoredCell.__dataclass_fields__
    )


@pytest.mark.parametrize(
    ("change", "read"),
    [
        ("UPDATE cells SET igd = 0.49", Store.cells),
        ("UPDATE cells SET problem = 'zdt2'", Store.cells),
        ("UPDATE cells SET status = 'failed'", Store.statuses),
        ("UPDATE cells SET spec = replace(spec, 'zdt1', 'zdt2')", Store.cells),
        ("UPDATE arrays SET name = 'curves' WHERE name = 'result'", lambda s: list(s.blobs())),
        ("UPDATE fronts SET floor = 1.0", Store.fronts),
    ],
)
def test_a_changed_row_is_detected(store, change, read):
    store.save(cell(), outcome())
    store.save_front(cell().problem.describe(), 20, np.eye(2), 0.5)
    read(store)
    if "curves" in change:
        store._connection.execute("DELETE FROM arrays WHERE name = 'curves'")
    store._connection.execute(change)
    with pytest.raises(StoreError, match=r"damaged: .* cannot be read"):
        read(store)


def everything(path):
    with Store(path) as store:
        fronts = [(p, n, f.tobytes(), low) for p, n, f, low in store.fronts()]
        return store.cells(), list(store.blobs()), fronts


def test_no_flipped_byte_is_taken_for_a_result(tmp_path):
    path = tmp_path / "runs.db"
    with Store(path) as store:
        for seed in range(12):
            store.save(cell(seed), outcome(seed / 7))
        store.save_front(cell().problem.describe(), 20, np.eye(2), 0.5)

    right = everything(path)
    raw = path.read_bytes()
    rng = np.random.default_rng(0)
    found = 0
    for at in rng.choice(len(raw), 150, replace=False):
        broken = bytearray(raw)
        broken[at] ^= 1 << int(rng.integers(8))
        other = tmp_path / f"{at}.db"
        other.write_bytes(broken)
        try:
            # Bytes that nothing uses may change.
            assert everything(other) == right
        except StoreError:
            found += 1
        other.unlink()
    assert found > 30


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_a_file_cut_anywhere_is_detected(tmp_path, share):
    path = tmp_path / "runs.db"
    with Store(path) as store:
        for seed in range(30):
            store.save(cell(seed), outcome())
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * share)])
    with pytest.raises(StoreError, match="damaged"):
        everything(path)


def test_many_cells_are_written_all_or_none(store):
    bad = outcome()
    bad.arrays["odd"] = {"X": np.array([{}], dtype=object)}
    with pytest.raises(TypeError, match="arrays of objects"):
        store.save_all([(cell(1), outcome()), (cell(2), bad)])
    assert store.cells() == []
    store.save_all([(cell(1), outcome()), (cell(2), outcome())])
    assert len(store.cells()) == 2
