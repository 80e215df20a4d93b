"""Problems by name: ours, pymoo's, and whatever is registered; suites of them; shifted twins."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pymoo.problems.many as many
import pymoo.problems.multi as multi
import pymoo.problems.single as single
from pymoo.core.problem import Problem

from . import cec19_mtmo, cec21_mtmo, families, imf, lsmop, matmo, mmf, mtmo, uf
from .base import check_integer
from .competition import TWIN_SHIFT
from .fronts import offline
from .shifted import TWIN, shifted

SEEDED_SUITES = {
    "cec17-mtmo-seeded": mtmo.SEEDED_NAMES,
    "cec21-mtmo-seeded": [f"{name}-seeded" for name in cec21_mtmo.NAMES],
    "cec19-matmo-seeded": [f"{name}-seeded" for name in matmo.NAMES],
}
"""Suites with data of our own where the competition's are needed."""

Factory = Callable[..., Any]


@dataclass(frozen=True)
class _Entry:
    factory: Factory
    suite: str | None
    n_tasks: int = 1
    #: For problems of several tasks: the keyword, and its value, that makes the twin. The tasks
    #: must move together, or what they have in common would be lost.
    twin: tuple[str, Any] = ("shift", TWIN_SHIFT)


_entries: dict[str, _Entry] = {}


# --- the public functions ------------------------------------------------------------------------


def get_problem(name: str, **kwargs: Any) -> Any:
    """The problem of that name.

    Args:
        name: As in `list_problems()`, in any case; `imf1-shifted` is the shifted twin of `imf1`.
        **kwargs: The problem's own keywords (`n_var`, `n_obj`, ... where it has them); for a twin
            also `seed` (default 0) and `fold` (`"smooth"`, `"kinked"`, `"bent"`, `"plain"`);
            a problem of several tasks has `shift` instead, see `mtmo`, or what `families` says.

    Returns:
        A pymoo problem; its `pareto_front(n_pareto_points)` never needs the network. For the names
        in the suites of `list_suites(multitask=True)`, a `TaskSet` of such problems.

    Raises:
        ValueError: Unknown name, or a value out of range.
        TypeError: A keyword that the problem does not take.
    """
    key = _known(name)
    twin = key.endswith(TWIN)
    entry = _entries[key.removesuffix(TWIN)]
    factory = entry.factory
    accepted = _keywords(factory)
    if accepted is not None:
        accepted = [*accepted, "seed", "fold"] if twin and entry.n_tasks == 1 else accepted
        for keyword in kwargs:
            if keyword not in accepted:
                takes = ", ".join(accepted) if accepted else "no keywords"
                hint = f"; did you mean {near[0]!r}?" if (near := _near(keyword, accepted)) else ""
                raise TypeError(f"{name!r} does not take {keyword}=: it takes {takes}{hint}")
    if not twin:
        return factory(**kwargs)
    if entry.n_tasks > 1:
        keyword, value = entry.twin
        return factory(**{keyword: value, **kwargs})
    own = {k: v for k, v in kwargs.items() if k not in ("seed", "fold")}
    how = {k: v for k, v in kwargs.items() if k in ("seed", "fold")}
    return shifted(factory(**own), **how)


def list_suites(*, multitask: bool = False) -> list[str]:
    """Names of the suites; with `-shifted` appended, each stands for its twins.

    Args:
        multitask: Whether suites of problems of several tasks are wanted instead.
    """
    found = [e.suite for e in _entries.values() if e.suite and (e.n_tasks > 1) == multitask]
    both = [*found, *SEEDED_SUITES] if multitask else found
    return list(dict.fromkeys(both))


def list_problems(suite: str | None = None) -> list[str]:
    """Names of all problems, or of those of one suite (or `<suite>-shifted`: their twins).

    Problems of several tasks are listed by their suite only.

    Raises:
        ValueError: Unknown suite.
    """
    if suite is None:
        return [name for name, entry in _entries.items() if entry.n_tasks == 1]
    key = str(suite).strip().lower()
    bare = key.removesuffix(TWIN)
    if bare not in _suites():
        raise ValueError(_unknown("suite", suite, _suites()))
    ending = TWIN if key.endswith(TWIN) else ""
    if bare in SEEDED_SUITES:
        return [name + ending for name in SEEDED_SUITES[bare]]
    return [name + ending for name, entry in _entries.items() if entry.suite == bare]


def count_tasks(name: str) -> int:
    """How many tasks a problem has; 1 for an ordinary one.

    Raises:
        ValueError: Unknown name; near ones are listed.
    """
    return _entries[_known(name).removesuffix(TWIN)].n_tasks


