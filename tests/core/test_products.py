from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from neobert import products


@pytest.fixture
def onednn():
    if (obstacle := products.onednn_obstacle()) is not None:
        pytest.skip(obstacle)
    products.choose_library("onednn")
    yield
    products.choose_library("torch")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(128, 96), (100, 96), (3, 41, 96), (64, 96)])
def test_a_linear_layer_is_torchs(onednn, shape, bias):
    torch.manual_seed(0)
    given = [torch.randn(shape), torch.randn(70, 96), torch.randn(70) if bias else None]
    ours, theirs = (_outcome(function, given) for function in (products.linear, F.linear))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-5)


def test_the_gradient_of_a_sum_has_no_rows_in_memory(onednn):
    x, weight = torch.randn(64, 80, requires_grad=True), torch.randn(70, 80, requires_grad=True)
    products.linear(x, weight).sum().backward()
    torch.testing.assert_close(x.grad, weight.sum(0).expand(64, 80))
    torch.testing.assert_close(weight.grad, x.sum(0).expand(70, 80))


@pytest.mark.parametrize("layout", ["plain", "transposed", "part", "transposed part"])
def test_products_of_any_strides(onednn, layout):
    torch.manual_seed(0)
    wide = torch.randn(80, 150)
    b = {"plain": wide, "transposed": wide.T, "part": wide[:, 7:107], "transposed part": wide[:, 7:107].T}[layout]
    for a in (torch.randn(64, b.shape[0]), torch.randn(b.shape[0], 90).T, torch.randn(70, 200)[:, : b.shape[0]]):
        torch.testing.assert_close(products.product(a, b), (a.double() @ b.double()).float(), rtol=1e-5, atol=1e-5)
        summed = products.product_over_rows(a.mT, b)
        torch.testing.assert_close(summed, (a.double() @ b.double()).float(), rtol=1e-5, atol=1e-5)


def test_what_is_not_for_onednn_is_torchs(onednn):
    x, weight = torch.randn(64, 80), torch.randn(64, 80)
    assert products.uses_onednn(x, weight)
    assert torch.equal(products.product(x[:63], weight.T), x[:63] @ weight.T)
    assert torch.equal(products.linear(x.double(), weight.double()), F.linear(x.double(), weight.double()))
    assert products.linear(x[:0], weight).shape == (0, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert products.linear(x, weight).dtype == torch.bfloat16


@pytest.mark.parametrize("function", [products.product, lambda a, b: products.product_over_rows(a.T, b)])
def test_compiled_code_and_sizes_without_values_have_them_too(onednn, function):
    from torch._subclasses.fake_tensor import FakeTensorMode

    a, b = torch.randn(100, 80), torch.randn(80, 70)
    compiled = torch.compile(function, backend="aot_eager", fullgraph=True, dynamic=True)
    torch.testing.assert_close(compiled(a, b), function(a, b))
    with FakeTensorMode() as mode:
        fake = function(mode.from_tensor(a), mode.from_tensor(b))
    assert (fake.shape, fake.stride()) == (function(a, b).shape, function(a, b).stride())


def test_every_linear_layer_of_a_module_takes_part(onednn, monkeypatch):
    module = nn.Sequential(nn.Linear(80, 64), nn.Sequential(nn.Linear(64, 66, bias=False)))
    names = list(module.state_dict())
    products.use_in(module)
    products.use_in(module)
    called = []
    monkeypatch.setattr(products, "_of_rows", lambda a, b: called.append(a.shape) or F.linear(a, b))
    copied = copy.deepcopy(module)
    copied[0].weight.data.zero_()
    copied[0].bias.data.zero_()
    assert torch.equal(copied(torch.randn(65, 80)), torch.zeros(65, 66))
    assert called == [(128, 80), (128, 64)]
    assert list(module.state_dict()) == names


def test_few_different_numbers_of_rows_reach_the_library():
    for low, high in ((64, 1024), (1024, 2048), (2048, 4096), (4096, 8192)):
        rounded = {products.rounded_up(rows) for rows in range(low, high)}
        assert len(rounded) <= 17
        assert all(products.rounded_up(rows) >= rows for rows in range(low, high))
    assert products.rounded_up(4096) == 4096
    assert products.rounded_up(819) == 832


def test_torchs_way_is_the_way_before_a_run(monkeypatch):
    assert not products.uses_onednn(torch.ones(64, 64), torch.ones(64, 64))
    assert products.choose_library("torch") == "torch"


@pytest.mark.parametrize(
    ("abilities", "chosen"),
    [
        ({"cpu_name": "AMD EPYC", "avx512_f": True}, "onednn"),
        ({"cpu_name": "AMD EPYC", "avx512_f": False}, "torch"),
        ({"cpu_name": "Intel Xeon", "avx512_f": True}, "torch"),
        ({}, "torch"),
    ],
)
def test_auto_is_a_rule_about_the_processor(monkeypatch, abilities, chosen):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: abilities, raising=False)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    monkeypatch.setattr(products, "onednn_obstacle", lambda: None)
    assert products.quicker_library.__wrapped__() == chosen
    monkeypatch.setattr(products, "onednn_obstacle", lambda: "it is not there")
    assert products.quicker_library.__wrapped__() == "torch"


def _outcome(function, given):
    """Output and gradients; torch's in fp64, as the reference."""
    dtype = torch.float64 if function is F.linear else torch.float32
    leaves = [None if x is None else x.to(dtype).requires_grad_() for x in given]
    out = function(*leaves)
    torch.manual_seed(1)
    wanted = [leaf for leaf in leaves if leaf is not None]
    return [out, *torch.autograd.grad((out * torch.randn(out.shape).to(dtype)).sum(), wanted)]
