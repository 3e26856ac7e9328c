"""Examples of texts by role: what a collator gets of a row, what is cut and left out, and what is refused by row."""

from __future__ import annotations

from copy import deepcopy
from itertools import islice

import datasets
import numpy as np
import pytest
from tokenizers import normalizers

from neobert import Roles, UserError
from neobert.data.build import LABELS_SHOWN
from neobert.data.example_build import examples_of
from neobert.data.example_form import ExampleForm
from neobert.served import CollatorKeys, DatasetKeys

PAIRS = Roles(required=("query", "positive"), optional=("negatives", "teacher_scores", "teacher_vector"))
LABELLED = Roles(required=("text", "label"))
SCORED = Roles(required=("sentence1", "sentence2", "score"))


@pytest.fixture
def examples(tokenizer):
    """``examples(roles, {column: values}, **keys)`` -> `Examples`."""

    def make(roles, columns, labels=(), label="train", **keys):
        rows = columns if isinstance(columns, datasets.Dataset) else datasets.Dataset.from_dict(columns)
        names = {"overflow"}
        collator = CollatorKeys(**{name: keys.pop(name) for name in names & keys.keys()})
        form = ExampleForm.of(roles, tokenizer, DatasetKeys(**{"max_seq_length": 8} | keys), collator)
        from attrs import evolve

        return examples_of(rows, evolve(form, labels=tuple(labels)), label=label)

    return make


def ids(tokenizer, text, most=6):
    """As a collator gets a text: cut, special tokens around it."""
    bare = tokenizer(text, add_special_tokens=False)["input_ids"][:most]
    return [2, *bare, 3]


def plain(example):
    return {
        name: [part.tolist() for part in value] if isinstance(value, tuple) else np.asarray(value).tolist()
        for name, value in example.items()
    }


def test_a_row_by_role(examples, tokenizer):
    columns = {
        "query": ["w1 w2", "w3"],
        "positive": ["w4", "w5 w6"],
        "negatives": [["w7 w8", "w9"], []],
        "teacher_vector": [[0.5, 1.0], [2.0, 3.0]],
    }
    found = examples(PAIRS, columns)
    assert plain(found.example(0)) == {
        "query": ids(tokenizer, "w1 w2"),
        "positive": ids(tokenizer, "w4"),
        "negatives": [ids(tokenizer, "w7 w8"), ids(tokenizer, "w9")],
        "teacher_vector": [0.5, 1.0],
    }
    assert plain(found.example(1))["negatives"] == []
    example = found.example(0)
    assert (example["query"].dtype, example["teacher_vector"].dtype) == (np.int64, np.float32)
    assert found.lengths.tolist() == [4 + 3 + 4 + 3, 3 + 4]
    assert found.ids(0, 0, 14).tolist() == [2, 6, 7, 3, 2, 9, 3, 2, 12, 13, 3, 2, 14, 3]


def test_without_negatives_in_the_data_there_is_no_such_role(examples):
    assert examples(PAIRS, {"query": ["w1"], "positive": ["w2"]}).example(0).keys() == {"query", "positive"}


def test_negatives_of_several_columns_are_joined_in_number_order(examples, tokenizer):
    columns = {"query": ["w1"], "positive": ["w2"], "negative_10": ["w5"], "negative_2": ["w4"], "negatives": [["w3"]]}
    assert plain(examples(PAIRS, columns).example(0))["negatives"] == [ids(tokenizer, f"w{n}") for n in (3, 4, 5)]


def test_uneven_and_empty_negatives(examples, tokenizer):
    columns = {
        "query": ["w1"] * 4,
        "positive": ["w2"] * 4,
        "negatives": [["w3", "", None, "  ", "w4"], None, [], ["w5"]],
    }
    found = examples(PAIRS, columns)
    assert [len(found.example(row)["negatives"]) for row in range(4)] == [2, 0, 0, 1]
    assert plain(found.example(0))["negatives"] == [ids(tokenizer, "w3"), ids(tokenizer, "w4")]


