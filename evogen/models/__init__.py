"""Generative models: each learns a distribution from rows of numbers and samples from it."""

from evogen.models.autoencoder import AE
from evogen.models.base import GenerativeModel, Rows
from evogen.models.bnvae import BNVAE
from evogen.models.diffusion import DDPM
from evogen.models.gan import GAN, WGANGP
from evogen.models.kernel_diffusion import KernelDiffusion
from evogen.models.lsgan import LSGAN
from evogen.models.mixture import GaussianMixture
from evogen.models.neighbours import LocalLinear
from evogen.models.neural import NeuralModel, SingleLossModel
from evogen.models.pca import PCA
from evogen.models.preference import PreferenceDiffusion
from evogen.models.serialization import load_model, register
from evogen.models.training import EarlyStopping, Objective, TrainingDiverged, Weights
from evogen.models.vae import VAE
from evogen.models.vib import VIB
from evogen.models.vmfvae import VMFVAE
from evogen.models.wgan import WGAN

__all__ = [
    "KernelDiffusion",
    "LocalLinear",
    "PreferenceDiffusion",
    "AE",
    "BNVAE",
    "DDPM",
    "GAN",
    "LSGAN",
    "PCA",
    "VAE",
    "VIB",
    "VMFVAE",
    "WGAN",
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
