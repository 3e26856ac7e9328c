"""An exponential moving average of the weights, kept beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from neobert.recipe.stability import EmaOptions
from neobert.shards import any_sharded, local


class WeightAverage:
    """The average of every trained parameter, in fp32 (or wider, where a parameter is), on the parameter's device.

    After a step: ``average += (1 - d) * (weight - average)``, with ``d = min(decay, (1 + n) / (10 + n))`` after n such
    updates, or ``decay`` alone without warm-up. Buffers are no part of it: what uses the average uses the model's own.
    """

    def __init__(self, module: nn.Module, options: EmaOptions) -> None:
        self.options = options
        self.updates = 0
        named = {name: weight for name, weight in module.named_parameters() if weight.requires_grad}
        self._names, self._weights = list(named), list(named.values())
        self._averages: list[Tensor] = []
        self.begin()

    @torch.no_grad()
    def begin(self) -> None:
        """Starts from the weights as they are."""
        self.updates = 0
        self._averages = [
            weight.detach().to(torch.promote_types(weight.dtype, torch.float32), copy=True) for weight in self._weights
        ]

    @property
    def decay(self) -> float:
        """That of the next update."""
        decay, done = self.options.decay, self.updates
        return min(decay, (1 + done) / (10 + done)) if self.options.warmup else decay

    @torch.no_grad()
    def update(self) -> None:
        """Takes the weights in, once after each step. Nothing is read back to the host."""
        averages = [local(average) for average in self._averages]
        weights = [
            local(weight.detach()).to(average.dtype) for weight, average in zip(self._weights, averages, strict=True)
        ]
        torch._foreach_lerp_(averages, weights, 1.0 - self.decay)
        self.updates += 1

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has the averaged weights inside, and its own again after it, however it ends.

        Only which memory a parameter points at changes, and back: nothing is copied, and not a bit is lost. Of weights
        in parts, which are put together from that very memory, the values change places.
        """
        if any_sharded(self._weights):
            with self._copied():
                yield
            return
        own = [weight.data for weight in self._weights]
        try:
            for weight, average in zip(self._weights, self._averages, strict=True):
                weight.data = average.to(weight.dtype)
            yield
        finally:
            for weight, before in zip(self._weights, own, strict=True):
                weight.data = before

    @contextmanager
    def _copied(self) -> Iterator[None]:
        weights = [local(weight.detach()) for weight in self._weights]
        own = [weight.clone() for weight in weights]
        try:
            for weight, average in zip(weights, self._averages, strict=True):
                weight.copy_(local(average))
            yield
        finally:
            for weight, before in zip(weights, own, strict=True):
                weight.copy_(before)

    def state(self) -> dict[str, Tensor]:
        """Parameter name -> its average."""
        return dict(zip(self._names, self._averages, strict=True))

    @torch.no_grad()
    def load(self, averages: Mapping[str, Tensor], updates: int) -> None:
        """Goes on from a saved average. Raises ValueError for one of other parameters."""
        other = sorted(averages.keys() ^ set(self._names))
        if other:
            msg = f"the saved average is not one of these weights; only one of the two has {', '.join(other)}"
            raise ValueError(msg)
        for name, own in zip(self._names, self._averages, strict=True):
            own.copy_(averages[name])
        self.updates = updates
