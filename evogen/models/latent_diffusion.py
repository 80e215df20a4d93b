"""Latent diffusion: an autoencoder makes pictures small, and a text-guided diffusion makes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from evogen.models.autoencoder_kl import AutoencoderKL
from evogen.models.base import GenerativeModel, Rows
from evogen.models.callbacks import Callbacks
from evogen.models.checks import as_rows, check_number, check_widths
from evogen.models.convolutional import stage_sizes, use_convolutions
from evogen.models.scaling import ScalerKind
from evogen.models.schedulers import NoiseSchedule, Prediction
from evogen.models.serialization import register
from evogen.models.text_diffusion import TextDDPM, with_raw_condition
from evogen.models.training import Callback, LossDict, Schedule

LatentT = TypeVar("LatentT", bound="LatentDiffusion")

# Items that are encoded or decoded at once.
CHUNK = 512


class OnBehalf:
    """Callbacks of a part's fit that are told of the whole, so that this is what they save.

    Args:
        whole: The model that the part belongs to.
        callbacks: Of its fit.
    """

    def __init__(self, whole: LatentDiffusion, callbacks: Callbacks) -> None:
        self.whole, self.callbacks = whole, callbacks

    def __call__(self, step: int, losses: LossDict) -> bool:
        """Asks them."""
        return self.callbacks(step, losses)

    def start(self, part: Any, n_steps: int, n_done: int) -> None:
        """Before the first step."""
        self.callbacks.start(self.whole, n_steps, n_done)  # type: ignore[arg-type]

    def after_block(self, part: Any, n_done: int, losses: LossDict) -> None:
        """After a block of steps."""
        self.callbacks.after_block(self.whole, n_done, losses)  # type: ignore[arg-type]

    def finish(self, part: Any) -> None:
        """At the end."""
        self.callbacks.finish(self.whole)  # type: ignore[arg-type]


@lru_cache(maxsize=1)
def shared_parameters() -> tuple[str, ...]:
    """Names of the parameters that `LatentDiffusion` hands on to its diffusion."""
    # Codes are scaled already, and lie on the device of the whole.
    own = {f.name for f in fields(TextDDPM)} - {"normalize", "device"}
    return tuple(f.name for f in fields(LatentDiffusion) if f.name in own)


@register
@dataclass(kw_only=True, eq=False, repr=False)
class LatentDiffusion(GenerativeModel):
    """Text to image by diffusion in the codes of an autoencoder (Rombach et al. 2022).

    A fit first trains an autoencoder, once, unless `use_autoencoder` has handed one over; then a
    `TextDDPM` on its codes, divided by their standard deviation (appendix G). The condition is a
    list of n captions; without one the model is unconditional. Samples decode what the diffusion
    draws. Vectors work too: the code is a vector and the denoiser a perceptron.

    Attributes:
        latent_channels: Channels of the code of an image; size of the code of a vector.
        autoencoder_channels: Width of every stage of the autoencoder, each of which halves the
            image: the paper's f is 2 to their number.
        autoencoder_steps: Training steps of the autoencoder.
        kl_weight: Weight beta of its KL term.
        text_encoder: "own", trained with the denoiser, or "clip"; see `TextDDPM`.
        clip_weights: Folder or name of CLIP's weights.
        caption_length: Most words of a caption; None for those of the longest in the first data.
        text_dim: Size of the own encoder's vectors, a multiple of 4.
        text_layers: Number of the own encoder's layers. With 0 every word speaks for itself, which
            helps with combinations of words that were never shown.
        min_count: Words that are rarer in the first captions count as unknown.
        condition_dropout: Share of captions hidden in training, for guidance.
        guidance: w in output = without + w (with - without) (Ho and Salimans 2022).
        channels: Channels of the U-Net at each resolution, the highest first.
        n_blocks: Its residual blocks at each resolution.
        n_attention: At how many of its lowest resolutions it looks at the caption.
        hidden: Widths of the perceptron's hidden layers, for codes that are vectors.
        time_dim: Size of the embedding of the noise level, even.
        prediction: What the denoiser predicts: "noise", "x0" or "v".
        noise_schedule: "cosine" or "linear"; see `alpha_bar`.
        n_sample_steps: Denoising steps of a sample.
        eta: 0 for DDIM, 1 for DDPM; see `DDPM`.
        n_steps: Training steps of the diffusion per fit.
        batch_size: Rows per step, in both trainings.
        lr: Learning rate of Adam, of the diffusion.
        schedule: Of its learning rate; see `NeuralModel`, as for the next ones.
        max_grad_norm: Longest gradient allowed, or None.
        ema_decay: Decay of the moving average of its weights.
        accumulate: Batches per step.
        precision: "float32" or "bf16".
        compile: Whether networks are compiled.
        parts_: "autoencoder", an `AutoencoderKL` or the one handed over; "diffusion", a
            `TextDDPM` on its codes.
        buffers_: "deviation" `(1,)`, the standard deviation of the codes.
    """

    latent_channels: int = 4
    autoencoder_channels: Sequence[int] = (32, 64)
    autoencoder_steps: int = 500
    kl_weight: float = 0.1
    text_encoder: Literal["own", "clip"] = "own"
    clip_weights: str = "openai/clip-vit-base-patch32"
    caption_length: int | None = None
    text_dim: int = 32
    text_layers: int = 1
    min_count: int = 1
    condition_dropout: float = 0.1
    guidance: float = 2.0
    channels: Sequence[int] = (32, 64)
    n_blocks: int = 1
    n_attention: int = 2
    hidden: Sequence[int] = (128, 128, 128)
    time_dim: int = 16
    prediction: Prediction = "v"
    noise_schedule: NoiseSchedule = "cosine"
    n_sample_steps: int | None = 20
    eta: float = 0.0
    n_steps: int = 1000
    batch_size: int | None = 64
    lr: float = 2e-3
    schedule: Schedule = "cosine"
    max_grad_norm: float | None = 1.0
    ema_decay: float = 0.995
    accumulate: int = 1
    precision: Literal["float32", "bf16"] = "float32"
    compile: bool | str = False

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        check_number("latent_channels", self.latent_channels, low=1, high=1 << 16, integer=True)
        check_widths("autoencoder_channels", self.autoencoder_channels)
        check_number("autoencoder_steps", self.autoencoder_steps, low=0, integer=True)
        check_number("kl_weight", self.kl_weight, low=0)
        TextDDPM(**self._shared())  # checks those it shares

    def _shared(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in shared_parameters()}

    @property
    def scaler_kind(self) -> ScalerKind:
        """Items reach the autoencoder as they are, and it scales them."""
        return "none"

    @property
    def condition_optional(self) -> bool:
        """Whether a model fitted with captions can also sample without one."""
        return self.condition_dropout > 0

    def buffer_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Names and shapes of `buffers_`."""
        return {"deviation": (1,)}

    @property
    def diffusion(self) -> TextDDPM:
        """The model of the codes, with the present parameters."""
        part = self.parts_.get("diffusion")
        if part is None:
            # It gets codes on its device, and numbers of tokens, which are not to be scaled.
            part = TextDDPM(normalize=False, device=self.device)
            self.parts_["diffusion"] = part
        assert isinstance(part, TextDDPM)
        for name, value in self._shared().items():
            setattr(part, name, value)
        return part

    def use_autoencoder(self: LatentT, autoencoder: GenerativeModel) -> LatentT:
        """Hands over an autoencoder instead of having one trained.

        Args:
            autoencoder: A fitted model with `encode` and `decode`, without a condition. Its codes
                are pictures of its `code_shape_` if it has that.

        Returns:
            self.

        Raises:
            RuntimeError: It is not fitted, or this model already has one.
            TypeError: It cannot encode and decode.
        """
        if not callable(getattr(autoencoder, "encode", None)) or not hasattr(autoencoder, "decode"):
            raise TypeError(f"an autoencoder must have encode and decode; got {autoencoder!r}")
        autoencoder.check_fitted()
        if "autoencoder" in self.parts_:
            raise RuntimeError("this model has an autoencoder already; reset() starts anew")
        self.parts_["autoencoder"] = autoencoder
        return self

    # Data on their way in.

    def check_rows(self, x: Any, condition: Any, negative: Any = None) -> Rows:
        """Checks the data of a fit; see `fit` for what is raised."""
        if negative is not None:
            raise ValueError("negative must be None: a LatentDiffusion cannot learn from it")
        return super().check_rows(x, condition)

    def read_condition(self, condition: Any, classes: Tensor | None, *, hint: str = "") -> Tensor:
        """Captions as rows of numbers of tokens `(n, t)`; see `TextDDPM.read_condition`."""
        return self.diffusion.read_condition(condition, None, hint=hint)

    # Learning.

    def build(self, generator: torch.Generator | None) -> None:
        """Does nothing: the parts build themselves."""

    def learn(
        self,
        rows: Rows,
        *,
        n_steps: int | None,
        generator: torch.Generator,
        callback: Callback | None,
    ) -> None:
        """Trains the autoencoder if there is none, then the diffusion of its codes.

        Callbacks watch the diffusion; n_steps are its steps.
        """
        rows = with_raw_condition(self, rows)
        if "autoencoder" not in self.parts_:
            self.parts_["autoencoder"] = self._new_autoencoder().fit(
                rows.x.view(-1, *self.item_shape_), generator=generator
            )
        codes = self._codes(rows.x)
        if "deviation" not in self.buffers_:
            deviation = codes.std(correction=0)
            self.buffers_["deviation"] = torch.where(deviation > 1e-6, deviation, 1.0)[None]
        diffusion = self.diffusion
        if diffusion.n_features_ is None:
            shape = getattr(self.parts_["autoencoder"], "code_shape_", ())
            diffusion.picture_shape = tuple(shape) if len(shape) == 3 else None
        diffusion.fit_rows(
            Rows((codes / self.buffers_["deviation"]).double(), rows.condition),
            n_steps=n_steps,
            generator=generator,
            callback=self._watch(callback),
        )
        self.losses_, self.n_steps_ = diffusion.losses_, diffusion.n_steps_

    def _new_autoencoder(self) -> GenerativeModel:
        size = 1
        if use_convolutions("auto", self.item_shape_, self.autoencoder_channels):
            size = math.prod(stage_sizes(self.item_shape_, len(self.autoencoder_channels))[-1])
        return AutoencoderKL(
            latent_dim=self.latent_channels * size,
            channels=self.autoencoder_channels,
            n_steps=self.autoencoder_steps,
            beta=self.kl_weight,
            batch_size=self.batch_size,
            precision=self.precision,
            compile=self.compile,
            normalize=self.normalize,
            device=str(self.device_),
            random_state=self.random_state,
            schedule="linear",
        )

    def _watch(self, callback: Callback | Sequence[Callback] | None) -> Callback | None:
        callbacks = callback if isinstance(callback, Callbacks) else Callbacks(callback)
        return OnBehalf(self, callbacks) if callbacks else None

    def _codes(self, x: Tensor) -> Tensor:
        """Codes `(n, k)` of rows of items `(n, d)`, as the autoencoder gives them."""
        encoder: Any = self.parts_["autoencoder"]
        return torch.cat([encoder.encode(p.view(-1, *self.item_shape_)) for p in x.split(CHUNK)])

    def resume(
        self: LatentT,
        x: Any,
        condition: Any = None,
        *,
        callback: Callback | Sequence[Callback] | None = None,
    ) -> LatentT:
        """Finishes the diffusion's fit that was interrupted when a `Checkpoint` saved this model.

        Args:
            x: The data of that fit.
            condition: Its captions.
            callback: As in `fit`.

        Returns:
            self.

        Raises:
            RuntimeError: There is no unfinished fit.
            ValueError: As in `fit`.
        """
        rows = self.check_rows(x, condition)
        codes = self._codes(self._scaled(rows.x.to(self.device_))) / self.buffers_["deviation"]
        diffusion = self.diffusion.resume(codes, condition, callback=self._watch(callback))
        self.losses_, self.n_steps_ = diffusion.losses_, diffusion.n_steps_
        return self

    # Use.

    def generate(self, n: int, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        """Samples `(n, d)` in the units of the data, given numbers of tokens `(n, t)`."""
        diffusion, autoencoder = self.diffusion, self.parts_["autoencoder"]
        rows = []
        for start in range(0, n, CHUNK):
            some = None if condition is None else condition[start : start + CHUNK]
            with diffusion.autocast():
                z = diffusion.generate(min(CHUNK, n - start), some, generator)
            z = diffusion.to_items(z) * self.buffers_["deviation"]
            rows.append(autoencoder.decode(z).flatten(1))  # type: ignore[attr-defined]
        return torch.cat(rows)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        condition: Any = None,
        *,
        generator: torch.Generator | None = None,
        guidance: float | None = None,
    ) -> Tensor:
        """Draws samples, always finite.

        Args:
            n: How many, >= 0.
            condition: n captions, or one text for all; None, like "", for none.
            generator: Source of random numbers; None for the model's own.
            guidance: Instead of the parameter of this name, >= 0.

        Returns:
            Float32 `(n, *item_shape_)` on the model's device, in the units of the data.

        Raises:
            RuntimeError: The model is not fitted.
            TypeError: The condition is no text.
            ValueError: A wrong number of captions, one that is too long, or a number < 0.
        """
        if guidance is None:
            return super().sample(n, condition, generator=generator)
        check_number("guidance", guidance, low=0)
        kept, self.guidance = self.guidance, float(guidance)
        try:
            return super().sample(n, condition, generator=generator)
        finally:
            self.guidance = kept

    @torch.no_grad()
    def encode(self, x: Any) -> Tensor:
        """Scaled codes `(n, k)` of items `(n, *item_shape_)`: what the diffusion learns."""
        self.check_fitted()
        return self._codes(self.prepare_x(x)) / self.buffers_["deviation"]

    @torch.no_grad()
    def decode(self, z: Any) -> Tensor:
        """Items `(n, *item_shape_)`, in the units of the data, of scaled codes `(n, k)`."""
        self.check_fitted()
        codes = as_rows("z", z).float().to(self.device_) * self.buffers_["deviation"]
        autoencoder: Any = self.parts_["autoencoder"]
        return torch.cat([autoencoder.decode(part) for part in codes.split(CHUNK)])
