"""check_datacollator passes collators of texts by role and notices each way of being wrong."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from attrs import evolve, frozen

from neobert import Batch, Roles, SequenceLayout
from neobert.testing import check_datacollator
from neobert_plugins.collators.by_role import labelled, pairs, scored_pairs
from neobert_plugins.collators.role_options import Labelled, Pairs, ScoredPairs, Sentences

PAIRS = Pairs.roles


def options(collate, roles=PAIRS):
    """An options class of these roles whose collator is a function."""
    given = roles

    @frozen
    class Options:
        roles: ClassVar[Roles] = given

        def build(self, context):
            assert context.roles is given
            return collate

    Options.__qualname__ = Options.__name__ = "Options"
    globals()["Options"] = Options  # so that it pickles
    return Options()


@pytest.mark.parametrize("cls", [Pairs, Sentences, Labelled, ScoredPairs])
def test_the_built_ins_pass(cls):
    check_datacollator(cls)


def test_a_collator_of_roles_of_its_own_passes():
    def collate(examples, rng):
        sequences = [ids for example in examples for ids in (example["anchor"], *example["others"])]
        layout = SequenceLayout.from_lengths(map(len, sequences))
        return Batch(torch.from_numpy(np.concatenate(sequences)), layout)

    check_datacollator(options(collate, Roles(required=("anchor", "others"), holds={"others": "texts"})))


def changed(**fields):
    """`pairs` with other fields: each a function of the batch's own."""

    def collate(examples, rng):
        batch = pairs(examples, rng)
        new = {name: change(batch.fields) for name, change in fields.items() if name in batch.fields}
        return evolve(batch, fields={**batch.fields, **new})

    return collate


def swapped(examples, rng):
    return pairs([{**example, "query": example["positive"], "positive": example["query"]} for example in examples], rng)


def cuts(examples, rng):
    return pairs([{**example, "query": example["query"][:1]} for example in examples], rng)


def forgets_whose(examples, rng):
    batch = pairs(examples, rng)
    return evolve(batch, fields={name: value for name, value in batch.fields.items() if name != "negative_of"})


def turns_negatives(examples, rng):
    return pairs(
        [{**e, "negatives": e["negatives"][::-1]} if "negatives" in e else e for e in examples],
        rng,
    )


def thrice(examples, rng):
    """With no more than the texts, but three times."""
    batch = pairs(examples, rng)
    lengths = batch.layout.lengths * 3
    return Batch(batch.input_ids.repeat(3), SequenceLayout.from_lengths(lengths), {})


WRONG = {
    "queries and positives swapped": (swapped, PAIRS, "field query is .* with all its tokens"),
    "texts cut": (cuts, PAIRS, "field query is .* with all its tokens"),
    "places of another width": (changed(query=lambda f: f["query"].int()), PAIRS, "field query is"),
    "places beyond the layout": (changed(query=lambda f: f["query"] + 10_000), PAIRS, "field query is"),
    "negatives without their examples": (forgets_whose, PAIRS, "field negative comes with negative_of"),
    "negatives of others": (changed(negative_of=lambda f: f["negative_of"].flip(0)), PAIRS, "field negative_of"),
    "negatives turned round": (turns_negatives, PAIRS, "field negative is"),
    "one key for all": (changed(text_key=lambda f: f["text_key"] * 0), PAIRS, "field text_key"),
    "a key for each": (
        lambda examples, rng: evolve(
            batch := pairs(examples, rng),
            fields={**batch.fields, "text_key": torch.arange(batch.layout.num_sequences)},
        ),
        PAIRS,
        "field text_key",
    ),
    "scores rounded": (changed(teacher_scores=lambda f: f["teacher_scores"] + 1), PAIRS, "field teacher_scores"),
    "labels as floats": (
        lambda examples, rng: evolve(
            batch := labelled(examples, rng), fields={**batch.fields, "label": batch.fields["label"].float()}
        ),
        Labelled.roles,
        "field label",
    ),
    "scores as doubles": (
        lambda examples, rng: evolve(
            batch := scored_pairs(examples, rng), fields={**batch.fields, "score": batch.fields["score"].double()}
        ),
        ScoredPairs.roles,
        "field score",
    ),
    "more than the texts": (thrice, PAIRS, "as often as roles.copies says"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_collator_is_noticed(case):
    collate, roles, promise = WRONG[case]
    with pytest.raises(AssertionError, match=promise):
        check_datacollator(options(collate, roles))


def test_keys_of_sentences_must_agree():
    """Both copies of a sentence are one text: a key of their place alone is noticed."""
    from neobert_plugins.collators.by_role import sentences

    def numbered(examples, rng):
        batch = sentences(examples, rng)
        return evolve(batch, fields={**batch.fields, "text_key": torch.arange(batch.layout.num_sequences)})

    with pytest.raises(AssertionError, match="field text_key"):
        check_datacollator(options(numbered, Sentences.roles))
