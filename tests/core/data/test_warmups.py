"""Warm-ups in training data: the plan is the same, however many micro-batches a step has and however it is cut."""

from __future__ import annotations

from itertools import islice

import attrs
import datasets
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neobert import Mixture, MixtureSource
from neobert.data import shortening
from neobert.data.audit import audit
from neobert.data.build import corpus_of
from neobert.data.cursor import Cursor
from neobert.data.ending import steps_left
from neobert.data.loader import HEAVY, pickles_over
from neobert.data.mixed_rows import mixed_stream
from neobert.data.show import show
from neobert.mixture import SOURCE_COLUMN
from neobert.warmup import WarmUp

LENGTHS = np.random.default_rng(1).integers(0, 40, 110).tolist()
BATCH, LENGTH = WarmUp(1, 3, 10), WarmUp(4, 16, 14)
BOTH = {"gradient_accumulation_steps": 3, "batch_size_warmup": BATCH, "length_warmup": LENGTH}


def ids_of(batch):
    """The batch's original ids: what is masked put back."""
    ids = batch.input_ids.clone()
    ids[batch.fields["masked_positions"]] = batch.fields["labels"]
    return ids.tolist()


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


def micro_batches(steps):
    return [micro for step in steps for micro in step.micro_batches]


@pytest.fixture
def make(make_data, make_rows, tokenizer):
    """``make(kind, **options)``: training data of stored documents, a stream or mixtures of them."""

    def of_kind(kind="stored", **wanted):
        rows = make_rows(LENGTHS)
        if kind == "stored":
            return make_data(LENGTHS, **wanted)
        if kind == "in memory":
            stored = make_data(LENGTHS)
            ids = [stored.corpus.documents.ids(n, 0, length).tolist() for n, length in enumerate(LENGTHS)]
            held = {"input_ids": ids, "ballast": [b"x" * 20_000] * len(ids)}
            return make_data([], rows=datasets.Dataset.from_dict(held), **wanted)
        if kind == "stream":
            return make_data(LENGTHS, rows=rows.to_iterable_dataset(), **wanted)
        mixture = Mixture(
            sources=(MixtureSource(name="a", weight=0.6), MixtureSource(name="b", weight=0.4)),
            when_exhausted="stop" if kind == "ending mixture" else "repeat",
        )
        parts = [rows, make_rows(LENGTHS[:60], seed=3)]
        joined = datasets.concatenate_datasets(
            [found.add_column(SOURCE_COLUMN, [number] * len(found)) for number, found in enumerate(parts)]
        )
        if kind == "mixed streams":
            joined = mixed_stream({"a": parts[0].to_iterable_dataset(), "b": parts[1]})
        data = make_data([5], **wanted)
        corpus = corpus_of(joined, tokenizer, data.dataset_keys, data.collator_keys, mixture)
        return attrs.evolve(data, corpus=corpus)

    return of_kind


KINDS = ["stored", "in memory", "stream", "mixture", "mixed streams"]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_the_micro_batches_are_those_of_the_plan(make, kind, packed):
    plain = micro_batches(first_steps(make(kind, pack_sequences=packed), 80))
    steps = first_steps(make(kind, pack_sequences=packed, **BOTH), 24)
    assert [len(step.micro_batches) for step in steps] == [1] * 5 + [2] * 5 + [3] * 14
    found = micro_batches(steps)
    assert [ids_of(micro.batch) for micro in found] == [ids_of(micro.batch) for micro in plain[: len(found)]]
    assert [micro.batch.padding for micro in found] == [micro.batch.padding for micro in plain[: len(found)]]
    if packed:
        assert {micro.batch.layout.num_tokens for micro in found} == {64}


