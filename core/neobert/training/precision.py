"""In which numbers the forward pass runs."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from neobert.recipe.trainer import TrainerOptions


def forward_precision(trainer: TrainerOptions, device: torch.device) -> AbstractContextManager[object]:
    """bf16 autocast, or nothing: weights, gradients and optimizer state are fp32 either way."""
    if trainer.mixed_precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()
