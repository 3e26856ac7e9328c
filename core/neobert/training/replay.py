"""A kept step, run again from the weights that it goes with: where do the numbers go wrong?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from attrs import frozen

from neobert.data import MicroBatch
from neobert.errors import UserError
from neobert.interfaces import LossOutput
from neobert.recipe import load_recipe
from neobert.recipe.trainer import TrainerOptions
from neobert.run_folder import CHECKPOINTS
from neobert.training.checkpoints import RECIPE_FILE, read_progress, step_directories
from neobert.training.deterministic import deterministic
from neobert.training.devices import place, refuse_unfit_device
from neobert.training.first_faults import FirstFaults, all_finite
from neobert.training.gradient import finish_gradients
from neobert.training.guard import Reading, read_step
from neobert.training.kept_batch import ABOUT, REPLAYS, KeptStep, read_kept_step
from neobert.training.objective import Objective
from neobert.training.precision import forward_precision, set_tf32
from neobert.training.trained import load_trained

SHOWN = 5
"""Parameters that are named, of those that are not finite."""


@frozen(kw_only=True)
class Replayed:
    """What came of it."""

    folder: Path
    checkpoint: Path
    device: torch.device
    kept: KeptStep
    step: Reading
    """As the run's guard judged it, from the same numbers in the same order."""
    micro_batches: tuple[Reading, ...]
    """Each alone: its own mean loss, and the norm of its share of the step's gradient."""
    first: tuple[FirstFaults, ...]
    """Of each micro-batch."""
    bad_weights: tuple[str, ...]
    """Parameters that are not finite before the step."""


def replay(folder: Path) -> Replayed:
    """Runs the step of a kept folder, or the newest one of a run's folder. Writes nothing.

    Blocks run as they are written, compiled or not, so that every module can be looked into.
    """
    folder = _kept_folder(folder)
    kept = read_kept_step(folder)
    checkpoint = folder.parent.parent / CHECKPOINTS / str(kept.weights_step)
    if not checkpoint.is_dir():
        msg = (
            f"{folder} goes with the checkpoint of step {kept.weights_step}, and {checkpoint} is not there: it was "
            "pruned (trainer.save_total_limit) or moved to superseded/; put it back under that name"
        )
        raise UserError(msg)
    progress = read_progress(checkpoint)
    recipe = load_recipe(checkpoint / RECIPE_FILE)
    refuse_unfit_device(recipe)
    placement = place(recipe.trainer)
    torch.set_num_threads(progress.num_threads)
    set_tf32(recipe.trainer, placement.device)
    objectives = load_trained(checkpoint, device=placement.device, eager=True).objectives
    if kept.objective not in objectives:
        msg = f"{folder} is of the objective {kept.objective!r}, which the recipe of {checkpoint} does not have"
        raise UserError(msg)
    objective = objectives[kept.objective].train()
    with deterministic(recipe.trainer, placement.device):
        return _replayed(folder, checkpoint, kept, objective, recipe.trainer, placement.device)


def _replayed(
    folder: Path,
    checkpoint: Path,
    kept: KeptStep,
    objective: Objective,
    trainer: TrainerOptions,
    device: torch.device,
) -> Replayed:
    outputs, whole = _run(objective, kept.micro_batches, trainer, device)
    items = torch.stack([output.count for output in outputs]).sum()
    readings, first = [], []
    for micro in kept.micro_batches:
        found = FirstFaults()
        with found.watching(objective):
            _, alone = _run(objective, (micro,), trainer, device, items)
        readings.append(alone)
        first.append(found)
    return Replayed(
        folder=folder,
        checkpoint=checkpoint,
        device=device,
        kept=kept,
        step=whole,
        micro_batches=tuple(readings),
        first=tuple(first),
        bad_weights=tuple(name for name, weight in objective.named_parameters() if not all_finite(weight)),
    )


def _kept_folder(folder: Path) -> Path:
    """The folder itself, or the newest that a run has kept."""
    if (folder / ABOUT).is_file() or not folder.is_dir():
        return folder
    kept = step_directories(folder / REPLAYS)
    if kept:
        return kept[max(kept)]
    msg = f"{folder} holds no kept step, and no run that kept one (in {REPLAYS}/): none of its steps went wrong"
    raise UserError(msg)


def _run(
    objective: Objective,
    micro_batches: Sequence[MicroBatch],
    trainer: TrainerOptions,
    device: torch.device,
    items: torch.Tensor | None = None,
) -> tuple[list[LossOutput], Reading]:
    """As `neobert.training.loop.update` up to the guard; the gradient is divided by ``items``, unset by their own."""
    objective.zero_grad(set_to_none=True)
    outputs = []
    for micro in micro_batches:
        torch.manual_seed(micro.seed)
        with forward_precision(trainer, device):
            output = objective(micro.batch.to(device))
        output.total.backward()
        outputs.append(LossOutput(output.total.detach(), output.count.detach().to(device), {}))
    count = torch.stack([output.count for output in outputs]).sum()
    norm = finish_gradients(objective.parameters(), count if items is None else items, trainer.gradient_clipping)
    return outputs, read_step(norm, outputs, count)


def lines_of(done: Replayed) -> Iterator[str]:
    """For people."""
    kept = done.kept
    yield f"step {kept.step}, from the weights of step {kept.weights_step} ({done.checkpoint}), on {done.device}"
    if kept.weights_step != kept.step - 1:
        yield (
            f"these weights are {kept.step - 1 - kept.weights_step} steps older than those that the step went wrong "
            "with: its numbers are near, and not the run's own"
        )
    yield f"the run said: {kept.fault}"
    yield f"{'':<14} {'tokens':>8} {'items':>8} {'loss':>12} {'gradient norm':>14}"
    for number, (micro, reading) in enumerate(zip(kept.micro_batches, done.micro_batches, strict=True)):
        yield _row(f"micro-batch {number}", micro.batch.num_tokens, reading)
    yield _row("the step", sum(micro.batch.num_tokens for micro in kept.micro_batches), done.step)
    yield from _faults(done)


def _row(name: str, tokens: int, reading: Reading) -> str:
    return f"{name:<14} {tokens:>8,} {reading.count:>8,.0f} {reading.loss:>12.6g} {reading.norm:>14.6g}"


def _faults(done: Replayed) -> Iterator[str]:
    if done.bad_weights:
        yield f"weights that are not finite before the step: {_named(done.bad_weights)}"
    found = False
    for number, first in enumerate(done.first):
        if first.module is not None:
            found = True
            given = "what it is given is finite" if first.inputs_finite else "so is what it is given"
            yield f"micro-batch {number}: the first output that is not finite: {first.module}; {given}"
        if first.gradients:
            found = True
            yield f"micro-batch {number}: the first gradients that are not finite: {_named(first.gradients)}"
    if not found and not done.bad_weights:
        yield "every output and every gradient is finite"


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
