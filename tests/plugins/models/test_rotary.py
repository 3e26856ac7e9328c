from __future__ import annotations

import cmath

import pytest
import torch

from neobert_plugins.models.rotary import rotary_table, split_rotated
from neobert_plugins.models.scaling import Rotation


def rotate(heads, table):
    """q's part of (T, H, D) heads, through the one door."""
    return split_rotated(torch.stack((heads, heads, heads), dim=2), table)[0]


def test_pairs_turn_by_an_angle_of_the_position():
    torch.manual_seed(0)
    qkv = torch.randn(4, 2, 3, 6, dtype=torch.float64)
    positions = torch.tensor([0, 1, 0, 700])
    q, k, v = split_rotated(qkv.clone(), rotary_table(positions, 6, Rotation(100.0), torch.float64))
    assert torch.equal(v, qkv[:, :, 2])
    for part, turned in enumerate((q, k)):
        for t, position in enumerate(positions.tolist()):
            for pair in range(3):
                x = qkv[t, 1, part, 2 * pair : 2 * pair + 2].tolist()
                expected = complex(*x) * cmath.exp(1j * position * 100.0 ** (-2 * pair / 6))
                found = turned[t, 1, 2 * pair : 2 * pair + 2].tolist()
                assert found == pytest.approx([expected.real, expected.imag], abs=1e-12)


def test_the_gradient_is_that_of_the_function():
    torch.manual_seed(0)
    qkv = torch.randn(3, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    table = rotary_table(torch.tensor([0, 1, 5]), 4, Rotation(100.0), torch.float64)
    assert torch.autograd.gradcheck(lambda x: split_rotated(x.clone(), table), (qkv,))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_gradients_may_come_with_any_strides(dtype):
    torch.manual_seed(0)
    table = rotary_table(torch.arange(3), 4, Rotation(100.0), dtype)
    qkv = torch.randn(3, 2, 3, 4, dtype=dtype, requires_grad=True)
    expanded = torch.ones((), dtype=dtype).expand(3, 2, 4)
    transposed = torch.randn(4, 2, 3, dtype=dtype).permute(2, 1, 0)
    odd = torch.randn(3, 2, 5, dtype=dtype)[..., 1:]
    for upstream in (expanded, transposed, odd):
        plain = upstream.clone(memory_format=torch.contiguous_format)
        found, expected = (
            torch.autograd.grad(split_rotated(qkv.clone(), table), qkv, (given,) * 3)[0] for given in (upstream, plain)
        )
        assert torch.equal(found, expected)


def test_scores_depend_on_the_distance_alone():
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, 1, 8, dtype=torch.float64)
    scores = []
    for start in (0, 5, 900):
        table = rotary_table(torch.tensor([start, start + 3]), 8, Rotation(10000.0), torch.float64)
        scores.append(rotate(q, table[:1])[0] @ rotate(k, table[1:])[0].T)
    torch.testing.assert_close(scores[0], scores[1])
    torch.testing.assert_close(scores[0], scores[2])


def test_compiled_code_turns_them_the_same_way():
    torch.manual_seed(0)
    qkv = torch.randn(5, 2, 3, 8, dtype=torch.float64, requires_grad=True)
    table = rotary_table(torch.arange(5), 8, Rotation(10000.0), torch.float64)
    compiled = torch.compile(split_rotated, backend="eager", fullgraph=True)
    weights = torch.randn(3, 5, 2, 8, dtype=torch.float64)
    torch.testing.assert_close(compiled(qkv.clone(), table), split_rotated(qkv.clone(), table))
    (ours,) = torch.autograd.grad((torch.stack(compiled(qkv.clone(), table)) * weights).sum(), qkv)
    (theirs,) = torch.autograd.grad((torch.stack(split_rotated(qkv.clone(), table)) * weights).sum(), qkv)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_the_dtype_stays_and_angles_are_float32_at_least(dtype):
    table = rotary_table(torch.arange(3), 4, Rotation(10000.0), dtype)
    assert table.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert rotate(torch.ones(3, 1, 4, dtype=dtype), table).dtype == dtype
