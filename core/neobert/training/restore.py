"""Putting a checkpoint's state into freshly built parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from attrs import evolve

from neobert.data import Cursor
from neobert.errors import UserError
from neobert.recipe import Recipe
from neobert.training.assemble import Parts
from neobert.training.display import Display
from neobert.training.loop import Position
from neobert.training.meter import Meter
from neobert.training.resume import Resumption, check_same_data, compare_schedules
from neobert.training.state import fill_template


def restore(recipe: Recipe, parts: Parts, resumption: Resumption, display: Display) -> Position:
    """Compares what can be compared only now (data, schedule, threads), then loads weights and optimizer state."""
    progress = resumption.progress
    check_same_data(progress, parts.training_data.fingerprint, parts.tokenizer_fingerprint, recipe)
    old_context = evolve(parts.context, max_steps=resumption.recipe.trainer.max_steps)
    compare_schedules(resumption.recipe.scheduler.build(old_context), parts.schedule, progress.step, recipe)
    if progress.num_threads != torch.get_num_threads():
        display.note(
            f"the checkpoint was made with {progress.num_threads} threads, this run has {torch.get_num_threads()}: "
            f"sums take another order, so the bits differ (trainer.num_threads = {progress.num_threads} keeps them)"
        )
    template = fill_template(parts.objective.state_dict(), progress.optimizer_layout, parts.device)
    parts.state.apply(_load(parts, resumption.checkpoint, template))
    meter = Meter(parts.device)
    meter.restore(progress.meter)
    return Position(
        step=progress.step,
        cursor=Cursor.from_json(progress.cursor),
        tokens_seen=progress.tokens_seen,
        meter=meter,
        evaluations={name: dict(means) for name, means in progress.evaluations.items()},
        skipped_steps=progress.skipped_steps,
        source_tokens=Counter(progress.source_tokens),
    )


def _load(parts: Parts, checkpoint: Path, template: Mapping[str, Any]) -> Mapping[str, Any]:
    """The checkpoint's state. One of another shape is refused: changes that were allowed may have made it so."""
    try:
        return parts.checkpointer.load(checkpoint, template)
    except ValueError as error:
        msg = f"this recipe's model has another shape than the checkpoint's, which no permission mends\n{error}"
        raise UserError(msg) from error