def resolve(names: str | Iterable[str]) -> list[str]:
    """Problem names for a mix of suites and problems, in order, without repeats.

    `["imf", "zdt1", "dtlz-shifted"]` gives imf1 ... imf10, zdt1, dtlz1-shifted ... dtlz7-shifted.

    Raises:
        ValueError: A name that is neither a suite nor a problem; near ones are listed.
    """
    found: list[str] = []
    for name in [names] if isinstance(names, str) else names:
        key = str(name).strip().lower()
        is_suite = key.removesuffix(TWIN) in _suites()
        found += list_problems(key) if is_suite else [_known(name)]
    return list(dict.fromkeys(found))


def register(name: str, factory: Factory, suite: str | None = None) -> None:
    """Add a problem of one's own, for this process.

    Example:
        `register("beam", MyBeam, suite="mine")`, then `get_problem("beam", n_var=8)`,
        `get_problem("beam-shifted")` and `resolve("mine")`.

    Args:
        name: New name; stored in lower case.
        factory: A problem class or function; `get_problem` passes its keywords on and refuses those
            that are not in the signature.
        suite: Suite to join; a new name makes a new suite.

    Raises:
        TypeError: `factory` cannot be called.
        ValueError: The name is taken, empty, has white space or a comma, or ends with "-shifted".
    """
    key = _new_name("name", name)
    group = None if suite is None else _new_name("suite", suite)
    if not callable(factory):
        raise TypeError(f"factory={factory!r} must be callable and return a pymoo Problem")
    if key in _entries or key in _suites() or key == group:
        raise ValueError(f"name={name!r} is taken: choose another")
    if group in _entries:
        raise ValueError(f"suite={suite!r} is the name of a problem: choose another")
    _entries[key] = _Entry(factory, group)


# --- names and keywords --------------------------------------------------------------------------


def _new_name(argument: str, name: str) -> str:
    key = name.strip().lower() if isinstance(name, str) else ""
    if not key or key.endswith(TWIN) or "," in key or len(key.split()) > 1:
        raise ValueError(
            f"{argument}={name!r} must be a word without spaces and commas that does not end with "
            f"{TWIN!r}"
        )
    return key


def _known(name: str) -> str:
    key = str(name).strip().lower()
    if key.removesuffix(TWIN) not in _entries:
        raise ValueError(_unknown("problem", name, [*_entries, *_suites()]))
    return key


def _suites() -> list[str]:
    return [*list_suites(), *list_suites(multitask=True)]


