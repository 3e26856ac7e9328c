"""Micro-batches in order, made by workers ahead of time or in the loop itself, with the same result."""

from __future__ import annotations

import warnings
from multiprocessing import get_all_start_methods, get_context
from typing import TYPE_CHECKING, Any

import torch
from attrs import frozen
from torch.utils.data import DataLoader

from neobert.batch import Batch, SequenceLayout

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from neobert.data.collate import BatchMaker, Request
    from neobert.served import DatasetKeys


def load(maker: BatchMaker, requests: Iterable[Request], keys: DatasetKeys, *, pin_memory: bool) -> Iterator[Batch]:
    """The batch of each request, in the order of the requests.

    What a worker raises is raised here with the worker's traceback. Raises RuntimeError when one dies.
    """
    made = _made_here(maker, requests) if keys.num_workers == 0 else _made_by_workers(maker, requests, keys)
    for batch in made:
        yield batch.pin_memory() if pin_memory else batch


def _made_here(maker: BatchMaker, requests: Iterable[Request]) -> Iterator[Batch]:
    for request in requests:
        yield maker[request]


def _made_by_workers(maker: BatchMaker, requests: Iterable[Request], keys: DatasetKeys) -> Iterator[Batch]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*suggested max number of worker")  # the recipe's choice
        loader: DataLoader[Any] = DataLoader(
            maker,  # type: ignore[arg-type]
            sampler=requests,
            batch_size=None,
            collate_fn=_pack,
            num_workers=keys.num_workers,
            prefetch_factor=keys.prefetch_factor or 2,
            persistent_workers=keys.persistent_workers is not False,
            multiprocessing_context=_processes(),
            generator=torch.Generator().manual_seed(0),  # so that torch's own generator is not drawn from
        )
        parcels = iter(loader)
    try:
        for parcel in parcels:
            yield parcel.open()
    except (ConnectionError, EOFError) as error:
        msg = "a data worker died while it sent a batch (killed, or out of memory?)"
        raise RuntimeError(msg) from error


def _processes() -> Any:
    """Processes that inherit no threads and no locks; a server that has torch loaded starts them quickly."""
    context: Any = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload([__name__])
    return context


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


def _pack(batch: Any) -> _Parcel:
    fields = {name: _to_bytes(value) for name, value in batch.fields.items()}
    return _Parcel(_to_bytes(batch.input_ids), batch.layout.lengths, fields, batch.padding)


def _to_bytes(tensor: Tensor) -> _Bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy(), tensor.dtype, tensor.shape


def _from_bytes(parcel: _Bytes) -> Tensor:
    content, dtype, shape = parcel
    return torch.from_numpy(content).view(dtype).reshape(shape)
