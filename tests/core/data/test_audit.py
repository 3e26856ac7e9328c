"""The audit finds every way in which a plan could lose, repeat or leak data."""

from __future__ import annotations

import re

import attrs
import datasets
import numpy as np
import pytest

from neobert import Mixture, MixtureSource
from neobert.data.audit import audit
from neobert.data.build import corpus_of, documents_of
from neobert.data.mixed_rows import mixed_stream
from neobert.data.mixed_source import MixedSource
from neobert.data.plan import OrderedSource, Planner
from neobert.data.sequences import Pieces
from neobert.data.training_data import TrainingData
from neobert.mixture import SOURCE_COLUMN

LENGTHS = [*np.random.default_rng(2).integers(0, 40, 90).tolist(), 0, 1]
KINDS = [{}, {"pack_sequences": False}, {"overflow": "truncate"}, {"overflow": "drop"}, {"world_size": 2}]


def streamed(make_rows, make_data, **wanted):
    return make_data(LENGTHS, rows=make_rows(LENGTHS).to_iterable_dataset(), **wanted)


@pytest.mark.parametrize("wanted", KINDS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("steps", [1, 60])
def test_our_plans_pass(make_rows, make_data, wanted, stream, steps):
    data = streamed(make_rows, make_data, **wanted) if stream else make_data(LENGTHS, **wanted)
    found = audit(data, None, steps)
    assert found.faults == ()
    assert any("complete epoch" in fact for fact in found.facts)


def test_what_is_walked_is_said(make_data):
    found = audit(make_data(LENGTHS, overflow="truncate"), None, 60)
    documents = sum(length > 0 for length in LENGTHS)
    over = sum(max(length - 14, 0) for length in LENGTHS)
    assert f"{documents} documents as {documents} sequences: 3 complete epochs" in found.facts[1]
    assert found.facts[2].startswith(f"{over:,} tokens are left out, as datacollator.overflow = 'truncate'")


def spoil(monkeypatch, change):
    """Every window of every source, changed."""
    window = OrderedSource.window

    def changed(self, epoch, number):
        return change(window(self, epoch, number), epoch)

    monkeypatch.setattr(OrderedSource, "window", changed)


def shortened(pieces, epoch):
    return Pieces(pieces.document, pieces.start, np.where(np.arange(len(pieces)) == 3, pieces.stop - 1, pieces.stop))


CHANGES = {
    "lost": (lambda pieces, epoch: pieces[1:], "did not come once an epoch"),
    "lost in the second epoch": (lambda pieces, epoch: pieces[epoch == 1 :], "did not come once an epoch"),
    "repeated": (lambda pieces, epoch: pieces[np.append(np.arange(len(pieces)), 2)], "did not come once an epoch"),
    "one in place of another": (
        lambda pieces, epoch: pieces[np.append(np.arange(len(pieces) - 1), 2)],
        "did not come once an epoch",
    ),
    "cut elsewhere": (shortened, "that no document is cut into"),
    "of no document": (lambda pieces, epoch: Pieces(pieces.document + 80, pieces.start, pieces.stop), "no document"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_wrong_is_found_and_named(monkeypatch, make_data, change):
    spoil(monkeypatch, CHANGES[change][0])
    found = audit(make_data(LENGTHS), None, 120)
    assert any(CHANGES[change][1] in fault for fault in found.faults), found
    assert any("document " in fault for fault in found.faults)


def test_a_carry_that_is_forgotten_is_found(monkeypatch, make_data):
    plan = Planner.plan

    def forgetful(self, cursor):
        found = plan(self, cursor)
        return attrs.evolve(found, after=attrs.evolve(found.after, carry=found.after.carry[1:]))

    monkeypatch.setattr(Planner, "plan", forgetful)
    assert audit(make_data(LENGTHS), None, 60).faults


@pytest.mark.parametrize("stream", [False, True])
def test_an_evaluation_document_in_training_is_found(make_rows, make_data, stream):
    data = streamed(make_rows, make_data) if stream else make_data(LENGTHS)
    held_out = make_data(LENGTHS, evaluation=True)  # the very same documents
    (fault,) = audit(data, held_out, 60).faults
    assert f"{sum(length > 0 for length in LENGTHS)} documents that are evaluated on and trained on" in fault
    other = make_data([34, 36, 38, 21], evaluation=True)
    found = audit(data, other, 60)
    assert found.faults == ()
    assert "4 documents are compared by content" in found.facts[-1]


SOURCES = {"web": LENGTHS, "books": np.random.default_rng(9).integers(1, 9, 70).tolist()}
MIXTURE = Mixture(
    sources=(MixtureSource(name="web", weight=0.6, min_length=3), MixtureSource(name="books", weight=0.4))
)


@pytest.fixture
def make_mixed(make_data, make_rows, tokenizer):
    """Training data of both sources; those named in ``streams`` are streams."""

    def make(streams=(), mixture=MIXTURE, **wanted):
        parts = {name: make_rows(found, seed=seed) for seed, (name, found) in enumerate(SOURCES.items(), start=1)}
        parts |= {name: parts[name].to_iterable_dataset() for name in streams}
        rows = mixed_stream(parts) if streams else joined(parts)
        data = make_data([5], **wanted)
        return attrs.evolve(data, corpus=corpus_of(rows, tokenizer, data.dataset_keys, data.collator_keys, mixture))

    return make


def joined(parts):
    return datasets.concatenate_datasets(
        [rows.add_column(SOURCE_COLUMN, [number] * len(rows)) for number, rows in enumerate(parts.values())]
    )


STREAMS = [(), ("web",), ("web", "books")]


@pytest.mark.parametrize("streams", STREAMS)
@pytest.mark.parametrize("wanted", [{}, {"pack_sequences": False}, {"overflow": "truncate", "world_size": 2}])
@pytest.mark.parametrize("stop", [False, True])
def test_mixtures_pass(make_mixed, streams, wanted, stop):
    mixture = attrs.evolve(MIXTURE, when_exhausted="stop") if stop else MIXTURE
    found = audit(make_mixed(streams, mixture, **wanted), None, 80)
    assert found.faults == ()
    told = "\n".join(found.facts)
    assert "of source web as" in told
    assert "70 documents of source books as 70 sequences: " in told
    assert ("the data ends there" in told) == stop


@pytest.mark.parametrize("streams", STREAMS)
def test_what_a_mixture_loses_is_named_with_its_source(monkeypatch, make_mixed, streams):
    window = MixedSource.window

    def forgetful(self, epoch, number):
        """Drops one sequence of books in the second window."""
        found = window(self, epoch, number)
        books = np.flatnonzero(found.document >= len(LENGTHS) if not streams else found.document % 2 == 1)
        return found[np.delete(np.arange(len(found)), books[:1])] if number == 1 else found

    monkeypatch.setattr(MixedSource, "window", forgetful)
    (fault,) = audit(make_mixed(streams), None, 120).faults
    assert fault.startswith("1 sequences that did not come once an epoch: document ")
    assert "of source books tokens" in fault


@pytest.mark.parametrize("streams", STREAMS)
def test_a_lane_that_repeats_its_order_is_found(monkeypatch, make_mixed, streams):
    """The last sequence of each plan's first micro-batch comes in the place of the first one."""
    pieces = TrainingData.pieces

    def repeating(self, cursor):
        for number, (found, after) in enumerate(pieces(self, cursor)):
            yield (found[np.append(np.arange(1, len(found)), -1)] if number == 4 else found), after

    monkeypatch.setattr(TrainingData, "pieces", repeating)
    faults = audit(make_mixed(streams), None, 80).faults
    assert faults
    assert all(
        re.search(r"document \d+ of source (web|books) tokens \d+:\d+|sequences of source", fault) for fault in faults
    )


@pytest.mark.parametrize("streams", STREAMS)
def test_a_document_held_out_from_one_source_is_found_in_it(make_mixed, make_rows, make_data, tokenizer, streams):
    documents = documents_of(make_rows(SOURCES["books"], seed=2).select(range(5)), tokenizer)
    held_out = attrs.evolve(make_data([9], evaluation=True), documents=documents)
    (fault,) = audit(make_mixed(streams), held_out, 80).faults
    assert "document 0 of source books is evaluation row 0" in fault
