"""Evaluation sees the same batches every time, each document once."""

from __future__ import annotations

import numpy as np
import pytest

from neobert.errors import UserError

LENGTHS = np.random.default_rng(2).integers(0, 40, 50).tolist()


def contents(batches):
    return [
        (batch.layout.lengths, batch.input_ids.tolist(), batch.fields["masked_positions"].tolist()) for batch in batches
    ]


def words(data, batches):
    found = []
    for batch in batches:
        ids = batch.input_ids.clone()
        ids[batch.fields["masked_positions"]] = batch.fields["labels"]
        found += [token for token in ids.tolist() if token >= 5]
    return found


@pytest.mark.parametrize("packed", [True, False])
def test_the_same_every_time_and_every_document_in_order(make_data, packed):
    data = make_data(LENGTHS, evaluation=True, pack_sequences=packed)
    first = list(data)
    assert contents(data) == contents(first) == contents(make_data(LENGTHS, evaluation=True, pack_sequences=packed))
    in_order = [token for row, length in enumerate(LENGTHS) for token in data.documents.ids(row, 0, length).tolist()]
    assert words(data, first) == in_order
    assert all(batch.padding == 0 for batch in first)
    assert len(data) == len(first)


def test_training_between_evaluations_changes_nothing(make_data):
    evaluation, training = make_data(LENGTHS, evaluation=True), make_data(LENGTHS)
    before = contents(evaluation)
    next(training.steps(training.start(), 0))
    assert contents(evaluation) == before


def test_ranks_share_the_batches(make_data):
    alone = contents(make_data(LENGTHS, evaluation=True))
    ranks = [contents(make_data(LENGTHS, evaluation=True, rank=rank, world_size=2)) for rank in (0, 1)]
    assert ranks == [alone[0::2], alone[1::2]]


def test_a_limit_takes_the_first(make_data):
    alone = contents(make_data(LENGTHS, evaluation=True))
    assert contents(make_data(LENGTHS, evaluation=True, eval_max_batches=3)) == alone[:3]


def test_batches_stay_within_the_budget(make_data):
    assert all(batch.num_tokens <= 64 for batch in make_data(LENGTHS, evaluation=True))
    assert {batch.num_sequences for batch in make_data(LENGTHS, evaluation=True, pack_sequences=False)} <= {
        1,
        2,
        3,
        4,
    }


def test_nothing_to_evaluate_on_is_an_error(make_data):
    with pytest.raises(UserError, match="no document to evaluate on"):
        make_data([0], evaluation=True)
