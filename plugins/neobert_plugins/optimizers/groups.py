"""From the core's parameter groups to torch's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from neobert import ParameterGroup

_FUSED_DEVICES = ("cpu", "cuda", "mps", "xpu")


def as_torch_groups(groups: Sequence[ParameterGroup], weight_decay: float) -> list[dict[str, Any]]:
    """One torch group for each, of named parameters; ``weight_decay`` only where decay is meant."""
    return [
        {
            "params": list(group.parameters.items()),
            "weight_decay": weight_decay if group.decay else 0.0,
            "role": group.role,
        }
        for group in groups
    ]


def can_fuse(groups: Sequence[ParameterGroup]) -> bool:
    """Whether torch has a fused step for every parameter: one pass over memory in place of a dozen."""
    parameters = [parameter for group in groups for parameter in group.parameters.values()]
    return all(p.device.type in _FUSED_DEVICES and p.is_floating_point() for p in parameters)
