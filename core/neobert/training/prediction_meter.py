"""What held-out predictions are worth: figures of classes or of numbers, over all examples of an evaluation.

Each batch goes through the encoder once, for the loss and for these figures.

Shapes: N sequences of a batch, B examples, K classes, or 1 for a number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from attrs import define, field
from torch import Tensor

from neobert.abilities import predicts
from neobert.prediction.figures import class_figures, number_figures
from neobert.training.embedding_meter import LABEL, SCORE, TEXT

if TYPE_CHECKING:
    from neobert.batch import Batch
    from neobert.interfaces import LossOutput, PredictionHead
    from neobert.training.objective import Objective


@define
class PredictionMeter:
    """Gathers the predictions of an evaluation's batches, and measures them at its end."""

    head: PredictionHead
    _predicted: list[tuple[str | None, Tensor]] = field(factory=list, init=False)
    """(source, (B, K)) of each batch."""
    _right: list[Tensor] = field(factory=list, init=False)
    """(B,) of each batch: classes or numbers."""

    @classmethod
    def of(cls, loss: Any) -> PredictionMeter | None:
        """None for a loss that predicts nothing."""
        return cls(loss.prediction_head()) if predicts(loss) else None

    def add(self, objective: Objective, batch: Batch, source: str | None = None) -> LossOutput:
        """The loss of a batch, whose predictions are kept; of a mixture, ``source`` is the one that it is of."""
        predictions = objective.predict(batch)
        self.gather(predictions, batch, source)
        output: LossOutput = objective.loss.losses_of(predictions, batch)
        return output

    def gather(self, predictions: Tensor, batch: Batch, source: str | None = None) -> None:
        """predictions (N, K) of a batch, on its device."""
        name = LABEL if self.head.labels else SCORE
        if not {TEXT, name} <= batch.fields.keys():
            return
        self._predicted.append((source, predictions[batch.fields[TEXT]].float().cpu()))
        self._right.append(batch.fields[name].cpu())

    def read(self) -> dict[str, float]:
        """All figures that are wanted, and of a mixture each source's own, as ``accuracy/SOURCE``; not a number where a
        prediction is none."""
        figures = dict(self._figures(None))
        for source in dict.fromkeys(source for source, _ in self._predicted if source is not None):
            figures |= {f"{name}/{source}": value for name, value in self._figures(source)}
        return figures

    def _figures(self, of: str | None) -> Iterator[tuple[str, float]]:
        mine = [number for number, (source, _) in enumerate(self._predicted) if of in (None, source)]
        if not mine:
            return
        predicted = torch.cat([self._predicted[number][1] for number in mine])
        right = torch.cat([self._right[number] for number in mine]).numpy()
        if self.head.labels:
            found = class_figures(predicted.argmax(-1).numpy(), right, len(self.head.labels))
        else:
            found = number_figures(predicted[:, 0].numpy(), right)
        broken = not bool(torch.isfinite(predicted).all())
        for name in self.head.metrics or found:
            yield name, math.nan if broken else found[name]
