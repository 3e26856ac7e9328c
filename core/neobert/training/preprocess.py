"""``--preprocess``: a run's rows selected, its tokenizer made, its text tokenized, ahead of time."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from attrs import frozen

from neobert.data.build import documents_of, form_of, mixture_of
from neobert.data.example_rows import write_examples
from neobert.data.examples import Examples
from neobert.data.joining import describe_existing
from neobert.data.provenance import TOKENIZATION, Tokenization, fingerprint_of
from neobert.data.sequences import SpecialTokens
from neobert.data.splits import is_stream
from neobert.data.token_rows import complete_folder, row_writer
from neobert.errors import UserError
from neobert.files import new_directory, write_json, write_text
from neobert.recipe.tokenized import tokenized_tables
from neobert.training.data_parts import build_rows
from neobert.training.devices import Placement
from neobert.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from neobert.data.documents import Documents
    from neobert.data.example_form import ExampleForm
    from neobert.recipe import Recipe

logger = logging.getLogger("neobert.training")

DATASET, TOKENIZER = "dataset", "tokenizer"
_DOCUMENTS_A_BATCH = 1000


@frozen
class Preprocessed:
    """What was made: a folder to take elsewhere, or the cache of this machine alone."""

    notes: tuple[str, ...]
    tables: str | None
    """``[dataset]`` and ``[tokenizer]`` for recipes elsewhere; None where there is only the cache."""


def preprocess(recipe: Recipe, output: Path) -> Preprocessed:
    """Fills this machine's cache, and writes ``output`` for others: ``dataset``, ``tokenizer`` and the tables; of
    several objectives each one's in a folder of its name.

    The rows are those that the run trains and evaluates on, in their order, without special tokens: a run on
    them takes the same steps. Raises UserError for a stream, which is tokenized while it is trained on.
    """
    placement = Placement(torch.device("cpu"), 0, 1, 1)
    rows = build_rows(recipe, placement, Path(recipe.trainer.output_dir))
    notes: list[str] = []
    datasets, tokenizer = {}, None
    for name, view in recipe.views.items():
        splits, context = rows[name]
        documents, form = _tokenized(view, splits.as_mapping(), context.tokenizer)
        folder = output / name
        notes += _sizes(documents, "document" if form is None else "example", name)
        if mixture_of(view.dataset) is not None:
            notes.append(
                "a mixture is in this machine's cache only: for other machines, neobert-tokenize makes each source a "
                "folder"
            )
            continue
        datasets[name] = _dataset_keys(view, folder, documents)
        tokenizer = tokenizer or _tokenizer_keys(view, folder)
        if not _is_there(folder, context.tokenizer, documents):
            tables = tokenized_tables({"": datasets[name]}, _tokenizer_keys(view, folder))
            prefixes: Mapping[str, str] = {} if form is None else form.prefixes
            names = context.labels.names if context.labels is not None and context.labels.named else ()
            _write(folder, context.tokenizer, documents, tables, prefixes, names)
        if splits.eval_sizes:
            notes.append(
                f"the held-out splits ({', '.join(splits.eval_sizes)}) are one there, with figures of all alone"
            )
    if tokenizer is None:
        return Preprocessed(tuple(notes), None)
    notes.append(f"{output} has it for other machines; path is where the folder lies there")
    return Preprocessed(tuple(notes), tokenized_tables(datasets, tokenizer))


def _tokenized(
    recipe: Recipe, rows: Mapping[str, Any], tokenizer: Any
) -> tuple[dict[str, Documents], ExampleForm | None]:
    """The documents of each split, or its examples and what they are made of."""
    if any(map(is_stream, rows.values())):
        msg = (
            "dataset.streaming = true: a stream is tokenized while it is trained on, and nothing of it is kept\n"
            "neobert-tokenize makes a dataset on disk of it, over as many machines as there are"
        )
        raise UserError(msg)
    keys, form = recipe.dataset.served, form_of(recipe, rows, tokenizer, recipe.datacollator)
    documents = {
        name: documents_of(
            found,
            tokenizer,
            num_proc=keys.num_proc,
            label=name,
            mixture=mixture_of(recipe.dataset),
            max_seq_length=keys.max_seq_length,
            form=form,
        )
        for name, found in rows.items()
    }
    return documents, form


def _sizes(documents: Mapping[str, Documents], what: str, objective: str) -> Iterator[str]:
    for name, one in documents.items():
        size = f"{name}: {counted(len(one), what)}, {counted(int(one.lengths.sum()), 'token')}"
        yield f"objective {objective}, {size}" if objective else size


def _dataset_keys(recipe: Recipe, output: Path, documents: Mapping[str, Documents]) -> dict[str, Any]:
    return {
        "path": str(output.absolute() / DATASET),
        "max_seq_length": recipe.dataset.max_seq_length,
        "train_split": "train",
        "eval_split": "eval" if "eval" in documents else None,
    }


def _tokenizer_keys(recipe: Recipe, output: Path) -> dict[str, Any]:
    rounding = getattr(recipe.tokenizer.options, "pad_vocab_to_multiple_of", None)
    return {"path": str(output.absolute() / TOKENIZER), "pad_vocab_to_multiple_of": rounding}


def _write(
    output: Path,
    tokenizer: Any,
    documents: Mapping[str, Documents],
    tables: str,
    prefixes: Mapping[str, str],
    labels: Sequence[str],
) -> None:
    with new_directory(output) as folder:
        _save_tokenizer(folder / TOKENIZER, tokenizer)
        (folder / DATASET).mkdir()
        for name, found in documents.items():
            if isinstance(found, Examples):
                write_examples(folder / DATASET / name, found, tokenizer, prefixes, labels)
            else:
                _write_split(folder / DATASET / name, tokenizer, found)
        write_json(folder / DATASET / "dataset_dict.json", {"splits": list(documents)})
        write_text(folder / "tables.toml", tables)


def _write_split(folder: Path, tokenizer: Any, documents: Documents) -> None:
    folder.mkdir()
    with row_writer(folder / "data.arrow", SpecialTokens()) as writer:
        for first in range(0, len(documents), _DOCUMENTS_A_BATCH):
            lengths = documents.lengths[first : first + _DOCUMENTS_A_BATCH].astype(np.int64)
            ids = [documents.ids(first + place, 0, length) for place, length in enumerate(lengths.tolist())]
            writer.write(np.concatenate(ids), lengths)
    complete_folder(folder, ["data.arrow"], documents.fingerprint)
    record = Tokenization.of(tokenizer, special_tokens=False)
    record.write(folder, counts={"documents": len(documents)}, content=documents.fingerprint)


def _save_tokenizer(folder: Path, tokenizer: Any) -> None:
    """Saved, and opened again: a tokenizer that comes back as another one would train on other ids."""
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(str(folder))
    back = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    if fingerprint_of(back) != fingerprint_of(tokenizer):
        msg = f"the tokenizer {type(tokenizer).__name__} does not come back the same from a folder; share its source"
        raise UserError(msg)


def _is_there(output: Path, tokenizer: Any, documents: Mapping[str, Documents]) -> bool:
    """Whether ``output`` is whole and holds these very documents. Raises UserError where it holds anything else."""
    if not output.exists():
        return False
    wanted = {name: (fingerprint_of(tokenizer), found.fingerprint) for name, found in documents.items()}
    if describe_existing(output, {name: output / DATASET / name / TOKENIZATION for name in documents}) != wanted:
        msg = f"{output} is there already and holds other data: remove it, or name another folder with --output"
        raise UserError(msg)
    return True
