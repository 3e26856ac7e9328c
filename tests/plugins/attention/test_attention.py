from __future__ import annotations

import math

import pytest
import torch

from neobert import SequenceLayout
from neobert_plugins.attention import bands, cpu, eager, neobert_attn_backends, sdpa
from neobert_plugins.attention.bands import band_mask

BACKENDS = {"sdpa": sdpa.attend, "eager": eager.attend}
LAYOUTS = {
    "mixed": (3, 1, 6, 6, 6, 1, 1, 4),
    "one": (9,),
    "equal": (4, 4, 4),
    "ones": (1, 1, 1),
}
backends = pytest.mark.parametrize("attend", BACKENDS.values(), ids=BACKENDS.keys())
layouts = pytest.mark.parametrize("lengths", LAYOUTS.values(), ids=LAYOUTS.keys())


def heads(num_tokens, requires_grad=True):
    """q, k, v (T, 2, 5), strided as one projection leaves them."""
    torch.manual_seed(0)
    qkv = torch.randn(num_tokens, 2, 3, 5, dtype=torch.float64, requires_grad=requires_grad)
    return qkv, *qkv.unbind(2)


def plain(q, k, v, lengths, scale, window=None):
    """Token by token: a sum over those it sees."""
    out, start = [], 0
    for length in lengths:
        for i in range(start, start + length):
            seen = [j for j in range(start, start + length) if window is None or abs(i - j) <= window]
            weights = [torch.exp((q[i] * k[j]).sum(-1) * scale) for j in seen]
            out.append(sum(w[:, None] * v[j] for w, j in zip(weights, seen, strict=True)) / sum(weights)[:, None])
        start += length
    return torch.stack(out)


