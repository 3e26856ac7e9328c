"""``neobert-tokenize``: which rows it writes, of which datasets."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pytest

from neobert.data.pretokenized import pretokenized
from neobert.errors import UserError
from neobert.files import faults
from neobert_plugins.datasets.options import Disk
from neobert_plugins.tokenize_command import main


def test_rows_are_the_tokenizers_own(place, tokens, rows_of, expected):
    assert main(tokens()) == 0
    assert rows_of() == expected()
    assert not Path("ids.shards").exists()
    assert faults(Path("ids")) == []


def test_without_special_tokens_and_only_some(place, tokens, rows_of, expected):
    assert main(tokens("--no-special-tokens", "--max-samples", "50")) == 0
    assert rows_of() == expected(special=False)[:50]


def test_a_mask_marks_the_special_tokens(place, make_tokenizer, make_texts, tokens, rows_of):
    assert main(tokens("--return-special-tokens-mask")) == 0
    tokenizer = make_tokenizer()
    encoded = tokenizer(make_texts(120), return_special_tokens_mask=True)
    assert rows_of(column="special_tokens_mask") == encoded["special_tokens_mask"]
    assert rows_of() == encoded["input_ids"]


@pytest.mark.parametrize("overflow", ["split", "truncate", "drop"])
def test_long_documents_are_cut_as_said_and_counted(place, overflow, capsys, tokens, rows_of, expected):
    assert main(tokens("--max-length", "12", "--overflow", overflow)) == 0
    bare = expected(special=False)
    if overflow == "split":
        bodies = [ids[at : at + 10] for ids in bare for at in range(0, max(1, len(ids)), 10)]
    elif overflow == "truncate":
        bodies = [ids[:10] for ids in bare]
    else:
        bodies = [ids for ids in bare if len(ids) <= 10]
    assert rows_of() == [[2, *ids, 3] for ids in bodies]
    counts = json.loads(Path("ids/tokenization.json").read_text())["counts"]
    assert counts["cut"] == sum(len(ids) > 10 for ids in bare)
    assert (counts["documents"], counts["rows"], counts["empty"]) == (120, len(bodies), 1)
    assert "max_seq_length = 12" in capsys.readouterr().out


def test_a_saved_dataset_its_splits_and_slices(place, make_tokenizer, make_texts, tokens, rows_of):
    texts = make_texts(30)
    data = datasets.DatasetDict(
        train=datasets.Dataset.from_dict({"body": texts}), other=datasets.Dataset.from_dict({"body": texts[:5]})
    )
    data.save_to_disk("saved")
    assert main(tokens("--split", "other", "--text-column", "body", dataset="saved")) == 0
    assert main(tokens("--split", "train[10:20]", output="slice", dataset="saved")) == 0
    assert rows_of() == make_tokenizer()(texts[:5])["input_ids"]
    assert rows_of("slice") == make_tokenizer()(texts[10:20])["input_ids"]


def test_the_same_again_does_nothing_and_other_options_are_refused(place, capsys, tokens):
    assert main(tokens()) == 0
    before = Path("ids/manifest.json").stat().st_mtime_ns
    capsys.readouterr()
    assert main(tokens()) == 0
    assert "is there already: 120 documents" in capsys.readouterr().out
    assert Path("ids/manifest.json").stat().st_mtime_ns == before
    assert main(tokens("--max-length", "9")) == 2
    assert "tokenization.max_length = None there, 9 here" in capsys.readouterr().err
    Path("mine").mkdir()
    assert main(tokens(output="mine")) == 2
    assert "mine is there already, and is not what neobert-tokenize writes" in capsys.readouterr().err


def test_what_is_made_is_checked_against_a_run(place, make_tokenizer, tokens, expected):
    assert main(tokens()) == 0
    rows = Disk(path="ids").build(None)["train"]
    documents = pretokenized(rows, make_tokenizer(), label="train", max_seq_length=32)
    assert [documents.ids(n, 0, int(k)).tolist() for n, k in enumerate(documents.lengths)] == expected(special=False)
    with pytest.raises(UserError, match=r"(?s)the data's: tokenizer, 105 tokens.*the run's:  .*, 95 tokens"):
        pretokenized(rows, make_tokenizer(words=90), label="train")
    with pytest.raises(
        UserError, match=r"row \d+ of train has \d+ tokens with its special tokens, over dataset.max_seq_length = 20"
    ):
        pretokenized(rows, make_tokenizer(), label="train", max_seq_length=20)


CARD = """\
---
configs:
- config_name: first
  data_files:
  - {split: train, path: first/train.jsonl}
  - {split: test, path: first/test.jsonl}
- config_name: second
  data_files:
  - {split: train, path: second.jsonl}
---
"""


@pytest.fixture
def repository(place, make_texts):
    """A folder as a hub dataset is one: two configurations, the first with two splits."""
    texts = dict(zip(("first/train", "first/test", "second"), (make_texts(9, seed=n) for n in range(3)), strict=True))
    Path("repository/first").mkdir(parents=True)
    Path("repository/README.md").write_text(CARD)
    for name, some in texts.items():
        Path(f"repository/{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in some))
    return texts


@pytest.mark.parametrize("named", ["repository", "someone/corpus"])
def test_configurations_and_splits_of_a_hub_dataset(
    repository, named, monkeypatch, tokens, rows_of, make_tokenizer, capsys
):
    """As a folder, and under a hub name for which the library is given the folder."""
    load = datasets.load_dataset
    monkeypatch.setattr(datasets, "load_dataset", lambda path, *rest, **more: load("repository", *rest, **more))
    wanted = {"first/train": ("first", "train"), "first/test": ("first", "test"), "second": ("second", "train")}
    for name, (config, split) in wanted.items():
        output = name.replace("/", "-")
        assert main(tokens("--dataset-config", config, "--split", split, dataset=named, output=output)) == 0
        assert rows_of(output) == make_tokenizer()(repository[name])["input_ids"]
    assert main(tokens("--dataset-config", "first", "--shard", "1/2", dataset=named)) == 0
    capsys.readouterr()
    assert main(tokens("--dataset-config", "third", dataset=named, output="x")) == 2
    assert "(third)' cannot be had from the hub" in capsys.readouterr().err
    assert main(tokens("--dataset-config", "first", "--split", "tst", dataset=named, output="x")) == 2
    assert "--split = 'tst': no such split; did you mean 'test'?" in capsys.readouterr().err


def test_a_configuration_of_what_has_none_is_refused(place, tokens, capsys):
    datasets.Dataset.from_dict({"text": ["w1"]}).save_to_disk("saved")
    for dataset in ("saved", "corpus/*.jsonl"):
        assert main(tokens("--dataset-config", "first", dataset=dataset)) == 2
        assert f"--dataset-config = 'first' is of datasets that have configurations: --dataset {dataset}" in (
            capsys.readouterr().err
        )
