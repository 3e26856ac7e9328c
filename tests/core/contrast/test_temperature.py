"""A temperature that is learned stays between its bounds, and can leave them again."""

from __future__ import annotations

import math

import pytest
import torch

from neobert.contrast import Temperature
from neobert.contrast.options import COLDEST, WARMEST


def test_one_that_is_given_is_no_parameter():
    temperature = Temperature(0.05)
    assert temperature() == 1 / 0.05
    assert list(temperature.parameters()) == []
    assert temperature.metrics(torch.tensor(4)) == {}


def test_one_that_is_learned_begins_where_it_is_told():
    temperature = Temperature(0.05, learned=True).double()
    torch.testing.assert_close(temperature(), torch.tensor([20.0], dtype=torch.float64), rtol=1e-6, atol=0)
    torch.testing.assert_close(temperature.metrics(torch.tensor(4))["temperature"].item(), 0.2, rtol=1e-6, atol=0)
    assert torch.autograd.gradcheck(lambda _: temperature(), temperature.log_scale)


@pytest.mark.parametrize(
    ("log_scale", "expected", "sign", "moves"),
    [
        (9.0, 1 / COLDEST, -1.0, False),
        (9.0, 1 / COLDEST, 1.0, True),
        (-3.0, 1 / WARMEST, 1.0, False),
        (-3.0, 1 / WARMEST, -1.0, True),
        (math.log(1 / COLDEST), 1 / COLDEST, -1.0, False),
        (2.0, math.exp(2.0), 1.0, True),
        (2.0, math.exp(2.0), -1.0, True),
    ],
)
def test_beyond_a_bound_only_what_leads_back_moves_it(log_scale, expected, sign, moves):
    temperature = Temperature(0.05, learned=True).double()
    with torch.no_grad():
        temperature.log_scale.fill_(log_scale)
    scale = temperature()
    torch.testing.assert_close(scale.item(), expected)
    (sign * scale).sum().backward()
    assert bool(temperature.log_scale.grad != 0) == moves
