"""Attention logits: what is measured against plain loops, and what is scaled against the formula."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from neobert import BuildContext, FusedMatrix, SequenceLayout, UserError
from neobert.parts import Part
from neobert.testing import TinyEncoder
from neobert.training.groups import group_parameters
from neobert_plugins.attention import EagerAttention
from neobert_plugins.models import NeoBERT
from neobert_plugins.optimizers import Muon, attention_logits
from neobert_plugins.optimizers.attention_logits import largest_logits

HIDDEN, HEADS, VOCABULARY = 12, 3, 20
HEAD = HIDDEN // HEADS
LENGTHS = (5, 1, 4, 4, 2)


def plain_largest(q, k, lengths, scale, window=None):
    """(H,) by loops over sequences, heads and pairs."""
    found, start = [0.0] * q.shape[1], 0
    for length in lengths:
        for h in range(q.shape[1]):
            for i in range(length):
                for j in range(length):
                    if window is None or abs(i - j) <= window:
                        logit = float(scale * (q[start + i, h] @ k[start + j, h]))
                        found[h] = max(found[h], abs(logit))
        start += length
    return torch.tensor(found)


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    heads=st.integers(1, 3),
    window=st.none() | st.integers(0, 10),
    limit=st.integers(1, 200),
    rows=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_the_largest_logit_is_that_of_a_plain_loop(lengths, heads, window, limit, rows, seed):
    generator = torch.Generator().manual_seed(seed)
    q, k = (torch.randn(sum(lengths), heads, 2, generator=generator) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention_logits, "SCORES_ON_CPU", limit)
        patch.setattr(attention_logits, "FEWEST_ROWS", rows)
        found = largest_logits(q, k, SequenceLayout.from_lengths(lengths), scale=-0.7, window=window)
    torch.testing.assert_close(found, plain_largest(q, k, lengths, -0.7, window))
    assert found.dtype == torch.float32


class Largest(TorchDispatchMode):
    """The most elements that any tensor has that is made inside."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.elements = max(self.elements, result.numel())
        return result


@pytest.mark.parametrize("lengths", [(300,), (20,) * 15, (1, 250, 49)])
@pytest.mark.parametrize("window", [None, 10])
def test_no_more_than_a_chunk_of_scores_is_held(lengths, window, monkeypatch):
    monkeypatch.setattr(attention_logits, "SCORES_ON_CPU", 5000)
    q, k = torch.randn(2, 300, 4, 2)
    with Largest() as largest:
        largest_logits(q, k, SequenceLayout.from_lengths(lengths), scale=1.0, window=window)
    assert largest.elements <= 5000


def make_encoder(**changes):
    options = NeoBERT(
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        feed_forward_size=10,
        max_position_embeddings=64,
        attn_backend=Part(kind="attn_backend", name="eager", options=EagerAttention()),
        **changes,
    )
    torch.manual_seed(0)
    encoder = options.build(
        BuildContext(
            seed=0,
            device=torch.device("cpu"),
            run_directory=Path("unused"),
            max_seq_length=8,
            max_steps=1,
            vocab_size=VOCABULARY,
        )
    )
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return encoder


def build(options: Muon, encoder: nn.Module, **changes) -> torch.optim.Optimizer:
    context = BuildContext(
        seed=0,
        device=torch.device("cpu"),
        run_directory=Path("unused"),
        max_seq_length=8,
        max_steps=10,
        encoder=encoder,
        parameter_groups=group_parameters(encoder, nn.Identity()),
        **changes,
    )
    return options.build(context)


def forward(encoder, lengths=LENGTHS, seed=1):
    ids = torch.randint(0, VOCABULARY, (sum(lengths),), generator=torch.Generator().manual_seed(seed))
    return encoder(ids, SequenceLayout.from_lengths(lengths))


def update(encoder, optimizer, batches=((LENGTHS, 1),)) -> None:
    for lengths, seed in batches:
        forward(encoder, lengths, seed).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def seen_logits(encoder, batches=((LENGTHS, 1),)) -> list[torch.Tensor]:
    """(H,) of each block: the largest over the batches, by plain loops over what its backend is given."""
    found = [torch.zeros(HEADS) for _ in encoder.blocks]
    kept = [block.attend for block in encoder.blocks]

    def watching(index):
        def attend(q, k, v, layout, **options):
            largest = plain_largest(q.detach(), k.detach(), layout.lengths, options["scale"])
            found[index] = torch.maximum(found[index], largest)
            return kept[index](q, k, v, layout, **options)

        return attend

    for index, block in enumerate(encoder.blocks):
        block.attend = watching(index)
    with torch.no_grad():
        for lengths, seed in batches:
            forward(encoder, lengths, seed)
    for block, attend in zip(encoder.blocks, kept, strict=True):
        block.attend = attend
    return found


