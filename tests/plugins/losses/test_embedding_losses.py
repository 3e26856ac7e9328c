"""What all losses that make embeddings have in common."""

from __future__ import annotations

import pytest
import torch
from attrs import evolve
from torch._subclasses.fake_tensor import FakeTensorMode

from neobert import Batch, Part, SequenceLayout, UserError
from neobert.testing import make_context
from neobert.testing.embedding import embedding_batch, make_examples
from neobert_plugins.losses import CoSENT, CosineMSE, Distill, InfoNCE, Matryoshka, SimCSE, SupCon
from neobert_plugins.models import NeoBERT

LOSSES = {
    "info_nce": InfoNCE(symmetric=True, learn_temperature=True, hard_negative_weight=2.0),
    "simcse": SimCSE(pooling="cls"),
    "supcon": SupCon(pooling="last", projection_size=5, projection_bias=True),
    "cosent": CoSENT(pooling="max"),
    "cosine_mse": CosineMSE(pooling="weighted_mean", chunk_tokens=12),
    "matryoshka": Matryoshka(dims=(8, 4)),
    "kl": Distill(),
    "margin_mse": Distill(match="margin_mse"),
    "vector_cosine": Distill(match="vector_cosine", teacher_size=8, projection_size=3),
    "vector_mse": Distill(match="vector_mse", teacher_size=8),
}
losses = pytest.mark.parametrize("options", LOSSES.values(), ids=LOSSES.keys())


def built(options, dtype=torch.float64, dropout=0.0):
    torch.manual_seed(0)
    backend = Part(kind="attn_backend", name="sdpa", options=_sdpa())
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    model = NeoBERT(**sizes, dropout_prob=dropout, attn_backend=backend, embedding_init_range=0.5)
    context = make_context(vocab_size=120)
    encoder = model.build(context)
    loss = options.build(evolve(context, encoder=encoder))
    return (encoder, loss) if dtype == torch.float32 else (encoder.to(dtype), loss.to(dtype))


def _sdpa():
    from neobert_plugins.attention import SdpaAttention

    return SdpaAttention()


@losses
def test_no_value_is_asked_of_the_device(options):
    """Tensors without values: whatever waits for one raises. Forward and backward, in training."""
    batch = embedding_batch(make_examples())
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        encoder, loss = built(options, torch.float32)
        fields = {name: mode.from_tensor(value) for name, value in batch.fields.items()}
        layout = evolve(
            batch.layout,
            cu_seqlens=mode.from_tensor(batch.layout.cu_seqlens),
            position_ids=mode.from_tensor(batch.layout.position_ids),
        )
        output = loss(encoder, Batch(mode.from_tensor(batch.input_ids), layout, fields))
        output.total.backward()
        assert encoder.input_embedding.weight.grad is not None


@losses
def test_a_field_that_is_missing_is_named_with_those_that_are_there(options):
    encoder, loss = built(options)
    batch = embedding_batch(make_examples())
    bare = evolve(batch, fields={"labels": batch.fields["label"]})
    for call in (lambda: loss(encoder, bare), lambda: loss.losses_from(torch.ones(18, 8), bare)):
        with pytest.raises(UserError, match="it has labels\nthey come from \\[datacollator\\]") as caught:
            call()
        assert options.needs_fields[0] in str(caught.value)
    for name in options.needs_fields:
        fields = {other: value for other, value in batch.fields.items() if other != name}
        with pytest.raises(UserError, match=f"this one has no {name}; it has "):
            loss(encoder, evolve(batch, fields=fields))


def test_hard_negatives_without_their_queries_are_refused():
    encoder, loss = built(InfoNCE())
    batch = embedding_batch(make_examples())
    fields = {name: value for name, value in batch.fields.items() if name != "negative_of"}
    with pytest.raises(UserError, match="has no negative_of"):
        loss(encoder, evolve(batch, fields=fields))


@losses
def test_autocast_compares_in_float32(options):
    batch = embedding_batch(make_examples())
    encoder, loss = built(options, torch.float32)
    exact = loss(encoder, batch).total.item()
    with torch.autocast("cpu", torch.bfloat16):
        output = loss(encoder, batch)
        assert loss.embed(encoder, batch.input_ids, batch.layout).dtype == torch.float32
    output.total.backward()
    assert output.total.dtype == torch.float32
    assert encoder.input_embedding.weight.grad.dtype == torch.float32
    assert output.total.item() == pytest.approx(exact, rel=0.1, abs=0.05)


@losses
def test_the_encoder_is_no_part_of_the_loss(options):
    encoder, loss = built(options)
    mine = {id(parameter) for parameter in encoder.parameters()}
    assert not [name for name, parameter in loss.named_parameters() if id(parameter) in mine]
    assert all(parameter.ndim >= 1 for parameter in loss.parameters()), "what is sharded has a dimension"


@losses
def test_an_evaluation_has_no_gradient(options):
    encoder, loss = built(options)
    with torch.no_grad():
        output = loss.eval()(encoder, embedding_batch(make_examples()))
    assert not output.total.requires_grad
    assert output.total.isfinite()


def test_a_projection_is_drawn_and_exported():
    encoder, loss = built(InfoNCE(projection_size=5, projection_bias=True, normalize=False))
    head = loss.sentence_head()
    weight, bias = head.projection
    assert (tuple(weight.shape), tuple(bias.shape)) == ((5, 8), (5,))
    assert weight is loss.embedder.projection.weight
    ids, layout = torch.arange(6), SequenceLayout.from_lengths((2, 4))
    pooled = torch.stack([part.mean(0) for part in encoder(ids, layout).split((2, 4))])
    torch.testing.assert_close(loss.embed(encoder, ids, layout), pooled @ weight.T + bias)
    assert (head.pooling, head.normalize) == ("mean", False)


def test_avg_is_mean():
    assert built(InfoNCE(pooling="avg"))[1].sentence_head().pooling == "mean"


def test_embeddings_are_of_length_one_and_dot_products_of_none():
    encoder, loss = built(InfoNCE())
    ids, layout = torch.arange(6), SequenceLayout.from_lengths((2, 4))
    norms = loss.embed(encoder, ids, layout).norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(2, dtype=torch.float64))
    _, free = built(InfoNCE(normalize=False))
    assert (free.embed(encoder, ids, layout).norm(dim=1) - 1).abs().min() > 1e-3


@pytest.mark.parametrize("chunk_tokens", [None, 12])
def test_simcse_lives_on_dropout_and_has_another_mask_for_each_copy(chunk_tokens):
    examples = make_examples()
    sequences = [example.query for example in examples] * 2
    fields = {"query": torch.arange(6), "positive": torch.arange(6, 12), "text_key": torch.arange(6).repeat(2)}
    batch = Batch(torch.cat(sequences), SequenceLayout.from_lengths(map(len, sequences)), fields)
    encoder, loss = built(SimCSE(chunk_tokens=chunk_tokens), dropout=0.2)
    seen = []
    loss.embedder.register_forward_hook(lambda *arguments: seen.append(arguments[-1].detach()))
    torch.manual_seed(1)
    output = loss(encoder, batch)
    first, second = seen[0].chunk(2)
    assert ((first - second).abs().amax(1) > 1e-6).all()
    assert output.metrics["negatives"] == 30
    encoder.eval()
    loss(encoder, batch)
    torch.testing.assert_close(*seen[1].chunk(2))
