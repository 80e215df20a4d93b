"""Evolutionary optimization whose offspring come from generative models.

`evogen.minimize` runs one optimization, `evogen.minimize_multitask` several problems together;
`evogen.problems`, `evogen.algorithms`, `evogen.operators`, `evogen.models` and
`evogen.experiment` hold the parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evogen._version import __version__

if TYPE_CHECKING:
    from evogen.experiment import minimize as minimize
    from evogen.experiment import minimize_multitask as minimize_multitask

__all__ = ["__version__", "minimize", "minimize_multitask"]


def __getattr__(name: str) -> Any:
    # Imported on first use: `evogen --help` must not wait for torch.
    if name == "minimize":
        from evogen.experiment import minimize

        return minimize
    if name == "minimize_multitask":
        from evogen.experiment import minimize_multitask

        return minimize_multitask
    raise AttributeError(f"module 'evogen' has no attribute {name!r}")
