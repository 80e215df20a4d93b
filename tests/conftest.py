import random

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def same_numbers_in_any_order():
    """What a test draws from a global generator depends on no test before it."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
