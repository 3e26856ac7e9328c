"""StableAdamW: AdamW with the update clipping of Adafactor.

Wortsman et al. 2023, arXiv:2304.13013, algorithm 2. The second moment follows the gradient's size with a delay. When a
tensor's gradient suddenly grows, v is too small for a while, and AdamW's step too large. So each tensor's learning rate
is divided by max(1, RMS), where RMS is the root of the mean of g^2 / max(v, eps^2): about 1 while v is right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from attrs import frozen
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class StableAdamW(torch.optim.Optimizer):
    """``lr`` is divided for the decay too, as in the paper.

    All tensors of a group go through each operation together. State is as `torch.optim.AdamW` keeps it: ``step`` (a
    scalar on the host), ``exp_avg`` and ``exp_avg_sq``. Nothing asks the device for a value. A step holds two
    further tensors of a group's size for a while.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], *, lr: float, betas: tuple[float, float], eps: float) -> None:
        """Each group has its ``params`` and ``weight_decay``."""
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update. Parameters without a gradient stay as they are."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            tensors = self._tensors(group)
            if tensors.weights:
                _update(tensors, group)
        return loss

    def _tensors(self, group: dict[str, Any]) -> _Tensors:
        """Those with a gradient, their steps counted on."""
        found = _Tensors([], [], [], [], [])
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            state = self.state[parameter]
            if not state:
                state["step"] = torch.tensor(0.0, dtype=torch.float32)
                state["exp_avg"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
                state["exp_avg_sq"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
            state["step"] += 1
            found.weights.append(parameter)
            found.gradients.append(parameter.grad)
            found.first.append(state["exp_avg"])
            found.second.append(state["exp_avg_sq"])
            found.steps.append(int(state["step"]))
        return found


@frozen
class _Tensors:
    """Of one group, in one order."""

    weights: list[Tensor]
    gradients: list[Tensor]
    first: list[Tensor]
    second: list[Tensor]
    steps: list[int]
    """Updates of each, this one included."""


def _update(tensors: _Tensors, group: dict[str, Any]) -> None:
    lr, (beta1, beta2), eps = group["lr"], group["betas"], group["eps"]
    torch._foreach_lerp_(tensors.first, tensors.gradients, 1.0 - beta1)
    torch._foreach_mul_(tensors.second, beta2)
    torch._foreach_addcmul_(tensors.second, tensors.gradients, tensors.gradients, 1.0 - beta2)
    # The roots of the second moments, without the pull of their start at zero.
    roots = list(torch._foreach_div(tensors.second, [1.0 - beta2**step for step in tensors.steps]))
    torch._foreach_sqrt_(roots)
    divisors = _divisors(tensors.gradients, roots, eps)
    if group["weight_decay"]:
        shares = torch._foreach_reciprocal(divisors)
        torch._foreach_mul_(shares, -lr * group["weight_decay"])
        torch._foreach_add_(shares, 1.0)
        torch._foreach_mul_(tensors.weights, shares)
    torch._foreach_add_(roots, eps)
    torch._foreach_mul_(roots, divisors)
    scales = [-lr / (1.0 - beta1**step) for step in tensors.steps]
    torch._foreach_addcdiv_(tensors.weights, tensors.first, roots, scales)


def _divisors(gradients: list[Tensor], roots: list[Tensor], eps: float) -> list[Tensor]:
    """max(1, RMS) of each, a scalar on its device."""
    ratios = torch._foreach_clamp_min(roots, eps)
    torch._foreach_reciprocal_(ratios)
    torch._foreach_mul_(ratios, gradients)
    divisors = list(torch._foreach_norm(ratios))
    torch._foreach_div_(divisors, [max(1, gradient.numel()) ** 0.5 for gradient in gradients])
    torch._foreach_clamp_min_(divisors, 1.0)
    return divisors
