"""The one training loop. What a step optimises comes from the parts; the loop only divides, updates and records."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import torch
from attrs import define, field
from torch import Tensor

from neobert.data import MicroBatch, Place, StepBatches
from neobert.interfaces import LossOutput
from neobert.objective_names import prefix_of
from neobert.recipe.trainer import TrainerOptions
from neobert.training.assemble import Parts
from neobert.training.best import Best
from neobert.training.faults import Faults
from neobert.training.gradient import finish_gradients
from neobert.training.guard import GuardState, read_step
from neobert.training.meter import Meter
from neobert.training.objective import Objective
from neobert.training.positions import PositionLosses
from neobert.training.precision import forward_precision
from neobert.training.recorder import Recorder
from neobert.training.signals import StopSignal
from neobert.training.together import steps_of_all

if TYPE_CHECKING:
    from neobert.training.rollback import Rollback


@define(kw_only=True)
class Position:
    """Where the run is. Together with the tensors, all that going on needs."""

    step: int
    cursor: Place
    tokens_seen: int
    meter: Meter
    evaluations: dict[str, dict[str, float]] = field(factory=dict)
    position_losses: dict[str, PositionLosses] = field(factory=dict)
    """With `trainer.eval_position_buckets`: of the same evaluations."""
    guard: GuardState = field(factory=GuardState)
    best: Best | None = None
    """With ``trainer.metric_for_best``."""
    source_tokens: Counter[str] = field(factory=Counter)
    """Of a mixture: tokens of each source trained on, over all ranks."""
    objective_steps: Counter[str] = field(factory=Counter)
    """Of several objectives: the steps of each."""
    left_out: Counter[str] = field(factory=Counter)
    """Of a stream: rows so far that were damaged, empty or cut, each pass over them counted."""
    ended: bool = False
    """The data had an end, and it was reached."""
    between: bool = False
    """Weights and counts are not of one step: an update or a way back is under way, and nothing can be saved."""


def train(
    parts: Parts,
    position: Position,
    trainer: TrainerOptions,
    recorder: Recorder,
    stop: StopSignal,
    rollback: Rollback | None = None,
) -> None:
    """Runs until ``max_steps``, until the data ends, or until a signal asks to stop; saves at the end either way.

    ``rollback`` is how the run goes back to a checkpoint, where the recipe's guard may ask for it.
    """
    faults = Faults(trainer=trainer, recorder=recorder, rollback=rollback)
    parts.objective.train()
    steps = steps_of_all(parts.training_data.steps(position.cursor, position.step), parts.ranks, stop)
    while True:
        data = recorder.next_step(steps, position)
        norm, fault = update(parts, data, position, trainer)
        if fault is not None and faults.meet(fault, data, position):
            steps = steps_of_all(parts.training_data.steps(position.cursor, position.step), parts.ranks, stop)
            continue
        position.step += 1
        position.cursor = data.cursor
        position.tokens_seen += data.num_tokens
        position.source_tokens.update(data.source_tokens)
        position.objective_steps.update([data.objective] if data.objective else [])
        position.left_out.update(data.left_out)
        position.ended = data.last
        position.between = False
        done = position.step >= trainer.max_steps or data.last or stop.due != 0
        recorder.after_step(parts, data, norm, position, done)
        if done:
            return


def update(
    parts: Parts, data: StepBatches, position: Position, trainer: TrainerOptions
) -> tuple[Tensor | None, str | None]:
    """One optimiser update: backward on sums, one division by the step's count, clip, step.

    Returns the gradient's norm before clipping and None; or None and what is wrong with the step, and nothing has
    changed then.
    """
    factor = parts.schedule(position.step)
    for group in parts.optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor
    own = parts.each[data.objective].own_objective
    outputs = [_backward(own, parts, micro, trainer) for micro in parts.synchronizer.watched(data.micro_batches)]
    count = torch.stack([output.count.to(parts.device) for output in outputs]).sum()
    summed, count = parts.synchronizer.finish(outputs, count)
    norm = finish_gradients(parts.objective.parameters(), count, trainer.gradient_clipping)
    # All that the host has to know of a step before the weights change.
    reading = read_step(norm, summed, count)
    fault = position.guard.fault(reading, trainer.guard, data.objective)
    if fault is None:
        position.between = True
        parts.optimizer.step()
        if parts.average is not None:
            parts.average.update()
        position.guard.accept(reading, trainer.guard, data.objective)
        for output in outputs:
            position.meter.add(output, prefix_of(data.objective))
    parts.optimizer.zero_grad(set_to_none=True)
    return (norm, None) if fault is None else (None, fault)


def _backward(objective: Objective, parts: Parts, micro: MicroBatch, trainer: TrainerOptions) -> LossOutput:
    """Gradients of one micro-batch's sum; what is returned holds no graph."""
    torch.manual_seed(micro.seed)
    with forward_precision(trainer, parts.device):
        output = objective(parts.to_device(micro.batch))
    output.total.backward()
    return LossOutput(output.total.detach(), output.count.detach(), output.metrics)