def weights(encoder) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in encoder.named_parameters()}


BATCHES = ((LENGTHS, 1), ((7, 3), 2))


def test_heads_over_the_threshold_are_scaled_by_the_formula_and_nothing_else_is():
    plain, clipped = make_encoder(), make_encoder()
    largest = seen_logits(plain, BATCHES)
    threshold = float(torch.cat(largest).median())
    update(plain, build(Muon(), plain), BATCHES)
    update(clipped, build(Muon(clip_attention_logits=threshold), clipped), BATCHES)
    expected, scaled = weights(plain), 0
    for index, peaks in enumerate(largest):
        qkv = expected[f"transformer_encoder.{index}.qkv.weight"]
        for head, peak in enumerate(peaks.tolist()):
            if peak > threshold:
                scaled += 1
                start = head * 3 * HEAD
                qkv[start : start + 2 * HEAD] *= (threshold / peak) ** 0.5
    assert scaled == 3
    for name, weight in weights(clipped).items():
        if "qkv" in name:
            torch.testing.assert_close(weight, expected[name], rtol=1e-6, atol=0)
        else:
            assert torch.equal(weight, expected[name]), name


def test_the_same_tokens_then_give_the_threshold():
    encoder = make_encoder()
    optimizer = build(Muon(lr=1e-30, adamw_lr=1e-30, clip_attention_logits=0.5), encoder)
    before = seen_logits(encoder)[0]
    assert (before > 0.5).all()
    update(encoder, optimizer)
    # Of the first block: what the second sees is another by now.
    torch.testing.assert_close(seen_logits(encoder)[0], torch.full((HEADS,), 0.5))


def test_below_the_threshold_no_bit_changes():
    plain, clipped = make_encoder(), make_encoder()
    update(plain, build(Muon(), plain))
    update(clipped, build(Muon(clip_attention_logits=1e6), clipped))
    for name, weight in weights(clipped).items():
        assert torch.equal(weight, weights(plain)[name]), name


def test_only_training_is_measured_and_a_step_leaves_nothing_behind():
    encoder = make_encoder()
    optimizer = build(Muon(clip_attention_logits=1.0), encoder)
    blocks = optimizer._clipping.blocks

    def measured() -> bool:
        return any(block.peaks is not None for block in blocks)

    with torch.no_grad():
        forward(encoder)
    encoder.eval()
    forward(encoder)
    assert not measured()
    encoder.train()
    forward(encoder)
    assert measured()
    optimizer.zero_grad()  # a step whose gradient was not finite is skipped so
    assert not measured()
    update(encoder, optimizer)
    assert not measured()


def test_off_costs_nothing():
    encoder = make_encoder()
    before = [block.attend for block in encoder.blocks]
    optimizer = build(Muon(), encoder)
    assert [block.attend for block in encoder.blocks] == before
    assert optimizer._clipping is None


def test_measuring_changes_no_gradient():
    plain, watched = make_encoder(), make_encoder()
    build(Muon(clip_attention_logits=1.0), watched)
    for encoder in (plain, watched):
        forward(encoder).square().sum().backward()
    for (name, parameter), other in zip(plain.named_parameters(), watched.parameters(), strict=True):
        assert torch.equal(parameter.grad, other.grad), name


