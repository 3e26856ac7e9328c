"""Where embeddings lie: correlation of similarities with scores, alignment and uniformity.

Shapes: N embeddings or pairs, E embedding size.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

BLOCK_ROWS = 2048


def spearman(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Spearman's correlation of two lists (N,): Pearson's of their ranks, equals sharing the mean of theirs.

    NaN where it is not defined: fewer than two values, or one list all alike.
    """
    if len(a) < 2:
        return math.nan
    first, second = _ranks(np.asarray(a)), _ranks(np.asarray(b))
    first, second = first - first.mean(), second - second.mean()
    norm = math.sqrt(float(first @ first) * float(second @ second))
    return float(first @ second) / norm if norm > 0 else math.nan


def pair_similarities(first: Tensor, second: Tensor) -> Tensor:
    """(N, E) twice -> (N,): the dot product of each with its partner; cosines of embeddings of length 1."""
    return (first * second).sum(-1)


def alignment(first: Tensor, second: Tensor) -> float:
    """How far apart those are that belong together: the mean squared distance, on the unit sphere. 0 is best.

    Wang & Isola 2020 (arXiv:2005.10242), with alpha = 2. (N, E) each, of any length.
    """
    distances = F.normalize(first, dim=-1) - F.normalize(second, dim=-1)
    return float(distances.square().sum(-1).mean())


def uniformity(embeddings: Tensor, *, block_rows: int = BLOCK_ROWS) -> float:
    """How evenly embeddings fill the unit sphere: the logarithm of the mean of exp(-2 |x - y|^2) over pairs of two.

    Wang & Isola 2020, with t = 2. From 0 (all in one place) down to -4, and below that in few dimensions only by
    chance; lower is more even. (N, E), of any length; NaN for fewer than two.
    """
    count = len(embeddings)
    if count < 2:
        return math.nan
    points = F.normalize(embeddings, dim=-1)
    total = torch.zeros((), dtype=torch.float64)
    for start in range(0, count, block_rows):
        rows = points[start : start + block_rows]
        for other in range(start, count, block_rows):
            # On the sphere |x - y|^2 = 2 - 2 x.y.
            kernel = ((rows @ points[other : other + block_rows].T - 1.0) * 4.0).exp()
            if other == start:
                kernel = kernel.triu(1)
            total += kernel.sum(dtype=torch.float64).cpu()
    return math.log(float(total) / (count * (count - 1) / 2))


def _ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N,) from 0; equal values share the mean of their ranks."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    middles = counts.cumsum() - (counts + 1) / 2
    return np.asarray(middles[which], dtype=np.float64)
