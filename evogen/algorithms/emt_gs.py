"""EMT-GS: evolutionary multitasking with a GAN for every ordered pair of tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evogen.algorithms.inertial_de import InertialDE, TransferTable
from evogen.models import GAN
from evogen.models.layers import Linear
from evogen.models.networks import BatchNorm, Norm
from evogen.models.rng import batch_indices, normal, seeded_generator

Layout = Literal["individuals", "variables"]

SLOPE = 0.5
FIRST_STD, OTHER_STD = 0.03, 0.06
SMOOTHED = 0.9


class NormalLinear(Linear):
    """A linear layer with N(0, std^2) weights and no initial bias."""

    def __init__(self, n_in: int, n_out: int, std: float) -> None:
        self.std = std
        super().__init__(n_in, n_out)

    def draw_weights(self, generator: torch.Generator) -> None:
        """Fills the weights."""
        self.weight.copy_(self.std * normal(tuple(self.weight.shape), generator))
        self.bias.zero_()


class Layers(nn.Sequential):
    """A chain of layers that takes a condition which is never there."""

    def forward(self, x: Tensor, condition: None = None) -> Tensor:
        """`(n, d)` to `(n, k)`."""
        for layer in self:
            x = layer(x)
        return x


@dataclass(kw_only=True, eq=False, repr=False)
class SourceGAN(GAN):
    """A GAN whose noise is another task's population, as EMT-GS has it.

    Generator and discriminator are as wide as the data, with LeakyReLU(0.5), batch normalization
    and a sigmoid; labels of data are smoothed to 0.9. The dropout of the published discriminator
    is left out. Data and generated rows are batches of their own, so the normalization of the
    discriminator's only hidden layer hides where a batch lies: one reason why the generator stays
    near the centre of the box. The parameters are those of `GAN`; these differ:

    Attributes:
        normalize: Off: the sigmoid looks at raw coordinates of the unit box.
        batch_size: Rows per step.
        lr_generator: Learning rate of Adam for G.
        lr_discriminator: Learning rate of Adam for D.
        betas: Adam's decay rates.
        output: The generator's last activation.
        norm_discriminator: Says that data and generated rows are batches of their own.
    """

    normalize: bool = False
    batch_size: int | None = 10
    lr_generator: float = 3e-4
    lr_discriminator: float = 2e-4
    betas: tuple[float, float] = (0.7, 0.9)
    output: Literal["linear", "sigmoid", "tanh"] = "sigmoid"
    norm_discriminator: Norm | None = "batch"

    def buffer_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Names and shapes of `buffers_`; None for a size that the data decide."""
        return {"source": (None, self.n_features_)}

    def make_generator(self) -> nn.Module:
        """Two hidden layers, each normalized after its activation, and a sigmoid."""
        d = self.n_features_ or 0
        return Layers(
            NormalLinear(d, d, FIRST_STD), nn.LeakyReLU(SLOPE), BatchNorm(d),
            NormalLinear(d, d, OTHER_STD), nn.LeakyReLU(SLOPE), BatchNorm(d),
            NormalLinear(d, d, OTHER_STD), nn.Sigmoid(),
        )  # fmt: skip

    def make_discriminator(self) -> nn.Module:
        """One hidden layer and a logit."""
        d = self.n_features_ or 0
        return Layers(
            NormalLinear(d, d, FIRST_STD),
            nn.LeakyReLU(SLOPE),
            BatchNorm(d),
            NormalLinear(d, 1, OTHER_STD),
        )

    def real_loss(self, logits: Tensor) -> Tensor:
        """-0.9 log D(x), of logits `(n, 1)`."""
        return SMOOTHED * F.softplus(-logits)

    def fit_pair(
        self, target: Tensor, source: Tensor, *, n_steps: int, generator: torch.Generator
    ) -> SourceGAN:
        """Learns to turn rows of a source `(m, d)` into such of a target `(n, d)`."""
        self.buffers_["source"] = source.float()
        return self.fit(target, n_steps=n_steps, generator=generator)

    def draw_latent(self, n: int, generator: torch.Generator) -> Tensor:
        """Rows of the source `(n, d)`, one permutation of all after the other."""
        source = self.buffers_["source"].to(self.device_)
        return source[batch_indices(len(source), 1, n, generator, device=self.device_)[0]]

    @torch.no_grad()
    def turn(self, rows: Tensor) -> Tensor:
        """Rows of the source `(m, d)`, turned."""
        return self.forward_generator(rows.float(), None, self.sampler("generator"))


