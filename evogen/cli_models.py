"""The command `evogen train`: generative models without a line of Python."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import hashlib
import json
import os
import platform
import shlex
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evogen._version import __version__

if TYPE_CHECKING:
    from torch import Tensor

    from evogen.models import GenerativeModel
    from evogen.models.training import LossDict

TRAIN_HELP = """\
Train a generative model and keep it in a folder.

  evogen train --model ddpm --data ring:10000 --out run
  evogen train --model vae --data digits --out run --set latent_dim=10 --steps 2000
  evogen train --model ddpm --data images:photos --image-size 32 --out run --conditional
  evogen train --out run --resume               goes on after an interruption, to the same bits

Data: digits, mnist:FOLDER, images:FOLDER (subfolders are classes), npz:FILE (arrays x and y or
condition), or a toy: ring:N, grid:N, two-moons:N, ... The folder gets model.safetensors, losses.csv
and run.json; while training also checkpoint.safetensors.
"""

MODEL, CHECKPOINT = "model.safetensors", "checkpoint.safetensors"
LOSSES, RUN = "losses.csv", "run.json"


def add_train(parser: argparse.ArgumentParser) -> None:
    """The arguments of `evogen train`."""
    parser.add_argument("-m", "--model", help="a model's name, e.g. vae, ddpm, gan, pixelcnn")
    parser.add_argument("-d", "--data", help="what to learn from; see above")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for all results")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the model, e.g. latent_dim=8 or hidden=[64,64]; may be repeated",
    )
    parser.add_argument("--steps", type=int, help="training steps (default: the model's)")
    parser.add_argument("--seed", type=int, help="decides everything random (default: 0)")
    parser.add_argument("--device", help="cpu, cuda, cuda:N or auto (default: auto)")
    parser.add_argument(
        "--conditional", action="store_true", help="learn to sample given labels or a condition"
    )
    parser.add_argument("--image-size", type=int, help="of images:FOLDER, brought to this size")
    parser.add_argument("--grey", action="store_true", help="read images:FOLDER without colours")
    parser.add_argument(
        "--checkpoint-every", type=int, default=500, metavar="N", help="steps (default: 500)"
    )
    parser.add_argument("--resume", action="store_true", help="finish the training in DIR")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar")


def run_train(args: argparse.Namespace) -> int:
    """The command `evogen train`; its exit code."""
    from evogen.models.callbacks import Checkpoint

    folder = Path(args.out)
    plan = _recorded(folder, args) if args.resume else _planned(folder, args)
    if plan.get("done"):
        print(f"{folder} is finished already: {MODEL} is there")
        return 0
    checkpoint = Checkpoint(folder / CHECKPOINT, every=args.checkpoint_every)
    model = _new_model(plan, args.device or plan["device"])
    x, condition = _read_data(plan)
    resumed = _unfinished(folder, plan, args.device) if args.resume else None
    is_new = not folder.exists()
    if not args.resume:
        _start_folder(folder)
    _write_json(folder / RUN, plan)
    losses = LossFile(folder / LOSSES, resumed.unfinished_.n_done if resumed else 0)
    watching = [checkpoint, losses, *([] if args.quiet else [_progress_bar(plan["model"])])]
    began = time.monotonic()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if resumed is not None:
                model = resumed
                resumed.resume(x, condition, callback=watching)
            else:
                model.fit(x, condition, callback=watching)
    except KeyboardInterrupt:
        again = f"evogen train --out {shlex.quote(args.out)} --resume"
        print(f"evogen: interrupted; this goes on: {again}", file=sys.stderr)
        return 130
    except Exception:
        if not args.resume and not (folder / CHECKPOINT).exists():
            # Refused, most likely for its data: nothing stands in the way of another attempt.
            losses.waiting = []
            for name in (RUN, LOSSES):
                (folder / name).unlink()
            if is_new:
                with contextlib.suppress(OSError):  # something else lies there: not the error here
                    folder.rmdir()
        raise
    finally:
        losses.write()
    for warning in caught:
        print(f"evogen: {' '.join(str(warning.message).split())}", file=sys.stderr)
    _save_whole(model, folder / MODEL)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    seconds = plan["seconds"] + time.monotonic() - began
    _write_json(folder / RUN, {**plan, "done": True, "seconds": round(seconds, 2)})
    last = ", ".join(f"{k} {float(v[-1]):.5g}" for k, v in model.losses_.items() if len(v))
    print(f"{plan['model']} learned {tuple(x.shape)} from {plan['data']}{last and ': '}{last}")
    print(f"{folder / MODEL} holds the model; evogen sample {shlex.quote(args.out)} -n 16")
    return 0


def _planned(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """What a new training is to do, checked as far as it can be before the data are read."""
    for name in ("model", "data"):
        if getattr(args, name) is None:
            raise ValueError(f"--{name} is missing (only --resume takes it from the folder)")
    found = [name for name in (MODEL, CHECKPOINT, RUN) if (folder / name).exists()]
    if found:
        raise ValueError(
            f"{folder} holds a training already ({found[0]}): choose another folder, or --resume"
        )
    cls = find_model(args.model)
    params = _params(cls, args.set)
    if args.steps is not None:
        if "n_steps" not in _parameter_names(cls):
            raise ValueError(f"--steps: {cls.__name__} is fitted at once, without steps")
        params["n_steps"] = args.steps
    params["random_state"] = args.seed if args.seed is not None else params.get("random_state", 0)
    return {
        "model": cls.__name__,
        "params": params,
        "data": args.data,
        "conditional": args.conditional,
        "image_size": args.image_size,
        "channels": 1 if args.grey else 3,
        "device": args.device or "auto",
        "done": False,
        "seconds": 0.0,
        "versions": _versions(),
    }


def _recorded(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """What the training in the folder does; what is asked for beside --resume must be the same."""
    try:
        plan = json.loads((folder / RUN).read_text(encoding="utf-8"))
        params = {k: _tuples(v) for k, v in plan["params"].items()}
        plan = {**plan, "params": params}
        known = {name: plan[name] for name in ("model", "data", "device", "seconds", "conditional")}
    except FileNotFoundError:
        raise FileNotFoundError(f"{folder} holds no training to resume: no {RUN}") from None
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder / RUN} is damaged: {error}") from error
    wanted = {"data": args.data, "model": args.model and find_model(args.model).__name__}
    for name, value in wanted.items():
        if value is not None and value != known[name]:
            raise ValueError(f"--{name} {value}: the training in {folder} has {known[name]}")
    asked = _params(find_model(known["model"]), args.set)
    asked |= {} if args.steps is None else {"n_steps": args.steps}
    asked |= {} if args.seed is None else {"random_state": args.seed}
    for name, value in asked.items():
        if name not in params or params[name] != value:
            raise ValueError(
                f"{name}={value!r}: the training in {folder} has {params.get(name, 'the default')}"
            )
    if args.conditional and not known["conditional"]:
        raise ValueError(f"--conditional: the training in {folder} is not")
    return plan


def find_model(name: str) -> type[GenerativeModel]:
    """The model class of a name, in small letters or not, with or without hyphens.

    Raises:
        ValueError: There is none.
    """
    import evogen.models  # noqa: F401, registers them
    from evogen.models.serialization import REGISTRY

    known = {cls.lower(): cls for cls in REGISTRY}
    plain = name.lower().replace("-", "").replace("_", "")
    if plain not in known:
        near = difflib.get_close_matches(plain, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"no model {name!r}; there are {', '.join(sorted(known))}{hint}")
    return REGISTRY[known[plain]]


def _parameter_names(cls: type[GenerativeModel]) -> list[str]:
    from dataclasses import fields

    return [field.name for field in fields(cls) if field.init]


def _params(cls: type[GenerativeModel], pairs: Sequence[str]) -> dict[str, Any]:
    """The parameters in NAME=VALUE texts, of names that the model has."""
    names = _parameter_names(cls)
    params = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        name = name.replace("-", "_")
        if not equals or not name:
            raise ValueError(f"--set {pair}: give NAME=VALUE, e.g. lr=0.001")
        if name == "device":
            raise ValueError("--set device: use --device")
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(names)}"
            raise ValueError(f"--set {pair}: {cls.__name__} has no parameter {name!r}{hint}")
        try:
            params[name] = _tuples(json.loads(text))
        except ValueError:
            params[name] = text
    return params


def _tuples(value: Any) -> Any:
    """JSON has lists only; parameters are tuples."""
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def _new_model(plan: dict[str, Any], device: str) -> GenerativeModel:
    from evogen.models.checks import resolve_device

    # The name of what "auto" means is kept, so that a file says where it was trained.
    chosen = str(resolve_device(device))
    return find_model(plan["model"])(**plan["params"], device=chosen)


def _read_data(plan: dict[str, Any]) -> tuple[Tensor, Tensor | None]:
    """The data of a plan; the plan learns what they were, or they must be what it says."""
    from evogen.models.data import load_data

    x, condition = load_data(plan["data"], size=plan["image_size"], channels=plan["channels"])
    if plan["conditional"] and condition is None:
        raise ValueError(f"--conditional: {plan['data']} has no labels and no condition")
    condition = condition if plan["conditional"] else None
    digest = hashlib.sha256()
    for tensor in (x, *([] if condition is None else [condition])):
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    found = {"items": list(x.shape), "sha256": digest.hexdigest()}
    if plan.setdefault("content", found) != found:
        raise ValueError(f"{plan['data']} has changed since the training began")
    return x, condition


def _unfinished(folder: Path, plan: dict[str, Any], device: str | None) -> Any:
    """The model in the checkpoint, or None where there is none to go on from."""
    from evogen.models import load_model

    if not (folder / CHECKPOINT).exists():
        return None
    model = load_model(folder / CHECKPOINT, device=device)
    # A model made of several may have left one of these.
    whole = type(model).__name__ == plan["model"]
    return model if whole and getattr(model, "unfinished_", None) is not None else None


def _start_folder(folder: Path) -> None:
    from evogen.experiment.targets import prepare_folder

    prepare_folder(folder)
    (folder / LOSSES).unlink(missing_ok=True)


def _progress_bar(name: str) -> Any:
    from evogen.models.callbacks import ProgressBar

    return ProgressBar(name)


def _save_whole(model: GenerativeModel, path: Path) -> None:
    part = path.with_name(f"{path.name}.part")
    model.save(part)
    os.replace(part, path)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    os.replace(part, path)


def _versions() -> dict[str, str]:
    import numpy as np
    import torch

    return {
        "evogen": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


class LossFile:
    """Writes the losses of every step to a CSV file: step, name, loss.

    Args:
        path: The file; what it has of steps from n_done on is dropped.
        n_done: Steps that an interrupted training had done at its last checkpoint.
    """

    def __init__(self, path: Path, n_done: int = 0) -> None:
        self.path = path
        self.waiting: list[tuple[int, LossDict]] = []
        kept = []
        if n_done and path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()[1:]
            # The last line may be half written.
            whole = [line for line in lines if line.count(",") == 2]
            kept = [line for line in whole if int(line.partition(",")[0]) < n_done]
        path.write_text("\n".join(["step,name,loss", *kept]) + "\n", encoding="utf-8")

    def __call__(self, step: int, losses: LossDict) -> bool:
        """Remembers them: reading a loss now would wait for the device."""
        self.waiting.append((step, losses))
        return False

    def after_block(self, model: Any, n_done: int, losses: LossDict) -> None:
        """Writes those of the block."""
        self.write()

    def write(self) -> None:
        """Writes what is waiting."""
        if not self.waiting:
            return
        with self.path.open("a", encoding="utf-8") as file:
            for step, losses in self.waiting:
                file.writelines(f"{step},{name},{float(v):.9g}\n" for name, v in losses.items())
        self.waiting = []
