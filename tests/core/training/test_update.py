"""The gradient of a step is the mean over all its masked tokens, however it is split into micro-batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from neobert.batch import Batch, SequenceLayout
from neobert.data import MicroBatch, StepBatches
from neobert.recipe import load_recipe
from neobert.training.assemble import Parts, assemble
from neobert.training.devices import place
from neobert.training.loop import Position, update
from neobert.training.meter import Meter

LENGTHS = (9, 1, 30, 7, 32, 12)


@pytest.fixture
def parts(workdir: Path) -> Parts:
    recipe = load_recipe(Path("recipe.toml"), ["--model.dropout_prob=0.0"])
    made = assemble(recipe, place(recipe.trainer), workdir / "run")
    made.objective.double()
    return made


def _sequences() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Ids and a mask of masked places for each sequence; the second has no masked token at all."""
    torch.manual_seed(0)
    return [(torch.randint(5, 100, (n,)), (torch.rand(n) < 0.3) & (n > 1)) for n in LENGTHS]


def _batch(sequences: list[tuple[torch.Tensor, torch.Tensor]]) -> Batch:
    ids, masked = (torch.cat(column) for column in zip(*sequences, strict=True))
    positions = masked.nonzero().squeeze(-1)
    return Batch(
        ids.masked_fill(masked, 4),
        SequenceLayout.from_lengths(len(sequence) for sequence, _ in sequences),
        {"masked_positions": positions, "labels": ids[positions]},
    )


def _gradients(parts: Parts, split: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], float]:
    found: dict[str, torch.Tensor] = {}

    def keep() -> None:
        found.update({n: p.grad.clone() for n, p in parts.objective.named_parameters() if p.grad is not None})

    monkeypatch.setattr(parts.optimizer, "step", keep)
    sequences = iter(_sequences())
    batches = [_batch([next(sequences) for _ in range(count)]) for count in split]
    data = StepBatches(0, 0, tuple(MicroBatch(b, 0) for b in batches), parts.training_data.start())
    position = Position(step=0, cursor=data.cursor, tokens_seen=0, meter=Meter(torch.device("cpu")))
    update(parts, data, position, load_recipe(Path("recipe.toml"), ["--trainer.gradient_clipping=none"]).trainer)
    return found, position.meter.read()["loss"]


@pytest.mark.parametrize("split", [(3, 3), (1, 1, 4), (1, 1, 1, 1, 1, 1)])
def test_splits_agree(parts: Parts, split: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    whole, loss = _gradients(parts, (6,), monkeypatch)
    got, got_loss = _gradients(parts, split, monkeypatch)
    assert got_loss == pytest.approx(loss, rel=1e-12)
    assert got.keys() == whole.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(got[name], gradient, rtol=1e-6, atol=1e-12)


def test_the_mean_is_over_masked_tokens(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    got, loss = _gradients(parts, (2, 4), monkeypatch)
    batch = _batch(_sequences())
    encoder = parts.objective.encoder
    logits = parts.objective.loss.logits(encoder, encoder(batch.input_ids, batch.layout))
    plain = torch.nn.functional.cross_entropy(logits[batch.fields["masked_positions"]], batch.fields["labels"])
    plain.backward()
    assert loss == pytest.approx(float(plain), rel=1e-12)
    for name, parameter in parts.objective.named_parameters():
        torch.testing.assert_close(got[name], parameter.grad, rtol=1e-6, atol=1e-12)
