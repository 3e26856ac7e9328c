"""Matrix products on a CPU by whichever of torch's own libraries is quicker there.

torch sends float32 products to MKL, which uses AVX-512 on Intel's processors only. oneDNN, which torch brings as
well, uses it wherever it is there: on an AMD EPYC of the fifth generation 220 instead of 98 GFLOP/s a core. Both
compute in float32 and differ in rounding. torch offers oneDNN's product as an operator of its compiler; where that
is missing, or the input is not for it (other devices and dtypes, autocast), the product is torch's usual one.

oneDNN generates code for every new shape, and keeps it: three milliseconds and two megabytes each. So a number of rows
that varies is rounded up, and small products stay with torch.

Shapes: M rows, K columns summed over, N columns of the result.
"""

from __future__ import annotations

import functools
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

SMALLEST = 64
"""Rows or columns of the smallest product for oneDNN."""

_chosen: Literal["torch", "onednn"] = "torch"


def choose_library(wanted: Literal["auto", "torch", "onednn"]) -> Literal["torch", "onednn"]:
    """Decides for this process, as `torch.set_num_threads` does: torch's usual way, or oneDNN; ``auto``: the quicker.

    Returns the choice. The core calls it when a run begins, with ``trainer.cpu_matmul``; before, it is torch's way.
    """
    global _chosen
    _chosen = _quicker_library() if wanted == "auto" else wanted
    return _chosen


def onednn_obstacle() -> str | None:
    """Why oneDNN's products are not to be had here; None where they are."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return "this torch was built without oneDNN"
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return f"torch {torch.__version__} does not offer oneDNN's float32 products"
    return None


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input (..., K), weight (N, K), bias (N,) -> (..., N): torch's `linear`, not differentiable twice."""
    if not uses_onednn(input, weight):
        return F.linear(input, weight, bias)
    rows = input.reshape(-1, input.shape[-1])
    extra = rounded_up(len(rows)) - len(rows)
    padded = F.pad(rows, (0, 0, 0, extra)) if extra else rows
    result: Tensor = _Linear.apply(padded, weight, bias)  # type: ignore[no-untyped-call]
    return result[: len(rows)].view(*input.shape[:-1], -1)


def rounded_up(rows: int) -> int:
    """To a multiple of 64, of 128 from 2048 rows on, of 256 from 4096 on, and so on: a sixteenth at most."""
    step = max(SMALLEST, 1 << (rows.bit_length() - 5))
    return -(-rows // step) * step


def product(a: Tensor, b: Tensor) -> Tensor:
    """a (M, K), b (K, N) -> (M, N), as ``a @ b``, without a gradient."""
    return _product(a, b.mT) if uses_onednn(a, b) else a @ b


def uses_onednn(a: Tensor, b: Tensor) -> bool:
    """Whether a product of these (..., rows, columns) goes to oneDNN."""
    return (
        _chosen == "onednn"
        and a.device.type == b.device.type == "cpu"
        and a.dtype == b.dtype == torch.float32
        and min(*a.shape[-2:], *b.shape, a.numel() // a.shape[-1]) >= SMALLEST
        and not torch.is_autocast_enabled("cpu")
    )


def use_in(module: nn.Module) -> None:
    """Has every `torch.nn.Linear` in ``module`` compute by `linear`. Parameters and their names stay."""
    for part in module.modules():
        if type(part) is nn.Linear:
            part.forward = functools.partial(_forward, part)  # type: ignore[method-assign]


def _forward(layer: nn.Linear, input: Tensor) -> Tensor:
    return linear(input, layer.weight, layer.bias)


def _product(rows: Tensor, columns: Tensor, bias: Tensor | None = None) -> Tensor:
    """rows (M, K), columns (N, K) -> (M, N).

    oneDNN lays rows out anew where they are not as in memory (both are transposed for a weight's gradient): so it gets
    the smaller of the two as rows, and the result is transposed then.
    """
    if bias is None and not rows.is_contiguous() and columns.numel() < rows.numel():
        return _product(columns, rows).mT
    if not (columns.is_contiguous() or columns.mT.is_contiguous()):
        # A part of a wider matrix: oneDNN has none but its slow reference kernel for it.
        columns = columns.contiguous()
    result: Tensor = torch.ops.mkldnn._linear_pointwise(rows, columns, bias, "none", [], "")
    return result


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(input, weight)
        return _product(input, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        input, weight = ctx.saved_tensors
        grad = grad.contiguous()  # what is expanded from one number has no rows in memory
        for_input, for_weight, for_bias = ctx.needs_input_grad
        return (
            _product(grad, weight.mT) if for_input else None,
            _product(grad.mT, input.mT) if for_weight else None,
            grad.sum(0) if for_bias else None,
        )


@functools.cache
def _quicker_library() -> Literal["torch", "onednn"]:
    """A rule, not a measurement: two starts of one run must not differ."""
    ask = getattr(torch.cpu, "get_capabilities", None)
    if ask is None or onednn_obstacle() is not None or not torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]
        return "torch"
    abilities = ask()
    foreign = not str(abilities.get("cpu_name", "Intel")).startswith("Intel")
    return "onednn" if foreign and abilities.get("avx512_f", False) else "torch"
