"""A checkpoint's model, long after its run: built as the recipe says, and filled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from attrs import evolve, frozen
from torch import Tensor, nn

from neobert.abilities import main_objective
from neobert.context import BuildContext
from neobert.errors import UserError
from neobert.files import faults
from neobert.labels import Labels
from neobert.recipe import Recipe, load_recipe
from neobert.run_folder import TOKENIZER_DIRECTORY
from neobert.training.assemble import build_objectives
from neobert.training.checkpoints import RECIPE_FILE, Progress, read_progress
from neobert.training.data_parts import first_context, padded_vocab_size, vocabulary_length
from neobert.training.devices import Placement
from neobert.training.objective import Objective, Objectives
from neobert.training.state import UPDATES_KEY, averages_of, weights_of
from neobert.training.state_layout import fill_template


@frozen(eq=False)
class Trained:
    """What a checkpoint holds."""

    progress: Progress
    recipe: Recipe
    objectives: Mapping[str, Objective]
    """By the names of `Recipe.views`; they share the encoder."""
    context: BuildContext

    @property
    def encoder(self) -> Any:
        return next(iter(self.objectives.values())).encoder

    @property
    def main(self) -> str:
        """The objective whose embeddings an export has."""
        return main_objective({name: own.loss for name, own in self.objectives.items()})


def load_trained(
    checkpoint: Path, *, device: torch.device | None = None, averaged: bool = False, eager: bool = False
) -> Trained:
    """The model of a checkpoint folder, on the CPU unless told. ``averaged``: the moving average of its weights.
    ``eager``: its blocks are never compiled.

    Raises UserError where there is no intact checkpoint, or none with averaged weights.
    """
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
    if eager:
        recipe = evolve(recipe, trainer=evolve(recipe.trainer, torch_compile=False))
    labels = {name: Labels(tuple(names)) for name, names in progress.labels.items()}
    objective, own, context = build_from(recipe, checkpoint, checkpoint / TOKENIZER_DIRECTORY, device, labels)
    template = fill_template(objective.state_dict(), progress.optimizer_layout, context.device)
    state = recipe.checkpointer.build(context).load(checkpoint, template)
    objective.load_state_dict(weights_of(state), strict=True)
    if averaged:
        _take(averages_of(state), objective)
    return Trained(progress, recipe, own, context)


def build_from(
    recipe: Recipe,
    folder: Path,
    tokenizer_folder: Path,
    device: torch.device | None = None,
    labels: Mapping[str, Labels] | None = None,
) -> tuple[Objective | Objectives, dict[str, Objective], BuildContext]:
    """Encoder and losses of a recipe, fresh, for the vocabulary of a saved tokenizer: see `build_objectives`.

    ``labels``: the classes of the data that each objective was trained on.
    """
    placement = Placement(device or torch.device("cpu"), 0, 1, torch.get_num_threads())
    tokenizer = load_tokenizer(tokenizer_folder)
    vocab_size = padded_vocab_size(vocabulary_length(tokenizer), recipe)
    contexts = {
        name: evolve(
            first_context(view, placement, folder),
            tokenizer=tokenizer,
            vocab_size=vocab_size,
            labels=(labels or {}).get(name),
        )
        for name, view in recipe.views.items()
    }
    return build_objectives(recipe, contexts)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer whose files are in a folder."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def _take(averages: Mapping[str, Tensor], objective: nn.Module) -> None:
    """Every averaged weight in the place of the trained one."""
    weights = dict(objective.named_parameters())
    with torch.no_grad():
        for name, average in averages.items():
            weights[name].copy_(average)
