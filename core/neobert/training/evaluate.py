"""Losses on held-out data: the same batches and masks every time, in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

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
from neobert.training.positions import LABELS, MASKED_POSITIONS, PositionMeter
from neobert.training.precision import forward_precision
from neobert.training.prediction_meter import PredictionMeter
from neobert.training.ranks import ALONE
from neobert.training.trained_candidates import TrainedCandidates

Calls = list[tuple[Tensor | None, Tensor]]
"""The encoder's calls of one batch: the positions that were wanted, and what came of it."""


def evaluate(
    parts: Parts,
    data: EvaluationData,
    trainer: TrainerOptions,
    positions: PositionMeter | None = None,
    among: TrainedCandidates | None = None,
) -> dict[str, float]:
    """Means over the held-out batches of all ranks, under the names that the loss gives them; of a mixture also each
    source's own loss, as ``loss/SOURCE``; of a loss that makes embeddings or predictions what those are worth,
    instead of a perplexity. ``positions`` is given the losses of the same pass, token by token; ``among`` has
    candidates beside the held-out ones, for figures named ``all/...``."""
    meter, of_source = Meter(parts.device), {name: Meter(parts.device) for name in data.sources}
    embeddings, ranks = EmbeddingMeter.of(parts.own_objective.loss), parts.ranks
    predictions = PredictionMeter.of(parts.own_objective.loss)
    measured = embeddings or predictions
    if measured is not None:  # each is measured among all: every rank does it all, and comes to the same
        data, ranks = data.whole(), ALONE
    torch.manual_seed(derive_seed(trainer.seed, "evaluation"))
    encoder = parts.own_objective.encoder
    watching = nullcontext(Calls()) if positions is None else _watched(encoder)
    with evaluation_mode(parts.own_objective), forward_precision(trainer, parts.device), watching as calls:
        for number, batch in enumerate(data):
            batch = parts.to_device(batch)
            source = data.source_of(number)
            if embeddings is not None:
                output = embeddings.add(parts.own_objective, batch)
            elif predictions is not None:
                output = predictions.add(parts.own_objective, batch, source)
            else:
                output = parts.own_objective(batch)
            meter.add(output)
            if source is not None:
                of_source[source].add(output)
            if positions is not None:
                _add_positions(positions, parts, batch, data.documents_of(number), calls)
                calls.clear()
        if embeddings is None and parts.is_sharded:
            _keep_company(parts, data, positions, calls)
        if embeddings is not None and among is not None:
            embeddings.widen(*among.embedded(parts.own_objective, parts.device))
    read = [(name, own.read(ranks)) for name, own in of_source.items()]
    sources = {f"loss/{name}": means["loss"] for name, means in read if means}
    means = meter.read(ranks) | sources
    if measured is None:
        return means
    # Of a softmax over a batch's candidates, or over classes, a perplexity would say nothing.
    left_out = {"perplexity"} if predictions is None else means.keys() - {"loss", *sources}
    return {name: value for name, value in means.items() if name not in left_out} | measured.read()


def guess_accuracy(parts: Parts, batch: Batch, trainer: TrainerOptions) -> Tensor | None:
    """The share of a batch's masked tokens that the model's first guess gets; None without a vocabulary head."""
    loss, fields = parts.own_objective.loss, batch.fields
    if not hasattr(loss, "logits") or MASKED_POSITIONS not in fields or LABELS not in fields:
        return None
    with evaluation_mode(parts.own_objective), forward_precision(trainer, parts.device):
        guesses = parts.own_objective.guesses(batch).argmax(-1)
        right: Tensor = guesses == fields[LABELS]
        return right.float().mean()


def _keep_company(parts: Parts, data: EvaluationData, positions: PositionMeter | None, calls: Any) -> None:
    """Of processes that each have a part of the weights, one with a batch fewer than others computes as often as they:
    weights come together by the parts of all. What it computes counts nowhere."""
    whole = data.whole()
    for _ in range(-(-len(whole) // data.world_size) - len(data)):
        batch = parts.to_device(next(iter(whole)))
        parts.own_objective(batch)
        if positions is not None:
            _add_positions(positions.anew(), parts, batch, whole.documents_of(0), calls)
            calls.clear()


@contextmanager
def _watched(encoder: Any) -> Iterator[Calls]:
    """The list that each call of the encoder is added to."""
    calls: Calls = []

    def remember(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
        calls.append((kwargs["keep"] if "keep" in kwargs else args[2] if len(args) > 2 else None, output))

    handle = encoder.register_forward_hook(remember, with_kwargs=True)
    try:
        yield calls
    finally:
        handle.remove()


def _add_positions(positions: PositionMeter, parts: Parts, batch: Batch, documents: Any, calls: Calls) -> None:
    """Adds the batch's losses, from the hidden states that its loss was computed of; or says why that cannot be."""
    if not hasattr(parts.own_objective.loss, "logits"):
        positions.missed = "this loss has no vocabulary head"
    elif MASKED_POSITIONS not in batch.fields or LABELS not in batch.fields:
        positions.missed = f"the batches have no {MASKED_POSITIONS} and {LABELS}"
    elif batch.layout.num_sequences != len(documents):
        positions.missed = "the collator makes other sequences than the documents'"
    elif (hidden := _hidden_of(calls, batch.fields[MASKED_POSITIONS])) is None:
        positions.missed = "the loss does not ask the encoder once for the masked positions, or for all"
    else:
        positions.add(batch, documents, parts.own_objective.token_losses(hidden, batch.fields[LABELS]))


def _hidden_of(calls: Calls, masked: Tensor) -> Tensor | None:
    """(M, C) of the masked positions, out of what the encoder gave."""
    if len(calls) != 1:
        return None
    ((keep, output),) = calls
    if keep is None:
        return output[masked]
    return output if keep is masked else None
