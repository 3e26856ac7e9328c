"""``--data-report``: what a recipe's data comes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neobert.commands.data_part import data_part
from neobert.warmup import describe_warmups
from neobert.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from neobert.commands.arguments import Arguments
    from neobert.data import EvaluationData, TrainingData
    from neobert.recipe import Recipe
    from neobert.training.data_parts import DataParts


def run(arguments: Arguments) -> int:
    """Prints counts of the training and the evaluation data, one fact a line."""
    with data_part(arguments) as (recipe, data):
        for name, own in data.each.items():
            of = f" of objective {name}" if name else ""
            print(f"training data{of}")
            for line in _training(own, recipe.views[name]):
                print(f"  {line}")
            print(f"evaluation data{of}")
            for line in _evaluation(own.evaluation_data):
                print(f"  {line}")
    return 0


def _training(parts: DataParts, recipe: Recipe) -> Iterator[str]:
    from neobert.data.lengths import describe_lengths

    data = parts.own_data
    yield from data.report.lines()
    yield from describe_lengths(data.corpus.cut.lengths, _noun(data))
    yield from _passes(data, recipe.trainer.max_steps)
    for what, said in describe_warmups(recipe.trainer, recipe.dataset.max_seq_length):
        yield f"{what}: {said}"

    from neobert.training.data_end import will_end_early

    yield from will_end_early(parts, data.start(), 0, recipe.trainer.max_steps)


def _passes(data: TrainingData, max_steps: int) -> Iterator[str]:
    """Batches of an epoch, epochs of the run."""
    report, shape, options = data.report, data.shape, data.options
    micro_batches, of_run = options.gradient_accumulation_steps * options.world_size, options.in_steps(0, max_steps)
    if shape.packed:
        content = shape.budget * report.fill
        batches = report.trained_tokens / content
        yield f"padding: {1 - report.fill:.2%} of a micro-batch's {shape.budget:,} tokens"
    else:
        batches = report.sequences / shape.sequences
        yield "padding: none, micro-batches are as long as their sequences"
    steps = batches / micro_batches
    if report.streaming and report.sources:
        yield f"how many passes over a stream there are, only reading it tells; trainer.max_steps = {max_steps:,}"
    elif report.streaming:
        yield f"how long an epoch of a stream is, only reading it tells; trainer.max_steps = {max_steps:,}"
    elif report.sources:
        trained = of_run * report.trained_tokens / batches
        for source in report.sources:
            passes = trained * source.share / max(source.tokens + source.sequences * shape.special, 1)
            yield f"trainer.max_steps = {max_steps:,}: about {passes:.2f} passes over source {source.name}"
    else:
        about = "about " if shape.packed else ""
        each = counted(micro_batches, "micro-batch")
        yield f"an epoch: {about}{batches:,.1f} micro-batches, {steps:,.1f} steps of {each}"
        yield f"trainer.max_steps = {max_steps:,}: {about}{of_run / batches:,.2f} epochs"


def _evaluation(data: EvaluationData | None) -> Iterator[str]:
    from neobert.data.lengths import describe_lengths
    from neobert.data.report import sizes

    if data is None:
        yield "none"
        return
    lengths, cut = data.documents.lengths, data.cut
    if data.counts is not None:
        yield from data.counts.lines()
    else:
        yield sizes(int((lengths > 0).sum()), int(lengths.sum(dtype="int64")), len(cut))
    if cut.over:
        yield f"{counted(cut.over, 'document')} longer than max_seq_length: overflow = {cut.overflow}"
    sequences = counted(data.num_sequences, "sequence" if data.counts is None else "example")
    yield f"an evaluation: {sequences} in {counted(len(data), 'batch')}, none padded"
    yield from describe_lengths(lengths, _noun(data))


def _noun(data: TrainingData | EvaluationData) -> str:
    return "document" if data.counts is None else "example"
