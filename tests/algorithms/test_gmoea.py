"""GMOEA: the published parts, the errors of the released code, and the default that differs."""

import numpy as np
import pytest
import torch
from pymoo.optimize import minimize
from pymoo.problems import get_problem

from evogen import problems
from evogen.algorithms import GMOEA, StepGAN, gmoea_published
from evogen.algorithms.gmoea_published import (
    ContractingSBX,
    PublishedGAN,
    best_of_three,
    coded_selection,
    published_schedule,
)
from evogen.models import load_model
from evogen.operators import Copy, domination, pairwise_distances, spea2_fitness


def rows(n, d=4, seed=0):
    return np.random.default_rng(seed).random((n, d)).astype(np.float32)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def few_epochs(monkeypatch):
    monkeypatch.setattr(gmoea_published, "EPOCHS", 4)


@pytest.mark.usefixtures("few_epochs")
@pytest.mark.parametrize("variant", ["step", "published", "as-coded"])
def test_every_variant_runs_and_repeats_itself(variant):
    problem = get_problem("zdt1", n_var=5)
    algorithm = GMOEA(20, variant=variant)
    runs = [minimize(problem, algorithm, ("n_eval", 160), seed=1).F for _ in range(2)]
    assert np.array_equal(*runs)


def test_the_published_share_is_the_schedule_of_the_code():
    rng = np.random.default_rng(0)
    # 1 - (i/5)^2 for i = 0..4, twice; generation 1 is the initial population.
    for n_gen, expected in zip(range(2, 12), [1, 0.96, 0.84, 0.64, 0.36] * 2, strict=True):
        drawn = [published_schedule(n_gen, rng) for _ in range(4000)]
        assert set(drawn) <= {0.0, 1.0}
        assert np.mean(drawn) == pytest.approx(expected, abs=0.03)


@pytest.mark.usefixtures("few_epochs")
def test_the_published_network_is_trained_every_fifth_generation():
    problem = get_problem("zdt1", n_var=4)
    res = minimize(problem, GMOEA(16, variant="published"), ("n_gen", 12), seed=1)
    # Offspring are made in generations 2..12: fits at 2, 7 and 12.
    assert res.algorithm.mating.slot.n_fits == 3
    assert res.algorithm.mating.model.n_steps == 4 * 2


def test_labels_follow_the_rows_unless_as_coded():
    x, negative = rows(10), rows(90, seed=1)
    for as_coded in (False, True):
        model = PublishedGAN(as_coded=as_coded, n_steps=0)
        model.fit(x, negative=negative, generator=seeded())
        data = model.check_rows(x, None, negative)
        data.x, data.negative = data.x.float(), data.negative.float()
        drawn, labels, _ = model.draw_discriminator_batches(data, 60, seeded(1))
        elite = torch.from_numpy(x)
        truth = (drawn[:, :, None] == elite).all(-1).any(-1).float()
        agree = bool((truth == labels[..., 0]).all())
        assert agree != as_coded


def test_sampling_noise_has_the_covariance_of_the_elites_in_both_variants():
    x = rows(10)
    for as_coded in (False, True):
        model = PublishedGAN(as_coded=as_coded, n_steps=0).fit(x, generator=seeded())
        root = model.buffers_["prior_root"].numpy()
        assert np.allclose(root.T @ root, np.cov(x.T), atol=1e-5)


def test_published_samples_lie_in_the_box():
    model = PublishedGAN(n_steps=20).fit(rows(10), negative=rows(30, seed=1), generator=seeded())
    sample = model.sample(200, generator=seeded(2))
    assert sample.min() >= 0
    assert sample.max() <= 1


def test_the_coded_density_is_a_half_or_a_third():
    f = rows(40, 2, seed=3)
    _, fitness = coded_selection(f, 10)
    raw = spea2_fitness(domination(f), pairwise_distances(f))[1]
    assert set(np.round(fitness - raw, 6)) <= {0.5, round(1 / 3, 6)}


