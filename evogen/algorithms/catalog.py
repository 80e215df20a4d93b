"""The algorithms known by name: pymoo's, the named methods, and generative combinations.

pymoo's own run with SBX(prob=1, eta=20) and PM(eta=20), the settings of the published tables, and
with hash duplicate elimination; SPEA2 with the fast truncation. What they return is unchanged.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from pymoo.algorithms.moo.ctaea import CTAEA
from pymoo.algorithms.moo.gde3 import GDE3
from pymoo.algorithms.moo.moead import ParallelMOEAD
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.algorithms.moo.nsga3 import NSGA3
from pymoo.algorithms.moo.rvea import RVEA
from pymoo.algorithms.moo.sms import SMSEMOA
from pymoo.algorithms.moo.spea2 import SPEA2
from pymoo.algorithms.moo.unsga3 import UNSGA3
from pymoo.algorithms.soo.nonconvex.de import DE
from pymoo.algorithms.soo.nonconvex.ga import GA
from pymoo.core.algorithm import Algorithm
from pymoo.operators.crossover.sbx import SBX
from pymoo.operators.mutation.pm import PM

from evogen.algorithms.ace import ACE
from evogen.algorithms.ace_local import LocalInverse
from evogen.algorithms.ace_proposer import ModelProposer
from evogen.algorithms.ace_search import differential
from evogen.algorithms.critic_gmoea import CriticGMOEA, step_gan
from evogen.algorithms.diffusion_evolution import DiffusionEvolution
from evogen.algorithms.directions import simplex_directions
from evogen.algorithms.gmoea import GMOEA
from evogen.algorithms.immoea import IMMOEA
from evogen.algorithms.krvea import KRVEA
from evogen.algorithms.moeadde import MOEADDE
from evogen.algorithms.rbf_nsga2 import RBFNSGA2
from evogen.algorithms.registry import register
from evogen.algorithms.rmmeda import RMMEDA
from evogen.algorithms.stepgan import StepGAN
from evogen.models import DDPM, GAN, VAE, WGANGP, GaussianMixture, KernelDiffusion, LocalLinear
from evogen.operators import (
    Constant,
    Copy,
    Differential,
    Elites,
    Examples,
    FastSPEA2Survival,
    GenerativeMating,
    HashDuplicateElimination,
    Improvement,
    Inverse,
    Uniform,
    Untrained,
    inject,
)


def _variation() -> dict[str, Any]:
    return {
        "crossover": SBX(prob=1.0, eta=20),
        "mutation": PM(eta=20),
        "eliminate_duplicates": HashDuplicateElimination(),
    }


def _needs_several(problem: Any, name: str) -> None:
    if problem.n_obj < 2:
        raise ValueError(
            f"{name} needs at least 2 objectives, {problem.name()} has 1; use ga or de"
        )


def _by_population(cls: Any) -> Any:
    """A factory for a class that takes `pop_size`."""

    def build(problem: Any, pop_size: int = 100, **settings: Any) -> Algorithm:
        _needs_several(problem, cls.__name__)
        return cls(pop_size=pop_size, **(_variation() | settings))

    return build


def _by_directions(cls: Any) -> Any:
    """A factory for a class that takes reference directions, at most `pop_size` of them."""

    def build(problem: Any, pop_size: int = 100, **settings: Any) -> Algorithm:
        _needs_several(problem, cls.__name__)
        variation = _variation()
        if issubclass(cls, ParallelMOEAD):
            variation.pop("eliminate_duplicates")
        return cls(simplex_directions(problem.n_obj, pop_size), **(variation | settings))

    return build


def _named(cls: Any, **defaults: Any) -> Any:
    """A factory for a method of this library."""

    def build(problem: Any, pop_size: int = 100, **settings: Any) -> Algorithm:
        _needs_several(problem, cls.__name__)
        return cls(pop_size, **(defaults | settings))

    return build


def _spea2(problem: Any, pop_size: int = 100, **settings: Any) -> Algorithm:
    return _by_population(SPEA2)(
        problem, pop_size, **({"survival": FastSPEA2Survival(normalize=True)} | settings)
    )


def _single(cls: Any) -> Any:
    def build(problem: Any, pop_size: int = 100, **settings: Any) -> Algorithm:
        if problem.n_obj != 1:
            raise ValueError(
                f"{cls.__name__} takes 1 objective, {problem.name()} has {problem.n_obj}"
            )
        return cls(pop_size=pop_size, **settings)

    return build


def _generative(model: Any, examples: Any, **defaults: Any) -> Any:
    """A factory for NSGA-II with a generative mating; `model` and `examples` make new objects."""

    def build(problem: Any, pop_size: int = 100, **settings: Any) -> Algorithm:
        operator = GenerativeMating(model(), examples(), **(defaults | settings))
        return inject(_by_population(NSGA2)(problem, pop_size), operator)

    return build


def _gmoea(**defaults: Any) -> Any:
    def build(problem: Any, pop_size: int = 100, **settings: Any) -> Algorithm:
        _needs_several(problem, "GMOEA")
        made = {k: v() if k == "model" else v for k, v in defaults.items()}
        return GMOEA(pop_size, **(made | settings))

    return build


def diffusion() -> DDPM:
    """The diffusion model of `nsga2-ddpm`: a few warm steps a generation."""
    return DDPM(hidden=(64, 64), n_steps=20, n_sample_steps=10)


def _around_the_front() -> Examples:
    return Inverse(fraction=0.5, widen=0.5)


def _linear_map() -> LocalLinear:
    """One line for all: as many neighbours as there can be."""
    return LocalLinear(n_neighbors=1000)


def _everyone() -> Examples:
    return Elites(fraction=1.0)


def _ace(**defaults: Any) -> Any:
    """A factory for ACE."""

    def build(problem: Any, pop_size: int | None = None, **settings: Any) -> Algorithm:
        _needs_several(problem, "ACE")
        return ACE(pop_size, **(defaults | settings))

    return build


#: What may propose candidates to ACE's critic: a model and one line on it.
_PROPOSERS: dict[str, tuple[Any, str]] = {
    "denoise": (KernelDiffusion, "from diffusion without training"),
    "ddpm": (diffusion, "from a diffusion model"),
    "gan": (lambda: GAN(n_steps=20, batch_size=128), "from a conditional GAN"),
    "ddpm-untrained": (lambda: Untrained(diffusion()), "from an untrained network (null)"),
    "gaussian": (lambda: GaussianMixture(n_components=1), "from a Gaussian: a linear map (null)"),
    "copy": (Copy, "mutated copies (null)"),
    "uniform": (Uniform, "uniform (null)"),
}


def _ace_with(proposer: Any) -> Any:
    """A factory for ACE with a proposer, made anew for each."""

    def build(problem: Any, pop_size: int | None = None, **settings: Any) -> Algorithm:
        return _ace(propose=proposer())(problem, pop_size, **settings)

    return build


def _agemoea(module: str, name: str) -> Any:
    """A factory for pymoo's AGE-MOEA and AGE-MOEA2, which cannot be imported without numba."""

    def build(problem: Any, pop_size: int = 100, **settings: Any) -> Algorithm:
        if importlib.util.find_spec("numba") is None:
            raise ValueError(f"{name} needs numba: pip install 'evogen[agemoea]'")
        cls = getattr(importlib.import_module(f"pymoo.algorithms.moo.{module}"), name)
        return _by_population(cls)(problem, pop_size, **settings)

    return build


