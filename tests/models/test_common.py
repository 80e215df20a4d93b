"""Promises that every generative model keeps."""

from __future__ import annotations

import copy
import inspect
import pickle
import random
import warnings

import numpy as np
import pytest
import torch

from evogen.models import GenerativeModel, TrainingDiverged, load_model
from evogen.models.serialization import REGISTRY


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_fit_returns_self_and_samples_are_float32_rows(make, data):
    model = make()
    assert model.fit(data) is model
    rows = model.sample(7)
    assert rows.shape == (7, 5)
    assert rows.dtype == torch.float32
    assert torch.isfinite(rows).all()


def test_arrays_tensors_and_lists_give_the_same_model(make, data):
    a, b, c = (make().fit(x).sample(3) for x in (data, torch.as_tensor(data), data.tolist()))
    assert torch.equal(a, b)
    assert torch.equal(a, c)


def test_conditional_samples_need_one_condition_per_row_or_one_for_all(make, data, condition):
    model = make().fit(data, condition)
    assert model.sample(4, condition[:4]).shape == (4, 5)
    alike = model.sample(4, condition[:1], generator=generator())
    repeated = model.sample(4, np.repeat(condition[:1], 4, axis=0), generator=generator())
    assert torch.equal(alike, repeated)
    with pytest.raises(ValueError, match="condition must have 4 rows, or one for all; got 3"):
        model.sample(4, condition[:3])
    with pytest.raises(ValueError, match="condition must have 2 columns"):
        model.sample(4, condition[:4, :1])


def test_condition_must_be_as_in_the_fit(make, data, condition):
    with pytest.raises(ValueError, match="fitted without one"):
        make().fit(data).sample(2, condition[:2])
    model = make().fit(data, condition)
    if model.condition_optional:
        assert torch.isfinite(model.sample(3)).all()
    else:
        with pytest.raises(ValueError, match="condition must be given"):
            model.sample(3)
    with pytest.raises(ValueError, match="earlier fits had a condition"):
        model.fit(data)
    with pytest.raises(ValueError, match="earlier fits had no condition"):
        make().fit(data).fit(data, condition)


def test_the_seed_decides_everything(make, data):
    a, b, c = (make(random_state=seed).fit(data) for seed in (3, 3, 4))
    first = a.sample(5)
    assert torch.equal(first, b.sample(5))
    assert not torch.equal(first, c.sample(5))
    assert not torch.equal(first, a.sample(5)), "the model's own stream goes on"


def test_a_given_generator_decides_everything(make, data):
    a = make(random_state=3).fit(data, generator=generator())
    b = make(random_state=4).fit(data, generator=generator())
    assert torch.equal(a.sample(5, generator=generator(2)), b.sample(5, generator=generator(2)))


def test_global_random_state_is_neither_used_nor_changed(make, data, condition):
    def draw():
        model = make().fit(data, condition)
        return copy.deepcopy(model).fit(data, condition).sample(3, condition[:3])

    torch.manual_seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    first = draw()
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()  # noqa: NPY002
    assert before[2] == random.getstate()
    torch.manual_seed(99)
    assert torch.equal(first, draw())


