"""A network that takes noise off: how diffusion models learn, whatever they sample by."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from evogen.models.backpropagation import PlainMLP
from evogen.models.base import Rows
from evogen.models.bound import gaussian_kl
from evogen.models.checks import check_choice, check_number, check_widths
from evogen.models.networks import (
    ACTIVATIONS,
    MLP,
    Conditioning,
    ResidualMLP,
    fourier_features,
    sinusoidal_embedding,
)
from evogen.models.neural import SingleLossModel, take_batches
from evogen.models.rng import normal, uniform
from evogen.models.schedulers import (
    PREDICTION_TYPES,
    NoiseSchedule,
    Prediction,
    alpha_bar,
    check_schedule,
    output_of,
    x0_of,
)
from evogen.models.training import Callback
from evogen.models.unet import RowUNet

# Numbers that the widest layer of a U-Net may hold at once when samples are drawn.
SAMPLER_NUMBERS = 1 << 24


@dataclass(kw_only=True, eq=False, repr=False)
class Denoiser(SingleLossModel):
    """What all diffusion models learn: to tell from noised rows what they consist of.

    Noise level t of T holds x_t = a_t x_0 + s_t e, a_t = sqrt(alpha_bar_t), s_t =
    sqrt(1 - alpha_bar_t), e ~ N(0, I). The network is trained by the mean squared error of what
    it predicts from x_t and t (L_simple, Ho et al. 2020, eq. 14). How to sample by it is left to
    the subclass.

    Attributes:
        architecture: "mlp", a perceptron on the numbers of an item; "unet", for images; "auto":
            "unet" for images, "mlp" for vectors.
        n_timesteps: Number T of noise levels, at most 10000.
        noise_schedule: "cosine" or "linear"; see `alpha_bar`.
        prediction: What the network predicts: "noise" e, "x0", or "v" = a_t e - s_t x_0 (Salimans
            and Ho 2022).
        learned_variance: Whether the variance of p(x_{t-1} | x_t) is learned too, between beta and
            the posterior's (Nichol and Dhariwal 2021, section 3.1); used when eta > 0, and in the
            bound.
        variance_weight: Weight lambda of the bound in the loss of a learned variance (eq. 16).
        clip: Predictions of x_0 are kept within the data's range widened by this share of it on
            either side; None for no limit.
        hidden: Perceptron: widths of the hidden layers.
        residual: Perceptron: a network of residual blocks, one per width after the first; widths
            must be equal.
        conditioning: Perceptron: how time and condition enter: "concat" or "film" (always with
            residual).
        activation: Perceptron: of the hidden layers, a name in `networks.ACTIVATIONS`.
        channels: U-Net: channels at each resolution, the highest first.
        n_blocks: U-Net: residual blocks at each resolution.
        n_attention: U-Net: at how many of the lowest resolutions pixels attend to one another,
            besides in the middle.
        time_dim: Size of the sinusoidal embedding of t, even.
        n_octaves: Sines and cosines of x at so many frequencies are further inputs; for fine
            structure in few dimensions.
        condition_dropout: Share of conditions hidden in training, so that the model also samples
            without one; needed for guidance.
        guidance: w in output = without + w (with - without) (classifier-free guidance, Ho and
            Salimans 2022); 1 follows the condition, 0 ignores it, more exaggerates it.
        buffers_: "bounds" `(2, d)`, the least and largest x_0 believed, in scaled units.
    """

    architecture: Literal["auto", "mlp", "unet"] = "auto"
    n_timesteps: int = 1000
    noise_schedule: NoiseSchedule = "cosine"
    prediction: Prediction = "v"
    learned_variance: bool = False
    variance_weight: float = 1e-3
    clip: float | None = 0.5
    hidden: Sequence[int] = (128, 128, 128)
    residual: bool = False
    conditioning: Conditioning = "concat"
    activation: str = "silu"
    channels: Sequence[int] = (16, 32)
    n_blocks: int = 1
    n_attention: int = 1
    time_dim: int = 16
    n_octaves: int = 0
    condition_dropout: float = 0.1
    guidance: float = 1.0
    batch_size: int | None = 128

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        check_choice("architecture", self.architecture, ("auto", "mlp", "unet"))
        check_schedule(self.noise_schedule, self.n_timesteps)
        check_choice("prediction", self.prediction, tuple(PREDICTION_TYPES))
        check_number("variance_weight", self.variance_weight, low=0)
        if self.clip is not None:
            check_number("clip", self.clip, low=0)
        check_widths("hidden", self.hidden)
        if self.residual and len(set(self.hidden)) != 1:
            raise ValueError(f"residual=True needs equal widths in hidden; got {self.hidden!r}")
        check_choice("conditioning", self.conditioning, ("concat", "film"))
        check_choice("activation", self.activation, tuple(ACTIVATIONS))
        check_widths("channels", self.channels)
        if len(self.channels) == 0:
            raise ValueError("channels must have at least one number; got none")
        check_number("n_blocks", self.n_blocks, low=1, integer=True)
        check_number("n_attention", self.n_attention, low=0, integer=True)
        check_number("time_dim", self.time_dim, low=2, high=1 << 16, integer=True)
        if self.time_dim % 2:
            raise ValueError(f"time_dim must be even; got {self.time_dim}")
        check_number("n_octaves", self.n_octaves, low=0, high=64, integer=True)
        check_number("condition_dropout", self.condition_dropout, low=0, high=1)
        check_number("guidance", self.guidance, low=0)

    # State.

    @property
    def condition_optional(self) -> bool:
        """Whether a model fitted with a condition can also sample without one."""
        return self.condition_dropout > 0

    def buffer_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Names and shapes of `buffers_`; None for a size that the data decide."""
        return {"bounds": (2, self.n_features_)}

    def check_rows(self, x: Any, condition: Any, negative: Any = None) -> Rows:
        """Checks the data of a fit.

        Raises:
            ValueError: They are no images and the architecture is "unet", besides what `fit` says.
        """
        rows = super().check_rows(x, condition, negative)
        if self.architecture == "unet" and len(self.item_shape_) != 3:
            self.item_shape_, self.classes_ = (), None
            raise ValueError('x must be images (n, c, h, w) for architecture="unet"')
        return rows

    @property
    def is_convolutional(self) -> bool:
        """Whether the network is a U-Net."""
        return self.architecture != "mlp" and len(self.item_shape_) == 3

    def network(self) -> nn.Module:
        """The new denoiser."""
        d = self.n_features_ or 0
        n_in, n_out = d * (1 + 2 * self.n_octaves), d * (1 + self.learned_variance)
        # Time, condition, and a flag that says whether the condition is there.
        n_context = self.time_dim + (self.n_condition_ + 1 if self.n_condition_ else 0)
        if self.is_convolutional:
            n_channels, height, width = self.item_shape_
            return RowUNet(
                (n_in // (height * width), height, width),
                n_channels * (1 + self.learned_variance),
                n_context,
                channels=self.channels,
                n_blocks=self.n_blocks,
                n_attention=self.n_attention,
            )
        if self.residual:
            return ResidualMLP(
                n_in,
                n_out,
                width=self.hidden[0],
                n_blocks=max(1, len(self.hidden) - 1),
                activation=self.activation,
                n_condition=n_context,
            )
        return MLP(
            n_in,
            n_out,
            hidden=self.hidden,
            activation=self.activation,
            n_condition=n_context,
            conditioning=self.conditioning,
        )

    def build(self, generator: torch.Generator | None) -> None:
        """Creates the network, and the tables over t, which follow from the parameters."""
        super().build(generator)
        self._make_tables()

    def take_state(self, left: dict[str, Tensor]) -> None:
        """Takes its tensors out of `left`."""
        super().take_state(left)
        self._make_tables()

    def _make_tables(self) -> None:
        left = alpha_bar(self.noise_schedule, self.n_timesteps)
        t = torch.arange(self.n_timesteps + 1, dtype=torch.float64)
        time = sinusoidal_embedding(t * (1000 / self.n_timesteps), self.time_dim)
        self._time = time.float().to(self.device_)
        self._set_levels(left)

    def _set_levels(self, left: Tensor) -> None:
        """Takes alpha_bar of levels 0 .. T, and what follows from it."""
        self._alpha_bar = left.tolist()
        self._signal = left.sqrt().float().to(self.device_)
        self._noise = (1 - left).sqrt().float().to(self.device_)
        if self.learned_variance:
            beta = 1 - left[1:] / left[:-1]
            least = beta * (1 - left[:-1]) / (1 - left[1:])
            # At t = 1 the posterior's variance is 0, and that of the next level stands in.
            least[0] = least[1] if len(least) > 1 else beta[0]
            x0_weight = left[:-1].sqrt() * beta / (1 - left[1:])
            tables = (torch.cat((table[:1], table)) for table in (beta, least, x0_weight))
            self._beta, self._least_variance, self._x0_weight = (
                table.float().to(self.device_) for table in tables
            )

    # Learning.

    def learn(
        self,
        rows: Rows,
        *,
        n_steps: int | None,
        generator: torch.Generator,
        callback: Callback | None,
    ) -> None:
        """Runs the training loop on scaled rows."""
        low, high = torch.aminmax(rows.x, dim=0)
        margin = (self.clip or 0.0) * (high - low)
        self.buffers_["bounds"] = torch.stack((low - margin, high + margin))
        super().learn(rows, n_steps=n_steps, generator=generator, callback=callback)

    def rows_per_batch(self, n_rows: int) -> int:
        """The batch size, also of fewer rows: each then meets several noise levels at once."""
        return n_rows if self.batch_size is None else self.batch_size

    def batch_numbers(self, rows: Rows) -> int:
        """About how many numbers a batch holds."""
        d = rows.x.shape[1]
        width = d * (3 + 2 * self.n_octaves) + self.time_dim + self.n_condition_
        return self.rows_per_batch(rows.x.shape[0]) * width

    def draw_batches(
        self, rows: Rows, n_batches: int, generator: torch.Generator
    ) -> tuple[Tensor | None, ...]:
        """Inputs, contexts and targets of the network; for a learned variance x_0 and t, too."""
        index = self.draw_rows(rows.x.shape[0], n_batches, generator)
        x0 = take_batches(rows.x, index, n_batches)
        shape = x0.shape[:2]
        # Noise levels are spread evenly over a batch, which makes its loss less noisy (Kingma
        # et al. 2021, "Variational diffusion models", appendix I.1).
        places = torch.arange(shape[1], device=self.device_) / shape[1]
        start = uniform((n_batches, 1), generator, device=self.device_)
        t = ((places + start) % 1.0 * self.n_timesteps).long().clamp_(max=self.n_timesteps - 1) + 1
        noise = normal(tuple(x0.shape), generator, device=self.device_)
        signal, sigma = self._signal[t][:, :, None], self._noise[t][:, :, None]
        x_t = signal * x0 + sigma * noise
        context = self._time[t]
        if rows.condition is not None:
            kept = uniform((*shape, 1), generator, device=self.device_) >= self.condition_dropout
            condition = take_batches(rows.condition, index, n_batches)
            context = torch.cat((context, condition * kept, kept.float()), dim=2)
        target = output_of(self.prediction, x0, noise, signal, sigma)
        batch = (fourier_features(x_t, self.n_octaves), context, target)
        return (*batch, x0, t) if self.learned_variance else batch

    def loss(
        self,
        x: Tensor,
        context: Tensor,
        target: Tensor,
        x0: Tensor | None = None,
        t: Tensor | None = None,
    ) -> Tensor:
        """Mean squared error of the prediction; with a learned variance L_hybrid (eq. 16)."""
        output = self.weights_["network"].module(x, context)
        if x0 is None or t is None:
            return nn.functional.mse_loss(output, target)
        predicted, share = output.chunk(2, dim=1)
        simple = nn.functional.mse_loss(predicted, target)
        bound = self._bound_of_levels(x0, x[:, : x0.shape[1]], predicted.detach(), share, t)
        return simple + self.variance_weight * self.n_timesteps * bound

    def _bound_of_levels(
        self, x0: Tensor, x_t: Tensor, predicted: Tensor, share: Tensor, t: Tensor
    ) -> Tensor:
        """Mean of L_{t-1} per number, in which only the variance can be changed by learning."""
        signal, sigma = self._signal[t][:, None], self._noise[t][:, None]
        guess = x0_of(self.prediction, predicted, x_t, signal, sigma)
        if self.clip is not None:
            guess = torch.clamp(guess, *self.buffers_["bounds"])
        variance = self._variance_between(share, t[:, None])
        # The two means differ by this much of the difference in x_0 (Ho et al. 2020, eq. 7).
        difference = self._x0_weight[t][:, None] * (x0 - guess)
        true_variance = self._least_variance[t][:, None].expand_as(x0)
        kl = gaussian_kl(difference, true_variance, torch.zeros_like(x0), variance)
        decoded = 0.5 * (difference.square() / variance + torch.log(2 * math.pi * variance))
        return torch.where(t[:, None] > 1, kl, decoded).mean()

    def _variance_between(self, share: Tensor, t: Tensor) -> Tensor:
        """exp(v log beta + (1 - v) log beta~) (eq. 15), v = sigmoid(share) at levels t.

        The paper leaves v free; within [0, 1], where the best one lies, constant data are safe.
        """
        low, high = self._least_variance[t].log(), self._beta[t].log()
        return torch.exp(low + torch.sigmoid(share) * (high - low))

    def known_gradient(self) -> Callable[..., Tensor] | None:
        """A function that computes `loss` and leaves its gradient in place, if there is one."""
        network = self.weights_["network"].module
        if not isinstance(network, MLP) or not PlainMLP.supports(network):
            return None
        if self.learned_variance or not self.keeps(Denoiser, "loss"):
            return None
        plain = PlainMLP(network)

        def gradient(x: Tensor, context: Tensor, target: Tensor) -> Tensor:
            done = plain.forward(torch.cat((x, context), dim=1))
            error = done.output - target
            plain.backward(done, error * (2 / error.numel()))
            return error.square().mean()

        return gradient

    # What it knows.

    def predict(self, x: Tensor, t: int, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """What the model thinks x at noise level t consists of: (x_0, noise), `(n, d)` each.

        Args:
            x: Noised rows `(n, d)` in scaled units.
            t: Noise level, 1 .. T.
            condition: Scaled `(n, c)`, or None.
        """
        output = self.guided(x, t, condition)[:, : x.shape[1]]
        return self.interpret(output, x, self._signal[t], self._noise[t])

    def interpret(
        self, output: Tensor, x: Tensor, signal: Tensor | float, sigma: Tensor | float
    ) -> tuple[Tensor, Tensor]:
        """`predict` from the network's output, where x = signal x_0 + sigma e."""
        x0 = x0_of(self.prediction, output, x, signal, sigma)
        if self.clip is not None:
            low, high = self.buffers_["bounds"]
            x0 = torch.clamp(x0, low, high)
        return x0, (x - signal * x0) / sigma

    def guided(self, x: Tensor, t: float, condition: Tensor | None) -> Tensor:
        """The network's output, mixed by `guidance`; t need not be a whole number."""
        n, d = x.shape
        inputs = fourier_features(x, self.n_octaves)
        time = self._time_at(t).expand(n, -1)
        if not self.n_condition_:
            return self._evaluate(inputs, time)
        without = torch.cat((time, torch.zeros(n, self.n_condition_ + 1, device=x.device)), dim=1)
        if condition is None or (self.guidance == 0 and self.condition_optional):
            return self._evaluate(inputs, without)
        given = torch.cat((time, condition, torch.ones(n, 1, device=x.device)), dim=1)
        if self.guidance == 1 or not self.condition_optional:
            return self._evaluate(inputs, given)
        both = self._evaluate(torch.cat((inputs, inputs)), torch.cat((without, given)))
        mixed = torch.lerp(both[:n], both[n:], self.guidance)
        # A variance cannot be exaggerated; it is that of the condition.
        return torch.cat((mixed[:, :d], both[n:, d:]), dim=1) if self.learned_variance else mixed

    def _time_at(self, t: float) -> Tensor:
        if t == int(t):
            return self._time[int(t)]
        place = torch.tensor([t * 1000 / self.n_timesteps], dtype=torch.float64)
        return sinusoidal_embedding(place, self.time_dim)[0].float().to(self.device_)

    def _evaluate(self, inputs: Tensor, context: Tensor) -> Tensor:
        """The sampler's network, for a U-Net on as many pictures at a time as fit into memory."""
        network = self.sampler("network")
        if not self.is_convolutional:
            return network(inputs, context)
        size = self.item_shape_[1] * self.item_shape_[2] * max(self.channels)
        n_rows = max(1, SAMPLER_NUMBERS // size)
        parts = zip(inputs.split(n_rows), context.split(n_rows), strict=True)
        return torch.cat([network(*part) for part in parts])
