"""How noise falls over the levels of a diffusion, and the step from one level to a lower one.

A scheduler is apart from the network: it is an object with `timesteps`, `set_timesteps`, `step`
and `add_noise`, the protocol of Hugging Face's diffusers, so that theirs and ours are exchangeable.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from evogen.models.checks import check_choice, check_number
from evogen.models.rng import normal

NoiseSchedule = Literal["cosine", "linear"]
Prediction = Literal["noise", "x0", "v"]

PREDICTION_TYPES: dict[str, str] = {"noise": "epsilon", "x0": "sample", "v": "v_prediction"}
"""What a network predicts, in our words and in those of diffusers."""


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


def check_schedule(noise_schedule: Any, n_timesteps: Any) -> None:
    """Raises TypeError or ValueError for a noise schedule or number of levels that cannot be."""
    check_number("n_timesteps", n_timesteps, low=1, high=10_000, integer=True)
    check_choice("noise_schedule", noise_schedule, ("cosine", "linear"))
    if noise_schedule == "linear":
        check_number("n_timesteps of a linear schedule", n_timesteps, low=50)


def x0_of(
    prediction: str, output: Tensor, x: Tensor, signal: Tensor | float, sigma: Tensor | float
) -> Tensor:
    """x_0 as a network's output says it, for x = signal x_0 + sigma e; see `Prediction`."""
    if prediction == "v":
        return signal * x - sigma * output
    return output if prediction == "x0" else (x - sigma * output) / signal


def output_of(
    prediction: str, x0: Tensor, noise: Tensor, signal: Tensor | float, sigma: Tensor | float
) -> Tensor:
    """What a network should put out for given x_0 and noise; the inverse of `x0_of`."""
    if prediction == "noise":
        return noise
    return x0 if prediction == "x0" else signal * noise - sigma * x0


def grid_of_levels(start: int, n_steps: int) -> list[int]:
    """Levels from `start` down to 0 in `n_steps` steps, evenly spaced."""
    return [round(start * k / n_steps) for k in range(n_steps, -1, -1)]


def posterior_variance(left_t: float, left_s: float) -> float:
    """Variance of q(x_s | x_t, x_0) for levels s < t (Ho et al. 2020, eq. 7).

    Args:
        left_t: alpha_bar at t.
        left_s: alpha_bar at s.
    """
    return (1 - left_s) / (1 - left_t) * (1 - left_t / left_s)


def ddim_step(
    x0: Tensor,
    noise: Tensor,
    left_t: float,
    left_s: float,
    *,
    eta: float,
    generator: torch.Generator | None,
    std: Tensor | None = None,
) -> Tensor:
    """x_s = a_s x_0 + sqrt(s_s^2 - g^2) e + g z, g = eta s_s / s_t sqrt(1 - left_t / left_s).

    Song, Meng and Ermon 2021, eq. 12 and 16. With eta = 1 it is a draw from q(x_s | x_t, x_0),
    the step of DDPM, for any s < t.

    Args:
        x0: What x_t is thought to consist of, its signal `(n, ...)`.
        noise: And its noise e.
        left_t: alpha_bar at the present level.
        left_s: alpha_bar at the level to go to.
        eta: Share of the noise of DDPM, in [0, 1].
        generator: Source of z; needed if eta > 0.
        std: Another standard deviation of the noise that is added; None for g.

    Returns:
        x_s `(n, ...)`.
    """
    g = eta * math.sqrt(posterior_variance(left_t, left_s))
    x = math.sqrt(left_s) * x0 + math.sqrt(max(0.0, 1 - left_s - g * g)) * noise
    if g > 0:
        if generator is None:
            raise ValueError("generator must be given for eta > 0")
        z = normal(tuple(x.shape), generator, device=x.device, dtype=x.dtype)
        x = x + (g if std is None else std) * z
    return x


class Step(NamedTuple):
    """What a scheduler's step results in.

    Attributes:
        prev_sample: x at the next lower level.
        pred_original_sample: x_0 as it is thought to be at this level.
    """

    prev_sample: Tensor
    pred_original_sample: Tensor


class Scheduler(Protocol):
    """What `DDPM.sample` needs of a scheduler; those of diffusers have it, and more.

    Where they are there, also used are: `alphas_cumprod` (it must be the model's noise schedule),
    `config.prediction_type` or `prediction_type` (else "epsilon"), `init_noise_sigma`,
    `scale_model_input(x, t)`, and the arguments `eta` and `generator` of `step`.
    """

    timesteps: Tensor
    """Levels to evaluate the network at, falling; 0 is the first noised level, t = 1 of papers."""

    def set_timesteps(self, n_steps: int, /) -> None:
        """Chooses `timesteps`, so many."""

    def step(self, output: Tensor, t: Any, x: Tensor, /) -> Any:
        """From x at level t, with the network's output there, to `.prev_sample`."""


