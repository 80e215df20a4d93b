"""Stop anywhere, continue in fresh objects: the result is bit for bit that of one run."""

import copy
import math

import numpy as np
import pytest
from pymoo.algorithms.moo.moead import MOEAD
from pymoo.algorithms.moo.nsga3 import NSGA3
from pymoo.algorithms.soo.nonconvex.es import ES
from pymoo.algorithms.soo.nonconvex.g3pcx import G3PCX
from pymoo.algorithms.soo.nonconvex.nelder import NelderMead
from pymoo.algorithms.soo.nonconvex.pso import PSO
from pymoo.problems.multi import ZDT1
from pymoo.problems.single import Sphere
from pymoo.util.ref_dirs import get_reference_directions

from evogen.algorithms import list_algorithms
from evogen.algorithms.gmoea_published import PublishedGAN
from evogen.experiment import minimize
from evogen.experiment.lookup import get_algorithm
from evogen.models import VAE, WGANGP

#: Compiled on first use, which takes longer than all others together; not run here.
COMPILED = ("agemoea", "agemoea2")
SINGLE = ("ga", "de", "diffusion-evolution")
#: Trained in a few steps here.
FEWER_STEPS = {
    "gmoea-published": {"model": PublishedGAN(n_steps=5, hidden_generator=(5, 5))},
    "gmoea-as-coded": {"model": PublishedGAN(n_steps=5, as_coded=True)},
    "nsga2-vae": {"model": VAE(n_steps=5)},
    "nsga2-wgangp": {"model": WGANGP(n_steps=2)},
    "krvea": {"n_initial": 20},
}
#: A few points a generation, so for more generations.
SMALL_BATCHES = (
    "ace", "ace-base", "ace-differential", "ace-gan", "ace-gaussian", "ace-local-mean", "auto",
)  # fmt: skip
#: As ace-gan, with another model.
OTHER_MODELS = ("ace-copy", "ace-ddpm", "ace-ddpm-untrained", "ace-denoise", "ace-uniform")
N_GEN, POP_SIZE = 6, 12


class PowerCut(Exception):
    pass


class Limited:
    """Raises when it has been asked for more than `limit` points."""

    def __init__(self, limit=math.inf, n_var=5):
        super().__init__(n_var=n_var)
        self.limit, self.n_asked = limit, 0

    def _evaluate(self, x, out, *args, **kwargs):
        self.n_asked += len(x)
        if self.n_asked > self.limit:
            raise PowerCut
        super()._evaluate(x, out, *args, **kwargs)


class Fragile(Limited, ZDT1):
    pass


class FragileSphere(Limited, Sphere):
    pass


def in_parts(solve, make_problem, path, n_evals, *, seed=0, n_stops=3):
    """The result of a run that is stopped at random points, each time in fresh objects."""
    rng = np.random.default_rng(seed)
    most = max(POP_SIZE + 1, n_evals // n_stops)  # so that the run is not over before the last
    for _ in range(n_stops):
        with pytest.raises(PowerCut):
            solve(make_problem(int(rng.integers(POP_SIZE, most))), path)
    return solve(make_problem(math.inf), path)


def log_of(algorithm):
    """What operators have noted, without times."""
    holder = getattr(algorithm, "mating", None)
    log = getattr(holder, "log", None) or getattr(algorithm, "log", None) or []
    return [{k: v for k, v in entry.items() if "seconds" not in k} for entry in log]


def assert_same(a, b):
    for name in ("X", "F", "CV"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
    for name in ("X", "F"):
        assert np.array_equal(a.pop.get(name), b.pop.get(name)), name
        assert np.array_equal(getattr(a.evaluations, name), getattr(b.evaluations, name)), name
    assert a.n_eval == b.n_eval
    assert a.message == b.message
    assert a.algorithm.n_iter == b.algorithm.n_iter
    assert repr(log_of(a.algorithm)) == repr(log_of(b.algorithm))
    state = [r.algorithm.random_state.bit_generator.state for r in (a, b)]
    assert state[0] == state[1]


@pytest.mark.parametrize("name", sorted(set(list_algorithms()) - {*COMPILED, *OTHER_MODELS}))
def test_a_run_in_parts_is_bit_for_bit_one_run(name, tmp_path):
    make = FragileSphere if name in SINGLE else Fragile

    n_gen = 40 if name in SMALL_BATCHES else N_GEN

    def solve(problem, path):
        settings = copy.deepcopy(FEWER_STEPS.get(name, {}))
        model = None if name.startswith("gmoea") else settings.pop("model", None)
        algorithm = get_algorithm(name, problem, pop_size=POP_SIZE, **settings)
        if model is not None:
            algorithm.mating.slot.model = model
        return minimize(
            problem, algorithm, ("n_gen", n_gen), seed=3, checkpoint=path, checkpoint_every=1
        )

    whole = solve(make(), None)
    parts = in_parts(solve, make, tmp_path / "run.ckpt", whole.n_eval, seed=len(name))
    assert_same(whole, parts)


DIRECTIONS = get_reference_directions("das-dennis", 2, n_partitions=11)

#: Some hold a suspended function while they work (MOEA/D), some functions made inside of others.
OTHERS = {
    "MOEAD": (lambda: MOEAD(DIRECTIONS, n_neighbors=5), Fragile),
    "NSGA3": (lambda: NSGA3(DIRECTIONS), Fragile),
    "PSO": (lambda: PSO(pop_size=12), FragileSphere),
    "ES": (lambda: ES(n_offsprings=24), FragileSphere),
    "G3PCX": (lambda: G3PCX(pop_size=12), FragileSphere),
    "NelderMead": (NelderMead, FragileSphere),
}


@pytest.mark.parametrize("name", OTHERS)
def test_an_algorithm_of_pymoo_in_parts_is_bit_for_bit_one_run(name, tmp_path):
    make_algorithm, make_problem = OTHERS[name]

    def solve(problem, path):
        return minimize(
            problem, make_algorithm(), ("n_gen", 8), seed=3, checkpoint=path, checkpoint_every=1
        )

    whole = solve(make_problem(), None)
    parts = in_parts(solve, make_problem, tmp_path / "run.ckpt", whole.n_eval)
    assert_same(whole, parts)
