"""Ranks that each have all weights have the same: what would part them is found at the next save, not after the run."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

from neobert.errors import UserError
from neobert.shards import any_sharded
from neobert.training.ranks import Ranks

ROW = 1024
_WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Whole numbers by their size in bytes."""


def refuse_other_weights(ranks: Ranks, module: nn.Module) -> None:
    """Raises UserError where a rank's weights are not, bit for bit, those of the first; nothing of one process,
    nor where each has a part that no other has."""
    if ranks.alone or any_sharded(module.parameters()):
        return
    found = ranks.gather(_fingerprint(module))
    other = [str(rank) for rank, fingerprint in enumerate(found) if fingerprint != found[0]]
    if other:
        msg = (
            f"the weights of rank {', '.join(other)} are not those of rank 0: what they have trained since the last "
            "checkpoint is not one model's. Are the machines, drivers and library versions the same?"
        )
        raise UserError(msg)


@torch.no_grad()
def _fingerprint(module: nn.Module) -> str:
    """Of every parameter, sums of its bits as whole numbers, in which no rounding hides a difference."""
    sums = [total for parameter in module.parameters() for total in _sums(parameter.detach())]
    return hashlib.sha256(torch.stack(sums).cpu().numpy().tobytes()).hexdigest() if sums else ""


def _sums(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Of all bits, and of the same by rows that count for more and more: two that change places show."""
    bits = weights.flatten().view(_WHOLE[weights.element_size()])
    rows = bits[: len(bits) // ROW * ROW].view(-1, ROW).sum(1, dtype=torch.int64)
    order = torch.arange(1, len(rows) + 1, device=bits.device)
    return bits.sum(dtype=torch.int64), (rows * order).sum()