def test_saved_and_loaded_model_samples_and_learns_on_bit_for_bit(make, data, condition, tmp_path):
    model = make().fit(data, condition)
    model.save(tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert type(loaded) is type(model)
    assert loaded.get_params() == model.get_params()
    assert torch.equal(model.sample(4, condition[:4]), loaded.sample(4, condition[:4]))
    model.fit(data, condition)
    loaded.fit(data, condition)
    assert torch.equal(model.sample(4, condition[:4]), loaded.sample(4, condition[:4]))


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_continue_identically_and_independently(make, data, copier):
    model = make().fit(data)
    twin = copier(model)
    expected = copier(model).sample(4)
    twin.fit(data[::-1].copy())
    assert torch.equal(expected, model.sample(4)), "training a copy changed the original"
    a, b = make().fit(data), make().fit(data)
    twin = copier(a)
    twin.fit(data)
    b.fit(data)
    assert torch.equal(twin.sample(4), b.sample(4))


def test_an_unfitted_model_can_be_copied(make, data):
    twin = copy.deepcopy(make(random_state=5))
    assert torch.equal(twin.fit(data).sample(3), make(random_state=5).fit(data).sample(3))


def test_fit_again_starts_from_where_it_was(make, data):
    model = make().fit(data)
    before = model.n_steps_
    state = model.state_tensors()
    learned = ("networks.", "buffers.means", "buffers.components", "buffers.rows", "buffers.x")
    names = [k for k in state if k.startswith(learned)]
    values = {k: state[k].clone() for k in names}
    model.fit(data, n_steps=0)
    assert model.n_steps_ == before
    after = model.state_tensors()
    assert names
    assert all(torch.equal(values[k], after[k]) for k in names)


def test_reset_starts_anew(make, data):
    model = make().fit(data)
    expected = model.sample(3)
    model.fit(data)
    model.reset()
    assert torch.equal(model.fit(data).sample(3), expected)
    model.reset()
    assert make().fit(data[:, :2]).sample(1).shape == (1, 2)


def test_another_number_of_columns_needs_a_reset(make, data, condition):
    model = make().fit(data, condition)
    with pytest.raises(ValueError, match=r"x must have 5 columns.*reset\(\) starts anew.*got 3"):
        model.fit(data[:, :3], condition)
    with pytest.raises(ValueError, match="condition must have 2 columns"):
        model.fit(data, condition[:, :1])
    model.reset()
    assert model.fit(data[:, :3]).sample(2).shape == (2, 3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
def test_numbers_that_are_not_finite_are_refused_before_work(make, data, condition, bad):
    model = make().fit(data, condition)
    x, c = data.copy(), condition.copy()
    x[3, 2] = bad
    c[3, 1] = bad
    before = {k: v.clone() for k, v in model.state_tensors().items()}
    with pytest.raises(ValueError, match="x must be finite"):
        model.fit(x, condition)
    with pytest.raises(ValueError, match="condition must be finite"):
        model.fit(data, c)
    with pytest.raises(ValueError, match="condition must be finite"):
        model.sample(40, c)
    assert all(torch.equal(before[k], v) for k, v in model.state_tensors().items())


def test_wrong_data_are_refused_in_one_sentence(make, data, condition):
    model = make()
    for x, kind, message in (
        (data[0], ValueError, r"x must have shape \(n, d\).*got shape \(5,\)"),
        (data[:0], ValueError, "x must have at least one row; got 0"),
        (data[:, :0], ValueError, "x must have at least one column"),
        ([["a", "b"]], TypeError, "x must be a table of real numbers"),
        (data + 1j, TypeError, "x must hold real numbers"),
    ):
        with pytest.raises(kind, match=message):
            model.fit(x)
    with pytest.raises(ValueError, match=r"condition must have as many rows as x \(40\); got 3"):
        model.fit(data, condition[:3])
    with pytest.raises(ValueError, match="n_steps must be at least 0; got -1"):
        model.fit(data, n_steps=-1)
    assert model.n_features_ is None


def test_sample_needs_a_fit_and_a_count(make, data):
    with pytest.raises(RuntimeError, match="not fitted yet"):
        make().sample(3)
    model = make().fit(data)
    with pytest.raises(ValueError, match="n must be at least 0; got -1"):
        model.sample(-1)
    with pytest.raises(TypeError, match=r"n must be an integer; got 2\.5"):
        model.sample(2.5)
    assert model.sample(0).shape == (0, 5)


@pytest.mark.parametrize("device", ["tpu", "cuda:x", "cpu:1", "cuda:99"])
def test_unknown_device_is_refused_before_work(make, data, device):
    model = make(device=device)
    with pytest.raises(ValueError, match="device"):
        model.fit(data)
    assert model.n_features_ is None


def test_one_row_comes_back_as_it_is(make, data, condition):
    model = make().fit(data[:1])
    assert torch.allclose(model.sample(6), torch.tensor(data[:1]).float().expand(6, -1))
    conditional = make().fit(data[:1], condition[:1]).sample(2, condition[:2])
    assert torch.isfinite(conditional).all()


def test_one_row_works_without_scaling(make, data):
    model = make(normalize=False).fit(data[:1, [0, 4]])
    assert torch.isfinite(model.fit(data[1:2, [0, 4]]).sample(6)).all()


def test_a_constant_column_comes_back_as_that_constant(make, data):
    x = data.copy()
    x[:, 1] = 0.1
    rows = make().fit(x).sample(10)
    assert torch.equal(rows[:, 1], torch.full((10,), 0.1))
    assert rows[:, 0].std() > 0


def test_rows_that_are_all_alike_work(make):
    assert torch.allclose(make().fit(np.full((20, 3), 7.0)).sample(4), torch.full((4, 3), 7.0))


def test_a_batch_larger_than_the_data_works(make, data):
    if "batch_size" not in make().get_params():
        pytest.skip("this model has no batches")
    assert torch.isfinite(make(batch_size=1000).fit(data[:7]).sample(3)).all()


def test_more_columns_than_rows_works(make):
    x = np.random.default_rng(0).normal(size=(6, 20))
    assert torch.isfinite(make().fit(x).fit(x).sample(5)).all()


def test_the_number_of_rows_may_change_between_fits(make, data):
    model = make().fit(data[:10]).fit(data[:3]).fit(data)
    assert torch.isfinite(model.sample(5)).all()


def test_samples_have_the_scale_of_the_data(make, data):
    rows = make().fit(data).sample(200).double()
    spread = torch.as_tensor(data.std(axis=0))
    assert ((rows.mean(0) - torch.as_tensor(data.mean(0))).abs() < 3 * spread).all()
    assert (rows.std(0) < 5 * spread).all()
    assert (rows.std(0) > 0.01 * spread).all()


def test_the_callback_sees_every_step_and_can_stop(make, data):
    seen = []
    # A model in closed form, which has no n_steps, has one step.
    n_steps = 5 if "n_steps" in make().get_params() else 1
    make().fit(data, n_steps=5, callback=lambda step, losses: seen.append((step, losses)))
    assert [step for step, _ in seen] == list(range(n_steps))
    assert all(torch.isfinite(v).all() for _, losses in seen for v in losses.values())
    assert not any(v.requires_grad for _, losses in seen for v in losses.values())
    model = make()
    model.fit(data, n_steps=5, callback=lambda step, losses: step == 1)
    assert all(len(v) <= 2 * getattr(model, "n_critic", 1) for v in model.losses_.values())


def test_a_diverging_fit_keeps_the_last_good_weights_and_warns(make, data):
    params = make().get_params()
    rates = {k: 1e30 for k in params if k.startswith("lr")}
    if not rates:
        pytest.skip("this model has no learning rate")
    model = make().fit(data)
    for name, value in rates.items():
        setattr(model, name, value)
    before = {
        k: v.clone()
        for k, v in model.state_tensors().items()
        if k.startswith(("networks", "averages"))
    }
    with pytest.warns(TrainingDiverged, match="diverged"):
        model.fit(data, n_steps=30)
    after = model.state_tensors()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert torch.isfinite(model.sample(20)).all()


def test_parameters_are_stored_unchanged_and_shown(make):
    model = make(random_state=11)
    params = model.get_params()
    assert params["random_state"] == 11
    assert type(model)(**params).get_params() == params
    assert "random_state=11" in repr(model)
    assert repr(type(model)()) == f"{type(model).__name__}()"


def test_unknown_arguments_are_refused(make):
    with pytest.raises(TypeError, match="no_such_argument"):
        make(no_such_argument=1)
    with pytest.raises(TypeError, match="random_state must be an integer"):
        make(random_state="x")
    with pytest.raises(ValueError, match="random_state must be at least 0"):
        make(random_state=-1)


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_model_works_without_arguments_and_documents_them(name):
    cls = REGISTRY[name]
    rng = np.random.default_rng(0)
    data = rng.random((30, 4))
    if "tokens" in cls.items:
        data = rng.integers(0, 5, (30, 4))
    elif "vectors" not in cls.items:
        data = rng.random((30, 1, 8, 8))
    labels, texts = np.arange(30) % 3, ["a b", "b c", "c"] * 10
    needed = {
        "VIB": {"y": labels},
        "ImageFeatures": {"y": labels},
        "PreferenceDiffusion": {"condition": data[:, :2]},
        "LatentDiffusion": {"condition": texts},
    }
    asked = {"PreferenceDiffusion": {"condition": data[:1, :2]}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = cls().fit(data, n_steps=3, **needed.get(name, {}))
    if name not in ("VIB", "ImageFeatures"):  # classifiers
        assert model.sample(2, **asked.get(name, {})).shape == (2, *data.shape[1:])
    documented = "".join(inspect.getdoc(c) or "" for c in cls.__mro__ if c is not object)
    for parameter in model.get_params():
        assert f"{parameter}:" in documented, f"{name}.{parameter} has no description"


def test_a_subclass_needs_only_build_learn_and_generate(data):
    class Bootstrap(GenerativeModel):
        def build(self, generator):
            pass

        def learn(self, rows, *, n_steps, generator, callback):
            self.rows = rows.x

        def generate(self, n, condition, generator):
            return self.rows[torch.randint(len(self.rows), (n,), generator=generator)]

    rows = Bootstrap().fit(data).sample(4)
    distance = torch.cdist(rows.double(), torch.as_tensor(data)).min(dim=1).values
    assert (distance < 1e-2).all()
