"""Damaged rows of files: each marked with its file and row, all others as they are, stored or as a stream."""

from __future__ import annotations

import bz2
import errno
import gzip
import os
import pickle

import datasets
import pytest

from neobert.damage import DAMAGE_COLUMN
from neobert.errors import UserError
from neobert_plugins.datasets import rows as file_rows
from neobert_plugins.datasets.options import Files, Hub

CASES = {
    "not JSON": ("a.jsonl", b'{"text": "a"}\n{"text"\n\n{"text": "b"}\n', ["a", "row 2 is not JSON", "b"]),
    "the file ends in a row": ("a.jsonl", b'{"text": "a"}\n\n{"text": "b', ["a", "row 3 is not JSON"]),
    "not UTF-8 in JSON": ("a.jsonl", b'{"text": "a"}\n{"text": "\xe9"}\n{', ["a", "row 2 is not UTF-8", "row 3 is"]),
    "no object": ("a.jsonl", b'{"text": "a"}\n[1, 2]\n7\n', ["a", "row 2 is a JSON list", "row 3 is a JSON int"]),
    "lines in a .json file": ("a.json", b'{"text": "a"}\n{"text\n', ["a", "row 2 is not JSON"]),
    "with a byte-order mark": ("a.jsonl", b'\xef\xbb\xbf{"text": "a"}\n{\n', ["a", "row 2 is not JSON"]),
    "half a surrogate": ("a.jsonl", b'{"text": "a"}\n{"text": "\\ud800"}\n{\n', ["a", "row 2 ", "row 3 is"]),
    "not UTF-8": ("a.txt", b"a\r\nb\ncaf\xe9\n\nc", ["a", "b", "row 3 is not UTF-8: byte 0xe9 at 3", "", "c"]),
    "a cut archive": ("a.txt.gz", gzip.compress(b"a\nb\n")[:-9], ["a", "b", "row 3 cannot be read, nor what follows"]),
    "another archive": ("a.jsonl.bz2", bz2.compress(b'{"text": "a"}\n{\n'), ["a", "row 2 is not JSON"]),
    "too many fields": (
        "a.csv",
        b'text,n\n"a\na",1\nb,2,3\nc,4\n',
        ["a\na", "row 2 (line 4) has 3 fields, the h", "c"],
    ),
    "too few are none": ("a.csv", b"text,n\na\nb,2,3\n", ["a", "row 2 (line 3) has 3 fields"]),
    "an open quote": (
        "a.csv",
        b'text,n\na,1\n\n"b,2\nc,3\n',
        ["a", "row 2 (line 4) opens a quote that is never closed"],
    ),
    "tabs": ("a.tsv", b"text\tn\na, b\t1\nb\t2\t3\n", ["a, b", "row 2 (line 3) has 3 fields"]),
    "not UTF-8 in CSV": ("a.csv", b"text,n\n\xe9,1\nb,2\n", ["row 1 (line 2) is not UTF-8: byte 0xe9 at 0", "b"]),
}


def read(tmp_path, name, content, *, streaming, **options):
    (tmp_path / name).write_bytes(content)
    return Files(path=str(tmp_path / name), streaming=streaming, **options).build(None)["train"]


def check(found, file, expected):
    """``expected`` are texts, and beginnings of faults that name their row."""
    assert len(found) == len(expected)
    for row, wanted in zip(found, expected, strict=True):
        if wanted.startswith("row "):
            assert row["text"] is None
            assert row[DAMAGE_COLUMN].startswith(f"{file}: {wanted}")
        else:
            assert (row["text"] or "", row[DAMAGE_COLUMN]) == (wanted, None)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("case", CASES)
def test_a_damaged_row_of_a_stream_is_marked_and_the_others_are_read(tmp_path, case):
    name, content, expected = CASES[case]
    check(list(read(tmp_path, name, content, streaming=True)), tmp_path / name, expected)


@pytest.mark.parametrize("case", ["not JSON", "not UTF-8", "a cut archive", "too many fields"])
def test_stored_files_are_read_the_same_way(tmp_path, case):
    name, content, expected = CASES[case]
    found = read(tmp_path, name, content, streaming=False)
    assert isinstance(found, datasets.Dataset)
    check(list(found), tmp_path / name, expected)


def test_a_value_of_another_type_is_damage_of_its_own_column_alone(tmp_path):
    content = b'{"text": "a", "n": 1}\n{"text": 5, "n": 2}\n{"text": "c", "n": {"x": 1}}\n{"text": null, "n": 4}\n'
    rows = list(read(tmp_path, "a.jsonl", content, streaming=True))
    assert [(row["text"], row["n"]) for row in rows] == [("a", 1), (None, 2), ("c", None), (None, 4)]
    said = [row[DAMAGE_COLUMN] for row in rows]
    assert said[0] is said[3] is None
    assert "row 2 has a number as text, 5; others have a string" in said[1]
    assert "row 3 has a object as n" in said[2]