def _near(word: str, known: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(word, list(known), n=5, cutoff=0.5)


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    bare = str(name).strip().lower().removesuffix(TWIN)
    near = _near(bare, known)
    hint = f"near names: {', '.join(near)}" if near else f"suites are {', '.join(list_suites())}"
    return f"unknown {kind} {name!r}; {hint}"


def _keywords(factory: Factory) -> list[str] | None:
    """Names of the keywords a factory takes; None if it takes any."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


# --- factories over pymoo's classes ---------------------------------------------------------------
# pymoo's constructors swallow unknown keywords and do not check ranges; these state and check both.


def _sized(cls: type, n_var_default: int, least: int = 1) -> Factory:
    """Problems with a number of variables only."""

    def make(n_var: int = n_var_default) -> Problem:
        return offline(cls)(n_var=check_integer("n_var", n_var, least))

    return make


def _fixed(cls: type) -> Factory:
    """Problems without any choice."""

    def make() -> Problem:
        return offline(cls)()

    return make


def _dtlz(cls: type, k_default: int, least_k: int = 1) -> Factory:
    """n_var = n_obj - 1 + k; with three objectives pymoo's own default sizes."""

    def make(n_var: int | None = None, n_obj: int = 3, k: int | None = None) -> Problem:
        n_obj = check_integer("n_obj", n_obj, 2)
        if n_var is not None and k is not None:
            raise ValueError(
                f"n_var={n_var!r} and k={k!r}: give one of them, n_var = n_obj - 1 + k"
            )
        if n_var is None:
            n_var = n_obj - 1 + check_integer("k", k_default if k is None else k, least_k)
        n_var = check_integer("n_var", n_var, n_obj - 1 + least_k, f"n_obj={n_obj}")
        return offline(cls)(n_var=n_var, n_obj=n_obj)

    return make


def _wfg(cls: type, even_distance: bool) -> Factory:
    """k position variables (default 4 for two objectives, else 2 (n_obj - 1)), then the others."""

    def make(n_var: int | None = None, n_obj: int = 3, k: int | None = None) -> Problem:
        n_obj = check_integer("n_obj", n_obj, 2)
        k = check_integer("k", max(4, 2 * (n_obj - 1)) if k is None else k, 4)
        if k % (n_obj - 1):
            raise ValueError(f"k={k!r} must be a multiple of n_obj - 1 = {n_obj - 1}")
        n_var = check_integer("n_var", k + 20 if n_var is None else n_var, k + 2, f"k={k}")
        if even_distance and (n_var - k) % 2:
            raise ValueError(f"n_var={n_var!r} must leave an even number of variables beside k={k}")
        return offline(cls)(n_var=n_var, n_obj=n_obj, k=k)

    return make


def _mw_scalable(cls: type) -> Factory:
    def make(n_var: int | None = None, n_obj: int = 3) -> Problem:
        n_obj = check_integer("n_obj", n_obj, 2)
        n_var = n_obj + 12 if n_var is None else n_var
        n_var = check_integer("n_var", n_var, n_obj + 1, f"n_obj={n_obj}")
        return offline(cls)(n_var=n_var, n_obj=n_obj)

    return make


def _dascmop(cls: type) -> Factory:
    """Default difficulty 8, the triplet (0.5, 0.5, 0.5): all three kinds of constraints at work.

    An own triplet whose first number is (nearly) 1 leaves single feasible positions; such a front
    is not known.
    """

    def make(difficulty: int | tuple[float, float, float] = 8) -> Problem:
        if isinstance(difficulty, tuple):
            if len(difficulty) != 3 or not all(0.0 <= d <= 1.0 for d in difficulty):
                raise ValueError(f"difficulty={difficulty!r} must be three numbers in [0, 1]")
        elif check_integer("difficulty", difficulty, 1) > 16:
            raise ValueError(f"difficulty={difficulty!r} must be 1 to 16 or a triplet")
        return offline(cls)(difficulty)

    return make


def _ctp(cls: type) -> Factory:
    def make(n_var: int = 2) -> Problem:
        return offline(cls)(n_var=check_integer("n_var", n_var, 2))

    return make


def _ctp1(n_var: int = 2, n_ieq_constr: int = 2) -> Problem:
    n_ieq_constr = check_integer("n_ieq_constr", n_ieq_constr, 1)
    n_var = check_integer("n_var", n_var, 2)
    return offline(multi.CTP1)(n_var=n_var, n_ieq_constr=n_ieq_constr)


def _zcat(cls: type) -> Factory:
    def make(
        n_var: int = 30,
        n_obj: int = 2,
        complicated_pareto_set: bool = False,
        level: int = 1,
        bias: bool = False,
        imbalance: bool = False,
    ) -> Problem:
        n_obj = check_integer("n_obj", n_obj, 2)
        n_var = check_integer("n_var", n_var, n_obj, f"n_obj={n_obj}")
        if check_integer("level", level, 1) > 6:
            raise ValueError(f"level={level!r} must be 1 to 6")
        return offline(cls)(
            n_var=n_var,
            n_obj=n_obj,
            complicated_pareto_set=complicated_pareto_set,
            level=level,
            bias=bias,
            imbalance=imbalance,
        )

    return make


def _zdt5(m: int = 11, n: int = 5, normalize: bool = True) -> Problem:
    m, n = check_integer("m", m, 2), check_integer("n", n, 1)
    return offline(multi.ZDT5)(m=m, n=n, normalize=normalize)


# --- the stock -----------------------------------------------------------------------------------


def _stock() -> None:
    for i in range(1, 11):
        register(f"imf{i}", getattr(imf, f"IMF{i}"), "imf")
    for i in range(1, 11):
        register(f"uf{i}", getattr(uf, f"UF{i}"), "uf")
    for i in range(1, 10):
        register(f"lsmop{i}", getattr(lsmop, f"LSMOP{i}"), "lsmop")
    for i in range(1, 9):
        register(f"mmf{i}", getattr(mmf, f"MMF{i}"), "mmf")
    for i, n_var in {1: 30, 2: 30, 3: 30, 4: 10, 6: 10}.items():
        register(f"zdt{i}", _sized(getattr(multi, f"ZDT{i}"), n_var, 2), "zdt")
    # Its variables are bits, so it is no member of the suite that stands for real-valued problems.
    register("zdt5", _zdt5)
    for i in range(1, 8):
        register(f"dtlz{i}", _dtlz(getattr(many, f"DTLZ{i}"), 5 if i == 1 else 8), "dtlz")
    register("inverted_dtlz1", _dtlz(many.InvertedDTLZ1, 5), "modified_dtlz")
    register("scaled_dtlz1", _dtlz(many.ScaledDTLZ1, 5), "modified_dtlz")
    register("convex_dtlz2", _dtlz(many.ConvexDTLZ2, 8), "modified_dtlz")
    register("convex_dtlz4", _dtlz(many.ConvexDTLZ4, 8), "modified_dtlz")
    for i in range(1, 10):
        register(f"wfg{i}", _wfg(getattr(many, f"WFG{i}"), i in (2, 3)), "wfg")
    for i in range(1, 21):
        register(f"zcat{i}", _zcat(getattr(many, f"ZCAT{i}")), "zcat")
    _constrained_stock()
    _single_stock()
    for name in mtmo.NAMES:
        _entries[name] = _Entry(mtmo.factory(name), "cec17-mtmo", n_tasks=2)
    for name in mtmo.WITH_MATRICES:
        _entries[f"{name}-seeded"] = _Entry(mtmo.seeded_factory(name), None, n_tasks=2)
    for i, name in enumerate(cec19_mtmo.NAMES, start=1):
        _entries[name] = _Entry(cec19_mtmo.factory(i), "cec19-cplx", n_tasks=2)
    for i, name in enumerate(cec21_mtmo.NAMES, start=1):
        _entries[name] = _Entry(cec21_mtmo.factory(i), "cec21-mtmo", n_tasks=2)
        _entries[f"{name}-seeded"] = _Entry(cec21_mtmo.seeded_factory(i), None, n_tasks=2)
    for i, name in enumerate(matmo.NAMES, start=1):
        _entries[name] = _Entry(matmo.factory(i), "cec19-matmo", n_tasks=10)
        _entries[f"{name}-seeded"] = _Entry(matmo.seeded_factory(i), None, n_tasks=10)
    for i, name in enumerate(families.NAMES, start=1):
        _entries[name] = _Entry(families.factory(i), "df-family", n_tasks=10, twin=("twin_seed", 0))


def _constrained_stock() -> None:
    for name in ("C1DTLZ1", "C1DTLZ3", "C2DTLZ2", "C3DTLZ1", "C3DTLZ4"):
        # The front of C3DTLZ4 needs distances up to 1; each of its k variables adds at most 1/4.
        k, least_k = (5, 4) if name == "C3DTLZ4" else (10, 1)
        register(name, _dtlz(getattr(many, name), k, least_k), "cdtlz")
    for name in [f"DC{c}DTLZ{i}" for c in (1, 2, 3) for i in (1, 3)]:
        register(name, _dtlz(getattr(many, name), 10), "dcdtlz")
    for i in range(1, 15):
        cls = getattr(multi, f"MW{i}")
        register(f"mw{i}", _mw_scalable(cls) if i in (4, 8, 14) else _sized(cls, 15, 3), "mw")
    register("ctp1", _ctp1, "ctp")
    for i in range(2, 9):
        register(f"ctp{i}", _ctp(getattr(multi, f"CTP{i}")), "ctp")
    for i in range(1, 10):
        register(f"dascmop{i}", _dascmop(getattr(multi, f"DASCMOP{i}")), "dascmop")
    classic = {
        "bnh": multi.BNH,
        "carside": multi.Carside,
        "kursawe": multi.Kursawe,
        "osy": multi.OSY,
        "srn": multi.SRN,
        "tnk": multi.TNK,
        "truss2d": multi.Truss2D,
        "welded_beam": multi.WeldedBeam,
    }
    for name, cls in classic.items():
        register(name, _fixed(cls), "classic")


def _single_stock() -> None:
    for name, n_var in {"ackley": 2, "griewank": 2, "rastrigin": 2, "rosenbrock": 2,
                        "schwefel": 2, "sphere": 10, "zakharov": 2}.items():  # fmt: skip
        least = 2 if name == "rosenbrock" else 1
        register(name, _sized(getattr(single, name.capitalize()), n_var, least), "single")
    for name, cls in {
        "himmelblau": single.Himmelblau,
        "cantilevered_beam": single.CantileveredBeam,
        "pressure_vessel": single.PressureVessel,
    }.items():
        register(name, _fixed(cls), "single")
    for i in range(1, 25):
        register(f"g{i}", _fixed(getattr(single, f"G{i}")), "g")


_stock()
