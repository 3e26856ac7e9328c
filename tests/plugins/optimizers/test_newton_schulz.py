"""The iteration against its definition in float64, and against torch's own."""

from __future__ import annotations

import pytest
import torch

from neobert_plugins.optimizers.newton_schulz import COEFFICIENTS, orthogonalize

SHAPES = [(24, 8), (8, 8), (8, 40), (8, 24), (24, 8), (1, 5), (5, 1), (1, 1)]


def reference(matrix: torch.Tensor, steps: int) -> torch.Tensor:
    """The same function on singular values, which is what the iteration is."""
    u, s, v = torch.linalg.svd(matrix.double(), full_matrices=False)
    s = s / matrix.double().norm()
    a, b, c = COEFFICIENTS
    for _ in range(steps):
        s = a * s + b * s**3 + c * s**5
    return u @ s.diag() @ v


def matrices(seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) * 0.01 for shape in SHAPES]


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-8), (torch.float32, 2e-5), (torch.bfloat16, 0.06)])
def test_every_way_computes_the_polynomial_of_the_singular_values(steps, dtype, tolerance):
    given = [matrix.to(torch.promote_types(matrix.dtype, dtype)) for matrix in matrices()]
    for matrix, result in zip(given, orthogonalize(given, steps, dtype), strict=True):
        assert result.dtype == matrix.dtype
        torch.testing.assert_close(
            result.double(), reference(matrix, steps), atol=tolerance, rtol=0, msg=f"{tuple(matrix.shape)}"
        )


def test_five_steps_bring_singular_values_near_one():
    for result in orthogonalize(matrices(), 5, torch.float32):
        values = torch.linalg.svdvals(result)
        assert values.min() > 0.6
        assert values.max() < 1.3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_zero_matrix_stays_zero(dtype):
    (result,) = orthogonalize([torch.zeros(4, 6)], 5, dtype)
    assert torch.equal(result, torch.zeros(4, 6))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_singular_matrix_stays_finite(dtype):
    row = torch.randn(1, 64, generator=torch.Generator().manual_seed(1))
    (result,) = orthogonalize([row.expand(32, 64).contiguous()], 5, dtype)
    assert result.isfinite().all()
    assert torch.linalg.svdvals(result.float())[0] < 1.3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_matrix_does_not_depend_on_its_company(dtype):
    given = matrices()
    together = orthogonalize(given, 5, dtype)
    for matrix, result in zip(given, together, strict=True):
        (alone,) = orthogonalize([matrix], 5, dtype)
        torch.testing.assert_close(result, alone, atol=1e-5 if dtype == torch.float32 else 0.05, rtol=0)


def test_nothing_given_nothing_returned():
    assert orthogonalize([], 5) == []
