"""The UniVAE: one Transformer that encodes and decodes token sequences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evogen.models import vmf
from evogen.models.base import Rows
from evogen.models.checks import ItemKind, as_rows, check_choice, check_number
from evogen.models.layers import Embedding, Linear
from evogen.models.neural import SingleLossModel, take_batches
from evogen.models.rng import normal, uniform
from evogen.models.sequences import counted, draw_tokens, fill_behind_end
from evogen.models.serialization import register
from evogen.models.vmfvae import MAX_KAPPA

MAX_PERIOD = 10_000.0
Rotation = tuple[Tensor, Tensor]


def rotation(positions: Tensor, dim: int) -> Rotation:
    """Cosines and sines `(t, dim / 2)` of rotary positions (Su et al. 2021, eq. 15).

    Args:
        positions: Integers `(t,)`.
        dim: Size of a head, even.
    """
    exponent = torch.arange(0, dim, 2, device=positions.device) / dim
    angle = positions[:, None] * MAX_PERIOD**-exponent
    return angle.cos(), angle.sin()


def rotate(x: Tensor, by: Rotation) -> Tensor:
    """Turns pairs of features of `(..., t, dim)` by the angle of their position."""
    cosine, sine = by
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cosine - b * sine, a * sine + b * cosine), dim=-1).to(x.dtype)


class Block(nn.Module):
    """Masked self-attention and a perceptron, each behind a normalization and added to its input.

    Args:
        dim: Size of an item of the sequence.
        n_heads: Number of heads.
    """

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.queries_keys_values = Linear(dim, 3 * dim)
        self.attention_output = Linear(dim, dim)
        self.first, self.second = Linear(dim, 4 * dim), Linear(4 * dim, dim)

    def forward(self, x: Tensor, mask: Tensor, by: Rotation | None) -> Tensor:
        """Maps `(n, t, dim)`.

        Args:
            x: The sequence.
            mask: Boolean `(t, t)`, true where the row's place may look at the column's.
            by: Of `rotation`, for queries and keys; None for none.
        """
        heads = self.queries_keys_values(self.norm_attention(x))
        query, key, value = heads.unflatten(2, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        if by is not None:
            query, key = rotate(query, by), rotate(key, by)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = x + self.attention_output(attended.transpose(1, 2).flatten(2))
        inner: Tensor = self.second(F.gelu(self.first(self.norm_mlp(x))))
        return x + inner


class UniTransformer(nn.Module):
    """A Transformer over [summary, source, target], where the target sees only codes of the source.

    In the last layers the state of the summary, place 0, becomes a unit vector z of few numbers
    and is replaced by a linear map of it. Source places see the source and the summary. Target
    places see the target up to themselves and, in these last layers, the summary.

    Args:
        n_tokens: Size of the vocabulary.
        length: Largest number of tokens of a source or target.
        dim: Size of a state.
        n_heads: Number of heads.
        n_layers: Number of layers.
        n_latent_layers: Number of layers with a code.
        latent_dim: Size of one code.
        positions: "rotary" or "learned".
        n_condition: Number of condition inputs, which are mapped and added to every embedding.
    """

    def __init__(
        self,
        n_tokens: int,
        length: int,
        *,
        dim: int,
        n_heads: int,
        n_layers: int,
        n_latent_layers: int,
        latent_dim: int,
        positions: str,
        n_condition: int = 0,
    ) -> None:
        super().__init__()
        self.first_latent = n_layers - n_latent_layers
        self.head_dim = dim // n_heads
        # The token behind the last one is the summary in the source, and the start of the target.
        self.special = n_tokens
        self.embedding = Embedding(n_tokens + 1, dim, gain=dim**-0.5)
        self.segment = Embedding(2, dim, gain=dim**-0.5)
        learned = positions == "learned"
        self.position = Embedding(length + 1, dim, gain=dim**-0.5) if learned else None
        self.condition = Linear(n_condition, dim) if n_condition else None
        self.blocks = nn.ModuleList(Block(dim, n_heads) for _ in range(n_layers))
        # Constants would be the same for all sources, and hide at first what tells them apart.
        codes = range(n_latent_layers)
        self.to_code = nn.ModuleList(Linear(dim, latent_dim, bias=False) for _ in codes)
        self.from_code = nn.ModuleList(Linear(latent_dim, dim, bias=False) for _ in codes)
        self.norm_code = nn.ModuleList(nn.LayerNorm(dim) for _ in codes)
        self.norm = nn.LayerNorm(dim)
        self.output = Linear(dim, n_tokens)

    def embed(self, tokens: Tensor, segment: int, condition: Tensor | None) -> Tensor:
        """States `(n, 1 + t, dim)` of the special token and tokens `(n, t)`.

        Args:
            tokens: `(n, t)`.
            segment: 0 for a source, 1 for a target.
            condition: `(n, n_condition)` or None.
        """
        x: Tensor = self.embedding(F.pad(tokens, (1, 0), value=self.special))
        x = x + self.segment.weight[segment]
        if self.position is not None:
            x = x + self.position.weight[: x.shape[1]]
        if self.condition is not None and condition is not None:
            x = x + self.condition(condition)[:, None]
        return x

    def masks(self, n_source: int, n_target: int) -> tuple[Tensor, Tensor]:
        """Who sees whom, true for yes: in the first layers, and in those with a code.

        Args:
            n_source: Number of places of the source, with the summary.
            n_target: Number of places of the target.

        Returns:
            Two boolean matrices of size n_source + n_target.
        """
        place = torch.arange(n_source + n_target, device=self.output.weight.device)
        target = place >= n_source
        plain = (target[:, None] == target) & (~target[:, None] | (place <= place[:, None]))
        latent = plain.clone()
        latent[:, 0] = True
        return plain, latent

    def forward(
        self, source: Tensor, target: Tensor, code: Callable[[int, Tensor], Tensor]
    ) -> Tensor:
        """Runs all layers on embedded sequences.

        Args:
            source: `(n, s, dim)` of `embed`, s >= 1; place 0 is the summary.
            target: `(n, t, dim)`.
            code: (number of the code, direction `(n, latent_dim)` read from the summary) to the
                z that replaces it.

        Returns:
            Logits of what follows each place of the target, `(n, t, n_tokens)`.
        """
        n_source, n_target = source.shape[1], target.shape[1]
        masks = self.masks(n_source, n_target)
        by = None
        if self.position is None:
            count = torch.arange(max(n_source, n_target), device=source.device)
            by = rotation(torch.cat((count[:n_source], count[:n_target])), self.head_dim)
        x = torch.cat((source, target), dim=1)
        for i, block in enumerate(self.blocks):
            k = i - self.first_latent
            if k >= 0:
                read = self.to_code[k](self.norm_code[k](x[:, 0]))
                direction = F.normalize(read.float(), dim=1)
                summary = self.from_code[k](code(k, direction))
                x = torch.cat((summary[:, None].to(x.dtype), x[:, 1:]), dim=1)
            x = block(x, masks[int(k >= 0)], by)
        logits: Tensor = self.output(self.norm(x[:, n_source:]))
        return logits


@register
@dataclass(kw_only=True, eq=False, repr=False)
class UniVAE(SingleLossModel):
    """VAE of token sequences in one Transformer (Su 2021, "UniVAE", spaces.ac.cn/archives/8475).

    The sequence is read twice, as source and as target, under a mask that lets the target see of
    the source only one place, and that only through a code: in each of the last `n_latent_layers`
    layers the state of that place becomes a unit vector z_k of `latent_dim` numbers, drawn from a
    von Mises-Fisher distribution around the direction read there, and a map of z_k takes its
    place. The prior is uniform on the spheres and the concentration kappa is fixed, so that the
    divergence is a constant and training minimizes the cross-entropy of the target alone. Later
    codes are read from what earlier ones left. Size, kappa and positions are as in the author's
    code, but for fewer and smaller layers, trained from scratch, with normalization in front of
    each part of a layer.

    Fixed lengths by default; with an `end_token`, the first one ends a sequence (see `sequences`).

    Attributes:
        n_tokens: Size of the vocabulary; None for that of the first data.
        end_token: What ends a sequence and fills up shorter ones; None for nothing.
        latent_dim: Size of one code z_k, at least 2.
        n_latent_layers: Number of codes; fewer than layers.
        n_layers: Number of layers.
        dim: Size of the states, a multiple of 2 n_heads.
        n_heads: Number of attention heads.
        positions: "rotary" or "learned".
        kappa: Concentration of the posteriors, > 0.
        temperature: At which `sample` draws tokens given z, >= 0; 0 takes the most probable ones.
    """

    items: ClassVar[tuple[ItemKind, ...]] = ("tokens",)
    dtype: ClassVar[torch.dtype] = torch.int64

    n_tokens: int | None = None
    end_token: int | None = None
    latent_dim: int = 16
    n_latent_layers: int = 2
    n_layers: int = 4
    dim: int = 64
    n_heads: int = 4
    positions: Literal["rotary", "learned"] = "rotary"
    kappa: float = 32.0
    temperature: float = 1.0
    n_steps: int = 400
    batch_size: int | None = 64
    max_grad_norm: float | None = 1.0

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        if self.n_tokens is not None:
            check_number("n_tokens", self.n_tokens, low=1, integer=True)
        if self.end_token is not None:
            check_number("end_token", self.end_token, low=0, integer=True)
        check_number("latent_dim", self.latent_dim, low=2, high=1 << 16, integer=True)
        check_number("n_layers", self.n_layers, low=2, high=1 << 10, integer=True)
        # Without a layer before it the first code would know nothing of the source.
        check_number(
            "n_latent_layers", self.n_latent_layers, low=1, high=self.n_layers - 1, integer=True
        )
        check_number("n_heads", self.n_heads, low=1, high=1 << 10, integer=True)
        check_number("dim", self.dim, low=2, high=1 << 16, integer=True)
        if self.dim % (2 * self.n_heads):
            raise ValueError(f"dim must be a multiple of 2 n_heads; got {self.dim}")
        check_choice("positions", self.positions, ("rotary", "learned"))
        check_number("kappa", self.kappa, low=1e-6, high=MAX_KAPPA)
        check_number("temperature", self.temperature, low=0)

    @property
    def code_dim(self) -> int:
        """Size of a whole code: n_latent_layers times latent_dim."""
        return self.n_latent_layers * self.latent_dim

    def network(self) -> nn.Module:
        """The new network."""
        return UniTransformer(
            self.n_tokens_,
            self.item_shape_[0],
            dim=self.dim,
            n_heads=self.n_heads,
            n_layers=self.n_layers,
            n_latent_layers=self.n_latent_layers,
            latent_dim=self.latent_dim,
            positions=self.positions,
            n_condition=self.n_condition_,
        )

    # Learning.

    def draw_batches(
        self, rows: Rows, n_batches: int, generator: torch.Generator
    ) -> tuple[Tensor | None, ...]:
        """Sequences, latent noise, and conditions, for `n_batches` batches along the first axis."""
        index = self.draw_rows(rows.x.shape[0], n_batches, generator)
        x = take_batches(rows.x, index, n_batches)
        condition = None
        if rows.condition is not None:
            condition = take_batches(rows.condition, index, n_batches)
        return x, self.draw_noise((n_batches, x.shape[1]), generator), condition

    def batch_numbers(self, rows: Rows) -> int:
        """About how many numbers a batch holds."""
        noise = self.n_latent_layers * (self.latent_dim + 3 * vmf.N_PROPOSALS)
        return self.rows_per_batch(rows.x.shape[0]) * (rows.x.shape[1] + noise)

    def draw_noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """The randomness of all codes, `(*shape, n_latent_layers, size)`."""
        shape = (*shape, self.n_latent_layers)
        return vmf.draw_noise(shape, self.latent_dim, generator, self.device_)

    def loss(self, x: Tensor, noise: Tensor, condition: Tensor | None) -> Tensor:
        """Cross-entropy of a token given z and the tokens before it, mean, in nats."""
        network = self.weights_["network"].module
        nll = self.nll(x, noise, condition, network)
        return nll.sum() / counted(x, self.end_token).sum()

    def nll(self, x: Tensor, noise: Tensor, condition: Tensor | None, network: nn.Module) -> Tensor:
        """-log p(x_i | x_<i, z) of one z per row, `(n, t)` in nats; 0 behind the end."""
        assert isinstance(network, UniTransformer)
        x = fill_behind_end(x, self.end_token)
        kappa = torch.full((len(x), 1), self.kappa, dtype=torch.float64, device=x.device)

        def code(k: int, direction: Tensor) -> Tensor:
            return vmf.draw(direction, kappa, noise[:, k])

        source = network.embed(x, 0, condition)
        logits = network(source, network.embed(x[:, :-1], 1, condition), code)
        nll = F.cross_entropy(logits.float().flatten(0, 1), x.flatten(), reduction="none")
        return nll.view(x.shape) * counted(x, self.end_token)

    # Use.

    def _transformer(self) -> UniTransformer:
        network = self.sampler("network")
        assert isinstance(network, UniTransformer)
        return network

    def generate(self, n: int, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        """Samples `(n, t)` from random unit codes."""
        z = normal((n, self.code_dim), generator, device=self.device_)
        uniforms = uniform((n, self.item_shape_[0]), generator, device=self.device_)
        return self._decoded(z, condition, uniforms, self.temperature)

    def _decoded(
        self, z: Tensor, condition: Tensor | None, uniforms: Tensor | None, temperature: float
    ) -> Tensor:
        """Tokens `(n, t)`, one after the other; see `draw_tokens`."""
        network = self._transformer()
        codes = F.normalize(z.unflatten(1, (self.n_latent_layers, -1)), dim=2)
        tokens = torch.zeros(len(z), 0, dtype=torch.int64, device=self.device_)
        summary = network.embed(tokens, 0, condition)
        for i in range(self.item_shape_[0]):
            target = network.embed(tokens, 1, condition)
            logits = network(summary, target, lambda k, _: codes[:, k])[:, -1]
            drawn = draw_tokens(logits, None if uniforms is None else uniforms[:, i], temperature)
            tokens = torch.cat((tokens, drawn[:, None]), dim=1)
        return fill_behind_end(tokens, self.end_token)

    @torch.no_grad()
    def encode(self, x: Any, condition: Any = None) -> Tensor:
        """Directions of q(z | x), each code's at the direction of those before it.

        Args:
            x: Sequences `(n, t)`.
            condition: As in `sample`.

        Returns:
            `(n, n_latent_layers latent_dim)`: unit codes, one behind the other.
        """
        self.check_fitted()
        rows = fill_behind_end(self.prepare_x(x), self.end_token)
        network, given = self._transformer(), self.prepare_condition(condition, len(rows))
        read: list[Tensor] = []

        def code(k: int, direction: Tensor) -> Tensor:
            read.append(direction)
            return direction

        source = network.embed(rows, 0, given)
        network(source, source[:, :0], code)
        return torch.cat(read, dim=1)

    @torch.no_grad()
    def decode(
        self,
        z: Any,
        condition: Any = None,
        *,
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Sequences `(n, t)` of codes.

        Args:
            z: `(n, n_latent_layers latent_dim)`; every code counts by its direction.
            condition: As in `sample`.
            temperature: At which tokens are drawn, >= 0; 0 takes the most probable one each time.
            generator: Source of random numbers, if any; None for the model's own.
        """
        self.check_fitted()
        check_number("temperature", temperature, low=0)
        latent = as_rows("z", z, n_columns=self.code_dim).float().to(self.device_)
        given = self.prepare_condition(condition, len(latent))
        uniforms = None
        if temperature > 0:
            shape = (len(latent), self.item_shape_[0])
            uniforms = uniform(shape, self.own_generator(generator), device=self.device_)
        return self.to_items(self._decoded(latent, given, uniforms, temperature))

    def divergence(self) -> float:
        """KL(q(z | x) | p(z)) in nats of all codes together: the same for every sequence."""
        kappa = torch.tensor(self.kappa, dtype=torch.float64)
        return self.n_latent_layers * float(vmf.kl_to_uniform(self.latent_dim, kappa))

    @torch.no_grad()
    def elbo(
        self,
        x: Any,
        condition: Any = None,
        *,
        n_samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The evidence lower bound of log p(x) in nats, `(n,)`.

        Args:
            x: Sequences `(n, t)`.
            condition: As in `sample`.
            n_samples: Draws of z per sequence, >= 1, whose bounds are averaged.
            generator: Source of random numbers; None for the model's own.
        """
        self.check_fitted()
        check_number("n_samples", n_samples, low=1, integer=True)
        rows = self.prepare_x(x)
        given = self.prepare_condition(condition, len(rows))
        own = self.own_generator(generator)
        total = torch.zeros(len(rows), device=self.device_)
        for _ in range(n_samples):
            noise = self.draw_noise((len(rows),), own)
            total += self.nll(rows, noise, given, self._transformer()).sum(dim=1)
        return -total / n_samples - self.divergence()
