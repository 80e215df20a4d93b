"""Denoising diffusion for vectors and images: sampling, guidance, inversion, the bound."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from evogen.models.bound import (
    Bound,
    discretized_log_prob,
    gaussian_log_prob,
    posterior,
    variational_bound,
)
from evogen.models.checks import check_number
from evogen.models.denoiser import Denoiser
from evogen.models.rng import normal
from evogen.models.schedulers import (
    Scheduler,
    check_scheduler,
    ddim_step,
    follow,
    grid_of_levels,
    posterior_variance,
)
from evogen.models.serialization import register


@register
@dataclass(kw_only=True, eq=False, repr=False)
class DDPM(Denoiser):
    """Denoising diffusion probabilistic model (Ho, Jain and Abbeel 2020) for vectors and images.

    It learns as `Denoiser` says. Samples follow DDIM (Song, Meng and Ermon 2021, eq. 12), which
    with eta = 1 is DDPM, or any scheduler (see `sample`). Read as a hierarchical VAE with the
    latent variables x_1 .. x_T it has a bound on its log density, `bound`.

    Attributes:
        n_sample_steps: Denoising steps of a sample, at most T; None for T.
        eta: 0: deterministic given the starting noise (DDIM); 1: with all T steps exactly DDPM.
    """

    n_sample_steps: int | None = 20
    eta: float = 0.0

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        if self.n_sample_steps is not None:
            check_number(
                "n_sample_steps", self.n_sample_steps, low=1, high=self.n_timesteps, integer=True
            )
        check_number("eta", self.eta, low=0, high=1)

    # Sampling.

    def denoise(
        self,
        x: Tensor,
        start: int,
        condition: Tensor | None,
        generator: torch.Generator,
        *,
        eta: float | None = None,
    ) -> Tensor:
        """Takes rows from noise level `start` to 0, in scaled units; see `ddim_step`.

        Args:
            x: Noised rows `(n, d)`.
            start: Their noise level, 1 .. T.
            condition: Scaled `(n, c)`, or None.
            generator: Source of noise.
            eta: None for the parameter of the same name.
        """
        eta = self.eta if eta is None else eta
        for t, s in pairwise(self._levels(start)):
            if self.learned_variance and eta > 0:
                output, share = self.guided(x, t, condition).chunk(2, dim=1)
                x0, noise = self.interpret(output, x, self._signal[t], self._noise[t])
                left_t, left_s = self._alpha_bar[t], self._alpha_bar[s]
                low = max(posterior_variance(left_t, left_s), 1e-20)
                ratio = (1 - left_t / left_s) / low
                std = eta * math.sqrt(low) * ratio ** (0.5 * torch.sigmoid(share))
            else:
                (x0, noise), std = self.predict(x, t, condition), None
            x = ddim_step(
                x0,
                noise,
                self._alpha_bar[t],
                self._alpha_bar[s],
                eta=eta,
                generator=generator,
                std=std,
            )
        return x

    def _levels(self, start: int) -> list[int]:
        """The noise levels that a sample from `start` goes through."""
        n_steps = self.n_timesteps if self.n_sample_steps is None else self.n_sample_steps
        return grid_of_levels(start, max(1, math.ceil(n_steps * start / self.n_timesteps)))

    def generate(self, n: int, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        """Samples `(n, d)` in scaled units, given a scaled condition `(n, c)`."""
        x = normal((n, self.n_features_ or 0), generator, device=self.device_)
        return self.denoise(x, self.n_timesteps, condition, generator)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        condition: Any = None,
        *,
        generator: torch.Generator | None = None,
        scheduler: Scheduler | None = None,
    ) -> Tensor:
        """Draws samples, always finite; see `GenerativeModel.sample`.

        Args:
            n: How many, >= 0.
            condition: `(n, c)` or labels `(n,)`, or one for all.
            generator: Source of random numbers; None for the model's own.
            scheduler: Takes the steps instead of `denoise`, `n_sample_steps` of them: one of
                `schedulers`, or of diffusers with the model's noise schedule ("cosine" is its
                "squaredcos_cap_v2"). Its own limits on x_0 hold besides `clip`. One whose `step`
                takes no generator may draw from torch's global one.

        Returns:
            `(n, *item_shape_)` on the model's device, in the units of the data.

        Raises:
            RuntimeError: The model is not fitted.
            ValueError: A wrong condition, n < 0, or a scheduler of another noise schedule.
        """
        if scheduler is None or n == 0:
            return super().sample(n, condition, generator=generator)
        check_number("n", n, low=0, integer=True)
        self.check_fitted()
        check_scheduler(scheduler, self._alpha_bar)
        given = self.prepare_condition(condition, int(n))
        generator = self.own_generator(generator)

        def predict(x: Tensor, level: float, signal: float, sigma: float) -> tuple[Tensor, Tensor]:
            output = self.guided(x, level, given)[:, : x.shape[1]]
            return self.interpret(output, x, signal, sigma)

        with self.autocast():
            x = follow(
                scheduler,
                normal((int(n), self.n_features_ or 0), generator, device=self.device_),
                predict,
                self._alpha_bar,
                n_steps=len(self._levels(self.n_timesteps)) - 1,
                eta=self.eta,
                generator=generator,
            )
        return self.to_items(x)

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

    @torch.no_grad()
    def invert(self, x: Any, condition: Any = None, *, n_corrections: int = 3) -> Tensor:
        """The noise from which `sample_from` makes the given items (Song et al. 2021, section 4.3).

        The step from t to s < t is the rotation x_s = cos(u) x_t - sin(u) v(x_t, t), a_t =
        cos(u_t), u = u_t - u_s. It is solved for x_t by iteration, starting from v(x_s, t).

        Args:
            x: `(n, *item_shape_)` in the units of the data.
            condition: `(n, c)` or labels `(n,)`, or one for all, if the model was fitted with one.
            n_corrections: Iterations after the first guess of each step, >= 0.

        Returns:
            About standard normal numbers, float32 `(n, *item_shape_)`.

        Raises:
            RuntimeError: The model is not fitted.
            ValueError: A wrong shape or condition, or n_corrections < 0.
        """
        self.check_fitted()
        check_number("n_corrections", n_corrections, low=0, integer=True)
        rows = self.prepare_x(x)
        given = self.prepare_condition(condition, len(rows))
        with self.autocast():
            for t, s in reversed(list(pairwise(self._levels(self.n_timesteps)))):
                angle_t, angle_s = (math.acos(math.sqrt(self._alpha_bar[k])) for k in (t, s))
                turn, guess = angle_t - angle_s, rows
                for _ in range(1 + n_corrections):
                    x0, noise = self.predict(guess, t, given)
                    v = self._signal[t] * noise - self._noise[t] * x0
                    guess = (rows + math.sin(turn) * v) / math.cos(turn)
                rows = guess
        return rows.float().view(-1, *self.item_shape_)

    @torch.no_grad()
    def sample_from(self, noise: Any, condition: Any = None) -> Tensor:
        """The items that start as the given noise, without further noise (eta = 0).

        Args:
            noise: Standard normal numbers `(n, *item_shape_)`.
            condition: `(n, c)` or labels `(n,)`, or one for all, if the model was fitted with one.

        Returns:
            `(n, *item_shape_)` in the units of the data.

        Raises:
            RuntimeError: The model is not fitted.
            ValueError: A wrong shape or condition.
        """
        self.check_fitted()
        start = torch.as_tensor(noise).float().to(self.device_)
        if tuple(start.shape[1:]) != self.item_shape_:
            raise ValueError(f"noise must have shape (n, *{self.item_shape_}); got {start.shape}")
        given = self.prepare_condition(condition, len(start))
        with self.autocast():
            x = self.denoise(start.flatten(1), self.n_timesteps, given, torch.Generator(), eta=0.0)
        return self.to_items(x)

    # The bound.

    def decoder(self, x: Tensor, t: int, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and variance of p(x_{t-1} | x_t), float64 `(n, d)` each, in scaled units.

        The variance is the learned one, or the posterior's; that of t = 2 also at t = 1.

        Args:
            x: Noised rows `(n, d)`.
            t: Noise level, 1 .. T.
            condition: Scaled `(n, c)`, or None.
        """
        output = self.guided(x.float(), t, condition).double()
        x0, _ = self.interpret(output[:, : x.shape[1]], x, self._signal[t], self._noise[t])
        left = self._alpha_bar
        mean, variance = posterior(x0.double(), x.double(), left[t], left[t - 1])
        if self.learned_variance:
            share = output[:, x.shape[1] :]
            level = torch.tensor(t, device=self.device_)
            return mean, self._variance_between(share, level)
        if t == 1:
            pair = (left[2], left[1]) if self.n_timesteps > 1 else (left[1], left[1])
            least = posterior_variance(*pair) or 1 - left[1]
            variance = torch.full_like(mean, least)
        return mean, variance

    @torch.no_grad()
    def bound(
        self,
        x: Any,
        condition: Any = None,
        *,
        n_levels: int | None = None,
        n_values: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Bound:
        """The variational bound on -log p(x) of the model with all T steps and eta = 1.

        Args:
            x: `(n, *item_shape_)` in the units of the data.
            condition: `(n, c)` or labels `(n,)`, or one for all, if the model was fitted with one.
            n_levels: At how many noise levels the terms are looked at, the others being guessed
                from them without bias; None for all.
            n_values: Images hold so many equally spaced values in [0, 1] (256, say), and the bound
                is on their probability; None for the density in the units of the data.
            generator: Source of random numbers; None for the model's own.

        Returns:
            The terms in nats per item; see `Bound`.

        Raises:
            RuntimeError: The model is not fitted.
            ValueError: A wrong shape or condition, or n_values for items that are no images.
        """
        self.check_fitted()
        if n_levels is not None:
            check_number("n_levels", n_levels, low=1, integer=True)
        if n_values is not None:
            check_number("n_values", n_values, low=2, integer=True)
            if len(self.item_shape_) != 3:
                raise ValueError("n_values must be None: the items are no images")
        rows = self.prepare_x(x)
        given = self.prepare_condition(condition, len(rows))
        scale, shift = self.scaler_.scale, self.scaler_.shift

        def log_likelihood(x0: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
            if n_values is None:
                return gaussian_log_prob(x0, mean, variance) - scale.log().sum()
            half_bin = 0.5 / (n_values - 1) / scale
            return discretized_log_prob(
                x0, mean, variance, half_bin, -shift / scale, (1 - shift) / scale
            )

        with self.autocast():
            return variational_bound(
                rows.double(),
                lambda x_t, t: self.decoder(x_t, t, given),
                self._alpha_bar,
                log_likelihood,
                self.own_generator(generator),
                n_levels=n_levels,
            )

    def log_prob_bound(
        self,
        x: Any,
        condition: Any = None,
        *,
        n_levels: int | None = None,
        n_values: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """A lower bound on log p(x), nats per item, float64 `(n,)`: less `bound`'s total."""
        found = self.bound(x, condition, n_levels=n_levels, n_values=n_values, generator=generator)
        return -found.total
