"""check_attn_backend passes a plain backend and notices each way of being wrong."""

from __future__ import annotations

import unittest

import pytest
import torch
from torch.nn import functional as F

from neobert import Capabilities
from neobert.testing import check_attn_backend

EVERYTHING = Capabilities(dtypes=("float32",), window=True, dropout=True)


def plain(q, k, v, layout, *, scale, window=None, dropout_p=0.0, lengths=None, spill=0.0):
    """Right, unless ``lengths`` or ``spill`` says otherwise."""
    pieces = []
    lengths = layout.lengths if lengths is None else lengths
    for q_LHD, k_LHD, v_LHD in zip(*(x.split(lengths) for x in (q, k, v)), strict=True):
        scores = torch.einsum("ihd,jhd->hij", q_LHD, k_LHD) * scale
        if window is not None:
            place = torch.arange(len(q_LHD))
            far = (place[:, None] - place[None, :]).abs() > window
            scores = scores.masked_fill(far, float("-inf"))
        pieces.append(torch.einsum("hij,jhd->ihd", F.dropout(scores.softmax(-1), dropout_p), v_LHD))
    return torch.cat(pieces) + (spill * v.mean(0) if layout.num_sequences > 1 else 0.0)


def refusing(q, k, v, layout, *, scale, window=None, dropout_p=0.0):
    if window is not None or dropout_p:
        raise ValueError("no window, no dropout")
    return plain(q, k, v, layout, scale=scale)


def merges_single_tokens(q, k, v, layout, **keywords):
    lengths = list(layout.lengths)
    for index in range(len(lengths) - 1, 0, -1):
        if lengths[index] == 1:
            lengths[index - 1] += lengths.pop(index)
    return plain(q, k, v, layout, lengths=lengths, **keywords)


def halves_the_gradient_of_k(q, k, v, layout, **keywords):
    return plain(q, k.detach() + (k - k.detach()) * 0.5, v, layout, **keywords)


def leaks_gradient_only(q, k, v, layout, **keywords):
    return plain(q, k, v - v.detach(), layout, **keywords, spill=1e-3) + plain(q, k, v.detach(), layout, **keywords)


def leaks_in_dropout(q, k, v, layout, *, dropout_p=0.0, **keywords):
    if not dropout_p:
        return plain(q, k, v, layout, **keywords)
    return plain(q, k, v, layout, dropout_p=dropout_p, **keywords) + 1e-3 * (v - v.detach()).sum(0)


def needs_contiguous(q, k, v, layout, **keywords):
    shape = q.shape
    q, k, v = (x.as_strided(shape, (shape[1] * shape[2], shape[2], 1), 0) for x in (q, k, v))
    return plain(q, k, v, layout, **keywords)


def scales_q_in_place(q, k, v, layout, *, scale, **keywords):
    with torch.no_grad():
        q.mul_(scale)
    return plain(q, k, v, layout, scale=1.0, **keywords)


def own_generator(q, k, v, layout, *, dropout_p=0.0, **keywords):
    out = plain(q, k, v, layout, **keywords)
    generator = torch.Generator()
    generator.seed()
    return out * (torch.rand(out.shape, generator=generator) >= dropout_p) / (1 - dropout_p)


def unscaled_dropout(q, k, v, layout, *, dropout_p=0.0, **keywords):
    return plain(q, k, v, layout, dropout_p=dropout_p, **keywords) * (1 - dropout_p)


def one_window_off(q, k, v, layout, *, window=None, **keywords):
    return plain(q, k, v, layout, window=None if window is None else window + 1, **keywords)


def with_defaults(**changes):
    return lambda q, k, v, layout, **keywords: plain(q, k, v, layout, **{**keywords, **changes})


BROKEN = {
    "leaks a little": (with_defaults(spill=1e-3), "packed and alone"),
    "merges single tokens": (merges_single_tokens, "packed and alone"),
    "gradient of k": (halves_the_gradient_of_k, "gradient of k"),
    "leaks a gradient only": (leaks_gradient_only, "packed and alone"),
    "leaks a gradient in dropout": (leaks_in_dropout, "gives no gradient to another's"),
    "ignores the scale": (with_defaults(scale=0.25), "softmax(scale"),
    "needs contiguous inputs": (needs_contiguous, "contiguous"),
    "writes to its input": (scales_q_in_place, "not written to"),
    "wrong dtype": (lambda *a, **k: plain(*a, **k).double(), "dtype"),
    "wrong shape": (lambda *a, **k: plain(*a, **k).flatten(1), "shape"),
    "ignores the window": (with_defaults(window=None), "softmax(scale"),
    "window one too wide": (one_window_off, "softmax(scale"),
    "ignores dropout": (with_defaults(dropout_p=0.0), "drops"),
    "dropout from its own generator": (own_generator, "function of torch's generator"),
    "dropout does not rescale": (unscaled_dropout, "mean over draws"),
}


def test_a_plain_backend_passes(options_for):
    check_attn_backend(options_for(lambda context: plain, capabilities=EVERYTHING))
    check_attn_backend(options_for(lambda context: refusing))


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_backend_is_noticed(name, options_for, notices):
    backend, words = BROKEN[name]
    notices(check_attn_backend, options_for(lambda context: backend, capabilities=EVERYTHING), words)


@pytest.mark.parametrize("capability", ["window", "dropout"])
def test_what_is_not_claimed_must_be_refused(capability, options_for, notices):
    capabilities = Capabilities(dtypes=("float32",), **{"window": True, "dropout": True, capability: False})
    options = options_for(lambda context: plain, capabilities=capabilities)
    notices(check_attn_backend, options, "raises when it is asked for it")


def test_a_window_that_is_no_softmax_is_compared_by_what_it_sees(options_for, notices):
    capabilities = Capabilities(dtypes=("float32",), window=True, dropout=True, exact=False)
    check_attn_backend(options_for(lambda context: with_defaults(scale=0.25), capabilities=capabilities))
    options = options_for(lambda context: one_window_off, capabilities=capabilities)
    notices(check_attn_backend, options, "only two tokens on each side")


def test_a_claimed_dtype_is_tried(options_for):
    def no_bfloat16(q, *rest, **keywords):
        if q.dtype == torch.bfloat16:
            raise TypeError("no bfloat16")
        return plain(q, *rest, **keywords)

    capabilities = Capabilities(window=True, dropout=True)
    with pytest.raises(TypeError, match="no bfloat16"):
        check_attn_backend(options_for(lambda context: no_bfloat16, capabilities=capabilities))


def test_a_backend_for_a_device_that_is_not_here_is_skipped(options_for):
    options = options_for(lambda context: plain, capabilities=Capabilities(devices=("nowhere",)))
    with pytest.raises(unittest.SkipTest, match="nowhere"):
        check_attn_backend(options)
