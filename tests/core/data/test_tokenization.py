"""Text is tokenized once, the same with any number of processes, and under a key that is its content."""

from __future__ import annotations

import pickle
from copy import deepcopy

import datasets
import numpy as np
import pytest

from neobert.data import texts as texts_of_rows
from neobert.data import tokenization
from neobert.data.documents import TokenStore
from neobert.data.tokenization import tokenize
from neobert.errors import UserError

TEXTS = ["w1 w2 w3", "", None, "w4", "w5 unknown w6", "w7 " * 50]


def rows(texts=TEXTS):
    return datasets.Dataset.from_dict({"text": texts}, features=datasets.Features({"text": datasets.Value("string")}))


def all_ids(documents):
    return [documents.ids(i, 0, int(length)).tolist() for i, length in enumerate(documents.lengths)]


@pytest.fixture
def calls(monkeypatch):
    """How often text was encoded."""
    counted = []
    plain = tokenization.encode_texts

    def counting(backend, texts):
        counted.append(len(texts))
        return plain(backend, texts)

    monkeypatch.setattr(tokenization, "encode_texts", counting)
    return counted


def test_the_ids_are_the_tokenizers_own_without_special_tokens(tokenizer):
    documents = tokenize(rows(), tokenizer)
    expected = [tokenizer(text or "", add_special_tokens=False)["input_ids"] for text in TEXTS]
    assert all_ids(documents) == expected
    assert documents.lengths.tolist() == [3, 0, 0, 1, 3, 50]
    assert documents.lengths.dtype == np.int32
    assert documents.ids(0, 1, 3).tolist() == expected[0][1:]


def test_the_second_call_does_not_tokenize(tokenizer, calls):
    first = tokenize(rows(), tokenizer)
    second = tokenize(rows(), tokenizer)
    assert calls == [len(TEXTS)]
    assert first.fingerprint == second.fingerprint


def test_the_key_is_the_content_however_it_is_stored(tokenizer, calls, tmp_path):
    tokenize(rows(), tokenizer)
    rows().save_to_disk(str(tmp_path / "saved"))
    for same in (
        datasets.load_from_disk(str(tmp_path / "saved")),
        datasets.concatenate_datasets([rows(TEXTS[:2]), rows(TEXTS[2:])]),
        rows([*TEXTS, "more"]).select(range(len(TEXTS))),
        rows(TEXTS[::-1]).select(range(len(TEXTS))[::-1]),
    ):
        tokenize(same, tokenizer)
    assert len(calls) == 1
    for other in (TEXTS[:-1], [*TEXTS[:2], "", *TEXTS[3:]], ["w1 w2", " w3", *TEXTS[2:]]):
        tokenize(rows(other), tokenizer)
    assert len(calls) == 4


def test_another_tokenizer_is_another_key(tokenizer, calls):
    tokenize(rows(), tokenizer)
    other = deepcopy(tokenizer)
    other.add_tokens(["unknown"])
    assert all_ids(tokenize(rows(), other))[4] == [10, 105, 11]
    assert len(calls) == 2


def test_truncation_and_padding_are_off_for_the_data_and_left_alone_on_the_tokenizer(tokenizer):
    cutting = deepcopy(tokenizer)
    cutting.backend_tokenizer.enable_truncation(2)
    cutting.backend_tokenizer.enable_padding(length=9)
    assert tokenize(rows(), cutting).lengths.tolist() == [3, 0, 0, 1, 3, 50]
    assert cutting.backend_tokenizer.truncation["max_length"] == 2


def test_processes_change_nothing(tokenizer, tmp_path, monkeypatch):
    texts = [f"w{number % 100} w{number % 7}" for number in range(2500)]
    here = tokenize(rows(texts), tokenizer)
    for module in (texts_of_rows, tokenization):
        monkeypatch.setattr(module, "BYTES_A_BATCH", 1000)
    monkeypatch.setenv("NEOBERT_CACHE", str(tmp_path / "another"))
    there = tokenize(rows(texts), tokenizer, num_proc=2)
    assert here.folder != there.folder
    assert (here.folder / "ids.bin").read_bytes() == (there.folder / "ids.bin").read_bytes()
    assert (here.folder / "ends.bin").read_bytes() == (there.folder / "ends.bin").read_bytes()


def test_a_store_pickles_as_its_place(tokenizer):
    documents = tokenize(rows(["w1 w2"] * 5000), tokenizer)
    pickled = pickle.dumps(documents)
    assert len(pickled) < 500
    assert all_ids(pickle.loads(pickled)) == all_ids(documents)  # noqa: S301


def test_a_damaged_store_is_refused(tokenizer):
    folder = tokenize(rows(), tokenizer).folder
    for name in ("ids.bin", "ends.bin"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[:-8])
        with pytest.raises(UserError, match=r"cache of tokens is damaged(.|\n)*remove that folder"):
            TokenStore(folder)
        (folder / name).write_bytes(whole)


def test_few_texts_start_no_process(monkeypatch):
    monkeypatch.setattr(tokenization, "available_cores", lambda: 64)
    assert tokenization.process_count(None, 12_000_000) == 1
    assert tokenization.process_count(None, 10**12) == 64
    assert tokenization.process_count(8, 100) == 1
