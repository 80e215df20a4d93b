"""The command `evogen sample`: samples from a model that `evogen train` has trained."""

from __future__ import annotations

import argparse
import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evogen.cli_models import MODEL, RUN

if TYPE_CHECKING:
    from torch import Tensor

    from evogen.models import GenerativeModel

SAMPLE_HELP = """\
Draw samples from a trained model.

  evogen sample run -n 64 --grid grid.png       a picture: images, or points in the plane
  evogen sample run -n 64 --condition 3         of class 3; 0,1,2 for these classes in turn
  evogen sample run -n 1000 --out samples.npz   numbers; also .npy and .csv

Without --grid and --out, images are drawn to samples.png in the folder, vectors and token sequences
are printed, one per line. Same command, same samples.
"""

PICTURES, NUMBERS = (".png", ".jpg", ".jpeg", ".webp"), (".npz", ".npy", ".csv")
TILE_PIXELS = 32
"""Least width of an image in a grid: smaller ones are enlarged."""


def add_sample(parser: argparse.ArgumentParser) -> None:
    """The arguments of `evogen sample`."""
    parser.add_argument("run", help="folder of `evogen train`, or a model's file")
    parser.add_argument("-n", type=int, default=64, help="number of samples (default: 64)")
    parser.add_argument("--condition", help="a label, several in turn (0,1,2), or numbers 0.2,0.5")
    parser.add_argument("--seed", type=int, default=0, help="decides the samples (default: 0)")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto (default: auto)")
    parser.add_argument("--grid", metavar="FILE", help=f"picture ({', '.join(PICTURES)})")
    parser.add_argument("--out", metavar="FILE", help=f"numbers ({', '.join(NUMBERS)})")


def run_sample(args: argparse.Namespace) -> int:
    """The command `evogen sample`; its exit code."""
    from evogen.experiment.targets import check_writable
    from evogen.models.rng import seeded_generator

    for path, endings in ((args.grid, PICTURES), (args.out, NUMBERS)):
        if path and Path(path).suffix.lower() not in endings:
            raise ValueError(f"{path!r} must end in one of {', '.join(endings)}")
    if args.seed < 0 or args.n < 1:
        raise ValueError("--seed must be at least 0 and -n at least 1")
    file = _model_file(Path(args.run))
    model = _trained(file, args.device)
    grid = args.grid
    if not grid and not args.out and len(model.item_shape_) == 3:
        grid = str(file.parent / "samples.png")
    if grid:
        _check_picture(model)
    for path in filter(None, (grid, args.out)):
        check_writable(path)
    condition = _condition(model, args.condition, args.n)
    x = model.sample(args.n, condition, generator=seeded_generator(args.seed)).cpu()
    if args.out:
        _save_numbers(x, condition, Path(args.out))
        print(f"{args.out} holds {args.n} samples")
    if grid:
        _save_picture(x, grid)
        print(f"{grid} shows {args.n} samples")
    if not grid and not args.out:
        digits = "{:d}" if model.n_tokens_ else "{:.7g}"
        for row in x.flatten(1).tolist():
            print(" ".join(digits.format(value) for value in row))
    return 0


def _model_file(run: Path) -> Path:
    file = run / MODEL if run.is_dir() else run
    if not file.exists():
        if (run / RUN).exists():
            again = f"evogen train --out {shlex.quote(str(run))} --resume"
            raise ValueError(f"the training in {run} is not finished; this goes on: {again}")
        raise FileNotFoundError(f"there is no trained model in {run}")
    return file


def _trained(file: Path, device: str) -> GenerativeModel:
    from evogen.models import load_model
    from evogen.models.checks import resolve_device

    return load_model(file, device=str(resolve_device(device)))


def _condition(model: GenerativeModel, text: str | None, n: int) -> Any:
    """The condition in a text: labels, repeated in turn, or one row of numbers for all."""
    import numpy as np

    if text is None:
        return None
    words = text.split(",")
    try:
        if model.classes_ is not None:
            return np.resize([int(word) for word in words], n)
        return np.array([[float(word) for word in words]])
    except ValueError:
        what = "labels such as 3 or 0,1" if model.classes_ is not None else "numbers like 0.2,0.5"
        raise ValueError(f"--condition {text}: give {what}") from None


def _save_numbers(x: Tensor, condition: Any, path: Path) -> None:
    import numpy as np

    array = x.numpy()
    if path.suffix.lower() == ".npz":
        given = {} if condition is None else {"condition": condition}
        np.savez_compressed(path, x=array, **given)
    elif path.suffix.lower() == ".npy":
        np.save(path, array)
    else:
        form = "%d" if array.dtype.kind == "i" else "%.9g"
        np.savetxt(path, array.reshape(len(array), -1), fmt=form, delimiter=",")


def _check_picture(model: GenerativeModel) -> None:
    shape = model.item_shape_
    images = len(shape) == 3 and shape[0] in (1, 3)
    if not images and (shape != (2,) or model.n_tokens_):
        raise ValueError(
            "a picture shows images of 1 or 3 channels, or points in the plane; items of this "
            f"model have shape {shape}: use --out"
        )


def _save_picture(x: Tensor, path: str) -> None:
    """Draws images `(n, c, h, w)` side by side, or points `(n, 2)`."""
    if x.ndim == 2:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5, 5), layout="constrained")
        axes = figure.subplots()
        axes.plot(x[:, 0], x[:, 1], ".", markersize=3)
        axes.set_aspect("equal", adjustable="datalim")
        figure.savefig(path, dpi=120)
        return
    from PIL import Image

    Image.fromarray(image_grid(x)).save(path)


def image_grid(x: Tensor) -> Any:
    """Images `(n, c, h, w)` in [0, 1], c of 1 or 3, side by side in a square, row by row.

    Returns:
        Array of uint8, `(H, W)` or `(H, W, 3)`; small images are enlarged, a grey line of one pixel
        of theirs is between them.
    """
    import numpy as np

    n, c, h, w = x.shape
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    sheet = np.full((rows * (h + 1) + 1, columns * (w + 1) + 1, c), 128, dtype=np.uint8)
    pixels = (x.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    for i, image in enumerate(pixels):
        top, left = (i // columns) * (h + 1) + 1, (i % columns) * (w + 1) + 1
        sheet[top : top + h, left : left + w] = image
    factor = max(1, math.ceil(TILE_PIXELS / w))
    sheet = sheet.repeat(factor, axis=0).repeat(factor, axis=1)
    return sheet[:, :, 0] if c == 1 else sheet
