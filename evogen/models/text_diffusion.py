"""Diffusion guided by captions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from evogen.models.base import GenerativeModel, Rows
from evogen.models.checks import check_choice, check_number, check_widths
from evogen.models.diffusion import DDPM
from evogen.models.networks import MLP
from evogen.models.scaling import Scaler
from evogen.models.serialization import register
from evogen.models.text import ClipText, FrozenText, TextEncoder, WordVocabulary, as_captions
from evogen.models.training import Callback
from evogen.models.unet import RowUNet, UNet


class TextDenoiser(nn.Module):
    """A denoiser that looks at a caption: a U-Net by cross-attention, a perceptron at its mean.

    Args:
        body: The denoiser.
        text: Tokens `(n, t)` to vectors `(n, t, dim)` and where there are words, `(n, t)`.
        shape: `(c, h, w)` of a picture, for a U-Net; None for a perceptron.
        time_dim: Number of columns of the context that are about the noise level.
    """

    def __init__(
        self, body: UNet | MLP, text: nn.Module, shape: Sequence[int] | None, time_dim: int
    ) -> None:
        super().__init__()
        self.body, self.text = body, text
        self.shape, self.time_dim = shape, time_dim

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Maps rows `(n, d)` given contexts `(n, time_dim + t + 1)`: time, tokens, and a flag.

        The tokens of a hidden caption are all 0, which is padding: it is an empty caption.
        """
        time, tokens = context[:, : self.time_dim], context[:, self.time_dim : -1].long()
        vectors, there = self.text(tokens)
        if self.shape is not None:
            n_channels = x.shape[1] // (self.shape[1] * self.shape[2])
            picture = x.view(-1, n_channels, *self.shape[1:])
            return self.body(picture, time, vectors, there).flatten(1)
        count = there.sum(dim=1, keepdim=True).clamp(min=1)
        mean = (vectors * there[:, :, None]).sum(dim=1) / count
        return self.body(x, torch.cat((time, mean), dim=1))


def with_raw_condition(model: GenerativeModel, rows: Rows) -> Rows:
    """Undoes the scaling of a condition that is numbers of tokens, for this and later calls."""
    if rows.condition is None:
        return rows
    tokens = model.condition_scaler_.denormalize(rows.condition).round()
    model.condition_scaler_ = Scaler.from_data(tokens.double(), "none")
    return replace(rows, condition=tokens)


