"""Evolutionary optimization whose offspring come from generative models.

`evogen.minimize` runs one optimization, `evogen.minimize_multitask` several problems together;
`evogen.problems`, `evogen.algorithms`, `evogen.operators`, `evogen.models` and
`evogen.experiment` hold the parts.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from evogen._version import __version__

if TYPE_CHECKING:
    from evogen.experiment import minimize as minimize
    from evogen.experiment import minimize_multitask as minimize_multitask

__all__ = ["__version__", "minimize", "minimize_multitask"]

# In a checkout, evogen.problems is the folder beside this one. Python in that directory takes this
# folder for the package, whatever is installed, and would not find it.
_checkout = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if os.path.isfile(os.path.join(_checkout, "problems", "registry.py")):
    __path__.append(_checkout)


def __getattr__(name: str) -> Any:
    # Imported on first use: `evogen --help` must not wait for torch.
    if name == "minimize":
        from evogen.experiment import minimize

        return minimize
    if name == "minimize_multitask":
        from evogen.experiment import minimize_multitask

        return minimize_multitask
    raise AttributeError(f"module 'evogen' has no attribute {name!r}")
