"""Losses that say something of each sequence: a class, or a number.

Shapes: T tokens in the stream, N sequences, B examples, C hidden size, K classes, or 1 for a number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neobert import LossOutput, UserError
from neobert.contrast.loss import require_fields
from neobert.contrast.pooling import pool, pool_hidden
from neobert.interfaces import PredictionHead

if TYPE_CHECKING:
    from neobert.batch import Batch, SequenceLayout
    from neobert.contrast.options import Pooling
    from neobert.interfaces import Encoder
    from neobert_plugins.losses.predicting_options import HeadPooling


class Head(nn.Module):
    """What transformers' ``EuroBertForSequenceClassification`` has behind its encoder, under its names.

    Computed in float32 at least, under autocast too.
    """

    def __init__(self, encoder: Encoder, outputs: int, pooling: HeadPooling, dropout: float) -> None:
        super().__init__()
        self.pooling = pooling
        self.dense = nn.Linear(encoder.hidden_size, encoder.hidden_size)
        self.classifier = nn.Linear(encoder.hidden_size, outputs)
        self.dropout = nn.Dropout(dropout)
        for layer in (self.dense, self.classifier):
            nn.init.normal_(layer.weight, std=getattr(encoder, "decoder_init_range", 0.02))
            nn.init.zeros_(layer.bias)

    def forward(
        self, encoder: Encoder, input_ids: Tensor, layout: SequenceLayout, num_sequences: int | None = None
    ) -> Tensor:
        """input_ids (T,) -> (N, K): the first ``num_sequences`` of the layout (default: all)."""
        if self.pooling == "late":
            hidden_TC = encoder(input_ids, layout)
            with torch.autocast(hidden_TC.device.type, enabled=False):
                outputs_TK = self._through(_precise(hidden_TC))
                return pool_hidden(outputs_TK, layout, "mean", num_sequences)
        pooled_NC = pool(encoder, input_ids, layout, cast("Pooling", self.pooling), num_sequences)
        with torch.autocast(pooled_NC.device.type, enabled=False):
            return self._through(pooled_NC)

    def _through(self, vectors: Tensor) -> Tensor:
        found: Tensor = self.classifier(self.dropout(F.gelu(self.dense(self.dropout(vectors)))))
        return found


class PredictingLoss(nn.Module):
    """What both have beside their `losses_of`."""

    def __init__(self, head: Head, needs: tuple[str, ...]) -> None:
        super().__init__()
        self.head = head
        self.needs = needs

    def forward(self, encoder: Encoder, batch: Batch) -> LossOutput:
        """The loss of a batch, its padding sequence left out."""
        require_fields(self.needs, batch.fields)
        return self.losses_of(self.head(encoder, batch.input_ids, batch.layout, batch.num_sequences), batch)

    def predict(self, encoder: Encoder, input_ids: Tensor, layout: SequenceLayout) -> Tensor:
        """input_ids (T,) -> (N, K), of every sequence of the layout: logits of classes, or a number."""
        found: Tensor = self.head(encoder, input_ids, layout)
        return found

    def losses_of(self, predictions: Tensor, batch: Batch) -> LossOutput:
        """The loss of a batch whose sequences have these predictions (N, K)."""
        raise NotImplementedError

    def described(self, labels: tuple[str, ...], metrics: tuple[str, ...]) -> PredictionHead:
        """The head in data."""
        head = self.head
        return PredictionHead(
            pooling=head.pooling,
            dense=(head.dense.weight, head.dense.bias),
            output=(head.classifier.weight, head.classifier.bias),
            labels=labels,
            metrics=metrics,
        )


class ClassificationLoss(PredictingLoss):
    """Needs ``text`` (B,), which sequence is each example's, and ``label`` (B,) in the batch: cross-entropy, summed."""

    def __init__(
        self,
        head: Head,
        needs: tuple[str, ...],
        labels: tuple[str, ...],
        label_smoothing: float,
        metrics: tuple[str, ...],
    ) -> None:
        super().__init__(head, needs)
        self._labels = labels
        self._smoothing = label_smoothing
        self._metrics = metrics

    def losses_of(self, predictions: Tensor, batch: Batch) -> LossOutput:
        """The loss summed over examples, and their number. Raises UserError for a label that is no class."""
        logits, label = predictions[batch.fields["text"]], batch.fields["label"]
        if label.device.type == "cpu":
            _refuse_unknown(label, len(self._labels))
        smoothing = self._smoothing if self.training else 0.0
        total = F.cross_entropy(logits, label, label_smoothing=smoothing, reduction="sum")
        right = (logits.detach().argmax(-1) == label).sum()
        return LossOutput(total, label.new_full((), len(label)), {"accuracy": right})

    def prediction_head(self) -> PredictionHead:
        """What `predict` does after the encoder."""
        return self.described(self._labels, self._metrics)


class RegressionLoss(PredictingLoss):
    """Needs ``text`` (B,) and ``score`` (B,) in the batch: (prediction - score)², summed."""

    def __init__(self, head: Head, needs: tuple[str, ...], metrics: tuple[str, ...]) -> None:
        super().__init__(head, needs)
        self._metrics = metrics

    def losses_of(self, predictions: Tensor, batch: Batch) -> LossOutput:
        """The squares summed over examples, and their number."""
        found, fields = predictions[batch.fields["text"], 0], batch.fields
        total = (found - fields["score"].to(found.dtype)).square().sum()
        return LossOutput(total, fields["text"].new_full((), len(fields["text"])))

    def prediction_head(self) -> PredictionHead:
        """What `predict` does after the encoder."""
        return self.described((), self._metrics)


def _refuse_unknown(label: Tensor, classes: int) -> None:
    unknown = label[(label < 0) | (label >= classes)]
    if len(unknown):
        msg = f"a label is {int(unknown[0])}, and the classes are numbered from 0 to {classes - 1}"
        raise UserError(msg)


def _precise(hidden: Tensor) -> Tensor:
    return hidden.to(torch.promote_types(hidden.dtype, torch.float32))
