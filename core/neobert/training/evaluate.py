"""Losses on held-out data: the same batches and masks every time, in evaluation mode."""

from __future__ import annotations

import torch
from torch import Tensor

from neobert.batch import Batch
from neobert.data import EvaluationData
from neobert.modes import evaluation_mode
from neobert.recipe.trainer import TrainerOptions
from neobert.seeding import derive_seed
from neobert.training.assemble import Parts
from neobert.training.embedding_meter import EmbeddingMeter
from neobert.training.meter import Meter
from neobert.training.precision import forward_precision

MASKED_POSITIONS, LABELS = "masked_positions", "labels"
"""Fields of a masked-token batch, which a vocabulary head's guesses are compared on."""


def evaluate(parts: Parts, data: EvaluationData, trainer: TrainerOptions) -> dict[str, float]:
    """Means over all held-out batches, under the names that the loss gives them; of a mixture also each source's own
    loss, as ``loss/SOURCE``; of a loss that makes embeddings what those are worth, instead of a perplexity."""
    meter, of_source = Meter(parts.device), {name: Meter(parts.device) for name in data.sources}
    embeddings = EmbeddingMeter.of(parts.objective.loss)
    torch.manual_seed(derive_seed(trainer.seed, "evaluation"))
    with evaluation_mode(parts.objective), forward_precision(trainer, parts.device):
        for number, batch in enumerate(data):
            batch = parts.to_device(batch)
            output = parts.objective(batch) if embeddings is None else embeddings.add(parts.objective, batch)
            meter.add(output)
            if (source := data.source_of(number)) is not None:
                of_source[source].add(output)
    read = ((name, own.read()) for name, own in of_source.items())
    sources = {f"loss/{name}": means["loss"] for name, means in read if means}
    means = meter.read() | sources
    if embeddings is None:
        return means
    # Of a softmax over a batch's candidates a perplexity would say nothing.
    return {name: value for name, value in means.items() if name != "perplexity"} | embeddings.read()


def guess_accuracy(parts: Parts, batch: Batch, trainer: TrainerOptions) -> Tensor | None:
    """The share of a batch's masked tokens that the model's first guess gets; None without a vocabulary head."""
    loss, fields = parts.objective.loss, batch.fields
    if not hasattr(loss, "logits") or MASKED_POSITIONS not in fields or LABELS not in fields:
        return None
    with evaluation_mode(parts.objective), forward_precision(trainer, parts.device):
        encoder = parts.objective.encoder
        hidden = encoder(batch.input_ids, batch.layout, keep=fields[MASKED_POSITIONS])
        guesses = loss.logits(encoder, hidden).argmax(-1)
        right: Tensor = guesses == fields[LABELS]
        return right.float().mean()