def test_numbers(examples):
    found = examples(LABELLED, {"text": ["w1", "w2"], "label": [5, -1]})
    assert [found.example(row)["label"] for row in (0, 1)] == [5, -1]
    found = examples(LABELLED, {"text": ["w1", "w2", "w3"], "label": ["b", "a", "b"]}, labels=("a", "b"))
    assert [found.example(row)["label"] for row in range(3)] == [1, 0, 1]
    scores = {"sentence1": ["w1", "w2"], "sentence2": ["w3", "w4"], "score": [1, 0]}
    found = examples(SCORED, scores)
    assert [found.example(row)["score"] for row in (0, 1)] == [1.0, 0.0]
    assert isinstance(found.example(0)["score"], float)


def test_every_text_is_cut_and_counted_by_role(examples, tokenizer):
    from neobert.data.example_report import count_examples

    long = " ".join(f"w{n}" for n in range(20))
    columns = {"query": ["w1", long], "positive": [long, long], "negatives": [["w1", long], [long, "w2"]]}
    found = examples(PAIRS, columns)
    assert plain(found.example(1))["query"] == ids(tokenizer, long)
    assert len(found.example(1)["query"]) == 8
    counts = count_examples([found])
    assert {role.name: (role.texts, role.cut) for role in counts.roles if role.texts} == {
        "query": (2, 1),
        "positive": (2, 2),
        "negatives": (4, 2),
    }
    assert "role positive: 2 texts, 12 tokens; 2 cut to 6 tokens" in list(counts.lines())
    with pytest.raises(
        UserError, match=r"2 rows left out with a text of more than 6 tokens, as datacollator\.overflow"
    ):
        examples(PAIRS, columns, overflow="drop")
    kept = examples(PAIRS, {"query": ["w1", long], "positive": ["w1", "w2"]}, overflow="drop")
    assert (kept.lengths > 0).tolist() == [True, False]


def test_a_row_with_nothing_in_a_required_role_is_left_out_and_counted(examples):
    from neobert.data.example_report import count_examples

    columns = {"query": ["w1", "", None, " \n", "w2"], "positive": ["w1", "w1", "w1", "w1", None]}
    found = examples(PAIRS, columns)
    assert (found.lengths > 0).tolist() == [True, False, False, False, False]
    assert "4 rows left out with nothing in a role (query 3, positive 1)" in list(count_examples([found]).lines())
    found = examples(LABELLED, {"text": ["w1", "w2"], "label": [None, 1]})
    assert (found.lengths > 0).tolist() == [False, True]
    found = examples(SCORED, {"sentence1": ["w1"] * 2, "sentence2": ["w2"] * 2, "score": [0.5, None]})
    assert (found.lengths > 0).tolist() == [True, False]


def test_no_pair_left(examples):
    with pytest.raises(
        UserError, match=r"eval has no example left: 2 rows left out with nothing in a role \(positive 2\)"
    ):
        examples(PAIRS, {"query": ["w1", "w2"], "positive": ["", None]}, label="eval")


def test_prefixes_are_tokenized_with_their_text_and_kept_whole(examples, tokenizer):
    columns = {"query": ["w1 w2 w3 w4 w5 w6 w7", "w1"], "positive": ["w5", "w6"], "negatives": [["w7"], ["w8"]]}
    prefixes = {"query": "w90 w91 ", "positive": "w92 ", "negatives": "w92 "}
    found = examples(PAIRS, columns, role_prefixes=prefixes)
    assert plain(found.example(0)) == {
        "query": ids(tokenizer, "w90 w91 w1 w2 w3 w4"),
        "positive": ids(tokenizer, "w92 w5"),
        "negatives": [ids(tokenizer, "w92 w7")],
    }


def test_a_prefix_makes_no_text_of_an_empty_one(tokenizer):
    """Nor of one that the tokenizer makes nothing of."""
    mute = deepcopy(tokenizer)
    mute.backend_tokenizer.normalizer = normalizers.Replace("#", "")
    form = ExampleForm.of(PAIRS, mute, DatasetKeys(max_seq_length=8, role_prefixes={"query": "w90 "}), CollatorKeys())
    columns = {"query": ["w1", "", "\u00a0", "##", "w90"], "positive": ["w5"] * 5}
    found = examples_of(datasets.Dataset.from_dict(columns), form)
    assert (found.lengths > 0).tolist() == [True, False, False, False, True]


