"""The three floors of the house: who may import whom, and what nobody may do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GROUND = {"models", "operators", "multitask", "visualization"}
MIDDLE = {"algorithms", "experiment"}
#: problems stands at the top of the repository and is installed as evogen.problems.
ROOMS = GROUND | MIDDLE | {"problems", "cli"}
#: What each room may import of the others. `problems` is reached by name only, never imported.
ALLOWED = {room: set() for room in GROUND | {"problems"}} | {
    "algorithms": GROUND | {"algorithms"},
    "experiment": GROUND | {"algorithms", "experiment"},
    "cli": GROUND | MIDDLE,
    # The package itself: its version, `minimize`, and shortcuts.
    "": GROUND | MIDDLE,
}
FILES = sorted((*ROOT.glob("evogen/**/*.py"), *ROOT.glob("problems/**/*.py")))
BY_NAME = {str(path.relative_to(ROOT)): path for path in FILES}


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[0] == "problems":
        return "problems"
    # The command line is the script and the package run as a module.
    if parts[1] in ("cli", "__main__"):
        return "cli"
    return parts[1] if len(parts) > 2 else ""


def module_of(path: Path) -> list[str]:
    """Package that holds a file, as a dotted name in parts."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return (["evogen", *parts] if parts[0] == "problems" else parts)[:-1]


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """Every (absolute module, name) that a file imports; the name is empty for `import module`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module_of(path)[: len(module_of(path)) - node.level + 1] if node.level else []
            module = ".".join([*package, *([node.module] if node.module else [])])
            yield from ((module, alias.name) for alias in node.names)


def target_room(module: str, name: str) -> str | None:
    """Room that an import of ours goes to; None for other packages."""
    parts = [*module.split("."), name]
    if parts[0] != "evogen":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS else ""


def dotted_names(path: Path) -> Iterator[str]:
    """Every plain dotted name that a file mentions, e.g. `np.random.seed`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        name = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
        if re.fullmatch(r"\w+(\.\w+)+", name):
            yield name


def is_private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def test_the_house_is_there() -> None:
    rooms = {room_of(path) for path in FILES}
    assert {"models", "operators", "visualization", "problems", "algorithms", "experiment"} <= rooms
    assert len(FILES) > 30


@pytest.mark.parametrize("name", BY_NAME)
def test_no_import_goes_up_or_across(name: str) -> None:
    room = room_of(BY_NAME[name])
    for module, imported in imports(BY_NAME[name]):
        target = target_room(module, imported)
        if target is None or target == room:
            continue
        if target == "":
            # The package's top holds nothing that a room may lean on, but its version.
            allowed = module == "evogen._version" or room in ("", "cli")
            assert allowed, f"{name} imports {imported} of {module}"
            continue
        assert target in ALLOWED[room], f"{name} ({room}) imports {module} ({target})"


@pytest.mark.parametrize("name", [n for n in BY_NAME if n.startswith("problems")])
def test_problems_import_nothing_of_evogen_but_themselves(name: str) -> None:
    for module, imported in imports(BY_NAME[name]):
        assert target_room(module, imported) in (None, "problems"), f"{module}.{imported}"
    assert "from evogen" not in BY_NAME[name].read_text(encoding="utf-8"), "use relative imports"


@pytest.mark.parametrize("name", BY_NAME)
def test_no_private_name_crosses_a_room(name: str) -> None:
    room = room_of(BY_NAME[name])
    for module, imported in imports(BY_NAME[name]):
        if module == "evogen._version" and imported == "__version__":
            continue
        target = target_room(module, imported)
        if target is not None and target != room:
            private = [part for part in [*module.split("."), imported] if is_private(part)]
            assert not private, f"{name} imports {module}.{imported}"


def test_operators_know_no_model_class() -> None:
    """A stranger's model is as good as ours: only the two-method contract counts."""
    for name, path in BY_NAME.items():
        if room_of(path) == "operators":
            assert not any(module.startswith("evogen.models") for module, _ in imports(path)), name


@pytest.mark.parametrize("name", BY_NAME)
def test_no_heavy_or_unsafe_package_is_used(name: str) -> None:
    path = BY_NAME[name]
    packages = {module.split(".")[0] for module, _ in imports(path)}
    assert not packages & {"torchvision", "torchaudio", "pickle", "cPickle", "dill", "cloudpickle"}
    assert not {(m, n) for m, n in imports(path)} & {("torch", "load"), ("torch", "save")}
    for used in dotted_names(path):
        assert used not in {"torch.load", "torch.save"}, f"{name} uses {used}"
    source = path.read_text(encoding="utf-8")
    assert not re.search(r"allow_pickle\s*=\s*True", source), f"{name} lets numpy unpickle"


@pytest.mark.parametrize("name", BY_NAME)
def test_no_global_random_state_is_touched(name: str) -> None:
    path = BY_NAME[name]
    allowed = {"default_rng", "Generator", "SeedSequence", "BitGenerator", "PCG64", "PCG64DXSM"}
    seeding = {"manual_seed", "manual_seed_all", "seed", "seed_all", "set_rng_state"}
    for used in dotted_names(path):
        parts = used.split(".")
        if parts[:2] in (["np", "random"], ["numpy", "random"]) and len(parts) > 2:
            assert parts[2] in allowed, f"{name} uses {used}"
        assert parts[0] != "torch" or parts[-1] not in seeding, f"{name} uses {used}"
    for module, imported in imports(path):
        assert module.split(".")[0] != "random", f"{name} uses the random module"
        assert module != "numpy.random" or imported in allowed, f"{name} uses {module}.{imported}"
        assert not (module.startswith("torch") and imported in seeding), f"{name}: {imported}"


@pytest.mark.parametrize("name", BY_NAME)
def test_nothing_is_left_to_be_written(name: str) -> None:
    source = BY_NAME[name].read_text(encoding="utf-8")
    for word in ("TODO", "FIXME", "XXX", "NotImplementedError"):
        assert word not in source, f"{name} says {word}"


@pytest.mark.parametrize("name", BY_NAME)
def test_a_file_is_read_in_one_sitting(name: str) -> None:
    assert len(BY_NAME[name].read_text(encoding="utf-8").splitlines()) <= 500


def test_the_rules_find_what_they_forbid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test of these tests: a room that breaks every rule is caught."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    bad = tmp_path / "evogen" / "operators" / "bad.py"
    bad.parent.mkdir(parents=True)
    bad.write_text(
        "import pickle\nimport random\nimport torch\nimport numpy as np\n"
        "from ..models.gan import _hidden\nfrom evogen.algorithms import GMOEA\n"
        "np.random.seed(1)\ntorch.manual_seed(1)\ntorch.load('x')\n",
        encoding="utf-8",
    )
    assert room_of(bad) == "operators"
    targets = {target_room(*pair) for pair in imports(bad)}
    assert targets == {None, "models", "algorithms"}
    monkeypatch.setitem(BY_NAME, "bad", bad)
    for rule in (
        test_no_import_goes_up_or_across,
        test_no_private_name_crosses_a_room,
        test_no_heavy_or_unsafe_package_is_used,
        test_no_global_random_state_is_touched,
    ):
        with pytest.raises(AssertionError):
            rule("bad")
