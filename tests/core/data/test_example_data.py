"""Batches of examples: the same for every split over ranks and workers, from any cursor; never with a text twice."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import datasets
import numpy as np
import pytest

from neobert import UserError
from neobert.data.audit import audit
from neobert.data.cursor import Cursor
from neobert.data.show import show
from neobert_plugins.collators.role_options import Labelled, Pairs, ScoredPairs

PACKED = [True, False]


def contents(step):
    """Every tensor of a step, and the seeds."""
    return [
        (
            micro.seed,
            micro.batch.padding,
            micro.batch.layout.lengths,
            micro.batch.input_ids.tolist(),
            {name: value.tolist() for name, value in micro.batch.fields.items()},
        )
        for micro in step.micro_batches
    ]


def first_steps(data, count, cursor=None, step=0):
    found = list(islice(data.steps(cursor or data.start(), step), count))
    data.close()
    return found


def with_common_texts(rows, every):
    """The same pairs, of which every so many have the query of the one before."""
    queries = rows["query"][:]
    queries = [queries[number - 1] if number % every == 1 else text for number, text in enumerate(queries)]
    return rows.remove_columns("query").add_column("query", queries)


@pytest.fixture
def pairs(make_pairs):
    return with_common_texts(make_pairs(110, negatives=(0, 3)), 7)


def texts_of(batch):
    """The tokens of each sequence with content."""
    ends = np.cumsum(batch.layout.lengths)
    ids = batch.input_ids.tolist()
    return [
        tuple(ids[end - length : end])
        for length, end in zip(batch.layout.lengths[: batch.num_sequences], ends.tolist(), strict=False)
    ]


@pytest.mark.parametrize("packed", PACKED)
def test_same_global_stream_for_every_world_size_and_accumulation(make_examples, pairs, packed):
    streams = []
    for world_size, accumulation in ((1, 4), (2, 2), (4, 1)):
        ranks = [
            first_steps(
                make_examples(
                    pairs,
                    pack_sequences=packed,
                    per_device_train_batch_size=8,
                    rank=rank,
                    world_size=world_size,
                    gradient_accumulation_steps=accumulation,
                )[0],
                5,
            )
            for rank in range(world_size)
        ]
        streams.append([contents(ranks[g % world_size][step])[g // world_size] for step in range(5) for g in range(4)])
    assert streams[0] == streams[1] == streams[2]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("packed", PACKED)
def test_any_cursor_continues_the_unbroken_run(make_examples, pairs, packed, stream):
    def make():
        rows = pairs.to_iterable_dataset() if stream else pairs
        return make_examples(rows, pack_sequences=packed, per_device_train_batch_size=6)[0]

    unbroken = first_steps(make(), 60)
    assert unbroken[-1].cursor.epoch >= 1
    for stop in (1, 9, 20, 41, 59):
        cursor = Cursor.from_json(unbroken[stop - 1].cursor.to_json())
        resumed = first_steps(make(), 60 - stop, cursor, stop)
        assert [contents(step) for step in resumed] == [contents(step) for step in unbroken[stop:]]
        assert [step.cursor for step in resumed] == [step.cursor for step in unbroken[stop:]]


@pytest.mark.parametrize("stream", [False, True])
def test_workers_change_nothing(make_examples, pairs, stream):
    rows = pairs.to_iterable_dataset() if stream else pairs
    here = first_steps(make_examples(rows)[0], 8)
    there = first_steps(make_examples(rows, num_workers=2)[0], 8)
    assert [contents(step) for step in there] == [contents(step) for step in here]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("packed", PACKED)
def test_no_batch_has_a_text_twice_and_every_row_comes_once_an_epoch(make_examples, pairs, packed, stream):
    rows = pairs.to_iterable_dataset() if stream else pairs
    data, _ = make_examples(rows, pack_sequences=packed, per_device_train_batch_size=8)
    seen = Counter()
    for step in data.steps(data.start(), 0):
        (micro,) = step.micro_batches
        batch = micro.batch
        texts = texts_of(batch)
        assert len(set(texts)) == len(texts)
        assert packed or len(batch.fields["query"]) == 8
        assert not packed or batch.layout.num_tokens == 8 * 16
        seen.update(micro.pieces.document.tolist())
        if step.cursor.epoch >= 2 and step.cursor.window == step.cursor.position == 0:
            break
    data.close()
    seen.update(document for document, _, _ in step.cursor.carry)
    assert seen == Counter(dict.fromkeys(range(110), step.cursor.epoch))


def test_a_batch_is_what_its_examples_say(make_examples, make_pairs, tokenizer):
    rows = make_pairs(12, negatives=(0, 2))
    data, _ = make_examples(rows)
    (micro,) = next(data.steps(data.start(), 0)).micro_batches
    data.close()
    fields, texts = micro.batch.fields, texts_of(micro.batch)

    def ids(text):
        return (2, *tokenizer(text, add_special_tokens=False)["input_ids"][:14], 3)

    negatives = iter(zip(fields["negative"].tolist(), fields["negative_of"].tolist(), strict=True))
    for number, row in enumerate(micro.pieces.document.tolist()):
        assert texts[fields["query"][number]] == ids(rows[row]["query"])
        assert texts[fields["positive"][number]] == ids(rows[row]["positive"])
        for text in rows[row]["negatives"]:
            place, owner = next(negatives)
            assert (texts[place], owner) == (ids(text), number)
    assert fields["query"].tolist() == [0, 1, 2, 3]
    assert fields["positive"].tolist() == [4, 5, 6, 7]


def test_group_by_length_keeps_similar_lengths_together(make_examples, make_pairs):
    spread = {}
    for grouped in (True, False):
        data, _ = make_examples(make_pairs(256), group_by_length=grouped, packing_window=128)
        steps = first_steps(data, 40)
        spread[grouped] = np.mean([np.ptp(step.micro_batches[0].pieces.lengths) for step in steps])
    assert spread[True] < spread[False] / 2


def test_a_text_in_more_examples_than_an_epoch_has_batches_is_refused_with_its_beginning(make_examples, make_pairs):
    rows = make_pairs(40)
    queries = ["w1 w2 w3" if number % 3 == 0 else text for number, text in enumerate(rows["query"][:])]
    rows = rows.remove_columns("query").add_column("query", queries)
    with pytest.raises(UserError) as error:
        make_examples(rows)
    assert "one text is in 14 examples of 40, and an epoch has 10 micro-batches of 4 examples" in str(error.value)
    assert "4 would be left over" in str(error.value)
    assert "the text begins: 'w1 w2 w3'" in str(error.value)
    make_examples(rows, per_device_train_batch_size=2)
    with pytest.raises(UserError, match=r"one text is in 40 examples"):
        make_examples(rows.remove_columns("query").add_column("query", ["w1"] * 40), pack_sequences=True)


def test_a_stream_of_one_text_is_refused_when_it_is_read(make_examples, make_pairs):
    rows = make_pairs(200).remove_columns("query").add_column("query", ["w1 w2"] * 200).to_iterable_dataset()
    data, _ = make_examples(rows)
    with pytest.raises(UserError, match=r"one text is in .* begins: 'w1 w2'"):
        first_steps(data, 1)


def test_a_query_that_is_another_examples_positive_is_a_common_text(make_examples, make_pairs):
    rows = make_pairs(30)
    positives = rows["positive"][:]
    rows = rows.remove_columns("query").add_column("query", [positives[number - 1] for number in range(30)])
    data, _ = make_examples(rows, role_prefixes={"query": "w9 "})
    for step in first_steps(data, 20):
        held = set(step.micro_batches[0].pieces.document.tolist())
        assert not any((number - 1) % 30 in held for number in held)


def test_fewer_examples_than_a_batch_are_refused(make_examples, make_pairs):
    with pytest.raises(UserError, match="3 examples cannot fill a micro-batch of 4 examples"):
        make_examples(make_pairs(3))


def test_an_example_that_no_packed_batch_can_hold_is_refused(make_examples, make_pairs):
    rows = make_pairs(30, negatives=(8, 9), lengths=(10, 12))
    with pytest.raises(UserError, match=r"an example has 1.. tokens in all its texts, and a packed micro-batch 64"):
        make_examples(rows, pack_sequences=True)
    data, _ = make_examples(rows.to_iterable_dataset(), pack_sequences=True, per_device_train_batch_size=100)
    first_steps(data, 1)
    make_examples(rows)


def test_texts_of_labelled_and_scored_data_may_repeat(make_examples):
    rows = datasets.Dataset.from_dict({"text": ["w1"] * 8, "label": list(range(8))})
    batch = first_steps(make_examples(rows, Labelled())[0], 1)[0].micro_batches[0].batch
    assert len(set(batch.fields["text_key"].tolist())) == 1
    rows = datasets.Dataset.from_dict({"sentence1": ["w1"] * 8, "sentence2": ["w2"] * 8, "score": [0.25] * 8})
    batch = first_steps(make_examples(rows, ScoredPairs())[0], 1)[0].micro_batches[0].batch
    assert batch.fields["score"].tolist() == [0.25] * 4


@pytest.mark.parametrize("packed", PACKED)
def test_evaluation_has_every_example_once_and_no_batch_with_a_text_twice(make_examples, pairs, packed):
    sizes = {"per_device_train_batch_size": 8, "per_device_eval_batch_size": 8}
    _, evaluation = make_examples(pairs, held_out=pairs.select(range(50)), pack_sequences=packed, **sizes)
    count = 0
    for batch in evaluation:
        texts = texts_of(batch)
        assert len(set(texts)) == len(texts)
        assert batch.padding == 0
        count += len(batch.fields["query"])
    assert count == evaluation.num_sequences == 50
    assert evaluation.description.startswith("50 held-out examples in ")
    assert [batch.input_ids.tolist() for batch in evaluation] == [batch.input_ids.tolist() for batch in evaluation]


def test_evaluation_rows_keep_their_order_where_they_can(make_examples, make_pairs):
    rows = make_pairs(20)
    _, evaluation = make_examples(rows, held_out=rows)
    assert [pieces.document.tolist() for _, pieces in evaluation._batches] == [
        list(range(n, n + 4)) for n in range(0, 20, 4)
    ]


def test_a_stream_counts_what_it_leaves_out_and_cuts(make_examples):
    long = " ".join(f"w{n}" for n in range(20))
    columns = {
        "query": [f"w{n}" for n in range(38)] + ["", None],
        "positive": [long if n % 10 == 0 else f"w{50 + n % 40} w{n}" for n in range(40)],
    }
    rows = datasets.Dataset.from_dict(columns)
    data, _ = make_examples(rows.to_iterable_dataset())
    counted = Counter()
    for step in first_steps(data, 9):
        counted.update(step.left_out)
    assert counted == {"empty_rows": 2, "cut_positive_texts": 4}
    lines = data.report.lines()
    assert lines[0].startswith("32 examples, ")
    assert lines[0].endswith("in the first window of the stream")
    assert "role positive: 32 texts, " in lines[2]


def test_labels_of_a_stream_that_are_text_are_refused(make_examples):
    rows = datasets.Dataset.from_dict({"text": ["w1"], "label": ["a"]}).to_iterable_dataset()
    with pytest.raises(UserError, match="label of the stream train is text"):
        make_examples(rows, Labelled())


def test_the_report_is_by_role(make_examples, pairs):
    data, evaluation = make_examples(pairs, held_out=pairs.select(range(9)))
    assert data.report.lines()[0].startswith("110 examples, ")
    assert data.report.lines()[1].startswith("role query: 110 texts, ")
    assert evaluation.counts.examples == 9


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("packed", PACKED)
def test_the_audit_passes_and_finds_a_text_that_comes_twice(make_examples, pairs, packed, stream, monkeypatch):
    from neobert.data import plan

    rows = pairs.to_iterable_dataset() if stream else pairs
    data, evaluation = make_examples(
        rows, held_out=pairs.select(range(9)), pack_sequences=packed, per_device_train_batch_size=8
    )
    found = audit(data, None, 40)
    assert found.faults == ()
    assert any("looked through for two examples with a text in common" in fact for fact in found.facts)
    (fault,) = audit(data, evaluation, 40).faults
    assert fault.startswith("9 documents that are evaluated on and trained on: document 0 is evaluation row 0")
    monkeypatch.setattr(plan, "arrange", lambda lengths, carried, keys, groups, shape: plan.pack(lengths, shape.budget))
    if packed:
        faults = audit(data, None, 40).faults
        assert any(fault.split(" ", 1)[1].startswith("micro-batches with two examples of one text") for fault in faults)


def test_a_batch_is_shown_example_by_example(make_examples, pairs, tokenizer):
    data, _ = make_examples(pairs)
    micro = first_steps(data, 1)[0].micro_batches[0]
    shown = show(micro.batch, tokenizer)
    heads = [spans[0].text for spans in shown.sequences]
    assert heads[:2] == ["1 query:", "1 positive:"]
    assert heads == sorted(heads, key=lambda head: int(head.split()[0]))
    assert shown.summary[1].startswith("4 examples by role: 4 query, 4 positive, ")
    assert len(shown.summary) == 2
    row = pairs[int(micro.pieces.document[0])]
    assert row["query"] in " ".join(span.text for span in shown.sequences[0])
    with_sources = show(micro.batch, tokenizer, ["a", "b", "c", "d"])
    assert [spans[0].text for spans in with_sources.sequences if spans[1].text.endswith("query:")] == [
        "(a)",
        "(b)",
        "(c)",
        "(d)",
    ]


def test_numbers_are_shown_beside_their_texts(make_examples, tokenizer):
    rows = datasets.Dataset.from_dict({"sentence1": ["w1"] * 8, "sentence2": ["w2"] * 8, "score": [0.25] * 8})
    shown = show(first_steps(make_examples(rows, ScoredPairs())[0], 1)[0].micro_batches[0].batch, tokenizer)
    assert [spans[0].text for spans in shown.sequences[:2]] == ["1 first, score 0.25:", "1 second:"]


def test_a_strangers_collator_with_roles_of_its_own(make_examples, make_pairs, tokenizer):
    from typing import ClassVar

    import torch
    from attrs import frozen

    from neobert import Batch, Roles, SequenceLayout

    @frozen
    class Triplets:
        roles: ClassVar = Roles(
            required=("anchor", "answers"),
            optional=("weight",),
            holds={"answers": "texts", "weight": "float"},
            apart=("anchor",),
        )

        def build(self, context):
            def collate(examples, rng):
                parts = [ids for example in examples for ids in (example["anchor"], *example["answers"])]
                weights = torch.tensor([example["weight"] for example in examples])
                layout = SequenceLayout.from_lengths(map(len, parts))
                return Batch(torch.from_numpy(np.concatenate(parts)), layout, {"weight": weights})

            return collate

    rows = datasets.Dataset.from_dict(
        {
            "anchor": [f"w{n}" for n in range(20)],
            "answer_1": ["w50"] * 20,
            "answer_2": [None if n == 3 else "w51" for n in range(20)],
            "weight": list(range(20)),
        }
    )
    data, _ = make_examples(rows, Triplets())
    batch = first_steps(data, 1)[0].micro_batches[0].batch
    assert batch.fields["weight"].shape == (4,)
    assert show(batch, tokenizer).sequences[0][0].text == "[CLS]"
    with pytest.raises(UserError, match=r"row 2 of .*: weight"):
        make_examples(
            rows.remove_columns("weight").add_column("weight", [1.0, 2.0, float("inf"), *[1.0] * 17]), Triplets()
        )


def test_pairs_are_collated_without_drawing(make_examples, make_pairs):
    collate = Pairs().build(None)
    examples = [{"query": np.array([2, 5, 3]), "positive": np.array([2, 6, 3])}]
    batch = collate(examples, None)
    assert batch.fields.keys() == {"query", "positive", "text_key"}


def test_a_stream_shared_out_by_file(make_examples, make_pairs):
    """Each rank reads its own files, arranges them alone, and has every row once an epoch."""
    rows = make_pairs(90).to_iterable_dataset(num_shards=4)
    seen = Counter()
    for rank in (0, 1):
        data, _ = make_examples(rows, shard_streams_by="file", rank=rank, world_size=2, per_device_train_batch_size=3)
        found = first_steps(data, 12)
        assert found[0].cursor.share == (rank, 2, 4)
        seen.update(text for step in found for text in texts_of(step.micro_batches[0].batch)[:3])
    assert max(seen.values()) == 1
    assert len(seen) == 72
