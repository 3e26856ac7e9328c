"""check_datacollator passes a plain masking collator and notices each way of being wrong."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from attrs import evolve

from neobert import Batch, SequenceLayout
from neobert.testing import check_datacollator


class Masking:
    """Masks 30 % of the words, at least one a batch."""

    def __init__(self, context):
        self.special = context.tokenizer.all_special_ids
        self.mask = context.tokenizer.mask_token_id

    def draw(self, rng, count):
        return rng.random(count)

    def ids(self, examples):
        return [np.array(example["input_ids"]) for example in examples]

    def select(self, original, rng):
        may = np.flatnonzero(~np.isin(original, self.special))
        chosen = may[self.draw(rng, len(may)) < 0.3]
        return chosen if len(chosen) or not len(may) else may[:1]

    def __call__(self, examples, rng):
        sequences = self.ids(examples)
        original = np.concatenate(sequences)
        positions = self.select(original, rng)
        stream = original.copy()
        stream[positions] = self.mask
        fields = {
            "masked_positions": torch.from_numpy(positions),
            "labels": torch.from_numpy(original[positions]),
        }
        return Batch(torch.from_numpy(stream), SequenceLayout.from_lengths(map(len, sequences)), fields)


class OwnGenerator(Masking):
    def draw(self, rng, count):
        return np.random.default_rng().random(count)


class GlobalNumpy(Masking):
    def draw(self, rng, count):
        return np.random.random(count)


class GlobalTorch(Masking):
    def draw(self, rng, count):
        torch.manual_seed(0)
        return torch.rand(count).numpy()


class GlobalPython(Masking):
    def draw(self, rng, count):
        random.seed(0)
        return np.array([random.random() for _ in range(count)])


class IgnoresTheGenerator(Masking):
    def draw(self, rng, count):
        return np.random.default_rng(0).random(count)


class RemembersCalls(Masking):
    calls = 0

    def draw(self, rng, count):
        self.calls += 1
        return np.random.default_rng(self.calls).random(count)


class WritesToExamples(Masking):
    def ids(self, examples):
        for example in examples:
            example["input_ids"][0] = 9
        return super().ids(examples)


class SelectsSpecialTokens(Masking):
    def select(self, original, rng):
        return np.flatnonzero(self.draw(rng, len(original)) < 0.5)


class MayMaskNothing(Masking):
    """As each token is drawn alone, a short batch may have none: nothing is promised there."""

    share = 0.15

    def select(self, original, rng):
        may = np.flatnonzero(~np.isin(original, self.special))
        return may[self.draw(rng, len(may)) < self.share]


class MasksNothing(MayMaskNothing):
    share = 0.0


class DropsShortExamples(Masking):
    def ids(self, examples):
        return [ids for ids in super().ids(examples) if len(ids) > 1] or [np.array([9])]


class SortsByLength(Masking):
    def ids(self, examples):
        return sorted(super().ids(examples), key=len)


class Int32Ids(Masking):
    def __call__(self, examples, rng):
        batch = super().__call__(examples, rng)
        return evolve(batch, input_ids=batch.input_ids.int())


class PositionsInTheSequence(Masking):
    def __call__(self, examples, rng):
        batch = super().__call__(examples, rng)
        places = batch.layout.position_ids[batch.fields["masked_positions"]]
        return evolve(batch, fields={**batch.fields, "masked_positions": places})


class LabelsAfterMasking(Masking):
    def __call__(self, examples, rng):
        batch = super().__call__(examples, rng)
        labels = (batch.fields["labels"] + 1).clamp(max=50)
        return evolve(batch, fields={**batch.fields, "labels": labels})


class ShortLayout(Masking):
    def __call__(self, examples, rng):
        batch = super().__call__(examples, rng)
        return evolve(batch, input_ids=torch.cat((batch.input_ids, torch.tensor([0]))))


class ChangesOthers(Masking):
    def __call__(self, examples, rng):
        batch = super().__call__(examples, rng)
        ids = torch.where(batch.input_ids == self.mask, batch.input_ids, batch.input_ids.clamp(max=20))
        return evolve(batch, input_ids=ids)


class UnknownIds(Masking):
    mask = property(lambda self: 10_000, lambda self, value: None)


BROKEN = {
    OwnGenerator: "same examples and rng",
    GlobalNumpy: "no generator of the process",
    GlobalTorch: "no generator of the process",
    GlobalPython: "no generator of the process",
    IgnoresTheGenerator: "another rng masks other tokens",
    RemembersCalls: "same examples and rng",
    WritesToExamples: "leaves its examples",
    SelectsSpecialTokens: "special tokens are never selected",
    MasksNothing: "does mask something",
    DropsShortExamples: "each example stays one sequence",
    SortsByLength: "each example stays one sequence",
    Int32Ids: "input_ids is (T,) int64",
    PositionsInTheSequence: "a position is masked once",
    LabelsAfterMasking: "labels are the original ids",
    ShortLayout: "the layout covers the stream",
    ChangesOthers: "what is not masked stays",
    UnknownIds: "ids are the tokenizer's",
}


@pytest.mark.parametrize("collator", [Masking, MayMaskNothing])
def test_a_plain_collator_passes(collator):
    check_datacollator(_Picklable(collator))


@pytest.mark.parametrize("collator", BROKEN, ids=lambda collator: collator.__name__)
def test_a_broken_collator_is_noticed(collator, options_for, notices):
    notices(check_datacollator, options_for(collator), BROKEN[collator])


def test_options_that_do_not_pickle_are_noticed(options_for, notices):
    notices(check_datacollator, options_for(Masking, hook=lambda: None), "options can be pickled")


class _Picklable:
    def __init__(self, collator):
        self.collator = collator

    def build(self, context):
        return self.collator(context)