class WithModule(nn.Module):
    """One block whose backend is a module with a weight, and whose rows are [all queries, all keys, all values]."""

    fused_matrices = {
        "blocks.0.qkv.weight": FusedMatrix(("query", "key", "value")),
        "blocks.0.qkv.bias": FusedMatrix(("query", "key", "value")),
    }

    class Block(nn.Module):
        class Attend(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.gain = nn.Parameter(torch.ones(1))

            def forward(self, q, k, v, layout, *, scale):
                shares = torch.einsum("ihd,jhd->hij", q, k).mul(scale).softmax(-1)
                return torch.einsum("hij,jhd->ihd", shares, v) * self.gain

        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(HIDDEN, 3 * HIDDEN)
            self.attend = self.Attend()

        def forward(self, hidden, layout):
            q, k, v = self.qkv(hidden).view(len(hidden), 3, HEADS, HEAD).unbind(1)
            return self.attend(q, k, v, layout, scale=0.5).flatten(1)

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([self.Block()])


def test_rows_in_one_group_biases_and_a_backend_that_is_a_module():
    torch.manual_seed(0)
    encoder = WithModule()
    names = set(encoder.state_dict())
    optimizer = build(Muon(lr=1e-30, adamw_lr=1e-30, clip_attention_logits=0.01), encoder)
    assert set(encoder.state_dict()) == names
    hidden, layout = torch.randn(6, HIDDEN), SequenceLayout.from_lengths([6])

    def logits():
        q, k, _ = encoder.blocks[0].qkv(hidden).detach().view(6, 3, HEADS, HEAD).unbind(1)
        return plain_largest(q, k, [6], 0.5)

    assert (logits() > 0.01).all()
    encoder.blocks[0](hidden, layout).sum().backward()
    optimizer.step()
    torch.testing.assert_close(logits(), torch.full((HEADS,), 0.01))


def test_where_the_rate_is_0_nothing_moves():
    encoder = make_encoder()
    before = weights(encoder)
    update(encoder, build(Muon(lr=0.0, adamw_lr=1e-3, clip_attention_logits=0.01), encoder))
    for name, weight in weights(encoder).items():
        assert torch.equal(weight, before[name]) == (weight.ndim == 2 and "transformer" in name), name


def test_a_frozen_block_stays_as_it_is():
    encoder = make_encoder()
    encoder.blocks[0].qkv.weight.requires_grad_(False)
    before = encoder.blocks[0].qkv.weight.clone()
    update(encoder, build(Muon(clip_attention_logits=0.01), encoder))
    assert torch.equal(encoder.blocks[0].qkv.weight, before)


def test_a_model_that_cannot_be_clipped_is_refused():
    encoder = TinyEncoder(VOCABULARY)
    with pytest.raises(UserError, match=r"clip_attention_logits cannot.*encoder.blocks.0 holds no attention backend"):
        build(Muon(clip_attention_logits=1.0), encoder)
    encoder = make_encoder()
    type(encoder).fused_matrices, kept = {}, type(encoder).fused_matrices
    try:
        with pytest.raises(UserError, match=r"transformer_encoder.0 has no rows .* `query` and `key`"):
            build(Muon(clip_attention_logits=1.0), encoder)
    finally:
        type(encoder).fused_matrices = kept
    with pytest.raises(UserError, match=r"a length of their own"):
        build(Muon(clip_attention_logits=1.0), make_encoder(ngpt=True))


def test_other_heads_than_the_model_says_are_refused():
    encoder = WithModule()
    encoder.fused_matrices = {"blocks.0.qkv.weight": FusedMatrix(("query", "key", "value"), groups=2)}
    build(Muon(clip_attention_logits=1.0), encoder)
    with pytest.raises(UserError, match=r"in 2 groups, and its attention has 3 heads"):
        encoder.blocks[0](torch.randn(6, HIDDEN), SequenceLayout.from_lengths([6]))


RANKS = """
import sys
import torch
from neobert import FusedMatrix
from neobert_plugins.optimizers.attention_logits import LogitClipping, WatchedBlock

rank = int(sys.argv[1])
torch.distributed.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=2)
blocks = []
for number in range(2):
    weight = torch.nn.Parameter(torch.ones(4, 3))
    block = WatchedBlock(f"block {number}", torch.nn.Identity(), [(weight, FusedMatrix(("query", "key"), groups=2))])
    block.peaks = torch.tensor([[4.0, 1.0], [1.0, 16.0]][(rank + number) % 2])
    blocks.append(block)
with torch.no_grad():
    LogitClipping(1.0, blocks, world_size=2).apply({block.weights[0][0] for block in blocks})
for block in blocks:
    assert torch.equal(block.weights[0][0][:, 0].detach(), torch.tensor([0.5, 0.5, 0.25, 0.25])), block.weights
    assert block.peaks is None
torch.distributed.destroy_process_group()
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without torch.distributed")
def test_every_rank_scales_by_the_largest_of_all(tmp_path):
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANKS, str(rank), str(tmp_path / "meet")],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ,
        )
        for rank in range(2)
    ]
    for rank in ranks:
        _, said = rank.communicate(timeout=120)
        assert rank.returncode == 0, said
