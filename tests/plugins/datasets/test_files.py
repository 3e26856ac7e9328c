"""Datasets from folders and files, and what is said of those that cannot be read."""

from __future__ import annotations

import json
import pickle

import datasets
import pytest

from neobert import UserError
from neobert_plugins.datasets.options import Disk, Files, Hub


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hf"))


def rows(*texts):
    return datasets.Dataset.from_dict({"text": list(texts)})


def test_disk_with_and_without_splits(tmp_path):
    rows("a", "b").save_to_disk(str(tmp_path / "one"))
    assert Disk(path=str(tmp_path / "one")).build(None)["train"]["text"][:] == ["a", "b"]
    datasets.DatasetDict(train=rows("a"), dev=rows("b")).save_to_disk(str(tmp_path / "two"))
    assert set(Disk(path=str(tmp_path / "two")).build(None)) == {"train", "dev"}


def test_disk_that_is_not_there_or_not_one(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        Disk(path=str(tmp_path / "none")).build(None)
    with pytest.raises(UserError, match=r"not written by save_to_disk.*\n.*`files`"):
        Disk(path=str(tmp_path)).build(None)
    rows("a").save_to_disk(str(tmp_path / "cut"))
    for file in (tmp_path / "cut").glob("*.arrow"):
        file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(UserError, match="cannot be read"):
        Disk(path=str(tmp_path / "cut")).build(None)


def write(folder, name, content):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def texts_of(folder, pattern, **options):
    return list(Files(path=str(folder / pattern), **options).build(None)["train"]["text"])


def test_every_format(tmp_path):
    write(tmp_path, "a.txt", "one\ntwo\n")
    write(tmp_path, "a.jsonl", '{"text": "one"}\n{"text": "two"}\n')
    write(tmp_path, "a.csv", 'text,n\none,1\n"two",2\n')
    write(tmp_path, "a.tsv", "text\tn\none\t1\ntwo\t2\n")
    rows("one", "two").to_parquet(str(tmp_path / "a.parquet"))
    for name in ("a.txt", "a.jsonl", "a.csv", "a.tsv", "a.parquet"):
        assert texts_of(tmp_path, name) == ["one", "two"], name


def test_globs_folders_and_units(tmp_path):
    write(tmp_path, "deep/b.txt", "b1\n\nb2")
    write(tmp_path, "deep/er/c.txt", "c1")
    assert texts_of(tmp_path, "deep") == ["b1", "", "b2", "c1"]
    assert texts_of(tmp_path, "deep/*.txt") == ["b1", "", "b2"]
    assert texts_of(tmp_path, "**/*.txt", text_unit="document") == ["b1\n\nb2", "c1"]
    assert texts_of(tmp_path, "deep/b.txt", text_unit="paragraph") == ["b1", "b2"]


def test_evaluation_files_and_streams(tmp_path):
    write(tmp_path, "a.txt", "one\ntwo")
    write(tmp_path, "e.txt", "three")
    built = Files(path=str(tmp_path / "a.txt"), eval_path=str(tmp_path / "e.txt"), streaming=True).build(None)
    assert isinstance(built["train"], datasets.IterableDataset)
    assert {name: [row["text"] for row in split] for name, split in built.items()} == {
        "train": ["one", "two"],
        "eval": ["three"],
    }


@pytest.mark.parametrize(
    ("files", "pattern", "message"),
    [
        ({}, "none*.txt", "matches no file"),
        ({"a.dat": "x"}, "a.dat", "cannot tell the format of 1 files"),
        ({"a.txt": "x", "b.csv": "x"}, "*", r"known among them: csv, text"),
        ({"a.json": '[{"text": "x"}, {"te'}, "a.json", r"cannot read 1 json file, the first is .*a\.json"),
        ({"a.jsonl": ""}, "a.jsonl", r"a\.jsonl: the file is empty"),
        ({"a.jsonl": '{"text": "cut'}, "a.jsonl", r"a\.jsonl: row 1 is not JSON"),
        ({"a.parquet": "PAR1 no"}, "a.parquet", r"a\.parquet: not a whole Parquet file"),
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path, files, pattern, message):
    for name, content in files.items():
        write(tmp_path, name, content)
    with pytest.raises(UserError, match=message):
        Files(path=str(tmp_path / pattern)).build(None)


def test_format_can_be_said(tmp_path):
    write(tmp_path, "a.dat", json.dumps({"text": "x"}))
    assert texts_of(tmp_path, "a.dat", format="json") == ["x"]


def test_hub_failures_are_the_users_to_mend(monkeypatch):
    def refuse(*args, **kwargs):
        raise datasets.exceptions.DatasetNotFoundError("Dataset 'a/b' doesn't exist")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(UserError, match=r"'a/b \(en\)' cannot be had from the hub: DatasetNotFoundError"):
        Hub(path="a/b", config="en").build(None)


def test_hub_passes_what_was_asked_for(monkeypatch):
    asked = {}

    def load(path, config, **settings):
        asked.update(settings, path=path, config=config)
        return {"train": "rows"}

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert Hub(path="a/b", revision="r", streaming=True).build(None) == {"train": "rows"}
    assert asked == {"path": "a/b", "config": None, "revision": "r", "streaming": True}


def test_a_damaged_row_group_of_a_stream(tmp_path):
    path = tmp_path / "a.parquet"
    rows(*(f"{n} {n * n} {n**3}" for n in range(3000))).to_parquet(str(path), batch_size=1000)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 300] = b"\xff" * 300
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.parquet: rows 1001 to 2000 cannot be read"):
        list(Files(path=str(path), streaming=True).build(None)["train"])


def test_streams_pickle_for_workers(tmp_path):
    write(tmp_path, "a.txt", "one\ntwo\n")
    stream = Files(path=str(tmp_path / "a.txt"), streaming=True).build(None)["train"]
    assert [row["text"] for row in pickle.loads(pickle.dumps(stream))] == ["one", "two"]  # noqa: S301
