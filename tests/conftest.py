import os
import random

# Two test processes with as many threads each as there are cores keep each other waiting: the suite
# takes several times as long. Set before the libraries are loaded; the processes inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def same_numbers_in_any_order():
    """What a test draws from a global generator depends on no test before it."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
