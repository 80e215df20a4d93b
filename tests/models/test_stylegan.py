"""StyleGAN: what a style decides, what noise decides, and where they enter."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch

from evogen.models import load_model
from evogen.models.style_networks import (
    EqualizedLinear,
    Mapping,
    StyleDiscriminator,
    StyleGenerator,
    adain,
    doublings,
    widths,
)
from evogen.models.stylegan import StyleGAN, path_length, slerp

SMALL = {"n_steps": 4, "channels": 4, "style_dim": 6, "latent_dim": 5, "n_mapping": 2}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """8 x 8 images and labels, at random."""
    rng = np.random.default_rng(seed)
    return rng.random((n, 1, 8, 8)), rng.integers(2, size=n)


@pytest.fixture(scope="module")
def model() -> StyleGAN:
    """Trained for some steps, with noise weights away from 0."""
    made = StyleGAN(**{**SMALL, "n_steps": 12, "ema_decay": 0.5}).fit(images(40)[0])
    with torch.no_grad():
        for layer in made.generator_network.layers:
            layer.noise_weight += 0.3
    return made


def activations(model: StyleGAN, w: torch.Tensor) -> list[torch.Tensor]:
    """The output of every layer, without noise."""
    seen: list[torch.Tensor] = []
    hooks = [
        layer.register_forward_hook(lambda layer, given, out: seen.append(out))
        for layer in model.generator_network.layers
    ]
    model.synthesize(w, noise=False)
    for hook in hooks:
        hook.remove()
    return seen


# The parts of the network.


def test_adain_gives_every_channel_the_mean_and_deviation_of_the_style():
    x = 5 + 3 * torch.randn(4, 6, 8, 8, generator=generator())
    scale, shift = (torch.randn(4, 6, generator=generator(i)) for i in (1, 2))
    var, mean = torch.var_mean(adain(x, scale, shift), dim=(2, 3), correction=0)
    torch.testing.assert_close(mean, shift, atol=1e-5, rtol=0)
    torch.testing.assert_close(var.sqrt(), scale.abs(), atol=1e-5, rtol=0)


def test_every_layer_ends_with_the_mean_and_deviation_of_its_style(model):
    w = model.mapping(torch.randn(3, 5, generator=generator()))
    for layer, out in zip(model.generator_network.layers, activations(model, w), strict=True):
        var, mean = torch.var_mean(out, dim=(2, 3), correction=0)
        torch.testing.assert_close(mean, layer.shift(w), atol=1e-5, rtol=0)
        torch.testing.assert_close(var.sqrt(), layer.scale(w).abs(), atol=1e-4, rtol=0)


def test_equalized_weights_have_unit_scale_and_keep_the_scale_of_their_input():
    layer = EqualizedLinear(400, 300, gain=1.0, lr_multiplier=0.01)
    with torch.no_grad():
        layer.draw_weights(generator())
        out = layer(torch.randn(200, 400, generator=generator(1)))
    assert float(layer.weight.detach().std()) == pytest.approx(100, rel=0.02)
    assert float(out.std()) == pytest.approx(1, rel=0.02)


def test_a_learning_rate_multiplier_scales_the_change_of_the_function_by_one_step():
    changes = []
    for multiplier in (1.0, 0.01):
        layer = EqualizedLinear(10, 1, gain=1.0, lr_multiplier=multiplier)
        with torch.no_grad():
            layer.draw_weights(generator())
            layer.double()
            x = torch.ones(1, 10).double()
            before = layer(x)
            layer.weight += 1e-3  # what a step of Adam does to a weight, whatever its scale
            changes.append(float(layer(x) - before))
    assert changes[1] == pytest.approx(0.01 * changes[0], rel=1e-3)


def test_the_length_of_z_is_no_information():
    network = Mapping(5, 6, 2, 0, 0.01)
    with torch.no_grad():
        for layer in network.layers:
            layer.draw_weights(generator())
        z = torch.randn(4, 5, generator=generator(1))
        torch.testing.assert_close(network(z, None), network(7 * z, None))


@pytest.mark.parametrize(
    ("height", "width", "start", "sizes"),
    [
        (8, 8, 4, [(4, 4), (8, 8)]),
        (28, 28, 4, [(4, 4), (8, 8), (16, 16), (32, 32)]),
        (28, 28, 7, [(7, 7), (14, 14), (28, 28)]),
        (5, 9, 4, [(2, 3), (4, 6), (8, 12)]),
        (3, 4, 4, [(3, 4)]),
        (1, 1, 1, [(1, 1)]),
    ],
)
def test_sizes_double_until_the_image_fits(height, width, start, sizes):
    assert doublings(height, width, start) == sizes


def test_coarser_maps_have_more_channels():
    assert widths(4, 3) == [16, 8, 4]
    assert widths(1, 6) == [8, 8, 8, 4, 2, 1]


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (2, 3, 4), (1, 1, 1), (1, 5, 9)])
def test_images_of_any_size_are_made_and_judged(shape):
    made = StyleGenerator(Mapping(5, 6, 1, 0, 0.1), 5, 6, shape, 4, 2)
    judge = StyleDiscriminator(shape, 4, 2, 0)
    row = torch.randn(2, 5 + made.n_noise, generator=generator())
    with torch.no_grad():
        for p in (*made.parameters(), *judge.parameters()):
            p.copy_(torch.randn(p.shape, generator=generator()))
        out = made(row)
        assert out.shape == (2, shape[0] * shape[1] * shape[2])
        assert judge(out).shape == (2, 1)
        assert torch.isfinite(out).all()
        if shape[1] > 1:
            assert not torch.equal(judge(out)[0], judge(out)[1])


# What decides what.


def test_without_noise_an_image_is_a_function_of_its_style(model):
    w = model.mapping(torch.randn(4, 5, generator=generator()))
    first = model.synthesize(w, noise=False)
    model.synthesize(w)  # moves the model's own random stream
    assert torch.equal(first, model.synthesize(w, noise=False))
    assert not torch.equal(first[0], first[1])


def test_noise_varies_images_of_one_style_and_a_given_noise_does_not(model):
    w = model.mapping(torch.randn(1, 5, generator=generator())).expand(6, -1)
    varied = model.synthesize(w)
    assert float(varied.std(dim=0).mean()) > 1e-3
    noise = torch.randn(1, model.n_noise, generator=generator()).expand(6, -1)
    alike = model.synthesize(w, noise=noise)
    torch.testing.assert_close(alike[:1].expand(6, -1, -1, -1), alike)


def test_with_noise_weights_of_zero_noise_changes_nothing(model):
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for layer in twin.generator_network.layers:
            layer.noise_weight.zero_()
    w = twin.mapping(torch.randn(3, 5, generator=generator()))
    assert torch.equal(twin.synthesize(w), twin.synthesize(w, noise=False))


def test_every_layers_noise_reaches_the_image(model):
    w = model.mapping(torch.randn(1, 5, generator=generator()))
    plain = model.synthesize(w, noise=False)
    start = 0
    for height, width in model.generator_network.noise_sizes:
        noise = torch.zeros(1, model.n_noise)
        noise[:, start] = 1.0
        assert not torch.equal(model.synthesize(w, noise=noise), plain)
        start += height * width
    assert start == model.n_noise


def test_the_constant_is_what_images_are_made_of(model):
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.generator_network.constant.value.copy_(
            torch.randn(twin.generator_network.constant.value.shape, generator=generator())
        )
    w = model.mapping(torch.randn(3, 5, generator=generator()))
    assert not torch.equal(model.synthesize(w, noise=False), twin.synthesize(w, noise=False))


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_mixing_at_a_layer_leaves_what_comes_before_bit_identical(model, layer):
    a, b = (model.mapping(torch.randn(4, 5, generator=generator(i))) for i in (0, 1))
    styles = model.every_layer(a).clone()
    styles[:, layer:] = b[:, None]
    pure, mixed = activations(model, a), activations(model, styles)
    assert len(pure) == model.n_layers == 4
    for i in range(4):
        assert torch.equal(pure[i], mixed[i]) == (i < layer)


def test_training_rows_mix_styles_as_often_as_asked_and_samples_do_not():
    model = StyleGAN(**{**SMALL, "mixing": 0.75}).fit(images(20)[0], n_steps=0)
    rows = model.draw_latent(4000, generator())
    cut = rows[:, 10]
    assert rows.shape[1] == model.n_latent == 5 + 5 + 1 + model.n_noise
    assert float((cut < 4).float().mean()) == pytest.approx(0.75, abs=0.03)
    assert set(cut.tolist()) == {1.0, 2.0, 3.0, 4.0}
    network = model.generator_network
    with torch.no_grad():
        styles = network.styles(rows, None)
        first, second = (network.mapping(rows[:, 5 * i : 5 * i + 5], None) for i in (0, 1))
    for layer in range(4):
        own = cut > layer
        torch.testing.assert_close(styles[own, layer], first[own])
        torch.testing.assert_close(styles[~own, layer], second[~own])
    unmixed = StyleGAN(**{**SMALL, "mixing": 0.0}).fit(images(20)[0], n_steps=1)
    assert unmixed.n_latent == 5 + unmixed.n_noise


def test_the_mean_style_is_the_mean_of_the_styles_seen():
    model = StyleGAN(**SMALL).fit(np.zeros((4, 1, 2, 2)), n_steps=0)
    assert torch.equal(model.mean_style, torch.zeros(6))
    network = model.weights_["generator"].module.train()
    with torch.no_grad():
        for i in range(200):
            network(model.draw_latent(64, generator(i)))
    w = network.mapping(torch.randn(20_000, 5, generator=generator(1)), None).detach()
    assert float((model.mean_style - w.mean(dim=0)).norm()) < 0.05 * float(w.std(dim=0).norm())
    assert float(w.mean(dim=0).norm()) > 0.2 * float(w.std(dim=0).norm()), "0 would do as well"


def test_truncation_pulls_styles_to_their_mean(model):
    twin = copy.deepcopy(model)
    w = twin.mapping(torch.randn(4, 5, generator=generator()))
    assert torch.equal(twin.truncate(w), w)
    twin.truncation = 0.25
    torch.testing.assert_close(twin.truncate(w) - twin.mean_style, 0.25 * (w - twin.mean_style))
    twin.truncation = 0.0
    centre = twin.synthesize(twin.mean_style[None], noise=torch.zeros(1, twin.n_noise))
    with torch.no_grad():
        for layer in twin.generator_network.layers:
            layer.noise_weight.zero_()
    typical = twin.sample(5)
    torch.testing.assert_close(typical[:1].expand(5, -1, -1, -1), typical)
    torch.testing.assert_close(typical[:1], centre)


def test_the_running_mean_moves_in_training_only(model):
    before = model.mean_style.clone()
    model.sample(50)
    assert torch.equal(before, model.mean_style)
    twin = copy.deepcopy(model).fit(images(40)[0], n_steps=2)
    assert not torch.equal(before, twin.mean_style)


# Path lengths.


def test_slerp_walks_along_the_sphere_at_constant_speed():
    a, b = (torch.randn(6, 5, generator=generator(i), dtype=torch.float64) for i in (0, 1))
    at = [slerp(a, b, torch.full((6, 1), t, dtype=torch.float64)) for t in (0.0, 0.25, 0.5, 1.0)]
    torch.testing.assert_close(at[0], a / a.norm(dim=1, keepdim=True))
    torch.testing.assert_close(at[3], b / b.norm(dim=1, keepdim=True))
    for point in at:
        torch.testing.assert_close(point.norm(dim=1), torch.ones(6, dtype=torch.float64))
    angle = [torch.acos((at[i] * at[j]).sum(dim=1)) for i, j in ((0, 1), (1, 2))]
    torch.testing.assert_close(angle[0], angle[1])


def test_the_path_length_of_a_linear_generator_is_the_mean_squared_distance_of_styles(model):
    """If images are c w, the path between two styles has speed c |w1 - w2| everywhere."""
    twin = copy.deepcopy(model)
    network = twin.generator_network

    def linear(w, noise):
        return 0.01 * torch.nn.functional.pad(w[:, 0], (0, 64 - 6))

    network.synthesize = linear
    z = torch.randn(2, 4000, 5, generator=generator(5))
    a, b = twin.mapping(z[0]), twin.mapping(z[1])
    # An image's unit is half of the network's.
    expected = float((0.005 * (a - b)).square().sum(dim=1).mean())
    measured = path_length(twin, "w", n=4000, epsilon=1e-2, generator=generator(6))
    assert measured == pytest.approx(expected, rel=0.1)
    doubled = path_length(
        twin, "w", n=4000, epsilon=1e-2, generator=generator(6), features=lambda x: 2 * x
    )
    assert doubled == pytest.approx(4 * measured, rel=1e-3)


def test_path_lengths_are_finite_and_refuse_what_is_no_space(model):
    lengths = [path_length(model, s, n=50, ends=e) for s in ("z", "w") for e in (False, True)]
    assert all(0 < value < 1e6 for value in lengths)
    with pytest.raises(ValueError, match="space must be one of"):
        path_length(model, "x")
    with pytest.raises(RuntimeError, match="not fitted"):
        path_length(StyleGAN())


# The model.


def test_a_short_fit_learns_what_classes_look_like():
    rng = np.random.default_rng(0)
    patterns = rng.choice([0.2, 0.8], size=(2, 1, 4, 4))
    label = np.arange(200) % 2
    x = np.clip(patterns[label] + 0.05 * rng.normal(size=(200, 1, 4, 4)), 0, 1)
    settings = {"channels": 8, "random_state": 1, "ema_decay": 0.9}
    start = StyleGAN(**settings, lr_generator=5e-3, lr_discriminator=5e-3)
    start.fit(x, label, n_steps=0)
    model = copy.deepcopy(start).fit(x, label, n_steps=150)

    def error(made: StyleGAN) -> float:
        """Distance of the mean image of a class from that class's pattern, per pixel."""
        means = [made.sample(200, kind).mean(dim=0).numpy() for kind in (0, 1)]
        return float(np.abs(np.stack(means) - patterns).mean())

    assert error(start) > 0.2
    # One image for both classes would have 0.15 at best.
    assert error(model) < 0.08


