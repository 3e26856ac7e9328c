"""Encoder and loss as one module: what is wrapped, synchronised and called by the loop."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

from torch import nn
from torch.utils.checkpoint import checkpoint

from neobert.batch import Batch
from neobert.interfaces import LossOutput
from neobert.recipe.trainer import TrainerOptions


class Objective(nn.Module):
    """``forward(batch)`` is the loss of the encoder on a batch. State keys are ``encoder.*`` and ``loss.*``."""

    def __init__(self, encoder: Any, loss: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self.loss = loss

    def forward(self, batch: Batch) -> LossOutput:
        return cast(LossOutput, self.loss(self.encoder, batch))


def prepare_blocks(blocks: nn.ModuleList, trainer: TrainerOptions) -> None:
    """Recomputes or compiles each repeated block, as the recipe says. Parameter names stay as they are."""
    for block in blocks:
        if trainer.gradient_checkpointing:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
        if trainer.torch_compile:
            block.compile()
