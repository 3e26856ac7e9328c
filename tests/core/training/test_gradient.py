"""The gradient of a step is the mean over all its items, however they came."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from neobert.training.gradient import finish_gradients


def _summed_gradient(parts: list[torch.Tensor]) -> nn.Linear:
    torch.manual_seed(0)
    linear = nn.Linear(4, 3, dtype=torch.float64)
    for part in parts:
        linear(part).square().sum().backward()
    return linear


def test_splits_give_the_mean_over_all_items() -> None:
    items = torch.randn(12, 4, dtype=torch.float64)
    whole, split = _summed_gradient([items]), _summed_gradient([items[:1], items[1:9], items[9:]])
    for linear in (whole, split):
        finish_gradients(linear.parameters(), torch.tensor(12.0), None)
    torch.manual_seed(0)
    plain = nn.Linear(4, 3, dtype=torch.float64)
    plain(items).square().sum(-1).mean().backward()
    for got in (whole, split):
        torch.testing.assert_close(got.weight.grad, plain.weight.grad, rtol=1e-6, atol=0)


def test_clipping_is_torchs_own() -> None:
    items = torch.randn(12, 4, dtype=torch.float64)
    ours, theirs = _summed_gradient([items]), _summed_gradient([items])
    norm = finish_gradients(ours.parameters(), torch.tensor(1.0), 0.5)
    expected = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
    torch.testing.assert_close(norm.double(), expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, rtol=1e-5, atol=0)


def test_a_step_without_items_has_zero_gradients() -> None:
    linear = _summed_gradient([torch.zeros(0, 4, dtype=torch.float64)])
    norm = finish_gradients(linear.parameters(), torch.tensor(0.0), 1.0)
    assert float(norm) == pytest.approx(0.0)
    assert torch.equal(linear.weight.grad, torch.zeros_like(linear.weight))