def test_damage_after_much_that_is_whole_keeps_every_row_in_its_place(tmp_path):
    lines = [b'{"text": "%d %s"}' % (row, b"x" * 400) for row in range(30_000)]
    lines[28_000], lines[28_001] = b'{"text": 7}', b'{"text": "'
    rows = read(tmp_path, "a.jsonl", b"\n".join(lines), streaming=True)
    found = [(row["text"] or "- ").split(" ")[0] for row in rows]
    assert found == ["-" if row in (28_000, 28_001) else str(row) for row in range(30_000)]


def test_paragraphs_and_whole_files(tmp_path):
    content = b"a\n\ncaf\xe9\n\n\n\nb"
    rows = read(tmp_path, "a.txt", content, streaming=True, text_unit="paragraph")
    check(list(rows), tmp_path / "a.txt", ["a", "row 2 is not UTF-8", "b"])
    rows = read(tmp_path, "a.txt", content, streaming=True, text_unit="document")
    check(list(rows), tmp_path / "a.txt", ["row 1 is not UTF-8: byte 0xe9 at 6"])


def test_a_json_file_that_is_one_list_streams_whole_or_not_at_all(tmp_path):
    rows = read(tmp_path, "a.json", b'[{"text": "a"}, {"text": "b"}]', streaming=True)
    assert list(rows.select_columns(["text"])) == [{"text": "a"}, {"text": "b"}]
    with pytest.raises(UserError, match=r"cannot read 1 json file, the first is .*b\.json"):
        read(tmp_path, "b.json", b'[{"text": "a"}, {"te', streaming=True)


def test_one_damaged_file_leaves_the_others_alone(tmp_path):
    for name, content in (("a", b"a\n"), ("b", b"\xff\n"), ("c", b"c\n")):
        (tmp_path / f"{name}.txt").write_bytes(content)
    rows = list(Files(path=str(tmp_path / "*.txt"), streaming=True).build(None)["train"])
    assert [row["text"] for row in rows] == ["a", None, "c"]
    assert rows[1][DAMAGE_COLUMN].startswith(f"{tmp_path / 'b.txt'}: row 1 is not UTF-8")


def test_strings_of_parquet_that_are_not_utf8_are_marked(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = pa.array([b"a", b"caf\xe9", None, b"c"], type=pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet")
    rows = list(Files(path=str(tmp_path / "a.parquet"), streaming=True).build(None)["train"])
    assert [row["text"] for row in rows] == ["a", None, None, "c"]
    fault = f"{tmp_path / 'a.parquet'}: row 2 is not UTF-8: byte 0xe9 at 3 of text"
    assert [row[DAMAGE_COLUMN] for row in rows] == [None, fault, None, None]


def test_skipping_into_a_damaged_stream_and_pickling_it_change_no_row(tmp_path):
    rows = read(tmp_path, "a.jsonl", CASES["not JSON"][1], streaming=True)
    everything = list(rows)
    for first in range(4):
        assert list(rows.skip(first)) == everything[first:]
    assert list(pickle.loads(pickle.dumps(rows))) == everything  # noqa: S301


def test_a_header_that_cannot_be_read_is_no_row_to_skip(tmp_path):
    with pytest.raises(UserError, match=r"a\.csv: its header is not UTF-8"):
        list(read(tmp_path, "a.csv", b"te\xe9xt\na\n", streaming=True))


@pytest.mark.parametrize("streaming", [True, False])
def test_what_ends_the_reading_is_named_and_no_row_that_is_only_skipped(tmp_path, streaming):
    (tmp_path / "a.tsv").write_bytes(b"text\tn\na, b, c\t1\nb\t2\t3\n")
    (tmp_path / "b.tsv").write_bytes(b"te\xe9xt\tn\na\t1\n")
    with pytest.raises(UserError, match=r"b\.tsv: its header is not UTF-8"):
        list(Files(path=str(tmp_path / "*.tsv"), streaming=streaming).build(None)["train"])


@pytest.mark.parametrize("streaming", [True, False])
def test_a_file_that_the_system_refuses_is_not_skipped_as_damaged(tmp_path, monkeypatch, streaming):
    def refuse(file):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(file_rows, "open_bytes", refuse)
    with pytest.raises(UserError, match=r"a\.txt: row 1 cannot be read: Input/output error"):
        list(read(tmp_path, "a.txt", b"a\n\xff\n", streaming=streaming))


def test_a_hub_stream_that_fails_names_dataset_split_file_and_row(tmp_path, monkeypatch):
    for name, content in (("a", b'{"text": "a"}\n' * 3), ("b", b'{"text"\n')):
        (tmp_path / f"{name}.jsonl").write_bytes(content)
    files = {"train": [str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")]}
    loaded = datasets.load_dataset("json", data_files=files, streaming=True)
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: loaded)
    rows = iter(Hub(path="o/n", config="en", streaming=True).build(None)["train"])
    assert [next(rows)["text"] for _ in range(3)] == ["a"] * 3
    with pytest.raises(UserError, match=r"o/n \(en\), split train: .*b\.jsonl cannot be read after its row 0: "):
        next(rows)
