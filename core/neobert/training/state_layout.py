"""What a saved state looks like: keys, shapes and dtypes, and which parameter an entry is of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

OPTIMIZER, AVERAGE = "optimizer.", "ema."


def fill_template(weights: Mapping[str, Any], layout: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Keys, shapes and dtypes of a saved state, to be filled; ``layout`` is what `layout_of` said of it."""
    template: dict[str, Any] = dict(weights)
    for key, entry in layout.items():
        if entry is None:
            template[key] = None
        else:
            # Step counters are scalars and live on the host, unless the optimizer moves them.
            home = device if entry["shape"] else torch.device("cpu")
            template[key] = torch.empty(entry["shape"], dtype=getattr(torch, entry["dtype"]), device=home)
    return template


def layout_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """What the optimizer's part of a state, and the average, look like: a fresh optimizer has nothing before its first
    step, and a run may have no average."""
    return {
        key: {"shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
        if isinstance(value, Tensor)
        else None
        for key, value in state.items()
        if key.startswith((OPTIMIZER, AVERAGE))
    }


def parameter_of(key: str, value: Any, parameters: Mapping[str, Tensor]) -> Tensor | None:
    """The parameter that an entry is of, and of whose shape it is; None for any other."""
    if not isinstance(value, Tensor):
        return None
    name = key.removeprefix(AVERAGE).removeprefix(OPTIMIZER)
    while name and name not in parameters:  # less the optimizer's own key
        name = name.rpartition(".")[0]
    return parameters[name] if name and parameters[name].shape == value.shape else None
