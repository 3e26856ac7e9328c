"""Which tokens of one sequence see each other when attention is local."""

from __future__ import annotations

import torch
from torch import Tensor


def band_mask(length: int, window: int | None, device: torch.device) -> Tensor | None:
    """(L, L) bool, True where a token sees another: at most ``window`` tokens away on either side.

    None where every token sees every other.
    """
    if window is None or window >= length - 1:
        return None
    places = torch.arange(length, device=device)
    return (places[:, None] - places).abs() <= window
