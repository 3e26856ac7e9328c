"""The cross-entropy of a linear layer's output, without ever holding all of that output.

Rows go through in chunks. Each chunk's gradient is made at once, while its logits are there, and in their place, so
that the backward pass has nothing left to compute: the arithmetic of the plain way, in the memory of one chunk.

Shapes: M rows, R rows of a chunk, C hidden size, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from attrs import frozen
from torch import Tensor
from torch.autograd.function import once_differentiable

from neobert.products import linear, product, product_over_rows, rounded_up, uses_onednn

CHUNK_LOGITS = 1 << 23
"""Logits held at once: 32 MiB of float32."""


@frozen
class Terms:
    """What the loss of a row is made of beside its cross-entropy."""

    label_smoothing: float = 0.0
    """The target is this share of the uniform distribution, and the label for the rest (Szegedy et al., 2016)."""
    z_loss: float = 0.0
    """Times the square of the logits' logsumexp, which keeps them near zero (PaLM, arXiv:2204.02311)."""


PLAIN = Terms()


def linear_cross_entropy_sum(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    terms: Terms = PLAIN,
    *,
    chunk_logits: int = CHUNK_LOGITS,
) -> Tensor:
    """hidden (M, C), weight (V, C), bias (V,), labels (M,) int64 -> the sum over rows, a scalar.

    Products run in autocast's dtype where it is on; softmax and sums in float32 at least. With no row it is a
    zero that has a gradient, of zeros. Not differentiable twice.
    """
    rows = _chunk_rows(hidden.shape[0], max(1, chunk_logits // weight.shape[0]))
    wants_gradient = torch.is_grad_enabled()
    total: Tensor = _LinearCrossEntropySum.apply(hidden, weight, bias, labels, terms, rows, wants_gradient)  # type: ignore[no-untyped-call]
    return total


class _LinearCrossEntropySum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        terms: Terms,
        rows: int,
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
            for index, (chunk, targets) in enumerate(chunks):
                total += _add_chunk(gradients, chunk, layer, targets, terms, index * rows)
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
        return (*scaled, None, None, None, None)


def _chunk_rows(count: int, most: int) -> int:
    """R, so that chunks are about equal: it hardly changes with M, and new shapes cost (`neobert.products`)."""
    even = -(-count // max(1, -(-count // most)))
    return max(1, min(most, rounded_up(even)))


def _sum_of_losses(log_shares_RV: Tensor, logsumexp_R1: Tensor, targets: Tensor, terms: Terms) -> Tensor:
    """Over the rows of a chunk."""
    share = terms.label_smoothing
    total = (share - 1.0) * log_shares_RV.gather(1, targets[:, None]).sum()
    if share:
        total -= share * log_shares_RV.mean(-1).sum()
    if terms.z_loss:
        total += terms.z_loss * logsumexp_R1.square().sum()
    return total


def _gradient_in_place(log_shares_RV: Tensor, logsumexp_R1: Tensor, targets: Tensor, terms: Terms) -> Tensor:
    """The gradient of that sum by the logits, in place of ``log_shares``: softmax minus the target's distribution."""
    share = terms.label_smoothing
    gradient = log_shares_RV.exp_()
    if terms.z_loss:
        gradient *= 1.0 + 2.0 * terms.z_loss * logsumexp_R1
    if share:
        gradient -= share / gradient.shape[1]
    return gradient.scatter_add_(1, targets[:, None], gradient.new_full((len(targets), 1), share - 1.0))


def _add_chunk(
    gradients: list[Tensor | None],
    chunk: Tensor,
    layer: tuple[Tensor, Tensor | None],
    targets: Tensor,
    terms: Terms,
    start: int,
) -> Tensor:
    """The losses' sum over a chunk whose rows begin at ``start``; adds what it contributes to the gradients wanted."""
    for_hidden, for_weight, for_bias = gradients
    logits = linear(chunk, *layer).to(torch.promote_types(chunk.dtype, torch.float32))
    log_shares = logits.log_softmax(-1)
    logsumexp = logits[:, :1] - log_shares[:, :1]
    del logits
    total = _sum_of_losses(log_shares, logsumexp, targets, terms)
    if all(gradient is None for gradient in gradients):
        return total
    for_logits = _gradient_in_place(log_shares, logsumexp, targets, terms)
    if for_bias is not None:
        for_bias += for_logits.sum(0)
    low = for_logits.to(chunk.dtype)
    if for_hidden is not None:
        for_hidden[start : start + len(chunk)] = product(low, layer[0])
    if for_weight is not None and for_weight.dtype == low.dtype and not uses_onednn(low, chunk):
        for_weight.addmm_(low.mT, chunk)  # makes no other (V, C)
    elif for_weight is not None:
        for_weight += product_over_rows(low, chunk)
    return total
