"""Tokenizers: trained the same everywhere, or taken from others and made safe."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import datasets
import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from neobert import BuildContext, Roles, UserError
from neobert.files import write_manifest
from neobert.testing import make_context
from neobert_plugins.tokenizers import wordpiece
from neobert_plugins.tokenizers.options import Pretrained, TrainWordPiece

TEXTS = ["The quick brown fox jumps over the lazy dog.", "A naïve café, twice: café!", "", None] * 20


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NEOBERT_CACHE", str(tmp_path / "cache"))


def context(texts=TEXTS, column="text"):
    rows = datasets.Dataset.from_dict({column: texts})
    return BuildContext(
        seed=0,
        device=torch.device("cpu"),
        run_directory=Path(),
        max_seq_length=64,
        max_steps=1,
        dataset={"train": rows},
    )


def test_a_bert_like_tokenizer():
    tokenizer = TrainWordPiece(vocab_size=200).build(context())
    assert tokenizer.convert_ids_to_tokens(range(5)) == list(wordpiece.SPECIAL_TOKENS)
    ids = tokenizer("The Quick CAFÉ")["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["[CLS]", "the", "quick", "cafe", "[SEP]"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "the quick cafe"
    assert sorted(tokenizer.get_vocab().values()) == list(range(len(tokenizer)))
    assert set(tokenizer.all_special_ids) == set(range(5))
    assert "token_type_ids" not in tokenizer("the")


def test_case_can_be_kept():
    tokenizer = TrainWordPiece(lowercase=False).build(context())
    assert "The" in tokenizer.tokenize("The")


def test_a_small_corpus_gives_fewer_tokens_and_says_so(caplog):
    tokenizer = TrainWordPiece(vocab_size=16384).build(context())
    assert len(tokenizer) < 200
    (record,) = caplog.records
    assert f"vocabulary of {len(tokenizer)} tokens, fewer than tokenizer.vocab_size = 16384" in record.getMessage()


@pytest.mark.parametrize("size", [6, 20, 60, 90])
def test_never_more_tokens_than_asked_for(size):
    assert len(TrainWordPiece(vocab_size=size).build(context())) <= size


def test_trained_once_for_the_same_text(monkeypatch):
    first = TrainWordPiece(vocab_size=100).build(context())

    def refuse(*args):
        raise AssertionError

    monkeypatch.setattr(wordpiece, "_vocabulary", refuse)
    assert TrainWordPiece(vocab_size=100).build(context()).get_vocab() == first.get_vocab()
    for other in ((context([*TEXTS, "more"]), 100), (context(), 101)):
        with pytest.raises(AssertionError):
            TrainWordPiece(vocab_size=other[1]).build(other[0])


TRAIN = """
import random
from neobert_plugins.tokenizers import wordpiece
from neobert_plugins.tokenizers.options import TrainWordPiece
rng = random.Random(0)
words = ["".join(rng.choices("abcdefgh", k=rng.randint(2, 9))) for _ in range(3000)]
texts = [" ".join(rng.choices(words, k=20)) for _ in range(300)]
vocabulary = wordpiece._vocabulary(lambda: iter(texts), TrainWordPiece(vocab_size=700))
print(sorted(vocabulary, key=vocabulary.get))
"""


def test_the_same_vocabulary_in_every_process():
    outputs = {subprocess.check_output([sys.executable, "-c", TRAIN]) for _ in range(3)}
    assert len(outputs) == 1


def test_streams_are_read_up_to_a_limit():
    stream = context()
    limited = TrainWordPiece(training_documents=1).build(stream)
    assert "[UNK]" in limited.tokenize("é!")
    rows = datasets.Dataset.from_dict({"text": TEXTS}).to_iterable_dataset()
    tokenizer = TrainWordPiece().build(
        BuildContext(
            seed=0,
            device=torch.device("cpu"),
            run_directory=Path(),
            max_seq_length=64,
            max_steps=1,
            dataset={"train": rows},
        )
    )
    assert "cafe" in tokenizer.tokenize("café")


def test_texts_of_every_role_are_trained_on():
    roles = Roles(required=("query", "positive"), optional=("negatives", "label"))
    columns = {
        "query": ["abc abc"] * 4,
        "positive": ["def"] * 4,
        "negatives": [["ghi", None]] * 4,
        "label": ["jkl"] * 4,
    }
    rows = datasets.Dataset.from_dict(columns)
    for found in (rows, rows.to_iterable_dataset()):
        vocabulary = TrainWordPiece(vocab_size=60).build(context_of(found, roles)).get_vocab()
        assert {"abc", "def", "ghi"} <= vocabulary.keys()
        assert "j" not in vocabulary
    ids = datasets.Dataset.from_dict({"query": [[1]], "positive": [[2]]})
    with pytest.raises(UserError, match="holds token ids"):
        TrainWordPiece().build(context_of(ids, roles))


def context_of(rows, roles):
    return make_context(dataset={"train": rows}, roles=roles)


def test_token_ids_are_no_text():
    with pytest.raises(UserError, match="holds token ids"):
        TrainWordPiece().build(context([[1]], "input_ids"))


def test_saved_and_opened_by_transformers(tmp_path):
    tokenizer = TrainWordPiece(vocab_size=100).build(context())
    tokenizer.save_pretrained(tmp_path / "saved")
    opened = AutoTokenizer.from_pretrained(tmp_path / "saved", local_files_only=True)
    again = Pretrained(path=str(tmp_path / "saved")).build(context())
    for other in (opened, again):
        assert other("The quick café?")["input_ids"] == tokenizer("The quick café?")["input_ids"]
        assert (other.mask_token_id, other.pad_token_id) == (4, 0)
        assert "token_type_ids" not in other("the")


def saved(folder, vocabulary, **special):
    backend = Tokenizer(models.WordLevel({token: i for i, token in enumerate(vocabulary)}, unk_token="a"))
    backend.enable_truncation(3)
    if "pad_token" in special:
        backend.enable_padding(length=9)
    PreTrainedTokenizerFast(tokenizer_object=backend, **special).save_pretrained(folder)
    return str(folder)


def test_truncation_and_padding_are_off(tmp_path):
    path = saved(tmp_path / "t", ["a", "[MASK]", "[PAD]"], mask_token="[MASK]", pad_token="[PAD]")
    backend = Pretrained(path=path).build(context()).backend_tokenizer
    assert backend.truncation is None
    assert backend.padding is None


def test_no_mask_or_pad_token_is_refused(tmp_path):
    path = saved(tmp_path / "t", ["a", "b"])
    with pytest.raises(UserError, match=r"no mask and no pad token\n.*allow_special_token_rewrite"):
        Pretrained(path=path).build(context())


def test_missing_special_tokens_are_reused_or_added(tmp_path, caplog):
    path = saved(tmp_path / "t", ["a", "b", "<pad>"])
    tokenizer = Pretrained(path=path, allow_special_token_rewrite=True).build(context())
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == ("<pad>", 2)
    assert (tokenizer.mask_token, tokenizer.mask_token_id) == ("[MASK]", 3)
    assert [record.getMessage().split(": ")[1] for record in caplog.records] == [
        "adds the token [MASK]",
        "reuses its token <pad>",
    ]


@pytest.mark.parametrize("path", ["./nowhere", "/nowhere/at/all", "a/b/c"])
def test_no_such_folder(path):
    with pytest.raises(UserError, match="no such folder"):
        Pretrained(path=path).build(context())


def test_a_name_that_is_neither_a_folder_nor_in_the_cache(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"no such folder \(from .*local cache \(HF_HUB_OFFLINE is set\) gives no"):
        Pretrained(path="nowhere").build(context())


def test_a_folder_without_a_tokenizer(tmp_path):
    with pytest.raises(UserError, match="the folder gives no tokenizer"):
        Pretrained(path=str(tmp_path)).build(context())


def as_run(folder, *steps):
    """A run's folder with checkpoints, each with a tokenizer of its own."""
    for step in steps:
        checkpoint = folder / "checkpoints" / str(step)
        saved(
            checkpoint / "tokenizer",
            ["a", "[MASK]", "[PAD]", *map(str, range(step))],
            mask_token="[MASK]",
            pad_token="[PAD]",
        )
        write_manifest(checkpoint)
    return folder


