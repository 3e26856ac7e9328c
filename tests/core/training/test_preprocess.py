"""``--preprocess``: a run on what it wrote takes the same steps, and what it cannot do it says."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import datasets
import pytest

from neobert.cli import main


@pytest.fixture
def said(workdir, capsys, monkeypatch):
    """``said(*overrides)``: (status, stdout, stderr) of --preprocess."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(workdir / "hf"))

    def run(*tokens):
        capsys.readouterr()
        status = main(["recipe.toml", "--preprocess", *tokens])
        return status, *capsys.readouterr()

    return run


def metrics(folder):
    lines = [json.loads(line) for line in Path(folder, "metrics.jsonl").read_text().splitlines()]
    timed = ("train/tokens_per_second", "train/data_wait_share")
    return [{key: value for key, value in line.items() if key not in timed} for line in lines]


def test_a_run_on_the_printed_tables_is_the_same_run(said):
    status, tables, notes = said()
    assert status == 0
    assert "train: 112 documents" in notes
    assert "eval: 8 documents" in notes
    assert Path("run-data/tables.toml").read_text() == tables
    tomllib.loads(tables)
    plain = Path("recipe.toml").read_text()
    head, _, rest = plain.partition("[tokenizer]")
    Path("again.toml").write_text(head + tables + "\n[datacollator]" + rest.partition("[datacollator]")[2])
    assert main(["recipe.toml", "--trainer.output_dir=one"]) == 0
    assert main(["again.toml", "--trainer.output_dir=two"]) == 0
    assert metrics("one") == metrics("two")


def test_the_cache_is_filled(said, monkeypatch):
    from neobert.data import tokenization

    assert said()[0] == 0
    monkeypatch.setattr(tokenization, "encode_texts", None)
    assert main(["recipe.toml", "--trainer.max_steps=1", "--scheduler.warmup_steps=0"]) == 0


def test_again_is_nothing_and_other_data_is_refused(said):
    assert said("--output", "there")[0] == 0
    before = Path("there/manifest.json").stat().st_mtime_ns
    assert said("--output", "there")[0] == 0
    assert Path("there/manifest.json").stat().st_mtime_ns == before
    status, tables, wrong = said("--output", "there", "--dataset.eval_samples=9")
    assert (status, tables) == (2, "")
    assert "there is there already and holds other data" in wrong
    (file,) = Path("there/dataset/eval").glob("*.arrow")
    file.write_bytes(file.read_bytes()[:-1])
    assert said("--output", "there")[0] == 2


def test_token_ids_are_taken_as_they_are(said, workdir):
    assert said("--output", "first")[0] == 0
    parts = (
        '--dataset={name = "disk", path = "first/dataset", train_split = "train", eval_split = "eval"}',
        '--tokenizer={name = "pretrained", path = "first/tokenizer"}',
        "--dataset.eval_samples=none",
    )
    assert said(*parts, "--output", "second")[0] == 0
    for split in ("train", "eval"):
        one, two = (datasets.load_from_disk(f"{name}/dataset/{split}") for name in ("first", "second"))
        assert one["input_ids"][:] == two["input_ids"][:]


def test_another_tokenizer_than_the_datas(said, workdir):
    assert said("--output", "first")[0] == 0
    Path("words.txt").write_text("other words altogether\n" * 20)
    assert said("--dataset.path=words.txt", "--output", "second")[0] == 0
    parts = ('--dataset={name = "disk", path = "first/dataset"}', "--dataset.eval_samples=none")
    status, _, wrong = said(*parts, '--tokenizer={name = "pretrained", path = "second/tokenizer"}', "--output", "third")
    assert status == 2
    assert "tokenized by another tokenizer than the run's" in wrong
    assert "second/tokenizer" in wrong


BAD = {
    "cut in a row": ({"x.jsonl": '{"text": "w1"}\n' * 20 + '{"text": "w'}, "x.jsonl", "x.jsonl: row 21 is not JSON"),
    "not UTF-8": ({"x.txt": b"w1\n" * 20 + b"w\xff2\n"}, "x.txt", "x.txt: row 21 is not UTF-8: byte 0xff at 1"),
    "a quote never closed": (
        {"x.csv": "text,n\n" + "fine,1\n" * 20 + '"never\n'},
        "x.csv",
        "x.csv: row 21 (line 22) opens a quote that is never closed",
    ),
    "a wrong type": (
        {"x.jsonl": '{"text": 1}\n' * 20},
        "x.jsonl",
        "of split 'train' (without the evaluation rows) is int64",
    ),
    "a mixed type": ({"x.jsonl": '{"text": "a"}\n' * 20 + '{"text": 1}\n'}, "x.jsonl", "row 12 has int '1'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(said, case):
    files, path, message = BAD[case]
    for name, content in files.items():
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    status, out, wrong = said(f"--dataset.path={path}", "--dataset.on_damaged_row=stop")
    assert (status, out) == (2, "")
    assert message in wrong
    assert not Path("run-data").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("--dataset.train_split=trian",), "dataset.train_split = 'trian': no such split"),
        (("--dataset.streaming=true",), "a stream is tokenized while it is trained on"),
        (("--output",), "--output needs PATH"),
    ],
)
def test_what_it_refuses(said, overrides, message):
    status, _, wrong = said(*overrides)
    assert status == 2
    assert message in wrong


def test_output_is_of_preprocess_alone(workdir, capsys):
    assert main(["recipe.toml", "--output", "x"]) == 2
    assert "--output goes with --preprocess" in capsys.readouterr().err


@pytest.mark.parametrize("library", [False, True])
def test_a_disk_that_fills_while_caching_is_one_line(said, monkeypatch, library):
    """The core's own cache, and that of the `datasets` library, which wraps what it meets."""
    from neobert.data import tokenization

    def full(*arguments, **keys):
        with open("/dev/full", "wb", buffering=0) as file:
            file.write(b"x")

    if library:
        monkeypatch.setattr(datasets.arrow_writer.ArrowWriter, "write_table", full)
    else:
        monkeypatch.setattr(tokenization, "write_store", full)
        monkeypatch.setenv("NEOBERT_CACHE", "cache")
    status, _, wrong = said()
    assert status == 2
    assert ("no space left in the cache of the `datasets` library" if library else "no space left to cache") in wrong
    assert not [path for path in Path().glob("cache/tokens/*") if path.suffix != ".lock"]
