"""What parts offer beside what they have to: a loss besides losses (and which of several objectives an export is of), a
checkpointer besides whole tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def main_objective(losses: Mapping[str, Any]) -> str:
    """The name of the first that makes embeddings, since a folder can say one way to make them; else of the first that
    predicts, since it can have one such head; else the first."""
    for is_main in (makes_embeddings, predicts):
        for name, loss in losses.items():
            if is_main(loss):
                return name
    return next(iter(losses))


def loss_with_head(losses: Mapping[str, Any]) -> Any:
    """The main objective's loss where it has a vocabulary head, else the first that has; else the main one's."""
    main = losses[main_objective(losses)]
    return next((loss for loss in (main, *losses.values()) if has_head(loss)), main)


def makes_embeddings(loss: Any) -> bool:
    """Whether a loss offers embeddings, and says how it makes them."""
    return hasattr(loss, "embed") and hasattr(loss, "sentence_head")


def predicts(loss: Any) -> bool:
    """Whether a loss says a class or a number of each sequence, and how it comes to it."""
    return hasattr(loss, "predict") and hasattr(loss, "prediction_head")


def has_head(loss: Any) -> bool:
    """Whether a loss has a head over the vocabulary."""
    return hasattr(loss, "logits") and hasattr(loss, "head_state")


def takes_parts(checkpointer: Any) -> bool:
    """Whether a checkpointer saves and fills tensors of which each process has a part (`DTensor`), as they are; one
    that does not say ``takes_parts`` is given whole ones."""
    return bool(getattr(checkpointer, "takes_parts", False))


def writes(checkpointer: Any) -> bool:
    """Whether a checkpointer has a use for the state that it is to save on this rank; it has, unless its ``writes`` is
    false."""
    return bool(getattr(checkpointer, "writes", True))
