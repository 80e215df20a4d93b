"""Optimizers on one flat tensor of parameters.

They exist beside `torch.optim` because models are trained every generation of an optimizer for
some dozen short steps: constructing `torch.optim.Adam` imports torch's compiler (about a second
per process), and its step costs twice as much on small networks.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Adam:
    """Adam (Kingma and Ba 2015, algorithm 1, with the bias corrections of section 2).

    Args:
        flat: Parameters `(size,)`, without autograd.
        grad: Their gradient `(size,)`, read at every step.
        lr: Learning rate.
        betas: Decay rates of the averages of the gradient and of its square.
        eps: Added to the root of the second average.

    Attributes:
        lr: Learning rate; may be changed between steps.
        n_steps: Steps done.
    """

    def __init__(
        self,
        flat: Tensor,
        grad: Tensor,
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        self.flat = flat
        self.grad = grad
        self.lr = lr
        self.betas = betas
        self.eps = eps
        self.n_steps = 0
        self.exp_avg = torch.zeros_like(flat)
        self.exp_avg_sq = torch.zeros_like(flat)
        self._root = torch.empty_like(flat)

    def step(self) -> None:
        """Moves the parameters along the present gradient."""
        self.n_steps += 1
        beta1, beta2 = self.betas
        # Both corrections folded into two numbers, so that no tensor has to be divided.
        correction = math.sqrt(1 - beta2**self.n_steps)
        rate = self.lr * correction / (1 - beta1**self.n_steps)
        self.exp_avg.lerp_(self.grad, 1 - beta1)
        self.exp_avg_sq.mul_(beta2).addcmul_(self.grad, self.grad, value=1 - beta2)
        torch.sqrt(self.exp_avg_sq, out=self._root)
        self._root.add_(self.eps * correction)
        self.flat.addcdiv_(self.exp_avg, self._root, value=-rate)

    def state(self) -> dict[str, Tensor]:
        """What changes from step to step, besides the parameters; see `load_state`."""
        return {
            "exp_avg": self.exp_avg,
            "exp_avg_sq": self.exp_avg_sq,
            "n_steps": torch.tensor(self.n_steps),
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Copies a state made by `state` of an optimizer of the same size."""
        self.exp_avg.copy_(state["exp_avg"])
        self.exp_avg_sq.copy_(state["exp_avg_sq"])
        self.n_steps = int(state["n_steps"])
