"""A corpus, a tokenizer, and how ``neobert-tokenize`` is called on them."""

from __future__ import annotations

import json
import random
from pathlib import Path

import datasets
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from neobert_plugins.datasets.options import Disk

NAMES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
KEYS = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")


def _make_tokenizer(words=100):
    vocabulary = {word: number for number, word in enumerate((*NAMES, *(f"w{n}" for n in range(words))))}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, **dict(zip(KEYS, NAMES, strict=True)))


def _make_texts(count, seed=0):
    rng = random.Random(seed)
    texts = [" ".join(f"w{rng.randrange(100)}" for _ in range(rng.randint(1, 30))) for _ in range(count)]
    texts[3] = ""
    return texts


def _tokens(*more, output="ids", dataset="corpus/*.jsonl"):
    return ["--dataset", dataset, "--output", output, "--tokenizer", "tokenizer", *more]


def _rows_of(folder="ids", column="input_ids"):
    return list(Disk(path=str(folder)).build(None)["train"][column])


def _expected(special=True):
    tokenizer = _make_tokenizer()
    return tokenizer(_make_texts(120), add_special_tokens=special)["input_ids"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with `corpus/` (six files, 120 documents) and `tokenizer/`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))
    _make_tokenizer().save_pretrained("tokenizer")
    Path("corpus").mkdir()
    texts = _make_texts(120)
    for number in range(6):
        lines = (json.dumps({"text": text}) + "\n" for text in texts[20 * number : 20 * number + 20])
        Path(f"corpus/{number}.jsonl").write_text("".join(lines))
    return tmp_path


@pytest.fixture
def make_tokenizer():
    """A word-level tokenizer with [CLS] and [SEP] around each text."""
    return _make_tokenizer


@pytest.fixture
def make_texts():
    """So many documents, the fourth one empty."""
    return _make_texts


@pytest.fixture
def tokens():
    """The command's arguments."""
    return _tokens


@pytest.fixture
def rows_of():
    """What a folder that it made holds."""
    return _rows_of


@pytest.fixture
def expected():
    """The tokenizer's own ids of the corpus."""
    return _expected