def test_of_a_run_a_checkpoint_and_an_export(tmp_path):
    run = as_run(tmp_path / "run", 1, 2)
    assert len(Pretrained(path=str(run)).build(context())) == 5
    assert len(Pretrained(path=str(run / "checkpoints" / "1")).build(context())) == 4
    (run / "checkpoints" / "2" / "tokenizer" / "tokenizer.json").write_text("cut")
    assert len(Pretrained(path=str(run)).build(context())) == 4
    with pytest.raises(UserError, match=r"tokenizer\.path: .*2 is damaged"):
        Pretrained(path=str(run / "checkpoints" / "2")).build(context())
    (run / "checkpoints" / "1" / "manifest.json").unlink()
    with pytest.raises(UserError, match=r"tokenizer\.path: .*run without a complete checkpoint \(2 incomplete"):
        Pretrained(path=str(run)).build(context())


def test_of_an_export_whose_architecture_the_library_does_not_know(tmp_path, capfd):
    path = saved(tmp_path / "export", ["a", "[MASK]", "[PAD]"], mask_token="[MASK]", pad_token="[PAD]")
    (tmp_path / "export" / "config.json").write_text('{"model_type": "neobert"}')
    capfd.readouterr()
    assert len(Pretrained(path=path).build(context())) == 3
    assert capfd.readouterr().err == ""


def test_what_is_known_without_data(tmp_path):
    run = as_run(tmp_path / "run", 1)
    options = Pretrained(path=str(run))
    assert options.known_vocab_size() == len(options.known_tokenizer()) == 4
    assert Pretrained(path="some/name").known_tokenizer() is None
