"""``--data-report``: what a recipe's data comes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neobert.commands.data_part import data_part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from neobert.commands.arguments import Arguments
    from neobert.data import EvaluationData, TrainingData
    from neobert.recipe import Recipe


def run(arguments: Arguments) -> int:
    """Prints counts of the training and the evaluation data, one fact a line."""
    with data_part(arguments) as (recipe, data):
        print("training data")
        for line in _training(data.training_data, recipe):
            print(f"  {line}")
        print("evaluation data")
        for line in _evaluation(data.evaluation_data):
            print(f"  {line}")
    return 0


def _training(data: TrainingData, recipe: Recipe) -> Iterator[str]:
    from neobert.data.lengths import describe_lengths

    yield from data.report.lines()
    yield from describe_lengths(data.corpus.cut.lengths)
    yield from _passes(data, recipe.trainer.max_steps)


def _passes(data: TrainingData, max_steps: int) -> Iterator[str]:
    """Batches of an epoch, epochs of the run."""
    report, shape, options = data.report, data.shape, data.options
    micro_batches = options.gradient_accumulation_steps * options.world_size
    if shape.packed:
        content = shape.budget * report.fill
        batches = report.trained_tokens / content
        yield f"padding: {1 - report.fill:.2%} of a micro-batch's {shape.budget:,} tokens"
    else:
        batches = report.sequences / shape.sequences
        yield "padding: none, micro-batches are as long as their sequences"
    steps = batches / micro_batches
    if report.streaming:
        yield f"how long an epoch of a stream is, only reading it tells; trainer.max_steps = {max_steps:,}"
    elif report.sources:
        trained = max_steps * micro_batches * report.trained_tokens / batches
        for source in report.sources:
            passes = trained * source.share / max(source.tokens + source.sequences * shape.special, 1)
            yield f"trainer.max_steps = {max_steps:,}: about {passes:.2f} passes over source {source.name}"
    else:
        about = "about " if shape.packed else ""
        yield f"an epoch: {about}{batches:,.1f} micro-batches, {steps:,.1f} steps of {micro_batches} micro-batches"
        yield f"trainer.max_steps = {max_steps:,}: {about}{max_steps / steps:,.2f} epochs"


def _evaluation(data: EvaluationData | None) -> Iterator[str]:
    from neobert.data.lengths import describe_lengths

    if data is None:
        yield "none"
        return
    lengths, cut = data.documents.lengths, data.cut
    yield f"{int((lengths > 0).sum()):,} documents, {int(lengths.sum(dtype='int64')):,} tokens, {len(cut):,} sequences"
    if cut.over:
        yield f"{cut.over:,} documents longer than max_seq_length: overflow = {cut.overflow}"
    yield f"an evaluation: {data.num_sequences:,} sequences in {len(data):,} batches, none padded"
    yield from describe_lengths(lengths)