@pytest.mark.parametrize("kind", KINDS)
def test_no_sequence_is_longer_than_its_step_allows(make, kind):
    steps = first_steps(make(kind, **BOTH), 20)
    plain = iter(micro_batches(first_steps(make(kind), 80)))
    longest = []
    for step in steps:
        for micro in step.micro_batches:
            layout, whole = micro.batch.layout, next(plain).batch.layout
            own = layout.lengths[: micro.batch.num_sequences]
            longest.append(max(own))
            assert max(own) <= LENGTH.at(step.step)
            assert layout.cu_seqlens.tolist() == np.cumsum([0, *layout.lengths]).tolist()
            assert layout.position_ids.tolist() == [place for length in layout.lengths for place in range(length)]
            # every boundary of the plan is one here
            assert set(whole.cu_seqlens.tolist()) <= set(layout.cu_seqlens.tolist())
    assert len({*longest}) > 5, "it grows"
    assert longest[0] == 4
    assert max(longest[-12:]) == 16


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.integers(3, 16),
    steps=st.integers(1, 12),
    micro=st.integers(1, 4),
    world=st.integers(1, 3),
    packed=st.booleans(),
)
def test_any_warm_ups_give_every_planned_token_once(planned, start, steps, micro, world, packed):
    plan, length = planned[packed], WarmUp(start, 16, steps, 2)
    options = attrs.evolve(
        plan.options,
        world_size=world,
        gradient_accumulation_steps=4,
        batch_size_warmup=WarmUp(micro, 4, steps),
        length_warmup=length,
    )
    ranks = [attrs.evolve(plan, options=attrs.evolve(options, rank=rank)) for rank in range(world)]
    found = [first_steps(data, 6) for data in ranks]
    cursors = [[step.cursor for step in steps_of] for steps_of in found]
    assert all(other == cursors[0] for other in cursors)
    made = []
    for together in zip(*found, strict=True):
        (each,) = {len(step.micro_batches) for step in together}
        assert each == options.micro_batches(together[0].step)
        made += [step.micro_batches[number] for number in range(each) for step in together]
    assert options.in_steps(0, 6) == len(made)
    planned = islice(plan.pieces(plan.start()), len(made))
    for micro_batch, (pieces, _) in zip(made, planned, strict=True):
        whole = [plan.special.around(plan.corpus.documents.ids(*piece)) for piece in pieces.to_tuples()]
        ids = ids_of(micro_batch.batch)[: micro_batch.batch.num_tokens]
        assert ids == np.concatenate(whole).tolist()
        assert len(micro_batch.pieces) == micro_batch.batch.num_sequences
        bodies = [plan.corpus.documents.ids(*piece).tolist() for piece in micro_batch.pieces.to_tuples()]
        own = np.split(np.asarray(ids), np.cumsum(micro_batch.batch.layout.lengths)[: len(bodies)])
        assert [[token for token in piece.tolist() if token >= 5] for piece in own[: len(bodies)]] == bodies


@pytest.fixture
def planned(make_data):
    return {packed: make_data(LENGTHS, pack_sequences=packed) for packed in (True, False)}


@pytest.mark.parametrize(
    ("kind", "workers", "world"),
    [
        *((kind, 0, world) for kind in KINDS for world in (1, 2, 4)),
        *((kind, 2, 1) for kind in ("stored", "in memory", "stream", "mixed streams")),
        ("stored", 2, 4),
    ],
)
def test_resumed_inside_and_across_both_it_is_the_unbroken_run(make, kind, workers, world):
    wanted = {**BOTH, "world_size": world, "rank": world - 1}
    if kind == "in memory" and workers:
        assert pickles_over(make(kind).corpus.documents, HEAVY), "tokens come with the requests"
    unbroken = first_steps(make(kind, **wanted), 20)
    for stop in (1, 7, 10, 13, 14, 17) if not workers else (7,):
        cursor = Cursor.from_json(unbroken[stop - 1].cursor.to_json())
        resumed = first_steps(make(kind, num_workers=workers, **wanted), 20 - stop, cursor, stop)
        assert [contents(step) for step in resumed] == [contents(step) for step in unbroken[stop:]]
        assert [step.cursor for step in resumed] == [step.cursor for step in unbroken[stop:]]


def test_each_rank_has_its_own_micro_batches_of_a_step(make):
    ranks = [first_steps(make(world_size=2, rank=rank, **BOTH), 16) for rank in (0, 1)]
    seeds = [
        [micro.seed for pair in zip(*(step.micro_batches for step in steps), strict=True) for micro in pair]
        for steps in zip(*ranks, strict=True)
    ]
    # g = micro_batch * world_size + rank: the same numbers as one rank with as many micro-batches
    alone = make(gradient_accumulation_steps=6, batch_size_warmup=WarmUp(2, 6, 10, 2), length_warmup=LENGTH)
    assert [[micro.seed for micro in step.micro_batches] for step in first_steps(alone, 16)] == seeds


