"""Encoder and loss as one module: what is wrapped, synchronised and called by the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar, cast

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from neobert.batch import Batch
from neobert.interfaces import LossOutput
from neobert.recipe.trainer import TrainerOptions
from neobert.training.compilation import compiled, mark_varying_sizes
from neobert.training.positions import MASKED_POSITIONS, token_losses

CALLED = ("embed", "losses_from", "guesses", "token_losses", "predict")
"""Methods of an objective that compute with weights, beside its ``forward``."""
T = TypeVar("T")


class Objective(nn.Module):
    """``forward(batch)`` is the loss of the encoder on a batch. State keys are ``encoder.*`` and ``loss.*``."""

    def __init__(self, encoder: Any, loss: Any, *, blocks_are_compiled: bool = False) -> None:
        super().__init__()
        self.encoder = encoder
        self.loss = loss
        self._blocks_are_compiled = blocks_are_compiled

    def forward(self, batch: Batch) -> LossOutput:
        if self._blocks_are_compiled:
            mark_varying_sizes(batch)
        return cast(LossOutput, self.loss(self.encoder, batch))

    def embed(self, batch: Batch) -> Tensor:
        """(N, E): the embeddings of a batch's sequences, its padding sequence left out, by a loss that makes some."""
        if self._blocks_are_compiled:
            mark_varying_sizes(batch)
        embeddings: Tensor = self.loss.embed(self.encoder, batch.input_ids, batch.layout)
        return embeddings[: batch.num_sequences]

    def losses_from(self, embeddings: Tensor, batch: Batch) -> LossOutput:
        """The loss of a batch whose embeddings `embed` has made, by a loss that makes some."""
        if hasattr(self.loss, "losses_from"):
            return cast(LossOutput, self.loss.losses_from(embeddings, batch))
        return self(batch)  # type: ignore[no-any-return]

    def guesses(self, batch: Batch) -> Tensor:
        """(M, V): logits of a batch's masked tokens, by a loss with a vocabulary head."""
        hidden = self.encoder(batch.input_ids, batch.layout, keep=batch.fields[MASKED_POSITIONS])
        return cast(Tensor, self.loss.logits(self.encoder, hidden))

    def token_losses(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """hidden (M, C), labels (M,) -> the cross-entropy of each, (M,), by a loss with a vocabulary head."""
        return token_losses(self.loss, self.encoder, hidden, labels)

    def predict(self, batch: Batch) -> Tensor:
        """(N, K): what is predicted of a batch's sequences, its padding sequence left out, by a loss that predicts."""
        if self._blocks_are_compiled:
            mark_varying_sizes(batch)
        predictions: Tensor = self.loss.predict(self.encoder, batch.input_ids, batch.layout)
        return predictions[: batch.num_sequences]


class Objectives(nn.Module):
    """Several objectives of one encoder. State keys are ``encoder.*`` and ``losses.NAME.*``."""

    def __init__(self, of: Mapping[str, Objective]) -> None:
        super().__init__()
        self.encoder = next(iter(of.values())).encoder
        self.losses = nn.ModuleDict({name: objective.loss for name, objective in of.items()})

    def forward(self, work: Callable[..., T], *arguments: Any) -> T:
        """Whatever is called of one of them, where their weights may be in parts until this is called."""
        return work(*arguments)


def prepare_blocks(blocks: nn.ModuleList, trainer: TrainerOptions, *, same_sizes: bool) -> None:
    """Compiles and recomputes the repeated blocks, as the recipe says. Parameter names stay as they are.

    ``same_sizes``: every micro-batch has the same number of tokens. Recomputing goes around what is compiled, so that
    a graph break inside a block (around attention) stays what it is.
    """
    if trainer.torch_compile:
        for block in blocks:
            block.forward = compiled(block.forward, trainer, same_sizes=same_sizes)
    checkpoint_blocks(blocks, trainer)


def checkpoint_blocks(blocks: nn.ModuleList, trainer: TrainerOptions) -> None:
    """Has every so manieth block, beginning with the first, computed again in the backward pass, if the recipe says."""
    if trainer.gradient_checkpointing:
        for block in list(blocks)[:: trainer.gradient_checkpointing_every or 1]:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
