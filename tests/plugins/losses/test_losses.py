from __future__ import annotations

from pathlib import Path

import pytest
import torch
from attrs import evolve
from torch import nn

from neobert import Batch, BuildContext, Part, SequenceLayout
from neobert_plugins.attention import SdpaAttention
from neobert_plugins.losses import (
    CoSENT,
    CosineMSE,
    Distill,
    FullLogitsLM,
    InfoNCE,
    MaskedLM,
    Matryoshka,
    SimCSE,
    SupCon,
    neobert_losses,
)
from neobert_plugins.losses.chunked import PLAIN, Terms, linear_cross_entropy_sum
from neobert_plugins.losses.predicting_options import Classification, Regression
from neobert_plugins.models import NeoBERT

HEADS = {
    "tied": {},
    "untied": {"tie_word_embeddings": False},
    "tied_with_bias": {"decoder_bias": True},
    "untied_with_bias": {"tie_word_embeddings": False, "decoder_bias": True},
}
heads = pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())


def built(loss_options, dtype=torch.float64, **head):
    """Encoder and loss with the same weights whatever the loss."""
    context = BuildContext(
        seed=1,
        device=torch.device("cpu"),
        run_directory=Path(),
        max_seq_length=32,
        max_steps=1,
        vocab_size=31,
    )
    backend = Part(kind="attn_backend", name="sdpa", options=SdpaAttention())
    options = NeoBERT(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        embedding_init_range=0.5,
        decoder_init_range=0.5,
        attn_backend=backend,
        **head,
    )
    torch.manual_seed(0)
    encoder = options.build(context).to(dtype)
    loss = loss_options.build(evolve(context, encoder=encoder)).to(dtype)
    if loss.decoder.bias is not None:
        nn.init.normal_(loss.decoder.bias)
    return encoder, loss


def batch(masked=(2, 0, 11, 7)):
    lengths = (5, 1, 6)
    torch.manual_seed(1)
    positions = torch.tensor(masked, dtype=torch.int64)
    labels = torch.randint(0, 31, (len(masked),))
    fields = {"masked_positions": positions, "labels": labels}
    return Batch(torch.randint(0, 31, (12,)), SequenceLayout.from_lengths(lengths), fields)


def measured(encoder, loss, given):
    output = loss(encoder, given)
    output.total.backward()
    named = [*encoder.named_parameters(prefix="encoder"), *loss.named_parameters(prefix="loss")]
    return output, {name: parameter.grad for name, parameter in named}


def plain_cross_entropy(logits, labels):
    shares = torch.exp(logits) / torch.exp(logits).sum(-1, keepdim=True)
    return -sum(shares[i, label].log() for i, label in enumerate(labels))


@heads
@pytest.mark.parametrize("options", [MaskedLM(), FullLogitsLM()], ids=["masked_lm", "full_logits_lm"])
def test_total_is_the_summed_cross_entropy_of_masked_tokens(options, head):
    encoder, loss = built(options, **head)
    given = batch()
    output = loss(encoder, given)
    hidden = encoder(given.input_ids, given.layout)[given.fields["masked_positions"]]
    state = loss.head_state()
    logits = hidden @ state["weight"].T + state.get("bias", 0.0)
    torch.testing.assert_close(output.total, plain_cross_entropy(logits, given.fields["labels"]))
    torch.testing.assert_close(loss.logits(encoder, hidden), logits)
    assert (output.count.item(), output.count.shape, dict(output.metrics)) == (4, (), {})


@heads
def test_both_losses_have_one_value_and_one_gradient(head):
    given = batch()
    one, ours = measured(*built(MaskedLM(), **head), given)
    other, theirs = measured(*built(FullLogitsLM(), **head), given)
    torch.testing.assert_close(one.total, other.total, rtol=1e-12, atol=1e-12)
    assert torch.equal(one.count, other.count)
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[name], rtol=1e-9, atol=1e-11, msg=name)


@heads
@pytest.mark.parametrize("options", [MaskedLM(), FullLogitsLM()], ids=["masked_lm", "full_logits_lm"])
def test_nothing_masked_is_a_zero_with_a_gradient(options, head):
    output, gradients = measured(*built(options, **head), batch(masked=()))
    assert output.total.item() == 0.0
    assert output.count.item() == 0
    assert all(gradient is not None and not gradient.any() for gradient in gradients.values())


@heads
def test_sums_do_not_depend_on_how_masked_tokens_are_split(head):
    whole, expected = measured(*built(MaskedLM(), **head), batch())
    encoder, loss = built(MaskedLM(), **head)
    fields = batch().fields
    total, count = 0.0, 0
    for part in (slice(0, 1), slice(1, 4)):
        output, gradients = measured(
            encoder, loss, evolve(batch(), fields={name: tensor[part] for name, tensor in fields.items()})
        )
        total, count = total + output.total.item(), count + output.count.item()
    assert (total, count) == (pytest.approx(whole.total.item()), 4)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-9, atol=1e-11, msg=name)


def test_the_encoder_is_no_part_of_the_loss():
    encoder, loss = built(MaskedLM())
    assert list(loss.parameters()) == []
    assert loss.state_dict() == {}
    assert loss.head_state()["weight"] is encoder.input_embedding.weight
    _, untied = built(MaskedLM(), tie_word_embeddings=False, decoder_bias=True)
    assert list(untied.state_dict()) == ["decoder.weight", "decoder.bias"]


