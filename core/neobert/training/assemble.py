"""Builds a run's parts, each seeing those before it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import torch
from attrs import evolve, frozen

from neobert import products
from neobert.batch import Batch
from neobert.context import BuildContext, ParameterGroup
from neobert.interfaces import Checkpointer, Schedule, Tracker
from neobert.recipe import Recipe
from neobert.training.allocator import keep_after_first_step
from neobert.training.average import WeightAverage
from neobert.training.compilation import RecompilationWatch
from neobert.training.data_parts import DataParts, build_data_parts
from neobert.training.devices import Placement
from neobert.training.groups import group_parameters
from neobert.training.objective import Objective, prepare_blocks
from neobert.training.precision import set_tf32
from neobert.training.state import RunState, group_options


@frozen(eq=False, kw_only=True)
class Parts(DataParts):
    """Everything a loop needs, built."""

    objective: Objective
    groups: tuple[ParameterGroup, ...]
    optimizer: torch.optim.Optimizer
    state: RunState
    """All tensors that a checkpoint holds."""
    schedule: Schedule
    checkpointer: Checkpointer
    average: WeightAverage | None = None
    """Of the weights, where the recipe has one."""

    @property
    def device(self) -> torch.device:
        return self.context.device

    def to_device(self, batch: Batch) -> Batch:
        """The batch where the model is; copies from page-locked memory do not block."""
        return batch.to(self.device, non_blocking=True)

    def free(self) -> None:
        """Gives back what a step that failed had: its gradients, and on a GPU what the allocator kept."""
        self.optimizer.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def assemble(recipe: Recipe, placement: Placement, run_directory: Path) -> Parts:
    """Builds every part but the trackers, which are opened once nothing can be refused any more."""
    set_tf32(recipe.trainer, placement.device)
    data = build_data_parts(recipe, placement, run_directory)
    objective, context = build_objective(recipe, data.context)
    groups = group_parameters(objective.encoder, objective.loss)
    context = evolve(context, parameter_groups=groups)
    optimizer = recipe.optimizer.build(context)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    if placement.keeps_freed_memory:
        keep_after_first_step(optimizer)
    if recipe.trainer.torch_compile:
        RecompilationWatch(optimizer)
    ema = recipe.trainer.ema
    average = None if ema is None else WeightAverage(objective, ema)
    return Parts(
        context=context,
        tokenizer=data.tokenizer,
        training_data=data.training_data,
        evaluation_data=data.evaluation_data,
        objective=objective,
        groups=groups,
        optimizer=optimizer,
        state=RunState(objective, optimizer, groups, group_options(optimizer), average),
        schedule=recipe.scheduler.build(context),
        checkpointer=recipe.checkpointer.build(context),
        average=average,
    )


def build_objective(recipe: Recipe, context: BuildContext) -> tuple[Objective, BuildContext]:
    """Encoder and loss on the run's device."""
    encoder = recipe.model.build(context).to(context.device)
    context = evolve(context, encoder=encoder)
    loss = recipe.loss.build(context).to(context.device)
    objective = Objective(encoder, loss, blocks_are_compiled=recipe.trainer.torch_compile)
    products.use_in(objective)
    prepare_blocks(encoder.blocks, recipe.trainer, same_sizes=recipe.datacollator.pack_sequences)
    return objective, context


def build_trackers(recipe: Recipe, context: BuildContext) -> list[Tracker]:
    """One tracker for each that the recipe names, on the first rank only."""
    return [part.build(context) for part in recipe.trackers] if context.rank == 0 else []


def close_trackers(trackers: list[Tracker]) -> None:
    """Closes every one, whatever another says to it, and empties the list."""
    with ExitStack() as stack:
        for tracker in trackers:
            stack.callback(tracker.close)
        trackers.clear()
