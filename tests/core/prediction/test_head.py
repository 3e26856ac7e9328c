"""A prediction head on the token stream, and behind padding as an ONNX file has it."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from neobert.batch import SequenceLayout
from neobert.export.padded import PaddedPrediction
from neobert.interfaces import PredictionHead
from neobert.prediction.head import apply_prediction_head

LENGTHS = (5, 1, 3)


@pytest.mark.parametrize("pooling", ["mean", "cls", "late"])
def test_padded_rows_come_to_what_the_stream_does(pooling: str) -> None:
    torch.manual_seed(0)
    hidden = torch.randn(sum(LENGTHS), 8)
    head = PredictionHead(
        pooling=pooling,
        dense=(torch.randn(8, 8), torch.randn(8)),
        output=(torch.randn(3, 8), torch.randn(3)),
        labels=("a", "b", "c"),
    )
    wanted = apply_prediction_head(hidden, SequenceLayout.from_lengths(LENGTHS), head)
    rows = list(hidden.split(LENGTHS))
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    found = PaddedPrediction(head)(pad_sequence(rows, batch_first=True, padding_value=9.0), mask)
    torch.testing.assert_close(found, wanted)
    # By hand, of the first sequence.
    inner = torch.nn.functional.gelu(
        {"mean": rows[0].mean(0), "cls": rows[0][0], "late": rows[0]}[pooling] @ head.dense[0].T + head.dense[1]
    )
    outputs = inner @ head.output[0].T + head.output[1]
    torch.testing.assert_close(wanted[0], outputs.mean(0) if pooling == "late" else outputs)
