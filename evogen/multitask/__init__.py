"""Several problems solved together: their common space, the loop that runs them, its results."""

from evogen.multitask.loop import MultitaskAlgorithm
from evogen.multitask.problem import MultitaskProblem
from evogen.multitask.run import MultitaskResult, minimize_multitask
from evogen.multitask.state import TaskState

__all__ = [
    "MultitaskAlgorithm",
    "MultitaskProblem",
    "MultitaskResult",
    "TaskState",
    "minimize_multitask",
]
