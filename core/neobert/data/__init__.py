"""Data: which document goes where, and when. Order as a function, packing, cursors, and the loader."""

from __future__ import annotations

from neobert.data.build import build_data
from neobert.data.cursor import Cursor, Cursors, Place
from neobert.data.evaluation import EvaluationData
from neobert.data.objective_data import ObjectiveData, own_cursor
from neobert.data.report import DataReport
from neobert.data.splits import Splits, select_splits
from neobert.data.training_data import MicroBatch, StepBatches, TrainingData
from neobert.data.turns import Turns

__all__ = [
    "Cursor",
    "Cursors",
    "DataReport",
    "EvaluationData",
    "MicroBatch",
    "ObjectiveData",
    "Place",
    "Splits",
    "StepBatches",
    "TrainingData",
    "Turns",
    "build_data",
    "own_cursor",
    "select_splits",
]
