"""Sums between two log lines, kept on the device and read back only when they are logged."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from neobert.interfaces import LossOutput
from neobert.training.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from collections.abc import Iterator


def sum_dtype(device: torch.device) -> torch.dtype:
    """What sums over many batches are kept in: the widest that the device has."""
    return torch.float32 if device.type == "mps" else torch.float64


class Meter:
    """What has been summed since the last log line; its state is saved, so a resumed run logs the same numbers.

    Sums of several objectives are apart: each one's names begin with a prefix of its own, ``NAME/``.
    """

    def __init__(self, device: torch.device) -> None:
        self._dtype = sum_dtype(device)
        self._device = device
        self._sums: dict[str, Tensor] = {}

    def add(self, output: LossOutput, prefix: str = "") -> None:
        """Adds one micro-batch's sums."""
        for bare, value in {**output.metrics, "loss": output.total, "": output.count}.items():
            name, value = prefix + bare, torch.as_tensor(value).detach().to(self._dtype)
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()

    def read(self, ranks: Ranks = ALONE, *, reset: bool = True) -> dict[str, float]:
        """Means since the last reset (one sync), over all ``ranks``, each of which has to ask."""
        sums = self.state(ranks)
        if reset:
            self._sums = {}
        means: dict[str, float] = {}
        # A count's name is its prefix alone.
        for prefix in [name for name in sums if not name or name.endswith("/")]:
            count = max(sums[prefix], 1.0)
            own = {name: value / count for name, value in sums.items() if name.startswith(prefix) and name != prefix}
            means |= own
            if (loss := own.get(f"{prefix}loss")) is not None:
                means[f"{prefix}perplexity"] = perplexity(loss)
        return means

    def state(self, ranks: Ranks = ALONE) -> dict[str, float]:
        """The sums over all ``ranks`` as numbers, for a checkpoint."""
        return ranks.summed({name: float(value) for name, value in self._sums.items()})

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from a checkpoint's sums."""
        self._sums = {
            name: torch.tensor(value, dtype=self._dtype, device=self._device) for name, value in state.items()
        }


class Clock:
    """Seconds spent training: time inside `pause` (evaluating, saving) is left out."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._paused = 0.0
        self.waited = 0.0
        """Seconds of them inside `wait`."""

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._started - self._paused

    @contextmanager
    def pause(self) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            self._paused += time.perf_counter() - begun

    @contextmanager
    def wait(self) -> Iterator[None]:
        """Time inside is spent waiting for data."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.waited += time.perf_counter() - begun


def perplexity(loss: float) -> float:
    """exp(loss), and infinity where that is no float."""
    return math.exp(loss) if loss < 700.0 else math.inf