def test_a_model_without_arguments_trains_quietly():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = StyleGAN().fit(images(30)[0], n_steps=2)
    made = model.sample(3)
    assert made.shape == (3, 1, 8, 8)
    assert 0 <= float(made.min()) <= float(made.max()) <= 1


def test_saved_loaded_and_copied_models_go_on_bit_for_bit(tmp_path):
    x, label = images(20)
    model = StyleGAN(**SMALL, truncation=0.7, packing=2).fit(x, label)
    model.save(tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    twin = copy.deepcopy(model)
    first = model.fit(x, label).sample(3, [0, 1, 0])
    assert torch.equal(first, loaded.fit(x, label).sample(3, [0, 1, 0]))
    assert torch.equal(first, twin.fit(x, label).sample(3, [0, 1, 0]))
    assert torch.equal(model.mean_style, loaded.mean_style)


def test_torchs_global_generator_is_neither_used_nor_changed():
    before = torch.get_rng_state()
    a = StyleGAN(**SMALL).fit(images(20)[0]).sample(2)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(9)
    assert torch.equal(a, StyleGAN(**SMALL).fit(images(20)[0]).sample(2))


def test_odd_data_work():
    x = images(7)[0]
    assert StyleGAN(**SMALL).fit(x[:1]).sample(2).shape == (2, 1, 8, 8)
    assert torch.isfinite(StyleGAN(**{**SMALL, "batch_size": 99}).fit(x).sample(2)).all()
    black = StyleGAN(**SMALL).fit(np.zeros((5, 1, 4, 4))).sample(3)
    assert torch.isfinite(black).all()
    assert StyleGAN(**SMALL).fit(x).sample(0).shape == (0, 1, 8, 8)


@pytest.mark.parametrize("output", ["sigmoid", "tanh"])
def test_a_bounded_output_is_scaled_to_the_unit_range(output):
    made = StyleGAN(**SMALL, output=output).fit(images(20)[0]).sample(200)
    assert 0 <= float(made.min()) < 0.4
    assert 0.6 < float(made.max()) <= 1


def test_wrong_arguments_are_refused_in_one_sentence(model):
    with pytest.raises(ValueError, match=r"x must have shape \(n, c, h, w\)"):
        StyleGAN().fit(np.zeros((5, 4)))
    with pytest.raises(ValueError, match="z must have 5 columns"):
        model.mapping(torch.zeros(2, 4))
    with pytest.raises(ValueError, match="w must have 6 columns"):
        model.synthesize(torch.zeros(2, 5))
    with pytest.raises(ValueError, match="w must have 4 layers; got 3"):
        model.synthesize(torch.zeros(2, 3, 6))
    with pytest.raises(ValueError, match="noise must have 2 rows; got 1"):
        model.synthesize(torch.zeros(2, 6), noise=torch.zeros(1, model.n_noise))
    for arguments, message in (
        ({"mixing": 1.5}, "mixing must be at least 0 and at most 1"),
        ({"style_dim": 0}, "style_dim must be at least 1"),
        ({"start_size": 0}, "start_size must be at least 1"),
        ({"truncation": -1}, "truncation must be at least 0"),
        ({"latent_dim": None, "prior": "data"}, "prior='normal' only"),
    ):
        with pytest.raises(ValueError, match=message):
            StyleGAN(**arguments)
