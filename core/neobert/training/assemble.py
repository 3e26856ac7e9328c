"""Builds a run's parts, each seeing those before it."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import torch
from attrs import evolve, frozen

from neobert.batch import Batch
from neobert.context import BuildContext, ParameterGroup
from neobert.data import EvaluationData, TrainingData, build_data, select_splits
from neobert.data.tokenization import plain_backend
from neobert.interfaces import Checkpointer, Schedule, Tracker
from neobert.recipe import Recipe
from neobert.training.devices import Placement
from neobert.training.groups import group_parameters
from neobert.training.objective import Objective, prepare_blocks
from neobert.training.state import RunState, group_options

logger = logging.getLogger("neobert.training")


@frozen(eq=False, kw_only=True)
class Parts:
    """Everything a loop needs, built."""

    context: BuildContext
    tokenizer: Any
    training_data: TrainingData
    evaluation_data: EvaluationData | None
    objective: Objective
    groups: tuple[ParameterGroup, ...]
    optimizer: torch.optim.Optimizer
    state: RunState
    """All tensors that a checkpoint holds."""
    schedule: Schedule
    checkpointer: Checkpointer

    @property
    def tokenizer_fingerprint(self) -> str:
        """The tokenizer's content, so that a resumed run is known to have the same one."""
        content = f"{plain_backend(self.tokenizer)} {sorted(self.tokenizer.special_tokens_map.items())}"
        return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()

    @property
    def device(self) -> torch.device:
        return self.context.device

    def to_device(self, batch: Batch) -> Batch:
        """The batch where the model is; copies from page-locked memory do not block."""
        return batch.to(self.device, non_blocking=True)


def assemble(recipe: Recipe, placement: Placement, run_directory: Path) -> Parts:
    """Builds every part but the trackers, which are opened once nothing can be refused any more."""
    context = first_context(recipe, placement, run_directory)
    splits = select_splits(recipe.dataset.build(context), recipe.dataset.served, recipe.trainer.seed)
    for note in splits.notes:
        logger.info(note)
    context = evolve(context, dataset=splits.as_mapping())
    tokenizer = recipe.tokenizer.build(context)
    context = evolve(context, tokenizer=tokenizer, vocab_size=padded_vocab_size(count_tokens(tokenizer), recipe))
    training_data, evaluation_data = build_data(recipe, splits.as_mapping(), tokenizer, recipe.datacollator, context)
    objective, context = build_objective(recipe, context)
    groups = group_parameters(objective.encoder, objective.loss)
    context = evolve(context, parameter_groups=groups)
    optimizer = recipe.optimizer.build(context)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return Parts(
        context=context,
        tokenizer=tokenizer,
        training_data=training_data,
        evaluation_data=evaluation_data,
        objective=objective,
        groups=groups,
        optimizer=optimizer,
        state=RunState(objective, optimizer, groups, group_options(optimizer)),
        schedule=recipe.scheduler.build(context),
        checkpointer=recipe.checkpointer.build(context),
    )


def first_context(recipe: Recipe, placement: Placement, run_directory: Path) -> BuildContext:
    """What every part may rely on, before anything is built."""
    return BuildContext(
        seed=recipe.trainer.seed,
        device=placement.device,
        rank=placement.rank,
        world_size=placement.world_size,
        run_directory=run_directory.absolute(),
        max_seq_length=recipe.dataset.max_seq_length,
        max_steps=recipe.trainer.max_steps,
    )


def build_objective(recipe: Recipe, context: BuildContext) -> tuple[Objective, BuildContext]:
    """Encoder and loss on the run's device."""
    encoder = recipe.model.build(context).to(context.device)
    context = evolve(context, encoder=encoder)
    objective = Objective(encoder, recipe.loss.build(context).to(context.device))
    prepare_blocks(encoder.blocks, recipe.trainer)
    return objective, context


def build_trackers(recipe: Recipe, context: BuildContext) -> list[Tracker]:
    """One tracker for each that the recipe names, on the first rank only."""
    return [part.build(context) for part in recipe.trackers] if context.rank == 0 else []


def count_tokens(tokenizer: Any) -> int:
    """One past its largest id: a vocabulary may have holes."""
    ids: list[int] = list(tokenizer.get_vocab().values())
    return max(len(tokenizer), 1 + max(ids))


def padded_vocab_size(num_tokens: int, recipe: Recipe) -> int:
    """The tokenizer's length, rounded up as its options say."""
    multiple = getattr(recipe.tokenizer.options, "pad_vocab_to_multiple_of", 1)
    return -(-num_tokens // multiple) * int(multiple)
