"""Named methods: each states what differs from its parent."""

from evogen.algorithms import catalog as catalog  # registers the names
from evogen.algorithms.ace import ACE
from evogen.algorithms.ace_local import LocalInverse
from evogen.algorithms.ace_proposer import ModelProposer
from evogen.algorithms.critic_gmoea import CriticGMOEA, step_gan
from evogen.algorithms.diffusion_evolution import DiffusionEvolution
from evogen.algorithms.directions import simplex_directions
from evogen.algorithms.emt_et import EMTET
from evogen.algorithms.emt_gs import EMTGS, GANTransfer
from evogen.algorithms.emt_pd import EMTPD
from evogen.algorithms.gmoea import GMOEA
from evogen.algorithms.immoea import IMMOEA
from evogen.algorithms.inertial_de import (
    ConstantTransfer,
    CopyTransfer,
    InertialDE,
    NoTransfer,
    TransferTable,
    UniformTransfer,
)
from evogen.algorithms.krvea import KRVEA
from evogen.algorithms.mfea import MOMFEA, IndependentNSGA2
from evogen.algorithms.mfea2 import MOMFEA2
from evogen.algorithms.moeadde import MOEADDE
from evogen.algorithms.multitask_catalog import (
    get_multitask_algorithm,
    list_multitask_algorithms,
)
from evogen.algorithms.pact import PACT
from evogen.algorithms.rbf_nsga2 import RBFNSGA2
from evogen.algorithms.registry import get_algorithm, list_algorithms, register
from evogen.algorithms.rmmeda import RMMEDA
from evogen.algorithms.side_by_side import SideBySide
from evogen.algorithms.stepgan import StepGAN

__all__ = [
    "ACE",
    "ConstantTransfer",
    "CopyTransfer",
    "CriticGMOEA",
    "DiffusionEvolution",
    "EMTET",
    "EMTGS",
    "EMTPD",
    "GANTransfer",
    "GMOEA",
    "IMMOEA",
    "IndependentNSGA2",
    "InertialDE",
    "KRVEA",
    "LocalInverse",
    "MOEADDE",
    "MOMFEA",
    "MOMFEA2",
    "ModelProposer",
    "NoTransfer",
    "PACT",
    "RBFNSGA2",
    "RMMEDA",
    "SideBySide",
    "StepGAN",
    "TransferTable",
    "UniformTransfer",
    "get_algorithm",
    "get_multitask_algorithm",
    "list_algorithms",
    "list_multitask_algorithms",
    "register",
    "simplex_directions",
    "step_gan",
]
