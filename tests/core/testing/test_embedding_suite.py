"""check_loss passes plain losses that make embeddings, and notices each way of being wrong."""

from __future__ import annotations

import pytest
import torch
from attrs import evolve
from torch import nn
from torch.nn import functional as F

from neobert import LossOutput, SentenceHead
from neobert.testing import check_loss


class Plain(nn.Module):
    """Each query picks its positive among all positives, by dot products of projected means."""

    def __init__(self, context):
        super().__init__()
        self.projection = nn.Linear(context.encoder.hidden_size, 5)

    def pooled(self, hidden, layout):
        return torch.stack([tokens.mean(0) for tokens in hidden.split(layout.lengths)])

    def embed(self, encoder, input_ids, layout):
        return F.normalize(self.projection(self.pooled(encoder(input_ids, layout), layout)), dim=-1)

    def sentence_head(self):
        return SentenceHead(pooling="mean", normalize=True, projection=(self.projection.weight, self.projection.bias))

    def places(self, fields):
        return fields["query"], fields["positive"]

    def losses_from(self, embeddings, batch):
        query, positive = self.places(batch.fields)
        scores = embeddings[query] @ embeddings[positive].T
        labels = torch.arange(len(query))
        return LossOutput(F.cross_entropy(scores, labels, reduction="sum"), torch.tensor(len(query)))

    def forward(self, encoder, batch):
        return self.losses_from(self.embed(encoder, batch.input_ids, batch.layout), batch)


class OfTexts(Plain):
    """Divisible: each text is drawn to one value."""

    def losses_from(self, embeddings, batch):
        chosen = embeddings[batch.fields["text"]]
        return LossOutput(chosen.square().sum() + chosen.sum(), torch.tensor(len(chosen)))


class NoHead(Plain):
    sentence_head = property()


class AnotherPooling(Plain):
    def sentence_head(self):
        return evolve(super().sentence_head(), pooling="cls")


class UnknownPooling(Plain):
    def sentence_head(self):
        return evolve(super().sentence_head(), pooling="median")


class NotNormalised(Plain):
    def sentence_head(self):
        return evolve(super().sentence_head(), normalize=False)


class WithoutItsBias(Plain):
    def sentence_head(self):
        return evolve(super().sentence_head(), projection=(self.projection.weight, None))

    def __init__(self, context):
        super().__init__(context)
        nn.init.ones_(self.projection.bias)


class Transposed(Plain):
    def sentence_head(self):
        return evolve(super().sentence_head(), projection=(self.projection.weight.T, None))


class ADictionary(Plain):
    def sentence_head(self):
        return {"pooling": "mean", "normalize": True}


class SeesTheBatch(Plain):
    def pooled(self, hidden, layout):
        return super().pooled(hidden, layout) - hidden.mean(0) * 1e-3


class TokensAndNotSequences(Plain):
    def embed(self, encoder, input_ids, layout):
        return F.normalize(self.projection(encoder(input_ids, layout)), dim=-1)


class Detached(Plain):
    def embed(self, encoder, input_ids, layout):
        return super().embed(encoder, input_ids, layout).detach()

    def forward(self, encoder, batch):
        return self.losses_from(Plain.embed(self, encoder, batch.input_ids, batch.layout), batch)


class OtherLossFromEmbeddings(Plain):
    def forward(self, encoder, batch):
        output = super().forward(encoder, batch)
        return LossOutput(output.total * 1.01, output.count)


class ByPlace(Plain):
    """Takes the first sequences for the queries, and the next for the positives."""

    def places(self, fields):
        count = len(fields["query"])
        return torch.arange(count), torch.arange(count, 2 * count)


class NaNWithoutExamples(Plain):
    def losses_from(self, embeddings, batch):
        output = super().losses_from(embeddings, batch)
        return LossOutput(output.total / output.count * output.count, output.count)


BROKEN = {
    NoHead: "both `embed` and `sentence_head`",
    AnotherPooling: "embed does what sentence_head says",
    UnknownPooling: "pooling is one that exports know",
    NotNormalised: "embed does what sentence_head says",
    WithoutItsBias: "embed does what sentence_head says",
    Transposed: "projection is a weight (E, C)",
    ADictionary: "sentence_head is a neobert.SentenceHead",
    SeesTheBatch: "a sequence's embedding is the same alone",
    TokensAndNotSequences: "embeddings are (N, E)",
    Detached: "embeddings have a gradient",
    OtherLossFromEmbeddings: "losses_from of embed's embeddings",
    ByPlace: "order of a batch's examples and sequences",
    NaNWithoutExamples: "total is a finite 0",
}


def test_plain_losses_pass(options_for):
    check_loss(options_for(Plain, divisible=False))
    check_loss(options_for(OfTexts))


@pytest.mark.parametrize("loss", BROKEN, ids=lambda loss: loss.__name__)
def test_a_broken_loss_is_noticed(loss, options_for, notices):
    notices(check_loss, options_for(loss, divisible=False), BROKEN[loss])


def test_a_loss_that_compares_examples_and_does_not_say_so_is_noticed(options_for, notices):
    notices(check_loss, options_for(Plain), "total is a sum")


def test_additive_says_so_too(options_for, notices):
    check_loss(options_for(Plain), additive=False)
    notices(check_loss, options_for(Plain, divisible=False), "total is a sum", additive=True)


def test_an_embedding_that_depends_on_its_neighbours_is_noticed(options_for, notices):
    class SeesTheNext(Plain):
        def pooled(self, hidden, layout):
            pooled = super().pooled(hidden, layout)
            return pooled + 1e-3 * torch.cat((pooled[1:], pooled[-1:] * 0)) * (len(pooled) > 1)

    notices(check_loss, options_for(SeesTheNext, divisible=False), "a sequence's embedding is the same alone")


def test_a_need_that_is_not_stated_is_noticed(options_for, notices):
    check_loss(options_for(Plain, divisible=False, needs_fields=("query", "positive")))
    notices(
        check_loss, options_for(Plain, divisible=False, needs_fields=("query",)), "needs no field that needs_fields"
    )
