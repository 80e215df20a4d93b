"""What a campaign keeps of its running cells, so that none begins again: a file for each."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENDING = ".ckpt"


@dataclass(frozen=True)
class CellCheckpoints:
    """The checkpoints of the running cells, in a folder beside the store.

    Attributes:
        folder: Absolute path; it is there while there are checkpoints. Workers on other machines
            keep none unless they see it as well.
        every: Seconds between two, > 0 (never more than a twentieth of the time is spent).
    """

    folder: Path
    every: float

    @classmethod
    def beside(cls, store: str | os.PathLike[str], every: float) -> CellCheckpoints:
        """Those of the campaigns in a store: `runs.db` has them in `runs.db.running`."""
        path = Path(store).absolute()
        return cls(path.with_name(f"{path.name}.running"), every)

    def settings(self, key: str) -> dict[str, Any]:
        """Keywords for `minimize` that keep the state of the cell of a key.

        Raises:
            OSError: The folder cannot be made.
        """
        self.folder.mkdir(exist_ok=True)
        return {
            "checkpoint": self.folder / f"{key}{ENDING}",
            "checkpoint_every": ("seconds", self.every),
        }

    def remove(self, keys: Collection[str]) -> None:
        """Forget the state of the cells of these keys."""
        with suppress(FileNotFoundError, NotADirectoryError):
            for path in list(self.folder.iterdir()):
                if path.name.partition(".")[0] in keys:
                    path.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the folder if nothing is left in it; to be called when no cell is running."""
        with suppress(OSError):
            self.folder.rmdir()
