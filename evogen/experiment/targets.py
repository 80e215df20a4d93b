"""Files and folders to be written: whether they can be, asked before the work."""

from __future__ import annotations

import tempfile
from pathlib import Path


def check_writable(path: str | Path) -> Path:
    """The path, if a file can be written there; an existing file keeps its content.

    Raises:
        OSError: It cannot, and why.
    """
    path = Path(path)
    try:
        # Permissions do not tell everything (a full or read-only disk, /proc), so it is tried.
        is_new = not path.exists()
        path.open("ab").close()
        if is_new:
            path.unlink()
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror or error}") from error
    return path


def prepare_folder(path: str | Path) -> Path:
    """The path as a folder that files can be written to; made when it is not there.

    Raises:
        OSError: It cannot be made or written to, and why.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise OSError(f"the folder {path} cannot be written: {error.strerror or error}") from error
    return path
