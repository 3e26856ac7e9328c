"""Embeddings of an export, made by those that will open it, against the loss's own.

Shapes: N texts, E embedding size.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neobert.batch import SequenceLayout
from neobert.context import BuildContext
from neobert.embedding.head import apply_head
from neobert.embedding.texts import embed_sequences, token_ids
from neobert.export.compare import samples
from neobert.export.prompts import Prompts
from neobert.export.sentence_files import read_sentence_files

TOLERANCE = 1e-5
"""Largest difference, relative to the largest value."""
LIBRARY = "sentence-transformers"


def compare_embeddings(folder: Path, encoder: Any, loss: Any, prompts: Prompts, context: BuildContext) -> str:
    """Texts, one longer than fits, behind each prompt: tokenized and embedded by both. Returns who made the others.

    sentence-transformers where it is installed; else transformers, and pooling by what the files say. Raises
    RuntimeError above the tolerance.
    """
    texts = _texts(encoder, context)
    names: list[str | None] = [None, *prompts.by_name] if prompts.default is None else list(prompts.by_name)
    theirs, who = (_by_library, f"{LIBRARY} {_version()}") if _version() else (_by_files, _WITHOUT)
    found = theirs(folder, texts, names, context)
    for name, other in zip(names, found, strict=True):
        prompt = "" if name is None else prompts.by_name[name]
        sequences = token_ids(context.tokenizer, texts, context.max_seq_length, prompt)
        ours = embed_sequences(lambda ids, layout: loss.embed(encoder, ids, layout), sequences, context.device)
        difference = float((ours - other.to(ours.device)).abs().max() / ours.abs().max().clamp(min=1e-6))
        if not difference <= TOLERANCE:
            behind = f" behind the prompt {name!r}" if name else ""
            msg = f"the export does not embed as the loss does: {who} differs by {difference:.2e} of its size{behind}"
            raise RuntimeError(msg)
    return f"the export's embeddings are the run's own, as {who} makes them"


_WITHOUT = f"transformers and the written pooling ({LIBRARY} is not installed)"


def _version() -> str | None:
    try:
        return version(LIBRARY)
    except PackageNotFoundError:
        return None


def _texts(encoder: Any, context: BuildContext) -> list[str]:
    """Some that the tokenizer knows the tokens of: short, of ordinary length, and longer than fits."""
    tokenizer = context.tokenizer
    short = [tokenizer.decode(ids.tolist(), skip_special_tokens=True).strip() for ids in samples(encoder, context)]
    said = [text for text in short if text] or ["a"]
    return [*said, " ".join(said * (2 + context.max_seq_length // 8))]


def _by_library(folder: Path, texts: list[str], names: list[str | None], context: BuildContext) -> list[Tensor]:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device=str(context.device), local_files_only=True)
    with torch.no_grad():
        return [
            model.encode(texts, prompt_name=name, convert_to_tensor=True, show_progress_bar=False).float()
            for name in names
        ]


def _by_files(folder: Path, texts: list[str], names: list[str | None], context: BuildContext) -> list[Tensor]:
    from transformers import AutoModel, AutoTokenizer

    said = read_sentence_files(folder)
    model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    found = []
    for name in names:
        prompt = "" if name is None else said.prompts.by_name[name]
        encoded = tokenizer([prompt + text for text in texts], truncation=True, max_length=said.max_seq_length)
        rows = []
        for ids in encoded["input_ids"]:
            with torch.no_grad():
                hidden = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
                rows.append(apply_head(hidden, SequenceLayout.from_lengths([len(ids)]), said.head)[0])
        found.append(torch.stack(rows))
    return found