@backends
@layouts
@pytest.mark.parametrize("window", [None, 0, 1, 3, 100])
def test_output_and_gradient_are_those_of_the_sum(attend, lengths, window):
    layout = SequenceLayout.from_lengths(lengths)
    qkv, q, k, v = heads(sum(lengths))
    scale = 1 / math.sqrt(5)
    weights = torch.randn(sum(lengths), 2, 5, dtype=torch.float64)
    found, expected = (
        attend(q, k, v, layout, scale=scale, window=window),
        plain(q, k, v, lengths, scale, window),
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    (ours,) = torch.autograd.grad((found * weights).sum(), qkv, retain_graph=True)
    (theirs,) = torch.autograd.grad((expected * weights).sum(), qkv)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


def test_without_torchs_kernel_its_public_function_does_the_same(monkeypatch):
    layout = SequenceLayout.from_lengths(LAYOUTS["mixed"])
    qkv, q, k, v = heads(layout.num_tokens)
    here = sdpa.attend(q, k, v, layout, scale=0.4)
    monkeypatch.setattr(sdpa, "HAS_KERNEL", False)
    monkeypatch.setattr(sdpa, "attend_on_cpu", None)
    elsewhere = sdpa.attend(q, k, v, layout, scale=0.4)
    torch.testing.assert_close(here, elsewhere)
    torch.testing.assert_close(*(torch.autograd.grad(out.square().sum(), qkv)[0] for out in (here, elsewhere)))


def test_sdpa_takes_the_dtype_that_autocast_asks_for(monkeypatch):
    """As torch's function does, where a model leaves q and k wider than v."""
    layout = SequenceLayout.from_lengths((3, 2))
    q, k = torch.randn(2, 5, 2, 8)
    v = torch.randn(5, 2, 8, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        here = sdpa.attend(q, k, v, layout, scale=0.4)
        monkeypatch.setattr(sdpa, "HAS_KERNEL", False)
        elsewhere = sdpa.attend(q, k, v, layout, scale=0.4)
    torch.testing.assert_close(here, elsewhere)


@pytest.mark.skipif(not cpu.HAS_KERNEL, reason="this torch has no flash kernel for the CPU by that name")
def test_without_bfloat16_matrices_only_results_are_rounded(monkeypatch):
    monkeypatch.setattr(cpu, "_has_bfloat16_matrices", lambda: False)
    layout = SequenceLayout.from_lengths((6, 6, 2))
    torch.manual_seed(0)
    narrow = torch.randn(3, 14, 2, 8, dtype=torch.bfloat16, requires_grad=True)
    wide = narrow.detach().float().requires_grad_()
    found, exact = (sdpa.attend(*qkv.unbind(0), layout, scale=0.4) for qkv in (narrow, wide))
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, exact.bfloat16())
    upstream = torch.randn(14, 2, 8).bfloat16()
    (grad,), (wide_grad,) = (
        torch.autograd.grad(out, qkv, upstream.to(out.dtype)) for out, qkv in ((found, narrow), (exact, wide))
    )
    assert grad.dtype == torch.bfloat16
    torch.testing.assert_close(grad.float(), wide_grad, rtol=2e-2, atol=2e-2)


@backends
def test_nothing_leaks_across_sequences(attend):
    lengths = (3, 3, 2, 1)
    layout = SequenceLayout.from_lengths(lengths)
    _, q, k, v = heads(9, requires_grad=False)
    before = attend(q, k, v, layout, scale=0.4)
    k, v = k.clone(), v.clone()
    k[3:6], v[3:6] = 1e3, -1e3
    after = attend(q, k, v, layout, scale=0.4)
    others = [0, 1, 2, 6, 7, 8]
    assert torch.equal(before[others], after[others])
    assert not torch.equal(before[3:6], after[3:6])


@backends
def test_dropout_zeroes_shares_and_keeps_the_mean(attend):
    layout = SequenceLayout.from_lengths((8,))
    _, q, k, v = heads(8, requires_grad=False)
    torch.manual_seed(1)
    once = attend(q, k, v, layout, scale=0.4, dropout_p=0.5)
    torch.manual_seed(1)
    again = attend(q, k, v, layout, scale=0.4, dropout_p=0.5)
    assert torch.equal(once, again)
    drawn = torch.stack([attend(q, k, v, layout, scale=0.4, dropout_p=0.5) for _ in range(3000)])
    exact = attend(q, k, v, layout, scale=0.4)
    assert not torch.allclose(once, exact)
    torch.testing.assert_close(drawn.mean(0), exact, rtol=0, atol=0.1)


@backends
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision_stays_in_its_dtype_and_near(attend, dtype):
    layout = SequenceLayout.from_lengths((6, 2))
    _, q, k, v = heads(8, requires_grad=False)
    exact = attend(q, k, v, layout, scale=0.4)
    found = attend(q.to(dtype), k.to(dtype), v.to(dtype), layout, scale=0.4)
    assert found.dtype == dtype
    assert (found.double() - exact).abs().max() < (1e-5 if dtype == torch.float32 else 0.05)


def test_no_question_is_put_to_the_device():
    """On the meta device every read of a value raises."""
    layout = SequenceLayout.from_lengths((5, 1, 4, 4)).to("meta")
    q, k, v = (torch.empty(14, 2, 8, device="meta", requires_grad=True) for _ in range(3))
    out = sdpa.attend(q, k, v, layout, scale=0.3, window=2)
    out.sum().backward()
    assert out.shape == q.grad.shape == (14, 2, 8)


def test_equally_long_neighbours_share_a_call(monkeypatch):
    shapes = []
    real = cpu._forward

    def watched(q, *rest, **options):
        shapes.append(tuple(q.shape))
        return real(q, *rest, **options)

    monkeypatch.setattr(cpu, "_forward", watched)
    _, q, k, v = heads(14, requires_grad=False)
    sdpa.attend(q, k, v, SequenceLayout.from_lengths((3, 3, 3, 1, 3, 1)), scale=1.0)
    assert shapes == [(3, 2, 3, 5), (1, 2, 1, 5), (1, 2, 3, 5), (1, 2, 1, 5)]


def test_band_mask_is_none_where_all_is_seen():
    device = torch.device("cpu")
    assert band_mask(4, None, device) is None
    assert band_mask(4, 3, device) is None
    assert band_mask(3, 1, device).tolist() == [[True, True, False], [True, True, True], [False, True, True]]


LONG = (300, 1, 129, 129, 128, 40)
"""Lengths about the size of a block of queries, with two sequences that share a call."""


@pytest.mark.parametrize("kernel", [True, False], ids=["kernel", "public"])
@pytest.mark.parametrize("window", [1, 5, 128, 200, 298, 299])
def test_blocks_of_queries_see_what_the_whole_matrix_shows(monkeypatch, kernel, window):
    monkeypatch.setattr(sdpa, "HAS_KERNEL", kernel)
    layout = SequenceLayout.from_lengths(LONG)
    qkv, q, k, v = heads(layout.num_tokens)
    upstream = torch.randn(layout.num_tokens, 2, 5, dtype=torch.float64)
    found, expected = (attend(q, k, v, layout, scale=0.4, window=window) for attend in BACKENDS.values())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    ours, theirs = (torch.autograd.grad(out, qkv, upstream, retain_graph=True)[0] for out in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_blocks_in_lower_precision(dtype):
    layout = SequenceLayout.from_lengths(LONG)
    _, *exact = heads(layout.num_tokens, requires_grad=False)
    given = [x.to(dtype).requires_grad_() for x in exact]
    out = sdpa.attend(*given, layout, scale=0.4, window=30)
    expected = eager.attend(*(x.detach().double() for x in given), layout, scale=0.4, window=30)
    reach = 1e-5 if dtype == torch.float32 else 0.05
    assert out.dtype == dtype
    assert (out.double() - expected).abs().max() < reach
    out.sum().backward()
    assert all(x.grad.dtype == dtype and bool(x.grad.isfinite().all()) for x in given)


@pytest.mark.parametrize("kernel", [True, False], ids=["kernel", "public"])
def test_no_call_has_more_keys_than_its_queries_see(monkeypatch, kernel):
    """So the cost of a long sequence follows its length, and no (L, L) mask is made."""
    shapes = []
    name, place = ("_forward", cpu) if kernel else ("scaled_dot_product_attention", torch.nn.functional)
    real = getattr(place, name)

    def watched(q, k, v, **options):
        shapes.append((q.shape[2], k.shape[2], tuple(options["attn_mask"].shape)))
        return real(q, k, v, **options)

    monkeypatch.setattr(sdpa, "HAS_KERNEL", kernel)
    monkeypatch.setattr(place, name, watched)
    _, q, k, v = heads(1000, requires_grad=False)
    sdpa.attend(q, k, v, SequenceLayout.from_lengths((1000,)), scale=1.0, window=16)
    assert len(shapes) == -(-1000 // bands.BLOCK)
    assert sum(queries for queries, _, _ in shapes) == 1000
    assert all(keys <= bands.BLOCK + 32 and mask == (queries, keys) for queries, keys, mask in shapes)


def test_options_say_what_the_backends_do():
    for options in neobert_attn_backends().values():
        assert options.capabilities.window
        assert options.capabilities.exact
        assert options.__doc__.splitlines()[0].endswith(".")
