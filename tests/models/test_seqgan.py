"""SeqGAN: exact probabilities, exact gradients and rewards, phases of training."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch

from evogen.models.callbacks import Checkpoint
from evogen.models.seqgan import SeqGAN
from evogen.models.serialization import load_model
from evogen.models.training import TrainingDiverged


def quick(**params) -> SeqGAN:
    given = {
        "n_embedding": 6,
        "n_hidden": 8,
        "n_filters": 4,
        "n_pretrain_steps": 3,
        "n_pretrain_discriminator_steps": 2,
        "n_discriminator_steps": 2,
        "n_rollouts": 2,
        "n_steps": 8,
        "batch_size": 16,
        "n_tokens": 3,
    }
    return SeqGAN(**{**given, **params})


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(3, (40, 4), generator=generator())


def every(n_tokens: int, length: int) -> torch.Tensor:
    return torch.tensor(list(itertools.product(range(n_tokens), repeat=length)))


def with_large_weights(model: SeqGAN) -> SeqGAN:
    """So that probabilities and rewards differ much from one sequence to another."""
    for name in ("generator", "discriminator"):
        model.weights_[name].flat.mul_(4)
    model.weights_["rollout"].flat.copy_(model.weights_["generator"].flat)
    return model


@pytest.mark.parametrize("end_token", [None, 1])
def test_probabilities_of_all_sequences_sum_to_one(tokens, end_token):
    model = with_large_weights(quick(end_token=end_token).fit(tokens[:, :3]))
    x = every(3, 3)
    if end_token is not None:
        # What stands behind the end is no part of a sequence: each is counted once.
        ends = (x == end_token).int().cumsum(1)
        x = x[~((ends > 0)[:, :-1] & (x != end_token)[:, 1:]).any(1)]
        assert len(x) < 27
    assert float(model.log_prob(x).exp().sum()) == pytest.approx(1, abs=1e-5)


def test_samples_have_the_probabilities_of_log_prob(tokens):
    model = with_large_weights(quick().fit(tokens[:, :2]))
    drawn = model.sample(20_000, generator=generator())
    share = torch.bincount(drawn[:, 0] * 3 + drawn[:, 1], minlength=9) / 20_000
    assert torch.allclose(share, model.log_prob(every(3, 2)).exp(), atol=0.012)
    cold = model.sample(200, temperature=0.0)
    assert len(cold.unique(dim=0)) == 1
    likely = model.log_prob(model.sample(2000, temperature=0.5)).mean()
    assert likely > model.log_prob(drawn).mean()


def expected_reward_gradient(model: SeqGAN, x: torch.Tensor) -> torch.Tensor:
    """Gradient of sum over x of p(x) D(x), by autograd."""
    weights = model.weights_["generator"]
    weights.grad.zero_()
    probability = model._recurrent().log_probs(x).sum(1).exp()
    (probability * model.realness(x)).sum().backward()
    return weights.grad.clone()


def true_rewards(model: SeqGAN, x: torch.Tensor) -> torch.Tensor:
    """Expected D(.) of sequences that begin as each row of x, by enumeration."""
    everything = every(3, x.shape[1])
    joint = model.log_prob(everything).exp()
    columns = []
    for length in range(1, x.shape[1] + 1):
        alike = (x[:, None, :length] == everything[None, :, :length]).all(2).float()
        columns.append((alike * joint * model.realness(everything)).sum(1) / (alike * joint).sum(1))
    return torch.stack(columns, dim=1)


@pytest.mark.parametrize("wrong", [False, True])
def test_the_expected_policy_gradient_is_that_of_the_expected_reward(tokens, wrong):
    """REINFORCE over all sequences with their probabilities, against autograd of the sum."""
    model = with_large_weights(quick(baseline=False).fit(tokens[:, :2]))
    x = every(3, 2)
    rewards = true_rewards(model, x)
    if wrong:
        rewards = rewards.flip(1)
    expected = expected_reward_gradient(model, x)
    weights = model.weights_["generator"]
    total = torch.zeros_like(weights.grad)
    for row, reward, probability in zip(x, rewards, model.log_prob(x).exp(), strict=True):
        weights.grad.zero_()
        model.reinforce(row[None], reward[None], None).backward()
        # The loss is a mean per token.
        total -= probability * weights.grad * x.shape[1]
    close = torch.allclose(total, expected, atol=1e-6 + 1e-3 * float(expected.abs().max()))
    assert close != wrong


def test_a_drawn_policy_gradient_agrees_on_average_with_or_without_baseline(tokens):
    model = with_large_weights(quick(baseline=False).fit(tokens[:, :2]))
    expected = expected_reward_gradient(model, every(3, 2))
    weights = model.weights_["generator"]
    for baseline, closest in ((False, 0.97), (True, 0.99)):
        model.baseline = baseline
        own = torch.rand(20_000, 2, generator=generator())
        finishing = torch.rand(1, 20_000, 2, generator=generator(1))
        weights.grad.zero_()
        (-2 * model.policy_loss(own, finishing, None)).backward()
        cosine = torch.cosine_similarity(weights.grad, expected, dim=0)
        ratio = weights.grad.norm() / expected.norm()
        assert cosine > closest
        assert float(ratio) == pytest.approx(1, abs=0.1)


def test_rewards_are_the_expected_verdict_on_finished_roll_outs(tokens):
    model = with_large_weights(quick(n_rollouts=4000).fit(tokens[:, :3], n_steps=3))
    x = torch.tensor([[0, 1, 2], [2, 2, 0]])
    rewards = model.rewards(x, torch.rand(2, 8000, 3, generator=generator()), None)
    assert torch.equal(rewards[:, -1], model.realness(x)), "a finished sequence needs no roll-out"
    exact = true_rewards(model, x)
    assert exact.std(0).min() > 0.01, "the verdicts must differ for this to say anything"
    assert torch.allclose(rewards, exact, atol=0.02)


def test_roll_outs_keep_what_was_begun_and_use_the_roll_out_network(tokens):
    model = with_large_weights(quick().fit(tokens))
    finishing = torch.rand(3, 80, 4, generator=generator())
    network = model.weights_["rollout"].module
    finished, _ = model._rollouts(network, tokens, finishing, None)
    for k in range(3):
        assert torch.equal(finished[k, :, : k + 1], tokens.repeat(2, 1)[:, : k + 1])
    assert not torch.equal(finished[0], tokens.repeat(2, 1))
    # One number decides one token: the last of the longest begun follows from its own alone.
    logits = network(tokens)[:, 3].repeat(2, 1)
    share = torch.softmax(logits, 1).cumsum(1)
    expected = (share <= finishing[2, :, 3:]).sum(1)
    assert torch.equal(finished[2, :, 3], expected)


def test_behind_an_end_there_is_nothing_to_reward_or_learn(tokens):
    model = with_large_weights(quick(end_token=1).fit(tokens))
    ended = torch.tensor([[0, 1, 1, 1]])
    rewards = model.rewards(ended, torch.rand(3, 2, 4, generator=generator()), None)
    assert torch.allclose(rewards[:, 1:], model.realness(ended)), "the end is final"
    weights = model.weights_["generator"]
    gradients = []
    for late in (0.0, 5.0):
        weights.grad.zero_()
        given = torch.cat((rewards[:, :2], torch.full((1, 2), late)), dim=1)
        model.reinforce(ended, given, None).backward()
        gradients.append(weights.grad.clone())
    assert torch.equal(*gradients)
    assert torch.equal(model.log_prob(ended), model.log_prob([[0, 1, 2, 0]]))
    drawn = model.sample(200)
    behind = (drawn == 1).int().cumsum(1)[:, :-1] > 0
    assert bool((drawn[:, 1:][behind] == 1).all())


def test_the_phases_follow_one_another_over_several_fits(tokens):
    model = quick().fit(tokens, n_steps=4)
    on = {name: (loss != 0).tolist() for name, loss in model.losses_.items()}
    assert on["likelihood"] == [True] * 3 + [False]
    assert on["policy"] == [False] * 4
    assert on["discriminator"] == [False] * 6 + [True] * 2
    before = model.weights_["generator"].flat.clone()
    model.fit(tokens, n_steps=1)
    assert torch.equal(before, model.weights_["generator"].flat), "the discriminator learns alone"
    model.fit(tokens, n_steps=2)
    on = {name: (loss != 0).tolist() for name, loss in model.losses_.items()}
    assert on["policy"] == [True] * 2
    assert on["likelihood"] == [False] * 2
    assert not torch.equal(before, model.weights_["generator"].flat)
    split = quick().fit(tokens, n_steps=2, generator=generator())
    assert split.n_steps_ == 2


def test_the_policy_starts_with_a_fresh_optimizer_at_its_own_rate(tokens):
    model = quick(lr_policy=0.0).fit(tokens, n_steps=5)
    before = model.weights_["generator"].flat.clone()
    model.fit(tokens, n_steps=3)
    assert model.optimizers_["generator"].n_steps == 3
    assert torch.equal(before, model.weights_["generator"].flat)
    assert model.optimizers_["generator"].lr == model.lr


def test_the_roll_out_network_follows_exactly_then_slowly(tokens):
    model = quick(rollout_decay=0.75, lr_policy=0.1).fit(tokens, n_steps=5)
    before = model.weights_["generator"].flat.clone()
    assert torch.equal(model.weights_["rollout"].flat, before)
    model.fit(tokens, n_steps=1)
    after = model.weights_["generator"].flat
    assert not torch.equal(after, before)
    assert torch.allclose(model.weights_["rollout"].flat, 0.75 * before + 0.25 * after, atol=1e-6)


def test_likelihood_training_learns_a_rule_and_the_policy_keeps_it():
    """The second token follows from the first; every sequence else is equally likely."""
    x = torch.randint(6, (400, 3), generator=generator())
    x[:, 1] = (x[:, 0] + 1) % 6
    model = SeqGAN(
        n_filters=8, n_pretrain_steps=150, n_pretrain_discriminator_steps=5, n_rollouts=2
    )
    model.fit(x, n_steps=160)
    drawn = model.sample(500)
    assert float((drawn[:, 1] == (drawn[:, 0] + 1) % 6).float().mean()) > 0.9
    # The entropy is 2 log(6).
    assert float(-model.log_prob(x).mean()) < 2 * torch.tensor(6.0).log() + 0.3


def test_the_policy_gradient_alone_raises_what_a_fixed_discriminator_likes():
    x = torch.zeros(64, 3, dtype=torch.int64)
    model = quick(n_pretrain_steps=0, lr_policy=4e-2, n_tokens=4)
    model.fit(x, n_steps=2)
    model.lr_discriminator = 1e-2
    before = float((model.sample(500) == 0).float().mean())
    model.fit(x, n_steps=40)
    after = float((model.sample(500) == 0).float().mean())
    assert before < 0.5 < 0.7 < after, "from samples and verdicts alone, without likelihood"


def test_conditions_decide_what_is_drawn():
    labels = torch.arange(200) % 2
    x = torch.stack((labels, 1 - labels), dim=1) + 2
    model = quick(n_tokens=4, n_pretrain_steps=60, n_steps=64, lr=3e-2).fit(x, labels)
    assert float((model.sample(100, 1)[:, 0] == 3).float().mean()) > 0.9
    assert float((model.sample(100, 0, temperature=0.5)[:, 0] == 2).float().mean()) > 0.9
    assert model.log_prob(x, labels).mean() > model.log_prob(x, 1 - labels).mean() + 2
    assert model.realness(x[:3], labels[:3]).shape == (3,)


@pytest.mark.parametrize("steps", [2, 4, 8])
def test_saved_models_and_copies_learn_on_bit_for_bit(tokens, tmp_path, steps):
    model = quick(ema_decay=0.9).fit(tokens, n_steps=steps)
    model.save(tmp_path / "model")
    others = [load_model(tmp_path / "model"), copy.deepcopy(model)]
    expected = model.fit(tokens, n_steps=4).sample(6)
    for other in others:
        assert torch.equal(other.fit(tokens, n_steps=4).sample(6), expected)


class Interruption(Exception):
    pass


@pytest.mark.parametrize("first_adversarial", [64, 70])
def test_an_interrupted_fit_resumes_in_its_phase_to_the_same_bits(
    tokens, tmp_path, first_adversarial
):
    """It stops in the second block of 64 steps; a phase begins with that block or inside it."""

    def interrupt(step, losses):
        if step == 75:
            raise Interruption

    def made() -> SeqGAN:
        return quick(n_steps=80, n_pretrain_steps=first_adversarial - 2)

    whole, file = made().fit(tokens), tmp_path / "model"
    with pytest.raises(Interruption):
        made().fit(tokens, callback=[Checkpoint(file, every=1), interrupt])
    resumed = load_model(file).resume(tokens)
    a, b = whole.state_tensors(), resumed.state_tensors()
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_one_seed_one_result_and_global_numbers_are_untouched(tokens):
    torch.manual_seed(0)
    state = torch.get_rng_state()
    a = quick(random_state=3).fit(tokens).sample(8)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(a, quick(random_state=3).fit(tokens).sample(8))
    assert not torch.equal(a, quick(random_state=4).fit(tokens).sample(8))


@pytest.mark.parametrize("shape", [(1, 4), (7, 1), (2, 9)])
def test_small_and_constant_data_work(shape):
    x = torch.ones(shape, dtype=torch.int64)
    model = quick(batch_size=100, n_steps=8).fit(x).fit(x)
    assert model.sample(5).shape == (5, shape[1])
    assert model.sample(0).shape == (0, shape[1])
    assert model.sample(0, temperature=2.0).shape == (0, shape[1])
    assert torch.isfinite(model.log_prob(x)).all()


def test_a_divergence_brings_all_networks_back(tokens):
    model = quick().fit(tokens)
    model.lr = model.lr_policy = model.lr_discriminator = 1e30
    before = {k: v.clone() for k, v in model.state_tensors().items() if "networks" in k}
    with pytest.warns(TrainingDiverged):
        model.fit(tokens, n_steps=8)
    after = model.state_tensors()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert model.sample(5).shape == (5, 4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_rollouts": 0},
        {"dropout": 1.0},
        {"rollout_decay": 1.5},
        {"n_pretrain_steps": -1},
        {"lr": 0.0},
        {"lr_policy": -1.0},
        {"filter_widths": (0,)},
        {"end_token": -1},
        {"n_tokens": 0},
    ],
)
def test_wrong_parameters_are_refused(wrong):
    with pytest.raises(ValueError, match="must be at least"):
        quick(**wrong)


def test_wrong_data_are_refused(tokens):
    model = quick().fit(tokens)
    with pytest.raises(ValueError, match="less than 3"):
        model.log_prob([[0, 1, 2, 3]])
    with pytest.raises(TypeError, match="integers"):
        model.fit(tokens.float())
    with pytest.raises(ValueError, match="temperature must be at least 0"):
        model.sample(3, temperature=-1.0)
    with pytest.raises(RuntimeError, match="not fitted"):
        quick().sample(3, temperature=0.5)
