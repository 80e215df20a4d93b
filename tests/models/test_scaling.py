"""Scaling of features to and from model units."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evogen.models.scaling import Scaler

KINDS = ["standard", "unit", "symmetric", "none"]
tables = arrays(
    np.float64, st.tuples(st.integers(1, 6), st.integers(1, 3)), elements=st.floats(-1e30, 1e30)
)


@settings(max_examples=60, deadline=None)
@given(x=tables, kind=st.sampled_from(KINDS))
def test_there_and_back_is_the_data_at_any_scale(x, kind):
    rows = torch.as_tensor(x)
    scaler = Scaler.from_data(rows, kind)
    normal = scaler.normalize(rows)
    assert torch.isfinite(normal).all()
    back = scaler.denormalize(normal).double()
    spread = rows.max(0).values - rows.min(0).values
    assert ((back - rows).abs() <= 1e-6 * (spread + rows.abs()) + 1e-40).all()


@pytest.mark.parametrize("kind", KINDS)
def test_scaled_data_have_the_promised_range(kind):
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)).double() * 7 + 3
    z = Scaler.from_data(x, kind).normalize(x)
    if kind == "standard":
        assert torch.allclose(z.mean(0), torch.zeros(3).double(), atol=1e-6)
        assert torch.allclose(z.std(0, correction=0), torch.ones(3).double())
    elif kind == "none":
        assert torch.equal(z, x)
    else:
        low = 0.0 if kind == "unit" else -1.0
        assert torch.allclose(z.min(0).values, torch.full((3,), low).double())
        assert torch.allclose(z.max(0).values, torch.ones(3).double())


@pytest.mark.parametrize("value", [0.1, 0.0, -1e12, 1e-300])
def test_a_constant_column_comes_back_exactly(value):
    x = torch.full((7, 1), value, dtype=torch.float64)
    scaler = Scaler.from_data(x, "standard")
    assert scaler.scale.item() == 1
    assert torch.equal(scaler.denormalize(torch.randn(5, 1)), x[:5].float())


def test_what_is_not_finite_becomes_finite():
    scaler = Scaler.from_data(torch.tensor([[0.0], [2.0]]).double(), "standard")
    bad = torch.tensor([[torch.nan], [torch.inf], [-torch.inf], [3e38]])
    assert scaler.denormalize(bad).tolist()[:3] == [[1.0], [11.0], [-9.0]]
    assert torch.isfinite(scaler.denormalize(bad)).all()