def test_an_untied_head_starts_in_the_range_asked_and_its_bias_at_zero():
    encoder, loss = built(MaskedLM(), tie_word_embeddings=False)
    weight = loss.decoder.weight.detach()
    assert weight.abs().max() <= 0.5
    assert weight.std() == pytest.approx(0.5 / 3**0.5, rel=0.1)
    assert not torch.equal(weight, encoder.input_embedding.weight)
    fresh = MaskedLM().build(
        BuildContext(
            seed=1,
            device=torch.device("cpu"),
            run_directory=Path(),
            max_seq_length=8,
            max_steps=1,
            vocab_size=31,
            encoder=built(MaskedLM(), decoder_bias=True)[0],
        )
    )
    assert not fresh.decoder.bias.any()


def test_an_encoder_that_says_nothing_of_a_head_gets_a_tied_one():
    class Bare(nn.Module):
        hidden_size, vocab_size = 4, 9

        def __init__(self):
            super().__init__()
            self.input_embedding = nn.Embedding(9, 4)

    bare = Bare()
    context = BuildContext(
        seed=1, device=torch.device("cpu"), run_directory=Path(), max_seq_length=8, max_steps=1, encoder=bare
    )
    state = MaskedLM().build(context).head_state()
    assert state.keys() == {"weight"}
    assert state["weight"] is bare.input_embedding.weight


@pytest.mark.parametrize("options", [MaskedLM(), FullLogitsLM()], ids=["masked_lm", "full_logits_lm"])
def test_autocast_sums_in_float32(options):
    encoder, loss = built(options, dtype=torch.float32)
    exact = loss(encoder, batch()).total
    with torch.autocast("cpu", torch.bfloat16):
        output = loss(encoder, batch())
    output.total.backward()
    assert output.total.dtype == torch.float32
    assert encoder.input_embedding.weight.grad.dtype == torch.float32
    assert output.total.item() == pytest.approx(exact.item(), rel=0.02)


def test_no_gradient_is_made_where_none_is_wanted():
    encoder, loss = built(MaskedLM())
    with torch.no_grad():
        assert not loss(encoder, batch()).total.requires_grad
    encoder.requires_grad_(False)
    assert not loss(encoder, batch()).total.requires_grad


@pytest.mark.parametrize("terms", [PLAIN, Terms(label_smoothing=0.3), Terms(z_loss=0.2), Terms(0.1, 0.05)], ids=str)
@pytest.mark.parametrize("chunk_logits", [1, 12, 10**9])
@pytest.mark.parametrize("with_bias", [True, False])
def test_chunks_agree_with_finite_differences(chunk_logits, with_bias, terms):
    torch.manual_seed(0)
    hidden, weight, bias = (
        torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((5, 3), (6, 3), (6,))
    )
    labels = torch.tensor([0, 5, 2, 2, 1])

    def total(hidden, weight, bias):
        return 0.7 * linear_cross_entropy_sum(
            hidden, weight, bias if with_bias else None, labels, terms, chunk_logits=chunk_logits
        )

    assert torch.autograd.gradcheck(total, (hidden, weight, bias))
    logits = hidden @ weight.T + (bias if with_bias else 0.0)
    plain = nn.functional.cross_entropy(logits, labels, label_smoothing=terms.label_smoothing, reduction="sum")
    expected = 0.7 * (plain + terms.z_loss * logits.exp().sum(-1).log().square().sum())
    torch.testing.assert_close(total(hidden, weight, bias), expected)


def test_an_evaluation_is_the_cross_entropy_alone():
    given = batch()
    encoder, plain = built(MaskedLM())
    _, smoothed = built(MaskedLM(label_smoothing=0.2, z_loss=0.1))
    assert smoothed(encoder, given).total > plain(encoder, given).total
    assert torch.equal(smoothed.eval()(encoder, given).total, plain(encoder, given).total)


def test_memory_does_not_grow_with_the_vocabulary(monkeypatch):
    """Beside the weight and its gradient: what is alive at the worst moment, counted without values."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    from neobert.training.memory import MemoryCounter

    def passing(vocabulary):
        with FakeTensorMode(), MemoryCounter() as counter:
            hidden = torch.empty(2000, 64, requires_grad=True)
            weight = torch.empty(vocabulary, 64, requires_grad=True)
            labels = torch.empty(2000, dtype=torch.int64)
            linear_cross_entropy_sum(hidden, weight, None, labels).backward()
            return counter.peak - 4 * vocabulary * 64 * 4  # the weight, its gradient, made, scaled and joined

    small, large = passing(40_000), passing(400_000)
    assert large < 1.2 * small
    assert large < 2000 * 400_000 * 4 / 10


def test_chunks_leave_frozen_weights_alone():
    hidden = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, 3, dtype=torch.float64)
    linear_cross_entropy_sum(hidden, weight, None, torch.tensor([1, 2, 3, 4])).backward()
    assert hidden.grad is not None
    assert weight.grad is None


def test_the_backward_pass_can_run_twice():
    hidden = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    total = linear_cross_entropy_sum(hidden, torch.randn(6, 3, dtype=torch.float64), None, torch.tensor([1, 2, 3, 4]))
    (first,) = torch.autograd.grad(total, hidden, retain_graph=True)
    (second,) = torch.autograd.grad(total, hidden)
    assert torch.equal(first, second)


def test_the_hook_names_each():
    assert neobert_losses() == {
        "classification": Classification,
        "cosent": CoSENT,
        "cosine_mse": CosineMSE,
        "distill": Distill,
        "full_logits_lm": FullLogitsLM,
        "info_nce": InfoNCE,
        "masked_lm": MaskedLM,
        "matryoshka": Matryoshka,
        "regression": Regression,
        "simcse": SimCSE,
        "supcon": SupCon,
    }