@register
@dataclass(kw_only=True, eq=False, repr=False)
class TextDDPM(DDPM):
    """A `DDPM` whose condition is a caption: text to image, or text to vector.

    The condition of a fit is a list of n texts, that of a sample such a list or one text for all.
    A small Transformer over the captions' words is trained with the denoiser, or CLIP's text
    encoder is used as it is; a U-Net looks at the words by cross-attention wherever its pixels
    attend to one another (Rombach et al. 2022, section 3.3). Captions hidden by
    `condition_dropout` are empty ones, and so is a condition None, or "", of a sample. The other
    parameters are those of `DDPM`.

    Attributes:
        text_encoder: "own", or "clip" (Radford et al. 2021) for general language; that needs the
            package transformers, `pip install evogen[clip]`.
        clip_weights: Folder of CLIP's text encoder and tokenizer, or their name on the Hugging
            Face hub. They are not part of a saved model.
        caption_length: Most words of a caption, or tokens of CLIP; None for those of the longest
            in the first data.
        text_dim: Own encoder: size of its vectors, a multiple of 4.
        text_layers: Own encoder: number of layers. With 0 every word speaks for itself, which helps
            with combinations of words that were never shown.
        min_count: Own encoder: words that are rarer in the first captions count as unknown.
        picture_shape: Vectors are looked at as pictures of this shape `(c, h, w)`; None for as
            vectors.
        words_: The own encoder's vocabulary; None before a fit with captions.
        buffers_: Also "vocabulary", its words as bytes.
    """

    text_encoder: Literal["own", "clip"] = "own"
    clip_weights: str = "openai/clip-vit-base-patch32"
    caption_length: int | None = None
    text_dim: int = 32
    text_layers: int = 1
    min_count: int = 1
    picture_shape: Sequence[int] | None = None

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        check_text_params(self)
        if self.picture_shape is not None:
            check_widths("picture_shape", self.picture_shape)
            if len(self.picture_shape) != 3:
                raise ValueError(f"picture_shape must be (c, h, w); got {self.picture_shape!r}")

    # Captions.

    def reset(self) -> None:
        """Forgets everything learned, and starts the random stream again."""
        super().reset()
        self.words_: WordVocabulary | None = None
        self._clip: ClipText | None = None

    def load_clip(self) -> ClipText:
        """CLIP's text encoder, loaded when it is first needed."""
        if self._clip is None:
            self._clip = ClipText(self.clip_weights)
        return self._clip

    def check_rows(self, x: Any, condition: Any, negative: Any = None) -> Rows:
        """Checks the data of a fit; see `fit` for what is raised."""
        rows = super().check_rows(x, condition, negative)
        if self.picture_shape is not None and rows.x.shape[1] != math.prod(self.picture_shape):
            if self.n_features_ is None:
                self.item_shape_ = ()
            raise ValueError(
                f"picture_shape {tuple(self.picture_shape)} needs vectors of "
                f"{math.prod(self.picture_shape)} numbers; got {rows.x.shape[1]}"
            )
        return rows

    def read_condition(self, condition: Any, classes: Tensor | None, *, hint: str = "") -> Tensor:
        """Captions as rows of numbers of tokens `(n, t)`.

        Raises:
            TypeError: They are no texts.
            ValueError: A caption is too long.

        Warns:
            UserWarning: A word is not known.
        """
        captions = as_captions("condition", condition)
        first = self.n_features_ is None
        length = self.caption_length if first else self.n_condition_
        if self.text_encoder == "clip":
            return self.load_clip().encode(captions, length).double()
        if first:
            self.words_ = WordVocabulary.from_captions(captions, min_count=self.min_count)
        assert self.words_ is not None
        return self.words_.encode(captions, length, warn=not first).double()

    def buffer_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Names and shapes of `buffers_`; None for a size that the data decide."""
        own = self.n_condition_ > 0 and self.text_encoder == "own"
        return {**super().buffer_shapes(), **({"vocabulary": (None,)} if own else {})}

    def build(self, generator: torch.Generator | None) -> None:
        """Creates the network, and keeps the vocabulary where it will be saved."""
        if self.n_condition_ and self.words_ is not None:
            self.buffers_["vocabulary"] = self.words_.to_bytes().to(self.device_)
        super().build(generator)

    def learn(
        self,
        rows: Rows,
        *,
        n_steps: int | None,
        generator: torch.Generator,
        callback: Callback | None,
    ) -> None:
        """Runs the training loop on scaled rows."""
        rows = with_raw_condition(self, rows)
        super().learn(rows, n_steps=n_steps, generator=generator, callback=callback)

    # The network.

    def network(self) -> nn.Module:
        """The new denoiser, with its text encoder where there are captions."""
        shape = self.item_shape_ if self.is_convolutional else self.picture_shape
        if not self.n_condition_:
            if shape is None or self.is_convolutional:
                return super().network()
            n_in, n_out = self._n_channels(shape)
            picture = (n_in, shape[1], shape[2])
            return RowUNet(picture, n_out, self.time_dim, **self._unet_settings())
        text = self._text()
        if shape is not None:
            settings = self._unet_settings()
            unet = UNet(*self._n_channels(shape), self.time_dim, n_context=text.dim, **settings)
            return TextDenoiser(unet, text, shape, self.time_dim)
        d = self.n_features_ or 0
        body = MLP(
            d * (1 + 2 * self.n_octaves),
            d * (1 + self.learned_variance),
            hidden=self.hidden,
            activation=self.activation,
            n_condition=self.time_dim + text.dim,
            conditioning=self.conditioning,
        )
        return TextDenoiser(body, text, None, self.time_dim)

    def _n_channels(self, shape: Sequence[int]) -> tuple[int, int]:
        """Channels that a U-Net takes in and puts out for pictures of a shape."""
        return shape[0] * (1 + 2 * self.n_octaves), shape[0] * (1 + self.learned_variance)

    def _unet_settings(self) -> dict[str, Any]:
        return {
            "channels": self.channels,
            "n_blocks": self.n_blocks,
            "n_attention": self.n_attention,
        }

    def _text(self) -> TextEncoder | FrozenText:
        if self.text_encoder == "clip":
            clip = self.load_clip()
            return FrozenText(clip.vectors, clip.dim)
        if self.words_ is None:
            self.words_ = WordVocabulary.from_bytes(self.buffers_["vocabulary"])
        n_tokens, length = len(self.words_), self.n_condition_
        return TextEncoder(n_tokens, length, self.text_dim, n_layers=self.text_layers)


def check_text_params(model: Any) -> None:
    """Checks the parameters about captions, which all models with captions have."""
    check_choice("text_encoder", model.text_encoder, ("own", "clip"))
    if not isinstance(model.clip_weights, str):
        raise TypeError(f"clip_weights must be a folder or a name; got {model.clip_weights!r}")
    if model.caption_length is not None:
        check_number("caption_length", model.caption_length, low=1, integer=True)
    check_number("text_dim", model.text_dim, low=4, high=1 << 16, integer=True)
    if model.text_dim % 4:
        raise ValueError(f"text_dim must be a multiple of 4; got {model.text_dim}")
    check_number("text_layers", model.text_layers, low=0, integer=True)
    check_number("min_count", model.min_count, low=1, integer=True)
