"""How a suite says that a promise is broken: what was promised, with which input, and what was seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

TOLERANCE = {
    torch.float64: 1e-9,
    torch.float32: 2e-5,
    torch.bfloat16: 2e-2,
    torch.float16: 3e-3,
}
"""Largest difference, as a share of the largest expected value, that rounding explains."""


def require(held: bool, promise: str, *, given: object = None, found: object = None) -> None:
    """Raises `AssertionError` with all three unless the promise held."""
    if held:
        return
    lines = [promise]
    if given is not None:
        lines.append(f"  given: {given}")
    if found is not None:
        lines.append(f"  found: {found}")
    raise AssertionError("\n".join(lines))


def require_close(
    found: Tensor, expected: Tensor, promise: str, *, given: object = None, tolerance: float | None = None
) -> None:
    """Two tensors of one shape agree up to what rounding in the first one's dtype explains."""
    require(
        found.shape == expected.shape,
        promise,
        given=given,
        found=f"shape {tuple(found.shape)} where {tuple(expected.shape)} was expected",
    )
    if not expected.numel():
        return
    allowed = TOLERANCE[found.dtype] if tolerance is None else tolerance
    found, expected = found.detach(), expected.detach()
    difference = (found.double() - expected.double()).abs()
    largest = float(difference.max())
    scale = max(1.0, float(expected.double().abs().max()))
    # Not `>`: a NaN must not pass.
    require(
        largest <= allowed * scale,
        promise,
        given=given,
        found=f"a difference of {largest:.3g} where {allowed * scale:.3g} is allowed, {_place(difference)}",
    )


def require_equal(found: Tensor, expected: Tensor, promise: str, *, given: object = None) -> None:
    """Two tensors agree in every bit, NaN included."""
    same = found.dtype == expected.dtype and found.shape == expected.shape
    if same and found.is_floating_point():
        same = torch.equal(found.isnan(), expected.isnan())
        found, expected = found.nan_to_num(), expected.nan_to_num()
    require(same and torch.equal(found, expected), promise, given=given, found=f"{found} and not {expected}")


def require_all_close(
    found: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    promise: str,
    *,
    given: object = None,
    tolerance: float | None = None,
) -> None:
    """The same names, and tensors that agree under each."""
    require(found.keys() == expected.keys(), promise, given=given, found=f"names {sorted(found)}")
    for name, tensor in found.items():
        require_close(tensor, expected[name], f"{promise} ({name})", given=given, tolerance=tolerance)


def _place(difference: Tensor) -> Any:
    if not difference.ndim:
        return "in a scalar"
    place = torch.unravel_index(difference.nan_to_num(nan=float("inf")).argmax(), difference.shape)
    return f"at index {tuple(int(i) for i in place)} of shape {tuple(difference.shape)}"
