"""Speed of training and sampling beside other libraries: same network, batch, data and device.

    python benchmarks/model_rivals.py [--device cpu] [--repeats 3] [--out results/model_rivals.md]

Rivals that are not installed are left out; for all of them: `pip install diffusers==0.42.1
scikit-learn` and, without their dependency on torchvision, `pip install --no-deps pythae==0.1.2
denoising-diffusion-pytorch==2.3.4 ema-pytorch einops accelerate` with `pip install pydantic
cloudpickle dill imageio tqdm`. Every measurement is a process of its own with one thread, the
libraries by turns; a rate is taken after a warm-up from the process's CPU time (wall time on a
GPU), and the median of the repeats counts. Memory is the process's peak beyond what torch alone
holds.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

RESULTS = Path(__file__).parent / "results" / "model_rivals.md"
VAE_LATENT, VAE_HIDDEN, VAE_BATCH = 10, 512, 128
DIFFUSION_BATCH, EMA_DECAY = 64, 0.995
GAN_LATENT, GAN_HIDDEN, GAN_BATCH, TOY_POINTS = 8, 128, 256, 10_000

Action = Callable[[int], Any]
Rival = Callable[[torch.device], tuple[Action, Action, int]]
"""Makes, on a device: a function that does n training steps, one that draws n samples, and the
number of parameters."""


def digits(device: torch.device) -> Tensor:
    """The digits `(1797, 1, 8, 8)` in [0, 1]."""
    from sklearn.datasets import load_digits

    x = load_digits().data / 16
    return torch.as_tensor(x, dtype=torch.float32).view(-1, 1, 8, 8).to(device)


def size(*modules: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for module in modules for p in module.parameters())


def endless(loader: DataLoader[Any]) -> Iterator[Any]:
    """Batches for ever."""
    while True:
        yield from loader


def ours(model: Any, x: Tensor, names: tuple[str, ...]) -> tuple[Action, Action, int]:
    """A model of this library."""
    model.fit(x, n_steps=1)
    n = size(*(model.weights_[name].module for name in names))
    return lambda n: model.fit(x, n_steps=n), model.sample, n


# Variational autoencoder, 64-512-10-512-64, Bernoulli, Adam.


def vae_evogen(device: torch.device) -> tuple[Action, Action, int]:
    """Ours."""
    from evogen.models import VAE

    model = VAE(
        latent_dim=VAE_LATENT,
        hidden=(VAE_HIDDEN,),
        activation="relu",
        likelihood="bernoulli",
        batch_size=VAE_BATCH,
        architecture="mlp",
        device=str(device),
    )
    return ours(model, digits(device), ("network",))


def vae_pythae(device: torch.device) -> tuple[Action, Action, int]:
    """pythae's VAE in pythae's trainer."""
    import logging

    from pythae.models import VAE, VAEConfig
    from pythae.samplers import NormalSampler
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    logging.disable(logging.INFO)
    model = VAE(
        VAEConfig(input_dim=(1, 8, 8), latent_dim=VAE_LATENT, reconstruction_loss="bce")
    ).to(device)
    x = digits(torch.device("cpu"))
    per_epoch = -(-len(x) // VAE_BATCH)

    def train(n: int) -> None:
        from pythae.data.datasets import BaseDataset

        with tempfile.TemporaryDirectory() as folder:
            config = BaseTrainerConfig(
                output_dir=folder,
                num_epochs=max(1, round(n / per_epoch)),
                per_device_train_batch_size=VAE_BATCH,
                learning_rate=1e-3,
                no_cuda=device.type == "cpu",
            )
            data = BaseDataset(x, torch.ones(len(x)))
            BaseTrainer(model=model, train_dataset=data, training_config=config).train()

    def sample(n: int) -> Tensor:
        return NormalSampler(model).sample(num_samples=n, batch_size=n)

    return train, sample, size(model)


def vae_plain(device: torch.device) -> tuple[Action, Action, int]:
    """The loop that a tutorial would write."""
    encoder = nn.Sequential(
        nn.Flatten(), nn.Linear(64, VAE_HIDDEN), nn.ReLU(), nn.Linear(VAE_HIDDEN, 2 * VAE_LATENT)
    ).to(device)
    decoder = nn.Sequential(
        nn.Linear(VAE_LATENT, VAE_HIDDEN), nn.ReLU(), nn.Linear(VAE_HIDDEN, 64)
    ).to(device)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
    data = TensorDataset(digits(device))
    batches = endless(DataLoader(data, VAE_BATCH, shuffle=True, drop_last=True))

    def train(n: int) -> None:
        for _ in range(n):
            (x,) = next(batches)
            mean, log_variance = encoder(x).chunk(2, dim=1)
            z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
            fit = F.binary_cross_entropy_with_logits(decoder(z), x.flatten(1), reduction="sum")
            rate = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
            optimizer.zero_grad()
            ((fit + rate) / len(x)).backward()
            optimizer.step()

    @torch.no_grad()
    def sample(n: int) -> Tensor:
        return torch.sigmoid(decoder(torch.randn(n, VAE_LATENT, device=device)))

    return train, sample, size(encoder, decoder)


# Denoising diffusion on 8 x 8 images: a U-Net of two resolutions, batch 64, moving average of the
# weights, gradient clipping; samples by DDIM in 50 steps.


def ddpm_evogen(device: torch.device) -> tuple[Action, Action, int]:
    """Ours."""
    from evogen.models import DDPM

    fast: dict[str, Any] = {}
    if device.type == "cuda":
        fast = {"precision": "bf16", "compile": True}
    model = DDPM(
        channels=(18, 36),  # about as many weights as diffusers' with (16, 32)
        batch_size=DIFFUSION_BATCH,
        ema_decay=EMA_DECAY,
        max_grad_norm=1.0,
        n_sample_steps=50,
        device=str(device),
        **fast,
    )
    return ours(model, digits(device), ("network",))


def averaged(module: nn.Module) -> Any:
    """torch's own moving average of the weights."""
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    return AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(EMA_DECAY))


