"""``neobert-tokenize``: what it refuses, and what goes wrong under it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import datasets
import pyarrow as pa
import pytest

from neobert_plugins.tokenize_command import main

DAMAGED = {
    "cut in a row": ({"x.jsonl": '{"text": "w1"}\n{"text": "w'}, "x.jsonl", [], "x.jsonl: row 2 is not JSON"),
    "not UTF-8": ({"x.txt": b"w1\nw\xff2\n"}, "x.txt", [], "x.txt: row 2 is not UTF-8: byte 0xff at 1"),
    "half a gzip": (
        {"x.txt.gz": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03KJ"},
        "x.txt.gz",
        [],
        "x.txt.gz: row 1 cannot be read, nor what follows",
    ),
    "a quote never closed": (
        {"x.csv": 'text,n\nfine,1\n"never\nclosed,2\n'},
        "x.csv",
        [],
        "x.csv: row 2 (line 3) opens a quote that is never closed",
    ),
}
BAD = {
    "no split": ({}, "corpus", ["--split", "trian"], "--split = 'trian': no such split; did you mean 'train'?"),
    "no text": ({"x.jsonl": '{"n": 1}\n'}, "x.jsonl", [], "has no text column\ncolumns: n (int64)"),
    "a wrong type": ({"x.jsonl": '{"n": 1}\n'}, "x.jsonl", ["--text-column", "n"], "'n' of split 'train' is int64"),
    "other values among text": (
        {"x.jsonl": '{"text": "w1"}\n{"text": 7}\n'},
        "x.jsonl",
        [],
        "expected text; row 1 has int '7', others have text",
    ),
    "no column": ({}, "corpus", ["--text-column", "txt"], "--text-column = 'txt'"),
    "two columns": ({"x.jsonl": '{"a": "", "b": ""}\n'}, "x.jsonl", [], "say which: --text-column = 'a'"),
    "no file": ({}, "gone/*.txt", [], "--dataset = 'gone/*.txt' matches no file"),
    "no room": ({}, "corpus", ["--max-length", "2"], "--max-length = 2 leaves no room beside 2 special tokens"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_row_is_named_and_the_rest_goes_on(place, caplog, case, tokens):
    files, dataset, more, message = DAMAGED[case]
    for name, content in files.items():
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert main(tokens(*more, dataset=dataset)) == 0
    assert message in caplog.text
    assert Path("ids").exists()


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(place, capsys, case, tokens):
    files, dataset, more, message = BAD[case]
    for name, content in files.items():
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert main(tokens(*more, dataset=dataset)) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("neobert-tokenize: ")
    assert not Path("ids").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--output", "x"], "missing: --dataset and --tokenizer"),
        (["--join", "--output", "x", "--tokenizer", "t"], "--join goes with --output alone, got --tokenizer"),
    ],
)
def test_flags_that_do_not_go_together(capsys, flags, message):
    assert main(flags) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("shard", ["4/4", "x/2", "1", "-1/2"])
def test_shards_that_cannot_be(capsys, shard):
    with pytest.raises(SystemExit) as ended:
        main(["--output", "x", "--dataset", "d", "--tokenizer", "t", f"--shard={shard}"])
    assert ended.value.code == 2
    assert "expected I/N with I from 0 to N - 1" in capsys.readouterr().err


def test_bytes_that_are_not_utf_8_in_arrow_files_are_named_with_their_row(place, capsys, tokens):
    bad = pa.array([b"w1"] * 1234 + [b"w\xff"]).cast(pa.binary()).view(pa.string())
    datasets.Dataset(pa.table({"text": bad})).save_to_disk("saved")
    assert main(tokens(dataset="saved")) == 2
    said = capsys.readouterr().err
    assert "row 1234 of split 'train' is not UTF-8: byte 0xff at 1 of its text" in said
    assert "data-00000-of-00001.arrow" in said


def test_a_full_disk_is_one_line_and_what_is_whole_is_kept(place, capsys, monkeypatch, tokens, rows_of, expected):
    from neobert.data import token_rows

    writes = []

    class Full(token_rows.RowWriter):
        def write(self, ids, lengths):
            writes.append(1)
            if len(writes) == 2:
                with open("/dev/full", "wb", buffering=0) as full:
                    full.write(b"x")
            super().write(ids, lengths)

    with monkeypatch.context() as patch:
        patch.setattr(token_rows, "RowWriter", Full)
        assert main(tokens("--rows-per-part", "60")) == 2
    assert "no space left to write token ids" in capsys.readouterr().err
    assert len(list(Path("ids.shards/shard-00000-of-00001").glob("part-*"))) == 1
    assert main(tokens("--rows-per-part", "60")) == 0
    assert rows_of() == expected()


def test_a_process_that_dies_is_told(place, capsys, monkeypatch, tokens):
    from neobert.data import tokenization

    monkeypatch.setattr(tokenization, "encode_in_process", die)
    monkeypatch.setattr(tokenization, "BYTES_A_BATCH", 100)
    assert main(tokens("--num-proc", "2")) == 2
    assert "a tokenizing process died at row 0 of split 'train'" in capsys.readouterr().err


def die(texts, dtype):
    os._exit(1)


def test_help_imports_nothing_heavy():
    script = (
        "import sys\nfrom neobert_plugins.tokenize_command import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'transformers', 'datasets', 'accelerate', 'numpy', 'tokenizers'} & set(sys.modules)\n"
        "sys.stderr.write(repr(sorted(heavy)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr == "[]"
    assert "--shard I/N" in done.stdout