def test_the_coded_selection_keeps_the_asked_number():
    front = np.column_stack([np.linspace(0, 1, 30), 1 - np.linspace(0, 1, 30)])
    assert len(coded_selection(front, 12)[0]) == 12
    assert len(coded_selection(rows(30, 2), 12)[0]) == 12


def test_the_coded_sbx_never_leaves_the_parents_interval():
    problem = get_problem("zdt1", n_var=4)
    parents = rows(2 * 50, 4).reshape(2, 50, 4).astype(float)
    children = ContractingSBX()._do(problem, parents, random_state=np.random.default_rng(0))
    low, high = parents.min(axis=0), parents.max(axis=0)
    assert (children >= low - 1e-12).all()
    assert (children <= high + 1e-12).all()


def test_the_coded_tournament_returns_the_fittest_of_three():
    from pymoo.core.population import Population

    pop = Population.new(X=rows(6))
    pop.set("SPEA_F", np.array([5.0, 4.0, 3.0, 2.0, 1.0, 0.0]))
    assert best_of_three(pop, np.array([[0, 1, 2], [5, 0, 4]])).ravel().tolist() == [2, 5]


def test_a_step_gan_learns_to_turn_poor_rows_into_elites():
    rng = np.random.default_rng(0)
    elites = rng.normal(0.2, 0.02, (20, 5))
    poor = rng.normal(0.7, 0.05, (80, 5))
    model = StepGAN(n_steps=600).fit(elites, negative=poor, generator=seeded())
    scaled = model.prepare_x(poor)
    with torch.no_grad():
        moved = model.scaler_.denormalize(model.forward_generator(scaled, None)).numpy()
    # The elites are 0.5 away per variable; most of the way must be learned.
    assert np.abs(moved.mean(axis=0) - 0.2).max() < 0.15


def test_a_step_gan_without_network_is_line_plus_difference():
    elites, poor = np.zeros((5, 3)) + 0.5, np.zeros((5, 3)) + 0.9
    model = StepGAN(network_share=0.0, n_steps=0, longest=2.0)
    model.fit(elites, negative=poor, generator=seeded())
    sample = model.sample(500, generator=seeded(1)).numpy()
    # Away from the poor, at most twice the difference, the same in every variable.
    assert (sample <= 0.5 + 1e-6).all()
    assert (sample >= 0.5 - 2 * 0.4 - 1e-6).all()
    assert np.allclose(sample, sample[:, :1], atol=1e-6)
    assert np.median(0.5 - sample[:, 0]) == pytest.approx(0.5 * 0.4, abs=0.04)


def test_a_step_gan_can_be_saved(tmp_path):
    model = StepGAN(n_steps=5).fit(rows(10), negative=rows(30, seed=1), generator=seeded())
    model.save(tmp_path / "step.safetensors")
    loaded = load_model(tmp_path / "step.safetensors")
    assert torch.equal(loaded.sample(9, generator=seeded(3)), model.sample(9, generator=seeded(3)))


@pytest.mark.parametrize(
    "settings", [{"widen": -1}, {"step": 0}, {"longest": 0.1}, {"network_share": 2}]
)
def test_impossible_settings_of_a_step_gan_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        StepGAN(**settings)


def test_another_model_takes_the_place_of_the_gan():
    problem = get_problem("zdt1", n_var=5)
    res = minimize(problem, GMOEA(20, model=Copy()), ("n_gen", 5), seed=1)
    assert isinstance(res.algorithm.mating.model, Copy)


def test_it_does_not_collapse_where_the_published_one_does():
    # IMF1 in short: the front must be reached beyond its left end.
    problem = problems.get_problem("imf1", n_var=10)
    res = minimize(problem, GMOEA(60), ("n_eval", 3000), seed=1)
    assert res.F[:, 0].max() > 0.3


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="variant='best'"):
        GMOEA(20, variant="best")
    with pytest.raises(ValueError, match="n_elites=30"):
        GMOEA(20, n_elites=30)