def ddpm_diffusers(device: torch.device) -> tuple[Action, Action, int]:
    """diffusers' U-Net and schedulers in a plain loop, as in its training example."""
    from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel

    network = UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
    ).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    noising, average = DDPMScheduler(1000), averaged(network)
    data = TensorDataset(2 * digits(device) - 1)
    batches = endless(DataLoader(data, DIFFUSION_BATCH, shuffle=True, drop_last=True))

    def train(n: int) -> None:
        for _ in range(n):
            (x,) = next(batches)
            noise = torch.randn_like(x)
            t = torch.randint(0, 1000, (len(x),), device=device)
            loss = F.mse_loss(network(noising.add_noise(x, noise, t), t).sample, noise)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            average.update_parameters(network)

    @torch.no_grad()
    def sample(n: int) -> Tensor:
        scheduler = DDIMScheduler(1000)
        scheduler.set_timesteps(50)
        x = torch.randn(n, 1, 8, 8, device=device)
        for t in scheduler.timesteps:
            x = scheduler.step(average.module(x, t).sample, t, x).prev_sample
        return x

    return train, sample, size(network)


def ddpm_lucidrains(device: torch.device) -> tuple[Action, Action, int]:
    """denoising-diffusion-pytorch's U-Net and diffusion in a plain loop."""
    # The package imports torchvision, of which there may be none for this torch.
    if "torchvision" not in sys.modules:
        stub = type(sys)("torchvision")
        for part in ("transforms", "utils"):
            module = type(sys)(f"torchvision.{part}")
            setattr(stub, part, module)
            sys.modules[f"torchvision.{part}"] = module
        sys.modules["torchvision"] = stub
        sys.modules["pytorch_fid"] = type(sys)("pytorch_fid")
    from denoising_diffusion_pytorch.denoising_diffusion_pytorch import GaussianDiffusion, Unet

    network = Unet(dim=16, dim_mults=(1, 2), channels=1, flash_attn=False)
    diffusion = GaussianDiffusion(
        network, image_size=8, timesteps=1000, sampling_timesteps=50, objective="pred_v"
    ).to(device)
    optimizer = torch.optim.Adam(diffusion.parameters(), lr=1e-3)
    average = averaged(diffusion)
    data = TensorDataset(digits(device))
    batches = endless(DataLoader(data, DIFFUSION_BATCH, shuffle=True, drop_last=True))

    def train(n: int) -> None:
        for _ in range(n):
            (x,) = next(batches)
            loss = diffusion(x)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(diffusion.parameters(), 1.0)
            optimizer.step()
            average.update_parameters(diffusion)

    def sample(n: int) -> Tensor:
        return diffusion.sample(batch_size=n)

    return train, sample, size(network)


# GAN on the ring: perceptrons of three layers of 128, batch 256, one step of each network.


def gan_evogen(device: torch.device) -> tuple[Action, Action, int]:
    """Ours."""
    from evogen.models import GAN
    from evogen.models.rng import seeded_generator
    from evogen.models.toys import ring

    model = GAN(
        latent_dim=GAN_LATENT,
        hidden_generator=(GAN_HIDDEN,) * 3,
        hidden_discriminator=(GAN_HIDDEN,) * 3,
        batch_size=GAN_BATCH,
        device=str(device),
    )
    x = ring(TOY_POINTS, seeded_generator(0)).to(device)
    return ours(model, x, ("generator", "discriminator"))


