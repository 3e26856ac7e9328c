"""The held-out loss by position: plain sums of the same pass, compared document by document."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from neobert import Batch, SequenceLayout
from neobert.errors import RecipeError
from neobert.training import positions
from neobert.training.positions import PositionLosses, PositionMeter, mean_and_noise, token_losses

Run = Callable[..., tuple[int, str]]
CPU = torch.device("cpu")
STATE = "checkpoints/6/state.safetensors"
BUCKETS = "--trainer.eval_position_buckets=[8, 16]"


def batch_of(lengths: list[int], masked: list[int]) -> Batch:
    fields = {"masked_positions": torch.tensor(masked, dtype=torch.int64)}
    fields["labels"] = torch.zeros(len(masked), dtype=torch.int64)
    return Batch(torch.zeros(sum(lengths), dtype=torch.int64), SequenceLayout.from_lengths(lengths), fields)


@settings(max_examples=50, deadline=None)
@given(data=st.data(), edges=st.lists(st.integers(1, 12), unique=True).map(sorted))
def test_sums_are_those_of_a_plain_loop(data: st.DataObject, edges: list[int]) -> None:
    meter, longest = PositionMeter(edges, 12, CPU), 12
    bounds = [0, *(edge for edge in edges if edge < longest), longest]
    expected: dict[tuple[int, int], list[float]] = {}
    for _ in range(data.draw(st.integers(1, 3))):
        lengths = data.draw(st.lists(st.integers(1, longest), min_size=1, max_size=5))
        documents = data.draw(st.lists(st.integers(0, 600), min_size=len(lengths), max_size=len(lengths)))
        masked = data.draw(st.lists(st.integers(0, sum(lengths) - 1), unique=True).map(sorted))
        losses = torch.rand(len(masked), generator=torch.Generator().manual_seed(len(masked)))
        places = [(n, p) for n, length in enumerate(lengths) for p in range(length)]
        for token, loss in zip(masked, losses.tolist(), strict=True):
            sequence, position = places[token]
            bucket = next(b for b, (start, stop) in enumerate(pairwise(bounds)) if start <= position < stop)
            expected.setdefault((bucket, documents[sequence] % positions.GROUPS), []).append(loss)
        meter.add(batch_of(lengths, masked), np.array(documents), losses)
    found = meter.read()
    assert found is not None
    assert found.edges == tuple(bounds)
    groups = sorted({group for _, group in expected})
    assert found.totals.shape == found.counts.shape == (len(bounds) - 1, len(groups))
    for bucket in range(len(bounds) - 1):
        for column, group in enumerate(groups):
            cell = expected.get((bucket, group), [])
            assert found.counts[bucket, column] == len(cell)
            assert found.totals[bucket, column] == pytest.approx(sum(cell))


def test_nothing_is_read_back_from_the_device() -> None:
    """The meta device has no values: whatever asked for one would fail."""
    meta = torch.device("meta")
    batch = batch_of([5, 3], [1, 4, 6])
    losses = token_losses(_Head(), _Encoder(), torch.zeros(3, 4, device=meta), batch.to(meta).fields["labels"])
    PositionMeter([2], 8, meta).add(batch.to(meta), np.array([0, 1]), losses)


class _Encoder:
    vocab_size = 11


class _Head(nn.Module):
    """Remembers how many rows it was asked for at once."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[int] = []

    def logits(self, encoder: _Encoder, hidden: Tensor) -> Tensor:
        self.rows.append(len(hidden))
        weight = torch.linspace(-1, 1, encoder.vocab_size * 4, device=hidden.device).view(-1, 4)
        return F.linear(hidden, weight.to(hidden.dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logits_come_in_chunks(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    monkeypatch.setattr(positions, "CHUNK_LOGITS", 3 * _Encoder.vocab_size + 2)
    head, labels = _Head(), torch.tensor([0, 10, 3, 3, 5, 1, 2, 9])
    hidden = torch.randn(8, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    losses = token_losses(head, _Encoder(), hidden, labels)
    assert head.rows == [3, 3, 2]
    expected = F.cross_entropy(_Head().logits(_Encoder(), hidden).float(), labels, reduction="none")
    torch.testing.assert_close(losses, expected)


def test_noise_of_documents_of_one_size_is_that_of_their_mean() -> None:
    means = np.array([0.3, -0.1, 0.5, 0.2])
    mean, noise = mean_and_noise(means * 10, np.full(4, 10))
    assert mean == pytest.approx(means.mean())
    assert noise == pytest.approx(means.std(ddof=1) / 2)


def test_noise_is_what_drawing_documents_again_gives() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 60, 80)
    differences = counts * (-0.2 + 0.3 * rng.standard_normal(80)) + 1.5 * np.sqrt(counts) * rng.standard_normal(80)
    _, noise = mean_and_noise(differences, counts)
    drawn = rng.integers(0, 80, (4000, 80))
    again = differences[drawn].sum(1) / counts[drawn].sum(1)
    assert noise == pytest.approx(again.std(), rel=0.1)


def test_noise_counts_documents_not_tokens() -> None:
    """Ten times the tokens of the same documents, all of one mind, say no more."""
    once = mean_and_noise(np.array([2.0, -1.0, 3.0]), np.array([5, 5, 5]))
    assert mean_and_noise(np.array([20.0, -10.0, 30.0]), np.array([50, 50, 50])) == pytest.approx(once)


def test_too_few_documents_have_no_noise() -> None:
    assert mean_and_noise(np.array([2.0, 0.0]), np.array([4, 0])) == (0.5, None)
    assert mean_and_noise(np.zeros(2), np.zeros(2, dtype=np.int64)) == (None, None)


def test_only_the_same_tokens_are_compared() -> None:
    counts = np.array([[3, 2], [0, 0]])
    after = PositionLosses((0, 4, 8), np.array([[3.0, 4.0], [0.0, 0.0]]), counts)
    before = PositionLosses((0, 4, 8), np.array([[6.0, 4.0], [0.0, 0.0]]), counts)
    first, second = after.compared_with(PositionLosses.from_json(json.loads(json.dumps(before.to_json()))))
    assert (first.name, first.tokens, first.before, first.after) == ("0-4", 5, 2.0, 1.4)
    assert first.difference == pytest.approx(-0.6)
    assert (second.tokens, second.before, second.after, second.difference, second.noise) == (0, *[None] * 4)
    others = (
        None,
        PositionLosses((0, 4, 9), before.totals, counts),
        PositionLosses((0, 4, 8), before.totals, np.array([[2, 3], [0, 0]])),
        PositionLosses((0, 4, 8), before.totals[:, :1], counts[:, :1]),
    )
    for other in others:
        assert [row.before for row in after.compared_with(other)] == [None, None]
        assert [row.after for row in after.compared_with(other)] == [1.4, None]


def evaluated(run: str) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "eval/loss" in line]


@pytest.mark.parametrize("loss", ["masked_lm", "full_logits_lm"])
def test_a_run_measures_prints_and_keeps_them(go: Run, loss: str) -> None:
    status, said = go(BUCKETS, f"--loss={loss}", "--trainer.max_steps=2")
    assert status == 0
    rows = json.loads(Path("run/summary.json").read_text())["positions"]
    assert [row["name"] for row in rows] == ["0-8", "8-16", "16-32"]
    tokens = sum(row["tokens"] for row in rows)
    for when, line in zip(("before", "after"), evaluated("run"), strict=True):
        assert [line[f"eval/loss_at/{row['name']}"] for row in rows] == [row[when] for row in rows]
        mean = sum(row["tokens"] * row[when] for row in rows) / tokens
        assert mean == pytest.approx(line["eval/loss"], abs=1e-5)
    for row in rows:
        assert row["difference"] == pytest.approx(row["after"] - row["before"], abs=1e-9)
        assert 0 < row["noise"] < 1
        assert f"{row['before']:.4f} │ {row['after']:.4f} │    {row['difference']:+.4f} │ {row['noise']:.4f}" in said
    assert "noise: standard error of the difference, over documents" in said


def test_off_is_off_and_the_encoder_is_run_once(go: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from neobert_plugins.models.encoder import NeoBERTEncoder

    calls, forward = [0], NeoBERTEncoder.forward

    def counted(self: NeoBERTEncoder, *args: object, **kwargs: object) -> Tensor:
        calls[-1] += 1
        return forward(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(NeoBERTEncoder, "forward", counted)
    go("--trainer.output_dir=without")
    calls.append(0)
    go("--trainer.output_dir=with", BUCKETS)
    assert calls[0] == calls[1] > 0
    assert Path("without", STATE).read_bytes() == Path("with", STATE).read_bytes()
    assert not any("loss_at" in key for line in evaluated("without") for key in line)
    assert "positions" not in json.loads(Path("without/summary.json").read_text())
    plain = [{key: value for key, value in line.items() if "loss_at" not in key} for line in evaluated("with")]
    assert plain == evaluated("without")


def test_a_resumed_run_compares_with_what_was_before_its_first_step(go: Run) -> None:
    go(BUCKETS, "--trainer.output_dir=whole", "--trainer.save_steps=3")
    go(BUCKETS, "--trainer.output_dir=resumed", "--trainer.resume_from_checkpoint=whole/checkpoints/3")
    whole, resumed = (json.loads(Path(run, "summary.json").read_text()) for run in ("whole", "resumed"))
    assert whole["positions"] == resumed["positions"]
    others = "--trainer.eval_position_buckets=[4]"
    _, said = go(others, "--trainer.output_dir=other", "--trainer.resume_from_checkpoint=whole/checkpoints/3")
    rows = json.loads(Path("other/summary.json").read_text())["positions"]
    assert [(row["name"], row["before"], row["noise"]) for row in rows] == [("0-4", None, None), ("4-32", None, None)]
    assert "│      - │" in said


def test_a_loss_without_logits_leaves_them_out_in_one_line(go: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("neobert_plugins.losses.head.WithHead.logits")
    status, said = go(BUCKETS, "--trainer.max_steps=2")
    assert status == 0
    line = "trainer.eval_position_buckets: no loss by position: this loss has no vocabulary head"
    assert said.count(line) == 1
    assert "positions" not in json.loads(Path("run/summary.json").read_text())


def test_a_loss_that_asks_for_other_positions_leaves_them_out(go: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from neobert_plugins.losses.masked_lm import MaskedLMLoss

    plain = MaskedLMLoss.forward

    def twice(self: MaskedLMLoss, encoder: nn.Module, batch: Batch) -> object:
        encoder(batch.input_ids, batch.layout)
        return plain(self, encoder, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(MaskedLMLoss, "forward", twice)
    _, said = go(BUCKETS, "--trainer.max_steps=2")
    assert "no loss by position: the loss does not ask the encoder once for the masked positions" in said


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ("[16, 8]", "ascending"),
        ("[8, 8]", "ascending"),
        ("[0, 8]", "each >= 1"),
        ("[8, 33]", r"33 is over dataset\.max_seq_length = 32: no token stands there"),
        ("[8.5]", "expected a list of ints"),
    ],
)
def test_edges_that_cannot_be(go: Run, edges: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        go(f"--trainer.eval_position_buckets={edges}")
