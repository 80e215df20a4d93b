"""Captions for models: words to numbers, and numbers to vectors that a network can look at."""

from __future__ import annotations

import difflib
import re
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evogen.models.layers import Attention, Embedding, Linear

PADDING, UNKNOWN = 0, 1
WORD = re.compile(r"\w+|[^\w\s]")


def as_captions(name: str, value: Any) -> list[str]:
    """A text, or a sequence or array of texts, as a list.

    Raises:
        TypeError: It is none of these.
    """
    if isinstance(value, str):
        return [value]
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, (list, tuple)) or not all(isinstance(text, str) for text in value):
        raise TypeError(f"{name} must be captions, one text per item; got {type(value).__name__}")
    return list(value)


def split_words(caption: str) -> list[str]:
    """The words and punctuation marks of a caption, in lower case."""
    return WORD.findall(caption.lower())


@dataclass(frozen=True)
class WordVocabulary:
    """Numbers for words: 0 is padding, 1 an unknown word, and from 2 on those of `words`.

    Attributes:
        words: The known words.
    """

    words: tuple[str, ...]

    @classmethod
    def from_captions(cls, captions: Sequence[str], *, min_count: int = 1) -> WordVocabulary:
        """The words that occur at least so many times in captions, in alphabetical order."""
        count = Counter(word for caption in captions for word in split_words(caption))
        return cls(tuple(sorted(word for word, n in count.items() if n >= min_count)))

    def __len__(self) -> int:
        return len(self.words) + 2

    def encode(
        self, captions: Sequence[str], length: int | None = None, *, warn: bool = True
    ) -> Tensor:
        """Captions as numbers, filled up with padding.

        Args:
            captions: n texts.
            length: Number of columns t; None for the words of the longest caption, at least one.
            warn: Whether unknown words are worth a warning.

        Returns:
            Integers `(n, t)`.

        Raises:
            ValueError: A caption has more words than there are columns.

        Warns:
            UserWarning: A word is not known.
        """
        number = {word: i for i, word in enumerate(self.words, start=2)}
        split = [split_words(caption) for caption in captions]
        longest = max((len(words) for words in split), default=0)
        length = max(1, longest) if length is None else length
        if longest > length:
            raise ValueError(f"captions may have at most {length} words; one has {longest}")
        unknown = {word for words in split for word in words if word not in number}
        for word in sorted(unknown) if warn else ():
            near = difflib.get_close_matches(word, self.words, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            warnings.warn(f"unknown word {word!r} in a caption{hint}", stacklevel=2)
        tokens = torch.full((len(split), length), PADDING)
        for row, words in zip(tokens, split, strict=True):
            row[: len(words)] = torch.tensor([number.get(word, UNKNOWN) for word in words]).long()
        return tokens

    def decode(self, tokens: Tensor) -> list[str]:
        """Integers `(n, t)` as texts: words with spaces between them, "?" for an unknown one."""
        names = ("", "?", *self.words)
        return [" ".join(names[i] for i in row if i != PADDING) for row in tokens.tolist()]

    def to_bytes(self) -> Tensor:
        """All words as UTF-8 with a line break after each, uint8 `(k,)`, k >= 1, for a file."""
        text = "".join(word + "\n" for word in self.words) or "\n"
        return torch.tensor(list(text.encode()), dtype=torch.uint8)

    @classmethod
    def from_bytes(cls, data: Tensor) -> WordVocabulary:
        """The inverse of `to_bytes`.

        Raises:
            ValueError: It holds no UTF-8, or not its words in order.
        """
        text = bytes(data.tolist()).decode()
        words = tuple(text.splitlines()) if text != "\n" else ()
        if list(words) != sorted(set(words)) or any(split_words(w) != [w] for w in words):
            raise ValueError("a vocabulary must hold different words in alphabetical order")
        return cls(words)


class TextEncoder(nn.Module):
    """A Transformer encoder (Vaswani et al. 2017) of captions, with learned positions.

    An unknown word stands in its place without a meaning: its embedding is 0.

    Args:
        n_tokens: Size of the vocabulary, padding and unknown word included.
        length: Longest caption, in words.
        dim: Size of the vectors; a multiple of n_heads.
        n_layers: Number of layers of attention and perceptron, each normalized first.
        n_heads: Heads of attention.
    """

    def __init__(
        self, n_tokens: int, length: int, dim: int, *, n_layers: int = 1, n_heads: int = 4
    ) -> None:
        super().__init__()
        self.dim = dim
        self.words = Embedding(n_tokens, dim)
        self.positions = Embedding(length, dim, gain=0.3)
        self.layers = nn.ModuleList(TextLayer(dim, n_heads) for _ in range(n_layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Encodes integers `(n, t)`.

        Returns:
            Vectors `(n, t, dim)`, and where there are words, boolean `(n, t)`.
        """
        there = tokens != PADDING
        x = self.words(tokens) * (tokens != UNKNOWN)[:, :, None] + self.positions.weight
        # A caption without words attends to its first place: attention to nothing is no number.
        first = torch.arange(tokens.shape[1], device=tokens.device) == 0
        mask = (there | first)[:, None, None, :]
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x), there


class TextLayer(nn.Module):
    """x + attention(norm(x)), then x + perceptron(norm(x)).

    Args:
        dim: Size of the vectors.
        n_heads: Heads of attention.
    """

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList((nn.LayerNorm(dim), nn.LayerNorm(dim)))
        self.attention = Attention(dim, n_heads)
        self.wide, self.narrow = Linear(dim, 4 * dim), Linear(4 * dim, dim)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Maps `(n, t, dim)`, attending where the mask `(n, 1, 1, t)` is true."""
        x = x + self.attention(self.norms[0](x), mask=mask)
        return x + self.narrow(F.gelu(self.wide(self.norms[1](x))))


class ClipText:
    """CLIP's text encoder (Radford et al. 2021) as it is: not trained further, not saved.

    Numbers of tokens are CLIP's plus one, so that 0 is padding here too.

    Args:
        name: Folder with the weights and the tokenizer, or their name on the Hugging Face hub.

    Raises:
        ImportError: The package transformers is missing.
        OSError: There are no such weights.
    """

    def __init__(self, name: str) -> None:
        try:
            from transformers import CLIPTextModel, CLIPTokenizer
        except ImportError as error:
            raise ImportError(
                "text_encoder='clip' needs the package transformers; pip install evogen[clip]"
            ) from error
        self.tokenizer = CLIPTokenizer.from_pretrained(name)
        self.model: nn.Module = CLIPTextModel.from_pretrained(name).eval()
        self.model.requires_grad_(False)
        self.dim = int(self.model.config.hidden_size)
        self.longest = int(self.model.config.max_position_embeddings)

    def encode(self, captions: Sequence[str], length: int | None = None) -> Tensor:
        """Captions as integers `(n, t)`; as in `WordVocabulary`.

        Raises:
            ValueError: A caption is longer than t, or than CLIP reads.
        """
        split = [self.tokenizer(caption)["input_ids"] if caption else [] for caption in captions]
        longest = max((len(ids) for ids in split), default=0)
        length = max(1, longest) if length is None else length
        if longest > min(length, self.longest):
            most = min(length, self.longest)
            raise ValueError(f"captions may have at most {most} tokens of CLIP; one has {longest}")
        tokens = torch.full((len(split), length), PADDING)
        for row, ids in zip(tokens, split, strict=True):
            row[: len(ids)] = torch.tensor(ids).long() + 1
        return tokens

    @torch.no_grad()
    def vectors(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """What the last layer makes of integers `(n, t)`: `(n, t, dim)`, and where it counts."""
        # A batch says the same few things many times.
        different, place = torch.unique(tokens, dim=0, return_inverse=True)
        there = different != PADDING
        seen = self.model.to(tokens.device)(
            input_ids=(different - 1).clamp(min=0),
            # Captions without words are not looked at, but must have something to attend to.
            attention_mask=(there | ~there.any(dim=1, keepdim=True)).long(),
        ).last_hidden_state
        return seen[place], there[place]


class FrozenText(nn.Module):
    """A text encoder in a network without being part of its weights.

    Args:
        vectors: Tokens `(n, t)` to vectors `(n, t, dim)` and where there are words.
        dim: Size of the vectors.
    """

    def __init__(self, vectors: Callable[[Tensor], tuple[Tensor, Tensor]], dim: int) -> None:
        super().__init__()
        # A function stays the same in copies of the network, and hides what it holds from torch.
        self.vectors = lambda tokens: vectors(tokens)
        self.dim = dim

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Encodes integers `(n, t)`; see `TextEncoder`."""
        return self.vectors(tokens)