def gan_plain(device: torch.device) -> tuple[Action, Action, int]:
    """A loop in the manner of torchgan's: each loss draws its noise and takes its own step."""
    from evogen.models.rng import seeded_generator
    from evogen.models.toys import ring

    def perceptron(n_in: int, n_out: int) -> nn.Module:
        layers: list[nn.Module] = []
        for a, b in pairwise((n_in, GAN_HIDDEN, GAN_HIDDEN, GAN_HIDDEN)):
            layers += [nn.Linear(a, b), nn.LeakyReLU(0.2)]
        return nn.Sequential(*layers, nn.Linear(GAN_HIDDEN, n_out)).to(device)

    generator, discriminator = perceptron(GAN_LATENT, 2), perceptron(2, 1)
    adams = [torch.optim.Adam(m.parameters(), 1e-3) for m in (generator, discriminator)]
    data = TensorDataset(ring(TOY_POINTS, seeded_generator(0)).to(device))
    batches = endless(DataLoader(data, GAN_BATCH, shuffle=True, drop_last=True))

    def noise() -> Tensor:
        return torch.randn(GAN_BATCH, GAN_LATENT, device=device)

    def train(n: int) -> None:
        for _ in range(n):
            (x,) = next(batches)
            adams[1].zero_grad()
            fake = generator(noise()).detach()
            (F.softplus(-discriminator(x)) + F.softplus(discriminator(fake))).mean().backward()
            adams[1].step()
            adams[0].zero_grad()
            F.softplus(-discriminator(generator(noise()))).mean().backward()
            adams[0].step()

    @torch.no_grad()
    def sample(n: int) -> Tensor:
        return generator(torch.randn(n, GAN_LATENT, device=device))

    return train, sample, size(generator, discriminator)


TASKS: dict[str, dict[str, Rival]] = {
    "VAE": {"evogen": vae_evogen, "pythae": vae_pythae, "plain loop": vae_plain},
    "DDPM": {"evogen": ddpm_evogen, "diffusers": ddpm_diffusers, "lucidrains": ddpm_lucidrains},
    "GAN": {"evogen": gan_evogen, "plain loop (as torchgan)": gan_plain},
}
STEPS = {"VAE": 720, "DDPM": 120, "GAN": 600}
SAMPLES = {"VAE": 20_000, "DDPM": 200, "GAN": 100_000}


def peak_memory(device: torch.device) -> float:
    """Peak of the process, or of the GPU, in MiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def measure(task: str, library: str, device: torch.device) -> dict[str, float]:
    """One process's figures."""
    torch.set_num_threads(1)
    before = peak_memory(device)
    train, sample, n_parameters = TASKS[task][library](device)

    def seconds(action: Action, n: int) -> float:
        clock = time.process_time if device.type == "cpu" else time.perf_counter
        start = clock()
        action(n)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return clock() - start

    warm = max(20, STEPS[task] // 6)
    seconds(train, warm)
    training = STEPS[task] / seconds(train, STEPS[task])
    # With the moving average and the optimizer's state; imports are in `before` for nobody.
    peak = peak_memory(device) - before
    seconds(sample, SAMPLES[task])
    sampling = SAMPLES[task] / seconds(sample, SAMPLES[task])
    return {"parameters": n_parameters, "steps": training, "samples": sampling, "memory": peak}


def table(found: dict[str, dict[str, list[dict[str, float]]]], device: str) -> str:
    """The page."""
    lines = [
        "| model | library | parameters | training steps per second | ratio | samples per second"
        " | ratio | peak MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for task, libraries in found.items():
        middle = {
            library: {key: median(run[key] for run in runs) for key in runs[0]}
            for library, runs in libraries.items()
        }
        own = middle["evogen"]
        for library, figures in middle.items():
            ratios = {
                key: "" if library == "evogen" else f"{own[key] / figures[key]:.2f}"
                for key in ("steps", "samples")
            }
            lines.append(
                f"| {task} | {library} | {figures['parameters']:.0f} | {figures['steps']:.1f} "
                f"| {ratios['steps']} | {figures['samples']:.0f} | {ratios['samples']} "
                f"| {figures['memory']:.0f} |"
            )
    header = (
        "# Speed beside other libraries\n\nWritten by `python benchmarks/model_rivals.py`; medians "
        f"of {max(len(r) for ls in found.values() for r in ls.values())} processes, device "
        f"{device}, torch {torch.__version__}, {platform.machine()}. Seconds are CPU seconds of "
        "one thread (wall seconds on a GPU). A ratio above 1 means that evogen is so many times "
        "faster than this line. What each line trains is in the script.\n\n"
    )
    return header + "\n".join(lines) + "\n"


def main() -> None:
    """Runs all processes by turns and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--task", choices=tuple(TASKS), action="append")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--measure", nargs=2, metavar=("TASK", "LIBRARY"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        task, library = args.measure
        print(json.dumps(measure(task, library, torch.device(args.device))))
        return
    found: dict[str, dict[str, list[dict[str, float]]]] = defaultdict(lambda: defaultdict(list))
    for repeat in range(args.repeats):
        for task in args.task or TASKS:
            for library in TASKS[task]:
                command = [sys.executable, __file__, "--device", args.device]
                done = subprocess.run(
                    [*command, "--measure", task, library], capture_output=True, text=True
                )
                if done.returncode:
                    reason = done.stderr.strip().splitlines()[-1]
                    print(f"{task} {library}: left out: {reason}", flush=True)
                    continue
                figures = json.loads(done.stdout.splitlines()[-1])
                found[task][library].append(figures)
                print(repeat, task, library, figures, flush=True)
    text = table(found, args.device)
    args.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
