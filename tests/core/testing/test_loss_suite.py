"""check_loss passes a plain loss and notices each way of being wrong."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from neobert import Batch, LossOutput, SequenceLayout
from neobert.testing import check_loss


class Plain(nn.Module):
    """Masked language modelling with the encoder's own embedding as head."""

    def __init__(self, context):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(context.vocab_size))
        self._embedding = (context.encoder.input_embedding,)

    def hidden(self, encoder, batch):
        return encoder(batch.input_ids, batch.layout, batch.fields["masked_positions"])

    def cross_entropy(self, logits, labels):
        return F.cross_entropy(logits, labels, reduction="sum")

    def forward(self, encoder, batch):
        labels = batch.fields["labels"]
        logits = self.logits(encoder, self.hidden(encoder, batch))
        right = (logits.argmax(-1) == labels).sum().double()
        return LossOutput(self.cross_entropy(logits, labels), torch.tensor(len(labels)), {"accuracy": right})

    def logits(self, encoder, hidden):
        return F.linear(hidden, encoder.input_embedding.weight, self.bias)

    def head_state(self):
        return {"weight": self._embedding[0].weight, "bias": self.bias}


class DividesByItsCount(Plain):
    def cross_entropy(self, logits, labels):
        return F.cross_entropy(logits, labels)


class DividesByItsCountUnlessEmpty(Plain):
    def cross_entropy(self, logits, labels):
        return F.cross_entropy(logits, labels, reduction="sum") / max(1, len(labels))


class CountsTokens(Plain):
    def forward(self, encoder, batch):
        output = super().forward(encoder, batch)
        return LossOutput(output.total, torch.tensor(batch.layout.num_tokens))


class CountsSequencesWithPadding(Plain):
    def forward(self, encoder, batch):
        output = super().forward(encoder, batch)
        return LossOutput(output.total, torch.tensor(batch.layout.num_sequences))


class RegistersTheEncoder(Plain):
    def __init__(self, context):
        super().__init__(context)
        self.encoder = context.encoder


class RegistersTheEmbedding(Plain):
    def __init__(self, context):
        super().__init__(context)
        self.decoder = nn.Linear(context.encoder.hidden_size, context.vocab_size)
        self.decoder.weight = context.encoder.input_embedding.weight


class SeesPadding(Plain):
    def forward(self, encoder, batch):
        output = super().forward(encoder, batch)
        return LossOutput(output.total + encoder(batch.input_ids, batch.layout).sum() * 1e-3, output.count)


class DetachesTheEncoder(Plain):
    def hidden(self, encoder, batch):
        return super().hidden(encoder, batch).detach()

    def logits(self, encoder, hidden):
        return F.linear(hidden, encoder.input_embedding.weight.detach(), self.bias)


class GradientsInMetrics(Plain):
    def forward(self, encoder, batch):
        output = super().forward(encoder, batch)
        return LossOutput(output.total, output.count, {"total": output.total})


class MeansInMetrics(Plain):
    def forward(self, encoder, batch):
        output = super().forward(encoder, batch)
        mean = output.total.detach() / output.count.clamp(min=1)
        return LossOutput(output.total, output.count, {"mean": mean})


class TakesTheCoresName(Plain):
    def forward(self, encoder, batch):
        output = super().forward(encoder, batch)
        return LossOutput(output.total, output.count, {"loss": output.total.detach() * 2})


class VectorTotal(Plain):
    def cross_entropy(self, logits, labels):
        return F.cross_entropy(logits, labels, reduction="none")


class SmoothsAcrossTheBatch(Plain):
    """A total that sums well where all parts are alike, with a gradient that does not."""

    def cross_entropy(self, logits, labels):
        total = F.cross_entropy(logits, labels, reduction="sum")
        drift = (logits - logits.detach()).mean(0).square().sum() + (logits - logits.detach()).mean()
        return total + drift


