"""Adapters of kernels that run on CUDA alone, over reference functions with the kernels' own signatures."""

from __future__ import annotations

import inspect
import sys
from types import ModuleType
from typing import ClassVar

import pytest
import torch
from attrs import evolve, frozen

from neobert import Capabilities, SequenceLayout
from neobert.capabilities import Target
from neobert.registry.requirements import unmet
from neobert.testing import check_attn_backend, make_context
from neobert.testing.reference import plain_attention
from neobert_plugins.attention import (
    AutoAttention,
    FlashAttention,
    FlashAttention3,
    FlashAttention4,
    FlexAttention,
    VarlenAttention,
    flash,
    varlen,
)
from neobert_plugins.attention.kernel_inputs import narrow

DTYPES = ("float32",)
HERE = {"devices": ("cpu",), "train_devices": ("cpu",), "dtypes": DTYPES, "cuda_capability": (0, 0)}


def reference(q, k, v, bounds, longest, scale, sides, dropout_p=0.0):
    """What the kernels compute, from device tensors as they get them; q.stride(-1) == 1 as they insist."""
    assert q.stride(-1) == k.stride(-1) == v.stride(-1) == 1
    assert bounds.dtype == torch.int32
    lengths = tuple(bounds.diff().tolist())
    assert longest == max(lengths)
    window = None if sides in ((-1, -1), (None, None)) else sides[0]
    assert window is None or sides == (window, window)
    if dropout_p:
        return _with_dropout(q, k, v, lengths, scale, dropout_p)
    return plain_attention(q, k, v, lengths, scale=scale, window=window).to(q.dtype)


def _with_dropout(q, k, v, lengths, scale, dropout_p):
    pieces = []
    for parts in zip(*(torch.split(x.double(), lengths) for x in (q, k, v)), strict=True):
        q_HLD, k_HLD, v_HLD = (x.transpose(0, 1) for x in parts)
        shares = torch.nn.functional.dropout((q_HLD @ k_HLD.mT * scale).softmax(-1), dropout_p)
        pieces.append((shares @ v_HLD).transpose(0, 1))
    return torch.cat(pieces).to(q.dtype)


def varlen_attn(
    query,
    key,
    value,
    cu_seq_q,
    cu_seq_k,
    max_q,
    max_k,
    *,
    return_aux=None,
    scale=None,
    window_size=(-1, -1),
    enable_gqa=False,
    seqused_k=None,
    block_table=None,
    num_splits=None,
):
    assert cu_seq_q is cu_seq_k
    assert max_q == max_k
    return reference(query, key, value, cu_seq_q, max_q, scale, window_size)


def second(
    q,
    k,
    v,
    cu_seqlens_q,
    cu_seqlens_k,
    max_seqlen_q,
    max_seqlen_k,
    dropout_p=0.0,
    softmax_scale=None,
    causal=False,
    window_size=(-1, -1),
    softcap=0.0,
    alibi_slopes=None,
    deterministic=False,
    return_attn_probs=False,
    block_table=None,
):
    """flash-attn 2.7 and later."""
    assert cu_seqlens_q is cu_seqlens_k
    return reference(q, k, v, cu_seqlens_q, max_seqlen_q, softmax_scale, window_size, dropout_p)


def third(
    q,
    k,
    v,
    cu_seqlens_q,
    cu_seqlens_k,
    max_seqlen_q,
    max_seqlen_k,
    seqused_q=None,
    seqused_k=None,
    softmax_scale=None,
    causal=False,
    qv=None,
    q_descale=None,
    k_descale=None,
    v_descale=None,
    window_size=(-1, -1),
    attention_chunk=0,
    softcap=0.0,
    num_splits=1,
    pack_gqa=None,
    deterministic=False,
    sm_margin=0,
    return_attn_probs=False,
):
    """FlashAttention 3; its first releases answered with a tuple."""
    return reference(q, k, v, cu_seqlens_q, max_seqlen_q, softmax_scale, window_size), None


def fourth(
    q,
    k,
    v,
    cu_seqlens_q=None,
    cu_seqlens_k=None,
    max_seqlen_q=None,
    max_seqlen_k=None,
    seqused_q=None,
    seqused_k=None,
    page_table=None,
    softmax_scale=None,
    causal=False,
    window_size=(None, None),
    learnable_sink=None,
    softcap=0.0,
    num_splits=1,
    pack_gqa=None,
    deterministic=False,
    return_lse=False,
):
    """FlashAttention 4: no window is (None, None), and the answer is a tuple."""
    return reference(q, k, v, cu_seqlens_q, max_seqlen_q, softmax_scale, window_size), None


