"""What a loss promises that says something of each sequence: a class, or a number.

Shapes: N sequences, C hidden size, K classes, or 1 for a number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from neobert.batch import Batch, SequenceLayout
from neobert.interfaces import PredictionHead
from neobert.testing.context import per_sequence
from neobert.testing.promises import require, require_close

if TYPE_CHECKING:
    from neobert.interfaces import LossOutput
    from neobert.testing.encoder import TinyEncoder

_TOLERANCE = 1e-8
_POOLINGS = ("cls", "late", "mean")


def check_prediction(loss: Any, encoder: TinyEncoder, batch: Batch, output: LossOutput) -> None:
    """``predict``, ``prediction_head`` and ``losses_of`` are there and say the same, and each sequence's prediction is
    its own."""
    for method in ("predict", "prediction_head", "losses_of"):
        promise = "a loss that predicts has `predict`, `prediction_head` and `losses_of`"
        require(hasattr(loss, method), promise, found=f"no {method}")
    head = loss.prediction_head()
    require(isinstance(head, PredictionHead), "prediction_head is a neobert.PredictionHead", found=type(head))
    promise = "prediction_head's pooling is one that exports know"
    require(head.pooling in _POOLINGS, promise, given=_POOLINGS, found=head.pooling)
    outputs = len(head.labels) or 1
    size = encoder.hidden_size
    shapes = [tuple(tensor.shape) for tensor in (*head.dense, *head.output)]
    wanted = [(size, size), (size,), (outputs, size), (outputs,)]
    promise = "the head is a layer (C, C) with a bias, and one (K, C) with a bias: K classes, or 1 for a number"
    require(shapes == wanted, promise, given=wanted, found=shapes)
    found = loss.predict(encoder, batch.input_ids, batch.layout)
    expected = (batch.layout.num_sequences, outputs)
    require(tuple(found.shape) == expected, "predictions are (N, K)", given=expected, found=tuple(found.shape))
    sequences = per_sequence(batch.input_ids, batch.layout.lengths)
    alone = torch.stack([_prediction(encoder, head, ids) for ids in sequences])
    promise = "predict does what prediction_head says, and a sequence's prediction is the same alone as in a batch"
    require_close(found, alone, promise, given=head.pooling, tolerance=_TOLERANCE)
    again = loss.losses_of(found, batch)
    promise = "losses_of what predict says is what the loss is of the batch"
    for name in ("total", "count"):
        require_close(getattr(again, name).double(), getattr(output, name).double(), promise, tolerance=_TOLERANCE)


def _prediction(encoder: TinyEncoder, head: PredictionHead, ids: Tensor) -> Tensor:
    """Of one sequence by itself, step by step as prediction_head has them."""
    hidden = encoder(ids, SequenceLayout.from_lengths([len(ids)]))
    if head.pooling != "late":
        hidden = (hidden[0] if head.pooling == "cls" else hidden.mean(0))[None]
    inner = hidden @ head.dense[0].T + head.dense[1]
    return (F.gelu(inner) @ head.output[0].T + head.output[1]).mean(0)
