"""Opens whatever a folder holds that makes embeddings: a run, a checkpoint, an export, a stranger's model."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch

from neobert.abilities import main_objective, makes_embeddings
from neobert.capabilities import Target
from neobert.context import BuildContext
from neobert.embedding.head import apply_head
from neobert.embedding.texts import Embed
from neobert.errors import UserError
from neobert.evaluation.folders import labels_beside, locate
from neobert.evaluation.model import LibraryModel, Similarity, StreamModel, TextModel, padded
from neobert.export.compare import reference_encoder
from neobert.export.prompts import Prompts, prompts_of
from neobert.export.quiet import quiet_transformers
from neobert.export.sentence_files import MODULES_FILE, SentenceFolder, read_sentence_files
from neobert.interfaces import SentenceHead
from neobert.recipe import Recipe, check_device, load_recipe
from neobert.training.checkpoints import RECIPE_FILE
from neobert.training.trained import build_from, load_tokenizer, load_trained

PLAIN = SentenceHead(pooling="mean", normalize=True)
"""Of a model that makes no embeddings of its own."""
_PLAIN_SAID = "mean of its token vectors, as it makes no embeddings of its own"
_LONGEST = 512
"""Tokens of a text for a model that says no number of its own."""


def open_model(folder: Path, device: torch.device) -> TextModel:
    """Raises UserError where there is nothing that can be opened, with what was tried."""
    located = locate(folder)
    if located.kind == "checkpoint":
        return _of_checkpoint(located.path, device)
    if not located.native:
        return _of_own_layout(folder, device)
    return _of_strangers(folder, device)


def _of_checkpoint(checkpoint: Path, device: torch.device) -> TextModel:
    trained = load_trained(checkpoint, device=device)
    objective, recipe = trained.objectives[trained.main].eval(), trained.recipe.views[trained.main]
    encoder, loss = runnable(objective.encoder, recipe, trained.context), objective.loss
    said, similarity = f"loss {recipe.loss.name}", _similarity(PLAIN)
    compute: Embed
    if makes_embeddings(loss):
        similarity, compute = _similarity(loss.sentence_head()), partial(loss.embed, encoder)
    else:
        compute, said = _headed(encoder, PLAIN), f"{said}; {_PLAIN_SAID}"
    return StreamModel(
        description=f"{checkpoint}: step {trained.progress.step}, {said}",
        tokenizer=trained.context.tokenizer,
        compute=compute,
        prompts=prompts_of(recipe),
        max_seq_length=recipe.dataset.max_seq_length,
        device=device,
        similarity=similarity,
    )


def _of_own_layout(folder: Path, device: torch.device) -> TextModel:
    """An export that no other library opens: built as its recipe says."""
    from neobert.weights import load_weights

    recipe = load_recipe(folder / RECIPE_FILE)
    objective, own, context = build_from(recipe, folder, folder, device, labels_beside(folder, recipe))
    view = recipe.views[main_objective({name: one.loss for name, one in own.items()})]
    load_weights(folder, objective.encoder, torch.nn.Module())
    encoder = runnable(objective.encoder, recipe, context).eval()
    said = read_sentence_files(folder) if (folder / MODULES_FILE).is_file() else None
    return _stream(
        folder, said, encoder, context.tokenizer, device, longest=view.dataset.max_seq_length, by="its recipe"
    )


def _of_strangers(folder: Path, device: torch.device) -> TextModel:
    """With sentence-transformers where its files are there and it is installed, else with transformers alone."""
    from importlib.util import find_spec

    has_modules = (folder / MODULES_FILE).is_file()
    try:
        with quiet_transformers():
            if has_modules and find_spec("sentence_transformers") is not None:
                return _of_library(folder, device)
            return _of_transformers(folder, read_sentence_files(folder) if has_modules else None, device)
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


def _of_transformers(folder: Path, said: SentenceFolder | None, device: torch.device) -> TextModel:
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
    return _stream(
        folder, said, padded(model.to(device).eval()), tokenizer, longest=longest, device=device, by="transformers"
    )


def _stream(
    folder: Path,
    said: SentenceFolder | None,
    encoder: Embed,
    tokenizer: Any,
    device: torch.device,
    *,
    longest: int,
    by: str,
) -> TextModel:
    """An encoder with what the folder's files say of pooling, or with the mean where they say nothing."""
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
        compute=_headed(encoder, head),
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


def _headed(encoder: Any, head: SentenceHead) -> Embed:
    return lambda ids, layout: apply_head(encoder(ids, layout), layout, head)


def _similarity(head: SentenceHead) -> Similarity:
    return "cosine" if head.normalize else "dot"


def _known(name: str) -> tuple[Similarity, str]:
    """The model's own way to compare, of those that rank here; for another one, what is said of that."""
    if name == "dot":
        return "dot", ""
    return "cosine", "" if name == "cosine" else f"; it compares by {name}, and cosines are taken instead"
