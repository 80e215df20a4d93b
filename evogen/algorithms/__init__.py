"""Named methods: each states what differs from its parent."""

from evogen.algorithms import catalog as catalog  # registers the names
from evogen.algorithms.directions import simplex_directions
from evogen.algorithms.gmoea import GMOEA
from evogen.algorithms.immoea import IMMOEA
from evogen.algorithms.moeadde import MOEADDE
from evogen.algorithms.registry import get_algorithm, list_algorithms, register
from evogen.algorithms.stepgan import StepGAN

__all__ = [
    "GMOEA",
    "IMMOEA",
    "MOEADDE",
    "StepGAN",
    "get_algorithm",
    "list_algorithms",
    "register",
    "simplex_directions",
]
