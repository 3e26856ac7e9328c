"""The same run of batches for every split over ranks, accumulation and workers, from any cursor."""

from __future__ import annotations

import os
import signal
from collections import Counter
from itertools import islice

import attrs
import numpy as np
import psutil
import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from neobert.batch import Batch, SequenceLayout
from neobert.data.collate import CollatorRecipe
from neobert.data.corpus import StoredCorpus
from neobert.data.cursor import Cursor
from neobert.data.pretokenized import ArrowDocuments
from neobert.errors import UserError
from neobert.parts import Part

LENGTHS = np.random.default_rng(1).integers(0, 40, 110).tolist()


def ids_of(batch):
    """The batch's original ids: what is masked put back."""
    ids = batch.input_ids.clone()
    ids[batch.fields["masked_positions"]] = batch.fields["labels"]
    return ids


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


@pytest.mark.parametrize("packed", [True, False])
def test_same_global_stream_for_every_world_size_and_accumulation(make_data, packed):
    streams = []
    for world_size, accumulation in ((1, 4), (2, 2), (4, 1), (1, 1), (2, 4)):
        ranks = [
            first_steps(
                make_data(
                    LENGTHS,
                    pack_sequences=packed,
                    rank=rank,
                    world_size=world_size,
                    gradient_accumulation_steps=accumulation,
                ),
                16 // (world_size * accumulation),
            )
            for rank in range(world_size)
        ]
        streams.append(
            [
                ids_of(ranks[rank][step].micro_batches[micro].batch).tolist()
                for step in range(16 // (world_size * accumulation))
                for micro in range(accumulation)
                for rank in range(world_size)
            ]
        )
    assert all(stream == streams[0] for stream in streams)


def test_masks_and_seeds_depend_on_the_micro_batch_number_and_not_on_the_rank(make_data):
    alone = first_steps(make_data(LENGTHS, gradient_accumulation_steps=4), 3)
    ranks = [
        first_steps(make_data(LENGTHS, gradient_accumulation_steps=2, rank=rank, world_size=2), 3) for rank in (0, 1)
    ]
    for step in range(3):
        shared = [contents(ranks[g % 2][step])[g // 2] for g in range(4)]
        assert shared == contents(alone[step])
        assert {rank[step].cursor for rank in ranks} == {alone[step].cursor}


@pytest.mark.parametrize("packed", [True, False])
def test_any_cursor_continues_the_unbroken_run(make_data, packed):
    wanted = {"pack_sequences": packed, "gradient_accumulation_steps": 3}
    unbroken = first_steps(make_data(LENGTHS, **wanted), 50)
    assert unbroken[-1].epoch >= 2
    for stop in (1, 7, 20, 33, 49):
        cursor = Cursor.from_json(unbroken[stop - 1].cursor.to_json())
        resumed = first_steps(make_data(LENGTHS, **wanted), 50 - stop, cursor, stop)
        assert [contents(step) for step in resumed] == [contents(step) for step in unbroken[stop:]]
        assert [step.cursor for step in resumed] == [step.cursor for step in unbroken[stop:]]
        assert [step.step for step in resumed] == list(range(stop, 50))


def test_workers_change_nothing(make_data):
    here = first_steps(make_data(LENGTHS, gradient_accumulation_steps=2), 12)
    there = first_steps(make_data(LENGTHS, gradient_accumulation_steps=2, num_workers=3), 12)
    assert [contents(step) for step in there] == [contents(step) for step in here]
    assert [(step.epoch, step.cursor) for step in there] == [(step.epoch, step.cursor) for step in here]


def test_every_packed_batch_has_the_same_number_of_tokens(make_data):
    for full in (True, False):
        for step in first_steps(make_data(LENGTHS, enforce_full_packed_batches=full), 60):
            (micro,) = step.micro_batches
            assert micro.batch.input_ids.shape == (64,)
            assert (micro.batch.input_ids[64 - micro.batch.padding :] == 0).all()
            assert (micro.batch.fields["masked_positions"] < micro.batch.num_tokens).all()


def test_unpacked_batches_are_not_padded(make_data):
    for step in first_steps(make_data(LENGTHS, pack_sequences=False), 20):
        (micro,) = step.micro_batches
        assert (micro.batch.padding, micro.batch.num_sequences) == (0, 4)


def test_sequences_carry_their_special_tokens_and_fit(make_data):
    for step in first_steps(make_data(LENGTHS), 20):
        batch = step.micro_batches[0].batch
        ids, start = ids_of(batch), 0
        for length in batch.layout.lengths[: batch.num_sequences]:
            sequence = ids[start : start + length]
            assert 3 <= length <= 16
            assert (sequence[0], sequence[-1]) == (2, 3)
            assert (sequence[1:-1] >= 5).all()
            start += length


def test_every_token_of_every_document_once_an_epoch(make_data):
    data = make_data(LENGTHS)
    seen = Counter()
    for step in data.steps(data.start(), 0):
        seen.update(ids_of(step.micro_batches[0].batch).tolist())
        if step.cursor.epoch >= 2 and step.cursor.window == step.cursor.position == 0:
            break
    for piece in step.cursor.carry:
        seen.update(data.corpus.documents.ids(*piece).tolist())
    expected = Counter()
    for document, length in enumerate(data.corpus.documents.lengths):
        expected.update(data.corpus.documents.ids(document, 0, length).tolist())
    words = {token: count for token, count in seen.items() if token >= 5}
    assert words == {token: count * step.cursor.epoch for token, count in expected.items()}


def test_torch_generator_is_left_alone(make_data):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    data = make_data(LENGTHS)
    steps = data.steps(data.start(), 0)
    next(steps)  # builds the collator, which the loop does before it seeds
    torch.set_rng_state(before)
    list(islice(steps, 5))
    assert torch.equal(torch.get_rng_state(), before)


def test_report_counts(make_data):
    report = make_data([0, 1, 5, 14, 15, 40]).report
    assert (report.documents, report.empty, report.one_token, report.tokens) == (5, 1, 1, 75)
    assert (report.sequences, report.split, report.truncated, report.dropped) == (8, 2, 0, 0)
    assert make_data([0, 1, 15, 40], overflow="truncate").report.truncated == 2
    dropped = make_data([0, 1, 15, 40], overflow="drop").report
    assert (dropped.dropped, dropped.sequences) == (2, 1)
    assert make_data(LENGTHS).report.fill > 0.97
    assert any("2 documents longer" in line for line in make_data([0, 1, 15, 40]).report.lines())


def test_fingerprint_is_of_the_content(make_data):
    assert make_data(LENGTHS).fingerprint == make_data(LENGTHS, packing_window=5).fingerprint
    assert make_data(LENGTHS).fingerprint != make_data(LENGTHS[:-1]).fingerprint


@pytest.mark.parametrize(
    "cursor",
    [
        Cursor(carry=((10**6, 0, 3),)),
        Cursor(carry=((3, 0, 10**6),)),
        Cursor(window=10**6),
        Cursor(carry=((3, 5, 2),)),
    ],
)
def test_a_cursor_of_other_data_is_refused(make_data, cursor):
    with pytest.raises(UserError, match="does not fit this data"):
        make_data(LENGTHS).steps(cursor, 0)


def test_only_empty_documents_are_an_error(make_data):
    with pytest.raises(UserError, match="every one is empty"):
        make_data([0, 0])


def workers_alive():
    """Processes that the fork server has started and that have not ended."""
    children = psutil.Process().children(recursive=True)
    servers = {child.pid for child in children if child.ppid() == os.getpid()}
    return [child for child in children if child.ppid() in servers and child.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_collator_raises_reaches_the_loop(make_data, workers):
    data = make_data(LENGTHS, num_workers=workers)
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    special = {f"[{name[:4]}]": number for number, name in enumerate(names)}
    fewer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({**special, "w0": 5}, unk_token="[unk_]")),
        **dict(zip(names, special, strict=True)),
    )
    context = attrs.evolve(data.collator.context, tokenizer=fewer)
    data = attrs.evolve(data, collator=CollatorRecipe(data.collator.part, context))
    with pytest.raises(IndexError, match="out of bounds") as raised:
        first_steps(data, 1)
    assert raised.tb is not None  # it holds the loader's frames; the workers are gone all the same
    assert not workers_alive()


def test_a_worker_that_dies_is_an_error(make_data):
    data = make_data(LENGTHS, num_workers=1)
    steps = data.steps(data.start(), 0)
    next(steps)
    for child in psutil.Process().children(recursive=True):
        if "forkserver" in " ".join(child.cmdline()) and child.children() == []:
            os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(UserError, match=r"a data worker died: process .* was killed(.|\n)*dataset.num_workers"):
        list(islice(steps, 50))
    data.close()


class InMemory:
    """A collator whose built object does not pickle, and which lives with the documents it was given."""

    def build(self, context):
        def collate(examples, rng):
            lengths = [len(example["input_ids"]) for example in examples]
            ids = np.concatenate([example["input_ids"] for example in examples])
            return Batch(torch.from_numpy(ids), SequenceLayout.from_lengths(lengths))

        return collate


def test_pretokenized_documents_train_like_text(make_data):
    import datasets

    data = make_data(LENGTHS)
    rows = [
        {"input_ids": data.corpus.documents.ids(i, 0, n).tolist()} for i, n in enumerate(data.corpus.documents.lengths)
    ]
    stored = ArrowDocuments(datasets.Dataset.from_list(rows), fingerprint="x")
    same = attrs.evolve(data, corpus=StoredCorpus(stored, 14, "split", 32))
    assert [contents(step) for step in first_steps(same, 10)] == [contents(step) for step in first_steps(data, 10)]
    plain = attrs.evolve(
        data,
        collator=CollatorRecipe(Part(kind="datacollator", name="x", options=InMemory()), data.collator.context),
    )
    assert first_steps(plain, 3)[2].micro_batches[0].batch.num_tokens > 50
