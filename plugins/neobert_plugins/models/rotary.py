"""Rotary positions (Su et al., 2021, arXiv:2104.09864): neighbouring pairs turn by an angle of the position.

Shapes: T tokens in the stream, H heads, D head dim.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rotary_table(position_ids: Tensor, head_dim: int, theta: float, dtype: torch.dtype) -> Tensor:
    """position_ids (T,) -> (T, D / 2) complex: exp(i * position * theta ** (-2 j / D)).

    Angles are float32, as in the published model and its native counterpart; float64 in a float64 model.
    """
    precision = torch.float64 if dtype == torch.float64 else torch.float32
    exponents = torch.arange(0, head_dim, 2, dtype=precision, device=position_ids.device) / head_dim
    angles = torch.outer(position_ids.to(precision), 1.0 / theta**exponents)
    return torch.polar(torch.ones_like(angles), angles)


def rotate(heads: Tensor, table: Tensor) -> Tensor:
    """heads (T, ..., D), table (T, D / 2) -> heads turned, each pair (2 j, 2 j + 1) as one complex number."""
    # A complex product is one pass over memory; there is no complex bfloat16.
    pairs = heads.to(table.real.dtype).unflatten(-1, (-1, 2))
    angles = table.view(table.shape[0], *(1,) * (heads.dim() - 2), -1)
    turned = torch.view_as_real(torch.view_as_complex(pairs) * angles).flatten(-2)
    return turned.to(heads.dtype)