GENERATIONS = {FlashAttention: second, FlashAttention3: third, FlashAttention4: fourth}
generations = pytest.mark.parametrize(("options_class", "kernel"), GENERATIONS.items(), ids=lambda it: it.__name__)


@pytest.fixture
def installed(monkeypatch):
    """Puts a kernel where the options look for it."""

    def put(options_class, kernel):
        module = ModuleType(options_class.module)
        module.flash_attn_varlen_func = kernel
        monkeypatch.setitem(sys.modules, options_class.module, module)
        if "." in options_class.module:
            parent = options_class.module.partition(".")[0]
            monkeypatch.setitem(sys.modules, parent, ModuleType(parent))

    return put


def on_this_machine(base):
    """The same options, stated for the devices and dtypes of the reference."""

    @frozen(kw_only=True)
    class Here(base):
        capabilities: ClassVar[Capabilities] = evolve(base.capabilities, **HERE)

    return Here


@generations
def test_the_adapter_of_each_generation_keeps_the_promises(installed, options_class, kernel):
    installed(options_class, kernel)
    check_attn_backend(on_this_machine(options_class))


def test_the_adapter_of_torchs_own_kernel_keeps_the_promises(monkeypatch):
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", varlen_attn)
    check_attn_backend(on_this_machine(VarlenAttention))


def test_the_stand_in_has_the_signature_of_torchs_function():
    module = pytest.importorskip("torch.nn.attention.varlen")
    real = inspect.signature(module.varlen_attn).parameters.values()
    ours = inspect.signature(varlen_attn).parameters.values()
    assert [(p.name, p.kind, p.default) for p in ours] == [(p.name, p.kind, p.default) for p in real]


@pytest.mark.parametrize("deterministic", [True, False])
@generations
def test_whether_the_backward_pass_is_deterministic_is_said(installed, options_class, kernel, deterministic):
    told = []

    def watched(*tensors, deterministic=None, **rest):
        told.append(deterministic)
        return kernel(*tensors, **rest)

    installed(options_class, watched)
    backend = options_class(deterministic=deterministic).build(make_context())
    q = torch.randn(5, 2, 8)
    backend(q, q, q, SequenceLayout.from_lengths((3, 2)), scale=0.4)
    assert told == [deterministic]


def test_kernels_get_the_dtype_that_autocast_asks_for():
    """Rotary tables leave q and k in fp32 while v comes in bf16."""
    seen = []

    def kernel(q, k, v, *bounds, **rest):
        seen.append((q.dtype, k.dtype, v.dtype))
        return q

    q, v = torch.randn(4, 2, 8), torch.randn(4, 2, 8, dtype=torch.bfloat16)
    layout = SequenceLayout.from_lengths((4,))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        varlen.attend_with(kernel)(q, q, v, layout, scale=0.4)
        flash.attend_with(kernel, deterministic=True, dropout=True)(q, q, v, layout, scale=0.4)
    assert seen == [(torch.bfloat16,) * 3] * 2


def test_a_window_that_keeps_nothing_out_is_none():
    layout = SequenceLayout.from_lengths((4, 2))
    assert [narrow(window, layout) for window in (None, 0, 2, 3, 9)] == [None, 0, 2, None, None]


def test_torchs_kernel_asks_the_device_nothing():
    """On the meta device every read of a value raises."""
    module = pytest.importorskip("torch.nn.attention.varlen")
    layout = SequenceLayout.from_lengths((5, 1, 8)).to("meta")
    q, k, v = (torch.empty(14, 2, 8, device="meta", requires_grad=True) for _ in range(3))
    out = varlen.attend_with(module.varlen_attn)(q, k, v, layout, scale=0.3, window=2)
    out.sum().backward()
    assert out.shape == q.grad.shape == (14, 2, 8)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(
    "options_class",
    [AutoAttention, VarlenAttention, FlashAttention, FlashAttention3, FlashAttention4, FlexAttention],
)
def test_the_real_kernels_keep_their_promises(options_class):
    missing = unmet(getattr(options_class, "requires", ()))
    if missing:
        pytest.skip(missing[0].reason)
    target = Target.of(torch.device("cuda"), "bfloat16")
    unfit = list(options_class.capabilities.unfit(target))
    if unfit:
        pytest.skip(unfit[0])
    check_attn_backend(options_class)
