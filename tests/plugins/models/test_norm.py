from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from neobert import products
from neobert_plugins.models.gating import gated_linear
from neobert_plugins.models.norm import RMSNorm, project_normed


def test_rms_norm_is_torchs():
    torch.manual_seed(0)
    x, weight = torch.randn(7, 12, dtype=torch.float64, requires_grad=True), torch.randn(12, dtype=torch.float64)
    norm = RMSNorm(12, eps=1e-3).double()
    norm.weight.data.copy_(weight)
    torch.testing.assert_close(norm(x), F.rms_norm(x, (12,), weight, 1e-3))
    assert torch.autograd.gradcheck(lambda *given: _call(norm, *given), (x, weight.requires_grad_()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_rms_norm_under_autocast_is_torchs(dtype):
    x = torch.randn(5, 16, dtype=dtype, requires_grad=True)
    norm = RMSNorm(16, eps=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outs = norm(x), F.rms_norm(x, (16,), norm.weight, 1e-5)
    torch.testing.assert_close(*outs)
    upstream = torch.linspace(-1, 1, 80, dtype=outs[0].dtype).view(5, 16)
    torch.testing.assert_close(*(torch.autograd.grad(out, (x, norm.weight), upstream) for out in outs))


def _projection(norm, dtype=torch.float64):
    torch.manual_seed(0)
    layer = torch.nn.Linear(12, 5, bias=False, dtype=dtype)
    torch.nn.init.normal_(norm.weight)
    return norm.to(dtype), layer, torch.randn(7, 12, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize("norm", [RMSNorm(12, eps=1e-3), torch.nn.LayerNorm(12, eps=1e-3)])
def test_a_projection_of_what_is_normed_is_one_after_the_other(norm):
    norm, layer, x = _projection(norm)
    torch.testing.assert_close(project_normed(norm, layer, x), layer(norm(x)))

    inputs = (x, norm.weight, layer.weight)
    ours = torch.autograd.grad(project_normed(norm, layer, x).square().sum(), inputs)
    torch.testing.assert_close(ours, torch.autograd.grad(layer(norm(x)).square().sum(), inputs))


def test_a_projection_keeps_its_input_alone():
    norm, layer, x = _projection(RMSNorm(12, eps=1e-5))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        project_normed(norm, layer, x)
    assert sorted(tuple(t.shape) for t in kept if not isinstance(t, torch.nn.Parameter)) == [(7, 1), (7, 12)]


def test_a_projection_under_autocast_is_torchs():
    norm, layer, x = _projection(RMSNorm(12, eps=1e-5), torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out, plain = project_normed(norm, layer, x), layer(norm(x))
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out, plain)


def test_the_gate_is_silu_times_up():
    torch.manual_seed(0)
    gate_up, weight = (torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((5, 12), (4, 6)))
    gate, up = gate_up.chunk(2, dim=-1)
    torch.testing.assert_close(gated_linear(gate_up, weight), (F.silu(gate) * up) @ weight.T)
    assert torch.autograd.gradcheck(gated_linear, (gate_up, weight))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: gated_linear(x, torch.ones(3, 6)),
        RMSNorm(12, eps=1e-5),
        lambda x: project_normed(RMSNorm(12, eps=1e-5), torch.nn.Linear(12, 3, bias=False), x),
    ],
)
def test_no_row_is_no_row(function):
    x = torch.randn(0, 12, requires_grad=True)
    out = function(x)
    out.sum().backward()
    assert out.shape[0] == 0
    assert x.grad.shape == (0, 12)


def test_compiled_code_has_the_chosen_product_too(monkeypatch):
    if (obstacle := products.onednn_obstacle()) is not None:
        pytest.skip(obstacle)
    products.choose_library("onednn")
    real, called = products._of_rows, []
    monkeypatch.setattr(products, "_of_rows", lambda a, b: called.append(a.shape) or real(a, b))
    given = torch.randn(64, 256, requires_grad=True), torch.randn(80, 128, requires_grad=True)
    outs = [f(*given) for f in (gated_linear, torch.compile(gated_linear, backend="aot_eager", fullgraph=True))]
    assert called == [(64, 128)] * 2
    torch.testing.assert_close(*outs)
    torch.testing.assert_close(*(torch.autograd.grad(out.sum(), given) for out in outs))


def _call(norm, x, weight):
    return torch.func.functional_call(norm, {"weight": weight}, x)
