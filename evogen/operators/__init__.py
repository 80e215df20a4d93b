"""Generative operators for pymoo's slots: a model and its examples.

Anything that can `fit` and `sample` becomes an operator; nothing here knows a model class.
"""

from evogen.operators.credit import SurvivalCredit
from evogen.operators.critic import RBFCritic
from evogen.operators.duplicates import HashDuplicateElimination
from evogen.operators.encoding import BOUNDS, Encoding, repair_to_box
from evogen.operators.examples import Elites, Examples, Improvement, Inverse, Outcomes, TrainingData
from evogen.operators.family import Family, FamilySampling
from evogen.operators.foundfront import FoundFront
from evogen.operators.inject import check_algorithm, consults_mating, inject
from evogen.operators.inverse import InverseSampler
from evogen.operators.mating import GenerativeMating
from evogen.operators.reference import Constant, Copy, Differential, Uniform, Untrained
from evogen.operators.slot import GenerativeFallback, ModelSlot
from evogen.operators.solutions import (
    Solutions,
    best_first,
    constrained_rank,
    constraint_violation,
    crowding_by_front,
    crowding_distance,
    matrix,
)
from evogen.operators.steps import StepMating, descend, tchebycheff
from evogen.operators.survival import (
    FastSPEA2Survival,
    domination,
    pairwise_distances,
    spea2_fitness,
    spea2_survivors,
    truncate,
)
from evogen.operators.transfer import AcrossTasks, Transfer
from evogen.operators.variation import (
    GenerativeCrossover,
    GenerativeMutation,
    GenerativeSampling,
)

__all__ = [
    "AcrossTasks",
    "Family",
    "FamilySampling",
    "FoundFront",
    "InverseSampler",
    "Outcomes",
    "StepMating",
    "descend",
    "tchebycheff",
    "BOUNDS",
    "Constant",
    "Copy",
    "Differential",
    "Elites",
    "Encoding",
    "Examples",
    "FastSPEA2Survival",
    "GenerativeCrossover",
    "GenerativeFallback",
    "GenerativeMating",
    "GenerativeMutation",
    "GenerativeSampling",
    "HashDuplicateElimination",
    "Improvement",
    "Inverse",
    "ModelSlot",
    "Solutions",
    "RBFCritic",
    "SurvivalCredit",
    "TrainingData",
    "Transfer",
    "Uniform",
    "Untrained",
    "best_first",
    "check_algorithm",
    "constrained_rank",
    "constraint_violation",
    "consults_mating",
    "crowding_by_front",
    "crowding_distance",
    "inject",
    "matrix",
    "repair_to_box",
    "spea2_survivors",
    "spea2_fitness",
    "pairwise_distances",
    "domination",
    "truncate",
]
