"""Generative models: each learns a distribution from items and samples from it."""

from evogen.models.autoencoder import AE
from evogen.models.autoencoder_kl import AutoencoderKL
from evogen.models.base import GenerativeModel, Rows
from evogen.models.began import BEGAN
from evogen.models.bnvae import BNVAE
from evogen.models.bound import Bound
from evogen.models.dcgan import DCGAN
from evogen.models.diffusion import DDPM
from evogen.models.egan import EGAN, pareto_survival
from evogen.models.features import ImageFeatures
from evogen.models.gan import GAN
from evogen.models.hierarchical import HierarchicalVAE
from evogen.models.kernel_diffusion import KernelDiffusion
from evogen.models.latent_diffusion import LatentDiffusion
from evogen.models.lsgan import LSGAN
from evogen.models.mixture import GaussianMixture
from evogen.models.neighbours import LocalLinear
from evogen.models.neural import NeuralModel, SingleLossModel
from evogen.models.pca import PCA
from evogen.models.pixelcnn import PixelCNN
from evogen.models.pixelrnn import PixelRNN
from evogen.models.preference import PreferenceDiffusion
from evogen.models.schedulers import DDIM
from evogen.models.score import ScoreModel, annealed_langevin, langevin
from evogen.models.seqgan import SeqGAN
from evogen.models.serialization import load_model, register
from evogen.models.stylegan import StyleGAN, path_length
from evogen.models.text_diffusion import TextDDPM
from evogen.models.training import EarlyStopping, Objective, TrainingDiverged, Weights
from evogen.models.univae import UniVAE
from evogen.models.vae import VAE
from evogen.models.vib import VIB
from evogen.models.vmfvae import VMFVAE
from evogen.models.vqvae import VQVAE
from evogen.models.wgan import WGAN
from evogen.models.wgangp import WGANGP

__all__ = [
    "AE",
    "AutoencoderKL",
    "Bound",
    "TextDDPM",
    "pareto_survival",
    "path_length",
    "BEGAN",
    "BNVAE",
    "DCGAN",
    "DDIM",
    "DDPM",
    "EGAN",
    "EarlyStopping",
    "GAN",
    "GaussianMixture",
    "GenerativeModel",
    "HierarchicalVAE",
    "ImageFeatures",
    "KernelDiffusion",
    "LSGAN",
    "LatentDiffusion",
    "LocalLinear",
    "NeuralModel",
    "Objective",
    "PCA",
    "PixelCNN",
    "PixelRNN",
    "PreferenceDiffusion",
    "Rows",
    "ScoreModel",
    "SeqGAN",
    "SingleLossModel",
    "StyleGAN",
    "TrainingDiverged",
    "UniVAE",
    "VAE",
    "VIB",
    "VMFVAE",
    "VQVAE",
    "WGAN",
    "WGANGP",
    "Weights",
    "annealed_langevin",
    "langevin",
    "load_model",
    "register",
]