def _register_all() -> None:
    for name, (build, about, settings_of) in (_pymoo() | _methods() | _surrogates()).items():
        register(name, build, about, settings_of=settings_of)
    for name, (build, about) in _matings().items():
        register(name, build, about, settings_of=GenerativeMating)
    for name, (build, about) in _nulls().items():
        owner = GMOEA if name.startswith("gmoea") else GenerativeMating
        register(name, build, about, settings_of=owner)
    for name, (build, about) in _critic_gmoea_nulls().items():
        register(name, build, about, settings_of=CriticGMOEA)


def _pymoo() -> dict[str, tuple[Any, str, Any]]:
    """pymoo's: factory, one line on it, the class whose settings it takes."""
    return {
        "nsga2": (_by_population(NSGA2), "NSGA-II with SBX and PM (pymoo)", NSGA2),
        "nsga3": (_by_directions(NSGA3), "NSGA-III (pymoo)", NSGA3),
        "unsga3": (_by_directions(UNSGA3), "U-NSGA-III (pymoo)", UNSGA3),
        "spea2": (_spea2, "SPEA2 with fast truncation (pymoo's survivors)", SPEA2),
        "smsemoa": (_by_population(SMSEMOA), "SMS-EMOA (pymoo)", SMSEMOA),
        "rvea": (_by_directions(RVEA), "RVEA (pymoo)", RVEA),
        "ctaea": (_by_directions(CTAEA), "C-TAEA (pymoo)", CTAEA),
        "moead": (_by_directions(ParallelMOEAD), "MOEA/D, parallel form (pymoo)", ParallelMOEAD),
        "ga": (_single(GA), "single-objective genetic algorithm (pymoo)", GA),
        "de": (_single(DE), "single-objective differential evolution (pymoo)", DE),
        "agemoea": (_agemoea("age", "AGEMOEA"), "AGE-MOEA (pymoo; needs numba)", None),
        "agemoea2": (_agemoea("age2", "AGEMOEA2"), "AGE-MOEA2 (pymoo; needs numba)", None),
        "gde3": (_gde3, "GDE3, multiobjective differential evolution (pymoo)", GDE3),
    }


