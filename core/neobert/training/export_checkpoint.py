"""``neobert-run --export CHECKPOINT FOLDER``: an export long after the run, from a checkpoint alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from attrs import evolve
from torch import Tensor, nn

from neobert.errors import UserError
from neobert.export import export_model
from neobert.files import disk_errors, faults
from neobert.recipe import load_recipe
from neobert.run_folder import TOKENIZER_DIRECTORY
from neobert.training.assemble import build_objective
from neobert.training.checkpoints import RECIPE_FILE, read_progress
from neobert.training.data_parts import first_context, padded_vocab_size, vocabulary_length
from neobert.training.devices import Placement
from neobert.training.state import UPDATES_KEY, averages_of, fill_template, weights_of


def export_checkpoint(checkpoint: Path, folder: Path, *, averaged: bool = False) -> str:
    """Builds the checkpoint's model on the CPU, fills it, and writes ``folder``; returns what to tell the user.

    ``averaged``: with the moving average of its weights.
    """
    _refuse_taken(folder)
    if not checkpoint.is_dir():
        msg = f"there is no checkpoint folder {checkpoint}; name one such as runs/NAME/checkpoints/1000"
        raise UserError(msg)
    damage = faults(checkpoint)
    if damage:
        msg = f"{checkpoint} is no intact checkpoint: {'; '.join(damage)}"
        raise UserError(msg)
    progress = read_progress(checkpoint)
    if averaged and UPDATES_KEY not in progress.optimizer_layout:
        msg = f"{checkpoint} has no averaged weights: trainer.ema was unset"
        raise UserError(msg)
    recipe = load_recipe(checkpoint / RECIPE_FILE)
    placement = Placement(torch.device("cpu"), 0, 1, torch.get_num_threads())
    context = first_context(recipe, placement, checkpoint)
    tokenizer = _load_tokenizer(checkpoint / TOKENIZER_DIRECTORY)
    context = evolve(context, tokenizer=tokenizer, vocab_size=padded_vocab_size(vocabulary_length(tokenizer), recipe))
    objective, context = build_objective(recipe, context)
    template = fill_template(objective.state_dict(), progress.optimizer_layout, context.device)
    state = recipe.checkpointer.build(context).load(checkpoint, template)
    objective.load_state_dict(weights_of(state), strict=True)
    if averaged:
        _take(averages_of(state), objective)
    if folder.exists():
        folder.rmdir()
    with disk_errors():
        notes = export_model(folder, objective.encoder, objective.loss, recipe, context)
    what = "the averaged weights of step" if averaged else "step"
    return "\n".join((f"exported {what} {progress.step} to {folder}", *notes))


def _take(averages: Mapping[str, Tensor], objective: nn.Module) -> None:
    """Every averaged weight in the place of the trained one."""
    weights = dict(objective.named_parameters())
    with torch.no_grad():
        for name, average in averages.items():
            weights[name].copy_(average)


def _refuse_taken(folder: Path) -> None:
    place = next(place for place in (folder, *folder.parents) if place.exists())
    if not place.is_dir():
        msg = f"{folder} cannot be a folder: {place} is a file"
        raise UserError(msg)
    if place == folder and any(folder.iterdir()):
        msg = f"{folder} exists already; name a folder that does not"
        raise UserError(msg)


def _load_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True)
