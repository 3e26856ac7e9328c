"""The one training loop. What a step optimises comes from the parts; the loop only divides, updates and records."""

from __future__ import annotations

import math

import torch
from attrs import define, field
from torch import Tensor

from neobert.data import Cursor, StepBatches
from neobert.errors import UserError
from neobert.recipe.trainer import TrainerOptions
from neobert.training.assemble import Parts
from neobert.training.gradient import finish_gradients
from neobert.training.meter import Meter
from neobert.training.precision import forward_precision
from neobert.training.recorder import Recorder
from neobert.training.signals import StopSignal


@define(kw_only=True)
class Position:
    """Where the run is. Together with the tensors, all that going on needs."""

    step: int
    cursor: Cursor
    tokens_seen: int
    meter: Meter
    evaluations: dict[str, dict[str, float]] = field(factory=dict)
    skipped_steps: int = 0


def train(parts: Parts, position: Position, trainer: TrainerOptions, recorder: Recorder, stop: StopSignal) -> None:
    """Runs until ``max_steps``, or until a signal asks to stop; saves at the end either way."""
    parts.objective.train()
    for data in parts.training_data.steps(position.cursor, position.step):
        norm = update(parts, data, position, trainer)
        position.step += 1
        position.cursor = data.cursor
        position.tokens_seen += sum(micro.batch.num_tokens for micro in data.micro_batches)
        done = position.step >= trainer.max_steps or stop.number != 0
        recorder.after_step(parts, data, norm, position, done)
        if done:
            return


def update(parts: Parts, data: StepBatches, position: Position, trainer: TrainerOptions) -> Tensor:
    """One optimiser update: backward on sums, one division by the step's count, clip, step. Returns the norm."""
    factor = parts.schedule(position.step)
    for group in parts.optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor
    count = torch.zeros((), device=parts.device)
    for micro in data.micro_batches:
        torch.manual_seed(micro.seed)
        with forward_precision(trainer, parts.device):
            output = parts.objective(parts.to_device(micro.batch))
        output.total.backward()
        count += output.count
        position.meter.add(output)
    norm = finish_gradients(parts.objective.parameters(), count, trainer.gradient_clipping)
    if _may_step(norm, position, trainer):
        parts.optimizer.step()
    parts.optimizer.zero_grad(set_to_none=True)
    return norm


def _may_step(norm: Tensor, position: Position, trainer: TrainerOptions) -> bool:
    """The one value of a step that the host has to know before the weights change."""
    value = float(norm)
    if math.isfinite(value):
        return True
    if trainer.on_nonfinite_gradient == "stop":
        msg = (
            f"step {position.step + 1}: the gradient's norm is {value}; the weights are as step {position.step} left "
            "them\nlower optimizer.lr, set trainer.gradient_clipping, or go on past such steps with "
            "--trainer.on_nonfinite_gradient skip"
        )
        raise UserError(msg)
    position.skipped_steps += 1
    return False
