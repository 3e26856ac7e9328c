"""Opens whatever a folder holds that makes embeddings: a run, a checkpoint, an export, a stranger's model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from neobert.abilities import main_objective, makes_embeddings
from neobert.capabilities import Target
from neobert.context import BuildContext
from neobert.embedding.texts import Embed
from neobert.errors import UserError
from neobert.evaluation.folders import labels_beside, locate
from neobert.evaluation.model import PLAIN, LibraryModel, Similarity, StreamModel, TextModel, padded
from neobert.export.compare import reference_encoder
from neobert.export.prompts import Prompts, prompts_of
from neobert.export.quiet import quiet_transformers
from neobert.export.sentence_files import MODULES_FILE, read_sentence_files
from neobert.interfaces import SentenceHead
from neobert.recipe import Recipe, check_device, load_recipe
from neobert.run_folder import refuse_damaged
from neobert.training.checkpoints import RECIPE_FILE
from neobert.training.trained import build_from, load_tokenizer, load_trained

_Model = TypeVar("_Model", bound=TextModel)
_PLAIN_SAID = "mean of its token vectors, as it makes no embeddings of its own"
_LONGEST = 512
"""Tokens of a text for a model that says no number of its own."""


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
        return _opened(folder, lambda: _of_library(folder, device))
    return _opened(folder, lambda: _of_transformers(folder, device))


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
    return _opened(folder, lambda: _of_transformers(folder, device))


def _of_checkpoint(checkpoint: Path, device: torch.device, *, averaged: bool = False) -> StreamModel:
    trained = load_trained(checkpoint, device=device, averaged=averaged)
    objective, recipe = trained.objectives[trained.main].eval(), trained.recipe.views[trained.main]
    encoder, loss = runnable(objective.encoder, recipe, trained.context), objective.loss
    embeds = makes_embeddings(loss)
    said = f"loss {recipe.loss.name}" if embeds else f"loss {recipe.loss.name}; {_PLAIN_SAID}"
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
        similarity=_similarity(head),
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
    return _stream(folder, encoder, encoder, context.tokenizer, device, longest=longest, by="its recipe")


def _opened(folder: Path, work: Callable[[], _Model]) -> _Model:
    """Whatever a library says of files that it cannot open becomes a UserError."""
    try:
        with quiet_transformers():
            return work()
    except UserError:
        raise
    except Exception as error:
        msg = f"{folder} cannot be opened as a model\n{type(error).__name__}: {error}"
        raise UserError(msg) from error


def _of_library(folder: Path, device: torch.device) -> TextModel:
    from importlib.metadata import version

    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(
        str(folder), device=str(device), local_files_only=True, model_kwargs={"use_safetensors": True}
    )
    similarity, how = _known(str(model.similarity_fn_name))
    by = f"sentence-transformers {version('sentence-transformers')}"
    return LibraryModel(f"{folder}, opened by {by}{how}", model.eval(), similarity)


def _of_transformers(folder: Path, device: torch.device) -> StreamModel:
    from transformers import AutoModel

    model, info = AutoModel.from_pretrained(
        folder, local_files_only=True, dtype=torch.float32, use_safetensors=True, output_loading_info=True
    )
    # Heads are left out; a pooler that the file lacks is not asked.
    missing = sorted(name for name in info["missing_keys"] if "pooler" not in name)
    if missing:
        msg = f"{folder} lacks tensors of its own model: {', '.join(missing)}"
        raise UserError(msg)
    tokenizer = load_tokenizer(folder)
    longest = longest_of(tokenizer, model.config)
    model = model.to(device).eval()
    return _stream(folder, model, padded(model), tokenizer, device, longest=longest, by="transformers")


def _stream(
    folder: Path, module: Any, hidden: Embed, tokenizer: Any, device: torch.device, *, longest: int, by: str
) -> StreamModel:
    """A model with what the folder's files say of pooling, or with the mean where they say nothing."""
    said = read_sentence_files(folder) if (folder / MODULES_FILE).is_file() else None
    head, how = (PLAIN, f"; {_PLAIN_SAID}") if said is None else (said.head, "")
    similarity = _similarity(head)
    if said is not None:
        similarity, how = _known(said.similarity)
    if head.projection is not None:
        weight, bias = head.projection
        placed = (weight.float().to(device), None if bias is None else bias.float().to(device))
        head = SentenceHead(pooling=head.pooling, normalize=head.normalize, projection=placed)
    return StreamModel(
        description=f"{folder}, opened by {by}{how}",
        tokenizer=tokenizer,
        module=module,
        hidden=hidden,
        head=head,
        says_head=said is not None,
        prompts=Prompts({}) if said is None else said.prompts,
        max_seq_length=longest if said is None or said.max_seq_length is None else said.max_seq_length,
        device=device,
        similarity=similarity,
    )


def runnable(encoder: Any, recipe: Recipe, context: BuildContext) -> Any:
    """The encoder with an attention backend that runs here: the one of exports where the recipe's own does not."""
    target = Target.of(context.device, "float32")
    return reference_encoder(encoder, recipe, context) if check_device(recipe, target) else encoder


def longest_of(tokenizer: Any, config: Any) -> int:
    """Tokens of a text that a transformers model takes, its special ones included."""
    return int(min(tokenizer.model_max_length, getattr(config, "max_position_embeddings", None) or _LONGEST))


def _similarity(head: SentenceHead) -> Similarity:
    return "cosine" if head.normalize else "dot"


def _known(name: str) -> tuple[Similarity, str]:
    """The model's own way to compare, of those that rank here; for another one, what is said of that."""
    if name == "dot":
        return "dot", ""
    return "cosine", "" if name == "cosine" else f"; it compares by {name}, and cosines are taken instead"
