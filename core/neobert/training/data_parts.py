"""The data part of a run: dataset, tokenizer, collator and plan, without a model."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from neobert.context import BuildContext
from neobert.data import EvaluationData, Splits, TrainingData, build_data, select_splits
from neobert.data.tokenization import plain_backend
from neobert.recipe import Recipe, compute_dtype
from neobert.roles import roles_of
from neobert.training.devices import Placement

logger = logging.getLogger("neobert.training")


@frozen(eq=False, kw_only=True)
class DataParts:
    """What a run trains and evaluates on, built."""

    context: BuildContext
    """Knows the dataset, the tokenizer and the vocabulary's size."""
    tokenizer: Any
    training_data: TrainingData
    evaluation_data: EvaluationData | None

    @property
    def tokenizer_fingerprint(self) -> str:
        """The tokenizer's content, so that a resumed run is known to have the same one."""
        content = f"{plain_backend(self.tokenizer)} {sorted(self.tokenizer.special_tokens_map.items())}"
        return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


def build_data_parts(recipe: Recipe, placement: Placement, run_directory: Path) -> DataParts:
    """Everything up to the batches; the rows are tokenized, or taken from the cache."""
    splits, context = build_rows(recipe, placement, run_directory)
    training_data, evaluation_data = build_data(
        recipe, splits.as_mapping(), context.tokenizer, recipe.datacollator, context
    )
    return DataParts(
        context=context,
        tokenizer=context.tokenizer,
        training_data=training_data,
        evaluation_data=evaluation_data,
    )


def build_rows(recipe: Recipe, placement: Placement, run_directory: Path) -> tuple[Splits, BuildContext]:
    """The rows of both splits as the dataset gives them, and a context that knows the tokenizer."""
    context = first_context(recipe, placement, run_directory)
    splits = select_splits(recipe.dataset.build(context), recipe.dataset.served, recipe.trainer.seed, context.roles)
    for note in splits.notes:
        logger.info(note)
    context = evolve(context, dataset=splits.as_mapping())
    tokenizer = recipe.tokenizer.build(context)
    vocab_size = padded_vocab_size(vocabulary_length(tokenizer), recipe)
    return splits, evolve(context, tokenizer=tokenizer, vocab_size=vocab_size)


def first_context(recipe: Recipe, placement: Placement, run_directory: Path) -> BuildContext:
    """What every part may rely on, before anything is built."""
    return BuildContext(
        seed=recipe.trainer.seed,
        device=placement.device,
        rank=placement.rank,
        world_size=placement.world_size,
        run_directory=run_directory.absolute(),
        max_seq_length=recipe.dataset.max_seq_length,
        max_steps=recipe.trainer.max_steps,
        roles=roles_of(recipe.datacollator.options),
        compute_dtype=compute_dtype(recipe.trainer),
    )


def vocabulary_length(tokenizer: Any) -> int:
    """One past its largest id: a vocabulary may have holes."""
    ids: list[int] = list(tokenizer.get_vocab().values())
    return max(len(tokenizer), 1 + max(ids))


def padded_vocab_size(num_tokens: int, recipe: Recipe) -> int:
    """The tokenizer's length, rounded up as its options say."""
    multiple = getattr(recipe.tokenizer.options, "pad_vocab_to_multiple_of", 1)
    return -(-num_tokens // multiple) * int(multiple)
