"""Models of others: opened by sentence-transformers, or by transformers and what the folder's files say of pooling."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from neobert.embedding.texts import Embed
from neobert.errors import UserError
from neobert.evaluation.folders import CONFIG_FILE
from neobert.evaluation.model import PLAIN, LibraryModel, Similarity, StreamModel, TextModel, padded
from neobert.export.prompts import Prompts
from neobert.export.quiet import quiet_transformers
from neobert.export.sentence_files import MODULES_FILE, read_sentence_files
from neobert.interfaces import SentenceHead
from neobert.training.trained import load_tokenizer

_Model = TypeVar("_Model", bound=TextModel)
PLAIN_SAID = "mean of its token vectors, as it makes no embeddings of its own"
_LONGEST = 512
"""Tokens of a text for a model that says no number of its own."""


def opened(folder: Path, work: Callable[[], _Model]) -> _Model:
    """Whatever a library says of files that it cannot open becomes a UserError."""
    try:
        with quiet_transformers():
            return work()
    except UserError:
        raise
    except Exception as error:
        msg = f"{folder} cannot be opened as a model\n{type(error).__name__}: {error}"
        raise UserError(msg) from error


def of_library(folder: Path, device: torch.device) -> TextModel:
    from importlib.metadata import version

    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(
        str(folder), device=str(device), local_files_only=True, model_kwargs={"use_safetensors": True}
    )
    similarity, how = _known(str(model.similarity_fn_name))
    by = f"sentence-transformers {version('sentence-transformers')}"
    return LibraryModel(f"{folder}, opened by {by}{how}", model.eval(), similarity)


def of_transformers(folder: Path, device: torch.device) -> StreamModel:
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
    return stream_of(folder, model, padded(model), tokenizer, device, longest=longest, by="transformers")


def with_head(auto: str, folder: Path, device: torch.device, *, what: str, no_head: str) -> tuple[Any, Any]:
    """A transformers model that has a head of its own, of an ``Auto...`` class, and its tokenizer. ``what``: in words.
    Raises UserError, with ``no_head`` where the folder's weights have none."""
    import transformers

    if not (folder / CONFIG_FILE).is_file():
        msg = f"{folder} has no {CONFIG_FILE}: no model of transformers"
        raise UserError(msg)
    try:
        with quiet_transformers():
            model, info = getattr(transformers, auto).from_pretrained(
                folder, local_files_only=True, dtype=torch.float32, use_safetensors=True, output_loading_info=True
            )
            tokenizer = load_tokenizer(folder)
    except Exception as error:
        msg = f"{folder} cannot be opened as a model that {what}\n{type(error).__name__}: {error}"
        raise UserError(msg) from error
    if info["missing_keys"]:
        missing = ", ".join(sorted(info["missing_keys"])[:4])
        msg = f"{folder}: {no_head}\ntransformers would have to make up {missing}"
        raise UserError(msg)
    return model.to(device).eval(), tokenizer


def stream_of(
    folder: Path, module: Any, hidden: Embed, tokenizer: Any, device: torch.device, *, longest: int, by: str
) -> StreamModel:
    """A model with what the folder's files say of pooling, or with the mean where they say nothing."""
    said = read_sentence_files(folder) if (folder / MODULES_FILE).is_file() else None
    head, how = (PLAIN, f"; {PLAIN_SAID}") if said is None else (said.head, "")
    similarity = similarity_of(head)
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


def longest_of(tokenizer: Any, config: Any) -> int:
    """Tokens of a text that a transformers model takes, its special ones included."""
    return int(min(tokenizer.model_max_length, getattr(config, "max_position_embeddings", None) or _LONGEST))


def similarity_of(head: SentenceHead) -> Similarity:
    return "cosine" if head.normalize else "dot"


def _known(name: str) -> tuple[Similarity, str]:
    """The model's own way to compare, of those that rank here; for another one, what is said of that."""
    if name == "dot":
        return "dot", ""
    return "cosine", "" if name == "cosine" else f"; it compares by {name}, and cosines are taken instead"
