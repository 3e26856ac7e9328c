"""A run's position as its checkpoint has it, besides the tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from neobert.data import Place
from neobert.data.sharing import join_places
from neobert.training.assemble import Parts
from neobert.training.checkpoints import Progress
from neobert.training.state_layout import layout_of

if TYPE_CHECKING:
    from neobert.training.loop import Position


def progress_of(parts: Parts, position: Position, state: Mapping[str, Any]) -> Progress:
    """What goes beside ``state``, which is of the same position. Every rank has to call it."""
    return Progress(
        step=position.step,
        cursor=_place_of_all(parts, position).to_json(),
        tokens_seen=position.tokens_seen,
        meter=position.meter.state(parts.ranks),
        evaluations=position.evaluations,
        source_tokens=position.source_tokens,
        objective_steps=position.objective_steps,
        left_out=position.left_out,
        guard=position.guard.to_json(),
        position_losses={when: losses.to_json() for when, losses in position.position_losses.items()},
        best=None if position.best is None else position.best.to_json(),
        labels=_labels(parts),
        optimizer_layout=layout_of(state),
        data_fingerprint=parts.training_data.fingerprint,
        tokenizer_fingerprint=parts.tokenizer_fingerprint,
        num_threads=torch.get_num_threads(),
        world_size=parts.context.world_size,
    )


def _place_of_all(parts: Parts, position: Position) -> Place:
    """The place in the data of all ranks."""
    cursors = parts.ranks.gather(position.cursor.to_json())
    return join_places([parts.training_data.place(cursor) for cursor in cursors])


def _labels(parts: Parts) -> dict[str, tuple[str, ...]]:
    """Objective -> the names of its labels, of those that have some."""
    found = {name: own.context.labels for name, own in parts.each.items()}
    return {name: labels.names for name, labels in found.items() if labels is not None}
