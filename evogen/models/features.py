"""What images are seen by: the features of a small classifier of one's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evogen.models.base import Rows
from evogen.models.checks import ItemKind, as_labels, check_number, check_widths
from evogen.models.layers import Conv2d, Linear
from evogen.models.neural import SingleLossModel, take_batches
from evogen.models.rng import normal
from evogen.models.serialization import register
from evogen.models.training import Callback, Schedule

CHUNK_ROWS = 1024
SIDE = 4
"""Height and width that the last pooling leaves."""


class Classifier(nn.Module):
    """Convolutions, pooling, features, classes.

    3 x 3 convolutions with ReLU; between them 2 x 2 max pooling while a side is longer than 8;
    after the last one max pooling to 4 x 4; then the features (ReLU), then the logits.

    Args:
        item_shape: `(c, h, w)`.
        n_classes: Number of classes.
        channels: Channels of the convolutions.
        n_features: Number of features.
    """

    def __init__(
        self, item_shape: Sequence[int], n_classes: int, *, channels: Sequence[int], n_features: int
    ) -> None:
        super().__init__()
        self.item_shape = tuple(item_shape)
        n_in, h, w = self.item_shape
        self.convolutions = nn.ModuleList(
            Conv2d(a, b, 3, padding=1) for a, b in pairwise((n_in, *channels))
        )
        self.side = (min(SIDE, h), min(SIDE, w))
        width = (channels[-1] if channels else n_in) * self.side[0] * self.side[1]
        self.features = Linear(width, n_features)
        self.classes = Linear(n_features, n_classes)

    def encode(self, x: Tensor) -> Tensor:
        """Features `(n, n_features)`, >= 0, of rows `(n, c h w)`."""
        x = x.view(-1, *self.item_shape)
        for i, convolution in enumerate(self.convolutions):
            if i > 0 and max(x.shape[2:]) > 2 * SIDE:
                x = F.max_pool2d(x, 2, ceil_mode=True)
            x = F.relu(convolution(x))
        x = F.adaptive_max_pool2d(x, self.side).flatten(1)
        return F.relu(self.features(x))

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(n, n_classes)` of rows `(n, c h w)`."""
        logits: Tensor = self.classes(self.encode(x))
        return logits


@register
@dataclass(kw_only=True, eq=False, repr=False)
class ImageFeatures(SingleLossModel):
    """A convolutional classifier whose features tell how alike two sets of images are.

    Trained on labelled images, it takes the part that Inception has for photographs (Heusel et
    al. 2017): `metrics.frechet_distance(x, y, features=net)`. Distances by another network are
    other numbers, so compare models by one and the same, and measure some simple model with it.
    It does not learn a distribution, so `sample` is refused. On 8 x 8 digits about 98 % of the
    held-out ones are told right.

    Attributes:
        channels: Channels of the 3 x 3 convolutions; see `Classifier` for the pooling.
        n_hidden: Number of features.
        noise: Standard deviation of the Gaussian noise on the images while learning, in units of
            their numbers in [0, 1].
        classes_: Labels in rising order.
    """

    items: ClassVar[tuple[ItemKind, ...]] = ("images",)

    channels: Sequence[int] = (32, 64)
    n_hidden: int = 64
    noise: float = 0.05
    n_steps: int = 400
    batch_size: int | None = 64
    lr: float = 2e-3
    schedule: Schedule = "cosine"

    def check_params(self) -> None:
        """Raises TypeError or ValueError for a parameter that cannot be right."""
        super().check_params()
        check_widths("channels", self.channels)
        check_number("n_hidden", self.n_hidden, low=1, high=1 << 16, integer=True)
        check_number("noise", self.noise, low=0)

    def network(self) -> nn.Module:
        """The new network."""
        return Classifier(
            self.item_shape_, self.n_condition_, channels=self.channels, n_features=self.n_hidden
        )

    # Learning.

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        n_steps: int | None = None,
        generator: torch.Generator | None = None,
        callback: Callback | Sequence[Callback] | None = None,
    ) -> ImageFeatures:
        """Learns to classify; called again, it goes on from where it was (`reset` starts anew).

        Args:
            x: Images `(n, c, h, w)` in [0, 1], n >= 1.
            y: Labels `(n,)`, integers; the first fit decides which there are.
            n_steps: Number of training steps; None for the parameter of the same name.
            generator: Source of all random numbers; None for the model's own.
            callback: As in `GenerativeModel.fit`.

        Returns:
            self.

        Raises:
            TypeError: x does not hold real numbers, or y no integers.
            ValueError: A wrong shape, no rows, NaN or inf, images outside [0, 1], another shape
                or other labels than in earlier fits, or an unknown device.

        Warns:
            TrainingDiverged: The last good weights were restored.
        """
        labels = as_labels("y", y)
        super().fit(x, labels, n_steps=n_steps, generator=generator, callback=callback)
        return self

    def sample(
        self, n: int, condition: Any = None, *, generator: torch.Generator | None = None
    ) -> NoReturn:
        """Raises TypeError: there is no distribution of images here."""
        raise TypeError("ImageFeatures is a classifier and has no samples; use features or predict")

    def generate(self, n: int, condition: Tensor | None, generator: torch.Generator) -> NoReturn:
        """Raises TypeError: there is no distribution of images here."""
        self.sample(n)

    def draw_batches(
        self, rows: Rows, n_batches: int, generator: torch.Generator
    ) -> tuple[Tensor | None, ...]:
        """Noisy images and classes, for `n_batches` batches along the first axis."""
        assert rows.condition is not None
        index = self.draw_rows(rows.x.shape[0], n_batches, generator)
        x = take_batches(rows.x, index, n_batches)
        drawn = normal(tuple(x.shape), generator, device=self.device_)
        x = torch.addcmul(x, drawn, (self.noise / self.scaler_.scale).to(x.dtype))
        return x, take_batches(rows.condition, index, n_batches)

    def loss(self, x: Tensor, classes: Tensor) -> Tensor:
        """Cross-entropy, mean per image in nats."""
        logits = self.weights_["network"].module(x)
        return F.cross_entropy(logits, classes)

    # Use.

    def _by_parts(self, x: Any, see: Callable[[Tensor], Tensor]) -> Tensor:
        """What `see` makes of scaled rows, some at a time: images take much memory on the way."""
        return torch.cat([see(part) for part in self.prepare_x(x).split(CHUNK_ROWS)]).float()

    def _network(self) -> Classifier:
        self.check_fitted()
        network = self.sampler("network")
        assert isinstance(network, Classifier)
        return network

    @torch.no_grad()
    def features(self, x: Any) -> Tensor:
        """Features `(n, n_hidden)`, >= 0, of images `(n, c, h, w)`."""
        network = self._network()
        with self.autocast():
            return self._by_parts(x, network.encode)

    @torch.no_grad()
    def predict_proba(self, x: Any) -> Tensor:
        """Probabilities of the classes `(n, k)`, in the order of `classes_`."""
        network = self._network()
        with self.autocast():
            return torch.softmax(self._by_parts(x, network), dim=1)

    def predict(self, x: Any) -> Tensor:
        """The most probable label of each image, int64 `(n,)`."""
        best = self.predict_proba(x).argmax(dim=1).cpu()
        assert self.classes_ is not None
        return self.classes_[best]
