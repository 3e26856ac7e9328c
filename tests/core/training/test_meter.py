"""Means come from sums and counts, and a restored meter reads the same."""

from __future__ import annotations

import json
import math

import torch

from neobert.interfaces import LossOutput
from neobert.training.meter import Meter, perplexity


def _output(total: float, count: float) -> LossOutput:
    return LossOutput(torch.tensor(total), torch.tensor(count), {"right": torch.tensor(count / 2)})


def test_means_are_sums_over_counts() -> None:
    meter = Meter(torch.device("cpu"))
    for total, count in ((6.0, 2.0), (0.0, 0.0), (4.0, 8.0)):
        meter.add(_output(total, count))
    assert meter.read(reset=False) == {"loss": 1.0, "right": 0.5, "perplexity": math.e}
    restored = Meter(torch.device("cpu"))
    restored.restore(json.loads(json.dumps(meter.state())))
    assert restored.read() == meter.read()
    assert meter.read() == {}


def test_perplexity_of_a_hopeless_loss_is_infinite() -> None:
    assert perplexity(1e9) == math.inf


def test_the_cores_own_names_are_not_a_losss_to_take() -> None:
    meter = Meter(torch.device("cpu"))
    meter.add(LossOutput(torch.tensor(6.0), torch.tensor(2), {"loss": torch.tensor(1.0), "share": 0.5}))
    assert meter.read() == {"loss": 3.0, "share": 0.25, "perplexity": math.exp(3.0)}
