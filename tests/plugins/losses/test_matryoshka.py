"""A loss of several sizes is the sum of the loss of each."""

from __future__ import annotations

import pytest
import torch
from attrs import field, frozen
from torch.nn import functional as F

from neobert import Part, UserError
from neobert.testing import TinyEncoder, make_context
from neobert_plugins.losses import CoSENT, CosineMSE, Distill, InfoNCE, MaskedLM, Matryoshka, SupCon

FIELDS = {
    "query": [0, 1, 2],
    "positive": [3, 4, 5],
    "text_key": [0, 1, 2, 3, 4, 5],
    "text": [0, 1, 2, 3],
    "label": [0, 1, 0, 1],
    "first": [0, 1, 2],
    "second": [3, 4, 5],
    "score": torch.tensor([0.1, 0.5, 0.9]),
}


def wrapped(options):
    return Part(kind="loss", name=type(options).__name__, options=options)


@pytest.mark.parametrize("inner", [InfoNCE(), SupCon(), CoSENT(), CosineMSE()], ids=lambda o: type(o).__name__)
def test_it_is_the_weighted_sum_over_beginnings_of_length_one(inner, make_loss, batch_of, unit_rows, agree):
    embeddings, batch = unit_rows(6), batch_of(6, **FIELDS)
    weights = {2: 0.5, 4: 1.0, 1: 0.25}
    expected, outputs = 0.0, {}
    for size, weight in weights.items():
        cut = embeddings[:, :size]
        cut = cut if size == 4 else cut / cut.norm(dim=1, keepdim=True)
        outputs[size] = make_loss(inner).losses_from(cut, batch)
        expected = expected + weight * outputs[size].total
    options = Matryoshka(loss=wrapped(inner), dims=tuple(weights), weights=tuple(weights.values()))
    metrics = agree(make_loss(options), batch, embeddings, expected, outputs[4].count.item())
    assert {f"dim_{size}/loss" for size in (1, 2)} <= metrics.keys()
    assert metrics["dim_2/loss"] == pytest.approx(outputs[2].total.item())
    for name, value in outputs[4].metrics.items():
        assert metrics[name] == value.item()
        assert metrics[f"dim_1/{name}"] == outputs[1].metrics[name].item()


def test_embeddings_of_any_length_are_cut_and_no_more(make_loss, batch_of, unit_rows):
    embeddings, batch = 3 * unit_rows(6).detach(), batch_of(6, **FIELDS)
    inner = InfoNCE(normalize=False)
    found = make_loss(Matryoshka(loss=wrapped(inner), dims=(4, 2))).losses_from(embeddings, batch).total
    plain = [make_loss(inner).losses_from(embeddings[:, :size], batch).total for size in (4, 2)]
    torch.testing.assert_close(found, sum(plain))


def test_one_size_is_the_loss_inside():
    encoder = TinyEncoder(31)
    context = make_context(encoder=encoder)
    part = wrapped(InfoNCE(projection_size=5, pooling="max"))
    loss, inner = (options.build(context).double() for options in (Matryoshka(loss=part, dims=(5,)), part))
    assert [name for name, _ in loss.named_parameters()] == ["inner.embedder.projection.weight"]
    assert loss.sentence_head().pooling == "max"
    assert torch.equal(loss.sentence_head().projection[0], inner.sentence_head().projection[0])


def test_it_may_wrap_itself(make_loss, batch_of, unit_rows):
    batch, embeddings = batch_of(6, **FIELDS), unit_rows(6)
    twice = Matryoshka(loss=wrapped(Matryoshka(loss=wrapped(InfoNCE()), dims=(4,))), dims=(4,))
    torch.testing.assert_close(
        make_loss(twice).losses_from(embeddings, batch).total, make_loss(InfoNCE()).losses_from(embeddings, batch).total
    )


@frozen(kw_only=True)
class Unfinished:
    """Says that it can be wrapped, and cannot."""

    wrappable: bool = field(default=True)

    def build(self, context):
        return torch.nn.Identity()


REFUSED = {
    "no embeddings": (wrapped(MaskedLM()), (8,), "'MaskedLM' cannot be wrapped"),
    "vectors of one size": (wrapped(Distill(match="vector_mse", teacher_size=8)), (8,), "cannot be wrapped"),
    "no losses_from": (wrapped(Unfinished()), (8,), "'Unfinished' cannot be wrapped"),
    "larger": (wrapped(InfoNCE()), (8, 16, 32), "embeddings have 8 values, fewer than 16, 32"),
    "not the whole": (wrapped(InfoNCE()), (4, 2), "nothing would train those after the first 4: name 8 too"),
    "projected": (wrapped(InfoNCE(projection_size=6)), (8,), "embeddings have 6 values, fewer than 8"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_it_cannot_wrap_is_refused_when_it_is_built(case):
    part, dims, words = REFUSED[case]
    with pytest.raises(UserError, match=words):
        Matryoshka(loss=part, dims=dims).build(make_context(encoder=TinyEncoder(31), vocab_size=31))


def test_beginnings_are_trained():
    """Each value has a gradient of its own from each size that it is part of."""
    inner = make_context(encoder=TinyEncoder(31))
    loss = Matryoshka(loss=wrapped(CosineMSE()), dims=(8, 2)).build(inner)
    rows = F.normalize(torch.randn(2, 8, dtype=torch.float64), dim=-1).requires_grad_()
    from neobert import Batch, SequenceLayout

    fields = {"first": torch.tensor([0]), "second": torch.tensor([1]), "score": torch.tensor([0.3])}
    batch = Batch(torch.arange(4), SequenceLayout.from_lengths((2, 2)), fields)
    loss.losses_from(rows, batch).total.backward()
    assert rows.grad.ne(0).all()
