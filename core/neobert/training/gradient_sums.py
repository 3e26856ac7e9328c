"""Gradients and counts summed over ranks: what one process has that works through the micro-batches of all.

A bucket of gradients is sent as soon as the last micro-batch's backward pass has finished it, while the pass goes on.
Buckets go in one order on all ranks, whatever order gradients come in. What no rank has a gradient for stays without:
an objective's head in the step of another, which the optimizer then leaves alone, as in one process.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import Protocol

import torch
from attrs import define, field, frozen
from torch import Tensor, nn
from torch import distributed as dist

from neobert.data import MicroBatch
from neobert.host_group import host_group
from neobert.interfaces import LossOutput
from neobert.training.meter import sum_dtype

BUCKET_BYTES = 25 * 2**20
"""Gradients are sent in messages of about so much."""


class Synchronizer(Protocol):
    """Makes a step's sums those of all ranks."""

    def watched(self, micro_batches: Sequence[MicroBatch]) -> Iterator[MicroBatch]:
        """The micro-batches, each asked for once the one before it has had its backward pass."""
        ...

    def finish(self, outputs: Sequence[LossOutput], count: Tensor) -> tuple[Sequence[LossOutput], Tensor]:
        """After the last: gradients are sums over all ranks. Returns outputs and their items that are, too."""
        ...


@frozen
class _OneProcess:
    """There is nobody to sum with."""

    def watched(self, micro_batches: Sequence[MicroBatch]) -> Iterator[MicroBatch]:
        return iter(micro_batches)

    def finish(self, outputs: Sequence[LossOutput], count: Tensor) -> tuple[Sequence[LossOutput], Tensor]:
        return outputs, count


ONE_PROCESS = _OneProcess()


@define(eq=False)
class Bucket:
    """Parameters whose gradients are sent together."""

    parameters: dict[int, nn.Parameter]
    """By their place among all."""
    group: dist.ProcessGroup | None
    missing: set[int] = field(factory=set)
    """Places whose gradient is not finished in this step."""
    _flat: Tensor | None = None
    _work: dist.Work | None = None

    @property
    def sent(self) -> bool:
        return self._work is not None

    def begin(self) -> None:
        """A new step."""
        self.missing, self._flat, self._work = set(self.parameters), None, None

    def send(self) -> None:
        """Copies the gradients, zeros where there is none, and begins to sum them; they stay as they are."""
        gradients = (torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters.values())
        self._flat = torch.cat([gradient.flatten() for gradient in gradients])
        self._work = dist.all_reduce(self._flat, group=self.group, async_op=True)

    def take(self, places: Collection[int]) -> None:
        """The sums become the gradients of these."""
        assert self._work is not None
        assert self._flat is not None
        self._work.wait()
        pieces = torch.split(self._flat, [p.numel() for p in self.parameters.values()])
        for (place, parameter), piece in zip(self.parameters.items(), pieces, strict=True):
            if place in places:
                parameter.grad = piece.view_as(parameter)
        self._flat = None


class GradientSums:
    """Sums whole gradients over ranks that each have all weights."""

    def __init__(self, module: nn.Module, bucket_bytes: int = BUCKET_BYTES) -> None:
        self._parameters = [p for p in module.parameters() if p.requires_grad]
        self._bucket_bytes = bucket_bytes
        # Of their own: a loss may send something in its backward pass, before or after a bucket as it happens.
        self._group = dist.new_group()
        self._early: set[int] | None = None
        """Places of the parameters that every step so far had a gradient for, on some rank: sent during the backward
        pass. None before the first step, when that is not known."""
        self._buckets: list[Bucket] = []
        self._bucket_of: dict[int, Bucket] = {}
        self._next = 0
        """The bucket that is to be sent next."""
        self._again: set[int] = set()
        """Places that got more gradient after they were sent."""
        self._sending = False
        for place, parameter in enumerate(self._parameters):
            parameter.register_post_accumulate_grad_hook(partial(self._arrived, place))  # type: ignore[no-untyped-call]

    def watched(self, micro_batches: Sequence[MicroBatch]) -> Iterator[MicroBatch]:
        yield from micro_batches[:-1]
        self._again, self._next, self._sending = set(), 0, True
        for bucket in self._buckets:
            bucket.begin()
        yield micro_batches[-1]

    def finish(self, outputs: Sequence[LossOutput], count: Tensor) -> tuple[Sequence[LossOutput], Tensor]:
        self._sending = False
        for bucket in self._buckets[self._next :]:
            bucket.send()
        present, again = self._of_all_ranks()
        in_time = present & (self._early or set()) - again
        late = self._in_buckets(present - in_time)
        for bucket in late:
            bucket.send()
        summed = sum_outputs(outputs, count)
        for bucket in self._buckets:
            bucket.take(in_time)
        for bucket in late:
            bucket.take(present)
        self._learn(present - again)
        return [summed], summed.count

    def _arrived(self, place: int, _parameter: Tensor) -> None:
        """A gradient was added to, in the backward pass."""
        bucket = self._bucket_of.get(place)
        if not self._sending or bucket is None:
            return
        if bucket.sent:
            self._again.add(place)
        bucket.missing.discard(place)
        while self._next < len(self._buckets) and not self._buckets[self._next].missing:
            self._buckets[self._next].send()
            self._next += 1

    def _of_all_ranks(self) -> tuple[set[int], set[int]]:
        """Places that any rank has a gradient for, and those that got more on any after they were sent."""
        facts = torch.zeros(2, len(self._parameters), dtype=torch.uint8)
        facts[0] = torch.tensor([p.grad is not None for p in self._parameters])
        facts[1, sorted(self._again)] = 1
        dist.all_reduce(facts, dist.ReduceOp.MAX, group=host_group())
        present, again = ({int(place) for place in row.nonzero()} for row in facts)
        return present, again

    def _learn(self, steady: set[int]) -> None:
        """What is sent early from the next step on."""
        early = steady if self._early is None else self._early & steady
        if early != self._early:
            self._early, self._buckets = early, self._in_buckets(early)
            self._bucket_of = {place: bucket for bucket in self._buckets for place in bucket.parameters}

    def _in_buckets(self, places: Iterable[int]) -> list[Bucket]:
        """The last parameters first: their gradients come first. One dtype and device a bucket."""
        buckets: list[Bucket] = []
        kind, size = None, 0
        for place in sorted(places, reverse=True):
            parameter = self._parameters[place]
            if (parameter.dtype, parameter.device) != kind or size >= self._bucket_bytes:
                buckets.append(Bucket({}, self._group))
                kind, size = (parameter.dtype, parameter.device), 0
            buckets[-1].parameters[place] = parameter
            size += parameter.nbytes
        return buckets


def sum_outputs(outputs: Sequence[LossOutput], count: Tensor) -> LossOutput:
    """Total and items of all ranks, on the device."""
    total = torch.stack([output.total.to(count.device) for output in outputs]).sum()
    dtype = sum_dtype(count.device)
    sums = torch.stack((total.to(dtype), count.to(dtype)))
    dist.all_reduce(sums)
    return LossOutput(sums[0], sums[1], {})
