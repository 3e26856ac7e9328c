"""The processes of a run and what they tell each other. One that runs alone tells nobody, and waits for nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from attrs import evolve, frozen
from torch import Tensor
from torch import distributed as dist

from neobert.files import new_directory
from neobert.host_group import host_group, new_host_group


@frozen
class Ranks:
    """This process among those of its run. What is told are JSON values, from host to host: no device is waited for.

    Every method but `first` and `alone` has to be called by all ranks alike, in the same order.
    """

    rank: int = 0
    world_size: int = 1
    group: dist.ProcessGroup | None = None
    """Who carries what is told; unset: whoever carries the host's tensors."""

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        return self.world_size == 1

    def apart(self) -> Ranks:
        """The same processes with a line of their own, so that a thread can talk beside another."""
        return self if self.alone else evolve(self, group=new_host_group())

    def gather(self, value: Any) -> list[Any]:
        """The values of all ranks, by rank."""
        if self.alone:
            return [value]
        mine = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        sizes = torch.zeros(self.world_size, dtype=torch.int64)
        sizes[self.rank] = len(mine)
        group = self.group or host_group()
        dist.all_reduce(sizes, group=group)
        texts = [torch.zeros(int(sizes.max()), dtype=torch.uint8) for _ in range(self.world_size)]
        padded = torch.zeros_like(texts[0])
        padded[: len(mine)] = mine
        dist.all_gather(texts, padded, group=group)
        return [json.loads(text[:size].numpy().tobytes()) for text, size in zip(texts, sizes.tolist(), strict=True)]

    def from_first(self, work: Callable[[], Any]) -> Any:
        """What ``work`` gives on the first rank, which alone does it while the others wait: a JSON value.

        Where it fails, the first rank raises, and the others end with it.
        """
        if self.alone:
            return work()
        return self.gather(work() if self.first else None)[0]

    def wait(self) -> None:
        """Until all ranks are here."""
        self.gather(None)

    def summed(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """The sum over ranks by name, in the order of ranks; of names that not every rank has, too."""
        sums: dict[str, float] = {}
        for own in self.gather(dict(numbers)):
            for name, value in own.items():
                sums[name] = sums[name] + value if name in sums else value
        return sums

    def sum_tensor(self, tensor: Tensor) -> Tensor:
        """The sum over ranks, on the tensor's device; the tensor itself holds it then."""
        if not self.alone:
            dist.all_reduce(tensor)
        return tensor

    @contextmanager
    def new_directory(self, path: Path) -> Iterator[Path]:
        """`neobert.files.new_directory` for all ranks to write into; it is there once the last of them has."""
        if not self.first:
            yield Path(self.gather(None)[0])
            self.wait()
        else:
            with new_directory(path, replace=True) as directory:
                self.gather(str(directory))
                yield directory
                self.wait()
        self.wait()


ALONE = Ranks()
