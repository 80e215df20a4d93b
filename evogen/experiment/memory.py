"""The memory of a process: how much it has used at most, and a limit for it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12} | {
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}

STATUS = Path("/proc/self/status")


def n_bytes(amount: int | str) -> int:
    """An amount of memory in bytes.

    >>> n_bytes("1.5 GB"), n_bytes("512 MiB"), n_bytes(1000)
    (1500000000, 536870912, 1000)

    Raises:
        TypeError: Neither a whole number nor a text.
        ValueError: Not positive, or a text of another form.
    """
    if isinstance(amount, bool) or not isinstance(amount, int | str):
        raise TypeError(f"memory_limit={amount!r} must be a number of bytes or a text like '2 GB'")
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", str(amount))
    if match is None or match[2].lower() not in UNITS:
        raise ValueError(
            f"memory_limit={amount!r} must be bytes, or a text like '500 MB' or '2 GB'"
        )
    size = round(float(match[1]) * UNITS[match[2].lower()])
    if size < 1:
        raise ValueError(f"memory_limit={amount!r} must be positive")
    return size


def check_memory_limit() -> None:
    """Refuse memory limits where there are none.

    Raises:
        ValueError: The system is not Linux.
    """
    if not sys.platform.startswith("linux"):
        raise ValueError(f"memory_limit works on Linux only, not on {sys.platform}")


@contextmanager
def limited_memory(limit: int | None) -> Iterator[None]:
    """Let this process have no more than `limit` bytes of its own inside the block (Linux).

    What counts is what it may write to: heap, arrays, stacks; not the code of libraries and not
    what it shares with other processes (RLIMIT_DATA, see getrlimit(2)). Asking for more raises
    MemoryError; a library that does not ask for permission may end the process.

    Args:
        limit: Bytes, or None for no limit.

    Raises:
        MemoryError: The process has more already.
    """
    if limit is None:
        yield
        return
    import resource

    used = _status("VmData")
    if used is not None and used > limit:
        raise MemoryError(
            f"memory_limit of {limit / 1e6:.0f} MB: the process has {used / 1e6:.0f} MB before "
            "the cell begins"
        )
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (_lower(limit, before[1]), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _lower(limit: int, hard: int) -> int:
    # -1 stands for infinity.
    return limit if hard < 0 else min(limit, hard)


def reset_peak() -> None:
    """Let `peak_memory` count from now on, where the system can (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_memory() -> int | None:
    """Largest resident size of this process so far, or since `reset_peak`, in bytes.

    The whole process is counted, with interpreter and libraries. None where it is not known.
    """
    peak = _status("VmHWM")
    if peak is not None:
        return peak
    try:
        import resource
    except ImportError:
        return None
    largest: Any = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(largest) if sys.platform == "darwin" else int(largest) * 1024


def _status(name: str) -> int | None:
    try:
        text = STATUS.read_text()
    except OSError:
        return None
    match = re.search(rf"^{name}:\s*(\d+) kB", text, flags=re.MULTILINE)
    return None if match is None else int(match[1]) * 1024
