"""Files of tasks: what they hold, and every fault with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from neobert.errors import UserError
from neobert.evaluation.beir import read_beir
from neobert.evaluation.data import read_classification, read_pairs, read_similarity
from neobert.evaluation.run import read_tasks


def written(path: Path, *rows: object) -> Path:
    """One row a line: text as it is, anything else as JSON."""
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def refused(read: object, path: Path) -> list[str]:
    with pytest.raises(UserError) as error:
        read(path)  # type: ignore[operator]
    return str(error.value).replace(f"{path}:", "").splitlines()


def test_pairs_of_one_text_are_one(tmp_path: Path) -> None:
    file = written(
        tmp_path / "pairs.jsonl",
        {"query": "q1", "positive": "a", "id": 7},
        {"query": "q2", "positive": ["b", "a"], "negatives": ["c", "b"]},
        "",
        {"query": "q1", "positive": "d"},
    )
    data = read_pairs(file)
    assert data.queries == ("q1", "q2")
    assert data.candidates == ("a", "b", "c", "d")
    assert sorted(data.right) == [(0, 0, 1.0), (0, 3, 1.0), (1, 0, 1.0), (1, 1, 1.0)]


def test_every_fault_of_pairs_has_its_line(tmp_path: Path) -> None:
    file = written(
        tmp_path / "pairs.jsonl",
        {"query": "q", "positive": "a"},
        "{not json}",
        {"query": "q", "positiv": "a"},
        {"query": 3, "positive": "a"},
        {"query": "q", "positive": ["a", ""]},
        "[1]",
        {"query": "  ", "positive": "a", "negatives": 5},
    )
    lines = refused(read_pairs, file)
    assert [line.partition(":")[0] for line in lines[:-1]] == ["2", "3", "4", "5", "6", "7", "7"]
    assert lines[0].startswith("2: no JSON")
    assert lines[1] == "3: no 'positive'; it has 'query', 'positiv'; did you mean it by 'positiv'?"
    assert lines[2] == "4: 'query' is 3, expected a text that is not empty"
    assert lines[4] == "6: expected an object, found list"
    assert '{"query": "..."' in lines[-1]


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_bytes(b'{"query": "q", "positive": "a"}\n{"query": "\xff", "positive": "a"}\n')
    assert refused(read_pairs, file)[0] == "2: not UTF-8: byte 0xff at 11"


def test_many_faults_are_counted(tmp_path: Path) -> None:
    lines = refused(read_pairs, written(tmp_path / "pairs.jsonl", *["x"] * 50))
    assert len(lines) == 22
    assert lines[20] == "... and 30 more"


def test_similarity(tmp_path: Path) -> None:
    rows = [{"sentence1": "a", "sentence2": "b", "score": 1}, {"sentence1": "c", "sentence2": "d", "score": 0.5}]
    data = read_similarity(written(tmp_path / "s.jsonl", *rows))
    assert (data.first, data.second, data.scores) == (("a", "c"), ("b", "d"), (1.0, 0.5))
    lines = refused(read_similarity, written(tmp_path / "t.jsonl", rows[0] | {"score": "1"}, rows[0] | {"score": True}))
    assert lines[0] == "1: 'score' is \"1\", expected a finite number"
    assert lines[1] == "2: 'score' is true, expected a finite number"
    assert "no two pairs with different scores" in refused(read_similarity, written(tmp_path / "u.jsonl", rows[0]))[0]


def test_classification(tmp_path: Path) -> None:
    rows = [
        {"text": "a", "label": "x", "split": "train"},
        {"text": "b", "label": 3, "split": "train"},
        {"text": "c", "label": "3", "split": "test"},
    ]
    data = read_classification(written(tmp_path / "c.jsonl", *rows))
    assert (data.train_labels, data.test, data.test_labels) == (("x", "3"), ("c",), ("3",))
    bad = written(tmp_path / "d.jsonl", *rows, {"text": "d", "label": 1.5, "split": "dev"})
    assert refused(read_classification, bad)[:2] == [
        "4: 'label' is 1.5, expected a text or a whole number",
        "4: 'split' is \"dev\", expected one of train, test",
    ]
    assert 'no line has "split": "test"' in refused(read_classification, written(tmp_path / "e.jsonl", *rows[:2]))[0]
    unknown = written(tmp_path / "f.jsonl", *rows, {"text": "d", "label": "new", "split": "test"})
    assert "labels of the split test that no line of train has: new" in refused(read_classification, unknown)[0]


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    written(
        tmp_path / "corpus.jsonl",
        {"_id": "d1", "title": "Title", "text": "one"},
        {"_id": "d2", "text": "two"},
        {"_id": "d3", "title": "", "text": "two"},
    )
    written(tmp_path / "queries.jsonl", {"_id": "q1", "text": "first"}, {"_id": "q2", "text": "second"})
    written(tmp_path / "qrels" / "test.tsv", "query-id\tcorpus-id\tscore", "q1\td1\t2", "q1\td3\t1", "q1\td2\t0")
    return tmp_path


def test_beir(beir: Path) -> None:
    data = read_beir(beir)
    assert data.queries == ("first",)
    assert data.candidates == ("Title one", "two")
    assert sorted(data.right) == [(0, 0, 2.0), (0, 1, 1.0)]
    assert any("1 query left out" in note for note in data.notes)


def test_every_fault_of_beir_has_its_line(beir: Path) -> None:
    written(
        beir / "qrels" / "test.tsv", "query-id\tcorpus-id\tscore", "q9\td1\t2", "q1\td9\t2", "q1\td1", "q1\td1\thigh"
    )
    lines = refused(read_beir, beir)
    qrels = f"{beir / 'qrels' / 'test.tsv'}"
    assert lines[:4] == [
        f"{qrels}:2: 'q9' is no _id of queries.jsonl",
        f"{qrels}:3: 'd9' is no _id of corpus.jsonl",
        f"{qrels}:4: has 2 columns, expected query-id <tab> corpus-id <tab> score",
        f"{qrels}:5: score 'high' is no whole number",
    ]
    written(beir / "corpus.jsonl", {"_id": "d1", "text": "one"}, {"_id": "d1", "text": "two"})
    assert "a second line with the _id 'd1'" in refused(read_beir, beir)[0]


def test_a_folder_without_answers(tmp_path: Path) -> None:
    written(tmp_path / "corpus.jsonl", {"_id": "d1", "text": "one"})
    lines = refused(read_beir, tmp_path)
    assert "queries.jsonl: cannot be read" in lines[0]
    assert "no qrels/test.tsv" in lines[1]


def test_faults_of_all_tasks_come_in_one_answer(tmp_path: Path) -> None:
    bad = written(tmp_path / "pairs.jsonl", "x")
    with pytest.raises(UserError) as error:
        read_tasks([f"retrieval={bad}", "similarity=nowhere.jsonl", "retreival=x", "classification=", "pairs.jsonl"])
    said = str(error.value)
    assert f"{bad}:1: no JSON" in said
    assert "nowhere.jsonl: no such file" in said
    assert "no task is called 'retreival'; did you mean 'retrieval'?" in said
    assert "--tasks classification=: a file, or the name of a task, goes behind the =" in said
    assert "no task is called 'pairs.jsonl'" in said
