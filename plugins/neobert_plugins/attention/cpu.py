"""Attention on a CPU over a token stream: results and gradients are written where they belong.

torch's flash kernel, which `scaled_dot_product_attention` calls too, without the copies that splitting a stream into
sequences and joining it again cost, in the forward pass and once more in the backward pass.

Shapes: T tokens in the stream, H heads, D head dim; a run is B neighbouring sequences of L tokens each.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from neobert_plugins.attention.kernel_inputs import for_kernel, with_rows

_forward: Any = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
_backward: Any = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu_backward", None)
HAS_KERNEL = _forward is not None and _backward is not None
"""torch does not promise these two: without them its public function computes the same, with the copies."""

Runs = list[tuple[int, int]]
"""(L, B) of each."""


def attend_on_cpu(q: Tensor, k: Tensor, v: Tensor, runs: Runs, scale: float) -> Tensor:
    """q, k, v (T, H, D), strided or not -> (T, H, D). Not differentiable twice. Needs `HAS_KERNEL`."""
    return cast(Tensor, _Attention.apply(*for_kernel(q, k, v), runs, scale))  # type: ignore[no-untyped-call]


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, runs: Runs, scale: float) -> Tensor:
        out = q.new_empty(q.shape)
        logsumexps = []
        for q_BHLD, k_BHLD, v_BHLD, out_BHLD in _by_run(runs, q, k, v, out):
            result, logsumexp = _forward(*_as_computed(q_BHLD, k_BHLD, v_BHLD), scale=scale)
            out_BHLD.copy_(result)
            logsumexps.append(logsumexp)
        ctx.save_for_backward(q, k, v, out, *logsumexps)
        ctx.runs, ctx.scale = runs, scale
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, *logsumexps = ctx.saved_tensors
        # One after the other for each token, as the projection that they come from has them.
        grads = q.new_empty(*q.shape[:2], 3, q.shape[2]).unbind(2)
        runs = _by_run(ctx.runs, with_rows(grad), q, k, v, out, *grads)
        for logsumexp, (*inputs, for_q, for_k, for_v) in zip(logsumexps, runs, strict=True):
            results = _backward(*_as_computed(*inputs), logsumexp, 0.0, False, scale=ctx.scale)
            for place, result in zip((for_q, for_k, for_v), results, strict=True):
                place.copy_(result)
        return *grads, None, None


def _as_computed(*streams: Tensor) -> tuple[Tensor, ...]:
    """In float32 where the kernel is slower in what is narrower, which it multiplies by torch's plain products there:
    up to three times as slow for short sequences. What is kept stays narrow."""
    if streams[0].dtype != torch.bfloat16 or _has_bfloat16_matrices():
        return streams
    return tuple(stream.float() for stream in streams)


@functools.cache
def _has_bfloat16_matrices() -> bool:
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("amx_bf16", False))


def _by_run(runs: Runs, *streams: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Each run's part of every stream, as a view (B, H, L, D)."""
    parts = zip(*(torch.split(stream, [length * count for length, count in runs]) for stream in streams), strict=True)
    for (length, count), run in zip(runs, parts, strict=True):
        yield tuple(torch.unflatten(part, 0, (count, length)).transpose(1, 2) for part in run)
