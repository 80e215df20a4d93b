"""Denoising diffusion for vectors: DDPM training, DDIM sampling, classifier-free guidance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from evogen.models.backpropagation import PlainMLP
from evogen.models.base import Rows
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
from evogen.models.serialization import register
from evogen.models.training import Callback


def alpha_bar(schedule: str, n_timesteps: int) -> Tensor:
    """Share of the data's variance left after t steps of noise, float64 `(n_timesteps + 1,)`.

    Entry 0 is 1 (no noise), entry t the product of 1 - beta_1 .. 1 - beta_t.

    Args:
        schedule: "linear": beta from 1e-4 to 0.02 (Ho et al. 2020, section 4), for other than
            1000 steps scaled so that the last entry stays about the same; "cosine": Nichol and
            Dhariwal 2021, eq. 17, s = 0.008, beta at most 0.999.
        n_timesteps: Number of noise levels T.
    """
    if schedule == "linear":
        factor = 1000 / n_timesteps
        beta = torch.linspace(1e-4 * factor, 0.02 * factor, n_timesteps, dtype=torch.float64)
    else:
        t = torch.arange(n_timesteps + 1, dtype=torch.float64) / n_timesteps
        f = torch.cos((t + 0.008) / 1.008 * math.pi / 2).square()
        beta = 1 - f[1:] / f[:-1]
    left = torch.cumprod(1 - beta.clamp(max=0.999), dim=0)
    return torch.cat((torch.ones(1, dtype=torch.float64), left))


@register
@dataclass(kw_only=True, eq=False, repr=False)
class DDPM(SingleLossModel):
    """Denoising diffusion probabilistic model (Ho, Jain and Abbeel 2020) with a perceptron.

    Noise level t of T holds x_t = a_t x_0 + s_t e, a_t = sqrt(alpha_bar_t), s_t =
    sqrt(1 - alpha_bar_t), e ~ N(0, I). The network is trained by the mean squared error of what
    it predicts from x_t and t (L_simple, eq. 14), and samples follow DDIM (Song, Meng and Ermon
    2021, eq. 12).

    Attributes:
        n_timesteps: Number T of noise levels, at most 10000.
        noise_schedule: "cosine" or "linear"; see `alpha_bar`.
        prediction: What the network predicts: "noise" e, "x0", or "v" = a_t e - s_t x_0 (Salimans
            and Ho 2022).
        n_sample_steps: Denoising steps of a sample, at most T; None for T.
        eta: 0: deterministic given the starting noise (DDIM); 1: with all T steps exactly DDPM.
        clip: Predictions of x_0 are kept within the data's range widened by this share of it on
            either side; None for no limit.
        hidden: Widths of the hidden layers.
        residual: A network of residual blocks, one per width after the first; widths must be
            equal.
        conditioning: How time and condition enter: "concat" or "film" (always with residual).
        activation: Of the hidden layers, a name in `networks.ACTIVATIONS`.
        time_dim: Size of the sinusoidal embedding of t, even.
        n_octaves: Sines and cosines of x at so many frequencies are further inputs; for fine
            structure in few dimensions.
        condition_dropout: Share of conditions hidden in training, so that the model also samples
            without one; needed for guidance.
        guidance: w in output = without + w (with - without) (classifier-free guidance, Ho and
            Salimans 2022); 1 follows the condition, 0 ignores it, more exaggerates it.
        buffers_: "bounds" `(2, d)`, the least and largest x_0 believed, in scaled units.
    """

    n_timesteps: int = 1000
    noise_schedule: Literal["cosine", "linear"] = "cosine"
    prediction: Literal["noise", "x0", "v"] = "v"
    n_sample_steps: int | None = 20
    eta: float = 0.0
    clip: float | None = 0.5
    hidden: Sequence[int] = (128, 128, 128)
    residual: bool = False
    conditioning: Conditioning = "concat"
    activation: str = "silu"
    time_dim: int = 16
    n_octaves: int = 0
    condition_dropout: float = 0.1
    guidance: float = 1.0
    batch_size: int | None = 128

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        check_number("n_timesteps", self.n_timesteps, low=1, high=10_000, integer=True)
        check_choice("noise_schedule", self.noise_schedule, ("cosine", "linear"))
        if self.noise_schedule == "linear":
            check_number("n_timesteps of a linear schedule", self.n_timesteps, low=50)
        check_choice("prediction", self.prediction, ("noise", "x0", "v"))
        if self.n_sample_steps is not None:
            check_number(
                "n_sample_steps", self.n_sample_steps, low=1, high=self.n_timesteps, integer=True
            )
        check_number("eta", self.eta, low=0, high=1)
        if self.clip is not None:
            check_number("clip", self.clip, low=0)
        check_widths("hidden", self.hidden)
        if self.residual and len(set(self.hidden)) != 1:
            raise ValueError(f"residual=True needs equal widths in hidden; got {self.hidden!r}")
        check_choice("conditioning", self.conditioning, ("concat", "film"))
        check_choice("activation", self.activation, tuple(ACTIVATIONS))
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

    def network(self) -> nn.Module:
        """The new denoiser."""
        d = self.n_features_ or 0
        n_in = d * (1 + 2 * self.n_octaves)
        # Time, condition, and a flag that says whether the condition is there.
        n_context = self.time_dim + (self.n_condition_ + 1 if self.n_condition_ else 0)
        if self.residual:
            return ResidualMLP(
                n_in,
                d,
                width=self.hidden[0],
                n_blocks=max(1, len(self.hidden) - 1),
                activation=self.activation,
                n_condition=n_context,
            )
        return MLP(
            n_in,
            d,
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
        self._alpha_bar = left.tolist()
        self._signal = left.sqrt().float().to(self.device_)
        self._noise = (1 - left).sqrt().float().to(self.device_)
        self._time = time.float().to(self.device_)

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
        """Inputs, contexts and targets of the network, for `n_batches` batches."""
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
        if self.prediction == "noise":
            target = noise
        else:
            target = x0 if self.prediction == "x0" else signal * noise - sigma * x0
        return fourier_features(x_t, self.n_octaves), context, target

    def loss(self, x: Tensor, context: Tensor, target: Tensor) -> Tensor:
        """Mean squared error of the prediction."""
        predicted = self.weights_["network"].module(x, context)
        return nn.functional.mse_loss(predicted, target)

    def known_gradient(self) -> Callable[..., Tensor] | None:
        """A function that computes `loss` and leaves its gradient in place, if there is one."""
        network = self.weights_["network"].module
        if not isinstance(network, MLP) or not PlainMLP.supports(network):
            return None
        if not self.keeps(DDPM, "loss"):
            return None
        plain = PlainMLP(network)

        def gradient(x: Tensor, context: Tensor, target: Tensor) -> Tensor:
            done = plain.forward(torch.cat((x, context), dim=1))
            error = done.output - target
            plain.backward(done, error * (2 / error.numel()))
            return error.square().mean()

        return gradient

    # Sampling.

    def predict(self, x: Tensor, t: int, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """What the model thinks x at noise level t consists of: (x_0, noise), `(n, d)` each.

        Args:
            x: Noised rows `(n, d)` in scaled units.
            t: Noise level, 1 .. T.
            condition: Scaled `(n, c)`, or None.
        """
        output = self._guided(x, t, condition)
        signal, sigma = self._signal[t], self._noise[t]
        if self.prediction == "v":
            x0 = signal * x - sigma * output
        else:
            x0 = output if self.prediction == "x0" else (x - sigma * output) / signal
        if self.clip is not None:
            low, high = self.buffers_["bounds"]
            x0 = torch.clamp(x0, low, high)
        return x0, (x - signal * x0) / sigma

    def _guided(self, x: Tensor, t: int, condition: Tensor | None) -> Tensor:
        """The network's output, mixed by `guidance`."""
        network = self.sampler("network")
        n = x.shape[0]
        inputs = fourier_features(x, self.n_octaves)
        time = self._time[t].expand(n, -1)
        if not self.n_condition_:
            return network(inputs, time)
        without = torch.cat((time, torch.zeros(n, self.n_condition_ + 1, device=x.device)), dim=1)
        if condition is None or (self.guidance == 0 and self.condition_optional):
            return network(inputs, without)
        given = torch.cat((time, condition, torch.ones(n, 1, device=x.device)), dim=1)
        if self.guidance == 1 or not self.condition_optional:
            return network(inputs, given)
        both = network(torch.cat((inputs, inputs)), torch.cat((without, given)))
        return torch.lerp(both[:n], both[n:], self.guidance)

    def denoise(
        self, x: Tensor, start: int, condition: Tensor | None, generator: torch.Generator
    ) -> Tensor:
        """Takes rows from noise level `start` to 0, in scaled units.

        The step from t to s is x_s = a_s x_0 + sqrt(s_s^2 - g^2) e + g z with g = eta
        s_s / s_t sqrt(1 - alpha_bar_t / alpha_bar_s) (Song et al. 2021, eq. 12 and 16).
        """
        n_steps = self.n_timesteps if self.n_sample_steps is None else self.n_sample_steps
        n_steps = max(1, math.ceil(n_steps * start / self.n_timesteps))
        levels = [round(start * k / n_steps) for k in range(n_steps, -1, -1)]
        for t, s in pairwise(levels):
            x0, noise = self.predict(x, t, condition)
            left_t, left_s = self._alpha_bar[t], self._alpha_bar[s]
            g = self.eta * math.sqrt((1 - left_s) / (1 - left_t) * (1 - left_t / left_s))
            x = math.sqrt(left_s) * x0 + math.sqrt(max(0.0, 1 - left_s - g * g)) * noise
            if g > 0:
                x = x + g * normal(tuple(x.shape), generator, device=x.device)
        return x

    def generate(self, n: int, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        """Samples `(n, d)` in scaled units, given a scaled condition `(n, c)`."""
        x = normal((n, self.n_features_ or 0), generator, device=self.device_)
        return self.denoise(x, self.n_timesteps, condition, generator)

    @torch.no_grad()
    def denoise_from(
        self,
        x: Any,
        t_fraction: float,
        condition: Any = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Noises given rows part of the way and denoises them back (SDEdit, Meng et al. 2022).

        Args:
            x: `(n, d)` in the units of the data.
            t_fraction: How far, in [0, 1]: 0 returns the rows, 1 a fresh sample.
            condition: `(n, c)` or `(1, c)`, if the model was fitted with one.
            generator: Source of random numbers; None for the model's own.

        Returns:
            Float32 `(n, d)`.

        Raises:
            RuntimeError: The model is not fitted.
            ValueError: A wrong shape, or t_fraction outside [0, 1].
        """
        self.check_fitted()
        check_number("t_fraction", t_fraction, low=0, high=1)
        rows = self.prepare_x(x)
        given = self.prepare_condition(condition, len(rows))
        start = round(t_fraction * self.n_timesteps)
        if start == 0 or len(rows) == 0:
            # Untouched, not scaled there and back.
            return torch.as_tensor(x).float().to(self.device_)
        generator = self.own_generator(generator)
        if start == self.n_timesteps:
            return self.to_items(self.generate(len(rows), given, generator))
        noise = normal(tuple(rows.shape), generator, device=self.device_)
        noised = self._signal[start] * rows + self._noise[start] * noise
        return self.to_items(self.denoise(noised, start, given, generator))
