"""Attention on a CPU over a token stream: results and gradients are written where they belong.

torch's flash kernel, which `scaled_dot_product_attention` calls too, without the copies that splitting a stream into
sequences and joining it again cost, in the forward pass and once more in the backward pass.

With a window, each block of queries is computed with the keys that it sees alone, forwards and backwards.

Shapes: T tokens in the stream, H heads, D head dim; a run is B neighbouring sequences of L tokens each.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from neobert_plugins.attention.bands import bands
from neobert_plugins.attention.kernel_inputs import for_kernel, with_rows

_forward: Any = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
_backward: Any = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu_backward", None)
HAS_KERNEL = _forward is not None and _backward is not None
"""torch does not promise these two: without them its public function computes the same, with the copies."""

Runs = list[tuple[int, int]]
"""(L, B) of each."""


def attend_on_cpu(q: Tensor, k: Tensor, v: Tensor, runs: Runs, scale: float, window: int | None = None) -> Tensor:
    """q, k, v (T, H, D), strided or not -> (T, H, D). Not differentiable twice. Needs `HAS_KERNEL`."""
    return cast(Tensor, _Attention.apply(*for_kernel(q, k, v), runs, scale, window))  # type: ignore[no-untyped-call]


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, runs: Runs, scale: float, window: int | None) -> Tensor:
        out = q.new_empty(q.shape)
        logsumexps = []
        for (q_BHLD, out_BHLD), (k_BHLD, v_BHLD), mask in _by_block(runs, window, (q, out), (k, v)):
            result, logsumexp = _forward(*_as_computed(q_BHLD, k_BHLD, v_BHLD), attn_mask=mask, scale=scale)
            out_BHLD.copy_(result)
            logsumexps.append(logsumexp)
        ctx.save_for_backward(q, k, v, out, *logsumexps)
        ctx.runs, ctx.scale, ctx.window = runs, scale, window
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, *logsumexps = ctx.saved_tensors
        # With a window, a key's gradient is a sum over the blocks that see it.
        make, put = (q.new_empty, Tensor.copy_) if ctx.window is None else (q.new_zeros, Tensor.add_)
        # One after the other for each token, as the projection that they come from has them.
        for_q, for_k, for_v = make(*q.shape[:2], 3, q.shape[2]).unbind(2)
        blocks = _by_block(ctx.runs, ctx.window, (with_rows(grad), q, out, for_q), (k, v, for_k, for_v))
        for logsumexp, (of_queries, of_keys, mask) in zip(logsumexps, blocks, strict=True):
            (grad_BHLD, q_BHLD, out_BHLD, to_q), (k_BHLD, v_BHLD, to_k, to_v) = of_queries, of_keys
            inputs = _as_computed(grad_BHLD, q_BHLD, k_BHLD, v_BHLD, out_BHLD)
            results = _backward(*inputs, logsumexp, 0.0, False, attn_mask=mask, scale=ctx.scale)
            for place, result in zip((to_q, to_k, to_v), results, strict=True):
                put(place, result)
        return for_q, for_k, for_v, None, None, None


Views = tuple[Tensor, ...]


def _by_block(
    runs: Runs, window: int | None, of_queries: Views, of_keys: Views
) -> Iterator[tuple[Views, Views, Tensor | None]]:
    """Each block's part of every stream, as views (B, H, L', D), and what the kernel adds to its scores."""
    for (length, _), views in zip(runs, _by_run(runs, *of_queries, *of_keys), strict=True):
        for queries, keys, seen in bands(length, window, of_queries[0].device):
            mine = tuple(view[:, :, queries] for view in views[: len(of_queries)])
            theirs = tuple(view[:, :, keys] for view in views[len(of_queries) :])
            yield mine, theirs, None if seen is None else _added(seen, _computed_in(of_queries[0].dtype))


def _added(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """Zero where a token is seen; minus infinity where it is not, which leaves it no share."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, -math.inf)


def _as_computed(*streams: Tensor) -> Views:
    """In the dtype that the kernel computes in. What is kept stays narrow."""
    dtype = _computed_in(streams[0].dtype)
    return tuple(stream.to(dtype) for stream in streams)


def _computed_in(dtype: torch.dtype) -> torch.dtype:
    """float32 in place of bfloat16 where that is slower: the kernel multiplies it by torch's plain products then, up
    to three times as slow for short sequences."""
    return torch.float32 if dtype == torch.bfloat16 and not _has_bfloat16_matrices() else dtype


@functools.cache
def _has_bfloat16_matrices() -> bool:
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("amx_bf16", False))


def _by_run(runs: Runs, *streams: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Each run's part of every stream, as a view (B, H, L, D)."""
    parts = zip(*(torch.split(stream, [length * count for length, count in runs]) for stream in streams), strict=True)
    for (length, count), run in zip(runs, parts, strict=True):
        yield tuple(torch.unflatten(part, 0, (count, length)).transpose(1, 2) for part in run)
