"""Weights that hold several matrices: taken apart as the model says, each made orthogonal by itself."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from neobert import BuildContext, FusedMatrix, UserError
from neobert.training.groups import group_parameters
from neobert_plugins.models.block import split_heads
from neobert_plugins.optimizers import Muon, newton_schulz
from neobert_plugins.optimizers import muon as muon_module
from neobert_plugins.optimizers.fused import join, split

HIDDEN, HEADS, WIDTH = 12, 3, 10


class Encoder(nn.Module):
    """As much of one as an optimizer sees."""

    def __init__(self, stated=None) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.blocks = nn.ModuleList(nn.ModuleDict() for _ in range(2))
        for block in self.blocks:
            block["qkv"] = nn.Linear(HIDDEN, 3 * HIDDEN, bias=False)
            block["wo"] = nn.Linear(HIDDEN, HIDDEN, bias=False)
            block["w12"] = nn.Linear(HIDDEN, 2 * WIDTH, bias=False)
        self.double()
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        if stated is not None:
            self.fused_matrices = stated


STATED = {
    f"blocks.{block}.{name}.weight": fused
    for block in range(2)
    for name, fused in {
        "qkv": FusedMatrix(("query", "key", "value"), groups=HEADS),
        "w12": FusedMatrix(("gate", "up")),
    }.items()
}


def build(options: Muon, encoder: nn.Module) -> torch.optim.Optimizer:
    context = BuildContext(
        seed=0,
        device=torch.device("cpu"),
        run_directory=Path("unused"),
        max_seq_length=8,
        max_steps=10,
        encoder=encoder,
        parameter_groups=group_parameters(encoder, nn.Identity()),
    )
    return options.build(context)


def set_gradients(encoder: nn.Module, step: int) -> dict[str, torch.Tensor]:
    for index, parameter in enumerate(encoder.parameters()):
        generator = torch.Generator().manual_seed(100 * step + index)
        parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(parameter.dtype)
    return {name: parameter.grad.clone() for name, parameter in encoder.named_parameters()}


def train(options: Muon, encoder: nn.Module, steps: int = 3) -> dict[str, torch.Tensor]:
    optimizer = build(options, encoder)
    for step in range(steps):
        set_gradients(encoder, step)
        optimizer.step()
        optimizer.zero_grad()
    return {name: parameter.detach().clone() for name, parameter in encoder.named_parameters()}


def orthogonal(matrix: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Newton-Schulz on singular values, which is what it is."""
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    s = s / matrix.norm()
    for _ in range(steps):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return u @ s.diag() @ v


def rows_of(name: str) -> list[list[int]]:
    """The rows of each matrix in a weight, counted by hand."""
    head = HIDDEN // HEADS
    if "qkv" in name:
        return [[h * 3 * head + part * head + i for h in range(HEADS) for i in range(head)] for part in range(3)]
    if "w12" in name:
        return [list(range(WIDTH)), list(range(WIDTH, 2 * WIDTH))]
    return [list(range(HIDDEN))]


@pytest.mark.parametrize("adjust", ["original", "match_rms_adamw"])
@pytest.mark.parametrize("nesterov", [True, False])
def test_each_matrix_is_updated_as_if_it_stood_alone(adjust, nesterov):
    options = Muon(lr=0.1, weight_decay=0.3, momentum=0.9, adjust_lr_fn=adjust, nesterov=nesterov)
    encoder = Encoder(STATED)
    expected = {name: p.detach().clone() for name, p in encoder.named_parameters()}
    momenta = {name: torch.zeros_like(weight) for name, weight in expected.items()}
    for step in range(3):
        for name, gradient in set_gradients(encoder, step).items():
            momenta[name] = 0.9 * momenta[name] + 0.1 * gradient
            direction = 0.1 * gradient + 0.9 * momenta[name] if nesterov else momenta[name]
            for rows in rows_of(name):
                shape = (len(rows), HIDDEN)
                scale = math.sqrt(max(1, shape[0] / shape[1]))
                if adjust == "match_rms_adamw":
                    scale = 0.2 * math.sqrt(max(shape))
                update = 0.1 * scale * orthogonal(direction[rows])
                expected[name][rows] = expected[name][rows] * (1 - 0.1 * 0.3) - update
    for name, weight in train(options, Encoder(STATED)).items():
        torch.testing.assert_close(weight, expected[name], atol=1e-9, rtol=0, msg=name)


@pytest.mark.parametrize("ns_dtype", ["float32", "bfloat16"])
def test_switched_off_or_not_stated_a_weight_is_one_matrix_with_the_same_bits(ns_dtype):
    options = Muon(ns_dtype=ns_dtype)
    plain = train(options, Encoder())
    off = train(evolve(options, split_fused=False), Encoder(STATED))
    apart = train(options, Encoder(STATED))
    for name, weight in plain.items():
        assert torch.equal(off[name], weight), name
        assert torch.equal(apart[name], weight) == ("wo" in name), name


def test_equal_shapes_go_through_together(monkeypatch):
    batches = []

    def counted(matrices, steps):
        batches.append([tuple(matrix.shape) for matrix in matrices])
        return plain(matrices, steps)

    plain = newton_schulz._iterate_plain
    monkeypatch.setattr(newton_schulz, "_iterate_plain", counted)
    train(Muon(ns_dtype="bfloat16"), Encoder(STATED), steps=1)
    # Query, key, value and wo of two blocks; gate and up of two blocks.
    assert sorted(batches) == sorted([[(HIDDEN, HIDDEN)] * 8, [(WIDTH, HIDDEN)] * 4])


