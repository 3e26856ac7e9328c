"""Figures beside scikit-learn's and SciPy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from neobert.prediction.figures import class_figures, number_figures


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_of_classes(classes: int) -> None:
    rng = np.random.default_rng(classes)
    for size in (12, 200):
        labels = rng.integers(0, classes, size)
        predicted = np.where(rng.random(size) < 0.6, labels, rng.integers(0, classes, size))
        found = class_figures(predicted, labels, classes)
        assert found["accuracy"] == pytest.approx(metrics.accuracy_score(labels, predicted))
        assert found["macro_f1"] == pytest.approx(metrics.f1_score(labels, predicted, average="macro"))
        assert found["matthews"] == pytest.approx(metrics.matthews_corrcoef(labels, predicted))
        assert ("f1" in found) == (classes == 2)
        if classes == 2:
            assert found["f1"] == pytest.approx(metrics.f1_score(labels, predicted, zero_division=0.0))


def test_of_one_class_alone_and_of_none() -> None:
    same = class_figures(np.zeros(4, dtype=int), np.array([0, 1, 1, 0]), 2)
    assert (same["accuracy"], same["f1"], same["matthews"]) == (0.5, 0.0, 0.0)
    assert all(math.isnan(value) for value in class_figures(np.zeros(0, int), np.zeros(0, int), 2).values())


def test_of_numbers() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 6, 100).astype(float)
    predicted = scores + rng.normal(size=100)
    found = number_figures(predicted, scores)
    assert found["pearson"] == pytest.approx(stats.pearsonr(predicted, scores)[0])
    assert found["spearman"] == pytest.approx(stats.spearmanr(predicted, scores)[0])
    assert math.isnan(number_figures(np.ones(3), scores[:3])["pearson"])
