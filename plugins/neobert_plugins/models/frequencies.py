"""How fast each rotary pair turns.

Shapes: D head dim, and D / 2 pairs of it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from neobert_plugins.models.scaling import Rotation


def frequencies(rotation: Rotation, head_dim: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(D / 2,): the angle of each pair from one position to the next. See `RopeScaling` for the formulas."""
    exponents = torch.arange(0, head_dim, 2, dtype=dtype, device=device) / head_dim
    powers = rotation.base(head_dim) ** exponents
    plain: Tensor = 1.0 / powers
    scaling = rotation.scaling
    if scaling is None or scaling.type == "ntk":
        return plain
    if scaling.type == "linear":
        return plain / scaling.factor
    first, last = yarn_bounds(rotation, head_dim)
    pairs = torch.arange(head_dim // 2, dtype=dtype, device=device)
    kept = 1 - ((pairs - first) / (last - first)).clamp(0, 1)
    return 1.0 / (scaling.factor * powers) * (1 - kept) + plain * kept


def yarn_bounds(rotation: Rotation, head_dim: int) -> tuple[float, float]:
    """Pairs up to the first are kept, from the last on divided; in between, a straight line leads over.

    Pair j turns original_max_position_embeddings * theta ** (-2 j / D) / (2 pi) times over the trained length.
    """
    scaling = rotation.scaling
    assert scaling is not None
    first, last = (
        head_dim
        * math.log(scaling.original_max_position_embeddings / (turns * 2 * math.pi))
        / (2 * math.log(rotation.theta))
        for turns in scaling.rotations
    )
    if scaling.whole_pairs:
        first, last = math.floor(first), math.ceil(last)
    # As published: the last one is bounded by the width, though there are half as many pairs.
    first, last = max(first, 0), min(last, head_dim - 1)
    return first, last if first != last else last + 0.001
