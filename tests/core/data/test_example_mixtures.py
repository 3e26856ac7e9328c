"""Mixtures of examples: each source has its own columns and prefixes, shares are exact, batches of one or of all."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import datasets
import pytest
from attrs import frozen

from neobert import Part, UserError
from neobert.data.audit import audit
from neobert.data.cursor import Cursor
from neobert.mixture import SOURCE_COLUMN
from neobert_plugins.collators.role_options import Labelled, Pairs
from neobert_plugins.datasets.mix_options import Mix, Selection

STREAMS = [False, True]
WEIGHTS = {"qa": 3.0, "code": 1.0}
COLUMNS = {
    "qa": Selection(role_columns={"query": "question", "positive": "answer"}, role_prefixes={"query": "w90 "}),
    "code": Selection(role_prefixes={"query": "w91 "}),
}


@frozen
class Rows:
    """A stranger's dataset."""

    splits: dict

    def build(self, context):
        return self.splits


def source(**splits):
    return Part(kind="dataset", name="rows", options=Rows(splits))


@pytest.fixture
def mixture(make_pairs):
    """``mixture(streams, ...)`` -> the options of a mixture of 90 questions and 60 pieces of code with negatives."""

    def make(streams=False, select=COLUMNS, **keys):
        questions = make_pairs(90, seed=1).rename_columns({"query": "question", "positive": "answer"})
        code = make_pairs(60, seed=2, negatives=(0, 2))
        if streams:
            questions = questions.to_iterable_dataset()
        sources = {"qa": source(train=questions), "code": source(train=code, test=code.select(range(6)))}
        return Mix(sources=sources, select=select, **{"weights": WEIGHTS} | keys)

    return make


def first_steps(data, count, cursor=None, step=0):
    found = list(islice(data.steps(cursor or data.start(), step), count))
    data.close()
    return found


def contents(step):
    (micro,) = step.micro_batches
    return micro.batch.input_ids.tolist(), {name: value.tolist() for name, value in micro.batch.fields.items()}


@pytest.mark.parametrize("streams", STREAMS)
@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_shares_are_exact(make_examples, mixture, streams, alone, packed):
    data, _ = make_examples(
        None,
        dataset=mixture(streams, one_source_a_batch=alone),
        pack_sequences=packed,
        per_device_train_batch_size=6,
    )
    tokens, mixed = Counter(), 0
    for step in first_steps(data, 120):
        tokens.update(step.source_tokens)
        names = data.corpus.source_names(step.micro_batches[0].pieces)
        mixed += len(set(names)) > 1
    assert tokens["qa"] / sum(tokens.values()) == pytest.approx(0.75, abs=0.02)
    assert (mixed == 0) == alone


@pytest.mark.parametrize("streams", STREAMS)
def test_each_source_has_its_own_columns_prefixes_and_negatives(make_examples, mixture, streams, tokenizer):
    data, _ = make_examples(None, dataset=mixture(streams))
    prefix = {"qa": tokenizer("w90")["input_ids"][1], "code": tokenizer("w91")["input_ids"][1]}
    seen = set()
    for step in first_steps(data, 20):
        (micro,) = step.micro_batches
        names = data.corpus.source_names(micro.pieces)
        starts = [0, *micro.batch.layout.cu_seqlens.tolist()[1:]]
        for name, place in zip(names, micro.batch.fields["query"].tolist(), strict=True):
            assert int(micro.batch.input_ids[starts[place] + 1]) == prefix[name]
        owners = micro.batch.fields.get("negative_of")
        seen |= {names[owner] for owner in (owners.tolist() if owners is not None else [])}
    assert seen == {"code"}


@pytest.mark.parametrize("streams", STREAMS)
@pytest.mark.parametrize("alone", [False, True])
def test_any_cursor_continues_the_unbroken_run(make_examples, mixture, streams, alone):
    def make():
        return make_examples(None, dataset=mixture(streams, one_source_a_batch=alone))[0]

    unbroken = first_steps(make(), 40)
    for stop in (1, 13, 30):
        cursor = Cursor.from_json(unbroken[stop - 1].cursor.to_json())
        resumed = first_steps(make(), 40 - stop, cursor, stop)
        assert list(map(contents, resumed)) == list(map(contents, unbroken[stop:]))