def test_prefixes_that_leave_no_room_are_all_named(examples):
    prefixes = {"query": " ".join(["w1"] * 6), "positive": " ".join(["w1"] * 9), "negatives": "w1"}
    with pytest.raises(UserError) as error:
        examples(PAIRS, {"query": ["w1"], "positive": ["w2"]}, role_prefixes=prefixes)
    assert "dataset.role_prefixes.query has 6 tokens, and a sequence holds 6" in str(error.value)
    assert "dataset.role_prefixes.positive has 9 tokens" in str(error.value)


def test_negatives_that_a_prefix_alone_would_tell_apart_are_refused(examples):
    columns = {"query": ["w1"], "positive": ["w2"], "negatives": [["w3"]]}
    with pytest.raises(UserError, match=r"prefixes\.positive is set and dataset\.prefixes\.negatives is not"):
        examples(PAIRS, columns, role_prefixes={"positive": "w9 "})
    examples(PAIRS, columns, role_prefixes={"positive": "w9 ", "negatives": ""})
    examples(PAIRS, {**columns, "negatives": [[]]}, role_prefixes={"positive": "w9 "})


def test_a_prefix_that_the_tokenizer_does_not_know_is_said(examples, caplog):
    examples(PAIRS, {"query": ["w1"], "positive": ["w2"]}, role_prefixes={"query": "frage: "})
    assert (
        "dataset.role_prefixes.query = 'frage: ': the tokenizer does not know all of it; it reads [UNK]" in caplog.text
    )


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"teacher_vector": [[1.0, 2.0], [1.0]]}, "row 1 of train: teacher_vector has 1 numbers and others have 2"),
        ({"teacher_vector": [[1.0], None]}, "row 1 of train: teacher_vector has nothing"),
        ({"teacher_vector": [[1.0], [float("nan")]]}, "row 1 of train: teacher_vector has nan among its numbers"),
        (
            {"teacher_scores": [[1.0, 0.5], [1.0]], "negatives": [["w5"], ["w6"]]},
            "row 1 of train: teacher_scores has 1",
        ),
        (
            {"teacher_scores": [[1.0, 0.5], [1.0]], "negatives": [["w5"], []]},
            "row 1 of train: teacher_scores has 1 numbers and others have 2",
        ),
        (
            {"teacher_scores": [[1.0, 0.5]] * 2, "negatives": [["w5"], [""]]},
            "row 1 of train: .* with an empty negative",
        ),
    ],
)
def test_what_a_teacher_says_fits_every_row(examples, columns, said):
    with pytest.raises(UserError, match=said):
        examples(PAIRS, {"query": ["w1", "w2"], "positive": ["w3", "w4"], **columns})


def test_a_score_that_is_no_number(examples):
    scores = {"sentence1": ["w1"] * 2, "sentence2": ["w2"] * 2, "score": [0.5, float("inf")]}
    with pytest.raises(UserError, match="row 1 of train: score is inf, expected a finite number"):
        examples(SCORED, scores)


def test_texts_that_are_not_utf8_are_named_by_row(examples, tmp_path):
    import pyarrow as pa

    good, bad = (pa.array(texts, pa.binary()) for texts in ([b"w1", b"w2"], [b"w1", b"\xff"]))
    table = pa.table(
        {"query": good.cast(pa.string()), "positive": pa.Array.from_buffers(pa.string(), 2, bad.buffers())}
    )
    with pytest.raises(UserError, match="row 1 of train is not UTF-8: byte 0xff"):
        examples(PAIRS, datasets.Dataset(pa.Table.from_arrays(table.columns, names=table.column_names)))


def test_tokenized_once_for_each_tokenizer_prefix_and_content(examples, monkeypatch):
    from neobert.data import example_build

    columns = {"query": ["w1", "w2"], "positive": ["w3", "w4"]}
    written = []
    real = example_build._Work.write_texts
    monkeypatch.setattr(example_build._Work, "write_texts", lambda self, *args: written.append(1) or real(self, *args))
    first = examples(PAIRS, columns)
    assert examples(PAIRS, columns, max_seq_length=5).fingerprint == first.fingerprint
    assert len(written) == 1
    rows = datasets.Dataset.from_dict({name: values * 2 for name, values in columns.items()})
    assert examples(PAIRS, rows.select([0, 1])).fingerprint == first.fingerprint
    assert len(written) == 1
    others = {
        examples(PAIRS, columns, role_prefixes={"query": "w9 "}).fingerprint,
        examples(PAIRS, {**columns, "positive": ["w3", "w5"]}).fingerprint,
        examples(PAIRS, {**columns, "negatives": [["w5"], []]}).fingerprint,
    }
    assert len(others | {first.fingerprint}) == 4
    assert len(written) == 4


