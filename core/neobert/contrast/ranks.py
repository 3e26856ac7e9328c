"""Rows of every rank, with gradients that go back to the rank they came from.

Shapes: B rows of this rank, M rows of all ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from attrs import frozen
from torch import Tensor
from torch import distributed as dist
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from neobert.host_group import host_group, many_processes


@frozen(eq=False)
class Rows:
    """Tensors whose first dimension is M, this rank's B rows at ``start``."""

    tensors: tuple[Tensor, ...]
    start: int = 0

    def __len__(self) -> int:
        return len(self.tensors[0])


def own(*tensors: Tensor) -> Rows:
    """This rank's rows alone: what a run of one process and every evaluation compares with."""
    return Rows(tensors)


def gathered(*tensors: Tensor) -> Rows:
    """The rows of all ranks, rank after rank; `own` where there is one process. Every rank has to call it.

    Each tensor is (B, ...), with a B that may differ between ranks (0 too) and is the same for the tensors of a call.
    The gradient of a row is the sum of what all ranks have for it: exactly that of the sum over ranks of all totals.
    """
    if not many_processes():
        return own(*tensors)
    sizes = _sizes(len(tensors[0]))
    if not any(sizes):
        return own(*tensors)
    return Rows(tuple(_gather(tensor, sizes) for tensor in tensors), sum(sizes[: dist.get_rank()]))


def _gather(tensor: Tensor, sizes: Sequence[int]) -> Tensor:
    if not tensor.is_floating_point():
        return _all_rows(tensor, sizes)
    result: Tensor = _Gather.apply(tensor, sizes)  # type: ignore[no-untyped-call]
    return result


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, sizes: Sequence[int]) -> Tensor:
        ctx.sizes = sizes
        return _all_rows(tensor, sizes)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        most = max(ctx.sizes)
        parts = [_lengthened(part, most) for part in torch.split(grad, ctx.sizes)]
        mine = torch.empty_like(parts[0])
        dist.reduce_scatter(mine, parts)
        return mine[: ctx.sizes[dist.get_rank()]], None


def _all_rows(tensor: Tensor, sizes: Sequence[int]) -> Tensor:
    """Without a gradient. Ranks send as many rows as the one with the most has."""
    mine = _lengthened(tensor, max(sizes))
    parts = [torch.empty_like(mine) for _ in sizes]
    dist.all_gather(parts, mine)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


def _lengthened(tensor: Tensor, count: int) -> Tensor:
    """With rows of zeros at its end, if need be; contiguous, as collectives want it."""
    missing = count - len(tensor)
    return (F.pad(tensor, (0, 0) * (tensor.ndim - 1) + (0, missing)) if missing else tensor).contiguous()


def _sizes(count: int) -> list[int]:
    """Each rank's number of rows, told from host to host: no device is waited for."""
    mine = torch.tensor([count])
    parts = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, mine, group=host_group())
    return [int(part) for part in parts]
