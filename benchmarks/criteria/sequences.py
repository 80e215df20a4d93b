"""Criteria of the sequence models: a grammar for UniVAE, an oracle LSTM for SeqGAN."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from criteria.common import Criterion, Figures, criterion
from evogen.models.rng import integers, normal, seeded_generator, uniform
from evogen.models.seqgan import SeqGAN
from evogen.models.sequences import TokenLSTM, fill_behind_end
from evogen.models.univae import UniTransformer, UniVAE

# The grammar.

SYMBOLS = "0123456789+-*()$"
END = SYMBOLS.index("$")
LENGTH = 8
FORMS = ("aob", "aoboc", "(aob)oc", "ao(boc)")
VALID = re.compile(r"(\d[-+*]\d([-+*]\d)?|\(\d[-+*]\d\)[-+*]\d|\d[-+*]\(\d[-+*]\d\))")


def expressions(n: int, seed: int) -> Tensor:
    """Arithmetic expressions of two or three digits, as tokens `(n, LENGTH)` filled up with END.

    They have log(100 * 3) or log(1000 * 9) and log(4) for their form, 10 nats on the mean.
    """
    rng = np.random.default_rng(seed)
    rows = np.full((n, LENGTH), END)
    for row in rows:
        text = FORMS[rng.integers(len(FORMS))]
        for letter in "abc":
            text = text.replace(letter, str(rng.integers(10)))
        while "o" in text:
            text = text.replace("o", "+-*"[rng.integers(3)], 1)
        row[: len(text)] = [SYMBOLS.index(s) for s in text]
    return torch.as_tensor(rows)


def share_valid(tokens: Tensor) -> float:
    """Share of sequences `(n, LENGTH)` that are expressions of the grammar."""
    texts = ("".join(SYMBOLS[i] for i in row).rstrip("$") for row in tokens.tolist())
    return float(np.mean([VALID.fullmatch(text) is not None for text in texts]))


def _univae(seed: int, change: Callable[[UniVAE], None] | None = None) -> Figures:
    x, test = expressions(10_000, seed), expressions(1000, 1000 + seed)
    model = UniVAE(
        n_tokens=len(SYMBOLS),
        end_token=END,
        n_steps=1000,
        schedule="linear",
        random_state=seed,
    )
    if change is not None:
        change(model)
    model.fit(x)
    rebuilt = model.decode(model.encode(test))
    z = normal((1000, model.code_dim), seeded_generator(seed, 1))
    decoded = model.decode(z)
    valid = share_valid(decoded)
    return {
        "tokens": float((rebuilt == test).float().mean()),
        "sequences": float((rebuilt == test).all(dim=1).float().mean()),
        "valid": valid,
        "valid_drawn": share_valid(model.sample(1000)),
        "different": len(torch.unique(decoded, dim=0)) / 1000,
        "forced": _forced(model, test),
        "elbo": float(model.elbo(test).mean()),
    }


@torch.no_grad()
def _forced(model: UniVAE, x: Tensor) -> float:
    """Share of tokens told right from the source and the true tokens before them."""
    network = model.sampler("network")
    assert isinstance(network, UniTransformer)
    logits = network(network.embed(x, 0, None), network.embed(x[:, :-1], 1, None), lambda _, d: d)
    told = fill_behind_end(logits.argmax(dim=2), END)
    return float((told == x).float().mean())


class LeakyTransformer(UniTransformer):
    """A UniTransformer whose target sees the source itself."""

    def masks(self, n_source: int, n_target: int) -> tuple[Tensor, Tensor]:
        """Who sees whom: the mask of an encoder with a decoder (UniLM), in all layers."""
        place = torch.arange(n_source + n_target)
        mask = (place < n_source) | ((place >= n_source)[:, None] & (place <= place[:, None]))
        return mask, mask


def _leak(model: UniVAE) -> None:
    own = model.network

    def network() -> torch.nn.Module:
        made = own()
        made.__class__ = LeakyTransformer
        return made

    model.network = network  # type: ignore[method-assign]


# The oracle.

N_TOKENS, N_PLACES = 500, 10
N_PRETRAIN, N_PRETRAIN_D, N_POLICY = 1570, 150, 100
N_TRAIN, N_TEST, N_DRAWN = 10_000, 5000, 10_000
TEMPERATURES = (1.0, 0.975, 0.95, 0.925, 0.9, 0.875, 0.85, 0.8, 0.75, 0.7)


class LSTMOracle:
    """The data of SeqGAN's synthetic task (Yu et al. 2017, section 5.1): an LSTM of its own.

    Args:
        seed: Of its parameters, which are standard normal.
        n_tokens: Size of the vocabulary.
        length: Number of tokens of a sequence.
    """

    def __init__(self, seed: int, n_tokens: int = N_TOKENS, length: int = N_PLACES) -> None:
        self.seed, self.length = seed, length
        self.network = TokenLSTM(n_tokens, 32, 32)
        generator = seeded_generator(seed, 0)
        with torch.no_grad():
            for name, parameter in self.network.named_parameters():
                parameter.copy_(normal(tuple(parameter.shape), generator))
                if name.endswith("bias_hh_l0"):
                    parameter.zero_()

    def sample(self, n: int, stream: int) -> Tensor:
        """Sequences `(n, length)`; another stream gives others."""
        generator = seeded_generator(self.seed, stream)
        return self.network.sample(uniform((n, self.length), generator))

    @torch.no_grad()
    def nll(self, tokens: Tensor) -> float:
        """Mean NLL per token of sequences `(n, length)`, in nats."""
        return -float(self.network.log_probs(tokens).mean())


@torch.no_grad()
def point(model: SeqGAN, oracle: LSTMOracle, test: Tensor, temperature: float = 1.0) -> Figures:
    """NLL per token of samples under the oracle, and of test data under the model."""
    drawn = model.sample(N_DRAWN, temperature=temperature, generator=seeded_generator(0, 9))
    network = model.sampler("generator")
    assert isinstance(network, TokenLSTM)
    log_probs = torch.log_softmax(network(test) / temperature, dim=2)
    own = log_probs.gather(2, test[:, :, None])
    return {"nll_oracle": oracle.nll(drawn), "nll_test": -float(own.mean())}


def _seqgan(seed: int, temperature: float = 1.0) -> Figures:
    """SeqGAN against the temperature curves of its own pre-training and of longer likelihood.

    A point on or above a curve could have been had by sampling the MLE model colder.
    """
    oracle = LSTMOracle(seed)
    data, test = oracle.sample(N_TRAIN, 1), oracle.sample(N_TEST, 2)
    random = integers(N_TOKENS, (N_TEST, N_PLACES), seeded_generator(seed, 3))
    model = SeqGAN(
        n_tokens=N_TOKENS,
        n_pretrain_steps=N_PRETRAIN,
        n_pretrain_discriminator_steps=N_PRETRAIN_D,
        n_discriminator_steps=2,
        n_rollouts=4,
        lr=5e-3,
        random_state=seed,
    )
    model.fit(data, n_steps=N_PRETRAIN)
    longer = copy.deepcopy(model)
    longer.n_pretrain_steps = N_PRETRAIN + N_POLICY
    curve = [point(model, oracle, test, t) for t in TEMPERATURES]
    model.fit(data, n_steps=N_PRETRAIN_D + N_POLICY)
    longer.fit(data, n_steps=N_POLICY)
    longer_curve = [point(longer, oracle, test, t) for t in TEMPERATURES]
    reached = point(model, oracle, test, temperature)
    return {
        **reached,
        "gap": reached["nll_test"] - _on_curve(curve, reached["nll_oracle"]),
        "gap_longer": reached["nll_test"] - _on_curve(longer_curve, reached["nll_oracle"]),
        "floor": oracle.nll(data),
        "uniform": oracle.nll(random),
        "mle_oracle": curve[0]["nll_oracle"],
        "mle_test": curve[0]["nll_test"],
        "gained": curve[0]["nll_oracle"] - reached["nll_oracle"],
        "discriminator": float(model.losses_["discriminator"][-50:].mean()),
    }


def _on_curve(curve: list[Figures], nll_oracle: float) -> float:
    """NLL_test of the curve at an NLL_oracle, between its points; its ends go on as they are."""
    points = sorted((p["nll_oracle"], p["nll_test"]) for p in curve)
    oracle, test = (list(column) for column in zip(*points, strict=True))
    return float(np.interp(nll_oracle, oracle, test))


criterion(
    Criterion(
        name="univae-grammar",
        model="UniVAE",
        what="arithmetic expressions, share of tokens rebuilt from their codes",
        figure="tokens",
        run=_univae,
        at_least=0.95,
        also={"valid": (0.8, None), "different": (0.5, None)},
        reference="no other implementation measures it",
        broken=lambda seed: _univae(seed, _leak),
        broken_what="the target sees the source past the codes",
    )
)
criterion(
    Criterion(
        name="seqgan-oracle",
        model="SeqGAN",
        what="oracle of 500 tokens and length 10, NLL_test less that of the MLE at the temperature "
        "with the same NLL_oracle, nats per token",
        figure="gap",
        run=_seqgan,
        at_most=0.0,
        also={"gained": (0.0, None), "gap_longer": (None, 0.0)},
        reference="Caccia et al. 2020 find no GAN of text below the temperature curve",
        broken=lambda seed: _seqgan(seed, temperature=0.85),
        broken_what="samples at temperature 0.85: a lower NLL_oracle that is no merit",
        n_seeds=3,
    )
)
