"""The linear probe: what it gets right, and what it says where scikit-learn is missing."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from neobert.embedding.probe import linear_probe
from neobert.errors import UserError


def drawn(count: int, seed: int) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    return np.eye(3)[labels] * 4 + rng.normal(size=(count, 3)), [f"class {label}" for label in labels]


def test_classes_apart_are_told_apart() -> None:
    found = linear_probe(*drawn(300, 0), *drawn(200, 1))
    assert found.accuracy > 0.95
    assert found.f1 == pytest.approx(found.accuracy, abs=0.03)
    assert found.converged


def test_labels_without_meaning_are_not() -> None:
    features, labels = drawn(300, 0)
    shuffled = list(np.random.default_rng(5).permutation(labels))
    assert linear_probe(features, shuffled, *drawn(200, 1)).accuracy < 0.6


def test_one_that_did_not_converge_says_so() -> None:
    assert not linear_probe(*drawn(300, 0), *drawn(50, 1), iterations=1).converged


def test_a_missing_library_is_named_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "sklearn" else real(name))
    with pytest.raises(UserError, match=r"scikit-learn.*\n  pip install 'neobert\[evaluation\]'"):
        linear_probe(*drawn(30, 0), *drawn(20, 1))