def test_a_damaged_cache_is_named(examples):
    from neobert.data.example_store import open_table

    folder = examples(PAIRS, {"query": ["w1"], "positive": ["w2"]}).table.folder
    with (folder / "ids.bin").open("ab") as file:
        file.write(b"\0\0")
    with pytest.raises(UserError, match="the cache of examples is damaged"):
        open_table(folder)


def test_token_ids_in_the_place_of_texts(examples, tokenizer):
    found = examples(PAIRS, {"query": [[6, 7]], "positive": [[8]], "negatives": [[[9, 10], [11]]]})
    assert plain(found.example(0)) == {
        "query": [2, 6, 7, 3],
        "positive": [2, 8, 3],
        "negatives": [[2, 9, 10, 3], [2, 11, 3]],
    }
    with pytest.raises(UserError, match="row 1 of train has the id 900, but the tokenizer's ids are 0 to 104"):
        examples(PAIRS, {"query": [[6], [900]], "positive": [[8], [9]]})
    with pytest.raises(UserError, match="row 1 of train has an empty value among its ids"):
        examples(PAIRS, {"query": [[6], [7, None]], "positive": [[8], [9]]})
    with pytest.raises(UserError, match="row 0 of train has the tokenizer's special tokens around its ids"):
        examples(PAIRS, {"query": [[2, 6, 3]], "positive": [[8]]})
    with pytest.raises(UserError, match=r"dataset\.prefixes is set, and train is tokenized already"):
        examples(PAIRS, {"query": [[6]], "positive": [[8]]}, role_prefixes={"query": "w1"})


def test_labels_that_are_strings_are_numbered_over_both_splits(make_examples, caplog):
    from neobert_plugins.collators.role_options import Labelled

    caplog.set_level("INFO")
    names = [f"c{number:02d}" for number in range(12)]
    train = datasets.Dataset.from_dict({"text": [f"w{n}" for n in range(12)], "label": names[::-1]})
    held_out = datasets.Dataset.from_dict({"text": ["w50"], "label": ["b"]})
    training, evaluation = make_examples(train, Labelled(), held_out=held_out)
    assert [training.corpus.documents.example(row)["label"] for row in (0, 11)] == [12, 1]
    assert next(iter(evaluation)).fields["label"].tolist() == [0]
    assert "labels: 13 strings as whole numbers, by sorted value: 0 = 'b', 1 = 'c00'" in caplog.text
    assert caplog.text.count(" = 'c") == LABELS_SHOWN - 1


def test_class_labels_keep_their_numbers(make_examples):
    from neobert_plugins.collators.role_options import Labelled

    kind = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["z", "a"])})
    train = datasets.Dataset.from_dict({"text": [f"w{n}" for n in range(8)], "label": [0, 1] * 4}, features=kind)
    training, _ = make_examples(train, Labelled())
    assert [training.corpus.documents.example(row)["label"] for row in (0, 1)] == [0, 1]


def test_sentences_come_twice_and_a_packed_batch_has_room_for_them(make_examples, make_pairs):
    from neobert_plugins.collators.role_options import Sentences

    rows = make_pairs(60).remove_columns("positive")
    data, _ = make_examples(rows, Sentences(), role_columns={"sentence": "query"}, pack_sequences=True)
    for step in islice(data.steps(data.start(), 0), 20):
        batch = step.micro_batches[0].batch
        assert batch.layout.num_tokens == 64
        half = batch.num_sequences // 2
        assert batch.layout.lengths[:half] == batch.layout.lengths[half : 2 * half]
        assert batch.fields["text_key"][:half].tolist() == batch.fields["text_key"][half:].tolist()
    data.close()
