"""What kernels ask of their inputs that plain torch operations do not."""

from __future__ import annotations

import torch
from torch import Tensor

from neobert import SequenceLayout


def for_kernel(*qkv: Tensor) -> list[Tensor]:
    """q, k and v in autocast's dtype where autocast is on, as torch's own attention takes them, and with each head's
    numbers side by side in memory."""
    device = qkv[0].device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        qkv = tuple(tensor.to(dtype) for tensor in qkv)
    return [with_rows(tensor) for tensor in qkv]


def with_rows(stream: Tensor) -> Tensor:
    """The flash kernels take any strides but the last one's."""
    return stream if stream.stride(-1) == 1 else stream.contiguous()


def narrow(window: int | None, layout: SequenceLayout) -> int | None:
    """The window where it keeps anything out; None where every token sees its whole sequence anyway."""
    return None if window is None or window >= layout.max_seqlen - 1 else window


def refuse_dropout(dropout_p: float, backend: str) -> None:
    """Raises ValueError for kernels without dropout: going on without would be silence."""
    if dropout_p > 0:
        msg = f"{backend} has no dropout, as its capabilities say; got dropout_p = {dropout_p}"
        raise ValueError(msg)