class DDIM:
    """The sampler of Song, Meng and Ermon 2021; with eta = 1, that of DDPM on fewer levels.

    Args:
        n_timesteps: Number T of noise levels of the model.
        noise_schedule: Of the model; see `alpha_bar`.
        prediction: What `step` is given: "noise", "x0" or "v".
        eta: 0: deterministic; 1: as noisy as DDPM.
        clip: Least and largest x_0 believed; None for no limit.

    Attributes:
        timesteps: Levels in falling order, int64; level t is that with t + 1 steps of noise.
        alphas_cumprod: alpha_bar of levels 0 .. T - 1, float64 `(T,)`.

    Raises:
        TypeError: An argument is of a wrong type.
        ValueError: It is out of range.
    """

    init_noise_sigma = 1.0

    def __init__(
        self,
        n_timesteps: int = 1000,
        noise_schedule: NoiseSchedule = "cosine",
        *,
        prediction: Prediction = "noise",
        eta: float = 0.0,
        clip: tuple[float, float] | None = None,
    ) -> None:
        check_schedule(noise_schedule, n_timesteps)
        check_choice("prediction", prediction, tuple(PREDICTION_TYPES))
        check_number("eta", eta, low=0, high=1)
        self.n_timesteps, self.noise_schedule = n_timesteps, noise_schedule
        self.prediction, self.eta, self.clip = prediction, eta, clip
        self.alphas_cumprod = alpha_bar(noise_schedule, n_timesteps)[1:]
        self.set_timesteps(n_timesteps)

    @property
    def prediction_type(self) -> str:
        """`prediction` in the words of diffusers."""
        return PREDICTION_TYPES[self.prediction]

    def set_timesteps(self, n_steps: int, device: Any = None) -> None:
        """Chooses so many levels, 1 .. T, evenly spaced from the highest."""
        check_number("n_steps", n_steps, low=1, high=self.n_timesteps, integer=True)
        levels = grid_of_levels(self.n_timesteps, n_steps)
        self.timesteps = torch.tensor(levels[:-1], device=device) - 1
        self._next = dict(pairwise(levels))

    def step(
        self, output: Tensor, t: Any, x: Tensor, *, generator: torch.Generator | None = None
    ) -> Step:
        """Goes from level t, one of `timesteps`, to the next.

        Args:
            output: What the network predicts from x and t `(n, ...)`.
            t: The level.
            x: Noised items `(n, ...)`.
            generator: Source of noise; needed if eta > 0.

        Raises:
            ValueError: t is none of `timesteps`, or there is no generator and eta > 0.
        """
        level = int(t) + 1
        if level not in self._next:
            raise ValueError(f"t must be one of timesteps; got {int(t)}")
        left = [1.0, *self.alphas_cumprod.tolist()]
        left_t, left_s = left[level], left[self._next[level]]
        signal, sigma = math.sqrt(left_t), math.sqrt(1 - left_t)
        x0 = x0_of(self.prediction, output, x, signal, sigma)
        if self.clip is not None:
            x0 = x0.clamp(*self.clip)
        noise = (x - signal * x0) / sigma
        moved = ddim_step(x0, noise, left_t, left_s, eta=self.eta, generator=generator)
        return Step(moved, x0)

    def add_noise(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t = a_t x_0 + s_t e, a draw from q(x_t | x_0).

        Args:
            x0: Items `(n, ...)`.
            noise: Standard normal numbers of the same shape.
            t: Levels 0 .. T - 1, integers `(n,)` or one for all.
        """
        left = self.alphas_cumprod.to(x0.device)[t]
        left = left.reshape(left.shape + (1,) * (x0.ndim - left.ndim))
        return left.sqrt().to(x0.dtype) * x0 + (1 - left).sqrt().to(x0.dtype) * noise


Predict = Callable[[Tensor, float, float, float], tuple[Tensor, Tensor]]
"""x, its level t, signal and sigma there, to (x_0, noise)."""


def check_scheduler(scheduler: Scheduler, alpha_bar: Sequence[float]) -> None:
    """Raises ValueError for a scheduler made for another noise schedule than the model's."""
    known = getattr(scheduler, "alphas_cumprod", None)
    if known is None:
        return
    own = torch.tensor(alpha_bar[1:])
    if known.shape != own.shape or not torch.allclose(known.cpu().float(), own, atol=1e-3):
        raise ValueError(
            f"scheduler must have the noise schedule of the model, with {len(own)} levels; see "
            "its alphas_cumprod"
        )


def follow(
    scheduler: Scheduler,
    x: Tensor,
    predict: Predict,
    alpha_bar: Sequence[float],
    *,
    n_steps: int,
    eta: float,
    generator: torch.Generator,
) -> Tensor:
    """Lets any scheduler take the steps from noise to samples.

    Args:
        scheduler: Whose steps.
        x: Standard normal numbers `(n, d)`.
        predict: What the model thinks noised rows consist of.
        alpha_bar: Of levels 0 .. T.
        n_steps: Number of steps.
        eta: Handed to a scheduler whose `step` takes it.
        generator: The same.

    Returns:
        Samples `(n, d)`.
    """
    words = {word: name for name, word in PREDICTION_TYPES.items()}
    kind = words[getattr(getattr(scheduler, "config", scheduler), "prediction_type", "epsilon")]
    accepted = inspect.signature(scheduler.step).parameters
    given = {"eta": eta, "generator": generator}
    options: dict[str, Any] = {name: v for name, v in given.items() if name in accepted}
    scale = getattr(scheduler, "scale_model_input", lambda x, t: x)
    scheduler.set_timesteps(n_steps)
    x = x * float(getattr(scheduler, "init_noise_sigma", 1.0))
    for t in scheduler.timesteps:
        level = float(t) + 1
        scaled = scale(x, t).float()
        # Between two levels the ratio of noise to signal is linear.
        below = min(int(level), len(alpha_bar) - 2)
        left = torch.tensor(alpha_bar[below : below + 2], dtype=torch.float64)
        low, high = ((1 - left) / left).sqrt().tolist()
        ratio = low + (level - below) * (high - low)
        signal = 1 / math.sqrt(1 + ratio * ratio)
        sigma = ratio * signal
        x0, noise = predict(scaled, level, signal, sigma)
        output = output_of(kind, x0, noise, signal, sigma)
        x = scheduler.step(output, t, x, **options).prev_sample
    return x.float()
