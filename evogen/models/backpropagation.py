"""Forward and backward passes of a plain perceptron without autograd.

On the small networks that an optimizer trains every generation, autograd's bookkeeping costs
more than the arithmetic. A loss whose gradient at the network's output is known in closed form
can be pushed back through the layers directly, in less than half the time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from evogen.models.networks import LEAKY_SLOPE, MLP

_aten = torch.ops.aten

# Gradient at an activation's input, from the gradient at its output g, its input a, its output y.
DERIVATIVES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "tanh": lambda g, a, y: _aten.tanh_backward.default(g, y),
    "sigmoid": lambda g, a, y: _aten.sigmoid_backward.default(g, y),
    "relu": lambda g, a, y: _aten.threshold_backward.default(g, y, 0),
    "leaky_relu": lambda g, a, y: _aten.leaky_relu_backward.default(g, a, LEAKY_SLOPE, False),
    "elu": lambda g, a, y: _aten.elu_backward.default(g, 1.0, 1.0, 1.0, False, a),
    "gelu": lambda g, a, y: _aten.gelu_backward.default(g, a),
    "silu": lambda g, a, y: _aten.silu_backward.default(g, a),
    "linear": lambda g, a, y: g,
}


@dataclass
class Pass:
    """A forward pass: inputs of the layers, their values before activation, and the output."""

    inputs: list[Tensor]
    values: list[Tensor]
    output: Tensor


class PlainMLP:
    """Explicit passes through the weights of an `MLP`, which it shares.

    Args:
        mlp: A network for which `supports` is true, whose gradients are allocated (see `Weights`).
    """

    def __init__(self, mlp: MLP) -> None:
        layers = [*mlp.linear_layers]
        names = [mlp.activation_name] * (len(layers) - 1) + [mlp.output_name]
        self.activations = [mlp.activation] * (len(layers) - 1)
        self.output_activation = mlp.output_activation
        self.derivatives = [DERIVATIVES[name] for name in names]
        self.weights = [layer.weight.detach() for layer in layers]
        self.transposed = [weight.t() for weight in self.weights]
        self.biases = [layer.bias.detach() for layer in layers]
        self.weight_grads = [layer.weight.grad for layer in layers]
        self.bias_grads = [layer.bias.grad for layer in layers]

    @staticmethod
    def supports(mlp: object) -> bool:
        """Whether a network is an `MLP` itself, of its inputs alone, without norms and FiLM."""
        if type(mlp) is not MLP or mlp.n_octaves:
            return False
        return not mlp.norms and not mlp.films and mlp.output_norm is None

    def forward(self, x: Tensor) -> Pass:
        """Maps `(n, n_in)`, condition included, and remembers what `backward` needs."""
        inputs, values = [], []
        for weight, bias, activation in zip(
            self.transposed, self.biases, self.activations, strict=False
        ):
            inputs.append(x)
            value = torch.addmm(bias, x, weight)
            values.append(value)
            x = activation(value)
        inputs.append(x)
        value = torch.addmm(self.biases[-1], x, self.transposed[-1])
        values.append(value)
        output = value if self.output_activation is None else self.output_activation(value)
        return Pass(inputs, values, output)

    def backward(
        self, done: Pass, grad: Tensor, *, to_weights: bool = True, to_input: bool = False
    ) -> Tensor | None:
        """Pushes the gradient at the output back.

        Args:
            done: The forward pass.
            grad: Gradient at its output `(n, n_out)`.
            to_weights: Whether to overwrite the gradients of weights and biases.
            to_input: Whether to go on to the input.

        Returns:
            Gradient at the input `(n, n_in)`, if asked for.
        """
        output = done.output
        for i in range(len(self.weights) - 1, -1, -1):
            grad = self.derivatives[i](grad, done.values[i], output)
            output = done.inputs[i]
            if to_weights:
                torch.mm(grad.t(), output, out=self.weight_grads[i])
                torch.sum(grad, 0, out=self.bias_grads[i])
            if i == 0 and not to_input:
                return None
            grad = grad.mm(self.weights[i])
        return grad


def join(x: Tensor, condition: Tensor | None) -> Tensor:
    """Rows with their conditions appended, as `MLP` does it, if there are any."""
    return x if condition is None else torch.cat((x, condition), dim=1)
