"""SeqGAN: a recurrent generator of token sequences, rewarded by a discriminator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evogen.models.base import Rows
from evogen.models.checks import ItemKind, check_betas, check_number, check_widths
from evogen.models.neural import NeuralModel, take_batches
from evogen.models.rng import uniform
from evogen.models.sequences import TextCNN, TokenLSTM, counted, draw_tokens, fill_behind_end
from evogen.models.serialization import register
from evogen.models.training import Batches, Objective, Weights


@dataclass
class PhaseObjective(Objective):
    """An objective of the steps first <= step < last only; in others its loss is reported as 0.

    Attributes:
        start: Number of the first step it is asked for, over the model's life.
        first: First step that it takes part in.
        last: The step behind the last one; None for no end.
        restart: Whether the optimizer forgets its averages at the step `first`.
        rate: Factor on the learning rate.
    """

    start: int = 0
    first: int = 0
    last: int | None = None
    restart: bool = False
    rate: float = 1.0
    n_drawn: int = field(default=0, init=False)
    n_taken: int = field(default=0, init=False)

    def batches(self, n_steps: int, generator: torch.Generator) -> Iterator[Batches]:
        """Batches for those of the next steps that it takes part in, nothing for the others."""
        steps = range(self.start + self.n_drawn, self.start + self.n_drawn + n_steps)
        self.n_drawn += n_steps
        active = [self.first <= s and (self.last is None or s < self.last) for s in steps]
        feed = super().batches(sum(active), generator) if any(active) else iter(())
        return iter([next(feed) if a else () for a in active for _ in range(self.repeats)])

    def step(self, batches: Batches) -> Tensor:
        """One optimizer step, or none where there are no batches."""
        is_first = self.n_taken == (self.first - self.start) * self.repeats
        self.n_taken += 1
        if not batches:
            return self.weights.flat.new_zeros(())
        if self.restart and is_first:
            state = self.optimizer.state()
            self.optimizer.load_state({k: torch.zeros_like(v) for k, v in state.items()})
        rate = self.optimizer.lr
        self.optimizer.lr = rate * self.rate
        loss = super().step(batches)
        self.optimizer.lr = rate
        return loss


@dataclass
class DelayedCopy(Objective):
    """No loss: weights that follow others, slowly from the step `first` on and exactly before.

    As an objective they are guarded against divergence together with what they follow.

    Attributes:
        source: What is followed.
        decay: Share of the old weights in the new ones.
        start: Number of the first step it is asked for, over the model's life.
        first: First step of following slowly.
    """

    source: Weights | None = None
    decay: float = 0.0
    start: int = 0
    first: int = 0

    def batches(self, n_steps: int, generator: torch.Generator) -> Iterator[Batches]:
        """Nothing."""
        return iter([()] * n_steps)

    def step(self, batches: Batches) -> Tensor:
        """Moves towards the source; returns the mean absolute difference that is left."""
        assert self.source is not None
        share = 1.0 - self.decay if self.start >= self.first else 1.0
        self.start += 1
        self.weights.flat.lerp_(self.source.flat, share)
        return (self.weights.flat - self.source.flat).abs().mean()


@register
@dataclass(kw_only=True, eq=False, repr=False)
class SeqGAN(NeuralModel):
    """Sequence GAN with policy gradient (Yu, Zhang, Wang and Yu 2017, algorithm 1).

    An LSTM draws tokens one after the other. First it learns by maximum likelihood, for
    `n_pretrain_steps` steps of the model's life; then the discriminator learns to tell data from
    its samples, for `n_pretrain_discriminator_steps`; from then on a step is one of the generator
    and `n_discriminator_steps` of the discriminator. The generator's follows the policy gradient
    (eq. 8): the reward of a token is the mean probability of being data that the discriminator
    gives to `n_rollouts` sequences that begin with the tokens up to it and are finished by the
    roll-out network, a delayed copy of the generator (eq. 4); of the last token, that of the
    sequence itself. A reward counts by what it is above the mean of the other sequences of the
    batch, which does not change the expected gradient; the paper has no baseline.

    Fixed lengths by default; with an `end_token`, the first one ends a sequence (see `sequences`).

    Lower NLL under an oracle is also reached by sampling at a lower `temperature`, at the cost of
    variety (Caccia et al. 2020): look at `log_prob` of held-out data too.

    Attributes:
        n_tokens: Size of the vocabulary; None for that of the first data.
        end_token: What ends a sequence and fills up shorter ones; None for nothing.
        n_embedding: Size of the generator's and the discriminator's embeddings.
        n_hidden: Size of the generator's state.
        filter_widths: Numbers of tokens that the discriminator's convolutions see.
        n_filters: Number of its filters of each width.
        dropout: Share of its features dropped in its training, in [0, 1).
        n_steps: Steps of a fit, of all phases together.
        n_pretrain_steps: Steps of maximum likelihood at the beginning of the model's life.
        n_pretrain_discriminator_steps: Steps of the discriminator alone that follow.
        n_discriminator_steps: Discriminator steps per step.
        n_rollouts: Sequences that a reward is the mean of.
        rollout_decay: Share of the old weights of the roll-out network after a step.
        baseline: Whether rewards are taken relative to the batch's mean.
        lr: Learning rate of maximum likelihood.
        lr_policy: Learning rate of the policy gradient.
        lr_discriminator: Learning rate of the discriminator.
        betas: Adam's decay rates.
        losses_: "likelihood" (NLL per token), "policy", "discriminator", each 0 in steps that are
            without it, and "rollout", the mean distance of the roll-out network's weights.
    """

    items: ClassVar[tuple[ItemKind, ...]] = ("tokens",)
    dtype: ClassVar[torch.dtype] = torch.int64
    averaged: ClassVar[tuple[str, ...]] = ("generator",)

    n_tokens: int | None = None
    end_token: int | None = None
    n_embedding: int = 32
    n_hidden: int = 32
    filter_widths: Sequence[int] = (1, 2, 3, 4, 5)
    n_filters: int = 32
    dropout: float = 0.25
    n_steps: int = 400
    n_pretrain_steps: int = 300
    n_pretrain_discriminator_steps: int = 50
    n_discriminator_steps: int = 3
    n_rollouts: int = 8
    rollout_decay: float = 0.8
    baseline: bool = True
    batch_size: int | None = 64
    max_grad_norm: float | None = 5.0
    lr: float = 1e-2
    lr_policy: float = 1e-3
    lr_discriminator: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        if self.n_tokens is not None:
            check_number("n_tokens", self.n_tokens, low=1, integer=True)
        if self.end_token is not None:
            check_number("end_token", self.end_token, low=0, integer=True)
        for name in ("n_embedding", "n_hidden", "n_filters"):
            check_number(name, getattr(self, name), low=1, high=1 << 16, integer=True)
        check_widths("filter_widths", self.filter_widths)
        for name in ("n_pretrain_steps", "n_pretrain_discriminator_steps"):
            check_number(name, getattr(self, name), low=0, integer=True)
        for name in ("n_discriminator_steps", "n_rollouts"):
            check_number(name, getattr(self, name), low=1, integer=True)
        check_number("dropout", self.dropout, low=0, high=0.99)
        check_number("rollout_decay", self.rollout_decay, low=0, high=1)
        check_number("lr", self.lr, low=1e-12)
        for name in ("lr_policy", "lr_discriminator"):
            check_number(name, getattr(self, name), low=0)
        check_betas(self.betas)

    def adam_settings(self, name: str) -> dict[str, Any]:
        """Learning rate and decay rates for the network of a name."""
        lr = self.lr_discriminator if name == "discriminator" else self.lr
        return {"lr": lr, "betas": self.betas}

    def networks(self) -> dict[str, nn.Module]:
        """Generator, roll-out network and discriminator."""
        n_tokens, n_condition = self.n_tokens_, self.n_condition_
        sizes = (n_tokens, self.n_embedding, self.n_hidden)
        return {
            "generator": TokenLSTM(*sizes, n_condition=n_condition),
            "rollout": TokenLSTM(*sizes, n_condition=n_condition),
            "discriminator": TextCNN(
                n_tokens,
                self.item_shape_[0],
                n_embedding=self.n_embedding,
                widths=self.filter_widths,
                n_filters=self.n_filters,
                n_condition=n_condition,
            ),
        }

    def build(self, generator: torch.Generator | None) -> None:
        """Creates networks and optimizers; the roll-out network starts as the generator."""
        super().build(generator)
        self.weights_["rollout"].flat.copy_(self.weights_["generator"].flat)

    # Learning.

    def objectives(self, rows: Rows) -> list[Objective]:
        """The steps of maximum likelihood, policy gradient, roll-out network and discriminator."""
        start = self.n_steps_
        if self._resuming and self.unfinished_ is not None:
            start += self.unfinished_.n_done
        n_rows, length = rows.x.shape
        size = self.rows_per_batch(n_rows)
        adversarial = self.n_pretrain_steps + self.n_pretrain_discriminator_steps
        x = fill_behind_end(rows.x, self.end_token)

        def draw_data(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
            index = self.draw_rows(n_rows, n, generator)
            given = rows.condition
            given = None if given is None else take_batches(given, index, n)
            return take_batches(x, index, n), given

        def draw_policy(n: int, generator: torch.Generator) -> tuple[Tensor | None, ...]:
            _, given = draw_data(n, generator)
            own = uniform((n, size, length), generator, device=self.device_)
            shape = (n, length - 1, self.n_rollouts * size, length)
            return own, uniform(shape, generator, device=self.device_), given

        def draw_both(n: int, generator: torch.Generator) -> tuple[Tensor | None, ...]:
            real, given = draw_data(n, generator)
            own = uniform((n, size, length), generator, device=self.device_)
            kept = None
            if self.dropout > 0:
                critic = self._critic()
                drawn = uniform((n, 2 * size, critic.n_features), generator, device=self.device_)
                kept = (drawn >= self.dropout).float() / (1 - self.dropout)
            return real, own, kept, given

        def phase(
            name: str,
            network: str,
            loss: Callable[..., Tensor],
            draw: Callable[[int, torch.Generator], Sequence[Tensor | None]],
            batch_numbers: int,
            repeats: int = 1,
            **when: Any,
        ) -> Objective:
            plain = self.objective(
                name, network, loss, draw, batch_numbers=batch_numbers, repeats=repeats
            )
            given = {f.name: getattr(plain, f.name) for f in fields(plain)}
            return PhaseObjective(**given, start=start, **when)

        copied = self.objective(
            "rollout", "rollout", self.likelihood_loss, draw_data, batch_numbers=1
        )
        given = {f.name: getattr(copied, f.name) for f in fields(copied)}
        return [
            phase(
                "likelihood",
                "generator",
                self.likelihood_loss,
                draw_data,
                size * length,
                last=self.n_pretrain_steps,
            ),
            phase(
                "policy",
                "generator",
                self.policy_loss,
                draw_policy,
                size * length * (1 + (length - 1) * self.n_rollouts),
                first=adversarial,
                restart=True,
                rate=self.lr_policy / self.lr,
            ),
            DelayedCopy(
                **given,
                source=self.weights_["generator"],
                decay=self.rollout_decay,
                start=start,
                first=adversarial,
            ),
            phase(
                "discriminator",
                "discriminator",
                self.discriminator_loss,
                draw_both,
                size * (2 * length + 2 * self._critic().n_features),
                repeats=self.n_discriminator_steps,
                first=self.n_pretrain_steps,
            ),
        ]

    def likelihood_loss(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """NLL per token of data `(n, t)`, in nats."""
        count = counted(x, self.end_token)
        return -(self._recurrent().log_probs(x, condition) * count).sum() / count.sum()

    def policy_loss(self, own: Tensor, finishing: Tensor, condition: Tensor | None) -> Tensor:
        """A scalar whose gradient is that of the expected reward, downwards (eq. 8).

        Args:
            own: Numbers in [0, 1) that sequences are drawn with, `(n, t)`.
            finishing: Those of the roll-outs; see `rewards`.
            condition: `(n, n_condition_)` or None.
        """
        tokens = fill_behind_end(self._recurrent().sample(own, condition), self.end_token)
        return self.reinforce(tokens, self.rewards(tokens, finishing, condition), condition)

    def reinforce(self, tokens: Tensor, rewards: Tensor, condition: Tensor | None) -> Tensor:
        """-log p(token) times its reward, per token, of sequences and rewards `(n, t)`."""
        n = len(tokens)
        if self.baseline and n > 1:
            # Relative to the mean of the other rows, which the row's own tokens cannot change.
            rewards = (rewards - rewards.mean(dim=0)) * (n / (n - 1))
        weight = rewards * counted(tokens, self.end_token)
        return -(self._recurrent().log_probs(tokens, condition) * weight).sum() / tokens.numel()

    @torch.no_grad()
    def rewards(self, tokens: Tensor, finishing: Tensor, condition: Tensor | None) -> Tensor:
        """Rewards of all tokens of sequences (eq. 4), `(n, t)` in [0, 1].

        Args:
            tokens: `(n, t)`.
            finishing: Numbers in [0, 1) that the roll-outs are drawn with,
                `(t - 1, n_rollouts * n, t)`.
            condition: `(n, n_condition_)` or None.
        """
        network, critic = self.weights_["rollout"].module, self._critic()
        assert isinstance(network, TokenLSTM)
        n, length = tokens.shape
        last = torch.sigmoid(critic(tokens, condition))[:, None]
        if length == 1:
            return last
        finished, given = self._rollouts(network, tokens, finishing, condition)
        finished = fill_behind_end(finished, self.end_token)
        shape = (length - 1, finishing.shape[1] // n, n)
        earlier = torch.sigmoid(critic(finished.flatten(0, 1), given)).view(shape).mean(dim=1)
        return torch.cat((earlier.T, last), dim=1)

    @staticmethod
    def _rollouts(
        network: TokenLSTM, tokens: Tensor, finishing: Tensor, condition: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Sequences `(t - 1, m, t)` that begin with 1, 2, ..., t - 1 tokens, and their conditions.

        All roll-outs take their next token in one step; those that begin with more tokens join in
        later, from the state that the network has after these.
        """
        copies = finishing.shape[1] // len(tokens)
        length = tokens.shape[1]

        def repeated(a: Tensor) -> Tensor:
            return a.repeat(1, copies, 1) if a.ndim == 3 else a.repeat(copies, 1)

        finished = repeated(tokens).repeat(length - 1, 1, 1)
        wide = None if condition is None else repeated(condition)
        logits, state = network.start(len(tokens), condition)
        running: tuple[Tensor, tuple[Tensor, Tensor]] | None = None
        for i in range(1, length):
            logits, state = network.step(tokens[:, i - 1], state, condition)
            fresh = repeated(logits), (repeated(state[0]), repeated(state[1]))
            if running is None:
                running = fresh
            else:
                given = None if wide is None else wide.repeat(i - 1, 1)
                before = finished[: i - 1, :, i - 1].flatten()
                old_logits, old = network.step(before, running[1], given)
                running = (
                    torch.cat((old_logits, fresh[0])),
                    (torch.cat((old[0], fresh[1][0]), 1), torch.cat((old[1], fresh[1][1]), 1)),
                )
            drawn = draw_tokens(running[0], finishing[:i, :, i].flatten())
            finished[:i, :, i] = drawn.view(i, -1)
        return finished, None if wide is None else wide.repeat(length - 1, 1)

    def discriminator_loss(
        self, real: Tensor, own: Tensor, kept: Tensor | None, condition: Tensor | None
    ) -> Tensor:
        """Cross-entropy of telling data from samples, in nats (eq. 5, halved).

        Args:
            real: Data `(n, t)`.
            own: Numbers in [0, 1) that samples are drawn with, `(n, t)`.
            kept: Factors on the features, `(2 n, n_features)`, or None; see `TextCNN`.
            condition: `(n, n_condition_)` or None.
        """
        fake = fill_behind_end(self._recurrent().sample(own, condition), self.end_token)
        both = None if condition is None else torch.cat((condition, condition))
        logits = self._critic()(torch.cat((real, fake)), both, kept)
        target = torch.cat((torch.ones(len(real)), torch.zeros(len(fake)))).to(logits)
        return F.binary_cross_entropy_with_logits(logits, target)

    def _recurrent(self) -> TokenLSTM:
        network = self.weights_["generator"].module
        assert isinstance(network, TokenLSTM)
        return network

    def _critic(self) -> TextCNN:
        network = self.weights_["discriminator"].module
        assert isinstance(network, TextCNN)
        return network

    # Use.

    def generate(self, n: int, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        """Samples `(n, t)`."""
        return self._drawn(n, condition, generator, 1.0)

    def _drawn(
        self, n: int, condition: Tensor | None, generator: torch.Generator, temperature: float
    ) -> Tensor:
        network = self.sampler("generator")
        assert isinstance(network, TokenLSTM)
        uniforms = uniform((n, self.item_shape_[0]), generator, device=self.device_)
        tokens = network.sample(uniforms, condition, temperature=temperature)
        return fill_behind_end(tokens, self.end_token)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        condition: Any = None,
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draws sequences.

        Args:
            n: How many, >= 0.
            condition: As in `GenerativeModel.sample`.
            temperature: What the logits are divided by, >= 0; 1 samples the learned distribution,
                0 takes the most probable token each time.
            generator: Source of random numbers; None for the model's own.

        Returns:
            Integers `(n, t)`.

        Raises:
            RuntimeError: The model is not fitted.
            ValueError: As in `GenerativeModel.sample`, or a negative temperature.
        """
        check_number("temperature", temperature, low=0)
        if temperature == 1 or n == 0:
            return super().sample(n, condition, generator=generator)
        check_number("n", n, low=1, integer=True)
        self.check_fitted()
        given = self.prepare_condition(condition, int(n))
        with self.autocast():
            x = self._drawn(int(n), given, self.own_generator(generator), temperature)
        return self.to_items(x)

    @torch.no_grad()
    def log_prob(self, x: Any, condition: Any = None) -> Tensor:
        """Log probability `(n,)` in nats of sequences `(n, t)`, exact.

        Args:
            x: Sequences `(n, t)`; what stands behind an end token does not count.
            condition: As in `sample`.
        """
        self.check_fitted()
        rows = self.prepare_x(x)
        given = self.prepare_condition(condition, len(rows))
        network = self.sampler("generator")
        assert isinstance(network, TokenLSTM)
        return (network.log_probs(rows, given) * counted(rows, self.end_token)).sum(dim=1)

    @torch.no_grad()
    def realness(self, x: Any, condition: Any = None) -> Tensor:
        """The discriminator's probability `(n,)` that sequences `(n, t)` are data."""
        self.check_fitted()
        rows = fill_behind_end(self.prepare_x(x), self.end_token)
        return torch.sigmoid(self._critic()(rows, self.prepare_condition(condition, len(rows))))
