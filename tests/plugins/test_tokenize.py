"""``neobert-tokenize``: rows, shards, kills, joins, and what it refuses."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import datasets
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from neobert.data.pretokenized import pretokenized
from neobert.files import faults
from neobert_plugins.datasets.options import Disk
from neobert_plugins.tokenize_command import main

NAMES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
KEYS = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")


def make_tokenizer(words=100):
    vocabulary = {word: number for number, word in enumerate((*NAMES, *(f"w{n}" for n in range(words))))}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, **dict(zip(KEYS, NAMES, strict=True)))


def make_texts(count, seed=0):
    rng = random.Random(seed)
    texts = [" ".join(f"w{rng.randrange(100)}" for _ in range(rng.randint(1, 30))) for _ in range(count)]
    texts[3] = ""
    return texts


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with `corpus/` (six files, 120 documents) and `tokenizer/`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))
    make_tokenizer().save_pretrained("tokenizer")
    Path("corpus").mkdir()
    texts = make_texts(120)
    for number in range(6):
        lines = (json.dumps({"text": text}) + "\n" for text in texts[20 * number : 20 * number + 20])
        Path(f"corpus/{number}.jsonl").write_text("".join(lines))
    return tmp_path


def tokens(*more, output="ids", dataset="corpus/*.jsonl"):
    return ["--dataset", dataset, "--output", output, "--tokenizer", "tokenizer", *more]


def rows_of(folder="ids", column="input_ids"):
    return list(Disk(path=str(folder)).build(None)["train"][column])


def expected(special=True):
    tokenizer = make_tokenizer()
    return tokenizer(make_texts(120), add_special_tokens=special)["input_ids"]


def test_rows_are_the_tokenizers_own(place):
    assert main(tokens()) == 0
    assert rows_of() == expected()
    assert not Path("ids.shards").exists()
    assert faults(Path("ids")) == []


def test_without_special_tokens_and_only_some(place):
    assert main(tokens("--no-special-tokens", "--max-samples", "50")) == 0
    assert rows_of() == expected(special=False)[:50]


def test_a_mask_marks_the_special_tokens(place):
    assert main(tokens("--return-special-tokens-mask")) == 0
    tokenizer = make_tokenizer()
    encoded = tokenizer(make_texts(120), return_special_tokens_mask=True)
    assert rows_of(column="special_tokens_mask") == encoded["special_tokens_mask"]
    assert rows_of() == encoded["input_ids"]


@pytest.mark.parametrize("overflow", ["split", "truncate", "drop"])
def test_long_documents_are_cut_as_said_and_counted(place, overflow, capsys):
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


@pytest.mark.parametrize("shards", [2, 7])
@pytest.mark.parametrize("more", [[], ["--max-samples", "77"]])
def test_shards_joined_are_the_whole(place, shards, more):
    """Two shards take whole files, seven (more than files) and some samples take rows."""
    assert main(tokens(*more)) == 0
    for shard in reversed(range(shards)):
        assert main(tokens(*more, "--shard", f"{shard}/{shards}", "--rows-per-part", "9", output="shared")) == 0
    assert main(["--join", "--output", "shared"]) == 0
    assert rows_of("shared") == rows_of()
    assert not Path("shared.shards").exists()


def test_a_saved_dataset_its_splits_and_slices(place):
    texts = make_texts(30)
    data = datasets.DatasetDict(
        train=datasets.Dataset.from_dict({"body": texts}), other=datasets.Dataset.from_dict({"body": texts[:5]})
    )
    data.save_to_disk("saved")
    assert main(tokens("--split", "other", "--text-column", "body", dataset="saved")) == 0
    assert main(tokens("--split", "train[10:20]", output="slice", dataset="saved")) == 0
    assert rows_of() == make_tokenizer()(texts[:5])["input_ids"]
    assert rows_of("slice") == make_tokenizer()(texts[10:20])["input_ids"]


def command(*more, **places):
    return [sys.executable, "-m", "neobert_plugins.tokenize_command", *tokens(*more, **places)]


def test_a_kill_in_the_middle_of_a_part_loses_that_part_alone(place):
    """The ids of a run that was killed, gone on with and joined are those of the unbroken one."""
    texts = make_texts(6000, seed=1)
    Path("big.txt").write_text("\n".join(texts) + "\n")
    options = ["--rows-per-part", "1500", "--shard", "0/2"]
    running = subprocess.Popen(command(*options, output="killed", dataset="big.txt"), stderr=subprocess.DEVNULL)
    folder = Path("killed.shards/shard-00000-of-00002")
    wait_for(lambda: list(folder.glob("part-*")) and list(folder.glob(".part-00001*/rows.arrow")), running)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert list(folder.glob(".part-*")), "it was not killed in the middle"
    assert not (folder / "shard.json").exists()
    whole = {path: (path / "rows.arrow").stat().st_mtime_ns for path in folder.glob("part-*")}
    assert main(["--join", "--output", "killed"]) == 2
    for shard in ("0/2", "1/2"):
        options = ["--rows-per-part", "1500", "--shard", shard]
        assert main(tokens(*options, output="killed", dataset="big.txt")) == 0
    assert whole == {path: (path / "rows.arrow").stat().st_mtime_ns for path in whole}, "what was whole is kept"
    assert not list(folder.glob(".part-*"))
    assert main(["--join", "--output", "killed"]) == 0
    assert main(tokens(output="unbroken", dataset="big.txt")) == 0
    assert rows_of("killed") == rows_of("unbroken")


def wait_for(condition, running, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert running.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.0005)


def test_a_join_that_was_killed_is_gone_on_with(place, monkeypatch):
    from neobert.data import joining

    def killed(*arguments, **keys):
        raise KeyboardInterrupt

    assert main(tokens("--shard", "0/1")) == 0
    with monkeypatch.context() as patch:
        patch.setattr(joining, "complete_folder", killed)
        assert main(["--join", "--output", "ids"]) == 130
    assert not Path("ids").exists()
    with monkeypatch.context() as patch:
        patch.setattr(joining.shutil, "rmtree", killed)
        assert main(["--join", "--output", "ids"]) == 130
    assert Path("ids.shards").exists()
    assert main(["--join", "--output", "ids"]) == 0
    assert rows_of() == expected()
    assert not Path("ids.shards").exists()


def test_the_same_again_does_nothing_and_other_options_are_refused(place, capsys):
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


class TestJoining:
    @pytest.fixture
    def shards(self, place):
        for shard in range(3):
            assert main(tokens("--shard", f"{shard}/3", "--rows-per-part", "30")) == 0
        return Path("ids.shards")

    def refused(self, capsys, *fragments):
        capsys.readouterr()
        assert main(["--join", "--output", "ids"]) == 2
        said = capsys.readouterr().err
        assert [fragment for fragment in fragments if fragment not in said] == [], said
        assert not Path("ids").exists()

    def test_every_shard_that_is_wrong_is_named_in_one_answer(self, shards, capsys):
        import shutil

        shutil.rmtree(shards / "shard-00000-of-00003")
        file = shards / "shard-00001-of-00003/part-00001/rows.arrow"
        content = bytearray(file.read_bytes())
        content[-40] ^= 1
        file.write_bytes(content)
        (shards / "shard-00002-of-00003/shard.json").unlink()
        self.refused(
            capsys,
            "shard 0/3: missing",
            "shard 1/3: part-00001: rows.arrow is not what was written (its sha256 differs)",
            "shard 2/3: not finished: it has 2 parts",
            "run again with --shard 0/3, --shard 1/3, --shard 2/3, then join",
        )
        for shard in range(3):
            assert main(tokens("--shard", f"{shard}/3", "--rows-per-part", "30")) == 0
        assert main(["--join", "--output", "ids"]) == 0
        assert rows_of() == expected()

    def test_shards_of_other_options_or_another_tokenizer(self, shards, capsys):
        import shutil

        shutil.rmtree(shards / "shard-00001-of-00003")
        make_tokenizer(words=90).save_pretrained("tokenizer")
        assert main(tokens("--shard", "1/3", "--rows-per-part", "30", "--no-special-tokens")) == 0
        self.refused(capsys, "shard 1/3: made otherwise: tokenization.fingerprint = ", "tokenization.prefix = [] there")

    def test_shards_of_another_number(self, shards, capsys):
        assert main(tokens("--shard", "0/2")) == 0
        self.refused(capsys, "shards of 2 and of 3")

    def test_nothing_to_join(self, place, capsys):
        self.refused(capsys, "there is nothing to join: no folder ids.shards")

    def test_counts_that_do_not_add_up(self, shards, capsys):
        file = shards / "shard-00002-of-00003/shard.json"
        said = json.loads(file.read_text())
        said["counts"]["documents"] += 1
        file.write_text(json.dumps(said))
        self.refused(capsys, "shard 2/3: its parts hold", "shard.json says")

    def test_two_processes_of_one_shard(self, shards, capsys):
        import fcntl

        with (shards / "shard-00001-of-00003/.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            assert main(tokens("--shard", "1/3", "--rows-per-part", "30")) == 2
        assert "another process is writing" in capsys.readouterr().err


BAD = {
    "cut in a row": ({"x.jsonl": '{"text": "w1"}\n{"text": "w'}, "x.jsonl", [], "x.jsonl: row 2 is not JSON"),
    "not UTF-8": ({"x.txt": b"w1\nw\xff2\n"}, "x.txt", [], "x.txt: row 2 is not UTF-8: byte 0xff at 1"),
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
    "half a gzip": (
        {"x.txt.gz": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03KJ"},
        "x.txt.gz",
        [],
        "x.txt.gz: cannot be read to its end",
    ),
    "a quote never closed": (
        {"x.csv": 'text,n\nfine,1\n"never\nclosed,2\n'},
        "x.csv",
        [],
        "x.csv: row 3, which begins in line 3, is not CSV",
    ),
    "no room": ({}, "corpus", ["--max-length", "2"], "--max-length = 2 leaves no room beside 2 special tokens"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(place, capsys, case):
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


def test_bytes_that_are_not_utf_8_in_arrow_files_are_named_with_their_row(place, capsys):
    import pyarrow as pa

    bad = pa.array([b"w1"] * 1234 + [b"w\xff"]).cast(pa.binary()).view(pa.string())
    datasets.Dataset(pa.table({"text": bad})).save_to_disk("saved")
    assert main(tokens(dataset="saved")) == 2
    said = capsys.readouterr().err
    assert "row 1234 of split 'train' is not UTF-8: byte 0xff at 1 of its text" in said
    assert "data-00000-of-00001.arrow" in said


def test_a_full_disk_is_one_line_and_what_is_whole_is_kept(place, capsys, monkeypatch):
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


def test_a_process_that_dies_is_told(place, capsys, monkeypatch):
    from neobert.data import tokenization

    monkeypatch.setattr(tokenization, "encode_in_process", die)
    monkeypatch.setattr(tokenization, "BYTES_A_BATCH", 100)
    assert main(tokens("--num-proc", "2")) == 2
    assert "a tokenizing process died at row 0 of split 'train'" in capsys.readouterr().err


def die(texts, dtype):
    os._exit(1)


def test_what_is_made_is_checked_against_a_run(place):
    from neobert.errors import UserError

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
