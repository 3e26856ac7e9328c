"""The cross-entropy of a linear layer's output, without ever holding all of that output.

Rows go through in chunks. Each chunk's gradient is made at once, while its logits are there, so that the
backward pass has nothing left to compute: the arithmetic of the plain way, in the memory of one chunk.

Shapes: M rows, C hidden size, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from neobert.products import SMALLEST, linear, product

CHUNK_LOGITS = 1 << 23
"""Logits held at once: 32 MiB of float32."""


def linear_cross_entropy_sum(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, *, chunk_logits: int = CHUNK_LOGITS
) -> Tensor:
    """hidden (M, C), weight (V, C), bias (V,), labels (M,) int64 -> the sum over rows, a scalar.

    Products run in autocast's dtype where it is on; softmax and sums in float32 at least. With no row it is a
    zero that has a gradient, of zeros. Not differentiable twice.
    """
    rows = _chunk_rows(hidden.shape[0], chunk_logits // weight.shape[0])
    wants_gradient = torch.is_grad_enabled()
    total: Tensor = _LinearCrossEntropySum.apply(hidden, weight, bias, labels, rows, wants_gradient)  # type: ignore[no-untyped-call]
    return total


class _LinearCrossEntropySum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        rows: list[int],
        wants_gradient: bool,
    ) -> Tensor:
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        precise = torch.promote_types(dtype, torch.float32)
        total = torch.zeros((), dtype=precise, device=hidden.device)
        wanted = [wants_gradient and need for need in ctx.needs_input_grad[:3]]
        gradients = [
            torch.zeros_like(tensor, dtype=precise) if want and tensor is not None else None
            for tensor, want in zip((hidden, weight, bias), wanted, strict=True)
        ]
        with torch.autocast(device, enabled=False):
            layer = (weight.to(dtype), None if bias is None else bias.to(dtype))
            chunks = zip(torch.split(hidden.to(dtype), rows), torch.split(labels, rows), strict=True)
            start = 0
            for chunk, targets in chunks:
                logits = linear(chunk, *layer).to(precise)
                log_shares = logits.log_softmax(-1)
                total -= log_shares.gather(1, targets[:, None]).sum()
                if any(wanted):
                    _add_gradients(gradients, log_shares, targets, chunk, layer[0], start)
                start += len(chunk)
        ctx.dtypes = [None if tensor is None else tensor.dtype for tensor in (hidden, weight, bias)]
        ctx.save_for_backward(*gradients)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        scaled = (
            None if gradient is None else (gradient * grad).to(dtype)
            for gradient, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        )
        return (*scaled, None, None, None)


def _chunk_rows(count: int, most: int) -> list[int]:
    """Rows of each chunk: few different numbers but for the last, which is small. A new shape costs some libraries
    time (`neobert.products`)."""
    step = min(SMALLEST, max(1, most))
    whole = max(step, most // step * step)
    sizes = [whole] * (count // whole)
    rest = count % whole
    return [*sizes, *(size for size in (rest // step * step, rest % step) if size)] or [0]


def _add_gradients(
    gradients: list[Tensor | None],
    log_shares: Tensor,
    targets: Tensor,
    chunk: Tensor,
    weight: Tensor,
    start: int,
) -> None:
    """Adds what one chunk contributes. The gradient of its logits is softmax minus one at the target."""
    for_hidden, for_weight, for_bias = gradients
    for_logits = log_shares.exp_()
    for_logits.scatter_add_(1, targets[:, None], for_logits.new_full((len(targets), 1), -1.0))
    if for_bias is not None:
        for_bias += for_logits.sum(0)
    low = for_logits.to(chunk.dtype)
    if for_hidden is not None:
        for_hidden[start : start + len(chunk)] = product(low, weight)
    if for_weight is not None:
        for_weight += product(low.T, chunk)
