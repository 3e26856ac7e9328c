"""The audit finds every way in which a plan could lose, repeat or leak data."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from neobert.data.audit import audit
from neobert.data.plan import OrderedSource, Planner
from neobert.data.sequences import Pieces

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
    assert any("complete epochs" in fact for fact in found.facts)


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
