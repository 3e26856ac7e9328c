"""Micro-batches in order, made by workers ahead of time or in the loop itself, with the same result."""

from __future__ import annotations

from contextlib import closing
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any

import torch
from attrs import evolve, frozen

from neobert.batch import Batch, SequenceLayout
from neobert.data.workers import in_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from neobert.data.collate import BatchMaker, Request
    from neobert.served import DatasetKeys

HEAVY = 1_000_000
"""Bytes of documents that a worker is given at most. Files are opened again by name, which is little; documents that
are in memory, or an order of rows that is, would be copied into every worker: their tokens come with the requests."""


def load(maker: BatchMaker, requests: Iterable[Request], keys: DatasetKeys, *, pin_memory: bool) -> Iterator[Batch]:
    """The batch of each request, in the order of the requests.

    What a worker raises is raised here with the worker's traceback as a note. Raises UserError when one dies.
    """
    made = _made_by_workers(maker, requests, keys) if keys.num_workers else map(maker.__getitem__, requests)
    for batch in made:
        yield batch.pin_memory() if pin_memory else batch


def _made_by_workers(maker: BatchMaker, requests: Iterable[Request], keys: DatasetKeys) -> Iterator[Batch]:
    if maker.documents is not None and pickles_over(maker.documents, HEAVY):
        requests, maker = _with_ids(maker, requests), maker.without_documents()
    made = in_order(_Packer(maker), requests, workers=keys.num_workers or 0, ahead=keys.prefetch_factor or 2)
    with closing(made):
        for parcel in made:
            yield parcel.open()


def _with_ids(maker: BatchMaker, requests: Iterable[Request]) -> Iterator[Request]:
    for request in requests:
        yield evolve(request, ids=maker.ids(request))


class _FullError(Exception):
    """More was written than there is room for."""


class _Counter:
    """A file that keeps nothing and has room for so many bytes."""

    def __init__(self, room: int) -> None:
        self._room = room

    def write(self, data: Any) -> None:
        self._room -= memoryview(data).nbytes
        if self._room < 0:
            raise _FullError


def pickles_over(value: Any, size: int) -> bool:
    """Whether a value pickles to more bytes than these; one that is far larger is not read to its end."""
    try:
        ForkingPickler(_Counter(size)).dump(value)
    except _FullError:
        return True
    return False


_Bytes = tuple["NDArray[np.uint8]", torch.dtype, torch.Size]


@frozen(eq=False)
class _Parcel:
    """A batch on its way from a worker, as plain bytes: shared memory runs out in containers, and so do file
    descriptors, one a tensor."""

    input_ids: _Bytes
    lengths: tuple[int, ...]
    fields: dict[str, _Bytes]
    padding: int

    def open(self) -> Batch:
        fields = {name: _from_bytes(value) for name, value in self.fields.items()}
        layout = SequenceLayout.from_lengths(self.lengths)
        return Batch(_from_bytes(self.input_ids), layout, fields, self.padding)


@frozen(eq=False)
class _Packer:
    """What a worker does."""

    maker: BatchMaker

    def __call__(self, request: Request) -> _Parcel:
        return _pack(self.maker[request])


def _pack(batch: Batch) -> _Parcel:
    fields = {name: _to_bytes(value) for name, value in batch.fields.items()}
    return _Parcel(_to_bytes(batch.input_ids), batch.layout.lengths, fields, batch.padding)


def _to_bytes(tensor: Tensor) -> _Bytes:
    flat = tensor.contiguous().reshape(-1)
    if flat.stride() != (1,):  # of nothing at all, any stride counts as contiguous
        flat = flat.clone(memory_format=torch.contiguous_format)
    return flat.view(torch.uint8).numpy(), tensor.dtype, tensor.shape


def _from_bytes(parcel: _Bytes) -> Tensor:
    content, dtype, shape = parcel
    return torch.from_numpy(content).view(dtype).reshape(shape)
