"""Samples from the gradient of a log density: Langevin dynamics, and a model that learns it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor

from evogen.models.base import Rows
from evogen.models.checks import check_choice, check_number
from evogen.models.denoiser import Denoiser
from evogen.models.rng import normal
from evogen.models.serialization import register
from evogen.models.training import Callback

# Rows among which the largest distance is looked for.
MAX_COMPARED = 1000


def langevin(
    score: Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    n_steps: int,
    step_size: float,
    generator: torch.Generator,
) -> Tensor:
    """Langevin dynamics: x <- x + step_size / 2 score(x) + sqrt(step_size) z, z ~ N(0, I).

    For small steps and many of them x is a draw from the density whose log has the gradient
    `score`, if its modes are not far apart (Song and Ermon 2019, section 2.2). The step's
    error can be seen on N(0, s^2): the variance becomes s^2 / (1 - step_size / (4 s^2)).

    Args:
        score: `(n, ...)` to gradients of the same shape.
        x: Where to start, `(n, ...)`.
        n_steps: Number of steps, >= 0.
        step_size: The paper's epsilon, > 0.
        generator: Source of random numbers.

    Returns:
        The last x, `(n, ...)`.
    """
    check_number("n_steps", n_steps, low=0, integer=True)
    check_number("step_size", step_size, low=0)
    for _ in range(n_steps):
        noise = normal(tuple(x.shape), generator, device=x.device, dtype=x.dtype)
        x = x + (0.5 * step_size) * score(x) + math.sqrt(step_size) * noise
    return x


def annealed_langevin(
    score: Callable[[Tensor, float], Tensor],
    x: Tensor,
    sigmas: Sequence[float],
    *,
    n_steps: int,
    step_size: float,
    generator: torch.Generator,
    denoise: bool = True,
) -> Tensor:
    """Langevin dynamics on ever less noised data (Song and Ermon 2019, algorithm 1).

    Noise joins the modes while they still exchange rows, so that each gets its share, which
    plain Langevin dynamics cannot give.

    Args:
        score: x `(n, ...)` and sigma to the gradient of the log density of data with added noise
            of standard deviation sigma.
        x: Where to start, `(n, ...)`: the paper starts from noise as wide as the first sigma.
        sigmas: Noise levels, falling, all > 0.
        n_steps: Steps at each level, the paper's T.
        step_size: Step at the last level, the paper's epsilon; at level i it is
            step_size sigma_i^2 / sigma_L^2.
        generator: Source of random numbers.
        denoise: Whether the last noise is taken off: x + sigma_L^2 score(x, sigma_L), the mean of
            the data given x (Song and Ermon 2020, section 4; Efron 2011, eq. 1.4).

    Returns:
        The last x, `(n, ...)`.

    Raises:
        ValueError: No sigmas, or they do not fall.
    """
    if not sigmas or min(sigmas) <= 0 or sorted(sigmas, reverse=True) != list(sigmas):
        raise ValueError(f"sigmas must be positive and falling; got {list(sigmas)}")
    for sigma in sigmas:
        x = langevin(
            lambda x, sigma=sigma: score(x, sigma),  # type: ignore[misc]
            x,
            n_steps=n_steps,
            step_size=step_size * (sigma / sigmas[-1]) ** 2,
            generator=generator,
        )
    return x + sigmas[-1] ** 2 * score(x, sigmas[-1]) if denoise else x


@register
@dataclass(kw_only=True, eq=False, repr=False)
class ScoreModel(Denoiser):
    """Noise-conditional score network (Song and Ermon 2019 and 2020) for vectors and images.

    It learns s(x, sigma), the gradient of the log density of scaled data with added noise
    N(0, sigma^2 I), for sigmas in geometric progression, by denoising score matching (2019, eq. 5
    and 6, weight sigma^2): the best guess of the noise e in x + sigma e is -sigma s(x, sigma).
    That is what a `Denoiser` learns from x / sqrt(1 + sigma^2), whose alpha_bar is
    1 / (1 + sigma^2) (Song et al. 2021, "Score-based generative modeling through SDEs",
    appendix B); network, conditions and guidance are described there.

    Attributes:
        n_timesteps: Number of sigmas learned.
        noise_schedule: Has no effect here.
        learned_variance: Must be False.
        sigma_min: Smallest sigma, in scaled units.
        sigma_max: Largest sigma; None for the largest distance between two rows of the (first)
            data, so that any row can become any other (2020, technique 1).
        method: How samples are drawn. "langevin": annealed Langevin dynamics alone, which needs
            many steps: what is broad in the data comes out too broad by 26 % with 30 sigmas and 3
            steps at each, by 8 % with 50 and 5. "predictor": from sigma to sigma by the
            variance-exploding SDE (Song et al. 2021, appendix F) or its probability flow, see
            `eta`. "predictor-corrector": both by turns (2021, algorithm 2).
        n_sample_steps: Number of sigmas that a sample goes through, at most n_timesteps; None for
            all.
        n_langevin_steps: Langevin steps at each of them, the paper's T.
        step_size: Size of a Langevin step in units of sigma^2: the paper's epsilon / sigma_L^2.
        eta: Predictor: 0 for the probability flow, 1 for the SDE (ancestral sampling).
        buffers_: Also "sigmas" `(2,)`, the least and the largest.
    """

    sigma_min: float = 0.01
    sigma_max: float | None = None
    method: Literal["predictor-corrector", "langevin", "predictor"] = "predictor-corrector"
    n_sample_steps: int | None = 30
    n_langevin_steps: int = 1
    step_size: float = 0.4
    eta: float = 0.0

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        if self.learned_variance:
            raise ValueError("learned_variance must be False: a ScoreModel has no variance")
        check_number("sigma_min", self.sigma_min, low=1e-6)
        if self.sigma_max is not None:
            check_number("sigma_max", self.sigma_max, low=self.sigma_min)
        check_choice("method", self.method, ("predictor-corrector", "langevin", "predictor"))
        if self.n_sample_steps is not None:
            high = self.n_timesteps
            check_number("n_sample_steps", self.n_sample_steps, low=1, high=high, integer=True)
        check_number("n_langevin_steps", self.n_langevin_steps, low=1, integer=True)
        # From 4 on the dynamics diverge.
        check_number("step_size", self.step_size, low=0, high=3.9)
        check_number("eta", self.eta, low=0, high=1)

    def buffer_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Names and shapes of `buffers_`; None for a size that the data decide."""
        return {**super().buffer_shapes(), "sigmas": (2,)}

    # Noise levels.

    def _make_tables(self) -> None:
        super()._make_tables()
        if "sigmas" not in self.buffers_:
            return  # a new model, whose data are yet to be seen
        low, high = self.buffers_["sigmas"].double().tolist()
        share = torch.arange(self.n_timesteps, dtype=torch.float64) / max(1, self.n_timesteps - 1)
        sigmas = low * (high / low) ** share
        self._sigmas = [0.0, *sigmas.tolist()]
        # Without noise everything is left.
        self._set_levels(torch.cat((torch.ones(1), 1 / (1 + sigmas.square()))))

    def learn(
        self,
        rows: Rows,
        *,
        n_steps: int | None,
        generator: torch.Generator,
        callback: Callback | None,
    ) -> None:
        """Takes the largest sigma from the first rows, then runs the training loop."""
        if "sigmas" not in self.buffers_:
            high = self.sigma_max
            if high is None:
                some = rows.x[:: -(-len(rows.x) // MAX_COMPARED)]
                # Rows that are all alike are still one unit wide.
                high = max(1.0, self.sigma_min, float(torch.cdist(some, some).max()))
            pair = torch.tensor((self.sigma_min, high))
            self.buffers_["sigmas"] = pair.to(self.device_)
            self._make_tables()
        super().learn(rows, n_steps=n_steps, generator=generator, callback=callback)

    # Use.

    @torch.no_grad()
    def score(self, x: Any, sigma: float, condition: Any = None) -> Tensor:
        """Gradient of the log density of noised data, at x, in the units of the data.

        Args:
            x: Items `(n, *item_shape_)`, also between and beyond the data.
            sigma: Standard deviation of the noise in scaled units (of vectors: in standard
                deviations of each feature), within those learned; rounded to the nearest of them.
            condition: `(n, c)` or labels `(n,)`, or one for all, if the model was fitted with one.

        Returns:
            Float32 `(n, *item_shape_)`.

        Raises:
            RuntimeError: The model is not fitted.
            ValueError: A wrong shape, or sigma outside the sigmas learned.
        """
        self.check_fitted()
        low, high = self._sigmas[1], self._sigmas[-1]
        check_number("sigma", sigma, low=low * (1 - 1e-6), high=high * (1 + 1e-6))
        rows = self.prepare_x(x)
        given = self.prepare_condition(condition, len(rows))
        with self.autocast():
            score = self.scaled_score(rows, float(sigma), given)
        score = score / self.scaler_.scale.float()
        return score.float().view(-1, *self.item_shape_)

    def scaled_score(self, x: Tensor, sigma: float, condition: Tensor | None) -> Tensor:
        """`score` of rows `(n, d)` in scaled units."""
        return -self._parts(x, sigma, condition)[1] / sigma

    def _parts(self, x: Tensor, sigma: float, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """What x = x_0 + sigma e is thought to consist of: x_0 and e."""
        low, high = self._sigmas[1], self._sigmas[-1]
        share = math.log(sigma / low) / max(math.log(high / low), 1e-12)
        t = 1 + round(share * (self.n_timesteps - 1))
        return self.predict(x / math.sqrt(1 + sigma * sigma), t, condition)

    def sample_sigmas(self) -> list[float]:
        """The sigmas that a sample goes through, falling to the least."""
        n = self.n_timesteps if self.n_sample_steps is None else self.n_sample_steps
        places = [k / max(1, n - 1) for k in range(n - 1, -1, -1)] if n > 1 else [1.0]
        return [self._sigmas[1 + round(place * (self.n_timesteps - 1))] for place in places]

    def generate(self, n: int, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        """Samples `(n, d)` in scaled units, given a scaled condition `(n, c)`."""
        sigmas = self.sample_sigmas()
        x = sigmas[0] * normal((n, self.n_features_ or 0), generator, device=self.device_)
        if self.method == "langevin":
            return annealed_langevin(
                lambda x, sigma: self.scaled_score(x, sigma, condition),
                x,
                sigmas,
                n_steps=self.n_langevin_steps,
                step_size=self.step_size * sigmas[-1] ** 2,
                generator=generator,
            )
        for sigma, less in pairwise((*sigmas, 0.0)):
            if self.method == "predictor-corrector":
                x = langevin(
                    lambda x, sigma=sigma: self.scaled_score(x, sigma, condition),  # type: ignore[misc]
                    x,
                    n_steps=self.n_langevin_steps,
                    step_size=self.step_size * sigma**2,
                    generator=generator,
                )
            x0, noise = self._parts(x, sigma, condition)
            fresh = self.eta * less / sigma * math.sqrt(sigma**2 - less**2)
            x = x0 + math.sqrt(less**2 - fresh**2) * noise
            if fresh > 0:
                x = x + fresh * normal(tuple(x.shape), generator, device=x.device)
        return x
