"""Data: which document goes where, and when. Order as a function, packing, cursors, and the loader."""

from __future__ import annotations

from neobert.data.build import build_data
from neobert.data.cursor import Cursor
from neobert.data.evaluation import EvaluationData
from neobert.data.report import DataReport
from neobert.data.splits import Splits, select_splits
from neobert.data.training_data import MicroBatch, StepBatches, TrainingData

__all__ = [
    "Cursor",
    "DataReport",
    "EvaluationData",
    "MicroBatch",
    "Splits",
    "StepBatches",
    "TrainingData",
    "build_data",
    "select_splits",
]