@pytest.mark.parametrize("streams", STREAMS)
@pytest.mark.parametrize("alone", [False, True])
def test_the_audit_passes(make_examples, mixture, streams, alone):
    data, _ = make_examples(None, dataset=mixture(streams, one_source_a_batch=alone))
    found = audit(data, None, 60)
    assert found.faults == ()
    assert any("examples of several sources" in fact for fact in found.facts) == alone


def test_a_text_of_two_sources_is_in_no_batch_twice(make_examples, make_pairs):
    rows = make_pairs(80)
    mix = Mix(sources={"a": source(train=rows), "b": source(train=rows)})
    data, _ = make_examples(None, dataset=mix)
    assert audit(data, None, 60).faults == ()
    for step in first_steps(data, 60):
        documents = (step.micro_batches[0].pieces.document % 80).tolist()
        assert len(set(documents)) == len(documents)


def test_stop_ends_where_the_first_source_does(make_examples, mixture):
    data, _ = make_examples(None, dataset=mixture(when_exhausted="stop", one_source_a_batch=True))
    steps = list(data.steps(data.start(), 0))
    data.close()
    assert steps[-1].last
    assert 20 < len(steps) < 80


def test_evaluation_is_source_by_source(make_examples, mixture):
    _, evaluation = make_examples(None, dataset=mixture())
    assert evaluation.sources == {"code": 6}
    assert [evaluation.source_of(number) for number in range(len(evaluation))] == ["code", "code"]


def test_the_report_has_roles_and_sources(make_examples, mixture):
    data, _ = make_examples(None, dataset=mixture())
    lines = data.report.lines()
    assert lines[0].startswith("150 examples, ")
    assert any(line.startswith("source qa: 75.00%") for line in lines)


def test_rows_of_all_sources_have_all_columns(mixture, tokenizer):
    from neobert.testing import make_context

    built = mixture().build(make_context(roles=Pairs.roles))
    assert built["train"].column_names == ["query", "positive", "negatives", SOURCE_COLUMN]
    assert (built["train"][0]["negatives"], built["train"][0][SOURCE_COLUMN]) == (None, 0)
    joined = mixture(True).build(make_context(roles=Pairs.roles))["train"]
    first = list(islice(joined, 2))
    assert [row[SOURCE_COLUMN] for row in first] == [0, 1]
    assert first[0]["negatives"] is None


def refused(mix, roles=Pairs.roles):
    from neobert.testing import make_context

    with pytest.raises(UserError) as error:
        mix.build(make_context(roles=roles))
    return str(error.value)


def test_what_is_wrong_with_a_source_is_said_with_its_name(mixture, make_pairs):
    said = refused(mixture(select={}))
    assert said.startswith("source 'qa': split 'train' does not fit the roles")
    assert 'such as: dataset.select.qa.role_columns = { query = "question", positive = "answer" }' in said
    rows = make_pairs(5)
    scores = rows.add_column("teacher_scores", [[1.0]] * 5)
    said = refused(Mix(sources={"a": source(train=rows), "b": source(train=scores)}))
    assert "teacher_scores: b have it and a have not" in said
    ids = datasets.Dataset.from_dict({"query": [[1]], "positive": [[2]]})
    said = refused(Mix(sources={"a": source(train=rows), "b": source(train=ids)}))
    assert "here a has text, b has token ids" in said


def test_labels_that_mean_two_things_are_refused():
    def named(*names):
        kind = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)})
        return source(train=datasets.Dataset.from_dict({"text": ["w1"], "label": [0]}, features=kind))

    said = refused(Mix(sources={"a": named("x", "y"), "b": named("y", "x")}), Labelled.roles)
    assert "label: the sources name their classes otherwise" in said
    text = source(train=datasets.Dataset.from_dict({"text": ["w1"], "label": ["x"]}))
    assert "label: a has numbers, b has text" in refused(Mix(sources={"a": named("x"), "b": text}), Labelled.roles)


def test_filters_are_of_an_examples_tokens(make_examples, mixture):
    select = {**COLUMNS, "code": Selection(role_prefixes={"query": "w91 "}, min_length=40)}
    data, _ = make_examples(None, dataset=mixture(select=select))
    (line,) = (line for line in data.report.lines() if line.startswith("source code"))
    assert "under min_length" in line
    assert all(
        length >= 40 or name == "qa"
        for step in first_steps(data, 20)
        for name, length in zip(
            data.corpus.source_names(step.micro_batches[0].pieces),
            step.micro_batches[0].pieces.lengths.tolist(),
            strict=True,
        )
    )
