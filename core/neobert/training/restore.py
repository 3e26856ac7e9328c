"""Putting a checkpoint's state into freshly built parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from attrs import evolve

from neobert.abilities import takes_parts
from neobert.data import Cursor, Cursors, Place
from neobert.data.build import mixture_of
from neobert.data.remix import remixed
from neobert.errors import UserError
from neobert.recipe import Recipe, compare
from neobert.training.assemble import Parts
from neobert.training.best import Best
from neobert.training.checkpoints import Progress, progress_errors
from neobert.training.display import Display
from neobert.training.guard import GuardState
from neobert.training.loop import Position
from neobert.training.meter import Meter
from neobert.training.positions import PositionLosses
from neobert.training.resume import Resumption, check_same_data, compare_schedules
from neobert.training.state import UPDATES_KEY

PLANNED_BY = (
    "trainer.per_device_train_batch_size",
    "trainer.enforce_full_packed_batches",
    "trainer.seed",
    "dataset.max_seq_length",
    "datacollator.pack_sequences",
    "datacollator.packing_window",
    "datacollator.overflow",
    "datacollator.group_by_length",
)
"""Keys that decide what a window's plan is."""


def restore(recipe: Recipe, parts: Parts, resumption: Resumption, display: Display) -> Position:
    """Compares what can be compared only now (data, schedule, threads), then loads weights and optimizer state."""
    progress = resumption.progress
    check_same_data(progress, parts.training_data.fingerprint, parts.tokenizer_fingerprint, recipe)
    old_context = evolve(parts.context, max_steps=resumption.recipe.trainer.max_steps)
    compare_schedules(resumption.recipe.scheduler.build(old_context), parts.schedule, resumption, recipe)
    if progress.num_threads != torch.get_num_threads():
        display.note(
            f"the checkpoint was made with {progress.num_threads} threads, this run has {torch.get_num_threads()}: "
            f"sums take another order, so the bits differ (trainer.num_threads = {progress.num_threads} keeps them)"
        )
    for note in _about_average(recipe, progress):
        display.note(note)
    place = _place(recipe, parts, resumption, display)
    parts.training_data.own_place(place)  # refused before anything is written
    load_state(parts, resumption.checkpoint, progress)
    with progress_errors(resumption.checkpoint):
        return position_at(progress, place, parts)


def load_state(parts: Parts, checkpoint: Path, progress: Progress) -> None:
    """Weights, optimizer state and average of a verified checkpoint into the parts of a run, fresh or under way."""
    in_parts = takes_parts(parts.checkpointer)
    template = parts.state.template(progress.optimizer_layout, parts.device, in_parts=in_parts)
    parts.state.apply(_load(parts, checkpoint, template))


def position_at(progress: Progress, cursor: Place, parts: Parts) -> Position:
    """Where a checkpoint stands, with its place in the data."""
    meter = Meter(parts.device)
    if parts.ranks.first:  # the sums of all ranks go on in one
        meter.restore(progress.meter)
    return Position(
        step=progress.step,
        cursor=cursor,
        tokens_seen=progress.tokens_seen,
        meter=meter,
        evaluations={name: dict(means) for name, means in progress.evaluations.items()},
        guard=GuardState.from_json(progress.guard),
        best=Best.from_json(progress.best),
        source_tokens=Counter(progress.source_tokens),
        objective_steps=Counter(progress.objective_steps),
        left_out=Counter(progress.left_out),
        position_losses={when: PositionLosses.from_json(said) for when, said in progress.position_losses.items()},
    )


def _about_average(recipe: Recipe, progress: Progress) -> Iterator[str]:
    """A line where an average begins or ends with this run."""
    saved, wanted = UPDATES_KEY in progress.optimizer_layout, recipe.trainer.ema is not None
    if wanted and not saved:
        yield f"trainer.ema: the checkpoint has no average of the weights; it begins with those of step {progress.step}"
    if saved and not wanted:
        yield "trainer.ema is unset: the checkpoint's average of the weights is left behind"


def _place(recipe: Recipe, parts: Parts, resumption: Resumption, display: Display) -> Place:
    """The checkpoint's place in the data; where a mixture is changed from there on, the same place in the new one."""
    with progress_errors(resumption.checkpoint):
        place = parts.training_data.place(resumption.progress.cursor)
    before, now = resumption.recipe.views, recipe.views
    if not isinstance(place, Cursors):
        return _in_changed_mixture(place, before[""], now[""], parts, display)
    return Cursors(
        {
            name: _in_changed_mixture(place.of[name], before[name], now[name], own, display)
            for name, own in parts.each.items()
        }
    )


def _in_changed_mixture(cursor: Cursor, old: Recipe, new: Recipe, parts: Parts, display: Display) -> Cursor:
    before = mixture_of(old.dataset)
    if before is None or before == mixture_of(new.dataset):
        return cursor
    changed = [change.key for change in compare(old, new) if change.key in PLANNED_BY]
    if changed:
        msg = (
            f"the mixture and {', '.join(changed)} cannot change at once: the window that the run stands in was "
            "planned with the old value\nchange one, train to the next checkpoint, then change the other"
        )
        raise UserError(msg)
    display.note(
        "the mixture is another from here on: each source goes on from its place; what was planned comes first"
    )
    return remixed(parts.own_data, before, cursor)


def _load(parts: Parts, checkpoint: Path, template: Mapping[str, Any]) -> Mapping[str, Any]:
    """The checkpoint's state. One of another shape is refused: changes that were allowed may have made it so."""
    try:
        return parts.checkpointer.load(checkpoint, template)
    except ValueError as error:
        msg = f"this recipe's model has another shape than the checkpoint's, which no permission mends\n{error}"
        raise UserError(msg) from error
