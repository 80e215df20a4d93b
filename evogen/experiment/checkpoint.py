"""Checkpoints of a run: one file of data, written between generations, read by the same call.

A file is a zip archive of two uncompressed members: `state.json` (what the run is, and the graph of
its objects) and `arrays.bin` (the bytes of its arrays). Opening one runs nothing from it; see
`evogen.experiment.state` for what is in it and what is taken from the caller instead.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import types
import warnings
import zipfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from pymoo.core.problem import Problem

from evogen._version import __version__
from evogen.experiment.state import (
    WATCHERS,
    Givens,
    Graph,
    StateError,
    encode,
    is_at_or_below,
    is_function,
)
from evogen.experiment.state_reading import decode

FORMAT, VERSION = "evogen-checkpoint", 1

#: Writing takes at most this share of a run's time when it goes by seconds.
LARGEST_SHARE = 0.05

#: What may change a result in its last bits.
PACKAGES = ("pymoo", "moocore", "numpy", "scipy", "torch")

#: What says which problem it is, whatever its class.
PROBLEM_SETTINGS = ("n_var", "n_obj", "n_ieq_constr", "n_eq_constr", "xl", "xu")


class CheckpointError(ValueError):
    """A checkpoint that is damaged, belongs to another run, or cannot be written."""


class Checkpoint:
    """The checkpoint of one run.

    Args:
        path: The file; the one before it is kept beside it, with the ending `.1`.
        every: How often to write: a number of generations, or `("seconds", s)` or `("n_gen", n)`.

    Attributes:
        path: The file.
        elapsed: Seconds that earlier parts of the run took.
        finished: Whether the run had come to its end.

    Raises:
        FileNotFoundError: There is no such folder.
        TypeError: `every` is neither a number nor such a pair.
        ValueError: `every` is not positive, or `path` is a folder.
    """

    def __init__(self, path: str | os.PathLike[str], every: Any = ("seconds", 30)) -> None:
        self.path = Path(path)
        self._unit, self._interval = _interval(every)
        if self.path.is_dir():
            raise ValueError(f"checkpoint={str(path)!r} is a folder; give a file, e.g. run.ckpt")
        if not self.path.parent.is_dir():
            raise FileNotFoundError(
                f"there is no folder {self.path.parent} for the checkpoint {self.path.name}"
            )
        self.elapsed = 0.0
        self.finished = False
        self._roots: dict[str, Any] = {}
        self._givens = Givens()
        self._identity: dict[str, str] = {}
        self._begin = self._due = time.monotonic()
        self._n_steps = self._n_written = 0

    @property
    def previous(self) -> Path:
        """Where the checkpoint before the last one is."""
        return self.path.with_name(self.path.name + ".1")

    def begin(
        self, roots: Mapping[str, Any], *, settings: Mapping[str, Any], is_seeded: bool = True
    ) -> bool:
        """Take up the run, to be called when everything is set up and nothing has been done.

        Args:
            roots: What a run changes, by name: the algorithm, set up, above all.
            settings: What else must be the same; compared as text.
            is_seeded: Whether the caller gave a seed; random numbers are not compared otherwise.

        Returns:
            Whether there was a checkpoint, and the objects given have its state now.

        Raises:
            CheckpointError: The file is damaged or belongs to another run.
        """
        self._roots = dict(roots)
        self._givens, fresh = Givens.of(self._roots)
        self._identity = _identity(fresh, self._givens, settings, is_seeded=is_seeded)
        if not self.path.exists():
            self._try(self._roots)
            return False
        content, graph = self._read()
        self._compare(content)
        try:
            restored = decode(graph, self._givens)
        except StateError as error:
            raise CheckpointError(f"the checkpoint {self.path} cannot be read: {error}") from error
        for name, value in self._roots.items():
            if restored.get(name) is not value:
                raise CheckpointError(f"the checkpoint {self.path} is damaged: no {name}")
        self.elapsed = float(content["elapsed"])
        self.finished = bool(content["finished"])
        self._n_written = 1
        self._begin = time.monotonic()
        self._due = self._begin + self._interval
        return True

    def step(self, *, is_last: bool = False) -> None:
        """To be called between generations; writes when it is due, or the last.

        Raises:
            CheckpointError: The first one cannot be written. Later ones only give a warning: the
                run is worth more.
        """
        self._n_steps += 1
        if self._unit == "seconds":
            is_due = time.monotonic() >= self._due
        else:
            is_due = self._n_steps % self._interval == 0
        if not (is_due or is_last or self._n_written == 0):
            return
        begin = time.monotonic()
        try:
            self._write(is_last)
        except (StateError, OSError) as error:
            text = f"no checkpoint can be written to {self.path}: {error}"
            if self._n_written == 0:
                raise CheckpointError(text) from error
            warnings.warn(text, stacklevel=2)
        self._n_written += 1
        end = time.monotonic()
        self._due = end + max(self._interval, (end - begin) / LARGEST_SHARE)

    def seconds(self) -> float:
        """Seconds that the run has taken so far, with its earlier parts."""
        return self.elapsed + time.monotonic() - self._begin

    def _try(self, roots: dict[str, Any]) -> None:
        try:
            encode(roots, self._givens)
        except StateError as error:
            raise CheckpointError(f"no checkpoint of this run can be written: {error}") from error

    def _write(self, is_last: bool) -> None:
        graph = encode(self._roots, self._givens)
        content = {
            "format": FORMAT,
            "version": VERSION,
            "versions": _versions(),
            "identity": self._identity,
            "elapsed": self.seconds(),
            "finished": is_last,
            "root": graph.root,
            "shapes": graph.shapes,
            "nodes": graph.nodes,
        }
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}.tmp")
        try:
            with open(temporary, "wb") as file:
                with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                    archive.writestr("state.json", json.dumps(content, separators=(",", ":")))
                    archive.writestr("arrays.bin", graph.data)
                file.flush()
                os.fsync(file.fileno())
            self._keep_previous()
            os.replace(temporary, self.path)
        finally:
            temporary.unlink(missing_ok=True)

    def _keep_previous(self) -> None:
        """The present file under a second name; there is a complete one at every moment."""
        if not self.path.exists():
            return
        link = self.previous.with_name(f"{self.previous.name}.{os.getpid()}.tmp")
        # Where files have one name only, the previous one is not kept.
        try:
            os.link(self.path, link)
            os.replace(link, self.previous)
        except OSError:
            link.unlink(missing_ok=True)

    def _read(self) -> tuple[dict[str, Any], Graph]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                members = archive.infolist()
                is_ours = sorted(m.filename for m in members) == ["arrays.bin", "state.json"]
                # Compressed ones could be far larger than the file.
                if not is_ours or any(m.compress_type != zipfile.ZIP_STORED for m in members):
                    raise ValueError("it is no checkpoint of evogen")
                content = json.loads(archive.read("state.json"))
                data = archive.read("arrays.bin")
            if not isinstance(content, dict) or content.get("format") != FORMAT:
                raise ValueError("it is no checkpoint of evogen")
            if content.get("version") != VERSION:
                raise ValueError(f"its version is {content.get('version')!r}, known is {VERSION}")
            kinds = {"identity": dict, "versions": dict, "elapsed": float, "finished": bool}
            kinds |= {"shapes": list, "nodes": list}
            for name, kind in kinds.items():
                if not isinstance(content.get(name), kind):
                    raise ValueError(f"it lacks {name}")
            graph = Graph(content.get("root"), content["nodes"], content["shapes"], data, str)
            return content, graph
        except (zipfile.BadZipFile, ValueError, KeyError, EOFError, RecursionError, OSError) as e:
            what = f"{e}".strip("'\"") or type(e).__name__
            text = f"the checkpoint {self.path} is damaged or none of ours: {what}"
            if self.previous.exists():
                text += f"; the one before it is {self.previous}: rename it to continue from there"
            raise CheckpointError(text) from e

    def _compare(self, content: dict[str, Any]) -> None:
        was, now = content["identity"], self._identity
        problems = tuple(path for path, obj in self._problems())
        differing = [
            name
            for name in dict.fromkeys([*was, *now])
            # What a problem computes when asked may be there or not.
            if was.get(name) != now.get(name)
            and not (is_at_or_below(name, problems) and (name not in was or name not in now))
        ]
        if differing:
            # What is below something that differs differs as well.
            tops = [
                name
                for name in sorted(differing, key=lambda n: (n.count(".") + n.count("["), n))
                if not any(d != name and is_at_or_below(name, (d,)) for d in differing)
            ]
            lines = [
                f"{name} is {was.get(name, 'not there')} in the checkpoint, "
                f"{now.get(name, 'not there')} now"
                for name in tops
            ]
            more = f"; and {len(lines) - 4} more" if len(lines) > 4 else ""
            raise CheckpointError(
                f"the checkpoint {self.path} belongs to another run: {'; '.join(lines[:4])}{more}. "
                "Repeat the call that wrote it, or give another file"
            )
        for package, version in _versions().items():
            other = content["versions"].get(package)
            if other != version:
                warnings.warn(
                    f"the checkpoint {self.path} was written with {package} {other}, here is "
                    f"{version}: the result may differ from that of one run in its last digits",
                    stacklevel=4,
                )

    def _problems(self) -> list[tuple[str, Any]]:
        return [(p, o) for p, o in self._givens.objects.items() if isinstance(o, Problem)]


def _interval(every: Any) -> tuple[str, float]:
    unit, value = ("n_gen", every) if isinstance(every, int) else (None, None)
    if isinstance(every, tuple | list) and len(every) == 2 and every[0] in ("seconds", "n_gen"):
        unit, value = every
    if unit is None or isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise TypeError(
            f"checkpoint_every={every!r} must be a number of generations, ('n_gen', 10) or "
            "('seconds', 30)"
        )
    if not (value > 0 if unit == "seconds" else value >= 1 and int(value) == value):
        raise ValueError(f"checkpoint_every={every!r} must be positive, generations whole")
    return unit, float(value)


def _versions() -> dict[str, str]:
    versions = {"evogen": __version__}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions


def _identity(
    fresh: Graph, givens: Givens, settings: Mapping[str, Any], *, is_seeded: bool
) -> dict[str, str]:
    """What decides a run, as short texts by path: the settings of its objects before it began."""
    found = {name: repr(value) for name, value in settings.items()}
    for n in range(1, len(fresh.nodes)):
        path = fresh.paths(n)
        if is_at_or_below(path, ("algorithm.random_state",)) and not is_seeded:
            continue
        if path not in WATCHERS and is_at_or_below(path, WATCHERS):
            continue
        described = _describe(fresh, n, path, givens)
        # Of what only watches, the class must be the same and nothing else.
        found.update({path: described[path]} if path in WATCHERS else described)
    return found


def _describe(graph: Graph, n: int, path: str, givens: Givens) -> dict[str, str]:
    """One object's own part of the identity."""
    node = graph.nodes[n]
    kind = node[0]
    if kind == "opaque":
        return _describe_opaque(path, givens.objects[path])
    if kind == "object":
        name, attributes = graph.shapes[node[1]]
        values = dict(zip(attributes, node[3:], strict=True))
        plain = {f"{path}.{k}": repr(v) for k, v in values.items() if not isinstance(v, list)}
        return {path: name.rpartition(":")[2], **plain}
    if kind == "array":
        _, _, size, _, dtype, _, offset, _ = node
        count = int(np.prod(size, dtype=object)) * np.dtype(dtype).itemsize
        return {path: f"{dtype}{tuple(size)} {_digest(graph.data[offset : offset + count])}"}
    if kind == "tensor":
        _, size, _, dtype, _, _, _, offset, count, *_ = node
        return {path: f"{dtype}{tuple(size)} {_digest(graph.data[offset : offset + count])}"}
    if kind in ("objects", "view"):
        return {path: f"{kind}{tuple(node[2])}"}
    if kind == "scalar":
        count = np.dtype(node[1]).itemsize
        number = np.frombuffer(graph.data[node[2] : node[2] + count], dtype=node[1])[0]
        return {path: repr(number.item())}
    if kind in ("bytes", "torch_rng"):
        offset = node[1] if kind == "bytes" else node[2]
        count = node[-1]
        return {path: _digest(graph.data[offset : offset + count])}
    if kind in ("rng", "function"):
        return {path: node[1]}
    if kind in ("list", "tuple", "set", "frozenset", "dict", "ordered", "deque"):
        items = [repr(v) for v in node[1] if not isinstance(v, list)]
        text = ", ".join(sorted(items) if "set" in kind else items)
        return {path: f"{kind} of {text if len(text) < 80 else _digest(text.encode())}"}
    # Of the rest, what is below them tells.
    return {path: kind}


def _describe_opaque(path: str, obj: Any) -> dict[str, str]:
    if isinstance(obj, Problem):
        return describe_problem(path, obj)
    if is_function(obj) or isinstance(obj, type | types.ModuleType):
        return {path: getattr(obj, "__qualname__", None) or obj.__name__}
    return {path: type(obj).__qualname__}


def describe_problem(path: str, problem: Any) -> dict[str, str]:
    """What says which problem it is, as texts by path.

    Counts and caches that a problem keeps of its own are left out: of a class from elsewhere only
    what every problem has is looked at.
    """
    cls = type(problem)
    found = {path: cls.__qualname__, f"{path}.name": str(problem.name())}
    is_library = cls.__module__.split(".")[0] in ("pymoo", "evogen", "problems")
    for name, value in vars(problem).items():
        if name not in PROBLEM_SETTINGS and (not is_library or name.startswith("_")):
            continue
        if isinstance(value, np.ndarray) and value.dtype != object:
            found[f"{path}.{name}"] = f"{value.dtype.str}{value.shape} {_digest(value.tobytes())}"
        elif isinstance(value, bool | int | float | str | np.generic):
            found[f"{path}.{name}"] = repr(value)
    return found


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:12]