def _methods() -> dict[str, tuple[Any, str, Any]]:
    """The named methods that learn no surrogate; as `_pymoo`."""
    return {
        "moead-de": (_named(MOEADDE), "MOEA/D-DE (Li & Zhang 2009)", MOEADDE),
        "moead-de-clip": (_named(MOEADDE, bounds="clip"), "MOEA/D-DE, clipped", MOEADDE),
        "immoea": (
            _immoea,
            "IM-MOEA, inverse models per sector (Cheng et al. 2015)",
            IMMOEA,
        ),
        "rmmeda": (_named(RMMEDA), "RM-MEDA (Zhang, Zhou & Jin 2008)", RMMEDA),
        "gmoea": (_gmoea(), "GMOEA with a GAN that learns steps from poor to good", GMOEA),
        "gmoea-reflect": (_gmoea(bounds="reflect"), "gmoea, reflected instead of clipped", GMOEA),
        "gmoea-published": (
            _gmoea(variant="published"),
            "GMOEA as published, errors repaired",
            GMOEA,
        ),
        "gmoea-as-coded": (_gmoea(variant="as-coded"), "GMOEA as in the authors' code", GMOEA),
        "gmoea-critic": (
            _named(CriticGMOEA),
            "GMOEA with steps labelled by survival, and a critic",
            CriticGMOEA,
        ),
        "diffusion-evolution": (
            _single(DiffusionEvolution),
            "Diffusion Evolution, single-objective (Zhang et al. 2025)",
            DiffusionEvolution,
        ),
    }


def _surrogates() -> dict[str, tuple[Any, str, Any]]:
    """The methods that search a surrogate first; as `_pymoo`."""
    return {
        "auto": (_ace(), "the default: ACE with the population size chosen", ACE),
        "ace": (_ace(), "ACE: archive, critic, evolution", ACE),
        "ace-base": (
            _ace(operators=("sbx", "differential")),
            "null of ace: without the critic",
            ACE,
        ),
        "ace-differential": (
            _ace(propose=differential),
            "null of ace: without its local inverse model",
            ACE,
        ),
        "ace-local-mean": (
            _ace_with(lambda: LocalInverse(degree=0)),
            "null of ace: local means in place of local planes",
            ACE,
        ),
        **{
            f"ace-{key}": (
                _ace_with(lambda model=model: ModelProposer(model())),
                f"ace, half of its critic's candidates {about}",
                ACE,
            )
            for key, (model, about) in _PROPOSERS.items()
        },
        "rbf-nsga2": (_named(RBFNSGA2), "NSGA-II that searches a surrogate first", RBFNSGA2),
        "krvea": (_named(KRVEA), "K-RVEA (Chugh et al. 2018), for few evaluations", KRVEA),
    }


