"""What models of token sequences share: where a sequence ends, drawing tokens, networks.

Sequences `(n, t)` have one length t. Shorter ones are told by an `end_token`: the first one ends a
sequence and belongs to it, and what stands behind it does not count and is the same token again.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evogen.models.layers import LSTM, Conv2d, Embedding, Linear

State = tuple[Tensor, Tensor]


def counted(tokens: Tensor, end_token: int | None) -> Tensor:
    """Which tokens belong to their sequence: those up to the first end token, and that one.

    Args:
        tokens: `(..., t)`.
        end_token: What ends a sequence; None for nothing.

    Returns:
        Boolean `(..., t)`.
    """
    if end_token is None:
        return torch.ones_like(tokens, dtype=torch.bool)
    ends = (tokens == end_token).long()
    return ends.cumsum(dim=-1) - ends == 0


def fill_behind_end(tokens: Tensor, end_token: int | None) -> Tensor:
    """Tokens `(..., t)` with the end token in all places behind the first one."""
    if end_token is None:
        return tokens
    return torch.where(counted(tokens, end_token), tokens, end_token)


def draw_tokens(logits: Tensor, uniforms: Tensor | None, temperature: float = 1.0) -> Tensor:
    """Draws a token from each row of probabilities softmax(logits / temperature).

    Args:
        logits: `(n, n_tokens)`.
        uniforms: In [0, 1), `(n,)`; not used at temperature 0.
        temperature: >= 0; 0 takes the most probable token.

    Returns:
        Integers `(n,)`.
    """
    if temperature == 0 or uniforms is None:
        return logits.argmax(dim=1)
    logits = logits.float()
    weights = ((logits - logits.amax(dim=1, keepdim=True)) / temperature).exp()
    cumulative = weights.cumsum(dim=1)
    level = uniforms[:, None] * cumulative[:, -1:]
    index = torch.searchsorted(cumulative, level, right=True)[:, 0]
    return index.clamp(max=logits.shape[1] - 1)


class TokenLSTM(nn.Module):
    """A recurrent language model: embedding, LSTM, linear output.

    The input before the first token is the embedding of token 0, and the first state is 0, as in
    SeqGAN (Yu et al. 2017); that start is not part of the sequence.

    Args:
        n_tokens: Size of the vocabulary.
        n_embedding: Size of an embedding.
        n_hidden: Size of the state.
        n_condition: Number of condition inputs, which are mapped and added to every embedding.
    """

    def __init__(
        self, n_tokens: int, n_embedding: int, n_hidden: int, *, n_condition: int = 0
    ) -> None:
        super().__init__()
        self.n_hidden = n_hidden
        self.embedding = Embedding(n_tokens, n_embedding, gain=0.1)
        self.lstm = LSTM(n_embedding, n_hidden)
        self.output = Linear(n_hidden, n_tokens)
        self.condition = Linear(n_condition, n_embedding) if n_condition else None

    def forward(self, tokens: Tensor, condition: Tensor | None = None) -> Tensor:
        """Logits of every token given those before it, `(n, t, n_tokens)`, of tokens `(n, t)`."""
        before = torch.cat((torch.zeros_like(tokens[:, :1]), tokens[:, :-1]), dim=1)
        hidden, _ = self.lstm(self.embed(before, condition))
        logits: Tensor = self.output(hidden)
        return logits

    def embed(self, tokens: Tensor, condition: Tensor | None) -> Tensor:
        """Inputs `(n, t, n_embedding)` of the LSTM, of tokens `(n, t)`."""
        embedded: Tensor = self.embedding(tokens)
        if self.condition is not None and condition is not None:
            embedded = embedded + self.condition(condition)[:, None]
        return embedded

    def start(self, n: int, condition: Tensor | None = None) -> tuple[Tensor, State]:
        """Logits of the first token `(n, n_tokens)`, and the state behind them."""
        device = self.embedding.weight.device
        zero = torch.zeros(1, n, self.n_hidden, device=device)
        return self.step(torch.zeros(n, dtype=torch.int64, device=device), (zero, zero), condition)

    def step(
        self, tokens: Tensor, state: State, condition: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Logits `(n, n_tokens)` of what follows tokens `(n,)`, and the next state."""
        hidden, state = self.lstm(self.embed(tokens[:, None], condition), state)
        return self.output(hidden[:, 0]), state

    def log_probs(self, tokens: Tensor, condition: Tensor | None = None) -> Tensor:
        """Log probability in nats of every token given those before it, `(n, t)`."""
        logits = self(tokens, condition).float()
        nll = F.cross_entropy(logits.flatten(0, 1), tokens.flatten(), reduction="none")
        return -nll.view(tokens.shape)

    @torch.no_grad()
    def sample(
        self, uniforms: Tensor, condition: Tensor | None = None, *, temperature: float = 1.0
    ) -> Tensor:
        """Draws sequences `(n, t)`, one token per number in [0, 1) of `(n, t)`."""
        logits, state = self.start(uniforms.shape[0], condition)
        drawn = [draw_tokens(logits, uniforms[:, 0], temperature)]
        for u in uniforms.unbind(dim=1)[1:]:
            logits, state = self.step(drawn[-1], state, condition)
            drawn.append(draw_tokens(logits, u, temperature))
        return torch.stack(drawn, dim=1)


class TextCNN(nn.Module):
    """Convolutions of several widths, their maxima over the sequence, a highway layer, one logit.

    Kim (2014) with the highway layer of Srivastava et al. (2015), as in SeqGAN's section 3.

    Args:
        n_tokens: Size of the vocabulary.
        length: Number of tokens of a sequence; wider convolutions than that are left out.
        n_embedding: Size of an embedding.
        widths: Numbers of tokens that a convolution sees.
        n_filters: Number of filters of each width.
        n_condition: Number of condition inputs, which are joined to the maxima.
    """

    def __init__(
        self,
        n_tokens: int,
        length: int,
        *,
        n_embedding: int,
        widths: Sequence[int],
        n_filters: int,
        n_condition: int = 0,
    ) -> None:
        super().__init__()
        fitting = [width for width in widths if width <= length] or [length]
        self.embedding = Embedding(n_tokens, n_embedding)
        self.convolutions = nn.ModuleList(
            Conv2d(1, n_filters, (width, n_embedding)) for width in fitting
        )
        self.n_features = n_filters * len(fitting) + n_condition
        self.transform = Linear(self.n_features, self.n_features)
        self.gate = Linear(self.n_features, self.n_features)
        self.output = Linear(self.n_features, 1)

    def forward(
        self, tokens: Tensor, condition: Tensor | None = None, kept: Tensor | None = None
    ) -> Tensor:
        """Logits `(n,)` that tokens `(n, t)` are data.

        Args:
            tokens: `(n, t)`.
            condition: `(n, n_condition)` or None.
            kept: What the features are multiplied by, `(n, n_features)`: dropout; None for none.
        """
        embedded = self.embedding(tokens)[:, None]
        maxima = [F.relu(layer(embedded)).amax(dim=(2, 3)) for layer in self.convolutions]
        x = torch.cat(maxima if condition is None else [*maxima, condition], dim=1)
        # Open to the input at first (Srivastava et al. 2015, section 2.2).
        gate = torch.sigmoid(self.gate(x) - 2)
        x = torch.lerp(x, F.relu(self.transform(x)), gate)
        logits: Tensor = self.output(x if kept is None else x * kept)
        return logits[:, 0]
