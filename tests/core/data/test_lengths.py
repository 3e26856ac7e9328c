"""Quantiles and bins are those that numpy finds in all lengths at once."""

from __future__ import annotations

import numpy as np
import pytest

from neobert.data import lengths as module
from neobert.data.lengths import QUANTILES, Lengths


@pytest.mark.parametrize("chunk", [1_000_000, 7])
def test_they_are_as_numpy_has_them(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(module, "_CHUNK", chunk)
    lengths = np.random.default_rng(0).integers(0, 300, 101).astype(np.int32)
    there = lengths[lengths > 0]
    found = Lengths.of(lengths)
    assert found is not None
    assert list(found.quantiles.values()) == np.quantile(there, list(QUANTILES.values()), method="lower").tolist()
    assert found.mean == pytest.approx(there.mean())
    edges = [it.least for it in found.bins] + [found.bins[-1].most + 1]
    assert [it.documents for it in found.bins] == np.histogram(there, edges)[0].tolist()
    assert sum(it.tokens for it in found.bins) == there.sum()


def test_there_is_nothing_to_say_of_nothing() -> None:
    assert Lengths.of(np.zeros(3, np.int32)) is None
    assert module.describe_lengths(np.empty(0, np.int32)) == ()
