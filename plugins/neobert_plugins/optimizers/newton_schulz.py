"""Newton-Schulz iteration: a matrix with the same singular vectors, and singular values near 1.

The quintic iteration of Jordan et al. 2024, X <- a X + b (X X^T) X + c (X X^T)^2 X, which takes five steps
and leaves singular values between about 0.7 and 1.2.

Two ways to compute it, equal in exact arithmetic:

- in float32 and float64, on m x m Gram matrices only (m the smaller side): every step multiplies X by a
  polynomial P in G = X X^T, so P and G can be followed on their own and applied to X once at the end. It
  takes fewer operations the longer the matrix is, and all matrices with the same smaller side go through it
  in one batch, whatever their other side;
- in bfloat16 on the matrices themselves, batched over equal shapes. Squaring a Gram matrix again and again
  needs more digits than bfloat16 has.

Which one is quicker is a question of hardware: a CPU without bfloat16 instructions multiplies such matrices
many times slower than float32 ones. Measured on 2 cores that have them, 4 layers of (768, 256), (256, 256),
(1376, 256) and (256, 688): 145 ms plain in float32, 80 ms by Gram matrices in float32, 28 ms plain and
batched in bfloat16; a step of `torch.optim.Muon` (bfloat16, one matrix after the other) takes 35 to 80 ms.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_TINY = 1e-7
"""Smallest norm divided by: a zero matrix stays zero."""


def orthogonalize(matrices: Sequence[Tensor], steps: int, dtype: torch.dtype | None = None) -> list[Tensor]:
    """Each (rows, columns) matrix made nearly orthogonal, in its own dtype and on its own device.

    ``dtype`` is what is computed in; None: `quickest_dtype` of each.
    """
    lying = [_normalized(matrix, dtype or quickest_dtype(matrix)) for matrix in matrices]
    batches: dict[Hashable, list[int]] = {}
    for index, matrix in enumerate(lying):
        alike = matrix.shape if _is_coarse(matrix) else matrix.shape[0]
        batches.setdefault((matrix.dtype, matrix.device, alike), []).append(index)
    done: dict[int, Tensor] = {}
    for indices in batches.values():
        batch = [lying[index] for index in indices]
        iterate = _iterate_plain if _is_coarse(batch[0]) else _iterate_gram
        done.update(zip(indices, iterate(batch, steps), strict=True))
    return [(done[i].mT if _is_tall(m) else done[i]).to(m.dtype) for i, m in enumerate(matrices)]


def quickest_dtype(matrix: Tensor) -> torch.dtype:
    """bfloat16 where the hardware multiplies in it, else float32; float64 for those who train in it."""
    if matrix.dtype == torch.float64:
        return torch.float64
    return torch.bfloat16 if matrix.device.type != "cpu" or _cpu_has_bfloat16() else torch.float32


@functools.cache
def _cpu_has_bfloat16() -> bool:
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def _iterate_gram(matrices: Sequence[Tensor], steps: int) -> Iterable[Tensor]:
    """Follows P and G alone; matrices (m, n) with one m and any n >= m, of norm at most 1."""
    gram = torch.stack([matrix @ matrix.mT for matrix in matrices])
    product = factor = _polynomial(gram)
    for _ in range(steps - 1):
        gram = factor @ gram @ factor
        factor = _polynomial(gram)
        product = factor @ product
    return (p @ matrix for p, matrix in zip(product, matrices, strict=True))


def _iterate_plain(matrices: Sequence[Tensor], steps: int) -> Iterable[Tensor]:
    """Follows X itself; matrices (m, n) of one shape, m <= n, of norm at most 1."""
    batch = torch.stack(list(matrices))
    for _ in range(steps):
        batch = _polynomial(batch @ batch.mT) @ batch
    return batch


def _polynomial(gram: Tensor) -> Tensor:
    """``a I + b G + c G^2`` of (batch, m, m)."""
    a, b, c = COEFFICIENTS
    result = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    result.diagonal(dim1=-2, dim2=-1).add_(a)
    return result


def _normalized(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """Lying (no more rows than columns), Frobenius norm at most 1: no singular value is over 1."""
    lying = (matrix.mT if _is_tall(matrix) else matrix).to(dtype)
    normalized: Tensor = lying / lying.norm().clamp(min=_TINY)
    return normalized


def _is_tall(matrix: Tensor) -> bool:
    return matrix.shape[0] > matrix.shape[1]


def _is_coarse(matrix: Tensor) -> bool:
    return matrix.dtype in (torch.bfloat16, torch.float16)
