"""Generative models: each learns a distribution from rows of numbers and samples from it."""

from evogen.models.base import GenerativeModel, Rows
from evogen.models.diffusion import DDPM
from evogen.models.gan import GAN, WGANGP
from evogen.models.mixture import GaussianMixture
from evogen.models.neural import NeuralModel, SingleLossModel
from evogen.models.serialization import load_model, register
from evogen.models.training import EarlyStopping, Objective, TrainingDiverged, Weights
from evogen.models.vae import VAE

__all__ = [
    "DDPM",
    "GAN",
    "VAE",
    "WGANGP",
    "EarlyStopping",
    "GaussianMixture",
    "GenerativeModel",
    "NeuralModel",
    "Objective",
    "Rows",
    "SingleLossModel",
    "TrainingDiverged",
    "Weights",
    "load_model",
    "register",
]
