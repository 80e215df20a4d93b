"""A run as a film: population and front in objective space, generation by generation."""

from __future__ import annotations

import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from PIL import Image

from evogen.visualization.style import FRONT_COLOR, PALETTE, tidy

ENDINGS = (".gif", ".mp4")

#: Population, and its best points.
COLORS = (PALETTE[5], PALETTE[1])

#: Points of the true front that are drawn, lines of it in parallel coordinates.
MAX_FRONT_POINTS, MAX_FRONT_LINES = 700, 60

#: Share of the population that the axes show at least; the rest may be far off at the beginning.
SHOWN = 0.9

#: Seconds that the last frame stays.
LAST = 2.0

DPI = 110


def find_ffmpeg() -> str | None:
    """The program ffmpeg: the system's, or else the package imageio-ffmpeg's; None without both."""
    if found := shutil.which("ffmpeg"):
        return found
    try:
        return str(import_module("imageio_ffmpeg").get_ffmpeg_exe())
    except (ImportError, RuntimeError):  # RuntimeError: a package without the program
        return None


def check_animation_path(path: str | Path) -> Path:
    """The path, if a film can be written there; to be asked before the work.

    Raises:
        ValueError: The ending is neither `.gif` nor `.mp4`, or there is no ffmpeg for the latter.
        FileNotFoundError: The folder is not there.
    """
    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"{path.name!r} must end in {' or '.join(ENDINGS)}")
    if path.suffix.lower() == ".mp4" and find_ffmpeg() is None:
        raise ValueError(
            f"{path.name} needs the program ffmpeg, which is not there: "
            "pip install 'evogen[film]', or use a .gif"
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} for {path.name}")
    return path


def save_animation(
    populations: Sequence[Any],
    path: str | Path,
    *,
    fronts: Sequence[Any] | None = None,
    true_front: Any = None,
    captions: Sequence[str] | None = None,
    title: str = "",
    objectives: Sequence[str] | None = None,
    fps: float = 12.0,
    max_frames: int = 120,
) -> Path:
    """Write a film of the populations of a run: a plane or a space for two or three objectives,
    parallel coordinates for more.

    The axes close in as the population does: they hold what is still to come, and never open.

    Args:
        populations: Objective vectors `(n_g, n_obj)` after each generation, n_obj >= 2; n_g may be
            0, rows that are not finite are left out.
        path: The file, a `.gif`, or an `.mp4` where `find_ffmpeg` finds one.
        fronts: The best points of each, drawn on top, or None.
        true_front: `(k, n_obj)`, or None.
        captions: A line for each generation; its number by default.
        title: Above the picture.
        objectives: Names of the objectives; `f1`, `f2`, ... by default.
        fps: Frames per second, > 0.
        max_frames: Of more generations some are left out, evenly; the first and the last are in.

    Returns:
        The path.

    Raises:
        ValueError: No generation, one objective, arrays of the wrong shape, the wrong number of
            names or captions, or a path as in `check_animation_path`.
        FileNotFoundError: The folder is not there.
        RuntimeError: ffmpeg failed.
    """
    path = check_animation_path(path)
    if not fps > 0 or max_frames < 1:
        raise ValueError(f"fps={fps} and max_frames={max_frames} must be positive")
    f, best, reference = _checked(populations, fronts, true_front)
    names = list(objectives or [f"$f_{{{i + 1}}}$" for i in range(f[0].shape[1])])
    if len(names) != f[0].shape[1]:
        raise ValueError(f"objectives={names} must be {f[0].shape[1]} names")
    texts = list(captions or [f"generation {g}" for g in range(len(f))])
    if len(texts) != len(f):
        raise ValueError(f"there are {len(texts)} captions for {len(f)} generations")
    kind = {2: _Plane, 3: _Space}.get(len(names), _Parallel)
    scene = kind(names, reference, title, with_fronts=fronts is not None)
    limits = closing_limits(f, best, reference)
    chosen = np.unique(np.linspace(0, len(f) - 1, max_frames).round().astype(int))
    frames = (scene.frame(f[g], best[g], limits[g], texts[g]) for g in chosen)
    if path.suffix.lower() == ".gif":
        _write_gif(frames, path, fps)
    else:
        _write_mp4(frames, path, fps)
    return path


