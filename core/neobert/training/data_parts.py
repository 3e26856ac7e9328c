"""The data part of a run: dataset, tokenizer, collator and plan, without a model."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from attrs import evolve, field, frozen

from neobert.context import BuildContext
from neobert.data import EvaluationData, ObjectiveData, Splits, TrainingData, Turns, build_data, select_splits
from neobert.data.labels import labels_of
from neobert.data.tokenization import plain_backend
from neobert.data.turns import Turn
from neobert.data.union import seen_by_tokenizer
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
    training_data: TrainingData | ObjectiveData
    evaluation_data: EvaluationData | None
    """None also where there are several objectives, each with its own."""
    objectives: Mapping[str, Any] = field(factory=dict)
    """Where there are several, the parts of each as if it were the only one: see `each`."""

    @property
    def each(self) -> Mapping[str, Self]:
        """Name -> the parts of one objective; of a run with one, the run's own under ``""``."""
        return self.objectives or {"": self}

    @property
    def own_data(self) -> TrainingData:
        """The training data of the one objective that these are the parts of."""
        assert isinstance(self.training_data, TrainingData), "these are the parts of several objectives: see each"
        return self.training_data

    @property
    def tokenizer_fingerprint(self) -> str:
        """The tokenizer's content, so that a resumed run is known to have the same one."""
        content = f"{plain_backend(self.tokenizer)} {sorted(self.tokenizer.special_tokens_map.items())}"
        return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


def build_data_parts(recipe: Recipe, placement: Placement, run_directory: Path) -> DataParts:
    """Everything up to the batches; the rows are tokenized, or taken from the cache."""
    rows = build_rows(recipe, placement, run_directory)
    if not recipe.objectives:
        return _of_objective(recipe, *rows[""], turn=None)
    turns = Turns({name: table.probability for name, table in recipe.objectives.items()}, recipe.trainer.seed)
    views = recipe.views
    parts = {name: _of_objective(views[name], *own, turn=turns.of(name)) for name, own in rows.items()}
    context = next(iter(parts.values())).context
    return DataParts(
        context=context,
        tokenizer=context.tokenizer,
        training_data=ObjectiveData({name: own.own_data for name, own in parts.items()}, turns),
        evaluation_data=None,
        objectives=parts,
    )


def _of_objective(recipe: Recipe, splits: Splits, context: BuildContext, *, turn: Turn | None) -> DataParts:
    training_data, evaluation_data = build_data(
        recipe, splits.as_mapping(), context.tokenizer, recipe.datacollator, context, turn, splits.eval_sizes
    )
    return DataParts(
        context=context, tokenizer=context.tokenizer, training_data=training_data, evaluation_data=evaluation_data
    )


def build_rows(recipe: Recipe, placement: Placement, run_directory: Path) -> dict[str, tuple[Splits, BuildContext]]:
    """The rows of each objective as its dataset gives them, and a context that knows them and the tokenizer.

    The tokenizer is one for all, and sees the training rows of all.
    """
    found = {}
    for name, view in recipe.views.items():
        context = first_context(view, placement, run_directory)
        splits = select_splits(view.dataset.build(context), view.dataset.served, view.trainer.seed, context.roles)
        for note in splits.notes:
            logger.info(f"objective {name}: {note}" if name else note)
        rows = splits.as_mapping()
        found[name] = splits, evolve(context, dataset=rows, labels=labels_of(rows, context.roles))
    tokenizer = recipe.tokenizer.build(seen_by_tokenizer([context for _, context in found.values()]))
    vocab_size = padded_vocab_size(vocabulary_length(tokenizer), recipe)
    return {
        name: (splits, evolve(context, tokenizer=tokenizer, vocab_size=vocab_size))
        for name, (splits, context) in found.items()
    }


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
