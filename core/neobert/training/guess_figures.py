"""What saying the same of every example comes to: beside it, figures of classes mean something."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neobert.abilities import predicts
from neobert.data.example_corpus import known_examples
from neobert.prediction.figures import class_figures
from neobert.training.embedding_meter import LABEL

if TYPE_CHECKING:
    from neobert.data.examples import Examples
    from neobert.training.assemble import Parts

MAJORITY = "majority"


def guess_figures(parts: Parts) -> dict[str, dict[str, float]]:
    """The figures of the class that most training examples have, as if predicted for all that is evaluated on; empty
    for other objectives, and for numbers, of which one that is always the same has no correlation."""
    loss, data = parts.own_objective.loss, parts.evaluation_data
    if data is None or not predicts(loss) or not loss.prediction_head().labels:
        return {}
    head = loss.prediction_head()
    trained = [_labels(examples) for examples in known_examples(parts.own_data.corpus)]
    most = int(np.bincount(np.concatenate(trained), minlength=len(head.labels)).argmax())
    right = np.concatenate([batch.fields[LABEL].numpy() for batch in data.whole()])
    found = class_figures(np.full_like(right, most), right, len(head.labels))
    return {MAJORITY: {name: found[name] for name in head.metrics or found}}


def _labels(examples: Examples) -> np.ndarray:
    """Of the rows that are examples; of a stream, those of its first window."""
    return np.asarray(examples.table.values[LABEL].numbers[examples.lengths > 0])
