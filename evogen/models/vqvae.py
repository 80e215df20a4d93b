"""VQ-VAE: an autoencoder whose codes are entries of a learned table, and a prior over them.

Paper: van den Oord, Vinyals and Kavukcuoglu 2017, "Neural discrete representation learning".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evogen.models import distributed
from evogen.models.base import Rows
from evogen.models.checks import check_choice, check_number, check_widths
from evogen.models.convolutional import (
    Architecture,
    DownStages,
    Shape,
    UpStages,
    check_architecture,
    stage_sizes,
    use_convolutions,
)
from evogen.models.layers import Conv2d, Embedding
from evogen.models.networks import ACTIVATIONS, MLP
from evogen.models.neural import SingleLossModel, take_batches
from evogen.models.pixelcnn import PixelCNN
from evogen.models.rng import uniform
from evogen.models.serialization import register
from evogen.models.training import Callback


class GradientCodebook(nn.Module):
    """A table of K vectors learned by gradient descent, as in the paper's equation 3.

    Args:
        n_embeddings: K.
        dim: Size of a vector.
    """

    def __init__(self, n_embeddings: int, dim: int) -> None:
        super().__init__()
        self.table = Embedding(n_embeddings, dim, gain=1 / n_embeddings)

    @property
    def vectors(self) -> Tensor:
        """The table, `(K, dim)`."""
        return self.table.weight

    def learn(self, z: Tensor, chance: Tensor) -> None:
        """Does nothing: the loss has a term for the table."""


class AverageCodebook(nn.Module):
    """A table of K vectors, each the moving average of what was assigned to it (appendix A.1).

    A vector that nothing is assigned to any more is put where a random row of the batch is; this
    is also how the table starts. Only in this way are all vectors used: one that is far from all
    encodings would never be moved.

    Args:
        n_embeddings: K.
        dim: Size of a vector.
        decay: Of the moving averages.
        restart: A vector starts anew when it gets less than this part of its fair share.
    """

    def __init__(self, n_embeddings: int, dim: int, *, decay: float, restart: float) -> None:
        super().__init__()
        self.decay, self.restart = decay, restart
        self.register_buffer("table", torch.zeros(n_embeddings, dim))
        self.register_buffer("counts", torch.zeros(n_embeddings))
        self.register_buffer("sums", torch.zeros(n_embeddings, dim))

    @property
    def vectors(self) -> Tensor:
        """The table, `(K, dim)`."""
        return self.get_buffer("table")

    @torch.no_grad()
    def learn(self, z: Tensor, chance: Tensor) -> None:
        """Takes a batch in.

        Args:
            z: Encodings `(m, dim)`.
            chance: Numbers uniform in [0, 1), `(K,)`, that choose rows for vectors without use.
        """
        table, counts, sums = (self.get_buffer(name) for name in ("table", "counts", "sums"))
        fair = counts.mean()
        unused = counts <= self.restart * fair
        rows = z[(chance * len(z)).long().clamp(max=len(z) - 1)]
        if distributed.world_size() > 1:
            # The rows of the first process in all of them, so that they keep one table.
            rows = distributed.average(rows * (distributed.rank() == 0) * distributed.world_size())
        table.copy_(torch.where(unused[:, None], rows, table))
        counts.copy_(torch.where(unused, fair, counts))
        sums.copy_(torch.where(unused[:, None], rows * fair, sums))
        chosen = F.one_hot(nearest(z, table), len(table)).to(z.dtype)
        counts.lerp_(distributed.average(chosen.sum(dim=0)), 1 - self.decay)
        sums.lerp_(distributed.average(chosen.t() @ z), 1 - self.decay)
        moved = sums / counts.clamp(min=1e-12)[:, None]
        table.copy_(torch.where(counts[:, None] > 0, moved, table))


def nearest(z: Tensor, table: Tensor) -> Tensor:
    """Number of the nearest vector of a table `(K, dim)` for each z `(m, dim)`, int64 `(m,)`."""
    return (table.square().sum(dim=1) - 2 * z @ table.t()).argmin(dim=1)


class GridCoder(nn.Module):
    """Convolutions between rows of pictures `(n, c h w)` and one vector per place of a grid.

    Args:
        shape: `(c, h, w)` of a picture.
        dim: Size of a vector.
        channels: Width of every stage.
        activation: Name in `ACTIVATIONS`.
    """

    def __init__(self, shape: Shape, dim: int, channels: Sequence[int], activation: str) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.grid = stage_sizes(shape, len(channels))[-1]
        self.activation = ACTIVATIONS[activation]
        self.down = DownStages(shape[0], channels, activation=activation)
        self.to_code = Conv2d(channels[-1], dim, 1)
        self.from_code = Conv2d(dim, channels[-1], 1)
        self.up = UpStages(shape, channels, activation=activation)

    def encode(self, x: Tensor) -> Tensor:
        """Vectors `(n, places, dim)` of rows."""
        return self.to_code(self.down(x.view(-1, *self.shape))).flatten(2).transpose(1, 2)

    def decode(self, z: Tensor) -> Tensor:
        """Rows of vectors `(n, places, dim)`."""
        grid = z.transpose(1, 2).unflatten(2, self.grid)
        return self.up(self.activation(self.from_code(grid))).flatten(1)


class RowCoder(nn.Module):
    """Perceptrons between rows `(n, d)` and several vectors `(n, places, dim)`.

    Args:
        n_features: d.
        n_codes: Number of places.
        dim: Size of a vector.
        hidden: Widths of the hidden layers, in the decoder reversed.
        activation: Name in `ACTIVATIONS`.
    """

    def __init__(
        self, n_features: int, n_codes: int, dim: int, hidden: Sequence[int], activation: str
    ) -> None:
        super().__init__()
        self.n_codes, backwards = n_codes, tuple(reversed(hidden))
        self.encoder = MLP(n_features, n_codes * dim, hidden=hidden, activation=activation)
        self.decoder = MLP(n_codes * dim, n_features, hidden=backwards, activation=activation)

    def encode(self, x: Tensor) -> Tensor:
        """Vectors `(n, places, dim)` of rows."""
        return self.encoder(x).unflatten(1, (self.n_codes, -1))

    def decode(self, z: Tensor) -> Tensor:
        """Rows of vectors `(n, places, dim)`."""
        return self.decoder(z.flatten(1))


class VQNetwork(nn.Module):
    """A coder and the table of its codes."""

    def __init__(
        self, coder: GridCoder | RowCoder, codebook: GradientCodebook | AverageCodebook
    ) -> None:
        super().__init__()
        self.coder = coder
        self.codebook = codebook

    def codes(self, x: Tensor) -> Tensor:
        """Numbers of the nearest vectors, int64 `(n, places)`, of rows."""
        z = self.coder.encode(x)
        return nearest(z.flatten(0, 1), self.codebook.vectors).view(z.shape[:2])

    def decode(self, codes: Tensor) -> Tensor:
        """Rows `(n, d)` of codes `(n, places)`."""
        return self.coder.decode(self.codebook.vectors[codes])


@register
@dataclass(kw_only=True, eq=False, repr=False)
class VQVAE(SingleLossModel):
    """VQ-VAE (van den Oord et al. 2017): several codes per item, each one of K learned vectors.

    The encoder gives a vector per place; each is replaced by the nearest one of the table before
    it is decoded, and the gradient passes as if it had not been (their section 3.2). Trained on
    the squared error, and `commitment` times the squared distance of the encodings from their
    table entries; both are sums over an item and means over the batch. Images have a code at each
    place of the grid that the convolutions end in, other items a sequence of `n_codes`.

    `sample` decodes codes from a prior learned at the end of every fit (their section 3.3): a
    PixelCNN over the grid or sequence, given the condition if there is one. Encoder and decoder do
    not see the condition. There is no `log_prob`.

    Attributes:
        n_embeddings: Size K of the table.
        embedding_dim: Size of its vectors.
        n_codes: Codes per item, where there is no grid.
        commitment: Weight beta of the encoder's distance from the table.
        codebook: How the table is learned: "ema", moving averages with restarts, or "gradient",
            which leaves many vectors unused.
        decay: Of the moving averages.
        restart: A vector of moving averages that gets less than this part of its fair share starts
            anew at a random row of the batch.
        architecture: "conv": convolutions, for images; "mlp": perceptrons; "auto": convolutions
            for images of at least 4 x 4 pixels, and of 2^k for k stages.
        hidden: Widths of the hidden layers of perceptrons, in the decoder reversed.
        channels: Width of every stage of convolutions, each of which halves the image.
        activation: Of the hidden layers, a name in `networks.ACTIVATIONS`.
        prior: Over the codes: "autoregressive", or "independent": the frequencies at each place.
        prior_width: Features of the layers of an autoregressive prior.
        prior_steps: Training steps of an autoregressive prior; no more than those of the fit if
            these are given.
        buffers_: "usage" `(places, K)`, share of the last fit's rows with each code.
        parts_: "prior", a `PixelCNN`, unless the prior is independent.
    """

    n_embeddings: int = 64
    embedding_dim: int = 16
    n_codes: int = 4
    commitment: float = 0.25
    codebook: Literal["ema", "gradient"] = "ema"
    decay: float = 0.99
    restart: float = 0.05
    architecture: Architecture = "auto"
    hidden: Sequence[int] = (64, 64)
    channels: Sequence[int] = (32, 64)
    activation: str = "silu"
    prior: Literal["autoregressive", "independent"] = "autoregressive"
    prior_width: int = 32
    prior_steps: int = 500
    batch_size: int | None = 64

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        check_number("n_embeddings", self.n_embeddings, low=2, high=1 << 16, integer=True)
        check_number("embedding_dim", self.embedding_dim, low=1, high=1 << 16, integer=True)
        check_number("n_codes", self.n_codes, low=1, high=1 << 16, integer=True)
        check_number("commitment", self.commitment, low=0)
        check_choice("codebook", self.codebook, ("ema", "gradient"))
        check_number("decay", self.decay, low=0, high=1)
        check_number("restart", self.restart, low=0, high=1)
        check_architecture(self.architecture, self.channels)
        check_widths("hidden", self.hidden)
        check_choice("activation", self.activation, tuple(ACTIVATIONS))
        check_choice("prior", self.prior, ("autoregressive", "independent"))
        check_number("prior_width", self.prior_width, low=1, high=1 << 16, integer=True)
        check_number("prior_steps", self.prior_steps, low=0, integer=True)

    @property
    def code_shape_(self) -> tuple[int, ...]:
        """Shape of the codes of an item: `(h', w')` for a grid, or `(n_codes,)`."""
        if use_convolutions(self.architecture, self.item_shape_, self.channels):
            return stage_sizes(self.item_shape_, len(self.channels))[-1]
        return (self.n_codes,)

    def buffer_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Names and shapes of `buffers_`; None for a size that the data decide."""
        return {"usage": (math.prod(self.code_shape_), self.n_embeddings)}

    def network(self) -> nn.Module:
        """The new network."""
        k, dim = self.n_embeddings, self.embedding_dim
        coder: GridCoder | RowCoder
        if len(self.code_shape_) == 2:
            coder = GridCoder(self.item_shape_, dim, self.channels, self.activation)
        else:
            d = self.n_features_ or 0
            coder = RowCoder(d, self.n_codes, dim, self.hidden, self.activation)
        if self.codebook == "gradient":
            return VQNetwork(coder, GradientCodebook(k, dim))
        return VQNetwork(coder, AverageCodebook(k, dim, decay=self.decay, restart=self.restart))

    def check_rows(self, x: Any, condition: Any, negative: Any = None) -> Rows:
        """Checks the data of a fit; see `fit` for what is raised."""
        rows = super().check_rows(x, condition, negative)
        use_convolutions(self.architecture, self.item_shape_, self.channels)
        return rows

    # Learning.

    def draw_batches(
        self, rows: Rows, n_batches: int, generator: torch.Generator
    ) -> tuple[Tensor | None, ...]:
        """Rows, and numbers that choose restarts, for `n_batches` batches along the first axis."""
        index = self.draw_rows(rows.x.shape[0], n_batches, generator)
        chance = uniform((n_batches, self.n_embeddings), generator, device=self.device_)
        return take_batches(rows.x, index, n_batches), chance

    def loss(self, x: Tensor, chance: Tensor) -> Tensor:
        """Squared errors of items and of their encodings, per row, of the scaled data."""
        network = self.weights_["network"].module
        assert isinstance(network, VQNetwork)
        z = network.coder.encode(x)
        flat = z.flatten(0, 1)
        if torch.is_grad_enabled():
            network.codebook.learn(flat.detach().float(), chance)
        table = network.codebook.vectors
        # A copy, because autograd needs the entries that were used, whatever the table becomes.
        chosen = table[nearest(flat, table)].view_as(z)
        passed = z + (chosen - z).detach()
        error = (network.coder.decode(passed) - x).square().sum() / len(x)
        error = error + self.commitment * (z - chosen.detach()).square().sum() / len(x)
        if self.codebook == "gradient":
            error = error + (chosen - z.detach()).square().sum() / len(x)
        return error

    def learn(
        self,
        rows: Rows,
        *,
        n_steps: int | None,
        generator: torch.Generator,
        callback: Callback | None,
    ) -> None:
        """Runs the training loop on scaled rows, then learns the prior of their codes."""
        super().learn(rows, n_steps=n_steps, generator=generator, callback=callback)
        with torch.no_grad():
            codes = self._network().codes(rows.x)
        shares = [c.bincount(minlength=self.n_embeddings) / len(codes) for c in codes.t()]
        self.buffers_["usage"] = torch.stack(shares)
        if self.prior == "independent":
            return
        prior = self.parts_.setdefault("prior", self._new_prior())
        steps = self.prior_steps if n_steps is None else min(n_steps, self.prior_steps)
        pictures = self._to_pictures(codes).to(prior.device)
        prior.fit(pictures, rows.condition, n_steps=steps, generator=generator)

    def _new_prior(self) -> PixelCNN:
        return PixelCNN(
            n_levels=self.n_embeddings,
            embedding_dim=self.embedding_dim,
            width=self.prior_width,
            n_layers=3,
            first_kernel=3,
            lr=3e-3,
            schedule="cosine",
            normalize=False,
            device=str(self.device_),
        )

    def _to_pictures(self, codes: Tensor) -> Tensor:
        """Codes `(n, places)` as the pictures that a `PixelCNN` takes; a sequence as a column."""
        grid = self.code_shape_ if len(self.code_shape_) == 2 else (self.n_codes, 1)
        return (codes / (self.n_embeddings - 1)).view(-1, 1, *grid)

    # Use.

    def _network(self) -> VQNetwork:
        network = self.sampler("network")
        assert isinstance(network, VQNetwork)
        return network

    def generate(self, n: int, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        """Samples `(n, d)` in scaled units, given a scaled condition `(n, c)`."""
        if self.prior == "independent":
            usage = self.buffers_["usage"]
            chance = uniform((len(usage), n), generator, device=self.device_)
            total = usage.cumsum(dim=1).contiguous()
            codes = torch.searchsorted(total, chance.contiguous(), right=True).t()
        else:
            pictures = self.part("prior").sample(n, condition, generator=generator)
            codes = (pictures * (self.n_embeddings - 1)).round().long().flatten(1)
        return self._network().decode(codes.clamp(max=self.n_embeddings - 1))

    @torch.no_grad()
    def encode(self, x: Any) -> Tensor:
        """Codes of items, int64 `(n, h', w')` or `(n, n_codes)`; see `code_shape_`."""
        self.check_fitted()
        return self._network().codes(self.prepare_x(x)).view(-1, *self.code_shape_)

    @torch.no_grad()
    def decode(self, codes: Any) -> Tensor:
        """Items, in the units of the data, of codes.

        Args:
            codes: Integers in 0 .. K - 1, `(n, *code_shape_)`.

        Raises:
            TypeError: They are not integers.
            ValueError: A wrong shape, or a number that is not in the table.
        """
        self.check_fitted()
        given = torch.as_tensor(codes, device=self.device_)
        if given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
            raise TypeError(f"codes must be integers; got {given.dtype}")
        if given.shape[1:] != self.code_shape_ or given.ndim == 0:
            wanted = ", ".join(str(size) for size in self.code_shape_)
            raise ValueError(f"codes must have shape (n, {wanted}); got {tuple(given.shape)}")
        if given.numel() and not 0 <= int(given.min()) <= int(given.max()) < self.n_embeddings:
            raise ValueError(f"codes must be integers from 0 to {self.n_embeddings - 1}")
        return self.to_items(self._network().decode(given.long().flatten(1)))

    def perplexity(self, x: Any) -> float:
        """exp of the entropy of the codes of items x: how many of the K are in use, in [1, K]."""
        codes = self.encode(x).flatten()
        share = codes.bincount(minlength=self.n_embeddings).double() / max(1, len(codes))
        return float(torch.special.entr(share).sum().exp())
