"""From a recipe and its built parts to training and evaluation data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neobert.data.collate import CollatorRecipe
from neobert.data.corpus import StoredCorpus, StreamCorpus
from neobert.data.evaluation import EvaluationData
from neobert.data.pretokenized import pretokenized
from neobert.data.sequences import SpecialTokens, body_length
from neobert.data.splits import is_stream
from neobert.data.stream import TokenStream
from neobert.data.tokenization import tokenize
from neobert.data.training_data import StepOptions, TrainingData

if TYPE_CHECKING:
    from collections.abc import Mapping

    from neobert.context import BuildContext
    from neobert.data.corpus import Corpus
    from neobert.data.documents import Documents
    from neobert.parts import Part
    from neobert.served import CollatorKeys, DatasetKeys


def build_data(
    recipe: Any, splits: Mapping[str, Any], tokenizer: Any, collator: Part, context: BuildContext
) -> tuple[TrainingData, EvaluationData | None]:
    """The run's data, from `Splits.as_mapping` and a ``context`` that knows the tokenizer."""
    keys, special = recipe.dataset.served, SpecialTokens.of(tokenizer)
    trainer, collating = recipe.trainer, CollatorRecipe(collator, context)
    shared = {
        "special": special,
        "collator": collating,
        "dataset_keys": keys,
        "collator_keys": recipe.datacollator.served,
    }
    training = TrainingData(
        corpus=corpus_of(splits["train"], tokenizer, keys, recipe.datacollator.served),
        options=_step_options(trainer, keys, context),
        pad_token_id=tokenizer.pad_token_id,
        **shared,
    )
    if "eval" not in splits:
        return training, None
    evaluation = EvaluationData(
        documents=documents_of(splits["eval"], tokenizer, num_proc=keys.num_proc, label="eval"),
        per_device_eval_batch_size=trainer.per_device_eval_batch_size,
        eval_max_batches=trainer.eval_max_batches,
        seed=context.seed,
        rank=context.rank,
        world_size=context.world_size,
        **shared,
    )
    return training, evaluation


def _step_options(trainer: Any, keys: DatasetKeys, context: BuildContext) -> StepOptions:
    return StepOptions(
        per_device_train_batch_size=trainer.per_device_train_batch_size,
        gradient_accumulation_steps=trainer.gradient_accumulation_steps,
        enforce_full_packed_batches=trainer.enforce_full_packed_batches,
        seed=context.seed,
        rank=context.rank,
        world_size=context.world_size,
        pin_memory=keys.pin_memory if keys.pin_memory is not None else context.device.type == "cuda",
    )


def corpus_of(rows: Any, tokenizer: Any, keys: DatasetKeys, collator_keys: CollatorKeys) -> Corpus:
    """Rows to train on, a ``datasets.Dataset`` or an ``IterableDataset``, ready to be planned over."""
    body = body_length(keys.max_seq_length, SpecialTokens.of(tokenizer))
    overflow, window = collator_keys.overflow, collator_keys.packing_window
    if is_stream(rows):
        return StreamCorpus(TokenStream(rows, tokenizer, window), body, overflow)
    return StoredCorpus(documents_of(rows, tokenizer, num_proc=keys.num_proc), body, overflow, window)


def documents_of(rows: Any, tokenizer: Any, *, num_proc: int | None = None, label: str = "train") -> Documents:
    """Rows with a ``text`` column tokenized (once, see `tokenize`), rows with ``input_ids`` as they are."""
    if "input_ids" in rows.column_names:
        return pretokenized(rows, tokenizer, label=label)
    return tokenize(rows, tokenizer, num_proc=num_proc, label=label)
