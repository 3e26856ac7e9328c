"""Tensors of which each process has a part: made, put together, and taken apart.

`torch.distributed.fsdp.fully_shard` makes a parameter a `DTensor`: of its rows, each process has about as many as any
other, some perhaps none. Its shape is that of the whole, and gradients, moments and averages are as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def local(tensor: Tensor) -> Tensor:
    """This process's rows, in the same memory; of a tensor that it has all of, the tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All rows, on the same device. Every process has to call it."""
    if not isinstance(tensor, DTensor):
        return tensor
    found: Tensor = tensor.full_tensor()
    return found


def any_sharded(tensors: Iterable[Any]) -> bool:
    """Whether any of these is in parts."""
    return any(isinstance(tensor, DTensor) for tensor in tensors)


def shard_as(reference: Tensor, entire: Tensor) -> Tensor:
    """``entire`` as ``reference`` lies over the processes, each of which has the same ``entire``: nothing is sent."""
    if not isinstance(reference, DTensor) or isinstance(entire, DTensor):
        return entire
    rows = entire.to(reference.device)
    return distribute_tensor(rows, reference.device_mesh, reference.placements, src_data_rank=None)


def whole_state(state: Mapping[str, Any], *, keep: bool = True) -> dict[str, Any]:
    """A state whose tensors are whole, those that were in parts on the host. Every rank has to call it.

    ``keep``: false on a rank that has no use for them, which then has nothing but its part in sending.
    """
    found: dict[str, Any] = {}
    for key, value in state.items():
        # One after the other, so that a device never has more than one whole beside the parts.
        entire = whole(value).detach().cpu() if isinstance(value, DTensor) else value
        if keep:
            found[key] = entire
    return found


def on_host(state: Mapping[str, Any]) -> dict[str, Any]:
    """The same values in memory of their own, on the host: what is trained meanwhile changes nothing in them."""
    return {
        key: value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else value for key, value in state.items()
    }
