"""Correlation, alignment and uniformity against scipy, plain loops and known values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from neobert.embedding.geometry import alignment, pair_similarities, spearman, uniformity


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_spearman_is_that_of_scipy(levels: int) -> None:
    rng = np.random.default_rng(levels)
    a, b = rng.integers(0, levels, 200).astype(float), rng.normal(size=200)
    assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)
    assert spearman(b, a + b) == pytest.approx(spearmanr(b, a + b).statistic, abs=1e-12)


def test_spearman_of_order_alone() -> None:
    rising = np.arange(10.0)
    assert spearman(rising, np.exp(rising)) == pytest.approx(1.0)
    assert spearman(rising, -(rising**3)) == pytest.approx(-1.0)


def test_spearman_is_undefined_where_nothing_differs() -> None:
    assert math.isnan(spearman(np.ones(5), np.arange(5.0)))
    assert math.isnan(spearman(np.ones(1), np.ones(1)))


def drawn(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_alignment_against_a_loop() -> None:
    first, second = drawn(30), drawn(30, 1)
    distances = [((x / x.norm()) - (y / y.norm())).norm() ** 2 for x, y in zip(first, second, strict=True)]
    assert alignment(first, second) == pytest.approx(float(sum(distances)) / 30, abs=1e-12)
    assert alignment(first, 3 * first) == pytest.approx(0.0, abs=1e-12)
    assert alignment(first, -first) == pytest.approx(4.0)


@pytest.mark.parametrize("block_rows", [1, 4, 7, 100])
def test_uniformity_against_a_loop(block_rows: int) -> None:
    points = drawn(23)
    units = points / points.norm(dim=1, keepdim=True)
    kernel = [math.exp(-2 * float((units[i] - units[j]).square().sum())) for i in range(23) for j in range(i)]
    assert uniformity(points, block_rows=block_rows) == pytest.approx(math.log(sum(kernel) / len(kernel)), abs=1e-12)


def test_uniformity_of_known_places() -> None:
    assert uniformity(torch.ones(5, 3)) == pytest.approx(0.0, abs=1e-6)
    assert uniformity(torch.tensor([[1.0, 0.0], [-2.0, 0.0]])) == pytest.approx(-8.0)
    assert uniformity(torch.eye(64)) == pytest.approx(-4.0)
    assert math.isnan(uniformity(torch.ones(1, 3)))


def test_pair_similarities() -> None:
    assert pair_similarities(torch.eye(2), torch.tensor([[0.5, 1.0], [1.0, 0.0]])).tolist() == [0.5, 0.0]
