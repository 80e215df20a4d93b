"""Named methods: each states what differs from its parent."""

from evogen.algorithms import catalog as catalog  # registers the names
from evogen.algorithms.ace import ACE
from evogen.algorithms.critic_gmoea import CriticGMOEA, step_gan
from evogen.algorithms.diffusion_evolution import DiffusionEvolution
from evogen.algorithms.directions import simplex_directions
from evogen.algorithms.gmoea import GMOEA
from evogen.algorithms.immoea import IMMOEA
from evogen.algorithms.krvea import KRVEA
from evogen.algorithms.moeadde import MOEADDE
from evogen.algorithms.rbf_nsga2 import RBFNSGA2
from evogen.algorithms.registry import get_algorithm, list_algorithms, register
from evogen.algorithms.rmmeda import RMMEDA
from evogen.algorithms.stepgan import StepGAN

__all__ = [
    "CriticGMOEA",
    "DiffusionEvolution",
    "step_gan",
    "ACE",
    "GMOEA",
    "IMMOEA",
    "KRVEA",
    "MOEADDE",
    "RBFNSGA2",
    "RMMEDA",
    "StepGAN",
    "get_algorithm",
    "list_algorithms",
    "register",
    "simplex_directions",
]