def test_state_stays_one_momentum_a_weight():
    encoder = Encoder(STATED)
    optimizer = build(Muon(), encoder)
    set_gradients(encoder, 0)
    optimizer.step()
    for parameter in encoder.parameters():
        assert {key: value.shape for key, value in optimizer.state[parameter].items()} == {
            "momentum_buffer": parameter.shape
        }


@settings(deadline=None)
@given(groups=st.integers(1, 4), parts=st.integers(1, 4), rows=st.integers(1, 4), columns=st.integers(1, 3))
def test_taken_apart_and_put_together_is_what_it_was(groups, parts, rows, columns):
    fused = FusedMatrix(tuple("abcd"[:parts]), groups=groups)
    matrix = torch.arange(groups * parts * rows * columns).view(-1, columns)
    pieces = split(matrix, fused)
    assert [tuple(piece.shape) for piece in pieces] == [(groups * rows, columns)] * parts
    for number, piece in enumerate(pieces):
        chunks = matrix.split(rows)[number::parts]
        assert torch.equal(piece, torch.cat(chunks))
    assert torch.equal(join(pieces, fused), matrix)


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"blocks.0.nothing.weight": FusedMatrix(("a", "b"))}, r"'blocks.0.nothing.weight', which is no parameter"),
        ({"blocks.0.wo.weight": FusedMatrix(("a", "b"), groups=5)}, r"shape \(12, 12\): .* 10 equal pieces"),
    ],
)
def test_what_cannot_be_is_refused_as_the_models_fault(stated, said):
    with pytest.raises(UserError, match=said):
        build(Muon(), Encoder(stated))
    build(Muon(split_fused=False), Encoder(stated))


@pytest.mark.parametrize("wrong", [{"parts": ()}, {"parts": ("a",), "groups": 0}, {"parts": (1,)}])
def test_a_fused_matrix_has_named_parts(wrong):
    with pytest.raises((ValueError, TypeError), match=r"parts|groups"):
        FusedMatrix(**wrong)


@pytest.mark.parametrize("ngpt", [False, True])
def test_the_rows_that_neobert_names_are_those_that_it_computes_with(ngpt):
    from neobert.parts import Part
    from neobert_plugins.attention import EagerAttention
    from neobert_plugins.models import NeoBERT

    options = NeoBERT(
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        feed_forward_size=WIDTH,
        ngpt=ngpt,
        attn_backend=Part(kind="attn_backend", name="eager", options=EagerAttention()),
    )
    encoder = options.build(
        BuildContext(
            seed=0,
            device=torch.device("cpu"),
            run_directory=Path("unused"),
            max_seq_length=8,
            max_steps=1,
            vocab_size=20,
        )
    )
    gated = "c_fc" if ngpt else "ffn.w12"
    parameters, stated = dict(encoder.named_parameters()), encoder.fused_matrices
    expected = {f"transformer_encoder.{index}.{name}.weight" for index in range(2) for name in ("qkv", gated)}
    assert set(stated) == expected
    hidden = torch.randn(7, HIDDEN)
    for index, block in enumerate(encoder.blocks):
        name = f"transformer_encoder.{index}.qkv.weight"
        assert stated[name].parts == ("query", "key", "value")
        heads = split_heads(block.qkv(hidden), HEADS, None)
        for part, used in zip(split(parameters[name], stated[name]), heads, strict=True):
            torch.testing.assert_close((hidden @ part.T).view(7, HEADS, -1), used)
        name = f"transformer_encoder.{index}.{gated}.weight"
        matrices = dict(zip(stated[name].parts, split(parameters[name], stated[name]), strict=True))
        gate, up = (hidden @ matrices[part].T for part in ("gate", "up"))
        if ngpt:
            grown = (block.suv * HIDDEN**0.5).chunk(2)
            expected_TC = block.mlp_c_proj(nn.functional.silu(grown[1] * gate) * grown[0] * up)
            torch.testing.assert_close(block._feed_forward(hidden), expected_TC)
        else:
            torch.testing.assert_close(block.ffn(hidden, nn.Identity()), block.ffn.w3(nn.functional.silu(gate) * up))


def test_a_gelu_feed_forward_is_not_fused():
    from neobert_plugins.models import NeoBERT

    options = NeoBERT(hidden_size=HIDDEN, num_hidden_layers=1, num_attention_heads=HEADS, hidden_act="gelu")
    encoder = options.build(
        BuildContext(
            seed=0,
            device=torch.device("cpu"),
            run_directory=Path("unused"),
            max_seq_length=8,
            max_steps=1,
            vocab_size=20,
        )
    )
    assert set(encoder.fused_matrices) == {"transformer_encoder.0.qkv.weight"}


def test_orthogonalize_is_called_once_for_all(monkeypatch):
    calls = []

    def counted(matrices, *rest):
        calls.append(len(matrices))
        return newton_schulz.orthogonalize(matrices, *rest)

    monkeypatch.setattr(muon_module, "orthogonalize", counted)
    train(Muon(), Encoder(STATED), steps=2)
    assert calls == [12, 12]
