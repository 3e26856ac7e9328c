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
from collections.abc import Iterator
from contextlib import contextmanager
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
    _chosen = quicker_library() if wanted == "auto" else wanted
    return _chosen


def chosen_library() -> Literal["torch", "onednn"]:
    """What `choose_library` has chosen for this process."""
    return _chosen


@contextmanager
def chosen(wanted: Literal["auto", "torch", "onednn"]) -> Iterator[None]:
    """Inside, this library; after it, what was chosen before."""
    before = _chosen
    choose_library(wanted)
    try:
        yield
    finally:
        choose_library(before)


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
    result: Tensor = _Linear.apply(input.reshape(-1, input.shape[-1]), weight, bias)  # type: ignore[no-untyped-call]
    return result.view(*input.shape[:-1], weight.shape[0])


def product(a: Tensor, b: Tensor) -> Tensor:
    """a (M, K), b (K, N) -> (M, N), as ``a @ b``, without a gradient. M may be another number each time."""
    return torch.ops.neobert.product(a, b) if uses_onednn(a, b) else a @ b


def product_over_rows(a: Tensor, b: Tensor) -> Tensor:
    """a (M, N), b (M, K) -> (N, K), as ``a.T @ b``, without a gradient. M may be another number each time."""
    return torch.ops.neobert.product_over_rows(a, b) if uses_onednn(a, b) else a.mT @ b


def rounded_up(rows: int) -> int:
    """To a multiple of 64, of 128 from 2048 rows on, of 256 from 4096 on, and so on: a sixteenth at most."""
    step = max(SMALLEST, 1 << max(0, rows.bit_length() - 5))
    return -(-rows // step) * step


def uses_onednn(a: Tensor, b: Tensor) -> bool:
    """Whether products of these go to oneDNN, if they are not too small."""
    return (
        _chosen == "onednn"
        and a.device.type == b.device.type == "cpu"
        and a.dtype == b.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
    )


def use_in(module: nn.Module) -> None:
    """Has every `torch.nn.Linear` in ``module`` compute by `linear`. Parameters and their names stay."""
    for part in module.modules():
        if type(part) is nn.Linear:
            part.forward = functools.partial(_forward, part)  # type: ignore[method-assign]


def _forward(layer: nn.Linear, input: Tensor) -> Tensor:
    return linear(input, layer.weight, layer.bias)


# Operators of their own: a compiler takes each as one step, and what is below depends on numbers that it need not know.
_operators: Any = torch.library.Library("neobert", "DEF")  # type: ignore[no-untyped-call]
_operators.define("product(Tensor a, Tensor b) -> Tensor")
_operators.define("product_over_rows(Tensor a, Tensor b) -> Tensor")


def _product(a: Tensor, b: Tensor) -> Tensor:
    if min(*a.shape, b.shape[1]) < SMALLEST:
        return a @ b
    return _of_rows(_with_round_rows(a), b.mT)[: a.shape[0]]


def _product_over_rows(a: Tensor, b: Tensor) -> Tensor:
    if min(*a.shape, b.shape[1]) < SMALLEST:
        return a.mT @ b
    return _of_rows(_with_round_rows(a).mT, _with_round_rows(b).mT)


_operators.impl("product", _product, "CPU")
_operators.impl("product_over_rows", _product_over_rows, "CPU")
_operators.impl("product", lambda a, b: a.new_empty(a.shape[0], b.shape[1]), "Meta")
_operators.impl("product_over_rows", lambda a, b: a.new_empty(a.shape[1], b.shape[1]), "Meta")


def _with_round_rows(a: Tensor) -> Tensor:
    """With rows of zeros at its end, if need be."""
    extra = rounded_up(a.shape[0]) - a.shape[0]
    return F.pad(a, (0, 0, 0, extra)) if extra else a


def _of_rows(rows: Tensor, columns: Tensor) -> Tensor:
    """rows (M, K), columns (N, K) -> (M, N), contiguous.

    oneDNN lays rows out anew where they are not as in memory (both are transposed for a weight's gradient): so it gets
    the smaller of the two as rows, and the result is transposed then.
    """
    if not rows.is_contiguous() and columns.numel() < rows.numel():
        return _of_rows(columns, rows).mT.contiguous()
    if not (columns.is_contiguous() or columns.mT.is_contiguous()):
        # A part of a wider matrix: oneDNN has none but its slow reference kernel for it.
        columns = columns.contiguous()
    result: Tensor = torch.ops.mkldnn._linear_pointwise(rows, columns, None, "none", [], "")
    return result


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(input, weight)
        result = product(input, weight.mT)
        return result if bias is None else result.add_(bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        input, weight = ctx.saved_tensors
        grad = grad.contiguous()  # what is expanded from one number has no rows in memory
        for_input, for_weight, for_bias = ctx.needs_input_grad
        return (
            product(grad, weight) if for_input else None,
            product_over_rows(grad, input) if for_weight else None,
            grad.sum(0) if for_bias else None,
        )


@functools.cache
def quicker_library() -> Literal["torch", "onednn"]:
    """For float32 on this CPU. A rule, not a measurement: two starts of one run must not differ."""
    ask = getattr(torch.cpu, "get_capabilities", None)
    if ask is None or onednn_obstacle() is not None or not torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]
        return "torch"
    abilities = ask()
    foreign = not str(abilities.get("cpu_name", "Intel")).startswith("Intel")
    return "onednn" if foreign and abilities.get("avx512_f", False) else "torch"