@pytest.mark.parametrize("kind", KINDS)
def test_once_they_are_over_they_change_nothing(make, kind):
    steps = first_steps(make(kind, **BOTH), 20)
    plain = make(kind, gradient_accumulation_steps=3)
    assert [contents(step) for step in first_steps(plain, 6, steps[13].cursor, 14)] == [
        contents(step) for step in steps[14:]
    ]


def test_a_short_batch_keeps_its_padding_sequence_at_the_end(make):
    data = make(enforce_full_packed_batches=False, length_warmup=WarmUp(4, 16, 1000))
    padded = [micro.batch for micro in micro_batches(first_steps(data, 60)) if micro.batch.padding > 8]
    assert padded
    for batch in padded:
        assert batch.layout.lengths[-1] == batch.padding
        assert batch.num_sequences == len(batch.layout.lengths) - 1
        assert batch.layout.num_tokens == 64
        assert max(batch.layout.lengths[:-1]) <= 7


def test_evaluation_keeps_whole_sequences(make_data):
    plain, warming = (make_data(LENGTHS, evaluation=True, **wanted) for wanted in ({}, BOTH))
    assert [batch.layout.lengths for batch in plain] == [batch.layout.lengths for batch in warming]
    assert max(max(batch.layout.lengths) for batch in warming) == 16


def test_pieces_of_a_mixture_are_shown_with_their_source(make, tokenizer):
    (step,) = first_steps(make("mixture", length_warmup=LENGTH), 1)
    (micro,) = step.micro_batches
    names = make("mixture").corpus.source_names(micro.pieces)
    shown = show(micro.batch, tokenizer, names)
    assert len(shown.sequences) == len(names) == micro.batch.num_sequences
    assert all(spans[0].style == "source" for spans in shown.sequences)
    assert {spans[0].text for spans in shown.sequences} == {"(a)", "(b)"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("packed", [True, False])
def test_the_audit_passes_and_says_what_was_cut(make, kind, packed):
    found = audit(make(kind, pack_sequences=packed, **BOTH), None, 60)
    assert found.faults == ()
    assert any("complete epoch" in fact for fact in found.facts)
    (said,) = (fact for fact in found.facts if fact.startswith("length warm-up: "))
    assert "which make them up token by token" in said


def test_the_audit_counts_the_steps_that_there_are(make):
    data = make(pack_sequences=False, packing_window=4, overflow="truncate", **BOTH)
    found = audit(data, None, 9)
    walked = int(found.facts[0].split()[1])
    assert BATCH.before(9) <= walked <= BATCH.before(9) + 2
    (cut,) = (fact for fact in audit(data, None, 30).facts if fact.startswith("length warm-up"))
    assert int(cut.split()[2]) == 4 * BATCH.before(LENGTH.steps), "four sequences a micro-batch, as long as it lasts"


def test_a_cut_that_loses_tokens_is_found_by_the_audit(monkeypatch, make):
    cut = shortening.cuts

    def forgetful(lengths, limit):
        sequence, begin, end = cut(lengths, limit)
        return sequence, begin, np.where(end - begin == limit, end - 1, end)

    monkeypatch.setattr(shortening, "cuts", forgetful)
    for kind in ("stored", "mixture"):
        (fault, *_) = audit(make(kind, **BOTH), None, 20).faults
        assert "sequences that their pieces do not make up: document " in fault


@pytest.mark.parametrize("world", [1, 2])
def test_the_steps_that_are_left_are_counted(make, world):
    data = make("ending mixture", world_size=world, **BOTH)
    steps = list(data.steps(data.start(), 0))
    data.close()
    assert steps[-1].last
    assert steps_left(data, data.start(), 1000) == len(steps)
    assert steps_left(data, data.start(), len(steps)) is None
    assert steps_left(data, steps[5].cursor, 1000, done=6) == len(steps) - 6
