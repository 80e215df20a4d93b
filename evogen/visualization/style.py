"""Colours, markers and the paper that all figures are drawn on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

#: Okabe and Ito's palette (2008), told apart with any kind of colour vision; without its yellow,
#: which is too faint on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

LINE_STYLES = ("-", "--", "-.", ":")

#: The true front, behind everything else.
FRONT_COLOR = "#9A9A9A"

DPI = 160

ENDINGS = (".png", ".svg", ".pdf")


def series_style(index: int) -> dict[str, Any]:
    """Colour and line style of the k-th series; distinct for 28 of them."""
    return {
        "color": PALETTE[index % len(PALETTE)],
        "linestyle": LINE_STYLES[index // len(PALETTE) % len(LINE_STYLES)],
    }


def new_figure(width: float, height: float) -> Figure:
    """An empty figure (inches) that belongs to no window and no global state."""
    return Figure(figsize=(width, height), layout="constrained", dpi=DPI)


def tidy(axes: Axes) -> None:
    """Remove what carries no information."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, color="#E6E6E6", linewidth=0.6)
    axes.set_axisbelow(True)


def check_figure_path(path: str | Path) -> Path:
    """The path, if a figure can be written there; to be asked before the work.

    Raises:
        ValueError: The ending is of no known format.
        FileNotFoundError: The folder is not there.
    """
    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"{path.name!r} must end in one of {', '.join(ENDINGS)}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} for {path.name}")
    return path


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure; the format follows the file's ending (png, svg, pdf).

    The same figure gives the same bytes: no date and no random identifiers are written.

    Returns:
        The path.

    Raises:
        ValueError, FileNotFoundError: See `check_figure_path`.
    """
    path = check_figure_path(path)
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix.lower())
    with rc_context({"svg.hashsalt": "evogen"}):
        figure.savefig(path, dpi=DPI, metadata=metadata)
    return path