class GANTransfer(TransferTable):
    """A GAN for every ordered pair of tasks (Liang et al. 2023), as in the public codes.

    Args:
        layout: "individuals": a row is an individual, as in DDMTOLab. "variables": a row is a
            variable seen across the population, as in MToP, whose matrices are transposed;
            populations must then be equally large. Which is the paper's is not known.
        gap: Generations between two trainings.
        n_epochs_first: Epochs of the first training.
        n_epochs: Epochs of the others.
        settings: Parameters of `SourceGAN`.
    """

    def __init__(
        self,
        layout: Layout = "individuals",
        *,
        gap: int = 10,
        n_epochs_first: int = 20,
        n_epochs: int = 2,
        **settings: Any,
    ) -> None:
        if layout not in ("individuals", "variables"):
            raise ValueError(f"layout={layout!r} must be 'individuals' or 'variables'")
        for name, value in (("gap", gap), ("n_epochs_first", n_epochs_first)):
            if value < 1:
                raise ValueError(f"{name}={value!r} must be at least 1")
        self.layout, self.gap = layout, gap
        self.n_epochs_first, self.n_epochs = n_epochs_first, n_epochs
        self.settings = settings
        SourceGAN(**settings)  # checks them
        self.models: dict[tuple[int, int], SourceGAN] = {}

    def start(self) -> None:
        """Forgets all models."""
        self.models = {}

    def table(
        self,
        source: np.ndarray,
        target: np.ndarray,
        pair: tuple[int, int],
        n_gen: int,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """The source's individuals turned into the target's."""
        by_variable = self.layout == "variables"
        if by_variable and len(source) != len(target):
            raise ValueError("layout='variables' needs populations of equal size")
        a, b = (torch.as_tensor(u.T if by_variable else u) for u in (source, target))
        first = pair not in self.models
        if first or n_gen % self.gap == 1:
            if first:
                self.models[pair] = SourceGAN(**self.settings)
            model = self.models[pair]
            generator = seeded_generator(int(rng.integers(1 << 31)))
            # Training generations use what the permuted noise became: other rows' individuals,
            # or (layout="variables") other columns.
            a = a[torch.as_tensor(rng.permutation(len(a)))]
            n_epochs = self.n_epochs_first if first else self.n_epochs
            n_steps = n_epochs * (len(b) // (model.batch_size or len(b)))
            model.fit_pair(b, a, n_steps=n_steps, generator=generator)
            if first:
                return self._rows(model.turn(a), source, target, by_variable)
        chosen = pair
        if not by_variable and n_gen % self.gap != 1 and rng.random() < 0.5:
            # DDMTOLab's second branch: the opposite pair's generator.
            chosen = (pair[1], pair[0])
        model = self.models.get(chosen, self.models[pair])
        return self._rows(model.turn(a), source, target, by_variable)

    @staticmethod
    def _rows(
        turned: Tensor, source: np.ndarray, target: np.ndarray, by_variable: bool
    ) -> np.ndarray:
        rows = turned.double().numpy()
        rows = rows.T if by_variable else rows
        return rows[np.arange(len(target)) % len(source)]


class EMTGS(InertialDE):
    """Evolutionary multitasking with generative strategies (Liang et al. 2023).

    `InertialDE` with `GANTransfer`. Measured against its nulls in that loop, the GAN transfers
    less than plain copying does: see `CopyTransfer`, `NoTransfer`, `ConstantTransfer`.

    Args:
        pop_size: Size of every task's population.
        layout: See `GANTransfer`.
        gap: Generations between two trainings.
        CR: Crossover probability per variable.
        p_best: See `InertialDE`.
        **settings: Parameters of `SourceGAN`.
    """

    def __init__(
        self,
        pop_size: int = 100,
        *,
        layout: Layout = "individuals",
        gap: int = 10,
        CR: float = 0.6,
        p_best: float = 0.5,
        **settings: Any,
    ) -> None:
        transfer = GANTransfer(layout, gap=gap, **settings)
        super().__init__(transfer, pop_size, CR=CR, p_best=p_best)
