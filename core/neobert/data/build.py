"""From a recipe and its built parts to training and evaluation data."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from attrs import evolve

from neobert.cores import available_cores
from neobert.data.collate import CollatorRecipe
from neobert.data.corpus import StoredCorpus, StreamCorpus
from neobert.data.evaluation import EvaluationData
from neobert.data.example_corpus import (
    example_corpus,
    example_documents,
    examples_in,
    known_examples,
    refuse_misfits,
    table_of,
)
from neobert.data.example_form import ExampleForm
from neobert.data.example_report import count_examples
from neobert.data.example_values import label_names
from neobert.data.loading import settle_loading
from neobert.data.mixed import JoinedDocuments, MixedCorpus
from neobert.data.mixed_rows import by_source, parts_of
from neobert.data.mixed_streams import FilteredStream, MixedStreamCorpus
from neobert.data.pretokenized import pretokenized
from neobert.data.sequences import SpecialTokens, body_length
from neobert.data.sharing import share_out
from neobert.data.splits import is_stream
from neobert.data.step_options import StepOptions
from neobert.data.stream import TokenStream
from neobert.data.tokenization import tokenize
from neobert.data.training_data import TrainingData
from neobert.errors import UserError
from neobert.mixture import SOURCE_COLUMN
from neobert.roles import roles_of
from neobert.warmup import batch_size_warmup, length_warmup
from neobert.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from neobert.context import BuildContext
    from neobert.data.corpus import Corpus
    from neobert.data.documents import Documents
    from neobert.data.example_report import ExampleCounts
    from neobert.data.turns import Turn
    from neobert.mixture import Mixture
    from neobert.parts import Part
    from neobert.served import CollatorKeys, DatasetKeys

LABELS_SHOWN = 10
"""Labels that are strings and are told."""

logger = logging.getLogger("neobert.data")


def build_data(
    recipe: Any,
    splits: Mapping[str, Any],
    tokenizer: Any,
    collator: Part,
    context: BuildContext,
    turn: Turn | None = None,
    eval_sizes: Mapping[str, int] | None = None,
) -> tuple[TrainingData, EvaluationData | None]:
    """The data of an objective, from `Splits.as_mapping` and a ``context`` that knows the tokenizer. ``turn``: which
    steps are its; None: all. ``eval_sizes``: `Splits.eval_sizes`."""
    keys = _settled(recipe, context)
    mixture, form = mixture_of(recipe.dataset), form_of(recipe, splits, tokenizer, collator)
    trainer, collating = recipe.trainer, CollatorRecipe(collator, context)
    shared: dict[str, Any] = {
        "special": SpecialTokens.of(tokenizer) if form is None else SpecialTokens(),
        "collator": collating,
        "dataset_keys": keys,
        "collator_keys": recipe.datacollator.served,
    }
    train, share = share_out(splits["train"], keys, context.rank, context.world_size)
    corpus = corpus_of(train, tokenizer, keys, recipe.datacollator.served, mixture, form)
    training = TrainingData(
        share=share,
        corpus=corpus,
        counts=None if form is None else _counted(corpus, recipe),
        options=evolve(_step_options(trainer, keys, context), turn=turn),
        pad_token_id=tokenizer.pad_token_id,
        **shared,
    )
    if "eval" not in splits:
        return training, None
    documents = documents_of(
        splits["eval"],
        tokenizer,
        num_proc=keys.num_proc,
        label="eval",
        mixture=mixture,
        max_seq_length=keys.max_seq_length,
        form=form,
    )
    if form is not None:
        shared |= {"counts": count_examples(examples_in(documents)), "table": table_of(documents, form)}
    if eval_sizes and mixture is not None:
        msg = "dataset.eval_split names several splits, and of a mixture its sources are measured apart: name one"
        raise UserError(msg)
    shared["sources"] = eval_sizes or _sizes(documents)
    return training, _evaluation_data(documents, trainer, context, shared)


def _sizes(documents: Documents) -> Mapping[str, int]:
    return documents.sizes if isinstance(documents, JoinedDocuments) else {}


def _settled(recipe: Any, context: BuildContext) -> DatasetKeys:
    keys, notes = settle_loading(recipe.dataset.served, context.device.type, available_cores())
    for note in notes:
        logger.info(note)
    return keys


def _counted(corpus: Corpus, recipe: Any) -> ExampleCounts:
    """What there is of examples, once it is known that micro-batches can be made of them."""
    batch_size, packed = recipe.trainer.per_device_train_batch_size, recipe.datacollator.pack_sequences
    refuse_misfits(corpus, batch_size, recipe.dataset.max_seq_length, packed=packed)
    return count_examples(known_examples(corpus))


def form_of(recipe: Any, splits: Mapping[str, Any], tokenizer: Any, collator: Part) -> ExampleForm | None:
    """What examples are made of, where the collator takes them by role; None where it takes token sequences."""
    roles = roles_of(collator.options)
    if roles is None:
        return None
    form = ExampleForm.of(roles, tokenizer, recipe.dataset.served, recipe.datacollator.served)
    names = label_names(splits, roles)
    if names:
        shown = ", ".join(f"{number} = {name!r}" for number, name in enumerate(names[:LABELS_SHOWN]))
        more = ", ..." if len(names) > LABELS_SHOWN else ""
        logger.info("labels: %s as whole numbers, by sorted value: %s%s", counted(len(names), "string"), shown, more)
    return evolve(form, labels=names)


def _evaluation_data(
    documents: Documents, trainer: Any, context: BuildContext, shared: Mapping[str, Any]
) -> EvaluationData:
    return EvaluationData(
        documents=documents,
        per_device_eval_batch_size=trainer.per_device_eval_batch_size,
        eval_max_batches=trainer.eval_max_batches,
        seed=context.seed,
        rank=context.rank,
        world_size=context.world_size,
        **shared,
    )


def _step_options(trainer: Any, keys: DatasetKeys, context: BuildContext) -> StepOptions:
    return StepOptions(
        per_device_train_batch_size=trainer.per_device_train_batch_size,
        gradient_accumulation_steps=trainer.gradient_accumulation_steps,
        batch_size_warmup=batch_size_warmup(trainer),
        length_warmup=length_warmup(trainer, keys.max_seq_length),
        enforce_full_packed_batches=trainer.enforce_full_packed_batches,
        seed=context.seed,
        rank=context.rank,
        world_size=context.world_size,
        pin_memory=bool(keys.pin_memory),
    )


def corpus_of(
    rows: Any,
    tokenizer: Any,
    keys: DatasetKeys,
    collator_keys: CollatorKeys,
    mixture: Mixture | None = None,
    form: ExampleForm | None = None,
) -> Corpus:
    """Rows to train on, a ``datasets.Dataset`` or an ``IterableDataset``, ready to be planned over.

    ``form``: what they are made of, where they are examples, with columns by role.
    """
    if form is not None:
        return example_corpus(rows, form, keys, collator_keys, mixture)
    body = body_length(keys.max_seq_length, SpecialTokens.of(tokenizer))
    overflow, window = collator_keys.overflow, collator_keys.packing_window
    if is_stream(rows) and mixture is not None:
        return _mixed_streams(rows, tokenizer, keys, collator_keys, mixture)
    if is_stream(rows):
        return StreamCorpus(TokenStream(rows, tokenizer, window, on_damaged_row=keys.on_damaged_row), body, overflow)
    documents = documents_of(
        rows, tokenizer, num_proc=keys.num_proc, mixture=mixture, max_seq_length=keys.max_seq_length
    )
    if mixture is not None and isinstance(documents, JoinedDocuments):
        return MixedCorpus(documents, mixture, body, overflow, window)
    return StoredCorpus(documents, body, overflow, window)


def _mixed_streams(
    rows: Any, tokenizer: Any, keys: DatasetKeys, collator_keys: CollatorKeys, mixture: Mixture
) -> Corpus:
    parts = parts_of(rows)
    if parts is None or tuple(parts) != mixture.names:
        msg = (
            "the rows of a mixture with streams are what neobert.data.mixed_rows.mixed_stream made of the sources, in "
            f"their order ({', '.join(mixture.names)}); these are not"
        )
        raise UserError(msg)
    found: dict[str, FilteredStream | Documents] = {}
    for source in mixture.sources:
        own = parts[source.name]
        found[source.name] = (
            FilteredStream(own, tokenizer, collator_keys.packing_window, source)
            if is_stream(own)
            else documents_of(
                own,
                tokenizer,
                num_proc=keys.num_proc,
                label=f"train of source {source.name!r}",
                max_seq_length=keys.max_seq_length,
            )
        )
    body = body_length(keys.max_seq_length, SpecialTokens.of(tokenizer))
    return MixedStreamCorpus(found, mixture, body, collator_keys.overflow, collator_keys.packing_window)


def documents_of(
    rows: Any,
    tokenizer: Any,
    *,
    num_proc: int | None = None,
    label: str = "train",
    mixture: Mixture | None = None,
    max_seq_length: int | None = None,
    form: ExampleForm | None = None,
) -> Documents:
    """Rows with a ``text`` column tokenized (once, see `tokenize`), rows with ``input_ids`` as they are; with a
    ``form``, `Examples` of rows with columns by role.

    Those of a mixture are tokenized source by source, so that another source costs no more than its own rows.
    """
    if form is not None:
        return example_documents(rows, form, num_proc=num_proc, label=label, mixture=mixture)
    if mixture is not None:
        parts = {
            name: documents_of(
                found,
                tokenizer,
                num_proc=num_proc,
                label=f"{label} of source {name!r}",
                max_seq_length=max_seq_length,
            )
            for name, found in by_source(rows, mixture).items()
        }
        return JoinedDocuments(parts)
    if SOURCE_COLUMN in rows.column_names:
        msg = (
            f"the rows have a column {SOURCE_COLUMN}, but the dataset has no method mixture() that says how to mix them"
        )
        raise UserError(msg)
    if "input_ids" in rows.column_names:
        return pretokenized(rows, tokenizer, label=label, max_seq_length=max_seq_length)
    return tokenize(rows, tokenizer, num_proc=num_proc, label=label)


def mixture_of(dataset: Part) -> Mixture | None:
    """How a dataset's rows are mixed, where its options class has a method ``mixture()``; else None."""
    describe = getattr(dataset.options, "mixture", None)
    found: Mixture | None = describe() if callable(describe) else None
    return found
