"""Opens whatever a folder holds that makes embeddings: a run, a checkpoint, an export, a stranger's model."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch

from neobert.abilities import main_objective, makes_embeddings
from neobert.capabilities import Target
from neobert.context import BuildContext
from neobert.errors import UserError
from neobert.evaluation.folders import labels_beside, locate
from neobert.evaluation.model import PLAIN, StreamModel, TextModel
from neobert.evaluation.strangers import PLAIN_SAID, of_library, of_transformers, opened, similarity_of, stream_of
from neobert.export.compare import reference_encoder
from neobert.export.prompts import prompts_of
from neobert.export.sentence_files import MODULES_FILE
from neobert.recipe import Recipe, check_device, load_recipe
from neobert.run_folder import refuse_damaged
from neobert.training.checkpoints import RECIPE_FILE
from neobert.training.trained import build_from, load_trained


def open_model(folder: Path, device: torch.device) -> TextModel:
    """As whoever gets the folder opens it. Raises UserError where there is nothing that can be opened, with what was
    tried."""
    from importlib.util import find_spec

    located = locate(folder)
    if located.kind == "checkpoint":
        return _of_checkpoint(located.path, device)
    if not located.native:
        return _of_own_export(folder, device)
    if (folder / MODULES_FILE).is_file() and find_spec("sentence_transformers") is not None:
        return opened(folder, lambda: of_library(folder, device))
    return opened(folder, lambda: of_transformers(folder, device))


def open_stream(folder: Path, device: torch.device, *, averaged: bool = False) -> StreamModel:
    """The same by this project's own code, without padding: only a stranger's model is opened with transformers.
    ``averaged``: a checkpoint's averaged weights. Raises UserError."""
    located = locate(folder)
    if located.kind == "checkpoint":
        return _of_checkpoint(located.path, device, averaged=averaged)
    if averaged:
        msg = f"{folder} is no checkpoint: averaged weights are beside the others there alone (exports have their own)"
        raise UserError(msg)
    refuse_damaged(folder)
    if located.kind == "export":
        return _of_own_export(folder, device)
    return opened(folder, lambda: of_transformers(folder, device))


def _of_checkpoint(checkpoint: Path, device: torch.device, *, averaged: bool = False) -> StreamModel:
    trained = load_trained(checkpoint, device=device, averaged=averaged)
    objective, recipe = trained.objectives[trained.main].eval(), trained.recipe.views[trained.main]
    encoder, loss = runnable(objective.encoder, recipe, trained.context), objective.loss
    embeds = makes_embeddings(loss)
    said = f"loss {recipe.loss.name}" if embeds else f"loss {recipe.loss.name}; {PLAIN_SAID}"
    head = loss.sentence_head() if embeds else PLAIN
    what = "averaged weights of step" if averaged else "step"
    return StreamModel(
        description=f"{checkpoint}: {what} {trained.progress.step}, {said}",
        tokenizer=trained.context.tokenizer,
        module=encoder,
        hidden=encoder,
        head=head,
        own=partial(loss.embed, encoder) if embeds else None,
        says_head=embeds,
        prompts=prompts_of(recipe),
        max_seq_length=recipe.dataset.max_seq_length,
        device=device,
        similarity=similarity_of(head),
    )


def _of_own_export(folder: Path, device: torch.device) -> StreamModel:
    """Built as its recipe says."""
    from neobert.weights import load_weights

    recipe = load_recipe(folder / RECIPE_FILE)
    objective, own, context = build_from(recipe, folder, folder, device, labels_beside(folder, recipe))
    view = recipe.views[main_objective({name: one.loss for name, one in own.items()})]
    load_weights(folder, objective.encoder, torch.nn.Module())
    encoder = runnable(objective.encoder, recipe, context).eval()
    longest = view.dataset.max_seq_length
    return stream_of(folder, encoder, encoder, context.tokenizer, device, longest=longest, by="its recipe")


def runnable(encoder: Any, recipe: Recipe, context: BuildContext) -> Any:
    """The encoder with an attention backend that runs here: the one of exports where the recipe's own does not."""
    target = Target.of(context.device, "float32")
    return reference_encoder(encoder, recipe, context) if check_device(recipe, target) else encoder
