"""Micro-batches in order, made by workers ahead of time or in the loop itself, with the same result."""

from __future__ import annotations

import warnings
from multiprocessing import get_all_start_methods, get_context
from typing import TYPE_CHECKING, Any

import torch
from attrs import frozen
from torch.utils.data import DataLoader

from neobert.batch import Batch, SequenceLayout
from neobert.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from neobert.data.collate import BatchMaker, Request
    from neobert.served import DatasetKeys

_DEATH = (
    "a data worker died: it was killed, most likely because memory ran out; the system's log (dmesg) may say more\n"
    "fewer workers need less: dataset.num_workers, or 0 to make batches in the loop"
)


def load(maker: BatchMaker, requests: Iterable[Request], keys: DatasetKeys, *, pin_memory: bool) -> Iterator[Batch]:
    """The batch of each request, in the order of the requests.

    What a worker raises is raised here with the worker's traceback. Raises UserError when one dies.
    """
    made = _made_here(maker, requests) if not keys.num_workers else _made_by_workers(maker, requests, keys)
    for batch in made:
        yield batch.pin_memory() if pin_memory else batch


def _made_here(maker: BatchMaker, requests: Iterable[Request]) -> Iterator[Batch]:
    for request in requests:
        yield maker[request]


def _made_by_workers(maker: BatchMaker, requests: Iterable[Request], keys: DatasetKeys) -> Iterator[Batch]:
    parcels: Any = _start(maker, requests, keys)
    try:
        for parcel in parcels:
            yield parcel.open()
    except (ConnectionError, EOFError) as error:
        raise UserError(_DEATH) from error
    except RuntimeError as error:
        if not _is_death(error):
            raise
        raise UserError(f"{_DEATH}\n{error}") from error
    finally:
        # Now, and not when the iterator is collected: its queues may be gone by then, and every worker is waited for.
        parcels._shutdown_workers()


def _start(maker: BatchMaker, requests: Iterable[Request], keys: DatasetKeys) -> Any:
    """The workers' parcels, in order."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*suggested max number of worker")  # the recipe's choice
        loader: DataLoader[Any] = DataLoader(
            maker,  # type: ignore[arg-type]
            sampler=requests,
            batch_size=None,
            collate_fn=_pack,
            num_workers=keys.num_workers or 0,
            prefetch_factor=keys.prefetch_factor or 2,
            persistent_workers=keys.persistent_workers is not False,
            multiprocessing_context=_processes(),
            generator=torch.Generator().manual_seed(0),  # so that torch's own generator is not drawn from
        )
        return iter(loader)


def _is_death(error: RuntimeError) -> bool:
    """How the library tells that a worker is gone: with an error of its own, or out of its signal handler."""
    return str(error).startswith("DataLoader worker (pid")


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