def _matings() -> dict[str, tuple[Any, str]]:
    """NSGA-II with a generative mating: factory, one line on it."""
    return {
        "nsga2-de": (
            _generative(Differential, _everyone, bounds="clip"),
            "NSGA-II, half of the offspring by differential variation",
        ),
        "nsga2-de-reflect": (
            _generative(Differential, _everyone),
            "nsga2-de, reflected instead of clipped",
        ),
        "nsga2-ddpm": (
            _generative(diffusion, Inverse, share="adaptive"),
            "NSGA-II, diffusion model from objectives to solutions, adaptive share",
        ),
        "nsga2-gaussian": (
            _generative(lambda: GaussianMixture(n_components=1), Inverse, share="adaptive"),
            "NSGA-II, Gaussian inverse model, adaptive share",
        ),
        "nsga2-vae": (
            _generative(lambda: VAE(n_steps=50), Elites, share="adaptive"),
            "NSGA-II, variational autoencoder of the elites, adaptive share",
        ),
        "nsga2-wgangp": (
            _generative(lambda: WGANGP(n_steps=20), Elites, share="adaptive"),
            "NSGA-II, Wasserstein GAN of the elites, adaptive share",
        ),
        "nsga2-denoise": (
            _generative(KernelDiffusion, _around_the_front, share="adaptive"),
            "NSGA-II, diffusion without training from objectives to solutions, adaptive share",
        ),
        "nsga2-improvement": (
            _generative(diffusion, Improvement, share="adaptive"),
            "NSGA-II, diffusion model from worse to better solutions, adaptive share",
        ),
    }


def _nulls() -> dict[str, tuple[Any, str]]:
    """The same loops with the network replaced, for ablations."""
    generators = {
        "copy": (Copy, "copies of what it would learn from"),
        "random": (Uniform, "uniform points"),
        "constant": (Constant, "the centre of the box"),
        "corner": (_corner, "the lower corner of the box"),
    }
    nulls: dict[str, tuple[Any, str]] = {}
    for key, (make, about) in generators.items():
        nulls[f"gmoea-{key}"] = (_gmoea(model=make), f"null of gmoea: {about}")
        nulls[f"nsga2-ddpm-{key}"] = (
            _generative(make, Inverse, share="adaptive"),
            f"null of nsga2-ddpm: {about}",
        )
    nulls["gmoea-untrained"] = (
        _gmoea(model=lambda: Untrained(StepGAN(network_share=1.0))),
        "null of gmoea: every step by an untrained network",
    )
    nulls["gmoea-network"] = (
        _gmoea(model=lambda: StepGAN(network_share=1.0)),
        "gmoea with every step by the trained network",
    )
    nulls["gmoea-difference"] = (
        _gmoea(model=lambda: StepGAN(network_share=0.0, n_steps=0)),
        "null of gmoea: every step a raw difference, no network",
    )
    nulls["nsga2-ddpm-untrained"] = (
        _generative(lambda: Untrained(diffusion()), Inverse, share="adaptive"),
        "null of nsga2-ddpm: an untrained network",
    )
    nulls["nsga2-improvement-linear"] = (
        _generative(_linear_map, Improvement, share="adaptive"),
        "null of nsga2-improvement: one linear map",
    )
    return nulls


def _critic_gmoea_nulls() -> dict[str, tuple[Any, str]]:
    """GMOEA with a critic, its network replaced."""
    models: dict[str, tuple[Any, str]] = {
        "copy": (lambda: {"model": Copy()}, "steps that survived, drawn again"),
        "difference": (lambda: {"model": Copy(), "learned_share": 0.0}, "raw differences"),
        "untrained": (lambda: {"model": Untrained(step_gan())}, "an untrained network"),
    }

    def factory(make: Any) -> Any:
        def build(problem: Any, pop_size: int = 100, **settings: Any) -> Algorithm:
            return _named(CriticGMOEA)(problem, pop_size, **(make() | settings))

        return build

    return {
        f"gmoea-critic-{key}": (factory(make), f"null of gmoea-critic: {about}")
        for key, (make, about) in models.items()
    }


def _immoea(problem: Any, pop_size: int = 100, **settings: Any) -> Algorithm:
    n_sectors = settings.pop("n_sectors", min(10, pop_size))
    return _named(IMMOEA)(problem, pop_size, n_sectors=n_sectors, **settings)


def _corner() -> Constant:
    return Constant(0.0)


def _gde3(problem: Any, pop_size: int = 100, **settings: Any) -> Algorithm:
    _needs_several(problem, "GDE3")
    return GDE3(pop_size=pop_size, **settings)


_register_all()
