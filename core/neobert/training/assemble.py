"""Builds a run's parts, each seeing those before it."""

from __future__ import annotations

from collections.abc import Mapping
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
from neobert.training.gradient_sums import ONE_PROCESS, GradientSums, Synchronizer
from neobert.training.groups import group_parameters
from neobert.training.objective import Objective, Objectives, prepare_blocks
from neobert.training.precision import set_tf32
from neobert.training.ranks import ALONE, Ranks
from neobert.training.sharding import ShardedSums, is_sharded, shard
from neobert.training.state import RunState, group_options


@frozen(eq=False, kw_only=True)
class Parts(DataParts):
    """Everything a loop needs, built."""

    objective: Objective | Objectives
    groups: tuple[ParameterGroup, ...]
    optimizer: torch.optim.Optimizer
    state: RunState
    """All tensors that a checkpoint holds."""
    schedule: Schedule
    checkpointer: Checkpointer
    average: WeightAverage | None = None
    """Of the weights, where the recipe has one."""
    ranks: Ranks = ALONE
    synchronizer: Synchronizer = ONE_PROCESS
    """Makes a step's sums those of all ranks."""

    @property
    def own_objective(self) -> Objective:
        """The one objective that these are the parts of."""
        assert isinstance(self.objective, Objective), "these are the parts of several objectives: see each"
        return self.objective

    @property
    def device(self) -> torch.device:
        return self.context.device

    @property
    def is_sharded(self) -> bool:
        """Whether this process has a part of the weights: whoever computes with them, all have to."""
        return self.state.is_sharded

    def to_device(self, batch: Batch) -> Batch:
        """The batch where the model is; copies from page-locked memory do not block."""
        return batch.to(self.device, non_blocking=True)

    def free(self) -> None:
        """Gives back what a step that failed had: its gradients, and on a GPU what the allocator kept."""
        self.optimizer.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def assemble(recipe: Recipe, placement: Placement, run_directory: Path, ranks: Ranks = ALONE) -> Parts:
    """Builds every part but the trackers, which are opened once nothing can be refused any more."""
    set_tf32(recipe.trainer, placement.device)
    data = build_data_parts(recipe, placement, run_directory)
    sharded = is_sharded(recipe.trainer, ranks)
    contexts = {name: part.context for name, part in data.each.items()}
    # What is shared out goes to the device a block at a time: the whole may have no place there.
    objective, own, context = build_objectives(recipe, contexts, moved=not sharded)
    if sharded:
        shard(objective, own, placement.device)
    losses = {"losses": objective.losses} if isinstance(objective, Objectives) else {"loss": objective.loss}
    groups = group_parameters(objective.encoder, **losses)
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
    parts = Parts(
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
        ranks=ranks,
        synchronizer=ShardedSums() if sharded else ONE_PROCESS if ranks.alone else GradientSums(objective),
    )
    views = {name: _as_only_one(parts, part, own[name]) for name, part in data.objectives.items()}
    return evolve(parts, objectives=views)


def build_objectives(
    recipe: Recipe, contexts: Mapping[str, BuildContext], *, moved: bool = True
) -> tuple[Objective | Objectives, dict[str, Objective], BuildContext]:
    """The run's module, the objective of each name, and the context that knows the encoder.

    ``moved``: to the contexts' device; false leaves everything where the parts make it."""
    first = next(iter(contexts.values()))
    encoder = recipe.model.build(first)
    encoder = encoder.to(first.device) if moved else encoder
    own = {}
    for name, view in recipe.views.items():
        loss = view.loss.build(evolve(contexts[name], encoder=encoder))
        loss = loss.to(first.device) if moved else loss
        own[name] = Objective(encoder, loss, blocks_are_compiled=recipe.trainer.torch_compile)
    whole = Objectives(own) if recipe.objectives else own[""]
    products.use_in(whole)
    same_sizes = all(view.datacollator.pack_sequences for view in recipe.views.values())
    prepare_blocks(encoder.blocks, recipe.trainer, same_sizes=same_sizes)
    return whole, own, evolve(first, encoder=encoder)


def _as_only_one(parts: Parts, data: DataParts, objective: Objective) -> Parts:
    """The parts of one objective of several; what is not its own is shared."""
    return evolve(
        parts,
        context=evolve(data.context, encoder=objective.encoder, parameter_groups=parts.groups),
        training_data=data.training_data,
        evaluation_data=data.evaluation_data,
        objective=objective,
    )


def build_trackers(recipe: Recipe, context: BuildContext) -> list[Tracker]:
    """One tracker for each that the recipe names, on the first rank only."""
    return [part.build(context) for part in recipe.trackers] if context.rank == 0 else []


def close_trackers(trackers: list[Tracker]) -> None:
    """Closes every one, whatever another says to it, and empties the list."""
    with ExitStack() as stack:
        for tracker in trackers:
            stack.callback(tracker.close)
        trackers.clear()