def _checked(
    populations: Sequence[Any], fronts: Sequence[Any] | None, true_front: Any
) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray | None]:
    f = [np.asarray(p, dtype=float) for p in populations]
    if not f:
        raise ValueError("populations is empty; give the objective vectors of each generation")
    n_obj = f[0].shape[1] if f[0].ndim == 2 else 0
    if n_obj < 2:
        raise ValueError(f"a film needs 2 objectives or more; got arrays of shape {f[0].shape}")
    best = [np.empty((0, n_obj))] * len(f)
    if fronts is not None:
        best = [np.asarray(p, dtype=float) for p in fronts]
    reference = None if true_front is None else np.asarray(true_front, dtype=float)
    given = [*f, *best, *([] if reference is None else [reference])]
    if any(p.ndim != 2 or p.shape[1] != n_obj for p in given) or len(best) != len(f):
        shapes = sorted({p.shape for p in given})
        raise ValueError(
            f"populations ({len(f)}), fronts ({len(best)}) and true_front must be (n, {n_obj}), "
            f"one of each for a generation; got shapes {shapes[:6]}"
        )
    return [_finite(p) for p in f], [_finite(p) for p in best], reference


def _finite(f: np.ndarray) -> np.ndarray:
    return f[np.isfinite(f).all(axis=1)]


def closing_limits(
    populations: Sequence[np.ndarray], fronts: Sequence[np.ndarray], true_front: np.ndarray | None
) -> np.ndarray:
    """Limits of the axes for each generation: they contain those of all later ones.

    Args:
        populations: `(n_g, n_obj)` each; the `SHOWN` share of it nearest to the ideal counts.
        fronts: Of which all points count.
        true_front: Of which all points count, or None.

    Returns:
        `(n_generations, n_obj, 2)`, with a margin of 4 %.
    """
    n_obj = populations[0].shape[1]
    low, high = np.full(n_obj, np.inf), np.full(n_obj, -np.inf)
    if true_front is not None and len(true_front):
        low, high = true_front.min(axis=0), true_front.max(axis=0)
    limits = np.empty((len(populations), n_obj, 2))
    for g in reversed(range(len(populations))):
        f = populations[g]
        if len(f):
            low = np.minimum(low, f.min(axis=0))
            high = np.maximum(high, np.quantile(f, SHOWN, axis=0))
        if len(fronts[g]):
            low = np.minimum(low, fronts[g].min(axis=0))
            high = np.maximum(high, fronts[g].max(axis=0))
        known = np.isfinite(low)
        start, end = np.where(known, low, 0.0), np.where(known, high, 1.0)
        width = np.where(end > start, end - start, 1.0)
        limits[g] = np.column_stack([start - 0.04 * width, end + 0.04 * width])
    return limits


class _Scene(ABC):
    """A figure whose points move; one frame after the other is drawn on it."""

    axes: Any

    def __init__(
        self, names: Sequence[str], front: np.ndarray | None, title: str, *, with_fronts: bool
    ) -> None:
        self.names = names
        self.front = front
        self.figure = Figure(figsize=(5.2, 4.8), dpi=DPI)
        self.canvas = FigureCanvasAgg(self.figure)
        self.build()
        if title:
            self.figure.suptitle(title, fontsize=11)
        self.caption = self.figure.text(0.5, 0.905, "", ha="center", fontsize=10, color="#333333")
        labels = [("population", COLORS[0], 5.0), ("best", COLORS[1], 5.0)][: 1 + with_fronts]
        labels += [("true front", FRONT_COLOR, 3.0)] if front is not None else []
        handles = [
            Line2D([], [], color=c, marker="o", markersize=size, linestyle="", label=text)
            for text, c, size in labels
        ]
        self.figure.legend(
            handles=handles, loc="lower center", ncols=len(handles), frameon=False, fontsize=9
        )

    def add_axes(self, place: tuple[float, float, float, float], **settings: Any) -> Any:
        """Axes at a place of the figure, in shares of its size."""
        return self.figure.add_axes(place, **settings)

    @abstractmethod
    def build(self) -> None:
        """Axes, the true front, and what will move."""

    @abstractmethod
    def move(self, f: np.ndarray, best: np.ndarray, limits: np.ndarray) -> None:
        """Put the points at their places."""

    def frame(self, f: np.ndarray, best: np.ndarray, limits: np.ndarray, text: str) -> np.ndarray:
        """The picture as bytes `(height, width, 3)`."""
        self.move(f, best, limits)
        self.caption.set_text(text)
        self.canvas.draw()
        return np.asarray(self.canvas.buffer_rgba())[..., :3].copy()


class _Plane(_Scene):
    def build(self) -> None:
        self.axes = self.add_axes((0.14, 0.17, 0.81, 0.71))
        if self.front is not None:
            self.axes.scatter(*self.front.T, s=2, color=FRONT_COLOR, linewidths=0)
        self.dots = [self.axes.scatter([], [], s=16, color=c, linewidths=0) for c in COLORS]
        self.axes.set(xlabel=self.names[0], ylabel=self.names[1])
        tidy(self.axes)

    def move(self, f: np.ndarray, best: np.ndarray, limits: np.ndarray) -> None:
        for dots, points in zip(self.dots, (f, best), strict=True):
            dots.set_offsets(points)
        self.axes.set(xlim=limits[0], ylim=limits[1])


