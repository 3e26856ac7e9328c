"""How good predictions are: the figures of GLUE's tasks (Wang et al. 2018, arXiv:1804.07461).

Shapes: N examples.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from neobert.embedding.geometry import spearman

OF_CLASSES = ("accuracy", "f1", "macro_f1", "matthews")
OF_NUMBERS = ("pearson", "spearman")
_Ints = NDArray[np.integer]


def class_figures(predicted: _Ints, labels: _Ints, classes: int) -> dict[str, float]:
    """Of predicted classes and the right ones (N,), numbered from 0.

    ``accuracy``; ``f1`` of class 1, where there are two; ``macro_f1``, the mean of all classes' own F1, of those that
    are right or predicted somewhere; ``matthews``, the correlation of Matthews 1975, of many classes as Gorodkin 2004
    has it. What is divided by zero is 0, as scikit-learn has it; NaN without any example.
    """
    if not len(labels):
        return dict.fromkeys(OF_CLASSES, math.nan)
    table = np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)
    right, given, said = table.diagonal(), table.sum(1), table.sum(0)
    sizes = given + said
    each = np.divide(2.0 * right, sizes, out=np.zeros(classes), where=sizes > 0)
    figures = {"accuracy": float(right.sum() / len(labels))}
    if classes == 2:
        figures["f1"] = float(each[1])
    figures["macro_f1"] = float(each[sizes > 0].mean())
    figures["matthews"] = _matthews(float(right.sum()), given.astype(np.float64), said.astype(np.float64))
    return figures


def number_figures(predicted: NDArray[np.floating], scores: NDArray[np.floating]) -> dict[str, float]:
    """``pearson`` and ``spearman`` of predicted numbers and the right ones (N,); NaN where either is all alike."""
    return {"pearson": pearson(predicted, scores), "spearman": spearman(predicted, scores)}


def pearson(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Pearson's correlation of two lists (N,). NaN where it is not defined."""
    if len(a) < 2:
        return math.nan
    first, second = (np.asarray(values, dtype=np.float64) for values in (a, b))
    first, second = first - first.mean(), second - second.mean()
    norm = math.sqrt(float(first @ first) * float(second @ second))
    return float(first @ second) / norm if norm > 0 else math.nan


def _matthews(right: float, given: NDArray[np.float64], said: NDArray[np.float64]) -> float:
    """From the number of right ones, and how often each class is right and is predicted."""
    total = float(given.sum())
    norm = math.sqrt((total**2 - float(said @ said)) * (total**2 - float(given @ given)))
    return (right * total - float(given @ said)) / norm if norm > 0 else 0.0