class WrongHead(Plain):
    def head_state(self):
        return {"weight": self._embedding[0].weight}

    def __init__(self, context):
        super().__init__(context)
        nn.init.ones_(self.bias)


class HalfAHead(Plain):
    head_state = property()


class TransposedHead(Plain):
    def head_state(self):
        return {"weight": self._embedding[0].weight.T, "bias": self.bias}


class Noisy(Plain):
    def hidden(self, encoder, batch):
        return F.dropout(super().hidden(encoder, batch), 0.1)


class DrawsFromElsewhere(Plain):
    def hidden(self, encoder, batch):
        hidden = super().hidden(encoder, batch)
        generator = torch.Generator()
        generator.seed()
        return hidden * (1 + self.training * torch.rand(1, generator=generator))


class Dropout(Plain):
    def hidden(self, encoder, batch):
        return F.dropout(super().hidden(encoder, batch), 0.1, self.training)


BROKEN = {
    DrawsFromElsewhere: "in train mode the total",
    DividesByItsCount: "total is a sum",
    DividesByItsCountUnlessEmpty: "total is a sum",
    CountsTokens: "padding sequence changes",
    CountsSequencesWithPadding: "padding sequence changes",
    RegistersTheEncoder: "registers neither the encoder",
    RegistersTheEmbedding: "registers neither the encoder",
    SeesPadding: "padding sequence changes",
    DetachesTheEncoder: "sends a gradient to the encoder",
    GradientsInMetrics: "detached scalar",
    MeansInMetrics: "metric mean is a sum",
    TakesTheCoresName: "the core logs `loss`",
    VectorTotal: "total is a scalar",
    SmoothsAcrossTheBatch: "gradients of a batch's parts",
    WrongHead: "logits are what head_state says",
    HalfAHead: "both `logits` and `head_state`",
    TransposedHead: "weight is (V, C)",
    Noisy: "same batch gives the same",
}


@pytest.mark.parametrize("loss", [Plain, Dropout])
def test_a_plain_loss_passes(loss, options_for):
    check_loss(options_for(loss))


@pytest.mark.parametrize("loss", BROKEN, ids=lambda loss: loss.__name__)
def test_a_broken_loss_is_noticed(loss, options_for, notices):
    notices(check_loss, options_for(loss), BROKEN[loss])


def test_a_mean_that_is_not_finite_without_masks_is_noticed(options_for, notices):
    class NotFinite(Plain):
        def cross_entropy(self, logits, labels):
            return F.cross_entropy(logits, labels) * len(labels)

    notices(check_loss, options_for(NotFinite), "total is a finite 0")


def test_a_loss_that_learns_from_every_token_passes(options_for):
    class EveryToken(Plain):
        def forward(self, encoder, batch):
            kept = batch.num_tokens
            hidden = encoder(batch.input_ids, batch.layout)[:kept]
            total = self.cross_entropy(self.logits(encoder, hidden), batch.input_ids[:kept])
            return LossOutput(total, torch.tensor(kept))

    check_loss(options_for(EveryToken))


class SequenceMean(nn.Module):
    """A loss of another kind: pulls the mean of each sequence towards a target field."""

    def __init__(self, context):
        super().__init__()

    def forward(self, encoder, batch):
        hidden = encoder(batch.input_ids, batch.layout).split(batch.layout.lengths)[: batch.num_sequences]
        means = torch.stack([part.mean() for part in hidden])
        total = (means - batch.fields["targets"]).square().sum()
        return LossOutput(total, torch.tensor(batch.num_sequences))


def test_a_loss_with_other_fields_brings_its_batches(options_for):
    def make_batch(sequences):
        layout = SequenceLayout.from_lengths(map(len, sequences))
        targets = torch.stack([sequence.double().mean() for sequence in sequences])
        return Batch(torch.cat(sequences), layout, {"targets": targets})

    check_loss(options_for(SequenceMean), make_batch=make_batch)