class _Space(_Scene):
    def build(self) -> None:
        self.axes = self.add_axes((0.02, 0.09, 0.92, 0.83), projection="3d")
        self.grey = self.axes.scatter([], [], [], s=3, color=FRONT_COLOR, depthshade=False)
        self.dots = [
            self.axes.scatter([], [], [], s=16, color=c, linewidths=0, depthshade=False)
            for c in COLORS
        ]
        self.axes.set(xlabel=self.names[0], ylabel=self.names[1], zlabel=self.names[2])
        self.axes.tick_params(labelsize=7, pad=-1)
        for axis in (self.axes.xaxis, self.axes.yaxis, self.axes.zaxis):
            axis.labelpad = -4
            axis.set_major_locator(MaxNLocator(4))
        self.axes.grid(False)
        # Seen from the ideal point's side, where a minimised front shows its face.
        self.axes.view_init(elev=25, azim=45)

    def move(self, f: np.ndarray, best: np.ndarray, limits: np.ndarray) -> None:
        front = np.empty((0, 3)) if self.front is None else self.front
        thin = front[:: max(1, len(front) // MAX_FRONT_POINTS)]
        for dots, points in zip((self.grey, *self.dots), (thin, f, best), strict=True):
            # Points outside of the box would be drawn over what is beside it.
            inside = ((points >= limits[:, 0]) & (points <= limits[:, 1])).all(axis=1)
            dots._offsets3d = tuple(points[inside].T)
        self.axes.set(xlim=limits[0], ylim=limits[1], zlim=limits[2])


class _Parallel(_Scene):
    def build(self) -> None:
        self.axes = self.add_axes((0.12, 0.17, 0.83, 0.71))
        styles = [(FRONT_COLOR, 0.5, 0.5), (COLORS[0], 0.8, 0.6), (COLORS[1], 1.0, 0.8)]
        self.lines: list[Any] = [
            self.axes.add_collection(LineCollection([], colors=c, linewidths=w, alpha=a))
            for c, w, a in styles
        ]
        places = np.arange(len(self.names))
        self.axes.set_xticks(places, self.names)
        self.axes.set(xlim=(0, places[-1]), ylim=(0, 1), ylabel="scaled value")
        tidy(self.axes)

    def move(self, f: np.ndarray, best: np.ndarray, limits: np.ndarray) -> None:
        front = f[:0] if self.front is None else self.front
        thin = front[:: max(1, len(front) // MAX_FRONT_LINES)]
        low, high = limits.T
        places = np.arange(len(self.names), dtype=float)
        for lines, points in zip(self.lines, (thin, f, best), strict=True):
            scaled = (points - low) / (high - low)
            lines.set_segments([np.column_stack([places, row]) for row in scaled])


def _write_gif(frames: Iterator[np.ndarray], path: Path, fps: float) -> None:
    # One palette for all: colours do not flicker, and the file is a fraction of the size.
    pictures = [Image.fromarray(frame) for frame in frames]
    width, height = pictures[0].size
    strip = Image.new("RGB", (width, 3 * height))
    for i, k in enumerate((0, len(pictures) // 2, -1)):
        strip.paste(pictures[k], (0, i * height))
    palette = strip.quantize(128, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    colors = palette.getpalette() or []
    brightest = max(range(0, len(colors), 3), key=lambda k: sum(colors[k : k + 3]))
    colors[brightest : brightest + 3] = (255, 255, 255)  # the paper stays white
    palette.putpalette(colors)
    indexed = []
    for picture in pictures:
        # Pillow takes a near colour for the nearest; on paper that shows.
        numbers = np.array(picture.quantize(palette=palette, dither=Image.Dither.NONE))
        numbers[(np.asarray(picture) == 255).all(axis=2)] = brightest // 3
        indexed.append(Image.fromarray(numbers))
        indexed[-1].putpalette(colors)
    durations = [round(1000 / fps)] * (len(indexed) - 1) + [round(1000 * LAST)]
    indexed[0].save(
        path, save_all=True, append_images=indexed[1:], duration=durations, loop=0, optimize=False
    )


def _write_mp4(frames: Iterator[np.ndarray], path: Path, fps: float) -> None:
    program = find_ffmpeg()
    assert program is not None  # as `check_animation_path` has seen
    pictures = list(frames)
    pictures += [pictures[-1]] * round(LAST * fps)
    height, width = pictures[0].shape[:2]
    command = [program, "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", f"{width}x{height}", "-r", str(fps), "-i", "-", "-an"]
    # Players want even sizes and this pixel format.
    command += ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2:color=white", "-pix_fmt", "yuv420p"]
    done = subprocess.run(
        [*command, str(path)], input=b"".join(p.tobytes() for p in pictures), capture_output=True
    )
    if done.returncode != 0:
        raise RuntimeError(f"ffmpeg could not write {path}: {done.stderr.decode(errors='replace')}")
